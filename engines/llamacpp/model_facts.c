// The rules a model's keys must keep, as tables, and the facts read from them.
// Must not know: libllama, the protocol, files other than through the GGUF reader.
#include "model_facts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_EXPERTS 1024
#define MAX_TOKENS  ((uint64_t)1 << 24)

/* What a key may hold. Wrong types make libllama throw or abort, so they are refused here with the key's name. */
typedef enum value_shape {
    ONE_U32,
    ONE_U16,
    ONE_I32,
    ONE_F32,
    ONE_BOOL,
    ONE_STRING,
    U32_OR_PER_LAYER,
    U32_OR_FLAGS,
    MANY_STRINGS,
    MANY_I32,
    MANY_F32,
} value_shape;

typedef struct key_rule {
    const char *key;
    value_shape shape;
    bool required;
} key_rule;

static const key_rule general_rules[] = {
    {"general.architecture", ONE_STRING, true},
    {"general.name", ONE_STRING, false},
    {"general.type", ONE_STRING, false},
    {"general.file_type", ONE_U32, false},
    {"general.quantization_version", ONE_U32, false},
    {"split.count", ONE_U16, false},
    {"split.no", ONE_U16, false},
    {"split.tensors.count", ONE_I32, false},
    {"tokenizer.chat_template", ONE_STRING, false},
    {"tokenizer.ggml.model", ONE_STRING, true},
    {"tokenizer.ggml.pre", ONE_STRING, false},
    {"tokenizer.ggml.tokens", MANY_STRINGS, false},
    {"tokenizer.ggml.merges", MANY_STRINGS, false},
    {"tokenizer.ggml.scores", MANY_F32, false},
    {"tokenizer.ggml.token_type", MANY_I32, false},
    {"tokenizer.ggml.bos_token_id", ONE_U32, false},
    {"tokenizer.ggml.eos_token_id", ONE_U32, false},
    {"tokenizer.ggml.eot_token_id", ONE_U32, false},
    {"tokenizer.ggml.unknown_token_id", ONE_U32, false},
    {"tokenizer.ggml.padding_token_id", ONE_U32, false},
    {"tokenizer.ggml.add_bos_token", ONE_BOOL, false},
    {"tokenizer.ggml.add_eos_token", ONE_BOOL, false},
};

/* Keys that start with the architecture's name. */
static const key_rule model_rules[] = {
    {"context_length", ONE_U32, true},
    {"embedding_length", ONE_U32, true},
    {"block_count", ONE_U32, true},
    {"vocab_size", ONE_U32, false},
    {"feed_forward_length", U32_OR_PER_LAYER, false},
    {"attention.head_count", U32_OR_PER_LAYER, false},
    {"attention.head_count_kv", U32_OR_PER_LAYER, false},
    {"attention.key_length", ONE_U32, false},
    {"attention.value_length", ONE_U32, false},
    {"attention.sliding_window", ONE_U32, false},
    {"attention.sliding_window_pattern", U32_OR_FLAGS, false},
    {"attention.layer_norm_epsilon", ONE_F32, false},
    {"attention.layer_norm_rms_epsilon", ONE_F32, false},
    {"attention.causal", ONE_BOOL, false},
    {"rope.dimension_count", ONE_U32, false},
    {"rope.freq_base", ONE_F32, false},
    {"rope.scaling.type", ONE_STRING, false},
    {"rope.scaling.factor", ONE_F32, false},
    {"expert_count", ONE_U32, false},
    {"expert_used_count", U32_OR_PER_LAYER, false},
};

static bool fits(const kvat_gguf_key *key, value_shape shape) {
    bool small_ints = key->type == KVAT_GGUF_U32 || key->type == KVAT_GGUF_I32;
    switch (shape) {
    case ONE_U32:
        return !key->is_array && key->type == KVAT_GGUF_U32;
    case ONE_U16:
        return !key->is_array && key->type == KVAT_GGUF_U16;
    case ONE_I32:
        return !key->is_array && key->type == KVAT_GGUF_I32;
    case ONE_F32:
        return !key->is_array && key->type == KVAT_GGUF_F32;
    case ONE_BOOL:
        return !key->is_array && key->type == KVAT_GGUF_BOOL;
    case ONE_STRING:
        return !key->is_array && key->type == KVAT_GGUF_STRING;
    case U32_OR_PER_LAYER:
        return key->is_array ? small_ints : key->type == KVAT_GGUF_U32;
    case U32_OR_FLAGS:
        return key->is_array ? small_ints || key->type == KVAT_GGUF_BOOL : key->type == KVAT_GGUF_U32;
    case MANY_STRINGS:
        return key->is_array && key->type == KVAT_GGUF_STRING;
    case MANY_I32:
        return key->is_array && small_ints;
    case MANY_F32:
        return key->is_array && key->type == KVAT_GGUF_F32;
    }
    return false;
}

