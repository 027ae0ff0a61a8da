/* Fills a store with many trials, then lists it in a fresh process and prints the time and the peak memory of that.
 * Must not know how the store keeps them, but for the copying of rows that makes the filling quick. */
#include <fcntl.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kvat/store.h"
#include "kvat/units.h"

enum { RUNS = 10, CELLS = 4, TOKENS = 64, DOCUMENT_BYTES = 65536, REPEATS = 5 };
static const char store_name[] = "kvat.db";

static int fail(const char *doing, const kvat_error *err) {
    fprintf(stderr, "kvat_bench_store: %s: %s\n", doing, err->message);
    return 1;
}

static kvat_status add_run(int64_t *run, kvat_store *store, kvat_error *err) {
    char *document = malloc(DOCUMENT_BYTES + 1);
    if (!document) return kvat_fail(err, KVAT_ERR_NOMEM, "out of memory");
    memset(document, 'x', DOCUMENT_BYTES);
    document[DOCUMENT_BYTES] = '\0';
    const kvat_run_record record = {.identity = "bench",
                                    .created_utc = "2026-11-22T15:30:00Z",
                                    .model_name = "bench",
                                    .engine_name = "sim",
                                    .profile_name = "bench",
                                    .request_json = document,
                                    .engine_json = "{}",
                                    .describe_json = document,
                                    .environment_json = "{}",
                                    .space_json = document,
                                    .note_json = "{}"};
    kvat_status status = kvat_store_add_run(run, store, &record, err);
    free(document);
    return status;
}

static kvat_status add_trial(kvat_store *store, int64_t run, kvat_error *err) {
    int64_t id, tokens[TOKENS];
    kvat_timing timings[CELLS];
    kvat_sample samples[CELLS];
    for (int i = 0; i < TOKENS; i++) tokens[i] = INT64_C(1000000000) + i * INT64_C(28000000);
    for (size_t i = 0; i < CELLS; i++) {
        timings[i] = (kvat_timing){.cell = i, .token_ns = tokens, .n_tokens = TOKENS};
        samples[i] = (kvat_sample){.cell = i, .ttft_ns = 1000000000, .decode_tok_per_s = 35.6};
    }
    const kvat_trial_record trial = {.run = run,
                                     .status = KVAT_TRIAL_OK,
                                     .peak_bytes = INT64_C(1) << 30,
                                     .peak_source = "VmHWM",
                                     .effective_json = "{\"cache-type-k\":\"f16\",\"flash-attn\":\"on\",\"threads\":2}",
                                     .timings = timings,
                                     .n_timings = CELLS,
                                     .samples = samples,
                                     .n_samples = CELLS};
    return kvat_store_add_trial(&id, store, &trial, err);
}

/* Copies trial 1 of every run until there are `trials` in all: adding each by itself would mostly measure the disk. */
static int copy_trials(int64_t trials) {
    char sql[2048];
    char *message = NULL;
    sqlite3 *db = NULL;
    snprintf(sql, sizeof sql,
             "PRAGMA synchronous = OFF; BEGIN;"
             "CREATE TEMP TABLE n AS WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < %" PRId64
             ") SELECT i FROM c;"
             "CREATE TEMP TABLE one AS SELECT * FROM trial WHERE id = 1;"
             "INSERT INTO trial SELECT %d + i, 1 + i %% %d, phase, config, block, chunk, launch, fresh_process, "
             "status, detail,"
             " peak_bytes, peak_source, model_bytes, kv_bytes, compute_bytes, load_ns, prepare_ns, warmup_ns, run_ns,"
             " worker_start_ns, worker_end_ns, elapsed_ns, cost_ns, effective, loaded, loaded_ns, activity FROM n, one;"
             "INSERT INTO sample SELECT %d + i, cell, ttft_ns, ttft_worst_ns, decode_tok_per_s, itl_p50_ns, itl_p95_ns,"
             " itl_p99_ns FROM n, sample WHERE trial = 1;"
             "INSERT INTO timing SELECT NULL, %d + i, cell, sequence, start_ns, ttft_ns, token_ns FROM n, timing"
             " WHERE trial = 1; COMMIT; PRAGMA wal_checkpoint (TRUNCATE);",
             trials - RUNS, RUNS, RUNS, RUNS, RUNS);
    int rc = sqlite3_open(store_name, &db);
    if (rc == SQLITE_OK) rc = sqlite3_exec(db, sql, NULL, NULL, &message);
    if (rc != SQLITE_OK) fprintf(stderr, "kvat_bench_store: %s\n", message ? message : sqlite3_errstr(rc));
    sqlite3_free(message);
    sqlite3_close(db);
    return rc != SQLITE_OK;
}

