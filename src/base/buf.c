/* The growable byte buffer with a ceiling.
 * Must not know what the bytes mean. */
#include "kvat/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"

#define FIRST_CAPACITY 64

static size_t ceiling_of(const kvat_buf *buf) {
    size_t ceiling = buf->ceiling ? buf->ceiling : KVAT_BUF_CEILING;
    return ceiling < SIZE_MAX / 4 ? ceiling : SIZE_MAX / 4;
}

void kvat_buf_init(kvat_buf *buf, size_t ceiling) {
    *buf = (kvat_buf)KVAT_BUF_INIT;
    buf->ceiling = ceiling;
}

void kvat_buf_clear(kvat_buf *buf) {
    free(buf->bytes);
    kvat_buf_init(buf, buf->ceiling);
}

void kvat_buf_reset(kvat_buf *buf) {
    kvat__buf_cut(buf, 0);
    buf->status = KVAT_OK;
}

void kvat__buf_fail(kvat_buf *buf, kvat_status status) {
    if (buf->status == KVAT_OK) buf->status = status;
}

void kvat__buf_cut(kvat_buf *buf, size_t length) {
    if (length > buf->length || !buf->bytes) return;
    buf->length = length;
    buf->bytes[length] = '\0';
}

/* Doubling keeps appending linear; the last step stops at the ceiling. */
static bool grow(kvat_buf *buf, size_t needed) {
    size_t capacity = buf->capacity ? 2 * buf->capacity : FIRST_CAPACITY;
    if (capacity > ceiling_of(buf) + 1) capacity = ceiling_of(buf) + 1;
    if (capacity < needed) capacity = needed;
    char *bytes = realloc(buf->bytes, capacity);
    if (!bytes) return false;
    if (!buf->bytes) bytes[0] = '\0';
    buf->bytes = bytes;
    buf->capacity = capacity;
    return true;
}

char *kvat__buf_room(kvat_buf *buf, size_t n) {
    if (buf->status != KVAT_OK) return NULL;
    size_t ceiling = ceiling_of(buf);
    if (buf->length > ceiling || n > ceiling - buf->length) {
        kvat__buf_fail(buf, KVAT_ERR_DATA);
        return NULL;
    }
    size_t needed = buf->length + n + 1;
    if (needed > buf->capacity && !grow(buf, needed)) {
        kvat__buf_fail(buf, KVAT_ERR_NOMEM);
        return NULL;
    }
    return buf->bytes + buf->length;
}

char *kvat_buf_take(kvat_buf *buf) {
    kvat_status status = buf->status;
    kvat__buf_room(buf, 0); /* an empty buffer has no bytes to hand over yet */
    if (status == KVAT_OK) status = buf->status;
    char *bytes = buf->bytes;
    if (status != KVAT_OK) {
        free(bytes);
        bytes = NULL;
    }
    kvat_buf_init(buf, buf->ceiling);
    buf->status = status;
    return bytes;
}

kvat_status kvat_buf_status(const kvat_buf *buf, kvat_error *err) {
    switch (buf->status) {
    case KVAT_OK:
        return KVAT_OK;
    case KVAT_ERR_NOMEM:
        return kvat_fail(err, KVAT_ERR_NOMEM, "out of memory after %zu bytes of text", buf->length);
    case KVAT_ERR_DATA:
        return kvat_fail(err, KVAT_ERR_DATA, "text longer than the %zu bytes allowed", ceiling_of(buf));
    default:
        return kvat_fail(err, buf->status, "text cannot be written");
    }
}

void kvat_buf_consume(kvat_buf *buf, size_t n) {
    if (n == 0 || !buf->bytes) return;
    if (n > buf->length) n = buf->length;
    memmove(buf->bytes, buf->bytes + n, buf->length - n + 1);
    buf->length -= n;
}

void kvat_buf_put(kvat_buf *buf, const void *bytes, size_t n) {
    char *room = kvat__buf_room(buf, n);
    if (!room) return;
    if (n > 0) memcpy(room, bytes, n);
    room[n] = '\0';
    buf->length += n;
}

void kvat_buf_puts(kvat_buf *buf, const char *text) {
    if (text) kvat_buf_put(buf, text, strlen(text));
}

void kvat_buf_putc(kvat_buf *buf, char c) {
    kvat_buf_put(buf, &c, 1);
}

KVAT_PRINTF(2, 0)
static void put_formatted(kvat_buf *buf, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    if (length < 0) {
        kvat__buf_fail(buf, KVAT_ERR_INTERNAL);
    } else {
        char *room = kvat__buf_room(buf, (size_t)length);
        if (room) {
            vsnprintf(room, (size_t)length + 1, format, again);
            buf->length += (size_t)length;
        }
    }
    va_end(again);
}

void kvat_buf_printf(kvat_buf *buf, const char *format, ...) {
    va_list args;
    va_start(args, format);
    put_formatted(buf, format, args);
    va_end(args);
}
