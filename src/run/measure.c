// Measures one step with a ready worker: prepare, warm up, run every depth, read memory, check what was in force.
// Must not choose what to measure, nor write anything down.
#include <stdlib.h>
#include <string.h>

#include "session.h"

#define PREPARE_DEADLINE_NS  (5 * 60 * KVAT_NS_PER_S)
#define SHORT_DEADLINE_NS    (60 * KVAT_NS_PER_S)
#define CLOCK_SLACK_NS       (20 * KVAT_NS_PER_MS)
#define RUN_GRACE_NS         (30 * KVAT_NS_PER_S) /* the worker stops itself at its limit; this is for the answer */
#define WARMUP_PROMPT_TOKENS 128
#define MOST_FOREIGN_CPU     0.25 /* share of the machine that others may use during a run */
#define WARMUP_OUTPUT_TOKENS 4

/** What one trial carries through its stages. */
typedef struct trial {
    kvat__measurement *m;
    kvat__session *s;
    const kvat__job *job;
    const kvat__step *step;
    int64_t run_limit_ns;
    int cores;
    json_t *process, *model, *context, *request; /**< settings by scope */
    json_t *effective;                           /**< what was read back so far */
    json_t *made_with;                           /**< of the context, where the next trial may take it over */
    bool takes_over;                             /**< the context of the trial before */
    bool judge_load;
} trial;

static kvat_status nomem(kvat_error *err) {
    return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate a trial");
}

static void set_status(trial *t, kvat_trial_status status, const char *detail) {
    t->m->record.status = status;
    kvat_buf_reset(&t->m->detail);
    kvat_buf_puts(&t->m->detail, detail);
}

/** Makes a call's failure the trial's; "model changed" ends the run instead. */
static kvat_status fail_with(trial *t, const kvat_call *call, kvat_error *err) {
    if (call->outcome == KVAT_CALL_FAULT && call->fault.kind == KVAT_FAULT_BAD_MODEL)
        return kvat_fail(err, KVAT_ERR_DATA, "%s", call->fault.detail);
    set_status(t, kvat__status_of_call(call), call->detail);
    return KVAT_OK;
}

static bool going(const trial *t, kvat_status status) {
    return status == KVAT_OK && t->m->record.status == KVAT_TRIAL_OK;
}

/** Reads an integer of an answer, 0 when it is missing; one that is impossible breaks the protocol. */
static void take_count(int64_t *out, trial *t, const json_t *object, const char *member, int64_t most) {
    char text[128];
    if (t->m->record.status != KVAT_TRIAL_OK || kvat__get_count(out, object, member, most)) return;
    snprintf(text, sizeof text, "the worker's %s is not an integer from 0 to %lld", member, (long long)most);
    set_status(t, KVAT_TRIAL_PROTOCOL_ERROR, text);
}

/* ---- settings in force ---- */

static void collect_effective(trial *t, const json_t *result) {
    json_t *effective = json_object_get(result, "effective");
    if (json_is_object(effective)) json_object_update(t->effective, effective);
}

static bool same_value(const json_t *a, const json_t *b) {
    if (json_is_integer(a) && json_is_integer(b)) return json_integer_value(a) == json_integer_value(b);
    return json_is_string(a) && json_is_string(b) && strcmp(json_string_value(a), json_string_value(b)) == 0;
}

static void put_value(kvat_buf *out, const json_t *value) {
    if (json_is_integer(value))
        kvat_buf_printf(out, "%lld", (long long)json_integer_value(value));
    else
        kvat_buf_puts(out, json_is_string(value) ? json_string_value(value) : "?");
}

/** Compares what was read back with what was asked for; a difference makes the trial invalid. */
static kvat_status check_effective(trial *t, int64_t context_tokens, kvat_error *err) {
    json_t *asked = NULL, *expected = NULL;
    kvat_status status = kvat_space_settings(&asked, t->job->space, t->step->config, -1, err);
    if (status == KVAT_OK) status = kvat_knobs_effective(&expected, t->job->knobs, asked, context_tokens, err);
    const char *name;
    json_t *want;
    if (status == KVAT_OK) {
        json_object_foreach(expected, name, want) {
            const json_t *got = json_object_get(t->effective, name);
            if (!got || same_value(want, got)) continue;
            kvat_buf text = KVAT_BUF_INIT;
            kvat_buf_printf(&text, "%s is ", name);
            put_value(&text, got);
            kvat_buf_puts(&text, " in force where ");
            put_value(&text, want);
            kvat_buf_puts(&text, " was asked for");
            set_status(t, KVAT_TRIAL_INVALID, text.bytes ? text.bytes : "settings are not in force");
            kvat_buf_clear(&text);
            break;
        }
    }
    json_decref(asked);
    json_decref(expected);
    return status;
}

