/* Every allocation fails in turn, SQLite's and jansson's included: out of memory is said, and nothing is half done.
 * Must not know where memory is taken. */
#include "unit/store/fixture.h"

#include <jansson.h>
#include <malloc.h>
#include <sqlite3.h>

#include "fail_alloc.h"

static void *take(int n) {
    return malloc((size_t)n);
}

static void *take_again(void *old, int n) {
    return realloc(old, (size_t)n);
}

static int size_of(void *bytes) {
    return (int)malloc_usable_size(bytes);
}

static int round_up(int n) {
    return n;
}

static int start(void *unused) {
    (void)unused;
    return SQLITE_OK;
}

static void stop(void *unused) {
    (void)unused;
}

static int hand_over_allocation(void **state) {
    static const sqlite3_mem_methods methods = {take, free, take_again, size_of, round_up, start, stop, NULL};
    (void)state;
    json_set_alloc_funcs(malloc, free);
    return sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) == SQLITE_OK ? 0 : -1;
}

static kvat_status try_open(void *context, kvat_error *err) {
    kvat_store *store = NULL;
    kvat_status status = kvat_store_open(&store, "kvat.db", *(kvat_store_mode *)context, err);
    kvat_store_close(store);
    return status;
}

static void opening_survives_every_failing_allocation(void **state) {
    (void)state;
    for (kvat_store_mode mode = KVAT_STORE_WRITE; (int)mode >= KVAT_STORE_READ; mode--)
        assert_true(fail_alloc_each(try_open, &mode) > 20);
}

static kvat_status try_add_run(void *context, kvat_error *err) {
    int64_t id = 0;
    return kvat_store_add_run(&id, context, &some_run, err);
}

static kvat_status try_read_trials(void *context, kvat_error *err) {
    int n = 0;
    return kvat_store_each_trial(context, 1, true, count_trial, &n, err);
}

static bool ignore_run(void *user, const kvat_run_record *run) {
    (void)user;
    (void)run;
    return true;
}

static kvat_status try_list(void *context, kvat_error *err) {
    kvat_status status = kvat_store_each_run(context, ignore_run, NULL, err);
    return status == KVAT_OK ? kvat_store_get_run(context, 1, ignore_run, NULL, err) : status;
}

static void every_operation_survives_every_failing_allocation(void **state) {
    static fail_alloc_step *const steps[] = {try_add_run, try_read_trials, try_list};
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    (void)state;
    add_run(store);
    assert_ok(add_trial(store, err));
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) assert_true(fail_alloc_each(steps[i], store) > 2);
    kvat_store_close(store);
}

/* Adds a trial with allocation `n` failing. True when the failure was met. */
static bool add_without(size_t n, bool and_all_after) {
    kvat_error err = KVAT_ERROR_INIT;
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    int before = count_trials(store, 1);
    fail_alloc_arm(n, and_all_after);
    kvat_status status = add_trial(store, &err);
    bool met = fail_alloc_disarm();
    if (status != KVAT_OK && status != KVAT_ERR_NOMEM) fail_msg("allocation %zu: %s", n, err.message);
    assert_int_equal(count_trials(store, 1), before + (status == KVAT_OK));
    kvat_store_close(store);
    store = open_store(KVAT_STORE_READ);
    assert_int_equal(count_trials(store, 1), before + (status == KVAT_OK));
    kvat_store_close(store);
    return met;
}

static void a_trial_without_memory_is_not_there(void **state) {
    size_t n = 1;
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    (void)state;
    add_run(store);
    kvat_store_close(store);
    while (add_without(n, false)) {
        add_without(n, true);
        n++;
    }
    assert_true(n > 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(opening_survives_every_failing_allocation),
        FOLDER_TEST(every_operation_survives_every_failing_allocation),
        FOLDER_TEST(a_trial_without_memory_is_not_there),
    };
    return cmocka_run_group_tests(tests, hand_over_allocation, NULL);
}
