// What the results so far say: estimates, who leads, how sure. Made afresh from the ledger whenever asked.
// Must not know what will be proposed next. Not for other modules.
#ifndef KVAT_SEARCH_RACE_VIEW_H
#define KVAT_SEARCH_RACE_VIEW_H

#include "method.h"

typedef struct race_view {
    kvat_anchored_fit fit;   // over configurations; n_arms 0 while no two runs share a chunk
    size_t group;            // of the fit: the one that holds the leader
    bool posterior;          // p_good and p_best mean something
    double *p_good, *p_best; // n_configs each
    bool has_leader;
    size_t leader;       // best estimate
    size_t pick;         // after the tie rule: the answer
    bool incumbent_kept; // pick is the incumbent, and the leader is not
    double p_challenger; // that the leader beats the incumbent by more than delta; NaN where that is not known
} race_view;

// `whole` tells that every configuration has had two passes, without which no confidence is claimed.
kvat_status kvat__race_view_make(race_view *out, const kvat__ledger *ledger, bool whole, kvat_error *err);
void kvat__race_view_clear(race_view *view);

// Its estimate can be held against the leader's.
bool kvat__race_view_comparable(const race_view *view, size_t config);
double kvat__race_view_contrast_se(const race_view *view, size_t a, size_t b);
// P(config beats the leader by more than delta), from their contrast alone.
double kvat__race_view_confusion(const race_view *view, size_t config, double delta);
void kvat__race_view_gains(kvat_search_standing *standing, const race_view *view, const kvat__ledger *ledger);

#endif
