/* Knob declarations: what is read, what is refused, what is in force.
 * Must not test configurations. */
#include "fail_alloc.h"
#include "space_fixture.h"
#include "space_internal.h"

static void declaration_is_read_in_full(void **state) {
    (void)state;
    kvat_knobs *knobs = knobs_of(engine_json);
    assert_int_equal(kvat_knobs_count(knobs), 6);
    const kvat_knob *v = kvat_knobs_at(knobs, TYPE_V);
    assert_string_equal(v->name, "cache-type-v");
    assert_string_equal(v->concept_word, "kv.type.v");
    assert_int_equal(v->type, KVAT_KNOB_ENUM);
    assert_int_equal(v->scope, KVAT_SCOPE_CONTEXT);
    assert_int_equal(v->n_values, 3);
    assert_string_equal(v->values[2].text, "q4_0");
    assert_int_equal(v->values[0].numerics, KVAT_EXACT);
    assert_int_equal(v->values[2].numerics, KVAT_LOSSY);
    assert_true(v->values[1].searched);
    assert_false(v->values[2].searched);
    const kvat_knob *ubatch = kvat_knobs_at(knobs, UBATCH);
    assert_int_equal(ubatch->values[1].number, 256);
    assert_string_equal(ubatch->values[1].text, "256");
    assert_int_equal(ubatch->default_level, 2);
    assert_string_equal(ubatch->at_most[0], "batch-size");
    assert_null(ubatch->at_most[1]);
    assert_true(kvat_knobs_at(knobs, THREADS)->values[1].stable);
    assert_false(kvat_knobs_at(knobs, THREADS)->values[2].stable);
    assert_string_equal(kvat_knobs_at(knobs, REPACK)->help, "");
    assert_null(kvat_knobs_at(knobs, 6));
    kvat_knobs_free(knobs);
}

static void default_alone_is_searched_without_a_list(void **state) {
    (void)state;
    kvat_knobs *knobs = knobs_of(engine_json);
    assert_true(kvat_knobs_at(knobs, REPACK)->values[0].searched);
    assert_false(kvat_knobs_at(knobs, REPACK)->values[1].searched);
    kvat_knobs_free(knobs);
}

static void process_scope_says_how_it_is_given(void **state) {
    (void)state;
    kvat_knobs *knobs =
        knobs_of("[{\"name\":\"a\",\"type\":\"enum\",\"values\":[\"0\",\"1\"],\"default\":\"0\",\"scope\":"
                 "\"process\",\"apply\":{\"env\":\"GOMP_SPINCOUNT\"}},"
                 "{\"name\":\"b\",\"type\":\"enum\",\"values\":[\"0\",\"1\"],\"default\":\"0\",\"scope\":"
                 "\"process\",\"apply\":{\"arg\":\"--b\"}}]");
    assert_string_equal(kvat_knobs_at(knobs, 0)->apply_env, "GOMP_SPINCOUNT");
    assert_null(kvat_knobs_at(knobs, 0)->apply_arg);
    assert_string_equal(kvat_knobs_at(knobs, 1)->apply_arg, "--b");
    assert_null(kvat_knobs_at(knobs, 1)->apply_env);
    kvat_knobs_free(knobs);
}

static void knob_is_found_by_name_and_by_unambiguous_concept(void **state) {
    (void)state;
    kvat_knobs *knobs = knobs_of(
        "[{\"name\":\"a\",\"concept\":\"dtype\",\"type\":\"int\",\"values\":[1],\"default\":1,\"scope\":\"model\"},"
        "{\"name\":\"b\",\"concept\":\"x\",\"type\":\"int\",\"values\":[1],\"default\":1,\"scope\":\"model\"},"
        "{\"name\":\"c\",\"concept\":\"x\",\"type\":\"int\",\"values\":[1],\"default\":1,\"scope\":\"model\"}]");
    assert_int_equal(kvat_knobs_find(knobs, "b"), 1);
    assert_int_equal(kvat_knobs_find(knobs, "dtype"), 0);
    assert_true(kvat_knobs_find(knobs, "x") == SIZE_MAX);
    assert_true(kvat_knobs_find(knobs, "") == SIZE_MAX);
    assert_true(kvat_knobs_find(knobs, "d") == SIZE_MAX);
    kvat_knobs_free(knobs);
}

