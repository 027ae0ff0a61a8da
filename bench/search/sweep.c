// Machines on which everything an engine has is tried: a dozen knobs, hundreds of thousands of combinations, of which a
// sample is drawn as kvat draws it.
// Must not know of time, noise or searches. What sets these worlds apart from truth.c's: the default was chosen by
// people who knew the engine, so most changes of a knob that matters are for the worse.
#include <math.h>
#include <string.h>

#include "world.h"

enum { KNOBS = 12 };

// How likely a knob matters to each metric, and the default's level. Shaped after llama.cpp on a CPU of four cores.
static const struct {
    uint16_t n_levels, usual;
    bool ordinal;
    unsigned scope;
    double ttft, decode, memory; // the last: of a level more
} KNOB[KNOBS] = {
    {2, 0, false, 1, .7, .9, .004}, // attention kernel
    {2, 0, false, 1, .3, .4, .012}, // type of K
    {2, 0, false, 1, .3, .4, .012}, // type of V
    {3, 2, true, 0, .1, 1, 0},      // threads
    {3, 2, true, 0, 1, .1, 0},      // threads of a batch
    {4, 3, true, 1, .4, .1, .008},  // batch
    {7, 5, true, 1, .9, .2, .005},  // part of a batch
    {2, 0, false, 1, .2, .2, .003}, // one cache for all
    {4, 0, false, 2, .1, .2, .003}, // how weights are loaded
    {2, 0, false, 2, .5, .5, 0},    // weights repacked
    {5, 1, true, 3, .1, .1, 0},     // priority
    {6, 4, true, 3, .5, .5, 0},     // spinning of threads
};

/* ---- configurations ---- */

static bool known(const world *w, size_t n, const uint16_t *levels) {
    for (size_t k = 0; k < n; k++) {
        if (memcmp(w->levels + k * KNOBS, levels, KNOBS * sizeof *levels) == 0) return true;
    }
    return false;
}

static void set_other(uint16_t *levels, size_t knob, size_t which) {
    levels[knob] = (uint16_t)(which < KNOB[knob].usual ? which : which + 1);
}

static void draw_levels(uint16_t *levels, kvat_rng *rng) {
    size_t order[KNOBS];
    for (size_t i = 0; i < KNOBS; i++) {
        order[i] = i;
        levels[i] = KNOB[i].usual;
    }
    kvat_rng_shuffle(rng, order, KNOBS);
    const size_t changes = 1 + (size_t)kvat_rng_below(rng, KNOBS);
    for (size_t i = 0; i < changes; i++)
        set_other(levels, order[i], (size_t)kvat_rng_below(rng, KNOB[order[i]].n_levels - 1));
}

static void add(world *w, size_t *n, const uint16_t *levels) {
    memcpy(w->levels + KNOBS * (*n)++, levels, KNOBS * sizeof *levels);
}

static void add_changes_of_two(world *w, size_t *n, uint16_t *levels, size_t first) {
    for (size_t second = first + 1; second < KNOBS; second++) {
        for (size_t other = 0; other + 1 < KNOB[second].n_levels; other++) {
            set_other(levels, second, other);
            add(w, n, levels);
        }
        levels[second] = KNOB[second].usual;
    }
}

// The default, every change of one knob and of two, then at random: the number of changes, the knobs, their levels.
static void fill_levels(world *w, kvat_rng *rng) {
    uint16_t levels[KNOBS];
    size_t n = 0;
    for (size_t i = 0; i < KNOBS; i++) levels[i] = KNOB[i].usual;
    add(w, &n, levels);
    for (size_t i = 0; i < KNOBS; i++) {
        for (size_t other = 0; other + 1 < KNOB[i].n_levels; other++) {
            set_other(levels, i, other);
            add(w, &n, levels);
            add_changes_of_two(w, &n, levels, i);
        }
        levels[i] = KNOB[i].usual;
    }
    while (n < w->n_configs) {
        draw_levels(levels, rng);
        if (!known(w, n, levels)) add(w, &n, levels);
    }
}

/* ---- the truth ---- */

// Of each level of a knob, 0 of the default's.
static void draw_main(double *effect, size_t knob, double sd, kvat_rng *rng) {
    const size_t n = KNOB[knob].n_levels;
    const double at = (double)KNOB[knob].usual / (double)(n - 1);
    const double slope = .3 * sd * kvat_rng_normal(rng), bend = 2 * sd * fabs(kvat_rng_normal(rng));
    for (size_t i = 0; i < n; i++) {
        const double u = (double)i / (double)(n - 1) - at;
        const double other = world__chance(rng, .75) ? -fabs(kvat_rng_normal(rng)) : .6 * fabs(kvat_rng_normal(rng));
        effect[i] =
            KNOB[knob].ordinal && n > 2 ? slope * u - bend * u * u + .1 * sd * kvat_rng_normal(rng) : sd * other;
    }
    effect[KNOB[knob].usual] = 0;
}

static void add_pair(double *y, const world *w, size_t a, size_t b, double sd, kvat_rng *rng) {
    double effect[8][8];
    for (size_t i = 0; i < 8; i++) {
        for (size_t j = 0; j < 8; j++) effect[i][j] = sd * kvat_rng_normal(rng);
    }
    for (size_t k = 0; k < w->n_configs; k++) y[k] += effect[world__level(w, k, a)][world__level(w, k, b)];
}

static void draw_metric(double *y, const world *w, bool ttft, bool hard, kvat_rng *rng) {
    const double sign = ttft ? -1 : 1; // less of TTFT is better
    size_t active[KNOBS], n_active = 0;
    for (size_t i = 0; i < KNOBS; i++) {
        double effect[8];
        if (!world__chance(rng, ttft ? KNOB[i].ttft : KNOB[i].decode)) continue;
        active[n_active++] = i;
        draw_main(effect, i, exp(world__between(rng, log(.02), log(.25))), rng);
        for (size_t k = 0; k < w->n_configs; k++) y[k] += sign * effect[world__level(w, k, i)];
    }
    for (size_t i = 0; i < n_active; i++) {
        for (size_t j = i + 1; j < n_active; j++) {
            if (world__chance(rng, hard ? .5 : .2))
                add_pair(y, w, active[i], active[j], world__between(rng, .01, .04) * (hard ? 2 : 1), rng);
        }
    }
    for (size_t k = 0; k < w->n_configs; k++) y[k] += (hard ? .02 : .005) * kvat_rng_normal(rng);
    const double usual = y[0];
    for (size_t k = 0; k < w->n_configs; k++) y[k] -= usual;
}

static void draw_memory(const world *w) {
    for (size_t k = 0; k < w->n_configs; k++) {
        for (size_t i = 0; i < KNOBS; i++)
            w->ln_memory[k] += KNOB[i].memory * ((double)world__level(w, k, i) - (double)KNOB[i].usual);
    }
}

bool world__sweep(world *w, size_t n_configs, bool hard, kvat_rng *rng) {
    if (!world__allocate(w, n_configs, KNOBS)) return false;
    for (size_t i = 0; i < KNOBS; i++)
        w->knobs[i] = (kvat_search_knob){KNOB[i].n_levels, KNOB[i].ordinal, KNOB[i].scope};
    fill_levels(w, rng);
    world__fill_configs(w);
    draw_metric(w->ln_ttft, w, true, hard, rng);
    draw_metric(w->ln_decode, w, false, hard, rng);
    draw_memory(w);
    return true;
}
