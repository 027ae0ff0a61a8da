// The worker: the protocol's methods over one engine.
// Must not know: how any of it is done.
#ifndef KVAT_LLAMACPP_WORKER_H
#define KVAT_LLAMACPP_WORKER_H

#include <jansson.h>

#include "engine.h"
#include "foresee.h"

typedef struct kvat_llamacpp_worker {
    kvat_llama engine;
    kvat_serve *serve; /**< of the request being handled */
    bool peak_reset;   /**< the high-water mark counts from the last reset */
} kvat_llamacpp_worker;

extern const kvat_serve_ops kvat_llamacpp_ops;

/** Reads `--knob value` and `--knob=value` of process scope, and the environment; 0, or -1 with `fault`. */
int kvat_llamacpp_arguments(kvat_settings *out, char *const *argv, kvat_fault *fault);

int kvat__llamacpp_initialize(json_t **result, void *worker, kvat_serve *serve, const json_t *params,
                              kvat_fault *fault);
int kvat__llamacpp_describe(json_t **result, void *worker, kvat_serve *serve, const json_t *params, kvat_fault *fault);
int kvat__llamacpp_run(json_t **result, void *worker, kvat_serve *serve, const json_t *params, kvat_fault *fault);

/** Compares the llama-server on PATH, if there is one, with our libllama: `server` into `result`, and where they differ
 * or that cannot be told, a sentence into `notes`. False without memory. */
bool kvat__llamacpp_note_server(json_t *result, json_t *notes);

/** The `model` member of the params. */
int kvat__llamacpp_model_name(const char **out, const json_t *params, kvat_fault *fault);
/** Whole number `member` of `object` within [low, high]; `fallback` when absent (fallback < low: required). */
int kvat__llamacpp_integer(int64_t *out, const json_t *object, const char *member, int64_t low, int64_t high,
                           int64_t fallback, kvat_fault *fault);
int kvat__llamacpp_no_memory(kvat_fault *fault);

#endif
