/* What voids a measurement, and what does not.
 * Must not read the machine. */
#include "unit/probe/fixture.h"

#include <jansson.h>

#define S INT64_C(1000000000)
#define UNKNOWN                                                                                                        \
    .busy_cpu_ns = -1, .own_cpu_ns = -1, .steal_cpu_ns = -1, .swapped_pages = -1, .throttled = -1,                     \
    .quota_throttled = -1, .involuntary_switches = -1

/* On 2 cores, others may take a quarter. */
static const struct {
    const char *name, *cause;
    kvat_activity d;
} cases[] = {
    {"nothing", NULL, {.at_ns = 10 * S, .busy_cpu_ns = 9 * S, .own_cpu_ns = 9 * S}},
    {"nothing known", NULL, {.at_ns = 10 * S, UNKNOWN}},
    {"suspend", "suspended for 3.2 s", {.at_ns = 10 * S, .suspended_ns = 3200000000, .realtime_offset_ns = 3200000000}},
    {"clock forward", "clock stepped by 2.00 s", {.at_ns = 10 * S, .realtime_offset_ns = 2 * S}},
    {"clock back", "clock stepped by -3600.00 s", {.at_ns = 10 * S, .realtime_offset_ns = -3600 * S}},
    {"reading error of clocks", NULL, {.at_ns = 10 * S, .realtime_offset_ns = 1000000, .suspended_ns = -1000}},
    {"a little swap", NULL, {.at_ns = 10 * S, .swapped_pages = 100}},
    {"much swap", "swapping: 30000 pages", {.at_ns = 10 * S, .swapped_pages = 30000}},
    {"heat", "throttled: 2 thermal events", {.at_ns = 10 * S, .throttled = 2}},
    {"a quota is no heat", NULL, {.at_ns = 10 * S, .quota_throttled = 50}},
    {"others below the limit", NULL, {.at_ns = 10 * S, .busy_cpu_ns = 14 * S, .own_cpu_ns = 9 * S}},
    {"others above it",
     "other processes took 41 % of the CPU",
     {.at_ns = 10 * S, .busy_cpu_ns = 17200000000, .own_cpu_ns = 9 * S}},
    {"others, but ours unknown", NULL, {.at_ns = 10 * S, .busy_cpu_ns = 20 * S, .own_cpu_ns = -1}},
    {"more of ours than busy", NULL, {.at_ns = 10 * S, .busy_cpu_ns = 8 * S, .own_cpu_ns = 9 * S}},
    {"too short to tell", NULL, {.at_ns = S / 10, .busy_cpu_ns = S / 5, .own_cpu_ns = 0}},
    {"steal", "the host withheld 30 % of the CPU", {.at_ns = 10 * S, .steal_cpu_ns = 6 * S}},
    {"more than all", "other processes took 100 % of the CPU", {.at_ns = S, .busy_cpu_ns = 64 * S}},
};

static void each_disturbance_has_its_name(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[128];
        const char *cause = kvat_activity_cause(text, &cases[i].d, 2, 0.25);
        bool same = cause && cases[i].cause ? strcmp(cause, cases[i].cause) == 0 : cause == cases[i].cause;
        if (!same) fail_msg("%s: %s", cases[i].name, cause ? cause : "(no cause)");
    }
}

static void a_difference_is_field_by_field(void **state) {
    const kvat_activity before = {.at_ns = 1,
                                  .suspended_ns = 2,
                                  .realtime_offset_ns = 3,
                                  .busy_cpu_ns = 4,
                                  .own_cpu_ns = 5,
                                  .steal_cpu_ns = 6,
                                  .swapped_pages = 7,
                                  .throttled = 8,
                                  .quota_throttled = 9,
                                  .involuntary_switches = 10};
    const kvat_activity after = {.at_ns = 101,
                                 .suspended_ns = 203,
                                 .realtime_offset_ns = -297,
                                 .busy_cpu_ns = 408,
                                 .own_cpu_ns = 510,
                                 .steal_cpu_ns = 612,
                                 .swapped_pages = 714,
                                 .throttled = 816,
                                 .quota_throttled = 918,
                                 .involuntary_switches = 1020};
    kvat_activity d;
    (void)state;
    kvat_activity_since(&d, &before, &after);
    assert_int_equal(d.at_ns, 100);
    assert_int_equal(d.suspended_ns, 201);
    assert_int_equal(d.realtime_offset_ns, -300);
    assert_int_equal(d.busy_cpu_ns, 404);
    assert_int_equal(d.own_cpu_ns, 505);
    assert_int_equal(d.steal_cpu_ns, 606);
    assert_int_equal(d.swapped_pages, 707);
    assert_int_equal(d.throttled, 808);
    assert_int_equal(d.quota_throttled, 909);
    assert_int_equal(d.involuntary_switches, 1010);
}

static void the_unknown_stays_unknown(void **state) {
    const kvat_activity known = {.own_cpu_ns = 50}, unknown = {UNKNOWN};
    kvat_activity d;
    (void)state;
    kvat_activity_since(&d, &unknown, &known);
    assert_int_equal(d.busy_cpu_ns, -1);
    assert_int_equal(d.throttled, -1);
    kvat_activity_since(&d, &known, &unknown);
    assert_int_equal(d.swapped_pages, -1);
    kvat_activity_since(&d, &known, &(kvat_activity){.own_cpu_ns = 20}); /* a member died and took its count along */
    assert_int_equal(d.own_cpu_ns, -1);
}

static void json_says_null_for_the_unknown(void **state) {
    json_t *json = NULL;
    const kvat_activity d = {.at_ns = 7, .busy_cpu_ns = 30, .own_cpu_ns = 10, .steal_cpu_ns = -1};
    (void)state;
    assert_int_equal(kvat_activity_json(&json, &d, NULL), KVAT_OK);
    assert_int_equal(json_integer_value(json_object_get(json, "at_ns")), 7);
    assert_int_equal(json_integer_value(json_object_get(json, "foreign_cpu_ns")), 20);
    assert_true(json_is_null(json_object_get(json, "steal_cpu_ns")));
    json_decref(json);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_disturbance_has_its_name),
        cmocka_unit_test(a_difference_is_field_by_field),
        cmocka_unit_test(the_unknown_stays_unknown),
        cmocka_unit_test(json_says_null_for_the_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
