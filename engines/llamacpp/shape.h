// Shapes of real architectures: what a synthetic model must have so that the engine treats it like the real one.
// Must not know: libllama, files other than a config.json, how weights are stored.
#ifndef KVAT_LLAMACPP_SHAPE_H
#define KVAT_LLAMACPP_SHAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvat/status.h"

typedef enum kvat_family {
    KVAT_FAMILY_GPT2,
    KVAT_FAMILY_QWEN2,
    KVAT_FAMILY_PHI,
    KVAT_FAMILY_LLAMA,
    KVAT_FAMILY_MISTRAL,
    KVAT_FAMILY_GEMMA3
} kvat_family;

typedef struct kvat_shape {
    char name[64];
    kvat_family family;
    int64_t layers, embedding, heads, kv_heads, head_size, feed_forward;
    int64_t vocabulary, context_tokens;
    int64_t window_tokens; /**< 0: full attention */
    int64_t rope_size;     /**< rotated values of a head; 0: positions are learnt */
    double rope_base, norm_epsilon;
    bool tied; /**< the output matrix is the embedding */
} kvat_shape;

typedef enum kvat_fill { KVAT_FILL_WEIGHT, KVAT_FILL_ONES, KVAT_FILL_BIAS } kvat_fill;

typedef struct kvat_shape_tensor {
    char name[64];
    int64_t columns, rows; /**< rows 0: one dimension */
    kvat_fill fill;
} kvat_shape_tensor;

/** The built-in shape called `name`; KVAT_ERR_DATA lists those there are. */
kvat_status kvat_shape_find(kvat_shape *out, const char *name, kvat_error *err);

/** From a Hugging Face config.json of model_type gpt2, qwen2, phi, llama, mistral or gemma3_text. */
kvat_status kvat_shape_from_config(kvat_shape *out, const char *path, kvat_error *err);

/** The architecture's name in GGUF files ("llama" for mistral). */
const char *kvat_shape_architecture(const kvat_shape *shape);

/** All tensors in file order (heap; caller frees), NULL without memory. */
kvat_shape_tensor *kvat_shape_tensors(size_t *count, const kvat_shape *shape);

#endif
