/* Figures of a trial: token times to a sample, samples to a score.
 * Must not know how they were measured, nor what other configurations scored. */
#include "kvat/trial.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const char *const status_words[] = {
#define WORD(name, word) word,
    KVAT_TRIAL_STATUS_LIST(WORD)
#undef WORD
};

const char *kvat_trial_status_word(kvat_trial_status status) {
    return (size_t)status < KVAT_TRIAL_STATUS_COUNT ? status_words[status] : "unknown";
}

bool kvat_trial_failed(kvat_trial_status status) {
    return status != KVAT_TRIAL_OK && status != KVAT_TRIAL_VOIDED;
}

int kvat_trial_status_parse(const char *word) {
    for (int i = 0; i < KVAT_TRIAL_STATUS_COUNT; i++)
        if (strcmp(status_words[i], word) == 0) return i;
    return -1;
}

/* --- score --- */

static bool sample_is_positive(const kvat_sample *sample) {
    return sample->ttft_ns > 0 && sample->decode_tok_per_s > 0 && isfinite(sample->decode_tok_per_s);
}

static kvat_status check_samples(const kvat_profile *profile, const kvat_sample *samples, size_t n, kvat_error *err) {
    bool seen[KVAT_PROFILE_MAX_CELLS] = {false};
    if (n != profile->n_cells)
        return kvat_fail(err, KVAT_ERR_DATA, "%zu cells were measured, the workload has %zu", n, profile->n_cells);
    for (size_t i = 0; i < n; i++) {
        if (samples[i].cell >= n || seen[samples[i].cell])
            return kvat_fail(err, KVAT_ERR_DATA, "cell %zu is measured twice or not of the workload", samples[i].cell);
        seen[samples[i].cell] = true;
        if (!sample_is_positive(&samples[i]))
            return kvat_fail(err, KVAT_ERR_DATA, "cell %zu: a time or speed is not positive", samples[i].cell);
    }
    return KVAT_OK;
}

kvat_status kvat_score_parts_of(kvat_score_parts *out, const kvat_profile *profile, const kvat_sample *samples,
                                size_t n, int64_t peak_bytes, kvat_error *err) {
    kvat_status status = check_samples(profile, samples, n, err);
    if (status != KVAT_OK) return status;
    if (peak_bytes <= 0) return kvat_fail(err, KVAT_ERR_DATA, "peak memory is not positive");
    kvat_score_parts parts = {.ln_peak = log((double)peak_bytes)};
    for (size_t i = 0; i < n; i++) {
        double weight = profile->cells[samples[i].cell].weight;
        parts.ln_ttft += weight * log((double)samples[i].ttft_ns / 1e9);
        parts.ln_decode += weight * log(samples[i].decode_tok_per_s);
    }
    *out = parts;
    return KVAT_OK;
}

double kvat_score(const kvat_profile *profile, const kvat_score_parts *parts) {
    return -profile->weight_ttft * parts->ln_ttft + profile->weight_decode * parts->ln_decode -
           profile->weight_memory * parts->ln_peak;
}

/* --- samples --- */

static int compare_gap(const void *left, const void *right) {
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

/** Quantile of sorted values, type 7 of Hyndman and Fan (1996): linear between the order statistics around 1 + (n −
 * 1)p. */
static double quantile(const int64_t *sorted, size_t n, double p) {
    double place = (double)(n - 1) * p;
    size_t below = (size_t)place;
    if (below + 1 >= n) return (double)sorted[n - 1];
    double low = (double)sorted[below], high = (double)sorted[below + 1];
    return low + (place - (double)below) * (high - low);
}

static kvat_status check_times(const int64_t *token_ns, size_t n, kvat_error *err) {
    if (n < 2) return kvat_fail(err, KVAT_ERR_DATA, "decode speed needs the times of two tokens, not %zu", n);
    for (size_t i = 1; i < n; i++)
        if (token_ns[i] < token_ns[i - 1])
            return kvat_fail(err, KVAT_ERR_DATA, "the time of token %zu is before that of the token before it", i);
    int64_t span;
    if (__builtin_sub_overflow(token_ns[n - 1], token_ns[0], &span) || span <= 0)
        return kvat_fail(err, KVAT_ERR_DATA, "the first and the last token came at the same time");
    return KVAT_OK;
}

kvat_status kvat_sample_of(kvat_sample *out, size_t cell, int64_t ttft_ns, const int64_t *token_ns, size_t n,
                           kvat_error *err) {
    if (ttft_ns <= 0) return kvat_fail(err, KVAT_ERR_DATA, "the time to the first token is not positive");
    kvat_status status = check_times(token_ns, n, err);
    if (status != KVAT_OK) return status;
    int64_t *gaps = calloc(n - 1, sizeof *gaps);
    if (!gaps) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the gaps between tokens");
    for (size_t i = 0; i + 1 < n; i++) gaps[i] = token_ns[i + 1] - token_ns[i];
    qsort(gaps, n - 1, sizeof *gaps, compare_gap);
    *out = (kvat_sample){.cell = cell,
                         .ttft_ns = ttft_ns,
                         .ttft_worst_ns = ttft_ns,
                         .decode_tok_per_s = (double)(n - 1) / ((double)(token_ns[n - 1] - token_ns[0]) / 1e9),
                         .itl_p50_ns = quantile(gaps, n - 1, 0.50),
                         .itl_p95_ns = quantile(gaps, n - 1, 0.95),
                         .itl_p99_ns = quantile(gaps, n - 1, 0.99)};
    free(gaps);
    return KVAT_OK;
}

/** Mean of `n_before` values of mean `before` and one more. */
static double joint_mean(double before, double added, size_t n_before) {
    return before + (added - before) / ((double)n_before + 1);
}

void kvat_sample_merge(kvat_sample *into, const kvat_sample *other, size_t n_before) {
    into->ttft_ns += llround(joint_mean(0, (double)(other->ttft_ns - into->ttft_ns), n_before));
    if (other->ttft_worst_ns > into->ttft_worst_ns) into->ttft_worst_ns = other->ttft_worst_ns;
    into->decode_tok_per_s += other->decode_tok_per_s;
    into->itl_p50_ns = joint_mean(into->itl_p50_ns, other->itl_p50_ns, n_before);
    into->itl_p95_ns = joint_mean(into->itl_p95_ns, other->itl_p95_ns, n_before);
    into->itl_p99_ns = joint_mean(into->itl_p99_ns, other->itl_p99_ns, n_before);
}
