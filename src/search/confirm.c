// Confirmation: fresh paired runs of two sides until their difference is told from zero, or the pairs are used up.
// Knows nothing of the race, nor of what the sides are.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kvat/search.h"

enum { SCORE = 3, FIGURES = 4, FAILURES_TO_END = 2, TRIM_FROM = 6, PAIRS_A_LOOK = 2 };
static const double EARLY_SHARE = 0.5; // of the error, spread over all looks but the last

// Where a search has gone before. Chosen by simulation (bench/search): intervals cover what they say, however many
// looks there were.
enum { INFORMED_MIN_PAIRS = 2, RESTLESS_MIN_PAIRS = 4, INFORMED_MAX_PAIRS = 16, WHOLE_PAIRS = 2, FUTILE_FROM = 6 };
static const double RESTLESS_PAIR_SD = .025, RESTLESS = .5;
static const double KNOWN_WIDER = 2;      // variance of what the search says of the gain: it chose the leader
static const double CONTRADICTED = 2.5;   // standard errors between the pairs and what the search says: it was wrong
static const double INFORMED_DOF = 4;     // what the search's idea of the spread is worth: it knows of no fresh starts
static const double FUTILE = .03;         // chance of a gain that more pairs would show: less is not worth their time
static const double INFORMED_SHARE = .24; // of the error, at every look: Pocock's for eight looks at fresh pairs alone

struct kvat_confirm {
    kvat_confirm_options options;
    size_t pairs; // complete
    bool have[2]; // of the pair in progress
    double run[2][FIGURES];
    size_t failures[2];
    bool failed_last[2];
    kvat_verdict verdict; // of the complete pairs
    bool too_little, futile;
    double *difference[FIGURES]; // A − B, max_pairs each
};

static kvat_status check_options(const kvat_confirm_options *o, kvat_error *err) {
    if (o->min_pairs < 2 || o->max_pairs < o->min_pairs)
        return kvat_fail(err, KVAT_ERR_USAGE, "%zu to %zu pairs: at least two are needed", o->min_pairs, o->max_pairs);
    if (o->pairs_per_launch == 0 || o->pairs_per_launch >= o->min_pairs)
        return kvat_fail(err, KVAT_ERR_USAGE, "%zu pairs a launch leave no second launch within %zu",
                         o->pairs_per_launch, o->min_pairs);
    if (!(o->prior_dof >= 0) || !(o->enough >= 0))
        return kvat_fail(err, KVAT_ERR_USAGE, "a prior worth %g degrees of freedom, or enough at %g, is negative",
                         o->prior_dof, o->enough);
    if (!(o->futile >= 0 && o->futile < 1))
        return kvat_fail(err, KVAT_ERR_USAGE, "futile below a chance of %g is not between 0 and 1", o->futile);
    if (!(o->level > 0 && o->level < 1))
        return kvat_fail(err, KVAT_ERR_USAGE, "level %g is not between 0 and 1", o->level);
    return KVAT_OK;
}

