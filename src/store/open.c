// Opens a store: what kind of file it is, whose, how old, and who else writes.
// Must not know what runs and trials are.
#include "store_internal.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "kvat/buf.h"
#include "kvat/file.h"

enum { BUSY_TIMEOUT_MS = 5000 };
enum { HEADER_BYTES = 100, APPLICATION_ID_AT = 68 }; /* SQLite's file format */

/** The folder is resolved, so that SQLite can be told to follow no link at all; the file itself must be no link. NULL
 * when that fails, and *status says why. */
static char *resolve(kvat_status *status, const char *path, kvat_store_mode mode, kvat_error *err) {
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    char *real = NULL, *joined = NULL;
    char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    if (name[0] == '\0')
        *status = kvat_fail(err, KVAT_ERR_USAGE, "a store needs a file name, not \"%s\"", path);
    else if (!folder)
        *status = kvat_fail(err, KVAT_ERR_NOMEM, "out of memory: cannot open %s", path);
    else if (!(real = realpath(folder, NULL)))
        *status =
            kvat_fail_errno(err, mode == KVAT_STORE_READ ? KVAT_ERR_DATA : KVAT_ERR_IO, errno, "cannot open %s", path);
    else if (!(joined = kvat_path_join(real, name)))
        *status = kvat_fail(err, KVAT_ERR_NOMEM, "out of memory: cannot open %s", path);
    free(folder);
    free(real);
    return joined;
}

/** *bytes is the size, 0 for a file that is missing or empty. */
static kvat_status look(int64_t *bytes, const char *path, kvat_store_mode mode, kvat_error *err) {
    struct stat info;
    *bytes = 0;
    if (lstat(path, &info) != 0) {
        if (errno != ENOENT) return kvat_fail_errno(err, KVAT_ERR_IO, errno, "cannot look at %s", path);
        return mode == KVAT_STORE_WRITE ? KVAT_OK : kvat_fail(err, KVAT_ERR_DATA, "%s: there is no such store", path);
    }
    if (S_ISLNK(info.st_mode))
        return kvat_fail(err, KVAT_ERR_DATA, "%s is a symbolic link: name the store itself", path);
    if (!S_ISREG(info.st_mode)) return kvat_fail(err, KVAT_ERR_DATA, "%s is no regular file", path);
    if (info.st_size == 0 && mode == KVAT_STORE_READ)
        return kvat_fail(err, KVAT_ERR_DATA, "%s is empty: nothing was recorded", path);
    *bytes = info.st_size;
    return KVAT_OK;
}

/** "file:" URI of a path, so that the parameter can be given; '%', '?' and '#' mean something there. */
static void put_uri(kvat_buf *out, const char *path, const char *parameters) {
    kvat_buf_puts(out, "file:");
    for (const char *c = path; *c; c++) {
        if (*c == '%' || *c == '?' || *c == '#')
            kvat_buf_printf(out, "%%%02X", (unsigned)(unsigned char)*c);
        else
            kvat_buf_putc(out, *c);
    }
    kvat_buf_puts(out, parameters);
}

static kvat_status db_open(kvat_store *store, int flags, const char *parameters, kvat_error *err) {
    kvat_buf uri = KVAT_BUF_INIT;
    put_uri(&uri, store->path, parameters);
    kvat_status status = kvat_buf_status(&uri, err);
    if (status == KVAT_OK) {
        int rc = sqlite3_open_v2(
            uri.bytes, &store->db,
            flags | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_PRIVATECACHE, NULL);
        if (rc != SQLITE_OK)
            status = kvat__sql_fail(store, store->db ? sqlite3_extended_errcode(store->db) : rc, "open it", err);
    }
    kvat_buf_clear(&uri);
    return status;
}

static void db_close(kvat_store *store) {
    sqlite3_finalize(store->rollback);
    store->rollback = NULL;
    sqlite3_close(store->db);
    store->db = NULL;
}

/** The file's first bytes, by SQLite's own descriptor: closing another one would drop the locks of a connection that
 * this process may have to the same file. Nothing is interpreted, so a store that needs recovery is still seen as one.
 */
