/* Status words, exit codes, and messages that are always one line of valid UTF-8.
 * Must not know who shows the message, nor print it. */
#include "kvat/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base.h"

#undef kvat_fail /* see there: only for the analyzer */
#undef kvat_fail_errno

int kvat_status_exit_code(kvat_status status) {
    static const int codes[] = {
#define EXIT_CODE(name, exit_code, word) [KVAT_##name] = (exit_code),
        KVAT_STATUS_LIST(EXIT_CODE)
#undef EXIT_CODE
    };
    return (size_t)status < sizeof codes / sizeof *codes ? codes[status] : codes[KVAT_ERR_INTERNAL];
}

const char *kvat_status_word(kvat_status status) {
    static const char *const words[] = {
#define WORD(name, exit_code, word) [KVAT_##name] = (word),
        KVAT_STATUS_LIST(WORD)
#undef WORD
    };
    return (size_t)status < sizeof words / sizeof *words ? words[status] : words[KVAT_ERR_INTERNAL];
}

/* Appends `text` to the message, hidden characters spelled out, leaving `spare` bytes unused; cuts at a character. */
static size_t append_readable(char *message, size_t length, size_t size, size_t spare, const char *text) {
    size_t limit = size - 1 - spare;
    for (size_t n = strlen(text); n > 0;) {
        kvat__glyph glyph = kvat__glyph_at(text, n);
        char spelled[KVAT__SPELLED];
        const char *piece = text;
        size_t piece_length = glyph.length;
        if (glyph.hidden) {
            piece_length = kvat__glyph_spell(spelled, &glyph, (unsigned char)*text);
            piece = spelled;
        }
        if (length + piece_length > limit) break;
        memcpy(message + length, piece, piece_length);
        length += piece_length;
        text += glyph.length;
        n -= glyph.length;
    }
    message[length] = '\0';
    return length;
}

/* Twice a message: every byte here takes at least one there, so that the end of a cut text is never reached. */
typedef struct raw_text {
    char bytes[2 * sizeof((kvat_error *)NULL)->message];
} raw_text;

/* The reason, when there is one, is never what gets cut. `raw` lies apart from `err`, whose old message may be in it.
 */
static kvat_status explain(kvat_error *err, kvat_status status, const raw_text *raw, const char *reason) {
    size_t size = sizeof err->message;
    size_t spare = reason ? strlen(": ") + strlen(reason) : 0;
    size_t length = append_readable(err->message, 0, size, spare < size / 2 ? spare : size / 2, raw->bytes);
    if (reason) {
        length = append_readable(err->message, length, size, 0, ": ");
        append_readable(err->message, length, size, 0, reason);
    }
    err->status = status;
    return status;
}

kvat_status kvat_fail(kvat_error *err, kvat_status status, const char *format, ...) {
    if (!err) return status;
    raw_text raw = {"unknown failure"};
    va_list args;
    va_start(args, format);
    vsnprintf(raw.bytes, sizeof raw.bytes, format, args);
    va_end(args);
    return explain(err, status, &raw, NULL);
}

kvat_status kvat_fail_errno(kvat_error *err, kvat_status status, int errnum, const char *format, ...) {
    if (errnum == ENOMEM) status = KVAT_ERR_NOMEM;
    if (!err) return status;
    raw_text raw = {"unknown failure"};
    va_list args;
    va_start(args, format);
    vsnprintf(raw.bytes, sizeof raw.bytes, format, args);
    va_end(args);
    return explain(err, status, &raw, strerror(errnum));
}

const char *kvat_version(void) {
    return KVAT_VERSION_STRING;
}
