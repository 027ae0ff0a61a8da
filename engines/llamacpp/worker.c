// The protocol's shorter methods, the table of all, and the process's arguments.
// Must not know: how models are loaded or run.
#include "worker.h"

#include <stdlib.h>
#include <string.h>

#include "ggml-backend.h"
#include "kvat/units.h"
#include "llama.h"
#include "resources.h"

int kvat__llamacpp_no_memory(kvat_fault *fault) {
    return kvat_fault_set(fault, KVAT_FAULT_OOM_HOST, NULL, "no memory for the answer");
}

int kvat__llamacpp_model_name(const char **out, const json_t *params, kvat_fault *fault) {
    *out = json_string_value(json_object_get(params, "model"));
    if (*out && **out) return 0;
    return kvat_fault_set(fault, KVAT_FAULT_BAD_MODEL, NULL, "params.model: expected a path or synthetic:NAME");
}

int kvat__llamacpp_integer(int64_t *out, const json_t *object, const char *member, int64_t low, int64_t high,
                           int64_t fallback, kvat_fault *fault) {
    const json_t *value = json_object_get(object, member);
    *out = value ? json_integer_value(value) : fallback;
    if ((!value || json_is_integer(value)) && *out >= low && *out <= high) return 0;
    return kvat_fault_set(fault, KVAT_FAULT_INVALID_SETTING, NULL, "%s: expected a whole number from %lld to %lld",
                          member, (long long)low, (long long)high);
}

/* ---- load ---- */

/* The settings of the process belong to every answer that tells what is in force. */
static int add_process(json_t *effective, const kvat_settings *settings) {
    static const char *const names[] = {"numa", "prio", "poll", "cpu-mask", "cpu-strict", "GOMP_SPINCOUNT"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (json_object_set_new(effective, names[i], kvat_knob_json(kvat_knob_find(names[i]), settings)) != 0)
            return -1;
    return 0;
}

/* A setting of the process can only be confirmed here, not changed. */
static int check_process(const kvat_settings *asked, const kvat_settings *now, const json_t *json, kvat_fault *fault) {
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)json, name, value) {
        const kvat_knob_row *row = kvat_knob_find(name);
        if (row->scope != KVAT_KNOB_PROCESS) continue;
        json_t *wanted = kvat_knob_json(row, asked), *real = kvat_knob_json(row, now);
        bool same = json_equal(wanted, real);
        json_decref(wanted);
        json_decref(real);
        if (!same)
            return kvat_fault_set(fault, KVAT_FAULT_INVALID_SETTING, name, "%s is set at the start of the process",
                                  name);
    }
    return 0;
}

static int load(json_t **result, void *data, kvat_serve *serve, const json_t *params, kvat_fault *fault) {
    kvat_llamacpp_worker *worker = data;
    kvat_llama *engine = &worker->engine;
    const json_t *settings = json_object_get(params, "settings");
    kvat_settings asked;
    const char *name;
    worker->serve = serve;
    kvat_settings_default(&asked, &engine->cpu);
    if (kvat__llamacpp_model_name(&name, params, fault) != 0 ||
        kvat_settings_read(&asked, settings, KVAT_KNOB_MODEL | KVAT_KNOB_PROCESS, fault) != 0 ||
        check_process(&asked, &engine->settings, settings, fault) != 0 ||
        kvat_llama_open(engine, name, false, fault) != 0)
        return -1;
    if (engine->settings.priority > 0 && !kvat_cpu_may_raise_priority())
        return kvat_fault_set(fault, KVAT_FAULT_UNSUPPORTED, "prio", "this user may not raise the priority of threads");
    int64_t start = kvat_now_ns();
    if (kvat_llama_load(engine, &asked, fault) != 0) return -1;
    int64_t spent = kvat_now_ns() - start;
    json_t *effective = kvat_settings_effective(settings, &engine->settings);
    if (!effective || add_process(effective, &engine->settings) != 0) {
        json_decref(effective);
        return kvat__llamacpp_no_memory(fault);
    }
    *result = json_pack("{s:o, s:I, s:{s:I}}", "effective", effective, "load_ns", (json_int_t)spent, "memory",
                        "model_bytes", (json_int_t)llama_model_size(engine->model));
    return *result ? 0 : kvat__llamacpp_no_memory(fault);
}

/* ---- prepare ---- */

static json_t *memory_json(const kvat_llama *engine) {
    kvat_breakdown seen;
    if (!kvat_breakdown_get(&seen, engine->context))
        return json_pack("{s:I}", "model_bytes", (json_int_t)llama_model_size(engine->model));
    return json_pack("{s:I, s:I, s:I}", "model_bytes", (json_int_t)seen.model_bytes, "kv_bytes",
                     (json_int_t)seen.kv_bytes, "compute_bytes", (json_int_t)seen.compute_bytes);
}