kvat_confirm_options kvat_confirm_options_after(const kvat_search_answer *answer, double delta) {
    kvat_confirm_options options = KVAT_CONFIRM_OPTIONS_INIT;
    options.enough = delta;
    if (!(answer->pair_sd[SCORE] > 0) || answer->restless > RESTLESS) return options;
    options.min_pairs = answer->pair_sd[SCORE] > RESTLESS_PAIR_SD ? RESTLESS_MIN_PAIRS : INFORMED_MIN_PAIRS;
    options.max_pairs = INFORMED_MAX_PAIRS;
    options.pairs_per_launch = 1;
    options.whole_pairs = WHOLE_PAIRS;
    options.prior_dof = INFORMED_DOF;
    options.known_dof = answer->gain_dof;
    options.futile = FUTILE;
    options.futile_from = FUTILE_FROM;
    for (size_t i = 0; i < FIGURES; i++) {
        options.prior_sd[i] = answer->pair_sd[i];
        options.known_mean[i] = answer->gain_mean[i];
        options.known_sd[i] = sqrt(KNOWN_WIDER) * answer->gain_sd[i];
    }
    return options;
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

// The level of the interval at the look after so many pairs. The looks' errors add up to the whole (Bonferroni), which
// bounds the chance that any of the intervals seen on the way misses the truth, whatever made us stop.
static double level_at(const kvat_confirm *confirm, size_t pairs) {
    const kvat_confirm_options *o = &confirm->options;
    const double error = 1 - o->level;
    const size_t early = (o->max_pairs - o->min_pairs + PAIRS_A_LOOK - 1) / PAIRS_A_LOOK;
    if (early == 0) return o->level;
    if (o->known_sd[SCORE] > 0) return 1 - INFORMED_SHARE * error;
    return 1 - (pairs >= o->max_pairs ? error * (1 - EARLY_SHARE) : error * EARLY_SHARE / (double)early);
}

static double level_now(const kvat_confirm *confirm) {
    return level_at(confirm, confirm->pairs);
}

static bool time_to_look(const kvat_confirm *confirm) {
    const kvat_confirm_options *o = &confirm->options;
    if (confirm->pairs < o->min_pairs) return false;
    return confirm->pairs >= o->max_pairs || (confirm->pairs - o->min_pairs) % PAIRS_A_LOOK == 0;
}

static kvat_estimate fresh_of(const kvat_confirm *confirm, size_t figure) {
    const size_t trim = confirm->pairs >= TRIM_FROM;
    const kvat_spread_prior prior = {confirm->options.prior_sd[figure], confirm->options.prior_dof};
    return kvat_informed_estimate(confirm->difference[figure], confirm->pairs, trim, prior);
}

static kvat_estimate known_of(const kvat_confirm *confirm, size_t figure) {
    const kvat_confirm_options *o = &confirm->options;
    return (kvat_estimate){o->known_mean[figure], o->known_sd[figure], o->known_dof};
}

// A search may be wrong for reasons that its runs cannot show; then the pairs stand for themselves.
static bool joins(kvat_estimate fresh, kvat_estimate known) {
    return known.se > 0 && fabs(fresh.value - known.value) <= CONTRADICTED * hypot(fresh.se, known.se);
}

static kvat_estimate joined_if(bool join, kvat_estimate fresh, kvat_estimate known) {
    return join ? kvat_estimate_join(fresh, known) : fresh;
}

static kvat_interval interval_of(const kvat_confirm *confirm, size_t figure) {
    const kvat_estimate fresh = fresh_of(confirm, figure), known = known_of(confirm, figure);
    return kvat_estimate_interval(joined_if(joins(fresh, known), fresh, known), level_now(confirm));
}

// Whether A is not likely to turn out better by the time all the pairs are made. What more pairs do to the estimate has
// the variance that they take from it; its spread, and whether it is joined with what was known, are taken to stay.
// That B is better would change no advice: no pair is made to show it.
static bool is_futile(const kvat_confirm *confirm) {
    const kvat_confirm_options *o = &confirm->options;
    if (!(o->futile > 0) || confirm->pairs < o->futile_from || confirm->pairs >= o->max_pairs) return false;
    kvat_estimate fresh = fresh_of(confirm, SCORE);
    const kvat_estimate known = known_of(confirm, SCORE);
    const bool join = joins(fresh, known);
    const kvat_estimate now = joined_if(join, fresh, known);
    fresh.se *= sqrt((double)confirm->pairs / (double)o->max_pairs);
    fresh.dof += (double)(o->max_pairs - confirm->pairs);
    const kvat_estimate then = joined_if(join, fresh, known);
    const kvat_interval last = kvat_estimate_interval(then, level_at(confirm, o->max_pairs));
    const double half = (last.high - last.low) / 2, sd = sqrt(now.se * now.se - then.se * then.se);
    return kvat_student_cdf((now.value - half) / sd, INFINITY) < o->futile; // false for NaN
}

static int failed_side(const kvat_confirm *confirm) {
    for (int side = 0; side < 2; side++) {
        if (confirm->failures[side] >= FAILURES_TO_END) return side;
    }
    return -1;
}

// Whether the pairs of whole outputs by themselves do not speak against `sign`: what bursts gain must not be lost in
// what comes after.
static bool whole_agree(const kvat_confirm *confirm, double sign) {
    const size_t n = confirm->options.whole_pairs;
    const double sd = confirm->options.prior_sd[SCORE];
    if (n == 0 || confirm->pairs <= n || !(sd > 0)) return true;
    return sign * kvat_mean(confirm->difference[SCORE], n) > -sd / sqrt((double)n);
}

static void look(kvat_confirm *confirm) {
    const kvat_interval score = interval_of(confirm, SCORE);
    const double fresh = fresh_of(confirm, SCORE).value;
    if (score.low > 0 && fresh > 0 && whole_agree(confirm, 1))
        confirm->verdict = KVAT_VERDICT_A;
    else if (score.high < 0 && fresh < 0 && whole_agree(confirm, -1))
        confirm->verdict = KVAT_VERDICT_B;
    else
        confirm->too_little = confirm->options.enough > 0 && score.high < confirm->options.enough;
    confirm->futile = confirm->verdict == KVAT_VERDICT_UNDECIDED && !confirm->too_little && is_futile(confirm);
}

bool kvat_confirm_propose(kvat_confirm_trial *out, const kvat_confirm *confirm) {
    if (confirm->pairs >= confirm->options.max_pairs || confirm->verdict != KVAT_VERDICT_UNDECIDED) return false;
    if (confirm->too_little || confirm->futile) return false;
    const int first = (int)(confirm->pairs % 2);
    const int side = confirm->have[first] ? 1 - first : first;
    const bool launch = confirm->pairs % confirm->options.pairs_per_launch == 0;
    const bool whole = confirm->options.whole_pairs == 0 || confirm->pairs < confirm->options.whole_pairs;
    *out = (kvat_confirm_trial){side, confirm->pairs, launch || confirm->failed_last[side], whole};
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
    if (time_to_look(confirm)) look(confirm);
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
    const kvat_estimate fresh = fresh_of(confirm, SCORE);
    answer.fresh = kvat_estimate_interval(fresh, level_now(confirm));
    answer.failed_side = failed_side(confirm);
    answer.joined = joins(fresh, known_of(confirm, SCORE));
    answer.too_little = confirm->too_little;
    answer.futile = confirm->futile;
    return answer;
}
