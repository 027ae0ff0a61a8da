// A tuning run from request to files: joins engine, store, drive and session.
// Must not estimate, decide or format: others do.
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "kvat/file.h"
#include "kvat/plan.h"
#include "session.h"

#define NOISE_PROBE_NS (2 * KVAT_NS_PER_S)

typedef struct tuning {
    const kvat_tune_request *request;
    const kvat_events *events;
    const kvat_cancel *cancel;
    const char *directory;
    kvat_machine machine;
    kvat_engine *engine;
    char *why_engine;
    kvat__session *session;
    json_t *hello, *describe;
    kvat__job *job;
    kvat_store *store;
    kvat__drive *drive;
    char *winners;             /**< folder of remembered winners, NULL: nothing is asked or remembered */
    int64_t run;               /**< id in the store */
    int64_t started_ns;        /**< kvat_now_ns() when measuring began */
    int64_t elapsed_before_ns; /**< of earlier sittings */
    bool adopted;              /**< the run was in the store */
    bool finished_before;      /**< nothing left to measure: repeat the answer */
    bool estimated;
} tuning;

static kvat_status nomem(kvat_error *err) {
    return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the run");
}

/* ---- events ---- */

static void emit(const tuning *t, const kvat_event *event) {
    if (t->events && t->events->on_event) t->events->on_event(t->events->user, event);
}

static void emit_text(const tuning *t, kvat_event_kind kind, const char *text) {
    kvat_event event = {.kind = kind, .text = text};
    emit(t, &event);
}

static kvat_status emit_heading(const tuning *t, kvat_error *err) {
    kvat_outcome *outcome = NULL;
    kvat_status status = kvat__outcome_of_job(&outcome, t->job, err);
    if (status == KVAT_OK) {
        kvat_event event = {.kind = KVAT_EVENT_HEADING, .outcome = outcome};
        emit(t, &event);
    }
    kvat_outcome_free(outcome);
    return status;
}

/** Figures of a clean trial for the progress line: means over cells by weight, on the log scale. */
static void put_figures(kvat_event *event, const tuning *t, const kvat_trial_record *record,
                        const kvat__drive_view *view) {
    double score;
    kvat_score_parts parts;
    if (kvat__record_score(&score, &parts, t->job->profile, record, NULL) != KVAT_OK) return;
    bool confirming = record->phase == KVAT_PHASE_CONFIRM;
    event->score = kvat__relative_score(score, confirming ? view->default_confirm_score : view->default_score);
    event->ttft_s = exp(parts.ln_ttft);
    event->decode_tok_per_s = exp(parts.ln_decode);
    event->peak_bytes = record->peak_bytes;
}

static void put_remaining(kvat_event *event, const kvat__drive_view *view, int64_t budget_ns) {
    int64_t mean = view->mean_cost_ns, left = budget_ns - view->elapsed_ns;
    int64_t pair = 2 * view->confirm_cost_ns, done = (int64_t)view->confirmation.pairs;
    event->remaining_low_ns = (int64_t)view->outlook.likely * mean + (int64_t)view->pairs_least * pair;
    event->remaining_high_ns = (int64_t)view->outlook.firm * mean + (int64_t)view->pairs_max * pair;
    if (view->search_done) {
        event->remaining_low_ns = (int64_t)view->pairs_least > done ? ((int64_t)view->pairs_least - done) * pair : 0;
        event->remaining_high_ns = ((int64_t)view->pairs_max - done) * pair;
    }
    if (left < 0) left = 0;
    if (event->remaining_low_ns > left) event->remaining_low_ns = left;
    if (event->remaining_high_ns > left) event->remaining_high_ns = left;
}

