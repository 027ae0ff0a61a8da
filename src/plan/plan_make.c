/* An outcome becomes best_plan.json: what to run, why, how sure, and what to do where it does not fit.
 * Must not know any engine by name, nor where the plan is written. */
#include <math.h>
#include <string.h>

#include "kvat/cells.h"
#include "plan_internal.h"

bool kvat__entry_reliable(const kvat_entry *entry) {
    return entry->standing.clean_runs > 0 && entry->standing.failures == 0 && entry->rank > 0;
}

bool kvat__entry_stands_in(const kvat_entry *candidate, const kvat_entry *best) {
    return kvat__entry_reliable(candidate) && (best->lossy || !candidate->lossy);
}

const char *kvat__base_name(const char *path) {
    const char *slash = path ? strrchr(path, '/') : NULL;
    return slash ? slash + 1 : path;
}

const char *kvat__text_of(const json_t *object, const char *member) {
    const char *text = json_string_value(json_object_get(object, member));
    return text ? text : "";
}

/* ---- members ---- */
static json_t *engine_member(const kvat_outcome *outcome) {
    kvat__builder object = kvat__build_object();
    kvat__build_text(&object, "name", outcome->engine_name);
    kvat__build_text(&object, "version", kvat__text_of(outcome->engine, "version"));
    kvat__build_text(&object, "build", kvat__text_of(outcome->engine, "build"));
    kvat__build_copy(&object, "flags", json_object_get(outcome->engine, "flags"));
    return kvat__build_take(&object);
}

static bool is_path_member(const char *name) {
    return strcmp(name, "file") == 0 || strcmp(name, "path") == 0 || strcmp(name, "files") == 0;
}

/* Facts of the model; of its file only the base name, which tells nothing about whose machine it is. */
static json_t *model_member(const kvat_outcome *outcome) {
    kvat__builder object = kvat__build_object();
    const char *name;
    json_t *value;
    json_object_foreach(outcome->model, name, value) {
        if (!is_path_member(name)) kvat__build_copy(&object, name, value);
    }
    kvat__build_text(&object, "name", outcome->model_name);
    kvat__build_text(&object, "file", kvat__base_name(outcome->model_file));
    return kvat__build_take(&object);
}

static json_t *cell_member(const kvat_cell *cell, const kvat_cell_figures *figures) {
    kvat__builder object = kvat__build_object();
    kvat__build_int(&object, "prompt_tokens", cell->prompt_tokens);
    kvat__build_int(&object, "output_tokens", cell->output_tokens);
    kvat__build_int(&object, "sequences", cell->sequences);
    kvat__build_real(&object, "weight", cell->weight);
    if (figures) {
        kvat__build_interval(&object, "ttft_s", figures->ttft_s);
        kvat__build_interval(&object, "decode_tok_per_s", figures->decode_tok_per_s);
        kvat__build_real(&object, "prefill_tok_per_s", figures->prefill_tok_per_s);
        kvat__build_real(&object, "itl_p50_s", figures->itl_p50_s);
        kvat__build_real(&object, "itl_p95_s", figures->itl_p95_s);
        kvat__build_real(&object, "itl_p99_s", figures->itl_p99_s);
    }
    return kvat__build_take(&object);
}

static json_t *cells_member(const kvat_profile *profile, const kvat_entry *entry) {
    kvat__builder array = kvat__build_array();
    for (size_t i = 0; profile && i < profile->n_cells; i++) {
        const kvat_cell_figures *figures = entry && entry->cells ? &entry->cells[i] : NULL;
        kvat__build_add(&array, NULL, cell_member(&profile->cells[i], figures));
    }
    return kvat__build_take(&array);
}

static json_t *profile_member(const kvat_outcome *outcome) {
    const kvat_profile *profile = outcome->profile;
    const json_t *prompts = json_object_get(outcome->request, "prompts_sha256");
    kvat__builder weights = kvat__build_object();
    kvat__build_real(&weights, "ttft", profile->weight_ttft);
    kvat__build_real(&weights, "decode", profile->weight_decode);
    kvat__build_real(&weights, "memory", profile->weight_memory);
    kvat__builder object = kvat__build_object();
    kvat__build_text(&object, "name", profile->name);
    kvat__build_add(&object, "weights", kvat__build_take(&weights));
    kvat__build_add(&object, "cells", cells_member(profile, NULL));
    if (prompts) kvat__build_copy(&object, "prompts_sha256", prompts);
    return kvat__build_take(&object);
}

