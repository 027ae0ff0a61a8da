/* Which configurations are compared cell by cell, and the fit of their runs.
 * Must not know what is said of them. */
#include "cell_fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan_internal.h"

enum { DRAWS = 1000, FEWEST_DRAWS = 200, MOST_VALUES = 4000000 };
static const double SIGMA_FLOOR = 1e-4; /* that of the search */

static kvat_status nomem(kvat_error *err) {
    return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the comparison of cells");
}

void kvat__cell_fit_clear(kvat__cell_fit *fit) {
    free(fit->entry);
    free(fit->may_win);
    kvat_drift_posterior_clear(&fit->posterior);
    *fit = (kvat__cell_fit){0};
}

/* ---- who is compared ---- */

typedef struct candidate {
    size_t entry;
    double behind; /**< the best of the cell where it is least behind, or the front; −1: always compared */
    bool may_win;
} candidate;

/** Of candidates: the mean of each response over their runs (n × n_responses). */
typedef struct field {
    candidate *all;
    double *mean;
    size_t n, n_responses, n_cells;
    double delta;
} field;

/** By how much another that is nowhere worse by more than delta is better, at most. */
static double front_distance(const field *f, size_t i) {
    double distance = 0;
    for (size_t k = 0; k < f->n; k++) {
        if (!f->all[k].may_win || k == i) continue;
        double least = INFINITY, most = -INFINITY;
        for (size_t d = f->n_cells; d < f->n_responses; d++) {
            const double ahead = f->mean[k * f->n_responses + d] - f->mean[i * f->n_responses + d];
            least = fmin(least, ahead);
            most = fmax(most, ahead);
        }
        if (least >= -f->delta) distance = fmax(distance, most);
    }
    return distance;
}

static double cell_distance(const field *f, size_t i) {
    double least = INFINITY;
    for (size_t c = 0; c < f->n_cells; c++) {
        double best = -INFINITY;
        for (size_t k = 0; k < f->n; k++)
            if (f->all[k].may_win) best = fmax(best, f->mean[k * f->n_responses + c]);
        least = fmin(least, best - f->mean[i * f->n_responses + c]);
    }
    return least;
}

static int by_distance(const void *a, const void *b) {
    const candidate *x = a, *y = b;
    if (x->behind != y->behind) return x->behind < y->behind ? -1 : 1;
    return x->entry < y->entry ? -1 : x->entry > y->entry;
}

/** Keeps the nearest where there are too many; then in the order of entries. */
static void narrow(field *f, const kvat_outcome *o) {
    if (f->n <= KVAT_CELLS_MOST) return;
    for (size_t i = 0; i < f->n; i++) {
        candidate *c = &f->all[i];
        const bool always = c->entry == o->winner || c->entry == o->default_entry;
        c->behind = always ? -1 : c->may_win ? fmin(cell_distance(f, i), front_distance(f, i)) : INFINITY;
    }
    qsort(f->all, f->n, sizeof *f->all, by_distance);
    f->n = KVAT_CELLS_MOST;
}

static size_t entry_of(const kvat_outcome *o, size_t config) {
    for (size_t i = 0; i < o->n_entries; i++)
        if (o->entries[i].config == config) return i;
    return SIZE_MAX;
}

/** `entry_of_run` (runs->n) says whose each run is. */
static bool gather_field(field *f, size_t *entry_of_run, const kvat_outcome *o, const kvat_cell_runs *runs) {
    size_t *count = calloc(o->n_entries, sizeof *count), *place = calloc(o->n_entries, sizeof *place);
    f->all = calloc(o->n_entries, sizeof *f->all);
    f->mean = calloc(o->n_entries, runs->n_responses * sizeof *f->mean);
    const bool ok = count && place && f->all && f->mean;
    for (size_t j = 0; ok && j < runs->n; j++) {
        entry_of_run[j] = entry_of(o, runs->config[j]);
        if (entry_of_run[j] != SIZE_MAX) count[entry_of_run[j]]++;
    }
    for (size_t i = 0; ok && i < o->n_entries; i++) {
        place[i] = f->n;
        if (count[i] == 0) continue;
        f->all[f->n++] = (candidate){.entry = i, .may_win = o->entries[i].eligible && o->entries[i].rank > 0};
    }
    for (size_t j = 0; ok && j < runs->n; j++) {
        const size_t i = entry_of_run[j];
        for (size_t d = 0; i != SIZE_MAX && d < runs->n_responses; d++)
            f->mean[place[i] * runs->n_responses + d] += runs->y[j * runs->n_responses + d] / (double)count[i];
    }
    free(count);
    free(place);
    return ok;
}

