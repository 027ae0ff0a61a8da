/* The parts below worker and server: lines out of bytes, the tail of a log, messages, causes of death. */
/* Must not know: processes. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "death.h"
#include "lines.h"
#include "message.h"
#include "tail.h"

/* ---- lines ---- */

static void lines_come_out_however_the_bytes_went_in(void **state) {
    (void)state;
    static const char text[] = "one\n\nthree and more\nlast";
    for (size_t step = 1; step <= sizeof text - 1; step++) {
        kvat__lines lines;
        kvat_buf seen = KVAT_BUF_INIT;
        kvat__lines_init(&lines, 100);
        for (size_t at = 0; at < sizeof text - 1; at += step) {
            const size_t n = at + step < sizeof text - 1 ? step : sizeof text - 1 - at;
            const char *line;
            size_t length;
            assert_int_equal(kvat__lines_put(&lines, text + at, n, NULL), KVAT_OK);
            while (kvat__lines_next(&lines, &line, &length)) {
                kvat_buf_putc(&seen, '[');
                kvat_buf_put(&seen, line, length);
                kvat_buf_putc(&seen, ']');
            }
        }
        assert_string_equal(seen.bytes, "[one][][three and more]");
        assert_int_equal(lines.partial, 4);
        kvat_buf_clear(&seen);
        kvat__lines_clear(&lines);
    }
}

static void a_line_may_be_as_long_as_the_limit_and_no_longer(void **state) {
    (void)state;
    static const struct {
        const char *first, *second;
        kvat_status status;
    } cases[] = {
        {"abcd\n", "", KVAT_OK},      {"ab", "cd\nabcd", KVAT_OK},    {"abcde", "", KVAT_ERR_DATA},
        {"abc", "de", KVAT_ERR_DATA}, {"abc", "de\n", KVAT_ERR_DATA}, {"a\nabcde\n", "", KVAT_ERR_DATA},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat__lines lines;
        kvat__lines_init(&lines, 4);
        kvat_status status = kvat__lines_put(&lines, cases[i].first, strlen(cases[i].first), NULL);
        if (status == KVAT_OK) status = kvat__lines_put(&lines, cases[i].second, strlen(cases[i].second), NULL);
        assert_int_equal(status, cases[i].status);
        kvat__lines_clear(&lines);
    }
}

static void lines_taken_do_not_pile_up(void **state) {
    (void)state;
    kvat__lines lines;
    kvat__lines_init(&lines, 100);
    for (int i = 0; i < 100000; i++) {
        const char *line;
        size_t n;
        assert_int_equal(kvat__lines_put(&lines, "0123456789\n", 11, NULL), KVAT_OK);
        assert_true(kvat__lines_next(&lines, &line, &n));
    }
    assert_true(lines.buf.capacity < 4096);
    kvat__lines_clear(&lines);
}

/* ---- the tail ---- */

static void a_tail_holds_the_last_bytes(void **state) {
    (void)state;
    kvat__tail *tail = calloc(1, sizeof *tail);
    assert_non_null(tail);
    kvat__tail_put(tail, "a\0b", 3);
    assert_string_equal(kvat__tail_text(tail, 0), "a b");
    assert_string_equal(kvat__tail_text(tail, 2), "b");
    assert_string_equal(kvat__tail_text(tail, 99), "");
    char block[1000];
    for (int i = 0; i < 300; i++) {
        memset(block, 'A' + i % 26, sizeof block);
        kvat__tail_put(tail, block, sizeof block);
    }
    const char *text = kvat__tail_text(tail, 0);
    assert_int_equal(strlen(text), KVAT__TAIL_BYTES);
    assert_int_equal(text[KVAT__TAIL_BYTES - 1], 'A' + 299 % 26);
    assert_int_equal(text[KVAT__TAIL_BYTES - 1001], 'A' + 298 % 26);
    char *huge = malloc(3 * KVAT__TAIL_BYTES);
    assert_non_null(huge);
    memset(huge, 'x', 3 * KVAT__TAIL_BYTES);
    huge[3 * KVAT__TAIL_BYTES - 1] = 'y';
    kvat__tail_put(tail, huge, 3 * KVAT__TAIL_BYTES);
    text = kvat__tail_text(tail, 0);
    assert_int_equal(text[0], 'x');
    assert_int_equal(text[KVAT__TAIL_BYTES - 1], 'y');
    free(huge);
    free(tail);
}

