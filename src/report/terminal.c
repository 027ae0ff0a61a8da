/* The summary at the end of a run, and the heading before its race, for a terminal.
 * Must not know whether there is a terminal. */
#include "terminal.h"

#include <math.h>
#include <string.h>

#include "kvat/plan.h"
#include "kvat/units.h"

enum { wide_columns = 66, rows_shown = 5, failures_shown = 12 };

static kvat__terminal terminal_of(kvat_buf *out, const kvat_terminal_style *style) {
    size_t columns = style->columns < 20 ? 20 : style->columns > 120 ? 120 : style->columns;
    return (kvat__terminal){out, columns, style->color, style->unicode};
}

/* ---- warnings ---- */
static void put_warnings(const kvat__terminal *term, const kvat__view *view) {
    const kvat_outcome *outcome = view->outcome;
    kvat_buf text = KVAT_BUF_INIT;
    size_t n = outcome->n_warnings;
    for (size_t i = 0; i < KVAT__WARNINGS; i++) {
        kvat_buf_puts(&text, "Warning: ");
        size_t before = text.length;
        kvat__warnings[i](&text, view);
        bool said = strlen(kvat__piece(term->out, &text)) > before;
        if (said) kvat__term_paragraph(term, KVAT__WARN, 0, 2, kvat__piece(term->out, &text));
        n += said;
        kvat_buf_clear(&text);
    }
    for (size_t i = 0; i < outcome->n_warnings; i++) {
        kvat_buf_printf(&text, "Warning: %s", outcome->warnings[i]);
        kvat__term_paragraph(term, KVAT__WARN, 0, 2, kvat__piece(term->out, &text));
        kvat_buf_clear(&text);
    }
    if (n > 0) kvat__term_blank(term);
}

/* ---- headline ---- */
static void say_headline(kvat_buf *out, const kvat__view *view) {
    kvat__say_verdict(out, view);
    if (view->outcome->decision != KVAT_DECISION_WINNER || kvat__is_default(view, view->winner)) return;
    if (view->winner && json_object_size(view->winner->changed) > 0)
        kvat_buf_printf(out, ", the rest as %s has it", view->outcome->engine_name ? view->outcome->engine_name : "it");
}

static void put_headline(const kvat__terminal *term, const kvat__view *view) {
    kvat__term_say(term, KVAT__BOLD, 0, 2, view, say_headline);
    if (!view->winner || !view->fallback || view->winner == view->fallback) return; /* nothing to score against */
    kvat_buf score = KVAT_BUF_INIT;
    bool unclear = kvat__cannot_tell(view->winner->score_interval);
    kvat_buf_puts(&score, unclear ? "Score: " : "Score ");
    kvat__put_score(&score, view->winner, true);
    if (!unclear) kvat_buf_puts(&score, " (the default is 100)");
    kvat__term_paragraph(term, KVAT__PLAIN, 2, 4, kvat__piece(term->out, &score));
    kvat_buf_clear(&score);
}

/* ---- figures ---- */
/* "1.13 → 1.09 GiB": a unit that both have is written once. */
static void put_values(kvat_buf *out, const kvat__metric *metric) {
    const char *unit = strchr(metric->after, ' '), *before_unit = strchr(metric->before, ' ');
    size_t n = strlen(metric->before);
    if (unit && before_unit && strcmp(unit, before_unit) == 0) n -= strlen(unit);
    kvat_buf_put(out, metric->before, n);
    if (n > 0) kvat_buf_puts(out, " → ");
    kvat_buf_puts(out, *metric->after ? metric->after : "not known");
}

static kvat__tone tone_of(const kvat__metric *metric) {
    return metric->better ? KVAT__GOOD : metric->worse ? KVAT__BAD : KVAT__PLAIN;
}

static void put_metric_wide(const kvat__terminal *term, const kvat__metric *metric) {
    kvat_buf line = KVAT_BUF_INIT, values = KVAT_BUF_INIT;
    put_values(&values, metric);
    kvat_buf_puts(&line, "  ");
    kvat__term_cell(&line, term, metric->name, 20, false);
    kvat_buf_puts(&line, "  ");
    kvat__term_cell(&line, term, kvat__piece(term->out, &values), *metric->change ? 24 : 30, false);
    if (*metric->change) kvat__term_cell(&line, term, metric->change, term->unicode ? 15 : 17, true);
    kvat__term_line(term, tone_of(metric), &line);
    kvat_buf_clear(&values);
}

