// The anchored fit against a dense pseudo-inverse in NumPy, and by what it must not be moved by.
// Must not know which of the two factors is swept out.
#include "check.h"

#include <string.h>

#include "data/stats/reference.h"
#include "fail_alloc.h"
#include "kvat/stats.h"

static kvat_anchored_input input_of(const struct layout *l) {
    return (kvat_anchored_input){l->y, l->arm, l->chunk, l->n, l->n_arms, l->n_chunks, l->floor};
}

static void fit_agrees_with_the_dense_reference(void **state) {
    (void)state;
    for (size_t i = 0; i < LENGTH(layouts); i++) {
        const struct layout *l = &layouts[i];
        const kvat_anchored_input in = input_of(l);
        kvat_anchored_fit fit;
        assert_int_equal(kvat_anchored_fit_make(&fit, &in, NULL), KVAT_OK);
        assert_int_equal(fit.n_arms, l->n_arms);
        assert_int_equal(fit.residual_dof, l->residual_dof);
        assert_same(fit.dof, l->residual_dof ? (double)l->residual_dof : 1, 0, 0);
        assert_same(fit.sigma, l->sigma, 1e-9, 0);
        for (size_t a = 0; a < l->n_arms; a++) {
            assert_same(fit.estimate[a], l->estimate[a], 1e-9, 1e-13);
            assert_true(fit.group[a] == (l->group[a] < 0 ? SIZE_MAX : (size_t)l->group[a]));
        }
        for (size_t a = 0; a < l->n_arms * l->n_arms; a++)
            assert_same(fit.covariance[a], l->covariance[a], 1e-8, 1e-14 * l->sigma * l->sigma + 1e-18);
        kvat_anchored_fit_clear(&fit);
    }
}

static void the_scale_is_the_floor_when_nothing_is_left_to_estimate_it(void **state) {
    (void)state;
    const double y[] = {1, 2, 3};
    const size_t arm[] = {0, 1, 2}, chunk[] = {0, 0, 0};
    const kvat_anchored_input in = {y, arm, chunk, 3, 3, 1, 0.02};
    kvat_anchored_fit fit;
    assert_int_equal(kvat_anchored_fit_make(&fit, &in, NULL), KVAT_OK);
    assert_int_equal(fit.residual_dof, 0);
    assert_same(fit.sigma, 0.02, 0, 0);
    assert_same(fit.estimate[2] - fit.estimate[0], 2, 1e-12, 0);
    kvat_anchored_fit_clear(&fit);
}

// Adding any constant to a chunk must leave the arms alone: that is what the anchors are for.
static void drift_between_chunks_cancels(void **state) {
    (void)state;
    const struct layout *l = &layouts[0];
    double shifted[64];
    assert_true(l->n <= LENGTH(shifted));
    for (size_t i = 0; i < l->n; i++) shifted[i] = l->y[i] + 3.0 * (double)l->chunk[i];
    kvat_anchored_input in = input_of(l);
    kvat_anchored_fit a, b;
    assert_int_equal(kvat_anchored_fit_make(&a, &in, NULL), KVAT_OK);
    in.y = shifted;
    assert_int_equal(kvat_anchored_fit_make(&b, &in, NULL), KVAT_OK);
    for (size_t i = 0; i < l->n_arms; i++) assert_same(b.estimate[i], a.estimate[i], 1e-9, 1e-12);
    assert_same(b.sigma, a.sigma, 1e-9, 0);
    kvat_anchored_fit_clear(&a);
    kvat_anchored_fit_clear(&b);
}

// Six arms, ten complete chunks, one run slowed by half: the estimate moves by less than a twentieth of the spike.
static void one_spike_hardly_moves_an_estimate(void **state) {
    (void)state;
    enum { ARMS = 6, CHUNKS = 10, N = ARMS * CHUNKS };
    double y[N];
    size_t arm[N], chunk[N];
    kvat_rng rng;
    kvat_rng_seed(&rng, 21);
    for (size_t i = 0; i < N; i++) {
        arm[i] = i % ARMS;
        chunk[i] = i / ARMS;
        y[i] = 0.01 * kvat_rng_normal(&rng);
    }
    const kvat_anchored_input in = {y, arm, chunk, N, ARMS, CHUNKS, 1e-4};
    kvat_anchored_fit clean, spiked;
    assert_int_equal(kvat_anchored_fit_make(&clean, &in, NULL), KVAT_OK);
    y[20] -= 0.5;
    assert_int_equal(kvat_anchored_fit_make(&spiked, &in, NULL), KVAT_OK);
    for (size_t a = 0; a < ARMS; a++) assert_same(spiked.estimate[a], clean.estimate[a], 0, 0.5 / 10 / 2);
    kvat_anchored_fit_clear(&clean);
    kvat_anchored_fit_clear(&spiked);
}

