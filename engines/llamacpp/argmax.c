// The index of the largest logit: many at a time, because choosing a token must cost next to nothing beside
// computing it. Must not know: anything but an array of numbers. Compiled with -O3 in every build.
#include <math.h>
#include <string.h>

#include "engine.h"

#define LANES   4
#define STRANDS 4 /* independent maxima, so that one comparison need not wait for the last */
#define BLOCK   1024

typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));
typedef int32_t flags __attribute__((vector_size(LANES * sizeof(int32_t))));

static lanes take(const float *values) {
    lanes out;
    memcpy(&out, values, sizeof out);
    return out;
}

/* Comparisons with NaN are false, so NaN is never the larger. */
static lanes larger_of(lanes a, lanes b) {
    const flags take_a = a > b;
    return (lanes)(((flags)a & take_a) | ((flags)b & ~take_a));
}

static float block_max(const float *values) {
    lanes most[STRANDS];
    for (int k = 0; k < STRANDS; k++) most[k] = (lanes){0} - INFINITY;
    for (int i = 0; i < BLOCK; i += LANES * STRANDS)
        for (int k = 0; k < STRANDS; k++) most[k] = larger_of(take(values + i + k * LANES), most[k]);
    float max = -INFINITY;
    for (int k = 0; k < STRANDS; k++)
        for (int i = 0; i < LANES; i++)
            if (most[k][i] > max) max = most[k][i];
    return max;
}

int32_t kvat_llama_argmax(const float *values, int32_t n) {
    float most = -INFINITY;
    int32_t from = 0, to = 0, i = 0;
    for (; i + BLOCK <= n; i += BLOCK) {
        const float max = block_max(values + i);
        if (max > most) {
            most = max;
            from = i;
            to = i + BLOCK;
        }
    }
    int32_t best = -1;
    for (int32_t j = from; j < to && best < 0; j++)
        if (values[j] == most) best = j;
    for (; i < n; i++)
        if (values[i] > most) {
            most = values[i];
            best = i;
        }
    return best;
}
