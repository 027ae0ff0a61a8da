// The model's parts one by one, against values worked out by hand: blame for failures, how sure, what a run is worth,
// the first design.
// Must not know how a search joins them.
#include "drive.h"
#include "model.h"

enum { CONFIGS = 12 };
static const kvat_search_knob KNOBS[] = {{2, false, 1}, {3, false, 1}, {2, false, 1}};

typedef struct bench {
    machine m;
    uint16_t levels[CONFIGS][3];
    kvat__ledger ledger;
    model_space space;
    model_belief belief;
    double p_fail[CONFIGS];
} bench;

// Configuration (a, b, c) is 6 a + 2 b + c.
static void setup(bench *b) {
    memset(b, 0, sizeof *b);
    machine_init(&b->m, CONFIGS, 0);
    for (uint16_t i = 0; i < CONFIGS; i++) {
        b->levels[i][0] = i / 6;
        b->levels[i][1] = i / 2 % 3;
        b->levels[i][2] = i % 2;
        b->m.configs[i].levels = b->levels[i];
    }
    b->m.options.n_knobs = 3;
    b->m.options.knobs = KNOBS;
    assert_int_equal(kvat__ledger_init(&b->ledger, &b->m.options, NULL), KVAT_OK);
    assert_int_equal(kvat__model_space_init(&b->space, &b->m.options, NULL), KVAT_OK);
    assert_int_equal(kvat__model_belief_init(&b->belief, &b->space, NULL), KVAT_OK);
}

static void teardown(bench *b) {
    kvat__model_belief_clear(&b->belief);
    kvat__model_space_clear(&b->space);
    kvat__ledger_clear(&b->ledger);
}

static void ran(bench *b, size_t config) {
    b->ledger.tally[config].clean_runs++;
    b->ledger.tally[config].state = KVAT_CONFIG_RACING;
}

static void failed(bench *b, size_t config) {
    b->ledger.tally[config].failures++;
}

static void judge(bench *b) {
    assert_int_equal(kvat__model_failures(b->p_fail, &b->space, &b->ledger, NULL), KVAT_OK);
}

static void assert_near(double x, double expected, double within) {
    if (!(fabs(x - expected) <= within)) fail_msg("%.6g is not %.6g", x, expected);
}

/* ---- failures ---- */

static void what_never_ran_may_fail_by_any_value_or_pair(void **state) {
    (void)state;
    bench b;
    setup(&b);
    judge(&b);
    for (size_t i = 0; i < CONFIGS; i++) assert_near(b.p_fail[i], 1 - pow(.97, 3) * pow(.99, 3), 1e-12);
    teardown(&b);
}

static void a_clean_run_clears_all_it_has(void **state) {
    (void)state;
    bench b;
    setup(&b);
    ran(&b, 0);
    judge(&b);
    assert_near(b.p_fail[0], 0, 0);
    assert_near(b.p_fail[1], 1 - .97 * pow(.99, 2), 1e-12); // one new value, two new pairs
    teardown(&b);
}

static void blame_goes_to_what_no_clean_run_had(void **state) {
    (void)state;
    bench b;
    setup(&b);
    for (size_t i = 0; i < 6; i++) ran(&b, i); // all of a = 0
    ran(&b, 6);                                // a = 1 works with b = 0
    ran(&b, 7);
    failed(&b, 8); // (1, 1, 0): only the pair a = 1, b = 1 is left
    judge(&b);
    assert_near(b.p_fail[8], 1, 0);
    assert_near(b.p_fail[9], (.5 * .01 + 1) / 1.5, 1e-9);
    assert_near(b.p_fail[10], .01, 1e-9); // (1, 2, 0) has an unseen pair, no blame
    teardown(&b);
}

static void what_is_out_fails_for_certain(void **state) {
    (void)state;
    bench b;
    setup(&b);
    ran(&b, 0);
    b.ledger.tally[3].state = KVAT_CONFIG_INFEASIBLE; // by forecast: no run of its own
    judge(&b);
    assert_near(b.p_fail[3], 1, 0);
    teardown(&b);
}

/* ---- how sure ---- */