/* ---- prompts ---- */

/** Seed of the prompt of one repetition: equal for all configurations in it. 53 bits, so that any JSON reader keeps it
 * exact. */
static uint64_t prompt_seed(const trial *t, int64_t prompt_tokens) {
    char text[96], hex[KVAT_HASH_HEX];
    int n = snprintf(text, sizeof text, "prompt/%llu/%llu/%lld", (unsigned long long)t->job->seed,
                     (unsigned long long)t->step->repetition, (long long)prompt_tokens);
    kvat_hash_bytes(hex, text, (size_t)n);
    hex[14] = '\0';
    return strtoull(hex, NULL, 16) >> 3;
}

/** Tokens of the user's text from an offset of its own for each repetition, cycled to the length asked for. */
static json_t *own_tokens(const trial *t, int64_t count, uint64_t seed) {
    const kvat__session *s = t->s;
    json_t *ids = json_array();
    for (int64_t i = 0; ids && i < count; i++) {
        json_t *id = json_integer(s->prompt_ids[(seed + (uint64_t)i) % s->n_prompt_ids]);
        if (json_array_append_new(ids, id) != 0) {
            json_decref(ids);
            return NULL;
        }
    }
    return ids ? json_pack("{s:o}", "ids", ids) : NULL;
}

static json_t *tokens_of(const trial *t, int64_t count) {
    uint64_t seed = prompt_seed(t, count);
    if (t->s->prompt_ids) return own_tokens(t, count, seed);
    return json_pack("{s:I, s:I, s:I, s:I}", "seed", (json_int_t)seed, "count", (json_int_t)count, "low",
                     (json_int_t)t->job->token_low, "high", (json_int_t)t->job->token_high);
}

/* ---- running ---- */

static json_t *run_params(const trial *t, const kvat__cell_group *group, int64_t prompt_tokens, int64_t output_tokens) {
    return json_pack("{s:O, s:s, s:o, s:I, s:I, s:I}", "settings", t->request, "phase", "full", "tokens",
                     tokens_of(t, prompt_tokens), "output_tokens", (json_int_t)output_tokens, "sequences",
                     (json_int_t)group->sequences, "limit_ns", (json_int_t)t->run_limit_ns);
}

static bool timed_out(const kvat_call *call) {
    const char *word =
        call->outcome == KVAT_CALL_OK ? json_string_value(json_object_get(call->result, "status")) : NULL;
    return word && strcmp(word, "timeout") == 0;
}

static kvat_status call_run(kvat_call *call, trial *t, json_t *params, kvat_error *err) {
    kvat_activity before, after;
    if (!t->job->virtual_clock) kvat_activity_read(&before, kvat_worker_pid(t->s->worker));
    kvat_status status = kvat__session_call(call, t->s, "run", params, t->run_limit_ns + RUN_GRACE_NS, err);
    if (status != KVAT_OK || t->job->virtual_clock || !t->s->worker) return status;
    kvat_activity_read(&after, kvat_worker_pid(t->s->worker));
    kvat_activity difference;
    kvat_activity_since(&difference, &before, &after);
    char cause[128];
    const double never = 1e9;
    bool judge_load =
        t->judge_load || timed_out(call); /* a limit passed under load says nothing of the configuration */
    const char *disturbed = kvat_activity_cause(cause, &difference, t->cores, judge_load ? MOST_FOREIGN_CPU : never);
    json_t *json = NULL;
    kvat_buf_reset(&t->m->activity);
    if (kvat_activity_json(&json, &difference, err) == KVAT_OK) kvat_json_put(&t->m->activity, json);
    json_decref(json);
    if (disturbed && call->outcome == KVAT_CALL_OK) {
        int64_t spent_ns = 0;
        if (kvat__get_span(&spent_ns, call->result))
            t->m->record.run_ns += spent_ns; /* its time was the engine's all the same */
        set_status(t, KVAT_TRIAL_VOIDED, disturbed);
    }
    return KVAT_OK;
}

