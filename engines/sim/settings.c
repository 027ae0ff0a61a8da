/* Which surface is loaded, and which of its knobs' values are in force. */
/* Must not know: time, except that some faults depend on it. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

int sim__fail(kvat_fault *fault, kvat_fault_kind kind, const kvat_error *err) {
    if (err->status != KVAT_ERR_DATA) kind = KVAT_FAULT_INTERNAL;
    return kvat_fault_set(fault, kind, NULL, "%s", err->message);
}

static int fail_memory(kvat_fault *fault) {
    return kvat_fault_set(fault, KVAT_FAULT_INTERNAL, NULL, "the simulator is out of memory");
}

static json_t *value_json(const kvat_knob *knob, size_t level) {
    const kvat_knob_value *value = &knob->values[level];
    return knob->type == KVAT_KNOB_INT ? json_integer(value->number) : json_string(value->text);
}

/* The value the process was started with, or NULL. */
static const char *given_at_spawn(const sim *s, const kvat_knob *knob) {
    if (knob->apply_env) return getenv(knob->apply_env);
    const size_t n = knob->apply_arg ? strlen(knob->apply_arg) : 0;
    for (char **arg = s->argv; n && arg && *arg; arg++) {
        if (!strcmp(*arg, knob->apply_arg)) return arg[1];
        if (!strncmp(*arg, knob->apply_arg, n) && (*arg)[n] == '=') return *arg + n + 1;
    }
    return NULL;
}

static size_t level_at_start(const sim *s, const kvat_knob *knob) {
    const char *text = knob->scope == KVAT_SCOPE_PROCESS ? given_at_spawn(s, knob) : NULL;
    const size_t level = text ? kvat_knob_level(knob, text) : SIZE_MAX;
    return level == SIZE_MAX ? knob->default_level : level;
}

/* Levels in force from the settings asked for. A number clamped to one that is no level acts as the value asked for. */
static int settle(sim *s, json_t **effective, kvat_fault *fault) {
    kvat_error err = KVAT_ERROR_INIT;
    const int64_t context = s->context_tokens > 0 ? s->context_tokens : KVAT_SIM_ANY_CONTEXT;
    if (kvat_knobs_effective(effective, s->surface->knobs, s->settings, context, &err) != KVAT_OK)
        return sim__fail(fault, KVAT_FAULT_INVALID_SETTING, &err);
    for (size_t i = 0; i < kvat_knobs_count(s->surface->knobs); i++) {
        const kvat_knob *knob = kvat_knobs_at(s->surface->knobs, i);
        const json_t *values[2] = {json_object_get(*effective, knob->name), json_object_get(s->settings, knob->name)};
        size_t level = SIZE_MAX;
        for (size_t k = 0; k < 2 && level == SIZE_MAX; k++) {
            char number[32];
            snprintf(number, sizeof number, "%lld", (long long)json_integer_value(values[k]));
            level = kvat_knob_level(knob, json_is_string(values[k]) ? json_string_value(values[k]) : number);
        }
        s->levels[i] = (uint16_t)knob->values[level == SIZE_MAX ? knob->default_level : level].canonical;
    }
    return 0;
}

int sim__reset(sim *s, kvat_scope widest, kvat_fault *fault) {
    for (size_t i = 0; i < kvat_knobs_count(s->surface->knobs); i++) {
        const kvat_knob *knob = kvat_knobs_at(s->surface->knobs, i);
        if (knob->scope > widest) continue;
        if (json_object_set_new(s->settings, knob->name, value_json(knob, level_at_start(s, knob))) != 0)
            return fail_memory(fault);
    }
    return 0;
}

static int put_defaults(sim *s, kvat_fault *fault) {
    s->settings = json_object();
    s->levels = calloc(kvat_knobs_count(s->surface->knobs) + 1, sizeof *s->levels);
    if (!s->settings || !s->levels) return fail_memory(fault);
    if (sim__reset(s, KVAT_SCOPE_PROCESS, fault) != 0) return -1;
    json_t *effective = NULL;
    const int failed = settle(s, &effective, fault);
    json_decref(effective);
    return failed;
}

static void close_surface(sim *s) {
    json_decref(s->settings);
    free(s->levels);
    if (s->world_open) sim_world_clear(&s->world);
    sim_surface_free(s->surface);
    s->settings = NULL;
    s->levels = NULL;
    s->surface = NULL;
    s->world_open = false;
    s->context_tokens = s->cached_tokens = 0;
}