static json_t *figures_member(const kvat_outcome *outcome, const kvat_entry *entry) {
    kvat__builder object = kvat__build_object();
    kvat__build_real(&object, "score", entry->score);
    kvat__build_interval(&object, "score_interval", entry->score_interval);
    kvat__build_real(&object, "ttft_s", entry->ttft_s);
    kvat__build_real(&object, "decode_tok_per_s", entry->decode_tok_per_s);
    kvat__build_bytes(&object, "peak_bytes", entry->peak_bytes);
    kvat__build_real(&object, "jitter", entry->jitter);
    kvat__build_int(&object, "runs", (int64_t)entry->standing.clean_runs);
    kvat__build_add(&object, "cells", cells_member(outcome->profile, entry));
    return kvat__build_take(&object);
}

static kvat_interval ratio_of(kvat_interval difference) {
    return (kvat_interval){exp(difference.value), exp(difference.low), exp(difference.high)};
}

/* Ratios to the reference, from fresh pairs or these joined with the search; nothing else may be called a gain. */
static json_t *gain_member(const kvat_outcome *outcome, size_t entry) {
    const kvat_confirm_answer *answer = &outcome->confirmation;
    if (answer->pairs == 0 || outcome->confirmed_entry != entry || answer->verdict == KVAT_VERDICT_FAILED)
        return json_null();
    kvat__builder object = kvat__build_object();
    kvat__build_text(&object, "against", outcome->reference_is_default ? "default" : "first that works");
    kvat__build_int(&object, "pairs", (int64_t)answer->pairs);
    kvat__build_interval(&object, "score_ratio", ratio_of(answer->score));
    kvat__build_interval(&object, "ttft_ratio", ratio_of(answer->part[0]));
    kvat__build_interval(&object, "decode_ratio", ratio_of(answer->part[1]));
    kvat__build_interval(&object, "peak_ratio", ratio_of(answer->part[2]));
    kvat__build_bool(&object, "joined", answer->joined);
    kvat__build_interval(&object, "fresh", ratio_of(answer->fresh));
    return kvat__build_take(&object);
}

/* The chances are this entry's, which is not always the leader of the search; 0 is what the search says of one it knows
 * too little of. */
static json_t *confidence_member(const kvat_outcome *outcome, size_t entry) {
    kvat__builder object = kvat__build_object();
    bool leads = entry == outcome->best_so_far;
    double good = leads ? outcome->p_good : outcome->entries[entry].standing.p_good;
    bool known = outcome->p_good > 0 && outcome->entries[entry].eligible;
    kvat__build_real(&object, "p_good", known ? good : NAN);
    kvat__build_real(&object, "p_best", known && leads ? outcome->p_best : NAN);
    kvat__build_real(&object, "delta", outcome->delta);
    kvat__build_int(&object, "of", (int64_t)kvat_outcome_considered(outcome));
    kvat__build_int(&object, "measured", (int64_t)kvat_outcome_compared(outcome));
    if (outcome->skipped.drawn_from > 0) kvat__build_real(&object, "drawn_from", outcome->skipped.drawn_from);
    kvat__build_int(&object, "trials", (int64_t)outcome->trials);
    kvat__build_int(&object, "failed_trials", (int64_t)outcome->failed_trials);
    kvat__build_int(&object, "voided_trials", (int64_t)outcome->voided_trials);
    kvat__build_int(&object, "elapsed_ns", outcome->elapsed_ns);
    return kvat__build_take(&object);
}

/* The winner of an earlier run, which stays unless it is surely beaten. */
static json_t *incumbent_member(const kvat_outcome *outcome) {
    size_t entry = outcome->incumbent;
    kvat__builder object = kvat__build_object();
    kvat__build_text(&object, "label", entry < outcome->n_entries ? outcome->entries[entry].label : NULL);
    kvat__build_bool(&object, "kept", outcome->incumbent_kept);
    kvat__build_real(&object, "p_beaten", outcome->p_incumbent_beaten);
    kvat__build_text(&object, "said", outcome->incumbent_said);
    return kvat__build_take(&object);
}

static json_t *noise_member(const kvat_outcome *outcome) {
    kvat__builder object = kvat__build_object();
    kvat__build_real(&object, "sigma", outcome->sigma);
    kvat__build_real(&object, "anchor_spread", outcome->anchor_spread);
    kvat__build_bool(&object, "noisy", outcome->noisy);
    return kvat__build_take(&object);
}

