/* Workload profiles: built in, from JSON, changed on the command line, fitted to a model.
 * Must not test scores. */
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "fail_alloc.h"
#include "kvat/file.h"
#include "profile_internal.h"
#include "space_fixture.h"

static kvat_profile *builtin(const char *name) {
    kvat_profile *profile = NULL;
    assert_int_equal(kvat_profile_builtin(&profile, name, NULL), KVAT_OK);
    return profile;
}

static kvat_profile *parse(const char *text) {
    kvat_profile *profile = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    json_t *json = json_of(text);
    if (kvat_profile_parse(&profile, json, &err) != KVAT_OK) fail_msg("%s", err.message);
    json_decref(json);
    return profile;
}

/** "2048/64 2048/256×2 …" with the sequences when more than one; heap. */
static char *cells_of(const kvat_profile *profile) {
    kvat_buf out = KVAT_BUF_INIT;
    for (size_t i = 0; i < profile->n_cells; i++) {
        const kvat_cell *cell = &profile->cells[i];
        kvat_buf_printf(&out, "%s%lld/%lld", i ? " " : "", (long long)cell->prompt_tokens,
                        (long long)cell->output_tokens);
        if (cell->sequences > 1) kvat_buf_printf(&out, "x%lld", (long long)cell->sequences);
    }
    return kvat_buf_take(&out);
}

static void assert_cells(const kvat_profile *profile, const char *expected) {
    char *cells = cells_of(profile);
    assert_string_equal(cells, expected);
    free(cells);
    double sum = 0;
    for (size_t i = 0; i < profile->n_cells; i++) sum += profile->cells[i].weight;
    assert_true(fabs(sum - 1) < 1e-12);
}

static void builtin_profiles_are_those_of_the_manual(void **state) {
    (void)state;
    static const struct {
        const char *name, *cells;
        double ttft, decode, memory;
        int64_t context_tokens;
    } cases[] = {
        {"chat-agent", "2048/64 2048/256 4096/64 4096/256 8192/64 8192/256", .50, .35, .15, 8448},
        {"rag", "8192/256 8192/512 16384/256 16384/512 32768/256 32768/512", .35, .35, .30, 33280},
        {"longform", "4096/1024 4096/2048 8192/1024 8192/2048", .25, .50, .25, 10240},
        {"ci-micro", "512/32", .35, .50, .15, 544},
    };
    assert_int_equal(kvat_profile_builtin_count(), 4);
    assert_null(kvat_profile_builtin_name(4));
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(kvat_profile_builtin_name(i), cases[i].name);
        kvat_profile *profile = builtin(cases[i].name);
        assert_string_equal(profile->name, cases[i].name);
        assert_cells(profile, cases[i].cells);
        assert_true(profile->weight_ttft == cases[i].ttft && profile->weight_decode == cases[i].decode &&
                    profile->weight_memory == cases[i].memory);
        for (size_t c = 0; c < profile->n_cells; c++)
            assert_true(profile->cells[c].weight == 1.0 / (double)profile->n_cells);
        assert_int_equal(kvat_profile_context_tokens(profile), cases[i].context_tokens);
        assert_int_equal(kvat_profile_sequences(profile), 1);
        assert_true(profile->builtin);
        assert_int_equal(profile->runs, 1);
        kvat_profile_free(profile);
    }
}

static void unknown_profile_suggests_the_nearest(void **state) {
    (void)state;
    kvat_profile *profile = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    assert_int_equal(kvat_profile_find(&profile, "chat-agnet", &err), KVAT_ERR_USAGE);
    assert_string_equal(err.message, "no profile \"chat-agnet\"; did you mean chat-agent?");
    assert_int_equal(kvat_profile_find(&profile, "something", &err), KVAT_ERR_USAGE);
    assert_non_null(strstr(err.message, "built in are chat-agent, rag, longform and ci-micro"));
    assert_int_equal(kvat_profile_find(&profile, "/nonexistent/p", &err), KVAT_ERR_DATA);
    assert_int_equal(kvat_profile_find(&profile, "nonexistent.json", &err), KVAT_ERR_DATA);
    assert_null(profile);
}

static void profile_is_read_in_full(void **state) {
    (void)state;
    kvat_profile *profile = parse(
        "{\"$schema\":\"x\",\"name\":\"My.profile_1\",\"description\":\"mine\",\"context\":[4096,1024.0],\"output_"
        "tokens\":[16],"
        "\"batch\":[4,1],\"weights\":{\"ttft\":0.6,\"decode\":0.4},\"prompts\":{\"file\":\"a.txt\",\"prefix\":\"<u>\","
        "\"suffix\":\"</"
        "u>\"},\"slo\":{\"ttft\":\"500ms\",\"itl\":0.05},\"limits\":{\"memory\":\"2GiB\"},\"runs\":3,\"warmup\":2}");
    assert_string_equal(profile->name, "My.profile_1");
    assert_string_equal(profile->description, "mine");
    assert_cells(profile, "1024/16 4096/16 1024/16x4 4096/16x4");
    assert_int_equal(kvat_profile_sequences(profile), 4);
    assert_int_equal(kvat_profile_context_tokens(profile), 4112);
    assert_true(profile->weight_ttft == 0.6 && profile->weight_decode == 0.4 && profile->weight_memory == 0);
    assert_string_equal(profile->prompts_file, "a.txt");
    assert_string_equal(profile->prompts_prefix, "<u>");
    assert_string_equal(profile->prompts_suffix, "</u>");
    assert_int_equal(profile->limit_ttft_ns, 500000000);
    assert_int_equal(profile->limit_itl_ns, 50000000);
    assert_int_equal(profile->limit_memory_bytes, INT64_C(2) << 30);
    assert_int_equal(profile->runs, 3);
    assert_int_equal(profile->warmup, 2);
    assert_false(profile->builtin);
    kvat_profile_free(profile);
}

