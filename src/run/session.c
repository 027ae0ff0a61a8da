// Keeps one worker ready: spawned, introduced, the right model loaded; restarted after a death or when a setting asks
// for it. Must not decide what to measure, nor judge results.
#include <stdlib.h>
#include <string.h>

#include "kvat/file.h"
#include "session.h"

#define DESCRIBE_DEADLINE_NS (20 * 60 * KVAT_NS_PER_S) /* a synthetic model may have to be written first */
#define LOAD_DEADLINE_NS     (30 * 60 * KVAT_NS_PER_S)
#define SHORT_DEADLINE_NS    (120 * KVAT_NS_PER_S)
#define VIRTUAL_DEADLINE_NS  (10 * KVAT_NS_PER_S) /* a virtual clock answers at once or never */

static kvat_status nomem(kvat_error *err) {
    return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate a request to the worker");
}

/* ---- calls ---- */

/** An answer that cannot be right: the worker is ended, as after any other breach of the protocol. */
static void break_off(kvat_call *call, kvat__session *s, const char *detail) {
    call->outcome = KVAT_CALL_PROTOCOL;
    snprintf(call->detail, sizeof call->detail, "%s", detail);
    kvat__session_drop_worker(s);
}

/** Follows the worker's clock. A virtual one is the run's own: it goes forward, in steps that a run can take. */
static bool take_clock(kvat__session *s, const json_t *result) {
    int64_t now_ns = 0;
    if (!kvat__get_count(&now_ns, result, "now_ns", KVAT__MOST_CLOCK_NS)) return false;
    if (!kvat__says(result, "now_ns")) return true;
    if (s->virtual_clock && (now_ns < s->now_ns || now_ns - s->now_ns > KVAT__MOST_DURATION_NS)) return false;
    s->now_ns = now_ns;
    return true;
}

kvat_status kvat__session_call(kvat_call *out, kvat__session *s, const char *method, json_t *params,
                               int64_t deadline_ns, kvat_error *err) {
    if (!params)
        return kvat_fail(err, KVAT_ERR_DATA,
                         "no request to the worker can be made: a name in it is not UTF-8, or memory is out");
    if (s->virtual_clock && deadline_ns > VIRTUAL_DEADLINE_NS) deadline_ns = VIRTUAL_DEADLINE_NS;
    kvat_status status = kvat_worker_call(out, s->worker, method, params, deadline_ns, err);
    if (status != KVAT_OK) return status;
    if (out->outcome == KVAT_CALL_OK && !take_clock(s, out->result))
        break_off(out, s, "now_ns is no reading of a clock that goes forward");
    else if (!kvat_worker_alive(s->worker))
        kvat__session_drop_worker(s);
    return KVAT_OK;
}

kvat_trial_status kvat__status_of_call(const kvat_call *call) {
    switch (call->outcome) {
    case KVAT_CALL_OK:
        return KVAT_TRIAL_OK;
    case KVAT_CALL_TIMEOUT:
        return KVAT_TRIAL_HANG;
    case KVAT_CALL_DIED:
        return call->death.kind == KVAT_DEATH_OOM ? KVAT_TRIAL_OOM_HOST : KVAT_TRIAL_CRASH;
    case KVAT_CALL_PROTOCOL:
        return KVAT_TRIAL_PROTOCOL_ERROR;
    case KVAT_CALL_FAULT:
        break;
    }
    switch (call->fault.kind) {
    case KVAT_FAULT_UNSUPPORTED:
        return KVAT_TRIAL_UNSUPPORTED;
    case KVAT_FAULT_OOM_HOST:
        return KVAT_TRIAL_OOM_HOST;
    case KVAT_FAULT_OOM_DEVICE:
        return KVAT_TRIAL_OOM_DEVICE;
    case KVAT_FAULT_INVALID_SETTING:
        return KVAT_TRIAL_INVALID;
    default:
        return KVAT_TRIAL_CRASH;
    }
}

