/* Members of JSON objects, checked for type and range, with one form of message.
 * Must not know which format the object belongs to. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include <jansson.h>

#include "kvat/json.h"
#include "kvat/units.h"

/* The exact integers of a double. */
#define LARGEST_EXACT 9007199254740992.0

static const char *path_of(kvat_json_at at) {
    return at.path ? at.path : "";
}

static const char *dot_of(kvat_json_at at) {
    return *path_of(at) ? "." : "";
}

static kvat_status unexpected(kvat_json_at at, const char *member, const char *type, const char *found,
                              kvat_error *err) {
    return kvat_fail(err, KVAT_ERR_DATA, "%s%s%s: expected %s%s%s", path_of(at), dot_of(at), member, type,
                     found ? ", not " : "", found ? found : "");
}

static const char *type_name(const json_t *value) {
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a real number";
    case JSON_NULL:
        return "null";
    default:
        return "a boolean";
    }
}

/* Finds the member; *found is NULL when it is absent (or null) and need not be there. */
static kvat_status look_up(json_t **found, kvat_json_at at, const char *member, const char *type, bool required,
                           kvat_error *err) {
    *found = NULL;
    if (!json_is_object(at.object))
        return kvat_fail(err, KVAT_ERR_DATA, "%s: expected an object", *path_of(at) ? path_of(at) : "the JSON text");
    json_t *value = json_object_get(at.object, member);
    if (required && !value) return unexpected(at, member, type, "nothing (the member is missing)", err);
    if (value && (required || !json_is_null(value))) *found = value;
    return KVAT_OK;
}

kvat_status kvat_json_get_string(const char **value, kvat_json_at at, const char *member, bool required,
                                 kvat_error *err) {
    json_t *found;
    kvat_status status = look_up(&found, at, member, "a string", required, err);
    if (status != KVAT_OK || !found) return status;
    if (!json_is_string(found)) return unexpected(at, member, "a string", type_name(found), err);
    *value = json_string_value(found);
    return KVAT_OK;
}

/* 2048 and 2048.0 are one number in JSON. */
static bool as_int(int64_t *value, const json_t *found) {
    double real = json_real_value(found); /* 0 for other types */
    bool whole = json_is_real(found) && fabs(real) <= LARGEST_EXACT && real == (double)(int64_t)real;
    *value = whole ? (int64_t)real : (int64_t)json_integer_value(found);
    return whole || json_is_integer(found);
}

kvat_status kvat_json_get_int(int64_t *value, kvat_json_at at, const char *member, int64_t low, int64_t high,
                              bool required, kvat_error *err) {
    json_t *found;
    int64_t number;
    kvat_status status = look_up(&found, at, member, "an integer", required, err);
    if (status != KVAT_OK || !found) return status;
    if (!as_int(&number, found)) return unexpected(at, member, "an integer", type_name(found), err);
    if (number < low || number > high)
        return kvat_fail(err, KVAT_ERR_DATA,
                         "%s%s%s: expected an integer from %" PRId64 " to %" PRId64 ", not %" PRId64, path_of(at),
                         dot_of(at), member, low, high, number);
    *value = number;
    return KVAT_OK;
}

kvat_status kvat_json_get_real(double *value, kvat_json_at at, const char *member, double low, double high,
                               bool required, kvat_error *err) {
    json_t *found;
    kvat_status status = look_up(&found, at, member, "a number", required, err);
    if (status != KVAT_OK || !found) return status;
    if (!json_is_number(found)) return unexpected(at, member, "a number", type_name(found), err);
    double number = json_number_value(found);
    if (!isfinite(number) || number < low || number > high)
        return kvat_fail(err, KVAT_ERR_DATA, "%s%s%s: expected a number from %g to %g, not %g", path_of(at), dot_of(at),
                         member, low, high, number);
    *value = number;
    return KVAT_OK;
}

kvat_status kvat_json_get_bool(bool *value, kvat_json_at at, const char *member, bool required, kvat_error *err) {
    json_t *found;
    kvat_status status = look_up(&found, at, member, "a boolean", required, err);
    if (status != KVAT_OK || !found) return status;
    if (!json_is_boolean(found)) return unexpected(at, member, "a boolean", type_name(found), err);
    *value = json_is_true(found);
    return KVAT_OK;
}

kvat_status kvat_json_get_array(json_t **value, kvat_json_at at, const char *member, bool required, kvat_error *err) {
    json_t *found;
    kvat_status status = look_up(&found, at, member, "an array", required, err);
    if (status != KVAT_OK) return status;
    if (found && !json_is_array(found)) return unexpected(at, member, "an array", type_name(found), err);
    *value = found;
    return KVAT_OK;
}

kvat_status kvat_json_get_object(json_t **value, kvat_json_at at, const char *member, bool required, kvat_error *err) {
    json_t *found;
    kvat_status status = look_up(&found, at, member, "an object", required, err);
    if (status != KVAT_OK) return status;
    if (found && !json_is_object(found)) return unexpected(at, member, "an object", type_name(found), err);
    *value = found;
    return KVAT_OK;
}

static bool is_known(const char *name, const char *const *known) {
    for (; *known; known++)
        if (strcmp(name, *known) == 0) return true;
    return false;
}

static kvat_status unknown_member(kvat_json_at at, const char *name, const char *const *known, kvat_error *err) {
    size_t n = 0;
    while (known[n]) n++;
    int nearest = kvat_nearest_word(name, known, n);
    if (nearest < 0) return kvat_fail(err, KVAT_ERR_DATA, "%s%s%s: unknown member", path_of(at), dot_of(at), name);
    return kvat_fail(err, KVAT_ERR_DATA, "%s%s%s: unknown member; did you mean \"%s\"?", path_of(at), dot_of(at), name,
                     known[nearest]);
}

kvat_status kvat_json_only_members(kvat_json_at at, const char *const *known, kvat_error *err) {
    json_t *object;
    kvat_status status = look_up(&object, at, "", "", false, err);
    if (status != KVAT_OK) return status;
    object = (json_t *)at.object; /* jansson's iterators do not know const */
    for (void *i = json_object_iter(object); i; i = json_object_iter_next(object, i))
        if (!is_known(json_object_iter_key(i), known)) return unknown_member(at, json_object_iter_key(i), known, err);
    return KVAT_OK;
}
