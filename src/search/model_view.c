// What the results so far say: the fit, how sure, who leads, what is gained.
// Must not know what will be measured next.
#include <math.h>
#include <stdlib.h>

#include "model.h"

enum { MOST_DRAWS = 1000, SPENT_BEYOND = 6, LEADER_RUNS = 2 };
static const double LEAST_DOF = 3;
// By simulation: as much as is said of the noisy machine and of the replayed shared one comes true.
static const double GUESSED = .25, RESTLESS_WIDER = 4;
enum { LEAST_RUNS_FOR_SPREAD = 3 };

static bool measured(const kvat__ledger *ledger, size_t config) {
    return ledger->options.configs[config].eligible && kvat__ledger_feasible(ledger, config) &&
           ledger->tally[config].clean_runs > 0;
}

// No other was ever asked about. One left because others failed has to show that it does not.
static bool no_choice(const kvat__ledger *ledger) {
    size_t eligible = 0;
    for (size_t i = 0; i < ledger->options.n_configs && eligible < 2; i++)
        eligible += ledger->options.configs[i].eligible;
    return eligible == 1;
}

bool kvat__model_ready(const kvat__ledger *ledger, size_t config) {
    const kvat__tally *tally = &ledger->tally[config];
    const size_t least =
        no_choice(ledger) || ledger->options.min_runs > LEADER_RUNS ? ledger->options.min_runs : LEADER_RUNS;
    return measured(ledger, config) && tally->owed == 0 && tally->clean_runs >= least;
}

// What the short list must hold: the default, the incumbent, the best that was measured.
static size_t choose_kept(size_t kept[3], const double *mean, const kvat__ledger *ledger) {
    size_t n = 0, best = SIZE_MAX;
    for (size_t i = 0; i < ledger->options.n_configs; i++) {
        if (measured(ledger, i) && (best == SIZE_MAX || mean[i] > mean[best])) best = i;
    }
    kept[n++] = 0;
    if (ledger->options.has_incumbent) kept[n++] = ledger->options.incumbent;
    if (best != SIZE_MAX) kept[n++] = best;
    return n;
}

static kvat_status shorten(model_view *view, const model_space *space, const kvat__ledger *ledger, kvat_error *err) {
    size_t kept[3];
    double *mean = calloc(space->n_configs, sizeof *mean);
    if (!mean) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate %zu means", space->n_configs);
    kvat_status status = kvat__model_means(mean, space, &view->belief, &view->fit, &view->rows, err);
    if (status == KVAT_OK) {
        const size_t n = choose_kept(kept, mean, ledger);
        status = kvat__model_shortlist(&view->posterior, mean, space, &view->belief, &view->fit, &view->rows,
                                       view->p_fail, kept, n, err);
    }
    free(mean);
    return status;
}

// Variances that are estimated and then taken for known make the posterior too narrow (D. Zimmerman, N. Cressie 1992),
// the more so the more noise there is to what counts; and unrest is but a guess.
static double widening(const model_belief *belief, double delta) {
    const double noise = belief->noise[0] + belief->noise[1];
    return (1 + RESTLESS_WIDER * belief->restless) * (1 + GUESSED * fmin(1, noise / (4 * delta * delta)));
}

static void widen(model_posterior *p, double factor) {
    for (size_t i = 0; i < p->n * p->n; i++) p->covariance[i] *= factor;
}

static kvat_status find_shares(model_view *view, const kvat__ledger *ledger, kvat_error *err) {
    const kvat_search_options *o = &ledger->options;
    const size_t n = view->posterior.n;
    view->p_good = calloc(n + 1, 2 * sizeof *view->p_good);
    view->may_win = calloc(n + 1, sizeof *view->may_win);
    if (!view->p_good || !view->may_win) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate %zu shares", n);
    view->p_best = view->p_good + n + 1;
    for (size_t j = 0; j < n; j++) {
        const size_t config = view->posterior.list[j];
        view->may_win[j] = o->configs[config].eligible && kvat__ledger_feasible(ledger, config);
    }
    const model_draws_input in = {.posterior = &view->posterior,
                                  .p_fail = view->p_fail,
                                  .may_win = view->may_win,
                                  .n_draws = o->posterior_draws < MOST_DRAWS ? o->posterior_draws : MOST_DRAWS,
                                  .delta = o->delta,
                                  .dof = view->dof,
                                  .seed = o->seed};
    return n > 0 ? kvat__model_shares(view->p_good, view->p_best, &in, err) : KVAT_OK;
}

