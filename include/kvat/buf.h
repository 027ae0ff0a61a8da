/**
 * @file buf.h
 * A growable byte buffer with a ceiling, and one escaper for each kind of output.
 *
 * A buffer remembers its first failure (out of memory, or the ceiling reached): later appends do nothing, so a writer
 * checks once, with kvat_buf_status(), at the end. `bytes` is always NUL-terminated (never NULL after a successful
 * append).
 */
#ifndef KVAT_BUF_H
#define KVAT_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "kvat/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kvat_buf {
    char *bytes;   /**< owned, NUL-terminated; NULL while empty */
    size_t length; /**< bytes, without the NUL */
    size_t capacity;
    size_t ceiling;     /**< most bytes it may hold; 0 means KVAT_BUF_CEILING */
    kvat_status status; /**< first failure, else KVAT_OK */
} kvat_buf;

#define KVAT_BUF_CEILING ((size_t)256 << 20)
#define KVAT_BUF_INIT                                                                                                  \
    { NULL, 0, 0, 0, KVAT_OK }

KVAT_EXTERN void kvat_buf_init(kvat_buf *buf, size_t ceiling);
KVAT_EXTERN void kvat_buf_clear(kvat_buf *buf); /**< frees; the buffer can be used again */
/** Empties but keeps the memory, and forgets a failure. */
KVAT_EXTERN void kvat_buf_reset(kvat_buf *buf);
/** Hands over the bytes (caller frees with free()); an empty string when nothing was appended. After a failure NULL,
 * and the bytes are freed, but kvat_buf_status() still tells why. */
KVAT_EXTERN char *kvat_buf_take(kvat_buf *buf);
/** KVAT_OK, KVAT_ERR_NOMEM, KVAT_ERR_DATA (the ceiling) or KVAT_ERR_INTERNAL (what was to be written cannot be). */
KVAT_EXTERN kvat_status kvat_buf_status(const kvat_buf *buf, kvat_error *err);
/** Drops `n` bytes from the front. */
KVAT_EXTERN void kvat_buf_consume(kvat_buf *buf, size_t n);

KVAT_EXTERN void kvat_buf_put(kvat_buf *buf, const void *bytes, size_t n);
KVAT_EXTERN void kvat_buf_puts(kvat_buf *buf, const char *text);
KVAT_EXTERN void kvat_buf_putc(kvat_buf *buf, char c);
KVAT_EXTERN void kvat_buf_printf(kvat_buf *buf, const char *format, ...) KVAT_PRINTF(2, 3);

/*
 * Escapers. Each makes `text` (NUL-terminated, any bytes) inert in its sink; NULL is written as nothing. Never to be
 * written as they are: invalid UTF-8, control characters (newline included), noncharacters, and bidirectional,
 * zero-width or otherwise invisible characters. For readers (terminal, HTML, Markdown) they become the visible text
 * `\u{XXXX}`, or `\xNN` for a byte that is not UTF-8. For languages (YAML, JSON, Python) they become the language's own
 * escapes, so that the value stays what it is; a byte that is not UTF-8 becomes what each comment says.
 */
KVAT_EXTERN void kvat_escape_terminal(kvat_buf *out, const char *text);
/** Text and double-quoted attribute values of HTML and SVG. */
KVAT_EXTERN void kvat_escape_html(kvat_buf *out, const char *text);
/** Inline Markdown (CommonMark + tables): punctuation is backslash-escaped where it could mean something, `<`, `&` and
 * blanks at the ends become entities. "qwen2.5-q8_0" stays readable. */
KVAT_EXTERN void kvat_escape_markdown(kvat_buf *out, const char *text);
/** One POSIX shell word, single-quoted when anything but [A-Za-z0-9_@%+=:,./-] occurs or it is empty. Keeps exact
 * bytes, control characters included (a path must stay what it is): for files, not for a terminal. A leading '-' is
 * still an option to the command that gets it; write "./-x" or "--" where that matters. */
KVAT_EXTERN void kvat_escape_shell(kvat_buf *out, const char *text);
/** A double-quoted YAML scalar, quotes included. A byte that is not UTF-8 becomes the text `\xNN`. */
KVAT_EXTERN void kvat_escape_yaml(kvat_buf *out, const char *text);
/** A double-quoted JSON string, quotes included; pure ASCII, and without `</`, `<!--` or `<script`, so that it can
 * stand in an HTML script element. Invalid UTF-8 becomes U+FFFD. */
KVAT_EXTERN void kvat_escape_json(kvat_buf *out, const char *text);
/** A Python string literal, quotes included; pure ASCII. A byte that is not UTF-8 becomes `\udcNN`, as Python itself
 * reads it in a file name. */
KVAT_EXTERN void kvat_escape_python(kvat_buf *out, const char *text);
/** A value of llama.cpp's preset INI, which has no escaping: false (and nothing written) when the text holds '#', ';',
 * a control or invisible character, invalid UTF-8, or leading/trailing blanks. */
KVAT_EXTERN int kvat_escape_ini(kvat_buf *out, const char *text);

/** Columns `text` takes on a terminal (utf8proc widths; invalid bytes count 1). */
KVAT_EXTERN size_t kvat_text_width(const char *text);
/** Appends `text` (already escaped) cut to `columns`, with "…" ("..." unless `unicode`) when something is left out,
 * padded to `columns` when `pad`. */
KVAT_EXTERN void kvat_text_fit(kvat_buf *out, const char *text, size_t columns, int pad, int unicode);

#ifdef __cplusplus
}
#endif
#endif
