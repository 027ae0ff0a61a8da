// Opening, loading and preparing: from settings to a model and a context in force, and what of them really is.
// Must not know: JSON, how runs are timed.
#include "engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "kvat/units.h"
#include "llama.h"
#include "synthetic.h"

#define STOP_CHECK_NS (5 * KVAT_NS_PER_MS)

void kvat_llama_init(kvat_llama *engine, const kvat_settings *process) {
    *engine = (kvat_llama){0};
    kvat_cpu_look(&engine->cpu);
    kvat_settings_default(&engine->settings, &engine->cpu);
    if (process) engine->settings = *process;
    kvat_log_watch_start(&engine->log);
    llama_backend_init();
    if (engine->settings.numa != GGML_NUMA_STRATEGY_DISABLED)
        llama_numa_init((enum ggml_numa_strategy)engine->settings.numa);
}

static void forget_model(kvat_llama *engine) {
    kvat_llama_unload(engine);
    kvat_model_facts_clear(&engine->facts);
    free(engine->name);
    free(engine->path);
    engine->name = engine->path = NULL;
}

void kvat_llama_clear(kvat_llama *engine) {
    forget_model(engine);
    llama_backend_free();
    llama_log_set(NULL, NULL);
}

int kvat__llama_fault(const kvat_llama *engine, kvat_fault_kind otherwise, const char *what, kvat_fault *fault) {
    kvat_fault_kind kind = otherwise;
    if (engine->log.out_of_memory) kind = engine->log.on_device ? KVAT_FAULT_OOM_DEVICE : KVAT_FAULT_OOM_HOST;
    return kvat_fault_set(fault, kind, NULL, "%s%s%s", what, engine->log.error[0] ? ": " : "", engine->log.error);
}

static int fault_of_error(const kvat_error *err, kvat_fault *fault) {
    kvat_fault_kind kind = err->status == KVAT_ERR_DATA    ? KVAT_FAULT_BAD_MODEL
                           : err->status == KVAT_ERR_NOMEM ? KVAT_FAULT_OOM_HOST
                                                           : KVAT_FAULT_INTERNAL;
    return kvat_fault_set(fault, kind, NULL, "%s", err->message);
}

/* ---- stopping ---- */

/* libllama asks after every graph node, thousands of times a second: look at the clock cheaply, and ask further rarely.
 */
static bool should_stop(void *user) {
    kvat_llama *engine = user;
    if (engine->timed_out || engine->stopped) return true;
    int64_t now = kvat_now_ns();
    if (now - engine->checked_ns < STOP_CHECK_NS) return false;
    engine->checked_ns = now;
    if (engine->deadline_ns && now >= engine->deadline_ns) engine->timed_out = true;
    if (!engine->timed_out && engine->stop && engine->stop(engine->user)) engine->stopped = true;
    return engine->timed_out || engine->stopped;
}

static bool on_load_progress(float part, void *user) {
    kvat_llama *engine = user;
    int percent = (int)(part * 100.0f);
    if (engine->progress && percent != engine->percent) engine->progress(engine->user, "load", percent, 100);
    engine->percent = percent;
    return !(engine->stop && engine->stop(engine->user));
}

static void on_make_progress(void *user, int64_t done, int64_t total) {
    kvat_llama *engine = user;
    int percent = (int)(100 * done / total);
    if (!engine->progress || percent == engine->percent) return;
    engine->percent = percent;
    engine->progress(engine->user, "make model", done, total);
}

/* ---- the model's file ---- */

static int make_synthetic(kvat_llama *engine, kvat_fault *fault) {
    kvat_synthetic synthetic;
    kvat_error err = KVAT_ERROR_INIT;
    if (kvat_synthetic_parse(&synthetic, engine->name, &err) != KVAT_OK ||
        kvat_synthetic_file(&engine->path, &synthetic, on_make_progress, engine, &err) != KVAT_OK)
        return fault_of_error(&err, fault);
    if (kvat_model_facts_open(&engine->facts, engine->path, &err) != KVAT_OK) return fault_of_error(&err, fault);
    /* What the file holds follows from its key, so the key identifies it wherever and whenever it was written. */
    snprintf(engine->facts.identity, sizeof engine->facts.identity, "sha256:%s", synthetic.key);
    return 0;
}

static int open_file(kvat_llama *engine, kvat_fault *fault) {
    kvat_error err = KVAT_ERROR_INIT;
    engine->path = strdup(engine->name);
    if (!engine->path) return kvat_fault_set(fault, KVAT_FAULT_OOM_HOST, NULL, "no memory for a path");
    if (kvat_model_facts_open(&engine->facts, engine->path, &err) != KVAT_OK) return fault_of_error(&err, fault);
    return 0;
}

