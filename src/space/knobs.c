/* Questions about declared knobs: names, values, rules, what is in force.
 * Must not know how a declaration is written or what a request asks for. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "json_int.h"
#include "kvat/units.h"
#include "space_internal.h"

#define VALUES_SHOWN 12

const char *kvat_scope_word(kvat_scope scope) {
    static const char *const words[] = {"request", "context", "model", "process"};
    return (size_t)scope < sizeof words / sizeof *words ? words[scope] : "unknown";
}

const char *kvat_numerics_word(kvat_numerics numerics) {
    static const char *const words[] = {"exact", "equivalent", "lossy"};
    return (size_t)numerics < sizeof words / sizeof *words ? words[numerics] : "unknown";
}

void kvat_knobs_free(kvat_knobs *knobs) {
    if (!knobs) return;
    kvat__pool_clear(&knobs->pool);
    free(knobs);
}

size_t kvat_knobs_count(const kvat_knobs *knobs) {
    return knobs->n;
}

const kvat_knob *kvat_knobs_at(const kvat_knobs *knobs, size_t index) {
    return index < knobs->n ? &knobs->knobs[index] : NULL;
}

static size_t find_concept(const kvat_knobs *knobs, const char *name) {
    size_t found = SIZE_MAX;
    for (size_t i = 0; i < knobs->n; i++) {
        if (strcmp(knobs->knobs[i].concept_word, name) != 0) continue;
        if (found != SIZE_MAX) return SIZE_MAX;
        found = i;
    }
    return found;
}

size_t kvat_knobs_find(const kvat_knobs *knobs, const char *name) {
    for (size_t i = 0; i < knobs->n; i++)
        if (strcmp(knobs->knobs[i].name, name) == 0) return i;
    return *name ? find_concept(knobs, name) : SIZE_MAX;
}

size_t kvat__knobs_nearest(const kvat_knobs *knobs, const char *name) {
    const char *names[KVAT_KNOBS_MAX];
    for (size_t i = 0; i < knobs->n; i++) names[i] = knobs->knobs[i].name;
    int nearest = kvat_nearest_word(name, names, knobs->n);
    return nearest < 0 ? SIZE_MAX : (size_t)nearest;
}

static size_t level_of_number(const kvat_knob *knob, int64_t number) {
    for (size_t i = 0; i < knob->n_values; i++)
        if (knob->values[i].number == number) return i;
    return SIZE_MAX;
}

static size_t level_of_text(const kvat_knob *knob, const char *text) {
    for (size_t i = 0; i < knob->n_values; i++)
        if (strcmp(knob->values[i].text, text) == 0) return i;
    return SIZE_MAX;
}

size_t kvat_knob_level(const kvat_knob *knob, const char *text) {
    if (knob->type != KVAT_KNOB_INT) return level_of_text(knob, text);
    if (*text != '-' && (*text < '0' || *text > '9')) return SIZE_MAX;
    char *end;
    errno = 0;
    intmax_t number = strtoimax(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || number > INT64_MAX || number < INT64_MIN) return SIZE_MAX;
    return level_of_number(knob, (int64_t)number);
}

size_t kvat__knob_level_of(const kvat_knob *knob, const json_t *value) {
    int64_t number;
    if (knob->type == KVAT_KNOB_INT) return kvat__json_int(&number, value) ? level_of_number(knob, number) : SIZE_MAX;
    return json_is_string(value) ? level_of_text(knob, json_string_value(value)) : SIZE_MAX;
}

void kvat__put_values(kvat_buf *out, const kvat_knob *knob, const kvat__levels *set) {
    size_t shown = 0;
    for (size_t i = 0; i < knob->n_values; i++) {
        if (set && !kvat__levels_has(set, i)) continue;
        if (shown == VALUES_SHOWN) {
            kvat_buf_puts(out, ", …");
            return;
        }
        kvat_buf_printf(out, "%s%s", shown ? ", " : "", knob->values[i].text);
        shown++;
    }
}

bool kvat__knob_matches(const kvat_knob *knob, const kvat__levels *set, size_t level) {
    return kvat__levels_has(set, level) || kvat__levels_has(set, knob->values[level].canonical);
}

static const kvat__need *need_broken(const kvat_knobs *knobs, const kvat__rule *rule, const uint16_t *levels) {
    if (!kvat__knob_matches(&knobs->knobs[rule->knob], &rule->when, levels[rule->knob])) return NULL;
    for (size_t i = 0; i < rule->n_needs; i++) {
        const kvat__need *need = &rule->needs[i];
        if (!kvat__knob_matches(&knobs->knobs[need->knob], &need->allowed, levels[need->knob])) return need;
    }
    return NULL;
}

bool kvat__rules_broken(const kvat__rule **rule, const kvat__need **need, const kvat_knobs *knobs,
                        const uint16_t *levels) {
    for (size_t i = 0; i < knobs->n_rules; i++) {
        const kvat__need *broken = need_broken(knobs, &knobs->rules[i], levels);
        if (!broken) continue;
        if (rule) *rule = &knobs->rules[i];
        if (need) *need = broken;
        return true;
    }
    return false;
}

void kvat__knobs_defaults(uint16_t *levels, const kvat_knobs *knobs) {
    for (size_t i = 0; i < knobs->n; i++) levels[i] = (uint16_t)knobs->knobs[i].default_level;
}

int64_t kvat__knob_resolved(const kvat_knob *knob, size_t level) {
    size_t canonical = knob->values[level].canonical;
    return knob->type == KVAT_KNOB_INT ? knob->values[canonical].number : (int64_t)canonical;
}

static bool clamp_once(int64_t *values, const kvat_knobs *knobs, int64_t context_tokens) {
    bool changed = false;
    for (size_t i = 0; i < knobs->n; i++) {
        const kvat__limits *limits = &knobs->limits[i];
        for (size_t j = 0; j < limits->n; j++) {
            bool by_context = limits->by[j] == KVAT__CONTEXT_INDEX;
            if (by_context && context_tokens <= 0) continue;
            int64_t limit = by_context ? context_tokens : values[limits->by[j]];
            if (values[i] <= limit) continue;
            values[i] = limit;
            changed = true;
        }
    }
    return changed;
}

/* Values only sink, and only to values that are there, so this ends, whatever refers to whatever. */
void kvat__knobs_clamp(int64_t *values, const kvat_knobs *knobs, int64_t context_tokens) {
    while (clamp_once(values, knobs, context_tokens)) continue;
}

