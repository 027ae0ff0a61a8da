/* The worker's side of the protocol: order of calls, errors, cancellation, framing. */
/* Must not know: any engine. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "serve.h"

/* A worker whose operations do as the test says. */
typedef struct fake {
    kvat_fault_kind fails; /* every operation but initialize */
    const char *knob, *detail;
    const char *bytes_while_running; /* put on the wire to us by `run` itself */
    int wire;                        /* where the client writes */
    bool close_wire;
    bool cancelled;
    int calls;
} fake;

static int succeed(json_t **result, void *worker, kvat_serve *serve, const json_t *params, kvat_fault *fault) {
    fake *f = worker;
    (void)serve, (void)params;
    f->calls++;
    if (f->fails) return kvat_fault_set(fault, f->fails, f->knob, "%s", f->detail);
    *result = json_object();
    return 0;
}

static int initialize(json_t **result, void *worker, kvat_serve *serve, const json_t *params, kvat_fault *fault) {
    (void)worker, (void)serve, (void)params, (void)fault;
    *result = json_pack("{s:s}", "clock", "real");
    return 0;
}

static int run(json_t **result, void *worker, kvat_serve *serve, const json_t *params, kvat_fault *fault) {
    fake *f = worker;
    (void)params;
    if (f->bytes_while_running) {
        const ssize_t n = (ssize_t)strlen(f->bytes_while_running);
        assert_int_equal(write(f->wire, f->bytes_while_running, (size_t)n), n);
    }
    if (f->close_wire) shutdown(f->wire, SHUT_WR);
    kvat_serve_progress(serve, "decode", 1, 2);
    f->cancelled = kvat_serve_cancelled(serve);
    if (f->cancelled) return kvat_fault_set(fault, KVAT_FAULT_CANCELLED, NULL, "cancelled");
    *result = json_object();
    return 0;
}

static int not_an_object(json_t **result, void *worker, kvat_serve *serve, const json_t *params, kvat_fault *fault) {
    (void)worker, (void)serve, (void)params, (void)fault;
    *result = json_array();
    return 0;
}

static int64_t fixed_now(void *worker) {
    (void)worker;
    return 42;
}

static const kvat_serve_ops ops = {.initialize = initialize,
                                   .describe = succeed,
                                   .load = succeed,
                                   .prepare = succeed,
                                   .run = run,
                                   .resources = not_an_object,
                                   .release = succeed,
                                   .now_ns = fixed_now};

/* Serves `input` and returns what was written (caller frees). */
static char *serve(fake *f, const char *input, int *code) {
    int in[2], out[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, in), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, out), 0);
    assert_int_equal(write(in[0], input, strlen(input)), strlen(input));
    f->wire = in[0];
    if (!f->bytes_while_running && !f->close_wire) shutdown(in[0], SHUT_WR);
    const int rc = kvat__serve_fds(&ops, f, in[1], out[1]);
    if (code) *code = rc;
    close(out[1]);
    char *text = calloc(1, 65536);
    assert_non_null(text);
    size_t used = 0;
    for (ssize_t n; used < 65535 && (n = read(out[0], text + used, 65535 - used)) > 0;) used += (size_t)n;
    close(in[0]);
    close(in[1]);
    close(out[0]);
    return text;
}

#define REQUEST(id, method, params)                                                                                    \
    "{\"jsonrpc\":\"2.0\",\"id\":" #id ",\"method\":\"" method "\",\"params\":" params "}\n"
#define HELLO    REQUEST(1, "initialize", "{}")
#define LOADED   HELLO REQUEST(2, "load", "{}")
#define PREPARED LOADED REQUEST(3, "prepare", "{}")
#define BYE      REQUEST(99, "shutdown", "{}")

static void expect(fake *f, const char *input, const char *expected) {
    char *text = serve(f, input, NULL);
    if (strcmp(text, expected) != 0) fail_msg("got\n%s\nin place of\n%s", text, expected);
    free(text);
}

