// Simulated machines of 24 to thousands of configurations: what each would score, what a run of it takes and returns.
// Must not know how a search works.
#ifndef KVAT_BENCH_WORLD_H
#define KVAT_BENCH_WORLD_H

#include "kvat/search.h"
#include "noise.h"

typedef enum world_kind {
    WORLD_PLAIN,
    WORLD_INERT,      // some knobs do nothing at all
    WORLD_CLIFFS,     // regions many times slower
    WORLD_INFEASIBLE, // regions that are not supported, and more memory needed than there is
    WORLD_TIES,       // the best is best several times over
    WORLD_BROKEN,     // nothing works, the default included
    WORLD_HARD,       // twice as many and twice as strong interactions, three times what no model can know
    WORLD_KINDS
} world_kind;
extern const char *const world_kind_names[WORLD_KINDS];
world_kind world_kind_find(const char *name); // WORLD_KINDS for none

typedef enum world_failure { FAIL_NONE, FAIL_UNSUPPORTED, FAIL_MEMORY, FAIL_CRASH } world_failure;

enum { WORLD_SCOPES = 4 };

typedef struct world {
    size_t n_knobs, n_configs;
    kvat_search_knob *knobs;
    uint16_t *levels;            // n_configs × n_knobs
    kvat_search_config *configs; // the default first
    // The truth, logarithms relative to the default; `fails` is how likely a run is to fail, as `failure` says.
    double *ln_ttft, *ln_decode, *ln_decode_short, *ln_memory, *fails, *score;
    world_failure *failure;
    size_t best;
    bool works;                                             // anything does
    double ttft_s, decode_tok_per_s, start_s[WORLD_SCOPES]; // of the default; of a change, by scope
    bool flat;                                              // every start costs the same, whatever changes
    noise noise;
    double now_s, launch;
    size_t last; // configuration in memory; n_configs for none
} world;

// Score of what does not work.
#define WORLD_FAILED_SCORE (-9.0)

// Worlds of the same space, kind and seed have the same truth under every noise. False without memory, for an unknown
// space, and for a kind that there is not of a sample.
bool world_init(world *w, size_t space, world_kind kind, uint64_t seed);
// From what was recorded of a real engine or written by hand ("kvat-surface/1"), at its largest cell; `seed` draws what
// short outputs are off by. The reason for false is on stderr.
bool world_read(world *w, const char *path, uint64_t seed);
void world_clear(world *w);
// Begins the machine's time; a second start needs a stop before.
bool world_start(world *w, noise_kind kind, const noise_trace *trace, uint64_t seed, uint64_t repeat);
void world_stop(world *w);

typedef struct world_run {
    kvat_search_fate fate;
    bool out_of_memory;
    double part[3], score; // weighted
    double ln_part[3];     // ln TTFT, ln decode, ln peak
    double started_s, cost_s;
} world_run;
// A short run, given up at three times the default's time; the same configuration again needs no start.
world_run world_measure(world *w, size_t config);
// The same in a fresh process; and full length in one.
world_run world_measure_fresh(world *w, size_t config);
world_run world_measure_full(world *w, size_t config);
// A row of the plain grid: one start, then the mean of five repetitions of full length.
world_run world_measure_row(world *w, size_t config);
// The plain grid, each configuration in turn, without noise.
double world_grid_s(const world *w);
// Configuration of these levels; n_configs for none.
size_t world_config_of(const world *w, const uint16_t *levels);

/* Between the files of the world. */

bool world__allocate(world *w, size_t n_configs, size_t n_knobs);
uint16_t world__level(const world *w, size_t config, size_t knob);
size_t world__changes(const world *w, size_t config); // knobs not at the default's level
// Levels of all combinations of the knobs, the last knob fastest; the default changes places with the first.
void world__fill_levels(world *w, const uint16_t *usual);
// Preferences: the default, then fewer changes.
void world__fill_configs(world *w);
void world__fill_scores(world *w);
// Knobs, configurations and their truth where everything an engine has is tried. False without memory.
bool world__sweep(world *w, size_t n_configs, bool hard, kvat_rng *rng);

static inline double world__between(kvat_rng *rng, double low, double high) {
    return low + (high - low) * kvat_rng_uniform(rng);
}

static inline bool world__chance(kvat_rng *rng, double p) {
    return kvat_rng_uniform(rng) < p;
}

#endif
