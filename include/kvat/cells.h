/**
 * @file cells.h
 * More than one answer from the same runs: the best in each cell, the one that loses least in its worst cell, and the
 * Pareto front of time to first token, decode and peak memory, each with its chance of being so.
 *
 *     for each clean run, in the order of time: kvat_cell_runs_add(&runs, profile, &run, err);
 *     kvat_cells_judge(outcome, &runs, seed, err);
 *     kvat_cell_runs_clear(&runs);
 *
 * Of every run the score in each cell, −w_t·ln TTFT + w_d·ln decode − w_m·ln peak, and the three metrics of the whole
 * workload are fitted with kvat_drift_fit() (stats.h): `configuration + drift in time + noise`, whatever method chose
 * the runs, the pairs of the confirmation included. Chances are shares of joint draws. Configurations that may win, are
 * ranked and ran are compared with each other; those that may not are compared with them, and change nothing. Of more
 * than KVAT_CELLS_MOST only those nearest to the best of any cell or to the front are compared. Pure.
 */
#ifndef KVAT_CELLS_H
#define KVAT_CELLS_H

#include "kvat/outcome.h"

#ifdef __cplusplus
extern "C" {
#endif

#define KVAT_CELLS_MOST 64

/** One clean run, all of its cells measured. */
typedef struct kvat_cell_run {
    size_t config;
    bool confirming;             /**< a run of the confirmation: full length, fresh process */
    int64_t elapsed_ns, cost_ns; /**< run's clock at its end; what it took */
    const kvat_sample *samples;  /**< borrowed during the call; one a cell, any order */
    size_t n_samples;
    int64_t peak_bytes;
} kvat_cell_run;

/** Runs gathered; starts zeroed. */
typedef struct kvat_cell_runs {
    size_t n, capacity, n_responses; /**< of the profile: its cells, and three metrics */
    size_t *config;
    bool *confirming;
    int64_t *middle_ns, total_ns; /**< of each run, on the run's clock; sum of costs */
    double *y;                    /**< n × n_responses, more is better */
} kvat_cell_runs;

/** KVAT_ERR_DATA when a cell is missing or a figure is not positive. */
KVAT_EXTERN kvat_status kvat_cell_runs_add(kvat_cell_runs *runs, const kvat_profile *profile, const kvat_cell_run *run,
                                           kvat_error *err);
KVAT_EXTERN void kvat_cell_runs_clear(kvat_cell_runs *runs);

/** Fills `winner_by_cell`, `smallest_worst_loss`, `front` and the members of entries and their cells that outcome.h
 * says are of cells.h. Asks for entries ranked and the winner decided. Of answers within delta/2 of the best estimate
 * the workload's winner is named, else the default, so that noise does not choose between equals. Where peaks are from
 * mixed sources the front leaves memory out. */
KVAT_EXTERN kvat_status kvat_cells_judge(kvat_outcome *outcome, const kvat_cell_runs *runs, uint64_t seed,
                                         kvat_error *err);

/** Adds what plan and report say of it to a JSON object: `by_cell` and `worst_case` where there is more than one cell,
 * and `pareto_front` (schemas/plan.schema.json). Losses there are the share of the cell's best score that is lost, 1 −
 * exp(−loss). */
KVAT_EXTERN kvat_status kvat_cells_json_add(json_t *object, const kvat_outcome *outcome, kvat_error *err);

#ifdef __cplusplus
}
#endif
#endif
