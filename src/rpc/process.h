/* A worker's process under kvat-spawn: its three streams and the supervisor's reports, on a libuv loop of its own. */
/* Must not know: JSON-RPC. */
#ifndef KVAT_RPC_PROCESS_H
#define KVAT_RPC_PROCESS_H

#include <uv.h>

#include "kvat/worker.h"
#include "lines.h"
#include "tail.h"

/* How the supervisor says the worker ended. */
typedef enum kvat__end { KVAT__END_NONE, KVAT__END_EXIT, KVAT__END_SIGNAL, KVAT__END_UNKNOWN } kvat__end;

/* One descriptor of ours watched by the loop. */
typedef struct kvat__stream {
    uv_poll_t poll;
    int fd;      /* -1 once closed */
    bool opened; /* the handle was initialised */
    int events;
} kvat__stream;

typedef struct kvat__process {
    uv_loop_t loop;
    uv_process_t handle;
    uv_timer_t timer;
    kvat__stream in, out, log, control;
    bool loop_open, handle_open, timer_open;

    kvat__lines lines;      /* what it wrote and nobody has read */
    kvat_status out_status; /* KVAT_ERR_DATA: a line too long; KVAT_ERR_NOMEM */
    bool out_ended;         /* it closed its standard output, or a line was too long */
    kvat_buf pending;       /* what it has not read yet */
    kvat__tail *tail;
    char control_text[512];
    size_t control_length;
    char *chunk;

    bool started, supervisor_gone;
    int failed_errno; /* exec failed */
    int pid;          /* of the worker, which leads its group; 0 before */
    char limit_source[64];
    kvat__end end;
    int end_code;
    bool end_oom; /* its cgroup ran out of memory */
    bool kill_sent;
} kvat__process;

/* Starts kvat-spawn and waits until the program runs. The process must be cleared in any case. */
kvat_status kvat__process_start(kvat__process *p, const kvat_worker_options *options, kvat_error *err);
void kvat__process_clear(kvat__process *p);

/* Queues bytes for its standard input; they leave while kvat__process_wait() runs. */
kvat_status kvat__process_send(kvat__process *p, const char *bytes, size_t n, kvat_error *err);
/* Waits for something to happen, at most `wait_ns`. */
void kvat__process_wait(kvat__process *p, int64_t wait_ns);
/* Nothing more will come from it: reported dead, streams read to their ends. */
bool kvat__process_over(const kvat__process *p);
/* TERM, or KILL, to the worker and all its descendants. */
void kvat__process_term(kvat__process *p);
void kvat__process_kill(kvat__process *p);
void kvat__process_close_input(kvat__process *p);

#endif
