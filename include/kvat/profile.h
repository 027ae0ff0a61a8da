/**
 * @file profile.h
 * Workloads: which prompt and output lengths matter how much, and what "better" weighs.
 *
 * A cell is one prompt length × output length × number of sequences. Weights of the cells sum to 1, as do the weights
 * of the metrics. Built-in profiles stand in a table; own ones are JSON (schemas/profile.schema.json). Pure but for the
 * reading of a profile file.
 */
#ifndef KVAT_PROFILE_H
#define KVAT_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvat/json.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kvat_cell {
    int64_t prompt_tokens; /**< 1 … KVAT_PROFILE_MAX_TOKENS */
    int64_t output_tokens; /**< 2 … : decode speed needs two tokens */
    int64_t sequences;     /**< batch, 1 … 1024 */
    double weight;         /**< > 0; all cells sum to 1 */
} kvat_cell;
#define KVAT_PROFILE_MAX_TOKENS INT64_C(16777216)
#define KVAT_PROFILE_MAX_CELLS  256

typedef struct kvat_profile {
    char *name;        /**< [A-Za-z0-9._-]{1,64} for files; shown escaped anyway */
    char *description; /**< one line */
    kvat_cell *cells;  /**< sorted by sequences, prompt_tokens, output_tokens */
    size_t n_cells;
    double weight_ttft, weight_decode, weight_memory; /**< ≥ 0, sum 1 */
    int64_t runs;   /**< least measured runs of every surviving configuration, ≥ 1 */
    int64_t warmup; /**< warm-up runs before the first measured one in a context, ≥ 0 (a short one is always made) */
    char *prompts_file;         /**< path of the user's own text, or NULL: generated tokens */
    char *prompts_prefix;       /**< template text before the user's, or NULL */
    char *prompts_suffix;       /**< template text after it, or NULL */
    int64_t limit_memory_bytes; /**< hard limit, 0 none */
    int64_t limit_ttft_ns;      /**< SLO on the mean TTFT of each cell, 0 none */
    int64_t limit_itl_ns;       /**< SLO on the mean inter-token time of each cell, 0 none */
    bool builtin;
    size_t left_out; /**< built-in cells dropped because they exceed the model's training context */
} kvat_profile;

KVAT_EXTERN size_t kvat_profile_builtin_count(void);
KVAT_EXTERN const char *kvat_profile_builtin_name(size_t index);

/** A built-in profile by name. KVAT_ERR_USAGE suggests the nearest name. */
KVAT_EXTERN kvat_status kvat_profile_builtin(kvat_profile **out, const char *name, kvat_error *err);
/** From JSON. KVAT_ERR_DATA names the member and the allowed range: weights that do not sum to 1 (± 1e-6), negative,
 * empty lists, unknown members… */
KVAT_EXTERN kvat_status kvat_profile_parse(kvat_profile **out, const json_t *json, kvat_error *err);
/** A built-in name, or the path of a JSON file (anything with a '/' or ending in ".json") of at most 1 MiB. A relative
 * path of its prompts counts from the folder of that file. */
KVAT_EXTERN kvat_status kvat_profile_find(kvat_profile **out, const char *name_or_path, kvat_error *err);
KVAT_EXTERN void kvat_profile_free(kvat_profile *profile);

/** Command-line overrides: lists are comma-separated ("2048,8192"); NULL leaves a list alone, 0 a number. New cells
 * have equal weights unless the lists kept their length: then the i-th length takes the place of the i-th.
 * KVAT_ERR_USAGE names the flag. */
typedef struct kvat_profile_overrides {
    const char *context, *output_tokens, *batch;
    const char *weights; /**< "ttft=0.5,decode=0.35,memory=0.15" */
    int64_t runs;
    int64_t warmup; /**< -1 leaves it alone */
    const char *prompts_file;
} kvat_profile_overrides;
#define KVAT_PROFILE_OVERRIDES_INIT                                                                                    \
    { NULL, NULL, NULL, NULL, 0, -1, NULL }
KVAT_EXTERN kvat_status kvat_profile_override(kvat_profile *profile, const kvat_profile_overrides *overrides,
                                              kvat_error *err);

/** Fits the profile to a model trained for `training_context_tokens` (0: unknown, nothing is done). Cells of a built-in
 * profile over it are dropped and counted in `left_out`; when `typed` (the user gave the lengths, or it is a custom
 * profile) or none would be left, KVAT_ERR_DATA names the largest context that fits. */
KVAT_EXTERN kvat_status kvat_profile_fit(kvat_profile *profile, int64_t training_context_tokens, bool typed,
                                         kvat_error *err);

/** Largest P + N over the cells, of one sequence. One deployed context serves every cell. */
KVAT_EXTERN int64_t kvat_profile_context_tokens(const kvat_profile *profile);
KVAT_EXTERN int64_t kvat_profile_sequences(const kvat_profile *profile); /**< largest batch */
/** As JSON (schemas/profile.schema.json; text of prompts left out: a hash of the file's path is not kept either). New
 * reference. */
KVAT_EXTERN kvat_status kvat_profile_json(json_t **out, const kvat_profile *profile, kvat_error *err);

#ifdef __cplusplus
}
#endif
#endif
