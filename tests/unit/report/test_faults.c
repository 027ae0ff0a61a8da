/* Reports without memory: no crash, no leak, and never a report with something silently missing. Then CSV, JSON and
 * charts as data. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "fail_alloc.h"
#include "kvat/json.h"
#include "kvat/report.h"
#include "unit/report/sample_outcome.c"

typedef kvat_status writer(kvat_buf *out, const kvat_outcome *outcome, kvat_error *err);

static kvat_status write_terminal(kvat_buf *out, const kvat_outcome *outcome, kvat_error *err) {
    return kvat_report_terminal(out, outcome, &(kvat_terminal_style){80, true, true}, "a folder", err);
}

static kvat_status write_narrow(kvat_buf *out, const kvat_outcome *outcome, kvat_error *err) {
    return kvat_report_terminal(out, outcome, &(kvat_terminal_style){40, false, false}, "results", err);
}

static kvat_status write_heading(kvat_buf *out, const kvat_outcome *outcome, kvat_error *err) {
    return kvat_report_heading(out, outcome, &(kvat_terminal_style){80, false, true}, err);
}

static kvat_status write_charts(kvat_buf *out, const kvat_outcome *outcome, kvat_error *err) {
    kvat_status status = KVAT_OK;
    for (int chart = 0; chart < KVAT_CHART_COUNT && status == KVAT_OK; chart++)
        status = kvat_report_svg(out, outcome, (kvat_chart)chart, err);
    return status;
}

static kvat_status write_json(kvat_buf *out, const kvat_outcome *outcome, kvat_error *err) {
    json_t *report = NULL;
    kvat_status status = kvat_report_json(&report, outcome, err);
    if (status == KVAT_OK) status = kvat_json_put_pretty(out, report);
    if (status == KVAT_OK) status = kvat_buf_status(out, err);
    json_decref(report);
    if (status == KVAT_ERR_NOMEM && err && !*err->message) kvat_fail(err, status, "cannot allocate JSON");
    return status;
}

static writer *const writers[] = {write_terminal, write_narrow,    write_heading,        write_charts,
                                  write_json,     kvat_report_csv, kvat_report_markdown, kvat_report_html};
enum { n_writers = sizeof writers / sizeof *writers };

typedef struct attempt {
    const kvat_outcome *outcome;
    writer *write;
    const kvat_buf *whole;
} attempt;

static kvat_status write_whole(void *context, kvat_error *err) {
    const attempt *a = context;
    kvat_buf text = KVAT_BUF_INIT;
    kvat_status status = a->write(&text, a->outcome, err);
    bool whole =
        text.length == a->whole->length && (text.length == 0 || !memcmp(text.bytes, a->whole->bytes, text.length));
    if (status == KVAT_OK && !whole) {
        fail_alloc_disarm();
        fail_msg("something is missing: \n%s", text.bytes);
    }
    kvat_buf_clear(&text);
    return status;
}

static void out_of_memory_is_said_and_nothing_goes_missing(void **state) {
    (void)state;
    static const sample_kind kinds[] = {SAMPLE_WINNER, SAMPLE_INFEASIBLE};
    for (size_t k = 0; k < 2; k++) {
        kvat_outcome *outcome = sample_outcome(kinds[k]);
        outcome->n_entries = outcome->n_entries < 4 ? outcome->n_entries : 4; /* every path, fewer repetitions */
        for (size_t i = 0; i < n_writers; i++) {
            kvat_buf whole = KVAT_BUF_INIT;
            attempt a = {outcome, writers[i], &whole};
            assert_int_equal(writers[i](&whole, outcome, NULL), KVAT_OK);
            assert_true(fail_alloc_each(write_whole, &a) > 0);
            kvat_buf_clear(&whole);
        }
        outcome->n_entries = 24;
        kvat_outcome_free(outcome);
    }
}

static void same_outcome_gives_same_bytes(void **state) {
    (void)state;
    for (int kind = 0; kind < SAMPLE_KINDS; kind++)
        for (size_t i = 0; i < n_writers; i++) {
            kvat_outcome *first = sample_outcome((sample_kind)kind), *second = sample_outcome((sample_kind)kind);
            kvat_buf a = KVAT_BUF_INIT, b = KVAT_BUF_INIT;
            assert_int_equal(writers[i](&a, first, NULL), KVAT_OK);
            assert_int_equal(writers[i](&b, second, NULL), KVAT_OK);
            assert_int_equal(a.length, b.length);
            if (a.length) assert_memory_equal(a.bytes, b.bytes, a.length);
            kvat_buf_clear(&a);
            kvat_buf_clear(&b);
            kvat_outcome_free(first);
            kvat_outcome_free(second);
        }
}

/* An outcome with nothing in it but zeros is a caller's mistake that must not crash a report. */
static void an_empty_outcome_is_reported(void **state) {
    (void)state;
    kvat_outcome outcome = {0};
    for (size_t i = 0; i < n_writers; i++) {
        kvat_buf text = KVAT_BUF_INIT;
        assert_int_equal(writers[i](&text, &outcome, NULL), KVAT_OK);
        kvat_buf_clear(&text);
    }
}

static void no_report_names_home_or_folder(void **state) {
    (void)state;
    for (int kind = 0; kind < SAMPLE_KINDS; kind++)
        for (size_t i = 0; i < n_writers; i++) {
            kvat_outcome *outcome = sample_outcome((sample_kind)kind);
            kvat_buf text = KVAT_BUF_INIT;
            assert_int_equal(writers[i](&text, outcome, NULL), KVAT_OK);
            assert_null(text.bytes ? strstr(text.bytes, "someone") : NULL);
            kvat_buf_clear(&text);
            kvat_outcome_free(outcome);
        }
}

