/* A worker's process under kvat-spawn: its three streams and the supervisor's reports, on a libuv loop of its own. */
/* Must not know: JSON-RPC. */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "command.h"
#include "kvat/units.h"

#define START_LIMIT_NS (30 * KVAT_NS_PER_S)
#define END_LIMIT_NS   (10 * KVAT_NS_PER_S)
#define READS_A_TURN   16 /* so that a flood on one stream cannot starve the others */

/* ---- streams ---- */

static void stream_close(kvat__stream *stream) {
    if (stream->fd < 0) return;
    if (stream->opened) uv_poll_stop(&stream->poll);
    close(stream->fd);
    stream->fd = -1;
}

static void stream_watch(kvat__stream *stream, int events, uv_poll_cb on_event) {
    stream->events = events;
    if (stream->fd < 0 || !stream->opened) return;
    if (events) {
        uv_poll_start(&stream->poll, events, on_event);
    } else {
        uv_poll_stop(&stream->poll);
    }
}

/* Reads up to READS_A_TURN chunks into `take`; false at the end of the stream or when `take` wants no more. */
static bool stream_drain(kvat__process *p, kvat__stream *stream, bool (*take)(kvat__process *p, size_t n)) {
    for (int i = 0; i < READS_A_TURN; i++) {
        const ssize_t n = read(stream->fd, p->chunk, KVAT__READ_CHUNK);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno == EAGAIN;
        if (n == 0 || !take(p, (size_t)n)) return false;
        if ((size_t)n < KVAT__READ_CHUNK / 2) return true;
    }
    return true;
}

static bool take_output(kvat__process *p, size_t n) {
    p->out_status = kvat__lines_put(&p->lines, p->chunk, n, NULL);
    return p->out_status == KVAT_OK;
}

static bool take_log(kvat__process *p, size_t n) {
    kvat__tail_put(p->tail, p->chunk, n);
    return true;
}

/* One line of kvat-spawn's reports. */
static void read_report(kvat__process *p, const char *line) {
    int number = 0, used = 0;
    if (sscanf(line, "failed %d", &number) == 1) {
        p->failed_errno = number;
    } else if (sscanf(line, "started %d %n", &number, &used) == 1) {
        p->started = true;
        p->pid = number;
        snprintf(p->limit_source, sizeof p->limit_source, "%s", line + used);
    } else if (sscanf(line, "exit %d", &number) == 1 || sscanf(line, "signal %d", &number) == 1) {
        p->end = line[0] == 'e' ? KVAT__END_EXIT : KVAT__END_SIGNAL;
        p->end_code = number;
        p->end_oom = strstr(line, " oom") != NULL;
    }
}

static bool take_control(kvat__process *p, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (p->chunk[i] == '\n') {
            p->control_text[p->control_length] = '\0';
            read_report(p, p->control_text);
            p->control_length = 0;
        } else if (p->control_length < sizeof p->control_text - 1) {
            p->control_text[p->control_length++] = p->chunk[i];
        }
    }
    return true;
}

static void on_output(uv_poll_t *poll, int status, int events) {
    kvat__process *p = poll->data;
    (void)events;
    if (status == 0 && stream_drain(p, &p->out, take_output)) return;
    p->out_ended = true;
    stream_close(&p->out);
}

static void on_log(uv_poll_t *poll, int status, int events) {
    kvat__process *p = poll->data;
    (void)events;
    if (status != 0 || !stream_drain(p, &p->log, take_log)) stream_close(&p->log);
}

static void on_control(uv_poll_t *poll, int status, int events) {
    kvat__process *p = poll->data;
    (void)events;
    if (status != 0 || !stream_drain(p, &p->control, take_control)) stream_close(&p->control);
}

/* Writes what the socket takes; false when there is nobody to read it any more. */
static bool push_input(kvat__process *p) {
    while (p->pending.length) {
        const ssize_t n = send(p->in.fd, p->pending.bytes, p->pending.length, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno == EAGAIN;
        kvat_buf_consume(&p->pending, (size_t)n);
    }
    return true;
}

static void on_input(uv_poll_t *poll, int status, int events) {
    kvat__process *p = poll->data;
    (void)events;
    if (status != 0 || !push_input(p)) {
        stream_close(&p->in);
    } else if (p->pending.length == 0) {
        stream_watch(&p->in, 0, on_input);
    }
}

static void on_supervisor_exit(uv_process_t *handle, int64_t code, int signal) {
    kvat__process *p = handle->data;
    (void)code;
    (void)signal;
    p->supervisor_gone = true;
}

static void on_timer(uv_timer_t *timer) {
    (void)timer;
}

/* ---- starting ---- */

typedef struct ends {
    int ours, theirs;
} ends;

/* A pair of connected descriptors, ours without blocking: a socket when `two_way`, else a pipe towards us. */
static int make_ends(ends *e, bool two_way) {
    int pair[2];
    const int made = two_way ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) : pipe2(pair, O_CLOEXEC);
    if (made != 0) return errno;
    *e = (ends){.ours = pair[0], .theirs = pair[1]};
    return fcntl(e->ours, F_SETFL, O_NONBLOCK) == 0 ? 0 : errno;
}

