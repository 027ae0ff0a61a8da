// Simulated machines of 24 to thousands of configurations: what each would score, what a run of it takes and returns.
// Must not know how a search works.
#ifndef KVAT_BENCH_MACHINE_H
#define KVAT_BENCH_MACHINE_H

#include "kvat/search.h"
#include "noise.h"

enum { MACHINE_KNOBS = 7 };

typedef struct machine {
    size_t n_knobs, n_configs;
    kvat_search_knob knobs[MACHINE_KNOBS];
    uint16_t *levels;                                                  // n_configs × n_knobs
    kvat_search_config *configs;                                       // the default first
    double *ln_ttft, *ln_decode, *ln_decode_short, *ln_memory, *score; // the truth, relative to the default
    bool *works;
    size_t best;
    bool flat; // every start costs the same, whatever changes
    noise noise;
    double now_s;
    size_t last; // configuration in memory; n_configs for none
} machine;

// `space`: 24, 480, 1440 or 4800. Machines of the same seed have the same truth under every noise. False without memory
// or for an unknown space.
bool machine_init(machine *m, size_t space, uint64_t seed);
void machine_clear(machine *m);
bool machine_start(machine *m, noise_kind kind, const noise_trace *trace, uint64_t seed, uint64_t repeat);
void machine_stop(machine *m);

typedef struct machine_run {
    kvat_search_fate fate;
    double part[3], score;
    double started_s, cost_s;
} machine_run;
// A short run, given up at three times the default's time; one right after another of the same configuration needs no
// start.
machine_run machine_measure(machine *m, size_t config);
// Full length, always started: median of three prefills and of four parts of the output.
double machine_measure_full(machine *m, size_t config, double ln_part[3]);
// Five repetitions of all, each in turn, without noise.
double machine_grid_s(const machine *m);

#endif
