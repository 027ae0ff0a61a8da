// The fit on data drawn from the model itself: known variances are found, spikes are weighted down, means agree.
// Must not know how a search uses it.
#include "drive.h"
#include "model.h"

enum { CACHES = 4, BATCHES = 4, CONFIGS = CACHES * BATCHES, RUNS = 160 };

typedef struct sample {
    machine m;
    kvat__ledger ledger;
    kvat__run runs[RUNS];
    model_space space;
    model_rows rows;
    model_belief belief;
    model_fit fit;
    double truth[CONFIGS];
} sample;

// Runs of every configuration in turn, `gap_s` apart: main effects of sd `main`, noise of sd `noise` a metric.
static void draw(sample *s, double main, double noise, double drift, double gap_s) {
    static uint16_t levels[CONFIGS][2];
    static const double names[] = {1, -1, .5, -.5}, ordered[] = {1, .4, -.2, -1.2};
    memset(s, 0, sizeof *s);
    machine_init(&s->m, CONFIGS, 0);
    for (uint16_t i = 0; i < CONFIGS; i++) {
        levels[i][0] = i / BATCHES;
        levels[i][1] = i % BATCHES;
        s->m.configs[i].levels = levels[i];
        s->truth[i] = main * (names[levels[i][0]] + ordered[levels[i][1]]);
    }
    static const kvat_search_knob knobs[] = {{CACHES, false, 1}, {BATCHES, true, 1}};
    s->m.options.n_knobs = 2;
    s->m.options.knobs = knobs;
    kvat_rng rng;
    kvat_rng_seed(&rng, 4);
    for (size_t i = 0; i < RUNS; i++) {
        kvat_search_result *r = &s->runs[i].result;
        const double slow = drift * sin((double)i * gap_s / 30);
        r->trial.config = (i * 7) % CONFIGS;
        r->started_ns = (int64_t)((double)i * gap_s * 1e9);
        r->part[0] = s->truth[r->trial.config] - slow + noise * kvat_rng_normal(&rng);
        r->part[1] = .7 * s->truth[r->trial.config] - .7 * slow + noise * kvat_rng_normal(&rng);
        r->score = r->part[0] + r->part[1];
    }
    s->ledger = (kvat__ledger){.options = s->m.options, .runs = s->runs, .n_runs = RUNS};
}

static void fit(sample *s) {
    model_belief prior;
    assert_int_equal(kvat__model_space_init(&s->space, &s->m.options, NULL), KVAT_OK);
    assert_int_equal(kvat__model_rows_init(&s->rows, &s->ledger, NULL), KVAT_OK);
    assert_int_equal(kvat__model_belief_init(&prior, &s->space, NULL), KVAT_OK);
    assert_int_equal(kvat__model_belief_copy(&s->belief, &prior, s->rows.n, NULL), KVAT_OK);
    assert_int_equal(kvat__model_fit_make(&s->fit, &s->belief, &s->space, &s->rows, NULL), KVAT_OK);
    kvat__model_belief_clear(&prior);
}

static void clear(sample *s) {
    kvat__model_fit_clear(&s->fit);
    kvat__model_belief_clear(&s->belief);
    kvat__model_rows_clear(&s->rows);
    kvat__model_space_clear(&s->space);
}

static void assert_between(double x, double low, double high) {
    if (!(low <= x && x <= high)) fail_msg("%g is not between %g and %g", x, low, high);
}

static void noise_is_found_over_a_tenfold_range(void **state) {
    (void)state;
    static const double sds[] = {.005, .015, .05};
    for (size_t i = 0; i < LENGTH(sds); i++) {
        sample s;
        draw(&s, .05, sds[i], 0, 3);
        fit(&s);
        for (size_t m = 0; m < MODEL_METRICS; m++) assert_between(sqrt(s.belief.noise[m]), .75 * sds[i], 1.25 * sds[i]);
        clear(&s);
    }
}

static void effects_that_are_there_are_found_and_others_shrink(void **state) {
    (void)state;
    sample with, without;
    draw(&with, .06, .01, 0, 3);
    draw(&without, 0, .01, 0, 3);
    fit(&with);
    fit(&without);
    for (size_t k = 0; k < 2; k++) {
        assert_between(sqrt(with.belief.v[0][k]), .03, .12);
        assert_between(sqrt(without.belief.v[0][k]), 0, .01);
    }
    clear(&with);
    clear(&without);
}

