/* Files read within bounds, and written whole or not at all, whatever fails on the way.
 * Must not know what kvat keeps in files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fail_alloc.h"
#include "fail_io.h"
#include "kvat/file.h"
#include "own_folder.h"

static int leave_repaired(void **state) {
    fail_io_disarm();
    return leave_folder(state);
}

/* Names in the folder without "." and "..". */
static int count_entries(const char *folder) {
    int n = 0;
    DIR *listing = opendir(folder);
    assert_non_null(listing);
    for (const struct dirent *entry; (entry = readdir(listing));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) n++;
    closedir(listing);
    return n;
}

static void put_file(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void assert_holds(const char *path, const char *text) {
    kvat_buf buf = KVAT_BUF_INIT;
    kvat_error err = KVAT_ERROR_INIT;
    if (kvat_file_read(&buf, path, 1 << 20, &err) != KVAT_OK) fail_msg("%s", err.message);
    assert_string_equal(buf.bytes, text);
    kvat_buf_clear(&buf);
}

static kvat_status write_text(const char *path, const char *text, kvat_error *err) {
    return kvat_file_write(path, text, strlen(text), 0644, err);
}

static void a_new_file_is_written_with_its_mode(void **state) {
    (void)state;
    struct stat about;
    mode_t mask = umask(022);
    assert_int_equal(kvat_file_write("plan.json", "{}", 2, 0644, NULL), KVAT_OK);
    assert_int_equal(kvat_file_write("./run.sh", "#!", 2, 0755, NULL), KVAT_OK);
    assert_int_equal(kvat_file_write("empty", NULL, 0, 0644, NULL), KVAT_OK);
    umask(mask);
    assert_holds("plan.json", "{}");
    assert_holds("run.sh", "#!");
    assert_holds("empty", "");
    assert_int_equal(stat("plan.json", &about), 0);
    assert_int_equal(about.st_mode & 0777, 0644);
    assert_int_equal(stat("run.sh", &about), 0);
    assert_int_equal(about.st_mode & 0777, 0755);
    assert_int_equal(count_entries("."), 3);
}

static void an_existing_file_is_replaced_and_its_other_names_keep_the_old(void **state) {
    (void)state;
    put_file("a", "old and longer");
    assert_int_equal(link("a", "other"), 0);
    assert_int_equal(write_text("a", "new", NULL), KVAT_OK);
    assert_holds("a", "new");
    assert_holds("other", "old and longer");
}

static void a_file_in_another_folder_is_written_there(void **state) {
    char path[256];
    assert_int_equal(mkdir("sub", 0777), 0);
    assert_int_equal(symlink("sub", "way"), 0);
    snprintf(path, sizeof path, "%s/sub/a", (char *)*state);
    assert_int_equal(write_text(path, "1", NULL), KVAT_OK);
    assert_int_equal(write_text("way/b", "2", NULL), KVAT_OK);
    assert_holds("sub/a", "1");
    assert_holds("sub/b", "2");
    assert_int_equal(count_entries("sub"), 2);
}

static void what_is_no_regular_file_is_refused(void **state) {
    (void)state;
    put_file("target", "safe");
    put_file("locked", "safe");
    assert_int_equal(chmod("locked", 0444), 0);
    assert_int_equal(mkdir("folder", 0777), 0);
    assert_int_equal(symlink("target", "link"), 0);
    assert_int_equal(symlink("nowhere", "dangling"), 0);
    assert_int_equal(mkfifo("fifo", 0666), 0);
    static const struct {
        const char *path, *reason;
    } cases[] = {
        {"link", "symbolic link"},
        {"dangling", "symbolic link"},
        {"folder", "folder"},
        {"fifo", "regular file"},
        {"locked", "read-only"},
        {"/dev/null", "regular file"},
        {"folder/", "name"},
        {".", "name"},
        {"folder/..", "name"},
        {"", "name"},
        {"/", "name"},
        {"absent/a", "No such file"},
        {"target/a", "Not a directory"},
    };
    int entries = count_entries(".");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_error err = KVAT_ERROR_INIT;
        assert_int_equal(write_text(cases[i].path, "new", &err), KVAT_ERR_IO);
        assert_non_null(strstr(err.message, cases[i].reason));
        assert_non_null(strstr(err.message, cases[i].path));
    }
    assert_int_equal(count_entries("."), entries);
    assert_int_equal(count_entries("folder"), 0);
    assert_int_equal(access("nowhere", F_OK), -1);
    assert_holds("target", "safe");
    assert_holds("locked", "safe");
}