static kvat_status emit_trial(tuning *t, const kvat_trial_record *record, kvat_error *err) {
    kvat__drive_view view;
    kvat_status status = kvat__drive_glance(&view, t->drive, err);
    if (status != KVAT_OK) return status;
    kvat_buf label = KVAT_BUF_INIT, leader = KVAT_BUF_INIT;
    kvat_space_label(&label, t->job->space, record->config);
    kvat_event event = {.kind = record->phase == KVAT_PHASE_SEARCH ? KVAT_EVENT_TRIAL : KVAT_EVENT_CONFIRM,
                        .trial = view.trials,
                        .label = label.bytes,
                        .status = record->status,
                        .detail = record->detail,
                        .score = NAN,
                        .leader_score = NAN,
                        .tried = view.answer.tried,
                        .survivors = view.answer.survivors,
                        .configs = kvat_space_count(t->job->space),
                        .pair = record->block + 1,
                        .pairs = view.pairs_max,
                        .p_good = view.answer.p_good,
                        .elapsed_ns = view.elapsed_ns,
                        .budget_ns = t->job->budget_ns};
    put_figures(&event, t, record, &view);
    put_remaining(&event, &view, t->job->budget_ns);
    if (view.answer.has_leader) {
        kvat_space_label(&leader, t->job->space, view.answer.leader);
        event.leader = leader.bytes;
        event.leader_score = 100.0 * exp(view.answer.standing[view.answer.leader].gain.value);
    }
    emit(t, &event);
    if (!t->estimated && record->phase == KVAT_PHASE_SEARCH && record->status == KVAT_TRIAL_OK) {
        int64_t mean = view.mean_cost_ns;
        kvat_event estimate = {.kind = KVAT_EVENT_ESTIMATE,
                               .first_guess_ns = (int64_t)view.outlook.first_guess * mean,
                               .likely_ns = (int64_t)view.outlook.likely * mean,
                               .firm_ns = (int64_t)view.outlook.firm * mean,
                               .budget_ns = t->job->budget_ns,
                               .configs = event.configs};
        t->estimated = true;
        emit(t, &estimate);
    }
    kvat_buf_clear(&label);
    kvat_buf_clear(&leader);
    return KVAT_OK;
}

/* ---- the store ---- */

static kvat_status refuse_file(const char *directory, const char *name, kvat_error *err) {
    char *path = kvat_path_join(directory, name);
    if (!path) return nomem(err);
    struct stat info;
    bool there = lstat(path, &info) == 0;
    free(path);
    if (!there) return KVAT_OK;
    return kvat_fail(err, KVAT_ERR_IO,
                     "%s/%s exists and there is no kvat.db beside it, so kvat did not write it: choose another folder "
                     "with -o, or replace it with --force",
                     directory, name);
}

/** A folder with our file names but without our store belongs to somebody else. */
static kvat_status refuse_foreign(const tuning *t, kvat_error *err) {
    static const char *const names[] = {"best_plan.json", "lossy_plan.json", "report.html", "report.md"};
    const char *engine = json_string_value(json_object_get(json_object_get(t->hello, "engine"), "name"));
    size_t n_snippets = 0;
    const kvat_snippet *snippets = kvat_snippets_for(&n_snippets, engine ? engine : "");
    kvat_status status = KVAT_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names && status == KVAT_OK; i++)
        status = refuse_file(t->directory, names[i], err);
    for (size_t i = 0; i < n_snippets && status == KVAT_OK; i++)
        status = refuse_file(t->directory, snippets[i].file_name, err);
    return status;
}

static kvat_status open_store(tuning *t, kvat_error *err) {
    kvat_status status = kvat_dir_make(t->directory, err);
    if (status != KVAT_OK) return status;
    char *path = kvat_path_join(t->directory, "kvat.db");
    if (!path) return nomem(err);
    struct stat info;
    if (!t->request->force && lstat(path, &info) != 0) status = refuse_foreign(t, err);
    if (status == KVAT_OK) status = kvat_store_open(&t->store, path, KVAT_STORE_WRITE, err);
    free(path);
    return status;
}

/** The stored run this request continues, read back. */
typedef struct found_run {
    kvat__job *job;
    kvat_run_state state;
    kvat_status status;
    kvat_error *err;
} found_run;

static bool read_found(void *user, const kvat_run_record *record) {
    found_run *found = user;
    found->state = record->state;
    found->status = kvat__job_from_record(&found->job, record, found->err);
    return false;
}

static kvat_status set_note_int(json_t *note, const char *member, int64_t value, kvat_error *err) {
    return json_object_set_new(note, member, json_integer((json_int_t)value)) == 0 ? KVAT_OK : nomem(err);
}

/** Budgets only grow: a stored trial may never lie beyond the budget it is replayed under. True when there is more to
 * spend. */
