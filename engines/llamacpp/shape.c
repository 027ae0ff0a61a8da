// Built-in shapes, shapes from config.json, and the tensors each family consists of.
// Must not know: libllama, how weights are stored.
#include "shape.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvat/json.h"

static const struct family {
    const char *model_type, *architecture;
    bool gated, qkv_bias, all_biases, tied;
} families[] = {
    [KVAT_FAMILY_GPT2] = {.model_type = "gpt2", .architecture = "gpt2", .all_biases = true, .tied = true},
    [KVAT_FAMILY_QWEN2] = {.model_type = "qwen2", .architecture = "qwen2", .gated = true, .qkv_bias = true},
    [KVAT_FAMILY_PHI] = {.model_type = "phi", .architecture = "phi2", .qkv_bias = true, .all_biases = true},
    [KVAT_FAMILY_LLAMA] = {.model_type = "llama", .architecture = "llama", .gated = true},
    [KVAT_FAMILY_MISTRAL] = {.model_type = "mistral", .architecture = "llama", .gated = true},
    [KVAT_FAMILY_GEMMA3] = {.model_type = "gemma3_text", .architecture = "gemma3", .gated = true, .tied = true},
};
#define FAMILIES (sizeof families / sizeof *families)

static const kvat_shape built_in[] = {
    {"gpt2", KVAT_FAMILY_GPT2, 12, 768, 12, 12, 64, 3072, 50257, 1024, 0, 0, 0, 1e-5, true},
    {"qwen2.5-0.5b", KVAT_FAMILY_QWEN2, 24, 896, 14, 2, 64, 4864, 151936, 32768, 0, 64, 1e6, 1e-6, true},
    {"phi-1.5", KVAT_FAMILY_PHI, 24, 2048, 32, 32, 64, 8192, 51200, 2048, 0, 32, 1e4, 1e-5, false},
    {"tinyllama-1.1b", KVAT_FAMILY_LLAMA, 22, 2048, 32, 4, 64, 5632, 32000, 2048, 0, 64, 1e4, 1e-5, false},
    {"llama-3.2-1b", KVAT_FAMILY_LLAMA, 16, 2048, 32, 8, 64, 8192, 128256, 131072, 0, 64, 5e5, 1e-5, true},
    {"mistral-7b", KVAT_FAMILY_MISTRAL, 32, 4096, 32, 8, 128, 14336, 32000, 32768, 0, 128, 1e6, 1e-5, false},
};
#define BUILT_IN (sizeof built_in / sizeof *built_in)

kvat_status kvat_shape_find(kvat_shape *out, const char *name, kvat_error *err) {
    for (size_t i = 0; i < BUILT_IN; i++)
        if (strcmp(built_in[i].name, name) == 0) {
            *out = built_in[i];
            return KVAT_OK;
        }
    kvat_buf known;
    kvat_buf_init(&known, 0);
    for (size_t i = 0; i < BUILT_IN; i++) kvat_buf_printf(&known, "%s, ", built_in[i].name);
    kvat_status status =
        kvat_fail(err, KVAT_ERR_DATA, "no synthetic model \"%.64s\": there are %sand synthetic:/path/to/config.json",
                  name, known.bytes ? known.bytes : "");
    kvat_buf_clear(&known);
    return status;
}

const char *kvat_shape_architecture(const kvat_shape *shape) {
    return families[shape->family].architecture;
}

/* The first of several names a number goes by. */
static kvat_status get_int(int64_t *out, kvat_json_at at, const char *const *names, int64_t high, bool required,
                           kvat_error *err) {
    for (size_t i = 0; names[i]; i++) {
        const json_t *value = json_object_get(at.object, names[i]);
        if (value && !json_is_null(value)) return kvat_json_get_int(out, at, names[i], 1, high, true, err);
    }
    if (!required) return KVAT_OK;
    return kvat_fail(err, KVAT_ERR_DATA, "%s.%s: missing", at.path, names[0]);
}

typedef struct size_member {
    size_t offset;
    int64_t high;
    bool required;
    const char *names[4];
} size_member;

static const size_member size_members[] = {
    {offsetof(kvat_shape, layers), 512, true, {"num_hidden_layers", "n_layer", NULL}},
    {offsetof(kvat_shape, embedding), 65536, true, {"hidden_size", "n_embd", NULL}},
    {offsetof(kvat_shape, heads), 1024, true, {"num_attention_heads", "n_head", NULL}},
    {offsetof(kvat_shape, kv_heads), 1024, false, {"num_key_value_heads", NULL}},
    {offsetof(kvat_shape, head_size), 1024, false, {"head_dim", NULL}},
    {offsetof(kvat_shape, feed_forward), 1 << 20, false, {"intermediate_size", "n_inner", NULL}},
    {offsetof(kvat_shape, vocabulary), 1 << 20, true, {"vocab_size", NULL}},
    {offsetof(kvat_shape, context_tokens), 1 << 24, true, {"max_position_embeddings", "n_positions", "n_ctx", NULL}},
};

