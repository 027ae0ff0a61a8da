// What the difference of two readings says about the measurement between them.
// Must not know how the counters are read.
#include "probe_internal.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "kvat/units.h"

/** Counters only grow; one that shrank lost a thread or process on the way, and what it had counted is unknown. */
static int64_t grown(int64_t before, int64_t after) {
    return before < 0 || after < before ? -1 : after - before;
}

void kvat_activity_since(kvat_activity *out, const kvat_activity *before, const kvat_activity *after) {
    *out = (kvat_activity){
        .at_ns = after->at_ns - before->at_ns,
        .suspended_ns = after->suspended_ns - before->suspended_ns,
        .realtime_offset_ns = after->realtime_offset_ns - before->realtime_offset_ns,
        .busy_cpu_ns = grown(before->busy_cpu_ns, after->busy_cpu_ns),
        .own_cpu_ns = grown(before->own_cpu_ns, after->own_cpu_ns),
        .steal_cpu_ns = grown(before->steal_cpu_ns, after->steal_cpu_ns),
        .swapped_pages = grown(before->swapped_pages, after->swapped_pages),
        .throttled = grown(before->throttled, after->throttled),
        .quota_throttled = grown(before->quota_throttled, after->quota_throttled),
        .involuntary_switches = grown(before->involuntary_switches, after->involuntary_switches),
    };
}

/** Below these the readings cannot be told from their own error. */
static const int64_t suspend_floor_ns = 10 * KVAT_NS_PER_MS;
static const int64_t step_floor_ns = 10 * KVAT_NS_PER_MS;
static const int64_t share_floor_ns = 500 * KVAT_NS_PER_MS; /* of CPU time: the kernel counts it in ticks of 10 ms */
static const int64_t swap_bytes_per_s = 1 << 20;

/** While the machine sleeps, real time goes on and monotonic time does not: that much is no step. */
static int64_t clock_step(const kvat_activity *d) {
    return d->realtime_offset_ns - d->suspended_ns;
}

static bool is_swapping(const kvat_activity *d) {
    int64_t seconds = d->at_ns / KVAT_NS_PER_S + 1;
    return d->swapped_pages > 0 && d->swapped_pages > seconds * swap_bytes_per_s / sysconf(_SC_PAGESIZE);
}

/** Share of the CPU time that `ns` is, −1 when it cannot be told. */
static double share(int64_t ns, const kvat_activity *d, int cores) {
    int64_t whole = d->at_ns * (cores > 0 ? cores : 1);
    if (ns < 0 || whole < share_floor_ns) return -1;
    double ratio = (double)ns / (double)whole;
    return ratio < 1 ? ratio : 1;
}

static int64_t foreign_ns(const kvat_activity *d) {
    if (d->busy_cpu_ns < 0 || d->own_cpu_ns < 0) return -1;
    return d->busy_cpu_ns > d->own_cpu_ns ? d->busy_cpu_ns - d->own_cpu_ns : 0;
}

const char *kvat_activity_cause(char cause[128], const kvat_activity *d, int cores, double foreign_limit) {
    enum { SIZE = 128 };
    double foreign = share(foreign_ns(d), d, cores), steal = share(d->steal_cpu_ns, d, cores);
    if (d->suspended_ns > suspend_floor_ns)
        (void)snprintf(cause, SIZE, "suspended for %.1f s", (double)d->suspended_ns / 1e9);
    else if (llabs(clock_step(d)) > step_floor_ns)
        (void)snprintf(cause, SIZE, "clock stepped by %.2f s", (double)clock_step(d) / 1e9);
    else if (is_swapping(d))
        (void)snprintf(cause, SIZE, "swapping: %lld pages", (long long)d->swapped_pages);
    else if (d->throttled > 0)
        (void)snprintf(cause, SIZE, "throttled: %lld thermal events", (long long)d->throttled);
    else if (foreign > foreign_limit)
        (void)snprintf(cause, SIZE, "other processes took %.0f %% of the CPU", foreign * 100);
    else if (steal > foreign_limit)
        (void)snprintf(cause, SIZE, "the host withheld %.0f %% of the CPU", steal * 100);
    else
        return NULL;
    return cause;
}

static json_t *known(int64_t value) {
    return value < 0 ? json_null() : json_integer(value);
}

kvat_status kvat_activity_json(json_t **out, const kvat_activity *d, kvat_error *err) {
    json_t *json =
        json_pack("{s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "at_ns", (json_int_t)d->at_ns,
                  "suspended_ns", (json_int_t)d->suspended_ns, "realtime_offset_ns", (json_int_t)d->realtime_offset_ns,
                  "busy_cpu_ns", known(d->busy_cpu_ns), "own_cpu_ns", known(d->own_cpu_ns), "foreign_cpu_ns",
                  known(foreign_ns(d)), "steal_cpu_ns", known(d->steal_cpu_ns), "swapped_pages",
                  known(d->swapped_pages), "throttled", known(d->throttled), "quota_throttled",
                  known(d->quota_throttled), "involuntary_switches", known(d->involuntary_switches));
    if (!json) return kvat_fail(err, KVAT_ERR_NOMEM, "out of memory: cannot describe the activity");
    *out = json;
    return KVAT_OK;
}
