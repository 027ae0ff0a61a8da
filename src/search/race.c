// The anchored race: blocks of chunks that share the leader, then duels of the leader with its closest challenger.
// Knows nothing of how estimates are made (race_view) nor of what a failure means (ledger).
#include <math.h>
#include <stdlib.h>

#include "race_view.h"

enum {
    WHOLE_BLOCKS = 2, // passes before anything is eliminated or claimed
    DUEL_AT = 4,      // survivors
    ORDER_STREAM = 0x6f726465,
    CHUNK_STREAM = 0x6368756e,
};
static const double ELIMINATE_BELOW = 0.002;

typedef enum race_phase { PHASE_FIRST, PHASE_PASSES, PHASE_DUELS, PHASE_OVER } race_phase;

typedef struct race {
    race_phase phase;
    size_t block, chunk; // numbers of the current block and the next chunk
    size_t *queue;       // of this block, still to run
    size_t queue_at, n_queue;
    size_t anchor;     // in every chunk of this block; SIZE_MAX for none yet
    size_t duels_left; // of this block
    kvat_search_stop stop;
    kvat_search_stop settled; // why nothing that may win needs another run; RUNNING while one does
    double sigma;             // of a run, at the last decision; 0 while unknown
    kvat_search_trial *plan;  // chunk_size + 1, to build a proposal in
} race;

static void race_free(void *state) {
    race *r = state;
    free(r->queue);
    free(r->plan);
    free(r);
}

static kvat_status race_new(void **out, const kvat__ledger *ledger, kvat_error *err) {
    if (ledger->options.n_configs > KVAT_SEARCH_RACE_MAX)
        return kvat_fail(err, KVAT_ERR_USAGE, "a race takes at most %d configurations, not %zu", KVAT_SEARCH_RACE_MAX,
                         ledger->options.n_configs);
    race *r = calloc(1, sizeof *r);
    if (r) {
        r->queue = calloc(ledger->options.n_configs, sizeof *r->queue);
        r->plan = calloc(ledger->options.chunk_size, sizeof *r->plan);
    }
    if (!r || !r->queue || !r->plan) {
        if (r) race_free(r);
        return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate a race of %zu", ledger->options.n_configs);
    }
    *out = r;
    return KVAT_OK;
}

static bool whole(const race *r) {
    return r->phase == PHASE_DUELS || r->block >= WHOLE_BLOCKS;
}

static size_t count_survivors(const kvat__ledger *ledger, bool eligible_only) {
    size_t count = 0;
    for (size_t i = 0; i < ledger->options.n_configs; i++)
        count += kvat__ledger_survives(ledger, i) && (!eligible_only || ledger->options.configs[i].eligible);
    return count;
}

// Both ways, so that one put out by bad luck comes back when later runs speak for it.
static void eliminate(kvat__ledger *ledger, const race_view *view) {
    for (size_t i = 0; i < ledger->options.n_configs; i++) {
        kvat__tally *tally = &ledger->tally[i];
        if (!kvat__ledger_feasible(ledger, i) || !kvat__race_view_comparable(view, i)) continue;
        const bool keep = i == view->leader || view->p_good[i] >= ELIMINATE_BELOW;
        tally->state = keep ? KVAT_CONFIG_RACING : KVAT_CONFIG_ELIMINATED;
    }
}

// One voided once or twice catches up on what the others had in two passes; more often, and it is not waited for.
static size_t least_runs(const kvat__ledger *ledger, size_t config) {
    const size_t voids = ledger->tally[config].voids, least = ledger->options.min_runs;
    return voids > 0 && voids <= WHOLE_BLOCKS && least < WHOLE_BLOCKS ? WHOLE_BLOCKS : least;
}

// Something an answer may not do without: a first run, a link to the leader, the runs asked for or owed.
static bool needs_run(const kvat__ledger *ledger, const race_view *view, size_t config) {
    const kvat__tally *tally = &ledger->tally[config];
    if (!kvat__ledger_survives(ledger, config)) return false;
    if (tally->clean_runs < least_runs(ledger, config) || tally->owed > 0) return true;
    return kvat__ledger_candidates(ledger) > 1 && !kvat__race_view_comparable(view, config);
}

// Of those that may win, or of those that may not.
static bool any_needs_run(const kvat__ledger *ledger, const race_view *view, bool eligible) {
    for (size_t i = 0; i < ledger->options.n_configs; i++) {
        if (ledger->options.configs[i].eligible == eligible && needs_run(ledger, view, i)) return true;
    }
    return false;
}

