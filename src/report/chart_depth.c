/* Decode speed against depth for the configurations that matter.
 * Must not know how depths were measured. */
#include <math.h>

#include "report_internal.h"

enum { depths_most = 32, lines_most = 3 };
static const double left = 46, right = KVAT__SVG_WIDTH - 92, top = 30, bottom = 250;

typedef struct depths {
    double at[depths_most];
    size_t n;
} depths;

/* Prompt lengths of single sequences (of the smallest batch): batches would mix two effects in one line. */
static bool counts(const kvat_profile *profile, size_t cell) {
    return profile->cells[cell].sequences == profile->cells[0].sequences;
}

static depths depths_of(const kvat_profile *profile) {
    depths d = {.n = 0};
    for (size_t i = 0; i < profile->n_cells && d.n < depths_most; i++) {
        double tokens = (double)profile->cells[i].prompt_tokens;
        if (counts(profile, i) && (d.n == 0 || d.at[d.n - 1] < tokens)) d.at[d.n++] = tokens;
    }
    return d;
}

/* Mean over the cells of that prompt length: they differ in the output only. An interval that says nothing would only
 * press the lines flat. */
static kvat_interval rate_at(const kvat_profile *profile, const kvat_entry *entry, double tokens) {
    kvat_interval sum = {0, 0, 0};
    double n = 0;
    for (size_t i = 0; i < profile->n_cells; i++) {
        if (!counts(profile, i) || (double)profile->cells[i].prompt_tokens != tokens) continue;
        kvat_interval rate = entry->cells[i].decode_tok_per_s;
        sum.value += rate.value;
        bool spread = isfinite(rate.low) && isfinite(rate.high) && !kvat__cannot_tell(rate);
        sum.low += spread ? rate.low : rate.value;
        sum.high += spread ? rate.high : rate.value;
        n++;
    }
    return (kvat_interval){sum.value / n, sum.low / n, sum.high / n};
}

typedef struct series {
    const kvat_entry *entry;
    const char *name, *css;
    double label_y;
} series;

static size_t series_of(series *list, const kvat__view *view) {
    const series wanted[lines_most + 1] = {
        {view->winner, view->winner == view->fallback ? "default" : kvat__winner_word(view), "c1", 0},
        {view->fallback, "default", "c0", 0},
        {view->best, "best so far", "c3", 0},
        {view->lossy, "best lossy", "c2", 0}};
    size_t n = 0;
    for (size_t i = 0; i < lines_most + 1 && n < lines_most; i++) {
        bool again = !wanted[i].entry || !wanted[i].entry->cells;
        for (size_t k = 0; k < n; k++) again |= list[k].entry == wanted[i].entry;
        if (!again) list[n++] = wanted[i];
    }
    return n;
}

static void widen(kvat__axis *y, const kvat_profile *profile, const series *list, size_t n, const depths *d) {
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < d->n; k++) {
            kvat_interval rate = rate_at(profile, list[i].entry, d->at[k]);
            y->low = fmin(y->low, rate.low);
            y->high = fmax(y->high, rate.high);
        }
}

static void put_series(kvat_buf *out, const kvat_profile *profile, const series *line, const depths *d,
                       const kvat__axis *x, const kvat__axis *y) {
    kvat_buf_printf(out, "<g class=\"%s\">\n", line->css);
    kvat__svg_title(out, line->entry->label);
    double last_x = 0, last_y = 0;
    for (size_t k = 0; k < d->n; k++) {
        kvat_interval rate = rate_at(profile, line->entry, d->at[k]);
        double px = d->n == 1 ? (x->from + x->to) / 2 : kvat__axis_place(x, d->at[k]);
        double py = kvat__axis_place(y, rate.value);
        if (k > 0) kvat__svg_line(out, "curve", last_x, last_y, px, py);
        kvat__svg_line(out, "whisker", px, kvat__axis_place(y, rate.low), px, kvat__axis_place(y, rate.high));
        kvat__svg_dot(out, line->entry->lossy ? "mark hollow" : "mark", px, py, 4);
        last_x = px;
        last_y = py;
    }
    kvat__svg_text(out, "label strong", KVAT__START, last_x + 10, line->label_y + 4, line->name);
    kvat_buf_puts(out, "</g>\n");
}

/* Labels stand at the ends of their lines, moved apart where the lines end close together. */
static void place_labels(series *list, size_t n, const kvat_profile *profile, const depths *d, const kvat__axis *y) {
    for (size_t i = 0; i < n; i++)
        list[i].label_y = kvat__axis_place(y, rate_at(profile, list[i].entry, d->at[d->n - 1]).value);
    for (int round = 0; round < 20; round++)
        for (size_t i = 0; i < n; i++)
            for (size_t k = i + 1; k < n; k++) {
                double gap = list[i].label_y - list[k].label_y, lack = 15 - fabs(gap);
                if (lack <= 0) continue;
                list[i].label_y += gap >= 0 ? lack / 2 : -lack / 2;
                list[k].label_y -= gap >= 0 ? lack / 2 : -lack / 2;
            }
}

/* Depths are their own ticks, but for those too close to the one before. */
static void put_depth_axis(kvat_buf *out, const depths *d, const kvat__axis *x) {
    double last = -INFINITY;
    for (size_t k = 0; k < d->n; k++) {
        kvat_buf text = KVAT_BUF_INIT;
        double at = d->n == 1 ? (x->from + x->to) / 2 : kvat__axis_place(x, d->at[k]);
        kvat__svg_line(out, "grid", at, top, at, bottom);
        kvat_buf_printf(&text, "%.0f", d->at[k]);
        if (at - last > kvat__svg_text_width(kvat__piece(out, &text)) + 6) {
            kvat__svg_text(out, "tick", KVAT__MIDDLE, at, bottom + 15, kvat__piece(out, &text));
            last = at;
        }
        kvat_buf_clear(&text);
    }
}

double kvat__draw_depth(kvat_buf *out, const kvat__view *view) {
    series list[lines_most] = {0};
    const kvat_profile *profile = view->outcome->profile;
    size_t n = series_of(list, view);
    if (n == 0 || !profile || profile->n_cells == 0) return 0;
    depths d = depths_of(profile);
    kvat__axis x = {d.at[0], d.at[d.n - 1], left + 14, right, d.at[d.n - 1] > 3 * d.at[0]};
    kvat__axis y = {INFINITY, -INFINITY, bottom, top, false};
    widen(&y, profile, list, n, &d);
    if (!(y.low <= y.high)) return 0;
    kvat__ticks ticks = kvat__axis_nice(&y, 6);
    kvat__svg_axis_y(out, &y, &ticks, left, right + 10);
    put_depth_axis(out, &d, &x);
    place_labels(list, n, profile, &d, &y);
    for (size_t i = n; i-- > 0;) put_series(out, profile, &list[i], &d, &x, &y);
    kvat__svg_text(out, "axis", KVAT__START, 4, 14, "decode, tok/s");
    kvat__svg_text(out, "axis", KVAT__MIDDLE, (left + right) / 2, bottom + 34, "tokens before the first generated one");
    return bottom + 42;
}
