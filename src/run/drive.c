// Says which measurement is next: the search's trials, then the confirmation's, within the budget. The same for a live
// run and for one read back from its store, which is what makes resuming exact. Must not measure, store or wait.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "run_internal.h"

#define MOST_ATTEMPTS      2       /* a disturbed measurement is repeated once, then its step is given up */
#define MOST_GIVEN_UP      3       /* steps, before a confirmation ends */
#define GIVEN_UP_SHARE     5       /* load is judged while no more than one step in so many was given up */
#define CONFIRM_REPETITION 1000000 /* prompts of a confirmation differ from all of the search's */

typedef struct scores {
    double *items;
    size_t n, capacity;
} scores;

struct kvat__drive {
    const kvat__job *job;
    kvat_search *search;
    kvat_confirm *confirm;
    kvat_search_config *configs;
    kvat_search_knob *knobs;
    kvat_search_trial trial; /* the step, as the search proposed it */
    kvat__step step;
    bool has_step;
    kvat_confirm_trial side;
    int attempts;
    bool search_done, out_of_budget, confirm_disturbed, finished;
    size_t confirmed, reference;
    size_t trials, failed, voided, searched;
    size_t steps, given_up, confirm_given_up; /* told; of these, disturbed in every attempt */
    int64_t elapsed_ns, cost_ns, default_run_ns;
    int64_t searched_cost_ns;
    kvat__fidelity fidelity; /* known from the first clean run of the search on */
    scores default_scores, default_confirm_scores;
    kvat_confirm_options confirm_options;
};

static kvat_status nomem(kvat_error *err) {
    return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the search");
}

static kvat_status make_configs(kvat__drive *drive, kvat_error *err) {
    const kvat__job *job = drive->job;
    size_t n = kvat_space_count(job->space);
    drive->configs = calloc(n, sizeof *drive->configs);
    if (!drive->configs) return nomem(err);
    for (size_t i = 0; i < n; i++) {
        drive->configs[i] = (kvat_search_config){
            .eligible = kvat__job_eligible(job, i),
            .preference = (uint32_t)(kvat_space_changes(job->space, i) * n + i),
            .levels = kvat_space_levels(job->space, i),
            .forecast_bytes = job->forecast_bytes[i],
        };
    }
    return KVAT_OK;
}

static kvat_status make_knobs(kvat__drive *drive, kvat_error *err) {
    const kvat_knobs *knobs = drive->job->knobs;
    const size_t n = kvat_knobs_count(knobs);
    drive->knobs = calloc(n + 1, sizeof *drive->knobs);
    if (!drive->knobs) return nomem(err);
    for (size_t i = 0; i < n; i++) {
        const kvat_knob *knob = kvat_knobs_at(knobs, i);
        drive->knobs[i] = (kvat_search_knob){knob->n_values, knob->type != KVAT_KNOB_ENUM, knob->scope};
    }
    return KVAT_OK;
}

static kvat_search_options options_of(const kvat__drive *drive) {
    const kvat__job *job = drive->job;
    kvat_search_options options = KVAT_SEARCH_OPTIONS_INIT;
    options.method = json_string_value(json_object_get(job->request, "search"));
    options.seed = job->seed;
    options.configs = drive->configs;
    options.n_configs = kvat_space_count(job->space);
    options.knobs = drive->knobs;
    options.n_knobs = kvat_knobs_count(job->knobs);
    options.delta = job->delta;
    options.p_good_target = job->p_good;
    options.has_incumbent = job->incumbent != SIZE_MAX;
    options.incumbent = options.has_incumbent ? job->incumbent : 0;
    options.min_runs = (size_t)(job->profile->runs > 0 ? job->profile->runs : 1);
    options.part_weight[0] = job->profile->weight_ttft;
    options.part_weight[1] = job->profile->weight_decode;
    options.part_weight[2] = job->profile->weight_memory;
    return options;
}

