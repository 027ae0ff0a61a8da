// What the tests of stats share: cmocka with what it needs, and comparison by relative error.
// Must not know what is compared.
#ifndef KVAT_TEST_STATS_CHECK_H
#define KVAT_TEST_STATS_CHECK_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define LENGTH(a) (sizeof(a) / sizeof *(a))

// NaN equals NaN; a difference below `tiny` never counts.
static inline bool same(double got, double expected, double relative, double tiny) {
    if (isnan(expected) || isnan(got)) return isnan(expected) && isnan(got);
    return fabs(got - expected) <= fmax(relative * fabs(expected), tiny);
}

#define assert_same(got, expected, relative, tiny)                                                                     \
    do {                                                                                                               \
        const double got_ = (got), expected_ = (expected);                                                             \
        if (!same(got_, expected_, relative, tiny)) fail_msg("%s: %.17g instead of %.17g", #got, got_, expected_);     \
    } while (0)

#endif
