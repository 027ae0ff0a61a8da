// Contexts without memory at a few sizes, and the few numbers that explain them.
// Must not know: JSON, the protocol.
#include "foresee.h"

#include <stdio.h>
#include <string.h>

#include "ggml-cpu.h"
#include "llama.h"
#include "resources.h"

#define BASE_CONTEXT 4096
#define BASE_UBATCH  512

typedef struct look {
    const kvat_llama *engine;
    struct llama_model *model;
    kvat_settings settings;
} look;

static bool measure(kvat_breakdown *out, const look *l, int64_t context_tokens, int ubatch, int flash, int type) {
    kvat_settings settings = l->settings;
    settings.ubatch = ubatch;
    settings.flash = flash;
    settings.type_k = settings.type_v = type;
    struct llama_context *context =
        llama_init_from_model(l->model, kvat__llama_context_params(&settings, context_tokens, 1));
    bool known = context && kvat_breakdown_get(out, context);
    llama_free(context);
    return known;
}

static int64_t pad(int64_t cells) {
    return (cells + KVAT_CELL_PADDING - 1) / KVAT_CELL_PADDING * KVAT_CELL_PADDING;
}

static int64_t cells_of(const kvat_kv_group *group, int64_t context_tokens, int64_t ubatch) {
    int64_t cells = pad(context_tokens), window = group->window_tokens + ubatch;
    return group->window_tokens && window < cells ? pad(window) : cells;
}

static int64_t kv_bytes(const kvat_foresight *f, int64_t context_tokens, int64_t ubatch, int type) {
    int64_t sum = 0;
    for (int i = 0; i < f->n_groups; i++) {
        const kvat_kv_group *g = &f->groups[i];
        int64_t row = (int64_t)(ggml_row_size((enum ggml_type)type, g->k_elements) +
                                ggml_row_size((enum ggml_type)type, g->v_elements));
        sum += g->layers * cells_of(g, context_tokens, ubatch) * row;
    }
    return sum;
}

static bool add_layer(kvat_foresight *f, int64_t k_elements, int64_t v_elements) {
    for (int i = 0; i < f->n_groups; i++)
        if (f->groups[i].k_elements == k_elements && f->groups[i].v_elements == v_elements) {
            f->groups[i].layers++;
            return true;
        }
    if (f->n_groups == KVAT_KV_GROUPS) return false;
    f->groups[f->n_groups++] = (kvat_kv_group){1, k_elements, v_elements, 0};
    return true;
}

/* How many layers have the window is known to the engine alone; the bytes it would take tell. */
static bool split_windows(kvat_foresight *f, int64_t seen_bytes) {
    if (f->n_groups != 1) return false;
    kvat_kv_group *full = &f->groups[0], *window = &f->groups[1];
    int64_t all = kv_bytes(f, BASE_CONTEXT, BASE_UBATCH, GGML_TYPE_F16);
    *window = *full;
    window->window_tokens = f->window_tokens;
    int64_t layer = all / full->layers;
    int64_t less = layer - layer / pad(BASE_CONTEXT) * cells_of(window, BASE_CONTEXT, BASE_UBATCH);
    if (less <= 0 || (all - seen_bytes) % less) return less == 0;
    window->layers = (all - seen_bytes) / less;
    full->layers -= window->layers;
    f->n_groups = 2;
    return window->layers >= 0 && full->layers >= 0;
}

static bool find_groups(kvat_foresight *f, const kvat_model_facts *facts, int64_t seen_bytes) {
    for (int64_t i = 0; i < facts->layers; i++)
        if (facts->layer_kv_heads[i] &&
            !add_layer(f, facts->layer_kv_heads[i] * facts->k_head_size, facts->layer_kv_heads[i] * facts->v_head_size))
            return false;
    return f->window_tokens == 0 || split_windows(f, seen_bytes);
}

