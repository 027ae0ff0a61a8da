/* Fallback rules: made from measured trials, and which of them hold. */
#include "unit/plan/plan_fixture.h"

static const kvat_plan_conditions unknown = KVAT_PLAN_CONDITIONS_INIT;

static size_t rules_with(const json_t *plan, const char *condition) {
    size_t n = 0, i;
    json_t *rule;
    json_array_foreach(at(plan, "fallback", NULL), i, rule) {
        n += at(rule, "when", condition) != NULL;
    }
    return n;
}

static void every_kind_of_rule_is_there(void **state) {
    (void)state;
    json_t *plan = plan_of(SAMPLE_WINNER);
    assert_true(rules_with(plan, "free_memory_below_bytes") >= 2);
    assert_int_equal(rules_with(plan, "context_above_tokens"), 1);
    assert_int_equal(rules_with(plan, "engine_version_not"), 1);
    assert_int_equal(rules_with(plan, "unsupported"), 1); /* flash attention; nothing else has a measured stand-in */
    json_decref(plan);
}

static void nothing_known_means_the_plan_itself(void **state) {
    (void)state;
    json_t *plan = plan_of(SAMPLE_WINNER);
    const json_t *settings = NULL;
    const char *advice = "x";
    int rule = 7;
    assert_int_equal(kvat_plan_resolve(&settings, &rule, &advice, plan, &unknown, NULL), KVAT_OK);
    assert_ptr_equal(settings, at(plan, "settings", NULL));
    assert_int_equal(rule, -1);
    assert_null(advice);
    json_decref(plan);
}

static const json_t *alternative_of(const json_t *plan, const json_t *settings) {
    size_t i;
    json_t *each;
    json_array_foreach(at(plan, "alternatives", NULL), i, each) {
        if (json_equal(at(each, "settings", NULL), settings)) return each;
    }
    return NULL;
}

/* With less and less memory the answer gets smaller, always fits while anything does, and is never lossy for a lossless
 * plan. */
static void too_little_memory_takes_the_best_that_fits(void **state) {
    (void)state;
    json_t *plan = plan_of(SAMPLE_WINNER);
    int64_t peak = json_integer_value(at(plan, "memory", "peak_bytes"));
    size_t changed = 0;
    for (int64_t available = peak * 2; available > peak / 2; available -= peak / 100) {
        kvat_plan_conditions conditions = KVAT_PLAN_CONDITIONS_INIT;
        conditions.free_memory_bytes = available;
        const json_t *settings = NULL;
        const char *advice = NULL;
        int rule;
        assert_int_equal(kvat_plan_resolve(&settings, &rule, &advice, plan, &conditions, NULL), KVAT_OK);
        const json_t *used = alternative_of(plan, settings);
        assert_non_null(used);
        assert_true(json_is_false(at(used, "lossy", NULL)));
        if (!advice) assert_true(json_integer_value(at(used, "peak_bytes", NULL)) <= available);
        const json_t *taken =
            rule < 0 ? NULL : at(json_array_get(at(plan, "fallback", NULL), (size_t)rule), "use", NULL);
        assert_ptr_equal(settings, taken ? taken : at(plan, "settings", NULL));
        if (available > peak * 106 / 100) assert_int_equal(rule, -1);
        changed += settings != at(plan, "settings", NULL);
    }
    assert_true(changed > 0);
    json_decref(plan);
}

static void where_nothing_fits_that_is_said(void **state) {
    (void)state;
    json_t *plan = plan_of(SAMPLE_WINNER);
    const json_t *settings = NULL;
    const char *advice = NULL;
    int rule = -1;
    kvat_plan_conditions conditions = KVAT_PLAN_CONDITIONS_INIT;
    conditions.free_memory_bytes = 1;
    assert_int_equal(kvat_plan_resolve(&settings, &rule, &advice, plan, &conditions, NULL), KVAT_OK);
    assert_int_equal(rule, 1); /* the smallest is used, although rule 0 says that it does not fit either */
    assert_ptr_equal(settings, at(json_array_get(at(plan, "fallback", NULL), 1), "use", NULL));
    assert_non_null(strstr(advice, "smaller"));
    json_decref(plan);
}