static const char *shape_name(value_shape shape) {
    static const char *const names[] = {
        [ONE_U32] = "a u32",
        [ONE_U16] = "a u16",
        [ONE_I32] = "an i32",
        [ONE_F32] = "an f32",
        [ONE_BOOL] = "a bool",
        [ONE_STRING] = "a string",
        [U32_OR_PER_LAYER] = "a u32 or an array of them",
        [U32_OR_FLAGS] = "a u32 or an array of flags",
        [MANY_STRINGS] = "an array of strings",
        [MANY_I32] = "an array of i32",
        [MANY_F32] = "an array of f32",
    };
    return names[shape];
}

static const kvat_gguf_key *model_key(const kvat_gguf *gguf, const char *architecture, const char *suffix) {
    char name[KVAT_GGUF_MAX_KEY_BYTES + 1];
    snprintf(name, sizeof name, "%s.%s", architecture, suffix);
    return kvat_gguf_find(gguf, name);
}

static kvat_status check_rule(const kvat_gguf *gguf, const kvat_gguf_key *key, const key_rule *rule, kvat_error *err) {
    if (!key && rule->required)
        return kvat__gguf_bad(gguf, 0, err, "the key %s%s is missing",
                              rule->key[0] == 'g' || rule->key[0] == 't' ? "" : "<architecture>.", rule->key);
    if (key && !fits(key, rule->shape))
        return kvat__gguf_bad(gguf, key->offset, err, "the key %s must be %s, but it is %s%s", key->name,
                              shape_name(rule->shape), key->is_array ? "an array of " : "",
                              kvat_gguf_type_name(key->type));
    return KVAT_OK;
}

static kvat_status check_rules(kvat_gguf *gguf, const char *architecture, const key_rule *rules, size_t n,
                               kvat_error *err) {
    for (size_t i = 0; i < n; i++) {
        const kvat_gguf_key *key =
            architecture ? model_key(gguf, architecture, rules[i].key) : kvat_gguf_find(gguf, rules[i].key);
        kvat_status status = check_rule(gguf, key, &rules[i], err);
        if (status != KVAT_OK) return status;
    }
    return KVAT_OK;
}

/* A string value cut to the room there is; "" when the key is absent. */
static kvat_status read_string(char *out, size_t room, kvat_gguf *gguf, const char *name, kvat_error *err) {
    const kvat_gguf_key *key = kvat_gguf_find(gguf, name);
    memset(out, 0, room);
    if (!key) return KVAT_OK;
    size_t n = key->count < room - 1 ? (size_t)key->count : room - 1;
    return kvat_gguf_read(gguf, key->offset, out, n, err);
}

