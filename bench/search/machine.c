// Truth and costs of simulated machines.
// Knows nothing of searches; how the machine disturbs a run is noise.c's.
#include "machine.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double TTFT_S = 1.0, DECODE_TOK_PER_S = 40, WARM_UP = .3, FAILED_S = .5;
static const double W_TTFT = .5, W_DECODE = .35, W_MEMORY = .15;
static const double START_S[] = {0, .2, 1.5}; // by scope
enum { SHORT_TOKENS = 32, PART_TOKENS = 65, FULL_TOKENS = 256 };

/* ---- spaces ---- */

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
    knob_kind kind[MACHINE_KNOBS];
    uint16_t n_levels[MACHINE_KNOBS];
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

static uint16_t level(const machine *m, size_t config, size_t knob) {
    return m->levels[config * m->n_knobs + knob];
}

static size_t knob_of(const space *s, knob_kind kind) {
    size_t k = 0;
    while (k < s->n_knobs && s->kind[k] != kind) k++;
    return k;
}

static double scaled(kvat_rng *rng, double sd) {
    return sd * kvat_rng_normal(rng);
}

static double between(kvat_rng *rng, double low, double high) {
    return low + (high - low) * kvat_rng_uniform(rng);
}

/* ---- 24 configurations ---- */

static void draw_effects(double *effect, size_t n, double sd, kvat_rng *rng) {
    effect[0] = 0;
    for (size_t i = 1; i < n; i++) effect[i] = scaled(rng, sd);
}

static void draw_small(machine *m, kvat_rng *rng) {
    static const double memory[] = {0, -.05, -.09, -.09};
    double ct[4], cd[4], ft[2], fd[2], ut[3], ud[3];
    const bool inert = kvat_rng_uniform(rng) < .35; // the third knob does nothing at all
    draw_effects(ct, 4, .08, rng);
    draw_effects(cd, 4, .08, rng);
    draw_effects(ft, 2, .15, rng);
    draw_effects(fd, 2, .10, rng);
    draw_effects(ut, 3, inert ? 0 : .12, rng);
    draw_effects(ud, 3, inert ? 0 : .02, rng);
    double it = 0, id = 0; // of a cache with an attention
    for (size_t k = 0; k < m->n_configs; k++) {
        const size_t c = level(m, k, 0), f = level(m, k, 1), u = level(m, k, 2);
        if (u == 0) {
            it = c || f ? scaled(rng, .04) : 0;
            id = c || f ? scaled(rng, .04) : 0;
            if (c > 0 && f == 0 && kvat_rng_uniform(rng) < .5) { // a quantised cache without the kernel for it
                it += .6;
                id -= .5;
            }
        }
        const double own = inert || k == 0 ? 0 : .01;
        m->ln_ttft[k] = ct[c] + ft[f] + ut[u] + it + scaled(rng, own);
        m->ln_decode[k] = cd[c] + fd[f] + ud[u] + id + scaled(rng, own);
        m->ln_memory[k] = memory[c];
    }
}

/* ---- larger ones ---- */

static void draw_main(double *effect, size_t n, bool ordinal, double sd, kvat_rng *rng) {
    const double slope = kvat_rng_normal(rng), bend = .8 * fabs(kvat_rng_normal(rng)), peak = between(rng, -.8, .8);
    for (size_t i = 0; i < n; i++) {
        const double u = -1 + 2 * (double)i / (double)(n - 1);
        effect[i] =
            ordinal ? sd * (slope * u - bend * (u - peak) * (u - peak)) + scaled(rng, .15 * sd) : scaled(rng, sd);
    }
}

static void add_pair(double *y, const machine *m, size_t a, size_t b, double sd, kvat_rng *rng) {
    double effect[64];
    const size_t nb = m->knobs[b].n_levels;
    for (size_t i = 0; i < m->knobs[a].n_levels * nb; i++) effect[i] = scaled(rng, sd);
    for (size_t k = 0; k < m->n_configs; k++) y[k] += effect[level(m, k, a) * nb + level(m, k, b)];
}

