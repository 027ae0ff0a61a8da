// Reads trials back in the order of their completion.
// Must not know what a good trial is.
//
// One statement runs over the trials; for each of them its samples and, when asked for, its timings are fetched.
#include "store_internal.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

typedef struct reader {
    kvat_store *store;
    kvat__query trials, samples, timings;
    kvat_trial_record trial;
    kvat_sample *sample;
    size_t sample_places;
    kvat_timing *timing;
    int64_t **tokens; /**< of timing i; owned */
    size_t timing_places, token_places;
} reader;

static void drop_tokens(reader *r) {
    for (size_t i = 0; i < r->trial.n_timings; i++) free(r->tokens[i]);
    r->trial.n_timings = 0;
}

static void reader_close(reader *r) {
    drop_tokens(r);
    free(r->sample);
    free(r->timing);
    free(r->tokens);
    kvat__query_close(&r->trials);
    kvat__query_close(&r->samples);
    kvat__query_close(&r->timings);
}

static const char reading[] = "read the trials";

static kvat_status reader_open(reader *r, kvat_store *store, int64_t run, bool timings, kvat_error *err) {
    *r = (reader){.store = store};
    kvat_status status = kvat__query_open(
        &r->trials, store,
        "SELECT id, config, block, chunk, launch, fresh_process, peak_bytes, model_bytes, kv_bytes, compute_bytes, "
        "load_ns, prepare_ns, warmup_ns, run_ns, worker_start_ns, worker_end_ns, elapsed_ns, cost_ns, loaded_ns, "
        "phase, status, detail, peak_source, effective, loaded, activity, run FROM trial WHERE run = ? ORDER BY id",
        reading, err);
    if (status == KVAT_OK)
        status = kvat__query_open(&r->samples, store,
                                  "SELECT cell, ttft_ns, ttft_worst_ns, decode_tok_per_s, itl_p50_ns, itl_p95_ns, "
                                  "itl_p99_ns, fitted FROM sample WHERE trial = ? ORDER BY cell",
                                  reading, err);
    if (status == KVAT_OK && timings)
        status = kvat__query_open(&r->timings, store,
                                  "SELECT cell, sequence, start_ns, ttft_ns, token_ns, burst FROM timing WHERE "
                                  "trial = ? ORDER BY cell, burst, sequence",
                                  reading, err);
    if (status == KVAT_OK) kvat__query_int(&r->trials, run);
    return status;
}

static size_t take_size(const kvat__query *query, int column) {
    int64_t value = kvat__query_get_int(query, column);
    return value < 0 ? 0 : (size_t)value;
}

enum { FIRST_NUMBER = 6, N_NUMBERS = 13, FIRST_TEXT = 19, N_TEXTS = 7, RUN_COLUMN = 26 };

static kvat_status read_words(kvat_trial_record *t, const kvat__query *q, kvat_error *err) {
    const char *phase = NULL, *word = NULL;
    const char **texts[N_TEXTS] = {
        &phase, &word, &t->detail, &t->peak_source, &t->effective_json, &t->loaded_json, &t->activity_json};
    for (int i = 0; i < N_TEXTS; i++) {
        *texts[i] = kvat__query_get_text(q, FIRST_TEXT + i);
        if (!*texts[i]) return kvat__sql_fail(q->store, SQLITE_NOMEM, reading, err);
    }
    int known = kvat_trial_status_parse(word);
    if (known < 0) return kvat__fail_damaged(q->store, reading, "unknown status of a trial", err);
    t->status = (kvat_trial_status)known;
    t->phase = strcmp(phase, kvat__phase_words[KVAT_PHASE_CONFIRM]) == 0 ? KVAT_PHASE_CONFIRM : KVAT_PHASE_SEARCH;
    return KVAT_OK;
}

static kvat_status read_trial(kvat_trial_record *t, const kvat__query *q, kvat_error *err) {
    int64_t *const numbers[N_NUMBERS] = {&t->peak_bytes,      &t->model_bytes,   &t->kv_bytes,   &t->compute_bytes,
                                         &t->load_ns,         &t->prepare_ns,    &t->warmup_ns,  &t->run_ns,
                                         &t->worker_start_ns, &t->worker_end_ns, &t->elapsed_ns, &t->cost_ns,
                                         &t->loaded_ns};
    *t = (kvat_trial_record){.id = kvat__query_get_int(q, 0),
                             .config = take_size(q, 1),
                             .block = take_size(q, 2),
                             .chunk = take_size(q, 3),
                             .launch = kvat__query_get_int(q, 4),
                             .fresh_process = kvat__query_get_int(q, 5) != 0,
                             .run = kvat__query_get_int(q, RUN_COLUMN)};
    for (int i = 0; i < N_NUMBERS; i++) *numbers[i] = kvat__query_get_int(q, FIRST_NUMBER + i);
    return read_words(t, q, err);
}

static kvat_status fail_memory(kvat_error *err) {
    return kvat_fail(err, KVAT_ERR_NOMEM, "out of memory: cannot %s", reading);
}

static kvat_status room_for_sample(reader *r, kvat_error *err) {
    if (r->trial.n_samples < r->sample_places) return KVAT_OK;
    kvat_sample *bigger = kvat__array_grow(r->sample, &r->sample_places, sizeof *bigger);
    if (!bigger) return fail_memory(err);
    r->sample = bigger;
    return KVAT_OK;
}

