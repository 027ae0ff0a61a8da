// Undoes what a failed commit left in the write-ahead log.
// Must not know what a transaction holds.
//
// When the sync of a commit fails, its frames stand complete in the log although the commit was refused. This
// connection ignores them, but recovery after a crash would take them for a finished transaction. The log is
// append-only between restarts (journal_size_limit is 0, so its size is what is used), and a restart changes the salt
// in its header.
#include "store_internal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kvat/buf.h"

enum { WAL_HEADER_BYTES = 32, WAL_SALT_AT = 16 };

/** Other descriptors of the database file would drop SQLite's locks when closed; the log has none. */
static int wal_open(const kvat_store *store, int flags) {
    kvat_buf path = KVAT_BUF_INIT;
    kvat_buf_printf(&path, "%s-wal", store->path);
    int fd = path.status == KVAT_OK ? open(path.bytes, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) : -1;
    kvat_buf_clear(&path);
    return fd;
}

static void mark_read(kvat__wal_mark *mark, int fd) {
    unsigned char header[WAL_HEADER_BYTES];
    struct stat info;
    memset(mark, 0, sizeof *mark);
    if (fstat(fd, &info) != 0 || pread(fd, header, sizeof header, 0) != (ssize_t)sizeof header) return;
    mark->bytes = info.st_size;
    memcpy(mark->salt, header + WAL_SALT_AT, sizeof mark->salt);
}

void kvat__wal_mark_take(kvat__wal_mark *mark, const kvat_store *store) {
    memset(mark, 0, sizeof *mark);
    int fd = wal_open(store, O_RDONLY);
    if (fd < 0) return;
    mark_read(mark, fd);
    close(fd);
}

void kvat__wal_cut(const kvat_store *store, const kvat__wal_mark *mark) {
    /* Without the lock the log is another process's. */
    int fd = store->lock >= 0 ? wal_open(store, O_RDWR) : -1;
    if (fd < 0) return;
    kvat__wal_mark now;
    mark_read(&now, fd);
    bool restarted = memcmp(now.salt, mark->salt, sizeof now.salt) != 0;
    int64_t keep = restarted ? 0 : mark->bytes;
    /* When this fails too, nothing more can be done here; the frames were never acknowledged. */
    if (now.bytes > keep && ftruncate(fd, (off_t)keep) == 0) (void)fsync(fd);
    close(fd);
}
