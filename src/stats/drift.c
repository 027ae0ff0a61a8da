// The drift fit: effects of arms from runs in the order of time, averaged over what the drift may be like, and joint
// draws of all responses. Knows nothing of what arms and responses are.
#include "drift.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "stats_internal.h"

enum { PASSES = 3, TAIL_DOF = 4, SHRINK_DOF = 2, DRAW_STREAM = 0x64726966 };
static const double HUBER = 1.8;
static const double HUBER_SHARE = 0.928; // of the variance of normal noise that is left after its weights
static const double NEGLIGIBLE = 1e-4;   // a kind of drift so much less likely than the most likely one
static const double FAR = 3;             // residuals beyond count as this far when responses are correlated

// All responses of one fit.
typedef struct fit {
    const kvat_drift_input *in;
    drift_work work;
    double *y;          // n, of the current response
    double *weight, *z; // n_responses × n: of the runs; their residuals
    double *magnitude;  // n
    size_t *runs;       // n_arms
    double share[DRIFT_KINDS];
    size_t dof;
} fit;

static kvat_status check_input(const kvat_drift_input *in, kvat_error *err) {
    if (in->n == 0 || in->n_responses == 0) return kvat_fail(err, KVAT_ERR_DATA, "nothing to fit: no runs");
    if (!(in->sigma_floor > 0)) return kvat_fail(err, KVAT_ERR_DATA, "sigma_floor must be above 0");
    for (size_t j = 0; j < in->n; j++) {
        if (in->arm[j] >= in->n_arms)
            return kvat_fail(err, KVAT_ERR_DATA, "run %zu names arm %zu of %zu", j, in->arm[j], in->n_arms);
        bool finite = isfinite(in->time[j]) && (j == 0 || in->time[j] >= in->time[j - 1]);
        for (size_t d = 0; d < in->n_responses; d++) finite &= isfinite(in->y[j * in->n_responses + d]) != 0;
        if (!finite) return kvat_fail(err, KVAT_ERR_DATA, "run %zu is not finite, or earlier than the one before", j);
    }
    return KVAT_OK;
}

static kvat_status fit_init(fit *f, const kvat_drift_input *in, kvat_error *err) {
    *f = (fit){.in = in};
    kvat_status status = kvat__drift_work_init(&f->work, in, err);
    if (status != KVAT_OK) return status;
    f->y = calloc(in->n, sizeof *f->y);
    f->weight = calloc(in->n * in->n_responses, sizeof *f->weight);
    f->z = calloc(in->n * in->n_responses, sizeof *f->z);
    f->magnitude = calloc(in->n, sizeof *f->magnitude);
    f->runs = calloc(in->n_arms, sizeof *f->runs);
    if (!f->y || !f->weight || !f->z || !f->magnitude || !f->runs)
        return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate a fit of %zu runs", in->n);
    size_t parameters = 0;
    bool before = false, after = false;
    for (size_t j = 0; j < in->n; j++) {
        parameters += f->runs[in->arm[j]]++ == 0;
        *(in->later && in->later[j] ? &after : &before) = true;
    }
    parameters += before && after;
    f->dof = in->n > parameters ? in->n - parameters : 0;
    return KVAT_OK;
}

static void fit_clear(fit *f) {
    kvat__drift_work_clear(&f->work);
    free(f->y);
    free(f->weight);
    free(f->z);
    free(f->magnitude);
    free(f->runs);
}

static void take_response(fit *f, size_t response) {
    const kvat_drift_input *in = f->in;
    double mean = 0;
    for (size_t j = 0; j < in->n; j++) mean += in->y[j * in->n_responses + response] / (double)in->n;
    for (size_t j = 0; j < in->n; j++) f->y[j] = in->y[j * in->n_responses + response] - mean;
    f->work.y = f->y;
    f->work.weight = f->weight + response * in->n;
}

// Shares of the kinds of drift by their restricted likelihood; the most likely one.
static bool weigh_kinds(fit *f, size_t *best) {
    double most = -INFINITY, sum = 0;
    for (size_t h = 0; h < DRIFT_KINDS; h++) {
        if (!kvat__drift_solve(&f->work, kvat__drift_kind_of(h), f->dof)) return false;
        f->share[h] = f->work.log_likelihood;
        if (f->share[h] <= most) continue;
        most = f->share[h];
        *best = h;
    }
    for (size_t h = 0; h < DRIFT_KINDS; h++) {
        f->share[h] = exp(f->share[h] - most);
        if (f->share[h] < NEGLIGIBLE) f->share[h] = 0;
        sum += f->share[h];
    }
    for (size_t h = 0; h < DRIFT_KINDS; h++) f->share[h] /= sum;
    return true;
}

