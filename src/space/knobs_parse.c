/* Reads knobs from a worker's declaration, refusing what contradicts itself (docs/protocol.md, "A knob").
 * Must not know requests or configurations. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_int.h"
#include "space_internal.h"

/** One knob being read: where it stands in the array, and the words messages begin with. */
typedef struct knob_reader {
    kvat_knobs *knobs;
    kvat_knob *knob;
    kvat_knob_value *values; /**< the same as knob->values, writable */
    size_t index;
    kvat_json_at at;
    char path[KVAT__NAME_BYTES + 32];
} knob_reader;

static kvat_status no_memory(kvat_error *err) {
    return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the knobs");
}

/* Names and values are shown, typed and handed to shells: any text may occur but control characters. */
static bool text_is_plain(const char *text, size_t max_bytes) {
    size_t n = strlen(text);
    if (n == 0 || n > max_bytes) return false;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f) return false;
    return true;
}

static kvat_status read_name(knob_reader *r, kvat_error *err) {
    const char *name = NULL;
    kvat_status status = kvat_json_get_string(&name, r->at, "name", true, err);
    if (status != KVAT_OK) return status;
    if (!text_is_plain(name, KVAT__NAME_BYTES))
        return kvat_fail(err, KVAT_ERR_DATA, "%s.name: expected 1 to %d bytes without control characters", r->path,
                         KVAT__NAME_BYTES);
    if (strcmp(name, "all") == 0 || strcmp(name, KVAT__CONTEXT_NAME) == 0)
        return kvat_fail(err, KVAT_ERR_DATA, "%s.name: \"%s\" has a meaning of its own", r->path, name);
    for (size_t i = 0; i < r->index; i++)
        if (strcmp(r->knobs->knobs[i].name, name) == 0)
            return kvat_fail(err, KVAT_ERR_DATA, "%s.name: \"%s\" is declared twice", r->path, name);
    r->knob->name = kvat__pool_text(&r->knobs->pool, name);
    if (!r->knob->name) return no_memory(err);
    snprintf(r->path, sizeof r->path, "knobs[%zu] (%s)", r->index, name);
    return KVAT_OK;
}

/** Optional text; `fallback` when absent. */
static kvat_status read_text(const char **out, knob_reader *r, const char *member, const char *fallback,
                             kvat_error *err) {
    const char *text = fallback;
    kvat_status status = kvat_json_get_string(&text, r->at, member, false, err);
    if (status != KVAT_OK) return status;
    *out = kvat__pool_text(&r->knobs->pool, text);
    return *out ? KVAT_OK : no_memory(err);
}

static kvat_status read_word(size_t *out, knob_reader *r, const char *member, const char *const *words, size_t n,
                             kvat_error *err) {
    const char *word = NULL;
    kvat_status status = kvat_json_get_string(&word, r->at, member, true, err);
    if (status != KVAT_OK) return status;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(words[i], word) != 0) continue;
        *out = i;
        return KVAT_OK;
    }
    kvat_buf expected = KVAT_BUF_INIT;
    for (size_t i = 0; i < n; i++) kvat_buf_printf(&expected, "%s%s", i ? ", " : "", words[i]);
    status = kvat_buf_status(&expected, err);
    if (status == KVAT_OK)
        status = kvat_fail(err, KVAT_ERR_DATA, "%s.%s: expected one of %s", r->path, member, expected.bytes);
    kvat_buf_clear(&expected);
    return status;
}

static kvat_status read_kind(knob_reader *r, kvat_error *err) {
    static const char *const types[] = {"enum", "ordinal", "int"};
    static const char *const scopes[] = {"request", "context", "model", "process"};
    size_t type = 0, scope = 0;
    kvat_status status = read_word(&type, r, "type", types, 3, err);
    if (status == KVAT_OK) status = read_word(&scope, r, "scope", scopes, 4, err);
    if (status != KVAT_OK) return status;
    r->knob->type = (kvat_knob_type)type;
    r->knob->scope = (kvat_scope)scope;
    status = read_text(&r->knob->concept_word, r, "concept", "", err);
    if (status == KVAT_OK) status = read_text(&r->knob->help, r, "help", "", err);
    return status;
}

