// links: kvat_space
/* Any bytes as the knobs of an engine: refused with a message, or a space whose configurations can be named and set.
 * Must not know what the bytes mean. */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>

#include "kvat/hash.h"
#include "kvat/space.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check(int promise) {
    if (!promise) abort();
}

static void check_config(const kvat_space *space, size_t config) {
    json_t *settings = NULL, *effective = NULL;
    char hex[KVAT_HASH_HEX];
    kvat_buf label = KVAT_BUF_INIT;
    check(kvat_space_settings(&settings, space, config, -1, NULL) == KVAT_OK);
    check(kvat_knobs_effective(&effective, kvat_space_knobs(space), settings, 300, NULL) == KVAT_OK);
    check(json_object_size(effective) == json_object_size(settings));
    check(kvat_space_identity(hex, space, config, NULL) == KVAT_OK);
    kvat_space_label(&label, space, config);
    check(kvat_buf_status(&label, NULL) == KVAT_OK);
    kvat_buf_clear(&label);
    json_decref(effective);
    json_decref(settings);
}

static void check_space(const kvat_knobs *knobs, const kvat_space_request *request) {
    kvat_space *space = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    if (kvat_space_new(&space, knobs, request, &err) != KVAT_OK) {
        check(space == NULL && err.message[0] != '\0');
        return;
    }
    size_t count = kvat_space_count(space);
    check(count >= 1 && count <= 64 && kvat_space_changes(space, 0) == 0);
    for (size_t i = 0; i < count; i++) check_config(space, i);
    kvat_space_free(space);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    static const kvat_setting all[] = {{"all", NULL}};
    json_t *json = NULL;
    kvat_knobs *knobs = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    if (kvat_json_parse(&json, (const char *)bytes, n, "fuzz", NULL) != KVAT_OK) return 0;
    if (kvat_knobs_parse(&knobs, json, &err) == KVAT_OK) {
        check_space(knobs, &(kvat_space_request){.context_tokens = 300, .max_configs = 64, .safe = true});
        check_space(knobs, &(kvat_space_request){.sweep = all, .n_sweep = 1, .max_configs = 64, .allow_lossy = true});
    } else {
        check(knobs == NULL && err.message[0] != '\0');
    }
    kvat_knobs_free(knobs);
    json_decref(json);
    return 0;
}
