// Tests of the drive: order of phases, budget, disturbed measurements, and the replay of stored records.
#include "job_fixture.h"

typedef struct history {
    kvat_trial_record records[512];
    kvat_sample samples[512];
    size_t n;
} history;

/** Drives until finished or `most` measurements; everything told is kept in `kept` when given. */
static void drive_on(kvat__drive *drive, const kvat__job *job, size_t most, history *kept, int64_t *clock_ns) {
    kvat_rng rng;
    kvat_rng_seed(&rng, 7);
    kvat_error err = KVAT_ERROR_INIT;
    for (size_t i = 0; i < most; i++) {
        kvat__step step;
        bool more = false;
        assert_int_equal(kvat__drive_next(&step, &more, drive, &err), KVAT_OK);
        if (!more) return;
        kvat_sample scratch, *sample = kept ? &kept->samples[kept->n] : &scratch;
        kvat_trial_record record = fixture_measure(job, &step, sample, clock_ns, &rng);
        if (kvat__drive_tell(drive, &record, &err) != KVAT_OK) fail_msg("%s", err.message);
        if (kept) kept->records[kept->n++] = record;
        assert_true(i < 500);
    }
}

static kvat__drive *new_drive(const kvat__job *job) {
    kvat__drive *drive = NULL;
    assert_int_equal(kvat__drive_new(&drive, job, NULL), KVAT_OK);
    return drive;
}

static void default_is_measured_first(void **state) {
    (void)state;
    kvat__job *job = fixture_job(0);
    kvat__drive *drive = new_drive(job);
    kvat__step step;
    bool more = false;
    assert_int_equal(kvat__drive_next(&step, &more, drive, NULL), KVAT_OK);
    assert_true(more);
    assert_int_equal(step.config, 0);
    assert_int_equal(step.phase, KVAT_PHASE_SEARCH);
    assert_int_equal(kvat_space_count(job->space), 6);
    kvat__drive_free(drive);
    kvat__job_free(job);
}

static void best_configuration_wins_and_is_confirmed_against_the_default(void **state) {
    (void)state;
    kvat__job *job = fixture_job(0);
    kvat__drive *drive = new_drive(job);
    int64_t clock_ns = 0;
    drive_on(drive, job, 1000, NULL, &clock_ns);
    kvat__drive_view view;
    assert_int_equal(kvat__drive_look(&view, drive, NULL), KVAT_OK);
    assert_true(view.answer.has_leader);
    assert_true(fabs(fixture_truth(job, view.answer.leader) - 0.08) < 1e-12);
    assert_true(view.answer.p_good >= 0.95);
    assert_int_equal(view.reference_config, 0);
    assert_int_equal(view.confirmation.verdict, KVAT_VERDICT_A);
    assert_true(view.confirmation.pairs >= 2 && view.confirmation.joined);
    assert_int_equal(view.pairs_max, 16);
    /* the score weighs time to first token and decode with .85 together: the truth of the gain is .85 × .08 */
    assert_true(view.confirmation.score.low < 0.068 && view.confirmation.score.high > 0.068);
    assert_false(view.out_of_budget);
    kvat__drive_free(drive);
    kvat__job_free(job);
}

static void budget_ends_the_search_and_leaves_time_to_confirm(void **state) {
    (void)state;
    const int64_t budget_ns = 16 * KVAT_NS_PER_S;
    kvat__job *job = fixture_job(budget_ns);
    kvat__drive *drive = new_drive(job);
    int64_t clock_ns = 0;
    drive_on(drive, job, 1000, NULL, &clock_ns);
    kvat__drive_view view;
    assert_int_equal(kvat__drive_look(&view, drive, NULL), KVAT_OK);
    assert_true(view.out_of_budget);
    assert_true(clock_ns <= budget_ns + budget_ns / 2);
    kvat__drive_free(drive);
    kvat__job_free(job);
}

/** Tells a disturbed measurement of what is due; what was due. */
static kvat__step tell_voided(kvat__drive *drive, int64_t *clock_ns) {
    kvat__step step;
    bool more = false;
    assert_int_equal(kvat__drive_next(&step, &more, drive, NULL), KVAT_OK);
    assert_true(more);
    *clock_ns += KVAT_NS_PER_S;
    kvat_trial_record record = {.phase = step.phase,
                                .config = step.config,
                                .block = step.block,
                                .chunk = step.chunk,
                                .status = KVAT_TRIAL_VOIDED,
                                .detail = "suspended for 3 s",
                                .elapsed_ns = *clock_ns,
                                .cost_ns = KVAT_NS_PER_S};
    assert_int_equal(kvat__drive_tell(drive, &record, NULL), KVAT_OK);
    return step;
}

