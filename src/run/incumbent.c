// The winner of an earlier run of the same fingerprint: found again, given to the search, judged in a sentence, and
// replaced when this run decided otherwise. Must not choose where winners are kept, nor measure.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "outcome_internal.h"

static kvat_status nomem(kvat_error *err) {
    return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the earlier winner");
}

/* ---- fingerprint ---- */

/** The workload's cells, weights and limits; not its name, nor how often anything is repeated. */
static json_t *workload_of(const kvat__job *job) {
    static const char *const beside[] = {"name", "description", "runs", "warmup"};
    json_t *workload = json_copy(json_object_get(job->request, "profile"));
    for (size_t i = 0; workload && i < sizeof beside / sizeof *beside; i++)
        (void)json_object_del(workload, beside[i]); /* which fails when it is not there */
    return workload;
}

kvat_status kvat__incumbent_fingerprint(char *hex, const kvat__job *job, kvat_error *err) {
    const json_t *request = job->request;
    kvat_buf text = KVAT_BUF_INIT;
    json_t *all = json_pack("{s:s, s:o, s:O?, s:O?, s:O?, s:O?, s:O?, s:O?}", "format", "kvat-winner/1", "workload",
                            workload_of(job), "prompts", json_object_get(request, "prompts_sha256"), "launch",
                            json_object_get(request, "launch_sha256"), "set", json_object_get(request, "set"), "model",
                            json_object_get(request, "model"), "engine", json_object_get(job->hello, "engine"),
                            "machine", json_object_get(job->environment, "machine"));
    kvat_status status = all ? kvat_json_put(&text, all) : KVAT_ERR_NOMEM;
    if (status == KVAT_OK)
        kvat_hash_bytes(hex, text.bytes, text.length);
    else
        status = nomem(err);
    kvat_buf_clear(&text);
    json_decref(all);
    return status;
}

/* ---- finding ---- */

static const json_t *noted(const kvat__job *job) {
    return json_object_get(job->note, "incumbent");
}

/** The level that a stored value has in force, SIZE_MAX when the knob has no such value. */
static size_t level_of(const kvat_knob *knob, const json_t *value) {
    char number[32];
    (void)snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
    const char *text = json_is_string(value) ? json_string_value(value) : json_is_integer(value) ? number : "";
    size_t level = kvat_knob_level(knob, text);
    return level == SIZE_MAX ? SIZE_MAX : knob->values[level].canonical;
}

static bool has_levels(const kvat__job *job, size_t config, const size_t *wanted) {
    const uint16_t *levels = kvat_space_levels(job->space, config);
    for (size_t k = 0; k < kvat_knobs_count(job->knobs); k++)
        if (kvat_knobs_at(job->knobs, k)->values[levels[k]].canonical != wanted[k]) return false;
    return true;
}

size_t kvat__incumbent_find(const kvat__job *job) {
    const json_t *settings = json_object_get(noted(job), "settings");
    size_t wanted[KVAT_KNOBS_MAX], n = kvat_knobs_count(job->knobs);
    if (!json_is_object(settings) || json_object_size(settings) != n) return SIZE_MAX;
    for (size_t k = 0; k < n; k++) {
        const kvat_knob *knob = kvat_knobs_at(job->knobs, k);
        wanted[k] = level_of(knob, json_object_get(settings, knob->name));
        if (wanted[k] == SIZE_MAX) return SIZE_MAX;
    }
    for (size_t i = 0; i < kvat_space_count(job->space); i++)
        if (has_levels(job, i, wanted)) return kvat__job_eligible(job, i) ? i : SIZE_MAX;
    return SIZE_MAX;
}

kvat_status kvat__incumbent_take(kvat__job *job, const char *folder, kvat_error *err) {
    char fingerprint[KVAT_HASH_HEX];
    json_t *winner = NULL;
    kvat_status status = kvat__incumbent_fingerprint(fingerprint, job, err);
    if (status == KVAT_OK) status = kvat_winner_read(&winner, folder, fingerprint, err);
    if (status != KVAT_OK || !winner) return status;
    if (json_object_set_new(job->note, "incumbent", winner) != 0) return nomem(err);
    job->incumbent = kvat__incumbent_find(job);
    return KVAT_OK;
}

/* ---- what became of it ---- */

typedef struct verdict {
    const kvat_outcome *o;
    const kvat_search_answer *answer;
    const char *label;      /**< of the incumbent, as remembered */
    const char *challenger; /**< of the best of the others; NULL when there is none that can be compared */
} verdict;

/** A chance is never certainty. */
static double percent(double p) {
    return fmin(floor(100 * p + 1e-9), 99);
}

static void put_kept(kvat_buf *out, const verdict *v) {
    if (v->answer->incumbent_kept && v->challenger)
        kvat_buf_printf(
            out,
            "The earlier winner, %s, stays: %.0f %% sure that %s beats it by more than %.3g %%, and 95 %% are needed",
            v->label, percent(v->answer->p_challenger), v->challenger, 100 * v->o->delta);
    else
        kvat_buf_printf(out, "The earlier winner, %s, is the answer again", v->label);
}