static int prepare(json_t **result, void *data, kvat_serve *serve, const json_t *params, kvat_fault *fault) {
    kvat_llamacpp_worker *worker = data;
    kvat_llama *engine = &worker->engine;
    const json_t *settings = json_object_get(params, "settings");
    kvat_settings asked;
    int64_t context_tokens, sequences;
    worker->serve = serve;
    kvat_settings_default(&asked, &engine->cpu);
    asked.threads = engine->settings.threads;
    asked.threads_batch = engine->settings.threads_batch;
    if (kvat_settings_read(&asked, settings, KVAT_KNOB_CONTEXT | KVAT_KNOB_REQUEST, fault) != 0 ||
        kvat__llamacpp_integer(&context_tokens, params, "context_tokens", 1, INT32_MAX, 0, fault) != 0 ||
        kvat__llamacpp_integer(&sequences, params, "sequences", 1, INT32_MAX, 1, fault) != 0)
        return -1;
    int64_t start = kvat_now_ns();
    /* Pools carry settings of the process, which `asked` has from the defaults: keep those in force. */
    kvat_settings with_process = engine->settings;
    kvat_settings_take(&with_process, &asked, KVAT_KNOB_CONTEXT | KVAT_KNOB_REQUEST);
    if (kvat_llama_prepare(engine, &with_process, context_tokens, sequences, fault) != 0) return -1;
    int64_t spent = kvat_now_ns() - start;
    *result = json_pack("{s:o, s:I, s:I, s:o}", "effective", kvat_settings_effective(settings, &engine->settings),
                        "context_tokens", (json_int_t)kvat_llama_context_tokens(engine), "prepare_ns",
                        (json_int_t)spent, "memory", memory_json(engine));
    return *result ? 0 : kvat__llamacpp_no_memory(fault);
}

/* ---- resources ---- */

static json_t *device_resources(void) {
    json_t *devices = json_array();
    for (size_t i = 0; i < ggml_backend_dev_count(); i++) {
        ggml_backend_dev_t device = ggml_backend_dev_get(i);
        if (ggml_backend_dev_type(device) != GGML_BACKEND_DEVICE_TYPE_GPU) continue;
        size_t free_bytes = 0, total = 0;
        ggml_backend_dev_memory(device, &free_bytes, &total);
        json_int_t used = (json_int_t)(total - free_bytes);
        json_array_append_new(devices,
                              json_pack("{s:s, s:I, s:I, s:s}", "name", ggml_backend_dev_name(device), "current_bytes",
                                        used, "peak_bytes", used, "source", "device, all processes"));
    }
    return devices;
}

static int resources(json_t **result, void *data, kvat_serve *serve, const json_t *params, kvat_fault *fault) {
    kvat_llamacpp_worker *worker = data;
    (void)serve;
    kvat_resources seen;
    if (json_is_true(json_object_get(params, "reset"))) worker->peak_reset = kvat_resources_reset();
    if (!kvat_resources_read(&seen))
        return kvat_fault_set(fault, KVAT_FAULT_UNSUPPORTED, NULL, "the system does not tell this process's memory");
    *result = json_pack("{s:{s:I, s:I, s:s}, s:o}", "host", "current_bytes", (json_int_t)seen.current_bytes,
                        "peak_bytes", (json_int_t)seen.peak_bytes, "source",
                        worker->peak_reset ? "VmHWM" : "VmHWM since the start", "devices", device_resources());
    return *result ? 0 : kvat__llamacpp_no_memory(fault);
}

/* ---- tokenize ---- */

static json_t *token_ids(const struct llama_model *model, const char *text, size_t n, kvat_fault *fault) {
    const struct llama_vocab *vocab = llama_model_get_vocab(model);
    int32_t room = (int32_t)n + 2;
    llama_token *ids = malloc((size_t)room * sizeof *ids);
    if (!ids) {
        kvat__llamacpp_no_memory(fault);
        return NULL;
    }
    int32_t count = llama_tokenize(vocab, text, (int32_t)n, ids, room, false, false);
    json_t *list = count >= 0 ? json_array() : NULL;
    for (int32_t i = 0; list && i < count; i++)
        if (json_array_append_new(list, json_integer(ids[i])) != 0) {
            json_decref(list);
            list = NULL;
        }
    free(ids);
    if (!list) kvat_fault_set(fault, KVAT_FAULT_INTERNAL, NULL, "the text could not be cut into tokens");
    return list;
}

static struct llama_model *vocabulary_only(const kvat_llama *engine) {
    struct llama_model_params params = llama_model_default_params();
    params.vocab_only = true;
    return llama_model_load_from_file(engine->path, params);
}

