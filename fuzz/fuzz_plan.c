// links: kvat_plan kvat_space kvat_base
/* A plan from outside is refused or can be resolved, compared and written in every format; nothing else may happen.
 * Must not know what is in a plan. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "kvat/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check(int truth) {
    if (!truth) abort();
}

static void resolve(const json_t *plan) {
    static const kvat_plan_conditions conditions[] = {
        KVAT_PLAN_CONDITIONS_INIT, {1, 1, INT64_MAX, "other", NULL}, {INT64_MAX, INT64_MAX, 0, "", NULL}};
    for (size_t i = 0; i < sizeof conditions / sizeof *conditions; i++) {
        const json_t *settings = NULL;
        const char *advice = NULL;
        int rule = -2;
        check(kvat_plan_resolve(&settings, &rule, &advice, plan, &conditions[i], NULL) == KVAT_OK);
        check(json_is_object(settings) && rule >= -1);
    }
}

static void write_snippets(const json_t *plan) {
    static const char *const formats[] = {"llama-server", "preset", "compose", "k8s", "python", "none"};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        kvat_buf text = KVAT_BUF_INIT;
        kvat_error err = KVAT_ERROR_INIT;
        kvat_status status = kvat_snippet_put(&text, plan, formats[i], NULL, &err);
        check(status == KVAT_OK || *err.message != '\0');
        check(status != KVAT_OK || memchr(text.bytes, '\0', text.length) == NULL);
        kvat_buf_clear(&text);
    }
}

static void compare(const json_t *plan) {
    const kvat_gate gate = {0.01, 0.01, NAN};
    kvat_comparison result;
    check(kvat_plan_compare(&result, plan, plan, &gate, NULL) == KVAT_OK);
    check(!result.gate_failed && result.same_settings); /* with itself */
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    json_t *plan = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    if (kvat_json_parse(&plan, (const char *)bytes, n, "plan", &err) != KVAT_OK) return 0;
    if (kvat_plan_check(plan, &err) == KVAT_OK) {
        resolve(plan);
        write_snippets(plan);
        compare(plan);
    } else {
        check(*err.message != '\0');
    }
    json_decref(plan);
    return 0;
}
