/* Canonical JSON: equal data give equal bytes, and the bytes are safe to show.
 * Must not know what the data mean. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base.h"
#include "kvat/json.h"

typedef struct writer {
    kvat_buf *out;
    bool pretty;
    int depth;
} writer;

typedef struct member {
    const char *name;
    size_t length;
    const json_t *value;
} member;

static void put_value(writer *w, const json_t *value);

static void put_break(writer *w) {
    if (!w->pretty) return;
    kvat_buf_putc(w->out, '\n');
    for (int i = 0; i < w->depth; i++) kvat_buf_puts(w->out, "  ");
}

/* "1e+22" → "1e22", "1e-07" → "1e-7", "5" → "5.0": a real stays a real when read back. */
static void put_real_text(kvat_buf *out, char *text) {
    kvat__plain_point(text);
    char *e = strchr(text, 'e');
    if (!e) {
        kvat_buf_puts(out, text);
        if (!strchr(text, '.')) kvat_buf_puts(out, ".0");
        return;
    }
    kvat_buf_put(out, text, (size_t)(e + 1 - text));
    if (e[1] == '-') kvat_buf_putc(out, '-');
    const char *digits = e + 2;
    while (*digits == '0') digits++;
    kvat_buf_puts(out, digits);
}

/* 15 figures always suffice to tell decimals of 15 figures apart, 17 to tell doubles apart; subnormals have fewer. */
static void put_real(kvat_buf *out, double value) {
    char text[64];
    if (!isfinite(value)) {
        kvat__buf_fail(out, KVAT_ERR_INTERNAL);
        return;
    }
    for (int figures = fabs(value) < DBL_MIN ? 1 : 15; figures <= 17; figures++) {
        snprintf(text, sizeof text, "%.*g", figures, value);
        if (strtod(text, NULL) == value) break;
    }
    put_real_text(out, text);
}

static void put_array(writer *w, const json_t *array) {
    size_t n = json_array_size(array);
    kvat_buf_putc(w->out, '[');
    w->depth++;
    for (size_t i = 0; i < n && w->out->status == KVAT_OK; i++) {
        if (i > 0) kvat_buf_putc(w->out, ',');
        put_break(w);
        put_value(w, json_array_get(array, i));
    }
    w->depth--;
    if (n > 0) put_break(w);
    kvat_buf_putc(w->out, ']');
}

static int by_name(const void *left, const void *right) {
    const member *a = left;
    const member *b = right;
    int order = memcmp(a->name, b->name, a->length < b->length ? a->length : b->length);
    if (order != 0) return order;
    return (a->length > b->length) - (a->length < b->length);
}

static void put_members(writer *w, const member *members, size_t n) {
    for (size_t i = 0; i < n && w->out->status == KVAT_OK; i++) {
        if (i > 0) kvat_buf_putc(w->out, ',');
        put_break(w);
        kvat__put_json_string(w->out, members[i].name, members[i].length, false);
        kvat_buf_puts(w->out, w->pretty ? ": " : ":");
        put_value(w, members[i].value);
    }
}

static void put_object(writer *w, const json_t *object) {
    json_t *mutable = (json_t *)object; /* jansson's iterators do not know const */
    size_t n = json_object_size(object);
    member *members = n > 0 ? calloc(n, sizeof *members) : NULL;
    if (n > 0 && !members) {
        kvat__buf_fail(w->out, KVAT_ERR_NOMEM);
        return;
    }
    size_t i = 0;
    for (void *at = json_object_iter(mutable); at && i < n; at = json_object_iter_next(mutable, at), i++)
        members[i] = (member){json_object_iter_key(at), json_object_iter_key_len(at), json_object_iter_value(at)};
    if (i > 1) qsort(members, i, sizeof *members, by_name);

    kvat_buf_putc(w->out, '{');
    w->depth++;
    put_members(w, members, i);
    w->depth--;
    if (n > 0) put_break(w);
    kvat_buf_putc(w->out, '}');
    free(members);
}

static void put_scalar(kvat_buf *out, const json_t *value) {
    switch (json_typeof(value)) {
    case JSON_STRING:
        kvat__put_json_string(out, json_string_value(value), json_string_length(value), false);
        break;
    case JSON_INTEGER:
        kvat_buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        break;
    case JSON_REAL:
        put_real(out, json_real_value(value));
        break;
    case JSON_TRUE:
        kvat_buf_puts(out, "true");
        break;
    case JSON_FALSE:
        kvat_buf_puts(out, "false");
        break;
    default:
        kvat_buf_puts(out, "null");
    }
}

static void put_value(writer *w, const json_t *value) {
    bool nests = json_is_object(value) || json_is_array(value);
    if (!value || (nests && w->depth >= KVAT_JSON_MAX_DEPTH)) /* the reader would refuse it */
        kvat__buf_fail(w->out, KVAT_ERR_INTERNAL);
    else if (json_is_object(value))
        put_object(w, value);
    else if (nests)
        put_array(w, value);
    else
        put_scalar(w->out, value);
}

static kvat_status put_all(kvat_buf *out, const json_t *value, bool pretty) {
    size_t start = out->length;
    writer w = {.out = out, .pretty = pretty};
    put_value(&w, value);
    if (pretty) kvat_buf_putc(out, '\n');
    if (out->status != KVAT_OK) kvat__buf_cut(out, start);
    return out->status;
}

kvat_status kvat_json_put(kvat_buf *out, const json_t *value) {
    return put_all(out, value, false);
}

kvat_status kvat_json_put_pretty(kvat_buf *out, const json_t *value) {
    return put_all(out, value, true);
}
