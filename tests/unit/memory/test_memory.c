/* Forecasts against figures an engine reported, and against impossible models.
 * Must not test engines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "fail_alloc.h"
#include "kvat/memory.h"

#define TYPES                                                                                                          \
    "\"types\":{\"f16\":{\"block\":1,\"bytes\":2},\"f32\":{\"block\":1,\"bytes\":4},\"q8_0\":{\"block\":32,\"bytes\":" \
    "34},"                                                                                                             \
    "\"q4_0\":{\"block\":32,\"bytes\":18}}"

static json_t *json_of(const char *text) {
    json_t *json = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    if (kvat_json_parse(&json, text, strlen(text), "test", &err) != KVAT_OK) fail_msg("%s", err.message);
    return json;
}

static kvat_memory_model *model_of(const char *text) {
    kvat_memory_model *model = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    json_t *json = json_of(text);
    if (kvat_memory_model_parse(&model, json, &err) != KVAT_OK) fail_msg("%s", err.message);
    json_decref(json);
    return model;
}

static const char *const qwen =
    "{\"cell_padding\":256,\"kv_groups\":[{\"layers\":24,\"k_elements\":128,\"v_elements\":128,\"window_tokens\":0}]"
    "," TYPES
    ",\"weight_bytes\":531000000,\"fixed_bytes\":60000000,\"ubatch_token_bytes\":40000,\"batch_token_bytes\":7}";

static int64_t kv_bytes(const kvat_memory_model *model, kvat_memory_setup setup) {
    kvat_memory_forecast forecast;
    kvat_error err = KVAT_ERROR_INIT;
    if (kvat_memory_forecast_make(&forecast, model, &setup, &err) != KVAT_OK) fail_msg("%s", err.message);
    return forecast.kv_bytes;
}

static void compute_follows_the_kind_of_attention(void **state) {
    (void)state;
    kvat_memory_model *model = model_of("{\"cell_padding\":256,\"kv_groups\":[]," TYPES
                                        ",\"weight_bytes\":1000,\"fixed_bytes\":5000,\"process_bytes\":70,\"ubatch_"
                                        "token_bytes\":9,\"compute_by_attention\":{"
                                        "\"on\":{\"fixed_bytes\":3,\"ubatch_token_bytes\":11},\"off\":{\"ubatch_token_"
                                        "bytes\":11,\"ubatch_cell_bytes\":2}}}");
    static const struct {
        const char *attention;
        int64_t compute_bytes, total_bytes;
    } cases[] = {
        {"on", 3 + 10 * 11, 70 + 1000 + 113},
        {"off", 10 * (11 + 512 * 2), 70 + 1000 + 10350}, /* 300 tokens take 512 cells */
        {"other", 10 * 9, 5000 + 1000 + 90},
        {NULL, 10 * 9, 5000 + 1000 + 90},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_memory_setup setup = {.type_k = "f16",
                                   .type_v = "f16",
                                   .context_tokens = 300,
                                   .sequences = 1,
                                   .ubatch_tokens = 10,
                                   .unified = true,
                                   .attention = cases[i].attention};
        kvat_memory_forecast forecast;
        assert_int_equal(kvat_memory_forecast_make(&forecast, model, &setup, NULL), KVAT_OK);
        assert_int_equal(forecast.compute_bytes, cases[i].compute_bytes);
        assert_int_equal(forecast.total_bytes, cases[i].total_bytes);
    }
    kvat_memory_model_free(model);
}

