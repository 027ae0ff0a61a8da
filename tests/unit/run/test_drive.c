// Tests of the drive: order of phases, budget, disturbed measurements, and the replay of stored records.
#include "job_fixture.h"

typedef struct history {
    kvat_trial_record records[512];
    kvat_sample samples[512];
    size_t n;
} history;

/** Drives until finished or `most` measurements; everything told is kept in `kept` when given. */
static void drive_on(kvat__drive *drive, const kvat__job *job, size_t most, history *kept, int64_t *clock_ns) {
    kvat_rng rng;
    kvat_rng_seed(&rng, 7);
    kvat_error err = KVAT_ERROR_INIT;
    for (size_t i = 0; i < most; i++) {
        kvat__step step;
        bool more = false;
        assert_int_equal(kvat__drive_next(&step, &more, drive, &err), KVAT_OK);
        if (!more) return;
        kvat_sample scratch, *sample = kept ? &kept->samples[kept->n] : &scratch;
        kvat_trial_record record = fixture_measure(job, &step, sample, clock_ns, &rng);
        if (kvat__drive_tell(drive, &record, &err) != KVAT_OK) fail_msg("%s", err.message);
        if (kept) kept->records[kept->n++] = record;
        assert_true(i < 500);
    }
}

static kvat__drive *new_drive(const kvat__job *job) {
    kvat__drive *drive = NULL;
    assert_int_equal(kvat__drive_new(&drive, job, NULL), KVAT_OK);
    return drive;
}

static void default_is_measured_first(void **state) {
    (void)state;
    kvat__job *job = fixture_job(0);
    kvat__drive *drive = new_drive(job);
    kvat__step step;
    bool more = false;
    assert_int_equal(kvat__drive_next(&step, &more, drive, NULL), KVAT_OK);
    assert_true(more);
    assert_int_equal(step.config, 0);
    assert_int_equal(step.phase, KVAT_PHASE_SEARCH);
    assert_int_equal(kvat_space_count(job->space), 6);
    kvat__drive_free(drive);
    kvat__job_free(job);
}

static void best_configuration_wins_and_is_confirmed_against_the_default(void **state) {
    (void)state;
    kvat__job *job = fixture_job(0);
    kvat__drive *drive = new_drive(job);
    int64_t clock_ns = 0;
    drive_on(drive, job, 1000, NULL, &clock_ns);
    kvat__drive_view view;
    assert_int_equal(kvat__drive_look(&view, drive, NULL), KVAT_OK);
    assert_true(view.answer.has_leader);
    assert_true(fabs(fixture_truth(job, view.answer.leader) - 0.08) < 1e-12);
    assert_true(view.answer.p_good >= 0.95);
    assert_int_equal(view.reference_config, 0);
    assert_int_equal(view.confirmation.verdict, KVAT_VERDICT_A);
    assert_true(view.confirmation.pairs >= 4);
    /* the score weighs time to first token and decode with .85 together: the truth of the gain is .85 × .08 */
    assert_true(view.confirmation.score.low < 0.068 && view.confirmation.score.high > 0.068);
    assert_false(view.out_of_budget);
    kvat__drive_free(drive);
    kvat__job_free(job);
}

static void budget_ends_the_search_and_leaves_time_to_confirm(void **state) {
    (void)state;
    const int64_t budget_ns = 16 * KVAT_NS_PER_S;
    kvat__job *job = fixture_job(budget_ns);
    kvat__drive *drive = new_drive(job);
    int64_t clock_ns = 0;
    drive_on(drive, job, 1000, NULL, &clock_ns);
    kvat__drive_view view;
    assert_int_equal(kvat__drive_look(&view, drive, NULL), KVAT_OK);
    assert_true(view.out_of_budget);
    assert_true(clock_ns <= budget_ns + budget_ns / 2);
    kvat__drive_free(drive);
    kvat__job_free(job);
}

