// Which configurations are likely to fail: a noisy-or over knob values and pairs of values.
// Knows nothing of scores. A failure is blamed on what it has and no clean run had; only near certainty excludes, since
// false blame may cost the best.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

enum { STEPS = 15 };
static const double VALUE_PRIOR = .03, PAIR_PRIOR = .01, MOST = .98;
static const double PRIOR_WEIGHT = .5; // of a failure

// Features are numbered: values by knob, then pairs of values by pair of knobs.
typedef struct features {
    const model_space *space;
    size_t n, n_values;
    size_t *value_at; // n_knobs: where a knob's values begin
    size_t *pair_at;  // n_pairs
} features;

static kvat_status features_init(features *f, const model_space *space, kvat_error *err) {
    *f = (features){.space = space};
    f->value_at = calloc(space->n_knobs + space->n_pairs + 1, sizeof *f->value_at);
    if (!f->value_at) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the causes of failures");
    f->pair_at = f->value_at + space->n_knobs;
    for (size_t k = 0; k < space->n_knobs; k++) {
        f->value_at[k] = f->n;
        f->n += space->knobs[k].n_levels;
    }
    f->n_values = f->n;
    size_t pair = 0;
    for (size_t k = 0; k < space->n_knobs; k++) {
        for (size_t l = k + 1; l < space->n_knobs; l++) {
            f->pair_at[pair++] = f->n;
            f->n += space->knobs[k].n_levels * space->knobs[l].n_levels;
        }
    }
    return KVAT_OK;
}

// All features of a configuration, n_knobs + n_pairs of them.
static void features_of(size_t *out, const features *f, size_t config) {
    const model_space *space = f->space;
    size_t pair = 0;
    for (size_t k = 0; k < space->n_knobs; k++) {
        const size_t a = kvat__model_level(space, config, k);
        out[k] = f->value_at[k] + a;
        for (size_t l = k + 1; l < space->n_knobs; l++, pair++)
            out[space->n_knobs + pair] =
                f->pair_at[pair] + a * space->knobs[l].n_levels + kvat__model_level(space, config, l);
    }
}

static bool never_clean(const kvat__tally *tally) {
    return tally->failures > 0 && tally->clean_runs == 0;
}

static void clear_what_worked(bool *cleared, size_t *held, const features *f, const kvat__ledger *ledger) {
    const size_t m = f->space->n_knobs + f->space->n_pairs;
    for (size_t i = 0; i < f->space->n_configs; i++) {
        if (ledger->tally[i].clean_runs == 0) continue;
        features_of(held, f, i);
        for (size_t j = 0; j < m; j++) cleared[held[j]] = true;
    }
}

static double prior_of(const features *f, size_t feature) {
    return feature < f->n_values ? VALUE_PRIOR : PAIR_PRIOR;
}

// P(any of the features fails).
static double any_of(const double *theta, const size_t *held, size_t m) {
    double none = 1;
    for (size_t j = 0; j < m; j++) none *= 1 - theta[held[j]];
    return 1 - none;
}

// Expectation–maximisation: each failure shares its blame among its features.
static void share_blame(double *theta, double *blame, double *count, size_t *held, const features *f,
                        const bool *cleared, const kvat__ledger *ledger) {
    const size_t m = f->space->n_knobs + f->space->n_pairs;
    memset(blame, 0, f->n * sizeof *blame);
    memset(count, 0, f->n * sizeof *count);
    for (size_t i = 0; i < f->space->n_configs; i++) {
        if (!never_clean(&ledger->tally[i])) continue;
        features_of(held, f, i);
        const double any = fmax(any_of(theta, held, m), 1e-9);
        for (size_t j = 0; j < m; j++) {
            blame[held[j]] += theta[held[j]] / any;
            count[held[j]]++;
        }
    }
    for (size_t j = 0; j < f->n; j++) {
        const double p = (prior_of(f, j) * PRIOR_WEIGHT + blame[j]) / (PRIOR_WEIGHT + count[j]);
        theta[j] = cleared[j] ? 0 : fmin(p, MOST);
    }
}

static void predict(double *p_fail, const double *theta, size_t *held, const features *f, const kvat__ledger *ledger) {
    const size_t m = f->space->n_knobs + f->space->n_pairs;
    for (size_t i = 0; i < f->space->n_configs; i++) {
        features_of(held, f, i);
        const bool out = never_clean(&ledger->tally[i]) || !kvat__ledger_feasible(ledger, i);
        p_fail[i] = out ? 1 : ledger->tally[i].clean_runs > 0 ? 0 : any_of(theta, held, m);
    }
}

kvat_status kvat__model_failures(double *p_fail, const model_space *space, const kvat__ledger *ledger,
                                 kvat_error *err) {
    features f;
    kvat_status status = features_init(&f, space, err);
    if (status != KVAT_OK) return status;
    double *theta = calloc(f.n + 1, 3 * sizeof *theta);
    bool *cleared = calloc(f.n + 1, sizeof *cleared);
    size_t *held = calloc(space->n_knobs + space->n_pairs + 1, sizeof *held);
    if (theta && cleared && held) {
        clear_what_worked(cleared, held, &f, ledger);
        for (size_t j = 0; j < f.n; j++) theta[j] = cleared[j] ? 0 : prior_of(&f, j);
        for (size_t step = 0; step < STEPS; step++)
            share_blame(theta, theta + f.n + 1, theta + 2 * (f.n + 1), held, &f, cleared, ledger);
        predict(p_fail, theta, held, &f, ledger);
    } else
        status = kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate %zu causes of failures", f.n);
    free(theta);
    free(cleared);
    free(held);
    free(f.value_at);
    return status;
}
