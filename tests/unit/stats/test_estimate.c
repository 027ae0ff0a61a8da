// Estimates that know something beforehand: worked out by hand, and by simulation how often their intervals hold.
// Must not know how they are computed.
#include "check.h"

#include "kvat/stats.h"

static const kvat_spread_prior UNKNOWN = {0, 0};
static const double FEW[] = {0.3, 0.1, 0.2, 0.6};

static void assert_same_estimate(kvat_estimate got, kvat_estimate expected) {
    assert_same(got.value, expected.value, 1e-14, 0);
    assert_same(got.se, expected.se, 1e-13, 0);
    assert_same(got.dof, expected.dof, 1e-14, 0);
}

static void without_a_prior_it_is_the_trimmed_interval(void **state) {
    (void)state;
    static const kvat_spread_prior nothing[] = {{0, 0},    {0, 5},     {-1, 5},       {NAN, 5},       {0.1, 0},
                                                {0.1, -1}, {0.1, NAN}, {INFINITY, 5}, {0.1, INFINITY}};
    static const double x[] = {3, 1, 4, 1.5, 9, 2.6, 5, 3.5};
    for (size_t trim = 0; trim <= 2; trim++) {
        const kvat_interval expected = kvat_trimmed_interval(x, LENGTH(x), trim, 0.9);
        for (size_t i = 0; i < LENGTH(nothing); i++) {
            const kvat_estimate got = kvat_informed_estimate(x, LENGTH(x), trim, nothing[i]);
            const kvat_interval interval = kvat_estimate_interval(got, 0.9);
            assert_memory_equal(&interval, &expected, sizeof expected);
        }
    }
}

static void a_prior_enters_the_spread_alone(void **state) {
    (void)state;
    const double mean = 0.3, squares = 0.14, own = squares / 3 / 4; // V of the mean on three degrees of freedom
    const kvat_spread_prior prior = {0.5, 6};
    assert_same_estimate(kvat_informed_estimate(FEW, 4, 0, UNKNOWN), (kvat_estimate){mean, sqrt(own), 3});
    assert_same_estimate(kvat_informed_estimate(FEW, 4, 0, prior),
                         (kvat_estimate){mean, sqrt((6 * 0.25 / 4 + 3 * own) / 9), 9});
}

static void a_prior_that_agrees_adds_its_degrees_of_freedom(void **state) {
    (void)state;
    const kvat_estimate alone = kvat_informed_estimate(FEW, 4, 0, UNKNOWN);
    const kvat_spread_prior same_spread = {kvat_sd(FEW, 4), 10};
    assert_same_estimate(kvat_informed_estimate(FEW, 4, 0, same_spread), (kvat_estimate){alone.value, alone.se, 13});
}

static void trimming_costs_its_degrees_of_freedom_with_a_prior_too(void **state) {
    (void)state;
    static const double x[] = {1.1, 0.9, 1.0, 1.2, 0.8, 1.05, 0.95, 1.3};
    const kvat_estimate alone = kvat_informed_estimate(x, LENGTH(x), 1, UNKNOWN);
    const kvat_spread_prior prior = {0.2, 4};
    const double variance = (4 * 0.04 / 8 + alone.dof * alone.se * alone.se) / (4 + alone.dof);
    assert_same(alone.dof, 4.5, 0, 0);
    assert_same_estimate(kvat_informed_estimate(x, LENGTH(x), 1, prior),
                         (kvat_estimate){alone.value, sqrt(variance), 8.5});
}

static void equal_values_are_exact_only_where_nothing_else_is_known(void **state) {
    (void)state;
    static const double x[] = {2, 2, 2};
    const kvat_spread_prior prior = {0.3, 4};
    assert_same_estimate(kvat_informed_estimate(x, 3, 0, UNKNOWN), (kvat_estimate){2, 0, 2});
    assert_same_estimate(kvat_informed_estimate(x, 3, 0, prior), (kvat_estimate){2, sqrt(4 * 0.09 / 3 / 6), 6});
}

