// The drift fit of one response: whitening by the filter of the drift, and what the files of the fit share.
// Not for other modules.
#ifndef KVAT_STATS_DRIFT_H
#define KVAT_STATS_DRIFT_H

#include "kvat/stats.h"

// What the drift may be like: its variance in units of the noise's, and how many runs it remembers.
typedef struct drift_kind {
    double ratio, memory;
} drift_kind;
enum { DRIFT_KINDS = 16 };

// One response at a time. Column 0 is the shift of the later phase, column 1 + a is arm a.
typedef struct drift_work {
    const kvat_drift_input *in;
    size_t columns;
    const double *y;                // n, the response's, about 0
    const double *weight;           // n
    double *decay, *gain, *root;    // n, of the filter: what is left of the state; of its step; of the variance
    double *design;                 // n × columns, whitened
    double *answer, *residual;      // n, whitened y; what the fit leaves of it
    double *information, *estimate; // columns × columns, its upper factor after the fit; columns
    double *scratch;                // columns
    double squares, log_likelihood; // of the residual; restricted, of the kind
} drift_work;

kvat_status kvat__drift_work_init(drift_work *work, const kvat_drift_input *in, kvat_error *err);
void kvat__drift_work_clear(drift_work *work);
drift_kind kvat__drift_kind_of(size_t index);
// Fits the response with that kind of drift. False when the system is singular.
bool kvat__drift_solve(drift_work *work, drift_kind kind, size_t dof);
// After kvat__drift_solve(), whose design and residual it uses up: of each run its difference from what the others say
// of it, over the standard deviation that would have at weight 1 and σ = 1; NaN where the others say nothing.
void kvat__drift_leave_one_out(double *z, drift_work *work);

#endif
