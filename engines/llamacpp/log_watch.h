// Listens to libllama's log: the only place that tells whether flash attention is in force, and why a call failed.
// Must not know: the protocol.
#ifndef KVAT_LLAMACPP_LOG_WATCH_H
#define KVAT_LLAMACPP_LOG_WATCH_H

#include <stdbool.h>

typedef enum kvat_flash { KVAT_FLASH_UNSAID, KVAT_FLASH_ON, KVAT_FLASH_OFF } kvat_flash;

typedef struct kvat_log_watch {
    kvat_flash flash;
    bool out_of_memory;                /**< an allocation failed */
    bool on_device;                    /**< … on a device rather than in host memory */
    bool no_lock;                      /**< memory could not be locked */
    bool quiet;                        /**< keep warnings and errors off standard error; survives a reset */
    char key_type[16], value_type[16]; /**< of the KV cache, "" when unsaid */
    char error[256];                   /**< first error line */
} kvat_log_watch;

/** Sends all of libllama's log through `watch`, which must outlive its use; warnings and errors go on to standard
 * error. */
void kvat_log_watch_start(kvat_log_watch *watch);

/** Forgets what was heard. */
void kvat_log_watch_reset(kvat_log_watch *watch);

/** Hears one piece of a line; for tests. */
void kvat__log_watch_hear(kvat_log_watch *watch, int level, const char *text);

#endif
