// links: kvat_rpc
/* What a worker may write: bytes cut into lines, lines read as messages, errors taken apart. */
/* Must not know: what the messages ask for. */
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "../src/rpc/lines.h"
#include "../src/rpc/message.h"

#define LINE_MAX_BYTES 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is read must be writable again, and mean the same. */
static void write_back(const kvat__message *m) {
    kvat_buf out = KVAT_BUF_INIT;
    kvat__message again = {0};
    json_t *id = NULL;
    int code = 0;
    if (m->error) {
        kvat_fault fault = {0};
        kvat__error_read(&code, &fault, m->error);
        kvat__put_error(&out, m->id, code, &fault);
    } else if (m->result) {
        kvat__put_result(&out, m->id, m->result);
    } else {
        kvat__put_request(&out, 1, m->method, m->params);
    }
    if (kvat_buf_status(&out, NULL) != KVAT_OK) abort();
    if (kvat__message_read(&again, out.bytes, out.length - 1, &code, &id, NULL) != KVAT_OK) abort();
    if (m->result && !json_equal(m->result, again.result)) abort();
    if (m->id && !json_equal(m->id, again.id) && !m->method) abort();
    kvat__message_clear(&again);
    kvat_buf_clear(&out);
}

static void read_line(const char *line, size_t n) {
    kvat__message m = {0};
    kvat_error err = KVAT_ERROR_INIT;
    json_t *id = NULL;
    int code = 0;
    if (kvat__message_read(&m, line, n, &code, &id, &err) == KVAT_OK) {
        write_back(&m);
    } else if (!err.message[0] || m.root) {
        abort();
    }
    json_decref(id);
    kvat__message_clear(&m);
}

/* The first byte says in what pieces the rest arrives. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    const size_t piece = (size_t)data[0] + 1;
    kvat__lines lines;
    kvat__lines_init(&lines, LINE_MAX_BYTES);
    for (size_t at = 1; at < size; at += piece) {
        const size_t n = size - at < piece ? size - at : piece;
        if (kvat__lines_put(&lines, (const char *)data + at, n, NULL) != KVAT_OK) break;
        const char *line;
        size_t length;
        while (kvat__lines_next(&lines, &line, &length)) {
            if (length > LINE_MAX_BYTES) abort();
            read_line(line, length);
        }
    }
    kvat__lines_clear(&lines);
    return 0;
}
