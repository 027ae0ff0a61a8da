/**
 * @file worker.h
 * A worker process seen from the coordinator: started, called, watched, ended. The other side is serve.h.
 *
 * A worker runs in its own process group under the small supervisor `kvat-spawn`, which sets what cannot be set between
 * fork and exec (death with the parent, memory limit, oom_score_adj, cgroup) and takes every descendant down with it.
 *
 * What a worker does wrong is data: kvat_worker_call() returns KVAT_OK with a kvat_call that says what happened. An
 * error status means that this side failed (no memory, no processes, interrupted).
 *
 * One thread, which has to outlive its workers (they die with it); each worker owns its libuv loop. Signals are not
 * touched: a cancel flag (kvat_cancel) is polled ten times a second.
 */
#ifndef KVAT_WORKER_H
#define KVAT_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvat/json.h"
#include "kvat/serve.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Set to 1 by a signal handler (finish in order) or 2 (at once); read by whoever waits. */
typedef struct kvat_cancel {
    volatile int level;
} kvat_cancel;

typedef struct kvat_worker_options {
    const char *const *command;     /**< NULL-terminated argv; command[0] is looked up in PATH when it has no '/' */
    const char *const *environment; /**< NULL-terminated NAME=VALUE added to ours, or NULL */
    const char *const *launch;      /**< NULL-terminated prefix (`ssh host`, `srun …`), or NULL */
    int64_t memory_limit_bytes;     /**< 0 none; by cgroup v1/v2 where allowed, else RLIMIT_DATA */
    const kvat_cancel *cancel;      /**< or NULL */
    void (*on_progress)(void *user, const char *stage, int64_t done, int64_t total); /**< or NULL */
    void (*on_log)(void *user, const char *level, const char *text);                 /**< or NULL */
    void *user;
    size_t max_line_bytes; /**< 0: 16 MiB */
    int64_t term_grace_ns; /**< from TERM to KILL; 0: 10 s */
} kvat_worker_options;

typedef enum kvat_call_outcome {
    KVAT_CALL_OK,      /**< `result` is set */
    KVAT_CALL_FAULT,   /**< the worker answered with an error: `fault`, `code` */
    KVAT_CALL_TIMEOUT, /**< no answer by the deadline; the worker was ended */
    KVAT_CALL_DIED,    /**< it ended by itself: `death` */
    KVAT_CALL_PROTOCOL /**< it broke the protocol and was ended: `detail` */
} kvat_call_outcome;

typedef enum kvat_death_kind {
    KVAT_DEATH_EXIT,   /**< exited with `code` */
    KVAT_DEATH_SIGNAL, /**< killed by signal `code` */
    KVAT_DEATH_OOM     /**< killed by the kernel for memory, or hit its memory limit */
} kvat_death_kind;

typedef struct kvat_death {
    kvat_death_kind kind;
    int code;
    char detail[512]; /**< one line that goes on from "the worker": what is known ("was killed by signal 11"), with the
                           last telling line of standard error */
} kvat_death;

/** What one call brought. Zero-initialise; clear with kvat_call_clear(). */
typedef struct kvat_call {
    kvat_call_outcome outcome;
    json_t *result;        /**< owned; an object, when OK */
    int code;              /**< JSON-RPC code, when FAULT */
    kvat_fault fault;      /**< when FAULT */
    kvat_death death;      /**< when DIED */
    char detail[512];      /**< one line for people, in every outcome but OK */
    int64_t round_trip_ns; /**< CLOCK_MONOTONIC, for kvat's own overhead only */
} kvat_call;
KVAT_EXTERN void kvat_call_clear(kvat_call *call);

typedef struct kvat_worker kvat_worker;

/** Starts the process. KVAT_ERR_ENGINE when the program does not exist or cannot be executed. */
KVAT_EXTERN kvat_status kvat_worker_spawn(kvat_worker **out, const kvat_worker_options *options, kvat_error *err);

/** Sends `method` with `params` (reference taken, NULL for {}) and waits at most `deadline_ns` from now.
 * KVAT_ERR_INTERRUPTED when cancelled (level 1: `$/cancel` is sent and 2 s waited; the worker is ended either way).
 * After any outcome but OK and FAULT the worker is gone: kvat_worker_alive() is false and every further call answers
 * DIED. */
KVAT_EXTERN kvat_status kvat_worker_call(kvat_call *out, kvat_worker *worker, const char *method, json_t *params,
                                         int64_t deadline_ns, kvat_error *err);
KVAT_EXTERN bool kvat_worker_alive(const kvat_worker *worker);
/** Process id of the worker's group, 0 when it is gone or remote. For probes. */
KVAT_EXTERN int kvat_worker_pid(const kvat_worker *worker);
/** "cgroup v2 memory.max", "cgroup v1 memory.limit_in_bytes", "RLIMIT_DATA" or "" — how the limit is enforced. */
KVAT_EXTERN const char *kvat_worker_limit_source(const kvat_worker *worker);
/** Last lines of standard error, at most 64 KiB, possibly cut in front; borrowed until the next call. */
KVAT_EXTERN const char *kvat_worker_log_tail(const kvat_worker *worker);

/** Orderly end: `shutdown`, 2 s, TERM, grace, KILL to the whole group; waits until it is gone and frees. NULL is
 * fine. */
KVAT_EXTERN void kvat_worker_free(kvat_worker *worker);
/** The same at once: KILL. */
KVAT_EXTERN void kvat_worker_kill(kvat_worker *worker);

#ifdef __cplusplus
}
#endif
#endif
