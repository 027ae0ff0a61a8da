/* The charts as a table: words, headings, and the SVG around their bodies.
 * Must not know what a body draws. */
#include "report_internal.h"

static const struct {
    const char *word, *title, *caption;
    kvat__chart_body *draw;
} charts[KVAT_CHART_COUNT] = {
    [KVAT_CHART_RANKING] = {"ranking", "Ranking",
                            "Score of each configuration with its 95 % interval against the dashed line; further "
                            "right is better. Hollow: lossy, not judged.",
                            kvat__draw_ranking},
    [KVAT_CHART_TRADEOFF] = {"tradeoff", "Time to first token against decode speed",
                             "Each dot is a configuration; better is up and to the left. Hollow: lossy. Ringed: on the "
                             "Pareto front; a dotted line joins those of them that none beats in both.",
                             kvat__draw_tradeoff},
    [KVAT_CHART_MEMORY] =
        {"memory", "Memory at its peak",
         "What the peak consists of, as the engine breaks it down; the rest is everything else in the process.",
         kvat__draw_memory},
    [KVAT_CHART_DEPTH] = {"depth", "Decode speed against depth",
                          "The longer the prompt, the slower the decoding. Medians with 95 % intervals.",
                          kvat__draw_depth},
    [KVAT_CHART_RACE] = {"race", "The search over time",
                         "Every trial in the order it was made, with how many configurations might still be the best "
                         "and how sure the leader's place was.",
                         kvat__draw_race},
};

const char *kvat_chart_word(kvat_chart chart) {
    return charts[chart].word;
}

const char *kvat__chart_title(kvat_chart chart) {
    return charts[chart].title;
}

const char *kvat__chart_caption(kvat_chart chart) {
    return charts[chart].caption;
}

static void put_opening(kvat_buf *out, kvat_chart chart, double height, bool standalone) {
    const char *word = charts[chart].word;
    if (standalone) kvat_buf_puts(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    kvat_buf_printf(out, "<svg class=\"chart\" xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" viewBox=\"0 0 %d ",
                    (int)KVAT__SVG_WIDTH);
    kvat__put_coordinate(out, height);
    kvat_buf_printf(out, "\" width=\"%d\" height=\"", (int)KVAT__SVG_WIDTH);
    kvat__put_coordinate(out, height);
    kvat_buf_printf(out,
                    "\" aria-labelledby=\"%s-title %s-desc\">\n<title id=\"%s-title\">%s</title>\n"
                    "<desc id=\"%s-desc\">%s</desc>\n",
                    word, word, word, charts[chart].title, word, charts[chart].caption);
    if (standalone)
        kvat_buf_printf(out, "<style>%s%s</style>\n<rect class=\"paper\" width=\"100%%\" height=\"100%%\"/>\n",
                        kvat__svg_colors, kvat__svg_style);
}

kvat_status kvat__chart_put(kvat_buf *out, const kvat__view *view, kvat_chart chart, bool standalone, kvat_error *err) {
    kvat_buf body = KVAT_BUF_INIT;
    double height = charts[chart].draw(&body, view);
    kvat_status status = kvat_buf_status(&body, err);
    if (status == KVAT_OK && height > 0) {
        put_opening(out, chart, height, standalone);
        kvat_buf_put(out, body.bytes, body.length);
        kvat_buf_puts(out, "</svg>\n");
        status = kvat_buf_status(out, err);
    }
    kvat_buf_clear(&body);
    return status;
}

kvat_status kvat_report_svg(kvat_buf *out, const kvat_outcome *outcome, kvat_chart chart, kvat_error *err) {
    kvat__view view = kvat__view_of(outcome);
    if ((unsigned)chart >= KVAT_CHART_COUNT)
        return kvat_fail(err, KVAT_ERR_USAGE, "there is no chart number %d", (int)chart);
    return kvat__chart_put(out, &view, chart, true, err);
}
