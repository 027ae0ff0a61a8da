// What failed, disturbed and mistaken trials do to a search.
// Must not know how the next trial is chosen.
#include "drive.h"

static void fail_always(machine *m, size_t config, kvat_search_fate fate) {
    m->always[config] = true;
    m->fate[config][0] = fate;
}

static size_t failures_of(const machine *m, size_t config) {
    size_t count = 0;
    for (size_t i = 0; i < m->n_results; i++)
        count += m->results[i].trial.config == config && m->results[i].fate != KVAT_FATE_OK;
    return count;
}

static void failing_always_ends_a_configuration_after_few_runs(void **state) {
    (void)state;
    static const struct {
        kvat_search_fate fate;
        size_t runs;
        kvat_config_state state;
    } cases[] = {{KVAT_FATE_INFEASIBLE, 2, KVAT_CONFIG_INFEASIBLE},
                 {KVAT_FATE_BROKEN, 2, KVAT_CONFIG_UNSTABLE},
                 {KVAT_FATE_SLOW, 1, KVAT_CONFIG_SLOW},
                 {KVAT_FATE_VOIDED, 3, KVAT_CONFIG_UNSTABLE}};
    for (size_t c = 0; c < LENGTH(cases); c++) {
        machine m;
        machine_init(&m, 8, 0.002);
        fail_always(&m, 5, cases[c].fate);
        kvat_search *search = machine_search(&m);
        const kvat_search_answer answer = run_to_end(&m, search);
        assert_int_equal(m.runs[5], cases[c].runs);
        assert_int_equal(answer.standing[5].state, cases[c].state);
        assert_int_equal(answer.standing[5].clean_runs, 0);
        assert_true(isnan(answer.standing[5].gain.value) && answer.standing[5].p_good == 0);
        assert_int_equal(answer.leader, 0);
        assert_true(answer.p_good >= 0.95);
        kvat_search_free(search);
    }
}

static void after_out_of_memory_twice_nothing_larger_is_started(void **state) {
    (void)state;
    machine m;
    machine_init(&m, 24, 0.002);
    for (size_t i = 0; i < 24; i++) m.configs[i].forecast_bytes = 1000 * (int64_t)(i + 1);
    m.configs[20].forecast_bytes = 0; // unknown
    for (size_t i = 10; i < 24; i++) {
        fail_always(&m, i, KVAT_FATE_INFEASIBLE);
        m.out_of_memory[i] = true;
    }
    kvat_search *search = machine_search(&m);
    const kvat_search_answer answer = run_to_end(&m, search);
    size_t started = 0;
    for (size_t i = 10; i < 24; i++) {
        started += m.runs[i] > 0;
        assert_int_equal(answer.standing[i].state, KVAT_CONFIG_INFEASIBLE);
    }
    assert_true(started < 14);
    assert_int_equal(m.runs[20], 2);
    for (size_t i = 0; i < 10; i++) assert_true(answer.standing[i].clean_runs >= 2);
    kvat_search_free(search);
}

// Whoever asks after every result runs nothing that the last one ruled out, though it was proposed along with it.
static void what_is_ruled_out_meanwhile_is_not_proposed_again(void **state) {
    (void)state;
    machine m;
    machine_init(&m, 6, 0.002);
    for (size_t i = 1; i < 6; i++) {
        m.configs[i].forecast_bytes = 1000 * (int64_t)i;
        fail_always(&m, i, KVAT_FATE_INFEASIBLE);
        m.out_of_memory[i] = true;
    }
    kvat_search *search = machine_search(&m);
    const kvat_search_trial *trials;
    size_t dropped = 0;
    for (size_t n = must_propose(&trials, search); n > 0; n = must_propose(&trials, search)) {
        kvat_search_trial rest[8];
        const size_t chunk = trials[0].chunk;
        memcpy(rest, trials, n * sizeof *trials);
        assert_true(answer_of(search).standing[rest[0].config].state <= KVAT_CONFIG_ELIMINATED);
        const kvat_search_result result = machine_run(&m, &rest[0]);
        must_tell(search, &result);
        size_t left = must_propose(&trials, search);
        if (left == 0 || trials[0].chunk != chunk) left = 0;
        dropped += n - 1 - left;
        for (size_t i = 0, at = 1; i < left; i++, at++) { // the order of the others is kept
            while (rest[at].config != trials[i].config) assert_true(++at < n);
        }
    }
    assert_true(dropped > 0);
    for (size_t i = 1; i < 6; i++) assert_int_equal(answer_of(search).standing[i].state, KVAT_CONFIG_INFEASIBLE);
    assert_int_equal(answer_of(search).leader, 0);
    kvat_search_free(search);
}

