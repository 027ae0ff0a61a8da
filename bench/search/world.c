// Simulated machines: knob effects with interactions, drift (autoregressive and warming up), spikes, independent noise.
// Knows nothing of searches.
#include "world.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CACHE_TYPES = 4, ATTENTIONS = 2, BATCHES = 3, DRIFT_STEPS = 60000 };
static const double TTFT_S = 1.0, DECODE_TOK_PER_S = 40, LAUNCH_S = 1.5, WARM_UP = 0.3;
static const double W_TTFT = 0.5, W_DECODE = 0.35, W_MEMORY = 0.15;

const char *const world_noise_names[NOISE_COUNT] = {"quiet", "desktop", "noisy"};

static const struct {
    double drift_sd, drift_s, independent, ramp, spike_per_s, spike;
} NOISE[NOISE_COUNT] = {
    {.005, 30, .005, .01, .002, .10},
    {.020, 20, .015, .06, .010, .25},
    {.050, 15, .030, .06, .030, .40},
};

static double scaled(kvat_rng *rng, double sd) {
    return sd * kvat_rng_normal(rng);
}

static void draw_effects(double *effect, size_t n, double sd, kvat_rng *rng) {
    effect[0] = 0; // the default's level
    for (size_t i = 1; i < n; i++) effect[i] = scaled(rng, sd);
}

static void set_config(world *w, size_t c, size_t f, size_t u, double ttft, double decode) {
    static const double memory[CACHE_TYPES] = {0, -.05, -.09, -.09};
    const size_t k = (c * ATTENTIONS + f) * BATCHES + u;
    w->ln_ttft[k] = ttft;
    w->ln_decode[k] = decode;
    w->ln_memory[k] = memory[c];
    w->score[k] = -W_TTFT * ttft + W_DECODE * decode - W_MEMORY * memory[c];
    if (w->score[k] > w->score[w->best]) w->best = k;
    const uint32_t changed = (uint32_t)((c > 0) + (f > 0) + (u > 0));
    w->configs[k] = (kvat_search_config){.eligible = true, .preference = changed * 100 + (uint32_t)k};
}

static void draw_truth(world *w, kvat_rng *rng) {
    double ct[CACHE_TYPES], cd[CACHE_TYPES], ft[ATTENTIONS], fd[ATTENTIONS], ut[BATCHES], ud[BATCHES];
    const bool inert = kvat_rng_uniform(rng) < .35; // the third knob does nothing at all
    draw_effects(ct, CACHE_TYPES, .08, rng);
    draw_effects(cd, CACHE_TYPES, .08, rng);
    draw_effects(ft, ATTENTIONS, .15, rng);
    draw_effects(fd, ATTENTIONS, .10, rng);
    draw_effects(ut, BATCHES, inert ? 0 : .12, rng);
    draw_effects(ud, BATCHES, inert ? 0 : .02, rng);
    for (size_t c = 0; c < CACHE_TYPES; c++) {
        for (size_t f = 0; f < ATTENTIONS; f++) {
            double it = c || f ? scaled(rng, .04) : 0, id = c || f ? scaled(rng, .04) : 0;
            if (c > 0 && f == 0 && kvat_rng_uniform(rng) < .5) { // a quantised cache without the kernel for it
                it += .6;
                id -= .5;
            }
            for (size_t u = 0; u < BATCHES; u++) {
                const double own = inert || (!c && !f && !u) ? 0 : .01;
                set_config(w, c, f, u, ct[c] + ft[f] + ut[u] + it + scaled(rng, own),
                           cd[c] + fd[f] + ud[u] + id + scaled(rng, own));
            }
        }
    }
    for (size_t k = 0; k < WORLD_CONFIGS; k++) w->ln_decode_short[k] = w->ln_decode[k] + .004 + scaled(rng, .003);
}

