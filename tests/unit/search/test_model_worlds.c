// The model over simulated machines: what it costs, how good its answers are, and that it is no surer than it is right.
// Must not know how anything is chosen.
#include "drive.h"

#include "world.h" // the machines of kvat_bench_search

typedef struct figures {
    double worlds, good, regret, said, cost, grid, trials;
} figures;

static void search_in(figures *f, noise_kind kind, uint64_t seed) {
    world w;
    assert_true(world_init(&w, 24, WORLD_PLAIN, 5000 + seed));
    assert_true(world_start(&w, kind, NULL, 5000 + seed, 1));
    kvat_search_options options = KVAT_SEARCH_OPTIONS_INIT;
    options.method = "model";
    options.seed = seed;
    options.configs = w.configs;
    options.n_configs = w.n_configs;
    options.n_knobs = w.n_knobs;
    options.knobs = w.knobs;
    kvat_search *search = NULL;
    assert_int_equal(kvat_search_new(&search, &options, NULL), KVAT_OK);
    const kvat_search_trial *trials;
    for (size_t n; (n = must_propose(&trials, search)) > 0;) {
        for (size_t i = 0; i < n; i++) {
            const world_run run = world_measure(&w, trials[i].config);
            kvat_search_result result = {.trial = trials[i],
                                         .fate = run.fate,
                                         .score = run.score,
                                         .started_ns = (int64_t)(run.started_s * 1e9),
                                         .cost_ns = (int64_t)(run.cost_s * 1e9)};
            memcpy(result.part, run.part, sizeof result.part);
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
    f->trials += (double)answer.trials;
    kvat_search_free(search);
    world_stop(&w);
    world_clear(&w);
}

// Seen must not fall below said by more than chance allows: two standard errors of the binomial.
static void check_noise(noise_kind kind, size_t worlds, double least_good, double most_regret, double most_cost) {
    figures f = {0};
    for (size_t i = 0; i < worlds; i++) search_in(&f, kind, i);
    const double good = f.good / f.worlds, said = f.said / f.worlds;
    const bool overrated = said > good + 2 * sqrt(0.05 * 0.95 / f.worlds);
    if (getenv("KVAT_TEST_FIGURES"))
        print_message("%s: good %.3f, said %.3f, regret %.4f, cost %.3f, %.1f runs\n", noise_names[kind], good, said,
                      f.regret / f.worlds, f.cost / f.grid, f.trials / f.worlds);
    if (overrated || good < least_good || f.regret / f.worlds > most_regret || f.cost / f.grid > most_cost)
        fail_msg("%s: good %.3f, said %.3f, regret %.4f, cost %.3f", noise_names[kind], good, said, f.regret / f.worlds,
                 f.cost / f.grid);
}

static void a_quiet_machine_is_settled_for_a_twelfth_of_the_grid(void **state) {
    (void)state;
    check_noise(ENV_QUIET, 30, 0.96, 0.001, 0.10);
}

static void a_desktop_is_settled_for_little_more(void **state) {
    (void)state;
    check_noise(ENV_DESKTOP, 30, 0.93, 0.002, 0.12);
}

static void a_noisy_machine_costs_more_and_is_not_overrated(void **state) {
    (void)state;
    check_noise(ENV_NOISY, 20, 0.90, 0.004, 0.25);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quiet_machine_is_settled_for_a_twelfth_of_the_grid),
        cmocka_unit_test(a_desktop_is_settled_for_little_more),
        cmocka_unit_test(a_noisy_machine_costs_more_and_is_not_overrated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
