// Brings a database to the schema this kvat knows: each numbered step once, all of them or none.
// Must not know what the tables mean.
#include "store_internal.h"

#include <stdio.h>

static kvat_status set_header(kvat_store *store, int version, kvat_error *err) {
    char sql[128];
    (void)snprintf(sql, sizeof sql, "PRAGMA application_id = %d; PRAGMA user_version = %d", KVAT__APPLICATION_ID,
                   version);
    return kvat__sql_exec(store, sql, "mark the store", err);
}

static kvat_status apply(kvat_store *store, const kvat__schema *schema, kvat_error *err) {
    kvat_status status = KVAT_OK;
    for (int i = store->version; i < schema->latest && status == KVAT_OK; i++)
        status = kvat__sql_exec(store, schema->migrations[i].sql, schema->migrations[i].name, err);
    if (status == KVAT_OK) status = set_header(store, schema->latest, err);
    return status;
}

kvat_status kvat__migrate(kvat_store *store, const kvat__schema *schema, kvat_error *err) {
    static const char doing[] = "bring the store up to date";
    kvat__wal_mark mark;
    if (store->version >= schema->latest) return KVAT_OK;
    kvat_status status = kvat__begin_any(store, &mark, doing, err);
    if (status != KVAT_OK) return status;
    status = kvat__end(store, &mark, apply(store, schema, err), doing, err);
    if (status == KVAT_OK) store->version = schema->latest;
    return status;
}
