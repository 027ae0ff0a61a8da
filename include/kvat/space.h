/**
 * @file space.h
 * What can be tuned: knobs as a worker declares them, and the configurations a request makes of them.
 *
 * A knob value is a level, an index into the knob's `values`; a configuration is one level a knob. Configurations whose
 * effective settings are equal are one: values are first taken through `aliases` and `at_most` (docs/protocol.md).
 * Configuration 0 of a space is always the engine's default (with the request's fixed settings applied).
 *
 * Up to KVAT_SPACE_MAX configurations are all listed. Of more, a sample of that many stands for all: the default, every
 * change of one knob alone, every change of two where they take up no more than half of it, and the rest drawn at
 * random. A draw chooses first how many knobs change, each number equally likely, then which, then their values: so
 * that few changes, which are what usually matters, are not lost among the many ways to change everything. The same
 * knobs, request and seed give the same sample. What is forbidden by `requires` or equal in force to another is in no
 * sample, and the work is bounded however many combinations there are: a few tries for each place.
 *
 * Ownership: a kvat_space borrows its kvat_knobs, which must outlive it. Pure: no I/O.
 */
#ifndef KVAT_SPACE_H
#define KVAT_SPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvat/json.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum kvat_knob_type { KVAT_KNOB_ENUM, KVAT_KNOB_ORDINAL, KVAT_KNOB_INT } kvat_knob_type;
/** What must be made anew to change a knob; ordered by cost. */
typedef enum kvat_scope { KVAT_SCOPE_REQUEST, KVAT_SCOPE_CONTEXT, KVAT_SCOPE_MODEL, KVAT_SCOPE_PROCESS } kvat_scope;
typedef enum kvat_numerics { KVAT_EXACT, KVAT_EQUIVALENT, KVAT_LOSSY } kvat_numerics;

KVAT_EXTERN const char *kvat_scope_word(kvat_scope scope);
KVAT_EXTERN const char *kvat_numerics_word(kvat_numerics numerics);

typedef struct kvat_knob_value {
    const char *text; /**< as it is written on a command line: "q8_0", "512" */
    int64_t number;   /**< for KVAT_KNOB_INT */
    kvat_numerics numerics;
    bool stable;
    bool searched;    /**< tried without --sweep */
    size_t canonical; /**< level this one resolves to by `aliases` (itself when none) */
} kvat_knob_value;

typedef struct kvat_knob {
    const char *name;         /**< the engine's own name, unique */
    const char *concept_word; /**< shared vocabulary, e.g. "kv.type.k"; "" when none (`concept` is a word of C++) */
    const char *help;
    kvat_knob_type type;
    kvat_scope scope;
    const kvat_knob_value *values;
    size_t n_values; /**< 1 … KVAT_KNOB_MAX_VALUES */
    size_t default_level;
    const char *apply_env;      /**< process scope: environment variable, or NULL */
    const char *apply_arg;      /**< process scope: argument, or NULL */
    const char *const *at_most; /**< NULL-terminated names, or NULL */
} kvat_knob;

#define KVAT_KNOB_MAX_VALUES 256
#define KVAT_KNOBS_MAX       128

typedef struct kvat_knobs kvat_knobs;

/** Reads the `knobs` array of `describe` (or of a surface). KVAT_ERR_DATA names the knob and member: unknown default,
 * duplicate names or values, a `requires` that names what does not exist or that the defaults break, and so on. Names
 * have 1 to 64 bytes, value texts 1 to 256, both any text without control characters, kept raw: sinks escape. "all" and
 * "context_tokens" are no names. A value is as lossy and as unstable as what it resolves to. */
KVAT_EXTERN kvat_status kvat_knobs_parse(kvat_knobs **out, const json_t *array, kvat_error *err);
KVAT_EXTERN void kvat_knobs_free(kvat_knobs *knobs);
KVAT_EXTERN size_t kvat_knobs_count(const kvat_knobs *knobs);
KVAT_EXTERN const kvat_knob *kvat_knobs_at(const kvat_knobs *knobs, size_t index);
/** Index of the knob of that name, or of that concept when exactly one knob has it; else SIZE_MAX. */
KVAT_EXTERN size_t kvat_knobs_find(const kvat_knobs *knobs, const char *name);
/** Level whose text is `text` (integers compared as numbers), or SIZE_MAX. */
KVAT_EXTERN size_t kvat_knob_level(const kvat_knob *knob, const char *text);