// Told by hand: the larger one has run clean, so what the smaller one met was not the size.
static void a_clean_run_refutes_the_memory_forecast(void **state) {
    (void)state;
    machine m;
    machine_init(&m, 3, 0.002);
    m.options.chunk_size = 3;
    for (size_t i = 0; i < 3; i++) m.configs[i].forecast_bytes = 1000 * (int64_t)(i + 1);
    fail_always(&m, 1, KVAT_FATE_INFEASIBLE);
    m.out_of_memory[1] = true;
    kvat_search *search = machine_search(&m);
    const kvat_search_answer answer = run_to_end(&m, search);
    assert_int_equal(answer.standing[1].state, KVAT_CONFIG_INFEASIBLE);
    assert_true(answer.standing[2].clean_runs >= 2);
    kvat_search_free(search);
}

static void unsupported_says_nothing_of_larger_ones(void **state) {
    (void)state;
    machine m;
    machine_init(&m, 8, 0.002);
    for (size_t i = 0; i < 8; i++) m.configs[i].forecast_bytes = 1000 * (int64_t)(i + 1);
    fail_always(&m, 3, KVAT_FATE_INFEASIBLE);
    kvat_search *search = machine_search(&m);
    const kvat_search_answer answer = run_to_end(&m, search);
    assert_int_equal(answer.standing[3].state, KVAT_CONFIG_INFEASIBLE);
    for (size_t i = 4; i < 8; i++) assert_true(answer.standing[i].clean_runs >= 2);
    kvat_search_free(search);
}

static void a_crash_is_retried_once_in_a_fresh_process(void **state) {
    (void)state;
    machine m;
    machine_init(&m, 8, 0.002);
    m.fate[4][0] = KVAT_FATE_BROKEN;
    kvat_search *search = machine_search(&m);
    run_to_end(&m, search);
    size_t run = 0, failed_in = 0;
    for (size_t i = 0; i < m.n_results; i++) {
        const kvat_search_trial *trial = &m.results[i].trial;
        if (trial->config != 4) {
            assert_false(trial->fresh_process);
            continue;
        }
        assert_int_equal(trial->fresh_process, run == 1);
        if (run == 0) failed_in = trial->chunk;
        if (run == 1) assert_int_equal(trial->chunk, failed_in + 1);
        run++;
    }
    assert_true(run >= 2);
    kvat_search_free(search);
}

static void a_leader_that_failed_once_must_run_clean_three_times_more(void **state) {
    (void)state;
    static const kvat_search_fate fates[] = {KVAT_FATE_BROKEN, KVAT_FATE_INFEASIBLE};
    for (size_t f = 0; f < LENGTH(fates); f++) {
        for (size_t when = 0; when < 2; when++) {
            machine m;
            machine_init(&m, 8, 0.001);
            m.score[6] = 0.4;
            m.fate[6][when] = fates[f];
            kvat_search *search = machine_search(&m);
            const kvat_search_answer answer = run_to_end(&m, search);
            assert_int_equal(answer.leader, 6);
            assert_int_equal(failures_of(&m, 6), 1);
            assert_true(answer.standing[6].clean_runs >= when + 3);
            kvat_search_free(search);
        }
    }
}