kvat_status kvat__drive_new(kvat__drive **out, const kvat__job *job, kvat_error *err) {
    kvat__drive *drive = calloc(1, sizeof *drive);
    if (!drive) return nomem(err);
    drive->job = job;
    drive->confirmed = drive->reference = SIZE_MAX;
    drive->confirm_options = (kvat_confirm_options)KVAT_CONFIRM_OPTIONS_INIT;
    kvat_status status = make_configs(drive, err);
    if (status == KVAT_OK) status = make_knobs(drive, err);
    if (status == KVAT_OK) {
        const kvat_search_options options = options_of(drive);
        status = kvat_search_new(&drive->search, &options, err);
    }
    if (status == KVAT_OK)
        *out = drive;
    else
        kvat__drive_free(drive);
    return status;
}

void kvat__drive_free(kvat__drive *drive) {
    if (!drive) return;
    kvat_search_free(drive->search);
    kvat_confirm_free(drive->confirm);
    free(drive->configs);
    free(drive->knobs);
    free(drive->default_scores.items);
    free(drive->default_confirm_scores.items);
    free(drive);
}

/* ---- budget ---- */

/** Of a trial; where the confirmation decodes more than the search, of a trial of the search. */
static int64_t mean_cost(const kvat__drive *drive) {
    if (drive->job->burst_tokens > 0 && drive->searched > 0) return drive->searched_cost_ns / (int64_t)drive->searched;
    return drive->trials ? drive->cost_ns / (int64_t)drive->trials : 0;
}

static int64_t confirm_cost(const kvat__drive *drive) {
    return drive->fidelity.confirm_cost_ns > 0 ? drive->fidelity.confirm_cost_ns : mean_cost(drive);
}

/** What the search may use: the rest is kept for the confirmation, at most two fifths of the budget, or three where its
 * runs decode more. */
static int64_t search_budget(const kvat__drive *drive) {
    int64_t budget = drive->job->budget_ns, most = budget / 5 * (drive->job->burst_tokens > 0 ? 3 : 2);
    int64_t pairs = (int64_t)drive->confirm_options.min_pairs;
    int64_t reserve = confirm_cost(drive) > most / (2 * pairs) ? most : confirm_cost(drive) * 2 * pairs;
    return budget - reserve;
}

static bool search_may_go_on(const kvat__drive *drive) {
    if (drive->trials == 0) return true;
    if (drive->job->max_trials > 0 && drive->searched >= (size_t)drive->job->max_trials) return false;
    return drive->elapsed_ns + mean_cost(drive) <= search_budget(drive);
}

/** With so many a confirmation that was cut short has told what it could. */
static size_t pairs_that_tell(const kvat__drive *drive) {
    const kvat_confirm_options usual = KVAT_CONFIRM_OPTIONS_INIT;
    return drive->confirm_options.min_pairs > usual.min_pairs ? drive->confirm_options.min_pairs : usual.min_pairs;
}

static bool confirm_may_go_on(const kvat__drive *drive) {
    int64_t budget = drive->job->budget_ns;
    if (drive->elapsed_ns <= budget) return true;
    size_t pairs = kvat_confirm_answer_get(drive->confirm).pairs;
    return pairs < pairs_that_tell(drive) && drive->elapsed_ns <= budget + budget / 2;
}

int64_t kvat__drive_run_limit_ns(const kvat__drive *drive) {
    if (drive->job->trial_limit_ns > 0) return drive->job->trial_limit_ns;
    if (drive->default_run_ns > 0) {
        bool confirming = drive->has_step && drive->step.phase == KVAT_PHASE_CONFIRM;
        bool reference = drive->has_step && drive->step.config == 0;
        int64_t expected_ns = confirming ? drive->fidelity.confirm_run_ns : drive->fidelity.search_run_ns;
        if (expected_ns < drive->default_run_ns) expected_ns = drive->default_run_ns;
        int64_t limit = (confirming || reference ? 10 : 3) * expected_ns; /* what ran before will run again */
        return limit > 2 * KVAT_NS_PER_S ? limit : 2 * KVAT_NS_PER_S;
    }
    int64_t half = drive->job->budget_ns / 2;
    return half > 60 * KVAT_NS_PER_S ? half : 60 * KVAT_NS_PER_S;
}

/* ---- next ---- */

