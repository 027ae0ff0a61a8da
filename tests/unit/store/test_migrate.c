/* A store of an older version gets the steps it lacks, all of them or none.
 * Must not know the real steps. */
#include "unit/store/fixture.h"

#include "store_internal.h"

static const kvat__migration steps[] = {
    {"001_initial", "CREATE TABLE a (x INTEGER) STRICT; INSERT INTO a VALUES (7);"},
    {"002_b", "CREATE TABLE b (x INTEGER) STRICT; INSERT INTO b SELECT x + 1 FROM a;"},
    {"003_c", "ALTER TABLE b ADD COLUMN y TEXT; INSERT INTO b VALUES (1, 'y');"},
};
static const kvat__migration broken_steps[] = {
    {"001_initial", ""},
    {"002_b", "CREATE TABLE b (x INTEGER) STRICT"},
    {"003_wrong", "INSERT INTO nowhere VALUES (1)"},
};

static kvat_store *open_at(int version, kvat_store_mode mode) {
    const kvat__schema schema = {steps, version};
    kvat_store *store = NULL;
    assert_ok(kvat__store_open_with(&store, "kvat.db", mode, &schema, err));
    return store;
}

static int64_t number(kvat_store *store, const char *sql) {
    int64_t value = -1;
    assert_ok(kvat__sql_int(&value, store, sql, "read a number", err));
    return value;
}

static void make_version(int version) {
    kvat_store_close(open_at(version, KVAT_STORE_WRITE));
}

static void an_older_store_is_brought_up_to_date(void **state) {
    (void)state;
    make_version(1);
    kvat_store *store = open_at(3, KVAT_STORE_WRITE);
    assert_int_equal(number(store, "SELECT x FROM b ORDER BY y"), 8);
    assert_int_equal(number(store, "PRAGMA user_version"), 3);
    kvat_store_close(store);
    store = open_at(3, KVAT_STORE_WRITE);
    assert_int_equal(number(store, "SELECT count(*) FROM b"), 2);
    kvat_store_close(store);
}

static void a_step_that_fails_undoes_those_before_it(void **state) {
    const kvat__schema broken = {broken_steps, 3};
    kvat_store *store = NULL;
    (void)state;
    make_version(1);
    assert_refused(KVAT_ERR_INTERNAL, "003_wrong",
                   kvat__store_open_with(&store, "kvat.db", KVAT_STORE_WRITE, &broken, err));
    store = open_at(1, KVAT_STORE_WRITE);
    assert_int_equal(number(store, "PRAGMA user_version"), 1);
    assert_int_equal(number(store, "SELECT count(*) FROM sqlite_schema WHERE name = 'b'"), 0);
    kvat_store_close(store);
}

static void reading_an_older_store_changes_no_file(void **state) {
    size_t n = 0, m = 0;
    (void)state;
    make_version(1);
    char *before = slurp("kvat.db", &n);
    kvat_store *store = open_at(2, KVAT_STORE_READ);
    assert_int_equal(number(store, "SELECT x FROM b"), 8);
    kvat_store_close(store);
    char *after = slurp("kvat.db", &m);
    assert_int_equal(n, m);
    assert_memory_equal(before, after, n);
    free(before);
    free(after);
}

static void the_shipped_steps_lead_to_their_number(void **state) {
    (void)state;
    assert_true(kvat__n_migrations >= 1);
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    assert_int_equal(number(store, "PRAGMA user_version"), kvat__n_migrations);
    assert_int_equal(number(store, "PRAGMA application_id"), KVAT__APPLICATION_ID);
    assert_int_equal(number(store, "SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND type = 'table' "
                                   "AND name NOT LIKE 'sqlite_%' AND NOT strict"),
                     0);
    kvat_store_close(store);
}

/* What the first version wrote: one trial, whose cell 0 was decoded by two sequences. */
static void write_first_version(void) {
    const kvat__schema first = {kvat__migrations, 1};
    kvat_store *store = NULL;
    assert_ok(kvat__store_open_with(&store, "kvat.db", KVAT_STORE_WRITE, &first, err));
    add_run(store);
    assert_ok(kvat__sql_exec(
        store,
        "INSERT INTO trial VALUES (1,1,'search',0,0,0,0,0,'ok','',9,'VmHWM',0,0,0,0,0,0,0,0,0,0,0,'{}','{}',0,'{}');"
        "INSERT INTO sample VALUES (1,0,5,6,0.5,1.0,2.0,3.0);"
        "INSERT INTO timing VALUES (1,1,0,0,7,5,x'0500000000000000'), (2,1,0,1,7,5,x'0600000000000000');",
        "write what an older kvat wrote", err));
    kvat_store_close(store);
}

static bool is_as_first_written(void *user, const kvat_trial_record *trial) {
    ++*(int *)user;
    assert_int_equal(trial->n_samples, 1);
    assert_false(trial->samples[0].fitted);
    assert_true(trial->samples[0].decode_tok_per_s == 0.5);
    assert_int_equal(trial->n_timings, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(trial->timings[i].sequence, i);
        assert_int_equal(trial->timings[i].burst, 0);
        assert_int_equal(trial->timings[i].n_tokens, 1);
        assert_int_equal(trial->timings[i].token_ns[0], 5 + i);
    }
    return true;
}

static void what_the_first_version_wrote_is_read_and_written_on(void **state) {
    (void)state;
    write_first_version();
    for (int i = 0; i < 2; i++) {
        int n = 0, m = 0;
        kvat_store *store = open_store(i ? KVAT_STORE_WRITE : KVAT_STORE_READ);
        assert_ok(kvat_store_each_trial(store, 1, true, is_as_first_written, &n, err));
        assert_int_equal(n, 1);
        if (i) assert_ok(add_trial(store, err));
        if (i) assert_ok(kvat_store_each_trial(store, 1, false, count_trial, &m, err));
        assert_int_equal(m, i ? 2 : 0);
        kvat_store_close(store);
    }
}

static void a_store_open_for_writing_is_careful(void **state) {
    (void)state;
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    assert_int_equal(number(store, "PRAGMA synchronous"), 2);
    assert_int_equal(number(store, "PRAGMA foreign_keys"), 1);
    assert_int_equal(number(store, "SELECT journal_mode = 'wal' FROM pragma_journal_mode"), 1);
    kvat_store_close(store);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(an_older_store_is_brought_up_to_date),
        FOLDER_TEST(a_step_that_fails_undoes_those_before_it),
        FOLDER_TEST(reading_an_older_store_changes_no_file),
        FOLDER_TEST(the_shipped_steps_lead_to_their_number),
        FOLDER_TEST(what_the_first_version_wrote_is_read_and_written_on),
        FOLDER_TEST(a_store_open_for_writing_is_careful),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
