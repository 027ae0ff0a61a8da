/* One JSON-RPC 2.0 message, read from a line or written as one. */
/* Must not know: which methods exist, and how bytes travel. */
#ifndef KVAT_RPC_MESSAGE_H
#define KVAT_RPC_MESSAGE_H

#include "kvat/json.h"
#include "kvat/serve.h"

#define KVAT__RPC_PARSE_ERROR     (-32700)
#define KVAT__RPC_INVALID_REQUEST (-32600)
#define KVAT__RPC_NO_METHOD       (-32601)
#define KVAT__RPC_BAD_PARAMS      (-32602)
#define KVAT__RPC_INTERNAL        (-32603)
#define KVAT__RPC_ENGINE          (-32000)
#define KVAT__RPC_VERSION         (-32001)
#define KVAT__RPC_CANCELLED       (-32800)

/* Members are borrowed from `root`. `method` is set in requests and notifications, `result` or `error` in answers. */
typedef struct kvat__message {
    json_t *root; /* owned */
    json_t *id;   /* NULL in notifications */
    const char *method;
    json_t *params; /* an object, or NULL */
    json_t *result;
    json_t *error;
} kvat__message;

/* KVAT_ERR_DATA: `*code` is the JSON-RPC code of the fault, and *id (new reference, or NULL) whom to answer. */
kvat_status kvat__message_read(kvat__message *out, const char *line, size_t n, int *code, json_t **id, kvat_error *err);
void kvat__message_clear(kvat__message *message);

/* {"code", "message", "data": {"kind", "knob", "detail"}} → code and fault; whatever is missing stays empty. */
void kvat__error_read(int *code, kvat_fault *fault, const json_t *error);

/* Writers append one line with its '\n'. A NULL `id` is written as null. */
void kvat__put_request(kvat_buf *out, int64_t id, const char *method, const json_t *params);
void kvat__put_result(kvat_buf *out, const json_t *id, const json_t *result);
void kvat__put_error(kvat_buf *out, const json_t *id, int code, const kvat_fault *fault);

const char *kvat__fault_word(kvat_fault_kind kind);

#endif
