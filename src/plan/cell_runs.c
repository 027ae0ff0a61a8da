/* Runs gathered for the answers of cells.h: of each its score in every cell, and the metrics of the whole workload.
 * Must not know what is made of them. */
#include "kvat/cells.h"

#include <math.h>
#include <stdlib.h>

#include "plan_internal.h"

void kvat_cell_runs_clear(kvat_cell_runs *runs) {
    free(runs->config);
    free(runs->confirming);
    free(runs->middle_ns);
    free(runs->y);
    *runs = (kvat_cell_runs){0};
}

/* The old array, still whole, without memory. */
static void *grown(void *array, size_t n, size_t size, bool *ok) {
    void *made = realloc(array, n * size);
    if (made) return made;
    *ok = false;
    return array;
}

static kvat_status grow(kvat_cell_runs *runs, size_t n_responses, kvat_error *err) {
    if (runs->n < runs->capacity) return KVAT_OK;
    const size_t capacity = runs->capacity ? 2 * runs->capacity : 32;
    bool ok = true;
    runs->config = grown(runs->config, capacity, sizeof *runs->config, &ok);
    runs->confirming = grown(runs->confirming, capacity, sizeof *runs->confirming, &ok);
    runs->middle_ns = grown(runs->middle_ns, capacity, sizeof *runs->middle_ns, &ok);
    runs->y = grown(runs->y, capacity, n_responses * sizeof *runs->y, &ok);
    if (!ok) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the runs of each cell");
    runs->capacity = capacity;
    runs->n_responses = n_responses;
    return KVAT_OK;
}

kvat_status kvat_cell_runs_add(kvat_cell_runs *runs, const kvat_profile *profile, const kvat_cell_run *run,
                               kvat_error *err) {
    kvat_score_parts parts;
    const size_t n_cells = profile->n_cells;
    kvat_status status = kvat_score_parts_of(&parts, profile, run->samples, run->n_samples, run->peak_bytes, err);
    if (status == KVAT_OK) status = grow(runs, n_cells + KVAT__FRONT_METRICS, err);
    if (status != KVAT_OK) return status;
    double *y = runs->y + runs->n * runs->n_responses;
    for (size_t i = 0; i < run->n_samples; i++) {
        const kvat_sample *sample = &run->samples[i];
        const kvat_score_parts cell = {log((double)sample->ttft_ns / 1e9), log(sample->decode_tok_per_s),
                                       parts.ln_peak};
        y[sample->cell] = kvat_score(profile, &cell);
    }
    y[n_cells] = -parts.ln_ttft;
    y[n_cells + 1] = parts.ln_decode;
    y[n_cells + 2] = -parts.ln_peak;
    runs->config[runs->n] = run->config;
    runs->confirming[runs->n] = run->confirming;
    runs->middle_ns[runs->n] = run->elapsed_ns - run->cost_ns / 2;
    runs->total_ns += run->cost_ns;
    runs->n++;
    return KVAT_OK;
}
