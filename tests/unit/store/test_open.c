/* What may become a store, what is refused and left alone, and who may write.
 * Must not know what runs and trials mean. */
#include "unit/store/fixture.h"

#include <errno.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>

static bool exists(const char *path) {
    struct stat info;
    return lstat(path, &info) == 0;
}

static void sql(const char *path, const char *text) {
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK) fail_msg("%s: %s", text, sqlite3_errmsg(db));
    sqlite3_close(db);
}

static void a_missing_store_is_made_for_writing(void **state) {
    (void)state;
    kvat_store_close(open_store(KVAT_STORE_WRITE));
    kvat_store *store = open_store(KVAT_STORE_READ);
    int64_t id = 7;
    assert_ok(kvat_store_latest_run(&id, store, err));
    assert_int_equal(id, 0);
    kvat_store_close(store);
}

static void a_missing_store_is_bad_data_for_reading(void **state) {
    kvat_store *store = NULL;
    (void)state;
    assert_refused(KVAT_ERR_DATA, "no such store", kvat_store_open(&store, "kvat.db", KVAT_STORE_READ, err));
    assert_refused(KVAT_ERR_DATA, "No such file", kvat_store_open(&store, "none/kvat.db", KVAT_STORE_READ, err));
    assert_refused(KVAT_ERR_IO, "No such file", kvat_store_open(&store, "none/kvat.db", KVAT_STORE_WRITE, err));
    assert_refused(KVAT_ERR_USAGE, "file name", kvat_store_open(&store, "./", KVAT_STORE_WRITE, err));
    assert_null(store);
    assert_false(exists("kvat.db"));
}

static void an_empty_file_may_become_a_store(void **state) {
    kvat_store *store = NULL;
    (void)state;
    write_text("kvat.db", "");
    assert_refused(KVAT_ERR_DATA, "empty", kvat_store_open(&store, "kvat.db", KVAT_STORE_READ, err));
    kvat_store_close(open_store(KVAT_STORE_WRITE));
    kvat_store_close(open_store(KVAT_STORE_READ));
}

#define FIRST_TABLES "BEGIN; PRAGMA application_id = 0x6b766174; CREATE TABLE run (id INTEGER);"

/* Dies in a transaction whose journal is on the disk. */
static void begin_and_die(void) {
    sqlite3 *db = NULL;
    bool ready = sqlite3_open("kvat.db", &db) == SQLITE_OK &&
                 sqlite3_exec(db, FIRST_TABLES, NULL, NULL, NULL) == SQLITE_OK &&
                 sqlite3_db_cacheflush(db) == SQLITE_OK;
    (void)kill(getpid(), ready ? SIGKILL : SIGTERM);
}

/* All pages written, and the journal that would take them back not yet removed: the last moment of a commit. */
static void leave_half_made(void) {
    int ended = 0;
    size_t n = 0;
    pid_t maker = fork();
    if (maker == 0) begin_and_die();
    assert_int_equal(waitpid(maker, &ended, 0), maker);
    assert_int_equal(WTERMSIG(ended), SIGKILL);
    sql("pages.db", FIRST_TABLES "COMMIT");
    char *pages = slurp("pages.db", &n);
    write_file("kvat.db", pages, n);
    free(pages);
    assert_true(exists("kvat.db-journal"));
}

static void a_store_whose_maker_was_killed_holds_nothing_and_can_be_finished(void **state) {
    size_t n = 0, m = 0;
    kvat_store *store = NULL;
    (void)state;
    leave_half_made();
    char *before = slurp("kvat.db", &n);
    assert_refused(KVAT_ERR_DATA, "before anything was recorded",
                   kvat_store_open(&store, "kvat.db", KVAT_STORE_READ, err));
    char *after = slurp("kvat.db", &m);
    assert_int_equal(n, m);
    assert_memory_equal(before, after, n);
    assert_true(exists("kvat.db-journal"));
    free(before);
    free(after);

    store = open_store(KVAT_STORE_WRITE);
    add_run(store);
    kvat_store_close(store);
    kvat_store_close(open_store(KVAT_STORE_READ));
}