typedef struct pair {
    size_t list[2];
    double mean[2], covariance[4], p_fail[2];
    bool may_win[2];
    model_posterior posterior;
} pair;

static void pair_init(pair *p, double ahead, double sd, double correlation) {
    const double v = sd * sd;
    *p = (pair){.list = {0, 1}, .mean = {0, ahead}, .may_win = {true, true}};
    p->covariance[0] = p->covariance[3] = v;
    p->covariance[1] = p->covariance[2] = correlation * v;
    p->posterior = (model_posterior){.n = 2, .list = p->list, .mean = p->mean, .covariance = p->covariance};
}

static void shares_of(double p_good[2], double p_best[2], const pair *p) {
    const model_draws_input in = {&p->posterior, p->p_fail, p->may_win, 20000, .01, 1e6, 3};
    assert_int_equal(kvat__model_shares(p_good, p_best, &in, NULL), KVAT_OK);
}

static double normal_cdf(double x) {
    return .5 * erfc(-x / sqrt(2));
}

static void shares_of_two_are_normal_tails(void **state) {
    (void)state;
    static const struct {
        double ahead, sd, correlation;
    } cases[] = {{.02, .02, 0}, {.005, .02, 0}, {0, .01, .9}, {.03, .05, .5}};
    for (size_t i = 0; i < LENGTH(cases); i++) {
        double p_good[2], p_best[2];
        pair p;
        pair_init(&p, cases[i].ahead, cases[i].sd, cases[i].correlation);
        shares_of(p_good, p_best, &p);
        const double sd = cases[i].sd * sqrt(2 * (1 - cases[i].correlation));
        assert_near(p_good[1], normal_cdf((cases[i].ahead + .01) / sd), .012);
        assert_near(p_good[0], normal_cdf((.01 - cases[i].ahead) / sd), .012);
        assert_near(p_best[1], normal_cdf(cases[i].ahead / sd), .012);
    }
}

static void what_may_fail_is_absent_that_often(void **state) {
    (void)state;
    double p_good[2], p_best[2];
    pair p;
    pair_init(&p, 1, .01, 0); // far ahead
    p.p_fail[1] = .3;
    shares_of(p_good, p_best, &p);
    assert_near(p_good[1], .7, .012);
    assert_near(p_good[0], .3, .012);
}

static void what_may_not_win_is_no_rival(void **state) {
    (void)state;
    double p_good[2], p_best[2];
    pair p;
    pair_init(&p, 1, .01, 0);
    p.may_win[1] = false;
    shares_of(p_good, p_best, &p);
    assert_true(p_good[0] == 1 && p_best[0] == 1);
    assert_true(p_good[1] == 1 && p_best[1] == 0);
}

static void no_covariance_is_said(void **state) {
    (void)state;
    double p_good[2], p_best[2];
    pair p;
    kvat_error err = KVAT_ERROR_INIT;
    pair_init(&p, 0, NAN, 0);
    const model_draws_input in = {&p.posterior, p.p_fail, p.may_win, 10, .01, 10, 3};
    assert_int_equal(kvat__model_shares(p_good, p_best, &in, &err), KVAT_ERR_DATA);
    assert_non_null(strstr(err.message, "covariance"));
}

/* ---- what a run is worth ---- */

static size_t worthiest(const double *mean, const double *sd, const double *p_fail, const bool *may_win, size_t n) {
    size_t list[8], picks[1], count = 0;
    double covariance[64] = {0};
    for (size_t i = 0; i < n; i++) {
        list[i] = i;
        covariance[i * n + i] = sd[i] * sd[i];
    }
    double means[8];
    memcpy(means, mean, n * sizeof *mean);
    const model_posterior p = {.n = n, .list = list, .mean = means, .covariance = covariance};
    const model_gradient_input in = {.posterior = &p, .p_fail = p_fail, .may_win = may_win, .noise = 1e-6};
    assert_int_equal(kvat__model_gradient(picks, &count, 1, &in, NULL), KVAT_OK);
    assert_int_equal(count, 1);
    return picks[0];
}

