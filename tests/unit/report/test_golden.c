/* Reports of the sample outcomes, compared byte for byte with tests/golden/report. To renew them after a wanted change:
 *     KVAT_RENEW_GOLDEN=1 ctest -R unit/report/test_golden
 * With KVAT_REPORT_DUMP=DIR every report of every sample is written to DIR instead (for
 * tests/python/test_report_html.py). */
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
#include "kvat/report.h"
#include "unit/report/sample_outcome.c"

#define GOLDEN KVAT_SOURCE_DIR "/tests/golden/report/"

static void write_file(const char *path, const kvat_buf *text) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text->bytes ? text->bytes : "", 1, text->length, file), text->length);
    assert_int_equal(fclose(file), 0);
}

static void read_file(kvat_buf *out, const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("%s is missing: renew the golden files", path);
    char block[4096];
    for (size_t n; (n = fread(block, 1, sizeof block, file)) > 0;) kvat_buf_put(out, block, n);
    fclose(file);
}

static void compare(const char *name, const kvat_buf *made) {
    char path[512];
    snprintf(path, sizeof path, GOLDEN "%s", name);
    if (getenv("KVAT_RENEW_GOLDEN")) {
        write_file(path, made);
        return;
    }
    kvat_buf wanted = KVAT_BUF_INIT;
    read_file(&wanted, path);
    if (made->length != wanted.length || memcmp(made->bytes, wanted.bytes, made->length) != 0)
        fail_msg("%s differs; made now:\n%s", name, made->bytes);
    kvat_buf_clear(&wanted);
}

/* ---- terminal ---- */
static void widest_line_fits(const char *text, size_t columns) {
    kvat_buf line = KVAT_BUF_INIT;
    for (const char *at = text; *at; at += strcspn(at, "\n"), at += *at == '\n') {
        kvat_buf_reset(&line);
        kvat_buf_put(&line, at, strcspn(at, "\n"));
        if (line.length && kvat_text_width(line.bytes) > columns) fail_msg("wider than %zu: %s", columns, line.bytes);
    }
    kvat_buf_clear(&line);
}

static void terminal(kvat_buf *out, sample_kind kind, const kvat_terminal_style *style) {
    kvat_outcome *outcome = sample_outcome(kind);
    assert_int_equal(kvat_report_heading(out, outcome, style, NULL), KVAT_OK);
    kvat_buf_putc(out, '\n');
    assert_int_equal(kvat_report_terminal(out, outcome, style, "kvat_results", NULL), KVAT_OK);
    kvat_outcome_free(outcome);
}

static void terminal_summaries_match_and_fit(void **state) {
    (void)state;
    static const struct {
        const char *word;
        kvat_terminal_style style;
    } styles[] = {{"80", {80, false, true}}, {"40", {40, false, true}}, {"ascii", {80, false, false}}};
    for (int kind = 0; kind < SAMPLE_KINDS; kind++)
        for (size_t i = 0; i < 3; i++) {
            kvat_buf text = KVAT_BUF_INIT;
            char name[128];
            terminal(&text, (sample_kind)kind, &styles[i].style);
            snprintf(name, sizeof name, "%s.%s.txt", sample_word((sample_kind)kind), styles[i].word);
            compare(name, &text);
            widest_line_fits(text.bytes, styles[i].style.columns);
            kvat_buf_clear(&text);
        }
}

static void any_width_is_kept(void **state) {
    (void)state;
    for (int kind = 0; kind < SAMPLE_KINDS; kind++)
        for (size_t columns = 20; columns <= 130; columns += 7)
            for (int unicode = 0; unicode < 2; unicode++) {
                kvat_buf text = KVAT_BUF_INIT;
                kvat_terminal_style style = {columns, false, unicode != 0};
                terminal(&text, (sample_kind)kind, &style);
                widest_line_fits(text.bytes, columns);
                kvat_buf_clear(&text);
            }
}