/* ---- CSV ---- */
static size_t fields_of(const char *line) {
    size_t n = 1;
    bool quoted = false;
    for (; *line && *line != '\r'; line++) {
        if (*line == '"') quoted = !quoted;
        n += *line == ',' && !quoted;
    }
    return n;
}

static void csv_has_a_row_for_each_configuration_and_cell(void **state) {
    (void)state;
    for (int kind = 0; kind < SAMPLE_KINDS; kind++) {
        kvat_outcome *outcome = sample_outcome((sample_kind)kind);
        kvat_buf text = KVAT_BUF_INIT;
        size_t wanted = 1, lines = 0;
        for (size_t i = 0; i < outcome->n_entries; i++) wanted += outcome->entries[i].cells ? n_cells : 1;
        assert_int_equal(kvat_report_csv(&text, outcome, NULL), KVAT_OK);
        for (const char *line = text.bytes; *line; line = strchr(line, '\n') + 1, lines++)
            assert_int_equal(fields_of(line), fields_of(text.bytes));
        assert_int_equal(lines, wanted);
        kvat_buf_clear(&text);
        kvat_outcome_free(outcome);
    }
}

static void csv_text_is_no_formula(void **state) {
    (void)state;
    kvat_outcome *outcome = sample_outcome(SAMPLE_WINNER);
    kvat_buf text = KVAT_BUF_INIT;
    free(outcome->entries[0].label);
    outcome->entries[0].label = strdup("=HYPERLINK(\"http://x\")");
    assert_int_equal(kvat_report_csv(&text, outcome, NULL), KVAT_OK);
    assert_non_null(strstr(text.bytes, "\"'=HYPERLINK(\"\"http://x\"\")\""));
    kvat_buf_clear(&text);
    kvat_outcome_free(outcome);
}

/* ---- JSON ---- */
static void json_tells_the_answer(void **state) {
    (void)state;
    kvat_outcome *outcome = sample_outcome(SAMPLE_WINNER);
    json_t *report = NULL;
    assert_int_equal(kvat_report_json(&report, outcome, NULL), KVAT_OK);
    assert_string_equal(json_string_value(json_object_get(report, "format")), "kvat-report/1");
    assert_string_equal(json_string_value(json_object_get(report, "decision")), "winner");
    assert_string_equal(json_string_value(json_object_get(report, "winner")), "threads 4, ubatch-size 256");
    assert_int_equal(json_array_size(json_object_get(report, "entries")), 24);
    assert_int_equal(json_array_size(json_object_get(report, "race")), 41);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(report, "confirmation"), "pairs")), 6);
    json_decref(report);
    kvat_outcome_free(outcome);
}

/* ---- charts ---- */
static void charts_without_content_are_empty(void **state) {
    (void)state;
    kvat_outcome *outcome = sample_outcome(SAMPLE_DRY);
    kvat_buf text = KVAT_BUF_INIT;
    for (int chart = 0; chart < KVAT_CHART_COUNT; chart++)
        assert_int_equal(kvat_report_svg(&text, outcome, (kvat_chart)chart, NULL), KVAT_OK);
    assert_int_equal(text.length, 0);
    kvat_outcome_free(outcome);
}

static void no_chart_holds_a_number_that_is_none(void **state) {
    (void)state;
    for (int kind = 0; kind < SAMPLE_KINDS; kind++) {
        kvat_outcome *outcome = sample_outcome((sample_kind)kind);
        kvat_buf text = KVAT_BUF_INIT;
        assert_int_equal(write_charts(&text, outcome, NULL), KVAT_OK);
        assert_null(text.bytes ? strstr(text.bytes, "nan") : NULL);
        assert_null(text.bytes ? strstr(text.bytes, "inf\"") : NULL);
        kvat_buf_clear(&text);
        kvat_outcome_free(outcome);
    }
}

/* One configuration, one trial, one cell: every axis has a range of nothing. */
static void a_single_measurement_can_be_drawn(void **state) {
    (void)state;
    kvat_outcome *outcome = sample_outcome(SAMPLE_WINNER);
    kvat_buf text = KVAT_BUF_INIT;
    size_t entries = outcome->n_entries;
    outcome->n_entries = outcome->n_race = outcome->profile->n_cells = 1;
    outcome->lossy_best = outcome->default_entry = outcome->confirmed_entry = SIZE_MAX;
    outcome->race[0].elapsed_ns = 0;
    assert_int_equal(write_charts(&text, outcome, NULL), KVAT_OK);
    assert_null(strstr(text.bytes, "nan"));
    assert_non_null(strstr(text.bytes, "<svg"));
    kvat_buf_clear(&text);
    outcome->n_entries = entries;
    kvat_outcome_free(outcome);
}

int main(void) {
    json_set_alloc_funcs(malloc, free);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(out_of_memory_is_said_and_nothing_goes_missing),
        cmocka_unit_test(same_outcome_gives_same_bytes),
        cmocka_unit_test(an_empty_outcome_is_reported),
        cmocka_unit_test(no_report_names_home_or_folder),
        cmocka_unit_test(csv_has_a_row_for_each_configuration_and_cell),
        cmocka_unit_test(csv_text_is_no_formula),
        cmocka_unit_test(json_tells_the_answer),
        cmocka_unit_test(charts_without_content_are_empty),
        cmocka_unit_test(no_chart_holds_a_number_that_is_none),
        cmocka_unit_test(a_single_measurement_can_be_drawn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