static int fill(int64_t trials) {
    int64_t run = 0;
    kvat_store *store = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    kvat_status status = kvat_store_open(&store, store_name, KVAT_STORE_WRITE, &err);
    for (int i = 0; i < RUNS && status == KVAT_OK; i++) {
        status = add_run(&run, store, &err);
        if (status == KVAT_OK) status = add_trial(store, run, &err);
    }
    kvat_store_close(store);
    return status == KVAT_OK ? copy_trials(trials) : fail("fill", &err);
}

static bool count_run(void *user, const kvat_run_record *run) {
    *(int64_t *)user += run->trials;
    return true;
}

static bool count_trial(void *user, const kvat_trial_record *trial) {
    *(int64_t *)user += trial->n_samples > 0;
    return true;
}

static kvat_status list_trials(kvat_store *store, int64_t *n, kvat_error *err) {
    kvat_status status = KVAT_OK;
    for (int64_t run = 1; run <= RUNS && status == KVAT_OK; run++)
        status = kvat_store_each_trial(store, run, false, count_trial, n, err);
    return status;
}

/* What `kvat runs list` does, or a reading of every trial with its samples. */
static int list(bool all_trials) {
    int64_t n = 0;
    struct rusage use;
    kvat_store *store = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    int64_t start = kvat_now_ns();
    kvat_status status = kvat_store_open(&store, store_name, KVAT_STORE_READ, &err);
    if (status == KVAT_OK)
        status = all_trials ? list_trials(store, &n, &err) : kvat_store_each_run(store, count_run, &n, &err);
    kvat_store_close(store);
    double ms = (double)(kvat_now_ns() - start) / 1e6;
    if (status != KVAT_OK) return fail("list", &err);
    getrusage(RUSAGE_SELF, &use);
    printf("%-22s %8" PRId64 " trials %9.2f ms %7.1f MiB peak\n", all_trials ? "every trial, samples" : "runs list", n,
           ms, (double)use.ru_maxrss / 1024);
    return 0;
}

/* A process of its own, started anew, so that its peak holds nothing of the filling. */
static int run_self(const char *what) {
    int result = -1;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        execl("/proc/self/exe", "kvat_bench_store", what, (char *)NULL);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &result, 0) != child) return 1;
    return WIFEXITED(result) ? WEXITSTATUS(result) : 1;
}

static int bench(int64_t trials) {
    char folder[] = "/tmp/kvat-bench-store-XXXXXX";
    if (!mkdtemp(folder) || chdir(folder) != 0) return 1;
    int64_t start = kvat_now_ns();
    int result = fill(trials);
    printf("filled in %.1f s\n", (double)(kvat_now_ns() - start) / 1e9);
    for (int i = 0; i < REPEATS && result == 0; i++) result = run_self("--list");
    if (result == 0) result = run_self("--trials");
    unlink(store_name);
    if (chdir("/") == 0) rmdir(folder);
    return result;
}

int main(int argc, char **argv) {
    int64_t trials = 100000;
    kvat_error err = KVAT_ERROR_INIT;
    if (argc > 1 && strcmp(argv[1], "--list") == 0) return list(false);
    if (argc > 1 && strcmp(argv[1], "--trials") == 0) return list(true);
    if (argc > 1 && kvat_parse_int(&trials, argv[1], 100, 10000000, "trials", &err) != KVAT_OK)
        return fail("usage: kvat_bench_store [TRIALS]", &err);
    return bench(trials);
}
