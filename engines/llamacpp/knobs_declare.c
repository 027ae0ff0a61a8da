// What the worker tells the core about each knob: values for this model and machine, search, rules, or why it is
// absent. Must not know: models in memory, contexts.
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "gguf_types.h"
#include "knobs.h"

/* Builds JSON and remembers whether memory ran out. */
typedef struct declaration {
    json_t *knobs, *absent;
    const kvat_situation *at;
    kvat_settings defaults;
    bool failed;
} declaration;

static void put(declaration *d, json_t *object, const char *member, json_t *value) {
    if (json_object_set_new(object, member, value) != 0) d->failed = true;
}

static void append(declaration *d, json_t *array, json_t *value) {
    if (json_array_append_new(array, value) != 0) d->failed = true;
}

static json_t *texts(declaration *d, const char *const *words) {
    json_t *array = json_array();
    for (; *words; words++) append(d, array, json_string(*words));
    return array;
}

static json_t *numbers(declaration *d, const int *values, size_t n) {
    json_t *array = json_array();
    for (size_t i = 0; i < n; i++) append(d, array, json_integer(values[i]));
    return array;
}

static void absent(declaration *d, const char *name, const char *reason) {
    append(d, d->absent, json_pack("{s:s, s:s}", "name", name, "reason", reason));
}

static const char *scope_word(kvat_knob_scope scope) {
    switch (scope) {
    case KVAT_KNOB_PROCESS:
        return "process";
    case KVAT_KNOB_MODEL:
        return "model";
    case KVAT_KNOB_CONTEXT:
        return "context";
    case KVAT_KNOB_REQUEST:
        return "request";
    }
    return "";
}

/* What all knobs have; `values` is taken over. The default value comes from the settings of a server without flags. */
static json_t *declare(declaration *d, const char *name, const char *concept, const char *affects, json_t *values,
                       const char *help) {
    const kvat_knob_row *row = kvat_knob_find(name);
    json_t *knob = json_object(), *metrics = json_array();
    put(d, knob, "name", json_string(name));
    if (concept) put(d, knob, "concept", json_string(concept));
    put(d, knob, "type", json_string(row->words || row->low == row->high ? "enum" : "int"));
    put(d, knob, "values", values);
    put(d, knob, "default", kvat_knob_json(row, &d->defaults));
    put(d, knob, "scope", json_string(scope_word(row->scope)));
    static const struct {
        char letter;
        const char *metric;
    } letters[] = {{'t', "ttft"}, {'d', "decode"}, {'m', "memory"}, {'q', "quality"}};
    for (size_t i = 0; i < sizeof letters / sizeof *letters; i++)
        if (strchr(affects, letters[i].letter)) append(d, metrics, json_string(letters[i].metric));
    put(d, knob, "affects", metrics);
    put(d, knob, "help", json_string(help));
    append(d, d->knobs, knob);
    return knob;
}

/* Every value but the default rounds differently. */
static void others_equivalent(declaration *d, json_t *knob) {
    json_t *map = json_object();
    size_t i;
    json_t *value;
    json_array_foreach(json_object_get(knob, "values"), i, value) {
        char text[24];
        if (json_equal(value, json_object_get(knob, "default"))) continue;
        if (json_is_integer(value))
            snprintf(text, sizeof text, "%d", (int)json_integer_value(value));
        else
            snprintf(text, sizeof text, "%s", json_string_value(value) ? json_string_value(value) : "");
        put(d, map, text, json_string("equivalent"));
    }
    put(d, knob, "numerics", map);
}

static void declare_flash(declaration *d) {
    static const char *const values[] = {"on", "off", "auto", NULL};
    d->defaults.flash = d->at->flash_auto;
    bool on = d->at->flash_auto == KVAT_FLASH_SETTING_ON;
    json_t *knob = declare(d, "flash-attn", "attention", "tdm", texts(d, values),
                           "fused attention; auto is what the engine finds supported here");
    put(d, knob, "aliases", json_pack("{s:s}", "auto", on ? "on" : "off"));
    put(d, knob, "numerics", json_pack("{s:s}", on ? "off" : "on", "equivalent"));
}

/* A narrower type than f16 loses bits; f32 only rounds differently. Blocks must divide every head. */
static json_t *cache_values(declaration *d, json_t *numerics, json_t *quantised, int64_t head_size) {
    static const char *const names[] = {"f16", "bf16", "f32", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"};
    json_t *values = json_array();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const kvat_gguf_tensor_type *type = kvat_gguf_tensor_type_get((uint32_t)kvat_gguf_tensor_type_find(names[i]));
        if (head_size % type->block) continue;
        append(d, values, json_string(names[i]));
        if (strcmp(names[i], "f16") != 0)
            put(d, numerics, names[i], json_string(strcmp(names[i], "f32") == 0 ? "equivalent" : "lossy"));
        if (type->block > 1) append(d, quantised, json_string(names[i]));
    }
    return values;
}

