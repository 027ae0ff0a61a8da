// What the files of the store share: the handle, statements with errors in words, migrations.
// Must not be known outside src/store and its tests.
#ifndef KVAT_STORE_INTERNAL_H
#define KVAT_STORE_INTERNAL_H

#include <sqlite3.h>

#include "kvat/store.h"

/** In every store's header, at the place SQLite keeps for it: "kvat". */
#define KVAT__APPLICATION_ID 0x6b766174

struct kvat_store {
    sqlite3 *db;
    char *path;             /**< folder resolved, last component as given */
    int lock;               /**< descriptor of the lock file; -1 when reading */
    sqlite3_stmt *rollback; /**< prepared, so that it works without memory */
    bool committed;         /**< the last COMMIT took effect, whatever it answered */
    bool owes_rollback;     /**< a failed transaction is still open */
    int log_pages;
    int version, latest;
};

typedef struct kvat__migration {
    const char *name;
    const char *sql;
} kvat__migration;

/** Migration i leads from version i to i + 1; made from the .sql files. */
extern const kvat__migration kvat__migrations[];
extern const int kvat__n_migrations;

/** By kvat_trial_phase, as in the database. */
extern const char *const kvat__phase_words[];

typedef struct kvat__schema {
    const kvat__migration *migrations;
    int latest;
} kvat__schema;

/** kvat_store_open() with a schema history of the caller's (tests bring their own). */
KVAT_MUST_CHECK kvat_status kvat__store_open_with(kvat_store **out, const char *path, kvat_store_mode mode,
                                                  const kvat__schema *schema, kvat_error *err);
/** Brings the open database from store->version to schema->latest in one transaction. */
KVAT_MUST_CHECK kvat_status kvat__migrate(kvat_store *store, const kvat__schema *schema, kvat_error *err);

/** Takes "<path>.lock" for as long as *fd stays open. KVAT_ERR_BUSY names the holder. */
KVAT_MUST_CHECK kvat_status kvat__lock_take(int *fd, const char *path, kvat_error *err);
void kvat__lock_release(int fd, const char *path);

/** Where the write-ahead log stood before a transaction. */
typedef struct kvat__wal_mark {
    int64_t bytes; /**< 0 when there is none */
    unsigned char salt[8];
} kvat__wal_mark;
void kvat__wal_mark_take(kvat__wal_mark *mark, const kvat_store *store);
/** Cuts off what a failed transaction left in the log, so that no later recovery finds it complete. */
void kvat__wal_cut(const kvat_store *store, const kvat__wal_mark *mark);

/** Puts SQLite's failure `rc` in words and the right status; `doing` is "add a trial". */
kvat_status kvat__sql_fail(const kvat_store *store, int rc, const char *doing, kvat_error *err);
/** KVAT_ERR_DATA with what can be saved and how. */
kvat_status kvat__fail_damaged(const kvat_store *store, const char *doing, const char *detail, kvat_error *err);
KVAT_MUST_CHECK kvat_status kvat__sql_exec(kvat_store *store, const char *sql, const char *doing, kvat_error *err);
/** First column of the first row of a statement without parameters. */
KVAT_MUST_CHECK kvat_status kvat__sql_int(int64_t *out, kvat_store *store, const char *sql, const char *doing,
                                          kvat_error *err);

/** A statement whose parameters are bound in order; remembers the first failure until it is stepped. */
typedef struct kvat__query {
    kvat_store *store;
    sqlite3_stmt *statement;
    const char *doing;
    int next;
    int rc;
} kvat__query;
KVAT_MUST_CHECK kvat_status kvat__query_open(kvat__query *query, kvat_store *store, const char *sql, const char *doing,
                                             kvat_error *err);
void kvat__query_close(kvat__query *query);
void kvat__query_int(kvat__query *query, int64_t value);
void kvat__query_real(kvat__query *query, double value);
/** NULL is written as "". The text must live until the step. */
void kvat__query_text(kvat__query *query, const char *text);
void kvat__query_blob(kvat__query *query, const void *bytes, size_t n);
/** *row says whether there is one. */
KVAT_MUST_CHECK kvat_status kvat__query_step(bool *row, kvat__query *query, kvat_error *err);
/** Runs to the end and makes it ready to bind again. */
KVAT_MUST_CHECK kvat_status kvat__query_run(kvat__query *query, kvat_error *err);
int64_t kvat__query_get_int(const kvat__query *query, int column);
/** Borrowed until the next step; NULL only without memory. */
const char *kvat__query_get_text(const kvat__query *query, int column);

/** Doubles *places of a heap array of elements of `size` bytes; NULL without memory, and nothing has changed. */
void *kvat__array_grow(void *array, size_t *places, size_t size);

/** Prepares a connection for transactions: call once before kvat__begin(). */
KVAT_MUST_CHECK kvat_status kvat__transactions_init(kvat_store *store, kvat_error *err);
/** BEGIN IMMEDIATE; the second is refused on a store opened for reading. */
KVAT_MUST_CHECK kvat_status kvat__begin_any(kvat_store *store, kvat__wal_mark *mark, const char *doing,
                                            kvat_error *err);
KVAT_MUST_CHECK kvat_status kvat__begin(kvat_store *store, kvat__wal_mark *mark, const char *doing, kvat_error *err);
/** Makes up for a rollback that failed: what was not committed must not be read. */
KVAT_MUST_CHECK kvat_status kvat__settle(kvat_store *store, kvat_error *err);
/** Commits when `status` is KVAT_OK and rolls back otherwise; answers what became of it. */
KVAT_MUST_CHECK kvat_status kvat__end(kvat_store *store, const kvat__wal_mark *mark, kvat_status status,
                                      const char *doing, kvat_error *err);

#endif
