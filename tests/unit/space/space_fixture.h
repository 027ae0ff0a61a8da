/* A small engine to test configurations with, and short ways to JSON.
 * Must not assert anything about the space itself. */
#ifndef KVAT_TESTS_SPACE_FIXTURE_H
#define KVAT_TESTS_SPACE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "kvat/space.h"

/* flash-attn auto is on; the V type needs it; ubatch acts at most as batch, batch at most as the context. */
static const char *const engine_json =
    "[{\"name\": \"flash-attn\", \"concept\": \"attention\", \"type\": \"enum\", \"values\": [\"auto\", \"on\", "
    "\"off\"],"
    "  \"default\": \"auto\", \"search\": [\"auto\", \"off\"], \"scope\": \"context\", \"numerics\": \"equivalent\","
    "  \"aliases\": {\"auto\": \"on\"}},"
    " {\"name\": \"cache-type-v\", \"concept\": \"kv.type.v\", \"type\": \"enum\", \"values\": [\"f16\", \"q8_0\", "
    "\"q4_0\"],"
    "  \"default\": \"f16\", \"search\": [\"f16\", \"q8_0\"], \"scope\": \"context\","
    "  \"numerics\": {\"q8_0\": \"lossy\", \"q4_0\": \"lossy\"},"
    "  \"requires\": [{\"if\": [\"q8_0\", \"q4_0\"], \"then\": {\"flash-attn\": [\"on\"]}}]},"
    " {\"name\": \"batch-size\", \"type\": \"int\", \"values\": [256, 2048], \"default\": 2048, \"scope\": \"context\","
    "  \"at_most\": [\"context_tokens\"]},"
    " {\"name\": \"ubatch-size\", \"type\": \"int\", \"values\": [128, 256, 512], \"default\": 512,"
    "  \"search\": [128, 512], \"scope\": \"context\", \"at_most\": [\"batch-size\"]},"
    " {\"name\": \"threads\", \"concept\": \"threads.decode\", \"type\": \"int\", \"values\": [1, 2, 4], \"default\": "
    "2,"
    "  \"search\": [1, 2], \"scope\": \"request\", \"stable\": [1, 2]},"
    " {\"name\": \"repack\", \"type\": \"enum\", \"values\": [\"on\", \"off\"], \"default\": \"on\", \"scope\": "
    "\"model\"}]";
enum { FLASH, TYPE_V, BATCH, UBATCH, THREADS, REPACK };

static inline json_t *json_of(const char *text) {
    kvat_error err = KVAT_ERROR_INIT;
    json_t *json = NULL;
    if (kvat_json_parse(&json, text, strlen(text), "test", &err) != KVAT_OK) fail_msg("%s: %s", err.message, text);
    return json;
}

static inline kvat_knobs *knobs_of(const char *text) {
    kvat_error err = KVAT_ERROR_INIT;
    kvat_knobs *knobs = NULL;
    json_t *json = json_of(text);
    if (kvat_knobs_parse(&knobs, json, &err) != KVAT_OK) fail_msg("%s", err.message);
    json_decref(json);
    return knobs;
}

static inline kvat_space *space_of(const kvat_knobs *knobs, const kvat_space_request *request) {
    kvat_error err = KVAT_ERROR_INIT;
    kvat_space *space = NULL;
    if (kvat_space_new(&space, knobs, request, &err) != KVAT_OK) fail_msg("%s", err.message);
    return space;
}

/** Canonical JSON; heap. */
static inline char *text_of(const json_t *json) {
    kvat_buf out = KVAT_BUF_INIT;
    assert_int_equal(kvat_json_put(&out, json), KVAT_OK);
    return kvat_buf_take(&out);
}

#endif
