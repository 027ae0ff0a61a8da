/**
 * @file store.h
 * The memory of a run: one SQLite file (`kvat.db`) that holds every sample before it is used.
 *
 * WAL, STRICT tables, numbered migrations (src/store/migrations/NNN_*.sql). One writer: opening for writing takes a
 * lock for the life of the store; a second writer gets KVAT_ERR_BUSY naming the process. Readers never block. A store
 * from a newer kvat opens read-only at most; a file that is no store is refused and never written.
 *
 * A kvat_store belongs to one thread. Texts in records returned by iteration are borrowed until the next step.
 */
#ifndef KVAT_STORE_H
#define KVAT_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvat/json.h"
#include "kvat/trial.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kvat_store kvat_store;

typedef enum kvat_store_mode {
    KVAT_STORE_READ, /**< KVAT_ERR_DATA when the file is missing */
    KVAT_STORE_WRITE /**< created when missing; migrated when older */
} kvat_store_mode;

/** KVAT_ERR_BUSY: another run holds it (its pid and start are named). KVAT_ERR_DATA: no kvat store, damaged, or from a
 * newer version (for writing; says what to do). KVAT_ERR_IO: disk. */
KVAT_EXTERN kvat_status kvat_store_open(kvat_store **out, const char *path, kvat_store_mode mode, kvat_error *err);
KVAT_EXTERN void kvat_store_close(kvat_store *store);

typedef enum kvat_run_state { KVAT_RUN_OPEN, KVAT_RUN_FINISHED, KVAT_RUN_ABANDONED } kvat_run_state;
KVAT_EXTERN const char *kvat_run_state_word(kvat_run_state state);

/** One `tune`. Documents are canonical JSON texts. */
typedef struct kvat_run_record {
    int64_t id;
    /** SHA-256 of request, engine, model and fingerprint: the same command finds its run by it. */
    const char *identity;
    const char *created_utc;                             /**< "2026-11-22T15:30:00Z", "" under a virtual clock */
    const char *model_name, *engine_name, *profile_name; /**< for listings */
    const char *request_json;     /**< schema kvat-request/1: what was asked, prompts as hashes; member `profile` as
                                       kvat_profile_json() gives it (the cells that samples count) */
    const char *engine_json;      /**< `initialize` result */
    const char *describe_json;    /**< `describe` result */
    const char *environment_json; /**< fingerprint, noise, load average */
    const char *space_json;       /**< array of settings objects: configuration i of this run */
    kvat_run_state state;
    int64_t trials;        /**< count, filled by listings */
    const char *note_json; /**< forecasts, what was left out, outcome words; may be "{}" */
} kvat_run_record;

/** Adds a run; `record->id` is ignored, the new id goes to *id. */
KVAT_EXTERN kvat_status kvat_store_add_run(int64_t *id, kvat_store *store, const kvat_run_record *record,
                                           kvat_error *err);
KVAT_EXTERN kvat_status kvat_store_set_run_state(kvat_store *store, int64_t run, kvat_run_state state,
                                                 const char *note_json, kvat_error *err);
/** Newest run of that identity that is not abandoned; *id = 0 when there is none. */
KVAT_EXTERN kvat_status kvat_store_find_run(int64_t *id, kvat_store *store, const char *identity, kvat_error *err);
/** Newest run, or *id = 0. */
KVAT_EXTERN kvat_status kvat_store_latest_run(int64_t *id, kvat_store *store, kvat_error *err);
/** Removes a run with everything under it. KVAT_ERR_USAGE when there is none. */
KVAT_EXTERN kvat_status kvat_store_remove_run(kvat_store *store, int64_t run, kvat_error *err);

/** Calls `each` for every run, oldest first (documents NULL but for names and state), until it returns false. */
KVAT_EXTERN kvat_status kvat_store_each_run(kvat_store *store, bool (*each)(void *user, const kvat_run_record *run),
                                            void *user, kvat_error *err);
/** Calls `each` once with the whole record. KVAT_ERR_USAGE when there is no such run. */
KVAT_EXTERN kvat_status kvat_store_get_run(kvat_store *store, int64_t run,
                                           bool (*each)(void *user, const kvat_run_record *run), void *user,
                                           kvat_error *err);

typedef enum kvat_trial_phase { KVAT_PHASE_SEARCH, KVAT_PHASE_CONFIRM } kvat_trial_phase;

