/* What a configuration truly does at a point, before any noise. */
/* Must not know: time, random draws. */
#ifndef KVAT_SIM_TRUTH_H
#define KVAT_SIM_TRUTH_H

#include "surface.h"

/* Runs this short, at prompts below every listed one, are warm-ups: played pro rata instead of refused. */
#define SIM_WARMUP_TOKENS 8

typedef struct sim_point {
    int64_t prompt_tokens, output_tokens, sequences;
} sim_point;

typedef struct sim_truth {
    double ttft_s, decode_tok_per_s, peak_bytes; /* decode summed over sequences */
} sim_truth;

/* KVAT_ERR_DATA when the surface says nothing about the point (to be answered "unsupported"), or too much. */
kvat_status sim_truth_at(sim_truth *out, const sim_surface *surface, const uint16_t *levels, sim_point point,
                         kvat_error *err);

bool sim_when_holds(const sim_when *when, const uint16_t *levels);

/* Largest prompt_tokens + output_tokens anywhere on it. */
int64_t sim_largest_context(const sim_surface *surface);

#endif
