// The model's runs and its variances: gathered from the ledger, begun from the prior, copied from decision to decision.
// Knows nothing of how they are improved.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

static const double WILD = 20; // a score part further than this from the first run's is cut off: e^20 is no machine

// Standard deviations in units of the score, before any run; the first are the guesses that the fit starts from.
typedef struct prior_sd {
    double main, pair, own;
} prior_sd;
static const prior_sd METRIC = {.04, .008, .005}, MEMORY = {.03, .006, .002}, WITHOUT_KNOBS = {0, 0, .08};
static const double DRIFT_SD = .01, NOISE_SD = .01;
const double kvat__model_constant = .3;

/* ---- rows ---- */

static double clip(double x) {
    return x > WILD ? WILD : x < -WILD ? -WILD : x;
}

// The first part is what the others leave of the score, so that they add up whatever was told.
static void set_parts(model_rows *rows, size_t i, const kvat_search_result *r) {
    const double decode = isfinite(r->part[1]) ? r->part[1] : 0, memory = isfinite(r->part[2]) ? r->part[2] : 0;
    rows->part[0][i] = r->score - decode - memory;
    rows->part[1][i] = decode;
    rows->part[2][i] = memory;
}

static void subtract_first(double *part, size_t n) {
    for (size_t i = n; i-- > 0;) part[i] = clip(part[i] - part[0]);
}

kvat_status kvat__model_rows_init(model_rows *out, const kvat__ledger *ledger, kvat_error *err) {
    const size_t n = ledger->n_runs;
    model_rows rows = {.n = n};
    rows.config = calloc(n + 1, sizeof *rows.config);
    rows.time_s = calloc(n + 1, (2 + MODEL_METRICS) * sizeof *rows.time_s);
    if (!rows.config || !rows.time_s) {
        kvat__model_rows_clear(&rows);
        return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate %zu runs", n);
    }
    for (size_t m = 0; m <= MODEL_METRICS; m++) rows.part[m] = rows.time_s + (m + 1) * (n + 1);
    for (size_t i = 0; i < n; i++) {
        const kvat_search_result *r = &ledger->runs[i].result;
        rows.config[i] = r->trial.config;
        rows.time_s[i] = 1e-9 * ((double)r->started_ns + .5 * (double)r->cost_ns);
        set_parts(&rows, i, r);
    }
    for (size_t m = 0; m <= MODEL_METRICS; m++) subtract_first(rows.part[m], n);
    *out = rows;
    return KVAT_OK;
}

void kvat__model_rows_clear(model_rows *rows) {
    free(rows->config);
    free(rows->time_s);
    *rows = (model_rows){0};
}

/* ---- belief ---- */

static void fill(double *v, const model_space *space, prior_sd sd) {
    const size_t d = space->n_knobs;
    for (size_t k = 0; k < d; k++) v[k] = sd.main * sd.main;
    for (size_t p = 0; p < space->n_pairs; p++) v[d + p] = sd.pair * sd.pair;
    v[space->n_components - 1] = sd.own * sd.own;
}

static kvat_status allocate(model_belief *belief, size_t n_components, size_t n_weights, kvat_error *err) {
    *belief = (model_belief){.n_components = n_components, .n_weights = n_weights};
    double *v = calloc(n_components, (MODEL_METRICS + 1) * sizeof *v);
    double *weights = calloc(n_weights + 1, (MODEL_METRICS + 1) * sizeof *weights);
    if (!v || !weights) {
        free(v);
        free(weights);
        return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate a model of %zu components", n_components);
    }
    for (size_t m = 0; m < MODEL_METRICS; m++) {
        belief->v[m] = v + m * n_components;
        belief->weight[m] = weights + m * (n_weights + 1);
    }
    belief->unrest = weights + MODEL_METRICS * (n_weights + 1);
    belief->memory = v + MODEL_METRICS * n_components;
    return KVAT_OK;
}

kvat_status kvat__model_belief_init(model_belief *out, const model_space *space, kvat_error *err) {
    const kvat_status status = allocate(out, space->n_components, 0, err);
    if (status != KVAT_OK) return status;
    const bool knobs = space->n_knobs > 0;
    for (size_t m = 0; m < MODEL_METRICS; m++) fill(out->v[m], space, knobs ? METRIC : WITHOUT_KNOBS);
    fill(out->memory, space, knobs ? MEMORY : WITHOUT_KNOBS);
    for (size_t u = 0; u < MODEL_DRIFTS; u++) out->drift[u] = DRIFT_SD * DRIFT_SD;
    for (size_t m = 0; m < MODEL_METRICS; m++) out->noise[m] = NOISE_SD * NOISE_SD;
    return KVAT_OK;
}

kvat_status kvat__model_belief_copy(model_belief *out, const model_belief *from, size_t n, kvat_error *err) {
    const kvat_status status = allocate(out, from->n_components, n, err);
    if (status != KVAT_OK) return status;
    const size_t known = from->n_weights < n ? from->n_weights : n;
    memcpy(out->v[0], from->v[0], (MODEL_METRICS + 1) * from->n_components * sizeof *from->v[0]);
    memcpy(out->drift, from->drift, sizeof out->drift);
    memcpy(out->noise, from->noise, sizeof out->noise);
    for (size_t m = 0; m < MODEL_METRICS; m++) {
        memcpy(out->weight[m], from->weight[m], known * sizeof *from->weight[m]);
        for (size_t i = known; i < n; i++) out->weight[m][i] = 1;
    }
    memcpy(out->unrest, from->unrest, known * sizeof *from->unrest);
    for (size_t i = known; i < n; i++) out->unrest[i] = 1;
    out->restless = from->restless;
    out->n_fitted = from->n_fitted;
    return KVAT_OK;
}

void kvat__model_belief_clear(model_belief *belief) {
    free(belief->v[0]);
    free(belief->weight[0]);
    *belief = (model_belief){0};
}
