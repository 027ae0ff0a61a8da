// Confirmation after a search that knows something: of the spread, of the gain, and of how much is at stake.
// Must not know how the errors allowed are shared out, nor how what is known is joined.
#include "drive.h"

enum { SCORE = 3 };
#define NO_GAIN NAN

// What a search says: pairs differ by `pair_sd`; the leader is `gain` ahead, give or take `gain_sd`.
static kvat_search_answer said(double pair_sd, double gain, double gain_sd) {
    kvat_search_answer answer = {.gain_dof = 20};
    for (size_t i = 0; i < 4; i++) {
        answer.pair_sd[i] = pair_sd;
        answer.gain_mean[i] = gain;
        answer.gain_sd[i] = gain_sd;
    }
    return answer;
}

static kvat_confirm_options options_of(double pair_sd, double gain, double gain_sd, double delta) {
    const kvat_search_answer answer = said(pair_sd, gain, gain_sd);
    return kvat_confirm_options_after(&answer, delta);
}

static kvat_confirm *new_confirm(const kvat_confirm_options *options) {
    kvat_confirm *confirm = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    if (kvat_confirm_new(&confirm, options, &err) != KVAT_OK) fail_msg("%s", err.message);
    return confirm;
}

static void tell(kvat_confirm *confirm, const kvat_confirm_trial *trial, double score) {
    const double part[3] = {-score, score, 2 * score};
    assert_int_equal(kvat_confirm_tell(confirm, trial, true, score, part, NULL), KVAT_OK);
}

// Pairs that differ by what is given, the last one over and over, to the end.
static kvat_confirm_answer told(const kvat_confirm_options *options, const double *differences, size_t n) {
    kvat_confirm *confirm = new_confirm(options);
    kvat_confirm_trial trial;
    while (kvat_confirm_propose(&trial, confirm))
        tell(confirm, &trial, trial.side ? 0 : differences[trial.pair < n ? trial.pair : n - 1]);
    const kvat_confirm_answer answer = kvat_confirm_answer_get(confirm);
    kvat_confirm_free(confirm);
    return answer;
}

/* ---- what is made of an answer ---- */

static void what_the_search_knows_is_passed_on(void **state) {
    (void)state;
    const kvat_confirm_options o = options_of(.004, .03, .002, .01), usual = KVAT_CONFIRM_OPTIONS_INIT;
    assert_int_equal(o.min_pairs, 2);
    assert_int_equal(o.max_pairs, 16);
    assert_int_equal(o.pairs_per_launch, 1);
    assert_int_equal(o.whole_pairs, 2);
    assert_true(o.enough == .01 && o.level == usual.level && o.prior_dof > 0 && o.known_dof == 20);
    assert_true(o.futile > 0 && o.futile_from == 6);
    for (size_t i = 0; i < 4; i++) {
        assert_true(o.prior_sd[i] == .004 && o.known_mean[i] == .03);
        assert_true(fabs(o.known_sd[i] * o.known_sd[i] - 2 * .002 * .002) < 1e-12); // its variance doubled
    }
    assert_int_equal(options_of(.03, .03, .002, .01).min_pairs, 4); // where pairs differ much anyway
    kvat_search_answer answer = said(.004, .03, .002);
    answer.restless = .4; // a little of it changes nothing
    const kvat_confirm_options same = kvat_confirm_options_after(&answer, .01);
    assert_memory_equal(&same, &o, sizeof o);
}

static void of_a_restless_machine_or_an_unknown_spread_nothing_is(void **state) {
    (void)state;
    const kvat_confirm_options usual = KVAT_CONFIRM_OPTIONS_INIT;
    for (size_t i = 0; i < 3; i++) {
        kvat_search_answer answer = said(i == 1 ? NAN : i == 2 ? 0 : .004, .03, .002);
        if (i == 0) answer.restless = .6;
        const kvat_confirm_options o = kvat_confirm_options_after(&answer, .02);
        assert_int_equal(o.min_pairs, usual.min_pairs);
        assert_int_equal(o.max_pairs, usual.max_pairs);
        assert_int_equal(o.pairs_per_launch, usual.pairs_per_launch);
        assert_int_equal(o.whole_pairs, 0);
        assert_true(o.prior_dof == 0 && o.enough == .02 && o.futile == 0);
        for (size_t k = 0; k < 4; k++) assert_false(o.known_sd[k] > 0);
        const double clear[] = {.5};
        assert_false(told(&o, clear, 1).joined);
    }
}

