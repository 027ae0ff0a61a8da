// Makes a "kvat-surface/1" of a run: what each configuration did, as `kvat tune --engine sim` can play it again.
// Must not know how a surface is played.
#include "store_internal.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "kvat/space.h"
#include "surface.h"

/** Most configurations of which each one never measured gets a rule that refuses it. Of more, only those measured can
 * be played: without a base nothing else has figures. */
#define MOST_REFUSED 1000

static kvat_status fail_memory(kvat_error *err) {
    return kvat_fail(err, KVAT_ERR_NOMEM, "out of memory: cannot export the surface");
}

/** A document of the run; kept apart because the record's texts are borrowed. */
typedef struct documents {
    json_t *request, *describe, *space;
    char *name;
    kvat_status status;
    kvat_error *err;
} documents;

static void documents_clear(documents *d) {
    json_decref(d->request);
    json_decref(d->describe);
    json_decref(d->space);
    free(d->name);
}

static kvat_status parse(json_t **out, const char *text, const char *what, kvat_error *err) {
    return kvat_json_parse(out, text, strlen(text), what, err);
}

static bool keep_documents(void *user, const kvat_run_record *run) {
    documents *d = user;
    d->status = parse(&d->request, run->request_json, "request of the run", d->err);
    if (d->status == KVAT_OK) d->status = parse(&d->describe, run->describe_json, "description of the run", d->err);
    if (d->status == KVAT_OK) d->status = parse(&d->space, run->space_json, "space of the run", d->err);
    if (d->status == KVAT_OK && !(d->name = strdup(run->model_name))) d->status = fail_memory(d->err);
    if (d->status == KVAT_OK && (!json_is_array(d->space) || json_array_size(d->space) == 0))
        d->status = kvat_fail(d->err, KVAT_ERR_DATA, "space of the run: expected configurations");
    return false;
}

static kvat_status load_documents(documents *d, kvat_store *store, int64_t run, kvat_error *err) {
    d->err = err;
    kvat_status status = kvat_store_get_run(store, run, keep_documents, d, err);
    return status == KVAT_OK ? d->status : status;
}

/** Cells of the run's profile that a surface can hold: it knows no batches, so those of the smallest. */
static kvat_status load_cells(kvat_profile **out, const json_t *request, kvat_error *err) {
    json_t *profile = NULL;
    kvat_json_at at = {request, "request"};
    kvat_status status = kvat_json_get_object(&profile, at, "profile", true, err);
    return status == KVAT_OK ? kvat_profile_parse(out, profile, err) : status;
}

/*
 * Knobs: as described, but what was searched is what this run had, and what counted as default is configuration 0.
 * Otherwise a replay would ask for configurations nobody measured.
 */
static bool listed(const json_t *array, const json_t *value) {
    size_t i;
    const json_t *item;
    json_array_foreach(array, i, item) {
        if (json_equal(item, value)) return true;
    }
    return false;
}

static json_t *values_in_space(const json_t *space, const char *knob) {
    size_t i;
    json_t *settings, *values = json_array();
    json_array_foreach(space, i, settings) {
        json_t *value = json_object_get(settings, knob);
        if (values && value && !listed(values, value) && json_array_append(values, value) != 0) {
            json_decref(values);
            return NULL;
        }
    }
    return values;
}

static kvat_status narrow_knob(json_t *knob, const json_t *space, kvat_error *err) {
    const char *name = NULL;
    kvat_status status = kvat_json_get_string(&name, (kvat_json_at){knob, "knobs"}, "name", true, err);
    if (status != KVAT_OK) return status;
    json_t *first = json_object_get(json_array_get(space, 0), name);
    if (!first) return KVAT_OK;
    json_t *values = values_in_space(space, name);
    if (!values || json_object_set_new(knob, "search", values) != 0 || json_object_set(knob, "default", first) != 0)
        return fail_memory(err);
    return KVAT_OK;
}

static kvat_status export_knobs(json_t **out, const documents *d, kvat_error *err) {
    json_t *described = NULL, *knob;
    size_t i;
    kvat_status status = kvat_json_get_array(&described, (kvat_json_at){d->describe, "describe"}, "knobs", true, err);
    if (status != KVAT_OK) return status;
    json_t *knobs = json_deep_copy(described);
    if (!knobs) return fail_memory(err);
    json_array_foreach(knobs, i, knob) {
        if (status == KVAT_OK) status = narrow_knob(knob, d->space, err);
    }
    if (status == KVAT_OK)
        *out = knobs;
    else
        json_decref(knobs);
    return status;
}

