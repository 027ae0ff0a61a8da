// Random search, the plain grid and successive halving.
// Knows nothing of the library's search.
#include "peers.h"

#include <math.h>
#include <stdlib.h>

enum { ETA = 3 };

const char *const peer_names[PEER_COUNT] = {"random", "grid", "halving"};

typedef struct tried {
    size_t config, runs;
    double sum;
} tried;

typedef struct play_of_peer {
    world *world;
    double budget_s;
    tried *all; // one a configuration, in the order they are tried, the default first
    size_t n_tried, trials;
} play_of_peer;

static bool time_left(const play_of_peer *p) {
    return p->world->now_s < p->budget_s;
}

// A failure counts as the worst there is.
static void run(play_of_peer *p, size_t i, world_run (*measure)(world *, size_t)) {
    const world_run run = measure(p->world, p->all[i].config);
    p->all[i].sum += run.fate == KVAT_FATE_OK ? run.score : WORLD_FAILED_SCORE;
    p->all[i].runs++;
    p->trials++;
    if (i >= p->n_tried) p->n_tried = i + 1;
}

static double mean_of(const tried *t) {
    return t->runs > 0 ? t->sum / (double)t->runs : -INFINITY;
}

static int by_mean(const void *a, const void *b) {
    const double x = mean_of(a), y = mean_of(b);
    return (x < y) - (x > y);
}

static void play_random(play_of_peer *p) {
    for (size_t i = 0; time_left(p); i++) run(p, i % p->world->n_configs, world_measure);
}

static void play_grid(play_of_peer *p) {
    for (size_t i = 0; i < p->world->n_configs && time_left(p); i++) run(p, i, world_measure_row);
}

// Until no more than ETA are left.
static size_t rungs_of(size_t n) {
    size_t rungs = 1;
    for (; n > ETA; n = (n + ETA - 1) / ETA) rungs++;
    return rungs;
}

// So many at first that every rung has as much time as the first takes.
static size_t first_rung(const play_of_peer *p) {
    const double runs = p->budget_s / p->world->now_s; // of the default's cost
    size_t n = 1;
    while (n < p->world->n_configs && (double)((n + 1) * rungs_of(n + 1)) <= runs) n++;
    return n;
}

static void play_halving(play_of_peer *p) {
    run(p, 0, world_measure);
    size_t left = first_rung(p);
    for (size_t rungs = rungs_of(left); rungs > 0; rungs--) {
        const double until = p->world->now_s + (p->budget_s - p->world->now_s) / (double)rungs;
        do {
            for (size_t i = 0; i < left && time_left(p); i++) run(p, i, world_measure);
        } while (p->world->now_s < until);
        qsort(p->all, p->n_tried, sizeof *p->all, by_mean);
        left = (left + ETA - 1) / ETA;
    }
}

static bool fill_order(play_of_peer *p, bool shuffled, uint64_t seed) {
    const size_t n = p->world->n_configs;
    size_t *order = calloc(n, sizeof *order);
    p->all = calloc(n, sizeof *p->all);
    if (order && p->all) {
        kvat_rng rng;
        kvat_rng_seed3(&rng, seed, n, 99);
        for (size_t i = 0; i < n; i++) order[i] = i;
        if (shuffled) kvat_rng_shuffle(&rng, order + 1, n - 1);
        for (size_t i = 0; i < n; i++) p->all[i].config = order[i];
    }
    free(order);
    return order && p->all;
}

bool peer_play(outcome *o, world *w, peer which, double budget_s, uint64_t seed) {
    play_of_peer p = {.world = w, .budget_s = budget_s};
    *o = (outcome){.claim = NAN, .claim_low = NAN, .claim_high = NAN};
    const bool ok = fill_order(&p, which != PEER_GRID, seed);
    if (ok) {
        if (which == PEER_RANDOM) play_random(&p);
        if (which == PEER_GRID) play_grid(&p);
        if (which == PEER_HALVING) play_halving(&p);
        size_t best = 0;
        for (size_t i = 0; i < p.n_tried; i++) {
            if (mean_of(&p.all[i]) > mean_of(&p.all[best])) best = i;
        }
        o->trials = (double)p.trials;
        outcome_judge(o, w, p.all[best].config);
    }
    free(p.all);
    return ok;
}
