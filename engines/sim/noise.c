/* How the world disturbs what is measured: log slowdowns that depend on seed and virtual time alone. */
/* Must not know: configurations, and what has been asked before. */

/*
 * The slow process is a stationary AR(1) on a grid of ar_s / 200. Its innovations are draws of their own, one a grid
 * index, so that any stretch can be made without those before it: a block starts from the 14 time constants of
 * innovations in front of it (what is older weighs less than 1e-6) and is then run through. A stretch is therefore the
 * same whoever asks first.
 */
#include "noise.h"

#include <math.h>
#include <stdlib.h>

#include "kvat/stats.h"
#include "kvat/units.h"

#define STEPS_A_TAU 200
#define WARM_UP     (14 * STEPS_A_TAU)
#define BLOCK       4096
#define SPIKE_S     1.0
#define MAX_STEPS   200000 /* a thousand time constants: beyond them the mean no longer moves */

static kvat_rng stream_at(uint64_t seed, sim_stream stream, uint64_t key) {
    kvat_rng rng;
    kvat_rng_seed3(&rng, seed, (uint64_t)stream, key);
    return rng;
}

double sim_draw_normal(uint64_t seed, sim_stream stream, uint64_t key) {
    kvat_rng rng = stream_at(seed, stream, key);
    return kvat_rng_normal(&rng);
}

double sim_draw_uniform(uint64_t seed, sim_stream stream, uint64_t key) {
    kvat_rng rng = stream_at(seed, stream, key);
    return kvat_rng_uniform(&rng);
}

kvat_status sim_world_init(sim_world *world, const sim_noise *noise, uint64_t seed, kvat_error *err) {
    *world = (sim_world){.noise = noise, .seed = seed, .block_index = -1};
    world->block = malloc(BLOCK * sizeof *world->block);
    return world->block ? KVAT_OK : kvat_fail(err, KVAT_ERR_NOMEM, "no memory for the world's noise");
}

void sim_world_clear(sim_world *world) {
    free(world->block);
    *world = (sim_world){0};
}

/* ---- the slow process ---- */

static void make_block(sim_world *world, int64_t index) {
    const double phi = exp(-1.0 / STEPS_A_TAU), scale = world->noise->ar_sd * sqrt(1 - phi * phi);
    double x = 0;
    for (int64_t i = -WARM_UP; i < BLOCK; i++) {
        x = phi * x + scale * sim_draw_normal(world->seed, SIM_STREAM_SLOW, (uint64_t)(index * BLOCK + i));
        if (i >= 0) world->block[i] = x;
    }
    world->block_index = index;
}

static double slow_value(sim_world *world, int64_t step) {
    const int64_t index = step / BLOCK;
    if (world->block_index != index) make_block(world, index);
    return world->block[step % BLOCK];
}

/* Mean over [start, start + length] of a function that is constant on steps; `value` gives it by step. */
static double step_mean(sim_world *world, double start, double length, double step,
                        double (*value)(sim_world *world, int64_t step)) {
    const double from = start / step, to = fmin((start + length) / step, from + MAX_STEPS);
    int64_t i = (int64_t)floor(from);
    if (to - from < 1e-9) return value(world, i);
    double sum = 0;
    for (; (double)i < to; i++) {
        const double low = from > (double)i ? from : (double)i, high = to < (double)i + 1 ? to : (double)i + 1;
        sum += (high - low) * value(world, i);
    }
    return sum / (to - from);
}

static double trace_value(sim_world *world, int64_t step) {
    return world->noise->trace[(uint64_t)step % world->noise->n_trace];
}

/* ---- ramp and spikes ---- */

/* Mean of ramp · (1 − exp(−t/τ)). */
static double ramp_mean(const sim_noise *noise, double start, double length) {
    const double tau = noise->ramp_s, at = exp(-start / tau);
    if (length < 1e-9) return noise->ramp * (1 - at);
    return noise->ramp * (1 - tau / length * at * -expm1(-length / tau));
}

/* Mean height of the spikes begun in second `second`, as far as they reach into the stretch. */
static double spikes_of(const sim_world *world, int64_t second, double start, double length) {
    kvat_rng rng = stream_at(world->seed, SIM_STREAM_SPIKE, (uint64_t)second);
    const double end = start + length;
    const double stop = exp(-world->noise->spike_per_s); /* Poisson by Knuth's product of uniforms; rates up to 10 */
    double sum = 0, product = kvat_rng_uniform(&rng);
    while (product > stop) {
        const double from = (double)second + kvat_rng_uniform(&rng), to = from + SPIKE_S;
        const double height = world->noise->spike_max * kvat_rng_uniform(&rng);
        const double overlap = fmin(end, to) - fmax(start, from);
        if (overlap > 0) sum += height * overlap;
        product *= kvat_rng_uniform(&rng);
    }
    return sum / length;
}

static double spike_mean(const sim_world *world, double start, double length) {
    if (length < 1e-9) length = 1e-9;
    double sum = 0;
    for (int64_t second = (int64_t)floor(start) - 1; (double)second < start + length; second++)
        sum += spikes_of(world, second, start, length);
    return sum;
}

double sim_world_slowdown(sim_world *world, int64_t start_ns, double length_s) {
    const sim_noise *noise = world->noise;
    const double start = (double)start_ns / (double)KVAT_NS_PER_S;
    double sum = 0;
    if (noise->ar_sd > 0) sum += step_mean(world, start, length_s, noise->ar_s / STEPS_A_TAU, slow_value);
    if (noise->ramp != 0) sum += ramp_mean(noise, start, length_s);
    if (noise->spike_per_s > 0 && noise->spike_max > 0) sum += spike_mean(world, start, length_s);
    if (noise->n_trace > 0) sum += step_mean(world, start, length_s, noise->trace_step_s, trace_value);
    return sum;
}
