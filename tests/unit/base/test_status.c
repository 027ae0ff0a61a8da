/* Statuses and messages.
 * Must not know where failures come from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "kvat/status.h"

static void every_status_has_the_documented_exit_code_and_word(void **state) {
    (void)state;
    static const struct {
        kvat_status status;
        int exit_code;
        const char *word;
    } cases[] = {
        {KVAT_OK, 0, "ok"},
        {KVAT_ERR_INTERNAL, 1, "internal"},
        {KVAT_ERR_NOMEM, 1, "out_of_memory"},
        {KVAT_ERR_USAGE, 2, "usage"},
        {KVAT_ERR_INFEASIBLE, 3, "no_feasible"},
        {KVAT_ERR_GATE, 4, "gate_failed"},
        {KVAT_ERR_PARTIAL, 6, "partial"},
        {KVAT_ERR_DATA, 65, "bad_data"},
        {KVAT_ERR_ENGINE, 69, "engine_unavailable"},
        {KVAT_ERR_IO, 74, "io"},
        {KVAT_ERR_BUSY, 75, "busy"},
        {KVAT_ERR_INTERRUPTED, 130, "interrupted"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(kvat_status_exit_code(cases[i].status), cases[i].exit_code);
        assert_string_equal(kvat_status_word(cases[i].status), cases[i].word);
    }
}

static void a_number_that_is_no_status_counts_as_internal(void **state) {
    (void)state;
    static const int numbers[] = {-1, 12, 1000};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        assert_int_equal(kvat_status_exit_code((kvat_status)numbers[i]), 1);
        assert_string_equal(kvat_status_word((kvat_status)numbers[i]), "internal");
    }
}

static void a_failure_is_returned_and_explained(void **state) {
    (void)state;
    kvat_error err = KVAT_ERROR_INIT;
    assert_int_equal(kvat_fail(&err, KVAT_ERR_DATA, "%s has %d parts", "model.gguf", 3), KVAT_ERR_DATA);
    assert_int_equal(err.status, KVAT_ERR_DATA);
    assert_string_equal(err.message, "model.gguf has 3 parts");
    assert_int_equal(kvat_fail(NULL, KVAT_ERR_BUSY, "unheard"), KVAT_ERR_BUSY);
    assert_int_equal(kvat_fail_errno(NULL, KVAT_ERR_BUSY, EIO, "unheard"), KVAT_ERR_BUSY);
}

static void an_errno_is_appended(void **state) {
    (void)state;
    kvat_error err = KVAT_ERROR_INIT;
    char expected[256] = "cannot write a.json: ";
    strcat(expected, strerror(ENOSPC));
    assert_int_equal(kvat_fail_errno(&err, KVAT_ERR_IO, ENOSPC, "cannot write %s", "a.json"), KVAT_ERR_IO);
    assert_string_equal(err.message, expected);
    assert_int_equal(kvat_fail_errno(&err, KVAT_ERR_IO, ENOMEM, "cannot write"), KVAT_ERR_NOMEM);
    assert_int_equal(err.status, KVAT_ERR_NOMEM);
}

static void an_errno_is_never_what_gets_cut(void **state) {
    (void)state;
    kvat_error err = KVAT_ERROR_INIT;
    char path[5000];
    memset(path, 'p', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    kvat_fail_errno(&err, KVAT_ERR_IO, ENOSPC, "cannot write %s", path);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
    const char *reason = strerror(ENOSPC);
    assert_string_equal(err.message + strlen(err.message) - strlen(reason), reason);
}

static void a_message_is_one_line_of_visible_utf8(void **state) {
    (void)state;
    static const struct {
        const char *raw, *message;
    } cases[] = {
        {"two\nlines", "two\\u{000A}lines"}, {"\x1b]0;x\a", "\\u{001B}]0;x\\u{0007}"}, {"a\xffz", "a\\xFFz"},
        {"ab\u202e", "ab\\u{202E}"},         {"größer 模型", "größer 模型"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_error err = KVAT_ERROR_INIT;
        kvat_fail(&err, KVAT_ERR_DATA, "%s", cases[i].raw);
        assert_string_equal(err.message, cases[i].message);
    }
}

static void a_long_message_is_cut_at_a_character(void **state) {
    (void)state;
    char text[3000];
    for (size_t shift = 0; shift < 3; shift++) {
        memset(text, 'x', shift);
        for (size_t i = shift; i + 3 < sizeof text; i += 3) memcpy(text + i, "€", 3), text[i + 3] = '\0';
        kvat_error err = KVAT_ERROR_INIT;
        kvat_fail(&err, KVAT_ERR_DATA, "%s", text);
        size_t length = strlen(err.message);
        assert_in_range(length, sizeof err.message - 3, sizeof err.message - 1);
        assert_int_equal((length - shift) % 3, 0);
        assert_memory_equal(err.message, text, length);
    }
}

static void a_message_may_be_built_from_the_one_it_replaces(void **state) {
    (void)state;
    kvat_error err = KVAT_ERROR_INIT;
    kvat_fail(&err, KVAT_ERR_DATA, "inner");
    kvat_fail(&err, KVAT_ERR_ENGINE, "outer (%s)", err.message);
    assert_string_equal(err.message, "outer (inner)");
}

static void the_version_has_three_numbers(void **state) {
    (void)state;
    int parts[3];
    char rest;
    assert_int_equal(sscanf(kvat_version(), "%d.%d.%d%c", &parts[0], &parts[1], &parts[2], &rest), 3);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_the_documented_exit_code_and_word),
        cmocka_unit_test(a_number_that_is_no_status_counts_as_internal),
        cmocka_unit_test(a_failure_is_returned_and_explained),
        cmocka_unit_test(an_errno_is_appended),
        cmocka_unit_test(an_errno_is_never_what_gets_cut),
        cmocka_unit_test(a_message_is_one_line_of_visible_utf8),
        cmocka_unit_test(a_long_message_is_cut_at_a_character),
        cmocka_unit_test(a_message_may_be_built_from_the_one_it_replaces),
        cmocka_unit_test(the_version_has_three_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