/* What llama.cpp reports for a Qwen2 of 0.5 B parameters: 24 layers, 128 elements of K and V a layer and token. */
static void kv_bytes_are_those_of_the_engine(void **state) {
    (void)state;
    static const struct {
        const char *type_k, *type_v;
        int64_t context_tokens, sequences;
        bool unified;
        int64_t kv_bytes;
    } cases[] = {
        {"f16", "f16", 4096, 1, false, 50331648},
        {"q8_0", "q8_0", 4096, 1, false, 26738688},
        {"q4_0", "q4_0", 4096, 1, false, 14155776},
        {"f16", "q8_0", 4096, 1, false, (50331648 + 26738688) / 2},
        {"f16", "f16", 4097, 1, false, 50331648 / 4096 * 4352},
        {"f16", "f16", 1, 1, false, 50331648 / 4096 * 256},
        /* shared by all sequences: as much as for one */
        {"f16", "f16", 4096, 4, true, 50331648},
        /* each its own: pad(pad(4100) / 3) = pad(1450) = 1536 cells, three times */
        {"f16", "f16", 4100, 3, false, 50331648 / 4096 * 1536 * 3},
        {"f16", "f16", 300, 8, false, 50331648 / 4096 * 256 * 8},
        {"f16", "f16", 1, 1024, false, INT64_C(50331648) / 4096 * 256 * 1024},
    };
    kvat_memory_model *model = model_of(qwen);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_memory_setup setup = {.type_k = cases[i].type_k,
                                   .type_v = cases[i].type_v,
                                   .context_tokens = cases[i].context_tokens,
                                   .sequences = cases[i].sequences,
                                   .unified = cases[i].unified};
        assert_int_equal(kv_bytes(model, setup), cases[i].kv_bytes);
    }
    kvat_memory_model_free(model);
}

static void window_layers_keep_the_window_and_one_physical_batch(void **state) {
    (void)state;
    /* one byte pair a token, layer and half: cells × 4 bytes for each of the two layers */
    const char *json = "{\"cell_padding\":256,\"kv_groups\":[{\"layers\":1,\"k_elements\":1,\"v_elements\":1},"
                       "{\"layers\":1,\"k_elements\":1,\"v_elements\":1,\"window_tokens\":512}]," TYPES "}";
    static const struct {
        int64_t context_tokens, sequences, ubatch_tokens;
        bool unified, window_full;
        int64_t full_cells, window_cells;
    } cases[] = {
        {8192, 1, 512, false, false, 8192, 1024},  {8192, 1, 100, false, false, 8192, 768},
        {8192, 1, 512, false, true, 8192, 8192},   {512, 1, 512, false, false, 512, 512},
        {8192, 4, 512, false, false, 8192, 4096},  {8192, 4, 512, true, false, 8192, 2560},
        {8192, 100, 512, true, false, 8192, 8192},
    };
    kvat_memory_model *model = model_of(json);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_memory_setup setup = {"f16",
                                   "f16",
                                   cases[i].context_tokens,
                                   cases[i].sequences,
                                   cases[i].ubatch_tokens,
                                   0,
                                   cases[i].unified,
                                   cases[i].window_full,
                                   NULL};
        assert_int_equal(kv_bytes(model, setup), 4 * (cases[i].full_cells + cases[i].window_cells));
    }
    kvat_memory_model_free(model);
}

static void total_is_the_sum_of_all_parts(void **state) {
    (void)state;
    kvat_memory_model *model = model_of(qwen);
    kvat_memory_forecast forecast;
    kvat_memory_setup setup = {"f16", "f16", 4096, 1, 512, 2048, false, false, NULL};
    assert_int_equal(kvat_memory_forecast_make(&forecast, model, &setup, NULL), KVAT_OK);
    assert_int_equal(forecast.weight_bytes, 531000000);
    assert_int_equal(forecast.compute_bytes, 512 * 40000 + 2048 * 7);
    assert_int_equal(forecast.total_bytes, 531000000 + 60000000 + 50331648 + forecast.compute_bytes);
    kvat_memory_model_free(model);
}

static void model_without_cache_has_none(void **state) {
    (void)state;
    kvat_memory_model *model = model_of("{\"kv_groups\":[]," TYPES ",\"weight_bytes\":5}");
    kvat_memory_forecast forecast;
    kvat_memory_setup setup = {"f16", "f16", 4096, 1, 0, 0, false, false, NULL};
    assert_int_equal(kvat_memory_forecast_make(&forecast, model, &setup, NULL), KVAT_OK);
    assert_int_equal(forecast.kv_bytes, 0);
    assert_int_equal(forecast.total_bytes, 5);
    kvat_memory_model_free(model);
}

