/**
 * @file trial.h
 * A trial: one configuration measured once over all cells of a workload, and what it scored.
 *
 * The score of a run is a weighted geometric mean, so it cannot saturate, and adding a candidate changes no order:
 *     s = Σ_cells w_cell · ( −w_t·ln TTFT + w_d·ln decode ) − w_m·ln peak
 * shown as 100·exp(s − s_default).
 */
#ifndef KVAT_TRIAL_H
#define KVAT_TRIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvat/profile.h"

#ifdef __cplusplus
extern "C" {
#endif

/** X(name, word) */
#define KVAT_TRIAL_STATUS_LIST(X)                                                                                      \
    X(OK, "ok")                                                                                                        \
    X(TIMEOUT, "timeout")                                                                                              \
    X(CRASH, "crash")                                                                                                  \
    X(HANG, "hang")                                                                                                    \
    X(OOM_HOST, "oom_host")                                                                                            \
    X(OOM_DEVICE, "oom_device")                                                                                        \
    X(UNSUPPORTED, "unsupported")                                                                                      \
    X(INVALID, "invalid") /**< settings not in force, fewer tokens than asked, … */                                  \
    X(PROTOCOL_ERROR, "protocol_error")                                                                                \
    X(VOIDED, "voided") /**< measured under a named disturbance (suspend, swap, …): not used */

typedef enum kvat_trial_status {
#define KVAT_TRIAL_ENUM(name, word) KVAT_TRIAL_##name,
    KVAT_TRIAL_STATUS_LIST(KVAT_TRIAL_ENUM)
#undef KVAT_TRIAL_ENUM
        KVAT_TRIAL_STATUS_COUNT
} kvat_trial_status;

KVAT_EXTERN const char *kvat_trial_status_word(kvat_trial_status status);
/** Neither clean nor voided: the configuration failed, and not the machine. */
KVAT_EXTERN bool kvat_trial_failed(kvat_trial_status status);
/** Inverse; -1 for an unknown word. */
KVAT_EXTERN int kvat_trial_status_parse(const char *word);

/** Figures of one cell. */
typedef struct kvat_sample {
    size_t cell;     /**< index into the profile's cells */
    int64_t ttft_ns; /**< mean over sequences */
    int64_t ttft_worst_ns;
    double decode_tok_per_s; /**< summed over sequences; (tokens − 1) ÷ (last − first) each */
    /** Of the gaps between tokens, linear between order statistics (type 7). */
    double itl_p50_ns, itl_p95_ns, itl_p99_ns;
    bool fitted; /**< decode_tok_per_s follows from bursts shorter than the cell's output (docs/measurement.md) */
} kvat_sample;

/** Log metrics of a run, weighted over cells: natural logarithms of seconds, tokens/s and bytes. */
typedef struct kvat_score_parts {
    double ln_ttft, ln_decode, ln_peak;
} kvat_score_parts;

/** Combines samples (one a cell, any order; all cells present and positive, else KVAT_ERR_DATA). */
KVAT_EXTERN kvat_status kvat_score_parts_of(kvat_score_parts *out, const kvat_profile *profile,
                                            const kvat_sample *samples, size_t n, int64_t peak_bytes, kvat_error *err);
/** s of the formula above. */
KVAT_EXTERN double kvat_score(const kvat_profile *profile, const kvat_score_parts *parts);

/** Fills a sample from token times. `token_ns` holds `n` clock readings, ascending (neighbours may be equal, first and
 * last may not); KVAT_ERR_DATA when they are not, or n < 2. For several sequences call once each and combine with
 * kvat_sample_merge(). */
KVAT_EXTERN kvat_status kvat_sample_of(kvat_sample *out, size_t cell, int64_t ttft_ns, const int64_t *token_ns,
                                       size_t n, kvat_error *err);
/** Adds a further sequence of the same cell: `n_before` sequences are in `into` already. TTFT and the ITL percentiles
 * become means over sequences, decode speeds are summed. */
KVAT_EXTERN void kvat_sample_merge(kvat_sample *into, const kvat_sample *other, size_t n_before);

#ifdef __cplusplus
}
#endif
#endif
