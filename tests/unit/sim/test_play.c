/* The simulator as a worker process: what it answers, and that killing it loses nothing but the trial in flight. */
/* Must not know: how its times are made. */
#include "sim_kit.h"

#include <math.h>
#include <signal.h>
#include <unistd.h>

#include "kvat/units.h"
#include "kvat/worker.h"

#define SIM         KVAT_TEST_BUILD "/libexec/kvat/kvat-sim"
#define DEADLINE_NS (20 * KVAT_NS_PER_S)

static char surface_path[256];

static int set_up(void **state) {
    (void)state;
    snprintf(surface_path, sizeof surface_path, "/tmp/kvat-test-surface-%d.json", (int)getpid());
    return setenv("KVAT_LIBEXEC_DIR", KVAT_TEST_BUILD "/libexec/kvat", 1);
}

static int tear_down(void **state) {
    (void)state;
    unlink(surface_path);
    return 0;
}

static void write_surface(const char *text) {
    json_t *root = json_of(text);
    assert_int_equal(json_dump_file(root, surface_path, 0), 0);
    json_decref(root);
}

static kvat_worker *start_with(const char *argument, const char *environment) {
    const char *command[] = {SIM, argument, NULL}, *variables[] = {environment, NULL};
    const kvat_worker_options options = {.command = command, .environment = environment ? variables : NULL};
    kvat_worker *worker = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    if (kvat_worker_spawn(&worker, &options, &err) != KVAT_OK) fail_msg("%s", err.message);
    return worker;
}

static kvat_call call(kvat_worker *worker, const char *method, const char *params) {
    kvat_call result = {0};
    kvat_error err = KVAT_ERROR_INIT;
    if (kvat_worker_call(&result, worker, method, json_of(params), DEADLINE_NS, &err) != KVAT_OK)
        fail_msg("%s: %s", method, err.message);
    return result;
}

/* The result of a call that must succeed; new reference. */
static json_t *ask(kvat_worker *worker, const char *method, const char *params) {
    kvat_call result = call(worker, method, params);
    if (result.outcome != KVAT_CALL_OK) fail_msg("%s %s: %s", method, params, result.detail);
    json_t *answer = json_incref(result.result);
    kvat_call_clear(&result);
    return answer;
}

static void expect_fault(kvat_worker *worker, const char *method, const char *params, kvat_fault_kind kind,
                         const char *says) {
    kvat_call result = call(worker, method, params);
    assert_int_equal(result.outcome, KVAT_CALL_FAULT);
    assert_int_equal(result.fault.kind, kind);
    if (!strstr(result.detail, says)) fail_msg("\"%s\" lacks \"%s\"", result.detail, says);
    kvat_call_clear(&result);
}

