/* Workers that keep to the protocol and workers that do not: each ends in a typed outcome, and nobody is left behind.
 */
/* Must not know: how processes are started and watched. */
#include "worker_kit.h"

#include <jansson.h>
#include <malloc.h>
#include <sys/time.h>
#include <unistd.h>

#define CALL_NS  (20 * KVAT_NS_PER_S)
#define SHORT_NS (200 * KVAT_NS_PER_MS)

static kvat_worker *start(const char *mode, const char *at, const char *option, const char *value,
                          kvat_worker_options options) {
    const char *command[] = {MISBEHAVE, "--mode", mode, "--at", at, option, value, NULL};
    options.command = command;
    if (!options.term_grace_ns) options.term_grace_ns = SHORT_NS;
    kvat_worker *worker = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    if (kvat_worker_spawn(&worker, &options, &err) != KVAT_OK) fail_msg("%s", err.message);
    return worker;
}

static kvat_call call(kvat_worker *worker, const char *method, int64_t deadline_ns) {
    kvat_call result = {0};
    kvat_error err = KVAT_ERROR_INIT;
    if (kvat_worker_call(&result, worker, method, json_object(), deadline_ns, &err) != KVAT_OK)
        fail_msg("%s: %s", method, err.message);
    return result;
}

static void expect_fine(kvat_worker *worker, const char *method) {
    kvat_call result = call(worker, method, CALL_NS);
    if (result.outcome != KVAT_CALL_OK) fail_msg("%s: %s", method, result.detail);
    assert_true(json_is_object(result.result));
    kvat_call_clear(&result);
}

/* ---- the table of what goes wrong ---- */

typedef struct fault_case {
    const char *mode, *at;
    const char *option, *value;
    kvat_call_outcome outcome;
    kvat_death_kind death;
    int code; /* of the death */
    const char *says;
    bool soon; /* short deadline */
} fault_case;

static const fault_case fault_cases[] = {
    {"segv", "run", 0, 0, KVAT_CALL_DIED, KVAT_DEATH_SIGNAL, SIGSEGV, "SIGSEGV", false},
    {"segv", "initialize", 0, 0, KVAT_CALL_DIED, KVAT_DEATH_SIGNAL, SIGSEGV, "about to fail", false},
    {"abort", "run", 0, 0, KVAT_CALL_DIED, KVAT_DEATH_SIGNAL, SIGABRT, "assertion failed", false},
    {"exit0", "load", 0, 0, KVAT_CALL_DIED, KVAT_DEATH_EXIT, 0, "exited with code 0", false},
    {"exit3", "run", 0, 0, KVAT_CALL_DIED, KVAT_DEATH_EXIT, 3, "exited with code 3", false},
    {"bad-alloc", "run", 0, 0, KVAT_CALL_DIED, KVAT_DEATH_OOM, SIGABRT, "bad_alloc", false},
    {"half-line-exit", "run", 0, 0, KVAT_CALL_DIED, KVAT_DEATH_EXIT, 0, "middle of an answer", false},
    {"half-line", "run", 0, 0, KVAT_CALL_TIMEOUT, 0, 0, "no answer to run within 200 ms", true},
    {"hang", "prepare", 0, 0, KVAT_CALL_TIMEOUT, 0, 0, "no answer to prepare", true},
    {"ignore-term", "run", 0, 0, KVAT_CALL_TIMEOUT, 0, 0, "no answer", true},
    {"stop", "run", 0, 0, KVAT_CALL_TIMEOUT, 0, 0, "no answer", true},
    {"stop-both", "run", 0, 0, KVAT_CALL_TIMEOUT, 0, 0, "no answer", true},
    {"late-answer", "run", "--delay-ms", "300", KVAT_CALL_TIMEOUT, 0, 0, "no answer", true},
    {"long-line", "run", 0, 0, KVAT_CALL_PROTOCOL, 0, 0, "too long", false},
    {"wrong-id", "run", 0, 0, KVAT_CALL_PROTOCOL, 0, 0, "unknown request", false},
    {"wrong-version", "initialize", 0, 0, KVAT_CALL_PROTOCOL, 0, 0, "version", false},
    {"garbage", "run", 0, 0, KVAT_CALL_PROTOCOL, 0, 0, "message", false},
    {"deep-json", "run", 0, 0, KVAT_CALL_PROTOCOL, 0, 0, "message", false},
    {"request", "run", 0, 0, KVAT_CALL_PROTOCOL, 0, 0, "request", false},
    {"close-stdout", "run", 0, 0, KVAT_CALL_PROTOCOL, 0, 0, "standard output", false},
};