static kvat_status room_for_timing(reader *r, kvat_error *err) {
    if (r->trial.n_timings == r->timing_places) {
        kvat_timing *bigger = kvat__array_grow(r->timing, &r->timing_places, sizeof *bigger);
        if (!bigger) return fail_memory(err);
        r->timing = bigger;
    }
    if (r->trial.n_timings == r->token_places) {
        int64_t **bigger = kvat__array_grow(r->tokens, &r->token_places, sizeof *bigger);
        if (!bigger) return fail_memory(err);
        r->tokens = bigger;
    }
    return KVAT_OK;
}

static kvat_sample read_sample(const kvat__query *q) {
    return (kvat_sample){.cell = take_size(q, 0),
                         .ttft_ns = kvat__query_get_int(q, 1),
                         .ttft_worst_ns = kvat__query_get_int(q, 2),
                         .decode_tok_per_s = sqlite3_column_double(q->statement, 3),
                         .itl_p50_ns = sqlite3_column_double(q->statement, 4),
                         .itl_p95_ns = sqlite3_column_double(q->statement, 5),
                         .itl_p99_ns = sqlite3_column_double(q->statement, 6),
                         .fitted = kvat__query_get_int(q, 7) != 0};
}

static void rewind_to(kvat__query *query, int64_t trial) {
    sqlite3_reset(query->statement);
    query->next = 1;
    query->rc = SQLITE_OK;
    kvat__query_int(query, trial);
}

static kvat_status read_samples(reader *r, kvat_error *err) {
    bool more = true;
    kvat_status status = KVAT_OK;
    rewind_to(&r->samples, r->trial.id);
    while (status == KVAT_OK && more) {
        status = kvat__query_step(&more, &r->samples, err);
        if (status == KVAT_OK && more) status = room_for_sample(r, err);
        if (status == KVAT_OK && more) r->sample[r->trial.n_samples++] = read_sample(&r->samples);
    }
    r->trial.samples = r->sample;
    return status;
}

static kvat_status decode_tokens(int64_t **out, size_t *n, const kvat__query *q, int column, kvat_error *err) {
    const unsigned char *bytes = sqlite3_column_blob(q->statement, column);
    size_t count = (size_t)sqlite3_column_bytes(q->statement, column) / sizeof(int64_t);
    int64_t *tokens = malloc((count + 1) * sizeof *tokens);
    if (!tokens || (count > 0 && !bytes)) {
        free(tokens);
        return fail_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        uint64_t encoded;
        memcpy(&encoded, bytes + i * sizeof encoded, sizeof encoded);
        tokens[i] = (int64_t)le64toh(encoded);
    }
    *out = tokens;
    *n = count;
    return KVAT_OK;
}

static kvat_status read_timings(reader *r, kvat_error *err) {
    bool more = true;
    kvat_status status = KVAT_OK;
    rewind_to(&r->timings, r->trial.id);
    while (status == KVAT_OK && more) {
        size_t at = r->trial.n_timings;
        status = kvat__query_step(&more, &r->timings, err);
        if (status != KVAT_OK || !more) break;
        status = room_for_timing(r, err);
        if (status != KVAT_OK) break;
        kvat_timing *timing = &r->timing[at];
        *timing = (kvat_timing){.cell = take_size(&r->timings, 0),
                                .sequence = kvat__query_get_int(&r->timings, 1),
                                .start_ns = kvat__query_get_int(&r->timings, 2),
                                .ttft_ns = kvat__query_get_int(&r->timings, 3),
                                .burst = kvat__query_get_int(&r->timings, 5)};
        status = decode_tokens(&r->tokens[at], &timing->n_tokens, &r->timings, 4, err);
        if (status != KVAT_OK) break;
        timing->token_ns = r->tokens[at];
        r->trial.n_timings++;
    }
    r->trial.timings = r->trial.n_timings > 0 ? r->timing : NULL;
    return status;
}

static kvat_status read_next(bool *more, reader *r, kvat_error *err) {
    drop_tokens(r);
    kvat_status status = kvat__query_step(more, &r->trials, err);
    if (status == KVAT_OK && *more) status = read_trial(&r->trial, &r->trials, err);
    if (status == KVAT_OK && *more) status = read_samples(r, err);
    if (status == KVAT_OK && *more && r->timings.statement) status = read_timings(r, err);
    return status;
}

/** The count that a run keeps: never more than the trials that were added. */
static kvat_status count_kept(int64_t *out, kvat_store *store, int64_t run, kvat_error *err) {
    kvat__query query;
    bool row = false;
    kvat_status status = kvat__query_open(&query, store, "SELECT trials FROM run WHERE id = ?", reading, err);
    if (status == KVAT_OK) {
        kvat__query_int(&query, run);
        status = kvat__query_step(&row, &query, err);
    }
    if (status == KVAT_OK) *out = row ? kvat__query_get_int(&query, 0) : 0;
    kvat__query_close(&query);
    return status;
}

kvat_status kvat_store_each_trial(kvat_store *store, int64_t run, bool timings,
                                  bool (*each)(void *user, const kvat_trial_record *trial), void *user,
                                  kvat_error *err) {
    reader r;
    bool more = true, stopped = false;
    int64_t kept = 0, read = 0;
    kvat_status status = count_kept(&kept, store, run, err);
    if (status != KVAT_OK) return status;
    status = reader_open(&r, store, run, timings, err);
    while (status == KVAT_OK && more && !stopped) {
        status = read_next(&more, &r, err);
        if (status != KVAT_OK || !more) break;
        read++;
        stopped = !each(user, &r.trial);
    }
    if (status == KVAT_OK && !stopped && read < kept)
        status = kvat__fail_damaged(store, reading, "trials that were stored are missing", err);
    reader_close(&r);
    return status;
}