static void short_profile_has_the_documented_defaults(void **state) {
    (void)state;
    kvat_profile *profile = parse("{\"name\":\"p\",\"context\":[1],\"output_tokens\":[2]}");
    assert_string_equal(profile->description, "");
    assert_cells(profile, "1/2");
    assert_true(profile->weight_ttft == 0.50 && profile->weight_decode == 0.35 && profile->weight_memory == 0.15);
    assert_null(profile->prompts_file);
    assert_int_equal(profile->limit_memory_bytes, 0);
    assert_int_equal(profile->limit_ttft_ns, 0);
    assert_int_equal(profile->runs, 1);
    assert_int_equal(profile->warmup, 0);
    kvat_profile_free(profile);
}

static void cells_carry_their_own_weights_in_sorted_order(void **state) {
    (void)state;
    kvat_profile *profile = parse("{\"name\":\"p\",\"cells\":[{\"context\":8192,\"output_tokens\":256,\"weight\":0.25},"
                                  "{\"context\":2048,\"output_tokens\":64,\"batch\":2,\"weight\":0.5},{\"context\":"
                                  "2048,\"output_tokens\":64,\"weight\":0.25}]}");
    assert_cells(profile, "2048/64 8192/256 2048/64x2");
    assert_true(profile->cells[2].weight == 0.5);
    kvat_profile_free(profile);
}

static void weights_within_the_slack_are_scaled_to_one(void **state) {
    (void)state;
    kvat_profile *profile =
        parse("{\"name\":\"p\",\"weights\":{\"ttft\":0.3333333,\"decode\":0.3333333,\"memory\":0.3333333},\"cells\":[{"
              "\"context\":1,"
              "\"output_tokens\":2,\"weight\":0.3333333},{\"context\":2,\"output_tokens\":2,\"weight\":0.6666666}]}");
    assert_cells(profile, "1/2 2/2");
    assert_true(fabs(profile->weight_ttft + profile->weight_decode + profile->weight_memory - 1) < 1e-12);
    kvat_profile_free(profile);
}

#define P(rest)  "{\"name\":\"p\",\"context\":[512],\"output_tokens\":[32]," rest "}"
#define C(cells) "{\"name\":\"p\",\"cells\":" cells "}"

