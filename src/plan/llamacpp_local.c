/* llama-server on this machine: a start script and a preset of its router.
 * Must not start anything, nor look at the file system. */
#include <ctype.h>
#include <string.h>

#include "llamacpp.h"

/* ---- llama-server.sh ---- */
static void put_model_choice(kvat_buf *out, const kvat_snippet_target *target) {
    const char *below = kvat__below_home(target);
    kvat_buf_puts(out, "if [ -z \"${MODEL:-}\" ]; then\n");
    if (target->model_path) {
        kvat_buf_puts(out, below ? "    MODEL=$HOME/" : "    MODEL=");
        kvat_escape_shell(out, below ? below : target->model_path);
        kvat_buf_putc(out, '\n');
    } else {
        kvat_buf_puts(out, "    if [ \"$#\" -eq 0 ]; then\n"
                           "        echo \"usage: $0 MODEL.gguf [llama-server arguments]\" >&2\n"
                           "        exit 2\n"
                           "    fi\n"
                           "    MODEL=$1\n"
                           "    shift\n");
    }
    kvat_buf_puts(out, "fi\n");
}

/* llama-server takes the word after a flag as its value even when it begins with '-'. */
static void put_flag(kvat_buf *out, const kvat__setting *setting) {
    const kvat__flag *flag = setting->flag;
    kvat_buf_puts(out, " \\\n    ");
    if (flag->form == KVAT__FLAG_PAIR && setting->off) {
        kvat_buf_printf(out, "--no-%s", flag->key);
        return;
    }
    kvat_buf_puts(out, flag->shown);
    if (flag->form != KVAT__FLAG_VALUE) return;
    kvat_buf_putc(out, ' ');
    kvat_escape_shell(out, setting->text);
}

static void put_exports(kvat_buf *out, const kvat__settings *settings) {
    for (size_t i = 0; i < settings->n; i++) {
        const kvat__setting *setting = &settings->items[i];
        if (!setting->flag || setting->flag->form != KVAT__FLAG_EXPORT || setting->silent) continue;
        kvat_buf_printf(out, "export %s=", setting->flag->env);
        kvat_escape_shell(out, setting->text);
        kvat_buf_putc(out, '\n');
    }
}

kvat_status kvat__llamacpp_put_script(kvat_buf *out, const json_t *plan, const kvat_snippet_target *target,
                                      kvat_error *err) {
    kvat__settings settings;
    kvat_status status = kvat__llamacpp_settings(&settings, plan, target, err);
    if (status != KVAT_OK) return status;
    kvat_buf_puts(out, "#!/bin/sh\n");
    kvat__llamacpp_header(out, plan, target, "#", "Starts llama-server with the configuration measured here");
    kvat_buf_printf(out,
                    "# Arguments of this script go on to llama-server and win over those below. MODEL names another\n"
                    "# model file, LLAMA_SERVER another program.\n"
                    "# To check: the server's log and http://127.0.0.1:8080/props name the settings in force.\n"
                    "set -eu\n\n");
    put_model_choice(out, target);
    put_exports(out, &settings);
    kvat__llamacpp_unknown(out, &settings, "", "#");
    kvat_buf_printf(out,
                    "\nexec \"${LLAMA_SERVER:-llama-server}\" \\\n    -m \"$MODEL\" \\\n    -c %lld \\\n    -np %lld",
                    (long long)kvat__llamacpp_context(plan), (long long)kvat__llamacpp_sequences(plan));
    for (size_t i = 0; i < settings.n; i++) {
        const kvat__setting *setting = &settings.items[i];
        if (setting->flag && setting->flag->form != KVAT__FLAG_EXPORT && !setting->silent) put_flag(out, setting);
    }
    kvat_buf_puts(out, " \\\n    -fit off \\\n    \"$@\"\n");
    return kvat_buf_status(out, err);
}

