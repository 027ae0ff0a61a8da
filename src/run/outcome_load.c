// Builds the outcome of a run from what is stored: replays the search, gathers figures, and says what the run was like.
// Must not measure, format or write files.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kvat/cells.h"
#include "outcome_internal.h"

static kvat_status nomem(kvat_error *err) {
    return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the outcome");
}

/** What the replay of the trials gathers. */
typedef struct gathering {
    const kvat__job *job;
    kvat__entry_figures *figures; /**< one a configuration */
    kvat_cell_runs runs;
    kvat_outcome *outcome;
    size_t race_capacity;
    double default_score; /**< median of the default so far, for the race chart */
    char *peak_source;
    bool mixed_sources;
    int64_t measured_ns;
    size_t disturbed; /**< trials during which other processes took much of the CPU */
    kvat_status status;
    kvat_error *err;
} gathering;

static char *dup_or_empty(const char *text) {
    return strdup(text ? text : "");
}

/* ---- the race, point by point ---- */

static kvat_status add_point(gathering *g, const kvat_trial_record *record, kvat__drive *drive) {
    kvat_outcome *o = g->outcome;
    if (o->n_race == g->race_capacity) {
        size_t capacity = g->race_capacity ? 2 * g->race_capacity : 64;
        kvat_race_point *race = realloc(o->race, capacity * sizeof *race);
        if (!race) return nomem(g->err);
        o->race = race;
        g->race_capacity = capacity;
    }
    kvat__drive_view view;
    kvat_status status = kvat__drive_glance(&view, drive, g->err);
    if (status != KVAT_OK) return status;
    double score = NAN;
    if (record->status == KVAT_TRIAL_OK) {
        status = kvat__record_score(&score, NULL, g->job->profile, record, g->err);
        if (status != KVAT_OK) return status;
    }
    o->race[o->n_race++] = (kvat_race_point){
        .elapsed_ns = record->elapsed_ns,
        .cost_ns = record->cost_ns,
        .config = record->config,
        .confirming = record->phase == KVAT_PHASE_CONFIRM,
        .fitted = kvat__record_fitted(record),
        .status = record->status,
        .score = score, /* made relative at the end, when the default's median is known */
        .leader = view.answer.has_leader ? view.answer.leader : SIZE_MAX,
        .survivors = view.answer.survivors,
        .p_good = view.answer.p_good,
    };
    return KVAT_OK;
}

static void note_disturbance(gathering *g, const kvat_trial_record *record) {
    const char *text = record->activity_json;
    if (!text || !*text || strcmp(text, "{}") == 0) return;
    json_error_t ignored;
    json_t *activity = json_loads(text, 0, &ignored);
    double wall = json_number_value(json_object_get(activity, "at_ns"));
    const json_t *foreign = json_object_get(activity, "foreign_cpu_ns"); /* null when it cannot be told */
    int cores = (int)json_integer_value(json_object_get(json_object_get(g->job->environment, "machine"), "threads"));
    if (wall > 0 && cores > 0 && json_number_value(foreign) / (wall * cores) > 0.10) g->disturbed++;
    json_decref(activity);
}

static kvat_status note_cells(gathering *g, const kvat_trial_record *record) {
    if (record->status != KVAT_TRIAL_OK) return KVAT_OK;
    const kvat_cell_run run = {.config = record->config,
                               .confirming = record->phase == KVAT_PHASE_CONFIRM && !kvat__record_fitted(record),
                               .elapsed_ns = record->elapsed_ns,
                               .cost_ns = record->cost_ns,
                               .samples = record->samples,
                               .n_samples = record->n_samples,
                               .peak_bytes = record->peak_bytes};
    return kvat_cell_runs_add(&g->runs, g->job->profile, &run, g->err);
}

/** Peaks from different sources are not of one kind: a device's memory is not the host's. */
static kvat_status note_peak_source(gathering *g, const kvat_trial_record *record) {
    if (record->status != KVAT_TRIAL_OK || !record->peak_source || !*record->peak_source) return KVAT_OK;
    if (g->peak_source) {
        g->mixed_sources |= strcmp(g->peak_source, record->peak_source) != 0;
        return KVAT_OK;
    }
    g->peak_source = strdup(record->peak_source);
    return g->peak_source ? KVAT_OK : nomem(g->err);
}

