/* optimized_config.py: what a plan says, as Python data in the fixed text of transformers_snippet.py.
 * Must not run Python, nor look at the file system. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "kvat/units.h"
#include "plan_internal.h"
#include "transformers.h"

/* In the order in which they are written. A knob that is missing here is never dropped silently: it ends as a comment.
 */
typedef struct knob {
    const char *name;
    const char *always; /* values that no machine lacks, between blanks; NULL: all of them */
} knob;

static const knob knobs[] = {
    {"device", " cpu "},
    {"dtype", NULL},
    {"attn_implementation", " sdpa eager flex_attention "},
    {"sdpa_kernel", " auto math "},
    {"cache_implementation", " dynamic static sliding_window quantized "},
    {"cache_quantizer", " none "},
    {"cache_group_size", NULL},
    {"compile_mode", " none "},
    {"prefill_threads", NULL},
    {"decode_threads", NULL},
    {"prefill_mkldnn", " off "},
    {"decode_mkldnn", " off "},
    {"prefill_chunk_size", NULL},
    {"grad_mode", NULL},
};
enum { n_knobs = sizeof knobs / sizeof *knobs };

static const knob *knob_of(const char *name) {
    for (size_t i = 0; i < n_knobs; i++)
        if (strcmp(knobs[i].name, name) == 0) return &knobs[i];
    return NULL;
}

/* ---- values ---- */
static void put_value(kvat_buf *out, const json_t *value) {
    if (json_is_integer(value))
        kvat_buf_printf(out, "%lld", (long long)json_integer_value(value));
    else
        kvat_escape_python(out, json_string_value(value));
}

static void put_pair(kvat_buf *out, const char *name, const json_t *value) {
    kvat_escape_python(out, name);
    kvat_buf_puts(out, ": ");
    put_value(out, value);
}

static bool has_all(const json_t *settings, const json_t *of) {
    for (size_t i = 0; i < n_knobs; i++)
        if (json_object_get(of, knobs[i].name) && !json_object_get(settings, knobs[i].name)) return false;
    return true;
}

/* As what they change in SETTINGS, where these are given and nothing of them is lacking. */
static void put_use(kvat_buf *out, const json_t *use, const json_t *settings) {
    bool as_change = settings && has_all(use, settings);
    size_t written = 0;
    kvat_buf_puts(out, as_change ? "{**SETTINGS" : "{");
    for (size_t i = 0; i < n_knobs; i++) {
        const json_t *value = json_object_get(use, knobs[i].name);
        if (!value || (as_change && json_equal(value, json_object_get(settings, knobs[i].name)))) continue;
        kvat_buf_puts(out, as_change || written > 0 ? ", " : "");
        put_pair(out, knobs[i].name, value);
        written++;
    }
    kvat_buf_putc(out, '}');
}

/* ---- the model ---- */
static const char *hub_name(const json_t *model) {
    const char *name = kvat__text_of(model, "name");
    return strncmp(name, "hf:", 3) == 0 ? name + 3 : name;
}

/* OWNER/NAME or NAME, which no path to somewhere else can look like. */
static bool is_hub_name(const char *name) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    const char *slash = strchr(name, '/'), *last = slash ? slash + 1 : name;
    for (const char *part = name; part; part = part == last ? NULL : last)
        if (strspn(part, letters) != (part == last ? strlen(part) : (size_t)(slash - part)) ||
            !isalnum((unsigned char)*part))
            return false;
    return true;
}

/* A path that ends in the revision is the hub's own copy of it, for which the name stands on every machine. */
static bool is_of_hub(const json_t *model, const kvat_snippet_target *target) {
    const char *revision = kvat__text_of(model, "revision");
    return *revision && is_hub_name(hub_name(model)) &&
           (!target->model_path || strcmp(kvat__base_name(target->model_path), revision) == 0);
}

