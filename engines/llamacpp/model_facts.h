// What a checked GGUF file says about its model, and the rules its values must keep before libllama may see it.
// Must not know: libllama, the protocol.
#ifndef KVAT_LLAMACPP_MODEL_FACTS_H
#define KVAT_LLAMACPP_MODEL_FACTS_H

#include <stdbool.h>
#include <stdint.h>

#include "gguf_check.h"
#include "kvat/hash.h"

#define KVAT_MODEL_MAX_LAYERS 512 /* libllama aborts beyond it */
#define KVAT_MODEL_MAX_SHARDS 1000

typedef struct kvat_model_file {
    char *path; /**< owned */
    kvat_gguf_stamp stamp;
} kvat_model_file;

typedef struct kvat_model_facts {
    char architecture[64];
    char name[128]; /**< "" when the file has none; any bytes */
    char tokenizer[32];
    const char *weight_type; /**< static: the type holding most bytes */
    char identity[8 + KVAT_HASH_HEX];
    char chat_template_sha256[KVAT_HASH_HEX]; /**< "" without a template */

    int64_t layers;
    int64_t embedding;
    int64_t heads;    /**< most over the layers */
    int64_t kv_heads; /**< most over the layers */
    uint32_t layer_kv_heads[KVAT_MODEL_MAX_LAYERS];
    int64_t k_head_size, v_head_size; /**< 0 in models without attention */
    int64_t training_context_tokens;
    int64_t window_tokens; /**< as the file says; the engine may not use it */
    int64_t vocabulary;
    int64_t token_low, token_high; /**< longest run of ordinary tokens: low ≤ id < high */
    int64_t weight_bytes;
    int64_t experts;

    kvat_model_file *files; /**< the file, or all its shards in order */
    int file_count;
} kvat_model_facts;

/** Opens `path` and its shards and checks all of it. KVAT_ERR_DATA explains what is wrong. Free with
 * kvat_model_facts_clear(). */
kvat_status kvat_model_facts_open(kvat_model_facts *out, const char *path, kvat_error *err);

/** The facts of one checked header, without shards, identity and files. */
kvat_status kvat_model_facts_read(kvat_model_facts *out, kvat_gguf *gguf, kvat_error *err);

void kvat_model_facts_clear(kvat_model_facts *facts);

/** KVAT_ERR_DATA "… changed" when a file of the model is no longer the one that was opened. */
kvat_status kvat_model_facts_unchanged(const kvat_model_facts *facts, kvat_error *err);

#endif
