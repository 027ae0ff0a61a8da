// Estimates, posterior, leader and tie rule of the race, from the clean runs in the ledger.
// Knows nothing of blocks, budgets or what to run next.
#include "race_view.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

// Arms further behind than this share of a Student tail cannot change a share of some thousand draws; they are left
// out.
static const double NEGLIGIBLE = 1e-7;
enum { DRAWS_STREAM = 0x706f7374 };

struct observations {
    double *y;
    size_t *arm, *chunk, *in_chunk;
    size_t n, n_chunks;
};

static void observations_clear(struct observations *o) {
    free(o->y);
    free(o->arm);
    free(o->chunk);
    free(o->in_chunk);
    *o = (struct observations){0};
}

// A run alone in its chunk tells only of the chunk: it is left out.
static kvat_status observations_init(struct observations *o, const kvat__ledger *ledger, kvat_error *err) {
    *o = (struct observations){0};
    for (size_t i = 0; i < ledger->n_runs; i++) {
        if (ledger->runs[i].result.trial.chunk >= o->n_chunks) o->n_chunks = ledger->runs[i].result.trial.chunk + 1;
    }
    o->y = calloc(ledger->n_runs + 1, sizeof *o->y);
    o->arm = calloc(ledger->n_runs + 1, sizeof *o->arm);
    o->chunk = calloc(ledger->n_runs + 1, sizeof *o->chunk);
    o->in_chunk = calloc(o->n_chunks + 1, sizeof *o->in_chunk);
    if (!o->y || !o->arm || !o->chunk || !o->in_chunk) {
        observations_clear(o);
        return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate %zu observations", ledger->n_runs);
    }
    for (size_t i = 0; i < ledger->n_runs; i++) o->in_chunk[ledger->runs[i].result.trial.chunk]++;
    for (size_t i = 0; i < ledger->n_runs; i++) {
        const kvat_search_result *run = &ledger->runs[i].result;
        if (o->in_chunk[run->trial.chunk] < 2) continue;
        o->y[o->n] = run->score;
        o->arm[o->n] = run->trial.config;
        o->chunk[o->n++] = run->trial.chunk;
    }
    return KVAT_OK;
}

static kvat_status fit_runs(kvat_anchored_fit *fit, const kvat__ledger *ledger, kvat_error *err) {
    struct observations o;
    kvat_status status = observations_init(&o, ledger, err);
    if (status != KVAT_OK) return status;
    if (o.n > 0) {
        const kvat_anchored_input in = {
            o.y, o.arm, o.chunk, o.n, ledger->options.n_configs, o.n_chunks, ledger->options.sigma_floor};
        status = kvat_anchored_fit_make(fit, &in, err);
    }
    observations_clear(&o);
    return status;
}

// The group with most feasible configurations; while a chunk's anchor has failed there can be several.
static size_t main_group(const kvat_anchored_fit *fit, const kvat__ledger *ledger) {
    size_t best = 0, best_count = 0;
    for (size_t g = 0; g < fit->n_groups; g++) {
        size_t count = 0;
        for (size_t i = 0; i < fit->n_arms; i++)
            count += fit->group[i] == g && kvat__ledger_feasible(ledger, i) && ledger->options.configs[i].eligible;
        if (count > best_count) {
            best = g;
            best_count = count;
        }
    }
    return best;
}

bool kvat__race_view_comparable(const race_view *view, size_t config) {
    return view->fit.n_arms > 0 && view->fit.group[config] == view->group;
}

double kvat__race_view_contrast_se(const race_view *view, size_t a, size_t b) {
    const double *cov = view->fit.covariance;
    const size_t n = view->fit.n_arms;
    return sqrt(fmax(cov[a * n + a] + cov[b * n + b] - 2 * cov[a * n + b], 1e-18));
}

double kvat__race_view_confusion(const race_view *view, size_t config, double delta) {
    const double behind = view->fit.estimate[view->leader] - view->fit.estimate[config] + delta;
    return kvat_student_cdf(-behind / kvat__race_view_contrast_se(view, config, view->leader), view->fit.dof);
}

static bool may_lead(const kvat__ledger *ledger, size_t config) {
    return ledger->options.configs[config].eligible && kvat__ledger_feasible(ledger, config) &&
           ledger->tally[config].clean_runs > 0;
}