/* ---- messages ---- */

static void messages_are_told_apart(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int code; /* 0: good */
        char kind;
    } cases[] = {
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\",\"params\":{}}", 0, 'q'},
        {"{\"jsonrpc\":\"2.0\",\"method\":\"m\"}", 0, 'n'},
        {"{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"m\"}", 0, 'n'},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":null}", 0, 'r'},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{}}", 0, 'e'},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":1,\"error\":{}}", -32600, 0},
        {"{\"jsonrpc\":\"2.0\",\"id\":1}", -32600, 0},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":3}", -32600, 0},
        {"{\"jsonrpc\":2.0,\"id\":1,\"method\":\"m\"}", -32600, 0},
        {"{\"jsonrpc\":\"2.0\",\"id\":1.5,\"method\":\"m\"}", -32600, 0},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\",\"params\":[]}", -32602, 0},
        {"\"text\"", -32600, 0},
        {"", -32700, 0},
        {"{} {}", -32700, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat__message m = {0};
        json_t *id = NULL;
        int code = 0;
        const kvat_status status = kvat__message_read(&m, cases[i].text, strlen(cases[i].text), &code, &id, NULL);
        assert_int_equal(status, cases[i].code ? KVAT_ERR_DATA : KVAT_OK);
        if (cases[i].code) {
            assert_int_equal(code, cases[i].code);
            assert_null(m.root);
        } else {
            const char kind = m.method ? m.id ? 'q' : 'n' : m.error ? 'e' : 'r';
            assert_int_equal(kind, cases[i].kind);
        }
        json_decref(id);
        kvat__message_clear(&m);
    }
}

static void errors_survive_the_journey(void **state) {
    (void)state;
    for (kvat_fault_kind kind = KVAT_FAULT_UNSUPPORTED; kind <= KVAT_FAULT_CANCELLED; kind++) {
        kvat_fault fault = {0}, back = {0};
        kvat_buf line = KVAT_BUF_INIT;
        kvat__message m = {0};
        json_t *id = NULL, *seven = json_integer(7);
        int code = 0;
        assert_int_equal(kvat_fault_set(&fault, kind, "knob", "detail \"%d\"", 5), -1);
        kvat__put_error(&line, seven, kind == KVAT_FAULT_CANCELLED ? -32800 : -32000, &fault);
        assert_int_equal(kvat__message_read(&m, line.bytes, line.length - 1, &code, &id, NULL), KVAT_OK);
        kvat__error_read(&code, &back, m.error);
        assert_int_equal(back.kind, kind);
        assert_string_equal(back.knob, "knob");
        assert_string_equal(back.detail, "detail \"5\"");
        kvat__message_clear(&m);
        json_decref(seven);
        kvat_buf_clear(&line);
    }
}

static void an_error_without_data_is_internal_and_keeps_its_message(void **state) {
    (void)state;
    json_t *error = json_pack("{s:i,s:s}", "code", -5, "message", "no luck");
    kvat_fault fault = {0};
    int code = 0;
    kvat__error_read(&code, &fault, error);
    assert_int_equal(code, -5);
    assert_int_equal(fault.kind, KVAT_FAULT_INTERNAL);
    assert_string_equal(fault.detail, "no luck");
    json_decref(error);
}

/* ---- causes of death ---- */

