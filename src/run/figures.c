// Gathers the figures of a configuration over its clean runs and sums them up: medians, with intervals of the mean on
// the log scale. Must not know how trials are chosen or stored.
#include "figures.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static kvat_status nomem(kvat_error *err) {
    return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate figures");
}

void kvat__entry_figures_clear(kvat__entry_figures *f) {
    free(f->ttft_s);
    free(f->decode);
    free(f->p50_s);
    free(f->p95_s);
    free(f->p99_s);
    free(f->fitted);
    free(f->peak_bytes);
    free(f->failure);
    memset(f, 0, sizeof *f);
}

static bool grow_one(double **array, size_t n) {
    double *grown = realloc(*array, n * sizeof *grown);
    if (grown) *array = grown;
    return grown != NULL;
}

static bool grow_flags(bool **array, size_t n) {
    bool *grown = realloc(*array, n * sizeof *grown);
    if (grown) *array = grown;
    return grown != NULL;
}

static kvat_status grow(kvat__entry_figures *f, size_t n_cells, kvat_error *err) {
    if (f->clean < f->capacity) return KVAT_OK;
    size_t capacity = f->capacity ? 2 * f->capacity : 4, all = capacity * n_cells;
    if (!grow_one(&f->ttft_s, all) || !grow_one(&f->decode, all) || !grow_one(&f->p50_s, all) ||
        !grow_one(&f->p95_s, all) || !grow_one(&f->p99_s, all) || !grow_one(&f->peak_bytes, capacity) ||
        !grow_flags(&f->fitted, all))
        return nomem(err);
    f->capacity = capacity;
    f->n_cells = n_cells;
    return KVAT_OK;
}

static kvat_status add_failure(kvat__entry_figures *f, const kvat_trial_record *record, kvat_error *err) {
    f->failures[record->status]++;
    if (record->status == KVAT_TRIAL_VOIDED) return KVAT_OK; /* it was the machine that failed */
    char *text = strdup(record->detail ? record->detail : "");
    if (!text) return nomem(err);
    free(f->failure);
    f->failure = text;
    return KVAT_OK;
}

kvat_status kvat__entry_figures_add(kvat__entry_figures *f, const kvat_profile *profile,
                                    const kvat_trial_record *record, kvat_error *err) {
    if (record->status != KVAT_TRIAL_OK) return add_failure(f, record, err);
    kvat_status status = grow(f, profile->n_cells, err);
    if (status != KVAT_OK) return status;
    size_t row = f->clean * profile->n_cells;
    for (size_t i = 0; i < record->n_samples; i++) {
        const kvat_sample *sample = &record->samples[i];
        size_t at = row + sample->cell;
        f->ttft_s[at] = (double)sample->ttft_ns / 1e9;
        f->decode[at] = sample->decode_tok_per_s;
        f->p50_s[at] = sample->itl_p50_ns / 1e9;
        f->p95_s[at] = sample->itl_p95_ns / 1e9;
        f->p99_s[at] = sample->itl_p99_ns / 1e9;
        f->fitted[at] = sample->fitted;
    }
    f->peak_bytes[f->clean++] = (double)record->peak_bytes;
    f->model_bytes = record->model_bytes;
    f->kv_bytes = record->kv_bytes;
    f->compute_bytes = record->compute_bytes;
    f->once_ns += record->prepare_ns + record->warmup_ns;
    f->run_ns += kvat__whole_run_ns(profile, record);
    return KVAT_OK;
}

/** Column `cell` of a run × cell table, into `column`. */
static const double *column_of(double *column, const kvat__entry_figures *f, const double *table, size_t cell) {
    for (size_t run = 0; run < f->clean; run++) column[run] = table[run * f->n_cells + cell];
    return column;
}

/** Column `cell` of the runs whose decode rate was fitted, or was not; of all where there are none such. How many. */
static size_t decode_column(double *column, const kvat__entry_figures *f, const double *table, size_t cell,
                            bool fitted) {
    size_t n = 0;
    for (size_t run = 0; run < f->clean; run++)
        if (f->fitted[run * f->n_cells + cell] == fitted) column[n++] = table[run * f->n_cells + cell];
    if (n > 0) return n;
    column_of(column, f, table, cell);
    return f->clean;
}

static double decode_median(double *column, const kvat__entry_figures *f, const double *table, size_t cell,
                            bool fitted) {
    const size_t n = decode_column(column, f, table, cell, fitted);
    return kvat_median(column, n);
}

