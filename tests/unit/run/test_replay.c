// Tests of what is read back from a store: a trial that cannot have been measured ends it, whatever else is right.
// Must not start a worker, nor damage files.
#include <stdio.h>
#include <unistd.h>

#include "job_fixture.h"
#include "own_folder.h"

/** What is wrong with the third of three trials. */
typedef void damage(kvat_trial_record *record, kvat_sample *sample);

static void must(kvat_status status, const kvat_error *err) {
    if (status != KVAT_OK) fail_msg("%s", err->message);
}

static int64_t add_run(kvat_store *store) {
    static const kvat_run_record record = {.identity = "of no matter here",
                                           .created_utc = "",
                                           .model_name = "toy",
                                           .engine_name = "pretend",
                                           .profile_name = "ci-micro",
                                           .request_json = "{}",
                                           .engine_json = "{}",
                                           .describe_json = "{}",
                                           .environment_json = "{}",
                                           .note_json = "{}",
                                           .space_json = "[]",
                                           .state = KVAT_RUN_OPEN};
    int64_t run = 0;
    kvat_error err = KVAT_ERROR_INIT;
    must(kvat_store_add_run(&run, store, &record, &err), &err);
    return run;
}

/** Stores three trials as a drive asks for them, the third with `spoil` done to it. */
static int64_t store_three(kvat_store *store, const kvat__job *job, damage *spoil) {
    kvat__drive *drive = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    kvat_rng rng;
    int64_t run = add_run(store), clock_ns = 0, id;
    kvat_rng_seed(&rng, 3);
    must(kvat__drive_new(&drive, job, &err), &err);
    for (int i = 0; i < 3; i++) {
        kvat__step step;
        kvat_sample sample;
        bool more = false;
        must(kvat__drive_next(&step, &more, drive, &err), &err);
        assert_true(more);
        kvat_trial_record record = fixture_measure(job, &step, &sample, &clock_ns, &rng);
        record.run = run;
        must(kvat__drive_tell(drive, &record, &err), &err);
        if (i == 2 && spoil) spoil(&record, &sample);
        must(kvat_store_add_trial(&id, store, &record, &err), &err);
    }
    kvat__drive_free(drive);
    return run;
}

static kvat_status replay(damage *spoil, size_t *told, kvat_error *err) {
    kvat_store *store = NULL;
    kvat__job *job = fixture_job(0);
    kvat__replay replay = {0};
    (void)unlink("kvat.db");
    must(kvat_store_open(&store, "kvat.db", KVAT_STORE_WRITE, err), err);
    int64_t run = store_three(store, job, spoil);
    must(kvat__drive_new(&replay.drive, job, err), err);
    kvat_status status = kvat__replay_run(&replay, store, run, false, err);
    *told = replay.told;
    kvat_buf_clear(&replay.loaded);
    kvat__drive_free(replay.drive);
    kvat_store_close(store);
    kvat__job_free(job);
    return status;
}

static void what_was_measured_is_told(void **state) {
    (void)state;
    kvat_error err = KVAT_ERROR_INIT;
    size_t told = 0;
    assert_int_equal(replay(NULL, &told, &err), KVAT_OK);
    assert_int_equal(told, 3);
}

#define DAMAGE(name, statement)                                                                                        \
    static void name(kvat_trial_record *record, kvat_sample *sample) {                                                 \
        (void)record, (void)sample;                                                                                    \
        statement;                                                                                                     \
    }
DAMAGE(another_configuration, record->config ^= 1)
DAMAGE(no_configuration, record->config = 1000000)
DAMAGE(another_chunk, record->chunk++)
DAMAGE(another_phase, record->phase = KVAT_PHASE_CONFIRM)
DAMAGE(negative_cost, record->cost_ns = -1)
DAMAGE(endless_cost, record->cost_ns = INT64_MAX)
DAMAGE(negative_load, record->load_ns = INT64_MIN)
DAMAGE(earlier_moment, record->elapsed_ns = 1)
DAMAGE(last_moment, record->elapsed_ns = INT64_MAX)
DAMAGE(negative_clock, record->worker_end_ns = -1)
DAMAGE(negative_launch, record->launch = -1)
DAMAGE(no_memory, record->peak_bytes = 0)
DAMAGE(endless_memory, record->model_bytes = INT64_MAX)
DAMAGE(no_sample, record->n_samples = 0)
DAMAGE(no_cell, sample->cell = 5)
DAMAGE(no_time, sample->ttft_ns = 0)
DAMAGE(endless_time, sample->ttft_ns = sample->ttft_worst_ns = INT64_MAX)
DAMAGE(better_worst, sample->ttft_worst_ns = 1)
DAMAGE(negative_speed, sample->decode_tok_per_s = -1)
DAMAGE(negative_gap, sample->itl_p99_ns = -1)

static void a_trial_that_cannot_have_been_measured_ends_it(void **state) {
    (void)state;
    static const struct {
        damage *spoil;
        const char *says;
    } cases[] = {
        {another_configuration, "do not follow from the stored request"},
        {no_configuration, "do not follow from the stored request"},
        {another_chunk, "do not follow from the stored request"},
        {another_phase, "the place in the run of trial 3"},
        {negative_cost, "a time of trial 3"},
        {endless_cost, "a time of trial 3"},
        {negative_load, "a time of trial 3"},
        {earlier_moment, "the moment of trial 3"},
        {last_moment, "the moment of trial 3"},
        {negative_clock, "the worker's clock of trial 3"},
        {negative_launch, "the worker's clock of trial 3"},
        {no_memory, "peak memory is not positive"},
        {endless_memory, "memory of trial 3"},
        {no_sample, "0 cells were measured, the workload has 1"},
        {no_cell, "cell 5"},
        {no_time, "a sample of trial 3"},
        {endless_time, "a sample of trial 3"},
        {better_worst, "a sample of trial 3"},
        {negative_speed, "a sample of trial 3"},
        {negative_gap, "a sample of trial 3"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_error err = KVAT_ERROR_INIT;
        size_t told = 0;
        assert_int_equal(replay(cases[i].spoil, &told, &err), KVAT_ERR_DATA);
        assert_int_equal(told, 2);
        if (!strstr(err.message, cases[i].says)) fail_msg("\"%s\" does not say \"%s\"", err.message, cases[i].says);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(what_was_measured_is_told),
        FOLDER_TEST(a_trial_that_cannot_have_been_measured_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