static void deaths_are_told_apart(void **state) {
    (void)state;
    static const struct {
        kvat__evidence evidence;
        kvat_death_kind kind;
        const char *detail;
    } cases[] = {
        {{.code = 0, .limit = "", .log = ""}, KVAT_DEATH_EXIT, "exited with code 0"},
        {{.code = 0, .limit = "", .log = "out of memory\n"}, KVAT_DEATH_EXIT, "exited with code 0: out of memory"},
        {{.code = 1, .limit = "", .log = "ggml: failed to allocate buffer\n"},
         KVAT_DEATH_OOM,
         "could not allocate memory: ggml: failed to allocate buffer"},
        {{.by_signal = true, .code = SIGSEGV, .limit = "", .log = "x\n"},
         KVAT_DEATH_SIGNAL,
         "was killed by signal 11 (SIGSEGV)"},
        {{.by_signal = true, .code = SIGKILL, .limit = "", .log = ""},
         KVAT_DEATH_SIGNAL,
         "was killed by signal 9 (SIGKILL)"},
        {{.by_signal = true, .code = SIGKILL, .system_oom = true, .limit = "", .log = ""},
         KVAT_DEATH_OOM,
         "was killed by the kernel for want of memory"},
        {{.by_signal = true, .code = SIGSEGV, .system_oom = true, .limit = "", .log = ""},
         KVAT_DEATH_SIGNAL,
         "was killed by signal 11 (SIGSEGV)"},
        {{.by_signal = true, .code = SIGKILL, .cgroup_oom = true, .limit = "cgroup v2 memory.max", .log = ""},
         KVAT_DEATH_OOM,
         "was killed at its memory limit (cgroup v2 memory.max)"},
        {{.by_signal = true, .code = SIGABRT, .limit = "RLIMIT_DATA", .log = "what():  std::bad_alloc\n"},
         KVAT_DEATH_OOM,
         "ran into its memory limit (RLIMIT_DATA): what():  std::bad_alloc"},
        {{.by_signal = true, .code = SIGKILL, .killed_by_us = true, .system_oom = true, .limit = "", .log = ""},
         KVAT_DEATH_SIGNAL,
         "was killed by signal 9 (SIGKILL)"},
        {{.unknown = true, .limit = "", .log = ""}, KVAT_DEATH_SIGNAL, "lost its supervisor, which was killed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_death death = {0};
        kvat__death_classify(&death, &cases[i].evidence);
        assert_string_equal(death.detail, cases[i].detail);
        assert_int_equal(death.kind, cases[i].kind);
    }
}

static void the_telling_line_is_found_and_made_harmless(void **state) {
    (void)state;
    static const struct {
        const char *log, *line;
    } cases[] = {
        {"", ""},
        {"\n \n", ""},
        {"a line that may quote a prompt\n", ""}, /* what does not speak of failure is nobody's business */
        {"only an error", "only an error"},
        {"Assertion `x' failed.\nstack 1\nstack 2\n", "Assertion `x' failed."},
        {"error: early\nok\nerror: late\nbye\n", "error: late"},
        {"fail\x1b[31mb\xff\xc3\xa4\xc2\x9bz\n", "fail [31mb?\xc3\xa4 z"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char line[64];
        kvat__telling_line(line, sizeof line, cases[i].log);
        assert_string_equal(line, cases[i].line);
    }
    char small[6];
    kvat__telling_line(small, sizeof small, "fail\xe2\x82\xac");
    assert_string_equal(small, "fail"); /* never half a character */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_come_out_however_the_bytes_went_in),
        cmocka_unit_test(a_line_may_be_as_long_as_the_limit_and_no_longer),
        cmocka_unit_test(lines_taken_do_not_pile_up),
        cmocka_unit_test(a_tail_holds_the_last_bytes),
        cmocka_unit_test(messages_are_told_apart),
        cmocka_unit_test(errors_survive_the_journey),
        cmocka_unit_test(an_error_without_data_is_internal_and_keeps_its_message),
        cmocka_unit_test(deaths_are_told_apart),
        cmocka_unit_test(the_telling_line_is_found_and_made_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
