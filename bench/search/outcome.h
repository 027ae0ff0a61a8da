// What came of one search in one world.
// Must not know how it was searched or how figures are made of it.
#ifndef KVAT_BENCH_OUTCOME_H
#define KVAT_BENCH_OUTCOME_H

#include <stdbool.h>
#include <stddef.h>

typedef struct outcome {
    double cost_s;                   // virtual time of search and confirmation
    double cost_ratio, search_ratio; // of the noise-free grid; search alone
    double trials;
    double p_good;                       // 0 without a leader
    double regret, search_regret;        // of what is recommended; of the search's leader
    double gain, pick_score;             // true gain of what is recommended over the default; its true score
    size_t pick, changes;                // what is recommended; knobs it has changed
    bool exact;                          // as good as the best
    bool confident;                      // the search ended because it was sure
    bool decided;                        // and so did the confirmation, where there was one
    bool infeasible;                     // the answer is that nothing works
    double claim, claim_low, claim_high; // of the confirmed gain; NaN when nothing was confirmed
    double claim_truth;
    bool claimed; // the gain was told from none: the leader is recommended for it
    double decisions, cpu_s, worst_cpu_s;
} outcome;

struct world;
// `config` is what is recommended, now.
void outcome_judge(outcome *o, const struct world *w, size_t config);

#endif