static void declare_cache(declaration *d, const char *name, const char *concept, int64_t head_size, const char *help) {
    json_t *numerics = json_object(), *quantised = json_array();
    bool is_value = strcmp(name, "cache-type-v") == 0;
    json_t *knob = declare(d, name, concept, "tdmq", cache_values(d, numerics, quantised, head_size), help);
    put(d, knob, "numerics", numerics);
    if (is_value && json_array_size(quantised))
        put(d, knob, "requires",
            json_pack("[{s:O, s:{s:[s, s]}}]", "if", quantised, "then", "flash-attn", "on", "auto"));
    json_decref(quantised);
}

static bool add_number(int *list, size_t *n, int value) {
    for (size_t i = 0; i < *n; i++)
        if (list[i] == value) return false;
    size_t at = *n;
    for (; at > 0 && list[at - 1] > value; at--) list[at] = list[at - 1];
    list[at] = value;
    (*n)++;
    return true;
}

/* All counts on small machines; on large ones the small counts, then steps, and the counts that mean something. */
static json_t *thread_values(declaration *d, int fallback) {
    int list[256];
    size_t n = 0;
    const kvat_cpu *cpu = d->at->cpu;
    int step = cpu->logical / 128 + 1;
    for (int i = 1; i <= cpu->logical; i += i < 16 ? 1 : step) add_number(list, &n, i);
    add_number(list, &n, cpu->logical);
    add_number(list, &n, cpu->physical);
    add_number(list, &n, (cpu->physical + 1) / 2);
    add_number(list, &n, fallback);
    return numbers(d, list, n);
}

static void declare_threads(declaration *d) {
    json_t *knob = declare(d, "threads", "threads.decode", "td", thread_values(d, d->defaults.threads),
                           "threads that decode one token");
    others_equivalent(d, knob);
    knob = declare(d, "threads-batch", "threads.prefill", "td", thread_values(d, d->defaults.threads_batch),
                   "threads that take in prompts and decode several sequences");
    others_equivalent(d, knob);
}

static void declare_batches(declaration *d) {
    static const int batches[] = {64, 128, 256, 512, 1024, 2048, 4096, 8192};
    static const int ubatches[] = {16, 32, 64, 128, 256, 512, 1024, 2048, 4096};
    json_t *knob = declare(d, "batch-size", "batch.logical", "tm", numbers(d, batches, 8),
                           "most prompt tokens handed to the engine at once");
    others_equivalent(d, knob);
    put(d, knob, "at_most", json_pack("[s]", "context_tokens"));
    knob = declare(d, "ubatch-size", "batch.physical", "tm", numbers(d, ubatches, 9),
                   "most prompt tokens computed at once; compute buffers grow with it");
    others_equivalent(d, knob);
    put(d, knob, "at_most", json_pack("[s, s]", "batch-size", "context_tokens"));
}

static void declare_cache_layout(declaration *d) {
    static const char *const values[] = {"off", "on", NULL};
    json_t *knob = declare(d, "kv-unified", "kv.unified", "tdm", texts(d, values),
                           "several sequences share one cache; without effect for one");
    others_equivalent(d, knob);
    if (d->at->window_tokens == 0) {
        absent(d, "swa-full", "no layer of this model has a sliding window");
        return;
    }
    knob = declare(d, "swa-full", "kv.strategy", "tdm", texts(d, values),
                   "layers with a sliding window keep the whole context");
    others_equivalent(d, knob);
}

static void declare_loading(declaration *d) {
    static const char *const all[] = {"auto", "mmap", "none", "dio", "mlock", "mmap+mlock", NULL};
    static const char *const unlocked[] = {"auto", "mmap", "none", "dio", NULL};
    static const char *const repack[] = {"on", "off", NULL};
    json_t *knob = declare(d, "load-mode", "load.mode", "dm", texts(d, d->at->may_lock ? all : unlocked),
                           "how weights get into memory; auto is mmap unless a device cannot");
    if (d->at->gpus == 0) put(d, knob, "aliases", json_pack("{s:s}", "auto", "mmap"));
    if (!d->at->may_lock)
        absent(d, "load-mode=mlock", "this user may not lock as much memory as the weights take (ulimit -l)");
    knob = declare(d, "repack", "weights.repack", "tdm", texts(d, repack),
                   "rearrange weights at load for this processor's matrix instructions");
    others_equivalent(d, knob);
}

static void declare_process(declaration *d, json_t *knob, const char *flag) {
    put(d, knob, "apply", json_pack("{s:s}", "arg", flag));
}