static bool raise_budget(kvat__job *stored, const kvat__job *asked) {
    bool raised = false;
    if (asked->budget_ns > stored->budget_ns) {
        stored->budget_ns = asked->budget_ns;
        raised = true;
    }
    if (stored->max_trials > 0 && (asked->max_trials == 0 || asked->max_trials > stored->max_trials)) {
        stored->max_trials = asked->max_trials;
        raised = true;
    }
    return raised;
}

static kvat_status save_state(tuning *t, kvat_run_state state, kvat_error *err) {
    kvat_buf note = KVAT_BUF_INIT;
    kvat_status status = set_note_int(t->job->note, "budget_ns", t->job->budget_ns, err);
    if (status == KVAT_OK) status = set_note_int(t->job->note, "max_trials", t->job->max_trials, err);
    if (status == KVAT_OK) status = kvat_json_put(&note, t->job->note);
    if (status == KVAT_OK) status = kvat_store_set_run_state(t->store, t->run, state, note.bytes, err);
    kvat_buf_clear(&note);
    return status;
}

static kvat_status adopt_run(tuning *t, kvat_error *err) {
    found_run found = {.err = err};
    kvat_status status = kvat_store_get_run(t->store, t->run, read_found, &found, err);
    if (status == KVAT_OK) status = found.status;
    if (status != KVAT_OK) {
        kvat__job_free(found.job);
        return status;
    }
    bool raised = raise_budget(found.job, t->job);
    t->finished_before = found.state == KVAT_RUN_FINISHED && !raised;
    if (raised && json_object_set(found.job->note, "argv", json_object_get(t->job->note, "argv")) != 0) {
        kvat__job_free(found.job); /* the command that repeats the run is the one with the larger budget */
        return nomem(err);
    }
    found.job->profile->prompts_file = t->job->profile->prompts_file; /* the store keeps only its hash */
    t->job->profile->prompts_file = NULL;
    free(found.job->profile->prompts_prefix);
    free(found.job->profile->prompts_suffix);
    found.job->profile->prompts_prefix = t->job->profile->prompts_prefix;
    found.job->profile->prompts_suffix = t->job->profile->prompts_suffix;
    t->job->profile->prompts_prefix = t->job->profile->prompts_suffix = NULL;
    kvat__job_free(t->job);
    t->job = found.job;
    t->adopted = true;
    return KVAT_OK;
}

static void utc_now(char text[32]) {
    time_t now = time(NULL);
    struct tm parts;
    gmtime_r(&now, &parts);
    strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &parts);
}

static kvat_status probe_noise(tuning *t, kvat_error *err) {
    if (t->job->virtual_clock) return KVAT_OK;
    emit_text(t, KVAT_EVENT_STAGE, "probing the noise of the machine");
    kvat_noise noise;
    kvat_status status = kvat_probe_noise(&noise, NOISE_PROBE_NS, err);
    if (status != KVAT_OK) return status;
    json_t *json = json_pack("{s:f, s:f, s:f, s:f, s:f}", "cpu_ratio", noise.cpu_ratio, "memory_ratio",
                             noise.memory_ratio, "worst_ratio", noise.worst_ratio, "load_average", noise.load_average,
                             "foreign_cpu_ratio", noise.foreign_cpu_ratio);
    return json_object_set_new(t->job->environment, "noise", json) == 0 ? KVAT_OK : nomem(err);
}

/** Canonical texts of the documents of a run. */
enum { DOC_REQUEST, DOC_HELLO, DOC_DESCRIBE, DOC_ENVIRONMENT, DOC_NOTE, DOC_SPACE, DOC_COUNT };

static kvat_status put_documents(kvat_buf texts[DOC_COUNT], const kvat__job *job, kvat_error *err) {
    json_t *space = NULL;
    kvat_status status = kvat__job_space_json(&space, job, err);
    const json_t *documents[DOC_COUNT] = {job->request, job->hello, job->describe, job->environment, job->note, space};
    for (size_t i = 0; i < DOC_COUNT && status == KVAT_OK; i++) {
        status = kvat_json_put(&texts[i], documents[i]);
        if (status == KVAT_OK) status = kvat_buf_status(&texts[i], err);
    }
    json_decref(space);
    return status;
}

