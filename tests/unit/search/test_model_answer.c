// The model as a search: which runs it owes, why it stops, and what it tells the confirmation of noise and gain.
// Must not know how any figure is made.
#include "drive.h"
#include "fail_alloc.h"

enum { CACHES = 4, BATCHES = 5, CONFIGS = CACHES * 2 * BATCHES };
static const kvat_search_knob KNOBS[] = {{CACHES, false, 1}, {2, false, 2}, {BATCHES, true, 0}};
static const double USUAL[3] = {.5, .35, .15};

// Forty configurations whose ln TTFT, ln decode and ln peak are known, each measured with noise of its own.
typedef struct workload {
    machine m;
    uint16_t levels[CONFIGS][3];
    double ln[CONFIGS][3], sd[3], weight[3];
} workload;

static void workload_init(workload *w, uint64_t seed) {
    static const double cache[] = {0, .04, -.03, .08}, batch[] = {0, .03, .05, .02, -.04};
    memset(w, 0, sizeof *w);
    machine_init(&w->m, CONFIGS, 0);
    for (uint16_t i = 0; i < CONFIGS; i++) {
        const uint16_t c = i / (2 * BATCHES), f = i / BATCHES % 2, b = i % BATCHES;
        w->levels[i][0] = c;
        w->levels[i][1] = f;
        w->levels[i][2] = b;
        w->m.configs[i].levels = w->levels[i];
        w->ln[i][0] = -batch[b] - .06 * f;
        w->ln[i][1] = 1.5 * cache[c];
        w->ln[i][2] = .1 * cache[c];
    }
    w->m.options.method = "model";
    w->m.options.seed = seed;
    w->m.options.n_knobs = 3;
    w->m.options.knobs = KNOBS;
    w->sd[0] = .006;
    w->sd[1] = .004;
    memcpy(w->weight, USUAL, sizeof USUAL);
    kvat_rng_seed(&w->m.rng, seed);
}

static double truth(const workload *w, size_t config) {
    return -w->weight[0] * w->ln[config][0] + w->weight[1] * w->ln[config][1] - w->weight[2] * w->ln[config][2];
}

static double best_truth(const workload *w) {
    double best = -INFINITY;
    for (size_t i = 0; i < w->m.options.n_configs; i++) {
        const bool fails = w->m.always[i] && w->m.fate[i][0] != KVAT_FATE_OK;
        if (w->m.configs[i].eligible && !fails) best = fmax(best, truth(w, i));
    }
    return best;
}

static kvat_search_result measure(workload *w, const kvat_search_trial *trial) {
    static const double sign[] = {-1, 1, -1};
    kvat_search_result result = machine_run(&w->m, trial);
    result.score = 0;
    for (size_t p = 0; p < 3; p++) {
        const double ln = w->ln[trial->config][p] + w->sd[p] * kvat_rng_normal(&w->m.rng);
        result.part[p] = sign[p] * w->weight[p] * ln;
        result.score += result.part[p];
    }
    w->m.results[w->m.n_results++] = result;
    return result;
}

static bool step_in(workload *w, kvat_search *search) {
    const kvat_search_trial *trials;
    const size_t n = must_propose(&trials, search);
    for (size_t i = 0; i < n; i++) {
        assert_true(w->m.n_results < MOST_RESULTS);
        const kvat_search_result result = measure(w, &trials[i]);
        must_tell(search, &result);
    }
    return n > 0;
}

static kvat_search_answer end_of(workload *w, kvat_search *search) {
    while (step_in(w, search)) continue;
    return answer_of(search);
}

static void fail_always(workload *w, size_t config, kvat_search_fate fate) {
    w->m.always[config] = true;
    w->m.fate[config][0] = fate;
}

// Places of a configuration's runs in the order of results.
static size_t places_of(size_t *place, size_t most, const machine *m, size_t config) {
    size_t n = 0;
    for (size_t i = 0; i < m->n_results && n < most; i++) {
        if (m->results[i].trial.config == config) place[n++] = i;
    }
    return n;
}

/* ---- runs that are owed ---- */

