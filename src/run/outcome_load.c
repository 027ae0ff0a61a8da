// Builds the outcome of a run from what is stored: replays the search, gathers figures, ranks and decides.
// Must not measure, format or write files.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "figures.h"

static kvat_status nomem(kvat_error *err) {
    return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the outcome");
}

/** What the replay of the trials gathers. */
typedef struct gathering {
    const kvat__job *job;
    kvat__entry_figures *figures; /**< one a configuration */
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
    kvat_status status = kvat__drive_look(&view, drive, g->err);
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
    if (g->status == KVAT_OK) g->status = add_point(g, record, drive);
}

static void finish_race(kvat_outcome *o, double default_score) {
    double origin = default_score;
    for (size_t i = 0; i < o->n_race; i++) { /* without a default, relative to the first that worked */
        if (isnan(origin) && !isnan(o->race[i].score)) origin = o->race[i].score;
        if (!isnan(o->race[i].score)) o->race[i].score = kvat__relative_score(o->race[i].score, origin);
    }
}

/* ---- entries ---- */

static kvat_status changed_settings(json_t **out, const kvat__job *job, size_t config, kvat_error *err) {
    json_t *settings = NULL;
    kvat_status status = kvat_space_settings(&settings, job->space, config, -1, err);
    if (status != KVAT_OK) return status;
    const uint16_t *levels = kvat_space_levels(job->space, config);
    for (size_t k = 0; k < kvat_knobs_count(job->knobs); k++) {
        const kvat_knob *knob = kvat_knobs_at(job->knobs, k);
        if (levels[k] == knob->default_level) json_object_del(settings, knob->name);
    }
    *out = settings;
    return KVAT_OK;
}

/** The search counts its own runs; the figures are over those of the confirmation as well. */
static void count_runs(kvat_search_standing *standing, const kvat__entry_figures *figures) {
    size_t failures = 0;
    for (int status = 0; status < KVAT_TRIAL_STATUS_COUNT; status++)
        if (status != KVAT_TRIAL_OK && status != KVAT_TRIAL_VOIDED) failures += figures->failures[status];
    if (figures->clean > standing->clean_runs) standing->clean_runs = figures->clean;
    if (failures > standing->failures) standing->failures = failures;
}

static kvat_status make_entry(kvat_entry *entry, const gathering *g, size_t config, const kvat__drive_view *view,
                              kvat_error *err) {
    const kvat__job *job = g->job;
    const kvat__entry_figures *figures = g->figures ? &g->figures[config] : NULL;
    kvat_buf label = KVAT_BUF_INIT;
    *entry = (kvat_entry){.config = config,
                          .score = NAN,
                          .score_interval = {NAN, NAN, NAN},
                          .ttft_s = NAN,
                          .decode_tok_per_s = NAN,
                          .jitter = NAN,
                          .lossy = kvat_space_lossy(job->space, config),
                          .eligible = kvat__job_eligible(job, config),
                          .forecast_bytes = job->forecast_bytes[config]};
    kvat_space_label(&label, job->space, config);
    entry->label = kvat_buf_take(&label);
    kvat_status status = entry->label ? kvat_space_settings(&entry->settings, job->space, config, -1, err) : nomem(err);
    if (status == KVAT_OK) status = changed_settings(&entry->changed, job, config, err);
    if (status == KVAT_OK) status = kvat_space_identity(entry->identity, job->space, config, err);
    if (view) {
        entry->standing = view->answer.standing[config];
        kvat_interval gain = entry->standing.gain;
        entry->score = 100 * exp(gain.value);
        entry->score_interval = (kvat_interval){100 * exp(gain.value), 100 * exp(gain.low), 100 * exp(gain.high)};
    } else {
        entry->standing.gain = (kvat_interval){NAN, NAN, NAN};
    }
    if (status == KVAT_OK && figures) status = kvat__entry_figures_put(entry, figures, job->profile, err);
    if (status == KVAT_OK && view) count_runs(&entry->standing, figures);
    return status;
}

/** Score of an entry's medians, s of trial.h. NaN when never measured. */
static double median_score(const kvat_entry *entry, const kvat_profile *p) {
    if (!entry->cells || entry->peak_bytes <= 0) return NAN;
    return -p->weight_ttft * log(entry->ttft_s) + p->weight_decode * log(entry->decode_tok_per_s) -
           p->weight_memory * log((double)entry->peak_bytes);
}

/** Whose score is 100: configuration 0 if it ran clean, else the one the search measured gains against. */
static const kvat_entry *origin_of(const kvat_outcome *o) {
    if (o->entries[0].standing.clean_runs > 0) return &o->entries[0];
    for (size_t i = 0; i < o->n_entries; i++) {
        kvat_interval gain = o->entries[i].standing.gain;
        if (o->entries[i].standing.clean_runs > 0 && gain.value == 0 && gain.low == 0 && gain.high == 0)
            return &o->entries[i];
    }
    for (size_t i = 0; i < o->n_entries; i++)
        if (o->entries[i].standing.clean_runs > 0) return &o->entries[i];
    return &o->entries[0];
}

