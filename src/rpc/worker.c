/* A worker seen from the coordinator: one request at a time, each with a deadline and a typed outcome. */
/* Must not know: any engine, or what the methods mean (but for the version that `initialize` answers). */
#include "kvat/worker.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "death.h"
#include "kvat/units.h"
#include "message.h"
#include "process.h"

#define PROTOCOL_VERSION 1
#define TERM_GRACE_NS    (10 * KVAT_NS_PER_S)
#define CANCEL_WAIT_NS   (2 * KVAT_NS_PER_S)
#define LAST_WORDS_NS    (2 * KVAT_NS_PER_S)
#define POLL_NS          (100 * KVAT_NS_PER_MS)

struct kvat_worker {
    kvat__process process;
    const kvat_cancel *cancel;
    void (*on_progress)(void *user, const char *stage, int64_t done, int64_t total);
    void (*on_log)(void *user, const char *level, const char *text);
    void *user;
    int64_t term_grace_ns;
    bool remote; /* behind a launch prefix: the process we see need not be the worker */
    bool gone;
    int64_t last_id;
    int64_t oom_kills;  /* of the system when it was started */
    uint64_t log_since; /* where its log stood when the current call began */
    kvat_death death;   /* once gone */
};

static int cancel_level(const kvat_worker *worker) {
    return worker->cancel ? worker->cancel->level : 0;
}

/* ---- ending ---- */

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Waits until the process is over; gives up at the deadline or, when `hurry`, on the second interrupt. */
static bool await_over(kvat_worker *worker, int64_t wait_ns, bool hurry) {
    const int64_t deadline = kvat_now_ns() + wait_ns;
    while (!kvat__process_over(&worker->process)) {
        const int64_t left = deadline - kvat_now_ns();
        if (left <= 0 || (hurry && cancel_level(worker) >= 2)) return false;
        kvat__process_wait(&worker->process, least(left, POLL_NS));
    }
    return true;
}

static void note_death(kvat_worker *worker, bool killed_by_us) {
    kvat__process *p = &worker->process;
    const kvat__evidence evidence = {
        .by_signal = p->end == KVAT__END_SIGNAL,
        .unknown = p->end == KVAT__END_UNKNOWN || p->end == KVAT__END_NONE,
        .code = p->end_code,
        .killed_by_us = killed_by_us,
        .cgroup_oom = p->end_oom,
        .system_oom = kvat__oom_kills() > worker->oom_kills,
        .limit = p->limit_source,
        .log = kvat__tail_text(p->tail, worker->log_since),
    };
    kvat__death_classify(&worker->death, &evidence);
    worker->gone = true;
}

/* It ended by itself: its last words are waited for, and whatever it left behind is taken away by the supervisor. */
static void collect(kvat_worker *worker) {
    if (worker->gone) return;
    if (!await_over(worker, LAST_WORDS_NS, false)) {
        kvat__process_kill(&worker->process);
        await_over(worker, LAST_WORDS_NS, false);
    }
    note_death(worker, false);
}

/* TERM, grace, KILL. */
static void end(kvat_worker *worker, int64_t grace_ns) {
    if (worker->gone) return;
    if (grace_ns > 0) {
        kvat__process_term(&worker->process);
        await_over(worker, grace_ns, true);
    }
    if (!kvat__process_over(&worker->process)) {
        kvat__process_kill(&worker->process);
        await_over(worker, TERM_GRACE_NS, false);
    }
    note_death(worker, true);
}

/* ---- one call ---- */

typedef enum reply { ANSWER_NONE, ANSWER_HERE, ANSWER_BROKEN, ANSWER_NOMEM } reply;

static void set_detail(kvat_call *call, const char *text) {
    kvat__one_line(call->detail, sizeof call->detail, text, strlen(text));
}