// Main effects of those knobs that matter, sparse interactions of these, and what no additive model can know.
static void draw_metric(double *y, const machine *m, const space *s, bool ttft, kvat_rng *rng) {
    size_t active[MACHINE_KNOBS], n_active = 0;
    double effect[16];
    for (size_t i = 0; i < s->n_knobs; i++) {
        if (kvat_rng_uniform(rng) >= (ttft ? KIND[s->kind[i]].ttft : KIND[s->kind[i]].decode)) continue;
        active[n_active++] = i;
        draw_main(effect, s->n_levels[i], KIND[s->kind[i]].ordinal, exp(between(rng, log(.03), log(.2))), rng);
        for (size_t k = 0; k < m->n_configs; k++) y[k] += effect[level(m, k, i)];
    }
    for (size_t i = 0; i < n_active; i++) {
        for (size_t j = i + 1; j < n_active; j++) {
            if (kvat_rng_uniform(rng) < .35) add_pair(y, m, active[i], active[j], between(rng, .01, .05), rng);
        }
    }
    for (size_t k = 0; k < m->n_configs; k++) y[k] += scaled(rng, .007);
}

static void draw_memory(double *memory, const machine *m, const space *s) {
    static const double cache[] = {1, .55, .55, .35, .3};
    const size_t load = knob_of(s, LOAD);
    for (size_t k = 0; k < m->n_configs; k++) {
        memory[k] = 4 + 1.5 * cache[level(m, k, knob_of(s, KV))] + .25 * level(m, k, knob_of(s, UB));
        if (load < s->n_knobs) memory[k] += .3 * level(m, k, load);
    }
}

// Regions that are many times slower.
static void draw_cliffs(double *slow, const machine *m, const space *s, kvat_rng *rng) {
    const size_t kv = knob_of(s, KV), fa = knob_of(s, FA), th = knob_of(s, TH), ub = knob_of(s, UB),
                 tb = knob_of(s, TB);
    const bool no_kernel = kvat_rng_uniform(rng) < .7, oversubscribed = kvat_rng_uniform(rng) < .3,
               starved = kvat_rng_uniform(rng) < .3;
    for (size_t k = 0; k < m->n_configs; k++) {
        if (no_kernel && level(m, k, kv) > 0 && level(m, k, fa) == 0) slow[k] = 3.2;
        if (oversubscribed && level(m, k, th) == 3) slow[k] += 1.4;
        if (starved && level(m, k, ub) == s->n_levels[ub] - 1 && level(m, k, tb) == 0) slow[k] += 1.6;
    }
    slow[0] = 0;
}

static void draw_failures(machine *m, const space *s, const double *memory, kvat_rng *rng) {
    const size_t kv = knob_of(s, KV), fa = knob_of(s, FA);
    const bool unsupported = kvat_rng_uniform(rng) < .5, too_large = kvat_rng_uniform(rng) < .4;
    const size_t which = 1 + (size_t)kvat_rng_below(rng, 4);
    const double limit = kvat_quantile(memory, m->n_configs, between(rng, .75, .95));
    for (size_t k = 0; k < m->n_configs; k++) {
        if (unsupported && level(m, k, kv) == which && level(m, k, fa) == 1) m->works[k] = false;
        if (too_large && memory[k] > limit) m->works[k] = false;
    }
    m->works[0] = true;
}

static bool draw_large(machine *m, const space *s, kvat_rng *rng) {
    double *memory = calloc(m->n_configs, 2 * sizeof *memory);
    if (!memory) return false;
    double *slow = memory + m->n_configs;
    draw_metric(m->ln_ttft, m, s, true, rng);
    draw_metric(m->ln_decode, m, s, false, rng);
    draw_memory(memory, m, s);
    draw_cliffs(slow, m, s, rng);
    draw_failures(m, s, memory, rng);
    const double ttft = m->ln_ttft[0], decode = m->ln_decode[0];
    for (size_t k = 0; k < m->n_configs; k++) {
        m->ln_ttft[k] += slow[k] - ttft;
        m->ln_decode[k] -= slow[k] + decode;
        m->ln_memory[k] = log(memory[k] / memory[0]);
    }
    free(memory);
    return true;
}

