// kvat compare: is one plan better than another, and is it worse than a gate allows?
// It must not compute: the plan module does, and says when two plans cannot be compared.
#include <math.h>
#include <string.h>

#include "cli.h"
#include "kvat/plan.h"
#include "kvat/units.h"

static const cli_example examples[] = {
    {"kvat compare old/best_plan.json new/best_plan.json", "what changed, with intervals"},
    {"kvat compare old new --gate ttft=5%,decode=3%,memory=5%",
     "exit 4 when a change for the worse is surely beyond the gate"},
    {"kvat compare old new --gate ttft=5% --junit compare.xml", "the same for a build server"},
    {NULL, NULL},
};

static const char *const about[] = {
    "Plans are measured at different times, so the spread between such times is part of every interval; a regression "
    "is "
    "called one only when the whole interval is beyond the gate. Plans of different machines, models or workloads are "
    "not comparable: exit 6. The figures of a plan that is not decided hold, so a sure regression is one there too, "
    "but "
    "no gate is passed with it: exit 6.",
    NULL,
};

static const cli_topic arguments[] = {
    {"BASE NEW", "two plans, or folders of results"},
    {NULL, NULL},
};

static const cli_option options[] = {
    {.id = CLI_GATE,
     .letter = 'g',
     .name = "gate",
     .kind = CLI_TEXT,
     .value = "LIST",
     .group = "Comparison",
     .help = "allowed change for the worse: ttft=5%,decode=3%,memory=5%"},
    {.id = CLI_JUNIT,
     .name = "junit",
     .kind = CLI_FILE,
     .value = "FILE",
     .help = "write a JUnit report, one test case a metric"},
    {.id = CLI_FORCE, .name = "force", .help = "replace FILE although kvat did not write it"},
    {.id = CLI_BASELINE,
     .name = "baseline",
     .kind = CLI_FILE,
     .value = "PLAN",
     .help = "the same as the argument BASE"},
    {.id = CLI_CANDIDATE,
     .name = "candidate",
     .kind = CLI_FILE,
     .value = "PLAN",
     .help = "the same as the argument NEW"},
};

/* ---- table ---- */

static void put_value(kvat_buf *out, const char *metric, double value) {
    if (!isfinite(value)) {
        kvat_buf_puts(out, "?");
    } else if (strcmp(metric, "ttft") == 0) {
        kvat_put_duration(out, (int64_t)(value * 1e9));
    } else if (strcmp(metric, "memory") == 0) {
        kvat_put_bytes(out, (int64_t)value);
    } else {
        kvat_put_number(out, value);
        kvat_buf_puts(out, " tok/s");
    }
}

static void put_verdict(kvat_buf *out, const kvat_difference *item) {
    if (item->worse_beyond_gate)
        kvat_buf_printf(out, "REGRESSION beyond %.3g %%", 100 * item->allowed);
    else if (item->worse)
        kvat_buf_puts(out, isfinite(item->allowed) ? "worse, not surely beyond the gate" : "worse");
    else
        kvat_buf_puts(out, item->better ? "better" : "no sure difference");
}

/** The score has no unit of its own: only its change is shown. */
static bool has_values(const kvat_difference *item) {
    return strcmp(item->metric, "score") != 0;
}

static const char *title_of(const char *metric) {
    static const char *const titles[][2] = {{"ttft", "time to first token"}, {"memory", "peak memory"}};
    for (size_t i = 0; i < CLI_COUNT(titles); i++)
        if (strcmp(titles[i][0], metric) == 0) return titles[i][1];
    return metric;
}

static void put_values(kvat_buf *out, const kvat_difference *item, bool unicode) {
    if (!has_values(item)) return;
    put_value(out, item->metric, item->base);
    kvat_buf_puts(out, unicode ? " \u2192 " : " -> ");
    put_value(out, item->metric, item->candidate);
}

static void put_row_narrow(kvat_buf *out, const kvat_difference *item, bool unicode) {
    kvat_buf_printf(out, "%s\n  ", title_of(item->metric));
    put_values(out, item, unicode);
    if (has_values(item)) kvat_buf_puts(out, "\n  ");
    cli_put_change(out, &item->change, unicode);
}

static void put_row_wide(kvat_buf *out, const kvat_difference *item, bool unicode) {
    kvat_buf values = KVAT_BUF_INIT;
    put_values(&values, item, unicode);
    kvat_text_fit(out, title_of(item->metric), 21, 1, unicode);
    kvat_text_fit(out, values.length ? values.bytes : "", 26, 1, unicode);
    cli_put_change(out, &item->change, unicode);
    cli_buf_drop(out, &values);
}

