/* Files read within bounds, and written whole or not at all.
 * Must not know what is in them. */
#include "kvat/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base.h"
#include "kvat/units.h"

#define READ_CHUNK ((size_t)64 << 10)

static kvat_status cannot_open(const char *path, int errnum, kvat_error *err) {
    bool absent = errnum == ENOENT || errnum == ENOTDIR || errnum == ELOOP || errnum == ENAMETOOLONG;
    return kvat_fail_errno(err, absent ? KVAT_ERR_DATA : KVAT_ERR_IO, errnum, "cannot open %s", path);
}

/* Opening a device can act on it, so the kind is looked at before, and again after in case it was swapped. */
static kvat_status open_regular(int *fd, const char *path, kvat_error *err) {
    struct stat about;
    if (stat(path, &about) < 0) return cannot_open(path, errno, err);
    if (!S_ISREG(about.st_mode)) return kvat_fail(err, KVAT_ERR_DATA, "%s is not a regular file", path);
    int opened = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (opened < 0) return cannot_open(path, errno, err);
    if (fstat(opened, &about) < 0 || !S_ISREG(about.st_mode)) {
        close(opened);
        return kvat_fail(err, KVAT_ERR_DATA, "%s is not a regular file", path);
    }
    *fd = opened;
    return KVAT_OK;
}

static ssize_t read_some(int fd, char *bytes, size_t n) {
    ssize_t got;
    do got = read(fd, bytes, n);
    while (got < 0 && errno == EINTR);
    return got;
}

/* One byte more than allowed is asked for, so that a file that is too large is noticed while it is read. */
static kvat_status read_all(kvat_buf *out, int fd, const char *path, size_t ceiling, kvat_error *err) {
    for (size_t total = 0;;) {
        size_t chunk = ceiling - total < READ_CHUNK ? ceiling - total + 1 : READ_CHUNK;
        char bytes[READ_CHUNK];
        ssize_t got = read_some(fd, bytes, chunk < READ_CHUNK ? chunk : READ_CHUNK);
        if (got < 0) return kvat_fail_errno(err, KVAT_ERR_IO, errno, "cannot read %s", path);
        if (got == 0) return kvat_buf_status(out, err);
        if ((size_t)got > ceiling - total)
            return kvat_fail(err, KVAT_ERR_DATA, "%s is larger than the %zu bytes allowed", path, ceiling);
        kvat_buf_put(out, bytes, (size_t)got);
        if (out->status != KVAT_OK) return kvat_fail(err, out->status, "%s does not fit into memory", path);
        total += (size_t)got;
    }
}

kvat_status kvat_file_read(kvat_buf *out, const char *path, size_t ceiling, kvat_error *err) {
    int fd = -1;
    size_t start = out->length;
    kvat_status status = open_regular(&fd, path, err);
    if (status != KVAT_OK) return status;
    kvat_buf_put(out, "", 0);
    status = read_all(out, fd, path, ceiling, err);
    if (status != KVAT_OK) kvat__buf_cut(out, start);
    close(fd);
    return status;
}

#define TEMPORARY_PREFIX ".kvat-"
enum { TEMPORARY_DIGITS = 16 };

/* A file on its way: the folder it belongs to, its name there, and the temporary that is to take that name. */
typedef struct replacement {
    const char *path; /* as the caller wrote it, for messages */
    const char *name;
    int folder;
    int fd;
    int claim;          /* a second descriptor, which keeps the lock until the temporary has its name */
    char temporary[32]; /* empty when none is there */
} replacement;

static int open_folder(const char *path, const char *name) {
    if (name == path) return open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    size_t length = (size_t)(name - path);
    char *folder = strndup(path, length > 1 ? length - 1 : 1);
    if (!folder) {
        errno = ENOMEM;
        return -1;
    }
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int errnum = errno;
    free(folder);
    errno = errnum;
    return fd;
}

/* Whatever stands at the destination must be nothing, or a regular file that its owner may write. */
static kvat_status check_destination(const replacement *r, kvat_error *err) {
    struct stat about;
    if (fstatat(r->folder, r->name, &about, AT_SYMLINK_NOFOLLOW) < 0) {
        if (errno == ENOENT) return KVAT_OK;
        return kvat_fail_errno(err, KVAT_ERR_IO, errno, "cannot write %s", r->path);
    }
    if (S_ISLNK(about.st_mode))
        return kvat_fail(err, KVAT_ERR_IO, "cannot write %s: it is a symbolic link, which is not followed", r->path);
    if (S_ISDIR(about.st_mode)) return kvat_fail(err, KVAT_ERR_IO, "cannot write %s: it is a folder", r->path);
    if (!S_ISREG(about.st_mode))
        return kvat_fail(err, KVAT_ERR_IO, "cannot write %s: it is not a regular file", r->path);
    if ((about.st_mode & 0222) == 0) return kvat_fail(err, KVAT_ERR_IO, "cannot write %s: it is read-only", r->path);
    return KVAT_OK;
}

static uint64_t fresh_number(void) {
    uint64_t number = 0;
    if (getrandom(&number, sizeof number, GRND_NONBLOCK) == (ssize_t)sizeof number) return number;
    return (uint64_t)kvat_now_ns() ^ ((uint64_t)getpid() << 32);
}