static kvat_status read_sizes(kvat_shape *shape, kvat_json_at at, kvat_error *err) {
    for (size_t i = 0; i < sizeof size_members / sizeof *size_members; i++) {
        const size_member *m = &size_members[i];
        int64_t *value = (int64_t *)(void *)((char *)shape + m->offset);
        kvat_status status = get_int(value, at, m->names, m->high, m->required, err);
        if (status != KVAT_OK) return status;
    }
    if (!shape->kv_heads) shape->kv_heads = shape->heads;
    if (!shape->head_size) shape->head_size = shape->embedding / shape->heads;
    if (!shape->feed_forward) shape->feed_forward = 4 * shape->embedding;
    return KVAT_OK;
}

static kvat_status read_rope(kvat_shape *shape, kvat_json_at at, kvat_error *err) {
    if (shape->family == KVAT_FAMILY_GPT2) return KVAT_OK;
    double part = shape->family == KVAT_FAMILY_PHI ? 0.5 : 1.0;
    shape->rope_base = 10000.0;
    kvat_json_at places[2] = {at, {json_object_get(at.object, "rope_parameters"), "rope_parameters"}};
    for (size_t i = 0; i < 2; i++) {
        if (!json_is_object(places[i].object)) continue;
        kvat_status status = kvat_json_get_real(&shape->rope_base, places[i], "rope_theta", 1.0, 1e12, false, err);
        if (status == KVAT_OK)
            status = kvat_json_get_real(&part, places[i], "partial_rotary_factor", 0.01, 1.0, false, err);
        if (status != KVAT_OK) return status;
    }
    shape->rope_size = (int64_t)(part * (double)shape->head_size) & ~INT64_C(1);
    return KVAT_OK;
}

static kvat_status read_rest(kvat_shape *shape, kvat_json_at at, kvat_error *err) {
    static const char *const epsilons[] = {"rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon"};
    shape->norm_epsilon = 1e-5;
    shape->tied = families[shape->family].tied;
    kvat_status status = kvat_json_get_bool(&shape->tied, at, "tie_word_embeddings", false, err);
    for (size_t i = 0; i < 3 && status == KVAT_OK; i++)
        status = kvat_json_get_real(&shape->norm_epsilon, at, epsilons[i], 1e-12, 1.0, false, err);
    if (status == KVAT_OK && shape->family == KVAT_FAMILY_GEMMA3)
        status = get_int(&shape->window_tokens, at, (const char *const[]){"sliding_window", NULL}, 1 << 24, false, err);
    return status;
}

static kvat_status check(const kvat_shape *shape, const char *path, kvat_error *err) {
    const char *wrong = NULL;
    bool free_head = shape->family == KVAT_FAMILY_LLAMA || shape->family == KVAT_FAMILY_MISTRAL ||
                     shape->family == KVAT_FAMILY_GEMMA3;
    if (shape->heads % shape->kv_heads)
        wrong = "the number of attention heads is no multiple of the key-value heads";
    else if (!free_head && shape->head_size * shape->heads != shape->embedding)
        wrong = "the hidden size is not heads times head size";
    else if (shape->head_size % 2)
        wrong = "the head size is odd";
    else if (shape->vocabulary < 300)
        wrong = "the vocabulary has fewer than 300 tokens";
    return wrong ? kvat_fail(err, KVAT_ERR_DATA, "%.512s: %s", path, wrong) : KVAT_OK;
}

static kvat_status find_family(kvat_shape *shape, kvat_json_at at, kvat_error *err) {
    const char *type = NULL;
    kvat_status status = kvat_json_get_string(&type, at, "model_type", true, err);
    if (status != KVAT_OK) return status;
    for (size_t i = 0; i < FAMILIES; i++) {
        if (strcmp(families[i].model_type, type) != 0) continue;
        shape->family = (kvat_family)i;
        snprintf(shape->name, sizeof shape->name, "%s-config", type);
        return KVAT_OK;
    }
    return kvat_fail(
        err, KVAT_ERR_DATA,
        "%s: model_type \"%.64s\" cannot be made; supported are gpt2, qwen2, phi, llama, mistral, gemma3_text", at.path,
        type);
}

kvat_status kvat_shape_from_config(kvat_shape *out, const char *path, kvat_error *err) {
    json_t *config = NULL;
    kvat_status status = kvat_json_read_file(&config, path, err);
    if (status != KVAT_OK) return status;
    kvat_shape shape = {0};
    kvat_json_at at = {config, path};
    if (!json_is_object(config)) status = kvat_fail(err, KVAT_ERR_DATA, "%.512s: expected a JSON object", path);
    if (status == KVAT_OK) status = find_family(&shape, at, err);
    if (status == KVAT_OK) status = read_sizes(&shape, at, err);
    if (status == KVAT_OK) status = read_rope(&shape, at, err);
    if (status == KVAT_OK) status = read_rest(&shape, at, err);
    if (status == KVAT_OK) status = check(&shape, path, err);
    if (status == KVAT_OK) *out = shape;
    json_decref(config);
    return status;
}

