// Makes a request concrete: profile fitted to the model, knobs, configurations, forecasts; and reads the same back from
// a store. Must not start or call a worker.
#include <stdlib.h>
#include <string.h>

#include "kvat/file.h"
#include "run_internal.h"

/* What counts as equal unless it is said: among thousands, many are within 1 % of the best. */
static const double DELTA_OF_FEW = 0.01, DELTA_OF_MANY = 0.02;

void kvat__job_free(kvat__job *job) {
    if (!job) return;
    json_decref(job->request);
    json_decref(job->hello);
    json_decref(job->describe);
    json_decref(job->environment);
    json_decref(job->note);
    kvat_profile_free(job->profile);
    kvat_space_free(job->space);
    kvat_knobs_free(job->knobs);
    free(job->forecast_bytes);
    free(job);
}

static kvat_status nomem(kvat_error *err) {
    return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the run");
}

static bool has_word(const json_t *array, const char *word) {
    size_t i;
    json_t *item;
    json_array_foreach((json_t *)array, i, item) {
        const char *text = json_string_value(item);
        if (text && strcmp(text, word) == 0) return true;
    }
    return false;
}

/* ---- cells and contexts ---- */

size_t kvat__cell_groups(kvat__cell_group *groups, const kvat_profile *profile) {
    size_t n = 0;
    for (size_t i = 0; i < profile->n_cells; i++) {
        const kvat_cell *cell = &profile->cells[i];
        if (n == 0 || groups[n - 1].sequences != cell->sequences)
            groups[n++] = (kvat__cell_group){.sequences = cell->sequences, .first = i};
        groups[n - 1].count++;
        groups[n - 1].context_tokens = kvat_profile_context_tokens(profile);
    }
    return n;
}

/** Cells of the largest context any configuration must hold. */
static int64_t largest_context(const kvat_profile *profile) {
    return kvat_profile_context_tokens(profile) * kvat_profile_sequences(profile);
}

/* ---- the space ---- */

static kvat_status settings_array(kvat_setting **out, size_t *n, const json_t *object, kvat_error *err) {
    *n = 0;
    *out = calloc(json_object_size(object) + 1, sizeof **out);
    if (!*out) return nomem(err);
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)object, name, value) {
        (*out)[(*n)++] = (kvat_setting){name, json_string_value(value)};
    }
    return KVAT_OK;
}

static kvat_status settings_object(json_t **out, const kvat_setting *settings, size_t n, kvat_error *err) {
    json_t *object = json_object();
    for (size_t i = 0; object && i < n; i++) {
        json_t *value = json_string(settings[i].values ? settings[i].values : "");
        if (json_object_set_new(object, settings[i].name, value) != 0) {
            json_decref(object);
            object = NULL;
        }
    }
    if (!object) return nomem(err);
    *out = object;
    return KVAT_OK;
}

static kvat_status make_space(kvat__job *job, kvat_error *err) {
    kvat_setting *set = NULL, *sweep = NULL;
    kvat_space_request request = {.safe = json_is_true(json_object_get(job->request, "safe")),
                                  .allow_lossy = json_is_true(json_object_get(job->request, "allow_lossy")),
                                  .context_tokens = job->context_tokens,
                                  .seed = job->seed};
    kvat_status status = settings_array(&set, &request.n_set, json_object_get(job->request, "set"), err);
    if (status == KVAT_OK)
        status = settings_array(&sweep, &request.n_sweep, json_object_get(job->request, "sweep"), err);
    request.set = set;
    request.sweep = sweep;
    if (status == KVAT_OK) status = kvat_space_new(&job->space, job->knobs, &request, err);
    free(set);
    free(sweep);
    return status;
}

/* ---- memory forecast ---- */

static const char *value_of(const kvat__job *job, size_t config, const char *word) {
    size_t knob = kvat_knobs_find(job->knobs, word);
    if (knob == SIZE_MAX) return NULL;
    const kvat_knob *k = kvat_knobs_at(job->knobs, knob);
    return k->values[kvat_space_levels(job->space, config)[knob]].text;
}

static int64_t number_of(const kvat__job *job, size_t config, const char *word) {
    const char *text = value_of(job, config, word);
    return text ? strtoll(text, NULL, 10) : 0;
}

static bool is_on(const char *text, bool otherwise) {
    if (!text) return otherwise;
    return strcmp(text, "on") == 0 || strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
}

