// The header of a synthetic GGUF file: keys, a byte-level tokenizer that llama-server accepts, tensor descriptions.
// Must not know: libllama, files, how weights are filled.
#include <stdio.h>
#include <string.h>

#include "gguf_check.h"
#include "synthetic.h"

#define BYTE_TOKENS 256

static void put_number(kvat_buf *out, uint64_t value, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) kvat_buf_putc(out, (char)(uint8_t)(value >> (8 * i)));
}

static void put_string(kvat_buf *out, const char *text) {
    put_number(out, strlen(text), 8);
    kvat_buf_puts(out, text);
}

typedef struct key_list {
    kvat_buf *out;
    uint64_t count;
    const char *architecture;
} key_list;

static void put_key(key_list *keys, const char *name, kvat_gguf_type type) {
    char full[128];
    bool own = name[0] == '.';
    snprintf(full, sizeof full, "%s%s", own ? keys->architecture : "", name);
    put_string(keys->out, full);
    put_number(keys->out, type, 4);
    keys->count++;
}

static void put_u32(key_list *keys, const char *name, int64_t value) {
    put_key(keys, name, KVAT_GGUF_U32);
    put_number(keys->out, (uint64_t)value, 4);
}

static void put_f32(key_list *keys, const char *name, double value) {
    float narrow = (float)value;
    uint32_t bits;
    memcpy(&bits, &narrow, sizeof bits);
    put_key(keys, name, KVAT_GGUF_F32);
    put_number(keys->out, bits, 4);
}

static void put_bool(key_list *keys, const char *name, bool value) {
    put_key(keys, name, KVAT_GGUF_BOOL);
    put_number(keys->out, value, 1);
}

static void put_text(key_list *keys, const char *name, const char *value) {
    put_key(keys, name, KVAT_GGUF_STRING);
    put_string(keys->out, value);
}

static void put_array(key_list *keys, const char *name, kvat_gguf_type type, int64_t count) {
    put_key(keys, name, KVAT_GGUF_ARRAY);
    put_number(keys->out, type, 4);
    put_number(keys->out, (uint64_t)count, 8);
}

static void put_utf8(char *out, unsigned code) {
    if (code < 0x80) {
        out[0] = (char)code;
        out[1] = '\0';
    } else {
        out[0] = (char)(uint8_t)(0xC0 | code >> 6);
        out[1] = (char)(uint8_t)(0x80 | (code & 0x3F));
        out[2] = '\0';
    }
}

/* The byte-level alphabet of GPT-2: printable Latin-1 bytes stand for themselves, the others for 256, 257, … in order.
 */
