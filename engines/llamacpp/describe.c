// Answers to `initialize` and `describe`: what this build is, what the model is, and what can be tuned.
// Must not know: how models are loaded or run.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "gguf_types.h"
#include "llama.h"
#include "worker.h"

/* ---- initialize ---- */

/* "CPU : AVX2 = 1 | OPENMP = 1 | …" as a list of what is on. */
static json_t *build_flags(void) {
    json_t *flags = json_array();
    char *text = strdup(llama_print_system_info()), *rest = NULL;
    for (char *part = text ? strtok_r(text, "|:", &rest) : NULL; part; part = strtok_r(NULL, "|:", &rest)) {
        char name[64], value[16];
        if (sscanf(part, " %63s = %15s", name, value) == 2 && strcmp(value, "0") != 0)
            json_array_append_new(flags, json_string(name));
    }
    free(text);
    return flags;
}

static bool has_flag(const json_t *flags, const char *name) {
    size_t i;
    json_t *flag;
    json_array_foreach((json_t *)flags, i, flag) if (strcmp(json_string_value(flag), name) == 0) return true;
    return false;
}

/* Hashes the file that `symbol` was loaded from. */
static void hash_library(kvat_hash *hash, const void *symbol) {
    Dl_info info;
    FILE *file = dladdr(symbol, &info) && info.dli_fname ? fopen(info.dli_fname, "re") : NULL;
    char part[16384];
    for (size_t n = 1; file && n > 0;) {
        n = fread(part, 1, sizeof part, file);
        kvat_hash_update(hash, part, n);
    }
    if (file) fclose(file);
}

/* Builds that call themselves the same version differ, so the libraries' content goes into the name of the build. */
static void build_name(char *out, size_t room) {
    char hex[KVAT_HASH_HEX];
    kvat_hash hash;
    kvat_hash_init(&hash);
    hash_library(&hash, (const void *)(uintptr_t)llama_version);
    hash_library(&hash, (const void *)(uintptr_t)ggml_version);
    hash_library(&hash, (const void *)(uintptr_t)ggml_cpu_init);
    kvat_hash_final(hex, &hash);
    snprintf(out, room, "ggml %s, libraries %.12s", ggml_version(), hex);
}

int kvat__llamacpp_initialize(json_t **result, void *worker, kvat_serve *serve, const json_t *params,
                              kvat_fault *fault) {
    (void)worker;
    (void)serve;
    (void)params;
    const char *version = llama_version();
    char build[96];
    build_name(build, sizeof build);
    *result = json_pack("{s:{s:s, s:s, s:s, s:o}, s:s, s:[s, s, s, s]}", "engine", "name", "llamacpp", "version",
                        version && *version ? version : "unknown", "build", build, "flags", build_flags(), "clock",
                        "real", "capabilities", "marks", "repeats", "cancel", "tokenize");
    return *result ? 0 : kvat__llamacpp_no_memory(fault);
}

/* ---- the model ---- */

/* Text from a file may be anything; JSON must be UTF-8. */
static json_t *safe_string(const char *text) {
    json_t *string = json_string(text);
    if (string) return string;
    char clean[256];
    size_t n = 0;
    for (; n < sizeof clean - 1 && text[n]; n++) clean[n] = (unsigned char)text[n] < 0x80 ? text[n] : '?';
    clean[n] = '\0';
    return json_string(clean);
}

static json_t *model_title(const kvat_llama *engine) {
    if (engine->facts.name[0]) return safe_string(engine->facts.name);
    const char *slash = strrchr(engine->path, '/');
    return safe_string(slash ? slash + 1 : engine->path);
}

static json_t *file_path(const kvat_llama *engine) {
    char *real = realpath(engine->path, NULL);
    json_t *path = json_string(real ? real : engine->path);
    free(real);
    return path;
}