/* ---- order ---- */

static void every_pair_is_a_launch_and_the_first_two_are_whole(void **state) {
    (void)state;
    kvat_confirm_options o = options_of(.01, NO_GAIN, NAN, 0);
    o.futile = 0;
    kvat_confirm *confirm = new_confirm(&o);
    kvat_confirm_trial trial;
    size_t runs = 0;
    for (; kvat_confirm_propose(&trial, confirm); runs++) {
        assert_int_equal(trial.pair, runs / 2);
        assert_int_equal(trial.side, (runs + runs / 2) % 2); // A B, B A, A B, …
        assert_true(trial.fresh_process);
        assert_int_equal(trial.whole, trial.pair < 2);
        tell(confirm, &trial, trial.side ? 0 : trial.pair % 2 ? .01 : -.01);
    }
    assert_int_equal(runs, 32);
    kvat_confirm_free(confirm);
}

/* ---- decisions ---- */

static void two_pairs_suffice_where_it_is_clear(void **state) {
    (void)state;
    static const double clear[] = {.10, .12}, turned[] = {-.10, -.12};
    kvat_confirm_options o = options_of(.01, NO_GAIN, NAN, 0);
    kvat_confirm_answer answer = told(&o, clear, 2);
    assert_int_equal(answer.verdict, KVAT_VERDICT_A);
    assert_int_equal(answer.pairs, 2);
    assert_false(answer.joined);
    assert_true(fabs(answer.score.value - .11) < 1e-12 && answer.score.low > .05 && answer.score.high < .17);
    assert_memory_equal(&answer.score, &answer.fresh, sizeof answer.fresh);
    assert_int_equal(told(&o, turned, 2).verdict, KVAT_VERDICT_B);
    assert_int_equal(told(&o, turned, 2).pairs, 2);
    o.prior_dof = 0; // two values alone know nothing of their spread
    assert_true(told(&o, clear, 2).pairs > 2);
}

static void what_is_known_of_the_gain_narrows_the_answer_and_not_the_fresh_pairs(void **state) {
    (void)state;
    static const double some[] = {.030, .010}; // too far apart to tell by themselves
    const kvat_confirm_options flat = options_of(.012, NO_GAIN, NAN, 0), o = options_of(.012, .025, .004, 0);
    assert_true(told(&flat, some, 2).pairs > 2);
    const kvat_confirm_answer answer = told(&o, some, 2);
    assert_int_equal(answer.verdict, KVAT_VERDICT_A);
    assert_int_equal(answer.pairs, 2);
    assert_true(answer.joined);
    assert_true(fabs(answer.fresh.value - .020) < 1e-12);
    assert_true(answer.fresh.low < 0);
    assert_true(answer.score.value > .020 && answer.score.value < .025);
    assert_true(answer.score.high - answer.score.low < answer.fresh.high - answer.fresh.low);
}

static void a_part_of_which_nothing_is_known_rests_on_the_pairs_alone(void **state) {
    (void)state;
    static const double clear[] = {.10, .12};
    kvat_search_answer said_of = said(.01, .11, .004);
    said_of.pair_sd[2] = said_of.gain_mean[2] = said_of.gain_sd[2] = NAN; // has no weight
    const kvat_confirm_options o = kvat_confirm_options_after(&said_of, .01);
    const kvat_confirm_answer answer = told(&o, clear, 2);
    assert_int_equal(answer.verdict, KVAT_VERDICT_A);
    assert_true(fabs(answer.part[2].value - .22) < 1e-12);
    assert_true(answer.part[2].low < -.1 && answer.part[2].high > .5); // two values of unknown spread
    assert_true(isfinite(answer.part[0].low) && isfinite(answer.part[1].low));
}

static void too_little_to_matter_ends_it(void **state) {
    (void)state;
    static const double small[] = {.001, -.001, .002, 0};
    kvat_confirm_options o = options_of(.003, NO_GAIN, NAN, .02);
    const kvat_confirm_answer answer = told(&o, small, 4);
    assert_true(answer.too_little);
    assert_int_equal(answer.pairs, 2);
    assert_int_equal(answer.verdict, KVAT_VERDICT_UNDECIDED);
    assert_true(answer.score.low < 0 && answer.score.high < .02);
    o.enough = 0;
    static const double even[] = {.001, -.001, .001, -.001, .001, -.001, .001, -.001,
                                  .001, -.001, .001, -.001, .001, -.001, .001, -.001};
    kvat_confirm_answer all = told(&o, even, LENGTH(even));
    assert_true(all.futile && !all.too_little);
    assert_int_equal(all.pairs, 6);
    o.futile = 0;
    all = told(&o, even, LENGTH(even));
    assert_false(all.too_little || all.futile);
    assert_int_equal(all.pairs, 16);
    static const double worse[] = {-.05}; // what is below enough may still be told apart
    o.enough = .02;
    assert_int_equal(told(&o, worse, 1).verdict, KVAT_VERDICT_B);
    assert_false(told(&o, worse, 1).too_little);
}

