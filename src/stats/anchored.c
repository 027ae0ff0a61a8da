// The anchored fit: arm effects from runs grouped in chunks, chunk effects swept out, outliers held down.
// Knows nothing of what arms and chunks are. Whichever factor has more levels is swept out first, so that the dense
// system has the size of the smaller one: many chunks of few finalists and one pass over a thousand arms cost about the
// same.
#include "anchored.h"

#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "stats_internal.h"

enum { PASSES = 8 };
static const double HUBER = 1.8;

static kvat_status check_input(const kvat_anchored_input *in, kvat_error *err) {
    if (in->n == 0) return kvat_fail(err, KVAT_ERR_DATA, "nothing to fit: no observations");
    if (!(in->sigma_floor > 0)) return kvat_fail(err, KVAT_ERR_DATA, "sigma_floor must be above 0");
    for (size_t i = 0; i < in->n; i++) {
        if (in->arm[i] >= in->n_arms || in->chunk[i] >= in->n_chunks)
            return kvat_fail(err, KVAT_ERR_DATA, "observation %zu names arm %zu of %zu, chunk %zu of %zu", i,
                             in->arm[i], in->n_arms, in->chunk[i], in->n_chunks);
        if (!isfinite(in->y[i])) return kvat_fail(err, KVAT_ERR_DATA, "observation %zu is not finite", i);
    }
    return KVAT_OK;
}

static void weigh_levels(struct factor *factor, const double *weight, size_t n) {
    memset(factor->weight, 0, factor->n * sizeof *factor->weight);
    for (size_t i = 0; i < n; i++) factor->weight[factor->of[i]] += weight[i];
}

// The reduced information matrix of the kept factor: diag(r) − Σ over swept levels of w wᵀ / Σw, made regular by adding
// a constant over each group, which the effects, summing to zero there, never see.
static void reduced_matrix(double *matrix, double *regular, const struct two_way *t) {
    const struct factor *kept = t->kept, *swept = t->swept;
    const size_t m = kept->n;
    memset(matrix, 0, m * m * sizeof *matrix);
    *regular = 0;
    for (size_t u = 0; u < m; u++) {
        matrix[u * m + u] = kept->weight[u];
        *regular += kept->weight[u] / (double)m;
    }
    for (size_t v = 0; v < swept->n; v++) {
        for (size_t a = swept->begin[v]; a < swept->begin[v + 1]; a++) {
            const size_t i = swept->run[a];
            double *row = matrix + kept->of[i] * m;
            const double factor = t->weight[i] / swept->weight[v];
            for (size_t b = swept->begin[v]; b < swept->begin[v + 1]; b++) {
                const size_t j = swept->run[b];
                row[kept->of[j]] -= factor * t->weight[j];
            }
        }
    }
    for (size_t u = 0; u < m; u++) {
        for (size_t w = 0; w < m; w++) {
            if (kept->group[u] == kept->group[w])
                matrix[u * m + w] += *regular / (double)kept->group_size[kept->group[u]];
        }
    }
}

static void level_means(double *mean, const struct factor *factor, const double *value, const double *weight,
                        size_t n) {
    memset(mean, 0, factor->n * sizeof *mean);
    for (size_t i = 0; i < n; i++) mean[factor->of[i]] += weight[i] * value[i] / factor->weight[factor->of[i]];
}

// One weighted least squares fit; leaves the factor of the reduced matrix behind for the covariance.
static bool solve(struct two_way *t) {
    struct factor *kept = t->kept, *swept = t->swept;
    weigh_levels(kept, t->weight, t->n);
    weigh_levels(swept, t->weight, t->n);
    reduced_matrix(t->matrix, &t->regular, t);
    if (!kvat__cholesky(t->matrix, kept->n)) return false;
    level_means(swept->effect, swept, t->y, t->weight, t->n);
    memset(kept->effect, 0, kept->n * sizeof *kept->effect);
    for (size_t i = 0; i < t->n; i++)
        kept->effect[kept->of[i]] += t->weight[i] * (t->y[i] - swept->effect[swept->of[i]]);
    kvat__cholesky_solve(kept->effect, t->matrix, kept->n);
    for (size_t i = 0; i < t->n; i++) t->residual[i] = t->y[i] - kept->effect[kept->of[i]];
    level_means(swept->effect, swept, t->residual, t->weight, t->n);
    for (size_t i = 0; i < t->n; i++) t->residual[i] -= swept->effect[swept->of[i]];
    return true;
}

