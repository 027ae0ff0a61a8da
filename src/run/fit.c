// Decode rates of long outputs from short bursts: time per token fitted against depth.
// Must not know how bursts were measured, nor whether it pays to shorten them.
//
// What a burst says is its level, which no single disturbance moves (kvat_level_of), and the depth that this level is
// of. Several bursts at one depth are joined by their median. The line t(d) = a + b·d through the levels gives the
// slope b alone (Theil and Sen), and each depth keeps the level of its own bursts: where it was measured, a curve that
// is no line does no harm. The time of token i after a prompt of P tokens is then
//     t(P + i) = level + b · (P + i − depth of the level)
// and the rate of N tokens is (N − 1) ÷ Σ t(P + i) over i = 1 … N − 1, whose mean depth is P + N ÷ 2.
#include "fit.h"

#include <math.h>
#include <stdlib.h>

#define LUMP_SHARE 0.1  /* a gap under this share of the level is none: its token came with the one before */
#define LUMPY_GAPS 0.25 /* with so many such gaps the tokens came in lumps, of which only the mean says anything */
#define SLOPE_DOUBT                                                                                                    \
    0.005         /* most that a slope within bursts may be in doubt, as a share of the level at its farthest          \
                   */
#define DOUBT 2.0 /* standard errors */

static kvat_status nomem(kvat_error *err) {
    return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the fit of decode times");
}

void kvat__decode_fit_clear(kvat__decode_fit *fit) {
    free(fit->levels);
    *fit = (kvat__decode_fit){0};
}

/** What one burst says; its arrays have room for every gap of it. */
typedef struct scratch {
    double *gap_ns, *depth;
} scratch;

static size_t take_gaps(scratch *s, const kvat__burst *burst) {
    for (size_t i = 1; i < burst->n_tokens; i++) {
        s->gap_ns[i - 1] = (double)(burst->token_ns[i] - burst->token_ns[i - 1]);
        s->depth[i - 1] = (double)burst->prompt_tokens + (double)i;
    }
    return burst->n_tokens - 1;
}

/** False without memory. */
static bool level_of(kvat__depth_level *out, const scratch *s, const kvat__burst *burst, size_t n) {
    const kvat_level level = kvat_level_of(s->gap_ns, n);
    const double small = kvat_quantile(s->gap_ns, n, LUMPY_GAPS);
    const bool lumpy = small <= LUMP_SHARE * level.value;
    *out = (kvat__depth_level){.prompt_tokens = burst->prompt_tokens,
                               .depth = (double)burst->prompt_tokens + 1 + (lumpy ? (double)(n - 1) / 2 : level.at),
                               .gap_ns = lumpy ? kvat_mean(s->gap_ns, n) : level.value};
    return !isnan(small);
}

/** Levels of the bursts at one depth joined: medians, of two the mean. */
static bool join(kvat__depth_level *out, const kvat__depth_level *bursts, size_t n, double *room) {
    *out = bursts[0];
    for (size_t i = 0; i < n; i++) room[i] = bursts[i].gap_ns;
    out->gap_ns = kvat_median(room, n);
    for (size_t i = 0; i < n; i++) room[i] = bursts[i].depth;
    out->depth = kvat_median(room, n);
    return !isnan(out->gap_ns) && !isnan(out->depth);
}

/** No token gets faster with depth, and none is slower than if all of its time were owed to depth. */
static double possible_slope(const kvat__decode_fit *fit, double slope) {
    for (size_t i = 0; i < fit->n_levels; i++) slope = fmin(slope, fit->levels[i].gap_ns / fit->levels[i].depth);
    return slope > 0 ? slope : 0; /* NaN is 0 as well */
}

static bool slope_between_depths(kvat__decode_fit *fit, scratch *s) {
    for (size_t i = 0; i < fit->n_levels; i++) {
        s->depth[i] = fit->levels[i].depth;
        s->gap_ns[i] = fit->levels[i].gap_ns;
    }
    fit->reach_tokens = s->depth[fit->n_levels - 1] - s->depth[0];
    if (!(fit->reach_tokens > 0)) return fit->reach_tokens = 0, true; /* hardly a token apart */
    const double slope = kvat_theil_sen_slope(s->depth, s->gap_ns, fit->n_levels);
    fit->slope_ns = possible_slope(fit, slope);
    return !isnan(slope);
}

