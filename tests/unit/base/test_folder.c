/* Folders made, and found by convention or beside the program.
 * Must not know what is kept in them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fail_alloc.h"
#include "kvat/file.h"
#include "own_folder.h"

static bool is_folder(const char *path) {
    struct stat about;
    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

static void put_file(const char *path) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
}

static void paths_are_joined_by_one_slash(void **state) {
    (void)state;
    static const struct {
        const char *folder, *name, *path;
    } cases[] = {{"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"/", "b", "/b"}, {"", "b", "b"}, {"/a/b", "c/d", "/a/b/c/d"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *path = kvat_path_join(cases[i].folder, cases[i].name);
        assert_string_equal(path, cases[i].path);
        free(path);
    }
}

static void folders_are_made_with_all_above_them(void **state) {
    char path[256];
    assert_int_equal(kvat_dir_make("a/b//c/", NULL), KVAT_OK);
    assert_true(is_folder("a/b/c"));
    snprintf(path, sizeof path, "%s/x/y", (char *)*state);
    assert_int_equal(kvat_dir_make(path, NULL), KVAT_OK);
    assert_int_equal(kvat_dir_make(path, NULL), KVAT_OK);
    assert_true(is_folder("x/y"));
    assert_int_equal(symlink("x", "way"), 0);
    assert_int_equal(kvat_dir_make("way/z", NULL), KVAT_OK);
    assert_true(is_folder("x/z"));
    assert_int_equal(kvat_dir_make("/", NULL), KVAT_OK);
}

static void what_is_in_the_way_is_named(void **state) {
    (void)state;
    put_file("file");
    assert_int_equal(symlink("nowhere", "dangling"), 0);
    static const struct {
        const char *path, *message;
    } cases[] = {
        {"file", "cannot make folder file: something else is there"},
        {"file/a/b", "cannot make folder file: something else is there"},
        {"dangling", "cannot make folder dangling: something else is there"},
        {"", "cannot make a folder without a name"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_error err = KVAT_ERROR_INIT;
        assert_int_equal(kvat_dir_make(cases[i].path, &err), KVAT_ERR_IO);
        assert_string_equal(err.message, cases[i].message);
    }
    assert_int_equal(kvat_dir_make("/proc/kvat/a", NULL), KVAT_ERR_IO);
}

static void set_or_unset(const char *name, const char *value) {
    assert_int_equal(value ? setenv(name, value, 1) : unsetenv(name), 0);
}

static void user_folders_follow_the_environment(void **state) {
    (void)state;
    static const struct {
        kvat_xdg which;
        const char *variable, *value, *home, *path;
    } cases[] = {
        {KVAT_XDG_CACHE, "XDG_CACHE_HOME", NULL, "/home/u", "/home/u/.cache/kvat"},
        {KVAT_XDG_CACHE, "XDG_CACHE_HOME", "/c", "/home/u", "/c/kvat"},
        {KVAT_XDG_CACHE, "XDG_CACHE_HOME", "relative", "/home/u", "/home/u/.cache/kvat"},
        {KVAT_XDG_CACHE, "XDG_CACHE_HOME", "", "/home/u", "/home/u/.cache/kvat"},
        {KVAT_XDG_CACHE, "KVAT_CACHE_DIR", "/mine", NULL, "/mine"},
        {KVAT_XDG_STATE, "XDG_STATE_HOME", NULL, "/home/u", "/home/u/.local/state/kvat"},
        {KVAT_XDG_STATE, "XDG_STATE_HOME", "/s", NULL, "/s/kvat"},
        {KVAT_XDG_STATE, "KVAT_CACHE_DIR", "/mine", "/home/u", "/home/u/.local/state/kvat"},
        {KVAT_XDG_CONFIG, "XDG_CONFIG_HOME", NULL, "/home/u/", "/home/u/.config/kvat"},
        {KVAT_XDG_CONFIG, "XDG_CONFIG_HOME", "/f", "", "/f/kvat"},
        {KVAT_XDG_CACHE, "XDG_CACHE_HOME", NULL, NULL, NULL},
        {KVAT_XDG_STATE, "XDG_STATE_HOME", NULL, "", NULL},
        {KVAT_XDG_CONFIG, "XDG_CONFIG_HOME", "relative", NULL, NULL},
    };
    static const char *const variables[] = {"XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "KVAT_CACHE_DIR"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *path = NULL;
        kvat_error err = KVAT_ERROR_INIT;
        for (size_t v = 0; v < sizeof variables / sizeof *variables; v++) unsetenv(variables[v]);
        set_or_unset("HOME", cases[i].home);
        set_or_unset(cases[i].variable, cases[i].value);
        kvat_status status = kvat_xdg_dir(&path, cases[i].which, &err);
        assert_int_equal(status, cases[i].path ? KVAT_OK : KVAT_ERR_IO);
        if (cases[i].path)
            assert_string_equal(path, cases[i].path);
        else
            assert_non_null(strstr(err.message, "HOME"));
        free(path);
    }
}

static void overrides_name_the_program_folders(void **state) {
    (void)state;
    char *libexec = NULL;
    char *data = NULL;
    set_or_unset("KVAT_LIBEXEC_DIR", "/opt/l");
    set_or_unset("KVAT_DATA_DIR", "/opt/d");
    assert_int_equal(kvat_libexec_dir(&libexec, NULL), KVAT_OK);
    assert_int_equal(kvat_data_dir(&data, NULL), KVAT_OK);
    assert_string_equal(libexec, "/opt/l");
    assert_string_equal(data, "/opt/d");
    free(libexec);
    free(data);
}

/* This program, copied to `path`, prints both folders when called with an argument. */
static void install_at(const char *path) {
    char command[512];
    snprintf(command, sizeof command, "mkdir -p \"$(dirname '%s')\" && cp /proc/%d/exe '%s'", path, (int)getpid(),
             path);
    assert_int_equal(system(command), 0);
}

