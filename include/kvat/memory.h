/**
 * @file memory.h
 * What a configuration should occupy, from the metadata a worker declares: nothing that cannot fit is ever started.
 *
 * KV bytes = Σ groups layers × cells × (row(type_k, k_elements) + row(type_v, v_elements)), where
 *   cells  = pad(context) to `cell_padding` when the sequences share one cache,
 *            else pad(pad(context) / sequences) for each of them, times `sequences`,
 *   window layers: pad(min(cells, window + ubatch)) in place of the cells of one cache, unless the full window is kept;
 *            the windows of sequences that share one cache lie side by side: window × sequences,
 *   row(type, n) = n / block × bytes.
 * Compute buffers = ubatch × ubatch_token_bytes, or, where the worker tells them apart by kind of attention, fixed +
 * ubatch × (ubatch_token_bytes + cells × ubatch_cell_bytes). Checked byte for byte against the engine's own breakdown
 * in tests/engines.
 */
#ifndef KVAT_MEMORY_H
#define KVAT_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "kvat/json.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kvat_memory_model kvat_memory_model;

/** Reads `memory_model` of `describe`. KVAT_ERR_DATA names the member. */
KVAT_EXTERN kvat_status kvat_memory_model_parse(kvat_memory_model **out, const json_t *json, kvat_error *err);
KVAT_EXTERN void kvat_memory_model_free(kvat_memory_model *model);

typedef struct kvat_memory_setup {
    const char *type_k, *type_v; /**< names of the model's `types` */
    int64_t context_tokens;
    int64_t sequences;     /**< ≥ 1 */
    int64_t ubatch_tokens; /**< physical batch; 0 unknown */
    int64_t batch_tokens;  /**< logical batch; 0 unknown */
    bool unified;          /**< sequences share one cache */
    bool window_full;      /**< window layers keep every cell */
    const char *attention; /**< value of the knob whose concept is "attention"; NULL unknown */
} kvat_memory_setup;

typedef struct kvat_memory_forecast {
    int64_t weight_bytes, kv_bytes, compute_bytes, total_bytes; /**< total includes the model's fixed_bytes */
} kvat_memory_forecast;

/** KVAT_ERR_DATA: unknown type, a row not divisible by its block, or sizes beyond INT64_MAX. */
KVAT_EXTERN kvat_status kvat_memory_forecast_make(kvat_memory_forecast *out, const kvat_memory_model *model,
                                                  const kvat_memory_setup *setup, kvat_error *err);

#ifdef __cplusplus
}
#endif
#endif
