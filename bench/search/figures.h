// What came of many searches: shares, means, quantiles, how often what was said was true.
// Must not know how a search is made or how figures are printed.
#ifndef KVAT_BENCH_FIGURES_H
#define KVAT_BENCH_FIGURES_H

#include "outcome.h"

enum { SURE_BINS = 6 };

// Outcomes of one kind; where each world was searched `runs` times these stand together.
typedef struct outcomes {
    size_t n, capacity, runs;
    outcome *all;
} outcomes;
bool outcomes_add(outcomes *o, const outcome *one);
void outcomes_clear(outcomes *o);

// Of some of the outcomes; means are NaN where there are none.
typedef struct regrets {
    size_t n, within_1pct, within_2pct;
    double mean, p95;
} regrets;
typedef enum whose_regret { OF_PICK, OF_LEADER } whose_regret;
typedef enum which_outcomes { ALL, DECIDED, UNDECIDED } which_outcomes;
regrets regrets_of(const outcomes *o, whose_regret whose, which_outcomes which);

typedef struct sureness {
    size_t n, good; // seen: within delta of the best
    double said;    // mean P_good
} sureness;
// Those with from ≤ P_good < to; of confident answers only if asked.
sureness sureness_of(const outcomes *o, double delta, double from, double to, bool confident);
extern const double sure_bins[SURE_BINS + 1];

typedef struct claims {
    size_t n, claimed, covered; // confirmed; told from none; interval over the truth (of those confirmed)
    size_t claimed_covered;
    double error, half_width; // means over those claimed: estimate less truth
    double abs_error;
} claims;
claims claims_of(const outcomes *o);

typedef struct agreement {
    size_t n, same, near; // pairs; the same answer; scores at most delta apart
} agreement;
// Of the first two searches of each world; with `kept`, of the first and the one that knew its answer.
agreement agreement_of(const outcomes *o, const outcomes *kept, double delta);

typedef struct summary {
    size_t n, exact, confident, decided, infeasible, worse, much_worse; // than the default: at all, by > 0.5 %
    double cost, cost_sd, cost_p90, search_cost, trials, changes, cpu_ms, worst_cpu_ms;
} summary;
summary summary_of(const outcomes *o);

#endif
