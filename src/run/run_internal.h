// What the files of `run` share: engines found, a workload set up, a worker kept ready, and the loop that drives both.
// Must not know an engine by name, nor print.
#ifndef KVAT_RUN_INTERNAL_H
#define KVAT_RUN_INTERNAL_H

#include <jansson.h>

#include "kvat/hash.h"
#include "kvat/memory.h"
#include "kvat/run.h"
#include "kvat/units.h"

/* ---- job.c: what is to be measured; made from a request or read back from the store ---- */

/** A workload and its configurations, ready to be measured. Owns everything in it. */
typedef struct kvat__job {
    json_t *request;     /**< kvat-request/1 */
    json_t *hello;       /**< `initialize` result */
    json_t *describe;    /**< `describe` result, home folder in `file` written as "~" */
    json_t *environment; /**< {machine, noise, load_average} */
    json_t *note;        /**< {left_out: [...], forecasts: [...], default_dropped, why_engine, budget, incumbent} */
    kvat_profile *profile;
    kvat_knobs *knobs;
    kvat_space *space;
    int64_t *forecast_bytes; /**< one a configuration, 0 unknown */
    size_t incumbent;        /**< configuration that an earlier run found best (note.incumbent), SIZE_MAX none here */
    bool default_dropped;    /**< configuration 0 is not the engine's default: that one cannot fit */
    bool virtual_clock, marks, repeats;
    bool synthetic;
    int64_t burst_tokens; /**< outputs longer than this are fitted from bursts in the search; 0: none is */
    int64_t token_low, token_high;
    int64_t context_tokens; /**< of all sequences of the largest `prepare` together; a plan names that of one */
    double delta, p_good;
    uint64_t seed, world_seed;
    int64_t budget_ns, max_trials, trial_limit_ns;
    int64_t peak_limit_bytes; /**< hard limit on the peak of a trial, 0 none */
} kvat__job;

kvat_status kvat__job_from_request(kvat__job **out, const kvat_tune_request *request, const json_t *hello,
                                   const json_t *describe, const kvat_machine *machine, const char *engine_name,
                                   const char *why_engine, kvat_error *err);
kvat_status kvat__job_from_record(kvat__job **out, const kvat_run_record *record, kvat_error *err);
/** What a configuration should occupy. KVAT_ERR_DATA: the model does not say enough of it. */
kvat_status kvat__job_forecast(int64_t *bytes, const kvat__job *job, const kvat_memory_model *model, size_t config,
                               kvat_error *err);
/** A job of its own with the same content. */
kvat_status kvat__job_copy(kvat__job **out, const kvat__job *job, kvat_error *err);
void kvat__job_free(kvat__job *job);
/** With request, hello, describe, profile and note in place: what follows from them but for the space. */
kvat_status kvat__job_read_facts(kvat__job *job, kvat_error *err);
/** The hash of the profile's prompt file as member `prompts_sha256` of `request`, where there is one. */
kvat_status kvat__hash_prompts(json_t *request, const kvat_profile *profile, kvat_error *err);
/** Identity of (request, model, engine, machine): `hex` has KVAT_HASH_HEX places. Budgets are not in it. */
kvat_status kvat__job_identity(char *hex, const kvat__job *job, kvat_error *err);
/** May it win? Lossy values need leave, but for the default's own and those that were asked for outright. */
bool kvat__job_eligible(const kvat__job *job, size_t config);
/** Settings objects of every configuration. New reference. */
kvat_status kvat__job_space_json(json_t **out, const kvat__job *job, kvat_error *err);

/* ---- argv.c ---- */
/** A command line, NULL-terminated or NULL, as it may be told: it names neither the user nor a host. New reference,
 * NULL without memory. */
json_t *kvat__argv_json(const char *const *argv);

/* ---- private.c: what a worker says, on its way into the store ---- */
/** The text with the last part alone of every absolute path, and HOST for the name of this machine. */
void kvat__put_private(kvat_buf *out, const char *text);
kvat_status kvat__make_private(kvat_buf *text, kvat_error *err);
/** The same of every string value below, which may be `json` itself. */
kvat_status kvat__make_json_private(json_t *json, kvat_error *err);