static void a_closed_store_is_one_file(void **state) {
    (void)state;
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    assert_true(exists("kvat.db.lock"));
    add_run(store);
    assert_true(exists("kvat.db-wal"));
    kvat_store_close(store);
    assert_false(exists("kvat.db.lock"));
    assert_false(exists("kvat.db-wal"));
    assert_false(exists("kvat.db-shm"));
}

static void assert_left_alone(const char *path, kvat_store_mode mode) {
    size_t n = 0, m = 0;
    kvat_store *store = NULL;
    char *before = slurp(path, &n);
    assert_refused(KVAT_ERR_DATA, "is no kvat store", kvat_store_open(&store, path, mode, err));
    char *after = slurp(path, &m);
    assert_int_equal(n, m);
    assert_memory_equal(before, after, n);
    assert_null(store);
    free(before);
    free(after);
}

static void what_is_no_store_is_refused_and_left_as_it_is(void **state) {
    unsigned char noise[5000];
    unsigned random = 1;
    (void)state;
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (unsigned char)((random = random * 1103515245U + 12345U) >> 16);
    write_file("random", noise, sizeof noise);
    write_text("text", "x");
    write_text("prefix", "SQLite format 3");
    sql("other.db", "CREATE TABLE t (a); INSERT INTO t VALUES (1)");
    sql("foreign.db", "PRAGMA application_id = 5; PRAGMA journal_mode = WAL; CREATE TABLE t (a)");
    const char *const paths[] = {"random", "text", "prefix", "other.db", "foreign.db"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        assert_left_alone(paths[i], KVAT_STORE_READ);
        assert_left_alone(paths[i], KVAT_STORE_WRITE);
    }
    assert_false(exists("random.lock"));
    assert_false(exists("foreign.db-wal"));
}

static void links_folders_and_pipes_are_refused(void **state) {
    kvat_store *store = NULL;
    (void)state;
    kvat_store_close(open_store(KVAT_STORE_WRITE));
    assert_int_equal(symlink("kvat.db", "link"), 0);
    assert_int_equal(symlink("nowhere", "dangling"), 0);
    assert_int_equal(mkdir("folder", 0755), 0);
    assert_int_equal(mkfifo("pipe", 0644), 0);
    for (int i = 0; i < 2; i++) {
        kvat_store_mode mode = i ? KVAT_STORE_WRITE : KVAT_STORE_READ;
        assert_refused(KVAT_ERR_DATA, "symbolic link", kvat_store_open(&store, "link", mode, err));
        assert_refused(KVAT_ERR_DATA, "symbolic link", kvat_store_open(&store, "dangling", mode, err));
        assert_refused(KVAT_ERR_DATA, "regular file", kvat_store_open(&store, "folder", mode, err));
        assert_refused(KVAT_ERR_DATA, "regular file", kvat_store_open(&store, "pipe", mode, err));
    }
    assert_false(exists("nowhere"));
}

static void a_folder_behind_a_link_is_fine(void **state) {
    kvat_store *store = NULL;
    (void)state;
    assert_int_equal(mkdir("real ?#%41", 0755), 0);
    assert_int_equal(symlink("real ?#%41", "alias"), 0);
    assert_ok(kvat_store_open(&store, "alias/kvat.db", KVAT_STORE_WRITE, err));
    kvat_store_close(store);
    assert_true(exists("real ?#%41/kvat.db"));
}

static void a_newer_store_is_only_read(void **state) {
    size_t n = 0, m = 0;
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    (void)state;
    add_run(store);
    kvat_store_close(store);
    sql("kvat.db", "PRAGMA user_version = 9; ALTER TABLE run ADD COLUMN new_member TEXT");
    char *before = slurp("kvat.db", &n);
    assert_refused(KVAT_ERR_DATA, "store version 9", kvat_store_open(&store, "kvat.db", KVAT_STORE_WRITE, err));
    char *after = slurp("kvat.db", &m);
    assert_int_equal(n, m);
    assert_memory_equal(before, after, n);
    free(before);
    free(after);
    store = open_store(KVAT_STORE_READ);
    int64_t id = 0;
    assert_ok(kvat_store_find_run(&id, store, "i1", err));
    assert_int_equal(id, 1);
    kvat_store_close(store);
}