static kvat_status add_run(tuning *t, const char *identity, kvat_error *err) {
    kvat_buf texts[DOC_COUNT] = {{0}};
    char created[32] = "";
    kvat_status status = probe_noise(t, err);
    if (status == KVAT_OK) status = put_documents(texts, t->job, err);
    if (status == KVAT_OK) {
        if (!t->job->virtual_clock) utc_now(created);
        const char *name = json_string_value(json_object_get(json_object_get(t->describe, "model"), "name"));
        const char *engine = json_string_value(json_object_get(json_object_get(t->hello, "engine"), "name"));
        kvat_run_record record = {.identity = identity,
                                  .created_utc = created,
                                  .model_name = name ? name : "?",
                                  .engine_name = engine ? engine : t->engine->name,
                                  .profile_name = t->job->profile->name,
                                  .request_json = texts[DOC_REQUEST].bytes,
                                  .engine_json = texts[DOC_HELLO].bytes,
                                  .describe_json = texts[DOC_DESCRIBE].bytes,
                                  .environment_json = texts[DOC_ENVIRONMENT].bytes,
                                  .note_json = texts[DOC_NOTE].bytes,
                                  .space_json = texts[DOC_SPACE].bytes,
                                  .state = KVAT_RUN_OPEN};
        status = kvat_store_add_run(&t->run, t->store, &record, err);
    }
    for (size_t i = 0; i < DOC_COUNT; i++) kvat_buf_clear(&texts[i]);
    return status;
}

/* ---- the winner of an earlier run ---- */

/** Without a place in which to remember, nothing is remembered. */
static kvat_status find_winners(tuning *t, kvat_error *err) {
    const char *asked = t->request->winners;
    char *state = NULL;
    if (!asked && (t->job->virtual_clock || kvat_xdg_dir(&state, KVAT_XDG_STATE, NULL) != KVAT_OK)) return KVAT_OK;
    if (asked && !*asked) return KVAT_OK;
    t->winners = asked ? strdup(asked) : kvat_path_join(state, "winners");
    free(state);
    return t->winners ? KVAT_OK : nomem(err);
}

/** What goes wrong with a memory is no reason to lose a run: it is said, and nothing more is asked or remembered. */
static kvat_status let_winners_go(tuning *t, kvat_status status, const char *what, const kvat_error *why,
                                  kvat_error *err) {
    char text[sizeof why->message + 64];
    if (status == KVAT_OK) return KVAT_OK;
    if (status == KVAT_ERR_NOMEM) return nomem(err);
    snprintf(text, sizeof text, "%s: %s", what, why->message);
    emit_text(t, KVAT_EVENT_WARNING, text);
    free(t->winners);
    t->winners = NULL;
    return KVAT_OK;
}

static kvat_status take_incumbent(tuning *t, kvat_error *err) {
    kvat_error why = KVAT_ERROR_INIT;
    if (!t->winners) return KVAT_OK;
    kvat_status status = kvat__incumbent_take(t->job, t->winners, &why);
    return let_winners_go(t, status, "the winner of an earlier run is not used", &why, err);
}

static void tell_incumbent(const tuning *t) {
    const char *label = json_string_value(json_object_get(json_object_get(t->job->note, "incumbent"), "label"));
    kvat_buf text = KVAT_BUF_INIT;
    if (!label || t->job->incumbent == SIZE_MAX || t->finished_before) return;
    kvat_buf_printf(&text, "an earlier run found %s best: it stays unless it is beaten by more than %.3g %% at 95 %%",
                    label, 100 * t->job->delta);
    if (text.bytes) emit_text(t, KVAT_EVENT_NOTE, text.bytes);
    kvat_buf_clear(&text);
}

static kvat_status remember(tuning *t, const kvat_outcome *outcome, kvat_error *err) {
    kvat_error why = KVAT_ERROR_INIT;
    if (!t->winners || t->finished_before) return KVAT_OK;
    kvat_status status = kvat__incumbent_remember(t->job, outcome, t->winners, &why);
    return let_winners_go(t, status, "the winner is not remembered", &why, err);
}

/* ---- the run in the store ---- */

static kvat_status find_or_add_run(tuning *t, kvat_error *err) {
    char identity[KVAT_HASH_HEX];
    kvat_status status = kvat__job_identity(identity, t->job, err);
    if (status == KVAT_OK) status = kvat_store_find_run(&t->run, t->store, identity, err);
    if (status != KVAT_OK) return status;
    if (t->run && t->request->fresh) {
        status = kvat_store_set_run_state(t->store, t->run, KVAT_RUN_ABANDONED, NULL, err);
        t->run = 0;
    }
    if (status != KVAT_OK) return status;
    if (t->run) return adopt_run(t, err);
    status = take_incumbent(t, err);
    return status == KVAT_OK ? add_run(t, identity, err) : status;
}