static kvat_status choose_arms(kvat__cell_fit *fit, size_t *entry_of_run, const kvat_outcome *o,
                               const kvat_cell_runs *runs, kvat_error *err) {
    field f = {.n_responses = runs->n_responses, .n_cells = fit->n_cells, .delta = o->delta};
    bool ok = gather_field(&f, entry_of_run, o, runs), any = false;
    if (ok) narrow(&f, o);
    fit->entry = ok ? calloc(f.n + 1, sizeof *fit->entry) : NULL;
    fit->may_win = ok ? calloc(f.n + 1, sizeof *fit->may_win) : NULL;
    ok = fit->entry && fit->may_win;
    for (size_t i = 0; ok && i < f.n; i++) {
        fit->entry[i] = f.all[i].entry;
        fit->may_win[i] = f.all[i].may_win;
        any |= f.all[i].may_win;
    }
    fit->n_arms = ok && any ? f.n : 0;
    free(f.all);
    free(f.mean);
    return ok ? KVAT_OK : nomem(err);
}

/* ---- their runs ---- */

/** Runs of those compared, in the form of stats.h. */
typedef struct rows {
    double *y, *time;
    size_t *arm, n;
    bool *later;
} rows;

static bool rows_init(rows *r, const kvat_cell_runs *runs) {
    r->y = calloc(runs->n, runs->n_responses * sizeof *r->y);
    r->time = calloc(runs->n, sizeof *r->time);
    r->arm = calloc(runs->n, sizeof *r->arm);
    r->later = calloc(runs->n, sizeof *r->later);
    return r->y && r->time && r->arm && r->later;
}

static void rows_clear(rows *r) {
    free(r->y);
    free(r->time);
    free(r->arm);
    free(r->later);
}

static size_t arm_of(const kvat__cell_fit *fit, size_t entry) {
    for (size_t a = 0; a < fit->n_arms; a++)
        if (fit->entry[a] == entry) return a;
    return SIZE_MAX;
}

/** A unit of time is the mean run. */
static void gather_rows(rows *r, const kvat__cell_fit *fit, const size_t *entry_of_run, const kvat_cell_runs *runs) {
    const size_t d = runs->n_responses;
    const double unit = fmax((double)runs->total_ns / (double)runs->n, 1);
    for (size_t j = 0; j < runs->n; j++) {
        const size_t arm = arm_of(fit, entry_of_run[j]);
        if (arm == SIZE_MAX) continue;
        const double time = (double)runs->middle_ns[j] / unit;
        memcpy(r->y + r->n * d, runs->y + j * d, d * sizeof *r->y);
        r->time[r->n] = r->n > 0 ? fmax(time, r->time[r->n - 1]) : time;
        r->arm[r->n] = arm;
        r->later[r->n++] = runs->confirming[j];
    }
}

static size_t draws_for(const kvat__cell_fit *fit, size_t n_responses) {
    const size_t most = MOST_VALUES / (fit->n_arms * n_responses);
    return most > DRAWS ? DRAWS : most < FEWEST_DRAWS ? FEWEST_DRAWS : most;
}

kvat_status kvat__cell_fit_make(kvat__cell_fit *out, const kvat_outcome *o, const kvat_cell_runs *runs, uint64_t seed,
                                kvat_error *err) {
    kvat__cell_fit fit = {.n_cells = o->profile->n_cells};
    rows r = {0};
    if (runs->n == 0) {
        *out = fit;
        return KVAT_OK;
    }
    size_t *entry_of_run = calloc(runs->n, sizeof *entry_of_run);
    kvat_status status = entry_of_run ? choose_arms(&fit, entry_of_run, o, runs, err) : nomem(err);
    if (status == KVAT_OK && fit.n_arms > 0) {
        status = rows_init(&r, runs) ? KVAT_OK : nomem(err);
        if (status == KVAT_OK) {
            gather_rows(&r, &fit, entry_of_run, runs);
            const kvat_drift_input in = {.y = r.y,
                                         .arm = r.arm,
                                         .time = r.time,
                                         .later = r.later,
                                         .n = r.n,
                                         .n_arms = fit.n_arms,
                                         .n_responses = runs->n_responses,
                                         .sigma_floor = SIGMA_FLOOR,
                                         .n_draws = draws_for(&fit, runs->n_responses),
                                         .seed = seed};
            status = kvat_drift_fit(&fit.posterior, &in, err);
        }
    }
    rows_clear(&r);
    free(entry_of_run);
    if (status == KVAT_OK)
        *out = fit;
    else
        kvat__cell_fit_clear(&fit);
    return status;
}