/* ---- preset ---- */
/* A section name from the model's file name: letters, digits, '.', '_' and '-'. */
static void put_section(kvat_buf *out, const json_t *plan) {
    const char *name = kvat__text_of(json_object_get(plan, "model"), "file");
    if (!*name) name = kvat__text_of(json_object_get(plan, "model"), "name");
    size_t n = strlen(name);
    if (n > 5 && strcmp(name + n - 5, ".gguf") == 0) n -= 5;
    kvat_buf_puts(out, "[kvat-");
    for (size_t i = 0; i < n && i < 64; i++) {
        unsigned char c = (unsigned char)name[i];
        bool plain = c < 0x80 && (isalnum(c) || strchr("._-", c));
        kvat_buf_putc(out, plain ? (char)c : '-');
    }
    kvat_buf_puts(out, "]\n");
}

static kvat_status put_ini(kvat_buf *out, const char *key, const char *value, kvat_error *err) {
    kvat_buf_printf(out, "%s = ", key);
    bool written = kvat_escape_ini(out, value);
    kvat_buf_putc(out, '\n');
    if (written) return KVAT_OK;
    return kvat_fail(err, KVAT_ERR_USAGE,
                     "a preset of llama-server cannot hold this value of \"%s\": no '#', ';', control characters, or "
                     "blanks at its ends; use --format llama-server, or rename the file",
                     key);
}

static kvat_status put_preset_setting(kvat_buf *out, const kvat__setting *setting, kvat_error *err) {
    const kvat__flag *flag = setting->flag;
    if (flag->form == KVAT__FLAG_EXPORT) {
        kvat_buf_printf(out, "; start the server with %s=", flag->env);
        kvat_escape_terminal(out, setting->text);
        kvat_buf_puts(out, " in its environment\n");
        return KVAT_OK;
    }
    if (flag->form == KVAT__FLAG_VALUE) return put_ini(out, flag->key, setting->text, err);
    return put_ini(out, flag->key, setting->off ? "false" : "true", err);
}

static const char *model_of(const json_t *plan, const kvat_snippet_target *target) {
    return target->model_path ? target->model_path : kvat__text_of(json_object_get(plan, "model"), "file");
}

static kvat_status put_preset(kvat_buf *out, const json_t *plan, const kvat_snippet_target *target,
                              const kvat__settings *settings, kvat_error *err) {
    bool hidden = kvat__below_home(target) != NULL;
    const char *model = hidden ? kvat__text_of(json_object_get(plan, "model"), "file") : model_of(plan, target);

    kvat__llamacpp_header(out, plan, target, ";", "A preset of llama-server's router");
    kvat_buf_puts(out, "; Use: llama-server --models-preset THIS_FILE\n\nversion = 1\n\n");
    if (hidden)
        kvat_buf_puts(out, "; The model's folder is left out here: start the server in it, or complete the path.\n");
    put_section(out, plan);
    kvat__llamacpp_unknown(out, settings, "", ";");
    kvat_status status = put_ini(out, "model", model, err);
    kvat_buf_printf(out, "ctx-size = %lld\nparallel = %lld\n", (long long)kvat__llamacpp_context(plan),
                    (long long)kvat__llamacpp_sequences(plan));
    for (size_t i = 0; status == KVAT_OK && i < settings->n; i++)
        if (settings->items[i].flag && !settings->items[i].silent)
            status = put_preset_setting(out, &settings->items[i], err);
    kvat_buf_puts(out, "fit = off\n");
    return status;
}

kvat_status kvat__llamacpp_put_preset(kvat_buf *out, const json_t *plan, const kvat_snippet_target *target,
                                      kvat_error *err) {
    kvat__settings settings;
    kvat_buf text = KVAT_BUF_INIT; /* apart, so that a refused path leaves nothing half written */
    kvat_status status = *model_of(plan, target)
                             ? kvat__llamacpp_settings(&settings, plan, target, err)
                             : kvat_fail(err, KVAT_ERR_USAGE, "a preset needs the path of the model file");
    if (status == KVAT_OK) status = put_preset(&text, plan, target, &settings, err);
    if (status == KVAT_OK) status = kvat_buf_status(&text, err);
    if (status == KVAT_OK) {
        kvat_buf_put(out, text.bytes, text.length);
        status = kvat_buf_status(out, err);
    }
    kvat_buf_clear(&text);
    return status;
}
