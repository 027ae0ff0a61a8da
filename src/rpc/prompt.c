/* Prompts made of token ids that every worker generates alike. */
/* Must not know: what the ids mean to a model. */
#include "kvat/serve.h"

static uint64_t splitmix64(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

void kvat_prompt_tokens(int32_t *ids, int64_t count, uint64_t seed, int32_t low, int32_t high) {
    const uint64_t span = high > low ? (uint64_t)((int64_t)high - low) : 1;
    for (int64_t i = 0; i < count; i++) ids[i] = (int32_t)(low + (int64_t)(splitmix64(&seed) % span));
}
