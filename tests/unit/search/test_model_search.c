// The model as a search: what it proposes and answers in every corner, and that it repeats itself exactly.
// Must not know how it is made up.
#include "drive.h"
#include "fail_alloc.h"

enum { CACHES = 4, BATCHES = 5, CONFIGS = CACHES * 2 * BATCHES };
static const kvat_search_knob KNOBS[] = {{CACHES, false, 1}, {2, false, 2}, {BATCHES, true, 0}};

// Forty configurations, additive but for one interaction; the best is `best_of(m)`.
static void grid_init(machine *m, double noise) {
    static uint16_t levels[CONFIGS][3];
    static const double cache[] = {0, .04, -.03, .08}, batch[] = {0, .03, .05, .02, -.04};
    machine_init(m, CONFIGS, noise);
    for (uint16_t i = 0; i < CONFIGS; i++) {
        const uint16_t c = i / (2 * BATCHES), f = i / BATCHES % 2, b = i % BATCHES;
        levels[i][0] = c;
        levels[i][1] = f;
        levels[i][2] = b;
        m->configs[i].levels = levels[i];
        m->score[i] = cache[c] + .06 * f + batch[b] + (c == 3 && f == 1 ? -.03 : 0);
    }
    m->options.n_knobs = 3;
    m->options.knobs = KNOBS;
    m->options.method = "model";
}

enum { LARGE = 512, LARGE_KNOBS = 9 };

// All combinations of nine knobs of two values; each change from the default is for the worse but those of the first
// two.
static void large_init(machine *m, double noise) {
    static uint16_t levels[LARGE][LARGE_KNOBS];
    machine_init(m, LARGE, noise);
    for (size_t i = 0; i < LARGE; i++) {
        m->score[i] = 0;
        for (size_t k = 0; k < LARGE_KNOBS; k++) {
            levels[i][k] = (uint16_t)(i >> k & 1);
            m->score[i] += levels[i][k] ? (k < 2 ? .06 : -.02 * (double)k) : 0;
        }
        m->configs[i].levels = levels[i];
    }
    m->options.n_knobs = LARGE_KNOBS;
    m->options.method = "model";
    m->options.delta = .02;
}

static double best_score(const machine *m) {
    double best = -INFINITY;
    for (size_t i = 0; i < m->options.n_configs; i++) {
        const bool fails = m->always[i] && m->fate[i][0] != KVAT_FATE_OK;
        if (m->configs[i].eligible && !fails) best = fmax(best, m->score[i]);
    }
    return best;
}

static void fail_always(machine *m, size_t config, kvat_search_fate fate) {
    m->always[config] = true;
    m->fate[config][0] = fate;
}

static void starts_with_the_default_alone(void **state) {
    (void)state;
    machine m;
    grid_init(&m, .005);
    kvat_search *search = machine_search(&m);
    const kvat_search_trial *trials;
    assert_int_equal(must_propose(&trials, search), 1);
    assert_int_equal(trials[0].config, 0);
    kvat_search_free(search);
}

static void finds_the_best_with_few_runs(void **state) {
    (void)state;
    machine m;
    grid_init(&m, .005);
    kvat_search *search = machine_search(&m);
    const kvat_search_answer a = run_to_end(&m, search);
    assert_int_equal(a.stop, KVAT_STOP_CONFIDENT);
    assert_true(a.p_good >= .95);
    assert_true(m.score[a.leader] >= best_score(&m) - .01);
    assert_true(a.trials < 60);
    assert_true(a.sigma > 0 && a.sigma < .05);
    kvat_search_free(search);
}

static void gains_are_against_the_default(void **state) {
    (void)state;
    machine m;
    grid_init(&m, .005);
    kvat_search *search = machine_search(&m);
    const kvat_search_answer a = run_to_end(&m, search);
    assert_true(a.standing[0].gain.value == 0);
    size_t covered = 0, known = 0;
    for (size_t i = 1; i < CONFIGS; i++) {
        const kvat_interval *gain = &a.standing[i].gain;
        assert_int_equal(isnan(gain->value), a.standing[i].clean_runs == 0);
        if (isnan(gain->value)) continue;
        known++;
        covered += gain->low <= m.score[i] && m.score[i] <= gain->high;
    }
    assert_true(known >= 15 && covered + 3 >= known);
    kvat_search_free(search);
}

