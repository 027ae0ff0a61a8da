// Tests of what an outcome says of a run that is stored: whole, cut anywhere, disturbed, and without anything that
// works.
#include <stdio.h>
#include <unistd.h>

#include "figures.h"
#include "job_fixture.h"
#include "own_folder.h"

typedef struct world world;
/** What becomes of a step; may change its speed and the world's clock. */
typedef kvat_trial_status fate(world *w, const kvat__step *step, double *speed);

struct world {
    kvat__job *job;
    kvat__drive *drive;
    kvat_store *store;
    int64_t run, clock_ns;
    kvat_rng rng;
    size_t told, measured[64]; /**< of each configuration */
};

/* ---- a run in a store ---- */

static void must(kvat_status status, const kvat_error *err) {
    if (status != KVAT_OK) fail_msg("%s", err->message);
}

static void add_run(world *w) {
    json_t *space = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    must(kvat__job_space_json(&space, w->job, &err), &err);
    const json_t *documents[] = {w->job->request,     w->job->hello, w->job->describe,
                                 w->job->environment, w->job->note,  space};
    char *texts[6];
    for (size_t i = 0; i < 6; i++) {
        texts[i] = json_dumps(documents[i], JSON_COMPACT);
        assert_non_null(texts[i]);
    }
    char identity[KVAT_HASH_HEX];
    must(kvat__job_identity(identity, w->job, &err), &err);
    const kvat_run_record record = {.identity = identity,
                                    .created_utc = "",
                                    .model_name = "toy",
                                    .engine_name = "pretend",
                                    .profile_name = "ci-micro",
                                    .request_json = texts[0],
                                    .engine_json = texts[1],
                                    .describe_json = texts[2],
                                    .environment_json = texts[3],
                                    .note_json = texts[4],
                                    .space_json = texts[5]};
    must(kvat_store_add_run(&w->run, w->store, &record, &err), &err);
    for (size_t i = 0; i < 6; i++) free(texts[i]);
    json_decref(space);
}

/** Takes the job. */
static void begin(world *w, kvat__job *job) {
    *w = (world){.job = job};
    kvat_error err = KVAT_ERROR_INIT;
    kvat_rng_seed(&w->rng, 7);
    must(kvat__drive_new(&w->drive, job, &err), &err);
    (void)unlink("kvat.db");
    must(kvat_store_open(&w->store, "kvat.db", KVAT_STORE_WRITE, &err), &err);
    add_run(w);
}

static void end(world *w) {
    kvat_store_close(w->store);
    kvat__drive_free(w->drive);
    kvat__job_free(w->job);
}

static bool next(kvat__step *step, world *w) {
    bool more = false;
    kvat_error err = KVAT_ERROR_INIT;
    must(kvat__drive_next(step, &more, w->drive, &err), &err);
    return more;
}

/** Makes the next measurement and stores it; false when there is none to make. */
static bool measure(world *w, fate *becomes) {
    kvat__step step;
    if (!next(&step, w)) return false;
    assert_true(w->told < 500);
    double speed = 1;
    kvat_error err = KVAT_ERROR_INIT;
    const kvat_trial_status status = becomes(w, &step, &speed);
    kvat_sample sample;
    kvat_trial_record record = fixture_measure(w->job, &step, &sample, &w->clock_ns, &w->rng);
    sample.ttft_ns = sample.ttft_worst_ns = (int64_t)((double)sample.ttft_ns / speed);
    sample.decode_tok_per_s *= speed;
    record.run = w->run;
    record.status = status;
    if (status != KVAT_TRIAL_OK) {
        record.detail = "as told";
        record.samples = NULL;
        record.n_samples = 0;
        record.peak_bytes = 0;
    }
    int64_t id = 0;
    must(kvat_store_add_trial(&id, w->store, &record, &err), &err);
    must(kvat__drive_tell(w->drive, &record, &err), &err);
    w->told++;
    w->measured[step.config]++;
    return true;
}

