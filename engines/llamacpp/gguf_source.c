// Where a GGUF reader's bytes come from: a regular file through a 64 KiB window, or memory.
// Must not know: the format.
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gguf_internal.h"
#include "kvat/buf.h"

kvat_status kvat__gguf_bad(const kvat_gguf *gguf, uint64_t offset, kvat_error *err, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);

    kvat_buf name;
    kvat_buf_init(&name, 0);
    kvat_escape_terminal(&name, kvat_gguf_path(gguf));
    kvat_status status = kvat_fail(err, KVAT_ERR_DATA, "%s%sbyte %llu: %s", name.bytes ? name.bytes : "",
                                   name.length ? ", " : "", (unsigned long long)offset, text);
    kvat_buf_clear(&name);
    return status;
}

static kvat_status refuse(const char *path, kvat_error *err, const char *why) {
    kvat_buf name;
    kvat_buf_init(&name, 0);
    kvat_escape_terminal(&name, path);
    kvat_status status = kvat_fail(err, KVAT_ERR_DATA, "%s: %s", name.bytes ? name.bytes : "model", why);
    kvat_buf_clear(&name);
    return status;
}

static void stamp_of(kvat_gguf_stamp *out, const struct stat *info) {
    *out = (kvat_gguf_stamp){.device = info->st_dev,
                             .inode = info->st_ino,
                             .bytes = (int64_t)info->st_size,
                             .mtime_ns = (int64_t)info->st_mtim.tv_sec * 1000000000 + info->st_mtim.tv_nsec};
}

bool kvat_gguf_stamp_equal(const kvat_gguf_stamp *a, const kvat_gguf_stamp *b) {
    return a->device == b->device && a->inode == b->inode && a->bytes == b->bytes && a->mtime_ns == b->mtime_ns;
}

static const char *not_regular(mode_t mode) {
    if (S_ISDIR(mode)) return "is a folder, not a GGUF file";
    if (S_ISFIFO(mode)) return "is a FIFO, not a GGUF file";
    if (S_ISCHR(mode) || S_ISBLK(mode)) return "is a device, not a GGUF file";
    return "is not a regular file";
}

kvat_status kvat_gguf_stamp_path(kvat_gguf_stamp *out, const char *path, kvat_error *err) {
    struct stat info;
    if (stat(path, &info) != 0) return refuse(path, err, strerror(errno));
    if (!S_ISREG(info.st_mode)) return refuse(path, err, not_regular(info.st_mode));
    stamp_of(out, &info);
    return KVAT_OK;
}

static kvat_status open_file(kvat_gguf *gguf, const char *path, kvat_error *err) {
    gguf->path = strdup(path);
    gguf->window = malloc(WINDOW_BYTES);
    if (!gguf->path || !gguf->window) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate a file window");

    /* The kind is looked at before opening: opening a device may have effects, and the second look after it closes the
     * gap. */
    kvat_gguf_stamp before;
    kvat_status status = kvat_gguf_stamp_path(&before, path, err);
    if (status != KVAT_OK) return status;
    gguf->fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (gguf->fd < 0) return refuse(path, err, strerror(errno));
    struct stat info;
    if (fstat(gguf->fd, &info) != 0) return refuse(path, err, strerror(errno));
    if (!S_ISREG(info.st_mode)) return refuse(path, err, not_regular(info.st_mode));
    stamp_of(&gguf->stamp, &info);
    gguf->size = (uint64_t)info.st_size;
    return KVAT_OK;
}

kvat_status kvat__gguf_source_new(kvat_gguf **out, const char *path, const void *bytes, size_t n, kvat_error *err) {
    kvat_gguf *gguf = calloc(1, sizeof *gguf);
    if (!gguf) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate a GGUF reader");
    gguf->fd = -1;
    kvat_status status = KVAT_OK;
    if (path) {
        status = open_file(gguf, path, err);
    } else {
        gguf->bytes = bytes;
        gguf->size = n;
        gguf->stamp.bytes = (int64_t)n;
    }
    if (status == KVAT_OK)
        *out = gguf;
    else
        kvat_gguf_free(gguf);
    return status;
}

void kvat_gguf_free(kvat_gguf *gguf) {
    if (!gguf) return;
    for (size_t i = 0; i < gguf->key_count; i++) free(gguf->keys[i].name);
    free(gguf->keys);
    free(gguf->window);
    free(gguf->path);
    if (gguf->fd >= 0) close(gguf->fd);
    free(gguf);
}

/* Reads up to `n` bytes; short only at the end of the file. */
static kvat_status pread_all(kvat_gguf *gguf, uint64_t offset, uint8_t *bytes, size_t n, size_t *got, kvat_error *err) {
    *got = 0;
    while (*got < n) {
        ssize_t step = pread(gguf->fd, bytes + *got, n - *got, (off_t)(offset + *got));
        if (step < 0 && errno == EINTR) continue;
        if (step < 0) return kvat_fail_errno(err, KVAT_ERR_IO, errno, "cannot read the model file");
        if (step == 0) break;
        *got += (size_t)step;
    }
    return KVAT_OK;
}

static kvat_status fill_window(kvat_gguf *gguf, uint64_t offset, kvat_error *err) {
    gguf->window_fill = 0;
    kvat_status status = pread_all(gguf, offset, gguf->window, WINDOW_BYTES, &gguf->window_fill, err);
    gguf->window_at = offset;
    return status;
}

static bool in_window(const kvat_gguf *gguf, uint64_t offset, size_t n) {
    return offset >= gguf->window_at && offset - gguf->window_at <= gguf->window_fill &&
           n <= gguf->window_fill - (size_t)(offset - gguf->window_at);
}

kvat_status kvat_gguf_read(kvat_gguf *gguf, uint64_t offset, void *bytes, size_t n, kvat_error *err) {
    if (offset > gguf->size || n > gguf->size - offset)
        return kvat__gguf_bad(gguf, offset, err, "the file ends at byte %llu, within the %zu bytes that start here",
                              (unsigned long long)gguf->size, n);
    if (gguf->bytes) {
        memcpy(bytes, gguf->bytes + offset, n);
        return KVAT_OK;
    }
    kvat_status status = KVAT_OK;
    size_t got = n;
    if (n > WINDOW_BYTES) {
        status = pread_all(gguf, offset, bytes, n, &got, err);
    } else {
        if (!in_window(gguf, offset, n)) status = fill_window(gguf, offset, err);
        if (status != KVAT_OK) return status;
        if (in_window(gguf, offset, n))
            memcpy(bytes, gguf->window + (offset - gguf->window_at), n);
        else
            got = 0;
    }
    if (status == KVAT_OK && got < n) return kvat__gguf_bad(gguf, offset, err, "the file shrank while it was read");
    return status;
}

const char *kvat_gguf_path(const kvat_gguf *gguf) {
    return gguf->path ? gguf->path : "";
}

kvat_gguf_stamp kvat_gguf_stamp_get(const kvat_gguf *gguf) {
    return gguf->stamp;
}
