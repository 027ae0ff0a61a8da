/* A full or failing disk: whatever change fails, the trial is there whole or not at all, and the store opens again.
 * Must not know which changes SQLite makes. */
#include "unit/store/fixture.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "fail_io.h"
#include "shims/io_fault.h"

typedef struct fault {
    const char *name;
    int errnum;
    io_fault_kind kind;
    bool sticky;
} fault;

static const fault faults[] = {
    {"one failed change", EIO, IO_FAULT_ANY, false}, {"a full disk", ENOSPC, IO_FAULT_ANY, true},
    {"a dead disk", EIO, IO_FAULT_ANY, true},        {"one failed sync", EIO, IO_FAULT_SYNC, false},
    {"no sync any more", EIO, IO_FAULT_SYNC, true},
};
enum { N_FAULTS = sizeof faults / sizeof faults[0], ENOUGH = 500 };

static void fresh(void) {
    unlink("kvat.db");
    unlink("kvat.db-wal");
    unlink("kvat.db-shm");
    unlink("kvat.db-journal");
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    add_run(store);
    assert_ok(add_trial(store, err));
    kvat_store_close(store);
}

static void expect_trials(const fault *f, int n, int expected) {
    kvat_store *store = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    if (kvat_store_open(&store, "kvat.db", KVAT_STORE_WRITE, &err) != KVAT_OK)
        fail_msg("%s, change %d: does not open again: %s", f->name, n, err.message);
    int trials = count_trials(store, 1);
    if (trials != expected) fail_msg("%s, change %d: %d trials instead of %d", f->name, n, trials, expected);
    kvat_store_close(store);
}

/* Adds one trial with change `n` failing. True when the fault was met. */
static bool add_under(const fault *f, int n, int *added, bool close_under_fault) {
    kvat_error err = KVAT_ERROR_INIT;
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    io_fault_arm(n, f->errnum, f->kind, f->sticky);
    kvat_status status = add_trial(store, &err);
    bool met = false;
    if (!close_under_fault) met = io_fault_disarm();
    if (status != KVAT_OK && status != KVAT_ERR_IO) fail_msg("%s, change %d: %s", f->name, n, err.message);
    if (status == KVAT_ERR_IO && !strstr(err.message, "kvat.db")) fail_msg("no file named: %s", err.message);
    *added = status == KVAT_OK;
    kvat_store_close(store);
    return io_fault_disarm() || met;
}

static void each_change(bool close_under_fault) {
    for (size_t i = 0; i < N_FAULTS; i++) {
        int n = 1, added = 0;
        bool met = true;
        for (; met && n < ENOUGH; n++) {
            fresh();
            met = add_under(&faults[i], n, &added, close_under_fault);
            expect_trials(&faults[i], n, 1 + added);
        }
        assert_true(n > 2 && n < ENOUGH);
        assert_int_equal(added, 1);
    }
}

static void a_trial_is_there_whole_or_not_at_all(void **state) {
    (void)state;
    each_change(false);
}

static void a_fault_that_lasts_to_the_end_loses_nothing_acknowledged(void **state) {
    (void)state;
    each_change(true);
}

/* The process dies right after the failure: what stands in the log is what recovery will find. */
static void a_failed_commit_is_not_resurrected_by_recovery(void **state) {
    (void)state;
    for (size_t i = 0; i < N_FAULTS; i++) {
        for (int n = 1, met = 1; met && n < ENOUGH; n++) {
            size_t db_bytes = 0, wal_bytes = 0;
            kvat_error err = KVAT_ERROR_INIT;
            fresh();
            kvat_store *store = open_store(KVAT_STORE_WRITE);
            io_fault_arm(n, faults[i].errnum, faults[i].kind, faults[i].sticky);
            kvat_status status = add_trial(store, &err);
            met = io_fault_disarm();
            char *db = slurp("kvat.db", &db_bytes), *wal = slurp("kvat.db-wal", &wal_bytes);
            kvat_store_close(store);
            write_file("kvat.db", db, db_bytes);
            write_file("kvat.db-wal", wal, wal_bytes);
            free(db);
            free(wal);
            /* A dead disk cannot be written to undo anything: then the trial may be there, but only whole. */
            bool excused = status != KVAT_OK && faults[i].sticky && faults[i].kind == IO_FAULT_ANY;
            if (!excused) expect_trials(&faults[i], n, 1 + (status == KVAT_OK));
        }
    }
}

static void a_run_goes_on_after_the_disk_recovers(void **state) {
    (void)state;
    fresh();
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    for (int n = 1; n < 8; n++) {
        int before = count_trials(store, 1);
        io_fault_arm(n, ENOSPC, IO_FAULT_ANY, true);
        kvat_status status = add_trial(store, NULL);
        io_fault_disarm();
        assert_int_equal(count_trials(store, 1), before + (status == KVAT_OK));
        assert_ok(add_trial(store, err));
        assert_int_equal(count_trials(store, 1), before + 1 + (status == KVAT_OK));
    }
    kvat_store_close(store);
}

