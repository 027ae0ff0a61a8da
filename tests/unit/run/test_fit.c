// Tests of the fit of decode times against depth: exact on lines, robust, and cautious where bursts say too little.
#include "fail_alloc.h"
#include "fit.h"
#include "job_fixture.h"

enum { BURST = 32, MOST_BURSTS = 12 };

typedef struct world {
    kvat__burst bursts[MOST_BURSTS];
    int64_t times[MOST_BURSTS][BURST];
    size_t n;
} world;

/** Adds a burst at a depth whose tokens take `a_ns` + `b_ns` × depth, times e^(noise × normal). */
static void add_burst(world *w, int64_t prompt_tokens, double a_ns, double b_ns, double noise, kvat_rng *rng) {
    double now = 1e9;
    int64_t *times = w->times[w->n];
    for (size_t i = 0; i < BURST; i++) {
        const double gap = a_ns + b_ns * ((double)prompt_tokens + (double)i);
        if (i > 0) now += gap * exp(noise > 0 ? noise * kvat_rng_normal(rng) : 0);
        times[i] = llround(now);
    }
    w->bursts[w->n++] = (kvat__burst){prompt_tokens, times, BURST};
}

static double line_rate(double a_ns, double b_ns, int64_t prompt_tokens, int64_t output_tokens) {
    double sum = 0;
    for (int64_t i = 1; i < output_tokens; i++) sum += a_ns + b_ns * (double)(prompt_tokens + i);
    return 1e9 * (double)(output_tokens - 1) / sum;
}

static kvat__decode_fit fit_of(const world *w, double farthest_tokens) {
    kvat__decode_fit fit = {0};
    kvat_error err = KVAT_ERROR_INIT;
    if (kvat__decode_fit_make(&fit, w->bursts, w->n, farthest_tokens, &err) != KVAT_OK) fail_msg("%s", err.message);
    return fit;
}

static void assert_rate(const kvat__decode_fit *fit, int64_t prompt, int64_t output, double expected, double within) {
    const double rate = kvat__decode_fit_rate(fit, prompt, output);
    if (!(fabs(rate / expected - 1) <= within))
        fail_msg("%lld + %lld: %.9g instead of %.9g", (long long)prompt, (long long)output, rate, expected);
}

static void an_exact_line_gives_the_exact_rate(void **state) {
    static const int64_t depths[] = {2048, 4096, 8192}, outputs[] = {33, 64, 256, 2048};
    (void)state;
    world w = {0};
    for (size_t i = 0; i < 3; i++) add_burst(&w, depths[i], 20e6, 1000, 0, NULL);
    kvat__decode_fit fit = fit_of(&w, 1008);
    assert_int_equal(fit.n_levels, 3);
    assert_true(fabs(fit.slope_ns / 1000 - 1) < 1e-6);
    for (size_t i = 0; i < 3; i++)
        for (size_t j = 0; j < 4; j++)
            assert_rate(&fit, depths[i], outputs[j], line_rate(20e6, 1000, depths[i], outputs[j]), 1e-7);
    assert_true(isnan(kvat__decode_fit_rate(&fit, 1024, 64)));
    kvat__decode_fit_clear(&fit);
}

static void a_curve_keeps_its_level_at_each_depth(void **state) {
    static const int64_t depths[] = {1000, 2000, 3000, 4000};
    (void)state;
    world w = {0};
    for (size_t i = 0; i < 4; i++)
        add_burst(&w, depths[i], 10e6 + 1e6 * (double)(i * i), 0, 0, NULL); /* steps that grow: no line */
    kvat__decode_fit fit = fit_of(&w, 16);
    for (size_t i = 0; i < 4; i++) {
        const double level = 10e6 + 1e6 * (double)(i * i);
        assert_rate(&fit, depths[i], 34, 1e9 / level, 0.005); /* hardly beyond what was measured */
    }
    kvat__decode_fit_clear(&fit);
}