static double sigma_of(const fit *f) {
    const double sigma = sqrt(f->work.squares / (double)f->dof / HUBER_SHARE);
    return fmax(sigma, f->in->sigma_floor);
}

// Median of the residuals, unmoved by a few spikes, but no more than their mean square.
static double scale_of(fit *f, const double *z, double sigma) {
    size_t n = 0;
    for (size_t j = 0; j < f->in->n; j++) {
        if (!isnan(z[j])) f->magnitude[n++] = fabs(z[j]);
    }
    if (n == 0) return sigma;
    kvat__sort(f->magnitude, n);
    return fmax(fmin(1.4826 * kvat__quantile_sorted(f->magnitude, n, 0.5), sigma), f->in->sigma_floor);
}

static bool weigh_runs(fit *f, size_t response) {
    double *weight = f->weight + response * f->in->n, *z = f->z + response * f->in->n;
    for (size_t j = 0; j < f->in->n; j++) weight[j] = 1;
    for (int pass = 0; pass < PASSES && f->dof > 0; pass++) {
        size_t kind = 0;
        if (!weigh_kinds(f, &kind) || !kvat__drift_solve(&f->work, kvat__drift_kind_of(kind), f->dof)) return false;
        const double sigma = sigma_of(f);
        kvat__drift_leave_one_out(z, &f->work);
        const double scale = scale_of(f, z, sigma);
        for (size_t j = 0; j < f->in->n; j++) {
            const double size = fabs(z[j]) / scale;
            weight[j] = size > HUBER ? HUBER / size : 1; // NaN: 1
            z[j] = isnan(z[j]) ? 0 : fmax(-FAR, fmin(FAR, z[j] / scale));
        }
    }
    return true;
}

// Lower factor of the correlation between responses, in `lower` (n_responses²).
static bool correlate(double *lower, const fit *f) {
    const size_t n = f->in->n, d = f->in->n_responses;
    for (size_t a = 0; a < d; a++) {
        for (size_t b = a; b < d; b++) {
            double ab = 0, aa = 0, bb = 0;
            for (size_t j = 0; j < n; j++) {
                const double x = f->z[a * n + j], y = f->z[b * n + j];
                ab += x * y;
                aa += x * x;
                bb += y * y;
            }
            const double r = aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
            lower[a * d + b] = a == b ? 1 : r * (double)f->dof / (double)(f->dof + SHRINK_DOF);
        }
    }
    return kvat__cholesky(lower, d);
}

// Standard normals in place of the draws, correlated between the responses of an arm.
static void fill_normals(kvat_drift_posterior *p, const double *upper, double *one, kvat_rng *rng) {
    const size_t d = p->n_responses, stride = p->n_draws * p->n_arms;
    for (size_t at = 0; at < stride; at++) {
        for (size_t a = 0; a < d; a++) one[a] = kvat_rng_normal(rng);
        for (size_t a = 0; a < d; a++) {
            double z = 0;
            for (size_t b = 0; b <= a; b++) z += upper[b * d + a] * one[b];
            p->draws[a * stride + at] = z;
        }
    }
}

// Per draw: the place among the kinds of drift, and the stretch of all arms; per draw and arm: the tails.
typedef struct luck {
    double *place, *stretch;
} luck;

static bool luck_init(luck *l, const fit *f, kvat_rng *rng) {
    const size_t n = f->in->n_draws, arms = f->in->n_arms;
    l->place = calloc(n, sizeof *l->place);
    l->stretch = calloc(n * arms, sizeof *l->stretch);
    if (!l->place || !l->stretch) return false;
    for (size_t t = 0; t < n; t++) {
        l->place[t] = kvat_rng_uniform(rng);
        const double all = sqrt((double)f->dof / kvat_rng_chi_square(rng, (double)f->dof));
        for (size_t a = 0; a < arms; a++) {
            const double dof = TAIL_DOF * (double)f->runs[a];
            l->stretch[t * arms + a] = dof > 0 ? all * sqrt(dof / kvat_rng_chi_square(rng, dof)) : NAN;
        }
    }
    return true;
}

// The normals of the draws that fall to this kind of drift become effects: estimate + σ U⁻¹z, stretched.
static void draw_kind(double *draws, const fit *f, const luck *l, double from, double to) {
    const size_t arms = f->in->n_arms, m = f->work.columns;
    const double *upper = f->work.information, sigma = sigma_of(f);
    for (size_t t = 0; t < f->in->n_draws; t++) {
        if (!(l->place[t] > from && l->place[t] <= to)) continue;
        double *z = draws + t * arms; // of the columns after the shift, which come first out of the triangle
        for (size_t k = arms; k-- > 0;) {
            const double *row = upper + (k + 1) * m + 1;
            double x = z[k];
            for (size_t i = k + 1; i < arms; i++) x -= row[i] * z[i];
            z[k] = x / row[k];
        }
        for (size_t a = 0; a < arms; a++)
            z[a] = f->runs[a] ? f->work.estimate[1 + a] + sigma * l->stretch[t * arms + a] * z[a] : NAN;
    }
}