static void put_metric_narrow(const kvat__terminal *term, const kvat__metric *metric) {
    kvat_buf text = KVAT_BUF_INIT;
    kvat_buf_printf(&text, "%s%s%s", metric->name, *metric->change ? ": " : "", metric->change);
    kvat__term_paragraph(term, tone_of(metric), 2, 4, kvat__piece(term->out, &text));
    kvat_buf_reset(&text);
    put_values(&text, metric);
    kvat__term_paragraph(term, KVAT__PLAIN, 4, 6, kvat__piece(term->out, &text));
    kvat_buf_clear(&text);
}

static kvat_status put_metrics(const kvat__terminal *term, const kvat__view *view, kvat_error *err) {
    kvat__metric metrics[KVAT__METRICS];
    if (!view->winner) return KVAT_OK;
    kvat_status status = kvat__metrics_of(metrics, view);
    if (status != KVAT_OK) return kvat_fail(err, status, "cannot allocate the summary");
    for (size_t i = 0; i < KVAT__METRICS; i++) {
        if (term->columns >= wide_columns)
            put_metric_wide(term, &metrics[i]);
        else
            put_metric_narrow(term, &metrics[i]);
    }
    return KVAT_OK;
}

/* ---- ranking ---- */
enum { score_width = 10, unclear_width = 11, ttft_width = 8, decode_width = 10, peak_width = 8, label_indent = 5 };

typedef struct columns {
    size_t label, score, decode;
    bool figures;
} columns;

/* "cannot tell" needs a column more than a score. */
static size_t score_width_of(const kvat_outcome *outcome) {
    for (size_t i = 0; i < outcome->n_entries; i++)
        if (kvat__cannot_tell(outcome->entries[i].score_interval)) return unclear_width;
    return score_width;
}

static columns columns_of(const kvat__terminal *term, const kvat_outcome *outcome) {
    bool figures = term->columns >= wide_columns;
    size_t score = score_width_of(outcome), decode = decode_width + kvat__any_fitted(outcome);
    size_t taken = label_indent + 2 + score;
    if (figures) taken += 2 + ttft_width + 2 + decode + 2 + peak_width;
    return (columns){term->columns > taken + 2 ? term->columns - taken : 2, score, decode, figures};
}

static void put_gap_cell(kvat_buf *line, const kvat__terminal *term, kvat_buf *text, size_t width) {
    kvat_buf_puts(line, "  ");
    kvat__term_cell(line, term, kvat__piece(term->out, text), width, true);
    kvat_buf_clear(text);
}

static void put_head_cell(kvat_buf *line, const kvat__terminal *term, const char *name, size_t width) {
    kvat_buf text = KVAT_BUF_INIT;
    kvat_buf_puts(&text, name);
    put_gap_cell(line, term, &text, width);
}

static void put_rank_header(const kvat__terminal *term, columns c) {
    kvat_buf line = KVAT_BUF_INIT;
    kvat_buf_puts(&line, "  #  ");
    kvat__term_cell(&line, term, "configuration", c.label, false);
    put_head_cell(&line, term, "score", c.score);
    if (c.figures) {
        put_head_cell(&line, term, "TTFT", ttft_width);
        put_head_cell(&line, term, "decode", c.decode);
        put_head_cell(&line, term, "peak", peak_width);
    }
    kvat__term_line(term, KVAT__DIM, &line);
}

static void put_row_cells(kvat_buf *line, const kvat__terminal *term, const kvat_entry *entry, columns c) {
    kvat_buf text = KVAT_BUF_INIT;
    kvat__put_score(&text, entry, true);
    put_gap_cell(line, term, &text, c.score);
    if (!c.figures) return;
    kvat__put_seconds(&text, entry->ttft_s);
    put_gap_cell(line, term, &text, ttft_width);
    (entry->decode_fitted ? kvat__put_fitted_rate : kvat__put_rate)(&text, entry->decode_tok_per_s);
    put_gap_cell(line, term, &text, c.decode);
    if (entry->peak_bytes > 0) kvat_put_bytes(&text, entry->peak_bytes);
    put_gap_cell(line, term, &text, peak_width);
}

