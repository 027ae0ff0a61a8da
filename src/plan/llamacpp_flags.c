/* The worker's knobs in llama-server's words.
 * Must not know the files these words are put into. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "llamacpp.h"

/* In the order in which a command line reads best. A knob that is missing here is never dropped silently: it ends as a
 * comment. */
static const kvat__flag flags[] = {
    {"cache-type-k", KVAT__FLAG_VALUE, "-ctk", "cache-type-k", "LLAMA_ARG_CACHE_TYPE_K", NULL},
    {"cache-type-v", KVAT__FLAG_VALUE, "-ctv", "cache-type-v", "LLAMA_ARG_CACHE_TYPE_V", NULL},
    {"flash-attn", KVAT__FLAG_VALUE, "-fa", "flash-attn", "LLAMA_ARG_FLASH_ATTN", NULL},
    {"threads", KVAT__FLAG_VALUE, "-t", "threads", "LLAMA_ARG_THREADS", NULL},
    {"threads-batch", KVAT__FLAG_VALUE, "-tb", "threads-batch", NULL, NULL},
    {"batch-size", KVAT__FLAG_VALUE, "-b", "batch-size", "LLAMA_ARG_BATCH", NULL},
    {"ubatch-size", KVAT__FLAG_VALUE, "-ub", "ubatch-size", "LLAMA_ARG_UBATCH", NULL},
    {"kv-unified", KVAT__FLAG_PAIR, "--kv-unified", "kv-unified", "LLAMA_ARG_KV_UNIFIED", NULL},
    {"swa-full", KVAT__FLAG_SWITCH, "--swa-full", "swa-full", "LLAMA_ARG_SWA_FULL", NULL},
    {"repack", KVAT__FLAG_PAIR, "--repack", "repack", "LLAMA_ARG_REPACK", NULL},
    {"load-mode", KVAT__FLAG_VALUE, "--load-mode", "load-mode", "LLAMA_ARG_LOAD_MODE", NULL},
    {"lazy-mode", KVAT__FLAG_VALUE, "--lazy-mode", "lazy-mode", "LLAMA_ARG_LAZY_MODE", NULL},
    {"no-host", KVAT__FLAG_SWITCH, "--no-host", "no-host", "LLAMA_ARG_NO_HOST", NULL},
    {"numa", KVAT__FLAG_VALUE, "--numa", "numa", "LLAMA_ARG_NUMA", "off"},
    {"n-gpu-layers", KVAT__FLAG_VALUE, "-ngl", "n-gpu-layers", "LLAMA_ARG_N_GPU_LAYERS", NULL},
    {"split-mode", KVAT__FLAG_VALUE, "-sm", "split-mode", "LLAMA_ARG_SPLIT_MODE", NULL},
    {"tensor-split", KVAT__FLAG_VALUE, "-ts", "tensor-split", "LLAMA_ARG_TENSOR_SPLIT", "auto"},
    {"main-gpu", KVAT__FLAG_VALUE, "-mg", "main-gpu", "LLAMA_ARG_MAIN_GPU", NULL},
    {"device", KVAT__FLAG_VALUE, "-dev", "device", "LLAMA_ARG_DEVICE", "auto"},
    {"cpu-moe", KVAT__FLAG_SWITCH, "--cpu-moe", "cpu-moe", "LLAMA_ARG_CPU_MOE", NULL},
    {"n-cpu-moe", KVAT__FLAG_VALUE, "--n-cpu-moe", "n-cpu-moe", "LLAMA_ARG_N_CPU_MOE", NULL},
    {"n-cpu-ffn", KVAT__FLAG_VALUE, "--n-cpu-ffn", "n-cpu-ffn", "LLAMA_ARG_N_CPU_FFN", NULL},
    {"override-tensor", KVAT__FLAG_VALUE, "-ot", "override-tensor", "LLAMA_ARG_OVERRIDE_TENSOR", "none"},
    {"kv-offload", KVAT__FLAG_PAIR, "--kv-offload", "kv-offload", "LLAMA_ARG_KV_OFFLOAD", NULL},
    {"op-offload", KVAT__FLAG_PAIR, "--op-offload", "op-offload", NULL, NULL},
    {"cpu-mask", KVAT__FLAG_VALUE, "--cpu-mask", "cpu-mask", NULL, "none"},
    {"cpu-mask-batch", KVAT__FLAG_VALUE, "--cpu-mask-batch", "cpu-mask-batch", NULL, "none"},
    {"cpu-range", KVAT__FLAG_VALUE, "--cpu-range", "cpu-range", NULL, "none"},
    {"cpu-range-batch", KVAT__FLAG_VALUE, "--cpu-range-batch", "cpu-range-batch", NULL, "none"},
    {"cpu-strict", KVAT__FLAG_VALUE, "--cpu-strict", "cpu-strict", NULL, NULL},
    {"cpu-strict-batch", KVAT__FLAG_VALUE, "--cpu-strict-batch", "cpu-strict-batch", NULL, NULL},
    {"prio", KVAT__FLAG_VALUE, "--prio", "prio", NULL, NULL},
    {"prio-batch", KVAT__FLAG_VALUE, "--prio-batch", "prio-batch", NULL, NULL},
    {"poll", KVAT__FLAG_VALUE, "--poll", "poll", NULL, NULL},
    {"poll-batch", KVAT__FLAG_VALUE, "--poll-batch", "poll-batch", NULL, NULL},
    {"GOMP_SPINCOUNT", KVAT__FLAG_EXPORT, NULL, NULL, "GOMP_SPINCOUNT", "300000"},
    {"OMP_PROC_BIND", KVAT__FLAG_EXPORT, NULL, NULL, "OMP_PROC_BIND", "default"},
    {"OMP_WAIT_POLICY", KVAT__FLAG_EXPORT, NULL, NULL, "OMP_WAIT_POLICY", "default"},
};
enum { n_flags = sizeof flags / sizeof *flags };