/** A short run that touches what is allocated lazily; charged to cost, never to a metric. */
static kvat_status warm_up(trial *t, const kvat__cell_group *group, kvat_error *err) {
    int64_t prompt = t->job->profile->cells[group->first].prompt_tokens;
    if (prompt > WARMUP_PROMPT_TOKENS) prompt = WARMUP_PROMPT_TOKENS;
    int64_t times = t->job->profile->warmup > 1 ? t->job->profile->warmup : 1;
    kvat_status status = KVAT_OK;
    for (int64_t i = 0; i < times && going(t, status); i++) {
        kvat_call call = {0};
        status = kvat__session_call(&call, t->s, "run", run_params(t, group, prompt, WARMUP_OUTPUT_TOKENS),
                                    t->run_limit_ns + RUN_GRACE_NS, err);
        if (status == KVAT_OK && call.outcome != KVAT_CALL_OK) status = fail_with(t, &call, err);
        if (going(t, status)) {
            const char *word = json_string_value(json_object_get(call.result, "status"));
            int64_t spent_ns = 0;
            if (!kvat__get_span(&spent_ns, call.result))
                set_status(t, KVAT_TRIAL_PROTOCOL_ERROR, "start_ns and now_ns of the warm-up enclose no time");
            t->m->record.warmup_ns += spent_ns;
            if (word && strcmp(word, "timeout") == 0)
                set_status(t, KVAT_TRIAL_TIMEOUT, "past its time limit in the warm-up");
        }
        kvat_call_clear(&call);
    }
    return status;
}

/** Whether the readings of `run` fit into the time that the call took here. Clocks of two machines may differ a little.
 */
static bool could_last(const kvat__measurement *m, size_t first_timing, int64_t run_ns, int64_t call_ns) {
    int64_t most_ns = call_ns + call_ns / 50 + CLOCK_SLACK_NS;
    bool fits = run_ns <= most_ns;
    for (size_t i = first_timing; i < m->n_timings; i++) {
        const kvat_timing *timing = &m->timings[i];
        fits = fits && timing->ttft_ns <= most_ns;
        fits = fits && timing->token_ns[timing->n_tokens - 1] - timing->start_ns <= most_ns;
    }
    return fits;
}

static kvat_status run_once(trial *t, const kvat__cell_group *group, const kvat__mark *marks, size_t n_marks,
                            bool with_marks, kvat_error *err) {
    const kvat__mark *last = &marks[n_marks - 1];
    json_t *params = run_params(t, group, last->prompt_tokens, last->output_tokens);
    json_t *list = with_marks ? json_array() : NULL;
    for (size_t i = 0; list && i < n_marks; i++) {
        json_t *mark = json_pack("{s:I, s:I}", "prompt_tokens", (json_int_t)marks[i].prompt_tokens, "output_tokens",
                                 (json_int_t)marks[i].output_tokens);
        if (mark && marks[i].repeats > 1 &&
            json_object_set_new(mark, "repeats", json_integer((json_int_t)marks[i].repeats)) != 0) {
            json_decref(mark);
            mark = NULL;
        }
        json_array_append_new(list, mark); /* without memory the list stays too short */
    }
    if (list && (!params || json_array_size(list) != n_marks || json_object_set(params, "marks", list) != 0)) {
        json_decref(params);
        params = NULL;
    }
    json_decref(list);
    kvat_call call = {0};
    const int64_t called_ns = kvat_now_ns(), before_ns = t->m->record.run_ns;
    const size_t n_before = t->m->n_timings;
    kvat_status status = call_run(&call, t, params, err);
    const int64_t call_ns = kvat_now_ns() - called_ns;
    if (status == KVAT_OK && call.outcome != KVAT_CALL_OK) status = fail_with(t, &call, err);
    if (going(t, status)) {
        collect_effective(t, call.result);
        kvat_trial_status read =
            kvat__read_run(t->m, call.result, t->job->profile, group, marks, n_marks, with_marks, &t->m->record.run_ns);
        t->m->record.status = read;
        if (read == KVAT_TRIAL_OK && !t->job->virtual_clock &&
            !could_last(t->m, n_before, t->m->record.run_ns - before_ns, call_ns)) {
            t->m->record.run_ns = before_ns;
            set_status(t, KVAT_TRIAL_PROTOCOL_ERROR, "run answered times longer than the call itself took");
        }
    }
    kvat_call_clear(&call);
    return status;
}