static kvat_status read_value(knob_reader *r, size_t level, const json_t *json, kvat_error *err) {
    kvat_knob_value *value = &r->values[level];
    char number[32];
    const char *text = json_string_value(json);
    if (r->knob->type == KVAT_KNOB_INT) {
        if (!kvat__json_int(&value->number, json))
            return kvat_fail(err, KVAT_ERR_DATA, "%s.values[%zu]: expected an integer", r->path, level);
        snprintf(number, sizeof number, "%" PRId64, value->number);
        text = number;
    } else if (!text || !text_is_plain(text, KVAT__VALUE_BYTES)) {
        return kvat_fail(err, KVAT_ERR_DATA,
                         "%s.values[%zu]: expected a string of 1 to %d bytes without control characters", r->path,
                         level, KVAT__VALUE_BYTES);
    }
    for (size_t i = 0; i < level; i++)
        if (strcmp(r->values[i].text, text) == 0)
            return kvat_fail(err, KVAT_ERR_DATA, "%s.values[%zu]: \"%s\" is there twice", r->path, level, text);
    value->text = kvat__pool_text(&r->knobs->pool, text);
    value->canonical = level;
    return value->text ? KVAT_OK : no_memory(err);
}

static kvat_status read_values(knob_reader *r, kvat_error *err) {
    json_t *array = NULL;
    kvat_status status = kvat_json_get_array(&array, r->at, "values", true, err);
    if (status != KVAT_OK) return status;
    size_t n = json_array_size(array);
    if (n == 0 || n > KVAT_KNOB_MAX_VALUES)
        return kvat_fail(err, KVAT_ERR_DATA, "%s.values: expected 1 to %d values, got %zu", r->path,
                         KVAT_KNOB_MAX_VALUES, n);
    r->values = kvat__pool_take(&r->knobs->pool, n, sizeof *r->values);
    if (!r->values) return no_memory(err);
    r->knob->values = r->values;
    for (size_t i = 0; i < n && status == KVAT_OK; i++) {
        status = read_value(r, i, json_array_get(array, i), err);
        r->knob->n_values = i + 1;
    }
    return status;
}

/** Member of any type; NULL when absent or null. */
static const json_t *optional(const knob_reader *r, const char *member) {
    const json_t *json = json_object_get(r->at.object, member);
    return json_is_null(json) ? NULL : json;
}

static kvat_status not_a_value(const knob_reader *r, const char *member, const char *which, kvat_error *err) {
    return kvat_fail(err, KVAT_ERR_DATA, "%s.%s: %s is not one of the knob's values", r->path, member, which);
}

static kvat_status read_default(knob_reader *r, kvat_error *err) {
    const json_t *json = json_object_get(r->at.object, "default");
    if (!json) return kvat_fail(err, KVAT_ERR_DATA, "%s.default: missing", r->path);
    size_t level = kvat__knob_level_of(r->knob, json);
    if (level == SIZE_MAX) return not_a_value(r, "default", "it", err);
    r->knob->default_level = level;
    return KVAT_OK;
}

/** A list of the knob's own values. */
static kvat_status read_levels(kvat__levels *out, const knob_reader *r, const kvat_knob *knob, const json_t *array,
                               const char *member, kvat_error *err) {
    if (!json_is_array(array) || json_array_size(array) == 0)
        return kvat_fail(err, KVAT_ERR_DATA, "%s.%s: expected a list of values of %s", r->path, member, knob->name);
    for (size_t i = 0; i < json_array_size(array); i++) {
        size_t level = kvat__knob_level_of(knob, json_array_get(array, i));
        if (level == SIZE_MAX)
            return kvat_fail(err, KVAT_ERR_DATA, "%s.%s: item %zu is not a value of %s", r->path, member, i,
                             knob->name);
        kvat__levels_add(out, level);
    }
    return KVAT_OK;
}

static kvat_status read_search(knob_reader *r, kvat_error *err) {
    const json_t *json = optional(r, "search");
    kvat__levels searched = {{0}};
    if (json) {
        kvat_status status = read_levels(&searched, r, r->knob, json, "search", err);
        if (status != KVAT_OK) return status;
        if (!kvat__levels_has(&searched, r->knob->default_level))
            return kvat_fail(err, KVAT_ERR_DATA, "%s.search: must hold the default", r->path);
    }
    kvat__levels_add(&searched, r->knob->default_level);
    for (size_t i = 0; i < r->knob->n_values; i++) r->values[i].searched = kvat__levels_has(&searched, i);
    return KVAT_OK;
}

static kvat_status read_class(kvat_numerics *out, const knob_reader *r, const json_t *json, kvat_error *err) {
    const char *word = json_string_value(json);
    for (int i = KVAT_EXACT; word && i <= KVAT_LOSSY; i++) {
        if (strcmp(kvat_numerics_word((kvat_numerics)i), word) != 0) continue;
        *out = (kvat_numerics)i;
        return KVAT_OK;
    }
    return kvat_fail(err, KVAT_ERR_DATA, "%s.numerics: expected exact, equivalent or lossy", r->path);
}

