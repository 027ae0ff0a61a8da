// links: kvat_base
/* What is read must be written, and read back as the same data and the same bytes.
 * Must not know any format made of JSON. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "kvat/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check(int truth) {
    if (!truth) abort();
}

static void check_round_trip(const json_t *value, kvat_status (*put)(kvat_buf *, const json_t *)) {
    kvat_buf first = KVAT_BUF_INIT;
    kvat_buf second = KVAT_BUF_INIT;
    kvat_error err = KVAT_ERROR_INIT;
    json_t *again = NULL;
    check(put(&first, value) == KVAT_OK);
    check(kvat_json_parse(&again, first.bytes, first.length, "written", &err) == KVAT_OK);
    check(json_equal(value, again));
    check(put(&second, again) == KVAT_OK);
    check(first.length == second.length && memcmp(first.bytes, second.bytes, first.length) == 0);
    json_decref(again);
    kvat_buf_clear(&first);
    kvat_buf_clear(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    json_t *value = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    kvat_status status = kvat_json_parse(&value, (const char *)bytes, n, "input", &err);
    if (status != KVAT_OK) {
        check(status == KVAT_ERR_DATA && !value && err.message[0] != '\0');
        return 0;
    }
    check_round_trip(value, kvat_json_put);
    check_round_trip(value, kvat_json_put_pretty);
    json_decref(value);
    return 0;
}
