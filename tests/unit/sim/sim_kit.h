/* What the tests of the simulator share: surfaces written short. */
/* Must not know: what the tests expect. */
#ifndef KVAT_TEST_SIM_KIT_H
#define KVAT_TEST_SIM_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "surface.h"
#include "truth.h"

#define KNOBS                                                                                                          \
    "'knobs': [{'name': 'a', 'type': 'enum', 'values': ['x', 'y', 'z'], 'default': 'x', 'scope': 'context',"           \
    "           'aliases': {'z': 'y'}},"                                                                               \
    "          {'name': 'b', 'type': 'int', 'values': [1, 2], 'default': 1, 'scope': 'context'}]"
#define HEAD "{'format': 'kvat-surface/1', " KNOBS ", "
#define BASE                                                                                                           \
    "'base': [{'prompt_tokens': 100, 'output_tokens': 10, 'ttft_s': 1, 'decode_tok_per_s': 50, 'peak_bytes': 1000},"   \
    "         {'prompt_tokens': 100, 'output_tokens': 90, 'ttft_s': 1, 'decode_tok_per_s': 40, 'peak_bytes': 1100},"   \
    "         {'prompt_tokens': 400, 'output_tokens': 10, 'ttft_s': 4, 'decode_tok_per_s': 25, 'peak_bytes': 4000}]"

/* JSON in which ' stands for ". */
static inline json_t *json_of(const char *text) {
    char *copy = strdup(text);
    assert_non_null(copy);
    for (char *c = copy; *c; c++)
        if (*c == '\'') *c = '"';
    json_t *value = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    if (kvat_json_parse(&value, copy, strlen(copy), "test", &err) != KVAT_OK) fail_msg("%s in %s", err.message, copy);
    free(copy);
    return value;
}

static inline kvat_status surface_of(sim_surface **out, const char *text, kvat_error *err) {
    json_t *root = json_of(text);
    const kvat_status status = sim_surface_parse(out, root, err);
    json_decref(root);
    return status;
}

static inline sim_surface *good_surface(const char *text) {
    sim_surface *surface = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    if (surface_of(&surface, text, &err) != KVAT_OK) fail_msg("%s", err.message);
    return surface;
}

#endif
