// What a search method is, and the ledger every method works from: results, failures, feasibility.
// The ledger must not know how a method chooses; a method must not judge failures itself. Not for other modules.
#ifndef KVAT_SEARCH_METHOD_H
#define KVAT_SEARCH_METHOD_H

#include "kvat/search.h"

// An incumbent stays unless beaten by more than delta with at least this chance.
#define KVAT__REPLACE_AT 0.95

// One configuration's record.
typedef struct kvat__tally {
    kvat_config_state state; // RACING and ELIMINATED are the method's to choose between
    size_t clean_runs, failures, voids, out_of_memory;
    size_t voids_beside_clean; // since any configuration has run clean
    size_t owed;               // clean runs still owed after a failure
    bool retry;                // wants one more run at the next opportunity
    bool fresh_process;        // … in a new worker
    int64_t cost_ns;           // of the clean runs together
} kvat__tally;

typedef struct kvat__run {
    kvat_search_result result;
    size_t order; // of its proposal, through the whole search
} kvat__run;

typedef struct kvat__ledger {
    kvat_search_options options; // zeros replaced by what they stand for
    kvat__tally *tally;          // n_configs
    kvat__run *runs;             // clean ones, in the order proposed
    size_t n_runs, runs_capacity;
    size_t n_told; // results of any kind

    kvat_search_trial *open; // the current proposal
    bool *open_told;
    size_t n_open, open_capacity, open_order; // open_order: of open[0]
} kvat__ledger;

kvat_status kvat__ledger_init(kvat__ledger *ledger, const kvat_search_options *options, kvat_error *err);
void kvat__ledger_clear(kvat__ledger *ledger);
// Makes room for a proposal of `n` trials and their results, so that neither opening nor telling can fail afterwards.
kvat_status kvat__ledger_reserve(kvat__ledger *ledger, size_t n, kvat_error *err);
// The trials now asked for; `n` as reserved.
void kvat__ledger_open(kvat__ledger *ledger, const kvat_search_trial *trials, size_t n);
// Drops from the proposal what was told, and what was ruled out since it was made; the number left.
size_t kvat__ledger_rest(kvat__ledger *ledger);
kvat_status kvat__ledger_tell(kvat__ledger *ledger, const kvat_search_result *result, kvat_error *err);
bool kvat__ledger_feasible(const kvat__ledger *ledger, size_t config);
// Still to be measured: feasible and not eliminated.
bool kvat__ledger_survives(const kvat__ledger *ledger, size_t config);
// Feasible ones that may win.
size_t kvat__ledger_candidates(const kvat__ledger *ledger);

// No figure above `most`.
kvat_search_outlook kvat__outlook_within(kvat_search_outlook outlook, size_t most);

/** One way of choosing. `propose` opens trials in the ledger, none when finished; it is called when nothing is open.
 * `tell` comes after the ledger has recorded the result. `answer` fills everything but `standing`'s tallies. All of
 * them leave the method as it was when they fail. */
typedef struct kvat_search_method {
    const char *name;
    kvat_status (*new)(void **out, const kvat__ledger *ledger, kvat_error *err);
    void (*free)(void *state);
    kvat_status (*propose)(void *state, kvat__ledger *ledger, kvat_error *err);
    void (*tell)(void *state, const kvat__ledger *ledger, const kvat_search_result *result);
    // `glance`: as of the last decision will do.
    kvat_status (*answer)(kvat_search_answer *out, kvat_search_standing *standing, const void *state,
                          const kvat__ledger *ledger, bool glance, kvat_error *err);
    kvat_search_outlook (*outlook)(const void *state, const kvat__ledger *ledger);
} kvat_search_method;

extern const kvat_search_method kvat__race, kvat__model;

#endif
