/* What a configuration truly does at a point: its own row, or the base moved by effects and interactions. */
/* Must not know: time, random draws. */
#include "truth.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool sim_when_holds(const sim_when *when, const uint16_t *levels) {
    for (size_t i = 0; i < when->n; i++)
        if (levels[when->knobs[i]] != when->levels[i]) return false;
    return true;
}

static int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static int64_t largest_of(const sim_cells *cells) {
    int64_t largest = 0;
    for (size_t i = 0; i < cells->n; i++)
        largest = larger(largest, cells->items[i].prompt_tokens + cells->items[i].output_tokens);
    return largest;
}

int64_t sim_largest_context(const sim_surface *surface) {
    int64_t largest = largest_of(&surface->base);
    for (size_t i = 0; i < surface->n_configs; i++) largest = larger(largest, largest_of(&surface->configs[i].cells));
    return largest;
}

/* ---- between listed points ---- */

/* Cells of one prompt length. */
typedef struct column {
    const sim_cell *first;
    size_t n;
} column;

/* Rows of that many sequences. */
static column of_sequences(const sim_cells *cells, int64_t sequences) {
    column found = {NULL, 0};
    for (size_t i = 0; i < cells->n; i++)
        if (cells->items[i].sequences == sequences && found.n++ == 0) found.first = &cells->items[i];
    return found;
}

/* The listed prompt lengths around `prompt`: equal when it is listed or outside. */
static void around(column *low, column *high, column rows, int64_t prompt) {
    *low = *high = (column){rows.first, 0};
    for (size_t i = 0; i < rows.n;) {
        column here = {&rows.first[i], 0};
        while (i < rows.n && rows.first[i].prompt_tokens == here.first->prompt_tokens) i++, here.n++;
        if (low->n == 0 || here.first->prompt_tokens <= prompt) *low = here;
        *high = here;
        if (here.first->prompt_tokens >= prompt) return;
    }
}

/* An output length that is not listed has the rate of its prompt length: of the nearest one listed there. */
static const sim_cell *nearest_output(column cells, int64_t outputs) {
    const sim_cell *best = cells.first;
    for (size_t i = 1; i < cells.n; i++)
        if (llabs(cells.first[i].output_tokens - outputs) < llabs(best->output_tokens - outputs))
            best = &cells.first[i];
    return best;
}

static double between(double low, double high, double share) {
    return exp((1 - share) * log(low) + share * log(high));
}

static bool is_warm_up(column rows, sim_point point) {
    return point.prompt_tokens < rows.first->prompt_tokens && point.output_tokens <= SIM_WARMUP_TOKENS;
}

static kvat_status interpolate(sim_truth *out, const sim_cells *cells, sim_point point, kvat_error *err) {
    const column rows = of_sequences(cells, point.sequences);
    if (rows.n == 0)
        return kvat_fail(err, KVAT_ERR_DATA, "the surface has no cell of %lld sequences", (long long)point.sequences);
    column low, high;
    around(&low, &high, rows, point.prompt_tokens);
    const sim_cell *a = nearest_output(low, point.output_tokens), *b = nearest_output(high, point.output_tokens);
    const int64_t p = point.prompt_tokens, shortest = rows.first->prompt_tokens,
                  longest = rows.first[rows.n - 1].prompt_tokens;
    *out = (sim_truth){a->ttft_s, a->decode_tok_per_s, a->peak_bytes};
    if (is_warm_up(rows, point)) {
        out->ttft_s *= (double)p / (double)shortest;
    } else if (p < shortest || p > longest) {
        return kvat_fail(err, KVAT_ERR_DATA, "the surface holds prompts of %lld to %lld tokens, not %lld",
                         (long long)shortest, (long long)longest, (long long)p);
    } else if (a->prompt_tokens < p && p < b->prompt_tokens) {
        const double share =
            log((double)p / (double)a->prompt_tokens) / log((double)b->prompt_tokens / (double)a->prompt_tokens);
        out->ttft_s = between(a->ttft_s, b->ttft_s, share);
        out->decode_tok_per_s = between(a->decode_tok_per_s, b->decode_tok_per_s, share);
        out->peak_bytes = between(a->peak_bytes, b->peak_bytes, share);
    }
    return KVAT_OK;
}

/* ---- a configuration ---- */

static const sim_config *own_row(const sim_surface *s, const uint16_t *levels) {
    const size_t bytes = kvat_knobs_count(s->knobs) * sizeof *levels;
    for (size_t i = 0; i < s->n_configs; i++)
        if (memcmp(s->configs[i].levels, levels, bytes) == 0) return &s->configs[i];
    return NULL;
}

static void add(sim_effect *sum, const sim_effect *effect) {
    sum->ttft += effect->ttft;
    sum->decode += effect->decode;
    sum->peak += effect->peak;
}

static sim_effect total_effect(const sim_surface *s, const uint16_t *levels) {
    sim_effect sum = {0};
    for (size_t i = 0; i < kvat_knobs_count(s->knobs); i++) add(&sum, &s->effects[i][levels[i]]);
    for (size_t i = 0; i < s->n_interactions; i++)
        if (sim_when_holds(&s->interactions[i].when, levels)) add(&sum, &s->interactions[i].effect);
    return sum;
}

static bool sensible(const sim_truth *t) {
    return t->ttft_s > 0 && t->ttft_s <= 1e6 && t->decode_tok_per_s >= 1e-6 && t->decode_tok_per_s <= 1e12 &&
           t->peak_bytes >= 1 && t->peak_bytes <= 0x1p62;
}

kvat_status sim_truth_at(sim_truth *out, const sim_surface *surface, const uint16_t *levels, sim_point point,
                         kvat_error *err) {
    const sim_config *row = own_row(surface, levels);
    const sim_cells *cells = row ? &row->cells : &surface->base;
    if (cells->n == 0)
        return kvat_fail(err, KVAT_ERR_DATA, "the surface has neither a base nor a row for this configuration");
    sim_truth truth;
    const kvat_status status = interpolate(&truth, cells, point, err);
    if (status != KVAT_OK) return status;
    if (!row) {
        const sim_effect effect = total_effect(surface, levels);
        truth.ttft_s *= exp(effect.ttft);
        truth.decode_tok_per_s *= exp(effect.decode);
        truth.peak_bytes *= exp(effect.peak);
    }
    if (!sensible(&truth)) return kvat_fail(err, KVAT_ERR_DATA, "the effects of this configuration add up to nonsense");
    *out = truth;
    return KVAT_OK;
}