static void noise_is_averaged(void **state) {
    kvat_rng rng;
    double worst = 0, squares = 0;
    const double truth = line_rate(20e6, 1000, 4096, 256);
    (void)state;
    kvat_rng_seed(&rng, 3);
    for (int k = 0; k < 200; k++) {
        world w = {0};
        for (int64_t p = 2048; p <= 8192; p *= 2) add_burst(&w, p, 20e6, 1000, 0.02, &rng);
        kvat__decode_fit fit = fit_of(&w, 112);
        const double error = log(kvat__decode_fit_rate(&fit, 4096, 256) / truth);
        worst = fmax(worst, fabs(error));
        squares += error * error;
        kvat__decode_fit_clear(&fit);
    }
    assert_true(sqrt(squares / 200) < 1.15 * 0.02 / sqrt(31)); /* little worse than the mean of all gaps */
    assert_true(worst < 0.02);
}

static void one_token_of_any_length_does_no_harm(void **state) {
    (void)state;
    for (int64_t at = 1; at < BURST; at++) {
        world w = {0};
        for (int64_t p = 2048; p <= 8192; p *= 2) add_burst(&w, p, 20e6, 1000, 0, NULL);
        for (int64_t i = at; i < BURST; i++) w.times[1][i] += 300000000; /* held up for 300 ms */
        kvat__decode_fit fit = fit_of(&w, 112);
        for (int64_t p = 2048; p <= 8192; p *= 2) assert_rate(&fit, p, 256, line_rate(20e6, 1000, p, 256), 1e-6);
        kvat__decode_fit_clear(&fit);
    }
}

static void a_whole_burst_that_was_slow_is_outvoted_by_two(void **state) {
    (void)state;
    world w = {0};
    for (int64_t p = 2048; p <= 4096; p *= 2)
        for (int i = 0; i < 3; i++) add_burst(&w, p, i == 1 && p == 2048 ? 90e6 : 20e6, 1000, 0, NULL);
    kvat__decode_fit fit = fit_of(&w, 112);
    assert_int_equal(fit.n_levels, 2);
    assert_rate(&fit, 2048, 256, line_rate(20e6, 1000, 2048, 256), 1e-6);
    assert_rate(&fit, 4096, 256, line_rate(20e6, 1000, 4096, 256), 1e-6);
    kvat__decode_fit_clear(&fit);
}

static void one_depth_has_a_slope_only_when_its_burst_shows_it_well(void **state) {
    kvat_rng rng;
    (void)state;
    kvat_rng_seed(&rng, 5);
    world w = {0};
    add_burst(&w, 512, 20e6, 10000, 0, NULL);
    kvat__decode_fit fit = fit_of(&w, 112);
    assert_rate(&fit, 512, 256, line_rate(20e6, 10000, 512, 256), 1e-6);
    kvat__decode_fit_clear(&fit);
    w.n = 0;
    add_burst(&w, 512, 20e6, 10000, 0.02, &rng); /* a hundredth of the noise a token: cannot be seen in 31 */
    fit = fit_of(&w, 112);
    assert_true(fit.slope_ns == 0);
    assert_rate(&fit, 512, 256, line_rate(20e6, 10000, 512, 32), 0.02);
    kvat__decode_fit_clear(&fit);
}

static void times_that_fall_with_depth_count_as_level(void **state) {
    (void)state;
    world w = {0};
    add_burst(&w, 1000, 20e6, 0, 0, NULL);
    add_burst(&w, 2000, 19e6, 0, 0, NULL);
    kvat__decode_fit fit = fit_of(&w, 112);
    assert_true(fit.slope_ns == 0);
    assert_rate(&fit, 1000, 256, 1e9 / 20e6, 1e-9);
    assert_rate(&fit, 2000, 256, 1e9 / 19e6, 1e-9);
    kvat__decode_fit_clear(&fit);
    w.n = 0;
    add_burst(&w, 1000, 20e6, -1000, 0, NULL); /* and within one burst */
    fit = fit_of(&w, 112);
    assert_true(fit.slope_ns == 0);
    kvat__decode_fit_clear(&fit);
}

static void a_slope_between_near_depths_is_not_followed_far(void **state) {
    (void)state;
    world w = {0};
    add_burst(&w, 512, 20.0e6, 0, 0, NULL);
    add_burst(&w, 520, 20.4e6, 0, 0, NULL); /* 2 % of noise between neighbours */
    kvat__decode_fit fit = fit_of(&w, 1000);
    assert_true(fit.reach_tokens <= 8);
    assert_rate(&fit, 512, 2000, 1e9 / 20.0e6, 0.025);
    assert_rate(&fit, 520, 2000, 1e9 / 20.4e6, 0.025);
    kvat__decode_fit_clear(&fit);
    w.n = 0;
    add_burst(&w, 10, 1e6, 0, 0, NULL); /* a slope that would owe more than all of the time to depth */
    add_burst(&w, 110, 90e6, 0, 0, NULL);
    fit = fit_of(&w, 1000);
    assert_true(fit.slope_ns <= 1e6 / 10);
    kvat__decode_fit_clear(&fit);
}

