// Tests of incumbents: what a fingerprint is made of, how an earlier winner is found again, what is said of it, and
// when it is replaced.
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fail_alloc.h"
#include "job_fixture.h"
#include "outcome_internal.h"
#include "own_folder.h"

static kvat__job *job_for(const kvat_tune_request *request, const char *hello_text, const char *describe_text) {
    kvat_machine machine = {.threads = 4, .memory_limit_bytes = (int64_t)1 << 34};
    json_t *hello = fixture_json(hello_text), *describe = fixture_json(describe_text);
    kvat__job *job = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    if (kvat__job_from_request(&job, request, hello, describe, &machine, "pretend", "as asked", &err) != KVAT_OK)
        fail_msg("%s", err.message);
    json_decref(hello);
    json_decref(describe);
    return job;
}

static kvat_tune_request plain_request(void) {
    kvat_tune_request request = KVAT_TUNE_REQUEST_INIT;
    request.model = "toy";
    request.profile = "ci-micro";
    return request;
}

/* ---- fingerprint ---- */

typedef void changer(kvat_tune_request *request);

static void longer(kvat_tune_request *r) {
    r->time_ns = 99 * KVAT_NS_PER_S;
    r->max_trials = 7;
}
static void reseeded(kvat_tune_request *r) {
    r->seed = r->world_seed = 5;
}
static void repeated(kvat_tune_request *r) {
    r->overrides.runs = 3;
}
static void stricter(kvat_tune_request *r) {
    r->delta = 0.02;
    r->p_good = 0.99;
    r->safe = true;
}
static void weighted(kvat_tune_request *r) {
    r->overrides.weights = "ttft=0.2,decode=0.5,memory=0.3";
}
static void deeper(kvat_tune_request *r) {
    r->overrides.context = "1024";
}
static void fixed(kvat_tune_request *r) {
    static const kvat_setting set = {"threads", "2"};
    r->set = &set;
    r->n_set = 1;
}
static void elsewhere(kvat_tune_request *r) {
    static const char *const launch[] = {"ssh", "there", NULL};
    r->launch = launch;
}

static void fingerprint_of(char *hex, changer *change, const char *hello, const char *describe) {
    kvat_tune_request request = plain_request();
    if (change) change(&request);
    kvat__job *job = job_for(&request, hello, describe);
    assert_int_equal(kvat__incumbent_fingerprint(hex, job, NULL), KVAT_OK);
    kvat__job_free(job);
}

static void fingerprint_is_of_workload_model_engine_and_machine_alone(void **state) {
    (void)state;
    static const struct {
        changer *change;
        bool same;
    } cases[] = {{longer, true},    {reseeded, true}, {repeated, true}, {stricter, true},
                 {weighted, false}, {deeper, false},  {fixed, false},   {elsewhere, false}};
    char plain[KVAT_HASH_HEX], hex[KVAT_HASH_HEX];
    fingerprint_of(plain, NULL, fixture_hello, fixture_describe);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fingerprint_of(hex, cases[i].change, fixture_hello, fixture_describe);
        if ((strcmp(plain, hex) == 0) != cases[i].same) fail_msg("case %zu", i);
    }
}

static void another_engine_version_or_model_is_another_fingerprint(void **state) {
    (void)state;
    char plain[KVAT_HASH_HEX], hex[KVAT_HASH_HEX], text[1024];
    fingerprint_of(plain, NULL, fixture_hello, fixture_describe);
    fingerprint_of(hex, NULL,
                   "{\"engine\": {\"name\": \"pretend\", \"version\": \"2\"}, \"clock\": \"virtual\", "
                   "\"capabilities\": [\"marks\"]}",
                   fixture_describe);
    assert_string_not_equal(plain, hex);
    snprintf(text, sizeof text, "%s", fixture_describe);
    *strstr(text, "sha256:0") = 'S';
    fingerprint_of(hex, NULL, fixture_hello, text);
    assert_string_not_equal(plain, hex);
}

/* ---- finding ---- */

static void give_incumbent(kvat__job *job, const char *settings) {
    char text[256];
    snprintf(text, sizeof text, "{\"label\": \"the earlier one\", \"settings\": %s}", settings);
    assert_int_equal(json_object_set_new(job->note, "incumbent", fixture_json(text)), 0);
    job->incumbent = kvat__incumbent_find(job);
}