static void ascii_is_ascii(void **state) {
    (void)state;
    for (int kind = 0; kind < SAMPLE_KINDS; kind++) {
        kvat_buf text = KVAT_BUF_INIT;
        kvat_terminal_style style = {80, false, false};
        terminal(&text, (sample_kind)kind, &style);
        for (size_t i = 0; i < text.length; i++) {
            unsigned char c = (unsigned char)text.bytes[i];
            assert_true(c == '\n' || (c >= 0x20 && c < 0x7F));
        }
        kvat_buf_clear(&text);
    }
}

/* With the colours taken out, the coloured text is the plain one; hostile names bring no escape sequence of their own.
 */
static void color_adds_only_sgr(void **state) {
    (void)state;
    for (int kind = 0; kind < SAMPLE_KINDS; kind++) {
        kvat_buf plain = KVAT_BUF_INIT, colored = KVAT_BUF_INIT, stripped = KVAT_BUF_INIT;
        terminal(&plain, (sample_kind)kind, &(kvat_terminal_style){80, false, true});
        terminal(&colored, (sample_kind)kind, &(kvat_terminal_style){80, true, true});
        for (const char *at = colored.bytes; *at;) {
            if (*at == '\033') {
                size_t n = strspn(at + 2, "0123456789;");
                assert_int_equal(at[1], '[');
                assert_int_equal(at[2 + n], 'm');
                at += 3 + n;
            } else {
                kvat_buf_putc(&stripped, *at++);
            }
        }
        assert_string_equal(stripped.bytes, plain.bytes);
        kvat_buf_clear(&plain);
        kvat_buf_clear(&colored);
        kvat_buf_clear(&stripped);
    }
}

/* ---- Markdown ---- */
static void markdown_matches(void **state) {
    (void)state;
    for (int kind = 0; kind < SAMPLE_KINDS; kind++) {
        kvat_outcome *outcome = sample_outcome((sample_kind)kind);
        kvat_buf text = KVAT_BUF_INIT;
        char name[128];
        assert_int_equal(kvat_report_markdown(&text, outcome, NULL), KVAT_OK);
        snprintf(name, sizeof name, "%s.md", sample_word((sample_kind)kind));
        compare(name, &text);
        kvat_buf_clear(&text);
        kvat_outcome_free(outcome);
    }
}

/* ---- what every form has to hold ---- */
static void in_every_form(kvat_buf *forms, const kvat_outcome *outcome) {
    assert_int_equal(kvat_report_terminal(&forms[0], outcome, &(kvat_terminal_style){80, false, true}, NULL, NULL), 0);
    assert_int_equal(kvat_report_terminal(&forms[1], outcome, &(kvat_terminal_style){40, false, true}, NULL, NULL), 0);
    assert_int_equal(kvat_report_markdown(&forms[2], outcome, NULL), KVAT_OK);
    assert_int_equal(kvat_report_html(&forms[3], outcome, NULL), KVAT_OK);
}
enum { n_forms = 4 };

static void expect(const kvat_buf *form, const char *there, const char *absent) {
    if (there && !strstr(form->bytes, there)) fail_msg("lacks \"%s\":\n%s", there, form->bytes);
    if (absent && strstr(form->bytes, absent)) fail_msg("has \"%s\":\n%s", absent, form->bytes);
}

static void warnings_stand_at_the_head(void **state) {
    (void)state;
    kvat_outcome *outcome = sample_outcome(SAMPLE_UNDECIDED);
    kvat_buf forms[n_forms] = {{0}};
    in_every_form(forms, outcome);
    for (size_t i = 0; i < n_forms; i++) {
        const char *noise = strstr(forms[i].bytes, "noisy"), *other = strstr(forms[i].bytes, "processes");
        const char *figures = strstr(forms[i].bytes, "time to first token");
        assert_true(noise && other && figures && noise < figures && other < figures);
        kvat_buf_clear(&forms[i]);
    }
    kvat_outcome_free(outcome);
}

