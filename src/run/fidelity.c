// How much of a workload a run decodes: short bursts in the search, whole outputs in the confirmation, and what runs of
// either kind will take. Must not measure, nor fit what bursts say.
#include <math.h>

#include "run_internal.h"

bool kvat__profile_is_long(const kvat_profile *profile) {
    for (size_t i = 0; i < profile->n_cells; i++)
        if (profile->cells[i].output_tokens > KVAT__BURST_TOKENS) return true;
    return false;
}

/** Cells are sorted, so that the last of a depth has its longest output, and the last of a batch its deepest prompt. */
static bool ends_batch(const kvat_profile *p, size_t i) {
    return i + 1 == p->n_cells || p->cells[i + 1].sequences != p->cells[i].sequences;
}

static bool ends_depth(const kvat_profile *p, size_t i) {
    return ends_batch(p, i) || p->cells[i + 1].prompt_tokens != p->cells[i].prompt_tokens;
}

bool kvat__plain_is_cheap(const kvat_profile *profile) {
    int64_t all = 0, deepest = 0;
    for (size_t i = 0; i < profile->n_cells; i++) {
        const kvat_cell *cell = &profile->cells[i];
        if (ends_depth(profile, i)) all += cell->prompt_tokens * cell->sequences;
        if (ends_batch(profile, i)) deepest += cell->prompt_tokens * cell->sequences;
    }
    return all < 2 * deepest;
}

/** What the parts of a run take, by the samples of one. */
typedef struct parts {
    double prefill_ns;       /**< one pass over depth */
    double each_prefill_ns;  /**< every depth by itself */
    double burst_ns;         /**< a burst at every depth */
    double whole_outputs_ns; /**< every depth's longest output */
} parts;

/** `samples` are one a cell, in order. */
static parts parts_of(const kvat_profile *profile, const kvat_sample *samples) {
    parts p = {0};
    for (size_t i = 0; i < profile->n_cells; i++) {
        const kvat_cell *cell = &profile->cells[i];
        const double token_ns = 1e9 * (double)cell->sequences / samples[i].decode_tok_per_s;
        const int64_t short_tokens =
            cell->output_tokens < KVAT__BURST_TOKENS ? cell->output_tokens : KVAT__BURST_TOKENS;
        if (ends_batch(profile, i)) p.prefill_ns += (double)samples[i].ttft_ns;
        if (!ends_depth(profile, i)) continue;
        p.each_prefill_ns += (double)samples[i].ttft_ns;
        p.burst_ns += (double)(short_tokens - 1) * token_ns;
        p.whole_outputs_ns += (double)(cell->output_tokens - 1) * token_ns;
    }
    return p;
}

/**
 * Bursts at each depth for one prefill: (w_d ÷ w_t) · √(cost of the prefill ÷ cost of a burst), which is how often to
 * sample within a unit of two stages that vary alike (W. Cochran, Sampling Techniques, 3rd ed. 1977, § 10.6).
 */
static int64_t repeats_for(const kvat_profile *profile, const parts *p) {
    const double best = profile->weight_decode * sqrt(p->prefill_ns / p->burst_ns) / profile->weight_ttft;
    if (!(profile->weight_decode > 0) || !(best >= 2)) return 1;
    return best < KVAT__MOST_REPEATS ? (int64_t)best : KVAT__MOST_REPEATS;
}

static int64_t whole_ns(double ns) {
    return ns < (double)KVAT__MOST_DURATION_NS ? llround(ns) : KVAT__MOST_DURATION_NS;
}

static bool has_all_samples(const kvat_profile *profile, const kvat_trial_record *record) {
    return record->status == KVAT_TRIAL_OK && record->samples && record->n_samples == profile->n_cells;
}

kvat__fidelity kvat__fidelity_of(const kvat__job *job, const kvat_trial_record *clean) {
    const kvat_profile *profile = job->profile;
    if (job->burst_tokens == 0 || !has_all_samples(profile, clean)) return (kvat__fidelity){0};
    const parts p = parts_of(profile, clean->samples);
    const int64_t repeats = job->repeats ? repeats_for(profile, &p) : 1;
    const bool plain = !job->marks || kvat__plain_is_cheap(profile);
    const double search_ns = (job->marks ? p.prefill_ns : p.each_prefill_ns) + (double)repeats * p.burst_ns;
    const double confirm_ns = (plain ? p.each_prefill_ns : p.prefill_ns) + p.whole_outputs_ns;
    const int64_t around_ns = clean->cost_ns - clean->run_ns; /* load, context, warm-up: as in a fresh process */
    return (kvat__fidelity){.burst_repeats = repeats,
                            .search_run_ns = whole_ns(search_ns),
                            .confirm_run_ns = whole_ns(confirm_ns),
                            .confirm_cost_ns = whole_ns(confirm_ns) + (around_ns > 0 ? around_ns : 0)};
}

bool kvat__record_fitted(const kvat_trial_record *record) {
    bool fitted = false;
    for (size_t i = 0; i < record->n_samples; i++) fitted |= record->samples[i].fitted;
    return fitted;
}

int64_t kvat__whole_run_ns(const kvat_profile *profile, const kvat_trial_record *record) {
    if (!kvat__record_fitted(record) || !has_all_samples(profile, record)) return record->run_ns;
    const parts p = parts_of(profile, record->samples);
    return whole_ns(p.prefill_ns + p.whole_outputs_ns);
}