static bool is_out_of_limit(const kvat__session *s, const kvat_call *call) {
    return call->outcome == KVAT_CALL_DIED && call->death.kind == KVAT_DEATH_OOM && s->options.memory_limit_bytes > 0;
}

/** A call without which there is no run: everything but success is an error. */
static kvat_status call_or_fail(json_t **result, kvat__session *s, const char *method, json_t *params,
                                int64_t deadline_ns, kvat_error *err) {
    kvat_call call = {0};
    kvat_status status = kvat__session_call(&call, s, method, params, deadline_ns, err);
    if (status == KVAT_OK && call.outcome == KVAT_CALL_OK) {
        *result = json_incref(call.result);
    } else if (status == KVAT_OK && is_out_of_limit(s, &call)) {
        kvat_buf limit = KVAT_BUF_INIT;
        kvat_put_bytes(&limit, s->options.memory_limit_bytes);
        status = kvat_fail(err, KVAT_ERR_ENGINE, "%s: %s failed: %s; --max-memory allows it %s",
                           s->options.engine->name, method, call.detail, limit.bytes ? limit.bytes : "too little");
        kvat_buf_clear(&limit);
    } else if (status == KVAT_OK) {
        bool model = call.outcome == KVAT_CALL_FAULT && call.fault.kind == KVAT_FAULT_BAD_MODEL;
        status =
            model ? kvat_fail(err, KVAT_ERR_DATA, "%s", call.fault.detail)
                  : kvat_fail(err, KVAT_ERR_ENGINE, "%s: %s failed: %s", s->options.engine->name, method, call.detail);
    }
    kvat_call_clear(&call);
    return status;
}

/* ---- the process ---- */

void kvat__session_drop_worker(kvat__session *s) {
    kvat_worker_free(s->worker);
    s->worker = NULL;
    kvat_buf_reset(&s->loaded);
    s->loaded_ns = 0;
    s->used = false;
    kvat__session_forget_context(s);
}

void kvat__session_forget_context(kvat__session *s) {
    json_decref(s->left.made_with);
    json_decref(s->left.effective);
    s->left = (kvat__left_context){0};
}

static void on_progress(void *user, const char *stage, int64_t done, int64_t total) {
    kvat__session *s = user;
    const kvat_events *events = s->options.events;
    if (!events || !events->on_event) return;
    kvat_event event = {.kind = KVAT_EVENT_STAGE, .text = stage, .done = done, .total = total};
    events->on_event(events->user, &event);
}

/** argv and environment of a worker with these process-scope settings (knobs off default only). */
typedef struct launch_lists {
    const char **command;
    const char **environment;
    char **owned;
    size_t n_owned;
} launch_lists;

static void lists_clear(launch_lists *lists) {
    for (size_t i = 0; i < lists->n_owned; i++) free(lists->owned[i]);
    free(lists->owned);
    free(lists->command);
    free(lists->environment);
}

static size_t count(char *const *words) {
    size_t n = 0;
    while (words[n]) n++;
    return n;
}

static kvat_status lists_make(launch_lists *lists, const kvat_engine *engine, const kvat_knobs *knobs,
                              const json_t *settings, kvat_error *err) {
    size_t commands = count(engine->command), variables = count(engine->environment);
    size_t extra = json_object_size(settings);
    lists->command = calloc(commands + 2 * extra + 1, sizeof *lists->command);
    lists->environment = calloc(variables + extra + 1, sizeof *lists->environment);
    lists->owned = calloc(extra + 1, sizeof *lists->owned);
    if (!lists->command || !lists->environment || !lists->owned) return nomem(err);
    memcpy(lists->command, engine->command, commands * sizeof *lists->command);
    memcpy(lists->environment, engine->environment, variables * sizeof *lists->environment);
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)settings, name, value) {
        size_t index = kvat_knobs_find(knobs, name);
        if (index == SIZE_MAX) continue;
        const kvat_knob *knob = kvat_knobs_at(knobs, index);
        kvat_buf word = KVAT_BUF_INIT;
        if (knob->apply_env) kvat_buf_printf(&word, "%s=", knob->apply_env);
        if (json_is_integer(value))
            kvat_buf_printf(&word, "%lld", (long long)json_integer_value(value));
        else
            kvat_buf_puts(&word, json_string_value(value));
        char *text = kvat_buf_take(&word);
        if (!text) return nomem(err);
        lists->owned[lists->n_owned++] = text;
        if (knob->apply_env) lists->environment[variables++] = text;
        if (knob->apply_arg) {
            lists->command[commands++] = knob->apply_arg;
            lists->command[commands++] = text;
        }
    }
    return KVAT_OK;
}

