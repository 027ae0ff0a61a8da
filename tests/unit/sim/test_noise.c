/* The world's noise has the law it is said to have, and depends on seed and virtual time alone. */
/* Must not know: surfaces' points. */
#include "sim_kit.h"

#include <math.h>

#include "kvat/stats.h"
#include "kvat/units.h"
#include "noise.h"

static double slowdown(const sim_noise *noise, uint64_t seed, double start_s, double length_s) {
    sim_world world;
    assert_int_equal(sim_world_init(&world, noise, seed, NULL), KVAT_OK);
    const double value = sim_world_slowdown(&world, (int64_t)(start_s * 1e9), length_s);
    sim_world_clear(&world);
    return value;
}

static void a_stretch_is_the_same_whoever_asks_first(void **state) {
    (void)state;
    const sim_noise noise = {
        .ar_sd = 0.02, .ar_s = 20, .ramp = 0.06, .ramp_s = 90, .spike_per_s = 0.1, .spike_max = 0.3};
    sim_world world;
    assert_int_equal(sim_world_init(&world, &noise, 7, NULL), KVAT_OK);
    double forward[200];
    for (size_t i = 0; i < 200; i++) forward[i] = sim_world_slowdown(&world, (int64_t)i * 7300000000, 1.5);
    for (size_t i = 200; i-- > 0;) {
        assert_true(forward[i] == sim_world_slowdown(&world, (int64_t)i * 7300000000, 1.5));
        if (i % 50 == 0)
            assert_true(forward[i] == slowdown(&noise, 7, 7.3 * (double)i, 1.5)); /* in a world of its own */
    }
    sim_world_clear(&world);
    assert_true(slowdown(&noise, 7, 100, 1) != slowdown(&noise, 8, 100, 1));
}

static void the_slow_process_has_its_deviation_and_time_constant(void **state) {
    (void)state;
    const sim_noise noise = {.ar_sd = 0.05, .ar_s = 10};
    enum { N = 4000 };
    static double x[N], now[N], later[N];
    sim_world world;
    assert_int_equal(sim_world_init(&world, &noise, 3, NULL), KVAT_OK);
    for (size_t i = 0; i < N; i++) {
        const int64_t at = (int64_t)i * 50 * KVAT_NS_PER_S; /* five time constants apart: nearly independent */
        x[i] = now[i] = sim_world_slowdown(&world, at, 0);
        later[i] = sim_world_slowdown(&world, at + 10 * KVAT_NS_PER_S, 0);
    }
    sim_world_clear(&world);
    assert_true(fabs(kvat_mean(x, N)) < 4 * 0.05 / sqrt(N));
    assert_true(fabs(kvat_sd(x, N) / 0.05 - 1) < 4 / sqrt(2.0 * N));
    double covariance = 0;
    for (size_t i = 0; i < N; i++) covariance += now[i] * later[i] / N;
    assert_true(fabs(covariance / (0.05 * 0.05) - exp(-1)) < 4 / sqrt(N));
}

static void the_slow_process_is_continuous_across_its_blocks(void **state) {
    (void)state;
    const sim_noise noise = {.ar_sd = 1, .ar_s = 20};
    const double step = 0.1, at_block = 4096 * step; /* innovations of one step have deviation 0.1 */
    const double jump = slowdown(&noise, 1, at_block + step / 2, 0) - slowdown(&noise, 1, at_block - step / 2, 0);
    assert_true(fabs(jump) < 0.5);
    double again = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        const double d =
            slowdown(&noise, seed, at_block + step / 2, 0) - slowdown(&noise, seed, at_block - step / 2, 0);
        again += d * d / 200;
    }
    assert_true(fabs(sqrt(again) / sqrt(2 * (1 - exp(-1.0 / 200))) - 1) < 0.25);
}

static void averaging_over_a_stretch_is_averaging_its_parts(void **state) {
    (void)state;
    const sim_noise noise = {.ar_sd = 0.1, .ar_s = 5, .ramp = 0.2, .ramp_s = 30, .spike_per_s = 0.5, .spike_max = 1};
    const double whole = slowdown(&noise, 9, 12.25, 6), first = slowdown(&noise, 9, 12.25, 2),
                 rest = slowdown(&noise, 9, 14.25, 4);
    assert_true(fabs(whole - (first * 2 + rest * 4) / 6) < 1e-9);
}

static void the_ramp_rises_to_its_height(void **state) {
    (void)state;
    const sim_noise noise = {.ramp = 0.06, .ramp_s = 90};
    assert_true(fabs(slowdown(&noise, 0, 0, 0)) < 1e-12);
    assert_true(fabs(slowdown(&noise, 0, 90, 1e-6) - 0.06 * (1 - exp(-1))) < 1e-7);
    assert_true(fabs(slowdown(&noise, 0, 0, 90) - 0.06 * exp(-1)) < 1e-9);
    assert_true(fabs(slowdown(&noise, 0, 1e5, 1) - 0.06) < 1e-9);
}

static void spikes_come_as_often_and_as_high_as_said(void **state) {
    (void)state;
    const sim_noise noise = {.spike_per_s = 0.2, .spike_max = 0.5};
    /* every spike lasts 1 s and is 0.25 high on average: 0.2 · 0.25 of mean slowdown */
    const double mean = slowdown(&noise, 5, 0, 20000);
    assert_true(fabs(mean / 0.05 - 1) < 0.08);
    assert_true(slowdown(&noise, 5, 0, 1) >= 0);
}

static void the_trace_is_played_from_the_start_and_again(void **state) {
    (void)state;
    double trace[] = {0, 1, 2, 3};
    const sim_noise noise = {.trace_step_s = 0.5, .trace = trace, .n_trace = 4};
    const struct {
        double start, length, mean;
    } cases[] = {{0, 0.5, 0}, {0.5, 0.5, 1}, {0, 2, 1.5}, {0.25, 0.5, 0.5}, {2.5, 0.5, 1}, {1.5, 1, 1.5}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_true(fabs(slowdown(&noise, 1, cases[i].start, cases[i].length) - cases[i].mean) < 1e-9);
}

static void draws_belong_to_their_stream_and_key(void **state) {
    (void)state;
    const double a = sim_draw_normal(1, SIM_STREAM_PREFILL, 100);
    assert_true(a == sim_draw_normal(1, SIM_STREAM_PREFILL, 100));
    assert_true(a != sim_draw_normal(1, SIM_STREAM_DECODE, 100));
    assert_true(a != sim_draw_normal(1, SIM_STREAM_PREFILL, 101));
    assert_true(a != sim_draw_normal(2, SIM_STREAM_PREFILL, 100));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stretch_is_the_same_whoever_asks_first),
        cmocka_unit_test(the_slow_process_has_its_deviation_and_time_constant),
        cmocka_unit_test(the_slow_process_is_continuous_across_its_blocks),
        cmocka_unit_test(averaging_over_a_stretch_is_averaging_its_parts),
        cmocka_unit_test(the_ramp_rises_to_its_height),
        cmocka_unit_test(spikes_come_as_often_and_as_high_as_said),
        cmocka_unit_test(the_trace_is_played_from_the_start_and_again),
        cmocka_unit_test(draws_belong_to_their_stream_and_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
