// What the files of the GGUF reader share: the reader's state and its byte source.
// Must not know: what keys mean, libllama.
#ifndef KVAT_LLAMACPP_GGUF_INTERNAL_H
#define KVAT_LLAMACPP_GGUF_INTERNAL_H

#include "gguf_check.h"

#define WINDOW_BYTES ((size_t)64 << 10)

struct kvat_gguf {
    char *path;
    int fd;               /* -1 when reading from memory */
    const uint8_t *bytes; /* NULL when reading from a file */
    uint64_t size;
    kvat_gguf_stamp stamp;
    uint8_t *window; /* WINDOW_BYTES of the file starting at window_at */
    uint64_t window_at;
    size_t window_fill;

    kvat_gguf_key *keys;
    size_t key_count;
    int64_t tensor_count;
    uint32_t alignment;
    uint64_t header_bytes;
    uint64_t bytes_of_type[KVAT_GGUF_TENSOR_TYPES];
    int64_t embedding_rows;
};

/** A new reader on a regular file, or on memory when `path` is NULL. */
kvat_status kvat__gguf_source_new(kvat_gguf **out, const char *path, const void *bytes, size_t n, kvat_error *err);

#endif
