// What a count of successes says of their probability.
// Must not know what is counted.
#ifndef KVAT_BENCH_BINOMIAL_H
#define KVAT_BENCH_BINOMIAL_H

#include <stddef.h>

// P(X ≤ k) of n trials.
double binomial_at_most(size_t k, size_t n, double p);
// P(X ≥ k) of n trials.
double binomial_at_least(size_t k, size_t n, double p);
// Largest probability under which k or fewer have a chance of at least 1 − level (C. Clopper, E. Pearson 1934); about
// 3/n for k = 0 and level .95. NaN for n = 0.
double binomial_upper(size_t k, size_t n, double level);
// Two-sided interval at 95 % (E. Wilson 1927). NaN for n = 0.
void binomial_interval(double *low, double *high, size_t k, size_t n);

#endif
