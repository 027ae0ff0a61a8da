/* The report as Markdown (CommonMark with tables).
 * Must not know how it will be rendered: everything from outside is escaped. */
#include <math.h>
#include <string.h>

#include "kvat/plan.h"
#include "kvat/units.h"
#include "report_internal.h"

static void put_text(kvat_buf *out, const char *raw) {
    kvat_escape_markdown(out, raw);
}

static void put_sentence(kvat_buf *out, const kvat__view *view, kvat__sayer *say) {
    size_t before = out->length;
    kvat__say(out, view, say, kvat_escape_markdown);
    if (out->length > before) kvat_buf_puts(out, "\n\n");
}

static void put_cell(kvat_buf *out, kvat_buf *text) {
    kvat_buf_puts(out, " ");
    kvat__put_piece(out, text, kvat_escape_markdown);
    kvat_buf_puts(out, " |");
}

/* ---- top ---- */
static void put_warnings(kvat_buf *out, const kvat__view *view) {
    for (size_t i = 0; i < KVAT__WARNINGS; i++) {
        kvat_buf said = KVAT_BUF_INIT;
        kvat__warnings[i](&said, view);
        if (*kvat__piece(out, &said)) {
            kvat_buf_puts(out, "> **Warning:** ");
            kvat__put_piece(out, &said, kvat_escape_markdown);
            kvat_buf_puts(out, "\n\n");
        }
        kvat_buf_clear(&said);
    }
    for (size_t i = 0; i < view->outcome->n_warnings; i++) {
        kvat_buf_puts(out, "> **Warning:** ");
        put_text(out, view->outcome->warnings[i]);
        kvat_buf_puts(out, "\n\n");
    }
}

static kvat_status put_result(kvat_buf *out, const kvat__view *view, kvat_error *err) {
    kvat__metric metrics[KVAT__METRICS];
    if (!view->winner) return KVAT_OK;
    kvat_status status = kvat__metrics_of(metrics, view);
    if (status != KVAT_OK) return kvat_fail(err, status, "cannot allocate the report");
    kvat_buf_puts(out, view->confirmed && view->fallback
                           ? "| | default | this | change |\n| --- | ---: | ---: | ---: |\n"
                           : "| | this | change |\n| --- | ---: | ---: |\n");
    for (size_t i = 0; i < KVAT__METRICS; i++) {
        kvat_buf_printf(out, "| %s |", metrics[i].name);
        if (view->confirmed && view->fallback) kvat_buf_printf(out, " %s |", metrics[i].before);
        kvat_buf_printf(out, " %s | %s |\n", metrics[i].after, *metrics[i].change ? metrics[i].change : "–");
    }
    kvat_buf_putc(out, '\n');
    put_sentence(out, view, kvat__say_basis);
    return KVAT_OK;
}

/* ---- tables ---- */
static void put_rank_row(kvat_buf *out, const kvat__view *view, const kvat_entry *entry) {
    kvat_buf text = KVAT_BUF_INIT;
    bool chosen = entry == view->winner;
    kvat_buf_printf(out, "| %zu | %s", entry->rank, chosen ? "**" : "");
    put_text(out, entry->label);
    kvat_buf_printf(out, "%s%s |", chosen ? "**" : "", entry->lossy ? " (lossy)" : "");
    kvat__put_score(&text, entry, true);
    put_cell(out, &text);
    kvat__put_seconds(&text, entry->ttft_s);
    put_cell(out, &text);
    (entry->decode_fitted ? kvat__put_fitted_rate : kvat__put_rate)(&text, entry->decode_tok_per_s);
    put_cell(out, &text);
    if (entry->peak_bytes > 0) kvat_put_bytes(&text, entry->peak_bytes);
    put_cell(out, &text);
    kvat_buf_printf(out, " %zu |\n", entry->standing.clean_runs);
}

static void put_ranking(kvat_buf *out, const kvat__view *view) {
    if (view->n_ranked == 0) return;
    kvat_buf_puts(out, "## Ranking\n\n| # | configuration | score | TTFT | decode | peak | runs |\n"
                       "| ---: | --- | ---: | ---: | ---: | ---: | ---: |\n");
    for (size_t i = 0; i < view->outcome->n_entries; i++)
        if (view->outcome->entries[i].rank > 0) put_rank_row(out, view, &view->outcome->entries[i]);
    kvat_buf_puts(
        out, "\nTTFT and decode are geometric means over the cells of the workload. Score intervals are 95 %.\n\n");
    put_sentence(out, view, kvat__say_fitted);
    put_sentence(out, view, kvat__say_outscored);
}

static void put_interval(kvat_buf *out, kvat_interval value, void (*put)(kvat_buf *out, double value)) {
    kvat_buf text = KVAT_BUF_INIT;
    put(&text, value.value);
    put_cell(out, &text);
}

