/* optimized_config.py: what is written into it for each kind of plan. That Python reads it as meant is tested in
 * tests/python, that the settings are in force in tests/engines/transformers. */
#include "unit/plan/plan_fixture.h"

#include "fail_alloc.h"
#include "transformers.h"

#define GOLDEN KVAT_SOURCE_DIR "/tests/golden/plan/optimized_config.head.txt"

static json_t *sample_plan(void) {
    json_t *plan = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    if (kvat_plan_read(&plan, KVAT_SOURCE_DIR "/fuzz/corpus/plan/transformers.json", &err) != KVAT_OK)
        fail_msg("%s", err.message);
    return plan;
}

static void put(kvat_buf *out, const json_t *plan, const kvat_snippet_target *target) {
    kvat_error err = KVAT_ERROR_INIT;
    if (kvat_snippet_put(out, plan, "python", target, &err) != KVAT_OK) fail_msg("%s", err.message);
}

static void has(const char *text, const char *part) {
    if (!strstr(text, part)) fail_msg("\"%s\" is not in:\n%s", part, text);
}

static void has_not(const char *text, const char *part) {
    if (strstr(text, part)) fail_msg("\"%s\" is in:\n%s", part, text);
}

static void lists_agree(void **state) {
    (void)state;
    size_t n = 0;
    const kvat_snippet *files = kvat_snippets_for(&n, "transformers");
    assert_int_equal(n, 1);
    assert_string_equal(files[0].file_name, "optimized_config.py");
    assert_int_equal(files[0].mode, 0755);
    assert_string_equal(kvat_snippet_format_of("transformers", files[0].file_name), "python");
    assert_string_equal(kvat_snippet_formats("transformers")[0], "python");
    assert_null(kvat_snippet_formats("transformers")[1]);
}

static void a_format_of_another_engine_is_refused(void **state) {
    (void)state;
    kvat_buf text = KVAT_BUF_INIT;
    kvat_error err = KVAT_ERROR_INIT;
    json_t *plan = sample_plan();
    assert_int_equal(kvat_snippet_put(&text, plan, "k8s", NULL, &err), KVAT_ERR_USAGE);
    assert_string_equal(err.message, "unknown format \"k8s\" for transformers: expected python");
    assert_int_equal(text.length, 0);
    json_decref(plan);
}

/* Removes `part` from `text`; it has to be there. */
static void cut(char *text, const char *part) {
    char *at = strstr(text, part);
    assert_non_null(at);
    memmove(at, at + strlen(part), strlen(at + strlen(part)) + 1);
}

/* All but the fixed text. To renew after a wanted change: KVAT_RENEW_GOLDEN=1 ctest -R unit/plan/test_transformers */
static void the_plan_is_written_as_data(void **state) {
    (void)state;
    json_t *plan = sample_plan();
    kvat_buf text = KVAT_BUF_INIT, golden = KVAT_BUF_INIT;
    put(&text, plan, NULL);
    cut(text.bytes, kvat__transformers_before);
    cut(text.bytes, kvat__transformers_after);
    FILE *file = fopen(GOLDEN, getenv("KVAT_RENEW_GOLDEN") ? "w+" : "r");
    assert_non_null(file);
    if (getenv("KVAT_RENEW_GOLDEN")) {
        assert_true(fputs(text.bytes, file) >= 0);
        rewind(file);
    }
    char block[4096];
    for (size_t n; (n = fread(block, 1, sizeof block, file)) > 0;) kvat_buf_put(&golden, block, n);
    fclose(file);
    assert_string_equal(text.bytes, golden.bytes);
    kvat_buf_clear(&text);
    kvat_buf_clear(&golden);
    json_decref(plan);
}