static void notify(const kvat_worker *worker, const kvat__message *m) {
    if (!strcmp(m->method, "progress") && worker->on_progress) {
        const char *stage = json_string_value(json_object_get(m->params, "stage"));
        worker->on_progress(worker->user, stage ? stage : "", json_integer_value(json_object_get(m->params, "done")),
                            json_integer_value(json_object_get(m->params, "total")));
    } else if (!strcmp(m->method, "log") && worker->on_log) {
        const char *level = json_string_value(json_object_get(m->params, "level"));
        const char *text = json_string_value(json_object_get(m->params, "text"));
        worker->on_log(worker->user, level ? level : "info", text ? text : "");
    }
}

/* Takes an answer into `call`; false with a detail when it is none to this request. */
static bool take_answer(kvat_call *call, const kvat__message *m, int64_t id, bool first) {
    if (!json_is_integer(m->id) || json_integer_value(m->id) != id) {
        const json_t *told = m->error ? json_object_get(m->error, "message") : NULL;
        const char *text = json_string_value(told);
        char line[512];
        snprintf(line, sizeof line, "the worker answered an unknown request%s%s", text ? ": " : "", text ? text : "");
        set_detail(call, line);
        return false;
    }
    if (m->error) {
        kvat__error_read(&call->code, &call->fault, m->error);
        call->outcome = KVAT_CALL_FAULT;
        set_detail(call, call->fault.detail[0] ? call->fault.detail : "the worker gave no reason");
        return true;
    }
    if (!json_is_object(m->result)) {
        set_detail(call, "the result is not an object");
        return false;
    }
    const json_t *version = json_object_get(m->result, "protocol");
    if (first && (!json_is_integer(version) || json_integer_value(version) != PROTOCOL_VERSION)) {
        set_detail(call, "the worker chose a protocol version that was not offered");
        return false;
    }
    call->outcome = KVAT_CALL_OK;
    call->result = json_incref(m->result);
    return true;
}

/* What one line of the worker means. */
static reply take_line(kvat_call *call, const kvat_worker *worker, const char *line, size_t n, bool first) {
    kvat__message m;
    kvat_error err = KVAT_ERROR_INIT;
    json_t *id = NULL;
    int code;
    const kvat_status status = kvat__message_read(&m, line, n, &code, &id, &err);
    json_decref(id);
    if (status == KVAT_ERR_NOMEM) return ANSWER_NOMEM;
    if (status != KVAT_OK) {
        set_detail(call, err.message);
        return ANSWER_BROKEN;
    }
    reply answer = ANSWER_NONE;
    if (m.method && m.id) {
        set_detail(call, "the worker sent a request");
        answer = ANSWER_BROKEN;
    } else if (m.method) {
        notify(worker, &m);
    } else {
        answer = take_answer(call, &m, worker->last_id, first) ? ANSWER_HERE : ANSWER_BROKEN;
    }
    kvat__message_clear(&m);
    return answer;
}

static reply take_lines(kvat_call *call, kvat_worker *worker, bool first) {
    const char *line;
    size_t n;
    reply answer = ANSWER_NONE;
    while (answer == ANSWER_NONE && kvat__lines_next(&worker->process.lines, &line, &n))
        answer = take_line(call, worker, line, n, first);
    if (answer != ANSWER_NONE) return answer;
    if (worker->process.out_status == KVAT_ERR_NOMEM) return ANSWER_NOMEM;
    if (worker->process.out_status == KVAT_OK) return ANSWER_NONE;
    set_detail(call, "the worker wrote a line that is too long");
    return ANSWER_BROKEN;
}

static kvat_status send_request(kvat_worker *worker, const char *method, const json_t *params, kvat_error *err) {
    kvat_buf line = KVAT_BUF_INIT;
    kvat__put_request(&line, worker->last_id, method, params);
    kvat_status status = kvat_buf_status(&line, err);
    if (status == KVAT_OK) status = kvat__process_send(&worker->process, line.bytes, line.length, err);
    kvat_buf_clear(&line);
    return status;
}