/** No more of each output than the step wants decoded, and that as often as it wants. */
static void shorten(kvat__mark *marks, size_t n, const trial *t) {
    const kvat__step *step = t->step;
    for (size_t i = 0; i < n && step->burst_tokens > 0; i++) {
        if (marks[i].output_tokens > step->burst_tokens) marks[i].output_tokens = step->burst_tokens;
        if (t->job->repeats && !step->plain) marks[i].repeats = step->burst_repeats;
    }
}

static kvat_status run_depths(trial *t, const kvat__cell_group *group, kvat_error *err) {
    kvat__mark *marks = calloc(group->count, sizeof *marks);
    if (!marks) return nomem(err);
    size_t n = kvat__marks_of(marks, t->job->profile, group), first = t->m->n_timings;
    kvat_status status = KVAT_OK;
    shorten(marks, n, t);
    if (t->job->marks && !t->step->plain && (n > 1 || marks[0].repeats > 1)) {
        status = run_once(t, group, marks, n, true, err);
    } else {
        for (size_t i = 0; i < n && going(t, status); i++) status = run_once(t, group, &marks[i], 1, false, err);
    }
    if (going(t, status) && t->step->burst_tokens > 0)
        t->m->record.status = kvat__fit_samples(t->m, t->job->profile, group, first);
    free(marks);
    return status;
}

kvat_status kvat__settings_join(json_t **out, const json_t *a, const json_t *b, kvat_error *err) {
    json_t *both = json_object(); /* json_copy() keeps what it could not copy to itself */
    if (!both || json_object_update(both, (json_t *)a) != 0 || json_object_update(both, (json_t *)b) != 0) {
        json_decref(both);
        return nomem(err);
    }
    *out = both;
    return KVAT_OK;
}

/* ---- a context taken over from the trial before ---- */

/** Where only request-scope settings differ, nothing has to be made anew. A context serves one batch size; under a
 * virtual clock every trial makes its own, since a run that is resumed must find what it would have found. */
static kvat_status look_at_left_context(trial *t, const kvat__cell_group *groups, size_t n_groups, kvat_error *err) {
    if (t->job->virtual_clock || n_groups != 1) return KVAT_OK;
    t->made_with = json_pack("{s:O, s:I, s:I}", "settings", t->context, "context_tokens",
                             (json_int_t)(groups[0].context_tokens * groups[0].sequences), "sequences",
                             (json_int_t)groups[0].sequences);
    if (!t->made_with) return nomem(err);
    t->takes_over = t->s->left.made_with && json_equal(t->s->left.made_with, t->made_with);
    return KVAT_OK;
}

static void take_over(trial *t) {
    kvat_trial_record *record = &t->m->record;
    json_object_update(t->effective, t->s->left.effective);
    record->model_bytes = t->s->left.model_bytes;
    record->kv_bytes = t->s->left.kv_bytes;
    record->compute_bytes = t->s->left.compute_bytes;
}

/** After a clean trial; anything else leaves none. */
static void leave_context(trial *t) {
    const kvat_trial_record *record = &t->m->record;
    const char *name;
    json_t *value;
    kvat__session_forget_context(t->s);
    if (!t->made_with || record->status != KVAT_TRIAL_OK || !t->s->worker) return;
    json_t *effective = json_copy(t->effective);
    if (!effective) return;
    json_object_foreach(t->request, name, value) {
        json_object_del(effective, name);
    }
    t->s->left = (kvat__left_context){.made_with = json_incref(t->made_with),
                                      .effective = effective,
                                      .model_bytes = record->model_bytes,
                                      .kv_bytes = record->kv_bytes,
                                      .compute_bytes = record->compute_bytes,
                                      .config = t->step->config};
}