/** "--set name=value" or "--sweep name=v1,v2"; "--sweep all" has the name "all" and no values. */
typedef struct kvat_setting {
    const char *name;
    const char *values; /**< comma-separated; NULL or "" after a sweep's name means all its values */
} kvat_setting;

typedef struct kvat_space_request {
    const kvat_setting *set; /**< fixed for every configuration, the default included: such a knob is not tuned */
    size_t n_set;
    const kvat_setting *sweep; /**< replaces the knob's `search` values; the default value always stays in */
    size_t n_sweep;
    bool safe;              /**< only stable values */
    bool allow_lossy;       /**< keep lossy values; else they are left out (and counted) */
    int64_t context_tokens; /**< context size of the workload, for `at_most`; 0 unknown */
    size_t max_configs;     /**< of more than this a sample is drawn; 0 means KVAT_SPACE_MAX */
    uint64_t seed;          /**< of the sample */
} kvat_space_request;
#define KVAT_SPACE_MAX 10000

typedef struct kvat_space kvat_space;

/** KVAT_ERR_USAGE: unknown knob or value (nearest suggested), a fixed value outside `values`, contradictory settings,
 * so many values that a sample has no room for each of them alone (says how many and what to narrow). */
KVAT_EXTERN kvat_status kvat_space_new(kvat_space **out, const kvat_knobs *knobs, const kvat_space_request *request,
                                       kvat_error *err);
KVAT_EXTERN void kvat_space_free(kvat_space *space);
KVAT_EXTERN const kvat_knobs *kvat_space_knobs(const kvat_space *space);
KVAT_EXTERN size_t kvat_space_count(const kvat_space *space); /**< ≥ 1 */
/** Levels of configuration `config`, one a knob; borrowed. */
KVAT_EXTERN const uint16_t *kvat_space_levels(const kvat_space *space, size_t config);
/** Is any value of it lossy? */
KVAT_EXTERN bool kvat_space_lossy(const kvat_space *space, size_t config);
/** True when it has a lossy value other than what the request set for that knob: what the user asked for outright needs
 * no further leave. */
KVAT_EXTERN bool kvat_space_lossier(const kvat_space *space, size_t config);
/** How many knobs differ from configuration 0. */
KVAT_EXTERN size_t kvat_space_changes(const kvat_space *space, size_t config);
/** Removes configurations for which `drop[config]` is true (never number 0 unless told so: then 0 becomes what was
 * first after it). Indices close up. `drop` has kvat_space_count() places. When all are to go, nothing happens: a space
 * is never empty. */
KVAT_EXTERN void kvat_space_remove(kvat_space *space, const bool *drop);
/** What was left out on the way, for the user. */
typedef struct kvat_space_left_out {
    size_t lossy, unstable;    /**< values of knobs */
    size_t constrained, equal; /**< configurations: forbidden by `requires`; the same in force as another. 0 in a
                                  sample, which does not look at all */
    double drawn_from; /**< combinations of values that a sample was drawn from, whether allowed or not; 0: all that are
                          allowed are here */
} kvat_space_left_out;
KVAT_EXTERN kvat_space_left_out kvat_space_skipped(const kvat_space *space);

/** Settings of a configuration as a JSON object {name: string or integer}, of one scope or (scope < 0) of all. New
 * reference. */
KVAT_EXTERN kvat_status kvat_space_settings(json_t **out, const kvat_space *space, size_t config, int scope,
                                            kvat_error *err);
/** What the engine should report as in force for `settings`: after `aliases` and `at_most`. Knobs that are not in
 * `settings` count at their defaults, so give all that bear on each other. `context_tokens` ≤ 0: unknown, bounds
 * nothing. New reference. */
KVAT_EXTERN kvat_status kvat_knobs_effective(json_t **out, const kvat_knobs *knobs, const json_t *settings,
                                             int64_t context_tokens, kvat_error *err);
/** "threads 2, ubatch-size 256" (the knobs that differ from the default) or "default", "default with
 * flash-attn on" where the request set something else beside it. Appended unescaped. */
KVAT_EXTERN void kvat_space_label(kvat_buf *out, const kvat_space *space, size_t config);
/** Stable identity of a configuration: SHA-256 over the canonical JSON of its settings. `hex` has KVAT_HASH_HEX
 * places. */
KVAT_EXTERN kvat_status kvat_space_identity(char *hex, const kvat_space *space, size_t config, kvat_error *err);

#ifdef __cplusplus
}
#endif
#endif