static void assert_same_trials(const kvat_search_trial *a, const kvat_search_trial *b, size_t n) {
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(a[i].config, b[i].config);
        assert_int_equal(a[i].chunk, b[i].chunk);
        assert_int_equal(a[i].block, b[i].block);
        assert_int_equal(a[i].fresh_process, b[i].fresh_process);
    }
}

static void same_proposals(machine *m, machine *other) {
    kvat_search *a = machine_search(m), *b = machine_search(other);
    const kvat_search_trial *ta, *tb;
    size_t n;
    while ((n = must_propose(&ta, a)) > 0) {
        assert_int_equal(must_propose(&tb, b), n);
        assert_same_trials(ta, tb, n);
        answer_of(b); // looking changes nothing
        for (size_t i = 0; i < n; i++) {
            const kvat_search_result result = machine_run(m, &ta[i]);
            must_tell(a, &result);
            if (i == 1) answer_of(b);
            must_tell(b, &result);
        }
    }
    assert_int_equal(must_propose(&tb, b), 0);
    const kvat_search_answer x = answer_of(a), y = answer_of(b);
    assert_int_equal(x.leader, y.leader);
    assert_memory_equal(&x.p_good, &y.p_good, sizeof x.p_good);
    assert_memory_equal(&x.sigma, &y.sigma, sizeof x.sigma);
    for (size_t i = 0; i < m->options.n_configs; i++)
        assert_memory_equal(&x.standing[i].gain, &y.standing[i].gain, sizeof x.standing[i].gain);
    kvat_search_free(a);
    kvat_search_free(b);
}

static void the_same_results_lead_to_the_same_proposals_bit_for_bit(void **state) {
    (void)state;
    machine m, other;
    grid_init(&m, .02);
    fail_always(&m, 7, KVAT_FATE_INFEASIBLE);
    m.fate[12][0] = KVAT_FATE_BROKEN;
    grid_init(&other, .02);
    same_proposals(&m, &other);
}

static void results_told_in_another_order_change_nothing(void **state) {
    (void)state;
    machine m;
    grid_init(&m, .01);
    kvat_search *a = machine_search(&m), *b = machine_search(&m);
    const kvat_search_trial *ta, *tb;
    size_t n;
    while ((n = must_propose(&ta, a)) > 0) {
        kvat_search_result results[8];
        assert_true(n <= LENGTH(results));
        assert_int_equal(must_propose(&tb, b), n);
        assert_same_trials(ta, tb, n);
        for (size_t i = 0; i < n; i++) results[i] = machine_run(&m, &ta[i]);
        for (size_t i = 0; i < n; i++) must_tell(a, &results[i]);
        for (size_t i = n; i-- > 0;) must_tell(b, &results[i]);
    }
    kvat_search_free(a);
    kvat_search_free(b);
}

static void a_single_configuration_needs_one_run(void **state) {
    (void)state;
    machine m;
    grid_init(&m, .01);
    m.options.n_configs = 1;
    kvat_search *search = machine_search(&m);
    const kvat_search_answer a = run_to_end(&m, search);
    assert_int_equal(a.stop, KVAT_STOP_ONE_LEFT);
    assert_int_equal(a.trials, 1);
    assert_true(a.has_leader && a.leader == 0 && a.p_good == 1);
    kvat_search_free(search);
}

static void all_infeasible_ends_without_a_leader(void **state) {
    (void)state;
    machine m;
    grid_init(&m, .01);
    for (size_t i = 0; i < CONFIGS; i++) fail_always(&m, i, KVAT_FATE_INFEASIBLE);
    kvat_search *search = machine_search(&m);
    const kvat_search_answer a = run_to_end(&m, search);
    assert_int_equal(a.stop, KVAT_STOP_INFEASIBLE);
    assert_false(a.has_leader);
    assert_int_equal(a.trials, 2 * CONFIGS);
    kvat_search_free(search);
}

