// The drift fit and what is read off it: on simulated runs it is no surer than it is right, whatever drift and noise
// are like. Must not know how anything is fitted. Seeds are fixed; KVAT_DRIFT_WORLDS asks for more worlds.
#include "check.h"

#include <stdio.h>
#include <string.h>

#include "fail_alloc.h"
#include "kvat/stats.h"

enum { ARMS = 16, CELLS = 3, RESPONSES = CELLS + 3, MOST_RUNS = 100, DRAWS = 400, WINNER_PAIRS = 4 };
static const double DELTA = 0.01;

/* ---- simulated machines: three cells, and what they are made of ---- */

typedef enum noise_kind { EVEN, DRIFTING, JUMPING, TAILED, SPIKED, NOISES } noise_kind;
typedef enum design_kind { RACE, MODEL, DESIGNS } design_kind;

typedef struct world {
    noise_kind noise;
    kvat_rng rng;
    double truth[RESPONSES][ARMS];
    double drift, now;
    double y[MOST_RUNS * RESPONSES], time[MOST_RUNS];
    size_t arm[MOST_RUNS], n, runs[ARMS];
    bool later[MOST_RUNS];
    double sum[ARMS]; // of the mean cell, of the runs so far
} world;

static void make_truth(world *w, double spread) {
    for (size_t a = 0; a < ARMS; a++) {
        const double ttft = spread * kvat_rng_normal(&w->rng), decode = spread * kvat_rng_normal(&w->rng);
        const double memory = 0.03 * (double)kvat_rng_below(&w->rng, 3);
        w->truth[CELLS][a] = ttft;
        w->truth[CELLS + 1][a] = decode;
        w->truth[CELLS + 2][a] = memory;
        for (size_t c = 0; c < CELLS; c++)
            w->truth[c][a] = 0.5 * ttft + 0.35 * decode + 0.15 * memory + spread / 4 * kvat_rng_normal(&w->rng);
    }
}

static double noise_of(world *w) {
    const double sd = w->noise == EVEN ? 0.01 : 0.006;
    if (w->noise == TAILED) return 0.008 * kvat_rng_normal(&w->rng) / sqrt(kvat_rng_chi_square(&w->rng, 3) / 3);
    return sd * kvat_rng_normal(&w->rng);
}

static void advance(world *w) {
    const double step = 0.5 + kvat_rng_uniform(&w->rng), decay = exp(-step / 8);
    w->now += step;
    if (w->noise == DRIFTING) w->drift = decay * w->drift + 0.025 * sqrt(1 - decay * decay) * kvat_rng_normal(&w->rng);
    if (w->noise == JUMPING && w->n % 5 == 0) w->drift = 0.025 * kvat_rng_normal(&w->rng);
}

static void run(world *w, size_t arm, bool later) {
    assert_true(w->n < MOST_RUNS);
    advance(w);
    double common = w->drift + 0.7 * noise_of(w) + (later ? 0.02 : 0);
    if (w->noise == SPIKED && kvat_rng_uniform(&w->rng) < 0.05) common -= 0.25 * kvat_rng_uniform(&w->rng);
    for (size_t d = 0; d < RESPONSES; d++) {
        const bool memory = d == RESPONSES - 1;
        const double y = w->truth[d][arm] + (memory ? 0 : common + 0.7 * noise_of(w));
        w->y[w->n * RESPONSES + d] = y;
        if (d < CELLS) w->sum[arm] += y / CELLS;
    }
    w->runs[arm]++;
    w->arm[w->n] = arm;
    w->later[w->n] = later;
    w->time[w->n++] = w->now;
}

static double mean_of(const world *w, size_t arm) {
    return w->runs[arm] ? w->sum[arm] / (double)w->runs[arm] : -INFINITY;
}

// The arm of that place by the mean of its runs so far.
static size_t placed(const world *w, size_t place) {
    for (size_t a = 0; a < ARMS; a++) {
        size_t before = 0;
        for (size_t b = 0; b < ARMS; b++)
            before += mean_of(w, b) > mean_of(w, a) || (mean_of(w, b) == mean_of(w, a) && b < a);
        if (before == place) return a;
    }
    return 0;
}

