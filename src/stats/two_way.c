// Indexing of a two-way layout: compact level numbers, observations by level, groups linked through shared chunks.
// Knows nothing of weights or estimates.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "anchored.h"

static bool factor_init(struct factor *f, const size_t *label, size_t n, size_t n_labels) {
    f->level = calloc(n_labels, sizeof *f->level);
    f->of = calloc(n, sizeof *f->of);
    f->run = calloc(n, sizeof *f->run);
    if (!f->level || !f->of || !f->run) return false;
    for (size_t i = 0; i < n_labels; i++) f->level[i] = SIZE_MAX;
    for (size_t i = 0; i < n; i++) f->level[label[i]] = 0;
    for (size_t i = 0; i < n_labels; i++) {
        if (f->level[i] == 0)
            f->level[i] = f->n++; // ascending, so that ties fall the same way whatever the order of runs
    }
    for (size_t i = 0; i < n; i++) f->of[i] = f->level[label[i]];
    f->begin = calloc(f->n + 1, sizeof *f->begin);
    f->group = calloc(f->n, sizeof *f->group);
    f->group_size = calloc(f->n, sizeof *f->group_size);
    f->weight = calloc(f->n, sizeof *f->weight);
    f->effect = calloc(f->n, sizeof *f->effect);
    return f->begin && f->group && f->group_size && f->weight && f->effect;
}

static void factor_clear(struct factor *f) {
    free(f->level);
    free(f->of);
    free(f->run);
    free(f->begin);
    free(f->group);
    free(f->group_size);
    free(f->weight);
    free(f->effect);
}

// Counting sort; `begin` ends one place late and is moved back.
static void sort_by_level(struct factor *f, size_t n) {
    for (size_t i = 0; i < n; i++) f->begin[f->of[i] + 1]++;
    for (size_t v = 0; v < f->n; v++) f->begin[v + 1] += f->begin[v];
    for (size_t i = 0; i < n; i++) f->run[f->begin[f->of[i]]++] = i;
    for (size_t v = f->n; v > 0; v--) f->begin[v] = f->begin[v - 1];
    f->begin[0] = 0;
}

static size_t root_of(size_t *parent, size_t node) {
    while (parent[node] != node) node = parent[node] = parent[parent[node]];
    return node;
}

// Numbers the groups in the order of their first arm.
static void number_groups(struct two_way *t, size_t *parent, size_t *number) {
    struct factor *arm = t->arm, *chunk = t->chunk;
    for (size_t i = 0; i < arm->n + chunk->n; i++) number[i] = SIZE_MAX;
    for (size_t a = 0; a < arm->n; a++) {
        size_t *group = &number[root_of(parent, a)];
        if (*group == SIZE_MAX) *group = arm->n_groups++;
        arm->group[a] = *group;
        arm->group_size[*group]++;
    }
    for (size_t c = 0; c < chunk->n; c++) {
        chunk->group[c] = number[root_of(parent, arm->n + c)];
        chunk->group_size[chunk->group[c]]++;
    }
    chunk->n_groups = arm->n_groups;
}

static bool link_groups(struct two_way *t) {
    const size_t nodes = t->arm->n + t->chunk->n;
    size_t *parent = calloc(nodes, sizeof *parent), *number = calloc(nodes, sizeof *number);
    const bool ok = parent && number;
    if (ok) {
        for (size_t i = 0; i < nodes; i++) parent[i] = i;
        for (size_t i = 0; i < t->n; i++) {
            const size_t a = root_of(parent, t->arm->of[i]), c = root_of(parent, t->arm->n + t->chunk->of[i]);
            if (a < c)
                parent[c] = a;
            else
                parent[a] = c;
        }
        number_groups(t, parent, number);
    }
    free(parent);
    free(number);
    return ok;
}

static bool allocate_work(struct two_way *t) {
    const size_t levels = t->swept->n > t->n ? t->swept->n : t->n;
    t->weight = calloc(t->n, sizeof *t->weight);
    t->used_weight = calloc(t->n, sizeof *t->used_weight);
    t->residual = calloc(t->n, sizeof *t->residual);
    t->scratch = calloc(levels, sizeof *t->scratch);
    t->matrix = calloc(t->kept->n * t->kept->n, sizeof *t->matrix);
    return t->weight && t->used_weight && t->residual && t->scratch && t->matrix;
}

kvat_status kvat__two_way_init(struct two_way *t, const kvat_anchored_input *in, kvat_error *err) {
    memset(t, 0, sizeof *t);
    t->n = in->n;
    t->y = in->y;
    t->arm = &t->arm_levels;
    t->chunk = &t->chunk_levels;
    bool ok = factor_init(t->arm, in->arm, in->n, in->n_arms) && factor_init(t->chunk, in->chunk, in->n, in->n_chunks);
    if (ok) {
        const bool fewer_arms = t->arm->n <= t->chunk->n;
        t->kept = fewer_arms ? t->arm : t->chunk;
        t->swept = fewer_arms ? t->chunk : t->arm;
        sort_by_level(t->arm, t->n);
        sort_by_level(t->chunk, t->n);
        ok = link_groups(t) && allocate_work(t);
    }
    if (ok) return KVAT_OK;
    kvat__two_way_clear(t);
    return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate a layout of %zu observations", in->n);
}

void kvat__two_way_clear(struct two_way *t) {
    factor_clear(&t->arm_levels);
    factor_clear(&t->chunk_levels);
    free(t->weight);
    free(t->used_weight);
    free(t->residual);
    free(t->scratch);
    free(t->matrix);
    memset(t, 0, sizeof *t);
}
