// Drives a search and a confirmation in a world.
// Knows the library by its public headers alone.
#include "play.h"

#include <math.h>
#include <string.h>
#include <time.h>

static double cpu_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static kvat_search_result run_trial(world *w, const kvat_search_trial *trial) {
    const world_run run = world_measure(w, trial->config);
    kvat_search_result result = {
        .trial = *trial, .fate = run.fate, .out_of_memory = run.out_of_memory, .score = run.score};
    memcpy(result.part, run.part, sizeof result.part);
    result.started_ns = (int64_t)(run.started_s * 1e9);
    result.cost_ns = (int64_t)(run.cost_s * 1e9);
    return result;
}

// As a run does: asks anew after every result, since one may rule out what was proposed along with it.
static bool run_search(outcome *o, kvat_search *search, world *w) {
    for (;;) {
        const kvat_search_trial *trials;
        size_t n;
        const double before = cpu_s();
        if (kvat_search_propose(&trials, &n, search, NULL) != KVAT_OK) return false;
        const double spent = cpu_s() - before;
        o->cpu_s += spent;
        o->worst_cpu_s = fmax(o->worst_cpu_s, spent);
        o->decisions++;
        if (n == 0) return true;
        const kvat_search_result result = run_trial(w, &trials[0]);
        if (kvat_search_tell(search, &result, NULL) != KVAT_OK) return false;
    }
}

/* ---- confirmation ---- */

static bool confirm_by_pairs(outcome *o, world *w, const kvat_search_answer *a, double delta) {
    const kvat_confirm_options options = kvat_confirm_options_after(a, delta);
    kvat_confirm *c;
    kvat_confirm_trial trial;
    if (kvat_confirm_new(&c, &options, NULL) != KVAT_OK) return false;
    bool ok = true;
    while (ok && kvat_confirm_propose(&trial, c)) {
        const size_t config = trial.side == 0 ? a->leader : 0;
        const world_run run = trial.whole ? world_measure_full(w, config) : world_measure_fresh(w, config);
        ok = kvat_confirm_tell(c, &trial, run.fate == KVAT_FATE_OK, run.score, run.ln_part, NULL) == KVAT_OK;
    }
    const kvat_confirm_answer answer = kvat_confirm_answer_get(c);
    if (answer.pairs >= options.min_pairs) {
        o->claim = answer.score.value;
        o->claim_low = answer.score.low;
        o->claim_high = answer.score.high;
    }
    o->claimed = answer.verdict == KVAT_VERDICT_A;
    o->decided = o->confident && (answer.verdict != KVAT_VERDICT_FAILED || answer.failed_side == 0);
    kvat_confirm_free(c);
    return ok;
}

static bool settle(outcome *o, world *w, const kvat_search_answer *a, const play_options *options) {
    const bool against_default =
        a->leader != 0 && a->standing[0].clean_runs > 0 && strcmp(options->confirm, "none") != 0;
    bool ok = true;
    o->decided = o->confident;
    if (against_default) ok = confirm_by_pairs(o, w, a, options->delta);
    o->claim_truth = w->score[a->leader] - w->score[0];
    outcome_judge(o, w, against_default && !o->claimed ? 0 : a->leader);
    return ok;
}

static bool search_and_settle(outcome *o, kvat_search *search, world *w, const play_options *options) {
    kvat_search_answer answer;
    if (!run_search(o, search, w) || kvat_search_answer_get(&answer, search, NULL) != KVAT_OK) return false;
    o->search_ratio = w->now_s / world_grid_s(w);
    o->trials = (double)answer.trials;
    o->infeasible = answer.stop == KVAT_STOP_INFEASIBLE;
    if (!answer.has_leader) {
        outcome_judge(o, w, 0);
        o->search_regret = o->regret;
        return true;
    }
    o->p_good = answer.p_good;
    o->confident = answer.stop == KVAT_STOP_CONFIDENT || answer.stop == KVAT_STOP_ONE_LEFT;
    o->search_regret = w->score[w->best] - w->score[answer.leader];
    return settle(o, w, &answer, options);
}

bool play(outcome *o, world *w, const play_options *options) {
    kvat_search_options so = KVAT_SEARCH_OPTIONS_INIT;
    kvat_search *search = NULL;
    *o = (outcome){.claim = NAN, .claim_low = NAN, .claim_high = NAN};
    so.method = options->method;
    so.seed = options->seed;
    so.configs = w->configs;
    so.n_configs = w->n_configs;
    so.n_knobs = w->n_knobs;
    so.knobs = w->knobs;
    so.delta = options->delta;
    so.max_trials = options->most_trials;
    so.has_incumbent = options->has_incumbent;
    so.incumbent = options->incumbent;
    const bool ok = kvat_search_new(&search, &so, NULL) == KVAT_OK && search_and_settle(o, search, w, options);
    kvat_search_free(search);
    return ok;
}