kvat_status kvat__job_forecast(int64_t *bytes, const kvat__job *job, const kvat_memory_model *model, size_t config,
                               kvat_error *err) {
    const char *type_k = value_of(job, config, "kv.type.k"), *type_v = value_of(job, config, "kv.type.v");
    kvat_memory_setup setup = {
        .type_k = type_k ? type_k : "f16",
        .type_v = type_v ? type_v : "f16",
        .context_tokens = job->context_tokens,
        .sequences = kvat_profile_sequences(job->profile),
        .ubatch_tokens = number_of(job, config, "batch.physical"),
        .batch_tokens = number_of(job, config, "batch.logical"),
        .attention = value_of(job, config, "attention"),
        .unified = is_on(value_of(job, config, "kv.unified"), true),
        .window_full = is_on(value_of(job, config, "kv.window_full"), false),
    };
    kvat_memory_forecast forecast;
    kvat_status status = kvat_memory_forecast_make(&forecast, model, &setup, err);
    if (status == KVAT_OK) *bytes = forecast.total_bytes;
    return status;
}

static kvat_status note_left_out(kvat__job *job, size_t config, int64_t bytes, int64_t limit, kvat_error *err) {
    kvat_buf label = KVAT_BUF_INIT, reason = KVAT_BUF_INIT;
    kvat_space_label(&label, job->space, config);
    kvat_buf_puts(&reason, "forecast ");
    kvat_put_bytes(&reason, bytes);
    kvat_buf_puts(&reason, " > ");
    kvat_put_bytes(&reason, limit);
    json_t *list = json_object_get(job->note, "left_out");
    json_t *entry = label.bytes && reason.bytes ? json_pack("{s:s, s:I, s:s}", "label", label.bytes, "forecast_bytes",
                                                            (json_int_t)bytes, "reason", reason.bytes)
                                                : NULL;
    int bad = json_array_append_new(list, entry);
    kvat_buf_clear(&label);
    kvat_buf_clear(&reason);
    return bad ? nomem(err) : KVAT_OK;
}

/** Adds a sentence to what the worker wants the user to know, unless a stored run has it already. */
static kvat_status add_note(kvat__job *job, const char *text, kvat_error *err) {
    json_t *notes = json_object_get(job->describe, "notes");
    if (has_word(notes, text)) return KVAT_OK;
    if (!json_is_array(notes)) {
        notes = json_array();
        if (json_object_set_new(job->describe, "notes", notes) != 0) return nomem(err);
    }
    return json_array_append_new(notes, json_string(text)) == 0 ? KVAT_OK : nomem(err);
}

/** Configurations that the worker's memory model says too little of. */
typedef struct unknown_forecasts {
    size_t n;
    kvat_error first;
} unknown_forecasts;

/** *bytes stays 0 when there is no telling: what is not known rules nothing out. */
static kvat_status forecast_if_known(int64_t *bytes, unknown_forecasts *unknown, const kvat__job *job,
                                     const kvat_memory_model *model, size_t config, kvat_error *err) {
    kvat_error why = KVAT_ERROR_INIT;
    kvat_status status = kvat__job_forecast(bytes, job, model, config, &why);
    if (status == KVAT_ERR_DATA) {
        if (unknown->n++ == 0) unknown->first = why;
        return KVAT_OK;
    }
    if (status != KVAT_OK && err) *err = why;
    return status;
}

static kvat_status note_unknown(kvat__job *job, const unknown_forecasts *unknown, size_t of, kvat_error *err) {
    char text[sizeof unknown->first.message + 128];
    if (unknown->n == 0) return KVAT_OK;
    snprintf(text, sizeof text, "Whether they fit into memory is not known of %zu of %zu configurations: %s",
             unknown->n, of, unknown->first.message);
    return add_note(job, text, err);
}

/** A sample is said to be one wherever the run tells of itself. */
static kvat_status note_drawn(kvat__job *job, kvat_error *err) {
    double of = kvat_space_skipped(job->space).drawn_from;
    kvat_buf text = KVAT_BUF_INIT;
    if (of == 0) return KVAT_OK;
    kvat_buf_printf(&text, "%zu of ", kvat_space_count(job->space));
    kvat_put_count(&text, of);
    kvat_buf_puts(&text, " combinations were drawn at random: what was not drawn was not considered");
    kvat_status status = kvat_buf_status(&text, err);
    if (status == KVAT_OK) status = add_note(job, text.bytes, err);
    kvat_buf_clear(&text);
    return status;
}