static void code_of_the_model_that_ran_is_told_at_the_head(void **state) {
    (void)state;
    for (int ran = 0; ran < 2; ran++) {
        kvat_outcome *outcome = sample_outcome(SAMPLE_WINNER);
        kvat_buf forms[n_forms] = {{0}};
        json_object_set_new(outcome->model, "remote_code", json_boolean(ran));
        in_every_form(forms, outcome);
        for (size_t i = 0; i < n_forms; i++) {
            const char *said = strstr(forms[i].bytes, "Code that comes with");
            expect(&forms[i], ran ? "Code that comes with" : NULL, ran ? NULL : "Code that comes");
            if (ran) assert_true(said < strstr(forms[i].bytes, "time to first token"));
            kvat_buf_clear(&forms[i]);
        }
        kvat_outcome_free(outcome);
    }
}

static void an_interval_that_says_nothing_is_no_number(void **state) {
    (void)state;
    kvat_outcome *outcome = sample_outcome(SAMPLE_UNCLEAR);
    kvat_buf forms[n_forms] = {{0}};
    json_t *report = NULL;
    in_every_form(forms, outcome);
    for (size_t i = 0; i < n_forms; i++) {
        assert_non_null(strstr(forms[i].bytes, "cannot"));
        assert_null(strstr(forms[i].bytes, "000 %"));
        for (const char *at = forms[i].bytes; (at = strstr(at, "±")); at++) {
            double spread = strtod(at + strlen("±") + (at[strlen("±")] == ' '), NULL);
            if (spread > 150) fail_msg("%.60s", at);
        }
        kvat_buf_clear(&forms[i]);
    }
    assert_int_equal(kvat_report_json(&report, outcome, NULL), KVAT_OK);
    const json_t *score = json_object_get(json_object_get(report, "confirmation"), "ln_score");
    assert_true(json_real_value(json_object_get(score, "high")) == 8.35);
    json_decref(report);
    kvat_outcome_free(outcome);
}