static void check_case(const fault_case *c) {
    kvat_worker *worker = start(c->mode, c->at, c->option, c->value, (kvat_worker_options){0});
    const long pid = kvat_worker_pid(worker);
    static const char *const methods[] = {"initialize", "describe", "load", "prepare", "run"};
    size_t i = 0;
    for (; strcmp(methods[i], c->at) != 0; i++) expect_fine(worker, methods[i]);

    kvat_call result = call(worker, c->at, c->soon ? SHORT_NS : CALL_NS);
    if (result.outcome != c->outcome) fail_msg("%s: outcome %d: %s", c->mode, result.outcome, result.detail);
    if (!strstr(result.detail, c->says)) fail_msg("%s: \"%s\" lacks \"%s\"", c->mode, result.detail, c->says);
    if (c->outcome == KVAT_CALL_DIED) {
        assert_int_equal(result.death.kind, c->death);
        assert_int_equal(result.death.code, c->code);
    }
    assert_null(result.result);
    assert_false(kvat_worker_alive(worker));
    assert_int_equal(kvat_worker_pid(worker), 0);
    assert_true(process_gone(pid));
    kvat_call_clear(&result);

    result = call(worker, "describe", CALL_NS);
    assert_int_equal(result.outcome, KVAT_CALL_DIED);
    kvat_call_clear(&result);
    kvat_worker_free(worker);
}

static void every_fault_has_a_typed_outcome(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof fault_cases / sizeof *fault_cases; i++) check_case(&fault_cases[i]);
}

/* ---- good conduct ---- */

static void a_call_brings_its_result(void **state) {
    (void)state;
    kvat_worker *worker = start("none", "run", NULL, NULL, (kvat_worker_options){0});
    assert_true(kvat_worker_pid(worker) > 0);
    kvat_call result = call(worker, "initialize", CALL_NS);
    assert_int_equal(result.outcome, KVAT_CALL_OK);
    assert_string_equal(json_string_value(json_object_get(json_object_get(result.result, "engine"), "name")),
                        "misbehave");
    assert_true(result.round_trip_ns > 0);
    kvat_call_clear(&result);
    expect_fine(worker, "describe");
    const long pid = kvat_worker_pid(worker);
    kvat_worker_free(worker);
    assert_true(process_gone(pid));
}

static void an_answer_counts_although_the_worker_left_after_it(void **state) {
    (void)state;
    kvat_worker *worker = start("answer-exit", "run", NULL, NULL, (kvat_worker_options){0});
    expect_fine(worker, "initialize");
    expect_fine(worker, "run");
    kvat_call result = call(worker, "run", CALL_NS);
    assert_int_equal(result.outcome, KVAT_CALL_DIED);
    kvat_call_clear(&result);
    kvat_worker_free(worker);
}

static void a_second_answer_breaks_the_protocol_at_the_next_call(void **state) {
    (void)state;
    kvat_worker *worker = start("answer-twice", "load", NULL, NULL, (kvat_worker_options){0});
    expect_fine(worker, "initialize");
    expect_fine(worker, "load");
    kvat_call result = call(worker, "describe", CALL_NS);
    assert_int_equal(result.outcome, KVAT_CALL_PROTOCOL);
    kvat_call_clear(&result);
    kvat_worker_free(worker);
}

static void count_progress(void *user, const char *stage, int64_t done, int64_t total) {
    assert_string_equal(stage, "x");
    assert_int_equal(done, 1);
    assert_int_equal(total, 2);
    ++*(size_t *)user;
}

static void progress_reaches_the_caller(void **state) {
    (void)state;
    size_t seen = 0;
    kvat_worker *worker = start("flood-progress", "run", "--bytes", "8000000",
                                (kvat_worker_options){.on_progress = count_progress, .user = &seen});
    expect_fine(worker, "run");
    assert_int_equal(seen, 100000);
    kvat_worker_free(worker);
}

