/* What a report says, as plain sentences: the same in every format.
 * Must not know any sink: nothing is escaped here. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kvat/units.h"
#include "report_internal.h"

const char *kvat__status_phrase(kvat_trial_status status) {
    switch (status) {
    case KVAT_TRIAL_OK:
        return "ok";
    case KVAT_TRIAL_TIMEOUT:
        return "timeout";
    case KVAT_TRIAL_CRASH:
        return "crash";
    case KVAT_TRIAL_HANG:
        return "hang";
    case KVAT_TRIAL_OOM_HOST:
        return "out of memory (host)";
    case KVAT_TRIAL_OOM_DEVICE:
        return "out of memory (device)";
    case KVAT_TRIAL_UNSUPPORTED:
        return "unsupported";
    case KVAT_TRIAL_INVALID:
        return "invalid";
    case KVAT_TRIAL_PROTOCOL_ERROR:
        return "protocol error";
    case KVAT_TRIAL_VOIDED:
        return "disturbed";
    case KVAT_TRIAL_STATUS_COUNT:
        break;
    }
    return "unknown";
}

const char *kvat__state_word(kvat_config_state state) {
    static const char *const words[] = {"untried", "racing", "eliminated", "infeasible", "unstable", "slow"};
    return words[state];
}

static const char *label_of(const kvat_entry *entry) {
    return entry && entry->label ? entry->label : "?";
}

static const char *engine_of(const kvat__view *view) {
    const char *name = view->outcome->engine_name;
    return name && *name ? name : "the engine";
}

/* ---- headline ---- */
static void say_undecided(kvat_buf *out, const kvat__view *view) {
    if (view->outcome->n_race == 0 && view->outcome->trials == 0)
        kvat_buf_puts(out, "Nothing measured yet");
    else if (!view->winner)
        kvat_buf_puts(out, view->outcome->failed_trials > 0 ? "Not decided: nothing has worked so far"
                                                            : "Not decided: nothing could be measured");
    else if (view->confirmed)
        kvat_buf_printf(out, "%s, maybe not the best: %s",
                        view->fallback ? "Better than the default" : "Better than another that works",
                        label_of(view->winner));
    else if (kvat__is_default(view, view->winner))
        kvat_buf_puts(out, "Not decided: keep the default for now");
    else
        kvat_buf_printf(out, "Not decided: %s for now", label_of(view->winner));
}

void kvat__say_verdict(kvat_buf *out, const kvat__view *view) {
    switch (view->outcome->decision) {
    case KVAT_DECISION_WINNER:
        kvat_buf_printf(out, "Best: %s", label_of(view->winner));
        break;
    case KVAT_DECISION_DEFAULT:
        kvat_buf_puts(out, "Keep the default");
        break;
    case KVAT_DECISION_UNDECIDED:
        say_undecided(out, view);
        break;
    case KVAT_DECISION_INFEASIBLE:
        kvat_buf_puts(out, view->lossy ? "Only lossy configurations work here" : "No configuration works here");
        break;
    }
}

/* The reason comes as half a sentence; it leaves as a whole one. */
void kvat__say_why(kvat_buf *out, const kvat__view *view) {
    const char *why = view->outcome->why;
    size_t n = why ? strlen(why) : 0;
    if (n == 0) return;
    kvat_buf_putc(out, (char)((unsigned char)why[0] < 0x80 ? toupper((unsigned char)why[0]) : why[0]));
    kvat_buf_put(out, why + 1, n - 1);
    if (!strchr(".!?", why[n - 1])) kvat_buf_putc(out, '.');
}

void kvat__say_incumbent(kvat_buf *out, const kvat__view *view) {
    const char *said = view->outcome->incumbent_said;
    if (said && *said) kvat_buf_printf(out, "%s.", said);
}

/* ---- what was measured ---- */
static void say_memory(kvat_buf *out, const kvat_outcome *outcome) {
    const json_t *bytes = kvat__machine_fact(outcome, "memory_limit_bytes");
    if (!bytes) bytes = kvat__machine_fact(outcome, "memory_bytes");
    if (!json_is_integer(bytes) || json_integer_value(bytes) <= 0) return;
    kvat_buf_puts(out, ", ");
    kvat_put_bytes(out, json_integer_value(bytes));
}

