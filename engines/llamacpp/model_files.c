// The files a model consists of: its shards, their identity, and whether they are still what they were.
// Must not know: libllama, the protocol.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gguf_internal.h"
#include "kvat/buf.h"
#include "model_facts.h"

#define WHOLE_HASH_BYTES ((uint64_t)64 << 20) /* larger files are identified by header, size and time */

void kvat_model_facts_clear(kvat_model_facts *facts) {
    if (!facts) return;
    for (int i = 0; facts->files && i < facts->file_count; i++) free(facts->files[i].path);
    free(facts->files);
    *facts = (kvat_model_facts){0};
}

static uint64_t scalar(const kvat_gguf *gguf, const char *name) {
    const kvat_gguf_key *key = kvat_gguf_find(gguf, name);
    return key && !key->is_array ? key->bits : 0;
}

static kvat_status hash_range(kvat_hash *hash, kvat_gguf *gguf, uint64_t n, kvat_error *err) {
    uint8_t *part = malloc(WINDOW_BYTES);
    if (!part) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate a buffer");
    kvat_status status = KVAT_OK;
    for (uint64_t done = 0; done < n && status == KVAT_OK;) {
        size_t step = n - done < WINDOW_BYTES ? (size_t)(n - done) : WINDOW_BYTES;
        status = kvat_gguf_read(gguf, done, part, step, err);
        if (status == KVAT_OK) kvat_hash_update(hash, part, step);
        done += step;
    }
    free(part);
    return status;
}

static kvat_status hash_file(kvat_hash *hash, kvat_gguf *gguf, kvat_error *err) {
    kvat_gguf_stamp stamp = kvat_gguf_stamp_get(gguf);
    uint64_t size = (uint64_t)stamp.bytes;
    if (size <= WHOLE_HASH_BYTES) return hash_range(hash, gguf, size, err);
    int64_t when[2] = {stamp.bytes, stamp.mtime_ns};
    kvat_hash_update(hash, when, sizeof when);
    return hash_range(hash, gguf, kvat_gguf_header_bytes(gguf), err);
}

typedef struct weighing {
    uint64_t bytes_of_type[KVAT_GGUF_TENSOR_TYPES];
    int64_t tensors;
    kvat_hash hash;
} weighing;

static kvat_status add_file(kvat_model_facts *facts, weighing *sum, kvat_gguf *gguf, kvat_error *err) {
    for (uint32_t type = 0; type < KVAT_GGUF_TENSOR_TYPES; type++)
        sum->bytes_of_type[type] += kvat_gguf_bytes_of_type(gguf, type);
    sum->tensors += kvat_gguf_tensor_count(gguf);
    kvat_status status = hash_file(&sum->hash, gguf, err);
    if (status != KVAT_OK) return status;
    kvat_model_file *file = &facts->files[facts->file_count];
    file->path = strdup(kvat_gguf_path(gguf));
    if (!file->path) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate a path");
    file->stamp = kvat_gguf_stamp_get(gguf);
    facts->file_count++;
    return KVAT_OK;
}

/* "<stem>-00002-of-00004.gguf" from the first shard's path. */
static kvat_status shard_path(char **out, const char *first, unsigned number, unsigned count, kvat_error *err) {
    char suffix[40];
    snprintf(suffix, sizeof suffix, "-00001-of-%05u.gguf", count);
    size_t n = strlen(first), tail = strlen(suffix);
    if (n <= tail || strcmp(first + n - tail, suffix) != 0) {
        kvat_buf name;
        kvat_buf_init(&name, 0);
        kvat_escape_terminal(&name, first);
        kvat_status status =
            kvat_fail(err, KVAT_ERR_DATA, "%s is one of %u shards: give the first, whose name must end in %s",
                      name.bytes ? name.bytes : "model", count, suffix);
        kvat_buf_clear(&name);
        return status;
    }
    char *path = malloc(n + 1);
    if (!path) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate a path");
    memcpy(path, first, n - tail);
    snprintf(path + n - tail, tail + 1, "-%05u-of-%05u.gguf", number, count);
    *out = path;
    return KVAT_OK;
}