static void one_pass(world *w, size_t n, bool anchored) {
    size_t order[ARMS];
    for (size_t a = 0; a < ARMS; a++) order[a] = a;
    kvat_rng_shuffle(&w->rng, order + 1, ARMS - 1); // the default first
    for (size_t i = 0; i < n; i++) {
        if (anchored && i > 0 && i % 5 == 0) run(w, placed(w, 0), false);
        run(w, order[i], false);
    }
}

// As the searches spend their runs: two passes in chunks with the leader, then duels; or most configurations once, and
// then those that look best; and the pairs of the confirmation.
static void run_all(world *w, design_kind design) {
    one_pass(w, design == RACE ? ARMS : ARMS - 2, design == RACE);
    if (design == RACE) one_pass(w, ARMS, true);
    for (size_t i = 0; i < 10; i++) run(w, placed(w, (size_t)kvat_rng_below(&w->rng, design == RACE ? 2 : 4)), false);
    const size_t winner = placed(w, 0);
    for (size_t i = 0; i < WINNER_PAIRS; i++) {
        run(w, i % 2 ? 0 : winner, true);
        run(w, i % 2 ? winner : 0, true);
    }
}

static kvat_drift_input input_of(const world *w, size_t n_draws) {
    return (kvat_drift_input){.y = w->y,
                              .arm = w->arm,
                              .time = w->time,
                              .later = w->later,
                              .n = w->n,
                              .n_arms = ARMS,
                              .n_responses = RESPONSES,
                              .sigma_floor = 1e-4,
                              .n_draws = n_draws,
                              .seed = 3};
}

static void world_init(world *w, noise_kind noise, design_kind design, uint64_t seed) {
    memset(w, 0, sizeof *w);
    w->noise = noise;
    kvat_rng_seed3(&w->rng, seed, noise, design);
    make_truth(w, seed % 2 ? 0.03 : 0.012);
    run_all(w, design);
}

/* ---- what is said, and what is so ---- */

typedef struct claim {
    double said, seen, n;
} claim;

typedef struct claims {
    claim cell, sure, winner, worst, front, gain;
} claims;

static void add(claim *c, double said, bool seen) {
    c->said += said;
    c->seen += seen;
    c->n++;
}

static size_t largest(const double *x, size_t n, const world *w) {
    size_t best = 0;
    for (size_t i = 0; i < n; i++) {
        if (w->runs[i] && (!w->runs[best] || x[i] > x[best])) best = i;
    }
    return best;
}

static void only_run(double *row, const world *w) {
    for (size_t a = 0; a < ARMS; a++) {
        if (!w->runs[a]) row[a] = NAN;
    }
}

static void claim_cells(claims *all, const world *w, const kvat_drift_posterior *p, size_t winner) {
    for (size_t c = 0; c < CELLS; c++) {
        const double *draws = p->draws + c * DRAWS * ARMS, *truth = w->truth[c];
        double p_good[ARMS];
        const size_t named = largest(p->estimate + c * ARMS, ARMS, w), best = largest(truth, ARMS, w);
        kvat_posterior_shares(p_good, NULL, draws, DRAWS, ARMS, NULL, DELTA);
        add(&all->cell, p_good[named], truth[named] >= truth[best] - DELTA);
        if (p_good[named] >= 0.9) add(&all->sure, p_good[named], truth[named] >= truth[best] - DELTA);
        add(&all->winner, p_good[winner], truth[winner] >= truth[best] - DELTA);
        if (named == 0) continue;
        double gains[DRAWS];
        for (size_t t = 0; t < DRAWS; t++) gains[t] = draws[t * ARMS + named] - draws[t * ARMS];
        const double gain = truth[named] - truth[0];
        add(&all->gain, 0.95, gain >= kvat_quantile(gains, DRAWS, 0.025) && gain <= kvat_quantile(gains, DRAWS, 0.975));
    }
}