/** A run cut short leaves chunks that share no configuration, so that the fit cannot compare across them: then plain
 * medians are compared, on the same scale and without an interval. `entries` are still in the order of the
 * configurations. */
static void compare_plainly(kvat_outcome *o, const gathering *g) {
    const kvat_entry *origin = origin_of(o);
    bool all = isnan(origin->score); /* what the fit compares is relative to another */
    double zero = median_score(origin, g->job->profile);
    for (size_t i = 0; i < o->n_entries; i++) {
        kvat_entry *entry = &o->entries[i];
        if (entry->standing.clean_runs == 0 || !(all || isnan(entry->score))) continue;
        entry->score = kvat__relative_score(median_score(entry, g->job->profile), zero);
        entry->score_interval = (kvat_interval){entry->score, NAN, NAN};
        entry->standing.gain = (kvat_interval){log(entry->score / 100), NAN, NAN};
    }
}

static bool ranked(const kvat_entry *entry) {
    return entry->standing.clean_runs > 0 && entry->standing.state != KVAT_CONFIG_INFEASIBLE &&
           entry->standing.state != KVAT_CONFIG_UNSTABLE && entry->standing.state != KVAT_CONFIG_SLOW &&
           !isnan(entry->score);
}

static int group_of(const kvat_entry *entry) {
    if (ranked(entry)) return 0;
    return entry->standing.failures > 0 || entry->failure ? 1 : 2;
}

static int by_rank(const void *a, const void *b) {
    const kvat_entry *x = a, *y = b;
    int gx = group_of(x), gy = group_of(y);
    if (gx != gy) return gx - gy;
    if (gx == 0 && x->score != y->score) return x->score < y->score ? 1 : -1;
    return x->config < y->config ? -1 : x->config > y->config;
}

/** The search's leader first, whatever ties its rule broke; then by estimate. */
static void rank_entries(kvat_outcome *o, size_t leader) {
    qsort(o->entries, o->n_entries, sizeof *o->entries, by_rank);
    for (size_t i = 0; i < o->n_entries; i++) {
        if (o->entries[i].config != leader || !ranked(&o->entries[i])) continue;
        kvat_entry first = o->entries[i];
        memmove(&o->entries[1], &o->entries[0], i * sizeof first);
        o->entries[0] = first;
        break;
    }
    for (size_t i = 0; i < o->n_entries; i++) o->entries[i].rank = ranked(&o->entries[i]) ? i + 1 : 0;
}

static size_t entry_of(const kvat_outcome *o, size_t config) {
    for (size_t i = 0; i < o->n_entries; i++)
        if (o->entries[i].config == config) return i;
    return SIZE_MAX;
}

/* ---- per cell ---- */

static double cell_score(const kvat_outcome *o, const kvat_entry *entry, size_t cell) {
    const kvat_profile *p = o->profile;
    if (!entry->cells || !ranked(entry) || entry->peak_bytes <= 0) return NAN;
    const kvat_cell_figures *f = &entry->cells[cell];
    return -p->weight_ttft * log(f->ttft_s.value) + p->weight_decode * log(f->decode_tok_per_s.value) -
           p->weight_memory * log((double)entry->peak_bytes);
}

static kvat_status judge_cells(kvat_outcome *o, kvat_error *err) {
    size_t n = o->profile->n_cells;
    double *best = malloc(n * sizeof *best);
    o->winner_by_cell = malloc(n * sizeof *o->winner_by_cell);
    if (!best || !o->winner_by_cell) {
        free(best);
        return nomem(err);
    }
    o->winner_by_cell_n = n;
    for (size_t c = 0; c < n; c++) {
        best[c] = -INFINITY;
        o->winner_by_cell[c] = SIZE_MAX;
        for (size_t i = 0; i < o->n_entries; i++) {
            double score = o->entries[i].eligible ? cell_score(o, &o->entries[i], c) : NAN;
            if (!(score > best[c])) continue;
            best[c] = score;
            o->winner_by_cell[c] = i;
        }
    }
    double smallest = INFINITY;
    for (size_t i = 0; i < o->n_entries; i++) {
        double worst = o->entries[i].eligible ? 0 : NAN;
        for (size_t c = 0; c < n && !isnan(worst); c++) worst = fmax(worst, best[c] - cell_score(o, &o->entries[i], c));
        if (isnan(cell_score(o, &o->entries[i], 0)) || !(worst < smallest)) continue;
        smallest = worst;
        o->smallest_worst_loss = i;
    }
    free(best);
    return KVAT_OK;
}

/* ---- decision ---- */

