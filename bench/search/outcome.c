// What a recommendation is worth in a world whose truth is known.
// Must not know how it came about.
#include "outcome.h"

#include "world.h"

void outcome_judge(outcome *o, const world *w, size_t config) {
    o->pick = config;
    o->changes = world__changes(w, config);
    o->pick_score = w->score[config];
    o->regret = w->score[w->best] - w->score[config];
    o->exact = o->regret <= 1e-12;
    o->gain = w->score[config] - w->score[0];
    o->cost_s = w->now_s;
    o->cost_ratio = w->now_s / world_grid_s(w);
}
