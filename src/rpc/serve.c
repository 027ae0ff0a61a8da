/* The worker's side of the protocol: reads requests, calls the table of operations, writes answers. */
/* Must not know: any engine. */
#include "serve.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lines.h"
#include "message.h"

#define PROTOCOL_VERSION 1

/* How far the conversation has come: each method needs one of these. */
typedef enum stage { STAGE_NEW, STAGE_INITIALIZED, STAGE_LOADED, STAGE_PREPARED } stage;

struct kvat_serve {
    const kvat_serve_ops *ops;
    void *worker;
    int in_fd, out_fd;
    kvat__lines lines;
    char *chunk; /* KVAT__READ_CHUNK bytes */
    stage reached;
    json_t *current_id; /* borrowed from the request being handled */
    size_t peeked;      /* bytes of the queue, from its start, already searched for $/cancel */
    bool cancelled, ended, broken, done;
};

/* ---- bytes ---- */

/* Reads what is there into the queue. */
static void read_some(kvat_serve *serve) {
    ssize_t n;
    do n = read(serve->in_fd, serve->chunk, KVAT__READ_CHUNK);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN) {
        struct pollfd wait = {.fd = serve->in_fd, .events = POLLIN};
        poll(&wait, 1, -1);
        return;
    }
    if (n <= 0) serve->ended = true;
    if (n < 0 || (n > 0 && kvat__lines_put(&serve->lines, serve->chunk, (size_t)n, NULL) != KVAT_OK))
        serve->ended = serve->broken = true;
}

static void write_all(kvat_serve *serve, const char *bytes, size_t n) {
    while (n && !serve->broken) {
        const ssize_t written = write(serve->out_fd, bytes, n);
        if (written > 0) {
            bytes += written;
            n -= (size_t)written;
        } else if (errno == EAGAIN) {
            struct pollfd wait = {.fd = serve->out_fd, .events = POLLOUT};
            poll(&wait, 1, -1);
        } else if (errno != EINTR) {
            serve->broken = true;
        }
    }
}

/* Sends the line in `line` and frees it; false when it could not be made. */
static bool send_line(kvat_serve *serve, kvat_buf *line) {
    const bool made = kvat_buf_status(line, NULL) == KVAT_OK && line->length <= KVAT__LINE_MAX;
    if (made) write_all(serve, line->bytes, line->length);
    kvat_buf_clear(line);
    return made;
}

static void send_error(kvat_serve *serve, const json_t *id, int code, const kvat_fault *fault) {
    kvat_buf line = KVAT_BUF_INIT;
    kvat__put_error(&line, id, code, fault);
    if (!send_line(serve, &line)) serve->broken = true; /* no memory for a short line: nothing can be said any more */
}

static void send_result(kvat_serve *serve, const json_t *id, const json_t *result) {
    kvat_buf line = KVAT_BUF_INIT;
    kvat__put_result(&line, id, result);
    if (send_line(serve, &line)) return;
    kvat_fault fault = {0};
    kvat_fault_set(&fault, KVAT_FAULT_INTERNAL, NULL, "the answer could not be written: too large or no memory");
    send_error(serve, id, KVAT__RPC_INTERNAL, &fault);
}

/* ---- methods ---- */

typedef struct method {
    const char *name;
    size_t operation; /* offset in kvat_serve_ops; NO_OPERATION for what the kit answers itself */
    stage needs;
    stage before, after; /* stage while it runs (and when it fails), and once it succeeded; KEEP leaves it */
} method;

#define NO_OPERATION    SIZE_MAX
#define KEEP            ((stage)-1)
#define OPERATION(name) #name, offsetof(kvat_serve_ops, name)

static const method methods[] = {
    {OPERATION(initialize), STAGE_NEW, KEEP, STAGE_INITIALIZED},
    {OPERATION(describe), STAGE_INITIALIZED, KEEP, KEEP},
    {OPERATION(load), STAGE_INITIALIZED, STAGE_INITIALIZED, STAGE_LOADED},
    {OPERATION(prepare), STAGE_LOADED, STAGE_LOADED, STAGE_PREPARED},
    {OPERATION(run), STAGE_PREPARED, KEEP, KEEP},
    {OPERATION(resources), STAGE_INITIALIZED, KEEP, KEEP},
    {OPERATION(tokenize), STAGE_INITIALIZED, KEEP, KEEP},
    {OPERATION(release), STAGE_INITIALIZED, KEEP, KEEP},
    {OPERATION(reference), STAGE_PREPARED, KEEP, KEEP},
    {OPERATION(diverge), STAGE_PREPARED, KEEP, KEEP},
    {OPERATION(snapshot), STAGE_PREPARED, KEEP, KEEP},
    {OPERATION(restore), STAGE_PREPARED, KEEP, KEEP},
    {"shutdown", NO_OPERATION, STAGE_NEW, KEEP, KEEP},
};

