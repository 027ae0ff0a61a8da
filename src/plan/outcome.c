/* What can be said of any outcome, and its end: frees everything it owns.
 * Must not know how one is made. */
#include "kvat/outcome.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

static void clear_entry(kvat_entry *entry) {
    free(entry->label);
    json_decref(entry->settings);
    json_decref(entry->changed);
    free(entry->cells);
    free(entry->failure);
}

static void free_entries(kvat_entry *entries, size_t n) {
    for (size_t i = 0; entries && i < n; i++) clear_entry(&entries[i]);
    free(entries);
}

static void free_left_out(kvat_left_out *left_out, size_t n) {
    for (size_t i = 0; left_out && i < n; i++) {
        free(left_out[i].label);
        free(left_out[i].reason);
    }
    free(left_out);
}

static void free_warnings(char **warnings, size_t n) {
    for (size_t i = 0; warnings && i < n; i++) free(warnings[i]);
    free(warnings);
}

const char *kvat_decision_word(kvat_decision decision) {
    static const char *const words[] = {"winner", "default", "undecided", "infeasible"};
    return words[decision];
}

static size_t count(const kvat_outcome *outcome, bool untried_too) {
    size_t n = 0;
    for (size_t i = 0; i < outcome->n_entries; i++) {
        const kvat_search_standing *standing = &outcome->entries[i].standing;
        n += outcome->entries[i].eligible && (standing->clean_runs > 0 || untried_too) &&
             standing->state <= KVAT_CONFIG_ELIMINATED;
    }
    return n;
}

size_t kvat_outcome_compared(const kvat_outcome *outcome) {
    return count(outcome, false);
}

size_t kvat_outcome_considered(const kvat_outcome *outcome) {
    return count(outcome, !kvat_outcome_raced(outcome));
}

kvat_trial_status kvat_outcome_only_failure(const kvat_outcome *outcome) {
    kvat_trial_status only = KVAT_TRIAL_OK;
    for (size_t i = 0; i < outcome->n_entries; i++)
        for (int status = 0; status < KVAT_TRIAL_STATUS_COUNT; status++) {
            if (!kvat_trial_failed((kvat_trial_status)status) || only == (kvat_trial_status)status) continue;
            if (outcome->entries[i].failures_by_status[status] == 0) continue;
            if (only != KVAT_TRIAL_OK) return KVAT_TRIAL_OK;
            only = (kvat_trial_status)status;
        }
    return only;
}

bool kvat_outcome_raced(const kvat_outcome *outcome) {
    const char *method = json_string_value(json_object_get(outcome->request, "search"));
    return method && strcmp(method, "race") == 0;
}

void kvat_outcome_free(kvat_outcome *outcome) {
    if (!outcome) return;
    json_decref(outcome->request);
    json_decref(outcome->engine);
    json_decref(outcome->model);
    json_decref(outcome->environment);
    free(outcome->engine_name);
    free(outcome->model_name);
    free(outcome->model_file);
    free(outcome->created_utc);
    free(outcome->why);
    free(outcome->incumbent_said);
    free(outcome->winner_by_cell);
    free(outcome->front);
    free_entries(outcome->entries, outcome->n_entries);
    free_left_out(outcome->left_out, outcome->n_left_out);
    free(outcome->race);
    free(outcome->peak_source);
    free_warnings(outcome->warnings, outcome->n_warnings);
    kvat_space_free(outcome->space); /* before the knobs it borrows */
    kvat_knobs_free(outcome->knobs);
    kvat_profile_free(outcome->profile);
    free(outcome);
}
