// The gate of bench/search can fail: made-up figures that miss a target by more than chance are told from those that do
// not. Must not know how figures come about.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "binomial.h"
#include "verdict.h"

static void a_share_on_target_or_a_little_below_passes(void **state) {
    (void)state;
    assert_true(verdict_often_enough(200, 200, .97));
    assert_true(verdict_often_enough(194, 200, .97));
    assert_true(verdict_often_enough(189, 200, .97));
}

static void a_share_far_below_target_is_missed(void **state) {
    (void)state;
    assert_false(verdict_often_enough(180, 200, .97));
    assert_false(verdict_often_enough(0, 3, .97));
    assert_false(verdict_often_enough(19, 20, 1)); // what must always be
}

static void the_same_share_of_more_worlds_is_missed_sooner(void **state) {
    (void)state;
    assert_true(verdict_often_enough(47, 50, .97));
    assert_false(verdict_often_enough(940, 1000, .97));
}

static void saying_more_than_is_seen_is_missed(void **state) {
    (void)state;
    assert_false(verdict_often_enough(170, 200, .96)); // said .96, seen .85
    assert_true(verdict_often_enough(190, 200, .96));
}

static void nothing_seen_misses_nothing(void **state) {
    (void)state;
    assert_true(verdict_often_enough(0, 0, .97));
    assert_true(verdict_rare_enough(0, 0, .0015));
}

static void one_slow_recommendation_may_be_chance_and_many_are_not(void **state) {
    (void)state;
    assert_true(verdict_rare_enough(0, 200, .0015));
    assert_true(verdict_rare_enough(1, 200, .0015));
    assert_false(verdict_rare_enough(4, 200, .0015));
    assert_false(verdict_rare_enough(1, 200, 0));
}

static void a_mean_over_its_limit_by_more_than_its_error_is_missed(void **state) {
    (void)state;
    assert_true(verdict_cheap_enough(.12, .02, 100, .13));
    assert_true(verdict_cheap_enough(.134, .02, 100, .13)); // two standard errors
    assert_false(verdict_cheap_enough(.14, .02, 100, .13));
    assert_false(verdict_cheap_enough(.131, 0, 1, .13));
}

// Reference values: exact sums and bisection with Python.
static void tails_and_bounds_are_those_of_the_binomial(void **state) {
    (void)state;
    double low, high;
    assert_float_equal(binomial_at_most(3, 10, .3), .6496107184, 1e-9);
    assert_float_equal(binomial_at_least(3, 10, .3), .6172172136, 1e-9);
    assert_float_equal(binomial_upper(0, 2000, .95), .00149674, 1e-7);
    assert_float_equal(binomial_upper(3, 100, .95), .07571076, 1e-7);
    binomial_interval(&low, &high, 45, 50);
    assert_float_equal(low, .7863977, 1e-6);
    assert_float_equal(high, .9565244, 1e-6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_share_on_target_or_a_little_below_passes),
        cmocka_unit_test(a_share_far_below_target_is_missed),
        cmocka_unit_test(the_same_share_of_more_worlds_is_missed_sooner),
        cmocka_unit_test(saying_more_than_is_seen_is_missed),
        cmocka_unit_test(nothing_seen_misses_nothing),
        cmocka_unit_test(one_slow_recommendation_may_be_chance_and_many_are_not),
        cmocka_unit_test(a_mean_over_its_limit_by_more_than_its_error_is_missed),
        cmocka_unit_test(tails_and_bounds_are_those_of_the_binomial),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