static void voided_measurement_is_repeated_once_and_then_given_up(void **state) {
    (void)state;
    kvat__job *job = fixture_job(0);
    kvat__drive *drive = new_drive(job);
    int64_t clock_ns = 0;
    drive_on(drive, job, 1, NULL, &clock_ns);
    const kvat__step first = tell_voided(drive, &clock_ns), again = tell_voided(drive, &clock_ns);
    assert_int_equal(again.config, first.config);
    assert_int_equal(again.chunk, first.chunk);
    kvat__step other;
    bool more = false;
    assert_int_equal(kvat__drive_next(&other, &more, drive, NULL), KVAT_OK);
    assert_true(more && other.config != first.config);
    kvat__drive_view view;
    assert_int_equal(kvat__drive_look(&view, drive, NULL), KVAT_OK);
    assert_int_equal(view.voided, 2);
    assert_int_equal(view.answer.standing[first.config].clean_runs, 0);
    assert_int_equal(view.answer.standing[first.config].state, KVAT_CONFIG_UNTRIED); /* no verdict */
    kvat__drive_free(drive);
    kvat__job_free(job);
}

static void what_was_given_up_is_measured_in_the_next_pass(void **state) {
    (void)state;
    kvat__job *job = fixture_job(0);
    kvat__drive *drive = new_drive(job);
    int64_t clock_ns = 0;
    drive_on(drive, job, 1, NULL, &clock_ns);
    const kvat__step given_up = tell_voided(drive, &clock_ns);
    tell_voided(drive, &clock_ns);
    drive_on(drive, job, 1000, NULL, &clock_ns);
    kvat__drive_view view;
    assert_int_equal(kvat__drive_look(&view, drive, NULL), KVAT_OK);
    assert_true(view.answer.standing[given_up.config].clean_runs >= 1);
    assert_int_equal(view.confirmation.verdict, KVAT_VERDICT_A);
    kvat__drive_free(drive);
    kvat__job_free(job);
}

static void load_is_judged_in_every_attempt_unless_one_step_in_five_was_given_up(void **state) {
    (void)state;
    kvat__job *job = fixture_job(0);
    kvat__drive *drive = new_drive(job);
    int64_t clock_ns = 0;
    assert_true(kvat__drive_judges_load(drive));
    tell_voided(drive, &clock_ns);
    assert_true(kvat__drive_judges_load(drive)); /* the repetition as well */
    tell_voided(drive, &clock_ns);
    for (size_t steps = 1; steps < 5; steps++) {
        assert_false(kvat__drive_judges_load(drive));
        drive_on(drive, job, 1, NULL, &clock_ns);
    }
    assert_true(kvat__drive_judges_load(drive)); /* perhaps it has gone */
    kvat__drive_free(drive);
    kvat__job_free(job);
}

/** Drives until the confirmation is due. */
static void reach_confirmation(kvat__drive *drive, const kvat__job *job, int64_t *clock_ns) {
    for (int i = 0; i < 500; i++) {
        kvat__step step;
        bool more = false;
        assert_int_equal(kvat__drive_next(&step, &more, drive, NULL), KVAT_OK);
        assert_true(more);
        if (step.phase == KVAT_PHASE_CONFIRM) return;
        drive_on(drive, job, 1, NULL, clock_ns);
    }
    fail();
}

static void confirmation_outlives_two_disturbed_trials_but_not_three(void **state) {
    (void)state;
    for (int disturbed = 2; disturbed <= 3; disturbed++) {
        kvat__job *job = fixture_job(0);
        kvat__drive *drive = new_drive(job);
        int64_t clock_ns = 0;
        reach_confirmation(drive, job, &clock_ns);
        for (int i = 0; i < 2 * disturbed; i++) tell_voided(drive, &clock_ns);
        drive_on(drive, job, 1000, NULL, &clock_ns);
        kvat__drive_view view;
        assert_int_equal(kvat__drive_look(&view, drive, NULL), KVAT_OK);
        assert_int_equal(view.confirm_disturbed, disturbed == 3);
        assert_int_equal(view.confirmation.verdict, disturbed == 3 ? KVAT_VERDICT_UNDECIDED : KVAT_VERDICT_A);
        kvat__drive_free(drive);
        kvat__job_free(job);
    }
}

