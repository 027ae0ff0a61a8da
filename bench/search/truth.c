// What is true of made-up machines: main effects, interactions, cliffs, failures, drawn from a seed.
// Must not know of time, noise or searches.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

/* ---- spaces ---- */

enum { MOST_KNOBS = 7, SWEEP = 10000 };

typedef enum knob_kind { KV, FA, UB, BATCH, TH, TB, LOAD, KINDS } knob_kind;

// How likely a knob matters to each metric, and the default's level.
static const struct {
    double ttft, decode;
    bool ordinal;
    unsigned scope;
    uint16_t usual;
} KIND[KINDS] = {
    [KV] = {.8, .8, false, 1, 0},     [FA] = {.9, .8, false, 1, 0}, [UB] = {.8, .1, true, 1, 1},
    [BATCH] = {.4, .1, true, 1, 1},   [TH] = {.1, .95, true, 0, 1}, [TB] = {.9, .1, true, 0, 1},
    [LOAD] = {.15, .25, false, 2, 0},
};

typedef struct space {
    size_t size, n_knobs;
    knob_kind kind[MOST_KNOBS];
    uint16_t n_levels[MOST_KNOBS];
} space;

static const space SPACES[] = {
    {24, 3, {KV, FA, UB}, {4, 2, 3}},
    {480, 5, {KV, FA, UB, TH, TB}, {5, 2, 3, 4, 4}},
    {1440, 6, {KV, FA, UB, BATCH, TH, TB}, {5, 2, 3, 3, 4, 4}},
    {4800, 7, {KV, FA, UB, BATCH, TH, TB, LOAD}, {5, 2, 5, 3, 4, 4, 2}},
};

static const space *find_space(size_t size) {
    for (size_t i = 0; i < sizeof SPACES / sizeof *SPACES; i++) {
        if (SPACES[i].size == size) return &SPACES[i];
    }
    return NULL;
}

static size_t knob_of(const space *s, knob_kind kind) {
    size_t k = 0;
    while (k < s->n_knobs && s->kind[k] != kind) k++;
    return k;
}

static double scaled(kvat_rng *rng, double sd) {
    return sd * kvat_rng_normal(rng);
}

/* ---- 24 configurations ---- */

static void draw_effects(double *effect, size_t n, double sd, kvat_rng *rng) {
    effect[0] = 0;
    for (size_t i = 1; i < n; i++) effect[i] = scaled(rng, sd);
}

static void draw_small(world *w, bool hard, kvat_rng *rng) {
    static const double memory[] = {0, -.05, -.09, -.09};
    const double pair_sd = hard ? .08 : .04, own_sd = hard ? .03 : .01;
    double ct[4], cd[4], ft[2], fd[2], ut[3], ud[3];
    const bool inert = world__chance(rng, .35); // the third knob does nothing at all
    draw_effects(ct, 4, .08, rng);
    draw_effects(cd, 4, .08, rng);
    draw_effects(ft, 2, .15, rng);
    draw_effects(fd, 2, .10, rng);
    draw_effects(ut, 3, inert ? 0 : .12, rng);
    draw_effects(ud, 3, inert ? 0 : .02, rng);
    double it = 0, id = 0; // of a cache with an attention
    for (size_t k = 0; k < w->n_configs; k++) {
        const size_t c = world__level(w, k, 0), f = world__level(w, k, 1), u = world__level(w, k, 2);
        if (u == 0) {
            it = c || f ? scaled(rng, pair_sd) : 0;
            id = c || f ? scaled(rng, pair_sd) : 0;
            if (c > 0 && f == 0 && world__chance(rng, .5)) { // a quantised cache without the kernel for it
                it += .6;
                id -= .5;
            }
        }
        const double own = inert || k == 0 ? 0 : own_sd;
        w->ln_ttft[k] = ct[c] + ft[f] + ut[u] + it + scaled(rng, own);
        w->ln_decode[k] = cd[c] + fd[f] + ud[u] + id + scaled(rng, own);
        w->ln_memory[k] = memory[c];
    }
}

/* ---- larger ones ---- */

static void draw_main(double *effect, size_t n, bool ordinal, double sd, kvat_rng *rng) {
    const double slope = kvat_rng_normal(rng), bend = .8 * fabs(kvat_rng_normal(rng)),
                 peak = world__between(rng, -.8, .8);
    for (size_t i = 0; i < n; i++) {
        const double u = -1 + 2 * (double)i / (double)(n - 1);
        effect[i] =
            ordinal ? sd * (slope * u - bend * (u - peak) * (u - peak)) + scaled(rng, .15 * sd) : scaled(rng, sd);
    }
}

