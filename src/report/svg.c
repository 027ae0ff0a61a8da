/* Shapes, texts and axes of a drawing.
 * Must not know what is drawn. */
#include "report_internal.h"

#include <math.h>
#include <string.h>

/* Width of a character at the size of labels (12 units), taken wide so that estimates err on the safe side. */
static const double character_width = 6.8, strong_width = 7.8;

void kvat__put_coordinate(kvat_buf *out, double value) {
    long long tenths = isfinite(value) ? llround(fmin(fmax(value, -99999), 99999) * 10) : 0;
    if (tenths < 0) kvat_buf_putc(out, '-');
    tenths = llabs(tenths);
    kvat_buf_printf(out, tenths % 10 ? "%lld.%lld" : "%lld", tenths / 10, tenths % 10);
}

static void put_attribute(kvat_buf *out, const char *name, double value) {
    kvat_buf_printf(out, " %s=\"", name);
    kvat__put_coordinate(out, value);
    kvat_buf_putc(out, '"');
}

void kvat__svg_line(kvat_buf *out, const char *css, double x1, double y1, double x2, double y2) {
    kvat_buf_printf(out, "<line class=\"%s\"", css);
    put_attribute(out, "x1", x1);
    put_attribute(out, "y1", y1);
    put_attribute(out, "x2", x2);
    put_attribute(out, "y2", y2);
    kvat_buf_puts(out, "/>\n");
}

void kvat__svg_dot(kvat_buf *out, const char *css, double x, double y, double radius) {
    kvat_buf_printf(out, "<circle class=\"%s\"", css);
    put_attribute(out, "cx", x);
    put_attribute(out, "cy", y);
    put_attribute(out, "r", radius);
    kvat_buf_puts(out, "/>\n");
}

void kvat__svg_rect(kvat_buf *out, const char *css, double x, double y, double width, double height) {
    kvat_buf_printf(out, "<rect class=\"%s\"", css);
    put_attribute(out, "x", x);
    put_attribute(out, "y", y);
    put_attribute(out, "width", fmax(width, 0));
    put_attribute(out, "height", fmax(height, 0));
    kvat_buf_puts(out, "/>\n");
}

double kvat__svg_text_width(const char *text) {
    return character_width * (double)kvat_text_width(text);
}

void kvat__svg_text(kvat_buf *out, const char *css, kvat__align align, double x, double y, const char *text) {
    static const char *const anchors[] = {"start", "middle", "end"};
    kvat_buf_printf(out, "<text class=\"%s\" text-anchor=\"%s\"", css, anchors[align]);
    put_attribute(out, "x", x);
    put_attribute(out, "y", y);
    kvat_buf_putc(out, '>');
    kvat_escape_html(out, text);
    kvat_buf_puts(out, "</text>\n");
}

void kvat__svg_title(kvat_buf *out, const char *text) {
    kvat_buf_puts(out, "<title>");
    kvat_escape_html(out, text);
    kvat_buf_puts(out, "</title>\n");
}

/* Cut after escaping hidden characters, so that what they become is counted too. */
void kvat__svg_label(kvat_buf *out, const char *css, double x, double y, double width, const char *text) {
    kvat_buf visible = KVAT_BUF_INIT, cut = KVAT_BUF_INIT;
    double each = strstr(css, "strong") ? strong_width : character_width;
    kvat_escape_terminal(&visible, text);
    kvat_text_fit(&cut, kvat__piece(out, &visible), (size_t)fmax(width / each, 4), 0, 1);
    kvat__svg_text(out, css, KVAT__START, x, y, kvat__piece(out, &cut));
    kvat_buf_clear(&visible);
    kvat_buf_clear(&cut);
}

/* ---- axes ---- */
double kvat__axis_place(const kvat__axis *axis, double value) {
    double share = axis->logarithmic ? log(value / axis->low) / log(axis->high / axis->low)
                                     : (value - axis->low) / (axis->high - axis->low);
    return axis->from + share * (axis->to - axis->from);
}

static double nice_step(double range, size_t most, int *decimals) {
    double rough = range / (double)most, power = pow(10, floor(log10(rough))), share = rough / power;
    double step = power * (share <= 1.0001 ? 1 : share <= 2.0001 ? 2 : share <= 5.0001 ? 5 : 10);
    int exponent = (int)floor(log10(step) + 1e-9);
    *decimals = exponent < 0 ? (exponent < -6 ? 6 : -exponent) : 0;
    return step;
}

