/* What is said of the cells of a workload by themselves, of the worst of them, and of the Pareto front.
 * Must not know any sink: nothing is escaped here. */
#include <math.h>
#include <string.h>

#include "kvat/plan.h"
#include "report_internal.h"

void kvat__put_cell_name(kvat_buf *out, const kvat_cell *cell) {
    kvat_buf_printf(out, "%lld → %lld", (long long)cell->prompt_tokens, (long long)cell->output_tokens);
    if (cell->sequences > 1) kvat_buf_printf(out, ", × %lld", (long long)cell->sequences);
}

void kvat__put_chance(kvat_buf *out, double p) {
    if (isfinite(p))
        kvat__put_percent(out, p);
    else
        kvat_buf_puts(out, "–");
}

/* Logarithms as the share of the best that is lost. */
static double lost(double loss) {
    return -100 * expm1(-loss);
}

static bool too_wide(kvat_interval loss) {
    return kvat__cannot_tell((kvat_interval){exp(loss.value), exp(loss.low), exp(loss.high)});
}

void kvat__put_loss(kvat_buf *out, kvat_interval loss) {
    if (!isfinite(loss.value)) {
        kvat_buf_puts(out, "–");
        return;
    }
    if (too_wide(loss)) {
        kvat_buf_puts(out, "cannot tell");
        return;
    }
    kvat__put_fixed(out, lost(loss.value), 1);
    kvat_buf_puts(out, " %");
    if (!isfinite(loss.high)) return;
    const bool none = lost(loss.low) < 0.05; /* 0 is no knowledge, it is where losses begin */
    kvat_buf_puts(out, none ? " (up to " : " (");
    if (!none) kvat__put_fixed(out, lost(loss.low), 1);
    if (!none) kvat_buf_puts(out, " to ");
    kvat__put_fixed(out, lost(loss.high), 1);
    kvat_buf_puts(out, " %)");
}

bool kvat__has_cells(const kvat__view *view) {
    const kvat_outcome *outcome = view->outcome;
    return view->winner && view->winner->cells && outcome->profile && outcome->profile->n_cells > 1 &&
           outcome->winner_by_cell_n == outcome->profile->n_cells && kvat_outcome_compared(outcome) > 1;
}

const kvat_entry *kvat__best_in_cell(const kvat__view *view, size_t cell) {
    const kvat_outcome *outcome = view->outcome;
    return cell < outcome->winner_by_cell_n ? kvat__entry_at(outcome, outcome->winner_by_cell[cell]) : NULL;
}

static const char *name_in(const kvat__view *view, const kvat_entry *entry) {
    if (kvat__is_default(view, entry)) return "the default";
    if (entry == view->winner) return "this one";
    return entry->label ? entry->label : "?";
}

static const char *own_name(const kvat__view *view) {
    return name_in(view, view->winner);
}

/* ---- best per cell; where nothing ran twice, sentences say nothing: tables have the estimates ---- */

/** The cells whose best is `entry`, how much the winner loses there at most, and the lowest chance of `entry`. */
typedef struct share_of_cells {
    size_t n;
    double loss, p_good;
} share_of_cells;

static share_of_cells share_of(const kvat__view *view, const kvat_entry *entry) {
    share_of_cells share = {0, NAN, NAN};
    for (size_t c = 0; c < view->outcome->winner_by_cell_n; c++) {
        if (kvat__best_in_cell(view, c) != entry || !entry->cells) continue;
        share.n++;
        share.loss = fmax(share.loss, view->winner->cells[c].loss.value); /* a number over NaN */
        share.p_good = fmin(share.p_good, entry->cells[c].p_good);
    }
    return share;
}

/* The other with most cells, of equals the one ranked first. */
static const kvat_entry *main_other(const kvat__view *view) {
    const kvat_entry *other = NULL;
    size_t most = 0;
    for (size_t i = 0; i < view->outcome->n_entries; i++) {
        const kvat_entry *entry = &view->outcome->entries[i];
        if (entry == view->winner) continue;
        const size_t n = share_of(view, entry).n;
        if (n > most) other = entry;
        if (n > most) most = n;
    }
    return other;
}

static void say_own(kvat_buf *out, const kvat__view *view, share_of_cells own, size_t n) {
    kvat_buf_printf(out, "Best per cell: %s in ", own_name(view));
    if (own.n == 0 || own.n == n)
        kvat_buf_printf(out, own.n ? "all %zu" : "none of %zu", n);
    else
        kvat_buf_printf(out, "%zu of %zu", own.n, n);
    if (own.n == 0 || !isfinite(own.p_good)) return;
    kvat_buf_puts(out, own.n > 1 ? " (each at least " : " (");
    kvat__put_percent(out, own.p_good);
    kvat_buf_puts(out, " sure)");
}