static json_t *memory_member(const kvat_outcome *outcome, const kvat_entry *entry) {
    kvat__builder object = kvat__build_object();
    kvat__build_bytes(&object, "peak_bytes", entry->peak_bytes);
    kvat__build_text(&object, "source", outcome->mixed_sources ? NULL : outcome->peak_source);
    kvat__build_bytes(&object, "model_bytes", entry->model_bytes);
    kvat__build_bytes(&object, "kv_bytes", entry->kv_bytes);
    kvat__build_bytes(&object, "compute_bytes", entry->compute_bytes);
    kvat__build_bytes(&object, "forecast_bytes", entry->forecast_bytes);
    return kvat__build_take(&object);
}

static json_t *alternative(const kvat_entry *entry) {
    kvat__builder object = kvat__build_object();
    kvat__build_int(&object, "rank", (int64_t)entry->rank);
    kvat__build_text(&object, "label", entry->label);
    kvat__build_bool(&object, "lossy", entry->lossy);
    kvat__build_real(&object, "score", entry->score);
    kvat__build_interval(&object, "score_interval", entry->score_interval);
    kvat__build_real(&object, "ttft_s", entry->ttft_s);
    kvat__build_real(&object, "decode_tok_per_s", entry->decode_tok_per_s);
    kvat__build_bytes(&object, "peak_bytes", entry->peak_bytes);
    kvat__build_copy(&object, "settings", entry->settings);
    return kvat__build_take(&object);
}

static json_t *alternatives_member(const kvat_outcome *outcome) {
    kvat__builder array = kvat__build_array();
    for (size_t i = 0; i < outcome->n_entries; i++)
        if (outcome->entries[i].rank > 0) kvat__build_add(&array, NULL, alternative(&outcome->entries[i]));
    return kvat__build_take(&array);
}

/* ---- the whole ---- */
static const char not_the_answer[] =
    "not the answer of this run: lossy, its quality has not been judged, and its gain was "
    "not confirmed on fresh pairs";

static void add_what(kvat__builder *plan, const kvat_outcome *outcome, const kvat_entry *entry) {
    kvat__build_text(plan, "format", KVAT__PLAN_FORMAT);
    kvat__build_text(plan, "kvat_version", kvat_version());
    kvat__build_text(plan, "created_utc", outcome->created_utc);
    kvat__build_text(plan, "decision", kvat_decision_word(outcome->decision));
    bool answer = (size_t)(entry - outcome->entries) == outcome->winner;
    kvat__build_text(plan, "why", answer ? outcome->why : not_the_answer);
    kvat__build_add(plan, "engine", engine_member(outcome));
    kvat__build_add(plan, "model", model_member(outcome));
    kvat__build_add(plan, "profile", profile_member(outcome));
    kvat__build_int(plan, "context_tokens", outcome->context_tokens);
    kvat__build_int(plan, "sequences", outcome->sequences);
    kvat__build_text(plan, "label", entry->label);
    kvat__build_copy(plan, "settings", entry->settings);
    kvat__build_copy(plan, "changed", entry->changed);
    kvat__build_bool(plan, "lossy", entry->lossy);
    if (entry->lossy) kvat__build_bool(plan, "verified_quality", false);
}

static void add_how(kvat__builder *plan, const kvat_outcome *outcome, const kvat_entry *entry) {
    kvat__build_add(plan, "figures", figures_member(outcome, entry));
    kvat__build_add(plan, "gain", gain_member(outcome, (size_t)(entry - outcome->entries)));
    kvat__build_add(plan, "confidence", confidence_member(outcome, (size_t)(entry - outcome->entries)));
    if (outcome->incumbent_said) kvat__build_add(plan, "incumbent", incumbent_member(outcome));
    kvat__build_add(plan, "noise", noise_member(outcome));
    kvat__build_add(plan, "memory", memory_member(outcome, entry));
    kvat__build_add(plan, "alternatives", alternatives_member(outcome));
    if (!plan->failed) plan->failed = kvat_cells_json_add(plan->object, outcome, NULL) != KVAT_OK;
    kvat__build_add(plan, "fallback", kvat__fallback(outcome, entry));
    kvat__build_copy(plan, "environment", outcome->environment);
    kvat__build_add(plan, "reproduce", kvat__reproduce(outcome));
}

kvat_status kvat_plan_make(json_t **out, const kvat_outcome *outcome, size_t entry, kvat_error *err) {
    if (entry >= outcome->n_entries || !outcome->entries[entry].settings || outcome->entries[entry].rank == 0)
        return kvat_fail(err, KVAT_ERR_INFEASIBLE, "there is no configuration that works to make a plan of");
    kvat__builder plan = kvat__build_object();
    add_what(&plan, outcome, &outcome->entries[entry]);
    add_how(&plan, outcome, &outcome->entries[entry]);
    json_t *made = kvat__build_take(&plan);
    if (!made) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the plan");
    *out = made;
    return KVAT_OK;
}