static void integers_are_compared_as_numbers(void **state) {
    (void)state;
    kvat_knobs *knobs =
        knobs_of("[{\"name\":\"n\",\"type\":\"int\",\"values\":[-1,512.0],\"default\":512,\"scope\":\"model\"}]");
    const kvat_knob *knob = kvat_knobs_at(knobs, 0);
    static const struct {
        const char *text;
        size_t level;
    } cases[] = {{"512", 1},
                 {"0512", 1},
                 {"-1", 0},
                 {"-01", 0},
                 {"513", SIZE_MAX},
                 {"512 ", SIZE_MAX},
                 {" 512", SIZE_MAX},
                 {"5e2", SIZE_MAX},
                 {"", SIZE_MAX},
                 {"-", SIZE_MAX},
                 {"+512", SIZE_MAX},
                 {"512.0", SIZE_MAX},
                 {"99999999999999999999999", SIZE_MAX}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (kvat_knob_level(knob, cases[i].text) != cases[i].level) fail_msg("\"%s\"", cases[i].text);
    kvat_knobs_free(knobs);
}

static void value_is_as_lossy_and_unstable_as_what_it_resolves_to(void **state) {
    (void)state;
    kvat_knobs *knobs =
        knobs_of("[{\"name\":\"t\",\"type\":\"enum\",\"values\":[\"auto\",\"best\",\"q8\"],\"default\":\"auto\","
                 "\"scope\":\"model\",\"numerics\":{\"q8\":\"lossy\"},\"stable\":[\"auto\",\"best\"],"
                 "\"aliases\":{\"auto\":\"best\",\"best\":\"q8\"}}]");
    const kvat_knob *knob = kvat_knobs_at(knobs, 0);
    assert_int_equal(knob->values[0].canonical, 2);
    assert_int_equal(knob->values[0].numerics, KVAT_LOSSY);
    assert_false(knob->values[0].stable);
    kvat_knobs_free(knobs);
}

static void hostile_names_are_kept_raw(void **state) {
    (void)state;
    static const char *const names[] = {"</script><img onerror=x>", "`$(id)`", "-rf", "\xe2\x80\xae txt"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        json_t *json = json_pack("[{s:s,s:s,s:[s],s:s,s:s}]", "name", names[i], "type", "enum", "values", names[i],
                                 "default", names[i], "scope", "model");
        kvat_knobs *knobs = NULL;
        assert_int_equal(kvat_knobs_parse(&knobs, json, NULL), KVAT_OK);
        assert_string_equal(kvat_knobs_at(knobs, 0)->name, names[i]);
        assert_string_equal(kvat_knobs_at(knobs, 0)->values[0].text, names[i]);
        kvat_knobs_free(knobs);
        json_decref(json);
    }
}

/* A declaration with one member of a valid knob replaced. */
#define KNOB(rest)                                                                                                     \
    "[{\"name\":\"k\",\"type\":\"enum\",\"values\":[\"a\",\"b\"],\"default\":\"a\",\"scope\":\"model\"" rest "}]"
#define INT_KNOB(rest) "[{\"name\":\"k\",\"type\":\"int\",\"values\":[1,2],\"default\":1,\"scope\":\"model\"" rest "}]"

static void wrong_declarations_are_refused_by_name(void **state) {
    (void)state;
    static const struct {
        const char *json, *says;
    } cases[] = {
        {"{}", "knobs: expected an array"},
        {"[1]", "knobs[0]: expected an object"},
        {"[{}]", "knobs[0].name"},
        {"[{\"name\":\"\"}]", "knobs[0].name: expected 1 to 64"},
        {"[{\"name\":\"a\\nb\"}]", "knobs[0].name: expected 1 to 64"},
        {"[{\"name\":\"\\u001b]0;x\\u0007\"}]", "without control characters"},
        {"[{\"name\":\"aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff12345\"}]",
         "knobs[0].name: expected 1 to 64"},
        {"[{\"name\":\"all\"}]", "knobs[0].name"},
        {"[{\"name\":\"context_tokens\"}]", "knobs[0].name"},
        {"[{\"name\":\"k\"}]", "knobs[0] (k).type"},
        {"[{\"name\":\"k\",\"type\":\"float\"}]", "knobs[0] (k).type: expected one of enum, ordinal, int"},
        {"[{\"name\":\"k\",\"type\":\"int\"}]", "knobs[0] (k).scope"},
        {"[{\"name\":\"k\",\"type\":\"int\",\"scope\":\"model\"}]", "(k).values"},
        {"[{\"name\":\"k\",\"type\":\"int\",\"scope\":\"model\",\"values\":[]}]", "(k).values: expected 1 to 256"},
        {"[{\"name\":\"k\",\"type\":\"int\",\"scope\":\"model\",\"values\":[\"1\"]}]",
         "(k).values[0]: expected an integer"},
        {"[{\"name\":\"k\",\"type\":\"int\",\"scope\":\"model\",\"values\":[1.5]}]",
         "(k).values[0]: expected an integer"},
        {"[{\"name\":\"k\",\"type\":\"int\",\"scope\":\"model\",\"values\":[1,1.0]}]",
         "(k).values[1]: \"1\" is there twice"},
        {"[{\"name\":\"k\",\"type\":\"enum\",\"scope\":\"model\",\"values\":[1]}]", "(k).values[0]: expected a string"},
        {"[{\"name\":\"k\",\"type\":\"enum\",\"scope\":\"model\",\"values\":[\"\"]}]",
         "(k).values[0]: expected a string"},
        {"[{\"name\":\"k\",\"type\":\"enum\",\"scope\":\"model\",\"values\":[\"a\",\"a\"]}]", "twice"},
        {"[{\"name\":\"k\",\"type\":\"enum\",\"scope\":\"model\",\"values\":[\"a\"]}]", "(k).default: missing"},
        {"[{\"name\":\"k\",\"type\":\"enum\",\"scope\":\"model\",\"values\":[\"a\"],\"default\":\"c\"}]",
         "(k).default"},
        {KNOB(",\"search\":[\"b\"]"), "(k).search: must hold the default"},
        {KNOB(",\"search\":[\"a\",\"c\"]"), "(k).search: item 1"},
        {KNOB(",\"search\":[]"), "(k).search"},
        {KNOB(",\"numerics\":\"good\""), "(k).numerics: expected exact, equivalent or lossy"},
        {KNOB(",\"numerics\":{\"c\":\"lossy\"}"), "(k).numerics: c is not"},
        {KNOB(",\"stable\":\"yes\""), "(k).stable"},
        {KNOB(",\"stable\":[\"c\"]"), "(k).stable: item 0"},
        {KNOB(",\"aliases\":{\"c\":\"a\"}"), "(k).aliases: c is not"},
        {KNOB(",\"aliases\":{\"a\":\"c\"}"), "(k).aliases.a"},
        {KNOB(",\"aliases\":{\"a\":\"b\",\"b\":\"a\"}"), "(k).aliases: a resolves to itself"},
        {KNOB(",\"at_most\":[\"context_tokens\"]"), "(k).at_most: only a knob of type int"},
        {INT_KNOB(",\"at_most\":[\"zzz\"]"), "(k).at_most[0]"},
        {INT_KNOB(",\"at_most\":[7]"), "(k).at_most[0]: expected a name"},
        {KNOB(",\"apply\":{\"env\":\"X\"}"), "(k).apply: only a knob of process scope"},
        {KNOB(",\"requires\":[{\"if\":[\"a\"]}]"), "(k).requires: expected"},
        {KNOB(",\"requires\":[{\"if\":[\"c\"],\"then\":{\"k\":[\"a\"]}}]"), "(k).requires.if"},
        {KNOB(",\"requires\":[{\"if\":[\"b\"],\"then\":{\"z\":[\"a\"]}}]"), "(k).requires: \"z\" is no knob"},
        {KNOB(",\"requires\":[{\"if\":[\"b\"],\"then\":{\"k\":[\"c\"]}}]"), "(k).requires.then"},
        {KNOB(",\"requires\":[{\"if\":[\"a\"],\"then\":{\"k\":[\"b\"]}}]"), "(k).requires: the defaults"},
        {"[{\"name\":\"k\",\"type\":\"int\",\"values\":[1],\"default\":1,\"scope\":\"process\"}]", "(k).apply"},
        {"[{\"name\":\"k\",\"type\":\"int\",\"values\":[1],\"default\":1,\"scope\":\"process\",\"apply\":{}}]",
         "either env or arg"},
        {"[{\"name\":\"k\",\"type\":\"int\",\"values\":[1],\"default\":1,\"scope\":\"process\",\"apply\":{\"env\":\"A="
         "B\"}}]",
         "(k).apply.env"},
        {"[{\"name\":\"k\",\"type\":\"int\",\"values\":[1],\"default\":1,\"scope\":\"process\",\"apply\":{\"env\":"
         "\"1A\"}}]",
         "(k).apply.env"},
        {"[{\"name\":\"k\",\"type\":\"int\",\"values\":[1],\"default\":1,\"scope\":\"process\",\"apply\":{\"arg\":\"\"}"
         "}]",
         "(k).apply.arg"},
        {"[{\"name\":\"k\",\"type\":\"int\",\"values\":[1],\"default\":1,\"scope\":\"model\"},"
         "{\"name\":\"k\",\"type\":\"int\",\"values\":[1],\"default\":1,\"scope\":\"model\"}]",
         "knobs[1].name: \"k\" is declared twice"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_error err = KVAT_ERROR_INIT;
        kvat_knobs *knobs = NULL;
        json_t *json = json_of(cases[i].json);
        if (kvat_knobs_parse(&knobs, json, &err) != KVAT_ERR_DATA) fail_msg("accepted: %s", cases[i].json);
        assert_null(knobs);
        if (!strstr(err.message, cases[i].says)) fail_msg("\"%s\" does not say \"%s\"", err.message, cases[i].says);
        json_decref(json);
    }
}

static void more_knobs_than_there_is_room_for_are_refused(void **state) {
    (void)state;
    json_t *array = json_array();
    for (int i = 0; i <= KVAT_KNOBS_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "k%d", i);
        json_array_append_new(array, json_pack("{s:s,s:s,s:[i],s:i,s:s}", "name", name, "type", "int", "values", 1,
                                               "default", 1, "scope", "model"));
    }
    kvat_knobs *knobs = NULL;
    assert_int_equal(kvat_knobs_parse(&knobs, array, NULL), KVAT_ERR_DATA);
    json_array_remove(array, 0);
    assert_int_equal(kvat_knobs_parse(&knobs, array, NULL), KVAT_OK);
    assert_int_equal(kvat_knobs_count(knobs), KVAT_KNOBS_MAX);
    kvat_knobs_free(knobs);
    json_decref(array);
}

static void more_rules_than_there_is_room_for_are_refused(void **state) {
    (void)state;
    json_t *array = json_of(KNOB(",\"requires\":[]"));
    json_t *rules = json_object_get(json_array_get(array, 0), "requires");
    kvat_knobs *knobs = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    for (int i = 0; i < KVAT__RULES_MAX; i++)
        json_array_append_new(rules, json_pack("{s:[s],s:{s:[s]}}", "if", "b", "then", "k", "b"));
    assert_int_equal(kvat_knobs_parse(&knobs, array, NULL), KVAT_OK);
    kvat_knobs_free(knobs);
    json_array_append(rules, json_array_get(rules, 0));
    assert_int_equal(kvat_knobs_parse(&knobs, array, &err), KVAT_ERR_DATA);
    assert_non_null(strstr(err.message, "more than 512 entries"));
    json_decref(array);
}

static void more_bounds_than_knobs_are_refused(void **state) {
    (void)state;
    json_t *array = json_of(INT_KNOB(",\"at_most\":[]"));
    json_t *names = json_object_get(json_array_get(array, 0), "at_most");
    kvat_knobs *knobs = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    for (int i = 0; i <= KVAT_KNOBS_MAX; i++) json_array_append_new(names, json_string("context_tokens"));
    assert_int_equal(kvat_knobs_parse(&knobs, array, &err), KVAT_ERR_DATA);
    assert_non_null(strstr(err.message, "at_most: expected at most 128"));
    json_decref(array);
}

static void effective_settings_follow_aliases_and_bounds(void **state) {
    (void)state;
    static const struct {
        int64_t context_tokens;
        const char *settings, *effective;
    } cases[] = {
        {8448, "{\"flash-attn\":\"auto\"}", "{\"flash-attn\":\"on\"}"},
        {8448, "{\"flash-attn\":\"off\",\"threads\":4}", "{\"flash-attn\":\"off\",\"threads\":4}"},
        {8448, "{\"batch-size\":2048,\"ubatch-size\":512}", "{\"batch-size\":2048,\"ubatch-size\":512}"},
        {8448, "{\"batch-size\":256,\"ubatch-size\":512}", "{\"batch-size\":256,\"ubatch-size\":256}"},
        {300, "{\"batch-size\":2048,\"ubatch-size\":512}", "{\"batch-size\":300,\"ubatch-size\":300}"},
        {100, "{\"ubatch-size\":128}", "{\"ubatch-size\":100}"},
        {0, "{\"batch-size\":2048}", "{\"batch-size\":2048}"},
        {100, "{}", "{}"},
    };
    kvat_knobs *knobs = knobs_of(engine_json);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *settings = json_of(cases[i].settings), *effective = NULL;
        assert_int_equal(kvat_knobs_effective(&effective, knobs, settings, cases[i].context_tokens, NULL), KVAT_OK);
        char *text = text_of(effective);
        assert_string_equal(text, cases[i].effective);
        free(text);
        json_decref(effective);
        json_decref(settings);
    }
    kvat_knobs_free(knobs);
}

