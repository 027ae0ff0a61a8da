// What a visit to a configuration costs from where the machine stands, learned from the runs so far.
// Knows nothing of scores.
#include "model.h"

static const double PRIOR_RUNS = 1; // at the mean of all

static size_t step_of(const model_space *space, size_t from, size_t to) {
    if (from == to) return 0;
    const unsigned scope = kvat__model_distance(space, from, to);
    return 1 + (scope < MODEL_SCOPES ? scope : MODEL_SCOPES - 1);
}

void kvat__model_costs_learn(model_costs *out, const model_space *space, const kvat__ledger *ledger) {
    double sum[MODEL_SCOPES + 1] = {0}, count[MODEL_SCOPES + 1] = {0}, all = 0;
    for (size_t i = 0; i < ledger->n_runs; i++) {
        const kvat__run *run = &ledger->runs[i], *before = i > 0 ? run - 1 : NULL;
        const double cost_s = 1e-9 * (double)run->result.cost_ns;
        all += cost_s / (double)ledger->n_runs;
        if (!before || before->order + 1 != run->order) continue;
        const size_t step = step_of(space, before->result.trial.config, run->result.trial.config);
        sum[step] += cost_s;
        count[step]++;
    }
    for (size_t s = 0; s <= MODEL_SCOPES; s++) out->mean[s] = (sum[s] + PRIOR_RUNS * all) / (count[s] + PRIOR_RUNS);
}

double kvat__model_cost(const model_costs *costs, const model_space *space, size_t from, size_t to) {
    return costs->mean[step_of(space, from, to)];
}