#define ANSWER(id)   "{\"id\":" #id ",\"jsonrpc\":\"2.0\",\"result\":{\"now_ns\":42}}\n"
#define HELLO_ANSWER "{\"id\":1,\"jsonrpc\":\"2.0\",\"result\":{\"clock\":\"real\",\"now_ns\":42,\"protocol\":1}}\n"
#define ERROR(id, code, kind, detail)                                                                                  \
    "{\"error\":{\"code\":" #code ",\"data\":{\"detail\":\"" detail "\",\"kind\":\"" kind "\"},\"message\":\"" detail  \
    "\"},\"id\":" #id ",\"jsonrpc\":\"2.0\"}\n"

static void results_carry_clock_and_version(void **state) {
    (void)state;
    expect(&(fake){0}, HELLO BYE, HELLO_ANSWER ANSWER(99));
}

static void nothing_is_read_after_shutdown(void **state) {
    (void)state;
    expect(&(fake){0}, BYE HELLO, ANSWER(99));
}

static void calls_out_of_order_are_refused(void **state) {
    (void)state;
    expect(&(fake){0}, REQUEST(5, "describe", "{}"), ERROR(5, -32600, "internal", "describe before initialize"));
    expect(&(fake){0}, HELLO REQUEST(5, "prepare", "{}"),
           HELLO_ANSWER ERROR(5, -32600, "internal", "prepare before load"));
    expect(&(fake){0}, HELLO REQUEST(5, "run", "{}"), HELLO_ANSWER ERROR(5, -32600, "internal", "run before prepare"));
    expect(&(fake){0}, HELLO REQUEST(5, "initialize", "{}"),
           HELLO_ANSWER ERROR(5, -32600, "internal", "initialize was called before"));
}

static void what_was_released_must_be_made_again(void **state) {
    (void)state;
    expect(&(fake){0}, PREPARED REQUEST(4, "release", "{\"what\":\"context\"}") REQUEST(5, "run", "{}"),
           HELLO_ANSWER ANSWER(2) ANSWER(3) ANSWER(4) ERROR(5, -32600, "internal", "run before prepare"));
    expect(&(fake){0}, PREPARED REQUEST(4, "release", "{\"what\":\"model\"}") REQUEST(5, "prepare", "{}"),
           HELLO_ANSWER ANSWER(2) ANSWER(3) ANSWER(4) ERROR(5, -32600, "internal", "prepare before load"));
    expect(&(fake){0}, PREPARED REQUEST(4, "load", "{}") REQUEST(5, "run", "{}"),
           HELLO_ANSWER ANSWER(2) ANSWER(3) ANSWER(4) ERROR(5, -32600, "internal", "run before prepare"));
}

static void unknown_and_missing_methods_are_named(void **state) {
    (void)state;
    expect(&(fake){0}, HELLO REQUEST(5, "fly", "{}"),
           HELLO_ANSWER ERROR(5, -32601, "internal", "unknown method \\\"fly\\\""));
    expect(&(fake){0}, HELLO REQUEST(5, "tokenize", "{}"),
           HELLO_ANSWER ERROR(5, -32601, "internal", "unknown method \\\"tokenize\\\""));
}

static void faults_become_errors_with_their_data(void **state) {
    (void)state;
    fake f = {.fails = KVAT_FAULT_INVALID_SETTING, .knob = "a\"b", .detail = "bad\nvalue \xff \x1b[0m"};
    expect(&f, HELLO REQUEST(5, "load", "{}"),
           HELLO_ANSWER
           "{\"error\":{\"code\":-32000,\"data\":{\"detail\":\"bad value \\ufffd "
           "\\u001b[0m\",\"kind\":\"invalid_setting\","
           "\"knob\":\"a\\\"b\"},\"message\":\"bad value \\ufffd \\u001b[0m\"},\"id\":5,\"jsonrpc\":\"2.0\"}\n");
}

static void a_result_that_is_no_object_is_an_internal_error(void **state) {
    (void)state;
    expect(&(fake){0}, HELLO REQUEST(5, "resources", "{}"),
           HELLO_ANSWER ERROR(5, -32603, "internal", "no memory for the answer to resources"));
}

static void text_ids_are_given_back(void **state) {
    (void)state;
    expect(&(fake){0}, REQUEST("x y", "initialize", "{}"),
           "{\"id\":\"x y\",\"jsonrpc\":\"2.0\",\"result\":{\"clock\":\"real\",\"now_ns\":42,\"protocol\":1}}\n");
}

