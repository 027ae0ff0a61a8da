/* Characters of texts that may hold anything: which may be shown, how wide they are, how to cut them.
 * Must not know the sinks that text is written to. */
#include <stdio.h>
#include <string.h>

#include <utf8proc.h>

#include "base.h"

static bool is_noncharacter(int32_t c) {
    return (c & 0xFFFE) == 0xFFFE || (c >= 0xFDD0 && c <= 0xFDEF);
}

/* Controls, separators that break lines, direction marks, joiners, fillers: nothing a reader could see. */
static bool is_hidden(int32_t c) {
    if (c < 0x80) return c < 0x20 || c == 0x7F;
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return true;
    default:
        return is_noncharacter(c) || utf8proc_get_property(c)->ignorable;
    }
}

kvat__glyph kvat__glyph_at(const char *bytes, size_t n) {
    int32_t codepoint = -1;
    utf8proc_ssize_t length =
        utf8proc_iterate((const utf8proc_uint8_t *)bytes, n > 4 ? 4 : (utf8proc_ssize_t)n, &codepoint);
    if (length <= 0) return (kvat__glyph){.codepoint = -1, .length = 1, .hidden = true};
    return (kvat__glyph){.codepoint = codepoint, .length = (size_t)length, .hidden = is_hidden(codepoint)};
}

size_t kvat__glyph_spell(char text[KVAT__SPELLED], const kvat__glyph *glyph, unsigned char byte) {
    int length = glyph->codepoint < 0 ? snprintf(text, KVAT__SPELLED, "\\x%02X", byte)
                                      : snprintf(text, KVAT__SPELLED, "\\u{%04X}", (unsigned)glyph->codepoint);
    return length > 0 ? (size_t)length : 0;
}

static size_t width_of(const kvat__glyph *glyph) {
    if (glyph->codepoint < 0) return 1;
    int width = utf8proc_charwidth(glyph->codepoint);
    return width > 0 ? (size_t)width : 0;
}

size_t kvat_text_width(const char *text) {
    size_t columns = 0;
    for (size_t n = text ? strlen(text) : 0; n > 0;) {
        kvat__glyph glyph = kvat__glyph_at(text, n);
        columns += width_of(&glyph);
        text += glyph.length;
        n -= glyph.length;
    }
    return columns;
}

/* Bytes of the longest front part that takes at most `*columns`, which becomes what it does take. */
static size_t front_that_fits(const char *text, size_t *columns) {
    size_t used = 0;
    size_t bytes = 0;
    for (size_t n = strlen(text); n > bytes;) {
        kvat__glyph glyph = kvat__glyph_at(text + bytes, n - bytes);
        if (used + width_of(&glyph) > *columns) break;
        used += width_of(&glyph);
        bytes += glyph.length;
    }
    *columns = used;
    return bytes;
}

void kvat_text_fit(kvat_buf *out, const char *text, size_t columns, int pad, int unicode) {
    if (!text) text = "";
    size_t used = kvat_text_width(text);
    if (used <= columns) {
        kvat_buf_puts(out, text);
    } else {
        const char *mark = unicode ? "…" : "...";
        size_t mark_columns = unicode ? 1 : 3;
        if (mark_columns > columns) mark_columns = columns;
        used = columns - mark_columns;
        kvat_buf_put(out, text, front_that_fits(text, &used));
        if (mark_columns > 0) kvat_buf_put(out, mark, unicode ? strlen(mark) : mark_columns);
        used += mark_columns;
    }
    if (pad)
        for (; used < columns && out->status == KVAT_OK; used++) kvat_buf_putc(out, ' ');
}
