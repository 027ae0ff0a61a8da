// A small workload and a pretended machine, for the tests of run: 2 knobs, 6 configurations, a known best.
// Must not start a worker.
#ifndef KVAT_TESTS_JOB_FIXTURE_H
#define KVAT_TESTS_JOB_FIXTURE_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "run_internal.h"

static const char fixture_hello[] =
    "{\"engine\": {\"name\": \"pretend\", \"version\": \"1\"}, \"clock\": \"virtual\", \"capabilities\": [\"marks\"]}";
static const char fixture_describe[] =
    "{\"model\": {\"name\": \"toy\", \"identity\": \"sha256:0\", \"training_context_tokens\": 4096, \"token_low\": 1, "
    "\"token_high\": 99}, \"knobs\": ["
    "{\"name\": \"threads\", \"concept\": \"threads.decode\", \"type\": \"int\", \"values\": [1, 2, 4], "
    "\"default\": 4, \"search\": [1, 2, 4], \"scope\": \"request\", \"affects\": [\"decode\"]},"
    "{\"name\": \"flash-attn\", \"concept\": \"attention\", \"type\": \"enum\", \"values\": [\"on\", \"off\"], "
    "\"default\": \"on\", \"search\": [\"on\", \"off\"], \"scope\": \"context\", \"affects\": [\"ttft\"]}]}";

static inline json_t *fixture_json(const char *text) {
    json_t *json = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    assert_int_equal(kvat_json_parse(&json, text, strlen(text), "fixture", &err), KVAT_OK);
    return json;
}

/** What `request` asks of the engine that describes itself so; the model is the only one there is. */
static inline kvat__job *fixture_job_of(kvat_tune_request request, const char *describe_text) {
    request.model = "toy";
    request.profile = "ci-micro";
    kvat_machine machine = {.threads = 4, .memory_limit_bytes = (int64_t)1 << 34};
    json_t *hello = fixture_json(fixture_hello), *describe = fixture_json(describe_text);
    kvat__job *job = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    kvat_status status = kvat__job_from_request(&job, &request, hello, describe, &machine, "pretend", "as asked", &err);
    if (status != KVAT_OK) fail_msg("%s", err.message);
    json_decref(hello);
    json_decref(describe);
    return job;
}

static inline kvat__job *fixture_job(int64_t budget_ns) {
    kvat_tune_request request = KVAT_TUNE_REQUEST_INIT;
    request.time_ns = budget_ns;
    return fixture_job_of(request, fixture_describe);
}

/** True speed-up of a configuration in score units: two threads are best, flash attention off is worse. */
static inline double fixture_truth(const kvat__job *job, size_t config) {
    const uint16_t *levels = kvat_space_levels(job->space, config);
    static const double by_threads[] = {-0.10, 0.08, 0.0};
    return by_threads[levels[0]] - (levels[1] ? 0.05 : 0.0);
}

/** What the pretended machine answers for a step; `samples` has one place. */
static inline kvat_trial_record fixture_measure(const kvat__job *job, const kvat__step *step, kvat_sample *samples,
                                                int64_t *clock_ns, kvat_rng *rng) {
    double speed = exp(fixture_truth(job, step->config) + 0.002 * kvat_rng_normal(rng));
    samples[0] = (kvat_sample){.cell = 0,
                               .ttft_ns = (int64_t)(0.5e9 / speed),
                               .ttft_worst_ns = (int64_t)(0.5e9 / speed),
                               .decode_tok_per_s = 40 * speed,
                               .itl_p50_ns = 25e6,
                               .itl_p95_ns = 26e6,
                               .itl_p99_ns = 27e6};
    int64_t cost_ns = (int64_t)(1.3e9 / speed);
    *clock_ns += cost_ns;
    return (kvat_trial_record){.phase = step->phase,
                               .config = step->config,
                               .block = step->block,
                               .chunk = step->chunk,
                               .fresh_process = step->fresh_process,
                               .status = KVAT_TRIAL_OK,
                               .detail = "",
                               .peak_bytes = 1 << 30,
                               .peak_source = "pretended",
                               .run_ns = cost_ns,
                               .elapsed_ns = *clock_ns,
                               .cost_ns = cost_ns,
                               .effective_json = "{}",
                               .loaded_json = "{}",
                               .activity_json = "{}",
                               .samples = samples,
                               .n_samples = 1};
}

#endif
