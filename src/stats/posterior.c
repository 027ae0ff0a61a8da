// Joint draws from the posterior of a fit, and the shares of draws in which an arm is good or best.
// Knows nothing of racing: who may win is told by the caller.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kvat/stats.h"
#include "stats_internal.h"

// Copies the observed part of the covariance and factors it with the smallest jitter that works: a contrast matrix is
// singular by construction, and its null direction moves all arms alike.
static bool factor_with_jitter(double *upper, const kvat_anchored_fit *fit, const size_t *observed, size_t m) {
    double scale = 0;
    for (size_t i = 0; i < m; i++) scale += fit->covariance[observed[i] * fit->n_arms + observed[i]] / (double)m;
    double jitter = 1e-12;
    for (int attempt = 0; attempt < 15; attempt++, jitter *= 10) {
        for (size_t i = 0; i < m; i++) {
            const double *row = fit->covariance + observed[i] * fit->n_arms;
            for (size_t j = 0; j < m; j++) upper[i * m + j] = row[observed[j]];
            upper[i * m + i] += jitter * (scale > 0 ? scale : 1);
        }
        if (kvat__cholesky(upper, m)) return true;
    }
    return false;
}

static void draw_once(double *out, double *x, const double *upper, const kvat_anchored_fit *fit, const size_t *observed,
                      size_t m, kvat_rng *rng) {
    memset(x, 0, m * sizeof *x);
    for (size_t k = 0; k < m; k++) {
        const double z = kvat_rng_normal(rng);
        for (size_t j = k; j < m; j++) x[j] += z * upper[k * m + j];
    }
    const double stretch = sqrt(fit->dof / kvat_rng_chi_square(rng, fit->dof));
    for (size_t i = 0; i < fit->n_arms; i++) out[i] = NAN;
    for (size_t i = 0; i < m; i++) out[observed[i]] = fit->estimate[observed[i]] + x[i] * stretch;
}

kvat_status kvat_anchored_draws(double *draws, size_t n_draws, const kvat_anchored_fit *fit, kvat_rng *rng,
                                kvat_error *err) {
    kvat_status status = KVAT_OK;
    size_t m = 0;
    size_t *observed = calloc(fit->n_arms + 1, sizeof *observed);
    double *upper = NULL, *x = NULL;
    if (!observed) goto no_memory;
    for (size_t i = 0; i < fit->n_arms; i++) {
        if (!isnan(fit->estimate[i])) observed[m++] = i;
    }
    upper = calloc(m * m + 1, sizeof *upper);
    x = calloc(m + 1, sizeof *x);
    if (!upper || !x) goto no_memory;
    if (!factor_with_jitter(upper, fit, observed, m)) {
        status = kvat_fail(err, KVAT_ERR_DATA, "the covariance of %zu arms is not finite", m);
        goto done;
    }
    for (size_t d = 0; d < n_draws; d++) draw_once(draws + d * fit->n_arms, x, upper, fit, observed, m, rng);
    goto done;
no_memory:
    status = kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the posterior of %zu arms", fit->n_arms);
done:
    free(observed);
    free(upper);
    free(x);
    return status;
}

// Index of the best arm that may win, or n when there is none.
static size_t best_of(const double *draw, size_t n, const bool *may_win) {
    size_t best = n;
    for (size_t i = 0; i < n; i++) {
        if ((may_win && !may_win[i]) || isnan(draw[i])) continue;
        if (best == n || draw[i] > draw[best]) best = i;
    }
    return best;
}

void kvat_posterior_shares(double *p_good, double *p_best, const double *draws, size_t n_draws, size_t n,
                           const bool *may_win, double delta) {
    for (size_t i = 0; i < n; i++) {
        if (p_good) p_good[i] = 0;
        if (p_best) p_best[i] = 0;
    }
    const double share = 1.0 / (double)n_draws;
    for (size_t d = 0; d < n_draws; d++) {
        const double *draw = draws + d * n;
        const size_t best = best_of(draw, n, may_win);
        if (best == n) continue;
        if (p_best) p_best[best] += 1;
        for (size_t i = 0; p_good && i < n; i++) p_good[i] += draw[i] >= draw[best] - delta; // false for NaN
    }
    for (size_t i = 0; i < n; i++) {
        if (p_good) p_good[i] *= share;
        if (p_best) p_best[i] *= share;
    }
}
