// Runs a plan's configuration again, in fresh pairs, against the engine's default and the plan's strongest rivals.
// Must not judge what the pairs come to, nor write anything down.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kvat/plan.h"
#include "session.h"
#include "verify_internal.h"

#define LEAST_RUN_LIMIT_NS (60 * KVAT_NS_PER_S)
#define LIMIT_OVER_PLAN    10      /* a run may take so many times what it took for the plan */
#define MOST_ATTEMPTS      2       /* a disturbed measurement is repeated once */
#define MOST_GIVEN_UP      3       /* then given up, and so many end a pairing */
#define GIVEN_UP_SHARE     5       /* load is judged while no more than one measurement in so many was given up */
#define FIRST_REPETITION   2000000 /* prompts differ from all of a tuning run's */
#define LEVEL              0.95

typedef struct verifying {
    const kvat_verify_request *request;
    const kvat_events *events;
    const kvat_cancel *cancel;
    kvat_machine machine;
    kvat_engine *engine;
    kvat__session *session;
    kvat__job *job;
    kvat__side own, base, rivals[KVAT_VERIFY_RIVALS];
    char *base_too_large; /* by its forecast: then it is not started */
    char peak_source[64]; /* of the first clean run */
    bool mixed_sources;
    kvat_verification *v;
    int64_t started_ns;
    size_t measured, given_up; /* measurements told, or given up as disturbed */
} verifying;

static kvat_status nomem(kvat_error *err) {
    return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the verification");
}

static char *dup_or_empty(const char *text) {
    return strdup(text ? text : "");
}

static const char *member(const json_t *object, const char *name) {
    return json_string_value(json_object_get(object, name));
}

/* ---- events ---- */

static void emit(const verifying *t, const kvat_event *event) {
    if (t->events && t->events->on_event) t->events->on_event(t->events->user, event);
}

static void emit_text(const verifying *t, kvat_event_kind kind, const char *text) {
    kvat_event event = {.kind = kind, .text = text};
    emit(t, &event);
}

static void emit_run(const verifying *t, const kvat_trial_record *record, const kvat_score_parts *parts,
                     const kvat_confirm_trial *trial, const char *label) {
    const kvat_confirm_options options = KVAT_CONFIRM_OPTIONS_INIT;
    bool ok = record->status == KVAT_TRIAL_OK;
    kvat_event event = {.kind = KVAT_EVENT_CONFIRM,
                        .trial = t->v->runs,
                        .label = label,
                        .status = record->status,
                        .detail = record->detail,
                        .score = NAN,
                        .leader_score = NAN,
                        .ttft_s = ok ? exp(parts->ln_ttft) : NAN,
                        .decode_tok_per_s = ok ? exp(parts->ln_decode) : NAN,
                        .peak_bytes = record->peak_bytes,
                        .pair = trial->pair + 1,
                        .pairs = options.max_pairs,
                        .elapsed_ns = t->v->elapsed_ns,
                        .budget_ns = t->v->budget_ns,
                        .remaining_low_ns = -1,
                        .remaining_high_ns = -1};
    emit(t, &event);
}

/* ---- one measurement ---- */

static int64_t run_limit_ns(const verifying *t) {
    int64_t by_plan = LIMIT_OVER_PLAN * kvat__verify_run_ns(t->request->plan);
    if (t->request->trial_limit_ns > 0) return t->request->trial_limit_ns;
    return by_plan > LEAST_RUN_LIMIT_NS ? by_plan : LEAST_RUN_LIMIT_NS;
}

/** Said once; take_warnings() left a place for it. */
static kvat_status check_peak_source(verifying *t, const kvat_trial_record *record, kvat_error *err) {
    static const char mixed[] = "Peak memory was not read from the same source in every run, so that memory and scores "
                                "cannot be compared";
    kvat_verification *v = t->v;
    if (record->status != KVAT_TRIAL_OK || t->mixed_sources) return KVAT_OK;
    if (!*t->peak_source) (void)snprintf(t->peak_source, sizeof t->peak_source, "%s", record->peak_source);
    if (strcmp(t->peak_source, record->peak_source) == 0) return KVAT_OK;
    t->mixed_sources = true;
    emit_text(t, KVAT_EVENT_WARNING, mixed);
    v->warnings[v->n_warnings] = strdup(mixed);
    return v->warnings[v->n_warnings++] ? KVAT_OK : nomem(err);
}