static int stream_open(kvat__process *p, kvat__stream *stream, int fd, int events, uv_poll_cb on_event) {
    stream->fd = fd;
    const int code = uv_poll_init(&p->loop, &stream->poll, fd);
    if (code != 0) return code;
    stream->opened = true;
    stream->poll.data = p;
    stream_watch(stream, events, on_event);
    return 0;
}

static int open_loop(kvat__process *p) {
    int code = uv_loop_init(&p->loop);
    if (code != 0) return code;
    p->loop_open = true;
    code = uv_timer_init(&p->loop, &p->timer);
    p->timer_open = code == 0;
    return code;
}

/* Index in the child: 0 to 2 the standard descriptors, 3 the supervisor's reports. */
#define N_ENDS 4

static int spawn(kvat__process *p, const kvat__command *command, ends e[N_ENDS]) {
    uv_stdio_container_t stdio[N_ENDS];
    for (int i = 0; i < N_ENDS; i++) stdio[i] = (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = e[i].theirs};
    uv_process_options_t options = {
        .exit_cb = on_supervisor_exit,
        .file = command->argv[0],
        .args = command->argv,
        .env = command->env,
        .flags = UV_PROCESS_DETACHED, /* a session of its own: the terminal's Ctrl-C is the coordinator's business */
        .stdio_count = N_ENDS,
        .stdio = stdio,
    };
    p->handle.data = p;
    const int code = uv_spawn(&p->loop, &p->handle, &options);
    p->handle_open = true; /* the handle joined the loop even when the spawn failed */
    p->supervisor_gone = code != 0;
    return code;
}

static int open_streams(kvat__process *p, ends e[N_ENDS]) {
    kvat__stream *streams[N_ENDS] = {&p->in, &p->out, &p->log, &p->control};
    const uv_poll_cb callbacks[N_ENDS] = {on_input, on_output, on_log, on_control};
    int code = 0;
    for (int i = 0; i < N_ENDS && code == 0; i++) {
        code = stream_open(p, streams[i], e[i].ours, i == 0 ? 0 : UV_READABLE, callbacks[i]);
        e[i].ours = -1; /* the stream's now, to be closed with it */
    }
    return code;
}

static void close_ends(ends e[N_ENDS]) {
    for (int i = 0; i < N_ENDS; i++) {
        if (e[i].ours >= 0) close(e[i].ours);
        if (e[i].theirs >= 0) close(e[i].theirs);
        e[i] = (ends){-1, -1};
    }
}

static kvat_status spawn_supervisor(kvat__process *p, const kvat__command *command, kvat_error *err) {
    ends e[N_ENDS] = {{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}};
    int errnum = 0;
    for (int i = 0; i < N_ENDS && errnum == 0; i++) errnum = make_ends(&e[i], i == 0 || i == 3);
    int code = errnum ? -errnum : open_loop(p);
    if (code == 0) code = spawn(p, command, e);
    if (code == 0) code = open_streams(p, e);
    close_ends(e);
    if (code == 0) return KVAT_OK;
    if (code == UV_ENOMEM) return kvat_fail(err, KVAT_ERR_NOMEM, "no memory to start a worker");
    return kvat_fail(err, KVAT_ERR_ENGINE, "cannot start %s: %s", command->argv[0], uv_strerror(code));
}

static kvat_status await_start(kvat__process *p, const char *program, kvat_error *err) {
    const int64_t deadline = kvat_now_ns() + START_LIMIT_NS;
    while (!p->started && !p->failed_errno && !p->supervisor_gone && kvat_now_ns() < deadline)
        kvat__process_wait(p, deadline - kvat_now_ns());
    while (p->supervisor_gone && p->control.fd >= 0) kvat__process_wait(p, KVAT_NS_PER_S); /* its last words */
    if (p->started) return KVAT_OK;
    if (p->failed_errno) return kvat_fail_errno(err, KVAT_ERR_ENGINE, p->failed_errno, "cannot start %s", program);
    return kvat_fail(err, KVAT_ERR_ENGINE, "cannot start %s: the supervisor %s", program,
                     p->supervisor_gone ? "ended" : "does not answer");
}