// One that may not win is run to be ranked, not to be told from the best: two passes, and what it owes, are enough.
static bool belongs_in_pass(const kvat__ledger *ledger, const race_view *view, size_t config) {
    if (!kvat__ledger_survives(ledger, config)) return false;
    if (ledger->options.configs[config].eligible || ledger->tally[config].clean_runs < WHOLE_BLOCKS) return true;
    return needs_run(ledger, view, config);
}

// Whether more runs of those that may win could change the answer, and if not, why not.
static kvat_search_stop settle(const race *r, const kvat__ledger *ledger, const race_view *view) {
    if (!view->has_leader || !view->posterior || any_needs_run(ledger, view, true)) return KVAT_STOP_RUNNING;
    if (kvat__ledger_candidates(ledger) == 1) return KVAT_STOP_ONE_LEFT;
    if (!whole(r)) return KVAT_STOP_RUNNING;
    if (count_survivors(ledger, true) == 1) return KVAT_STOP_ONE_LEFT;
    const size_t sure = view->incumbent_kept ? view->leader : view->pick;
    return view->p_good[sure] >= ledger->options.p_good_target ? KVAT_STOP_CONFIDENT : KVAT_STOP_RUNNING;
}

static kvat_search_stop stop_reason(const race *r, const kvat__ledger *ledger, const race_view *view) {
    const bool all_seen = whole(r) || count_survivors(ledger, false) == 1;
    const bool last = r->block >= ledger->options.max_blocks;
    if (r->settled != KVAT_STOP_RUNNING && (last || (all_seen && !any_needs_run(ledger, view, false))))
        return r->settled;
    return last ? KVAT_STOP_BUDGET : KVAT_STOP_RUNNING;
}

static size_t choose_anchor(const kvat__ledger *ledger, const race_view *view) {
    if (view->has_leader) return view->leader;
    for (size_t i = 0; i < ledger->options.n_configs; i++) {
        if (kvat__ledger_survives(ledger, i) && ledger->tally[i].clean_runs > 0) return i;
    }
    return SIZE_MAX;
}

// Every survivor but the anchor, in random order; once the answer is settled, only those that still need a run.
static void queue_pass(race *r, const kvat__ledger *ledger, const race_view *view) {
    const bool rest_only = whole(r) && r->settled != KVAT_STOP_RUNNING;
    r->queue_at = r->n_queue = 0;
    for (size_t i = 0; i < ledger->options.n_configs; i++) {
        if (i == r->anchor) continue;
        if (rest_only ? needs_run(ledger, view, i) : belongs_in_pass(ledger, view, i)) r->queue[r->n_queue++] = i;
    }
    kvat_rng rng;
    kvat_rng_seed3(&rng, ledger->options.seed, r->block, ORDER_STREAM);
    kvat_rng_shuffle(&rng, r->queue, r->n_queue);
}

static double mean_cost(const kvat__ledger *ledger, size_t config) {
    const kvat__tally *tally = &ledger->tally[config];
    return 1 + (tally->clean_runs ? (double)tally->cost_ns / (double)tally->clean_runs : 0);
}

// The one most likely to beat the leader by more than delta, for what a pair with it costs.
static size_t choose_challenger(const kvat__ledger *ledger, const race_view *view) {
    size_t best = SIZE_MAX;
    double best_worth = -1;
    for (size_t i = 0; i < ledger->options.n_configs; i++) {
        if (i == view->leader || !ledger->options.configs[i].eligible || !kvat__ledger_survives(ledger, i)) continue;
        if (needs_run(ledger, view, i)) return i;
        const double worth = kvat__race_view_confusion(view, i, ledger->options.delta) /
                             (mean_cost(ledger, i) + mean_cost(ledger, view->leader));
        if (worth > best_worth) {
            best_worth = worth;
            best = i;
        }
    }
    return best;
}

static void queue_duel(race *r, const kvat__ledger *ledger, const race_view *view) {
    const size_t challenger = choose_challenger(ledger, view);
    r->queue_at = r->n_queue = 0;
    if (challenger != SIZE_MAX) r->queue[r->n_queue++] = challenger;
}

// What the block that ended leaves to do.
static void next_step(race *r, const kvat__ledger *ledger, const race_view *view) {
    r->anchor = choose_anchor(ledger, view);
    const size_t left = count_survivors(ledger, true);
    if (whole(r) && view->posterior && left <= DUEL_AT && r->settled == KVAT_STOP_RUNNING) {
        if (r->phase != PHASE_DUELS || r->duels_left == 0) r->duels_left = (left + 1) / 2;
        r->phase = PHASE_DUELS;
        queue_duel(r, ledger, view);
    } else {
        r->phase = PHASE_PASSES;
        queue_pass(r, ledger, view);
    }
}

static void end_step(race *r) {
    if (r->phase == PHASE_PASSES || (r->phase == PHASE_DUELS && --r->duels_left == 0)) r->block++;
}