static json_t *value_json(const kvat_knob *knob, int64_t value) {
    if (knob->type == KVAT_KNOB_INT) return json_integer(value);
    return json_string(knob->values[value].text);
}

static kvat_status read_settings(int64_t *values, const kvat_knobs *knobs, const json_t *settings, kvat_error *err) {
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)settings, name, value) {
        size_t index = kvat_knobs_find(knobs, name);
        if (index == SIZE_MAX) return kvat_fail(err, KVAT_ERR_DATA, "settings.%s: no such knob", name);
        size_t level = kvat__knob_level_of(&knobs->knobs[index], value);
        if (level == SIZE_MAX) return kvat_fail(err, KVAT_ERR_DATA, "settings.%s: not one of the knob's values", name);
        values[index] = kvat__knob_resolved(&knobs->knobs[index], level);
    }
    return KVAT_OK;
}

static json_t *effective_json(const int64_t *values, const kvat_knobs *knobs, const json_t *settings) {
    json_t *effective = json_object();
    const char *name;
    json_t *asked;
    json_object_foreach((json_t *)settings, name, asked) {
        size_t index = kvat_knobs_find(knobs, name); /* there is one: read_settings() looked */
        // NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage)
        if (json_object_set_new(effective, name, value_json(&knobs->knobs[index], values[index])) != 0) {
            json_decref(effective);
            return NULL;
        }
    }
    return effective;
}

kvat_status kvat_knobs_effective(json_t **out, const kvat_knobs *knobs, const json_t *settings, int64_t context_tokens,
                                 kvat_error *err) {
    if (!json_is_object(settings)) return kvat_fail(err, KVAT_ERR_DATA, "settings: expected an object");
    int64_t values[KVAT_KNOBS_MAX];
    for (size_t i = 0; i < knobs->n; i++)
        values[i] = kvat__knob_resolved(&knobs->knobs[i], knobs->knobs[i].default_level);
    kvat_status status = read_settings(values, knobs, settings, err);
    if (status != KVAT_OK) return status;
    kvat__knobs_clamp(values, knobs, context_tokens);
    json_t *effective = effective_json(values, knobs, settings);
    if (!effective) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the effective settings");
    *out = effective;
    return KVAT_OK;
}
