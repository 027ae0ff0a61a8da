/* Stands before the C library's calls that change files, and lets one fail on command.
 * Must not know what is being tested. */
#include "io_fault.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

static atomic_int countdown; /* 0 when none is armed or it has passed */
static atomic_bool met;
static int reason;
static bool syncs_only, persistent;

void io_fault_arm(int n, int errnum, io_fault_kind kind, bool sticky) {
    reason = errnum;
    syncs_only = kind == IO_FAULT_SYNC;
    persistent = sticky;
    met = false;
    countdown = n;
}

bool io_fault_disarm(void) {
    countdown = 0;
    persistent = false;
    return met;
}

static bool names_other_program(const char *options) {
    const char *program = strstr(options, "program=");
    if (!program) return false;
    program += strlen("program=");
    size_t n = strcspn(program, ",");
    return strlen(program_invocation_short_name) != n || strncmp(program, program_invocation_short_name, n) != 0;
}

__attribute__((constructor)) static void arm_from_environment(void) {
    const char *options = getenv("KVAT_IO_FAULT");
    if (!options || names_other_program(options)) return;
    io_fault_arm(atoi(options), strstr(options, ",enospc") ? ENOSPC : EIO,
                 strstr(options, ",sync") ? IO_FAULT_SYNC : IO_FAULT_ANY, strstr(options, ",sticky") != NULL);
}

static bool fails_now(bool sync) {
    if (syncs_only && !sync) return false;
    if (met && persistent) {
        errno = reason;
        return true;
    }
    if (countdown <= 0 || atomic_fetch_sub(&countdown, 1) != 1) return false;
    met = true;
    errno = reason;
    return true;
}

static bool is_file(int fd) {
    struct stat info;
    int kept = errno;
    bool regular = fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
    errno = kept;
    return regular;
}

/* A function pointer out of an object pointer, as POSIX allows and ISO C has no cast for. */
static void find_next(void *function, const char *name) {
    void *symbol = dlsym(RTLD_NEXT, name);
    if (!symbol) abort();
    memcpy(function, &symbol, sizeof symbol);
}

EXPORTED ssize_t write(int fd, const void *bytes, size_t n) {
    ssize_t (*next)(int, const void *, size_t);
    find_next(&next, "write");
    return is_file(fd) && fails_now(false) ? -1 : next(fd, bytes, n);
}

EXPORTED ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at) {
    ssize_t (*next)(int, const void *, size_t, off_t);
    find_next(&next, "pwrite");
    return is_file(fd) && fails_now(false) ? -1 : next(fd, bytes, n, at);
}

EXPORTED ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t at) {
    ssize_t (*next)(int, const void *, size_t, off64_t);
    find_next(&next, "pwrite64");
    return is_file(fd) && fails_now(false) ? -1 : next(fd, bytes, n, at);
}

EXPORTED int ftruncate(int fd, off_t length) {
    int (*next)(int, off_t);
    find_next(&next, "ftruncate");
    return is_file(fd) && fails_now(false) ? -1 : next(fd, length);
}

EXPORTED int ftruncate64(int fd, off64_t length) {
    int (*next)(int, off64_t);
    find_next(&next, "ftruncate64");
    return is_file(fd) && fails_now(false) ? -1 : next(fd, length);
}

EXPORTED int fsync(int fd) {
    int (*next)(int);
    find_next(&next, "fsync");
    return fails_now(true) ? -1 : next(fd);
}

EXPORTED int fdatasync(int fd) {
    int (*next)(int);
    find_next(&next, "fdatasync");
    return fails_now(true) ? -1 : next(fd);
}

EXPORTED int rename(const char *from, const char *to) {
    int (*next)(const char *, const char *);
    find_next(&next, "rename");
    return fails_now(false) ? -1 : next(from, to);
}

EXPORTED int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    int (*next)(int, const char *, int, const char *);
    find_next(&next, "renameat");
    return fails_now(false) ? -1 : next(from_folder, from, to_folder, to);
}
