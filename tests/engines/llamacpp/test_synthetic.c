/* Synthetic models: names, files, types, and that what is written is what the reader and the engine's type table
 * expect. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fail_alloc.h"
#include "ggml.h"
#include "gguf_types.h"
#include "model_facts.h"
#include "synthetic.h"
#include "tiny.h"

static char folder[64];

static int make_folder(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/kvat-synthetic-XXXXXX");
    return mkdtemp(folder) && setenv("KVAT_CACHE_DIR", folder, 1) == 0 ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static const char *config(const char *text) {
    static char name[160];
    char path[128];
    snprintf(path, sizeof path, "%s/config.json", folder);
    tiny_write(path, text);
    snprintf(name, sizeof name, "synthetic:%s", path);
    return name;
}

static void the_type_table_is_the_engines(void **state) {
    (void)state;
    for (uint32_t i = 0; i < GGML_TYPE_COUNT; i++) {
        const kvat_gguf_tensor_type *ours = kvat_gguf_tensor_type_get(i);
        if (ggml_blck_size((enum ggml_type)i) == 0) {
            assert_null(ours);
            continue;
        }
        assert_non_null(ours);
        assert_string_equal(ours->name, ggml_type_name((enum ggml_type)i));
        assert_int_equal(ours->block, ggml_blck_size((enum ggml_type)i));
        assert_int_equal(ours->block_bytes, ggml_type_size((enum ggml_type)i));
    }
}

static void names_are_understood_or_refused_with_what_there_is(void **state) {
    (void)state;
    static const struct {
        const char *name, *type;
    } good[] = {{"synthetic:gpt2", "q8_0"},         {"synthetic:qwen2.5-0.5b:q4_0", "q4_0"},
                {"synthetic:phi-1.5:F16", "f16"},   {"synthetic:tinyllama-1.1b:q4_k", "q4_K"},
                {"synthetic:llama-3.2-1b", "q8_0"}, {"synthetic:mistral-7b:bf16", "bf16"}};
    static const struct {
        const char *name, *message;
    } bad[] = {{"synthetic:gpt5", "there are gpt2, qwen2.5-0.5b, phi-1.5"},
               {"synthetic:", "there are gpt2"},
               {"synthetic:gpt2:q9", "there are f32, f16"},
               {"synthetic:gpt2:", "no weight type"},
               {"synthetic:/nowhere/config.json", "/nowhere/config.json"}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        kvat_synthetic model;
        kvat_error err = KVAT_ERROR_INIT;
        if (kvat_synthetic_parse(&model, good[i].name, &err) != KVAT_OK) fail_msg("%s: %s", good[i].name, err.message);
        assert_string_equal(model.type, good[i].type);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        kvat_synthetic model;
        kvat_error err = KVAT_ERROR_INIT;
        assert_int_equal(kvat_synthetic_parse(&model, bad[i].name, &err), KVAT_ERR_DATA);
        if (!strstr(err.message, bad[i].message)) fail_msg("%s: %s", bad[i].name, err.message);
    }
}

static void configs_that_cannot_be_made_say_why(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"[]", "object"},
        {"{\"model_type\": \"mamba\"}", "\"mamba\" cannot be made; supported are gpt2"},
        {"{\"hidden_size\": 64}", "model_type"},
        {"{\"model_type\": \"llama\", \"hidden_size\": 64}", "num_hidden_layers: missing"},
        {"{\"model_type\": \"llama\", \"num_hidden_layers\": 2, \"hidden_size\": 64, \"num_attention_heads\": 3, "
         "\"num_key_value_heads\": 2, \"vocab_size\": 512, \"max_position_embeddings\": 64}",
         "no multiple"},
        {"{\"model_type\": \"qwen2\", \"num_hidden_layers\": 2, \"hidden_size\": 64, \"num_attention_heads\": 3, "
         "\"vocab_size\": 512, \"max_position_embeddings\": 64}",
         "not heads times head size"},
        {"{\"model_type\": \"llama\", \"num_hidden_layers\": 2, \"hidden_size\": 64, \"num_attention_heads\": 2, "
         "\"vocab_size\": 100, \"max_position_embeddings\": 64}",
         "fewer than 300 tokens"},
        {"{\"model_type\": \"llama\", \"num_hidden_layers\": -1}", "num_hidden_layers"},
        {"{\"model_type\": \"llama\"", "config.json"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        kvat_synthetic model;
        kvat_error err = KVAT_ERROR_INIT;
        assert_int_equal(kvat_synthetic_parse(&model, config(bad[i].text), &err), KVAT_ERR_DATA);
        if (!strstr(err.message, bad[i].message)) fail_msg("%s: \"%s\"", bad[i].text, err.message);
    }
}

static void make(char **path, kvat_synthetic *model, const char *name) {
    kvat_error err = KVAT_ERROR_INIT;
    if (kvat_synthetic_parse(model, name, &err) != KVAT_OK ||
        kvat_synthetic_file(path, model, NULL, NULL, &err) != KVAT_OK)
        fail_msg("%s: %s", name, err.message);
}

static void every_type_of_weights_passes_the_check(void **state) {
    (void)state;
    static const char *const types[] = {"f32",  "f16",  "bf16", "q8_0", "q6_K",   "q5_K",   "q5_1", "q5_0",
                                        "q4_K", "q4_1", "q4_0", "q3_K", "iq4_nl", "iq4_xs", "q2_K"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char name[200], *path = NULL;
        kvat_synthetic model;
        kvat_model_facts *facts = calloc(1, sizeof *facts);
        kvat_error err = KVAT_ERROR_INIT;
        snprintf(name, sizeof name, "%s:%s", config(TINY_LLAMA), types[i]);
        make(&path, &model, name);
        if (kvat_model_facts_open(facts, path, &err) != KVAT_OK) fail_msg("%s: %s", types[i], err.message);
        assert_string_equal(facts->architecture, "llama");
        assert_int_equal(facts->vocabulary, 512);
        assert_int_equal(facts->token_low, 0);
        assert_int_equal(facts->token_high, 511);
        int fits = kvat_synthetic_type_for(kvat_gguf_tensor_type_find(types[i]), 64);
        assert_string_equal(facts->weight_type, kvat_gguf_tensor_type_get((uint32_t)fits)->name);
        kvat_model_facts_clear(facts);
        free(facts);
        free(path);
    }
}

static void rows_that_do_not_divide_get_the_quantisers_fallback(void **state) {
    (void)state;
    static const struct {
        const char *type;
        int64_t columns;
        const char *expected;
    } cases[] = {{"q4_K", 896, "q5_0"}, {"q4_K", 768, "q4_K"}, {"q5_K", 896, "q5_1"}, {"q6_K", 896, "q8_0"},
                 {"q3_K", 896, "q4_0"}, {"q8_0", 40, "f16"},   {"q4_K", 40, "f16"},   {"iq4_xs", 64, "iq4_nl"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int type = kvat_synthetic_type_for(kvat_gguf_tensor_type_find(cases[i].type), cases[i].columns);
        assert_string_equal(kvat_gguf_tensor_type_get((uint32_t)type)->name, cases[i].expected);
    }
}

static void a_file_is_made_once_and_made_again_when_it_is_not_whole(void **state) {
    (void)state;
    kvat_synthetic model;
    char *path = NULL, *again = NULL;
    struct stat first, second;
    make(&path, &model, config(TINY_LLAMA));
    assert_int_equal(stat(path, &first), 0);
    make(&again, &model, config(TINY_LLAMA));
    assert_string_equal(path, again);
    assert_int_equal(stat(path, &second), 0);
    assert_int_equal(first.st_ino, second.st_ino);
    free(again);

    assert_int_equal(truncate(path, first.st_size - 1), 0);
    make(&again, &model, config(TINY_LLAMA));
    assert_int_equal(stat(path, &second), 0);
    assert_int_equal(second.st_size, first.st_size);
    free(again);

    char part[256];
    snprintf(part, sizeof part, "%s.part", path);
    assert_int_equal(access(part, F_OK), -1);
    free(path);
}

static void a_leftover_of_a_killed_worker_is_taken_over(void **state) {
    (void)state;
    kvat_synthetic model;
    char *path = NULL, *again = NULL, part[256];
    make(&path, &model, config(TINY_GEMMA3));
    snprintf(part, sizeof part, "%s.part", path);
    assert_int_equal(unlink(path), 0);
    tiny_write(part, "half a model");
    make(&again, &model, config(TINY_GEMMA3));
    kvat_model_facts *facts = calloc(1, sizeof *facts);
    kvat_error err = KVAT_ERROR_INIT;
    assert_int_equal(kvat_model_facts_open(facts, again, &err), KVAT_OK);
    assert_int_equal(facts->window_tokens, 64);
    assert_int_equal(access(part, F_OK), -1);
    kvat_model_facts_clear(facts);
    free(facts);
    free(path);
    free(again);
}

static void shape_and_type_change_the_key(void **state) {
    (void)state;
    kvat_synthetic a, b, c;
    char name[200];
    kvat_error err = KVAT_ERROR_INIT;
    assert_int_equal(kvat_synthetic_parse(&a, config(TINY_LLAMA), &err), KVAT_OK);
    snprintf(name, sizeof name, "%s:q4_0", config(TINY_LLAMA));
    assert_int_equal(kvat_synthetic_parse(&b, name, &err), KVAT_OK);
    assert_int_equal(kvat_synthetic_parse(&c, config(TINY_GEMMA3), &err), KVAT_OK);
    assert_string_not_equal(a.key, b.key);
    assert_string_not_equal(a.key, c.key);
}

static kvat_status make_and_remove(void *name, kvat_error *err) {
    kvat_synthetic model;
    char *path = NULL;
    kvat_status status = kvat_synthetic_parse(&model, name, err);
    if (status == KVAT_OK) status = kvat_synthetic_file(&path, &model, NULL, NULL, err);
    if (status == KVAT_OK) unlink(path);
    free(path);
    return status;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    char name[200];
    snprintf(name, sizeof name, "%s:f16", config(TINY_LLAMA));
    assert_true(fail_alloc_each(make_and_remove, name) > 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_type_table_is_the_engines),
        cmocka_unit_test(names_are_understood_or_refused_with_what_there_is),
        cmocka_unit_test(configs_that_cannot_be_made_say_why),
        cmocka_unit_test(every_type_of_weights_passes_the_check),
        cmocka_unit_test(rows_that_do_not_divide_get_the_quantisers_fallback),
        cmocka_unit_test(a_file_is_made_once_and_made_again_when_it_is_not_whole),
        cmocka_unit_test(a_leftover_of_a_killed_worker_is_taken_over),
        cmocka_unit_test(shape_and_type_change_the_key),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
