// The ledger of a search: what was proposed, what came of it, and which configurations a failure has put out.
// Knows nothing of scores beyond keeping them, nor of how the next trial is chosen.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "method.h"

enum {
    CLEAN_RUNS_OWED = 3, // after a failure
    FAILURES_ALLOWED = 1,
    VOIDS_ALLOWED = 2, // without a single clean run, while others have one
};

static kvat_status check_options(const kvat_search_options *o, kvat_error *err) {
    if (o->n_configs == 0 || !o->configs)
        return kvat_fail(err, KVAT_ERR_USAGE, "a search needs at least one configuration");
    if (!(o->delta > 0) || !isfinite(o->delta))
        return kvat_fail(err, KVAT_ERR_USAGE, "delta %g is not above 0", o->delta);
    if (!(o->p_good_target > 0 && o->p_good_target < 1))
        return kvat_fail(err, KVAT_ERR_USAGE, "a confidence of %g is not between 0 and 1", o->p_good_target);
    if (o->chunk_size < 2)
        return kvat_fail(err, KVAT_ERR_USAGE, "a chunk of %zu has no room beside its anchor", o->chunk_size);
    if (o->has_incumbent && o->incumbent >= o->n_configs)
        return kvat_fail(err, KVAT_ERR_USAGE, "the incumbent %zu is none of %zu configurations", o->incumbent,
                         o->n_configs);
    if (!(o->sigma_floor >= 0) || !isfinite(o->sigma_floor))
        return kvat_fail(err, KVAT_ERR_USAGE, "sigma_floor %g is negative", o->sigma_floor);
    return KVAT_OK;
}

static void fill_defaults(kvat_search_options *o) {
    if (o->min_runs == 0) o->min_runs = 1;
    if (o->max_blocks == 0) o->max_blocks = o->min_runs > 10 ? 2 * o->min_runs : 20;
    if (o->posterior_draws == 0) o->posterior_draws = 2000;
    if (o->sigma_floor == 0) o->sigma_floor = 1e-4;
}

kvat_status kvat__ledger_init(kvat__ledger *ledger, const kvat_search_options *options, kvat_error *err) {
    const kvat_status status = check_options(options, err);
    if (status != KVAT_OK) return status;
    *ledger = (kvat__ledger){.options = *options};
    fill_defaults(&ledger->options);
    ledger->tally = calloc(options->n_configs, sizeof *ledger->tally);
    if (!ledger->tally)
        return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate a search of %zu configurations", options->n_configs);
    return KVAT_OK;
}

void kvat__ledger_clear(kvat__ledger *ledger) {
    free(ledger->tally);
    free(ledger->runs);
    free(ledger->open);
    free(ledger->open_told);
    *ledger = (kvat__ledger){0};
}

kvat_status kvat__ledger_reserve(kvat__ledger *ledger, size_t n, kvat_error *err) {
    if (n > ledger->open_capacity) {
        kvat_search_trial *open = realloc(ledger->open, n * sizeof *open);
        if (open) ledger->open = open;
        bool *told = realloc(ledger->open_told, n * sizeof *told);
        if (told) ledger->open_told = told;
        if (!open || !told) goto no_memory;
        ledger->open_capacity = n;
    }
    if (ledger->n_runs + n > ledger->runs_capacity) {
        const size_t capacity = 2 * (ledger->n_runs + n) + 32;
        kvat__run *runs = realloc(ledger->runs, capacity * sizeof *runs);
        if (!runs) goto no_memory;
        ledger->runs = runs;
        ledger->runs_capacity = capacity;
    }
    return KVAT_OK;
no_memory:
    return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate a proposal of %zu trials", n);
}

void kvat__ledger_open(kvat__ledger *ledger, const kvat_search_trial *trials, size_t n) {
    ledger->open_order += ledger->n_open;
    ledger->n_open = n;
    if (n == 0) return;
    memcpy(ledger->open, trials, n * sizeof *trials);
    memset(ledger->open_told, 0, n * sizeof *ledger->open_told);
}

// Still worth running: not told, and not put out by what was told of others since.
static bool still_open(const kvat__ledger *ledger, size_t at) {
    return !ledger->open_told[at] && kvat__ledger_feasible(ledger, ledger->open[at].config);
}

size_t kvat__ledger_rest(kvat__ledger *ledger) {
    size_t rest = 0;
    for (size_t i = 0; i < ledger->n_open; i++) rest += still_open(ledger, i);
    if (rest == 0 || rest == ledger->n_open) return rest;
    // Those dropped count as the first, so that the orders of the rest follow on.
    size_t kept = 0;
    for (size_t i = 0; i < ledger->n_open; i++) {
        if (still_open(ledger, i)) ledger->open[kept++] = ledger->open[i];
    }
    ledger->open_order += ledger->n_open - rest;
    ledger->n_open = rest;
    memset(ledger->open_told, 0, rest * sizeof *ledger->open_told);
    return rest;
}

bool kvat__ledger_feasible(const kvat__ledger *ledger, size_t config) {
    return ledger->tally[config].state <= KVAT_CONFIG_ELIMINATED;
}

bool kvat__ledger_survives(const kvat__ledger *ledger, size_t config) {
    return ledger->tally[config].state <= KVAT_CONFIG_RACING;
}

