// Means, spreads, quantiles and intervals against NumPy and SciPy, and the bootstrap by its properties.
// Must not know how they are computed.
#include "check.h"

#include <string.h>

#include "data/stats/reference.h"
#include "fail_alloc.h"
#include "kvat/stats.h"

static void order_statistics_agree_with_numpy(void **state) {
    (void)state;
    for (size_t i = 0; i < LENGTH(samples); i++) {
        const double *x = samples[i].x;
        const size_t n = samples[i].n;
        assert_same(kvat_mean(x, n), samples[i].mean, 1e-14, 0);
        assert_same(kvat_sd(x, n), samples[i].sd, 1e-13, 0);
        assert_same(kvat_quantile(x, n, 0.05), samples[i].q05, 1e-14, 0);
        assert_same(kvat_median(x, n), samples[i].q50, 1e-14, 0);
        assert_same(kvat_quantile(x, n, 0.95), samples[i].q95, 1e-14, 0);
    }
}

static void intervals_agree_with_scipy(void **state) {
    (void)state;
    for (size_t i = 0; i < LENGTH(samples); i++) {
        const double *x = samples[i].x;
        const size_t n = samples[i].n;
        const kvat_interval whole = kvat_paired_interval(x, n, 0.95), trimmed = kvat_trimmed_interval(x, n, 1, 0.9);
        if (n >= 2) assert_same(whole.value, samples[i].mean, 1e-14, 0);
        assert_same(whole.low, samples[i].low, 1e-11, 0);
        assert_same(whole.high, samples[i].high, 1e-11, 0);
        assert_same(trimmed.value, samples[i].trimmed, 1e-14, 0);
        assert_same(trimmed.low, samples[i].trimmed_low, 1e-11, 0);
        assert_same(trimmed.high, samples[i].trimmed_high, 1e-11, 0);
    }
}

static void an_interval_of_equal_values_is_a_point(void **state) {
    (void)state;
    const double x[] = {-0.25, -0.25, -0.25, -0.25};
    const kvat_interval got = kvat_paired_interval(x, 4, 0.95);
    assert_same(got.value, -0.25, 0, 0);
    assert_same(got.low, -0.25, 0, 0);
    assert_same(got.high, -0.25, 0, 0);
}

static void one_spike_does_not_move_a_trimmed_interval(void **state) {
    (void)state;
    double x[] = {1.1, 0.9, 1.0, 1.2, 0.8, 1.05, 0.95, 1.3};
    const kvat_interval before = kvat_trimmed_interval(x, LENGTH(x), 1, 0.95);
    x[7] = 1e6;
    const kvat_interval after = kvat_trimmed_interval(x, LENGTH(x), 1, 0.95);
    assert_memory_equal(&before, &after, sizeof before);
}

static void an_interval_wider_than_its_value_is_too_wide(void **state) {
    (void)state;
    static const struct {
        kvat_interval interval;
        bool wide;
    } cases[] = {{{1, 0.9, 1.1}, false},   {{1, 0.5, 2}, false},   {{1, 0.5, 2.01}, true},    {{4, 2.5, 5.5}, false},
                 {{0.4, 0.1, 0.81}, true}, {{20, 3.9, 102}, true}, {{1, -0.5, 1.2}, true},    {{1, NAN, NAN}, false},
                 {{NAN, NAN, NAN}, false}, {{1, 1, 1}, false},     {{1, 0.1, INFINITY}, true}};
    for (size_t i = 0; i < LENGTH(cases); i++)
        if (kvat_interval_too_wide(cases[i].interval) != cases[i].wide) fail_msg("case %zu", i);
}

// 95 and 99 % of normal samples of the sizes a confirmation has.
static void trimmed_intervals_cover_the_truth_as_often_as_said(void **state) {
    (void)state;
    enum { WORLDS = 20000 };
    static const double levels[] = {0.95, 0.99};
    kvat_rng rng;
    kvat_rng_seed(&rng, 41);
    for (size_t n = 6; n <= 8; n++) {
        for (size_t l = 0; l < LENGTH(levels); l++) {
            double missed = 0, x[8];
            for (size_t w = 0; w < WORLDS; w++) {
                for (size_t i = 0; i < n; i++) x[i] = kvat_rng_normal(&rng);
                const kvat_interval got = kvat_trimmed_interval(x, n, 1, levels[l]);
                missed += got.low > 0 || got.high < 0;
            }
            const double share = missed / WORLDS, said = 1 - levels[l];
            if (share > said + 2 * sqrt(said / WORLDS) || share < 0.7 * said)
                fail_msg("n %zu, level %g: missed %.4f", n, levels[l], share);
        }
    }
}

static void what_cannot_be_computed_is_nan(void **state) {
    (void)state;
    const double x[] = {1, 2, 3}, holed[] = {1, NAN, 3};
    const double bad[] = {
        kvat_mean(x, 0),
        kvat_sd(x, 1),
        kvat_quantile(x, 0, 0.5),
        kvat_quantile(x, 3, -0.1),
        kvat_quantile(x, 3, 1.1),
        kvat_quantile(x, 3, NAN),
        kvat_median(holed, 3),
        kvat_paired_interval(x, 1, 0.95).low,
        kvat_paired_interval(x, 3, 1).low,
        kvat_trimmed_interval(x, 3, 1, 0.95).low,
        kvat_paired_interval(holed, 3, 0.95).value,
    };
    for (size_t i = 0; i < LENGTH(bad); i++) assert_true(isnan(bad[i]));
}

static void the_input_is_not_changed(void **state) {
    (void)state;
    const double x[] = {3, 1, 2};
    double copy[LENGTH(x)];
    memcpy(copy, x, sizeof x);
    kvat_median(copy, 3);
    kvat_trimmed_interval(copy, 3, 0, 0.95);
    assert_memory_equal(copy, x, sizeof x);
}

static void without_memory_the_answer_is_nan(void **state) {
    (void)state;
    const double x[] = {1, 2, 3};
    fail_alloc_arm(1, true);
    const double median = kvat_median(x, 3);
    assert_true(fail_alloc_disarm());
    assert_true(isnan(median));
}

static void intervals_of_a_few_pairs_need_no_memory(void **state) {
    (void)state;
    const double x[] = {1, 2, 3};
    fail_alloc_arm(1, true);
    const kvat_interval got = kvat_paired_interval(x, 3, 0.95);
    fail_alloc_disarm();
    assert_same(got.value, 2, 0, 0);
}

int main(void) {
    (void)student_cdf, (void)student_quantile, (void)normal_quantile, (void)layouts;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_statistics_agree_with_numpy),
        cmocka_unit_test(intervals_agree_with_scipy),
        cmocka_unit_test(an_interval_of_equal_values_is_a_point),
        cmocka_unit_test(one_spike_does_not_move_a_trimmed_interval),
        cmocka_unit_test(an_interval_wider_than_its_value_is_too_wide),
        cmocka_unit_test(trimmed_intervals_cover_the_truth_as_often_as_said),
        cmocka_unit_test(what_cannot_be_computed_is_nan),
        cmocka_unit_test(the_input_is_not_changed),
        cmocka_unit_test(without_memory_the_answer_is_nan),
        cmocka_unit_test(intervals_of_a_few_pairs_need_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