static json_t *describe_model(const kvat_llama *engine, const kvat_foresight *f) {
    const kvat_model_facts *m = &engine->facts;
    json_t *model =
        json_pack("{s:o, s:s, s:s, s:s, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:I}", "name",
                  model_title(engine), "architecture", m->architecture, "format", "gguf", "weight_type", m->weight_type,
                  "identity", m->identity, "synthetic", engine->synthetic, "layers", (json_int_t)m->layers, "heads",
                  (json_int_t)m->heads, "kv_heads", (json_int_t)m->kv_heads, "head_size", (json_int_t)m->k_head_size,
                  "window_tokens", (json_int_t)f->window_tokens, "training_context_tokens",
                  (json_int_t)m->training_context_tokens, "weight_bytes", (json_int_t)m->weight_bytes, "vocabulary",
                  (json_int_t)m->vocabulary, "token_low", (json_int_t)m->token_low, "token_high",
                  (json_int_t)m->token_high, "marks", f->can_trim, "experts", (json_int_t)m->experts);
    json_t *path = file_path(engine); /* NULL when it is not UTF-8: then it cannot be named in JSON, and is left out */
    if (path) json_object_set_new(model, "file", path);
    json_t *hash = m->chat_template_sha256[0] ? json_string(m->chat_template_sha256) : json_null();
    if (json_object_set_new(model, "chat_template_sha256", hash) == 0) return model;
    json_decref(model);
    return NULL;
}

/* ---- devices ---- */

static int64_t host_bytes(void) {
    return (int64_t)sysconf(_SC_PHYS_PAGES) * (int64_t)sysconf(_SC_PAGESIZE);
}

static bool is_gpu(ggml_backend_dev_t device) {
    enum ggml_backend_dev_type type = ggml_backend_dev_type(device);
    return type == GGML_BACKEND_DEVICE_TYPE_GPU || type == GGML_BACKEND_DEVICE_TYPE_IGPU;
}

static json_t *describe_devices(int *gpus) {
    json_t *devices = json_array();
    *gpus = 0;
    for (size_t i = 0; i < ggml_backend_dev_count(); i++) {
        ggml_backend_dev_t device = ggml_backend_dev_get(i);
        bool cpu = ggml_backend_dev_type(device) == GGML_BACKEND_DEVICE_TYPE_CPU;
        if (!cpu && !is_gpu(device)) continue;
        size_t free_bytes = 0, total = 0;
        ggml_backend_dev_memory(device, &free_bytes, &total);
        if (cpu) total = (size_t)host_bytes();
        *gpus += !cpu;
        json_array_append_new(devices,
                              json_pack("{s:s, s:s, s:s, s:I}", "name", ggml_backend_dev_name(device), "kind",
                                        cpu ? "cpu" : "gpu", "description", ggml_backend_dev_description(device),
                                        "memory_bytes", (json_int_t)total));
    }
    return devices;
}

/* ---- memory ---- */

static json_t *describe_types(void) {
    json_t *types = json_object();
    for (const kvat_knob_word *w = kvat_knob_find("cache-type-k")->words; w->word; w++) {
        const kvat_gguf_tensor_type *t = kvat_gguf_tensor_type_get((uint32_t)w->number);
        json_object_set_new(types, w->word,
                            json_pack("{s:i, s:i}", "block", (int)t->block, "bytes", (int)t->block_bytes));
    }
    return types;
}

static json_t *describe_groups(const kvat_foresight *f) {
    json_t *groups = json_array();
    for (int i = 0; i < f->n_groups; i++) {
        const kvat_kv_group *g = &f->groups[i];
        if (g->layers == 0) continue;
        json_array_append_new(groups, json_pack("{s:I, s:I, s:I, s:I}", "layers", (json_int_t)g->layers, "k_elements",
                                                (json_int_t)g->k_elements, "v_elements", (json_int_t)g->v_elements,
                                                "window_tokens", (json_int_t)g->window_tokens));
    }
    return groups;
}

static json_t *describe_fit(const kvat_compute_fit *fit) {
    return json_pack("{s:I, s:I, s:I}", "fixed_bytes", (json_int_t)fit->fixed_bytes, "ubatch_token_bytes",
                     (json_int_t)fit->token_bytes, "ubatch_cell_bytes", (json_int_t)fit->cell_bytes);
}

/* Compute buffers grow with the context too; readers that know a single slope get it at this many cells. */
#define TYPICAL_CELLS 8192