static void an_arm_never_seen_has_no_estimate(void **state) {
    (void)state;
    const double y[] = {1, 2, 1.1, 2.1};
    const size_t arm[] = {0, 3, 0, 3}, chunk[] = {0, 0, 4, 4};
    const kvat_anchored_input in = {y, arm, chunk, 4, 5, 6, 1e-3};
    kvat_anchored_fit fit;
    assert_int_equal(kvat_anchored_fit_make(&fit, &in, NULL), KVAT_OK);
    assert_true(isnan(fit.estimate[1]) && isnan(fit.covariance[1 * 5 + 0]) && isnan(fit.covariance[0 * 5 + 4]));
    assert_true(fit.group[1] == SIZE_MAX && fit.group[0] == 0 && fit.group[3] == 0);
    assert_same(fit.estimate[3] - fit.estimate[0], 1, 1e-12, 0);
    kvat_anchored_fit_clear(&fit);
}

static void bad_input_is_refused(void **state) {
    (void)state;
    const double y[] = {1, 2}, holed[] = {1, NAN};
    const size_t arm[] = {0, 1}, chunk[] = {0, 0};
    const kvat_anchored_input cases[] = {
        {y, arm, chunk, 0, 2, 1, 1e-3}, {y, arm, chunk, 2, 1, 1, 1e-3}, {y, arm, chunk, 2, 2, 0, 1e-3},
        {y, arm, chunk, 2, 2, 1, 0},    {y, arm, chunk, 2, 2, 1, NAN},  {holed, arm, chunk, 2, 2, 1, 1e-3},
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        kvat_error err = KVAT_ERROR_INIT;
        kvat_anchored_fit fit = {.n_arms = 77};
        assert_int_equal(kvat_anchored_fit_make(&fit, &cases[i], &err), KVAT_ERR_DATA);
        assert_true(err.message[0] != '\0');
        assert_int_equal(fit.n_arms, 77);
    }
}

static kvat_status fit_once(void *context, kvat_error *err) {
    const kvat_anchored_input in = input_of(context);
    kvat_anchored_fit fit;
    const kvat_status status = kvat_anchored_fit_make(&fit, &in, err);
    if (status == KVAT_OK) kvat_anchored_fit_clear(&fit);
    return status;
}

static void every_failing_allocation_is_reported_and_leaks_nothing(void **state) {
    (void)state;
    for (size_t i = 0; i < LENGTH(layouts); i++) {
        struct layout l = layouts[i];
        assert_true(fail_alloc_each(fit_once, &l) >= 20);
    }
}

// A thousand arms seen twice: the larger factor is swept out, so this takes a moment and not minutes even under
// sanitizers.
static void a_thousand_arms_are_told_apart(void **state) {
    (void)state;
    enum { ARMS = 1001, SIZE = 10, PASSES = 2, CHUNKS = PASSES * (ARMS - 1) / SIZE, N = CHUNKS * (SIZE + 1) };
    double *y = calloc(N, sizeof *y);
    size_t *arm = calloc(N, sizeof *arm), *chunk = calloc(N, sizeof *chunk), *order = calloc(ARMS, sizeof *order);
    assert_true(y && arm && chunk && order);
    kvat_rng rng;
    kvat_rng_seed(&rng, 31);
    size_t n = 0;
    for (size_t pass = 0; pass < PASSES; pass++) {
        for (size_t i = 0; i + 1 < ARMS; i++) order[i] = i + 1;
        kvat_rng_shuffle(&rng, order, ARMS - 1);
        for (size_t i = 0; i < ARMS - 1; i++) {
            const size_t c = pass * CHUNKS / PASSES + i / SIZE;
            if (i % SIZE == 0) arm[n] = 0, chunk[n++] = c;
            arm[n] = order[i], chunk[n++] = c;
        }
    }
    assert_int_equal(n, N);
    for (size_t i = 0; i < N; i++) y[i] = 1e-3 * (double)arm[i] + (double)chunk[i] + 1e-4 * kvat_rng_normal(&rng);
    const kvat_anchored_input in = {y, arm, chunk, N, ARMS, CHUNKS, 1e-6};
    kvat_anchored_fit fit;
    assert_int_equal(kvat_anchored_fit_make(&fit, &in, NULL), KVAT_OK);
    for (size_t a = 1; a < ARMS; a++) assert_same(fit.estimate[a] - fit.estimate[0], 1e-3 * (double)a, 0, 6e-4);
    assert_same(fit.sigma, 1e-4, 0.1, 0);
    assert_int_equal(fit.n_groups, 1);
    kvat_anchored_fit_clear(&fit);
    free(y);
    free(arm);
    free(chunk);
    free(order);
}

int main(void) {
    (void)samples, (void)student_cdf, (void)student_quantile, (void)normal_quantile;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fit_agrees_with_the_dense_reference),
        cmocka_unit_test(the_scale_is_the_floor_when_nothing_is_left_to_estimate_it),
        cmocka_unit_test(drift_between_chunks_cancels),
        cmocka_unit_test(one_spike_hardly_moves_an_estimate),
        cmocka_unit_test(an_arm_never_seen_has_no_estimate),
        cmocka_unit_test(bad_input_is_refused),
        cmocka_unit_test(every_failing_allocation_is_reported_and_leaks_nothing),
        cmocka_unit_test(a_thousand_arms_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
