/* Durations, sizes and numbers as people type them.
 * Must not know which options take them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "kvat/units.h"

#define UNTOUCHED 4711

static void durations_are_read_in_every_unit(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t ns;
    } cases[] = {
        {"90s", 90 * KVAT_NS_PER_S},
        {"20m", 1200 * KVAT_NS_PER_S},
        {"20min", 1200 * KVAT_NS_PER_S},
        {"1h30m", 5400 * KVAT_NS_PER_S},
        {"250ms", 250000000},
        {"90", 90 * KVAT_NS_PER_S},
        {"1.5h", 5400 * KVAT_NS_PER_S},
        {"0.5", 500000000},
        {"2d", 172800 * KVAT_NS_PER_S},
        {"1m0.25s", 60250000000},
        {"7us", 7000},
        {"1ns", 1},
        {"9223372036854775807ns", INT64_MAX},
        {"0.1s", 100000000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t ns = UNTOUCHED;
        assert_int_equal(kvat_parse_duration(&ns, cases[i].text, NULL), KVAT_OK);
        assert_int_equal(ns, cases[i].ns);
    }
}

static void what_is_no_duration_is_refused(void **state) {
    (void)state;
    static const char *const cases[] = {
        "",
        "s",
        "-5s",
        "+5s",
        "0",
        "0s",
        "5 s",
        " 5s",
        "5s ",
        "5x",
        "5S",
        "1m1h",
        "1s1s",
        "1m20",
        "1.",
        ".5s",
        "1.s",
        "1,5s",
        "1e3s",
        "99999999999999999999s",
        "9223372036854775808ns",
        "300000000h",
        "nan",
        "inf",
        "0x10",
        "1h30m\n",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t ns = UNTOUCHED;
        kvat_error err = KVAT_ERROR_INIT;
        assert_int_equal(kvat_parse_duration(&ns, cases[i], &err), KVAT_ERR_USAGE);
        assert_int_equal(ns, UNTOUCHED);
        assert_non_null(strstr(err.message, "20m"));
    }
    int64_t ns = UNTOUCHED;
    assert_int_equal(kvat_parse_duration(&ns, NULL, NULL), KVAT_ERR_USAGE);
}

static void sizes_are_read_in_binary_units(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t bytes;
    } cases[] = {
        {"1", 1},
        {"4096", 4096},
        {"512B", 512},
        {"512M", 512 << 20},
        {"512m", 512 << 20},
        {"12GiB", INT64_C(12) << 30},
        {"12gib", INT64_C(12) << 30},
        {"1.5G", INT64_C(3) << 29},
        {"2k", 2048},
        {"1KiB", 1024},
        {"1T", INT64_C(1) << 40},
        {"9223372036854775807", INT64_MAX},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t bytes = UNTOUCHED;
        assert_int_equal(kvat_parse_bytes(&bytes, cases[i].text, NULL), KVAT_OK);
        assert_int_equal(bytes, cases[i].bytes);
    }
}

static void what_is_no_size_is_refused(void **state) {
    (void)state;
    static const char *const cases[] = {
        "", "0", "0G", "-1", "G", "1GB", "1 G", "1G ", "1GiBs", "1G1M", "8388608T", "9223372036854775808", "0.1", "1e9",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t bytes = UNTOUCHED;
        kvat_error err = KVAT_ERROR_INIT;
        assert_int_equal(kvat_parse_bytes(&bytes, cases[i], &err), KVAT_ERR_USAGE);
        assert_int_equal(bytes, UNTOUCHED);
        assert_non_null(strstr(err.message, "GiB"));
    }
    int64_t bytes = UNTOUCHED;
    assert_int_equal(kvat_parse_bytes(&bytes, NULL, NULL), KVAT_ERR_USAGE);
}

static void integers_are_read_within_their_range(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t low, high;
        kvat_status status;
        int64_t value;
    } cases[] = {
        {"1", 1, 8, KVAT_OK, 1},
        {"8", 1, 8, KVAT_OK, 8},
        {"008", 1, 8, KVAT_OK, 8},
        {"-3", -5, 5, KVAT_OK, -3},
        {"9223372036854775807", 0, INT64_MAX, KVAT_OK, INT64_MAX},
        {"-9223372036854775808", INT64_MIN, 0, KVAT_OK, INT64_MIN},
        {"0", 1, 8, KVAT_ERR_USAGE, 0},
        {"9", 1, 8, KVAT_ERR_USAGE, 0},
        {"-1", 0, 8, KVAT_ERR_USAGE, 0},
        {"-0", 0, 8, KVAT_ERR_USAGE, 0},
        {"+1", 0, 8, KVAT_ERR_USAGE, 0},
        {"", 0, 8, KVAT_ERR_USAGE, 0},
        {"-", -8, 8, KVAT_ERR_USAGE, 0},
        {" 1", 0, 8, KVAT_ERR_USAGE, 0},
        {"1 ", 0, 8, KVAT_ERR_USAGE, 0},
        {"1.0", 0, 8, KVAT_ERR_USAGE, 0},
        {"0x1", 0, 8, KVAT_ERR_USAGE, 0},
        {"9223372036854775808", 0, INT64_MAX, KVAT_ERR_USAGE, 0},
        {NULL, 0, 8, KVAT_ERR_USAGE, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t value = UNTOUCHED;
        kvat_error err = KVAT_ERROR_INIT;
        assert_int_equal(kvat_parse_int(&value, cases[i].text, cases[i].low, cases[i].high, "--batch", &err),
                         cases[i].status);
        assert_int_equal(value, cases[i].status == KVAT_OK ? cases[i].value : UNTOUCHED);
        if (cases[i].status != KVAT_OK) assert_non_null(strstr(err.message, "--batch: expected an integer from"));
    }
}

static void ratios_are_read_as_numbers_or_per_cents(void **state) {
    (void)state;
    static const struct {
        const char *text;
        double low, high;
        kvat_status status;
        double value;
    } cases[] = {
        {"5%", 0, 1, KVAT_OK, 0.05},       {"0.05", 0, 1, KVAT_OK, 0.05},    {"100%", 0, 1, KVAT_OK, 1},
        {"1e-3", 0, 1, KVAT_OK, 0.001},    {"2.5E+1%", 0, 1, KVAT_OK, 0.25}, {"-10%", -1, 1, KVAT_OK, -0.1},
        {"101%", 0, 1, KVAT_ERR_USAGE, 0}, {"-1%", 0, 1, KVAT_ERR_USAGE, 0}, {"", 0, 1, KVAT_ERR_USAGE, 0},
        {"%", 0, 1, KVAT_ERR_USAGE, 0},    {"5%%", 0, 9, KVAT_ERR_USAGE, 0}, {"5 %", 0, 9, KVAT_ERR_USAGE, 0},
        {".5", 0, 9, KVAT_ERR_USAGE, 0},   {"5.", 0, 9, KVAT_ERR_USAGE, 0},  {"0,5", 0, 9, KVAT_ERR_USAGE, 0},
        {"nan", 0, 9, KVAT_ERR_USAGE, 0},  {"inf", 0, 9, KVAT_ERR_USAGE, 0}, {"1e999", 0, 9, KVAT_ERR_USAGE, 0},
        {"0x1", 0, 9, KVAT_ERR_USAGE, 0},  {"1e", 0, 9, KVAT_ERR_USAGE, 0},  {NULL, 0, 9, KVAT_ERR_USAGE, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double value = UNTOUCHED;
        kvat_error err = KVAT_ERROR_INIT;
        assert_int_equal(kvat_parse_ratio(&value, cases[i].text, cases[i].low, cases[i].high, "--gate", &err),
                         cases[i].status);
        assert_true(value == (cases[i].status == KVAT_OK ? cases[i].value : UNTOUCHED));
        if (cases[i].status != KVAT_OK) assert_non_null(strstr(err.message, "--gate: expected a number from"));
    }
}

static void the_nearest_word_is_suggested_when_near_enough(void **state) {
    (void)state;
    static const char *const words[] = {"tune",       "apply",        "compare",     "report",
                                        "flash-attn", "cache-type-k", "cache-type-v"};
    static const struct {
        const char *word;
        int nearest;
    } cases[] = {
        {"tune", 0},        {"tuen", 0},   {"tun", 0},       {"tunes", 0},     {"aply", 1},
        {"comapre", 2},     {"reprot", 3}, {"flashattn", 4}, {"flash_atn", 4}, {"cache-type-v", 6},
        {"cache-typ-k", 5}, {"zebra", -1}, {"x", -1},        {"", -1},         {"completely-different", -1},
        {"tu", -1},         {NULL, -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(kvat_nearest_word(cases[i].word, words, sizeof words / sizeof *words), cases[i].nearest);
    assert_int_equal(kvat_nearest_word("tune", words, 0), -1);
}

static void overlong_words_are_never_near(void **state) {
    (void)state;
    char longest[66];
    memset(longest, 'a', 65);
    longest[65] = '\0';
    const char *const words[] = {longest};
    assert_int_equal(kvat_nearest_word(longest, words, 1), -1);
    assert_int_equal(kvat_nearest_word(longest + 1, words, 1), -1);
    const char *const shorter[] = {longest + 1};
    assert_int_equal(kvat_nearest_word(longest + 1, shorter, 1), 0);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_are_read_in_every_unit),
        cmocka_unit_test(what_is_no_duration_is_refused),
        cmocka_unit_test(sizes_are_read_in_binary_units),
        cmocka_unit_test(what_is_no_size_is_refused),
        cmocka_unit_test(integers_are_read_within_their_range),
        cmocka_unit_test(ratios_are_read_as_numbers_or_per_cents),
        cmocka_unit_test(the_nearest_word_is_suggested_when_near_enough),
        cmocka_unit_test(overlong_words_are_never_near),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