static void claim_worst(claims *all, const world *w, const kvat_drift_posterior *p) {
    static double losses[DRAWS * ARMS];
    double truth[CELLS * ARMS], estimated[ARMS], so[ARMS], p_good[ARMS];
    for (size_t c = 0; c < CELLS; c++) {
        memcpy(truth + c * ARMS, w->truth[c], sizeof w->truth[c]);
        only_run(truth + c * ARMS, w);
    }
    kvat_worst_losses(losses, p->draws, CELLS, DRAWS, ARMS, NULL);
    kvat_worst_losses(estimated, p->estimate, CELLS, 1, ARMS, NULL);
    kvat_worst_losses(so, truth, CELLS, 1, ARMS, NULL);
    for (size_t i = 0; i < DRAWS * ARMS; i++) losses[i] = -losses[i];
    for (size_t a = 0; a < ARMS; a++) {
        estimated[a] = -estimated[a];
        so[a] = -so[a];
    }
    kvat_posterior_shares(p_good, NULL, losses, DRAWS, ARMS, NULL, DELTA);
    const size_t named = largest(estimated, ARMS, w);
    add(&all->worst, p_good[named], so[named] >= so[largest(so, ARMS, w)] - DELTA);
}

static void claim_front(claims *all, const world *w, const kvat_drift_posterior *p) {
    double truth[3 * ARMS], so[ARMS], said[ARMS];
    for (size_t d = 0; d < 3; d++) {
        memcpy(truth + d * ARMS, w->truth[CELLS + d], sizeof w->truth[0]);
        only_run(truth + d * ARMS, w);
    }
    kvat_front_shares(so, truth, 3, 1, ARMS, NULL, DELTA);
    kvat_front_shares(said, p->draws + CELLS * DRAWS * ARMS, 3, DRAWS, ARMS, NULL, DELTA);
    for (size_t a = 0; a < ARMS; a++) {
        if (said[a] >= 0.5) add(&all->front, said[a], so[a] > 0.5);
    }
}

// Worlds are independent, the claims of one world are not: the error is that of as many claims as there are worlds.
static void no_surer_than_right(const char *what, const claim *c, size_t worlds, noise_kind noise, design_kind design) {
    static const char *const noises[] = {"even", "drifting", "jumping", "tailed", "spiked"};
    if (c->n == 0) return;
    const double said = c->said / c->n, seen = c->seen / c->n;
    if (getenv("KVAT_DRIFT_WORLDS"))
        printf("# %-8s %-5s %-6s said %.3f seen %.3f of %g\n", noises[noise], design == RACE ? "race" : "model", what,
               said, seen, c->n);
    const double error = sqrt(fmax(said * (1 - said), 0.02) / fmin(c->n, (double)worlds));
    if (said > seen + 2 * error) fail_msg("%s, %s: said %.3f, seen %.3f", noises[noise], what, said, seen);
}

static void check(noise_kind noise, design_kind design) {
    static world w;
    claims all = {0};
    const char *asked = getenv("KVAT_DRIFT_WORLDS");
    const size_t worlds = asked ? strtoul(asked, NULL, 10) : 30;
    for (size_t i = 0; i < worlds; i++) {
        world_init(&w, noise, design, i);
        const kvat_drift_input in = input_of(&w, DRAWS);
        kvat_drift_posterior p;
        kvat_error err = KVAT_ERROR_INIT;
        if (kvat_drift_fit(&p, &in, &err) != KVAT_OK) fail_msg("%s", err.message);
        claim_cells(&all, &w, &p, placed(&w, 0));
        claim_worst(&all, &w, &p);
        claim_front(&all, &w, &p);
        kvat_drift_posterior_clear(&p);
    }
    no_surer_than_right("cell", &all.cell, worlds, noise, design);
    no_surer_than_right("sure", &all.sure, worlds, noise, design);
    no_surer_than_right("winner", &all.winner, worlds, noise, design);
    no_surer_than_right("worst", &all.worst, worlds, noise, design);
    no_surer_than_right("front", &all.front, worlds, noise, design);
    no_surer_than_right("gain", &all.gain, worlds, noise, design);
}

static void it_is_no_surer_than_right_after_a_race(void **state) {
    (void)state;
    for (int noise = 0; noise < NOISES; noise++) check((noise_kind)noise, RACE);
}