static void the_default_runs_twice_and_not_in_a_row(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 5; seed++) {
        workload w;
        size_t place[3];
        workload_init(&w, seed);
        kvat_search *search = machine_search(&w.m);
        const kvat_search_answer answer = end_of(&w, search);
        assert_int_equal(answer.standing[0].clean_runs, 2);
        assert_int_equal(places_of(place, 3, &w.m, 0), 2);
        assert_int_equal(place[0], 0);
        assert_true(place[1] > 10);
        for (size_t i = 0; i < place[1]; i++) { // the first design repeats nothing
            for (size_t j = 0; j < i; j++)
                assert_int_not_equal(w.m.results[i].trial.config, w.m.results[j].trial.config);
        }
        kvat_search_free(search);
    }
}

// The default's second run is `apart` from its first.
static size_t runs_of_default(double apart, double delta) {
    workload w;
    workload_init(&w, 3);
    w.sd[0] = w.sd[1] = .0005;
    w.m.options.delta = delta;
    kvat_search *search = machine_search(&w.m);
    size_t runs = 0;
    for (bool more = true; more;) {
        const kvat_search_trial *trials;
        const size_t n = must_propose(&trials, search);
        more = n > 0 && runs < 3;
        for (size_t i = 0; more && i < n; i++) {
            kvat_search_result result = measure(&w, &trials[i]);
            if (trials[i].config == 0 && ++runs == 2) result.score += apart, result.part[0] += apart;
            // nothing comes in between: the third follows the second
            if (runs == 2 && trials[i].config != 0) more = false;
            must_tell(search, &result);
        }
    }
    kvat_search_free(search);
    return runs;
}

static void the_default_runs_a_third_time_where_two_disagree(void **state) {
    (void)state;
    assert_int_equal(runs_of_default(.005, .01), 2);
    assert_int_equal(runs_of_default(.05, .01), 3);
    assert_int_equal(runs_of_default(-.05, .01), 3);
    assert_int_equal(runs_of_default(.05, .08), 2); // by what counts as equal
}

static void no_answer_rests_on_a_single_run(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 8; seed++) {
        workload w;
        workload_init(&w, seed);
        w.m.options.min_runs = 1 + seed % 4;
        kvat_search *search = machine_search(&w.m);
        const kvat_search_answer answer = end_of(&w, search);
        assert_int_equal(answer.stop, KVAT_STOP_CONFIDENT);
        assert_true(answer.standing[answer.leader].clean_runs >= (seed % 4 < 2 ? 2 : 1 + seed % 4));
        assert_true(truth(&w, answer.leader) >= best_truth(&w) - .01);
        kvat_search_free(search);
    }
}

static void the_only_candidate_needs_no_second_run(void **state) {
    (void)state;
    workload w;
    workload_init(&w, 1);
    for (size_t i = 0; i < CONFIGS; i++) w.m.configs[i].eligible = i == 27; // others are run for what they tell
    kvat_search *search = machine_search(&w.m);
    const kvat_search_answer answer = end_of(&w, search);
    assert_int_equal(answer.stop, KVAT_STOP_ONE_LEFT);
    assert_true(answer.has_leader && answer.leader == 27 && answer.p_good == 1);
    assert_int_equal(answer.standing[27].clean_runs, 1);
    kvat_search_free(search);
}

static void an_incumbent_is_not_replaced_unseen(void **state) {
    (void)state;
    for (size_t incumbent = 1; incumbent < CONFIGS; incumbent += 3) {
        workload w;
        workload_init(&w, incumbent);
        w.m.options.has_incumbent = true;
        w.m.options.incumbent = incumbent;
        kvat_search *search = machine_search(&w.m);
        const kvat_search_answer answer = end_of(&w, search);
        assert_int_equal(answer.stop, KVAT_STOP_CONFIDENT);
        assert_true(answer.standing[incumbent].clean_runs > 0);
        if (answer.leader != incumbent) assert_true(answer.p_challenger > .95);
        kvat_search_free(search);
    }
}

