/* What the command line changes of a profile: lengths, batch sizes, weights, runs.
 * Must not know where the profile came from. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "kvat/units.h"
#include "profile_internal.h"

/** One of the three dimensions of a cell, as a flag can replace it. */
typedef struct dimension {
    const char *flag, *text; /**< text NULL: stays as it is */
    int64_t low, high;
    kvat__lengths before, after; /**< distinct values, sorted */
} dimension;

enum { CONTEXT, OUTPUT, BATCH, DIMENSIONS };

static int64_t *field_of(kvat_cell *cell, int which) {
    int64_t *const fields[DIMENSIONS] = {&cell->prompt_tokens, &cell->output_tokens, &cell->sequences};
    return fields[which];
}

/** Place of `value` in sorted lengths; `n` when it is not there. */
static size_t find_length(const kvat__lengths *lengths, int64_t value) {
    for (size_t i = 0; i < lengths->n; i++)
        if (lengths->items[i] == value) return i;
    return lengths->n;
}

static void collect(kvat__lengths *out, const kvat_cell *cells, size_t n, int which) {
    out->n = 0;
    for (size_t i = 0; i < n; i++) {
        kvat_cell cell = cells[i];
        int64_t value = *field_of(&cell, which);
        if (find_length(out, value) == out->n) out->items[out->n++] = value;
    }
    kvat__lengths_sort(out);
}

/* --- lists --- */

static kvat_status read_item(dimension *dim, const char *item, size_t n, kvat_error *err) {
    char text[32];
    if (dim->after.n == KVAT_PROFILE_MAX_CELLS)
        return kvat_fail(err, KVAT_ERR_USAGE, "%s: more than %d values", dim->flag, KVAT_PROFILE_MAX_CELLS);
    if (n >= sizeof text) n = sizeof text - 1; /* longer than any number that is allowed */
    memcpy(text, item, n);
    text[n] = '\0';
    return kvat_parse_int(&dim->after.items[dim->after.n++], text, dim->low, dim->high, dim->flag, err);
}

static kvat_status read_list(dimension *dim, kvat_error *err) {
    const char *rest = dim->text;
    for (;;) {
        size_t n = strcspn(rest, ",");
        kvat_status status = read_item(dim, rest, n, err);
        if (status != KVAT_OK) return status;
        if (rest[n] == '\0') break;
        rest += n + 1;
    }
    int64_t twice = kvat__lengths_sort(&dim->after);
    if (twice == 0) return KVAT_OK;
    return kvat_fail(err, KVAT_ERR_USAGE, "%s: %" PRId64 " is there twice", dim->flag, twice);
}

/* --- cells --- */

static bool lists_kept_length(const dimension *dims) {
    for (int d = 0; d < DIMENSIONS; d++)
        if (dims[d].text && dims[d].before.n != dims[d].after.n) return false;
    return true;
}

/** The i-th length of before becomes the i-th of after. Order and weights stay. */
static void rename_lengths(kvat_cell *cells, size_t n, const dimension *dims) {
    for (size_t i = 0; i < n; i++) {
        for (int d = 0; d < DIMENSIONS; d++) {
            if (!dims[d].text) continue;
            int64_t *field = field_of(&cells[i], d);
            *field = dims[d].after.items[find_length(&dims[d].before, *field)];
        }
    }
}

/** Removes cells that a shared value of the replaced dimensions has made equal. */
static size_t distinct_cells(kvat_cell *cells, size_t n) {
    size_t kept = 0;
    kvat__cells_sort(cells, n);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || kvat__cell_compare(&cells[kept - 1], &cells[i]) != 0) cells[kept++] = cells[i];
    return kept;
}

/** Repeats every cell for each new length of one dimension. */
static kvat_status spread(kvat_cell **cells, size_t *n, const dimension *dim, int which, kvat_error *err) {
    size_t count = *n * dim->after.n;
    if (count > KVAT_PROFILE_MAX_CELLS)
        return kvat_fail(err, KVAT_ERR_USAGE, "%s: makes %zu cells, allowed are at most %d", dim->flag, count,
                         KVAT_PROFILE_MAX_CELLS);
    kvat_cell *wide = calloc(count, sizeof *wide);
    if (!wide) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the cells of a profile");
    for (size_t i = 0; i < count; i++) {
        wide[i] = (*cells)[i / dim->after.n];
        *field_of(&wide[i], which) = dim->after.items[i % dim->after.n];
    }
    free(*cells);
    *cells = wide;
    *n = count;
    return KVAT_OK;
}

/** Makes all cells equal in the dimensions to be replaced, and those that are equal now one. */
static void collapse(kvat_cell *cells, size_t *n, const dimension *dims) {
    for (size_t i = 0; i < *n; i++)
        for (int d = 0; d < DIMENSIONS; d++)
            if (dims[d].text) *field_of(&cells[i], d) = dims[d].after.items[0];
    *n = distinct_cells(cells, *n);
}

static kvat_status rebuild(kvat_cell **cells, size_t *n, const dimension *dims, kvat_error *err) {
    kvat_status status = KVAT_OK;
    collapse(*cells, n, dims);
    for (int d = 0; d < DIMENSIONS && status == KVAT_OK; d++)
        if (dims[d].text) status = spread(cells, n, &dims[d], d, err);
    if (status != KVAT_OK) return status;
    for (size_t i = 0; i < *n; i++) (*cells)[i].weight = 1.0 / (double)*n;
    kvat__cells_sort(*cells, *n);
    return KVAT_OK;
}

