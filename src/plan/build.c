/* JSON under construction, with one place to ask whether memory sufficed.
 * Must not know what is being built. */
#include <math.h>
#include <string.h>

#include "kvat/buf.h"
#include "plan_internal.h"

kvat__builder kvat__build_object(void) {
    json_t *object = json_object();
    return (kvat__builder){object, object == NULL};
}

kvat__builder kvat__build_array(void) {
    json_t *array = json_array();
    return (kvat__builder){array, array == NULL};
}

void kvat__build_add(kvat__builder *builder, const char *name, json_t *value) {
    if (!value || builder->failed) {
        json_decref(value);
        builder->failed = true;
        return;
    }
    int failed =
        name ? json_object_set_new(builder->object, name, value) : json_array_append_new(builder->object, value);
    if (failed) builder->failed = true;
}

/* jansson refuses invalid UTF-8, our own escaper replaces it. */
static json_t *text_value(const char *text) {
    json_t *value = json_string(text);
    if (value) return value;
    kvat_buf quoted = KVAT_BUF_INIT;
    kvat_escape_json(&quoted, text);
    if (kvat_buf_status(&quoted, NULL) == KVAT_OK) value = json_loads(quoted.bytes, JSON_DECODE_ANY, NULL);
    kvat_buf_clear(&quoted);
    return value;
}

void kvat__build_text(kvat__builder *builder, const char *name, const char *text) {
    kvat__build_add(builder, name, text ? text_value(text) : json_null());
}

void kvat__build_real(kvat__builder *builder, const char *name, double value) {
    kvat__build_add(builder, name, isfinite(value) ? json_real(value) : json_null());
}

void kvat__build_int(kvat__builder *builder, const char *name, int64_t value) {
    kvat__build_add(builder, name, json_integer(value));
}

void kvat__build_bytes(kvat__builder *builder, const char *name, int64_t bytes) {
    kvat__build_add(builder, name, bytes > 0 ? json_integer(bytes) : json_null());
}

void kvat__build_bool(kvat__builder *builder, const char *name, bool value) {
    kvat__build_add(builder, name, json_boolean(value));
}

void kvat__build_interval(kvat__builder *builder, const char *name, kvat_interval interval) {
    kvat__builder object = kvat__build_object();
    kvat__build_real(&object, "value", interval.value);
    kvat__build_real(&object, "low", interval.low);
    kvat__build_real(&object, "high", interval.high);
    kvat__build_add(builder, name, kvat__build_take(&object));
}

void kvat__build_copy(kvat__builder *builder, const char *name, const json_t *value) {
    kvat__build_add(builder, name, value ? json_deep_copy(value) : json_null());
}

json_t *kvat__build_take(kvat__builder *builder) {
    json_t *value = builder->object;
    if (builder->failed) {
        json_decref(value);
        value = NULL;
    }
    builder->object = NULL;
    builder->failed = true;
    return value;
}