int kvat_llama_unchanged(const kvat_llama *engine, kvat_fault *fault) {
    kvat_error err = KVAT_ERROR_INIT;
    if (kvat_model_facts_unchanged(&engine->facts, &err) == KVAT_OK) return 0;
    return kvat_fault_set(fault, KVAT_FAULT_BAD_MODEL, NULL, "%s", err.message);
}

int kvat_llama_open(kvat_llama *engine, const char *name, bool afresh, kvat_fault *fault) {
    bool same = engine->name && strcmp(engine->name, name) == 0;
    if (same && (!afresh || kvat_model_facts_unchanged(&engine->facts, NULL) == KVAT_OK))
        return kvat_llama_unchanged(engine, fault);
    forget_model(engine);
    engine->name = strdup(name);
    if (!engine->name) return kvat_fault_set(fault, KVAT_FAULT_OOM_HOST, NULL, "no memory for a name");
    engine->synthetic = strncmp(name, KVAT_SYNTHETIC_PREFIX, strlen(KVAT_SYNTHETIC_PREFIX)) == 0;
    int failed = engine->synthetic ? make_synthetic(engine, fault) : open_file(engine, fault);
    if (failed) forget_model(engine);
    return failed;
}

/* ---- the model ---- */

struct llama_model_params kvat__llama_model_params(const kvat_settings *settings) {
    struct llama_model_params params = llama_model_default_params();
    params.n_gpu_layers = settings->gpu_layers;
    params.split_mode = (enum llama_split_mode)settings->split_mode;
    params.main_gpu = settings->main_gpu;
    params.load_mode = (enum llama_load_mode)settings->load_mode;
    params.use_extra_bufts = settings->repack != 0;
    return params;
}

void kvat_llama_unload(kvat_llama *engine) {
    kvat_llama_unprepare(engine);
    llama_model_free(engine->model);
    engine->model = NULL;
}

/* Experts of the first layers, by name; the patterns live as long as the call that needs them. */
typedef struct expert_overrides {
    char patterns[KVAT_MODEL_MAX_LAYERS][64];
    struct llama_model_tensor_buft_override list[KVAT_MODEL_MAX_LAYERS + 1];
} expert_overrides;

static expert_overrides *overrides_make(int layers) {
    expert_overrides *o = calloc(1, sizeof *o);
    for (int i = 0; o && i < layers; i++) {
        snprintf(o->patterns[i], sizeof o->patterns[i], "blk\\.%d\\.ffn_(up|down|gate|gate_up)_(ch|)exps", i);
        o->list[i].pattern = o->patterns[i];
        o->list[i].buft = ggml_backend_cpu_buffer_type();
    }
    return o;
}

static int check_loaded(kvat_llama *engine, const kvat_settings *asked, kvat_fault *fault) {
    bool lock = asked->load_mode == LLAMA_LOAD_MODE_MLOCK || asked->load_mode == LLAMA_LOAD_MODE_MMAP_MLOCK;
    if (lock && engine->log.no_lock)
        return kvat_fault_set(fault, KVAT_FAULT_UNSUPPORTED, "load-mode", "the weights could not be locked in memory");
    if (!llama_model_has_decoder(engine->model) || llama_model_has_encoder(engine->model))
        return kvat_fault_set(fault, KVAT_FAULT_UNSUPPORTED, NULL, "this model is no plain text decoder");
    return 0;
}

int kvat_llama_load(kvat_llama *engine, const kvat_settings *asked, kvat_fault *fault) {
    kvat_llama_unload(engine);
    kvat_log_watch_reset(&engine->log);
    struct llama_model_params params = kvat__llama_model_params(asked);
    params.progress_callback = on_load_progress;
    params.progress_callback_user_data = engine;
    expert_overrides *overrides = asked->cpu_moe ? overrides_make(asked->cpu_moe) : NULL;
    if (asked->cpu_moe && !overrides)
        return kvat_fault_set(fault, KVAT_FAULT_OOM_HOST, NULL, "no memory for overrides");
    if (overrides) params.tensor_buft_overrides = overrides->list;
    engine->model = llama_model_load_from_file(engine->path, params);
    free(overrides);

    if (!engine->model && engine->stop && engine->stop(engine->user))
        return kvat_fault_set(fault, KVAT_FAULT_CANCELLED, NULL, "loading was cancelled");
    if (!engine->model) return kvat__llama_fault(engine, KVAT_FAULT_BAD_MODEL, "libllama refused the model", fault);
    if (check_loaded(engine, asked, fault) != 0) {
        kvat_llama_unload(engine);
        return -1;
    }
    kvat_settings_take(&engine->settings, asked, KVAT_KNOB_MODEL);
    bool no_device = !llama_supports_gpu_offload();
    if (no_device && engine->settings.load_mode == LLAMA_LOAD_MODE_AUTO)
        engine->settings.load_mode = LLAMA_LOAD_MODE_MMAP;
    return 0;
}

