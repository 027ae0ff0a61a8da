// What a run says while it goes on, on stderr: one live line on a terminal, else one plain line a trial.
// It must not decide anything: it writes down the events it is given.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "kvat/units.h"

void cli_progress_init(cli_progress *progress, cli_io *io) {
    memset(progress, 0, sizeof *progress);
    progress->io = io;
}

/* ---- pieces ---- */

static const char *separator(bool unicode) {
    return unicode ? " \u00b7 " : ", ";
}

/** "2–4 min", "40–55 s", "1.5–2.1 h": low rounded down, high up, in the unit of high. */
static void put_range(kvat_buf *out, int64_t low_ns, int64_t high_ns, bool unicode) {
    const char *dash = unicode ? "\u2013" : "-", *unit = "s";
    double divisor = (double)KVAT_NS_PER_S;
    if (high_ns >= 7200 * KVAT_NS_PER_S)
        divisor *= 3600, unit = "h";
    else if (high_ns >= 90 * KVAT_NS_PER_S)
        divisor *= 60, unit = "min";
    int digits = *unit == 'h';
    double step = digits ? 10 : 1;
    double low = floor((double)low_ns / divisor * step) / step, high = ceil((double)high_ns / divisor * step) / step;
    if (low <= 0)
        kvat_buf_printf(out, "under %.*f %s", digits, fmax(high, 1), unit);
    else if (low < high)
        kvat_buf_printf(out, "%.*f%s%.*f %s", digits, low, dash, digits, high, unit);
    else
        kvat_buf_printf(out, "%.*f %s", digits, high, unit);
}

/** What is left; a confirmation that was begun ends its least number of pairs beyond the budget. */
static void put_left(kvat_buf *out, const kvat_event *event, bool unicode) {
    if (event->kind == KVAT_EVENT_CONFIRM && event->budget_ns > 0 && event->elapsed_ns > event->budget_ns) {
        kvat_buf_puts(out, "past its budget, finishing the pairs");
        return;
    }
    put_range(out, event->remaining_low_ns, event->remaining_high_ns, unicode);
    kvat_buf_puts(out, " left");
}

/** Share of the run that is over: time spent against the middle of what is left. */
static double share_done(const kvat_event *event) {
    if (event->kind == KVAT_EVENT_CONFIRM && event->pairs > 0) return (double)event->pair / (double)event->pairs;
    if (event->remaining_low_ns < 0 || event->remaining_high_ns < 0 || event->elapsed_ns <= 0) return 0;
    double left = ((double)event->remaining_low_ns + (double)event->remaining_high_ns) / 2;
    return (double)event->elapsed_ns / ((double)event->elapsed_ns + left);
}

static void put_bar(kvat_buf *out, double share, size_t width, bool unicode) {
    if (width == 0) return;
    size_t full = (size_t)(fmin(fmax(share, 0), 1) * (double)width + 0.5);
    if (!unicode) kvat_buf_putc(out, '[');
    for (size_t i = 0; i < width; i++)
        kvat_buf_puts(out, i < full ? (unicode ? "\u2501" : "=") : (unicode ? "\u2500" : " "));
    if (!unicode) kvat_buf_putc(out, ']');
    kvat_buf_puts(out, "  ");
}

/* ---- the live line ---- */

/** How much of the line is shown; tried from the richest on until it fits. */
typedef struct detail {
    size_t bar, label; /* columns; a label of 0 is left out */
    bool head, count, sure;
} detail;

static const detail details[] = {
    {20, 60, true, true, true}, {20, 30, true, true, true},   {20, 20, true, true, true},  {10, 30, true, true, true},
    {10, 16, true, true, true}, {10, 10, true, true, true},   {0, 16, true, true, true},   {0, 16, false, true, true},
    {0, 10, false, true, true}, {0, 12, true, true, false},   {0, 0, true, true, false},   {0, 0, false, true, false},
    {0, 0, false, false, true}, {0, 12, false, false, false}, {0, 0, false, false, false},
};

static void put_label(kvat_buf *out, const char *label, size_t columns, bool unicode) {
    cli_io io = {.unicode = unicode};
    kvat_buf inert = KVAT_BUF_INIT;
    cli_put(&inert, &io, label);
    if (inert.bytes) kvat_text_fit(out, inert.bytes, columns, 0, unicode);
    kvat_buf_clear(&inert);
}

/** How far it came: how many were tried, then how many of them all may still be the best. */
static void put_count(kvat_buf *out, const kvat_event *event) {
    const bool all_tried = event->tried >= event->configs;
    kvat_buf_printf(out, "%zu of %zu %s", all_tried ? event->survivors : event->tried, event->configs,
                    all_tried ? "left" : "tried");
}

