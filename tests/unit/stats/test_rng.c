// Random numbers: the published sequence, and distributions by their moments. Seeds are fixed, so nothing here is left
// to chance. Must not know how the draws are made.
#include "check.h"

#include <string.h>

#include "kvat/stats.h"

static void the_generator_is_xoshiro256starstar(void **state) {
    (void)state;
    static const uint64_t expected[] = {11520,
                                        0,
                                        1509978240,
                                        1215971899390074240u,
                                        1216172134540287360u,
                                        607988272756665600u,
                                        16172922978634559625u,
                                        8476171486693032832u};
    kvat_rng rng = {.state = {1, 2, 3, 4}};
    for (size_t i = 0; i < LENGTH(expected); i++) assert_true(kvat_rng_next(&rng) == expected[i]);
}

static void seeding_goes_through_splitmix(void **state) {
    (void)state;
    static const uint64_t expected[] = {6457827717110365317u, 3203168211198807973u, 9817491932198370423u,
                                        4593380528125082431u};
    kvat_rng rng;
    kvat_rng_seed(&rng, 1234567);
    for (size_t i = 0; i < 4; i++) assert_true(rng.state[i] == expected[i]);
    assert_int_equal(rng.has_spare, 0);
}

static void streams_differ_in_each_of_their_numbers(void **state) {
    (void)state;
    static const uint64_t seeds[][3] = {{1, 2, 3}, {2, 2, 3}, {1, 3, 3}, {1, 2, 4}, {3, 2, 1}, {2, 1, 3}};
    uint64_t first[LENGTH(seeds)];
    for (size_t i = 0; i < LENGTH(seeds); i++) {
        kvat_rng rng, again;
        kvat_rng_seed3(&rng, seeds[i][0], seeds[i][1], seeds[i][2]);
        kvat_rng_seed3(&again, seeds[i][0], seeds[i][1], seeds[i][2]);
        first[i] = kvat_rng_next(&rng);
        assert_true(first[i] == kvat_rng_next(&again));
        for (size_t j = 0; j < i; j++) assert_true(first[i] != first[j]);
    }
}

static void uniforms_stay_inside_and_spread_evenly(void **state) {
    (void)state;
    enum { N = 100000, BINS = 10 };
    size_t bin[BINS] = {0};
    kvat_rng rng;
    kvat_rng_seed(&rng, 1);
    for (size_t i = 0; i < N; i++) {
        const double u = kvat_rng_uniform(&rng);
        assert_true(u > 0 && u < 1);
        bin[(size_t)(u * BINS)]++;
    }
    for (size_t b = 0; b < BINS; b++) assert_in_range(bin[b], N / BINS - 400, N / BINS + 400); // 4 standard errors
}

static void below_is_unbiased_and_in_range(void **state) {
    (void)state;
    enum { N = 70000, SIDES = 7 };
    size_t count[SIDES] = {0};
    kvat_rng rng;
    kvat_rng_seed(&rng, 2);
    for (size_t i = 0; i < N; i++) count[kvat_rng_below(&rng, SIDES)]++;
    for (size_t s = 0; s < SIDES; s++) assert_in_range(count[s], N / SIDES - 400, N / SIDES + 400);
    assert_true(kvat_rng_below(&rng, 1) == 0);
    // With a range just above half of all numbers a plain remainder would hit the lower part twice as often.
    const uint64_t wide = (UINT64_C(1) << 63) + 1;
    size_t low = 0;
    for (size_t i = 0; i < 10000; i++) low += kvat_rng_below(&rng, wide) < wide / 2;
    assert_in_range(low, 4800, 5200);
}

static void normals_have_the_moments_of_a_normal(void **state) {
    (void)state;
    enum { N = 200000 };
    double sum = 0, square = 0, cube = 0, fourth = 0, lag = 0, last = 0;
    kvat_rng rng;
    kvat_rng_seed(&rng, 3);
    for (size_t i = 0; i < N; i++) {
        const double z = kvat_rng_normal(&rng);
        sum += z, square += z * z, cube += z * z * z, fourth += z * z * z * z, lag += z * last;
        last = z;
    }
    assert_same(sum / N, 0, 0, 0.01);
    assert_same(square / N, 1, 0, 0.015);
    assert_same(cube / N, 0, 0, 0.04);
    assert_same(fourth / N, 3, 0, 0.1);
    assert_same(lag / N, 0, 0, 0.01);
}

static void chi_squares_have_mean_dof_and_variance_twice_that(void **state) {
    (void)state;
    static const double dofs[] = {0.5, 1, 2, 3, 23, 400};
    enum { N = 100000 };
    for (size_t d = 0; d < LENGTH(dofs); d++) {
        kvat_rng rng;
        kvat_rng_seed(&rng, 4 + d);
        double sum = 0, square = 0;
        for (size_t i = 0; i < N; i++) {
            const double x = kvat_rng_chi_square(&rng, dofs[d]);
            assert_true(x >= 0);
            sum += x, square += x * x;
        }
        const double mean = sum / N;
        assert_same(mean, dofs[d], 0.025, 0);
        assert_same(square / N - mean * mean, 2 * dofs[d], 0.06, 0);
    }
    kvat_rng rng;
    kvat_rng_seed(&rng, 4);
    assert_true(isnan(kvat_rng_chi_square(&rng, 0)));
    assert_true(isnan(kvat_rng_chi_square(&rng, NAN)));
}

static void shuffles_reach_every_order_equally_often(void **state) {
    (void)state;
    enum { N = 60000 };
    size_t count[27] = {0}, orders = 0;
    kvat_rng rng;
    kvat_rng_seed(&rng, 5);
    for (size_t i = 0; i < N; i++) {
        size_t items[] = {0, 1, 2};
        kvat_rng_shuffle(&rng, items, 3);
        count[items[0] * 9 + items[1] * 3 + items[2]]++;
    }
    for (size_t i = 0; i < LENGTH(count); i++) {
        if (count[i] == 0) continue;
        orders++;
        assert_in_range(count[i], N / 6 - 400, N / 6 + 400);
    }
    assert_int_equal(orders, 6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_generator_is_xoshiro256starstar),
        cmocka_unit_test(seeding_goes_through_splitmix),
        cmocka_unit_test(streams_differ_in_each_of_their_numbers),
        cmocka_unit_test(uniforms_stay_inside_and_spread_evenly),
        cmocka_unit_test(below_is_unbiased_and_in_range),
        cmocka_unit_test(normals_have_the_moments_of_a_normal),
        cmocka_unit_test(chi_squares_have_mean_dof_and_variance_twice_that),
        cmocka_unit_test(shuffles_reach_every_order_equally_often),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