static kvat_status prepare(trial *t, const kvat__cell_group *group, int64_t context_tokens, kvat_error *err) {
    json_t *settings = NULL;
    kvat_status status = kvat__settings_join(&settings, t->context, t->request, err);
    if (status != KVAT_OK) return status;
    json_t *params = json_pack("{s:o, s:I, s:I}", "settings", settings, "context_tokens", (json_int_t)context_tokens,
                               "sequences", (json_int_t)group->sequences);
    kvat_call call = {0};
    status = kvat__session_call(&call, t->s, "prepare", params, PREPARE_DEADLINE_NS, err);
    if (status == KVAT_OK && call.outcome != KVAT_CALL_OK) status = fail_with(t, &call, err);
    if (going(t, status)) {
        kvat_trial_record *record = &t->m->record;
        const json_t *memory = json_object_get(call.result, "memory");
        collect_effective(t, call.result);
        int64_t given_tokens = 0, prepare_ns = 0;
        take_count(&prepare_ns, t, call.result, "prepare_ns", KVAT__MOST_DURATION_NS);
        take_count(&record->model_bytes, t, memory, "model_bytes", KVAT__MOST_BYTES);
        take_count(&record->kv_bytes, t, memory, "kv_bytes", KVAT__MOST_BYTES);
        take_count(&record->compute_bytes, t, memory, "compute_bytes", KVAT__MOST_BYTES);
        take_count(&given_tokens, t, call.result, "context_tokens", KVAT__MOST_TOKENS);
        record->prepare_ns += prepare_ns;
        if (going(t, status) && given_tokens < context_tokens)
            set_status(t, KVAT_TRIAL_INVALID, "the engine gave a smaller context than was asked for");
    }
    kvat_call_clear(&call);
    return status;
}

/* ---- memory ---- */

/** The context of the trial before would count into this one's peak. A worker without `release` replaces it in
 * `prepare`. */
static kvat_status release_context(trial *t, kvat_error *err) {
    if (!t->s->used || t->takes_over) return KVAT_OK;
    kvat_call call = {0};
    json_t *params = json_pack("{s:s}", "what", "context");
    kvat_status status = kvat__session_call(&call, t->s, "release", params, SHORT_DEADLINE_NS, err);
    bool refused = call.outcome == KVAT_CALL_FAULT;
    if (status == KVAT_OK && call.outcome != KVAT_CALL_OK && !refused) status = fail_with(t, &call, err);
    kvat_call_clear(&call);
    return status;
}

static kvat_status reset_peak(trial *t, kvat_error *err) {
    kvat_call call = {0};
    kvat_status status =
        kvat__session_call(&call, t->s, "resources", json_pack("{s:b}", "reset", 1), SHORT_DEADLINE_NS, err);
    if (status == KVAT_OK && call.outcome != KVAT_CALL_OK) status = fail_with(t, &call, err);
    kvat_call_clear(&call);
    return status;
}

static void refuse_peak(trial *t, int64_t bytes, bool of_devices) {
    kvat_buf text = KVAT_BUF_INIT;
    kvat_buf_puts(&text, "peak memory ");
    kvat_put_bytes(&text, bytes);
    kvat_buf_puts(&text, " is over the limit of ");
    kvat_put_bytes(&text, t->job->peak_limit_bytes);
    set_status(t, of_devices ? KVAT_TRIAL_OOM_DEVICE : KVAT_TRIAL_OOM_HOST,
               text.bytes ? text.bytes : "peak memory is over the limit");
    kvat_buf_clear(&text);
}

static kvat_status put_peak_source(kvat__measurement *m, bool of_devices, const char *source, kvat_error *err) {
    kvat_buf text = KVAT_BUF_INIT;
    kvat__put_private(&text, source);
    snprintf(m->peak_source, sizeof m->peak_source, "%s%s", of_devices ? KVAT_PEAK_OF_DEVICES : "",
             text.bytes ? text.bytes : "");
    kvat_status status = kvat_buf_status(&text, err);
    kvat_buf_clear(&text);
    return status;
}

