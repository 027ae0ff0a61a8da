/* Why a worker is gone, from what the supervisor, the kernel and its own last words say. */
/* Must not know: what the worker was asked. */
#ifndef KVAT_RPC_DEATH_H
#define KVAT_RPC_DEATH_H

#include "kvat/worker.h"

typedef struct kvat__evidence {
    bool by_signal; /* else by exit */
    bool unknown;   /* the supervisor is gone without a report */
    int code;
    bool killed_by_us;
    bool cgroup_oom;   /* its cgroup killed for memory */
    bool system_oom;   /* the kernel killed somebody for memory while it ran */
    const char *limit; /* source of its memory limit, or "" */
    const char *log;   /* standard error since the last request */
} kvat__evidence;

void kvat__death_classify(kvat_death *out, const kvat__evidence *evidence);

/* oom_kill of /proc/vmstat; 0 where there is none. */
int64_t kvat__oom_kills(void);

/* Last line of `log` that speaks of a failure: one line of
 * valid UTF-8 without control characters, cut to `size`. "" when none does: other lines may quote a prompt. */
void kvat__telling_line(char *out, size_t size, const char *log);
/* Copies text as one line of valid UTF-8 without control characters. */
void kvat__one_line(char *out, size_t size, const char *text, size_t n);

#endif
