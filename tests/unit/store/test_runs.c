/* Runs: added, found, listed, ended, removed.
 * Must not know how a file becomes a store. */
#include "unit/store/fixture.h"

static void every_state_has_its_word(void **state) {
    (void)state;
    assert_string_equal(kvat_run_state_word(KVAT_RUN_OPEN), "open");
    assert_string_equal(kvat_run_state_word(KVAT_RUN_FINISHED), "finished");
    assert_string_equal(kvat_run_state_word(KVAT_RUN_ABANDONED), "abandoned");
    assert_string_equal(kvat_run_state_word((kvat_run_state)99), "unknown");
}

static bool check_whole(void *user, const kvat_run_record *run) {
    assert_int_equal(run->id, 1);
    assert_string_equal(run->identity, "i1");
    assert_string_equal(run->created_utc, "2026-11-22T15:30:00Z");
    assert_string_equal(run->model_name, "a model");
    assert_string_equal(run->engine_name, "sim");
    assert_string_equal(run->profile_name, "ci-micro");
    assert_string_equal(run->request_json, "{\"request\":1}");
    assert_string_equal(run->engine_json, "{\"engine\":1}");
    assert_string_equal(run->describe_json, "{\"describe\":1}");
    assert_string_equal(run->environment_json, "{\"environment\":1}");
    assert_string_equal(run->space_json, "[{}]");
    assert_string_equal(run->note_json, "{}");
    assert_int_equal(run->state, KVAT_RUN_OPEN);
    assert_int_equal(run->trials, 2);
    *(bool *)user = true;
    return true;
}

static void a_run_reads_back_as_written(void **state) {
    bool called = false;
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    (void)state;
    assert_int_equal(add_run(store), 1);
    assert_ok(add_trial(store, err));
    assert_ok(add_trial(store, err));
    kvat_store_close(store);
    store = open_store(KVAT_STORE_READ);
    assert_ok(kvat_store_get_run(store, 1, check_whole, &called, err));
    assert_true(called);
    assert_refused(KVAT_ERR_USAGE, "no run 2", kvat_store_get_run(store, 2, check_whole, &called, err));
    kvat_store_close(store);
}

typedef struct listing {
    int64_t ids[8], trials[8];
    kvat_run_state states[8];
    int n, stop_after;
} listing;

static bool list(void *user, const kvat_run_record *run) {
    listing *l = user;
    assert_true(l->n < 8);
    assert_string_equal(run->model_name, "a model");
    assert_null(run->request_json);
    assert_null(run->space_json);
    l->ids[l->n] = run->id;
    l->trials[l->n] = run->trials;
    l->states[l->n++] = run->state;
    return l->n != l->stop_after;
}

static void a_listing_counts_trials_oldest_first(void **state) {
    listing all = {0}, one = {.stop_after = 1};
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    (void)state;
    for (int i = 0; i < 3; i++) add_run(store);
    assert_ok(add_trial(store, err));
    assert_ok(kvat_store_set_run_state(store, 2, KVAT_RUN_FINISHED, NULL, err));
    assert_ok(kvat_store_each_run(store, list, &all, err));
    assert_int_equal(all.n, 3);
    for (int i = 0; i < 3; i++) assert_int_equal(all.ids[i], i + 1);
    assert_int_equal(all.trials[0], 1);
    assert_int_equal(all.trials[1], 0);
    assert_int_equal(all.states[0], KVAT_RUN_OPEN);
    assert_int_equal(all.states[1], KVAT_RUN_FINISHED);
    assert_ok(kvat_store_each_run(store, list, &one, err));
    assert_int_equal(one.n, 1);
    kvat_store_close(store);
}

static bool keep_note(void *user, const kvat_run_record *run) {
    snprintf(user, 64, "%s %s", kvat_run_state_word(run->state), run->note_json);
    return true;
}

static void a_state_is_set_with_or_without_a_note(void **state) {
    char seen[64];
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    (void)state;
    add_run(store);
    assert_ok(kvat_store_set_run_state(store, 1, KVAT_RUN_FINISHED, "{\"a\":1}", err));
    assert_ok(kvat_store_set_run_state(store, 1, KVAT_RUN_ABANDONED, NULL, err));
    assert_ok(kvat_store_get_run(store, 1, keep_note, seen, err));
    assert_string_equal(seen, "abandoned {\"a\":1}");
    assert_refused(KVAT_ERR_USAGE, "no run 9", kvat_store_set_run_state(store, 9, KVAT_RUN_OPEN, "{}", err));
    kvat_store_close(store);
}

static void the_newest_run_of_an_identity_is_found_unless_abandoned(void **state) {
    int64_t id = 0;
    kvat_run_record other = some_run;
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    (void)state;
    other.identity = "i2";
    add_run(store);
    add_run(store);
    assert_ok(kvat_store_add_run(&id, store, &other, err));
    assert_int_equal(id, 3);
    assert_ok(kvat_store_find_run(&id, store, "i1", err));
    assert_int_equal(id, 2);
    assert_ok(kvat_store_set_run_state(store, 2, KVAT_RUN_ABANDONED, NULL, err));
    assert_ok(kvat_store_find_run(&id, store, "i1", err));
    assert_int_equal(id, 1);
    assert_ok(kvat_store_find_run(&id, store, "i' OR 1=1", err));
    assert_int_equal(id, 0);
    assert_ok(kvat_store_latest_run(&id, store, err));
    assert_int_equal(id, 3);
    kvat_store_close(store);
}

static void a_removed_run_takes_everything_and_its_number_with_it(void **state) {
    listing l = {0};
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    (void)state;
    add_run(store);
    assert_ok(add_trial(store, err));
    assert_ok(kvat_store_remove_run(store, 1, err));
    assert_int_equal(count_trials(store, 1), 0);
    assert_ok(kvat_store_each_run(store, list, &l, err));
    assert_int_equal(l.n, 0);
    assert_int_equal(add_run(store), 2);
    assert_refused(KVAT_ERR_USAGE, "no run 1", kvat_store_remove_run(store, 1, err));
    assert_refused(KVAT_ERR_USAGE, "no run 1", add_trial(store, err));
    kvat_store_close(store);
}

static void a_reader_may_not_change_anything(void **state) {
    int64_t id = 5;
    kvat_store_close(open_store(KVAT_STORE_WRITE));
    kvat_store *store = open_store(KVAT_STORE_READ);
    (void)state;
    assert_refused(KVAT_ERR_USAGE, "for reading", kvat_store_add_run(&id, store, &some_run, err));
    assert_refused(KVAT_ERR_USAGE, "for reading", kvat_store_remove_run(store, 1, err));
    assert_refused(KVAT_ERR_USAGE, "for reading", kvat_store_set_run_state(store, 1, KVAT_RUN_OPEN, NULL, err));
    assert_int_equal(id, 5);
    kvat_store_close(store);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_state_has_its_word),
        FOLDER_TEST(a_run_reads_back_as_written),
        FOLDER_TEST(a_listing_counts_trials_oldest_first),
        FOLDER_TEST(a_state_is_set_with_or_without_a_note),
        FOLDER_TEST(the_newest_run_of_an_identity_is_found_unless_abandoned),
        FOLDER_TEST(a_removed_run_takes_everything_and_its_number_with_it),
        FOLDER_TEST(a_reader_may_not_change_anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