static void a_protocol_range_without_ours_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *range;
        bool fits;
    } cases[] = {{"{\"min\":1,\"max\":1}", true},
                 {"{\"min\":0,\"max\":9}", true},
                 {"{\"min\":2,\"max\":3}", false},
                 {"{\"min\":0,\"max\":0}", false},
                 {"{}", true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char input[200];
        snprintf(input, sizeof input,
                 "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\",\"params\":{\"protocol\":%s}}\n",
                 cases[i].range);
        char *text = serve(&(fake){0}, input, NULL);
        assert_int_equal(strstr(text, "-32001") == NULL, cases[i].fits);
        free(text);
    }
}

static void a_cancel_is_noticed_while_running(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        bool cancelled;
    } cases[] = {
        {"{\"jsonrpc\":\"2.0\",\"method\":\"$/cancel\",\"params\":{\"id\":4}}\n" BYE, true},
        {"{\"jsonrpc\":\"2.0\",\"method\":\"$/cancel\",\"params\":{\"id\":3}}\n" BYE, false},
        {"{\"jsonrpc\":\"2.0\",\"method\":\"$/other\",\"params\":{\"id\":4}}\n" BYE, false},
        {"{\"jsonrpc\":\"2.0\",\"method\":\"$/cancel\"}\n" BYE, false},
        {"nonsense\n{\"jsonrpc\":\"2.0\",\"method\":\"$/cancel\",\"params\":{\"id\":4}}\n" BYE, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fake f = {.bytes_while_running = cases[i].bytes};
        char *text = serve(&f, PREPARED REQUEST(4, "run", "{}"), NULL);
        assert_int_equal(f.cancelled, cases[i].cancelled);
        assert_int_equal(strstr(text, "-32800") != NULL, cases[i].cancelled);
        assert_non_null(strstr(text, ANSWER(99))); /* what came with it is not lost */
        free(text);
    }
}

static void a_cancel_that_came_with_the_request_counts(void **state) {
    (void)state;
    fake f = {0};
    char *text = serve(
        &f, PREPARED REQUEST(4, "run", "{}") "{\"jsonrpc\":\"2.0\",\"method\":\"$/cancel\",\"params\":{\"id\":4}}\n",
        NULL);
    assert_true(f.cancelled);
    free(text);
}

static void the_end_of_input_cancels_what_is_running(void **state) {
    (void)state;
    fake f = {.close_wire = true};
    int code = -1;
    char *text = serve(&f, PREPARED REQUEST(4, "run", "{}"), &code);
    assert_true(f.cancelled);
    assert_int_equal(code, 0);
    free(text);
}

static void progress_goes_out_before_the_answer(void **state) {
    (void)state;
    fake f = {.bytes_while_running = BYE};
    expect(&f, PREPARED REQUEST(4, "run", "{}"),
           HELLO_ANSWER ANSWER(2) ANSWER(3) "{\"jsonrpc\":\"2.0\",\"method\":\"progress\",\"params\":{\"done\":1,"
                                            "\"stage\":\"decode\",\"total\":2}}\n" ANSWER(4) ANSWER(99));
}

static void bad_lines_are_answered_and_survived(void **state) {
    (void)state;
    char *text =
        serve(&(fake){0}, "{\n\n7\n{\"jsonrpc\":\"2.0\",\"id\":8,\"method\":\"load\",\"params\":3}\n" HELLO, NULL);
    assert_non_null(strstr(text, "-32700"));
    assert_non_null(strstr(text, "\"id\":null"));
    assert_non_null(strstr(text, "-32602"));
    assert_non_null(strstr(text, "\"id\":8"));
    assert_non_null(strstr(text, HELLO_ANSWER));
    free(text);
}

