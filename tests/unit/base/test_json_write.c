/* Equal data give equal bytes, and what is written reads back the same.
 * Must not know any format made of JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "fail_alloc.h"
#include "kvat/json.h"

static json_t *parsed(const char *text) {
    json_t *value = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    if (kvat_json_parse(&value, text, strlen(text), "sample", &err) != KVAT_OK) fail_msg("%s", err.message);
    return value;
}

/* Takes the value. */
static void assert_written(json_t *value, const char *expected) {
    kvat_buf buf = KVAT_BUF_INIT;
    assert_int_equal(kvat_json_put(&buf, value), KVAT_OK);
    assert_string_equal(buf.bytes, expected);
    kvat_buf_clear(&buf);
    json_decref(value);
}

static void compact_text_has_sorted_keys_and_no_blanks(void **state) {
    (void)state;
    static const struct {
        const char *text, *written;
    } cases[] = {
        {"{ \"b\" : 1, \"a\" : [ 2, { \"d\": null, \"c\": true } ], \"\": false }",
         "{\"\":false,\"a\":[2,{\"c\":true,\"d\":null}],\"b\":1}"},
        {"{\"aa\":1,\"a\":2,\"B\":3,\"\u00e9\":4,\"a-b\":5}", "{\"B\":3,\"a\":2,\"a-b\":5,\"aa\":1,\"\u00e9\":4}"},
        {"[]", "[]"},
        {"{}", "{}"},
        {"[ [], {} ]", "[[],{}]"},
        {"\"text\"", "\"text\""},
        {"null", "null"},
        {"-9223372036854775808", "-9223372036854775808"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) assert_written(parsed(cases[i].text), cases[i].written);
}

static void strings_are_utf8_with_what_would_act_spelled_out(void **state) {
    (void)state;
    static const struct {
        const char *text, *written;
    } cases[] = {
        {"gr\u00f6\u00dfe \u6a21\u578b", "\"gr\u00f6\u00dfe \u6a21\u578b\""},
        {"\x1b]0;x\a\x7f\n\t", "\"\\u001b]0;x\\u0007\\u007f\\n\\t\""},
        {"\u202e\u2028\ufeff", "\"\\u202e\\u2028\\ufeff\""},
        {"\"\\/", "\"\\\"\\\\/\""},
        {"</script><!--", "\"\\u003c/script>\\u003c!--\""},
        {"1 < 2", "\"1 < 2\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_written(json_string(cases[i].text), cases[i].written);
    assert_written(json_stringn_nocheck("a\xff\0b", 4), "\"a\\ufffd\\u0000b\"");
}

static void reals_are_short_and_stay_reals(void **state) {
    (void)state;
    static const struct {
        double value;
        const char *written;
    } cases[] = {
        {0, "0.0"},
        {-0.0, "-0.0"},
        {5, "5.0"},
        {-2, "-2.0"},
        {0.1, "0.1"},
        {0.1 + 0.2, "0.30000000000000004"},
        {1.0 / 3, "0.3333333333333333"},
        {0.95, "0.95"},
        {123456789.125, "123456789.125"},
        {1e22, "1e22"},
        {1.5e300, "1.5e300"},
        {1e-7, "1e-7"},
        {-2.5e-9, "-2.5e-9"},
        {9007199254740993.0, "9007199254740992.0"},
        {5e-324, "5e-324"},
        {DBL_MIN, "2.2250738585072014e-308"},
        {DBL_MAX, "1.7976931348623157e308"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double value = cases[i].value;
        assert_written(json_real(value), cases[i].written);
        assert_true(strtod(cases[i].written, NULL) == value);
    }
}

/* SplitMix64: the bits of many doubles, the same in every run. */
static uint64_t next_bits(uint64_t *seed) {
    uint64_t z = *seed += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static void every_double_reads_back_equal(void **state) {
    (void)state;
    uint64_t seed = 7;
    kvat_buf buf = KVAT_BUF_INIT;
    for (int i = 0; i < 5000; i++) {
        uint64_t bits = next_bits(&seed);
        double value;
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value)) continue;
        json_t *real = json_real(value);
        kvat_buf_reset(&buf);
        assert_int_equal(kvat_json_put(&buf, real), KVAT_OK);
        json_t *read = parsed(buf.bytes);
        assert_true(json_is_real(read) && json_real_value(read) == value);
        json_decref(read);
        json_decref(real);
    }
    kvat_buf_clear(&buf);
}

/* Runs where a locale with another decimal point is to be had, as in `make check`. */
static void a_locale_changes_nothing(void **state) {
    (void)state;
    if (!setlocale(LC_NUMERIC, "de_DE.UTF-8") && !setlocale(LC_NUMERIC, "fr_FR.UTF-8")) skip();
    json_t *read = parsed("[1.5,2.5e-9]");
    assert_true(json_real_value(json_array_get(read, 0)) == 1.5);
    assert_written(read, "[1.5,2.5e-9]");
    setlocale(LC_NUMERIC, "C");
}

static void pretty_text_is_indented_and_ends_its_line(void **state) {
    (void)state;
    json_t *value = parsed("{\"b\":[],\"a\":[1,{\"c\":{}}]}");
    kvat_buf buf = KVAT_BUF_INIT;
    assert_int_equal(kvat_json_put_pretty(&buf, value), KVAT_OK);
    assert_string_equal(buf.bytes, "{\n"
                                   "  \"a\": [\n"
                                   "    1,\n"
                                   "    {\n"
                                   "      \"c\": {}\n"
                                   "    }\n"
                                   "  ],\n"
                                   "  \"b\": []\n"
                                   "}\n");
    json_t *read = parsed(buf.bytes);
    assert_true(json_equal(value, read));
    json_decref(read);
    json_decref(value);
    kvat_buf_clear(&buf);
}

/* An empty array inside `depth` − 1 others. */
static json_t *nested(int depth) {
    json_t *value = json_array();
    for (int i = 1; i < depth; i++) {
        json_t *outer = json_array();
        json_array_append_new(outer, value);
        value = outer;
    }
    return value;
}

static void what_could_not_be_read_back_is_not_written(void **state) {
    (void)state;
    kvat_buf buf = KVAT_BUF_INIT;
    json_t *deepest = nested(KVAT_JSON_MAX_DEPTH);
    json_t *too_deep = nested(KVAT_JSON_MAX_DEPTH + 1);
    assert_int_equal(kvat_json_put(&buf, deepest), KVAT_OK);
    json_decref(parsed(buf.bytes));

    kvat_buf_reset(&buf);
    kvat_buf_puts(&buf, "before");
    assert_int_equal(kvat_json_put(&buf, too_deep), KVAT_ERR_INTERNAL);
    assert_string_equal(buf.bytes, "before");
    assert_int_equal(kvat_buf_status(&buf, NULL), KVAT_ERR_INTERNAL);
    kvat_buf_reset(&buf);
    assert_int_equal(kvat_json_put(&buf, NULL), KVAT_ERR_INTERNAL);
    json_decref(deepest);
    json_decref(too_deep);
    kvat_buf_clear(&buf);
}

static void at_the_ceiling_nothing_of_the_value_stays(void **state) {
    (void)state;
    json_t *value = parsed("{\"a\":[1,2,3],\"b\":{\"c\":\"text\"}}");
    kvat_buf buf;
    kvat_buf_init(&buf, 20);
    kvat_buf_puts(&buf, "head");
    assert_int_equal(kvat_json_put(&buf, value), KVAT_ERR_DATA);
    assert_string_equal(buf.bytes, "head");
    kvat_buf_clear(&buf);
    json_decref(value);
}

static kvat_status put_one(void *context, kvat_error *err) {
    kvat_buf buf = KVAT_BUF_INIT;
    kvat_status status = kvat_json_put(&buf, context);
    assert_int_equal(kvat_buf_status(&buf, err), status);
    assert_true(status == KVAT_OK || buf.length == 0);
    kvat_buf_clear(&buf);
    return status;
}

static void every_failing_allocation_is_reported(void **state) {
    (void)state;
    json_t *value =
        parsed("{\"a\":[1,2.5,{\"b\":{}}],\"c\":{\"d\":\"a text that makes the buffer grow more than once ... "
               "and once more, so that it must be moved\"}}");
    assert_true(fail_alloc_each(put_one, value) >= 4);
    json_decref(value);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(compact_text_has_sorted_keys_and_no_blanks),
        cmocka_unit_test(strings_are_utf8_with_what_would_act_spelled_out),
        cmocka_unit_test(reals_are_short_and_stay_reals),
        cmocka_unit_test(every_double_reads_back_equal),
        cmocka_unit_test(a_locale_changes_nothing),
        cmocka_unit_test(pretty_text_is_indented_and_ends_its_line),
        cmocka_unit_test(what_could_not_be_read_back_is_not_written),
        cmocka_unit_test(at_the_ceiling_nothing_of_the_value_stays),
        cmocka_unit_test(every_failing_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