static void a_join_weighs_by_precision(void **state) {
    (void)state;
    const kvat_estimate a = {1, 0.1, 5}, b = {2, 0.2, 10}; // weights .8 and .2
    const kvat_estimate joined = {1.2, sqrt(0.01 * 0.04 / 0.05), 1 / (0.64 / 5 + 0.04 / 10)};
    assert_same_estimate(kvat_estimate_join(a, b), joined);
    assert_same_estimate(kvat_estimate_join(b, a), joined);
    assert_true(joined.se < a.se);
}

static void equal_estimates_join_as_one_of_twice_the_size(void **state) {
    (void)state;
    const kvat_estimate a = {1, 0.1, 5};
    assert_same_estimate(kvat_estimate_join(a, a), (kvat_estimate){1, 0.1 / sqrt(2), 10});
}

static void a_vague_one_adds_nothing(void **state) {
    (void)state;
    const kvat_estimate a = {1, 0.1, 5}, vague = {-50, 1e9, 3};
    assert_same_estimate(kvat_estimate_join(a, vague), a);
    const kvat_estimate certain = {1, 0.1, INFINITY};
    assert_true(isinf(kvat_estimate_join(certain, certain).dof));
}

static void an_exact_one_is_the_answer(void **state) {
    (void)state;
    const kvat_estimate exact = {1, 0, 3}, other = {2, 0.2, 10};
    assert_same_estimate(kvat_estimate_join(exact, other), exact);
    assert_same_estimate(kvat_estimate_join(other, exact), exact);
    const kvat_interval point = kvat_estimate_interval(exact, 0.95);
    assert_true(point.low == 1 && point.value == 1 && point.high == 1);
}

static void what_is_not_known_stays_unknown(void **state) {
    (void)state;
    static const double holed[] = {1, NAN, 3}, x[] = {1, 2, 3};
    const kvat_spread_prior prior = {0.1, 4};
    const kvat_estimate none[] = {
        kvat_informed_estimate(x, 0, 0, prior),
        kvat_informed_estimate(x, 1, 0, prior),
        kvat_informed_estimate(holed, 3, 0, prior),
        kvat_informed_estimate(x, 3, 1, prior),
        kvat_estimate_join(kvat_informed_estimate(x, 1, 0, prior), (kvat_estimate){1, 0.1, 5}),
        kvat_estimate_join((kvat_estimate){1, 0.1, 5}, (kvat_estimate){NAN, NAN, 0}),
    };
    for (size_t i = 0; i < LENGTH(none); i++) {
        const kvat_interval interval = kvat_estimate_interval(none[i], 0.95);
        assert_true(isnan(none[i].value) && isnan(none[i].se) && !(none[i].dof > 0));
        assert_true(isnan(interval.value) && isnan(interval.low) && isnan(interval.high));
    }
    assert_true(isnan(kvat_estimate_interval((kvat_estimate){1, 0.1, 0}, 0.95).low));
    assert_true(isnan(kvat_estimate_interval((kvat_estimate){1, 0.1, 5}, 1).low));
}

/* ---- by simulation ---- */

enum { WORLDS = 20000 };

// How often the interval of n normal values misses their mean, the prior standard deviation being `ratio` of theirs.
static double missed(size_t n, double ratio, bool drawn, kvat_rng *rng) {
    const kvat_spread_prior prior = {ratio, 4};
    double count = 0, x[16];
    for (size_t w = 0; w < WORLDS; w++) {
        const double sd = drawn ? sqrt(prior.dof / kvat_rng_chi_square(rng, prior.dof)) : 1;
        for (size_t i = 0; i < n; i++) x[i] = sd * kvat_rng_normal(rng);
        const kvat_interval got = kvat_estimate_interval(kvat_informed_estimate(x, n, n >= 6, prior), 0.95);
        count += got.low > 0 || got.high < 0;
    }
    return count / WORLDS;
}

static const size_t SIZES[] = {2, 4, 8, 16};

// A spread that is drawn as the prior says makes the interval exact, but for what trimming changes.
static void intervals_hold_as_often_as_said_where_the_prior_is_true(void **state) {
    (void)state;
    kvat_rng rng;
    kvat_rng_seed(&rng, 43);
    for (size_t i = 0; i < LENGTH(SIZES); i++) {
        const double share = missed(SIZES[i], 1, true, &rng);
        if (fabs(share - 0.05) > (SIZES[i] < 6 ? 3 : 5) * sqrt(0.05 * 0.95 / WORLDS))
            fail_msg("n %zu: missed %.4f", SIZES[i], share);
    }
}