/* ---- more than one answer ---- */
static void put_best_row(kvat_buf *out, const kvat__view *view, const kvat_entry *winner, size_t i) {
    const kvat_entry *best = kvat__best_in_cell(view, i);
    kvat_buf text = KVAT_BUF_INIT;
    kvat_buf_puts(out, "| ");
    kvat__put_cell_name(out, &view->outcome->profile->cells[i]);
    kvat_buf_printf(out, " | %s", best == winner ? "**" : "");
    put_text(out, best ? best->label : "–");
    kvat_buf_printf(out, "%s |", best == winner ? "**" : "");
    kvat__put_chance(&text, best && best->cells ? best->cells[i].p_good : NAN);
    put_cell(out, &text);
    if (best && best->cells && best != view->fallback && isfinite(best->cells[i].gain.value))
        kvat__put_gain(&text, best->cells[i].gain);
    else
        kvat_buf_puts(&text, "–");
    put_cell(out, &text);
    kvat__put_loss(&text, winner->cells[i].loss);
    put_cell(out, &text);
    kvat__put_chance(&text, winner->cells[i].p_good);
    put_cell(out, &text);
    kvat_buf_putc(out, '\n');
}

static void put_best_per_cell(kvat_buf *out, const kvat__view *view) {
    const kvat_entry *winner = view->winner;
    if (!winner || !kvat__has_cells(view)) return;
    kvat_buf_puts(out, "## Best per cell\n\n| prompt → output | best here | sure | score over the default's | this one "
                       "loses | this one is as good |\n| --- | --- | ---: | ---: | ---: | ---: |\n");
    for (size_t i = 0; i < view->outcome->profile->n_cells; i++) put_best_row(out, view, winner, i);
    kvat_buf_putc(out, '\n');
    put_sentence(out, view, kvat__say_per_cell);
    put_sentence(out, view, kvat__say_regret);
}

static void put_front(kvat_buf *out, const kvat__view *view) {
    if (!kvat__has_front(view)) return;
    kvat_buf_printf(out,
                    "## Pareto front (%s)\n\n| configuration | sure | TTFT | decode | peak |\n"
                    "| --- | ---: | ---: | ---: | ---: |\n",
                    kvat__front_metrics(view));
    for (size_t i = 0; i < view->outcome->n_front; i++) {
        const kvat_entry *entry = kvat__entry_at(view->outcome, view->outcome->front[i]);
        kvat_buf text = KVAT_BUF_INIT;
        if (!entry) continue;
        kvat_buf_printf(out, "| %s", entry == view->winner ? "**" : "");
        put_text(out, entry->label);
        kvat_buf_printf(out, "%s |", entry == view->winner ? "**" : "");
        kvat__put_chance(&text, entry->p_front);
        put_cell(out, &text);
        kvat__put_seconds(&text, entry->ttft_s);
        put_cell(out, &text);
        kvat__put_rate(&text, entry->decode_tok_per_s);
        put_cell(out, &text);
        if (entry->peak_bytes > 0) kvat_put_bytes(&text, entry->peak_bytes);
        put_cell(out, &text);
        kvat_buf_putc(out, '\n');
    }
    kvat_buf_putc(out, '\n');
    put_sentence(out, view, kvat__say_what_front_is);
}

static void put_cells(kvat_buf *out, const kvat__view *view) {
    const kvat_outcome *outcome = view->outcome;
    if (!view->winner || !view->winner->cells || !outcome->profile) return;
    kvat_buf_puts(out, "## Cell by cell\n\n| prompt | output | sequences | TTFT | decode |\n"
                       "| ---: | ---: | ---: | ---: | ---: |\n");
    for (size_t i = 0; i < outcome->profile->n_cells; i++) {
        const kvat_cell *cell = &outcome->profile->cells[i];
        kvat_buf_printf(out, "| %lld | %lld | %lld |", (long long)cell->prompt_tokens, (long long)cell->output_tokens,
                        (long long)cell->sequences);
        put_interval(out, view->winner->cells[i].ttft_s, kvat__put_seconds);
        put_interval(out, view->winner->cells[i].decode_tok_per_s,
                     view->winner->cells[i].decode_fitted ? kvat__put_fitted_rate : kvat__put_rate);
        kvat_buf_putc(out, '\n');
    }
    kvat_buf_putc(out, '\n');
}

static void put_value(kvat_buf *out, const json_t *value) {
    if (json_is_string(value))
        put_text(out, json_string_value(value));
    else if (json_is_integer(value))
        kvat_buf_printf(out, "%lld", (long long)json_integer_value(value));
}