static void tokens_that_come_in_lumps_have_the_rate_of_their_sum(void **state) {
    (void)state;
    for (int64_t lump = 2; lump <= 31; lump++) {
        world w = {0};
        for (int64_t p = 2048; p <= 4096; p *= 2) add_burst(&w, p, 20e6, 0, 0, NULL);
        for (size_t b = 0; b < 2; b++)
            for (int64_t i = 0; i < BURST; i++) w.times[b][i] = 1000000000 + (i + lump - 1) / lump * lump * 20000000;
        const int64_t *times = w.times[0];
        kvat__decode_fit fit = fit_of(&w, 112);
        assert_rate(&fit, 2048, 256, 31e9 / (double)(times[31] - times[0]), lump < 3 ? 0.1 : 1e-9);
        kvat__decode_fit_clear(&fit);
    }
}

static void short_bursts_have_the_rate_of_their_mean(void **state) {
    (void)state;
    const int64_t times[] = {100, 200, 310, 410};
    for (size_t n = 2; n <= 4; n++) {
        const kvat__burst burst = {10, times, n};
        kvat__decode_fit fit = {0};
        assert_int_equal(kvat__decode_fit_make(&fit, &burst, 1, 1000, NULL), KVAT_OK);
        assert_true(fit.slope_ns == 0);
        assert_rate(&fit, 10, 2000, 1e9 * (double)(n - 1) / (double)(times[n - 1] - 100), 1e-12);
        kvat__decode_fit_clear(&fit);
    }
}

static void times_without_a_rate_are_refused(void **state) {
    (void)state;
    static const int64_t equal[] = {5, 5, 5}, falling[] = {1, 9, 4, 20}, one[] = {7}, good[] = {1, 2, 3};
    static const struct {
        kvat__burst bursts[2];
        size_t n;
    } cases[] = {
        {{{10, equal, 3}}, 1}, {{{10, falling, 4}}, 1}, {{{10, one, 1}}, 1},
        {{{10, one, 0}}, 1},   {{{-1, good, 3}}, 1},    {{{20, good, 3}, {10, good, 3}}, 2},
        {{{10, good, 3}}, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat__decode_fit fit = {.n_levels = 77};
        assert_int_equal(kvat__decode_fit_make(&fit, cases[i].bursts, cases[i].n, 100, NULL), KVAT_ERR_DATA);
        assert_int_equal(fit.n_levels, 77);
    }
}

static kvat_status make_one(void *context, kvat_error *err) {
    kvat__decode_fit fit = {0};
    const world *w = context;
    kvat_status status = kvat__decode_fit_make(&fit, w->bursts, w->n, 100, err);
    kvat__decode_fit_clear(&fit);
    return status;
}

static void without_memory_there_is_no_fit(void **state) {
    (void)state;
    world w = {0};
    for (int64_t p = 1000; p <= 3000; p += 1000) add_burst(&w, p, 20e6, 1000, 0, NULL);
    assert_true(fail_alloc_each(make_one, &w) > 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_exact_line_gives_the_exact_rate),
        cmocka_unit_test(a_curve_keeps_its_level_at_each_depth),
        cmocka_unit_test(noise_is_averaged),
        cmocka_unit_test(one_token_of_any_length_does_no_harm),
        cmocka_unit_test(a_whole_burst_that_was_slow_is_outvoted_by_two),
        cmocka_unit_test(one_depth_has_a_slope_only_when_its_burst_shows_it_well),
        cmocka_unit_test(times_that_fall_with_depth_count_as_level),
        cmocka_unit_test(a_slope_between_near_depths_is_not_followed_far),
        cmocka_unit_test(tokens_that_come_in_lumps_have_the_rate_of_their_sum),
        cmocka_unit_test(short_bursts_have_the_rate_of_their_mean),
        cmocka_unit_test(times_without_a_rate_are_refused),
        cmocka_unit_test(without_memory_there_is_no_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
