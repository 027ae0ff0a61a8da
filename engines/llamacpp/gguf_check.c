// The checks on a GGUF header: every count, length, type, offset and sum is compared with what the file can hold first.
// Must not know: libllama, the protocol, what the keys mean to a model.
#include "gguf_check.h"

#include <stdlib.h>
#include <string.h>

#include "gguf_internal.h"
#include "kvat/buf.h"

#define DEFAULT_ALIGNMENT     32u
#define SMALLEST_KEY_BYTES    14 /* length, one character, type, one byte */
#define SMALLEST_TENSOR_BYTES 33 /* length, one character, dimensions, one size, type, offset */

typedef struct cursor {
    kvat_gguf *gguf;
    uint64_t at;
    kvat_error *err;
} cursor;

static const struct {
    const char *name;
    size_t bytes;
} value_types[KVAT_GGUF_TYPES] = {
    {"u8", 1},   {"i8", 1},     {"u16", 2},   {"i16", 2}, {"u32", 4}, {"i32", 4}, {"f32", 4},
    {"bool", 1}, {"string", 0}, {"array", 0}, {"u64", 8}, {"i64", 8}, {"f64", 8},
};

size_t kvat_gguf_type_bytes(kvat_gguf_type type) {
    return value_types[type].bytes;
}

const char *kvat_gguf_type_name(kvat_gguf_type type) {
    return value_types[type].name;
}

static uint64_t remaining(const cursor *c) {
    return c->gguf->size - c->at;
}

/* Little-endian number of `n` ≤ 8 bytes. */
static kvat_status take(uint64_t *out, cursor *c, size_t n) {
    uint8_t raw[8] = {0};
    kvat_status status = kvat_gguf_read(c->gguf, c->at, raw, n, c->err);
    if (status != KVAT_OK) return status;
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++) value |= (uint64_t)raw[i] << (8 * i);
    c->at += n;
    *out = value;
    return KVAT_OK;
}

/* File text made fit to be quoted in a message. */
static void quote(char *out, size_t room, const char *text) {
    kvat_buf buf;
    kvat_buf_init(&buf, 0);
    kvat_escape_terminal(&buf, text);
    kvat_buf cut;
    kvat_buf_init(&cut, 0);
    kvat_text_fit(&cut, buf.bytes ? buf.bytes : "", 64, 0, 0);
    size_t n = cut.length < room - 1 ? cut.length : room - 1;
    if (n) memcpy(out, cut.bytes, n);
    out[n] = '\0';
    kvat_buf_clear(&cut);
    kvat_buf_clear(&buf);
}

static uint64_t hash_text(const char *text) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (; *text; text++) hash = (hash ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
    return hash;
}

static kvat_status take_magic(cursor *c) {
    uint8_t magic[4] = {0};
    uint64_t have = remaining(c) < 4 ? remaining(c) : 4;
    kvat_status status = kvat_gguf_read(c->gguf, 0, magic, (size_t)have, c->err);
    if (status != KVAT_OK) return status;
    if (have == 0) return kvat__gguf_bad(c->gguf, 0, c->err, "the file is empty");
    if (memcmp(magic, "GGUF", (size_t)have) != 0)
        return kvat__gguf_bad(c->gguf, 0, c->err, "not a GGUF file: it does not start with \"GGUF\"");
    if (have < 4) return kvat__gguf_bad(c->gguf, have, c->err, "the file ends within the magic number");
    c->at = 4;
    return KVAT_OK;
}

static kvat_status take_version(cursor *c) {
    uint64_t version = 0;
    kvat_status status = take(&version, c, 4);
    if (status != KVAT_OK) return status;
    if (version != 0 && (version & 0xFFFF) == 0)
        return kvat__gguf_bad(c->gguf, 4, c->err, "this is a big-endian GGUF file, which this machine cannot run");
    if (version < 2)
        return kvat__gguf_bad(c->gguf, 4, c->err, "GGUF version %u is no longer supported", (unsigned)version);
    if (version > 3)
        return kvat__gguf_bad(c->gguf, 4, c->err, "GGUF version %u is newer than 3, the newest known",
                              (unsigned)version);
    return KVAT_OK;
}