static void a_name_too_long_leaves_nothing(void **state) {
    (void)state;
    char name[300];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_int_equal(write_text(name, "new", NULL), KVAT_ERR_IO);
    name[255] = '\0';
    assert_int_equal(write_text(name, "new", NULL), KVAT_OK);
    assert_int_equal(count_entries("."), 1);
}

static void a_write_in_many_pieces_is_complete(void **state) {
    (void)state;
    fail_io_limit(3);
    fail_io_arm(FAIL_IO_WRITE, 2, EINTR);
    assert_int_equal(write_text("a", "0123456789", NULL), KVAT_OK);
    assert_true(fail_io_disarm());
    assert_holds("a", "0123456789");
}

static void an_interrupted_fsync_is_repeated(void **state) {
    (void)state;
    for (size_t n = 1; n <= 2; n++) {
        fail_io_arm(FAIL_IO_FSYNC, n, EINTR);
        assert_int_equal(write_text("a", "whole", NULL), KVAT_OK);
        assert_true(fail_io_disarm());
        assert_holds("a", "whole");
    }
}

static void whichever_call_fails_the_earlier_file_stays_whole(void **state) {
    (void)state;
    static const struct {
        fail_io_call call;
        size_t n;
        int errnum;
    } cases[] = {
        {FAIL_IO_OPEN, 1, EACCES},  {FAIL_IO_OPEN, 2, EROFS},   {FAIL_IO_WRITE, 1, ENOSPC}, {FAIL_IO_WRITE, 2, EIO},
        {FAIL_IO_WRITE, 4, EDQUOT}, {FAIL_IO_FSYNC, 1, EIO},    {FAIL_IO_CLOSE, 1, EIO},    {FAIL_IO_CLOSE, 1, ENOSPC},
        {FAIL_IO_RENAME, 1, EIO},   {FAIL_IO_RENAME, 1, EXDEV},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int existing = 0; existing < 2; existing++) {
            kvat_error err = KVAT_ERROR_INIT;
            unlink("a");
            if (existing) put_file("a", "earlier");
            fail_io_limit(3);
            fail_io_arm(cases[i].call, cases[i].n, cases[i].errnum);
            assert_int_equal(write_text("a", "0123456789", &err), KVAT_ERR_IO);
            assert_true(fail_io_disarm());
            assert_non_null(strstr(err.message, strerror(cases[i].errnum)));
            assert_int_equal(count_entries("."), existing);
            if (existing) assert_holds("a", "earlier");
        }
    }
}

static void a_folder_that_cannot_be_synchronised_is_reported(void **state) {
    (void)state;
    put_file("a", "earlier");
    fail_io_arm(FAIL_IO_FSYNC, 2, EIO);
    assert_int_equal(write_text("a", "later", NULL), KVAT_ERR_IO);
    assert_true(fail_io_disarm());
    assert_holds("a", "later"); /* renamed already: whole, but not known to be on the disk */
    fail_io_arm(FAIL_IO_FSYNC, 2, EINVAL);
    assert_int_equal(write_text("a", "last", NULL), KVAT_OK);
    assert_true(fail_io_disarm());
    assert_int_equal(count_entries("."), 1);
}

static void a_taken_temporary_name_is_tried_anew(void **state) {
    (void)state;
    fail_io_arm(FAIL_IO_OPEN, 2, EEXIST);
    assert_int_equal(write_text("a", "whole", NULL), KVAT_OK);
    assert_true(fail_io_disarm());
    assert_holds("a", "whole");
}