void kvat__say_machine(kvat_buf *out, const kvat__view *view) {
    const char *cpu = json_string_value(kvat__machine_fact(view->outcome, "cpu_model"));
    const json_t *cores = kvat__machine_fact(view->outcome, "cores");
    kvat_buf_puts(out, cpu && *cpu ? cpu : "an unknown machine");
    if (json_is_integer(cores))
        kvat_buf_printf(out, ", %lld core%s", (long long)json_integer_value(cores),
                        json_integer_value(cores) == 1 ? "" : "s");
    say_memory(out, view->outcome);
}

void kvat__say_subject(kvat_buf *out, const kvat__view *view) {
    const kvat_outcome *outcome = view->outcome;
    const json_t *noise = kvat__machine_fact(outcome, "worst_ratio");
    kvat_buf_printf(out, "%s %s · %s · ", engine_of(view), kvat__text_member(outcome->engine, "version"),
                    outcome->model_name ? outcome->model_name : "?");
    kvat__say_machine(out, view);
    if (!json_is_number(noise)) return;
    double ratio = json_number_value(noise);
    kvat_buf_puts(out, " · noise ");
    kvat__put_noise(out, ratio);
    kvat_buf_printf(out, " (%s)", ratio <= 0.05 ? "fine" : ratio <= KVAT__MUCH_NOISE ? "some" : "much");
}

static bool seen_before(const kvat_profile *profile, size_t i, bool output) {
    for (size_t k = 0; k < i; k++) {
        const kvat_cell *a = &profile->cells[k], *b = &profile->cells[i];
        if (output ? a->output_tokens == b->output_tokens : a->prompt_tokens == b->prompt_tokens) return true;
    }
    return false;
}

static void say_lengths(kvat_buf *out, const kvat_profile *profile, bool output) {
    size_t written = 0;
    for (size_t i = 0; i < profile->n_cells; i++) {
        if (seen_before(profile, i, output)) continue;
        if (written++ == 12) {
            kvat_buf_puts(out, " …");
            return;
        }
        kvat_buf_printf(out, " %lld",
                        (long long)(output ? profile->cells[i].output_tokens : profile->cells[i].prompt_tokens));
    }
}

void kvat__say_workload(kvat_buf *out, const kvat__view *view) {
    const kvat_outcome *outcome = view->outcome;
    if (!outcome->profile) return;
    kvat_buf_printf(out, "%s: prompts", outcome->profile->name ? outcome->profile->name : "workload");
    say_lengths(out, outcome->profile, false);
    kvat_buf_puts(out, ", outputs");
    say_lengths(out, outcome->profile, true);
    kvat_buf_printf(out, ", one context of %lld", (long long)outcome->context_tokens);
    if (outcome->sequences > 1) kvat_buf_printf(out, ", up to %lld sequences at once", (long long)outcome->sequences);
}

static void say_skipped(kvat_buf *out, size_t n, const char *what) {
    if (n > 0) kvat_buf_printf(out, "; %zu %s", n, what);
}

void kvat__say_space(kvat_buf *out, const kvat__view *view) {
    const kvat_outcome *outcome = view->outcome;
    kvat_buf_printf(out, "%zu configuration%s to choose from", outcome->n_entries, outcome->n_entries == 1 ? "" : "s");
    if (outcome->n_left_out > 0) {
        kvat_buf_printf(out, "; %zu left out: ", outcome->n_left_out);
        if (outcome->left_out[0].reason && *outcome->left_out[0].reason)
            kvat_buf_puts(out, outcome->left_out[0].reason);
        else
            kvat_buf_puts(out, "they cannot fit");
        if (outcome->left_out[0].forecast_bytes > 0) {
            kvat_buf_puts(out, outcome->n_left_out > 1 ? " (the first: " : " (");
            kvat_put_bytes(out, outcome->left_out[0].forecast_bytes);
            kvat_buf_putc(out, ')');
        }
    }
    if (outcome->skipped.drawn_from > 0) {
        kvat_buf_puts(out, "; drawn at random from ");
        kvat_put_count(out, outcome->skipped.drawn_from);
        kvat_buf_puts(out, " combinations");
    }
    say_skipped(out, outcome->skipped.lossy, "lossy not tried (--allow-lossy)");
    say_skipped(out, outcome->skipped.unstable, "left out by --safe");
}

