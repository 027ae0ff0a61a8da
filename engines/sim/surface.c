/* Reads a "kvat-surface/1" file: checked member by member, so that what is played is what was meant. */
/* Must not know: clocks, random draws, the protocol. */
#include "surface.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_RULES 10000
#define MAX_LOG   20.0 /* an effect of e^20 is a typing error */

static const char *const members[] = {"$schema", "format",  "name",         "load_s",  "prepare_s",         "knobs",
                                      "base",    "effects", "interactions", "configs", "short_output_bias", "noise",
                                      "faults",  NULL};

static kvat_status fail_memory(kvat_error *err) {
    return kvat_fail(err, KVAT_ERR_NOMEM, "no memory for the surface");
}

/* ---- knobs and values by name ---- */

static kvat_status find_knob(size_t *out, const sim_surface *s, const char *name, const char *path, kvat_error *err) {
    for (size_t i = 0; i < kvat_knobs_count(s->knobs); i++)
        if (!strcmp(kvat_knobs_at(s->knobs, i)->name, name)) {
            *out = i;
            return KVAT_OK;
        }
    return kvat_fail(err, KVAT_ERR_DATA, "%s.%.64s: no such knob in `knobs`", path, name);
}

static kvat_status find_level(uint16_t *out, const kvat_knob *knob, const char *text, const char *path,
                              kvat_error *err) {
    const size_t level = kvat_knob_level(knob, text);
    if (level == SIZE_MAX)
        return kvat_fail(err, KVAT_ERR_DATA, "%s: \"%.64s\" is no value of %s", path, text, knob->name);
    *out = (uint16_t)knob->values[level].canonical;
    return KVAT_OK;
}

/* A value written as string or whole number. */
static kvat_status value_text(char *out, size_t size, const json_t *value, const char *path, kvat_error *err) {
    int n = -1;
    if (json_is_string(value)) n = snprintf(out, size, "%s", json_string_value(value));
    if (json_is_integer(value)) n = snprintf(out, size, "%lld", (long long)json_integer_value(value));
    if (n < 0 || (size_t)n >= size)
        return kvat_fail(err, KVAT_ERR_DATA, "%s: expected a value of the knob, as string or whole number", path);
    return KVAT_OK;
}

static kvat_status find_setting(size_t *knob, uint16_t *level, const sim_surface *s, const char *name,
                                const json_t *value, const char *path, kvat_error *err) {
    char text[300], value_path[256];
    snprintf(value_path, sizeof value_path, "%s.%.64s", path, name);
    kvat_status status = find_knob(knob, s, name, path, err);
    if (status == KVAT_OK) status = value_text(text, sizeof text, value, value_path, err);
    if (status == KVAT_OK) status = find_level(level, kvat_knobs_at(s->knobs, *knob), text, value_path, err);
    return status;
}

static kvat_status parse_when(sim_when *out, const sim_surface *s, const json_t *parent, const char *parent_path,
                              kvat_error *err) {
    json_t *object = NULL, *value;
    const char *name;
    char path[192];
    snprintf(path, sizeof path, "%s.when", parent_path);
    kvat_status status = kvat_json_get_object(&object, (kvat_json_at){parent, parent_path}, "when", true, err);
    if (status != KVAT_OK) return status;
    const size_t n = json_object_size(object);
    out->knobs = calloc(n + 1, sizeof *out->knobs);
    out->levels = calloc(n + 1, sizeof *out->levels);
    if (!out->knobs || !out->levels) return fail_memory(err);
    json_object_foreach(object, name, value) {
        status = find_setting(&out->knobs[out->n], &out->levels[out->n], s, name, value, path, err);
        if (status != KVAT_OK) return status;
        out->n++;
    }
    return KVAT_OK;
}

static void when_clear(sim_when *when) {
    free(when->knobs);
    free(when->levels);
}

/* ---- effects ---- */

static kvat_status parse_effect(sim_effect *out, const json_t *object, const char *path, const char *const *known,
                                kvat_error *err) {
    const kvat_json_at at = {object, path};
    double unused = 0;
    if (!json_is_object(object)) return kvat_fail(err, KVAT_ERR_DATA, "%s: expected an object", path);
    kvat_status status = kvat_json_only_members(at, known, err);
    if (status == KVAT_OK) status = kvat_json_get_real(&out->ttft, at, "ttft", -MAX_LOG, MAX_LOG, false, err);
    if (status == KVAT_OK) status = kvat_json_get_real(&out->decode, at, "decode", -MAX_LOG, MAX_LOG, false, err);
    if (status == KVAT_OK) status = kvat_json_get_real(&out->peak, at, "peak", -MAX_LOG, MAX_LOG, false, err);
    if (status == KVAT_OK) status = kvat_json_get_real(&unused, at, "kld", 0, 1e6, false, err);
    if (status == KVAT_OK) status = kvat_json_get_real(&unused, at, "same_top", 0, 1, false, err);
    return status;
}

