/* One JSON-RPC 2.0 message, read from a line or written as one. */
/* Must not know: which methods exist, and how bytes travel. */
#include "message.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    kvat_fault_kind kind;
    const char *word;
} fault_words[] = {
    {KVAT_FAULT_UNSUPPORTED, "unsupported"}, {KVAT_FAULT_OOM_HOST, "oom_host"},
    {KVAT_FAULT_OOM_DEVICE, "oom_device"},   {KVAT_FAULT_BAD_MODEL, "bad_model"},
    {KVAT_FAULT_INTERNAL, "internal"},       {KVAT_FAULT_INVALID_SETTING, "invalid_setting"},
    {KVAT_FAULT_CANCELLED, "cancelled"},
};

const char *kvat__fault_word(kvat_fault_kind kind) {
    for (size_t i = 0; i < sizeof fault_words / sizeof *fault_words; i++)
        if (fault_words[i].kind == kind) return fault_words[i].word;
    return "internal";
}

static kvat_fault_kind fault_parse(const char *word) {
    for (size_t i = 0; word && i < sizeof fault_words / sizeof *fault_words; i++)
        if (!strcmp(fault_words[i].word, word)) return fault_words[i].kind;
    return KVAT_FAULT_INTERNAL;
}

int kvat_fault_set(kvat_fault *fault, kvat_fault_kind kind, const char *knob, const char *format, ...) {
    fault->kind = kind;
    snprintf(fault->knob, sizeof fault->knob, "%s", knob ? knob : "");
    va_list args;
    va_start(args, format);
    vsnprintf(fault->detail, sizeof fault->detail, format, args);
    va_end(args);
    for (char *c = fault->detail; *c; c++)
        if (*c == '\n' || *c == '\r') *c = ' ';
    return -1;
}

/* ---- reading ---- */

static bool valid_id(const json_t *id) {
    return json_is_integer(id) || json_is_string(id);
}

/* What is wrong with it as a message, or NULL. */
static const char *message_flaw(kvat__message *m) {
    const char *version = json_string_value(json_object_get(m->root, "jsonrpc"));
    if (!version || strcmp(version, "2.0") != 0) return "\"jsonrpc\" is not \"2.0\"";
    if (json_is_null(m->id)) m->id = NULL;
    if (m->id && !valid_id(m->id)) return "\"id\" is neither a number nor a string";
    const json_t *method = json_object_get(m->root, "method");
    m->method = json_string_value(method);
    if (method && !m->method) return "\"method\" is not a string";
    if ((m->method != NULL) + (m->result != NULL) + (m->error != NULL) != 1)
        return "exactly one of \"method\", \"result\" and \"error\" is expected";
    if (m->error && !json_is_object(m->error)) return "\"error\" is not an object";
    return NULL;
}

kvat_status kvat__message_read(kvat__message *out, const char *line, size_t n, int *code, json_t **id,
                               kvat_error *err) {
    json_t *root = NULL;
    *id = NULL;
    *code = KVAT__RPC_PARSE_ERROR;
    kvat_status status = kvat_json_parse(&root, line, n, "message", err);
    if (status != KVAT_OK) return status;

    kvat__message m = {.root = root};
    m.id = json_object_get(root, "id");
    m.params = json_object_get(root, "params");
    m.result = json_object_get(root, "result");
    m.error = json_object_get(root, "error");
    *code = KVAT__RPC_INVALID_REQUEST;
    const char *flaw = json_is_object(root) ? message_flaw(&m) : "a message is a JSON object";
    if (!flaw && m.method && m.params && !json_is_object(m.params)) {
        flaw = "\"params\" is not an object";
        *code = KVAT__RPC_BAD_PARAMS;
    }
    if (!flaw) {
        *out = m;
        return KVAT_OK;
    }
    if (valid_id(m.id)) *id = json_incref(m.id);
    json_decref(root);
    return kvat_fail(err, KVAT_ERR_DATA, "message: %s", flaw);
}

void kvat__message_clear(kvat__message *message) {
    json_decref(message->root);
    *message = (kvat__message){0};
}

static void copy_text(char *to, size_t size, const char *text) {
    snprintf(to, size, "%s", text ? text : "");
}

void kvat__error_read(int *code, kvat_fault *fault, const json_t *error) {
    const json_int_t number = json_integer_value(json_object_get(error, "code"));
    *code = number >= INT32_MIN && number <= INT32_MAX ? (int)number : KVAT__RPC_INTERNAL;
    const json_t *data = json_object_get(error, "data");
    const char *detail = json_string_value(json_object_get(data, "detail"));
    if (!detail || !*detail) detail = json_string_value(json_object_get(error, "message"));
    fault->kind = *code == KVAT__RPC_CANCELLED ? KVAT_FAULT_CANCELLED
                                               : fault_parse(json_string_value(json_object_get(data, "kind")));
    copy_text(fault->knob, sizeof fault->knob, json_string_value(json_object_get(data, "knob")));
    copy_text(fault->detail, sizeof fault->detail, detail);
}

/* ---- writing ---- */

static void put_json(kvat_buf *out, const json_t *value) {
    const kvat_status status = value ? kvat_json_put(out, value) : KVAT_OK;
    if (!value) kvat_buf_puts(out, "{}");
    if (status != KVAT_OK && out->status == KVAT_OK) out->status = status;
}

static void put_id(kvat_buf *out, const json_t *id) {
    if (json_is_string(id)) {
        kvat_escape_json(out, json_string_value(id));
    } else if (id) {
        kvat_buf_printf(out, "%lld", (long long)json_integer_value(id));
    } else {
        kvat_buf_puts(out, "null");
    }
}

void kvat__put_request(kvat_buf *out, int64_t id, const char *method, const json_t *params) {
    kvat_buf_printf(out, "{\"id\":%lld,\"jsonrpc\":\"2.0\",\"method\":", (long long)id);
    kvat_escape_json(out, method);
    kvat_buf_puts(out, ",\"params\":");
    put_json(out, params);
    kvat_buf_puts(out, "}\n");
}

void kvat__put_result(kvat_buf *out, const json_t *id, const json_t *result) {
    kvat_buf_puts(out, "{\"id\":");
    put_id(out, id);
    kvat_buf_puts(out, ",\"jsonrpc\":\"2.0\",\"result\":");
    put_json(out, result);
    kvat_buf_puts(out, "}\n");
}

void kvat__put_error(kvat_buf *out, const json_t *id, int code, const kvat_fault *fault) {
    kvat_buf_printf(out, "{\"error\":{\"code\":%d,\"data\":{\"detail\":", code);
    kvat_escape_json(out, fault->detail);
    kvat_buf_puts(out, ",\"kind\":");
    kvat_escape_json(out, kvat__fault_word(fault->kind));
    if (fault->knob[0]) {
        kvat_buf_puts(out, ",\"knob\":");
        kvat_escape_json(out, fault->knob);
    }
    kvat_buf_puts(out, "},\"message\":");
    kvat_escape_json(out, fault->detail[0] ? fault->detail : kvat__fault_word(fault->kind));
    kvat_buf_puts(out, "},\"id\":");
    put_id(out, id);
    kvat_buf_puts(out, ",\"jsonrpc\":\"2.0\"}\n");
}
