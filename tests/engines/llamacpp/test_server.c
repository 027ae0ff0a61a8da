/* Asking a llama-server, with scripts that behave like none, and comparing what builds say of themselves.
 * Must not know: the protocol. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fail_alloc.h"
#include "kvat/units.h"
#include "own_folder.h"
#include "server_ask.h"
#include "server_facts.h"

/* ---- a folder of its own ---- */

static void put_script(const char *path, const char *text, mode_t mode) {
    FILE *file = fopen(path, "we");
    if (!file) fail_msg("cannot write %s", path);
    assert_true(fprintf(file, "#!/bin/sh\n%s\n", text) > 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
}

typedef struct answer {
    bool well;
    kvat_buf said;
    char why[KVAT_SERVER_WHY];
} answer;

#define LONG_NS (300 * KVAT_NS_PER_S)

/* What the script answers when asked its version. */
static answer ask(const char *script, int64_t patience_ns) {
    answer a = {.said = KVAT_BUF_INIT};
    put_script("./fake", script, 0755);
    a.well = kvat_server_ask(&a.said, a.why, "./fake", KVAT_SERVER_VERSION, kvat_now_ns() + patience_ns);
    return a;
}

/* ---- finding ---- */

static void the_first_that_can_be_executed_is_found(void **state) {
    char search[512], out[256], expected[256];
    const char *folder = *state;
    assert_int_equal(mkdir("a", 0755) | mkdir("b", 0755) | mkdir("c", 0755) | mkdir("d", 0755), 0);
    assert_int_equal(mkdir("a/llama-server", 0755), 0);
    put_script("b/llama-server", "", 0644);
    put_script("c/llama-server", "", 0755);
    put_script("d/llama-server", "", 0755);
    snprintf(search, sizeof search, "%s/none:%s/a:%s/b:%s/c:%s/d", folder, folder, folder, folder, folder);
    snprintf(expected, sizeof expected, "%s/c/llama-server", folder);
    assert_true(kvat_server_find(out, sizeof out, search));
    assert_string_equal(out, expected);
}

static void relative_folders_of_the_search_are_passed_over(void **state) {
    static const char *const searches[] = {"", ":", ".", "c", "c:.:", "::c"};
    char out[256];
    (void)state;
    assert_int_equal(mkdir("c", 0755), 0);
    put_script("c/llama-server", "", 0755);
    put_script("llama-server", "", 0755);
    for (size_t i = 0; i < sizeof searches / sizeof *searches; i++)
        assert_false(kvat_server_find(out, sizeof out, searches[i]));
    assert_false(kvat_server_find(out, sizeof out, NULL));
}

/* ---- asking ---- */

static void what_is_said_on_either_stream_is_heard(void **state) {
    (void)state;
    answer a = ask("echo \"$1 $#\"; echo more >&2", LONG_NS);
    assert_true(a.well);
    assert_string_equal(a.said.bytes, "--version 1\nmore\n");
    kvat_buf_clear(&a.said);
}

static void nothing_that_sets_options_is_passed_on(void **state) {
    (void)state;
    setenv("LLAMA_ARG_MODEL", "/secret", 1);
    setenv("XDG_CONFIG_HOME", "/somewhere", 1);
    setenv("KVAT_TEST_STAYS", "yes", 1);
    answer a = ask("echo \"$LLAMA_ARG_MODEL,$XDG_CONFIG_HOME,$KVAT_TEST_STAYS\"; cat", LONG_NS);
    assert_true(a.well);
    assert_string_equal(a.said.bytes, ",/dev/null,yes\n");
    kvat_buf_clear(&a.said);
}

static void no_other_descriptor_is_inherited(void **state) {
    (void)state;
    int kept = open("/dev/null", O_RDONLY); /* without O_CLOEXEC, as a library might open one */
    assert_true(kept > 2);
    char script[64];
    snprintf(script, sizeof script, "test -e /proc/self/fd/%d && echo open || echo closed", kept);
    answer a = ask(script, LONG_NS);
    close(kept);
    assert_true(a.well);
    assert_string_equal(a.said.bytes, "closed\n");
    kvat_buf_clear(&a.said);
}

static void what_ends_badly_says_how(void **state) {
    static const struct {
        const char *script, *why;
    } cases[] = {
        {"echo version: 1; exit 1", "it ended with exit status 1"},
        {"kill -9 $$", "it was ended by signal 9"},
        {"exec yes", "it said far too much"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        answer a = ask(cases[i].script, LONG_NS);
        assert_false(a.well);
        assert_string_equal(a.why, cases[i].why);
        assert_true(a.said.length <= KVAT_SERVER_BYTES);
        kvat_buf_clear(&a.said);
    }
}

static void what_cannot_be_started_says_why(void **state) {
    (void)state;
    answer a = {.said = KVAT_BUF_INIT};
    assert_false(kvat_server_ask(&a.said, a.why, "./nothing", KVAT_SERVER_VERSION, kvat_now_ns() + LONG_NS));
    assert_non_null(strstr(a.why, "could not be started"));
    put_script("./fake", "", 0755);
    FILE *file = fopen("./fake", "we");
    assert_non_null(file);
    assert_true(fputs("\177ELFnot really", file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_false(kvat_server_ask(&a.said, a.why, "./fake", KVAT_SERVER_VERSION, kvat_now_ns() + LONG_NS));
    assert_non_null(strstr(a.why, "could not be started"));
    kvat_buf_clear(&a.said);
}

/* The scripts never end, so the limit need only be there, not be right. Each keeps a descendant, which writes its id.
 */
static void what_hangs_is_ended_with_all_it_started(void **state) {
    static const struct {
        const char *script, *why;
    } cases[] = {
        {"sleep 1000 & echo $! > child; echo version: 1; wait", "it did not answer in time"},
        {"trap '' TERM; sleep 1000 & echo $! > child; wait", "it did not answer in time"},
        {"sleep 1000 > /dev/null 2>&1 & echo $! > child; exec > /dev/null 2>&1; wait", "it did not end in time"},
        {"sleep 1000 & echo $! > child; exit 0", "it did not answer in time"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        answer a;
        int child = 0;
        /* On a busy machine the script may not have come to its child in that time: then it gets more. */
        for (int64_t patience_ns = 200 * KVAT_NS_PER_MS; child == 0; patience_ns *= 2) {
            a = ask(cases[i].script, patience_ns);
            assert_false(a.well);
            assert_string_equal(a.why, cases[i].why);
            kvat_buf_clear(&a.said);
            FILE *file = fopen("child", "re");
            if (file && fscanf(file, "%d", &child) != 1) child = 0;
            if (file) fclose(file);
        }
        assert_int_equal(unlink("child"), 0);
        /* Killed, it may still be a zombie of whoever adopted it. */
        char path[64], line[128] = "", mode = 'X';
        snprintf(path, sizeof path, "/proc/%d/stat", child);
        for (int looks = 0; looks < 10000 && kill(child, 0) == 0; looks++) {
            FILE *stat = fopen(path, "re");
            if (!stat || !fgets(line, sizeof line, stat) || sscanf(line, "%*d %*s %c", &mode) != 1) mode = 'X';
            if (stat) fclose(stat);
            if (mode == 'Z' || mode == 'X') break;
            usleep(1000);
        }
        assert_true(kill(child, 0) != 0 || mode == 'Z' || mode == 'X');
    }
}

static kvat_status ask_once(void *context, kvat_error *err) {
    (void)context;
    kvat_buf said = KVAT_BUF_INIT;
    char why[KVAT_SERVER_WHY] = "";
    bool well = kvat_server_ask(&said, why, "./fake", KVAT_SERVER_DEVICES, kvat_now_ns() + LONG_NS);
    kvat_buf_clear(&said);
    return well ? KVAT_OK : kvat_fail(err, KVAT_ERR_NOMEM, "%s", why);
}

static void memory_that_runs_out_is_a_reason(void **state) {
    (void)state;
    put_script("./fake", "echo Available devices:", 0755);
    assert_true(fail_alloc_each(ask_once, NULL) > 0);
}

/* ---- understanding ---- */

static void versions_are_read_in_every_form(void **state) {
    static const struct {
        const char *said;
        bool known;
        const char *version, *commit, *line;
    } cases[] = {
        {"version: 0.5.0 (build 8123, commit 0123abcd)\nbuilt with GNU 12.2.0 for Linux\n", true, "0.5.0", "0123abcd",
         "0.5.0 (build 8123, commit 0123abcd)"},
        {"version: 0.5.0-dev (build 0, commit unknown)\r\n", true, "0.5.0-dev", "",
         "0.5.0-dev (build 0, commit unknown)"},
        {"ggml_cuda_init: found 1 devices\nversion: 4567 (fedcba98)\n", true, "4567", "fedcba98", "4567 (fedcba98)"},
        {"version: 7", true, "7", "", "7"},
        {"version: 4567 (abc)", true, "4567", "", "4567 (abc)"},
        {"version: 1 (0123abcdXYZ)", true, "1", "", "1 (0123abcdXYZ)"},
        {"", false, "", "", ""},
        {"version: ", false, "", "", ""},
        {"version:  1", false, "", "", ""},
        {"Version: 1\n", false, "", "", ""},
        {"the version: 1\n", false, "", "", ""},
        {"version: 1\033[31m\n", false, "", "", ""},
        {"version: \377\376\n", false, "", "", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_server_facts facts = {0};
        assert_int_equal(kvat_server_facts_version(&facts, cases[i].said), cases[i].known);
        assert_string_equal(facts.version, cases[i].version);
        assert_string_equal(facts.commit, cases[i].commit);
        assert_string_equal(facts.line, cases[i].line);
    }
}

static void a_version_without_end_is_none(void **state) {
    char said[4096] = "version: ";
    (void)state;
    memset(said + 9, '1', sizeof said - 10);
    said[sizeof said - 1] = '\0';
    kvat_server_facts facts = {0};
    assert_false(kvat_server_facts_version(&facts, said));
}

static void devices_are_read_without_their_memory(void **state) {
    static const struct {
        const char *said;
        bool known;
        const char *devices;
    } cases[] = {
        {"Available devices:\n  (none)\n", true, ""},
        {"Available devices:\n", true, ""},
        {"noise\nAvailable devices:\n  CUDA0: NVIDIA (R) H100 (81089 MiB, 80500 MiB free)\n"
         "  Vulkan1: llvmpipe\n\n  not one\n",
         true, "CUDA0: NVIDIA (R) H100, Vulkan1: llvmpipe"},
        {"Available devices:\n  CUDA0: \303\234\033[0m (1 MiB, 1 MiB free)", true, "CUDA0: ???[0m"},
        {"error: invalid argument: --list-devices\n", false, ""},
        {"", false, ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_server_facts facts = {0};
        kvat_server_facts_devices(&facts, cases[i].said);
        assert_int_equal(facts.devices_known, cases[i].known);
        assert_string_equal(facts.devices, cases[i].devices);
    }
}

static void devices_without_end_are_unknown(void **state) {
    kvat_buf said = KVAT_BUF_INIT;
    (void)state;
    kvat_buf_puts(&said, "Available devices:\n");
    for (int i = 0; i < 1000; i++) kvat_buf_puts(&said, "  A: b (1 MiB, 1 MiB free)\n");
    kvat_server_facts facts = {0};
    kvat_server_facts_devices(&facts, said.bytes);
    kvat_buf_clear(&said);
    assert_false(facts.devices_known);
}

static void libraries_are_known_by_their_content(void **state) {
    char said[1024];
    const char *folder = *state;
    put_script("one", "same", 0644);
    put_script("two", "same", 0644);
    put_script("three", "other", 0644);
    snprintf(said, sizeof said,
             "\tlinux-vdso.so.1 (0x00007ff)\n\tlibllama.so.0 => %s/one (0x00007f)\n\tlibggml-base.so => %s/two (0x1)\n"
             "\tlibggml-cpu.so.0 => not found\n\tlibllama-common.so.0 => %s/three (0x2)\n",
             folder, folder, folder);
    kvat_server_facts facts = {0};
    kvat_server_facts_libraries(&facts, said);
    assert_int_equal(strlen(facts.libraries[KVAT_SERVER_LLAMA]), 64);
    assert_string_equal(facts.libraries[KVAT_SERVER_LLAMA], facts.libraries[KVAT_SERVER_GGML_BASE]);
    assert_string_equal(facts.libraries[KVAT_SERVER_GGML_CPU], "");
    kvat_server_facts none = {0};
    kvat_server_facts_libraries(&none, "libllama.so => relative/one (0x1)\n\tlibllama.so =>\n => /x (0x1)\nstatic\n");
    assert_string_equal(none.libraries[KVAT_SERVER_LLAMA], "");
}

/* A pipe would block its reader, a device may never end. */
static void only_files_are_taken_for_libraries(void **state) {
    char said[1024], pipe_path[512];
    snprintf(pipe_path, sizeof pipe_path, "%s/pipe", (const char *)*state);
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    snprintf(said, sizeof said, "libllama.so.0 => %s (0x1)\nlibggml-base.so => /dev/zero (0x1)\n", pipe_path);
    kvat_server_facts facts = {0};
    kvat_server_facts_libraries(&facts, said);
    unlink(pipe_path);
    assert_string_equal(facts.libraries[KVAT_SERVER_LLAMA], "");
    assert_string_equal(facts.libraries[KVAT_SERVER_GGML_BASE], "");
}

/* ---- comparing ---- */

static void ours_are_known(void **state) {
    (void)state;
    kvat_server_facts ours;
    kvat_server_facts_of_ours(&ours);
    assert_true(ours.version[0]);
    assert_true(ours.devices_known);
    assert_int_equal(kvat_server_libraries_compare(&ours, &ours),
                     ours.libraries[KVAT_SERVER_LLAMA][0] ? KVAT_SERVER_SAME : KVAT_SERVER_UNKNOWN);
}

#define BUILD(v, c, d, llama, base, cpu)                                                                               \
    {                                                                                                                  \
        .version = v, .commit = c, .line = v " (said)", .devices_known = true, .devices = d, .libraries = {            \
            llama,                                                                                                     \
            base,                                                                                                      \
            cpu                                                                                                        \
        }                                                                                                              \
    }

static void differences_are_named(void **state) {
    static const struct {
        kvat_server_facts server, ours;
        kvat_server_likeness libraries;
        const char *text;
    } cases[] = {
        {BUILD("2", "", "", "a", "b", "c"), BUILD("2", "", "", "a", "b", "c"), KVAT_SERVER_SAME, ""},
        {BUILD("2", "", "", "", "", ""), BUILD("2", "", "", "a", "b", "c"), KVAT_SERVER_UNKNOWN, ""},
        {BUILD("3", "", "", "", "", ""), BUILD("2", "", "", "a", "b", "c"), KVAT_SERVER_UNKNOWN,
         "it is version 3 (said), not 2"},
        {BUILD("2", "0123abcd", "", "", "", ""), BUILD("2", "0123abc", "", "", "", ""), KVAT_SERVER_UNKNOWN, ""},
        {BUILD("2", "0123abc", "", "", "", ""), BUILD("2", "fedcba9", "", "", "", ""), KVAT_SERVER_UNKNOWN,
         "it was built at commit 0123abc, not fedcba9"},
        /* ggml may come from a repository of its own: where the content is the same, the name does not matter. */
        {BUILD("2", "0123abc", "", "a", "b", "c"), BUILD("2", "fedcba9", "", "a", "b", "c"), KVAT_SERVER_SAME, ""},
        {BUILD("2", "", "", "a", "b", "X"), BUILD("2", "", "", "a", "b", "c"), KVAT_SERVER_OTHER,
         "it calls itself 2 too, but its libraries are not those measured, as with other build options or another "
         "compiler"},
        {BUILD("2", "", "", "X", "b", ""), BUILD("2", "", "", "a", "b", "c"), KVAT_SERVER_OTHER,
         "it calls itself 2 too, but its libraries are not those measured, as with other build options or another "
         "compiler"},
        {BUILD("2", "", "CUDA0: H", "a", "b", "c"), BUILD("2", "", "", "a", "b", "c"), KVAT_SERVER_SAME,
         "its devices besides the CPU are CUDA0: H, not none"},
        {BUILD("3", "", "", "", "", ""), BUILD("2", "", "CUDA0: H", "", "", ""), KVAT_SERVER_UNKNOWN,
         "it is version 3 (said), not 2; its devices besides the CPU are none, not CUDA0: H"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_buf text = KVAT_BUF_INIT;
        assert_int_equal(kvat_server_libraries_compare(&cases[i].server, &cases[i].ours), cases[i].libraries);
        kvat_server_put_differences(&text, &cases[i].server, &cases[i].ours);
        assert_string_equal(text.length ? text.bytes : "", cases[i].text);
        kvat_buf_clear(&text);
    }
}

static void devices_that_are_not_known_are_not_compared(void **state) {
    (void)state;
    kvat_server_facts server = BUILD("2", "", "", "", "", ""), ours = BUILD("2", "", "CUDA0: H", "", "", "");
    server.devices_known = false;
    kvat_buf text = KVAT_BUF_INIT;
    kvat_server_put_differences(&text, &server, &ours);
    assert_int_equal(text.length, 0);
    kvat_buf_clear(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(the_first_that_can_be_executed_is_found),
        FOLDER_TEST(relative_folders_of_the_search_are_passed_over),
        FOLDER_TEST(what_is_said_on_either_stream_is_heard),
        FOLDER_TEST(nothing_that_sets_options_is_passed_on),
        FOLDER_TEST(no_other_descriptor_is_inherited),
        FOLDER_TEST(what_ends_badly_says_how),
        FOLDER_TEST(what_cannot_be_started_says_why),
        FOLDER_TEST(what_hangs_is_ended_with_all_it_started),
        FOLDER_TEST(memory_that_runs_out_is_a_reason),
        cmocka_unit_test(versions_are_read_in_every_form),
        cmocka_unit_test(a_version_without_end_is_none),
        cmocka_unit_test(devices_are_read_without_their_memory),
        cmocka_unit_test(devices_without_end_are_unknown),
        FOLDER_TEST(libraries_are_known_by_their_content),
        FOLDER_TEST(only_files_are_taken_for_libraries),
        cmocka_unit_test(ours_are_known),
        cmocka_unit_test(differences_are_named),
        cmocka_unit_test(devices_that_are_not_known_are_not_compared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
