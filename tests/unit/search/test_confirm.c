// Confirmation: order, launches, failures, and by simulation that stopping early does not inflate its errors.
// Must not know how the errors allowed are shared out.
#include "drive.h"

static kvat_confirm *new_confirm(const kvat_confirm_options *options) {
    const kvat_confirm_options defaults = KVAT_CONFIRM_OPTIONS_INIT;
    kvat_confirm *confirm = NULL;
    assert_int_equal(kvat_confirm_new(&confirm, options ? options : &defaults, NULL), KVAT_OK);
    return confirm;
}

static void tell(kvat_confirm *confirm, const kvat_confirm_trial *trial, double score) {
    const double part[3] = {-score, 2 * score, 0.5};
    assert_int_equal(kvat_confirm_tell(confirm, trial, true, score, part, NULL), KVAT_OK);
}

// Scores of A and B by pair; returns the number of runs made.
static size_t run_pairs(kvat_confirm *confirm, const double (*scores)[2]) {
    kvat_confirm_trial trial;
    size_t runs = 0;
    for (; kvat_confirm_propose(&trial, confirm); runs++) tell(confirm, &trial, scores[trial.pair][trial.side]);
    return runs;
}

static void pairs_come_in_abba_order_with_a_launch_every_second_pair(void **state) {
    (void)state;
    static const kvat_confirm_trial expected[] = {
        {0, 0, true, true}, {1, 0, true, true}, {1, 1, false, true}, {0, 1, false, true},
        {0, 2, true, true}, {1, 2, true, true}, {1, 3, false, true}, {0, 3, false, true},
        {0, 4, true, true}, {1, 4, true, true}, {1, 5, false, true}, {0, 5, false, true},
        {0, 6, true, true}, {1, 6, true, true}, {1, 7, false, true}, {0, 7, false, true},
    };
    kvat_confirm *confirm = new_confirm(NULL);
    kvat_confirm_trial trial;
    for (size_t i = 0; i < LENGTH(expected); i++) {
        assert_true(kvat_confirm_propose(&trial, confirm));
        assert_int_equal(trial.side, expected[i].side);
        assert_int_equal(trial.pair, expected[i].pair);
        assert_int_equal(trial.fresh_process, expected[i].fresh_process);
        assert_int_equal(trial.whole, expected[i].whole);
        tell(confirm, &trial, trial.pair % 2 ? 0.1 : trial.side ? 0.2 : 0); // differences that cancel
    }
    assert_false(kvat_confirm_propose(&trial, confirm));
    const kvat_confirm_answer answer = kvat_confirm_answer_get(confirm);
    assert_int_equal(answer.pairs, 8);
    assert_int_equal(answer.verdict, KVAT_VERDICT_UNDECIDED);
    assert_true(answer.score.low < 0 && answer.score.high > 0);
    kvat_confirm_free(confirm);
}

static void a_large_difference_is_decided_with_the_fewest_pairs(void **state) {
    (void)state;
    static const double a_better[4][2] = {{1.01, 0}, {1.00, 0}, {0.99, 0}, {1.00, 0}};
    static const double b_better[4][2] = {{0, 1.01}, {0, 1.00}, {0, 0.99}, {0, 1.00}};
    kvat_confirm *confirm = new_confirm(NULL);
    assert_int_equal(run_pairs(confirm, a_better), 8);
    kvat_confirm_answer answer = kvat_confirm_answer_get(confirm);
    assert_int_equal(answer.verdict, KVAT_VERDICT_A);
    assert_true(answer.score.low > 0.9 && answer.score.high < 1.1);
    assert_true(fabs(answer.part[0].value + 1) < 1e-9 && fabs(answer.part[1].value - 2) < 1e-9);
    assert_true(answer.part[2].value == 0 && answer.part[2].low == 0 && answer.part[2].high == 0);
    kvat_confirm_free(confirm);

    confirm = new_confirm(NULL);
    run_pairs(confirm, b_better);
    answer = kvat_confirm_answer_get(confirm);
    assert_int_equal(answer.verdict, KVAT_VERDICT_B);
    assert_true(answer.score.high < 0);
    kvat_confirm_free(confirm);
}