static void gather(void *user, const kvat_trial_record *record, kvat__drive *drive) {
    gathering *g = user;
    if (g->status != KVAT_OK) return;
    kvat_outcome *o = g->outcome;
    o->trials++;
    o->elapsed_ns = record->elapsed_ns;
    g->measured_ns += record->load_ns + record->prepare_ns + record->warmup_ns + record->run_ns;
    note_disturbance(g, record);
    if (record->status == KVAT_TRIAL_VOIDED)
        o->voided_trials++;
    else if (record->status != KVAT_TRIAL_OK)
        o->failed_trials++;
    g->status = note_peak_source(g, record);
    if (g->status == KVAT_OK)
        g->status = kvat__entry_figures_add(&g->figures[record->config], g->job->profile, record, g->err);
    if (g->status == KVAT_OK) g->status = note_cells(g, record);
    if (g->status == KVAT_OK) g->status = add_point(g, record, drive);
}

/** Each is relative to what the default scored in runs of its own kind. */
static void finish_race(kvat_outcome *o, double default_score, double default_confirm_score) {
    double origin = default_score, confirm_origin = default_confirm_score;
    for (size_t i = 0; i < o->n_race; i++) { /* without a default, relative to the first that worked */
        kvat_race_point *point = &o->race[i];
        if (isnan(point->score)) continue;
        if (isnan(origin)) origin = confirm_origin = point->score;
        point->score =
            kvat__relative_score(point->score, point->confirming && !point->fitted ? confirm_origin : origin);
    }
}

/* ---- what the run says of itself ---- */

static kvat_status warn(kvat_outcome *o, kvat_buf *text, kvat_error *err) {
    char **list = realloc(o->warnings, (o->n_warnings + 1) * sizeof *list);
    if (!list) return nomem(err);
    o->warnings = list;
    list[o->n_warnings] = kvat_buf_take(text);
    return list[o->n_warnings++] ? KVAT_OK : nomem(err);
}

static kvat_status warnings(kvat_outcome *o, const gathering *g, kvat_error *err) {
    kvat_buf text = KVAT_BUF_INIT;
    kvat_status status = KVAT_OK;
    if (o->noisy) {
        kvat_buf_printf(&text,
                        "This machine is noisy: repeated runs of one configuration spread by %.1f %% with drift taken "
                        "out, so small differences cannot be seen",
                        100 * o->anchor_spread);
        status = warn(o, &text, err);
    }
    if (status == KVAT_OK && 5 * g->disturbed > o->trials) {
        kvat_buf_printf(&text, "Other processes took more than a tenth of the CPU during %zu of %zu trials",
                        g->disturbed, o->trials);
        status = warn(o, &text, err);
    }
    const json_t *notes = json_object_get(g->job->describe, "notes");
    for (size_t i = 0; i < json_array_size(notes) && status == KVAT_OK; i++) {
        const char *note = json_string_value(json_array_get(notes, i));
        if (!note) continue;
        kvat_buf_puts(&text, note);
        status = warn(o, &text, err);
    }
    if (status == KVAT_OK && o->profile->left_out) {
        kvat_buf_printf(&text,
                        "%zu cell%s of the profile exceed%s the context the model was trained for and %s left out",
                        o->profile->left_out, o->profile->left_out == 1 ? "" : "s",
                        o->profile->left_out == 1 ? "s" : "", o->profile->left_out == 1 ? "was" : "were");
        status = warn(o, &text, err);
    }
    if (status == KVAT_OK && o->n_entries && g->job->default_dropped) {
        kvat_buf_puts(&text,
                      "The engine's default does not fit into memory at this context, so gains are against the first "
                      "configuration that does");
        status = warn(o, &text, err);
    }
    if (status == KVAT_OK && g->mixed_sources) {
        kvat_buf_puts(&text,
                      "Peak memory was not read from the same source in every trial, so that memory and scores of "
                      "different configurations cannot be compared");
        status = warn(o, &text, err);
    }
    return status;
}