/* ---- drive.c: which measurement next, by search, confirmation and budget; no I/O ---- */

/** One measurement to make. */
typedef struct kvat__step {
    kvat_trial_phase phase;
    size_t config;
    size_t block, chunk; /**< search: as proposed; confirm: pair and side */
    bool fresh_process;
    uint64_t repetition;   /**< prompts are equal within one, different between */
    int64_t burst_tokens;  /**< most tokens that a depth is decoded for, longer outputs are fitted; 0: all of them */
    int64_t burst_repeats; /**< bursts at each depth, where the worker can; 0 is 1 */
    bool plain;            /**< each depth by a run of its own, its prompt read in anew */
} kvat__step;

typedef struct kvat__drive kvat__drive;
kvat_status kvat__drive_new(kvat__drive **out, const kvat__job *job, kvat_error *err);
void kvat__drive_free(kvat__drive *drive);
/** *more false: finished. Otherwise the step to measure; the same again after a voided one. */
kvat_status kvat__drive_next(kvat__step *step, bool *more, kvat__drive *drive, kvat_error *err);
/** Tells the result of the step. KVAT_ERR_DATA when the record is not of that step (a store that does not fit). */
kvat_status kvat__drive_tell(kvat__drive *drive, const kvat_trial_record *record, kvat_error *err);
/** True for a stored confirmation that this drive has no use for (the budget was raised since): skip it. */
bool kvat__drive_skips(const kvat__drive *drive, const kvat_trial_record *record);
/** Accounts for a skipped record's time. */
void kvat__drive_skip(kvat__drive *drive, const kvat_trial_record *record);

/** Whether load from others voids a measurement now: the same for every attempt of a step. Where many steps were given
 * up for it, load is how this machine is, and judging it would leave nothing. */
bool kvat__drive_judges_load(const kvat__drive *drive);
/** Most a `run` may take now: 3 × the default's, or the limit before that is known. */
int64_t kvat__drive_run_limit_ns(const kvat__drive *drive);

typedef struct kvat__drive_view {
    kvat_search_answer answer;
    kvat_search_outlook outlook;
    kvat_confirm_answer confirmation;
    bool confirming, search_done, out_of_budget;
    bool finished;           /**< there is nothing left to measure; false in a run that was cut */
    bool confirm_disturbed;  /**< the confirmation ended because the machine was too disturbed */
    size_t confirmed_config; /**< SIZE_MAX none */
    size_t reference_config; /**< what it was confirmed against; SIZE_MAX none */
    size_t trials, failed, voided;
    int64_t elapsed_ns, mean_cost_ns;
    int64_t confirm_cost_ns; /**< of one run of the confirmation, as far as it can be foretold */
    double default_score;    /**< median s of the default, NaN before it ran */
    /** The same of the default's confirmation runs where only those decode whole outputs, else default_score. */
    double default_confirm_score;
    size_t pairs_min, pairs_max;
    size_t pairs_least; /**< a confirmation may be over after */
} kvat__drive_view;
kvat_status kvat__drive_look(kvat__drive_view *out, kvat__drive *drive, kvat_error *err);
/** The same after every trial: the answer as of the search's last decision. */
kvat_status kvat__drive_glance(kvat__drive_view *out, kvat__drive *drive, kvat_error *err);
/** Weighted score of a record (s of trial.h) and its parts; KVAT_ERR_DATA when it is not ok. */
kvat_status kvat__record_score(double *score, kvat_score_parts *parts, const kvat_profile *profile,
                               const kvat_trial_record *record, kvat_error *err);
/** Gain of a raw score over the default's median, as 100·exp(). NaN when unknown. */
double kvat__relative_score(double score, double default_score);

/* ---- session.c: a worker kept ready, and one trial measured with it ---- */

typedef struct kvat__session kvat__session;
typedef struct kvat__session_options {
    const kvat_engine *engine;
    const char *model;
    const char *const *launch;
    int64_t memory_limit_bytes;
    uint64_t world_seed;
    bool measures; /**< for a run, and not only to hear what the worker says of itself */
    const kvat_cancel *cancel;
    const kvat_events *events;
} kvat__session_options;

