// Tells a drive what is stored, trial by trial: the same for a run taken up again and for one that is only read.
// Must not measure, nor change the store.
#include <math.h>

#include "run_internal.h"

#define MOST_OF_A_TRIAL_NS (8 * KVAT__MOST_DURATION_NS) /* some calls, each of which takes less than a day */

static kvat_status damaged(const kvat_trial_record *record, const char *what, kvat_error *err) {
    return kvat_fail(err, KVAT_ERR_DATA,
                     "the store is damaged: %s of trial %lld cannot have been measured; measure again with --fresh, or "
                     "into another folder",
                     what, (long long)record->id);
}

static bool times_are_possible(const kvat_trial_record *record) {
    const int64_t times_ns[] = {record->load_ns, record->prepare_ns, record->warmup_ns,
                                record->run_ns,  record->loaded_ns,  record->cost_ns};
    bool possible = true;
    for (size_t i = 0; i < sizeof times_ns / sizeof *times_ns; i++)
        possible = possible && times_ns[i] >= 0 && times_ns[i] <= MOST_OF_A_TRIAL_NS;
    return possible;
}

static bool sizes_are_possible(const kvat_trial_record *record) {
    const int64_t bytes[] = {record->peak_bytes, record->model_bytes, record->kv_bytes, record->compute_bytes};
    bool possible = true;
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++)
        possible = possible && bytes[i] >= 0 && bytes[i] <= KVAT__MOST_BYTES;
    return possible;
}

static bool samples_are_possible(const kvat_trial_record *record) {
    bool possible = true;
    for (size_t i = 0; record->status == KVAT_TRIAL_OK && i < record->n_samples; i++) {
        const kvat_sample *sample = &record->samples[i];
        const double figures[] = {sample->decode_tok_per_s, sample->itl_p50_ns, sample->itl_p95_ns, sample->itl_p99_ns};
        possible = possible && sample->ttft_ns > 0 && sample->ttft_ns <= MOST_OF_A_TRIAL_NS &&
                   sample->ttft_worst_ns >= sample->ttft_ns && sample->ttft_worst_ns <= MOST_OF_A_TRIAL_NS;
        for (size_t k = 0; k < sizeof figures / sizeof *figures; k++)
            possible = possible && isfinite(figures[k]) && figures[k] >= 0;
    }
    return possible;
}

/** What a session can have stored: arithmetic over a run relies on it. Whether it is the trial that was due, the drive
 * knows. */
static kvat_status check_record(const kvat_trial_record *record, const kvat__replay *replay, kvat_error *err) {
    if (!times_are_possible(record)) return damaged(record, "a time", err);
    if (record->elapsed_ns < replay->elapsed_ns || record->elapsed_ns > KVAT__MOST_CLOCK_NS)
        return damaged(record, "the moment", err);
    if (record->worker_start_ns < 0 || record->worker_end_ns < 0 || record->launch < 0)
        return damaged(record, "the worker's clock", err);
    if (!sizes_are_possible(record)) return damaged(record, "memory", err);
    if (!samples_are_possible(record)) return damaged(record, "a sample", err);
    return KVAT_OK;
}

/** May it be the next of a confirmation? Pair by pair from the first, which begins with side A; a side is run again
 * only when it failed or was disturbed. */
static bool follows(const kvat__replay *replay, const kvat_trial_record *record) {
    if (record->chunk > 1) return false;
    if (!replay->skipping) return record->block == 0 && record->chunk == 0;
    if (record->block == replay->skipped_pair + 1) return true;
    return record->block == replay->skipped_pair && (record->chunk != replay->skipped_side || !replay->skipped_ok);
}

static kvat_status skip(kvat__replay *replay, const kvat_trial_record *record) {
    if (!follows(replay, record)) return damaged(record, "the place in the run", replay->err);
    kvat__drive_skip(replay->drive, record);
    replay->skipping = true;
    replay->skipped_pair = record->block;
    replay->skipped_side = record->chunk;
    replay->skipped_ok = record->status == KVAT_TRIAL_OK;
    replay->skipped++;
    return KVAT_OK;
}

static kvat_status tell(kvat__replay *replay, const kvat_trial_record *record) {
    replay->skipping = false;
    kvat_status status = kvat__drive_tell(replay->drive, record, replay->err);
    if (status == KVAT_OK && replay->each) replay->each(replay->user, record, replay->drive);
    return status;
}

static bool replay_one(void *user, const kvat_trial_record *record) {
    kvat__replay *replay = user;
    kvat__step step;
    bool more = false;
    replay->status = check_record(record, replay, replay->err);
    if (replay->status == KVAT_OK) replay->status = kvat__drive_next(&step, &more, replay->drive, replay->err);
    if (replay->status != KVAT_OK) return false;
    replay->status = kvat__drive_skips(replay->drive, record) ? skip(replay, record) : tell(replay, record);
    if (replay->status != KVAT_OK) return false;
    replay->told++;
    replay->launch = record->launch;
    replay->worker_end_ns = record->worker_end_ns;
    replay->loaded_ns = record->loaded_ns;
    replay->elapsed_ns = record->elapsed_ns;
    kvat_buf_reset(&replay->loaded);
    kvat_buf_puts(&replay->loaded, record->loaded_json ? record->loaded_json : "");
    replay->status = kvat_buf_status(&replay->loaded, replay->err);
    return replay->status == KVAT_OK;
}

kvat_status kvat__replay_run(kvat__replay *replay, kvat_store *store, int64_t run, bool timings, kvat_error *err) {
    replay->err = err;
    replay->status = KVAT_OK;
    kvat_status status = kvat_store_each_trial(store, run, timings, replay_one, replay, err);
    return replay->status != KVAT_OK ? replay->status : status;
}