static void declare_priority(declaration *d) {
    static const int all[] = {-1, 0, 1, 2, 3}, low[] = {-1, 0};
    bool raise = d->at->may_raise_priority;
    json_t *knob = declare(d, "prio", "threads.priority", "td", numbers(d, raise ? all : low, raise ? 5 : 2),
                           "scheduling priority of the engine's threads; 1 to 3 are real-time");
    put(d, knob, "stable", json_pack("[i, i]", -1, 0));
    declare_process(d, knob, "--prio");
}

static void declare_waiting(declaration *d) {
    static const int levels[] = {0, 10, 50, 90, 100};
    static const int spins[] = {0, 1000, 10000, 100000, 300000, 3000000};
    if (d->at->openmp) {
        absent(d, "poll", "this build's threads are OpenMP's, which do not look at it; see GOMP_SPINCOUNT");
    } else {
        declare_process(
            d, declare(d, "poll", "threads.wait", "td", numbers(d, levels, 5), "how long idle threads poll for work"),
            "--poll");
    }
    if (!d->at->gomp) {
        absent(d, "GOMP_SPINCOUNT", "this build does not use GNU OpenMP");
        return;
    }
    json_t *knob = declare(d, "GOMP_SPINCOUNT", "threads.wait", "td", numbers(d, spins, 6),
                           "how long OpenMP threads spin before they sleep; less helps on a busy machine");
    put(d, knob, "apply", json_pack("{s:s}", "env", "GOMP_SPINCOUNT"));
}

/* Hexadecimal mask of the first hardware thread of each core. */
static void mask_text(char out[KVAT_CPU_MASK_BYTES], const bool *cpus) {
    int top = KVAT_CPU_MOST - 4;
    while (top > 0 && !cpus[top] && !cpus[top + 1] && !cpus[top + 2] && !cpus[top + 3]) top -= 4;
    size_t n = (size_t)snprintf(out, KVAT_CPU_MASK_BYTES, "0x");
    for (; top >= 0; top -= 4)
        out[n++] = "0123456789abcdef"[cpus[top] | cpus[top + 1] << 1 | cpus[top + 2] << 2 | cpus[top + 3] << 3];
    out[n] = '\0';
}

static void declare_placement(declaration *d) {
    static const char *const numa[] = {"off", "distribute", "isolate", "numactl", NULL};
    static const int strict[] = {0, 1};
    if (d->at->cpu->numa_nodes > 1)
        declare_process(d, declare(d, "numa", "threads.numa", "tdm", texts(d, numa), "placement over NUMA nodes"),
                        "--numa");
    else
        absent(d, "numa", "this machine has one NUMA node");
    if (d->at->cpu->physical == d->at->cpu->logical) {
        absent(d, "cpu-mask", "each core has one hardware thread, so there is nothing to choose");
        absent(d, "cpu-strict", "without a CPU mask it has no effect");
        return;
    }
    char mask[KVAT_CPU_MASK_BYTES];
    mask_text(mask, d->at->cpu->one_per_core);
    declare_process(d,
                    declare(d, "cpu-mask", "threads.mask", "td", json_pack("[s, s]", "none", mask),
                            "processors the engine's threads may use; the mask given takes one hardware thread a core"),
                    "--cpu-mask");
    json_t *knob = declare(d, "cpu-strict", "threads.pin", "td", numbers(d, strict, 2),
                           "pin each thread to one processor of the mask");
    put(d, knob, "requires", json_pack("[{s:[i], s:{s:[s]}}]", "if", 1, "then", "cpu-mask", mask));
    declare_process(d, knob, "--cpu-strict");
}

static const char *const gpu_knobs[] = {"n-gpu-layers", "split-mode", "main-gpu",     "n-cpu-moe",
                                        "kv-offload",   "op-offload", "tensor-split", NULL};

static json_t *layer_values(declaration *d, int first) {
    int list[80];
    size_t n = 0;
    int layers = (int)d->at->facts->layers + 1;
    add_number(list, &n, first);
    for (int i = 0; i <= 16; i++) add_number(list, &n, layers * i / 16);
    return numbers(d, list, n);
}