/** New cells (heap) of the profile under the lists of `dims`. */
static kvat_status make_cells(kvat_cell **out, size_t *out_n, const kvat_profile *profile, const dimension *dims,
                              kvat_error *err) {
    size_t n = profile->n_cells;
    kvat_cell *cells = calloc(n, sizeof *cells);
    if (!cells) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the cells of a profile");
    memcpy(cells, profile->cells, n * sizeof *cells);
    kvat_status status = KVAT_OK;
    if (lists_kept_length(dims))
        rename_lengths(cells, n, dims);
    else
        status = rebuild(&cells, &n, dims, err);
    if (status != KVAT_OK) {
        free(cells);
        return status;
    }
    *out = cells;
    *out_n = n;
    return KVAT_OK;
}

static kvat_status read_dimensions(dimension *dims, const kvat_profile *profile, const kvat_profile_overrides *with,
                                   kvat_error *err) {
    dims[CONTEXT] = (dimension){.flag = "--context", .text = with->context, .low = 1, .high = KVAT_PROFILE_MAX_TOKENS};
    dims[OUTPUT] = (dimension){.flag = "--output-tokens",
                               .text = with->output_tokens,
                               .low = KVAT__PROFILE_MIN_OUTPUT,
                               .high = KVAT_PROFILE_MAX_TOKENS};
    dims[BATCH] = (dimension){.flag = "--batch", .text = with->batch, .low = 1, .high = KVAT__PROFILE_MAX_BATCH};
    kvat_status status = KVAT_OK;
    for (int d = 0; d < DIMENSIONS && status == KVAT_OK; d++) {
        if (!dims[d].text) continue;
        collect(&dims[d].before, profile->cells, profile->n_cells, d);
        status = read_list(&dims[d], err);
    }
    return status;
}

static kvat_status override_cells(kvat_cell **cells, size_t *n, const kvat_profile *profile,
                                  const kvat_profile_overrides *with, kvat_error *err) {
    if (!with->context && !with->output_tokens && !with->batch) return KVAT_OK;
    dimension *dims = calloc(DIMENSIONS, sizeof *dims);
    if (!dims) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the lengths of a profile");
    kvat_status status = read_dimensions(dims, profile, with, err);
    if (status == KVAT_OK) status = make_cells(cells, n, profile, dims, err);
    free(dims);
    return status;
}

/* --- weights --- */

static kvat_status read_weight(double *weights, bool *seen, const char *item, size_t n, kvat_error *err) {
    static const char *const names[] = {"ttft", "decode", "memory"};
    char text[64];
    if (n >= sizeof text) n = sizeof text - 1;
    memcpy(text, item, n);
    text[n] = '\0';
    size_t name = strcspn(text, "=");
    for (int i = 0; i < 3; i++) {
        if (text[name] != '=' || strlen(names[i]) != name || strncmp(names[i], text, name) != 0) continue;
        if (seen[i]) return kvat_fail(err, KVAT_ERR_USAGE, "--weights: %s is there twice", names[i]);
        seen[i] = true;
        return kvat_parse_ratio(&weights[i], text + name + 1, 0, 1, "--weights", err);
    }
    return kvat_fail(err, KVAT_ERR_USAGE, "--weights: expected ttft=, decode= and memory= from 0 to 1, not \"%s\"",
                     text);
}

static kvat_status override_weights(double weights[3], const char *text, kvat_error *err) {
    bool seen[3] = {false};
    weights[0] = weights[1] = weights[2] = 0;
    for (;;) {
        size_t n = strcspn(text, ",");
        kvat_status status = read_weight(weights, seen, text, n, err);
        if (status != KVAT_OK) return status;
        if (text[n] == '\0') return kvat__weights_check(weights, KVAT_ERR_USAGE, "--weights", err);
        text += n + 1;
    }
}

static kvat_status check_counts(const kvat_profile_overrides *with, kvat_error *err) {
    if (with->runs < 0 || with->runs > KVAT__PROFILE_MAX_RUNS)
        return kvat_fail(err, KVAT_ERR_USAGE, "--runs: expected 1 to %d", KVAT__PROFILE_MAX_RUNS);
    if (with->warmup < -1 || with->warmup > KVAT__PROFILE_MAX_RUNS)
        return kvat_fail(err, KVAT_ERR_USAGE, "--warmup: expected 0 to %d", KVAT__PROFILE_MAX_RUNS);
    return KVAT_OK;
}

kvat_status kvat_profile_override(kvat_profile *profile, const kvat_profile_overrides *overrides, kvat_error *err) {
    double weights[3] = {profile->weight_ttft, profile->weight_decode, profile->weight_memory};
    kvat_cell *cells = NULL;
    size_t n_cells = 0;
    char *file = NULL;
    kvat_status status = check_counts(overrides, err);
    if (status == KVAT_OK && overrides->weights) status = override_weights(weights, overrides->weights, err);
    if (status == KVAT_OK && overrides->prompts_file && !(file = strdup(overrides->prompts_file)))
        status = kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the path of the prompts");
    if (status == KVAT_OK) status = override_cells(&cells, &n_cells, profile, overrides, err);
    if (status != KVAT_OK) {
        free(file);
        return status;
    }
    profile->weight_ttft = weights[0];
    profile->weight_decode = weights[1];
    profile->weight_memory = weights[2];
    if (overrides->runs > 0) profile->runs = overrides->runs;
    if (overrides->warmup >= 0) profile->warmup = overrides->warmup;
    if (file) {
        free(profile->prompts_file);
        profile->prompts_file = file;
    }
    if (cells) {
        free(profile->cells);
        profile->cells = cells;
        profile->n_cells = n_cells;
    }
    return KVAT_OK;
}
