/* What the tests of the store share: a folder of their own, a run, a trial.
 * Must not be used outside tests/unit/store. */
#ifndef KVAT_TESTS_STORE_FIXTURE_H
#define KVAT_TESTS_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kvat/store.h"
#include "own_folder.h"

#define UNUSED __attribute__((unused))

UNUSED static kvat_store *open_store(kvat_store_mode mode) {
    kvat_store *store = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    if (kvat_store_open(&store, "kvat.db", mode, &err) != KVAT_OK) fail_msg("cannot open: %s", err.message);
    return store;
}

#define assert_ok(call)                                                                                                \
    do {                                                                                                               \
        kvat_error ok_err = KVAT_ERROR_INIT;                                                                           \
        kvat_error *err = &ok_err;                                                                                     \
        kvat_status ok_status = (call);                                                                                \
        if (ok_status != KVAT_OK) fail_msg("%s: %s: %s", #call, kvat_status_word(ok_status), ok_err.message);          \
    } while (0)

/* Fails unless `call`, which uses `err`, answers `status` with a message holding `words`. */
#define assert_refused(status, words, call)                                                                            \
    do {                                                                                                               \
        kvat_error refused_err = KVAT_ERROR_INIT;                                                                      \
        kvat_error *err = &refused_err;                                                                                \
        kvat_status refused_status = (call);                                                                           \
        if (refused_status != (status))                                                                                \
            fail_msg("%s: %s: %s", #call, kvat_status_word(refused_status), refused_err.message);                      \
        if (!strstr(refused_err.message, (words))) fail_msg("\"%s\" lacks \"%s\"", refused_err.message, (words));      \
    } while (0)

UNUSED static const kvat_run_record some_run = {.identity = "i1",
                                                .created_utc = "2026-11-22T15:30:00Z",
                                                .model_name = "a model",
                                                .engine_name = "sim",
                                                .profile_name = "ci-micro",
                                                .request_json = "{\"request\":1}",
                                                .engine_json = "{\"engine\":1}",
                                                .describe_json = "{\"describe\":1}",
                                                .environment_json = "{\"environment\":1}",
                                                .space_json = "[{}]",
                                                .state = KVAT_RUN_OPEN,
                                                .note_json = "{}"};

UNUSED static int64_t add_run(kvat_store *store) {
    int64_t id = 0;
    assert_ok(kvat_store_add_run(&id, store, &some_run, err));
    return id;
}

static const int64_t some_tokens[] = {812000000, 840000000, INT64_C(0x0102030405060708)};
static const kvat_timing some_timings[] = {
    {.cell = 0, .sequence = 0, .start_ns = 1000, .ttft_ns = 811999000, .token_ns = some_tokens, .n_tokens = 3},
    {.cell = 0, .sequence = 1, .start_ns = 1000, .ttft_ns = 5, .token_ns = some_tokens, .n_tokens = 1},
    {.cell = 1, .sequence = 0, .start_ns = 7, .ttft_ns = 9},
    {.cell = 1, .sequence = 0, .start_ns = 8, .ttft_ns = 10, .token_ns = some_tokens, .n_tokens = 2, .burst = 2}};
static const kvat_sample some_samples[] = {
    {.cell = 0,
     .ttft_ns = 811999000,
     .ttft_worst_ns = 812999000,
     .decode_tok_per_s = 35.625,
     .itl_p50_ns = 28e6,
     .itl_p95_ns = 29e6,
     .itl_p99_ns = 30e6},
    {.cell = 1, .ttft_ns = 1, .ttft_worst_ns = 2, .decode_tok_per_s = 0.1, .fitted = true}};

/* Every number differs, so that a swapped column shows. */
UNUSED static const kvat_trial_record some_trial = {.run = 1,
                                                    .phase = KVAT_PHASE_CONFIRM,
                                                    .config = 3,
                                                    .block = 4,
                                                    .chunk = 5,
                                                    .launch = 6,
                                                    .fresh_process = true,
                                                    .status = KVAT_TRIAL_OK,
                                                    .detail = "fine",
                                                    .peak_bytes = 107,
                                                    .peak_source = "VmHWM",
                                                    .model_bytes = 108,
                                                    .kv_bytes = 109,
                                                    .compute_bytes = 110,
                                                    .load_ns = 111,
                                                    .prepare_ns = 112,
                                                    .warmup_ns = 113,
                                                    .run_ns = 114,
                                                    .worker_start_ns = 115,
                                                    .worker_end_ns = 116,
                                                    .elapsed_ns = 117,
                                                    .cost_ns = 118,
                                                    .effective_json = "{\"threads\":2}",
                                                    .loaded_json = "{\"load\":1}",
                                                    .loaded_ns = 119,
                                                    .activity_json = "{\"activity\":1}",
                                                    .timings = some_timings,
                                                    .n_timings = 4,
                                                    .samples = some_samples,
                                                    .n_samples = 2};

UNUSED static kvat_status add_trial(kvat_store *store, kvat_error *err) {
    int64_t id = 0;
    return kvat_store_add_trial(&id, store, &some_trial, err);
}

static bool count_trial(void *user, const kvat_trial_record *trial) {
    (void)trial;
    ++*(int *)user;
    return true;
}

UNUSED static int count_trials(kvat_store *store, int64_t run) {
    int n = 0;
    assert_ok(kvat_store_each_trial(store, run, true, count_trial, &n, err));
    return n;
}

/* Whole file; the caller frees. */
UNUSED static char *slurp(const char *path, size_t *n) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    size_t size = (size_t)ftell(file);
    rewind(file);
    char *bytes = calloc(1, size + 1);
    assert_non_null(bytes);
    *n = fread(bytes, 1, size, file);
    assert_int_equal(*n, size);
    fclose(file);
    return bytes;
}

UNUSED static void write_file(const char *path, const void *bytes, size_t n) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

UNUSED static void write_text(const char *path, const char *text) {
    write_file(path, text, strlen(text));
}

#endif
