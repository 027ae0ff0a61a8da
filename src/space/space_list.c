/* Lists the configurations of a request: the product of what is left of each knob, without the forbidden and the equal.
 * Must not know how a request is written, nor what a configuration is used for. */
#include <stdlib.h>
#include <string.h>

#include "kvat/units.h"
#include "space_internal.h"

/** Most combinations gone through; of more, a sample is drawn at once. */
#define COMBINATIONS_MAX ((size_t)1 << 20)

static void listing_clear(kvat__listing *list) {
    free(list->levels);
    free(list->effective);
    free(list->table);
}

static void listing_empty(kvat__listing *list) {
    if (list->table) memset(list->table, 0, list->n_table * sizeof *list->table);
    list->count = 0;
    list->left_out = (kvat_space_left_out){0};
}

static size_t hash_values(const int64_t *values, size_t n) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < n; i++) {
        hash = (hash ^ (uint64_t)values[i]) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 29;
    }
    return (size_t)hash;
}

/** Place in the table of these values: a used one when they are listed, else the empty one they belong to. */
static size_t *listing_place(const kvat__listing *list, const int64_t *values) {
    size_t n = list->knobs->n, mask = list->n_table - 1;
    for (size_t i = hash_values(values, n) & mask;; i = (i + 1) & mask) {
        size_t *place = &list->table[i];
        if (*place == 0 || memcmp(&list->effective[(*place - 1) * n], values, n * sizeof *values) == 0) return place;
    }
}

static kvat_status no_memory(kvat_error *err) {
    return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the configurations");
}

/** realloc() for `n` items of `size` bytes; one byte at least, so that NULL always means no memory. */
static void *resized(void *array, size_t n, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) return NULL;
    return realloc(array, bytes ? bytes : 1);
}

static kvat_status listing_grow(kvat__listing *list, kvat_error *err) {
    size_t n = list->knobs->n, capacity = list->capacity ? list->capacity * 2 : 64;
    uint16_t *levels = resized(list->levels, capacity * n, sizeof *levels);
    if (!levels) return no_memory(err);
    list->levels = levels;
    int64_t *effective = resized(list->effective, capacity * n, sizeof *effective);
    if (!effective) return no_memory(err);
    list->effective = effective;
    size_t *table = calloc(capacity * 4, sizeof *table);
    if (!table) return no_memory(err);
    free(list->table);
    list->table = table;
    list->n_table = capacity * 4;
    list->capacity = capacity;
    for (size_t i = 0; i < list->count; i++) *listing_place(list, &list->effective[i * n]) = i + 1;
    return KVAT_OK;
}

static size_t changes_from_base(const kvat__listing *list, const uint16_t *levels) {
    size_t changes = 0;
    for (size_t i = 0; i < list->knobs->n; i++) changes += levels[i] != list->choices[i].base;
    return changes;
}

/** Of two equal configurations the one that changes fewer settings stands for both; of those, the first. */
static void listing_merge(kvat__listing *list, size_t known, const uint16_t *levels) {
    uint16_t *standing = &list->levels[known * list->knobs->n];
    if (changes_from_base(list, levels) < changes_from_base(list, standing))
        memcpy(standing, levels, list->knobs->n * sizeof *levels);
    list->left_out.equal++;
}

kvat_status kvat__listing_add(kvat__listing *list, const uint16_t *levels, kvat_error *err) {
    size_t n = list->knobs->n;
    int64_t values[KVAT_KNOBS_MAX];
    if (kvat__rules_broken(NULL, NULL, list->knobs, levels)) {
        list->left_out.constrained++;
        return KVAT_OK;
    }
    if (list->count == list->capacity) {
        kvat_status status = listing_grow(list, err);
        if (status != KVAT_OK) return status;
    }
    for (size_t i = 0; i < n; i++) values[i] = kvat__knob_resolved(&list->knobs->knobs[i], levels[i]);
    kvat__knobs_clamp(values, list->knobs, list->context_tokens);
    size_t *place = listing_place(list, values);
    if (*place != 0) {
        listing_merge(list, *place - 1, levels);
        return KVAT_OK;
    }
    memcpy(&list->levels[list->count * n], levels, n * sizeof *levels);
    memcpy(&list->effective[list->count * n], values, n * sizeof *values);
    *place = ++list->count;
    return KVAT_OK;
}