static void declare_gpu(declaration *d) {
    static const char *const modes[] = {"layer", "none", "row", NULL}, *const offload[] = {"on", "off", NULL};
    if (d->at->gpus == 0) {
        for (size_t i = 0; gpu_knobs[i]; i++) absent(d, gpu_knobs[i], "no GPU back end in this build, or no GPU");
        return;
    }
    json_t *knob = declare(d, "n-gpu-layers", "gpu.layers", "tdm", layer_values(d, -1),
                           "layers kept on GPUs; -1 is what the engine does by itself: all");
    put(d, knob, "aliases", json_pack("{s:i}", "-1", (int)d->at->facts->layers + 1));
    others_equivalent(d, knob);
    others_equivalent(d, declare(d, "kv-offload", "kv.offload", "tdm", texts(d, offload), "keep the cache on the GPU"));
    others_equivalent(d, declare(d, "op-offload", "gpu.op_offload", "tm", texts(d, offload),
                                 "compute large batches of host weights on the GPU"));
    if (d->at->facts->experts)
        others_equivalent(d, declare(d, "n-cpu-moe", "gpu.experts", "tdm", layer_values(d, 0),
                                     "layers whose experts stay in host memory"));
    else
        absent(d, "n-cpu-moe", "this model has no experts");
    absent(d, "tensor-split", "shares of several GPUs are left to the engine, which goes by their free memory");
    if (d->at->gpus == 1) {
        absent(d, "split-mode", "there is one GPU");
        absent(d, "main-gpu", "there is one GPU");
        return;
    }
    others_equivalent(
        d, declare(d, "split-mode", "gpu.split", "tdm", texts(d, modes), "how several GPUs share the model"));
    int list[16];
    size_t n = 0;
    for (int i = 0; i < d->at->gpus && i < 16; i++) add_number(list, &n, i);
    declare(d, "main-gpu", "gpu.main", "tdm", numbers(d, list, n), "the GPU that holds what is not split");
}

/* ---- search ---- */

static json_t *knob_named(const declaration *d, const char *name) {
    size_t i;
    json_t *knob;
    json_array_foreach(d->knobs, i, knob) {
        const char *is = json_string_value(json_object_get(knob, "name"));
        if (is && strcmp(is, name) == 0) return knob;
    }
    return NULL;
}

static bool has(const json_t *array, const json_t *value) {
    size_t i;
    json_t *item;
    json_array_foreach((json_t *)array, i, item) if (json_equal(item, value)) return true;
    return false;
}

/* Gives the knob its default and those of `candidates` (taken over) it can have, if the product stays in bounds. */
static void search(declaration *d, size_t *product, const char *name, json_t *candidates) {
    json_t *knob = knob_named(d, name), *list = json_array();
    const json_t *values = json_object_get(knob, "values"), *standard = json_object_get(knob, "default");
    size_t i;
    json_t *value;
    json_array_foreach(candidates, i, value) if (has(values, value) && !has(list, value) &&
                                                 json_array_append(list, value) != 0) d->failed = true;
    if (knob && !has(list, standard) && json_array_insert(list, 0, (json_t *)standard) != 0) d->failed = true;
    size_t n = json_array_size(list);
    if (knob && n > 1 && *product * n <= KVAT_SEARCH_MOST) {
        put(d, knob, "search", json_incref(list));
        *product *= n;
    }
    json_decref(list);
    json_decref(candidates);
}

static json_t *thread_candidates(declaration *d, bool half) {
    const kvat_cpu *cpu = d->at->cpu;
    json_t *list = json_array();
    if (half) append(d, list, json_integer((cpu->physical + 1) / 2));
    append(d, list, json_integer(cpu->physical));
    append(d, list, json_integer(cpu->logical));
    return list;
}

/* In order of what usually matters, until the product would pass KVAT_SEARCH_MOST. */
static void declare_search(declaration *d) {
    size_t product = 1;
    bool smt = d->at->cpu->logical > d->at->cpu->physical;
    search(d, &product, "flash-attn", json_pack("[s, s]", "on", "off"));
    search(d, &product, "ubatch-size", json_pack("[i, i, i]", 128, 256, 512));
    search(d, &product, "threads", thread_candidates(d, true));
    if (d->at->gpus) search(d, &product, "n-gpu-layers", json_pack("[i, i]", -1, 0));
    if (d->at->window_tokens) search(d, &product, "swa-full", json_pack("[s, s]", "off", "on"));
    search(d, &product, "threads-batch", thread_candidates(d, !smt));
    search(d, &product, "cache-type-k", json_pack("[s, s]", "f16", "q8_0"));
    search(d, &product, "cache-type-v", json_pack("[s, s]", "f16", "q8_0"));
}

bool kvat_knobs_declare(json_t *knobs, json_t *absent_list, const kvat_situation *situation) {
    declaration d = {.knobs = knobs, .absent = absent_list, .at = situation};
    const kvat_model_facts *facts = situation->facts;
    kvat_settings_default(&d.defaults, situation->cpu);
    declare_flash(&d);
    declare_cache(&d, "cache-type-k", "kv.type.k", facts->k_head_size, "data type of the K cache");
    declare_cache(&d, "cache-type-v", "kv.type.v", facts->v_head_size,
                  "data type of the V cache; quantised needs flash-attn");
    declare_threads(&d);
    declare_batches(&d);
    declare_cache_layout(&d);
    declare_loading(&d);
    declare_gpu(&d);
    declare_priority(&d);
    declare_waiting(&d);
    declare_placement(&d);
    declare_search(&d);
    return !d.failed;
}
