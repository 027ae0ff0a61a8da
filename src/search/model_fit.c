// The fit: variances by minorisation–maximisation, weights against spikes, and the runs' covariance factored.
// Knows nothing of configurations that have not run. Formulas and sources in model.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

// Later steps start from where the last decision left off; the more runs there are, the less a few more move them.
enum { FIRST_STEPS = 20, LATER_STEPS = 8, LEAST_STEPS = 2, RUNS_FOR_FEWER = 40 };
static const double REFIT_AT = 1.2; // times the runs of the last fit
static const double TAU_S[MODEL_DRIFTS] = {4, 20, 100};
enum { UNREST_DRIFT = 1 };     // whose time is that of calm and restless times too
static const double RHO = .95; // of the two metrics' drift
static const double NU = 4, LEAST_WEIGHT = .01, MOST_WEIGHT = 1.25;
static const double LEAST_MEMORY_NOISE = 1e-6;
// Inverse-gamma priors: shape a is 0 but for the noise; b as follows. A pair's is relative to its main effects, since
// interactions are rarely larger than what interacts (heredity: H. Chipman 1996).
static const double MAIN_B = 5e-5, PAIR_B = .02, PAIR_LEAST_B = 1e-7, OWN_B = 2e-5, NO_KNOBS_B = 2e-3, NOISE_A = 1,
                    NOISE_B = 4e-5, DRIFT_B = 2e-5;

// Triangles are packed by columns: (0,0) (1,0) … (n−1,0) (1,1) …
typedef struct work {
    size_t n, n_packed, n_components;
    double *kernel; // n_components packed triangles, of the configurations
    double *decay;  // MODEL_DRIFTS packed triangles, of the times
    double *sum;    // packed triangle: of a metric's components
    double *drift;  // packed triangle: of the drifts
    double *moment; // packed triangles: αα' and S⁻¹ of each metric, off-diagonals doubled; then both of the drift
    double *figure; // n_components × 4: what kernels make of the moments
    double *matrix; // 2n × 2n: S, its factor, its inverse
    double *y, *alpha, *room; // 2n, 2n, 5n
} work;

static void work_clear(work *w) {
    free(w->kernel);
    free(w->decay);
    free(w->sum);
    free(w->moment);
    free(w->matrix);
    *w = (work){0};
}

static kvat_status work_init(work *w, size_t n, size_t n_components, kvat_error *err) {
    const size_t packed = n * (n + 1) / 2;
    *w = (work){.n = n, .n_packed = packed, .n_components = n_components};
    w->kernel = calloc(packed, n_components * sizeof *w->kernel);
    w->decay = calloc(packed, MODEL_DRIFTS * sizeof *w->decay);
    w->sum = calloc(packed, 2 * sizeof *w->sum);
    w->moment = calloc(6 * packed + 4 * n_components + 2 * MODEL_DRIFTS, sizeof *w->moment);
    w->matrix = calloc(4 * n * n + 9 * n, sizeof *w->matrix);
    if (!w->kernel || !w->decay || !w->sum || !w->moment || !w->matrix) {
        work_clear(w);
        return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the fit of %zu runs", n);
    }
    w->drift = w->sum + packed;
    w->figure = w->moment + 6 * packed;
    w->y = w->matrix + 4 * n * n;
    w->alpha = w->y + 2 * n;
    w->room = w->alpha + 2 * n;
    return KVAT_OK;
}

static void fill_kernels(work *w, const model_space *space, const model_rows *rows) {
    size_t t = 0;
    for (size_t j = 0; j < w->n; j++) {
        for (size_t i = j; i < w->n; i++, t++) {
            kvat__model_components(w->kernel + t, w->n_packed, space, rows->config[i], rows->config[j]);
            const double apart = fabs(rows->time_s[i] - rows->time_s[j]);
            for (size_t u = 0; u < MODEL_DRIFTS; u++) w->decay[u * w->n_packed + t] = exp(-apart / TAU_S[u]);
        }
    }
    memcpy(w->y, rows->part[0], w->n * sizeof *w->y);
    memcpy(w->y + w->n, rows->part[1], w->n * sizeof *w->y);
}

