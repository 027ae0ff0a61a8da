/* Numbers for people, and the clock of the coordinator.
 * Must not know the locale: what is written here is read by machines too. */
#include "kvat/units.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base.h"

void kvat__plain_point(char *number) {
    static const char plain[] = "0123456789+-e";
    size_t front = strspn(number, plain);
    if (number[front] == '\0') return;
    size_t point = strcspn(number + front, plain); /* a decimal point may be several bytes */
    number[front] = '.';
    memmove(number + front + 1, number + front + point, strlen(number + front + point) + 1);
}

static void put_fixed(kvat_buf *out, double value, int decimals) {
    char text[400]; /* the largest double has 309 digits, the smallest at three figures 326 decimals */
    snprintf(text, sizeof text, "%.*f", decimals, value);
    kvat__plain_point(text);
    kvat_buf_puts(out, text);
}

/* Decimal exponent of `value` after rounding to three figures, so that 999.6 counts as 1000. */
static int exponent_of(double value) {
    char text[64];
    snprintf(text, sizeof text, "%.2e", value);
    const char *e = strchr(text, 'e');
    return e ? atoi(e + 1) : 0;
}

/* Digits before the point that are beyond three figures become zeros. */
static void put_large(kvat_buf *out, double value, int exponent) {
    char text[400];
    char figures[64];
    snprintf(figures, sizeof figures, "%.2e", value);
    kvat__plain_point(figures);
    int length = snprintf(text, sizeof text, "%c%c%c", figures[0], figures[2], figures[3]);
    for (int zeros = exponent - 2; zeros > 0; zeros--) text[length++] = '0';
    kvat_buf_put(out, text, (size_t)length);
}

void kvat_put_number(kvat_buf *out, double value) {
    if (isnan(value)) {
        kvat_buf_puts(out, "nan");
        return;
    }
    if (value < 0) kvat_buf_putc(out, '-');
    value = fabs(value);
    if (isinf(value)) {
        kvat_buf_puts(out, "inf");
    } else if (value == 0) {
        kvat_buf_putc(out, '0');
    } else {
        int exponent = exponent_of(value);
        if (exponent > 2)
            put_large(out, value, exponent);
        else
            put_fixed(out, value, 2 - exponent);
    }
}

void kvat_put_count(kvat_buf *out, double count) {
    int exponent = 0;
    if (!(count >= 1e15)) {
        put_fixed(out, count, 0);
        return;
    }
    for (; count >= 10 && exponent < 308; exponent++) count /= 10;
    kvat_buf_printf(out, "over 10^%d", exponent);
}

static uint64_t put_sign(kvat_buf *out, int64_t value) {
    if (value >= 0) return (uint64_t)value;
    kvat_buf_putc(out, '-');
    return ~(uint64_t)value + 1;
}

static uint64_t rounded(uint64_t value, uint64_t unit) {
    return value / unit + (value % unit >= unit / 2 ? 1 : 0);
}

static void put_long_duration(kvat_buf *out, uint64_t ns) {
    unsigned long long seconds = rounded(ns, KVAT_NS_PER_S);
    unsigned long long minutes = rounded(ns, 60 * KVAT_NS_PER_S);
    if (seconds < 3600)
        kvat_buf_printf(out, "%llu min %02llu s", seconds / 60, seconds % 60);
    else
        kvat_buf_printf(out, "%llu h %02llu min", minutes / 60, minutes % 60);
}

void kvat_put_duration(kvat_buf *out, int64_t ns) {
    static const struct {
        double ns, below;
        const char *name;
    } units[] = {{1e3, 999.5, "us"}, {1e6, 999.5, "ms"}, {1e9, 59.95, "s"}};

    uint64_t magnitude = put_sign(out, ns);
    if (magnitude < 1000) {
        kvat_buf_printf(out, magnitude ? "%u ns" : "%u s", (unsigned)magnitude);
        return;
    }
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        double value = (double)magnitude / units[i].ns;
        if (value >= units[i].below) continue;
        kvat_put_number(out, value);
        kvat_buf_printf(out, " %s", units[i].name);
        return;
    }
    put_long_duration(out, magnitude);
}

void kvat_put_bytes(kvat_buf *out, int64_t bytes) {
    static const char *const names[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    uint64_t magnitude = put_sign(out, bytes);
    if (magnitude < 1024) {
        kvat_buf_printf(out, "%u B", (unsigned)magnitude);
        return;
    }
    size_t i = 0;
    double value = (double)magnitude / 1024;
    for (; value >= 999.5; i++) value /= 1024;
    kvat_put_number(out, value);
    kvat_buf_printf(out, " %s", names[i]);
}

void kvat_put_change(kvat_buf *out, double ratio, int unicode) {
    double percent = (ratio - 1) * 100;
    if (!isfinite(percent)) {
        kvat_buf_puts(out, "n/a");
        return;
    }
    if (percent <= -0.05)
        kvat_buf_puts(out, unicode ? "\u2212" : "-");
    else if (percent >= 0.05)
        kvat_buf_putc(out, '+');
    put_fixed(out, fabs(percent), 1);
    kvat_buf_puts(out, " %");
}

int64_t kvat_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * KVAT_NS_PER_S + now.tv_nsec;
}
