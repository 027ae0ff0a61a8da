// What is not as it was when a plan was made: kvat, engine, model, machine, prompts.
// Must not judge whether it matters.
#include <stdlib.h>
#include <string.h>

#include "verify_internal.h"

static kvat_status nomem(kvat_error *err) {
    return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate what changed");
}

/** "" for nothing, a string as it is, anything else as JSON. Heap. */
static char *text_of(const json_t *value) {
    kvat_buf text = KVAT_BUF_INIT;
    if (!value || json_is_null(value)) return strdup("");
    if (json_is_string(value)) return strdup(json_string_value(value));
    return kvat_json_put(&text, value) == KVAT_OK ? kvat_buf_take(&text) : NULL;
}

/** Does the value say nothing? What was never noted has not changed. */
static bool is_empty(const json_t *value) {
    return !value || json_is_null(value) || (json_is_string(value) && json_string_length(value) == 0) ||
           (json_is_array(value) && json_array_size(value) == 0);
}

static bool same_value(const json_t *then, const json_t *now) {
    if (is_empty(then) && is_empty(now)) return true;
    if (json_is_number(then) && json_is_number(now)) return json_number_value(then) == json_number_value(now);
    return json_equal(then, now);
}

static kvat_status add(kvat_verification *v, const char *what, const json_t *then, const json_t *now, kvat_error *err) {
    if (same_value(then, now)) return KVAT_OK;
    kvat_verify_change *list = realloc(v->changes, (v->n_changes + 1) * sizeof *list);
    if (!list) return nomem(err);
    v->changes = list;
    kvat_verify_change *change = &list[v->n_changes++];
    *change = (kvat_verify_change){.what = strdup(what), .then_is = text_of(then), .here = text_of(now)};
    return change->what && change->then_is && change->here ? KVAT_OK : nomem(err);
}

/** Members of one object that differ, each named "<kind> <member>". `then` decides the order, then what is new. */
static kvat_status add_members(kvat_verification *v, const char *kind, const json_t *then, const json_t *now,
                               kvat_error *err) {
    const json_t *both[] = {then, now};
    kvat_status status = KVAT_OK;
    for (int side = 0; side < 2; side++) {
        const char *name;
        json_t *value;
        json_object_foreach((json_t *)both[side], name, value) {
            char what[96];
            const json_t *other = json_object_get(both[1 - side], name);
            if (status != KVAT_OK || (side == 1 && other)) continue;
            (void)snprintf(what, sizeof what, "%s %.64s", kind, name);
            status = side == 0 ? add(v, what, value, other, err) : add(v, what, other, value, err);
        }
    }
    return status;
}

static kvat_status add_named(kvat_verification *v, const char *kind, const json_t *then, const json_t *now,
                             const char *const *members, kvat_error *err) {
    kvat_status status = KVAT_OK;
    for (; *members && status == KVAT_OK; members++) {
        char what[96];
        (void)snprintf(what, sizeof what, "%s %s", kind, *members);
        status = add(v, what, json_object_get(then, *members), json_object_get(now, *members), err);
    }
    return status;
}

static kvat_status add_version(kvat_verification *v, const json_t *plan, kvat_error *err) {
    json_t *version = json_string(kvat_version());
    kvat_status status = version ? KVAT_OK : nomem(err);
    const json_t *then = json_object_get(plan, "kvat_version");
    if (status == KVAT_OK && then) status = add(v, "kvat version", then, version, err);
    json_decref(version);
    return status;
}

/** A plan written by hand need not say where it was measured. */
static const json_t *machine_of(const json_t *document) {
    return json_object_get(json_object_get(document, "environment"), "machine");
}

kvat_status kvat__verify_changes(kvat_verification *v, const json_t *plan, const kvat__job *job, kvat_error *err) {
    static const char *const of_engine[] = {"name", "version", "build", "flags", NULL};
    static const char *const of_model[] = {"identity", NULL};
    const json_t *machine = machine_of(plan);
    kvat_status status =
        add_named(v, "engine", json_object_get(plan, "engine"), json_object_get(job->hello, "engine"), of_engine, err);
    if (status == KVAT_OK && json_object_get(json_object_get(plan, "model"), "identity"))
        status = add_named(v, "model", json_object_get(plan, "model"), json_object_get(job->describe, "model"),
                           of_model, err);
    if (status == KVAT_OK && machine)
        status = add_members(v, "machine", machine, json_object_get(job->environment, "machine"), err);
    if (status == KVAT_OK)
        status = add(v, "prompts", json_object_get(json_object_get(plan, "profile"), "prompts_sha256"),
                     json_object_get(job->request, "prompts_sha256"), err);
    return status == KVAT_OK ? add_version(v, plan, err) : status;
}
