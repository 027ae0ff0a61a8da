/* Reading JSON from outside: bounded before it is parsed, refused with a place and a reason.
 * Must not quote the input in a message: it may hold a prompt. */
#include <errno.h>
#include <string.h>

#include <jansson.h>

#include "kvat/file.h"
#include "kvat/json.h"

typedef struct place {
    size_t line, column;
} place;

/* Both from 1; columns count characters. */
static place place_of(const char *bytes, size_t position) {
    place at = {1, 1};
    for (size_t i = 0; i < position; i++) {
        if (bytes[i] == '\n') {
            at.line++;
            at.column = 1;
        } else if (((unsigned char)bytes[i] & 0xC0) != 0x80) {
            at.column++;
        }
    }
    return at;
}

/* Position behind the string whose opening quote stands before `i`, as jansson would see its end. */
static size_t skip_string(const char *bytes, size_t n, size_t i) {
    while (i < n && bytes[i] != '"') i += bytes[i] == '\\' ? 2 : 1;
    return i < n ? i + 1 : n;
}

/* jansson recurses and allocates as it goes, so depth and number of values are checked before it starts. Text that is
 * no JSON may be counted wrongly here; the parser refuses it at the latest where the counts part. */
static kvat_status check_bounds(const char *bytes, size_t n, const char *what, kvat_error *err) {
    size_t depth = 0;
    size_t values = 1;
    for (size_t i = 0; i < n;) {
        char c = bytes[i++];
        if (c == '"') i = skip_string(bytes, n, i);
        if (c == '[' || c == '{') depth++;
        if ((c == ']' || c == '}') && depth > 0) depth--;
        if (c == ',' || c == ':' || c == '[' || c == '{') values++;
        if (depth <= KVAT_JSON_MAX_DEPTH && values <= KVAT_JSON_MAX_VALUES) continue;
        place at = place_of(bytes, i - 1);
        if (depth > KVAT_JSON_MAX_DEPTH)
            return kvat_fail(err, KVAT_ERR_DATA, "%s: line %zu, column %zu: nested deeper than %d levels", what,
                             at.line, at.column, KVAT_JSON_MAX_DEPTH);
        return kvat_fail(err, KVAT_ERR_DATA, "%s: line %zu, column %zu: more than %d values", what, at.line, at.column,
                         KVAT_JSON_MAX_VALUES);
    }
    return KVAT_OK;
}

static const char *reason_of(const json_error_t *error) {
    switch (json_error_code(error)) {
    case json_error_invalid_utf8:
        return "invalid UTF-8";
    case json_error_premature_end_of_input:
        return "the text ends too early";
    case json_error_end_of_input_expected:
        return "something follows the end of the JSON value";
    case json_error_null_character:
    case json_error_null_byte_in_key:
        return "a string holds the character NUL";
    case json_error_duplicate_key:
        return "a member occurs twice in one object";
    case json_error_numeric_overflow:
        return "a number is out of range";
    default:
        return "not valid JSON";
    }
}

kvat_status kvat_json_parse(json_t **out, const char *bytes, size_t n, const char *what, kvat_error *err) {
    if (n > KVAT_JSON_MAX_FILE_BYTES)
        return kvat_fail(err, KVAT_ERR_DATA, "%s: %zu bytes of JSON, more than the %zu allowed", what, n,
                         KVAT_JSON_MAX_FILE_BYTES);
    if (n > 0 && memchr(bytes, 0, n)) /* jansson takes one behind a number for the end */
        return kvat_fail(err, KVAT_ERR_DATA, "%s: a byte NUL in the JSON text", what);
    kvat_status status = check_bounds(bytes, n, what, err);
    if (status != KVAT_OK) return status;

    json_error_t error;
    errno = 0; /* jansson reports some failed allocations as bad syntax; errno tells */
    json_t *value = json_loadb(bytes ? bytes : "", n, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);
    if (!value && errno == ENOMEM) return kvat_fail(err, KVAT_ERR_NOMEM, "%s: out of memory while reading JSON", what);
    if (!value)
        return kvat_fail(err, KVAT_ERR_DATA, "%s: line %d, column %d: %s", what, error.line, error.column,
                         reason_of(&error));
    *out = value;
    return KVAT_OK;
}

kvat_status kvat_json_read_file(json_t **out, const char *path, kvat_error *err) {
    kvat_buf text;
    kvat_buf_init(&text, KVAT_JSON_MAX_FILE_BYTES);
    kvat_status status = kvat_file_read(&text, path, KVAT_JSON_MAX_FILE_BYTES, err);
    if (status == KVAT_OK) status = kvat_json_parse(out, text.bytes, text.length, path, err);
    kvat_buf_clear(&text);
    return status;
}
