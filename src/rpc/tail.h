/* The last bytes of a stream, whatever its length. */
/* Must not know: whose stream it is. */
#ifndef KVAT_RPC_TAIL_H
#define KVAT_RPC_TAIL_H

#include <stddef.h>
#include <stdint.h>

#define KVAT__TAIL_BYTES ((size_t)64 << 10)

typedef struct kvat__tail {
    char bytes[KVAT__TAIL_BYTES];
    char text[KVAT__TAIL_BYTES + 1]; /* made by kvat__tail_text() */
    uint64_t total;                  /* bytes ever seen */
} kvat__tail;

void kvat__tail_put(kvat__tail *tail, const char *bytes, size_t n);
/* What is kept of everything from byte `since` of the stream on, NUL bytes as blanks. Valid until the next call. */
const char *kvat__tail_text(kvat__tail *tail, uint64_t since);

#endif
