// One model and one context of libllama, and runs on them.
// Must not know: JSON, the protocol's messages; faults are its only tie to the protocol.
#ifndef KVAT_LLAMACPP_ENGINE_H
#define KVAT_LLAMACPP_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "breakdown.h"
#include "cpu.h"
#include "knobs.h"
#include "kvat/serve.h"
#include "log_watch.h"
#include "model_facts.h"

struct llama_model;
struct llama_context;
struct ggml_threadpool;

/** Asked now and then during long work; true stops it. */
typedef bool (*kvat_llama_stop)(void *user);
typedef void (*kvat_llama_progress)(void *user, const char *stage, int64_t done, int64_t total);

typedef struct kvat_llama {
    kvat_cpu cpu;
    kvat_log_watch log;
    kvat_settings settings; /**< in force */

    char *name; /**< the model as it was asked for, NULL before the first */
    char *path;
    bool synthetic;
    kvat_model_facts facts;

    struct llama_model *model;
    struct llama_context *context;
    struct ggml_threadpool *pool, *pool_batch; /**< pool_batch NULL: one pool serves both */
    int64_t sequences;

    int32_t *pending; /**< last token of each sequence, not yet taken into its cache */
    int64_t depth;    /**< tokens in each cache; 0: nothing to go on from */

    kvat_llama_stop stop;
    kvat_llama_progress progress;
    void *user;
    int percent; /**< last told to `progress` */
    int64_t deadline_ns, checked_ns;
    bool timed_out, stopped;
} kvat_llama;

void kvat_llama_init(kvat_llama *engine, const kvat_settings *process);
void kvat_llama_clear(kvat_llama *engine);

/** Makes `name` the engine's model: finds or makes its file and checks it. A model opened before must be unchanged,
 * unless it is looked at `afresh`: then what it is now counts. */
int kvat_llama_open(kvat_llama *engine, const char *name, bool afresh, kvat_fault *fault);

/** The opened files are still what they were. */
int kvat_llama_unchanged(const kvat_llama *engine, kvat_fault *fault);

/** Loads the opened model with the model-scope settings of `asked`. */
int kvat_llama_load(kvat_llama *engine, const kvat_settings *asked, kvat_fault *fault);
void kvat_llama_unload(kvat_llama *engine);

/** A new context with the context- and request-scope settings of `asked`; engine->settings tells what came into force.
 */
int kvat_llama_prepare(kvat_llama *engine, const kvat_settings *asked, int64_t context_tokens, int64_t sequences,
                       kvat_fault *fault);
void kvat_llama_unprepare(kvat_llama *engine);

/** Puts the request-scope settings of `asked` in force. */
int kvat_llama_set_threads(kvat_llama *engine, const kvat_settings *asked, kvat_fault *fault);

/** Cells all sequences have together, and those of one. */
int64_t kvat_llama_context_tokens(const kvat_llama *engine);
int64_t kvat_llama_sequence_tokens(const kvat_llama *engine);

/** May the cache be cut back to an earlier depth and go on as if it had never been further? */
bool kvat_llama_can_trim(const kvat_llama *engine);

/** Cuts every sequence back to `depth` tokens. */
int kvat_llama_trim(kvat_llama *engine, int64_t depth, kvat_fault *fault);

/** A stop of `depth` prompt tokens, and the tokens decoded from there: in `bursts` of output_tokens, the cache cut back
 * before each but the first. In those, token 0 is the prefill's again and its time is when the burst began. */
typedef struct kvat_stretch {
    int64_t prompt_tokens, output_tokens;
    int64_t ttft_ns;    /**< prefill time up to it, without decoding at earlier stretches */
    int64_t *token_ns;  /**< bursts × sequences × output_tokens, a row a sequence; the caller's memory */
    int32_t *token_ids; /**< the same, or NULL */
    int64_t bursts;     /**< 0 is 1; more only where the cache can be cut back */
} kvat_stretch;

typedef struct kvat_run {
    const int32_t *prompt; /**< of the last stretch's prompt_tokens; NULL goes on from the cache of an earlier run */
    kvat_stretch *stretches;
    int64_t n_stretches;
    int64_t limit_ns; /**< 0: none */
    int64_t start_ns; /**< result */
    bool timed_out;   /**< result: stopped itself, nothing else is valid */
} kvat_run;

/** Runs on an empty cache (or goes on from the last). Tokens are the most likely ones; end of text is ignored. */
int kvat_llama_run(kvat_llama *engine, kvat_run *run, kvat_fault *fault);

/** Index of the largest of `n` values; -1 when none is larger than minus infinity (all NaN, say). */
int32_t kvat_llama_argmax(const float *values, int32_t n);

/** A fault of the kind that fits what libllama logged. */
int kvat__llama_fault(const kvat_llama *engine, kvat_fault_kind otherwise, const char *what, kvat_fault *fault);

/** llama_model_params and llama_context_params as the settings say; used for loading and for looking ahead without
 * memory. */
struct llama_model_params kvat__llama_model_params(const kvat_settings *settings);
struct llama_context_params kvat__llama_context_params(const kvat_settings *settings, int64_t context_tokens,
                                                       int64_t sequences);

#endif
