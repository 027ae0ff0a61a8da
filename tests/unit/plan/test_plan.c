/* best_plan.json: its members, its bytes, what it must not name, and what is refused when one is read. */
#include "unit/plan/plan_fixture.h"

#include <math.h>

#include "fail_alloc.h"

static void a_plan_names_everything_to_deploy(void **state) {
    (void)state;
    json_t *plan = plan_of(SAMPLE_WINNER);
    static const char *const members[] = {
        "format",         "kvat_version", "decision", "why",        "engine",      "model",       "profile",
        "context_tokens", "sequences",    "settings", "changed",    "label",       "lossy",       "gain",
        "confidence",     "noise",        "memory",   "figures",    "fallback",    "environment", "alternatives",
        "reproduce",      "created_utc",  "by_cell",  "worst_case", "pareto_front"};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        if (!json_object_get(plan, members[i])) fail_msg("member %s is missing", members[i]);
    assert_int_equal(json_object_size(plan), sizeof members / sizeof *members);
    assert_string_equal(json_string_value(at(plan, "format", NULL)), "kvat-plan/1");
    assert_string_equal(json_string_value(at(plan, "decision", NULL)), "winner");
    assert_int_equal(json_integer_value(at(plan, "settings", "threads")), 4);
    assert_int_equal(json_object_size(at(plan, "settings", NULL)), 9);
    assert_int_equal(json_object_size(at(plan, "changed", NULL)), 2);
    assert_int_equal(json_array_size(at(plan, "figures", "cells")), 3);
    assert_int_equal(json_integer_value(at(plan, "confidence", "of")), 12);
    assert_int_equal(json_array_size(at(plan, "alternatives", NULL)), 23);
    assert_string_equal(json_string_value(json_array_get(at(plan, "reproduce", NULL), 1)), "tune");
    assert_int_equal(json_array_size(at(plan, "by_cell", NULL)), 3);
    assert_string_equal(json_string_value(at(plan, "worst_case", "label")), json_string_value(at(plan, "label", NULL)));
    assert_int_equal(json_object_size(json_object_get(json_array_get(at(plan, "pareto_front", NULL), 1), "settings")),
                     9);
    json_decref(plan);
}

static void a_gain_comes_from_pairs_alone(void **state) {
    (void)state;
    json_t *plan = plan_of(SAMPLE_WINNER);
    const json_t *ratio = at(at(plan, "gain", NULL), "ttft_ratio", "value");
    assert_int_equal(json_integer_value(at(plan, "gain", "pairs")), 6);
    assert_true(fabs(json_real_value(ratio) - exp(-0.24)) < 1e-12);
    assert_string_equal(json_string_value(at(plan, "gain", "against")), "default");
    json_decref(plan);
    plan = plan_of(SAMPLE_UNDECIDED);
    assert_true(json_is_null(at(plan, "gain", NULL)));
    json_decref(plan);
    plan = plan_of(SAMPLE_DEFAULT); /* the pairs are the challenger's, not the default's */
    assert_true(json_is_null(at(plan, "gain", NULL)));
    json_decref(plan);
}

static void equal_outcomes_give_equal_bytes(void **state) {
    (void)state;
    kvat_buf a = KVAT_BUF_INIT, b = KVAT_BUF_INIT;
    json_t *first = plan_of(SAMPLE_WINNER), *second = plan_of(SAMPLE_WINNER);
    assert_int_equal(kvat_json_put_pretty(&a, first), KVAT_OK);
    assert_int_equal(kvat_json_put_pretty(&b, second), KVAT_OK);
    assert_string_equal(a.bytes, b.bytes);
    json_decref(first);
    json_decref(second);
    kvat_buf_clear(&a);
    kvat_buf_clear(&b);
}

static void a_plan_names_no_home_and_no_folder(void **state) {
    (void)state;
    static const sample_kind kinds[] = {SAMPLE_WINNER, SAMPLE_HOSTILE};
    for (size_t i = 0; i < 2; i++) {
        json_t *plan = plan_of(kinds[i]);
        kvat_buf text = KVAT_BUF_INIT;
        assert_int_equal(kvat_json_put(&text, plan), KVAT_OK);
        assert_null(strstr(text.bytes, "/home"));
        assert_null(strstr(text.bytes, "someone"));
        kvat_buf_clear(&text);
        json_decref(plan);
    }
}