static void add_pair(double *y, const world *w, size_t a, size_t b, double sd, kvat_rng *rng) {
    double effect[64];
    const size_t nb = w->knobs[b].n_levels;
    for (size_t i = 0; i < w->knobs[a].n_levels * nb; i++) effect[i] = scaled(rng, sd);
    for (size_t k = 0; k < w->n_configs; k++) y[k] += effect[world__level(w, k, a) * nb + world__level(w, k, b)];
}

typedef struct metric {
    double *y;
    bool ttft, hard;
} metric;

// Main effects of those knobs that matter, interactions of these, and what no additive model can know.
static void draw_metric(metric m, const world *w, const space *s, kvat_rng *rng) {
    size_t active[MOST_KNOBS], n_active = 0;
    double effect[16];
    for (size_t i = 0; i < s->n_knobs; i++) {
        if (!world__chance(rng, m.ttft ? KIND[s->kind[i]].ttft : KIND[s->kind[i]].decode)) continue;
        active[n_active++] = i;
        draw_main(effect, s->n_levels[i], KIND[s->kind[i]].ordinal, exp(world__between(rng, log(.03), log(.2))), rng);
        for (size_t k = 0; k < w->n_configs; k++) m.y[k] += effect[world__level(w, k, i)];
    }
    for (size_t i = 0; i < n_active; i++) {
        for (size_t j = i + 1; j < n_active; j++) {
            if (world__chance(rng, m.hard ? .7 : .35))
                add_pair(m.y, w, active[i], active[j], world__between(rng, .01, .05) * (m.hard ? 2 : 1), rng);
        }
    }
    for (size_t k = 0; k < w->n_configs; k++) m.y[k] += scaled(rng, m.hard ? .02 : .007);
}

static void draw_memory(double *memory, const world *w, const space *s) {
    static const double cache[] = {1, .55, .55, .35, .3};
    const size_t load = knob_of(s, LOAD);
    for (size_t k = 0; k < w->n_configs; k++) {
        memory[k] = 4 + 1.5 * cache[world__level(w, k, knob_of(s, KV))] + .25 * world__level(w, k, knob_of(s, UB));
        if (load < s->n_knobs) memory[k] += .3 * world__level(w, k, load);
    }
}

static void draw_slow(double *slow, const world *w, const space *s, kvat_rng *rng) {
    const size_t kv = knob_of(s, KV), fa = knob_of(s, FA), th = knob_of(s, TH), ub = knob_of(s, UB),
                 tb = knob_of(s, TB);
    const bool no_kernel = world__chance(rng, .7), oversubscribed = world__chance(rng, .3),
               starved = world__chance(rng, .3);
    for (size_t k = 0; k < w->n_configs; k++) {
        if (no_kernel && world__level(w, k, kv) > 0 && world__level(w, k, fa) == 0) slow[k] = 3.2;
        if (oversubscribed && world__level(w, k, th) == 3) slow[k] += 1.4;
        if (starved && world__level(w, k, ub) == s->n_levels[ub] - 1 && world__level(w, k, tb) == 0) slow[k] += 1.6;
    }
    slow[0] = 0;
}

static void fail(world *w, size_t config, world_failure how) {
    if (config == 0) return; // the default works, except where nothing does
    w->fails[config] = 1;
    w->failure[config] = how;
}

static void draw_failures(world *w, const space *s, const double *memory, kvat_rng *rng) {
    const size_t kv = knob_of(s, KV), fa = knob_of(s, FA);
    const bool unsupported = world__chance(rng, .5), too_large = world__chance(rng, .4);
    const size_t which = 1 + (size_t)kvat_rng_below(rng, 4);
    const double limit = kvat_quantile(memory, w->n_configs, world__between(rng, .75, .95));
    for (size_t k = 0; k < w->n_configs; k++) {
        if (unsupported && world__level(w, k, kv) == which && world__level(w, k, fa) == 1) fail(w, k, FAIL_UNSUPPORTED);
        if (too_large && memory[k] > limit) fail(w, k, FAIL_MEMORY);
    }
}