static void a_leader_that_lags_is_given_up_before_it_is_shown_to_lose(void **state) {
    (void)state;
    static const double behind[] = {-.014, .006, -.014, .006, -.014, .006, -.014, .006,
                                    -.014, .006, -.014, .006, -.014, .006, -.014, .006};
    const kvat_confirm_options o = options_of(.01, NO_GAIN, NAN, 0);
    const kvat_confirm_answer answer = told(&o, behind, LENGTH(behind));
    assert_true(answer.futile && answer.score.low < 0 && answer.score.high > 0);
    assert_int_equal(answer.verdict, KVAT_VERDICT_UNDECIDED);
    assert_int_equal(answer.pairs, 6);
}

// Joined with the search the pairs may still show the gain, though shorter intervals of theirs would contradict it.
static void what_is_joined_is_not_given_up_for_the_pairs_alone(void **state) {
    (void)state;
    static const double even[] = {.01, -.01, .01, -.01, .01, -.01, .01, -.01,
                                  .01, -.01, .01, -.01, .01, -.01, .01, -.01};
    const kvat_confirm_options o = options_of(.01, .01, .0022, 0);
    const kvat_confirm_answer answer = told(&o, even, LENGTH(even));
    assert_true(answer.pairs > 6);
}

// The search was sure of it, and the pairs lean the other way: they may refute it, but it is never confirmed.
static void nothing_is_decided_against_the_sign_of_the_pairs(void **state) {
    (void)state;
    for (int sign = -1; sign <= 1; sign += 2) {
        const kvat_confirm_options o = options_of(.01, .01 * sign, .001, 0);
        const double against[] = {-.001 * sign};
        kvat_confirm *confirm = new_confirm(&o);
        kvat_confirm_trial trial;
        size_t looks = 0;
        while (kvat_confirm_propose(&trial, confirm)) {
            tell(confirm, &trial, trial.side ? 0 : against[0]);
            const kvat_confirm_answer now = kvat_confirm_answer_get(confirm);
            if (now.pairs < 2 || trial.pair % 2 == 0) continue;
            assert_int_not_equal(now.verdict, sign > 0 ? KVAT_VERDICT_A : KVAT_VERDICT_B);
            looks += (sign > 0 ? now.score.low : -now.score.high) > 0; // joined alone it would have been
        }
        assert_true(looks > 0);
        kvat_confirm_free(confirm);
    }
}

// Wrong for a reason of its own, short outputs say: what it was so sure of is left out, for good or for ill.
static void a_search_that_the_pairs_contradict_is_not_joined(void **state) {
    (void)state;
    static const double nothing[] = {.001, -.001, .002, 0}, much[] = {.10, .12};
    const kvat_confirm_options sure = options_of(.003, .05, .002, .01), modest = options_of(.003, .02, .002, .01);
    kvat_confirm_answer answer = told(&sure, nothing, LENGTH(nothing));
    assert_int_equal(answer.verdict, KVAT_VERDICT_UNDECIDED);
    assert_true(answer.too_little && !answer.joined);
    assert_memory_equal(&answer.score, &answer.fresh, sizeof answer.fresh);
    answer = told(&modest, much, LENGTH(much));
    assert_int_equal(answer.verdict, KVAT_VERDICT_A);
    assert_true(!answer.joined && fabs(answer.score.value - .11) < 1e-12);
}

static void a_side_that_fails_twice_ends_it_whatever_is_known(void **state) {
    (void)state;
    const kvat_confirm_options o = options_of(.01, .05, .002, .01);
    const double none[3] = {0};
    kvat_confirm *confirm = new_confirm(&o);
    kvat_confirm_trial trial;
    for (size_t i = 0; i < 2; i++) {
        assert_true(kvat_confirm_propose(&trial, confirm));
        assert_int_equal(trial.side, 0);
        assert_int_equal(kvat_confirm_tell(confirm, &trial, false, NAN, none, NULL), KVAT_OK);
    }
    assert_false(kvat_confirm_propose(&trial, confirm));
    const kvat_confirm_answer answer = kvat_confirm_answer_get(confirm);
    assert_int_equal(answer.verdict, KVAT_VERDICT_FAILED);
    assert_true(answer.pairs == 0 && isnan(answer.score.low) && isnan(answer.fresh.low));
    kvat_confirm_free(confirm);
}