static void put_row(kvat_buf *out, const kvat_difference *item, bool unicode, bool narrow) {
    if (narrow)
        put_row_narrow(out, item, unicode);
    else
        put_row_wide(out, item, unicode);
    kvat_buf_puts(out, "\n  ");
    put_verdict(out, item);
    kvat_buf_putc(out, '\n');
}

static void put_reason(kvat_buf *out, const cli_io *io, const kvat_comparison *comparison) {
    const char *label = comparison->comparable ? "Note: " : "Not comparable: ";
    kvat_buf text = KVAT_BUF_INIT;
    if (!*comparison->reason) return;
    kvat_buf_puts(out, label);
    cli_put(&text, io, comparison->reason);
    cli_wrap(out, text.length ? text.bytes : "", strlen(label), 2, cli_columns(&io->out));
    kvat_buf_putc(out, '\n');
    cli_buf_drop(out, &text);
}

/** Which of the two is not decided; NULL: neither. */
static const char *undecided_of(const kvat_comparison *comparison) {
    static const char *const which[2][2] = {{NULL, "NEW is not decided"},
                                            {"BASE is not decided", "BASE and NEW are not decided"}};
    return which[comparison->base_undecided][comparison->candidate_undecided];
}

static void put_undecided(kvat_buf *out, const cli_io *io, const kvat_comparison *comparison) {
    const char *which = undecided_of(comparison);
    kvat_buf text = KVAT_BUF_INIT;
    if (!which) return;
    kvat_buf_printf(&text, "%s: another configuration may be the answer, so no gate is passed.", which);
    cli_wrap(out, text.length ? text.bytes : "", 0, 2, cli_columns(&io->out));
    kvat_buf_putc(out, '\n');
    cli_buf_drop(out, &text);
}

static kvat_status show_table(cli_io *io, const kvat_comparison *comparison, kvat_error *err) {
    kvat_buf text = KVAT_BUF_INIT;
    bool narrow = cli_columns(&io->out) < 78;
    for (size_t i = 0; i < comparison->n_items; i++) put_row(&text, &comparison->items[i], io->unicode, narrow);
    if (comparison->same_settings) kvat_buf_puts(&text, "Both have the same settings.\n");
    put_undecided(&text, io, comparison);
    put_reason(&text, io, comparison);
    return cli_out_buf(io, &text, err);
}

/* ---- JSON ---- */

static json_t *item_json(const kvat_difference *item) {
    bool values = has_values(item);
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:b, s:b, s:b}", "metric", item->metric, "base",
                     cli_json_real(values ? item->base : NAN), "candidate",
                     cli_json_real(values ? item->candidate : NAN), "change_ratio", cli_json_interval(&item->change),
                     "allowed_ratio", cli_json_real(item->allowed), "worse_beyond_gate", item->worse_beyond_gate,
                     "better", item->better, "worse", item->worse);
}

static json_t *comparison_json(const kvat_comparison *comparison) {
    json_t *items = json_array();
    for (size_t i = 0; i < comparison->n_items; i++) cli_json_append(&items, item_json(&comparison->items[i]));
    return json_pack("{s:s, s:b, s:b, s:b, s:o, s:b, s:b, s:o}", "format", "kvat-compare/1", "comparable",
                     comparison->comparable, "base_undecided", comparison->base_undecided, "candidate_undecided",
                     comparison->candidate_undecided, "reason", cli_json_text(comparison->reason), "same_settings",
                     comparison->same_settings, "gate_failed", comparison->gate_failed, "items", items);
}

/* ---- JUnit ---- */

static void put_case(kvat_buf *out, const kvat_difference *item) {
    kvat_buf text = KVAT_BUF_INIT;
    cli_put_change(&text, &item->change, false);
    kvat_buf_printf(out, "    <testcase classname=\"kvat.compare\" name=\"%s\">", item->metric);
    if (item->worse_beyond_gate) {
        kvat_buf_puts(out, "<failure message=\"");
        kvat_escape_html(out, text.bytes);
        kvat_buf_printf(out, ", beyond the gate of %.3g %%\"/>", 100 * item->allowed);
    } else {
        kvat_buf_puts(out, "<system-out>");
        kvat_escape_html(out, text.bytes);
        kvat_buf_puts(out, "</system-out>");
    }
    kvat_buf_puts(out, "</testcase>\n");
    cli_buf_drop(out, &text);
}

static void put_skipped(kvat_buf *out, const char *name, const char *reason) {
    kvat_buf_printf(out, "    <testcase classname=\"kvat.compare\" name=\"%s\"><skipped message=\"", name);
    kvat_escape_html(out, reason);
    kvat_buf_puts(out, "\"/></testcase>\n");
}