static kvat_status spawn(kvat__session *s, const kvat_knobs *knobs, const json_t *process, kvat_error *err) {
    launch_lists lists = {0};
    kvat_status status = lists_make(&lists, s->options.engine, knobs, process, err);
    if (status == KVAT_OK) {
        kvat_worker_options options = {.command = lists.command,
                                       .environment = lists.environment,
                                       .launch = s->options.launch,
                                       .memory_limit_bytes = s->options.memory_limit_bytes,
                                       .cancel = s->options.cancel,
                                       .on_progress = on_progress,
                                       .user = s};
        status = kvat_worker_spawn(&s->worker, &options, err);
    }
    lists_clear(&lists);
    if (status != KVAT_OK) return status;
    json_decref(s->process);
    s->process = process ? json_deep_copy(process) : json_object();
    return s->process ? KVAT_OK : nomem(err);
}

static kvat_status initialize(kvat__session *s, json_t **hello, bool replay_load, int64_t loaded_ns, kvat_error *err) {
    json_t *params =
        json_pack("{s:{s:s, s:s}, s:{s:i, s:i}, s:I, s:I, s:I, s:b, s:I}", "client", "name", "kvat", "version",
                  kvat_version(), "protocol", "min", 1, "max", 1, "launch_index", (json_int_t)s->launch, "world_seed",
                  (json_int_t)s->options.world_seed, "virtual_now_ns", (json_int_t)s->now_ns, "replay_load",
                  (int)replay_load, "virtual_loaded_ns", (json_int_t)loaded_ns);
    json_t *result = NULL;
    kvat_status status = call_or_fail(&result, s, "initialize", params, SHORT_DEADLINE_NS, err);
    if (status != KVAT_OK) return status;
    const json_t *protocol = json_object_get(result, "protocol");
    const char *name = json_string_value(json_object_get(json_object_get(result, "engine"), "name"));
    const char *clock = json_string_value(json_object_get(result, "clock"));
    if (!json_is_integer(protocol) || json_integer_value(protocol) != 1)
        status =
            kvat_fail(err, KVAT_ERR_ENGINE, "%s speaks another protocol version than kvat/1", s->options.engine->name);
    else if (!name || !clock)
        status = kvat_fail(err, KVAT_ERR_ENGINE, "%s: `initialize` answered without engine or clock",
                           s->options.engine->name);
    if (status == KVAT_OK) s->virtual_clock = strcmp(clock, "virtual") == 0;
    if (status == KVAT_OK && hello) *hello = json_incref(result);
    json_decref(result);
    return status;
}

/** `first` is the description that a run's notes are taken from. */
static kvat_status describe(kvat__session *s, json_t **out, bool first, kvat_error *err) {
    json_t *result = NULL, *params = json_pack("{s:s, s:b}", "model", s->options.model, "measuring", (int)first);
    kvat_status status = call_or_fail(&result, s, "describe", params, DESCRIBE_DEADLINE_NS, err);
    if (status != KVAT_OK) return status;
    const char *identity = json_string_value(json_object_get(json_object_get(result, "model"), "identity"));
    if (!identity) {
        status =
            kvat_fail(err, KVAT_ERR_ENGINE, "%s: `describe` answered without model.identity", s->options.engine->name);
    } else if (s->identity.length == 0) {
        kvat_buf_puts(&s->identity, identity);
    } else if (strcmp(s->identity.bytes, identity) != 0) {
        status = kvat_fail(err, KVAT_ERR_DATA,
                           "model changed during the run: its identity is no longer what it was at "
                           "the start (start again when it is settled)");
    }
    if (status == KVAT_OK && out) *out = json_incref(result);
    json_decref(result);
    return status;
}

