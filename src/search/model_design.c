// The first design: the runs from which the variances can be learned, then a look at every level.
// Knows nothing of scores.
#include <math.h>
#include <stdlib.h>

#include "model.h"

enum { CANDIDATES = 400, CANDIDATE_STREAM = 0x64657367 };
static const double NUGGET = 1e-4;

typedef struct design {
    const model_space *space;
    double *v;     // prior variance of the score, by component
    size_t n_runs; // distinct configurations that ran clean
    size_t *run;
    size_t n_candidates;
    size_t *candidate;
    double *factor;   // n_runs × n_runs
    double *solved;   // n_runs × n_candidates: L⁻¹ × covariance with the runs
    double *variance; // of each candidate, given runs and picks
    double *learned;  // n_candidates a pick: covariance with it over its standard deviation
    size_t n_picked;
} design;

static double covariance(const design *d, size_t a, size_t b) {
    double out;
    const double *const v = d->v;
    kvat__model_covariance(&out, d->space, &v, 1, a, b);
    return out;
}

static void design_clear(design *d) {
    free(d->v);
    free(d->run);
    free(d->candidate);
    free(d->factor);
    free(d->solved);
    free(d->variance);
}

static bool untried(const kvat__ledger *ledger, size_t config) {
    return ledger->tally[config].clean_runs == 0 && ledger->tally[config].failures == 0 &&
           kvat__ledger_feasible(ledger, config);
}

// Distinct configurations that ran clean, and at most CANDIDATES untried ones in random order.
static void choose_sites(design *d, const kvat__ledger *ledger) {
    for (size_t i = 0; i < d->space->n_configs; i++) {
        if (ledger->tally[i].clean_runs > 0)
            d->run[d->n_runs++] = i;
        else if (untried(ledger, i))
            d->candidate[d->n_candidates++] = i;
    }
    kvat_rng rng;
    kvat_rng_seed3(&rng, ledger->options.seed, ledger->n_told, CANDIDATE_STREAM);
    kvat_rng_shuffle(&rng, d->candidate, d->n_candidates);
    if (d->n_candidates > CANDIDATES) d->n_candidates = CANDIDATES;
}

static kvat_status design_init(design *d, size_t most, const model_space *space, const model_belief *belief,
                               const kvat__ledger *ledger, kvat_error *err) {
    *d = (design){.space = space};
    d->v = calloc(space->n_components, sizeof *d->v);
    d->run = calloc(space->n_configs, sizeof *d->run);
    d->candidate = calloc(space->n_configs, sizeof *d->candidate);
    if (!d->v || !d->run || !d->candidate) goto no_memory;
    for (size_t k = 0; k < space->n_components; k++) d->v[k] = belief->v[0][k] + belief->v[1][k];
    choose_sites(d, ledger);
    d->factor = calloc(d->n_runs * d->n_runs + 1, sizeof *d->factor);
    d->solved = calloc(d->n_runs * d->n_candidates + 1, sizeof *d->solved);
    d->variance = calloc(d->n_candidates + 1, (1 + most) * sizeof *d->variance);
    if (!d->factor || !d->solved || !d->variance) goto no_memory;
    d->learned = d->variance + d->n_candidates;
    return KVAT_OK;
no_memory:
    design_clear(d);
    return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the first design");
}

static bool condition(design *d) {
    const size_t n = d->n_runs;
    for (size_t j = 0; j < n; j++) {
        for (size_t i = j; i < n; i++)
            d->factor[j * n + i] = covariance(d, d->run[i], d->run[j]) + (i == j ? NUGGET : 0);
    }
    if (!kvat__factor(d->factor, n)) return false;
    for (size_t c = 0; c < d->n_candidates; c++) {
        for (size_t i = 0; i < n; i++) d->solved[c * n + i] = covariance(d, d->run[i], d->candidate[c]);
    }
    kvat__solve_lower(d->factor, n, d->solved, d->n_candidates);
    for (size_t c = 0; c < d->n_candidates; c++) {
        d->variance[c] = covariance(d, d->candidate[c], d->candidate[c]);
        for (size_t i = 0; i < n; i++) d->variance[c] -= d->solved[c * n + i] * d->solved[c * n + i];
    }
    return true;
}

