// The configurations of an outcome that were never started, each with the reason.
// Must not decide what is left out: the job and the search did.
#include <stdlib.h>
#include <string.h>

#include "outcome_internal.h"

static kvat_status nomem(kvat_error *err) {
    return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate what was left out");
}

static char *dup_string(const json_t *string) {
    const char *text = json_string_value(string);
    return strdup(text ? text : "");
}

kvat_status kvat__left_out_copy(kvat_outcome *o, const json_t *note, kvat_error *err) {
    const json_t *list = json_object_get(note, "left_out");
    o->left_out = calloc(json_array_size(list) + 1, sizeof *o->left_out);
    if (!o->left_out) return nomem(err);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        kvat_left_out *left = &o->left_out[o->n_left_out++];
        left->label = dup_string(json_object_get(item, "label"));
        left->reason = dup_string(json_object_get(item, "reason"));
        left->forecast_bytes = (int64_t)json_integer_value(json_object_get(item, "forecast_bytes"));
        if (!left->label || !left->reason) return nomem(err);
    }
    return KVAT_OK;
}

/** Twice, and the search rules out what is larger. */
static bool ran_out_of_memory(const kvat_entry *entry) {
    const size_t *failures = entry->failures_by_status;
    return entry->standing.state == KVAT_CONFIG_INFEASIBLE &&
           failures[KVAT_TRIAL_OOM_HOST] + failures[KVAT_TRIAL_OOM_DEVICE] > 1;
}

/** The smallest by forecast of those that ran out of memory; NULL when there is none. */
static const kvat_entry *smallest_out_of_memory(const kvat_outcome *o) {
    const kvat_entry *smallest = NULL;
    for (size_t i = 0; i < o->n_entries; i++) {
        const kvat_entry *entry = &o->entries[i];
        if (!ran_out_of_memory(entry)) continue;
        if (!smallest || entry->forecast_bytes < smallest->forecast_bytes) smallest = entry;
    }
    return smallest;
}

static kvat_status add_left_out(kvat_outcome *o, const kvat_entry *entry, const char *cause, kvat_error *err) {
    kvat_left_out *list = realloc(o->left_out, (o->n_left_out + 1) * sizeof *list);
    if (!list) return nomem(err);
    o->left_out = list;
    kvat_left_out *left = &list[o->n_left_out++];
    kvat_buf reason = KVAT_BUF_INIT;
    kvat_buf_printf(&reason, "forecast to need more than %s, which ran out of memory", cause);
    *left = (kvat_left_out){
        .label = strdup(entry->label), .forecast_bytes = entry->forecast_bytes, .reason = kvat_buf_take(&reason)};
    return left->label && left->reason ? KVAT_OK : nomem(err);
}

kvat_status kvat__left_out_add_ruled_out(kvat_outcome *o, kvat_error *err) {
    const kvat_entry *cause = smallest_out_of_memory(o);
    kvat_status status = KVAT_OK;
    for (size_t i = 0; cause && i < o->n_entries && status == KVAT_OK; i++) {
        const kvat_entry *entry = &o->entries[i];
        if (entry->standing.state == KVAT_CONFIG_INFEASIBLE && !kvat__outcome_tried(entry))
            status = add_left_out(o, entry, cause->label, err);
    }
    return status;
}
