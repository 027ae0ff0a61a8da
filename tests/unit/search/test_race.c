// The order of proposals, elimination, stopping, ties and the answer of the race on machines without failures.
// Must not know how estimates are made.
#include "drive.h"

static void the_first_proposal_is_the_default_alone(void **state) {
    (void)state;
    machine m;
    machine_init(&m, 12, 0.01);
    kvat_search *search = machine_search(&m);
    const kvat_search_trial *trials;
    assert_int_equal(must_propose(&trials, search), 1);
    assert_int_equal(trials[0].config, 0);
    assert_false(trials[0].fresh_process);
    assert_true(step(&m, search));
    const kvat_search_answer answer = answer_of(search);
    assert_int_equal(answer.stop, KVAT_STOP_RUNNING);
    assert_true(answer.has_leader);
    assert_int_equal(answer.leader, 0);
    assert_true(answer.p_good == 0 && isnan(answer.sigma));
    assert_true(answer.standing[0].gain.value == 0 && isnan(answer.standing[1].gain.value));
    assert_int_equal(answer.tried, 1);
    assert_int_equal(answer.survivors, 12);
    kvat_search_free(search);
}

// Every pass holds each survivor once, the anchor in every chunk, and no chunk more than its size.
static void passes_hold_every_survivor_and_chunks_their_anchor(void **state) {
    (void)state;
    static const struct {
        size_t configs, chunk_size, chunks;
    } cases[] = {{24, 6, 5}, {24, 24, 1}, {7, 6, 2}, {6, 6, 1}, {2, 6, 1}, {9, 2, 8}, {64, 6, 13}};
    for (size_t c = 0; c < LENGTH(cases); c++) {
        machine m;
        machine_init(&m, cases[c].configs, 0.01);
        m.options.chunk_size = cases[c].chunk_size;
        kvat_search *search = machine_search(&m);
        step(&m, search);
        for (size_t pass = 0; pass < 2; pass++) {
            size_t seen[MOST_CONFIGS] = {0}, anchor = SIZE_MAX;
            for (size_t i = 0; i < cases[c].chunks; i++) {
                const kvat_search_trial *trials;
                const size_t n = must_propose(&trials, search);
                assert_in_range(n, 2, cases[c].chunk_size);
                for (size_t j = 0; j < n; j++) {
                    assert_int_equal(trials[j].block, pass);
                    assert_int_equal(trials[j].chunk, 1 + pass * cases[c].chunks + i);
                    seen[trials[j].config]++;
                }
                step(&m, search);
            }
            for (size_t k = 0; k < cases[c].configs; k++) {
                if (seen[k] == cases[c].chunks && (anchor == SIZE_MAX || seen[anchor] == 1)) anchor = k;
                assert_true(seen[k] == 1 || seen[k] == cases[c].chunks);
            }
            assert_true(anchor != SIZE_MAX);
        }
        kvat_search_free(search);
    }
}

static void the_anchor_stands_at_every_place_of_a_chunk(void **state) {
    (void)state;
    machine m;
    machine_init(&m, 61, 0.01); // the default leads throughout
    kvat_search *search = machine_search(&m);
    step(&m, search);
    size_t at[6] = {0};
    for (size_t chunk = 0; chunk < 24; chunk++) {
        const kvat_search_trial *trials;
        const size_t n = must_propose(&trials, search);
        assert_int_equal(n, 6);
        for (size_t i = 0; i < n; i++) at[i] += trials[i].config == 0;
        step(&m, search);
    }
    for (size_t i = 0; i < LENGTH(at); i++) assert_in_range(at[i], 1, 12);
    kvat_search_free(search);
}

static void a_clear_best_is_found_after_two_passes(void **state) {
    (void)state;
    machine m;
    machine_init(&m, 24, 0.003);
    m.drift = 0.05;
    m.score[13] = 0.2;
    kvat_search *search = machine_search(&m);
    const kvat_search_answer answer = run_to_end(&m, search);
    assert_true(answer.stop == KVAT_STOP_ONE_LEFT || answer.stop == KVAT_STOP_CONFIDENT);
    assert_int_equal(answer.leader, 13);
    assert_int_equal(answer.trials, 1 + 2 * 28);
    assert_true(answer.p_good > 0.99 && answer.p_best > 0.99);
    assert_in_range(answer.sigma * 1e6, 1500, 6000);
    const kvat_interval gain = answer.standing[13].gain;
    assert_true(gain.low < 0.2 && 0.2 < gain.high && gain.high - gain.low < 0.05);
    assert_int_equal(answer.standing[23].state, KVAT_CONFIG_ELIMINATED);
    assert_int_equal(answer.standing[13].state, KVAT_CONFIG_RACING);
    kvat_search_free(search);
}

