// Tests of the verification's pure parts: a plan made concrete on the engine that is here, what changed, and the
// verdict. Must not start a worker.
#include "fail_alloc.h"
#include "job_fixture.h"
#include "verify_internal.h"

static const char plan_text[] =
    "{\"format\": \"kvat-plan/1\", \"kvat_version\": \"0.0.1\", \"engine\": {\"name\": \"pretend\", \"version\": "
    "\"1\", "
    "\"build\": \"\", \"flags\": null}, \"model\": {\"name\": \"toy\", \"identity\": \"sha256:0\"}, "
    "\"profile\": {\"name\": \"mine\", \"weights\": {\"ttft\": 0.5, \"decode\": 0.3, \"memory\": 0.2}, \"cells\": ["
    "{\"prompt_tokens\": 512, \"output_tokens\": 32, \"sequences\": 1, \"weight\": 0.75}, "
    "{\"prompt_tokens\": 1024, \"output_tokens\": 64, \"sequences\": 2, \"weight\": 0.25}]}, "
    "\"context_tokens\": 1088, \"sequences\": 2, \"label\": \"threads 2\", "
    "\"settings\": {\"threads\": 2, \"flash-attn\": \"on\"}, \"confidence\": {\"delta\": 0.02, \"elapsed_ns\": "
    "3000000000000}, "
    "\"figures\": {\"cells\": [{\"prompt_tokens\": 512, \"output_tokens\": 32, \"sequences\": 1, \"weight\": 0.75, "
    "\"ttft_s\": {\"value\": 2, \"low\": 1, \"high\": 3}, \"decode_tok_per_s\": {\"value\": 16, \"low\": 15, \"high\": "
    "17}}]}, "
    "\"environment\": {\"machine\": {\"cpu_model\": \"old\", \"cores\": 4}}, \"alternatives\": ["
    "{\"rank\": 1, \"label\": \"threads 2\", \"settings\": {\"threads\": 2, \"flash-attn\": \"on\"}}, "
    "{\"rank\": 2, \"label\": \"gone\", \"settings\": {\"threads\": 3, \"flash-attn\": \"on\"}}, "
    "{\"rank\": 3, \"label\": \"default\", \"settings\": {\"threads\": 4, \"flash-attn\": \"on\"}}, "
    "{\"rank\": 4, \"label\": \"odd\", \"settings\": {\"threads\": [], \"flash-attn\": 1.5}}, "
    "{\"rank\": 5, \"label\": \"threads 1\", \"settings\": {\"threads\": 1, \"flash-attn\": \"on\"}}, "
    "{\"rank\": 6, \"label\": \"again\", \"settings\": {\"threads\": 1}}, "
    "{\"rank\": 7, \"label\": \"flash-attn off\", \"settings\": {\"threads\": 4, \"flash-attn\": \"off\"}}, "
    "{\"rank\": 8, \"label\": \"one too many\", \"settings\": {\"threads\": 2, \"flash-attn\": \"off\"}}]}";

/* ---- workload ---- */

static void the_workload_is_the_plans_own(void **state) {
    (void)state;
    json_t *plan = fixture_json(plan_text);
    kvat_profile *profile = NULL;
    assert_int_equal(kvat__verify_profile(&profile, plan, NULL), KVAT_OK);
    assert_int_equal(profile->n_cells, 2);
    assert_int_equal(profile->cells[1].prompt_tokens, 1024);
    assert_int_equal(profile->cells[1].sequences, 2);
    assert_true(profile->cells[0].weight == 0.75 && profile->weight_memory == 0.2);
    assert_int_equal(kvat_profile_context_tokens(profile), 1088);
    kvat_profile_free(profile);
    json_decref(plan);
}

