// A plan read for verification: its workload, its configuration and its rivals on the engine that is here.
// Must not start or call a worker.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "verify_internal.h"

#define USUAL_BUDGET_NS (2 * 60 * KVAT_NS_PER_S) /* a tenth of what a run has by default */

static kvat_status nomem(kvat_error *err) {
    return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the verification");
}

/* ---- workload ---- */

/** A cell of a plan in the words of a profile. */
static json_t *profile_cell(const json_t *cell) {
    return json_pack("{s:O*, s:O*, s:O*, s:O*}", "context", json_object_get(cell, "prompt_tokens"), "output_tokens",
                     json_object_get(cell, "output_tokens"), "batch", json_object_get(cell, "sequences"), "weight",
                     json_object_get(cell, "weight"));
}

static json_t *profile_cells(const json_t *cells) {
    json_t *array = json_array();
    for (size_t i = 0; array && i < json_array_size(cells); i++) {
        if (json_array_append_new(array, profile_cell(json_array_get(cells, i))) == 0) continue;
        json_decref(array);
        return NULL;
    }
    return array;
}

kvat_status kvat__verify_profile(kvat_profile **out, const json_t *plan, kvat_error *err) {
    const json_t *profile = json_object_get(plan, "profile"), *weights = json_object_get(profile, "weights");
    kvat_error why = KVAT_ERROR_INIT;
    if (!json_is_array(json_object_get(profile, "cells")))
        return kvat_fail(err, KVAT_ERR_DATA, "plan.profile.cells: missing, so that there is no workload to verify");
    if (!json_is_object(weights))
        return kvat_fail(err, KVAT_ERR_DATA, "plan.profile.weights: missing, so that nothing says what better means");
    json_t *json = json_pack("{s:O, s:o, s:O}", "name", json_object_get(profile, "name"), "cells",
                             profile_cells(json_object_get(profile, "cells")), "weights", weights);
    kvat_status status = json ? kvat_profile_parse(out, json, &why) : nomem(err);
    if (json && status != KVAT_OK) status = kvat_fail(err, status, "plan.%s", why.message);
    json_decref(json);
    return status;
}

/* ---- sides ---- */

void kvat__side_clear(kvat__side *side) {
    free(side->label);
    json_decref(side->settings);
    kvat_space_free(side->space);
    *side = (kvat__side){0};
}

static size_t level_of(const kvat_knob *knob, const json_t *value) {
    char number[32];
    if (!json_is_string(value) && !json_is_integer(value)) return SIZE_MAX;
    (void)snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
    return kvat_knob_level(knob, json_is_string(value) ? json_string_value(value) : number);
}

static void put_value(kvat_buf *out, const json_t *value) {
    if (json_is_integer(value))
        kvat_buf_printf(out, "%lld", (long long)json_integer_value(value));
    else
        kvat_buf_puts(out, json_is_string(value) ? json_string_value(value) : "?");
}

/** Names the first setting that the engine does not know, or has no such value of. */
static void put_refusal(kvat_buf *out, const kvat_knobs *knobs, const char *name, const json_t *value) {
    size_t index = kvat_knobs_find(knobs, name);
    kvat_buf_puts(out, "the engine here ");
    if (index == SIZE_MAX) {
        kvat_buf_printf(out, "has no setting %s", name);
        return;
    }
    const kvat_knob *knob = kvat_knobs_at(knobs, index);
    kvat_buf_printf(out, "does not offer %s ", name);
    put_value(out, value);
    kvat_buf_puts(out, ", but");
    for (size_t i = 0; i < knob->n_values; i++) kvat_buf_printf(out, "%s %s", i ? "," : "", knob->values[i].text);
}

/** The level of every knob; false with the refusal in `out`. */
static bool take_levels(size_t *levels, kvat_buf *out, const kvat_knobs *knobs, const json_t *settings) {
    const char *name;
    json_t *value;
    for (size_t k = 0; k < kvat_knobs_count(knobs); k++) levels[k] = kvat_knobs_at(knobs, k)->default_level;
    json_object_foreach((json_t *)settings, name, value) {
        size_t k = kvat_knobs_find(knobs, name);
        size_t level = k == SIZE_MAX ? SIZE_MAX : level_of(kvat_knobs_at(knobs, k), value);
        if (level == SIZE_MAX) {
            put_refusal(out, knobs, name, value);
            return false;
        }
        levels[k] = level;
    }
    return true;
}