/** Time a plain grid would take: five repetitions of every configuration that ran, each prepared and warmed up once. */
static double grid_ratio(const gathering *g, int64_t elapsed_ns) {
    double total = 0, known = 0;
    size_t n = kvat_space_count(g->job->space), with = 0;
    for (size_t i = 0; i < n; i++) {
        const kvat__entry_figures *f = &g->figures[i];
        if (!f->clean) continue;
        known += (double)f->once_ns / (double)f->clean + 5.0 * (double)f->run_ns / (double)f->clean;
        with++;
    }
    if (!with) return NAN;
    total = known / (double)with * (double)n;
    return (double)elapsed_ns / total;
}

/** The plain facts of a job; the outcome takes profile, knobs and space over from it. */
static kvat_status take_job(kvat_outcome *o, kvat__job *job, kvat_error *err) {
    const json_t *model = json_object_get(job->describe, "model");
    o->context_tokens = kvat_profile_context_tokens(job->profile);
    o->sequences = kvat_profile_sequences(job->profile);
    o->request = json_deep_copy(job->request);
    o->engine = json_deep_copy(json_object_get(job->hello, "engine"));
    o->model = json_deep_copy(model);
    o->environment = json_deep_copy(job->environment);
    const char *engine = json_string_value(json_object_get(o->engine, "name"));
    const char *name = json_string_value(json_object_get(model, "name"));
    const char *file = json_string_value(json_object_get(model, "file"));
    o->engine_name = dup_or_empty(engine);
    o->model_name = dup_or_empty(name);
    o->model_file = file ? strdup(file) : NULL;
    o->virtual_clock = job->virtual_clock;
    o->delta = job->delta;
    o->skipped = kvat_space_skipped(job->space);
    bool argv_kept = json_object_set(o->request, "argv", json_object_get(job->note, "argv")) == 0;
    if (!o->request || !o->engine || !o->model || !o->environment || !o->engine_name || !o->model_name ||
        (file && !o->model_file) || !argv_kept)
        return nomem(err);
    return kvat__left_out_copy(o, job->note, err);
}

static void give_parts(kvat_outcome *o, kvat__job *job) {
    o->profile = job->profile;
    o->knobs = job->knobs;
    o->space = job->space;
    job->profile = NULL;
    job->knobs = NULL;
    job->space = NULL;
}

static kvat_outcome *new_outcome(void) {
    kvat_outcome *o = calloc(1, sizeof *o);
    if (!o) return NULL;
    o->winner = o->best_so_far = o->default_entry = o->lossy_best = o->confirmed_entry = o->smallest_worst_loss =
        SIZE_MAX;
    o->incumbent = SIZE_MAX;
    o->sigma = o->anchor_spread = o->grid_ratio = o->p_incumbent_beaten = NAN;
    o->created_utc = strdup("");
    o->why = NULL;
    return o;
}

kvat_status kvat__outcome_of_job(kvat_outcome **out, const kvat__job *job, kvat_error *err) {
    kvat__job *own = NULL;
    kvat_outcome *o = new_outcome();
    kvat_status status = o && o->created_utc ? kvat__job_copy(&own, job, err) : nomem(err);
    if (status == KVAT_OK) status = take_job(o, own, err);
    if (status == KVAT_OK) status = kvat__outcome_make_entries(o, own, NULL, NULL, err);
    if (status == KVAT_OK) {
        o->default_entry = job->default_dropped ? SIZE_MAX : 0;
        o->why = strdup("nothing has been measured yet");
        o->peak_source = strdup("");
        give_parts(o, own);
    }
    kvat__job_free(own);
    if (status == KVAT_OK)
        *out = o;
    else
        kvat_outcome_free(o);
    return status;
}

