/**
 * @file report.h
 * An outcome for people: terminal, Markdown, HTML (self-contained, inline SVG, no script needed), CSV, JSON, and charts
 * as SVG.
 *
 * Pure: an outcome in, bytes out. Everything from outside is escaped for its sink. The same outcome gives the same
 * bytes.
 */
#ifndef KVAT_REPORT_H
#define KVAT_REPORT_H

#include "kvat/outcome.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kvat_terminal_style {
    size_t columns; /**< ≥ 20; 80 when unknown */
    bool color;     /**< ANSI SGR */
    bool unicode;   /**< else ASCII only */
} kvat_terminal_style;

/** The summary at the end of `kvat tune`. `directory` is where the files went, as the user typed it; NULL: none. */
KVAT_EXTERN kvat_status kvat_report_terminal(kvat_buf *out, const kvat_outcome *outcome,
                                             const kvat_terminal_style *style, const char *directory, kvat_error *err);
/** The heading before the race: engine, machine, model, workload, what is raced and what is left out. */
KVAT_EXTERN kvat_status kvat_report_heading(kvat_buf *out, const kvat_outcome *outcome,
                                            const kvat_terminal_style *style, kvat_error *err);
KVAT_EXTERN kvat_status kvat_report_markdown(kvat_buf *out, const kvat_outcome *outcome, kvat_error *err);
KVAT_EXTERN kvat_status kvat_report_html(kvat_buf *out, const kvat_outcome *outcome, kvat_error *err);
KVAT_EXTERN kvat_status kvat_report_csv(kvat_buf *out, const kvat_outcome *outcome, kvat_error *err);
/** "kvat-report/1" (schemas/report.schema.json); new reference. */
KVAT_EXTERN kvat_status kvat_report_json(json_t **out, const kvat_outcome *outcome, kvat_error *err);

typedef enum kvat_chart {
    KVAT_CHART_RANKING,  /**< score with intervals */
    KVAT_CHART_TRADEOFF, /**< TTFT against decode */
    KVAT_CHART_MEMORY,   /**< model, KV, compute, rest */
    KVAT_CHART_DEPTH,    /**< decode speed against depth */
    KVAT_CHART_RACE,     /**< leader, survivors and trials over time */
    KVAT_CHART_COUNT
} kvat_chart;
/** Word used in file names: "ranking", "tradeoff", "memory", "depth", "race". */
KVAT_EXTERN const char *kvat_chart_word(kvat_chart chart);
/** A standalone SVG document; empty (nothing appended) when the outcome has nothing for that chart. */
KVAT_EXTERN kvat_status kvat_report_svg(kvat_buf *out, const kvat_outcome *outcome, kvat_chart chart, kvat_error *err);

#ifdef __cplusplus
}
#endif
#endif
