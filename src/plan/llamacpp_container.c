/* llama-server in a container: Compose and Kubernetes, settings as LLAMA_ARG_* variables, as arguments where there is
 * no variable. Must not name an image: which build was measured is the user's to know. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "llamacpp.h"

/* In both formats '$' begins a substitution and "$$" is a plain one. */
static void put_scalar(kvat_buf *out, const char *text) {
    kvat_buf doubled = KVAT_BUF_INIT;
    for (; *text; text++) {
        kvat_buf_putc(&doubled, *text);
        if (*text == '$') kvat_buf_putc(&doubled, '$');
    }
    if (kvat_buf_status(&doubled, NULL) != KVAT_OK)
        out->status = KVAT_ERR_NOMEM;
    else
        kvat_escape_yaml(out, doubled.bytes ? doubled.bytes : "");
    kvat_buf_clear(&doubled);
}

static const char *value_of(const kvat__setting *setting) {
    bool boolean = setting->flag->form == KVAT__FLAG_PAIR || setting->flag->form == KVAT__FLAG_SWITCH;
    return boolean ? (setting->off ? "0" : "1") : setting->text;
}

typedef void put_variable(kvat_buf *out, const char *name, const char *value);

static void put_compose_variable(kvat_buf *out, const char *name, const char *value) {
    kvat_buf_printf(out, "      %s: ", name);
    put_scalar(out, value);
    kvat_buf_putc(out, '\n');
}

static void put_k8s_variable(kvat_buf *out, const char *name, const char *value) {
    kvat_buf_printf(out, "            - name: %s\n              value: ", name);
    put_scalar(out, value);
    kvat_buf_putc(out, '\n');
}

static void put_variables(kvat_buf *out, const json_t *plan, const kvat__settings *settings, put_variable *put) {
    char number[32];
    put(out, "LLAMA_ARG_MODEL", "/models/model.gguf");
    put(out, "LLAMA_ARG_HOST", "0.0.0.0");
    snprintf(number, sizeof number, "%lld", (long long)kvat__llamacpp_context(plan));
    put(out, "LLAMA_ARG_CTX_SIZE", number);
    snprintf(number, sizeof number, "%lld", (long long)kvat__llamacpp_sequences(plan));
    put(out, "LLAMA_ARG_N_PARALLEL", number);
    for (size_t i = 0; i < settings->n; i++) {
        const kvat__setting *setting = &settings->items[i];
        if (setting->flag && setting->flag->env && !setting->silent) put(out, setting->flag->env, value_of(setting));
    }
    put(out, "LLAMA_ARG_FIT", "off");
}

static bool by_argument(const kvat__setting *setting) {
    return setting->flag && !setting->flag->env && !setting->silent;
}

/* As a flow sequence: ["--threads-batch", "2"]; nothing when every setting has a variable. */
static void put_arguments(kvat_buf *out, const kvat__settings *settings, const char *key) {
    size_t written = 0;
    for (size_t i = 0; i < settings->n; i++) {
        const kvat__setting *setting = &settings->items[i];
        if (!by_argument(setting)) continue;
        kvat_buf_printf(out, "%s", written++ ? ", " : key);
        bool negated = setting->flag->form == KVAT__FLAG_PAIR && setting->off;
        kvat_buf_printf(out, "\"--%s%s\"", negated ? "no-" : "", setting->flag->key);
        if (setting->flag->form != KVAT__FLAG_VALUE) continue;
        kvat_buf_puts(out, ", ");
        put_scalar(out, setting->text);
    }
    if (written) kvat_buf_puts(out, "]\n");
}

static const char *model_path(const json_t *plan, const kvat_snippet_target *target) {
    return target->model_path ? target->model_path : kvat__text_of(json_object_get(plan, "model"), "file");
}

