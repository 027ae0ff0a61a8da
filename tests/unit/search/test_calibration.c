// The race over simulated machines: what it costs, how good its answers are, and that it is no surer than it is right.
// Must not know how anything is chosen. Seeds are fixed: the bounds leave room for other compilers' rounding, not for
// luck.
#include "drive.h"

#include "world.h" // the machines of kvat_bench_search

typedef struct figures {
    double worlds, good, regret, said, cost, grid, confident, confident_good, confident_said;
} figures;

static void race_in(figures *f, noise_kind kind, uint64_t seed) {
    world w;
    assert_true(world_init(&w, 24, WORLD_PLAIN, 5000 + seed));
    assert_true(world_start(&w, kind, NULL, 5000 + seed, 1));
    kvat_search_options options = KVAT_SEARCH_OPTIONS_INIT;
    options.method = "race";
    options.seed = seed;
    options.configs = w.configs;
    options.n_configs = w.n_configs;
    options.posterior_draws = 1000;
    kvat_search *search = NULL;
    assert_int_equal(kvat_search_new(&search, &options, NULL), KVAT_OK);
    const kvat_search_trial *trials;
    for (size_t n; (n = must_propose(&trials, search)) > 0;) {
        for (size_t i = 0; i < n; i++) {
            const world_run run = world_measure(&w, trials[i].config);
            const kvat_search_result result = {
                .trial = trials[i], .fate = run.fate, .score = run.score, .cost_ns = (int64_t)(run.cost_s * 1e9)};
            must_tell(search, &result);
        }
    }
    const kvat_search_answer answer = answer_of(search);
    const double regret = w.score[w.best] - w.score[answer.leader];
    f->worlds++;
    f->cost += w.now_s;
    f->grid += world_grid_s(&w);
    f->regret += regret;
    f->good += regret <= 0.01;
    f->said += answer.p_good;
    if (answer.stop == KVAT_STOP_CONFIDENT) {
        f->confident++;
        f->confident_good += regret <= 0.01;
        f->confident_said += answer.p_good;
    }
    kvat_search_free(search);
    world_stop(&w);
    world_clear(&w);
}

// Seen must not fall below said by more than chance allows: two standard errors of the binomial.
static void assert_no_surer_than_right(double said, double seen, double n) {
    if (n > 0 && said / n > seen / n + 2 * sqrt(0.05 * 0.95 / n))
        fail_msg("said %.3f, seen %.3f in %g worlds", said / n, seen / n, n);
}

static void check_noise(noise_kind kind, size_t worlds, double least_good, double most_regret, double most_cost) {
    figures f = {0};
    for (size_t i = 0; i < worlds; i++) race_in(&f, kind, i);
    if (f.good / f.worlds < least_good || f.regret / f.worlds > most_regret || f.cost / f.grid > most_cost)
        fail_msg("%s: good %.3f, regret %.4f, cost %.3f", noise_names[kind], f.good / f.worlds, f.regret / f.worlds,
                 f.cost / f.grid);
    assert_no_surer_than_right(f.said, f.good, f.worlds);
    assert_no_surer_than_right(f.confident_said, f.confident_good, f.confident);
    assert_true(f.confident > 0);
}

// Cost is of the race alone, without confirmation, as a share of a grid of five repetitions.
static void a_quiet_machine_is_settled_for_a_fifth_of_the_grid(void **state) {
    (void)state;
    check_noise(ENV_QUIET, 80, 0.97, 0.001, 0.22);
}

static void a_desktop_is_settled_for_little_more(void **state) {
    (void)state;
    check_noise(ENV_DESKTOP, 80, 0.96, 0.0015, 0.28);
}

static void a_noisy_machine_costs_more_and_is_not_overrated(void **state) {
    (void)state;
    check_noise(ENV_NOISY, 40, 0.92, 0.003, 0.50);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quiet_machine_is_settled_for_a_fifth_of_the_grid),
        cmocka_unit_test(a_desktop_is_settled_for_little_more),
        cmocka_unit_test(a_noisy_machine_costs_more_and_is_not_overrated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
