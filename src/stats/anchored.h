// The two-way layout behind the anchored fit: observations indexed by arm and by chunk, and what is linked to what.
// Not for other modules.
#ifndef KVAT_STATS_ANCHORED_H
#define KVAT_STATS_ANCHORED_H

#include "kvat/stats.h"

// One of the two classifications, its observed levels numbered without gaps.
struct factor {
    size_t n;
    size_t *level;              // caller's number → ours, SIZE_MAX for one never observed
    size_t *of;                 // of observation i
    size_t *run, *begin;        // observations sorted by level: run[begin[v]] … run[begin[v + 1] − 1]
    size_t *group, *group_size; // of level v; of group g: its number of levels
    size_t n_groups;
    double *weight, *effect; // of level v
};

struct two_way {
    size_t n;
    const double *y; // borrowed
    double *weight, *used_weight, *residual, *scratch;
    struct factor arm_levels, chunk_levels;
    struct factor *arm, *chunk;  // these two …
    struct factor *kept, *swept; // … again: fewer levels, more levels
    double *matrix;              // kept × kept
    double regular, sigma;
};

kvat_status kvat__two_way_init(struct two_way *t, const kvat_anchored_input *in, kvat_error *err);
void kvat__two_way_clear(struct two_way *t);

#endif
