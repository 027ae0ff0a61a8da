// What to make of the lines libllama logs.
// Must not know: the protocol.
#include "log_watch.h"

#include <stdio.h>
#include <string.h>

#include "llama.h"

/* "… K (q8_0): 12.0 MiB, V (f16): …" */
static void copy_type(char *out, size_t room, const char *text, const char *mark) {
    const char *start = strstr(text, mark);
    if (!start) return;
    start += strlen(mark);
    size_t n = strcspn(start, ")");
    if (n == 0 || n >= room) return;
    memcpy(out, start, n);
    out[n] = '\0';
}

static bool says(const char *text, const char *part) {
    return strstr(text, part) != NULL;
}

static void hear_flash(kvat_log_watch *watch, const char *text) {
    if (says(text, "Flash Attention enabled") || says(text, "enabling flash_attn")) watch->flash = KVAT_FLASH_ON;
    if (says(text, "Flash Attention not supported") || says(text, "Flash Attention was auto, set to disabled") ||
        (says(text, "flash_attn") && says(text, "forcing off")))
        watch->flash = KVAT_FLASH_OFF;
}

static void hear_failure(kvat_log_watch *watch, const char *text) {
    static const char *const signs[] = {"failed to allocate", "unable to allocate", "bad_alloc",
                                        "out of memory",      "cannot allocate",    "failed to reserve",
                                        "alloc_tensor_range"};
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
        if (says(text, signs[i])) watch->out_of_memory = true;
    if (watch->out_of_memory &&
        (says(text, "CUDA") || says(text, "ROCm") || says(text, "Vulkan") || says(text, "Metal")))
        watch->on_device = true;
    if (says(text, "failed to mlock")) watch->no_lock = true;
}

void kvat__log_watch_hear(kvat_log_watch *watch, int level, const char *text) {
    hear_flash(watch, text);
    copy_type(watch->key_type, sizeof watch->key_type, text, " K (");
    copy_type(watch->value_type, sizeof watch->value_type, text, " V (");
    if (level != GGML_LOG_LEVEL_WARN && level != GGML_LOG_LEVEL_ERROR) return;
    hear_failure(watch, text);
    if (level != GGML_LOG_LEVEL_ERROR || watch->error[0]) return; /* what follows the first is what came of it */
    snprintf(watch->error, sizeof watch->error, "%s", text);
    watch->error[strcspn(watch->error, "\n")] = '\0';
}

static void on_log(enum ggml_log_level level, const char *text, void *user) {
    kvat_log_watch *watch = user;
    kvat__log_watch_hear(watch, (int)level, text);
    if (watch->quiet) return;
    if (level == GGML_LOG_LEVEL_WARN || level == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

void kvat_log_watch_start(kvat_log_watch *watch) {
    *watch = (kvat_log_watch){0};
    llama_log_set(on_log, watch);
}

void kvat_log_watch_reset(kvat_log_watch *watch) {
    *watch = (kvat_log_watch){.quiet = watch->quiet};
}