static void an_incumbent_that_cannot_run_holds_nothing_up(void **state) {
    (void)state;
    static const kvat_search_fate fates[] = {KVAT_FATE_INFEASIBLE, KVAT_FATE_BROKEN, KVAT_FATE_SLOW, KVAT_FATE_VOIDED};
    for (size_t f = 0; f < LENGTH(fates); f++) {
        workload w;
        workload_init(&w, f);
        w.m.options.has_incumbent = true;
        w.m.options.incumbent = 4; // the worst of its cache
        fail_always(&w, 4, fates[f]);
        kvat_search *search = machine_search(&w.m);
        const kvat_search_answer answer = end_of(&w, search);
        assert_int_equal(answer.stop, KVAT_STOP_CONFIDENT);
        assert_true(answer.leader != 4 && !answer.incumbent_kept && isnan(answer.p_challenger));
        assert_true(truth(&w, answer.leader) >= best_truth(&w) - .01);
        assert_true(answer.trials < 80);
        kvat_search_free(search);
    }
}

/* ---- why it stops ---- */

static void every_reason_to_stop_is_given(void **state) {
    (void)state;
    static const struct {
        double noise;
        size_t max_trials, n_configs;
        bool all_fail;
        kvat_search_stop stop;
    } cases[] = {{.005, 0, CONFIGS, false, KVAT_STOP_CONFIDENT},
                 {.005, 0, 1, false, KVAT_STOP_ONE_LEFT},
                 {.005, 12, CONFIGS, false, KVAT_STOP_BUDGET},
                 {.5, 0, CONFIGS, false, KVAT_STOP_BUDGET}, // as many as it ever makes
                 {.005, 0, 6, true, KVAT_STOP_INFEASIBLE}};
    for (size_t c = 0; c < LENGTH(cases); c++) {
        workload w;
        workload_init(&w, c);
        w.sd[0] = w.sd[1] = cases[c].noise;
        w.m.options.max_trials = cases[c].max_trials;
        w.m.options.n_configs = cases[c].n_configs;
        w.m.options.posterior_draws = 200;
        for (size_t i = 0; cases[c].all_fail && i < CONFIGS; i++) fail_always(&w, i, KVAT_FATE_BROKEN);
        kvat_search *search = machine_search(&w.m);
        assert_int_equal(answer_of(search).stop, KVAT_STOP_RUNNING);
        assert_true(step_in(&w, search));
        if (c != 1) assert_int_equal(answer_of(search).stop, KVAT_STOP_RUNNING);
        const kvat_search_answer answer = end_of(&w, search);
        if (answer.stop != cases[c].stop) fail_msg("case %zu: %d after %zu", c, (int)answer.stop, answer.trials);
        assert_int_equal(answer.has_leader, !cases[c].all_fail);
        const kvat_search_trial *trials;
        assert_int_equal(must_propose(&trials, search), 0); // and stays so
        assert_int_equal(answer_of(search).stop, cases[c].stop);
        kvat_search_free(search);
    }
}

/* ---- what it tells the confirmation ---- */

static void assert_between(const char *what, double x, double low, double high) {
    if (!(low <= x && x <= high)) fail_msg("%s: %g is not between %g and %g", what, x, low, high);
}

static void the_gain_is_told_with_its_error(void **state) {
    (void)state;
    double off = 0, count = 0;
    for (uint64_t seed = 0; seed < 12; seed++) {
        workload w;
        workload_init(&w, seed);
        kvat_search *search = machine_search(&w.m);
        const kvat_search_answer a = end_of(&w, search);
        assert_true(a.leader != 0 && a.gain_dof >= 3);
        for (size_t p = 0; p < 4; p++) {
            const double gain = p < 3 ? w.ln[a.leader][p] - w.ln[0][p] : truth(&w, a.leader) - truth(&w, 0);
            assert_between("standard deviation", a.gain_sd[p], 1e-6, .05);
            const double z = (a.gain_mean[p] - gain) / a.gain_sd[p];
            assert_between("standard deviations off", z, -5, 5);
            if (p != 2) off += z * z, count++; // peaks have no noise here
        }
        assert_between("gain", a.gain_mean[3], a.standing[a.leader].gain.low, a.standing[a.leader].gain.high);
        assert_true(fabs(a.gain_mean[3] - a.standing[a.leader].gain.value) < 1e-9);
        kvat_search_free(search);
    }
    assert_between("mean square of standard deviations off", off / count, .1, 2.5);
}