/** Device bytes where devices are used, else host bytes: one source a run, named. */
static kvat_status read_peak(trial *t, kvat_error *err) {
    kvat_call call = {0};
    kvat_status status = kvat__session_call(&call, t->s, "resources", json_object(), SHORT_DEADLINE_NS, err);
    if (status == KVAT_OK && call.outcome != KVAT_CALL_OK) status = fail_with(t, &call, err);
    if (going(t, status)) {
        const json_t *host = json_object_get(call.result, "host"), *devices = json_object_get(call.result, "devices");
        const char *source = json_string_value(json_object_get(host, "source"));
        int64_t bytes = 0;
        for (size_t i = 0; i < json_array_size(devices) && going(t, status); i++) {
            const json_t *device = json_array_get(devices, i);
            int64_t more = 0;
            take_count(&more, t, device, "peak_bytes", KVAT__MOST_BYTES - bytes);
            bytes += more;
            if (bytes > 0) source = json_string_value(json_object_get(device, "source"));
        }
        bool of_devices = bytes > 0;
        if (!of_devices) take_count(&bytes, t, host, "peak_bytes", KVAT__MOST_BYTES);
        t->m->record.peak_bytes = bytes;
        status = put_peak_source(t->m, of_devices, source ? source : "", err);
        if (going(t, status) && bytes == 0) set_status(t, KVAT_TRIAL_INVALID, "the worker reported no peak memory");
        if (going(t, status) && t->job->peak_limit_bytes > 0 && bytes > t->job->peak_limit_bytes)
            refuse_peak(t, bytes, of_devices);
    }
    kvat_call_clear(&call);
    return status;
}

/* ---- the trial ---- */

static kvat_status ready_worker(trial *t, kvat_error *err) {
    kvat_error why = KVAT_ERROR_INIT;
    kvat_status status = kvat__session_ensure_worker(t->s, t->job, t->process, t->step->fresh_process, &why);
    if (status == KVAT_ERR_ENGINE) { /* it started before: a death now is this trial's, not the run's */
        kvat__session_drop_worker(t->s);
        set_status(t, KVAT_TRIAL_CRASH, why.message);
        return KVAT_OK;
    }
    if (status != KVAT_OK && err) *err = why;
    return status;
}

static kvat_status ready_model(trial *t, kvat_error *err) {
    kvat_call call = {0};
    kvat_status status = kvat__session_ensure_model(&call, t->s, t->model, err);
    if (status == KVAT_OK && call.outcome != KVAT_CALL_OK) status = fail_with(t, &call, err);
    if (going(t, status) && call.result) {
        collect_effective(t, call.result);
        t->m->record.load_ns = t->s->loaded_ns;
    }
    kvat_call_clear(&call);
    return status;
}

static kvat_status measure_group(trial *t, const kvat__cell_group *group, kvat_error *err) {
    int64_t context_tokens = group->context_tokens * group->sequences;
    kvat_status status = KVAT_OK;
    const bool warm = t->takes_over && t->s->left.config == t->step->config;
    if (t->takes_over)
        take_over(t);
    else
        status = prepare(t, group, context_tokens, err);
    if (going(t, status) && !warm) status = warm_up(t, group, err);
    if (going(t, status)) status = run_depths(t, group, err);
    if (going(t, status)) status = check_effective(t, context_tokens, err);
    return status;
}

static kvat_status measure_groups(trial *t, kvat_error *err) {
    kvat__cell_group *groups = calloc(t->job->profile->n_cells, sizeof *groups);
    if (!groups) return nomem(err);
    size_t n = kvat__cell_groups(groups, t->job->profile);
    kvat_status status = look_at_left_context(t, groups, n, err);
    if (going(t, status)) status = release_context(t, err);
    if (going(t, status)) status = reset_peak(t, err);
    for (size_t i = 0; i < n && going(t, status); i++) status = measure_group(t, &groups[i], err);
    free(groups);
    return status;
}

static kvat_status take_settings(trial *t, kvat_error *err) {
    struct {
        json_t **to;
        kvat_scope scope;
    } each[] = {{&t->process, KVAT_SCOPE_PROCESS},
                {&t->model, KVAT_SCOPE_MODEL},
                {&t->context, KVAT_SCOPE_CONTEXT},
                {&t->request, KVAT_SCOPE_REQUEST}};
    kvat_status status = KVAT_OK;
    for (size_t i = 0; i < 4 && status == KVAT_OK; i++)
        status = kvat__scope_settings(each[i].to, t->job, t->step->config, each[i].scope, err);
    t->effective = json_object();
    return status == KVAT_OK && !t->effective ? nomem(err) : status;
}

