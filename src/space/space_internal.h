/* What the files of `space` share: owned memory of the knobs, value sets and rules.
 * Not for other modules. */
#ifndef KVAT_SPACE_INTERNAL_H
#define KVAT_SPACE_INTERNAL_H

#include "kvat/space.h"

#define KVAT__NAME_BYTES  64  /**< longest knob name */
#define KVAT__VALUE_BYTES 256 /**< longest value text */
#define KVAT__RULES_MAX   512 /**< `requires` entries of all knobs together */
/** What `at_most` calls the size of the workload's context. */
#define KVAT__CONTEXT_NAME  "context_tokens"
#define KVAT__CONTEXT_INDEX SIZE_MAX

/** Memory that is freed all at once. */
typedef struct kvat__pool {
    struct kvat__pool_block *blocks;
} kvat__pool;

/** Zeroed; NULL without memory. */
void *kvat__pool_take(kvat__pool *pool, size_t n, size_t size);
char *kvat__pool_text(kvat__pool *pool, const char *text);
void kvat__pool_clear(kvat__pool *pool);

/** A set of levels of one knob. */
typedef struct kvat__levels {
    uint64_t bits[KVAT_KNOB_MAX_VALUES / 64];
} kvat__levels;

void kvat__levels_add(kvat__levels *set, size_t level);
void kvat__levels_drop(kvat__levels *set, size_t level);
bool kvat__levels_has(const kvat__levels *set, size_t level);
size_t kvat__levels_count(const kvat__levels *set);
/** Smallest level ≥ `from` in the set, or SIZE_MAX. */
size_t kvat__levels_next(const kvat__levels *set, size_t from);

/** "the value of `knob` must be one of `allowed`" */
typedef struct kvat__need {
    size_t knob;
    kvat__levels allowed;
} kvat__need;

/** One entry of a knob's `requires`. */
typedef struct kvat__rule {
    size_t knob;
    kvat__levels when;
    kvat__need *needs;
    size_t n_needs;
} kvat__rule;

/** Indices of the knobs that bound one knob (`at_most`), KVAT__CONTEXT_INDEX among them. */
typedef struct kvat__limits {
    size_t *by;
    size_t n;
} kvat__limits;

struct kvat_knobs {
    kvat__pool pool;
    kvat_knob *knobs;
    kvat__limits *limits; /**< one a knob */
    size_t n;
    kvat__rule rules[KVAT__RULES_MAX];
    size_t n_rules;
};

/** `allowed` and `when` hold a level when they hold it or what it resolves to. */
bool kvat__knob_matches(const kvat_knob *knob, const kvat__levels *set, size_t level);
/** First rule (and its need) that `levels` break; false when none. Outputs are nullable. */
bool kvat__rules_broken(const kvat__rule **rule, const kvat__need **need, const kvat_knobs *knobs,
                        const uint16_t *levels);
/** Levels by default, one a knob. */
void kvat__knobs_defaults(uint16_t *levels, const kvat_knobs *knobs);
/** Value in force of a level before `at_most`: the number of an integer knob, else the level it resolves to. */
int64_t kvat__knob_resolved(const kvat_knob *knob, size_t level);
/** Applies `at_most` in place to resolved values, one a knob. `context_tokens` ≤ 0: unknown, bounds nothing. */
void kvat__knobs_clamp(int64_t *values, const kvat_knobs *knobs, int64_t context_tokens);
/** Level written as a JSON value of the knob's type, or SIZE_MAX. */
size_t kvat__knob_level_of(const kvat_knob *knob, const json_t *value);
/** Appends "f16, bf16, q8_0": the values in `set` (all when NULL), at most a dozen. */
void kvat__put_values(kvat_buf *out, const kvat_knob *knob, const kvat__levels *set);
/** Index of the knob whose name is nearest to `name`, or SIZE_MAX. */
size_t kvat__knobs_nearest(const kvat_knobs *knobs, const char *name);

/** What a request leaves of each knob. */
typedef struct kvat__choice {
    kvat__levels levels;
    size_t base; /**< level in configuration 0 */
    bool fixed, swept;
} kvat__choice;

/** Fills `choices`, one a knob, and the counts of values left out. */
kvat_status kvat__request_read(kvat__choice *choices, kvat_space_left_out *left_out, const kvat_knobs *knobs,
                               const kvat_space_request *request, kvat_error *err);

struct kvat_space {
    const kvat_knobs *knobs;
    size_t n_knobs;
    uint16_t *base;   /**< the engine's default with the fixed settings: what labels compare with */
    uint16_t *levels; /**< count × n_knobs */
    size_t count;
    kvat_space_left_out left_out;
};

/** A list of configurations that grows, with a hash table over what is in force, by which equal ones are found. */
typedef struct kvat__listing {
    const kvat_knobs *knobs;
    const kvat__choice *choices;
    int64_t context_tokens;
    size_t max;
    uint16_t *levels;   /**< capacity × knobs */
    int64_t *effective; /**< the same shape */
    size_t count, capacity;
    size_t *table; /**< index + 1, 0 empty; n_table is a power of two above 2 × capacity */
    size_t n_table;
    kvat_space_left_out left_out;
} kvat__listing;

/** Lists a configuration unless it is forbidden or equal to one that is there, and counts those left out. */
kvat_status kvat__listing_add(kvat__listing *list, const uint16_t *levels, kvat_error *err);
/** Fills `levels`, `count` and the counts of configurations left out. Takes values out of `choices` that are equal in
 * force to others, where there are too many. */
kvat_status kvat__space_list(kvat_space *space, kvat__choice *choices, const kvat_space_request *request,
                             kvat_error *err);

/** Combinations of the values that `choices` leave. */
double kvat__choices_product(const kvat__choice *choices, size_t n);
/** Leaves one of the values of each knob that are the same in force whatever the others are: the base's where it is one
 * of them, else the first. */
void kvat__choices_reduce(kvat__choice *choices, const kvat_knobs *knobs, int64_t context_tokens);
/** Fills an empty list with a sample (space.h says which). */
kvat_status kvat__space_draw(kvat__listing *list, uint64_t seed, kvat_error *err);

#endif
