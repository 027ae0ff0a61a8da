/* Time to first token against decode speed, with the few that matter named.
 * Must not know how entries were ranked. */
#include <math.h>

#include "report_internal.h"

static const double left = 46, right = KVAT__SVG_WIDTH - 14, top = 30, bottom = 290;

static bool drawable(const kvat_entry *entry) {
    return entry->rank > 0 && entry->ttft_s > 0 && entry->decode_tok_per_s > 0 && isfinite(entry->ttft_s) &&
           isfinite(entry->decode_tok_per_s);
}

typedef struct plot {
    kvat__axis x, y;
} plot;

static bool plot_of(plot *p, const kvat_outcome *outcome) {
    *p = (plot){{INFINITY, -INFINITY, left, right, false}, {INFINITY, -INFINITY, bottom, top, false}};
    for (size_t i = 0; i < outcome->n_entries; i++) {
        const kvat_entry *entry = &outcome->entries[i];
        if (!drawable(entry)) continue;
        p->x.low = fmin(p->x.low, entry->ttft_s);
        p->x.high = fmax(p->x.high, entry->ttft_s);
        p->y.low = fmin(p->y.low, entry->decode_tok_per_s);
        p->y.high = fmax(p->y.high, entry->decode_tok_per_s);
    }
    return p->x.low <= p->x.high;
}

/* ---- the line of those on the front that no other on it beats in both ---- */
static bool beaten(const kvat__view *view, const kvat_entry *entry) {
    for (size_t i = 0; i < view->outcome->n_front; i++) {
        const kvat_entry *other = kvat__entry_at(view->outcome, view->outcome->front[i]);
        if (!other || !drawable(other)) continue;
        bool no_worse = other->ttft_s <= entry->ttft_s && other->decode_tok_per_s >= entry->decode_tok_per_s;
        bool better = other->ttft_s < entry->ttft_s || other->decode_tok_per_s > entry->decode_tok_per_s;
        if (no_worse && better) return true;
    }
    return false;
}

static const kvat_entry *next_on_front(const kvat__view *view, double after) {
    const kvat_entry *next = NULL;
    for (size_t i = 0; i < view->outcome->n_front; i++) {
        const kvat_entry *entry = kvat__entry_at(view->outcome, view->outcome->front[i]);
        if (!entry || !drawable(entry) || entry->ttft_s <= after || beaten(view, entry)) continue;
        if (!next || entry->ttft_s < next->ttft_s) next = entry;
    }
    return next;
}

static void put_front(kvat_buf *out, const plot *p, const kvat__view *view) {
    const kvat_entry *entry = next_on_front(view, 0);
    for (const kvat_entry *next; entry; entry = next) {
        next = next_on_front(view, entry->ttft_s);
        if (next)
            kvat__svg_line(out, "front", kvat__axis_place(&p->x, entry->ttft_s),
                           kvat__axis_place(&p->y, entry->decode_tok_per_s), kvat__axis_place(&p->x, next->ttft_s),
                           kvat__axis_place(&p->y, next->decode_tok_per_s));
    }
}

/* ---- dots ---- */
static const char *color_of(const kvat__view *view, const kvat_entry *entry) {
    if (entry == view->winner) return "c1";
    if (entry->lossy) return "c2";
    return entry == view->fallback ? "c0" : "c3";
}

static void put_dot(kvat_buf *out, const kvat__view *view, const plot *p, const kvat_entry *entry) {
    kvat_buf text = KVAT_BUF_INIT;
    kvat_buf_printf(&text, "%s: ", entry->label);
    kvat__put_seconds(&text, entry->ttft_s);
    kvat_buf_puts(&text, ", ");
    kvat__put_rate(&text, entry->decode_tok_per_s);
    const bool front = kvat__on_front(view, entry);
    if (front) kvat_buf_puts(&text, ", on the front");
    if (front && isfinite(entry->p_front)) {
        kvat_buf_puts(&text, " (");
        kvat__put_percent(&text, entry->p_front);
        kvat_buf_puts(&text, " sure)");
    }
    kvat_buf_printf(out, "<g class=\"%s\">", color_of(view, entry));
    kvat__svg_title(out, kvat__piece(out, &text));
    const double x = kvat__axis_place(&p->x, entry->ttft_s), y = kvat__axis_place(&p->y, entry->decode_tok_per_s);
    const double radius = entry == view->winner || entry == view->fallback ? 6 : 4;
    if (front) kvat__svg_dot(out, "ring", x, y, radius + 3.5);
    kvat__svg_dot(out, entry->lossy ? "mark hollow" : "mark", x, y, radius);
    kvat_buf_puts(out, "</g>\n");
    kvat_buf_clear(&text);
}

