// What the files of the verification share: a plan made concrete again, the sides that are measured, and the judgement.
// Must not be included by those that tune.
#ifndef KVAT_RUN_VERIFY_INTERNAL_H
#define KVAT_RUN_VERIFY_INTERNAL_H

#include "kvat/verify.h"
#include "run_internal.h"

/* ---- verify_plan.c: what a plan says, on the engine that is here. No I/O ---- */

/** One configuration to be measured: a space of its own, whose configuration 0 it is. */
typedef struct kvat__side {
    char *label;
    json_t *settings; /**< every knob */
    kvat_space *space;
    bool lossy;
} kvat__side;
void kvat__side_clear(kvat__side *side);

/** The plan's workload. KVAT_ERR_DATA names the member. */
kvat_status kvat__verify_profile(kvat_profile **out, const json_t *plan, kvat_error *err);
/** `settings` over the defaults of the knobs. *refused (heap) says why that cannot be set, and then the side stays
 * empty; NULL when it can. */
kvat_status kvat__side_make(kvat__side *out, char **refused, const kvat_knobs *knobs, const json_t *settings,
                            const char *label, kvat_error *err);
/** What the engine does by itself, with what is fixed for all; fixed settings that it does not offer are left out. */
kvat_status kvat__side_default(kvat__side *out, const kvat_knobs *knobs, const kvat_setting *set, size_t n_set,
                               kvat_error *err);
/** Are both the same in force? */
kvat_status kvat__sides_equal(bool *out, const kvat_knobs *knobs, int64_t context_tokens, const kvat__side *a,
                              const kvat__side *b, kvat_error *err);
/** *too_large (heap) says that by its memory forecast the side is over note.memory_limit_bytes, and must not be
 * started; NULL when it fits, or nothing is known. */
kvat_status kvat__side_forecast(char **too_large, const kvat__side *side, const kvat__job *job, kvat_error *err);
/** The best `most` configurations that the plan recorded beside `own` and `base`, as far as they can be set here and
 * are no lossier than `own`. `out` has `most` places. */
kvat_status kvat__verify_rivals(kvat__side *out, size_t *n, size_t most, const json_t *plan, const kvat__job *job,
                                const kvat__side *own, const kvat__side *base, kvat_error *err);
/** What one measurement of the plan's configuration took, by its figures; 0 unknown. */
int64_t kvat__verify_run_ns(const json_t *plan);
/** Budget: asked, or two minutes, but a tenth of what the plan's run took when that is more, and no more than half of
 * it. */
int64_t kvat__verify_budget_ns(const kvat_verify_request *request);

/* ---- verify_changes.c ---- */
/** Engine, model, machine, prompts and kvat of `job` against those of the plan. */
kvat_status kvat__verify_changes(kvat_verification *v, const json_t *plan, const kvat__job *job, kvat_error *err);

/* ---- verify_judge.c ---- */
/** Surely worse than the other side of the pairing, by more than delta where that is a rival; or it failed. */
bool kvat__pairing_lost(const kvat_verify_pairing *pairing, double delta);
/** Fills answer, decisive and why from everything else. */
kvat_status kvat__verify_judge(kvat_verification *v, kvat_error *err);

#endif
