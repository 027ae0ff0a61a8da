// Tests of how much is decoded in which phase, what that costs, and that a drive keeps time for whole outputs.
#include "job_fixture.h"

static kvat_tune_request request_of(const char *context, const char *output_tokens) {
    kvat_tune_request request = KVAT_TUNE_REQUEST_INIT;
    request.overrides.context = context;
    request.overrides.output_tokens = output_tokens;
    return request;
}

static kvat__job *job_of(const char *context, const char *output_tokens) {
    return fixture_job_of(request_of(context, output_tokens), fixture_describe);
}

static void assert_near_ns(int64_t got, double expected_s) {
    if (llabs(got - (int64_t)(expected_s * 1e9)) > 2000)
        fail_msg("%lld ns instead of %g s", (long long)got, expected_s);
}

/* ---- which workloads ---- */

static void only_outputs_over_a_burst_are_shortened(void **state) {
    (void)state;
    char identity[2][KVAT_HASH_HEX];
    kvat_tune_request whole = request_of("512", "33");
    whole.whole_outputs = true;
    const struct {
        kvat__job *job;
        int64_t burst_tokens;
    } cases[] = {{job_of("512", "32"), 0},
                 {job_of("512", "33"), 32},
                 {job_of("256,512", "8,64"), 32},
                 {fixture_job_of(whole, fixture_describe), 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(cases[i].job->burst_tokens, cases[i].burst_tokens);
        assert_int_equal(kvat__profile_is_long(cases[i].job->profile), i > 0);
        assert_int_equal(json_object_get(cases[i].job->request, "burst_tokens") != NULL, cases[i].burst_tokens > 0);
        if (i == 1 || i == 3) assert_int_equal(kvat__job_identity(identity[i == 3], cases[i].job, NULL), KVAT_OK);
    }
    assert_string_not_equal(identity[0], identity[1]); /* their measurements are not pooled */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) kvat__job_free(cases[i].job);
}

static void plain_runs_are_cheap_while_the_depths_are_few(void **state) {
    (void)state;
    static const struct {
        const char *context;
        bool cheap;
    } cases[] = {{"512", true}, {"512,1024,2048", true}, {"1000,1001", true}, {"1000,1001,1002", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat__job *job = job_of(cases[i].context, "64,128");
        assert_int_equal(kvat__plain_is_cheap(job->profile), cases[i].cheap);
        kvat__job_free(job);
    }
}

/* ---- what runs take ---- */

static const kvat_sample four_samples[] = {
    {.cell = 0, .ttft_ns = 1000000000, .decode_tok_per_s = 40, .fitted = true},
    {.cell = 1, .ttft_ns = 1000000000, .decode_tok_per_s = 40, .fitted = true},
    {.cell = 2, .ttft_ns = 3000000000, .decode_tok_per_s = 20, .fitted = true},
    {.cell = 3, .ttft_ns = 3000000000, .decode_tok_per_s = 20, .fitted = true},
};

static kvat_trial_record record_of_four(void) {
    return (kvat_trial_record){.status = KVAT_TRIAL_OK,
                               .run_ns = 5 * KVAT_NS_PER_S,
                               .cost_ns = 7 * KVAT_NS_PER_S,
                               .samples = four_samples,
                               .n_samples = 4};
}

static void costs_follow_from_one_run(void **state) {
    (void)state;
    kvat__job *job = job_of("1000,2000", "64,256");
    const kvat_trial_record record = record_of_four();
    job->repeats = true;
    const double burst_s = 31.0 / 40 + 31.0 / 20, whole_s = 255.0 / 40 + 255.0 / 20;
    kvat__fidelity f = kvat__fidelity_of(job, &record);
    assert_int_equal(f.burst_repeats, 1);
    assert_near_ns(f.search_run_ns, 3 + burst_s);
    assert_near_ns(f.confirm_run_ns, 1 + 3 + whole_s);
    assert_near_ns(f.confirm_cost_ns, 1 + 3 + whole_s + 2);
    assert_near_ns(kvat__whole_run_ns(job->profile, &record), 3 + whole_s);
    job->marks = job->repeats = false;
    f = kvat__fidelity_of(job, &record);
    assert_near_ns(f.search_run_ns, 1 + 3 + burst_s);
    job->burst_tokens = 0;
    f = kvat__fidelity_of(job, &record);
    assert_int_equal(f.burst_repeats, 0);
    assert_int_equal(f.confirm_cost_ns, 0);
    kvat__job_free(job);
}

static void decode_is_repeated_while_it_is_cheap(void **state) {
    (void)state;
    static const struct {
        double weight_ttft, weight_decode, ttft_s;
        int64_t repeats;
    } cases[] = {{0.4, 0.4, 3, 1},   {0.4, 0.4, 9.2, 1}, {0.4, 0.4, 9.4, 2},   {0.4, 0.4, 20, 2}, {0.4, 0.4, 21.0, 3},
                 {0.4, 0.4, 1e6, 3}, {0.8, 0.2, 21, 1},  {0.0, 0.8, 0.001, 3}, {0.8, 0.0, 1e6, 1}};
    kvat__job *job = job_of("1000,2000", "64,256");
    job->repeats = true;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_sample samples[4];
        memcpy(samples, four_samples, sizeof samples);
        samples[2].ttft_ns = samples[3].ttft_ns = (int64_t)(cases[i].ttft_s * 1e9);
        kvat_trial_record record = record_of_four();
        record.samples = samples;
        job->profile->weight_ttft = cases[i].weight_ttft;
        job->profile->weight_decode = cases[i].weight_decode;
        const int64_t repeats = kvat__fidelity_of(job, &record).burst_repeats;
        if (repeats != cases[i].repeats) fail_msg("case %zu: %lld", i, (long long)repeats);
    }
    job->repeats = false; /* the worker cannot */
    const kvat_trial_record record = record_of_four();
    assert_int_equal(kvat__fidelity_of(job, &record).burst_repeats, 1);
    kvat__job_free(job);
}