/** A space of exactly one configuration. KVAT_ERR_USAGE: its settings contradict each other on this engine. */
static kvat_status space_of(kvat_space **out, const kvat_knobs *knobs, const size_t *levels, kvat_error *err) {
    kvat_setting set[KVAT_KNOBS_MAX];
    kvat_space_request request = {.set = set, .n_set = kvat_knobs_count(knobs), .allow_lossy = true};
    for (size_t k = 0; k < request.n_set; k++) {
        const kvat_knob *knob = kvat_knobs_at(knobs, k);
        set[k] = (kvat_setting){knob->name, knob->values[levels[k]].text};
    }
    return kvat_space_new(out, knobs, &request, err);
}

/** *contradiction is filled instead of failing when these levels do not go together here. */
static kvat_status fill_side(kvat__side *out, kvat_buf *contradiction, const kvat_knobs *knobs, const size_t *levels,
                             const char *label, kvat_error *err) {
    kvat__side side = {.label = strdup(label)};
    kvat_error why = KVAT_ERROR_INIT;
    if (!side.label) return nomem(err);
    kvat_status status = space_of(&side.space, knobs, levels, &why);
    if (status == KVAT_ERR_USAGE) {
        kvat_buf_printf(contradiction, "the engine here refuses it: %s", why.message);
        kvat__side_clear(&side);
        return KVAT_OK;
    }
    if (status == KVAT_OK) status = kvat_space_settings(&side.settings, side.space, 0, -1, &why);
    if (status != KVAT_OK) {
        kvat__side_clear(&side);
        return kvat_fail(err, status, "%s", why.message);
    }
    side.lossy = kvat_space_lossy(side.space, 0);
    *out = side;
    return KVAT_OK;
}

kvat_status kvat__side_make(kvat__side *out, char **refused, const kvat_knobs *knobs, const json_t *settings,
                            const char *label, kvat_error *err) {
    size_t levels[KVAT_KNOBS_MAX] = {0};
    kvat_buf refusal = KVAT_BUF_INIT;
    kvat_status status = KVAT_OK;
    *refused = NULL;
    if (take_levels(levels, &refusal, knobs, settings)) status = fill_side(out, &refusal, knobs, levels, label, err);
    if (status == KVAT_OK) status = kvat_buf_status(&refusal, err);
    if (status == KVAT_OK && refusal.length > 0) {
        *refused = kvat_buf_take(&refusal);
        if (!*refused) status = nomem(err);
    }
    kvat_buf_clear(&refusal);
    return status;
}

kvat_status kvat__side_default(kvat__side *out, const kvat_knobs *knobs, const kvat_setting *set, size_t n_set,
                               kvat_error *err) {
    size_t levels[KVAT_KNOBS_MAX] = {0};
    kvat_buf contradiction = KVAT_BUF_INIT;
    for (size_t k = 0; k < kvat_knobs_count(knobs); k++) levels[k] = kvat_knobs_at(knobs, k)->default_level;
    for (size_t i = 0; i < n_set; i++) {
        size_t k = kvat_knobs_find(knobs, set[i].name);
        size_t level =
            k == SIZE_MAX || !set[i].values ? SIZE_MAX : kvat_knob_level(kvat_knobs_at(knobs, k), set[i].values);
        if (level != SIZE_MAX) levels[k] = level;
    }
    kvat_status status = fill_side(out, &contradiction, knobs, levels, "the engine's default", err);
    if (status == KVAT_OK && !out->space)
        status = kvat_fail(err, KVAT_ERR_DATA,
                           "what the plan's command fixed does not go with the engine's default here: %s",
                           contradiction.bytes ? contradiction.bytes : "");
    kvat_buf_clear(&contradiction);
    return status;
}

kvat_status kvat__sides_equal(bool *out, const kvat_knobs *knobs, int64_t context_tokens, const kvat__side *a,
                              const kvat__side *b, kvat_error *err) {
    json_t *of_a = NULL, *of_b = NULL;
    kvat_status status = kvat_knobs_effective(&of_a, knobs, a->settings, context_tokens, err);
    if (status == KVAT_OK) status = kvat_knobs_effective(&of_b, knobs, b->settings, context_tokens, err);
    if (status == KVAT_OK) *out = json_equal(of_a, of_b);
    json_decref(of_a);
    json_decref(of_b);
    return status;
}

/* ---- memory ---- */

static kvat_status forecast(int64_t *bytes, const kvat__side *side, const kvat__job *job, kvat_error *err) {
    kvat_memory_model *model = NULL;
    kvat__job own = *job;
    kvat_error why = KVAT_ERROR_INIT;
    const json_t *json = json_object_get(job->describe, "memory_model");
    if (!json_is_object(json)) return KVAT_OK;
    own.space = side->space;
    kvat_status status = kvat_memory_model_parse(&model, json, err);
    if (status != KVAT_OK) return status;
    status = kvat__job_forecast(bytes, &own, model, 0, &why);
    kvat_memory_model_free(model);
    if (status == KVAT_OK || status == KVAT_ERR_DATA) return KVAT_OK; /* what is not known rules nothing out */
    return kvat_fail(err, status, "%s", why.message);
}