static void account(verifying *t, const kvat_trial_record *record) {
    kvat_verification *v = t->v;
    v->elapsed_ns = v->virtual_clock ? record->worker_end_ns - t->started_ns : kvat_now_ns() - t->started_ns;
    v->runs++;
    v->voided_runs += record->status == KVAT_TRIAL_VOIDED;
    v->failed_runs += kvat_trial_failed(record->status);
}

/** Status and score of one run of a side. `failure` gets the last failure in words. */
typedef struct measured {
    kvat_trial_status status;
    double score;
    kvat_score_parts parts;
} measured;

static kvat_status note_failure(char **failure, const kvat_trial_record *record, kvat_error *err) {
    kvat_buf text = KVAT_BUF_INIT;
    if (!kvat_trial_failed(record->status)) return KVAT_OK;
    kvat_buf_puts(&text, kvat_trial_status_word(record->status));
    if (record->detail && *record->detail) kvat_buf_printf(&text, " (%s)", record->detail);
    char *made = kvat_buf_take(&text);
    if (!made) return nomem(err);
    free(*failure);
    *failure = made;
    return KVAT_OK;
}

static kvat_status measure(measured *out, char **failure, verifying *t, kvat__side *side,
                           const kvat_confirm_trial *trial, kvat_error *err) {
    kvat__measurement m;
    kvat__job job = *t->job; /* whose space is the side's for as long as it is measured */
    job.space = side->space;
    kvat__measure_limits limits = {run_limit_ns(t), t->machine.threads, GIVEN_UP_SHARE * t->given_up <= t->measured};
    kvat__step step = {.phase = KVAT_PHASE_CONFIRM,
                       .block = trial->pair,
                       .chunk = (size_t)trial->side,
                       .fresh_process = trial->fresh_process,
                       .repetition = FIRST_REPETITION + 1000 * t->v->n_pairings + trial->pair};
    if (t->cancel && t->cancel->level > 0)
        return kvat_fail(err, KVAT_ERR_INTERRUPTED, "interrupted: nothing was decided, and nothing was written");
    kvat_status status = kvat__session_measure(&m, t->session, &job, &step, &limits, err);
    if (status != KVAT_OK) return status;
    *out = (measured){.status = m.record.status};
    account(t, &m.record);
    status = check_peak_source(t, &m.record, err);
    if (status == KVAT_OK && out->status == KVAT_TRIAL_OK)
        status = kvat__record_score(&out->score, &out->parts, job.profile, &m.record, err);
    if (status == KVAT_OK) status = note_failure(failure, &m.record, err);
    if (status == KVAT_OK) emit_run(t, &m.record, &out->parts, trial, side->label);
    kvat__measurement_clear(&m);
    return status;
}

/* ---- one pairing ---- */

/** What a pairing is measured with. */
typedef struct pairs {
    kvat_confirm *confirm;
    kvat_confirm_options options;
    kvat_verify_pairing *pairing;
    kvat__side *sides[2];
    double *difference; /**< of the score, max_pairs places */
    double score[2];
    size_t given_up;
} pairs;

/** The least number of pairs is made whatever it takes, unless the user set the time: then within half as much again.
 */
static bool may_go_on(const verifying *t, const pairs *p) {
    const kvat_verification *v = t->v;
    if (v->elapsed_ns <= v->budget_ns) return true;
    if (kvat_confirm_answer_get(p->confirm).pairs >= p->options.min_pairs) return false;
    return t->request->time_ns <= 0 || v->elapsed_ns <= v->budget_ns + v->budget_ns / 2;
}

/** Spread of one run's score: the difference of a pair has twice its variance. */
static double noise_of(const pairs *p, size_t n) {
    return n < 2 ? NAN : kvat_sd(p->difference, n) / sqrt(2);
}