static void a_leader_that_fails_again_is_out_and_the_next_wins(void **state) {
    (void)state;
    machine m;
    machine_init(&m, 8, 0.001);
    m.score[6] = 0.4;
    m.score[2] = 0.2;
    m.fate[6][1] = m.fate[6][3] = KVAT_FATE_BROKEN;
    kvat_search *search = machine_search(&m);
    const kvat_search_answer answer = run_to_end(&m, search);
    assert_int_equal(answer.standing[6].state, KVAT_CONFIG_UNSTABLE);
    assert_true(answer.standing[6].p_good == 0);
    assert_int_equal(answer.leader, 2);
    assert_true(answer.p_good >= 0.95);
    kvat_search_free(search);
}

static void a_disturbed_run_is_repeated_and_held_against_no_one(void **state) {
    (void)state;
    machine m;
    machine_init(&m, 8, 0.002);
    m.fate[3][0] = m.fate[5][1] = KVAT_FATE_VOIDED;
    m.score[3] = m.score[5] = -0.001;
    kvat_search *search = machine_search(&m);
    const kvat_search_answer answer = run_to_end(&m, search);
    assert_int_equal(answer.standing[3].failures, 0);
    assert_true(answer.standing[3].clean_runs >= 2);
    assert_true(answer.standing[5].clean_runs >= 2);
    kvat_search_free(search);
}

static void while_none_has_run_clean_a_disturbance_is_no_ones_fault(void **state) {
    (void)state;
    machine m;
    machine_init(&m, 6, 0.002);
    for (size_t i = 0; i < 6; i++) {
        for (size_t run = 0; run < 5; run++) m.fate[i][run] = KVAT_FATE_VOIDED;
    }
    kvat_search *search = machine_search(&m);
    const kvat_search_answer answer = run_to_end(&m, search);
    assert_int_equal(answer.leader, 0);
    assert_true(answer.p_good >= 0.95);
    for (size_t i = 0; i < 6; i++) assert_true(answer.standing[i].clean_runs >= 2);
    kvat_search_free(search);
    for (size_t i = 0; i < 6; i++) fail_always(&m, i, KVAT_FATE_VOIDED);
    search = machine_search(&m);
    m.n_results = 0;
    assert_int_equal(run_to_end(&m, search).stop, KVAT_STOP_BUDGET);
    assert_false(answer_of(search).has_leader);
    for (size_t i = 0; i < 6; i++) assert_int_equal(answer_of(search).standing[i].state, KVAT_CONFIG_UNTRIED);
    kvat_search_free(search);
}

static void a_default_that_fails_does_not_end_the_search(void **state) {
    (void)state;
    static const kvat_search_fate fates[] = {KVAT_FATE_INFEASIBLE, KVAT_FATE_BROKEN, KVAT_FATE_SLOW, KVAT_FATE_VOIDED};
    for (size_t f = 0; f < LENGTH(fates); f++) {
        machine m;
        machine_init(&m, 14, 0.002);
        fail_always(&m, 0, fates[f]);
        m.score[9] = 0.3;
        kvat_search *search = machine_search(&m);
        const kvat_search_answer answer = run_to_end(&m, search);
        assert_int_equal(answer.leader, 9);
        assert_true(answer.p_good >= 0.95);
        assert_true(answer.standing[9].gain.value == 0); // gains are against the leader
        assert_true(answer.standing[2].gain.value < -0.2);
        assert_int_equal(answer.standing[0].clean_runs, 0);
        kvat_search_free(search);
    }
}

static void without_any_that_works_nothing_is_feasible(void **state) {
    (void)state;
    for (size_t n = 1; n <= 12; n += 11) {
        machine m;
        machine_init(&m, n, 0.002);
        for (size_t i = 0; i < n; i++) fail_always(&m, i, i % 2 ? KVAT_FATE_BROKEN : KVAT_FATE_INFEASIBLE);
        kvat_search *search = machine_search(&m);
        const kvat_search_answer answer = run_to_end(&m, search);
        assert_int_equal(answer.stop, KVAT_STOP_INFEASIBLE);
        assert_false(answer.has_leader);
        assert_true(answer.p_good == 0 && isnan(answer.sigma));
        assert_int_equal(answer.trials, 2 * n);
        assert_int_equal(answer.survivors, 0);
        kvat_search_free(search);
    }
}

