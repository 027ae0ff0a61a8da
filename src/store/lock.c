// One writer a store: a lock of the kernel's on "<path>.lock", whose text says who holds it.
// Must not know what a store is.
#include "store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "kvat/buf.h"

enum { HOLDER_BYTES = 128 };

static void put_holder(char text[HOLDER_BYTES]) {
    char when[32] = "";
    time_t now = time(NULL);
    struct tm utc;
    if (gmtime_r(&now, &utc)) (void)strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &utc);
    (void)snprintf(text, HOLDER_BYTES, "%ld %s %.60s\n", (long)getpid(), when, program_invocation_short_name);
}

/** "PID TIME PROGRAM\n", as put_holder() wrote it; false while it is being written. */
static bool parse_holder(long *pid, char **when, char **program, char *text) {
    char *after, *rest = text;
    *pid = strtol(text, &after, 10);
    if (*pid <= 0 || *after != ' ') return false;
    rest = after + 1;
    *when = strsep(&rest, " ");
    *program = strsep(&rest, "\n");
    return *program && rest;
}

static kvat_status fail_busy(int fd, const char *path, kvat_error *err) {
    char text[HOLDER_BYTES + 1] = "", *when, *program;
    long pid;
    ssize_t n = pread(fd, text, HOLDER_BYTES, 0);
    if (n > 0) text[n] = '\0';
    if (!parse_holder(&pid, &when, &program, text))
        return kvat_fail(err, KVAT_ERR_BUSY, "%s: another run holds the store; wait for it, or use another folder",
                         path);
    return kvat_fail(err, KVAT_ERR_BUSY,
                     "%s: held by %s, process %ld, since %s; wait for it, stop it, or use another folder", path,
                     program, pid, when);
}

static kvat_status lock_open(int *fd, const char *lock_path, kvat_error *err) {
    struct stat info;
    int opened = open(lock_path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0644);
    if (opened < 0) return kvat_fail_errno(err, KVAT_ERR_IO, errno, "cannot make the lock %s", lock_path);
    if (fstat(opened, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(opened);
        return kvat_fail(err, KVAT_ERR_IO, "%s is no regular file: remove it", lock_path);
    }
    *fd = opened;
    return KVAT_OK;
}

/** A holder removes the file before it lets go: a lock on a file that has lost its name excludes nobody. */
static bool still_named(int fd, const char *lock_path) {
    struct stat held, named;
    return fstat(fd, &held) == 0 && lstat(lock_path, &named) == 0 && held.st_ino == named.st_ino &&
           held.st_dev == named.st_dev;
}

static kvat_status lock_try(int *out, bool *again, const char *lock_path, const char *path, kvat_error *err) {
    int fd = -1;
    kvat_status status = lock_open(&fd, lock_path, err);
    if (status != KVAT_OK) return status;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        status = errno == EWOULDBLOCK ? fail_busy(fd, path, err)
                                      : kvat_fail_errno(err, KVAT_ERR_IO, errno, "cannot lock %s", lock_path);
    *again = status == KVAT_OK && !still_named(fd, lock_path);
    if (status == KVAT_OK && !*again)
        *out = fd;
    else
        close(fd);
    return status;
}

kvat_status kvat__lock_take(int *fd, const char *path, kvat_error *err) {
    char holder[HOLDER_BYTES];
    kvat_buf lock_path = KVAT_BUF_INIT;
    kvat_buf_printf(&lock_path, "%s.lock", path);
    kvat_status status = kvat_buf_status(&lock_path, err);
    int taken = -1;
    bool again = true;
    while (status == KVAT_OK && again) status = lock_try(&taken, &again, lock_path.bytes, path, err);
    if (status == KVAT_OK) {
        put_holder(holder);
        /* The text only serves a message; the lock holds without it. */
        if (ftruncate(taken, 0) == 0) (void)!pwrite(taken, holder, strlen(holder), 0);
        *fd = taken;
    }
    kvat_buf_clear(&lock_path);
    return status;
}

void kvat__lock_release(int fd, const char *path) {
    kvat_buf lock_path = KVAT_BUF_INIT;
    if (fd < 0) return;
    kvat_buf_printf(&lock_path, "%s.lock", path);
    if (lock_path.status == KVAT_OK) (void)unlink(lock_path.bytes);
    kvat_buf_clear(&lock_path);
    close(fd);
}