static void earlier_winner_is_found_by_all_of_its_settings(void **state) {
    (void)state;
    static const struct {
        const char *settings;
        bool found;
    } cases[] = {
        {"{\"threads\": 2, \"flash-attn\": \"on\"}", true},
        {"{\"threads\": 4, \"flash-attn\": \"on\"}", true},
        {"{\"threads\": \"2\", \"flash-attn\": \"on\"}", true},
        {"{\"threads\": 3, \"flash-attn\": \"on\"}", false},
        {"{\"threads\": 2}", false},
        {"{\"threads\": 2, \"flash-attn\": null}", false},
        {"{\"threads\": 2, \"gear\": \"on\"}", false},
        {"{\"threads\": 2, \"flash-attn\": \"on\", \"x\": 1}", false},
        {"{}", false},
        {"[]", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat__job *job = fixture_job(0);
        give_incumbent(job, cases[i].settings);
        if ((job->incumbent != SIZE_MAX) != cases[i].found) fail_msg("case %zu", i);
        kvat__job_free(job);
    }
}

static void one_that_this_run_does_not_try_is_none(void **state) {
    (void)state;
    kvat_tune_request request = plain_request();
    const kvat_setting sweep = {"threads", "4"};
    request.sweep = &sweep;
    request.n_sweep = 1;
    kvat__job *job = job_for(&request, fixture_hello, fixture_describe);
    give_incumbent(job, "{\"threads\": 2, \"flash-attn\": \"on\"}");
    assert_int_equal(job->incumbent, SIZE_MAX);
    kvat__job_free(job);
}

static void without_one_nothing_is_found_or_said(void **state) {
    (void)state;
    kvat__job *job = fixture_job(0);
    kvat_outcome *o = NULL;
    const kvat__drive_view view = {.answer = {.challenger = SIZE_MAX}};
    assert_int_equal(job->incumbent, SIZE_MAX);
    assert_int_equal(kvat__outcome_of_job(&o, job, NULL), KVAT_OK);
    assert_int_equal(kvat__outcome_judge_incumbent(o, job, &view, NULL), KVAT_OK);
    assert_null(o->incumbent_said);
    kvat_outcome_free(o);
    kvat__job_free(job);
}

/* ---- the drive is told of it ---- */

/** The best by the fixture's truth has two threads; one that is a hair worse stays when it was there first. */
static size_t leader_with(const char *settings, bool *kept) {
    kvat__job *job = fixture_job(0);
    kvat__drive *drive = NULL;
    kvat_rng rng;
    int64_t clock_ns = 0;
    bool more = true;
    if (settings) give_incumbent(job, settings);
    kvat_rng_seed(&rng, 3);
    assert_int_equal(kvat__drive_new(&drive, job, NULL), KVAT_OK);
    for (size_t i = 0; i < 500 && more; i++) {
        kvat__step step;
        kvat_sample sample;
        assert_int_equal(kvat__drive_next(&step, &more, drive, NULL), KVAT_OK);
        if (!more) break;
        kvat_trial_record record = fixture_measure(job, &step, &sample, &clock_ns, &rng);
        assert_int_equal(kvat__drive_tell(drive, &record, NULL), KVAT_OK);
    }
    kvat__drive_view view;
    assert_int_equal(kvat__drive_look(&view, drive, NULL), KVAT_OK);
    *kept = view.answer.incumbent_kept;
    size_t leader = view.answer.leader;
    kvat__drive_free(drive);
    kvat__job_free(job);
    return leader;
}

static void one_that_is_clearly_beaten_is_replaced(void **state) {
    (void)state;
    bool kept = true;
    size_t alone = leader_with(NULL, &kept);
    assert_false(kept);
    assert_int_equal(leader_with("{\"threads\": 1, \"flash-attn\": \"off\"}", &kept), alone);
    assert_false(kept);
    assert_int_equal(leader_with("{\"threads\": 2, \"flash-attn\": \"on\"}", &kept), alone);
    assert_false(kept); /* it leads by itself */
}

/* ---- what is said ---- */

typedef struct situation {
    kvat_decision decision;
    size_t winner, leader, challenger; /* entries, which are in the order of configurations */
    bool kept;
    double p;
    const char *words;
} situation;

static void what_became_of_it_is_said_with_the_chance(void **state) {
    (void)state;
    static const situation cases[] = {
        {KVAT_DECISION_WINNER, 1, 1, 3, true, 0.624, "stays: 62 % sure that"},
        {KVAT_DECISION_WINNER, 1, 1, SIZE_MAX, false, NAN, "is the answer again"},
        {KVAT_DECISION_WINNER, 3, 3, 3, false, 0.9999, "gives way: 99 % sure that"},
        {KVAT_DECISION_DEFAULT, 0, 1, SIZE_MAX, false, NAN, "gives way to the default"},
        {KVAT_DECISION_WINNER, 3, 3, SIZE_MAX, false, NAN, "did not run clean"},
        {KVAT_DECISION_UNDECIDED, 0, 3, 3, false, 0.5, "stays remembered, as this run decided nothing"},
        {KVAT_DECISION_INFEASIBLE, SIZE_MAX, SIZE_MAX, SIZE_MAX, false, NAN, "does not work either"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const situation *c = &cases[i];
        kvat__job *job = fixture_job(0);
        kvat_outcome *o = NULL;
        const kvat__drive_view view = {
            .answer = {.incumbent_kept = c->kept, .challenger = c->challenger, .p_challenger = c->p}};
        assert_int_equal(kvat__outcome_of_job(&o, job, NULL), KVAT_OK);
        json_t *settings = json_deep_copy(o->entries[1].settings);
        char *text = json_dumps(settings, 0);
        give_incumbent(job, text);
        free(text);
        json_decref(settings);
        assert_int_equal(job->incumbent, 1);
        o->decision = c->decision;
        o->winner = c->winner;
        o->best_so_far = c->leader;
        o->default_entry = 0;
        assert_int_equal(kvat__outcome_judge_incumbent(o, job, &view, NULL), KVAT_OK);
        if (!strstr(o->incumbent_said, c->words)) fail_msg("\"%s\" lacks \"%s\"", o->incumbent_said, c->words);
        assert_non_null(strstr(o->incumbent_said, "the earlier one"));
        assert_int_equal(o->incumbent_kept, c->winner == 1);
        kvat_outcome_free(o);
        kvat__job_free(job);
    }
}

/* ---- remembering ---- */

/** A run that ends so; the label of what is remembered afterwards, "" for nothing. */
static void remember(char label[64], kvat__job *job, kvat_decision decision, size_t winner, bool compared) {
    kvat_outcome *o = NULL;
    char hex[KVAT_HASH_HEX];
    json_t *found = NULL;
    assert_int_equal(kvat__outcome_of_job(&o, job, NULL), KVAT_OK);
    o->decision = decision;
    o->winner = winner;
    o->incumbent = compared ? 0 : SIZE_MAX;
    assert_int_equal(kvat__incumbent_remember(job, o, "winners", NULL), KVAT_OK);
    assert_int_equal(kvat__incumbent_fingerprint(hex, job, NULL), KVAT_OK);
    assert_int_equal(kvat_winner_read(&found, "winners", hex, NULL), KVAT_OK);
    const char *text = json_string_value(json_object_get(found, "label"));
    snprintf(label, 64, "%s", text ? text : "");
    json_decref(found);
    kvat_outcome_free(o);
}

static void only_a_decision_is_remembered_and_the_next_run_takes_it_up(void **state) {
    (void)state;
    char label[64], label_of_3[64];
    kvat__job *first = fixture_job(0), *second = fixture_job(0);
    remember(label, first, KVAT_DECISION_UNDECIDED, 3, true);
    assert_string_equal(label, "");
    remember(label_of_3, first, KVAT_DECISION_WINNER, 3, true);
    assert_string_not_equal(label_of_3, "");
    assert_int_equal(kvat__incumbent_take(second, "winners", NULL), KVAT_OK);
    assert_int_equal(second->incumbent, 3);
    remember(label, second, KVAT_DECISION_UNDECIDED, 2, true);
    assert_string_equal(label, label_of_3);
    remember(label, second, KVAT_DECISION_WINNER, 2, false); /* it was not compared */
    assert_string_equal(label, label_of_3);
    remember(label, second, KVAT_DECISION_DEFAULT, 0, true);
    assert_string_equal(label, "default");
    kvat__job_free(first);
    kvat__job_free(second);
}

static void what_another_run_remembered_meanwhile_stays(void **state) {
    (void)state;
    char label[64], label_of_3[64];
    kvat__job *early = fixture_job(0), *late = fixture_job(0);
    assert_int_equal(kvat__incumbent_take(early, "winners", NULL), KVAT_OK);
    remember(label_of_3, late, KVAT_DECISION_WINNER, 3, true);
    remember(label, early, KVAT_DECISION_WINNER, 2, true);
    assert_string_equal(label, label_of_3);
    kvat__job_free(early);
    kvat__job_free(late);
}

static void what_cannot_be_read_is_neither_used_nor_replaced(void **state) {
    (void)state;
    char hex[KVAT_HASH_HEX], path[128];
    kvat__job *job = fixture_job(0);
    kvat_outcome *o = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    assert_int_equal(kvat__incumbent_fingerprint(hex, job, NULL), KVAT_OK);
    assert_int_equal(mkdir("winners", 0755), 0);
    snprintf(path, sizeof path, "winners/%s.json", hex);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("{\"format\": \"kvat-winner/2\"}", file);
    fclose(file);
    assert_int_equal(kvat__incumbent_take(job, "winners", &err), KVAT_ERR_DATA);
    assert_non_null(strstr(err.message, hex));
    assert_int_equal(job->incumbent, SIZE_MAX);
    assert_int_equal(kvat__outcome_of_job(&o, job, NULL), KVAT_OK);
    o->decision = KVAT_DECISION_WINNER;
    o->winner = 1;
    assert_int_equal(kvat__incumbent_remember(job, o, "winners", NULL), KVAT_ERR_DATA);
    kvat_outcome_free(o);
    kvat__job_free(job);
}

static void a_stored_run_has_the_incumbent_of_its_start(void **state) {
    (void)state;
    kvat__job *job = fixture_job(0), *copy = NULL;
    give_incumbent(job, "{\"threads\": 2, \"flash-attn\": \"on\"}");
    assert_int_equal(kvat__job_copy(&copy, job, NULL), KVAT_OK);
    assert_true(copy->incumbent != SIZE_MAX);
    assert_int_equal(copy->incumbent, job->incumbent);
    kvat__job_free(copy);
    kvat__job_free(job);
}

/** All but the reading of a file, in which jansson's parser does not notice that memory is lacking. */
static kvat_status try_all(void *context, kvat_error *err) {
    kvat__job *job = context;
    const kvat__drive_view view = {.answer = {.challenger = 0, .p_challenger = 0.5}};
    char hex[KVAT_HASH_HEX];
    kvat_outcome *o = NULL;
    kvat_status status = kvat__outcome_of_job(&o, job, err);
    if (status == KVAT_OK) status = kvat__outcome_judge_incumbent(o, job, &view, err);
    if (status == KVAT_OK) status = kvat__incumbent_fingerprint(hex, job, err);
    kvat_outcome_free(o);
    return status;
}

static void every_failing_allocation_is_survived(void **state) {
    (void)state;
    json_set_alloc_funcs(malloc, free);
    kvat__job *job = fixture_job(0);
    give_incumbent(job, "{\"threads\": 2, \"flash-attn\": \"on\"}");
    assert_true(fail_alloc_each(try_all, job) > 50);
    kvat__job_free(job);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fingerprint_is_of_workload_model_engine_and_machine_alone),
        cmocka_unit_test(another_engine_version_or_model_is_another_fingerprint),
        cmocka_unit_test(earlier_winner_is_found_by_all_of_its_settings),
        cmocka_unit_test(one_that_this_run_does_not_try_is_none),
        cmocka_unit_test(without_one_nothing_is_found_or_said),
        cmocka_unit_test(one_that_is_clearly_beaten_is_replaced),
        cmocka_unit_test(what_became_of_it_is_said_with_the_chance),
        FOLDER_TEST(only_a_decision_is_remembered_and_the_next_run_takes_it_up),
        FOLDER_TEST(what_another_run_remembered_meanwhile_stays),
        FOLDER_TEST(what_cannot_be_read_is_neither_used_nor_replaced),
        cmocka_unit_test(a_stored_run_has_the_incumbent_of_its_start),
        cmocka_unit_test(every_failing_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
