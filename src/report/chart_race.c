/* The search over time: every trial's score, how many configurations were not ruled out, how sure the leader's place
 * was. Must not know how the search chose its trials. */
#include <math.h>

#include "report_internal.h"

static const double left = 46, right = KVAT__SVG_WIDTH - 14;

typedef struct panel {
    kvat__axis x, y;
    double top, bottom;
} panel;

static panel panel_of(const kvat_outcome *outcome, double top, double bottom) {
    double seconds = (double)outcome->race[outcome->n_race - 1].elapsed_ns / 1e9;
    return (panel){{0, seconds > 0 ? seconds : 1, left, right, false}, {0, 1, bottom, top, false}, top, bottom};
}

static double x_of(const panel *p, const kvat_race_point *point) {
    return kvat__axis_place(&p->x, (double)point->elapsed_ns / 1e9);
}

/* ---- trials ---- */
static const char *color_of(const kvat__view *view, const kvat_race_point *point) {
    const kvat_entry *entry = kvat__entry_of_config(view->outcome, point->config);
    if (entry && entry == view->winner) return "c1";
    if (entry && entry == view->fallback) return "c0";
    return entry && entry->lossy ? "c2" : "c3";
}

static void put_trial(kvat_buf *out, const kvat__view *view, const panel *p, const kvat_race_point *point) {
    const kvat_entry *entry = kvat__entry_of_config(view->outcome, point->config);
    bool failed = point->status != KVAT_TRIAL_OK || !isfinite(point->score);
    double x = x_of(p, point), y = failed ? p->bottom - 7 : kvat__axis_place(&p->y, point->score);
    kvat_buf_printf(out, "<g class=\"%s\">", failed ? "bad" : color_of(view, point));
    kvat_buf text = KVAT_BUF_INIT;
    kvat_buf_printf(&text, "%s%s: ", point->confirming ? "confirming " : "", entry ? entry->label : "?");
    if (failed)
        kvat_buf_puts(&text, kvat__status_phrase(point->status));
    else
        kvat__put_fixed(&text, point->score, 1);
    kvat__svg_title(out, kvat__piece(out, &text));
    kvat_buf_clear(&text);
    if (failed) {
        kvat__svg_line(out, "cross", x - 4, y - 4, x + 4, y + 4);
        kvat__svg_line(out, "cross", x - 4, y + 4, x + 4, y - 4);
    } else {
        kvat__svg_dot(out, entry && entry->lossy ? "mark hollow" : "mark", x, y, 3.5);
    }
    kvat_buf_puts(out, "</g>\n");
}

static bool score_range(kvat__axis *y, const kvat_outcome *outcome) {
    y->low = 100;
    y->high = 100;
    size_t n = 0;
    for (size_t i = 0; i < outcome->n_race; i++) {
        if (!isfinite(outcome->race[i].score)) continue;
        y->low = fmin(y->low, outcome->race[i].score);
        y->high = fmax(y->high, outcome->race[i].score);
        n++;
    }
    return n > 0;
}

/* Where confirmation begins; the label stands on the side that has room. */
static void put_confirmation(kvat_buf *out, const panel *p, const kvat_outcome *outcome) {
    for (size_t i = 0; i < outcome->n_race; i++) {
        if (!outcome->race[i].confirming) continue;
        double x = i > 0 ? (x_of(p, &outcome->race[i - 1]) + x_of(p, &outcome->race[i])) / 2 : left;
        kvat__svg_line(out, "reference", x, p->top - 12, x, p->bottom);
        kvat__svg_text(out, "tick strong", KVAT__END, x - 5, p->top - 4, "search");
        bool room = right - x > 90;
        if (room) kvat__svg_text(out, "tick strong", KVAT__START, x + 5, p->top - 4, "confirmation");
        return;
    }
}