// sum = Σ_k x_k A_k over packed triangles.
static void weigh(double *sum, const double *triangles, size_t n_packed, size_t count, const double *x) {
    memset(sum, 0, n_packed * sizeof *sum);
    for (size_t k = 0; k < count; k++) kvat__add_scaled(sum, triangles + k * n_packed, x[k], n_packed);
}

static void place_metric(work *w, size_t m, double scale) {
    const size_t n = w->n, at = m * n;
    size_t t = 0;
    for (size_t j = 0; j < n; j++) {
        double *column = w->matrix + (at + j) * 2 * n + at;
        for (size_t i = j; i < n; i++, t++) column[i] = kvat__model_constant + w->sum[t] + scale * w->drift[t];
    }
}

static void place_cross(work *w, double scale) {
    const size_t n = w->n;
    size_t t = 0;
    for (size_t j = 0; j < n; j++) {
        for (size_t i = j; i < n; i++, t++) {
            w->matrix[j * 2 * n + n + i] = w->matrix[i * 2 * n + n + j] = scale * w->drift[t];
        }
    }
}

// Row and column i of the drift's triangle by √u_i.
static void scale_drift(double *triangle, const double *unrest, size_t n) {
    size_t t = 0;
    for (size_t j = 0; j < n; j++) {
        for (size_t i = j; i < n; i++, t++) triangle[t] *= sqrt(unrest[i] * unrest[j]);
    }
}

static double noise_at(const model_belief *belief, size_t m, size_t i) {
    return belief->noise[m] * belief->unrest[i] / belief->weight[m][i];
}

static bool assemble(work *w, const model_belief *belief, const model_space *space) {
    const size_t n = w->n;
    weigh(w->drift, w->decay, w->n_packed, MODEL_DRIFTS, belief->drift);
    if (belief->restless > 0) scale_drift(w->drift, belief->unrest, n);
    for (size_t m = 0; m < MODEL_METRICS; m++) {
        weigh(w->sum, w->kernel, w->n_packed, w->n_components, belief->v[m]);
        place_metric(w, m, space->c[m] * space->c[m]);
        for (size_t i = 0; i < n; i++) w->matrix[(m * n + i) * (2 * n + 1)] += noise_at(belief, m, i);
    }
    place_cross(w, RHO * space->c[0] * space->c[1]);
    return kvat__factor(w->matrix, 2 * n);
}

static void solve(work *w) {
    memcpy(w->alpha, w->y, 2 * w->n * sizeof *w->y);
    kvat__solve_factor(w->matrix, 2 * w->n, w->alpha);
}

static double inverse_at(const work *w, size_t i, size_t j) { // i ≥ j
    return w->matrix[j * 2 * w->n + i];
}

// Leave-one-out residual squared, against its variance at weight 1.
static double surprise(const model_belief *belief, const work *w, size_t m, size_t i) {
    const size_t at = m * w->n + i;
    const double left = 1 / inverse_at(w, at, at), noise = belief->noise[m] * belief->unrest[i];
    const double residual = w->alpha[at] * left;
    return residual * residual / (fmax(left - noise_at(belief, m, i), 0) + noise);
}

static void reweigh(model_belief *belief, work *w) {
    const size_t n = w->n;
    double *z2 = w->room;
    for (size_t m = 0; m < MODEL_METRICS; m++) {
        for (size_t i = 0; i < n; i++) {
            z2[m * n + i] = surprise(belief, w, m, i);
            belief->weight[m][i] = fmin(fmax((NU + 1) / (NU + z2[m * n + i]), LEAST_WEIGHT), MOST_WEIGHT);
        }
    }
    const double *closeness = w->decay + UNREST_DRIFT * w->n_packed;
    belief->restless = kvat__model_unrest(belief->unrest, z2, closeness, n, w->room + 2 * n);
}

