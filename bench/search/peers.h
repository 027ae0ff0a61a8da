// What one would do without kvat, with as much time: methods of the bench, not of the library.
// Must not know what the search does, only how long it took.
#ifndef KVAT_BENCH_PEERS_H
#define KVAT_BENCH_PEERS_H

#include "outcome.h"
#include "world.h"

typedef enum peer {
    PEER_RANDOM,  // configurations at random, none again before all have been; the best mean wins
    PEER_GRID,    // each in turn, five repetitions of full length, as far as time reaches; the best mean wins
    PEER_HALVING, // many at random, then the best third of them in as much time, and so on (eta = 3)
    PEER_COUNT
} peer;
extern const char *const peer_names[PEER_COUNT];

// All begin with the default. The last run may end after `budget_s`. The world has been started. False without memory.
bool peer_play(outcome *o, world *w, peer which, double budget_s, uint64_t seed);

#endif
