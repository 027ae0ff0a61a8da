// What an outcome says: which configuration to use, how sure that is, and why.
// Must not know how entries were made, nor where the sentence is shown.
#include <math.h>

#include "outcome_internal.h"

/** A share of draws is never certainty, so it is capped. */
static void put_share(kvat_buf *out, const kvat_outcome *o, const char *of, size_t compared) {
    size_t considered = kvat_outcome_considered(o);
    kvat_buf_printf(out, "%.0f %% sure %s is within %.3g %% of the best of %zu",
                    fmin(floor(100 * o->p_good + 1e-9), 99), of, 100 * o->delta, considered);
    if (considered > compared) kvat_buf_printf(out, ", %zu of them measured", compared);
}

/** `of` names the configuration the chance is about. */
static void put_sure(kvat_buf *out, const kvat_outcome *o, const char *of, bool raced) {
    size_t compared = kvat_outcome_compared(o);
    if (compared < 2 && !raced)
        kvat_buf_puts(out, "only one configuration that may win has run clean");
    else if (compared < 2)
        kvat_buf_puts(out, "there is nothing else that may win to compare it with");
    else if (!(o->p_good > 0))
        kvat_buf_printf(out, "too few runs of the %zu configurations compared to say how sure", compared);
    else
        put_share(out, o, of, compared);
}

static bool leader_failed(const kvat_confirm_answer *answer) {
    return answer->verdict == KVAT_VERDICT_FAILED && answer->failed_side == 0;
}

/** Whether the fresh pairs gave an answer: one side is better, or a whole set of pairs could not tell them apart. A
 * leader that failed leaves the default as the answer; any other ran in the search alone, and nothing speaks for it but
 * that it works. */
static bool confirmation_is_over(const kvat_outcome *o, const kvat__drive_view *view) {
    const kvat_confirm_answer *answer = &view->confirmation;
    if (answer->verdict == KVAT_VERDICT_FAILED) return leader_failed(answer) && o->reference_is_default;
    return answer->verdict != KVAT_VERDICT_UNDECIDED || answer->too_little || answer->pairs >= view->pairs_min;
}

/** The default, unless it was beaten; without one the leader, unless that lost. */
static size_t winner_of(const kvat_outcome *o, const kvat__drive_view *view) {
    const kvat_confirm_answer *answer = &view->confirmation;
    if (view->confirming && answer->verdict == KVAT_VERDICT_A) return o->best_so_far;
    if (o->reference_is_default) return o->default_entry;
    bool lost = answer->verdict == KVAT_VERDICT_B || leader_failed(answer);
    return view->confirming && lost ? kvat__outcome_entry_of(o, view->reference_config) : o->best_so_far;
}

/** Why a confirmation ended before it had its pairs. */
static const char *what_lacked(const kvat__drive_view *view) {
    return view->confirm_disturbed ? "the machine was too disturbed" : "no time was left";
}

/** What the fresh pairs said, as the first half of the reason. */
static void put_confirmation(kvat_buf *why, const kvat_outcome *o, const kvat__drive_view *view, const char *against) {
    const kvat_confirm_answer *answer = &view->confirmation;
    if (answer->verdict == KVAT_VERDICT_A)
        kvat_buf_printf(why, "Confirmed on %zu fresh pairs against %s%s; ", answer->pairs, against,
                        answer->joined ? ", joined with the runs of the search" : "");
    else if (answer->verdict == KVAT_VERDICT_B)
        kvat_buf_printf(why, "The leader of the search scored lower than %s in %zu fresh pairs; ", against,
                        answer->pairs);
    else if (leader_failed(answer))
        kvat_buf_puts(why, "The leader of the search failed when it was confirmed; ");
    else if (answer->verdict == KVAT_VERDICT_FAILED)
        kvat_buf_printf(why, "In the confirmation %s failed itself; ",
                        o->reference_is_default ? "the default" : "the configuration held against the leader");
    else if (answer->too_little)
        kvat_buf_printf(why, "In %zu fresh pairs the leader of the search was less than %.3g %% ahead of %s; ",
                        answer->pairs, 100 * o->delta, against);
    else if (answer->pairs > 0)
        kvat_buf_printf(why, "%zu fresh pair%s could not tell the leader of the search from %s%s; ", answer->pairs,
                        answer->pairs == 1 ? "" : "s", against,
                        answer->futile ? ", and more would hardly show it to be better" : "");
    else if (!view->finished)
        kvat_buf_printf(why, "The leader has not been confirmed against %s yet; ", against);
    else
        kvat_buf_printf(why, "The leader could not be confirmed against %s: %s; ", against, what_lacked(view));
}

/** Why nothing was confirmed although the race is decided. */
static void put_unopposed(kvat_buf *why, const kvat_outcome *o, bool incumbent_kept) {
    if (o->winner == o->default_entry && incumbent_kept)
        kvat_buf_printf(why, "Nothing tried is sure to beat the default by more than %.3g %%; ", 100 * o->delta);
    else if (o->winner == o->default_entry)
        kvat_buf_puts(why, "Nothing tried beats the default; ");
    else if (o->entries[o->winner].config == 0)
        kvat_buf_puts(why, "Nothing tried beats the first configuration that fits; ");
    else
        kvat_buf_puts(why, "Nothing else that may win works, the default included; ");
}