static void fill_moments(work *w, const model_space *space) {
    const size_t n = w->n, p = w->n_packed;
    const double c0 = space->c[0] * space->c[0], c1 = space->c[1] * space->c[1], c01 = RHO * space->c[0] * space->c[1];
    const double *a = w->alpha, *b = w->alpha + n;
    size_t t = 0;
    for (size_t j = 0; j < n; j++) {
        for (size_t i = j; i < n; i++, t++) {
            const double f = i == j ? 1 : 2;
            const double s0 = f * inverse_at(w, i, j), s1 = f * inverse_at(w, n + i, n + j);
            const double cross = f * (inverse_at(w, n + i, j) + inverse_at(w, n + j, i));
            w->moment[t] = f * a[i] * a[j];
            w->moment[p + t] = s0;
            w->moment[2 * p + t] = f * b[i] * b[j];
            w->moment[3 * p + t] = s1;
            w->moment[4 * p + t] = c0 * f * a[i] * a[j] + c1 * f * b[i] * b[j] + c01 * f * (a[i] * b[j] + a[j] * b[i]);
            w->moment[5 * p + t] = c0 * s0 + c1 * s1 + c01 * cross;
        }
    }
}

// figure[k + c·count] = the sum over triangle k times moment `first + c`.
static void measure_against(work *w, const double *triangles, size_t count, size_t first, size_t moments) {
    const size_t p = w->n_packed;
    for (size_t k = 0; k < count; k++) {
        for (size_t c = 0; c < moments; c++)
            w->figure[k + c * count] = kvat__dot(triangles + k * p, w->moment + (first + c) * p, p);
    }
}

static double improved(double v, double q, double t, double a, double b) {
    t = fmax(t, 1e-12);
    return (-(a + 1) + sqrt((a + 1) * (a + 1) + t * (q * v * v + 2 * b))) / t;
}

static void improve_pairs(double *v, const double *q, const double *t, size_t d, const double *mains) {
    size_t pair = d;
    for (size_t k = 0; k < d; k++) {
        for (size_t l = k + 1; l < d; l++, pair++) {
            const double b = PAIR_B * sqrt(mains[k] * mains[l]) + PAIR_LEAST_B;
            v[pair] = improved(v[pair], q[pair], t[pair], 0, b);
        }
    }
}

// The pairs first: their priors go by the main effects of the step before.
static void improve_components(double *v, const double *q, const double *t, const model_space *space) {
    const size_t d = space->n_knobs, own = space->n_components - 1;
    improve_pairs(v, q, t, d, v);
    for (size_t k = 0; k < d; k++) v[k] = improved(v[k], q[k], t[k], 0, MAIN_B);
    v[own] = improved(v[own], q[own], t[own], 0, d > 0 ? OWN_B : NO_KNOBS_B);
}

static double improved_noise(const work *w, const model_belief *belief, size_t m) {
    double q = 0, t = 0;
    for (size_t i = 0; i < w->n; i++) {
        const size_t at = m * w->n + i;
        const double scale = belief->unrest[i] / belief->weight[m][i];
        q += w->alpha[at] * w->alpha[at] * scale;
        t += inverse_at(w, at, at) * scale;
    }
    return improved(belief->noise[m], q, t, NOISE_A, NOISE_B);
}

// One step; the factor of S is in the matrix, and is used up.
static void improve(model_belief *belief, work *w, const model_space *space, bool robust) {
    const size_t k = w->n_components;
    kvat__inverse_of_factor(w->matrix, 2 * w->n);
    if (robust) reweigh(belief, w);
    fill_moments(w, space);
    if (belief->restless > 0) {
        scale_drift(w->moment + 4 * w->n_packed, belief->unrest, w->n);
        scale_drift(w->moment + 5 * w->n_packed, belief->unrest, w->n);
    }
    measure_against(w, w->kernel, k, 0, 4);
    for (size_t m = 0; m < MODEL_METRICS; m++) {
        improve_components(belief->v[m], w->figure + 2 * m * k, w->figure + (2 * m + 1) * k, space);
        belief->noise[m] = improved_noise(w, belief, m);
    }
    measure_against(w, w->decay, MODEL_DRIFTS, 4, 2);
    for (size_t u = 0; u < MODEL_DRIFTS; u++)
        belief->drift[u] = improved(belief->drift[u], w->figure[u], w->figure[MODEL_DRIFTS + u], 0, DRIFT_B);
}

// In between, one step weighs what is new.
static size_t steps_for(const model_belief *belief, size_t n) {
    if (belief->n_fitted == 0) return FIRST_STEPS;
    if ((double)n < REFIT_AT * (double)belief->n_fitted) return 1;
    if (n <= RUNS_FOR_FEWER) return LATER_STEPS;
    const size_t steps = LATER_STEPS * RUNS_FOR_FEWER / n;
    return steps > LEAST_STEPS ? steps : LEAST_STEPS;
}