static void the_uncertain_and_promising_is_worth_most(void **state) {
    (void)state;
    static const bool all[] = {true, true, true};
    static const double none[3], likely[] = {0, .9, 0};
    // the best, well known; the next, unknown; one hopeless
    assert_int_equal(worthiest((const double[]){0, -.01, -.5}, (const double[]){.001, .02, .02}, none, all, 3), 1);
    assert_int_equal(worthiest((const double[]){0, -.01, -.02}, (const double[]){.001, .02, .02}, none, all, 3), 1);
    // likely to fail
    assert_int_equal(worthiest((const double[]){0, -.01, -.02}, (const double[]){.001, .02, .02}, likely, all, 3), 2);
    // a surer gain of less
    assert_int_equal(worthiest((const double[]){0, .01, -.02}, (const double[]){.02, .001, .02}, none, all, 3), 0);
}

static void what_may_not_win_is_worth_nothing_alone(void **state) {
    (void)state;
    static const bool some[] = {true, false, true};
    static const double none[CONFIGS];
    assert_int_equal(worthiest((const double[]){0, -.01, -.02}, (const double[]){.001, .05, .02}, none, some, 3), 2);
}

static void a_second_pick_knows_of_the_first(void **state) {
    (void)state;
    static const bool all[] = {true, true, true};
    static const double none[CONFIGS];
    size_t list[] = {0, 1, 2}, picks[2], n = 0;
    double mean[] = {0, -.010, -.011};
    double covariance[] = {2e-5, 0, 0, 0, 4e-4, 4e-4, 0, 4e-4, 4e-4 + 1e-9}; // 1 and 2 are all but the same
    model_posterior p = {.n = 3, .list = list, .mean = mean, .covariance = covariance};
    const model_gradient_input in = {.posterior = &p, .p_fail = none, .may_win = all, .noise = 1e-8};
    assert_int_equal(kvat__model_gradient(picks, &n, 2, &in, NULL), KVAT_OK);
    assert_int_equal(n, 2);
    assert_int_equal(picks[0], 1);
    assert_int_equal(picks[1], 0);      // a run of 1 leaves nothing to learn there, nor of 2
    assert_true(covariance[4] == 4e-4); // the caller's is left alone
}

/* ---- costs ---- */

static void costs_go_by_what_changes(void **state) {
    (void)state;
    static const size_t configs[] = {0, 0, 1, 7, 6, 6}; // again, c changed, a changed, c changed, again
    static const double cost_s[] = {9, 1, 2, 5, 3, 2};
    bench b;
    model_costs costs;
    kvat__run runs[LENGTH(configs)] = {{.order = 0}};
    setup(&b);
    b.space.knobs[0].scope = 2;
    for (size_t i = 0; i < LENGTH(configs); i++) {
        runs[i].result.trial.config = configs[i];
        runs[i].result.cost_ns = (int64_t)(cost_s[i] * 1e9);
        runs[i].order = i < 5 ? i : i + 1; // something failed before the last
    }
    b.ledger.runs = runs;
    b.ledger.n_runs = LENGTH(configs);
    const double mean = 22. / 6;
    kvat__model_costs_learn(&costs, &b.space, &b.ledger);
    assert_near(kvat__model_cost(&costs, &b.space, 3, 3), (1 + mean) / 2, 1e-12);
    assert_near(kvat__model_cost(&costs, &b.space, 3, 2), (2 + 3 + mean) / 3, 1e-12);
    assert_near(kvat__model_cost(&costs, &b.space, 3, 9), (5 + mean) / 2, 1e-12);
    b.ledger.runs = NULL;
    b.ledger.n_runs = 0;
    teardown(&b);
}

