/**
 * @file units.h
 * Numbers for people: durations, sizes, counts, and their parsing from the command line.
 *
 * Formatters append to a buffer and never fail on their own account. Parsers are strict: whole text, no sign unless
 * stated.
 */
#ifndef KVAT_UNITS_H
#define KVAT_UNITS_H

#include <stddef.h>
#include <stdint.h>

#include "kvat/buf.h"

#ifdef __cplusplus
extern "C" {
#endif

#define KVAT_NS_PER_MS INT64_C(1000000)
#define KVAT_NS_PER_S  INT64_C(1000000000)

/** 812 ns · 15.3 us · 1.53 ms · 7.72 s · 3 min 12 s · 1 h 04 min: three significant digits below a minute. Pure
 * ASCII. */
KVAT_EXTERN void kvat_put_duration(kvat_buf *out, int64_t ns);
/** 512 B · 26.0 MiB · 1.13 GiB: binary units, three significant digits. */
KVAT_EXTERN void kvat_put_bytes(kvat_buf *out, int64_t bytes);
/** Three significant digits without exponent: 35.6, 0.0123, 120, 4830. */
KVAT_EXTERN void kvat_put_number(kvat_buf *out, double value);
/** A whole number ≥ 0 of which 15 figures are exact: "331776", and "over 10^18" beyond. */
KVAT_EXTERN void kvat_put_count(kvat_buf *out, double count);
/** Signed per cent of a ratio minus one: 0.787 → "−21.3 %" (U+2212, or '-' unless `unicode`). */
KVAT_EXTERN void kvat_put_change(kvat_buf *out, double ratio, int unicode);

/** "90s", "20m", "1h30m", "250ms", bare number = seconds → nanoseconds > 0. KVAT_ERR_USAGE otherwise. */
KVAT_EXTERN kvat_status kvat_parse_duration(int64_t *ns, const char *text, kvat_error *err);
/** "512M", "12GiB", "1.5G", bare number = bytes; binary units → bytes > 0. KVAT_ERR_USAGE otherwise, also for "GB",
 * which could mean either. */
KVAT_EXTERN kvat_status kvat_parse_bytes(int64_t *bytes, const char *text, kvat_error *err);
/** Decimal integer within [low, high]; `what` names it in the message. */
KVAT_EXTERN kvat_status kvat_parse_int(int64_t *value, const char *text, int64_t low, int64_t high, const char *what,
                                       kvat_error *err);
/** Finite decimal number within [low, high]; a trailing '%' divides by 100. */
KVAT_EXTERN kvat_status kvat_parse_ratio(double *value, const char *text, double low, double high, const char *what,
                                         kvat_error *err);

/** Index of the candidate nearest to `word` by Damerau–Levenshtein distance, if near enough to suggest (distance ≤ 1 +
 * length/4, both at most 64 bytes); else −1. The first wins a tie. */
KVAT_EXTERN int kvat_nearest_word(const char *word, const char *const *candidates, size_t n);

/** Nanoseconds of CLOCK_MONOTONIC. For budgets and displays of the coordinator; engines are timed by their workers. */
KVAT_EXTERN int64_t kvat_now_ns(void);

#ifdef __cplusplus
}
#endif
#endif
