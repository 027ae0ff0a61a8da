// Statements, transactions, and SQLite's failures in kvat's words.
// Must not know what the tables mean.
#include "store_internal.h"

#include <string.h>

static kvat_status status_of(const kvat_store *store, int rc) {
    if (rc == SQLITE_IOERR_NOMEM) return KVAT_ERR_NOMEM;
    switch (rc & 0xff) {
    case SQLITE_NOMEM:
        return KVAT_ERR_NOMEM;
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_READONLY:
        return KVAT_ERR_IO;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return KVAT_ERR_BUSY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
    case SQLITE_TOOBIG:
        return KVAT_ERR_DATA;
    case SQLITE_ERROR:
        return store->version > store->latest ? KVAT_ERR_DATA : KVAT_ERR_INTERNAL;
    default:
        return KVAT_ERR_INTERNAL;
    }
}

static bool is_damage(int rc) {
    int primary = rc & 0xff;
    return primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB || primary == SQLITE_FORMAT;
}

static kvat_status fail_io(const kvat_store *store, int rc, const char *doing, kvat_error *err) {
    int errnum = store->db ? sqlite3_system_errno(store->db) : 0;
    if ((rc & 0xff) == SQLITE_FULL)
        return kvat_fail(err, KVAT_ERR_IO, "%s: cannot %s: the disk is full; free some space and run again",
                         store->path, doing);
    if (errnum != 0) return kvat_fail_errno(err, KVAT_ERR_IO, errnum, "%s: cannot %s", store->path, doing);
    return kvat_fail(err, KVAT_ERR_IO, "%s: cannot %s: %s", store->path, doing, sqlite3_errstr(rc));
}

kvat_status kvat__sql_fail(const kvat_store *store, int rc, const char *doing, kvat_error *err) {
    kvat_status status = status_of(store, rc);
    if (status == KVAT_ERR_NOMEM) return kvat_fail(err, status, "out of memory: cannot %s", doing);
    if (status == KVAT_ERR_IO) return fail_io(store, rc, doing, err);
    if (status == KVAT_ERR_BUSY)
        return kvat_fail(err, status, "%s: cannot %s: another program holds the database locked", store->path, doing);
    if (is_damage(rc)) return kvat__fail_damaged(store, doing, sqlite3_errstr(rc), err);
    if (store->version > store->latest)
        return kvat_fail(err, KVAT_ERR_DATA,
                         "%s: cannot %s: it was written by a newer kvat (store version %d, this one knows %d)",
                         store->path, doing, store->version, store->latest);
    return kvat_fail(err, status, "%s: cannot %s: %s", store->path, doing,
                     store->db ? sqlite3_errmsg(store->db) : sqlite3_errstr(rc));
}

kvat_status kvat__fail_damaged(const kvat_store *store, const char *doing, const char *detail, kvat_error *err) {
    /* SQLite quotes a damaged schema, line breaks and all */
    return kvat_fail(err, KVAT_ERR_DATA,
                     "%s: cannot %s: the store is damaged (%.*s); move it away to start anew, or save what is readable "
                     "with: sqlite3 OLD.db .recover | sqlite3 NEW.db",
                     store->path, doing, (int)strcspn(detail, "\r\n"), detail);
}

kvat_status kvat__sql_exec(kvat_store *store, const char *sql, const char *doing, kvat_error *err) {
    int rc = sqlite3_exec(store->db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? KVAT_OK : kvat__sql_fail(store, sqlite3_extended_errcode(store->db), doing, err);
}

kvat_status kvat__sql_int(int64_t *out, kvat_store *store, const char *sql, const char *doing, kvat_error *err) {
    kvat__query query;
    bool row = false;
    kvat_status status = kvat__query_open(&query, store, sql, doing, err);
    if (status == KVAT_OK) status = kvat__query_step(&row, &query, err);
    if (status == KVAT_OK) *out = row ? kvat__query_get_int(&query, 0) : 0;
    kvat__query_close(&query);
    return status;
}

kvat_status kvat__query_open(kvat__query *query, kvat_store *store, const char *sql, const char *doing,
                             kvat_error *err) {
    *query = (kvat__query){.store = store, .doing = doing, .next = 1, .rc = SQLITE_OK};
    kvat_status status = kvat__settle(store, err);
    if (status != KVAT_OK) return status;
    int rc = sqlite3_prepare_v2(store->db, sql, -1, &query->statement, NULL);
    /* tables or columns are missing although the version says they are there: no statement here is wrong otherwise */
    if (rc == SQLITE_ERROR && store->version == store->latest)
        return kvat__fail_damaged(store, doing, sqlite3_errmsg(store->db), err);
    return rc == SQLITE_OK ? KVAT_OK : kvat__sql_fail(store, sqlite3_extended_errcode(store->db), doing, err);
}

void kvat__query_close(kvat__query *query) {
    sqlite3_finalize(query->statement);
    query->statement = NULL;
}

static void note_bind(kvat__query *query, int rc) {
    if (query->rc == SQLITE_OK) query->rc = rc;
    query->next++;
}

void kvat__query_int(kvat__query *query, int64_t value) {
    note_bind(query, sqlite3_bind_int64(query->statement, query->next, value));
}

void kvat__query_real(kvat__query *query, double value) {
    note_bind(query, sqlite3_bind_double(query->statement, query->next, value));
}

void kvat__query_text(kvat__query *query, const char *text) {
    note_bind(query, sqlite3_bind_text(query->statement, query->next, text ? text : "", -1, SQLITE_STATIC));
}

void kvat__query_blob(kvat__query *query, const void *bytes, size_t n) {
    int rc = n == 0 ? sqlite3_bind_zeroblob(query->statement, query->next, 0)
                    : sqlite3_bind_blob64(query->statement, query->next, bytes, n, SQLITE_STATIC);
    note_bind(query, rc);
}

kvat_status kvat__query_step(bool *row, kvat__query *query, kvat_error *err) {
    if (query->rc != SQLITE_OK) return kvat__sql_fail(query->store, query->rc, query->doing, err);
    int rc = sqlite3_step(query->statement);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return kvat__sql_fail(query->store, sqlite3_extended_errcode(query->store->db), query->doing, err);
    *row = rc == SQLITE_ROW;
    return KVAT_OK;
}

kvat_status kvat__query_run(kvat__query *query, kvat_error *err) {
    bool row = true;
    kvat_status status = KVAT_OK;
    while (status == KVAT_OK && row) status = kvat__query_step(&row, query, err);
    sqlite3_reset(query->statement);
    query->next = 1;
    query->rc = SQLITE_OK;
    return status;
}

int64_t kvat__query_get_int(const kvat__query *query, int column) {
    return sqlite3_column_int64(query->statement, column);
}

const char *kvat__query_get_text(const kvat__query *query, int column) {
    const unsigned char *text = sqlite3_column_text(query->statement, column);
    return text ? (const char *)text : "";
}