/* --- going through them --- */

/** The next combination in lexicographic order, the last knob fastest; false after the last. */
static bool next_combination(uint16_t *levels, const kvat__choice *choices, size_t n) {
    for (size_t i = n; i-- > 0;) {
        size_t next = kvat__levels_next(&choices[i].levels, (size_t)levels[i] + 1);
        if (next != SIZE_MAX) {
            levels[i] = (uint16_t)next;
            return true;
        }
        levels[i] = (uint16_t)kvat__levels_next(&choices[i].levels, 0);
    }
    return false;
}

/** *whole false: there are more than a space may hold, and the list is empty again. */
static kvat_status list_all(bool *whole, kvat__listing *list, kvat_error *err) {
    size_t n = list->knobs->n;
    uint16_t levels[KVAT_KNOBS_MAX] = {0};
    *whole = true;
    for (size_t i = 0; i < n; i++) levels[i] = (uint16_t)kvat__levels_next(&list->choices[i].levels, 0);
    do {
        kvat_status status = kvat__listing_add(list, levels, err);
        if (status != KVAT_OK) return status;
        if (list->count > list->max) {
            *whole = false;
            listing_empty(list);
            return KVAT_OK;
        }
    } while (next_combination(levels, list->choices, n));
    return KVAT_OK;
}

/** All of them, or a sample. `choices` are the list's own, reduced where there are too many. */
static kvat_status fill(kvat__listing *list, kvat__choice *choices, uint64_t seed, kvat_error *err) {
    size_t n = list->knobs->n;
    bool whole = false, few = kvat__choices_product(choices, n) <= COMBINATIONS_MAX;
    kvat_status status = few ? list_all(&whole, list, err) : KVAT_OK;
    if (status != KVAT_OK || whole) return status;
    kvat__choices_reduce(choices, list->knobs, list->context_tokens);
    if (!few && kvat__choices_product(choices, n) <= COMBINATIONS_MAX) status = list_all(&whole, list, err);
    if (status == KVAT_OK && !whole) status = kvat__space_draw(list, seed, err);
    return status;
}

/* --- order --- */

typedef struct ranked {
    const uint16_t *levels;
    size_t changes, n;
} ranked;

/** Fewer changes first (so the default, with none, leads), then by level. */
static int compare_ranked(const void *left, const void *right) {
    const ranked *a = left, *b = right;
    if (a->changes != b->changes) return a->changes < b->changes ? -1 : 1;
    for (size_t i = 0; i < a->n; i++)
        if (a->levels[i] != b->levels[i]) return a->levels[i] < b->levels[i] ? -1 : 1;
    return 0;
}

static kvat_status listing_sorted(uint16_t **out, const kvat__listing *list, kvat_error *err) {
    size_t n = list->knobs->n;
    ranked *order = resized(NULL, list->count, sizeof *order);
    uint16_t *levels = resized(NULL, list->count * n, sizeof *levels);
    if (!order || !levels) {
        free(order);
        free(levels);
        return no_memory(err);
    }
    for (size_t i = 0; i < list->count; i++) {
        const uint16_t *of = &list->levels[i * n];
        order[i] = (ranked){of, changes_from_base(list, of), n};
    }
    qsort(order, list->count, sizeof *order, compare_ranked);
    for (size_t i = 0; i < list->count && n > 0; i++) memcpy(&levels[i * n], order[i].levels, n * sizeof *levels);
    free(order);
    *out = levels;
    return KVAT_OK;
}

kvat_status kvat__space_list(kvat_space *space, kvat__choice *choices, const kvat_space_request *request,
                             kvat_error *err) {
    kvat__listing list = {.knobs = space->knobs,
                          .choices = choices,
                          .context_tokens = request->context_tokens,
                          .max = request->max_configs ? request->max_configs : KVAT_SPACE_MAX};
    kvat_status status = fill(&list, choices, request->seed, err);
    if (status == KVAT_OK) status = listing_sorted(&space->levels, &list, err);
    if (status == KVAT_OK) {
        space->count = list.count;
        space->left_out.constrained = list.left_out.constrained;
        space->left_out.equal = list.left_out.equal;
        space->left_out.drawn_from = list.left_out.drawn_from;
    }
    listing_clear(&list);
    return status;
}
