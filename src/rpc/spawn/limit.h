/* A memory limit for one process and its descendants. */
/* Must not know: what runs under it. */
#ifndef KVAT_SPAWN_LIMIT_H
#define KVAT_SPAWN_LIMIT_H

#include <limits.h>
#include <stdbool.h>

typedef enum limit_kind { LIMIT_NONE, LIMIT_RLIMIT, LIMIT_CGROUP1, LIMIT_CGROUP2 } limit_kind;

typedef struct limit {
    limit_kind kind;
    long long bytes;
    char folder[PATH_MAX]; /* of the cgroup, which limit_remove() removes */
} limit;

/* Makes a cgroup with the limit where that is allowed, else settles for RLIMIT_DATA. `bytes` 0: no limit. */
void limit_make(limit *l, long long bytes, bool use_cgroup);
/* In the process to be limited. false when its cgroup would not take it. */
bool limit_enter(const limit *l);
/* RLIMIT_DATA on the calling process. */
bool limit_enter_rlimit(const limit *l);
/* Has the kernel killed somebody in it for memory? */
bool limit_killed(const limit *l);
void limit_remove(const limit *l);
/* How it is enforced, for people: "cgroup v2 memory.max" … or "". */
const char *limit_source(limit_kind kind);

#endif
