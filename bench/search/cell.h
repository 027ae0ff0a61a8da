// One cell: many worlds of one space, kind and noise, searched, and what peers find in the same time.
// Must not know how figures are printed.
#ifndef KVAT_BENCH_CELL_H
#define KVAT_BENCH_CELL_H

#include "figures.h"
#include "peers.h"
#include "world.h"

enum { MOST_TIMES = 4 };

typedef struct cell_options {
    const char *method; // NULL for the library's choice
    size_t space;
    world_kind kind;
    const char *surface; // file to read the world from, instead of space and kind
    noise_kind noise;
    const char *trace; // file of noise "trace"; NULL for the one recorded here
    size_t worlds, runs;
    size_t trials; // most of a search; 0: no limit
    uint64_t seed;
    double delta; // 0: 1 % up to 24 configurations, else 2 %
    const char *confirm;
    bool incumbent;         // search each world once more, told what the first search decided
    bool peers[PEER_COUNT]; // in the time that the search took, times …
    double times[MOST_TIMES];
    size_t n_times;
} cell_options;
#define CELL_OPTIONS_INIT                                                                                              \
    {                                                                                                                  \
        .space = 24, .noise = ENV_DESKTOP, .worlds = 20, .runs = 2, .seed = 1, .confirm = "pairs", .times = {1},       \
        .n_times = 1                                                                                                   \
    }

typedef struct cell {
    cell_options options;
    size_t configs;
    double delta;
    outcomes cold, kept; // kept: with the first's answer stored
    outcomes peer[PEER_COUNT][MOST_TIMES];
} cell;

// Reasons for false are on stderr.
bool cell_run(cell *out, const cell_options *options);
void cell_clear(cell *c);

// World `index` of the cell, ready to be started.
bool cell_world(world *w, const cell_options *options, size_t index);
// Starts it for its search number `repeat`.
bool cell_start(world *w, const cell_options *options, const noise_trace *trace, size_t index, uint64_t repeat);
// Searches it as cell_run() does.
bool cell_play(outcome *o, world *w, const cell_options *options, size_t index, uint64_t repeat);
// What "trace" replays; empty for other noises.
bool cell_trace(noise_trace *trace, const cell_options *options);

#endif