/** One sequence of one cell with the worker's own timestamps. */
typedef struct kvat_timing {
    size_t cell;
    int64_t sequence;
    int64_t start_ns; /**< worker clock: request handed over; with marks 0 and ttft_ns counts */
    int64_t ttft_ns;
    const int64_t *token_ns; /**< n_tokens clock readings; stored as little-endian int64 blob */
    size_t n_tokens;
    int64_t burst; /**< 0: after the prefill; later ones repeat it, and their first reading is when they began */
} kvat_timing;

typedef struct kvat_trial_record {
    int64_t id; /**< ascending in order of completion */
    int64_t run;
    kvat_trial_phase phase;
    size_t config;       /**< index in space_json */
    size_t block, chunk; /**< search: as proposed; confirm: pair and side */
    int64_t launch;      /**< worker process it ran in, from 0 */
    bool fresh_process;
    kvat_trial_status status;
    const char *detail; /**< one line, "" when ok */
    int64_t peak_bytes; /**< 0 when failed */
    const char *peak_source;
    int64_t model_bytes, kv_bytes, compute_bytes;   /**< engine's breakdown, 0 unknown */
    int64_t load_ns, prepare_ns, warmup_ns, run_ns; /**< worker-reported; load 0 when nothing was loaded */
    int64_t worker_start_ns, worker_end_ns;         /**< worker clock around the trial */
    int64_t elapsed_ns;         /**< run's clock at the end: time spent so far, interruptions not counted */
    int64_t cost_ns;            /**< of this trial, reloads included */
    const char *effective_json; /**< settings in force as read back */
    const char *loaded_json;   /**< process- and model-scope settings the worker held afterwards; "" when it was gone */
    int64_t loaded_ns;         /**< load_ns of what it holds */
    const char *activity_json; /**< foreign CPU time, involuntary switches, swap, suspend */
    const kvat_timing *timings; /**< NULL in listings */
    size_t n_timings;
    const kvat_sample *samples; /**< one a cell when ok */
    size_t n_samples;
} kvat_trial_record;

/** Writes trial, timings and samples in one transaction and syncs it: on return it is safe, on failure nothing of it is
 * there. */
KVAT_EXTERN kvat_status kvat_store_add_trial(int64_t *id, kvat_store *store, const kvat_trial_record *trial,
                                             kvat_error *err);
/** Every trial of a run in order, with samples; with timings when `timings`. KVAT_ERR_DATA after the last when there
 * were more. */
KVAT_EXTERN kvat_status kvat_store_each_trial(kvat_store *store, int64_t run, bool timings,
                                              bool (*each)(void *user, const kvat_trial_record *trial), void *user,
                                              kvat_error *err);

/**
 * A "kvat-surface/1" of what a run measured, for `kvat tune --engine sim`. New reference. KVAT_ERR_DATA when no trial
 * was clean.
 *
 * Figures are medians a configuration and cell, of the search's trials (of the confirmation's when the search has
 * none); the peak is the trial's. A surface has no batches: cells of the smallest are exported. Knobs are narrowed to
 * what this run searched, with configuration 0 as their defaults. Configurations that failed become faults with their
 * share, and those never measured `unsupported`: an unlisted one would be played like the default. Of more than a
 * thousand there is no `base` instead, so that whatever is not listed has no figures. `run_sd` is the robust spread
 * around each configuration's mean, drift included.
 */
KVAT_EXTERN kvat_status kvat_store_export_surface(json_t **out, kvat_store *store, int64_t run, kvat_error *err);

/*
 * ---- winners: what earlier runs found best, for all folders of results together ----
 * One small JSON file each in a folder of the user's, named by the fingerprint of what it is the winner of (workload,
 * model, engine, machine). Replaced whole or not at all, so that no run ever waits for another.
 *
 *     {"format": "kvat-winner/1", "fingerprint": "…", "label": "threads 4", "settings": {…}, "created_utc": "…", …}
 */

/** The winner of that fingerprint: a new reference, NULL when there is none. KVAT_ERR_DATA names the file that is
 * damaged, of a newer version or of another fingerprint. */
KVAT_EXTERN kvat_status kvat_winner_read(json_t **out, const char *folder, const char *fingerprint, kvat_error *err);
/** Writes it under its own member `fingerprint`; makes the folder. KVAT_ERR_IO. */
KVAT_EXTERN kvat_status kvat_winner_write(const char *folder, const json_t *winner, kvat_error *err);

#ifdef __cplusplus
}
#endif
#endif