/** Forecasts every configuration and removes those over `limit` (0: none); the list of what was left out goes to the
 * note. */
static kvat_status prune(kvat__job *job, int64_t limit, kvat_error *err) {
    size_t n = kvat_space_count(job->space);
    kvat_memory_model *model = NULL;
    bool *drop = calloc(n, sizeof *drop);
    job->forecast_bytes = calloc(n, sizeof *job->forecast_bytes);
    kvat_status status = drop && job->forecast_bytes ? KVAT_OK : nomem(err);
    const json_t *json = json_object_get(job->describe, "memory_model");
    if (status != KVAT_OK || !json_is_object(json)) goto done;
    status = kvat_memory_model_parse(&model, json, err);
    size_t kept = 0;
    unknown_forecasts unknown = {0};
    for (size_t i = 0; i < n && status == KVAT_OK; i++) {
        int64_t bytes = 0;
        status = forecast_if_known(&bytes, &unknown, job, model, i, err);
        drop[i] = status == KVAT_OK && limit > 0 && bytes > limit;
        if (drop[i])
            status = note_left_out(job, i, bytes, limit, err);
        else
            job->forecast_bytes[kept++] = bytes;
    }
    if (status != KVAT_OK) goto done;
    if (kept == 0) {
        status = kvat_fail(err, KVAT_ERR_INFEASIBLE,
                           "none of %zu configurations fits: every memory forecast is over the limit of %lld MiB "
                           "(shorten the context, or raise --max-memory)",
                           n, (long long)(limit >> 20));
        goto done;
    }
    status = note_unknown(job, &unknown, n, err);
    if (status != KVAT_OK) goto done;
    job->default_dropped = drop[0];
    kvat_space_remove(job->space, drop);
done:
    kvat_memory_model_free(model);
    free(drop);
    return status;
}

/* ---- shared end of both ways to a job ---- */

static int64_t int_of(const json_t *object, const char *member, int64_t otherwise) {
    const json_t *value = json_object_get(object, member);
    return json_is_integer(value) ? (int64_t)json_integer_value(value) : otherwise;
}

static double real_of(const json_t *object, const char *member, double otherwise) {
    const json_t *value = json_object_get(object, member);
    return json_is_number(value) ? json_number_value(value) : otherwise;
}

/** The smaller of two limits, of which 0 is none. */
static int64_t smaller_limit(int64_t a, int64_t b) {
    if (a <= 0 || b <= 0) return a > b ? a : b;
    return a < b ? a : b;
}

/** The range that prompts are drawn from. */
static kvat_status take_tokens(kvat__job *job, const json_t *model, kvat_error *err) {
    if (!kvat__get_count(&job->token_low, model, "token_low", KVAT__MOST_TOKENS))
        return kvat_fail(err, KVAT_ERR_ENGINE, "describe: model.token_low is no token");
    job->token_high = job->token_low + 1;
    if (json_object_get(model, "token_high") &&
        !kvat__get_count(&job->token_high, model, "token_high", KVAT__MOST_TOKENS))
        return kvat_fail(err, KVAT_ERR_ENGINE, "describe: model.token_high is no token");
    if (job->token_high <= job->token_low)
        return kvat_fail(err, KVAT_ERR_ENGINE, "describe: token_low and token_high leave no token to draw from");
    return KVAT_OK;
}

kvat_status kvat__job_read_facts(kvat__job *job, kvat_error *err) {
    const json_t *model = json_object_get(job->describe, "model");
    const char *clock = json_string_value(json_object_get(job->hello, "clock"));
    job->virtual_clock = clock && strcmp(clock, "virtual") == 0;
    job->marks = has_word(json_object_get(job->hello, "capabilities"), "marks") &&
                 !json_is_false(json_object_get(model, "marks"));
    job->repeats = job->marks && has_word(json_object_get(job->hello, "capabilities"), "repeats");
    job->burst_tokens = int_of(job->request, "burst_tokens", 0);
    job->synthetic = json_is_true(json_object_get(model, "synthetic"));
    kvat_status status = take_tokens(job, model, err);
    if (status != KVAT_OK) return status;
    job->context_tokens = largest_context(job->profile);
    job->seed = (uint64_t)int_of(job->request, "seed", 0);
    job->world_seed = (uint64_t)int_of(job->request, "world_seed", 0);
    job->p_good = real_of(job->request, "p_good", 0.95);
    job->trial_limit_ns = int_of(job->request, "trial_limit_ns", 0);
    job->peak_limit_bytes =
        smaller_limit(int_of(job->request, "max_memory_bytes", 0), job->profile->limit_memory_bytes);
    job->budget_ns = int_of(job->note, "budget_ns", 0);
    job->max_trials = int_of(job->note, "max_trials", 0);
    return kvat_knobs_parse(&job->knobs, json_object_get(job->describe, "knobs"), err);
}

