// Disturbances of simulated machines.
// Knows nothing of configurations.
#include "noise.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DRIFT_STEPS = 60000 };
static const double STEP_S = .1, WARM_S = 90;

const char *const noise_names[ENV_COUNT] = {"quiet", "desktop", "noisy", "heavy", "step", "trace", "launch"};

static const struct {
    double drift_sd, drift_s, own, ramp, spike_per_s, spike, tail_dof, step_sd, step_every_s, launch_sd;
} NOISE[ENV_COUNT] = {
    [ENV_QUIET] = {.005, 30, .005, .01, .002, .10, 0, 0, 0, 0},
    [ENV_DESKTOP] = {.020, 20, .015, .06, .010, .25, 0, 0, 0, 0},
    [ENV_NOISY] = {.050, 15, .030, .06, .030, .40, 0, 0, 0, 0},
    [ENV_HEAVY] = {.020, 20, .012, .06, .010, .25, 2.5, 0, 0, 0},
    [ENV_STEP] = {.010, 20, .010, .03, .005, .15, 0, .08, 60, 0},
    [ENV_TRACE] = {0, 0, .008, 0, 0, 0, 0, 0, 0, 0},
    [ENV_LAUNCH] = {.020, 20, .015, .06, .010, .25, 0, 0, 0, .005},
};

bool noise_trace_read(noise_trace *trace, const char *path) {
    FILE *file = fopen(path, "r");
    if (!file) return false;
    double at, memory, arithmetic, *t = NULL, *m = NULL;
    size_t n = 0, capacity = 0;
    bool ok = true;
    while (ok && fscanf(file, "%lf %lf %lf", &at, &memory, &arithmetic) == 3) {
        if (n == capacity) {
            capacity = 2 * capacity + 1024;
            double *tt = realloc(t, capacity * sizeof *t);
            if (tt) t = tt;
            double *mm = realloc(m, capacity * sizeof *m);
            if (mm) m = mm;
            ok = tt && mm;
        }
        if (ok) {
            t[n] = at;
            m[n++] = memory;
        }
    }
    fclose(file);
    const double median = ok && n > 1 ? kvat_median(m, n) : NAN;
    const size_t length = ok && n > 1 ? (size_t)(t[n - 1] / STEP_S) : 0;
    double *slow = calloc(length + 1, sizeof *slow);
    for (size_t i = 0, j = 0; slow && i < length; i++) { // resampled every 0.1 s
        const double now = (double)i * STEP_S;
        while (j + 2 < n && t[j + 1] < now) j++;
        const double share = (now - t[j]) / (t[j + 1] - t[j]);
        slow[i] = (1 - share) * log(m[j] / median) + share * log(m[j + 1] / median);
    }
    free(t);
    free(m);
    *trace = (noise_trace){slow, length};
    return slow && length > 0;
}

void noise_trace_clear(noise_trace *trace) {
    free(trace->slow);
    *trace = (noise_trace){0};
}

bool noise_init(noise *n, noise_kind kind, const noise_trace *trace, uint64_t seed, uint64_t repeat) {
    *n = (noise){.kind = kind, .trace = trace};
    kvat_rng_seed3(&n->rng, seed, 1 + (uint64_t)kind, repeat);
    if (kind == ENV_TRACE) {
        if (!trace || trace->n == 0) return false;
        n->trace_at = (size_t)kvat_rng_below(&n->rng, trace->n);
        return true;
    }
    n->drift = calloc(DRIFT_STEPS, sizeof *n->drift);
    return n->drift != NULL;
}

void noise_clear(noise *n) {
    free(n->drift);
    *n = (noise){0};
}

static double drift_at(noise *n, size_t step) {
    if (n->kind == ENV_TRACE) return n->trace->slow[(n->trace_at + step) % n->trace->n];
    step %= DRIFT_STEPS;
    const double keep = exp(-STEP_S / NOISE[n->kind].drift_s);
    const double innovation = NOISE[n->kind].drift_sd * sqrt(1 - keep * keep);
    while (n->n_drift <= step) {
        n->last_drift = keep * n->last_drift + innovation * kvat_rng_normal(&n->rng);
        n->drift[n->n_drift++] = (float)n->last_drift;
    }
    return n->drift[step];
}

static double step_at(noise *n, double now_s) {
    if (NOISE[n->kind].step_every_s <= 0) return 0;
    while (now_s >= n->next_step_s) {
        if (n->next_step_s > 0) n->step = NOISE[n->kind].step_sd * fabs(kvat_rng_normal(&n->rng));
        n->next_step_s += -NOISE[n->kind].step_every_s * log(kvat_rng_uniform(&n->rng));
    }
    return n->step;
}

double noise_common(noise *n, double now_s, double duration_s) {
    const size_t first = (size_t)(now_s / STEP_S), steps = duration_s > STEP_S ? (size_t)(duration_s / STEP_S) : 1;
    double sum = 0;
    for (size_t i = 0; i < steps; i++) sum += drift_at(n, first + i);
    double slow = sum / (double)steps + NOISE[n->kind].ramp * (1 - exp(-now_s / WARM_S)) + step_at(n, now_s);
    if (NOISE[n->kind].spike > 0 && kvat_rng_uniform(&n->rng) < NOISE[n->kind].spike_per_s * fmax(1, duration_s))
        slow += NOISE[n->kind].spike * kvat_rng_uniform(&n->rng);
    return slow;
}

double noise_own(noise *n, double share) {
    const double dof = NOISE[n->kind].tail_dof;
    const double tail = dof > 0 ? sqrt(dof / kvat_rng_chi_square(&n->rng, dof)) : 1;
    return share * NOISE[n->kind].own * tail * kvat_rng_normal(&n->rng);
}

double noise_launch(noise *n) {
    return NOISE[n->kind].launch_sd > 0 ? NOISE[n->kind].launch_sd * kvat_rng_normal(&n->rng) : 0;
}

noise_kind noise_find(const char *name) {
    noise_kind kind = 0;
    while (kind < ENV_COUNT && strcmp(noise_names[kind], name) != 0) kind++;
    return kind;
}
