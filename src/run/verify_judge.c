// What the pairs of a verification come to: still best, no longer, or undecided, and why in words.
// Must not measure, nor know where the words are shown.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "verify_internal.h"

const char *kvat_verify_word(kvat_verify_answer answer) {
    static const char *const words[] = {"yes", "no", "undecided"};
    return words[answer];
}

static bool failed(const kvat_verify_pairing *pairing, int side) {
    return pairing->answer.verdict == KVAT_VERDICT_FAILED && pairing->answer.failed_side == side;
}

bool kvat__pairing_lost(const kvat_verify_pairing *pairing, double delta) {
    double margin = pairing->rival ? delta : 0;
    if (failed(pairing, 0)) return true;
    return pairing->answer.verdict == KVAT_VERDICT_B && pairing->answer.score.high < -margin;
}

static bool beats(const kvat_verify_pairing *pairing) {
    return pairing->answer.verdict == KVAT_VERDICT_A || failed(pairing, 1);
}

/* ---- words ---- */

static void put_pairs(kvat_buf *why, size_t pairs) {
    kvat_buf_printf(why, "%zu fresh pair%s", pairs, pairs == 1 ? "" : "s");
}

/** "9.1 % (8.3 % to 9.9 %)": by how much the other side scores higher. Of an interval so wide that the truth may as
 * well be twice the estimate only the near end is said. */
static void put_lead(kvat_buf *why, const kvat_confirm_answer *answer) {
    kvat_interval lead = {exp(-answer->score.value), exp(-answer->score.high), exp(-answer->score.low)};
    if (kvat_interval_too_wide(lead))
        kvat_buf_printf(why, "more than %.1f %%", 100 * (lead.low - 1));
    else
        kvat_buf_printf(why, "%.1f %% (%.1f %% to %.1f %%)", 100 * (lead.value - 1), 100 * (lead.low - 1),
                        100 * (lead.high - 1));
}

static void put_lost(kvat_buf *why, const kvat_verify_pairing *pairing) {
    if (failed(pairing, 0)) {
        kvat_buf_printf(why, "it does not run here: %s", pairing->failure ? pairing->failure : "it failed twice");
        return;
    }
    kvat_buf_printf(why, "%s scores higher by ", pairing->label);
    put_lead(why, &pairing->answer);
    kvat_buf_puts(why, " in ");
    put_pairs(why, pairing->answer.pairs);
}

/** Without a decision: what was seen of the noise, so that one knows what would help. */
static void put_noise(kvat_buf *why, const kvat_verify_pairing *pairing) {
    if (pairing->disturbed)
        kvat_buf_puts(why, "; the machine was too disturbed");
    else if (pairing->cut)
        kvat_buf_puts(why, "; the budget ended (see --time)");
    if (isfinite(pairing->noise))
        kvat_buf_printf(why, "; runs of one configuration spread by about %.1f %%", 100 * expm1(pairing->noise));
}

static void put_undecided(kvat_buf *why, const kvat_verify_pairing *pairing) {
    if (failed(pairing, 1))
        kvat_buf_printf(why, "what it could be compared with fails here: %s",
                        pairing->failure ? pairing->failure : pairing->label);
    else if (pairing->answer.pairs == 0)
        kvat_buf_printf(why, "there is no clean pair against %s", pairing->label);
    else {
        put_pairs(why, pairing->answer.pairs);
        kvat_buf_printf(why, " could not tell it from %s", pairing->label);
    }
    put_noise(why, pairing);
}

/** Rivals that were compared to the end, in pairs or also by failing. */
static size_t count_compared(const kvat_verification *v, bool in_pairs) {
    size_t n = 0;
    for (size_t i = 0; i < v->n_pairings; i++)
        n += v->pairings[i].rival && (v->pairings[i].answer.pairs >= 2 || (!in_pairs && beats(&v->pairings[i])));
    return n;
}

