/**
 * @file search.h
 * Which trial next, who leads, how sure, when to stop: a state machine without I/O, clock or globals.
 *
 *     kvat_search_new(&search, &options, err);
 *     while (kvat_search_propose(&trials, &n, search, err) == KVAT_OK && n > 0)
 *         for each trial: measure it somewhere, kvat_search_tell(search, &result, err);
 *     kvat_search_answer_get(&answer, search, err);
 *
 * The same options and the same results give the same proposals, so a stored run is resumed by telling its results
 * again. Results are told in the order proposed; a proposal may be cut short (budget, interrupt) by not telling the
 * rest.
 *
 * Methods stand in a table (kvat_search_method), all of docs/decision.md: "model" learns what knobs do and is taken
 * where none is named; "race" compares configurations one by one.
 */
#ifndef KVAT_SEARCH_H
#define KVAT_SEARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvat/stats.h"

#ifdef __cplusplus
extern "C" {
#endif

/** One configuration, as far as the search cares. */
typedef struct kvat_search_config {
    bool eligible;          /**< may win; others (unjudged lossy ones) are raced and ranked but never lead */
    uint32_t preference;    /**< ties within delta/2 go to the lower: 0 is the default, then fewer changed settings */
    const uint16_t *levels; /**< borrowed, n_knobs of them; for methods that model knobs; NULL allowed for "race" */
    int64_t forecast_bytes; /**< 0 unknown; after an out-of-memory everything forecast larger is infeasible */
} kvat_search_config;

/** One knob, for methods that model knobs. */
typedef struct kvat_search_knob {
    size_t n_levels; /**< 0: one more than the highest level of any configuration */
    bool ordinal;    /**< levels stand in an order, and neighbours resemble each other; else they are mere names */
    unsigned scope;  /**< what a change of it costs, the greater the dearer: kvat_scope of space.h */
} kvat_search_knob;

/** Of more configurations than this many are as good as the best: runs take 2 % for delta, methods look for something
 * good before they know what everything does. */
#define KVAT_SEARCH_MANY 64
/** What "race" takes: its fit holds three square matrices of the configurations that ran, 600 MB at most. */
#define KVAT_SEARCH_RACE_MAX 5000

typedef struct kvat_search_options {
    const char *method; /**< NULL: "model" */
    uint64_t seed;
    const kvat_search_config *configs; /**< borrowed for the life of the search; configs[0] is the default */
    size_t n_configs;                  /**< ≥ 1 */
    size_t n_knobs;
    double delta;           /**< "as good as": difference of score s; 0.01 */
    double p_good_target;   /**< stop at this confidence; 0.95 */
    size_t chunk_size;      /**< "race": most configurations in a chunk, the anchor included; 6 */
    size_t min_runs;        /**< least clean runs before stopping, of every survivor ("race") or of the answer; 1 */
    size_t max_trials;      /**< 0: the method's own limit */
    size_t max_blocks;      /**< "race"; 0: 20 */
    size_t posterior_draws; /**< 0: 2000 */
    double sigma_floor;     /**< 0: 1e-4 */
    bool has_incumbent;     /**< a stored earlier winner is the answer unless beaten by more than delta at 95 % */
    size_t incumbent;
    const kvat_search_knob *knobs; /**< borrowed, n_knobs of them, or NULL: unordered names of equal scope */
    double part_weight[3];         /**< of TTFT, decode and memory in the score; all 0: .5, .35, .15 */
} kvat_search_options;
#define KVAT_SEARCH_OPTIONS_INIT                                                                                       \
    {                                                                                                                  \
        NULL, 0, NULL, 0, 0, 0.01, 0.95, 6, 1, 0, 0, 0, 0.0, false, 0, NULL, {                                         \
            0, 0, 0                                                                                                    \
        }                                                                                                              \
    }

typedef struct kvat_search_trial {
    size_t config;
    size_t chunk; /**< numbered through the run; a chunk is measured without interruption in between */
    size_t block;
    bool fresh_process; /**< after a crash or hang: start a new worker for it */
} kvat_search_trial;

/** What became of a failed trial, as far as the search cares. */
typedef enum kvat_search_fate {
    KVAT_FATE_OK,
    /** Out of memory, unsupported, invalid: twice and it is out, with everything forecast larger (memory only). */
    KVAT_FATE_INFEASIBLE,
    /** Crash, hang, protocol error: one retry in a fresh process; after any, three clean runs more or out. */
    KVAT_FATE_BROKEN,
    KVAT_FATE_SLOW,  /**< ran past its time limit: bounds the score, out */
    KVAT_FATE_VOIDED /**< disturbed, its repetition too: no verdict; again in the next pass, or when it is chosen */
} kvat_search_fate;

typedef struct kvat_search_result {
    kvat_search_trial trial;
    kvat_search_fate fate;
    bool out_of_memory;          /**< with INFEASIBLE */
    double score;                /**< s of trial.h, when fate is OK; finite */
    double part[3];              /**< weighted parts of it: ttft, decode, memory (for methods that model them apart) */
    int64_t started_ns, cost_ns; /**< on the run's clock: start, and all it took, reloads included */
} kvat_search_result;

typedef struct kvat_search kvat_search;

KVAT_EXTERN kvat_status kvat_search_new(kvat_search **out, const kvat_search_options *options, kvat_error *err);
KVAT_EXTERN void kvat_search_free(kvat_search *search);

/** Next trials (one chunk; borrowed until the next proposal, telling leaves them alone), in the order to measure. n =
 * 0: finished; kvat_search_answer_get() says why. The first proposal is the default alone, so that an estimate can be
 * given after its run. Trials not told yet are proposed again, but for those that a result has ruled out since: who
 * asks after every result runs none of them. */
KVAT_EXTERN kvat_status kvat_search_propose(const kvat_search_trial **trials, size_t *n, kvat_search *search,
                                            kvat_error *err);
/** KVAT_ERR_USAGE for a trial that was not proposed or was told already; KVAT_ERR_DATA for a score that is not finite
 * or a negative cost. Allocates nothing. */
KVAT_EXTERN kvat_status kvat_search_tell(kvat_search *search, const kvat_search_result *result, kvat_error *err);

typedef enum kvat_search_stop {
    KVAT_STOP_RUNNING,
    KVAT_STOP_CONFIDENT, /**< P_good reached its target: of the answer, or of the one an incumbent was kept before */
    KVAT_STOP_ONE_LEFT,
    KVAT_STOP_BUDGET,    /**< trials or blocks used up */
    KVAT_STOP_INFEASIBLE /**< nothing works */
} kvat_search_stop;

typedef enum kvat_config_state {
    KVAT_CONFIG_UNTRIED, /**< no clean run yet */
    KVAT_CONFIG_RACING,
    KVAT_CONFIG_ELIMINATED, /**< too unlikely to be good; may come back */
    KVAT_CONFIG_INFEASIBLE,
    /** Failed again after a failure, or three times voided without a clean run while others had one. */
    KVAT_CONFIG_UNSTABLE,
    KVAT_CONFIG_SLOW
} kvat_config_state;

typedef struct kvat_search_standing {
    kvat_config_state state;
    size_t clean_runs, failures;
    /** Score minus the default's (or, without one, the leader's), 95 %; NaN when never measured; low and high are NaN
     * while nothing is known of the spread (under two passes). */
    kvat_interval gain;
    double p_good; /**< P(within delta of the best eligible); 0 when never measured */
} kvat_search_standing;

typedef struct kvat_search_answer {
    kvat_search_stop stop; /**< CONFIDENT and ONE_LEFT already while only those that may not win are still run */
    bool has_leader;
    size_t leader; /**< after the tie rule; valid when has_leader */
    /** Of the leader, over every eligible configuration tried, eliminated ones included; 0 when under two blocks. */
    double p_good;
    double p_best; /**< P(the leader is the very best) */
    /** The leader is the stored earlier winner although another is ahead; p_good is still its own. */
    bool incumbent_kept;
    /** The best of the others, while that and not the incumbent is ahead, and the chance that it beats the incumbent by
     * more than delta; SIZE_MAX and NaN where there is no incumbent or the two cannot be compared. */
    size_t challenger;
    double p_challenger;
    double sigma; /**< residual spread of a run's score, drift taken out; NaN before a fit exists */
    /** Expected standard deviation of what two runs of one configuration, one right after the other, differ by: in ln
     * TTFT, ln decode, ln peak and the score. NaN where that is not known. */
    double pair_sd[4];
    /** What the search's own runs say of the leader's gain over configuration 0, each figure as in `pair_sd`: mean and
     * standard deviation, on `gain_dof` degrees of freedom. NaN where nothing is known. */
    double gain_mean[4], gain_sd[4], gain_dof;
    /** How much noise comes and goes here, 0 (steady) to 1: the more, the wider is the posterior, and the more trials
     * are allowed; above a half the confirmation takes nothing from the search. */
    double restless;
    size_t survivors, tried, trials;
    const kvat_search_standing *standing; /**< n_configs, borrowed until the next call on the search */
} kvat_search_answer;

KVAT_EXTERN kvat_status kvat_search_answer_get(kvat_search_answer *out, kvat_search *search, kvat_error *err);
/** For those who look on after every trial: the same as of the last decision, without a fit of its own. Counts of runs
 * are those of now. */
KVAT_EXTERN kvat_status kvat_search_answer_glance(kvat_search_answer *out, kvat_search *search, kvat_error *err);

/** How many trials each kind of answer will take from here, from what is known so far: ranges for the estimate shown
 * after the default's run. Not a promise: the end of a race depends on how close the best are. */
typedef struct kvat_search_outlook {
    size_t first_guess; /**< further trials to the end of the first pass */
    size_t likely;      /**< … of the second pass, the first that can end the race */
    size_t firm;        /**< … to the typical end at the noise seen so far */
} kvat_search_outlook;
KVAT_EXTERN kvat_search_outlook kvat_search_outlook_get(const kvat_search *search);

/** Names of the methods in the table, NULL-terminated. */
KVAT_EXTERN const char *const *kvat_search_methods(void);

/*
 * ---- confirmation: is A better than B? ----
 * Fresh runs in ABBA order (A B, B A, A B, …), at least two launches each. The interval is Student's for the mean of
 * the pairs' differences; from six pairs on the smallest and the largest are trimmed (Tukey and McLaughlin 1963), so
 * one spike does no harm. What the search has learned of the spread may be told; it enters the spread alone, never the
 * mean (scaled inverse-χ² prior, kvat_informed_estimate() of stats.h). The interval is looked at after every second
 * pair. Looking often would let chance win: the error allowed, 1 − level, is shared out over the looks (half
 * of it over the early ones, half to the last), so the printed interval covers the truth at `level` whenever it
 * stopped. Where a gain is known beforehand each look has 0.24 of the error, which holds the level for eight looks at
 * the pairs alone (S. Pocock 1977); joined with what is known it holds as far as that does. One machine serves `tune`
 * (winner against default), `verify` and `ab`.
 */
typedef struct kvat_confirm_options {
    size_t min_pairs;        /**< 4 */
    size_t max_pairs;        /**< 8 */
    double level;            /**< 0.95 */
    size_t pairs_per_launch; /**< pairs before both sides start anew; 2; fewer than min_pairs */
    size_t whole_pairs;      /**< pairs of whole outputs, before those as short as the search's; 0: all */
    /** Standard deviation of a pair's difference as expected before any pair: of ln TTFT, ln decode, ln peak and the
     * score; not above 0 or NaN where nothing is known. Worth `prior_dof` degrees of freedom; 0: all unknown. */
    double prior_sd[4];
    double prior_dof;
    /** A − B of the same as known beforehand: mean, standard deviation (not above 0 or NaN: nothing is known) and its
     * degrees of freedom. */
    double known_mean[4], known_sd[4], known_dof;
    double enough; /**< undecided and over once A − B is surely below this; 0: never */
    /** Undecided and over, from `futile_from` pairs on, once the chance that all of max_pairs would show A to be
     * better is below this (predictive power: Spiegelhalter, Freedman & Blackburn 1986); 0: never. */
    double futile;
    size_t futile_from;
} kvat_confirm_options;
#define KVAT_CONFIRM_OPTIONS_INIT                                                                                      \
    { 4, 8, 0.95, 2, 0, {0, 0, 0, 0}, 0, {0, 0, 0, 0}, {0, 0, 0, 0}, 0, 0, 0, 0 }

/** For the winner of a search against its default: from two pairs on where the search knows the spread, a launch a
 * pair, more pairs where that is not enough, and no more than it takes to know that less than `delta` is at stake, or
 * that more would hardly show a gain. What the search knows of the gain is joined with the pairs, its variance doubled,
 * unless they contradict it; where noise comes and goes (`restless` above a half) nothing is, and all is as by default.
 */
KVAT_EXTERN kvat_confirm_options kvat_confirm_options_after(const kvat_search_answer *answer, double delta);

typedef struct kvat_confirm kvat_confirm;
typedef struct kvat_confirm_trial {
    int side; /**< 0: A, 1: B */
    size_t pair;
    bool fresh_process;
    bool whole; /**< whole outputs; else as short as in the search */
} kvat_confirm_trial;

typedef enum kvat_verdict {
    KVAT_VERDICT_UNDECIDED, /**< the interval includes zero, or too few pairs */
    KVAT_VERDICT_A,         /**< A is better: interval above zero */
    KVAT_VERDICT_B,         /**< B is better: interval below zero */
    KVAT_VERDICT_FAILED     /**< a side failed in confirmation */
} kvat_verdict;

typedef struct kvat_confirm_answer {
    size_t pairs;          /**< complete, clean pairs */
    kvat_interval score;   /**< A − B of score s */
    kvat_interval part[3]; /**< A − B of ln TTFT, ln decode, ln peak (unweighted) */
    kvat_verdict verdict;
    int failed_side;     /**< with KVAT_VERDICT_FAILED */
    kvat_interval fresh; /**< A − B of score s by the pairs alone */
    bool joined;         /**< `score` also rests on what was known before */
    bool too_little;     /**< undecided, and A − B is surely below `enough` */
    bool futile;         /**< undecided, and more pairs are not likely to show A to be better */
} kvat_confirm_answer;

KVAT_EXTERN kvat_status kvat_confirm_new(kvat_confirm **out, const kvat_confirm_options *options, kvat_error *err);
KVAT_EXTERN void kvat_confirm_free(kvat_confirm *confirm);
/** Next run; false when it is decided, or max_pairs are done. Stops early once min_pairs are in and the interval
 * excludes zero, lies below `enough`, or is futile. */
KVAT_EXTERN bool kvat_confirm_propose(kvat_confirm_trial *out, const kvat_confirm *confirm);
/** `ok` false: the run failed (two failures of a side end it); voided runs are simply not told. `ln_part` is ln TTFT,
 * ln decode, ln peak. */
KVAT_EXTERN kvat_status kvat_confirm_tell(kvat_confirm *confirm, const kvat_confirm_trial *trial, bool ok, double score,
                                          const double ln_part[3], kvat_error *err);
KVAT_EXTERN kvat_confirm_answer kvat_confirm_answer_get(const kvat_confirm *confirm);

#ifdef __cplusplus
}
#endif
#endif