const kvat__flag *kvat__llamacpp_flag(const char *knob) {
    for (size_t i = 0; i < n_flags; i++)
        if (strcmp(flags[i].knob, knob) == 0) return &flags[i];
    return NULL;
}

static bool one_of(const char *text, const char *const *words) {
    for (; *words; words++)
        if (strcmp(text, *words) == 0) return true;
    return false;
}

static void finish_setting(kvat__setting *setting) {
    static const char *const off[] = {"off", "false", "0", "no", NULL};
    const kvat__flag *flag = setting->flag;
    setting->off = one_of(setting->text, off);
    if (!flag) return;
    setting->silent = *setting->text == '\0' || (flag->absent && strcmp(setting->text, flag->absent) == 0) ||
                      (flag->form == KVAT__FLAG_SWITCH && setting->off);
}

static kvat_status read_setting(kvat__setting *out, const char *knob, const json_t *value, kvat_error *err) {
    *out = (kvat__setting){.knob = knob, .flag = kvat__llamacpp_flag(knob)};
    int n = json_is_integer(value) ? snprintf(out->text, sizeof out->text, "%lld", (long long)json_integer_value(value))
                                   : snprintf(out->text, sizeof out->text, "%s", json_string_value(value));
    if (n < 0 || (size_t)n >= sizeof out->text)
        return kvat_fail(err, KVAT_ERR_DATA, "settings.%s: the value is longer than any setting of llama-server", knob);
    finish_setting(out);
    return KVAT_OK;
}

static int by_table(const void *a, const void *b) {
    const kvat__setting *x = a, *y = b;
    if (x->flag && y->flag) return x->flag < y->flag ? -1 : x->flag > y->flag;
    if (x->flag || y->flag) return x->flag ? -1 : 1;
    return strcmp(x->knob, y->knob);
}

kvat_status kvat__llamacpp_settings(kvat__settings *out, const json_t *plan, const kvat_snippet_target *target,
                                    kvat_error *err) {
    const json_t *settings = target->settings ? target->settings : json_object_get(plan, "settings");
    const char *knob;
    json_t *value;
    out->n = 0;
    json_object_foreach((json_t *)settings, knob, value) {
        if (out->n == sizeof out->items / sizeof *out->items)
            return kvat_fail(err, KVAT_ERR_DATA, "settings: more than %zu of them", out->n);
        kvat_status status = read_setting(&out->items[out->n++], knob, value, err);
        if (status != KVAT_OK) return status;
    }
    qsort(out->items, out->n, sizeof *out->items, by_table);
    return KVAT_OK;
}

int64_t kvat__llamacpp_sequences(const json_t *plan) {
    return json_integer_value(json_object_get(plan, "sequences"));
}

/* llama-server divides its context among the slots. */
int64_t kvat__llamacpp_context(const json_t *plan) {
    return json_integer_value(json_object_get(plan, "context_tokens")) * kvat__llamacpp_sequences(plan);
}

void kvat__llamacpp_header(kvat_buf *out, const json_t *plan, const kvat_snippet_target *target, const char *mark,
                           const char *what) {
    kvat__snippet_header(out, plan, target, mark, what,
                         "no prompt cache is in that peak: llama-server's own grows with distinct prompts, up to "
                         "--cache-ram");
}

void kvat__llamacpp_unknown(kvat_buf *out, const kvat__settings *settings, const char *indent, const char *mark) {
    for (size_t i = 0; i < settings->n; i++) {
        const kvat__setting *setting = &settings->items[i];
        if (setting->flag) continue;
        kvat_buf_printf(out, "%s%s NOT IN FORCE: ", indent, mark);
        kvat_escape_terminal(out, setting->knob);
        kvat_buf_puts(out, " = ");
        kvat_escape_terminal(out, setting->text);
        kvat_buf_puts(out, " (kvat knows no flag of llama-server for it)\n");
    }
}

const kvat__format kvat__llamacpp_formats[] = {
    {"llama-server", "llama-server.sh", 0755, kvat__llamacpp_put_script, false},
    {"preset", "llama-server-preset.ini", 0644, kvat__llamacpp_put_preset, false},
    {"compose", NULL, 0644, kvat__llamacpp_put_compose, false},
    {"k8s", NULL, 0644, kvat__llamacpp_put_k8s, false},
    {NULL, NULL, 0, NULL, false},
};
