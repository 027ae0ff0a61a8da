/* Samples from token times, scores from samples.
 * Must not test profiles. */
#include <math.h>

#include "fail_alloc.h"
#include "kvat/trial.h"
#include "space_fixture.h"

static void assert_near(double value, double expected) {
    if (!(fabs(value - expected) <= 1e-9 * fabs(expected) + 1e-12)) fail_msg("%.17g is not %.17g", value, expected);
}

static void words_of_every_status_read_back(void **state) {
    (void)state;
    for (int i = 0; i < KVAT_TRIAL_STATUS_COUNT; i++)
        assert_int_equal(kvat_trial_status_parse(kvat_trial_status_word((kvat_trial_status)i)), i);
    assert_string_equal(kvat_trial_status_word(KVAT_TRIAL_OOM_HOST), "oom_host");
    assert_int_equal(kvat_trial_status_parse("fine"), -1);
    assert_string_equal(kvat_trial_status_word(KVAT_TRIAL_STATUS_COUNT), "unknown");
}

static void sample_counts_decode_from_the_first_token_to_the_last(void **state) {
    (void)state;
    static const int64_t token_ns[] = {1000000000, 1010000000, 1030000000, 1060000000, 1100000000};
    kvat_sample sample;
    assert_int_equal(kvat_sample_of(&sample, 3, 800000000, token_ns, 5, NULL), KVAT_OK);
    assert_int_equal(sample.cell, 3);
    assert_int_equal(sample.ttft_ns, 800000000);
    assert_int_equal(sample.ttft_worst_ns, 800000000);
    assert_near(sample.decode_tok_per_s, 40);
    /* gaps 10, 20, 30, 40 ms: numpy.quantile([10, 20, 30, 40], [.5, .95, .99]) = 25, 38.5, 39.7 */
    assert_near(sample.itl_p50_ns, 25e6);
    assert_near(sample.itl_p95_ns, 38.5e6);
    assert_near(sample.itl_p99_ns, 39.7e6);
}

static void two_tokens_have_one_gap(void **state) {
    (void)state;
    static const int64_t token_ns[] = {5, 15};
    kvat_sample sample;
    assert_int_equal(kvat_sample_of(&sample, 0, 1, token_ns, 2, NULL), KVAT_OK);
    assert_near(sample.decode_tok_per_s, 1e8);
    assert_near(sample.itl_p50_ns, 10);
    assert_near(sample.itl_p99_ns, 10);
}

static void gaps_may_be_empty_but_not_all(void **state) {
    (void)state;
    static const int64_t some[] = {7, 7, 9}, all[] = {7, 7, 7};
    kvat_sample sample;
    assert_int_equal(kvat_sample_of(&sample, 0, 1, some, 3, NULL), KVAT_OK);
    assert_near(sample.itl_p50_ns, 1);
    assert_int_equal(kvat_sample_of(&sample, 0, 1, all, 3, NULL), KVAT_ERR_DATA);
}

