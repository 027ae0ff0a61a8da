// Calm and restless times of a machine: by how much drift and noise about each run exceed the usual.
// Knows nothing of configurations. Formulas in model.h.
#include <math.h>
#include <string.h>

#include "model.h"

static const double PRIOR = 1, MOST_SURPRISE = 10;
// The spread of ln energy: below 0.35 in 99 of 100 looks at simulated machines of steady noise, above 0.4 in 90 of 100
// at a recorded shared machine from 60 runs on.
static const double STEADY = .3, RESTLESS = .45;

// energy[i] = Σ_j k_ij energy of j's own; weight[i] = Σ_j k_ij, over both metrics.
static void gather(double *energy, double *weight, const double *own, const double *closeness, size_t n) {
    size_t t = 0;
    memset(energy, 0, n * sizeof *energy);
    memset(weight, 0, n * sizeof *weight);
    for (size_t j = 0; j < n; j++) {
        for (size_t i = j; i < n; i++, t++) {
            energy[j] += closeness[t] * own[i];
            weight[j] += MODEL_METRICS * closeness[t];
            if (i == j) continue;
            energy[i] += closeness[t] * own[j];
            weight[i] += MODEL_METRICS * closeness[t];
        }
    }
}

static double spread_of(const double *x, size_t n) {
    double mean = 0, square = 0;
    for (size_t i = 0; i < n; i++) mean += x[i] / (double)n;
    for (size_t i = 0; i < n; i++) square += (x[i] - mean) * (x[i] - mean) / (double)n;
    return sqrt(square);
}

double kvat__model_unrest(double *unrest, const double *surprise, const double *closeness, size_t n, double *room) {
    double *own = room, *energy = room + n, *weight = room + 2 * n;
    for (size_t i = 0; i < n; i++)
        own[i] = unrest[i] * (fmin(surprise[i], MOST_SURPRISE) + fmin(surprise[n + i], MOST_SURPRISE));
    gather(energy, weight, own, closeness, n);
    for (size_t i = 0; i < n; i++) energy[i] = log((PRIOR + energy[i]) / (PRIOR + weight[i]));
    const double restless = fmin(fmax((spread_of(energy, n) - STEADY) / (RESTLESS - STEADY), 0), 1);
    for (size_t i = 0; i < n; i++) unrest[i] = exp(restless * energy[i]);
    return restless;
}