static void wrong_profiles_are_refused_by_member_and_range(void **state) {
    (void)state;
    static const struct {
        const char *json, *says;
    } cases[] = {
        {"[]", "profile: expected an object"},
        {"{}", "profile.name"},
        {"{\"name\":\"\"}", "profile.name: expected 1 to 64 of letters"},
        {"{\"name\":\"a b\"}", "profile.name: expected 1 to 64 of letters"},
        {"{\"name\":\"\\u001b]0;x\\u0007\"}", "profile.name: expected 1 to 64 of letters"},
        {"{\"name\":\"../../x\"}", "profile.name"},
        {"{\"name\":null}", "profile.name: must not be null"},
        {"{\"name\":\"p\",\"description\":\"a\\nb\"}", "profile.description: expected one line"},
        {"{\"name\":\"p\"}", "profile.context"},
        {"{\"name\":\"p\",\"context\":[512]}", "profile.output_tokens"},
        {"{\"name\":\"p\",\"context\":512}", "profile.context: expected an array"},
        {"{\"name\":\"p\",\"context\":[]}", "profile.context: expected 1 to 256 lengths, not 0"},
        {"{\"name\":\"p\",\"context\":[0]}", "profile.context[0]: expected an integer from 1 to 16777216"},
        {"{\"name\":\"p\",\"context\":[16777217]}", "profile.context[0]: expected an integer from 1 to 16777216"},
        {"{\"name\":\"p\",\"context\":[512,-1]}", "profile.context[1]: expected an integer from 1"},
        {"{\"name\":\"p\",\"context\":[1.5]}", "profile.context[0]: expected an integer"},
        {"{\"name\":\"p\",\"context\":[\"512\"]}", "profile.context[0]: expected an integer"},
        {"{\"name\":\"p\",\"context\":[512,512]}", "profile.context: 512 is there twice"},
        {"{\"name\":\"p\",\"context\":[512],\"output_tokens\":[1]}",
         "profile.output_tokens[0]: expected an integer from 2"},
        {P("\"batch\":[0]"), "profile.batch[0]: expected an integer from 1 to 1024"},
        {P("\"batch\":[1025]"), "profile.batch[0]: expected an integer from 1 to 1024"},
        {P("\"weihgts\":{}"), "profile.weihgts: unknown member; did you mean \"weights\"?"},
        {P("\"weights\":{\"ttft\":0.5}"), "profile.weights: ttft, decode and memory must sum to 1, not 0.5"},
        {P("\"weights\":{\"ttft\":0.5,\"decode\":0.4,\"memory\":0.2}"), "must sum to 1, not 1.1"},
        {P("\"weights\":{\"ttft\":-0.5,\"decode\":1,\"memory\":0.5}"),
         "profile.weights.ttft: expected a number from 0 to 1"},
        {P("\"weights\":{\"ttft\":1.5}"), "profile.weights.ttft: expected a number from 0 to 1"},
        {P("\"weights\":{\"speed\":1}"), "profile.weights.speed: unknown member"},
        {P("\"weights\":[]"), "profile.weights: expected an object"},
        {P("\"runs\":0"), "profile.runs: expected an integer from 1 to 1000"},
        {P("\"runs\":1001"), "profile.runs: expected an integer from 1 to 1000"},
        {P("\"warmup\":-1"), "profile.warmup: expected an integer from 0 to 1000"},
        {P("\"slo\":{\"ttft\":0}"), "profile.slo.ttft: expected a duration"},
        {P("\"slo\":{\"ttft\":-1}"), "profile.slo.ttft: expected a duration"},
        {P("\"slo\":{\"ttft\":\"soon\"}"), "profile.slo.ttft: expected a duration"},
        {P("\"slo\":{\"ttft\":[]}"), "profile.slo.ttft: expected a duration"},
        {P("\"slo\":{\"itl\":86401}"), "profile.slo.itl: expected a duration"},
        {P("\"slo\":{\"itl\":\"25h\"}"), "at most 86400 s"},
        {P("\"slo\":{\"itl\":1e-10}"), "profile.slo.itl: expected a duration"},
        {P("\"slo\":{\"tpot\":1}"), "profile.slo.tpot: unknown member"},
        {P("\"limits\":{\"memory\":0}"), "profile.limits.memory: expected a size"},
        {P("\"limits\":{\"memory\":\"much\"}"), "profile.limits.memory: expected a size"},
        {P("\"limits\":{\"memory\":1.5}"), "profile.limits.memory: expected a size"},
        {P("\"limits\":{\"memory\":null}"), "profile.limits.memory: must not be null"},
        {P("\"limits\":{\"power\":1}"), "profile.limits.power: unknown member"},
        {P("\"prompts\":\"a.txt\""), "profile.prompts: expected an object"},
        {P("\"prompts\":{\"file\":\"\"}"), "profile.prompts.file"},
        {P("\"prompts\":{\"url\":\"\"}"), "profile.prompts.url: unknown member"},
        {P("\"cells\":[]"), "profile.context: not together with cells"},
        {C("[]"), "profile.cells: expected 1 to 256 cells, not 0"},
        {C("[1]"), "profile.cells[0]: expected an object"},
        {C("[{\"context\":1,\"output_tokens\":2}]"), "profile.cells[0].weight"},
        {C("[{\"context\":1,\"output_tokens\":2,\"weight\":0}]"), "profile.cells[0].weight: expected more than 0"},
        {C("[{\"context\":1,\"output_tokens\":2,\"weight\":0.9}]"),
         "profile.cells: the weights must sum to 1, not 0.9"},
        {C("[{\"context\":1,\"output_tokens\":1,\"weight\":1}]"),
         "profile.cells[0].output_tokens: expected an integer from 2"},
        {C("[{\"context\":1,\"output_tokens\":2,\"batch\":0,\"weight\":1}]"),
         "profile.cells[0].batch: expected an integer from 1 to 1024"},
        {C("[{\"context\":1,\"output_tokens\":2,\"weight\":0.5},{\"context\":1,\"output_tokens\":2,\"weight\":0.5}]"),
         "profile.cells: context 1 with 2 output tokens is there twice"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_error err = KVAT_ERROR_INIT;
        kvat_profile *profile = NULL;
        json_t *json = json_of(cases[i].json);
        if (kvat_profile_parse(&profile, json, &err) != KVAT_ERR_DATA) fail_msg("accepted: %s", cases[i].json);
        assert_null(profile);
        if (!strstr(err.message, cases[i].says)) fail_msg("\"%s\" does not say \"%s\"", err.message, cases[i].says);
        json_decref(json);
    }
}

static void product_of_the_lists_is_bounded(void **state) {
    (void)state;
    kvat_buf text = KVAT_BUF_INIT;
    kvat_buf_puts(&text, "{\"name\":\"p\",\"output_tokens\":[2,3],\"context\":[1");
    for (int i = 2; i <= 128; i++) kvat_buf_printf(&text, ",%d", i);
    kvat_buf_puts(&text, "]");
    size_t end = text.length;
    kvat_buf_puts(&text, "}");
    kvat_profile *profile = parse(text.bytes);
    assert_int_equal(profile->n_cells, 256);
    kvat_profile_free(profile);
    text.length = end;
    kvat_buf_puts(&text, ",\"batch\":[1,2]}");
    kvat_error err = KVAT_ERROR_INIT;
    json_t *json = json_of(text.bytes);
    assert_int_equal(kvat_profile_parse(&profile, json, &err), KVAT_ERR_DATA);
    assert_string_equal(err.message, "profile: the lists make 512 cells, allowed are 1 to 256");
    json_decref(json);
    kvat_buf_clear(&text);
}

/* --- as JSON --- */

static void overlong_texts_are_refused_by_their_characters(void **state) {
    (void)state;
    static const struct {
        const char *in, *member;
        int max;
    } cases[] = {{NULL, "description", KVAT__PROFILE_MAX_LINE},
                 {"prompts", "file", KVAT__PROFILE_MAX_PATH},
                 {"prompts", "suffix", KVAT__PROFILE_MAX_TEXT}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_buf text = KVAT_BUF_INIT;
        for (int c = 0; c < cases[i].max; c++) kvat_buf_puts(&text, "\xc3\xa9");
        for (int over = 0; over <= 1; over++) {
            json_t *json =
                json_pack("{s:s,s:[i],s:[i],s:{}}", "name", "p", "context", 8, "output_tokens", 2, "prompts");
            json_t *owner = cases[i].in ? json_object_get(json, cases[i].in) : json;
            json_object_set_new(owner, cases[i].member, json_string(text.bytes));
            kvat_profile *profile = NULL;
            assert_int_equal(kvat_profile_parse(&profile, json, NULL), over ? KVAT_ERR_DATA : KVAT_OK);
            kvat_profile_free(profile);
            json_decref(json);
            kvat_buf_putc(&text, '.');
        }
        kvat_buf_clear(&text);
    }
}

static void json_reads_back_as_the_same_profile(void **state) {
    (void)state;
    static const char *const cases[] = {
        "{\"name\":\"p\",\"context\":[1,2,3],\"output_tokens\":[2],\"batch\":[1,8],\"slo\":{\"ttft\":\"1ms\",\"itl\":0."
        "0333}}",
        "{\"name\":\"p\",\"limits\":{\"memory\":\"1GiB\"},\"warmup\":7,\"cells\":[{\"context\":1,\"output_tokens\":2,"
        "\"weight\":0.3},"
        "{\"context\":3,\"output_tokens\":4,\"weight\":0.7}]}",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_profile *profile = parse(cases[i]), *again = NULL;
        json_t *json = NULL, *json_again = NULL;
        assert_int_equal(kvat_profile_json(&json, profile, NULL), KVAT_OK);
        assert_int_equal(kvat_profile_parse(&again, json, NULL), KVAT_OK);
        assert_int_equal(kvat_profile_json(&json_again, again, NULL), KVAT_OK);
        assert_true(json_equal(json, json_again));
        assert_int_equal(again->n_cells, profile->n_cells);
        assert_memory_equal(again->cells, profile->cells, profile->n_cells * sizeof *profile->cells);
        assert_int_equal(again->limit_ttft_ns, profile->limit_ttft_ns);
        assert_int_equal(again->limit_itl_ns, profile->limit_itl_ns);
        assert_int_equal(again->limit_memory_bytes, profile->limit_memory_bytes);
        json_decref(json);
        json_decref(json_again);
        kvat_profile_free(profile);
        kvat_profile_free(again);
    }
}

static void equal_products_are_written_as_lists(void **state) {
    (void)state;
    json_t *json = NULL;
    kvat_profile *profile = builtin("ci-micro");
    assert_int_equal(kvat_profile_json(&json, profile, NULL), KVAT_OK);
    char *text = text_of(json);
    assert_string_equal(text,
                        "{\"batch\":[1],\"context\":[512],\"description\":\"a quick check for continuous integration\","
                        "\"name\":\"ci-micro\",\"output_tokens\":[32],\"runs\":1,\"warmup\":0,"
                        "\"weights\":{\"decode\":0.5,\"memory\":0.15,\"ttft\":0.35}}");
    free(text);
    json_decref(json);
    kvat_profile_free(profile);
}

static void prompts_are_never_written(void **state) {
    (void)state;
    kvat_profile *profile =
        parse(P("\"prompts\":{\"file\":\"canary-1\",\"prefix\":\"canary-2\",\"suffix\":\"canary-3\"}"));
    json_t *json = NULL;
    assert_int_equal(kvat_profile_json(&json, profile, NULL), KVAT_OK);
    char *text = text_of(json);
    assert_null(strstr(text, "canary"));
    assert_null(strstr(text, "prompts"));
    free(text);
    json_decref(json);
    kvat_profile_free(profile);
}

/* --- overrides --- */

static kvat_status override(kvat_profile *profile, kvat_profile_overrides overrides, kvat_error *err) {
    return kvat_profile_override(profile, &overrides, err);
}

static kvat_profile_overrides lists(const char *context, const char *output_tokens, const char *batch) {
    kvat_profile_overrides overrides = KVAT_PROFILE_OVERRIDES_INIT;
    overrides.context = context;
    overrides.output_tokens = output_tokens;
    overrides.batch = batch;
    return overrides;
}

static void no_override_changes_nothing(void **state) {
    (void)state;
    kvat_profile *profile = builtin("chat-agent");
    assert_int_equal(override(profile, (kvat_profile_overrides)KVAT_PROFILE_OVERRIDES_INIT, NULL), KVAT_OK);
    assert_cells(profile, "2048/64 2048/256 4096/64 4096/256 8192/64 8192/256");
    assert_int_equal(profile->runs, 1);
    assert_int_equal(profile->warmup, 0);
    kvat_profile_free(profile);
}

static void lists_replace_lengths(void **state) {
    (void)state;
    static const struct {
        const char *profile, *context, *output_tokens, *batch, *cells;
    } cases[] = {
        {"ci-micro", "1024,256", NULL, NULL, "256/32 1024/32"},
        {"ci-micro", NULL, NULL, "1,2,4", "512/32 512/32x2 512/32x4"},
        {"ci-micro", "8", "4,2", "2,1", "8/2 8/4 8/2x2 8/4x2"},
        {"longform", "100", "50", NULL, "100/50"},
        {"longform", "512", NULL, NULL, "512/1024 512/2048"},
        {"longform", NULL, "128", NULL, "4096/128 8192/128"},
        {"longform", "9,7", NULL, NULL, "7/1024 7/2048 9/1024 9/2048"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_profile *profile = builtin(cases[i].profile);
        assert_int_equal(override(profile, lists(cases[i].context, cases[i].output_tokens, cases[i].batch), NULL),
                         KVAT_OK);
        assert_cells(profile, cases[i].cells);
        for (size_t c = 0; c < profile->n_cells; c++)
            assert_true(profile->cells[c].weight == 1.0 / (double)profile->n_cells);
        kvat_profile_free(profile);
    }
}

static const char *const uneven = "{\"name\":\"p\",\"cells\":[{\"context\":2048,\"output_tokens\":64,\"weight\":0.8},"
                                  "{\"context\":8192,\"output_tokens\":256,\"weight\":0.2}]}";

static void lists_of_the_same_length_keep_weights_and_pairs(void **state) {
    (void)state;
    kvat_profile *profile = parse(uneven);
    assert_int_equal(override(profile, lists("6000,1000", NULL, "3"), NULL), KVAT_OK);
    assert_cells(profile, "1000/64x3 6000/256x3");
    assert_true(profile->cells[0].weight == 0.8);
    kvat_profile_free(profile);
}

static void batches_repeat_uneven_pairs_without_mixing_them(void **state) {
    (void)state;
    kvat_profile *profile = parse(uneven);
    assert_int_equal(override(profile, lists(NULL, NULL, "1,4"), NULL), KVAT_OK);
    assert_cells(profile, "2048/64 8192/256 2048/64x4 8192/256x4");
    assert_true(profile->cells[0].weight == 0.25);
    kvat_profile_free(profile);
}

static void other_overrides_are_taken(void **state) {
    (void)state;
    kvat_profile *profile = builtin("chat-agent");
    kvat_profile_overrides overrides = KVAT_PROFILE_OVERRIDES_INIT;
    overrides.weights = "decode=0.75,ttft=25%";
    overrides.runs = 4;
    overrides.warmup = 0;
    overrides.prompts_file = "mine.txt";
    profile->warmup = 9;
    assert_int_equal(kvat_profile_override(profile, &overrides, NULL), KVAT_OK);
    assert_true(profile->weight_ttft == 0.25 && profile->weight_decode == 0.75 && profile->weight_memory == 0);
    assert_int_equal(profile->runs, 4);
    assert_int_equal(profile->warmup, 0);
    assert_string_equal(profile->prompts_file, "mine.txt");
    kvat_profile_free(profile);
}

static void wrong_overrides_name_the_flag_and_change_nothing(void **state) {
    (void)state;
    static const struct {
        kvat_profile_overrides overrides;
        const char *says;
    } cases[] = {
        {{"2048,", NULL, NULL, NULL, 0, -1, NULL}, "--context"},
        {{"", NULL, NULL, NULL, 0, -1, NULL}, "--context"},
        {{"0", NULL, NULL, NULL, 0, -1, NULL}, "--context"},
        {{"16777217", NULL, NULL, NULL, 0, -1, NULL}, "--context"},
        {{"5,5", NULL, NULL, NULL, 0, -1, NULL}, "--context: 5 is there twice"},
        {{"00000000000000000000000000000000000000000000012", NULL, NULL, NULL, 0, -1, NULL}, "--context"},
        {{NULL, "1", NULL, NULL, 0, -1, NULL}, "--output-tokens"},
        {{NULL, "x", NULL, NULL, 0, -1, NULL}, "--output-tokens"},
        {{NULL, NULL, "1025", NULL, 0, -1, NULL}, "--batch"},
        {{NULL, NULL, NULL, "ttft=0.5", 0, -1, NULL}, "--weights: ttft, decode and memory must sum to 1"},
        {{NULL, NULL, NULL, "ttft=0.5,ttft=0.5", 0, -1, NULL}, "--weights: ttft is there twice"},
        {{NULL, NULL, NULL, "speed=1", 0, -1, NULL}, "--weights: expected ttft=, decode= and memory="},
        {{NULL, NULL, NULL, "ttft", 0, -1, NULL}, "--weights: expected ttft="},
        {{NULL, NULL, NULL, "ttft=2", 0, -1, NULL}, "--weights"},
        {{NULL, NULL, NULL, "", 0, -1, NULL}, "--weights"},
        {{"8", NULL, NULL, NULL, -1, -1, "x"}, "--runs"},
        {{"8", NULL, NULL, NULL, 1001, -1, "x"}, "--runs"},
        {{"8", NULL, NULL, NULL, 5, -2, "x"}, "--warmup"},
    };
    kvat_profile *profile = builtin("ci-micro");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_error err = KVAT_ERROR_INIT;
        assert_int_equal(kvat_profile_override(profile, &cases[i].overrides, &err), KVAT_ERR_USAGE);
        if (!strstr(err.message, cases[i].says)) fail_msg("\"%s\" does not say \"%s\"", err.message, cases[i].says);
        assert_cells(profile, "512/32");
        assert_true(profile->weight_ttft == 0.35 && profile->runs == 1 && !profile->prompts_file);
    }
    kvat_profile_free(profile);
}

static void too_many_cells_by_overrides_are_refused(void **state) {
    (void)state;
    kvat_buf list = KVAT_BUF_INIT;
    for (int i = 1; i <= 65; i++) kvat_buf_printf(&list, "%s%d", i > 1 ? "," : "", i);
    kvat_profile *profile = builtin("longform");
    kvat_error err = KVAT_ERROR_INIT;
    assert_int_equal(override(profile, lists(NULL, NULL, list.bytes), &err), KVAT_ERR_USAGE);
    assert_string_equal(err.message, "--batch: makes 260 cells, allowed are at most 256");
    for (int i = 66; i <= 257; i++) kvat_buf_printf(&list, ",%d", i);
    assert_int_equal(override(profile, lists(NULL, NULL, list.bytes), &err), KVAT_ERR_USAGE);
    assert_string_equal(err.message, "--batch: more than 256 values");
    kvat_buf_clear(&list);
    kvat_profile_free(profile);
}

/* --- fit --- */

static void cells_over_the_training_context_are_left_out_of_builtin_profiles(void **state) {
    (void)state;
    kvat_profile *profile = builtin("chat-agent");
    assert_int_equal(kvat_profile_fit(profile, 4160, false, NULL), KVAT_OK);
    assert_cells(profile, "2048/64 2048/256 4096/64");
    assert_int_equal(profile->left_out, 3);
    assert_int_equal(kvat_profile_fit(profile, 0, false, NULL), KVAT_OK);
    assert_int_equal(kvat_profile_fit(profile, 4160, true, NULL), KVAT_OK);
    assert_int_equal(profile->n_cells, 3);
    kvat_profile_free(profile);
}

static void typed_lengths_over_the_training_context_are_refused_with_what_fits(void **state) {
    (void)state;
    kvat_error err = KVAT_ERROR_INIT;
    kvat_profile *profile = builtin("chat-agent");
    assert_int_equal(kvat_profile_fit(profile, 4160, true, &err), KVAT_ERR_DATA);
    assert_non_null(strstr(err.message, "the largest context that fits with 256 output tokens is 3904"));
    assert_int_equal(profile->n_cells, 6);
    assert_int_equal(kvat_profile_fit(profile, 1000, false, &err), KVAT_ERR_DATA);
    assert_non_null(strstr(err.message, "is 744"));
    assert_int_equal(kvat_profile_fit(profile, 256, false, &err), KVAT_ERR_DATA);
    assert_non_null(strstr(err.message, "output_tokens: 256 do not fit"));
    kvat_profile_free(profile);
    profile = parse(uneven);
    assert_int_equal(kvat_profile_fit(profile, 8447, false, &err), KVAT_ERR_DATA);
    assert_int_equal(kvat_profile_fit(profile, 8448, false, &err), KVAT_OK);
    kvat_profile_free(profile);
}

/* --- files --- */

static void write_file(const char *path, const char *text) {
    assert_int_equal(kvat_file_write(path, text, strlen(text), 0644, NULL), KVAT_OK);
}

static void prompts_path_counts_from_the_folder_of_the_profile(void **state) {
    (void)state;
    static const struct {
        const char *file;
        bool relative;
    } cases[] = {{"mine/prompts.txt", true}, {"/abs/prompts.txt", false}};
    char folder[] = "/tmp/kvat-test-XXXXXX", path[64], text[256], expected[128];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/p.json", folder);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(text, sizeof text,
                 "{\"name\":\"p\",\"context\":[8],\"output_tokens\":[2],\"prompts\":{\"file\":\"%s\"}}", cases[i].file);
        write_file(path, text);
        snprintf(expected, sizeof expected, "%s%s%s", cases[i].relative ? folder : "", cases[i].relative ? "/" : "",
                 cases[i].file);
        kvat_profile *profile = NULL;
        assert_int_equal(kvat_profile_find(&profile, path, NULL), KVAT_OK);
        assert_string_equal(profile->prompts_file, expected);
        kvat_profile_free(profile);
    }
    unlink(path);
    rmdir(folder);
}

