// One search of the library in one world, confirmed against the default as a real run does.
// Must not know how the world is made or what becomes of the outcome.
#ifndef KVAT_BENCH_PLAY_H
#define KVAT_BENCH_PLAY_H

#include "outcome.h"
#include "world.h"

typedef struct play_options {
    const char *method; // of kvat_search_methods(); NULL for the library's choice
    uint64_t seed;
    double delta;
    size_t most_trials;  // 0: no limit
    const char *confirm; // "pairs": kvat_confirm as a run uses it; "none"
    bool has_incumbent;
    size_t incumbent;
} play_options;

// The world has been started. False when the library failed.
bool play(outcome *o, world *w, const play_options *options);

#endif