static const char *const effect_members[] = {"ttft", "decode", "peak", "kld", "same_top", NULL};

static kvat_status parse_knob_effects(sim_surface *s, const char *name, const json_t *values, kvat_error *err) {
    size_t knob = 0;
    uint16_t level = 0;
    const char *text;
    json_t *object;
    char path[192];
    kvat_status status = find_knob(&knob, s, name, "effects", err);
    if (status != KVAT_OK) return status;
    if (!json_is_object(values)) return kvat_fail(err, KVAT_ERR_DATA, "effects.%.64s: expected an object", name);
    json_object_foreach((json_t *)values, text, object) {
        snprintf(path, sizeof path, "effects.%.64s.%.64s", name, text);
        status = find_level(&level, kvat_knobs_at(s->knobs, knob), text, path, err);
        if (status == KVAT_OK) status = parse_effect(&s->effects[knob][level], object, path, effect_members, err);
        if (status != KVAT_OK) return status;
    }
    return KVAT_OK;
}

static kvat_status parse_effects(sim_surface *s, kvat_error *err) {
    const size_t n = kvat_knobs_count(s->knobs);
    json_t *object = NULL, *values;
    const char *name;
    s->effects = calloc(n + 1, sizeof *s->effects);
    if (!s->effects) return fail_memory(err);
    for (size_t i = 0; i < n; i++) {
        s->effects[i] = calloc(kvat_knobs_at(s->knobs, i)->n_values, sizeof **s->effects);
        if (!s->effects[i]) return fail_memory(err);
    }
    kvat_status status = kvat_json_get_object(&object, (kvat_json_at){s->root, "surface"}, "effects", false, err);
    if (status != KVAT_OK || !object) return status;
    json_object_foreach(object, name, values) {
        status = parse_knob_effects(s, name, values, err);
        if (status != KVAT_OK) return status;
    }
    return KVAT_OK;
}

/* ---- lists ---- */

/* The list of that name with room made for its items; both 0 when it is absent. */
static kvat_status open_list(json_t **array, void **items, size_t size, const sim_surface *s, const char *name,
                             kvat_error *err) {
    kvat_status status = kvat_json_get_array(array, (kvat_json_at){s->root, "surface"}, name, false, err);
    const size_t n = json_array_size(*array);
    if (status != KVAT_OK || n == 0) return status;
    if (n > MAX_RULES) return kvat_fail(err, KVAT_ERR_DATA, "%s: more than %d items", name, MAX_RULES);
    *items = calloc(n, size);
    return *items ? KVAT_OK : fail_memory(err);
}

static kvat_status parse_interactions(sim_surface *s, kvat_error *err) {
    static const char *const known[] = {"when", "ttft", "decode", "peak", "kld", "same_top", NULL};
    json_t *array = NULL;
    void *items = NULL;
    kvat_status status = open_list(&array, &items, sizeof *s->interactions, s, "interactions", err);
    s->interactions = items;
    for (size_t i = 0; i < json_array_size(array) && status == KVAT_OK; i++) {
        sim_interaction *item = &s->interactions[s->n_interactions++];
        const json_t *object = json_array_get(array, i);
        char path[64];
        snprintf(path, sizeof path, "interactions[%zu]", i);
        status = parse_effect(&item->effect, object, path, known, err);
        if (status == KVAT_OK) status = parse_when(&item->when, s, object, path, err);
    }
    return status;
}

static kvat_status parse_fault_kind(sim_fault_kind *out, kvat_json_at at, kvat_error *err) {
    static const char *const words[] = {"oom_host", "oom_device", "crash", "hang", "unsupported", "invalid"};
    const char *word = NULL;
    const kvat_status status = kvat_json_get_string(&word, at, "kind", true, err);
    if (status != KVAT_OK) return status;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcmp(words[i], word)) {
            *out = (sim_fault_kind)i;
            return KVAT_OK;
        }
    return kvat_fail(err, KVAT_ERR_DATA,
                     "%s.kind: \"%.32s\" is none of oom_host, oom_device, crash, hang, unsupported, invalid", at.path,
                     word);
}