static void oversized_or_broken_files_are_refused(void **state) {
    (void)state;
    char folder[] = "/tmp/kvat-test-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/p.json", folder);
    kvat_profile *profile = NULL;
    write_file(path, "{\"name\":");
    assert_int_equal(kvat_profile_find(&profile, path, NULL), KVAT_ERR_DATA);
    write_file(path, "");
    assert_int_equal(kvat_profile_find(&profile, path, NULL), KVAT_ERR_DATA);
    kvat_buf text = KVAT_BUF_INIT;
    kvat_buf_puts(&text, "{\"name\":\"p\",\"context\":[8],\"output_tokens\":[2]}");
    for (int i = 0; i < 1 << 20; i++) kvat_buf_putc(&text, ' ');
    write_file(path, text.bytes);
    assert_int_equal(kvat_profile_find(&profile, path, NULL), KVAT_ERR_DATA);
    assert_int_equal(kvat_profile_find(&profile, "/dev/zero", NULL), KVAT_ERR_DATA);
    assert_int_equal(kvat_profile_find(&profile, folder, NULL), KVAT_ERR_DATA);
    assert_null(profile);
    kvat_buf_clear(&text);
    unlink(path);
    rmdir(folder);
}

static void shipped_example_is_valid(void **state) {
    (void)state;
    kvat_error err = KVAT_ERROR_INIT;
    kvat_profile *profile = NULL;
    if (kvat_profile_find(&profile, KVAT_SOURCE_DIR "/examples/profile.json", &err) != KVAT_OK)
        fail_msg("%s", err.message);
    assert_int_equal(access(profile->prompts_file, R_OK), 0);
    kvat_profile_free(profile);
}