static void another_version_or_a_longer_context_advises_to_measure(void **state) {
    (void)state;
    json_t *plan = plan_of(SAMPLE_WINNER);
    static const struct {
        kvat_plan_conditions conditions;
        bool advises;
    } cases[] = {{{-1, -1, 8448, NULL, NULL}, false},
                 {{-1, -1, 8449, NULL, NULL}, true},
                 {{-1, -1, -1, "0.5.0", NULL}, false},
                 {{-1, -1, -1, "0.6.0", NULL}, true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const json_t *settings = NULL;
        const char *advice = NULL;
        int rule = -1;
        assert_int_equal(kvat_plan_resolve(&settings, &rule, &advice, plan, &cases[i].conditions, NULL), KVAT_OK);
        assert_ptr_equal(settings, at(plan, "settings", NULL));
        assert_int_equal(rule >= 0, cases[i].advises);
        if (cases[i].advises)
            assert_non_null(strstr(advice, "kvat tune qwen2.5-0.5b-q8_0.gguf --profile chat-agent"));
        else
            assert_null(advice);
    }
    json_decref(plan);
}

/* "Memory under X: dynamic cache and efficient attention", as far as that was measured to need less. */
static void a_smaller_cache_of_another_kind_stands_in_for_lack_of_memory(void **state) {
    (void)state;
    for (int measured = 0; measured < 2; measured++) {
        kvat_outcome *outcome = sample_outcome(SAMPLE_WINNER);
        int64_t peak = outcome->entries[outcome->winner].peak_bytes;
        free(outcome->peak_source);
        outcome->peak_source = strdup(KVAT_PEAK_OF_DEVICES "CUDA allocator");
        for (size_t i = 0; i < outcome->n_entries; i++) {
            kvat_entry *entry = &outcome->entries[i];
            bool small = measured && i > 2;
            json_decref(entry->settings);
            entry->settings = json_pack("{s:s, s:s}", "cache_implementation", small ? "dynamic" : "static",
                                        "sdpa_kernel", small ? "efficient" : "flash");
            entry->peak_bytes = small ? peak / 2 : peak;
        }
        json_t *plan = NULL;
        assert_int_equal(kvat_plan_make(&plan, outcome, outcome->winner, NULL), KVAT_OK);
        kvat_plan_conditions conditions = KVAT_PLAN_CONDITIONS_INIT;
        const json_t *settings = NULL;
        const char *advice = NULL;
        conditions.free_device_memory_bytes = peak;
        assert_int_equal(kvat_plan_resolve(&settings, NULL, &advice, plan, &conditions, NULL), KVAT_OK);
        assert_string_equal(json_string_value(at(settings, "cache_implementation", NULL)),
                            measured ? "dynamic" : "static");
        assert_string_equal(json_string_value(at(settings, "sdpa_kernel", NULL)), measured ? "efficient" : "flash");
        assert_int_equal(advice == NULL, measured);
        json_decref(plan);
        kvat_outcome_free(outcome);
    }
}

static void a_peak_of_devices_is_held_against_their_memory_alone(void **state) {
    (void)state;
    kvat_outcome *outcome = sample_outcome(SAMPLE_WINNER);
    json_t *plan = NULL;
    free(outcome->peak_source);
    outcome->peak_source = strdup(KVAT_PEAK_OF_DEVICES "NVML");
    assert_int_equal(kvat_plan_make(&plan, outcome, outcome->winner, NULL), KVAT_OK);
    assert_int_equal(rules_with(plan, "free_memory_below_bytes"), 0);
    assert_true(rules_with(plan, "free_device_memory_below_bytes") >= 2);
    for (int of_devices = 0; of_devices < 2; of_devices++) {
        kvat_plan_conditions conditions = KVAT_PLAN_CONDITIONS_INIT;
        const json_t *settings = NULL;
        const char *advice = NULL;
        int rule = 7;
        *(of_devices ? &conditions.free_device_memory_bytes : &conditions.free_memory_bytes) = 1;
        assert_int_equal(kvat_plan_resolve(&settings, &rule, &advice, plan, &conditions, NULL), KVAT_OK);
        assert_int_equal(rule, of_devices ? 1 : -1);
    }
    json_decref(plan);
    kvat_outcome_free(outcome);
}

static void peaks_of_different_sources_make_no_rule(void **state) {
    (void)state;
    static const char *const sources[] = {"VmHWM", KVAT_PEAK_OF_DEVICES "NVML", ""};
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        kvat_outcome *outcome = sample_outcome(SAMPLE_WINNER);
        json_t *plan = NULL;
        free(outcome->peak_source);
        outcome->peak_source = strdup(sources[i]);
        outcome->mixed_sources = true;
        assert_int_equal(kvat_plan_make(&plan, outcome, outcome->winner, NULL), KVAT_OK);
        assert_int_equal(rules_with(plan, "free_memory_below_bytes"), 0);
        assert_int_equal(rules_with(plan, "free_device_memory_below_bytes"), 0);
        assert_true(json_is_null(at(plan, "memory", "source")));
        assert_int_equal(kvat_plan_check(plan, NULL), KVAT_OK);
        json_decref(plan);
        kvat_outcome_free(outcome);
    }
}

