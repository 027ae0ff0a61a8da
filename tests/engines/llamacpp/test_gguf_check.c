/* The GGUF reader against good files, files cut at every byte, and one bad file for each thing that can be wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fail_alloc.h"
#include "gguf_build.h"
#include "gguf_check.h"
#include "model_facts.h"

static uint8_t *good_file(size_t *n) {
    gguf_build b;
    build_init(&b);
    add_model(&b, NULL);
    uint8_t *bytes = build_finish(n, &b, 3, 1);
    build_clear(&b);
    return bytes;
}

/* Parses and reads the facts, as a model is opened. */
static kvat_status judge(const uint8_t *bytes, size_t n, kvat_error *err) {
    kvat_gguf *gguf = NULL;
    kvat_model_facts *facts = calloc(1, sizeof *facts);
    kvat_status status = kvat_gguf_parse(&gguf, bytes, n, err);
    if (status == KVAT_OK) status = kvat_model_facts_read(facts, gguf, err);
    kvat_gguf_free(gguf);
    free(facts);
    return status;
}

static void a_good_file_tells_its_facts(void **state) {
    (void)state;
    size_t n;
    uint8_t *bytes = good_file(&n);
    kvat_gguf *gguf = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    kvat_model_facts *facts = calloc(1, sizeof *facts);
    assert_int_equal(kvat_gguf_parse(&gguf, bytes, n, &err), KVAT_OK);
    assert_int_equal(kvat_gguf_tensor_count(gguf), 2);
    assert_int_equal(kvat_gguf_bytes_of_type(gguf, 0), (64 * BUILD_VOCABULARY + 64) * 4);
    assert_int_equal(kvat_gguf_header_bytes(gguf) % 32, 0);
    assert_int_equal(kvat_model_facts_read(facts, gguf, &err), KVAT_OK);
    assert_string_equal(facts->architecture, "llama");
    assert_string_equal(facts->name, "test");
    assert_int_equal(facts->layers, 2);
    assert_int_equal(facts->heads, 4);
    assert_int_equal(facts->kv_heads, 2);
    assert_int_equal(facts->k_head_size, 16);
    assert_int_equal(facts->training_context_tokens, 2048);
    assert_int_equal(facts->vocabulary, BUILD_VOCABULARY);
    assert_int_equal(facts->token_low, 3);
    assert_int_equal(facts->token_high, BUILD_VOCABULARY - 1);
    kvat_gguf_free(gguf);
    free(facts);
    free(bytes);
}

static void a_file_cut_at_any_byte_is_refused_with_the_byte(void **state) {
    (void)state;
    size_t n;
    uint8_t *bytes = good_file(&n);
    for (size_t cut = 0; cut < n; cut++) {
        kvat_error err = KVAT_ERROR_INIT;
        uint8_t *part = malloc(cut ? cut : 1);
        memcpy(part, bytes, cut);
        assert_int_equal(judge(part, cut, &err), KVAT_ERR_DATA);
        assert_non_null(strstr(err.message, "byte "));
        free(part);
    }
    kvat_error err = KVAT_ERROR_INIT;
    assert_int_equal(judge(bytes, n, &err), KVAT_OK);
    free(bytes);
}

/* Any single byte changed gives an answer, whatever it is, without a crash: the sanitizers watch. */
static void any_byte_changed_is_answered(void **state) {
    (void)state;
    size_t n, refused = 0;
    uint8_t *bytes = good_file(&n);
    const size_t header = 1600 < n ? 1600 : n;
    for (size_t i = 0; i < header; i++) {
        static const uint8_t flips[] = {0xFF, 0x80, 0x01};
        for (size_t k = 0; k < sizeof flips; k++) {
            kvat_error err = KVAT_ERROR_INIT;
            bytes[i] ^= flips[k];
            refused += judge(bytes, n, &err) == KVAT_ERR_DATA;
            bytes[i] ^= flips[k];
        }
    }
    assert_true(refused > header / 2);
    free(bytes);
}

/* ---- bad files by construction ---- */

typedef struct bad_file {
    const char *what;
    void (*make)(gguf_build *b);
    const char *message; /* must be in it */
} bad_file;

