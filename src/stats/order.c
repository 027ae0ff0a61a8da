// Means, spreads and quantiles of a sample, and intervals made from them.
// Knows nothing of where the sample comes from.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kvat/stats.h"
#include "stats_internal.h"

static const kvat_interval NO_INTERVAL = {NAN, NAN, NAN};

static int compare_doubles(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void kvat__sort(double *x, size_t n) {
    qsort(x, n, sizeof *x, compare_doubles);
}

double kvat__quantile_sorted(const double *x, size_t n, double p) {
    const double position = p * (double)(n - 1);
    const size_t below = (size_t)position;
    if (below + 1 >= n) return x[n - 1];
    return x[below] + (position - (double)below) * (x[below + 1] - x[below]);
}

static bool any_nan(const double *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (isnan(x[i])) return true;
    }
    return false;
}

// A sorted copy, NULL without memory or without a sample that can be ordered.
static double *sorted_copy(const double *x, size_t n) {
    if (n == 0 || any_nan(x, n)) return NULL;
    double *copy = calloc(n, sizeof *copy);
    if (!copy) return NULL;
    memcpy(copy, x, n * sizeof *copy);
    kvat__sort(copy, n);
    return copy;
}

double kvat_mean(const double *x, size_t n) {
    if (n == 0) return NAN;
    double sum = 0, rest = 0;
    for (size_t i = 0; i < n; i++) sum += x[i];
    const double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) rest += x[i] - mean; // what rounding lost
    return mean + rest / (double)n;
}

double kvat_sd(const double *x, size_t n) {
    if (n < 2) return NAN;
    const double mean = kvat_mean(x, n);
    double squares = 0;
    for (size_t i = 0; i < n; i++) squares += (x[i] - mean) * (x[i] - mean);
    return sqrt(squares / (double)(n - 1));
}

double kvat_quantile(const double *x, size_t n, double p) {
    if (!(p >= 0 && p <= 1)) return NAN;
    double *sorted = sorted_copy(x, n);
    if (!sorted) return NAN;
    const double result = kvat__quantile_sorted(sorted, n, p);
    free(sorted);
    return result;
}

double kvat_median(const double *x, size_t n) {
    return kvat_quantile(x, n, 0.5);
}

kvat_interval kvat_paired_interval(const double *differences, size_t n, double level) {
    return kvat_trimmed_interval(differences, n, 0, level);
}

static bool informs(kvat_spread_prior prior) {
    return prior.sd > 0 && prior.dof > 0 && isfinite(prior.sd) && isfinite(prior.dof);
}

static kvat_estimate trimmed_estimate(double *sorted, size_t n, size_t trim, kvat_spread_prior prior) {
    const size_t kept = n - 2 * trim;
    const double center = kvat_mean(sorted + trim, kept);
    for (size_t i = 0; i < trim; i++) {
        sorted[i] = sorted[trim];
        sorted[n - 1 - i] = sorted[n - 1 - trim];
    }
    const double spread = kvat_sd(sorted, n); // of the winsorised values
    const double own_dof = (double)(kept - 1) - (trim > 0 ? 0.5 : 0);
    double variance = spread * spread * (double)(n - 1) / ((double)kept * (double)(kept - 1)), dof = own_dof;
    if (informs(prior)) {
        dof = prior.dof + own_dof;
        variance = (prior.dof * prior.sd * prior.sd / (double)n + own_dof * variance) / dof;
    }
    return (kvat_estimate){center, sqrt(variance), dof};
}

kvat_estimate kvat_informed_estimate(const double *x, size_t n, size_t trim, kvat_spread_prior prior) {
    enum { FEW = 64 }; // differences of pairs are few: no memory is asked for, so no interval is lost for want of it
    static const kvat_estimate NO_ESTIMATE = {NAN, NAN, 0};
    double few[FEW];
    if (n < 2 || trim > (n - 2) / 2 || any_nan(x, n)) return NO_ESTIMATE;
    double *values = n <= FEW ? few : calloc(n, sizeof *values);
    if (!values) return NO_ESTIMATE;
    memcpy(values, x, n * sizeof *values);
    kvat__sort(values, n);
    const kvat_estimate result = trimmed_estimate(values, n, trim, prior);
    if (values != few) free(values);
    return result;
}

kvat_estimate kvat_estimate_join(kvat_estimate a, kvat_estimate b) {
    const double pa = 1 / (a.se * a.se), pb = 1 / (b.se * b.se), wa = pa / (pa + pb), wb = pb / (pa + pb);
    if (!(a.se > 0)) return a; // exact: nothing to add
    if (!(b.se > 0)) return b;
    return (kvat_estimate){wa * a.value + wb * b.value, 1 / sqrt(pa + pb), 1 / (wa * wa / a.dof + wb * wb / b.dof)};
}

kvat_interval kvat_estimate_interval(kvat_estimate estimate, double level) {
    if (!(level > 0 && level < 1) || !(estimate.dof > 0)) return NO_INTERVAL;
    const double reach = estimate.se * kvat_student_quantile(0.5 + level / 2, estimate.dof);
    return (kvat_interval){estimate.value, estimate.value - reach, estimate.value + reach};
}

kvat_interval kvat_trimmed_interval(const double *x, size_t n, size_t trim, double level) {
    return kvat_estimate_interval(kvat_informed_estimate(x, n, trim, (kvat_spread_prior){0, 0}), level);
}

bool kvat_interval_too_wide(kvat_interval interval) {
    return fmax(interval.high - interval.value, interval.value - interval.low) > interval.value;
}