/* ---- what is advised ---- */
static void advice_follows_the_cause(void **state) {
    (void)state;
    static const struct {
        sample_kind kind;
        const char *there, *absent;
    } table[] = {
        {SAMPLE_WINNER, "Next: kvat apply kvat_results/best_plan.json --print-snippet", "not confirmed"},
        {SAMPLE_NO_DEFAULT, "Next: kvat apply kvat_results/best_plan.json\n", "not confirmed"},
        {SAMPLE_UNDECIDED, "best_plan.json holds the default, for now.", "kvat apply"},
        {SAMPLE_BEST_SO_FAR, "best_plan.json holds the best so far, not confirmed.", "kvat apply"},
        {SAMPLE_BEST_SO_FAR, "Next: the same command with a larger --time", "smaller --context"},
        {SAMPLE_DISTURBED, "Next: try again when the machine is calmer: kvat tune", "smaller --context"},
        {SAMPLE_INFEASIBLE, "Next: kvat tune with a smaller --context or model", "calmer"},
        {SAMPLE_ONLY_LOSSY, "good enough: kvat apply kvat_results/lossy_plan.json", "smaller --context or"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        kvat_buf text = KVAT_BUF_INIT;
        terminal(&text, table[i].kind, &(kvat_terminal_style){120, false, true});
        expect(&text, table[i].there, table[i].absent);
        kvat_buf_clear(&text);
    }
}

static void a_budget_of_trials_is_raised_by_trials(void **state) {
    (void)state;
    static const char *const words[] = {"--trials", "--trials=9"};
    for (size_t i = 0; i < 2; i++) {
        kvat_outcome *outcome = sample_outcome(SAMPLE_BEST_SO_FAR);
        kvat_buf text = KVAT_BUF_INIT;
        json_array_append_new(json_object_get(outcome->request, "argv"), json_string(words[i]));
        assert_int_equal(kvat_report_markdown(&text, outcome, NULL), KVAT_OK);
        expect(&text, "larger \\-\\-trials", "larger \\-\\-time");
        kvat_buf_clear(&text);
        kvat_outcome_free(outcome);
    }
}

/* Bytes of Markdown and of HTML that hold the command of a snippet, for an engine with snippets and one without. */
static void snippets_are_offered_where_there_are_some(void **state) {
    (void)state;
    for (int without = 0; without < 2; without++) {
        kvat_outcome *outcome = sample_outcome(without ? SAMPLE_NO_DEFAULT : SAMPLE_WINNER);
        kvat_buf forms[n_forms] = {{0}};
        in_every_form(forms, outcome);
        for (size_t i = 2; i < n_forms; i++)
            expect(&forms[i], without ? "kvat apply best_plan.json" : "--print-snippet",
                   without ? "--print-snippet" : NULL);
        for (size_t i = 0; i < n_forms; i++) kvat_buf_clear(&forms[i]);
        kvat_outcome_free(outcome);
    }
}

static void nothing_undecided_is_called_a_winner(void **state) {
    (void)state;
    kvat_outcome *outcome = sample_outcome(SAMPLE_BEST_SO_FAR);
    for (int chart = 0; chart < KVAT_CHART_COUNT; chart++) {
        kvat_buf svg = KVAT_BUF_INIT;
        assert_int_equal(kvat_report_svg(&svg, outcome, (kvat_chart)chart, NULL), KVAT_OK);
        expect(&svg, chart == KVAT_CHART_RANKING ? NULL : "best so far", "winner");
        kvat_buf_clear(&svg);
    }
    kvat_outcome_free(outcome);
}

static void a_default_never_measured_is_told(void **state) {
    (void)state;
    kvat_outcome *outcome = sample_outcome(SAMPLE_NO_DEFAULT);
    kvat_buf forms[n_forms] = {{0}};
    in_every_form(forms, outcome);
    for (size_t i = 0; i < n_forms; i++) expect(&forms[i], "The default was not", NULL);
    expect(&forms[3], "The default was not measured (disturbed 2 times)", "another</td>");
    expect(&forms[3], "<td><code>512</code></td>", "the default is 100");
    for (size_t i = 0; i < n_forms; i++) kvat_buf_clear(&forms[i]);
    kvat_outcome_free(outcome);
}

static void much_noise_is_readable_and_explained(void **state) {
    (void)state;
    kvat_buf text = KVAT_BUF_INIT;
    terminal(&text, SAMPLE_NO_DEFAULT, &(kvat_terminal_style){120, false, true});
    expect(&text, "noise over 100 % (much)", "3139");
    expect(&text, "Noise is the worst of the probes", NULL);
    kvat_buf_clear(&text);
    terminal(&text, SAMPLE_WINNER, &(kvat_terminal_style){120, false, true});
    expect(&text, "noise 3.4 % (fine)", "Noise is the worst");
    kvat_buf_clear(&text);
}

static void one_alone_is_the_best_of_none(void **state) {
    (void)state;
    kvat_outcome *outcome = sample_outcome(SAMPLE_WINNER);
    kvat_buf forms[n_forms] = {{0}};
    for (size_t i = 0; i < outcome->n_entries; i++) outcome->entries[i].eligible = i == outcome->winner;
    in_every_form(forms, outcome);
    for (size_t i = 2; i < n_forms; i++) expect(&forms[i], "nothing else that may win", "of the 1 compared");
    for (size_t i = 0; i < n_forms; i++) kvat_buf_clear(&forms[i]);
    kvat_outcome_free(outcome);
}

/* ---- charts ---- */
/* A default that is kept is drawn in the winner's colour; the legend has to say so. */
static void race_legend_has_the_colors_of_its_dots(void **state) {
    (void)state;
    static const struct {
        sample_kind kind;
        const char *css;
    } table[] = {{SAMPLE_WINNER, "c0"}, {SAMPLE_DEFAULT, "c1"}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        kvat_outcome *outcome = sample_outcome(table[i].kind);
        kvat_buf svg = KVAT_BUF_INIT;
        assert_int_equal(kvat_report_svg(&svg, outcome, KVAT_CHART_RACE, NULL), KVAT_OK);
        const char *name = strstr(svg.bytes, ">default</text>"), *group = NULL;
        assert_non_null(name);
        for (const char *at = svg.bytes; (at = strstr(at, "<g class=\"")) && at < name; at++) group = at;
        assert_non_null(group);
        assert_memory_equal(group + strlen("<g class=\""), table[i].css, 2);
        kvat_buf_clear(&svg);
        kvat_outcome_free(outcome);
    }
}

/* ---- everything, for a browser ---- */
static void dump(const char *folder, sample_kind kind, const char *suffix, const kvat_buf *text) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s%s", folder, sample_word(kind), suffix);
    write_file(path, text);
}