static void what_a_killed_writer_left_goes_with_the_next_write(void **state) {
    (void)state;
    static const char *const not_ours[] = {".kvat-0123456789abcde",  ".kvat-0123456789abcdef0",
                                           ".kvat-0123456789ABCDEF", "kvat-0123456789abcdef0",
                                           ".kvat-report",           ".kvat-"};
    for (size_t i = 0; i < sizeof not_ours / sizeof *not_ours; i++) put_file(not_ours[i], "theirs");
    put_file("target", "safe");
    assert_int_equal(symlink("target", ".kvat-00000000000000aa"), 0);
    assert_int_equal(mkdir(".kvat-00000000000000bb", 0777), 0);
    assert_int_equal(mkfifo(".kvat-00000000000000cc", 0666), 0);
    int others = count_entries(".");
    put_file(".kvat-0123456789abcdef", "half of a rep");
    put_file(".kvat-ffffffffffffffff", "");

    fail_io_arm(FAIL_IO_WRITE, 1, ENOSPC);
    assert_int_equal(write_text("a", "whole", NULL), KVAT_ERR_IO);
    assert_true(fail_io_disarm());
    assert_int_equal(write_text("a", "whole", NULL), KVAT_OK);
    assert_holds("a", "whole");
    assert_int_equal(count_entries("."), others + 1);
}

static void what_a_living_writer_holds_stays(void **state) {
    (void)state;
    put_file(".kvat-0123456789abcdef", "half of a rep");
    int writer = open(".kvat-0123456789abcdef", O_WRONLY);
    assert_int_equal(flock(writer, LOCK_EX), 0);
    assert_int_equal(write_text("a", "whole", NULL), KVAT_OK);
    assert_holds(".kvat-0123456789abcdef", "half of a rep");
    close(writer);
    assert_int_equal(write_text("a", "whole", NULL), KVAT_OK);
    assert_int_equal(count_entries("."), 1);
}

static void a_file_is_read_up_to_the_ceiling(void **state) {
    (void)state;
    kvat_buf buf = KVAT_BUF_INIT;
    kvat_error err = KVAT_ERROR_INIT;
    put_file("a", "0123456789");
    put_file("empty", "");
    kvat_buf_puts(&buf, "before ");
    assert_int_equal(kvat_file_read(&buf, "a", 10, NULL), KVAT_OK);
    assert_string_equal(buf.bytes, "before 0123456789");
    assert_int_equal(kvat_file_read(&buf, "a", 9, &err), KVAT_ERR_DATA);
    assert_non_null(strstr(err.message, "a is larger than the 9 bytes allowed"));
    assert_string_equal(buf.bytes, "before 0123456789");
    assert_int_equal(kvat_file_read(&buf, "empty", 0, NULL), KVAT_OK);
    assert_int_equal(kvat_file_read(&buf, "a", 0, NULL), KVAT_ERR_DATA);
    assert_int_equal(kvat_file_read(&buf, "a", SIZE_MAX, NULL), KVAT_OK);
    assert_int_equal(buf.length, 27);
    kvat_buf_clear(&buf);
}

static void a_large_file_is_read_in_pieces(void **state) {
    (void)state;
    size_t n = 200001;
    char *bytes = malloc(n);
    for (size_t i = 0; i < n; i++) bytes[i] = (char)(i % 251);
    assert_int_equal(kvat_file_write("large", bytes, n, 0644, NULL), KVAT_OK);
    for (size_t limit = 0; limit < 2; limit++) {
        kvat_buf buf = KVAT_BUF_INIT;
        fail_io_limit(limit * 4099);
        fail_io_arm(FAIL_IO_READ, 2, EINTR);
        assert_int_equal(kvat_file_read(&buf, "large", n, NULL), KVAT_OK);
        assert_true(fail_io_disarm());
        assert_int_equal(buf.length, n);
        assert_memory_equal(buf.bytes, bytes, n);
        kvat_buf_clear(&buf);
    }
    free(bytes);
}

