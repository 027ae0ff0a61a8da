// The table of knobs, and settings read from and written to JSON by it.
// Must not know: models in memory, contexts; what is declared to the core is in knobs_declare.c.
#include "knobs.h"

#include <string.h>

#include "kvat/units.h"
#include "llama.h"

static const kvat_knob_word on_off[] = {{"on", 1}, {"off", 0}, {NULL, 0}};
static const kvat_knob_word flash_words[] = {
    {"on", KVAT_FLASH_SETTING_ON}, {"off", KVAT_FLASH_SETTING_OFF}, {"auto", KVAT_FLASH_SETTING_AUTO}, {NULL, 0}};
static const kvat_knob_word cache_words[] = {{"f16", GGML_TYPE_F16},       {"bf16", GGML_TYPE_BF16},
                                             {"f32", GGML_TYPE_F32},       {"q8_0", GGML_TYPE_Q8_0},
                                             {"q5_1", GGML_TYPE_Q5_1},     {"q5_0", GGML_TYPE_Q5_0},
                                             {"q4_1", GGML_TYPE_Q4_1},     {"q4_0", GGML_TYPE_Q4_0},
                                             {"iq4_nl", GGML_TYPE_IQ4_NL}, {NULL, 0}};
static const kvat_knob_word load_words[] = {{"auto", LLAMA_LOAD_MODE_AUTO},
                                            {"mmap", LLAMA_LOAD_MODE_MMAP},
                                            {"none", LLAMA_LOAD_MODE_NONE},
                                            {"dio", LLAMA_LOAD_MODE_DIRECT_IO},
                                            {"mlock", LLAMA_LOAD_MODE_MLOCK},
                                            {"mmap+mlock", LLAMA_LOAD_MODE_MMAP_MLOCK},
                                            {NULL, 0}};
static const kvat_knob_word split_words[] = {
    {"none", LLAMA_SPLIT_MODE_NONE}, {"layer", LLAMA_SPLIT_MODE_LAYER}, {"row", LLAMA_SPLIT_MODE_ROW}, {NULL, 0}};
static const kvat_knob_word numa_words[] = {{"off", GGML_NUMA_STRATEGY_DISABLED},
                                            {"distribute", GGML_NUMA_STRATEGY_DISTRIBUTE},
                                            {"isolate", GGML_NUMA_STRATEGY_ISOLATE},
                                            {"numactl", GGML_NUMA_STRATEGY_NUMACTL},
                                            {NULL, 0}};

#define AT(member) offsetof(kvat_settings, member)

static const kvat_knob_row rows[] = {
    {"flash-attn", KVAT_KNOB_CONTEXT, AT(flash), flash_words, 0, 0},
    {"cache-type-k", KVAT_KNOB_CONTEXT, AT(type_k), cache_words, 0, 0},
    {"cache-type-v", KVAT_KNOB_CONTEXT, AT(type_v), cache_words, 0, 0},
    {"threads", KVAT_KNOB_REQUEST, AT(threads), NULL, 1, KVAT_CPU_MOST},
    {"threads-batch", KVAT_KNOB_REQUEST, AT(threads_batch), NULL, 1, KVAT_CPU_MOST},
    {"batch-size", KVAT_KNOB_CONTEXT, AT(batch), NULL, 1, 1 << 20},
    {"ubatch-size", KVAT_KNOB_CONTEXT, AT(ubatch), NULL, 1, 1 << 20},
    {"load-mode", KVAT_KNOB_MODEL, AT(load_mode), load_words, 0, 0},
    {"repack", KVAT_KNOB_MODEL, AT(repack), on_off, 0, 0},
    {"swa-full", KVAT_KNOB_CONTEXT, AT(swa_full), on_off, 0, 0},
    {"kv-unified", KVAT_KNOB_CONTEXT, AT(kv_unified), on_off, 0, 0},
    {"n-gpu-layers", KVAT_KNOB_MODEL, AT(gpu_layers), NULL, -1, 1024},
    {"split-mode", KVAT_KNOB_MODEL, AT(split_mode), split_words, 0, 0},
    {"main-gpu", KVAT_KNOB_MODEL, AT(main_gpu), NULL, 0, 63},
    {"n-cpu-moe", KVAT_KNOB_MODEL, AT(cpu_moe), NULL, 0, KVAT_MODEL_MAX_LAYERS},
    {"kv-offload", KVAT_KNOB_CONTEXT, AT(kv_offload), on_off, 0, 0},
    {"op-offload", KVAT_KNOB_CONTEXT, AT(op_offload), on_off, 0, 0},
    {"numa", KVAT_KNOB_PROCESS, AT(numa), numa_words, 0, 0},
    {"prio", KVAT_KNOB_PROCESS, AT(priority), NULL, -1, 3},
    {"poll", KVAT_KNOB_PROCESS, AT(poll), NULL, 0, 100},
    {"cpu-mask", KVAT_KNOB_PROCESS, AT(cpu_mask), NULL, 0, 0},
    {"cpu-strict", KVAT_KNOB_PROCESS, AT(cpu_strict), NULL, 0, 1},
    {"GOMP_SPINCOUNT", KVAT_KNOB_PROCESS, AT(spin_count), NULL, 0, 2000000000},
};
#define ROWS (sizeof rows / sizeof *rows)

const kvat_knob_row *kvat_knob_find(const char *name) {
    for (size_t i = 0; i < ROWS; i++)
        if (strcmp(rows[i].name, name) == 0) return &rows[i];
    return NULL;
}

static bool is_mask(const kvat_knob_row *row) {
    return !row->words && row->low == 0 && row->high == 0;
}