static void environment_and_launch_prefix_reach_the_program(void **state) {
    (void)state;
    const char *environment[] = {"KVAT_TEST_WORD=two words", NULL};
    const char *launch[] = {"nice", "-n", "1", NULL};
    const char *command[] = {"/bin/sh", "-c", "echo \"$KVAT_TEST_WORD\" >&2; nice >&2; exit 4", NULL};
    for (int prefixed = 0; prefixed < 2; prefixed++) {
        const kvat_worker_options options = {
            .command = command, .environment = environment, .launch = prefixed ? launch : NULL};
        kvat_worker *worker = NULL;
        assert_int_equal(kvat_worker_spawn(&worker, &options, NULL), KVAT_OK);
        assert_int_equal(kvat_worker_pid(worker) == 0, prefixed);
        kvat_call result = call(worker, "initialize", CALL_NS);
        assert_int_equal(result.outcome, KVAT_CALL_DIED);
        assert_int_equal(result.death.code, 4);
        assert_non_null(strstr(kvat_worker_log_tail(worker), "two words\n"));
        if (prefixed) assert_non_null(strstr(kvat_worker_log_tail(worker), "two words\n1\n"));
        kvat_call_clear(&result);
        kvat_worker_free(worker);
    }
}

static void a_worker_in_another_language_is_a_worker(void **state) {
    (void)state;
    const char *command[] = {"python3", KVAT_SOURCE_DIR "/examples/echo_worker.py", NULL};
    kvat_worker *worker = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    if (kvat_worker_spawn(&worker, &(kvat_worker_options){.command = command}, &err) != KVAT_OK)
        fail_msg("%s", err.message);
    expect_fine(worker, "initialize");
    kvat_call result = {0};
    json_t *params = json_pack("{s:{s:s},s:i}", "settings", "pace", "brisk", "context_tokens", 100);
    assert_int_equal(kvat_worker_call(&result, worker, "prepare", params, CALL_NS, NULL), KVAT_OK);
    assert_int_equal(result.outcome, KVAT_CALL_OK);
    assert_string_equal(json_string_value(json_object_get(json_object_get(result.result, "effective"), "pace")),
                        "brisk");
    kvat_call_clear(&result);
    params = json_pack("{s:{s:i},s:i}", "tokens", "count", 40, "output_tokens", 3);
    assert_int_equal(kvat_worker_call(&result, worker, "run", params, CALL_NS, NULL), KVAT_OK);
    assert_int_equal(result.outcome, KVAT_CALL_OK);
    const json_t *sequence = json_array_get(json_object_get(result.result, "sequences"), 0);
    assert_int_equal(json_array_size(json_object_get(sequence, "token_ns")), 3);
    kvat_call_clear(&result);
    result = call(worker, "fly", CALL_NS);
    assert_int_equal(result.outcome, KVAT_CALL_FAULT);
    assert_int_equal(result.code, -32601);
    kvat_call_clear(&result);
    kvat_worker_free(worker);
}

static void a_program_that_cannot_be_started_is_an_engine_error(void **state) {
    (void)state;
    static const char *const programs[] = {"/nowhere/at/all", "kvat-no-such-program", "/etc/passwd", "/"};
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
        const char *command[] = {programs[i], NULL};
        kvat_worker *worker = NULL;
        kvat_error err = KVAT_ERROR_INIT;
        assert_int_equal(kvat_worker_spawn(&worker, &(kvat_worker_options){.command = command}, &err), KVAT_ERR_ENGINE);
        assert_null(worker);
        assert_non_null(strstr(err.message, programs[i]));
    }
}

/* ---- bounds ---- */

static void a_flood_on_standard_error_is_drained_without_growing(void **state) {
    (void)state;
    kvat_worker *worker = start("flood-stderr", "run", "--bytes", "300000000", (kvat_worker_options){0});
    const size_t before = mallinfo2().uordblks;
    expect_fine(worker, "run");
    assert_true(mallinfo2().uordblks < before + (1 << 20));
    assert_int_equal(strlen(kvat_worker_log_tail(worker)), 64 << 10);
    expect_fine(worker, "describe");
    kvat_worker_free(worker);
}