static kvat_status read_numerics(knob_reader *r, kvat_error *err) {
    const json_t *json = optional(r, "numerics");
    if (!json) return KVAT_OK;
    kvat_numerics class = KVAT_EXACT;
    if (!json_is_object(json)) {
        kvat_status status = read_class(&class, r, json, err);
        for (size_t i = 0; i < r->knob->n_values && status == KVAT_OK; i++) r->values[i].numerics = class;
        return status;
    }
    const char *text;
    json_t *word;
    json_object_foreach((json_t *)json, text, word) {
        size_t level = kvat_knob_level(r->knob, text);
        if (level == SIZE_MAX) return not_a_value(r, "numerics", text, err);
        kvat_status status = read_class(&r->values[level].numerics, r, word, err);
        if (status != KVAT_OK) return status;
    }
    return KVAT_OK;
}

static kvat_status read_stable(knob_reader *r, kvat_error *err) {
    const json_t *json = optional(r, "stable");
    kvat__levels stable = {{0}};
    if (json_is_array(json)) {
        if (json_array_size(json) > 0) {
            kvat_status status = read_levels(&stable, r, r->knob, json, "stable", err);
            if (status != KVAT_OK) return status;
        }
    } else if (json && !json_is_boolean(json)) {
        return kvat_fail(err, KVAT_ERR_DATA, "%s.stable: expected true, false or a list of values", r->path);
    } else if (!json || json_is_true(json)) {
        memset(&stable, 0xff, sizeof stable);
    }
    for (size_t i = 0; i < r->knob->n_values; i++) r->values[i].stable = kvat__levels_has(&stable, i);
    return KVAT_OK;
}

static kvat_status read_alias(knob_reader *r, const char *from, const json_t *to, kvat_error *err) {
    size_t level = kvat_knob_level(r->knob, from);
    if (level == SIZE_MAX) return not_a_value(r, "aliases", from, err);
    size_t target =
        json_is_string(to) ? kvat_knob_level(r->knob, json_string_value(to)) : kvat__knob_level_of(r->knob, to);
    if (target == SIZE_MAX)
        return kvat_fail(err, KVAT_ERR_DATA, "%s.aliases.%s: must resolve to one of the knob's values", r->path, from);
    r->values[level].canonical = target;
    return KVAT_OK;
}

/* A chain of aliases has fewer links than the knob has values, or it is a circle. */
static kvat_status follow_aliases(knob_reader *r, kvat_error *err) {
    for (size_t i = 0; i < r->knob->n_values; i++) {
        size_t target = i, steps = 0;
        while (r->values[target].canonical != target && steps++ < r->knob->n_values)
            target = r->values[target].canonical;
        if (r->values[target].canonical != target)
            return kvat_fail(err, KVAT_ERR_DATA, "%s.aliases: %s resolves to itself in a circle", r->path,
                             r->values[i].text);
        r->values[i].canonical = target;
        const kvat_knob_value *resolved = &r->values[target];
        if (resolved->numerics > r->values[i].numerics) r->values[i].numerics = resolved->numerics;
        r->values[i].stable = r->values[i].stable && resolved->stable;
    }
    return KVAT_OK;
}

static kvat_status read_aliases(knob_reader *r, kvat_error *err) {
    json_t *object = NULL;
    kvat_status status = kvat_json_get_object(&object, r->at, "aliases", false, err);
    if (status != KVAT_OK || !object) return status;
    const char *from;
    json_t *to;
    json_object_foreach(object, from, to) {
        status = read_alias(r, from, to, err);
        if (status != KVAT_OK) return status;
    }
    return follow_aliases(r, err);
}

