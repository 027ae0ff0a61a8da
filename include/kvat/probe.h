/**
 * @file probe.h
 * The machine: what it is (fingerprint), how noisy it is, and what disturbed a measurement.
 *
 * Nothing here names the host, the user or a path. Linux; elsewhere what cannot be read is absent, never guessed.
 */
#ifndef KVAT_PROBE_H
#define KVAT_PROBE_H

#include <stdbool.h>
#include <stdint.h>

#include "kvat/json.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kvat_gpu {
    char name[96];
    int64_t memory_bytes;
    char driver[64];
} kvat_gpu;

typedef struct kvat_machine {
    char cpu_model[128];
    char cpu_features[256]; /**< those that matter to inference, with blanks between: AVX2 AVX512 AMX NEON SVE … */
    char architecture[32];  /**< uname -m */
    char os[128];           /**< kernel and distribution, no host name */
    int packages, cores, threads; /**< as this process may use them (affinity, cgroup cpu quota) */
    double cpu_quota;             /**< cores allowed by the cgroup; 0 none */
    int numa_nodes;
    int64_t memory_bytes;           /**< physical */
    int64_t memory_limit_bytes;     /**< least of physical and every enclosing cgroup's limit */
    int64_t memory_available_bytes; /**< now, within the limit */
    int64_t swap_bytes;
    char governor[32]; /**< cpufreq governor of CPU 0, "" unknown */
    bool virtual_machine;
    kvat_gpu gpus[16];
    int n_gpus;         /**< by NVML, opened with dlopen; 0 without it */
    char gpu_note[128]; /**< why there is none: "NVML not found" */
} kvat_machine;

KVAT_EXTERN kvat_status kvat_probe_machine(kvat_machine *out, kvat_error *err);
/** Everything of it that identifies the machine class, not its momentary state (available memory): equal machines give
 * equal JSON. New reference. */
KVAT_EXTERN kvat_status kvat_machine_json(json_t **out, const kvat_machine *machine, kvat_error *err);

/** Spread of a fixed piece of arithmetic and memory work repeated for `duration_ns`: one thread a core. */
typedef struct kvat_noise {
    double cpu_ratio;         /**< robust sd of ln(duration) of a register-bound loop */
    double memory_ratio;      /**< the same for a loop over a buffer larger than the caches */
    double worst_ratio;       /**< 95th percentile ÷ median − 1, the larger of both */
    double load_average;      /**< 1 minute, before the probe */
    double foreign_cpu_ratio; /**< CPU time of others during the probe ÷ (cores × time) */
    int samples;
} kvat_noise;
KVAT_EXTERN kvat_status kvat_probe_noise(kvat_noise *out, int64_t duration_ns, kvat_error *err);

/** What happened around a measurement. Take one before, one after, and subtract. */
typedef struct kvat_activity {
    int64_t at_ns;              /**< CLOCK_MONOTONIC */
    int64_t suspended_ns;       /**< CLOCK_BOOTTIME − CLOCK_MONOTONIC */
    int64_t realtime_offset_ns; /**< CLOCK_REALTIME − CLOCK_MONOTONIC: jumps when the clock is stepped */
    int64_t busy_cpu_ns;        /**< whole machine, user + system + irq + steal of others not counted, /proc/stat */
    int64_t own_cpu_ns;         /**< this process and the given process group */
    int64_t steal_cpu_ns;
    int64_t swapped_pages;   /**< pswpin + pswpout */
    int64_t throttled;       /**< thermal throttle events of all CPUs */
    int64_t quota_throttled; /**< cgroup nr_throttled; noted, but no cause: under a CPU quota it is the normal state */
    int64_t involuntary_switches; /**< of the group's threads */
} kvat_activity;
/** `group` is a process group id, or 0. Fields that cannot be read are −1, and stay −1 in a difference. */
KVAT_EXTERN void kvat_activity_read(kvat_activity *out, int group);
/** after − before, field by field. */
KVAT_EXTERN void kvat_activity_since(kvat_activity *out, const kvat_activity *before, const kvat_activity *after);
/** Judges a difference over at_ns: a named cause that voids the measurement ("suspended for 3.2 s", "clock stepped",
 * "swapping", "throttled", "other processes took 41 % of the CPU"), or NULL. `cores` as in kvat_machine;
 * `foreign_limit` e.g. 0.25. Text in `cause`. */
KVAT_EXTERN const char *kvat_activity_cause(char cause[128], const kvat_activity *difference, int cores,
                                            double foreign_limit);
KVAT_EXTERN kvat_status kvat_activity_json(json_t **out, const kvat_activity *difference, kvat_error *err);

#ifdef __cplusplus
}
#endif
#endif
