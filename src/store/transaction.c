// Transactions: on KVAT_OK it is on the disk, on anything else nothing of it is there.
// Must not know what is written.
#include "store_internal.h"

enum { CHECKPOINT_PAGES = 1000 };

/** Called once a commit stands in the log. What SQLite does after that can fail, but takes nothing back. */
static int note_commit(void *user, sqlite3 *db, const char *schema, int pages) {
    kvat_store *store = user;
    (void)db;
    (void)schema;
    store->committed = true;
    store->log_pages = pages;
    return SQLITE_OK;
}

kvat_status kvat__transactions_init(kvat_store *store, kvat_error *err) {
    sqlite3_wal_hook(store->db, note_commit, store);
    int rc = sqlite3_prepare_v3(store->db, "ROLLBACK", -1, SQLITE_PREPARE_PERSISTENT, &store->rollback, NULL);
    return rc == SQLITE_OK ? KVAT_OK : kvat__sql_fail(store, rc, "set it up", err);
}

/** SQLite may have rolled back on its own. Even a prepared rollback can lack memory: then it is owed. */
static void roll_back(kvat_store *store) {
    if (!sqlite3_get_autocommit(store->db)) {
        (void)sqlite3_step(store->rollback);
        (void)sqlite3_reset(store->rollback);
    }
    store->owes_rollback = !sqlite3_get_autocommit(store->db);
}

static void undo(kvat_store *store, const kvat__wal_mark *mark) {
    roll_back(store);
    kvat__wal_cut(store, mark);
}

kvat_status kvat__settle(kvat_store *store, kvat_error *err) {
    if (store->owes_rollback) roll_back(store);
    if (!store->owes_rollback) return KVAT_OK;
    return kvat__sql_fail(store, sqlite3_extended_errcode(store->db), "undo what failed", err);
}

kvat_status kvat__begin_any(kvat_store *store, kvat__wal_mark *mark, const char *doing, kvat_error *err) {
    kvat_status status = kvat__settle(store, err);
    if (status != KVAT_OK) return status;
    kvat__wal_mark_take(mark, store);
    status = kvat__sql_exec(store, "BEGIN IMMEDIATE", doing, err);
    if (status != KVAT_OK) undo(store, mark);
    return status;
}

kvat_status kvat__begin(kvat_store *store, kvat__wal_mark *mark, const char *doing, kvat_error *err) {
    if (store->lock < 0)
        return kvat_fail(err, KVAT_ERR_USAGE, "%s: cannot %s: the store is open for reading", store->path, doing);
    return kvat__begin_any(store, mark, doing, err);
}

/** The hook replaced SQLite's own checkpoint, which runs inside the commit and would mix its failures with the
 * commit's. A checkpoint that fails is made up for by the next. */
static void checkpoint(kvat_store *store) {
    if (store->log_pages < CHECKPOINT_PAGES) return;
    store->log_pages = 0;
    (void)sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
}

static kvat_status commit(kvat_store *store, const char *doing, kvat_error *err) {
    kvat_error detail = KVAT_ERROR_INIT;
    store->committed = false;
    kvat_status status = kvat__sql_exec(store, "COMMIT", doing, &detail);
    if (status == KVAT_OK || store->committed) return KVAT_OK;
    if (err) *err = detail;
    return status;
}

kvat_status kvat__end(kvat_store *store, const kvat__wal_mark *mark, kvat_status status, const char *doing,
                      kvat_error *err) {
    if (status == KVAT_OK) status = commit(store, doing, err);
    if (status == KVAT_OK)
        checkpoint(store);
    else
        undo(store, mark);
    return status;
}
