// A trial with its samples and timings, written whole or not at all.
// Must not know what a good trial is.
#include "store_internal.h"

#include <endian.h>
#include <math.h>
#include <stdlib.h>

static const char adding[] = "add a trial";
const char *const kvat__phase_words[] = {"search", "confirm"};

static bool sample_finite(const kvat_sample *sample) {
    return isfinite(sample->decode_tok_per_s) && isfinite(sample->itl_p50_ns) && isfinite(sample->itl_p95_ns) &&
           isfinite(sample->itl_p99_ns);
}

static kvat_status check_trial(const kvat_store *store, const kvat_trial_record *trial, kvat_error *err) {
    if ((unsigned)trial->phase > KVAT_PHASE_CONFIRM || (unsigned)trial->status >= KVAT_TRIAL_STATUS_COUNT)
        return kvat_fail(err, KVAT_ERR_INTERNAL, "%s: a trial of unknown phase or status", store->path);
    for (size_t i = 0; i < trial->n_samples; i++) {
        if (!sample_finite(&trial->samples[i]))
            return kvat_fail(err, KVAT_ERR_INTERNAL, "%s: sample %zu of a trial is no finite number", store->path, i);
    }
    return KVAT_OK;
}

static kvat_status check_run(kvat_store *store, int64_t run, kvat_error *err) {
    kvat__query query;
    bool row = false;
    kvat_status status = kvat__query_open(&query, store, "SELECT 1 FROM run WHERE id = ?", adding, err);
    if (status == KVAT_OK) {
        kvat__query_int(&query, run);
        status = kvat__query_step(&row, &query, err);
    }
    if (status == KVAT_OK && !row)
        status = kvat_fail(err, KVAT_ERR_USAGE, "%s: there is no run %lld", store->path, (long long)run);
    kvat__query_close(&query);
    return status;
}

static void bind_sizes(kvat__query *query, const kvat_trial_record *trial) {
    const int64_t numbers[] = {trial->model_bytes,   trial->kv_bytes,   trial->compute_bytes, trial->load_ns,
                               trial->prepare_ns,    trial->warmup_ns,  trial->run_ns,        trial->worker_start_ns,
                               trial->worker_end_ns, trial->elapsed_ns, trial->cost_ns};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) kvat__query_int(query, numbers[i]);
}

static kvat_status insert_trial(int64_t *id, kvat_store *store, const kvat_trial_record *trial, kvat_error *err) {
    kvat__query query;
    kvat_status status = kvat__query_open(
        &query, store,
        "INSERT INTO trial (run, phase, config, block, chunk, launch, fresh_process, status, detail, peak_bytes, "
        "peak_source, model_bytes, kv_bytes, compute_bytes, load_ns, prepare_ns, warmup_ns, run_ns, worker_start_ns, "
        "worker_end_ns, elapsed_ns, cost_ns, effective, loaded, loaded_ns, activity) "
        "VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        adding, err);
    if (status != KVAT_OK) return status;
    kvat__query_int(&query, trial->run);
    kvat__query_text(&query, kvat__phase_words[trial->phase]);
    kvat__query_int(&query, (int64_t)trial->config);
    kvat__query_int(&query, (int64_t)trial->block);
    kvat__query_int(&query, (int64_t)trial->chunk);
    kvat__query_int(&query, trial->launch);
    kvat__query_int(&query, trial->fresh_process);
    kvat__query_text(&query, kvat_trial_status_word(trial->status));
    kvat__query_text(&query, trial->detail);
    kvat__query_int(&query, trial->peak_bytes);
    kvat__query_text(&query, trial->peak_source);
    bind_sizes(&query, trial);
    kvat__query_text(&query, trial->effective_json);
    kvat__query_text(&query, trial->loaded_json);
    kvat__query_int(&query, trial->loaded_ns);
    kvat__query_text(&query, trial->activity_json);
    status = kvat__query_run(&query, err);
    if (status == KVAT_OK) *id = sqlite3_last_insert_rowid(store->db);
    kvat__query_close(&query);
    return status;
}

static kvat_status insert_samples(kvat_store *store, int64_t id, const kvat_trial_record *trial, kvat_error *err) {
    kvat__query query;
    kvat_status status =
        kvat__query_open(&query, store,
                         "INSERT INTO sample (trial, cell, ttft_ns, ttft_worst_ns, decode_tok_per_s, itl_p50_ns, "
                         "itl_p95_ns, itl_p99_ns, fitted) VALUES (?,?,?,?,?,?,?,?,?)",
                         adding, err);
    for (size_t i = 0; i < trial->n_samples && status == KVAT_OK; i++) {
        const kvat_sample *sample = &trial->samples[i];
        kvat__query_int(&query, id);
        kvat__query_int(&query, (int64_t)sample->cell);
        kvat__query_int(&query, sample->ttft_ns);
        kvat__query_int(&query, sample->ttft_worst_ns);
        kvat__query_real(&query, sample->decode_tok_per_s);
        kvat__query_real(&query, sample->itl_p50_ns);
        kvat__query_real(&query, sample->itl_p95_ns);
        kvat__query_real(&query, sample->itl_p99_ns);
        kvat__query_int(&query, sample->fitted);
        status = kvat__query_run(&query, err);
    }
    kvat__query_close(&query);
    return status;
}

static kvat_status insert_timing(kvat__query *query, int64_t id, const kvat_timing *timing, kvat_error *err) {
    uint64_t *encoded = malloc((timing->n_tokens + 1) * sizeof *encoded);
    if (!encoded) return kvat_fail(err, KVAT_ERR_NOMEM, "out of memory: cannot %s", adding);
    for (size_t i = 0; i < timing->n_tokens; i++) encoded[i] = htole64((uint64_t)timing->token_ns[i]);
    kvat__query_int(query, id);
    kvat__query_int(query, (int64_t)timing->cell);
    kvat__query_int(query, timing->sequence);
    kvat__query_int(query, timing->burst);
    kvat__query_int(query, timing->start_ns);
    kvat__query_int(query, timing->ttft_ns);
    kvat__query_blob(query, encoded, timing->n_tokens * sizeof *encoded);
    kvat_status status = kvat__query_run(query, err);
    free(encoded);
    return status;
}

static kvat_status insert_timings(kvat_store *store, int64_t id, const kvat_trial_record *trial, kvat_error *err) {
    kvat__query query;
    kvat_status status = kvat__query_open(
        &query, store,
        "INSERT INTO timing (trial, cell, sequence, burst, start_ns, ttft_ns, token_ns) VALUES (?,?,?,?,?,?,?)", adding,
        err);
    for (size_t i = 0; i < trial->n_timings && status == KVAT_OK; i++)
        status = insert_timing(&query, id, &trial->timings[i], err);
    kvat__query_close(&query);
    return status;
}

kvat_status kvat_store_add_trial(int64_t *id, kvat_store *store, const kvat_trial_record *trial, kvat_error *err) {
    kvat__wal_mark mark;
    int64_t added = 0;
    kvat_status status = check_trial(store, trial, err);
    if (status == KVAT_OK) status = kvat__begin(store, &mark, adding, err);
    if (status != KVAT_OK) return status;
    status = check_run(store, trial->run, err);
    if (status == KVAT_OK) status = insert_trial(&added, store, trial, err);
    if (status == KVAT_OK) status = insert_samples(store, added, trial, err);
    if (status == KVAT_OK) status = insert_timings(store, added, trial, err);
    status = kvat__end(store, &mark, status, adding, err);
    if (status == KVAT_OK) *id = added;
    return status;
}
