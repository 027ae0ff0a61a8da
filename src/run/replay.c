// Tells a drive what is stored, trial by trial: the same for a run taken up again and for one that is only read.
// Must not measure, nor change the store.
#include "run_internal.h"

static bool replay_one(void *user, const kvat_trial_record *record) {
    kvat__replay *replay = user;
    kvat__step step;
    bool more = false;
    replay->status = kvat__drive_next(&step, &more, replay->drive, replay->err);
    if (replay->status != KVAT_OK) return false;
    if (kvat__drive_skips(replay->drive, record)) {
        kvat__drive_skip(replay->drive, record);
        replay->skipped++;
    } else {
        replay->status = kvat__drive_tell(replay->drive, record, replay->err);
        if (replay->status != KVAT_OK) return false;
        if (replay->each) replay->each(replay->user, record, replay->drive);
    }
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
