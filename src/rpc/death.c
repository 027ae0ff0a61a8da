/* Why a worker is gone, from what the supervisor, the kernel and its own last words say. */
/* Must not know: what the worker was asked. */
#include "death.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <utf8proc.h>

int64_t kvat__oom_kills(void) {
    FILE *file = fopen("/proc/vmstat", "re");
    char line[128];
    long long kills = 0;
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "oom_kill %lld", &kills) == 1) break;
    if (file) fclose(file);
    return kills;
}

/* ---- lines of the log ---- */

void kvat__one_line(char *out, size_t size, const char *text, size_t n) {
    size_t used = 0;
    for (size_t i = 0; i < n;) {
        utf8proc_int32_t point;
        const utf8proc_ssize_t width =
            utf8proc_iterate((const utf8proc_uint8_t *)text + i, (utf8proc_ssize_t)(n - i), &point);
        const size_t take = width > 0 ? (size_t)width : 1;
        if (used + take >= size) break;
        if (width <= 0) {
            out[used] = '?';
        } else if (point < 0x20 || (point >= 0x7f && point < 0xa0)) {
            out[used] = ' ';
        } else {
            memcpy(out + used, text + i, take);
        }
        used += width > 1 && point < 0xa0 ? 1 : take;
        i += take;
    }
    if (size) out[used] = '\0';
}

static bool speaks_of_failure(const char *line, size_t n) {
    static const char *const words[] = {"error",     "fail",      "abort",  "assert",
                                        "exception", "terminate", "memory", "bad_alloc"};
    for (size_t w = 0; w < sizeof words / sizeof *words; w++)
        for (size_t i = 0, m = strlen(words[w]); i + m <= n; i++)
            if (!strncasecmp(line + i, words[w], m)) return true;
    return false;
}

#define TELLING_LINES 40 /* how far back a line about a failure is still taken for the cause */

void kvat__telling_line(char *out, size_t size, const char *log) {
    const char *end = log + strlen(log), *best = NULL;
    size_t best_n = 0;
    for (int lines = 0; !best && end > log && lines < TELLING_LINES; lines++) {
        const char *start = end;
        while (start > log && start[-1] != '\n') start--;
        const size_t n = (size_t)(end - start);
        if (speaks_of_failure(start, n)) {
            best = start;
            best_n = n;
        }
        end = start > log ? start - 1 : log;
    }
    kvat__one_line(out, size, best ? best : "", best_n);
}

/* ---- the verdict ---- */

static bool log_says_memory(const char *log) {
    static const char *const words[] = {"std::bad_alloc", "out of memory", "failed to allocate",
                                        "cannot allocate memory", "MemoryError"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcasestr(log, words[i])) return true;
    return false;
}

/* What made it a death for want of memory, or NULL. */
static const char *memory_cause(const kvat__evidence *e) {
    const bool clean = !e->by_signal && e->code == 0;
    if (e->cgroup_oom) return "was killed at its memory limit";
    if (e->by_signal && e->code == SIGKILL && e->system_oom) return "was killed by the kernel for want of memory";
    if (!clean && !e->unknown && log_says_memory(e->log))
        return e->limit[0] ? "ran into its memory limit" : "could not allocate memory";
    return NULL;
}

/* What follows "the worker". */
static void describe(char *text, size_t size, const kvat__evidence *e, const char *memory) {
    const char *abbreviation = e->by_signal ? sigabbrev_np(e->code) : NULL;
    if (memory) {
        snprintf(text, size, "%s%s%s%s", memory, e->limit[0] ? " (" : "", e->limit, e->limit[0] ? ")" : "");
    } else if (e->unknown) {
        snprintf(text, size, "lost its supervisor, which was killed");
    } else if (e->by_signal) {
        snprintf(text, size, "was killed by signal %d%s%s%s", e->code, abbreviation ? " (SIG" : "",
                 abbreviation ? abbreviation : "", abbreviation ? ")" : "");
    } else {
        snprintf(text, size, "exited with code %d", e->code);
    }
}

void kvat__death_classify(kvat_death *out, const kvat__evidence *evidence) {
    char line[256], what[160];
    const char *memory = evidence->killed_by_us ? NULL : memory_cause(evidence);
    out->kind = memory                ? KVAT_DEATH_OOM
                : evidence->by_signal ? KVAT_DEATH_SIGNAL
                : evidence->unknown   ? KVAT_DEATH_SIGNAL
                                      : KVAT_DEATH_EXIT;
    out->code = evidence->unknown ? SIGKILL : evidence->code;
    describe(what, sizeof what, evidence, memory);
    kvat__telling_line(line, sizeof line, evidence->log);
    snprintf(out->detail, sizeof out->detail, "%s%s%s", what, line[0] ? ": " : "", line);
}
