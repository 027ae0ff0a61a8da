// The same options and the same results give the same proposals and answers, bit for bit; and what a failing allocation
// leaves behind. Must not know what any particular proposal should be.
#include "drive.h"

#include "fail_alloc.h"

static void eventful_machine(machine *m, uint64_t seed) {
    machine_init(m, 9, 0.03);
    m->options.seed = seed;
    m->options.min_runs = 2;
    m->options.posterior_draws = 300;
    m->options.max_blocks = 8;
    kvat_rng_seed(&m->rng, seed);
    m->fate[0][1] = KVAT_FATE_BROKEN;
    m->fate[3][0] = KVAT_FATE_VOIDED;
    m->fate[5][0] = m->fate[5][1] = KVAT_FATE_INFEASIBLE;
    m->configs[7].eligible = false;
}

static void assert_same_bits(const void *a, const void *b, size_t n) {
    assert_memory_equal(a, b, n);
}

static void assert_same_answer(const kvat_search_answer *a, const kvat_search_answer *b, size_t n_configs) {
    assert_int_equal(a->stop, b->stop);
    assert_int_equal(a->has_leader, b->has_leader);
    assert_int_equal(a->leader, b->leader);
    assert_same_bits(&a->p_good, &b->p_good, sizeof a->p_good);
    assert_same_bits(&a->p_best, &b->p_best, sizeof a->p_best);
    assert_same_bits(&a->sigma, &b->sigma, sizeof a->sigma);
    assert_int_equal(a->survivors, b->survivors);
    for (size_t i = 0; i < n_configs; i++) {
        assert_int_equal(a->standing[i].state, b->standing[i].state);
        assert_same_bits(&a->standing[i].gain, &b->standing[i].gain, sizeof a->standing[i].gain);
        assert_same_bits(&a->standing[i].p_good, &b->standing[i].p_good, sizeof a->standing[i].p_good);
    }
}

// Tells stored results one after the other; what is proposed must be what they are results of.
static void tell_again(kvat_search *search, const kvat_search_result *results, size_t n_results) {
    size_t told = 0;
    while (told < n_results) {
        const kvat_search_trial *trials;
        const size_t n = must_propose(&trials, search);
        assert_true(n > 0);
        for (size_t i = 0; i < n && told < n_results; i++) {
            const kvat_search_trial *expected = &results[told].trial;
            assert_int_equal(trials[i].config, expected->config);
            assert_int_equal(trials[i].chunk, expected->chunk);
            assert_int_equal(trials[i].block, expected->block);
            assert_int_equal(trials[i].fresh_process, expected->fresh_process);
            must_tell(search, &results[told++]);
        }
    }
}

static void a_transcript_resumes_exactly_after_every_prefix(void **state) {
    (void)state;
    machine m;
    eventful_machine(&m, 3);
    kvat_search *search = machine_search(&m);
    const kvat_search_answer whole = run_to_end(&m, search);
    assert_true(m.n_results > 40);
    for (size_t prefix = 0; prefix <= m.n_results; prefix++) {
        kvat_search *resumed = machine_search(&m);
        tell_again(resumed, m.results, prefix);
        answer_of(resumed); // what is shown on resuming
        tell_again(resumed, m.results + prefix, m.n_results - prefix);
        const kvat_search_trial *trials;
        assert_int_equal(must_propose(&trials, resumed), 0);
        const kvat_search_answer again = answer_of(resumed);
        assert_same_answer(&whole, &again, m.options.n_configs);
        kvat_search_free(resumed);
    }
    kvat_search_free(search);
}

static void asking_for_the_answer_changes_nothing(void **state) {
    (void)state;
    machine m;
    eventful_machine(&m, 4);
    kvat_search *search = machine_search(&m), *asked = machine_search(&m);
    const kvat_search_answer plain = run_to_end(&m, search);
    for (size_t i = 0; i < m.n_results; i++) {
        const kvat_search_trial *trials;
        answer_of(asked);
        kvat_search_outlook_get(asked);
        must_propose(&trials, asked);
        answer_of(asked);
        assert_int_equal(trials[0].config, m.results[i].trial.config);
        must_tell(asked, &m.results[i]);
    }
    const kvat_search_trial *trials;
    assert_int_equal(must_propose(&trials, asked), 0);
    const kvat_search_answer answer = answer_of(asked);
    assert_same_answer(&plain, &answer, m.options.n_configs);
    kvat_search_free(search);
    kvat_search_free(asked);
}