static size_t most_uncertain(const design *d, const double *p_fail) {
    size_t best = SIZE_MAX;
    double most = 0;
    for (size_t c = 0; c < d->n_candidates; c++) {
        const double worth = d->variance[c] * (1 - p_fail[d->candidate[c]]);
        if (worth > most) {
            most = worth;
            best = c;
        }
    }
    return best;
}

// What a run of candidate `pick` would tell of the others.
static void learn_of(design *d, size_t pick) {
    const size_t n = d->n_runs;
    double *learned = d->learned + d->n_picked * d->n_candidates;
    const double sd = sqrt(d->variance[pick] + NUGGET);
    for (size_t c = 0; c < d->n_candidates; c++) {
        double shared = covariance(d, d->candidate[c], d->candidate[pick]);
        for (size_t i = 0; i < n; i++) shared -= d->solved[c * n + i] * d->solved[pick * n + i];
        for (size_t q = 0; q < d->n_picked; q++)
            shared -= d->learned[q * d->n_candidates + c] * d->learned[q * d->n_candidates + pick];
        learned[c] = shared / sd;
    }
    for (size_t c = 0; c < d->n_candidates; c++) d->variance[c] -= learned[c] * learned[c];
    d->variance[pick] = 0;
    d->n_picked++;
}

kvat_status kvat__model_design(size_t *picks, size_t *n, size_t most, const model_space *space,
                               const model_belief *belief, const kvat__ledger *ledger, const double *p_fail,
                               kvat_error *err) {
    design d;
    kvat_status status = design_init(&d, most, space, belief, ledger, err);
    if (status != KVAT_OK) return status;
    if (!condition(&d)) status = kvat_fail(err, KVAT_ERR_DATA, "the first design has no covariance");
    *n = 0;
    while (status == KVAT_OK && *n < most) {
        const size_t best = most_uncertain(&d, p_fail);
        if (best == SIZE_MAX) break;
        picks[(*n)++] = d.candidate[best];
        learn_of(&d, best);
    }
    design_clear(&d);
    return status;
}

/* ---- levels not seen yet ---- */

static bool level_seen(const model_space *space, const kvat__ledger *ledger, size_t knob, size_t level) {
    for (size_t i = 0; i < space->n_configs; i++) {
        if (ledger->tally[i].clean_runs > 0 && kvat__model_level(space, i, knob) == level) return true;
    }
    return false;
}

static size_t changes(const model_space *space, size_t config) {
    size_t count = 0;
    for (size_t k = 0; k < space->n_knobs; k++)
        count += kvat__model_level(space, config, k) != kvat__model_level(space, 0, k);
    return count;
}

// Closest to the default with that level: SIZE_MAX when that one was tried already, and failed.
static size_t closest_with(const model_space *space, const kvat__ledger *ledger, size_t knob, size_t level) {
    size_t best = SIZE_MAX, least = SIZE_MAX;
    for (size_t i = 0; i < space->n_configs; i++) {
        if (kvat__model_level(space, i, knob) != level) continue;
        const size_t apart = changes(space, i);
        if (apart < least) {
            least = apart;
            best = i;
        }
    }
    return best != SIZE_MAX && untried(ledger, best) ? best : SIZE_MAX;
}

size_t kvat__model_unseen_level(size_t *cursor, const model_space *space, const kvat__ledger *ledger) {
    size_t at = 0;
    for (size_t k = 0; k < space->n_knobs; k++) {
        for (size_t level = 0; level < space->knobs[k].n_levels; level++, at++) {
            if (at < *cursor) continue;
            *cursor = at + 1;
            const size_t found = level_seen(space, ledger, k, level) ? SIZE_MAX : closest_with(space, ledger, k, level);
            if (found != SIZE_MAX) return found;
        }
    }
    return SIZE_MAX;
}