static void choose_leader(race_view *view, const kvat__ledger *ledger) {
    for (size_t i = 0; i < ledger->options.n_configs; i++) {
        if (!may_lead(ledger, i) || (view->fit.n_arms > 0 && !kvat__race_view_comparable(view, i))) continue;
        if (!view->has_leader || (view->fit.n_arms > 0 && view->fit.estimate[i] > view->fit.estimate[view->leader]))
            view->leader = i;
        view->has_leader = true;
    }
}

static bool contends(const race_view *view, const kvat__ledger *ledger, size_t config, double reach) {
    if (!kvat__race_view_comparable(view, config) || !kvat__ledger_feasible(ledger, config)) return false;
    const double behind = view->fit.estimate[view->leader] - view->fit.estimate[config] - ledger->options.delta;
    return config == view->leader || behind <= reach * kvat__race_view_contrast_se(view, config, view->leader);
}

// The part of the fit that concerns `arms`, which become 0 … m − 1.
static kvat_status take_part(kvat_anchored_fit *part, const kvat_anchored_fit *fit, const size_t *arms, size_t m,
                             kvat_error *err) {
    *part = *fit;
    part->n_arms = m;
    part->group = NULL;
    part->estimate = calloc(m, sizeof *part->estimate);
    part->covariance = calloc(m * m, sizeof *part->covariance);
    if (!part->estimate || !part->covariance) {
        kvat_anchored_fit_clear(part);
        return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the posterior of %zu configurations", m);
    }
    for (size_t i = 0; i < m; i++) {
        part->estimate[i] = fit->estimate[arms[i]];
        for (size_t j = 0; j < m; j++) part->covariance[i * m + j] = fit->covariance[arms[i] * fit->n_arms + arms[j]];
    }
    return KVAT_OK;
}

static kvat_status draw_shares(race_view *view, const kvat__ledger *ledger, const size_t *arms, size_t m,
                               kvat_error *err) {
    assert(m > 0); // the leader at least
    const size_t n_draws = ledger->options.posterior_draws;
    kvat_anchored_fit part;
    kvat_status status = take_part(&part, &view->fit, arms, m, err);
    if (status != KVAT_OK) return status;
    double *draws = calloc(n_draws, m * sizeof *draws), *shares = calloc(2 * m, sizeof *shares);
    bool *may_win = calloc(m, sizeof *may_win);
    if (!draws || !shares || !may_win) {
        status = kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate %zu posterior draws", n_draws);
        goto done;
    }
    kvat_rng rng;
    kvat_rng_seed3(&rng, ledger->options.seed, ledger->n_runs, DRAWS_STREAM);
    status = kvat_anchored_draws(draws, n_draws, &part, &rng, err);
    if (status != KVAT_OK) goto done;
    for (size_t i = 0; i < m; i++) may_win[i] = ledger->options.configs[arms[i]].eligible;
    kvat_posterior_shares(shares, shares + m, draws, n_draws, m, may_win, ledger->options.delta);
    for (size_t i = 0; i < m; i++) {
        view->p_good[arms[i]] = shares[i];
        view->p_best[arms[i]] = shares[m + i];
    }
done:
    free(draws);
    free(shares);
    free(may_win);
    kvat_anchored_fit_clear(&part);
    return status;
}

static kvat_status find_shares(race_view *view, const kvat__ledger *ledger, kvat_error *err) {
    const size_t n = ledger->options.n_configs;
    size_t *arms = calloc(n, sizeof *arms);
    if (!arms) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the contenders");
    const double reach = kvat_student_quantile(1 - NEGLIGIBLE, view->fit.dof);
    size_t m = 0;
    for (size_t i = 0; i < n; i++) {
        if (contends(view, ledger, i, reach)) arms[m++] = i;
    }
    const kvat_status status = draw_shares(view, ledger, arms, m, err);
    free(arms);
    return status;
}

// Good enough to be the answer in the leader's place: as sure as is asked for, or as sure as the leader.
static bool ties(const race_view *view, const kvat__ledger *ledger, size_t config) {
    if (!may_lead(ledger, config) || ledger->tally[config].state != KVAT_CONFIG_RACING) return false;
    if (!kvat__race_view_comparable(view, config)) return false;
    if (ledger->tally[config].owed > 0 || ledger->tally[config].clean_runs < ledger->options.min_runs) return false;
    if (view->fit.estimate[config] < view->fit.estimate[view->leader] - ledger->options.delta / 2) return false;
    return view->p_good[config] >= fmin(ledger->options.p_good_target, view->p_good[view->leader]);
}