static void it_is_no_surer_than_right_where_most_ran_once(void **state) {
    (void)state;
    for (int noise = 0; noise < NOISES; noise++) check((noise_kind)noise, MODEL);
}

/* ---- a fit of known runs ---- */

static void must_fit(kvat_drift_posterior *p, const kvat_drift_input *in) {
    kvat_error err = KVAT_ERROR_INIT;
    if (kvat_drift_fit(p, in, &err) != KVAT_OK) fail_msg("%s", err.message);
}

static void a_steady_climb_is_taken_out(void **state) {
    (void)state;
    enum { N = 24 };
    double y[N], time[N];
    size_t arm[N];
    static const double effect[] = {0, 0.05, -0.03, 0.02};
    for (size_t j = 0; j < N; j++) {
        time[j] = (double)j;
        arm[j] = (j + j / 4) % 4;
        y[j] = 20 + effect[arm[j]] + 0.03 * (double)j;
    }
    const kvat_drift_input in = {y, arm, time, NULL, N, 4, 1, 1e-4, 50, 1};
    kvat_drift_posterior p;
    must_fit(&p, &in);
    assert_int_equal(p.residual_dof, N - 4);
    for (size_t a = 1; a < 4; a++) assert_same(p.estimate[a] - p.estimate[0], effect[a], 0, 0.005);
    kvat_drift_posterior_clear(&p);
}

static void without_drift_estimates_are_means_and_the_spread_is_seen(void **state) {
    (void)state;
    enum { N = 200 };
    double y[N], time[N], mean[2] = {0};
    size_t arm[N];
    kvat_rng rng;
    kvat_rng_seed(&rng, 4);
    for (size_t j = 0; j < N; j++) {
        time[j] = (double)j;
        arm[j] = kvat_rng_below(&rng, 2);
        y[j] = 0.01 * kvat_rng_normal(&rng) + 0.02 * (double)arm[j];
    }
    size_t runs[2] = {0};
    for (size_t j = 0; j < N; j++) runs[arm[j]]++;
    for (size_t j = 0; j < N; j++) mean[arm[j]] += y[j] / (double)runs[arm[j]];
    const kvat_drift_input in = {y, arm, time, NULL, N, 2, 1, 1e-4, 2000, 1};
    kvat_drift_posterior p;
    must_fit(&p, &in);
    assert_same(p.estimate[1] - p.estimate[0], mean[1] - mean[0], 0, 0.001);
    assert_same(p.sigma[0], 0.01, 0.15, 0);
    double gap[2000];
    for (size_t t = 0; t < 2000; t++) gap[t] = p.draws[2 * t + 1] - p.draws[2 * t];
    assert_same(kvat_sd(gap, 2000), 0.01 * sqrt(1.0 / (double)runs[0] + 1.0 / (double)runs[1]), 0.15, 0);
    kvat_drift_posterior_clear(&p);
}

// What a phase adds to every run of it is no difference between arms.
static void a_later_phase_may_differ_by_a_constant(void **state) {
    (void)state;
    double y[] = {0, 0.011, 0.0505, 0.001, 0.01, 0.2, 0.2105, 0.2095, 0.2005}, time[] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
    size_t arm[] = {0, 1, 2, 0, 1, 0, 1, 1, 0};
    bool later[] = {false, false, false, false, false, true, true, true, true};
    const kvat_drift_input in = {y, arm, time, later, 9, 3, 1, 1e-4, 50, 1};
    kvat_drift_posterior p;
    must_fit(&p, &in);
    assert_int_equal(p.residual_dof, 9 - 3 - 1);
    assert_same(p.estimate[1] - p.estimate[0], 0.010, 0, 0.002);
    assert_same(p.estimate[2] - p.estimate[0], 0.05, 0, 0.002);
    kvat_drift_posterior_clear(&p);
}

