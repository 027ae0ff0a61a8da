/* The best in each cell, the least loss in the worst cell, and the Pareto front, with the chance of each.
 * Must not know how the runs were fitted, nor how the answers are shown. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cell_fit.h"
#include "plan_internal.h"

static const kvat_interval UNKNOWN = {NAN, NAN, NAN};

/** Everything in one place while it is worked out. */
typedef struct judging {
    kvat_outcome *outcome;
    const kvat__cell_fit *fit;
    size_t n, n_draws;       /**< arms; 0 draws when nothing is known of the spread */
    size_t winner, fallback; /**< arms of the workload's winner and of the default; SIZE_MAX none */
    double *estimated;       /**< n: worst losses by estimate */
    double *losses;          /**< n_draws × n: worst losses, less is better */
    double *p, *column;      /**< n; n_draws */
} judging;

static kvat_status nomem(kvat_error *err) {
    return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the answers of cells");
}

static size_t arm_of(const judging *j, size_t entry) {
    for (size_t a = 0; a < j->n; a++)
        if (j->fit->entry[a] == entry) return a;
    return SIZE_MAX;
}

static kvat_entry *entry_at(const judging *j, size_t arm) {
    return &j->outcome->entries[j->fit->entry[arm]];
}

static const double *estimate_of(const judging *j, size_t response) {
    return j->fit->posterior.estimate + response * j->n;
}

/** NULL when nothing is known of the spread. */
static const double *draws_of(const judging *j, size_t response) {
    return j->n_draws ? j->fit->posterior.draws + response * j->n_draws * j->n : NULL;
}

/* ---- pieces ---- */

/** The largest of those that may win; of what is within delta/2 of it the workload's winner, else the default. */
static size_t named(const judging *j, const double *value) {
    size_t best = SIZE_MAX;
    for (size_t a = 0; a < j->n; a++) {
        if (j->fit->may_win[a] && !isnan(value[a]) && (best == SIZE_MAX || value[a] > value[best])) best = a;
    }
    const size_t preferred[] = {j->winner, j->fallback};
    for (size_t i = 0; i < 2 && best != SIZE_MAX; i++) {
        const size_t arm = preferred[i];
        if (arm != SIZE_MAX && j->fit->may_win[arm] && value[arm] >= value[best] - j->outcome->delta / 2) return arm;
    }
    return best;
}

/** Of the draws in `column`, which it sorts no more than a copy of. */
static kvat_interval interval_of(const judging *j, double value) {
    if (j->n_draws == 0) return (kvat_interval){value, NAN, NAN};
    return (kvat_interval){value, fmin(kvat_quantile(j->column, j->n_draws, 0.025), value),
                           fmax(kvat_quantile(j->column, j->n_draws, 0.975), value)};
}

static double best_of(const judging *j, const double *row) {
    double best = -INFINITY;
    for (size_t a = 0; a < j->n; a++)
        if (j->fit->may_win[a] && row[a] > best) best = row[a];
    return best;
}

static kvat_interval gain_in(const judging *j, size_t cell, size_t arm) {
    const double *draws = draws_of(j, cell), *estimate = estimate_of(j, cell);
    if (j->fallback == SIZE_MAX) return UNKNOWN;
    for (size_t t = 0; t < j->n_draws; t++) j->column[t] = draws[t * j->n + arm] - draws[t * j->n + j->fallback];
    return interval_of(j, estimate[arm] - estimate[j->fallback]);
}

/** Below nothing where an arm may not win and is better than what may. */
static kvat_interval loss_in(const judging *j, size_t cell, size_t arm) {
    const double *draws = draws_of(j, cell), *estimate = estimate_of(j, cell);
    for (size_t t = 0; t < j->n_draws; t++) {
        const double *row = draws + t * j->n;
        j->column[t] = best_of(j, row) - row[arm];
    }
    return interval_of(j, best_of(j, estimate) - estimate[arm]);
}

/* ---- the answers ---- */

static void judge_cell(judging *j, size_t c) {
    const double *estimate = estimate_of(j, c);
    const double best = best_of(j, estimate);
    const size_t arm = named(j, estimate);
    j->outcome->winner_by_cell[c] = j->fit->entry[arm];
    if (j->n_draws)
        kvat_posterior_shares(j->p, NULL, draws_of(j, c), j->n_draws, j->n, j->fit->may_win, j->outcome->delta);
    for (size_t a = 0; a < j->n; a++) {
        kvat_cell_figures *cell = entry_at(j, a)->cells ? &entry_at(j, a)->cells[c] : NULL;
        if (!cell) continue;
        cell->loss = (kvat_interval){best - estimate[a], NAN, NAN};
        if (j->fallback != SIZE_MAX) cell->gain = (kvat_interval){estimate[a] - estimate[j->fallback], NAN, NAN};
        if (j->n_draws) cell->p_good = j->p[a];
        if (a != arm && a != j->winner) continue;
        cell->gain = gain_in(j, c, a);
        cell->loss = loss_in(j, c, a);
    }
}

static size_t worst_cell_of(const judging *j, size_t arm) {
    size_t worst = 0;
    double most = -INFINITY;
    for (size_t c = 0; c < j->fit->n_cells; c++) {
        const double *estimate = estimate_of(j, c), loss = best_of(j, estimate) - estimate[arm];
        if (loss > most) worst = c;
        most = fmax(most, loss);
    }
    return worst;
}

static kvat_interval worst_loss_of(const judging *j, size_t arm) {
    for (size_t t = 0; t < j->n_draws; t++) j->column[t] = j->losses[t * j->n + arm];
    return interval_of(j, j->estimated[arm]);
}

