// What a run would be worth: by how much the best posterior mean is expected to rise from it.
// Knows nothing of costs, nor of the order in which runs are made.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

enum { NODES = 9, CANDIDATES = 60 };
static const double VIRTUAL_RUNS = 8;   // a run is valued as this many, or the gain of one looks like none
static const double TRUSTED_BELOW = .2; // p_fail of what counts as a rival
static const double REACH = 1.5;        // candidates by mean + 1.5 sd
static const double LEAST_COST_S = 1e-9;

// Gauss–Hermite for a standard normal.
static const double NODE[NODES] = {
    -4.5127458633997826, -3.2054290028564698, -2.0768479786778302, -1.0232556637891326, 0,
    1.0232556637891326,  2.0768479786778302,  3.2054290028564698,  4.5127458633997826};
static const double WEIGHT[NODES] = {2.2345844007746607e-05, .0027891413212317692, .049916406765217823,
                                     .24409750289493953,     .40634920634920635,   .24409750289493953,
                                     .049916406765217823,    .0027891413212317692, 2.2345844007746607e-05};

typedef struct gradient {
    size_t n, n_rivals;
    const double *mean;
    const bool *may_win;
    double noise;
    double *covariance; // n × n, as it will be after what is picked
    double *shift;      // how the means of rivals move with one standard deviation of a run's outcome
    double *rival_mean;
    size_t *rival;
    model_rank *rank;
    double *cost; // of each from the nearest of where the machine stands and what is picked; 0 for none at all
} gradient;

static void gradient_clear(gradient *g) {
    free(g->covariance);
    free(g->rival);
    free(g->rank);
}

static void find_rivals(gradient *g, const model_gradient_input *in) {
    for (size_t j = 0; j < g->n; j++) {
        if (!in->may_win[j] || in->p_fail[in->posterior->list[j]] >= TRUSTED_BELOW) continue;
        g->rival_mean[g->n_rivals] = g->mean[j];
        g->rival[g->n_rivals++] = j;
    }
}

static void add_start(gradient *g, const model_gradient_input *in, size_t from) {
    for (size_t j = 0; in->costs && j < g->n; j++)
        g->cost[j] = fmin(g->cost[j], kvat__model_cost(in->costs, in->space, from, in->posterior->list[j]));
}

static kvat_status gradient_init(gradient *g, const model_gradient_input *in, kvat_error *err) {
    const size_t n = in->posterior->n;
    *g = (gradient){.n = n, .mean = in->posterior->mean, .may_win = in->may_win, .noise = in->noise};
    g->covariance = calloc(n * n + 3 * n + 1, sizeof *g->covariance);
    g->rival = calloc(n + 1, sizeof *g->rival);
    g->rank = calloc(n + 1, sizeof *g->rank);
    if (!g->covariance || !g->rival || !g->rank) {
        gradient_clear(g);
        return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate a choice among %zu", n);
    }
    g->shift = g->covariance + n * n;
    g->rival_mean = g->shift + n;
    g->cost = g->rival_mean + n;
    memcpy(g->covariance, in->posterior->covariance, n * n * sizeof *g->covariance);
    for (size_t j = 0; j < n; j++) g->cost[j] = in->costs ? INFINITY : 1;
    add_start(g, in, in->last);
    find_rivals(g, in);
    return KVAT_OK;
}

static double variance(const gradient *g, size_t j) {
    return fmax(g->covariance[j * g->n + j], 0);
}

static double highest_mean(const gradient *g) {
    double most = -INFINITY;
    for (size_t i = 0; i < g->n_rivals; i++) most = fmax(most, g->rival_mean[i]);
    return most;
}

static double best_at(const gradient *g, double x) {
    double most = -INFINITY;
    for (size_t i = 0; i < g->n_rivals; i++) {
        const double value = g->rival_mean[i] + g->shift[i] * x;
        most = value > most ? value : most;
    }
    return most;
}

// E max after a run of place j, less the max now.
static double gain_of(gradient *g, size_t j) {
    const double sd = sqrt(variance(g, j) + g->noise / VIRTUAL_RUNS);
    const double own = variance(g, j) / sd, now = highest_mean(g);
    for (size_t i = 0; i < g->n_rivals; i++) g->shift[i] = g->covariance[j * g->n + g->rival[i]] / sd;
    double expected = 0;
    for (size_t k = 0; k < NODES; k++) {
        double best = best_at(g, NODE[k]);
        if (g->may_win[j]) best = fmax(best, g->mean[j] + own * NODE[k]);
        expected += WEIGHT[k] * best;
    }
    return g->n_rivals > 0 ? expected - now : own;
}

static size_t choose(gradient *g, const model_gradient_input *in) {
    for (size_t j = 0; j < g->n; j++) g->rank[j] = (model_rank){g->mean[j] + REACH * sqrt(variance(g, j)), j};
    kvat__model_rank_sort(g->rank, g->n);
    size_t best = SIZE_MAX;
    double most = -INFINITY;
    for (size_t r = 0; r < g->n && r < CANDIDATES; r++) {
        const size_t j = g->rank[r].index;
        const double worth = gain_of(g, j) * (1 - in->p_fail[in->posterior->list[j]]) / fmax(g->cost[j], LEAST_COST_S);
        if (worth > most) {
            most = worth;
            best = j;
        }
    }
    return best;
}

// The covariance after a run of place j.
static void learn(gradient *g, size_t j) {
    const double sd = sqrt(variance(g, j) + g->noise);
    double *column = g->shift; // room for n
    for (size_t i = 0; i < g->n; i++) column[i] = g->covariance[j * g->n + i] / sd;
    for (size_t k = 0; k < g->n; k++) {
        for (size_t i = 0; i < g->n; i++) g->covariance[k * g->n + i] -= column[k] * column[i];
    }
}

kvat_status kvat__model_gradient(size_t *picks, size_t *n, size_t most, const model_gradient_input *in,
                                 kvat_error *err) {
    gradient g;
    const kvat_status status = gradient_init(&g, in, err);
    if (status != KVAT_OK) return status;
    *n = 0;
    while (*n < most) {
        const size_t best = choose(&g, in);
        if (best == SIZE_MAX) break;
        picks[(*n)++] = best;
        learn(&g, best);
        add_start(&g, in, in->posterior->list[best]);
    }
    gradient_clear(&g);
    return KVAT_OK;
}