/* ---- the drive ---- */

enum { MOST = 400 };

typedef struct told {
    kvat__step steps[MOST];
    kvat_trial_record records[MOST];
    kvat_sample samples[MOST];
    size_t n, confirmed;
    bool wavers; /**< in the confirmation the leader is as often better than the default as it is worse */
    int64_t clock_ns, longest_confirm_ns;
} told;

/** One depth of 512 tokens read in in half a second; 40 tokens/s, of which the step says how many are decoded. */
static kvat_trial_record pretend(told *t, const kvat__job *job, const kvat__step *step, kvat_rng *rng) {
    const int64_t output = job->profile->cells[0].output_tokens;
    const int64_t tokens = step->burst_tokens ? step->burst_tokens : output;
    kvat_sample *sample = &t->samples[t->n];
    kvat_trial_record record = fixture_measure(job, step, sample, &t->clock_ns, rng);
    t->clock_ns -= record.cost_ns;
    if (t->wavers && step->phase == KVAT_PHASE_CONFIRM && step->chunk == 0)
        sample->decode_tok_per_s *= step->block % 2 ? 1.04 : 0.7;
    sample->fitted = step->burst_tokens > 0;
    record.run_ns = sample->ttft_ns + llround(1e9 * (double)(tokens - 1) / sample->decode_tok_per_s);
    record.cost_ns = record.run_ns + KVAT_NS_PER_S / 10;
    t->clock_ns += record.cost_ns;
    record.elapsed_ns = t->clock_ns;
    return record;
}

static void drive_to_the_end(told *t, kvat__drive *drive, const kvat__job *job) {
    kvat_rng rng;
    kvat_rng_seed(&rng, 7);
    for (;;) {
        kvat__step step;
        bool more = false;
        assert_int_equal(kvat__drive_next(&step, &more, drive, NULL), KVAT_OK);
        if (!more) return;
        assert_true(t->n < MOST);
        t->steps[t->n] = step;
        t->records[t->n] = pretend(t, job, &step, &rng);
        const kvat_trial_record *record = &t->records[t->n++];
        if (step.phase == KVAT_PHASE_CONFIRM) {
            t->confirmed++;
            assert_true(kvat__drive_run_limit_ns(drive) >= (t->wavers ? 6 : 9) * record->run_ns);
            if (record->cost_ns > t->longest_confirm_ns) t->longest_confirm_ns = record->cost_ns;
        } else if (t->n > 1) {
            assert_true(kvat__drive_run_limit_ns(drive) >= (step.config == 0 ? 9 : 2) * record->run_ns);
            assert_true(kvat__drive_run_limit_ns(drive) < 12 * record->run_ns);
        }
        assert_int_equal(kvat__drive_tell(drive, record, NULL), KVAT_OK);
    }
}

static kvat__drive *new_drive(const kvat__job *job) {
    kvat__drive *drive = NULL;
    assert_int_equal(kvat__drive_new(&drive, job, NULL), KVAT_OK);
    return drive;
}

static void assert_pairs_are_whole(const told *t, size_t pairs) {
    for (size_t i = 0; i < t->n; i++) {
        const bool whole = t->steps[i].phase == KVAT_PHASE_CONFIRM && t->steps[i].block < pairs;
        assert_int_equal(t->steps[i].burst_tokens, whole ? 0 : 32);
        assert_int_equal(t->steps[i].burst_repeats, !whole && i > 0 ? 1 : 0);
        assert_int_equal(t->steps[i].plain, whole);
    }
}

