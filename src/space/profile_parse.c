/* Profiles as JSON: reading one from a file or a value, and writing it back (schemas/profile.schema.json).
 * Must not know the built-in profiles, nor the command line. */
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "json_int.h"
#include "kvat/file.h"
#include "kvat/units.h"
#include "profile_internal.h"

#define PATH       "profile"
#define FILE_BYTES ((size_t)1 << 20)

static kvat_status no_memory(kvat_error *err) {
    return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate a profile");
}

/* A member that is null says nothing that leaving it out would not. */
static kvat_status only_members(kvat_json_at at, const char *const *known, kvat_error *err) {
    for (size_t i = 0; known[i]; i++)
        if (json_is_null(json_object_get(at.object, known[i])))
            return kvat_fail(err, KVAT_ERR_DATA, "%s.%s: must not be null; leave it out", at.path, known[i]);
    return kvat_json_only_members(at, known, err);
}

/* --- texts --- */

static bool name_is_plain(const char *name) {
    size_t n = strlen(name);
    return n >= 1 && n <= KVAT__PROFILE_NAME_BYTES &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == n;
}

/** Of valid UTF-8: bytes that continue none. */
static size_t count_characters(const char *text) {
    size_t n = 0;
    for (; *text; text++) n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static bool line_is_plain(const char *line) {
    for (const char *c = line; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f) return false;
    return count_characters(line) <= KVAT__PROFILE_MAX_LINE;
}

static kvat_status keep_text(char **out, const char *text, kvat_error *err) {
    *out = strdup(text);
    return *out ? KVAT_OK : no_memory(err);
}

static kvat_status read_texts(kvat_profile *profile, kvat_json_at at, kvat_error *err) {
    const char *name = NULL, *description = "", *schema = NULL;
    kvat_status status = kvat_json_get_string(&name, at, "name", true, err);
    if (status == KVAT_OK) status = kvat_json_get_string(&description, at, "description", false, err);
    if (status == KVAT_OK) status = kvat_json_get_string(&schema, at, "$schema", false, err);
    if (status != KVAT_OK) return status;
    if (!name_is_plain(name))
        return kvat_fail(err, KVAT_ERR_DATA, PATH ".name: expected 1 to %d of letters, digits, '.', '_' and '-'",
                         KVAT__PROFILE_NAME_BYTES);
    if (!line_is_plain(description))
        return kvat_fail(err, KVAT_ERR_DATA, PATH ".description: expected one line of at most %d characters",
                         KVAT__PROFILE_MAX_LINE);
    status = keep_text(&profile->name, name, err);
    if (status == KVAT_OK) status = keep_text(&profile->description, description, err);
    return status;
}

static kvat_status read_prompt_text(char **out, kvat_json_at at, const char *member, size_t max, kvat_error *err) {
    const char *text = NULL;
    kvat_status status = kvat_json_get_string(&text, at, member, false, err);
    if (status != KVAT_OK || !text) return status;
    if (count_characters(text) > max)
        return kvat_fail(err, KVAT_ERR_DATA, "%s.%s: expected at most %zu characters", at.path, member, max);
    return keep_text(out, text, err);
}

static kvat_status read_prompts(kvat_profile *profile, kvat_json_at at, kvat_error *err) {
    static const char *const known[] = {"file", "prefix", "suffix", NULL};
    json_t *object = NULL;
    kvat_status status = kvat_json_get_object(&object, at, "prompts", false, err);
    if (status != KVAT_OK || !object) return status;
    kvat_json_at inner = {object, PATH ".prompts"};
    status = only_members(inner, known, err);
    if (status == KVAT_OK)
        status = read_prompt_text(&profile->prompts_file, inner, "file", KVAT__PROFILE_MAX_PATH, err);
    if (status == KVAT_OK)
        status = read_prompt_text(&profile->prompts_prefix, inner, "prefix", KVAT__PROFILE_MAX_TEXT, err);
    if (status == KVAT_OK)
        status = read_prompt_text(&profile->prompts_suffix, inner, "suffix", KVAT__PROFILE_MAX_TEXT, err);
    if (status != KVAT_OK) return status;
    if (profile->prompts_file && *profile->prompts_file == '\0')
        return kvat_fail(err, KVAT_ERR_DATA, PATH ".prompts.file: expected a path, not an empty text");
    return KVAT_OK;
}

/* --- cells --- */

static kvat_status read_length(int64_t *out, const json_t *item, const char *member, size_t i, int64_t low,
                               int64_t high, kvat_error *err) {
    if (kvat__json_int(out, item) && *out >= low && *out <= high) return KVAT_OK;
    return kvat_fail(err, KVAT_ERR_DATA, PATH ".%s[%zu]: expected an integer from %" PRId64 " to %" PRId64, member, i,
                     low, high);
}

/** A list of distinct lengths, sorted; left alone when absent. */
static kvat_status read_lengths(kvat__lengths *out, kvat_json_at at, const char *member, int64_t low, int64_t high,
                                bool required, kvat_error *err) {
    json_t *array = NULL;
    kvat_status status = kvat_json_get_array(&array, at, member, required, err);
    if (status != KVAT_OK || !array) return status;
    size_t n = json_array_size(array);
    if (n == 0 || n > KVAT_PROFILE_MAX_CELLS)
        return kvat_fail(err, KVAT_ERR_DATA, PATH ".%s: expected 1 to %d lengths, not %zu", member,
                         KVAT_PROFILE_MAX_CELLS, n);
    out->n = n;
    for (size_t i = 0; i < n && status == KVAT_OK; i++)
        status = read_length(&out->items[i], json_array_get(array, i), member, i, low, high, err);
    if (status != KVAT_OK) return status;
    int64_t twice = kvat__lengths_sort(out);
    if (twice != 0) return kvat_fail(err, KVAT_ERR_DATA, PATH ".%s: %" PRId64 " is there twice", member, twice);
    return KVAT_OK;
}

static kvat_status read_lists(kvat_profile *profile, kvat_json_at at, kvat_error *err) {
    kvat__lengths prompts = {.n = 0}, outputs = {.n = 0}, batches = {{1}, 1};
    kvat_status status = read_lengths(&prompts, at, "context", 1, KVAT_PROFILE_MAX_TOKENS, true, err);
    if (status == KVAT_OK)
        status =
            read_lengths(&outputs, at, "output_tokens", KVAT__PROFILE_MIN_OUTPUT, KVAT_PROFILE_MAX_TOKENS, true, err);
    if (status == KVAT_OK) status = read_lengths(&batches, at, "batch", 1, KVAT__PROFILE_MAX_BATCH, false, err);
    if (status != KVAT_OK) return status;
    return kvat__cells_product(&profile->cells, &profile->n_cells, &prompts, &outputs, &batches, KVAT_ERR_DATA, PATH,
                               err);
}

static kvat_status read_cell(kvat_cell *cell, const json_t *json, size_t i, kvat_error *err) {
    static const char *const known[] = {"context", "output_tokens", "batch", "weight", NULL};
    char path[40];
    snprintf(path, sizeof path, PATH ".cells[%zu]", i);
    kvat_json_at at = {json, path};
    if (!json_is_object(json)) return kvat_fail(err, KVAT_ERR_DATA, "%s: expected an object", path);
    *cell = (kvat_cell){.sequences = 1};
    kvat_status status = only_members(at, known, err);
    if (status == KVAT_OK)
        status = kvat_json_get_int(&cell->prompt_tokens, at, "context", 1, KVAT_PROFILE_MAX_TOKENS, true, err);
    if (status == KVAT_OK)
        status = kvat_json_get_int(&cell->output_tokens, at, "output_tokens", KVAT__PROFILE_MIN_OUTPUT,
                                   KVAT_PROFILE_MAX_TOKENS, true, err);
    if (status == KVAT_OK)
        status = kvat_json_get_int(&cell->sequences, at, "batch", 1, KVAT__PROFILE_MAX_BATCH, false, err);
    if (status == KVAT_OK) status = kvat_json_get_real(&cell->weight, at, "weight", 0, 1, true, err);
    if (status == KVAT_OK && !(cell->weight > 0))
        status = kvat_fail(err, KVAT_ERR_DATA, "%s.weight: expected more than 0 and at most 1", path);
    return status;
}

static kvat_status check_cells(kvat_profile *profile, kvat_error *err) {
    double sum = 0;
    kvat__cells_sort(profile->cells, profile->n_cells);
    for (size_t i = 0; i < profile->n_cells; i++) {
        const kvat_cell *cell = &profile->cells[i];
        sum += cell->weight;
        if (i > 0 && kvat__cell_compare(cell - 1, cell) == 0)
            return kvat_fail(err, KVAT_ERR_DATA,
                             PATH ".cells: context %" PRId64 " with %" PRId64 " output tokens is there twice",
                             cell->prompt_tokens, cell->output_tokens);
    }
    if (!(fabs(sum - 1) <= KVAT__WEIGHT_SLACK))
        return kvat_fail(err, KVAT_ERR_DATA, PATH ".cells: the weights must sum to 1, not %.9g", sum);
    kvat__cells_normalise(profile->cells, profile->n_cells);
    return KVAT_OK;
}

static kvat_status read_cells(kvat_profile *profile, kvat_json_at at, const json_t *array, kvat_error *err) {
    static const char *const lists[] = {"context", "output_tokens", "batch"};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        if (json_object_get(at.object, lists[i]))
            return kvat_fail(err, KVAT_ERR_DATA, PATH ".%s: not together with cells, which say it themselves",
                             lists[i]);
    size_t n = json_array_size(array);
    if (n == 0 || n > KVAT_PROFILE_MAX_CELLS)
        return kvat_fail(err, KVAT_ERR_DATA, PATH ".cells: expected 1 to %d cells, not %zu", KVAT_PROFILE_MAX_CELLS, n);
    profile->cells = calloc(n, sizeof *profile->cells);
    if (!profile->cells) return no_memory(err);
    profile->n_cells = n;
    for (size_t i = 0; i < n; i++) {
        kvat_status status = read_cell(&profile->cells[i], json_array_get(array, i), i, err);
        if (status != KVAT_OK) return status;
    }
    return check_cells(profile, err);
}

static kvat_status read_workload(kvat_profile *profile, kvat_json_at at, kvat_error *err) {
    json_t *cells = NULL;
    kvat_status status = kvat_json_get_array(&cells, at, "cells", false, err);
    if (status != KVAT_OK) return status;
    return cells ? read_cells(profile, at, cells, err) : read_lists(profile, at, err);
}

/* --- what counts, and limits --- */

static kvat_status read_weights(kvat_profile *profile, kvat_json_at at, kvat_error *err) {
    static const char *const known[] = {"ttft", "decode", "memory", NULL};
    json_t *object = NULL;
    double weights[3] = {0};
    kvat_status status = kvat_json_get_object(&object, at, "weights", false, err);
    if (status != KVAT_OK || !object) return status;
    kvat_json_at inner = {object, PATH ".weights"};
    status = only_members(inner, known, err);
    for (int i = 0; i < 3 && status == KVAT_OK; i++)
        status = kvat_json_get_real(&weights[i], inner, known[i], 0, 1, false, err);
    if (status == KVAT_OK) status = kvat__weights_check(weights, KVAT_ERR_DATA, PATH ".weights", err);
    if (status != KVAT_OK) return status;
    profile->weight_ttft = weights[0];
    profile->weight_decode = weights[1];
    profile->weight_memory = weights[2];
    return KVAT_OK;
}

/** A duration as text ("500ms") or as seconds. */
static kvat_status read_duration(int64_t *ns, kvat_json_at at, const char *member, kvat_error *err) {
    const json_t *json = json_object_get(at.object, member);
    if (!json) return KVAT_OK;
    int64_t value = 0;
    if (json_is_string(json)) {
        if (kvat_parse_duration(&value, json_string_value(json), NULL) != KVAT_OK) value = 0;
    } else if (json_is_number(json)) {
        double seconds = json_number_value(json);
        if (seconds >= 1e-9 && seconds <= KVAT__PROFILE_MAX_SECONDS) value = (int64_t)llround(seconds * 1e9);
    }
    if (value < 1 || value > KVAT__PROFILE_MAX_SECONDS * KVAT_NS_PER_S)
        return kvat_fail(err, KVAT_ERR_DATA,
                         "%s.%s: expected a duration such as \"500ms\" or seconds, more than 0 and at most %d s",
                         at.path, member, KVAT__PROFILE_MAX_SECONDS);
    *ns = value;
    return KVAT_OK;
}

static kvat_status read_slo(kvat_profile *profile, kvat_json_at at, kvat_error *err) {
    static const char *const known[] = {"ttft", "itl", NULL};
    json_t *object = NULL;
    kvat_status status = kvat_json_get_object(&object, at, "slo", false, err);
    if (status != KVAT_OK || !object) return status;
    kvat_json_at inner = {object, PATH ".slo"};
    status = only_members(inner, known, err);
    if (status == KVAT_OK) status = read_duration(&profile->limit_ttft_ns, inner, "ttft", err);
    if (status == KVAT_OK) status = read_duration(&profile->limit_itl_ns, inner, "itl", err);
    return status;
}

static kvat_status read_limits(kvat_profile *profile, kvat_json_at at, kvat_error *err) {
    static const char *const known[] = {"memory", NULL};
    json_t *object = NULL;
    kvat_status status = kvat_json_get_object(&object, at, "limits", false, err);
    if (status != KVAT_OK || !object) return status;
    status = only_members((kvat_json_at){object, PATH ".limits"}, known, err);
    if (status != KVAT_OK) return status;
    const json_t *json = json_object_get(object, "memory");
    if (!json) return KVAT_OK;
    int64_t bytes = 0;
    if (json_is_string(json) ? kvat_parse_bytes(&bytes, json_string_value(json), NULL) != KVAT_OK
                             : !kvat__json_int(&bytes, json))
        bytes = 0;
    if (bytes < 1)
        return kvat_fail(err, KVAT_ERR_DATA,
                         PATH ".limits.memory: expected a size such as \"12GiB\" or bytes, 1 or more");
    profile->limit_memory_bytes = bytes;
    return KVAT_OK;
}

static kvat_status read_profile(kvat_profile *profile, kvat_json_at at, kvat_error *err) {
    static const char *const known[] = {"$schema", "name",  "description", "context", "output_tokens",
                                        "batch",   "cells", "weights",     "prompts", "slo",
                                        "limits",  "runs",  "warmup",      NULL};
    kvat_status status = only_members(at, known, err);
    if (status == KVAT_OK) status = read_texts(profile, at, err);
    if (status == KVAT_OK) status = read_workload(profile, at, err);
    if (status == KVAT_OK) status = read_weights(profile, at, err);
    if (status == KVAT_OK) status = read_prompts(profile, at, err);
    if (status == KVAT_OK) status = read_slo(profile, at, err);
    if (status == KVAT_OK) status = read_limits(profile, at, err);
    if (status == KVAT_OK)
        status = kvat_json_get_int(&profile->runs, at, "runs", 1, KVAT__PROFILE_MAX_RUNS, false, err);
    if (status == KVAT_OK)
        status = kvat_json_get_int(&profile->warmup, at, "warmup", 0, KVAT__PROFILE_MAX_RUNS, false, err);
    return status;
}

kvat_status kvat_profile_parse(kvat_profile **out, const json_t *json, kvat_error *err) {
    if (!json_is_object(json)) return kvat_fail(err, KVAT_ERR_DATA, PATH ": expected an object");
    kvat_profile *profile = kvat__profile_blank();
    if (!profile) return no_memory(err);
    kvat_status status = read_profile(profile, (kvat_json_at){json, PATH}, err);
    if (status == KVAT_OK)
        *out = profile;
    else
        kvat_profile_free(profile);
    return status;
}

/* --- files --- */

/* A profile can be moved together with its prompts: their path counts from the profile's folder. */
static kvat_status resolve_prompts(kvat_profile *profile, const char *path, kvat_error *err) {
    const char *slash = strrchr(path, '/');
    if (!profile->prompts_file || *profile->prompts_file == '/' || !slash) return KVAT_OK;
    char *folder = slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
    char *joined = folder ? kvat_path_join(folder, profile->prompts_file) : NULL;
    free(folder);
    if (!joined) return no_memory(err);
    free(profile->prompts_file);
    profile->prompts_file = joined;
    return KVAT_OK;
}

kvat_status kvat__profile_read(kvat_profile **out, const char *path, kvat_error *err) {
    kvat_buf bytes = KVAT_BUF_INIT;
    json_t *json = NULL;
    kvat_profile *profile = NULL;
    kvat_status status = kvat_file_read(&bytes, path, FILE_BYTES, err);
    if (status == KVAT_OK) status = kvat_json_parse(&json, bytes.bytes ? bytes.bytes : "", bytes.length, path, err);
    if (status == KVAT_OK) status = kvat_profile_parse(&profile, json, err);
    if (status == KVAT_OK) status = resolve_prompts(profile, path, err);
    if (status == KVAT_OK)
        *out = profile;
    else
        kvat_profile_free(profile);
    json_decref(json);
    kvat_buf_clear(&bytes);
    return status;
}
