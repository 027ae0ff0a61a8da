/* What the files about profiles share: making cells and checking weights.
 * Not for other modules, nor for the files about knobs. */
#ifndef KVAT_PROFILE_INTERNAL_H
#define KVAT_PROFILE_INTERNAL_H

#include "kvat/profile.h"

#define KVAT__PROFILE_NAME_BYTES  64
#define KVAT__PROFILE_MAX_TEXT    65536 /**< characters of a prefix or suffix of a prompt */
#define KVAT__PROFILE_MAX_PATH    4096
#define KVAT__PROFILE_MAX_LINE    500 /**< characters of a description */
#define KVAT__PROFILE_MAX_BATCH   1024
#define KVAT__PROFILE_MIN_OUTPUT  2
#define KVAT__PROFILE_MAX_RUNS    1000
#define KVAT__PROFILE_MAX_SECONDS 86400
/** How far from 1 the sum of weights may be. */
#define KVAT__WEIGHT_SLACK 1e-6

/** One dimension of the cells: prompt lengths, output lengths or batch sizes. */
typedef struct kvat__lengths {
    int64_t items[KVAT_PROFILE_MAX_CELLS];
    size_t n;
} kvat__lengths;

/** Sorts; the value that is there twice, or 0. */
int64_t kvat__lengths_sort(kvat__lengths *lengths);
/** Product of the three as cells of equal weight (heap), sorted as kvat_profile.cells. `what` begins messages of
 * `status`. */
kvat_status kvat__cells_product(kvat_cell **out, size_t *n, const kvat__lengths *prompts, const kvat__lengths *outputs,
                                const kvat__lengths *batches, kvat_status status, const char *what, kvat_error *err);
void kvat__cells_sort(kvat_cell *cells, size_t n);
/** Order of kvat_profile.cells by lengths. */
int kvat__cell_compare(const void *left, const void *right);
/** Scales weights whose sum is positive to 1; leaves them alone when they sum to 1 already. */
void kvat__cells_normalise(kvat_cell *cells, size_t n);
/** The three weights of metrics, each from 0 to 1, must sum to 1; `what` begins the message of `status`. */
kvat_status kvat__weights_check(double weights[3], kvat_status status, const char *what, kvat_error *err);
/** Empty but for the values every profile begins with; NULL without memory. */
kvat_profile *kvat__profile_blank(void);
/** From a JSON file. */
kvat_status kvat__profile_read(kvat_profile **out, const char *path, kvat_error *err);

#endif
