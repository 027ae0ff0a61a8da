// The weights of a synthetic model: a small pool of random rows for each row length, quantised once and written over
// and over. Must not know: headers, the cache, contexts.
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ggml.h"
#include "gguf_types.h"
#include "synthetic.h"

#define POOL_VALUES ((int64_t)1 << 21)
#define POOLS       8

/* Rows of one length in one type. */
typedef struct pool {
    int type;
    int64_t columns, rows;
    size_t row_bytes;
    uint8_t *bytes;
} pool;

typedef struct writer {
    int file;
    pool pools[POOLS];
    size_t n_pools;
    uint64_t random;
    int64_t done, total;
    kvat_synthetic_progress progress;
    void *user;
} writer;

/* The type llama.cpp's own quantiser falls back to when rows do not divide into blocks of 256. */
static const char *fallback_of(const char *type) {
    static const char *const pairs[][2] = {{"q2_K", "q4_0"}, {"q3_K", "q4_0"}, {"q4_K", "q5_0"},
                                           {"q5_K", "q5_1"}, {"q6_K", "q8_0"}, {"iq4_xs", "iq4_nl"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (strcmp(pairs[i][0], type) == 0) return pairs[i][1];
    return "f16";
}

int kvat_synthetic_type_for(int type, int64_t columns) {
    const kvat_gguf_tensor_type *t = kvat_gguf_tensor_type_get((uint32_t)type);
    while (columns % t->block) {
        type = kvat_gguf_tensor_type_find(fallback_of(t->name));
        t = kvat_gguf_tensor_type_get((uint32_t)type);
    }
    return type;
}

int kvat__synthetic_tensor_type(const kvat_synthetic *model, const kvat_shape_tensor *tensor) {
    if (tensor->fill != KVAT_FILL_WEIGHT || strcmp(tensor->name, "position_embd.weight") == 0)
        return kvat_gguf_tensor_type_find("f32");
    return kvat_synthetic_type_for(kvat_gguf_tensor_type_find(model->type), tensor->columns);
}

int64_t kvat__synthetic_tensor_bytes(const kvat_synthetic *model, const kvat_shape_tensor *tensor) {
    const kvat_gguf_tensor_type *t = kvat_gguf_tensor_type_get((uint32_t)kvat__synthetic_tensor_type(model, tensor));
    return tensor->columns / t->block * t->block_bytes * (tensor->rows ? tensor->rows : 1);
}

static uint64_t next_random(uint64_t *state) {
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15)); /* SplitMix64 */
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

/* Uniform with standard deviation 1/√columns, so that activations keep their size from layer to layer. */
static void fill_random(float *values, int64_t n, int64_t columns, uint64_t *state) {
    float scale = sqrtf(3.0f / (float)columns) / 32768.0f;
    for (int64_t i = 0; i < n; i += 4) {
        uint64_t bits = next_random(state);
        for (int64_t j = i; j < i + 4 && j < n; j++, bits >>= 16) values[j] = scale * (float)(int16_t)(uint16_t)bits;
    }
}

static kvat_status pool_make(pool *p, int type, int64_t columns, uint64_t *state, kvat_error *err) {
    const kvat_gguf_tensor_type *t = kvat_gguf_tensor_type_get((uint32_t)type);
    int64_t rows = (POOL_VALUES / columns > 16 ? POOL_VALUES / columns : 16) | 1;
    size_t row_bytes = (size_t)(columns / t->block) * t->block_bytes;
    float *values = malloc((size_t)(rows * columns) * sizeof *values);
    uint8_t *bytes = malloc((size_t)rows * row_bytes);
    kvat_status status = KVAT_OK;
    if (!values || !bytes) {
        status = kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate random weights");
    } else {
        fill_random(values, rows * columns, columns, state);
        size_t got = ggml_quantize_chunk((enum ggml_type)type, values, bytes, 0, rows, columns, NULL);
        if (got != (size_t)rows * row_bytes)
            status =
                kvat_fail(err, KVAT_ERR_INTERNAL, "the engine packs %s rows in another size than expected", t->name);
    }
    free(values);
    if (status == KVAT_OK)
        *p = (pool){type, columns, rows, row_bytes, bytes};
    else
        free(bytes);
    return status;
}

static kvat_status pool_find(const pool **out, writer *w, int type, int64_t columns, kvat_error *err) {
    for (size_t i = 0; i < w->n_pools; i++)
        if (w->pools[i].type == type && w->pools[i].columns == columns) {
            *out = &w->pools[i];
            return KVAT_OK;
        }
    if (w->n_pools == POOLS) return kvat_fail(err, KVAT_ERR_INTERNAL, "more row lengths than any architecture has");
    kvat_status status = pool_make(&w->pools[w->n_pools], type, columns, &w->random, err);
    if (status == KVAT_OK) *out = &w->pools[w->n_pools++];
    return status;
}

static kvat_status write_all(writer *w, const void *bytes, size_t n, kvat_error *err) {
    const uint8_t *at = bytes;
    while (n) {
        ssize_t step = write(w->file, at, n);
        if (step < 0 && errno == EINTR) continue;
        if (step < 0) return kvat_fail_errno(err, KVAT_ERR_IO, errno, "cannot write the synthetic model");
        at += step;
        n -= (size_t)step;
        w->done += step;
    }
    if (w->progress) w->progress(w->user, w->done, w->total);
    return KVAT_OK;
}

/* Each tensor starts at another row of the pool, so that no two are equal. */
static kvat_status write_matrix(writer *w, const kvat_shape_tensor *t, int type, kvat_error *err) {
    const pool *p = NULL;
    kvat_status status = pool_find(&p, w, type, t->columns, err);
    if (status != KVAT_OK) return status;
    int64_t at = (int64_t)(next_random(&w->random) % (uint64_t)p->rows);
    for (int64_t left = t->rows; left > 0 && status == KVAT_OK;) {
        int64_t n = p->rows - at < left ? p->rows - at : left;
        status = write_all(w, p->bytes + (size_t)at * p->row_bytes, (size_t)n * p->row_bytes, err);
        left -= n;
        at = 0;
    }
    return status;
}

static kvat_status write_vector(writer *w, const kvat_shape_tensor *t, kvat_error *err) {
    float *values = malloc((size_t)t->columns * sizeof *values);
    if (!values) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate a tensor");
    if (t->fill == KVAT_FILL_BIAS) fill_random(values, t->columns, 10000, &w->random);
    for (int64_t i = 0; t->fill == KVAT_FILL_ONES && i < t->columns; i++) values[i] = 1.0f;
    kvat_status status = write_all(w, values, (size_t)t->columns * sizeof *values, err);
    free(values);
    return status;
}

static kvat_status write_tensor(writer *w, const kvat_synthetic *model, const kvat_shape_tensor *t, kvat_error *err) {
    static const uint8_t zeros[KVAT__SYNTHETIC_ALIGNMENT];
    kvat_status status =
        t->rows ? write_matrix(w, t, kvat__synthetic_tensor_type(model, t), err) : write_vector(w, t, err);
    size_t over = (size_t)(kvat__synthetic_tensor_bytes(model, t) % KVAT__SYNTHETIC_ALIGNMENT);
    if (status == KVAT_OK && over) status = write_all(w, zeros, sizeof zeros - over, err);
    return status;
}

kvat_status kvat__synthetic_data(int file, const kvat_synthetic *model, const kvat_shape_tensor *tensors, size_t n,
                                 int64_t data_bytes, kvat_synthetic_progress progress, void *user, kvat_error *err) {
    writer *w = calloc(1, sizeof *w);
    if (!w) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate a writer");
    *w = (writer){.file = file, .random = 1, .total = data_bytes, .progress = progress, .user = user};
    kvat_status status = KVAT_OK;
    for (size_t i = 0; i < n && status == KVAT_OK; i++) status = write_tensor(w, model, &tensors[i], err);
    for (size_t i = 0; i < w->n_pools; i++) free(w->pools[i].bytes);
    free(w);
    return status;
}
