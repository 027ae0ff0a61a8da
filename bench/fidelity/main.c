// Measures one configuration after the other as the search does (bursts, fitted) and as the confirmation does (whole
// outputs, each depth by itself), in pairs whose order alternates, and prints a JSON line for each run.
// Must not compare them: that is agreement.py's.
//
// usage: kvat_bench_fidelity MODEL ENGINE CONTEXT OUTPUT_TOKENS PAIRS [set=]NAME=VALUE… (sweep: NAME=V1,V2)
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run_internal.h"

enum { MOST_SETTINGS = 16, WHOLE_REPETITION = 1000000 };

typedef struct bench {
    kvat_machine machine;
    kvat_engine *engine;
    char *why;
    kvat__session *session;
    kvat__job *job;
    json_t *hello, *describe;
    int64_t burst_repeats;
} bench;

/** NAME=V1,V2 is tried with each value, NAME=V1 is fixed. */
static void take_settings(kvat_tune_request *request, kvat_setting *sweep, kvat_setting *set, int n, char **words) {
    for (int i = 0; i < n && i < MOST_SETTINGS; i++) {
        char *equals = strchr(words[i], '=');
        if (!equals) continue;
        *equals = '\0';
        const kvat_setting setting = {words[i], equals + 1};
        if (strchr(equals + 1, ','))
            sweep[request->n_sweep++] = setting;
        else
            set[request->n_set++] = setting;
    }
    request->sweep = sweep;
    request->set = set;
}

static kvat_status set_up(bench *b, const kvat_tune_request *request, kvat_error *err) {
    kvat_status status = kvat_probe_machine(&b->machine, err);
    if (status == KVAT_OK) status = kvat_engine_resolve(&b->engine, &b->why, request->engine, request->model, err);
    if (status != KVAT_OK) return status;
    const kvat__session_options options = {.engine = b->engine, .model = request->model, .measures = true};
    status = kvat__session_open(&b->session, &b->hello, &b->describe, &options, err);
    if (status == KVAT_OK)
        status =
            kvat__job_from_request(&b->job, request, b->hello, b->describe, &b->machine, b->engine->name, b->why, err);
    return status;
}

static void print_run(const bench *b, const kvat_trial_record *record, size_t pair, bool whole) {
    printf("{\"pair\": %zu, \"config\": %zu, \"whole\": %s, \"status\": \"%s\", \"run_ns\": %lld, \"cells\": [", pair,
           record->config, whole ? "true" : "false", kvat_trial_status_word(record->status), (long long)record->run_ns);
    for (size_t i = 0; i < record->n_samples; i++) {
        const kvat_cell *cell = &b->job->profile->cells[i];
        const kvat_sample *sample = &record->samples[i];
        printf("%s{\"prompt\": %lld, \"output\": %lld, \"ttft_ns\": %lld, \"decode_tok_per_s\": %.9g, \"fitted\": %s}",
               i ? ", " : "", (long long)cell->prompt_tokens, (long long)cell->output_tokens,
               (long long)sample->ttft_ns, sample->decode_tok_per_s, sample->fitted ? "true" : "false");
    }
    printf("]}\n");
    fflush(stdout);
}

static kvat_status run(bench *b, size_t config, size_t pair, bool whole, kvat_error *err) {
    const kvat__step step = {.phase = whole ? KVAT_PHASE_CONFIRM : KVAT_PHASE_SEARCH,
                             .config = config,
                             .repetition = whole ? WHOLE_REPETITION + pair : pair,
                             .burst_tokens = whole ? 0 : b->job->burst_tokens,
                             .burst_repeats = b->burst_repeats,
                             .plain = whole && kvat__plain_is_cheap(b->job->profile)};
    const kvat__measure_limits limits = {.run_ns = 30 * 60 * KVAT_NS_PER_S, .cores = b->machine.threads};
    kvat__measurement m;
    kvat_status status = kvat__session_measure(&m, b->session, b->job, &step, &limits, err);
    if (status != KVAT_OK) return status;
    print_run(b, &m.record, pair, whole);
    if (!whole && b->burst_repeats == 0) b->burst_repeats = kvat__fidelity_of(b->job, &m.record).burst_repeats;
    kvat__measurement_clear(&m);
    return KVAT_OK;
}

static kvat_status run_pairs(bench *b, size_t pairs, kvat_error *err) {
    const size_t configs = kvat_space_count(b->job->space);
    kvat_status status = KVAT_OK;
    for (size_t pair = 0; pair < pairs; pair++) {
        for (size_t i = 0; i < configs; i++) {
            const size_t config = pair % 2 ? configs - 1 - i : i;
            for (int side = 0; side < 2 && status == KVAT_OK; side++)
                status = run(b, config, pair, (bool)side != (pair % 2 == 1), err);
        }
    }
    return status;
}

int main(int argc, char **argv) {
    kvat_setting sweep[MOST_SETTINGS], set[MOST_SETTINGS];
    kvat_tune_request request = KVAT_TUNE_REQUEST_INIT;
    kvat_error err = KVAT_ERROR_INIT;
    bench b = {0};
    if (argc < 6) {
        fputs("usage: kvat_bench_fidelity MODEL ENGINE CONTEXT OUTPUT_TOKENS PAIRS [NAME=VALUE[,VALUE]]...\n", stderr);
        return 2;
    }
    request.model = argv[1];
    request.engine = argv[2];
    request.overrides.context = argv[3];
    request.overrides.output_tokens = argv[4];
    take_settings(&request, sweep, set, argc - 6, argv + 6);
    kvat_status status = set_up(&b, &request, &err);
    if (status == KVAT_OK) status = run_pairs(&b, (size_t)strtoul(argv[5], NULL, 10), &err);
    if (status != KVAT_OK) fprintf(stderr, "kvat_bench_fidelity: %s\n", err.message);
    kvat__session_close(b.session);
    kvat__job_free(b.job);
    json_decref(b.hello);
    json_decref(b.describe);
    kvat_engine_free(b.engine);
    free(b.why);
    return status == KVAT_OK ? 0 : 1;
}