static void what_does_not_work_makes_no_plan(void **state) {
    (void)state;
    kvat_outcome *outcome = sample_outcome(SAMPLE_INFEASIBLE);
    json_t *plan = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    assert_int_equal(kvat_plan_make(&plan, outcome, outcome->winner, &err), KVAT_ERR_INFEASIBLE);
    assert_int_equal(kvat_plan_make(&plan, outcome, 0, &err), KVAT_ERR_INFEASIBLE); /* an entry that failed */
    assert_null(plan);
    kvat_outcome_free(outcome);
}

static void a_lossy_plan_says_that_nobody_judged_it(void **state) {
    (void)state;
    kvat_outcome *outcome = sample_outcome(SAMPLE_WINNER);
    json_t *plan = NULL;
    assert_int_equal(kvat_plan_make(&plan, outcome, outcome->lossy_best, NULL), KVAT_OK);
    assert_true(json_is_false(at(plan, "verified_quality", NULL)));
    assert_true(json_is_true(at(plan, "lossy", NULL)));
    assert_int_equal(kvat_plan_check(plan, NULL), KVAT_OK);
    json_decref(plan);
    kvat_outcome_free(outcome);
}

/* What was set is lossy and may win all the same, without the default being lossy. */
static void the_chances_are_about_all_that_may_win(void **state) {
    (void)state;
    kvat_outcome *outcome = sample_outcome(SAMPLE_WINNER);
    json_t *plan = NULL;
    kvat_entry *set = &outcome->entries[outcome->lossy_best];
    assert_true(set->lossy && set->standing.clean_runs > 0);
    set->eligible = true;
    set->standing.p_good = 0.25;
    assert_int_equal(kvat_outcome_compared(outcome), 13);
    kvat_search_standing *other = &outcome->entries[outcome->default_entry].standing;
    assert_true(other->clean_runs > 0);
    static const kvat_config_state put_out[] = {KVAT_CONFIG_INFEASIBLE, KVAT_CONFIG_UNSTABLE, KVAT_CONFIG_SLOW};
    for (size_t i = 0; i < sizeof put_out / sizeof *put_out; i++) {
        other->state = put_out[i];
        assert_int_equal(kvat_outcome_compared(outcome), 12);
    }
    other->state = KVAT_CONFIG_ELIMINATED; /* may come back */
    assert_int_equal(kvat_outcome_compared(outcome), 13);
    assert_int_equal(kvat_plan_make(&plan, outcome, outcome->lossy_best, NULL), KVAT_OK);
    assert_int_equal(json_integer_value(at(plan, "confidence", "of")), 13);
    assert_true(json_real_value(at(plan, "confidence", "p_good")) == 0.25);
    json_decref(plan);
    kvat_outcome_free(outcome);
}

static void bytes_that_are_no_utf8_become_readable(void **state) {
    (void)state;
    kvat_outcome *outcome = sample_outcome(SAMPLE_WINNER);
    json_t *plan = NULL;
    free(outcome->model_file);
    outcome->model_file = strdup("/models/\xFF\xFEmodel.gguf");
    assert_int_equal(kvat_plan_make(&plan, outcome, outcome->winner, NULL), KVAT_OK);
    assert_string_equal(json_string_value(at(plan, "model", "file")), "\xEF\xBF\xBD\xEF\xBF\xBDmodel.gguf");
    json_decref(plan);
    kvat_outcome_free(outcome);
}

/* ---- reading ---- */
static void a_made_plan_passes_its_own_check(void **state) {
    (void)state;
    static const sample_kind kinds[] = {SAMPLE_WINNER, SAMPLE_DEFAULT, SAMPLE_UNDECIDED, SAMPLE_HOSTILE};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        json_t *plan = plan_of(kinds[i]);
        kvat_error err = KVAT_ERROR_INIT;
        if (kvat_plan_check(plan, &err) != KVAT_OK) fail_msg("%s", err.message);
        json_decref(plan);
    }
}

