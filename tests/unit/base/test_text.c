/* Widths and cutting of texts.
 * Must not know what the texts say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kvat/buf.h"

static void widths_are_those_of_a_terminal(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t columns;
    } cases[] = {
        {"", 0}, {"abc", 3}, {"größe", 5}, {"模型", 4}, {"e\u0301", 1}, {"a\xff\xfe", 3}, {"\U0001F600", 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(kvat_text_width(cases[i].text), cases[i].columns);
    assert_int_equal(kvat_text_width(NULL), 0);
}

static void text_is_cut_and_padded_to_columns(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t columns;
        int pad, unicode;
        const char *fitted;
    } cases[] = {
        {"short", 8, 0, 1, "short"},
        {"short", 8, 1, 1, "short   "},
        {"exactly8", 8, 1, 1, "exactly8"},
        {"more than 8", 8, 1, 1, "more th…"},
        {"more than 8", 8, 1, 0, "more ..."},
        {"模型模型模型", 8, 1, 1, "模型模… "},
        {"模型模型模型", 8, 0, 1, "模型模…"},
        {"e\u0301e\u0301e\u0301", 2, 0, 1, "e\u0301…"},
        {"abc", 2, 1, 0, ".."},
        {"abc", 1, 1, 1, "…"},
        {"abc", 0, 1, 1, ""},
        {"", 3, 1, 1, "   "},
        {NULL, 2, 1, 1, "  "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_buf buf = KVAT_BUF_INIT;
        kvat_text_fit(&buf, cases[i].text, cases[i].columns, cases[i].pad, cases[i].unicode);
        assert_string_equal(buf.bytes, cases[i].fitted);
        if (cases[i].pad) assert_int_equal(kvat_text_width(buf.bytes), cases[i].columns);
        kvat_buf_clear(&buf);
    }
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(widths_are_those_of_a_terminal),
        cmocka_unit_test(text_is_cut_and_padded_to_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