static const method *method_find(const char *name) {
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (!strcmp(methods[i].name, name)) return &methods[i];
    return NULL;
}

static kvat_serve_method method_operation(const kvat_serve_ops *ops, const method *m) {
    kvat_serve_method operation = NULL;
    if (m->operation != NO_OPERATION) memcpy(&operation, (const char *)ops + m->operation, sizeof operation);
    return operation;
}

static const char *missing_step(stage needed) {
    return needed == STAGE_PREPARED ? "prepare" : needed == STAGE_LOADED ? "load" : "initialize";
}

/* Code of the refusal, with `fault` filled, or 0. */
static int refuse(const kvat_serve *serve, const method *m, const char *name, kvat_fault *fault) {
    if (!m || (m->operation != NO_OPERATION && !method_operation(serve->ops, m))) {
        kvat_fault_set(fault, KVAT_FAULT_INTERNAL, NULL, "unknown method \"%.64s\"", name);
        return KVAT__RPC_NO_METHOD;
    }
    if (m->after == STAGE_INITIALIZED && serve->reached != STAGE_NEW) {
        kvat_fault_set(fault, KVAT_FAULT_INTERNAL, NULL, "%s was called before", name);
        return KVAT__RPC_INVALID_REQUEST;
    }
    if (serve->reached < m->needs) {
        kvat_fault_set(fault, KVAT_FAULT_INTERNAL, NULL, "%s before %s", name, missing_step(m->needs));
        return KVAT__RPC_INVALID_REQUEST;
    }
    return 0;
}

/* Does the client's range hold our version? A missing range means version 1. */
static bool version_fits(const json_t *params) {
    const json_t *range = json_object_get(params, "protocol");
    const json_t *low = json_object_get(range, "min"), *high = json_object_get(range, "max");
    return (!low || json_integer_value(low) <= PROTOCOL_VERSION) &&
           (!high || json_integer_value(high) >= PROTOCOL_VERSION);
}