bool kvat_knob_word_find(int *number, const kvat_knob_row *row, const char *word) {
    for (const kvat_knob_word *w = row->words; w && w->word; w++)
        if (strcmp(w->word, word) == 0) {
            *number = w->number;
            return true;
        }
    return false;
}

json_t *kvat_knob_json(const kvat_knob_row *row, const kvat_settings *settings) {
    int number;
    if (is_mask(row)) return json_string(settings->cpu_mask);
    memcpy(&number, (const char *)settings + row->offset, sizeof number);
    if (!row->words) return json_integer(number);
    for (const kvat_knob_word *w = row->words; w->word; w++)
        if (w->number == number) return json_string(w->word);
    return json_string("unknown");
}

void kvat_settings_default(kvat_settings *out, const kvat_cpu *cpu) {
    *out = (kvat_settings){
        .numa = GGML_NUMA_STRATEGY_DISABLED,
        .poll = 50,
        .cpu_mask = "none",
        .spin_count = 300000,
        .load_mode = LLAMA_LOAD_MODE_AUTO,
        .repack = 1,
        .gpu_layers = -1,
        .split_mode = LLAMA_SPLIT_MODE_LAYER,
        .flash = KVAT_FLASH_SETTING_AUTO,
        .type_k = GGML_TYPE_F16,
        .type_v = GGML_TYPE_F16,
        .batch = 2048,
        .ubatch = 512,
        .kv_offload = 1,
        .op_offload = 1,
        .threads = cpu->server_threads,
        .threads_batch = cpu->server_threads,
    };
}

static int unknown_knob(const char *name, kvat_fault *fault) {
    const char *names[ROWS];
    for (size_t i = 0; i < ROWS; i++) names[i] = rows[i].name;
    int nearest = kvat_nearest_word(name, names, ROWS);
    if (nearest < 0)
        return kvat_fault_set(fault, KVAT_FAULT_INVALID_SETTING, name, "llama.cpp has no knob \"%.60s\"", name);
    return kvat_fault_set(fault, KVAT_FAULT_INVALID_SETTING, name, "llama.cpp has no knob \"%.60s\"; did you mean %s?",
                          name, names[nearest]);
}

static const char *call_of(kvat_knob_scope scope) {
    switch (scope) {
    case KVAT_KNOB_PROCESS:
        return "the start of the process";
    case KVAT_KNOB_MODEL:
        return "load";
    case KVAT_KNOB_CONTEXT:
        return "prepare";
    case KVAT_KNOB_REQUEST:
        return "run";
    }
    return "another call";
}

static int read_mask(kvat_settings *settings, const kvat_knob_row *row, const char *text, kvat_fault *fault) {
    size_t n = text ? strlen(text) : 0;
    bool hex = n > 2 && n < sizeof settings->cpu_mask && strncmp(text, "0x", 2) == 0 &&
               strspn(text + 2, "0123456789abcdefABCDEF") == n - 2;
    if (!hex && !(text && strcmp(text, "none") == 0))
        return kvat_fault_set(fault, KVAT_FAULT_INVALID_SETTING, row->name,
                              "%s must be none or a hexadecimal mask like 0xf", row->name);
    memcpy(settings->cpu_mask, text, n + 1);
    return 0;
}

static int read_one(kvat_settings *settings, const kvat_knob_row *row, const json_t *value, kvat_fault *fault) {
    int number = 0;
    if (is_mask(row)) return read_mask(settings, row, json_string_value(value), fault);
    if (row->words) {
        const char *word = json_string_value(value);
        if (!word || !kvat_knob_word_find(&number, row, word))
            return kvat_fault_set(fault, KVAT_FAULT_INVALID_SETTING, row->name, "%s cannot be %.60s", row->name,
                                  word ? word : "anything but a word");
    } else {
        json_int_t wide = json_is_integer(value) ? json_integer_value(value) : (json_int_t)row->low - 1;
        if (wide < row->low || wide > row->high)
            return kvat_fault_set(fault, KVAT_FAULT_INVALID_SETTING, row->name,
                                  "%s must be a whole number from %d to %d", row->name, row->low, row->high);
        number = (int)wide;
    }
    memcpy((char *)settings + row->offset, &number, sizeof number);
    return 0;
}

int kvat_settings_read(kvat_settings *settings, const json_t *json, unsigned scopes, kvat_fault *fault) {
    if (!json) return 0;
    if (!json_is_object(json))
        return kvat_fault_set(fault, KVAT_FAULT_INVALID_SETTING, NULL, "settings: expected an object");
    kvat_settings changed = *settings;
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)json, name, value) {
        const kvat_knob_row *row = kvat_knob_find(name);
        if (!row) return unknown_knob(name, fault);
        if (!((unsigned)row->scope & scopes))
            return kvat_fault_set(fault, KVAT_FAULT_INVALID_SETTING, name, "%s takes effect at %s, not here", name,
                                  call_of(row->scope));
        if (read_one(&changed, row, value, fault) != 0) return -1;
    }
    *settings = changed;
    return 0;
}

void kvat_settings_take(kvat_settings *to, const kvat_settings *from, unsigned scopes) {
    for (size_t i = 0; i < ROWS; i++) {
        if (!((unsigned)rows[i].scope & scopes)) continue;
        size_t n = is_mask(&rows[i]) ? sizeof to->cpu_mask : sizeof(int);
        memcpy((char *)to + rows[i].offset, (const char *)from + rows[i].offset, n);
    }
}

json_t *kvat_settings_effective(const json_t *asked, const kvat_settings *in_force) {
    json_t *out = json_object();
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)asked, name, value) {
        const kvat_knob_row *row = kvat_knob_find(name);
        if (!row || json_object_set_new(out, name, kvat_knob_json(row, in_force)) == 0) continue;
        json_decref(out);
        return NULL;
    }
    return out;
}
