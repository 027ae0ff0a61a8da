// Means, quantiles and reliability of many searches, as a line for people and an object for programs.
// Knows nothing of machines.
#include "figures.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "kvat/stats.h"

static const double BIN[SURE_BINS + 1] = {0, .5, .8, .9, .95, .98, 1.0001};

bool figures_add(figures *f, const outcome *o) {
    if (f->n == f->capacity) {
        const size_t capacity = 2 * f->capacity + 256;
        outcome *all = realloc(f->all, capacity * sizeof *all);
        if (!all) return false;
        f->all = all;
        f->capacity = capacity;
    }
    f->all[f->n++] = *o;
    return true;
}

void figures_clear(figures *f) {
    free(f->all);
    *f = (figures){0};
}

static double cost_of(const outcome *o) {
    return o->cost_ratio;
}
static double search_of(const outcome *o) {
    return o->search_ratio;
}
static double trials_of(const outcome *o) {
    return o->trials;
}
static double said_of(const outcome *o) {
    return o->p_good;
}
static double regret_of(const outcome *o) {
    return o->regret;
}
static double exact_of(const outcome *o) {
    return o->exact;
}
static double confident_of(const outcome *o) {
    return o->confident;
}
static double worse_of(const outcome *o) {
    return o->gain < -1e-9;
}
static double much_worse_of(const outcome *o) {
    return o->gain < -.005;
}

static double mean_of(const figures *f, double (*value)(const outcome *)) {
    double sum = 0;
    for (size_t i = 0; i < f->n; i++) sum += value(&f->all[i]);
    return sum / (double)f->n;
}

static double quantile_of(const figures *f, double p, double (*value)(const outcome *)) {
    double *x = calloc(f->n, sizeof *x), q = NAN;
    for (size_t i = 0; x && i < f->n; i++) x[i] = value(&f->all[i]);
    if (x) q = kvat_quantile(x, f->n, p);
    free(x);
    return q;
}

static double within(const figures *f, double limit) {
    double count = 0;
    for (size_t i = 0; i < f->n; i++) count += f->all[i].regret <= limit;
    return count / (double)f->n;
}

// Of the search alone: what its P_good speaks of.
static double seen(const figures *f) {
    double count = 0;
    for (size_t i = 0; i < f->n; i++) count += f->all[i].search_regret <= f->delta;
    return count / (double)f->n;
}

static double agree(const figures *f, double limit) {
    double count = 0;
    for (size_t i = 0; i + 1 < f->n; i += 2) {
        const outcome *a = &f->all[i], *b = &f->all[i + 1];
        count += limit > 0 ? fabs(a->regret - b->regret) <= limit : a->pick == b->pick;
    }
    return 2 * count / (double)f->n;
}

static double cpu_ms(const figures *f) {
    double decisions = 0, cpu_s = 0;
    for (size_t i = 0; i < f->n; i++) {
        decisions += f->all[i].decisions;
        cpu_s += f->all[i].cpu_s;
    }
    return 1e3 * cpu_s / decisions;
}

static double worst_cpu_ms(const figures *f) {
    double worst = 0;
    for (size_t i = 0; i < f->n; i++) worst = fmax(worst, f->all[i].worst_cpu_s);
    return 1e3 * worst;
}

typedef struct claims {
    double n, covered, error;
} claims;

static claims count_claims(const figures *f) {
    claims c = {0, 0, 0};
    for (size_t i = 0; i < f->n; i++) {
        const outcome *o = &f->all[i];
        if (isnan(o->claim)) continue;
        c.n++;
        c.covered += o->claim_low <= o->claim_truth && o->claim_truth <= o->claim_high;
        c.error += o->claim - o->claim_truth;
    }
    return c;
}

static void print_text(const figures *f, const char *method, size_t space, const char *noise) {
    fprintf(stderr,
            "%4zu %-8s %-6s cost %6.2f %% (p90 %.2f, search %.2f), %5.1f runs  P(<=1 %%) %.3f P(<=2 %%) %.3f  regret "
            "mean %.2f %% p95 %.2f %%  exact %.2f\n",
            space, noise, method, 100 * mean_of(f, cost_of), 100 * quantile_of(f, .9, cost_of),
            100 * mean_of(f, search_of), mean_of(f, trials_of), within(f, .01), within(f, .02),
            100 * mean_of(f, regret_of), 100 * quantile_of(f, .95, regret_of), mean_of(f, exact_of));
    const claims c = count_claims(f);
    fprintf(stderr,
            "     P_good said %.3f seen %.3f  confident %.2f  worse than default %.3f (by > 0.5 %%: %.4f)  same twice "
            "%.2f, within delta %.2f  claims covered %.3f, error %+.2f %%  %.2f ms CPU a decision (most %.0f)\n",
            mean_of(f, said_of), seen(f), mean_of(f, confident_of), mean_of(f, worse_of), mean_of(f, much_worse_of),
            agree(f, 0), agree(f, f->delta), c.covered / c.n, 100 * c.error / c.n, cpu_ms(f), worst_cpu_ms(f));
}

static void print_bins(const figures *f) {
    const char *separator = "";
    printf(",\"reliability\":[");
    for (size_t b = 0; b < SURE_BINS; b++) {
        double n = 0, said = 0, good = 0;
        for (size_t i = 0; i < f->n; i++) {
            const outcome *o = &f->all[i];
            if (o->p_good < BIN[b] || o->p_good >= BIN[b + 1]) continue;
            n++;
            said += o->p_good;
            good += o->search_regret <= f->delta;
        }
        if (n == 0) continue;
        printf("%s{\"from\":%g,\"n\":%.0f,\"said\":%.4f,\"seen\":%.4f}", separator, BIN[b], n, said / n, good / n);
        separator = ",";
    }
    printf("]");
}

void figures_print(const figures *f, const char *method, size_t space, const char *noise) {
    const claims c = count_claims(f);
    print_text(f, method, space, noise);
    printf("{\"method\":\"%s\",\"space\":%zu,\"noise\":\"%s\",\"searches\":%zu,\"delta\":%g,\"cost_ratio\":%.5f,"
           "\"cost_ratio_p90\":%.5f,\"search_cost_ratio\":%.5f,\"trials\":%.2f,\"regret_within_1pct\":%.4f,"
           "\"regret_within_2pct\":%.4f,\"mean_regret\":%.6f,\"p95_regret\":%.6f,\"exact\":%.4f,\"p_good_said\":%.4f,"
           "\"p_good_seen\":%.4f,\"confident\":%.4f,\"worse_than_default\":%.5f,\"worse_by_half_pct\":%.5f,"
           "\"same_twice\":%.4f,\"within_delta_twice\":%.4f,\"decision_cpu_ms\":%.4f,\"worst_decision_cpu_ms\":%.3f",
           method, space, noise, f->n, f->delta, mean_of(f, cost_of), quantile_of(f, .9, cost_of),
           mean_of(f, search_of), mean_of(f, trials_of), within(f, .01), within(f, .02), mean_of(f, regret_of),
           quantile_of(f, .95, regret_of), mean_of(f, exact_of), mean_of(f, said_of), seen(f), mean_of(f, confident_of),
           mean_of(f, worse_of), mean_of(f, much_worse_of), agree(f, 0), agree(f, f->delta), cpu_ms(f),
           worst_cpu_ms(f));
    if (c.n > 0)
        printf(",\"confirmed\":%.0f,\"covered\":%.4f,\"mean_error\":%.6f", c.n, c.covered / c.n, c.error / c.n);
    print_bins(f);
    printf("}\n");
}