/** Refused here and not by the search, so that nothing is stored of it. */
static kvat_status check_race(const kvat__job *job, kvat_error *err) {
    const char *method = json_string_value(json_object_get(job->request, "search"));
    const size_t n = kvat_space_count(job->space);
    if (!method || strcmp(method, "race") != 0 || n <= KVAT_SEARCH_RACE_MAX) return KVAT_OK;
    return kvat_fail(err, KVAT_ERR_USAGE,
                     "--search race compares at most %d configurations, and here are %zu: the model takes more",
                     KVAT_SEARCH_RACE_MAX, n);
}

/** With request, hello, describe, profile and note in place: everything that follows from them. */
static kvat_status complete(kvat__job *job, kvat_error *err) {
    kvat_status status = kvat__job_read_facts(job, err);
    if (status == KVAT_OK) status = make_space(job, err);
    if (status == KVAT_OK) status = note_drawn(job, err);
    if (status != KVAT_OK) return status;
    job->delta =
        real_of(job->request, "delta", kvat_space_count(job->space) > KVAT_SEARCH_MANY ? DELTA_OF_MANY : DELTA_OF_FEW);
    json_t *list = json_array();
    if (json_object_set_new(job->note, "left_out", list) != 0) return nomem(err);
    status = prune(job, int_of(job->note, "memory_limit_bytes", 0), err);
    if (status == KVAT_OK) status = check_race(job, err);
    if (status == KVAT_OK) job->incumbent = kvat__incumbent_find(job);
    return status;
}

/* ---- from a request ---- */

/** The file name in `describe` with the home folder written as "~": nothing stored names the user. */
static kvat_status hide_home(json_t *describe, kvat_error *err) {
    json_t *model = json_object_get(describe, "model");
    const char *file = json_string_value(json_object_get(model, "file"));
    const char *home = getenv("HOME");
    size_t n = home ? strlen(home) : 0;
    if (!file || n < 2 || strncmp(file, home, n) != 0 || file[n] != '/') return KVAT_OK;
    kvat_buf path = KVAT_BUF_INIT;
    kvat_buf_printf(&path, "~%s", file + n);
    int bad = json_object_set_new(model, "file", path.bytes ? json_string(path.bytes) : NULL);
    kvat_buf_clear(&path);
    return bad ? nomem(err) : KVAT_OK;
}

/** What the worker says of itself and of the model, without folders and hosts. Values of settings stay as they are:
 * they are handed back to the worker; so does the identity, which tells models apart. */
static kvat_status hide_names(json_t *hello, json_t *describe, kvat_error *err) {
    json_t *model = json_object_get(describe, "model"), *knobs = json_object_get(describe, "knobs"), *value;
    const char *name;
    size_t i;
    kvat_status status = kvat__make_json_private(json_object_get(hello, "engine"), err);
    if (status == KVAT_OK) status = kvat__make_json_private(json_object_get(describe, "notes"), err);
    if (status == KVAT_OK) status = kvat__make_json_private(json_object_get(describe, "devices"), err);
    if (status == KVAT_OK) status = kvat__make_json_private(json_object_get(describe, "absent"), err);
    json_object_foreach(model, name, value) {
        bool kept = strcmp(name, "file") == 0 || strcmp(name, "identity") == 0;
        if (status == KVAT_OK && !kept) status = kvat__make_json_private(value, err);
    }
    json_array_foreach(knobs, i, value) {
        if (status == KVAT_OK) status = kvat__make_json_private(json_object_get(value, "help"), err);
    }
    return status == KVAT_OK ? hide_home(describe, err) : status;
}