static void a_newer_store_that_cannot_be_read_says_so(void **state) {
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    int64_t id = 0;
    (void)state;
    kvat_store_close(store);
    sql("kvat.db", "PRAGMA user_version = 9; ALTER TABLE run RENAME COLUMN identity TO sameness");
    store = open_store(KVAT_STORE_READ);
    assert_refused(KVAT_ERR_DATA, "newer kvat", kvat_store_find_run(&id, store, "i1", err));
    kvat_store_close(store);
}

/* Overwrites bytes of every page but the first. */
static void damage(const char *path, size_t size) {
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    for (size_t at = 4096; at < size; at += 4096) assert_int_equal(pwrite(fd, "damaged damaged", 15, (off_t)at), 15);
    close(fd);
}

static void a_damaged_store_is_refused_with_advice(void **state) {
    struct stat info;
    int n = 0;
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    (void)state;
    add_run(store);
    assert_ok(add_trial(store, err));
    kvat_store_close(store);
    assert_int_equal(stat("kvat.db", &info), 0);
    damage("kvat.db", (size_t)info.st_size);
    assert_refused(KVAT_ERR_DATA, ".recover", kvat_store_open(&store, "kvat.db", KVAT_STORE_WRITE, err));
    assert_ok(kvat_store_open(&store, "kvat.db", KVAT_STORE_READ, err));
    assert_refused(KVAT_ERR_DATA, "damaged", kvat_store_each_trial(store, 1, true, count_trial, &n, err));
    kvat_store_close(store);
}

/* Less than a page may be missing without loss: the end of the last one can be empty. */
static void a_truncated_store_is_refused_at_every_length(void **state) {
    size_t n = 0;
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    (void)state;
    add_run(store);
    kvat_store_close(store);
    char *whole = slurp("kvat.db", &n);
    for (size_t length = 1; length + 4096 <= n; length += length < 256 ? 1 : 1021) {
        write_file("cut.db", whole, length);
        kvat_error err = KVAT_ERROR_INIT;
        store = NULL;
        kvat_status status = kvat_store_open(&store, "cut.db", KVAT_STORE_WRITE, &err);
        if (status != KVAT_ERR_DATA) fail_msg("%zu bytes of %zu: %s", length, n, kvat_status_word(status));
        if (!strstr(err.message, length < 72 ? "is no kvat store" : "damaged"))
            fail_msg("%zu: %s", length, err.message);
        assert_null(store);
    }
    free(whole);
}

static void a_second_writer_is_told_who_holds_it(void **state) {
    char pid[32];
    kvat_store *first = open_store(KVAT_STORE_WRITE), *second = NULL, *reader;
    (void)state;
    snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    assert_refused(KVAT_ERR_BUSY, pid, kvat_store_open(&second, "kvat.db", KVAT_STORE_WRITE, err));
    assert_refused(KVAT_ERR_BUSY, program_invocation_short_name,
                   kvat_store_open(&second, "./kvat.db", KVAT_STORE_WRITE, err));
    reader = open_store(KVAT_STORE_READ);
    add_run(first);
    int64_t id = 0;
    assert_ok(kvat_store_latest_run(&id, reader, err));
    assert_int_equal(id, 1);
    assert_refused(KVAT_ERR_USAGE, "open for reading", add_trial(reader, err));
    kvat_store_close(first);
    kvat_store_close(open_store(KVAT_STORE_WRITE));
    kvat_store_close(reader);
}

/* Holds the store in another process until it is killed. */
static pid_t hold_elsewhere(void) {
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        kvat_store *store = NULL;
        if (kvat_store_open(&store, "kvat.db", KVAT_STORE_WRITE, NULL) != KVAT_OK) _exit(1);
        int64_t id = 0;
        if (kvat_store_add_run(&id, store, &some_run, NULL) != KVAT_OK) _exit(1);
        if (write(ready[1], "x", 1) != 1) _exit(1);
        for (;;) pause();
    }
    assert_true(child > 0);
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return child;
}