static kvat_status read_architecture(kvat_model_facts *facts, kvat_gguf *gguf, kvat_error *err) {
    kvat_status status =
        read_string(facts->architecture, sizeof facts->architecture, gguf, "general.architecture", err);
    if (status != KVAT_OK) return status;
    const kvat_gguf_key *key = kvat_gguf_find(gguf, "general.architecture");
    size_t n = strspn(facts->architecture, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    if (n == 0 || n != key->count)
        return kvat__gguf_bad(gguf, key->offset, err, "general.architecture is not the name of an architecture");
    char kind[16];
    status = read_string(kind, sizeof kind, gguf, "general.type", err);
    if (status == KVAT_OK && kind[0] && strcmp(kind, "model") != 0)
        status =
            kvat__gguf_bad(gguf, 0, err, "this file holds no model that can run alone (general.type says otherwise)");
    return status;
}

static kvat_status read_u32(int64_t *out, kvat_gguf *gguf, const char *architecture, const char *suffix, int64_t low,
                            int64_t high, kvat_error *err) {
    const kvat_gguf_key *key = model_key(gguf, architecture, suffix);
    if (!key) return KVAT_OK;
    if ((int64_t)key->bits < low || (int64_t)key->bits > high)
        return kvat__gguf_bad(gguf, key->offset, err, "the key %s is %" PRIu64 ", not within %" PRId64 " to %" PRId64,
                              key->name, key->bits, low, high);
    *out = (int64_t)key->bits;
    return KVAT_OK;
}

/* One number for all layers, or one a layer; *most is the largest. */
static kvat_status read_per_layer(uint32_t *values, int64_t *most, kvat_gguf *gguf, const kvat_model_facts *facts,
                                  const char *suffix, kvat_error *err) {
    const kvat_gguf_key *key = model_key(gguf, facts->architecture, suffix);
    if (!key) return KVAT_OK;
    if (key->is_array && key->count < (uint64_t)facts->layers)
        return kvat__gguf_bad(gguf, key->offset, err, "the key %s has %" PRIu64 " values for %" PRId64 " layers",
                              key->name, key->count, facts->layers);
    *most = 0;
    for (int64_t i = 0; i < facts->layers; i++) {
        uint8_t raw[4] = {(uint8_t)key->bits, (uint8_t)(key->bits >> 8), (uint8_t)(key->bits >> 16),
                          (uint8_t)(key->bits >> 24)};
        if (key->is_array) {
            kvat_status status = kvat_gguf_read(gguf, key->offset + 4 * (uint64_t)i, raw, 4, err);
            if (status != KVAT_OK) return status;
        }
        values[i] = raw[0] | (uint32_t)raw[1] << 8 | (uint32_t)raw[2] << 16 | (uint32_t)raw[3] << 24;
        if (values[i] > 65536)
            return kvat__gguf_bad(gguf, key->offset, err, "the key %s is %" PRIu32 " for layer %" PRId64, key->name,
                                  values[i], i);
        if (values[i] > *most) *most = values[i];
    }
    return KVAT_OK;
}

/* Models without any attention (Mamba, RWKV) have no heads. */
static bool is_recurrent(const kvat_gguf *gguf, const char *architecture) {
    return model_key(gguf, architecture, "ssm.state_size") || model_key(gguf, architecture, "ssm.conv_kernel") ||
           model_key(gguf, architecture, "wkv.head_size");
}

static kvat_status read_heads(kvat_model_facts *facts, kvat_gguf *gguf, kvat_error *err) {
    uint32_t heads[KVAT_MODEL_MAX_LAYERS] = {0};
    const kvat_gguf_key *key = model_key(gguf, facts->architecture, "attention.head_count");
    kvat_status status = read_per_layer(heads, &facts->heads, gguf, facts, "attention.head_count", err);
    if (status != KVAT_OK) return status;
    memcpy(facts->layer_kv_heads, heads, sizeof heads);
    facts->kv_heads = facts->heads;
    status = read_per_layer(facts->layer_kv_heads, &facts->kv_heads, gguf, facts, "attention.head_count_kv", err);
    if (status != KVAT_OK) return status;
    uint64_t at = key ? key->offset : 0;
    if (facts->heads == 0 && !is_recurrent(gguf, facts->architecture))
        return kvat__gguf_bad(gguf, at, err, "attention.head_count is %s", key ? "0" : "missing");
    for (int64_t i = 0; i < facts->layers; i++)
        if (facts->layer_kv_heads[i] && heads[i] % facts->layer_kv_heads[i])
            return kvat__gguf_bad(gguf, at, err, "layer %" PRId64 " has %u heads for %u key-value heads", i, heads[i],
                                  facts->layer_kv_heads[i]);
    return KVAT_OK;
}

static kvat_status read_head_sizes(kvat_model_facts *facts, kvat_gguf *gguf, kvat_error *err) {
    if (facts->heads == 0) return KVAT_OK;
    facts->k_head_size = facts->v_head_size = facts->embedding / facts->heads;
    bool stated = model_key(gguf, facts->architecture, "attention.key_length") != NULL;
    if (!stated && facts->embedding % facts->heads)
        return kvat__gguf_bad(gguf, 0, err, "an embedding of %" PRId64 " does not divide into %" PRId64 " heads",
                              facts->embedding, facts->heads);
    kvat_status status =
        read_u32(&facts->k_head_size, gguf, facts->architecture, "attention.key_length", 1, 65536, err);
    if (status == KVAT_OK)
        status = read_u32(&facts->v_head_size, gguf, facts->architecture, "attention.value_length", 1, 65536, err);
    return status;
}

static kvat_status read_experts(kvat_model_facts *facts, kvat_gguf *gguf, kvat_error *err) {
    kvat_status status = read_u32(&facts->experts, gguf, facts->architecture, "expert_count", 0, MAX_EXPERTS, err);
    if (status != KVAT_OK) return status;
    uint32_t used[KVAT_MODEL_MAX_LAYERS] = {0};
    int64_t most = 0;
    status = read_per_layer(used, &most, gguf, facts, "expert_used_count", err);
    if (status == KVAT_OK && (most > facts->experts || (facts->experts > 0 && most == 0)))
        status = kvat__gguf_bad(gguf, 0, err, "%" PRId64 " of %" PRId64 " experts are used for a token", most,
                                facts->experts);
    return status;
}

#define SPECIAL_KEYS 5

typedef struct special_ids {
    uint64_t ids[SPECIAL_KEYS];
    size_t count;
} special_ids;

static special_ids find_special_ids(const kvat_gguf *gguf) {
    static const char *const names[SPECIAL_KEYS] = {"bos", "eos", "eot", "unknown", "padding"};
    special_ids special = {{0}, 0};
    for (size_t i = 0; i < SPECIAL_KEYS; i++) {
        char name[64];
        snprintf(name, sizeof name, "tokenizer.ggml.%s_token_id", names[i]);
        const kvat_gguf_key *key = kvat_gguf_find(gguf, name);
        if (key) special.ids[special.count++] = key->bits;
    }
    return special;
}

static bool is_special(const special_ids *special, uint64_t id) {
    for (size_t i = 0; i < special->count; i++)
        if (special->ids[i] == id) return true;
    return false;
}

/* The longest run of token type 1, "normal", without the special ids. */
static kvat_status find_token_range(kvat_model_facts *facts, kvat_gguf *gguf, const kvat_gguf_key *types,
                                    kvat_error *err) {
    const special_ids special = find_special_ids(gguf);
    uint64_t run = 0;
    for (uint64_t id = 0; id < (uint64_t)facts->vocabulary; id++) {
        uint8_t raw[4] = {1, 0, 0, 0};
        kvat_status status = types ? kvat_gguf_read(gguf, types->offset + 4 * id, raw, 4, err) : KVAT_OK;
        if (status != KVAT_OK) return status;
        bool ordinary = raw[0] == 1 && !raw[1] && !raw[2] && !raw[3];
        run = ordinary && !is_special(&special, id) ? run + 1 : 0;
        if ((int64_t)run > facts->token_high - facts->token_low) {
            facts->token_low = (int64_t)(id + 1 - run);
            facts->token_high = (int64_t)(id + 1);
        }
    }
    if (facts->token_high == 0) return kvat__gguf_bad(gguf, 0, err, "the vocabulary has no ordinary token");
    return KVAT_OK;
}

static kvat_status hash_token(uint64_t *hash, uint64_t *at, kvat_gguf *gguf, kvat_error *err) {
    uint8_t raw[8], part[256];
    kvat_status status = kvat_gguf_read(gguf, *at, raw, sizeof raw, err);
    uint64_t length = 0;
    for (size_t i = 0; i < sizeof raw; i++) length |= (uint64_t)raw[i] << (8 * i);
    /* libllama gives empty tokens names of their own, by their place. */
    *hash = UINT64_C(0xcbf29ce484222325) ^ (length ? 0 : *at);
    for (*at += sizeof raw; length && status == KVAT_OK;) {
        size_t n = length < sizeof part ? (size_t)length : sizeof part;
        status = kvat_gguf_read(gguf, *at, part, n, err);
        for (size_t i = 0; i < n; i++) *hash = (*hash ^ part[i]) * UINT64_C(0x100000001b3);
        *at += n;
        length -= n;
    }
    return status;
}

static void sift_down(uint64_t *heap, size_t at, size_t n) {
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && heap[child + 1] > heap[child]) child++;
        if (heap[at] >= heap[child]) return;
        uint64_t swap = heap[at];
        heap[at] = heap[child];
        heap[child] = swap;
    }
}

