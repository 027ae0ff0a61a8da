/* Builds GGUF files in memory, good ones and any kind of bad one, for tests.
 * Must not know: the reader that is tested with them. */
#ifndef KVAT_TESTS_GGUF_BUILD_H
#define KVAT_TESTS_GGUF_BUILD_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kvat/buf.h"

enum { U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 };

typedef struct gguf_build {
    kvat_buf keys, tensors;
    uint64_t n_keys, n_tensors;
    uint64_t data_bytes;
    uint64_t alignment;
} gguf_build;

static inline void put_le(kvat_buf *out, uint64_t value, size_t n) {
    for (size_t i = 0; i < n; i++) kvat_buf_putc(out, (char)(uint8_t)(value >> (8 * i)));
}

static inline void put_text(kvat_buf *out, const char *text) {
    put_le(out, strlen(text), 8);
    kvat_buf_puts(out, text);
}

static inline void build_init(gguf_build *b) {
    *b = (gguf_build){.alignment = 32};
    kvat_buf_init(&b->keys, 0);
    kvat_buf_init(&b->tensors, 0);
}

static inline void build_clear(gguf_build *b) {
    kvat_buf_clear(&b->keys);
    kvat_buf_clear(&b->tensors);
}

static inline void add_key(gguf_build *b, const char *name, uint32_t type) {
    put_text(&b->keys, name);
    put_le(&b->keys, type, 4);
    b->n_keys++;
}

static inline void add_u32(gguf_build *b, const char *name, uint32_t value) {
    add_key(b, name, U32);
    put_le(&b->keys, value, 4);
}

static inline void add_u16(gguf_build *b, const char *name, uint32_t value) {
    add_key(b, name, U16);
    put_le(&b->keys, value, 2);
}

static inline void add_i32(gguf_build *b, const char *name, int32_t value) {
    add_key(b, name, I32);
    put_le(&b->keys, (uint32_t)value, 4);
}

static inline void add_string(gguf_build *b, const char *name, const char *value) {
    add_key(b, name, STRING);
    put_text(&b->keys, value);
}

static inline void add_array(gguf_build *b, const char *name, uint32_t type, uint64_t count) {
    add_key(b, name, ARRAY);
    put_le(&b->keys, type, 4);
    put_le(&b->keys, count, 8);
}

/* A tensor as it is written, at an offset of one's own. */
static inline void add_raw_tensor(gguf_build *b, const char *name, uint32_t n_sizes, const uint64_t *sizes,
                                  uint32_t type, uint64_t offset) {
    put_text(&b->tensors, name);
    put_le(&b->tensors, n_sizes, 4);
    for (uint32_t i = 0; i < n_sizes; i++) put_le(&b->tensors, sizes[i], 8);
    put_le(&b->tensors, type, 4);
    put_le(&b->tensors, offset, 8);
    b->n_tensors++;
}

/* An f32 matrix at the place where it belongs. */
static inline void add_tensor(gguf_build *b, const char *name, uint64_t columns, uint64_t rows) {
    add_raw_tensor(b, name, 2, (const uint64_t[]){columns, rows}, 0, b->data_bytes);
    uint64_t end = b->data_bytes + columns * rows * 4;
    b->data_bytes = (end + b->alignment - 1) / b->alignment * b->alignment;
}

/* The keys a model needs, except those whose names are in `without` (NULL-terminated). */
static inline int is_left_out(const char *name, const char *const *without) {
    for (; without && *without; without++)
        if (strcmp(*without, name) == 0) return 1;
    return 0;
}

#define BUILD_VOCABULARY 40

static inline void add_vocabulary(gguf_build *b) {
    add_array(b, "tokenizer.ggml.tokens", STRING, BUILD_VOCABULARY);
    for (int i = 0; i < BUILD_VOCABULARY; i++) {
        char text[8] = {'t', (char)('A' + i / 10), (char)('0' + i % 10), 0};
        put_text(&b->keys, text);
    }
    add_array(b, "tokenizer.ggml.token_type", I32, BUILD_VOCABULARY);
    for (int i = 0; i < BUILD_VOCABULARY; i++) put_le(&b->keys, i < 3 || i == BUILD_VOCABULARY - 1 ? 3 : 1, 4);
}

static inline void add_model(gguf_build *b, const char *const *without) {
    static const struct {
        const char *name;
        uint32_t value;
    } numbers[] = {{"llama.context_length", 2048},    {"llama.embedding_length", 64},
                   {"llama.block_count", 2},          {"llama.feed_forward_length", 128},
                   {"llama.attention.head_count", 4}, {"llama.attention.head_count_kv", 2}};
    if (!is_left_out("general.architecture", without)) add_string(b, "general.architecture", "llama");
    if (!is_left_out("general.name", without)) add_string(b, "general.name", "test");
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!is_left_out(numbers[i].name, without)) add_u32(b, numbers[i].name, numbers[i].value);
    if (!is_left_out("tokenizer.ggml.model", without)) add_string(b, "tokenizer.ggml.model", "llama");
    if (!is_left_out("tokenizer.ggml.tokens", without)) add_vocabulary(b);
    add_tensor(b, "token_embd.weight", 64, BUILD_VOCABULARY);
    add_tensor(b, "output_norm.weight", 64, 1);
}

/* The whole file, data included when `with_data`. Caller frees. */
static inline uint8_t *build_finish(size_t *n, gguf_build *b, uint32_t version, int with_data) {
    kvat_buf out;
    kvat_buf_init(&out, 0);
    kvat_buf_puts(&out, "GGUF");
    put_le(&out, version, 4);
    put_le(&out, b->n_tensors, 8);
    put_le(&out, b->n_keys, 8);
    if (b->keys.length) kvat_buf_put(&out, b->keys.bytes, b->keys.length);
    if (b->tensors.length) kvat_buf_put(&out, b->tensors.bytes, b->tensors.length);
    while (with_data && out.length % b->alignment) kvat_buf_putc(&out, 0);
    for (uint64_t i = 0; with_data && i < b->data_bytes; i++) kvat_buf_putc(&out, 1);
    *n = out.length;
    uint8_t *exact = malloc(*n ? *n : 1); /* exactly as long as it is, for the sanitizers */
    if (exact && *n) memcpy(exact, out.bytes, *n);
    kvat_buf_clear(&out);
    return exact;
}

#endif