/** Measures to the end, but every measurement is void with this chance; the longest one. */
static int64_t drive_disturbed(kvat__drive *drive, const kvat__job *job, double chance, int64_t *clock_ns) {
    kvat_rng rng;
    kvat_rng_seed(&rng, 11);
    int64_t longest_ns = 0;
    for (size_t i = 0;; i++) {
        kvat__step step;
        bool more = false;
        assert_int_equal(kvat__drive_next(&step, &more, drive, NULL), KVAT_OK);
        if (!more) return longest_ns;
        kvat_sample sample;
        kvat_trial_record record = fixture_measure(job, &step, &sample, clock_ns, &rng);
        if (kvat_rng_uniform(&rng) < chance) {
            record.status = KVAT_TRIAL_VOIDED;
            record.n_samples = 0;
        }
        if (record.cost_ns > longest_ns) longest_ns = record.cost_ns;
        assert_int_equal(kvat__drive_tell(drive, &record, NULL), KVAT_OK);
        assert_true(i < 2000);
    }
}

static void disturbed_run_ends_within_its_budget_and_claims_no_more_than_it_saw(void **state) {
    (void)state;
    static const double chances[] = {0.2, 0.5, 0.7, 0.9, 0.97, 1};
    for (size_t c = 0; c < sizeof chances / sizeof *chances; c++) {
        const int64_t budget_ns = 90 * KVAT_NS_PER_S;
        kvat__job *job = fixture_job(budget_ns);
        kvat__drive *drive = new_drive(job);
        int64_t clock_ns = 0, longest_ns = drive_disturbed(drive, job, chances[c], &clock_ns);
        kvat__drive_view view;
        assert_int_equal(kvat__drive_look(&view, drive, NULL), KVAT_OK);
        assert_true(view.voided > 0);
        assert_true(clock_ns <= budget_ns + (view.confirming ? budget_ns / 2 : 0) + longest_ns);
        assert_int_not_equal(view.answer.stop, KVAT_STOP_INFEASIBLE); /* nothing failed */
        assert_int_equal(view.failed, 0);
        if (chances[c] > 0.95) assert_int_not_equal(view.confirmation.verdict, KVAT_VERDICT_A);
        if (chances[c] == 1) assert_true(!view.answer.has_leader && view.out_of_budget);
        kvat__drive_free(drive);
        kvat__job_free(job);
    }
}

/** Every configuration but the default runs out of memory; the n-th is forecast to need more than the one before. */
static void measure_without_memory(kvat_trial_record *record, const kvat__job *job, const kvat__step *step) {
    (void)job;
    if (step->config == 0) return;
    record->status = KVAT_TRIAL_OOM_HOST;
    record->samples = NULL;
    record->n_samples = 0;
}

static void what_one_result_rules_out_is_not_measured_in_the_same_chunk(void **state) {
    (void)state;
    kvat__job *job = fixture_job(0);
    for (size_t i = 1; i < 6; i++) job->forecast_bytes[i] = (int64_t)i << 20;
    job->forecast_bytes[0] = 0;
    kvat__drive *drive = new_drive(job);
    kvat_rng rng;
    kvat_rng_seed(&rng, 7);
    int64_t clock_ns = 0;
    size_t failed = 0;
    for (bool more = true; more;) {
        kvat__step step;
        kvat__drive_view view;
        assert_int_equal(kvat__drive_next(&step, &more, drive, NULL), KVAT_OK);
        if (!more) break;
        assert_int_equal(kvat__drive_look(&view, drive, NULL), KVAT_OK);
        assert_true(view.answer.standing[step.config].state != KVAT_CONFIG_INFEASIBLE);
        kvat_sample sample;
        kvat_trial_record record = fixture_measure(job, &step, &sample, &clock_ns, &rng);
        measure_without_memory(&record, job, &step);
        failed += record.status != KVAT_TRIAL_OK;
        assert_int_equal(kvat__drive_tell(drive, &record, NULL), KVAT_OK);
    }
    assert_true(failed >= 2 && failed < 10); /* two each without the forecast */
    kvat__drive_free(drive);
    kvat__job_free(job);
}

static void told_records_lead_to_the_same_steps_again(void **state) {
    (void)state;
    kvat__job *job = fixture_job(0);
    history *kept = test_calloc(1, sizeof *kept);
    kvat__drive *drive = new_drive(job);
    int64_t clock_ns = 0;
    drive_on(drive, job, 1000, kept, &clock_ns);
    kvat__drive *other = new_drive(job);
    for (size_t i = 0; i < kept->n; i++) {
        kvat__step step;
        bool more = false;
        assert_int_equal(kvat__drive_next(&step, &more, other, NULL), KVAT_OK);
        assert_true(more);
        assert_int_equal(step.config, kept->records[i].config);
        assert_int_equal(step.phase, kept->records[i].phase);
        assert_int_equal(kvat__drive_tell(other, &kept->records[i], NULL), KVAT_OK);
    }
    kvat__drive_view a, b;
    assert_int_equal(kvat__drive_look(&a, drive, NULL), KVAT_OK);
    assert_int_equal(kvat__drive_look(&b, other, NULL), KVAT_OK);
    assert_int_equal(a.answer.leader, b.answer.leader);
    assert_true(a.answer.p_good == b.answer.p_good);
    assert_true(a.confirmation.score.value == b.confirmation.score.value);
    kvat__drive_free(drive);
    kvat__drive_free(other);
    test_free(kept);
    kvat__job_free(job);
}