kvat_status kvat__hash_prompts(json_t *request, const kvat_profile *profile, kvat_error *err) {
    if (!profile->prompts_file) return KVAT_OK;
    kvat_buf text = KVAT_BUF_INIT;
    char hex[KVAT_HASH_HEX];
    kvat_status status = kvat_file_read(&text, profile->prompts_file, (size_t)64 << 20, err);
    if (status == KVAT_OK && text.length == 0)
        status = kvat_fail(err, KVAT_ERR_DATA, "%s: the prompt file is empty", profile->prompts_file);
    if (status == KVAT_OK) {
        kvat_hash_bytes(hex, text.bytes, text.length);
        if (json_object_set_new(request, "prompts_sha256", json_string(hex)) != 0) status = nomem(err);
    }
    kvat_buf_clear(&text);
    return status;
}

/** Another prefix may mean another machine, whose figures are never pooled with these; it may also name a host, so that
 * only its hash is kept. */
static kvat_status hash_launch(json_t *request, const char *const *launch, kvat_error *err) {
    if (!launch || !*launch) return KVAT_OK;
    kvat_buf text = KVAT_BUF_INIT;
    char hex[KVAT_HASH_HEX];
    for (; *launch; launch++) kvat_buf_put(&text, *launch, strlen(*launch) + 1);
    kvat_status status = kvat_buf_status(&text, err);
    if (status == KVAT_OK) {
        kvat_hash_bytes(hex, text.bytes, text.length);
        if (json_object_set_new(request, "launch_sha256", json_string(hex)) != 0) status = nomem(err);
    }
    kvat_buf_clear(&text);
    return status;
}

static kvat_status request_json(kvat__job *job, const kvat_tune_request *request, const char *engine_name,
                                kvat_error *err) {
    json_t *profile = NULL, *set = NULL, *sweep = NULL;
    kvat_status status = kvat_profile_json(&profile, job->profile, err);
    if (status == KVAT_OK) status = settings_object(&set, request->set, request->n_set, err);
    if (status == KVAT_OK) status = settings_object(&sweep, request->sweep, request->n_sweep, err);
    if (status == KVAT_OK) {
        job->request = json_pack(
            "{s:s, s:s, s:O?, s:O, s:O, s:O, s:b, s:b, s:I, s:I, s:I, s:I, s:f, s:s}", "format", "kvat-request/1",
            "engine", engine_name, "model", json_object_get(json_object_get(job->describe, "model"), "identity"),
            "profile", profile, "set", set, "sweep", sweep, "safe", (int)request->safe, "allow_lossy",
            (int)request->allow_lossy, "max_memory_bytes", (json_int_t)request->max_memory_bytes, "trial_limit_ns",
            (json_int_t)request->trial_limit_ns, "seed", (json_int_t)request->seed, "world_seed",
            (json_int_t)request->world_seed, "p_good", request->p_good > 0 ? request->p_good : 0.95, "search",
            request->search ? request->search : kvat_search_methods()[0]);
        if (!job->request) status = nomem(err);
    }
    if (status == KVAT_OK && request->delta > 0 &&
        json_object_set_new(job->request, "delta", json_real(request->delta)) != 0)
        status = nomem(err);
    if (status == KVAT_OK && job->profile->builtin &&
        json_object_set_new(job->request, "profile_builtin", json_true()) != 0)
        status = nomem(err);
    if (status == KVAT_OK && job->profile->left_out > 0 &&
        json_object_set_new(job->request, "cells_left_out", json_integer((json_int_t)job->profile->left_out)) != 0)
        status = nomem(err);
    if (status == KVAT_OK && kvat__profile_is_long(job->profile) && !request->whole_outputs &&
        json_object_set_new(job->request, "burst_tokens", json_integer(KVAT__BURST_TOKENS)) != 0)
        status = nomem(err);
    if (status == KVAT_OK) status = kvat__hash_prompts(job->request, job->profile, err);
    if (status == KVAT_OK) status = hash_launch(job->request, request->launch, err);
    json_decref(profile);
    json_decref(set);
    json_decref(sweep);
    return status;
}