/* The formula must give the engine's own bytes at other sizes and another type too, or nothing is claimed. */
static bool groups_hold(const kvat_foresight *f, const look *l) {
    static const struct {
        int64_t context_tokens;
        int ubatch, type;
    } probes[] = {{1500, 256, GGML_TYPE_F16}, {12000, 512, GGML_TYPE_BF16}};
    for (size_t i = 0; i < sizeof probes / sizeof *probes; i++) {
        kvat_breakdown seen;
        if (!measure(&seen, l, probes[i].context_tokens, probes[i].ubatch, f->flash_auto, probes[i].type) ||
            seen.kv_bytes != kv_bytes(f, probes[i].context_tokens, probes[i].ubatch, probes[i].type))
            return false;
    }
    return true;
}

static bool fit_compute(kvat_compute_fit *fit, const look *l, int flash) {
    kvat_breakdown base, half, longer;
    if (!measure(&base, l, BASE_CONTEXT, BASE_UBATCH, flash, GGML_TYPE_F16) ||
        !measure(&half, l, BASE_CONTEXT, BASE_UBATCH / 2, flash, GGML_TYPE_F16) ||
        !measure(&longer, l, 2 * BASE_CONTEXT, BASE_UBATCH, flash, GGML_TYPE_F16))
        return false;
    int64_t slope = (base.compute_bytes - half.compute_bytes) / (BASE_UBATCH / 2);
    fit->cell_bytes = (longer.compute_bytes - base.compute_bytes) / ((int64_t)BASE_UBATCH * BASE_CONTEXT);
    fit->token_bytes = slope - fit->cell_bytes * BASE_CONTEXT;
    fit->fixed_bytes = base.compute_bytes - BASE_UBATCH * slope;
    return true;
}

static void look_ahead(kvat_foresight *f, kvat_llama *engine, const look *l) {
    kvat_breakdown base;
    kvat_log_watch_reset(&engine->log);
    bool known = measure(&base, l, BASE_CONTEXT, BASE_UBATCH, KVAT_FLASH_SETTING_AUTO, GGML_TYPE_F16);
    f->flash_auto = engine->log.flash == KVAT_FLASH_ON ? KVAT_FLASH_SETTING_ON : KVAT_FLASH_SETTING_OFF;
    f->window_tokens = llama_model_n_swa(l->model);
    f->can_trim = !llama_model_is_recurrent(l->model) && !llama_model_is_hybrid(l->model) && f->window_tokens == 0;
    /* With a model in memory, the process itself could not be told from it. */
    f->memory_known = known && !engine->model && find_groups(f, &engine->facts, base.kv_bytes) && groups_hold(f, l) &&
                      fit_compute(&f->flash, l, f->flash_auto) && fit_compute(&f->plain, l, KVAT_FLASH_SETTING_OFF);
    /* Without flash attention the scores of all heads are also copied to f16, in a work buffer that is in no breakdown.
     */
    f->plain.cell_bytes += engine->facts.heads * (int64_t)sizeof(ggml_fp16_t);
    f->weight_bytes = engine->facts.weight_bytes + (known ? base.rearranged_bytes : 0);
    f->process_bytes = engine->facts.vocabulary * (int64_t)sizeof(float); /* the output buffer is in no breakdown */
    kvat_resources now;
    if (kvat_resources_read(&now)) f->process_bytes += now.current_bytes;
}

int kvat_llama_foresee(kvat_foresight *out, kvat_llama *engine, kvat_fault *fault) {
    look l = {.engine = engine, .settings = engine->settings};
    l.settings.swa_full = 0;
    l.settings.kv_unified = 0;
    l.settings.batch = 2048;
    l.settings.load_mode = LLAMA_LOAD_MODE_NONE; /* a mapped file cannot be loaded without memory */
    struct llama_model_params params = kvat__llama_model_params(&l.settings);
    params.no_alloc = true;
    kvat_log_watch_reset(&engine->log);
    engine->log.quiet = true; /* contexts larger than the model was trained for are no news here */
    l.model = llama_model_load_from_file(engine->path, params);
    if (l.model) {
        *out = (kvat_foresight){0};
        look_ahead(out, engine, &l);
        llama_model_free(l.model);
    }
    engine->log.quiet = false;
    return l.model ? 0 : kvat__llama_fault(engine, KVAT_FAULT_BAD_MODEL, "libllama refused the model", fault);
}
