/* What the files of report share: an outcome looked at once, sentences in plain text, numbers, and drawing.
 * Sentences are raw: whoever writes them escapes them for the sink. Must not be included from outside src/report. */
#ifndef KVAT_REPORT_INTERNAL_H
#define KVAT_REPORT_INTERNAL_H

#include <jansson.h>

#include "kvat/report.h"

#define KVAT__REPORT_FORMAT "kvat-report/1"

/* ---- view.c: an outcome looked at once ---- */
typedef struct kvat__view {
    const kvat_outcome *outcome;
    const kvat_entry *winner;     /**< what to use; NULL when nothing works */
    const kvat_entry *fallback;   /**< the default when it works, else NULL */
    const kvat_entry *best;       /**< leader of the search, or NULL */
    const kvat_entry *challenger; /**< whose confirmation it is, or NULL */
    const kvat_entry *lossy;      /**< best unjudged lossy one, or NULL */
    bool confirmed;               /**< the winner was confirmed better on fresh pairs */
    bool gain_known;              /**< pairs were made, and neither side failed */
    size_t n_ranked, n_failed;
} kvat__view;

kvat__view kvat__view_of(const kvat_outcome *outcome);
bool kvat__is_default(const kvat__view *view, const kvat_entry *entry);
/** Entry at that index, or NULL. */
const kvat_entry *kvat__entry_at(const kvat_outcome *outcome, size_t index);
/** First entry of that configuration, or NULL. */
const kvat_entry *kvat__entry_of_config(const kvat_outcome *outcome, size_t config);
size_t kvat__failures(const kvat_entry *entry);
/** Configurations without a trial. */
size_t kvat__untried(const kvat_outcome *outcome);
/** How many entries a list for programs has: up to the last with a trial, and KVAT__ROWS_MOST of those without. */
size_t kvat__entries_listed(const kvat_outcome *outcome);
/** Most rows of a table of what has no figures. */
#define KVAT__ROWS_MOST 100

/** A lossy configuration that may not win is seen with a higher score than what is used. */
bool kvat__outscored(const kvat__view *view);

/** A string or number found in `environment` or one level below it; NULL when absent. */
const json_t *kvat__machine_fact(const kvat_outcome *outcome, const char *name);
const char *kvat__text_member(const json_t *object, const char *member); /**< "" when absent */

/* ---- numbers.c ---- */
/** Fixed decimals, independent of the locale. */
void kvat__put_fixed(kvat_buf *out, double value, int decimals);
void kvat__put_seconds(kvat_buf *out, double seconds);       /**< "7.72 s", "812 ms" */
void kvat__put_rate(kvat_buf *out, double tok_per_s);        /**< "35.6 tok/s" */
void kvat__put_fitted_rate(kvat_buf *out, double tok_per_s); /**< "~35.6 tok/s": kvat__say_fitted() tells why */
/** An interval too wide to mean anything: its value is not written as a number. False without an interval (NaN). */
bool kvat__cannot_tell(kvat_interval interval);
void kvat__put_score(kvat_buf *out, const kvat_entry *entry, bool interval); /**< "121 ±1", or "cannot tell" */
/** "−21.3 % ± 0.9": the wider side of the interval of a logarithm, in per cent. Of one too wide for that, "beyond +40
 * %" when all of it is a gain, else "cannot tell". */
void kvat__put_gain(kvat_buf *out, kvat_interval ln_ratio);
bool kvat__gain_unknown(kvat_interval ln_ratio);     /**< is it "cannot tell"? */
void kvat__put_share(kvat_buf *out, double ratio);   /**< 0.01 → "1 %", 0.005 → "0.5 %" */
void kvat__put_percent(kvat_buf *out, double ratio); /**< a chance: 0.971 → "97 %", 1 → "99 %" */

/** A measured spread: "3.4 %", "over 100 %". */
void kvat__put_noise(kvat_buf *out, double ratio);

/* ---- advice.c: what to do next ---- */
#define KVAT__MUCH_NOISE 0.15

typedef enum kvat__advice {
    KVAT__APPLY,
    KVAT__APPLY_LOSSY, /**< nothing else works */
    KVAT__SMALLER,     /**< nothing works */
    KVAT__CALMER,      /**< most measurements were disturbed */
    KVAT__FEWER,       /**< the search gave up */
    KVAT__MORE_TIME
} kvat__advice;

