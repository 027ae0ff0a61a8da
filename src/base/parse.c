/* Durations, sizes and numbers as people type them, and the word they may have meant.
 * Must not know which option a text came from, except by the name it is told. */
#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "kvat/units.h"

typedef struct unit {
    const char *name;
    int64_t size;
} unit;

/* An unsigned decimal number, its fraction apart so that whole units stay exact. */
typedef struct decimal {
    int64_t whole;
    double fraction;
} decimal;

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* The text behind the number, or NULL when none stands there. */
static const char *read_decimal(decimal *number, const char *text) {
    *number = (decimal){0, 0};
    if (!is_digit(*text)) return NULL;
    for (; is_digit(*text); text++)
        if (__builtin_mul_overflow(number->whole, 10, &number->whole) ||
            __builtin_add_overflow(number->whole, *text - '0', &number->whole))
            return NULL;
    if (*text != '.') return text;
    if (!is_digit(*++text)) return NULL;
    double numerator = 0;
    double denominator = 1;
    for (; is_digit(*text); text++) {
        if (denominator >= 1e15) continue;
        numerator = 10 * numerator + (*text - '0');
        denominator *= 10;
    }
    number->fraction = numerator / denominator;
    return text;
}

/* Adds number × size to `*total`; false beyond 2⁶³. */
static bool add_scaled(int64_t *total, const decimal *number, int64_t size) {
    int64_t whole;
    int64_t part = (int64_t)(number->fraction * (double)size + 0.5);
    return !__builtin_mul_overflow(number->whole, size, &whole) && !__builtin_add_overflow(whole, part, &whole) &&
           !__builtin_add_overflow(*total, whole, total);
}

static bool same_word(const char *text, size_t n, const char *word, bool fold) {
    if (strlen(word) != n) return false;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (fold && c >= 'A' && c <= 'Z') c = (char)(c - 'A' + 'a');
        if (c != word[i]) return false;
    }
    return true;
}

static size_t letters_at(const char *text) {
    size_t n = 0;
    while ((text[n] >= 'a' && text[n] <= 'z') || (text[n] >= 'A' && text[n] <= 'Z')) n++;
    return n;
}

/* Size of the unit named by `n` letters; 0 when there is none of that name. */
static int64_t unit_size(const unit *units, const char *text, size_t n, bool fold) {
    for (; units->name; units++)
        if (same_word(text, n, units->name, fold)) return units->size;
    return 0;
}

/* Numbers each with a unit, the larger units first. */
static bool read_duration(int64_t *ns, const char *text) {
    static const unit units[] = {{"d", 86400 * KVAT_NS_PER_S},
                                 {"h", 3600 * KVAT_NS_PER_S},
                                 {"min", 60 * KVAT_NS_PER_S},
                                 {"m", 60 * KVAT_NS_PER_S},
                                 {"s", KVAT_NS_PER_S},
                                 {"ms", KVAT_NS_PER_MS},
                                 {"us", 1000},
                                 {"ns", 1},
                                 {NULL, 0}};
    int64_t total = 0;
    int64_t previous = INT64_MAX;
    const char *start = text;
    while (*text) {
        decimal number;
        const char *behind = read_decimal(&number, text);
        if (!behind) return false;
        size_t letters = letters_at(behind);
        bool bare = letters == 0 && text == start;
        int64_t size = bare ? KVAT_NS_PER_S : unit_size(units, behind, letters, false);
        if (size == 0 || size >= previous || !add_scaled(&total, &number, size)) return false;
        previous = bare ? 0 : size;
        text = behind + letters;
    }
    *ns = total;
    return true;
}

kvat_status kvat_parse_duration(int64_t *ns, const char *text, kvat_error *err) {
    int64_t value = 0;
    if (!text || !read_duration(&value, text) || value <= 0)
        return kvat_fail(err, KVAT_ERR_USAGE,
                         "\"%s\" is no duration from 1 ns to 292 years; write for example 90s, 20m or 1h30m",
                         text ? text : "");
    *ns = value;
    return KVAT_OK;
}

static bool read_bytes(int64_t *bytes, const char *text) {
    static const unit units[] = {{"", 1},
                                 {"b", 1},
                                 {"k", INT64_C(1) << 10},
                                 {"kib", INT64_C(1) << 10},
                                 {"m", INT64_C(1) << 20},
                                 {"mib", INT64_C(1) << 20},
                                 {"g", INT64_C(1) << 30},
                                 {"gib", INT64_C(1) << 30},
                                 {"t", INT64_C(1) << 40},
                                 {"tib", INT64_C(1) << 40},
                                 {NULL, 0}};
    decimal number;
    int64_t total = 0;
    const char *behind = read_decimal(&number, text);
    if (!behind) return false;
    size_t letters = letters_at(behind);
    int64_t size = unit_size(units, behind, letters, true);
    if (size == 0 || behind[letters] != '\0' || !add_scaled(&total, &number, size)) return false;
    *bytes = total;
    return true;
}