/* ---- names, where they cover no other name ---- */
typedef struct box {
    double x0, y0, x1, y1;
} box;

static bool clear_of(const box *mine, const box *taken, size_t n) {
    if (mine->x0 < 2 || mine->x1 > KVAT__SVG_WIDTH - 2 || mine->y0 < 12 || mine->y1 > bottom - 1) return false;
    for (size_t i = 0; i < n; i++)
        if (mine->x0 < taken[i].x1 && taken[i].x0 < mine->x1 && mine->y0 < taken[i].y1 && taken[i].y0 < mine->y1)
            return false;
    return true;
}

static const char *winner_name(const kvat__view *view) {
    if (view->winner != view->fallback) return kvat__winner_word(view);
    return view->outcome->decision == KVAT_DECISION_UNDECIDED ? "default (for now)" : "default (kept)";
}

static void put_name(kvat_buf *out, const kvat__view *view, const plot *p, const kvat_entry *entry, box *taken,
                     size_t *n) {
    const char *name = entry == view->winner     ? winner_name(view)
                       : entry == view->fallback ? "default"
                       : entry == view->lossy    ? "best lossy"
                                                 : "best so far";
    double x = kvat__axis_place(&p->x, entry->ttft_s), y = kvat__axis_place(&p->y, entry->decode_tok_per_s);
    double width = kvat__svg_text_width(name);
    static const double shifts[][2] = {{12, 4}, {0, -12}, {0, 22}, {10, -12}, {10, 20}};
    for (int side = 0; side < 2; side++)
        for (size_t i = 0; i < sizeof shifts / sizeof *shifts; i++) {
            double at = side == 0 ? x + shifts[i][0] : x - shifts[i][0] - width, base = y + shifts[i][1];
            if (shifts[i][0] == 0) at = x - width / 2;
            box mine = {at - 2, base - 12, at + width + 2, base + 4};
            if (!clear_of(&mine, taken, *n)) continue;
            taken[(*n)++] = mine;
            kvat_buf_printf(out, "<g class=\"%s\">", color_of(view, entry));
            kvat__svg_text(out, "label strong", KVAT__START, at, base, name);
            kvat_buf_puts(out, "</g>\n");
            return;
        }
}

static size_t block_dots(box *taken, const kvat__view *view, const plot *p) {
    const kvat_entry *named[] = {view->winner, view->fallback, view->lossy, view->best};
    size_t n = 0;
    for (size_t i = 0; i < 4; i++) {
        if (!named[i] || !drawable(named[i])) continue;
        double x = kvat__axis_place(&p->x, named[i]->ttft_s), y = kvat__axis_place(&p->y, named[i]->decode_tok_per_s);
        taken[n++] = (box){x - 5, y - 5, x + 5, y + 5};
    }
    return n;
}

static void put_names(kvat_buf *out, const kvat__view *view, const plot *p) {
    const kvat_entry *named[] = {view->winner, view->fallback, view->best, view->lossy};
    box taken[8];
    size_t n = block_dots(taken, view, p);
    for (size_t i = 0; i < 4; i++) {
        bool again = false;
        for (size_t k = 0; k < i; k++) again |= named[k] == named[i];
        if (named[i] && !again && drawable(named[i])) put_name(out, view, p, named[i], taken, &n);
    }
}

double kvat__draw_tradeoff(kvat_buf *out, const kvat__view *view) {
    plot p;
    if (!plot_of(&p, view->outcome)) return 0;
    kvat__ticks x = kvat__axis_nice(&p.x, 6), y = kvat__axis_nice(&p.y, 6);
    kvat__svg_axis_x(out, &p.x, &x, top, bottom);
    kvat__svg_axis_y(out, &p.y, &y, left, right);
    put_front(out, &p, view);
    for (size_t i = view->outcome->n_entries; i-- > 0;)
        if (drawable(&view->outcome->entries[i])) put_dot(out, view, &p, &view->outcome->entries[i]);
    put_names(out, view, &p);
    kvat__svg_text(out, "axis", KVAT__START, 4, 14, "decode, tok/s");
    kvat__svg_text(out, "axis", KVAT__MIDDLE, (left + right) / 2, bottom + 34, "time to first token, s");
    return bottom + 42;
}