static void a_failing_default_does_not_end_the_search(void **state) {
    (void)state;
    machine m;
    grid_init(&m, .005);
    fail_always(&m, 0, KVAT_FATE_INFEASIBLE);
    kvat_search *search = machine_search(&m);
    const kvat_search_answer a = run_to_end(&m, search);
    assert_true(a.has_leader);
    assert_true(m.score[a.leader] >= best_score(&m) - .01);
    assert_true(a.standing[a.leader].gain.value == 0); // relative to the leader
    kvat_search_free(search);
}

static void a_disturbed_default_runs_again_before_anything_else(void **state) {
    (void)state;
    machine m;
    large_init(&m, .005);
    m.fate[0][0] = m.fate[0][1] = KVAT_FATE_VOIDED;
    kvat_search *search = machine_search(&m);
    for (size_t i = 0; i < 3; i++) assert_true(step(&m, search));
    assert_int_equal(m.n_results, 3);
    assert_int_equal(answer_of(search).standing[0].clean_runs, 1);
    kvat_search_free(search);
}

static void a_disturbed_retry_is_made_again(void **state) {
    (void)state;
    machine m;
    large_init(&m, .005);
    m.fate[0][0] = KVAT_FATE_BROKEN;
    m.fate[0][1] = KVAT_FATE_VOIDED;
    kvat_search *search = machine_search(&m);
    for (size_t i = 0; i < 3; i++) assert_true(step(&m, search));
    assert_int_equal(answer_of(search).standing[0].clean_runs, 1);
    kvat_search_free(search);
}

static void disturbed_all_the_time_it_ends_and_blames_no_one(void **state) {
    (void)state;
    machine m;
    large_init(&m, .005);
    for (size_t i = 0; i < LARGE; i++) fail_always(&m, i, KVAT_FATE_VOIDED);
    kvat_search *search = machine_search(&m);
    assert_int_equal(run_to_end(&m, search).stop, KVAT_STOP_BUDGET);
    assert_true(m.n_results < 200);
    for (size_t i = 0; i < LARGE; i++) assert_int_equal(answer_of(search).standing[i].state, KVAT_CONFIG_UNTRIED);
    kvat_search_free(search);
}

static void nothing_works_is_said_only_when_all_have_failed(void **state) {
    (void)state;
    machine m;
    large_init(&m, .005);
    for (size_t i = 0; i < LARGE; i++) fail_always(&m, i, i % 2 ? KVAT_FATE_BROKEN : KVAT_FATE_INFEASIBLE);
    kvat_search *search = machine_search(&m);
    assert_int_equal(run_to_end(&m, search).stop, KVAT_STOP_INFEASIBLE);
    assert_int_equal(m.n_results, 2 * LARGE);
    kvat_search_free(search);
}

static void what_works_after_many_failures_is_searched_like_any_other(void **state) {
    (void)state;
    machine m;
    large_init(&m, .005);
    for (size_t i = 0; i < LARGE; i++) {
        if (i % 4 != 3) fail_always(&m, i, KVAT_FATE_INFEASIBLE); // those with the first two knobs changed work
    }
    kvat_search *search = machine_search(&m);
    const kvat_search_answer a = run_to_end(&m, search);
    assert_int_equal(a.stop, KVAT_STOP_CONFIDENT);
    assert_true(m.score[a.leader] >= best_score(&m) - .02);
    kvat_search_free(search);
}

static void of_many_something_good_is_seen_before_the_design_is_whole(void **state) {
    (void)state;
    machine m;
    large_init(&m, .005);
    m.options.max_trials = 18; // of 23 first runs
    kvat_search *search = machine_search(&m);
    const kvat_search_answer a = run_to_end(&m, search);
    assert_int_equal(a.stop, KVAT_STOP_BUDGET);
    assert_true(a.p_good == 0); // nothing is claimed
    assert_true(m.score[a.leader] > .04);
    kvat_search_free(search);
}

