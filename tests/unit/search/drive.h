// A search driven against a table of true scores with seeded noise, and scripted failures.
// Must not know how the search chooses.
#ifndef KVAT_TEST_SEARCH_DRIVE_H
#define KVAT_TEST_SEARCH_DRIVE_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kvat/search.h"

#define LENGTH(a) (sizeof(a) / sizeof *(a))

enum { MOST_CONFIGS = 512, MOST_RESULTS = 4000 };

typedef struct machine {
    kvat_search_config configs[MOST_CONFIGS];
    kvat_search_options options;
    double score[MOST_CONFIGS];
    double noise, drift;                    // of a run, of a chunk
    kvat_search_fate fate[MOST_CONFIGS][8]; // of a configuration's first runs; OK afterwards, unless …
    bool always[MOST_CONFIGS];              // … fate[i][0] is what every run comes to
    bool out_of_memory[MOST_CONFIGS];
    kvat_rng rng;
    size_t runs[MOST_CONFIGS];
    kvat_search_result results[MOST_RESULTS];
    size_t n_results;
} machine;

static inline void machine_init(machine *m, size_t n_configs, double noise) {
    memset(m, 0, sizeof *m);
    const kvat_search_options defaults = KVAT_SEARCH_OPTIONS_INIT;
    m->options = defaults;
    m->options.method = "race"; // unless a test says otherwise
    m->options.configs = m->configs;
    m->options.n_configs = n_configs;
    m->options.seed = 17;
    m->noise = noise;
    kvat_rng_seed(&m->rng, 99);
    for (size_t i = 0; i < n_configs; i++) {
        m->configs[i] = (kvat_search_config){.eligible = true, .preference = (uint32_t)i};
        m->score[i] = -0.02 * (double)i;
    }
}

static inline kvat_search *machine_search(machine *m) {
    kvat_search *search = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    if (kvat_search_new(&search, &m->options, &err) != KVAT_OK) fail_msg("%s", err.message);
    return search;
}

static inline kvat_search_result machine_run(machine *m, const kvat_search_trial *trial) {
    const size_t config = trial->config, run = m->runs[config]++;
    kvat_search_result result = {.trial = *trial, .cost_ns = 1000000000, .out_of_memory = m->out_of_memory[config]};
    result.fate = m->always[config] ? m->fate[config][0] : run < 8 ? m->fate[config][run] : KVAT_FATE_OK;
    kvat_rng chunk;
    kvat_rng_seed3(&chunk, 5, trial->chunk, 0);
    result.score = m->score[config] + m->drift * kvat_rng_normal(&chunk) + m->noise * kvat_rng_normal(&m->rng);
    result.started_ns = (int64_t)m->n_results * 1000000000;
    return result;
}

static inline void must_tell(kvat_search *search, const kvat_search_result *result) {
    kvat_error err = KVAT_ERROR_INIT;
    if (kvat_search_tell(search, result, &err) != KVAT_OK) fail_msg("%s", err.message);
}

static inline size_t must_propose(const kvat_search_trial **trials, kvat_search *search) {
    size_t n = 0;
    kvat_error err = KVAT_ERROR_INIT;
    if (kvat_search_propose(trials, &n, search, &err) != KVAT_OK) fail_msg("%s", err.message);
    return n;
}

static inline kvat_search_answer answer_of(kvat_search *search) {
    kvat_search_answer answer;
    assert_int_equal(kvat_search_answer_get(&answer, search, NULL), KVAT_OK);
    return answer;
}

// One chunk; false when the search has finished.
static inline bool step(machine *m, kvat_search *search) {
    const kvat_search_trial *trials;
    const size_t n = must_propose(&trials, search);
    for (size_t i = 0; i < n; i++) {
        assert_true(m->n_results < MOST_RESULTS);
        m->results[m->n_results] = machine_run(m, &trials[i]);
        must_tell(search, &m->results[m->n_results++]);
    }
    return n > 0;
}

static inline kvat_search_answer run_to_end(machine *m, kvat_search *search) {
    while (step(m, search)) continue;
    return answer_of(search);
}

#endif
