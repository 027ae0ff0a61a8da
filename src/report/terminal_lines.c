/* Lines on a terminal: wrapped or cut to its columns, in Unicode or ASCII, with or without colour.
 * Must not know what is written. */
#include <string.h>

#include "terminal.h"

static const char *const tones[] = {"", "\033[1m", "\033[2m", "\033[32m", "\033[31m", "\033[33m"};

/* ---- ASCII ---- */
static const struct {
    const char *glyph, *ascii;
} spelled[] = {
    {"→", "->"}, {"−", "-"}, {"±", "+/-"}, {"·", "|"},  {"…", "..."}, {"–", "-"},
    {"—", "-"},  {"×", "x"}, {"≥", ">="},  {"≤", "<="}, {"÷", "/"},
};

static size_t glyph_length(const char *at) {
    size_t n = 1;
    while (((unsigned char)at[n] & 0xC0) == 0x80) n++;
    return n;
}

/* One character beyond ASCII: spelled if it is one of ours, else a question mark for each. */
static void put_ascii(kvat_buf *out, const char *at, size_t n) {
    for (size_t i = 0; i < sizeof spelled / sizeof *spelled; i++) {
        if (strlen(spelled[i].glyph) != n || memcmp(spelled[i].glyph, at, n) != 0) continue;
        kvat_buf_puts(out, spelled[i].ascii);
        return;
    }
    kvat_buf_putc(out, '?');
}

static void to_ascii(kvat_buf *out, const char *text) {
    while (*text) {
        size_t n = glyph_length(text);
        if (n == 1 && (unsigned char)*text < 0x80)
            kvat_buf_putc(out, *text);
        else
            put_ascii(out, text, n);
        text += n;
    }
}

void kvat__term_text(kvat_buf *out, const kvat__terminal *term, const char *raw) {
    kvat_buf escaped = KVAT_BUF_INIT;
    kvat_escape_terminal(&escaped, raw);
    kvat__put_piece(out, &escaped, term->unicode ? kvat_buf_puts : to_ascii);
}

/* ---- lines ---- */
void kvat__term_line(const kvat__terminal *term, kvat__tone tone, kvat_buf *line) {
    bool painted = term->color && tone != KVAT__PLAIN;
    size_t n = strlen(kvat__piece(term->out, line));
    while (n > 0 && line->bytes[n - 1] == ' ') n--;
    if (painted && n > 0) kvat_buf_puts(term->out, tones[tone]);
    if (n > 0) kvat_buf_put(term->out, line->bytes, n);
    if (painted && n > 0) kvat_buf_puts(term->out, "\033[0m");
    kvat_buf_putc(term->out, '\n');
    kvat_buf_clear(line);
}

void kvat__term_blank(const kvat__terminal *term) {
    kvat_buf_putc(term->out, '\n');
}

static void put_blanks(kvat_buf *out, size_t n) {
    while (n-- > 0) kvat_buf_putc(out, ' ');
}

void kvat__term_cell(kvat_buf *line, const kvat__terminal *term, const char *raw, size_t width, bool right) {
    kvat_buf text = KVAT_BUF_INIT;
    kvat__term_text(&text, term, raw);
    const char *shown = kvat__piece(term->out, &text);
    size_t used = kvat_text_width(shown);
    if (right && used < width) put_blanks(line, width - used);
    kvat_text_fit(line, shown, right && used < width ? used : width, !right, term->unicode);
    kvat_buf_clear(&text);
}

/* ---- paragraphs ---- */
typedef struct wrapping {
    const kvat__terminal *term;
    kvat__tone tone;
    size_t hang, used;
    bool fresh; /**< nothing but the indent is on the line */
    kvat_buf line;
} wrapping;

static void break_line(wrapping *w) {
    kvat__term_line(w->term, w->tone, &w->line);
    put_blanks(&w->line, w->hang);
    w->used = w->hang;
    w->fresh = true;
}

/* Bytes of the longest front of `word` that takes at most `columns`, at least one character. */
static size_t front_bytes(const char *word, size_t n, size_t columns) {
    size_t bytes = 0;
    char cut[8];
    for (size_t used = 0; bytes < n;) {
        size_t length = glyph_length(word + bytes);
        if (length >= sizeof cut) length = 1;
        memcpy(cut, word + bytes, length);
        cut[length] = '\0';
        used += kvat_text_width(cut);
        if (bytes > 0 && used > columns) break;
        bytes += length;
    }
    return bytes;
}

static size_t width_of(kvat_buf *out, const char *word, size_t n) {
    kvat_buf copy = KVAT_BUF_INIT;
    kvat_buf_put(&copy, word, n);
    size_t width = kvat_text_width(kvat__piece(out, &copy));
    kvat_buf_clear(&copy);
    return width;
}

static void add_word(wrapping *w, const char *word, size_t n) {
    size_t width = width_of(w->term->out, word, n), columns = w->term->columns;
    if (!w->fresh && w->used + 1 + width > columns) break_line(w);
    if (!w->fresh) {
        kvat_buf_putc(&w->line, ' ');
        w->used++;
    }
    while (w->used + width > columns && columns > w->used) { /* longer than a line */
        size_t front = front_bytes(word, n, columns - w->used);
        if (front >= n) break;
        kvat_buf_put(&w->line, word, front);
        break_line(w);
        word += front;
        n -= front;
        width = width_of(w->term->out, word, n);
    }
    kvat_buf_put(&w->line, word, n);
    w->used += width;
    w->fresh = false;
}

/* Bytes of a blank and of what must follow it on the same line, 0 when a line may break there. */
static size_t glue_at(const char *blank) {
    static const char *const glue[] = {" %", " ± ", " +/- "};
    for (size_t i = 0; i < sizeof glue / sizeof *glue; i++)
        if (strncmp(blank, glue[i], strlen(glue[i])) == 0) return strlen(glue[i]);
    return 0;
}

/* Bytes up to where a line may break: a number keeps its per cent sign and its spread. */
static size_t word_length(const char *at) {
    size_t n = strcspn(at, " ");
    for (size_t glue; (glue = glue_at(at + n)) > 0;) {
        n += glue;
        n += strcspn(at + n, " ");
    }
    return n;
}

void kvat__term_paragraph(const kvat__terminal *term, kvat__tone tone, size_t indent, size_t hang, const char *raw) {
    kvat_buf text = KVAT_BUF_INIT;
    wrapping w = {.term = term, .tone = tone, .hang = hang, .used = indent, .fresh = true, .line = KVAT_BUF_INIT};
    kvat__term_text(&text, term, raw);
    put_blanks(&w.line, indent);
    for (const char *at = kvat__piece(term->out, &text); *at;) {
        size_t n = word_length(at);
        if (n > 0) add_word(&w, at, n);
        at += n + (at[n] == ' ');
    }
    if (!w.fresh) kvat__term_line(term, tone, &w.line);
    kvat_buf_clear(&w.line);
    kvat_buf_clear(&text);
}

void kvat__term_say(const kvat__terminal *term, kvat__tone tone, size_t indent, size_t hang, const kvat__view *view,
                    kvat__sayer *say) {
    kvat_buf sentence = KVAT_BUF_INIT;
    say(&sentence, view);
    const char *said = kvat__piece(term->out, &sentence);
    if (*said) kvat__term_paragraph(term, tone, indent, hang, said);
    kvat_buf_clear(&sentence);
}