static void a_plan_without_a_workload_is_refused_by_member(void **state) {
    (void)state;
    static const struct {
        const char *profile, *words;
    } cases[] = {
        {"{\"name\": \"x\"}", "profile.cells"},
        {"{\"name\": \"x\", \"cells\": []}", "profile.weights"},
        {"{\"name\": \"x\", \"cells\": [], \"weights\": {\"ttft\": 1, \"decode\": 0, \"memory\": 0}}", "profile.cells"},
        {"{\"name\": \"x\", \"cells\": [{}], \"weights\": {\"ttft\": 1, \"decode\": 0, \"memory\": 0}}", "context"},
        {"{\"name\": \"x\", \"cells\": [7], \"weights\": {\"ttft\": 1, \"decode\": 0, \"memory\": 0}}", "context"},
        {"{\"name\": \"a b\", \"cells\": [], \"weights\": {}}", "profile.name"},
        {"{\"name\": \"x\", \"cells\": [{\"prompt_tokens\": 5, \"output_tokens\": 5, \"sequences\": 1, \"weight\": "
         "1}], "
         "\"weights\": {\"ttft\": 1, \"decode\": 1, \"memory\": 0}}",
         "weights"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *plan = json_pack("{s:o}", "profile", fixture_json(cases[i].profile));
        kvat_profile *profile = NULL;
        kvat_error err = KVAT_ERROR_INIT;
        assert_int_equal(kvat__verify_profile(&profile, plan, &err), KVAT_ERR_DATA);
        if (!strstr(err.message, cases[i].words)) fail_msg("%zu: \"%s\" lacks \"%s\"", i, err.message, cases[i].words);
        assert_int_equal(strncmp(err.message, "plan.", 5), 0);
        json_decref(plan);
    }
}

/* ---- sides ---- */

static kvat__side side_of(const kvat__job *job, const char *settings, char **refused) {
    kvat__side side = {0};
    kvat_error err = KVAT_ERROR_INIT;
    json_t *json = fixture_json(settings);
    if (kvat__side_make(&side, refused, job->knobs, json, "the plan", &err) != KVAT_OK) fail_msg("%s", err.message);
    json_decref(json);
    return side;
}

static void settings_stand_over_the_defaults(void **state) {
    (void)state;
    kvat__job *job = fixture_job(0);
    char *refused = NULL;
    kvat__side side = side_of(job, "{\"threads\": 2}", &refused);
    assert_null(refused);
    assert_int_equal(kvat_space_count(side.space), 1);
    json_t *expected = fixture_json("{\"threads\": 2, \"flash-attn\": \"on\"}");
    assert_true(json_equal(side.settings, expected));
    json_decref(expected);
    kvat__side_clear(&side);
    kvat__job_free(job);
}

static void what_the_engine_does_not_offer_is_said(void **state) {
    (void)state;
    static const struct {
        const char *settings, *words;
    } cases[] = {
        {"{\"threads\": 3}", "does not offer threads 3, but 1, 2, 4"},
        {"{\"flash-attn\": \"fast\"}", "does not offer flash-attn fast, but on, off"},
        {"{\"gear\": \"high\"}", "has no setting gear"},
        {"{\"threads\": 1.5}", "does not offer threads ?"},
    };
    kvat__job *job = fixture_job(0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *refused = NULL;
        kvat__side side = side_of(job, cases[i].settings, &refused);
        assert_non_null(refused);
        if (!strstr(refused, cases[i].words)) fail_msg("\"%s\" lacks \"%s\"", refused, cases[i].words);
        assert_null(side.space);
        free(refused);
    }
    kvat__job_free(job);
}

static void the_default_keeps_what_the_plans_command_fixed(void **state) {
    (void)state;
    const kvat_setting set[] = {{"threads", "1"}, {"gone", "x"}, {"flash-attn", "fast"}};
    kvat__job *job = fixture_job(0);
    kvat__side plain = {0}, fixed = {0};
    assert_int_equal(kvat__side_default(&plain, job->knobs, NULL, 0, NULL), KVAT_OK);
    assert_int_equal(kvat__side_default(&fixed, job->knobs, set, 3, NULL), KVAT_OK);
    assert_int_equal(json_integer_value(json_object_get(plain.settings, "threads")), 4);
    assert_int_equal(json_integer_value(json_object_get(fixed.settings, "threads")), 1);
    assert_string_equal(json_string_value(json_object_get(fixed.settings, "flash-attn")), "on");
    bool same = true;
    assert_int_equal(kvat__sides_equal(&same, job->knobs, job->context_tokens, &plain, &fixed, NULL), KVAT_OK);
    assert_false(same);
    assert_int_equal(kvat__sides_equal(&same, job->knobs, job->context_tokens, &plain, &plain, NULL), KVAT_OK);
    assert_true(same);
    kvat__side_clear(&plain);
    kvat__side_clear(&fixed);
    kvat__job_free(job);
}

static void rivals_are_the_strongest_that_can_be_set_here_and_are_others(void **state) {
    (void)state;
    kvat__job *job = fixture_job(0);
    json_t *plan = fixture_json(plan_text);
    kvat__side base = {0}, rivals[KVAT_VERIFY_RIVALS] = {{0}};
    size_t n = 0;
    char *refused = NULL;
    kvat__side own = side_of(job, "{\"threads\": 2, \"flash-attn\": \"on\"}", &refused);
    assert_int_equal(kvat__side_default(&base, job->knobs, NULL, 0, NULL), KVAT_OK);
    assert_int_equal(kvat__verify_rivals(rivals, &n, KVAT_VERIFY_RIVALS, plan, job, &own, &base, NULL), KVAT_OK);
    assert_int_equal(n, 2);
    assert_string_equal(rivals[0].label, "threads 1");
    assert_string_equal(rivals[1].label, "flash-attn off");
    for (size_t i = 0; i < n; i++) kvat__side_clear(&rivals[i]);
    kvat__side_clear(&own);
    kvat__side_clear(&base);
    json_decref(plan);
    kvat__job_free(job);
}

static void what_cannot_fit_by_its_forecast_is_told(void **state) {
    (void)state;
    static const struct {
        const char *model; /**< NULL: the engine has none */
        int64_t limit_bytes;
        const char *words; /**< NULL: it may be started */
    } told[] = {
        {NULL, 1, NULL},
        {"{\"cell_padding\": 1, \"weight_bytes\": 1048576, \"kv_groups\": [], \"types\": {\"f16\": {\"block\": 1, "
         "\"bytes\": 2}}}",
         1 << 19, "forecast 1.00 MiB > 512 KiB"},
        {"{\"cell_padding\": 1, \"weight_bytes\": 1048576, \"kv_groups\": [], \"types\": {\"f16\": {\"block\": 1, "
         "\"bytes\": 2}}}",
         1 << 21, NULL},
        {"{\"cell_padding\": 1, \"weight_bytes\": 1048576, \"kv_groups\": [], \"types\": {\"f16\": {\"block\": 1, "
         "\"bytes\": 2}}}",
         0, NULL},
    };
    for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
        kvat__job *job = fixture_job(0);
        kvat__side base = {0};
        char *too_large = NULL;
        if (told[i].model) json_object_set_new(job->describe, "memory_model", fixture_json(told[i].model));
        json_object_set_new(job->note, "memory_limit_bytes", json_integer((json_int_t)told[i].limit_bytes));
        assert_int_equal(kvat__side_default(&base, job->knobs, NULL, 0, NULL), KVAT_OK);
        assert_int_equal(kvat__side_forecast(&too_large, &base, job, NULL), KVAT_OK);
        assert_int_equal(too_large != NULL, told[i].words != NULL);
        if (too_large) assert_string_equal(too_large, told[i].words);
        free(too_large);
        kvat__side_clear(&base);
        kvat__job_free(job);
    }
}

