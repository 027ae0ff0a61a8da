/* What the tests of worker processes share: where programs lie, and who is still alive. */
/* Must not know: the outcomes that the tests expect. */
#ifndef KVAT_TEST_WORKER_KIT_H
#define KVAT_TEST_WORKER_KIT_H

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kvat/units.h"
#include "kvat/worker.h"

#define MISBEHAVE KVAT_TEST_BUILD "/tests/workers/kvat-misbehave"

static inline int use_built_programs(void **state) {
    (void)state;
    return setenv("KVAT_LIBEXEC_DIR", KVAT_TEST_BUILD "/libexec/kvat", 1);
}

/* Dead, or dead and not yet collected by whoever inherited it. */
static inline bool process_gone(long pid) {
    char path[64], line[256] = "";
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    FILE *file = fopen(path, "re");
    if (!file) return true;
    if (!fgets(line, sizeof line, file)) line[0] = '\0';
    fclose(file);
    const char *rest = strrchr(line, ')');
    return !rest || rest[2] == 'Z' || rest[2] == 'X';
}

/* Waits until it is gone, `limit_ns` at most. */
static inline bool process_goes(long pid, int64_t limit_ns) {
    const int64_t deadline = kvat_now_ns() + limit_ns;
    while (!process_gone(pid) && kvat_now_ns() < deadline) poll(NULL, 0, 5);
    return process_gone(pid);
}

/* The numbers behind `word` in a text. */
static inline size_t numbers_after(long *out, size_t max, const char *text, const char *word) {
    size_t n = 0;
    for (const char *at = text; n < max && (at = strstr(at, word)); at += strlen(word))
        out[n++] = atol(at + strlen(word));
    return n;
}

#endif