static kvat_status take_count(uint64_t *out, cursor *c, const char *what, uint64_t most, uint64_t least_bytes) {
    uint64_t at = c->at;
    kvat_status status = take(out, c, 8);
    if (status != KVAT_OK) return status;
    if (*out > most)
        return kvat__gguf_bad(c->gguf, at, c->err, "%lld %s; at most %llu are accepted", (long long)*out, what,
                              (unsigned long long)most);
    if (*out * least_bytes > c->gguf->size)
        return kvat__gguf_bad(c->gguf, at, c->err, "%llu %s do not fit in a file of %llu bytes",
                              (unsigned long long)*out, what, (unsigned long long)c->gguf->size);
    return KVAT_OK;
}

/* A short text (a key or a tensor's name) as a new C string. */
static kvat_status take_name(char **out, cursor *c, const char *what, uint64_t most) {
    uint64_t at = c->at, n = 0;
    kvat_status status = take(&n, c, 8);
    if (status != KVAT_OK) return status;
    if (n == 0) return kvat__gguf_bad(c->gguf, at, c->err, "an empty %s", what);
    if (n > most)
        return kvat__gguf_bad(c->gguf, at, c->err, "a %s of %llu bytes; at most %llu are accepted", what,
                              (unsigned long long)n, (unsigned long long)most);
    char *name = calloc((size_t)n + 1, 1);
    if (!name) return kvat_fail(c->err, KVAT_ERR_NOMEM, "cannot allocate a %s", what);
    status = kvat_gguf_read(c->gguf, c->at, name, (size_t)n, c->err);
    if (status == KVAT_OK && memchr(name, 0, (size_t)n))
        status = kvat__gguf_bad(c->gguf, c->at, c->err, "a %s with a NUL character", what);
    if (status == KVAT_OK) {
        c->at += n;
        *out = name;
    } else {
        free(name);
    }
    return status;
}

static kvat_status header_within_ceiling(const cursor *c) {
    if (c->at <= KVAT_GGUF_MAX_HEADER_BYTES) return KVAT_OK;
    return kvat__gguf_bad(c->gguf, c->at, c->err, "the header is larger than %llu MiB",
                          (unsigned long long)(KVAT_GGUF_MAX_HEADER_BYTES >> 20));
}

static kvat_status skip_string(cursor *c, uint64_t *length) {
    uint64_t at = c->at;
    kvat_status status = take(length, c, 8);
    if (status != KVAT_OK) return status;
    if (*length > remaining(c))
        return kvat__gguf_bad(c->gguf, at, c->err, "a string of %llu bytes, but the file has %llu left",
                              (unsigned long long)*length, (unsigned long long)remaining(c));
    c->at += *length;
    return header_within_ceiling(c);
}

static kvat_status take_type(kvat_gguf_type *out, cursor *c) {
    uint64_t at = c->at, type = 0;
    kvat_status status = take(&type, c, 4);
    if (status != KVAT_OK) return status;
    if (type >= KVAT_GGUF_TYPES)
        return kvat__gguf_bad(c->gguf, at, c->err, "value type %llu does not exist", (unsigned long long)type);
    *out = (kvat_gguf_type)type;
    return KVAT_OK;
}

static kvat_status bools_are_bools(cursor *c, uint64_t count) {
    uint8_t part[4096];
    for (uint64_t done = 0; done < count;) {
        size_t n = count - done < sizeof part ? (size_t)(count - done) : sizeof part;
        kvat_status status = kvat_gguf_read(c->gguf, c->at + done, part, n, c->err);
        if (status != KVAT_OK) return status;
        for (size_t i = 0; i < n; i++)
            if (part[i] > 1)
                return kvat__gguf_bad(c->gguf, c->at + done + i, c->err, "a truth value of %u", (unsigned)part[i]);
        done += n;
    }
    return KVAT_OK;
}

static kvat_status skip_array(kvat_gguf_key *key, cursor *c) {
    kvat_status status = take_type(&key->type, c);
    if (status != KVAT_OK) return status;
    if (key->type == KVAT_GGUF_ARRAY) return kvat__gguf_bad(c->gguf, c->at - 4, c->err, "an array within an array");
    uint64_t at = c->at;
    status = take(&key->count, c, 8);
    if (status != KVAT_OK) return status;
    size_t each = key->type == KVAT_GGUF_STRING ? 8 : kvat_gguf_type_bytes(key->type);
    if (key->count > remaining(c) / each)
        return kvat__gguf_bad(c->gguf, at, c->err, "an array of %llu values, but the file has %llu bytes left",
                              (unsigned long long)key->count, (unsigned long long)remaining(c));
    key->offset = c->at;
    if (key->type != KVAT_GGUF_STRING) {
        if (c->at + key->count * each > KVAT_GGUF_MAX_HEADER_BYTES) {
            c->at += key->count * each;
            return header_within_ceiling(c);
        }
        if (key->type == KVAT_GGUF_BOOL) status = bools_are_bools(c, key->count);
        c->at += key->count * each;
        return status;
    }
    uint64_t length;
    for (uint64_t i = 0; i < key->count && status == KVAT_OK; i++) status = skip_string(c, &length);
    return status;
}