/* ---- time ---- */

static void the_budget_is_asked_or_two_minutes_within_a_tenth_and_a_half_of_the_plans_run(void **state) {
    (void)state;
    static const struct {
        const char *plan;
        int64_t asked_s, expected_s;
    } cases[] = {
        {"{}", 0, 120},
        {"{\"confidence\": {\"elapsed_ns\": 3000000000000}}", 0, 300},
        {"{\"confidence\": {\"elapsed_ns\": 300000000000}}", 0, 120},
        {"{\"confidence\": {\"elapsed_ns\": 60000000000}}", 0, 30},
        {"{\"confidence\": {\"elapsed_ns\": 0}}", 0, 120},
        {"{\"confidence\": {\"elapsed_ns\": \"x\"}}", 0, 120},
        {"{\"confidence\": {\"elapsed_ns\": 3000000000000}}", 7, 7},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_verify_request request = KVAT_VERIFY_REQUEST_INIT;
        json_t *plan = fixture_json(cases[i].plan);
        request.plan = plan;
        request.time_ns = cases[i].asked_s * KVAT_NS_PER_S;
        assert_int_equal(kvat__verify_budget_ns(&request), cases[i].expected_s * KVAT_NS_PER_S);
        json_decref(plan);
    }
}

static void a_run_is_expected_to_take_what_the_figures_say(void **state) {
    (void)state;
    json_t *plan = fixture_json(plan_text), *none = fixture_json("{\"figures\": {\"cells\": [{}, 3]}}");
    assert_int_equal(kvat__verify_run_ns(plan), 4 * KVAT_NS_PER_S);
    assert_int_equal(kvat__verify_run_ns(none), 0);
    json_decref(plan);
    json_decref(none);
}