static void what_is_wrong_is_named(void **state) {
    (void)state;
    static const struct {
        const char *member, *with, *message;
    } cases[] = {
        {"format", "\"kvat-plan/9\"", "format"},
        {"format", "7", "format"},
        {"decision", "\"surely\"", "decision"},
        {"decision", "1", "decision"},
        {"engine", "\"llamacpp\"", "engine"},
        {"engine", "{\"name\": 3}", "engine.name"},
        {"model", "null", "model"},
        {"profile", "{}", "profile.name"},
        {"context_tokens", "0", "context_tokens"},
        {"context_tokens", "\"many\"", "context_tokens"},
        {"sequences", "-1", "sequences"},
        {"settings", "[]", "settings"},
        {"settings", "{\"threads\": 1.5}", "settings.threads"},
        {"settings", "{\"threads\": [1]}", "settings.threads"},
        {"changed", "{\"threads\": null}", "changed.threads"},
        {"figures", "{}", "figures.cells"},
        {"figures", "{\"cells\": [7]}", "cells"},
        {"figures", "{\"cells\": [{\"prompt_tokens\": 0}]}", "prompt_tokens"},
        {"figures", "{\"cells\": [{\"prompt_tokens\": 1, \"output_tokens\": 2, \"sequences\": 1, \"weight\": 7}]}",
         "weight"},
        {"figures",
         "{\"cells\": [{\"prompt_tokens\": 1, \"output_tokens\": 2, \"sequences\": 1, \"weight\": 1, "
         "\"ttft_s\": {\"value\": \"x\"}}]}",
         "ttft_s.value"},
        {"fallback", "{}", "fallback"},
        {"fallback", "[4]", "fallback[0]"},
        {"fallback", "[{\"when\": {}}]", "fallback[0].when"},
        {"fallback", "[{\"when\": {\"free_memory_below_bytes\": -1}, \"advise\": \"x\"}]", "fallback[0].when"},
        {"fallback", "[{\"when\": {\"context_above_tokens\": 1}}]", "advise"},
        {"fallback", "[{\"when\": {\"context_above_tokens\": 1}, \"use\": {\"a\": []}}]", "use.a"},
        {"fallback", "[{\"when\": {\"engine_version_not\": 5}, \"advise\": \"x\"}]", "fallback[0].when"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *plan = plan_of(SAMPLE_WINNER);
        kvat_error err = KVAT_ERROR_INIT;
        json_object_set_new(plan, cases[i].member, json_loads(cases[i].with, JSON_DECODE_ANY, NULL));
        if (kvat_plan_check(plan, &err) != KVAT_ERR_DATA) fail_msg("%s = %s passes", cases[i].member, cases[i].with);
        if (!strstr(err.message, cases[i].message)) fail_msg("\"%s\" does not name %s", err.message, cases[i].message);
        json_decref(plan);
    }
}

static void anything_but_an_object_is_refused(void **state) {
    (void)state;
    json_t *array = json_array();
    json_t *plan = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    assert_int_equal(kvat_plan_check(array, &err), KVAT_ERR_DATA);
    assert_int_equal(kvat_plan_check(NULL, &err), KVAT_ERR_DATA);
    assert_int_equal(kvat_plan_read(&plan, "/nonexistent/plan.json", &err), KVAT_ERR_DATA);
    assert_null(plan);
    json_decref(array);
}

static kvat_status make_and_free(void *context, kvat_error *err) {
    const kvat_outcome *outcome = context;
    json_t *plan = NULL;
    kvat_status status = kvat_plan_make(&plan, outcome, outcome->winner, err);
    if (status == KVAT_OK) assert_int_equal(json_object_size(plan), 26);
    json_decref(plan);
    return status;
}

static void out_of_memory_is_said(void **state) {
    (void)state;
    kvat_outcome *outcome = sample_outcome(SAMPLE_WINNER);
    outcome->n_entries = 3; /* every path, fewer repetitions */
    assert_true(fail_alloc_each(make_and_free, outcome) > 100);
    outcome->n_entries = 24;
    kvat_outcome_free(outcome);
}

int main(void) {
    json_set_alloc_funcs(malloc, free);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_names_everything_to_deploy),
        cmocka_unit_test(a_gain_comes_from_pairs_alone),
        cmocka_unit_test(equal_outcomes_give_equal_bytes),
        cmocka_unit_test(a_plan_names_no_home_and_no_folder),
        cmocka_unit_test(what_does_not_work_makes_no_plan),
        cmocka_unit_test(a_lossy_plan_says_that_nobody_judged_it),
        cmocka_unit_test(the_chances_are_about_all_that_may_win),
        cmocka_unit_test(bytes_that_are_no_utf8_become_readable),
        cmocka_unit_test(a_made_plan_passes_its_own_check),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(anything_but_an_object_is_refused),
        cmocka_unit_test(out_of_memory_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
