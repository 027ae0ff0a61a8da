/* System calls that fail on command.
 * Must not know what is being tested. */
#include "fail_io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/types.h>

int __real_open(const char *path, int flags, ...);
int __real_openat(int folder, const char *path, int flags, ...);
ssize_t __real_read(int fd, void *bytes, size_t n);
ssize_t __real_write(int fd, const void *bytes, size_t n);
int __real_fsync(int fd);
int __real_close(int fd);
int __real_rename(const char *from, const char *to);
int __real_renameat(int from_folder, const char *from, int to_folder, const char *to);

int __wrap_open(const char *path, int flags, ...);
int __wrap_openat(int folder, const char *path, int flags, ...);
ssize_t __wrap_read(int fd, void *bytes, size_t n);
ssize_t __wrap_write(int fd, const void *bytes, size_t n);
int __wrap_fsync(int fd);
int __wrap_close(int fd);
int __wrap_rename(const char *from, const char *to);
int __wrap_renameat(int from_folder, const char *from, int to_folder, const char *to);

static _Thread_local size_t countdown[FAIL_IO_CALLS];
static _Thread_local int reason;
static _Thread_local bool met;
static _Thread_local size_t limit;

void fail_io_arm(fail_io_call call, size_t n, int errnum) {
    countdown[call] = n;
    reason = errnum;
    met = false;
}

void fail_io_limit(size_t bytes) {
    limit = bytes;
}

bool fail_io_disarm(void) {
    for (int call = 0; call < FAIL_IO_CALLS; call++) countdown[call] = 0;
    limit = 0;
    return met;
}

static bool fails_now(fail_io_call call) {
    if (countdown[call] == 0 || --countdown[call] > 0) return false;
    met = true;
    errno = reason;
    return true;
}

static size_t limited(size_t n) {
    return limit > 0 && n > limit ? limit : n;
}

static mode_t mode_of(int flags, va_list args) {
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
}

int __wrap_open(const char *path, int flags, ...) {
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_of(flags, args);
    va_end(args);
    return fails_now(FAIL_IO_OPEN) ? -1 : __real_open(path, flags, mode);
}

int __wrap_openat(int folder, const char *path, int flags, ...) {
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_of(flags, args);
    va_end(args);
    return fails_now(FAIL_IO_OPEN) ? -1 : __real_openat(folder, path, flags, mode);
}

ssize_t __wrap_read(int fd, void *bytes, size_t n) {
    return fails_now(FAIL_IO_READ) ? -1 : __real_read(fd, bytes, limited(n));
}

ssize_t __wrap_write(int fd, const void *bytes, size_t n) {
    return fails_now(FAIL_IO_WRITE) ? -1 : __real_write(fd, bytes, limited(n));
}

int __wrap_fsync(int fd) {
    return fails_now(FAIL_IO_FSYNC) ? -1 : __real_fsync(fd);
}

int __wrap_close(int fd) {
    int result = __real_close(fd);
    return fails_now(FAIL_IO_CLOSE) ? -1 : result;
}

int __wrap_rename(const char *from, const char *to) {
    return fails_now(FAIL_IO_RENAME) ? -1 : __real_rename(from, to);
}

int __wrap_renameat(int from_folder, const char *from, int to_folder, const char *to) {
    return fails_now(FAIL_IO_RENAME) ? -1 : __real_renameat(from_folder, from, to_folder, to);
}