/* Names beside the last dot of winner and default are not needed where a legend says it once for all. */
static void put_legend(kvat_buf *out, const kvat__view *view, double y) {
    double x = left;
    bool kept = view->winner && view->winner == view->fallback; /* then it is drawn as the winner */
    const struct {
        bool there;
        const char *css, *mark, *name;
    } items[] = {{view->winner && !kept, "c1", "mark", kvat__winner_word(view)},
                 {view->fallback != NULL, kept ? "c1" : "c0", "mark", "default"},
                 {true, "c3", "mark", "others"},
                 {view->lossy != NULL, "c2", "mark hollow", "lossy"}};
    for (size_t i = 0; i < sizeof items / sizeof *items; i++) {
        if (!items[i].there) continue;
        kvat_buf_printf(out, "<g class=\"%s\">", items[i].css);
        kvat__svg_dot(out, items[i].mark, x + 4, y - 4, 4);
        kvat__svg_text(out, "label", KVAT__START, x + 12, y, items[i].name);
        kvat_buf_puts(out, "</g>\n");
        x += 12 + kvat__svg_text_width(items[i].name) + 14;
    }
    size_t failed = view->outcome->failed_trials, disturbed = view->outcome->voided_trials;
    if (failed + disturbed == 0) return;
    kvat_buf_puts(out, "<g class=\"bad\">");
    kvat__svg_line(out, "cross", x, y - 8, x + 8, y);
    kvat__svg_line(out, "cross", x, y, x + 8, y - 8);
    kvat__svg_text(out, "label", KVAT__START, x + 13, y,
                   failed == 0      ? "disturbed"
                   : disturbed == 0 ? "failed"
                                    : "failed or disturbed");
    kvat_buf_puts(out, "</g>\n");
}

static void put_trials(kvat_buf *out, const kvat__view *view, panel p) {
    const kvat_outcome *outcome = view->outcome;
    kvat__svg_text(out, "axis", KVAT__START, 4, p.top - 18, "score of each trial");
    if (score_range(&p.y, outcome)) {
        kvat__ticks ticks = kvat__axis_nice(&p.y, 5);
        kvat__svg_axis_y(out, &p.y, &ticks, left, right);
        double y = kvat__axis_place(&p.y, 100);
        kvat__svg_line(out, "reference", left, y, right, y);
    }
    put_confirmation(out, &p, outcome);
    for (size_t i = 0; i < outcome->n_race; i++) put_trial(out, view, &p, &outcome->race[i]);
}

/* ---- steps ---- */
typedef double quantity(const kvat_race_point *point);

static double survivors(const kvat_race_point *point) {
    return (double)point->survivors;
}

static double p_good(const kvat_race_point *point) {
    return 100 * point->p_good;
}

static void put_steps(kvat_buf *out, const kvat_outcome *outcome, const panel *p, quantity *of) {
    double last_x = p->x.from, last_y = NAN;
    for (size_t i = 0; i < outcome->n_race; i++) {
        double x = x_of(p, &outcome->race[i]), y = kvat__axis_place(&p->y, of(&outcome->race[i]));
        if (isnan(last_y)) last_x = x;
        if (!isnan(last_y)) kvat__svg_line(out, "curve", last_x, last_y, x, last_y);
        if (!isnan(last_y) && y != last_y) kvat__svg_line(out, "curve", x, last_y, x, y);
        last_x = x;
        last_y = y;
    }
}

static void put_step_panel(kvat_buf *out, const kvat_outcome *outcome, panel p, quantity *of, double high,
                           const char *name, const char *css) {
    kvat__ticks ticks = {{0, high}, 2, 0};
    p.y.high = high;
    kvat__svg_text(out, "axis", KVAT__START, 4, p.top - 8, name);
    kvat__svg_axis_y(out, &p.y, &ticks, left, right);
    kvat_buf_printf(out, "<g class=\"%s\">\n", css);
    put_steps(out, outcome, &p, of);
    kvat_buf_puts(out, "</g>\n");
}

double kvat__draw_race(kvat_buf *out, const kvat__view *view) {
    const kvat_outcome *outcome = view->outcome;
    if (outcome->n_race == 0) return 0;
    size_t most = 1;
    for (size_t i = 0; i < outcome->n_race; i++)
        most = outcome->race[i].survivors > most ? outcome->race[i].survivors : most;
    panel trials = panel_of(outcome, 56, 220), left_over = panel_of(outcome, 250, 295),
          sure = panel_of(outcome, 325, 370);
    kvat__ticks ticks = kvat__axis_time(&trials.x, 6);
    put_legend(out, view, 14);
    kvat__svg_time_x(out, &trials.x, &ticks, trials.top, sure.bottom);
    put_trials(out, view, trials);
    put_step_panel(out, outcome, left_over, survivors, (double)most, "configurations not ruled out", "c3");
    put_step_panel(out, outcome, sure, p_good, 100, "chance that the leader is as good as the best, %", "c1");
    kvat__svg_text(out, "axis", KVAT__MIDDLE, (left + right) / 2, sure.bottom + 34, "time since the start");
    return sure.bottom + 42;
}