// Whoever has no time to ask for more hears it all the same.
static void that_nothing_works_is_said_without_being_asked_for_more(void **state) {
    (void)state;
    static const char *const methods[] = {"race", "model"};
    for (size_t k = 0; k < LENGTH(methods); k++) {
        machine m;
        machine_init(&m, 1, 0.002);
        m.options.method = methods[k];
        fail_always(&m, 0, KVAT_FATE_SLOW);
        kvat_search *search = machine_search(&m);
        assert_int_equal(answer_of(search).stop, KVAT_STOP_RUNNING);
        assert_true(step(&m, search));
        assert_int_equal(answer_of(search).stop, KVAT_STOP_INFEASIBLE);
        kvat_search_free(search);
    }
}

// The default has not been heard of yet, and a failure puts out all that the pass has left: the next pass begins.
static void a_pass_that_is_ruled_out_to_its_end_does_not_end_the_search(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        machine m;
        machine_init(&m, 12, 0.002);
        m.options.seed = seed;
        m.fate[0][0] = m.fate[0][1] = KVAT_FATE_VOIDED;
        for (size_t i = 1; i < 12; i++) {
            m.configs[i].forecast_bytes = 1000 * (int64_t)i;
            fail_always(&m, i, KVAT_FATE_INFEASIBLE);
            m.out_of_memory[i] = true;
        }
        kvat_search *search = machine_search(&m);
        const kvat_search_answer answer = run_to_end(&m, search);
        assert_int_equal(answer.stop, KVAT_STOP_ONE_LEFT);
        assert_true(answer.has_leader && answer.leader == 0);
        assert_true(answer.standing[0].clean_runs > 0);
        kvat_search_free(search);
    }
}

static void one_that_may_not_win_is_no_answer(void **state) {
    (void)state;
    machine m;
    machine_init(&m, 4, 0.002);
    for (size_t i = 0; i < 3; i++) fail_always(&m, i, KVAT_FATE_BROKEN);
    m.configs[3].eligible = false;
    kvat_search *search = machine_search(&m);
    const kvat_search_answer answer = run_to_end(&m, search);
    assert_int_equal(answer.stop, KVAT_STOP_INFEASIBLE);
    assert_false(answer.has_leader);
    kvat_search_free(search);
}

static void the_only_one_that_works_wins_at_once(void **state) {
    (void)state;
    machine m;
    machine_init(&m, 4, 0.002);
    for (size_t i = 0; i < 4; i++) {
        if (i != 2) fail_always(&m, i, KVAT_FATE_SLOW);
    }
    kvat_search *search = machine_search(&m);
    const kvat_search_answer answer = run_to_end(&m, search);
    assert_int_equal(answer.stop, KVAT_STOP_ONE_LEFT);
    assert_int_equal(answer.leader, 2);
    assert_true(answer.p_good == 1);
    assert_true(answer.trials <= 6);
    kvat_search_free(search);
}

// Anchors that die leave chunks unlinked; nothing may be claimed across them until later chunks link them.
static void dying_anchors_do_not_make_an_answer_out_of_nothing(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        machine m;
        machine_init(&m, 24, 0.003);
        m.options.seed = seed;
        m.drift = 1; // far larger than any difference: unlinked chunks would give it away
        m.score[17] = 0.1;
        for (size_t i = 0; i < 24; i += 2) m.fate[i][seed % 3] = m.fate[i][1 + seed % 3] = KVAT_FATE_BROKEN;
        kvat_search *search = machine_search(&m);
        const kvat_search_answer answer = run_to_end(&m, search);
        assert_int_equal(answer.leader, 17);
        assert_true(answer.p_good >= 0.95);
        assert_true(
            fabs(answer.standing[19].gain.value - answer.standing[17].gain.value - (m.score[19] - m.score[17])) < 0.05);
        kvat_search_free(search);
    }
}