static void put_junit(kvat_buf *out, const kvat_comparison *comparison) {
    const char *undecided = undecided_of(comparison);
    size_t failures = 0, cases = comparison->comparable ? comparison->n_items : 0;
    int skipped = (comparison->comparable ? 0 : 1) + (undecided ? 1 : 0);
    for (size_t i = 0; i < comparison->n_items; i++) failures += comparison->items[i].worse_beyond_gate;
    kvat_buf_printf(out,
                    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"kvat compare\" "
                    "tests=\"%zu\" failures=\"%zu\" errors=\"0\" skipped=\"%d\">\n",
                    cases + (size_t)skipped, failures, skipped);
    for (size_t i = 0; i < cases; i++) put_case(out, &comparison->items[i]);
    if (!comparison->comparable) put_skipped(out, "comparable", comparison->reason);
    if (undecided) put_skipped(out, "decided", undecided);
    kvat_buf_puts(out, "  </testsuite>\n</testsuites>\n");
}

static kvat_status write_junit(const cli_context *context, const kvat_comparison *comparison, kvat_error *err) {
    const char *path = cli_text(context->args, CLI_JUNIT);
    kvat_buf text = KVAT_BUF_INIT;
    if (!path) return KVAT_OK;
    put_junit(&text, comparison);
    kvat_status status = cli_write_file(context->io, path, &text, 0644, cli_has(context->args, CLI_FORCE), err);
    kvat_buf_clear(&text);
    return status;
}

/* ---- the command ---- */

/** With --baseline, the only argument left is NEW. */
static kvat_status find_subjects(const char **base, const char **candidate, const cli_args *args, kvat_error *err) {
    size_t second = cli_has(args, CLI_BASELINE) ? 0 : 1;
    kvat_status status = KVAT_OK;
    if (second == 0) {
        *base = cli_text(args, CLI_BASELINE);
        if (args->n_words > 1)
            return kvat_fail(err, KVAT_ERR_USAGE, "BASE is given twice: '%s' and '%s'", args->words[0], *base);
    } else {
        status = cli_subject(base, args, 0, CLI_BASELINE, "BASE", err);
    }
    return status == KVAT_OK ? cli_subject(candidate, args, second, CLI_CANDIDATE, "NEW", err) : status;
}

static kvat_status verdict(const cli_args *args, const kvat_comparison *comparison, kvat_error *err) {
    const char *undecided = undecided_of(comparison);
    if (!comparison->comparable) return kvat_fail(err, KVAT_ERR_PARTIAL, "not comparable: %s", comparison->reason);
    if (comparison->gate_failed) return kvat_fail(err, KVAT_ERR_GATE, "a regression beyond the gate");
    if (undecided && cli_has(args, CLI_GATE))
        return kvat_fail(err, KVAT_ERR_PARTIAL, "the gate is not passed: %s", undecided);
    return KVAT_OK;
}

static kvat_status show(const cli_context *context, const kvat_comparison *comparison, kvat_error *err) {
    kvat_status status = context->io->json ? cli_out_json(context->io, comparison_json(comparison), err)
                                           : show_table(context->io, comparison, err);
    if (status == KVAT_OK) status = write_junit(context, comparison, err);
    return status == KVAT_OK ? verdict(context->args, comparison, err) : status;
}

static kvat_status compare(cli_context *context, kvat_error *err) {
    const char *base_path = NULL, *new_path = NULL, *gate_text = cli_text(context->args, CLI_GATE);
    kvat_gate gate = {NAN, NAN, NAN};
    kvat_comparison comparison;
    json_t *base = NULL, *candidate = NULL;
    kvat_status status = find_subjects(&base_path, &new_path, context->args, err);
    if (status == KVAT_OK && gate_text) status = kvat_gate_parse(&gate, gate_text, err);
    if (status == KVAT_OK) status = cli_plan_open(&base, base_path, 0, err);
    if (status == KVAT_OK) status = cli_plan_open(&candidate, new_path, 0, err);
    if (status == KVAT_OK) status = kvat_plan_compare(&comparison, base, candidate, &gate, err);
    if (status == KVAT_OK) status = show(context, &comparison, err);
    json_decref(base);
    json_decref(candidate);
    return status;
}

const cli_command cli_cmd_compare = {
    .name = "compare",
    .summary = "compare two plans, with a gate for continuous integration",
    .usage = "BASE NEW [options]",
    .examples = examples,
    .about = about,
    .arguments = arguments,
    .options = options,
    .n_options = CLI_COUNT(options),
    .max_words = 2,
    .completes = CLI_FILE,
    .run = compare,
};