/* ---- making ---- */

static bool allocate(machine *m, size_t n) {
    m->levels = calloc(n * m->n_knobs, sizeof *m->levels);
    m->configs = calloc(n, sizeof *m->configs);
    m->ln_ttft = calloc(5 * n, sizeof *m->ln_ttft);
    m->works = calloc(n, sizeof *m->works);
    if (!m->levels || !m->configs || !m->ln_ttft || !m->works) return false;
    m->ln_decode = m->ln_ttft + n;
    m->ln_decode_short = m->ln_decode + n;
    m->ln_memory = m->ln_decode_short + n;
    m->score = m->ln_memory + n;
    return true;
}

// All combinations, the last knob fastest; the default changes places with the first.
static void fill_levels(machine *m, const space *s) {
    size_t usual = 0;
    for (size_t k = 0; k < m->n_configs; k++) {
        size_t rest = k;
        for (size_t i = s->n_knobs; i-- > 0; rest /= s->n_levels[i])
            m->levels[k * s->n_knobs + i] = (uint16_t)(rest % s->n_levels[i]);
    }
    for (size_t i = 0; i < s->n_knobs; i++)
        usual = usual * s->n_levels[i] + (s->size == 24 ? 0 : KIND[s->kind[i]].usual);
    uint16_t held[MACHINE_KNOBS];
    const size_t bytes = s->n_knobs * sizeof *held;
    memcpy(held, m->levels, bytes);
    memmove(m->levels, m->levels + usual * s->n_knobs, bytes);
    memcpy(m->levels + usual * s->n_knobs, held, bytes);
}

static void fill_configs(machine *m) {
    for (size_t k = 0; k < m->n_configs; k++) {
        uint32_t changed = 0;
        for (size_t i = 0; i < m->n_knobs; i++) changed += level(m, k, i) != level(m, 0, i);
        m->configs[k] = (kvat_search_config){.eligible = true,
                                             .preference = changed * (uint32_t)m->n_configs + (uint32_t)k,
                                             .levels = m->levels + k * m->n_knobs};
    }
}

static void fill_scores(machine *m, kvat_rng *rng) {
    for (size_t k = 0; k < m->n_configs; k++) {
        m->ln_decode_short[k] = m->ln_decode[k] + .004 + scaled(rng, .003);
        m->score[k] =
            m->works[k] ? -W_TTFT * m->ln_ttft[k] + W_DECODE * m->ln_decode[k] - W_MEMORY * m->ln_memory[k] : -9;
        if (m->score[k] > m->score[m->best]) m->best = k;
    }
}

bool machine_init(machine *m, size_t size, uint64_t seed) {
    const space *s = find_space(size);
    *m = (machine){0};
    if (!s) return false;
    m->n_knobs = s->n_knobs;
    m->n_configs = size;
    m->flat = size == 24;
    for (size_t i = 0; i < s->n_knobs; i++)
        m->knobs[i] = (kvat_search_knob){s->n_levels[i], KIND[s->kind[i]].ordinal, KIND[s->kind[i]].scope};
    if (!allocate(m, size)) {
        machine_clear(m);
        return false;
    }
    kvat_rng rng;
    kvat_rng_seed3(&rng, seed, size, 0);
    fill_levels(m, s);
    fill_configs(m);
    for (size_t k = 0; k < size; k++) m->works[k] = true;
    if (m->flat)
        draw_small(m, &rng);
    else if (!draw_large(m, s, &rng)) {
        machine_clear(m);
        return false;
    }
    fill_scores(m, &rng);
    return true;
}

void machine_clear(machine *m) {
    free(m->levels);
    free(m->configs);
    free(m->ln_ttft);
    free(m->works);
    *m = (machine){0};
}

bool machine_start(machine *m, noise_kind kind, const noise_trace *trace, uint64_t seed, uint64_t repeat) {
    m->now_s = 0;
    m->last = m->n_configs;
    return noise_init(&m->noise, kind, trace, seed, repeat);
}

void machine_stop(machine *m) {
    noise_clear(&m->noise);
}

/* ---- running ---- */