// Index of `config` in the next proposal, or its length.
static size_t find(const kvat_search_trial *trials, size_t n, size_t config) {
    size_t i = 0;
    while (i < n && trials[i].config != config) i++;
    return i;
}

// One chunk in which the anchor's run is void whenever `config` is in it: its chunk then tells nothing of anyone else.
static bool step_without_anchor_beside(machine *m, kvat_search *search, size_t config, size_t first_blocks) {
    const kvat_search_trial *trials;
    const size_t n = must_propose(&trials, search);
    const bool beside = find(trials, n, config) < n && n > 1 && trials[0].block < first_blocks;
    for (size_t i = 0; i < n; i++) {
        kvat_search_result *result = &m->results[m->n_results++];
        *result = machine_run(m, &trials[i]);
        if (beside && trials[i].config == 0) result->fate = KVAT_FATE_VOIDED;
        must_tell(search, result);
    }
    return n > 0;
}

static void nothing_is_claimed_while_one_cannot_be_compared(void **state) {
    (void)state;
    machine m;
    machine_init(&m, 9, 0.001);
    m.options.chunk_size = 2;
    m.drift = 0.5;
    m.score[4] = 0.2;
    kvat_search *search = machine_search(&m);
    size_t blocks_unlinked = 0;
    while (step_without_anchor_beside(&m, search, 4, 2)) {
        const kvat_search_answer now = answer_of(search);
        if (!isnan(now.standing[4].gain.value)) continue;
        assert_int_equal(now.stop, KVAT_STOP_RUNNING);
        assert_true(now.standing[4].p_good == 0);
        assert_int_not_equal(now.leader, 4);
        blocks_unlinked = now.standing[4].clean_runs;
    }
    assert_true(blocks_unlinked >= 2);
    assert_int_equal(answer_of(search).leader, 4);
    kvat_search_free(search);
}

// The leader is the best of those linked with most others, however good one looks beside a bad neighbour.
static void one_seen_beside_a_bad_neighbour_alone_does_not_lead(void **state) {
    (void)state;
    machine m;
    machine_init(&m, 11, 0.001);
    m.options.chunk_size = 3;
    kvat_search *search = machine_search(&m);
    step(&m, search);
    for (size_t chunk = 0; chunk < 5; chunk++) {
        const kvat_search_trial *trials;
        const size_t n = must_propose(&trials, search);
        const size_t at = find(trials, n, 4);
        for (size_t i = 0; at < n && i < n; i++) {
            if (trials[i].config != 0 && i != at) m.score[trials[i].config] = -5;
        }
        step_without_anchor_beside(&m, search, 4, 1);
    }
    assert_int_equal(answer_of(search).leader, 0);
    assert_true(isnan(answer_of(search).standing[4].gain.value));
    kvat_search_free(search);
}

// A run left alone in its chunk must not make the spread look smaller: its residual is nothing by construction.
static void runs_alone_in_their_chunk_are_left_out_of_the_fit(void **state) {
    (void)state;
    machine m;
    machine_init(&m, 9, 0.05);
    m.options.chunk_size = 2;
    m.options.max_blocks = 4;
    kvat_search *search = machine_search(&m);
    while (step_without_anchor_beside(&m, search, 4, 4)) continue;
    double y[256];
    size_t arm[256], chunk[256], in_chunk[256] = {0}, n = 0, alone = 0;
    assert_true(m.n_results < 256);
    for (size_t i = 0; i < m.n_results; i++) in_chunk[m.results[i].trial.chunk] += m.results[i].fate == KVAT_FATE_OK;
    for (size_t i = 0; i < m.n_results; i++) {
        const kvat_search_result *result = &m.results[i];
        if (result->fate != KVAT_FATE_OK) continue;
        alone += in_chunk[result->trial.chunk] == 1;
        if (in_chunk[result->trial.chunk] == 1) continue;
        y[n] = result->score;
        arm[n] = result->trial.config;
        chunk[n++] = result->trial.chunk;
    }
    assert_true(alone >= 4);
    const kvat_anchored_input in = {y, arm, chunk, n, 9, 256, 1e-4};
    kvat_anchored_fit fit;
    assert_int_equal(kvat_anchored_fit_make(&fit, &in, NULL), KVAT_OK);
    const kvat_search_answer answer = answer_of(search);
    assert_true(fabs(answer.sigma - fit.sigma) < 1e-12);
    assert_true(fabs(answer.standing[2].gain.value - (fit.estimate[2] - fit.estimate[0])) < 1e-12);
    kvat_anchored_fit_clear(&fit);
    kvat_search_free(search);
}