/* ---- by simulation, in units of the true standard deviation of a pair's difference ---- */

typedef struct tally {
    double a, b, covered, pairs;
} tally;

typedef struct situation {
    double prior;   // expected standard deviation
    double gain_sd; // of what the search says of the gain; 0: nothing
    double enough;
    double bias;   // of what it says, beyond chance
    bool stubborn; // never gives up
} situation;

static tally simulate(const situation *s, double truth, size_t worlds) {
    tally t = {0, 0, 0, 0};
    for (size_t w = 0; w < worlds; w++) {
        kvat_rng rng; // the same runs however many are asked for
        kvat_rng_seed3(&rng, w, (uint64_t)(s->gain_sd * 1000), (uint64_t)(truth * 1000));
        const double gain = s->gain_sd > 0 ? truth + s->bias + s->gain_sd * kvat_rng_normal(&rng) : NO_GAIN;
        kvat_confirm_options o = options_of(.01 * s->prior, .01 * gain, s->gain_sd > 0 ? .01 * s->gain_sd : NAN, 0);
        o.enough = .01 * s->enough;
        if (s->stubborn) o.futile = 0;
        kvat_confirm *confirm = new_confirm(&o);
        kvat_confirm_trial trial;
        while (kvat_confirm_propose(&trial, confirm))
            tell(confirm, &trial, .01 * ((trial.side ? 0 : truth) + sqrt(.5) * kvat_rng_normal(&rng)));
        const kvat_confirm_answer answer = kvat_confirm_answer_get(confirm);
        t.a += answer.verdict == KVAT_VERDICT_A;
        t.b += answer.verdict == KVAT_VERDICT_B;
        t.covered += answer.score.low <= .01 * truth && .01 * truth <= answer.score.high;
        t.pairs += (double)answer.pairs;
        kvat_confirm_free(confirm);
    }
    const double n = (double)worlds;
    t = (tally){t.a / n, t.b / n, t.covered / n, t.pairs / n};
    if (getenv("KVAT_TEST_FIGURES"))
        print_message("prior %g, gain within %g, enough %g, truth %g: A %.4f, B %.4f, covered %.4f, %.1f pairs\n",
                      s->prior, s->gain_sd, s->enough, truth, t.a, t.b, t.covered, t.pairs);
    return t;
}

static const double GAIN_SDS[] = {0, .25, .5, 1, 4};
enum { WORLDS = 4000 };

static void fail_on(const char *what, const situation *s, const tally *t) {
    fail_msg("%s: prior %g, gain within %g, enough %g: A %.4f, B %.4f, covered %.4f", what, s->prior, s->gain_sd,
             s->enough, t->a, t->b, t->covered);
}

// 2.5 % on either side over all looks together, two standard errors allowed for.
static void what_the_search_knows_makes_no_differences_of_nothing(void **state) {
    (void)state;
    const double most = .025 + 2 * sqrt(.025 / WORLDS), least = .95 - 2 * sqrt(.05 / WORLDS);
    for (size_t e = 0; e < 2; e++) {
        for (size_t i = 0; i < LENGTH(GAIN_SDS); i++) {
            const situation s = {1, GAIN_SDS[i], e ? .5 : 0, 0, false};
            const tally t = simulate(&s, 0, WORLDS);
            if (t.a > most || t.b > most || t.covered < least) fail_on("nothing", &s, &t);
            if (t.a < .002) fail_on("idle", &s, &t); // nor is it so cautious as to say nothing
        }
    }
}

static void the_interval_covers_the_truth_wherever_it_stopped(void **state) {
    (void)state;
    static const double truths[] = {.5, 1, 2, 6};
    for (size_t i = 0; i < LENGTH(GAIN_SDS); i++) {
        for (size_t k = 0; k < LENGTH(truths); k++) {
            const situation s = {1, GAIN_SDS[i], 1, 0, false};
            const tally t = simulate(&s, truths[k], 2000);
            if (t.covered < .95 || t.b > .005) fail_on("something", &s, &t);
            if (truths[k] >= 2 && t.a < .98) fail_on("not found", &s, &t);
        }
    }
}