static void mutual_bounds_settle_at_the_smaller(void **state) {
    (void)state;
    kvat_knobs *knobs = knobs_of(
        "[{\"name\":\"a\",\"type\":\"int\",\"values\":[7],\"default\":7,\"scope\":\"model\",\"at_most\":[\"b\",\"a\"]},"
        "{\"name\":\"b\",\"type\":\"int\",\"values\":[5],\"default\":5,\"scope\":\"model\",\"at_most\":[\"a\"]}]");
    json_t *settings = json_of("{\"a\":7,\"b\":5}"), *effective = NULL;
    assert_int_equal(kvat_knobs_effective(&effective, knobs, settings, 100, NULL), KVAT_OK);
    assert_int_equal(json_integer_value(json_object_get(effective, "a")), 5);
    assert_int_equal(json_integer_value(json_object_get(effective, "b")), 5);
    json_decref(effective);
    json_decref(settings);
    kvat_knobs_free(knobs);
}

static void unknown_settings_have_no_effective_values(void **state) {
    (void)state;
    static const char *const cases[] = {"{\"zzz\":1}", "{\"threads\":3}", "{\"threads\":\"2\"}",
                                        "{\"flash-attn\":true}", "[]"};
    kvat_knobs *knobs = knobs_of(engine_json);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *settings = json_of(cases[i]), *effective = NULL;
        kvat_error err = KVAT_ERROR_INIT;
        assert_int_equal(kvat_knobs_effective(&effective, knobs, settings, 0, &err), KVAT_ERR_DATA);
        assert_null(effective);
        assert_true(strncmp(err.message, "settings", 8) == 0);
        json_decref(settings);
    }
    kvat_knobs_free(knobs);
}