static void pairs_differ_as_much_as_they_will(void **state) {
    (void)state;
    double sum[4] = {0};
    for (uint64_t seed = 0; seed < 8; seed++) {
        workload w;
        workload_init(&w, seed);
        kvat_search *search = machine_search(&w.m);
        const kvat_search_answer a = end_of(&w, search);
        for (size_t p = 0; p < 4; p++) sum[p] += log(a.pair_sd[p]) / 8;
        assert_between("restless", a.restless, 0, .5);
        kvat_search_free(search);
    }
    const double ttft = sqrt(2) * .006, decode = sqrt(2) * .004;
    assert_between("ttft", exp(sum[0]), .7 * ttft, 2.2 * ttft);
    assert_between("decode", exp(sum[1]), .7 * decode, 3.0 * decode);
    assert_between("score", exp(sum[3]), .7 * hypot(.5 * ttft, .35 * decode), 2.5 * hypot(.5 * ttft, .35 * decode));
}

static void of_a_part_without_weight_nothing_is_told(void **state) {
    (void)state;
    for (size_t without = 0; without < 3; without++) {
        workload w;
        workload_init(&w, without);
        w.weight[without] = 0;
        memcpy(w.m.options.part_weight, w.weight, sizeof w.weight);
        kvat_search *search = machine_search(&w.m);
        const kvat_search_answer a = end_of(&w, search);
        for (size_t p = 0; p < 4; p++) {
            assert_int_equal(isnan(a.pair_sd[p]), p == without);
            assert_int_equal(isnan(a.gain_mean[p]), p == without);
            assert_int_equal(isnan(a.gain_sd[p]), p == without);
        }
        kvat_search_free(search);
    }
}

static void without_a_default_that_works_no_gain_is_told(void **state) {
    (void)state;
    workload w;
    workload_init(&w, 2);
    fail_always(&w, 0, KVAT_FATE_INFEASIBLE);
    kvat_search *search = machine_search(&w.m);
    const kvat_search_answer a = end_of(&w, search);
    assert_int_equal(a.stop, KVAT_STOP_CONFIDENT);
    assert_true(a.has_leader && a.leader != 0 && a.standing[a.leader].clean_runs >= 2);
    assert_true(truth(&w, a.leader) >= best_truth(&w) - .01);
    assert_true(a.standing[a.leader].gain.value == 0); // relative to the leader
    assert_int_equal(a.standing[0].state, KVAT_CONFIG_INFEASIBLE);
    for (size_t p = 0; p < 4; p++) {
        assert_true(isnan(a.gain_mean[p]) && isnan(a.gain_sd[p]));
        assert_true(a.pair_sd[p] > 0);
    }
    kvat_search_free(search);
}

static void nothing_is_told_before_there_is_anything(void **state) {
    (void)state;
    workload w;
    workload_init(&w, 4);
    kvat_search *search = machine_search(&w.m);
    for (size_t step = 0; step < 2; step++) {
        const kvat_search_answer a = answer_of(search);
        for (size_t p = 0; p < 4; p++) assert_true(isnan(a.pair_sd[p]) && isnan(a.gain_mean[p]) && isnan(a.gain_sd[p]));
        assert_true(isnan(a.sigma) && a.restless == 0);
        assert_true(step_in(&w, search)); // the default, once
    }
    assert_true(isnan(answer_of(search).pair_sd[3])); // nor before the first design is whole
    kvat_search_free(search);
}

/* ---- again, and without memory ---- */

static void assert_same_bits(const kvat_search_answer *a, const kvat_search_answer *b) {
    assert_int_equal(a->stop, b->stop);
    assert_int_equal(a->leader, b->leader);
    assert_memory_equal(&a->p_good, &b->p_good, sizeof a->p_good);
    assert_memory_equal(a->pair_sd, b->pair_sd, sizeof a->pair_sd);
    assert_memory_equal(a->gain_mean, b->gain_mean, sizeof a->gain_mean);
    assert_memory_equal(a->gain_sd, b->gain_sd, sizeof a->gain_sd);
    assert_memory_equal(&a->gain_dof, &b->gain_dof, sizeof a->gain_dof);
    assert_memory_equal(&a->restless, &b->restless, sizeof a->restless);
}

