// The tensor types a GGUF file may hold: name, elements a block, bytes a block.
// Must not know: files, models, libllama (a test compares this table with it).
#ifndef KVAT_LLAMACPP_GGUF_TYPES_H
#define KVAT_LLAMACPP_GGUF_TYPES_H

#include <stdint.h>

#define KVAT_GGUF_TENSOR_TYPES 43

typedef struct kvat_gguf_tensor_type {
    const char *name; /**< NULL for a number that names no usable type */
    uint32_t block;   /**< elements */
    uint32_t block_bytes;
} kvat_gguf_tensor_type;

/** The type with this number, or NULL when unknown or withdrawn. */
const kvat_gguf_tensor_type *kvat_gguf_tensor_type_get(uint32_t number);

/** The number of the type called `name`, or -1. */
int kvat_gguf_tensor_type_find(const char *name);

#endif
