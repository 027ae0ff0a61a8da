/* Tables of the HTML report with more than one answer: the best in each cell, and the Pareto front.
 * Must not know the page around them. */
#include <math.h>

#include "html.h"
#include "kvat/units.h"

static void open_row(kvat_buf *out, bool chosen) {
    kvat_buf_puts(out, chosen ? "<tr class=\"chosen\">" : "<tr>");
}

/* ---- best per cell ---- */
static void put_best_row(kvat_buf *out, const kvat__view *view, const kvat_entry *winner, size_t i) {
    const kvat_entry *best = kvat__best_in_cell(view, i);
    const kvat_cell_figures *figures = best && best->cells ? &best->cells[i] : NULL;
    kvat_buf text = KVAT_BUF_INIT;
    open_row(out, best == winner);
    kvat_buf_puts(out, "<th scope=\"row\">");
    kvat__put_cell_name(out, &view->outcome->profile->cells[i]);
    kvat_buf_puts(out, "</th><td class=\"wordy\">");
    kvat__html_text(out, best ? best->label : "–");
    kvat_buf_puts(out, "</td>");
    kvat__put_chance(&text, figures ? figures->p_good : NAN);
    kvat__html_cell(out, "number", &text);
    if (figures && best != view->fallback && isfinite(figures->gain.value))
        kvat__put_gain(&text, figures->gain);
    else
        kvat_buf_puts(&text, "–");
    kvat__html_cell(out, "number", &text);
    kvat__put_loss(&text, winner->cells[i].loss);
    kvat__html_cell(out, "number", &text);
    kvat__put_chance(&text, winner->cells[i].p_good);
    kvat__html_cell(out, "number", &text);
    kvat_buf_puts(out, "</tr>\n");
}

void kvat__html_best_per_cell(kvat_buf *out, const kvat__view *view) {
    static const char *const heads[] = {"prompt → output", "best here",           "sure", "score over the default's",
                                        "this one loses",  "this one is as good", NULL};
    const kvat_entry *winner = view->winner;
    if (!winner || !kvat__has_cells(view)) return;
    kvat_buf_puts(out, "<h2>Best per cell</h2>\n");
    kvat__html_say(out, "<p>", view, kvat__say_per_cell, "</p>\n");
    kvat__html_open_table(out, "Best configuration of each cell", heads, 2);
    for (size_t i = 0; i < view->outcome->profile->n_cells; i++) put_best_row(out, view, winner, i);
    kvat__html_close_table(out);
    kvat__html_say(out, "<p>", view, kvat__say_regret, "</p>\n");
}

/* ---- the front ---- */
static void put_front_row(kvat_buf *out, const kvat__view *view, const kvat_entry *entry) {
    kvat_buf text = KVAT_BUF_INIT;
    open_row(out, entry == view->winner);
    kvat_buf_puts(out, "<th scope=\"row\" class=\"wordy\">");
    kvat__html_text(out, entry->label);
    kvat_buf_puts(out, "</th>");
    kvat__put_chance(&text, entry->p_front);
    kvat__html_cell(out, "number", &text);
    kvat__put_seconds(&text, entry->ttft_s);
    kvat__html_cell(out, "number", &text);
    kvat__put_rate(&text, entry->decode_tok_per_s);
    kvat__html_cell(out, "number", &text);
    if (entry->peak_bytes > 0) kvat_put_bytes(&text, entry->peak_bytes);
    kvat__html_cell(out, "number", &text);
    kvat_buf_puts(out, "</tr>\n");
}

void kvat__html_front(kvat_buf *out, const kvat__view *view) {
    static const char *const heads[] = {"configuration", "sure", "TTFT", "decode", "peak", NULL};
    if (!kvat__has_front(view)) return;
    kvat_buf_printf(out, "<h2>Pareto front (%s)</h2>\n", kvat__front_metrics(view));
    kvat__html_say(out, "<p>", view, kvat__say_what_front_is, "</p>\n");
    kvat__html_open_table(out, "Pareto front", heads, 1);
    for (size_t i = 0; i < view->outcome->n_front; i++) {
        const kvat_entry *entry = kvat__entry_at(view->outcome, view->outcome->front[i]);
        if (entry) put_front_row(out, view, entry);
    }
    kvat__html_close_table(out);
}