/** Everything after the replay: the parts in the order in which they need each other. */
static kvat_status conclude(kvat_outcome *o, gathering *g, kvat__drive *drive, kvat_error *err) {
    kvat__drive_view view;
    kvat_status status = kvat__drive_look(&view, drive, err);
    if (status == KVAT_OK) status = kvat__outcome_make_entries(o, g->job, g->figures, &view, err);
    if (status != KVAT_OK) return status;
    kvat__outcome_compare_plainly(o, g->job->profile);
    const kvat_search_answer *answer = &view.answer;
    kvat__outcome_rank(o, answer->has_leader ? answer->leader : SIZE_MAX);
    o->default_entry = g->job->default_dropped ? SIZE_MAX : kvat__outcome_entry_of(o, 0);
    o->stop = view.out_of_budget && answer->stop != KVAT_STOP_INFEASIBLE ? KVAT_STOP_BUDGET : answer->stop;
    o->exhausted = !view.out_of_budget && answer->stop == KVAT_STOP_BUDGET;
    o->p_good = answer->p_good;
    o->p_best = answer->p_best;
    kvat__outcome_set_noise(o, answer->sigma);
    o->confirmation = view.confirmation;
    status = kvat__outcome_decide(o, &view, err);
    if (status == KVAT_OK) status = kvat__outcome_judge_incumbent(o, g->job, &view, err);
    if (status != KVAT_OK) return status;
    finish_race(o, view.default_score, view.default_confirm_score);
    status = kvat__outcome_spread(o, err);
    if (status != KVAT_OK) return status;
    o->measured_ns = g->measured_ns;
    o->grid_ratio = grid_ratio(g, o->elapsed_ns);
    o->mixed_sources = g->mixed_sources;
    o->peak_source = dup_or_empty(g->mixed_sources ? "" : g->peak_source);
    return o->peak_source ? kvat__left_out_add_ruled_out(o, err) : nomem(err);
}

typedef struct loading {
    kvat__job *job;
    char *created;
    kvat_status status;
    kvat_error *err;
} loading;

static bool load_job(void *user, const kvat_run_record *record) {
    loading *l = user;
    l->created = dup_or_empty(record->created_utc);
    l->status = kvat__job_from_record(&l->job, record, l->err);
    return false;
}

static kvat_status pick_run(int64_t *run, kvat_store *store, kvat_error *err) {
    if (*run > 0) return KVAT_OK;
    kvat_status status = kvat_store_latest_run(run, store, err);
    if (status == KVAT_OK && *run == 0) status = kvat_fail(err, KVAT_ERR_DATA, "the store holds no run yet");
    return status;
}

kvat_status kvat_outcome_load(kvat_outcome **out, kvat_store *store, int64_t run, kvat_error *err) {
    loading l = {.err = err};
    kvat__drive *drive = NULL;
    kvat_outcome *o = new_outcome();
    gathering g = {.outcome = o, .err = err};
    size_t n = 0;
    kvat_status status = o && o->created_utc ? pick_run(&run, store, err) : nomem(err);
    if (status == KVAT_OK) status = kvat_store_get_run(store, run, load_job, &l, err);
    if (status == KVAT_OK) status = l.status;
    if (status == KVAT_OK) status = take_job(o, l.job, err);
    if (status != KVAT_OK) goto done;
    free(o->created_utc);
    o->created_utc = l.created;
    l.created = NULL;
    g.job = l.job;
    n = kvat_space_count(l.job->space);
    g.figures = calloc(n, sizeof *g.figures);
    status = g.figures && o->created_utc ? kvat__drive_new(&drive, l.job, err) : nomem(err);
    if (status != KVAT_OK) goto done;
    kvat__replay replay = {.drive = drive, .each = gather, .user = &g};
    status = kvat__replay_run(&replay, store, run, false, err);
    kvat_buf_clear(&replay.loaded);
    if (status == KVAT_OK) status = g.status;
    kvat__step step; /* lets the drive notice that the budget or the search has ended */
    bool more = false;
    if (status == KVAT_OK) status = kvat__drive_next(&step, &more, drive, err);
    if (status == KVAT_OK) status = conclude(o, &g, drive, err);
    if (status != KVAT_OK) goto done;
    give_parts(o, l.job);
    status = kvat_cells_judge(o, &g.runs, l.job->seed, err);
    l.job->space = o->space; /* lent for the warnings and the grid, which count configurations */
    l.job->profile = o->profile;
    if (status == KVAT_OK) status = warnings(o, &g, err);
    l.job->space = NULL;
    l.job->profile = NULL;
done:
    for (size_t i = 0; g.figures && i < n; i++) kvat__entry_figures_clear(&g.figures[i]);
    free(g.figures);
    kvat_cell_runs_clear(&g.runs);
    free(g.peak_source);
    free(l.created);
    kvat__drive_free(drive);
    kvat__job_free(l.job);
    if (status == KVAT_OK)
        *out = o;
    else
        kvat_outcome_free(o);
    return status;
}
