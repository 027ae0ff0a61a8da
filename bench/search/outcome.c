// What a recommendation is worth in a world whose truth is known.
// Must not know how it came about.
#include "outcome.h"

#include "world.h"

static size_t changes_of(const world *w, size_t config) {
    size_t changes = 0;
    for (size_t i = 0; i < w->n_knobs; i++) changes += world__level(w, config, i) != world__level(w, 0, i);
    return changes;
}

void outcome_judge(outcome *o, const world *w, size_t config) {
    o->pick = config;
    o->changes = changes_of(w, config);
    o->pick_score = w->score[config];
    o->regret = w->score[w->best] - w->score[config];
    o->exact = o->regret <= 1e-12;
    o->gain = w->score[config] - w->score[0];
    o->cost_s = w->now_s;
    o->cost_ratio = w->now_s / world_grid_s(w);
}
