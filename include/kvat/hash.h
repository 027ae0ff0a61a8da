/**
 * @file hash.h
 * Identities: SHA-256 as lower-case hexadecimal.
 */
#ifndef KVAT_HASH_H
#define KVAT_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "kvat/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define KVAT_HASH_HEX 65 /**< 64 hexadecimal digits and a NUL */

typedef struct kvat_hash {
    uint64_t opaque[32];
} kvat_hash;

KVAT_EXTERN void kvat_hash_init(kvat_hash *hash);
KVAT_EXTERN void kvat_hash_update(kvat_hash *hash, const void *bytes, size_t n);
KVAT_EXTERN void kvat_hash_final(char hex[KVAT_HASH_HEX], kvat_hash *hash);
/** All at once. */
KVAT_EXTERN void kvat_hash_bytes(char hex[KVAT_HASH_HEX], const void *bytes, size_t n);

#ifdef __cplusplus
}
#endif
#endif