static void put_model(kvat_buf *out, const json_t *model, const kvat_snippet_target *target) {
    bool hub = is_of_hub(model, target);
    const char *below = kvat__below_home(target);
    bool synthetic = json_is_true(json_object_get(model, "synthetic"));
    if (synthetic || (!hub && !target->model_path))
        kvat_buf_printf(out, "# %s: give the folder of a model with --model, load(FOLDER) or the variable MODEL.\n",
                        !synthetic           ? "The plan does not say where its model is"
                        : target->model_path ? "Random weights were measured, and what they write is noise"
                                             : "Random weights were measured");
    kvat_buf_puts(out, "MODEL: str | None = ");
    if (hub)
        kvat_escape_python(out, hub_name(model));
    else if (below)
        kvat_buf_puts(out, "os.path.expanduser(\"~/\") + ");
    if (!hub && target->model_path) kvat_escape_python(out, below ? below : target->model_path);
    kvat_buf_puts(out, hub || target->model_path ? "\nREVISION: str | None = " : "None\nREVISION: str | None = ");
    if (hub)
        kvat_escape_python(out, kvat__text_of(model, "revision"));
    else
        kvat_buf_puts(out, "None");
    kvat_buf_printf(
        out, "\nREMOTE_CODE = %s\n",
        json_is_true(json_object_get(model, "remote_code"))
            ? "True  # measured with code that comes with the model; whoever runs this file allows it, or not"
            : "False");
}

/* ---- settings ---- */
static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void put_unknown(kvat_buf *out, const json_t *settings) {
    const char **names = malloc((json_object_size(settings) + 1) * sizeof *names), *name;
    json_t *value;
    size_t n = 0;
    if (!names) {
        out->status = KVAT_ERR_NOMEM;
        return;
    }
    json_object_foreach((json_t *)settings, name, value) {
        if (!knob_of(name)) names[n++] = name;
    }
    qsort(names, n, sizeof *names, by_name);
    for (size_t i = 0; i < n; i++) {
        kvat_buf_puts(out, "# NOT IN FORCE: ");
        kvat_escape_terminal(out, names[i]);
        kvat_buf_puts(out, " = ");
        value = json_object_get(settings, names[i]);
        if (json_is_integer(value))
            kvat_buf_printf(out, "%lld", (long long)json_integer_value(value));
        else
            kvat_escape_terminal(out, json_string_value(value));
        kvat_buf_puts(out, " (kvat knows no such setting of Transformers)\n");
    }
    free(names);
}

/* What is compiled takes the prompt in whole. */
static void put_unchunked(kvat_buf *out, const json_t *settings) {
    const char *mode = kvat__text_of(settings, "compile_mode");
    json_int_t chunk = json_integer_value(json_object_get(settings, "prefill_chunk_size"));
    if (*mode && strcmp(mode, "none") != 0 && chunk != 0)
        kvat_buf_printf(out,
                        "# NOT IN FORCE: prefill_chunk_size = %lld (with compile_mode the prompt is never chunked)\n",
                        (long long)chunk);
}

static void put_settings(kvat_buf *out, const json_t *settings, const json_t *changed) {
    kvat_buf_puts(out, "SETTINGS: Settings = {\n");
    for (size_t i = 0; i < n_knobs; i++) {
        const json_t *value = json_object_get(settings, knobs[i].name);
        if (!value) continue;
        kvat_buf_puts(out, "    ");
        put_pair(out, knobs[i].name, value);
        kvat_buf_puts(out, json_object_get(changed, knobs[i].name) ? ",  # not the default\n" : ",\n");
    }
    kvat_buf_puts(out, "}\n");
}

/* ---- rules ---- */
/* Whether a machine may lack it, and the file can tell. */
static bool may_lack(const char *name, const json_t *value) {
    const knob *known = knob_of(name);
    const char *text = json_string_value(value), *at = known ? known->always : NULL;
    size_t n = text ? strlen(text) : 0;
    if (!at || n == 0) return false;
    for (at = strstr(at, text); at; at = strstr(at + 1, text))
        if (at[-1] == ' ' && at[n] == ' ') return false;
    return true;
}

static const char *const plain_conditions[] = {"free_memory_below_bytes", "free_device_memory_below_bytes",
                                               "context_above_tokens", "engine_version_not", NULL};

/* Of a checked plan: exactly one condition, which may be one of a later version. */
static const char *plain_condition(const json_t *when) {
    const char *const *name = plain_conditions;
    while (*name && !json_object_get(when, *name)) name++;
    return *name;
}

static bool can_hold(const json_t *when) {
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(when, "unsupported"), name, value) {
        if (may_lack(name, value)) return true;
    }
    return plain_condition(when) != NULL;
}

static void put_when(kvat_buf *out, const json_t *when) {
    const char *condition = plain_condition(when);
    if (condition) {
        put_pair(out, condition, json_object_get(when, condition));
    } else {
        kvat_buf_puts(out, "\"unsupported\": ");
        put_use(out, json_object_get(when, "unsupported"), NULL);
    }
}

