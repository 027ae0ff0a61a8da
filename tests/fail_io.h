/* Makes system calls of kvat's own code fail on command: a full disk, a failing one, an interrupted call.
 * Must not be linked into anything but tests. */
#ifndef KVAT_TESTS_FAIL_IO_H
#define KVAT_TESTS_FAIL_IO_H

#include <stdbool.h>
#include <stddef.h>

/** The calls intercepted at link time (--wrap). Shared libraries keep their own. */
typedef enum fail_io_call {
    FAIL_IO_OPEN, /**< open and openat */
    FAIL_IO_READ,
    FAIL_IO_WRITE,
    FAIL_IO_FSYNC,
    FAIL_IO_CLOSE,
    FAIL_IO_RENAME, /**< rename and renameat */
    FAIL_IO_CALLS
} fail_io_call;

/** The `n`-th `call` of this thread from now on (n from 1), and only it, fails with `errnum`; a close closes all the
 * same. */
void fail_io_arm(fail_io_call call, size_t n, int errnum);

/** Reads and writes of this thread move at most `bytes` at once; 0 for no limit. */
void fail_io_limit(size_t bytes);

/** Calls succeed again, without a limit. True when one was made to fail. */
bool fail_io_disarm(void);

#endif
