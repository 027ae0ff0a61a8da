// How much the speed of this machine wavers: the same small work again and again on every core.
// Must not know what will be measured later.
#include "probe_internal.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kvat/units.h"

enum { MAX_CORES = 1024, MAX_SAMPLES = 2048, STRIDE_WORDS = 8 };

static const int64_t unit_ns = 500000;                 /* aim of one repetition */
static const int64_t least_buffer = INT64_C(8) << 20;  /* a thread */
static const int64_t most_memory = INT64_C(256) << 20; /* all threads */
enum { MEMORY_SHARE = 8 };                             /* nor more than this part of what is free */

static const kvat__root live = {.prefix = ""};

/** One thread's share: half of the time in registers, half in memory. */
typedef struct probe {
    pthread_t thread;
    int cpu;
    int64_t end_ns;
    uint64_t *buffer;
    size_t words;
    uint64_t sink;              /**< keeps the work from being optimised away */
    double *cpu_ns, *memory_ns; /**< MAX_SAMPLES places each */
    size_t n_cpu, n_memory;
    bool started;
} probe;

static uint64_t arithmetic(uint64_t x, size_t rounds) {
    for (size_t i = 0; i < rounds; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    return x;
}

/** Walks `words` words on from *at, a cache line at a step. */
static uint64_t stream(const uint64_t *buffer, size_t words, size_t *at, size_t steps) {
    uint64_t sum = 0;
    size_t i = *at;
    for (size_t n = 0; n < steps; n++) {
        sum += buffer[i];
        i += STRIDE_WORDS;
        if (i >= words) i = 0;
    }
    *at = i;
    return sum;
}

static int64_t time_unit(probe *p, bool memory, size_t amount, size_t *at) {
    int64_t start = kvat_now_ns();
    if (memory)
        p->sink += stream(p->buffer, p->words, at, amount);
    else
        p->sink += arithmetic(p->sink | 1, amount);
    return kvat_now_ns() - start;
}

/** Doubles the amount until a repetition lasts long enough for the clock to be no part of it. */
static size_t calibrate(probe *p, bool memory, size_t *at) {
    size_t amount = 1024;
    while (time_unit(p, memory, amount, at) < unit_ns && amount < ((size_t)1 << 30)) amount *= 2;
    return amount;
}

static size_t repeat_until(probe *p, bool memory, int64_t end_ns, double *durations) {
    size_t at = 0, n = 0, amount = calibrate(p, memory, &at);
    do {
        double ns = (double)time_unit(p, memory, amount, &at);
        durations[n % MAX_SAMPLES] = ns > 0 ? ns : 1;
        n++;
    } while (kvat_now_ns() < end_ns);
    return n < MAX_SAMPLES ? n : MAX_SAMPLES;
}

static void *probe_main(void *argument) {
    probe *p = argument;
    cpu_set_t set;
    CPU_ZERO(&set);
    if (p->cpu >= 0 && p->cpu < CPU_SETSIZE) {
        CPU_SET((size_t)p->cpu, &set);
        /* Unpinned it measures the same, only with the scheduler's migrations in it. */
        (void)pthread_setaffinity_np(pthread_self(), sizeof set, &set);
    }
    int64_t start = kvat_now_ns();
    memset(p->buffer, 1, p->words * sizeof *p->buffer);
    p->n_cpu = repeat_until(p, false, start + (p->end_ns - start) / 2, p->cpu_ns);
    p->n_memory = repeat_until(p, true, p->end_ns, p->memory_ns);
    return NULL;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/** Of sorted values, at the share `q` of the way. */
static double quantile(const double *sorted, size_t n, double q) {
    double at = q * (double)(n - 1);
    size_t low = (size_t)at;
    size_t high = low + 1 < n ? low + 1 : low;
    return sorted[low] + (at - (double)low) * (sorted[high] - sorted[low]);
}

void kvat__spread(double *ln_sd, double *worst_ratio, double *durations, size_t n) {
    qsort(durations, n, sizeof *durations, by_value);
    double median = quantile(durations, n, 0.5);
    *worst_ratio = quantile(durations, n, 0.95) / median - 1;
    for (size_t i = 0; i < n; i++) durations[i] = fabs(log(durations[i] / median));
    qsort(durations, n, sizeof *durations, by_value);
    *ln_sd = 1.482602218505602 * quantile(durations, n, 0.5);
}

static void probes_free(probe *probes, int n) {
    for (int i = 0; probes && i < n; i++) {
        free(probes[i].buffer);
        free(probes[i].cpu_ns);
        free(probes[i].memory_ns);
    }
    free(probes);
}

static int64_t free_memory(void) {
    kvat_machine machine = {0};
    kvat__machine_read(&machine, &live);
    return machine.memory_available_bytes;
}

/** Twice the caches where that can be had, so that little of a pass is still in them when the next begins. */
static size_t buffer_words(int64_t cache_bytes, int64_t free_bytes, int n) {
    int64_t all = cache_bytes * 2 < most_memory ? cache_bytes * 2 : most_memory;
    if (all > free_bytes / MEMORY_SHARE) all = free_bytes / MEMORY_SHARE;
    int64_t each = all / n > least_buffer ? all / n : least_buffer;
    return (size_t)each / sizeof(uint64_t);
}

/** NULL without memory. */
static probe *probes_new(const int *cpus, int n, int64_t cache_bytes) {
    probe *probes = calloc((size_t)n, sizeof *probes);
    bool whole = probes != NULL;
    size_t words = buffer_words(cache_bytes, free_memory(), n);
    for (int i = 0; i < n && whole; i++) {
        probe *p = &probes[i];
        p->cpu = cpus[i];
        p->words = words;
        p->buffer = malloc(p->words * sizeof *p->buffer);
        p->cpu_ns = malloc(MAX_SAMPLES * sizeof *p->cpu_ns);
        p->memory_ns = malloc(MAX_SAMPLES * sizeof *p->memory_ns);
        whole = p->buffer && p->cpu_ns && p->memory_ns;
    }
    if (whole) return probes;
    probes_free(probes, n);
    return NULL;
}

static kvat_status probes_run(probe *probes, int n, int64_t end_ns, kvat_error *err) {
    int errnum = 0;
    for (int i = 0; i < n && errnum == 0; i++) {
        probes[i].end_ns = end_ns;
        errnum = pthread_create(&probes[i].thread, NULL, probe_main, &probes[i]);
        probes[i].started = errnum == 0;
    }
    for (int i = 0; i < n; i++) {
        if (probes[i].started) (void)pthread_join(probes[i].thread, NULL);
    }
    return errnum == 0 ? KVAT_OK
                       : kvat_fail_errno(err, KVAT_ERR_INTERNAL, errnum, "cannot start a thread for the noise probe");
}

/** The typical core's spread; the worst ratio is the worst core's. */
static void collect(kvat_noise *out, probe *probes, int n) {
    for (int i = 0; i < n; i++) {
        probe *p = &probes[i];
        double cpu_sd, cpu_worst, memory_sd, memory_worst;
        out->samples += (int)(p->n_cpu + p->n_memory);
        kvat__spread(&cpu_sd, &cpu_worst, p->cpu_ns, p->n_cpu);
        kvat__spread(&memory_sd, &memory_worst, p->memory_ns, p->n_memory);
        out->cpu_ratio += cpu_sd / n;
        out->memory_ratio += memory_sd / n;
        out->worst_ratio = fmax(out->worst_ratio, fmax(cpu_worst, memory_worst));
    }
}

static double load_average(void) {
    char text[64];
    kvat__read_word(text, sizeof text, &live, "/proc/loadavg");
    return strtod(text, NULL);
}

static double foreign_ratio(const kvat_activity *before, int n) {
    kvat_activity after, d;
    kvat_activity_read(&after, 0);
    kvat_activity_since(&d, before, &after);
    if (d.busy_cpu_ns < 0 || d.own_cpu_ns < 0 || d.at_ns <= 0) return 0;
    double foreign = (double)(d.busy_cpu_ns - d.own_cpu_ns) / ((double)d.at_ns * n);
    return foreign < 0 ? 0 : foreign < 1 ? foreign : 1;
}

kvat_status kvat_probe_noise(kvat_noise *out, int64_t duration_ns, kvat_error *err) {
    int cpus[MAX_CORES], n = 0;
    int64_t cache_bytes = 0, end_ns = kvat_now_ns() + duration_ns;
    kvat_noise noise = {.load_average = load_average()};
    kvat_activity before;
    if (duration_ns <= 0) return kvat_fail(err, KVAT_ERR_USAGE, "the noise probe needs a duration above 0");
    kvat_status status = kvat__topology_cores(cpus, MAX_CORES, &n, &cache_bytes, err);
    if (status != KVAT_OK) return status;
    probe *probes = probes_new(cpus, n, cache_bytes);
    if (!probes) return kvat_fail(err, KVAT_ERR_NOMEM, "out of memory: cannot probe the noise of the machine");
    kvat_activity_read(&before, 0);
    status = probes_run(probes, n, end_ns, err);
    if (status == KVAT_OK) {
        collect(&noise, probes, n);
        noise.foreign_cpu_ratio = foreign_ratio(&before, n);
        *out = noise;
    }
    probes_free(probes, n);
    return status;
}