static void impossible_times_are_refused(void **state) {
    (void)state;
    static const struct {
        int64_t ttft_ns, token_ns[3];
        size_t n;
        const char *says;
    } cases[] = {
        {1, {1, 2, 3}, 1, "needs the times of two tokens, not 1"},
        {1, {1, 2, 3}, 0, "needs the times of two tokens, not 0"},
        {1, {1, 3, 2}, 3, "the time of token 2 is before"},
        {1, {3, 2, 4}, 3, "the time of token 1 is before"},
        {0, {1, 2, 3}, 3, "time to the first token is not positive"},
        {-5, {1, 2, 3}, 3, "time to the first token is not positive"},
        {1, {INT64_MIN, 0, INT64_MAX}, 3, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_sample sample = {.cell = 77};
        kvat_error err = KVAT_ERROR_INIT;
        assert_int_equal(kvat_sample_of(&sample, 0, cases[i].ttft_ns, cases[i].token_ns, cases[i].n, &err),
                         KVAT_ERR_DATA);
        if (!strstr(err.message, cases[i].says)) fail_msg("\"%s\" does not say \"%s\"", err.message, cases[i].says);
        assert_int_equal(sample.cell, 77);
    }
}

static void sequences_merge_to_means_sums_and_worst(void **state) {
    (void)state;
    kvat_sample into = {0, 100, 100, 10, 1, 2, 3, false};
    const kvat_sample second = {0, 200, 200, 20, 3, 4, 5, false}, third = {0, 60, 60, 30, 5, 6, 10, false};
    kvat_sample_merge(&into, &second, 1);
    assert_int_equal(into.ttft_ns, 150);
    kvat_sample_merge(&into, &third, 2);
    assert_int_equal(into.ttft_ns, 120);
    assert_int_equal(into.ttft_worst_ns, 200);
    assert_near(into.decode_tok_per_s, 60);
    assert_near(into.itl_p50_ns, 3);
    assert_near(into.itl_p95_ns, 4);
    assert_near(into.itl_p99_ns, 6);
}

/* --- score --- */

static const kvat_cell cells[] = {{512, 32, 1, 0.25}, {1024, 32, 1, 0.75}};
static const kvat_profile workload = {
    .cells = (kvat_cell *)cells, .n_cells = 2, .weight_ttft = 0.5, .weight_decode = 0.3, .weight_memory = 0.2};

static void parts_are_weighted_means_of_logarithms(void **state) {
    (void)state;
    const kvat_sample samples[] = {{.cell = 1, .ttft_ns = 4000000000, .decode_tok_per_s = 10},
                                   {.cell = 0, .ttft_ns = 500000000, .decode_tok_per_s = 20}};
    kvat_score_parts parts;
    assert_int_equal(kvat_score_parts_of(&parts, &workload, samples, 2, 1 << 20, NULL), KVAT_OK);
    assert_near(parts.ln_ttft, 0.25 * log(0.5) + 0.75 * log(4));
    assert_near(parts.ln_decode, 0.25 * log(20) + 0.75 * log(10));
    assert_near(parts.ln_peak, log(1048576));
    assert_near(kvat_score(&workload, &parts), -0.5 * parts.ln_ttft + 0.3 * parts.ln_decode - 0.2 * parts.ln_peak);
}

static void twice_as_fast_everywhere_scores_by_the_weights(void **state) {
    (void)state;
    kvat_sample samples[] = {{.cell = 0, .ttft_ns = 1000, .decode_tok_per_s = 10},
                             {.cell = 1, .ttft_ns = 3000, .decode_tok_per_s = 7}};
    kvat_score_parts slow, fast;
    assert_int_equal(kvat_score_parts_of(&slow, &workload, samples, 2, 4000, NULL), KVAT_OK);
    for (int i = 0; i < 2; i++) {
        samples[i].ttft_ns /= 2;
        samples[i].decode_tok_per_s *= 2;
    }
    assert_int_equal(kvat_score_parts_of(&fast, &workload, samples, 2, 2000, NULL), KVAT_OK);
    /* the weights sum to 1, so everything twice as good is a score of 200 against 100 */
    assert_near(exp(kvat_score(&workload, &fast) - kvat_score(&workload, &slow)), 2);
}

static void incomplete_or_impossible_figures_have_no_score(void **state) {
    (void)state;
    static const kvat_sample good0 = {.cell = 0, .ttft_ns = 1, .decode_tok_per_s = 1};
    static const kvat_sample good1 = {.cell = 1, .ttft_ns = 1, .decode_tok_per_s = 1};
    const struct {
        kvat_sample samples[2];
        size_t n;
        int64_t peak_bytes;
    } cases[] = {
        {{good0, good1}, 1, 1},
        {{good0, good0}, 2, 1},
        {{good0, {.cell = 2, .ttft_ns = 1, .decode_tok_per_s = 1}}, 2, 1},
        {{good0, {.cell = 1, .ttft_ns = 0, .decode_tok_per_s = 1}}, 2, 1},
        {{good0, {.cell = 1, .ttft_ns = 1, .decode_tok_per_s = 0}}, 2, 1},
        {{good0, {.cell = 1, .ttft_ns = 1, .decode_tok_per_s = NAN}}, 2, 1},
        {{good0, {.cell = 1, .ttft_ns = 1, .decode_tok_per_s = INFINITY}}, 2, 1},
        {{good0, good1}, 2, 0},
        {{good0, good1}, 2, -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_score_parts parts = {1, 2, 3};
        kvat_error err = KVAT_ERROR_INIT;
        assert_int_equal(
            kvat_score_parts_of(&parts, &workload, cases[i].samples, cases[i].n, cases[i].peak_bytes, &err),
            KVAT_ERR_DATA);
        assert_true(parts.ln_ttft == 1 && err.message[0] != '\0');
    }
}

static kvat_status sample_step(void *context, kvat_error *err) {
    static const int64_t token_ns[] = {1, 2, 4};
    (void)context;
    kvat_sample sample;
    return kvat_sample_of(&sample, 0, 1, token_ns, 3, err);
}

static void sample_survives_a_failing_allocation(void **state) {
    (void)state;
    assert_int_equal(fail_alloc_each(sample_step, NULL), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_of_every_status_read_back),
        cmocka_unit_test(sample_counts_decode_from_the_first_token_to_the_last),
        cmocka_unit_test(two_tokens_have_one_gap),
        cmocka_unit_test(gaps_may_be_empty_but_not_all),
        cmocka_unit_test(impossible_times_are_refused),
        cmocka_unit_test(sequences_merge_to_means_sums_and_worst),
        cmocka_unit_test(parts_are_weighted_means_of_logarithms),
        cmocka_unit_test(twice_as_fast_everywhere_scores_by_the_weights),
        cmocka_unit_test(incomplete_or_impossible_figures_have_no_score),
        cmocka_unit_test(sample_survives_a_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
