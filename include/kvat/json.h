/**
 * @file json.h
 * Strict JSON over jansson: what comes from outside is bounded in size and depth, duplicate keys are refused, and what
 * goes out is canonical (sorted keys), so that equal data give equal bytes.
 *
 * Ownership follows jansson: functions that return `json_t *` through `out` give a new reference; getters borrow.
 */
#ifndef KVAT_JSON_H
#define KVAT_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvat/buf.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct json_t json_t; /* jansson's; include <jansson.h> to look inside */

/** Names and values together; bounds the memory that small text can ask for. */
#define KVAT_JSON_MAX_VALUES     (4 << 20)
#define KVAT_JSON_MAX_DEPTH      64
#define KVAT_JSON_MAX_FILE_BYTES ((size_t)64 << 20)

/** Parses exactly one JSON text of `n` bytes. KVAT_ERR_DATA names line and column, and `what` (a file name, say): bad
 * syntax, depth over 64, duplicate keys, lone surrogates, invalid UTF-8, NUL inside strings, numbers out of range, NUL
 * bytes, more than 64 MiB. */
KVAT_EXTERN kvat_status kvat_json_parse(json_t **out, const char *bytes, size_t n, const char *what, kvat_error *err);

/** Reads and parses a regular file of at most KVAT_JSON_MAX_FILE_BYTES. KVAT_ERR_DATA when it is missing, no regular
 * file or too large. */
KVAT_EXTERN kvat_status kvat_json_read_file(json_t **out, const char *path, kvat_error *err);

/** Compact, keys sorted, reals in the shortest form that reads back equal, UTF-8 with hidden characters and the starts
 * of HTML tags escaped. On failure (NULL, over 64 levels, no memory, the ceiling) nothing of the value stays in
 * `out`. */
KVAT_EXTERN kvat_status kvat_json_put(kvat_buf *out, const json_t *value);
/** The same indented by 2, with a final newline. */
KVAT_EXTERN kvat_status kvat_json_put_pretty(kvat_buf *out, const json_t *value);

/*
 * Members of an object, with one message form: "<path>.<member>: expected <type>". `path` says where `object` stands
 * ("knobs[3]"; "" for the whole text). A getter whose member is absent or null leaves *value alone when `required` is
 * false.
 */
typedef struct kvat_json_at {
    const json_t *object;
    const char *path;
} kvat_json_at;

KVAT_EXTERN kvat_status kvat_json_get_string(const char **value, kvat_json_at at, const char *member, bool required,
                                             kvat_error *err);
/** An integer, or a real without fraction up to 2⁵³ in magnitude: 2048 and 2048.0 are one number in JSON. */
KVAT_EXTERN kvat_status kvat_json_get_int(int64_t *value, kvat_json_at at, const char *member, int64_t low,
                                          int64_t high, bool required, kvat_error *err);
/** Integer or real; must be finite and within [low, high]. */
KVAT_EXTERN kvat_status kvat_json_get_real(double *value, kvat_json_at at, const char *member, double low, double high,
                                           bool required, kvat_error *err);
KVAT_EXTERN kvat_status kvat_json_get_bool(bool *value, kvat_json_at at, const char *member, bool required,
                                           kvat_error *err);
/** Borrowed; *value becomes NULL when absent and not required. */
KVAT_EXTERN kvat_status kvat_json_get_array(json_t **value, kvat_json_at at, const char *member, bool required,
                                            kvat_error *err);
KVAT_EXTERN kvat_status kvat_json_get_object(json_t **value, kvat_json_at at, const char *member, bool required,
                                             kvat_error *err);
/** Refuses members not in `known` (NULL-terminated), suggesting the nearest. */
KVAT_EXTERN kvat_status kvat_json_only_members(kvat_json_at at, const char *const *known, kvat_error *err);

#ifdef __cplusplus
}
#endif
#endif