/** A share of draws is never certainty, so it is capped. */
static void put_sure(kvat_buf *out, const kvat_event *event, const char *before, const char *after) {
    if (event->p_good > 0)
        kvat_buf_printf(out, "%s%.0f %% sure%s", before, fmin(floor(100 * event->p_good + 1e-9), 99), after);
}

static void put_line(kvat_buf *out, const kvat_event *event, const detail *show, bool unicode) {
    bool confirming = event->kind == KVAT_EVENT_CONFIRM;
    const char *between = separator(unicode);
    if (show->head) kvat_buf_puts(out, confirming ? "confirming  " : "searching  ");
    put_bar(out, share_done(event), show->bar, unicode);
    if (confirming)
        kvat_buf_printf(out, "pair %zu of up to %zu", event->pair, event->pairs);
    else
        kvat_buf_printf(out, "%zu trial%s", event->trial, event->trial == 1 ? "" : "s");
    if (!confirming && show->count && event->configs > 0) {
        kvat_buf_puts(out, between);
        put_count(out, event);
    }
    if (event->leader && show->label > 0) {
        kvat_buf_printf(out, "%sbest ", between);
        put_label(out, event->leader, show->label, unicode);
        if (!confirming && show->sure) put_sure(out, event, " (", ")");
    } else if (!confirming && show->sure) {
        put_sure(out, event, between, "");
    }
    if (event->remaining_high_ns >= 0 && event->remaining_low_ns >= 0) {
        kvat_buf_puts(out, between);
        put_left(out, event, unicode);
    }
}

void cli_progress_line(kvat_buf *out, const kvat_event *event, size_t columns, bool unicode) {
    kvat_buf line = KVAT_BUF_INIT;
    for (size_t i = 0; i < CLI_COUNT(details); i++) {
        kvat_buf_reset(&line);
        put_line(&line, event, &details[i], unicode);
        if (!line.bytes || kvat_text_width(line.bytes) <= columns) break;
    }
    if (line.bytes) kvat_text_fit(out, line.bytes, columns, 0, unicode);
    kvat_buf_clear(&line);
}

/** One column is left free: a character in the last one makes some terminals wrap. */
static void draw(cli_progress *progress, const kvat_event *event) {
    kvat_buf text = KVAT_BUF_INIT;
    kvat_buf_puts(&text, "\r");
    cli_progress_line(&text, event, cli_columns(&progress->io->err) - 1, progress->io->unicode);
    kvat_buf_puts(&text, "\033[K");
    cli_err_buf(progress->io, &text);
    progress->drawn = true;
}

static void draw_stage(cli_progress *progress, const kvat_event *event) {
    const cli_io *io = progress->io;
    kvat_buf text = KVAT_BUF_INIT, shown = KVAT_BUF_INIT;
    cli_put(&shown, io, event->text);
    if (event->total > 0) kvat_buf_printf(&shown, " %.0f %%", 100.0 * (double)event->done / (double)event->total);
    kvat_buf_puts(&text, "\r");
    if (shown.bytes) kvat_text_fit(&text, shown.bytes, cli_columns(&io->err) - 1, 0, io->unicode);
    kvat_buf_puts(&text, "\033[K");
    cli_err_buf(io, &text);
    kvat_buf_clear(&shown);
    progress->drawn = true;
}

void cli_progress_end(cli_progress *progress) {
    if (progress->drawn) cli_err(progress->io, "\r\033[K", 4);
    progress->drawn = false;
}

/* ---- plain lines ---- */

static void put_figures(kvat_buf *out, const kvat_event *event) {
    if (isfinite(event->score)) kvat_buf_printf(out, ", score %.0f", event->score);
    if (isfinite(event->ttft_s) && event->ttft_s > 0) {
        kvat_buf_puts(out, ", TTFT ");
        kvat_put_duration(out, (int64_t)(event->ttft_s * 1e9));
    }
    if (isfinite(event->decode_tok_per_s) && event->decode_tok_per_s > 0) {
        kvat_buf_puts(out, ", ");
        kvat_put_number(out, event->decode_tok_per_s);
        kvat_buf_puts(out, " tok/s");
    }
}

static void put_outlook(kvat_buf *out, const cli_io *io, const kvat_event *event) {
    if (event->kind == KVAT_EVENT_TRIAL && event->configs > 0) {
        kvat_buf_puts(out, "; ");
        put_count(out, event);
    }
    if (event->leader) {
        kvat_buf_puts(out, "; best ");
        cli_put(out, io, event->leader);
        if (event->kind == KVAT_EVENT_TRIAL) put_sure(out, event, " (", ")");
    }
    if (event->remaining_low_ns < 0 || event->remaining_high_ns < 0) return;
    kvat_buf_puts(out, "; ");
    put_left(out, event, io->unicode);
}