static unsigned scope_between(const machine *m, size_t a, size_t b) {
    unsigned most = 0;
    for (size_t i = 0; i < m->n_knobs; i++) {
        if (level(m, a, i) != level(m, b, i) && m->knobs[i].scope > most) most = m->knobs[i].scope;
    }
    return most;
}

static double start_s(const machine *m, size_t from, size_t to) {
    return m->flat || from == m->n_configs ? START_S[2] : START_S[scope_between(m, from, to)];
}

static double spend(machine *m, double duration_s, double share) {
    const double slow = noise_common(&m->noise, m->now_s, duration_s) + noise_own(&m->noise, share);
    const double taken = duration_s * exp(slow);
    m->now_s += taken;
    return taken;
}

static double prefill(machine *m, size_t config) {
    return log(spend(m, TTFT_S * exp(m->ln_ttft[config]), 1) / TTFT_S);
}

static double decode(machine *m, size_t config, int tokens) {
    const bool whole = tokens > 64;
    const double rate = DECODE_TOK_PER_S * exp(whole ? m->ln_decode[config] : m->ln_decode_short[config]);
    return log(tokens / spend(m, tokens / rate, whole ? 1 : 1 / .7) / DECODE_TOK_PER_S);
}

static kvat_search_fate try_run(machine *m, size_t config, double ln_part[2]) {
    const bool again = m->last == config;
    if (!again) m->now_s += start_s(m, m->last, config);
    m->last = config;
    if (!m->works[config]) {
        m->now_s += FAILED_S;
        m->last = m->n_configs;
        return KVAT_FATE_INFEASIBLE;
    }
    if (m->ln_ttft[config] > log(3)) {
        m->now_s += 3 * TTFT_S;
        return KVAT_FATE_SLOW;
    }
    if (!again) m->now_s += WARM_UP * TTFT_S * exp(m->ln_ttft[config]);
    ln_part[0] = prefill(m, config);
    if (m->ln_decode[config] < -log(3)) {
        m->now_s += 3 * SHORT_TOKENS / DECODE_TOK_PER_S;
        return KVAT_FATE_SLOW;
    }
    ln_part[1] = decode(m, config, SHORT_TOKENS);
    return KVAT_FATE_OK;
}

machine_run machine_measure(machine *m, size_t config) {
    machine_run run = {.started_s = m->now_s};
    double ln_part[2] = {0, 0};
    run.fate = try_run(m, config, ln_part);
    run.part[0] = -W_TTFT * ln_part[0];
    run.part[1] = W_DECODE * ln_part[1];
    run.part[2] = -W_MEMORY * m->ln_memory[config];
    run.score = run.part[0] + run.part[1] + run.part[2];
    run.cost_s = m->now_s - run.started_s;
    return run;
}

double machine_measure_full(machine *m, size_t config, double ln_part[3]) {
    double first[3], rate[4];
    m->now_s += start_s(m, m->last, config) + WARM_UP * TTFT_S * exp(m->ln_ttft[config]);
    m->last = config;
    for (size_t i = 0; i < 3; i++) first[i] = prefill(m, config);
    for (size_t i = 0; i < 4; i++) rate[i] = decode(m, config, PART_TOKENS);
    ln_part[0] = kvat_median(first, 3);
    ln_part[1] = kvat_median(rate, 4);
    ln_part[2] = m->ln_memory[config];
    return -W_TTFT * ln_part[0] + W_DECODE * ln_part[1] - W_MEMORY * ln_part[2];
}

double machine_grid_s(const machine *m) {
    double sum = 0;
    for (size_t k = 0; k < m->n_configs; k++) {
        sum += k > 0 ? start_s(m, k - 1, k) : m->flat ? START_S[2] : 0;
        if (!m->works[k])
            sum += FAILED_S;
        else if (m->ln_ttft[k] > log(3) || m->ln_decode[k] < -log(3))
            sum += 3 * TTFT_S;
        else
            sum += 6 * TTFT_S * exp(m->ln_ttft[k]) + 5 * FULL_TOKENS / (DECODE_TOK_PER_S * exp(m->ln_decode[k]));
    }
    return sum;
}