static const json_t *schema_member(const json_t *schema, const char *member, const char *in) {
    const json_t *owner = in ? json_object_get(json_object_get(schema, "properties"), in) : schema;
    const json_t *property = json_object_get(json_object_get(owner, "properties"), member);
    if (!property) fail_msg("the schema has no %s.%s", in ? in : "", member);
    return property;
}

static void assert_limits(const json_t *schema, int64_t low, int64_t high) {
    assert_int_equal(json_integer_value(json_object_get(schema, "minimum")), low);
    assert_int_equal(json_integer_value(json_object_get(schema, "maximum")), high);
}

static json_t *read_schema(void) {
    json_t *schema = NULL;
    assert_int_equal(kvat_json_read_file(&schema, KVAT_SOURCE_DIR "/schemas/profile.schema.json", NULL), KVAT_OK);
    return schema;
}

static void schema_has_the_limits_of_the_parser(void **state) {
    (void)state;
    static const struct {
        const char *in, *member;
        int max;
    } lengths[] = {{NULL, "description", KVAT__PROFILE_MAX_LINE},
                   {"prompts", "file", KVAT__PROFILE_MAX_PATH},
                   {"prompts", "prefix", KVAT__PROFILE_MAX_TEXT},
                   {"prompts", "suffix", KVAT__PROFILE_MAX_TEXT}};
    json_t *schema = read_schema();
    const json_t *defs = json_object_get(schema, "$defs");
    assert_limits(json_object_get(defs, "prompt_tokens"), 1, KVAT_PROFILE_MAX_TOKENS);
    assert_limits(json_object_get(defs, "output_tokens"), KVAT__PROFILE_MIN_OUTPUT, KVAT_PROFILE_MAX_TOKENS);
    assert_limits(json_object_get(defs, "batch"), 1, KVAT__PROFILE_MAX_BATCH);
    assert_limits(schema_member(schema, "runs", NULL), 1, KVAT__PROFILE_MAX_RUNS);
    assert_limits(schema_member(schema, "warmup", NULL), 0, KVAT__PROFILE_MAX_RUNS);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        const json_t *property = schema_member(schema, lengths[i].member, lengths[i].in);
        assert_int_equal(json_integer_value(json_object_get(property, "maxLength")), lengths[i].max);
    }
    json_decref(schema);
}