/* What the copy says; true when it found both. */
static bool ask(const char *path, char *answer, size_t size) {
    char command[512];
    snprintf(command, sizeof command, "env -u KVAT_LIBEXEC_DIR -u KVAT_DATA_DIR '%s' show", path);
    FILE *copy = popen(command, "r");
    assert_non_null(copy);
    size_t n = fread(answer, 1, size - 1, copy);
    answer[n] = '\0';
    return pclose(copy) == 0;
}

static void a_program_finds_its_installation_wherever_it_is(void **state) {
    static const struct {
        const char *program, *libexec;
    } cases[] = {
        {"u/bin/kvat", "u/libexec/kvat"},
        {"u/libexec/kvat/kvat-sim", "u/libexec/kvat"},
        {"build/tests/unit_test", "build/libexec/kvat"},
        {"distro/bin/kvat", "distro/lib/kvat"},
        {"distro/lib/kvat/kvat-sim", "distro/lib/kvat"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char prefix[64];
        char expected[512];
        char answer[512];
        char data[128];
        snprintf(prefix, sizeof prefix, "%.*s", (int)strcspn(cases[i].program, "/"), cases[i].program);
        snprintf(data, sizeof data, "%s/share/kvat", prefix);
        assert_int_equal(kvat_dir_make(cases[i].libexec, NULL), KVAT_OK);
        assert_int_equal(kvat_dir_make(data, NULL), KVAT_OK);
        install_at(cases[i].program);
        snprintf(expected, sizeof expected, "%s/%s\n%s/%s\n", (char *)*state, cases[i].libexec, (char *)*state, data);
        assert_true(ask(cases[i].program, answer, sizeof answer));
        assert_string_equal(answer, expected);
    }
}

static void a_program_without_an_installation_says_so(void **state) {
    char expected[256];
    char answer[512];
    install_at("alone/bin/kvat");
    assert_false(ask("alone/bin/kvat", answer, sizeof answer));
    snprintf(expected, sizeof expected,
             "no folder libexec/kvat below %s/alone; reinstall kvat, or set KVAT_LIBEXEC_DIR\n", (char *)*state);
    assert_string_equal(answer, expected);
}

static kvat_status use_all(void *context, kvat_error *err) {
    char *path = NULL;
    kvat_status status = kvat_xdg_dir(&path, KVAT_XDG_STATE, err);
    if (status == KVAT_OK) status = kvat_dir_make(context, err);
    free(path);
    return status;
}

static kvat_status find_programs(void *context, kvat_error *err) {
    (void)context;
    char *path = NULL;
    kvat_status status = kvat_libexec_dir(&path, err);
    free(path);
    return status;
}

static void every_failing_allocation_is_reported(void **state) {
    (void)state;
    set_or_unset("HOME", "/home/u");
    set_or_unset("KVAT_LIBEXEC_DIR", "/opt/l");
    assert_int_equal(fail_alloc_each(use_all, "a/b"), 2);
    assert_int_equal(fail_alloc_each(find_programs, NULL), 1);
    unsetenv("XDG_STATE_HOME");
}

static int show(void) {
    char *libexec = NULL;
    char *data = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    kvat_status status = kvat_libexec_dir(&libexec, &err);
    if (status == KVAT_OK) status = kvat_data_dir(&data, &err);
    if (status == KVAT_OK)
        printf("%s\n%s\n", libexec, data);
    else
        printf("%s\n", err.message);
    free(libexec);
    free(data);
    return kvat_status_exit_code(status);
}

int main(int argc, char **argv) {
    (void)argv;
    if (argc > 1) return show();
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_are_joined_by_one_slash),
        FOLDER_TEST(folders_are_made_with_all_above_them),
        FOLDER_TEST(what_is_in_the_way_is_named),
        cmocka_unit_test(user_folders_follow_the_environment),
        cmocka_unit_test(overrides_name_the_program_folders),
        FOLDER_TEST(a_program_finds_its_installation_wherever_it_is),
        FOLDER_TEST(a_program_without_an_installation_says_so),
        FOLDER_TEST(every_failing_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