static const char knobs_without_attention[] =
    "[{\"name\": \"flash-attn\", \"values\": [\"off\"]}, {\"name\": "
    "\"cache-type-k\", \"values\": [\"f16\", \"q8_0\"]}, "
    "{\"name\": \"cache-type-v\", \"values\": [\"f16\", \"q8_0\"]}, {\"name\": \"repack\", \"values\": [\"on\"]}]";

static void what_the_engine_does_not_offer_is_replaced(void **state) {
    (void)state;
    json_t *plan = plan_of(SAMPLE_WINNER), *knobs = json_loads(knobs_without_attention, 0, NULL);
    kvat_plan_conditions conditions = KVAT_PLAN_CONDITIONS_INIT;
    conditions.knobs = knobs;
    const json_t *settings = NULL, *own = at(plan, "settings", NULL);
    const char *advice = NULL;
    int rule = -1;
    assert_string_equal(json_string_value(json_object_get(own, "flash-attn")), "on");
    assert_int_equal(kvat_plan_resolve(&settings, &rule, &advice, plan, &conditions, NULL), KVAT_OK);
    assert_true(rule >= 0);
    assert_non_null(at(json_array_get(at(plan, "fallback", NULL), (size_t)rule), "when", "unsupported"));
    assert_string_equal(json_string_value(json_object_get(settings, "flash-attn")), "off");
    assert_null(advice);

    json_array_append_new(json_object_get(json_array_get(knobs, 0), "values"), json_string("on"));
    assert_int_equal(kvat_plan_resolve(&settings, &rule, &advice, plan, &conditions, NULL), KVAT_OK);
    assert_int_equal(rule, -1);
    assert_ptr_equal(settings, own);
    json_decref(knobs);
    json_decref(plan);
}

static void a_stand_in_that_is_not_offered_either_is_passed_over(void **state) {
    (void)state;
    json_t *plan = plan_of(SAMPLE_WINNER), *knobs = json_array();
    kvat_plan_conditions conditions = KVAT_PLAN_CONDITIONS_INIT;
    conditions.knobs = knobs;
    const json_t *settings = NULL;
    const char *advice = NULL;
    int rule = 7;
    assert_int_equal(kvat_plan_resolve(&settings, &rule, &advice, plan, &conditions, NULL), KVAT_OK);
    assert_int_equal(rule, -1);
    assert_ptr_equal(settings, at(plan, "settings", NULL));
    assert_non_null(strstr(advice, "measure again"));
    json_decref(knobs);
    json_decref(plan);
}

