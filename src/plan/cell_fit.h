/* The comparison of configurations cell by cell, between the files that make it and say what it means.
 * Must not be included from outside src/plan. */
#ifndef KVAT_PLAN_CELL_FIT_H
#define KVAT_PLAN_CELL_FIT_H

#include "kvat/cells.h"

/** Those compared, and the posterior of their responses: the cells, then the metrics of the front. */
typedef struct kvat__cell_fit {
    size_t n_cells, n_arms;
    size_t *entry; /**< n_arms: index in the outcome */
    bool *may_win; /**< n_arms */
    kvat_drift_posterior posterior;
} kvat__cell_fit;

/** Leaves n_arms 0 when nothing that may win ran. */
kvat_status kvat__cell_fit_make(kvat__cell_fit *out, const kvat_outcome *outcome, const kvat_cell_runs *runs,
                                uint64_t seed, kvat_error *err);
void kvat__cell_fit_clear(kvat__cell_fit *fit);

#endif
