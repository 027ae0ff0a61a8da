/* The simulated engine: a surface played on a virtual clock. */
/* Must not know: how requests arrive. */
#ifndef KVAT_SIM_SIM_H
#define KVAT_SIM_SIM_H

#include "kvat/serve.h"
#include "noise.h"
#include "surface.h"
#include "truth.h"

#define KVAT_SIM_ANY_CONTEXT INT64_C(1000000000000) /* none prepared yet: nothing is clamped to it */

typedef struct sim {
    char **argv; /* where values of process scope may stand */

    uint64_t world_seed;
    int64_t clock_ns;    /* the only state that outlives a process: kvat hands it on */
    bool replay_load;    /* the next load only restores */
    int64_t replayed_ns; /* what that load counted originally, or -1 */

    sim_surface *surface;
    sim_world world;
    bool world_open;

    json_t *settings; /* every knob's value as asked for */
    uint16_t *levels; /* the same as in force, canonical */
    int64_t context_tokens, sequences;
    double launch_draw;    /* log slowdown of this context */
    int64_t cached_tokens; /* prompt held by the last prefill, for phase "decode" */
    sim_point largest;     /* run in this context */
} sim;

void sim_init(sim *s, char **argv);
void sim_clear(sim *s);

/* ---- between the files of the engine ---- */

/* Failures of reading become faults of the given kind. */
int sim__fail(kvat_fault *fault, kvat_fault_kind kind, const kvat_error *err);

/* Opens the surface and puts every knob at its default (process scope: at what the process was started with). */
int sim__open(sim *s, const char *path, kvat_fault *fault);
/* Puts the knobs of the scopes up to `widest` back to where they were at the start. */
int sim__reset(sim *s, kvat_scope widest, kvat_fault *fault);
/* Takes settings into force and answers them as they are in force. */
int sim__apply(json_t **effective, sim *s, const json_t *settings, kvat_fault *fault);

/* The first rule that strikes now, among those due at prepare or else at run; NULL: none. */
const sim_fault *sim__strike(const sim *s, bool at_prepare);
/* Makes `effective` say something else than was asked for, as an engine would that silently changed it. */
int sim__falsify(json_t *effective, const sim *s, const sim_fault *rule, kvat_fault *fault);

int64_t sim__ns(double seconds);
int sim__run(json_t **result, sim *s, const json_t *params, kvat_fault *fault);

#endif
