// Searches the worlds of a cell.
// Knows neither what figures are made of the outcomes nor how they are shown.
#include "cell.h"

#include <stdio.h>
#include <string.h>

#include "play.h"

enum { WORLDS_A_SEED = 100000, RUNS_A_WORLD = 4 };

static uint64_t seed_of(const cell_options *options, size_t index) {
    return WORLDS_A_SEED * options->seed + index;
}

bool cell_world(world *w, const cell_options *options, size_t index) {
    const uint64_t seed = seed_of(options, index);
    if (options->surface) return world_read(w, options->surface, seed);
    return world_init(w, options->space, options->kind, seed);
}

bool cell_start(world *w, const cell_options *options, const noise_trace *trace, size_t index, uint64_t repeat) {
    return world_start(w, options->noise, trace, seed_of(options, index), repeat);
}

bool cell_trace(noise_trace *trace, const cell_options *options) {
    const char *path = options->trace ? options->trace : KVAT_BENCH_TRACE;
    *trace = (noise_trace){0};
    if (options->noise != ENV_TRACE || noise_trace_read(trace, path)) return true;
    fprintf(stderr, "no trace of noise in %s\n", path);
    return false;
}

static double delta_of(const cell_options *options, const world *w) {
    return options->delta > 0 ? options->delta : w->n_configs <= 24 ? .01 : .02;
}

static play_options how(const world *w, const cell_options *options, size_t index, uint64_t repeat) {
    return (play_options){.method = options->method,
                          .seed = RUNS_A_WORLD * index + repeat,
                          .delta = delta_of(options, w),
                          .most_trials = options->trials,
                          .confirm = options->confirm};
}

bool cell_play(outcome *o, world *w, const cell_options *options, size_t index, uint64_t repeat) {
    const play_options po = how(w, options, index, repeat);
    return play(o, w, &po);
}

static bool play_peers(cell *c, world *w, const noise_trace *trace, size_t index, uint64_t repeat, double cost_s) {
    const cell_options *options = &c->options;
    bool ok = true;
    for (size_t p = 0; p < PEER_COUNT; p++) {
        for (size_t t = 0; ok && options->peers[p] && t < options->n_times; t++) {
            outcome o;
            ok = cell_start(w, options, trace, index, repeat) &&
                 peer_play(&o, w, (peer)p, options->times[t] * cost_s, RUNS_A_WORLD * index + repeat) &&
                 outcomes_add(&c->peer[p][t], &o);
            world_stop(w);
        }
    }
    return ok;
}

// Only a decided answer is remembered.
static bool play_again(cell *c, world *w, const noise_trace *trace, size_t index, const outcome *first) {
    const uint64_t repeat = c->options.runs;
    play_options po = how(w, &c->options, index, repeat);
    po.has_incumbent = first->decided;
    po.incumbent = first->pick;
    outcome o;
    const bool ok = cell_start(w, &c->options, trace, index, repeat) && play(&o, w, &po) && outcomes_add(&c->kept, &o);
    world_stop(w);
    return ok;
}

static bool run_world(cell *c, const noise_trace *trace, size_t index) {
    world w;
    outcome first = {0};
    bool ok = cell_world(&w, &c->options, index);
    for (uint64_t repeat = 0; ok && repeat < c->options.runs; repeat++) {
        outcome o;
        c->configs = w.n_configs;
        c->delta = delta_of(&c->options, &w);
        ok = cell_start(&w, &c->options, trace, index, repeat) && cell_play(&o, &w, &c->options, index, repeat) &&
             outcomes_add(&c->cold, &o);
        world_stop(&w);
        if (ok) ok = play_peers(c, &w, trace, index, repeat, o.cost_s);
        if (repeat == 0) first = o;
    }
    if (ok && c->options.incumbent) ok = play_again(c, &w, trace, index, &first);
    world_clear(&w);
    return ok;
}

bool cell_run(cell *out, const cell_options *options) {
    noise_trace trace;
    *out = (cell){.options = *options, .cold = {.runs = options->runs}, .kept = {.runs = 1}};
    for (size_t p = 0; p < PEER_COUNT; p++) {
        for (size_t t = 0; t < MOST_TIMES; t++) out->peer[p][t].runs = options->runs;
    }
    bool ok = cell_trace(&trace, options);
    for (size_t i = 0; ok && i < options->worlds; i++) {
        ok = run_world(out, &trace, i);
        if (!ok) fprintf(stderr, "world %zu under %s noise could not be run\n", i, noise_names[options->noise]);
    }
    noise_trace_clear(&trace);
    if (!ok) cell_clear(out);
    return ok;
}

void cell_clear(cell *c) {
    outcomes_clear(&c->cold);
    outcomes_clear(&c->kept);
    for (size_t p = 0; p < PEER_COUNT; p++) {
        for (size_t t = 0; t < MOST_TIMES; t++) outcomes_clear(&c->peer[p][t]);
    }
}