/** Does the parser know `member` in the object `in` (NULL: the profile)? Its value is wrong on purpose. */
static bool parser_knows(const char *member, const char *in) {
    json_t *json = json_pack("{s:n}", member);
    if (in) json = json_pack("{s:s,s:[i],s:[i],s:o}", "name", "p", "context", 8, "output_tokens", 2, in, json);
    kvat_error err = KVAT_ERROR_INIT;
    kvat_profile *profile = NULL;
    assert_int_equal(kvat_profile_parse(&profile, json, &err), KVAT_ERR_DATA);
    json_decref(json);
    return strstr(err.message, "must not be null") != NULL;
}

static void schema_and_parser_know_the_same_members(void **state) {
    (void)state;
    static const struct {
        const char *in;
        size_t members;
    } cases[] = {{NULL, 13}, {"weights", 3}, {"prompts", 3}, {"slo", 2}, {"limits", 1}};
    json_t *schema = read_schema();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *properties = json_object_get(schema, "properties"), *property;
        if (cases[i].in) properties = json_object_get(json_object_get(properties, cases[i].in), "properties");
        const char *member;
        assert_int_equal(json_object_size(properties), cases[i].members);
        json_object_foreach(properties, member, property) {
            if (!parser_knows(member, cases[i].in)) fail_msg("unknown to the parser: %s", member);
        }
    }
    json_decref(schema);
}

