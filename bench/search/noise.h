// What a simulated machine does to a measurement: drift, warming up, spikes, steps, independent noise, or a recorded
// machine. Must not know what is measured.
#ifndef KVAT_BENCH_NOISE_H
#define KVAT_BENCH_NOISE_H

#include <stdbool.h>
#include <stddef.h>

#include "kvat/stats.h"

typedef enum noise_kind {
    ENV_QUIET,
    ENV_DESKTOP,
    ENV_NOISY,
    ENV_HEAVY,  // a desktop whose independent noise has Student's tails, 2.5 degrees of freedom
    ENV_STEP,   // a desktop on which something else starts and stops, every minute or so
    ENV_TRACE,  // slowdowns recorded on a shared machine, replayed from a random place
    ENV_LAUNCH, // a desktop on which every start of a configuration is a little faster or slower
    ENV_COUNT
} noise_kind;
extern const char *const noise_names[ENV_COUNT];

typedef struct noise_trace {
    double *slow; // log slowdown every 0.1 s
    size_t n;
} noise_trace;
// Lines of seconds, duration of a memory loop, duration of an arithmetic loop. False when there is no such file.
bool noise_trace_read(noise_trace *trace, const char *path);
void noise_trace_clear(noise_trace *trace);

typedef struct noise {
    noise_kind kind;
    const noise_trace *trace;
    size_t trace_at;
    kvat_rng rng;
    float *drift; // every 0.1 s, made as time passes
    size_t n_drift, capacity;
    double last_drift, step, next_step_s;
} noise;
bool noise_init(noise *n, noise_kind kind, const noise_trace *trace, uint64_t seed, uint64_t repeat);
void noise_clear(noise *n);
// Log slowdown of something that takes `duration_s` from `now_s` on, shared by whatever runs then.
double noise_common(noise *n, double now_s, double duration_s);
// Log slowdown of its own; `share` scales it.
double noise_own(noise *n, double share);
// Log slowdown of all that runs until the next start.
double noise_launch(noise *n);
// The kind of that name; ENV_COUNT for none.
noise_kind noise_find(const char *name);

#endif
