// Limits that control groups set, versions 1 and 2, through every enclosing group.
// Must not know what the limits are used for.
#include "probe_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** Is `word` one of the comma-separated `list` (of `n` bytes)? */
static bool in_list(const char *list, size_t n, const char *word) {
    size_t length = strlen(word);
    for (const char *at = list, *end = list + n; at < end;) {
        size_t item = strcspn(at, ",");
        if (item > (size_t)(end - at)) item = (size_t)(end - at);
        if (item == length && memcmp(at, word, length) == 0) return true;
        at += item + 1;
    }
    return false;
}

/** Path of this process in a hierarchy: lines are "4:memory:/a/b"; the unified one has no controller. */
static bool group_path(char *out, size_t size, const char *text, const char *controller) {
    for (const char *line = text; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
        const char *list = strchr(line, ':');
        const char *path = list ? strchr(list + 1, ':') : NULL;
        if (!path) return false;
        size_t n = (size_t)(path - list) - 1;
        bool ours = controller ? in_list(list + 1, n, controller) : n == 0;
        if (!ours) continue;
        int written = snprintf(out, size, "%.*s", (int)strcspn(path + 1, "\n"), path + 1);
        return written >= 0 && (size_t)written < size;
    }
    return false;
}

typedef struct mount {
    char root[KVAT__GROUP_PATH], point[KVAT__GROUP_PATH], type[16], options[256];
} mount;

/** "36 35 0:30 ROOT POINT opts … - TYPE source SUPEROPTIONS" */
static bool parse_mount(mount *m, const char *line) {
    if (sscanf(line, "%*s %*s %*s %511s %511s", m->root, m->point) != 2) return false;
    const char *end = strchr(line, '\n');
    const char *dash = strstr(line, " - ");
    if (!dash || (end && dash > end)) return false;
    return sscanf(dash, " - %15s %*s %255s", m->type, m->options) == 2;
}

static bool find_mount(mount *m, const char *text, const char *controller) {
    for (const char *line = text; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
        if (!parse_mount(m, line)) continue;
        if (controller ? strcmp(m->type, "cgroup") == 0 && in_list(m->options, strlen(m->options), controller)
                       : strcmp(m->type, "cgroup2") == 0)
            return true;
    }
    return false;
}

/** A container may see a part of the hierarchy mounted: what lies above its root has no place here. */
static bool join(kvat__groups *out, const mount *m, const char *path) {
    size_t root = strcmp(m->root, "/") == 0 ? 0 : strlen(m->root);
    const char *below = path;
    if (root > 0) below = strncmp(path, m->root, root) == 0 && (path[root] == '/' || !path[root]) ? path + root : "";
    if (strstr(below, "/..") || strcmp(below, "/") == 0) below = "";
    int n = snprintf(out->path, sizeof out->path, "%s%s", m->point, below);
    out->mount_length = strlen(m->point);
    return n >= 0 && (size_t)n < sizeof out->path;
}

static bool find_in(kvat__groups *out, const char *groups, const char *mounts, const char *controller) {
    mount m;
    char path[KVAT__GROUP_PATH];
    return group_path(path, sizeof path, groups, controller) && find_mount(&m, mounts, controller) &&
           join(out, &m, path);
}

void kvat__groups_find(kvat__groups *out, const kvat__root *root, const char *controller) {
    kvat_buf groups = KVAT_BUF_INIT, mounts = KVAT_BUF_INIT;
    memset(out, 0, sizeof *out);
    if (kvat__read(&groups, root, "/proc/self/cgroup") && kvat__read(&mounts, root, "/proc/self/mountinfo")) {
        out->found = find_in(out, groups.bytes, mounts.bytes, controller);
        if (!out->found) out->found = out->unified = find_in(out, groups.bytes, mounts.bytes, NULL);
    }
    kvat_buf_clear(&groups);
    kvat_buf_clear(&mounts);
}