/* A heap sort: qsort() would take as much memory again. */
static void sort(uint64_t *values, size_t n) {
    for (size_t i = n / 2; i-- > 0;) sift_down(values, i, n);
    for (size_t left = n; left-- > 1;) {
        uint64_t swap = values[0];
        values[0] = values[left];
        values[left] = swap;
        sift_down(values, 0, left);
    }
}

/* libllama aborts on a vocabulary in which a token stands twice. */
static kvat_status check_tokens_differ(kvat_gguf *gguf, const kvat_gguf_key *tokens, kvat_error *err) {
    size_t n = (size_t)tokens->count;
    uint64_t *hashes = calloc(n, sizeof *hashes), at = tokens->offset;
    kvat_status status = hashes ? KVAT_OK : kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate %zu tokens", n);
    for (size_t i = 0; i < n && status == KVAT_OK; i++) status = hash_token(&hashes[i], &at, gguf, err);
    if (status == KVAT_OK) sort(hashes, n);
    for (size_t i = 1; i < n && status == KVAT_OK; i++)
        if (hashes[i] == hashes[i - 1])
            status = kvat__gguf_bad(gguf, tokens->offset, err, "a token stands in the vocabulary twice");
    free(hashes);
    return status;
}

static kvat_status read_vocabulary(kvat_model_facts *facts, kvat_gguf *gguf, kvat_error *err) {
    kvat_status status = read_string(facts->tokenizer, sizeof facts->tokenizer, gguf, "tokenizer.ggml.model", err);
    if (status == KVAT_OK)
        status = read_u32(&facts->vocabulary, gguf, facts->architecture, "vocab_size", 1, MAX_TOKENS, err);
    if (status != KVAT_OK) return status;
    const kvat_gguf_key *tokens = kvat_gguf_find(gguf, "tokenizer.ggml.tokens");
    const kvat_gguf_key *types = kvat_gguf_find(gguf, "tokenizer.ggml.token_type");
    const kvat_gguf_key *scores = kvat_gguf_find(gguf, "tokenizer.ggml.scores");
    if (tokens) facts->vocabulary = (int64_t)tokens->count;
    if (facts->vocabulary == 0) facts->vocabulary = kvat_gguf_embedding_rows(gguf);
    if (facts->vocabulary < 1 || facts->vocabulary > (int64_t)MAX_TOKENS)
        return kvat__gguf_bad(gguf, tokens ? tokens->offset : 0, err, "a vocabulary of %" PRId64 " tokens",
                              facts->vocabulary);
    if (types && types->count < (uint64_t)facts->vocabulary)
        return kvat__gguf_bad(gguf, types->offset, err, "%" PRIu64 " token types for %" PRId64 " tokens", types->count,
                              facts->vocabulary);
    if (scores && scores->count < (uint64_t)facts->vocabulary)
        return kvat__gguf_bad(gguf, scores->offset, err, "%" PRIu64 " token scores for %" PRId64 " tokens",
                              scores->count, facts->vocabulary);
    status = tokens ? check_tokens_differ(gguf, tokens, err) : KVAT_OK;
    return status == KVAT_OK ? find_token_range(facts, gguf, types, err) : status;
}