/** Asks anew after every result, as one result may rule out what was proposed along with it. */
static kvat_status next_of_search(kvat__drive *drive, kvat_error *err) {
    if (!search_may_go_on(drive)) {
        drive->search_done = drive->out_of_budget = true;
        return KVAT_OK;
    }
    const kvat_search_trial *trials = NULL;
    size_t n = 0;
    kvat_status status = kvat_search_propose(&trials, &n, drive->search, err);
    if (status != KVAT_OK) return status;
    drive->has_step = n > 0;
    drive->search_done = n == 0;
    if (n == 0) return KVAT_OK;
    drive->trial = trials[0];
    drive->step = (kvat__step){.phase = KVAT_PHASE_SEARCH,
                               .config = trials[0].config,
                               .block = trials[0].block,
                               .chunk = trials[0].chunk,
                               .fresh_process = trials[0].fresh_process,
                               .repetition = trials[0].chunk,
                               .burst_tokens = drive->job->burst_tokens,
                               .burst_repeats = drive->fidelity.burst_repeats};
    return KVAT_OK;
}

static bool works(const kvat_search_standing *standing) {
    return standing->clean_runs > 0 && standing->state != KVAT_CONFIG_INFEASIBLE &&
           standing->state != KVAT_CONFIG_UNSTABLE && standing->state != KVAT_CONFIG_SLOW;
}

/** What the leader is held against: the default, or without one the first other configuration that works and may win
 * (whatever the leader fails to beat may become the answer, so it must not be lossy). */
static size_t reference_of(const kvat__drive *drive, const kvat_search_answer *answer) {
    size_t n = kvat_space_count(drive->job->space);
    for (size_t i = 0; i < n; i++)
        if (drive->configs[i].eligible && works(&answer->standing[i]) && (i != answer->leader || i == 0)) return i;
    return SIZE_MAX;
}

static kvat_status start_confirmation(kvat__drive *drive, kvat_error *err) {
    kvat_search_answer answer;
    kvat_status status = kvat_search_answer_get(&answer, drive->search, err);
    if (status != KVAT_OK) return status;
    size_t reference = answer.has_leader ? reference_of(drive, &answer) : SIZE_MAX;
    if (reference == SIZE_MAX || reference == answer.leader) {
        drive->finished = true;
        return KVAT_OK;
    }
    drive->confirmed = answer.leader;
    drive->reference = reference;
    if (reference == 0 && !drive->job->default_dropped)
        drive->confirm_options = kvat_confirm_options_after(&answer, drive->job->delta);
    return kvat_confirm_new(&drive->confirm, &drive->confirm_options, err);
}

static void next_of_confirmation(kvat__drive *drive) {
    if (!confirm_may_go_on(drive) || !kvat_confirm_propose(&drive->side, drive->confirm)) {
        drive->finished = true;
        return;
    }
    drive->step = (kvat__step){.phase = KVAT_PHASE_CONFIRM,
                               .config = drive->side.side == 0 ? drive->confirmed : drive->reference,
                               .block = drive->side.pair,
                               .chunk = (size_t)drive->side.side,
                               .fresh_process = drive->side.fresh_process,
                               .repetition = CONFIRM_REPETITION + drive->side.pair,
                               .burst_tokens = drive->side.whole ? 0 : drive->job->burst_tokens,
                               .burst_repeats = drive->side.whole ? 0 : drive->fidelity.burst_repeats,
                               .plain = drive->side.whole && drive->job->burst_tokens > 0 &&
                                        kvat__plain_is_cheap(drive->job->profile)};
    drive->has_step = true;
}

kvat_status kvat__drive_next(kvat__step *step, bool *more, kvat__drive *drive, kvat_error *err) {
    kvat_status status = KVAT_OK;
    if (!drive->has_step && !drive->search_done) status = next_of_search(drive, err);
    if (status == KVAT_OK && drive->search_done && !drive->confirm && !drive->finished)
        status = start_confirmation(drive, err);
    if (status == KVAT_OK && !drive->has_step && drive->confirm && !drive->finished) next_of_confirmation(drive);
    if (status != KVAT_OK) return status;
    *more = drive->has_step;
    if (drive->has_step) *step = drive->step;
    return KVAT_OK;
}

/* ---- tell ---- */

