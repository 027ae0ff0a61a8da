// The fit of decode times against depth, as sample.c uses it.
// Must not know workers, trials or the store.
#ifndef KVAT_RUN_FIT_H
#define KVAT_RUN_FIT_H

#include "kvat/stats.h"

/** Tokens decoded one after another from a depth: n_tokens ≥ 2 clock readings, of which the first began it. */
typedef struct kvat__burst {
    int64_t prompt_tokens;
    const int64_t *token_ns;
    size_t n_tokens;
} kvat__burst;

/** Time per token at a depth: at `depth` tokens in the cache, a little behind the prompt's. */
typedef struct kvat__depth_level {
    int64_t prompt_tokens;
    double depth, gap_ns;
} kvat__depth_level;

typedef struct kvat__decode_fit {
    kvat__depth_level *levels; /**< one a depth, ascending */
    size_t n_levels;
    double slope_ns;     /**< by how much the time per token grows with every token of depth; ≥ 0 */
    double reach_tokens; /**< how far from a level the slope is followed: of several depths no farther than they lie
                            apart */
} kvat__decode_fit;

/** `bursts` are in order of prompt_tokens, those of one depth beside each other. `farthest_tokens`: how far from its
 * level a rate will be asked for at most; with one depth it says how well the slope within bursts has to be known.
 * KVAT_ERR_DATA for no burst, or for times that do not ascend. */
kvat_status kvat__decode_fit_make(kvat__decode_fit *out, const kvat__burst *bursts, size_t n, double farthest_tokens,
                                  kvat_error *err);
/** Tokens per second of an output of that many tokens, at a depth that was measured; else NaN. */
double kvat__decode_fit_rate(const kvat__decode_fit *fit, int64_t prompt_tokens, int64_t output_tokens);
void kvat__decode_fit_clear(kvat__decode_fit *fit);

#endif