static void a_value_that_always_fails_is_soon_left_alone(void **state) {
    (void)state;
    machine m;
    grid_init(&m, .005);
    for (size_t i = 3 * 2 * BATCHES; i < CONFIGS; i++) fail_always(&m, i, KVAT_FATE_INFEASIBLE);
    kvat_search *search = machine_search(&m);
    const kvat_search_answer a = run_to_end(&m, search);
    assert_int_equal(a.stop, KVAT_STOP_CONFIDENT);
    assert_true(m.score[a.leader] >= best_score(&m) - .01);
    size_t failures = 0;
    for (size_t i = 0; i < CONFIGS; i++) failures += a.standing[i].failures;
    assert_true(failures <= 12);
    kvat_search_free(search);
}

static void what_may_not_win_never_leads(void **state) {
    (void)state;
    machine m;
    grid_init(&m, .005);
    for (size_t i = 3 * 2 * BATCHES; i < CONFIGS; i++) m.configs[i].eligible = false; // the best are among them
    kvat_search *search = machine_search(&m);
    const kvat_search_answer a = run_to_end(&m, search);
    assert_true(m.configs[a.leader].eligible);
    assert_true(m.score[a.leader] >= best_score(&m) - .01);
    kvat_search_free(search);
}

static void of_equals_as_sure_the_preferred_is_the_answer(void **state) {
    (void)state;
    machine m;
    grid_init(&m, .002);
    for (size_t i = 0; i < CONFIGS; i++) m.score[i] = 0;
    kvat_search *search = machine_search(&m);
    const kvat_search_answer a = run_to_end(&m, search);
    assert_int_equal(a.stop, KVAT_STOP_CONFIDENT);
    for (size_t i = 0; i < a.leader; i++) // preference is by index
        assert_true(a.standing[i].clean_runs == 0 || a.standing[i].p_good < .95);
    kvat_search_free(search);
}

static void an_incumbent_stays_unless_beaten(void **state) {
    (void)state;
    machine m;
    grid_init(&m, .002);
    for (size_t i = 0; i < CONFIGS; i++) m.score[i] = i % BATCHES == 4 ? -.2 : 0;
    m.options.has_incumbent = true;
    m.options.incumbent = 7;
    kvat_search *search = machine_search(&m);
    const kvat_search_answer kept = run_to_end(&m, search);
    assert_int_equal(kept.leader, 7);
    assert_int_equal(kept.incumbent_kept, kept.challenger != SIZE_MAX);
    assert_false(kept.p_challenger > 0.95);
    kvat_search_free(search);
    for (size_t i = 0; i < CONFIGS; i++) // the best of its cache, of its batch, and without the flag
        m.score[i] =
            (i / (2 * BATCHES) == 1 ? .15 : 0) + (i % BATCHES == 2 ? .15 : 0) - .05 * (double)(i / BATCHES % 2);
    search = machine_search(&m);
    const kvat_search_answer replaced = run_to_end(&m, search);
    assert_int_equal(replaced.leader, 12);
    assert_int_equal(replaced.challenger, 12);
    assert_true(replaced.p_challenger > 0.95 && !replaced.incumbent_kept);
    kvat_search_free(search);
}

static void a_limit_of_trials_is_kept(void **state) {
    (void)state;
    for (size_t limit = 1; limit < 30; limit += 7) {
        machine m;
        grid_init(&m, .05);
        m.options.max_trials = limit;
        kvat_search *search = machine_search(&m);
        const kvat_search_answer a = run_to_end(&m, search);
        assert_int_equal(a.stop, KVAT_STOP_BUDGET);
        assert_int_equal(a.trials, limit);
        assert_true(a.has_leader);
        kvat_search_free(search);
    }
}

static void without_levels_it_still_ends_right(void **state) {
    (void)state;
    machine m;
    grid_init(&m, .004);
    for (size_t i = 0; i < CONFIGS; i++) m.configs[i].levels = NULL;
    kvat_search *search = machine_search(&m);
    const kvat_search_answer a = run_to_end(&m, search);
    assert_int_equal(a.stop, KVAT_STOP_CONFIDENT);
    assert_true(m.score[a.leader] >= best_score(&m) - .01);
    kvat_search_free(search);
}

