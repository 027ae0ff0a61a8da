/* Sets of levels of one knob, as bits.
 * Must not know knobs or configurations. */
#include "space_internal.h"

void kvat__levels_add(kvat__levels *set, size_t level) {
    set->bits[level / 64] |= UINT64_C(1) << (level % 64);
}

void kvat__levels_drop(kvat__levels *set, size_t level) {
    set->bits[level / 64] &= ~(UINT64_C(1) << (level % 64));
}

bool kvat__levels_has(const kvat__levels *set, size_t level) {
    return level < KVAT_KNOB_MAX_VALUES && (set->bits[level / 64] >> (level % 64) & 1);
}

size_t kvat__levels_count(const kvat__levels *set) {
    size_t count = 0;
    for (size_t i = 0; i < KVAT_KNOB_MAX_VALUES / 64; i++) count += (size_t)__builtin_popcountll(set->bits[i]);
    return count;
}

size_t kvat__levels_next(const kvat__levels *set, size_t from) {
    for (size_t word = from / 64; word < KVAT_KNOB_MAX_VALUES / 64; word++) {
        uint64_t bits = set->bits[word];
        if (word == from / 64) bits &= ~UINT64_C(0) << (from % 64);
        if (bits) return word * 64 + (size_t)__builtin_ctzll(bits);
    }
    return SIZE_MAX;
}
