/* Gates and the comparison of two plans: only a real regression fails, and what cannot be compared is not. */
#include "unit/plan/plan_fixture.h"

#include <math.h>

static void gates_are_read(void **state) {
    (void)state;
    static const struct {
        const char *text;
        double ttft, decode, memory; /* −1: not gated */
    } cases[] = {{"ttft=5%,decode=3%,memory=5%", 0.05, 0.03, 0.05},
                 {"decode=0.03", -1, 0.03, -1},
                 {"memory=10%", -1, -1, 0.1},
                 {"ttft=0", 0, -1, -1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_gate gate;
        assert_int_equal(kvat_gate_parse(&gate, cases[i].text, NULL), KVAT_OK);
        const double wanted[] = {cases[i].ttft, cases[i].decode, cases[i].memory};
        const double got[] = {gate.ttft_ratio, gate.decode_ratio, gate.memory_ratio};
        for (size_t k = 0; k < 3; k++) assert_true(wanted[k] < 0 ? isnan(got[k]) : fabs(got[k] - wanted[k]) < 1e-12);
    }
}

static void gates_that_are_none_are_refused(void **state) {
    (void)state;
    static const char *const cases[] = {"",         "ttft",     "ttft=",   "ttft=x", "speed=5%", "ttft=5%,,decode=3%",
                                        "ttft=-1%", "ttft=nan", "ttft=5%,"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_gate gate = {1, 2, 3};
        kvat_error err = KVAT_ERROR_INIT;
        if (kvat_gate_parse(&gate, cases[i], &err) != KVAT_ERR_USAGE) fail_msg("\"%s\" is taken", cases[i]);
        assert_true(err.message[0] != '\0');
        assert_true(gate.ttft_ratio == 1); /* untouched */
    }
    kvat_gate gate;
    kvat_error err = KVAT_ERROR_INIT;
    assert_int_equal(kvat_gate_parse(&gate, "tttf=5%", &err), KVAT_ERR_USAGE);
    assert_non_null(strstr(err.message, "\"ttft\""));
}

/* ---- comparison ---- */
static void scale_interval(json_t *cell, const char *metric, double by) {
    static const char *const parts[] = {"value", "low", "high"};
    json_t *interval = json_object_get(cell, metric);
    for (size_t i = 0; i < 3; i++)
        json_object_set_new(interval, parts[i], json_real(by * json_number_value(json_object_get(interval, parts[i]))));
}

static json_t *plan_scaled(double ttft, double decode, double peak) {
    json_t *plan = plan_of(SAMPLE_WINNER), *cell;
    size_t i;
    json_array_foreach(at(plan, "figures", "cells"), i, cell) {
        scale_interval(cell, "ttft_s", ttft);
        scale_interval(cell, "decode_tok_per_s", decode);
    }
    json_t *figures = at(plan, "figures", NULL);
    double bytes = peak * json_number_value(json_object_get(figures, "peak_bytes"));
    json_object_set_new(figures, "peak_bytes", json_integer((json_int_t)bytes));
    return plan;
}

static kvat_comparison compared(double ttft, double decode, double peak) {
    json_t *base = plan_of(SAMPLE_WINNER), *candidate = plan_scaled(ttft, decode, peak);
    const kvat_gate gate = {0.05, 0.03, 0.05};
    kvat_comparison result;
    assert_int_equal(kvat_plan_compare(&result, base, candidate, &gate, NULL), KVAT_OK);
    assert_true(result.comparable);
    assert_true(result.same_settings);
    assert_int_equal(result.n_items, 4);
    json_decref(base);
    json_decref(candidate);
    return result;
}

static void only_a_regression_beyond_the_gate_with_its_whole_interval_fails(void **state) {
    (void)state;
    static const struct {
        double ttft, decode, peak;
        bool fails;
    } cases[] = {
        {1, 1, 1, false},    {0.8, 1.2, 0.9, false}, /* better */
        {1.06, 1, 1, false}, /* beyond the gate, but by less than plans of separate runs differ */
        {1.3, 1, 1, true},   {1, 0.8, 1, true},      {1, 0.96, 1, false}, {1, 1, 1.07, true}, {1, 1, 1.04, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_comparison result = compared(cases[i].ttft, cases[i].decode, cases[i].peak);
        if (result.gate_failed != cases[i].fails) fail_msg("case %zu: gate_failed %d", i, result.gate_failed);
    }
}

static void equal_plans_are_neither_better_nor_worse(void **state) {
    (void)state;
    kvat_comparison result = compared(1, 1, 1);
    for (size_t i = 0; i < result.n_items; i++) {
        assert_false(result.items[i].better);
        assert_false(result.items[i].worse);
        assert_true(fabs(result.items[i].change.value - 1) < 1e-9);
    }
    assert_non_null(strstr(result.reason, "interleaved"));
}

/* By the formula at the head of compare.c: half-widths of 1.1 % each, 1 % between runs on both sides. */
static void the_interval_allows_for_separate_runs(void **state) {
    (void)state;
    kvat_comparison result = compared(1, 1, 1);
    double own = log(1.011 / 0.989) / 2, half = sqrt(2 * own * own + 2 * 1.959963984540054 * 1.959963984540054 * 1e-4);
    assert_string_equal(result.items[0].metric, "ttft");
    assert_true(fabs(log(result.items[0].change.high) - half) < 1e-9);
    assert_true(fabs(log(result.items[0].change.low) + half) < 1e-9);
}

static void a_real_change_is_seen_in_its_direction(void **state) {
    (void)state;
    kvat_comparison result = compared(0.8, 1.25, 0.9);
    for (size_t i = 0; i < result.n_items; i++) assert_true(result.items[i].better);
    result = compared(1.25, 0.8, 1.1);
    for (size_t i = 0; i < result.n_items; i++) assert_true(result.items[i].worse);
}

static void what_was_measured_otherwise_is_not_compared(void **state) {
    (void)state;
    static const struct {
        const char *object, *member, *with, *reason;
    } cases[] = {{"engine", "name", "\"ollama\"", "engine"},
                 {"model", "identity", "\"sha256:other\"", "model"},
                 {"environment", "machine", "{\"cpu_model\": \"other\"}", "machine"},
                 {"profile", "weights", "{\"ttft\": 1, \"decode\": 0, \"memory\": 0}", "workload"},
                 {"memory", "source", "\"cgroup\"", "memory"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *base = plan_of(SAMPLE_WINNER), *candidate = plan_of(SAMPLE_WINNER);
        kvat_comparison result;
        json_object_set_new(json_object_get(candidate, cases[i].object), cases[i].member,
                            json_loads(cases[i].with, JSON_DECODE_ANY, NULL));
        assert_int_equal(kvat_plan_compare(&result, base, candidate, NULL, NULL), KVAT_OK);
        assert_false(result.comparable);
        assert_false(result.gate_failed);
        assert_non_null(strstr(result.reason, cases[i].reason));
        json_decref(base);
        json_decref(candidate);
    }
}

static void memory_read_from_different_sources_within_a_plan_is_not_compared(void **state) {
    (void)state;
    for (int which = 1; which < 4; which++) { /* base, candidate, both */
        json_t *base = plan_of(SAMPLE_WINNER), *candidate = plan_of(SAMPLE_WINNER);
        kvat_comparison result;
        if (which & 1) json_object_set_new(json_object_get(base, "memory"), "source", json_null());
        if (which & 2) json_object_set_new(json_object_get(candidate, "memory"), "source", json_null());
        assert_int_equal(kvat_plan_compare(&result, base, candidate, NULL, NULL), KVAT_OK);
        assert_false(result.comparable);
        assert_non_null(strstr(result.reason, "memory"));
        json_decref(base);
        json_decref(candidate);
    }
}

static void another_engine_version_is_compared_and_named(void **state) {
    (void)state;
    json_t *base = plan_of(SAMPLE_WINNER), *candidate = plan_of(SAMPLE_WINNER);
    kvat_comparison result;
    json_object_set_new(json_object_get(candidate, "engine"), "version", json_string("0.6.0"));
    assert_int_equal(kvat_plan_compare(&result, base, candidate, NULL, NULL), KVAT_OK);
    assert_true(result.comparable);
    assert_non_null(strstr(result.reason, "0.6.0"));
    json_decref(base);
    json_decref(candidate);
}

static void a_plan_of_a_single_run_is_not_compared(void **state) {
    (void)state;
    json_t *base = plan_scaled(1, 1, 1), *candidate = plan_scaled(1.5, 1, 1), *cell;
    size_t i;
    json_array_foreach(at(candidate, "figures", "cells"), i, cell) {
        json_object_set_new(json_object_get(cell, "ttft_s"), "low", json_null());
        json_object_set_new(json_object_get(cell, "ttft_s"), "high", json_null());
    }
    kvat_gate gate = {0.05, NAN, NAN};
    kvat_comparison comparison;
    assert_int_equal(kvat_plan_compare(&comparison, base, candidate, &gate, NULL), KVAT_OK);
    assert_false(comparison.comparable);
    assert_false(comparison.gate_failed);
    assert_non_null(strstr(comparison.reason, "single run"));
    json_decref(base);
    json_decref(candidate);
}

static void what_is_not_decided_is_compared_and_marked(void **state) {
    (void)state;
    for (int which = 0; which < 4; which++) { /* neither, base, candidate, both */
        json_t *base = plan_of(SAMPLE_WINNER), *candidate = plan_of(SAMPLE_WINNER);
        kvat_comparison result;
        if (which & 1) json_object_set_new(base, "decision", json_string("undecided"));
        if (which & 2) json_object_set_new(candidate, "decision", json_string("undecided"));
        assert_int_equal(kvat_plan_compare(&result, base, candidate, NULL, NULL), KVAT_OK);
        assert_true(result.comparable);
        assert_int_equal(result.base_undecided, (which & 1) != 0);
        assert_int_equal(result.candidate_undecided, (which & 2) != 0);
        json_decref(base);
        json_decref(candidate);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gates_are_read),
        cmocka_unit_test(gates_that_are_none_are_refused),
        cmocka_unit_test(only_a_regression_beyond_the_gate_with_its_whole_interval_fails),
        cmocka_unit_test(equal_plans_are_neither_better_nor_worse),
        cmocka_unit_test(the_interval_allows_for_separate_runs),
        cmocka_unit_test(a_plan_of_a_single_run_is_not_compared),
        cmocka_unit_test(a_real_change_is_seen_in_its_direction),
        cmocka_unit_test(what_was_measured_otherwise_is_not_compared),
        cmocka_unit_test(memory_read_from_different_sources_within_a_plan_is_not_compared),
        cmocka_unit_test(what_is_not_decided_is_compared_and_marked),
        cmocka_unit_test(another_engine_version_is_compared_and_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