static void nested_array(gguf_build *b) {
    add_model(b, NULL);
    add_array(b, "x.y", ARRAY, 1);
}

static void unknown_type(gguf_build *b) {
    add_model(b, NULL);
    add_key(b, "x.y", 13);
}

static void endless_string(gguf_build *b) {
    add_key(b, "general.architecture", STRING);
    put_le(&b->keys, UINT64_C(1) << 63, 8);
}

static void endless_array(gguf_build *b) {
    add_array(b, "general.numbers", U32, UINT64_C(1) << 63);
}

static void endless_string_array(gguf_build *b) {
    add_array(b, "tokenizer.ggml.tokens", STRING, UINT64_C(1) << 61);
}

static void long_key(gguf_build *b) {
    char name[400];
    memset(name, 'k', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    add_u32(b, name, 1);
}

static void empty_key(gguf_build *b) {
    add_u32(b, "", 1);
}

static void bool_of_two(gguf_build *b) {
    add_model(b, NULL);
    add_key(b, "tokenizer.ggml.add_bos_token", BOOL);
    put_le(&b->keys, 2, 1);
}

static void key_twice(gguf_build *b) {
    add_model(b, NULL);
    add_u32(b, "llama.block_count", 2);
}

static void tensor_twice(gguf_build *b) {
    add_model(b, NULL);
    add_tensor(b, "output_norm.weight", 64, 1);
}

static void odd_alignment(gguf_build *b) {
    add_u32(b, "general.alignment", 48);
    add_model(b, NULL);
}

static void zero_alignment(gguf_build *b) {
    add_u32(b, "general.alignment", 0);
    add_model(b, NULL);
}

static void huge_alignment(gguf_build *b) {
    add_u32(b, "general.alignment", UINT32_C(1) << 31);
    add_model(b, NULL);
}

static void alignment_of_wrong_type(gguf_build *b) {
    add_u16(b, "general.alignment", 32);
    add_model(b, NULL);
}

#define TENSOR(name, count, type, offset, ...)                                                                         \
    static void name(gguf_build *b) {                                                                                  \
        const uint64_t sizes[] = {__VA_ARGS__};                                                                        \
        add_model(b, NULL);                                                                                            \
        add_raw_tensor(b, "t", count, sizes, type, offset);                                                            \
    }

TENSOR(tensor_of_no_dimension, 0, 0, b->data_bytes, 1)
TENSOR(tensor_of_five_dimensions, 5, 0, b->data_bytes, 1, 1, 1, 1, 1)
TENSOR(tensor_of_size_zero, 2, 0, b->data_bytes, 0, 4)
TENSOR(tensor_of_negative_size, 1, 0, b->data_bytes, UINT64_MAX)
TENSOR(tensor_product_overflow, 4, 0, b->data_bytes, UINT64_C(1) << 31, UINT64_C(1) << 31, 4, 4)
TENSOR(tensor_bytes_overflow, 2, 0, b->data_bytes, UINT64_C(1) << 31, UINT64_C(1) << 31)
TENSOR(tensor_padding_wrap, 1, 24, b->data_bytes, INT64_MAX)
TENSOR(tensor_of_unknown_type, 1, 99, b->data_bytes, 32)
TENSOR(tensor_of_withdrawn_type, 1, 4, b->data_bytes, 32)
TENSOR(tensor_rows_not_in_blocks, 1, 8, b->data_bytes, 33)
TENSOR(tensor_past_the_end, 1, 0, UINT64_C(1) << 40, 32)
TENSOR(tensor_at_odd_offset, 1, 0, b->data_bytes + 1, 32)
TENSOR(tensor_overlapping, 1, 0, 0, 32)
TENSOR(tensor_larger_than_the_file, 1, 0, b->data_bytes, 4096)

static void tensor_with_long_name(gguf_build *b) {
    char name[80];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    add_model(b, NULL);
    add_tensor(b, name, 32, 1);
}

#define WITHOUT(...) ((const char *const[]){__VA_ARGS__, NULL})

static void no_architecture(gguf_build *b) {
    add_model(b, WITHOUT("general.architecture"));
}

static void architecture_with_control_characters(gguf_build *b) {
    add_string(b, "general.architecture", "a\x1b]0;x\a\nb");
    add_model(b, WITHOUT("general.architecture"));
}

static void architecture_is_a_number(gguf_build *b) {
    add_u32(b, "general.architecture", 7);
    add_model(b, WITHOUT("general.architecture"));
}

static void adapter(gguf_build *b) {
    add_string(b, "general.type", "adapter");
    add_model(b, NULL);
}

#define NUMBER(name, key, value)                                                                                       \
    static void name(gguf_build *b) {                                                                                  \
        add_u32(b, key, value);                                                                                        \
        add_model(b, WITHOUT(key));                                                                                    \
    }

NUMBER(no_layers, "llama.block_count", 0)
NUMBER(a_hundred_thousand_layers, "llama.block_count", 100000)
NUMBER(two_billion_layers, "llama.block_count", UINT32_C(1) << 31)
NUMBER(no_heads, "llama.attention.head_count", 0)
NUMBER(heads_that_do_not_divide, "llama.attention.head_count", 6)
NUMBER(kv_heads_that_do_not_divide, "llama.attention.head_count_kv", 3)
NUMBER(no_embedding, "llama.embedding_length", 0)
NUMBER(no_context, "llama.context_length", 0)
NUMBER(too_many_experts, "llama.expert_count", 5000)
NUMBER(experts_used_without_experts, "llama.expert_used_count", 2)
NUMBER(zero_head_size, "llama.attention.key_length", 0)

static void layers_is_text(gguf_build *b) {
    add_string(b, "llama.block_count", "2");
    add_model(b, WITHOUT("llama.block_count"));
}

static void layers_is_wide(gguf_build *b) {
    add_key(b, "llama.block_count", U64);
    put_le(&b->keys, 2, 8);
    add_model(b, WITHOUT("llama.block_count"));
}

static void heads_of_too_few_layers(gguf_build *b) {
    add_array(b, "llama.attention.head_count", U32, 1);
    put_le(&b->keys, 4, 4);
    add_model(b, WITHOUT("llama.attention.head_count"));
}

static void heads_as_text_array(gguf_build *b) {
    add_array(b, "llama.attention.head_count", STRING, 0);
    add_model(b, WITHOUT("llama.attention.head_count"));
}

static void tokens_are_numbers(gguf_build *b) {
    add_array(b, "tokenizer.ggml.tokens", U32, 1);
    put_le(&b->keys, 4, 4);
    add_model(b, WITHOUT("tokenizer.ggml.tokens"));
}

static void too_few_token_types(gguf_build *b) {
    add_model(b, WITHOUT("tokenizer.ggml.tokens"));
    add_array(b, "tokenizer.ggml.tokens", STRING, 2);
    put_text(&b->keys, "a");
    put_text(&b->keys, "b");
    add_array(b, "tokenizer.ggml.token_type", I32, 1);
    put_le(&b->keys, 1, 4);
}

static void token_twice(gguf_build *b) {
    add_model(b, WITHOUT("tokenizer.ggml.tokens"));
    add_array(b, "tokenizer.ggml.tokens", STRING, 3);
    put_text(&b->keys, "same");
    put_text(&b->keys, "other");
    put_text(&b->keys, "same");
}

static void only_special_tokens(gguf_build *b) {
    add_model(b, WITHOUT("tokenizer.ggml.tokens"));
    add_array(b, "tokenizer.ggml.tokens", STRING, 1);
    put_text(&b->keys, "a");
    add_array(b, "tokenizer.ggml.token_type", I32, 1);
    put_le(&b->keys, 3, 4);
}

static const bad_file bad_files[] = {
    {"nested array", nested_array, "array within an array"},
    {"unknown value type", unknown_type, "value type 13"},
    {"string of 2^63 bytes", endless_string, "string of 9223372036854775808 bytes"},
    {"array of 2^63 numbers", endless_array, "array of 9223372036854775808 values"},
    {"array of 2^61 strings", endless_string_array, "array of 2305843009213693952 values"},
    {"key too long", long_key, "key of 399 bytes"},
    {"empty key", empty_key, "empty key"},
    {"truth value of two", bool_of_two, "truth value of 2"},
    {"duplicate key", key_twice, "twice"},
    {"duplicate tensor", tensor_twice, "twice"},
    {"alignment no power of two", odd_alignment, "general.alignment 48"},
    {"alignment zero", zero_alignment, "general.alignment 0"},
    {"alignment huge", huge_alignment, "general.alignment 2147483648"},
    {"alignment of wrong type", alignment_of_wrong_type, "general.alignment must be a u32"},
    {"no dimension", tensor_of_no_dimension, "0 dimensions"},
    {"five dimensions", tensor_of_five_dimensions, "5 dimensions"},
    {"size zero", tensor_of_size_zero, "tensor size of 0"},
    {"size negative", tensor_of_negative_size, "tensor size of -1"},
    {"product overflow", tensor_product_overflow, "product"},
    {"bytes overflow", tensor_bytes_overflow, "size in bytes"},
    {"padding wrap", tensor_padding_wrap, "t starts at"},
    {"unknown tensor type", tensor_of_unknown_type, "tensor type 99"},
    {"withdrawn tensor type", tensor_of_withdrawn_type, "tensor type 4"},
    {"rows not in blocks", tensor_rows_not_in_blocks, "blocks of 32"},
    {"offset past the end", tensor_past_the_end, "starts at 1099511627776"},
    {"offset not aligned", tensor_at_odd_offset, "multiple of 32"},
    {"overlapping tensors", tensor_overlapping, "starts at 0 instead of"},
    {"tensor larger than the file", tensor_larger_than_the_file, "cut short"},
    {"tensor name too long", tensor_with_long_name, "tensor name of 79 bytes"},
    {"no architecture", no_architecture, "general.architecture is missing"},
    {"architecture with escapes", architecture_with_control_characters, "not the name of an architecture"},
    {"architecture a number", architecture_is_a_number, "general.architecture must be a string"},
    {"adapter", adapter, "no model"},
    {"no layers", no_layers, "llama.block_count is 0"},
    {"100000 layers", a_hundred_thousand_layers, "llama.block_count is 100000"},
    {"2^31 layers", two_billion_layers, "llama.block_count is 2147483648"},
    {"no heads", no_heads, "attention.head_count is 0"},
    {"heads do not divide", heads_that_do_not_divide, "does not divide"},
    {"kv heads do not divide", kv_heads_that_do_not_divide, "4 heads for 3"},
    {"no embedding", no_embedding, "llama.embedding_length is 0"},
    {"no context", no_context, "llama.context_length is 0"},
    {"too many experts", too_many_experts, "llama.expert_count is 5000"},
    {"experts used without any", experts_used_without_experts, "2 of 0 experts"},
    {"head size zero", zero_head_size, "attention.key_length is 0"},
    {"layers as text", layers_is_text, "must be a u32, but it is string"},
    {"layers as u64", layers_is_wide, "must be a u32, but it is u64"},
    {"heads of too few layers", heads_of_too_few_layers, "1 values for 2 layers"},
    {"heads as text array", heads_as_text_array, "array of string"},
    {"tokens as numbers", tokens_are_numbers, "must be an array of strings"},
    {"too few token types", too_few_token_types, "1 token types for 2 tokens"},
    {"token twice", token_twice, "vocabulary twice"},
    {"only special tokens", only_special_tokens, "no ordinary token"},
};

static void every_bad_file_is_refused_with_its_reason(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bad_files / sizeof *bad_files; i++) {
        gguf_build b;
        size_t n;
        kvat_error err = KVAT_ERROR_INIT;
        build_init(&b);
        bad_files[i].make(&b);
        uint8_t *bytes = build_finish(&n, &b, 3, 1);
        kvat_status status = judge(bytes, n, &err);
        if (status != KVAT_ERR_DATA || !strstr(err.message, bad_files[i].message) || !strstr(err.message, "byte "))
            fail_msg("%s: status %d, \"%s\" (expected \"%s\")", bad_files[i].what, (int)status, err.message,
                     bad_files[i].message);
        for (const char *c = err.message; *c; c++) assert_true((unsigned char)*c >= 0x20);
        build_clear(&b);
        free(bytes);
    }
}