void kvat__say_cells(kvat_buf *out, const kvat__view *view) {
    if (!kvat__has_cells(view) || !isfinite(view->winner->cells[0].p_good)) return;
    const size_t n = view->outcome->winner_by_cell_n;
    const share_of_cells own = share_of(view, view->winner);
    const kvat_entry *other = main_other(view);
    say_own(out, view, own, n);
    if (other) {
        const share_of_cells theirs = share_of(view, other);
        kvat_buf_printf(out, "; %s in %zu", name_in(view, other), theirs.n);
        if (theirs.loss > 0) {
            kvat_buf_printf(out, ", where %s loses %s", own_name(view), theirs.n > 1 ? "up to " : "");
            kvat__put_fixed(out, lost(theirs.loss), 1);
            kvat_buf_puts(out, " %");
        }
        if (own.n + theirs.n < n) kvat_buf_printf(out, "; others in %zu", n - own.n - theirs.n);
    }
    kvat_buf_putc(out, '.');
}

/* ---- the worst cell ---- */

static void say_loss(kvat_buf *out, const kvat__view *view, const kvat_entry *entry) {
    kvat__put_loss(out, entry->worst_loss);
    kvat_buf_puts(out, " behind the best");
    if (entry->worst_cell >= view->outcome->profile->n_cells || !(entry->worst_loss.value > 0)) return;
    kvat_buf_puts(out, " at ");
    kvat__put_cell_name(out, &view->outcome->profile->cells[entry->worst_cell]);
}

void kvat__say_regret(kvat_buf *out, const kvat__view *view) {
    const kvat_entry *least = kvat__entry_at(view->outcome, view->outcome->smallest_worst_loss);
    if (!kvat__has_cells(view) || !least || !isfinite(least->p_least)) return;
    if (too_wide(least->worst_loss)) {
        kvat_buf_puts(out, "Least regret in the worst cell: cannot tell.");
        return;
    }
    kvat_buf_printf(out, "Least regret in the worst cell: %s, ", name_in(view, least));
    say_loss(out, view, least);
    kvat_buf_puts(out, "; ");
    kvat__put_percent(out, least->p_least);
    kvat_buf_puts(out, " sure");
    if (least != view->winner && isfinite(view->winner->worst_loss.value)) {
        kvat_buf_printf(out, ". %s: ", kvat__is_default(view, view->winner) ? "The default" : "This one");
        say_loss(out, view, view->winner);
    }
    kvat_buf_putc(out, '.');
}

/* Said already where it is the best in every cell. */
void kvat__say_regret_briefly(kvat_buf *out, const kvat__view *view) {
    const bool everywhere = kvat__has_cells(view) &&
                            kvat__entry_at(view->outcome, view->outcome->smallest_worst_loss) == view->winner &&
                            share_of(view, view->winner).n == view->outcome->winner_by_cell_n;
    if (!everywhere) kvat__say_regret(out, view);
}

/* ---- the front ---- */

bool kvat__has_front(const kvat__view *view) {
    return view->outcome->n_front > 0 && kvat_outcome_compared(view->outcome) > 1;
}

const char *kvat__front_metrics(const kvat__view *view) {
    return view->outcome->mixed_sources ? "TTFT, decode" : "TTFT, decode, memory";
}

bool kvat__on_front(const kvat__view *view, const kvat_entry *entry) {
    for (size_t i = 0; i < view->outcome->n_front; i++)
        if (kvat__entry_at(view->outcome, view->outcome->front[i]) == entry) return true;
    return false;
}

void kvat__say_front(kvat_buf *out, const kvat__view *view) {
    if (!kvat__has_front(view) || !view->winner || !isfinite(view->winner->p_front)) return;
    const size_t n = view->outcome->n_front;
    kvat_buf_printf(out, "Pareto front (%s): ", kvat__front_metrics(view));
    if (n == 1 && kvat__on_front(view, view->winner))
        kvat_buf_printf(out, "%s alone.", own_name(view));
    else
        kvat_buf_printf(out, "%zu of %zu, %s %s.", n, kvat_outcome_compared(view->outcome), own_name(view),
                        kvat__on_front(view, view->winner) ? "among them" : "not among them");
}

/* ---- what the tables show ---- */

void kvat__say_per_cell(kvat_buf *out, const kvat__view *view) {
    kvat_buf_puts(out, "As if each cell were the whole workload. \"Sure\": the chance of being within ");
    kvat__put_share(out, view->outcome->delta);
    kvat_buf_puts(out, " of the best there. \"This one\" is ");
    kvat_buf_puts(out, view->winner->label ? view->winner->label : "?");
    kvat_buf_puts(out, "; what it loses is given with its 95 % interval. Nothing of it is confirmed on fresh pairs.");
}

void kvat__say_what_front_is(kvat_buf *out, const kvat__view *view) {
    kvat_buf_puts(out, "Nothing else that may win is better by more than ");
    kvat__put_share(out, view->outcome->delta);
    kvat_buf_puts(out,
                  " in one of these without being worse by more than that in another; \"sure\" is the chance of it. "
                  "Of those alike in all of them only the first in rank is listed.");
}
