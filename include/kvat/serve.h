/**
 * @file serve.h
 * The worker's side of the protocol `kvat/1` (docs/protocol.md), for workers written in C.
 *
 * A worker's main() is: fill a table of operations, call kvat_serve(). Serving duplicates file descriptor 1 for the
 * protocol and points 1 at standard error first; it answers unknown methods, refuses calls out of order, turns errors
 * into JSON-RPC errors, and returns at end of input or after `shutdown`.
 *
 * One thread: operations run on the caller's thread, one request at a time.
 */
#ifndef KVAT_SERVE_H
#define KVAT_SERVE_H

#include <stdbool.h>
#include <stdint.h>

#include "kvat/json.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kvat_serve kvat_serve;

typedef enum kvat_fault_kind {
    KVAT_FAULT_NONE,
    KVAT_FAULT_UNSUPPORTED,
    KVAT_FAULT_OOM_HOST,
    KVAT_FAULT_OOM_DEVICE,
    KVAT_FAULT_BAD_MODEL,
    KVAT_FAULT_INVALID_SETTING,
    KVAT_FAULT_INTERNAL,
    KVAT_FAULT_CANCELLED /**< answers -32800 */
} kvat_fault_kind;

/** An operation's failure, filled by kvat_fault(). */
typedef struct kvat_fault {
    kvat_fault_kind kind;
    char knob[64];     /**< the setting to blame, or "" */
    char detail[1024]; /**< one line; may quote file content, so it is escaped at the sinks */
} kvat_fault;

/** Fills `fault` and returns -1, so that an operation can `return kvat_fault_set(…)`. */
KVAT_EXTERN int kvat_fault_set(kvat_fault *fault, kvat_fault_kind kind, const char *knob, const char *format, ...)
    KVAT_PRINTF(4, 5);

/** One method: params (borrowed; an object) → *result (new reference, an object) and 0, or -1 with `fault` filled. */
typedef int (*kvat_serve_method)(json_t **result, void *worker, kvat_serve *serve, const json_t *params,
                                 kvat_fault *fault);

typedef struct kvat_serve_ops {
    kvat_serve_method initialize; /**< result without "protocol": added by the kit */
    kvat_serve_method describe;
    kvat_serve_method load;
    kvat_serve_method prepare;
    kvat_serve_method run;
    kvat_serve_method resources;
    kvat_serve_method tokenize; /**< nullable, like all below: answered -32601 */
    kvat_serve_method release;
    kvat_serve_method reference;
    kvat_serve_method diverge;
    kvat_serve_method snapshot;
    kvat_serve_method restore;
    int64_t (*now_ns)(void *worker); /**< nullable: CLOCK_MONOTONIC; put into every result as `now_ns` */
} kvat_serve_ops;

/** Serves until end of input or `shutdown`; returns the process's exit code (0, or 1 when standard input or output
 * broke). */
KVAT_EXTERN int kvat_serve_run(const kvat_serve_ops *ops, void *worker);

/** True when the request being handled was cancelled (or standard input ended): looks for `$/cancel` without blocking.
 * Cheap enough to ask once a decoded token. */
KVAT_EXTERN bool kvat_serve_cancelled(kvat_serve *serve);

/** Sends a `progress` notification. */
KVAT_EXTERN void kvat_serve_progress(kvat_serve *serve, const char *stage, int64_t done, int64_t total);

/** Token i of the generated prompt, for i < count: low + (next() mod (high − low)) of SplitMix64 started at `seed` (G.
 * Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014). `ids` has `count`
 * places. */
KVAT_EXTERN void kvat_prompt_tokens(int32_t *ids, int64_t count, uint64_t seed, int32_t low, int32_t high);

#ifdef __cplusplus
}
#endif
#endif