static void search_is_short_and_confirmation_whole_and_plain(void **state) {
    (void)state;
    kvat__job *job = job_of("512", "256");
    kvat__drive *drive = new_drive(job);
    told *t = test_calloc(1, sizeof *t);
    drive_to_the_end(t, drive, job);
    assert_pairs_are_whole(t, 2);
    assert_int_equal(t->confirmed, 4);
    kvat__drive_view view;
    assert_int_equal(kvat__drive_look(&view, drive, NULL), KVAT_OK);
    assert_int_equal(view.confirmation.verdict, KVAT_VERDICT_A);
    assert_near_ns(view.confirm_cost_ns / 10 * 10, (double)view.confirm_cost_ns / 1e9);
    assert_true(llabs(view.confirm_cost_ns - t->longest_confirm_ns) < t->longest_confirm_ns / 50);
    assert_true(view.mean_cost_ns < view.confirm_cost_ns / 3);
    kvat__drive_free(drive);
    test_free(t);
    kvat__job_free(job);
}

static void all_pairs_after_a_race_are_whole(void **state) {
    (void)state;
    kvat_tune_request request = request_of("512", "256");
    request.search = "race"; /* knows nothing of the gain, so that all of the pairs are needed */
    kvat__job *job = fixture_job_of(request, fixture_describe);
    kvat__drive *drive = new_drive(job);
    told *t = test_calloc(1, sizeof *t);
    t->wavers = true;
    drive_to_the_end(t, drive, job);
    assert_pairs_are_whole(t, 8);
    assert_int_equal(t->confirmed, 16);
    kvat__drive_view view;
    assert_int_equal(kvat__drive_look(&view, drive, NULL), KVAT_OK);
    assert_int_equal(view.confirmation.verdict, KVAT_VERDICT_UNDECIDED);
    assert_int_equal(view.confirmation.pairs, 8);
    kvat__drive_free(drive);
    test_free(t);
    kvat__job_free(job);
}

static void a_budget_holds_four_pairs_of_whole_outputs(void **state) {
    (void)state;
    kvat_tune_request request = request_of("512", "256");
    request.search = "race";              /* knows nothing of the gain */
    request.time_ns = 95 * KVAT_NS_PER_S; /* 8 runs of 7 s, and what is left holds some thirty of the search */
    request.overrides.runs = 40;          /* never enough: the budget ends the search */
    kvat__job *job = fixture_job_of(request, fixture_describe);
    kvat__drive *drive = new_drive(job);
    told *t = test_calloc(1, sizeof *t);
    t->wavers = true;
    drive_to_the_end(t, drive, job);
    kvat__drive_view view;
    assert_int_equal(kvat__drive_look(&view, drive, NULL), KVAT_OK);
    assert_true(view.out_of_budget);
    assert_true(t->confirmed >= 8);
    assert_true(t->n - t->confirmed >= 15);
    assert_true(t->clock_ns <= 95 * KVAT_NS_PER_S + t->longest_confirm_ns);
    kvat__drive_free(drive);
    test_free(t);
    kvat__job_free(job);
}

static void told_again_the_steps_are_the_same(void **state) {
    (void)state;
    kvat__job *job = job_of("512", "256");
    kvat__drive *drive = new_drive(job), *again = new_drive(job);
    told *t = test_calloc(1, sizeof *t);
    drive_to_the_end(t, drive, job);
    for (size_t i = 0; i < t->n; i++) {
        kvat__step step;
        bool more = false;
        assert_int_equal(kvat__drive_next(&step, &more, again, NULL), KVAT_OK);
        assert_int_equal(step.config, t->steps[i].config);
        assert_int_equal(step.burst_tokens, t->steps[i].burst_tokens);
        assert_int_equal(step.burst_repeats, t->steps[i].burst_repeats);
        assert_int_equal(step.plain, t->steps[i].plain);
        assert_int_equal(kvat__drive_tell(again, &t->records[i], NULL), KVAT_OK);
    }
    kvat__drive_free(drive);
    kvat__drive_free(again);
    test_free(t);
    kvat__job_free(job);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_outputs_over_a_burst_are_shortened),
        cmocka_unit_test(plain_runs_are_cheap_while_the_depths_are_few),
        cmocka_unit_test(costs_follow_from_one_run),
        cmocka_unit_test(decode_is_repeated_while_it_is_cheap),
        cmocka_unit_test(search_is_short_and_confirmation_whole_and_plain),
        cmocka_unit_test(all_pairs_after_a_race_are_whole),
        cmocka_unit_test(a_budget_holds_four_pairs_of_whole_outputs),
        cmocka_unit_test(told_again_the_steps_are_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
