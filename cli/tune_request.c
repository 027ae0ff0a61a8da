// From the options of `kvat tune` to the library's request.
// It must not start a run.
#include <popt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kvat/file.h"
#include "tune_request.h"

/* ---- settings ---- */

/** Splits "name=value" in place: returns the value, or NULL without '='. */
static const char *split_at_equals(char *text) {
    char *equals = strchr(text, '=');
    if (!equals) return NULL;
    *equals = '\0';
    return equals + 1;
}

static kvat_status set_of(kvat_setting *out, char *text, bool sweep, kvat_error *err) {
    const char *value = split_at_equals(text);
    const char *flag = sweep ? "--sweep" : "--set";
    if (!*text) return kvat_fail(err, KVAT_ERR_USAGE, "%s: a setting's name is missing before '='", flag);
    if (!sweep && (!value || !*value)) return kvat_fail(err, KVAT_ERR_USAGE, "--set %s: expected NAME=VALUE", text);
    if (sweep && value && !*value) return kvat_fail(err, KVAT_ERR_USAGE, "--sweep %s=: expected NAME=V1,V2", text);
    *out = (kvat_setting){text, value};
    return KVAT_OK;
}

/** Takes every `id` of the command line as settings; `*used` counts the pieces kept so far. */
static kvat_status take_settings(kvat_setting *out, size_t *n, cli_tune_request *made, size_t *used,
                                 const cli_args *args, cli_opt id, kvat_error *err) {
    const char *text;
    for (size_t i = 0; (text = cli_text_at(args, id, i)) != NULL; i++) {
        char *copy = strdup(text);
        if (!copy) return kvat_fail(err, KVAT_ERR_NOMEM, "out of memory");
        made->pieces[(*used)++] = copy;
        kvat_status status = set_of(&out[(*n)++], copy, id == CLI_SWEEP, err);
        if (status != KVAT_OK) return status;
    }
    return KVAT_OK;
}

static kvat_status make_settings(cli_tune_request *made, const cli_args *args, kvat_error *err) {
    size_t n_set = args->values[CLI_SET].count, n_sweep = args->values[CLI_SWEEP].count, used = 0;
    kvat_tune_request *request = &made->request;
    made->set = calloc(n_set + 2, sizeof *made->set); /* one place for --device */
    made->sweep = calloc(n_sweep + 1, sizeof *made->sweep);
    made->pieces = calloc(n_set + n_sweep + 1, sizeof *made->pieces);
    if (!made->set || !made->sweep || !made->pieces) return kvat_fail(err, KVAT_ERR_NOMEM, "out of memory");
    request->set = made->set;
    request->sweep = made->sweep;
    kvat_status status = take_settings(made->set, &request->n_set, made, &used, args, CLI_SET, err);
    if (status == KVAT_OK) status = take_settings(made->sweep, &request->n_sweep, made, &used, args, CLI_SWEEP, err);
    return status;
}

/* ---- launch prefix ---- */

/** popt takes the end of the text for a missing quote: a typing mistake that would start something else. */
static bool quotes_are_closed(const char *text) {
    char quote = 0;
    for (; *text; text++) {
        if (*text == '\\' && text[1])
            text++;
        else if (*text == quote)
            quote = 0;
        else if (!quote && (*text == '"' || *text == '\''))
            quote = *text;
    }
    return quote == 0;
}

kvat_status cli_tune_request_launch(cli_tune_request *made, const cli_args *args, kvat_error *err) {
    const char *text = cli_text(args, CLI_LAUNCH);
    int n = 0;
    if (!text) return KVAT_OK;
    if (args->values[CLI_LAUNCH].count > 1)
        return kvat_fail(err, KVAT_ERR_USAGE, "--launch is given more than once; one node at a time is supported");
    if (!quotes_are_closed(text) || poptParseArgvString(text, &n, &made->launch) != 0 || n == 0)
        return kvat_fail(err, KVAT_ERR_USAGE, "--launch: cannot split '%s' into words", text);
    made->request.launch = made->launch;
    return KVAT_OK;
}

/* ---- prompts ---- */

/** <data>/prompts/<profile>.txt (heap), NULL without memory. */
static char *sample_path(const char *data, const char *profile) {
    kvat_buf path = KVAT_BUF_INIT;
    kvat_buf_printf(&path, "%s/prompts/%s.txt", data, profile);
    char *text = kvat_buf_take(&path);
    kvat_buf_clear(&path);
    return text;
}

/** The shipped text of a profile. */
static kvat_status sample_prompts(char **out, const char *profile, kvat_error *err) {
    char *data = NULL;
    if (strchr(profile, '/'))
        return kvat_fail(err, KVAT_ERR_USAGE, "--prompts sample: there is no sample for a profile of your own");
    kvat_status status = kvat_data_dir(&data, err);
    if (status != KVAT_OK) return status;
    char *path = sample_path(data, profile);
    free(data);
    if (!path) return kvat_fail(err, KVAT_ERR_NOMEM, "out of memory");
    if (access(path, R_OK) == 0) {
        *out = path;
        return KVAT_OK;
    }
    free(path);
    return kvat_fail(err, KVAT_ERR_USAGE, "--prompts sample: there is no sample for profile '%s'", profile);
}

