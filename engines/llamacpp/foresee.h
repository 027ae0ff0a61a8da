// What a model will need, found by asking libllama for contexts without memory: exact to the byte, in milliseconds.
// Must not know: JSON, the protocol.
#ifndef KVAT_LLAMACPP_FORESEE_H
#define KVAT_LLAMACPP_FORESEE_H

#include "engine.h"

typedef struct kvat_kv_group {
    int64_t layers, k_elements, v_elements, window_tokens;
} kvat_kv_group;
#define KVAT_KV_GROUPS 8

/** compute buffers = fixed + ubatch × (token + cells × cell) */
typedef struct kvat_compute_fit {
    int64_t fixed_bytes, token_bytes, cell_bytes;
} kvat_compute_fit;

typedef struct kvat_foresight {
    int flash_auto;    /**< what `auto` resolves to */
    int window_tokens; /**< as the engine uses it */
    bool can_trim;     /**< without swa-full */
    bool memory_known; /**< all below was measured and agrees with the formula of the memory model */
    kvat_kv_group groups[KVAT_KV_GROUPS];
    int n_groups;
    int64_t weight_bytes;  /**< as loaded by default: a mapped file keeps its weights beside those rearranged from it */
    int64_t process_bytes; /**< the process itself, the vocabulary, one row of logits */
    kvat_compute_fit flash, plain; /**< with and without flash attention */
} kvat_foresight;

/** Looks ahead for the opened model. A fault when libllama refuses it. */
int kvat_llama_foresee(kvat_foresight *out, kvat_llama *engine, kvat_fault *fault);

/** Padding of the cache in cells. */
#define KVAT_CELL_PADDING 256

#endif