/* ---- how sure ---- */
void kvat__say_noise(kvat_buf *out, const kvat__view *view) {
    const kvat_outcome *outcome = view->outcome;
    if (!outcome->noisy) return;
    for (size_t i = 0; i < outcome->n_warnings; i++)
        if (outcome->warnings[i] && strstr(outcome->warnings[i], "noisy")) return; /* said among the warnings */
    kvat_buf_puts(out, "This machine is noisy: repeated runs of one configuration spread by ");
    kvat__put_fixed(out, 100 * outcome->anchor_spread, 1);
    kvat_buf_puts(out, " % (limit 5 %), so small differences cannot be seen.");
}

void kvat__say_remote_code(kvat_buf *out, const kvat__view *view) {
    if (json_is_true(json_object_get(view->outcome->model, "remote_code")))
        kvat_buf_puts(
            out,
            "Code that comes with the model was run, because it was allowed; plan and snippet need it, too, and run "
            "it where you allow it.");
}

kvat__sayer *const kvat__warnings[KVAT__WARNINGS] = {kvat__say_remote_code, kvat__say_noise};

void kvat__say_confidence(kvat_buf *out, const kvat__view *view) {
    const kvat_outcome *outcome = view->outcome;
    if (!view->winner || !view->best || outcome->p_good <= 0) return;
    if (kvat_outcome_compared(outcome) < 2) {
        kvat_buf_puts(out, "There was nothing else that may win to compare it with.");
        return;
    }
    kvat_buf_puts(out, "Of a hundred runs that say \"");
    kvat__put_percent(out, outcome->p_good);
    kvat_buf_puts(out, " sure\", about ");
    kvat__put_fixed(out, fmin(floor(100 * outcome->p_good + 1e-9), 99), 0);
    kvat_buf_printf(out, " %s within ",
                    view->best == view->winner ? "name a configuration that truly is" : "have a leader that truly is");
    kvat__put_share(out, outcome->delta);
    const size_t compared = kvat_outcome_compared(outcome), considered = kvat_outcome_considered(outcome);
    if (considered > compared)
        kvat_buf_printf(out, " of the best of the %zu considered, of which %zu were measured.", considered, compared);
    else
        kvat_buf_printf(out, " of the best of the %zu compared.", compared);
    kvat_buf_printf(out, " The chance that %s is the very best is ",
                    view->best == view->winner ? "this one" : label_of(view->best));
    kvat__put_percent(out, outcome->p_best);
    kvat_buf_puts(out, ".");
}

static void say_saving(kvat_buf *out, const kvat_entry *from, const kvat_entry *to) {
    if (from->peak_bytes <= 0 || to->peak_bytes <= 0 || from->peak_bytes == to->peak_bytes) return;
    kvat_buf_puts(out, from->peak_bytes > to->peak_bytes ? " and save " : " and take ");
    int64_t difference = from->peak_bytes - to->peak_bytes;
    kvat_put_bytes(out, difference < 0 ? -difference : difference);
    if (difference < 0) kvat_buf_puts(out, " more");
}

void kvat__say_quality(kvat_buf *out, const kvat__view *view) {
    if (view->winner)
        kvat_buf_puts(out, view->winner->lossy ? "Lossy: its answers have not been compared with the reference."
                                               : "Lossless.");
    if (!view->lossy || view->lossy == view->winner) return;
    if (view->winner && kvat__outscored(view)) {
        kvat_buf_printf(out, " %s would score about ", label_of(view->lossy));
        kvat__put_fixed(out, view->lossy->score, 0);
        say_saving(out, view->winner, view->lossy);
    } else if (view->winner) {
        kvat_buf_printf(out, " %s may score higher, nobody can tell by how much", label_of(view->lossy));
    } else {
        kvat_buf_printf(out, "The best of them is %s", label_of(view->lossy));
    }
    kvat_buf_puts(out, ", but it is lossy and its quality has not been judged: not taken (see lossy_plan.json).");
}

