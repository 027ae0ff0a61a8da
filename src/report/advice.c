/* What to do next, and what the answer does not cover, as plain sentences.
 * Must not know any sink: nothing is escaped here. */
#include <math.h>
#include <string.h>

#include "report_internal.h"

/* Of `n` measurements most had to be thrown away. */
static bool mostly_disturbed(const kvat_outcome *outcome, bool confirming) {
    size_t n = 0, disturbed = 0;
    for (size_t i = 0; i < outcome->n_race; i++) {
        if (confirming && !outcome->race[i].confirming) continue;
        n++;
        disturbed += outcome->race[i].status == KVAT_TRIAL_VOIDED;
    }
    return 2 * disturbed > n;
}

kvat__advice kvat__advice_of(const kvat__view *view) {
    const kvat_outcome *outcome = view->outcome;
    if (view->winner && (outcome->decision != KVAT_DECISION_UNDECIDED || view->confirmed)) return KVAT__APPLY;
    if (outcome->decision == KVAT_DECISION_INFEASIBLE) return view->lossy ? KVAT__APPLY_LOSSY : KVAT__SMALLER;
    if (mostly_disturbed(outcome, false) || mostly_disturbed(outcome, true)) return KVAT__CALMER;
    return outcome->exhausted ? KVAT__FEWER : KVAT__MORE_TIME;
}

const char *kvat__winner_word(const kvat__view *view) {
    if (view->outcome->decision != KVAT_DECISION_UNDECIDED) return "winner";
    return view->winner == view->best ? "best so far" : "for now";
}

static bool has_option(const json_t *argv, const char *wanted) {
    size_t i;
    json_t *word;
    json_array_foreach((json_t *)argv, i, word) {
        const char *text = json_is_string(word) ? json_string_value(word) : "";
        size_t n = strlen(wanted);
        if (strncmp(text, wanted, n) == 0 && (text[n] == '\0' || text[n] == '=')) return true;
    }
    return false;
}

/* Without --fresh the same command tells the stored answer again. */
void kvat__say_again(kvat_buf *out, const kvat__view *view) {
    const json_t *argv = json_object_get(view->outcome->request, "argv");
    if (json_array_size(argv) == 0)
        kvat_buf_puts(out, "kvat tune MODEL");
    else
        kvat__say_command(out, view);
    if (!has_option(argv, "--fresh")) kvat_buf_puts(out, " --fresh");
}

/* Nothing worked: what would let it, as far as one cause explains it all. */
static void say_smaller(kvat_buf *out, const kvat_outcome *outcome) {
    const json_t *argv = json_object_get(outcome->request, "argv");
    const kvat_trial_status why = kvat_outcome_only_failure(outcome);
    const char *option = why == KVAT_TRIAL_TIMEOUT    ? "--trial-limit"
                         : why == KVAT_TRIAL_OOM_HOST ? "--max-memory"
                                                      : NULL;
    if (option && has_option(argv, option))
        kvat_buf_printf(out, "Next: the same command with a larger %s", option);
    else
        kvat_buf_puts(out, "Next: kvat tune with a smaller --context or model");
}

void kvat__say_next(kvat_buf *out, const kvat__view *view) {
    const kvat_outcome *outcome = view->outcome;
    switch (kvat__advice_of(view)) {
    case KVAT__APPLY:
    case KVAT__APPLY_LOSSY:
        break;
    case KVAT__SMALLER:
        say_smaller(out, outcome);
        break;
    case KVAT__CALMER:
        kvat_buf_puts(out, "Next: try again when the machine is calmer: ");
        kvat__say_again(out, view);
        break;
    case KVAT__FEWER:
        kvat_buf_puts(out,
                      "Next: the same command with a larger --delta or fewer settings to try, or on a calmer machine");
        break;
    case KVAT__MORE_TIME:
        kvat_buf_printf(out, "Next: the same command with a larger %s",
                        has_option(json_object_get(outcome->request, "argv"), "--trials") ? "--trials" : "--time");
        if (outcome->n_race > 0) kvat_buf_puts(out, " goes on from here");
        break;
    }
}

void kvat__say_unconfirmed(kvat_buf *out, const kvat__view *view) {
    if (!view->winner || kvat__advice_of(view) == KVAT__APPLY) return;
    kvat_buf_printf(out, "best_plan.json holds %s.",
                    kvat__is_default(view, view->winner) ? "the default, for now"
                    : view->winner == view->best         ? "the best so far, not confirmed"
                                                         : "what to use for now, not confirmed");
}

/* A default that failed is told among the failures; of one that was only disturbed nothing else would say a word. */
void kvat__say_unmeasured_default(kvat_buf *out, const kvat__view *view) {
    const kvat_entry *entry = kvat__entry_at(view->outcome, view->outcome->default_entry);
    if (!entry || view->fallback || entry->standing.clean_runs > 0 || kvat__failures(entry) > 0) return;
    size_t disturbed = entry->failures_by_status[KVAT_TRIAL_VOIDED];
    if (disturbed == 0) return;
    kvat_buf_printf(out, "The default was not measured (disturbed %zu time%s)", disturbed, disturbed == 1 ? "" : "s");
    if (view->n_ranked > 0)
        kvat_buf_puts(out, "; scores and changes are against another configuration that ran, not against the default");
    kvat_buf_putc(out, '.');
}

/* Of `part` of the confirmation the change that the medians show is far from what the pairs show: two percent outside
 * of its interval. Runs of the winner and of the default then fell into different times of the machine. */
static bool medians_disagree(kvat_interval part, double winner, double reference) {
    const double ln = log(winner / reference), margin = 0.02;
    return isfinite(ln) && isfinite(part.low) && isfinite(part.high) &&
           (ln < part.low - margin || ln > part.high + margin);
}

static bool machine_moved(const kvat__view *view) {
    const kvat_interval *part = view->outcome->confirmation.part;
    const kvat_entry *winner = view->winner, *reference = view->fallback;
    return medians_disagree(part[0], winner->ttft_s, reference->ttft_s) ||
           medians_disagree(part[1], winner->decode_tok_per_s, reference->decode_tok_per_s) ||
           medians_disagree(part[2], (double)winner->peak_bytes, (double)reference->peak_bytes);
}

/* Both stand in one row, and do not come from the same runs in the same way. */
void kvat__say_basis(kvat_buf *out, const kvat__view *view) {
    if (!view->confirmed || !view->fallback) return;
    const kvat_confirm_answer *answer = &view->outcome->confirmation;
    kvat_buf_printf(out, "Figures are medians of all runs; changes are of the %zu fresh pairs %s.", answer->pairs,
                    answer->joined ? "joined with the search" : "alone");
    if (machine_moved(view))
        kvat_buf_puts(out,
                      " The machine changed during the run, so that the medians are of different times: believe the "
                      "changes.");
}

static double worst_noise(const kvat__view *view) {
    const json_t *noise = kvat__machine_fact(view->outcome, "worst_ratio");
    return json_is_number(noise) ? json_number_value(noise) : 0;
}

void kvat__say_probe(kvat_buf *out, const kvat__view *view) {
    if (worst_noise(view) > 0)
        kvat_buf_puts(out, "Noise is the worst of the probes before the run: by how much the slow ones of many equal "
                           "short loops exceed the usual one.");
}

void kvat__say_much_noise(kvat_buf *out, const kvat__view *view) {
    if (worst_noise(view) > KVAT__MUCH_NOISE) kvat__say_probe(out, view);
}