static kvat_status parse_faults(sim_surface *s, kvat_error *err) {
    static const char *const known[] = {"when", "kind", "probability", NULL};
    json_t *array = NULL;
    void *items = NULL;
    kvat_status status = open_list(&array, &items, sizeof *s->faults, s, "faults", err);
    s->faults = items;
    for (size_t i = 0; i < json_array_size(array) && status == KVAT_OK; i++) {
        sim_fault *fault = &s->faults[s->n_faults++];
        char path[64];
        snprintf(path, sizeof path, "faults[%zu]", i);
        const kvat_json_at at = {json_array_get(array, i), path};
        if (!json_is_object(at.object)) return kvat_fail(err, KVAT_ERR_DATA, "%s: expected an object", path);
        fault->probability = 1;
        status = kvat_json_only_members(at, known, err);
        if (status == KVAT_OK) status = parse_when(&fault->when, s, at.object, path, err);
        if (status == KVAT_OK) status = parse_fault_kind(&fault->kind, at, err);
        if (status == KVAT_OK) status = kvat_json_get_real(&fault->probability, at, "probability", 0, 1, false, err);
    }
    return status;
}

/* ---- configurations ---- */

static kvat_status parse_settings(sim_config *config, const sim_surface *s, kvat_json_at at, kvat_error *err) {
    json_t *settings = NULL, *value;
    const char *name;
    char path[96];
    const size_t n = kvat_knobs_count(s->knobs);
    snprintf(path, sizeof path, "%.64s.settings", at.path);
    kvat_status status = kvat_json_get_object(&settings, at, "settings", true, err);
    if (status != KVAT_OK) return status;
    config->levels = calloc(n + 1, sizeof *config->levels);
    if (!config->levels) return fail_memory(err);
    for (size_t i = 0; i < n; i++) {
        const kvat_knob *knob = kvat_knobs_at(s->knobs, i);
        config->levels[i] = (uint16_t)knob->values[knob->default_level].canonical;
    }
    json_object_foreach(settings, name, value) {
        size_t knob = 0;
        uint16_t level = 0;
        status = find_setting(&knob, &level, s, name, value, path, err);
        if (status != KVAT_OK) return status;
        config->levels[knob] = level;
    }
    return KVAT_OK;
}

static int compare_levels(const uint16_t *a, const uint16_t *b, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (a[i] != b[i]) return a[i] < b[i] ? -1 : 1;
    return 0;
}

static kvat_status parse_config(sim_config *config, const sim_surface *s, const json_t *object, size_t index,
                                kvat_error *err) {
    static const char *const known[] = {"settings", "cells", NULL};
    json_t *cells = NULL;
    char path[64], cells_path[96];
    snprintf(path, sizeof path, "configs[%zu]", index);
    snprintf(cells_path, sizeof cells_path, "%s.cells", path);
    const kvat_json_at at = {object, path};
    if (!json_is_object(object)) return kvat_fail(err, KVAT_ERR_DATA, "%s: expected an object", path);
    kvat_status status = kvat_json_only_members(at, known, err);
    if (status == KVAT_OK) status = parse_settings(config, s, at, err);
    if (status == KVAT_OK) status = kvat_json_get_array(&cells, at, "cells", true, err);
    if (status == KVAT_OK) status = sim__cells_parse(&config->cells, cells, cells_path, err);
    return status;
}

/* A row that names the configuration of an earlier one contradicts it. */
static kvat_status refuse_twins(const sim_surface *s, kvat_error *err) {
    const size_t n = kvat_knobs_count(s->knobs);
    const uint16_t *const last = s->configs[s->n_configs - 1].levels;
    for (size_t i = 0; i + 1 < s->n_configs; i++)
        if (compare_levels(s->configs[i].levels, last, n) == 0)
            return kvat_fail(err, KVAT_ERR_DATA, "configs[%zu].settings: the same configuration as configs[%zu]",
                             s->n_configs - 1, i);
    return KVAT_OK;
}

static kvat_status parse_configs(sim_surface *s, kvat_error *err) {
    json_t *array = NULL;
    void *items = NULL;
    kvat_status status = open_list(&array, &items, sizeof *s->configs, s, "configs", err);
    s->configs = items;
    for (size_t i = 0; i < json_array_size(array) && status == KVAT_OK; i++) {
        status = parse_config(&s->configs[s->n_configs++], s, json_array_get(array, i), i, err);
        if (status == KVAT_OK) status = refuse_twins(s, err);
    }
    return status;
}

/* ---- the whole ---- */

