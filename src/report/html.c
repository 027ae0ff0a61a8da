/* The report as one HTML file: no script, nothing loaded from anywhere, everything from outside escaped.
 * Must not know how charts are drawn. */
#include "html.h"

#include <string.h>

void kvat__html_text(kvat_buf *out, const char *raw) {
    kvat_escape_html(out, raw);
}

/* A number keeps its per cent sign when a line breaks. */
static void escape_sentence(kvat_buf *out, const char *text) {
    kvat_buf tied = KVAT_BUF_INIT;
    for (; *text; text++) {
        bool percent = text[0] == ' ' && text[1] == '%';
        kvat_buf_puts(&tied, percent ? "\u00a0" : (char[]){*text, '\0'});
    }
    kvat__put_piece(out, &tied, kvat_escape_html);
}

void kvat__html_say(kvat_buf *out, const char *opening, const kvat__view *view, kvat__sayer *say, const char *closing) {
    kvat_buf text = KVAT_BUF_INIT;
    say(&text, view);
    bool said = *kvat__piece(out, &text) != '\0';
    if (said) kvat_buf_puts(out, opening);
    kvat__put_piece(out, &text, escape_sentence);
    if (said) kvat_buf_puts(out, closing);
}

void kvat__html_cell(kvat_buf *out, const char *css, kvat_buf *text) {
    kvat_buf_printf(out, "<td class=\"%s\">", css);
    kvat__put_piece(out, text, kvat_escape_html);
    kvat_buf_puts(out, "</td>");
}

void kvat__put_script(kvat_buf *out, kvat_buf *script) {
    for (char *line = *kvat__piece(out, script) ? script->bytes : NULL; line && *line;) {
        char *end = strchr(line, '\n');
        if (end) *end = '\0';
        kvat_escape_html(out, line);
        kvat_buf_putc(out, '\n');
        line = end ? end + 1 : NULL;
    }
    kvat_buf_clear(script);
}

/* ---- top ---- */
static void put_head(kvat_buf *out, const kvat__view *view) {
    kvat_buf_puts(
        out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
             "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
             "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
             "<meta name=\"referrer\" content=\"no-referrer\">\n<meta name=\"color-scheme\" content=\"light dark\">\n"
             "<title>kvat report: ");
    kvat__html_text(out, view->outcome->model_name);
    kvat_buf_puts(out, "</title>\n<style>\n");
    kvat_buf_puts(out, kvat__svg_colors);
    kvat_buf_puts(out, kvat__svg_style);
    kvat_buf_puts(out, kvat__page_style);
    kvat_buf_puts(out, "</style>\n</head>\n<body>\n<main>\n");
}

static void put_warnings(kvat_buf *out, const kvat__view *view) {
    for (size_t i = 0; i < KVAT__WARNINGS; i++)
        kvat__html_say(out, "<p class=\"warning\" role=\"note\"><strong>Warning.</strong> ", view, kvat__warnings[i],
                       "</p>\n");
    for (size_t i = 0; i < view->outcome->n_warnings; i++) {
        kvat_buf_puts(out, "<p class=\"warning\" role=\"note\"><strong>Warning.</strong> ");
        kvat__html_text(out, view->outcome->warnings[i]);
        kvat_buf_puts(out, "</p>\n");
    }
}

static void put_headline(kvat_buf *out, const kvat__view *view) {
    kvat_buf_puts(out, "<header>\n<p class=\"kicker\">kvat report");
    if (view->outcome->created_utc && *view->outcome->created_utc) {
        kvat_buf_puts(out, " · ");
        kvat__html_text(out, view->outcome->created_utc);
    }
    if (view->outcome->virtual_clock) kvat_buf_puts(out, " · simulated, on a virtual clock");
    kvat_buf_puts(out, "</p>\n");
    put_warnings(out, view);
    kvat__html_say(out, "<h1>", view, kvat__say_verdict, "</h1>\n");
    kvat__html_say(out, "<p class=\"subject\">", view, kvat__say_subject, "</p>\n");
    kvat__html_say(out, "<p class=\"subject\">", view, kvat__say_workload, "</p>\n");
    kvat_buf_puts(out, "</header>\n");
}

static void put_tile(kvat_buf *out, const kvat__metric *metric) {
    kvat_buf_printf(out, "<li><span class=\"name\">%s</span> <span class=\"after\">%s</span>", metric->name,
                    *metric->after ? metric->after : "not known");
    if (*metric->before) kvat_buf_printf(out, " <span class=\"before\">default %s</span>", metric->before);
    if (*metric->change)
        kvat_buf_printf(out, " <span class=\"change%s\">%s</span>",
                        metric->better  ? " good"
                        : metric->worse ? " worse"
                                        : "",
                        metric->change);
    kvat_buf_puts(out, "</li>\n");
}