static void put_infeasible(kvat_buf *why, const kvat_outcome *o) {
    size_t may_win = 0;
    for (size_t i = 0; i < o->n_entries; i++) may_win += o->entries[i].eligible;
    if (may_win == o->n_entries)
        kvat_buf_printf(why, "none of %zu configurations worked", may_win);
    else
        kvat_buf_printf(why, "none of the %zu configurations that may win worked", may_win);
    if (kvat_outcome_only_failure(o) == KVAT_TRIAL_TIMEOUT)
        kvat_buf_puts(why, ": every run was stopped at its time limit (see --trial-limit)");
    else if (kvat_outcome_only_failure(o) == KVAT_TRIAL_OOM_HOST)
        kvat_buf_puts(why, ": every run lacked memory of the host");
}

/** Not everything was seen: how far it came. */
static void put_unseen(kvat_buf *why, const kvat_outcome *o, bool finished) {
    size_t tried = 0, clean = 0;
    for (size_t i = 0; i < o->n_entries; i++) {
        tried += kvat__outcome_tried(&o->entries[i]);
        clean += o->entries[i].standing.clean_runs > 0;
    }
    kvat_buf_printf(why, "not decided: %s after %zu of %zu configurations, and none %s%s",
                    finished ? "the budget ended" : "the run is not finished", tried, o->n_entries,
                    clean > 0 ? "that may win can be named yet" : "ran clean",
                    finished ? "; a larger one goes on from there" : "");
}

/** Nothing that may win has run clean: all of it failed, the machine let nothing be measured, or there was no time. */
static void put_leaderless(kvat_outcome *o, const kvat__drive_view *view, kvat_buf *why) {
    const bool nothing_works = view->answer.stop == KVAT_STOP_INFEASIBLE;
    o->decision = nothing_works ? KVAT_DECISION_INFEASIBLE : KVAT_DECISION_UNDECIDED;
    if (nothing_works)
        put_infeasible(why, o);
    else if (2 * o->voided_trials > o->trials)
        kvat_buf_printf(why,
                        "not decided: the machine was too disturbed, %zu of %zu measurements had to be thrown away and "
                        "nothing that may win ran clean; try again when it is calmer",
                        o->voided_trials, o->trials);
    else
        put_unseen(why, o, view->finished);
}

/** What keeps an answer from being firm, where what was said of the confirmation does not tell. */
static void put_missing(kvat_buf *why, const kvat_outcome *o, const kvat__drive_view *view, bool raced) {
    const kvat_confirm_answer *confirmation = &view->confirmation;
    if (!view->finished) {
        kvat_buf_puts(why, ", and the run is not finished");
    } else if (!raced && !view->out_of_budget) {
        kvat_buf_printf(why, ", and %zu trials were not enough%s", view->answer.trials,
                        view->answer.restless > 0 ? ": noise comes and goes here" : "");
    } else if (!raced) {
        kvat_buf_printf(why, ", and the budget ended%s", o->noisy ? " on a noisy machine" : "");
        if (view->answer.survivors > 1)
            kvat_buf_printf(why, " with %zu configurations not ruled out", view->answer.survivors);
    } else if (confirmation->verdict == KVAT_VERDICT_UNDECIDED && confirmation->pairs > 0) {
        kvat_buf_printf(why, ", and %s for the %zu pairs it takes", what_lacked(view), view->pairs_min);
    }
}

static void put_decision(kvat_outcome *o, const kvat__drive_view *view, kvat_buf *why) {
    const kvat_search_answer *answer = &view->answer;
    bool raced = answer->stop == KVAT_STOP_CONFIDENT || answer->stop == KVAT_STOP_ONE_LEFT;
    o->best_so_far = answer->has_leader ? kvat__outcome_entry_of(o, answer->leader) : SIZE_MAX;
    o->confirmed_entry = view->confirming ? kvat__outcome_entry_of(o, view->confirmed_config) : SIZE_MAX;
    o->reference_is_default = o->default_entry != SIZE_MAX && kvat__outcome_ranked(&o->entries[o->default_entry]);
    bool firm = raced && view->finished && (!view->confirming || confirmation_is_over(o, view));
    if (!answer->has_leader) {
        put_leaderless(o, view, why);
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
        put_unopposed(why, o, answer->incumbent_kept);
    if (firm && o->winner != o->best_so_far) {
        kvat_buf_printf(why, "keep %s", against);
        return;
    }
    if (!firm) kvat_buf_puts(why, "not decided: ");
    put_sure(why, o, of, raced);
    if (!firm) put_missing(why, o, view, raced);
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
        if (o->entries[i].lossy && kvat__outcome_ranked(&o->entries[i])) o->lossy_best = i;
}

kvat_status kvat__outcome_decide(kvat_outcome *o, const kvat__drive_view *view, kvat_error *err) {
    kvat_buf why = KVAT_BUF_INIT;
    put_decision(o, view, &why);
    o->why = kvat_buf_take(&why);
    find_lossy(o);
    if (o->decision == KVAT_DECISION_INFEASIBLE) find_only_lossy(o);
    return o->why ? KVAT_OK : kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the outcome");
}