// P(the leader beats the incumbent by more than delta); NaN where there is no such pair, or nothing is known of it.
static double chance_against_incumbent(const race_view *view, const kvat__ledger *ledger) {
    const size_t incumbent = ledger->options.incumbent;
    if (!ledger->options.has_incumbent || incumbent == view->leader || !view->posterior) return NAN;
    if (!may_lead(ledger, incumbent) || ledger->tally[incumbent].owed > 0) return NAN;
    if (!kvat__race_view_comparable(view, incumbent)) return NAN;
    const double ahead = view->fit.estimate[view->leader] - view->fit.estimate[incumbent] - ledger->options.delta;
    return kvat_student_cdf(ahead / kvat__race_view_contrast_se(view, view->leader, incumbent), view->fit.dof);
}

static void choose_pick(race_view *view, const kvat__ledger *ledger) {
    const kvat_search_config *configs = ledger->options.configs;
    view->pick = view->leader;
    view->p_challenger = chance_against_incumbent(view, ledger);
    if (view->p_challenger <= KVAT__REPLACE_AT) {
        view->pick = ledger->options.incumbent;
        view->incumbent_kept = true;
        return;
    }
    if (ledger->options.has_incumbent && view->leader == ledger->options.incumbent) return;
    if (ledger->tally[view->leader].owed > 0) return;
    for (size_t i = 0; i < ledger->options.n_configs; i++) {
        if (configs[i].preference < configs[view->pick].preference && ties(view, ledger, i)) view->pick = i;
    }
}

// Nothing else can win: certain without any posterior.
static void crown_the_only_one(race_view *view) {
    view->posterior = true;
    view->p_good[view->leader] = view->p_best[view->leader] = 1;
}

kvat_status kvat__race_view_make(race_view *out, const kvat__ledger *ledger, bool whole, kvat_error *err) {
    const size_t n = ledger->options.n_configs;
    race_view view = {.p_challenger = NAN};
    kvat_status status = KVAT_OK;
    view.p_good = calloc(n, sizeof *view.p_good);
    view.p_best = calloc(n, sizeof *view.p_best);
    if (!view.p_good || !view.p_best) {
        status = kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the shares of %zu configurations", n);
        goto done;
    }
    status = fit_runs(&view.fit, ledger, err);
    if (status != KVAT_OK) goto done;
    if (view.fit.n_arms > 0) view.group = main_group(&view.fit, ledger);
    choose_leader(&view, ledger);
    if (!view.has_leader) goto done;
    if (whole && view.fit.n_arms > 0 && view.fit.residual_dof > 0) {
        status = find_shares(&view, ledger, err);
        view.posterior = true;
    } else if (kvat__ledger_candidates(ledger) == 1)
        crown_the_only_one(&view);
    if (status == KVAT_OK) choose_pick(&view, ledger);
done:
    if (status == KVAT_OK)
        *out = view;
    else
        kvat__race_view_clear(&view);
    return status;
}

void kvat__race_view_clear(race_view *view) {
    kvat_anchored_fit_clear(&view->fit);
    free(view->p_good);
    free(view->p_best);
    *view = (race_view){0};
}

static kvat_interval gain_of(const race_view *view, size_t config, size_t reference, double reach) {
    const double gain = view->fit.estimate[config] - view->fit.estimate[reference];
    if (view->fit.residual_dof == 0) return (kvat_interval){gain, NAN, NAN};
    const double half = reach * kvat__race_view_contrast_se(view, config, reference);
    return (kvat_interval){gain, gain - half, gain + half};
}

void kvat__race_view_gains(kvat_search_standing *standing, const race_view *view, const kvat__ledger *ledger) {
    const bool has_default =
        ledger->tally[0].clean_runs > 0 && (view->fit.n_arms == 0 || kvat__race_view_comparable(view, 0));
    const size_t reference = has_default ? 0 : view->pick;
    const double reach = view->fit.n_arms > 0 ? kvat_student_quantile(0.975, view->fit.dof) : NAN;
    for (size_t i = 0; i < ledger->options.n_configs; i++) {
        standing[i].p_good = view->p_good[i];
        if ((has_default || view->has_leader) && i == reference)
            standing[i].gain = (kvat_interval){0, 0, 0};
        else if (kvat__race_view_comparable(view, i) && kvat__race_view_comparable(view, reference))
            standing[i].gain = gain_of(view, i, reference, reach);
        else
            standing[i].gain = (kvat_interval){NAN, NAN, NAN};
    }
}