bool kvat__groups_climb(kvat__groups *groups) {
    char *slash = strrchr(groups->path, '/');
    if (!slash || (size_t)(slash - groups->path) < groups->mount_length) return false;
    *slash = '\0';
    return true;
}

/** "max" and v1's figure near 2^63 are no limits; a missing file is none. */
static int64_t memory_limit(const kvat__groups *g, const kvat__root *root) {
    int64_t limit = 0;
    if (!kvat__read_int(&limit, root, "%s/%s", g->path, g->unified ? "memory.max" : "memory.limit_in_bytes"))
        return INT64_MAX;
    return limit > 0 && limit < INT64_MAX / 2 ? limit : INT64_MAX;
}

/** In use and not to be had back at once: the inactive file cache is. */
static int64_t memory_used(const kvat__groups *g, const kvat__root *root) {
    int64_t used = 0, cache = -1;
    kvat_buf stat = KVAT_BUF_INIT;
    if (!kvat__read_int(&used, root, "%s/%s", g->path, g->unified ? "memory.current" : "memory.usage_in_bytes"))
        return 0;
    if (kvat__read(&stat, root, "%s/memory.stat", g->path))
        cache = kvat__number_after(stat.bytes, g->unified ? "inactive_file" : "total_inactive_file");
    kvat_buf_clear(&stat);
    return cache > 0 && cache < used ? used - cache : used;
}

static void least_memory(kvat__limits *out, const kvat__groups *g, const kvat__root *root) {
    int64_t limit = memory_limit(g, root);
    if (limit == INT64_MAX) return;
    int64_t used = memory_used(g, root);
    int64_t headroom = limit > used ? limit - used : 0;
    if (limit < out->memory_bytes) out->memory_bytes = limit;
    if (headroom < out->headroom_bytes) out->headroom_bytes = headroom;
}

static double quota_v1(const kvat__groups *g, const kvat__root *root) {
    int64_t quota = -1, period = 0;
    if (!kvat__read_int(&quota, root, "%s/cpu.cfs_quota_us", g->path)) return 0;
    if (!kvat__read_int(&period, root, "%s/cpu.cfs_period_us", g->path)) return 0;
    return quota > 0 && period > 0 ? (double)quota / (double)period : 0;
}

/** "150000 100000" or "max 100000" */
static double quota_v2(const kvat__groups *g, const kvat__root *root) {
    int64_t v[2]; /* quota, period */
    double cores = 0;
    kvat_buf text = KVAT_BUF_INIT;
    if (kvat__read(&text, root, "%s/cpu.max", g->path) && kvat__numbers(v, 2, text.bytes) == 2 && v[0] > 0 && v[1] > 0)
        cores = (double)v[0] / (double)v[1];
    kvat_buf_clear(&text);
    return cores;
}

void kvat__limits_read(kvat__limits *out, const kvat__root *root) {
    kvat__groups g;
    *out = (kvat__limits){INT64_MAX, INT64_MAX, 0};
    kvat__groups_find(&g, root, "memory");
    for (bool more = g.found; more; more = kvat__groups_climb(&g)) least_memory(out, &g, root);
    kvat__groups_find(&g, root, "cpu");
    for (bool more = g.found; more; more = kvat__groups_climb(&g)) {
        double quota = g.unified ? quota_v2(&g, root) : quota_v1(&g, root);
        if (quota > 0 && (out->cpu_quota <= 0 || quota < out->cpu_quota)) out->cpu_quota = quota;
    }
}

int64_t kvat__quota_throttled(const kvat__root *root) {
    kvat__groups g;
    int64_t total = -1;
    kvat_buf text = KVAT_BUF_INIT;
    kvat__groups_find(&g, root, "cpu");
    for (bool more = g.found; more; more = kvat__groups_climb(&g)) {
        if (!kvat__read(&text, root, "%s/cpu.stat", g.path)) continue;
        int64_t n = kvat__number_after(text.bytes, "nr_throttled");
        if (n >= 0) total = (total < 0 ? 0 : total) + n;
    }
    kvat_buf_clear(&text);
    return total;
}
