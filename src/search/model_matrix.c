// Factors and solves of small covariance matrices by LAPACK, sums and products of vectors and ranks without it.
// Knows nothing of what the matrices mean. Column-major; only lower triangles are read and written.
#include <lapacke.h>
#include <stdlib.h>

#include "model.h"

bool kvat__factor(double *a, size_t n) {
    return n == 0 || LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'L', (lapack_int)n, a, (lapack_int)n) == 0;
}

void kvat__inverse_of_factor(double *l, size_t n) {
    LAPACKE_dpotri_work(LAPACK_COL_MAJOR, 'L', (lapack_int)n, l, (lapack_int)n);
}

void kvat__solve_factor(const double *l, size_t n, double *b) {
    LAPACKE_dpotrs_work(LAPACK_COL_MAJOR, 'L', (lapack_int)n, 1, l, (lapack_int)n, b, (lapack_int)n);
}

void kvat__solve_lower(const double *l, size_t n, double *b, size_t nb) {
    if (n == 0 || nb == 0) return;
    LAPACKE_dtrtrs_work(LAPACK_COL_MAJOR, 'L', 'N', 'N', (lapack_int)n, (lapack_int)nb, l, (lapack_int)n, b,
                        (lapack_int)n);
}

void kvat__add_scaled(double *restrict y, const double *restrict x, double factor, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] += factor * x[i];
}

// Four sums, so that they need not wait for one another.
double kvat__dot(const double *x, const double *y, size_t n) {
    double s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        s0 += x[i] * y[i];
        s1 += x[i + 1] * y[i + 1];
        s2 += x[i + 2] * y[i + 2];
        s3 += x[i + 3] * y[i + 3];
    }
    for (; i < n; i++) s0 += x[i] * y[i];
    return (s0 + s1) + (s2 + s3);
}

static int by_key(const void *a, const void *b) {
    const model_rank *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? 1 : -1;
    return (x->index > y->index) - (x->index < y->index);
}

void kvat__model_rank_sort(model_rank *ranks, size_t n) {
    qsort(ranks, n, sizeof *ranks, by_key);
}