bool kvat__any_fitted(const kvat_outcome *outcome) {
    for (size_t i = 0; i < outcome->n_entries; i++)
        if (outcome->entries[i].rank > 0 && outcome->entries[i].decode_fitted) return true;
    return false;
}

void kvat__say_fitted(kvat_buf *out, const kvat__view *view) {
    if (kvat__any_fitted(view->outcome))
        kvat_buf_puts(out,
                      "A decode speed with ~ is fitted from short bursts at each depth, as the search decodes; those "
                      "without were decoded to the end of the output.");
}

void kvat__say_outscored(kvat_buf *out, const kvat__view *view) {
    if (kvat__outscored(view))
        kvat_buf_puts(out, "A lossy configuration with a higher score does not win: its quality has not been judged.");
}

static void say_gain(kvat_buf *out, const char *name, kvat_interval ln_ratio) {
    bool unknown = kvat__gain_unknown(ln_ratio);
    kvat_buf_printf(out, " %s %s", name, unknown ? "(" : "");
    kvat__put_gain(out, ln_ratio);
    if (unknown) kvat_buf_putc(out, ')');
}

static void say_challenge(kvat_buf *out, const kvat__view *view) {
    static const char *const names[] = {"time to first token", "decode", "peak memory"};
    const kvat_confirm_answer *answer = &view->outcome->confirmation;
    kvat_buf_printf(out, "%s against %s, on %zu fresh pairs%s:", label_of(view->challenger),
                    view->fallback ? "the default" : "the first other that works", answer->pairs,
                    answer->joined ? " joined with the runs of the search" : "");
    for (size_t i = 0; i < 3; i++) {
        say_gain(out, names[i], answer->part[i]);
        kvat_buf_putc(out, ',');
    }
    say_gain(out, "score", answer->score);
    kvat_buf_puts(out, answer->verdict == KVAT_VERDICT_B ? ": it is worse." : ": no clear gain.");
}

void kvat__say_challenger(kvat_buf *out, const kvat__view *view) {
    if (view->confirmed) return;
    if (view->gain_known) {
        say_challenge(out, view);
    } else if (view->best && view->best != view->winner) {
        bool unclear = kvat__cannot_tell(view->best->score_interval);
        kvat_buf_printf(out, "Best so far is %s, ", label_of(view->best));
        kvat_buf_puts(out, unclear ? "nobody can tell by how much" : "score ");
        if (!unclear) kvat__put_score(out, view->best, true);
        if (!unclear && view->fallback) kvat_buf_puts(out, " where the default is 100");
        kvat_buf_puts(out, "; it is not confirmed, so it is not the advice.");
    }
}

void kvat__say_cost(kvat_buf *out, const kvat__view *view) {
    const kvat_outcome *outcome = view->outcome;
    kvat_buf_printf(out, "%zu trial%s in ", outcome->trials, outcome->trials == 1 ? "" : "s");
    kvat_put_duration(out, outcome->elapsed_ns);
    if (outcome->virtual_clock) kvat_buf_puts(out, " of simulated time");
    if (isfinite(outcome->grid_ratio) && outcome->grid_ratio > 0) {
        kvat_buf_puts(out, ", ");
        kvat__put_fixed(out, 100 * outcome->grid_ratio, outcome->grid_ratio < 0.095 ? 1 : 0);
        kvat_buf_puts(out, " % of what a grid of 5 repetitions would take");
    }
    if (outcome->failed_trials > 0) kvat_buf_printf(out, "; %zu failed", outcome->failed_trials);
    if (outcome->voided_trials > 0) kvat_buf_printf(out, "; %zu disturbed and not used", outcome->voided_trials);
    kvat_buf_putc(out, '.');
}

