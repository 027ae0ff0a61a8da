/* Numbers as people read them, in every locale.
 * Must not know which numbers kvat shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "base.h"
#include "kvat/units.h"

static void durations_have_three_figures_and_a_fitting_unit(void **state) {
    (void)state;
    static const struct {
        int64_t ns;
        const char *text;
    } cases[] = {
        {0, "0 s"},
        {1, "1 ns"},
        {999, "999 ns"},
        {1000, "1.00 us"},
        {15300, "15.3 us"},
        {999499, "999 us"},
        {999500, "1.00 ms"},
        {1530000, "1.53 ms"},
        {812000000, "812 ms"},
        {999499999, "999 ms"},
        {999500000, "1.00 s"},
        {7720000000, "7.72 s"},
        {9810000000, "9.81 s"},
        {59940000000, "59.9 s"},
        {59950000001, "1 min 00 s"},
        {62000000000, "1 min 02 s"},
        {192000000000, "3 min 12 s"},
        {3599499999999, "59 min 59 s"},
        {3599500000000, "1 h 00 min"},
        {3840000000000, "1 h 04 min"},
        {90000000000000, "25 h 00 min"},
        {-812000000, "-812 ms"},
        {INT64_MAX, "2562047 h 47 min"},
        {INT64_MIN, "-2562047 h 47 min"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_buf buf = KVAT_BUF_INIT;
        kvat_put_duration(&buf, cases[i].ns);
        assert_string_equal(buf.bytes, cases[i].text);
        kvat_buf_clear(&buf);
    }
}

static void sizes_have_three_figures_and_a_binary_unit(void **state) {
    (void)state;
    static const struct {
        int64_t bytes;
        const char *text;
    } cases[] = {
        {0, "0 B"},
        {512, "512 B"},
        {1023, "1023 B"},
        {1024, "1.00 KiB"},
        {27262976, "26.0 MiB"},
        {1013 * 1024, "0.989 MiB"},
        {1213000000, "1.13 GiB"},
        {INT64_C(24) << 30, "24.0 GiB"},
        {INT64_MAX, "8.00 EiB"},
        {INT64_MIN, "-8.00 EiB"},
        {-512, "-512 B"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_buf buf = KVAT_BUF_INIT;
        kvat_put_bytes(&buf, cases[i].bytes);
        assert_string_equal(buf.bytes, cases[i].text);
        kvat_buf_clear(&buf);
    }
}

static void numbers_have_three_figures_and_no_exponent(void **state) {
    (void)state;
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {35.6, "35.6"},        {0.0123, "0.0123"}, {120, "120"},
        {4830, "4830"},        {4827, "4830"},     {999.6, "1000"},
        {0.9996, "1.00"},      {1, "1.00"},        {0, "0"},
        {-0.0, "0"},           {-2.5, "-2.50"},    {1.23e20, "123000000000000000000"},
        {1e-7, "0.000000100"}, {NAN, "nan"},       {INFINITY, "inf"},
        {-INFINITY, "-inf"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_buf buf = KVAT_BUF_INIT;
        kvat_put_number(&buf, cases[i].value);
        assert_string_equal(buf.bytes, cases[i].text);
        kvat_buf_clear(&buf);
    }
}

static void the_largest_and_smallest_numbers_are_written_out(void **state) {
    (void)state;
    kvat_buf buf = KVAT_BUF_INIT;
    kvat_put_number(&buf, 1.7976931348623157e308);
    assert_int_equal(buf.length, 309);
    assert_memory_equal(buf.bytes, "18000", 5);
    kvat_buf_reset(&buf);
    kvat_put_number(&buf, 5e-324);
    assert_int_equal(buf.length, 328);
    assert_string_equal(buf.bytes + 323, "00494");
    kvat_buf_clear(&buf);
}

static void changes_are_signed_per_cents(void **state) {
    (void)state;
    static const struct {
        double ratio;
        int unicode;
        const char *text;
    } cases[] = {
        {0.787, 1, "\u221221.3 %"}, {0.787, 0, "-21.3 %"}, {1.141, 1, "+14.1 %"}, {1, 1, "0.0 %"},
        {1.0004, 1, "0.0 %"},       {0.9996, 1, "0.0 %"},  {0.9994, 0, "-0.1 %"}, {1.0006, 0, "+0.1 %"},
        {13.3, 1, "+1230.0 %"},     {0, 0, "-100.0 %"},    {NAN, 1, "n/a"},       {INFINITY, 1, "n/a"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_buf buf = KVAT_BUF_INIT;
        kvat_put_change(&buf, cases[i].ratio, cases[i].unicode);
        assert_string_equal(buf.bytes, cases[i].text);
        kvat_buf_clear(&buf);
    }
}

static void counts_are_exact_while_they_can_be(void **state) {
    (void)state;
    static const struct {
        double count;
        const char *text;
    } cases[] = {{0, "0"},
                 {331776, "331776"},
                 {999999999999999, "999999999999999"},
                 {1e15, "over 10^15"},
                 {0x1p63, "over 10^18"},
                 {INFINITY, "over 10^308"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_buf buf = KVAT_BUF_INIT;
        kvat_put_count(&buf, cases[i].count);
        assert_string_equal(buf.bytes, cases[i].text);
        kvat_buf_clear(&buf);
    }
}

static void any_decimal_point_becomes_a_full_stop(void **state) {
    (void)state;
    char cases[][2][16] = {{"1,5", "1.5"}, {"-1\u066b25e-07", "-1.25e-07"}, {"15", "15"}, {"1.5", "1.5"}, {"0,", "0."}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat__plain_point(cases[i][0]);
        assert_string_equal(cases[i][0], cases[i][1]);
    }
}

static void the_clock_never_goes_back(void **state) {
    (void)state;
    int64_t before = kvat_now_ns();
    assert_true(before > 0);
    assert_true(kvat_now_ns() >= before);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_have_three_figures_and_a_fitting_unit),
        cmocka_unit_test(sizes_have_three_figures_and_a_binary_unit),
        cmocka_unit_test(numbers_have_three_figures_and_no_exponent),
        cmocka_unit_test(the_largest_and_smallest_numbers_are_written_out),
        cmocka_unit_test(changes_are_signed_per_cents),
        cmocka_unit_test(counts_are_exact_while_they_can_be),
        cmocka_unit_test(any_decimal_point_becomes_a_full_stop),
        cmocka_unit_test(the_clock_never_goes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