static bool all_fitted(const kvat__entry_figures *f, size_t cell) {
    for (size_t run = 0; run < f->clean; run++)
        if (!f->fitted[run * f->n_cells + cell]) return false;
    return true;
}

/** Median with the 95 % Student interval of the mean log, NaN bounds for a single run. All NaN without memory. */
static kvat_interval median_interval(double *column, size_t n) {
    double median = kvat_median(column, n);
    if (n < 2) return (kvat_interval){median, NAN, NAN};
    for (size_t i = 0; i < n; i++) column[i] = log(column[i]);
    kvat_interval logs = kvat_paired_interval(column, n, 0.95);
    if (isnan(logs.value)) return (kvat_interval){NAN, NAN, NAN};
    double low = exp(logs.low), high = exp(logs.high);
    return (kvat_interval){median, low < median ? low : median, high > median ? high : median};
}

/** False without memory: a median of what was measured is a number, unless there was no room to sort in. */
static bool put_cell(kvat_cell_figures *out, const kvat__entry_figures *f, size_t cell, int64_t prompt_tokens,
                     double *column) {
    out->cell = cell;
    column_of(column, f, f->ttft_s, cell);
    out->ttft_s = median_interval(column, f->clean);
    size_t n = decode_column(column, f, f->decode, cell, false);
    out->decode_tok_per_s = median_interval(column, n);
    out->decode_fitted = all_fitted(f, cell);
    out->compared_decode_tok_per_s = decode_median(column, f, f->decode, cell, true);
    out->prefill_tok_per_s = (double)prompt_tokens / out->ttft_s.value;
    out->itl_p50_s = decode_median(column, f, f->p50_s, cell, false);
    out->itl_p95_s = decode_median(column, f, f->p95_s, cell, false);
    out->itl_p99_s = decode_median(column, f, f->p99_s, cell, false);
    return !isnan(out->ttft_s.value) && !isnan(out->decode_tok_per_s.value) && !isnan(out->compared_decode_tok_per_s) &&
           !isnan(out->itl_p50_s) && !isnan(out->itl_p95_s) && !isnan(out->itl_p99_s);
}

static kvat_status put_failures(kvat_entry *entry, const kvat__entry_figures *f, kvat_error *err) {
    memcpy(entry->failures_by_status, f->failures, sizeof f->failures);
    if (!f->failure) return KVAT_OK;
    entry->failure = strdup(f->failure);
    return entry->failure ? KVAT_OK : nomem(err);
}

kvat_status kvat__entry_figures_put(kvat_entry *entry, const kvat__entry_figures *f, const kvat_profile *profile,
                                    kvat_error *err) {
    kvat_status status = put_failures(entry, f, err);
    if (status != KVAT_OK || f->clean == 0) return status;
    double *column = malloc(f->clean * sizeof *column);
    entry->cells = calloc(profile->n_cells, sizeof *entry->cells);
    if (!column || !entry->cells) {
        free(column);
        return nomem(err);
    }
    double ln_ttft = 0, ln_decode = 0, ln_compared = 0, jitter = 0, peak_bytes = kvat_median(f->peak_bytes, f->clean);
    bool whole = !isnan(peak_bytes);
    for (size_t c = 0; c < profile->n_cells && whole; c++) {
        kvat_cell_figures *cell = &entry->cells[c];
        whole = put_cell(cell, f, c, profile->cells[c].prompt_tokens, column);
        ln_ttft += profile->cells[c].weight * log(cell->ttft_s.value);
        ln_decode += profile->cells[c].weight * log(cell->decode_tok_per_s.value);
        ln_compared += profile->cells[c].weight * log(cell->compared_decode_tok_per_s);
        entry->decode_fitted |= cell->decode_fitted;
        if (cell->itl_p50_s > 0) jitter = fmax(jitter, cell->itl_p95_s / cell->itl_p50_s);
    }
    free(column);
    if (!whole) return nomem(err);
    entry->ttft_s = exp(ln_ttft);
    entry->decode_tok_per_s = exp(ln_decode);
    entry->compared_decode_tok_per_s = exp(ln_compared);
    entry->jitter = jitter > 0 ? jitter : NAN;
    entry->peak_bytes = (int64_t)peak_bytes;
    entry->model_bytes = f->model_bytes;
    entry->kv_bytes = f->kv_bytes;
    entry->compute_bytes = f->compute_bytes;
    return KVAT_OK;
}