// Median absolute residual, scaled up for the parameters spent: unmoved by a few spikes.
static double robust_scale(struct two_way *t, double dof, double floor) {
    for (size_t i = 0; i < t->n; i++) t->scratch[i] = fabs(t->residual[i]);
    kvat__sort(t->scratch, t->n);
    const double scale = 1.4826 * kvat__quantile_sorted(t->scratch, t->n, 0.5) * sqrt((double)t->n / dof);
    return fmax(scale, floor);
}

static void reweigh(struct two_way *t, double scale) {
    for (size_t i = 0; i < t->n; i++) {
        const double z = fabs(t->residual[i]) / scale;
        t->weight[i] = z <= HUBER ? 1 : HUBER / z;
    }
}

static bool iterate(struct two_way *t, double dof, double floor) {
    double scale = floor;
    for (size_t i = 0; i < t->n; i++) t->weight[i] = 1;
    for (int pass = 0; pass < PASSES; pass++) {
        // The last weights serve the spread only: the matrix must stay the one the estimates came from.
        if (!solve(t)) return false;
        scale = robust_scale(t, dof, floor);
        memcpy(t->used_weight, t->weight, t->n * sizeof *t->weight);
        reweigh(t, scale);
    }
    double squares = 0;
    for (size_t i = 0; i < t->n; i++) squares += t->weight[i] * t->residual[i] * t->residual[i];
    t->sigma = fmax(sqrt(squares / dof), scale);
    return true;
}

// Covariance of arms when chunks were kept: G = D⁻¹ + D⁻¹ N M⁻ Nᵀ D⁻¹ is a generalised inverse of the reduced matrix of
// arms; centring it by group gives the pseudo-inverse. Rows of N are nearly empty, so the products run over
// observations.
static void expand_covariance(double *g, double *product, const struct two_way *t, const double *inverse) {
    const struct factor *arm = t->swept, *chunk = t->kept;
    const size_t p = arm->n, q = chunk->n;
    memset(product, 0, p * q * sizeof *product);
    memset(g, 0, p * p * sizeof *g);
    for (size_t i = 0; i < t->n; i++) {
        const double share = t->used_weight[i] / arm->weight[arm->of[i]];
        double *to = product + arm->of[i] * q;
        const double *from = inverse + chunk->of[i] * q;
        for (size_t c = 0; c < q; c++) to[c] += share * from[c];
    }
    for (size_t a = 0; a < p; a++) {
        for (size_t i = 0; i < t->n; i++)
            // NOLINTNEXTLINE(clang-analyzer-unix.Malloc): not of size zero, an observation has a chunk
            g[a * p + arm->of[i]] += t->used_weight[i] / arm->weight[arm->of[i]] * product[a * q + chunk->of[i]];
        g[a * p + a] += 1 / arm->weight[a];
    }
}

static void center_rows(double *g, double *sum, const struct factor *arm, bool transposed) {
    const size_t p = arm->n, row = transposed ? 1 : p, column = transposed ? p : 1;
    for (size_t a = 0; a < p; a++) {
        memset(sum, 0, arm->n_groups * sizeof *sum);
        for (size_t b = 0; b < p; b++) sum[arm->group[b]] += g[a * row + b * column];
        for (size_t b = 0; b < p; b++)
            g[a * row + b * column] -= sum[arm->group[b]] / (double)arm->group_size[arm->group[b]];
    }
}

