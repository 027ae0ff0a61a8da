// What the files of src/stats share: dense linear algebra on small symmetric matrices and order statistics in place.
// Not for other modules.
#ifndef KVAT_STATS_INTERNAL_H
#define KVAT_STATS_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

// Upper Cholesky factor U of a symmetric matrix (UᵀU), in place in the upper triangle; the lower one is left alone.
// False when a pivot is not positive.
bool kvat__cholesky(double *matrix, size_t n);
// Solves UᵀU x = b in place.
void kvat__cholesky_solve(double *x, const double *upper, size_t n);
// Inverse from the factor, in place, both triangles filled. `row` is scratch of n.
void kvat__cholesky_invert(double *upper, double *row, size_t n);

void kvat__sort(double *x, size_t n);
// Type 7 quantile of ascending values.
double kvat__quantile_sorted(const double *x, size_t n, double p);

#endif