// A runner may reorder a chunk to save reloads and tell its results as they come.
static void the_order_of_telling_within_a_chunk_does_not_matter(void **state) {
    (void)state;
    machine m;
    eventful_machine(&m, 5);
    kvat_search *search = machine_search(&m), *backwards = machine_search(&m);
    const kvat_search_answer forwards = run_to_end(&m, search);
    size_t at = 0;
    const kvat_search_trial *trials;
    for (size_t n; (n = must_propose(&trials, backwards)) > 0; at += n) {
        for (size_t i = n; i-- > 0;) must_tell(backwards, &m.results[at + i]);
    }
    assert_int_equal(at, m.n_results);
    const kvat_search_answer answer = answer_of(backwards);
    assert_same_answer(&forwards, &answer, m.options.n_configs);
    kvat_search_free(search);
    kvat_search_free(backwards);
}

static void another_seed_gives_another_order(void **state) {
    (void)state;
    machine a, b;
    machine_init(&a, 24, 0.01);
    machine_init(&b, 24, 0.01);
    b.options.seed = a.options.seed + 1;
    kvat_search *first = machine_search(&a), *second = machine_search(&b);
    size_t different = 0;
    for (size_t chunk = 0; chunk < 6; chunk++) step(&a, first), step(&b, second);
    for (size_t i = 0; i < 25; i++) different += a.results[i].trial.config != b.results[i].trial.config;
    assert_true(different > 15);
    kvat_search_free(first);
    kvat_search_free(second);
}

static kvat_status race_once(void *context, kvat_error *err) {
    machine *m = context;
    kvat_search *search = NULL;
    kvat_search_answer answer;
    kvat_status status = kvat_search_new(&search, &m->options, err);
    for (size_t at = 0; status == KVAT_OK;) {
        const kvat_search_trial *trials;
        size_t n = 0;
        status = kvat_search_propose(&trials, &n, search, err);
        if (status != KVAT_OK || n == 0) break;
        for (size_t i = 0; i < n && status == KVAT_OK; i++) status = kvat_search_tell(search, &m->results[at++], err);
    }
    if (status == KVAT_OK) status = kvat_search_answer_get(&answer, search, err);
    kvat_search_free(search);
    return status;
}

static void every_failing_allocation_is_reported_and_leaks_nothing(void **state) {
    (void)state;
    machine m;
    eventful_machine(&m, 6);
    m.options.max_trials = 40;
    m.options.posterior_draws = 20;
    kvat_search *search = machine_search(&m);
    run_to_end(&m, search);
    kvat_search_free(search);
    assert_true(fail_alloc_each(race_once, &m) > 50);
}

// A call that failed is simply made again, and the race goes on as if nothing had been.
static void a_failed_call_can_be_repeated(void **state) {
    (void)state;
    machine m;
    eventful_machine(&m, 7);
    kvat_search *search = machine_search(&m), *troubled = machine_search(&m);
    const kvat_search_answer plain = run_to_end(&m, search);
    size_t at = 0, failures = 0;
    for (;;) {
        const kvat_search_trial *trials = NULL;
        size_t n = 0;
        kvat_search_answer answer;
        for (size_t k = 1; k < 40; k += 3) {
            fail_alloc_arm(k, true);
            const kvat_status status = kvat_search_propose(&trials, &n, troubled, NULL);
            const kvat_status asked = kvat_search_answer_get(&answer, troubled, NULL);
            const bool met = fail_alloc_disarm();
            failures += status == KVAT_ERR_NOMEM;
            assert_true(status == KVAT_OK || (status == KVAT_ERR_NOMEM && met));
            assert_true(asked == KVAT_OK || (asked == KVAT_ERR_NOMEM && met));
        }
        n = must_propose(&trials, troubled);
        if (n == 0) break;
        fail_alloc_arm(1, true);
        for (size_t i = 0; i < n; i++) must_tell(troubled, &m.results[at++]);
        assert_false(fail_alloc_disarm()); // telling allocates nothing
    }
    assert_true(failures > 20);
    assert_int_equal(at, m.n_results);
    const kvat_search_answer answer = answer_of(troubled);
    assert_same_answer(&plain, &answer, m.options.n_configs);
    kvat_search_free(search);
    kvat_search_free(troubled);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_transcript_resumes_exactly_after_every_prefix),
        cmocka_unit_test(asking_for_the_answer_changes_nothing),
        cmocka_unit_test(the_order_of_telling_within_a_chunk_does_not_matter),
        cmocka_unit_test(another_seed_gives_another_order),
        cmocka_unit_test(every_failing_allocation_is_reported_and_leaks_nothing),
        cmocka_unit_test(a_failed_call_can_be_repeated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
