/* What the peak of a few configurations consists of, as stacked bars.
 * Must not know where the figures were read. */
#include <math.h>

#include "kvat/units.h"
#include "report_internal.h"

enum { bars_shown = 7, parts = 4 };
static const double left = 14, right = KVAT__SVG_WIDTH - 14, top = 46, row_height = 44, bar_height = 16;

static const struct {
    const char *name, *css;
} kinds[parts] = {{"model", "fill1"}, {"KV cache", "fill2"}, {"compute", "fill3"}, {"the rest", "fill0"}};

typedef struct bar {
    const kvat_entry *entry;
    double bytes[parts];
    double total;
} bar;

static bar bar_of(const kvat_entry *entry) {
    bar b = {.entry = entry};
    b.bytes[0] = (double)entry->model_bytes;
    b.bytes[1] = (double)entry->kv_bytes;
    b.bytes[2] = (double)entry->compute_bytes;
    double known = b.bytes[0] + b.bytes[1] + b.bytes[2];
    b.bytes[3] = fmax((double)entry->peak_bytes - known, 0);
    b.total = fmax((double)entry->peak_bytes, known);
    return b;
}

/* Winner, default, best lossy, then by rank. */
static size_t choose(bar *bars, const kvat__view *view) {
    const kvat_entry *wanted[] = {view->winner, view->fallback, view->lossy};
    size_t n = 0;
    for (size_t i = 0; i < 3; i++)
        if (wanted[i] && wanted[i]->peak_bytes > 0 && (n == 0 || wanted[i] != bars[0].entry))
            bars[n++] = bar_of(wanted[i]);
    for (size_t i = 0; i < view->outcome->n_entries && n < bars_shown; i++) {
        const kvat_entry *entry = &view->outcome->entries[i];
        bool there = entry->rank == 0 || entry->peak_bytes <= 0;
        for (size_t k = 0; k < n; k++) there |= bars[k].entry == entry;
        if (!there) bars[n++] = bar_of(entry);
    }
    return n;
}

static void put_legend(kvat_buf *out, const bar *bars, size_t n) {
    double x = left, known = 0;
    for (size_t i = 0; i < n; i++) known += bars[i].bytes[0] + bars[i].bytes[1] + bars[i].bytes[2];
    for (size_t k = 0; k < parts; k++) {
        const char *name = known > 0 ? kinds[k].name : "all of it: the engine gives no breakdown";
        double most = 0;
        for (size_t i = 0; i < n; i++) most = fmax(most, bars[i].bytes[k]);
        if (most <= 0) continue;
        kvat__svg_rect(out, kinds[k].css, x, 4, 11, 11);
        kvat__svg_text(out, "label", KVAT__START, x + 16, 14, name);
        x += 16 + kvat__svg_text_width(name) + 16;
    }
}

static void say_bar(kvat_buf *out, const kvat__view *view, const kvat_entry *entry) {
    if (entry == view->winner && entry == view->fallback)
        kvat_buf_puts(out, view->outcome->decision == KVAT_DECISION_UNDECIDED ? "default, for now" : "default, kept");
    else
        kvat_buf_printf(out, "%s%s%s", entry == view->winner ? kvat__winner_word(view) : "",
                        entry == view->winner ? ": " : "", entry->label);
}

static void put_bar(kvat_buf *out, const kvat__view *view, const bar *b, const kvat__axis *axis, double y) {
    kvat_buf text = KVAT_BUF_INIT;
    say_bar(&text, view, b->entry);
    kvat__svg_label(out, b->entry == view->winner ? "label strong" : "label", left, y + 12, right - left - 70,
                    kvat__piece(out, &text));
    kvat_buf_clear(&text);
    kvat_put_bytes(&text, b->entry->peak_bytes);
    kvat__svg_text(out, "label", KVAT__END, right, y + 12, kvat__piece(out, &text));
    kvat_buf_clear(&text);
    double x = kvat__axis_place(axis, 0), sum = 0;
    for (size_t k = 0; k < parts; k++) {
        sum += b->bytes[k];
        double end = kvat__axis_place(axis, sum);
        if (b->bytes[k] <= 0) continue;
        kvat_buf_printf(&text, "%s: ", kinds[k].name);
        kvat_put_bytes(&text, (int64_t)b->bytes[k]);
        kvat_buf_puts(out, "<g>");
        kvat__svg_title(out, kvat__piece(out, &text));
        kvat__svg_rect(out, kinds[k].css, x, y + 18, end - x, bar_height);
        kvat_buf_puts(out, "</g>\n");
        kvat_buf_clear(&text);
        x = end;
    }
}

/* Ticks in the binary unit that fits. */
static void put_axis(kvat_buf *out, const kvat__axis *axis, double bottom) {
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double unit = 1;
    size_t u = 0;
    while (axis->high / unit >= 1024 && u + 1 < sizeof units / sizeof *units) unit *= 1024, u++;
    kvat__axis scaled = {0, axis->high / unit, axis->from, axis->to, false}, nice = scaled;
    kvat__ticks ticks = kvat__axis_nice(&nice, 5);
    while (ticks.n > 1 && ticks.at[ticks.n - 1] > scaled.high) ticks.n--;
    kvat__svg_axis_x(out, &scaled, &ticks, top - 4, bottom);
    kvat__svg_text(out, "axis", KVAT__MIDDLE, (left + right) / 2, bottom + 32, units[u]);
}

double kvat__draw_memory(kvat_buf *out, const kvat__view *view) {
    bar bars[bars_shown + 3] = {0};
    size_t n = choose(bars, view);
    if (n == 0) return 0;
    kvat__axis axis = {0, 0, left, right, false};
    for (size_t i = 0; i < n; i++) axis.high = fmax(axis.high, bars[i].total);
    double bottom = top - 20 + row_height * (double)n;
    put_legend(out, bars, n);
    put_axis(out, &axis, bottom);
    for (size_t i = 0; i < n; i++) put_bar(out, view, &bars[i], &axis, top - 20 + row_height * (double)i);
    return bottom + 40;
}
