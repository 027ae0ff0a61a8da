/* Ranking with intervals: a row a configuration, its label above its interval, so that long labels have room.
 * Must not know how entries were ranked. */
#include <math.h>

#include "report_internal.h"

enum { rows_shown = 14 };
static const double left = 14, right = KVAT__SVG_WIDTH - 14, top = 22, row_height = 34;

typedef struct ranking {
    const kvat_entry *rows[rows_shown + 2];
    size_t n;
} ranking;

/* The best, and the default and the winner wherever they stand. */
static ranking rows_of(const kvat__view *view) {
    ranking r = {.n = 0};
    for (size_t i = 0; i < view->outcome->n_entries; i++) {
        const kvat_entry *entry = &view->outcome->entries[i];
        bool wanted = entry == view->winner || entry == view->fallback;
        if (entry->rank == 0 || !isfinite(entry->score)) continue;
        if (r.n < rows_shown || (wanted && r.n < rows_shown + 2)) r.rows[r.n++] = entry;
    }
    return r;
}

static kvat__axis axis_of(const ranking *r) {
    kvat__axis axis = {INFINITY, -INFINITY, left, right, false};
    for (size_t i = 0; i < r->n; i++) {
        const kvat_entry *entry = r->rows[i];
        if (kvat__cannot_tell(entry->score_interval)) continue;
        axis.low = fmin(axis.low, fmin(entry->score, fmin(entry->score_interval.low, INFINITY)));
        axis.high = fmax(axis.high, fmax(entry->score, fmax(entry->score_interval.high, -INFINITY)));
    }
    axis.low = fmin(axis.low, 100);
    axis.high = fmax(axis.high, 100);
    return axis;
}

static const char *color_of(const kvat__view *view, const kvat_entry *entry) {
    if (entry == view->winner) return "c1";
    if (entry->lossy) return "c2";
    return entry == view->fallback ? "c0" : "c3";
}

/* No mark for a score that nobody can tell: a dot without its whisker would look exact. */
static void put_mark(kvat_buf *out, const kvat__view *view, const kvat_entry *entry, const kvat__axis *axis, double y) {
    double low = entry->score_interval.low, high = entry->score_interval.high;
    if (kvat__cannot_tell(entry->score_interval)) return;
    if (isfinite(low) && isfinite(high))
        kvat__svg_line(out, "whisker", kvat__axis_place(axis, low), y, kvat__axis_place(axis, high), y);
    kvat__svg_dot(out, entry->lossy ? "mark hollow" : "mark", kvat__axis_place(axis, entry->score), y,
                  entry == view->winner ? 5.5 : 4.5);
}

static void put_row(kvat_buf *out, const kvat__view *view, const kvat_entry *entry, const kvat__axis *axis, double y) {
    kvat_buf text = KVAT_BUF_INIT;
    const char *color = color_of(view, entry);
    kvat_buf_printf(out, "<g class=\"%s\">\n", color);
    kvat_buf_printf(&text, "%zu. %s", entry->rank, entry->label);
    kvat__svg_label(out, entry == view->winner ? "label strong" : "label", left, y + 12, right - left - 78,
                    kvat__piece(out, &text));
    kvat__svg_title(out, kvat__piece(out, &text));
    kvat_buf_clear(&text);
    kvat__put_score(&text, entry, true);
    kvat__svg_text(out, entry == view->winner ? "label strong" : "label", KVAT__END, right, y + 12,
                   kvat__piece(out, &text));
    kvat_buf_clear(&text);
    put_mark(out, view, entry, axis, y + 23);
    kvat_buf_puts(out, "</g>\n");
}

double kvat__draw_ranking(kvat_buf *out, const kvat__view *view) {
    ranking r = rows_of(view);
    if (r.n == 0) return 0;
    kvat__axis axis = axis_of(&r);
    kvat__ticks ticks = kvat__axis_nice(&axis, 7);
    double bottom = top + row_height * (double)r.n + 4;
    kvat__svg_axis_x(out, &axis, &ticks, top, bottom);
    double x = kvat__axis_place(&axis, 100);
    kvat__svg_line(out, "reference", x, top - 4, x, bottom);
    kvat__svg_text(out, "tick strong",
                   x < 60           ? KVAT__START
                   : x > right - 60 ? KVAT__END
                                    : KVAT__MIDDLE,
                   x, top - 8, view->fallback ? "default = 100" : "reference = 100");
    for (size_t i = 0; i < r.n; i++) put_row(out, view, r.rows[i], &axis, top + row_height * (double)i);
    kvat__svg_text(out, "axis", r.n == view->n_ranked ? KVAT__MIDDLE : KVAT__START,
                   r.n == view->n_ranked ? (left + right) / 2 : left, bottom + 32, "score (weighted geometric mean)");
    if (r.n == view->n_ranked) return bottom + 40;
    kvat_buf text = KVAT_BUF_INIT;
    kvat_buf_printf(&text, "%zu more in the table", view->n_ranked - r.n);
    kvat__svg_text(out, "tick", KVAT__END, right, bottom + 32, kvat__piece(out, &text));
    kvat_buf_clear(&text);
    return bottom + 40;
}
