// What is known of a build of llama.cpp, the server's on PATH or our own, and in what two of them differ.
// Must not know: processes, the protocol's messages.
#ifndef KVAT_LLAMACPP_SERVER_FACTS_H
#define KVAT_LLAMACPP_SERVER_FACTS_H

#include <stdbool.h>

#include "kvat/buf.h"
#include "kvat/hash.h"

/** The libraries that do the work on every machine. */
enum { KVAT_SERVER_LLAMA, KVAT_SERVER_GGML_BASE, KVAT_SERVER_GGML_CPU, KVAT_SERVER_LIBRARY_COUNT };

/** Printable ASCII throughout; "" is unknown. */
typedef struct kvat_server_facts {
    char version[64];
    char commit[64]; /**< hexadecimal, abbreviated */
    char line[128];  /**< what `--version` says after "version: " */
    bool devices_known;
    char devices[1024];                                       /**< "CUDA0: NAME, CUDA1: NAME": all but the CPU */
    char libraries[KVAT_SERVER_LIBRARY_COUNT][KVAT_HASH_HEX]; /**< hashes of their content */
} kvat_server_facts;

/** Of our own libraries. */
void kvat_server_facts_of_ours(kvat_server_facts *out);

/** From what the server says: false when it holds no version. */
bool kvat_server_facts_version(kvat_server_facts *out, const char *said);
void kvat_server_facts_devices(kvat_server_facts *out, const char *said);
/** From the loader's list of the libraries a program needs. */
void kvat_server_facts_libraries(kvat_server_facts *out, const char *said);

typedef enum kvat_server_likeness { KVAT_SERVER_UNKNOWN, KVAT_SERVER_SAME, KVAT_SERVER_OTHER } kvat_server_likeness;

/** Do they run the same code? Known only where content could be compared. */
kvat_server_likeness kvat_server_libraries_compare(const kvat_server_facts *a, const kvat_server_facts *b);

/** Appends in what the server differs from ours, as clauses of a sentence; nothing where no difference is known. */
void kvat_server_put_differences(kvat_buf *out, const kvat_server_facts *server, const kvat_server_facts *ours);

#endif