static kvat_status advance(race *r, kvat__ledger *ledger, kvat_error *err) {
    race next = *r;
    race_view view;
    end_step(&next);
    const kvat_status status = kvat__race_view_make(&view, ledger, whole(&next), err);
    if (status != KVAT_OK) return status;
    if (view.posterior && whole(&next)) eliminate(ledger, &view);
    if (view.fit.n_arms > 0 && view.fit.residual_dof > 0) next.sigma = view.fit.sigma;
    next.settled = settle(&next, ledger, &view);
    next.stop = stop_reason(&next, ledger, &view);
    if (next.stop == KVAT_STOP_RUNNING) next_step(&next, ledger, &view);
    *r = next;
    kvat__race_view_clear(&view);
    return KVAT_OK;
}

static bool retry_due(const kvat__ledger *ledger, size_t config) {
    return ledger->tally[config].retry && kvat__ledger_survives(ledger, config);
}

static size_t count_retries(const race *r, const kvat__ledger *ledger) {
    size_t count = 0;
    for (size_t i = 0; i < ledger->options.n_configs; i++) count += i != r->anchor && retry_due(ledger, i);
    return count;
}

static size_t add(race *r, const kvat__ledger *ledger, size_t n, size_t config) {
    for (size_t i = 0; i < n; i++) {
        if (r->plan[i].config == config) return n;
    }
    r->plan[n] = (kvat_search_trial){config, r->chunk, r->block, ledger->tally[config].fresh_process};
    return n + 1;
}

// Retries first, then the queue, `room` at most.
static size_t fill_chunk(race *r, const kvat__ledger *ledger, size_t room) {
    size_t n = 0;
    for (size_t i = 0; i < ledger->options.n_configs && n < room; i++) {
        if (i != r->anchor && retry_due(ledger, i)) n = add(r, ledger, n, i);
    }
    while (n < room && r->queue_at < r->n_queue) {
        const size_t config = r->queue[r->queue_at++];
        if (config != r->anchor && kvat__ledger_survives(ledger, config)) n = add(r, ledger, n, config);
    }
    return n;
}

static void shuffle_plan(race *r, uint64_t seed, size_t n) {
    kvat_rng rng;
    kvat_rng_seed3(&rng, seed, r->chunk, CHUNK_STREAM);
    for (size_t i = n; i > 1; i--) {
        const size_t j = (size_t)kvat_rng_below(&rng, i);
        const kvat_search_trial held = r->plan[i - 1];
        r->plan[i - 1] = r->plan[j];
        r->plan[j] = held;
    }
}

// The next chunk: an even share of what the block has left, and the anchor among it.
static size_t plan_chunk(race *r, const kvat__ledger *ledger) {
    if (r->anchor != SIZE_MAX && !kvat__ledger_survives(ledger, r->anchor)) {
        const race_view nobody = {0};
        r->anchor = choose_anchor(ledger, &nobody);
    }
    const size_t most = ledger->options.chunk_size - (r->anchor != SIZE_MAX);
    const size_t left = r->n_queue - r->queue_at + count_retries(r, ledger);
    const size_t chunks = (left + most - 1) / most;
    size_t n = fill_chunk(r, ledger, chunks ? (left + chunks - 1) / chunks : 0);
    if (r->anchor != SIZE_MAX) n = add(r, ledger, n, r->anchor);
    shuffle_plan(r, ledger->options.seed, n);
    return n;
}

static size_t plan_default(race *r, const kvat__ledger *ledger) {
    r->anchor = 0;
    return add(r, ledger, 0, 0);
}

static bool default_again(const kvat__ledger *ledger) {
    return ledger->tally[0].clean_runs == 0 && retry_due(ledger, 0);
}

static void open_plan(race *r, kvat__ledger *ledger, size_t n) {
    const size_t limit = ledger->options.max_trials;
    if (limit > 0 && ledger->n_told + n > limit) n = limit - ledger->n_told;
    r->chunk++;
    kvat__ledger_open(ledger, r->plan, n);
}

// A queue may hold nothing that is still to be run, where results have ruled it out: then the next block is planned.
// Ends with max_blocks at the latest.
static kvat_status plan_next(size_t *n, race *r, kvat__ledger *ledger, kvat_error *err) {
    kvat_status status = KVAT_OK;
    *n = 0;
    while (status == KVAT_OK && r->stop == KVAT_STOP_RUNNING && *n == 0) {
        if (r->queue_at == r->n_queue && count_retries(r, ledger) == 0) status = advance(r, ledger, err);
        if (status == KVAT_OK && r->stop == KVAT_STOP_RUNNING) *n = plan_chunk(r, ledger);
    }
    return status;
}

