// The method "model": a first design, a look at every level, then runs by knowledge gradient until it is sure.
// Knows nothing of how beliefs are formed (model_view) nor of what a failure means (ledger).
#include <math.h>
#include <stdlib.h>

#include "model.h"

enum { LEAST_MOST_RUNS = 180, MOST_DESIGNS = 5, DEFAULT_RUNS = 2, DEFAULT_ATTEMPTS = 4, OUTLOOK_SHARE = 4 };

static const double ELIMINATE_BELOW = .002;
static const double RATHER_FAILS = .5;
static const double PAIR_APART = 2;
static const double RESTLESS_MORE = .8; // runs, as a share, where noise comes and goes: many are lost to it

typedef enum model_phase { PHASE_DESIGN, PHASE_LEVELS, PHASE_SEARCH } model_phase;

typedef struct model {
    model_space space;
    model_belief prior;
    model_phase phase;
    size_t first_runs;   // of the first design
    bool promising;      // what was chosen last in the design was for its mean
    size_t cursor;       // over levels
    size_t block, chunk; // a block is a proposal; a chunk is one run, since drift is modelled and not cancelled
    size_t last;         // configuration proposed last
    model_view decided;  // of the last decision; its variances are where the next one starts
    bool has_decided;
    model_view *looked; // of the last answer in between
    kvat_search_stop stop;
} model;

static void model_free(void *state) {
    model *m = state;
    kvat__model_space_clear(&m->space);
    kvat__model_belief_clear(&m->prior);
    kvat__model_view_clear(&m->decided);
    if (m->looked) kvat__model_view_clear(m->looked);
    free(m->looked);
    free(m);
}

static kvat_status model_new(void **out, const kvat__ledger *ledger, kvat_error *err) {
    kvat_status status = KVAT_OK;
    model *m = calloc(1, sizeof *m);
    if (m) m->looked = calloc(1, sizeof *m->looked);
    if (!m || !m->looked) {
        free(m);
        return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate a model");
    }
    status = kvat__model_space_init(&m->space, &ledger->options, err);
    if (status == KVAT_OK) status = kvat__model_belief_init(&m->prior, &m->space, err);
    if (status != KVAT_OK) {
        model_free(m);
        return status;
    }
    m->first_runs = kvat__model_first_runs(&m->space);
    *out = m;
    return KVAT_OK;
}

static const model_belief *belief_of(const model *m) {
    return m->has_decided ? &m->decided.belief : &m->prior;
}

static size_t most_runs(const model *m, const kvat__ledger *ledger) {
    const size_t steady =
        MOST_DESIGNS * m->first_runs > LEAST_MOST_RUNS ? MOST_DESIGNS * m->first_runs : LEAST_MOST_RUNS;
    const double restless = m->has_decided ? m->decided.belief.restless : 0;
    if (ledger->options.max_trials > 0) return ledger->options.max_trials;
    return steady + (size_t)(RESTLESS_MORE * restless * (double)steady);
}

// Results since anything ran clean: what goes on while nothing works has no end but all having failed.
static size_t told_in_earnest(const kvat__ledger *ledger) {
    if (ledger->n_runs == 0) return 0;
    const size_t before = ledger->runs[0].order;
    return ledger->n_told > before ? ledger->n_told - before : 0;
}

// Nothing can be measured here: not for want of a configuration that works, but of a calm moment.
static bool only_disturbed(const model *m, const kvat__ledger *ledger) {
    size_t voids = 0;
    for (size_t i = 0; ledger->n_runs == 0 && i < ledger->options.n_configs; i++) voids += ledger->tally[i].voids;
    return voids >= most_runs(m, ledger);
}

/* ---- what is next ---- */

typedef struct choice {
    size_t pick[MODEL_PICKS], n;
} choice;

static bool retry_due(const kvat__ledger *ledger, size_t config) {
    return ledger->tally[config].retry && kvat__ledger_feasible(ledger, config);
}

static void choose_retries(choice *c, const kvat__ledger *ledger) {
    for (size_t i = 0; i < ledger->options.n_configs && c->n < MODEL_PICKS; i++) {
        if (retry_due(ledger, i)) c->pick[c->n++] = i;
    }
}

static bool designing(const model *m, const kvat__ledger *ledger) {
    return ledger->n_runs < m->first_runs && 2 * told_in_earnest(ledger) < 3 * m->first_runs + 8;
}

