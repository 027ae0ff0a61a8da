// Random numbers: xoshiro256** seeded through SplitMix64, and the distributions drawn from it.
// Knows nothing of who draws, nor of any clock or system entropy: the same seed gives the same numbers.
#include <math.h>
#include <string.h>

#include "kvat/stats.h"

static uint64_t splitmix_next(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t rotate_left(uint64_t x, int k) {
    return (x << k) | (x >> (64 - k));
}

void kvat_rng_seed(kvat_rng *rng, uint64_t seed) {
    memset(rng, 0, sizeof *rng);
    for (size_t i = 0; i < 4; i++) rng->state[i] = splitmix_next(&seed);
}

void kvat_rng_seed3(kvat_rng *rng, uint64_t seed, uint64_t a, uint64_t b) {
    uint64_t mixed = splitmix_next(&seed) ^ a;
    mixed = splitmix_next(&mixed) ^ b;
    kvat_rng_seed(rng, splitmix_next(&mixed));
}

uint64_t kvat_rng_next(kvat_rng *rng) {
    uint64_t *s = rng->state;
    const uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    const uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

double kvat_rng_uniform(kvat_rng *rng) {
    return ((double)(kvat_rng_next(rng) >> 12) + 0.5) * 0x1p-52;
}

uint64_t kvat_rng_below(kvat_rng *rng, uint64_t n) {
    if (n < 2) return 0;
    const uint64_t reject_below = (0 - n) % n; // 2^64 mod n: what is left over after whole ranges
    uint64_t x;
    do x = kvat_rng_next(rng);
    while (x < reject_below);
    return x % n;
}

double kvat_rng_normal(kvat_rng *rng) {
    if (rng->has_spare) {
        rng->has_spare = 0;
        return rng->spare;
    }
    const double radius = sqrt(-2.0 * log(kvat_rng_uniform(rng)));
    const double angle = 6.283185307179586477 * kvat_rng_uniform(rng);
    rng->spare = radius * sin(angle);
    rng->has_spare = 1;
    return radius * cos(angle);
}

// Marsaglia and Tsang (2000) for shape ≥ 1.
static double gamma_draw(kvat_rng *rng, double shape) {
    const double d = shape - 1.0 / 3.0, c = 1.0 / sqrt(9.0 * d);
    for (;;) {
        const double x = kvat_rng_normal(rng);
        const double root = 1.0 + c * x;
        if (root <= 0) continue;
        const double v = root * root * root;
        if (log(kvat_rng_uniform(rng)) < 0.5 * x * x + d - d * v + d * log(v)) return d * v;
    }
}

double kvat_rng_chi_square(kvat_rng *rng, double dof) {
    if (!(dof > 0) || isinf(dof)) return NAN;
    const double shape = dof / 2;
    if (shape >= 1) return 2 * gamma_draw(rng, shape);
    return 2 * gamma_draw(rng, shape + 1) * pow(kvat_rng_uniform(rng), 1 / shape); // their boost for shape < 1
}

void kvat_rng_shuffle(kvat_rng *rng, size_t *items, size_t n) {
    for (size_t i = n; i > 1; i--) {
        const size_t j = (size_t)kvat_rng_below(rng, i);
        const size_t held = items[i - 1];
        items[i - 1] = items[j];
        items[j] = held;
    }
}
