/* Memory of many small pieces that live and die together.
 * Must not know what is kept in it. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "space_internal.h"

typedef struct kvat__pool_block {
    struct kvat__pool_block *next;
    max_align_t bytes[];
} kvat__pool_block;

void *kvat__pool_take(kvat__pool *pool, size_t n, size_t size) {
    size_t total;
    if (__builtin_mul_overflow(n, size, &total)) return NULL;
    if (__builtin_add_overflow(total, sizeof(kvat__pool_block), &total)) return NULL;
    kvat__pool_block *block = calloc(1, total);
    if (!block) return NULL;
    block->next = pool->blocks;
    pool->blocks = block;
    return block->bytes;
}

char *kvat__pool_text(kvat__pool *pool, const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = kvat__pool_take(pool, size, 1);
    if (copy) memcpy(copy, text, size);
    return copy;
}

void kvat__pool_clear(kvat__pool *pool) {
    while (pool->blocks) {
        kvat__pool_block *block = pool->blocks;
        pool->blocks = block->next;
        free(block);
    }
}
