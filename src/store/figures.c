// Medians, failure rates and noise of a run's trials.
// Must not know the format of a surface.
#include "store_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "surface.h"

static const char doing[] = "export the surface";

static kvat_status fail_memory(kvat_error *err) {
    return kvat_fail(err, KVAT_ERR_NOMEM, "out of memory: cannot %s", doing);
}

typedef struct numbers {
    double *values;
    size_t n, places;
} numbers;

static kvat_status numbers_add(numbers *list, double value, kvat_error *err) {
    if (list->n == list->places) {
        double *bigger = kvat__array_grow(list->values, &list->places, sizeof *bigger);
        if (!bigger) return fail_memory(err);
        list->values = bigger;
    }
    list->values[list->n++] = value;
    return KVAT_OK;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_of(numbers *list) {
    if (list->n == 0) return 0;
    qsort(list->values, list->n, sizeof *list->values, by_value);
    size_t middle = list->n / 2;
    return list->n % 2 ? list->values[middle] : (list->values[middle - 1] + list->values[middle]) / 2;
}

static kvat_status medians_add(kvat__medians *medians, kvat__median row, kvat_error *err) {
    if (medians->n == medians->places) {
        kvat__median *bigger = kvat__array_grow(medians->rows, &medians->places, sizeof *bigger);
        if (!bigger) return fail_memory(err);
        medians->rows = bigger;
    }
    medians->rows[medians->n++] = row;
    return KVAT_OK;
}

static int by_place(const void *a, const void *b) {
    const kvat__median *x = a, *y = b;
    if (x->config != y->config) return x->config < y->config ? -1 : 1;
    return (x->cell > y->cell) - (x->cell < y->cell);
}

bool kvat__medians_find(double *value, const kvat__medians *medians, size_t config, size_t cell) {
    kvat__median key = {config, cell, 0};
    const kvat__median *found = medians->n ? bsearch(&key, medians->rows, medians->n, sizeof key, by_place) : NULL;
    if (found) *value = found->value;
    return found != NULL;
}

/** Residuals of logarithms around their group's mean, widened for the mean having been fitted. */
static kvat_status add_residuals(numbers *residuals, const numbers *group, kvat_error *err) {
    double mean = 0;
    kvat_status status = KVAT_OK;
    if (group->n < 2) return KVAT_OK;
    double n = (double)group->n;
    for (size_t i = 0; i < group->n; i++) mean += log(group->values[i]) / n;
    for (size_t i = 0; i < group->n && status == KVAT_OK; i++)
        status = numbers_add(residuals, fabs(log(group->values[i]) - mean) * sqrt(n / (n - 1)), err);
    return status;
}

static kvat_status end_group(kvat__medians *out, numbers *residuals, numbers *group, kvat__median row,
                             kvat_error *err) {
    if (group->n == 0) return KVAT_OK;
    kvat_status status = residuals ? add_residuals(residuals, group, err) : KVAT_OK;
    row.value = median_of(group);
    group->n = 0;
    return status == KVAT_OK ? medians_add(out, row, err) : status;
}

/** `sql` gives (configuration, cell, value > 0) in order of configuration and cell, for run ?1 and phase ?2. */
static kvat_status load_medians(kvat__medians *out, numbers *residuals, kvat_store *store, const char *sql, int64_t run,
                                const char *phase, kvat_error *err) {
    kvat__query query;
    numbers group = {0};
    kvat__median row = {0};
    bool more = true;
    kvat_status status = kvat__query_open(&query, store, sql, doing, err);
    if (status == KVAT_OK) {
        kvat__query_int(&query, run);
        kvat__query_text(&query, phase);
    }
    while (status == KVAT_OK && more) {
        status = kvat__query_step(&more, &query, err);
        if (status != KVAT_OK) break;
        kvat__median next = {0};
        if (more) {
            next.config = (size_t)kvat__query_get_int(&query, 0);
            next.cell = (size_t)kvat__query_get_int(&query, 1);
        }
        if (!more || by_place(&row, &next) != 0) status = end_group(out, residuals, &group, row, err);
        row = next;
        if (more && status == KVAT_OK) status = numbers_add(&group, sqlite3_column_double(query.statement, 2), err);
    }
    free(group.values);
    kvat__query_close(&query);
    return status;
}

/** One median over the whole run. */
static kvat_status load_median(double *out, kvat_store *store, const char *sql, int64_t run, const char *phase,
                               kvat_error *err) {
    kvat__medians one = {0};
    kvat_status status = load_medians(&one, NULL, store, sql, run, phase, err);
    if (status == KVAT_OK && one.n > 0) *out = one.rows[0].value;
    free(one.rows);
    return status;
}

#define CLEAN_SAMPLES(value)                                                                                           \
    "SELECT t.config, s.cell, s." value " FROM trial t JOIN sample s ON s.trial = t.id WHERE t.run = ? AND "           \
    "t.phase = ? AND t.status = 'ok' AND s." value " > 0 ORDER BY t.config, s.cell, t.id"
#define CLEAN_TRIALS(config, value, order)                                                                             \
    "SELECT " config ", 0, " value " FROM trial WHERE run = ? AND phase = ? AND status = 'ok' AND " value              \
    " > 0 ORDER BY " order

/** Normal distribution: the median of absolute deviations is 0.6745 standard deviations. */
static const double mad_to_sd = 1.482602218505602;

static kvat_status load_phase(kvat__figures *f, kvat_store *store, int64_t run, const char *phase, kvat_error *err) {
    numbers residuals = {0};
    kvat_status status = load_medians(&f->ttft, &residuals, store, CLEAN_SAMPLES("ttft_ns"), run, phase, err);
    if (status == KVAT_OK)
        status = load_medians(&f->decode, &residuals, store, CLEAN_SAMPLES("decode_tok_per_s"), run, phase, err);
    if (status == KVAT_OK) {
        f->run_sd = mad_to_sd * median_of(&residuals);
        status =
            load_medians(&f->peak, NULL, store, CLEAN_TRIALS("config", "peak_bytes", "config, id"), run, phase, err);
    }
    if (status == KVAT_OK)
        status = load_median(&f->load_ns, store, CLEAN_TRIALS("0", "load_ns", "id"), run, phase, err);
    if (status == KVAT_OK)
        status = load_median(&f->prepare_ns, store, CLEAN_TRIALS("0", "prepare_ns", "id"), run, phase, err);
    free(residuals.values);
    return status;
}

/** The library's own text of a word that lives only until the next row; NULL when no surface can play it. */
static const char *fault_kind(const char *word) {
    for (int i = KVAT_TRIAL_CRASH; i <= KVAT_TRIAL_INVALID; i++) {
        const char *kind = kvat_trial_status_word((kvat_trial_status)i);
        if (strcmp(word, kind) == 0) return kind;
    }
    return NULL;
}

static kvat_status fault_add(kvat__figures *f, kvat__fault fault, kvat_error *err) {
    if (f->n_faults == f->fault_places) {
        kvat__fault *bigger = kvat__array_grow(f->faults, &f->fault_places, sizeof *bigger);
        if (!bigger) return fail_memory(err);
        f->faults = bigger;
    }
    f->faults[f->n_faults++] = fault;
    return KVAT_OK;
}

/** Share of a configuration's trials that ended in each kind of failure; voided ones say nothing of it. A surface has
 * no word for a timeout, and an engine that does not answer in time is what it plays as a hang. */
static kvat_status load_faults(kvat__figures *f, kvat_store *store, int64_t run, kvat_error *err) {
    static const char sql[] =
        "SELECT config, CASE status WHEN 'timeout' THEN 'hang' WHEN 'protocol_error' THEN 'crash' ELSE status END AS "
        "kind, count(*), (SELECT count(*) FROM trial a WHERE a.run = t.run AND a.config = t.config AND "
        "a.status <> 'voided') FROM trial t WHERE run = ? AND status NOT IN ('ok', 'voided') GROUP BY config, kind "
        "ORDER BY config, kind";
    kvat__query query;
    bool more = true;
    kvat_status status = kvat__query_open(&query, store, sql, doing, err);
    if (status == KVAT_OK) kvat__query_int(&query, run);
    while (status == KVAT_OK && more) {
        status = kvat__query_step(&more, &query, err);
        if (status != KVAT_OK || !more) break;
        const char *word = kvat__query_get_text(&query, 1);
        const char *kind = word ? fault_kind(word) : NULL;
        double share = (double)kvat__query_get_int(&query, 2) / (double)kvat__query_get_int(&query, 3);
        if (kind) status = fault_add(f, (kvat__fault){(size_t)kvat__query_get_int(&query, 0), kind, share}, err);
    }
    kvat__query_close(&query);
    return status;
}

kvat_status kvat__figures_load(kvat__figures *out, kvat_store *store, int64_t run, kvat_error *err) {
    kvat_status status = load_phase(out, store, run, kvat__phase_words[KVAT_PHASE_SEARCH], err);
    if (status == KVAT_OK && out->ttft.n == 0)
        status = load_phase(out, store, run, kvat__phase_words[KVAT_PHASE_CONFIRM], err);
    return status == KVAT_OK ? load_faults(out, store, run, err) : status;
}

void kvat__figures_clear(kvat__figures *figures) {
    free(figures->ttft.rows);
    free(figures->decode.rows);
    free(figures->peak.rows);
    free(figures->faults);
    memset(figures, 0, sizeof *figures);
}
