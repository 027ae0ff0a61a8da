/* SHA-256 identities.
 * Must not know what is identified. */
#include "kvat/hash.h"

#include <sodium.h>

_Static_assert(sizeof(crypto_hash_sha256_state) <= sizeof(kvat_hash), "kvat_hash is too small");
_Static_assert(_Alignof(crypto_hash_sha256_state) <= _Alignof(kvat_hash), "kvat_hash is not aligned enough");
_Static_assert(2 * crypto_hash_sha256_BYTES + 1 == KVAT_HASH_HEX, "KVAT_HASH_HEX does not fit SHA-256");

static crypto_hash_sha256_state *state_of(kvat_hash *hash) {
    return (crypto_hash_sha256_state *)(void *)hash->opaque;
}

void kvat_hash_init(kvat_hash *hash) {
    crypto_hash_sha256_init(state_of(hash));
}

void kvat_hash_update(kvat_hash *hash, const void *bytes, size_t n) {
    if (n > 0) crypto_hash_sha256_update(state_of(hash), bytes, n);
}

void kvat_hash_final(char hex[KVAT_HASH_HEX], kvat_hash *hash) {
    unsigned char digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_final(state_of(hash), digest);
    sodium_bin2hex(hex, KVAT_HASH_HEX, digest, sizeof digest);
}

void kvat_hash_bytes(char hex[KVAT_HASH_HEX], const void *bytes, size_t n) {
    kvat_hash hash = {{0}};
    kvat_hash_init(&hash);
    kvat_hash_update(&hash, bytes, n);
    kvat_hash_final(hex, &hash);
}