/** Words of a text, as blanks separate them. */
static size_t count_words(const char *text) {
    size_t words = 0;
    for (text += strspn(text, " \n"); *text; text += strspn(text, " \n")) {
        words++;
        text += strcspn(text, " \n");
    }
    return words;
}

static void every_builtin_profile_has_a_sample_prompt(void **state) {
    (void)state;
    for (size_t i = 0; i < kvat_profile_builtin_count(); i++) {
        char path[512];
        kvat_buf text = KVAT_BUF_INIT;
        snprintf(path, sizeof path, "%s/data/prompts/%s.txt", KVAT_SOURCE_DIR, kvat_profile_builtin_name(i));
        assert_int_equal(kvat_file_read(&text, path, 1 << 20, NULL), KVAT_OK);
        size_t words = count_words(text.bytes);
        if (words < 600 || words > 1200) fail_msg("%s: %zu words", path, words);
        kvat_buf_clear(&text);
    }
}

/* --- without memory --- */

typedef struct allocators {
    json_malloc_t allocate;
    json_free_t release;
} allocators;

static int jansson_may_fail(void **state) {
    static allocators before;
    json_get_alloc_funcs(&before.allocate, &before.release);
    json_set_alloc_funcs(malloc, free);
    *state = &before;
    return 0;
}