static kvat_status note_json(kvat__job *job, const kvat_tune_request *request, const kvat_machine *machine,
                             const char *why_engine, kvat_error *err) {
    int64_t asked = smaller_limit(request->max_memory_bytes, job->profile->limit_memory_bytes);
    int64_t limit = asked > 0 ? asked : machine->memory_limit_bytes;
    job->note = json_pack("{s:I, s:I, s:I, s:s, s:o}", "budget_ns",
                          (json_int_t)(request->time_ns > 0 ? request->time_ns : 20 * 60 * KVAT_NS_PER_S), "max_trials",
                          (json_int_t)request->max_trials, "memory_limit_bytes", (json_int_t)limit, "why_engine",
                          why_engine, "argv", kvat__argv_json(request->argv));
    return job->note ? KVAT_OK : nomem(err);
}

kvat_status kvat__job_from_request(kvat__job **out, const kvat_tune_request *request, const json_t *hello,
                                   const json_t *describe, const kvat_machine *machine, const char *engine_name,
                                   const char *why_engine, kvat_error *err) {
    kvat__job *job = calloc(1, sizeof *job);
    json_t *machine_object = NULL;
    if (!job) return nomem(err);
    job->hello = json_deep_copy(hello);
    job->describe = json_deep_copy(describe);
    kvat_status status = job->hello && job->describe ? hide_names(job->hello, job->describe, err) : nomem(err);
    if (status == KVAT_OK) status = kvat_machine_json(&machine_object, machine, err);
    if (status == KVAT_OK) {
        job->environment = json_pack("{s:O}", "machine", machine_object);
        if (!job->environment) status = nomem(err);
    }
    if (status == KVAT_OK)
        status = kvat_profile_find(&job->profile, request->profile ? request->profile : "chat-agent", err);
    if (status == KVAT_OK) status = kvat_profile_override(job->profile, &request->overrides, err);
    if (status == KVAT_OK) {
        bool typed = request->overrides.context || request->overrides.output_tokens || !job->profile->builtin;
        int64_t trained = 0;
        status = kvat__get_count(&trained, json_object_get(job->describe, "model"), "training_context_tokens",
                                 KVAT__MOST_TOKENS)
                     ? kvat_profile_fit(job->profile, trained, typed, err)
                     : kvat_fail(err, KVAT_ERR_ENGINE, "describe: model.training_context_tokens is no length");
    }
    if (status == KVAT_OK) status = request_json(job, request, engine_name, err);
    if (status == KVAT_OK) status = note_json(job, request, machine, why_engine ? why_engine : "", err);
    if (status == KVAT_OK) status = complete(job, err);
    json_decref(machine_object);
    if (status == KVAT_OK)
        *out = job;
    else
        kvat__job_free(job);
    return status;
}

/* ---- from the store ---- */

static kvat_status parse(json_t **out, const char *text, const char *what, kvat_error *err) {
    kvat_error why = KVAT_ERROR_INIT;
    kvat_status status = kvat_json_parse(out, text ? text : "", text ? strlen(text) : 0, what, &why);
    if (status == KVAT_OK) return status;
    return kvat_fail(err, status, "the store is damaged: %s; measure again with --fresh, or into another folder",
                     why.message);
}

/** Members that everything after takes for granted: a document without them was not written by kvat. */
static kvat_status check_documents(const kvat__job *job, kvat_error *err) {
    const struct {
        const json_t *object;
        const char *member, *what;
    } needed[] = {{job->hello, "engine", "engine"}, {job->describe, "model", "model"}, {job->note, "argv", "note"}};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (!json_object_get(needed[i].object, needed[i].member))
            return kvat_fail(err, KVAT_ERR_DATA, "the store is damaged: the stored %s has no \"%s\"", needed[i].what,
                             needed[i].member);
    return KVAT_OK;
}

/** Trials name their configuration by its place: the places must be those they were measured at. */
static kvat_status check_space(const kvat__job *job, const json_t *stored, kvat_error *err) {
    json_t *made = NULL;
    kvat_status status = kvat__job_space_json(&made, job, err);
    if (status == KVAT_OK && !json_equal(stored, made))
        status =
            kvat_fail(err, KVAT_ERR_DATA,
                      "the stored run has %zu configurations, and they are not the %zu that this kvat makes of the "
                      "same request: measure again with --fresh",
                      json_array_size(stored), json_array_size(made));
    json_decref(made);
    return status;
}

/** A run is found by its identity: what it says was asked must be what was asked. */
static kvat_status check_identity(const kvat__job *job, const char *stored, kvat_error *err) {
    char made[KVAT_HASH_HEX];
    if (!stored) return KVAT_OK;
    kvat_status status = kvat__job_identity(made, job, err);
    if (status == KVAT_OK && strcmp(made, stored) != 0)
        status = kvat_fail(err, KVAT_ERR_DATA,
                           "the store is damaged: the stored request, engine or machine is not the one that was "
                           "measured; measure again with --fresh, or into another folder");
    return status;
}

