// The search object: picks the method from the table, passes on results, and answers.
// Knows nothing of how any method works.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "method.h"

struct kvat_search {
    const kvat_search_method *method;
    void *state;
    kvat__ledger ledger;
    kvat_search_standing *standing;
};

static const kvat_search_method *const METHODS[] = {&kvat__model, &kvat__race, NULL};
static const char *const METHOD_NAMES[] = {"model", "race", NULL};

const char *const *kvat_search_methods(void) {
    return METHOD_NAMES;
}

static const kvat_search_method *find_method(const char *name) {
    size_t i = 0;
    while (METHODS[i] && name && strcmp(name, METHODS[i]->name) != 0) i++;
    return METHODS[i];
}

kvat_status kvat_search_new(kvat_search **out, const kvat_search_options *options, kvat_error *err) {
    const kvat_search_method *method = find_method(options->method);
    if (!method)
        return kvat_fail(err, KVAT_ERR_USAGE, "no search method '%s'; there are: model, race", options->method);
    kvat_status status;
    kvat_search *search = calloc(1, sizeof *search);
    if (!search) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate a search");
    search->method = method;
    status = kvat__ledger_init(&search->ledger, options, err);
    if (status != KVAT_OK) goto done;
    search->standing = calloc(options->n_configs, sizeof *search->standing);
    if (!search->standing) {
        status =
            kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the standing of %zu configurations", options->n_configs);
        goto done;
    }
    status = method->new (&search->state, &search->ledger, err);
done:
    if (status == KVAT_OK)
        *out = search;
    else
        kvat_search_free(search);
    return status;
}

void kvat_search_free(kvat_search *search) {
    if (!search) return;
    if (search->state) search->method->free(search->state);
    kvat__ledger_clear(&search->ledger);
    free(search->standing);
    free(search);
}

kvat_status kvat_search_propose(const kvat_search_trial **trials, size_t *n, kvat_search *search, kvat_error *err) {
    if (kvat__ledger_rest(&search->ledger) == 0) {
        const kvat_status status = search->method->propose(search->state, &search->ledger, err);
        if (status != KVAT_OK) return status;
    }
    *trials = search->ledger.open;
    *n = search->ledger.n_open;
    return KVAT_OK;
}

kvat_status kvat_search_tell(kvat_search *search, const kvat_search_result *result, kvat_error *err) {
    const kvat_status status = kvat__ledger_tell(&search->ledger, result, err);
    if (status == KVAT_OK) search->method->tell(search->state, &search->ledger, result);
    return status;
}

static void fill_tallies(kvat_search_answer *out, kvat_search *search) {
    const kvat__ledger *ledger = &search->ledger;
    for (size_t i = 0; i < ledger->options.n_configs; i++) {
        const kvat__tally *tally = &ledger->tally[i];
        search->standing[i].state = tally->state;
        search->standing[i].clean_runs = tally->clean_runs;
        search->standing[i].failures = tally->failures;
        out->survivors += kvat__ledger_survives(ledger, i);
        out->tried += tally->clean_runs + tally->failures + tally->voids > 0;
    }
    out->trials = ledger->n_told;
    out->standing = search->standing;
}

static kvat_status answer_of(kvat_search_answer *out, kvat_search *search, bool glance, kvat_error *err) {
    kvat_search_answer answer = {.sigma = NAN, .challenger = SIZE_MAX, .p_challenger = NAN};
    for (size_t i = 0; i < 4; i++) answer.pair_sd[i] = answer.gain_mean[i] = answer.gain_sd[i] = NAN;
    const kvat_status status =
        search->method->answer(&answer, search->standing, search->state, &search->ledger, glance, err);
    if (status != KVAT_OK) return status;
    fill_tallies(&answer, search);
    // A method that is not asked for more does not notice it.
    if (answer.stop == KVAT_STOP_RUNNING && kvat__ledger_candidates(&search->ledger) == 0)
        answer.stop = KVAT_STOP_INFEASIBLE;
    *out = answer;
    return KVAT_OK;
}

kvat_status kvat_search_answer_get(kvat_search_answer *out, kvat_search *search, kvat_error *err) {
    return answer_of(out, search, false, err);
}

kvat_status kvat_search_answer_glance(kvat_search_answer *out, kvat_search *search, kvat_error *err) {
    return answer_of(out, search, true, err);
}

kvat_search_outlook kvat_search_outlook_get(const kvat_search *search) {
    return search->method->outlook(search->state, &search->ledger);
}
