// One method over many machines of one space and noise, each searched twice: costs, regrets, and how sure it was.
#ifndef KVAT_BENCH_COMPARE_H
#define KVAT_BENCH_COMPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct compare_options {
    const char *method;
    size_t space;
    const char *noises; // names, separated by commas
    size_t worlds;      // each is searched twice
    uint64_t seed;
    // "joined": two to eight pairs, their mean joined with the search's own posterior of the gain (variance doubled);
    // the default where the one-sided 90 % bound is not above 0. "pairs": kvat_confirm as it is. "none".
    const char *confirm;
    const char *trace; // file of noise "trace"
} compare_options;
#define COMPARE_OPTIONS_INIT                                                                                           \
    { "model", 24, "quiet,desktop,noisy", 100, 1, "joined", NULL }

// A line of text on stderr and an object on stdout for each noise. False when something went wrong.
bool compare_all(const compare_options *options);

#endif