static kvat_status make_prompts(cli_tune_request *made, const cli_args *args, kvat_error *err) {
    const char *text = cli_text(args, CLI_PROMPTS), *profile = cli_text(args, CLI_PROFILE);
    if (!text) return KVAT_OK;
    made->request.overrides.prompts_file = text;
    if (strcmp(text, "sample") != 0) return KVAT_OK;
    kvat_status status = sample_prompts(&made->prompts, profile ? profile : "chat-agent", err);
    if (status == KVAT_OK) made->request.overrides.prompts_file = made->prompts;
    return status;
}

/* ---- device ---- */

static const char *string_member(const json_t *object, const char *member) {
    const char *text = json_string_value(json_object_get(object, member));
    return text ? text : "";
}

/** Whether every device of `describe` is the one asked for, by name or kind: then nothing needs to be set. */
static bool only_device(const json_t *describe, const char *wanted) {
    const json_t *devices = json_object_get(describe, "devices");
    size_t n = json_array_size(devices);
    for (size_t i = 0; i < n; i++) {
        const json_t *device = json_array_get(devices, i);
        if (strcasecmp(string_member(device, "name"), wanted) != 0 &&
            strcasecmp(string_member(device, "kind"), wanted) != 0)
            return false;
    }
    return n > 0;
}

/** The knob and value by which this engine can be told to use `wanted`; NULL when it has none. */
static const kvat_knob *device_knob(const char **value, const kvat_knobs *knobs, const char *wanted) {
    size_t index = kvat_knobs_find(knobs, "device");
    const char *text = wanted;
    if (index == SIZE_MAX && strcasecmp(wanted, "cpu") == 0) {
        index = kvat_knobs_find(knobs, "gpu.layers");
        text = "0";
    }
    if (index == SIZE_MAX) return NULL;
    const kvat_knob *knob = kvat_knobs_at(knobs, index);
    size_t level = kvat_knob_level(knob, text);
    if (level == SIZE_MAX) return NULL;
    *value = text;
    return knob;
}

static void list_devices(kvat_buf *out, const json_t *describe) {
    const json_t *devices = json_object_get(describe, "devices");
    for (size_t i = 0; i < json_array_size(devices); i++)
        kvat_buf_printf(out, "%s%s", i ? ", " : "", string_member(json_array_get(devices, i), "name"));
}

/** Why the engine does not have the device, where it says so: of "cuda:1" what it says of "device cuda"; or NULL. */
static const char *absent_because(const json_t *describe, const char *wanted) {
    const json_t *absent = json_object_get(describe, "absent");
    for (size_t i = 0; i < json_array_size(absent); i++) {
        const json_t *entry = json_array_get(absent, i);
        const char *name = string_member(entry, "name");
        if (strncmp(name, "device ", strlen("device ")) != 0) continue;
        name += strlen("device ");
        if (*name && strncasecmp(wanted, name, strlen(name)) == 0) return string_member(entry, "reason");
    }
    return NULL;
}

static kvat_status device_refused(const json_t *describe, const char *wanted, kvat_error *err) {
    kvat_buf names = KVAT_BUF_INIT;
    list_devices(&names, describe);
    const char *why = absent_because(describe, wanted);
    kvat_fail(err, KVAT_ERR_USAGE, "--device %s: %s; it uses: %s", wanted,
              why ? why : "this engine has no setting for it here", names.bytes ? names.bytes : "(it names no device)");
    kvat_buf_clear(&names);
    return KVAT_ERR_USAGE;
}

static kvat_status set_device(cli_tune_request *made, const json_t *describe, const char *wanted, kvat_error *err) {
    kvat_knobs *knobs = NULL;
    const char *value = NULL;
    kvat_status status = kvat_knobs_parse(&knobs, json_object_get(describe, "knobs"), err);
    if (status != KVAT_OK) return status;
    const kvat_knob *knob = device_knob(&value, knobs, wanted);
    if (knob) {
        made->device_setting = strdup(knob->name);
        if (!made->device_setting) status = kvat_fail(err, KVAT_ERR_NOMEM, "out of memory");
    } else {
        status = device_refused(describe, wanted, err);
    }
    if (status == KVAT_OK) made->set[made->request.n_set++] = (kvat_setting){made->device_setting, value};
    kvat_knobs_free(knobs);
    return status;
}

