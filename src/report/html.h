/* Sections of the HTML report, between the files that write them.
 * Must not be included from outside src/report. */
#ifndef KVAT_REPORT_HTML_H
#define KVAT_REPORT_HTML_H

#include "report_internal.h"

void kvat__html_text(kvat_buf *out, const char *raw);
/** opening, the sentence, closing; nothing when there is nothing to say. */
void kvat__html_say(kvat_buf *out, const char *opening, const kvat__view *view, kvat__sayer *say, const char *closing);
/** A table cell with what `text` holds; clears it. */
void kvat__html_cell(kvat_buf *out, const char *css, kvat_buf *text);

/** A table in a region that scrolls by itself; heads from `first_number` on stand over numbers. */
void kvat__html_open_table(kvat_buf *out, const char *caption, const char *const *heads, size_t first_number);
void kvat__html_close_table(kvat_buf *out);

/** Escapes line by line, so that a script keeps its lines; clears it. */
void kvat__put_script(kvat_buf *out, kvat_buf *script);

/* Each writes a heading and its content, or nothing. */
kvat_status kvat__html_use(kvat_buf *out, const kvat__view *view, kvat_error *err);
void kvat__html_ranking(kvat_buf *out, const kvat__view *view);
void kvat__html_best_per_cell(kvat_buf *out, const kvat__view *view);
void kvat__html_front(kvat_buf *out, const kvat__view *view);
void kvat__html_cells(kvat_buf *out, const kvat__view *view);
void kvat__html_failures(kvat_buf *out, const kvat__view *view);
void kvat__html_left_out(kvat_buf *out, const kvat__view *view);
void kvat__html_method(kvat_buf *out, const kvat__view *view);
void kvat__html_environment(kvat_buf *out, const kvat__view *view);

#endif