static kvat_status skip_value(kvat_gguf_key *key, cursor *c) {
    if (key->type == KVAT_GGUF_ARRAY) {
        key->is_array = true;
        return skip_array(key, c);
    }
    if (key->type == KVAT_GGUF_STRING) {
        kvat_status status = skip_string(c, &key->count);
        key->offset = c->at - key->count;
        return status;
    }
    key->count = 1;
    key->offset = c->at;
    if (key->type == KVAT_GGUF_BOOL) {
        kvat_status status = bools_are_bools(c, 1);
        if (status != KVAT_OK) return status;
    }
    return take(&key->bits, c, kvat_gguf_type_bytes(key->type));
}

static kvat_status take_key(kvat_gguf_key *key, cursor *c) {
    kvat_status status = take_name(&key->name, c, "key", KVAT_GGUF_MAX_KEY_BYTES);
    if (status != KVAT_OK) return status;
    key->hash = hash_text(key->name);
    status = take_type(&key->type, c);
    if (status == KVAT_OK) status = skip_value(key, c);
    return status == KVAT_OK ? header_within_ceiling(c) : status;
}

typedef struct named {
    uint64_t hash;
    uint64_t at; /* file offset, for the message */
} named;

static int by_hash(const void *a, const void *b) {
    const named *x = a, *y = b;
    if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* Equal hashes count as equal names: 64 bits do not collide by chance in so few. */
static kvat_status all_different(const cursor *c, named *names, size_t n, const char *what) {
    if (n > 1) qsort(names, n, sizeof *names, by_hash);
    for (size_t i = 1; i < n; i++)
        if (names[i].hash == names[i - 1].hash)
            return kvat__gguf_bad(c->gguf, names[i].at, c->err, "this %s stands in the file twice (first at byte %llu)",
                                  what, (unsigned long long)names[i - 1].at);
    return KVAT_OK;
}

static kvat_status take_keys(cursor *c, uint64_t count) {
    kvat_gguf *gguf = c->gguf;
    named *names = calloc((size_t)count + 1, sizeof *names);
    gguf->keys = calloc((size_t)count + 1, sizeof *gguf->keys);
    kvat_status status =
        names && gguf->keys ? KVAT_OK
                            : kvat_fail(c->err, KVAT_ERR_NOMEM, "cannot allocate %llu keys", (unsigned long long)count);
    for (uint64_t i = 0; i < count && status == KVAT_OK; i++) {
        names[i].at = c->at;
        gguf->key_count = (size_t)i + 1;
        status = take_key(&gguf->keys[i], c);
        names[i].hash = gguf->keys[i].hash;
    }
    if (status == KVAT_OK) status = all_different(c, names, (size_t)count, "key");
    free(names);
    return status;
}

static kvat_status find_alignment(cursor *c) {
    c->gguf->alignment = DEFAULT_ALIGNMENT;
    const kvat_gguf_key *key = kvat_gguf_find(c->gguf, "general.alignment");
    if (!key) return KVAT_OK;
    if (key->is_array || key->type != KVAT_GGUF_U32)
        return kvat__gguf_bad(c->gguf, key->offset, c->err, "general.alignment must be a u32");
    if (key->bits == 0 || (key->bits & (key->bits - 1)) || key->bits > KVAT_GGUF_MAX_ALIGNMENT)
        return kvat__gguf_bad(c->gguf, key->offset, c->err, "general.alignment %llu is not a power of two up to %u",
                              (unsigned long long)key->bits, KVAT_GGUF_MAX_ALIGNMENT);
    c->gguf->alignment = (uint32_t)key->bits;
    return KVAT_OK;
}

typedef struct tensor {
    char *name;
    uint64_t name_at;
    uint64_t sizes[4];
    uint32_t type;
    uint64_t offset, offset_at;
    uint64_t bytes;
} tensor;

static kvat_status take_sizes(tensor *t, cursor *c, uint64_t *elements) {
    uint64_t at = c->at, dimensions = 0;
    kvat_status status = take(&dimensions, c, 4);
    if (status != KVAT_OK) return status;
    if (dimensions < 1 || dimensions > 4)
        return kvat__gguf_bad(c->gguf, at, c->err, "a tensor of %llu dimensions", (unsigned long long)dimensions);
    *elements = 1;
    for (size_t i = 0; i < 4; i++) {
        t->sizes[i] = 1;
        if (i >= dimensions) continue;
        at = c->at;
        status = take(&t->sizes[i], c, 8);
        if (status != KVAT_OK) return status;
        if (t->sizes[i] == 0 || t->sizes[i] > INT64_MAX)
            return kvat__gguf_bad(c->gguf, at, c->err, "a tensor size of %lld", (long long)t->sizes[i]);
        if (__builtin_mul_overflow(*elements, t->sizes[i], elements) || *elements > INT64_MAX)
            return kvat__gguf_bad(c->gguf, at, c->err, "the product of the tensor's sizes is too large");
    }
    return KVAT_OK;
}

static kvat_status take_tensor_type(tensor *t, cursor *c, uint64_t elements) {
    uint64_t at = c->at, number = 0;
    kvat_status status = take(&number, c, 4);
    if (status != KVAT_OK) return status;
    const kvat_gguf_tensor_type *type = kvat_gguf_tensor_type_get((uint32_t)number);
    if (!type)
        return kvat__gguf_bad(c->gguf, at, c->err, "tensor type %llu is unknown or withdrawn",
                              (unsigned long long)number);
    if (t->sizes[0] % type->block)
        return kvat__gguf_bad(c->gguf, at, c->err, "rows of %llu values do not divide into the blocks of %u of type %s",
                              (unsigned long long)t->sizes[0], type->block, type->name);
    if (__builtin_mul_overflow(elements / type->block, (uint64_t)type->block_bytes, &t->bytes) || t->bytes > INT64_MAX)
        return kvat__gguf_bad(c->gguf, at, c->err, "the tensor's size in bytes is too large");
    t->type = (uint32_t)number;
    return KVAT_OK;
}

static kvat_status take_tensor(tensor *t, cursor *c) {
    t->name_at = c->at;
    kvat_status status = take_name(&t->name, c, "tensor name", KVAT_GGUF_MAX_TENSOR_NAME);
    if (status != KVAT_OK) return status;
    uint64_t elements = 0;
    status = take_sizes(t, c, &elements);
    if (status == KVAT_OK) status = take_tensor_type(t, c, elements);
    t->offset_at = c->at;
    if (status == KVAT_OK) status = take(&t->offset, c, 8);
    return status == KVAT_OK ? header_within_ceiling(c) : status;
}

/* Tensors lie one after another, each padded: the only layout the engine accepts. */
static kvat_status place_tensor(uint64_t *end, cursor *c, const tensor *t) {
    char name[128];
    uint64_t mask = c->gguf->alignment - 1, last = 0;
    if (t->offset == *end && !__builtin_add_overflow(*end, t->bytes, &last) &&
        !__builtin_add_overflow(last, mask, end) && *end <= INT64_MAX) {
        *end &= ~mask;
        return KVAT_OK;
    }
    quote(name, sizeof name, t->name);
    if (t->offset % c->gguf->alignment)
        return kvat__gguf_bad(c->gguf, t->offset_at, c->err, "tensor %s starts at %llu, not at a multiple of %u", name,
                              (unsigned long long)t->offset, c->gguf->alignment);
    return kvat__gguf_bad(c->gguf, t->offset_at, c->err, "tensor %s starts at %llu instead of %llu", name,
                          (unsigned long long)t->offset, (unsigned long long)*end);
}

static kvat_status data_in_file(const cursor *c, uint64_t data_end) {
    const kvat_gguf *gguf = c->gguf;
    uint64_t needed;
    if (!__builtin_add_overflow(gguf->header_bytes, data_end, &needed) && needed <= gguf->size) return KVAT_OK;
    return kvat__gguf_bad(
        gguf, gguf->size, c->err,
        "the file ends here, but its tensors need %llu bytes after the header of %llu; it is cut short",
        (unsigned long long)data_end, (unsigned long long)gguf->header_bytes);
}

static kvat_status take_tensors(cursor *c) {
    kvat_gguf *gguf = c->gguf;
    size_t count = (size_t)gguf->tensor_count;
    named *names = calloc(count + 1, sizeof *names);
    if (!names) return kvat_fail(c->err, KVAT_ERR_NOMEM, "cannot allocate %zu tensor names", count);
    kvat_status status = KVAT_OK;
    uint64_t end = 0, data_end = 0;
    for (size_t i = 0; i < count && status == KVAT_OK; i++) {
        tensor t = {0};
        status = take_tensor(&t, c);
        if (status == KVAT_OK) status = place_tensor(&end, c, &t);
        if (status == KVAT_OK) {
            names[i] = (named){hash_text(t.name), t.name_at};
            data_end = t.offset + t.bytes;
            gguf->bytes_of_type[t.type] += t.bytes;
            if (strcmp(t.name, "token_embd.weight") == 0) gguf->embedding_rows = (int64_t)t.sizes[1];
        }
        free(t.name);
    }
    if (status == KVAT_OK) status = all_different(c, names, count, "tensor name");
    if (status == KVAT_OK) {
        uint64_t mask = gguf->alignment - 1;
        gguf->header_bytes = (c->at + mask) & ~mask;
        if (count) status = data_in_file(c, data_end);
    }
    free(names);
    return status;
}

static kvat_status check(kvat_gguf *gguf, kvat_error *err) {
    cursor c = {gguf, 0, err};
    uint64_t tensors = 0, keys = 0;
    kvat_status status = take_magic(&c);
    if (status == KVAT_OK) status = take_version(&c);
    if (status == KVAT_OK) status = take_count(&tensors, &c, "tensors", KVAT_GGUF_MAX_TENSORS, SMALLEST_TENSOR_BYTES);
    if (status == KVAT_OK) status = take_count(&keys, &c, "keys", KVAT_GGUF_MAX_KEYS, SMALLEST_KEY_BYTES);
    gguf->tensor_count = (int64_t)tensors;
    if (status == KVAT_OK) status = take_keys(&c, keys);
    if (status == KVAT_OK) status = find_alignment(&c);
    if (status == KVAT_OK) status = take_tensors(&c);
    return status;
}

static kvat_status check_or_free(kvat_gguf **out, kvat_gguf *gguf, kvat_error *err) {
    kvat_status status = check(gguf, err);
    if (status == KVAT_OK)
        *out = gguf;
    else
        kvat_gguf_free(gguf);
    return status;
}

kvat_status kvat_gguf_open(kvat_gguf **out, const char *path, kvat_error *err) {
    kvat_gguf *gguf = NULL;
    kvat_status status = kvat__gguf_source_new(&gguf, path, NULL, 0, err);
    return status == KVAT_OK ? check_or_free(out, gguf, err) : status;
}

kvat_status kvat_gguf_parse(kvat_gguf **out, const void *bytes, size_t n, kvat_error *err) {
    kvat_gguf *gguf = NULL;
    kvat_status status = kvat__gguf_source_new(&gguf, NULL, bytes ? bytes : "", n, err);
    return status == KVAT_OK ? check_or_free(out, gguf, err) : status;
}

const kvat_gguf_key *kvat_gguf_find(const kvat_gguf *gguf, const char *name) {
    uint64_t hash = hash_text(name);
    for (size_t i = 0; i < gguf->key_count; i++)
        // NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): a key that was counted has a name
        if (gguf->keys[i].hash == hash && strcmp(gguf->keys[i].name, name) == 0) return &gguf->keys[i];
    return NULL;
}

size_t kvat_gguf_key_count(const kvat_gguf *gguf) {
    return gguf->key_count;
}

int64_t kvat_gguf_tensor_count(const kvat_gguf *gguf) {
    return gguf->tensor_count;
}

uint64_t kvat_gguf_header_bytes(const kvat_gguf *gguf) {
    return gguf->header_bytes;
}

uint64_t kvat_gguf_bytes_of_type(const kvat_gguf *gguf, uint32_t type) {
    return type < KVAT_GGUF_TENSOR_TYPES ? gguf->bytes_of_type[type] : 0;
}

int64_t kvat_gguf_embedding_rows(const kvat_gguf *gguf) {
    return gguf->embedding_rows;
}