static void say_trial(const cli_io *io, const kvat_event *event) {
    kvat_buf line = KVAT_BUF_INIT;
    if (event->kind == KVAT_EVENT_CONFIRM)
        kvat_buf_printf(&line, "confirm pair %zu of up to %zu: ", event->pair, event->pairs);
    else
        kvat_buf_printf(&line, "trial %zu: ", event->trial);
    cli_put(&line, io, event->label);
    if (event->status == KVAT_TRIAL_OK) {
        put_figures(&line, event);
    } else {
        kvat_buf_printf(&line, ": %s", kvat_trial_status_word(event->status));
        if (event->detail && *event->detail) {
            kvat_buf_puts(&line, " (");
            cli_put(&line, io, event->detail);
            kvat_buf_puts(&line, ")");
        }
    }
    put_outlook(&line, io, event);
    kvat_buf_putc(&line, '\n');
    cli_err_buf(io, &line);
}

static void say_estimate(const cli_io *io, const kvat_event *event) {
    kvat_buf line = KVAT_BUF_INIT;
    kvat_buf_puts(&line, "time to an answer: first guess about ");
    kvat_put_duration(&line, event->first_guess_ns);
    kvat_buf_puts(&line, ", likely ");
    kvat_put_duration(&line, event->likely_ns);
    kvat_buf_puts(&line, ", firm ");
    kvat_put_duration(&line, event->firm_ns);
    if (event->budget_ns > 0) {
        kvat_buf_puts(&line, " (budget ");
        kvat_put_duration(&line, event->budget_ns);
        kvat_buf_putc(&line, ')');
    }
    if (line.bytes) cli_say(io, "%s", line.bytes);
    kvat_buf_clear(&line);
}

static void say_heading(cli_progress *progress, const kvat_event *event) {
    const cli_io *io = progress->io;
    kvat_terminal_style style = cli_style(io, &io->err);
    kvat_buf text = KVAT_BUF_INIT;
    if (kvat_report_heading(&text, event->outcome, &style, NULL) == KVAT_OK)
        cli_err_buf(io, &text);
    else
        kvat_buf_clear(&text);
}

/* ---- events ---- */

static void on_trial(cli_progress *progress, const kvat_event *event) {
    const cli_io *io = progress->io;
    progress->trials++;
    if (!io->err.terminal || io->verbosity > 0) {
        cli_progress_end(progress);
        say_trial(io, event);
    }
    if (io->err.terminal) draw(progress, event);
}

static void on_stage(cli_progress *progress, const kvat_event *event) {
    bool news = strncmp(progress->stage, event->text, sizeof progress->stage - 1) != 0;
    snprintf(progress->stage, sizeof progress->stage, "%s", event->text);
    if (progress->io->err.terminal && progress->trials == 0)
        draw_stage(progress, event);
    else if (!progress->io->err.terminal && news && progress->io->verbosity > 0)
        cli_say(progress->io, "%s", event->text);
}

void cli_progress_event(void *user, const kvat_event *event) {
    cli_progress *progress = user;
    const cli_io *io = progress->io;
    bool lasting = event->kind != KVAT_EVENT_TRIAL && event->kind != KVAT_EVENT_CONFIRM &&
                   event->kind != KVAT_EVENT_STAGE && event->kind != KVAT_EVENT_FILE;
    if (event->kind == KVAT_EVENT_WARNING) {
        cli_progress_end(progress);
        cli_warn(io, "%s", event->text);
        return;
    }
    if (event->kind == KVAT_EVENT_FILE) progress->files++;
    if (io->verbosity < 0) return;
    if (lasting) cli_progress_end(progress);
    switch (event->kind) {
    case KVAT_EVENT_HEADING:
        say_heading(progress, event);
        break;
    case KVAT_EVENT_NOTE:
        cli_say(io, "%s", event->text);
        break;
    case KVAT_EVENT_STAGE:
        on_stage(progress, event);
        break;
    case KVAT_EVENT_TRIAL:
    case KVAT_EVENT_CONFIRM:
        on_trial(progress, event);
        break;
    case KVAT_EVENT_ESTIMATE:
        say_estimate(io, event);
        break;
    case KVAT_EVENT_FILE:
        if (io->verbosity > 0) cli_say(io, "wrote %s", event->text);
        break;
    default:
        break;
    }
}