static void nothing_is_claimed_before_two_passes(void **state) {
    (void)state;
    machine m;
    machine_init(&m, 8, 0);
    m.score[3] = 1;
    kvat_search *search = machine_search(&m);
    for (size_t chunk = 0; chunk < 1 + 2 + 1; chunk++) { // up to the middle of the second pass
        step(&m, search);
        const kvat_search_answer answer = answer_of(search);
        assert_int_equal(answer.stop, KVAT_STOP_RUNNING);
        assert_true(answer.p_good == 0);
        assert_int_equal(answer.survivors, 8);
    }
    assert_int_equal(answer_of(search).leader, 3);
    const kvat_interval gain = answer_of(search).standing[3].gain;
    assert_true(fabs(gain.value - 1) < 1e-9);
    kvat_search_free(search);
}

static void after_one_pass_a_gain_has_no_interval(void **state) {
    (void)state;
    machine m;
    machine_init(&m, 8, 0.01);
    kvat_search *search = machine_search(&m);
    for (size_t chunk = 0; chunk < 3; chunk++) step(&m, search);
    const kvat_search_answer answer = answer_of(search);
    assert_true(isfinite(answer.standing[3].gain.value));
    assert_true(isnan(answer.standing[3].gain.low) && isnan(answer.standing[3].gain.high));
    assert_true(isnan(answer.sigma));
    kvat_search_free(search);
}

// Chunks of two beyond the passes: both of them survivors, one of them in every one until the leader changes.
static size_t count_duels(const machine *m, size_t survivors) {
    size_t duels = 0;
    for (size_t i = 0; i + 1 < m->n_results; i++) {
        const kvat_search_trial *a = &m->results[i].trial, *b = &m->results[i + 1].trial;
        const bool opens = i == 0 || m->results[i - 1].trial.chunk != a->chunk;
        const bool closes = i + 2 >= m->n_results || m->results[i + 2].trial.chunk != b->chunk;
        if (a->block < 2 || a->chunk != b->chunk || !opens || !closes) continue;
        assert_true(a->config != b->config && a->config < survivors && b->config < survivors);
        duels++;
    }
    return duels;
}

static void few_survivors_are_settled_in_pairs_with_the_leader(void **state) {
    (void)state;
    size_t duels = 0;
    for (uint64_t seed = 0; seed < 10; seed++) {
        machine m;
        machine_init(&m, 12, 0.04);
        kvat_rng_seed(&m.rng, seed);
        for (size_t i = 3; i < 12; i++) m.score[i] = -1.5;
        m.score[1] = 0.012;
        kvat_search *search = machine_search(&m);
        run_to_end(&m, search);
        for (size_t i = 1 + 2 * 14; i < m.n_results; i++) assert_true(m.results[i].trial.config < 3);
        duels += count_duels(&m, 3);
        kvat_search_free(search);
    }
    assert_true(duels > 50);
}

static void a_tie_goes_to_the_preferred(void **state) {
    (void)state;
    for (size_t preferred = 1; preferred <= 2; preferred++) {
        machine m;
        machine_init(&m, 8, 0.0005);
        for (size_t i = 0; i < 8; i++) m.score[i] = -0.3;
        m.score[1] = 0.1000;
        m.score[2] = 0.1015;
        m.configs[1].preference = preferred == 1 ? 5 : 6;
        m.configs[2].preference = preferred == 1 ? 6 : 5;
        kvat_search *search = machine_search(&m);
        const kvat_search_answer answer = run_to_end(&m, search);
        assert_int_equal(answer.leader, preferred);
        assert_true(answer.p_good >= 0.95);
        kvat_search_free(search);
    }
}

static void beyond_half_of_delta_preference_counts_for_nothing(void **state) {
    (void)state;
    machine m;
    machine_init(&m, 8, 0.0002);
    for (size_t i = 1; i < 8; i++) m.score[i] = -0.3;
    m.score[5] = 0.007; // the default is as good as it within delta, and still it is not a tie
    kvat_search *search = machine_search(&m);
    assert_int_equal(run_to_end(&m, search).leader, 5);
    kvat_search_free(search);
}

static void the_default_is_kept_when_all_are_alike(void **state) {
    (void)state;
    machine m;
    machine_init(&m, 12, 0.001);
    for (size_t i = 0; i < 12; i++) m.score[i] = 0;
    kvat_search *search = machine_search(&m);
    const kvat_search_answer answer = run_to_end(&m, search);
    assert_int_equal(answer.leader, 0);
    assert_int_equal(answer.stop, KVAT_STOP_CONFIDENT);
    kvat_search_free(search);
}