static void voided_measurement_is_repeated_twice_and_then_given_up(void **state) {
    (void)state;
    kvat__job *job = fixture_job(0);
    kvat__drive *drive = new_drive(job);
    int64_t clock_ns = 0;
    drive_on(drive, job, 1, NULL, &clock_ns);
    kvat__step first, again;
    bool more = false;
    assert_int_equal(kvat__drive_next(&first, &more, drive, NULL), KVAT_OK);
    for (int attempt = 0; attempt < 3; attempt++) {
        assert_int_equal(kvat__drive_next(&again, &more, drive, NULL), KVAT_OK);
        assert_int_equal(again.config, first.config);
        assert_int_equal(again.chunk, first.chunk);
        clock_ns += KVAT_NS_PER_S;
        kvat_trial_record record = {.phase = again.phase,
                                    .config = again.config,
                                    .block = again.block,
                                    .chunk = again.chunk,
                                    .status = KVAT_TRIAL_VOIDED,
                                    .detail = "suspended for 3 s",
                                    .elapsed_ns = clock_ns,
                                    .cost_ns = KVAT_NS_PER_S};
        assert_int_equal(kvat__drive_tell(drive, &record, NULL), KVAT_OK);
    }
    kvat__drive_view view;
    assert_int_equal(kvat__drive_look(&view, drive, NULL), KVAT_OK);
    assert_int_equal(view.voided, 3);
    assert_int_equal(view.answer.standing[first.config].clean_runs, 0);
    kvat__drive_free(drive);
    kvat__job_free(job);
}

/** Every configuration but the default runs out of memory; the n-th is forecast to need more than the one before. */
static void measure_without_memory(kvat_trial_record *record, const kvat__job *job, const kvat__step *step) {
    (void)job;
    if (step->config == 0) return;
    record->status = KVAT_TRIAL_OOM_HOST;
    record->samples = NULL;
    record->n_samples = 0;
}

static void what_one_result_rules_out_is_not_measured_in_the_same_chunk(void **state) {
    (void)state;
    kvat__job *job = fixture_job(0);
    for (size_t i = 1; i < 6; i++) job->forecast_bytes[i] = (int64_t)i << 20;
    job->forecast_bytes[0] = 0;
    kvat__drive *drive = new_drive(job);
    kvat_rng rng;
    kvat_rng_seed(&rng, 7);
    int64_t clock_ns = 0;
    size_t failed = 0;
    for (bool more = true; more;) {
        kvat__step step;
        kvat__drive_view view;
        assert_int_equal(kvat__drive_next(&step, &more, drive, NULL), KVAT_OK);
        if (!more) break;
        assert_int_equal(kvat__drive_look(&view, drive, NULL), KVAT_OK);
        assert_true(view.answer.standing[step.config].state != KVAT_CONFIG_INFEASIBLE);
        kvat_sample sample;
        kvat_trial_record record = fixture_measure(job, &step, &sample, &clock_ns, &rng);
        measure_without_memory(&record, job, &step);
        failed += record.status != KVAT_TRIAL_OK;
        assert_int_equal(kvat__drive_tell(drive, &record, NULL), KVAT_OK);
    }
    assert_true(failed >= 2 && failed < 10); /* two each without the forecast */
    kvat__drive_free(drive);
    kvat__job_free(job);
}

static void told_records_lead_to_the_same_steps_again(void **state) {
    (void)state;
    kvat__job *job = fixture_job(0);
    history *kept = test_calloc(1, sizeof *kept);
    kvat__drive *drive = new_drive(job);
    int64_t clock_ns = 0;
    drive_on(drive, job, 1000, kept, &clock_ns);
    kvat__drive *other = new_drive(job);
    for (size_t i = 0; i < kept->n; i++) {
        kvat__step step;
        bool more = false;
        assert_int_equal(kvat__drive_next(&step, &more, other, NULL), KVAT_OK);
        assert_true(more);
        assert_int_equal(step.config, kept->records[i].config);
        assert_int_equal(step.phase, kept->records[i].phase);
        assert_int_equal(kvat__drive_tell(other, &kept->records[i], NULL), KVAT_OK);
    }
    kvat__drive_view a, b;
    assert_int_equal(kvat__drive_look(&a, drive, NULL), KVAT_OK);
    assert_int_equal(kvat__drive_look(&b, other, NULL), KVAT_OK);
    assert_int_equal(a.answer.leader, b.answer.leader);
    assert_true(a.answer.p_good == b.answer.p_good);
    assert_true(a.confirmation.score.value == b.confirmation.score.value);
    kvat__drive_free(drive);
    kvat__drive_free(other);
    test_free(kept);
    kvat__job_free(job);
}