kvat__advice kvat__advice_of(const kvat__view *view);
/** What charts call the winner: "winner", or less where nothing is decided. */
const char *kvat__winner_word(const kvat__view *view);
void kvat__say_again(kvat_buf *out, const kvat__view *view); /**< the command that measures anew */
/** Nothing where a plan can be applied: where it lies, only the sink knows. */
void kvat__say_next(kvat_buf *out, const kvat__view *view);
void kvat__say_unconfirmed(kvat_buf *out, const kvat__view *view); /**< what the plan is worth; nothing when firm */
void kvat__say_unmeasured_default(kvat_buf *out, const kvat__view *view);
void kvat__say_basis(kvat_buf *out, const kvat__view *view);      /**< why figures and change differ, or nothing */
void kvat__say_probe(kvat_buf *out, const kvat__view *view);      /**< what the noise of the heading is */
void kvat__say_much_noise(kvat_buf *out, const kvat__view *view); /**< the same, only when there is much of it */

/* ---- words.c: whole sentences ---- */
const char *kvat__status_phrase(kvat_trial_status status); /**< "out of memory (host)" */
const char *kvat__state_word(kvat_config_state state);
void kvat__say_verdict(kvat_buf *out, const kvat__view *view);   /**< headline */
void kvat__say_why(kvat_buf *out, const kvat__view *view);       /**< outcome's reason as a sentence, or nothing */
void kvat__say_incumbent(kvat_buf *out, const kvat__view *view); /**< what became of an earlier winner, or nothing */
void kvat__say_subject(kvat_buf *out, const kvat__view *view);   /**< engine · machine · model */
void kvat__say_machine(kvat_buf *out, const kvat__view *view);
void kvat__say_workload(kvat_buf *out, const kvat__view *view);
void kvat__say_space(kvat_buf *out, const kvat__view *view);       /**< what is considered, what is left out */
void kvat__say_noise(kvat_buf *out, const kvat__view *view);       /**< warning; nothing when not noisy */
void kvat__say_remote_code(kvat_buf *out, const kvat__view *view); /**< warning; nothing when none was run */
void kvat__say_quality(kvat_buf *out, const kvat__view *view); /**< lossless or not, and what a lossy one would give */
/** What "~" before a rate means; nothing when no rate has it. */
void kvat__say_fitted(kvat_buf *out, const kvat__view *view);
bool kvat__any_fitted(const kvat_outcome *outcome);
void kvat__say_outscored(kvat_buf *out,
                         const kvat__view *view); /**< why a lossy one with a higher score does not win */
void kvat__say_challenger(kvat_buf *out, const kvat__view *view); /**< what else came near, when the winner is not it */
void kvat__say_cost(kvat_buf *out, const kvat__view *view);
void kvat__say_failures(kvat_buf *out, const kvat_entry *entry); /**< "2 × crash" */
/** "chance of being within 1 %" spelled out. */
void kvat__say_confidence(kvat_buf *out, const kvat__view *view);
/** The command that repeats the run, words quoted for a shell. */
void kvat__say_command(kvat_buf *out, const kvat__view *view);

/* ---- words_cells.c: each cell by itself, the worst of them, the front ---- */
void kvat__put_cell_name(kvat_buf *out, const kvat_cell *cell); /**< "2048 → 256, × 4" */
void kvat__put_chance(kvat_buf *out, double p);                 /**< "87 %", "–" when not known */
/** A loss of score s as the share of the best that is lost: "0.8 % (0.0 to 2.4 %)", "cannot tell", "–". */
void kvat__put_loss(kvat_buf *out, kvat_interval loss);
/** More than one cell, and more than one configuration compared in them. */
bool kvat__has_cells(const kvat__view *view);
const kvat_entry *kvat__best_in_cell(const kvat__view *view, size_t cell); /**< or NULL */
bool kvat__has_front(const kvat__view *view);
bool kvat__on_front(const kvat__view *view, const kvat_entry *entry);
const char *kvat__front_metrics(const kvat__view *view);     /**< "TTFT, decode, memory" */
void kvat__say_cells(kvat_buf *out, const kvat__view *view); /**< each nothing where there is nothing to say */
void kvat__say_regret(kvat_buf *out, const kvat__view *view);
void kvat__say_regret_briefly(kvat_buf *out, const kvat__view *view);
void kvat__say_front(kvat_buf *out, const kvat__view *view);
void kvat__say_per_cell(kvat_buf *out, const kvat__view *view);      /**< how to read the table of cells … */
void kvat__say_what_front_is(kvat_buf *out, const kvat__view *view); /**< … and that of the front */

