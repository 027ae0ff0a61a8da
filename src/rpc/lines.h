/* Lines out of a byte stream, bounded. */
/* Must not know: what a line means. */
#ifndef KVAT_RPC_LINES_H
#define KVAT_RPC_LINES_H

#include <stdbool.h>

#include "kvat/buf.h"

#define KVAT__LINE_MAX   ((size_t)16 << 20)
#define KVAT__READ_CHUNK ((size_t)64 << 10)

typedef struct kvat__lines {
    kvat_buf buf;
    size_t start;   /* first byte not handed out yet */
    size_t partial; /* bytes at the end that belong to a line not ended yet */
    size_t max;     /* longest line, without its end */
} kvat__lines;

void kvat__lines_init(kvat__lines *lines, size_t max);
void kvat__lines_clear(kvat__lines *lines);
/* Appends `n` bytes. KVAT_ERR_DATA when the unfinished line passes the limit, KVAT_ERR_NOMEM without memory. */
kvat_status kvat__lines_put(kvat__lines *lines, const char *bytes, size_t n, kvat_error *err);
/* The next whole line without its '\n', borrowed until the next put; false when there is none. */
bool kvat__lines_next(kvat__lines *lines, const char **line, size_t *n);
/* Looks at whole lines without taking them: `*cursor` starts at lines->start and is moved on. */
bool kvat__lines_peek(const kvat__lines *lines, size_t *cursor, const char **line, size_t *n);
#endif