static void lines_are_bounded_as_asked(void **state) {
    (void)state;
    kvat_worker *worker = start("long-line", "run", "--bytes", "5000", (kvat_worker_options){.max_line_bytes = 4096});
    expect_fine(worker, "describe");
    kvat_call result = call(worker, "run", CALL_NS);
    assert_int_equal(result.outcome, KVAT_CALL_PROTOCOL);
    kvat_call_clear(&result);
    kvat_worker_free(worker);
}

static void a_worker_that_does_not_read_cannot_block_us(void **state) {
    (void)state;
    const char *command[] = {"/bin/sleep", "1000", NULL};
    kvat_worker *worker = NULL;
    const kvat_worker_options options = {.command = command, .term_grace_ns = SHORT_NS};
    assert_int_equal(kvat_worker_spawn(&worker, &options, NULL), KVAT_OK);
    char *text = malloc((4 << 20) + 1);
    assert_non_null(text);
    memset(text, 'a', 4 << 20);
    text[4 << 20] = '\0';
    kvat_call result = {0};
    assert_int_equal(kvat_worker_call(&result, worker, "tokenize", json_pack("{s:s}", "text", text), SHORT_NS, NULL),
                     KVAT_OK);
    assert_int_equal(result.outcome, KVAT_CALL_TIMEOUT);
    kvat_call_clear(&result);
    free(text);
    kvat_worker_free(worker);
}

/* ---- nobody left behind ---- */

static void grandchildren_go_with_the_worker(void **state) {
    (void)state;
    static const char *const modes[] = {"grandchildren", "grandchildren-exit"};
    for (size_t i = 0; i < 2; i++) {
        kvat_worker *worker = start(modes[i], "run", NULL, NULL, (kvat_worker_options){0});
        kvat_call result = call(worker, "run", CALL_NS);
        assert_int_equal(result.outcome, i == 0 ? KVAT_CALL_OK : KVAT_CALL_DIED);
        kvat_call_clear(&result);
        long pids[8];
        const size_t n = numbers_after(pids, 8, kvat_worker_log_tail(worker), "grandchild ");
        assert_int_equal(n, 3);
        if (i == 0) {
            for (size_t k = 0; k < n; k++) assert_false(process_gone(pids[k]));
            kvat_worker_kill(worker);
        } else {
            for (size_t k = 0; k < n; k++) assert_true(process_gone(pids[k]));
            kvat_worker_free(worker);
        }
        for (size_t k = 0; k < n; k++) assert_true(process_gone(pids[k]));
    }
}

/* A coordinator of its own, killed with -9 while its worker is busy; returns the ids of worker and grandchildren. */
static size_t kill_a_coordinator(long *pids, size_t max, const char *mode) {
    int to_parent[2];
    assert_int_equal(pipe(to_parent), 0);
    const pid_t coordinator = fork();
    if (coordinator == 0) {
        close(to_parent[0]);
        kvat_worker *worker = start("grandchildren", "prepare", NULL, NULL, (kvat_worker_options){0});
        expect_fine(worker, "prepare");
        const char *const log = kvat_worker_log_tail(worker);
        dprintf(to_parent[1], "%s worker %d end", log, kvat_worker_pid(worker));
        if (!strcmp(mode, "busy")) call(worker, "none", CALL_NS);
        for (;;) pause();
    }
    char text[4096];
    size_t used = 0;
    close(to_parent[1]);
    text[0] = '\0';
    while (used < sizeof text - 1 && !strstr(text, " end")) {
        const ssize_t n = read(to_parent[0], text + used, sizeof text - 1 - used);
        assert_true(n > 0);
        used += (size_t)n;
        text[used] = '\0';
    }
    close(to_parent[0]);
    size_t n = numbers_after(pids, max, text, "grandchild ");
    n += numbers_after(pids + n, max - n, text, " worker ");
    kill(coordinator, SIGKILL);
    return n;
}

static void nobody_outlives_a_killed_coordinator(void **state) {
    (void)state;
    static const char *const modes[] = {"busy", "idle"};
    for (size_t i = 0; i < 2; i++) {
        long pids[8];
        const size_t n = kill_a_coordinator(pids, 8, modes[i]);
        assert_int_equal(n, 4);
        const int64_t start_ns = kvat_now_ns();
        for (size_t k = 0; k < n; k++) assert_true(process_goes(pids[k], start_ns + 2 * KVAT_NS_PER_S - kvat_now_ns()));
    }
}