static void wrong_models_are_refused_by_member(void **state) {
    (void)state;
    static const struct {
        const char *json, *says;
    } cases[] = {
        {"[]", "memory_model: expected an object"},
        {"{}", "memory_model.types"},
        {"{" TYPES "}", "memory_model.kv_groups"},
        {"{" TYPES ",\"kv_groups\":{}}", "memory_model.kv_groups: expected an array"},
        {"{" TYPES ",\"kv_groups\":[1]}", "memory_model.kv_groups[0]"},
        {"{" TYPES ",\"kv_groups\":[{}]}", "memory_model.kv_groups[0].layers"},
        {"{" TYPES ",\"kv_groups\":[{\"layers\":-1}]}", "memory_model.kv_groups[0].layers: expected an integer from 0"},
        {"{" TYPES ",\"kv_groups\":[{\"layers\":1,\"k_elements\":-2}]}", "memory_model.kv_groups[0].k_elements"},
        {"{" TYPES ",\"kv_groups\":[{\"layers\":1,\"k_elements\":2}]}", "memory_model.kv_groups[0].v_elements"},
        {"{" TYPES ",\"kv_groups\":[{\"layers\":1,\"k_elements\":2,\"v_elements\":2,\"window_tokens\":-1}]}",
         "kv_groups[0].window_tokens"},
        {"{" TYPES ",\"kv_groups\":[],\"cell_padding\":0}", "memory_model.cell_padding: expected an integer from 1"},
        {"{" TYPES ",\"kv_groups\":[],\"weight_bytes\":-1}", "memory_model.weight_bytes"},
        {"{" TYPES ",\"kv_groups\":[],\"fixed_bytes\":\"x\"}", "memory_model.fixed_bytes"},
        {"{\"types\":{\"f16\":1}}", "memory_model.types.f16"},
        {"{\"types\":{\"f16\":{\"block\":0,\"bytes\":2}}}", "memory_model.types.f16.block: expected an integer from 1"},
        {"{\"types\":{\"f16\":{\"block\":1,\"bytes\":0}}}", "memory_model.types.f16.bytes: expected an integer from 1"},
        {"{\"types\":{\"\":{\"block\":1,\"bytes\":2}}}", "memory_model.types: expected names of 1 to 64 bytes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_error err = KVAT_ERROR_INIT;
        kvat_memory_model *model = NULL;
        json_t *json = json_of(cases[i].json);
        if (kvat_memory_model_parse(&model, json, &err) != KVAT_ERR_DATA) fail_msg("accepted: %s", cases[i].json);
        assert_null(model);
        if (!strstr(err.message, cases[i].says)) fail_msg("\"%s\" does not say \"%s\"", err.message, cases[i].says);
        json_decref(json);
    }
}

static void endless_models_are_refused(void **state) {
    (void)state;
    json_t *json = json_of("{\"kv_groups\":[],\"types\":{}}");
    kvat_memory_model *model = NULL;
    for (int i = 0; i <= 4096; i++)
        json_array_append_new(json_object_get(json, "kv_groups"),
                              json_pack("{s:i,s:i,s:i}", "layers", 1, "k_elements", 1, "v_elements", 1));
    assert_int_equal(kvat_memory_model_parse(&model, json, NULL), KVAT_ERR_DATA);
    json_array_remove(json_object_get(json, "kv_groups"), 0);
    assert_int_equal(kvat_memory_model_parse(&model, json, NULL), KVAT_OK);
    kvat_memory_model_free(model);
    model = NULL;
    for (int i = 0; i <= 256; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%d", i);
        json_object_set_new(json_object_get(json, "types"), name, json_pack("{s:i,s:i}", "block", 1, "bytes", 2));
    }
    assert_int_equal(kvat_memory_model_parse(&model, json, NULL), KVAT_ERR_DATA);
    assert_null(model);
    json_decref(json);
}

static void impossible_setups_are_refused(void **state) {
    (void)state;
    static const struct {
        kvat_memory_setup setup;
        const char *says;
    } cases[] = {
        {{"q9", "f16", 1, 1, 0, 0, false, false, NULL}, "memory_model.types: no type \"q9\""},
        {{"f16", NULL, 1, 1, 0, 0, false, false, NULL}, "memory_model.types: no type \"\""},
        {{"q8_0", "f16", 1, 1, 0, 0, false, false, NULL},
         "kv_groups[0].k_elements: 80 is not divisible by the block of q8_0, 32"},
        {{"f16", "f16", 0, 1, 0, 0, false, false, NULL}, "at least 1"},
        {{"f16", "f16", 1, 0, 0, 0, false, false, NULL}, "at least 1"},
        {{"f16", "f16", 1, 1, -1, 0, false, false, NULL}, "at least 0"},
        {{"f16", "f16", INT64_MAX, 1, 0, 0, false, false, NULL}, "beyond 2^63"},
        {{"f16", "f16", INT64_MAX / 128, 1, 0, 0, false, false, NULL}, "beyond 2^63"},
        {{"f16", "f16", 1, INT64_MAX / 256, 0, 0, false, false, NULL}, "beyond 2^63"},
        {{"f16", "f16", 1, 1, INT64_MAX, 0, false, false, NULL}, "beyond 2^63"},
        {{"f16", "f16", 1, 1, 0, INT64_MAX, false, false, NULL}, "beyond 2^63"},
    };
    kvat_memory_model *model =
        model_of("{\"cell_padding\":256,\"kv_groups\":[{\"layers\":2,\"k_elements\":80,\"v_elements\":64}]," TYPES
                 ",\"ubatch_token_bytes\":2,\"batch_token_bytes\":2}");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_memory_forecast forecast = {.kv_bytes = -7};
        kvat_error err = KVAT_ERROR_INIT;
        assert_int_equal(kvat_memory_forecast_make(&forecast, model, &cases[i].setup, &err), KVAT_ERR_DATA);
        if (!strstr(err.message, cases[i].says)) fail_msg("\"%s\" does not say \"%s\"", err.message, cases[i].says);
        assert_int_equal(forecast.kv_bytes, -7);
    }
    kvat_memory_model_free(model);
}

