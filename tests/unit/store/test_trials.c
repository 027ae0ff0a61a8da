/* Trials read back as they were written, in order, samples and token times included.
 * Must not know how a file becomes a store. */
#include "unit/store/fixture.h"

#include <math.h>
#include <sqlite3.h>

static void check_numbers(const kvat_trial_record *t) {
    const kvat_trial_record *w = &some_trial;
    assert_int_equal(t->run, w->run);
    assert_int_equal(t->phase, w->phase);
    assert_int_equal(t->config, w->config);
    assert_int_equal(t->block, w->block);
    assert_int_equal(t->chunk, w->chunk);
    assert_int_equal(t->launch, w->launch);
    assert_int_equal(t->fresh_process, w->fresh_process);
    assert_int_equal(t->status, w->status);
    assert_int_equal(t->peak_bytes, w->peak_bytes);
    assert_int_equal(t->model_bytes, w->model_bytes);
    assert_int_equal(t->kv_bytes, w->kv_bytes);
    assert_int_equal(t->compute_bytes, w->compute_bytes);
    assert_int_equal(t->load_ns, w->load_ns);
    assert_int_equal(t->prepare_ns, w->prepare_ns);
    assert_int_equal(t->warmup_ns, w->warmup_ns);
    assert_int_equal(t->run_ns, w->run_ns);
    assert_int_equal(t->worker_start_ns, w->worker_start_ns);
    assert_int_equal(t->worker_end_ns, w->worker_end_ns);
    assert_int_equal(t->elapsed_ns, w->elapsed_ns);
    assert_int_equal(t->cost_ns, w->cost_ns);
    assert_int_equal(t->loaded_ns, w->loaded_ns);
}

static void check_texts(const kvat_trial_record *t) {
    assert_string_equal(t->detail, some_trial.detail);
    assert_string_equal(t->peak_source, some_trial.peak_source);
    assert_string_equal(t->effective_json, some_trial.effective_json);
    assert_string_equal(t->loaded_json, some_trial.loaded_json);
    assert_string_equal(t->activity_json, some_trial.activity_json);
}

static void check_samples(const kvat_trial_record *t) {
    assert_int_equal(t->n_samples, some_trial.n_samples);
    for (size_t i = 0; i < t->n_samples; i++) {
        const kvat_sample *s = &t->samples[i], *w = &some_samples[i];
        assert_int_equal(s->cell, w->cell);
        assert_int_equal(s->ttft_ns, w->ttft_ns);
        assert_int_equal(s->ttft_worst_ns, w->ttft_worst_ns);
        assert_true(s->decode_tok_per_s == w->decode_tok_per_s);
        assert_true(s->itl_p50_ns == w->itl_p50_ns && s->itl_p95_ns == w->itl_p95_ns && s->itl_p99_ns == w->itl_p99_ns);
        assert_true(s->fitted == w->fitted);
    }
}

static void check_timings(const kvat_trial_record *t) {
    assert_int_equal(t->n_timings, some_trial.n_timings);
    for (size_t i = 0; i < t->n_timings; i++) {
        const kvat_timing *s = &t->timings[i], *w = &some_timings[i];
        assert_int_equal(s->cell, w->cell);
        assert_int_equal(s->sequence, w->sequence);
        assert_int_equal(s->burst, w->burst);
        assert_int_equal(s->start_ns, w->start_ns);
        assert_int_equal(s->ttft_ns, w->ttft_ns);
        assert_int_equal(s->n_tokens, w->n_tokens);
        for (size_t k = 0; k < s->n_tokens; k++) assert_int_equal(s->token_ns[k], w->token_ns[k]);
    }
}

static bool check_whole(void *user, const kvat_trial_record *t) {
    ++*(int *)user;
    assert_int_equal(t->id, *(int *)user);
    check_numbers(t);
    check_texts(t);
    check_samples(t);
    check_timings(t);
    return true;
}

static void trials_read_back_as_written_in_order(void **state) {
    int n = 0;
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    (void)state;
    add_run(store);
    for (int i = 0; i < 3; i++) {
        int64_t id = 0;
        assert_ok(kvat_store_add_trial(&id, store, &some_trial, err));
        assert_int_equal(id, i + 1);
    }
    kvat_store_close(store);
    store = open_store(KVAT_STORE_READ);
    assert_ok(kvat_store_each_trial(store, 1, true, check_whole, &n, err));
    assert_int_equal(n, 3);
    kvat_store_close(store);
}

static bool check_without_timings(void *user, const kvat_trial_record *t) {
    ++*(int *)user;
    check_samples(t);
    assert_int_equal(t->n_timings, 0);
    assert_null(t->timings);
    return false;
}

static void timings_come_only_when_asked_and_reading_can_stop(void **state) {
    int n = 0;
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    (void)state;
    add_run(store);
    assert_ok(add_trial(store, err));
    assert_ok(add_trial(store, err));
    assert_ok(kvat_store_each_trial(store, 1, false, check_without_timings, &n, err));
    assert_int_equal(n, 1);
    kvat_store_close(store);
}

static bool check_statuses(void *user, const kvat_trial_record *t) {
    assert_int_equal(t->status, ++*(int *)user);
    assert_string_equal(t->detail, "");
    assert_string_equal(t->loaded_json, "");
    assert_int_equal(t->n_samples, 0);
    return true;
}