static kvat_status choose_design(choice *c, size_t most, const model *m, const kvat__ledger *ledger, kvat_error *err) {
    double *p_fail = calloc(m->space.n_configs, sizeof *p_fail);
    if (!p_fail) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the first design");
    kvat_status status = kvat__model_failures(p_fail, &m->space, ledger, err);
    if (status == KVAT_OK) status = kvat__model_design(c->pick, &c->n, most, &m->space, &m->prior, ledger, p_fail, err);
    free(p_fail);
    return status;
}

static kvat_status choose_first(choice *c, const model *m, const kvat__ledger *ledger, kvat_error *err) {
    const size_t left = m->first_runs - ledger->n_runs;
    return choose_design(c, left < MODEL_PICKS ? left : MODEL_PICKS, m, ledger, err);
}

static void choose_levels(choice *c, model *m, const kvat__ledger *ledger) {
    const size_t found = kvat__model_unseen_level(&m->cursor, &m->space, ledger);
    if (found != SIZE_MAX) c->pick[c->n++] = found;
}

// Between the first and the last of its scores.
static double spread_of_default(const kvat__ledger *ledger) {
    double first = NAN, last = NAN;
    for (size_t i = 0; i < ledger->n_runs; i++) {
        if (ledger->runs[i].result.trial.config != 0) continue;
        last = ledger->runs[i].result.score;
        if (isnan(first)) first = last;
    }
    return fabs(last - first);
}

static bool default_may_run(const kvat__ledger *ledger) {
    const kvat__tally *tally = &ledger->tally[0];
    return tally->clean_runs + tally->voids <= DEFAULT_ATTEMPTS && kvat__ledger_feasible(ledger, 0);
}

// Disturbed when it should have been first: gains are against it, and time limits follow from it.
static bool default_due(const kvat__ledger *ledger) {
    return ledger->tally[0].clean_runs == 0 && default_may_run(ledger);
}

// The default again: gains are against it, and only a configuration that runs twice shows what noise is.
static void choose_default(choice *c, const kvat__ledger *ledger) {
    const size_t runs = ledger->tally[0].clean_runs;
    if (ledger->options.n_configs == 1 || !default_may_run(ledger)) return;
    if (runs < DEFAULT_RUNS || (runs == DEFAULT_RUNS && spread_of_default(ledger) > ledger->options.delta))
        c->pick[c->n++] = 0;
}

static double noise_of(const model_belief *belief) {
    return belief->noise[0] + belief->noise[1];
}

static kvat_status choose_by_gradient(choice *c, const model *m, const model_view *view, const kvat__ledger *ledger,
                                      kvat_error *err) {
    const double noise = noise_of(&view->belief);
    size_t place[MODEL_PICKS];
    model_costs costs;
    kvat__model_costs_learn(&costs, &m->space, ledger);
    const model_gradient_input in = {.posterior = &view->posterior,
                                     .p_fail = view->p_fail,
                                     .may_win = view->may_win,
                                     .noise = noise,
                                     .space = &m->space,
                                     .costs = &costs,
                                     .last = m->last};
    const kvat_status status = kvat__model_gradient(place, &c->n, MODEL_PICKS, &in, err);
    for (size_t i = 0; status == KVAT_OK && i < c->n; i++) c->pick[i] = view->posterior.list[place[i]];
    return status;
}

// It stays unless it is seen to be beaten, so it has to be seen.
static bool incumbent_due(const kvat__ledger *ledger) {
    const kvat_search_options *o = &ledger->options;
    if (!o->has_incumbent || !o->configs[o->incumbent].eligible || !kvat__ledger_feasible(ledger, o->incumbent))
        return false;
    return ledger->tally[o->incumbent].clean_runs == 0 || ledger->tally[o->incumbent].owed > 0;
}

static kvat_search_stop stop_reason(const model *m, const model_view *view, const kvat__ledger *ledger) {
    if (view->has_leader) {
        const size_t sure = view->incumbent_kept ? view->leader : view->pick;
        const bool ready = kvat__model_ready(ledger, view->posterior.list[sure]);
        if (ready && kvat__ledger_candidates(ledger) == 1) return KVAT_STOP_ONE_LEFT;
        if (ready && !incumbent_due(ledger) && view->p_good[sure] >= ledger->options.p_good_target)
            return KVAT_STOP_CONFIDENT;
    }
    return told_in_earnest(ledger) >= most_runs(m, ledger) ? KVAT_STOP_BUDGET : KVAT_STOP_RUNNING;
}