kvat_status kvat__session_open(kvat__session **out, json_t **hello, json_t **described,
                               const kvat__session_options *options, kvat_error *err) {
    kvat__session *s = calloc(1, sizeof *s);
    if (!s) return nomem(err);
    s->options = *options;
    kvat_status status = spawn(s, NULL, NULL, err);
    if (status == KVAT_OK) status = initialize(s, hello, false, 0, err);
    if (status == KVAT_OK && described) status = describe(s, described, options->measures, err);
    if (status == KVAT_OK)
        *out = s;
    else
        kvat__session_close(s);
    return status;
}

void kvat__session_close(kvat__session *s) {
    if (!s) return;
    kvat_worker_free(s->worker);
    kvat__session_forget_context(s);
    json_decref(s->process);
    kvat_buf_clear(&s->loaded);
    kvat_buf_clear(&s->identity);
    free(s->prompt_ids);
    free(s);
}

/* ---- readiness ---- */

/** The settings of one scope, off-default ones only for the process scope (a default is what happens without asking).
 */
kvat_status kvat__scope_settings(json_t **out, const kvat__job *job, size_t config, kvat_scope scope, kvat_error *err) {
    json_t *object = NULL;
    kvat_status status = kvat_space_settings(&object, job->space, config, (int)scope, err);
    if (status != KVAT_OK) return status;
    if (scope == KVAT_SCOPE_PROCESS) {
        const uint16_t *levels = kvat_space_levels(job->space, config);
        for (size_t k = 0; k < kvat_knobs_count(job->knobs); k++) {
            const kvat_knob *knob = kvat_knobs_at(job->knobs, k);
            if (knob->scope == scope && levels[k] == knob->default_level) json_object_del(object, knob->name);
        }
    }
    *out = object;
    return KVAT_OK;
}

kvat_status kvat__session_ensure_worker(kvat__session *s, const kvat__job *job, const json_t *process, bool fresh,
                                        kvat_error *err) {
    if (s->worker && (!json_equal(s->process, process) || (fresh && s->used))) kvat__session_drop_worker(s);
    if (s->worker) return KVAT_OK;
    s->launch++;
    kvat_status status = spawn(s, job->knobs, process, err);
    if (status == KVAT_OK) status = initialize(s, NULL, false, 0, err);
    if (status == KVAT_OK) status = describe(s, NULL, false, err);
    return status;
}

/** Notes what the worker holds: {"process": …, "model": …}. */
static kvat_status note_loaded(kvat__session *s, const json_t *model, kvat_error *err) {
    json_t *both = json_pack("{s:O, s:O}", "process", s->process, "model", model);
    kvat_buf_reset(&s->loaded);
    kvat_status status = both ? kvat_json_put(&s->loaded, both) : nomem(err);
    json_decref(both);
    return status == KVAT_OK ? kvat_buf_status(&s->loaded, err) : status;
}

/** True when the worker already holds these model-scope settings. */
static bool holds(const kvat__session *s, const json_t *model) {
    if (s->loaded.length == 0) return false;
    json_error_t ignored;
    json_t *both = json_loadb(s->loaded.bytes, s->loaded.length, 0, &ignored);
    bool same = both && json_equal(json_object_get(both, "model"), model);
    json_decref(both);
    return same;
}

kvat_status kvat__session_ensure_model(kvat_call *call, kvat__session *s, const json_t *model, kvat_error *err) {
    if (holds(s, model)) {
        call->outcome = KVAT_CALL_OK;
        return KVAT_OK;
    }
    kvat_buf_reset(&s->loaded);
    kvat__session_forget_context(s);
    json_t *params = json_pack("{s:s, s:O}", "model", s->options.model, "settings", model);
    kvat_status status = kvat__session_call(call, s, "load", params, LOAD_DEADLINE_NS, err);
    if (status != KVAT_OK || call->outcome != KVAT_CALL_OK) return status;
    if (!kvat__get_count(&s->loaded_ns, call->result, "load_ns", KVAT__MOST_DURATION_NS)) {
        break_off(call, s, "load_ns is no duration");
        return KVAT_OK;
    }
    return note_loaded(s, model, err);
}