/* A label longer than its column goes on below, never cut: it is what tells configurations apart. */
static void put_rank_row(const kvat__terminal *term, const kvat__view *view, const kvat_entry *entry, columns c) {
    kvat_buf label = KVAT_BUF_INIT, line = KVAT_BUF_INIT;
    const kvat__terminal column = {&label, c.label, false, term->unicode};
    const kvat__tone tone = entry == view->winner ? KVAT__BOLD : KVAT__PLAIN;
    kvat__term_paragraph(&column, KVAT__PLAIN, 0, 0, entry->label ? entry->label : "?");
    kvat_buf_printf(&line, "%3zu%c ", entry->rank, entry->lossy ? '*' : ' ');
    bool first = true;
    for (char *at = *kvat__piece(term->out, &label) ? label.bytes : NULL; at && *at; first = false) {
        char *end = strchr(at, '\n');
        if (end) *end = '\0';
        if (!first) kvat_buf_puts(&line, "     ");
        kvat_text_fit(&line, at, c.label, 1, term->unicode);
        if (first) put_row_cells(&line, term, entry, c);
        kvat__term_line(term, tone, &line);
        at = end ? end + 1 : at + strlen(at);
    }
    kvat_buf_clear(&label);
    kvat_buf_clear(&line);
}

static void put_rank_foot(const kvat__terminal *term, const kvat__view *view, size_t more, bool lossy, bool fitted) {
    kvat_buf text = KVAT_BUF_INIT;
    if (more > 0) kvat_buf_printf(&text, "… %zu more in the report", more);
    if (lossy)
        kvat_buf_printf(&text, "%s* lossy%s quality not judged", more > 0 ? " · " : "",
                        kvat__outscored(view) ? ": cannot win," : ",");
    if (fitted) kvat_buf_printf(&text, "%s~ fitted from short bursts", more > 0 || lossy ? " · " : "");
    if (more > 0 || lossy || fitted)
        kvat__term_paragraph(term, KVAT__DIM, label_indent, label_indent, kvat__piece(term->out, &text));
    kvat_buf_clear(&text);
}

static void put_ranking(const kvat__terminal *term, const kvat__view *view) {
    columns c = columns_of(term, view->outcome);
    size_t shown = 0;
    bool lossy = false, fitted = false;
    if (view->n_ranked == 0) return;
    kvat__term_blank(term);
    put_rank_header(term, c);
    for (size_t i = 0; i < view->outcome->n_entries; i++) {
        const kvat_entry *entry = &view->outcome->entries[i];
        if (entry->rank == 0) continue;
        bool wanted = entry == view->winner || entry == view->fallback;
        if (shown >= rows_shown && !wanted) continue;
        put_rank_row(term, view, entry, c);
        lossy |= entry->lossy;
        fitted |= entry->decode_fitted && c.figures;
        shown++;
    }
    put_rank_foot(term, view, view->n_ranked - shown, lossy, fitted);
}

/* ---- failures ---- */
static void put_failure(const kvat__terminal *term, const kvat_entry *entry) {
    kvat_buf text = KVAT_BUF_INIT;
    kvat_buf_puts(&text, entry->label);
    kvat_buf_puts(&text, ": ");
    kvat__say_failures(&text, entry);
    if (entry->failure && *entry->failure) kvat_buf_printf(&text, " – %s", entry->failure);
    kvat__term_paragraph(term, KVAT__PLAIN, 2, 4, kvat__piece(term->out, &text));
    kvat_buf_clear(&text);
}

/* When something works, failures are in the report; when nothing does, they are the answer. */
static void put_failures(const kvat__terminal *term, const kvat__view *view) {
    const kvat_outcome *outcome = view->outcome;
    size_t shown = 0;
    if (view->n_failed == 0 || view->winner) return;
    kvat__term_blank(term);
    kvat__term_paragraph(term, KVAT__BOLD, 0, 0, "What failed, and why");
    for (size_t i = 0; i < outcome->n_entries; i++) {
        const kvat_entry *entry = &outcome->entries[i];
        if (entry->rank > 0 || kvat__failures(entry) == 0 || shown >= failures_shown) continue;
        put_failure(term, entry);
        shown++;
    }
    if (shown == view->n_failed) return;
    kvat_buf text = KVAT_BUF_INIT;
    kvat_buf_printf(&text, "… %zu more in the report", view->n_failed - shown);
    kvat__term_paragraph(term, KVAT__DIM, 2, 2, kvat__piece(term->out, &text));
    kvat_buf_clear(&text);
}