kvat__ticks kvat__axis_nice(kvat__axis *axis, size_t most) {
    kvat__ticks ticks = {.n = 0};
    if (!(axis->high > axis->low)) {
        double pad = axis->high != 0 ? fabs(axis->high) * 0.05 : 1;
        axis->low -= pad;
        axis->high += pad;
    }
    double step = nice_step(axis->high - axis->low, most, &ticks.decimals);
    long long first = (long long)floor(axis->low / step + 1e-9), last = (long long)ceil(axis->high / step - 1e-9);
    for (long long i = first; i <= last && ticks.n < sizeof ticks.at / sizeof *ticks.at; i++)
        ticks.at[ticks.n++] = (double)i * step;
    axis->low = (double)first * step;
    axis->high = ticks.at[ticks.n - 1];
    return ticks;
}

kvat__ticks kvat__axis_time(const kvat__axis *axis, size_t most) {
    static const double steps[] = {0.001, 0.01, 0.1, 1,    2,    5,    10,    15,    30,    60,     120,
                                   300,   600,  900, 1800, 3600, 7200, 14400, 28800, 86400, 604800, 2592000};
    kvat__ticks ticks = {.n = 0};
    size_t n = sizeof steps / sizeof *steps, i = 0;
    while (i + 1 < n && axis->high / steps[i] > (double)most) i++;
    for (size_t k = 0; (double)k * steps[i] <= axis->high * 1.0001 && ticks.n < 12; k++)
        ticks.at[ticks.n++] = (double)k * steps[i];
    return ticks;
}

/* Where a text centred at `x` has to stand so as not to leave the drawing. */
static double centre_inside(double x, const char *text) {
    double half = kvat__svg_text_width(text) / 2;
    return fmax(half, fmin(KVAT__SVG_WIDTH - half, x));
}

void kvat__svg_axis_x(kvat_buf *out, const kvat__axis *axis, const kvat__ticks *ticks, double top, double bottom) {
    for (size_t i = 0; i < ticks->n; i++) {
        kvat_buf text = KVAT_BUF_INIT;
        double x = kvat__axis_place(axis, ticks->at[i]);
        kvat__svg_line(out, "grid", x, top, x, bottom);
        kvat__put_fixed(&text, ticks->at[i], ticks->decimals);
        const char *label = kvat__piece(out, &text);
        kvat__svg_text(out, "tick", KVAT__MIDDLE, centre_inside(x, label), bottom + 15, label);
        kvat_buf_clear(&text);
    }
}

void kvat__svg_axis_y(kvat_buf *out, const kvat__axis *axis, const kvat__ticks *ticks, double left, double right) {
    for (size_t i = 0; i < ticks->n; i++) {
        kvat_buf text = KVAT_BUF_INIT;
        double y = kvat__axis_place(axis, ticks->at[i]);
        kvat__svg_line(out, "grid", left, y, right, y);
        kvat__put_fixed(&text, ticks->at[i], ticks->decimals);
        kvat__svg_text(out, "tick", KVAT__END, left - 6, y + 4, kvat__piece(out, &text));
        kvat_buf_clear(&text);
    }
}

static void put_time(kvat_buf *out, double seconds) {
    if (seconds == 0)
        kvat_buf_puts(out, "0");
    else if (seconds < 1) {
        kvat__put_fixed(out, seconds * 1000, 0);
        kvat_buf_puts(out, " ms");
    } else if (seconds < 60 || fmod(seconds, 60) != 0) {
        kvat__put_fixed(out, seconds, 0);
        kvat_buf_puts(out, " s");
    } else if (seconds < 3600 || fmod(seconds, 3600) != 0) {
        kvat__put_fixed(out, seconds / 60, 0);
        kvat_buf_puts(out, " min");
    } else {
        kvat__put_fixed(out, seconds / 3600, 0);
        kvat_buf_puts(out, " h");
    }
}

void kvat__svg_time_x(kvat_buf *out, const kvat__axis *axis, const kvat__ticks *ticks, double top, double bottom) {
    for (size_t i = 0; i < ticks->n; i++) {
        kvat_buf text = KVAT_BUF_INIT;
        double x = kvat__axis_place(axis, ticks->at[i]);
        kvat__svg_line(out, "grid", x, top, x, bottom);
        put_time(&text, ticks->at[i]);
        kvat__svg_text(out, "tick", KVAT__MIDDLE, x, bottom + 15, kvat__piece(out, &text));
        kvat_buf_clear(&text);
    }
}
