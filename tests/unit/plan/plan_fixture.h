/* What the tests of plan share: plans of the sample outcomes, changed on command.
 * Must not depend on how real outcomes are made. */
#ifndef KVAT_TEST_PLAN_FIXTURE_H
#define KVAT_TEST_PLAN_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "kvat/json.h"
#include "kvat/plan.h"
#include "unit/report/sample_outcome.c"

/** The plan for the winner of that sample; the outcome is gone. */
static inline json_t *plan_of(sample_kind kind) {
    kvat_outcome *outcome = sample_outcome(kind);
    json_t *plan = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    if (kvat_plan_make(&plan, outcome, outcome->winner, &err) != KVAT_OK) fail_msg("%s", err.message);
    kvat_outcome_free(outcome);
    return plan;
}

static inline json_t *at(const json_t *object, const char *first, const char *second) {
    json_t *below = json_object_get(object, first);
    return second ? json_object_get(below, second) : below;
}

#endif