static void what_was_not_proposed_is_refused_and_changes_nothing(void **state) {
    (void)state;
    machine m;
    machine_init(&m, 8, 0.002);
    kvat_search *search = machine_search(&m);
    const kvat_search_trial *trials;
    kvat_error err = KVAT_ERROR_INIT;
    kvat_search_result result = {.fate = KVAT_FATE_OK, .score = 1};
    assert_int_equal(kvat_search_tell(search, &result, &err), KVAT_ERR_USAGE); // nothing is proposed yet
    step(&m, search);
    assert_true(must_propose(&trials, search) > 1);
    const kvat_search_result good = machine_run(&m, &trials[0]);
    const struct {
        kvat_status status;
        kvat_search_trial trial;
        kvat_search_fate fate;
        double score;
        int64_t cost_ns;
    } cases[] = {
        {KVAT_ERR_USAGE, {trials[0].config, trials[0].chunk + 1, trials[0].block, false}, KVAT_FATE_OK, 1, 1},
        {KVAT_ERR_USAGE, {trials[0].config, trials[0].chunk, trials[0].block + 1, false}, KVAT_FATE_OK, 1, 1},
        {KVAT_ERR_USAGE, {77, trials[0].chunk, trials[0].block, false}, KVAT_FATE_OK, 1, 1},
        {KVAT_ERR_USAGE, trials[0], (kvat_search_fate)9, 1, 1},
        {KVAT_ERR_DATA, trials[0], KVAT_FATE_OK, NAN, 1},
        {KVAT_ERR_DATA, trials[0], KVAT_FATE_OK, INFINITY, 1},
        {KVAT_ERR_DATA, trials[0], KVAT_FATE_OK, 1, -1},
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        err = (kvat_error)KVAT_ERROR_INIT;
        result = (kvat_search_result){
            .trial = cases[i].trial, .fate = cases[i].fate, .score = cases[i].score, .cost_ns = cases[i].cost_ns};
        assert_int_equal(kvat_search_tell(search, &result, &err), cases[i].status);
        assert_true(err.message[0] != '\0');
    }
    assert_int_equal(answer_of(search).trials, 1);
    must_tell(search, &good);
    assert_int_equal(kvat_search_tell(search, &good, &err), KVAT_ERR_USAGE); // twice
    assert_int_equal(answer_of(search).trials, 2);
    kvat_search_free(search);
}

static void a_failed_trial_needs_no_score(void **state) {
    (void)state;
    machine m;
    machine_init(&m, 8, 0.002);
    kvat_search *search = machine_search(&m);
    const kvat_search_trial *trials;
    must_propose(&trials, search);
    const kvat_search_result result = {.trial = trials[0], .fate = KVAT_FATE_BROKEN, .score = NAN};
    must_tell(search, &result);
    assert_int_equal(answer_of(search).standing[0].failures, 1);
    kvat_search_free(search);
}

