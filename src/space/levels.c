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
    for (size_t level = from; level < KVAT_KNOB_MAX_VALUES; level++)
        if (kvat__levels_has(set, level)) return level;
    return SIZE_MAX;
}
