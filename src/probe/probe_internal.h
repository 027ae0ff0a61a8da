// What the files of the probe share: small files of /proc and /sys under a root that tests can choose.
// Must not be known outside src/probe and its tests.
#ifndef KVAT_PROBE_INTERNAL_H
#define KVAT_PROBE_INTERNAL_H

#include <stddef.h>

#include "kvat/buf.h"
#include "kvat/probe.h"

/** Prefix of every path read: "" on the living machine. */
typedef struct kvat__root {
    const char *prefix;
    bool *out_of_memory; /**< set when memory ran out, which must not pass for a file that is not there; or NULL */
} kvat__root;

/** Reads "<prefix><path>" (printf form); false when it cannot be read or memory runs out. `out` is emptied first. */
bool kvat__read(kvat_buf *out, const kvat__root *root, const char *format, ...) KVAT_PRINTF(3, 4);
/** First whole decimal number of a file. */
bool kvat__read_int(int64_t *value, const kvat__root *root, const char *format, ...) KVAT_PRINTF(3, 4);
/** Reads up to `n` decimal numbers separated by blanks; returns how many there were. */
int kvat__numbers(int64_t *values, int n, const char *text);
/** First line of a file, blanks trimmed, cut to `size`; "" when there is none. */
void kvat__read_word(char *out, size_t size, const kvat__root *root, const char *path);
/** Number after `key` at the start of a line ("MemTotal:  123 kB", "pswpin 7"): −1 when absent. */
int64_t kvat__number_after(const char *text, const char *key);
/** Text after `key`, blanks and one ':' or '=' at the start of a line; trimmed and cut; "" when absent. */
void kvat__text_after(char *out, size_t size, const char *text, const char *key);

/** Folders of the calling process's control groups, innermost first, up to the mount's root. */
enum { KVAT__GROUP_DEPTH = 16, KVAT__GROUP_PATH = 512 };
typedef struct kvat__groups {
    char path[KVAT__GROUP_PATH]; /**< innermost; shortened from the end to climb */
    size_t mount_length;         /**< of `path`: the mount point itself */
    bool found, unified;
} kvat__groups;
/** `controller` is "memory" or "cpu": its v1 hierarchy if mounted, else the unified one. */
void kvat__groups_find(kvat__groups *out, const kvat__root *root, const char *controller);
/** One level up; false at the mount point. */
bool kvat__groups_climb(kvat__groups *groups);

typedef struct kvat__limits {
    int64_t memory_bytes;   /**< least limit; INT64_MAX none */
    int64_t headroom_bytes; /**< least limit − use, reclaimable cache not counted; INT64_MAX none */
    double cpu_quota;       /**< least, in cores; 0 none */
} kvat__limits;
void kvat__limits_read(kvat__limits *out, const kvat__root *root);
/** Times that any enclosing group ran into its CPU quota; −1 when no group counts it. */
int64_t kvat__quota_throttled(const kvat__root *root);

/** All but topology and GPUs. */
void kvat__machine_read(kvat_machine *out, const kvat__root *root);
/** Packages, cores, threads, NUMA nodes within the affinity, by hwloc. */
KVAT_MUST_CHECK kvat_status kvat__topology_read(kvat_machine *out, kvat_error *err);
/** Fills `cpus` with the first CPU of every usable core; *cache_bytes is the sum of the last-level caches. */
KVAT_MUST_CHECK kvat_status kvat__topology_cores(int *cpus, int places, int *n, int64_t *cache_bytes, kvat_error *err);
/** Devices by a library of NVML's interface. */
void kvat__gpus_read(kvat_machine *out, const char *library);
bool kvat__has_word(const char *text, const char *word);
/** Shown names of the features among the kernel's space-separated `flags`. */
void kvat__cpu_features(char *out, size_t size, const char *flags);

/** The counters of /proc and /sys; the clocks are the caller's. `allowed(cpu)` NULL: the whole machine. */
void kvat__activity_files(kvat_activity *out, int group, const kvat__root *root, bool (*allowed)(int cpu));

/** Robust spread of n > 0 durations in place: 1.4826 × median |ln x − median ln x|, and 95th percentile ÷ median − 1.
 */
void kvat__spread(double *ln_sd, double *worst_ratio, double *durations, size_t n);

#endif