kvat_status kvat__job_from_record(kvat__job **out, const kvat_run_record *record, kvat_error *err) {
    kvat__job *job = calloc(1, sizeof *job);
    if (!job) return nomem(err);
    json_t *space = NULL;
    kvat_status status = parse(&job->request, record->request_json, "the stored request", err);
    if (status == KVAT_OK) status = parse(&job->hello, record->engine_json, "the stored engine", err);
    if (status == KVAT_OK) status = parse(&job->describe, record->describe_json, "the stored model", err);
    if (status == KVAT_OK) status = parse(&job->environment, record->environment_json, "the stored machine", err);
    if (status == KVAT_OK) status = parse(&job->note, record->note_json, "the stored note", err);
    if (status == KVAT_OK) status = parse(&space, record->space_json, "the stored space", err);
    if (status == KVAT_OK) status = check_documents(job, err);
    if (status == KVAT_OK) status = check_identity(job, record->identity, err);
    if (status == KVAT_OK) status = kvat_profile_parse(&job->profile, json_object_get(job->request, "profile"), err);
    if (status == KVAT_OK) {
        job->profile->builtin = json_is_true(json_object_get(job->request, "profile_builtin"));
        job->profile->left_out = (size_t)int_of(job->request, "cells_left_out", 0);
        status = complete(job, err);
    }
    if (status == KVAT_OK) status = check_space(job, space, err);
    json_decref(space);
    if (status == KVAT_OK)
        *out = job;
    else
        kvat__job_free(job);
    return status;
}

kvat_status kvat__job_copy(kvat__job **out, const kvat__job *job, kvat_error *err) {
    kvat__job *copy = calloc(1, sizeof *copy);
    json_t *profile = NULL;
    if (!copy) return nomem(err);
    copy->request = json_deep_copy(job->request);
    copy->hello = json_deep_copy(job->hello);
    copy->describe = json_deep_copy(job->describe);
    copy->environment = json_deep_copy(job->environment);
    copy->note = json_deep_copy(job->note);
    kvat_status status = copy->request && copy->hello && copy->describe && copy->environment && copy->note
                             ? kvat_profile_json(&profile, job->profile, err)
                             : nomem(err);
    if (status == KVAT_OK) status = kvat_profile_parse(&copy->profile, profile, err);
    if (status == KVAT_OK) {
        copy->profile->builtin = job->profile->builtin;
        copy->profile->left_out = job->profile->left_out;
        status = complete(copy, err);
    }
    json_decref(profile);
    if (status == KVAT_OK)
        *out = copy;
    else
        kvat__job_free(copy);
    return status;
}

bool kvat__job_eligible(const kvat__job *job, size_t config) {
    bool is_default = config == 0 && !job->default_dropped;
    return is_default || !kvat_space_lossier(job->space, config);
}

/* ---- identities ---- */

kvat_status kvat__job_space_json(json_t **out, const kvat__job *job, kvat_error *err) {
    json_t *array = json_array();
    kvat_status status = array ? KVAT_OK : nomem(err);
    for (size_t i = 0; status == KVAT_OK && i < kvat_space_count(job->space); i++) {
        json_t *settings = NULL;
        status = kvat_space_settings(&settings, job->space, i, -1, err);
        if (status == KVAT_OK && json_array_append_new(array, settings) != 0) status = nomem(err);
    }
    if (status == KVAT_OK)
        *out = array;
    else
        json_decref(array);
    return status;
}

kvat_status kvat__job_identity(char *hex, const kvat__job *job, kvat_error *err) {
    kvat_buf text = KVAT_BUF_INIT;
    json_t *all =
        json_pack("{s:O, s:O?, s:O?}", "request", job->request, "engine", json_object_get(job->hello, "engine"),
                  "machine", json_object_get(job->environment, "machine"));
    kvat_status status = all ? kvat_json_put(&text, all) : nomem(err);
    if (status == KVAT_OK) status = kvat_buf_status(&text, err);
    if (status == KVAT_OK) kvat_hash_bytes(hex, text.bytes, text.length);
    kvat_buf_clear(&text);
    json_decref(all);
    return status;
}
