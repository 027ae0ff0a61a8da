/* A performance surface as read from a "kvat-surface/1" file: what every configuration truly does, and how noisy it
 * looks. */
/* Must not know: clocks, random draws, the protocol. */
#ifndef KVAT_SIM_SURFACE_H
#define KVAT_SIM_SURFACE_H

#include "kvat/hash.h"
#include "kvat/json.h"
#include "kvat/space.h"

/* One measured point. */
typedef struct sim_cell {
    int64_t prompt_tokens, output_tokens, sequences;
    double ttft_s, decode_tok_per_s, peak_bytes;
} sim_cell;

/* Sorted by sequences, prompt_tokens, output_tokens; no two alike. */
typedef struct sim_cells {
    sim_cell *items;
    size_t n;
} sim_cells;

/* Added to the natural logarithms. */
typedef struct sim_effect {
    double ttft, decode, peak;
} sim_effect;

/* Knobs that have to have certain values; levels are canonical. */
typedef struct sim_when {
    size_t *knobs;
    uint16_t *levels;
    size_t n;
} sim_when;

typedef struct sim_interaction {
    sim_when when;
    sim_effect effect;
} sim_interaction;

typedef struct sim_config {
    uint16_t *levels; /* one a knob, canonical */
    sim_cells cells;
} sim_config;

typedef enum sim_fault_kind {
    SIM_OOM_HOST,
    SIM_OOM_DEVICE,
    SIM_CRASH,
    SIM_HANG,
    SIM_UNSUPPORTED,
    SIM_INVALID
} sim_fault_kind;

typedef struct sim_fault {
    sim_when when;
    sim_fault_kind kind;
    double probability;
} sim_fault;

typedef struct sim_noise {
    double run_sd, launch_sd;
    double ar_sd, ar_s;
    double ramp, ramp_s;
    double spike_per_s, spike_max;
    double trace_step_s;
    double *trace;
    size_t n_trace;
} sim_noise;

typedef struct sim_surface {
    json_t *root;
    char identity[KVAT_HASH_HEX];
    const char *name;
    json_t *knobs_json;
    kvat_knobs *knobs;
    double load_s, prepare_s;
    sim_cells base;       /* may be empty */
    sim_effect **effects; /* by knob and level */
    sim_interaction *interactions;
    size_t n_interactions;
    sim_config *configs;
    size_t n_configs;
    sim_fault *faults;
    size_t n_faults;
    double bias_mean, bias_sd; /* of short outputs */
    sim_noise noise;
} sim_surface;

/* KVAT_ERR_DATA names the member that is missing, damaged or contradicts another. */
kvat_status sim_surface_read(sim_surface **out, const char *path, kvat_error *err);
kvat_status sim_surface_parse(sim_surface **out, json_t *root, kvat_error *err); /* keeps a reference */
void sim_surface_free(sim_surface *surface);

/* Between the files of the reader. */
kvat_status sim__cells_parse(sim_cells *out, const json_t *array, const char *path, kvat_error *err);
kvat_status sim__noise_parse(sim_noise *out, const json_t *root, kvat_error *err);

#endif