static void equal_sides_without_noise_are_undecided(void **state) {
    (void)state;
    static const double scores[8][2] = {{0}};
    kvat_confirm *confirm = new_confirm(NULL);
    assert_int_equal(run_pairs(confirm, scores), 16);
    const kvat_confirm_answer answer = kvat_confirm_answer_get(confirm);
    assert_int_equal(answer.verdict, KVAT_VERDICT_UNDECIDED);
    assert_true(answer.score.value == 0 && answer.score.low == 0 && answer.score.high == 0);
    kvat_confirm_free(confirm);
}

static void too_few_pairs_decide_nothing(void **state) {
    (void)state;
    kvat_confirm *confirm = new_confirm(NULL);
    kvat_confirm_answer answer = kvat_confirm_answer_get(confirm);
    assert_int_equal(answer.pairs, 0);
    assert_true(isnan(answer.score.value));
    for (size_t run = 0; run < 6; run++) {
        kvat_confirm_trial trial;
        assert_true(kvat_confirm_propose(&trial, confirm));
        tell(confirm, &trial, trial.side ? 0 : 1 + 1e-6 * (double)trial.pair);
        answer = kvat_confirm_answer_get(confirm);
        assert_int_equal(answer.pairs, (run + 1) / 2);
        assert_int_equal(answer.verdict, KVAT_VERDICT_UNDECIDED);
    }
    assert_true(answer.score.low > 0); // wide apart already, and still not enough pairs
    kvat_confirm_free(confirm);
}

static void one_spike_does_not_hide_a_difference(void **state) {
    (void)state;
    double scores[8][2];
    for (size_t i = 0; i < 8; i++) {
        scores[i][0] = 0.1 + 0.001 * (double)(i % 3);
        scores[i][1] = 0.001 * (double)(i % 2);
    }
    scores[2][0] -= 5;
    kvat_confirm *confirm = new_confirm(NULL);
    run_pairs(confirm, (const double(*)[2])scores);
    const kvat_confirm_answer answer = kvat_confirm_answer_get(confirm);
    assert_int_equal(answer.verdict, KVAT_VERDICT_A);
    assert_true(fabs(answer.score.value - 0.1) < 0.002);
    kvat_confirm_free(confirm);
}

static void a_failed_run_is_repeated_in_a_fresh_process_and_twice_ends_it(void **state) {
    (void)state;
    for (int side = 0; side < 2; side++) {
        kvat_confirm *confirm = new_confirm(NULL);
        kvat_confirm_trial trial;
        const double none[3] = {0};
        size_t failed = 0, pair_of_first = 0;
        while (kvat_confirm_propose(&trial, confirm)) {
            const bool fails = trial.side == side && trial.pair >= 1 && (failed == 0 || trial.pair == 3);
            if (failed == 1 && trial.side == side && trial.pair == pair_of_first) assert_true(trial.fresh_process);
            if (!fails) {
                tell(confirm, &trial, 0.1 * (double)(trial.pair % 3));
                continue;
            }
            if (failed++ == 0) pair_of_first = trial.pair;
            assert_int_equal(kvat_confirm_tell(confirm, &trial, false, NAN, none, NULL), KVAT_OK);
        }
        const kvat_confirm_answer answer = kvat_confirm_answer_get(confirm);
        assert_int_equal(failed, 2);
        assert_int_equal(answer.verdict, KVAT_VERDICT_FAILED);
        assert_int_equal(answer.failed_side, side);
        assert_int_equal(answer.pairs, 3);
        kvat_confirm_free(confirm);
    }
}

