/* An outcome looked at once: which entries matter and what may be said of them.
 * Must not know how anything is written. */
#include <math.h>

#include "report_internal.h"

const kvat_entry *kvat__entry_at(const kvat_outcome *outcome, size_t index) {
    return index < outcome->n_entries ? &outcome->entries[index] : NULL;
}

const kvat_entry *kvat__entry_of_config(const kvat_outcome *outcome, size_t config) {
    for (size_t i = 0; i < outcome->n_entries; i++)
        if (outcome->entries[i].config == config) return &outcome->entries[i];
    return NULL;
}

static const kvat_entry *ranked_at(const kvat_outcome *outcome, size_t index) {
    const kvat_entry *entry = kvat__entry_at(outcome, index);
    return entry && entry->rank > 0 ? entry : NULL;
}

size_t kvat__failures(const kvat_entry *entry) {
    size_t n = 0;
    for (int status = 0; status < KVAT_TRIAL_STATUS_COUNT; status++)
        if (kvat_trial_failed((kvat_trial_status)status)) n += entry->failures_by_status[status];
    return n > entry->standing.failures ? n : entry->standing.failures;
}

static bool tried(const kvat_entry *entry) {
    return entry->rank > 0 || entry->standing.clean_runs > 0 || kvat__failures(entry) > 0 ||
           entry->failures_by_status[KVAT_TRIAL_VOIDED] > 0;
}

size_t kvat__untried(const kvat_outcome *outcome) {
    size_t n = 0;
    for (size_t i = 0; i < outcome->n_entries; i++) n += !tried(&outcome->entries[i]);
    return n;
}

size_t kvat__entries_listed(const kvat_outcome *outcome) {
    size_t n = outcome->n_entries;
    while (n > 0 && !tried(&outcome->entries[n - 1])) n--;
    size_t untried = outcome->n_entries - n;
    return n + (untried < KVAT__ROWS_MOST ? untried : KVAT__ROWS_MOST);
}

static void count_entries(kvat__view *view) {
    const kvat_outcome *outcome = view->outcome;
    for (size_t i = 0; i < outcome->n_entries; i++) {
        const kvat_entry *entry = &outcome->entries[i];
        view->n_ranked += entry->rank > 0;
        view->n_failed += entry->rank == 0 && kvat__failures(entry) > 0;
    }
}

kvat__view kvat__view_of(const kvat_outcome *outcome) {
    kvat__view view = {.outcome = outcome};
    view.winner = ranked_at(outcome, outcome->winner);
    view.fallback = outcome->reference_is_default ? ranked_at(outcome, outcome->default_entry) : NULL;
    view.best = ranked_at(outcome, outcome->best_so_far);
    view.lossy = ranked_at(outcome, outcome->lossy_best);
    view.gain_known = outcome->confirmation.pairs >= 2 && outcome->confirmation.verdict != KVAT_VERDICT_FAILED;
    view.challenger = view.gain_known ? ranked_at(outcome, outcome->confirmed_entry) : NULL;
    view.gain_known = view.challenger != NULL;
    view.confirmed =
        view.gain_known && view.winner == view.challenger && outcome->confirmation.verdict == KVAT_VERDICT_A;
    count_entries(&view);
    return view;
}

bool kvat__is_default(const kvat__view *view, const kvat_entry *entry) {
    return entry && entry == kvat__entry_at(view->outcome, view->outcome->default_entry);
}

bool kvat__outscored(const kvat__view *view) {
    return view->winner && view->lossy && view->lossy != view->winner &&
           !kvat__cannot_tell(view->lossy->score_interval);
}

const json_t *kvat__machine_fact(const kvat_outcome *outcome, const char *name) {
    const json_t *found = json_object_get(outcome->environment, name);
    const char *key;
    json_t *below;
    if (found) return found;
    json_object_foreach(outcome->environment, key, below) {
        found = json_object_get(below, name);
        if (found) return found;
    }
    return NULL;
}

const char *kvat__text_member(const json_t *object, const char *member) {
    const char *text = json_string_value(json_object_get(object, member));
    return text ? text : "";
}
