/* Whole numbers in JSON, however they are written.
 * Must not know where they stand. */
#include "json_int.h"

#include <jansson.h>
#include <math.h>

/* The exact integers of a double. */
#define LARGEST_EXACT 9007199254740992.0

bool kvat__json_int(int64_t *out, const json_t *value) {
    double real = json_real_value(value); /* 0 for other types */
    bool whole = json_is_real(value) && fabs(real) <= LARGEST_EXACT && real == (double)(int64_t)real;
    if (!whole && !json_is_integer(value)) return false;
    *out = whole ? (int64_t)real : (int64_t)json_integer_value(value);
    return true;
}