// Pseudo-inverse of the arms' reduced matrix in `g` (p × p).
static bool arm_covariance(double *g, struct two_way *t) {
    struct factor *arm = t->arm;
    const size_t p = arm->n, m = t->kept->n;
    kvat__cholesky_invert(t->matrix, t->scratch, m);
    for (size_t u = 0; u < m; u++) {
        for (size_t w = 0; w < m; w++) {
            if (t->kept->group[u] == t->kept->group[w])
                t->matrix[u * m + w] -= 1 / (t->regular * (double)t->kept->group_size[t->kept->group[u]]);
        }
    }
    if (t->kept == arm) {
        memcpy(g, t->matrix, p * p * sizeof *g);
        return true;
    }
    double *product = calloc(p * m, sizeof *product);
    if (!product) return false;
    expand_covariance(g, product, t, t->matrix);
    free(product);
    center_rows(g, t->scratch, arm, false);
    center_rows(g, t->scratch, arm, true);
    return true;
}

static void center_effects(struct factor *arm, double *sum) {
    memset(sum, 0, arm->n_groups * sizeof *sum);
    for (size_t a = 0; a < arm->n; a++) sum[arm->group[a]] += arm->effect[a];
    for (size_t a = 0; a < arm->n; a++) arm->effect[a] -= sum[arm->group[a]] / (double)arm->group_size[arm->group[a]];
}

static kvat_status allocate(kvat_anchored_fit *fit, size_t n_arms, kvat_error *err) {
    assert(n_arms > 0 && n_arms < SIZE_MAX / sizeof(double) / n_arms); // an observation has named one
    *fit = (kvat_anchored_fit){.n_arms = n_arms};
    fit->estimate = calloc(n_arms, sizeof *fit->estimate);
    fit->covariance = calloc(n_arms, n_arms * sizeof *fit->covariance);
    fit->group = calloc(n_arms, sizeof *fit->group);
    if (fit->estimate && fit->covariance && fit->group) return KVAT_OK;
    kvat_anchored_fit_clear(fit);
    return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the fit of %zu arms", n_arms);
}

// From the compact numbering of observed arms back to the caller's.
static void spread_out(kvat_anchored_fit *fit, const struct two_way *t, const double *g) {
    const struct factor *arm = t->arm;
    for (size_t a = 0; a < fit->n_arms; a++) {
        const size_t ca = arm->level[a];
        fit->estimate[a] = ca == SIZE_MAX ? NAN : arm->effect[ca];
        fit->group[a] = ca == SIZE_MAX ? SIZE_MAX : arm->group[ca];
        for (size_t b = 0; b < fit->n_arms; b++) {
            const size_t cb = arm->level[b];
            fit->covariance[a * fit->n_arms + b] =
                ca == SIZE_MAX || cb == SIZE_MAX ? NAN : g[ca * arm->n + cb] * t->sigma * t->sigma;
        }
    }
    fit->n_groups = arm->n_groups;
    fit->sigma = t->sigma;
}

kvat_status kvat_anchored_fit_make(kvat_anchored_fit *out, const kvat_anchored_input *in, kvat_error *err) {
    kvat_status status = check_input(in, err);
    if (status != KVAT_OK) return status;
    struct two_way t = {0};
    kvat_anchored_fit fit = {0};
    double *g = NULL;
    status = kvat__two_way_init(&t, in, err);
    if (status == KVAT_OK) status = allocate(&fit, in->n_arms, err);
    if (status != KVAT_OK) goto done;

    const size_t parameters = t.arm->n + t.chunk->n - t.arm->n_groups;
    fit.residual_dof = t.n > parameters ? t.n - parameters : 0;
    fit.dof = fit.residual_dof ? (double)fit.residual_dof : 1;
    if (!iterate(&t, fit.dof, in->sigma_floor)) {
        status = kvat_fail(err, KVAT_ERR_DATA, "the fit of %zu observations is singular", in->n);
        goto done;
    }
    g = calloc(t.arm->n * t.arm->n, sizeof *g);
    if (!g || !arm_covariance(g, &t)) {
        status = kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the covariance of %zu arms", t.arm->n);
        goto done;
    }
    center_effects(t.arm, t.scratch);
    spread_out(&fit, &t, g);
    *out = fit;
    fit = (kvat_anchored_fit){0};
done:
    free(g);
    kvat_anchored_fit_clear(&fit);
    kvat__two_way_clear(&t);
    return status;
}

void kvat_anchored_fit_clear(kvat_anchored_fit *fit) {
    free(fit->estimate);
    free(fit->covariance);
    free(fit->group);
    *fit = (kvat_anchored_fit){0};
}