static int64_t now_ns(const kvat_serve *serve) {
    if (serve->ops->now_ns) return serve->ops->now_ns(serve->worker);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* What `release` let go of. */
static stage stage_after_release(stage reached, const json_t *params) {
    const char *what = json_string_value(json_object_get(params, "what"));
    const stage left = what && !strcmp(what, "model") ? STAGE_INITIALIZED : STAGE_LOADED;
    return reached < left ? reached : left;
}

static void stage_advance(kvat_serve *serve, const method *m, const json_t *params) {
    if (m->after != KEEP) serve->reached = m->after;
    if (!strcmp(m->name, "release")) serve->reached = stage_after_release(serve->reached, params);
    if (m->operation == NO_OPERATION) serve->done = true;
}

/* Calls the operation: 0 and a result, or the code of an error. */
static int call(json_t **result, kvat_serve *serve, const method *m, const json_t *params, kvat_fault *fault) {
    const bool first = m->after == STAGE_INITIALIZED;
    if (first && !version_fits(params)) {
        kvat_fault_set(fault, KVAT_FAULT_UNSUPPORTED, NULL, "this worker speaks protocol %d only", PROTOCOL_VERSION);
        return KVAT__RPC_VERSION;
    }
    if (m->before != KEEP && serve->reached > m->before) serve->reached = m->before;
    const kvat_serve_method operation = method_operation(serve->ops, m);
    if (!operation) {
        *result = json_object();
    } else if (operation(result, serve->worker, serve, params, fault) != 0) {
        return fault->kind == KVAT_FAULT_CANCELLED ? KVAT__RPC_CANCELLED : KVAT__RPC_ENGINE;
    }
    if (!json_is_object(*result) ||
        (first && json_object_set_new(*result, "protocol", json_integer(PROTOCOL_VERSION))) ||
        json_object_set_new(*result, "now_ns", json_integer(now_ns(serve)))) {
        kvat_fault_set(fault, KVAT_FAULT_INTERNAL, NULL, "no memory for the answer to %s", m->name);
        return KVAT__RPC_INTERNAL;
    }
    stage_advance(serve, m, params);
    return 0;
}

static void handle_request(kvat_serve *serve, const kvat__message *message) {
    kvat_fault fault = {0};
    json_t *result = NULL, *empty = message->params ? NULL : json_object();
    const json_t *params = message->params ? message->params : empty;
    const method *m = method_find(message->method);

    serve->current_id = message->id;
    serve->cancelled = false;
    serve->peeked = 0;
    int code = refuse(serve, m, message->method, &fault);
    if (code == 0) code = call(&result, serve, m, params, &fault);
    if (code == 0) {
        send_result(serve, message->id, result);
    } else {
        send_error(serve, message->id, code, &fault);
    }
    serve->current_id = NULL;
    json_decref(result);
    json_decref(empty);
}

static void handle_line(kvat_serve *serve, const char *line, size_t n) {
    kvat__message message;
    kvat_error err = KVAT_ERROR_INIT;
    json_t *id = NULL;
    int code = 0;
    if (kvat__message_read(&message, line, n, &code, &id, &err) != KVAT_OK) {
        kvat_fault fault = {0};
        kvat_fault_set(&fault, KVAT_FAULT_INTERNAL, NULL, "%s", err.message);
        send_error(serve, id, code, &fault);
        json_decref(id);
        return;
    }
    if (message.method && message.id) handle_request(serve, &message); /* notifications and answers are for nobody */
    kvat__message_clear(&message);
}

int kvat__serve_fds(const kvat_serve_ops *ops, void *worker, int in_fd, int out_fd) {
    kvat_serve serve = {.ops = ops, .worker = worker, .in_fd = in_fd, .out_fd = out_fd};
    kvat__lines_init(&serve.lines, KVAT__LINE_MAX);
    serve.chunk = malloc(KVAT__READ_CHUNK);
    serve.broken = !serve.chunk;
    while (!serve.done && !serve.broken) {
        const char *line;
        size_t n;
        if (kvat__lines_next(&serve.lines, &line, &n)) {
            handle_line(&serve, line, n);
        } else if (serve.ended) {
            break;
        } else {
            read_some(&serve);
        }
    }
    kvat__lines_clear(&serve.lines);
    free(serve.chunk);
    return serve.broken ? 1 : 0;
}

int kvat_serve_run(const kvat_serve_ops *ops, void *worker) {
    /* Nothing the engine starts may hold on to it: the caller would wait for the end of an answer that never comes. */
    const int out_fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (out_fd < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0) return 1;
    signal(SIGPIPE, SIG_IGN); /* a caller that went away is an end of conversation, not a death by signal */
    const int code = kvat__serve_fds(ops, worker, STDIN_FILENO, out_fd);
    close(out_fd);
    return code;
}

/* ---- what operations may ask ---- */

/* Is this line a `$/cancel` of the request being handled? */
static bool cancels(const kvat_serve *serve, const char *line, size_t n) {
    kvat__message message;
    json_t *id = NULL;
    int code;
    if (kvat__message_read(&message, line, n, &code, &id, NULL) != KVAT_OK) {
        json_decref(id);
        return false;
    }
    const bool hit = message.method && !strcmp(message.method, "$/cancel") &&
                     json_equal(json_object_get(message.params, "id"), serve->current_id);
    kvat__message_clear(&message);
    return hit;
}

/* Searches what has been read and not yet been searched. */
static void search_queue(kvat_serve *serve) {
    const char *line;
    size_t n, cursor = serve->lines.start + serve->peeked;
    while (!serve->cancelled && kvat__lines_peek(&serve->lines, &cursor, &line, &n))
        serve->cancelled = cancels(serve, line, n);
    serve->peeked = cursor - serve->lines.start;
}

bool kvat_serve_cancelled(kvat_serve *serve) {
    search_queue(serve);
    struct pollfd ready = {.fd = serve->in_fd, .events = POLLIN};
    if (!serve->cancelled && !serve->ended && poll(&ready, 1, 0) > 0) {
        read_some(serve);
        search_queue(serve);
    }
    return serve->cancelled || serve->ended;
}

void kvat_serve_progress(kvat_serve *serve, const char *stage_name, int64_t done, int64_t total) {
    kvat_buf line = KVAT_BUF_INIT;
    kvat_buf_puts(&line, "{\"jsonrpc\":\"2.0\",\"method\":\"progress\",\"params\":{\"done\":");
    kvat_buf_printf(&line, "%lld,\"stage\":", (long long)done);
    kvat_escape_json(&line, stage_name);
    kvat_buf_printf(&line, ",\"total\":%lld}}\n", (long long)total);
    send_line(serve, &line); /* progress lost for want of memory is no loss */
}
