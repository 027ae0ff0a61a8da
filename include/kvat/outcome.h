/**
 * @file outcome.h
 * Everything a finished (or partial) run has to say: the one model that plan, reports and terminal are made from.
 *
 * Built by kvat_outcome_load() (run.h) from the store alone, so that every output can be made again at any time. A
 * kvat_outcome owns all it points to; free it with kvat_outcome_free(). Strings from engines, models and profiles are
 * raw: escape them at the sink. NaN means "not known"; sizes 0 mean "not known".
 */
#ifndef KVAT_OUTCOME_H
#define KVAT_OUTCOME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvat/search.h"
#include "kvat/space.h"
#include "kvat/trial.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Figures of a configuration in one cell; medians over its clean runs with 95 % intervals (of the median run, drift
 * not removed). */
typedef struct kvat_cell_figures {
    size_t cell;
    kvat_interval ttft_s;
    kvat_interval decode_tok_per_s; /**< of the runs that decoded the output to its end, if any did */
    bool decode_fitted;             /**< none did: it follows from shorter bursts */
    /** Of fitted runs, if there are any. Every configuration has these, so that it alone is held against another's. */
    double compared_decode_tok_per_s;
    double prefill_tok_per_s;
    double itl_p50_s, itl_p95_s, itl_p99_s; /**< of the same runs as decode_tok_per_s */
    /* as if this cell were the whole workload (cells.h): differences of the score s; NaN where not compared */
    kvat_interval gain; /**< over the default; ends only of the workload's winner and of the best here */
    kvat_interval loss; /**< behind the best that may win here, ≥ 0; ends as of `gain` */
    double p_good;      /**< chance that it is within delta of the best here; NaN where nothing ran twice */
} kvat_cell_figures;

/** One configuration as the report shows it. */
typedef struct kvat_entry {
    size_t config;    /**< index in the run's space */
    size_t rank;      /**< 1 = best; 0 = not ranked (failed, never measured) */
    char *label;      /**< "threads 2, ubatch-size 256" or "default" */
    json_t *settings; /**< every knob: name → value */
    json_t *changed;  /**< those off default */
    char identity[65];
    bool lossy;
    bool eligible; /**< may win: lossless, the default, or no lossier than what was set */
    kvat_search_standing standing;
    double score; /**< 100·exp(gain): the default is 100 */
    kvat_interval score_interval;
    double ttft_s, decode_tok_per_s;              /**< geometric means over cells, by weight, of the medians */
    double compared_decode_tok_per_s;             /**< the same of the cells' */
    bool decode_fitted;                           /**< of some cell */
    int64_t peak_bytes;                           /**< median */
    int64_t model_bytes, kv_bytes, compute_bytes; /**< engine's breakdown of the last clean run */
    int64_t forecast_bytes;
    double jitter;            /**< p95 ÷ p50 of the inter-token times, worst cell */
    kvat_cell_figures *cells; /**< n_cells of the profile, in its order; NULL when never measured */
    /* over cells and metrics (cells.h); NaN where not compared, chances also where nothing ran twice */
    kvat_interval worst_loss; /**< its largest `loss` of any cell; ends only of the winner and of the smallest */
    size_t worst_cell;        /**< the cell of that loss */
    double p_least;           /**< chance that its worst loss is within delta of the smallest */
    /** Chance that it is on the Pareto front: nothing that may win is better by more than delta in TTFT, decode or peak
     * memory without being worse by more than delta in another of them. */
    double p_front;
    size_t failures_by_status[KVAT_TRIAL_STATUS_COUNT];
    char *failure; /**< detail of the last failure, or NULL */
} kvat_entry;

/** A left-out configuration and why (never started). */
typedef struct kvat_left_out {
    char *label;
    int64_t forecast_bytes;
    char *reason;
} kvat_left_out;

/** One trial in the order of time: the race chart. */
typedef struct kvat_race_point {
    int64_t elapsed_ns, cost_ns;
    size_t config;
    bool confirming; /**< false: a trial of the search */
    bool fitted;     /**< decoded bursts alone */
    kvat_trial_status status;
    double score;  /**< raw score relative to the default's median: 100·exp(s − s_default); NaN when failed */
    size_t leader; /**< after this trial; SIZE_MAX none */
    size_t survivors;
    double p_good;
} kvat_race_point;

/** A device's memory is not the host's: neither is compared with the other. */
#define KVAT_PEAK_OF_DEVICES "devices: "

