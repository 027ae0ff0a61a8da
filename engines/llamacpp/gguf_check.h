// Reads the header of a GGUF file and refuses every file whose numbers do not hold together, in bounded time and
// memory. Must not know: libllama, the protocol, what the keys mean to a model (model_facts.h does).
#ifndef KVAT_LLAMACPP_GGUF_CHECK_H
#define KVAT_LLAMACPP_GGUF_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "gguf_types.h"
#include "kvat/status.h"

/*
 * Ceilings, each well above any published model: they keep the check under two seconds and ten megabytes on a file
 * made to be slow, and keep such a file away from libllama, which searches keys and tensors one by one.
 */
#define KVAT_GGUF_MAX_KEYS         8192
#define KVAT_GGUF_MAX_KEY_BYTES    255
#define KVAT_GGUF_MAX_TENSORS      16384
#define KVAT_GGUF_MAX_HEADER_BYTES ((uint64_t)192 << 20)
#define KVAT_GGUF_MAX_ALIGNMENT    ((uint32_t)1 << 20)
#define KVAT_GGUF_MAX_TENSOR_NAME  63

typedef enum kvat_gguf_type {
    KVAT_GGUF_U8,
    KVAT_GGUF_I8,
    KVAT_GGUF_U16,
    KVAT_GGUF_I16,
    KVAT_GGUF_U32,
    KVAT_GGUF_I32,
    KVAT_GGUF_F32,
    KVAT_GGUF_BOOL,
    KVAT_GGUF_STRING,
    KVAT_GGUF_ARRAY,
    KVAT_GGUF_U64,
    KVAT_GGUF_I64,
    KVAT_GGUF_F64,
    KVAT_GGUF_TYPES
} kvat_gguf_type;

typedef struct kvat_gguf_key {
    char *name; /**< owned, NUL-terminated */
    uint64_t hash;
    kvat_gguf_type type; /**< of the elements when `is_array` */
    bool is_array;
    uint64_t count;  /**< elements of an array, bytes of a string, else 1 */
    uint64_t offset; /**< file offset of the first element or character */
    uint64_t bits;   /**< a scalar's bits, little-endian, zero-extended */
} kvat_gguf_key;

typedef struct kvat_gguf kvat_gguf;

/** What a file was when it was looked at; a model whose stamp changed is another model. */
typedef struct kvat_gguf_stamp {
    dev_t device;
    ino_t inode;
    int64_t bytes;
    int64_t mtime_ns;
} kvat_gguf_stamp;

/** Opens and checks `path`. KVAT_ERR_DATA names the file, the byte and what is wrong there; folders, FIFOs and devices
 * are refused without blocking. The file stays open until kvat_gguf_free(). */
kvat_status kvat_gguf_open(kvat_gguf **out, const char *path, kvat_error *err);

/** The same on `n` bytes in memory, which must outlive the result. */
kvat_status kvat_gguf_parse(kvat_gguf **out, const void *bytes, size_t n, kvat_error *err);

void kvat_gguf_free(kvat_gguf *gguf);

const char *kvat_gguf_path(const kvat_gguf *gguf); /**< "" for bytes in memory */
kvat_gguf_stamp kvat_gguf_stamp_get(const kvat_gguf *gguf);
size_t kvat_gguf_key_count(const kvat_gguf *gguf);
int64_t kvat_gguf_tensor_count(const kvat_gguf *gguf);
/** Bytes before the tensor data, padding included. */
uint64_t kvat_gguf_header_bytes(const kvat_gguf *gguf);
/** Bytes of all tensors of one type (KVAT_GGUF_TENSOR_TYPES of them), without padding. */
uint64_t kvat_gguf_bytes_of_type(const kvat_gguf *gguf, uint32_t type);
/** Rows of `token_embd.weight`, 0 when there is none. */
int64_t kvat_gguf_embedding_rows(const kvat_gguf *gguf);

/** Borrowed; NULL when absent. */
const kvat_gguf_key *kvat_gguf_find(const kvat_gguf *gguf, const char *name);

/** Copies `n` file bytes from `offset`; KVAT_ERR_DATA past the end, KVAT_ERR_IO when reading fails. */
kvat_status kvat_gguf_read(kvat_gguf *gguf, uint64_t offset, void *bytes, size_t n, kvat_error *err);

/** Fills `err` with "<file>, byte <offset>: <message>" and returns KVAT_ERR_DATA. */
kvat_status kvat__gguf_bad(const kvat_gguf *gguf, uint64_t offset, kvat_error *err, const char *format, ...)
    KVAT_PRINTF(4, 5);

/** Bytes of one element of a fixed-size type; 0 for strings and arrays. */
size_t kvat_gguf_type_bytes(kvat_gguf_type type);
const char *kvat_gguf_type_name(kvat_gguf_type type);

/** `path` as it is now, without opening anything but a regular file. KVAT_ERR_DATA when missing or not regular. */
kvat_status kvat_gguf_stamp_path(kvat_gguf_stamp *out, const char *path, kvat_error *err);
bool kvat_gguf_stamp_equal(const kvat_gguf_stamp *a, const kvat_gguf_stamp *b);

#endif