static void record_of_another_step_is_refused(void **state) {
    (void)state;
    kvat__job *job = fixture_job(0);
    kvat__drive *drive = new_drive(job);
    kvat__step step;
    bool more = false;
    assert_int_equal(kvat__drive_next(&step, &more, drive, NULL), KVAT_OK);
    kvat_trial_record record = {.phase = KVAT_PHASE_SEARCH, .config = step.config + 1, .status = KVAT_TRIAL_CRASH};
    kvat_error err = KVAT_ERROR_INIT;
    assert_int_equal(kvat__drive_tell(drive, &record, &err), KVAT_ERR_DATA);
    assert_non_null(strstr(err.message, "--fresh"));
    kvat__drive_free(drive);
    kvat__job_free(job);
}

static void larger_budget_skips_the_stored_confirmation_and_searches_on(void **state) {
    (void)state;
    kvat__job *small = fixture_job(16 * KVAT_NS_PER_S), *large = fixture_job(600 * KVAT_NS_PER_S);
    history *kept = test_calloc(1, sizeof *kept);
    kvat__drive *drive = new_drive(small);
    int64_t clock_ns = 0;
    drive_on(drive, small, 1000, kept, &clock_ns);
    assert_int_equal(kept->records[kept->n - 1].phase, KVAT_PHASE_CONFIRM);
    kvat__drive *other = new_drive(large);
    size_t skipped = 0;
    for (size_t i = 0; i < kept->n; i++) {
        kvat__step step;
        bool more = false;
        assert_int_equal(kvat__drive_next(&step, &more, other, NULL), KVAT_OK);
        if (kvat__drive_skips(other, &kept->records[i])) {
            kvat__drive_skip(other, &kept->records[i]);
            skipped++;
        } else {
            assert_int_equal(kvat__drive_tell(other, &kept->records[i], NULL), KVAT_OK);
        }
    }
    assert_true(skipped > 0);
    drive_on(other, large, 1000, NULL, &clock_ns);
    kvat__drive_view view;
    assert_int_equal(kvat__drive_look(&view, other, NULL), KVAT_OK);
    assert_false(view.out_of_budget);
    assert_int_equal(view.confirmation.verdict, KVAT_VERDICT_A);
    kvat__drive_free(drive);
    kvat__drive_free(other);
    test_free(kept);
    kvat__job_free(small);
    kvat__job_free(large);
}

static void run_limit_is_three_times_the_default(void **state) {
    (void)state;
    kvat__job *job = fixture_job(0);
    kvat__drive *drive = new_drive(job);
    assert_int_equal(kvat__drive_run_limit_ns(drive), 600 * KVAT_NS_PER_S); /* half of the budget before it is known */
    int64_t clock_ns = 0;
    drive_on(drive, job, 1, NULL, &clock_ns);
    assert_int_equal(kvat__drive_run_limit_ns(drive), 3 * clock_ns);
    kvat__drive_free(drive);
    kvat__job_free(job);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(default_is_measured_first),
        cmocka_unit_test(best_configuration_wins_and_is_confirmed_against_the_default),
        cmocka_unit_test(budget_ends_the_search_and_leaves_time_to_confirm),
        cmocka_unit_test(voided_measurement_is_repeated_twice_and_then_given_up),
        cmocka_unit_test(what_one_result_rules_out_is_not_measured_in_the_same_chunk),
        cmocka_unit_test(told_records_lead_to_the_same_steps_again),
        cmocka_unit_test(record_of_another_step_is_refused),
        cmocka_unit_test(larger_budget_skips_the_stored_confirmation_and_searches_on),
        cmocka_unit_test(run_limit_is_three_times_the_default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