/* After a checkpoint the log starts over: what failed stands at its front, before older frames. */
static void a_commit_that_fails_in_a_restarted_log_is_gone(void **state) {
    size_t db_bytes = 0, wal_bytes = 0;
    enum { TRIALS = 300 };
    (void)state;
    fresh();
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    for (int i = 0; i < TRIALS; i++) assert_ok(add_trial(store, err));
    for (int i = 0; i < 200; i++) {
        int before = count_trials(store, 1);
        io_fault_arm(1 + i % 2, EIO, IO_FAULT_SYNC, false);
        kvat_status status = add_trial(store, NULL);
        io_fault_disarm();
        char *db = slurp("kvat.db", &db_bytes), *wal = slurp("kvat.db-wal", &wal_bytes);
        int after = count_trials(store, 1);
        assert_int_equal(after, before + (status == KVAT_OK));
        write_file("copy.db", db, db_bytes);
        write_file("copy.db-wal", wal, wal_bytes);
        free(db);
        free(wal);
        kvat_store *copy = NULL;
        assert_ok(kvat_store_open(&copy, "copy.db", KVAT_STORE_READ, err));
        assert_int_equal(count_trials(copy, 1), after);
        kvat_store_close(copy);
        unlink("copy.db");
        unlink("copy.db-wal");
        unlink("copy.db-shm");
        assert_ok(add_trial(store, err));
    }
    kvat_store_close(store);
}

/* Change `n` fails while a store is made. True when the fault was met. */
static bool create_under(const fault *f, int n) {
    kvat_store *store = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    io_fault_arm(n, f->errnum, f->kind, f->sticky);
    kvat_status status = kvat_store_open(&store, "new.db", KVAT_STORE_WRITE, &err);
    if (status == KVAT_OK) kvat_store_close(store);
    bool met = io_fault_disarm();
    if (status != KVAT_OK && status != KVAT_ERR_IO) fail_msg("%s, change %d: %s", f->name, n, err.message);
    if (kvat_store_open(&store, "new.db", KVAT_STORE_WRITE, &err) != KVAT_OK)
        fail_msg("%s, change %d: cannot be made afterwards: %s", f->name, n, err.message);
    kvat_store_close(store);
    assert_int_equal(unlink("new.db"), 0);
    return met;
}

static void a_store_whose_making_failed_can_be_made_again(void **state) {
    (void)state;
    for (size_t i = 0; i < N_FAULTS; i++) {
        int n = 1;
        while (create_under(&faults[i], n) && n < ENOUGH) n++;
        assert_true(n > 1 && n < ENOUGH);
    }
}

static void a_lock_file_that_cannot_be_made_is_an_io_error(void **state) {
    kvat_store *store = NULL;
    (void)state;
    fail_io_arm(FAIL_IO_OPEN, 1, ENOSPC);
    assert_refused(KVAT_ERR_IO, "kvat.db.lock", kvat_store_open(&store, "kvat.db", KVAT_STORE_WRITE, err));
    assert_true(fail_io_disarm());
    kvat_store_close(open_store(KVAT_STORE_WRITE));
}

/* Adds trials until it is killed, and says of each that it is safe. */
static void add_for_ever(int acknowledge) {
    int64_t id = 0;
    kvat_store *store = NULL;
    if (kvat_store_open(&store, "kvat.db", KVAT_STORE_WRITE, NULL) != KVAT_OK) _exit(1);
    while (kvat_store_add_trial(&id, store, &some_trial, NULL) == KVAT_OK)
        if (write(acknowledge, "x", 1) != 1) _exit(1);
    _exit(1);
}

/* Kills the writer once `n` trials were acknowledged; returns how many were in the end. */
static int kill_after(int n) {
    int ends[2], acknowledged = 0;
    char byte;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) add_for_ever(ends[1]);
    assert_true(child > 0);
    close(ends[1]);
    while (acknowledged < n && read(ends[0], &byte, 1) == 1) acknowledged++;
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    while (read(ends[0], &byte, 1) == 1) acknowledged++;
    close(ends[0]);
    assert_true(acknowledged >= n);
    return acknowledged;
}

static void a_killed_writer_loses_no_acknowledged_trial(void **state) {
    (void)state;
    for (int n = 1; n <= 10; n++) {
        fresh();
        int acknowledged = kill_after(n);
        kvat_store *store = open_store(KVAT_STORE_WRITE);
        int trials = count_trials(store, 1);
        /* One may have been safe before it was said. */
        assert_in_range(trials, 1 + acknowledged, 2 + acknowledged);
        kvat_store_close(store);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(a_trial_is_there_whole_or_not_at_all),
        FOLDER_TEST(a_fault_that_lasts_to_the_end_loses_nothing_acknowledged),
        FOLDER_TEST(a_failed_commit_is_not_resurrected_by_recovery),
        FOLDER_TEST(a_run_goes_on_after_the_disk_recovers),
        FOLDER_TEST(a_commit_that_fails_in_a_restarted_log_is_gone),
        FOLDER_TEST(a_store_whose_making_failed_can_be_made_again),
        FOLDER_TEST(a_lock_file_that_cannot_be_made_is_an_io_error),
        FOLDER_TEST(a_killed_writer_loses_no_acknowledged_trial),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