static void put_replaced(kvat_buf *out, const verdict *v) {
    const kvat_outcome *o = v->o;
    if (o->best_so_far == o->incumbent)
        kvat_buf_printf(out, "The earlier winner, %s, gives way to %s, which it was not confirmed to beat", v->label,
                        o->winner == o->default_entry ? "the default" : o->entries[o->winner].label);
    else if (v->challenger)
        kvat_buf_printf(out, "The earlier winner, %s, gives way: %.0f %% sure that %s beats it by more than %.3g %%",
                        v->label, percent(v->answer->p_challenger), v->challenger, 100 * o->delta);
    else
        kvat_buf_printf(out, "The earlier winner, %s, gives way: it did not run clean enough to be compared", v->label);
}

static void put_verdict(kvat_buf *out, const verdict *v) {
    const kvat_outcome *o = v->o;
    if (o->incumbent == SIZE_MAX)
        kvat_buf_printf(out, "The earlier winner, %s, is not among the configurations of this run and stays remembered",
                        v->label);
    else if (o->decision == KVAT_DECISION_UNDECIDED)
        kvat_buf_printf(out, "The earlier winner, %s, stays remembered, as this run decided nothing", v->label);
    else if (o->decision == KVAT_DECISION_INFEASIBLE)
        kvat_buf_printf(out, "The earlier winner, %s, does not work either", v->label);
    else if (o->incumbent_kept)
        put_kept(out, v);
    else
        put_replaced(out, v);
}

kvat_status kvat__outcome_judge_incumbent(kvat_outcome *o, const kvat__job *job, const kvat__drive_view *view,
                                          kvat_error *err) {
    const char *label = json_string_value(json_object_get(noted(job), "label"));
    verdict v = {.o = o, .answer = &view->answer, .label = label};
    kvat_buf said = KVAT_BUF_INIT;
    if (!label) return KVAT_OK;
    if (job->incumbent != SIZE_MAX) o->incumbent = kvat__outcome_entry_of(o, job->incumbent);
    size_t other = view->answer.challenger == SIZE_MAX ? SIZE_MAX : kvat__outcome_entry_of(o, view->answer.challenger);
    if (other != SIZE_MAX) v.challenger = o->entries[other].label;
    o->incumbent_kept = o->incumbent != SIZE_MAX && o->winner == o->incumbent;
    o->p_incumbent_beaten = view->answer.p_challenger;
    put_verdict(&said, &v);
    o->incumbent_said = kvat_buf_take(&said);
    return o->incumbent_said ? KVAT_OK : nomem(err);
}

/* ---- remembering ---- */

/** What is there now is still what this run had to beat: else a run that ended meanwhile knows better. */
static kvat_status may_replace(bool *out, const kvat__job *job, const char *folder, const char *fingerprint,
                               kvat_error *err) {
    json_t *now = NULL;
    kvat_status status = kvat_winner_read(&now, folder, fingerprint, err);
    if (status != KVAT_OK) return status;
    const json_t *before = noted(job);
    *out = !now || (before && json_equal(json_object_get(now, "settings"), json_object_get(before, "settings")));
    json_decref(now);
    return KVAT_OK;
}

static json_t *winner_json(const kvat__job *job, const kvat_outcome *o, const char *fingerprint) {
    const kvat_entry *entry = &o->entries[o->winner];
    return json_pack("{s:s, s:s, s:s, s:s, s:O?, s:s, s:s, s:s, s:O}", "format", "kvat-winner/1", "kvat_version",
                     kvat_version(), "fingerprint", fingerprint, "created_utc", o->created_utc, "engine",
                     json_object_get(job->hello, "engine"), "model", o->model_name, "profile", o->profile->name,
                     "label", entry->label, "settings", entry->settings);
}

kvat_status kvat__incumbent_remember(const kvat__job *job, const kvat_outcome *o, const char *folder, kvat_error *err) {
    char fingerprint[KVAT_HASH_HEX];
    bool firm = o->decision == KVAT_DECISION_WINNER || o->decision == KVAT_DECISION_DEFAULT;
    bool compared = !noted(job) || o->incumbent != SIZE_MAX;
    bool free_to = false;
    if (!firm || !compared || o->winner == SIZE_MAX) return KVAT_OK;
    kvat_status status = kvat__incumbent_fingerprint(fingerprint, job, err);
    if (status == KVAT_OK) status = may_replace(&free_to, job, folder, fingerprint, err);
    if (status != KVAT_OK || !free_to) return status;
    json_t *winner = winner_json(job, o, fingerprint);
    status = winner ? kvat_winner_write(folder, winner, err) : nomem(err);
    json_decref(winner);
    return status;
}
