/* Tables of the HTML report: ranking, cells, failures, what was left out.
 * Must not know the page around them. */
#include <math.h>
#include <string.h>

#include "html.h"
#include "kvat/units.h"

void kvat__html_open_table(kvat_buf *out, const char *caption, const char *const *heads, size_t first_number) {
    kvat_buf_printf(
        out, "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"%s\">\n<table>\n<thead><tr>", caption);
    for (size_t i = 0; heads[i]; i++)
        kvat_buf_printf(out, "<th scope=\"col\"%s>%s</th>", i >= first_number ? " class=\"number\"" : "", heads[i]);
    kvat_buf_puts(out, "</tr></thead>\n<tbody>\n");
}

void kvat__html_close_table(kvat_buf *out) {
    kvat_buf_puts(out, "</tbody>\n</table>\n</div>\n");
}

/* ---- ranking ---- */
static void put_tag(kvat_buf *out, bool there, const char *tag) {
    if (there) kvat_buf_printf(out, " <span class=\"tag\">%s</span>", tag);
}

static void put_rank_row(kvat_buf *out, const kvat__view *view, const kvat_entry *entry) {
    kvat_buf text = KVAT_BUF_INIT;
    kvat_buf_printf(out, "<tr%s><td>%zu</td><th scope=\"row\" class=\"wordy\">",
                    entry == view->winner ? " class=\"chosen\"" : "", entry->rank);
    kvat__html_text(out, entry->label);
    put_tag(out, entry == view->fallback && strcmp(entry->label ? entry->label : "", "default") != 0, "default");
    put_tag(out, entry->lossy, "lossy, not judged");
    kvat_buf_puts(out, "</th>");
    kvat__put_score(&text, entry, true);
    kvat__html_cell(out, "number", &text);
    kvat__put_seconds(&text, entry->ttft_s);
    kvat__html_cell(out, "number", &text);
    (entry->decode_fitted ? kvat__put_fitted_rate : kvat__put_rate)(&text, entry->decode_tok_per_s);
    kvat__html_cell(out, "number", &text);
    if (entry->peak_bytes > 0) kvat_put_bytes(&text, entry->peak_bytes);
    kvat__html_cell(out, "number", &text);
    if (isfinite(entry->jitter)) kvat__put_fixed(&text, entry->jitter, 2);
    kvat__html_cell(out, "number", &text);
    kvat_buf_printf(out, "<td class=\"number\">%zu</td></tr>\n", entry->standing.clean_runs);
}

void kvat__html_ranking(kvat_buf *out, const kvat__view *view) {
    static const char *const heads[] = {"#",    "configuration", "score", "TTFT", "decode",
                                        "peak", "jitter",        "runs",  NULL};
    if (view->n_ranked == 0) return;
    kvat_buf_puts(
        out,
        "<h2>Ranking</h2>\n<p>TTFT (time to first token) and decode are geometric means over the cells of the "
        "workload; jitter is the 95th percentile of the time between tokens over its median, in the worst cell.</p>\n");
    kvat__html_open_table(out, "Ranking of configurations", heads, 2);
    for (size_t i = 0; i < view->outcome->n_entries; i++)
        if (view->outcome->entries[i].rank > 0) put_rank_row(out, view, &view->outcome->entries[i]);
    kvat__html_close_table(out);
    kvat__html_say(out, "<p>", view, kvat__say_fitted, "</p>\n");
    kvat__html_say(out, "<p>", view, kvat__say_outscored, "</p>\n");
}

/* ---- cells ---- */
static void put_measured(kvat_buf *out, kvat_interval value, void (*put)(kvat_buf *out, double value)) {
    kvat_buf text = KVAT_BUF_INIT;
    put(&text, value.value);
    double half = fmax(value.high - value.value, value.value - value.low) / value.value;
    if (kvat__cannot_tell(value)) {
        kvat_buf_puts(&text, " (spread: cannot tell)");
    } else if (isfinite(half)) {
        kvat_buf_puts(&text, " ± ");
        kvat__put_fixed(&text, 100 * half, 1);
        kvat_buf_puts(&text, " %");
    }
    kvat__html_cell(out, "number", &text);
}

static void put_cell_row(kvat_buf *out, const kvat__view *view, size_t i) {
    const kvat_cell_figures *figures = &view->winner->cells[i];
    kvat_buf text = KVAT_BUF_INIT;
    kvat_buf_puts(out, "<tr><th scope=\"row\">");
    kvat__put_cell_name(out, &view->outcome->profile->cells[i]);
    kvat_buf_puts(out, "</th>");
    put_measured(out, figures->ttft_s, kvat__put_seconds);
    put_measured(out, figures->decode_tok_per_s, figures->decode_fitted ? kvat__put_fitted_rate : kvat__put_rate);
    kvat__put_rate(&text, figures->prefill_tok_per_s);
    kvat__html_cell(out, "number", &text);
    kvat__put_seconds(&text, figures->itl_p50_s);
    kvat__html_cell(out, "number", &text);
    kvat__put_seconds(&text, figures->itl_p99_s);
    kvat__html_cell(out, "number", &text);
    kvat_buf_puts(out, "</tr>\n");
}