/** Where a virtual clock stood when the last trial was stored. */
typedef struct kvat__session_state {
    int64_t launch; /**< launches so far */
    int64_t virtual_now_ns;
    const char *loaded_json; /**< "" nothing loaded; borrowed during the call */
    int64_t loaded_ns;
} kvat__session_state;

/** Starts a worker and asks `initialize` and `describe` (new references). Worker trouble here is an error:
 * KVAT_ERR_ENGINE, or KVAT_ERR_DATA for a model the engine's worker refuses. */
kvat_status kvat__session_open(kvat__session **out, json_t **hello, json_t **describe,
                               const kvat__session_options *options, kvat_error *err);
void kvat__session_close(kvat__session *session);
/** Takes up where a stored run stopped. */
kvat_status kvat__session_restore(kvat__session *session, const kvat__session_state *state, kvat_error *err);
/** One trial as it was measured, with all its record points to. */
typedef struct kvat__measurement {
    kvat_trial_record record; /**< pointers into the members below */
    kvat_buf detail, effective, loaded, activity;
    kvat_timing *timings;
    size_t n_timings, timings_capacity;
    int64_t **token_ns; /**< owned arrays, n_timings */
    kvat_sample *samples;
    size_t n_samples;
    char peak_source[64];
} kvat__measurement;
void kvat__measurement_clear(kvat__measurement *measurement);

/** Measures one step. Trouble of the engine is in out->record.status; an error is ours (interrupted, no memory) or
 * "model changed" (KVAT_ERR_DATA). */
typedef struct kvat__measure_limits {
    int64_t run_ns;  /**< most one `run` may take */
    int cores;       /**< of the machine, to judge foreign load */
    bool judge_load; /**< void a trial that others disturbed; else only note it */
} kvat__measure_limits;
kvat_status kvat__session_measure(kvat__measurement *out, kvat__session *session, const kvat__job *job,
                                  const kvat__step *step, const kvat__measure_limits *limits, kvat_error *err);

/* ---- sample.c: worker answers → timings and samples ---- */

/** The most a worker may say. Clocks may count from any moment; a call takes less than a day, so that the sums over a
 * run of any length cannot overflow. */
#define KVAT__MOST_CLOCK_NS    ((int64_t)1 << 62)
#define KVAT__MOST_DURATION_NS ((int64_t)1 << 46)
#define KVAT__MOST_BYTES       ((int64_t)1 << 53)
#define KVAT__MOST_TOKENS      ((int64_t)1 << 53)
/** Whether an answer says this member: null is as good as nothing. */
bool kvat__says(const json_t *object, const char *member);
/** An integer member from 0 to `most`; *out is 0 without that member. False when it is something else. */
bool kvat__get_count(int64_t *out, const json_t *object, const char *member, int64_t most);
/** *out is now_ns − start_ns of an answer to `run`, 0 when one is missing. False when it cannot be a duration. */
bool kvat__get_span(int64_t *out, const json_t *result);

/** Cells of one batch size: what one `prepare` serves. */
typedef struct kvat__cell_group {
    int64_t sequences;
    size_t first, count;    /**< range of the profile's cells (they are sorted) */
    int64_t context_tokens; /**< of one sequence */
} kvat__cell_group;
size_t kvat__cell_groups(kvat__cell_group *groups, const kvat_profile *profile); /**< `groups` has n_cells places */

/** One depth of a group: the prompt length, the longest output asked at it, and how often (0 is once). */
typedef struct kvat__mark {
    int64_t prompt_tokens, output_tokens, repeats;
} kvat__mark;
size_t kvat__marks_of(kvat__mark *marks, const kvat_profile *profile, const kvat__cell_group *group);

/** Reads one depth's token times from a `run` result (with or without marks) into `m`, checking counts and order.
 * Returns the status of the trial: KVAT_TRIAL_OK or INVALID/PROTOCOL_ERROR with m->detail. Cells whose output was
 * decoded whole have their sample then. */
kvat_trial_status kvat__read_run(kvat__measurement *m, const json_t *result, const kvat_profile *profile,
                                 const kvat__cell_group *group, const kvat__mark *marks, size_t n_marks,
                                 bool with_marks, int64_t *run_ns);

