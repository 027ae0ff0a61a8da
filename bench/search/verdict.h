// Is a target missed by more than chance allows? Each test is one-sided: what meets its target exactly is called missed
// once in 200.
// Must not know where figures come from.
#ifndef KVAT_BENCH_VERDICT_H
#define KVAT_BENCH_VERDICT_H

#include <stdbool.h>
#include <stddef.h>

#define VERDICT_LEVEL .995

// `good` of n reach what at least a share of `target` should; with the mean of what was said of each for a target, that
// is calibration. Nothing seen misses nothing.
bool verdict_often_enough(size_t good, size_t n, double target);
// `bad` of n are what at most a share of `limit` may be.
bool verdict_rare_enough(size_t bad, size_t n, double limit);
// The mean of n is at most `limit`.
bool verdict_cheap_enough(double mean, double sd, size_t n, double limit);

#endif