static kvat_status parse_head(sim_surface *s, kvat_error *err) {
    const kvat_json_at at = {s->root, "surface"};
    const char *format = NULL;
    if (!json_is_object(s->root)) return kvat_fail(err, KVAT_ERR_DATA, "a surface is a JSON object");
    s->name = "surface";
    kvat_status status = kvat_json_get_string(&format, at, "format", true, err);
    if (status == KVAT_OK && strcmp(format, "kvat-surface/1") != 0)
        status = kvat_fail(err, KVAT_ERR_DATA, "surface.format: expected \"kvat-surface/1\", not \"%.64s\"", format);
    if (status == KVAT_OK) status = kvat_json_only_members(at, members, err);
    if (status == KVAT_OK) status = kvat_json_get_string(&s->name, at, "name", false, err);
    if (status == KVAT_OK) status = kvat_json_get_real(&s->load_s, at, "load_s", 0, 1e6, false, err);
    if (status == KVAT_OK) status = kvat_json_get_real(&s->prepare_s, at, "prepare_s", 0, 1e6, false, err);
    if (status == KVAT_OK) status = kvat_json_get_array(&s->knobs_json, at, "knobs", true, err);
    if (status == KVAT_OK) status = kvat_knobs_parse(&s->knobs, s->knobs_json, err);
    return status;
}

static kvat_status parse_bias(sim_surface *s, kvat_error *err) {
    static const char *const known[] = {"mean", "sd", NULL};
    json_t *object = NULL;
    kvat_status status =
        kvat_json_get_object(&object, (kvat_json_at){s->root, "surface"}, "short_output_bias", false, err);
    if (status != KVAT_OK || !object) return status;
    const kvat_json_at at = {object, "short_output_bias"};
    status = kvat_json_only_members(at, known, err);
    if (status == KVAT_OK) status = kvat_json_get_real(&s->bias_mean, at, "mean", -5, 5, false, err);
    if (status == KVAT_OK) status = kvat_json_get_real(&s->bias_sd, at, "sd", 0, 5, false, err);
    return status;
}

static kvat_status parse_base(sim_surface *s, kvat_error *err) {
    json_t *array = NULL;
    kvat_status status = kvat_json_get_array(&array, (kvat_json_at){s->root, "surface"}, "base", false, err);
    if (status != KVAT_OK) return status;
    if (array) return sim__cells_parse(&s->base, array, "base", err);
    if (s->n_configs == 0) return kvat_fail(err, KVAT_ERR_DATA, "surface: expected \"base\" or \"configs\"");
    return KVAT_OK;
}

static kvat_status make_identity(sim_surface *s, kvat_error *err) {
    kvat_buf text = KVAT_BUF_INIT;
    kvat_status status = kvat_json_put(&text, s->root);
    if (status == KVAT_OK) status = kvat_buf_status(&text, err);
    if (status == KVAT_OK) kvat_hash_bytes(s->identity, text.bytes, text.length);
    kvat_buf_clear(&text);
    return status == KVAT_ERR_NOMEM ? fail_memory(err) : status;
}

kvat_status sim_surface_parse(sim_surface **out, json_t *root, kvat_error *err) {
    sim_surface *s = calloc(1, sizeof *s);
    if (!s) return fail_memory(err);
    s->root = json_incref(root);
    kvat_status status = parse_head(s, err);
    if (status == KVAT_OK) status = parse_effects(s, err);
    if (status == KVAT_OK) status = parse_interactions(s, err);
    if (status == KVAT_OK) status = parse_configs(s, err);
    if (status == KVAT_OK) status = parse_base(s, err);
    if (status == KVAT_OK) status = parse_bias(s, err);
    if (status == KVAT_OK) status = sim__noise_parse(&s->noise, s->root, err);
    if (status == KVAT_OK) status = parse_faults(s, err);
    if (status == KVAT_OK) status = make_identity(s, err);
    if (status == KVAT_OK) {
        *out = s;
    } else {
        sim_surface_free(s);
    }
    return status;
}

kvat_status sim_surface_read(sim_surface **out, const char *path, kvat_error *err) {
    json_t *root = NULL;
    kvat_status status = kvat_json_read_file(&root, path, err);
    if (status == KVAT_OK) status = sim_surface_parse(out, root, err);
    json_decref(root);
    return status;
}

void sim_surface_free(sim_surface *s) {
    if (!s) return;
    for (size_t i = 0; i < s->n_interactions; i++) when_clear(&s->interactions[i].when);
    for (size_t i = 0; i < s->n_faults; i++) when_clear(&s->faults[i].when);
    for (size_t i = 0; i < s->n_configs; i++) {
        free(s->configs[i].levels);
        free(s->configs[i].cells.items);
    }
    for (size_t i = 0; s->effects && i < kvat_knobs_count(s->knobs); i++) free(s->effects[i]);
    free(s->effects);
    free(s->interactions);
    free(s->configs);
    free(s->faults);
    free(s->base.items);
    free(s->noise.trace);
    kvat_knobs_free(s->knobs);
    json_decref(s->root);
    free(s);
}