static kvat_status tell(verifying *t, pairs *p, const kvat_confirm_trial *trial, const measured *run, kvat_error *err) {
    const double ln_part[3] = {run->parts.ln_ttft, run->parts.ln_decode, run->parts.ln_peak};
    size_t before = kvat_confirm_answer_get(p->confirm).pairs;
    kvat_status status = kvat_confirm_tell(p->confirm, trial, run->status == KVAT_TRIAL_OK, run->score, ln_part, err);
    p->score[trial->side] = run->score;
    if (status == KVAT_OK && kvat_confirm_answer_get(p->confirm).pairs > before)
        p->difference[before] = p->score[0] - p->score[1];
    t->measured++;
    return status;
}

/** A disturbed measurement is repeated. */
static kvat_status measure_calmly(measured *out, char **failure, verifying *t, kvat__side *side,
                                  const kvat_confirm_trial *trial, kvat_error *err) {
    kvat_status status = KVAT_OK;
    *out = (measured){.status = KVAT_TRIAL_VOIDED};
    for (int i = 0; i < MOST_ATTEMPTS && status == KVAT_OK && out->status == KVAT_TRIAL_VOIDED; i++)
        status = measure(out, failure, t, side, trial, err);
    return status;
}

/** *over: no more of this pairing. */
static kvat_status next_run(bool *over, verifying *t, pairs *p, kvat_error *err) {
    kvat_confirm_trial trial;
    measured run;
    bool wanted = kvat_confirm_propose(&trial, p->confirm);
    p->pairing->cut = wanted && !may_go_on(t, p);
    *over = !wanted || p->pairing->cut;
    if (*over) return KVAT_OK;
    const kvat_status status = measure_calmly(&run, &p->pairing->failure, t, p->sides[trial.side], &trial, err);
    if (status != KVAT_OK) return status;
    if (run.status != KVAT_TRIAL_VOIDED) return tell(t, p, &trial, &run, err);
    t->measured++;
    t->given_up++;
    *over = p->pairing->disturbed = ++p->given_up >= MOST_GIVEN_UP;
    return KVAT_OK;
}

static kvat_status run_pairs(verifying *t, pairs *p, kvat_error *err) {
    bool over = false;
    kvat_status status = KVAT_OK;
    while (status == KVAT_OK && !over) status = next_run(&over, t, p, err);
    if (status != KVAT_OK) return status;
    p->pairing->answer = kvat_confirm_answer_get(p->confirm);
    p->pairing->noise = noise_of(p, p->pairing->answer.pairs);
    return KVAT_OK;
}

static kvat_status hold_against(verifying *t, kvat__side *other, bool rival, double level, kvat_error *err) {
    kvat_verification *v = t->v;
    kvat_verify_pairing *pairing = &v->pairings[v->n_pairings];
    pairs p = {.options = KVAT_CONFIRM_OPTIONS_INIT, .pairing = pairing, .sides = {&t->own, other}};
    p.options.level = level;
    *pairing = (kvat_verify_pairing){.rival = rival, .level = level, .noise = NAN};
    pairing->label = strdup(other->label);
    pairing->settings = json_incref(other->settings);
    p.difference = calloc(p.options.max_pairs, sizeof *p.difference);
    kvat_status status = pairing->label && p.difference ? kvat_confirm_new(&p.confirm, &p.options, err) : nomem(err);
    if (status == KVAT_OK) status = run_pairs(t, &p, err);
    kvat_confirm_free(p.confirm);
    free(p.difference);
    v->n_pairings++;
    return status;
}

/* ---- all of them ---- */

/** What cannot fit is not started: as good as failed. */
static kvat_status fail_default(verifying *t, kvat_error *err) {
    const kvat_interval unknown = {NAN, NAN, NAN};
    kvat_verify_pairing *pairing = &t->v->pairings[t->v->n_pairings++];
    *pairing = (kvat_verify_pairing){.level = LEVEL, .noise = NAN};
    pairing->answer = (kvat_confirm_answer){
        .score = unknown, .part = {unknown, unknown, unknown}, .verdict = KVAT_VERDICT_FAILED, .failed_side = 1};
    pairing->label = strdup(t->base.label);
    pairing->settings = json_incref(t->base.settings);
    pairing->failure = strdup(t->base_too_large);
    return pairing->label && pairing->failure ? KVAT_OK : nomem(err);
}