kvat_status kvat__side_forecast(char **too_large, const kvat__side *side, const kvat__job *job, kvat_error *err) {
    int64_t bytes = 0, limit = (int64_t)json_integer_value(json_object_get(job->note, "memory_limit_bytes"));
    kvat_buf text = KVAT_BUF_INIT;
    kvat_status status = forecast(&bytes, side, job, err);
    *too_large = NULL;
    if (status != KVAT_OK || limit <= 0 || bytes <= limit) return status;
    kvat_buf_puts(&text, "forecast ");
    kvat_put_bytes(&text, bytes);
    kvat_buf_puts(&text, " > ");
    kvat_put_bytes(&text, limit);
    *too_large = kvat_buf_take(&text);
    return *too_large ? KVAT_OK : nomem(err);
}

/* ---- rivals ---- */

static kvat_status fits(bool *out, const kvat__side *side, const kvat__job *job, kvat_error *err) {
    char *too_large = NULL;
    kvat_status status = kvat__side_forecast(&too_large, side, job, err);
    *out = !too_large;
    free(too_large);
    return status;
}

static kvat_status is_new(bool *out, const kvat__side *candidate, const kvat__job *job, const kvat__side *const *others,
                          size_t n, kvat_error *err) {
    kvat_status status = KVAT_OK;
    *out = true;
    for (size_t i = 0; i < n && status == KVAT_OK && *out; i++) {
        bool same = false;
        status = kvat__sides_equal(&same, job->knobs, job->context_tokens, candidate, others[i], err);
        *out = !same;
    }
    return status;
}

kvat_status kvat__verify_rivals(kvat__side *out, size_t *n, size_t most, const json_t *plan, const kvat__job *job,
                                const kvat__side *own, const kvat__side *base, kvat_error *err) {
    const json_t *alternatives = json_object_get(plan, "alternatives");
    const kvat__side *taken[2 + KVAT_VERIFY_RIVALS] = {own, base};
    kvat_status status = KVAT_OK;
    *n = 0;
    for (size_t i = 0; i < json_array_size(alternatives) && *n < most && status == KVAT_OK; i++) {
        const json_t *each = json_array_get(alternatives, i), *settings = json_object_get(each, "settings");
        const char *label = json_string_value(json_object_get(each, "label"));
        kvat__side side = {0};
        char *refused = NULL;
        bool wanted = false;
        if (!json_is_object(settings)) continue;
        status = kvat__side_make(&side, &refused, job->knobs, settings, label ? label : "another", err);
        if (status == KVAT_OK && side.space && (own->lossy || !side.lossy))
            status = is_new(&wanted, &side, job, taken, 2 + *n, err);
        if (status == KVAT_OK && wanted) status = fits(&wanted, &side, job, err);
        if (status == KVAT_OK && wanted) {
            out[*n] = side;
            taken[2 + *n] = &out[*n];
            (*n)++;
        } else {
            kvat__side_clear(&side);
        }
        free(refused);
    }
    return status;
}

/* ---- time ---- */

static double value_of(const json_t *cell, const char *interval) {
    return json_number_value(json_object_get(json_object_get(cell, interval), "value"));
}

int64_t kvat__verify_run_ns(const json_t *plan) {
    const json_t *cells = json_object_get(json_object_get(plan, "figures"), "cells");
    double seconds = 0;
    for (size_t i = 0; i < json_array_size(cells); i++) {
        const json_t *cell = json_array_get(cells, i);
        double rate = value_of(cell, "decode_tok_per_s");
        double tokens = (double)json_integer_value(json_object_get(cell, "output_tokens")) *
                        (double)json_integer_value(json_object_get(cell, "sequences"));
        seconds += fmax(value_of(cell, "ttft_s"), 0) + (rate > 0 ? tokens / rate : 0);
    }
    return (int64_t)(fmin(seconds, 86400) * 1e9);
}

int64_t kvat__verify_budget_ns(const kvat_verify_request *request) {
    const json_t *took = json_object_get(json_object_get(request->plan, "confidence"), "elapsed_ns");
    int64_t took_ns = json_is_integer(took) ? (int64_t)json_integer_value(took) : 0;
    if (request->time_ns > 0) return request->time_ns;
    if (took_ns <= 0) return USUAL_BUDGET_NS;
    if (took_ns / 10 > USUAL_BUDGET_NS) return took_ns / 10;
    return took_ns / 2 < USUAL_BUDGET_NS ? took_ns / 2 : USUAL_BUDGET_NS;
}
