// Counters around a measurement: clocks, CPU time of ours and of others, swap, throttling.
// Must not know what was measured.
#include "probe_internal.h"

#include <ctype.h>
#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kvat/units.h"

static int64_t clock_ns(clockid_t id) {
    struct timespec t;
    if (clock_gettime(id, &t) != 0) return -1;
    return (int64_t)t.tv_sec * KVAT_NS_PER_S + t.tv_nsec;
}

static int64_t ticks_to_ns(int64_t ticks) {
    long per_s = sysconf(_SC_CLK_TCK);
    return per_s > 0 ? ticks * (KVAT_NS_PER_S / per_s) : -1;
}

/** The distance of two clocks; of several readings the one that was least torn apart by preemption. */
static int64_t clock_distance(clockid_t id) {
    int64_t best = INT64_MAX, distance = 0;
    for (int i = 0; i < 5; i++) {
        int64_t before = clock_ns(CLOCK_MONOTONIC), there = clock_ns(id), after = clock_ns(CLOCK_MONOTONIC);
        if (after - before >= best) continue;
        best = after - before;
        distance = there - before - (after - before) / 2;
    }
    return distance;
}

static void read_clocks(kvat_activity *out) {
    out->at_ns = clock_ns(CLOCK_MONOTONIC);
    out->suspended_ns = clock_distance(CLOCK_BOOTTIME);
    out->realtime_offset_ns = clock_distance(CLOCK_REALTIME);
}

/*
 * CPU time.
 */
enum { STAT_USER, STAT_NICE, STAT_SYSTEM, STAT_IDLE, STAT_IOWAIT, STAT_IRQ, STAT_SOFTIRQ, STAT_STEAL, STAT_FIELDS };

/** One line of /proc/stat: "cpu3 user nice system idle iowait irq softirq steal …"; *cpu is −1 for the sum. */
static bool parse_cpu(int *cpu, int64_t ticks[STAT_FIELDS], const char *line) {
    if (strncmp(line, "cpu", 3) != 0) return false;
    bool one = isdigit((unsigned char)line[3]) != 0;
    *cpu = one ? (int)strtol(line + 3, NULL, 10) : -1;
    return kvat__numbers(ticks, STAT_FIELDS, line + strcspn(line, " ")) == STAT_FIELDS;
}

static void read_stat(kvat_activity *out, const kvat__root *root, bool (*allowed)(int cpu)) {
    int64_t busy = 0, steal = 0, ticks[STAT_FIELDS];
    int cpu, lines = 0;
    kvat_buf text = KVAT_BUF_INIT;
    const char *line = kvat__read(&text, root, "/proc/stat") ? text.bytes : NULL;
    for (; line && parse_cpu(&cpu, ticks, line); line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
        if (allowed ? cpu < 0 || !allowed(cpu) : cpu >= 0) continue;
        busy += ticks[STAT_USER] + ticks[STAT_NICE] + ticks[STAT_SYSTEM] + ticks[STAT_IRQ] + ticks[STAT_SOFTIRQ];
        steal += ticks[STAT_STEAL];
        lines++;
    }
    out->busy_cpu_ns = lines ? ticks_to_ns(busy) : -1;
    out->steal_cpu_ns = lines ? ticks_to_ns(steal) : -1;
    kvat_buf_clear(&text);
}

typedef struct process {
    int pid, group, session;
    int64_t cpu_ticks; /**< user + system, its own and that of children it has waited for */
} process;

/** Numbers after the state: parent, group, session, terminal, its group, flags, four fault counts, CPU times. */
enum { PROCESS_GROUP = 1, PROCESS_SESSION = 2, PROCESS_TIMES = 10, PROCESS_FIELDS = 14 };

/** The name in parentheses may hold anything: fields are counted from the last ')', which a one-letter state follows.
 */
static bool parse_process(process *p, const char *text) {
    int64_t fields[PROCESS_FIELDS];
    const char *at = strrchr(text, ')');
    if (!at || strlen(at) < 4 || kvat__numbers(fields, PROCESS_FIELDS, at + 3) != PROCESS_FIELDS) return false;
    p->pid = (int)strtol(text, NULL, 10);
    p->group = (int)fields[PROCESS_GROUP];
    p->session = (int)fields[PROCESS_SESSION];
    p->cpu_ticks = 0;
    for (int i = PROCESS_TIMES; i < PROCESS_FIELDS; i++) p->cpu_ticks += fields[i];
    return true;
}

static bool all_digits(const char *name) {
    return name[0] != '\0' && name[strspn(name, "0123456789")] == '\0';
}