kvat_status kvat__session_restore(kvat__session *s, const kvat__session_state *state, kvat_error *err) {
    if (!s->virtual_clock) {
        s->launch = state->launch + 1;
        return KVAT_OK;
    }
    kvat__session_drop_worker(s);
    s->launch = state->launch;
    s->now_ns = state->virtual_now_ns;
    if (!state->loaded_json || !*state->loaded_json) return KVAT_OK;
    json_t *both = NULL;
    kvat_call call = {0};
    kvat_status status =
        kvat_json_parse(&both, state->loaded_json, strlen(state->loaded_json), "the stored state", err);
    if (status == KVAT_OK) status = spawn(s, s->knobs, json_object_get(both, "process"), err);
    if (status == KVAT_OK) status = initialize(s, NULL, true, state->loaded_ns, err);
    if (status == KVAT_OK) status = describe(s, NULL, false, err);
    if (status == KVAT_OK) status = kvat__session_ensure_model(&call, s, json_object_get(both, "model"), err);
    if (status == KVAT_OK && call.outcome != KVAT_CALL_OK)
        status = kvat_fail(err, KVAT_ERR_ENGINE, "cannot load what the interrupted run held: %s", call.detail);
    s->now_ns = state->virtual_now_ns;
    s->used = true;
    kvat_call_clear(&call);
    json_decref(both);
    return status;
}

/* ---- prompts of the user's own ---- */

static kvat_status prompt_text(kvat_buf *out, const kvat_profile *profile, kvat_error *err) {
    kvat_buf text = KVAT_BUF_INIT;
    kvat_status status = kvat_file_read(&text, profile->prompts_file, (size_t)64 << 20, err);
    if (status == KVAT_OK) {
        kvat_buf_puts(out, profile->prompts_prefix ? profile->prompts_prefix : "");
        kvat_buf_put(out, text.bytes, text.length);
        kvat_buf_puts(out, profile->prompts_suffix ? profile->prompts_suffix : "");
        status = kvat_buf_status(out, err);
    }
    kvat_buf_clear(&text);
    return status;
}

static kvat_status take_ids(kvat__session *s, const json_t *ids, kvat_error *err) {
    size_t n = json_array_size(ids);
    if (n == 0) return kvat_fail(err, KVAT_ERR_DATA, "the prompt file gives no tokens");
    s->prompt_ids = malloc(n * sizeof *s->prompt_ids);
    if (!s->prompt_ids) return nomem(err);
    for (size_t i = 0; i < n; i++) {
        const json_t *id = json_array_get(ids, i);
        s->prompt_ids[i] = json_integer_value(id);
        if (!json_is_integer(id) || s->prompt_ids[i] < 0 || s->prompt_ids[i] > KVAT__MOST_TOKENS)
            return kvat_fail(err, KVAT_ERR_ENGINE, "%s: tokenize answered ids[%zu] that is no token",
                             s->options.engine->name, i);
    }
    s->n_prompt_ids = n;
    return KVAT_OK;
}

kvat_status kvat__session_ensure_prompts(kvat__session *s, const kvat_profile *profile, kvat_error *err) {
    if (!profile->prompts_file || s->prompt_ids) return KVAT_OK;
    kvat_buf text = KVAT_BUF_INIT;
    json_t *result = NULL;
    kvat_status status = prompt_text(&text, profile, err);
    if (status == KVAT_OK)
        status = call_or_fail(&result, s, "tokenize", json_pack("{s:s%}", "text", text.bytes, text.length),
                              SHORT_DEADLINE_NS, err);
    if (status == KVAT_OK) status = take_ids(s, json_object_get(result, "ids"), err);
    kvat_buf_clear(&text);
    json_decref(result);
    return status;
}