static void those_that_may_not_win_are_ranked_but_never_lead(void **state) {
    (void)state;
    machine m;
    machine_init(&m, 10, 0.004);
    m.score[4] = 0.3; // best, but unjudged
    m.score[7] = 0.1;
    m.configs[4].eligible = false;
    m.configs[9].eligible = false;
    kvat_search *search = machine_search(&m);
    const kvat_search_answer answer = run_to_end(&m, search);
    assert_int_equal(answer.leader, 7);
    assert_true(answer.p_good >= 0.95);
    assert_true(answer.standing[4].gain.value > 0.2 && answer.standing[4].p_good == 1);
    assert_int_equal(answer.standing[4].state, KVAT_CONFIG_RACING);
    assert_int_equal(answer.standing[9].state, KVAT_CONFIG_ELIMINATED);
    kvat_search_free(search);
}

static void alternatives_that_may_not_win_are_measured_although_the_default_is_certain(void **state) {
    (void)state;
    machine m;
    machine_init(&m, 6, 0.004);
    for (size_t i = 1; i < 6; i++) m.configs[i].eligible = false;
    m.score[2] = 0.5;
    kvat_search *search = machine_search(&m);
    const kvat_search_answer answer = run_to_end(&m, search);
    assert_int_equal(answer.leader, 0);
    assert_int_equal(answer.stop, KVAT_STOP_ONE_LEFT);
    assert_true(answer.p_good == 1);
    for (size_t i = 1; i < 6; i++) assert_int_equal(answer.standing[i].clean_runs, 2);
    assert_true(answer.standing[2].gain.low > 0.4);
    kvat_search_free(search);
}

// A lossy one that is ahead of all never becomes unlikely to be good, so nothing else would ever stop its runs.
static void one_that_may_not_win_is_run_for_its_rank_alone(void **state) {
    (void)state;
    for (size_t min_runs = 1; min_runs < 6; min_runs++) {
        machine m;
        machine_init(&m, 14, 0.02);
        m.options.min_runs = min_runs;
        for (size_t i = 0; i < 14; i++) m.score[i] = -0.004 * (double)i;
        m.score[5] = 0.5;
        m.configs[5].eligible = false;
        kvat_search *search = machine_search(&m);
        const kvat_search_answer answer = run_to_end(&m, search);
        assert_int_equal(answer.standing[5].clean_runs, min_runs > 2 ? min_runs : 2);
        assert_true(answer.standing[1].clean_runs > 5 || answer.standing[0].clean_runs > 5);
        assert_true(answer.standing[5].gain.low > 0.3);
        kvat_search_free(search);
    }
}

static void what_lossy_ones_still_need_is_run_in_shared_chunks(void **state) {
    (void)state;
    machine m;
    machine_init(&m, 11, 0.004);
    for (size_t i = 1; i < 11; i++) {
        m.configs[i].eligible = false;
        m.score[i] = 0.05;
        m.fate[i][0] = KVAT_FATE_BROKEN; // three clean runs more
    }
    kvat_search *search = machine_search(&m);
    const kvat_search_answer answer = run_to_end(&m, search);
    assert_int_equal(answer.stop, KVAT_STOP_ONE_LEFT);
    for (size_t i = 1; i < 11; i++) assert_int_equal(answer.standing[i].clean_runs, 3);
    // 40 runs of theirs, five to a chunk, and the default once in each
    assert_true(answer.trials <= 40 + 40 / 5 + 3);
    kvat_search_free(search);
}

static void the_only_one_that_may_win_is_certain_before_the_others_are_ranked(void **state) {
    (void)state;
    machine m;
    machine_init(&m, 8, 0.004);
    for (size_t i = 1; i < 8; i++) m.configs[i].eligible = false;
    kvat_search *search = machine_search(&m);
    assert_true(step(&m, search) && step(&m, search));
    assert_int_equal(answer_of(search).stop, KVAT_STOP_ONE_LEFT);
    assert_int_equal(answer_of(search).leader, 0);
    assert_true(step(&m, search)); // … and they are ranked all the same
    kvat_search_free(search);
}