static bool stands_for_itself(unsigned byte) {
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

static void put_byte_tokens(kvat_buf *out) {
    unsigned other = 256;
    for (unsigned byte = 0; byte < BYTE_TOKENS; byte++) {
        char text[3];
        put_utf8(text, stands_for_itself(byte) ? byte : other++);
        put_string(out, text);
    }
}

/* Bytes, two merged tokens, filler up to the vocabulary, and the end of text last. */
static void put_tokenizer(key_list *keys, const kvat_shape *shape) {
    put_text(keys, "tokenizer.ggml.model", "gpt2");
    put_text(keys, "tokenizer.ggml.pre", "gpt-2");
    put_array(keys, "tokenizer.ggml.tokens", KVAT_GGUF_STRING, shape->vocabulary);
    put_byte_tokens(keys->out);
    put_string(keys->out, "th");
    put_string(keys->out, "the");
    for (int64_t id = BYTE_TOKENS + 2; id < shape->vocabulary - 1; id++) {
        char text[32];
        snprintf(text, sizeof text, "w%06d", (int)id);
        put_string(keys->out, text);
    }
    put_string(keys->out, "<|endoftext|>");
    put_array(keys, "tokenizer.ggml.token_type", KVAT_GGUF_I32, shape->vocabulary);
    for (int64_t id = 0; id < shape->vocabulary; id++) put_number(keys->out, id == shape->vocabulary - 1 ? 3 : 1, 4);
    put_array(keys, "tokenizer.ggml.merges", KVAT_GGUF_STRING, 2);
    put_string(keys->out, "t h");
    put_string(keys->out, "th e");
    put_u32(keys, "tokenizer.ggml.bos_token_id", shape->vocabulary - 1);
    put_u32(keys, "tokenizer.ggml.eos_token_id", shape->vocabulary - 1);
    put_bool(keys, "tokenizer.ggml.add_bos_token", false);
}

static void put_model(key_list *keys, const kvat_synthetic *model) {
    const kvat_shape *s = &model->shape;
    bool learnt_positions = s->rope_size == 0,
         plain_norm = s->family == KVAT_FAMILY_GPT2 || s->family == KVAT_FAMILY_PHI;
    char name[96];
    snprintf(name, sizeof name, "synthetic %s", s->name);
    put_text(keys, "general.architecture", keys->architecture);
    put_text(keys, "general.type", "model");
    put_text(keys, "general.name", name);
    put_u32(keys, "general.quantization_version", 2);
    put_u32(keys, ".vocab_size", s->vocabulary);
    put_u32(keys, ".context_length", s->context_tokens);
    put_u32(keys, ".embedding_length", s->embedding);
    put_u32(keys, ".block_count", s->layers);
    put_u32(keys, ".feed_forward_length", s->feed_forward);
    put_u32(keys, ".attention.head_count", s->heads);
    put_u32(keys, ".attention.head_count_kv", s->kv_heads);
    put_u32(keys, ".attention.key_length", s->head_size);
    put_u32(keys, ".attention.value_length", s->head_size);
    put_f32(keys, plain_norm ? ".attention.layer_norm_epsilon" : ".attention.layer_norm_rms_epsilon", s->norm_epsilon);
    if (s->window_tokens) put_u32(keys, ".attention.sliding_window", s->window_tokens);
    if (learnt_positions) return;
    put_u32(keys, ".rope.dimension_count", s->rope_size);
    put_f32(keys, ".rope.freq_base", s->rope_base);
}

static void put_tensors(kvat_buf *out, int64_t *data_bytes, const kvat_synthetic *model,
                        const kvat_shape_tensor *tensors, size_t n) {
    int64_t offset = 0;
    for (size_t i = 0; i < n; i++) {
        const kvat_shape_tensor *t = &tensors[i];
        put_string(out, t->name);
        put_number(out, t->rows ? 2 : 1, 4);
        put_number(out, (uint64_t)t->columns, 8);
        if (t->rows) put_number(out, (uint64_t)t->rows, 8);
        put_number(out, (uint64_t)kvat__synthetic_tensor_type(model, t), 4);
        put_number(out, (uint64_t)offset, 8);
        int64_t end = offset + kvat__synthetic_tensor_bytes(model, t);
        offset = (end + KVAT__SYNTHETIC_ALIGNMENT - 1) / KVAT__SYNTHETIC_ALIGNMENT * KVAT__SYNTHETIC_ALIGNMENT;
    }
    *data_bytes = offset;
}

kvat_status kvat__synthetic_header(kvat_buf *out, int64_t *data_bytes, const kvat_synthetic *model,
                                   const kvat_shape_tensor *tensors, size_t n, kvat_error *err) {
    kvat_buf body;
    kvat_buf_init(&body, 0);
    key_list keys = {&body, 0, kvat_shape_architecture(&model->shape)};
    put_model(&keys, model);
    put_tokenizer(&keys, &model->shape);

    kvat_buf_puts(out, "GGUF");
    put_number(out, 3, 4);
    put_number(out, n, 8);
    put_number(out, keys.count, 8);
    kvat_buf_put(out, body.bytes ? body.bytes : "", body.length);
    put_tensors(out, data_bytes, model, tensors, n);
    while (out->length % KVAT__SYNTHETIC_ALIGNMENT && out->status == KVAT_OK) kvat_buf_putc(out, '\0');

    kvat_status status = kvat_buf_status(&body, err);
    if (status == KVAT_OK) status = kvat_buf_status(out, err);
    kvat_buf_clear(&body);
    return status;
}