static bool draw_response(kvat_drift_posterior *p, fit *f, const luck *l, size_t response) {
    const size_t arms = p->n_arms;
    double *estimate = p->estimate + response * arms, from = 0, variance = 0;
    size_t best = 0;
    take_response(f, response);
    if (!weigh_kinds(f, &best)) return false;
    for (size_t h = 0; h < DRIFT_KINDS; h++) {
        if (f->share[h] == 0) continue;
        if (!kvat__drift_solve(&f->work, kvat__drift_kind_of(h), f->dof)) return false;
        double to = from + f->share[h];
        if (to > 1 - NEGLIGIBLE / 2) to = 1; // the last, however the sum was rounded
        for (size_t a = 0; a < arms; a++) estimate[a] += f->share[h] * f->work.estimate[1 + a];
        if (p->draws && l->place && l->stretch) { // there are residuals
            variance += f->share[h] * sigma_of(f) * sigma_of(f);
            draw_kind(p->draws + response * p->n_draws * arms, f, l, from, to);
        }
        from = to;
    }
    p->sigma[response] = f->dof > 0 ? sqrt(variance) : NAN;
    for (size_t a = 0; a < arms; a++) estimate[a] = f->runs[a] ? estimate[a] : NAN;
    return true;
}

static kvat_status allocate(kvat_drift_posterior *p, const fit *f, kvat_error *err) {
    const kvat_drift_input *in = f->in;
    const size_t all = in->n_responses * in->n_arms;
    *p = (kvat_drift_posterior){
        .n_arms = in->n_arms, .n_responses = in->n_responses, .n_draws = in->n_draws, .residual_dof = f->dof};
    p->estimate = calloc(all, sizeof *p->estimate);
    p->sigma = calloc(in->n_responses, sizeof *p->sigma);
    if (f->dof > 0) p->draws = calloc(all, in->n_draws * sizeof *p->draws);
    if (p->estimate && p->sigma && (p->draws || f->dof == 0)) return KVAT_OK;
    return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate %zu draws of %zu arms", in->n_draws, in->n_arms);
}

static kvat_status fill_draws(kvat_drift_posterior *p, const fit *f, luck *l, kvat_error *err) {
    const size_t d = p->n_responses;
    kvat_rng rng;
    kvat_rng_seed3(&rng, f->in->seed, f->in->n, DRAW_STREAM);
    double *upper = calloc(d * d, sizeof *upper), *one = calloc(d, sizeof *one);
    kvat_status status = KVAT_OK;
    if (!upper || !one || !luck_init(l, f, &rng))
        status = kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the draws of %zu arms", p->n_arms);
    else if (!correlate(upper, f))
        status = kvat_fail(err, KVAT_ERR_DATA, "the correlation of %zu responses is not finite", d);
    else
        fill_normals(p, upper, one, &rng);
    free(upper);
    free(one);
    return status;
}

kvat_status kvat_drift_fit(kvat_drift_posterior *out, const kvat_drift_input *in, kvat_error *err) {
    kvat_status status = check_input(in, err);
    if (status != KVAT_OK) return status;
    fit f;
    luck l = {0};
    kvat_drift_posterior p = {0};
    status = fit_init(&f, in, err);
    if (status == KVAT_OK) status = allocate(&p, &f, err);
    bool solved = true;
    for (size_t d = 0; d < in->n_responses && status == KVAT_OK && solved; d++) {
        take_response(&f, d);
        solved = weigh_runs(&f, d);
    }
    if (status == KVAT_OK && solved && p.draws) status = fill_draws(&p, &f, &l, err);
    for (size_t d = 0; d < in->n_responses && status == KVAT_OK && solved; d++) solved = draw_response(&p, &f, &l, d);
    if (status == KVAT_OK && !solved) status = kvat_fail(err, KVAT_ERR_DATA, "the fit of %zu runs is singular", in->n);
    free(l.place);
    free(l.stretch);
    fit_clear(&f);
    if (status == KVAT_OK)
        *out = p;
    else
        kvat_drift_posterior_clear(&p);
    return status;
}

void kvat_drift_posterior_clear(kvat_drift_posterior *p) {
    free(p->estimate);
    free(p->sigma);
    free(p->draws);
    *p = (kvat_drift_posterior){0};
}