// Sure enough, but for runs it still owes.
static size_t wanting(const model_view *view, const kvat__ledger *ledger) {
    const size_t place[] = {view->has_leader ? view->pick : view->favourite, view->favourite};
    for (size_t i = 0; view->has_favourite && i < 2; i++) {
        const size_t config = view->posterior.list[place[i]];
        const bool sure =
            view->p_good[place[i]] >= ledger->options.p_good_target || kvat__ledger_candidates(ledger) == 1;
        if (sure && !kvat__model_ready(ledger, config)) return config;
        if (sure && incumbent_due(ledger)) return ledger->options.incumbent;
    }
    return SIZE_MAX;
}

// For those who look on: a configuration that is eliminated may still be run for what it tells of others.
static void mark(kvat__ledger *ledger, const model_view *view) {
    for (size_t i = 0; i < ledger->options.n_configs; i++) {
        if (ledger->tally[i].state == KVAT_CONFIG_RACING) ledger->tally[i].state = KVAT_CONFIG_ELIMINATED;
    }
    for (size_t j = 0; j < view->posterior.n; j++) {
        kvat__tally *tally = &ledger->tally[view->posterior.list[j]];
        const bool possible = view->p_good[j] >= ELIMINATE_BELOW || j == view->pick || tally->owed > 0;
        if (tally->state == KVAT_CONFIG_ELIMINATED && possible) tally->state = KVAT_CONFIG_RACING;
    }
}

static kvat_status choose_in_search(choice *c, model *m, kvat__ledger *ledger, kvat_error *err) {
    model_view view;
    if (ledger->n_runs == 0) return KVAT_OK; // the design has left nothing untried
    kvat_status status = kvat__model_view_make(&view, &m->space, belief_of(m), ledger, err);
    if (status != KVAT_OK) return status;
    const kvat_search_stop stop = stop_reason(m, &view, ledger);
    const size_t wanted = wanting(&view, ledger);
    if (stop == KVAT_STOP_RUNNING && wanted != SIZE_MAX)
        c->pick[c->n++] = wanted;
    else if (stop == KVAT_STOP_RUNNING && view.has_favourite)
        status = choose_by_gradient(c, m, &view, ledger, err);
    if (status == KVAT_OK && stop == KVAT_STOP_RUNNING && c->n == 0)
        status = choose_design(c, MODEL_PICKS, m, ledger, err);
    if (status != KVAT_OK) {
        kvat__model_view_clear(&view);
        return status;
    }
    kvat__model_view_clear(&m->decided);
    m->decided = view;
    m->has_decided = true;
    m->stop = stop;
    mark(ledger, &m->decided);
    return KVAT_OK;
}

// Of the untried, the one with the highest mean by what little is known: a budget may end before the design does, and
// then something good should have been seen.
static kvat_status choose_promising(choice *c, const model *m, const kvat__ledger *ledger, kvat_error *err) {
    model_view view;
    const kvat_status status = kvat__model_view_make(&view, &m->space, &m->prior, ledger, err);
    if (status != KVAT_OK) return status;
    size_t best = SIZE_MAX;
    for (size_t j = 0; j < view.posterior.n; j++) {
        const size_t config = view.posterior.list[j];
        const kvat__tally *tally = &ledger->tally[config];
        if (!view.may_win[j] || tally->clean_runs > 0 || tally->failures > 0) continue;
        if (view.p_fail[config] > RATHER_FAILS) continue;
        if (best == SIZE_MAX || view.posterior.mean[j] > view.posterior.mean[best]) best = j;
    }
    if (best != SIZE_MAX) c->pick[c->n++] = view.posterior.list[best];
    kvat__model_view_clear(&view);
    return KVAT_OK;
}

// Of many configurations every other time, once a third of the design has been run.
static bool promising_due(const model *m, const kvat__ledger *ledger) {
    return m->space.n_configs > KVAT_SEARCH_MANY && 3 * ledger->n_runs > m->first_runs && !m->promising;
}

static kvat_status choose_in_design(choice *c, model *m, const kvat__ledger *ledger, kvat_error *err) {
    kvat_status status = promising_due(m, ledger) ? choose_promising(c, m, ledger, err) : KVAT_OK;
    const bool promising = c->n > 0;
    if (status == KVAT_OK && !promising) status = choose_first(c, m, ledger, err);
    if (status == KVAT_OK) m->promising = promising;
    return status;
}