/* ---- the model ---- */
static void the_model_is_named_by_commit_or_path_or_asked_for(void **state) {
    (void)state;
    static const char commit[] = "060db6499f32faf8b98477b0a26969ef7d8b9987";
    static const char hub[] = "MODEL: str | None = \"Qwen/Qwen2.5-0.5B\"\n"
                              "REVISION: str | None = \"060db6499f32faf8b98477b0a26969ef7d8b9987\"\n";
    static const struct {
        const char *path, *home, *revision, *said;
    } cases[] = {
        {NULL, NULL, commit, hub},
        {"/home/ann/.cache/hub/models--Qwen/snapshots/060db6499f32faf8b98477b0a26969ef7d8b9987", "/home/ann", commit,
         hub},
        {"/srv/qwen", "/home/ann", commit, "MODEL: str | None = \"/srv/qwen\"\nREVISION: str | None = None\n"},
        {"/srv/qwen", NULL, NULL, "MODEL: str | None = \"/srv/qwen\"\nREVISION: str | None = None\n"},
        {"/home/ann/m/qwen", "/home/ann", NULL, "MODEL: str | None = os.path.expanduser(\"~/\") + \"m/qwen\"\n"},
        {NULL, NULL, NULL,
         "does not say where its model is: give the folder of a model with --model, load(FOLDER) or the "
         "variable MODEL.\nMODEL: str | None = None\n"},
    };
    json_t *plan = sample_plan(), *model = json_object_get(plan, "model");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const kvat_snippet_target target = {.model_path = cases[i].path, .home = cases[i].home};
        kvat_buf text = KVAT_BUF_INIT;
        json_object_set_new(model, "revision", cases[i].revision ? json_string(cases[i].revision) : json_null());
        put(&text, plan, &target);
        has(text.bytes, cases[i].said);
        has_not(text.bytes, "/home/ann");
        kvat_buf_clear(&text);
    }
    json_decref(plan);
}

/* Anything else may be a path, or lead to one. */
static void only_a_name_of_the_hub_is_taken_for_one(void **state) {
    (void)state;
    static const struct {
        const char *name;
        bool taken;
    } cases[] = {
        {"hf:gpt2", true},  {"gpt2", true},     {"hf:a/b-1.5_x", true}, {"hf:/srv/m", false},     {"hf:a/b/c", false},
        {"hf:../m", false}, {"hf:a/..", false}, {"hf:a/", false},       {"hf:", false},           {"hf:/", false},
        {"hf:~/m", false},  {"hf:a b", false},  {"hf:-rf", false},      {"hf:\xC3\xA4/b", false}, {"hf:a\nb", false},
    };
    json_t *plan = sample_plan();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_buf text = KVAT_BUF_INIT;
        json_object_set_new(json_object_get(plan, "model"), "name", json_string(cases[i].name));
        put(&text, plan, NULL);
        (cases[i].taken ? has : has_not)(text.bytes, "\nREVISION: str | None = \"060db6");
        (cases[i].taken ? has_not : has)(text.bytes, "\nMODEL: str | None = None\n");
        kvat_buf_clear(&text);
    }
    json_decref(plan);
}

static void random_weights_are_said_to_be_random(void **state) {
    (void)state;
    json_t *plan = sample_plan(), *model = json_object_get(plan, "model");
    kvat_buf text = KVAT_BUF_INIT;
    json_object_set_new(model, "revision", json_null());
    json_object_set_new(model, "synthetic", json_true());
    put(&text, plan, NULL);
    has(text.bytes, "# Random weights were measured: give the folder");
    kvat_buf_reset(&text);
    put(&text, plan, &(kvat_snippet_target){.model_path = "/srv/random"});
    has(text.bytes, "# Random weights were measured, and what they write is noise: give the folder");
    has(text.bytes, "MODEL: str | None = \"/srv/random\"");
    kvat_buf_clear(&text);
    json_decref(plan);
}

static void a_plan_tells_of_remote_code_and_never_switches_it_on(void **state) {
    (void)state;
    json_t *plan = sample_plan(), *model = json_object_get(plan, "model");
    kvat_buf text = KVAT_BUF_INIT;
    put(&text, plan, NULL);
    has(text.bytes, "\nREMOTE_CODE = False\n");
    has_not(text.bytes, "REMOTE CODE:");
    kvat_buf_reset(&text);
    json_object_set_new(model, "remote_code", json_true());
    put(&text, plan, NULL);
    has(text.bytes, "\nREMOTE_CODE = True  # measured with code that comes with the model");
    has(text.bytes,
        "\n# REMOTE CODE: the plan was measured with code that comes with the model. It runs here only where");
    has_not(text.bytes, "TRUST_REMOTE_CODE");
    kvat_buf_clear(&text);
    json_decref(plan);
}

