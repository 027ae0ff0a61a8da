/* What the files of base share: characters, numbers that ignore the locale, raw room in a buffer.
 * Must not be included from outside src/base. */
#ifndef KVAT_BASE_INTERNAL_H
#define KVAT_BASE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvat/buf.h"

/** One character of a text that may not be UTF-8. */
typedef struct kvat__glyph {
    int32_t codepoint; /**< −1: the byte is not part of valid UTF-8 */
    size_t length;     /**< bytes, ≥ 1 */
    bool hidden;       /**< invalid, a control, or invisible: never to reach a reader as it is */
} kvat__glyph;

/** The glyph at the front of `n` ≥ 1 bytes. */
kvat__glyph kvat__glyph_at(const char *bytes, size_t n);

/** Longest form written by kvat__glyph_spell(): `\u{10FFFF}` and a NUL. */
#define KVAT__SPELLED 16

/** Writes a hidden glyph as plain text: `\u{202E}`, or `\xFF` for the byte `byte` when invalid. Returns the length. */
size_t kvat__glyph_spell(char text[KVAT__SPELLED], const kvat__glyph *glyph, unsigned char byte);

/** Room for `n` more bytes at the end, or NULL with the failure noted. The caller adds to `length` and writes the NUL.
 */
char *kvat__buf_room(kvat_buf *buf, size_t n);

/** Notes a failure, unless an earlier one is noted. */
void kvat__buf_fail(kvat_buf *buf, kvat_status status);

/** Cuts back to an earlier length. */
void kvat__buf_cut(kvat_buf *buf, size_t length);

/** In a number just printed by printf, makes the locale's decimal point a '.'. */
void kvat__plain_point(char *number);

/** A double-quoted JSON string of `n` bytes; `ascii` spells everything beyond ASCII. */
void kvat__put_json_string(kvat_buf *out, const char *text, size_t n, bool ascii);

#endif
