/* Is a plan read from outside what it claims to be? Types and ranges of every member that is used later.
 * Must not know what the settings mean. */
#include <string.h>

#include "kvat/json.h"
#include "kvat/profile.h"
#include "plan_internal.h"

enum { max_settings = 128 };

/* Every value of a settings object is a string or an integer. */
static kvat_status check_settings(const json_t *settings, const char *path, kvat_error *err) {
    if (json_object_size(settings) > max_settings)
        return kvat_fail(err, KVAT_ERR_DATA, "%s: more than %d settings", path, max_settings);
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)settings, name, value) {
        if (!json_is_string(value) && !json_is_integer(value))
            return kvat_fail(err, KVAT_ERR_DATA, "%s.%s: expected a string or an integer", path, name);
    }
    return KVAT_OK;
}

static kvat_status check_settings_member(kvat_json_at at, const char *member, bool required, kvat_error *err) {
    json_t *settings = NULL;
    kvat_status status = kvat_json_get_object(&settings, at, member, required, err);
    if (status == KVAT_OK && settings) status = check_settings(settings, member, err);
    return status;
}

static kvat_status check_format(kvat_json_at plan, kvat_error *err) {
    const char *format = "";
    kvat_status status = kvat_json_get_string(&format, plan, "format", true, err);
    if (status == KVAT_OK && strcmp(format, KVAT__PLAN_FORMAT) != 0)
        return kvat_fail(err, KVAT_ERR_DATA,
                         "plan.format: expected \"" KVAT__PLAN_FORMAT "\", this is no plan or one of another version");
    return status;
}

static kvat_status check_named(kvat_json_at plan, const char *member, const char *path, kvat_error *err) {
    json_t *object = NULL;
    const char *text = NULL;
    kvat_status status = kvat_json_get_object(&object, plan, member, true, err);
    if (status == KVAT_OK) status = kvat_json_get_string(&text, (kvat_json_at){object, path}, "name", true, err);
    return status;
}

/* Where the model came from decides what a snippet loads and whether it runs foreign code. */
static kvat_status check_model(kvat_json_at plan, kvat_error *err) {
    const json_t *model = json_object_get(plan.object, "model"), *revision = json_object_get(model, "revision");
    bool remote_code = false;
    if (revision && !json_is_string(revision) && !json_is_null(revision))
        return kvat_fail(err, KVAT_ERR_DATA, "model.revision: expected a string or null");
    return kvat_json_get_bool(&remote_code, (kvat_json_at){model, "model"}, "remote_code", false, err);
}

/* An interval may be unknown (null members), but what is there is a number. */
static kvat_status check_interval(kvat_json_at at, const char *member, kvat_error *err) {
    static const char *const parts[] = {"value", "low", "high"};
    const json_t *interval = json_object_get(at.object, member);
    if (!interval || json_is_null(interval)) return KVAT_OK;
    if (!json_is_object(interval)) return kvat_fail(err, KVAT_ERR_DATA, "%s.%s: expected an object", at.path, member);
    for (size_t i = 0; i < 3; i++) {
        const json_t *part = json_object_get(interval, parts[i]);
        if (part && !json_is_number(part) && !json_is_null(part))
            return kvat_fail(err, KVAT_ERR_DATA, "%s.%s.%s: expected a number or null", at.path, member, parts[i]);
    }
    return KVAT_OK;
}

static kvat_status check_cell(const json_t *cell, kvat_error *err) {
    kvat_json_at at = {cell, "figures.cells[]"};
    int64_t tokens = 0;
    double weight = 0;
    if (!json_is_object(cell)) return kvat_fail(err, KVAT_ERR_DATA, "figures.cells[]: expected an object");
    kvat_status status = kvat_json_get_int(&tokens, at, "prompt_tokens", 1, KVAT_PROFILE_MAX_TOKENS, true, err);
    if (status == KVAT_OK)
        status = kvat_json_get_int(&tokens, at, "output_tokens", 1, KVAT_PROFILE_MAX_TOKENS, true, err);
    if (status == KVAT_OK) status = kvat_json_get_int(&tokens, at, "sequences", 1, 1024, true, err);
    if (status == KVAT_OK) status = kvat_json_get_real(&weight, at, "weight", 0, 1, true, err);
    if (status == KVAT_OK) status = check_interval(at, "ttft_s", err);
    if (status == KVAT_OK) status = check_interval(at, "decode_tok_per_s", err);
    return status;
}

static kvat_status check_figures(kvat_json_at plan, kvat_error *err) {
    json_t *figures = NULL, *cells = NULL;
    kvat_status status = kvat_json_get_object(&figures, plan, "figures", true, err);
    if (status == KVAT_OK) status = kvat_json_get_array(&cells, (kvat_json_at){figures, "figures"}, "cells", true, err);
    if (status == KVAT_OK && json_array_size(cells) > KVAT_PROFILE_MAX_CELLS)
        return kvat_fail(err, KVAT_ERR_DATA, "figures.cells: more than %d cells", KVAT_PROFILE_MAX_CELLS);
    for (size_t i = 0; status == KVAT_OK && i < json_array_size(cells); i++)
        status = check_cell(json_array_get(cells, i), err);
    return status;
}