static int64_t number(const json_t *object, const char *member) {
    const json_t *value = json_object_get(object, member);
    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

static int64_t token(const json_t *holder, size_t sequence, size_t i) {
    const json_t *times = json_object_get(json_array_get(json_object_get(holder, "sequences"), sequence), "token_ns");
    assert_true(i < json_array_size(times));
    return json_integer_value(json_array_get(times, i));
}

static size_t tokens(const json_t *holder) {
    return json_array_size(json_object_get(json_array_get(json_object_get(holder, "sequences"), 0), "token_ns"));
}

static json_t *load(kvat_worker *worker) {
    char params[400];
    snprintf(params, sizeof params, "{'model': '%s', 'settings': {}}", surface_path);
    return ask(worker, "load", params);
}

#define PREPARE "{'settings': {}, 'context_tokens': 1000, 'sequences': 1}"

/* A worker with the surface loaded and a context prepared at virtual time 0 + load + prepare. */
static kvat_worker *ready(const char *surface) {
    write_surface(surface);
    kvat_worker *worker = start_with(NULL, NULL);
    json_decref(ask(worker, "initialize", "{'world_seed': 5}"));
    json_decref(load(worker));
    json_decref(ask(worker, "prepare", PREPARE));
    return worker;
}

#define RUN(prompt, outputs)                                                                                           \
    "{'tokens': {'seed': 1, 'count': " #prompt ", 'low': 0, 'high': 9}, 'output_tokens': " #outputs "}"
#define QUIET HEAD BASE ", 'load_s': 2, 'prepare_s': 0.5}"

/* ---- times ---- */

static void without_noise_times_are_the_truth(void **state) {
    (void)state;
    kvat_worker *worker = ready(QUIET);
    json_t *result = ask(worker, "run", RUN(100, 11));
    assert_int_equal(number(result, "start_ns"), 2500000000);
    assert_int_equal(tokens(result), 11);
    assert_int_equal(token(result, 0, 0), 3500000000);
    for (size_t i = 0; i < 11; i++) assert_int_equal(token(result, 0, i), 3500000000 + (int64_t)i * 20000000);
    assert_int_equal(number(result, "now_ns"), 3700000000);
    json_decref(result);
    kvat_worker_free(worker);
}

static void marks_leave_decoding_out_of_the_prefill_time(void **state) {
    (void)state;
    kvat_worker *worker = ready(QUIET);
    json_t *result =
        ask(worker, "run",
            "{'tokens': {'seed': 1, 'count': 400, 'low': 0, 'high': 9}, 'output_tokens': 5,"
            " 'marks': [{'prompt_tokens': 100, 'output_tokens': 11}, {'prompt_tokens': 400, 'output_tokens': 6}]}");
    const json_t *marks = json_object_get(result, "marks");
    assert_int_equal(json_array_size(marks), 2);
    const json_t *first = json_array_get(marks, 0), *second = json_array_get(marks, 1);
    assert_int_equal(number(first, "ttft_ns"), 1000000000);
    assert_int_equal(token(first, 0, 10) - token(first, 0, 0), 200000000);
    assert_int_equal(number(second, "ttft_ns"), 4000000000);
    assert_int_equal(token(second, 0, 0), 2500000000 + 4000000000 + 200000000);
    assert_int_equal(token(second, 0, 5) - token(second, 0, 0), 200000000);
    json_decref(result);
    kvat_worker_free(worker);
}

static void bursts_repeat_a_depth_without_prefill(void **state) {
    (void)state;
    kvat_worker *worker = ready(QUIET);
    json_t *result = ask(worker, "run",
                         "{'tokens': {'count': 400}, 'output_tokens': 6,"
                         " 'marks': [{'prompt_tokens': 100, 'output_tokens': 11, 'repeats': 3},"
                         " {'prompt_tokens': 400, 'output_tokens': 6}]}");
    const json_t *first = json_array_get(json_object_get(result, "marks"), 0),
                 *bursts = json_object_get(first, "bursts");
    assert_int_equal(json_array_size(bursts), 2);
    for (size_t i = 0; i < 2; i++) {
        const json_t *burst = json_array_get(bursts, i);
        assert_int_equal(tokens(burst), 11);
        assert_int_equal(token(burst, 0, 0), token(first, 0, 10) + (int64_t)i * 200000000);
        assert_int_equal(token(burst, 0, 10) - token(burst, 0, 0), 200000000);
    }
    const json_t *second = json_array_get(json_object_get(result, "marks"), 1);
    assert_null(json_object_get(second, "bursts"));
    assert_int_equal(number(second, "ttft_ns"), 4000000000); /* none of the bursts is in it */
    assert_int_equal(token(second, 0, 0), 2500000000 + 4000000000 + 3 * 200000000);
    json_decref(result);
    expect_fault(worker, "run",
                 "{'tokens': {'count': 100}, 'output_tokens': 2, 'marks': [{'prompt_tokens': 100,"
                 " 'output_tokens': 2, 'repeats': 0}]}",
                 KVAT_FAULT_INVALID_SETTING, "repeats");
    json_t *late = ask(worker, "run",
                       "{'tokens': {'count': 100}, 'output_tokens': 11, 'limit_ns': 1300000000,"
                       " 'marks': [{'prompt_tokens': 100, 'output_tokens': 11, 'repeats': 3}]}");
    assert_string_equal(json_string_value(json_object_get(late, "status")), "timeout"); /* in the second burst */
    json_decref(late);
    kvat_worker_free(worker);
}

static void each_burst_has_noise_of_its_own_and_the_bias_of_its_configuration(void **state) {
    (void)state;
    kvat_worker *worker =
        ready(HEAD BASE ", 'short_output_bias': {'mean': 0.1, 'sd': 0.02}, 'noise': {'run_sd': 0.02}}");
    static const char run[] = "{'tokens': {'count': 100}, 'output_tokens': 41, 'marks': [{'prompt_tokens': 100,"
                              " 'output_tokens': 41, 'repeats': 200}]}";
    json_t *result = ask(worker, "run", run);
    const json_t *bursts = json_object_get(json_array_get(json_object_get(result, "marks"), 0), "bursts");
    double sum = 0, squares = 0;
    const double n = (double)json_array_size(bursts);
    assert_int_equal(json_array_size(bursts), 199);
    for (size_t i = 0; i < 199; i++) {
        const json_t *burst = json_array_get(bursts, i);
        const double ln = log((double)(token(burst, 0, 40) - token(burst, 0, 0)) / 0.8e9);
        sum += ln;
        squares += ln * ln;
    }
    const double mean = sum / n, sd = sqrt(squares / n - mean * mean);
    assert_true(sd > 0.015 && sd < 0.025);
    assert_true(mean < -0.02 && mean > -0.18); /* the bias, which all share */
    json_decref(result);
    kvat_worker_free(worker);
}

static void prefill_and_decode_can_be_asked_apart(void **state) {
    (void)state;
    kvat_worker *worker = ready(QUIET);
    expect_fault(worker, "run", "{'phase': 'decode', 'output_tokens': 3}", KVAT_FAULT_INVALID_SETTING,
                 "without a prefill");
    json_t *result = ask(worker, "run", "{'phase': 'prefill', 'tokens': {'ids': [1, 2, 3, 4]}}");
    assert_int_equal(tokens(result), 1);
    json_decref(result);
    result = ask(worker, "run", "{'phase': 'decode', 'output_tokens': 3}");
    assert_int_equal(tokens(result), 3);
    assert_int_equal(token(result, 0, 1) - token(result, 0, 0), 20000000);
    assert_true(token(result, 0, 0) > number(result, "start_ns"));
    json_decref(result);
    kvat_worker_free(worker);
}

static void several_sequences_share_the_rate(void **state) {
    (void)state;
    kvat_worker *worker = ready(HEAD "'base': [{'prompt_tokens': 10, 'output_tokens': 5, 'sequences': 4, 'ttft_s': 1,"
                                     " 'decode_tok_per_s': 100, 'peak_bytes': 9}]}");
    json_t *result = ask(worker, "run", "{'tokens': {'count': 10}, 'output_tokens': 5, 'sequences': 4}");
    assert_int_equal(json_array_size(json_object_get(result, "sequences")), 4);
    for (size_t i = 0; i < 4; i++) assert_int_equal(token(result, i, 4) - token(result, i, 0), 160000000);
    json_decref(result);
    expect_fault(worker, "run", RUN(10, 5), KVAT_FAULT_UNSUPPORTED, "sequences");
    kvat_worker_free(worker);
}

static void the_worker_stops_itself_at_its_limit(void **state) {
    (void)state;
    kvat_worker *worker = ready(QUIET);
    json_t *result = ask(worker, "run", "{'tokens': {'count': 100}, 'output_tokens': 10, 'limit_ns': 1000000001}");
    assert_string_equal(json_string_value(json_object_get(result, "status")), "timeout");
    assert_int_equal(number(result, "now_ns"), 3500000001);
    json_decref(result);
    kvat_worker_free(worker);
}

static void peak_memory_is_that_of_the_largest_cell(void **state) {
    (void)state;
    kvat_worker *worker = ready(QUIET);
    static const char *const runs[] = {RUN(100, 10), RUN(400, 10), RUN(100, 4)};
    static const int64_t peaks[] = {1000, 4000, 4000};
    for (size_t i = 0; i < 3; i++) {
        json_decref(ask(worker, "run", runs[i]));
        json_t *result = ask(worker, "resources", "{}");
        assert_int_equal(number(json_object_get(result, "host"), "peak_bytes"), peaks[i]);
        json_decref(result);
    }
    kvat_worker_free(worker);
}

/* Decode time of a run whose settings hold `a`. */
static int64_t decode_ns(kvat_worker *worker, const char *a, int outputs) {
    char params[160];
    snprintf(params, sizeof params, "{'settings': {'a': '%s'}, 'context_tokens': 1000}", a);
    json_decref(ask(worker, "prepare", params));
    snprintf(params, sizeof params, "{'tokens': {'count': 100}, 'output_tokens': %d}", outputs);
    json_t *result = ask(worker, "run", params);
    const int64_t took = token(result, 0, (size_t)outputs - 1) - token(result, 0, 0);
    json_decref(result);
    return took;
}

static void short_outputs_carry_a_bias_of_their_configuration(void **state) {
    (void)state;
    kvat_worker *worker = ready(HEAD BASE ", 'short_output_bias': {'mean': 0.1, 'sd': 0.02}}");
    const int64_t biased = decode_ns(worker, "x", 64);
    assert_int_equal(decode_ns(worker, "x", 64), biased);
    assert_true(decode_ns(worker, "y", 64) != biased);
    assert_int_equal(decode_ns(worker, "z", 64), decode_ns(worker, "y", 64)); /* an alias */
    const double bias = log(63 / 40.0 * 1e9 / (double)biased);
    assert_true(bias > 0.02 && bias < 0.18);
    assert_int_equal(decode_ns(worker, "x", 65), 1600000000);
    kvat_worker_free(worker);
}

/* ---- settings ---- */

static void settings_are_answered_as_they_are_in_force(void **state) {
    (void)state;
    kvat_worker *worker = ready(QUIET);
    json_t *result = ask(worker, "prepare", "{'settings': {'a': 'z', 'b': 2}, 'context_tokens': 1000}");
    const json_t *effective = json_object_get(result, "effective");
    assert_string_equal(json_string_value(json_object_get(effective, "a")), "y");
    assert_int_equal(number(effective, "b"), 2);
    json_decref(result);
    expect_fault(worker, "prepare", "{'settings': {'c': 1}, 'context_tokens': 1000}", KVAT_FAULT_INVALID_SETTING,
                 "no knob");
    expect_fault(worker, "prepare", "{'settings': {'a': 'w'}, 'context_tokens': 1000}", KVAT_FAULT_INVALID_SETTING,
                 "cannot be");
    expect_fault(worker, "prepare", "{'settings': {}}", KVAT_FAULT_INVALID_SETTING, "context_tokens");
    kvat_worker_free(worker);
}

static void a_run_must_fit_in_its_context(void **state) {
    (void)state;
    kvat_worker *worker = ready(QUIET);
    expect_fault(worker, "run", RUN(400, 601), KVAT_FAULT_INVALID_SETTING, "do not fit");
    expect_fault(worker, "run", RUN(401, 10), KVAT_FAULT_UNSUPPORTED, "prompts of 100 to 400");
    expect_fault(
        worker, "run",
        "{'tokens': {'count': 400}, 'output_tokens': 2, 'marks': [{'prompt_tokens': 100, 'output_tokens': 2}]}",
        KVAT_FAULT_INVALID_SETTING, "marks");
    kvat_worker_free(worker);
}

static void process_scope_is_taken_from_the_command_line_or_the_environment(void **state) {
    (void)state;
    write_surface(
        "{'format': 'kvat-surface/1', 'knobs': ["
        "{'name': 'e', 'type': 'enum', 'values': ['p', 'q'], 'default': 'p', 'scope': 'process', 'apply': {'env': "
        "'KVAT_TEST_E'}},"
        "{'name': 'f', 'type': 'enum', 'values': ['p', 'q'], 'default': 'p', 'scope': 'process', 'apply': {'arg': "
        "'--f'}}],"
        "'effects': {'e': {'q': {'ttft': 1}}, 'f': {'q': {'ttft': 2}}},"
        "'base': [{'prompt_tokens': 10, 'output_tokens': 5, 'ttft_s': 1, 'decode_tok_per_s': 100, 'peak_bytes': 9}]}");
    for (int given = 0; given < 2; given++) {
        kvat_worker *worker = start_with(given ? "--f=q" : NULL, given ? "KVAT_TEST_E=q" : NULL);
        json_decref(ask(worker, "initialize", "{}"));
        json_decref(load(worker));
        json_decref(ask(worker, "prepare", PREPARE));
        json_t *result = ask(worker, "run", RUN(10, 5));
        assert_int_equal(token(result, 0, 0) - number(result, "start_ns"), llround(1e9 * exp(given ? 3 : 0)));
        json_decref(result);
        kvat_worker_free(worker);
    }
}

static void a_bad_surface_is_a_bad_model(void **state) {
    (void)state;
    write_surface("{'format': 'kvat-surface/1', 'knobs': [], 'base': [{'prompt_tokens': 1}]}");
    kvat_worker *worker = start_with(NULL, NULL);
    char params[300];
    json_decref(ask(worker, "initialize", "{}"));
    snprintf(params, sizeof params, "{'model': '%s'}", surface_path);
    expect_fault(worker, "describe", params, KVAT_FAULT_BAD_MODEL, "base[0].output_tokens");
    expect_fault(worker, "describe", "{'model': '/nowhere.json'}", KVAT_FAULT_BAD_MODEL, "/nowhere.json");
    expect_fault(worker, "describe", "{}", KVAT_FAULT_BAD_MODEL, "model");
    kvat_worker_free(worker);
}

/* ---- faults ---- */

#define FAULT(kind) HEAD BASE ", 'faults': [{'when': {'b': '1'}, 'kind': '" kind "'}]}"

static void memory_faults_take_time_and_say_which_memory(void **state) {
    (void)state;
    kvat_worker *worker = ready(FAULT("oom_host"));
    expect_fault(worker, "run", RUN(100, 10), KVAT_FAULT_OOM_HOST, "host memory");
    json_t *result = ask(worker, "resources", "{}");
    assert_int_equal(number(result, "now_ns"), 500000000);
    json_decref(result);
    kvat_worker_free(worker);
    worker = ready(FAULT("oom_device"));
    expect_fault(worker, "run", RUN(100, 10), KVAT_FAULT_OOM_DEVICE, "device memory");
    kvat_worker_free(worker);
}

static void a_rule_strikes_its_configurations_only(void **state) {
    (void)state;
    kvat_worker *worker = ready(FAULT("oom_host"));
    json_decref(ask(worker, "prepare", "{'settings': {'b': 2}, 'context_tokens': 1000}"));
    json_decref(ask(worker, "run", RUN(100, 10)));
    kvat_worker_free(worker);
}

static void refusals_and_silent_changes_come_with_the_context(void **state) {
    (void)state;
    write_surface(FAULT("unsupported"));
    kvat_worker *worker = start_with(NULL, NULL);
    json_decref(ask(worker, "initialize", "{}"));
    json_decref(load(worker));
    expect_fault(worker, "prepare", PREPARE, KVAT_FAULT_UNSUPPORTED, "unsupported");
    kvat_worker_free(worker);

    worker = ready(FAULT("invalid"));
    json_t *result = ask(worker, "prepare", "{'settings': {'b': 1}, 'context_tokens': 1000}");
    assert_int_equal(number(json_object_get(result, "effective"), "b"), 2);
    json_decref(result);
    kvat_worker_free(worker);
}

static void crashes_and_hangs_are_real(void **state) {
    (void)state;
    kvat_worker *worker = ready(FAULT("crash"));
    kvat_call result = call(worker, "run", RUN(100, 10));
    assert_int_equal(result.outcome, KVAT_CALL_DIED);
    assert_int_equal(result.death.kind, KVAT_DEATH_SIGNAL);
    assert_int_equal(result.death.code, SIGABRT);
    kvat_call_clear(&result);
    kvat_worker_free(worker);

    worker = ready(FAULT("hang"));
    assert_int_equal(kvat_worker_call(&result, worker, "run", json_of(RUN(100, 10)), 100 * KVAT_NS_PER_MS, NULL),
                     KVAT_OK);
    assert_int_equal(result.outcome, KVAT_CALL_TIMEOUT);
    kvat_call_clear(&result);
    kvat_worker_free(worker);
}

static void improbable_faults_strike_sometimes(void **state) {
    (void)state;
    kvat_worker *worker = ready(HEAD BASE ", 'faults': [{'when': {}, 'kind': 'oom_host', 'probability': 0.5}]}");
    int struck = 0;
    for (int i = 0; i < 200; i++) {
        kvat_call result = call(worker, "run", RUN(100, 10));
        struck += result.outcome == KVAT_CALL_FAULT;
        kvat_call_clear(&result);
    }
    assert_true(struck > 60 && struck < 140);
    kvat_worker_free(worker);
}

/* ---- killed and resumed ---- */

#define NOISY                                                                                                          \
    HEAD BASE ", 'load_s': 2, 'prepare_s': 0.5, 'short_output_bias': {'mean': 0.01, 'sd': 0.02}, 'noise': {"           \
              "'run_sd': 0.02, 'launch_sd': 0.01, 'ar_sd': 0.05, 'ar_s': 5, 'ramp': 0.1, 'spike_per_s': 0.1,"          \
              "'spike_max': 0.3, 'trace_step_s': 0.3, 'trace': [0.1, 0, 0.05]}}"
enum { TRIALS = 12 };

/* One trial: a context, a warm-up, a run over two depths. Its answers as text (caller frees). */
static char *trial(kvat_worker *worker, int i, int64_t *now_ns) {
    static const char *const prepares[] = {PREPARE, "{'settings': {'a': 'y', 'b': 2}, 'context_tokens': 1000}"};
    json_t *answers = json_array();
    json_array_append_new(answers, ask(worker, "prepare", prepares[i % 2]));
    json_array_append_new(answers, ask(worker, "run", RUN(50, 4)));
    json_array_append_new(
        answers,
        ask(worker, "run",
            "{'tokens': {'count': 400}, 'output_tokens': 2, 'marks': ["
            "{'prompt_tokens': 100, 'output_tokens': 8, 'repeats': 2}, {'prompt_tokens': 400, 'output_tokens': 9}]}"));
    *now_ns = number(json_array_get(answers, 2), "now_ns");
    char *text = json_dumps(answers, JSON_SORT_KEYS);
    json_decref(answers);
    assert_non_null(text);
    return text;
}

static kvat_worker *resume(int64_t now_ns, int64_t loaded_ns) {
    char params[200];
    kvat_worker *worker = start_with(NULL, NULL);
    snprintf(params, sizeof params,
             "{'world_seed': -11, 'virtual_now_ns': %lld, 'replay_load': %s, 'virtual_loaded_ns': %lld}",
             (long long)now_ns, now_ns ? "true" : "false", (long long)loaded_ns);
    json_decref(ask(worker, "initialize", params));
    json_t *result = load(worker);
    assert_int_equal(number(result, "load_ns"), loaded_ns);
    assert_int_equal(number(result, "now_ns"), now_ns ? now_ns : loaded_ns);
    json_decref(result);
    return worker;
}

static void a_run_killed_after_any_trial_goes_on_byte_for_byte(void **state) {
    (void)state;
    write_surface(NOISY);
    char *whole[TRIALS];
    int64_t now[TRIALS];
    kvat_worker *worker = resume(0, 2000000000);
    for (int i = 0; i < TRIALS; i++) whole[i] = trial(worker, i, &now[i]);
    kvat_worker_free(worker);

    for (int killed = 0; killed < TRIALS - 1; killed += 3) {
        worker = resume(now[killed], 2000000000);
        for (int i = killed + 1; i < TRIALS; i++) {
            int64_t at;
            char *text = trial(worker, i, &at);
            assert_string_equal(text, whole[i]);
            free(text);
            if (i == killed + 2) { /* a trial in flight is lost without a trace */
                kvat_worker_kill(worker);
                worker = resume(at, 2000000000);
            }
        }
        kvat_worker_free(worker);
    }
    assert_string_not_equal(whole[0], whole[2]);
    for (int i = 0; i < TRIALS; i++) free(whole[i]);
}

static void worlds_differ_by_their_seed(void **state) {
    (void)state;
    write_surface(NOISY);
    int64_t ends[2];
    for (int seed = 0; seed < 2; seed++) {
        kvat_worker *worker = start_with(NULL, NULL);
        json_decref(ask(worker, "initialize", seed ? "{'world_seed': 1}" : "{'world_seed': 0}"));
        json_decref(load(worker));
        free(trial(worker, 0, &ends[seed]));
        kvat_worker_free(worker);
    }
    assert_true(ends[0] != ends[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_noise_times_are_the_truth),
        cmocka_unit_test(marks_leave_decoding_out_of_the_prefill_time),
        cmocka_unit_test(bursts_repeat_a_depth_without_prefill),
        cmocka_unit_test(each_burst_has_noise_of_its_own_and_the_bias_of_its_configuration),
        cmocka_unit_test(prefill_and_decode_can_be_asked_apart),
        cmocka_unit_test(several_sequences_share_the_rate),
        cmocka_unit_test(the_worker_stops_itself_at_its_limit),
        cmocka_unit_test(peak_memory_is_that_of_the_largest_cell),
        cmocka_unit_test(short_outputs_carry_a_bias_of_their_configuration),
        cmocka_unit_test(settings_are_answered_as_they_are_in_force),
        cmocka_unit_test(a_run_must_fit_in_its_context),
        cmocka_unit_test(process_scope_is_taken_from_the_command_line_or_the_environment),
        cmocka_unit_test(a_bad_surface_is_a_bad_model),
        cmocka_unit_test(memory_faults_take_time_and_say_which_memory),
        cmocka_unit_test(a_rule_strikes_its_configurations_only),
        cmocka_unit_test(refusals_and_silent_changes_come_with_the_context),
        cmocka_unit_test(crashes_and_hangs_are_real),
        cmocka_unit_test(improbable_faults_strike_sometimes),
        cmocka_unit_test(a_run_killed_after_any_trial_goes_on_byte_for_byte),
        cmocka_unit_test(worlds_differ_by_their_seed),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