static kvat_status read_header(unsigned char header[HEADER_BYTES], kvat_store *store, kvat_error *err) {
    sqlite3_file *file = NULL;
    kvat_status status = db_open(store, SQLITE_OPEN_READONLY, "?immutable=1", err);
    if (status != KVAT_OK) return status;
    int rc = sqlite3_file_control(store->db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
    if (rc == SQLITE_OK) rc = file->pMethods->xRead(file, header, HEADER_BYTES, 0);
    if (rc == SQLITE_IOERR_SHORT_READ) rc = SQLITE_OK; /* the rest is zeros */
    if (rc != SQLITE_OK) status = kvat__sql_fail(store, rc, "read its header", err);
    return status;
}

static bool is_ours(const unsigned char header[HEADER_BYTES]) {
    const unsigned char *id = header + APPLICATION_ID_AT;
    uint32_t value = (uint32_t)id[0] << 24 | (uint32_t)id[1] << 16 | (uint32_t)id[2] << 8 | id[3];
    return memcmp(header, "SQLite format 3", 16) == 0 && value == KVAT__APPLICATION_ID;
}

static kvat_status check_ours(kvat_store *store, kvat_error *err) {
    unsigned char header[HEADER_BYTES] = {0};
    kvat_status status = read_header(header, store, err);
    db_close(store);
    if (status != KVAT_OK || is_ours(header)) return status;
    return kvat_fail(err, KVAT_ERR_DATA, "%s is no kvat store; it was left as it is: choose another folder or move it",
                     store->path);
}

static kvat_status check_file(kvat_store *store, kvat_store_mode mode, kvat_error *err) {
    int64_t bytes = 0;
    kvat_status status = look(&bytes, store->path, mode, err);
    if (status == KVAT_OK && bytes > 0) status = check_ours(store, err);
    return status;
}

static kvat_status read_version(kvat_store *store, kvat_error *err) {
    int64_t version = 0;
    kvat_status status = kvat__sql_int(&version, store, "PRAGMA user_version", "read its version", err);
    if (status == KVAT_OK) store->version = (int)version;
    return status;
}

/** What must hold before a byte is written to an existing store. */
static kvat_status check_sound(kvat_store *store, kvat_error *err) {
    kvat__query query;
    bool row = false;
    if (store->version == 0) return KVAT_OK;
    kvat_status status = kvat__query_open(&query, store, "PRAGMA quick_check(1)", "check it", err);
    if (status == KVAT_OK) status = kvat__query_step(&row, &query, err);
    if (status == KVAT_OK && row) {
        const char *verdict = kvat__query_get_text(&query, 0);
        if (!verdict || strcmp(verdict, "ok") != 0)
            status = kvat__fail_damaged(store, "open it", verdict ? verdict : "unreadable", err);
    }
    kvat__query_close(&query);
    return status;
}

static kvat_status open_write(kvat_store *store, const kvat__schema *schema, kvat_error *err) {
    kvat_status status = kvat__lock_take(&store->lock, store->path, err);
    /* Again, now that nobody else can change it. */
    if (status == KVAT_OK) status = check_file(store, KVAT_STORE_WRITE, err);
    if (status == KVAT_OK) status = db_open(store, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "", err);
    if (status != KVAT_OK) return status;
    sqlite3_busy_timeout(store->db, BUSY_TIMEOUT_MS);
    status = read_version(store, err);
    if (status == KVAT_OK && store->version > schema->latest)
        status = kvat_fail(err, KVAT_ERR_DATA,
                           "%s was written by a newer kvat (store version %d, this one writes %d): it can be read but "
                           "not added to; update kvat, or use another folder",
                           store->path, store->version, schema->latest);
    if (status == KVAT_OK)
        status = kvat__sql_exec(store,
                                "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; "
                                "PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 0",
                                "set it up", err);
    if (status == KVAT_OK) status = check_sound(store, err);
    if (status == KVAT_OK) status = kvat__transactions_init(store, err);
    /* A new store gets its tables in a rollback journal: its header is ours from the first page that reaches the disk.
     */
    if (status == KVAT_OK) status = kvat__migrate(store, schema, err);
    if (status == KVAT_OK)
        status = kvat__sql_exec(store, "PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON", "set it up", err);
    return status;
}

/** A copy in memory takes the steps an older store lacks: reading changes no file. */
static kvat_status modernise_copy(kvat_store *store, const kvat__schema *schema, kvat_error *err) {
    sqlite3 *copy = NULL;
    int rc = sqlite3_open_v2(":memory:", &copy, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    sqlite3_backup *backup = rc == SQLITE_OK ? sqlite3_backup_init(copy, "main", store->db, "main") : NULL;
    if (backup) {
        sqlite3_backup_step(backup, -1);
        rc = sqlite3_backup_finish(backup);
    } else if (rc == SQLITE_OK) {
        rc = sqlite3_errcode(copy);
    }
    if (rc != SQLITE_OK) {
        sqlite3_close(copy);
        return kvat__sql_fail(store, rc, "read it", err);
    }
    sqlite3_close(store->db);
    store->db = copy;
    kvat_status status = kvat__transactions_init(store, err);
    return status == KVAT_OK ? kvat__migrate(store, schema, err) : status;
}

static kvat_status read_start(kvat_store *store, const char *parameters, kvat_error *err) {
    kvat_status status = db_open(store, SQLITE_OPEN_READONLY, parameters, err);
    if (status == KVAT_OK) {
        sqlite3_busy_timeout(store->db, BUSY_TIMEOUT_MS);
        status = read_version(store, err);
    }
    return status;
}

static bool has_side_file(const kvat_store *store, const char *suffix) {
    struct stat info;
    kvat_buf path = KVAT_BUF_INIT;
    kvat_buf_printf(&path, "%s%s", store->path, suffix);
    bool absent = path.status == KVAT_OK && (lstat(path.bytes, &info) != 0 ? errno == ENOENT : info.st_size == 0);
    kvat_buf_clear(&path);
    return !absent;
}

/** On a medium that cannot be written, SQLite has no place for its index of the log. With neither log nor journal the
 * file is all there is, and can be read without one. */
static bool is_whole_alone(const kvat_store *store) {
    return !has_side_file(store, "-wal") && !has_side_file(store, "-journal");
}

/** Only while its tables are being made does a store have a journal, and no run is in it yet. Whoever makes them holds
 * it locked, so that a journal that waits to be rolled back has lost its writer. */
static bool is_half_made(const kvat_store *store) {
    return store->db && sqlite3_extended_errcode(store->db) == SQLITE_READONLY_ROLLBACK;
}

static kvat_status open_read(kvat_store *store, const kvat__schema *schema, kvat_error *err) {
    kvat_status status = read_start(store, "", err);
    if (status == KVAT_ERR_IO && is_half_made(store))
        return kvat_fail(err, KVAT_ERR_DATA,
                         "%s is half made: whoever made it was killed before anything was recorded; the next kvat tune "
                         "into this folder finishes it",
                         store->path);
    if (status == KVAT_ERR_IO && is_whole_alone(store)) {
        db_close(store);
        status = read_start(store, "?immutable=1", err);
    }
    if (status == KVAT_OK)
        status = kvat__sql_exec(store, "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON", "set it up", err);
    if (status == KVAT_OK && store->version < schema->latest) status = modernise_copy(store, schema, err);
    return status;
}

kvat_status kvat__store_open_with(kvat_store **out, const char *path, kvat_store_mode mode, const kvat__schema *schema,
                                  kvat_error *err) {
    kvat_store *store = calloc(1, sizeof *store);
    if (!store) return kvat_fail(err, KVAT_ERR_NOMEM, "out of memory: cannot open %s", path);
    store->lock = -1;
    store->latest = schema->latest;
    kvat_status status = KVAT_OK;
    store->path = resolve(&status, path, mode, err);
    if (store->path) status = check_file(store, mode, err);
    if (status == KVAT_OK)
        status = mode == KVAT_STORE_WRITE ? open_write(store, schema, err) : open_read(store, schema, err);
    if (status == KVAT_OK)
        *out = store;
    else
        kvat_store_close(store);
    return status;
}

kvat_status kvat_store_open(kvat_store **out, const char *path, kvat_store_mode mode, kvat_error *err) {
    const kvat__schema schema = {kvat__migrations, kvat__n_migrations};
    return kvat__store_open_with(out, path, mode, &schema, err);
}

void kvat_store_close(kvat_store *store) {
    if (!store) return;
    db_close(store);
    kvat__lock_release(store->lock, store->path);
    free(store->path);
    free(store);
}