/* ---- the fixed header ---- */

static void expect_header(const void *header, size_t n, const char *message) {
    kvat_error err = KVAT_ERROR_INIT;
    uint8_t *bytes = malloc(n ? n : 1);
    memcpy(bytes, header, n);
    assert_int_equal(judge(bytes, n, &err), KVAT_ERR_DATA);
    if (!strstr(err.message, message)) fail_msg("\"%s\" (expected \"%s\")", err.message, message);
    free(bytes);
}

static void fixed_headers_are_refused_with_their_reason(void **state) {
    (void)state;
    expect_header("", 0, "byte 0: the file is empty");
    expect_header("not a model", 11, "byte 0: not a GGUF file");
    expect_header("GGUF\0\0\0\3\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1", 24, "byte 4: this is a big-endian");
    expect_header("GGUF\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, "version 0");
    expect_header("GGUF\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, "version 1");
    expect_header("GGUF\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, "version 4 is newer");
    expect_header("GGUF\3\0\0\0\377\377\377\377\377\377\377\377\0\0\0\0\0\0\0\0", 24, "byte 8: -1 tensors");
    expect_header("GGUF\3\0\0\0\0\0\0\0\0\0\0\0\377\377\377\377\377\377\377\177", 24,
                  "byte 16: 9223372036854775807 keys");
    expect_header("GGUF\3\0\0\0\0\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0", 24, "byte 16: 2 keys do not fit");
    expect_header("GGUF\3\0\0\0\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, "byte 8: 2 tensors do not fit");
    expect_header("GGUF\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, "general.architecture is missing");
}

static void too_many_keys_are_refused_at_their_count(void **state) {
    (void)state;
    gguf_build b;
    size_t n;
    kvat_error err = KVAT_ERROR_INIT;
    build_init(&b);
    for (int i = 0; i < 120000; i++) {
        char name[16];
        snprintf(name, sizeof name, "k%d", i);
        add_u32(&b, name, 1);
    }
    uint8_t *bytes = build_finish(&n, &b, 3, 1);
    assert_int_equal(judge(bytes, n, &err), KVAT_ERR_DATA);
    assert_string_equal(err.message, "byte 16: 120000 keys; at most 8192 are accepted");
    build_clear(&b);
    free(bytes);
}

static void version_two_is_read(void **state) {
    (void)state;
    gguf_build b;
    size_t n;
    kvat_error err = KVAT_ERROR_INIT;
    build_init(&b);
    add_model(&b, NULL);
    uint8_t *bytes = build_finish(&n, &b, 2, 1);
    assert_int_equal(judge(bytes, n, &err), KVAT_OK);
    build_clear(&b);
    free(bytes);
}

/* `same` > 0 makes that token a copy of the first. */
static kvat_status judge_vocabulary(int count, int same, kvat_error *err) {
    gguf_build b;
    size_t n;
    build_init(&b);
    add_model(&b, WITHOUT("tokenizer.ggml.tokens"));
    add_array(&b, "tokenizer.ggml.tokens", STRING, (uint64_t)count);
    for (int i = 0; i < count; i++) {
        char text[16];
        snprintf(text, sizeof text, "%x", (unsigned)(same && i == same ? 0 : i * 7919));
        put_text(&b.keys, i % 50 == 49 ? "" : text); /* empty tokens are named by their place, so they may repeat */
    }
    uint8_t *bytes = build_finish(&n, &b, 3, 1);
    kvat_status status = judge(bytes, n, err);
    build_clear(&b);
    free(bytes);
    return status;
}

static void one_repeated_token_among_thousands_is_found(void **state) {
    (void)state;
    static const int sames[] = {1, 2500, 4998};
    kvat_error err = KVAT_ERROR_INIT;
    assert_int_equal(judge_vocabulary(5000, 0, &err), KVAT_OK);
    for (size_t i = 0; i < sizeof sames / sizeof *sames; i++)
        assert_int_equal(judge_vocabulary(5000, sames[i], &err), KVAT_ERR_DATA);
}

static void a_recurrent_model_needs_no_heads(void **state) {
    (void)state;
    gguf_build b;
    size_t n;
    kvat_error err = KVAT_ERROR_INIT;
    build_init(&b);
    add_u32(&b, "llama.ssm.state_size", 16);
    add_u32(&b, "llama.attention.head_count", 0);
    add_model(&b, WITHOUT("llama.attention.head_count", "llama.attention.head_count_kv"));
    uint8_t *bytes = build_finish(&n, &b, 3, 1);
    assert_int_equal(judge(bytes, n, &err), KVAT_OK);
    build_clear(&b);
    free(bytes);
}

static void heads_may_differ_by_layer(void **state) {
    (void)state;
    gguf_build b;
    size_t n;
    kvat_gguf *gguf = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    kvat_model_facts *facts = calloc(1, sizeof *facts);
    build_init(&b);
    add_array(&b, "llama.attention.head_count_kv", I32, 2);
    put_le(&b.keys, 4, 4);
    put_le(&b.keys, 1, 4);
    add_model(&b, WITHOUT("llama.attention.head_count_kv"));
    uint8_t *bytes = build_finish(&n, &b, 3, 1);
    assert_int_equal(kvat_gguf_parse(&gguf, bytes, n, &err), KVAT_OK);
    assert_int_equal(kvat_model_facts_read(facts, gguf, &err), KVAT_OK);
    assert_int_equal(facts->kv_heads, 4);
    assert_int_equal(facts->layer_kv_heads[0], 4);
    assert_int_equal(facts->layer_kv_heads[1], 1);
    kvat_gguf_free(gguf);
    build_clear(&b);
    free(bytes);
    free(facts);
}

/* ---- files ---- */

static char folder[64];

static int make_folder(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/kvat-gguf-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static char *in_folder(const char *name) {
    static char path[160];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_file(const char *path, const uint8_t *bytes, size_t n) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    fclose(file);
}

static void expect_open(const char *path, kvat_status expected, const char *message) {
    kvat_model_facts *facts = calloc(1, sizeof *facts);
    kvat_error err = KVAT_ERROR_INIT;
    kvat_status status = kvat_model_facts_open(facts, path, &err);
    if (status != expected || !strstr(err.message, message))
        fail_msg("%s: status %d, \"%s\" (expected \"%s\")", path, (int)status, err.message, message);
    if (status == KVAT_OK) kvat_model_facts_clear(facts);
    free(facts);
}

static void what_is_no_file_is_refused_without_blocking(void **state) {
    (void)state;
    expect_open(folder, KVAT_ERR_DATA, "is a folder");
    assert_int_equal(mkfifo(in_folder("pipe.gguf"), 0600), 0);
    expect_open(in_folder("pipe.gguf"), KVAT_ERR_DATA, "is a FIFO");
    expect_open("/dev/zero", KVAT_ERR_DATA, "is a device");
    expect_open(in_folder("absent.gguf"), KVAT_ERR_DATA, "No such file");
    expect_open(in_folder("a\nb\x1b.gguf"), KVAT_ERR_DATA, "No such file");
}

static void a_file_is_known_by_its_content_and_its_change_is_seen(void **state) {
    (void)state;
    size_t n;
    uint8_t *bytes = good_file(&n);
    char path[160];
    kvat_model_facts *one = calloc(1, sizeof *one), *two = calloc(1, sizeof *two);
    kvat_error err = KVAT_ERROR_INIT;
    snprintf(path, sizeof path, "%s", in_folder("model.gguf"));
    write_file(path, bytes, n);
    assert_int_equal(kvat_model_facts_open(one, path, &err), KVAT_OK);
    assert_int_equal(one->weight_bytes, (64 * BUILD_VOCABULARY + 64) * 4);
    assert_string_equal(one->weight_type, "f32");
    assert_int_equal(strlen(one->identity), 7 + 64);
    assert_int_equal(kvat_model_facts_unchanged(one, &err), KVAT_OK);

    bytes[n - 1] ^= 1;
    write_file(in_folder("other.gguf"), bytes, n);
    assert_int_equal(kvat_model_facts_open(two, in_folder("other.gguf"), &err), KVAT_OK);
    assert_string_not_equal(one->identity, two->identity);

    assert_int_equal(rename(in_folder("other.gguf"), path), 0);
    assert_int_equal(kvat_model_facts_unchanged(one, &err), KVAT_ERR_DATA);
    assert_non_null(strstr(err.message, "model changed"));
    kvat_model_facts_clear(one);
    kvat_model_facts_clear(two);
    free(one);
    free(two);
    free(bytes);
}

/* Shard `number` of two; the first has all keys and one tensor, the second one tensor. */
static void write_shard(const char *name, int number, int count, int total) {
    gguf_build b;
    size_t n;
    build_init(&b);
    add_u16(&b, "split.no", (uint32_t)number - 1);
    add_u16(&b, "split.count", (uint32_t)count);
    add_i32(&b, "split.tensors.count", total);
    if (number == 1)
        add_model(&b, NULL);
    else
        add_tensor(&b, "blk.0.ffn_up.weight", 64, 64);
    uint8_t *bytes = build_finish(&n, &b, 3, 1);
    write_file(in_folder(name), bytes, n);
    build_clear(&b);
    free(bytes);
}

static void shards_are_found_counted_and_a_missing_one_is_named(void **state) {
    (void)state;
    write_shard("m-00001-of-00002.gguf", 1, 2, 3);
    expect_open(in_folder("m-00001-of-00002.gguf"), KVAT_ERR_DATA, "m-00002-of-00002.gguf");
    write_shard("m-00002-of-00002.gguf", 2, 2, 3);
    kvat_model_facts *facts = calloc(1, sizeof *facts);
    kvat_error err = KVAT_ERROR_INIT;
    assert_int_equal(kvat_model_facts_open(facts, in_folder("m-00001-of-00002.gguf"), &err), KVAT_OK);
    assert_int_equal(facts->file_count, 2);
    assert_int_equal(facts->weight_bytes, (64 * BUILD_VOCABULARY + 64 + 64 * 64) * 4);
    kvat_model_facts_clear(facts);
    free(facts);

    expect_open(in_folder("m-00002-of-00002.gguf"), KVAT_ERR_DATA, "general.architecture is missing");
    write_shard("m-00002-of-00002.gguf", 2, 3, 3);
    expect_open(in_folder("m-00001-of-00002.gguf"), KVAT_ERR_DATA, "not shard 2 of 2");
    write_shard("m-00002-of-00002.gguf", 2, 2, 3);
    write_shard("m-00001-of-00002.gguf", 1, 2, 9);
    expect_open(in_folder("m-00001-of-00002.gguf"), KVAT_ERR_DATA, "3 tensors instead of 9");
    write_shard("strange.gguf", 1, 2, 3);
    expect_open(in_folder("strange.gguf"), KVAT_ERR_DATA, "-00001-of-00002.gguf");
}

static kvat_status open_and_clear(void *path, kvat_error *err) {
    static kvat_model_facts facts;
    kvat_status status = kvat_model_facts_open(&facts, path, err);
    if (status == KVAT_OK) kvat_model_facts_clear(&facts);
    return status;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    write_shard("m-00001-of-00002.gguf", 1, 2, 3);
    write_shard("m-00002-of-00002.gguf", 2, 2, 3);
    char path[160];
    snprintf(path, sizeof path, "%s", in_folder("m-00001-of-00002.gguf"));
    assert_true(fail_alloc_each(open_and_clear, path) > 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_file_tells_its_facts),
        cmocka_unit_test(a_file_cut_at_any_byte_is_refused_with_the_byte),
        cmocka_unit_test(any_byte_changed_is_answered),
        cmocka_unit_test(every_bad_file_is_refused_with_its_reason),
        cmocka_unit_test(fixed_headers_are_refused_with_their_reason),
        cmocka_unit_test(too_many_keys_are_refused_at_their_count),
        cmocka_unit_test(version_two_is_read),
        cmocka_unit_test(one_repeated_token_among_thousands_is_found),
        cmocka_unit_test(a_recurrent_model_needs_no_heads),
        cmocka_unit_test(heads_may_differ_by_layer),
        cmocka_unit_test(what_is_no_file_is_refused_without_blocking),
        cmocka_unit_test(a_file_is_known_by_its_content_and_its_change_is_seen),
        cmocka_unit_test(shards_are_found_counted_and_a_missing_one_is_named),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