static bool is_limit(const json_t *value) {
    return !value || (json_is_integer(value) && json_integer_value(value) >= 0);
}

static kvat_status check_when(const json_t *when, size_t index, kvat_error *err) {
    const json_t *version = json_object_get(when, "engine_version_not");
    const json_t *unsupported = json_object_get(when, "unsupported");
    if (json_object_size(when) != 1)
        return kvat_fail(err, KVAT_ERR_DATA, "fallback[%zu].when: expected exactly one condition", index);
    if (!is_limit(json_object_get(when, "free_memory_below_bytes")) ||
        !is_limit(json_object_get(when, "free_device_memory_below_bytes")) ||
        !is_limit(json_object_get(when, "context_above_tokens")))
        return kvat_fail(err, KVAT_ERR_DATA, "fallback[%zu].when: expected an integer of 0 or more", index);
    if ((version && !json_is_string(version)) || (unsupported && !json_is_object(unsupported)))
        return kvat_fail(err, KVAT_ERR_DATA, "fallback[%zu].when: a condition of the wrong type", index);
    return unsupported ? check_settings(unsupported, "fallback[].when.unsupported", err) : KVAT_OK;
}

static kvat_status check_rule(const json_t *rule, size_t index, kvat_error *err) {
    kvat_json_at at = {rule, "fallback[]"};
    json_t *when = NULL, *use = NULL;
    const char *text = NULL;
    if (!json_is_object(rule)) return kvat_fail(err, KVAT_ERR_DATA, "fallback[%zu]: expected an object", index);
    kvat_status status = kvat_json_get_object(&when, at, "when", true, err);
    if (status == KVAT_OK) status = check_when(when, index, err);
    if (status == KVAT_OK) status = kvat_json_get_object(&use, at, "use", false, err);
    if (status == KVAT_OK && use) status = check_settings(use, "fallback[].use", err);
    if (status == KVAT_OK) status = kvat_json_get_string(&text, at, "advise", use == NULL, err);
    return status;
}

static kvat_status check_fallback(kvat_json_at plan, kvat_error *err) {
    json_t *rules = NULL;
    kvat_status status = kvat_json_get_array(&rules, plan, "fallback", false, err);
    for (size_t i = 0; status == KVAT_OK && rules && i < json_array_size(rules); i++)
        status = check_rule(json_array_get(rules, i), i, err);
    return status;
}

/* A word that nobody knows must not pass for a decision. */
static kvat_status check_decision(kvat_json_at plan, kvat_error *err) {
    const char *word = NULL;
    kvat_status status = kvat_json_get_string(&word, plan, "decision", false, err);
    if (status != KVAT_OK || !word) return status;
    for (int i = KVAT_DECISION_WINNER; i <= KVAT_DECISION_INFEASIBLE; i++)
        if (strcmp(word, kvat_decision_word((kvat_decision)i)) == 0) return KVAT_OK;
    return kvat_fail(err, KVAT_ERR_DATA, "decision: expected winner, default, undecided or infeasible");
}

kvat_status kvat_plan_check(const json_t *plan, kvat_error *err) {
    kvat_json_at at = {plan, "plan"};
    int64_t number = 0;
    if (!json_is_object(plan)) return kvat_fail(err, KVAT_ERR_DATA, "plan: expected an object");
    kvat_status status = check_format(at, err);
    if (status == KVAT_OK) status = check_decision(at, err);
    if (status == KVAT_OK) status = check_named(at, "engine", "engine", err);
    if (status == KVAT_OK) status = check_named(at, "model", "model", err);
    if (status == KVAT_OK) status = check_model(at, err);
    if (status == KVAT_OK) status = check_named(at, "profile", "profile", err);
    if (status == KVAT_OK)
        status = kvat_json_get_int(&number, at, "context_tokens", 1, 2 * KVAT_PROFILE_MAX_TOKENS, true, err);
    if (status == KVAT_OK) status = kvat_json_get_int(&number, at, "sequences", 1, 1024, true, err);
    if (status == KVAT_OK) status = check_settings_member(at, "settings", true, err);
    if (status == KVAT_OK) status = check_settings_member(at, "changed", false, err);
    if (status == KVAT_OK) status = check_figures(at, err);
    if (status == KVAT_OK) status = check_fallback(at, err);
    return status;
}

const char *kvat_plan_undecided(const json_t *plan) {
    if (strcmp(kvat__text_of(plan, "decision"), kvat_decision_word(KVAT_DECISION_UNDECIDED)) != 0) return NULL;
    const json_t *changed = json_object_get(plan, "changed");
    bool is_default = json_is_object(changed) && json_object_size(changed) == 0;
    return is_default ? "the engine's default for now, nothing was confirmed to beat it"
                      : "the best so far, not confirmed as the best";
}

kvat_status kvat_plan_read(json_t **out, const char *path, kvat_error *err) {
    json_t *plan = NULL;
    kvat_status status = kvat_json_read_file(&plan, path, err);
    kvat_error why = KVAT_ERROR_INIT;
    if (status == KVAT_OK && kvat_plan_check(plan, &why) != KVAT_OK)
        status = kvat_fail(err, why.status, "%s: %s", path, why.message);
    if (status == KVAT_OK)
        *out = plan;
    else
        json_decref(plan);
    return status;
}
