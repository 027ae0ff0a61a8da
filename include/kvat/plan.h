/**
 * @file plan.h
 * From an outcome to what is deployed: `best_plan.json` (schemas/plan.schema.json, format "kvat-plan/1"), fallback
 * rules, and snippets in each engine's idiom. Engines stand in a table of snippet writers; nothing else here knows an
 * engine by name.
 *
 * Pure: data in, bytes out.
 */
#ifndef KVAT_PLAN_H
#define KVAT_PLAN_H

#include "kvat/outcome.h"

#ifdef __cplusplus
extern "C" {
#endif

/** The plan as JSON, new reference. The same outcome gives the same bytes. `entry` is the configuration it is for
 * (outcome->winner, or outcome->lossy_best for the separate "if quality allows" plan, which then carries
 * "verified_quality": false). KVAT_ERR_INFEASIBLE when there is none.
 *
 * Members: format, kvat_version, decision, why, engine {name, version, build, flags}, model {…, file's base name only},
 * profile, context_tokens, sequences, settings (every knob), changed, label, lossy, figures (absolute, with intervals,
 * a cell each), gain (ratios with intervals, pairs) or null, confidence {p_good, p_best, delta, of, trials}, noise,
 * memory {peak, source, model, kv, compute, forecast}, alternatives (ranking with settings), fallback (rules below),
 * environment (fingerprint), reproduce (argv of the tune command). */
KVAT_EXTERN kvat_status kvat_plan_make(json_t **out, const kvat_outcome *outcome, size_t entry, kvat_error *err);

/** Checks a plan read from outside: format, types, ranges. KVAT_ERR_DATA names the member. */
KVAT_EXTERN kvat_status kvat_plan_check(const json_t *plan, kvat_error *err);
/** kvat_json_read_file() + kvat_plan_check(). New reference. */
KVAT_EXTERN kvat_status kvat_plan_read(json_t **out, const char *path, kvat_error *err);
/** NULL where the run behind a checked plan was decided; else what its settings are instead, as half a sentence:
 * "the best so far, not confirmed as the best". */
KVAT_EXTERN const char *kvat_plan_undecided(const json_t *plan);

/*
 * Fallback rules, each from measured trials, in order of test:
 *     {"when": CONDITION, "use": {settings}, "label": "…", "because": "…"}   or, instead of "use", "advise": "…"
 * where CONDITION is one of
 *     {"free_memory_below_bytes": n}, {"free_device_memory_below_bytes": n}, {"context_above_tokens": n},
 *     {"unsupported": {"knob": "value"}}, {"engine_version_not": "x"}
 */
/** What the machine where a plan is applied looks like; negative or NULL: unknown, such rules do not fire. */
typedef struct kvat_plan_conditions {
    int64_t free_memory_bytes;        /**< of the host */
    int64_t free_device_memory_bytes; /**< of all devices together */
    int64_t context_tokens;
    const char *engine_version;
    const json_t *knobs; /**< `knobs` of a `describe` result: what the engine that is there offers for the model */
} kvat_plan_conditions;
// clang-format off
#define KVAT_PLAN_CONDITIONS_INIT {-1, -1, -1, NULL, NULL}
// clang-format on
/** Settings to use under `conditions`: the plan's own, or those of the first rule that fires and whose settings the
 * engine offers, as far as known. Borrowed. *rule is the index of the rule that they are of; where they are the plan's
 * own, that of the first rule that fires and only advises; else −1. `advice` receives a sentence when a rule advises,
 * when nothing that the engine offers is left, or when what it offers does not fit into memory, NULL otherwise
 * (borrowed). */
KVAT_EXTERN kvat_status kvat_plan_resolve(const json_t **settings, int *rule, const char **advice, const json_t *plan,
                                          const kvat_plan_conditions *conditions, kvat_error *err);

/** A file to write beside the plan. */
typedef struct kvat_snippet {
    const char *file_name; /**< "llama-server.sh" */
    unsigned mode;         /**< 0755 for scripts */
} kvat_snippet;

/** Snippets of the plan's engine, in order; *n may be 0 (an engine kvat has no writer for). Borrowed static data. */
KVAT_EXTERN const kvat_snippet *kvat_snippets_for(size_t *n, const char *engine_name);

/** What a snippet needs to know beside the plan. */
typedef struct kvat_snippet_target {
    const char *model_path; /**< absolute path, or NULL: the script takes it from $1 / MODEL */
    const json_t *settings; /**< from kvat_plan_resolve(), or NULL: the plan's own, as in any format that has rules */
    const char *home; /**< home folder, or NULL; what lies below it is written without naming it: as $HOME in scripts,
                           by its file name alone where there are no variables */
} kvat_snippet_target;

/** Formats by name for `kvat apply --format`: "llama-server", "preset", "compose", "k8s", … NULL-terminated. */
KVAT_EXTERN const char *const *kvat_snippet_formats(const char *engine_name);
/** Does this format carry the plan's fallback rules and evaluate them itself, each time and where it runs? */
KVAT_EXTERN bool kvat_snippet_has_rules(const char *engine_name, const char *format);
/** Appends one format. KVAT_ERR_USAGE: unknown format for this engine (nearest suggested), or a path that the format
 * cannot express. */
KVAT_EXTERN kvat_status kvat_snippet_put(kvat_buf *out, const json_t *plan, const char *format,
                                         const kvat_snippet_target *target, kvat_error *err);
/** The format that writes `file_name` of kvat_snippets_for(), or NULL. */
KVAT_EXTERN const char *kvat_snippet_format_of(const char *engine_name, const char *file_name);

/* ---- comparison of two plans ---- */
typedef struct kvat_gate {
    double ttft_ratio, decode_ratio, memory_ratio; /**< allowed worsening, e.g. 0.05; NaN: not gated */
} kvat_gate;
/** "ttft=5%,decode=3%,memory=5%". KVAT_ERR_USAGE names the part. */
KVAT_EXTERN kvat_status kvat_gate_parse(kvat_gate *out, const char *text, kvat_error *err);

typedef struct kvat_difference {
    const char *metric;   /**< "ttft", "decode", "memory", "score" */
    kvat_interval change; /**< ratio NEW ÷ BASE; interval includes the spread between separate runs */
    double base, candidate;
    double allowed;         /**< NaN: no gate */
    bool worse_beyond_gate; /**< the whole interval is beyond the gate: a real regression */
    bool better, worse;     /**< interval excludes no change */
} kvat_difference;
typedef struct kvat_comparison {
    bool comparable;
    bool base_undecided, candidate_undecided; /**< then its figures hold, but another configuration may be the answer */
    char reason[256];                         /**< why not, or what limits it */
    bool same_settings;
    kvat_difference items[4];
    size_t n_items;
    bool gate_failed; /**< false is a pass only where both are decided */
} kvat_comparison;
/** KVAT_OK also when not comparable (different machine, model, workload: `comparable` false). */
KVAT_EXTERN kvat_status kvat_plan_compare(kvat_comparison *out, const json_t *base, const json_t *candidate,
                                          const kvat_gate *gate, kvat_error *err);

#ifdef __cplusplus
}
#endif
#endif