static bool draw_large(world *w, const space *s, bool hard, kvat_rng *rng) {
    double *memory = calloc(w->n_configs, 2 * sizeof *memory);
    if (!memory) return false;
    double *slow = memory + w->n_configs;
    draw_metric((metric){w->ln_ttft, true, hard}, w, s, rng);
    draw_metric((metric){w->ln_decode, false, hard}, w, s, rng);
    draw_memory(memory, w, s);
    draw_slow(slow, w, s, rng);
    draw_failures(w, s, memory, rng);
    const double ttft = w->ln_ttft[0], decode = w->ln_decode[0];
    for (size_t k = 0; k < w->n_configs; k++) {
        w->ln_ttft[k] += slow[k] - ttft;
        w->ln_decode[k] -= slow[k] + decode;
        w->ln_memory[k] = log(memory[k] / memory[0]);
    }
    free(memory);
    return true;
}

/* ---- kinds ---- */

// One or two knobs that have to have certain levels, not all of them the default's.
typedef struct region {
    size_t knob[2];
    uint16_t level[2];
} region;

static region draw_region(const world *w, kvat_rng *rng) {
    region r;
    r.knob[0] = (size_t)kvat_rng_below(rng, w->n_knobs);
    r.knob[1] = (size_t)kvat_rng_below(rng, w->n_knobs);
    r.level[0] = (uint16_t)kvat_rng_below(rng, w->knobs[r.knob[0]].n_levels - 1);
    if (r.level[0] >= world__level(w, 0, r.knob[0])) r.level[0]++;
    r.level[1] = r.knob[0] == r.knob[1] ? r.level[0] : (uint16_t)kvat_rng_below(rng, w->knobs[r.knob[1]].n_levels);
    return r;
}

static bool inside(const region *r, const world *w, size_t config) {
    return world__level(w, config, r->knob[0]) == r->level[0] && world__level(w, config, r->knob[1]) == r->level[1];
}

static void add_cliffs(world *w, kvat_rng *rng) {
    for (size_t n = 2 + (size_t)kvat_rng_below(rng, 3); n > 0; n--) {
        const region r = draw_region(w, rng);
        const double slow = world__between(rng, 1, 3.2); // up to 25 times
        for (size_t k = 0; k < w->n_configs; k++) {
            if (!inside(&r, w, k)) continue;
            w->ln_ttft[k] += slow;
            w->ln_decode[k] -= slow;
        }
    }
}

// Half of these machines forecast their memory.
static void add_infeasible(world *w, kvat_rng *rng) {
    for (size_t k = 0; w->flat && k < w->n_configs; k++) w->ln_memory[k] += .04 * world__level(w, k, 2);
    for (size_t n = 2 + (size_t)kvat_rng_below(rng, 3); n > 0; n--) {
        const region r = draw_region(w, rng);
        const world_failure how = world__chance(rng, .7) ? FAIL_UNSUPPORTED : FAIL_CRASH;
        for (size_t k = 0; k < w->n_configs; k++) {
            if (inside(&r, w, k)) fail(w, k, how);
        }
    }
    const double limit = fmax(kvat_quantile(w->ln_memory, w->n_configs, world__between(rng, .5, .9)), w->ln_memory[0]);
    const bool forecast = world__chance(rng, .5);
    for (size_t k = 0; k < w->n_configs; k++) {
        if (w->ln_memory[k] > limit + 1e-9) fail(w, k, FAIL_MEMORY);
        if (forecast) w->configs[k].forecast_bytes = (int64_t)(6e9 * exp(w->ln_memory[k]));
    }
}

static void break_all(world *w, kvat_rng *rng) {
    const world_failure how = world__chance(rng, .5) ? FAIL_UNSUPPORTED : FAIL_CRASH;
    for (size_t k = 0; k < w->n_configs; k++) {
        w->fails[k] = 1;
        w->failure[k] = how;
    }
}

static void copy_truth(world *w, size_t to, size_t from) {
    w->ln_ttft[to] = w->ln_ttft[from];
    w->ln_decode[to] = w->ln_decode[from];
    w->ln_decode_short[to] = w->ln_decode_short[from];
    w->ln_memory[to] = w->ln_memory[from];
    w->fails[to] = w->fails[from];
    w->failure[to] = w->failure[from];
}

static size_t combination(const world *w, const uint16_t *levels) {
    size_t k = 0;
    for (size_t i = 0; i < w->n_knobs; i++) k = k * w->knobs[i].n_levels + levels[i];
    return k;
}

// As world__fill_levels() laid them out.
static size_t place_of(const world *w, const uint16_t *levels) {
    const size_t k = combination(w, levels), usual = combination(w, w->levels);
    return k == usual ? 0 : k == 0 ? usual : k;
}