static void record_of_another_step_is_refused(void **state) {
    (void)state;
    kvat__job *job = fixture_job(0);
    kvat__drive *drive = new_drive(job);
    kvat__step step;
    bool more = false;
    assert_int_equal(kvat__drive_next(&step, &more, drive, NULL), KVAT_OK);
    kvat_trial_record record = {.phase = KVAT_PHASE_SEARCH, .config = step.config + 1, .status = KVAT_TRIAL_CRASH};
    kvat_error err = KVAT_ERROR_INIT;
    assert_int_equal(kvat__drive_tell(drive, &record, &err), KVAT_ERR_DATA);
    assert_non_null(strstr(err.message, "--fresh"));
    kvat__drive_free(drive);
    kvat__job_free(job);
}

static void larger_budget_skips_the_stored_confirmation_and_searches_on(void **state) {
    (void)state;
    kvat__job *small = fixture_job(16 * KVAT_NS_PER_S), *large = fixture_job(600 * KVAT_NS_PER_S);
    history *kept = test_calloc(1, sizeof *kept);
    kvat__drive *drive = new_drive(small);
    int64_t clock_ns = 0;
    drive_on(drive, small, 1000, kept, &clock_ns);
    assert_int_equal(kept->records[kept->n - 1].phase, KVAT_PHASE_CONFIRM);
    kvat__drive *other = new_drive(large);
    size_t skipped = 0;
    for (size_t i = 0; i < kept->n; i++) {
        kvat__step step;
        bool more = false;
        assert_int_equal(kvat__drive_next(&step, &more, other, NULL), KVAT_OK);
        if (kvat__drive_skips(other, &kept->records[i])) {
            kvat__drive_skip(other, &kept->records[i]);
            skipped++;
        } else {
            assert_int_equal(kvat__drive_tell(other, &kept->records[i], NULL), KVAT_OK);
        }
    }
    assert_true(skipped > 0);
    drive_on(other, large, 1000, NULL, &clock_ns);
    kvat__drive_view view;
    assert_int_equal(kvat__drive_look(&view, other, NULL), KVAT_OK);
    assert_false(view.out_of_budget);
    assert_int_equal(view.confirmation.verdict, KVAT_VERDICT_A);
    kvat__drive_free(drive);
    kvat__drive_free(other);
    test_free(kept);
    kvat__job_free(small);
    kvat__job_free(large);
}

static void run_limit_is_three_times_the_default(void **state) {
    (void)state;
    kvat__job *job = fixture_job(0);
    kvat__drive *drive = new_drive(job);
    assert_int_equal(kvat__drive_run_limit_ns(drive), 600 * KVAT_NS_PER_S); /* half of the budget before it is known */
    int64_t clock_ns = 0;
    drive_on(drive, job, 1, NULL, &clock_ns);
    assert_int_equal(kvat__drive_run_limit_ns(drive), 3 * clock_ns);
    kvat__drive_free(drive);
    kvat__job_free(job);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(default_is_measured_first),
        cmocka_unit_test(best_configuration_wins_and_is_confirmed_against_the_default),
        cmocka_unit_test(budget_ends_the_search_and_leaves_time_to_confirm),
        cmocka_unit_test(voided_measurement_is_repeated_once_and_then_given_up),
        cmocka_unit_test(what_was_given_up_is_measured_in_the_next_pass),
        cmocka_unit_test(load_is_judged_in_every_attempt_unless_one_step_in_five_was_given_up),
        cmocka_unit_test(confirmation_outlives_two_disturbed_trials_but_not_three),
        cmocka_unit_test(disturbed_run_ends_within_its_budget_and_claims_no_more_than_it_saw),
        cmocka_unit_test(what_one_result_rules_out_is_not_measured_in_the_same_chunk),
        cmocka_unit_test(told_records_lead_to_the_same_steps_again),
        cmocka_unit_test(record_of_another_step_is_refused),
        cmocka_unit_test(larger_budget_skips_the_stored_confirmation_and_searches_on),
        cmocka_unit_test(run_limit_is_three_times_the_default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
