// Simulated machines for trying out searches: 24 configurations of three knobs and the noise of a quiet, a desktop and
// a noisy machine. Must not know how a search works; a run of a configuration takes time and returns a score.
#ifndef KVAT_BENCH_WORLD_H
#define KVAT_BENCH_WORLD_H

#include "kvat/search.h"

enum { WORLD_CONFIGS = 24 };

typedef enum world_noise { NOISE_QUIET, NOISE_DESKTOP, NOISE_NOISY, NOISE_COUNT } world_noise;
extern const char *const world_noise_names[NOISE_COUNT];

typedef struct world {
    world_noise noise;
    double ln_ttft[WORLD_CONFIGS], ln_decode[WORLD_CONFIGS], ln_decode_short[WORLD_CONFIGS], ln_memory[WORLD_CONFIGS];
    double score[WORLD_CONFIGS]; // the truth
    size_t best;
    kvat_search_config configs[WORLD_CONFIGS];
    kvat_rng rng; // of the measurements
    double now_s;
    float *drift; // slowdown common to all, every 0.1 s, made as time passes
    size_t n_drift;
    double last_drift;
} world;

// False without memory. Worlds of the same seed have the same truth under every noise; `repeat` changes the noise
// alone.
bool world_init(world *w, uint64_t seed, world_noise noise, uint64_t repeat);
void world_clear(world *w);
void world_restart(world *w, uint64_t repeat);
// One run of `tokens` output tokens in a new context: its score, with ln TTFT, ln decode and ln memory in `ln_part` if
// not NULL.
double world_run(world *w, size_t config, int tokens, double ln_part[3]);
// The plain grid: each configuration in turn, `repetitions` times. The winner; time is spent in now_s.
size_t world_grid(world *w, int repetitions, int tokens);

#endif