#define TENSORS_PER_LAYER 20

typedef struct tensor_list {
    kvat_shape_tensor *tensors;
    size_t count;
} tensor_list;

static void add(tensor_list *list, int64_t layer, const char *name, int64_t columns, int64_t rows, kvat_fill fill) {
    kvat_shape_tensor *t = &list->tensors[list->count++];
    if (layer < 0)
        snprintf(t->name, sizeof t->name, "%s", name);
    else
        snprintf(t->name, sizeof t->name, "blk.%d.%s", (int)layer, name);
    t->columns = columns;
    t->rows = rows;
    t->fill = fill;
}

static void add_matrix(tensor_list *list, int64_t layer, const char *stem, int64_t columns, int64_t rows, bool bias) {
    char name[48];
    snprintf(name, sizeof name, "%s.weight", stem);
    add(list, layer, name, columns, rows, KVAT_FILL_WEIGHT);
    snprintf(name, sizeof name, "%s.bias", stem);
    if (bias) add(list, layer, name, rows, 0, KVAT_FILL_BIAS);
}

static void add_norm(tensor_list *list, int64_t layer, const char *stem, int64_t columns, bool bias) {
    char name[48];
    snprintf(name, sizeof name, "%s.weight", stem);
    add(list, layer, name, columns, 0, KVAT_FILL_ONES);
    snprintf(name, sizeof name, "%s.bias", stem);
    if (bias) add(list, layer, name, columns, 0, KVAT_FILL_BIAS);
}

static void add_attention(tensor_list *list, int64_t layer, const kvat_shape *s) {
    const struct family *f = &families[s->family];
    int64_t q = s->heads * s->head_size, kv = s->kv_heads * s->head_size;
    add_norm(list, layer, "attn_norm", s->embedding, f->all_biases);
    if (s->family == KVAT_FAMILY_GPT2) {
        add_matrix(list, layer, "attn_qkv", s->embedding, q + 2 * kv, true);
    } else {
        add_matrix(list, layer, "attn_q", s->embedding, q, f->qkv_bias);
        add_matrix(list, layer, "attn_k", s->embedding, kv, f->qkv_bias);
        add_matrix(list, layer, "attn_v", s->embedding, kv, f->qkv_bias);
    }
    add_matrix(list, layer, "attn_output", q, s->embedding, f->all_biases);
    if (s->family == KVAT_FAMILY_GEMMA3) {
        add_norm(list, layer, "attn_q_norm", s->head_size, false);
        add_norm(list, layer, "attn_k_norm", s->head_size, false);
        add_norm(list, layer, "post_attention_norm", s->embedding, false);
    }
}

static void add_feed_forward(tensor_list *list, int64_t layer, const kvat_shape *s) {
    const struct family *f = &families[s->family];
    if (s->family != KVAT_FAMILY_PHI) add_norm(list, layer, "ffn_norm", s->embedding, f->all_biases);
    if (f->gated) add_matrix(list, layer, "ffn_gate", s->embedding, s->feed_forward, false);
    add_matrix(list, layer, "ffn_up", s->embedding, s->feed_forward, f->all_biases);
    add_matrix(list, layer, "ffn_down", s->feed_forward, s->embedding, f->all_biases);
    if (s->family == KVAT_FAMILY_GEMMA3) add_norm(list, layer, "post_ffw_norm", s->embedding, false);
}

kvat_shape_tensor *kvat_shape_tensors(size_t *count, const kvat_shape *shape) {
    const struct family *f = &families[shape->family];
    tensor_list list = {calloc((size_t)shape->layers * TENSORS_PER_LAYER + 8, sizeof *list.tensors), 0};
    if (!list.tensors) return NULL;
    add_matrix(&list, -1, "token_embd", shape->embedding, shape->vocabulary, false);
    if (shape->family == KVAT_FAMILY_GPT2)
        add_matrix(&list, -1, "position_embd", shape->embedding, shape->context_tokens, false);
    for (int64_t layer = 0; layer < shape->layers; layer++) {
        add_attention(&list, layer, shape);
        add_feed_forward(&list, layer, shape);
    }
    add_norm(&list, -1, "output_norm", shape->embedding, f->all_biases);
    if (!shape->tied)
        add_matrix(&list, -1, "output", shape->embedding, shape->vocabulary, shape->family == KVAT_FAMILY_PHI);
    *count = list.count;
    return list.tensors;
}
