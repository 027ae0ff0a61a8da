/* Whole numbers in JSON, however they are written: items of lists, for which json.h has no getter.
 * Not for other modules. */
#ifndef KVAT_JSON_INT_H
#define KVAT_JSON_INT_H

#include "kvat/json.h"

/** 512 and 512.0 are one number in JSON. False for anything else, NULL included. */
bool kvat__json_int(int64_t *out, const json_t *value);

#endif