static int jansson_works(void **state) {
    const allocators *before = *state;
    json_set_alloc_funcs(before->allocate, before->release);
    return 0;
}

static kvat_status parse_step(void *context, kvat_error *err) {
    kvat_profile *profile = NULL;
    json_t *json = NULL;
    kvat_status status = kvat_profile_parse(&profile, context, err);
    if (status == KVAT_OK) status = kvat_profile_json(&json, profile, err);
    json_decref(json);
    kvat_profile_free(profile);
    return status;
}

static kvat_status builtin_step(void *context, kvat_error *err) {
    kvat_profile_overrides overrides = lists("1,2,3", "2,4", "1,2");
    kvat_profile *profile = NULL;
    overrides.prompts_file = "x";
    kvat_status status = kvat_profile_find(&profile, context, err);
    if (status == KVAT_OK) status = kvat_profile_override(profile, &overrides, err);
    kvat_profile_free(profile);
    return status;
}

static void profiles_survive_every_failing_allocation(void **state) {
    (void)state;
    json_t *json = json_of(P("\"prompts\":{\"file\":\"a\",\"prefix\":\"b\",\"suffix\":\"c\"},\"slo\":{\"ttft\":1},"
                             "\"limits\":{\"memory\":7}"));
    assert_true(fail_alloc_each(parse_step, json) > 20);
    json_decref(json);
    json = json_of(uneven);
    assert_true(fail_alloc_each(parse_step, json) > 15);
    json_decref(json);
    assert_true(fail_alloc_each(builtin_step, "longform") > 6);
}

/* jansson's reader itself does not survive all of its allocations failing, so only those of kvat do here. */
static void profile_files_survive_every_failing_allocation(void **state) {
    (void)state;
    assert_true(fail_alloc_each(builtin_step, KVAT_SOURCE_DIR "/examples/profile.json") > 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(builtin_profiles_are_those_of_the_manual),
        cmocka_unit_test(unknown_profile_suggests_the_nearest),
        cmocka_unit_test(profile_is_read_in_full),
        cmocka_unit_test(short_profile_has_the_documented_defaults),
        cmocka_unit_test(cells_carry_their_own_weights_in_sorted_order),
        cmocka_unit_test(weights_within_the_slack_are_scaled_to_one),
        cmocka_unit_test(wrong_profiles_are_refused_by_member_and_range),
        cmocka_unit_test(product_of_the_lists_is_bounded),
        cmocka_unit_test(overlong_texts_are_refused_by_their_characters),
        cmocka_unit_test(json_reads_back_as_the_same_profile),
        cmocka_unit_test(equal_products_are_written_as_lists),
        cmocka_unit_test(prompts_are_never_written),
        cmocka_unit_test(no_override_changes_nothing),
        cmocka_unit_test(lists_replace_lengths),
        cmocka_unit_test(lists_of_the_same_length_keep_weights_and_pairs),
        cmocka_unit_test(batches_repeat_uneven_pairs_without_mixing_them),
        cmocka_unit_test(other_overrides_are_taken),
        cmocka_unit_test(wrong_overrides_name_the_flag_and_change_nothing),
        cmocka_unit_test(too_many_cells_by_overrides_are_refused),
        cmocka_unit_test(cells_over_the_training_context_are_left_out_of_builtin_profiles),
        cmocka_unit_test(typed_lengths_over_the_training_context_are_refused_with_what_fits),
        cmocka_unit_test(prompts_path_counts_from_the_folder_of_the_profile),
        cmocka_unit_test(oversized_or_broken_files_are_refused),
        cmocka_unit_test(shipped_example_is_valid),
        cmocka_unit_test(schema_has_the_limits_of_the_parser),
        cmocka_unit_test(schema_and_parser_know_the_same_members),
        cmocka_unit_test(every_builtin_profile_has_a_sample_prompt),
        cmocka_unit_test_setup_teardown(profiles_survive_every_failing_allocation, jansson_may_fail, jansson_works),
        cmocka_unit_test(profile_files_survive_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