static void a_right_or_too_large_prior_errs_on_the_safe_side(void **state) {
    (void)state;
    static const double most[][4] = {{0.05, 0.05, 0.05, 0.05}, {0.001, 0.01, 0.03, 0.045}};
    kvat_rng rng;
    kvat_rng_seed(&rng, 44);
    for (size_t r = 0; r < 2; r++) {
        for (size_t i = 0; i < LENGTH(SIZES); i++) {
            const double share = missed(SIZES[i], r ? 2 : 1, false, &rng);
            if (share > most[r][i]) fail_msg("prior %d times, n %zu: missed %.4f", r ? 2 : 1, SIZES[i], share);
        }
    }
}

// Half the true spread: the interval is too narrow while the prior weighs more than the values do.
static void what_too_small_a_prior_costs_goes_with_more_values(void **state) {
    (void)state;
    double before = 1;
    kvat_rng rng;
    kvat_rng_seed(&rng, 45);
    for (size_t i = 0; i < LENGTH(SIZES); i++) {
        const double share = missed(SIZES[i], 0.5, false, &rng);
        if (share > 0.17 || share > before) fail_msg("n %zu: missed %.4f", SIZES[i], share);
        before = share;
    }
    assert_true(before < 0.08);
}

// Weights that are themselves estimated cost some of the level: most where both tell as much, from as few values.
static void joined_estimates_hold_as_often_as_said(void **state) {
    (void)state;
    static const struct {
        size_t n[2];
        double sd[2], most;
    } cases[] = {{{8, 8}, {1, 1}, 0.085},
                 {{8, 8}, {1, 4}, 0.07},
                 {{8, 16}, {2, 1}, 0.07},
                 {{16, 16}, {1, 1}, 0.07},
                 {{16, 16}, {1, 0.3}, 0.06}};
    kvat_rng rng;
    kvat_rng_seed(&rng, 46);
    for (size_t c = 0; c < LENGTH(cases); c++) {
        double count = 0;
        for (size_t w = 0; w < WORLDS; w++) {
            kvat_estimate part[2];
            for (size_t k = 0; k < 2; k++) {
                double x[16];
                for (size_t i = 0; i < cases[c].n[k]; i++) x[i] = cases[c].sd[k] * kvat_rng_normal(&rng);
                part[k] = kvat_informed_estimate(x, cases[c].n[k], 0, UNKNOWN);
            }
            const kvat_interval got = kvat_estimate_interval(kvat_estimate_join(part[0], part[1]), 0.95);
            count += got.low > 0 || got.high < 0;
        }
        if (count / WORLDS > cases[c].most || count / WORLDS < 0.04)
            fail_msg("case %zu: missed %.4f", c, count / WORLDS);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_prior_it_is_the_trimmed_interval),
        cmocka_unit_test(a_prior_enters_the_spread_alone),
        cmocka_unit_test(a_prior_that_agrees_adds_its_degrees_of_freedom),
        cmocka_unit_test(trimming_costs_its_degrees_of_freedom_with_a_prior_too),
        cmocka_unit_test(equal_values_are_exact_only_where_nothing_else_is_known),
        cmocka_unit_test(a_join_weighs_by_precision),
        cmocka_unit_test(equal_estimates_join_as_one_of_twice_the_size),
        cmocka_unit_test(a_vague_one_adds_nothing),
        cmocka_unit_test(an_exact_one_is_the_answer),
        cmocka_unit_test(what_is_not_known_stays_unknown),
        cmocka_unit_test(intervals_hold_as_often_as_said_where_the_prior_is_true),
        cmocka_unit_test(a_right_or_too_large_prior_errs_on_the_safe_side),
        cmocka_unit_test(what_too_small_a_prior_costs_goes_with_more_values),
        cmocka_unit_test(joined_estimates_hold_as_often_as_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
