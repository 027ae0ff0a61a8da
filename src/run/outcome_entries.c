// The configurations of an outcome: figures, score and rank of each.
// Must not decide which one to use, nor read the store.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "outcome_internal.h"

static kvat_status nomem(kvat_error *err) {
    return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the outcome");
}

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
        if (kvat_trial_failed((kvat_trial_status)status)) failures += figures->failures[status];
    if (figures->clean > standing->clean_runs) standing->clean_runs = figures->clean;
    if (failures > standing->failures) standing->failures = failures;
}

void kvat__entry_score(kvat_entry *entry) {
    const kvat_interval gain = entry->standing.gain;
    entry->score = 100 * exp(gain.value);
    entry->score_interval = (kvat_interval){entry->score, 100 * exp(gain.low), 100 * exp(gain.high)};
}

/** `entry` says which configuration it is of; `figures` and `view` are NULL before anything is measured. */
static kvat_status make_entry(kvat_entry *entry, const kvat__job *job, const kvat__entry_figures *figures,
                              const kvat__drive_view *view, kvat_error *err) {
    const size_t config = entry->config;
    kvat_buf label = KVAT_BUF_INIT;
    *entry = (kvat_entry){.config = config,
                          .score = NAN,
                          .score_interval = {NAN, NAN, NAN},
                          .ttft_s = NAN,
                          .decode_tok_per_s = NAN,
                          .compared_decode_tok_per_s = NAN,
                          .jitter = NAN,
                          .worst_loss = {NAN, NAN, NAN},
                          .p_least = NAN,
                          .p_front = NAN,
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
        kvat__entry_score(entry);
    } else {
        entry->standing.gain = (kvat_interval){NAN, NAN, NAN};
    }
    if (status == KVAT_OK && figures) status = kvat__entry_figures_put(entry, figures, job->profile, err);
    if (status == KVAT_OK && view && figures) count_runs(&entry->standing, figures);
    return status;
}

kvat_status kvat__outcome_make_entries(kvat_outcome *o, const kvat__job *job, const kvat__entry_figures *figures,
                                       const kvat__drive_view *view, kvat_error *err) {
    size_t n = kvat_space_count(job->space);
    o->entries = calloc(n, sizeof *o->entries);
    if (!o->entries) return nomem(err);
    kvat_status status = KVAT_OK;
    for (size_t i = 0; i < n && status == KVAT_OK; i++) {
        o->n_entries = i + 1;
        o->entries[i].config = i;
        status = make_entry(&o->entries[i], job, figures ? &figures[i] : NULL, view, err);
    }
    return status;
}

/* ---- rank ---- */

/** Score of an entry's medians, s of trial.h. NaN when never measured. */
static double median_score(const kvat_entry *entry, const kvat_profile *p) {
    if (!entry->cells || entry->peak_bytes <= 0) return NAN;
    return -p->weight_ttft * log(entry->ttft_s) + p->weight_decode * log(entry->compared_decode_tok_per_s) -
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

void kvat__outcome_compare_plainly(kvat_outcome *o, const kvat_profile *profile) {
    const kvat_entry *origin = origin_of(o);
    bool all = isnan(origin->score); /* what the fit compares is relative to another */
    double zero = median_score(origin, profile);
    for (size_t i = 0; i < o->n_entries; i++) {
        kvat_entry *entry = &o->entries[i];
        if (entry->standing.clean_runs == 0 || !(all || isnan(entry->score))) continue;
        entry->score = kvat__relative_score(median_score(entry, profile), zero);
        entry->score_interval = (kvat_interval){entry->score, NAN, NAN};
        entry->standing.gain = (kvat_interval){log(entry->score / 100), NAN, NAN};
    }
}

bool kvat__outcome_tried(const kvat_entry *entry) {
    bool tried = entry->standing.clean_runs > 0;
    for (int status = 0; status < KVAT_TRIAL_STATUS_COUNT; status++) tried |= entry->failures_by_status[status] > 0;
    return tried;
}

bool kvat__outcome_ranked(const kvat_entry *entry) {
    return entry->standing.clean_runs > 0 && entry->standing.state != KVAT_CONFIG_INFEASIBLE &&
           entry->standing.state != KVAT_CONFIG_UNSTABLE && entry->standing.state != KVAT_CONFIG_SLOW &&
           !isnan(entry->score);
}

static int group_of(const kvat_entry *entry) {
    if (kvat__outcome_ranked(entry)) return 0;
    return entry->standing.failures > 0 || entry->failure ? 1 : 2;
}

static int by_rank(const void *a, const void *b) {
    const kvat_entry *x = a, *y = b;
    int gx = group_of(x), gy = group_of(y);
    if (gx != gy) return gx - gy;
    if (gx == 0 && x->score != y->score) return x->score < y->score ? 1 : -1;
    return x->config < y->config ? -1 : x->config > y->config;
}

void kvat__outcome_rank(kvat_outcome *o, size_t leader) {
    qsort(o->entries, o->n_entries, sizeof *o->entries, by_rank);
    for (size_t i = 0; i < o->n_entries; i++) {
        if (o->entries[i].config != leader || !kvat__outcome_ranked(&o->entries[i])) continue;
        kvat_entry first = o->entries[i];
        memmove(&o->entries[1], &o->entries[0], i * sizeof first);
        o->entries[0] = first;
        break;
    }
    for (size_t i = 0; i < o->n_entries; i++) o->entries[i].rank = kvat__outcome_ranked(&o->entries[i]) ? i + 1 : 0;
}

size_t kvat__outcome_entry_of(const kvat_outcome *o, size_t config) {
    for (size_t i = 0; i < o->n_entries; i++)
        if (o->entries[i].config == config) return i;
    return SIZE_MAX;
}