static bool close_checked(int *fd) {
    int result = close(*fd);
    *fd = -1;
    return result == 0 || errno == EINTR;
}

/* Says that the temporary has a living writer. False when a sweep took it for abandoned in the moment since it was
 * made. Where a file system has no locks nothing is ever swept. */
static bool claim(replacement *r) {
    struct stat about;
    r->claim = fcntl(r->fd, F_DUPFD_CLOEXEC, 0);
    if (r->claim < 0) return false;
    if (flock(r->fd, LOCK_EX | LOCK_NB) != 0) return errno != EWOULDBLOCK;
    return fstat(r->fd, &about) != 0 || about.st_nlink > 0;
}

static void close_both(replacement *r) {
    if (r->fd >= 0) close(r->fd);
    if (r->claim >= 0) close(r->claim);
    r->fd = r->claim = -1;
}

/* The name only has to be unused; O_EXCL sees to it, and a taken one is tried anew. */
static kvat_status create_temporary(replacement *r, unsigned mode, kvat_error *err) {
    for (int tries = 0; tries < 16; tries++) {
        snprintf(r->temporary, sizeof r->temporary, TEMPORARY_PREFIX "%016" PRIx64, fresh_number());
        r->fd = openat(r->folder, r->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, (mode_t)mode);
        if (r->fd >= 0 && claim(r)) return KVAT_OK;
        if (r->fd < 0 && errno != EEXIST) break;
        if (r->fd >= 0) unlinkat(r->folder, r->temporary, 0);
        close_both(r);
    }
    int errnum = errno;
    r->temporary[0] = '\0';
    return kvat_fail_errno(err, KVAT_ERR_IO, errnum, "cannot write %s", r->path);
}

static bool write_all(int fd, const char *bytes, size_t n) {
    while (n > 0) {
        ssize_t put = write(fd, bytes, n);
        if (put < 0 && errno == EINTR) continue;
        if (put == 0) errno = EIO;
        if (put <= 0) return false;
        bytes += put;
        n -= (size_t)put;
    }
    return true;
}

/* Some file systems have nothing to synchronise and say so with EINVAL. */
static bool synchronise(int fd) {
    int result;
    do result = fsync(fd);
    while (result < 0 && errno == EINTR);
    return result == 0 || errno == EINVAL;
}

static bool commit(replacement *r, const void *bytes, size_t n) {
    if (!write_all(r->fd, bytes, n) || !synchronise(r->fd) || !close_checked(&r->fd)) return false;
    if (renameat(r->folder, r->temporary, r->folder, r->name) < 0) return false;
    r->temporary[0] = '\0';
    return synchronise(r->folder);
}

static void abandon(replacement *r) {
    if (r->temporary[0]) unlinkat(r->folder, r->temporary, 0);
    close_both(r);
    if (r->folder >= 0) close(r->folder);
}

/* ---- what killed writers left ---- */

static bool is_temporary_name(const char *name) {
    static const size_t prefix = sizeof TEMPORARY_PREFIX - 1;
    return strncmp(name, TEMPORARY_PREFIX, prefix) == 0 && strlen(name + prefix) == TEMPORARY_DIGITS &&
           strspn(name + prefix, "0123456789abcdef") == TEMPORARY_DIGITS;
}

/* A writer holds its temporary locked while it lives: one whose lock is free has nobody who would finish it. */
static void sweep_one(int folder, const char *name) {
    struct stat about;
    if (fstatat(folder, name, &about, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(about.st_mode)) return;
    int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0) return;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) (void)unlinkat(folder, name, 0);
    close(fd);
}

/* Best effort, and last, so that what is swept costs the file that was asked for nothing. */
static void sweep(int folder) {
    int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *listing = fd >= 0 ? fdopendir(fd) : NULL;
    if (!listing && fd >= 0) close(fd);
    if (!listing) return;
    for (const struct dirent *entry; (entry = readdir(listing));)
        if (is_temporary_name(entry->d_name)) sweep_one(folder, entry->d_name);
    closedir(listing);
}

kvat_status kvat_file_write(const char *path, const void *bytes, size_t n, unsigned mode, kvat_error *err) {
    const char *slash = strrchr(path, '/');
    replacement r = {.path = path, .name = slash ? slash + 1 : path, .folder = -1, .fd = -1, .claim = -1};
    if (!*r.name || strcmp(r.name, ".") == 0 || strcmp(r.name, "..") == 0)
        return kvat_fail(err, KVAT_ERR_IO, "cannot write \"%s\": not the name of a file", path);

    r.folder = open_folder(path, r.name);
    if (r.folder < 0) return kvat_fail_errno(err, KVAT_ERR_IO, errno, "cannot write %s: its folder", path);
    kvat_status status = check_destination(&r, err);
    if (status == KVAT_OK) status = create_temporary(&r, mode, err);
    if (status == KVAT_OK && !commit(&r, bytes, n))
        status = kvat_fail_errno(err, KVAT_ERR_IO, errno, "cannot write %s", path);
    if (status == KVAT_OK) sweep(r.folder);
    abandon(&r);
    return status;
}
