/* Every process below this one, found through /proc and signalled, whatever group or session it moved to. */
/* Must not know: why. */
#include "tree.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct entry {
    pid_t pid, parent;
    bool below;
} entry;

/* Parent of a process, or 0. The name in /proc/PID/stat may hold anything, so reading starts behind its last ')'. */
static pid_t parent_of(const char *pid) {
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
    FILE *file = fopen(path, "re");
    if (!file) return 0;
    const size_t n = fread(line, 1, sizeof line - 1, file);
    fclose(file);
    line[n] = '\0';
    const char *rest = strrchr(line, ')');
    int parent = 0;
    char state;
    if (!rest || sscanf(rest + 1, " %c %d", &state, &parent) != 2) return 0;
    return parent;
}

/* All living processes; NULL without /proc or memory. */
static entry *list_processes(size_t *n) {
    DIR *folder = opendir("/proc");
    entry *list = NULL;
    size_t count = 0, capacity = 0;
    const struct dirent *item;
    while (folder && (item = readdir(folder))) {
        if (!isdigit((unsigned char)item->d_name[0])) continue;
        const pid_t parent = parent_of(item->d_name);
        if (parent == 0) continue;
        if (count == capacity) {
            entry *larger = realloc(list, (capacity = capacity ? 2 * capacity : 256) * sizeof *list);
            if (!larger) break;
            list = larger;
        }
        list[count++] = (entry){.pid = (pid_t)atoi(item->d_name), .parent = parent};
    }
    if (folder) closedir(folder);
    *n = count;
    return list;
}

static bool is_below(const entry *list, size_t n, pid_t parent, pid_t self) {
    if (parent == self) return true;
    for (size_t i = 0; i < n; i++)
        if (list[i].pid == parent) return list[i].below;
    return false;
}

/* Marks the descendants of `self`: ids may have wrapped round, so passes go on until one finds nobody new. */
static void mark_descendants(entry *list, size_t n, pid_t self) {
    int marked = 0, before;
    do {
        before = marked;
        for (size_t i = 0; i < n; i++) {
            if (list[i].below || !is_below(list, n, list[i].parent, self)) continue;
            list[i].below = true;
            marked++;
        }
    } while (marked != before);
}

void tree_signal(int signal, pid_t known) {
    size_t n = 0;
    entry *list = list_processes(&n);
    if (list) {
        mark_descendants(list, n, getpid());
        for (size_t i = 0; i < n; i++)
            if (list[i].below) kill(list[i].pid, signal);
    } else if (known > 0) {
        kill(-known, signal);
        kill(known, signal);
    }
    free(list);
}

void tree_kill(pid_t known, void (*reaped)(void *user, pid_t pid, int status), void *user) {
    for (;;) {
        tree_signal(SIGSTOP, known); /* nobody forks while the list is being worked through */
        tree_signal(SIGKILL, known);
        int status;
        pid_t pid;
        while ((pid = waitpid(-1, &status, WNOHANG)) > 0) reaped(user, pid, status);
        if (pid < 0 && errno == ECHILD) return;
        poll(NULL, 0, 2);
    }
}