void kvat__html_cells(kvat_buf *out, const kvat__view *view) {
    static const char *const heads[] = {"prompt → output", "TTFT",       "decode", "prefill",
                                        "token, median",   "token, p99", NULL};
    const kvat_outcome *outcome = view->outcome;
    if (!view->winner || !view->winner->cells || !outcome->profile) return;
    kvat_buf_puts(out, "<h2>Cell by cell</h2>\n<p>Figures of ");
    kvat__html_text(out, view->winner->label);
    kvat_buf_puts(out, " at each prompt and output length, in tokens.</p>\n");
    kvat__html_open_table(out, "Figures of each cell", heads, 1);
    for (size_t i = 0; i < outcome->profile->n_cells; i++) put_cell_row(out, view, i);
    kvat__html_close_table(out);
}

/* ---- what did not run ---- */
static void put_failure_row(kvat_buf *out, const kvat_entry *entry) {
    kvat_buf text = KVAT_BUF_INIT;
    kvat_buf_puts(out, "<tr><th scope=\"row\" class=\"wordy\">");
    kvat__html_text(out, entry->label);
    kvat_buf_puts(out, "</th>");
    kvat__say_failures(&text, entry);
    kvat__html_cell(out, "", &text);
    kvat_buf_puts(out, "<td class=\"wordy\">");
    kvat__html_text(out, entry->failure);
    kvat_buf_puts(out, "</td></tr>\n");
}

void kvat__html_failures(kvat_buf *out, const kvat__view *view) {
    static const char *const heads[] = {"configuration", "how often", "detail", NULL};
    if (view->n_failed == 0) return;
    kvat_buf_puts(
        out,
        "<h2>What failed, and why</h2>\n<p>A failed trial has no figures: it is never counted as a slow one.</p>\n");
    kvat__html_open_table(out, "Failures and their causes", heads, 3);
    for (size_t i = 0; i < view->outcome->n_entries; i++) {
        const kvat_entry *entry = &view->outcome->entries[i];
        if (entry->rank == 0 && kvat__failures(entry) > 0) put_failure_row(out, entry);
    }
    kvat__html_close_table(out);
}

static void put_left_out_row(kvat_buf *out, const kvat_left_out *left_out) {
    kvat_buf text = KVAT_BUF_INIT;
    kvat_buf_puts(out, "<tr><th scope=\"row\" class=\"wordy\">");
    kvat__html_text(out, left_out->label);
    kvat_buf_puts(out, "</th><td class=\"wordy\">");
    kvat__html_text(out, left_out->reason);
    kvat_buf_puts(out, "</td>");
    if (left_out->forecast_bytes > 0) kvat_put_bytes(&text, left_out->forecast_bytes);
    kvat__html_cell(out, "number", &text);
    kvat_buf_puts(out, "</tr>\n");
}

static void put_skipped(kvat_buf *out, const kvat_space_left_out *skipped) {
    if (skipped->lossy + skipped->unstable + skipped->constrained + skipped->equal == 0) return;
    if (skipped->drawn_from > 0) {
        kvat_buf_printf(out,
                        "<p>%zu values were not tried because they are lossy, %zu because they are not stable.</p>\n",
                        skipped->lossy, skipped->unstable);
        return;
    }
    kvat_buf_printf(
        out,
        "<p>Of the combinations, %zu were not tried because they contradict a rule of the engine, %zu because "
        "they come to the same settings as another, %zu because they are lossy, %zu because they are not "
        "stable.</p>\n",
        skipped->constrained, skipped->equal, skipped->lossy, skipped->unstable);
}

void kvat__html_left_out(kvat_buf *out, const kvat__view *view) {
    static const char *const heads[] = {"configuration", "why", "forecast", NULL};
    const kvat_outcome *outcome = view->outcome;
    kvat_buf_puts(out, "<h2>What was considered, and what was left out</h2>\n");
    kvat__html_say(out, "<p>", view, kvat__say_space, ".</p>\n");
    put_skipped(out, &outcome->skipped);
    if (outcome->n_left_out == 0) return;
    kvat__html_open_table(out, "Configurations never started", heads, 2);
    size_t shown = outcome->n_left_out < KVAT__ROWS_MOST ? outcome->n_left_out : KVAT__ROWS_MOST;
    for (size_t i = 0; i < shown; i++) put_left_out_row(out, &outcome->left_out[i]);
    kvat__html_close_table(out);
    if (outcome->n_left_out > shown) kvat_buf_printf(out, "<p>… %zu more.</p>\n", outcome->n_left_out - shown);
}
