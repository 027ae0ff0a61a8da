/* Lines on a terminal: wrapped or cut to its columns, in Unicode or ASCII, with or without colour.
 * Must not know what is written. */
#ifndef KVAT_REPORT_TERMINAL_H
#define KVAT_REPORT_TERMINAL_H

#include "report_internal.h"

typedef struct kvat__terminal {
    kvat_buf *out;
    size_t columns;
    bool color, unicode;
} kvat__terminal;

typedef enum kvat__tone { KVAT__PLAIN, KVAT__BOLD, KVAT__DIM, KVAT__GOOD, KVAT__BAD, KVAT__WARN } kvat__tone;

/** Escaped, and in ASCII when the terminal wants that. */
void kvat__term_text(kvat_buf *out, const kvat__terminal *term, const char *raw);
/** Raw text as a paragraph: first line after `indent` blanks, others after `hang`. */
void kvat__term_paragraph(const kvat__terminal *term, kvat__tone tone, size_t indent, size_t hang, const char *raw);
void kvat__term_say(const kvat__terminal *term, kvat__tone tone, size_t indent, size_t hang, const kvat__view *view,
                    kvat__sayer *say);
void kvat__term_blank(const kvat__terminal *term);
/** One cell of a row, cut and padded to `width`; `right` aligns it so. */
void kvat__term_cell(kvat_buf *line, const kvat__terminal *term, const char *raw, size_t width, bool right);
/** A finished line (trailing blanks are dropped); clears it. */
void kvat__term_line(const kvat__terminal *term, kvat__tone tone, kvat_buf *line);

#endif
