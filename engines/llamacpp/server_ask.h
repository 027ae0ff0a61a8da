// Asks the llama-server on PATH which build it is, within bounds of time and of what it says.
// Must not know: what the answers are compared with, libllama, the protocol.
#ifndef KVAT_LLAMACPP_SERVER_ASK_H
#define KVAT_LLAMACPP_SERVER_ASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvat/buf.h"

#define KVAT_SERVER_WHY   96          /**< room for a reason */
#define KVAT_SERVER_BYTES (64 * 1024) /**< more than any answer has */

/** The first `llama-server` on `search` (a PATH) that can be executed, of `room` bytes. */
bool kvat_server_find(char *out, size_t room, const char *search);

/** What is asked: an option of the server, or which libraries it would load (then it is not even started). */
typedef enum kvat_server_question {
    KVAT_SERVER_VERSION,
    KVAT_SERVER_DEVICES,
    KVAT_SERVER_LIBRARIES
} kvat_server_question;

/** Appends what the program at `path` says to `out`. False, with `why` ("did not answer in time"), unless it ended well
 * before `deadline_ns` (of kvat_now_ns); by then it and what it started is gone in any case. */
bool kvat_server_ask(kvat_buf *out, char why[KVAT_SERVER_WHY], const char *path, kvat_server_question question,
                     int64_t deadline_ns);

#endif
