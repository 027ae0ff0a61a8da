/* A memory limit for one process and its descendants: a cgroup of its own (v2 or v1) where that is allowed. */
/* Must not know: what runs under it. */
#include "limit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

const char *limit_source(limit_kind kind) {
    switch (kind) {
    case LIMIT_RLIMIT:
        return "RLIMIT_DATA";
    case LIMIT_CGROUP1:
        return "cgroup v1 memory.limit_in_bytes";
    case LIMIT_CGROUP2:
        return "cgroup v2 memory.max";
    case LIMIT_NONE:
        break;
    }
    return "";
}

/* "<folder>/<name>", false when too long. */
static bool join(char out[PATH_MAX], const char *folder, const char *name) {
    const int n = snprintf(out, PATH_MAX, "%s/%s", folder, name);
    return n > 0 && n < PATH_MAX;
}

static bool write_file(const char *folder, const char *name, const char *text) {
    char path[PATH_MAX];
    if (!join(path, folder, name)) return false;
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return false;
    const size_t n = strlen(text);
    const bool written = write(fd, text, n) == (ssize_t)n;
    close(fd);
    return written;
}

static bool write_number(const char *folder, const char *name, long long value) {
    char text[32];
    snprintf(text, sizeof text, "%lld", value);
    return write_file(folder, name, text);
}

/* The number behind `key` in a file of "key number" lines, else 0. */
static long long read_key(const char *folder, const char *name, const char *key) {
    char path[PATH_MAX], line[256];
    FILE *file = join(path, folder, name) ? fopen(path, "re") : NULL;
    long long value = 0;
    while (file && fgets(line, sizeof line, file)) {
        const size_t n = strlen(key);
        if (!strncmp(line, key, n) && line[n] == ' ') value = atoll(line + n);
    }
    if (file) fclose(file);
    return value;
}

static bool has_word(const char *list, const char *word, const char *separators) {
    const size_t n = strlen(word);
    for (const char *at = list; (at = strstr(at, word)); at += n) {
        const bool starts = at == list || strchr(separators, at[-1]);
        if (starts && (at[n] == '\0' || strchr(separators, at[n]))) return true;
    }
    return false;
}

/* Where this process stands in a hierarchy: the path behind "0::" (v2) or behind the memory controller's line (v1). */
static bool own_path(char out[PATH_MAX], bool v2) {
    FILE *file = fopen("/proc/self/cgroup", "re");
    char line[PATH_MAX];
    bool found = false;
    while (file && !found && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path) continue;
        *path++ = '\0';
        controllers++;
        found = v2 ? *controllers == '\0' : has_word(controllers, "memory", ",");
        if (found) snprintf(out, PATH_MAX, "%s", path);
    }
    if (file) fclose(file);
    return found;
}

/* Folder of `path` below the hierarchy's mount; the mount may show only a part of the hierarchy (its root). */
static bool mounted_at(char out[PATH_MAX], const char *path, bool v2) {
    FILE *file = fopen("/proc/self/mountinfo", "re");
    char line[2 * PATH_MAX], root[PATH_MAX], point[PATH_MAX];
    bool found = false;
    while (file && !found && fgets(line, sizeof line, file)) {
        const char *type = strstr(line, " - ");
        if (!type || sscanf(line, "%*s %*s %*s %4095s %4095s", root, point) != 2) continue;
        line[strcspn(line, "\n")] = '\0';
        const bool right =
            v2 ? !strncmp(type, " - cgroup2 ", 11) : !strncmp(type, " - cgroup ", 10) && has_word(type, "memory", " ,");
        const size_t n = strcmp(root, "/") == 0 ? 0 : strlen(root);
        if (!right || strncmp(path, root, n) != 0) continue;
        const int length = snprintf(out, PATH_MAX, "%s%s", point, path + n);
        found = length > 0 && length < PATH_MAX;
        while (found && strlen(out) > 1 && out[strlen(out) - 1] == '/') out[strlen(out) - 1] = '\0';
    }
    if (file) fclose(file);
    return found;
}

static bool make_child(limit *l, const char *parent) {
    char name[64];
    snprintf(name, sizeof name, "kvat-%ld", (long)getpid());
    return join(l->folder, parent, name) && mkdir(l->folder, 0755) == 0;
}

static bool make_v1(limit *l) {
    char path[PATH_MAX], own[PATH_MAX];
    if (!own_path(path, false) || !mounted_at(own, path, false) || !make_child(l, own)) return false;
    if (write_number(l->folder, "memory.limit_in_bytes", l->bytes)) {
        write_number(l->folder, "memory.memsw.limit_in_bytes", l->bytes); /* where swap is accounted: none */
        l->kind = LIMIT_CGROUP1;
        return true;
    }
    rmdir(l->folder);
    return false;
}

static bool set_v2(const limit *l) {
    if (!write_number(l->folder, "memory.max", l->bytes)) return false;
    write_file(l->folder, "memory.swap.max", "0");
    write_file(l->folder, "memory.oom.group", "1");
    return true;
}

/* A group that holds processes cannot pass the controller on to children, so a sibling of ours is tried first. */
static bool make_v2(limit *l) {
    char path[PATH_MAX], own[PATH_MAX], parent[PATH_MAX];
    if (!own_path(path, true) || !mounted_at(own, path, true)) return false;
    snprintf(parent, sizeof parent, "%s", own);
    char *slash = strrchr(parent, '/');
    for (int attempt = strcmp(path, "/") != 0 && slash && slash != parent ? 0 : 1; attempt < 2; attempt++) {
        if (attempt == 0) *slash = '\0';
        if (attempt == 1) write_file(own, "cgroup.subtree_control", "+memory");
        if (!make_child(l, attempt == 0 ? parent : own)) continue;
        if (set_v2(l)) {
            l->kind = LIMIT_CGROUP2;
            return true;
        }
        rmdir(l->folder);
    }
    return false;
}

void limit_make(limit *l, long long bytes, bool use_cgroup) {
    *l = (limit){.kind = LIMIT_NONE, .bytes = bytes};
    if (bytes <= 0) return;
    if (use_cgroup && (make_v2(l) || make_v1(l))) return;
    l->kind = LIMIT_RLIMIT;
}

bool limit_enter_rlimit(const limit *l) {
    const struct rlimit data = {.rlim_cur = (rlim_t)l->bytes, .rlim_max = (rlim_t)l->bytes};
    return setrlimit(RLIMIT_DATA, &data) == 0;
}

bool limit_enter(const limit *l) {
    if (l->kind == LIMIT_NONE) return true;
    if (l->kind == LIMIT_RLIMIT) return limit_enter_rlimit(l);
    return write_file(l->folder, "cgroup.procs", "0");
}

bool limit_killed(const limit *l) {
    if (l->kind == LIMIT_CGROUP2) return read_key(l->folder, "memory.events", "oom_kill") > 0;
    if (l->kind == LIMIT_CGROUP1) return read_key(l->folder, "memory.oom_control", "oom_kill") > 0;
    return false;
}

void limit_remove(const limit *l) {
    if (l->kind != LIMIT_CGROUP1 && l->kind != LIMIT_CGROUP2) return;
    for (int tries = 0; tries < 100 && rmdir(l->folder) != 0 && errno == EBUSY; tries++) poll(NULL, 0, 5);
}
