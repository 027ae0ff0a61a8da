// Costs and runs of simulated machines.
// Knows nothing of searches; what is true is truth.c's or recording.c's, how the machine disturbs a run is noise.c's.
#include "world.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double WARM_UP = .3, FAILED_S = .5, SLOW = 3;
static const double W_TTFT = .5, W_DECODE = .35, W_MEMORY = .15;
enum { MODEL_SCOPE = 2 }; // what a change of it, or a fresh start, costs
enum { SHORT_TOKENS = 32, FULL_TOKENS = 256, GRID_REPETITIONS = 5 };

const char *const world_kind_names[WORLD_KINDS] = {"plain", "inert", "cliffs", "infeasible", "ties", "broken", "hard"};

world_kind world_kind_find(const char *name) {
    world_kind kind = 0;
    while (kind < WORLD_KINDS && strcmp(world_kind_names[kind], name) != 0) kind++;
    return kind;
}

/* ---- making ---- */

bool world__allocate(world *w, size_t n_configs, size_t n_knobs) {
    w->n_configs = n_configs;
    w->n_knobs = n_knobs;
    w->knobs = calloc(n_knobs, sizeof *w->knobs);
    w->levels = calloc(n_configs * n_knobs, sizeof *w->levels);
    w->configs = calloc(n_configs, sizeof *w->configs);
    w->failure = calloc(n_configs, sizeof *w->failure);
    w->ln_ttft = calloc(6 * n_configs, sizeof *w->ln_ttft);
    if (!w->knobs || !w->levels || !w->configs || !w->failure || !w->ln_ttft) return false;
    w->ln_decode = w->ln_ttft + n_configs;
    w->ln_decode_short = w->ln_decode + n_configs;
    w->ln_memory = w->ln_decode_short + n_configs;
    w->fails = w->ln_memory + n_configs;
    w->score = w->fails + n_configs;
    return true;
}

void world_clear(world *w) {
    free(w->knobs);
    free(w->levels);
    free(w->configs);
    free(w->failure);
    free(w->ln_ttft);
    *w = (world){0};
}

uint16_t world__level(const world *w, size_t config, size_t knob) {
    return w->levels[config * w->n_knobs + knob];
}

void world__fill_levels(world *w, const uint16_t *usual) {
    size_t first = 0;
    for (size_t k = 0; k < w->n_configs; k++) {
        size_t rest = k;
        for (size_t i = w->n_knobs; i-- > 0; rest /= w->knobs[i].n_levels)
            w->levels[k * w->n_knobs + i] = (uint16_t)(rest % w->knobs[i].n_levels);
    }
    for (size_t i = 0; i < w->n_knobs; i++) first = first * w->knobs[i].n_levels + usual[i];
    for (size_t i = 0; i < w->n_knobs; i++) {
        w->levels[first * w->n_knobs + i] = w->levels[i];
        w->levels[i] = usual[i];
    }
}

size_t world__changes(const world *w, size_t config) {
    size_t changes = 0;
    for (size_t i = 0; i < w->n_knobs; i++) changes += world__level(w, config, i) != world__level(w, 0, i);
    return changes;
}

void world__fill_configs(world *w) {
    for (size_t k = 0; k < w->n_configs; k++) {
        w->configs[k].eligible = true;
        w->configs[k].preference = (uint32_t)(world__changes(w, k) * w->n_configs + k);
        w->configs[k].levels = w->levels + k * w->n_knobs;
    }
}

void world__fill_scores(world *w) {
    for (size_t k = 0; k < w->n_configs; k++) {
        w->score[k] = -W_TTFT * w->ln_ttft[k] + W_DECODE * w->ln_decode[k] - W_MEMORY * w->ln_memory[k];
        if (w->fails[k] > 0) w->score[k] = WORLD_FAILED_SCORE;
        if (w->score[k] > w->score[w->best]) w->best = k;
        w->works = w->works || !(w->fails[k] > 0);
    }
}

bool world_start(world *w, noise_kind kind, const noise_trace *trace, uint64_t seed, uint64_t repeat) {
    w->now_s = 0;
    w->last = w->n_configs;
    return noise_init(&w->noise, kind, trace, seed, repeat);
}

void world_stop(world *w) {
    noise_clear(&w->noise);
}

size_t world_config_of(const world *w, const uint16_t *levels) {
    size_t k = 0;
    while (k < w->n_configs && memcmp(w->levels + k * w->n_knobs, levels, w->n_knobs * sizeof *levels) != 0) k++;
    return k;
}

/* ---- running ---- */

static unsigned scope_between(const world *w, size_t a, size_t b) {
    unsigned most = 0;
    for (size_t i = 0; i < w->n_knobs; i++) {
        if (world__level(w, a, i) != world__level(w, b, i) && w->knobs[i].scope > most) most = w->knobs[i].scope;
    }
    return most;
}

static double start_s(const world *w, size_t from, size_t to) {
    return w->flat || from == w->n_configs ? w->start_s[MODEL_SCOPE] : w->start_s[scope_between(w, from, to)];
}

static bool slow(const world *w, size_t config) {
    return w->ln_ttft[config] > log(SLOW) || w->ln_decode[config] < -log(SLOW);
}

static double spend(world *w, double duration_s, double share) {
    const double slow = noise_common(&w->noise, w->now_s, duration_s) + noise_own(&w->noise, share) + w->launch;
    const double taken = duration_s * exp(slow);
    w->now_s += taken;
    return taken;
}

