/* Lines out of a byte stream: what came is kept until its line ends, and never more than the limit allows. */
/* Must not know: JSON, processes, file descriptors. */
#include "lines.h"

#include <string.h>

void kvat__lines_init(kvat__lines *lines, size_t max) {
    *lines = (kvat__lines){.max = max ? max : KVAT__LINE_MAX};
    kvat_buf_init(&lines->buf, SIZE_MAX / 4); /* the limit is kept here, a line at a time */
}

void kvat__lines_clear(kvat__lines *lines) {
    kvat_buf_clear(&lines->buf);
    lines->start = lines->partial = 0;
}

/* Moving the rest to the front costs its length, so it waits until at least as much has been handed out. */
static void compact(kvat__lines *lines) {
    if (lines->start == 0 || lines->start < lines->buf.length - lines->start) return;
    kvat_buf_consume(&lines->buf, lines->start);
    lines->start = 0;
}

/* Counts the bytes of the last, unended line; false when a line is too long. */
static bool measure(size_t *partial, const char *bytes, size_t n, size_t max) {
    while (n) {
        const char *end = memchr(bytes, '\n', n);
        const size_t part = end ? (size_t)(end - bytes) : n;
        if (part > max - *partial) return false;
        *partial = end ? 0 : *partial + part;
        const size_t taken = end ? part + 1 : part;
        bytes += taken;
        n -= taken;
    }
    return true;
}

kvat_status kvat__lines_put(kvat__lines *lines, const char *bytes, size_t n, kvat_error *err) {
    if (n == 0) return KVAT_OK;
    size_t partial = lines->partial;
    if (!measure(&partial, bytes, n, lines->max))
        return kvat_fail(err, KVAT_ERR_DATA, "line longer than %zu bytes", lines->max);
    compact(lines);
    kvat_buf_put(&lines->buf, bytes, n);
    const kvat_status status = kvat_buf_status(&lines->buf, err);
    if (status == KVAT_OK) lines->partial = partial;
    return status;
}

bool kvat__lines_peek(const kvat__lines *lines, size_t *cursor, const char **line, size_t *n) {
    const size_t whole = lines->buf.length - lines->partial;
    if (*cursor >= whole) return false;
    const char *from = lines->buf.bytes + *cursor;
    const char *end = memchr(from, '\n', whole - *cursor);
    if (!end) return false;
    *line = from;
    *n = (size_t)(end - from);
    *cursor += *n + 1;
    return true;
}

bool kvat__lines_next(kvat__lines *lines, const char **line, size_t *n) {
    return kvat__lines_peek(lines, &lines->start, line, n);
}