kvat_status kvat__record_score(double *score, kvat_score_parts *parts, const kvat_profile *profile,
                               const kvat_trial_record *record, kvat_error *err) {
    kvat_score_parts found;
    if (record->status != KVAT_TRIAL_OK) return kvat_fail(err, KVAT_ERR_DATA, "a trial that failed has no score");
    kvat_status status =
        kvat_score_parts_of(&found, profile, record->samples, record->n_samples, record->peak_bytes, err);
    if (status != KVAT_OK) return status;
    *score = kvat_score(profile, &found);
    if (parts) *parts = found;
    return KVAT_OK;
}

double kvat__relative_score(double score, double default_score) {
    return 100.0 * exp(score - default_score);
}

static kvat_search_fate fate_of(kvat_trial_status status) {
    switch (status) {
    case KVAT_TRIAL_OK:
        return KVAT_FATE_OK;
    case KVAT_TRIAL_TIMEOUT:
        return KVAT_FATE_SLOW;
    case KVAT_TRIAL_OOM_HOST:
    case KVAT_TRIAL_OOM_DEVICE:
    case KVAT_TRIAL_UNSUPPORTED:
    case KVAT_TRIAL_INVALID:
        return KVAT_FATE_INFEASIBLE;
    case KVAT_TRIAL_VOIDED:
        return KVAT_FATE_VOIDED;
    default:
        return KVAT_FATE_BROKEN;
    }
}

static kvat_status add_score(scores *list, double score, kvat_error *err) {
    if (list->n == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 8;
        double *items = realloc(list->items, capacity * sizeof *items);
        if (!items) return nomem(err);
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->n++] = score;
    return KVAT_OK;
}

static kvat_status note_default(kvat__drive *drive, const kvat_trial_record *record, double score, kvat_error *err) {
    if (record->run_ns > drive->default_run_ns) drive->default_run_ns = record->run_ns;
    return add_score(&drive->default_scores, score, err);
}

static kvat_status tell_search(kvat__drive *drive, const kvat_trial_record *record, double score,
                               const kvat_score_parts *parts, kvat_error *err) {
    const kvat_profile *profile = drive->job->profile;
    kvat_search_result result = {
        .trial = drive->trial,
        .fate = fate_of(record->status),
        .out_of_memory = record->status == KVAT_TRIAL_OOM_HOST || record->status == KVAT_TRIAL_OOM_DEVICE,
        .score = score,
        .part = {-profile->weight_ttft * parts->ln_ttft, profile->weight_decode * parts->ln_decode,
                 -profile->weight_memory * parts->ln_peak},
        .started_ns = record->elapsed_ns - record->cost_ns,
        .cost_ns = record->cost_ns,
    };
    kvat_status status = kvat_search_tell(drive->search, &result, err);
    if (status != KVAT_OK) return status;
    drive->searched++;
    drive->searched_cost_ns += record->cost_ns;
    if (drive->fidelity.burst_repeats == 0) drive->fidelity = kvat__fidelity_of(drive->job, record);
    bool is_default = record->config == 0 && !drive->job->default_dropped;
    return is_default && result.fate == KVAT_FATE_OK ? note_default(drive, record, score, err) : KVAT_OK;
}

static void account(kvat__drive *drive, const kvat_trial_record *record) {
    drive->elapsed_ns = record->elapsed_ns;
    drive->cost_ns += record->cost_ns;
    drive->trials++;
    if (record->status == KVAT_TRIAL_VOIDED)
        drive->voided++;
    else if (record->status != KVAT_TRIAL_OK)
        drive->failed++;
}

/** A confirmation that was disturbed is asked for again, though not for ever. */
static void end_step(kvat__drive *drive, const kvat_trial_record *record) {
    bool given_up = record->status == KVAT_TRIAL_VOIDED;
    drive->attempts = 0;
    drive->has_step = false;
    drive->steps++;
    drive->given_up += given_up;
    if (!given_up || drive->step.phase != KVAT_PHASE_CONFIRM) return;
    if (++drive->confirm_given_up >= MOST_GIVEN_UP) drive->finished = drive->confirm_disturbed = true;
}

bool kvat__drive_judges_load(const kvat__drive *drive) {
    return GIVEN_UP_SHARE * drive->given_up <= drive->steps;
}

