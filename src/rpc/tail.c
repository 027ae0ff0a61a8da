/* The last bytes of a stream, in a ring of fixed size. */
/* Must not know: whose stream it is. */
#include "tail.h"

#include <string.h>

void kvat__tail_put(kvat__tail *tail, const char *bytes, size_t n) {
    if (n > KVAT__TAIL_BYTES) {
        tail->total += n - KVAT__TAIL_BYTES;
        bytes += n - KVAT__TAIL_BYTES;
        n = KVAT__TAIL_BYTES;
    }
    const size_t at = (size_t)(tail->total % KVAT__TAIL_BYTES);
    const size_t first = n < KVAT__TAIL_BYTES - at ? n : KVAT__TAIL_BYTES - at;
    memcpy(tail->bytes + at, bytes, first);
    memcpy(tail->bytes, bytes + first, n - first);
    tail->total += n;
}

const char *kvat__tail_text(kvat__tail *tail, uint64_t since) {
    const uint64_t kept = tail->total < KVAT__TAIL_BYTES ? tail->total : KVAT__TAIL_BYTES;
    uint64_t from = tail->total - kept;
    if (since > from) from = since < tail->total ? since : tail->total;
    size_t n = 0;
    for (; from < tail->total; from++) {
        const char c = tail->bytes[from % KVAT__TAIL_BYTES];
        tail->text[n++] = c ? c : ' ';
    }
    tail->text[n] = '\0';
    return tail->text;
}