/*
 * Configurations.
 */
static kvat_status append(json_t *array, json_t *item, kvat_error *err) {
    return item && json_array_append_new(array, item) == 0 ? KVAT_OK : fail_memory(err);
}

static json_t *cell_row(const kvat_cell *cell, double ttft_ns, double decode, double peak) {
    return json_pack("{s:I, s:I, s:f, s:f, s:I}", "prompt_tokens", (json_int_t)cell->prompt_tokens, "output_tokens",
                     (json_int_t)cell->output_tokens, "ttft_s", ttft_ns / 1e9, "decode_tok_per_s", decode, "peak_bytes",
                     (json_int_t)(peak + 0.5));
}

/** Rows of the cells that have clean figures; an empty array when the configuration never worked. */
static kvat_status config_cells(json_t **out, const kvat__figures *figures, const kvat_profile *profile, size_t config,
                                kvat_error *err) {
    double peak = 0, ttft, decode;
    kvat_status status = KVAT_OK;
    json_t *cells = json_array();
    if (!cells) return fail_memory(err);
    bool known = kvat__medians_find(&peak, &figures->peak, config, 0);
    for (size_t i = 0; i < profile->n_cells && known && status == KVAT_OK; i++) {
        const kvat_cell *cell = &profile->cells[i];
        if (cell->sequences != profile->cells[0].sequences) continue;
        if (!kvat__medians_find(&ttft, &figures->ttft, config, i)) continue;
        if (!kvat__medians_find(&decode, &figures->decode, config, i)) continue;
        status = append(cells, cell_row(cell, ttft, decode, peak), err);
    }
    if (status == KVAT_OK)
        *out = cells;
    else
        json_decref(cells);
    return status;
}

static kvat_status add_fault(json_t *faults, json_t *settings, const char *kind, double probability, kvat_error *err) {
    return append(faults, json_pack("{s:O, s:s, s:f}", "when", settings, "kind", kind, "probability", probability),
                  err);
}

/** A configuration without any figures would be played like the base: it must fail instead, where there is one and it
 * is not `named` among the rows. */
static kvat_status config_faults(json_t *faults, const kvat__figures *figures, json_t *settings, size_t config,
                                 bool named, kvat_error *err) {
    bool certain = false;
    kvat_status status = KVAT_OK;
    for (size_t i = 0; i < figures->n_faults && status == KVAT_OK; i++) {
        const kvat__fault *fault = &figures->faults[i];
        if (fault->config != config) continue;
        certain = certain || fault->probability >= 1.0;
        status = add_fault(faults, settings, fault->kind, fault->probability, err);
    }
    if (status == KVAT_OK && !named && !certain) status = add_fault(faults, settings, "unsupported", 1.0, err);
    return status;
}

typedef struct rows {
    json_t *base, *configs, *faults;
    bool many; /**< more than MOST_REFUSED */
} rows;

static void rows_clear(rows *r) {
    json_decref(r->base);
    json_decref(r->configs);
    json_decref(r->faults);
}

static kvat_status config_rows(rows *r, const documents *d, const kvat__figures *figures, const kvat_profile *profile,
                               size_t config, kvat_error *err) {
    json_t *cells = NULL, *settings = json_array_get(d->space, config);
    kvat_status status = config_cells(&cells, figures, profile, config, err);
    if (status != KVAT_OK) return status;
    bool measured = json_array_size(cells) > 0;
    if (measured) status = append(r->configs, json_pack("{s:O, s:O}", "settings", settings, "cells", cells), err);
    if (status == KVAT_OK && measured && config == 0 && !r->many) r->base = json_incref(cells);
    if (status == KVAT_OK) status = config_faults(r->faults, figures, settings, config, measured || r->many, err);
    json_decref(cells);
    return status;
}

static kvat_status all_rows(rows *r, const documents *d, const kvat__figures *figures, const kvat_profile *profile,
                            kvat_error *err) {
    kvat_status status = KVAT_OK;
    r->configs = json_array();
    r->faults = json_array();
    if (!r->configs || !r->faults) return fail_memory(err);
    for (size_t i = 0; i < json_array_size(d->space) && status == KVAT_OK; i++)
        status = config_rows(r, d, figures, profile, i, err);
    if (status == KVAT_OK && json_array_size(r->configs) == 0)
        status = kvat_fail(err, KVAT_ERR_DATA, "the run has no clean trial: there is nothing to export");
    return status;
}

/*
 * What the narrowed knobs still span beyond this run's space (constraints of the machine, forecasts) was not measured.
 */