/** A configuration that fails says little where nothing works at all. */
static kvat_status check_default_works(verifying *t, kvat_error *err) {
    const kvat_verify_pairing *first = &t->v->pairings[0];
    const kvat_confirm_trial trial = {.side = 1, .pair = first->answer.pairs, .fresh_process = true};
    char *failure = NULL;
    measured run;
    kvat_status status = measure_calmly(&run, &failure, t, &t->base, &trial, err);
    if (status == KVAT_OK && failure)
        status = kvat_fail(err, KVAT_ERR_INFEASIBLE,
                           "neither the plan's configuration nor the engine's default works here: %s; %s",
                           first->failure ? first->failure : "?", failure);
    free(failure);
    return status;
}

static kvat_status hold_against_default(verifying *t, kvat_error *err) {
    if (t->base_too_large) return fail_default(t, err);
    kvat_status status = hold_against(t, &t->base, false, LEVEL, err);
    const kvat_confirm_answer *answer = &t->v->pairings[0].answer;
    bool failed = status == KVAT_OK && answer->verdict == KVAT_VERDICT_FAILED && answer->failed_side == 0;
    return failed && answer->pairs == 0 ? check_default_works(t, err) : status;
}

/** Is there time for another set of pairs, at what a run took so far? Without any the first rival is due. */
static bool has_time(const verifying *t) {
    const kvat_confirm_options options = KVAT_CONFIRM_OPTIONS_INIT;
    const kvat_verification *v = t->v;
    if (v->runs == 0) return true;
    int64_t each_ns = v->elapsed_ns / (int64_t)v->runs;
    return v->elapsed_ns + 2 * (int64_t)options.min_pairs * each_ns <= v->budget_ns;
}

/** The error that is allowed is shared out between the rivals, of which any could be called better by chance. */
static kvat_status hold_against_rivals(verifying *t, kvat_error *err) {
    kvat_verification *v = t->v;
    kvat_status status = kvat__verify_rivals(t->rivals, &v->rivals, KVAT_VERIFY_RIVALS, t->request->plan, t->job,
                                             &t->own, &t->base, err);
    bool lost = v->n_pairings > 0 && kvat__pairing_lost(&v->pairings[0], v->delta);
    for (size_t i = 0; i < v->rivals && status == KVAT_OK && !lost && has_time(t); i++) {
        status = hold_against(t, &t->rivals[i], true, 1 - (1 - LEVEL) / (double)v->rivals, err);
        lost = status == KVAT_OK && kvat__pairing_lost(&v->pairings[v->n_pairings - 1], v->delta);
    }
    return status;
}

static kvat_status compare(verifying *t, kvat_error *err) {
    kvat_verification *v = t->v;
    kvat_status status =
        kvat__sides_equal(&v->is_default, t->job->knobs, t->job->context_tokens, &t->own, &t->base, err);
    t->started_ns = v->virtual_clock ? t->session->now_ns : kvat_now_ns();
    if (status == KVAT_OK && !v->is_default) status = hold_against_default(t, err);
    return status == KVAT_OK ? hold_against_rivals(t, err) : status;
}

/* ---- setting up ---- */

/** A plan may come from anywhere: it names an engine, never a program. */
static kvat_status find_engine(verifying *t, kvat_error *err) {
    const char *named = member(json_object_get(t->request->plan, "engine"), "name");
    const char *name = t->request->engine ? t->request->engine : named;
    kvat_error why = KVAT_ERROR_INIT;
    char *reason = NULL;
    kvat_status status = KVAT_ERR_USAGE;
    if (t->request->engine || !strchr(named, '/'))
        status = kvat_engine_resolve(&t->engine, &reason, name, t->request->model, &why);
    free(reason);
    if (status == KVAT_ERR_USAGE && !t->request->engine)
        return kvat_fail(err, KVAT_ERR_ENGINE,
                         "the plan is for the engine '%s', which kvat does not know here; name a worker of it with "
                         "--engine",
                         named);
    if (status != KVAT_OK && err) *err = why;
    return status;
}

