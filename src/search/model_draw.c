// How sure: the share of joint posterior draws in which a configuration is as good as the best.
// Knows nothing of where the posterior comes from.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

// Streams are a place's or a configuration's own, so that two decisions differ by what was learned, not by luck.
enum { NORMAL_STREAM = 0x6e6f726d, SCALE_STREAM = 0x7363616c, ABSENT_STREAM = 0x61627365 };
static const double ABSENT = -INFINITY;

typedef struct draws {
    const model_draws_input *in;
    size_t n, n_draws;
    double *value;        // n_draws a place
    double *factor;       // n × n
    double *scale, *best; // n_draws
} draws;

static void draws_clear(draws *d) {
    free(d->value);
    free(d->factor);
    free(d->scale);
}

static kvat_status draws_init(draws *d, const model_draws_input *in, kvat_error *err) {
    const size_t n = in->posterior->n;
    *d = (draws){.in = in, .n = n, .n_draws = in->n_draws};
    d->value = calloc(in->n_draws, (n + 1) * sizeof *d->value);
    d->factor = calloc(n * n + 1, sizeof *d->factor);
    d->scale = calloc(in->n_draws, 2 * sizeof *d->scale);
    if (!d->value || !d->factor || !d->scale) {
        draws_clear(d);
        return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate %zu posterior draws", in->n_draws);
    }
    d->best = d->scale + in->n_draws;
    return KVAT_OK;
}

static void draw_normals(draws *d) {
    kvat_rng rng;
    for (size_t j = 0; j < d->n; j++) {
        kvat_rng_seed3(&rng, d->in->seed, j, NORMAL_STREAM);
        for (size_t r = 0; r < d->n_draws; r++) d->value[j * d->n_draws + r] = kvat_rng_normal(&rng);
    }
    kvat_rng_seed3(&rng, d->in->seed, 0, SCALE_STREAM);
    for (size_t r = 0; r < d->n_draws; r++) d->scale[r] = sqrt(d->in->dof / kvat_rng_chi_square(&rng, d->in->dof));
}

// value ← mean + scale × (normals Lᵀ), from the last place to the first, whose normals are still needed.
static bool correlate(draws *d) {
    const size_t n = d->n, m = d->n_draws;
    memcpy(d->factor, d->in->posterior->covariance, n * n * sizeof *d->factor);
    if (!kvat__factor(d->factor, n)) return false;
    for (size_t j = n; j-- > 0;) {
        double *value = d->value + j * m;
        for (size_t r = 0; r < m; r++) value[r] *= d->factor[j * n + j];
        for (size_t k = 0; k < j; k++) kvat__add_scaled(value, d->value + k * m, d->factor[k * n + j], m);
        for (size_t r = 0; r < m; r++) value[r] = d->in->posterior->mean[j] + d->scale[r] * value[r];
    }
    return true;
}

static void remove_failing(draws *d) {
    kvat_rng rng;
    for (size_t j = 0; j < d->n; j++) {
        const size_t config = d->in->posterior->list[j];
        const double p = d->in->p_fail[config];
        if (!(p > 0)) continue;
        kvat_rng_seed3(&rng, d->in->seed, config, ABSENT_STREAM);
        for (size_t r = 0; r < d->n_draws; r++) {
            if (kvat_rng_uniform(&rng) < p) d->value[j * d->n_draws + r] = ABSENT;
        }
    }
}

static void find_best(draws *d) {
    for (size_t r = 0; r < d->n_draws; r++) d->best[r] = ABSENT;
    for (size_t j = 0; j < d->n; j++) {
        const double *value = d->value + j * d->n_draws;
        if (!d->in->may_win[j]) continue;
        for (size_t r = 0; r < d->n_draws; r++) d->best[r] = value[r] > d->best[r] ? value[r] : d->best[r];
    }
}

static void count_shares(double *p_good, double *p_best, const draws *d) {
    for (size_t j = 0; j < d->n; j++) {
        const double *value = d->value + j * d->n_draws;
        size_t good = 0, best = 0;
        for (size_t r = 0; r < d->n_draws; r++) {
            good += value[r] >= d->best[r] - d->in->delta && value[r] > ABSENT;
            best += value[r] >= d->best[r] && value[r] > ABSENT;
        }
        p_good[j] = (double)good / (double)d->n_draws;
        p_best[j] = d->in->may_win[j] ? (double)best / (double)d->n_draws : 0;
    }
}

kvat_status kvat__model_shares(double *p_good, double *p_best, const model_draws_input *in, kvat_error *err) {
    draws d;
    kvat_status status = draws_init(&d, in, err);
    if (status != KVAT_OK) return status;
    draw_normals(&d);
    if (correlate(&d)) {
        remove_failing(&d);
        find_best(&d);
        count_shares(p_good, p_best, &d);
    } else
        status = kvat_fail(err, KVAT_ERR_DATA, "the posterior of %zu configurations has no covariance", d.n);
    draws_clear(&d);
    return status;
}