static void arms_run_once_are_compared_but_say_nothing_of_the_spread(void **state) {
    (void)state;
    double y[] = {1, 1.5, 1.2}, time[] = {0, 1, 2};
    size_t arm[] = {0, 3, 2};
    kvat_drift_input in = {y, arm, time, NULL, 3, 4, 1, 1e-4, 50, 1};
    kvat_drift_posterior p;
    must_fit(&p, &in);
    assert_int_equal(p.residual_dof, 0);
    assert_null(p.draws);
    assert_true(isnan(p.sigma[0]) && isnan(p.estimate[1]));
    assert_true(p.estimate[3] > p.estimate[2] && p.estimate[2] > p.estimate[0]);
    kvat_drift_posterior_clear(&p);
    in.n = 1;
    must_fit(&p, &in);
    assert_true(isfinite(p.estimate[0]) && isnan(p.estimate[3]));
    kvat_drift_posterior_clear(&p);
}

// The one that ran once is known half as well at best, and has the longer tails.
static void an_arm_run_once_is_less_certain(void **state) {
    (void)state;
    static world w;
    world_init(&w, EVEN, MODEL, 1);
    const kvat_drift_input in = input_of(&w, DRAWS);
    kvat_drift_posterior p;
    must_fit(&p, &in);
    double spread[2] = {0};
    size_t counted[2] = {0};
    for (size_t a = 0; a < ARMS; a++) {
        double draws[DRAWS];
        for (size_t t = 0; t < DRAWS; t++) draws[t] = p.draws[t * ARMS + a];
        if (w.runs[a] == 0) {
            assert_true(isnan(draws[0]) && isnan(p.estimate[a]));
        } else if (w.runs[a] == 1 || w.runs[a] > 3) {
            spread[w.runs[a] > 1] += kvat_quantile(draws, DRAWS, 0.99) - kvat_quantile(draws, DRAWS, 0.01);
            counted[w.runs[a] > 1]++;
        }
    }
    assert_true(counted[0] > 0 && counted[1] > 0);
    assert_true(spread[0] / (double)counted[0] > 1.4 * spread[1] / (double)counted[1]);
    kvat_drift_posterior_clear(&p);
}

static void equal_runs_leave_the_floor(void **state) {
    (void)state;
    double y[] = {2, 2, 2, 2}, time[] = {0, 0, 0, 0};
    size_t arm[] = {0, 1, 0, 1};
    const kvat_drift_input in = {y, arm, time, NULL, 4, 2, 1, 1e-3, 400, 1};
    kvat_drift_posterior p;
    must_fit(&p, &in);
    assert_same(p.sigma[0], 1e-3, 1e-9, 0);
    assert_same(p.estimate[0], p.estimate[1], 0, 1e-9);
    double p_good[2];
    kvat_posterior_shares(p_good, NULL, p.draws, 400, 2, NULL, 0.01);
    assert_true(p_good[0] > 0.9 && p_good[1] > 0.9);
    kvat_drift_posterior_clear(&p);
}

static void the_same_seed_draws_the_same(void **state) {
    (void)state;
    static world w;
    world_init(&w, SPIKED, RACE, 2);
    kvat_drift_input in = input_of(&w, DRAWS);
    kvat_drift_posterior p, q, r;
    must_fit(&p, &in);
    must_fit(&q, &in);
    in.seed++;
    must_fit(&r, &in);
    const size_t bytes = sizeof(double) * RESPONSES * DRAWS * ARMS;
    assert_memory_equal(p.draws, q.draws, bytes);
    assert_true(memcmp(p.draws, r.draws, bytes) != 0);
    kvat_drift_posterior_clear(&p);
    kvat_drift_posterior_clear(&q);
    kvat_drift_posterior_clear(&r);
}

static void what_is_no_run_is_refused(void **state) {
    (void)state;
    double y[] = {1, 2}, time[] = {0, 1};
    size_t arm[] = {0, 1};
    const kvat_drift_input good = {y, arm, time, NULL, 2, 2, 1, 1e-4, 10, 1};
    kvat_drift_input in = good;
    kvat_drift_posterior p;
    in.n = 0;
    assert_int_equal(kvat_drift_fit(&p, &in, NULL), KVAT_ERR_DATA);
    in = good;
    in.n_arms = 1;
    assert_int_equal(kvat_drift_fit(&p, &in, NULL), KVAT_ERR_DATA);
    in = good;
    in.sigma_floor = 0;
    assert_int_equal(kvat_drift_fit(&p, &in, NULL), KVAT_ERR_DATA);
    y[1] = NAN;
    assert_int_equal(kvat_drift_fit(&p, &good, NULL), KVAT_ERR_DATA);
    y[1] = 2;
    time[0] = 2;
    assert_int_equal(kvat_drift_fit(&p, &good, NULL), KVAT_ERR_DATA);
}