static void of_equal_gains_the_cheaper_is_chosen(void **state) {
    (void)state;
    static const bool all[] = {true, true, true};
    static const double none[CONFIGS];
    bench b;
    setup(&b);
    b.space.knobs[0].scope = 2;
    size_t list[] = {0, 1, 6}, picks[1], n = 0; // 1 differs in c, 6 in a
    double mean[] = {0, -.0101, -.01}, covariance[] = {1e-6, 0, 0, 0, 4e-4, 0, 0, 0, 4e-4};
    const model_posterior p = {.n = 3, .list = list, .mean = mean, .covariance = covariance};
    const model_costs costs = {{1, 1, 1, 2, 2}};
    model_gradient_input in = {&p, none, all, 1e-6, &b.space, NULL, 0};
    assert_int_equal(kvat__model_gradient(picks, &n, 1, &in, NULL), KVAT_OK);
    assert_int_equal(picks[0], 2);
    in.costs = &costs;
    assert_int_equal(kvat__model_gradient(picks, &n, 1, &in, NULL), KVAT_OK);
    assert_int_equal(picks[0], 1);
    teardown(&b);
}

/* ---- first design ---- */

static void the_design_spreads_over_levels(void **state) {
    (void)state;
    bench b;
    size_t picks[5], n = 0;
    bool seen[3][3] = {{false}};
    setup(&b);
    ran(&b, 0);
    judge(&b);
    assert_int_equal(kvat__model_design(picks, &n, 5, &b.space, &b.belief, &b.ledger, b.p_fail, NULL), KVAT_OK);
    assert_int_equal(n, 5);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < 3; k++) seen[k][b.levels[picks[i]][k]] = true;
        for (size_t j = 0; j < i; j++) assert_int_not_equal(picks[i], picks[j]);
        assert_int_not_equal(picks[i], 0);
    }
    for (size_t k = 0; k < 3; k++) {
        for (size_t l = 0; l < KNOBS[k].n_levels; l++) assert_true(seen[k][l]);
    }
    teardown(&b);
}

static void the_design_leaves_out_what_fails_and_ends_with_the_space(void **state) {
    (void)state;
    bench b;
    size_t picks[CONFIGS], n = 0;
    setup(&b);
    ran(&b, 0);
    failed(&b, 1);
    b.ledger.tally[2].state = KVAT_CONFIG_INFEASIBLE;
    judge(&b);
    assert_int_equal(kvat__model_design(picks, &n, CONFIGS, &b.space, &b.belief, &b.ledger, b.p_fail, NULL), KVAT_OK);
    assert_int_equal(n, CONFIGS - 3);
    for (size_t i = 0; i < n; i++) assert_true(picks[i] > 2);
    teardown(&b);
}

static void every_level_gets_its_turn_once(void **state) {
    (void)state;
    bench b;
    size_t cursor = 0;
    setup(&b);
    ran(&b, 0);
    assert_int_equal(kvat__model_unseen_level(&cursor, &b.space, &b.ledger), 6); // a = 1
    failed(&b, 6);
    assert_int_equal(kvat__model_unseen_level(&cursor, &b.space, &b.ledger), 2); // b = 1
    ran(&b, 2);
    assert_int_equal(kvat__model_unseen_level(&cursor, &b.space, &b.ledger), 4); // b = 2
    assert_int_equal(kvat__model_unseen_level(&cursor, &b.space, &b.ledger), 1); // c = 1
    assert_int_equal(kvat__model_unseen_level(&cursor, &b.space, &b.ledger), SIZE_MAX);
    teardown(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_never_ran_may_fail_by_any_value_or_pair),
        cmocka_unit_test(a_clean_run_clears_all_it_has),
        cmocka_unit_test(blame_goes_to_what_no_clean_run_had),
        cmocka_unit_test(what_is_out_fails_for_certain),
        cmocka_unit_test(shares_of_two_are_normal_tails),
        cmocka_unit_test(what_may_fail_is_absent_that_often),
        cmocka_unit_test(what_may_not_win_is_no_rival),
        cmocka_unit_test(no_covariance_is_said),
        cmocka_unit_test(the_uncertain_and_promising_is_worth_most),
        cmocka_unit_test(what_may_not_win_is_worth_nothing_alone),
        cmocka_unit_test(a_second_pick_knows_of_the_first),
        cmocka_unit_test(costs_go_by_what_changes),
        cmocka_unit_test(of_equal_gains_the_cheaper_is_chosen),
        cmocka_unit_test(the_design_spreads_over_levels),
        cmocka_unit_test(the_design_leaves_out_what_fails_and_ends_with_the_space),
        cmocka_unit_test(every_level_gets_its_turn_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