static void huge_models_overflow_nowhere(void **state) {
    (void)state;
    static const char *const cases[] = {
        "{\"kv_groups\":[{\"layers\":1000000,\"k_elements\":9223372036854775807,\"v_elements\":9223372036854775807}]"
        "," TYPES "}",
        "{\"kv_groups\":[{\"layers\":1,\"k_elements\":1,\"v_elements\":1}],\"types\":{\"f16\":{\"block\":1,\"bytes\":"
        "9223372036854775807}}}",
        "{\"kv_groups\":[],\"weight_bytes\":9223372036854775807,\"fixed_bytes\":1," TYPES "}",
    };
    kvat_memory_setup setup = {"f16", "f16", 4096, 4, 512, 512, false, false, NULL};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_memory_model *model = model_of(cases[i]);
        kvat_memory_forecast forecast;
        assert_int_equal(kvat_memory_forecast_make(&forecast, model, &setup, NULL), KVAT_ERR_DATA);
        kvat_memory_model_free(model);
    }
}

static void window_beyond_counting_is_the_whole_cache(void **state) {
    (void)state;
    kvat_memory_model *model =
        model_of("{\"kv_groups\":[{\"layers\":1,\"k_elements\":1,\"v_elements\":1,\"window_tokens\":"
                 "9223372036854775807}]," TYPES "}");
    kvat_memory_setup setup = {"f16", "f16", 100, 4, 512, 0, true, false, NULL};
    assert_int_equal(kv_bytes(model, setup), 400);
    kvat_memory_model_free(model);
}

static kvat_status parse_step(void *context, kvat_error *err) {
    kvat_memory_model *model = NULL;
    kvat_status status = kvat_memory_model_parse(&model, context, err);
    kvat_memory_model_free(model);
    return status;
}

static void parsing_survives_every_failing_allocation(void **state) {
    (void)state;
    json_t *json = json_of(qwen);
    assert_int_equal(fail_alloc_each(parse_step, json), 3);
    json_decref(json);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kv_bytes_are_those_of_the_engine),
        cmocka_unit_test(window_layers_keep_the_window_and_one_physical_batch),
        cmocka_unit_test(total_is_the_sum_of_all_parts),
        cmocka_unit_test(model_without_cache_has_none),
        cmocka_unit_test(wrong_models_are_refused_by_member),
        cmocka_unit_test(endless_models_are_refused),
        cmocka_unit_test(impossible_setups_are_refused),
        cmocka_unit_test(huge_models_overflow_nowhere),
        cmocka_unit_test(window_beyond_counting_is_the_whole_cache),
        cmocka_unit_test(compute_follows_the_kind_of_attention),
        cmocka_unit_test(parsing_survives_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