kvat_status kvat_parse_bytes(int64_t *bytes, const char *text, kvat_error *err) {
    int64_t value = 0;
    if (!text || !read_bytes(&value, text) || value <= 0)
        return kvat_fail(err, KVAT_ERR_USAGE,
                         "\"%s\" is no size from 1 byte to 8 EiB; write for example 512M, 12GiB or 1.5G (binary units)",
                         text ? text : "");
    *bytes = value;
    return KVAT_OK;
}

/* Decimal digits with '-' in front where negative values are allowed at all. */
static bool read_int(int64_t *value, const char *text, bool negative_allowed) {
    const char *digits = *text == '-' && negative_allowed ? text + 1 : text;
    if (!is_digit(*digits) || digits[strspn(digits, "0123456789")] != '\0') return false;
    errno = 0;
    long long read = strtoll(text, NULL, 10);
    if (errno != 0) return false;
    *value = read;
    return true;
}

kvat_status kvat_parse_int(int64_t *value, const char *text, int64_t low, int64_t high, const char *what,
                           kvat_error *err) {
    int64_t read = 0;
    if (!text || !read_int(&read, text, low < 0) || read < low || read > high)
        return kvat_fail(err, KVAT_ERR_USAGE, "%s: expected an integer from %" PRId64 " to %" PRId64 ", not \"%s\"",
                         what, low, high, text ? text : "");
    *value = read;
    return KVAT_OK;
}

/* Length of `12`, `0.5`, `1e-3`, with '-' where negative values are allowed at all; 0 when no number stands there. */
static size_t number_length(const char *text, bool negative_allowed) {
    static const char digits[] = "0123456789";
    size_t n = *text == '-' && negative_allowed ? 1 : 0;
    if (!is_digit(text[n])) return 0;
    n += strspn(text + n, digits);
    if (text[n] == '.') {
        if (!is_digit(text[n + 1])) return 0;
        n += 1 + strspn(text + n + 1, digits);
    }
    if (text[n] == 'e' || text[n] == 'E') {
        size_t sign = text[n + 1] == '-' || text[n + 1] == '+' ? 1 : 0;
        if (!is_digit(text[n + 1 + sign])) return 0;
        n += 1 + sign + strspn(text + n + 1 + sign, digits);
    }
    return n;
}

/* strtod() that knows no other decimal point than '.'. */
static bool read_real(double *value, const char *text) {
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (plain == (locale_t)0) return false;
    *value = strtod_l(text, NULL, plain);
    freelocale(plain);
    return isfinite(*value);
}

static bool read_ratio(double *value, const char *text, bool negative_allowed) {
    size_t n = number_length(text, negative_allowed);
    bool percent = n > 0 && text[n] == '%';
    if (n == 0 || text[n + (percent ? 1 : 0)] != '\0' || !read_real(value, text)) return false;
    if (percent) *value /= 100;
    return true;
}

kvat_status kvat_parse_ratio(double *value, const char *text, double low, double high, const char *what,
                             kvat_error *err) {
    double read = 0;
    if (!text || !read_ratio(&read, text, low < 0) || read < low || read > high)
        return kvat_fail(err, KVAT_ERR_USAGE, "%s: expected a number from %g to %g (or in %%), not \"%s\"", what, low,
                         high, text ? text : "");
    *value = read;
    return KVAT_OK;
}

#define LONGEST_WORD 64

static unsigned least(unsigned a, unsigned b) {
    return a < b ? a : b;
}

/* Damerau–Levenshtein distance (optimal string alignment): insert, delete, replace, swap neighbours. */
static unsigned distance(const char *a, size_t a_length, const char *b, size_t b_length) {
    unsigned rows[3][LONGEST_WORD + 1];
    unsigned *before = rows[0];
    unsigned *above = rows[1];
    unsigned *row = rows[2];
    for (size_t j = 0; j <= b_length; j++) above[j] = before[j] = (unsigned)j;
    for (size_t i = 1; i <= a_length; i++) {
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_length; j++) {
            bool same = a[i - 1] == b[j - 1];
            row[j] = least(least(above[j], row[j - 1]) + 1, above[j - 1] + (same ? 0 : 1));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], before[j - 2] + 1);
        }
        unsigned *oldest = before;
        before = above;
        above = row;
        row = oldest;
    }
    return above[b_length];
}

int kvat_nearest_word(const char *word, const char *const *candidates, size_t n) {
    size_t length = word ? strlen(word) : 0;
    if (length == 0 || length > LONGEST_WORD) return -1;
    int nearest = -1;
    unsigned limit = 1 + (unsigned)length / 4;
    for (size_t i = 0; i < n; i++) {
        size_t candidate_length = strlen(candidates[i]);
        if (candidate_length > LONGEST_WORD) continue;
        unsigned d = distance(word, length, candidates[i], candidate_length);
        if (d > limit) continue;
        nearest = (int)i;
        if (d == 0) break;
        limit = d - 1;
    }
    return nearest;
}