/** How many configurations the chance is about: those that ran clean and may win. */
static size_t count_compared(const kvat_outcome *o) {
    size_t n = 0;
    for (size_t i = 0; i < o->n_entries; i++) n += o->entries[i].standing.clean_runs > 0 && o->entries[i].eligible;
    return n;
}

/** `of` names the configuration the chance is about. A share of draws is never certainty, so it is capped. */
static void put_sure(kvat_buf *out, const kvat_outcome *o, const char *of) {
    size_t compared = count_compared(o);
    if (compared < 2)
        kvat_buf_puts(out, "nothing else that may win has run clean");
    else if (!(o->p_good > 0))
        kvat_buf_printf(out, "too few runs of the %zu configurations compared to say how sure", compared);
    else
        kvat_buf_printf(out, "%.0f %% sure %s is within %.3g %% of the best of %zu",
                        fmin(floor(100 * o->p_good + 1e-9), 99), of, 100 * o->delta, compared);
}

/** Whether the fresh pairs gave an answer: one side is better, or a whole set of pairs could not tell them apart. */
static bool confirmation_is_over(const kvat__drive_view *view) {
    const kvat_confirm_answer *answer = &view->confirmation;
    if (answer->verdict == KVAT_VERDICT_FAILED) return answer->failed_side == 0;
    return answer->verdict != KVAT_VERDICT_UNDECIDED || answer->pairs >= view->pairs_min;
}

/** The default, unless it was beaten; without one the leader, unless that lost. */
static size_t winner_of(const kvat_outcome *o, const kvat__drive_view *view) {
    const kvat_confirm_answer *answer = &view->confirmation;
    if (view->confirming && answer->verdict == KVAT_VERDICT_A) return o->best_so_far;
    if (o->reference_is_default) return o->default_entry;
    bool lost = answer->verdict == KVAT_VERDICT_B || (answer->verdict == KVAT_VERDICT_FAILED && !answer->failed_side);
    return view->confirming && lost ? entry_of(o, view->reference_config) : o->best_so_far;
}

/** What the fresh pairs said, as the first half of the reason. */
static void put_confirmation(kvat_buf *why, const kvat_outcome *o, const kvat__drive_view *view, const char *against) {
    const kvat_confirm_answer *answer = &view->confirmation;
    if (answer->verdict == KVAT_VERDICT_A)
        kvat_buf_printf(why, "Confirmed on %zu fresh pairs against %s; ", answer->pairs, against);
    else if (answer->verdict == KVAT_VERDICT_B)
        kvat_buf_printf(why, "The leader of the search scored lower than %s in %zu fresh pairs; ", against,
                        answer->pairs);
    else if (answer->verdict == KVAT_VERDICT_FAILED && answer->failed_side == 0)
        kvat_buf_puts(why, "The leader of the search failed when it was confirmed; ");
    else if (answer->verdict == KVAT_VERDICT_FAILED)
        kvat_buf_printf(why, "In the confirmation %s failed itself; ",
                        o->reference_is_default ? "the default" : "the configuration held against the leader");
    else if (answer->pairs > 0)
        kvat_buf_printf(why, "%zu fresh pair%s could not tell the leader of the search from %s; ", answer->pairs,
                        answer->pairs == 1 ? "" : "s", against);
    else
        kvat_buf_printf(why, "The leader could not be confirmed against %s: %s; ", against,
                        view->confirm_disturbed ? "the machine was too disturbed" : "no time was left");
}

/** Why nothing was confirmed although the race is decided. */
static void put_unopposed(kvat_buf *why, const kvat_outcome *o) {
    if (o->winner == o->default_entry)
        kvat_buf_puts(why, "Nothing tried beats the default; ");
    else if (o->entries[o->winner].config == 0)
        kvat_buf_puts(why, "Nothing tried beats the first configuration that fits; ");
    else
        kvat_buf_puts(why, "Nothing else that may win works, the default included; ");
}