size_t kvat__ledger_candidates(const kvat__ledger *ledger) {
    size_t count = 0;
    for (size_t i = 0; i < ledger->options.n_configs; i++)
        count += ledger->options.configs[i].eligible && kvat__ledger_feasible(ledger, i);
    return count;
}

// Index in the proposal, or n_open.
static size_t find_open(const kvat__ledger *ledger, const kvat_search_trial *trial) {
    for (size_t i = 0; i < ledger->n_open; i++) {
        const kvat_search_trial *open = &ledger->open[i];
        if (!ledger->open_told[i] && open->config == trial->config && open->chunk == trial->chunk &&
            open->block == trial->block)
            return i;
    }
    return ledger->n_open;
}

// Keeps runs in the order proposed even when told otherwise: sums of floating-point numbers depend on it.
static void record_run(kvat__ledger *ledger, const kvat_search_result *result, size_t order) {
    size_t at = ledger->n_runs++;
    for (; at > 0 && ledger->runs[at - 1].order > order; at--) ledger->runs[at] = ledger->runs[at - 1];
    ledger->runs[at] = (kvat__run){*result, order};
    kvat__tally *tally = &ledger->tally[result->trial.config];
    tally->clean_runs++;
    tally->cost_ns += result->cost_ns;
    if (tally->owed > 0) tally->owed--;
    if (tally->state == KVAT_CONFIG_UNTRIED) tally->state = KVAT_CONFIG_RACING;
}

// What is forecast to need more than one that ran out of memory twice is not started; a clean run refutes the forecast.
static void rule_out_larger(kvat__ledger *ledger, size_t config) {
    const int64_t bytes = ledger->options.configs[config].forecast_bytes;
    for (size_t i = 0; bytes > 0 && i < ledger->options.n_configs; i++) {
        kvat__tally *tally = &ledger->tally[i];
        if (ledger->options.configs[i].forecast_bytes > bytes && tally->clean_runs == 0 &&
            kvat__ledger_feasible(ledger, i))
            tally->state = KVAT_CONFIG_INFEASIBLE;
    }
}

static void record_failure(kvat__ledger *ledger, const kvat_search_result *result) {
    kvat__tally *tally = &ledger->tally[result->trial.config];
    const bool infeasible = result->fate == KVAT_FATE_INFEASIBLE;
    tally->failures++;
    tally->out_of_memory += infeasible && result->out_of_memory;
    if (tally->failures <= FAILURES_ALLOWED) {
        tally->owed = CLEAN_RUNS_OWED;
        tally->retry = true;
        tally->fresh_process = !infeasible || result->out_of_memory;
        return;
    }
    tally->state = infeasible && tally->clean_runs == 0 ? KVAT_CONFIG_INFEASIBLE : KVAT_CONFIG_UNSTABLE;
    if (tally->out_of_memory > FAILURES_ALLOWED) rule_out_larger(ledger, result->trial.config);
}

// Its turn comes again with the next pass: what disturbs now disturbs in a moment, too. As long as nobody has run
// clean, the machine is at fault and no configuration.
static void record_void(const kvat__ledger *ledger, kvat__tally *tally) {
    tally->voids++;
    tally->voids_beside_clean += ledger->n_runs > 0;
    if (tally->clean_runs == 0 && tally->voids_beside_clean > VOIDS_ALLOWED) tally->state = KVAT_CONFIG_UNSTABLE;
}

static void record_fate(kvat__ledger *ledger, const kvat_search_result *result, size_t order) {
    kvat__tally *tally = &ledger->tally[result->trial.config];
    if (result->fate == KVAT_FATE_VOIDED) {
        record_void(ledger, tally);
        tally->retry = tally->retry && tally->voids <= VOIDS_ALLOWED; // still wanted: it told nothing
        return;
    }
    tally->retry = tally->fresh_process = false;
    if (result->fate == KVAT_FATE_OK)
        record_run(ledger, result, order);
    else if (result->fate == KVAT_FATE_SLOW) {
        tally->failures++;
        tally->state = KVAT_CONFIG_SLOW;
    } else
        record_failure(ledger, result);
}

kvat_status kvat__ledger_tell(kvat__ledger *ledger, const kvat_search_result *result, kvat_error *err) {
    const size_t at = find_open(ledger, &result->trial);
    if (at == ledger->n_open)
        return kvat_fail(err, KVAT_ERR_USAGE, "configuration %zu in chunk %zu was not proposed, or was told already",
                         result->trial.config, result->trial.chunk);
    if (result->fate > KVAT_FATE_VOIDED) return kvat_fail(err, KVAT_ERR_USAGE, "no such fate: %d", (int)result->fate);
    if (result->cost_ns < 0 || (result->fate == KVAT_FATE_OK && !isfinite(result->score)))
        return kvat_fail(err, KVAT_ERR_DATA, "configuration %zu: a score of %g at a cost of %lld ns is no measurement",
                         result->trial.config, result->score, (long long)result->cost_ns);
    ledger->open_told[at] = true;
    ledger->n_told++;
    record_fate(ledger, result, ledger->open_order + at);
    return KVAT_OK;
}

kvat_search_outlook kvat__outlook_within(kvat_search_outlook outlook, size_t most) {
    outlook.first_guess = outlook.first_guess < most ? outlook.first_guess : most;
    outlook.likely = outlook.likely < most ? outlook.likely : most;
    outlook.firm = outlook.firm < most ? outlook.firm : most;
    return outlook;
}