static void wild_scores_end_in_an_answer_or_a_message(void **state) {
    (void)state;
    static const double wild[] = {1e300, -1e300, 1e-300, 700, -700};
    machine m;
    grid_init(&m, 0);
    for (size_t i = 0; i < CONFIGS; i++) m.score[i] = wild[i % LENGTH(wild)];
    kvat_search *search = machine_search(&m);
    kvat_search_answer a = {0};
    while (step(&m, search)) assert_int_equal(kvat_search_answer_get(&a, search, NULL), KVAT_OK);
    assert_true(a.has_leader && a.p_good >= 0 && a.p_good <= 1);
    kvat_search_free(search);
}

static kvat_status whole_search(void *context, kvat_error *err) {
    machine *m = context;
    kvat_search *search = NULL;
    kvat_search_answer answer;
    grid_init(m, .004);
    m->options.n_configs = 12;
    m->options.posterior_draws = 100;
    m->options.max_trials = 16;
    fail_always(m, 5, KVAT_FATE_INFEASIBLE);
    kvat_status status = kvat_search_new(&search, &m->options, err);
    for (size_t n = 1; status == KVAT_OK && n > 0;) {
        const kvat_search_trial *trials;
        status = kvat_search_propose(&trials, &n, search, err);
        for (size_t i = 0; i < n && status == KVAT_OK; i++) {
            const kvat_search_result result = machine_run(m, &trials[i]);
            status = kvat_search_tell(search, &result, err);
        }
        if (status == KVAT_OK) status = kvat_search_answer_get(&answer, search, err);
    }
    kvat_search_free(search);
    return status;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    machine m;
    assert_true(fail_alloc_each(whole_search, &m) > 100);
}

static void a_proposal_that_failed_for_memory_is_made_again(void **state) {
    (void)state;
    machine plain, starved;
    grid_init(&plain, .01);
    grid_init(&starved, .01);
    kvat_search *a = machine_search(&plain), *b = machine_search(&starved);
    const kvat_search_trial *ta, *tb;
    size_t n, m = 0, refused = 0;
    for (size_t at = 1; (n = must_propose(&ta, a)) > 0; at++) {
        fail_alloc_arm(at, false);
        refused += kvat_search_propose(&tb, &m, b, NULL) == KVAT_ERR_NOMEM;
        fail_alloc_disarm();
        assert_int_equal(must_propose(&tb, b), n);
        assert_same_trials(ta, tb, n);
        for (size_t i = 0; i < n; i++) {
            const kvat_search_result result = machine_run(&plain, &ta[i]);
            must_tell(a, &result);
            must_tell(b, &result);
        }
    }
    assert_true(refused > 5);
    kvat_search_free(a);
    kvat_search_free(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_with_the_default_alone),
        cmocka_unit_test(finds_the_best_with_few_runs),
        cmocka_unit_test(gains_are_against_the_default),
        cmocka_unit_test(the_same_results_lead_to_the_same_proposals_bit_for_bit),
        cmocka_unit_test(results_told_in_another_order_change_nothing),
        cmocka_unit_test(a_single_configuration_needs_one_run),
        cmocka_unit_test(all_infeasible_ends_without_a_leader),
        cmocka_unit_test(a_failing_default_does_not_end_the_search),
        cmocka_unit_test(a_disturbed_default_runs_again_before_anything_else),
        cmocka_unit_test(a_disturbed_retry_is_made_again),
        cmocka_unit_test(disturbed_all_the_time_it_ends_and_blames_no_one),
        cmocka_unit_test(nothing_works_is_said_only_when_all_have_failed),
        cmocka_unit_test(what_works_after_many_failures_is_searched_like_any_other),
        cmocka_unit_test(of_many_something_good_is_seen_before_the_design_is_whole),
        cmocka_unit_test(a_value_that_always_fails_is_soon_left_alone),
        cmocka_unit_test(what_may_not_win_never_leads),
        cmocka_unit_test(of_equals_as_sure_the_preferred_is_the_answer),
        cmocka_unit_test(an_incumbent_stays_unless_beaten),
        cmocka_unit_test(a_limit_of_trials_is_kept),
        cmocka_unit_test(without_levels_it_still_ends_right),
        cmocka_unit_test(wild_scores_end_in_an_answer_or_a_message),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(a_proposal_that_failed_for_memory_is_made_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
