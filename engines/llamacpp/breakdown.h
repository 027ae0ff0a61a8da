// How many bytes the model, its KV cache and its compute buffers occupy, byte for byte from the engine.
// Must not know: the protocol.
#ifndef KVAT_LLAMACPP_BREAKDOWN_H
#define KVAT_LLAMACPP_BREAKDOWN_H

#include <stdbool.h>
#include <stdint.h>

struct llama_context;

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kvat_breakdown {
    int64_t model_bytes, kv_bytes, compute_bytes;
    int64_t rearranged_bytes; /**< of model_bytes: copies laid out for this processor's instructions */
} kvat_breakdown;

/** False when this build of libllama does not tell; then *out is untouched. */
bool kvat_breakdown_get(kvat_breakdown *out, const struct llama_context *context);

#ifdef __cplusplus
}
#endif
#endif