/* ---- what changed ---- */

static const kvat_verify_change *change_of(const kvat_verification *v, const char *what) {
    for (size_t i = 0; i < v->n_changes; i++)
        if (strcmp(v->changes[i].what, what) == 0) return &v->changes[i];
    return NULL;
}

static kvat_verification *changes_since(const char *member, const char *replacement) {
    kvat__job *job = fixture_job(0);
    json_t *plan = fixture_json(plan_text);
    json_t *machine = json_deep_copy(json_object_get(job->environment, "machine"));
    kvat_verification *v = calloc(1, sizeof *v);
    assert_int_equal(json_object_set_new(plan, "kvat_version", json_string(kvat_version())), 0);
    assert_int_equal(json_object_set_new(plan, "environment", json_pack("{s:o}", "machine", machine)), 0);
    if (member) assert_int_equal(json_object_set_new(plan, member, fixture_json(replacement)), 0);
    assert_int_equal(kvat__verify_changes(v, plan, job, NULL), KVAT_OK);
    json_decref(plan);
    kvat__job_free(job);
    return v;
}

static void nothing_has_changed_where_all_is_the_same(void **state) {
    (void)state;
    kvat_verification *v = changes_since(NULL, NULL);
    for (size_t i = 0; i < v->n_changes; i++) print_message("%s\n", v->changes[i].what);
    assert_int_equal(v->n_changes, 0);
    kvat_verification_free(v);
}