static void what_was_not_proposed_is_refused(void **state) {
    (void)state;
    kvat_confirm *confirm = new_confirm(NULL);
    const double part[3] = {0}, holed[3] = {0, NAN, 0};
    const kvat_confirm_trial first = {0, 0, true, true}, side = {1, 0, true, true}, pair = {0, 1, true, true};
    kvat_error err = KVAT_ERROR_INIT;
    assert_int_equal(kvat_confirm_tell(confirm, &side, true, 0, part, &err), KVAT_ERR_USAGE);
    assert_int_equal(kvat_confirm_tell(confirm, &pair, true, 0, part, &err), KVAT_ERR_USAGE);
    assert_int_equal(kvat_confirm_tell(confirm, &first, true, NAN, part, &err), KVAT_ERR_DATA);
    assert_int_equal(kvat_confirm_tell(confirm, &first, true, 0, holed, &err), KVAT_ERR_DATA);
    assert_int_equal(kvat_confirm_tell(confirm, &first, true, 0, part, &err), KVAT_OK);
    assert_int_equal(kvat_confirm_tell(confirm, &first, true, 0, part, &err), KVAT_ERR_USAGE); // twice
    kvat_confirm_free(confirm);
}

static void bad_options_are_refused(void **state) {
    (void)state;
    static const kvat_confirm_options cases[] = {
        {.min_pairs = 1, .max_pairs = 8, .level = 0.95, .pairs_per_launch = 1},
        {.min_pairs = 0, .max_pairs = 8, .level = 0.95, .pairs_per_launch = 1},
        {.min_pairs = 4, .max_pairs = 3, .level = 0.95, .pairs_per_launch = 2},
        {.min_pairs = 4, .max_pairs = 8, .level = 0, .pairs_per_launch = 2},
        {.min_pairs = 4, .max_pairs = 8, .level = 1, .pairs_per_launch = 2},
        {.min_pairs = 4, .max_pairs = 8, .level = 0.95, .pairs_per_launch = 0},
        {.min_pairs = 4, .max_pairs = 8, .level = 0.95, .pairs_per_launch = 4},
        {.min_pairs = 4, .max_pairs = 8, .level = 0.95, .pairs_per_launch = 2, .prior_dof = -1},
        {.min_pairs = 4, .max_pairs = 8, .level = 0.95, .pairs_per_launch = 2, .enough = -0.01},
        {.min_pairs = 4, .max_pairs = 8, .level = 0.95, .pairs_per_launch = 2, .futile = -0.01},
        {.min_pairs = 4, .max_pairs = 8, .level = 0.95, .pairs_per_launch = 2, .futile = 1},
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        kvat_confirm *confirm = NULL;
        kvat_error err = KVAT_ERROR_INIT;
        assert_int_equal(kvat_confirm_new(&confirm, &cases[i], &err), KVAT_ERR_USAGE);
        assert_null(confirm);
        assert_true(err.message[0] != '\0');
    }
    kvat_confirm_free(NULL);
}

typedef enum shape { NORMAL, STUDENT_3, SPIKES, LAPLACE, SHAPES } shape;

static double noise(kvat_rng *rng, shape kind) {
    const double z = kvat_rng_normal(rng);
    switch (kind) {
    case STUDENT_3:
        return z / sqrt(kvat_rng_chi_square(rng, 3) / 3);
    case SPIKES:
        return kvat_rng_uniform(rng) < 0.1 ? z - 10 * kvat_rng_uniform(rng) : z; // runs slowed down
    case LAPLACE:
        return z * sqrt(-2 * log(kvat_rng_uniform(rng)));
    default:
        return z;
    }
}

typedef struct tally {
    double a, b, covered, pairs;
} tally;

static tally simulate(const kvat_confirm_options *options, shape kind, double truth, size_t worlds) {
    tally t = {0, 0, 0, 0};
    kvat_rng rng;
    kvat_rng_seed3(&rng, 2024, kind, (uint64_t)(truth * 1000));
    for (size_t w = 0; w < worlds; w++) {
        kvat_confirm *confirm = new_confirm(options);
        kvat_confirm_trial trial;
        while (kvat_confirm_propose(&trial, confirm))
            tell(confirm, &trial, (trial.side ? 0 : truth) + noise(&rng, kind));
        const kvat_confirm_answer answer = kvat_confirm_answer_get(confirm);
        t.a += answer.verdict == KVAT_VERDICT_A;
        t.b += answer.verdict == KVAT_VERDICT_B;
        t.covered += answer.score.low <= truth && truth <= answer.score.high;
        t.pairs += (double)answer.pairs;
        kvat_confirm_free(confirm);
    }
    const double n = (double)worlds;
    return (tally){t.a / n, t.b / n, t.covered / n, t.pairs / n};
}

