// What a model will need, found by asking libllama for contexts without memory: exact to the byte, in milliseconds.
// Must not know: JSON, the protocol.
#ifndef KVAT_LLAMACPP_FORESEE_H
#define KVAT_LLAMACPP_FORESEE_H

#include "engine.h"

typedef struct kvat_kv_group {
    int64_t layers, k_elements, v_elements, window_tokens;
} kvat_kv_group;
#define KVAT_KV_GROUPS 8

typedef struct kvat_foresight {
    int flash_auto;    /**< what `auto` resolves to */
    int window_tokens; /**< as the engine uses it */
    bool can_trim;     /**< without swa-full */
    bool memory_known; /**< all below was measured and agrees with the formula of the memory model */
    kvat_kv_group groups[KVAT_KV_GROUPS];
    int n_groups;
    int64_t weight_bytes;            /**< as loaded, repacked copies included */
    int64_t fixed_bytes;             /**< process, vocabulary, compute buffers independent of batch and context */
    int64_t ubatch_token_bytes;      /**< compute bytes a token of the physical batch */
    int64_t ubatch_cell_bytes;       /**< further compute bytes a token of the physical batch and cell of the context */
    int64_t ubatch_cell_bytes_plain; /**< the same without flash attention */
} kvat_foresight;

/** Looks ahead for the opened model. A fault when libllama refuses it. */
int kvat_engine_foresee(kvat_foresight *out, kvat_engine *engine, kvat_fault *fault);

/** Padding of the cache in cells. */
#define KVAT_CELL_PADDING 256

#endif