/** Asks the engine what it runs on; a device that cannot be chosen is refused, never ignored. */
static kvat_status make_device(cli_tune_request *made, const cli_context *context, kvat_error *err) {
    const char *wanted = cli_text(context->args, CLI_DEVICE);
    kvat_engine *engine = NULL;
    char *why = NULL;
    json_t *answer = NULL;
    if (!wanted) return KVAT_OK;
    kvat_status status = kvat_engine_resolve(&engine, &why, made->request.engine, made->request.model, err);
    if (status == KVAT_OK) status = kvat_engine_query(&answer, engine, made->request.model, context->cancel, err);
    const json_t *describe = json_object_get(answer, "describe");
    if (status == KVAT_OK && !only_device(describe, wanted)) status = set_device(made, describe, wanted, err);
    json_decref(answer);
    kvat_engine_free(engine);
    free(why);
    return status;
}

/* ---- permissions ---- */

void cli_permit(const cli_args *args) {
    if (cli_has(args, CLI_ALLOW_NETWORK)) setenv("KVAT_ALLOW_NETWORK", "1", 1);
    if (cli_has(args, CLI_TRUST_REMOTE_CODE)) setenv("KVAT_TRUST_REMOTE_CODE", "1", 1);
}

/* ---- all of it ---- */

static void take_plain_options(kvat_tune_request *request, const cli_args *args) {
    kvat_profile_overrides *overrides = &request->overrides;
    request->engine = cli_text(args, CLI_ENGINE);
    request->profile = cli_text(args, CLI_PROFILE);
    overrides->context = cli_text(args, CLI_CONTEXT);
    overrides->output_tokens = cli_text(args, CLI_OUTPUT_TOKENS);
    overrides->batch = cli_text(args, CLI_BATCH);
    overrides->weights = cli_text(args, CLI_WEIGHTS);
    overrides->runs = args->values[CLI_RUNS].integer;
    if (cli_has(args, CLI_WARMUP)) overrides->warmup = args->values[CLI_WARMUP].integer;
    request->whole_outputs = cli_has(args, CLI_WHOLE_OUTPUTS);
    request->safe = cli_has(args, CLI_SAFE);
    request->allow_lossy = cli_has(args, CLI_ALLOW_LOSSY);
    request->max_memory_bytes = args->values[CLI_MAX_MEMORY].integer;
    request->time_ns = args->values[CLI_TIME].integer;
    request->max_trials = args->values[CLI_TRIALS].integer;
    request->trial_limit_ns = args->values[CLI_TRIAL_LIMIT].integer;
    request->seed = (uint64_t)args->values[CLI_SEED].integer;
    request->world_seed = (uint64_t)args->values[CLI_WORLD_SEED].integer;
    request->delta = args->values[CLI_DELTA].real;
    request->p_good = args->values[CLI_CONFIDENCE].real;
    request->directory = cli_text(args, CLI_OUT);
    request->search = cli_text(args, CLI_SEARCH);
    request->winners = cli_text(args, CLI_WINNERS);
    if (request->winners && strcmp(request->winners, "none") == 0) request->winners = "";
    request->fresh = cli_has(args, CLI_FRESH);
    request->force = cli_has(args, CLI_FORCE);
    request->dry_run = cli_has(args, CLI_DRY_RUN);
}

kvat_status cli_tune_request_make(cli_tune_request *out, const cli_context *context, kvat_error *err) {
    const cli_args *args = context->args;
    memset(out, 0, sizeof *out);
    out->request = (kvat_tune_request)KVAT_TUNE_REQUEST_INIT;
    take_plain_options(&out->request, args);
    out->request.argv = context->argv;
    kvat_status status = cli_subject(&out->request.model, args, 0, CLI_MODEL, "MODEL", err);
    if (status == KVAT_OK) status = make_settings(out, args, err);
    if (status == KVAT_OK) status = cli_tune_request_launch(out, args, err);
    if (status == KVAT_OK) status = make_prompts(out, args, err);
    cli_permit(args);
    if (status == KVAT_OK) status = make_device(out, context, err);
    return status;
}

kvat_status cli_tune_request_recall(cli_tune_request *out, const cli_context *context, const cli_args *args,
                                    kvat_error *err) {
    const cli_context then = {context->command, args, context->io, context->cancel, context->argv};
    memset(out, 0, sizeof *out);
    out->request = (kvat_tune_request)KVAT_TUNE_REQUEST_INIT;
    kvat_status status = cli_subject(&out->request.model, args, 0, CLI_MODEL, "MODEL", err);
    if (status == KVAT_OK) status = make_settings(out, args, err);
    if (status == KVAT_OK) status = make_prompts(out, args, err);
    if (status == KVAT_OK) status = make_device(out, &then, err);
    const char *prompts = out->request.overrides.prompts_file;
    if (prompts && access(prompts, R_OK) != 0) out->request.overrides.prompts_file = NULL;
    return status;
}

void cli_tune_request_clear(cli_tune_request *made) {
    for (size_t i = 0; made->pieces && made->pieces[i]; i++) free(made->pieces[i]);
    free(made->pieces);
    free(made->set);
    free(made->sweep);
    free(made->launch);
    free(made->prompts);
    free(made->device_setting);
    memset(made, 0, sizeof *made);
}