static kvat_status race_propose(void *state, kvat__ledger *ledger, kvat_error *err) {
    race *r = state;
    const size_t limit = ledger->options.max_trials;
    kvat_status status = kvat__ledger_reserve(ledger, ledger->options.chunk_size, err);
    if (status != KVAT_OK) return status;
    if (r->stop == KVAT_STOP_RUNNING && kvat__ledger_candidates(ledger) == 0) r->stop = KVAT_STOP_INFEASIBLE;
    if (r->stop == KVAT_STOP_RUNNING && limit > 0 && ledger->n_told >= limit) r->stop = KVAT_STOP_BUDGET;
    if (r->stop == KVAT_STOP_RUNNING && r->phase == PHASE_FIRST && (ledger->n_told == 0 || default_again(ledger))) {
        open_plan(r, ledger, plan_default(r, ledger));
        return KVAT_OK;
    }
    size_t n = 0;
    status = plan_next(&n, r, ledger, err);
    if (status != KVAT_OK) return status;
    if (r->stop != KVAT_STOP_RUNNING)
        kvat__ledger_open(ledger, NULL, 0);
    else
        open_plan(r, ledger, n);
    return KVAT_OK;
}

static void race_tell(void *state, const kvat__ledger *ledger, const kvat_search_result *result) {
    (void)state, (void)ledger, (void)result; // everything is read off the ledger when the next chunk is due
}

static kvat_status race_answer(kvat_search_answer *out, kvat_search_standing *standing, const void *state,
                               const kvat__ledger *ledger, bool glance, kvat_error *err) {
    (void)glance;
    const race *r = state;
    race_view view;
    const kvat_status status = kvat__race_view_make(&view, ledger, whole(r), err);
    if (status != KVAT_OK) return status;
    kvat__race_view_gains(standing, &view, ledger);
    out->stop = r->stop;
    if (r->stop == KVAT_STOP_RUNNING && r->settled != KVAT_STOP_RUNNING) out->stop = settle(r, ledger, &view);
    out->has_leader = view.has_leader;
    if (view.has_leader) {
        out->leader = view.pick;
        out->p_good = view.p_good[view.pick];
        out->p_best = view.p_best[view.pick];
        out->incumbent_kept = view.incumbent_kept;
        if (!isnan(view.p_challenger)) out->challenger = view.leader;
        out->p_challenger = view.p_challenger;
    }
    if (view.fit.n_arms > 0 && view.fit.residual_dof > 0) out->sigma = view.fit.sigma;
    kvat__race_view_clear(&view);
    return KVAT_OK;
}

static size_t pass_trials(size_t others, size_t chunk_size) {
    return others + (others + chunk_size - 2) / (chunk_size - 1);
}

// What a race takes beyond two passes grows with the variance of a run: some six trials for (sigma / delta)², fitted to
// the simulated races of bench/search. Before the spread is known it is taken as twice delta.
static size_t duels_expected(const race *r, const kvat_search_options *o) {
    const double ratio = r->sigma > 0 ? r->sigma / o->delta : 2;
    return (size_t)fmin(6 * ratio * ratio, (double)(DUEL_AT * o->max_blocks));
}

static kvat_search_outlook race_outlook(const void *state, const kvat__ledger *ledger) {
    const race *r = state;
    const kvat_search_options *o = &ledger->options;
    kvat_search_outlook outlook = {0, 0, 0};
    if (r->stop != KVAT_STOP_RUNNING) return outlook;
    const size_t survivors = count_survivors(ledger, false);
    const size_t pass = survivors > 1 ? pass_trials(survivors - 1, o->chunk_size) : o->min_runs;
    const size_t now = r->phase == PHASE_FIRST ? pass : pass_trials(r->n_queue - r->queue_at, o->chunk_size);
    const size_t least = survivors > 1 && o->min_runs < WHOLE_BLOCKS ? WHOLE_BLOCKS : o->min_runs;
    if (r->block == 0) outlook.first_guess = now;
    if (r->block < least) outlook.likely = now + (least - 1 - r->block) * pass;
    const size_t beyond = ledger->n_told > 2 * pass ? ledger->n_told - 2 * pass : 0, duels = duels_expected(r, o);
    outlook.firm = outlook.likely + (survivors > 1 && duels > beyond ? duels - beyond : 0);
    return o->max_trials > 0 ? kvat__outlook_within(outlook, o->max_trials - ledger->n_told) : outlook;
}

const kvat_search_method kvat__race = {
    .name = "race",
    .new = race_new,
    .free = race_free,
    .propose = race_propose,
    .tell = race_tell,
    .answer = race_answer,
    .outlook = race_outlook,
};