/* ---- interruption ---- */

static kvat_cancel the_cancel;
static void set_cancel(int signal) {
    (void)signal;
    the_cancel.level++;
}

static void an_interrupt_ends_the_worker(void **state) {
    (void)state;
    for (int level = 1; level <= 2; level++) {
        the_cancel.level = level;
        kvat_worker *worker =
            start("late-answer", "run", "--delay-ms", "50", (kvat_worker_options){.cancel = &the_cancel});
        const long pid = kvat_worker_pid(worker);
        kvat_call result = {0};
        kvat_error err = KVAT_ERROR_INIT;
        assert_int_equal(kvat_worker_call(&result, worker, "run", NULL, CALL_NS, &err), KVAT_ERR_INTERRUPTED);
        assert_false(kvat_worker_alive(worker));
        assert_true(process_gone(pid));
        kvat_worker_free(worker);
    }
    the_cancel.level = 0;
}

static void a_second_interrupt_cuts_the_grace_short(void **state) {
    (void)state;
    struct sigaction act = {.sa_handler = set_cancel}, before;
    sigaction(SIGALRM, &act, &before);
    the_cancel.level = 0;
    kvat_worker *worker = start("ignore-term", "run", NULL, NULL,
                                (kvat_worker_options){.cancel = &the_cancel, .term_grace_ns = 3600 * KVAT_NS_PER_S});
    const struct itimerval every = {{0, 100000}, {0, 100000}}, never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &every, NULL);
    assert_int_equal(kvat_worker_call(&(kvat_call){0}, worker, "run", NULL, 3600 * KVAT_NS_PER_S, NULL),
                     KVAT_ERR_INTERRUPTED);
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, &before, NULL);
    assert_false(kvat_worker_alive(worker));
    kvat_worker_free(worker);
    the_cancel.level = 0;
}

/* ---- memory ---- */

static void a_worker_past_its_limit_dies_of_memory(void **state) {
    (void)state;
    kvat_worker *worker =
        start("oom", "run", "--bytes", "600000000", (kvat_worker_options){.memory_limit_bytes = 256 << 20});
    const char *const source = kvat_worker_limit_source(worker);
    if (!strcmp(source,
                "RLIMIT_DATA")) { /* sanitizers map more than that from the start; the rest is for real machines */
        print_message("no cgroup may be made here\n");
        kvat_worker_kill(worker);
        skip();
    }
    assert_non_null(strstr(source, "cgroup"));
    expect_fine(worker, "initialize");
    kvat_call result = call(worker, "run", CALL_NS);
    assert_int_equal(result.outcome, KVAT_CALL_DIED);
    assert_int_equal(result.death.kind, KVAT_DEATH_OOM);
    assert_non_null(strstr(result.death.detail, "memory limit"));
    kvat_call_clear(&result);
    kvat_worker_free(worker);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_brings_its_result),
        cmocka_unit_test(every_fault_has_a_typed_outcome),
        cmocka_unit_test(an_answer_counts_although_the_worker_left_after_it),
        cmocka_unit_test(a_second_answer_breaks_the_protocol_at_the_next_call),
        cmocka_unit_test(progress_reaches_the_caller),
        cmocka_unit_test(environment_and_launch_prefix_reach_the_program),
        cmocka_unit_test(a_worker_in_another_language_is_a_worker),
        cmocka_unit_test(a_program_that_cannot_be_started_is_an_engine_error),
        cmocka_unit_test(a_flood_on_standard_error_is_drained_without_growing),
        cmocka_unit_test(lines_are_bounded_as_asked),
        cmocka_unit_test(a_worker_that_does_not_read_cannot_block_us),
        cmocka_unit_test(grandchildren_go_with_the_worker),
        cmocka_unit_test(nobody_outlives_a_killed_coordinator),
        cmocka_unit_test(an_interrupt_ends_the_worker),
        cmocka_unit_test(a_second_interrupt_cuts_the_grace_short),
        cmocka_unit_test(a_worker_past_its_limit_dies_of_memory),
    };
    return cmocka_run_group_tests(tests, use_built_programs, NULL);
}
