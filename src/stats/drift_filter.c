// The drift fit for one kind of drift: generalised least squares through the Kalman filter of a first-order process.
// Knows nothing of which kind is likely, nor of draws.
#include "drift.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "stats_internal.h"

static const double SHIFT_VARIANCE = 100; // prior, in units of the noise's

drift_kind kvat__drift_kind_of(size_t index) {
    static const double ratios[] = {0.25, 1, 4, 16, 64}, memories[] = {2, 8, 32};
    if (index == 0) return (drift_kind){0, 1};
    return (drift_kind){ratios[(index - 1) % 5], memories[(index - 1) / 5]};
}

kvat_status kvat__drift_work_init(drift_work *work, const kvat_drift_input *in, kvat_error *err) {
    const size_t n = in->n, m = in->n_arms + 1;
    *work = (drift_work){.in = in, .columns = m};
    work->decay = calloc(n, sizeof *work->decay);
    work->gain = calloc(n, sizeof *work->gain);
    work->root = calloc(n, sizeof *work->root);
    work->design = calloc(n * m, sizeof *work->design);
    work->answer = calloc(n, sizeof *work->answer);
    work->residual = calloc(n, sizeof *work->residual);
    work->information = calloc(m * m, sizeof *work->information);
    work->estimate = calloc(m, sizeof *work->estimate);
    work->scratch = calloc(m, sizeof *work->scratch);
    if (work->decay && work->gain && work->root && work->design && work->answer && work->residual &&
        work->information && work->estimate && work->scratch)
        return KVAT_OK;
    kvat__drift_work_clear(work);
    return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate a fit of %zu runs", n);
}

void kvat__drift_work_clear(drift_work *work) {
    free(work->decay);
    free(work->gain);
    free(work->root);
    free(work->design);
    free(work->answer);
    free(work->residual);
    free(work->information);
    free(work->estimate);
    free(work->scratch);
    *work = (drift_work){0};
}

static void prepare_filter(drift_work *work, drift_kind kind) {
    const double *time = work->in->time;
    double variance = kind.ratio;
    for (size_t j = 0; j < work->in->n; j++) {
        const double decay = j == 0 ? 0 : exp(-(time[j] - time[j - 1]) / kind.memory);
        if (j > 0) variance = decay * decay * variance + kind.ratio * (1 - decay * decay);
        const double total = variance + 1 / work->weight[j];
        work->decay[j] = decay;
        work->gain[j] = variance / total;
        work->root[j] = sqrt(total);
        variance *= 1 - work->gain[j];
    }
}

// Rows of the design are nearly empty before, and full after.
static void whiten(drift_work *work) {
    const kvat_drift_input *in = work->in;
    const size_t m = work->columns;
    double *state = work->scratch, level = 0;
    memset(state, 0, m * sizeof *state);
    for (size_t j = 0; j < in->n; j++) {
        double *row = work->design + j * m;
        for (size_t k = 0; k < m; k++) {
            state[k] *= work->decay[j];
            row[k] = -state[k];
        }
        row[0] += in->later && in->later[j];
        row[1 + in->arm[j]] += 1;
        for (size_t k = 0; k < m; k++) {
            state[k] += work->gain[j] * row[k];
            row[k] /= work->root[j];
        }
        level *= work->decay[j];
        const double step = work->y[j] - level;
        level += work->gain[j] * step;
        work->answer[j] = step / work->root[j];
    }
}

static void gather_information(drift_work *work) {
    const size_t m = work->columns;
    double *info = work->information;
    memset(info, 0, m * m * sizeof *info);
    memset(work->estimate, 0, m * sizeof *work->estimate);
    info[0] = 1 / SHIFT_VARIANCE;
    for (size_t j = 0; j < work->in->n; j++) {
        const double *row = work->design + j * m;
        for (size_t a = 0; a < m; a++) {
            if (row[a] == 0) continue; // an arm not run yet
            work->estimate[a] += row[a] * work->answer[j];
            for (size_t b = a; b < m; b++) info[a * m + b] += row[a] * row[b];
        }
    }
    for (size_t a = 1; a < m; a++) {
        if (info[a * m + a] == 0) info[a * m + a] = 1; // never run
    }
}

bool kvat__drift_solve(drift_work *work, drift_kind kind, size_t dof) {
    const size_t m = work->columns;
    prepare_filter(work, kind);
    whiten(work);
    gather_information(work);
    if (!kvat__cholesky(work->information, m)) return false;
    kvat__cholesky_solve(work->estimate, work->information, m);
    work->squares = work->estimate[0] * work->estimate[0] / SHIFT_VARIANCE;
    work->log_likelihood = 0;
    for (size_t j = 0; j < work->in->n; j++) {
        double left = work->answer[j];
        for (size_t k = 0; k < m; k++) left -= work->design[j * m + k] * work->estimate[k];
        work->residual[j] = left;
        work->squares += left * left;
        work->log_likelihood -= log(work->root[j]);
    }
    for (size_t k = 0; k < m; k++) work->log_likelihood -= log(work->information[k * m + k]);
    const double floor = (double)dof * work->in->sigma_floor * work->in->sigma_floor;
    if (dof > 0) work->log_likelihood -= (double)dof / 2 * log(fmax(work->squares, floor));
    return isfinite(work->log_likelihood);
}

// Uᵀx = row, in place; the square of its length is rowᵀ(UᵀU)⁻¹row.
static double length_in(double *row, const double *upper, size_t m) {
    double sum = 0;
    for (size_t k = 0; k < m; k++) {
        double x = row[k];
        for (size_t i = 0; i < k; i++) x -= upper[i * m + k] * row[i];
        row[k] = x / upper[k * m + k];
        sum += row[k] * row[k];
    }
    return sum;
}

// The filter's transpose, run backwards: with α = Py and P = V⁻¹ − V⁻¹X(XᵀV⁻¹X)⁻¹XᵀV⁻¹ a run differs from what the
// others predict by α_j / P_jj, whose variance is 1 / P_jj (S. Koopman 1993).
void kvat__drift_leave_one_out(double *z, drift_work *work) {
    const size_t m = work->columns;
    double *state = work->scratch, level = 0, spread = 0;
    memset(state, 0, m * sizeof *state);
    for (size_t j = work->in->n; j-- > 0;) {
        const double gain = work->gain[j], root = work->root[j], decay = work->decay[j];
        double *row = work->design + j * m;
        for (size_t k = 0; k < m; k++) {
            row[k] = row[k] / root + gain * state[k];
            state[k] = decay * (state[k] - row[k]);
        }
        const double alpha = work->residual[j] / root + gain * level;
        level = decay * (level - alpha);
        const double whole = 1 / (root * root) + gain * gain * spread;
        spread = decay * decay * ((1 - gain) * (1 - gain) * spread + 1 / (root * root));
        const double known = whole - length_in(row, work->information, m);
        z[j] = known > 1e-6 * whole ? alpha / known / sqrt(1 / known - 1 / work->weight[j] + 1) : NAN;
    }
}