/* ---- memory and what the engine offers, together ---- */
/* The plan's winner has flash attention, and so has what stands in for lack of memory; without it all take more. */
static void what_is_offered_but_too_large_does_not_pass_as_fitting(void **state) {
    (void)state;
    json_t *plan = plan_of(SAMPLE_WINNER), *knobs = json_loads(knobs_without_attention, 0, NULL);
    int64_t peak = json_integer_value(at(plan, "memory", "peak_bytes"));
    const struct {
        int64_t available;
        bool fits;
    } cases[] = {{peak * 104 / 100, false}, /* the plan itself would be replaced for lack of memory, too */
                 {peak * 106 / 100, false},
                 {peak * 2, true},
                 {-1, true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_plan_conditions conditions = KVAT_PLAN_CONDITIONS_INIT;
        conditions.free_memory_bytes = cases[i].available;
        conditions.knobs = knobs;
        const json_t *settings = NULL;
        const char *advice = NULL;
        int rule = -1;
        assert_int_equal(kvat_plan_resolve(&settings, &rule, &advice, plan, &conditions, NULL), KVAT_OK);
        const json_t *taken = json_array_get(at(plan, "fallback", NULL), (size_t)rule);
        assert_non_null(at(taken, "when", "unsupported"));
        assert_ptr_equal(settings, at(taken, "use", NULL));
        assert_true(json_integer_value(at(alternative_of(plan, settings), "peak_bytes", NULL)) > peak);
        assert_int_equal(advice == NULL, cases[i].fits);
        if (advice) assert_non_null(strstr(advice, "would fit into the free memory is not offered"));
    }
    json_decref(knobs);
    json_decref(plan);
}

/* Nothing is known of these settings but the rules. */
static const char rules_of_cache[] =
    "[{\"when\": {\"free_memory_below_bytes\": 100}, \"use\": {\"cache\": \"small\"}, \"because\": \"\"},"
    " {\"when\": {\"free_memory_below_bytes\": 200}, \"use\": {\"cache\": \"medium\"}, \"because\": \"\"},"
    " {\"when\": {\"unsupported\": {\"cache\": \"large\"}}, \"use\": {\"cache\": \"huge\"}, \"because\": \"\"}]";

static void a_later_rule_than_the_one_that_fits_is_doubted(void **state) {
    (void)state;
    static const struct {
        const char *offered;
        int64_t available;
        int rule;
        const char *cache, *advice;
    } cases[] = {{"[\"small\", \"medium\", \"large\", \"huge\"]", 50, 0, "small", NULL},
                 {"[\"medium\", \"large\", \"huge\"]", 50, 1, "medium", "may need more"},
                 {"[\"medium\", \"large\", \"huge\"]", 150, 1, "medium", NULL},
                 {"[\"large\", \"huge\"]", 50, -1, "large", "may need more"},
                 {"[\"huge\"]", 50, 2, "huge", "may need more"},
                 {"[\"huge\"]", 250, 2, "huge", NULL},
                 {"[]", 50, -1, "large", "offers neither all settings"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *plan = plan_of(SAMPLE_WINNER), *values = json_loads(cases[i].offered, 0, NULL);
        json_t *knobs = json_pack("[{s:s, s:o}]", "name", "cache", "values", values);
        json_object_set_new(plan, "fallback", json_loads(rules_of_cache, 0, NULL));
        json_object_set_new(plan, "settings", json_pack("{s:s}", "cache", "large"));
        json_object_set_new(json_object_get(plan, "figures"), "peak_bytes", json_null());
        kvat_plan_conditions conditions = KVAT_PLAN_CONDITIONS_INIT;
        conditions.free_memory_bytes = cases[i].available;
        conditions.knobs = knobs;
        const json_t *settings = NULL;
        const char *advice = NULL;
        int rule = 7;
        assert_int_equal(kvat_plan_resolve(&settings, &rule, &advice, plan, &conditions, NULL), KVAT_OK);
        assert_int_equal(rule, cases[i].rule);
        assert_string_equal(json_string_value(json_object_get(settings, "cache")), cases[i].cache);
        assert_int_equal(advice != NULL, cases[i].advice != NULL);
        if (advice) assert_non_null(strstr(advice, cases[i].advice));
        json_decref(knobs);
        json_decref(plan);
    }
}

/* The advice of an earlier rule comes with the settings of a later one; the index is that of the settings. */
static void the_rule_named_is_the_one_whose_settings_are_used(void **state) {
    (void)state;
    json_t *plan = plan_of(SAMPLE_WINNER), *knobs = json_loads(knobs_without_attention, 0, NULL);
    json_t *rules = json_object_get(plan, "fallback"), *advising = NULL;
    for (size_t i = 0; i < json_array_size(rules) && !advising; i++)
        if (at(json_array_get(rules, i), "when", "engine_version_not")) advising = json_array_get(rules, i);
    assert_non_null(advising);
    json_array_insert(rules, 0, advising);
    kvat_plan_conditions conditions = KVAT_PLAN_CONDITIONS_INIT;
    conditions.engine_version = "0.6.0";
    const json_t *settings = NULL;
    const char *advice = NULL;
    int rule = -1;
    assert_int_equal(kvat_plan_resolve(&settings, &rule, &advice, plan, &conditions, NULL), KVAT_OK);
    assert_int_equal(rule, 0); /* it only advises, and nothing else fires */
    conditions.knobs = knobs;
    assert_int_equal(kvat_plan_resolve(&settings, &rule, &advice, plan, &conditions, NULL), KVAT_OK);
    assert_true(rule > 0);
    assert_ptr_equal(settings, at(json_array_get(rules, (size_t)rule), "use", NULL));
    assert_string_equal(advice, json_string_value(json_object_get(advising, "advise")));
    json_decref(knobs);
    json_decref(plan);
}

static void a_failed_or_lossy_configuration_is_no_stand_in(void **state) {
    (void)state;
    json_t *plan = plan_of(SAMPLE_WINNER), *rule;
    size_t i, seen = 0;
    json_array_foreach(at(plan, "fallback", NULL), i, rule) {
        const json_t *use = at(rule, "use", NULL);
        if (!use) continue;
        seen++;
        assert_string_equal(json_string_value(json_object_get(use, "cache-type-k")), "f16");
        assert_non_null(alternative_of(plan, use));
    }
    assert_true(seen >= 2);
    json_decref(plan);
}

static void a_plan_that_is_none_is_not_resolved(void **state) {
    (void)state;
    json_t *none = json_object();
    const json_t *settings = NULL;
    int rule;
    const char *advice;
    assert_int_equal(kvat_plan_resolve(&settings, &rule, &advice, none, &unknown, NULL), KVAT_ERR_DATA);
    assert_null(settings);
    json_decref(none);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_rule_is_there),
        cmocka_unit_test(nothing_known_means_the_plan_itself),
        cmocka_unit_test(too_little_memory_takes_the_best_that_fits),
        cmocka_unit_test(where_nothing_fits_that_is_said),
        cmocka_unit_test(another_version_or_a_longer_context_advises_to_measure),
        cmocka_unit_test(a_smaller_cache_of_another_kind_stands_in_for_lack_of_memory),
        cmocka_unit_test(a_peak_of_devices_is_held_against_their_memory_alone),
        cmocka_unit_test(what_the_engine_does_not_offer_is_replaced),
        cmocka_unit_test(a_stand_in_that_is_not_offered_either_is_passed_over),
        cmocka_unit_test(peaks_of_different_sources_make_no_rule),
        cmocka_unit_test(what_is_offered_but_too_large_does_not_pass_as_fitting),
        cmocka_unit_test(a_later_rule_than_the_one_that_fits_is_doubted),
        cmocka_unit_test(the_rule_named_is_the_one_whose_settings_are_used),
        cmocka_unit_test(a_failed_or_lossy_configuration_is_no_stand_in),
        cmocka_unit_test(a_plan_that_is_none_is_not_resolved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