static DIR *open_folder(const kvat__root *root, const char *path) {
    char full[KVAT__GROUP_PATH];
    int n = snprintf(full, sizeof full, "%s%s", root->prefix, path);
    return n >= 0 && (size_t)n < sizeof full ? opendir(full) : NULL;
}

static int64_t thread_switches(const kvat__root *root, kvat_buf *text, int pid, const char *thread) {
    if (!kvat__read(text, root, "/proc/%d/task/%s/status", pid, thread)) return 0;
    int64_t n = kvat__number_after(text->bytes, "nonvoluntary_ctxt_switches");
    return n > 0 ? n : 0;
}

static int64_t process_switches(const kvat__root *root, kvat_buf *text, int pid) {
    char path[64];
    int64_t total = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *folder = open_folder(root, path);
    const struct dirent *entry;
    while (folder && (entry = readdir(folder)) != NULL) {
        if (all_digits(entry->d_name)) total += thread_switches(root, text, pid, entry->d_name);
    }
    if (folder) closedir(folder);
    return total;
}

typedef struct tally {
    const kvat__root *root;
    kvat_buf text;
    int self, group;
    int64_t ticks, switches;
} tally;

/** Whether the entry of /proc counts: this process, and the group's members (a session leader keeps its children). */
static void tally_process(tally *t, const char *name) {
    process p;
    if (!kvat__read(&t->text, t->root, "/proc/%s/stat", name) || !parse_process(&p, t->text.bytes)) return;
    bool member = t->group > 0 && (p.group == t->group || p.session == t->group);
    if (!member && p.pid != t->self) return;
    t->ticks += p.cpu_ticks;
    if (member || t->group <= 0) t->switches += process_switches(t->root, &t->text, p.pid);
}

static void read_processes(kvat_activity *out, const kvat__root *root, int group) {
    char self[32] = "";
    const struct dirent *entry;
    tally t = {.root = root, .text = KVAT_BUF_INIT, .group = group};
    if (kvat__read(&t.text, root, "/proc/self/stat")) t.self = (int)strtol(t.text.bytes, NULL, 10);
    DIR *folder = t.self > 0 ? open_folder(root, "/proc") : NULL;
    while (group > 0 && folder && (entry = readdir(folder)) != NULL) {
        if (all_digits(entry->d_name)) tally_process(&t, entry->d_name);
    }
    if (group <= 0 && folder) {
        (void)snprintf(self, sizeof self, "%d", t.self);
        tally_process(&t, self);
    }
    out->own_cpu_ns = folder ? ticks_to_ns(t.ticks) : -1;
    out->involuntary_switches = folder ? t.switches : -1;
    if (folder) closedir(folder);
    kvat_buf_clear(&t.text);
}

static int64_t read_swap(const kvat__root *root) {
    kvat_buf text = KVAT_BUF_INIT;
    int64_t in = -1, out = -1;
    if (kvat__read(&text, root, "/proc/vmstat")) {
        in = kvat__number_after(text.bytes, "pswpin");
        out = kvat__number_after(text.bytes, "pswpout");
    }
    kvat_buf_clear(&text);
    return in >= 0 && out >= 0 ? in + out : -1;
}

static int64_t read_throttled(const kvat__root *root) {
    static const char *const names[] = {"core_throttle_count", "package_throttle_count"};
    int64_t total = -1, n;
    DIR *folder = open_folder(root, "/sys/devices/system/cpu");
    const struct dirent *entry;
    while (folder && (entry = readdir(folder)) != NULL) {
        if (strncmp(entry->d_name, "cpu", 3) != 0 || !all_digits(entry->d_name + 3)) continue;
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
            if (kvat__read_int(&n, root, "/sys/devices/system/cpu/%s/thermal_throttle/%s", entry->d_name, names[i]))
                total = (total < 0 ? 0 : total) + n;
        }
    }
    if (folder) closedir(folder);
    return total;
}

void kvat__activity_files(kvat_activity *out, int group, const kvat__root *root, bool (*allowed)(int cpu)) {
    read_stat(out, root, allowed);
    read_processes(out, root, group);
    out->swapped_pages = read_swap(root);
    out->throttled = read_throttled(root);
    out->quota_throttled = kvat__quota_throttled(root);
}

static bool in_affinity(int cpu) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return true;
    return cpu >= CPU_SETSIZE || CPU_ISSET((size_t)cpu, &set);
}

void kvat_activity_read(kvat_activity *out, int group) {
    static const kvat__root live = {.prefix = ""};
    memset(out, 0, sizeof *out);
    read_clocks(out);
    kvat__activity_files(out, group, &live, in_affinity);
}