static void knowledge_saves_pairs(void **state) {
    (void)state;
    const situation flat = {1, 0, 1, 0, false}, known = {1, .25, 1, 0, false};
    assert_true(simulate(&known, 1, 1000).pairs < simulate(&flat, 1, 1000).pairs / 2);
    assert_true(simulate(&known, 0, 1000).pairs < simulate(&flat, 0, 1000).pairs / 2);
    assert_true(simulate(&flat, 8, 1000).pairs < 2.2);
}

// No gain: half the pairs. A gain that all of them would have shown is hardly ever given up.
static void what_more_pairs_would_hardly_show_is_given_up(void **state) {
    (void)state;
    situation never = {1, 0, 0, 0, true}, usual = {1, 0, 0, 0, false};
    for (size_t i = 0; i < LENGTH(GAIN_SDS); i++) {
        never.gain_sd = usual.gain_sd = GAIN_SDS[i];
        const tally nothing = simulate(&usual, 0, WORLDS), all = simulate(&never, 0, WORLDS);
        if (nothing.pairs > .6 * all.pairs || nothing.a > all.a) fail_on("kept up", &usual, &nothing);
        static const double truths[] = {.5, 1, 2};
        for (size_t k = 0; k < LENGTH(truths); k++) {
            const tally gain = simulate(&usual, truths[k], WORLDS), found = simulate(&never, truths[k], WORLDS);
            if (gain.a < found.a - .02) fail_on("given up", &usual, &gain);
        }
    }
}

// A spread thought twice as large costs pairs alone. Thought half as large it costs some of the level: that is why it
// counts for few degrees of freedom.
static void a_wrong_spread_is_outweighed_by_the_pairs(void **state) {
    (void)state;
    const situation large = {2, 0, 0, 0, false}, small = {.5, 0, 0, 0, false};
    tally t = simulate(&large, 0, WORLDS);
    if (t.covered < .99 || t.a > .005) fail_on("too large", &large, &t);
    assert_true(simulate(&large, 2, 1000).a > .98);
    t = simulate(&small, 0, WORLDS);
    if (t.covered < .90 || t.a > .05 || t.b > .05) fail_on("too small", &small, &t);
    t = simulate(&small, 4, WORLDS);
    if (t.covered < .95) fail_on("too small", &small, &t);
}

// As sure of a gain as can be where there is none.
static void a_search_that_was_wrong_is_refuted(void **state) {
    (void)state;
    static const double biases[] = {4, 6, 10};
    for (size_t i = 0; i < LENGTH(biases); i++) {
        const situation s = {1, .25, 1, biases[i], false};
        const tally t = simulate(&s, 0, 3000);
        if (t.a > .05 || t.covered < .94) fail_on("wrong", &s, &t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_search_knows_is_passed_on),
        cmocka_unit_test(of_a_restless_machine_or_an_unknown_spread_nothing_is),
        cmocka_unit_test(every_pair_is_a_launch_and_the_first_two_are_whole),
        cmocka_unit_test(two_pairs_suffice_where_it_is_clear),
        cmocka_unit_test(what_is_known_of_the_gain_narrows_the_answer_and_not_the_fresh_pairs),
        cmocka_unit_test(a_part_of_which_nothing_is_known_rests_on_the_pairs_alone),
        cmocka_unit_test(too_little_to_matter_ends_it),
        cmocka_unit_test(a_leader_that_lags_is_given_up_before_it_is_shown_to_lose),
        cmocka_unit_test(what_is_joined_is_not_given_up_for_the_pairs_alone),
        cmocka_unit_test(nothing_is_decided_against_the_sign_of_the_pairs),
        cmocka_unit_test(a_search_that_the_pairs_contradict_is_not_joined),
        cmocka_unit_test(a_side_that_fails_twice_ends_it_whatever_is_known),
        cmocka_unit_test(what_the_search_knows_makes_no_differences_of_nothing),
        cmocka_unit_test(the_interval_covers_the_truth_wherever_it_stopped),
        cmocka_unit_test(knowledge_saves_pairs),
        cmocka_unit_test(what_more_pairs_would_hardly_show_is_given_up),
        cmocka_unit_test(a_search_that_was_wrong_is_refuted),
        cmocka_unit_test(a_wrong_spread_is_outweighed_by_the_pairs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