static void the_same_results_tell_the_same_bit_for_bit(void **state) {
    (void)state;
    workload w;
    workload_init(&w, 5);
    fail_always(&w, 7, KVAT_FATE_INFEASIBLE);
    w.m.fate[11][0] = KVAT_FATE_VOIDED;
    kvat_search *search = machine_search(&w.m), *again = machine_search(&w.m);
    const kvat_search_answer first = end_of(&w, search);
    for (size_t told = 0; told < w.m.n_results; told++) {
        const kvat_search_trial *trials;
        kvat_search_answer glance;
        assert_true(must_propose(&trials, again) > 0);
        assert_int_equal(trials[0].config, w.m.results[told].trial.config);
        assert_int_equal(trials[0].chunk, w.m.results[told].trial.chunk);
        must_tell(again, &w.m.results[told]);
        if (told % 3 == 0) answer_of(again); // looking changes nothing
        if (told % 3 == 1) assert_int_equal(kvat_search_answer_glance(&glance, again, NULL), KVAT_OK);
    }
    const kvat_search_trial *trials;
    assert_int_equal(must_propose(&trials, again), 0);
    const kvat_search_answer second = answer_of(again);
    assert_same_bits(&first, &second);
    kvat_search_free(search);
    kvat_search_free(again);
}

// At its end nothing is newer than the last decision; on the way runs are counted as of now.
static void a_glance_is_the_answer_of_the_last_decision(void **state) {
    (void)state;
    workload w;
    workload_init(&w, 6);
    kvat_search *search = machine_search(&w.m);
    kvat_search_answer glance;
    while (step_in(&w, search)) {
        assert_int_equal(kvat_search_answer_glance(&glance, search, NULL), KVAT_OK);
        assert_int_equal(glance.trials, w.m.n_results);
        assert_true(glance.has_leader);
    }
    assert_int_equal(kvat_search_answer_glance(&glance, search, NULL), KVAT_OK);
    const kvat_search_answer whole = answer_of(search);
    assert_same_bits(&glance, &whole);
    kvat_search_free(search);
}

static void an_answer_without_memory_is_given_later(void **state) {
    (void)state;
    static const size_t stops[] = {1, 5, 20};
    for (size_t s = 0; s < LENGTH(stops); s++) {
        workload w;
        workload_init(&w, 8);
        kvat_search *search = machine_search(&w.m), *starved = machine_search(&w.m);
        const kvat_search_trial *trials;
        while (w.m.n_results < stops[s] && must_propose(&trials, search) > 0) {
            const kvat_search_result result = measure(&w, &trials[0]);
            must_tell(search, &result);
            must_propose(&trials, starved);
            must_tell(starved, &result);
        }
        kvat_search_answer answer;
        size_t refused = 0;
        for (bool met = true; met; refused += met) {
            fail_alloc_arm(refused + 1, false);
            const kvat_status status = kvat_search_answer_get(&answer, starved, NULL);
            met = fail_alloc_disarm();
            assert_int_equal(status, met ? KVAT_ERR_NOMEM : KVAT_OK);
        }
        assert_true(refused >= (s == 0 ? 8 : 10));
        const kvat_search_answer plain = answer_of(search);
        assert_same_bits(&plain, &answer);
        kvat_search_free(search);
        kvat_search_free(starved);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_default_runs_twice_and_not_in_a_row),
        cmocka_unit_test(the_default_runs_a_third_time_where_two_disagree),
        cmocka_unit_test(no_answer_rests_on_a_single_run),
        cmocka_unit_test(the_only_candidate_needs_no_second_run),
        cmocka_unit_test(an_incumbent_is_not_replaced_unseen),
        cmocka_unit_test(an_incumbent_that_cannot_run_holds_nothing_up),
        cmocka_unit_test(every_reason_to_stop_is_given),
        cmocka_unit_test(the_gain_is_told_with_its_error),
        cmocka_unit_test(pairs_differ_as_much_as_they_will),
        cmocka_unit_test(of_a_part_without_weight_nothing_is_told),
        cmocka_unit_test(without_a_default_that_works_no_gain_is_told),
        cmocka_unit_test(nothing_is_told_before_there_is_anything),
        cmocka_unit_test(the_same_results_tell_the_same_bit_for_bit),
        cmocka_unit_test(a_glance_is_the_answer_of_the_last_decision),
        cmocka_unit_test(an_answer_without_memory_is_given_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
