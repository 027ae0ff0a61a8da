/* Numbers as every report writes them.
 * Must not know the locale, nor what the numbers are of. */
#include <math.h>

#include "kvat/units.h"
#include "report_internal.h"

void kvat__put_fixed(kvat_buf *out, double value, int decimals) {
    static const double powers[] = {1, 10, 100, 1000, 1e4, 1e5, 1e6};
    if (!isfinite(value) || fabs(value) > 9e11) {
        kvat_buf_puts(out, "?");
        return;
    }
    long long scale = (long long)powers[decimals], units = llround(value * powers[decimals]);
    if (units < 0) kvat_buf_puts(out, "−");
    units = llabs(units);
    kvat_buf_printf(out, "%lld", units / scale);
    if (decimals > 0) kvat_buf_printf(out, ".%0*lld", decimals, units % scale);
}

void kvat__put_seconds(kvat_buf *out, double seconds) {
    if (!isfinite(seconds) || seconds < 0 || seconds > 1e9)
        kvat_buf_puts(out, "?");
    else
        kvat_put_duration(out, (int64_t)llround(seconds * 1e9));
}

void kvat__put_rate(kvat_buf *out, double tok_per_s) {
    if (isfinite(tok_per_s))
        kvat_put_number(out, tok_per_s);
    else
        kvat_buf_puts(out, "?");
    kvat_buf_puts(out, " tok/s");
}

void kvat__put_fitted_rate(kvat_buf *out, double tok_per_s) {
    if (isfinite(tok_per_s)) kvat_buf_putc(out, '~');
    kvat__put_rate(out, tok_per_s);
}

static double half_width(kvat_interval interval) {
    return fmax(interval.high - interval.value, interval.value - interval.low);
}

/* It happens after two or three runs, whose Student interval has long tails. Asked of ratios, not of changes, so that
 * "+300 % ± 150 %", a ratio of 4 ± 1.5, stays a number. */
bool kvat__cannot_tell(kvat_interval interval) {
    return kvat_interval_too_wide(interval);
}

void kvat__put_score(kvat_buf *out, const kvat_entry *entry, bool interval) {
    if (!isfinite(entry->score)) {
        kvat_buf_puts(out, "–");
        return;
    }
    if (kvat__cannot_tell(entry->score_interval)) {
        kvat_buf_puts(out, "cannot tell");
        return;
    }
    double half = half_width(entry->score_interval);
    bool exact = !isfinite(half) || half < 1e-9; /* the reference itself is 100 by definition */
    int decimals = !exact && half < 0.5 && entry->score < 1000 ? 1 : 0;
    kvat__put_fixed(out, entry->score, decimals);
    if (!interval || exact) return;
    kvat_buf_puts(out, " ±");
    kvat__put_fixed(out, ceil(half * (decimals ? 10 : 1)) / (decimals ? 10 : 1), decimals);
}

bool kvat__gain_unknown(kvat_interval ln_ratio) {
    kvat_interval ratio = {exp(ln_ratio.value), exp(ln_ratio.low), exp(ln_ratio.high)};
    return kvat__cannot_tell(ratio) && ln_ratio.low <= 0 && ln_ratio.high >= 0;
}

/* Of an interval too wide for a number but all on one side of no change: its end towards none. */
static void put_bound(kvat_buf *out, double ln_bound) {
    kvat_buf_puts(out, ln_bound > 0 ? "beyond +" : "beyond −");
    kvat__put_fixed(out, floor(fabs(100 * expm1(ln_bound))), 0);
    kvat_buf_puts(out, " %");
}

static void put_percent_change(kvat_buf *out, kvat_interval ln_ratio) {
    kvat_interval percent = {100 * expm1(ln_ratio.value), 100 * expm1(ln_ratio.low), 100 * expm1(ln_ratio.high)};
    double half = half_width(percent);
    if (percent.value >= 0.05) kvat_buf_putc(out, '+');
    kvat__put_fixed(out, percent.value, 1);
    kvat_buf_puts(out, " %");
    if (!isfinite(half)) return;
    kvat_buf_puts(out, " ± ");
    kvat__put_fixed(out, fmax(half, 0.1), 1); /* never "± 0.0" */
}

void kvat__put_gain(kvat_buf *out, kvat_interval ln_ratio) {
    kvat_interval ratio = {exp(ln_ratio.value), exp(ln_ratio.low), exp(ln_ratio.high)};
    if (kvat__gain_unknown(ln_ratio))
        kvat_buf_puts(out, "cannot tell");
    else if (kvat__cannot_tell(ratio))
        put_bound(out, ln_ratio.low > 0 ? ln_ratio.low : ln_ratio.high);
    else
        put_percent_change(out, ln_ratio);
}

void kvat__put_noise(kvat_buf *out, double ratio) {
    if (ratio > 1) {
        kvat_buf_puts(out, "over 100 %");
        return;
    }
    kvat__put_fixed(out, 100 * ratio, 1);
    kvat_buf_puts(out, " %");
}

void kvat__put_share(kvat_buf *out, double ratio) {
    double percent = 100 * ratio;
    int decimals = 0;
    while (decimals < 3 && fabs(percent * pow(10, decimals) - round(percent * pow(10, decimals))) > 1e-6) decimals++;
    kvat__put_fixed(out, percent, decimals);
    kvat_buf_puts(out, " %");
}

void kvat__put_percent(kvat_buf *out, double ratio) {
    if (!isfinite(ratio)) {
        kvat_buf_puts(out, "?");
        return;
    }
    kvat__put_fixed(out, fmin(floor(100 * ratio + 1e-9), 99), 0); /* a share of draws is never certainty */
    kvat_buf_puts(out, " %");
}
