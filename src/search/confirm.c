// Confirmation: fresh paired runs of two sides until their difference is told from zero, or the pairs are used up.
// Knows nothing of the race, nor of what the sides are.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kvat/search.h"

enum { SCORE = 3, FIGURES = 4, FAILURES_TO_END = 2, TRIM_FROM = 6 };
static const double EARLY_SHARE = 0.3; // of the error, spread over all looks but the last

struct kvat_confirm {
    kvat_confirm_options options;
    size_t pairs; // complete
    bool have[2]; // of the pair in progress
    double run[2][FIGURES];
    size_t failures[2];
    bool failed_last[2];
    kvat_verdict verdict;        // of the complete pairs
    double *difference[FIGURES]; // A − B, max_pairs each
};

static kvat_status check_options(const kvat_confirm_options *o, kvat_error *err) {
    if (o->min_pairs < 2 || o->max_pairs < o->min_pairs)
        return kvat_fail(err, KVAT_ERR_USAGE, "%zu to %zu pairs: at least two are needed", o->min_pairs, o->max_pairs);
    if (o->pairs_per_launch == 0 || o->pairs_per_launch >= o->min_pairs)
        return kvat_fail(err, KVAT_ERR_USAGE, "%zu pairs a launch leave no second launch within %zu",
                         o->pairs_per_launch, o->min_pairs);
    if (!(o->level > 0 && o->level < 1))
        return kvat_fail(err, KVAT_ERR_USAGE, "level %g is not between 0 and 1", o->level);
    return KVAT_OK;
}

kvat_status kvat_confirm_new(kvat_confirm **out, const kvat_confirm_options *options, kvat_error *err) {
    const kvat_status status = check_options(options, err);
    if (status != KVAT_OK) return status;
    kvat_confirm *confirm = calloc(1, sizeof *confirm);
    double *differences = calloc(options->max_pairs, FIGURES * sizeof *differences);
    if (!confirm || !differences) {
        free(confirm);
        free(differences);
        return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate a confirmation of %zu pairs", options->max_pairs);
    }
    confirm->options = *options;
    for (size_t i = 0; i < FIGURES; i++) confirm->difference[i] = differences + i * options->max_pairs;
    *out = confirm;
    return KVAT_OK;
}

void kvat_confirm_free(kvat_confirm *confirm) {
    if (!confirm) return;
    free(confirm->difference[0]);
    free(confirm);
}

// The level of the interval at this look. The looks' errors add up to the whole (Bonferroni), which bounds the chance
// that any of the intervals seen on the way misses the truth, whatever made us stop.
static double level_now(const kvat_confirm *confirm) {
    const kvat_confirm_options *o = &confirm->options;
    const double error = 1 - o->level;
    const size_t early = o->max_pairs - o->min_pairs;
    if (early == 0) return o->level;
    return 1 - (confirm->pairs >= o->max_pairs ? error * (1 - EARLY_SHARE) : error * EARLY_SHARE / (double)early);
}

static kvat_interval interval_of(const kvat_confirm *confirm, size_t figure) {
    const size_t trim = confirm->pairs >= TRIM_FROM;
    return kvat_trimmed_interval(confirm->difference[figure], confirm->pairs, trim, level_now(confirm));
}

static int failed_side(const kvat_confirm *confirm) {
    for (int side = 0; side < 2; side++) {
        if (confirm->failures[side] >= FAILURES_TO_END) return side;
    }
    return -1;
}

static kvat_verdict verdict_now(const kvat_confirm *confirm) {
    if (confirm->pairs < confirm->options.min_pairs) return KVAT_VERDICT_UNDECIDED;
    const kvat_interval score = interval_of(confirm, SCORE);
    if (score.low > 0) return KVAT_VERDICT_A;
    return score.high < 0 ? KVAT_VERDICT_B : KVAT_VERDICT_UNDECIDED;
}

bool kvat_confirm_propose(kvat_confirm_trial *out, const kvat_confirm *confirm) {
    if (confirm->pairs >= confirm->options.max_pairs || confirm->verdict != KVAT_VERDICT_UNDECIDED) return false;
    const int first = (int)(confirm->pairs % 2);
    const int side = confirm->have[first] ? 1 - first : first;
    const bool launch = confirm->pairs % confirm->options.pairs_per_launch == 0;
    *out = (kvat_confirm_trial){side, confirm->pairs, launch || confirm->failed_last[side]};
    return true;
}

static bool same_trial(const kvat_confirm_trial *a, const kvat_confirm_trial *b) {
    return a->side == b->side && a->pair == b->pair;
}

static void finish_pair(kvat_confirm *confirm) {
    for (size_t i = 0; i < FIGURES; i++)
        confirm->difference[i][confirm->pairs] = confirm->run[0][i] - confirm->run[1][i];
    confirm->have[0] = confirm->have[1] = false;
    confirm->pairs++;
    confirm->verdict = verdict_now(confirm);
}

kvat_status kvat_confirm_tell(kvat_confirm *confirm, const kvat_confirm_trial *trial, bool ok, double score,
                              const double ln_part[3], kvat_error *err) {
    kvat_confirm_trial proposed;
    if (!kvat_confirm_propose(&proposed, confirm) || !same_trial(&proposed, trial))
        return kvat_fail(err, KVAT_ERR_USAGE, "side %d of pair %zu was not proposed", trial->side, trial->pair);
    const int side = trial->side;
    if (!ok) {
        confirm->failed_last[side] = true;
        if (++confirm->failures[side] >= FAILURES_TO_END) confirm->verdict = KVAT_VERDICT_FAILED;
        return KVAT_OK;
    }
    if (!isfinite(score) || !isfinite(ln_part[0]) || !isfinite(ln_part[1]) || !isfinite(ln_part[2]))
        return kvat_fail(err, KVAT_ERR_DATA, "side %d of pair %zu: a score of %g is no measurement", side, trial->pair,
                         score);
    confirm->failed_last[side] = false;
    memcpy(confirm->run[side], ln_part, 3 * sizeof *ln_part);
    confirm->run[side][SCORE] = score;
    confirm->have[side] = true;
    if (confirm->have[1 - side]) finish_pair(confirm);
    return KVAT_OK;
}

kvat_confirm_answer kvat_confirm_answer_get(const kvat_confirm *confirm) {
    kvat_confirm_answer answer = {.pairs = confirm->pairs, .score = interval_of(confirm, SCORE)};
    for (size_t i = 0; i < 3; i++) answer.part[i] = interval_of(confirm, i);
    answer.verdict = confirm->verdict;
    answer.failed_side = failed_side(confirm);
    return answer;
}