static kvat_status open_session(verifying *t, json_t **hello, json_t **describe, kvat_error *err) {
    kvat__session_options options = {.engine = t->engine,
                                     .model = t->request->model,
                                     .launch = t->request->launch,
                                     .world_seed = t->request->world_seed,
                                     .cancel = t->cancel,
                                     .events = t->events};
    return kvat__session_open(&t->session, hello, describe, &options, err);
}

/** Members of a request that a measurement asks for. */
static kvat_status make_request(verifying *t, kvat_error *err) {
    const kvat_verify_request *request = t->request;
    kvat__job *job = t->job;
    job->request = json_pack("{s:I, s:I, s:I}", "seed", (json_int_t)request->seed, "world_seed",
                             (json_int_t)request->world_seed, "trial_limit_ns", (json_int_t)request->trial_limit_ns);
    job->note = json_pack("{s:I}", "memory_limit_bytes", (json_int_t)t->machine.memory_limit_bytes);
    if (!job->request || !job->note) return nomem(err);
    if (!request->prompts_file) return KVAT_OK;
    job->profile->prompts_file = strdup(request->prompts_file);
    return job->profile->prompts_file ? kvat__hash_prompts(job->request, job->profile, err) : nomem(err);
}

static kvat_status make_environment(kvat__job *job, const kvat_machine *machine, kvat_error *err) {
    json_t *object = NULL;
    kvat_status status = kvat_machine_json(&object, machine, err);
    if (status != KVAT_OK) return status;
    job->environment = json_pack("{s:o}", "machine", object);
    return job->environment ? KVAT_OK : nomem(err);
}

static kvat_status fit_profile(kvat__job *job, kvat_error *err) {
    int64_t trained = 0;
    if (!kvat__get_count(&trained, json_object_get(job->describe, "model"), "training_context_tokens",
                         KVAT__MOST_TOKENS))
        return kvat_fail(err, KVAT_ERR_ENGINE, "describe: model.training_context_tokens is no length");
    return kvat_profile_fit(job->profile, trained, true, err);
}

static kvat_status make_job(verifying *t, kvat_error *err) {
    kvat__job *job = t->job = calloc(1, sizeof *t->job);
    if (!job) return nomem(err);
    kvat_status status = kvat__verify_profile(&job->profile, t->request->plan, err);
    if (status == KVAT_OK) status = make_request(t, err);
    if (status == KVAT_OK) status = make_environment(job, &t->machine, err);
    if (status == KVAT_OK) status = find_engine(t, err);
    if (status == KVAT_OK) status = open_session(t, &job->hello, &job->describe, err);
    if (status == KVAT_OK) status = fit_profile(job, err);
    return status == KVAT_OK ? kvat__job_read_facts(job, err) : status;
}

static kvat_status make_sides(verifying *t, kvat_error *err) {
    const json_t *plan = t->request->plan;
    const char *label = member(plan, "label");
    kvat_verification *v = t->v;
    kvat_status status = kvat__side_make(&t->own, &v->refused, t->job->knobs, json_object_get(plan, "settings"),
                                         label ? label : "the plan's configuration", err);
    if (status == KVAT_OK)
        status = kvat__side_default(&t->base, t->job->knobs, t->request->set, t->request->n_set, err);
    if (status == KVAT_OK && t->own.space) status = kvat__side_forecast(&v->refused, &t->own, t->job, err);
    if (status == KVAT_OK) status = kvat__side_forecast(&t->base_too_large, &t->base, t->job, err);
    if (status != KVAT_OK) return status;
    const json_t *settings = t->own.settings ? t->own.settings : json_object_get(plan, "settings");
    v->settings = json_deep_copy(settings);
    v->lossy = t->own.lossy;
    return v->settings ? KVAT_OK : nomem(err);
}

static kvat_status take_warnings(kvat_verification *v, const json_t *describe, kvat_error *err) {
    const json_t *notes = json_object_get(describe, "notes");
    v->warnings = calloc(json_array_size(notes) + 1, sizeof *v->warnings); /* one is for later */
    if (!v->warnings) return nomem(err);
    for (size_t i = 0; i < json_array_size(notes); i++) {
        const char *text = json_string_value(json_array_get(notes, i));
        if (!text) continue;
        v->warnings[v->n_warnings] = strdup(text);
        if (!v->warnings[v->n_warnings++]) return nomem(err);
    }
    return KVAT_OK;
}