/** Samples of the group's cells whose output is longer than what was decoded, from its bursts: timings `first` on. */
kvat_trial_status kvat__fit_samples(kvat__measurement *m, const kvat_profile *profile, const kvat__cell_group *group,
                                    size_t first);

/* ---- fidelity.c: how much of a workload a run decodes, and what runs of either kind will take ---- */

#define KVAT__BURST_TOKENS 32
#define KVAT__MOST_REPEATS 3

/** What the first clean run of the search says of those to come. All 0 before it, and where nothing is shortened. */
typedef struct kvat__fidelity {
    int64_t burst_repeats;
    int64_t search_run_ns, confirm_run_ns, confirm_cost_ns;
} kvat__fidelity;

/** Whether some output of the profile is longer than a burst. */
bool kvat__profile_is_long(const kvat_profile *profile);
/** Whether reading in every prompt by itself takes less than twice the tokens of one pass. */
bool kvat__plain_is_cheap(const kvat_profile *profile);
kvat__fidelity kvat__fidelity_of(const kvat__job *job, const kvat_trial_record *clean);
/** Whether it decoded bursts alone, from which some output was fitted. */
bool kvat__record_fitted(const kvat_trial_record *record);
/** What a run with these samples would take that decodes every output whole: what it took, where it did. */
int64_t kvat__whole_run_ns(const kvat_profile *profile, const kvat_trial_record *record);

/* ---- replay.c: stored trials told to a drive ---- */
/** Feeds stored records (from kvat_store_each_trial) to a drive; `each` (or NULL) sees every told record with the drive
 * after it. */
typedef struct kvat__replay {
    kvat__drive *drive;
    void (*each)(void *user, const kvat_trial_record *record, kvat__drive *drive);
    void *user;
    size_t told, skipped;      /**< of those told, of a confirmation that a larger budget takes back */
    bool skipping, skipped_ok; /**< the last one was skipped, of this pair and side */
    size_t skipped_pair, skipped_side;
    kvat_status status;
    kvat_error *err;
    /* last record, for kvat__session_restore */
    int64_t launch, worker_end_ns, loaded_ns, elapsed_ns;
    kvat_buf loaded;
} kvat__replay;
kvat_status kvat__replay_run(kvat__replay *replay, kvat_store *store, int64_t run, bool timings, kvat_error *err);

/** An outcome of a job before anything is measured: heading and dry run. */
kvat_status kvat__outcome_of_job(kvat_outcome **out, const kvat__job *job, kvat_error *err);

/* ---- incumbent.c: the winner of an earlier run, remembered in the user's state folder ---- */

/** Identity of (workload, model, engine, machine): `hex` has KVAT_HASH_HEX places. Neither budget nor seed nor what is
 * swept is in it. */
kvat_status kvat__incumbent_fingerprint(char *hex, const kvat__job *job, kvat_error *err);
/** The configuration with the settings of note.incumbent, if it may win here; SIZE_MAX none. */
size_t kvat__incumbent_find(const kvat__job *job);
/** Looks for the winner of this job in `folder`, notes it, so that it is stored with the run, and finds it. */
kvat_status kvat__incumbent_take(kvat__job *job, const char *folder, kvat_error *err);
/** Remembers the answer of a finished run in `folder`, unless the run decided nothing, could not compare the winner
 * that was there, or another run has remembered something else meanwhile. */
kvat_status kvat__incumbent_remember(const kvat__job *job, const kvat_outcome *outcome, const char *folder,
                                     kvat_error *err);
/** Fills the outcome's members about the incumbent, once it is decided. */
kvat_status kvat__outcome_judge_incumbent(kvat_outcome *outcome, const kvat__job *job, const kvat__drive_view *view,
                                          kvat_error *err);

/* ---- left_out.c ---- */
/** Those the job's note names: they were not even raced. */
kvat_status kvat__left_out_copy(kvat_outcome *outcome, const json_t *note, kvat_error *err);
/** Adds those that the search ruled out before their first run, because a smaller one ran out of memory. */
kvat_status kvat__left_out_add_ruled_out(kvat_outcome *outcome, kvat_error *err);

#endif
