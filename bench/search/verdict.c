// Tests of figures against targets.
// Knows nothing of searches.
#include "verdict.h"

#include <math.h>

#include "binomial.h"
#include "kvat/stats.h"

bool verdict_often_enough(size_t good, size_t n, double target) {
    return binomial_at_most(good, n, target) >= 1 - VERDICT_LEVEL;
}

bool verdict_rare_enough(size_t bad, size_t n, double limit) {
    return binomial_at_least(bad, n, limit) >= 1 - VERDICT_LEVEL;
}

bool verdict_cheap_enough(double mean, double sd, size_t n, double limit) {
    if (n < 2) return mean <= limit;
    return mean - kvat_student_quantile(VERDICT_LEVEL, (double)n - 1) * sd / sqrt((double)n) <= limit;
}