static void drift_is_told_from_noise(void **state) {
    (void)state;
    sample s;
    draw(&s, .05, .005, .05, 3);
    fit(&s);
    double drift = 0;
    for (size_t u = 0; u < MODEL_DRIFTS; u++) drift += s.belief.drift[u];
    assert_between(sqrt(drift), .02, .08);
    for (size_t m = 0; m < MODEL_METRICS; m++) assert_between(sqrt(s.belief.noise[m]), .003, .012);
    clear(&s);
}

static void a_spike_loses_its_weight(void **state) {
    (void)state;
    sample s;
    draw(&s, .05, .01, 0, 3);
    s.runs[40].result.part[0] -= .5;
    s.runs[40].result.score -= .5;
    fit(&s);
    assert_between(s.belief.weight[0][40], 0, .02);
    assert_true(s.belief.weight[1][40] > .5);
    assert_between(sqrt(s.belief.noise[0]), .0075, .0125);
    clear(&s);
}

// Something else comes and goes: runs from … to are further off by `sd`.
static void disturb(sample *s, size_t from, size_t to, double sd) {
    kvat_rng rng;
    kvat_rng_seed(&rng, 8);
    for (size_t i = from; i < to; i++) {
        kvat_search_result *r = &s->runs[i].result;
        r->part[0] += sd * kvat_rng_normal(&rng);
        r->part[1] += sd * kvat_rng_normal(&rng);
        r->score = r->part[0] + r->part[1];
    }
}

static void restless_times_are_told_from_calm_ones(void **state) {
    (void)state;
    sample s;
    draw(&s, .05, .01, 0, 3);
    disturb(&s, 60, 110, .15);
    fit(&s);
    assert_between(s.belief.restless, .5, 1);
    double calm = 0, restless = 0;
    for (size_t i = 0; i < 40; i++) calm += s.belief.unrest[i] / 40;
    for (size_t i = 70; i < 100; i++) restless += s.belief.unrest[i] / 30;
    assert_true(restless > 10 * calm);
    clear(&s);
}

static void steady_noise_is_not_called_restless(void **state) {
    (void)state;
    static const double sds[] = {.003, .01, .05};
    for (size_t i = 0; i < LENGTH(sds); i++) {
        sample s;
        draw(&s, .05, sds[i], sds[i], 3);
        fit(&s);
        assert_true(s.belief.restless == 0);
        for (size_t r = 0; r < RUNS; r++) assert_true(s.belief.unrest[r] == 1);
        clear(&s);
    }
}

static void means_through_tables_are_those_of_the_joint_posterior(void **state) {
    (void)state;
    sample s;
    size_t list[CONFIGS];
    double mean[CONFIGS];
    model_posterior p;
    draw(&s, .05, .01, .02, 3);
    fit(&s);
    for (size_t i = 0; i < CONFIGS; i++) list[i] = i;
    assert_int_equal(kvat__model_means(mean, &s.space, &s.belief, &s.fit, &s.rows, NULL), KVAT_OK);
    assert_int_equal(kvat__model_posterior_of(&p, list, CONFIGS, &s.space, &s.belief, &s.fit, &s.rows, NULL), KVAT_OK);
    for (size_t i = 0; i < CONFIGS; i++) {
        assert_between(mean[i] - p.mean[i], -1e-9, 1e-9);
        assert_between(mean[i] - mean[0] - 1.7 * (s.truth[i] - s.truth[0]), -.02, .02);
    }
    kvat__model_posterior_clear(&p);
    clear(&s);
}

static void parts_that_were_not_told_are_all_in_the_first(void **state) {
    (void)state;
    sample s;
    draw(&s, .05, .01, 0, 3);
    for (size_t i = 0; i < RUNS; i++) memset(s.runs[i].result.part, 0, sizeof s.runs[i].result.part);
    s.runs[3].result.part[1] = NAN;
    fit(&s);
    for (size_t i = 0; i < RUNS; i++) {
        const double score = s.runs[i].result.score - s.runs[0].result.score;
        assert_between(s.rows.part[0][i] - score, -1e-12, 1e-12);
        assert_true(s.rows.part[1][i] == 0);
    }
    clear(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(noise_is_found_over_a_tenfold_range),
        cmocka_unit_test(effects_that_are_there_are_found_and_others_shrink),
        cmocka_unit_test(drift_is_told_from_noise),
        cmocka_unit_test(a_spike_loses_its_weight),
        cmocka_unit_test(restless_times_are_told_from_calm_ones),
        cmocka_unit_test(steady_noise_is_not_called_restless),
        cmocka_unit_test(means_through_tables_are_those_of_the_joint_posterior),
        cmocka_unit_test(parts_that_were_not_told_are_all_in_the_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