bool world_init(world *w, uint64_t seed, world_noise noise, uint64_t repeat) {
    *w = (world){.noise = noise};
    w->drift = calloc(DRIFT_STEPS, sizeof *w->drift);
    if (!w->drift) return false;
    kvat_rng truth;
    kvat_rng_seed3(&truth, seed, 0, 0);
    draw_truth(w, &truth);
    kvat_rng_seed3(&w->rng, seed, 1 + (uint64_t)noise, repeat);
    return true;
}

void world_clear(world *w) {
    free(w->drift);
    w->drift = NULL;
}

void world_restart(world *w, uint64_t repeat) {
    kvat_rng_seed3(&w->rng, kvat_rng_next(&w->rng), 7, repeat);
    w->now_s = w->last_drift = 0;
    w->n_drift = 0;
}

static double drift_at(world *w, size_t step) {
    step %= DRIFT_STEPS;
    const double keep = exp(-.1 / NOISE[w->noise].drift_s);
    const double innovation = NOISE[w->noise].drift_sd * sqrt(1 - keep * keep);
    while (w->n_drift <= step) {
        w->last_drift = keep * w->last_drift + scaled(&w->rng, innovation);
        w->drift[w->n_drift++] = (float)w->last_drift;
    }
    return w->drift[step];
}

// Log slowdown over the next `duration` seconds.
static double disturbance(world *w, double duration) {
    const size_t first = (size_t)(w->now_s * 10), steps = duration > .1 ? (size_t)(duration * 10) : 1;
    double sum = 0;
    for (size_t i = 0; i < steps; i++) sum += drift_at(w, first + i);
    double slow = sum / (double)steps + NOISE[w->noise].ramp * (1 - exp(-w->now_s / 90));
    if (kvat_rng_uniform(&w->rng) < NOISE[w->noise].spike_per_s * fmax(1, duration))
        slow += NOISE[w->noise].spike * kvat_rng_uniform(&w->rng);
    return slow;
}

static double spend(world *w, double duration, double noise) {
    const double taken = duration * exp(disturbance(w, duration) + scaled(&w->rng, noise));
    w->now_s += taken;
    return taken;
}

static double prefill(world *w, size_t config) {
    return log(spend(w, TTFT_S * exp(w->ln_ttft[config]), NOISE[w->noise].independent) / TTFT_S);
}

static double decode(world *w, size_t config, int tokens) {
    const bool whole = tokens > 64;
    const double rate = DECODE_TOK_PER_S * exp(whole ? w->ln_decode[config] : w->ln_decode_short[config]);
    const double taken = spend(w, tokens / rate, NOISE[w->noise].independent / (whole ? 1 : .7));
    return log(tokens / taken / DECODE_TOK_PER_S);
}

double world_run(world *w, size_t config, int tokens, double ln_part[3]) {
    w->now_s += LAUNCH_S + WARM_UP * TTFT_S * exp(w->ln_ttft[config]);
    const double ttft = prefill(w, config), rate = decode(w, config, tokens);
    if (ln_part) {
        ln_part[0] = ttft;
        ln_part[1] = rate;
        ln_part[2] = w->ln_memory[config];
    }
    return -W_TTFT * ttft + W_DECODE * rate - W_MEMORY * w->ln_memory[config];
}

size_t world_grid(world *w, int repetitions, int tokens) {
    size_t best = 0;
    double best_score = -INFINITY;
    for (size_t k = 0; k < WORLD_CONFIGS; k++) {
        w->now_s += LAUNCH_S + TTFT_S * exp(w->ln_ttft[k]);
        double ttft = 0, rate = 0;
        for (int r = 0; r < repetitions; r++) ttft += prefill(w, k) / repetitions;
        for (int r = 0; r < repetitions; r++) rate += decode(w, k, tokens) / repetitions;
        const double score = -W_TTFT * ttft + W_DECODE * rate - W_MEMORY * w->ln_memory[k];
        if (score > best_score) {
            best_score = score;
            best = k;
        }
    }
    return best;
}