/* ---- measuring ---- */

/** A larger budget lets the search go on, whose confirmation then begins anew. */
static void tell_skipped(const tuning *t, size_t skipped) {
    char text[160];
    snprintf(text, sizeof text,
             "%zu run%s of the earlier confirmation count%s no more: the search goes on first, and its answer is "
             "confirmed anew",
             skipped, skipped == 1 ? "" : "s", skipped == 1 ? "s" : "");
    emit_text(t, KVAT_EVENT_NOTE, text);
}

static kvat_status take_up(tuning *t, kvat_error *err) {
    kvat__replay replay = {.drive = t->drive};
    kvat_status status = kvat__replay_run(&replay, t->store, t->run, false, err);
    t->session->knobs = t->job->knobs;
    if (status == KVAT_OK && replay.told > 0) {
        char text[96];
        snprintf(text, sizeof text, "resuming after %zu trial%s", replay.told, replay.told == 1 ? "" : "s");
        if (!t->finished_before) emit_text(t, KVAT_EVENT_NOTE, text);
        if (!t->finished_before && replay.skipped > 0) tell_skipped(t, replay.skipped);
        t->elapsed_before_ns = replay.elapsed_ns;
        t->estimated = true;
        kvat__session_state state = {replay.launch, replay.worker_end_ns, replay.loaded.bytes, replay.loaded_ns};
        if (!t->finished_before) status = kvat__session_restore(t->session, &state, err);
    }
    kvat_buf_clear(&replay.loaded);
    return status;
}

/** The run's clock: the worker's own when virtual, else time spent measuring, interruptions not counted. */
static int64_t elapsed(const tuning *t, const kvat_trial_record *record) {
    if (t->job->virtual_clock) return record->worker_end_ns;
    return t->elapsed_before_ns + kvat_now_ns() - t->started_ns;
}

static kvat_status measure_step(tuning *t, const kvat__step *step, kvat_error *err) {
    kvat__measurement m;
    kvat__measure_limits limits = {kvat__drive_run_limit_ns(t->drive), t->machine.threads,
                                   kvat__drive_judges_load(t->drive)};
    int64_t before_ns = kvat_now_ns();
    kvat_status status = kvat__session_measure(&m, t->session, t->job, step, &limits, err);
    if (status != KVAT_OK) return status;
    m.record.run = t->run;
    m.record.elapsed_ns = elapsed(t, &m.record);
    m.record.cost_ns =
        t->job->virtual_clock ? m.record.worker_end_ns - m.record.worker_start_ns : kvat_now_ns() - before_ns;
    int64_t id = 0;
    status = kvat_store_add_trial(&id, t->store, &m.record, err);
    if (status == KVAT_OK) status = kvat__drive_tell(t->drive, &m.record, err);
    if (status == KVAT_OK) status = emit_trial(t, &m.record, err);
    kvat__measurement_clear(&m);
    return status;
}

static kvat_status measure_all(tuning *t, kvat_error *err) {
    t->started_ns = kvat_now_ns();
    for (;;) {
        kvat__step step;
        bool more = false;
        kvat_status status = kvat__drive_next(&step, &more, t->drive, err);
        if (status != KVAT_OK || !more) return status;
        if (t->cancel && t->cancel->level > 0)
            return kvat_fail(err, KVAT_ERR_INTERRUPTED,
                             "interrupted: every finished trial is kept, and the same command goes "
                             "on from there");
        status = measure_step(t, &step, err);
        if (status != KVAT_OK) return status;
    }
}

/* ---- the whole ---- */

/** What the worker wants the user to know: a configuration file of the engine that would change its defaults, say. */
static void emit_notes(const tuning *t) {
    const json_t *notes = json_object_get(t->describe, "notes");
    for (size_t i = 0; i < json_array_size(notes); i++) {
        const char *text = json_string_value(json_array_get(notes, i));
        if (text) emit_text(t, KVAT_EVENT_WARNING, text);
    }
}