/** One line of the result: before, after, change. */
typedef struct kvat__metric {
    const char *name;
    char before[48]; /**< "" when there is nothing to compare with */
    char after[48];
    char change[48]; /**< "" when not confirmed */
    bool better, worse;
} kvat__metric;
enum { KVAT__METRICS = 3 };
/** Of the winner. KVAT_ERR_NOMEM. */
kvat_status kvat__metrics_of(kvat__metric metrics[KVAT__METRICS], const kvat__view *view);

/** A finished sentence: appended by `say`, escaped by `escape`. Notes a failure in `out`. */
typedef void kvat__sayer(kvat_buf *out, const kvat__view *view);
/** What every sink warns of at its top, beside the outcome's own warnings; each may have nothing to say. */
enum { KVAT__WARNINGS = 2 };
extern kvat__sayer *const kvat__warnings[KVAT__WARNINGS];
typedef void kvat__escaper(kvat_buf *out, const char *text);
void kvat__say(kvat_buf *out, const kvat__view *view, kvat__sayer *say, kvat__escaper *escape);
/** Escapes what `piece` holds into `out` and clears it, passing its failure on. */
void kvat__put_piece(kvat_buf *out, kvat_buf *piece, kvat__escaper *escape);

/** What `piece` holds, "" for nothing; a failure of it becomes one of `out`. */
const char *kvat__piece(kvat_buf *out, const kvat_buf *piece);

/* ---- svg.c: drawing ---- */
/** Width of every drawing, in its own units. */
#define KVAT__SVG_WIDTH 440.0

typedef struct kvat__axis {
    double low, high; /**< values at the ends */
    double from, to;  /**< places of the ends */
    bool logarithmic;
} kvat__axis;

typedef struct kvat__ticks {
    double at[12];
    size_t n;
    int decimals;
} kvat__ticks;

double kvat__axis_place(const kvat__axis *axis, double value);
/** An axis over [low, high] widened to round values, with at most `most` + 1 ticks. */
kvat__ticks kvat__axis_nice(kvat__axis *axis, size_t most);
/** Ticks at round times for an axis in seconds. */
kvat__ticks kvat__axis_time(const kvat__axis *axis, size_t most);

typedef enum kvat__align { KVAT__START, KVAT__MIDDLE, KVAT__END } kvat__align;

void kvat__svg_line(kvat_buf *out, const char *css, double x1, double y1, double x2, double y2);
void kvat__svg_dot(kvat_buf *out, const char *css, double x, double y, double radius);
void kvat__svg_rect(kvat_buf *out, const char *css, double x, double y, double width, double height);
/** `text` is raw. */
void kvat__svg_text(kvat_buf *out, const char *css, kvat__align align, double x, double y, const char *text);
/** The same, cut to about `width` units with the whole text as tooltip. */
void kvat__svg_label(kvat_buf *out, const char *css, double x, double y, double width, const char *text);
void kvat__svg_title(kvat_buf *out, const char *text); /**< tooltip of the enclosing <g> */
double kvat__svg_text_width(const char *text);         /**< estimate at the size of labels */
/** Gridlines and labels under or beside a plot. */
void kvat__svg_axis_x(kvat_buf *out, const kvat__axis *axis, const kvat__ticks *ticks, double top, double bottom);
void kvat__svg_axis_y(kvat_buf *out, const kvat__axis *axis, const kvat__ticks *ticks, double left, double right);
void kvat__svg_time_x(kvat_buf *out, const kvat__axis *axis, const kvat__ticks *ticks, double top, double bottom);
void kvat__put_coordinate(kvat_buf *out, double value);

/** A chart: body drawn into a buffer, height returned; 0 when the outcome has nothing for it. */
typedef double kvat__chart_body(kvat_buf *out, const kvat__view *view);
kvat__chart_body kvat__draw_ranking, kvat__draw_tradeoff, kvat__draw_memory, kvat__draw_depth, kvat__draw_race;

/** Heading and one-sentence reading of a chart. */
const char *kvat__chart_title(kvat_chart chart);
const char *kvat__chart_caption(kvat_chart chart);
/** One chart; `standalone` brings its own style and XML declaration. Nothing when there is nothing to show. */
kvat_status kvat__chart_put(kvat_buf *out, const kvat__view *view, kvat_chart chart, bool standalone, kvat_error *err);

/** Colours and type of the charts, shared by page and standalone drawings. */
extern const char kvat__svg_style[];
extern const char kvat__svg_colors[];
extern const char kvat__page_style[];

#endif
