// Posterior draws and the shares read off them, against what is known in closed form.
// Must not know how a covariance is factored.
#include "check.h"

#include "fail_alloc.h"
#include "kvat/stats.h"

enum { DRAWS = 20000 };

static double *draws_of(const kvat_anchored_fit *fit, size_t n_draws) {
    double *draws = calloc(n_draws * fit->n_arms, sizeof *draws);
    kvat_rng rng;
    kvat_rng_seed(&rng, 5);
    assert_non_null(draws);
    assert_int_equal(kvat_anchored_draws(draws, n_draws, fit, &rng, NULL), KVAT_OK);
    return draws;
}

static void posterior_of_one_arm_is_certain(void **state) {
    (void)state;
    double estimate[] = {0.3}, covariance[] = {0}, p_good, p_best;
    const kvat_anchored_fit fit = {.n_arms = 1, .estimate = estimate, .covariance = covariance, .sigma = 1, .dof = 1};
    double *draws = draws_of(&fit, 100);
    kvat_posterior_shares(&p_good, &p_best, draws, 100, 1, NULL, 0.01);
    assert_same(p_good, 1, 0, 0);
    assert_same(p_best, 1, 0, 0);
    free(draws);
}

static void posterior_of_two_arms_follows_student(void **state) {
    (void)state;
    static const double gaps[] = {0, 0.005, 0.02, 0.05}, dofs[] = {2, 9, 60};
    const double delta = 0.01, variance = 2e-4; // of the difference 4e-4: a standard error of 0.02
    for (size_t g = 0; g < LENGTH(gaps); g++) {
        for (size_t d = 0; d < LENGTH(dofs); d++) {
            double estimate[] = {gaps[g] / 2, -gaps[g] / 2};
            double covariance[] = {variance / 2, -variance / 2, -variance / 2, variance / 2}; // singular, as a fit's is
            const double se = sqrt(2 * variance);
            const kvat_anchored_fit fit = {
                .n_arms = 2, .estimate = estimate, .covariance = covariance, .sigma = 1, .dof = dofs[d]};
            double *draws = draws_of(&fit, DRAWS), p_good[2], p_best[2];
            kvat_posterior_shares(p_good, p_best, draws, DRAWS, 2, NULL, delta);
            assert_same(p_good[0], kvat_student_cdf((gaps[g] + delta) / se, dofs[d]), 0, 0.015);
            assert_same(p_good[1], kvat_student_cdf((delta - gaps[g]) / se, dofs[d]), 0, 0.015);
            assert_same(p_best[0], kvat_student_cdf(gaps[g] / se, dofs[d]), 0, 0.015);
            assert_same(p_best[0] + p_best[1], 1, 1e-12, 0);
            free(draws);
        }
    }
}

static void draws_have_the_covariance_of_the_fit(void **state) {
    (void)state;
    enum { N = 3 };
    double estimate[N] = {1, 2, 3}, covariance[N * N] = {4, 2, -1, 2, 3, 0.5, -1, 0.5, 2};
    const kvat_anchored_fit fit = {.n_arms = N, .estimate = estimate, .covariance = covariance, .sigma = 1, .dof = 1e6};
    double *draws = draws_of(&fit, DRAWS);
    for (size_t i = 0; i < N; i++) {
        for (size_t j = 0; j < N; j++) {
            double sum = 0;
            for (size_t d = 0; d < DRAWS; d++)
                sum += (draws[d * N + i] - estimate[i]) * (draws[d * N + j] - estimate[j]);
            assert_same(sum / DRAWS, covariance[i * N + j], 0, 0.12);
        }
    }
    free(draws);
}

static void arms_never_seen_are_left_out(void **state) {
    (void)state;
    double estimate[] = {NAN, 0.2, NAN, 0.1}, covariance[16], p_good[4], p_best[4];
    for (size_t i = 0; i < 16; i++) covariance[i] = NAN;
    covariance[5] = covariance[15] = 1e-6;
    covariance[7] = covariance[13] = -1e-6;
    const kvat_anchored_fit fit = {.n_arms = 4, .estimate = estimate, .covariance = covariance, .sigma = 1, .dof = 30};
    double *draws = draws_of(&fit, 500);
    kvat_posterior_shares(p_good, p_best, draws, 500, 4, NULL, 0.01);
    assert_true(isnan(draws[0]) && isnan(draws[2]) && isfinite(draws[1]) && isfinite(draws[3]));
    assert_same(p_good[0] + p_good[2] + p_good[3], 0, 0, 0);
    assert_same(p_good[1], 1, 0, 0);
    assert_same(p_best[1], 1, 0, 0);
    free(draws);
}

static void only_those_that_may_win_count_as_the_best(void **state) {
    (void)state;
    const double draws[] = {5, 1, 0.995, 5, 1, 0.9};
    const bool may_win[] = {false, true, true};
    double p_good[3], p_best[3];
    kvat_posterior_shares(p_good, p_best, draws, 2, 3, may_win, 0.01);
    assert_same(p_good[0], 1, 0, 0); // ahead of the best that may win, but never the best itself
    assert_same(p_best[0], 0, 0, 0);
    assert_same(p_good[1], 1, 0, 0);
    assert_same(p_best[1], 1, 0, 0);
    assert_same(p_good[2], 0.5, 0, 0);

    const bool nobody[] = {false, false, false};
    kvat_posterior_shares(p_good, NULL, draws, 2, 3, nobody, 0.01);
    assert_same(p_good[0] + p_good[1] + p_good[2], 0, 0, 0);
}

static void a_covariance_that_is_not_finite_is_refused(void **state) {
    (void)state;
    double estimate[] = {0, 1}, covariance[] = {INFINITY, 0, 0, 1}, draws[2];
    const kvat_anchored_fit fit = {.n_arms = 2, .estimate = estimate, .covariance = covariance, .sigma = 1, .dof = 3};
    kvat_rng rng;
    kvat_error err = KVAT_ERROR_INIT;
    kvat_rng_seed(&rng, 1);
    assert_int_equal(kvat_anchored_draws(draws, 1, &fit, &rng, &err), KVAT_ERR_DATA);
    assert_true(err.message[0] != '\0');
}

static kvat_status draw_some(void *context, kvat_error *err) {
    (void)context;
    double estimate[] = {0, 1}, covariance[] = {1, 0, 0, 1}, draws[20];
    const kvat_anchored_fit fit = {.n_arms = 2, .estimate = estimate, .covariance = covariance, .sigma = 1, .dof = 3};
    kvat_rng rng;
    kvat_rng_seed(&rng, 1);
    return kvat_anchored_draws(draws, 10, &fit, &rng, err);
}

static void every_failing_allocation_is_reported(void **state) {
    (void)state;
    assert_int_equal(fail_alloc_each(draw_some, NULL), 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(posterior_of_one_arm_is_certain),
        cmocka_unit_test(posterior_of_two_arms_follows_student),
        cmocka_unit_test(draws_have_the_covariance_of_the_fit),
        cmocka_unit_test(arms_never_seen_are_left_out),
        cmocka_unit_test(only_those_that_may_win_count_as_the_best),
        cmocka_unit_test(a_covariance_that_is_not_finite_is_refused),
        cmocka_unit_test(every_failing_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