static kvat_status add_shard(kvat_model_facts *facts, weighing *sum, unsigned number, unsigned count, kvat_error *err) {
    char *path = NULL;
    kvat_gguf *gguf = NULL;
    kvat_status status = shard_path(&path, facts->files[0].path, number, count, err);
    if (status != KVAT_OK) return status;
    kvat_error inner = KVAT_ERROR_INIT;
    status = kvat_gguf_open(&gguf, path, &inner);
    if (status != KVAT_OK) {
        kvat_fail(err, status, "shard %u of %u: %s", number, count, inner.message);
    } else if (scalar(gguf, "split.no") != number - 1 || scalar(gguf, "split.count") != count) {
        status = kvat__gguf_bad(gguf, 0, err, "this is not shard %u of %u", number, count);
    } else {
        status = add_file(facts, sum, gguf, err);
    }
    kvat_gguf_free(gguf);
    free(path);
    return status;
}

static kvat_status add_shards(kvat_model_facts *facts, weighing *sum, kvat_gguf *first, unsigned count,
                              kvat_error *err) {
    char *same = NULL;
    kvat_status status = shard_path(&same, facts->files[0].path, 1, count, err);
    free(same);
    if (status == KVAT_OK && scalar(first, "split.no") != 0)
        status = kvat__gguf_bad(first, 0, err, "this is not the first shard");
    for (unsigned number = 2; number <= count && status == KVAT_OK; number++)
        status = add_shard(facts, sum, number, count, err);
    int64_t expected = (int32_t)scalar(first, "split.tensors.count");
    if (status == KVAT_OK && expected != sum->tensors)
        status = kvat__gguf_bad(first, 0, err, "the shards hold %" PRId64 " tensors instead of %" PRId64, sum->tensors,
                                expected);
    return status;
}

static kvat_status conclude(kvat_model_facts *facts, weighing *sum, kvat_gguf *gguf, kvat_error *err) {
    uint64_t most = 0;
    for (uint32_t type = 0; type < KVAT_GGUF_TENSOR_TYPES; type++) {
        facts->weight_bytes += (int64_t)sum->bytes_of_type[type];
        if (sum->bytes_of_type[type] <= most) continue;
        most = sum->bytes_of_type[type];
        facts->weight_type = kvat_gguf_tensor_type_get(type)->name;
    }
    if (most == 0) return kvat__gguf_bad(gguf, 0, err, "the model has no tensors");
    char hex[KVAT_HASH_HEX];
    kvat_hash_final(hex, &sum->hash);
    snprintf(facts->identity, sizeof facts->identity, "sha256:%s", hex);
    return KVAT_OK;
}

kvat_status kvat_model_facts_open(kvat_model_facts *out, const char *path, kvat_error *err) {
    kvat_gguf *gguf = NULL;
    weighing *sum = calloc(1, sizeof *sum);
    kvat_model_facts *facts = calloc(1, sizeof *facts);
    kvat_status status = sum && facts ? KVAT_OK : kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the model's facts");
    if (status == KVAT_OK) status = kvat_gguf_open(&gguf, path, err);
    if (status == KVAT_OK) status = kvat_model_facts_read(facts, gguf, err);
    if (status != KVAT_OK) goto done;

    unsigned count = (unsigned)scalar(gguf, "split.count");
    if (count > KVAT_MODEL_MAX_SHARDS) {
        status = kvat__gguf_bad(gguf, 0, err, "%u shards; at most %d are accepted", count, KVAT_MODEL_MAX_SHARDS);
        goto done;
    }
    facts->files = calloc(count ? count : 1, sizeof *facts->files);
    if (!facts->files) {
        status = kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate %u file names", count);
        goto done;
    }
    kvat_hash_init(&sum->hash);
    status = add_file(facts, sum, gguf, err);
    if (status == KVAT_OK && count > 1) status = add_shards(facts, sum, gguf, count, err);
    if (status == KVAT_OK) status = conclude(facts, sum, gguf, err);

done:
    if (status == KVAT_OK)
        *out = *facts;
    else if (facts)
        kvat_model_facts_clear(facts);
    free(facts);
    free(sum);
    kvat_gguf_free(gguf);
    return status;
}

kvat_status kvat_model_facts_unchanged(const kvat_model_facts *facts, kvat_error *err) {
    for (int i = 0; i < facts->file_count; i++) {
        kvat_gguf_stamp now;
        kvat_status status = kvat_gguf_stamp_path(&now, facts->files[i].path, err);
        if (status != KVAT_OK) return status;
        if (kvat_gguf_stamp_equal(&now, &facts->files[i].stamp)) continue;
        kvat_buf name;
        kvat_buf_init(&name, 0);
        kvat_escape_terminal(&name, facts->files[i].path);
        kvat_fail(err, KVAT_ERR_DATA, "model changed: %s is not the file it was", name.bytes ? name.bytes : "it");
        kvat_buf_clear(&name);
        return KVAT_ERR_DATA;
    }
    return KVAT_OK;
}