static kvat_status hash_template(kvat_model_facts *facts, kvat_gguf *gguf, kvat_error *err) {
    const kvat_gguf_key *key = kvat_gguf_find(gguf, "tokenizer.chat_template");
    if (!key) return KVAT_OK;
    kvat_hash hash;
    kvat_hash_init(&hash);
    char part[4096];
    for (uint64_t done = 0; done < key->count;) {
        size_t n = key->count - done < sizeof part ? (size_t)(key->count - done) : sizeof part;
        kvat_status status = kvat_gguf_read(gguf, key->offset + done, part, n, err);
        if (status != KVAT_OK) return status;
        kvat_hash_update(&hash, part, n);
        done += n;
    }
    kvat_hash_final(facts->chat_template_sha256, &hash);
    return KVAT_OK;
}

static kvat_status read_shape(kvat_model_facts *facts, kvat_gguf *gguf, kvat_error *err) {
    const char *arch = facts->architecture;
    kvat_status status = read_u32(&facts->layers, gguf, arch, "block_count", 1, KVAT_MODEL_MAX_LAYERS, err);
    if (status == KVAT_OK) status = read_u32(&facts->embedding, gguf, arch, "embedding_length", 1, 1 << 20, err);
    if (status == KVAT_OK)
        status = read_u32(&facts->training_context_tokens, gguf, arch, "context_length", 1, INT32_MAX, err);
    if (status == KVAT_OK)
        status = read_u32(&facts->window_tokens, gguf, arch, "attention.sliding_window", 0, INT32_MAX, err);
    if (status == KVAT_OK) status = read_heads(facts, gguf, err);
    if (status == KVAT_OK) status = read_head_sizes(facts, gguf, err);
    if (status == KVAT_OK) status = read_experts(facts, gguf, err);
    return status;
}

kvat_status kvat_model_facts_read(kvat_model_facts *out, kvat_gguf *gguf, kvat_error *err) {
    kvat_model_facts *facts = calloc(1, sizeof *facts);
    if (!facts) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the model's facts");
    kvat_status status = check_rules(gguf, NULL, general_rules, sizeof general_rules / sizeof *general_rules, err);
    if (status == KVAT_OK) status = read_architecture(facts, gguf, err);
    if (status == KVAT_OK)
        status = check_rules(gguf, facts->architecture, model_rules, sizeof model_rules / sizeof *model_rules, err);
    if (status == KVAT_OK) status = read_shape(facts, gguf, err);
    if (status == KVAT_OK) status = read_vocabulary(facts, gguf, err);
    if (status == KVAT_OK) status = read_string(facts->name, sizeof facts->name, gguf, "general.name", err);
    if (status == KVAT_OK) status = hash_template(facts, gguf, err);
    if (status == KVAT_OK) *out = *facts;
    free(facts);
    return status;
}
