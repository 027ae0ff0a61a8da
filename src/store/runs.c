// Runs: added, listed, found, ended, removed.
// Must not know what the documents say.
#include "store_internal.h"

#include <string.h>

static const char *const state_words[] = {"open", "finished", "abandoned"};
enum { N_STATES = sizeof state_words / sizeof state_words[0] };

const char *kvat_run_state_word(kvat_run_state state) {
    return (unsigned)state < N_STATES ? state_words[state] : "unknown";
}

static kvat_status parse_state(kvat_run_state *out, const kvat_store *store, const char *word, kvat_error *err) {
    for (int i = 0; i < N_STATES; i++) {
        if (strcmp(word, state_words[i]) == 0) {
            *out = (kvat_run_state)i;
            return KVAT_OK;
        }
    }
    return kvat__fail_damaged(store, "read a run", "unknown state of a run", err);
}

static kvat_status insert_run(int64_t *id, kvat_store *store, const kvat_run_record *record, kvat_error *err) {
    kvat__query query;
    kvat_status status = kvat__query_open(
        &query, store,
        "INSERT INTO run (identity, created_utc, model_name, engine_name, profile_name, state) VALUES (?,?,?,?,?,?)",
        "add a run", err);
    if (status != KVAT_OK) return status;
    kvat__query_text(&query, record->identity);
    kvat__query_text(&query, record->created_utc);
    kvat__query_text(&query, record->model_name);
    kvat__query_text(&query, record->engine_name);
    kvat__query_text(&query, record->profile_name);
    kvat__query_text(&query, kvat_run_state_word(record->state));
    status = kvat__query_run(&query, err);
    if (status == KVAT_OK) *id = sqlite3_last_insert_rowid(store->db);
    kvat__query_close(&query);
    return status;
}

static kvat_status insert_documents(kvat_store *store, int64_t id, const kvat_run_record *record, kvat_error *err) {
    kvat__query query;
    kvat_status status = kvat__query_open(&query, store,
                                          "INSERT INTO run_document (run, request, engine, description, environment, "
                                          "space, note) VALUES (?,?,?,?,?,?,?)",
                                          "add a run", err);
    if (status != KVAT_OK) return status;
    kvat__query_int(&query, id);
    kvat__query_text(&query, record->request_json);
    kvat__query_text(&query, record->engine_json);
    kvat__query_text(&query, record->describe_json);
    kvat__query_text(&query, record->environment_json);
    kvat__query_text(&query, record->space_json);
    kvat__query_text(&query, record->note_json ? record->note_json : "{}");
    status = kvat__query_run(&query, err);
    kvat__query_close(&query);
    return status;
}

kvat_status kvat_store_add_run(int64_t *id, kvat_store *store, const kvat_run_record *record, kvat_error *err) {
    static const char doing[] = "add a run";
    kvat__wal_mark mark;
    int64_t added = 0;
    kvat_status status = kvat__begin(store, &mark, doing, err);
    if (status != KVAT_OK) return status;
    status = insert_run(&added, store, record, err);
    if (status == KVAT_OK) status = insert_documents(store, added, record, err);
    status = kvat__end(store, &mark, status, doing, err);
    if (status == KVAT_OK) *id = added;
    return status;
}

/** One statement over one run; no row touched means that there is no such run. */
static kvat_status change_run(kvat_store *store, const char *sql, const char *text, int64_t run, const char *doing,
                              kvat_error *err) {
    kvat__query query;
    kvat_status status = kvat__query_open(&query, store, sql, doing, err);
    if (status != KVAT_OK) return status;
    if (text) kvat__query_text(&query, text);
    kvat__query_int(&query, run);
    status = kvat__query_run(&query, err);
    if (status == KVAT_OK && sqlite3_changes(store->db) == 0)
        status = kvat_fail(err, KVAT_ERR_USAGE, "%s: there is no run %lld", store->path, (long long)run);
    kvat__query_close(&query);
    return status;
}

kvat_status kvat_store_set_run_state(kvat_store *store, int64_t run, kvat_run_state state, const char *note_json,
                                     kvat_error *err) {
    static const char doing[] = "update a run";
    kvat__wal_mark mark;
    kvat_status status = kvat__begin(store, &mark, doing, err);
    if (status != KVAT_OK) return status;
    status = change_run(store, "UPDATE run SET state = ? WHERE id = ?", kvat_run_state_word(state), run, doing, err);
    if (status == KVAT_OK && note_json)
        status = change_run(store, "UPDATE run_document SET note = ? WHERE run = ?", note_json, run, doing, err);
    return kvat__end(store, &mark, status, doing, err);
}

