// links: kvat_space
/* Any bytes as a profile: refused with a message, or read, written and read again as the same profile.
 * Must not know what the bytes mean. */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>

#include "kvat/profile.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check(int promise) {
    if (!promise) abort();
}

static void change_and_fit(kvat_profile *profile) {
    kvat_profile_overrides overrides = KVAT_PROFILE_OVERRIDES_INIT;
    overrides.context = "16,8";
    overrides.batch = "1,2";
    if (kvat_profile_override(profile, &overrides, NULL) == KVAT_OK) check(kvat_profile_sequences(profile) == 2);
    if (kvat_profile_fit(profile, 64, false, NULL) == KVAT_OK) check(kvat_profile_context_tokens(profile) <= 64);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    json_t *json = NULL, *written = NULL, *rewritten = NULL;
    kvat_profile *profile = NULL, *again = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    if (kvat_json_parse(&json, (const char *)bytes, n, "fuzz", NULL) != KVAT_OK) return 0;
    if (kvat_profile_parse(&profile, json, &err) != KVAT_OK) {
        check(profile == NULL && err.message[0] != '\0');
        goto done;
    }
    check(kvat_profile_json(&written, profile, NULL) == KVAT_OK);
    check(kvat_profile_parse(&again, written, NULL) == KVAT_OK);
    check(kvat_profile_json(&rewritten, again, NULL) == KVAT_OK);
    check(json_equal(written, rewritten));
    change_and_fit(profile);
done:
    kvat_profile_free(again);
    kvat_profile_free(profile);
    json_decref(rewritten);
    json_decref(written);
    json_decref(json);
    return 0;
}
