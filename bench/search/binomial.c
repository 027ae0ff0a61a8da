// Binomial tails and intervals.
// Knows nothing of searches.
#include "binomial.h"

#include <math.h>

static const double Z95 = 1.959963984540054;

static double log_chance(size_t k, size_t n, double p) {
    const double x = (double)k, m = (double)n;
    return lgamma(m + 1) - lgamma(x + 1) - lgamma(m - x + 1) + (k > 0 ? x * log(p) : 0) +
           (k < n ? (m - x) * log1p(-p) : 0);
}

double binomial_at_most(size_t k, size_t n, double p) {
    double sum = 0;
    if (k >= n) return 1;
    for (size_t i = 0; i <= k; i++) sum += exp(log_chance(i, n, p));
    return fmin(sum, 1);
}

double binomial_at_least(size_t k, size_t n, double p) {
    double sum = 0;
    if (k == 0) return 1;
    for (size_t i = k; i <= n; i++) sum += exp(log_chance(i, n, p));
    return fmin(sum, 1);
}

double binomial_upper(size_t k, size_t n, double level) {
    if (n == 0) return NAN;
    double low = (double)k / (double)n, high = 1;
    if (k >= n) return 1;
    for (int i = 0; i < 60; i++) {
        const double p = (low + high) / 2;
        if (binomial_at_most(k, n, p) > 1 - level)
            low = p;
        else
            high = p;
    }
    return high;
}

void binomial_interval(double *low, double *high, size_t k, size_t n) {
    const double m = (double)n, p = (double)k / m, z2 = Z95 * Z95;
    const double middle = (p + z2 / (2 * m)) / (1 + z2 / m);
    const double half = Z95 / (1 + z2 / m) * sqrt(p * (1 - p) / m + z2 / (4 * m * m));
    *low = n ? middle - half : NAN;
    *high = n ? middle + half : NAN;
}