static void dump_charts(const char *folder, sample_kind kind, const kvat_outcome *outcome) {
    for (int chart = 0; chart < KVAT_CHART_COUNT; chart++) {
        kvat_buf text = KVAT_BUF_INIT;
        char suffix[64];
        assert_int_equal(kvat_report_svg(&text, outcome, (kvat_chart)chart, NULL), KVAT_OK);
        snprintf(suffix, sizeof suffix, ".%s.svg", kvat_chart_word((kvat_chart)chart));
        if (text.length) dump(folder, kind, suffix, &text);
        kvat_buf_clear(&text);
    }
}

static void dump_json(const char *folder, sample_kind kind, const char *suffix, json_t *value) {
    kvat_buf text = KVAT_BUF_INIT;
    assert_int_equal(kvat_json_put_pretty(&text, value), KVAT_OK);
    dump(folder, kind, suffix, &text);
    kvat_buf_clear(&text);
    json_decref(value);
}

static void dump_data(const char *folder, sample_kind kind, const kvat_outcome *outcome) {
    json_t *report = NULL, *plan = NULL;
    assert_int_equal(kvat_report_json(&report, outcome, NULL), KVAT_OK);
    dump_json(folder, kind, ".report.json", report);
    if (kvat_plan_make(&plan, outcome, outcome->winner, NULL) == KVAT_OK) dump_json(folder, kind, ".plan.json", plan);
}

static void dump_all(void **state) {
    (void)state;
    for (int kind = 0; kind < SAMPLE_KINDS; kind++) {
        kvat_outcome *outcome = sample_outcome((sample_kind)kind);
        kvat_buf text = KVAT_BUF_INIT;
        assert_int_equal(kvat_report_html(&text, outcome, NULL), KVAT_OK);
        dump(getenv("KVAT_REPORT_DUMP"), (sample_kind)kind, ".html", &text);
        dump_charts(getenv("KVAT_REPORT_DUMP"), (sample_kind)kind, outcome);
        dump_data(getenv("KVAT_REPORT_DUMP"), (sample_kind)kind, outcome);
        kvat_buf_clear(&text);
        kvat_outcome_free(outcome);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(terminal_summaries_match_and_fit),
        cmocka_unit_test(any_width_is_kept),
        cmocka_unit_test(ascii_is_ascii),
        cmocka_unit_test(color_adds_only_sgr),
        cmocka_unit_test(markdown_matches),
        cmocka_unit_test(warnings_stand_at_the_head),
        cmocka_unit_test(code_of_the_model_that_ran_is_told_at_the_head),
        cmocka_unit_test(an_interval_that_says_nothing_is_no_number),
        cmocka_unit_test(advice_follows_the_cause),
        cmocka_unit_test(a_budget_of_trials_is_raised_by_trials),
        cmocka_unit_test(snippets_are_offered_where_there_are_some),
        cmocka_unit_test(nothing_undecided_is_called_a_winner),
        cmocka_unit_test(a_default_never_measured_is_told),
        cmocka_unit_test(much_noise_is_readable_and_explained),
        cmocka_unit_test(one_alone_is_the_best_of_none),
        cmocka_unit_test(race_legend_has_the_colors_of_its_dots),
    };
    const struct CMUnitTest dumping[] = {cmocka_unit_test(dump_all)};
    if (getenv("KVAT_REPORT_DUMP")) return cmocka_run_group_tests(dumping, NULL, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
