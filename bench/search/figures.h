// What came of many searches, and how it is printed.
// Must not know how a search is made.
#ifndef KVAT_BENCH_FIGURES_H
#define KVAT_BENCH_FIGURES_H

#include <stdbool.h>
#include <stddef.h>

enum { SURE_BINS = 6 };

// One search.
typedef struct outcome {
    double cost_ratio, search_ratio; // of the noise-free grid; search alone
    double trials;
    double p_good;
    double regret, search_regret; // of what is recommended; of the search's leader
    double gain;                  // true gain of what is recommended over the default
    size_t pick;
    bool exact, confident;
    double claim, claim_truth, claim_low, claim_high; // of the confirmed gain; NaN when nothing was confirmed
    double decisions, cpu_s, worst_cpu_s;
} outcome;

typedef struct figures {
    size_t n, capacity; // outcomes come in pairs: the same machine twice
    outcome *all;
    double delta;
} figures;
bool figures_add(figures *f, const outcome *o);
void figures_clear(figures *f);
void figures_print(const figures *f, const char *method, size_t space, const char *noise);

#endif