static void a_certain_answer_that_fails_is_certain_no_more(void **state) {
    (void)state;
    machine m;
    machine_init(&m, 8, 0.004);
    for (size_t i = 1; i < 8; i++) m.configs[i].eligible = false;
    m.fate[0][1] = KVAT_FATE_BROKEN;
    kvat_search *search = machine_search(&m);
    assert_true(step(&m, search) && step(&m, search));
    assert_int_equal(answer_of(search).standing[0].failures, 1);
    assert_int_equal(answer_of(search).stop, KVAT_STOP_RUNNING);
    assert_int_equal(run_to_end(&m, search).stop, KVAT_STOP_ONE_LEFT);
    assert_true(answer_of(search).standing[0].clean_runs >= 4);
    kvat_search_free(search);
}

static void a_single_configuration_is_answered_after_the_runs_asked_for(void **state) {
    (void)state;
    for (size_t min_runs = 0; min_runs < 5; min_runs++) {
        machine m;
        machine_init(&m, 1, 0.01);
        m.options.min_runs = min_runs;
        kvat_search *search = machine_search(&m);
        const kvat_search_answer answer = run_to_end(&m, search);
        assert_int_equal(answer.stop, KVAT_STOP_ONE_LEFT);
        assert_true(answer.has_leader && answer.p_good == 1);
        assert_int_equal(answer.leader, 0);
        assert_int_equal(answer.trials, min_runs ? min_runs : 1);
        assert_true(answer.standing[0].gain.value == 0 && answer.standing[0].gain.high == 0);
        kvat_search_free(search);
    }
}

static void survivors_get_their_minimum_of_runs(void **state) {
    (void)state;
    machine m;
    machine_init(&m, 12, 0.002);
    m.score[5] = 0.1;
    m.score[6] = 0.097;
    m.options.min_runs = 6;
    kvat_search *search = machine_search(&m);
    const kvat_search_answer answer = run_to_end(&m, search);
    assert_int_equal(answer.stop, KVAT_STOP_CONFIDENT);
    for (size_t i = 0; i < 12; i++) {
        if (answer.standing[i].state == KVAT_CONFIG_RACING) assert_true(answer.standing[i].clean_runs >= 6);
    }
    assert_int_equal(answer.standing[6].state, KVAT_CONFIG_RACING);
    kvat_search_free(search);
}

static void noise_without_end_stops_at_the_block_limit_undecided(void **state) {
    (void)state;
    machine m;
    machine_init(&m, 12, 0.3);
    m.options.max_blocks = 5;
    kvat_search *search = machine_search(&m);
    const kvat_search_answer answer = run_to_end(&m, search);
    assert_int_equal(answer.stop, KVAT_STOP_BUDGET);
    assert_true(answer.has_leader && answer.p_good < 0.95);
    assert_true(m.results[m.n_results - 1].trial.block == 4);
    kvat_search_free(search);
}

static void trials_stop_exactly_at_their_limit(void **state) {
    (void)state;
    for (size_t limit = 1; limit < 40; limit += 3) {
        machine m;
        machine_init(&m, 12, 0.3);
        m.options.max_trials = limit;
        kvat_search *search = machine_search(&m);
        const kvat_search_answer answer = run_to_end(&m, search);
        assert_int_equal(answer.trials, limit);
        assert_int_equal(answer.stop, KVAT_STOP_BUDGET);
        assert_true(answer.has_leader);
        kvat_search_free(search);
    }
}

// Unlucky in its two passes, then measured again because the leader's noise revealed itself: it must be able to come
// back.
typedef struct turns {
    size_t eliminated, revived;
} turns;

static turns race_that_turns_noisy(uint64_t seed) {
    machine m;
    turns count = {0, 0};
    bool out[6] = {false};
    machine_init(&m, 6, 0.015); // quiet enough to put four out after two passes, not to part the other two
    kvat_rng_seed(&m.rng, seed);
    for (size_t i = 1; i < 6; i++) m.score[i] = i == 1 ? 0 : -0.4;
    kvat_search *search = machine_search(&m);
    for (size_t chunk = 0; chunk < 3; chunk++) step(&m, search);
    m.noise = 0.4; // the spread shows itself to be far larger
    while (step(&m, search)) {
        const kvat_search_answer now = answer_of(search);
        for (size_t i = 0; i < 6; i++) {
            const bool is_out = now.standing[i].state == KVAT_CONFIG_ELIMINATED;
            count.eliminated += is_out && !out[i];
            count.revived += out[i] && now.standing[i].state == KVAT_CONFIG_RACING;
            out[i] = is_out;
        }
    }
    kvat_search_free(search);
    return count;
}

static void an_eliminated_one_comes_back_when_it_recovers(void **state) {
    (void)state;
    turns all = {0, 0};
    for (uint64_t seed = 0; seed < 10; seed++) {
        const turns one = race_that_turns_noisy(seed);
        all.eliminated += one.eliminated;
        all.revived += one.revived;
    }
    assert_true(all.eliminated >= 10);
    assert_true(all.revived >= 10);
}

