// Figures of many searches.
// Knows nothing of machines.
#include "figures.h"

#include <math.h>
#include <stdlib.h>

#include "kvat/stats.h"

const double sure_bins[SURE_BINS + 1] = {0, .5, .8, .9, .95, .98, 1.0001};
static const double MUCH = .005, ROUNDING = 1e-9;

bool outcomes_add(outcomes *o, const outcome *one) {
    if (o->n == o->capacity) {
        const size_t capacity = 2 * o->capacity + 256;
        outcome *all = realloc(o->all, capacity * sizeof *all);
        if (!all) return false;
        o->all = all;
        o->capacity = capacity;
    }
    o->all[o->n++] = *one;
    return true;
}

void outcomes_clear(outcomes *o) {
    free(o->all);
    *o = (outcomes){0};
}

static double quantile_of(double *x, size_t n, double p) {
    return n > 0 ? kvat_quantile(x, n, p) : NAN;
}

regrets regrets_of(const outcomes *o, whose_regret whose, which_outcomes which) {
    double *x = calloc(o->n + 1, sizeof *x);
    regrets r = {0, 0, 0, NAN, NAN};
    for (size_t i = 0; x && i < o->n; i++) {
        const outcome *one = &o->all[i];
        const double regret = whose == OF_PICK ? one->regret : one->search_regret;
        if (which != ALL && one->decided != (which == DECIDED)) continue;
        x[r.n++] = regret;
        r.within_1pct += regret <= .01;
        r.within_2pct += regret <= .02;
    }
    if (r.n > 0) r.mean = kvat_mean(x, r.n);
    if (x) r.p95 = quantile_of(x, r.n, .95);
    free(x);
    return r;
}

sureness sureness_of(const outcomes *o, double delta, double from, double to, bool confident) {
    sureness s = {0, 0, 0};
    for (size_t i = 0; i < o->n; i++) {
        const outcome *one = &o->all[i];
        if (one->p_good < from || one->p_good >= to || (confident && !one->confident)) continue;
        s.n++;
        s.said += one->p_good;
        s.good += one->search_regret <= delta;
    }
    s.said = s.n > 0 ? s.said / (double)s.n : NAN;
    return s;
}

claims claims_of(const outcomes *o) {
    claims c = {0};
    for (size_t i = 0; i < o->n; i++) {
        const outcome *one = &o->all[i];
        if (isnan(one->claim)) continue;
        const bool covered = one->claim_low <= one->claim_truth && one->claim_truth <= one->claim_high;
        c.n++;
        c.covered += covered;
        if (!one->claimed) continue;
        c.claimed++;
        c.claimed_covered += covered;
        c.error += one->claim - one->claim_truth;
        c.abs_error += fabs(one->claim - one->claim_truth);
        c.half_width += (one->claim_high - one->claim_low) / 2;
    }
    const double n = c.claimed > 0 ? (double)c.claimed : NAN;
    c.error /= n;
    c.abs_error /= n;
    c.half_width /= n;
    return c;
}

agreement agreement_of(const outcomes *o, const outcomes *kept, double delta) {
    agreement a = {0, 0, 0};
    const size_t worlds = o->runs > 0 ? o->n / o->runs : 0;
    for (size_t i = 0; (kept ? kept->n > 0 : o->runs > 1) && i < worlds; i++) {
        const outcome *first = &o->all[i * o->runs], *second = kept ? &kept->all[i] : first + 1;
        a.n++;
        a.same += first->pick == second->pick;
        a.near += fabs(first->pick_score - second->pick_score) <= delta;
    }
    return a;
}

static void add_costs(summary *s, const outcomes *o) {
    double *x = calloc(o->n + 1, sizeof *x), decisions = 0, cpu_s = 0;
    for (size_t i = 0; x && i < o->n; i++) {
        const outcome *one = &o->all[i];
        x[i] = one->cost_ratio;
        s->search_cost += one->search_ratio / (double)o->n;
        s->trials += one->trials / (double)o->n;
        s->changes += (double)one->changes / (double)o->n;
        decisions += one->decisions;
        cpu_s += one->cpu_s;
        s->worst_cpu_ms = fmax(s->worst_cpu_ms, 1e3 * one->worst_cpu_s);
    }
    if (x && o->n > 0) s->cost = kvat_mean(x, o->n);
    if (x && o->n > 1) s->cost_sd = kvat_sd(x, o->n);
    if (x) s->cost_p90 = quantile_of(x, o->n, .9);
    s->cpu_ms = decisions > 0 ? 1e3 * cpu_s / decisions : NAN;
    free(x);
}

summary summary_of(const outcomes *o) {
    summary s = {.n = o->n};
    for (size_t i = 0; i < o->n; i++) {
        const outcome *one = &o->all[i];
        s.exact += one->exact;
        s.confident += one->confident;
        s.decided += one->decided;
        s.infeasible += one->infeasible;
        s.worse += one->gain < -ROUNDING;
        s.much_worse += one->gain < -MUCH;
    }
    add_costs(&s, o);
    return s;
}