static void untold_trials_are_proposed_again(void **state) {
    (void)state;
    machine m;
    machine_init(&m, 12, 0.002);
    kvat_search *search = machine_search(&m);
    step(&m, search);
    const kvat_search_trial *trials;
    kvat_search_trial first[8];
    const size_t n = must_propose(&trials, search);
    memcpy(first, trials, n * sizeof *trials);
    for (size_t told = 0; told < n; told++) {
        assert_int_equal(must_propose(&trials, search), n - told);
        assert_memory_equal(trials, first + told, (n - told) * sizeof *trials);
        const kvat_search_result result = machine_run(&m, &first[told]);
        must_tell(search, &result);
    }
    assert_true(must_propose(&trials, search) > 0);
    assert_int_equal(trials[0].chunk, first[0].chunk + 1);
    kvat_search_free(search);
}

static void bad_options_are_refused(void **state) {
    (void)state;
    machine m;
    machine_init(&m, 4, 0.002);
    for (size_t i = 0; i < 10; i++) {
        kvat_search_options o = m.options;
        kvat_error err = KVAT_ERROR_INIT;
        kvat_search *search = NULL;
        if (i == 0) o.n_configs = 0;
        if (i == 1) o.configs = NULL;
        if (i == 2) o.delta = 0;
        if (i == 3) o.delta = NAN;
        if (i == 4) o.p_good_target = 1;
        if (i == 5) o.p_good_target = 0;
        if (i == 6) o.chunk_size = 1;
        if (i == 7) o.sigma_floor = -1;
        if (i == 8) o.method = "guess";
        if (i == 9) o.has_incumbent = true, o.incumbent = 4;
        assert_int_equal(kvat_search_new(&search, &o, &err), KVAT_ERR_USAGE);
        assert_true(err.message[0] != '\0');
        assert_null(search);
    }
    kvat_search_free(NULL);
}

static void the_methods_are_named(void **state) {
    (void)state;
    const char *const *names = kvat_search_methods();
    assert_string_equal(names[0], "model"); // the one taken where none is named
    for (; *names; names++) {
        machine m;
        machine_init(&m, 2, 0);
        m.options.method = *names;
        kvat_search_free(machine_search(&m));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failing_always_ends_a_configuration_after_few_runs),
        cmocka_unit_test(after_out_of_memory_twice_nothing_larger_is_started),
        cmocka_unit_test(what_is_ruled_out_meanwhile_is_not_proposed_again),
        cmocka_unit_test(a_clean_run_refutes_the_memory_forecast),
        cmocka_unit_test(unsupported_says_nothing_of_larger_ones),
        cmocka_unit_test(a_crash_is_retried_once_in_a_fresh_process),
        cmocka_unit_test(a_leader_that_failed_once_must_run_clean_three_times_more),
        cmocka_unit_test(a_leader_that_fails_again_is_out_and_the_next_wins),
        cmocka_unit_test(a_disturbed_run_is_repeated_and_held_against_no_one),
        cmocka_unit_test(while_none_has_run_clean_a_disturbance_is_no_ones_fault),
        cmocka_unit_test(a_default_that_fails_does_not_end_the_search),
        cmocka_unit_test(without_any_that_works_nothing_is_feasible),
        cmocka_unit_test(that_nothing_works_is_said_without_being_asked_for_more),
        cmocka_unit_test(a_pass_that_is_ruled_out_to_its_end_does_not_end_the_search),
        cmocka_unit_test(one_that_may_not_win_is_no_answer),
        cmocka_unit_test(the_only_one_that_works_wins_at_once),
        cmocka_unit_test(dying_anchors_do_not_make_an_answer_out_of_nothing),
        cmocka_unit_test(nothing_is_claimed_while_one_cannot_be_compared),
        cmocka_unit_test(one_seen_beside_a_bad_neighbour_alone_does_not_lead),
        cmocka_unit_test(runs_alone_in_their_chunk_are_left_out_of_the_fit),
        cmocka_unit_test(what_was_not_proposed_is_refused_and_changes_nothing),
        cmocka_unit_test(a_failed_trial_needs_no_score),
        cmocka_unit_test(untold_trials_are_proposed_again),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(the_methods_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
