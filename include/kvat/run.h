/**
 * @file run.h
 * A tuning run from request to files: the only module that joins the others.
 *
 *     kvat_tune_request request = KVAT_TUNE_REQUEST_INIT;  request.model = "model.gguf"; …
 *     kvat_status status = kvat_tune(&outcome, &request, &events, &cancel, err);
 *
 * Everything measured is in `<directory>/kvat.db` before it is used; the same request resumes an interrupted run and
 * repeats the answer of a finished one. One thread.
 */
#ifndef KVAT_RUN_H
#define KVAT_RUN_H

#include "kvat/outcome.h"
#include "kvat/probe.h"
#include "kvat/store.h"
#include "kvat/worker.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- engines ---- */
/** An engine kvat knows by manifest (docs/protocol.md). */
typedef struct kvat_engine {
    char *name, *title, *needs;
    char **command;     /**< NULL-terminated, placeholders resolved */
    char **environment; /**< NULL-terminated NAME=VALUE */
    char **models;      /**< NULL-terminated shell patterns */
} kvat_engine;
KVAT_EXTERN void kvat_engine_free(kvat_engine *engine);
/** All manifests of the data directory, sorted by name (NULL-terminated array; free with kvat_engines_free). */
KVAT_EXTERN kvat_status kvat_engines_list(kvat_engine ***out, kvat_error *err);
KVAT_EXTERN void kvat_engines_free(kvat_engine **engines);
/** By name, by path of a program or manifest (`name` with a '/'), or, `name` NULL, from the model; *why says why it was
 * taken (heap). KVAT_ERR_USAGE: unknown name (nearest suggested). KVAT_ERR_ENGINE: no engine answers to this model. */
KVAT_EXTERN kvat_status kvat_engine_resolve(kvat_engine **out, char **why, const char *name, const char *model,
                                            kvat_error *err);
/** What a worker says of itself: `initialize` (and with `model`, `describe`) results in one object {engine, clock,
 * capabilities, describe}. */
KVAT_EXTERN kvat_status kvat_engine_query(json_t **out, const kvat_engine *engine, const char *model,
                                          const kvat_cancel *cancel, kvat_error *err);

/* ---- tune ---- */
typedef struct kvat_tune_request {
    const char *model;   /**< as typed */
    const char *engine;  /**< NULL: from the model */
    const char *profile; /**< NULL: "chat-agent" */
    kvat_profile_overrides overrides;
    const kvat_setting *set;
    size_t n_set;
    const kvat_setting *sweep;
    size_t n_sweep;
    bool safe, allow_lossy;
    int64_t max_memory_bytes; /**< hard limit, 0: the machine's */
    int64_t time_ns;          /**< budget, 0: 20 minutes */
    int64_t max_trials;       /**< 0 none */
    int64_t trial_limit_ns;   /**< most one trial may take, 0: 3 × the default's, at least 60 s before that is known */
    uint64_t seed, world_seed;
    double delta, p_good;      /**< 0: 0.01 (0.02 of more than 64 configurations), 0.95 */
    const char *search;        /**< of kvat_search_methods(); NULL: "model" */
    const char *const *launch; /**< prefix, or NULL */
    const char *directory;     /**< NULL: "kvat_results" */
    bool fresh;                /**< abandon an earlier run of the same request and measure again */
    bool force;                /**< replace files in `directory` that are not ours */
    bool dry_run;              /**< measure nothing, write nothing */
    /** Command line to note under `reproduce`, NULL-terminated, or NULL; of a path outside the working folder only the
     * base name is kept. */
    const char *const *argv;
    /** Folder of remembered winners (kvat_winner_read()); "" to ask and remember nothing. NULL: `kvat/winners` in the
     * user's state folder, and of a virtual clock nothing, since a simulated machine is not the user's. */
    const char *winners;
    bool whole_outputs; /**< decode every output to its end in the search, too; else long ones are fitted from bursts */
} kvat_tune_request;
#define KVAT_TUNE_REQUEST_INIT                                                                                         \
    {                                                                                                                  \
        NULL, NULL, NULL, KVAT_PROFILE_OVERRIDES_INIT, NULL, 0, NULL, 0, false, false, 0, 0, 0, 0, 0, 0, 0, 0, NULL,   \
            NULL, NULL, false, false, false, NULL, NULL, false                                                         \
    }

typedef enum kvat_event_kind {
    KVAT_EVENT_HEADING,  /**< `outcome` holds request, engine, machine, space, left-outs: nothing measured yet */
    KVAT_EVENT_NOTE,     /**< `text`: a sentence ("resuming after 12 trials") */
    KVAT_EVENT_WARNING,  /**< `text` */
    KVAT_EVENT_STAGE,    /**< `text`: "loading model", with done/total from the worker */
    KVAT_EVENT_TRIAL,    /**< one trial ended */
    KVAT_EVENT_ESTIMATE, /**< after the default's run: ranges to first guess, likely, firm */
    KVAT_EVENT_CONFIRM,  /**< one confirmation run ended */
    KVAT_EVENT_FILE      /**< `text`: a file was written */
} kvat_event_kind;

typedef struct kvat_event {
    kvat_event_kind kind;
    const char *text;
    const kvat_outcome *outcome; /**< HEADING only */
    int64_t done, total;
    /* TRIAL and CONFIRM */
    size_t trial;      /**< from 1 */
    const char *label; /**< configuration measured */
    kvat_trial_status status;
    const char *detail; /**< of a failure */
    double score;       /**< relative to the default: 100·exp(s − s_default), NaN unknown */
    double ttft_s, decode_tok_per_s;
    int64_t peak_bytes;
    const char *leader; /**< label of the best so far, or NULL */
    double leader_score;
    size_t tried, survivors, configs; /**< survivors: not ruled out, those not tried among them */
    size_t pair, pairs;               /**< CONFIRM */
    double p_good;
    int64_t elapsed_ns, budget_ns;
    int64_t remaining_low_ns, remaining_high_ns; /**< −1 unknown */
    /* ESTIMATE */
    int64_t first_guess_ns, likely_ns, firm_ns;
} kvat_event;

typedef struct kvat_events {
    void (*on_event)(void *user, const kvat_event *event); /**< NULL: silent */
    void *user;
} kvat_events;

/**
 * Runs (or resumes, or repeats) a tuning. On KVAT_OK and KVAT_ERR_PARTIAL *out is set and the files are written.
 * Otherwise: KVAT_ERR_INFEASIBLE (*out set too, its entries tell the causes; report and store written, no plan),
 * KVAT_ERR_INTERRUPTED (state saved; *out untouched), KVAT_ERR_USAGE, _DATA (model, profile), _ENGINE, _IO, _BUSY. With
 * dry_run *out holds the space and forecasts only.
 */
KVAT_EXTERN kvat_status kvat_tune(kvat_outcome **out, const kvat_tune_request *request, const kvat_events *events,
                                  const kvat_cancel *cancel, kvat_error *err);

/** The outcome of a stored run (0: the newest), for reports. */
KVAT_EXTERN kvat_status kvat_outcome_load(kvat_outcome **out, kvat_store *store, int64_t run, kvat_error *err);
/** Writes best_plan.json, snippets, report.md, report.html (and lossy_plan.json) for an outcome. Existing files that
 * kvat did not write are refused unless `force`. `model_path` is put into snippets (absolute path, or NULL). */
KVAT_EXTERN kvat_status kvat_outcome_write(const kvat_outcome *outcome, const char *directory, const char *model_path,
                                           bool force, const kvat_events *events, kvat_error *err);

#ifdef __cplusplus
}
#endif
#endif
