// What the files that build an outcome share: its entries are made, then ranked, then decided between.
// Must not be included by those that measure.
#ifndef KVAT_RUN_OUTCOME_INTERNAL_H
#define KVAT_RUN_OUTCOME_INTERNAL_H

#include "figures.h"

/* ---- outcome_entries.c ---- */

/** One entry a configuration of the job's space, in its order. `figures` (one a configuration) and `view` are NULL
 * before anything is measured. */
kvat_status kvat__outcome_make_entries(kvat_outcome *outcome, const kvat__job *job, const kvat__entry_figures *figures,
                                       const kvat__drive_view *view, kvat_error *err);
/** A run cut short leaves chunks that share no configuration, so that the fit cannot compare across them: then plain
 * medians are compared, on the same scale and without an interval. `entries` are still in the order of the
 * configurations. */
void kvat__outcome_compare_plainly(kvat_outcome *outcome, const kvat_profile *profile);
/** The search's leader (a configuration, SIZE_MAX none) first, whatever ties its rule broke; then by estimate. */
void kvat__outcome_rank(kvat_outcome *outcome, size_t leader);
/** Has it been measured, however that ended? */
bool kvat__outcome_tried(const kvat_entry *entry);
/** Does it work and have a score? */
bool kvat__outcome_ranked(const kvat_entry *entry);
/** Index of the entry of configuration `config`, SIZE_MAX none. */
size_t kvat__outcome_entry_of(const kvat_outcome *outcome, size_t config);

/** Score and its interval, in hundredths of the origin, from the entry's gain. */
void kvat__entry_score(kvat_entry *entry);

/* ---- outcome_decide.c ---- */

/** Decision, winner, reason and the best lossy entry. Asks for ranked entries, the default's place, delta and noise. */
kvat_status kvat__outcome_decide(kvat_outcome *outcome, const kvat__drive_view *view, kvat_error *err);

/* ---- outcome_spread.c ---- */

/** The noise that is said: a standard deviation of ln score, and what follows from it. */
void kvat__outcome_set_noise(kvat_outcome *outcome, double sigma);
/** Where the pairs spread far more than the search's runs did, its noise and the entries' intervals were too small:
 * widens them by the ratio of the two. Asks for race points, entries and noise; the decision stays. */
kvat_status kvat__outcome_spread(kvat_outcome *outcome, kvat_error *err);

#endif