static int tokenize(json_t **result, void *data, kvat_serve *serve, const json_t *params, kvat_fault *fault) {
    kvat_llamacpp_worker *worker = data;
    kvat_llama *engine = &worker->engine;
    const json_t *text = json_object_get(params, "text");
    (void)serve;
    if (!engine->path)
        return kvat_fault_set(fault, KVAT_FAULT_INVALID_SETTING, NULL, "tokenize before describe or load");
    if (!json_is_string(text) || json_string_length(text) > INT32_MAX / 2)
        return kvat_fault_set(fault, KVAT_FAULT_INVALID_SETTING, NULL, "params.text: expected a string");
    if (strcmp(engine->facts.tokenizer, "no_vocab") == 0 || strcmp(engine->facts.tokenizer, "none") == 0)
        return kvat_fault_set(fault, KVAT_FAULT_UNSUPPORTED, NULL, "this model has no tokenizer");
    struct llama_model *own = engine->model ? NULL : vocabulary_only(engine);
    const struct llama_model *model = engine->model ? engine->model : own;
    if (!model) return kvat__llama_fault(engine, KVAT_FAULT_BAD_MODEL, "libllama could not read the vocabulary", fault);
    json_t *ids = token_ids(model, json_string_value(text), json_string_length(text), fault);
    llama_model_free(own);
    if (!ids) return -1;
    *result = json_pack("{s:o}", "ids", ids);
    return *result ? 0 : kvat__llamacpp_no_memory(fault);
}

/* ---- release ---- */

static int release(json_t **result, void *data, kvat_serve *serve, const json_t *params, kvat_fault *fault) {
    kvat_llamacpp_worker *worker = data;
    const char *what = json_string_value(json_object_get(params, "what"));
    (void)serve;
    if (what && strcmp(what, "context") == 0)
        kvat_llama_unprepare(&worker->engine);
    else if (what && strcmp(what, "model") == 0)
        kvat_llama_unload(&worker->engine);
    else
        return kvat_fault_set(fault, KVAT_FAULT_INVALID_SETTING, NULL,
                              "params.what: expected \"context\" or \"model\"");
    *result = json_object();
    return *result ? 0 : kvat__llamacpp_no_memory(fault);
}

const kvat_serve_ops kvat_llamacpp_ops = {
    .initialize = kvat__llamacpp_initialize,
    .describe = kvat__llamacpp_describe,
    .load = load,
    .prepare = prepare,
    .run = kvat__llamacpp_run,
    .resources = resources,
    .tokenize = tokenize,
    .release = release,
};

/* ---- arguments ---- */

static int read_argument(kvat_settings *settings, const char *name, const char *value, kvat_fault *fault) {
    const kvat_knob_row *row = kvat_knob_find(name);
    if (!row || row->scope != KVAT_KNOB_PROCESS || !value)
        return kvat_fault_set(fault, KVAT_FAULT_INVALID_SETTING, name, "unknown argument --%.64s, or no value after it",
                              name);
    int64_t number = 0;
    bool is_number = !row->words && row->low != row->high;
    if (is_number) {
        char *end;
        number = strtoll(value, &end, 10);
        if (end == value || *end) number = INT64_MIN;
    }
    json_t *json = json_object();
    json_object_set_new(json, name, is_number ? json_integer(number) : json_string(value));
    int failed = kvat_settings_read(settings, json, KVAT_KNOB_PROCESS, fault);
    json_decref(json);
    return failed;
}

int kvat_llamacpp_arguments(kvat_settings *out, char *const *argv, kvat_fault *fault) {
    kvat_cpu cpu;
    kvat_cpu_look(&cpu);
    kvat_settings_default(out, &cpu);
    kvat_fault ignored;
    const char *spin = getenv("GOMP_SPINCOUNT");
    if (spin && *spin && read_argument(out, "GOMP_SPINCOUNT", spin, &ignored) != 0)
        out->spin_count = -1; /* unlike any value asked for */
    for (; *argv; argv++) {
        char name[64];
        if (strncmp(*argv, "--", 2) != 0)
            return kvat_fault_set(fault, KVAT_FAULT_INVALID_SETTING, NULL, "unexpected argument %.64s", *argv);
        size_t n = strcspn(*argv + 2, "=");
        snprintf(name, sizeof name, "%.*s", (int)(n < sizeof name ? n : sizeof name - 1), *argv + 2);
        const char *value = (*argv)[2 + n] ? *argv + 3 + n : *++argv;
        if (read_argument(out, name, value, fault) != 0) return -1;
        if (!value) break;
    }
    return 0;
}