static kvat_outcome *load(world *w) {
    kvat_outcome *outcome = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    must(kvat_outcome_load(&outcome, w->store, w->run, &err), &err);
    return outcome;
}

/** The stored run, as it is now, is decided so, and says this of it. */
static void expect(world *w, kvat_decision decision, const char *says) {
    kvat_outcome *outcome = load(w);
    if (outcome->decision != decision || !strstr(outcome->why, says))
        fail_msg("after %zu trials %s: %s", w->told, kvat_decision_word(outcome->decision), outcome->why);
    if (decision == KVAT_DECISION_INFEASIBLE) assert_int_equal(outcome->stop, KVAT_STOP_INFEASIBLE);
    kvat_outcome_free(outcome);
}

static kvat_trial_status all_well(world *w, const kvat__step *step, double *speed) {
    (void)w, (void)step, (void)speed;
    return KVAT_TRIAL_OK;
}

static void the_context_is_that_of_one_sequence_however_many_there_are(void **state) {
    (void)state;
    int64_t contexts[2] = {0};
    static const char *const batches[] = {NULL, "2"};
    for (size_t i = 0; i < 2; i++) {
        kvat_tune_request request = KVAT_TUNE_REQUEST_INIT;
        request.max_trials = 1;
        request.overrides.batch = batches[i];
        world w;
        begin(&w, fixture_job_of(request, fixture_describe));
        while (measure(&w, all_well)) continue;
        kvat_outcome *outcome = load(&w);
        contexts[i] = outcome->context_tokens;
        assert_int_equal(outcome->sequences, i + 1);
        assert_int_equal(w.job->context_tokens, contexts[i] * outcome->sequences); /* what the worker has to hold */
        kvat_outcome_free(outcome);
        end(&w);
    }
    assert_true(contexts[0] > 0);
    assert_int_equal(contexts[0], contexts[1]);
}

/* ---- nothing works, or nothing is known ---- */

static kvat_trial_status too_slow(world *w, const kvat__step *step, double *speed) {
    (void)w, (void)step, (void)speed;
    return KVAT_TRIAL_TIMEOUT;
}

static kvat_trial_status crash(world *w, const kvat__step *step, double *speed) {
    (void)w, (void)step, (void)speed;
    return KVAT_TRIAL_CRASH;
}

static kvat_trial_status disturbed(world *w, const kvat__step *step, double *speed) {
    (void)w, (void)step, (void)speed;
    return KVAT_TRIAL_VOIDED;
}

static kvat_trial_status disturbed_once_then_crash(world *w, const kvat__step *step, double *speed) {
    (void)step, (void)speed;
    return w->told == 0 ? KVAT_TRIAL_VOIDED : KVAT_TRIAL_CRASH;
}