/* ---- threads ---- */

static void read_mask(bool *out, const char *text) {
    if (strncmp(text, "0x", 2) != 0) return;
    size_t digits = strlen(text) - 2;
    for (size_t i = 0; i < digits; i++) {
        char c = text[2 + digits - 1 - i];
        int value = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
        for (size_t bit = 0; bit < 4 && 4 * i + bit < GGML_MAX_N_THREADS; bit++) out[4 * i + bit] = value >> bit & 1;
    }
}

static struct ggml_threadpool_params pool_params(const kvat_settings *settings, int threads) {
    struct ggml_threadpool_params params;
    ggml_threadpool_params_init(&params, threads);
    read_mask(params.cpumask, settings->cpu_mask);
    params.prio = (enum ggml_sched_priority)settings->priority;
    params.poll = (uint32_t)settings->poll;
    params.strict_cpu = settings->cpu_strict != 0;
    return params;
}

static void pools_free(kvat_llama *engine) {
    if (engine->context) llama_detach_threadpool(engine->context);
    ggml_threadpool_free(engine->pool);
    ggml_threadpool_free(engine->pool_batch);
    engine->pool = engine->pool_batch = NULL;
}

/* As llama-server does it: a pool for each of the two thread counts, one when they are equal. */
static int pools_make(kvat_llama *engine, const kvat_settings *settings, kvat_fault *fault) {
    struct ggml_threadpool_params one = pool_params(settings, settings->threads);
    struct ggml_threadpool_params batch = pool_params(settings, settings->threads_batch);
    pools_free(engine);
    if (settings->threads != settings->threads_batch) {
        engine->pool_batch = ggml_threadpool_new(&batch);
        one.paused = true;
    }
    engine->pool = ggml_threadpool_new(&one);
    if (!engine->pool || (one.paused && !engine->pool_batch)) {
        pools_free(engine);
        return kvat_fault_set(fault, KVAT_FAULT_INTERNAL, "threads", "the engine could not start its threads");
    }
    llama_attach_threadpool(engine->context, engine->pool, engine->pool_batch);
    return 0;
}

int kvat_llama_set_threads(kvat_llama *engine, const kvat_settings *asked, kvat_fault *fault) {
    bool same = engine->pool && asked->threads == engine->settings.threads &&
                asked->threads_batch == engine->settings.threads_batch;
    if (same) return 0;
    if (pools_make(engine, asked, fault) != 0) return -1;
    llama_set_n_threads(engine->context, asked->threads, asked->threads_batch);
    engine->settings.threads = llama_n_threads(engine->context);
    engine->settings.threads_batch = llama_n_threads_batch(engine->context);
    return 0;
}

/* ---- the context ---- */

struct llama_context_params kvat__llama_context_params(const kvat_settings *settings, int64_t context_tokens,
                                                       int64_t sequences) {
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = (uint32_t)context_tokens;
    params.n_batch = (uint32_t)settings->batch;
    params.n_ubatch = (uint32_t)settings->ubatch;
    params.n_seq_max = (uint32_t)sequences;
    params.n_outputs_max =
        (uint32_t)sequences; /* one token a sequence, as in llama-server: more would swell the logits */
    params.n_outputs_max_per_seq = 1;
    params.n_threads = settings->threads;
    params.n_threads_batch = settings->threads_batch;
    params.type_k = (enum ggml_type)settings->type_k;
    params.type_v = (enum ggml_type)settings->type_v;
    params.offload_kqv = settings->kv_offload != 0;
    params.op_offload = settings->op_offload != 0;
    params.swa_full = settings->swa_full != 0;
    params.kv_unified = settings->kv_unified != 0;
    /* `auto` takes the same path as `on` but says in the log whether it came into force. */
    params.flash_attn_type =
        settings->flash == KVAT_FLASH_SETTING_OFF ? LLAMA_FLASH_ATTN_TYPE_DISABLED : LLAMA_FLASH_ATTN_TYPE_AUTO;
    return params;
}

void kvat_llama_unprepare(kvat_llama *engine) {
    pools_free(engine);
    llama_free(engine->context);
    engine->context = NULL;
    free(engine->pending);
    engine->pending = NULL;
    engine->depth = 0;
}

int64_t kvat_llama_context_tokens(const kvat_llama *engine) {
    return (int64_t)llama_n_ctx(engine->context);
}