// Each configuration is as its twin with `same` knobs at the level `of` has there.
static void make_twins(world *w, const bool *same, size_t of) {
    uint16_t levels[MOST_KNOBS];
    for (size_t k = 0; k < w->n_configs; k++) {
        for (size_t i = 0; i < w->n_knobs; i++) levels[i] = world__level(w, same[i] ? of : k, i);
        const size_t twin = place_of(w, levels);
        if (twin != k) copy_truth(w, k, twin);
    }
}

static void make_inert(world *w, kvat_rng *rng) {
    bool inert[MOST_KNOBS] = {0};
    size_t n = 0;
    while (n == 0 || n == w->n_knobs) {
        n = 0;
        for (size_t i = 0; i < w->n_knobs; i++) n += inert[i] = world__chance(rng, .5);
    }
    make_twins(w, inert, 0);
}

// Whatever differs from the best in one or two knobs alone is as good, but for the default.
static void make_ties(world *w, kvat_rng *rng) {
    world__fill_scores(w);
    const size_t best = w->best, a = (size_t)kvat_rng_below(rng, w->n_knobs),
                 b = (size_t)kvat_rng_below(rng, w->n_knobs);
    for (size_t k = 0; k < w->n_configs; k++) {
        bool twin = true;
        for (size_t i = 0; i < w->n_knobs; i++)
            twin = twin && (i == a || i == b || world__level(w, k, i) == world__level(w, best, i));
        if (twin && k != best && k != 0) copy_truth(w, k, best);
    }
    w->best = 0;
    w->works = false;
}

static void draw_kind(world *w, world_kind kind, kvat_rng *rng) {
    if (kind == WORLD_CLIFFS) add_cliffs(w, rng);
    if (kind == WORLD_INFEASIBLE) add_infeasible(w, rng);
    if (kind == WORLD_BROKEN) break_all(w, rng);
    if (kind == WORLD_INERT) make_inert(w, rng);
    if (kind == WORLD_TIES) make_ties(w, rng);
}

static void finish(world *w, size_t size, world_kind kind, uint64_t seed, kvat_rng *rng) {
    for (size_t k = 0; k < w->n_configs; k++) w->ln_decode_short[k] = w->ln_decode[k] + .004 + scaled(rng, .003);
    kvat_rng_seed3(rng, seed, size, 1 + (uint64_t)kind);
    draw_kind(w, kind, rng);
    world__fill_scores(w);
}

static bool draw(world *w, const space *s, world_kind kind, uint64_t seed) {
    const bool hard = kind == WORLD_HARD;
    kvat_rng rng;
    kvat_rng_seed3(&rng, seed, s->size, 0);
    if (w->flat)
        draw_small(w, hard, &rng);
    else if (!draw_large(w, s, hard, &rng))
        return false;
    finish(w, s->size, kind, seed, &rng);
    return true;
}

// Twins are looked up in the grid of all combinations, which a sample is not.
static bool init_sweep(world *w, world_kind kind, uint64_t seed) {
    kvat_rng rng;
    if (kind == WORLD_INERT || kind == WORLD_TIES) return false;
    kvat_rng_seed3(&rng, seed, SWEEP, 0);
    if (!world__sweep(w, SWEEP, kind == WORLD_HARD, &rng)) return false;
    finish(w, SWEEP, kind, seed, &rng);
    return true;
}

bool world_init(world *w, size_t size, world_kind kind, uint64_t seed) {
    static const double start_s[WORLD_SCOPES] = {0, .2, 1.5, 1.5};
    const space *s = find_space(size);
    uint16_t usual[MOST_KNOBS];
    *w = (world){.flat = size == 24, .ttft_s = 1, .decode_tok_per_s = 40};
    memcpy(w->start_s, start_s, sizeof start_s);
    if (size == SWEEP) return init_sweep(w, kind, seed);
    if (!s) return false;
    bool ok = world__allocate(w, size, s->n_knobs);
    for (size_t i = 0; ok && i < s->n_knobs; i++) {
        w->knobs[i] = (kvat_search_knob){s->n_levels[i], KIND[s->kind[i]].ordinal, KIND[s->kind[i]].scope};
        usual[i] = w->flat ? 0 : KIND[s->kind[i]].usual;
    }
    if (ok) {
        world__fill_levels(w, usual);
        world__fill_configs(w);
        ok = draw(w, s, kind, seed);
    }
    if (!ok) world_clear(w);
    return ok;
}
