// Levels and slopes: exact on trends, unmoved by one disturbance, and what they cannot tell is NaN.
// Must not know how they are computed.
#include "check.h"

#include "fail_alloc.h"
#include "kvat/stats.h"

static void a_level_of_a_trend_lies_on_it(void **state) {
    double values[31];
    (void)state;
    for (size_t n = 1; n <= LENGTH(values); n++) {
        for (size_t i = 0; i < n; i++) values[i] = 10 + 0.25 * (double)i;
        const kvat_level level = kvat_level_of(values, n);
        assert_same(level.value, 10 + 0.25 * level.at, 1e-14, 0);
        assert_true(fabs(level.at - (double)(n - 1) / 2) <= 0.5);
    }
}

static void one_value_of_any_size_does_not_move_a_level(void **state) {
    double values[31];
    (void)state;
    for (size_t at = 0; at < LENGTH(values); at++) {
        for (size_t i = 0; i < LENGTH(values); i++) values[i] = 5;
        values[at] = 1e9;
        assert_same(kvat_level_of(values, LENGTH(values)).value, 5, 1e-14, 0);
        values[at] = -1e9;
        assert_same(kvat_level_of(values, LENGTH(values)).value, 5, 1e-14, 0);
    }
}

static void a_level_of_uneven_values_is_near_their_mean(void **state) {
    double values[31];
    (void)state;
    for (size_t i = 0; i < LENGTH(values); i++) values[i] = i % 4 == 0 ? 4 : 0;
    assert_same(kvat_level_of(values, LENGTH(values)).value, 1, 0.1, 0);
}

static void there_is_no_level_of_nothing(void **state) {
    const double nothing[] = {1, NAN, 3}, few[] = {1, 2, 9};
    (void)state;
    assert_true(isnan(kvat_level_of(nothing, 0).value));
    assert_true(isnan(kvat_level_of(nothing, 3).value));
    assert_same(kvat_level_of(few, 3).value, 4, 1e-15, 0); /* too few to leave any out */
}

static void a_line_is_found_with_the_error_of_its_slope(void **state) {
    const double x[] = {1, 2, 3, 4, 5}, exact[] = {3, 5, 7, 9, 11}, y[] = {2.1, 3.9, 6.2, 7.8, 10.1};
    (void)state;
    kvat_line line = kvat_line_of(x, exact, LENGTH(x));
    assert_same(line.slope, 2, 1e-14, 0);
    assert_same(line.slope_error, 0, 0, 1e-14);
    line = kvat_line_of(x, y, LENGTH(x));
    assert_same(line.slope, 1.99, 1e-12, 0);
    assert_same(line.slope_error, 0.059721576223896392, 1e-10, 0); /* scipy.stats.linregress(x, y).stderr */
    assert_same(kvat_line_of(x, exact, 2).slope, 2, 1e-14, 0);
    assert_true(isnan(kvat_line_of(x, exact, 2).slope_error));
    assert_true(isnan(kvat_line_of(y, y, 0).slope));
    const double same_x[] = {7, 7, 7};
    assert_true(isnan(kvat_line_of(same_x, y, 3).slope));
}

static void a_slope_bears_an_outlier_among_five(void **state) {
    const double x[] = {0, 1, 2, 3, 4};
    (void)state;
    for (size_t at = 0; at < LENGTH(x); at++) {
        double y[] = {1, 3, 5, 7, 9};
        assert_same(kvat_theil_sen_slope(x, y, LENGTH(x)), 2, 1e-14, 0);
        y[at] += 100;
        assert_same(kvat_theil_sen_slope(x, y, LENGTH(x)), 2, 1e-14, 0);
    }
    const double same_x[] = {7, 7, 7};
    assert_true(isnan(kvat_theil_sen_slope(same_x, x, 3)));
    assert_true(isnan(kvat_theil_sen_slope(x, x, 1)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_level_of_a_trend_lies_on_it),
        cmocka_unit_test(one_value_of_any_size_does_not_move_a_level),
        cmocka_unit_test(a_level_of_uneven_values_is_near_their_mean),
        cmocka_unit_test(there_is_no_level_of_nothing),
        cmocka_unit_test(a_line_is_found_with_the_error_of_its_slope),
        cmocka_unit_test(a_slope_bears_an_outlier_among_five),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
