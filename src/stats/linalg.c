// Cholesky factor, solve and inverse of small dense symmetric matrices, row-major, in place.
// Knows nothing of what the matrices mean. Loops run along rows, so that they vectorise without relaxed arithmetic.
#include "stats_internal.h"

#include <math.h>
#include <string.h>

static void add_scaled(double *restrict y, const double *restrict x, double factor, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] += factor * x[i];
}

static double dot(const double *restrict x, const double *restrict y, size_t n) {
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

bool kvat__cholesky(double *matrix, size_t n) {
    for (size_t k = 0; k < n; k++) {
        double *row = matrix + k * n;
        if (!(row[k] > 0) || !isfinite(row[k])) return false;
        row[k] = sqrt(row[k]);
        for (size_t j = k + 1; j < n; j++) row[j] /= row[k];
        for (size_t i = k + 1; i < n; i++) {
            if (row[i] != 0) add_scaled(matrix + i * n + i, row + i, -row[i], n - i);
        }
    }
    return true;
}

void kvat__cholesky_solve(double *x, const double *upper, size_t n) {
    for (size_t k = 0; k < n; k++) {
        x[k] /= upper[k * n + k];
        add_scaled(x + k + 1, upper + k * n + k + 1, -x[k], n - k - 1);
    }
    for (size_t k = n; k-- > 0;) {
        x[k] = (x[k] - dot(upper + k * n + k + 1, x + k + 1, n - k - 1)) / upper[k * n + k];
    }
}

// V = U⁻¹, from the last row up: V_i = (e_i − Σ_{k>i} U_ik V_k) / U_ii.
static void invert_upper(double *upper, double *row, size_t n) {
    for (size_t i = n; i-- > 0;) {
        double *target = upper + i * n;
        memcpy(row + i, target + i, (n - i) * sizeof *row);
        memset(target + i, 0, (n - i) * sizeof *target);
        target[i] = 1;
        for (size_t k = i + 1; k < n; k++) {
            if (row[k] != 0) add_scaled(target + k, upper + k * n + k, -row[k], n - k);
        }
        for (size_t j = i; j < n; j++) target[j] /= row[i];
    }
}

void kvat__cholesky_invert(double *upper, double *row, size_t n) {
    invert_upper(upper, row, n);
    // (UᵀU)⁻¹ = V Vᵀ; entry (i, j ≥ i) needs only columns ≥ j of rows i and j, which are still V's.
    for (size_t i = 0; i < n; i++) {
        for (size_t j = i; j < n; j++) upper[i * n + j] = dot(upper + i * n + j, upper + j * n + j, n - j);
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < i; j++) upper[i * n + j] = upper[j * n + i];
    }
}