static bool fit_metrics(work *w, model_belief *belief, const model_space *space) {
    const size_t steps = steps_for(belief, w->n);
    for (size_t step = 0; step < steps; step++) {
        if (!assemble(w, belief, space)) return false;
        solve(w);
        improve(belief, w, space, step % 2 == 1 || steps == 1);
    }
    if (!assemble(w, belief, space)) return false;
    solve(w);
    if (steps > 1) belief->n_fitted = w->n;
    return true;
}

// Of runs of the same configuration, by their differences from its run before.
static double memory_noise(const model_rows *rows) {
    double sum = 0, count = 0;
    for (size_t i = 0; i < rows->n; i++) {
        for (size_t j = i; j-- > 0;) {
            if (rows->config[j] != rows->config[i]) continue;
            const double apart = rows->part[MODEL_METRICS][i] - rows->part[MODEL_METRICS][j];
            sum += apart * apart / 2;
            count++;
            break;
        }
    }
    return fmax(LEAST_MEMORY_NOISE, count > 0 ? sum / count : 0);
}

static bool fit_memory(model_fit *fit, work *w, const model_belief *belief, const model_rows *rows) {
    const size_t n = w->n;
    const double noise = fit->memory_noise = memory_noise(rows);
    size_t t = 0;
    weigh(w->sum, w->kernel, w->n_packed, w->n_components, belief->memory);
    for (size_t j = 0; j < n; j++) {
        for (size_t i = j; i < n; i++, t++)
            fit->memory_factor[j * n + i] = kvat__model_constant + w->sum[t] + (i == j ? noise : 0);
    }
    if (!kvat__factor(fit->memory_factor, n)) return false;
    memcpy(fit->memory_alpha, rows->part[MODEL_METRICS], n * sizeof *fit->memory_alpha);
    kvat__solve_factor(fit->memory_factor, n, fit->memory_alpha);
    return true;
}

void kvat__model_pair_sd(double sd[MODEL_METRICS + 2], const model_space *space, const model_belief *belief,
                         const model_fit *fit, double apart_s) {
    const double *c = space->c;
    double usual = 0, drift = 0;
    for (size_t i = 0; i < fit->n; i++) usual += belief->unrest[i] / (double)fit->n;
    for (size_t u = 0; u < MODEL_DRIFTS; u++) drift += 2 * usual * belief->drift[u] * (1 - exp(-apart_s / TAU_S[u]));
    double all = (c[0] * c[0] + c[1] * c[1] + 2 * RHO * c[0] * c[1]) * drift + 2 * fit->memory_noise;
    for (size_t m = 0; m < MODEL_METRICS; m++) {
        const double noise = 2 * usual * belief->noise[m];
        all += noise;
        sd[m] = sqrt(noise + c[m] * c[m] * drift);
    }
    sd[MODEL_METRICS] = sqrt(2 * fit->memory_noise);
    sd[MODEL_METRICS + 1] = sqrt(all);
}

kvat_status kvat__model_fit_make(model_fit *out, model_belief *belief, const model_space *space, const model_rows *rows,
                                 kvat_error *err) {
    const size_t n = rows->n;
    work w;
    model_fit fit = {.n = n};
    kvat_status status = work_init(&w, n, space->n_components, err);
    if (status != KVAT_OK) return status;
    fit.memory_factor = calloc(n * n + n, sizeof *fit.memory_factor);
    if (!fit.memory_factor) {
        status = kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the fit of %zu runs", n);
        goto done;
    }
    fit.memory_alpha = fit.memory_factor + n * n;
    fill_kernels(&w, space, rows);
    if (!fit_metrics(&w, belief, space) || !fit_memory(&fit, &w, belief, rows)) {
        status = kvat_fail(err, KVAT_ERR_DATA, "the scores of %zu runs fit no model", n);
        goto done;
    }
    fit.factor = w.matrix;
    fit.alpha = w.alpha;
    w.matrix = NULL;
done:
    work_clear(&w);
    if (status == KVAT_OK)
        *out = fit;
    else
        free(fit.memory_factor);
    return status;
}

void kvat__model_fit_clear(model_fit *fit) {
    free(fit->factor);
    free(fit->memory_factor);
    *fit = (model_fit){0};
}