static void put_rivals(kvat_buf *why, const kvat_verification *v) {
    size_t compared = count_compared(v, false);
    if (compared == 0 && v->rivals > 0)
        kvat_buf_puts(why, "; there was no time for the plan's other configurations (see --time)");
    if (compared == 0) return;
    if (compared == 1)
        kvat_buf_puts(why, "; the strongest other configuration of the plan is not");
    else
        kvat_buf_printf(why, "; none of the %zu strongest other configurations of the plan is", compared);
    kvat_buf_printf(why, " surely better by more than %.3g %%", 100 * v->delta);
    if (compared < v->rivals) kvat_buf_puts(why, ", and there was no time for the next (see --time)");
}

static void put_yes(kvat_buf *why, const kvat_verification *v) {
    const kvat_verify_pairing *first = v->n_pairings && !v->pairings[0].rival ? &v->pairings[0] : NULL;
    if (!first) {
        kvat_buf_puts(why, "it is what the engine does by itself here");
    } else if (failed(first, 1)) {
        kvat_buf_printf(why, "the engine's default does not run here: %s",
                        first->failure ? first->failure : "it failed");
    } else {
        kvat_buf_puts(why, "it is better than the engine's default in ");
        put_pairs(why, first->answer.pairs);
    }
    put_rivals(why, v);
}

/* ---- the answer ---- */

static size_t find_lost(const kvat_verification *v) {
    for (size_t i = 0; i < v->n_pairings; i++)
        if (kvat__pairing_lost(&v->pairings[i], v->delta)) return i;
    return SIZE_MAX;
}

/** The pairing on which a "yes" rests: the default's; where the plan is the default, any rival's. */
static const kvat_verify_pairing *find_open(const kvat_verification *v, bool *nothing_compared) {
    *nothing_compared = v->n_pairings == 0;
    if (v->n_pairings == 0) return NULL;
    const kvat_verify_pairing *first = &v->pairings[0];
    if (!first->rival) return beats(first) ? NULL : first;
    return count_compared(v, true) > 0 ? NULL : first;
}

/** A run that did not decide named these settings for now; that they hold their own here does not make them the best.
 */
static void put_never_decided(kvat_buf *why, const kvat_verification *v) {
    kvat_buf_puts(
        why, "the run that made the plan did not decide that it is the best, and kvat tune has to; as it stands, ");
    put_yes(why, v);
}

static void judge(kvat_verification *v, kvat_buf *why) {
    bool nothing = false;
    v->decisive = find_lost(v);
    v->answer = KVAT_VERIFY_NO;
    if (v->refused) {
        kvat_buf_puts(why, v->refused);
        return;
    }
    if (v->decisive != SIZE_MAX) {
        put_lost(why, &v->pairings[v->decisive]);
        return;
    }
    const kvat_verify_pairing *open = find_open(v, &nothing);
    v->answer = nothing || open || v->undecided ? KVAT_VERIFY_UNDECIDED : KVAT_VERIFY_YES;
    if (nothing)
        kvat_buf_puts(why,
                      "it is what the engine does by itself here, and the plan records nothing to compare it with");
    else if (open)
        put_undecided(why, open);
    else if (v->undecided)
        put_never_decided(why, v);
    else
        put_yes(why, v);
}

kvat_status kvat__verify_judge(kvat_verification *v, kvat_error *err) {
    kvat_buf why = KVAT_BUF_INIT;
    judge(v, &why);
    v->why = kvat_buf_take(&why);
    return v->why ? KVAT_OK : kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the answer");
}

void kvat_verification_free(kvat_verification *v) {
    if (!v) return;
    for (size_t i = 0; i < v->n_pairings; i++) {
        free(v->pairings[i].label);
        json_decref(v->pairings[i].settings);
        free(v->pairings[i].failure);
    }
    for (size_t i = 0; i < v->n_changes; i++) {
        free(v->changes[i].what);
        free(v->changes[i].then_is);
        free(v->changes[i].here);
    }
    for (size_t i = 0; i < v->n_warnings; i++) free(v->warnings[i]);
    free(v->changes);
    free(v->warnings);
    free(v->why);
    free(v->label);
    json_decref(v->settings);
    free(v->refused);
    free(v->engine_name);
    free(v->engine_version);
    free(v->model_name);
    free(v->profile_name);
    free(v);
}