static void put_score_tile(kvat_buf *out, const kvat__view *view) {
    kvat_buf_puts(out, "<li><span class=\"name\">score</span> <span class=\"after\">");
    kvat__put_score(out, view->winner, true);
    kvat_buf_printf(out, "</span> <span class=\"before\">%s 100</span>", view->fallback ? "default" : "reference");
    if (view->confirmed) {
        bool good = view->outcome->confirmation.score.low > 0;
        kvat_buf_printf(out, " <span class=\"change%s\">", good ? " good" : "");
        kvat__put_gain(out, view->outcome->confirmation.score);
        kvat_buf_puts(out, "</span>");
    }
    kvat_buf_puts(out, "</li>\n");
}

static kvat_status put_tiles(kvat_buf *out, const kvat__view *view, kvat_error *err) {
    kvat__metric metrics[KVAT__METRICS];
    if (!view->winner) return KVAT_OK;
    kvat_status status = kvat__metrics_of(metrics, view);
    if (status != KVAT_OK) return kvat_fail(err, status, "cannot allocate the report");
    kvat_buf_puts(out, "<ul class=\"tiles\">\n");
    for (size_t i = 0; i < KVAT__METRICS; i++) put_tile(out, &metrics[i]);
    put_score_tile(out, view);
    kvat_buf_puts(out, "</ul>\n");
    return KVAT_OK;
}

static void put_sentences(kvat_buf *out, const kvat__view *view) {
    kvat__html_say(out, "<p>", view, kvat__say_basis, "</p>\n");
    kvat__html_say(out, "<p>", view, kvat__say_unmeasured_default, "</p>\n");
    kvat__html_say(out, "<p><strong>", view, kvat__say_why, "</strong></p>\n");
    kvat__html_say(out, "<p>", view, kvat__say_incumbent, "</p>\n");
    kvat__html_say(out, "<p>", view, kvat__say_challenger, "</p>\n");
    kvat__html_say(out, "<p>", view, kvat__say_confidence, "</p>\n");
    kvat__html_say(out, "<p>", view, kvat__say_quality, "</p>\n");
    kvat__html_say(out, "<p>", view, kvat__say_next, "</p>\n");
}

/* ---- charts ---- */
static kvat_status put_chart(kvat_buf *out, const kvat__view *view, kvat_chart chart, kvat_error *err) {
    kvat_buf drawing = KVAT_BUF_INIT;
    kvat_status status = kvat__chart_put(&drawing, view, chart, false, err);
    if (status == KVAT_OK && drawing.length > 0) {
        kvat_buf_printf(out, "<figure id=\"%s\">\n<figcaption><h3>%s</h3><p>%s</p></figcaption>\n",
                        kvat_chart_word(chart), kvat__chart_title(chart), kvat__chart_caption(chart));
        kvat_buf_put(out, drawing.bytes, drawing.length);
        kvat_buf_puts(out, "</figure>\n");
    }
    kvat_buf_clear(&drawing);
    return status;
}

static kvat_status put_charts(kvat_buf *out, const kvat__view *view, kvat_error *err) {
    kvat_status status = KVAT_OK;
    if (view->outcome->n_race == 0) return KVAT_OK;
    kvat_buf_puts(out, "<h2>In pictures</h2>\n<div class=\"charts\">\n");
    for (int chart = 0; chart < KVAT_CHART_COUNT && status == KVAT_OK; chart++)
        status = put_chart(out, view, (kvat_chart)chart, err);
    kvat_buf_puts(out, "</div>\n");
    return status;
}

kvat_status kvat_report_html(kvat_buf *out, const kvat_outcome *outcome, kvat_error *err) {
    kvat__view view = kvat__view_of(outcome);
    put_head(out, &view);
    put_headline(out, &view);
    kvat_status status = put_tiles(out, &view, err);
    if (status != KVAT_OK) return status;
    put_sentences(out, &view);
    if (!view.winner) kvat__html_failures(out, &view); /* then they are the answer */
    status = kvat__html_use(out, &view, err);
    if (status == KVAT_OK) status = put_charts(out, &view, err);
    if (status != KVAT_OK) return status;
    kvat__html_ranking(out, &view);
    kvat__html_front(out, &view);
    kvat__html_best_per_cell(out, &view);
    kvat__html_cells(out, &view);
    if (view.winner) kvat__html_failures(out, &view);
    kvat__html_left_out(out, &view);
    kvat__html_method(out, &view);
    kvat__html_environment(out, &view);
    kvat_buf_printf(out,
                    "<footer><p>Written by kvat %s. This file loads nothing and runs nothing; it can be passed on as "
                    "it is.</p></footer>\n"
                    "</main>\n</body>\n</html>\n",
                    kvat_version());
    return kvat_buf_status(out, err);
}