// The surer; the higher mean between equals.
static bool leads(const model_view *view, size_t a, size_t b) {
    if (view->p_good[a] != view->p_good[b]) return view->p_good[a] > view->p_good[b];
    return view->posterior.mean[a] > view->posterior.mean[b];
}

static void choose_leader(model_view *view, const kvat__ledger *ledger) {
    for (size_t j = 0; j < view->posterior.n; j++) {
        if (!view->may_win[j]) continue;
        if (!view->has_favourite || leads(view, j, view->favourite)) view->favourite = j;
        view->has_favourite = true;
        if (!measured(ledger, view->posterior.list[j])) continue;
        if (!view->has_leader || leads(view, j, view->leader)) view->leader = j;
        view->has_leader = true;
    }
}

static double sd_of_contrast(const model_posterior *p, size_t a, size_t b) {
    const double *c = p->covariance;
    return sqrt(fmax(c[a * p->n + a] + c[b * p->n + b] - 2 * c[a * p->n + b], 1e-18));
}

static size_t place_of(const model_posterior *p, size_t config) {
    size_t j = 0;
    while (j < p->n && p->list[j] != config) j++;
    return j;
}

// P(the leader beats the incumbent by more than delta); NaN where there is no such pair, or nothing is known of it.
static double chance_against_incumbent(const model_view *view, const kvat__ledger *ledger, size_t place) {
    const kvat_search_options *o = &ledger->options;
    if (place == view->posterior.n || place == view->leader) return NAN;
    if (!measured(ledger, o->incumbent) || ledger->tally[o->incumbent].owed > 0) return NAN;
    const double ahead = view->posterior.mean[view->leader] - view->posterior.mean[place] - o->delta;
    return kvat_student_cdf(ahead / sd_of_contrast(&view->posterior, view->leader, place), view->dof);
}

// Good enough to be the answer in the leader's place: as sure as is asked for, or as sure as the leader.
static bool ties(const model_view *view, const kvat__ledger *ledger, size_t j) {
    const kvat_search_options *o = &ledger->options;
    if (!view->may_win[j] || !kvat__model_ready(ledger, view->posterior.list[j])) return false;
    if (view->posterior.mean[j] < view->posterior.mean[view->leader] - o->delta / 2) return false;
    return view->p_good[j] >= fmin(o->p_good_target, view->p_good[view->leader]);
}

static void choose_pick(model_view *view, const kvat__ledger *ledger) {
    const kvat_search_options *o = &ledger->options;
    const size_t *list = view->posterior.list;
    view->pick = view->leader;
    if (o->has_incumbent && list[view->leader] == o->incumbent) return;
    const size_t incumbent = o->has_incumbent ? place_of(&view->posterior, o->incumbent) : view->posterior.n;
    view->p_challenger = chance_against_incumbent(view, ledger, incumbent);
    if (view->p_challenger <= KVAT__REPLACE_AT) {
        view->pick = incumbent;
        view->incumbent_kept = true;
        return;
    }
    if (ledger->tally[list[view->leader]].owed > 0) return;
    for (size_t j = 0; j < view->posterior.n; j++) {
        if (o->configs[list[j]].preference < o->configs[list[view->pick]].preference && ties(view, ledger, j))
            view->pick = j;
    }
}

// The variances are learned from as many runs as the first design has; what comes after tells of noise.
static double degrees_of_freedom(size_t n_runs, const model_space *space) {
    return fmax(LEAST_DOF, (double)n_runs - (double)kvat__model_first_runs(space) - SPENT_BEYOND);
}