static kvat_status set_up(tuning *t, kvat_error *err) {
    const kvat_tune_request *request = t->request;
    if (!request->model) return kvat_fail(err, KVAT_ERR_USAGE, "no model given");
    kvat_status status = kvat_probe_machine(&t->machine, err);
    if (status == KVAT_OK)
        status = kvat_engine_resolve(&t->engine, &t->why_engine, request->engine, request->model, err);
    if (status != KVAT_OK) return status;
    emit_text(t, KVAT_EVENT_NOTE, t->why_engine);
    kvat__session_options options = {.engine = t->engine,
                                     .model = request->model,
                                     .launch = request->launch,
                                     .memory_limit_bytes = request->max_memory_bytes,
                                     .world_seed = request->world_seed,
                                     .measures = !request->dry_run,
                                     .cancel = t->cancel,
                                     .events = t->events};
    status = kvat__session_open(&t->session, &t->hello, &t->describe, &options, err);
    if (status == KVAT_OK) emit_notes(t);
    if (status == KVAT_OK)
        status = kvat__job_from_request(&t->job, request, t->hello, t->describe, &t->machine, t->engine->name,
                                        t->why_engine, err);
    return status;
}

static kvat_status result_of(const kvat_outcome *outcome, kvat_error *err) {
    switch (outcome->decision) {
    case KVAT_DECISION_INFEASIBLE:
        return kvat_fail(err, KVAT_ERR_INFEASIBLE, "%s", outcome->why);
    case KVAT_DECISION_UNDECIDED:
        return kvat_fail(err, KVAT_ERR_PARTIAL, "%s", outcome->why);
    default:
        return KVAT_OK;
    }
}

/** Path for snippets: as the engine's worker knows the model's file. */
static const char *model_file(const tuning *t) {
    return json_string_value(json_object_get(json_object_get(t->describe, "model"), "file"));
}

static kvat_status deliver(kvat_outcome **out, tuning *t, kvat_error *err) {
    kvat_outcome *outcome = NULL;
    kvat_status status = kvat_outcome_load(&outcome, t->store, t->run, err);
    if (status == KVAT_OK) status = remember(t, outcome, err);
    if (status == KVAT_OK && !t->finished_before) status = save_state(t, KVAT_RUN_FINISHED, err);
    if (status == KVAT_OK) status = kvat_outcome_write(outcome, t->directory, model_file(t), true, t->events, err);
    if (status != KVAT_OK) {
        kvat_outcome_free(outcome);
        return status;
    }
    *out = outcome;
    return result_of(outcome, err);
}

static kvat_status tune(kvat_outcome **out, tuning *t, kvat_error *err) {
    kvat_status status = set_up(t, err);
    if (status != KVAT_OK) return status;
    if (t->request->dry_run) {
        status = emit_heading(t, err);
        return status == KVAT_OK ? kvat__outcome_of_job(out, t->job, err) : status;
    }
    status = open_store(t, err);
    if (status == KVAT_OK) status = find_winners(t, err);
    if (status == KVAT_OK) status = find_or_add_run(t, err);
    if (status == KVAT_OK) status = emit_heading(t, err);
    if (status == KVAT_OK) tell_incumbent(t);
    if (status == KVAT_OK) status = kvat__drive_new(&t->drive, t->job, err);
    if (status == KVAT_OK) status = take_up(t, err);
    if (status == KVAT_OK && t->finished_before)
        emit_text(t, KVAT_EVENT_NOTE, "this was measured before: its answer is repeated (--fresh measures again)");
    else if (status == KVAT_OK && t->adopted)
        status = save_state(t, KVAT_RUN_OPEN, err); /* not before its trials turned out to be sound */
    if (status == KVAT_OK && !t->finished_before) status = measure_all(t, err);
    return status == KVAT_OK ? deliver(out, t, err) : status;
}

kvat_status kvat_tune(kvat_outcome **out, const kvat_tune_request *request, const kvat_events *events,
                      const kvat_cancel *cancel, kvat_error *err) {
    tuning t = {.request = request,
                .events = events,
                .cancel = cancel,
                .directory = request->directory ? request->directory : "kvat_results"};
    kvat_status status = tune(out, &t, err);
    kvat__session_close(t.session);
    kvat__drive_free(t.drive);
    kvat_store_close(t.store);
    kvat__job_free(t.job);
    json_decref(t.hello);
    json_decref(t.describe);
    kvat_engine_free(t.engine);
    free(t.why_engine);
    free(t.winners);
    return status;
}