int64_t kvat_llama_sequence_tokens(const kvat_llama *engine) {
    int64_t all = kvat_llama_context_tokens(engine), one = (int64_t)llama_n_ctx_seq(engine->context);
    return all / engine->sequences < one ? all / engine->sequences : one;
}

/* The knob an error line speaks of. */
static const char *knob_of(const char *error) {
    if (strstr(error, "V cache")) return "cache-type-v";
    if (strstr(error, "K cache")) return "cache-type-k";
    if (strstr(error, "K (") && strstr(error, "V (")) return "cache-type-k";
    if (strstr(error, "flash_attn") || strstr(error, "Flash Attention")) return "flash-attn";
    return NULL;
}

static int no_context(const kvat_llama *engine, kvat_fault *fault) {
    const char *knob = knob_of(engine->log.error);
    if (!knob) return kvat__llama_fault(engine, KVAT_FAULT_UNSUPPORTED, "libllama made no context", fault);
    return kvat_fault_set(fault, KVAT_FAULT_UNSUPPORTED, knob, "libllama made no context: %s", engine->log.error);
}

static void read_type(int *type, const char *logged) {
    const kvat_knob_row *row = kvat_knob_find("cache-type-k");
    if (logged[0]) kvat_knob_word_find(type, row, logged);
}

/* What came into force, as far as libllama tells. */
static void read_back(kvat_llama *engine, const kvat_settings *asked) {
    kvat_settings *now = &engine->settings;
    now->batch = (int)llama_n_batch(engine->context);
    now->ubatch = (int)llama_n_ubatch(engine->context);
    now->type_k = asked->type_k;
    now->type_v = asked->type_v;
    read_type(&now->type_k, engine->log.key_type);
    read_type(&now->type_v, engine->log.value_type);
    now->flash = KVAT_FLASH_SETTING_OFF;
    if (asked->flash != KVAT_FLASH_SETTING_OFF)
        now->flash = engine->log.flash == KVAT_FLASH_ON    ? KVAT_FLASH_SETTING_ON
                     : engine->log.flash == KVAT_FLASH_OFF ? KVAT_FLASH_SETTING_OFF
                                                           : KVAT_FLASH_SETTING_AUTO;
    now->swa_full = asked->swa_full;
    now->kv_offload = asked->kv_offload;
    now->op_offload = asked->op_offload;
    now->kv_unified =
        engine->sequences > 1 ? llama_n_ctx_seq(engine->context) == llama_n_ctx(engine->context) : asked->kv_unified;
}

static int check_asked(const kvat_llama *engine, const kvat_settings *asked, int64_t context_tokens, int64_t sequences,
                       kvat_fault *fault) {
    if (context_tokens < 1 || context_tokens > INT32_MAX)
        return kvat_fault_set(fault, KVAT_FAULT_INVALID_SETTING, NULL, "context_tokens must be from 1 to %d",
                              INT32_MAX);
    if (sequences < 1 || sequences > (int64_t)llama_max_parallel_sequences())
        return kvat_fault_set(fault, KVAT_FAULT_UNSUPPORTED, NULL, "from 1 to %zu sequences are supported",
                              llama_max_parallel_sequences());
    if (asked->swa_full && llama_model_n_swa(engine->model) == 0)
        return kvat_fault_set(fault, KVAT_FAULT_UNSUPPORTED, "swa-full", "no layer of this model has a sliding window");
    return 0;
}

int kvat_llama_prepare(kvat_llama *engine, const kvat_settings *asked, int64_t context_tokens, int64_t sequences,
                       kvat_fault *fault) {
    kvat_llama_unprepare(engine);
    if (!engine->model) return kvat_fault_set(fault, KVAT_FAULT_INVALID_SETTING, NULL, "no model is loaded any more");
    if (check_asked(engine, asked, context_tokens, sequences, fault) != 0) return -1;
    kvat_log_watch_reset(&engine->log);
    struct llama_context_params params = kvat__llama_context_params(asked, context_tokens, sequences);
    params.abort_callback = should_stop;
    params.abort_callback_data = engine;
    engine->context = llama_init_from_model(engine->model, params);
    if (!engine->context) return no_context(engine, fault);

    engine->sequences = sequences;
    engine->pending = calloc((size_t)sequences, sizeof *engine->pending);
    int failed = engine->pending ? 0 : kvat_fault_set(fault, KVAT_FAULT_OOM_HOST, NULL, "no memory for sequences");
    if (!failed) {
        read_back(engine, asked);
        failed = kvat_llama_set_threads(engine, asked, fault);
    }
    if (failed) kvat_llama_unprepare(engine);
    return failed;
}