static void prompts_are_those_of_splitmix64(void **state) {
    (void)state;
    int32_t ids[4];
    kvat_prompt_tokens(ids, 4, 0, 0, INT32_MAX);
    /* SplitMix64 from 0: e220a8397b1dcdaf 6e789e6aa1b965f4 06c45d188009454f f88bb8a8724c81ec */
    static const uint64_t next[] = {UINT64_C(0xe220a8397b1dcdaf), UINT64_C(0x6e789e6aa1b965f4),
                                    UINT64_C(0x06c45d188009454f), UINT64_C(0xf88bb8a8724c81ec)};
    for (size_t i = 0; i < 4; i++) assert_int_equal(ids[i], next[i] % INT32_MAX);
    kvat_prompt_tokens(ids, 4, 0, 100, 110);
    for (size_t i = 0; i < 4; i++) assert_int_equal(ids[i], 100 + next[i] % 10);
    kvat_prompt_tokens(ids, 4, 0, 5, 5);
    for (size_t i = 0; i < 4; i++) assert_int_equal(ids[i], 5);
}

/* The caller's pipe, and what an operation finds of it among the worker's own descriptors. */
typedef struct lookout {
    struct stat pipe;
    int held, inheritable;
} lookout;

static int look_at_descriptors(json_t **result, void *worker, kvat_serve *serve, const json_t *params,
                               kvat_fault *fault) {
    lookout *l = worker;
    (void)serve, (void)params, (void)fault;
    for (int fd = 0; fd < 64; fd++) {
        struct stat info;
        if (fstat(fd, &info) != 0 || info.st_dev != l->pipe.st_dev || info.st_ino != l->pipe.st_ino) continue;
        l->held++;
        l->inheritable += !(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    }
    *result = json_object();
    return 0;
}

/* kvat_serve_run() on these descriptors as standard input and output, which come back afterwards. */
static int run_on(const kvat_serve_ops *with, void *worker, int in_fd, int out_fd) {
    const int input = dup(STDIN_FILENO), output = dup(STDOUT_FILENO);
    fflush(stdout);
    assert_true(dup2(in_fd, STDIN_FILENO) >= 0 && dup2(out_fd, STDOUT_FILENO) >= 0);
    close(in_fd);
    close(out_fd);
    const int code = kvat_serve_run(with, worker);
    dup2(output, STDOUT_FILENO);
    dup2(input, STDIN_FILENO);
    close(input);
    close(output);
    return code;
}

static void what_the_engine_starts_does_not_hold_the_conversation(void **state) {
    (void)state;
    static const kvat_serve_ops looking = {.initialize = look_at_descriptors};
    const char input[] = HELLO BYE;
    int in[2], out[2];
    lookout l = {0};
    assert_true(pipe(in) == 0 && pipe(out) == 0);
    assert_int_equal(fcntl(out[0], F_SETFD, FD_CLOEXEC), 0); /* the reader is ours, not the worker's */
    assert_int_equal(write(in[1], input, strlen(input)), strlen(input));
    close(in[1]);
    assert_int_equal(fstat(out[1], &l.pipe), 0);
    assert_int_equal(run_on(&looking, &l, in[0], out[1]), 0);
    close(out[0]);
    assert_int_equal(l.held, 2); /* the reader's end and the worker's own */
    assert_int_equal(l.inheritable, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_carry_clock_and_version),
        cmocka_unit_test(nothing_is_read_after_shutdown),
        cmocka_unit_test(calls_out_of_order_are_refused),
        cmocka_unit_test(what_was_released_must_be_made_again),
        cmocka_unit_test(unknown_and_missing_methods_are_named),
        cmocka_unit_test(faults_become_errors_with_their_data),
        cmocka_unit_test(a_result_that_is_no_object_is_an_internal_error),
        cmocka_unit_test(text_ids_are_given_back),
        cmocka_unit_test(a_protocol_range_without_ours_is_refused),
        cmocka_unit_test(a_cancel_is_noticed_while_running),
        cmocka_unit_test(a_cancel_that_came_with_the_request_counts),
        cmocka_unit_test(the_end_of_input_cancels_what_is_running),
        cmocka_unit_test(progress_goes_out_before_the_answer),
        cmocka_unit_test(bad_lines_are_answered_and_survived),
        cmocka_unit_test(what_the_engine_starts_does_not_hold_the_conversation),
        cmocka_unit_test(prompts_are_those_of_splitmix64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