static void what_is_not_as_it_was_is_named_with_both_values(void **state) {
    (void)state;
    static const struct {
        const char *member, *value, *what, *then, *here;
    } cases[] = {
        {"engine", "{\"name\": \"pretend\", \"version\": \"0\"}", "engine version", "0", "1"},
        {"engine", "{\"name\": \"pretend\", \"version\": \"1\", \"flags\": [\"a\"]}", "engine flags", "[\"a\"]", ""},
        {"model", "{\"name\": \"toy\", \"identity\": \"sha256:9\"}", "model identity", "sha256:9", "sha256:0"},
        {"kvat_version", "\"0.0.1\"", "kvat version", "0.0.1", KVAT_VERSION_STRING},
        {"environment", "{\"machine\": {\"threads\": 9}}", "machine threads", "9", "4"},
        {"environment", "{\"machine\": {\"gone\": 1}}", "machine gone", "1", ""},
        {"profile", "{\"name\": \"x\", \"prompts_sha256\": \"ab\"}", "prompts", "ab", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_verification *v = changes_since(cases[i].member, cases[i].value);
        const kvat_verify_change *change = change_of(v, cases[i].what);
        if (!change) fail_msg("no change of %s", cases[i].what);
        assert_string_equal(change->then_is, cases[i].then);
        assert_string_equal(change->here, cases[i].here);
        kvat_verification_free(v);
    }
}

/* ---- the verdict ---- */

typedef struct told {
    bool rival;
    kvat_verdict verdict;
    int failed_side;
    size_t pairs;
    double value, half;
} told;

typedef struct case_of {
    told pairings[3];
    size_t n_pairings, rivals;
    bool is_default;
    kvat_verify_answer answer;
    size_t decisive;
    const char *words[3];
} case_of;

#define BETTER                                                                                                         \
    { false, KVAT_VERDICT_A, 0, 4, 0.1, 0.01 }
#define RIVAL(v, x)                                                                                                    \
    { true, KVAT_VERDICT_##v, 0, 4, x, 0.004 }

static const case_of cases[] = {
    {{BETTER}, 1, 0, false, KVAT_VERIFY_YES, SIZE_MAX, {"better than the engine's default in 4 fresh pairs"}},
    {{BETTER}, 1, 2, false, KVAT_VERIFY_YES, SIZE_MAX, {"no time for the plan's other configurations"}},
    {{BETTER, RIVAL(A, 0.05)},
     2,
     1,
     false,
     KVAT_VERIFY_YES,
     SIZE_MAX,
     {"strongest other configuration", "is not surely better"}},
    {{BETTER, RIVAL(UNDECIDED, 0)},
     2,
     2,
     false,
     KVAT_VERIFY_YES,
     SIZE_MAX,
     {"is not surely better by more than 1 %", "no time for the next"}},
    {{BETTER, RIVAL(UNDECIDED, 0), RIVAL(A, 0.1)}, 3, 2, false, KVAT_VERIFY_YES, SIZE_MAX, {"none of the 2 strongest"}},
    {{BETTER, RIVAL(B, -0.012)}, 2, 1, false, KVAT_VERIFY_YES, SIZE_MAX, {"not surely better by more than 1 %"}},
    {{BETTER, RIVAL(B, -0.05)},
     2,
     2,
     false,
     KVAT_VERIFY_NO,
     1,
     {"other 1 scores higher by 5.1 % (4.7 % to 5.5 %) in 4 fresh pairs"}},
    {{{false, KVAT_VERDICT_B, 0, 5, -0.1, 0.01}},
     1,
     2,
     false,
     KVAT_VERIFY_NO,
     0,
     {"other 0 scores higher by 10.5 % (9.4 % to 11.6 %) in 5 fresh pairs"}},
    {{{false, KVAT_VERDICT_B, 0, 4, -1, 0.95}},
     1,
     0,
     false,
     KVAT_VERIFY_NO,
     0,
     {"other 0 scores higher by more than 5.1 % in 4 fresh pairs"}},
    {{{false, KVAT_VERDICT_FAILED, 0, 0, NAN, NAN}},
     1,
     0,
     false,
     KVAT_VERIFY_NO,
     0,
     {"does not run here: crash (as told)"}},
    {{{false, KVAT_VERDICT_FAILED, 1, 0, NAN, NAN}},
     1,
     0,
     false,
     KVAT_VERIFY_YES,
     SIZE_MAX,
     {"the engine's default does not run here: crash (as told)"}},
    {{{false, KVAT_VERDICT_UNDECIDED, 0, 8, 0.001, 0.01}},
     1,
     0,
     false,
     KVAT_VERIFY_UNDECIDED,
     SIZE_MAX,
     {"8 fresh pairs could not tell it from other 0", "spread by about 2.0 %"}},
    {{{false, KVAT_VERDICT_UNDECIDED, 0, 0, NAN, NAN}},
     1,
     0,
     false,
     KVAT_VERIFY_UNDECIDED,
     SIZE_MAX,
     {"no clean pair against other 0"}},
    {{{false, KVAT_VERDICT_UNDECIDED, 0, 8, 0, 0.01}, RIVAL(B, -0.05)},
     2,
     1,
     false,
     KVAT_VERIFY_NO,
     1,
     {"other 1 scores higher"}},
    {{{0}}, 0, 0, true, KVAT_VERIFY_UNDECIDED, SIZE_MAX, {"the plan records nothing to compare it with"}},
    {{RIVAL(A, 0.05)},
     1,
     1,
     true,
     KVAT_VERIFY_YES,
     SIZE_MAX,
     {"what the engine does by itself", "is not surely better"}},
    {{RIVAL(B, -0.05)}, 1, 1, true, KVAT_VERIFY_NO, 0, {"other 0 scores higher"}},
};

static kvat_verification *verification_of(const case_of *c) {
    kvat_verification *v = calloc(1, sizeof *v);
    v->delta = 0.01;
    v->n_pairings = c->n_pairings;
    v->rivals = c->rivals;
    v->is_default = c->is_default;
    for (size_t i = 0; i < c->n_pairings; i++) {
        const told *t = &c->pairings[i];
        char label[32];
        snprintf(label, sizeof label, "other %zu", i);
        v->pairings[i] = (kvat_verify_pairing){.rival = t->rival, .label = strdup(label), .noise = log(1.02)};
        v->pairings[i].answer = (kvat_confirm_answer){.pairs = t->pairs,
                                                      .score = {t->value, t->value - t->half, t->value + t->half},
                                                      .verdict = t->verdict,
                                                      .failed_side = t->failed_side};
        if (t->verdict == KVAT_VERDICT_FAILED) v->pairings[i].failure = strdup("crash (as told)");
    }
    return v;
}

static void the_answer_follows_from_the_pairs(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const case_of *c = &cases[i];
        kvat_verification *v = verification_of(c);
        assert_int_equal(kvat__verify_judge(v, NULL), KVAT_OK);
        if (v->answer != c->answer || v->decisive != c->decisive)
            fail_msg("case %zu: %s, pairing %zu: %s", i, kvat_verify_word(v->answer), v->decisive, v->why);
        for (size_t w = 0; w < 3 && c->words[w]; w++)
            if (!strstr(v->why, c->words[w])) fail_msg("case %zu: \"%s\" lacks \"%s\"", i, v->why, c->words[w]);
        kvat_verification_free(v);
    }
}

static void settings_that_cannot_be_set_are_a_no(void **state) {
    (void)state;
    const case_of none = {0};
    kvat_verification *v = verification_of(&none);
    v->refused = strdup("the engine here has no setting gear");
    assert_int_equal(kvat__verify_judge(v, NULL), KVAT_OK);
    assert_int_equal(v->answer, KVAT_VERIFY_NO);
    assert_string_equal(v->why, "the engine here has no setting gear");
    kvat_verification_free(v);
}

/* ---- without memory ---- */

static kvat_status make_sides(const kvat__job *job, const json_t *plan, kvat_error *err) {
    kvat__side own = {0}, base = {0}, rivals[KVAT_VERIFY_RIVALS] = {{0}};
    char *refused = NULL;
    size_t n = 0;
    kvat_status status =
        kvat__side_make(&own, &refused, job->knobs, json_object_get(plan, "settings"), "the plan", err);
    if (status == KVAT_OK) status = kvat__side_default(&base, job->knobs, NULL, 0, err);
    if (status == KVAT_OK) status = kvat__verify_rivals(rivals, &n, KVAT_VERIFY_RIVALS, plan, job, &own, &base, err);
    for (size_t i = 0; i < n; i++) kvat__side_clear(&rivals[i]);
    kvat__side_clear(&own);
    kvat__side_clear(&base);
    free(refused);
    return status;
}

typedef struct attempt {
    const kvat__job *job;
    const json_t *plan;
} attempt;

static kvat_status try_all(void *context, kvat_error *err) {
    const attempt *a = context;
    kvat_profile *profile = NULL;
    kvat_verification *v = calloc(1, sizeof *v);
    kvat_status status = v ? KVAT_OK : kvat_fail(err, KVAT_ERR_NOMEM, "no memory for the test");
    if (status == KVAT_OK) status = kvat__verify_profile(&profile, a->plan, err);
    if (status == KVAT_OK) status = make_sides(a->job, a->plan, err);
    if (status == KVAT_OK) status = kvat__verify_changes(v, a->plan, a->job, err);
    if (status == KVAT_OK) status = kvat__verify_judge(v, err);
    kvat_profile_free(profile);
    kvat_verification_free(v);
    return status;
}

static void every_failing_allocation_is_survived(void **state) {
    (void)state;
    json_set_alloc_funcs(malloc, free);
    kvat__job *job = fixture_job(0);
    json_t *plan = fixture_json(plan_text);
    attempt a = {job, plan};
    assert_true(fail_alloc_each(try_all, &a) > 100);
    json_decref(plan);
    kvat__job_free(job);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_workload_is_the_plans_own),
        cmocka_unit_test(a_plan_without_a_workload_is_refused_by_member),
        cmocka_unit_test(settings_stand_over_the_defaults),
        cmocka_unit_test(what_the_engine_does_not_offer_is_said),
        cmocka_unit_test(the_default_keeps_what_the_plans_command_fixed),
        cmocka_unit_test(rivals_are_the_strongest_that_can_be_set_here_and_are_others),
        cmocka_unit_test(what_cannot_fit_by_its_forecast_is_told),
        cmocka_unit_test(the_budget_is_asked_or_two_minutes_within_a_tenth_and_a_half_of_the_plans_run),
        cmocka_unit_test(a_run_is_expected_to_take_what_the_figures_say),
        cmocka_unit_test(nothing_has_changed_where_all_is_the_same),
        cmocka_unit_test(what_is_not_as_it_was_is_named_with_both_values),
        cmocka_unit_test(the_answer_follows_from_the_pairs),
        cmocka_unit_test(settings_that_cannot_be_set_are_a_no),
        cmocka_unit_test(every_failing_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