static kvat_status fill_facts(verifying *t, kvat_error *err) {
    const json_t *plan = t->request->plan, *delta = json_object_get(json_object_get(plan, "confidence"), "delta");
    const json_t *engine = json_object_get(t->job->hello, "engine");
    const char *label = member(plan, "label");
    kvat_verification *v = t->v;
    v->virtual_clock = t->job->virtual_clock;
    v->undecided = kvat_plan_undecided(plan) != NULL;
    v->budget_ns = kvat__verify_budget_ns(t->request);
    v->delta = t->request->delta > 0                                   ? t->request->delta
               : json_is_number(delta) && json_number_value(delta) > 0 ? json_number_value(delta)
                                                                       : 0.01;
    v->label = dup_or_empty(label ? label : "the plan's configuration");
    v->engine_name = dup_or_empty(member(engine, "name"));
    v->engine_version = dup_or_empty(member(engine, "version"));
    v->model_name = dup_or_empty(member(json_object_get(t->job->describe, "model"), "name"));
    v->profile_name = dup_or_empty(t->job->profile->name);
    if (!v->label || !v->engine_name || !v->engine_version || !v->model_name || !v->profile_name) return nomem(err);
    kvat_status status = kvat__verify_changes(v, plan, t->job, err);
    return status == KVAT_OK ? take_warnings(v, t->job->describe, err) : status;
}

static void tell_start(const verifying *t) {
    kvat_buf text = KVAT_BUF_INIT;
    for (size_t i = 0; i < t->v->n_warnings; i++) emit_text(t, KVAT_EVENT_WARNING, t->v->warnings[i]);
    kvat_buf_printf(&text, "verifying %s on %s %s, %s, within about ", t->v->label, t->v->engine_name,
                    t->v->engine_version, t->v->model_name);
    kvat_put_duration(&text, t->v->budget_ns);
    if (text.bytes) emit_text(t, KVAT_EVENT_NOTE, text.bytes);
    kvat_buf_clear(&text);
}

static kvat_status verify(verifying *t, kvat_error *err) {
    kvat_status status = kvat_plan_check(t->request->plan, err);
    if (status == KVAT_OK && !t->request->model) status = kvat_fail(err, KVAT_ERR_USAGE, "no model given");
    if (status == KVAT_OK) status = kvat_probe_machine(&t->machine, err);
    if (status == KVAT_OK) status = make_job(t, err);
    if (status == KVAT_OK) status = fill_facts(t, err);
    if (status == KVAT_OK) status = make_sides(t, err);
    if (status != KVAT_OK) return status;
    tell_start(t);
    if (!t->v->refused) status = compare(t, err);
    return status == KVAT_OK ? kvat__verify_judge(t->v, err) : status;
}

static kvat_status result_of(const kvat_verification *v, kvat_error *err) {
    switch (v->answer) {
    case KVAT_VERIFY_NO:
        return kvat_fail(err, KVAT_ERR_GATE, "no longer the best here: %s", v->why);
    case KVAT_VERIFY_UNDECIDED:
        return kvat_fail(err, KVAT_ERR_PARTIAL, "undecided: %s", v->why);
    default:
        return KVAT_OK;
    }
}

kvat_status kvat_verify(kvat_verification **out, const kvat_verify_request *request, const kvat_events *events,
                        const kvat_cancel *cancel, kvat_error *err) {
    verifying t = {.request = request, .events = events, .cancel = cancel, .v = calloc(1, sizeof *t.v)};
    if (t.v) t.v->decisive = SIZE_MAX;
    kvat_status status = t.v ? verify(&t, err) : nomem(err);
    kvat__session_close(t.session);
    kvat__side_clear(&t.own);
    kvat__side_clear(&t.base);
    free(t.base_too_large);
    for (size_t i = 0; i < KVAT_VERIFY_RIVALS; i++) kvat__side_clear(&t.rivals[i]);
    kvat__job_free(t.job);
    kvat_engine_free(t.engine);
    if (status != KVAT_OK) {
        kvat_verification_free(t.v);
        return status;
    }
    *out = t.v;
    return result_of(t.v, err);
}
