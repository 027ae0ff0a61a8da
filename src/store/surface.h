// What the export of a surface takes from the trials of a run: medians, failures, noise.
// Must not know the format of a surface.
#ifndef KVAT_STORE_SURFACE_H
#define KVAT_STORE_SURFACE_H

#include "kvat/store.h"

/** Median of one figure of one configuration in one cell. */
typedef struct kvat__median {
    size_t config, cell;
    double value;
} kvat__median;

/** Sorted by configuration and cell. */
typedef struct kvat__medians {
    kvat__median *rows;
    size_t n, places;
} kvat__medians;
bool kvat__medians_find(double *value, const kvat__medians *medians, size_t config, size_t cell);

typedef struct kvat__fault {
    size_t config;
    const char *kind; /**< of a surface: "oom_host" … */
    double probability;
} kvat__fault;

typedef struct kvat__figures {
    kvat__medians ttft, decode, peak; /**< ns, tokens/s, bytes; peak in cell 0 */
    double load_ns, prepare_ns;       /**< medians over the run, 0 when nothing was loaded */
    double run_sd; /**< robust standard deviation of ln TTFT and ln decode around a configuration's mean */
    kvat__fault *faults;
    size_t n_faults, fault_places;
} kvat__figures;

/** From the search's trials when any of them was clean (all of one output length), else from the confirmation's. */
KVAT_MUST_CHECK kvat_status kvat__figures_load(kvat__figures *out, kvat_store *store, int64_t run, kvat_error *err);
void kvat__figures_clear(kvat__figures *figures);

#endif