kvat_status kvat__process_start(kvat__process *p, const kvat_worker_options *options, kvat_error *err) {
    *p = (kvat__process){.in.fd = -1, .out.fd = -1, .log.fd = -1, .control.fd = -1};
    kvat__lines_init(&p->lines, options->max_line_bytes);
    p->tail = calloc(1, sizeof *p->tail);
    p->chunk = malloc(KVAT__READ_CHUNK);
    if (!p->tail || !p->chunk) return kvat_fail(err, KVAT_ERR_NOMEM, "no memory to start a worker");

    kvat__command command = {0};
    kvat_status status = kvat__command_make(&command, options, err);
    if (status == KVAT_OK) status = spawn_supervisor(p, &command, err);
    if (status == KVAT_OK) status = await_start(p, command.program, err);
    kvat__command_clear(&command);
    return status;
}

/* ---- living ---- */

kvat_status kvat__process_send(kvat__process *p, const char *bytes, size_t n, kvat_error *err) {
    if (p->in.fd < 0) return KVAT_OK; /* it closed its input: its end will explain itself */
    kvat_buf_put(&p->pending, bytes, n);
    const kvat_status status = kvat_buf_status(&p->pending, err);
    if (status != KVAT_OK) return status;
    if (!push_input(p)) {
        stream_close(&p->in);
    } else if (p->pending.length) {
        stream_watch(&p->in, UV_WRITABLE, on_input);
    }
    return KVAT_OK;
}

void kvat__process_wait(kvat__process *p, int64_t wait_ns) {
    const uint64_t ms = wait_ns <= 0 ? 1 : (uint64_t)((wait_ns + KVAT_NS_PER_MS - 1) / KVAT_NS_PER_MS);
    uv_update_time(&p->loop);
    uv_timer_start(&p->timer, on_timer, ms,
                   ms); /* repeating: one that fired before the poll would leave it without end */
    uv_run(&p->loop, UV_RUN_ONCE);
    uv_timer_stop(&p->timer);
    if (!p->supervisor_gone || p->end != KVAT__END_NONE || p->control.fd >= 0) return;
    p->end = KVAT__END_UNKNOWN; /* the supervisor itself was killed: its worker dies with it, but not what that left
                                   behind */
    if (p->pid > 0) kill(-p->pid, SIGKILL);
}

bool kvat__process_over(const kvat__process *p) {
    return p->supervisor_gone && p->out.fd < 0 && p->log.fd < 0 && p->control.fd < 0;
}

/** One that was stopped goes on: it could not do what it is told. */
static void tell_supervisor(kvat__process *p, char word) {
    const bool told = p->control.fd >= 0 && send(p->control.fd, &word, 1, MSG_NOSIGNAL) == 1;
    if (!p->handle_open || p->supervisor_gone) return;
    if (!told) uv_process_kill(&p->handle, SIGTERM);
    uv_process_kill(&p->handle, SIGCONT);
}

void kvat__process_term(kvat__process *p) {
    tell_supervisor(p, 'T');
}

void kvat__process_kill(kvat__process *p) {
    if (p->kill_sent) return;
    p->kill_sent = true;
    tell_supervisor(p, 'K');
}

void kvat__process_close_input(kvat__process *p) {
    stream_close(&p->in);
}

/* ---- ending ---- */

static void close_stream_handle(kvat__stream *stream) {
    stream_close(stream);
    if (stream->opened) uv_close((uv_handle_t *)&stream->poll, NULL);
    stream->opened = false;
}

/* The supervisor goes when the whole tree is gone; one stuck in the kernel is left to it. */
static void await_supervisor(kvat__process *p) {
    const int64_t deadline = kvat_now_ns() + END_LIMIT_NS;
    if (!p->handle_open || p->supervisor_gone) return;
    kvat__process_kill(p);
    while (!p->supervisor_gone && kvat_now_ns() < deadline) kvat__process_wait(p, deadline - kvat_now_ns());
}

void kvat__process_clear(kvat__process *p) {
    await_supervisor(p);
    close_stream_handle(&p->in);
    close_stream_handle(&p->out);
    close_stream_handle(&p->log);
    close_stream_handle(&p->control);
    if (p->timer_open) uv_close((uv_handle_t *)&p->timer, NULL);
    if (p->handle_open) uv_close((uv_handle_t *)&p->handle, NULL);
    if (p->loop_open) {
        uv_run(&p->loop, UV_RUN_DEFAULT);
        uv_loop_close(&p->loop);
    }
    kvat__lines_clear(&p->lines);
    kvat_buf_clear(&p->pending);
    free(p->tail);
    free(p->chunk);
    *p = (kvat__process){.in.fd = -1, .out.fd = -1, .log.fd = -1, .control.fd = -1};
}