static kvat_status choose(choice *c, model *m, kvat__ledger *ledger, kvat_error *err) {
    kvat_status status = KVAT_OK;
    choose_retries(c, ledger);
    if (c->n == 0 && default_due(ledger)) c->pick[c->n++] = 0;
    if (c->n == 0 && m->phase == PHASE_DESIGN && designing(m, ledger)) status = choose_in_design(c, m, ledger, err);
    if (status != KVAT_OK || c->n > 0) return status;
    if (m->phase == PHASE_DESIGN) m->phase = PHASE_LEVELS;
    if (m->phase == PHASE_LEVELS) choose_levels(c, m, ledger);
    if (c->n == 0) choose_default(c, ledger);
    if (c->n > 0) return KVAT_OK;
    m->phase = PHASE_SEARCH;
    return choose_in_search(c, m, ledger, err);
}

/* ---- the proposal ---- */

// Each next one is the cheapest to change to from the one before.
static void order_by_scope(choice *c, const model *m) {
    size_t at = m->last;
    for (size_t i = 0; i < c->n; i++) {
        size_t nearest = i;
        for (size_t j = i + 1; j < c->n; j++) {
            if (kvat__model_distance(&m->space, at, c->pick[j]) < kvat__model_distance(&m->space, at, c->pick[nearest]))
                nearest = j;
        }
        const size_t held = c->pick[nearest];
        c->pick[nearest] = c->pick[i];
        at = c->pick[i] = held;
    }
}

static void open_choice(choice *c, model *m, kvat__ledger *ledger) {
    kvat_search_trial plan[MODEL_PICKS];
    size_t n = 0;
    order_by_scope(c, m);
    for (size_t i = 0; i < c->n; i++) {
        const size_t config = c->pick[i];
        plan[n++] = (kvat_search_trial){config, m->chunk++, m->block, ledger->tally[config].fresh_process};
    }
    const size_t left = most_runs(m, ledger) > ledger->n_told ? most_runs(m, ledger) - ledger->n_told : 0;
    if (ledger->options.max_trials > 0 && n > left) n = left;
    if (n > 0) m->last = plan[n - 1].config;
    m->block++;
    kvat__ledger_open(ledger, plan, n);
}

static kvat_status model_propose(void *state, kvat__ledger *ledger, kvat_error *err) {
    model *m = state;
    choice c = {.n = 0};
    kvat_status status = kvat__ledger_reserve(ledger, MODEL_PICKS, err);
    if (status != KVAT_OK) return status;
    const size_t limit = ledger->options.max_trials;
    if (m->stop == KVAT_STOP_RUNNING && kvat__ledger_candidates(ledger) == 0) m->stop = KVAT_STOP_INFEASIBLE;
    if (m->stop == KVAT_STOP_RUNNING && limit > 0 && ledger->n_told >= limit) m->stop = KVAT_STOP_BUDGET;
    if (m->stop == KVAT_STOP_RUNNING && only_disturbed(m, ledger)) m->stop = KVAT_STOP_BUDGET;
    if (m->stop == KVAT_STOP_RUNNING) status = choose(&c, m, ledger, err);
    if (status != KVAT_OK) return status;
    if (m->stop == KVAT_STOP_RUNNING && c.n == 0) m->stop = KVAT_STOP_BUDGET;
    if (m->stop != KVAT_STOP_RUNNING)
        kvat__ledger_open(ledger, NULL, 0);
    else
        open_choice(&c, m, ledger);
    return KVAT_OK;
}

static void model_tell(void *state, const kvat__ledger *ledger, const kvat_search_result *result) {
    (void)state, (void)ledger, (void)result; // everything is read off the ledger when the next runs are due
}

/* ---- the answer ---- */

static kvat_status view_now(const model_view **out, const model *m, const kvat__ledger *ledger, bool glance,
                            kvat_error *err) {
    if (m->has_decided && (glance || m->decided.n_told == ledger->n_told)) {
        *out = &m->decided;
        return KVAT_OK;
    }
    if (m->looked->n_told != ledger->n_told) {
        model_view view;
        const kvat_status status = kvat__model_view_make(&view, &m->space, belief_of(m), ledger, err);
        if (status != KVAT_OK) return status;
        kvat__model_view_clear(m->looked);
        *m->looked = view;
    }
    *out = m->looked;
    return KVAT_OK;
}

// In the first runs variances are not to be trusted, and no confidence is claimed. Where failures cut the design short
// the draws have the fewest degrees of freedom there are.
static bool may_claim(const model *m, const kvat__ledger *ledger) {
    return m->phase == PHASE_SEARCH || kvat__ledger_candidates(ledger) == 1;
}

// Score parts are weighted: ln TTFT with its sign turned. What has no weight is not known.
static void unweigh(double out[4], const double in[4], const kvat__ledger *ledger, bool is_signed) {
    static const double SIGN[] = {-1, 1, -1};
    for (size_t part = 0; part < 3; part++) {
        const double weight = kvat__model_weight(&ledger->options, part);
        out[part] = weight > 0 ? (is_signed ? SIGN[part] : 1) * in[part] / weight : NAN;
    }
    out[3] = in[3];
}

