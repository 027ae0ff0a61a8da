/**
 * @file verify.h
 * Is a plan still best here? Its configuration is run again, in fresh pairs, against what the engine does by itself and
 * against the strongest rivals that the plan recorded, in about a tenth of a full run.
 *
 *     kvat_verify_request request = KVAT_VERIFY_REQUEST_INIT;  request.plan = plan;  request.model = "model.gguf";
 *     kvat_status status = kvat_verify(&verification, &request, &events, &cancel, err);
 *
 * The plan stays what it is: nothing is written, and nothing of a verification can be resumed. The answer follows the
 * rule for incumbents: the plan's configuration stays the best unless another is surely better by more than delta; but
 * it has to be surely better than the default. One thread.
 */
#ifndef KVAT_VERIFY_H
#define KVAT_VERIFY_H

#include "kvat/run.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kvat_verify_request {
    const json_t *plan;       /**< as kvat_plan_check() accepts it; borrowed */
    const char *model;        /**< as typed */
    const char *engine;       /**< NULL: the plan's, by name */
    const char *prompts_file; /**< the user's own text, NULL: generated tokens */
    /** What the command that made the plan fixed for every configuration: part of the default. Settings that the engine
     * does not offer are left out of it. */
    const kvat_setting *set;
    size_t n_set;
    const char *const *launch; /**< prefix, or NULL */
    int64_t time_ns; /**< 0: two minutes, or a tenth of what the plan's run took if that is more, or half if less */
    int64_t trial_limit_ns; /**< most one run may take, 0: ten times what it took for the plan, at least a minute */
    uint64_t seed, world_seed;
    double delta; /**< 0: the plan's, else 0.01 */
} kvat_verify_request;
#define KVAT_VERIFY_REQUEST_INIT                                                                                       \
    { NULL, NULL, NULL, NULL, NULL, 0, NULL, 0, 0, 0, 0, 0 }

typedef enum kvat_verify_answer {
    KVAT_VERIFY_YES,      /**< still best of what was compared */
    KVAT_VERIFY_NO,       /**< another is surely better, or it does not work here */
    KVAT_VERIFY_UNDECIDED /**< the pairs could not tell */
} kvat_verify_answer;
/** Stable lower-case word: "yes", "no", "undecided". */
KVAT_EXTERN const char *kvat_verify_word(kvat_verify_answer answer);

/** The plan's configuration held against another one. */
typedef struct kvat_verify_pairing {
    bool rival; /**< false: what the engine does by itself */
    char *label;
    json_t *settings;           /**< every knob's value */
    kvat_confirm_answer answer; /**< side A is the plan's configuration */
    double level;               /**< of its intervals */
    double noise;               /**< spread of one run's score as the pairs show it, NaN under two pairs */
    bool disturbed, cut;        /**< ended by a machine too disturbed, or by the budget */
    char *failure;              /**< last failure of a side: status and detail; NULL none */
} kvat_verify_pairing;
#define KVAT_VERIFY_RIVALS 2 /**< most of them */

/** Something that is not as it was when the plan was made. */
typedef struct kvat_verify_change {
    char *what;           /**< "engine version", "machine memory_bytes" */
    char *then_is, *here; /**< raw text, "" for nothing */
} kvat_verify_change;

typedef struct kvat_verification {
    kvat_verify_answer answer;
    char *why; /**< half a sentence: what the answer rests on */
    char *label;
    json_t *settings; /**< the plan's, with the defaults of knobs that it does not know */
    bool is_default;  /**< they are what the engine does by itself */
    bool lossy;
    bool undecided; /**< the run that made the plan was: it never said that they are the best, and "yes" is not said */
    double delta;
    kvat_verify_pairing pairings[1 + KVAT_VERIFY_RIVALS]; /**< in the order measured */
    size_t n_pairings;
    size_t rivals;   /**< recorded in the plan and offered here, at most KVAT_VERIFY_RIVALS */
    size_t decisive; /**< the pairing that made it "no"; SIZE_MAX none */
    char *refused;   /**< why the plan's settings cannot be set here, NULL when they can */
    kvat_verify_change *changes;
    size_t n_changes;
    char **warnings; /**< sentences from the engine's worker */
    size_t n_warnings;
    char *engine_name, *engine_version, *model_name, *profile_name;
    size_t runs, failed_runs, voided_runs;
    int64_t elapsed_ns, budget_ns;
    bool virtual_clock;
} kvat_verification;
KVAT_EXTERN void kvat_verification_free(kvat_verification *verification);

/** KVAT_OK: yes. KVAT_ERR_GATE: no. KVAT_ERR_PARTIAL: undecided. *out is set in all three, and in none else:
 * KVAT_ERR_DATA (plan, model), KVAT_ERR_ENGINE (not here), KVAT_ERR_INFEASIBLE (not even the default works),
 * KVAT_ERR_INTERRUPTED. Events: KVAT_EVENT_NOTE, _WARNING, _STAGE and _CONFIRM. */
KVAT_EXTERN kvat_status kvat_verify(kvat_verification **out, const kvat_verify_request *request,
                                    const kvat_events *events, const kvat_cancel *cancel, kvat_error *err);

#ifdef __cplusplus
}
#endif
#endif