static kvat_status fault_unless_known(json_t *faults, const documents *d, const kvat_space *space, size_t config,
                                      kvat_error *err) {
    json_t *settings = NULL;
    kvat_status status = kvat_space_settings(&settings, space, config, -1, err);
    if (status == KVAT_OK && !listed(d->space, settings)) status = add_fault(faults, settings, "unsupported", 1.0, err);
    json_decref(settings);
    return status;
}

static int64_t context_tokens(const kvat_profile *profile) {
    int64_t largest = 0;
    for (size_t i = 0; i < profile->n_cells; i++) {
        int64_t tokens = profile->cells[i].prompt_tokens + profile->cells[i].output_tokens;
        if (tokens > largest) largest = tokens;
    }
    return largest;
}

/** What a replay of these knobs may ask for: at most one more than MOST_REFUSED. */
typedef struct span {
    kvat_knobs *knobs;
    kvat_space *space;
} span;

static void span_clear(span *s) {
    kvat_space_free(s->space);
    kvat_knobs_free(s->knobs);
}

static kvat_status span_make(span *out, const json_t *knobs, const kvat_profile *profile, kvat_error *err) {
    kvat_error why = KVAT_ERROR_INIT;
    kvat_space_request request = {
        .allow_lossy = true, .context_tokens = context_tokens(profile), .max_configs = MOST_REFUSED + 1};
    kvat_status status = kvat_knobs_parse(&out->knobs, knobs, err);
    if (status == KVAT_OK) status = kvat_space_new(&out->space, out->knobs, &request, &why);
    if (status == KVAT_ERR_USAGE) return KVAT_OK; /* more values than that, each of which is one */
    if (status != KVAT_OK && err && err->status == KVAT_OK) *err = why;
    return status;
}

static bool span_is_large(const span *s) {
    return !s->space || kvat_space_count(s->space) > MOST_REFUSED;
}

static kvat_status fault_unmeasured(json_t *faults, const documents *d, const kvat_space *space, kvat_error *err) {
    kvat_status status = KVAT_OK;
    for (size_t i = 0; status == KVAT_OK && i < kvat_space_count(space); i++)
        status = fault_unless_known(faults, d, space, i, err);
    return status;
}

static kvat_status assemble(json_t **out, const documents *d, const kvat__figures *figures, json_t *knobs,
                            const rows *r, kvat_error *err) {
    json_t *surface = json_pack("{s:s, s:s, s:f, s:f, s:O, s:O, s:O, s:{s:f, s:f}, s:{s:f, s:f, s:f, s:f, s:f}}",
                                "format", "kvat-surface/1", "name", d->name, "load_s", figures->load_ns / 1e9,
                                "prepare_s", figures->prepare_ns / 1e9, "knobs", knobs, "configs", r->configs, "faults",
                                r->faults, "short_output_bias", "mean", 0.0, "sd", 0.0, "noise", "run_sd",
                                figures->run_sd, "launch_sd", 0.0, "ar_sd", 0.0, "ramp", 0.0, "spike_per_s", 0.0);
    if (!surface || (r->base && json_object_set(surface, "base", r->base) != 0)) {
        json_decref(surface);
        return fail_memory(err);
    }
    *out = surface;
    return KVAT_OK;
}

kvat_status kvat_store_export_surface(json_t **out, kvat_store *store, int64_t run, kvat_error *err) {
    documents d = {0};
    rows r = {0};
    kvat__figures figures = {0};
    kvat_profile *profile = NULL;
    json_t *knobs = NULL;
    span s = {0};
    kvat_status status = load_documents(&d, store, run, err);
    if (status == KVAT_OK) status = load_cells(&profile, d.request, err);
    if (status == KVAT_OK) status = export_knobs(&knobs, &d, err);
    if (status == KVAT_OK) status = span_make(&s, knobs, profile, err);
    r.many = status == KVAT_OK && (span_is_large(&s) || json_array_size(d.space) > MOST_REFUSED);
    if (status == KVAT_OK) status = kvat__figures_load(&figures, store, run, err);
    if (status == KVAT_OK) status = all_rows(&r, &d, &figures, profile, err);
    if (status == KVAT_OK && !r.many) status = fault_unmeasured(r.faults, &d, s.space, err);
    if (status == KVAT_OK) status = assemble(out, &d, &figures, knobs, &r, err);
    span_clear(&s);
    json_decref(knobs);
    kvat__figures_clear(&figures);
    kvat_profile_free(profile);
    rows_clear(&r);
    documents_clear(&d);
    return status;
}