kvat_status kvat_store_remove_run(kvat_store *store, int64_t run, kvat_error *err) {
    static const char doing[] = "remove a run";
    kvat__wal_mark mark;
    kvat_status status = kvat__begin(store, &mark, doing, err);
    if (status != KVAT_OK) return status;
    status = change_run(store, "DELETE FROM run WHERE id = ?", NULL, run, doing, err);
    return kvat__end(store, &mark, status, doing, err);
}

kvat_status kvat_store_find_run(int64_t *id, kvat_store *store, const char *identity, kvat_error *err) {
    kvat__query query;
    bool row = false;
    kvat_status status = kvat__query_open(
        &query, store, "SELECT id FROM run WHERE identity = ? AND state <> 'abandoned' ORDER BY id DESC LIMIT 1",
        "find a run", err);
    if (status == KVAT_OK) {
        kvat__query_text(&query, identity);
        status = kvat__query_step(&row, &query, err);
    }
    if (status == KVAT_OK) *id = row ? kvat__query_get_int(&query, 0) : 0;
    kvat__query_close(&query);
    return status;
}

kvat_status kvat_store_latest_run(int64_t *id, kvat_store *store, kvat_error *err) {
    return kvat__sql_int(id, store, "SELECT max(id) FROM run", "find a run", err);
}

/** NULL text of a column means that memory ran out: every column is NOT NULL. */
static kvat_status take_text(const char **out, const kvat__query *query, int column, kvat_error *err) {
    *out = kvat__query_get_text(query, column);
    return *out ? KVAT_OK : kvat__sql_fail(query->store, SQLITE_NOMEM, query->doing, err);
}

#define RUN_COLUMNS "r.id, r.trials, r.state, r.identity, r.created_utc, r.model_name, r.engine_name, r.profile_name"
enum { FIRST_RUN_TEXT = 2, FIRST_DOCUMENT = 8 };

static kvat_status read_texts(const char **texts[], int n, const kvat__query *query, int first, kvat_error *err) {
    kvat_status status = KVAT_OK;
    for (int i = 0; i < n && status == KVAT_OK; i++) status = take_text(texts[i], query, first + i, err);
    return status;
}

static kvat_status read_run(kvat_run_record *run, const kvat__query *query, kvat_error *err) {
    const char *state = "";
    const char **texts[] = {&state,           &run->identity,    &run->created_utc,
                            &run->model_name, &run->engine_name, &run->profile_name};
    run->id = kvat__query_get_int(query, 0);
    run->trials = kvat__query_get_int(query, 1);
    kvat_status status = read_texts(texts, 6, query, FIRST_RUN_TEXT, err);
    return status == KVAT_OK ? parse_state(&run->state, query->store, state, err) : status;
}

static kvat_status read_documents(kvat_run_record *run, const kvat__query *query, kvat_error *err) {
    const char **texts[] = {&run->request_json,     &run->engine_json, &run->describe_json,
                            &run->environment_json, &run->space_json,  &run->note_json};
    return read_texts(texts, 6, query, FIRST_DOCUMENT, err);
}

kvat_status kvat_store_each_run(kvat_store *store, bool (*each)(void *user, const kvat_run_record *run), void *user,
                                kvat_error *err) {
    kvat__query query;
    bool more = true;
    kvat_status status =
        kvat__query_open(&query, store, "SELECT " RUN_COLUMNS " FROM run r ORDER BY r.id", "list the runs", err);
    while (status == KVAT_OK && more) {
        kvat_run_record run = {0};
        status = kvat__query_step(&more, &query, err);
        if (status == KVAT_OK && more) status = read_run(&run, &query, err);
        if (status == KVAT_OK && more) more = each(user, &run);
    }
    kvat__query_close(&query);
    return status;
}

kvat_status kvat_store_get_run(kvat_store *store, int64_t run, bool (*each)(void *user, const kvat_run_record *run),
                               void *user, kvat_error *err) {
    kvat__query query;
    bool row = false;
    kvat_run_record record = {0};
    kvat_status status = kvat__query_open(&query, store,
                                          "SELECT " RUN_COLUMNS ", d.request, d.engine, d.description, d.environment, "
                                          "d.space, d.note FROM run r JOIN run_document d ON d.run = r.id "
                                          "WHERE r.id = ?",
                                          "read a run", err);
    if (status == KVAT_OK) {
        kvat__query_int(&query, run);
        status = kvat__query_step(&row, &query, err);
    }
    if (status == KVAT_OK && !row)
        status = kvat_fail(err, KVAT_ERR_USAGE, "%s: there is no run %lld", store->path, (long long)run);
    if (status == KVAT_OK) status = read_run(&record, &query, err);
    if (status == KVAT_OK) status = read_documents(&record, &query, err);
    if (status == KVAT_OK) (void)each(user, &record);
    kvat__query_close(&query);
    return status;
}
