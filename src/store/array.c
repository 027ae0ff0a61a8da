// Arrays that grow.
// Must not know what is in them.
#include "store_internal.h"

#include <stdint.h>
#include <stdlib.h>

void *kvat__array_grow(void *array, size_t *places, size_t size) {
    size_t wanted = *places ? *places * 2 : 16;
    if (wanted < *places || wanted > SIZE_MAX / size) return NULL;
    void *bigger = realloc(array, wanted * size);
    if (bigger) *places = wanted;
    return bigger;
}