static void a_plan_with_a_model_of_the_wrong_type_is_refused(void **state) {
    (void)state;
    static const char *const bad[][2] = {
        {"revision", "7"}, {"revision", "[]"}, {"remote_code", "\"yes\""}, {"remote_code", "1"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json_t *plan = sample_plan();
        kvat_error err = KVAT_ERROR_INIT;
        json_object_set_new(json_object_get(plan, "model"), bad[i][0], json_loads(bad[i][1], JSON_DECODE_ANY, NULL));
        assert_int_equal(kvat_plan_check(plan, &err), KVAT_ERR_DATA);
        has(err.message, bad[i][0]);
        json_decref(plan);
    }
}

/* ---- settings and rules ---- */
static void an_unknown_knob_is_said_to_be_missing(void **state) {
    (void)state;
    json_t *plan = sample_plan(), *settings = json_object_get(plan, "settings");
    kvat_buf text = KVAT_BUF_INIT;
    json_object_set_new(settings, "warp\nimport os", json_string("on\n`id`"));
    json_object_set_new(settings, "attn", json_integer(7));
    put(&text, plan, NULL);
    has(text.bytes, "\n# NOT IN FORCE: attn = 7 (kvat knows no such setting of Transformers)\n"
                    "# NOT IN FORCE: warp\\u{000A}import os = on\\u{000A}`id` (kvat");
    has_not(text.bytes, "\"attn\":");
    kvat_buf_clear(&text);
    json_decref(plan);
}

static void chunks_of_a_compiled_model_are_said_not_to_be(void **state) {
    (void)state;
    static const struct {
        const char *mode;
        int chunk;
        bool said;
    } cases[] = {{"none", 512, false}, {"default", 0, false}, {"default", 512, true}};
    json_t *plan = sample_plan(), *settings = json_object_get(plan, "settings");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_buf text = KVAT_BUF_INIT;
        json_object_set_new(settings, "compile_mode", json_string(cases[i].mode));
        json_object_set_new(settings, "prefill_chunk_size", json_integer(cases[i].chunk));
        put(&text, plan, NULL);
        (cases[i].said ? has : has_not)(text.bytes, "\n# NOT IN FORCE: prefill_chunk_size = 512 (with compile_mode");
        kvat_buf_clear(&text);
    }
    json_decref(plan);
}