// 2.5 % on either side over all looks together; 20,000 worlds have a standard error of 0.11 %.
static void stopping_early_does_not_make_differences_of_nothing(void **state) {
    (void)state;
    for (shape kind = 0; kind < SHAPES; kind++) {
        const tally t = simulate(NULL, kind, 0, kind == NORMAL ? 20000 : 10000);
        if (!(t.a <= 0.025 && t.b <= 0.025 && t.covered >= 0.95))
            fail_msg("noise %d: A %.4f, B %.4f, covered %.4f", (int)kind, t.a, t.b, t.covered);
        assert_true(t.a > 0.003 && t.b > 0.003); // nor is it so cautious as to be idle
    }
}

static void the_interval_covers_the_truth_wherever_it_stopped(void **state) {
    (void)state;
    static const double truths[] = {1, 2.5, 6};
    for (shape kind = 0; kind < SHAPES; kind++) {
        for (size_t i = 0; i < LENGTH(truths); i++) {
            const tally t = simulate(NULL, kind, truths[i], 2000);
            if (!(t.covered >= 0.95)) fail_msg("noise %d, truth %g: covered %.4f", (int)kind, truths[i], t.covered);
            assert_true(t.b <= 0.005);
        }
    }
}

static void differences_that_matter_are_found(void **state) {
    (void)state;
    const tally some = simulate(NULL, NORMAL, 2.5, 4000);
    assert_true(some.a > 0.86 && some.pairs < 7);
    const tally large = simulate(NULL, NORMAL, 15, 2000);
    assert_true(large.a > 0.99 && large.pairs < 5);
    assert_true(simulate(NULL, SPIKES, 2.5, 4000).a > 0.63);
}

static void other_numbers_of_pairs_keep_their_level(void **state) {
    (void)state;
    static const kvat_confirm_options cases[] = {
        {.min_pairs = 4, .max_pairs = 4, .level = 0.95, .pairs_per_launch = 2},
        {.min_pairs = 8, .max_pairs = 8, .level = 0.95, .pairs_per_launch = 2},
        {.min_pairs = 2, .max_pairs = 12, .level = 0.95, .pairs_per_launch = 1},
        {.min_pairs = 8, .max_pairs = 20, .level = 0.95, .pairs_per_launch = 2},
        {.min_pairs = 4, .max_pairs = 8, .level = 0.8, .pairs_per_launch = 2}};
    for (size_t i = 0; i < LENGTH(cases); i++) {
        const tally t = simulate(&cases[i], NORMAL, 0, 5000);
        const double side = (1 - cases[i].level) / 2, slack = 3 * sqrt(side / 5000);
        if (!(t.a <= side + slack && t.b <= side + slack && t.covered >= cases[i].level - slack))
            fail_msg("case %zu: A %.4f, B %.4f, covered %.4f", i, t.a, t.b, t.covered);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_come_in_abba_order_with_a_launch_every_second_pair),
        cmocka_unit_test(a_large_difference_is_decided_with_the_fewest_pairs),
        cmocka_unit_test(equal_sides_without_noise_are_undecided),
        cmocka_unit_test(too_few_pairs_decide_nothing),
        cmocka_unit_test(one_spike_does_not_hide_a_difference),
        cmocka_unit_test(a_failed_run_is_repeated_in_a_fresh_process_and_twice_ends_it),
        cmocka_unit_test(what_was_not_proposed_is_refused),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(stopping_early_does_not_make_differences_of_nothing),
        cmocka_unit_test(the_interval_covers_the_truth_wherever_it_stopped),
        cmocka_unit_test(differences_that_matter_are_found),
        cmocka_unit_test(other_numbers_of_pairs_keep_their_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