/* 0: not known. */
static long long peak_of(const json_t *plan, const json_t *settings) {
    json_int_t peak = json_integer_value(json_object_get(kvat__figures_of(plan, settings), "peak_bytes"));
    return peak > 0 ? (long long)peak : 0;
}

static void put_peak(kvat_buf *out, long long peak, const char *after) {
    kvat_buf_printf(out, "%lld%s  # ", peak, after);
    kvat_put_bytes(out, peak);
}

static void put_rule(kvat_buf *out, const json_t *rule, const json_t *plan) {
    const json_t *settings = json_object_get(plan, "settings");
    const json_t *use = json_object_get(rule, "use"), *when = json_object_get(rule, "when");
    const json_t *limit = json_object_get(when, "free_memory_below_bytes");
    if (!limit) limit = json_object_get(when, "free_device_memory_below_bytes");
    kvat_buf_puts(out, "    {\n        \"when\": {");
    put_when(out, when);
    kvat_buf_puts(out, "},");
    if (limit) {
        kvat_buf_puts(out, "  # ");
        kvat_put_bytes(out, json_integer_value(limit));
    }
    if (use) {
        kvat_buf_puts(out, "\n        \"use\": ");
        put_use(out, use, settings);
        if (peak_of(plan, use)) {
            kvat_buf_puts(out, ",\n        \"peak_bytes\": ");
            put_peak(out, peak_of(plan, use), ",");
        } else {
            kvat_buf_putc(out, ',');
        }
        kvat_buf_puts(out, "\n        \"because\": ");
    } else {
        kvat_buf_puts(out, "\n        \"advise\": ");
    }
    kvat_escape_python(out, kvat__text_of(rule, use ? "because" : "advise"));
    kvat_buf_puts(out, ",\n    },\n");
}

static void put_rules(kvat_buf *out, const json_t *plan) {
    size_t i;
    json_t *rule;
    kvat_buf_puts(out,
                  "# The first whose condition holds and whose settings can be had is used; evaluated by load() and "
                  "apply().\nRULES: list[Rule] = [\n");
    json_array_foreach(json_object_get(plan, "fallback"), i, rule) {
        if (can_hold(json_object_get(rule, "when"))) put_rule(out, rule, plan);
    }
    kvat_buf_puts(out, "]\n");
}

static void put_memory(kvat_buf *out, const json_t *plan) {
    static const char *const of[] = {
        [KVAT__MEMORY_UNKNOWN] = "None", [KVAT__MEMORY_HOST] = "\"host\"", [KVAT__MEMORY_DEVICES] = "\"devices\""};
    long long peak = peak_of(plan, NULL);
    kvat_buf_puts(out, "PEAK_BYTES: int | None = ");
    if (peak)
        put_peak(out, peak, "");
    else
        kvat_buf_puts(out, "None");
    kvat_buf_printf(out, "\nPEAK_OF: str | None = %s\n", of[kvat__memory_of_plan(plan)]);
}

/* ---- the file ---- */
static kvat_status put_file(kvat_buf *out, const json_t *plan, const kvat_snippet_target *target, kvat_error *err) {
    const json_t *settings = json_object_get(plan, "settings"), *model = json_object_get(plan, "model");
    kvat_buf_puts(out, "#!/usr/bin/env python3\n");
    kvat__snippet_header(out, plan, target, "#", "Hugging Face Transformers with the configuration measured here",
                         NULL);
    if (json_is_true(json_object_get(model, "remote_code")))
        kvat_buf_puts(out,
                      "# REMOTE CODE: the plan was measured with code that comes with the model. It runs here only "
                      "where you say so,\n# with load(trust_remote_code=True) or --trust-remote-code.\n");
    put_unknown(out, settings);
    put_unchunked(out, settings);
    kvat_buf_puts(out, kvat__transformers_before);
    put_model(out, model, target);
    kvat_buf_printf(out, "CONTEXT_TOKENS = %lld\n",
                    (long long)json_integer_value(json_object_get(plan, "context_tokens")));
    put_settings(out, settings, json_object_get(plan, "changed"));
    put_memory(out, plan);
    put_rules(out, plan);
    kvat_buf_puts(out, kvat__transformers_after);
    return kvat_buf_status(out, err);
}

const kvat__format kvat__transformers_formats[] = {
    {"python", "optimized_config.py", 0755, put_file, true},
    {NULL, NULL, 0, NULL, false},
};