// For the confirmation: two full-length runs side by side, each of which takes about twice as long as one of the
// search.
static kvat_status fill_prospect(kvat_search_answer *out, const model *m, const model_view *view,
                                 const kvat__ledger *ledger, kvat_error *err) {
    double sd[4], cost_s = 0;
    for (size_t i = 0; i < ledger->n_runs; i++)
        cost_s += 1e-9 * (double)ledger->runs[i].result.cost_ns / (double)ledger->n_runs;
    kvat__model_pair_sd(sd, &m->space, &view->belief, &view->fit, PAIR_APART * cost_s);
    unweigh(out->pair_sd, sd, ledger, false);
    if (!view->has_leader || ledger->tally[0].clean_runs < DEFAULT_RUNS) return KVAT_OK;
    model_gain gain;
    double *room = calloc(7 * view->rows.n, sizeof *room);
    if (!room) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the gain of the leader");
    kvat__model_gain(&gain, room, view->posterior.list[view->pick], 0, &m->space, &view->belief, &view->fit,
                     &view->rows);
    free(room);
    for (size_t i = 0; i < 4; i++) sd[i] = sqrt((1 + view->belief.restless) * gain.variance[i]);
    unweigh(out->gain_mean, gain.mean, ledger, true);
    unweigh(out->gain_sd, sd, ledger, false);
    out->gain_dof = view->dof;
    return KVAT_OK;
}

static void fill_answer(kvat_search_answer *out, kvat_search_standing *standing, const model *m, const model_view *view,
                        const kvat__ledger *ledger) {
    const bool claim = may_claim(m, ledger);
    out->sigma = view->rows.n > 1 ? sqrt(noise_of(&view->belief)) : NAN;
    for (size_t i = 0; !claim && i < ledger->options.n_configs; i++) standing[i].p_good = 0;
    out->restless = view->belief.restless;
    out->has_leader = view->has_leader;
    if (!view->has_leader) return;
    out->leader = view->posterior.list[view->pick];
    out->p_good = claim ? view->p_good[view->pick] : 0;
    out->p_best = claim ? view->p_best[view->pick] : 0;
    out->incumbent_kept = view->incumbent_kept;
    if (!claim || isnan(view->p_challenger)) return;
    out->challenger = view->posterior.list[view->leader];
    out->p_challenger = view->p_challenger;
}

static kvat_status model_answer(kvat_search_answer *out, kvat_search_standing *standing, const void *state,
                                const kvat__ledger *ledger, bool glance, kvat_error *err) {
    const model *m = state;
    const model_view *view;
    out->stop = m->stop;
    for (size_t i = 0; i < ledger->options.n_configs; i++)
        standing[i] = (kvat_search_standing){.gain = {NAN, NAN, NAN}};
    if (ledger->n_runs == 0) return KVAT_OK;
    kvat_status status = view_now(&view, m, ledger, glance, err);
    if (status == KVAT_OK) status = kvat__model_view_gains(standing, view, &m->space, ledger, err);
    if (status == KVAT_OK && may_claim(m, ledger)) status = fill_prospect(out, m, view, ledger, err);
    if (status != KVAT_OK) return status;
    fill_answer(out, standing, m, view, ledger);
    return KVAT_OK;
}

// What simulated searches of bench/search take beyond the first design.
static kvat_search_outlook model_outlook(const void *state, const kvat__ledger *ledger) {
    const model *m = state;
    kvat_search_outlook outlook = {0, 0, 0};
    if (m->stop != KVAT_STOP_RUNNING) return outlook;
    const size_t told = ledger->n_told, first = m->first_runs, likely = first + first / 2, firm = 2 * first + first / 2;
    const size_t most = most_runs(m, ledger);
    outlook.first_guess = first > told ? first - told : 0;
    outlook.likely = likely > told ? likely - told : 0;
    outlook.firm = firm > told ? firm - told : 0;
    if (outlook.firm < told / OUTLOOK_SHARE)
        outlook.firm = told / OUTLOOK_SHARE; // the longer it took, the longer it takes
    return kvat__outlook_within(outlook, most > told ? most - told : 0);
}

const kvat_search_method kvat__model = {
    .name = "model",
    .new = model_new,
    .free = model_free,
    .propose = model_propose,
    .tell = model_tell,
    .answer = model_answer,
    .outlook = model_outlook,
};
