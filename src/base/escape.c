/* One escaper for each kind of output.
 * Must not know what is written, nor by whom. */
#include <string.h>

#include "base.h"

/* Writes the glyph that stands at `at` within `text`. */
typedef void put_glyph(kvat_buf *out, const kvat__glyph *glyph, const char *at, const char *text);

static void put_each(kvat_buf *out, const char *text, put_glyph *put) {
    if (!text) return;
    kvat_buf_put(out, "", 0);
    const char *at = text;
    for (size_t n = strlen(text); n > 0 && out->status == KVAT_OK;) {
        kvat__glyph glyph = kvat__glyph_at(at, n);
        put(out, &glyph, at, text);
        at += glyph.length;
        n -= glyph.length;
    }
}

static void put_quoted(kvat_buf *out, const char *text, put_glyph *put) {
    if (!text) return;
    kvat_buf_putc(out, '"');
    put_each(out, text, put);
    kvat_buf_putc(out, '"');
}

static bool is_alphanumeric(char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static void put_terminal(kvat_buf *out, const kvat__glyph *glyph, const char *at, const char *text) {
    (void)text;
    if (!glyph->hidden) {
        kvat_buf_put(out, at, glyph->length);
        return;
    }
    char spelled[KVAT__SPELLED];
    kvat_buf_put(out, spelled, kvat__glyph_spell(spelled, glyph, (unsigned char)*at));
}

void kvat_escape_terminal(kvat_buf *out, const char *text) {
    put_each(out, text, put_terminal);
}

static void put_html(kvat_buf *out, const kvat__glyph *glyph, const char *at, const char *text) {
    switch (glyph->codepoint) {
    case '&':
        kvat_buf_puts(out, "&amp;");
        break;
    case '<':
        kvat_buf_puts(out, "&lt;");
        break;
    case '>':
        kvat_buf_puts(out, "&gt;");
        break;
    case '"':
        kvat_buf_puts(out, "&quot;");
        break;
    case '\'':
        kvat_buf_puts(out, "&#39;");
        break;
    default:
        put_terminal(out, glyph, at, text);
    }
}

void kvat_escape_html(kvat_buf *out, const char *text) {
    put_each(out, text, put_html);
}

/* "qwen2.5-q8_0" needs no escaping, while "1. x", "www.x", "_x_" and "-x" would mean something. */
static bool is_plain_in_markdown(const char *at, const char *text) {
    static const char harmless[] = " ,;%/?'";
    if (*at == ' ') return at != text && at[1] != '\0';
    if (is_alphanumeric(*at) || strchr(harmless, *at)) return true;
    if (at == text || !is_alphanumeric(at[-1])) return false;
    if (*at == ':') return at[1] == ' '; /* of "name: value", not of an address or an emoji */
    if (!is_alphanumeric(at[1])) return false;
    return *at == '-' || *at == '_' || (*at == '.' && is_digit(at[-1]));
}

static void put_markdown_ascii(kvat_buf *out, char c, bool plain) {
    if (plain)
        kvat_buf_putc(out, c);
    else if (c == '<')
        kvat_buf_puts(out, "&lt;");
    else if (c == '&')
        kvat_buf_puts(out, "&amp;");
    else if (c == ' ')
        kvat_buf_puts(out, "&#32;"); /* blanks at the ends would indent code or break the line */
    else
        kvat_buf_printf(out, "\\%c", c);
}

static void put_markdown(kvat_buf *out, const kvat__glyph *glyph, const char *at, const char *text) {
    if (glyph->hidden) {
        char spelled[KVAT__SPELLED];
        kvat__glyph_spell(spelled, glyph, (unsigned char)*at);
        for (const char *c = spelled; *c; c++) put_markdown_ascii(out, *c, is_alphanumeric(*c));
    } else if (glyph->length > 1) {
        kvat_buf_put(out, at, glyph->length);
    } else {
        put_markdown_ascii(out, *at, is_plain_in_markdown(at, text));
    }
}

void kvat_escape_markdown(kvat_buf *out, const char *text) {
    put_each(out, text, put_markdown);
}

static bool is_plain_in_shell(const char *text) {
    if (*text == '\0') return false;
    for (; *text; text++)
        if (!is_alphanumeric(*text) && !strchr("_@%+=:,./-", *text)) return false;
    return true;
}

void kvat_escape_shell(kvat_buf *out, const char *text) {
    if (!text) return;
    if (is_plain_in_shell(text)) {
        kvat_buf_puts(out, text);
        return;
    }
    kvat_buf_putc(out, '\'');
    for (; *text; text++) {
        if (*text == '\'')
            kvat_buf_puts(out, "'\\''");
        else
            kvat_buf_putc(out, *text);
    }
    kvat_buf_putc(out, '\'');
}

static void put_yaml(kvat_buf *out, const kvat__glyph *glyph, const char *at, const char *text) {
    (void)text;
    if (glyph->codepoint == '"' || glyph->codepoint == '\\')
        kvat_buf_printf(out, "\\%c", *at);
    else if (glyph->codepoint < 0) /* YAML's \xFF would be the character U+00FF */
        kvat_buf_printf(out, "\\\\x%02X", (unsigned char)*at);
    else if (!glyph->hidden)
        kvat_buf_put(out, at, glyph->length);
    else if (glyph->codepoint <= 0xFF)
        kvat_buf_printf(out, "\\x%02X", (unsigned)glyph->codepoint);
    else if (glyph->codepoint <= 0xFFFF)
        kvat_buf_printf(out, "\\u%04X", (unsigned)glyph->codepoint);
    else
        kvat_buf_printf(out, "\\U%08X", (unsigned)glyph->codepoint);
}

void kvat_escape_yaml(kvat_buf *out, const char *text) {
    put_quoted(out, text, put_yaml);
}

static void put_python(kvat_buf *out, const kvat__glyph *glyph, const char *at, const char *text) {
    (void)text;
    if (glyph->codepoint == '"' || glyph->codepoint == '\\')
        kvat_buf_printf(out, "\\%c", *at);
    else if (glyph->codepoint < 0) /* how Python itself spells a byte of a file name that is not UTF-8 */
        kvat_buf_printf(out, "\\udc%02x", (unsigned char)*at);
    else if (!glyph->hidden && glyph->length == 1)
        kvat_buf_putc(out, *at);
    else if (glyph->codepoint <= 0xFF)
        kvat_buf_printf(out, "\\x%02x", (unsigned)glyph->codepoint);
    else if (glyph->codepoint <= 0xFFFF)
        kvat_buf_printf(out, "\\u%04x", (unsigned)glyph->codepoint);
    else
        kvat_buf_printf(out, "\\U%08x", (unsigned)glyph->codepoint);
}

void kvat_escape_python(kvat_buf *out, const char *text) {
    put_quoted(out, text, put_python);
}

/* The start of a tag or comment: JSON inside an HTML script element must not hold one. */
static bool opens_markup(const char *at, size_t n) {
    return n > 1 && at[0] == '<' && (at[1] == '/' || at[1] == '!' || at[1] == '?' || is_alphanumeric(at[1]));
}

static void put_json_units(kvat_buf *out, int32_t c) {
    if (c < 0) c = 0xFFFD;
    if (c <= 0xFFFF) {
        kvat_buf_printf(out, "\\u%04x", (unsigned)c);
    } else {
        unsigned beyond = (unsigned)c - 0x10000u;
        kvat_buf_printf(out, "\\u%04x\\u%04x", 0xD800u + (beyond >> 10), 0xDC00u + (beyond & 0x3FFu));
    }
}

static void put_json_glyph(kvat_buf *out, const kvat__glyph *glyph, const char *at, size_t n, bool ascii) {
    if (glyph->codepoint == '"' || glyph->codepoint == '\\')
        kvat_buf_printf(out, "\\%c", *at);
    else if (glyph->codepoint == '\n')
        kvat_buf_puts(out, "\\n");
    else if (glyph->codepoint == '\t')
        kvat_buf_puts(out, "\\t");
    else if (glyph->hidden || (ascii && glyph->length > 1) || opens_markup(at, n))
        put_json_units(out, glyph->codepoint);
    else
        kvat_buf_put(out, at, glyph->length);
}

void kvat__put_json_string(kvat_buf *out, const char *text, size_t n, bool ascii) {
    kvat_buf_putc(out, '"');
    while (n > 0 && out->status == KVAT_OK) {
        kvat__glyph glyph = kvat__glyph_at(text, n);
        put_json_glyph(out, &glyph, text, n, ascii);
        text += glyph.length;
        n -= glyph.length;
    }
    kvat_buf_putc(out, '"');
}

void kvat_escape_json(kvat_buf *out, const char *text) {
    if (text) kvat__put_json_string(out, text, strlen(text), true);
}

int kvat_escape_ini(kvat_buf *out, const char *text) {
    if (!text) return 1;
    size_t n = strlen(text);
    if (n > 0 && (*text == ' ' || text[n - 1] == ' ')) return 0;
    for (size_t i = 0; i < n;) {
        kvat__glyph glyph = kvat__glyph_at(text + i, n - i);
        if (glyph.hidden || glyph.codepoint == '#' || glyph.codepoint == ';') return 0;
        i += glyph.length;
    }
    kvat_buf_puts(out, text);
    return 1;
}