void kvat__say_failures(kvat_buf *out, const kvat_entry *entry) {
    size_t written = 0;
    for (int status = 0; status < KVAT_TRIAL_STATUS_COUNT; status++) {
        size_t n = entry->failures_by_status[status];
        if (n == 0 || status == KVAT_TRIAL_OK) continue;
        kvat_buf_printf(out, "%s%zu × %s", written++ ? ", " : "", n, kvat__status_phrase((kvat_trial_status)status));
    }
    if (written == 0) kvat_buf_printf(out, "%zu × failed", kvat__failures(entry));
}

void kvat__say_command(kvat_buf *out, const kvat__view *view) {
    const json_t *argv = json_object_get(view->outcome->request, "argv");
    size_t i;
    json_t *word;
    json_array_foreach((json_t *)argv, i, word) {
        if (i > 0) kvat_buf_putc(out, ' ');
        kvat_escape_shell(out, json_is_string(word) ? json_string_value(word) : "");
    }
}

/* ---- figures ---- */
typedef struct row_source {
    const char *name;
    double before, after; /**< not finite: unknown */
    void (*put)(kvat_buf *out, double value);
    int better_sign; /**< +1: more is better */
} row_source;

static void put_peak(kvat_buf *out, double bytes) {
    kvat_put_bytes(out, (int64_t)bytes);
}

static kvat_status copy_text(char text[48], kvat_buf *from) {
    kvat_status status = kvat_buf_status(from, NULL);
    if (status == KVAT_OK) snprintf(text, 48, "%s", from->bytes ? from->bytes : "");
    kvat_buf_clear(from);
    return status;
}

static kvat_status fill_value(char text[48], const row_source *row, double value) {
    kvat_buf buf = KVAT_BUF_INIT;
    if (isfinite(value) && value > 0) row->put(&buf, value);
    return copy_text(text, &buf);
}

static kvat_status fill_change(kvat__metric *metric, const row_source *row, kvat_interval ln_ratio) {
    kvat_buf buf = KVAT_BUF_INIT;
    bool up = ln_ratio.low > 0, down = ln_ratio.high < 0;
    metric->better = row->better_sign > 0 ? up : down;
    metric->worse = row->better_sign > 0 ? down : up;
    kvat__put_gain(&buf, ln_ratio);
    return copy_text(metric->change, &buf);
}

kvat_status kvat__metrics_of(kvat__metric metrics[KVAT__METRICS], const kvat__view *view) {
    const kvat_entry *to = view->winner, *from = view->confirmed ? view->fallback : NULL;
    const row_source rows[KVAT__METRICS] = {
        {"time to first token", from ? from->ttft_s : NAN, to ? to->ttft_s : NAN, kvat__put_seconds, -1},
        {"decode", from ? from->decode_tok_per_s : NAN, to ? to->decode_tok_per_s : NAN, kvat__put_rate, 1},
        {"peak memory", from ? (double)from->peak_bytes : NAN, to ? (double)to->peak_bytes : NAN, put_peak, -1},
    };
    kvat_status status = KVAT_OK;
    for (size_t i = 0; i < KVAT__METRICS && status == KVAT_OK; i++) {
        metrics[i] = (kvat__metric){.name = rows[i].name};
        status = fill_value(metrics[i].before, &rows[i], rows[i].before);
        if (status == KVAT_OK) status = fill_value(metrics[i].after, &rows[i], rows[i].after);
        if (status == KVAT_OK && view->confirmed)
            status = fill_change(&metrics[i], &rows[i], view->outcome->confirmation.part[i]);
    }
    return status;
}

/* ---- into a sink ---- */
const char *kvat__piece(kvat_buf *out, const kvat_buf *piece) {
    if (piece->status != KVAT_OK && out->status == KVAT_OK) out->status = piece->status;
    return piece->status == KVAT_OK && piece->bytes ? piece->bytes : "";
}

void kvat__put_piece(kvat_buf *out, kvat_buf *piece, kvat__escaper *escape) {
    escape(out, kvat__piece(out, piece));
    kvat_buf_clear(piece);
}

void kvat__say(kvat_buf *out, const kvat__view *view, kvat__sayer *say, kvat__escaper *escape) {
    kvat_buf sentence = KVAT_BUF_INIT;
    say(&sentence, view);
    kvat__put_piece(out, &sentence, escape);
}