static bool name_is_variable(const char *name) {
    if (*name >= '0' && *name <= '9') return false;
    return *name != '\0' &&
           name[strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")] == '\0';
}

static kvat_status read_apply(knob_reader *r, kvat_error *err) {
    json_t *object = NULL;
    bool process = r->knob->scope == KVAT_SCOPE_PROCESS;
    kvat_status status = kvat_json_get_object(&object, r->at, "apply", process, err);
    if (status != KVAT_OK || !object) return status;
    if (!process) return kvat_fail(err, KVAT_ERR_DATA, "%s.apply: only a knob of process scope has it", r->path);
    const char *env = NULL, *arg = NULL;
    kvat_json_at at = {object, r->path};
    status = kvat_json_get_string(&env, at, "env", false, err);
    if (status == KVAT_OK) status = kvat_json_get_string(&arg, at, "arg", false, err);
    if (status != KVAT_OK) return status;
    if ((env == NULL) == (arg == NULL))
        return kvat_fail(err, KVAT_ERR_DATA, "%s.apply: expected either env or arg", r->path);
    if (env && !name_is_variable(env))
        return kvat_fail(err, KVAT_ERR_DATA, "%s.apply.env: expected letters, digits and _", r->path);
    if (arg && !text_is_plain(arg, KVAT__VALUE_BYTES))
        return kvat_fail(err, KVAT_ERR_DATA, "%s.apply.arg: expected 1 to %d bytes without control characters", r->path,
                         KVAT__VALUE_BYTES);
    if (env) status = read_text(&r->knob->apply_env, &(knob_reader){.knobs = r->knobs, .at = at}, "env", "", err);
    if (arg) status = read_text(&r->knob->apply_arg, &(knob_reader){.knobs = r->knobs, .at = at}, "arg", "", err);
    return status;
}

static kvat_status read_knob(knob_reader *r, kvat_error *err) {
    static kvat_status (*const steps[])(knob_reader *, kvat_error *) = {
        read_name,     read_kind,   read_values,  read_default, read_search,
        read_numerics, read_stable, read_aliases, read_apply,
    };
    kvat_status status = KVAT_OK;
    for (size_t i = 0; i < sizeof steps / sizeof *steps && status == KVAT_OK; i++) status = steps[i](r, err);
    return status;
}

/* --- what refers to other knobs, read when all are known --- */

static kvat_status read_limit(knob_reader *r, size_t i, const json_t *json, kvat_error *err) {
    const char *name = json_string_value(json);
    kvat__limits *limits = &r->knobs->limits[r->index];
    if (!name) return kvat_fail(err, KVAT_ERR_DATA, "%s.at_most[%zu]: expected a name", r->path, i);
    size_t by = KVAT__CONTEXT_INDEX;
    if (strcmp(name, KVAT__CONTEXT_NAME) != 0) {
        by = kvat_knobs_find(r->knobs, name);
        if (by == SIZE_MAX || r->knobs->knobs[by].type != KVAT_KNOB_INT)
            return kvat_fail(err, KVAT_ERR_DATA,
                             "%s.at_most[%zu]: expected " KVAT__CONTEXT_NAME " or a knob of type int, got \"%s\"",
                             r->path, i, name);
    }
    limits->by[limits->n++] = by;
    ((const char **)r->knob->at_most)[i] = kvat__pool_text(&r->knobs->pool, name);
    return r->knob->at_most[i] ? KVAT_OK : no_memory(err);
}

static kvat_status read_limits(knob_reader *r, kvat_error *err) {
    json_t *array = NULL;
    kvat_status status = kvat_json_get_array(&array, r->at, "at_most", false, err);
    if (status != KVAT_OK || !array) return status;
    if (r->knob->type != KVAT_KNOB_INT)
        return kvat_fail(err, KVAT_ERR_DATA, "%s.at_most: only a knob of type int has it", r->path);
    size_t n = json_array_size(array);
    if (n > KVAT_KNOBS_MAX)
        return kvat_fail(err, KVAT_ERR_DATA, "%s.at_most: expected at most %d names", r->path, KVAT_KNOBS_MAX);
    r->knobs->limits[r->index].by = kvat__pool_take(&r->knobs->pool, n, sizeof(size_t));
    r->knob->at_most = kvat__pool_take(&r->knobs->pool, n + 1, sizeof *r->knob->at_most);
    if (!r->knobs->limits[r->index].by || !r->knob->at_most) return no_memory(err);
    for (size_t i = 0; i < n && status == KVAT_OK; i++) status = read_limit(r, i, json_array_get(array, i), err);
    return status;
}

static kvat_status read_needs(kvat__rule *rule, knob_reader *r, const json_t *then, kvat_error *err) {
    rule->needs = kvat__pool_take(&r->knobs->pool, json_object_size(then), sizeof *rule->needs);
    if (!rule->needs) return no_memory(err);
    const char *name;
    json_t *allowed;
    json_object_foreach((json_t *)then, name, allowed) {
        size_t index = kvat_knobs_find(r->knobs, name);
        if (index == SIZE_MAX) return kvat_fail(err, KVAT_ERR_DATA, "%s.requires: \"%s\" is no knob", r->path, name);
        kvat__need *need = &rule->needs[rule->n_needs++];
        need->knob = index;
        kvat_status status = read_levels(&need->allowed, r, &r->knobs->knobs[index], allowed, "requires.then", err);
        if (status != KVAT_OK) return status;
    }
    return KVAT_OK;
}

static kvat_status read_rule(knob_reader *r, const json_t *json, kvat_error *err) {
    const json_t *then = json_object_get(json, "then");
    if (!json_is_object(then))
        return kvat_fail(err, KVAT_ERR_DATA, "%s.requires: expected {\"if\": [values], \"then\": {knob: [values]}}",
                         r->path);
    if (r->knobs->n_rules == KVAT__RULES_MAX)
        return kvat_fail(err, KVAT_ERR_DATA, "%s.requires: more than %d entries over all knobs", r->path,
                         KVAT__RULES_MAX);
    kvat__rule *rule = &r->knobs->rules[r->knobs->n_rules++];
    rule->knob = r->index;
    kvat_status status = read_levels(&rule->when, r, r->knob, json_object_get(json, "if"), "requires.if", err);
    return status == KVAT_OK ? read_needs(rule, r, then, err) : status;
}

static kvat_status read_links(knob_reader *r, kvat_error *err) {
    kvat_status status = read_limits(r, err);
    if (status != KVAT_OK) return status;
    json_t *rules = NULL;
    status = kvat_json_get_array(&rules, r->at, "requires", false, err);
    for (size_t i = 0; i < json_array_size(rules) && status == KVAT_OK; i++)
        status = read_rule(r, json_array_get(rules, i), err);
    return status;
}

/* The default is what the engine does by itself, so a declaration that forbids it is wrong. */
static kvat_status check_defaults(const kvat_knobs *knobs, kvat_error *err) {
    uint16_t levels[KVAT_KNOBS_MAX];
    const kvat__rule *rule;
    const kvat__need *need;
    kvat__knobs_defaults(levels, knobs);
    if (!kvat__rules_broken(&rule, &need, knobs, levels)) return KVAT_OK;
    return kvat_fail(err, KVAT_ERR_DATA, "knobs[%zu] (%s).requires: the defaults of %s and %s break it", rule->knob,
                     knobs->knobs[rule->knob].name, knobs->knobs[rule->knob].name, knobs->knobs[need->knob].name);
}

static void reader_start(knob_reader *r, kvat_knobs *knobs, size_t index, const json_t *json) {
    kvat_knob *knob = &knobs->knobs[index];
    *r = (knob_reader){.knobs = knobs, .knob = knob, .index = index};
    if (knob->name)
        snprintf(r->path, sizeof r->path, "knobs[%zu] (%s)", index, knob->name);
    else
        snprintf(r->path, sizeof r->path, "knobs[%zu]", index);
    r->at = (kvat_json_at){json, r->path};
}

static kvat_status read_all(kvat_knobs *knobs, const json_t *array, size_t n, kvat_error *err) {
    knob_reader reader;
    kvat_status status = KVAT_OK;
    for (size_t i = 0; i < n && status == KVAT_OK; i++) {
        reader_start(&reader, knobs, i, json_array_get(array, i));
        if (!json_is_object(reader.at.object))
            return kvat_fail(err, KVAT_ERR_DATA, "%s: expected an object", reader.path);
        status = read_knob(&reader, err);
        knobs->n = i + 1;
    }
    for (size_t i = 0; i < n && status == KVAT_OK; i++) {
        reader_start(&reader, knobs, i, json_array_get(array, i));
        status = read_links(&reader, err);
    }
    return status == KVAT_OK ? check_defaults(knobs, err) : status;
}

kvat_status kvat_knobs_parse(kvat_knobs **out, const json_t *array, kvat_error *err) {
    if (!json_is_array(array)) return kvat_fail(err, KVAT_ERR_DATA, "knobs: expected an array");
    size_t n = json_array_size(array);
    if (n > KVAT_KNOBS_MAX)
        return kvat_fail(err, KVAT_ERR_DATA, "knobs: expected at most %d, got %zu", KVAT_KNOBS_MAX, n);
    kvat_knobs *knobs = calloc(1, sizeof *knobs);
    if (!knobs) return no_memory(err);
    kvat_status status = KVAT_OK;
    knobs->knobs = kvat__pool_take(&knobs->pool, n, sizeof *knobs->knobs);
    knobs->limits = kvat__pool_take(&knobs->pool, n, sizeof *knobs->limits);
    if (!knobs->knobs || !knobs->limits) status = no_memory(err);
    if (status == KVAT_OK) status = read_all(knobs, array, n, err);
    if (status == KVAT_OK)
        *out = knobs;
    else
        kvat_knobs_free(knobs);
    return status;
}
