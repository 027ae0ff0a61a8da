// Figures of one configuration gathered over its clean runs, and their summary in an entry.
// Must not know how trials are chosen or stored.
#ifndef KVAT_RUN_FIGURES_H
#define KVAT_RUN_FIGURES_H

#include "run_internal.h"

typedef struct kvat__entry_figures {
    size_t clean, capacity, n_cells;
    double *ttft_s, *decode, *p50_s, *p95_s, *p99_s; /**< capacity × n_cells each, row = run */
    bool *fitted;                                    /**< the same: the decode rate follows from shorter bursts */
    double *peak_bytes;                              /**< capacity */
    int64_t model_bytes, kv_bytes, compute_bytes;
    int64_t once_ns, run_ns; /**< sums over clean runs: prepare and warm-up; measured part, outputs decoded whole */
    size_t failures[KVAT_TRIAL_STATUS_COUNT];
    char *failure;
} kvat__entry_figures;

kvat_status kvat__entry_figures_add(kvat__entry_figures *figures, const kvat_profile *profile,
                                    const kvat_trial_record *record, kvat_error *err);
kvat_status kvat__entry_figures_put(kvat_entry *entry, const kvat__entry_figures *figures, const kvat_profile *profile,
                                    kvat_error *err);
void kvat__entry_figures_clear(kvat__entry_figures *figures);

#endif