typedef enum kvat_decision {
    KVAT_DECISION_WINNER,    /**< confirmed better than the default */
    KVAT_DECISION_DEFAULT,   /**< keep the default: nothing was confirmed to beat it */
    KVAT_DECISION_UNDECIDED, /**< budget ended or too noisy: best so far is given, the default stays the advice */
    KVAT_DECISION_INFEASIBLE /**< nothing works */
} kvat_decision;

typedef struct kvat_outcome {
    /* what was asked */
    kvat_profile *profile;
    int64_t context_tokens;                      /**< of one sequence */
    int64_t sequences;                           /**< most at once */
    json_t *request;                             /**< kvat-request/1 */
    json_t *engine;                              /**< `initialize` result's engine object */
    json_t *model;                               /**< `describe` result's model object */
    json_t *environment;                         /**< fingerprint, noise */
    char *engine_name, *model_name, *model_file; /**< file NULL when there is none */
    char *created_utc;                           /**< "" under a virtual clock */
    bool virtual_clock;
    kvat_knobs *knobs;
    kvat_space *space;

    /* what came out */
    kvat_decision decision;
    kvat_search_stop stop;
    bool exhausted;       /**< the search gave up by itself, undecided: more time would not make it go on */
    char *why;            /**< one sentence: why this decision, and what would firm it up */
    size_t winner;        /**< entry index (not config) of what to use: the default when kept; SIZE_MAX none */
    size_t best_so_far;   /**< entry index of the leader of the search; SIZE_MAX none */
    size_t default_entry; /**< entry index of configuration 0 */
    double p_good, p_best, sigma, delta;
    size_t incumbent;          /**< entry index of the winner of an earlier run, SIZE_MAX none that could be compared */
    bool incumbent_kept;       /**< the answer is that one again */
    double p_incumbent_beaten; /**< chance that the best of the others beats it by more than delta; NaN not known */
    char *incumbent_said;      /**< what became of it in a sentence without its period; NULL when none was remembered */
    size_t lossy_best;         /**< entry index of the best unjudged lossy configuration, SIZE_MAX none */
    bool reference_is_default; /**< false: the default failed, gains are against the first that works */
    kvat_confirm_answer confirmation; /**< pairs 0 when none was made */
    size_t confirmed_entry;           /**< the entry whose confirmation it is, SIZE_MAX none */
    size_t winner_by_cell_n;
    size_t *winner_by_cell;     /**< n_cells: entry index of the best in each cell by its own score; SIZE_MAX none */
    size_t smallest_worst_loss; /**< entry with the smallest worst-case loss over cells, SIZE_MAX none */
    size_t *front;              /**< n_front entry indices: the Pareto front by rank, of equals only the first */
    size_t n_front;

    kvat_entry *entries; /**< ranked first, then failed, then untried */
    size_t n_entries;
    kvat_left_out *left_out;
    size_t n_left_out;
    kvat_space_left_out skipped;
    kvat_race_point *race;
    size_t n_race;

    /* what it cost and how clean it was */
    int64_t elapsed_ns, measured_ns; /**< run's clock; sum of worker-reported time */
    double grid_ratio; /**< elapsed ÷ estimated time of a 5-repetition grid over the same configurations; NaN */
    size_t trials, failed_trials, voided_trials;
    double anchor_spread; /**< residual sd of the anchors' score, as a ratio; NaN */
    bool noisy;           /**< anchor_spread above 5 %: said at the top of every output */
    char *peak_source;    /**< where peaks were read from; of devices when it begins with KVAT_PEAK_OF_DEVICES */
    bool mixed_sources;   /**< not all from one: peaks are of no one kind, are not compared, and `peak_source` is "" */
    char **warnings;      /**< sentences for the top of the report */
    size_t n_warnings;
} kvat_outcome;

/** Stable lower-case word: "winner", "default", "undecided", "infeasible". */
KVAT_EXTERN const char *kvat_decision_word(kvat_decision decision);

/** How many configurations were measured against each other: those that may win, ran clean and have not been put out
 * for failing. */
KVAT_EXTERN size_t kvat_outcome_compared(const kvat_outcome *outcome);
/** How many configurations `p_good` and `p_best` are about: those compared; of a search that learns what settings do,
 * those that may win and were not tried as well. */
KVAT_EXTERN size_t kvat_outcome_considered(const kvat_outcome *outcome);
/** The status that every failed measurement ended with; KVAT_TRIAL_OK when none failed or they differ. */
KVAT_EXTERN kvat_trial_status kvat_outcome_only_failure(const kvat_outcome *outcome);
/** The search compared configurations one by one (method "race"). */
KVAT_EXTERN bool kvat_outcome_raced(const kvat_outcome *outcome);

KVAT_EXTERN void kvat_outcome_free(kvat_outcome *outcome);

#ifdef __cplusplus
}
#endif
#endif