static double prefill(world *w, size_t config) {
    return log(spend(w, w->ttft_s * exp(w->ln_ttft[config]), 1) / w->ttft_s);
}

static double decode(world *w, size_t config, int tokens) {
    const bool whole = tokens > 64;
    const double rate = w->decode_tok_per_s * exp(whole ? w->ln_decode[config] : w->ln_decode_short[config]);
    return log(tokens / spend(w, tokens / rate, whole ? 1 : 1 / .7) / w->decode_tok_per_s);
}

static void warm_up(world *w, size_t config, double share) {
    w->now_s += share * w->ttft_s * exp(w->ln_ttft[config]);
}

// As a run does: a new configuration costs its making and a warm-up, where only requests differ the warm-up alone.
static kvat_search_fate start(world *w, size_t config, bool fresh, double warm) {
    const bool again = !fresh && config == w->last;
    const double cost_s = fresh ? w->start_s[MODEL_SCOPE] : again ? 0 : start_s(w, w->last, config);
    w->now_s += cost_s;
    if (cost_s > 0) w->launch = noise_launch(&w->noise);
    w->last = config;
    if (w->fails[config] > 0 && kvat_rng_uniform(&w->noise.rng) <= w->fails[config]) {
        w->now_s += FAILED_S;
        w->last = w->n_configs;
        return w->failure[config] == FAIL_CRASH ? KVAT_FATE_BROKEN : KVAT_FATE_INFEASIBLE;
    }
    if (!again) warm_up(w, config, warm);
    return KVAT_FATE_OK;
}

static kvat_search_fate try_short(world *w, size_t config, double ln_part[2]) {
    const kvat_search_fate fate = start(w, config, false, slow(w, config) ? 0 : WARM_UP);
    if (fate != KVAT_FATE_OK) return fate;
    if (w->ln_ttft[config] > log(SLOW)) {
        w->now_s += SLOW * w->ttft_s;
        return KVAT_FATE_SLOW;
    }
    ln_part[0] = prefill(w, config);
    if (w->ln_decode[config] < -log(SLOW)) {
        w->now_s += SLOW * SHORT_TOKENS / w->decode_tok_per_s;
        return KVAT_FATE_SLOW;
    }
    ln_part[1] = decode(w, config, SHORT_TOKENS);
    return KVAT_FATE_OK;
}

static kvat_search_fate try_full(world *w, size_t config, double ln_part[2]) {
    const kvat_search_fate fate = start(w, config, true, WARM_UP);
    if (fate != KVAT_FATE_OK) return fate;
    ln_part[0] = prefill(w, config);
    ln_part[1] = decode(w, config, FULL_TOKENS);
    return KVAT_FATE_OK;
}

static kvat_search_fate try_row(world *w, size_t config, double ln_part[2]) {
    const kvat_search_fate fate = start(w, config, false, slow(w, config) ? 0 : 1);
    if (fate != KVAT_FATE_OK) return fate;
    if (slow(w, config)) {
        w->now_s += SLOW * w->ttft_s;
        return KVAT_FATE_SLOW;
    }
    ln_part[0] = ln_part[1] = 0;
    for (size_t i = 0; i < GRID_REPETITIONS; i++) ln_part[0] += prefill(w, config) / GRID_REPETITIONS;
    for (size_t i = 0; i < GRID_REPETITIONS; i++) ln_part[1] += decode(w, config, FULL_TOKENS) / GRID_REPETITIONS;
    return KVAT_FATE_OK;
}

static world_run measure(world *w, size_t config, kvat_search_fate (*try)(world *, size_t, double[2])) {
    world_run run = {.started_s = w->now_s, .ln_part = {0, 0, w->ln_memory[config]}};
    run.fate = try(w, config, run.ln_part);
    run.out_of_memory = run.fate == KVAT_FATE_INFEASIBLE && w->failure[config] == FAIL_MEMORY;
    run.part[0] = -W_TTFT * run.ln_part[0];
    run.part[1] = W_DECODE * run.ln_part[1];
    run.part[2] = -W_MEMORY * run.ln_part[2];
    run.score = run.part[0] + run.part[1] + run.part[2];
    run.cost_s = w->now_s - run.started_s;
    return run;
}

world_run world_measure(world *w, size_t config) {
    return measure(w, config, try_short);
}

world_run world_measure_fresh(world *w, size_t config) {
    w->last = w->n_configs;
    return measure(w, config, try_short);
}

world_run world_measure_full(world *w, size_t config) {
    return measure(w, config, try_full);
}

world_run world_measure_row(world *w, size_t config) {
    return measure(w, config, try_row);
}

double world_grid_s(const world *w) {
    double sum = 0;
    for (size_t k = 0; k < w->n_configs; k++) {
        sum += k > 0 ? start_s(w, k - 1, k) : w->flat ? w->start_s[MODEL_SCOPE] : 0;
        if (w->fails[k] > 0)
            sum += FAILED_S;
        else if (slow(w, k))
            sum += SLOW * w->ttft_s;
        else
            sum += (1 + GRID_REPETITIONS) * w->ttft_s * exp(w->ln_ttft[k]) +
                   GRID_REPETITIONS * FULL_TOKENS / (w->decode_tok_per_s * exp(w->ln_decode[k]));
    }
    return sum;
}