/* Best effort: without memory for it, TERM follows all the same. */
static void send_cancel(kvat_worker *worker) {
    kvat_buf line = KVAT_BUF_INIT;
    kvat_buf_printf(&line, "{\"jsonrpc\":\"2.0\",\"method\":\"$/cancel\",\"params\":{\"id\":%lld}}\n",
                    (long long)worker->last_id);
    if (kvat_buf_status(&line, NULL) == KVAT_OK) kvat__process_send(&worker->process, line.bytes, line.length, NULL);
    kvat_buf_clear(&line);
}

/* Interrupted by the user: the worker may finish its sentence, then it is ended. */
static kvat_status interrupt(kvat_worker *worker, kvat_error *err) {
    kvat_call dropped = {0};
    const int64_t deadline = kvat_now_ns() + CANCEL_WAIT_NS;
    if (cancel_level(worker) < 2) send_cancel(worker);
    while (cancel_level(worker) < 2 && kvat_now_ns() < deadline && !worker->process.supervisor_gone &&
           take_lines(&dropped, worker, false) == ANSWER_NONE)
        kvat__process_wait(&worker->process, POLL_NS);
    kvat_call_clear(&dropped);
    end(worker, cancel_level(worker) < 2 ? worker->term_grace_ns : 0);
    return kvat_fail(err, KVAT_ERR_INTERRUPTED, "interrupted");
}

static void answer_died(kvat_call *call, const kvat_worker *worker, bool in_a_line) {
    call->outcome = KVAT_CALL_DIED;
    call->death = worker->death;
    char line[sizeof call->detail];
    snprintf(line, sizeof line, "%sthe worker %.400s", in_a_line ? "in the middle of an answer " : "",
             worker->death.detail);
    set_detail(call, line);
}

static void answer_timeout(kvat_call *call, kvat_worker *worker, const char *method, int64_t deadline_ns) {
    send_cancel(worker);
    end(worker, worker->term_grace_ns);
    call->outcome = KVAT_CALL_TIMEOUT;
    kvat_buf text = KVAT_BUF_INIT;
    kvat_buf_printf(&text, "no answer to %s within ", method);
    kvat_put_duration(&text, deadline_ns);
    set_detail(call, text.bytes ? text.bytes : "no answer in time");
    kvat_buf_clear(&text);
}

/* It ended, or closed its output: what it still said counts. */
static void answer_end(kvat_call *call, kvat_worker *worker, bool first) {
    const bool closed = worker->process.end == KVAT__END_NONE && !worker->process.supervisor_gone;
    if (closed) await_over(worker, LAST_WORDS_NS / 4, false);
    const bool alive = !worker->process.supervisor_gone && worker->process.end == KVAT__END_NONE;
    if (alive) {
        end(worker, worker->term_grace_ns);
        call->outcome = KVAT_CALL_PROTOCOL;
        set_detail(call, "the worker closed its standard output");
        return;
    }
    collect(worker);
    if (take_lines(call, worker, first) == ANSWER_HERE) return;
    answer_died(call, worker, worker->process.lines.partial > 0);
}

/* Waits for the answer: KVAT_OK with the outcome in `call`, or this side's failure. */
static kvat_status await_answer(kvat_call *call, kvat_worker *worker, const char *method, int64_t deadline_ns,
                                kvat_error *err) {
    const int64_t deadline = kvat_now_ns() + least(deadline_ns, INT64_MAX / 2);
    const bool first = !strcmp(method, "initialize");
    kvat__process *p = &worker->process;
    for (;;) {
        const reply answer = take_lines(call, worker, first);
        if (answer == ANSWER_HERE) return KVAT_OK;
        if (answer == ANSWER_NOMEM) {
            end(worker, 0);
            return kvat_fail(err, KVAT_ERR_NOMEM, "no memory for the answer to %s", method);
        }
        if (answer == ANSWER_BROKEN) {
            end(worker, 0);
            call->outcome = KVAT_CALL_PROTOCOL;
            return KVAT_OK;
        }
        if (p->out_ended || p->end != KVAT__END_NONE || p->supervisor_gone) {
            answer_end(call, worker, first);
            return KVAT_OK;
        }
        if (cancel_level(worker) > 0) return interrupt(worker, err);
        const int64_t left = deadline - kvat_now_ns();
        if (left <= 0) {
            answer_timeout(call, worker, method, deadline_ns);
            return KVAT_OK;
        }
        kvat__process_wait(p, least(left, POLL_NS));
    }
}