/** Holds every cell against the profile's own limits on latency: a configuration that misses one is no candidate. */
static void check_slo(trial *t) {
    const kvat_profile *profile = t->job->profile;
    for (size_t i = 0; i < t->m->n_samples && t->m->record.status == KVAT_TRIAL_OK; i++) {
        const kvat_sample *sample = &t->m->samples[i];
        bool late = profile->limit_ttft_ns > 0 && sample->ttft_ns > profile->limit_ttft_ns;
        double itl_ns = 1e9 * (double)profile->cells[i].sequences / sample->decode_tok_per_s;
        bool slow = profile->limit_itl_ns > 0 && itl_ns > (double)profile->limit_itl_ns;
        if (!late && !slow) continue;
        kvat_buf text = KVAT_BUF_INIT;
        kvat_buf_puts(&text, late ? "time to first token " : "time between tokens ");
        kvat_put_duration(&text, late ? sample->ttft_ns : (int64_t)itl_ns);
        kvat_buf_puts(&text, " is over the limit of ");
        kvat_put_duration(&text, late ? profile->limit_ttft_ns : profile->limit_itl_ns);
        set_status(t, KVAT_TRIAL_INVALID, text.bytes ? text.bytes : "over a limit of the profile");
        kvat_buf_clear(&text);
    }
}

/** Puts what the stages gathered into the record. */
static kvat_status finish(trial *t, kvat_error *err) {
    kvat__measurement *m = t->m;
    kvat_trial_record *record = &m->record;
    kvat_status status = kvat__make_json_private(t->effective, err);
    if (status == KVAT_OK) status = kvat__make_private(&m->detail, err);
    if (status == KVAT_OK) status = kvat_json_put(&m->effective, t->effective);
    if (status == KVAT_OK) kvat_buf_puts(&m->loaded, t->s->loaded.bytes ? t->s->loaded.bytes : "");
    if (status != KVAT_OK || m->loaded.status != KVAT_OK || m->detail.status != KVAT_OK) return nomem(err);
    record->detail = m->detail.bytes ? m->detail.bytes : "";
    record->effective_json = m->effective.bytes ? m->effective.bytes : "{}";
    record->loaded_json = m->loaded.bytes ? m->loaded.bytes : "";
    record->activity_json = m->activity.bytes ? m->activity.bytes : "{}";
    record->loaded_ns = t->s->loaded_ns;
    record->launch = t->s->launch;
    record->peak_source = m->peak_source;
    record->worker_end_ns = t->s->now_ns;
    record->timings = m->timings;
    record->n_timings = m->n_timings;
    bool ok = record->status == KVAT_TRIAL_OK;
    record->samples = ok ? m->samples : NULL;
    record->n_samples = ok ? m->n_samples : 0;
    if (!ok) record->peak_bytes = 0;
    return KVAT_OK;
}

kvat_status kvat__session_measure(kvat__measurement *out, kvat__session *session, const kvat__job *job,
                                  const kvat__step *step, const kvat__measure_limits *limits, kvat_error *err) {
    memset(out, 0, sizeof *out);
    trial t = {.m = out,
               .s = session,
               .job = job,
               .step = step,
               .run_limit_ns = limits->run_ns,
               .cores = limits->cores,
               .judge_load = limits->judge_load};
    out->record = (kvat_trial_record){.phase = step->phase,
                                      .config = step->config,
                                      .block = step->block,
                                      .chunk = step->chunk,
                                      .fresh_process = step->fresh_process,
                                      .status = KVAT_TRIAL_OK,
                                      .worker_start_ns = session->now_ns};
    out->n_samples = job->profile->n_cells;
    out->samples = calloc(out->n_samples, sizeof *out->samples);
    kvat_status status = out->samples ? take_settings(&t, err) : nomem(err);
    if (going(&t, status)) status = ready_worker(&t, err);
    if (going(&t, status)) status = ready_model(&t, err);
    if (going(&t, status)) status = kvat__session_ensure_prompts(session, job->profile, err);
    if (going(&t, status)) status = measure_groups(&t, err);
    if (going(&t, status)) status = read_peak(&t, err);
    if (going(&t, status)) check_slo(&t);
    session->used = session->worker != NULL;
    leave_context(&t);
    if (status == KVAT_OK) status = finish(&t, err);
    json_decref(t.process);
    json_decref(t.model);
    json_decref(t.context);
    json_decref(t.request);
    json_decref(t.effective);
    json_decref(t.made_with);
    if (status != KVAT_OK) kvat__measurement_clear(out);
    return status;
}
