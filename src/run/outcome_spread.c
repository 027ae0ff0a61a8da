// Whether the pairs of the confirmation spread as the search's runs did; where far more, intervals are wider than it
// knew. Must not change what was decided: the pairs count with their own spread.
#include <math.h>
#include <stdlib.h>

#include "kvat/stats.h"
#include "outcome_internal.h"

static const double FAR_MORE = 3; /* standard deviations: with three pairs by chance once in 8,000 runs */
static const double NOISY = 0.05; /* relative spread from which a machine is called that */
static const size_t ENOUGH_PAIRS = 3;

/** ln score of side A less that of side B of each pair, in the order in which they ran; how many there are. */
static size_t differences(double *out, const kvat_outcome *o) {
    const kvat_race_point *first = NULL;
    size_t n = 0, side = SIZE_MAX;
    for (size_t i = 0; i < o->n_race; i++) {
        const kvat_race_point *point = &o->race[i];
        if (!point->confirming || point->status != KVAT_TRIAL_OK || !(point->score > 0)) continue;
        if (side == SIZE_MAX) side = point->config;
        if (!first || first->config == point->config || first->fitted != point->fitted) {
            first = point;
            continue;
        }
        const double difference = log(point->score / first->score);
        out[n++] = point->config == side ? difference : -difference;
        first = NULL;
    }
    return n;
}

void kvat__outcome_set_noise(kvat_outcome *o, double sigma) {
    o->sigma = sigma;
    o->anchor_spread = expm1(sigma);
    o->noisy = o->anchor_spread > NOISY;
}

static void widen(kvat_interval *interval, double factor) {
    interval->low = interval->value + factor * (interval->low - interval->value);
    interval->high = interval->value + factor * (interval->high - interval->value);
}

kvat_status kvat__outcome_spread(kvat_outcome *o, kvat_error *err) {
    double *d = malloc((o->n_race + 1) * sizeof *d);
    if (!d) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the pairs");
    const size_t n = differences(d, o);
    const double sd = n >= ENOUGH_PAIRS ? kvat_sd(d, n) / sqrt(2) : NAN;
    free(d);
    if (!(sd > FAR_MORE * o->sigma && expm1(sd) > NOISY)) return KVAT_OK;
    const double factor = sd / o->sigma;
    for (size_t i = 0; i < o->n_entries; i++) {
        widen(&o->entries[i].standing.gain, factor);
        kvat__entry_score(&o->entries[i]);
    }
    kvat__outcome_set_noise(o, sd);
    return KVAT_OK;
}