static void judge_worst(judging *j) {
    const kvat__cell_fit *fit = j->fit;
    kvat_worst_losses(j->estimated, fit->posterior.estimate, fit->n_cells, 1, j->n, fit->may_win);
    if (j->n_draws) kvat_worst_losses(j->losses, draws_of(j, 0), fit->n_cells, j->n_draws, j->n, fit->may_win);
    for (size_t a = 0; a < j->n; a++) j->estimated[a] = -j->estimated[a];
    const size_t least = named(j, j->estimated);
    for (size_t a = 0; a < j->n; a++) j->estimated[a] = -j->estimated[a];
    j->outcome->smallest_worst_loss = fit->entry[least];
    for (size_t a = 0; a < j->n; a++) {
        kvat_entry *entry = entry_at(j, a);
        const bool wanted = a == least || a == j->winner;
        entry->worst_cell = worst_cell_of(j, a);
        entry->worst_loss = wanted ? worst_loss_of(j, a) : (kvat_interval){j->estimated[a], NAN, NAN};
    }
    if (j->n_draws == 0) return;
    for (size_t i = 0; i < j->n_draws * j->n; i++) j->losses[i] = -j->losses[i]; /* more is better */
    kvat_posterior_shares(j->p, NULL, j->losses, j->n_draws, j->n, fit->may_win, j->outcome->delta);
    for (size_t a = 0; a < j->n; a++) entry_at(j, a)->p_least = j->p[a];
}

/** Within delta of each other in every metric, by estimate. */
static bool alike(const judging *j, size_t n_metrics, size_t a, size_t b) {
    for (size_t d = 0; d < n_metrics; d++) {
        const double *estimate = estimate_of(j, j->fit->n_cells + d);
        if (fabs(estimate[a] - estimate[b]) > j->outcome->delta) return false;
    }
    return true;
}

static void judge_front(judging *j) {
    kvat_outcome *o = j->outcome;
    const size_t metrics = o->mixed_sources ? KVAT__FRONT_METRICS - 1 : KVAT__FRONT_METRICS;
    kvat_front_shares(j->p, estimate_of(j, j->fit->n_cells), metrics, 1, j->n, j->fit->may_win, o->delta);
    memcpy(j->estimated, j->p, j->n * sizeof *j->p);
    if (j->n_draws)
        kvat_front_shares(j->p, draws_of(j, j->fit->n_cells), metrics, j->n_draws, j->n, j->fit->may_win, o->delta);
    for (size_t a = 0; a < j->n && j->n_draws; a++) entry_at(j, a)->p_front = j->p[a];
    for (size_t i = 0; i < o->n_entries; i++) { /* by rank, so that the first of equals is the better one */
        const size_t a = arm_of(j, i);
        if (a == SIZE_MAX || !j->fit->may_win[a] || !((j->n_draws ? j->p[a] : j->estimated[a]) >= 0.5)) continue;
        bool again = false;
        for (size_t k = 0; k < o->n_front; k++) again |= alike(j, metrics, a, arm_of(j, o->front[k]));
        if (!again) o->front[o->n_front++] = i;
    }
}

/* ---- the whole ---- */

static kvat_status clear_answers(kvat_outcome *o, kvat_error *err) {
    const size_t n = o->profile->n_cells;
    size_t *winners = malloc(n * sizeof *winners), *front = malloc((o->n_entries + 1) * sizeof *front);
    if (!winners || !front) {
        free(winners);
        free(front);
        return nomem(err);
    }
    free(o->winner_by_cell);
    free(o->front);
    for (size_t c = 0; c < n; c++) winners[c] = SIZE_MAX;
    o->winner_by_cell = winners;
    o->winner_by_cell_n = n;
    o->smallest_worst_loss = SIZE_MAX;
    o->front = front;
    o->n_front = 0;
    for (size_t i = 0; i < o->n_entries; i++) {
        kvat_entry *entry = &o->entries[i];
        entry->worst_loss = UNKNOWN;
        entry->worst_cell = 0;
        entry->p_least = entry->p_front = NAN;
        for (size_t c = 0; entry->cells && c < n; c++) {
            entry->cells[c].gain = entry->cells[c].loss = UNKNOWN;
            entry->cells[c].p_good = NAN;
        }
    }
    return KVAT_OK;
}

static bool judging_init(judging *j) {
    j->n = j->fit->n_arms;
    j->n_draws = j->fit->posterior.draws ? j->fit->posterior.n_draws : 0;
    j->winner = arm_of(j, j->outcome->winner);
    j->fallback = arm_of(j, j->outcome->default_entry);
    j->estimated = calloc(j->n, sizeof *j->estimated);
    j->losses = calloc(j->n_draws * j->n + 1, sizeof *j->losses);
    j->p = calloc(j->n, sizeof *j->p);
    j->column = calloc(j->n_draws + 1, sizeof *j->column);
    return j->estimated && j->losses && j->p && j->column;
}

kvat_status kvat_cells_judge(kvat_outcome *outcome, const kvat_cell_runs *runs, uint64_t seed, kvat_error *err) {
    kvat__cell_fit fit = {0};
    kvat_status status = clear_answers(outcome, err);
    if (status == KVAT_OK) status = kvat__cell_fit_make(&fit, outcome, runs, seed, err);
    if (status != KVAT_OK || fit.n_arms == 0) goto done;
    judging j = {.outcome = outcome, .fit = &fit};
    if (judging_init(&j)) {
        for (size_t c = 0; c < fit.n_cells; c++) judge_cell(&j, c);
        judge_worst(&j);
        judge_front(&j);
    } else {
        status = nomem(err);
    }
    free(j.estimated);
    free(j.losses);
    free(j.p);
    free(j.column);
done:
    kvat__cell_fit_clear(&fit);
    return status;
}
