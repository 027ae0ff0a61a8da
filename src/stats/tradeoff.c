// Several responses weighed against each other, row by row: the loss where an arm is furthest behind, and who is on
// the front. Knows nothing of where the rows come from: draws, or estimates as a single row.
#include <math.h>

#include "kvat/stats.h"

static double best_in(const double *row, size_t n, const bool *may_win) {
    double best = NAN;
    for (size_t i = 0; i < n; i++) {
        if ((!may_win || may_win[i]) && !isnan(row[i])) best = isnan(best) ? row[i] : fmax(best, row[i]);
    }
    return best;
}

void kvat_worst_losses(double *loss, const double *values, size_t n_responses, size_t n_rows, size_t n,
                       const bool *may_win) {
    for (size_t at = 0; at < n_rows * n; at++) loss[at] = n_responses > 0 ? -INFINITY : NAN;
    for (size_t d = 0; d < n_responses; d++) {
        for (size_t t = 0; t < n_rows; t++) {
            const double *row = values + (d * n_rows + t) * n;
            const double best = best_in(row, n, may_win);
            for (size_t i = 0; i < n; i++) {
                double *worst = &loss[t * n + i];
                if (isnan(best) || isnan(row[i]))
                    *worst = NAN;
                else if (best - row[i] > *worst) // false once it is NaN
                    *worst = best - row[i];
            }
        }
    }
}

// `rival` is better somewhere by more than delta, and nowhere worse by more than that; false where a value is NaN.
static bool beats(const double *values, size_t n_responses, size_t stride, size_t rival, size_t arm, double delta) {
    bool better = false;
    for (size_t d = 0; d < n_responses; d++) {
        const double ahead = values[d * stride + rival] - values[d * stride + arm];
        if (!(ahead >= -delta)) return false;
        better |= ahead > delta;
    }
    return better;
}

static bool known(const double *values, size_t n_responses, size_t stride, size_t arm) {
    for (size_t d = 0; d < n_responses; d++) {
        if (isnan(values[d * stride + arm])) return false;
    }
    return true;
}

void kvat_front_shares(double *p_front, const double *values, size_t n_responses, size_t n_rows, size_t n,
                       const bool *may_win, double delta) {
    const size_t stride = n_rows * n;
    for (size_t i = 0; i < n; i++) p_front[i] = 0;
    for (size_t t = 0; t < n_rows; t++) {
        const double *row = values + t * n;
        for (size_t i = 0; i < n; i++) {
            bool beaten = !known(row, n_responses, stride, i);
            for (size_t k = 0; k < n && !beaten; k++)
                beaten = k != i && (!may_win || may_win[k]) && beats(row, n_responses, stride, k, i, delta);
            p_front[i] += !beaten;
        }
    }
    for (size_t i = 0; i < n; i++) p_front[i] /= (double)n_rows;
}
