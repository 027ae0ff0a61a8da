/* Reads the measured points of a surface, and its noise. */
/* Must not know: knobs. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "kvat/profile.h"
#include "surface.h"

#define MAX_CELLS     100000
#define MAX_TRACE     1000000
#define MAX_TTFT_S    1e5
#define MIN_TTFT_S    1e-9
#define MAX_TOK_PER_S 1e9
#define MIN_TOK_PER_S 1e-4
#define MAX_BYTES     0x1p60

static const char *const cell_members[] = {"prompt_tokens", "output_tokens", "sequences", "ttft_s", "decode_tok_per_s",
                                           "peak_bytes",    "kld",           "same_top",  NULL};

static kvat_status parse_cell(sim_cell *cell, const json_t *object, const char *path, kvat_error *err) {
    const kvat_json_at at = {object, path};
    cell->sequences = 1;
    if (!json_is_object(object)) return kvat_fail(err, KVAT_ERR_DATA, "%s: expected an object", path);
    kvat_status status = kvat_json_only_members(at, cell_members, err);
    if (status == KVAT_OK)
        status = kvat_json_get_int(&cell->prompt_tokens, at, "prompt_tokens", 1, KVAT_PROFILE_MAX_TOKENS, true, err);
    if (status == KVAT_OK)
        status = kvat_json_get_int(&cell->output_tokens, at, "output_tokens", 2, KVAT_PROFILE_MAX_TOKENS, true, err);
    if (status == KVAT_OK) status = kvat_json_get_int(&cell->sequences, at, "sequences", 1, 1024, false, err);
    if (status == KVAT_OK) status = kvat_json_get_real(&cell->ttft_s, at, "ttft_s", MIN_TTFT_S, MAX_TTFT_S, true, err);
    if (status == KVAT_OK)
        status = kvat_json_get_real(&cell->decode_tok_per_s, at, "decode_tok_per_s", MIN_TOK_PER_S, MAX_TOK_PER_S, true,
                                    err);
    if (status == KVAT_OK) status = kvat_json_get_real(&cell->peak_bytes, at, "peak_bytes", 1, MAX_BYTES, true, err);
    return status;
}

static int compare_cells(const void *left, const void *right) {
    const sim_cell *a = left, *b = right;
    if (a->sequences != b->sequences) return a->sequences < b->sequences ? -1 : 1;
    if (a->prompt_tokens != b->prompt_tokens) return a->prompt_tokens < b->prompt_tokens ? -1 : 1;
    return (a->output_tokens > b->output_tokens) - (a->output_tokens < b->output_tokens);
}

static kvat_status refuse_twins(const sim_cells *cells, const char *path, kvat_error *err) {
    for (size_t i = 1; i < cells->n; i++)
        if (compare_cells(&cells->items[i - 1], &cells->items[i]) == 0)
            return kvat_fail(err, KVAT_ERR_DATA, "%s: two cells of prompt_tokens %lld, output_tokens %lld", path,
                             (long long)cells->items[i].prompt_tokens, (long long)cells->items[i].output_tokens);
    return KVAT_OK;
}

kvat_status sim__cells_parse(sim_cells *out, const json_t *array, const char *path, kvat_error *err) {
    const size_t n = json_array_size(array);
    if (n == 0) return kvat_fail(err, KVAT_ERR_DATA, "%s: expected at least one cell", path);
    if (n > MAX_CELLS) return kvat_fail(err, KVAT_ERR_DATA, "%s: more than %d cells", path, MAX_CELLS);
    sim_cells cells = {.items = calloc(n, sizeof *cells.items), .n = n};
    if (!cells.items) return kvat_fail(err, KVAT_ERR_NOMEM, "no memory for the surface");

    kvat_status status = KVAT_OK;
    for (size_t i = 0; i < n && status == KVAT_OK; i++) {
        char cell_path[128];
        snprintf(cell_path, sizeof cell_path, "%s[%zu]", path, i);
        status = parse_cell(&cells.items[i], json_array_get(array, i), cell_path, err);
    }
    if (status == KVAT_OK) {
        qsort(cells.items, n, sizeof *cells.items, compare_cells);
        status = refuse_twins(&cells, path, err);
    }
    if (status == KVAT_OK) {
        *out = cells;
    } else {
        free(cells.items);
    }
    return status;
}

/* ---- noise ---- */

static const char *const noise_members[] = {"run_sd",      "launch_sd", "ar_sd",        "ar_s",  "ramp", "ramp_s",
                                            "spike_per_s", "spike_max", "trace_step_s", "trace", NULL};

static kvat_status parse_trace(sim_noise *noise, const json_t *array, kvat_error *err) {
    const size_t n = json_array_size(array);
    if (n == 0) return KVAT_OK;
    if (n > MAX_TRACE) return kvat_fail(err, KVAT_ERR_DATA, "noise.trace: more than %d values", MAX_TRACE);
    noise->trace = calloc(n, sizeof *noise->trace);
    if (!noise->trace) return kvat_fail(err, KVAT_ERR_NOMEM, "no memory for the surface");
    noise->n_trace = n;
    for (size_t i = 0; i < n; i++) {
        const json_t *value = json_array_get(array, i);
        noise->trace[i] = json_number_value(value);
        if (!json_is_number(value) || !(noise->trace[i] >= -10 && noise->trace[i] <= 10))
            return kvat_fail(err, KVAT_ERR_DATA, "noise.trace[%zu]: expected a number from -10 to 10", i);
    }
    return KVAT_OK;
}

kvat_status sim__noise_parse(sim_noise *out, const json_t *root, kvat_error *err) {
    *out = (sim_noise){.ar_s = 20, .ramp_s = 90, .trace_step_s = 0.1};
    json_t *object = NULL, *trace = NULL;
    kvat_status status = kvat_json_get_object(&object, (kvat_json_at){root, "surface"}, "noise", false, err);
    if (status != KVAT_OK || !object) return status;

    const kvat_json_at at = {object, "noise"};
    const struct {
        const char *name;
        double *value, low, high;
    } members[] = {
        {"run_sd", &out->run_sd, 0, 5},
        {"launch_sd", &out->launch_sd, 0, 5},
        {"ar_sd", &out->ar_sd, 0, 5},
        {"ar_s", &out->ar_s, 0.1, 1e6},
        {"ramp", &out->ramp, -5, 5},
        {"ramp_s", &out->ramp_s, 0.001, 1e6},
        {"spike_per_s", &out->spike_per_s, 0, 10},
        {"spike_max", &out->spike_max, 0, 10},
        {"trace_step_s", &out->trace_step_s, 0.001, 1e4},
    };
    status = kvat_json_only_members(at, noise_members, err);
    for (size_t i = 0; i < sizeof members / sizeof *members && status == KVAT_OK; i++)
        status = kvat_json_get_real(members[i].value, at, members[i].name, members[i].low, members[i].high, false, err);
    if (status == KVAT_OK) status = kvat_json_get_array(&trace, at, "trace", false, err);
    return status == KVAT_OK ? parse_trace(out, trace, err) : status;
}