static void words_name_scopes_and_numerics(void **state) {
    (void)state;
    assert_string_equal(kvat_scope_word(KVAT_SCOPE_REQUEST), "request");
    assert_string_equal(kvat_scope_word(KVAT_SCOPE_PROCESS), "process");
    assert_string_equal(kvat_numerics_word(KVAT_EXACT), "exact");
    assert_string_equal(kvat_numerics_word(KVAT_LOSSY), "lossy");
    assert_string_equal(kvat_scope_word((kvat_scope)77), "unknown");
}

static kvat_status effective_step(void *context, kvat_error *err) {
    json_t **both = context, *effective = NULL;
    kvat_knobs *knobs = NULL;
    kvat_status status = kvat_knobs_parse(&knobs, both[0], err);
    if (status == KVAT_OK) status = kvat_knobs_effective(&effective, knobs, both[1], 100, err);
    json_decref(effective);
    kvat_knobs_free(knobs);
    return status;
}

static kvat_status parse_step(void *context, kvat_error *err) {
    kvat_knobs *knobs = NULL;
    kvat_status status = kvat_knobs_parse(&knobs, context, err);
    kvat_knobs_free(knobs);
    return status;
}

static void parsing_survives_every_failing_allocation(void **state) {
    (void)state;
    json_t *json = json_of(engine_json);
    assert_true(fail_alloc_each(parse_step, json) > 30);
    json_t *both[] = {json, json_of("{\"threads\":1,\"flash-attn\":\"auto\"}")};
    assert_true(fail_alloc_each(effective_step, both) > 35);
    json_decref(both[1]);
    json_decref(json);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(declaration_is_read_in_full),
        cmocka_unit_test(default_alone_is_searched_without_a_list),
        cmocka_unit_test(process_scope_says_how_it_is_given),
        cmocka_unit_test(knob_is_found_by_name_and_by_unambiguous_concept),
        cmocka_unit_test(integers_are_compared_as_numbers),
        cmocka_unit_test(value_is_as_lossy_and_unstable_as_what_it_resolves_to),
        cmocka_unit_test(hostile_names_are_kept_raw),
        cmocka_unit_test(wrong_declarations_are_refused_by_name),
        cmocka_unit_test(more_knobs_than_there_is_room_for_are_refused),
        cmocka_unit_test(more_rules_than_there_is_room_for_are_refused),
        cmocka_unit_test(more_bounds_than_knobs_are_refused),
        cmocka_unit_test(effective_settings_follow_aliases_and_bounds),
        cmocka_unit_test(mutual_bounds_settle_at_the_smaller),
        cmocka_unit_test(unknown_settings_have_no_effective_values),
        cmocka_unit_test(words_name_scopes_and_numerics),
        cmocka_unit_test(parsing_survives_every_failing_allocation),
    };
    json_set_alloc_funcs(malloc, free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