static kvat_status fit_once(void *context, kvat_error *err) {
    kvat_drift_posterior p;
    const kvat_status status = kvat_drift_fit(&p, context, err);
    if (status == KVAT_OK) kvat_drift_posterior_clear(&p);
    return status;
}

static void without_memory_nothing_is_left(void **state) {
    (void)state;
    double y[] = {1, 2, 1.1, 2.1, 3, 3.5, 3.1, 3.4}, time[] = {0, 1, 2, 3};
    size_t arm[] = {0, 1, 0, 1};
    kvat_drift_input in = {y, arm, time, NULL, 4, 2, 2, 1e-4, 10, 1};
    assert_true(fail_alloc_each(fit_once, &in) >= 18);
}

/* ---- trade-offs ---- */

static void the_worst_loss_is_where_an_arm_is_furthest_behind(void **state) {
    (void)state;
    // two responses × two rows × three arms
    const double values[] = {5, 3, 4, NAN, 1, 2, 1, 2, 2, 1, 1, 1};
    const bool may_win[] = {false, true, true};
    double loss[6];
    kvat_worst_losses(loss, values, 2, 2, 3, NULL);
    const double all[] = {1, 2, 1, NAN, 1, 0};
    for (size_t i = 0; i < 6; i++) assert_same(loss[i], all[i], 0, 1e-12);
    kvat_worst_losses(loss, values, 2, 2, 3, may_win);
    const double some[] = {1, 1, 0, NAN, 1, 0};
    for (size_t i = 0; i < 6; i++) assert_same(loss[i], some[i], 0, 1e-12);
    const bool none[] = {false, false, false};
    kvat_worst_losses(loss, values, 2, 1, 3, none);
    for (size_t i = 0; i < 3; i++) assert_true(isnan(loss[i]));
}

static void the_front_is_what_nothing_beats(void **state) {
    (void)state;
    // two responses × one row: 1 is beaten by 0; 2 trades; 3 equals 0 within delta; 4 is unknown; 5 is beaten by 2
    const double values[] = {0, -0.02, 0.05, 0.004, NAN, 0.05, 0, 0.01, -0.05, -0.004, 0, -0.07};
    double p[6];
    kvat_front_shares(p, values, 2, 1, 6, NULL, 0.01);
    const double expected[] = {1, 0, 1, 1, 0, 0};
    for (size_t i = 0; i < 6; i++) assert_same(p[i], expected[i], 0, 0);
    const bool may_win[] = {false, true, false, false, true, true};
    kvat_front_shares(p, values, 2, 1, 6, may_win, 0.01);
    const double others[] = {1, 1, 1, 1, 0, 1};
    for (size_t i = 0; i < 6; i++) assert_same(p[i], others[i], 0, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_no_surer_than_right_after_a_race),
        cmocka_unit_test(it_is_no_surer_than_right_where_most_ran_once),
        cmocka_unit_test(a_steady_climb_is_taken_out),
        cmocka_unit_test(without_drift_estimates_are_means_and_the_spread_is_seen),
        cmocka_unit_test(a_later_phase_may_differ_by_a_constant),
        cmocka_unit_test(arms_run_once_are_compared_but_say_nothing_of_the_spread),
        cmocka_unit_test(an_arm_run_once_is_less_certain),
        cmocka_unit_test(equal_runs_leave_the_floor),
        cmocka_unit_test(the_same_seed_draws_the_same),
        cmocka_unit_test(what_is_no_run_is_refused),
        cmocka_unit_test(without_memory_nothing_is_left),
        cmocka_unit_test(the_worst_loss_is_where_an_arm_is_furthest_behind),
        cmocka_unit_test(the_front_is_what_nothing_beats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