/* ---- what next ---- */
static void put_path(kvat_buf *out, const char *directory, const char *file) {
    kvat_buf path = KVAT_BUF_INIT;
    size_t n = strlen(directory);
    kvat_buf_printf(&path, "%s%s%s", directory, n > 0 && directory[n - 1] == '/' ? "" : "/", file);
    kvat__put_piece(out, &path, kvat_escape_shell);
}

static void put_files(const kvat__terminal *term, const kvat__view *view, const char *directory) {
    size_t n = 0;
    const kvat_snippet *snippets = kvat_snippets_for(&n, view->outcome->engine_name);
    kvat_buf text = KVAT_BUF_INIT;
    kvat_buf_printf(&text, "Written to %s:", directory);
    if (view->winner) kvat_buf_puts(&text, " best_plan.json");
    for (size_t i = 0; view->winner && i < n; i++) kvat_buf_printf(&text, " %s", snippets[i].file_name);
    if (view->lossy) kvat_buf_puts(&text, " lossy_plan.json");
    kvat_buf_puts(&text, " report.html report.md");
    kvat__term_paragraph(term, KVAT__PLAIN, 0, 2, kvat__piece(term->out, &text));
    kvat_buf_clear(&text);
}

static void put_next(const kvat__terminal *term, const kvat__view *view, const char *directory) {
    kvat_buf text = KVAT_BUF_INIT;
    kvat__advice advice = kvat__advice_of(view);
    if (advice == KVAT__APPLY || advice == KVAT__APPLY_LOSSY) {
        bool lossy = advice == KVAT__APPLY_LOSSY;
        kvat_buf_puts(&text, lossy ? "If its answers are good enough: kvat apply " : "Next: kvat apply ");
        put_path(&text, directory, lossy ? "lossy_plan.json" : "best_plan.json");
        if (kvat_snippet_formats(view->outcome->engine_name)[0]) kvat_buf_puts(&text, " --print-snippet");
    } else {
        kvat__say_next(&text, view);
    }
    kvat__term_paragraph(term, KVAT__PLAIN, 0, 2, kvat__piece(term->out, &text));
    kvat_buf_clear(&text);
}

/* ---- the whole ---- */
static void put_sentences(const kvat__terminal *term, const kvat__view *view) {
    kvat__sayer *const sentences[] = {kvat__say_unmeasured_default, kvat__say_why,     kvat__say_incumbent,
                                      kvat__say_challenger,         kvat__say_quality, kvat__say_cells,
                                      kvat__say_regret_briefly,     kvat__say_front,   kvat__say_cost};
    for (size_t i = 0; i < sizeof sentences / sizeof *sentences; i++)
        kvat__term_say(term, KVAT__PLAIN, 2, 2, view, sentences[i]);
}

kvat_status kvat_report_terminal(kvat_buf *out, const kvat_outcome *outcome, const kvat_terminal_style *style,
                                 const char *directory, kvat_error *err) {
    kvat__terminal term = terminal_of(out, style);
    kvat__view view = kvat__view_of(outcome);
    put_warnings(&term, &view);
    put_headline(&term, &view);
    kvat_status status = put_metrics(&term, &view, err);
    if (status != KVAT_OK) return status;
    kvat__term_say(&term, KVAT__DIM, 2, 2, &view, kvat__say_basis);
    put_sentences(&term, &view);
    put_failures(&term, &view);
    put_ranking(&term, &view);
    if (directory) {
        kvat__term_blank(&term);
        put_files(&term, &view, directory);
        kvat__term_say(&term, KVAT__PLAIN, 0, 2, &view, kvat__say_unconfirmed);
        put_next(&term, &view, directory);
    }
    return kvat_buf_status(out, err);
}

kvat_status kvat_report_heading(kvat_buf *out, const kvat_outcome *outcome, const kvat_terminal_style *style,
                                kvat_error *err) {
    kvat__terminal term = terminal_of(out, style);
    kvat__view view = kvat__view_of(outcome);
    put_warnings(&term, &view);
    kvat__term_say(&term, KVAT__BOLD, 0, 2, &view, kvat__say_subject);
    kvat__term_say(&term, KVAT__DIM, 2, 2, &view, kvat__say_much_noise);
    kvat__term_say(&term, KVAT__PLAIN, 0, 2, &view, kvat__say_workload);
    kvat__term_say(&term, KVAT__PLAIN, 0, 2, &view, kvat__say_space);
    return kvat_buf_status(out, err);
}