/* What no machine lacks needs no rule, and what the file does not know it cannot judge. */
static void rules_that_never_hold_are_left_out(void **state) {
    (void)state;
    static const struct {
        const char *when; /* JSON */
        bool written;
    } cases[] = {
        {"{\"unsupported\": {\"attn_implementation\": \"sdpa\"}}", false},
        {"{\"unsupported\": {\"dtype\": \"bfloat16\"}}", false},
        {"{\"unsupported\": {\"cache_implementation\": \"dynamic\"}}", false},
        {"{\"unsupported\": {\"cache_implementation\": \"offloaded\"}}", true},
        {"{\"unsupported\": {\"attn_implementation\": \"flash_attention_2\"}}", true},
        {"{\"unsupported\": {\"device\": \"cuda:0\"}}", true},
        {"{\"unsupported\": {\"prefill_mkldnn\": \"on\"}}", true},
        {"{\"unsupported\": {\"compile_mode\": \"default\"}}", true},
        {"{\"unsupported\": {\"compile_mode\": \"none\"}}", false},
        {"{\"unsupported\": {\"warp\": \"on\"}}", false},
        {"{\"unsupported\": {}}", false},
        {"{\"moon_is_full\": true}", false},
        {"{\"free_device_memory_below_bytes\": 5}", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *plan = sample_plan();
        kvat_buf text = KVAT_BUF_INIT;
        json_object_set_new(plan, "fallback",
                            json_pack("[{s:o, s:s}]", "when", json_loads(cases[i].when, 0, NULL), "advise", "wait"));
        put(&text, plan, NULL);
        assert_int_equal(strstr(text.bytes, "\"advise\": \"wait\"") != NULL, cases[i].written);
        kvat_buf_clear(&text);
        json_decref(plan);
    }
}

/* Those without a measured peak say none, and neither does a plan whose trials were read from different sources. */
static void what_was_measured_as_peak_stands_with_the_settings(void **state) {
    (void)state;
    static const struct {
        const char *source, *of;
    } cases[] = {{"VmHWM", "\"host\""}, {KVAT_PEAK_OF_DEVICES, "\"devices\""}, {NULL, "None"}};
    json_t *plan = sample_plan(), *rule = json_array_get(json_object_get(plan, "fallback"), 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_buf text = KVAT_BUF_INIT;
        char wanted[96];
        json_t *peak =
            json_pack("{s:O, s:I}", "settings", json_object_get(rule, "use"), "peak_bytes", (json_int_t)7777);
        json_object_set_new(plan, "alternatives", i == 0 ? json_array() : json_pack("[o]", json_incref(peak)));
        json_object_set_new(json_object_get(plan, "memory"), "source",
                            cases[i].source ? json_string(cases[i].source) : json_null());
        put(&text, plan, NULL);
        snprintf(wanted, sizeof wanted, "\nPEAK_BYTES: int | None = 1171569051  # 1.09 GiB\nPEAK_OF: str | None = %s\n",
                 cases[i].of);
        has(text.bytes, wanted);
        (i == 0 ? has_not : has)(text.bytes, "\"peak_bytes\": 7777,  # ");
        kvat_buf_clear(&text);
        json_decref(peak);
    }
    json_decref(plan);
}

/* The file evaluates the rules where it runs: what a rule says of this moment has no place in it. */
static void settings_are_always_the_plans_own(void **state) {
    (void)state;
    json_t *plan = sample_plan(), *settings = json_pack("{s:s, s:i}", "dtype", "float32", "decode_threads", 3);
    kvat_buf text = KVAT_BUF_INIT, own = KVAT_BUF_INIT;
    put(&own, plan, NULL);
    put(&text, plan, &(kvat_snippet_target){.settings = settings});
    assert_string_equal(text.bytes, own.bytes);
    assert_true(kvat_snippet_has_rules("transformers", "python"));
    assert_false(kvat_snippet_has_rules("llamacpp", "preset"));
    assert_false(kvat_snippet_has_rules("llamacpp", "python"));
    assert_false(kvat_snippet_has_rules("sim", NULL));
    kvat_buf_clear(&text);
    kvat_buf_clear(&own);
    json_decref(settings);
    json_decref(plan);
}

static void hostile_text_stays_inside_its_literal(void **state) {
    (void)state;
    json_t *plan = sample_plan(), *model = json_object_get(plan, "model");
    kvat_buf text = KVAT_BUF_INIT;
    json_object_set_new(model, "revision", json_string(SAMPLE_HOSTILE_TEXT "\"\"\"\\"));
    json_object_set_new(json_object_get(plan, "settings"), "sdpa_kernel",
                        json_string("\"}\nimport os #" SAMPLE_HOSTILE_TEXT));
    put(&text, plan, NULL);
    has_not(text.bytes, "\nimport os #");
    has_not(text.bytes, "\nname|");
    has_not(text.bytes, "\xE2\x80\xAE");
    has_not(text.bytes, "\033");
    has(text.bytes, "\\\"\\\"\\\"\\\\\"\nREMOTE_CODE");
    kvat_buf_clear(&text);
    json_decref(plan);
}

static kvat_status write_and_free(void *context, kvat_error *err) {
    const json_t *plan = context;
    kvat_buf text = KVAT_BUF_INIT;
    kvat_status status = kvat_snippet_put(&text, plan, "python", NULL, err);
    if (status == KVAT_OK) has(text.bytes, "NOT IN FORCE: b = 1");
    kvat_buf_clear(&text);
    return status;
}

static void out_of_memory_is_said_and_nothing_goes_missing(void **state) {
    (void)state;
    json_t *plan = sample_plan();
    json_object_set_new(json_object_get(plan, "settings"), "b", json_integer(1));
    assert_true(fail_alloc_each(write_and_free, plan) > 0);
    json_decref(plan);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_agree),
        cmocka_unit_test(a_format_of_another_engine_is_refused),
        cmocka_unit_test(the_plan_is_written_as_data),
        cmocka_unit_test(the_model_is_named_by_commit_or_path_or_asked_for),
        cmocka_unit_test(only_a_name_of_the_hub_is_taken_for_one),
        cmocka_unit_test(random_weights_are_said_to_be_random),
        cmocka_unit_test(a_plan_tells_of_remote_code_and_never_switches_it_on),
        cmocka_unit_test(a_plan_with_a_model_of_the_wrong_type_is_refused),
        cmocka_unit_test(an_unknown_knob_is_said_to_be_missing),
        cmocka_unit_test(chunks_of_a_compiled_model_are_said_not_to_be),
        cmocka_unit_test(rules_that_never_hold_are_left_out),
        cmocka_unit_test(what_was_measured_as_peak_stands_with_the_settings),
        cmocka_unit_test(settings_are_always_the_plans_own),
        cmocka_unit_test(hostile_text_stays_inside_its_literal),
        cmocka_unit_test(out_of_memory_is_said_and_nothing_goes_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
