/* A profile as JSON that reads back as the same profile, without the prompts, which are never passed on.
 * Must not know how profiles are read. */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

#include "profile_internal.h"

static bool set(json_t *object, const char *member, json_t *value) {
    return json_object_set_new(object, member, value) == 0;
}

static int64_t field_of(const kvat_cell *cell, int field) {
    const int64_t fields[] = {cell->prompt_tokens, cell->output_tokens, cell->sequences};
    return fields[field];
}

/** Distinct values of one field, sorted. */
static void collect(kvat__lengths *out, const kvat_profile *profile, int field) {
    out->n = 0;
    for (size_t i = 0; i < profile->n_cells; i++) {
        int64_t value = field_of(&profile->cells[i], field);
        bool known = false;
        for (size_t j = 0; j < out->n && !known; j++) known = out->items[j] == value;
        if (!known) out->items[out->n++] = value;
    }
    kvat__lengths_sort(out);
}

static bool weights_are_equal(const kvat_profile *profile) {
    for (size_t i = 0; i < profile->n_cells; i++)
        if (profile->cells[i].weight != 1.0 / (double)profile->n_cells) return false;
    return true;
}

static json_t *lengths_json(const kvat__lengths *lengths) {
    json_t *array = json_array();
    for (size_t i = 0; i < lengths->n; i++) {
        if (json_array_append_new(array, json_integer(lengths->items[i])) == 0) continue;
        json_decref(array);
        return NULL;
    }
    return array;
}

static bool set_cells(json_t *object, const kvat_profile *profile) {
    json_t *array = json_array();
    bool ok = array != NULL;
    for (size_t i = 0; i < profile->n_cells && ok; i++) {
        const kvat_cell *cell = &profile->cells[i];
        json_t *item = json_object();
        ok = set(item, "context", json_integer(cell->prompt_tokens)) &&
             set(item, "output_tokens", json_integer(cell->output_tokens)) &&
             set(item, "batch", json_integer(cell->sequences)) && set(item, "weight", json_real(cell->weight));
        if (ok)
            ok = json_array_append_new(array, item) == 0;
        else
            json_decref(item);
    }
    if (ok) return set(object, "cells", array);
    json_decref(array);
    return false;
}

/** Lists where they say the same as the cells, which is what people write. */
static bool set_workload(json_t *object, const kvat_profile *profile) {
    static const char *const members[] = {"context", "output_tokens", "batch"};
    kvat__lengths lists[3];
    for (int i = 0; i < 3; i++) collect(&lists[i], profile, i);
    bool product = lists[0].n * lists[1].n * lists[2].n == profile->n_cells;
    if (!product || !weights_are_equal(profile)) return set_cells(object, profile);
    for (int i = 0; i < 3; i++)
        if (!set(object, members[i], lengths_json(&lists[i]))) return false;
    return true;
}

static bool set_seconds(json_t *object, const char *member, int64_t ns) {
    return ns == 0 || set(object, member, json_real((double)ns / 1e9));
}

static bool set_group(json_t *object, const char *member, json_t *group, bool ok) {
    if (ok && json_object_size(group) > 0) return set(object, member, group);
    json_decref(group);
    return ok;
}

static bool set_limits(json_t *object, const kvat_profile *profile) {
    json_t *slo = json_object(), *limits = json_object();
    bool slo_ok =
        slo && set_seconds(slo, "ttft", profile->limit_ttft_ns) && set_seconds(slo, "itl", profile->limit_itl_ns);
    bool limits_ok = limits && (profile->limit_memory_bytes == 0 ||
                                set(limits, "memory", json_integer(profile->limit_memory_bytes)));
    slo_ok = set_group(object, "slo", slo, slo_ok);
    return set_group(object, "limits", limits, limits_ok) && slo_ok;
}

static bool set_weights(json_t *object, const kvat_profile *profile) {
    json_t *weights = json_object();
    bool ok = set(weights, "ttft", json_real(profile->weight_ttft)) &&
              set(weights, "decode", json_real(profile->weight_decode)) &&
              set(weights, "memory", json_real(profile->weight_memory));
    return set_group(object, "weights", weights, ok);
}

kvat_status kvat_profile_json(json_t **out, const kvat_profile *profile, kvat_error *err) {
    json_t *object = json_object();
    bool ok = set(object, "name", json_string(profile->name)) &&
              set(object, "description", json_string(profile->description)) && set_workload(object, profile) &&
              set_weights(object, profile) && set_limits(object, profile) &&
              set(object, "runs", json_integer(profile->runs)) && set(object, "warmup", json_integer(profile->warmup));
    if (!ok) {
        json_decref(object);
        return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the JSON of a profile");
    }
    *out = object;
    return KVAT_OK;
}