kvat_status kvat__drive_tell(kvat__drive *drive, const kvat_trial_record *record, kvat_error *err) {
    if (!drive->has_step || record->phase != drive->step.phase || record->config != drive->step.config ||
        record->block != drive->step.block || record->chunk != drive->step.chunk)
        return kvat_fail(
            err, KVAT_ERR_DATA,
            "the stored trials do not follow from the stored request (another version of kvat measured them, or "
            "the store is damaged): measure again with --fresh");
    double score = 0;
    kvat_score_parts parts = {0};
    kvat_status status = KVAT_OK;
    bool ok = record->status == KVAT_TRIAL_OK;
    if (ok) status = kvat__record_score(&score, &parts, drive->job->profile, record, err);
    if (status != KVAT_OK) return status;
    account(drive, record);
    if (record->status == KVAT_TRIAL_VOIDED && ++drive->attempts < MOST_ATTEMPTS) return KVAT_OK;
    end_step(drive, record);
    if (drive->step.phase == KVAT_PHASE_CONFIRM && record->status == KVAT_TRIAL_VOIDED) return KVAT_OK;
    if (drive->step.phase == KVAT_PHASE_SEARCH) return tell_search(drive, record, score, &parts, err);
    const double ln_part[3] = {parts.ln_ttft, parts.ln_decode, parts.ln_peak};
    bool is_default = ok && record->config == 0 && !drive->job->default_dropped;
    if (is_default && drive->side.whole) status = add_score(&drive->default_confirm_scores, score, err);
    if (status != KVAT_OK) return status;
    return kvat_confirm_tell(drive->confirm, &drive->side, ok, score, ln_part, err);
}

bool kvat__drive_skips(const kvat__drive *drive, const kvat_trial_record *record) {
    return record->phase == KVAT_PHASE_CONFIRM && (!drive->has_step || drive->step.phase == KVAT_PHASE_SEARCH);
}

void kvat__drive_skip(kvat__drive *drive, const kvat_trial_record *record) {
    account(drive, record);
}

/* ---- looking ---- */

static kvat_status look(kvat__drive_view *out, kvat__drive *drive, bool glance, kvat_error *err) {
    kvat__drive_view view = {.confirming = drive->confirm != NULL,
                             .search_done = drive->search_done,
                             .out_of_budget = drive->out_of_budget,
                             .confirm_disturbed = drive->confirm_disturbed,
                             .finished = drive->finished,
                             .confirmed_config = drive->confirmed,
                             .reference_config = drive->reference,
                             .trials = drive->trials,
                             .failed = drive->failed,
                             .voided = drive->voided,
                             .elapsed_ns = drive->elapsed_ns,
                             .mean_cost_ns = mean_cost(drive),
                             .pairs_min = pairs_that_tell(drive),
                             .pairs_max = drive->confirm_options.max_pairs,
                             .confirm_cost_ns = confirm_cost(drive)};
    if (drive->confirm) view.confirmation = kvat_confirm_answer_get(drive->confirm);
    view.default_score = kvat_median(drive->default_scores.items, drive->default_scores.n);
    if (drive->default_scores.n && isnan(view.default_score)) return nomem(err); /* a median needs room to sort in */
    const scores *confirmed = drive->job->burst_tokens > 0 ? &drive->default_confirm_scores : &drive->default_scores;
    view.default_confirm_score = confirmed->n ? kvat_median(confirmed->items, confirmed->n) : view.default_score;
    if (confirmed->n && isnan(view.default_confirm_score)) return nomem(err);
    view.outlook = kvat_search_outlook_get(drive->search);
    kvat_status status =
        (glance ? kvat_search_answer_glance : kvat_search_answer_get)(&view.answer, drive->search, err);
    if (status != KVAT_OK) return status;
    view.pairs_least = drive->confirm ? drive->confirm_options.min_pairs
                                      : kvat_confirm_options_after(&view.answer, drive->job->delta).min_pairs;
    *out = view;
    return KVAT_OK;
}

kvat_status kvat__drive_look(kvat__drive_view *out, kvat__drive *drive, kvat_error *err) {
    return look(out, drive, false, err);
}

kvat_status kvat__drive_glance(kvat__drive_view *out, kvat__drive *drive, kvat_error *err) {
    return look(out, drive, true, err);
}