static void nothing_works_is_said_only_of_what_was_tried(void **state) {
    (void)state;
    static const char cut_short[] = "the budget ended after 1 of 6 configurations, and none ran clean";
    static const struct {
        fate *becomes;
        int64_t budget_s, trials;
        kvat_decision decision;
        const char *says;
    } cases[] = {
        {too_slow, 4, 0, KVAT_DECISION_UNDECIDED, cut_short},
        {crash, 600, 1, KVAT_DECISION_UNDECIDED, cut_short},
        {disturbed_once_then_crash, 16, 0, KVAT_DECISION_UNDECIDED, "the budget ended after"},
        {disturbed, 16, 0, KVAT_DECISION_UNDECIDED, "too disturbed"},
        {crash, 600, 0, KVAT_DECISION_INFEASIBLE, "none of 6 configurations worked"},
        {crash, 600, 12, KVAT_DECISION_INFEASIBLE,
         "none of 6 configurations worked"}, /* the last one ends the budget */
        {too_slow, 600, 0, KVAT_DECISION_INFEASIBLE, "none of 6 configurations worked"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_tune_request request = KVAT_TUNE_REQUEST_INIT;
        request.time_ns = cases[i].budget_s * KVAT_NS_PER_S;
        request.max_trials = cases[i].trials;
        world w;
        begin(&w, fixture_job_of(request, fixture_describe));
        while (measure(&w, cases[i].becomes)) continue;
        expect(&w, cases[i].decision, cases[i].says);
        end(&w);
    }
}

static void a_run_cut_before_anything_worked_is_not_finished(void **state) {
    (void)state;
    world w;
    begin(&w, fixture_job(0));
    assert_true(measure(&w, crash));
    expect(&w, KVAT_DECISION_UNDECIDED, "the run is not finished after 1 of 6 configurations, and none ran clean");
    end(&w);
}

/* ---- a run that was cut ---- */

static const char with_lossy[] =
    "{\"model\": {\"name\": \"toy\", \"identity\": \"sha256:0\", \"training_context_tokens\": 4096, \"token_low\": 1, "
    "\"token_high\": 99}, \"knobs\": ["
    "{\"name\": \"threads\", \"concept\": \"threads.decode\", \"type\": \"int\", \"values\": [1, 2, 4], "
    "\"default\": 4, \"search\": [1, 2, 4], \"scope\": \"request\", \"affects\": [\"decode\"]},"
    "{\"name\": \"cache-type\", \"concept\": \"kv.type\", \"type\": \"enum\", \"values\": [\"f16\", \"q8_0\"], "
    "\"default\": \"f16\", \"search\": [\"f16\", \"q8_0\"], \"scope\": \"context\", "
    "\"numerics\": {\"q8_0\": \"lossy\"}, \"affects\": [\"decode\"]}]}";

/** After its failure it owes three clean runs more, which take longer than deciding between the others. They are fast,
 * as those that are far behind are not run at all. */
static kvat_trial_status lossy_crashes_once(world *w, const kvat__step *step, double *speed) {
    const bool lossy = kvat_space_lossy(w->job->space, step->config);
    if (lossy) *speed = exp(0.2);
    return lossy && w->measured[step->config] == 0 ? KVAT_TRIAL_CRASH : KVAT_TRIAL_OK;
}

static bool is_raced(world *w) {
    kvat__drive_view view;
    kvat_error err = KVAT_ERROR_INIT;
    must(kvat__drive_look(&view, w->drive, &err), &err);
    return view.answer.stop == KVAT_STOP_CONFIDENT || view.answer.stop == KVAT_STOP_ONE_LEFT;
}

static void a_run_cut_while_lossy_ones_are_still_ranked_is_not_decided(void **state) {
    (void)state;
    kvat_tune_request request = KVAT_TUNE_REQUEST_INIT;
    request.allow_lossy = true;
    request.search = "race"; /* which runs on for them when it is sure */
    world w;
    kvat__step step;
    size_t cuts = 0;
    begin(&w, fixture_job_of(request, with_lossy));
    while (measure(&w, lossy_crashes_once)) {
        if (!is_raced(&w) || !next(&step, &w) || step.phase != KVAT_PHASE_SEARCH) continue;
        expect(&w, KVAT_DECISION_UNDECIDED, ", and the run is not finished");
        cuts++;
    }
    assert_true(cuts > 0);
    expect(&w, KVAT_DECISION_WINNER, "Confirmed on");
    end(&w);
}

/** A run whose confirmation knows nothing of the gain beforehand. */
static kvat__job *race_job(void) {
    kvat_tune_request request = KVAT_TUNE_REQUEST_INIT;
    request.search = "race";
    return fixture_job_of(request, fixture_describe);
}

/** In the confirmation the leader is as often better than the default as it is worse. */
static kvat_trial_status wavering(world *w, const kvat__step *step, double *speed) {
    (void)w;
    if (step->phase == KVAT_PHASE_CONFIRM && step->chunk == 0) *speed = exp(step->block % 2 ? 0.12 : -0.28);
    return KVAT_TRIAL_OK;
}

static void a_run_cut_in_its_confirmation_is_not_decided(void **state) {
    (void)state;
    world w;
    kvat__step step;
    size_t most_pairs = 0;
    begin(&w, race_job());
    while (measure(&w, wavering)) {
        if (!next(&step, &w) || step.phase != KVAT_PHASE_CONFIRM) continue;
        expect(&w, KVAT_DECISION_UNDECIDED, ", and the run is not finished");
        most_pairs = step.block;
    }
    assert_int_equal(most_pairs, 7);
    expect(&w, KVAT_DECISION_DEFAULT, "8 fresh pairs could not tell");
    end(&w);
}

/** Half the width of the leader's interval, in ln; the noise that is said goes to `*spread`. */
static double doubt(double *spread, fate *becomes) {
    world w;
    begin(&w, race_job());
    while (measure(&w, becomes)) continue;
    kvat_outcome *outcome = load(&w);
    const kvat_interval interval = outcome->entries[0].score_interval;
    const double width = log(interval.high / interval.low) / 2;
    *spread = outcome->anchor_spread;
    assert_int_equal(outcome->noisy, outcome->anchor_spread > 0.05);
    assert_true(interval.low < outcome->entries[0].score && outcome->entries[0].score < interval.high);
    kvat_outcome_free(outcome);
    end(&w);
    return width;
}

/** Pairs that spread by 20 % × √2 show that a search whose runs agreed by chance knew too little of the noise. */
static void intervals_are_as_wide_as_the_pairs_show(void **state) {
    (void)state;
    double quiet = 0, restless = 0;
    const double narrow = doubt(&quiet, all_well), wide = doubt(&restless, wavering);
    assert_true(quiet < 0.02 && restless > 0.1);
    assert_true(wide > 3 * narrow);
}

/* ---- a confirmation that ended early ---- */

static kvat_trial_status disturbed_after_two_pairs(world *w, const kvat__step *step, double *speed) {
    wavering(w, step, speed);
    return step->phase == KVAT_PHASE_CONFIRM && step->block >= 2 ? KVAT_TRIAL_VOIDED : KVAT_TRIAL_OK;
}

static kvat_trial_status late_after_two_pairs(world *w, const kvat__step *step, double *speed) {
    wavering(w, step, speed);
    if (step->phase == KVAT_PHASE_CONFIRM && step->block >= 2) w->clock_ns += 2 * w->job->budget_ns;
    return KVAT_TRIAL_OK;
}

static kvat_trial_status disturbed_in_confirmation(world *w, const kvat__step *step, double *speed) {
    (void)w, (void)speed;
    return step->phase == KVAT_PHASE_CONFIRM ? KVAT_TRIAL_VOIDED : KVAT_TRIAL_OK;
}

static void an_undecided_confirmation_says_what_was_lacking(void **state) {
    (void)state;
    static const struct {
        fate *becomes;
        kvat_decision decision;
        const char *says;
    } cases[] = {
        {all_well, KVAT_DECISION_WINNER, "Confirmed on"},
        {disturbed_after_two_pairs, KVAT_DECISION_UNDECIDED, ", and the machine was too disturbed for the 4 pairs"},
        {late_after_two_pairs, KVAT_DECISION_UNDECIDED, ", and no time was left for the 4 pairs it takes"},
        {disturbed_in_confirmation, KVAT_DECISION_UNDECIDED, "could not be confirmed against the default: the machine"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        world w;
        begin(&w, race_job());
        while (measure(&w, cases[i].becomes)) continue;
        expect(&w, cases[i].decision, cases[i].says);
        end(&w);
    }
}

/** In the confirmation the leader is no better than the default. */
static kvat_trial_status no_better_after_all(world *w, const kvat__step *step, double *speed) {
    if (step->phase == KVAT_PHASE_CONFIRM) *speed = exp(-fixture_truth(w->job, step->config));
    return KVAT_TRIAL_OK;
}

static void what_is_too_little_to_matter_keeps_the_default(void **state) {
    (void)state;
    world w;
    begin(&w, race_job());
    while (measure(&w, no_better_after_all)) continue;
    expect(&w, KVAT_DECISION_DEFAULT, "fresh pairs the leader of the search was less than 1 % ahead of the default; ");
    kvat_outcome *outcome = load(&w);
    assert_true(outcome->confirmation.too_little && outcome->confirmation.pairs < 16);
    assert_false(outcome->confirmation.joined);
    kvat_outcome_free(outcome);
    end(&w);
}

/** No better, by pairs that spread too far to say so. */
static kvat_trial_status no_better_and_wavering(world *w, const kvat__step *step, double *speed) {
    const kvat_trial_status status = no_better_after_all(w, step, speed);
    if (step->phase == KVAT_PHASE_CONFIRM && step->config != 0) *speed *= step->block % 2 ? 1.05 : 1 / 1.05;
    return status;
}

static void what_more_pairs_would_hardly_tell_keeps_the_default(void **state) {
    (void)state;
    world w;
    begin(&w, fixture_job(0));
    while (measure(&w, no_better_and_wavering)) continue;
    expect(&w, KVAT_DECISION_DEFAULT,
           "6 fresh pairs could not tell the leader of the search from the default, and more would hardly show it "
           "to be better; ");
    kvat_outcome *outcome = load(&w);
    assert_true(outcome->confirmation.futile && !outcome->confirmation.too_little);
    kvat_outcome_free(outcome);
    end(&w);
}

static void a_gain_that_rests_on_the_search_too_is_said_to(void **state) {
    (void)state;
    world w;
    begin(&w, fixture_job(0));
    while (measure(&w, all_well)) continue;
    expect(&w, KVAT_DECISION_WINNER,
           "Confirmed on 2 fresh pairs against the default, joined with the runs of the search; ");
    kvat_outcome *outcome = load(&w);
    const kvat_confirm_answer *c = &outcome->confirmation;
    assert_true(c->joined && c->pairs == 2);
    assert_true(c->score.high - c->score.low < c->fresh.high - c->fresh.low);
    assert_true(c->fresh.low < 0.85 * 0.08 && 0.85 * 0.08 < c->fresh.high);
    kvat_outcome_free(outcome);
    end(&w);
}

/* ---- the figures of one configuration ---- */

static void put_failed(kvat_entry *entry, const kvat_trial_status *statuses, size_t n) {
    static const char *const details[KVAT_TRIAL_STATUS_COUNT] = {
        [KVAT_TRIAL_VOIDED] = "suspended for 3 s", [KVAT_TRIAL_CRASH] = "killed by signal 11"};
    kvat__entry_figures figures = {0};
    *entry = (kvat_entry){0};
    for (size_t i = 0; i < n; i++) {
        const kvat_trial_record record = {.status = statuses[i], .detail = details[statuses[i]]};
        assert_int_equal(kvat__entry_figures_add(&figures, NULL, &record, NULL), KVAT_OK);
    }
    assert_int_equal(kvat__entry_figures_put(entry, &figures, NULL, NULL), KVAT_OK);
    kvat__entry_figures_clear(&figures);
}

static void what_disturbed_a_trial_is_no_failure_of_the_configuration(void **state) {
    (void)state;
    static const kvat_trial_status disturbed_only[] = {KVAT_TRIAL_VOIDED, KVAT_TRIAL_VOIDED};
    static const kvat_trial_status failed_too[] = {KVAT_TRIAL_CRASH, KVAT_TRIAL_VOIDED};
    kvat_entry entry;
    put_failed(&entry, disturbed_only, 2);
    assert_null(entry.failure);
    assert_int_equal(entry.failures_by_status[KVAT_TRIAL_VOIDED], 2);
    put_failed(&entry, failed_too, 2);
    assert_string_equal(entry.failure, "killed by signal 11");
    assert_int_equal(entry.failures_by_status[KVAT_TRIAL_VOIDED], 1);
    free(entry.failure);
}

/* ---- figures ---- */

static void put_rates(kvat_entry *entry, const kvat_profile *profile, const double *rates, const bool *fitted,
                      size_t n) {
    kvat__entry_figures figures = {0};
    *entry = (kvat_entry){0};
    for (size_t i = 0; i < n; i++) {
        const kvat_sample sample = {.ttft_ns = 1000,
                                    .decode_tok_per_s = rates[i],
                                    .itl_p50_ns = 1e9 / rates[i],
                                    .itl_p95_ns = 1e9 / rates[i],
                                    .itl_p99_ns = 1e9 / rates[i],
                                    .fitted = fitted[i]};
        const kvat_trial_record record = {.status = KVAT_TRIAL_OK, .peak_bytes = 9, .samples = &sample, .n_samples = 1};
        assert_int_equal(kvat__entry_figures_add(&figures, profile, &record, NULL), KVAT_OK);
    }
    assert_int_equal(kvat__entry_figures_put(entry, &figures, profile, NULL), KVAT_OK);
    kvat__entry_figures_clear(&figures);
}

static void a_figure_is_of_whole_outputs_where_there_are_any(void **state) {
    (void)state;
    static const double rates[] = {50, 52, 40, 44, 51};
    static const bool mixed[] = {true, true, false, false, true}, all[] = {true, true, true, true, true},
                      none[] = {false, false, false, false, false};
    static const struct {
        const bool *fitted;
        double value, compared;
        bool is_fitted;
    } cases[] = {{mixed, 42, 51, false}, {all, 50, 50, true}, {none, 50, 50, false}};
    kvat__job *job = fixture_job(0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_entry entry;
        put_rates(&entry, job->profile, rates, cases[i].fitted, 5);
        const kvat_cell_figures *cell = &entry.cells[0];
        assert_true(cell->decode_tok_per_s.value == cases[i].value);
        assert_true(fabs(cell->itl_p50_s - 1 / cases[i].value) < 1e-3);
        assert_true(cell->compared_decode_tok_per_s == cases[i].compared);
        assert_true(fabs(entry.decode_tok_per_s - cases[i].value) < 1e-9);
        assert_true(fabs(entry.compared_decode_tok_per_s - cases[i].compared) < 1e-9);
        assert_int_equal(cell->decode_fitted, cases[i].is_fitted);
        assert_int_equal(entry.decode_fitted, cases[i].is_fitted);
        assert_true(cell->decode_tok_per_s.low < cases[i].value && cases[i].value < cell->decode_tok_per_s.high);
        free(entry.cells);
    }
    kvat__job_free(job);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(nothing_works_is_said_only_of_what_was_tried),
        FOLDER_TEST(a_run_cut_before_anything_worked_is_not_finished),
        FOLDER_TEST(a_run_cut_while_lossy_ones_are_still_ranked_is_not_decided),
        FOLDER_TEST(a_run_cut_in_its_confirmation_is_not_decided),
        FOLDER_TEST(intervals_are_as_wide_as_the_pairs_show),
        FOLDER_TEST(an_undecided_confirmation_says_what_was_lacking),
        FOLDER_TEST(what_is_too_little_to_matter_keeps_the_default),
        FOLDER_TEST(what_more_pairs_would_hardly_tell_keeps_the_default),
        FOLDER_TEST(a_gain_that_rests_on_the_search_too_is_said_to),
        cmocka_unit_test(the_context_is_that_of_one_sequence_however_many_there_are),
        cmocka_unit_test(what_disturbed_a_trial_is_no_failure_of_the_configuration),
        cmocka_unit_test(a_figure_is_of_whole_outputs_where_there_are_any),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