static void decide(kvat_outcome *o, const kvat__drive_view *view, kvat_buf *why) {
    const kvat_search_answer *answer = &view->answer;
    bool raced = answer->stop == KVAT_STOP_CONFIDENT || answer->stop == KVAT_STOP_ONE_LEFT;
    bool firm = raced && (!view->confirming || confirmation_is_over(view));
    o->best_so_far = answer->has_leader ? entry_of(o, answer->leader) : SIZE_MAX;
    o->confirmed_entry = view->confirming ? entry_of(o, view->confirmed_config) : SIZE_MAX;
    o->reference_is_default = o->default_entry != SIZE_MAX && ranked(&o->entries[o->default_entry]);
    if (!answer->has_leader) {
        o->decision = KVAT_DECISION_INFEASIBLE;
        kvat_buf_printf(why, "none of %zu configurations worked", o->n_entries);
        return;
    }
    o->winner = winner_of(o, view);
    o->decision = !firm                           ? KVAT_DECISION_UNDECIDED
                  : o->winner == o->default_entry ? KVAT_DECISION_DEFAULT
                                                  : KVAT_DECISION_WINNER;
    const char *against = o->reference_is_default ? "the default" : "the first other configuration that works";
    const char *of = o->winner == o->best_so_far ? "it" : "the leader";
    if (view->confirming)
        put_confirmation(why, o, view, against);
    else if (firm)
        put_unopposed(why, o);
    if (firm && o->winner != o->best_so_far) {
        kvat_buf_printf(why, "keep %s", against);
        return;
    }
    if (!firm) kvat_buf_puts(why, "not decided: ");
    put_sure(why, o, of);
    if (raced) return;
    kvat_buf_printf(why, ", and the budget ended%s", o->noisy ? " on a noisy machine" : "");
    if (answer->survivors > 1) kvat_buf_printf(why, " with %zu configurations left", answer->survivors);
}

/** Best ranked lossy entry that beats the winner by estimate. */
static void find_lossy(kvat_outcome *o) {
    o->lossy_best = SIZE_MAX;
    if (o->winner == SIZE_MAX) return;
    for (size_t i = 0; i < o->n_entries && o->lossy_best == SIZE_MAX; i++)
        if (!o->entries[i].eligible && o->entries[i].rank && i != o->winner &&
            o->entries[i].score > o->entries[o->winner].score)
            o->lossy_best = i;
}

/** Every candidate was lossy and unjudged, the lossless ones failed: the best of them, for the separate plan. */
static void find_only_lossy(kvat_outcome *o) {
    for (size_t i = 0; i < o->n_entries && o->lossy_best == SIZE_MAX; i++)
        if (o->entries[i].lossy && ranked(&o->entries[i])) o->lossy_best = i;
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
    o->context_tokens = job->context_tokens;
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

static kvat_status make_entries(kvat_outcome *o, const gathering *g, const kvat__drive_view *view, kvat_error *err) {
    size_t n = kvat_space_count(g->job->space);
    o->entries = calloc(n, sizeof *o->entries);
    if (!o->entries) return nomem(err);
    kvat_status status = KVAT_OK;
    for (size_t i = 0; i < n && status == KVAT_OK; i++) {
        o->n_entries = i + 1;
        status = make_entry(&o->entries[i], g, i, view, err);
    }
    return status;
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
    o->sigma = o->anchor_spread = o->grid_ratio = NAN;
    o->created_utc = strdup("");
    o->why = NULL;
    return o;
}

kvat_status kvat__outcome_of_job(kvat_outcome **out, const kvat__job *job, kvat_error *err) {
    kvat__job *own = NULL;
    kvat_outcome *o = new_outcome();
    kvat_status status = o && o->created_utc ? kvat__job_copy(&own, job, err) : nomem(err);
    gathering g = {.job = own};
    if (status == KVAT_OK) status = take_job(o, own, err);
    if (status == KVAT_OK) status = make_entries(o, &g, NULL, err);
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
    if (status == KVAT_OK) status = make_entries(o, g, &view, err);
    if (status != KVAT_OK) return status;
    compare_plainly(o, g);
    const kvat_search_answer *answer = &view.answer;
    rank_entries(o, answer->has_leader ? answer->leader : SIZE_MAX);
    o->default_entry = g->job->default_dropped ? SIZE_MAX : entry_of(o, 0);
    o->stop = view.out_of_budget ? KVAT_STOP_BUDGET : answer->stop;
    o->p_good = answer->p_good;
    o->p_best = answer->p_best;
    o->sigma = answer->sigma;
    o->anchor_spread = expm1(answer->sigma);
    o->noisy = o->anchor_spread > 0.05;
    o->confirmation = view.confirmation;
    kvat_buf why = KVAT_BUF_INIT;
    decide(o, &view, &why);
    o->why = kvat_buf_take(&why);
    find_lossy(o);
    if (o->decision == KVAT_DECISION_INFEASIBLE) find_only_lossy(o);
    finish_race(o, view.default_score);
    o->measured_ns = g->measured_ns;
    o->grid_ratio = grid_ratio(g, o->elapsed_ns);
    o->peak_source = dup_or_empty(g->peak_source);
    return o->why && o->peak_source ? kvat__left_out_add_ruled_out(o, err) : nomem(err);
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
    status = judge_cells(o, err);
    l.job->space = o->space; /* lent for the warnings and the grid, which count configurations */
    l.job->profile = o->profile;
    if (status == KVAT_OK) status = warnings(o, &g, err);
    l.job->space = NULL;
    l.job->profile = NULL;
done:
    for (size_t i = 0; g.figures && i < n; i++) kvat__entry_figures_clear(&g.figures[i]);
    free(g.figures);
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