static json_t *describe_memory(const kvat_foresight *f) {
    bool on = f->flash_auto == KVAT_FLASH_SETTING_ON;
    json_int_t token_bytes = f->flash.token_bytes + f->flash.cell_bytes * TYPICAL_CELLS;
    return json_pack("{s:i, s:o, s:o, s:I, s:I, s:I, s:i, s:I, s:{s:o, s:o}}", "cell_padding", KVAT_CELL_PADDING,
                     "kv_groups", describe_groups(f), "types", describe_types(), "weight_bytes",
                     (json_int_t)f->weight_bytes, "fixed_bytes", (json_int_t)(f->process_bytes + f->flash.fixed_bytes),
                     "ubatch_token_bytes", token_bytes, "batch_token_bytes", 0, "process_bytes",
                     (json_int_t)f->process_bytes, "compute_by_attention", "on",
                     describe_fit(on ? &f->flash : &f->plain), "off", describe_fit(&f->plain));
}

/* ---- knobs ---- */

static bool may_lock(int64_t bytes) {
    struct rlimit limit;
    if (geteuid() == 0) return true;
    return getrlimit(RLIMIT_MEMLOCK, &limit) == 0 &&
           (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= (rlim_t)bytes);
}

static int describe_knobs(json_t *result, kvat_llama *engine, const kvat_foresight *f, int gpus) {
    json_t *flags = build_flags(), *knobs = json_array(), *absent = json_array();
    kvat_situation at = {.facts = &engine->facts,
                         .cpu = &engine->cpu,
                         .flash_auto = f->flash_auto,
                         .window_tokens = f->window_tokens,
                         .gpus = gpus,
                         .openmp = has_flag(flags, "OPENMP"),
                         .gomp = dlsym(RTLD_DEFAULT, "GOMP_parallel") && !dlsym(RTLD_DEFAULT, "__kmpc_fork_call"),
                         .may_raise_priority = kvat_cpu_may_raise_priority(),
                         .may_lock = may_lock(engine->facts.weight_bytes)};
    bool done = kvat_knobs_declare(knobs, absent, &at);
    json_decref(flags);
    if (json_object_set_new(result, "knobs", knobs) != 0) done = false;
    if (json_object_set_new(result, "absent", absent) != 0) done = false;
    return done ? 0 : -1;
}

/* llama-server reads these before its flags, so they would change what "without flags" means. */
static json_t *describe_notes(void) {
    json_t *notes = json_array();
    const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    char user[4096];
    snprintf(user, sizeof user, "%s%s/llama.cpp/config.ini",
             xdg && *xdg ? xdg
             : home      ? home
                         : "",
             xdg && *xdg ? "" : "/.config");
    if (access("/etc/llama.cpp/config.ini", F_OK) == 0)
        json_array_append_new(
            notes,
            json_string(
                "llama-server reads /etc/llama.cpp/config.ini here: its defaults may differ from those declared"));
    if (access(user, F_OK) == 0)
        json_array_append_new(notes, json_string("llama-server reads the user's llama.cpp/config.ini here: its "
                                                 "defaults may differ from those declared"));
    return notes;
}

/* Asking the server takes a while and may wake a GPU: only a run pays for that, and only once. */
static bool put_notes(json_t *result, const json_t *params) {
    json_t *notes = describe_notes();
    if (json_object_set_new(result, "notes", notes) != 0) return false;
    return !json_is_true(json_object_get(params, "measuring")) || kvat__llamacpp_note_server(result, notes);
}

int kvat__llamacpp_describe(json_t **result, void *data, kvat_serve *serve, const json_t *params, kvat_fault *fault) {
    kvat_llamacpp_worker *worker = data;
    kvat_llama *engine = &worker->engine;
    const char *name;
    kvat_foresight *f = NULL;
    worker->serve = serve;
    if (kvat__llamacpp_model_name(&name, params, fault) != 0 || kvat_llama_open(engine, name, true, fault) != 0)
        return -1;
    f = calloc(1, sizeof *f);
    if (!f) return kvat__llamacpp_no_memory(fault);
    int failed = kvat_llama_foresee(f, engine, fault);
    if (!failed) {
        int gpus;
        json_t *devices = describe_devices(&gpus);
        *result = json_pack("{s:o, s:o}", "model", describe_model(engine, f), "devices", devices);
        if (*result && !put_notes(*result, params)) {
            json_decref(*result);
            *result = NULL;
        }
        if (*result && f->memory_known && gpus == 0) json_object_set_new(*result, "memory_model", describe_memory(f));
        if (!*result || describe_knobs(*result, engine, f, gpus) != 0) failed = kvat__llamacpp_no_memory(fault);
    }
    free(f);
    return failed;
}