kvat_status kvat__llamacpp_put_compose(kvat_buf *out, const json_t *plan, const kvat_snippet_target *target,
                                       kvat_error *err) {
    kvat__settings settings;
    kvat_status status = kvat__llamacpp_settings(&settings, plan, target, err);
    if (status != KVAT_OK) return status;
    kvat__llamacpp_header(out, plan, target, "#", "A Compose file for llama-server");
    kvat_buf_puts(out,
                  "# LLAMA_SERVER_IMAGE names an image whose entry point is the llama-server build measured above.\n");
    kvat__llamacpp_unknown(out, &settings, "", "#");
    kvat_buf_puts(out, "services:\n  llama-server:\n"
                       "    image: ${LLAMA_SERVER_IMAGE:?name an image with llama-server}\n"
                       "    ports:\n      - \"127.0.0.1:8080:8080\"\n"
                       "    volumes:\n      - type: bind\n        source: ");
    put_scalar(out, model_path(plan, target));
    kvat_buf_puts(out, "\n        target: /models/model.gguf\n        read_only: true\n    environment:\n");
    put_variables(out, plan, &settings, put_compose_variable);
    put_arguments(out, &settings, "    command: [");
    return kvat_buf_status(out, err);
}

/* Room for the measured peak and a tenth more, in MiB. */
static int64_t memory_mib(const json_t *figures) {
    double peak = json_number_value(json_object_get(figures, "peak_bytes"));
    return peak > 0 && peak < 1e15 ? (int64_t)ceil(peak * 1.1 / 1048576.0) : 0;
}

/* A container's limit is on the host's memory: a peak of devices, or of who knows which, says nothing about that. */
static long long limit_mib(const json_t *plan, const kvat_snippet_target *target) {
    return kvat__memory_of_plan(plan) == KVAT__MEMORY_HOST ? memory_mib(kvat__figures_of(plan, target->settings)) : 0;
}

/* llama-server keeps the states of earlier prompts in the host's memory, so a limit made of a peak without them would
 * kill it after a few requests. */
static void put_no_prompt_cache(kvat_buf *out, long long mib) {
    if (mib <= 0) return;
    kvat_buf_puts(out,
                  "            # --cache-ram 0: the limit below is the peak measured and a tenth; the server's prompt "
                  "cache would outgrow it.\n");
    put_k8s_variable(out, "LLAMA_ARG_CACHE_RAM", "0");
}

static void put_resources(kvat_buf *out, long long mib) {
    if (mib > 0)
        kvat_buf_printf(out,
                        "          resources:\n            requests:\n              memory: \"%lldMi\"\n"
                        "            limits:\n              memory: \"%lldMi\"\n",
                        mib, mib);
}

kvat_status kvat__llamacpp_put_k8s(kvat_buf *out, const json_t *plan, const kvat_snippet_target *target,
                                   kvat_error *err) {
    kvat__settings settings;
    kvat_status status = kvat__llamacpp_settings(&settings, plan, target, err);
    if (status != KVAT_OK) return status;
    const long long mib = limit_mib(plan, target);
    kvat__llamacpp_header(out, plan, target, "#", "A Kubernetes Deployment of llama-server");
    kvat_buf_puts(out,
                  "# Put in the image whose entry point is the llama-server build measured above, and the volume with "
                  "the model.\n"
                  "# Give the pod the cores of the machine measured: threads beyond its CPU limit slow it down.\n");
    kvat__llamacpp_unknown(out, &settings, "", "#");
    kvat_buf_puts(out,
                  "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: llama-server\nspec:\n  replicas: 1\n"
                  "  selector:\n    matchLabels:\n      app: llama-server\n  template:\n    metadata:\n      labels:\n"
                  "        app: llama-server\n    spec:\n      containers:\n        - name: llama-server\n"
                  "          image: llama-server:as-measured\n          ports:\n            - containerPort: 8080\n"
                  "          env:\n");
    put_variables(out, plan, &settings, put_k8s_variable);
    put_no_prompt_cache(out, mib);
    put_arguments(out, &settings, "          args: [");
    put_resources(out, mib);
    kvat_buf_puts(out,
                  "          volumeMounts:\n            - name: model\n              mountPath: /models/model.gguf\n"
                  "              subPath: ");
    kvat_escape_yaml(out, *kvat__text_of(json_object_get(plan, "model"), "file")
                              ? kvat__text_of(json_object_get(plan, "model"), "file")
                              : "model.gguf");
    kvat_buf_puts(out, "\n              readOnly: true\n      volumes:\n        - name: model\n"
                       "          persistentVolumeClaim:\n            claimName: models\n            readOnly: true\n");
    return kvat_buf_status(out, err);
}