static void an_incumbent_stays_unless_clearly_beaten(void **state) {
    (void)state;
    static const struct {
        double challenger;
        size_t leader;
        bool kept, ahead; /* the challenger, by estimate */
    } cases[] = {{0.012, 3, true, true}, {0.1, 5, false, true}, {-0.2, 3, false, false}};
    for (size_t c = 0; c < LENGTH(cases); c++) {
        machine m;
        machine_init(&m, 8, 0.003);
        for (size_t i = 0; i < 8; i++) m.score[i] = -0.4;
        m.score[3] = 0;
        m.score[5] = cases[c].challenger;
        m.options.has_incumbent = true;
        m.options.incumbent = 3;
        kvat_search *search = machine_search(&m);
        const kvat_search_answer answer = run_to_end(&m, search);
        assert_int_equal(answer.leader, cases[c].leader);
        assert_int_equal(answer.incumbent_kept, cases[c].kept);
        assert_true(answer.challenger == (cases[c].ahead ? 5 : SIZE_MAX));
        if (!cases[c].ahead) assert_true(isnan(answer.p_challenger));
        if (cases[c].ahead) assert_true(answer.p_challenger > 0 && (answer.p_challenger <= 0.95) == cases[c].kept);
        assert_true(answer.p_good == answer.standing[answer.leader].p_good);
        kvat_search_free(search);
    }
}

static void the_outlook_brackets_what_a_race_takes(void **state) {
    (void)state;
    machine m;
    machine_init(&m, 24, 0.003);
    m.score[13] = 0.2;
    kvat_search *search = machine_search(&m);
    step(&m, search);
    const kvat_search_outlook start = kvat_search_outlook_get(search);
    assert_int_equal(start.first_guess, 28);
    assert_int_equal(start.likely, 56);
    assert_true(start.firm >= start.likely);
    for (size_t chunk = 0; chunk < 5; chunk++) step(&m, search);
    const kvat_search_outlook half = kvat_search_outlook_get(search);
    assert_true(half.first_guess == 0 && half.likely >= 28 && half.likely < 56);
    run_to_end(&m, search);
    const kvat_search_outlook end = kvat_search_outlook_get(search);
    assert_true(end.first_guess == 0 && end.likely == 0 && end.firm == 0);
    kvat_search_free(search);

    machine limited;
    machine_init(&limited, 24, 0.003);
    limited.options.max_trials = 10;
    search = machine_search(&limited);
    step(&limited, search);
    assert_int_equal(kvat_search_outlook_get(search).firm, 9);
    kvat_search_free(search);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_proposal_is_the_default_alone),
        cmocka_unit_test(passes_hold_every_survivor_and_chunks_their_anchor),
        cmocka_unit_test(the_anchor_stands_at_every_place_of_a_chunk),
        cmocka_unit_test(a_clear_best_is_found_after_two_passes),
        cmocka_unit_test(nothing_is_claimed_before_two_passes),
        cmocka_unit_test(after_one_pass_a_gain_has_no_interval),
        cmocka_unit_test(few_survivors_are_settled_in_pairs_with_the_leader),
        cmocka_unit_test(a_tie_goes_to_the_preferred),
        cmocka_unit_test(beyond_half_of_delta_preference_counts_for_nothing),
        cmocka_unit_test(the_default_is_kept_when_all_are_alike),
        cmocka_unit_test(those_that_may_not_win_are_ranked_but_never_lead),
        cmocka_unit_test(alternatives_that_may_not_win_are_measured_although_the_default_is_certain),
        cmocka_unit_test(one_that_may_not_win_is_run_for_its_rank_alone),
        cmocka_unit_test(what_lossy_ones_still_need_is_run_in_shared_chunks),
        cmocka_unit_test(the_only_one_that_may_win_is_certain_before_the_others_are_ranked),
        cmocka_unit_test(a_certain_answer_that_fails_is_certain_no_more),
        cmocka_unit_test(a_single_configuration_is_answered_after_the_runs_asked_for),
        cmocka_unit_test(survivors_get_their_minimum_of_runs),
        cmocka_unit_test(noise_without_end_stops_at_the_block_limit_undecided),
        cmocka_unit_test(trials_stop_exactly_at_their_limit),
        cmocka_unit_test(an_eliminated_one_comes_back_when_it_recovers),
        cmocka_unit_test(an_incumbent_stays_unless_clearly_beaten),
        cmocka_unit_test(the_outlook_brackets_what_a_race_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
