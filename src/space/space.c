/* Configurations of a request: their numbers, differences, names and identities.
 * Must not know how they are measured. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "kvat/hash.h"
#include "space_internal.h"

static kvat_status space_fill(kvat_space *space, const kvat_space_request *request, kvat_error *err) {
    kvat__choice *choices = calloc(space->n_knobs + 1, sizeof *choices);
    space->base = calloc(space->n_knobs + 1, sizeof *space->base);
    kvat_status status = KVAT_OK;
    if (!choices || !space->base) status = kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the space");
    if (status == KVAT_OK) status = kvat__request_read(choices, &space->left_out, space->knobs, request, err);
    for (size_t i = 0; i < space->n_knobs && status == KVAT_OK; i++) space->base[i] = (uint16_t)choices[i].base;
    if (status == KVAT_OK) status = kvat__space_list(space, choices, request, err);
    free(choices);
    return status;
}

kvat_status kvat_space_new(kvat_space **out, const kvat_knobs *knobs, const kvat_space_request *request,
                           kvat_error *err) {
    kvat_space *space = calloc(1, sizeof *space);
    if (!space) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the space");
    space->knobs = knobs;
    space->n_knobs = knobs->n;
    kvat_status status = space_fill(space, request, err);
    if (status == KVAT_OK)
        *out = space;
    else
        kvat_space_free(space);
    return status;
}

void kvat_space_free(kvat_space *space) {
    if (!space) return;
    free(space->base);
    free(space->levels);
    free(space);
}

const kvat_knobs *kvat_space_knobs(const kvat_space *space) {
    return space->knobs;
}

size_t kvat_space_count(const kvat_space *space) {
    return space->count;
}

const uint16_t *kvat_space_levels(const kvat_space *space, size_t config) {
    return &space->levels[config * space->n_knobs];
}

kvat_space_left_out kvat_space_skipped(const kvat_space *space) {
    return space->left_out;
}

bool kvat_space_lossy(const kvat_space *space, size_t config) {
    const uint16_t *levels = kvat_space_levels(space, config);
    for (size_t i = 0; i < space->n_knobs; i++)
        if (space->knobs->knobs[i].values[levels[i]].numerics == KVAT_LOSSY) return true;
    return false;
}

bool kvat_space_lossier(const kvat_space *space, size_t config) {
    const uint16_t *levels = kvat_space_levels(space, config);
    for (size_t i = 0; i < space->n_knobs; i++)
        if (levels[i] != space->base[i] && space->knobs->knobs[i].values[levels[i]].numerics == KVAT_LOSSY) return true;
    return false;
}

size_t kvat_space_changes(const kvat_space *space, size_t config) {
    const uint16_t *first = kvat_space_levels(space, 0), *levels = kvat_space_levels(space, config);
    size_t changes = 0;
    for (size_t i = 0; i < space->n_knobs; i++) changes += levels[i] != first[i];
    return changes;
}

static size_t count_kept(const kvat_space *space, const bool *drop) {
    size_t kept = 0;
    for (size_t i = 0; i < space->count; i++) kept += !drop[i];
    return kept;
}

void kvat_space_remove(kvat_space *space, const bool *drop) {
    size_t n = space->n_knobs, kept = 0;
    if (count_kept(space, drop) == 0) return;
    for (size_t i = 0; i < space->count; i++) {
        if (drop[i]) continue;
        memmove(&space->levels[kept * n], &space->levels[i * n], n * sizeof *space->levels);
        kept++;
    }
    space->count = kept;
}

/* --- as JSON and text --- */

static json_t *value_json(const kvat_knob *knob, size_t level) {
    const kvat_knob_value *value = &knob->values[level];
    return knob->type == KVAT_KNOB_INT ? json_integer(value->number) : json_string(value->text);
}

kvat_status kvat_space_settings(json_t **out, const kvat_space *space, size_t config, int scope, kvat_error *err) {
    const uint16_t *levels = kvat_space_levels(space, config);
    json_t *settings = json_object();
    bool ok = settings != NULL;
    for (size_t i = 0; i < space->n_knobs && ok; i++) {
        const kvat_knob *knob = &space->knobs->knobs[i];
        if (scope >= 0 && knob->scope != (kvat_scope)scope) continue;
        ok = json_object_set_new(settings, knob->name, value_json(knob, levels[i])) == 0;
    }
    if (!ok) {
        json_decref(settings);
        return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the settings");
    }
    *out = settings;
    return KVAT_OK;
}

/** "default", and what the request set beside it. */
static void put_base_label(kvat_buf *out, const kvat_space *space) {
    const char *separator = " with ";
    kvat_buf_puts(out, "default");
    for (size_t i = 0; i < space->n_knobs; i++) {
        const kvat_knob *knob = &space->knobs->knobs[i];
        if (kvat__knob_resolved(knob, space->base[i]) == kvat__knob_resolved(knob, knob->default_level)) continue;
        kvat_buf_printf(out, "%s%s %s", separator, knob->name, knob->values[space->base[i]].text);
        separator = ", ";
    }
}

void kvat_space_label(kvat_buf *out, const kvat_space *space, size_t config) {
    const uint16_t *levels = kvat_space_levels(space, config);
    const char *separator = "";
    for (size_t i = 0; i < space->n_knobs; i++) {
        if (levels[i] == space->base[i]) continue;
        const kvat_knob *knob = &space->knobs->knobs[i];
        kvat_buf_printf(out, "%s%s %s", separator, knob->name, knob->values[levels[i]].text);
        separator = ", ";
    }
    if (*separator == '\0') put_base_label(out, space);
}

kvat_status kvat_space_identity(char *hex, const kvat_space *space, size_t config, kvat_error *err) {
    json_t *settings = NULL;
    kvat_status status = kvat_space_settings(&settings, space, config, -1, err);
    if (status != KVAT_OK) return status;
    kvat_buf bytes = KVAT_BUF_INIT;
    status = kvat_json_put(&bytes, settings);
    if (status != KVAT_OK) kvat_fail(err, status, "cannot allocate the settings");
    if (status == KVAT_OK) kvat_hash_bytes(hex, bytes.bytes, bytes.length);
    kvat_buf_clear(&bytes);
    json_decref(settings);
    return status;
}