static void a_killed_writer_leaves_a_store_that_opens(void **state) {
    char pid[32];
    kvat_store *store = NULL;
    (void)state;
    pid_t child = hold_elsewhere();
    snprintf(pid, sizeof pid, "process %ld", (long)child);
    assert_refused(KVAT_ERR_BUSY, pid, kvat_store_open(&store, "kvat.db", KVAT_STORE_WRITE, err));
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_true(exists("kvat.db.lock"));
    store = open_store(KVAT_STORE_WRITE);
    int64_t id = 0;
    assert_ok(kvat_store_latest_run(&id, store, err));
    assert_int_equal(id, 1);
    kvat_store_close(store);
}

static void a_lock_file_that_is_a_trap_is_refused(void **state) {
    kvat_store *store = NULL;
    (void)state;
    write_text("precious", "precious");
    assert_int_equal(symlink("precious", "kvat.db.lock"), 0);
    assert_refused(KVAT_ERR_IO, "lock", kvat_store_open(&store, "kvat.db", KVAT_STORE_WRITE, err));
    assert_int_equal(unlink("kvat.db.lock"), 0);
    assert_int_equal(mkfifo("kvat.db.lock", 0644), 0);
    assert_refused(KVAT_ERR_IO, "lock", kvat_store_open(&store, "kvat.db", KVAT_STORE_WRITE, err));
    size_t n = 0;
    char *bytes = slurp("precious", &n);
    assert_string_equal(bytes, "precious");
    free(bytes);
}

/* Opens and reads as nobody, who may not write here; 0 when that works. */
static int read_as_nobody(void) {
    int64_t id = 0;
    kvat_store *store = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    if (setgid(65534) != 0 || setuid(65534) != 0) return 2;
    if (kvat_store_open(&store, "kvat.db", KVAT_STORE_READ, &err) != KVAT_OK) return 3;
    if (kvat_store_latest_run(&id, store, &err) != KVAT_OK || id != 1) return 4;
    kvat_store_close(store);
    return kvat_store_open(&store, "kvat.db", KVAT_STORE_WRITE, &err) == KVAT_ERR_IO ? 0 : 5;
}

static void a_store_where_nothing_may_be_written_can_be_read(void **state) {
    int result = -1;
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    (void)state;
    if (getuid() != 0) skip();
    add_run(store);
    kvat_store_close(store);
    assert_int_equal(chmod(".", 0755), 0);
    pid_t child = fork();
    if (child == 0) _exit(read_as_nobody());
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result));
    assert_int_equal(WEXITSTATUS(result), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(a_missing_store_is_made_for_writing),
        FOLDER_TEST(a_missing_store_is_bad_data_for_reading),
        FOLDER_TEST(an_empty_file_may_become_a_store),
        FOLDER_TEST(a_store_whose_maker_was_killed_holds_nothing_and_can_be_finished),
        FOLDER_TEST(a_closed_store_is_one_file),
        FOLDER_TEST(what_is_no_store_is_refused_and_left_as_it_is),
        FOLDER_TEST(links_folders_and_pipes_are_refused),
        FOLDER_TEST(a_folder_behind_a_link_is_fine),
        FOLDER_TEST(a_newer_store_is_only_read),
        FOLDER_TEST(a_newer_store_that_cannot_be_read_says_so),
        FOLDER_TEST(a_damaged_store_is_refused_with_advice),
        FOLDER_TEST(a_truncated_store_is_refused_at_every_length),
        FOLDER_TEST(a_second_writer_is_told_who_holds_it),
        FOLDER_TEST(a_killed_writer_leaves_a_store_that_opens),
        FOLDER_TEST(a_lock_file_that_is_a_trap_is_refused),
        FOLDER_TEST(a_store_where_nothing_may_be_written_can_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