kvat_status kvat_worker_call(kvat_call *out, kvat_worker *worker, const char *method, json_t *params,
                             int64_t deadline_ns, kvat_error *err) {
    kvat_call call = {0};
    if (worker->gone) {
        answer_died(&call, worker, false);
        json_decref(params);
        *out = call;
        return KVAT_OK;
    }
    const int64_t start = kvat_now_ns();
    worker->last_id++;
    worker->log_since = worker->process.tail->total;
    kvat_status status = send_request(worker, method, params, err);
    json_decref(params);
    if (status == KVAT_OK) status = await_answer(&call, worker, method, deadline_ns, err);
    if (status == KVAT_OK) {
        call.round_trip_ns = kvat_now_ns() - start;
        *out = call;
    } else {
        kvat_call_clear(&call);
        end(worker, 0); /* half a request may have gone out: nothing more can be said to it */
    }
    return status;
}

void kvat_call_clear(kvat_call *call) {
    json_decref(call->result);
    *call = (kvat_call){0};
}

/* ---- a worker's life ---- */

kvat_status kvat_worker_spawn(kvat_worker **out, const kvat_worker_options *options, kvat_error *err) {
    kvat_worker *worker = calloc(1, sizeof *worker);
    if (!worker) return kvat_fail(err, KVAT_ERR_NOMEM, "no memory to start a worker");
    worker->cancel = options->cancel;
    worker->on_progress = options->on_progress;
    worker->on_log = options->on_log;
    worker->user = options->user;
    worker->term_grace_ns = options->term_grace_ns > 0 ? options->term_grace_ns : TERM_GRACE_NS;
    worker->remote = options->launch && options->launch[0];
    worker->oom_kills = kvat__oom_kills();
    const kvat_status status = kvat__process_start(&worker->process, options, err);
    if (status == KVAT_OK) {
        *out = worker;
    } else {
        kvat__process_clear(&worker->process);
        free(worker);
    }
    return status;
}

bool kvat_worker_alive(const kvat_worker *worker) {
    return !worker->gone;
}

int kvat_worker_pid(const kvat_worker *worker) {
    return worker->gone || worker->remote ? 0 : worker->process.pid;
}

const char *kvat_worker_limit_source(const kvat_worker *worker) {
    return worker->process.limit_source;
}

const char *kvat_worker_log_tail(const kvat_worker *worker) {
    return kvat__tail_text(worker->process.tail, 0);
}

void kvat_worker_kill(kvat_worker *worker) {
    if (!worker) return;
    end(worker, 0);
    kvat__process_clear(&worker->process);
    free(worker);
}

/* Asked to go, it has two seconds to answer and leave. */
static void shut_down(kvat_worker *worker) {
    kvat_call call = {0};
    worker->last_id++;
    if (send_request(worker, "shutdown", NULL, NULL) != KVAT_OK) return;
    const int64_t deadline = kvat_now_ns() + CANCEL_WAIT_NS;
    reply answer = ANSWER_NONE;
    while (answer == ANSWER_NONE && kvat_now_ns() < deadline && !kvat__process_over(&worker->process) &&
           cancel_level(worker) < 2) {
        kvat__process_wait(&worker->process, POLL_NS);
        answer = take_lines(&call, worker, false);
    }
    kvat_call_clear(&call);
    kvat__process_close_input(&worker->process);
    await_over(worker, deadline - kvat_now_ns(), true);
}

void kvat_worker_free(kvat_worker *worker) {
    if (!worker) return;
    if (!worker->gone) shut_down(worker);
    if (!worker->gone) end(worker, kvat__process_over(&worker->process) ? 0 : worker->term_grace_ns);
    kvat__process_clear(&worker->process);
    free(worker);
}