static void every_status_of_a_failed_trial_is_kept(void **state) {
    int64_t id;
    int last = KVAT_TRIAL_OK;
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    (void)state;
    add_run(store);
    for (int status = KVAT_TRIAL_OK + 1; status < KVAT_TRIAL_STATUS_COUNT; status++) {
        const kvat_trial_record trial = {.run = 1, .status = (kvat_trial_status)status};
        assert_ok(kvat_store_add_trial(&id, store, &trial, err));
    }
    assert_ok(kvat_store_each_trial(store, 1, true, check_statuses, &last, err));
    assert_int_equal(last, KVAT_TRIAL_STATUS_COUNT - 1);
    kvat_store_close(store);
}

static void what_is_no_number_is_not_written(void **state) {
    const double bad[] = {NAN, INFINITY, -INFINITY};
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    (void)state;
    add_run(store);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t id = -1;
        const kvat_sample sample = {.decode_tok_per_s = bad[i]};
        const kvat_trial_record trial = {.run = 1, .samples = &sample, .n_samples = 1};
        assert_refused(KVAT_ERR_INTERNAL, "finite", kvat_store_add_trial(&id, store, &trial, err));
        assert_int_equal(id, -1);
    }
    assert_int_equal(count_trials(store, 1), 0);
    kvat_store_close(store);
}

static void a_trial_with_two_samples_of_one_cell_is_refused_whole(void **state) {
    int64_t id = -1;
    const kvat_sample twice[] = {{.cell = 1}, {.cell = 1}};
    const kvat_trial_record trial = {.run = 1, .samples = twice, .n_samples = 2};
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    (void)state;
    add_run(store);
    assert_refused(KVAT_ERR_INTERNAL, "add a trial", kvat_store_add_trial(&id, store, &trial, err));
    assert_int_equal(count_trials(store, 1), 0);
    assert_ok(add_trial(store, err));
    assert_int_equal(count_trials(store, 1), 1);
    kvat_store_close(store);
}

static bool add_while_reading(void *user, const kvat_trial_record *t) {
    if (t->id == 1) assert_ok(add_trial(user, err));
    return t->id < 2;
}

static void a_trial_may_be_added_while_reading(void **state) {
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    (void)state;
    add_run(store);
    assert_ok(add_trial(store, err));
    assert_ok(kvat_store_each_trial(store, 1, true, add_while_reading, store, err));
    assert_int_equal(count_trials(store, 1), 2);
    kvat_store_close(store);
}

static void trials_that_got_lost_are_missed(void **state) {
    int64_t id;
    int n = 0;
    sqlite3 *db = NULL;
    (void)state;
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    const kvat_trial_record trial = {.run = 1, .status = KVAT_TRIAL_CRASH};
    add_run(store);
    for (int i = 0; i < 3; i++) assert_ok(kvat_store_add_trial(&id, store, &trial, err));
    kvat_store_close(store);
    assert_int_equal(sqlite3_open("kvat.db", &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "DELETE FROM trial WHERE id = 3", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    store = open_store(KVAT_STORE_READ);
    assert_refused(KVAT_ERR_DATA, "trials that were stored are missing",
                   kvat_store_each_trial(store, 1, true, count_trial, &n, err));
    assert_int_equal(n, 2);
    kvat_store_close(store);
}

static void token_times_are_little_endian_bytes(void **state) {
    static const unsigned char expected[] = {8, 7, 6, 5, 4, 3, 2, 1};
    sqlite3 *db = NULL;
    sqlite3_stmt *query = NULL;
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    (void)state;
    add_run(store);
    assert_ok(add_trial(store, err));
    kvat_store_close(store);
    assert_int_equal(sqlite3_open("kvat.db", &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT token_ns FROM timing WHERE id = 1", -1, &query, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(query), SQLITE_ROW);
    assert_int_equal(sqlite3_column_bytes(query, 0), 24);
    assert_memory_equal((const char *)sqlite3_column_blob(query, 0) + 16, expected, sizeof expected);
    sqlite3_finalize(query);
    sqlite3_close(db);
}

static void many_samples_and_timings_fit(void **state) {
    enum { N = 100 };
    int64_t id;
    int n = 0;
    kvat_sample samples[N] = {0};
    kvat_timing timings[N] = {0};
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    (void)state;
    for (size_t i = 0; i < N; i++) samples[i].cell = timings[i].cell = i;
    const kvat_trial_record trial = {.run = 1, .samples = samples, .n_samples = N, .timings = timings, .n_timings = N};
    add_run(store);
    assert_ok(kvat_store_add_trial(&id, store, &trial, err));
    assert_ok(kvat_store_each_trial(store, 1, true, count_trial, &n, err));
    assert_int_equal(n, 1);
    kvat_store_close(store);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(trials_read_back_as_written_in_order),
        FOLDER_TEST(timings_come_only_when_asked_and_reading_can_stop),
        FOLDER_TEST(every_status_of_a_failed_trial_is_kept),
        FOLDER_TEST(what_is_no_number_is_not_written),
        FOLDER_TEST(a_trial_with_two_samples_of_one_cell_is_refused_whole),
        FOLDER_TEST(a_trial_may_be_added_while_reading),
        FOLDER_TEST(trials_that_got_lost_are_missed),
        FOLDER_TEST(token_times_are_little_endian_bytes),
        FOLDER_TEST(many_samples_and_timings_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
