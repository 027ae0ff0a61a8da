// Levels of a sequence and slopes through points, such that a single disturbance counts little.
// Knows nothing of what lies on the line.
#include <math.h>
#include <stdlib.h>

#include "kvat/stats.h"
#include "stats_internal.h"

enum { BLOCKS = 7, LEAST_TO_TRIM = 5 };

typedef struct block {
    size_t from, to;
    double mean;
} block;

static double mean_index(size_t from, size_t to) {
    return ((double)from + (double)(to - 1)) / 2;
}

static kvat_level join(const block *blocks, size_t n_blocks, size_t lowest, size_t highest) {
    double sum = 0, places = 0, count = 0;
    for (size_t i = 0; i < n_blocks; i++) {
        if (i == lowest || i == highest) continue;
        const double size = (double)(blocks[i].to - blocks[i].from);
        sum += size * blocks[i].mean;
        places += size * mean_index(blocks[i].from, blocks[i].to);
        count += size;
    }
    return (kvat_level){sum / count, places / count};
}

kvat_level kvat_level_of(const double *values, size_t n) {
    block blocks[BLOCKS];
    const size_t n_blocks = n < BLOCKS ? n : BLOCKS;
    size_t lowest = 0, highest = 0;
    if (n == 0) return (kvat_level){NAN, NAN};
    for (size_t i = 0; i < n_blocks; i++) {
        blocks[i] = (block){.from = i * n / n_blocks, .to = (i + 1) * n / n_blocks};
        blocks[i].mean = kvat_mean(values + blocks[i].from, blocks[i].to - blocks[i].from);
        if (isnan(blocks[i].mean)) return (kvat_level){NAN, NAN};
        if (blocks[i].mean < blocks[lowest].mean) lowest = i;
        if (blocks[i].mean >= blocks[highest].mean) highest = i;
    }
    if (n_blocks < LEAST_TO_TRIM) return (kvat_level){kvat_mean(values, n), mean_index(0, n)};
    return join(blocks, n_blocks, lowest, highest);
}

kvat_line kvat_line_of(const double *x, const double *y, size_t n) {
    const double mean_x = kvat_mean(x, n), mean_y = kvat_mean(y, n);
    double xx = 0, xy = 0, rest = 0;
    for (size_t i = 0; i < n; i++) {
        xx += (x[i] - mean_x) * (x[i] - mean_x);
        xy += (x[i] - mean_x) * (y[i] - mean_y);
    }
    if (!(xx > 0)) return (kvat_line){NAN, NAN};
    const double slope = xy / xx;
    for (size_t i = 0; i < n; i++) {
        const double residual = y[i] - mean_y - slope * (x[i] - mean_x);
        rest += residual * residual;
    }
    return (kvat_line){slope, n < 3 ? NAN : sqrt(rest / (double)(n - 2) / xx)};
}

double kvat_theil_sen_slope(const double *x, const double *y, size_t n) {
    size_t n_slopes = 0;
    if (n < 2) return NAN;
    double *slopes = calloc(n * (n - 1) / 2, sizeof *slopes);
    if (!slopes) return NAN;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = i + 1; j < n; j++)
            if (x[i] != x[j]) slopes[n_slopes++] = (y[j] - y[i]) / (x[j] - x[i]);
    }
    const double slope = kvat_median(slopes, n_slopes);
    free(slopes);
    return slope;
}