static void put_settings(kvat_buf *out, const kvat__view *view) {
    const char *name;
    json_t *value;
    if (!view->winner) return;
    kvat_buf_puts(out, "## Settings\n\n| knob | value | |\n| --- | --- | --- |\n");
    json_object_foreach(view->winner->settings, name, value) {
        kvat_buf_puts(out, "| ");
        put_text(out, name);
        kvat_buf_puts(out, " | ");
        put_value(out, value);
        kvat_buf_puts(out, json_object_get(view->winner->changed, name) ? " | changed |\n" : " | as by default |\n");
    }
    kvat_buf_putc(out, '\n');
    put_sentence(out, view, kvat__say_unconfirmed);
    kvat_buf_printf(out, "To run with these settings%s: `kvat apply best_plan.json%s`.\n\n",
                    kvat__advice_of(view) == KVAT__APPLY ? "" : " all the same",
                    kvat_snippet_formats(view->outcome->engine_name)[0] ? " --print-snippet" : "");
}

static void put_failures(kvat_buf *out, const kvat__view *view) {
    if (view->n_failed == 0) return;
    kvat_buf_puts(out, "## What failed, and why\n\n| configuration | how often | detail |\n| --- | --- | --- |\n");
    for (size_t i = 0; i < view->outcome->n_entries; i++) {
        const kvat_entry *entry = &view->outcome->entries[i];
        if (entry->rank > 0 || kvat__failures(entry) == 0) continue;
        kvat_buf text = KVAT_BUF_INIT;
        kvat_buf_puts(out, "| ");
        put_text(out, entry->label);
        kvat_buf_puts(out, " |");
        kvat__say_failures(&text, entry);
        put_cell(out, &text);
        kvat_buf_putc(out, ' ');
        put_text(out, entry->failure);
        kvat_buf_puts(out, " |\n");
    }
    kvat_buf_putc(out, '\n');
}

static void put_left_out(kvat_buf *out, const kvat__view *view) {
    const kvat_outcome *outcome = view->outcome;
    if (outcome->n_left_out == 0) return;
    kvat_buf_puts(out, "## Left out without a trial\n\n| configuration | forecast | why |\n| --- | ---: | --- |\n");
    size_t shown = outcome->n_left_out < KVAT__ROWS_MOST ? outcome->n_left_out : KVAT__ROWS_MOST;
    for (size_t i = 0; i < shown; i++) {
        kvat_buf text = KVAT_BUF_INIT;
        kvat_buf_puts(out, "| ");
        put_text(out, outcome->left_out[i].label);
        kvat_buf_puts(out, " |");
        if (outcome->left_out[i].forecast_bytes > 0) kvat_put_bytes(&text, outcome->left_out[i].forecast_bytes);
        put_cell(out, &text);
        kvat_buf_putc(out, ' ');
        put_text(out, outcome->left_out[i].reason);
        kvat_buf_puts(out, " |\n");
    }
    if (outcome->n_left_out > shown) kvat_buf_printf(out, "\n… %zu more.\n", outcome->n_left_out - shown);
    kvat_buf_putc(out, '\n');
}

static void put_method(kvat_buf *out, const kvat__view *view) {
    kvat_buf_puts(out, "## How it was measured\n\n");
    put_sentence(out, view, kvat__say_cost);
    put_sentence(out, view, kvat__say_confidence);
    put_sentence(out, view, kvat__say_probe);
    if (view->outcome->peak_source && *view->outcome->peak_source) {
        kvat_buf_puts(out, "Peak memory was read from ");
        put_text(out, view->outcome->peak_source);
        kvat_buf_puts(out, ".\n\n");
    }
    kvat_buf_puts(out, "To measure it again:\n\n");
    kvat_buf_puts(out, "    ");
    kvat__say(out, view, kvat__say_again, kvat_escape_terminal);
    kvat_buf_puts(out, "\n");
}

kvat_status kvat_report_markdown(kvat_buf *out, const kvat_outcome *outcome, kvat_error *err) {
    kvat__view view = kvat__view_of(outcome);
    kvat_buf_puts(out, "# ");
    kvat__say(out, &view, kvat__say_verdict, kvat_escape_markdown);
    kvat_buf_puts(out, "\n\n");
    put_warnings(out, &view);
    put_sentence(out, &view, kvat__say_subject);
    put_sentence(out, &view, kvat__say_workload);
    kvat_status status = put_result(out, &view, err);
    if (status != KVAT_OK) return status;
    put_sentence(out, &view, kvat__say_unmeasured_default);
    put_sentence(out, &view, kvat__say_why);
    put_sentence(out, &view, kvat__say_incumbent);
    put_sentence(out, &view, kvat__say_challenger);
    put_sentence(out, &view, kvat__say_quality);
    put_sentence(out, &view, kvat__say_next);
    put_settings(out, &view);
    put_ranking(out, &view);
    put_front(out, &view);
    put_best_per_cell(out, &view);
    put_cells(out, &view);
    put_failures(out, &view);
    put_sentence(out, &view, kvat__say_space);
    put_left_out(out, &view);
    put_method(out, &view);
    return kvat_buf_status(out, err);
}