/** With one depth there is only the place within a burst, which counts when it is known well enough for where it has to
 * lead: else time per token counts as equal at every depth. */
static void slope_within_bursts(kvat__decode_fit *fit, scratch *s, const kvat__burst *bursts, size_t n,
                                double farthest_tokens) {
    double slope = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        const size_t gaps = take_gaps(s, &bursts[i]);
        const kvat_line line = kvat_line_of(s->depth, s->gap_ns, gaps);
        slope += line.slope / (double)n;
        squares += line.slope_error * line.slope_error;
    }
    const double doubt_ns = DOUBT * sqrt(squares) / (double)n * farthest_tokens;
    const bool known = doubt_ns <= SLOPE_DOUBT * fit->levels[0].gap_ns;
    fit->slope_ns = possible_slope(fit, known ? slope : 0);
    fit->reach_tokens = INFINITY; /* it was judged by how far it has to lead */
}

/** Levels of all bursts into `all`, joined by depth into fit->levels. */
static bool take_levels(kvat__decode_fit *fit, kvat__depth_level *all, scratch *s, const kvat__burst *bursts,
                        size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!level_of(&all[i], s, &bursts[i], take_gaps(s, &bursts[i]))) return false;
    for (size_t i = 0, next; i < n; i = next) {
        for (next = i; next < n && all[next].prompt_tokens == all[i].prompt_tokens;) next++;
        if (!join(&fit->levels[fit->n_levels++], &all[i], next - i, s->gap_ns)) return false;
    }
    return true;
}

static size_t room_for(const kvat__burst *bursts, size_t n) {
    size_t most = n; /* levels are put there, too */
    for (size_t i = 0; i < n; i++)
        if (bursts[i].n_tokens > most) most = bursts[i].n_tokens;
    return most;
}

static kvat_status check(const kvat__burst *bursts, size_t n, kvat_error *err) {
    for (size_t i = 0; i < n; i++) {
        const kvat__burst *b = &bursts[i];
        bool bad = b->n_tokens < 2 || b->prompt_tokens < 0 || b->token_ns[b->n_tokens - 1] <= b->token_ns[0] ||
                   (i > 0 && b->prompt_tokens < bursts[i - 1].prompt_tokens);
        for (size_t t = 1; !bad && t < b->n_tokens; t++) bad = b->token_ns[t] < b->token_ns[t - 1];
        if (bad) return kvat_fail(err, KVAT_ERR_DATA, "burst %zu has no times that ascend, or is out of order", i);
    }
    return KVAT_OK;
}

kvat_status kvat__decode_fit_make(kvat__decode_fit *out, const kvat__burst *bursts, size_t n, double farthest_tokens,
                                  kvat_error *err) {
    if (n == 0) return kvat_fail(err, KVAT_ERR_DATA, "no burst was decoded");
    kvat_status status = check(bursts, n, err);
    if (status != KVAT_OK) return status;
    const size_t room = room_for(bursts, n);
    kvat__decode_fit fit = {.levels = calloc(n, sizeof *fit.levels)};
    kvat__depth_level *all = calloc(n, sizeof *all);
    scratch s = {calloc(room, sizeof *s.gap_ns), calloc(room, sizeof *s.depth)};
    bool whole = fit.levels && all && s.gap_ns && s.depth && take_levels(&fit, all, &s, bursts, n);
    if (whole && fit.n_levels > 1)
        whole = slope_between_depths(&fit, &s);
    else if (whole)
        slope_within_bursts(&fit, &s, bursts, n, farthest_tokens);
    free(all);
    free(s.gap_ns);
    free(s.depth);
    if (whole)
        *out = fit;
    else
        kvat__decode_fit_clear(&fit);
    return whole ? KVAT_OK : nomem(err);
}

double kvat__decode_fit_rate(const kvat__decode_fit *fit, int64_t prompt_tokens, int64_t output_tokens) {
    for (size_t i = 0; i < fit->n_levels; i++) {
        const kvat__depth_level *level = &fit->levels[i];
        if (level->prompt_tokens != prompt_tokens) continue;
        const double wanted = (double)prompt_tokens + (double)output_tokens / 2;
        const double ahead = fmax(fmin(wanted - level->depth, fit->reach_tokens), -fit->reach_tokens);
        return 1e9 / (level->gap_ns + fit->slope_ns * ahead);
    }
    return NAN;
}