int sim__open(sim *s, const char *path, kvat_fault *fault) {
    kvat_error err = KVAT_ERROR_INIT;
    close_surface(s);
    if (sim_surface_read(&s->surface, path, &err) != KVAT_OK) return sim__fail(fault, KVAT_FAULT_BAD_MODEL, &err);
    if (sim_world_init(&s->world, &s->surface->noise, s->world_seed, &err) != KVAT_OK)
        return sim__fail(fault, KVAT_FAULT_INTERNAL, &err);
    s->world_open = true;
    return put_defaults(s, fault);
}

/* Knobs of process scope are what they were at the start, whatever is asked for. */
static int take(sim *s, const json_t *settings, kvat_fault *fault) {
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)settings, name, value) {
        const size_t index = kvat_knobs_find(s->surface->knobs, name);
        const kvat_knob *knob = index == SIZE_MAX ? NULL : kvat_knobs_at(s->surface->knobs, index);
        if (!knob || strcmp(knob->name, name) != 0)
            return kvat_fault_set(fault, KVAT_FAULT_INVALID_SETTING, name, "the surface has no knob \"%.64s\"", name);
        char number[32];
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
        const char *text = json_is_string(value) ? json_string_value(value) : json_is_integer(value) ? number : "";
        if (kvat_knob_level(knob, text) == SIZE_MAX)
            return kvat_fault_set(fault, KVAT_FAULT_INVALID_SETTING, name, "%.64s cannot be \"%.64s\"", name, text);
        if (knob->scope != KVAT_SCOPE_PROCESS && json_object_set(s->settings, name, value) != 0)
            return fail_memory(fault);
    }
    return 0;
}

int sim__apply(json_t **effective, sim *s, const json_t *settings, kvat_fault *fault) {
    json_t *all = NULL, *asked = json_object();
    int failed = !asked ? fail_memory(fault) : settings ? take(s, settings, fault) : 0;
    if (!failed) failed = settle(s, &all, fault);
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)settings, name, value) {
        if (!failed && json_object_set(asked, name, json_object_get(all, name)) != 0) failed = fail_memory(fault);
    }
    json_decref(all);
    if (failed) {
        json_decref(asked);
    } else {
        *effective = asked;
    }
    return failed;
}

/* ---- faults ---- */

/* An engine refuses or alters a setting when it makes the context, unless the setting comes with the request. */
static bool due_at_prepare(const sim *s, const sim_fault *rule) {
    if (rule->kind != SIM_UNSUPPORTED && rule->kind != SIM_INVALID) return false;
    for (size_t i = 0; i < rule->when.n; i++)
        if (kvat_knobs_at(s->surface->knobs, rule->when.knobs[i])->scope == KVAT_SCOPE_REQUEST) return false;
    return true;
}

const sim_fault *sim__strike(const sim *s, bool at_prepare) {
    for (size_t i = 0; i < s->surface->n_faults; i++) {
        const sim_fault *rule = &s->surface->faults[i];
        if (due_at_prepare(s, rule) != at_prepare || !sim_when_holds(&rule->when, s->levels)) continue;
        const uint64_t key = (uint64_t)s->clock_ns * UINT64_C(0x9e3779b97f4a7c15) + i;
        if (sim_draw_uniform(s->world_seed, SIM_STREAM_FAULT, key) < rule->probability) return rule;
    }
    return NULL;
}

int sim__falsify(json_t *effective, const sim *s, const sim_fault *rule, kvat_fault *fault) {
    if (kvat_knobs_count(s->surface->knobs) == 0) return 0;
    const size_t index = rule->when.n ? rule->when.knobs[0] : 0;
    const kvat_knob *knob = kvat_knobs_at(s->surface->knobs, index);
    size_t other = knob->values[knob->default_level].canonical;
    for (size_t level = 0; level < knob->n_values && other == s->levels[index]; level++)
        other = knob->values[level].canonical;
    json_t *value = other == s->levels[index] ? json_string("something else") : value_json(knob, other);
    return json_object_set_new(effective, knob->name, value) == 0 ? 0 : fail_memory(fault);
}

/* ---- life ---- */

void sim_init(sim *s, char **argv) {
    *s = (sim){.argv = argv, .sequences = 1, .replayed_ns = -1};
}

void sim_clear(sim *s) {
    close_surface(s);
}