static void what_cannot_be_read_is_told_apart_from_what_is_not_there(void **state) {
    (void)state;
    put_file("a", "0123456789");
    assert_int_equal(mkdir("folder", 0777), 0);
    assert_int_equal(mkfifo("fifo", 0666), 0);
    assert_int_equal(symlink("loop", "loop"), 0);
    static const struct {
        const char *path;
        fail_io_call call;
        int errnum;
        kvat_status status;
    } cases[] = {
        {"absent", FAIL_IO_READ, 0, KVAT_ERR_DATA},    {"a/b", FAIL_IO_READ, 0, KVAT_ERR_DATA},
        {"loop", FAIL_IO_READ, 0, KVAT_ERR_DATA},      {"", FAIL_IO_READ, 0, KVAT_ERR_DATA},
        {"folder", FAIL_IO_READ, 0, KVAT_ERR_DATA},    {"fifo", FAIL_IO_READ, 0, KVAT_ERR_DATA},
        {"/dev/zero", FAIL_IO_READ, 0, KVAT_ERR_DATA}, {"a", FAIL_IO_READ, EIO, KVAT_ERR_IO},
        {"a", FAIL_IO_OPEN, EACCES, KVAT_ERR_IO},      {"a", FAIL_IO_OPEN, EMFILE, KVAT_ERR_IO},
        {"a", FAIL_IO_OPEN, ENOMEM, KVAT_ERR_NOMEM},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_buf buf = KVAT_BUF_INIT;
        kvat_error err = KVAT_ERROR_INIT;
        if (cases[i].errnum) fail_io_arm(cases[i].call, 1, cases[i].errnum);
        assert_int_equal(kvat_file_read(&buf, cases[i].path, 100, &err), cases[i].status);
        if (cases[i].errnum) assert_true(fail_io_disarm());
        assert_int_equal(buf.length, 0);
        assert_non_null(strstr(err.message, cases[i].path));
        kvat_buf_clear(&buf);
    }
}

static kvat_status write_and_read(void *context, kvat_error *err) {
    kvat_buf buf = KVAT_BUF_INIT;
    kvat_status status = kvat_file_write(context, "text", 4, 0644, err);
    if (status == KVAT_OK) status = kvat_file_read(&buf, context, 100, err);
    kvat_buf_clear(&buf);
    return status;
}

static void every_failing_allocation_is_reported(void **state) {
    char path[256];
    snprintf(path, sizeof path, "%s/a", (char *)*state);
    assert_true(fail_alloc_each(write_and_read, path) >= 2);
    assert_int_equal(count_entries("."), 1);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, enter_folder, leave_repaired)

int main(void) {
    static const struct CMUnitTest tests[] = {
        IN_FOLDER(a_new_file_is_written_with_its_mode),
        IN_FOLDER(an_existing_file_is_replaced_and_its_other_names_keep_the_old),
        IN_FOLDER(a_file_in_another_folder_is_written_there),
        IN_FOLDER(what_is_no_regular_file_is_refused),
        IN_FOLDER(a_name_too_long_leaves_nothing),
        IN_FOLDER(a_write_in_many_pieces_is_complete),
        IN_FOLDER(an_interrupted_fsync_is_repeated),
        IN_FOLDER(whichever_call_fails_the_earlier_file_stays_whole),
        IN_FOLDER(a_folder_that_cannot_be_synchronised_is_reported),
        IN_FOLDER(a_taken_temporary_name_is_tried_anew),
        IN_FOLDER(what_a_killed_writer_left_goes_with_the_next_write),
        IN_FOLDER(what_a_living_writer_holds_stays),
        IN_FOLDER(a_file_is_read_up_to_the_ceiling),
        IN_FOLDER(a_large_file_is_read_in_pieces),
        IN_FOLDER(what_cannot_be_read_is_told_apart_from_what_is_not_there),
        IN_FOLDER(every_failing_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
