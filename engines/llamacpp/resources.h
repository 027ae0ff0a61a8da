// What this process occupies, and the highest it ever did since the mark was last reset.
// Must not know: libllama, the protocol.
#ifndef KVAT_LLAMACPP_RESOURCES_H
#define KVAT_LLAMACPP_RESOURCES_H

#include <stdbool.h>
#include <stdint.h>

typedef struct kvat_resources {
    int64_t current_bytes, peak_bytes;
} kvat_resources;

/** False when the system does not tell. */
bool kvat_resources_read(kvat_resources *out);

/** Gives free heap back and restarts the high-water mark; false when the mark cannot be restarted here. */
bool kvat_resources_reset(void);

#endif
