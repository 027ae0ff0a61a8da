/* How the world disturbs what is measured: log slowdowns that depend on seed and virtual time alone. */
/* Must not know: configurations, and what has been asked before. */
#ifndef KVAT_SIM_NOISE_H
#define KVAT_SIM_NOISE_H

#include "surface.h"

typedef struct sim_world {
    const sim_noise *noise; /* borrowed */
    uint64_t seed;
    double *block; /* values of the slow process over one block */
    int64_t block_index;
} sim_world;

/* KVAT_ERR_NOMEM. */
kvat_status sim_world_init(sim_world *world, const sim_noise *noise, uint64_t seed, kvat_error *err);
void sim_world_clear(sim_world *world);

/* Mean log slowdown of [start_ns, start_ns + length_s]: slow process, ramp, spikes and trace. */
double sim_world_slowdown(sim_world *world, int64_t start_ns, double length_s);

/* Streams of draws apart from each other. */
typedef enum sim_stream {
    SIM_STREAM_SLOW = 1,
    SIM_STREAM_SPIKE,
    SIM_STREAM_PREFILL,
    SIM_STREAM_DECODE,
    SIM_STREAM_LAUNCH,
    SIM_STREAM_BIAS,
    SIM_STREAM_FAULT
} sim_stream;

/* A standard normal, or a uniform number in (0, 1), that belongs to (seed, stream, key). */
double sim_draw_normal(uint64_t seed, sim_stream stream, uint64_t key);
double sim_draw_uniform(uint64_t seed, sim_stream stream, uint64_t key);

#endif