kvat_status kvat__model_view_make(model_view *out, const model_space *space, const model_belief *belief,
                                  const kvat__ledger *ledger, kvat_error *err) {
    model_view view = {.n_told = ledger->n_told, .p_challenger = NAN};
    kvat_status status = kvat__model_rows_init(&view.rows, ledger, err);
    if (status == KVAT_OK) status = kvat__model_belief_copy(&view.belief, belief, ledger->n_runs, err);
    if (status == KVAT_OK) status = kvat__model_fit_make(&view.fit, &view.belief, space, &view.rows, err);
    if (status != KVAT_OK) goto done;
    view.dof = degrees_of_freedom(view.rows.n, space);
    view.p_fail = calloc(space->n_configs, sizeof *view.p_fail);
    if (!view.p_fail) {
        status = kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate %zu chances of failure", space->n_configs);
        goto done;
    }
    status = kvat__model_failures(view.p_fail, space, ledger, err);
    if (status == KVAT_OK) status = shorten(&view, space, ledger, err);
    if (status == KVAT_OK) widen(&view.posterior, widening(&view.belief, ledger->options.delta));
    if (status == KVAT_OK) status = find_shares(&view, ledger, err);
    if (status != KVAT_OK) goto done;
    choose_leader(&view, ledger);
    if (view.has_leader) choose_pick(&view, ledger);
done:
    if (status == KVAT_OK)
        *out = view;
    else
        kvat__model_view_clear(&view);
    return status;
}

void kvat__model_view_clear(model_view *view) {
    kvat__model_rows_clear(&view->rows);
    kvat__model_belief_clear(&view->belief);
    kvat__model_fit_clear(&view->fit);
    kvat__model_posterior_clear(&view->posterior);
    free(view->p_fail);
    free(view->p_good);
    free(view->may_win);
    *view = (model_view){0};
}

/* ---- gains ---- */

// Those that ran clean, the reference first.
static size_t list_measured(size_t *list, size_t reference, const kvat__ledger *ledger) {
    size_t n = 0;
    list[n++] = reference;
    for (size_t i = 0; i < ledger->options.n_configs; i++) {
        if (i != reference && ledger->tally[i].clean_runs > 0) list[n++] = i;
    }
    return n;
}

static void fill_gains(kvat_search_standing *standing, const model_view *view, const model_space *space,
                       const model_posterior *p) {
    const double reach = kvat_student_quantile(.975, view->dof) * sqrt(1 + view->belief.restless);
    for (size_t j = 1; j < p->n; j++) {
        const double gain = p->mean[j] - p->mean[0];
        const double half = reach * sqrt(kvat__model_contrast(p, space, &view->belief, view->rows.n, j, 0));
        standing[p->list[j]].gain = view->rows.n < LEAST_RUNS_FOR_SPREAD
                                        ? (kvat_interval){gain, NAN, NAN}
                                        : (kvat_interval){gain, gain - half, gain + half};
    }
    standing[p->list[0]].gain = (kvat_interval){0, 0, 0};
}

kvat_status kvat__model_view_gains(kvat_search_standing *standing, const model_view *view, const model_space *space,
                                   const kvat__ledger *ledger, kvat_error *err) {
    for (size_t j = 0; j < view->posterior.n; j++) {
        const size_t config = view->posterior.list[j];
        if (ledger->tally[config].clean_runs > 0) standing[config].p_good = view->p_good[j];
    }
    if (ledger->tally[0].clean_runs == 0 && !view->has_leader) return KVAT_OK;
    const size_t reference = ledger->tally[0].clean_runs > 0 ? 0 : view->posterior.list[view->pick];
    size_t *list = calloc(ledger->n_runs + 1, sizeof *list); // there may be more by now than the view knows of
    if (!list) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the gains");
    const size_t n = list_measured(list, reference, ledger);
    model_posterior p;
    const kvat_status status =
        kvat__model_posterior_of(&p, list, n, space, &view->belief, &view->fit, &view->rows, err);
    free(list);
    if (status != KVAT_OK) return status;
    fill_gains(standing, view, space, &p);
    kvat__model_posterior_clear(&p);
    return KVAT_OK;
}
