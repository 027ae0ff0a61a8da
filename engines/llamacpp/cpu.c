// Counting processors from the affinity mask and sysfs.
// Must not know: libllama, knobs.
#include "cpu.h"

#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define SIBLINGS_BYTES 512

/* The mask of hardware threads that share the core of `cpu`; false when there is no such processor. */
static bool read_siblings(char out[SIBLINGS_BYTES], int cpu) {
    char path[96];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings", cpu);
    FILE *file = fopen(path, "re");
    if (!file) return false;
    bool got = fgets(out, SIBLINGS_BYTES, file) != NULL;
    fclose(file);
    if (!got) out[0] = '\0';
    return true;
}

typedef struct cores {
    char (*siblings)[SIBLINGS_BYTES];
    int count;
} cores;

/* True when the core was not counted before. */
static bool add_core(cores *list, const char *siblings) {
    for (int i = 0; i < list->count; i++)
        if (strcmp(list->siblings[i], siblings) == 0) return false;
    if (list->count == KVAT_CPU_MOST) return false;
    snprintf(list->siblings[list->count++], SIBLINGS_BYTES, "%s", siblings);
    return true;
}

/* Cores of the whole machine, as llama-server counts them: affinity does not enter. */
static int machine_cores(cores *list) {
    char siblings[SIBLINGS_BYTES];
    list->count = 0;
    for (int cpu = 0; read_siblings(siblings, cpu); cpu++) add_core(list, siblings);
    if (list->count) return list->count;
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online < 1 ? 4 : online <= 4 ? (int)online : (int)online / 2;
}

#if defined(__x86_64__)
static bool is_hybrid(void) {
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & (1u << 15));
}

static bool on_efficiency_core(void) {
    unsigned a = 0, b, c, d;
    return __get_cpuid_count(0x1a, 0, &a, &b, &c, &d) && (a >> 24) == 0x20;
}

/* On processors with efficiency cores llama-server counts only the others, visiting each in turn and skipping the
 * processor after one it counted. 0 when it cannot. */
static int performance_cores(void) {
    cpu_set_t before;
    if (sched_getaffinity(0, sizeof before, &before) != 0) return 0;
    int count = 0;
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    for (int cpu = 0; cpu < online && count >= 0; cpu++) {
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET((size_t)cpu, &one);
        if (sched_setaffinity(0, sizeof one, &one) != 0) {
            count = -1;
        } else if (!on_efficiency_core()) {
            cpu++;
            count++;
        }
    }
    sched_setaffinity(0, sizeof before, &before);
    return count > 0 ? count : 0;
}
#else
static bool is_hybrid(void) {
    return false;
}

static int performance_cores(void) {
    return 0;
}
#endif

static void look_at_allowed(kvat_cpu *out, cores *list) {
    cpu_set_t set;
    CPU_ZERO(&set);
    bool known = sched_getaffinity(0, sizeof set, &set) == 0;
    list->count = 0;
    for (int cpu = 0; known && cpu < KVAT_CPU_MOST; cpu++) {
        if (!CPU_ISSET((size_t)cpu, &set)) continue;
        char siblings[SIBLINGS_BYTES];
        out->allowed[cpu] = true;
        out->logical++;
        if (!read_siblings(siblings, cpu)) snprintf(siblings, sizeof siblings, "cpu%d", cpu);
        out->one_per_core[cpu] = add_core(list, siblings);
    }
    out->physical = list->count;
}

static int count_numa_nodes(void) {
    DIR *folder = opendir("/sys/devices/system/node");
    int count = 0;
    for (struct dirent *entry = folder ? readdir(folder) : NULL; entry; entry = readdir(folder)) {
        int node;
        char rest;
        if (sscanf(entry->d_name, "node%d%c", &node, &rest) == 1) count++;
    }
    if (folder) closedir(folder);
    return count ? count : 1;
}

void kvat_cpu_look(kvat_cpu *out) {
    *out = (kvat_cpu){0};
    cores list = {calloc(KVAT_CPU_MOST, SIBLINGS_BYTES), 0};
    if (list.siblings) {
        look_at_allowed(out, &list);
        out->server_threads = machine_cores(&list);
        int performance = is_hybrid() ? performance_cores() : 0;
        if (performance) out->server_threads = performance;
    }
    free(list.siblings);
    out->numa_nodes = count_numa_nodes();
    if (out->logical < 1) out->logical = out->physical = 1;
    if (out->server_threads < 1) out->server_threads = out->physical;
}

static void *try_priority(void *answer) {
    struct sched_param param = {.sched_priority = 40};
    *(bool *)answer = pthread_setschedparam(pthread_self(), SCHED_FIFO, &param) == 0;
    return NULL;
}

bool kvat_cpu_may_raise_priority(void) {
    bool may = false;
    pthread_t thread;
    if (pthread_create(&thread, NULL, try_priority, &may) == 0) pthread_join(thread, NULL);
    return may;
}
