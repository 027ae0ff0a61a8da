// kvat report: makes the report of a stored run again, in any format.
// It must not format anything itself: the report module does.
#include <string.h>

#include "cli.h"
#include "kvat/units.h"

static const cli_example examples[] = {
    {"kvat report kvat_results", "the summary on the terminal"},
    {"kvat report kvat_results -o report.html", "the page, by the ending of the file's name"},
    {"kvat report kvat_results --format svg --chart race -o race.svg", "one chart"},
    {"kvat report kvat_results --format csv", "the ranking for a spreadsheet"},
    {NULL, NULL},
};

static const char *const about[] = {
    "Everything is made from the stored measurements; nothing is measured.",
    NULL,
};

static const cli_topic arguments[] = {
    {"DIR", "a folder of results (default: kvat_results)"},
    {NULL, NULL},
};

static const char *const format_words[] = {"terminal", "html", "md", "svg", "csv", "json", NULL};
static const char *const chart_words[] = {"ranking", "tradeoff", "memory", "depth", "race", NULL};

static const cli_option options[] = {
    {.id = CLI_FORMAT,
     .letter = 'f',
     .name = "format",
     .kind = CLI_WORD,
     .value = "FORMAT",
     .group = "Report",
     .words = format_words,
     .help = "terminal, html, md, svg, csv or json (default: by FILE's name, else terminal)"},
    {.id = CLI_CHART,
     .name = "chart",
     .kind = CLI_WORD,
     .value = "CHART",
     .words = chart_words,
     .help = "for svg: ranking, tradeoff, memory, depth or race (default: ranking)"},
    {.id = CLI_OUT,
     .letter = 'o',
     .name = "output",
     .alias = "out",
     .kind = CLI_FILE,
     .value = "FILE",
     .help = "write to a file instead of stdout"},
    {.id = CLI_RUN,
     .name = "run",
     .kind = CLI_INT,
     .value = "N",
     .low = 1,
     .high = 1e15,
     .help = "a run by its number in kvat runs (default: the newest)"},
    {.id = CLI_FORCE, .name = "force", .help = "replace FILE although kvat did not write it"},
};

typedef struct request {
    const cli_context *context;
    const char *format, *chart, *file, *directory;
} request;

static kvat_status put_terminal(kvat_buf *out, const kvat_outcome *outcome, const request *r, kvat_error *err) {
    const cli_io *io = r->context->io;
    bool to_file = r->file && strcmp(r->file, "-") != 0;
    kvat_terminal_style style = cli_style(io, &io->out);
    if (to_file) style = (kvat_terminal_style){.columns = 80, .color = false, .unicode = io->unicode};
    return kvat_report_terminal(out, outcome, &style, NULL, err);
}

static kvat_status put_json(kvat_buf *out, const kvat_outcome *outcome, kvat_error *err) {
    json_t *document = NULL;
    kvat_status status = kvat_report_json(&document, outcome, err);
    if (status == KVAT_OK) status = kvat_json_put_pretty(out, document);
    json_decref(document);
    return status;
}

static kvat_status put_chart(kvat_buf *out, const kvat_outcome *outcome, const char *word, kvat_error *err) {
    for (int chart = 0; chart < KVAT_CHART_COUNT; chart++) {
        if (strcmp(kvat_chart_word((kvat_chart)chart), word) != 0) continue;
        kvat_status status = kvat_report_svg(out, outcome, (kvat_chart)chart, err);
        if (status == KVAT_OK && out->length == 0)
            return kvat_fail(err, KVAT_ERR_DATA, "this run has nothing to show in the chart '%s'", word);
        return status;
    }
    return kvat_fail(err, KVAT_ERR_INTERNAL, "the chart '%s' is not known to the library", word);
}

static kvat_status put_report(kvat_buf *out, const kvat_outcome *outcome, const request *r, kvat_error *err) {
    if (strcmp(r->format, "html") == 0) return kvat_report_html(out, outcome, err);
    if (strcmp(r->format, "md") == 0) return kvat_report_markdown(out, outcome, err);
    if (strcmp(r->format, "csv") == 0) return kvat_report_csv(out, outcome, err);
    if (strcmp(r->format, "json") == 0) return put_json(out, outcome, err);
    if (strcmp(r->format, "svg") == 0) return put_chart(out, outcome, r->chart, err);
    return put_terminal(out, outcome, r, err);
}

/** The format that the ending of `file` names, or NULL. */
static const char *format_of_name(const char *file) {
    const char *dot = file ? strrchr(file, '.') : NULL;
    if (!dot || strchr(dot, '/')) return NULL;
    if (strcmp(dot, ".htm") == 0) return "html";
    for (size_t i = 1; format_words[i]; i++)
        if (strcmp(dot + 1, format_words[i]) == 0) return format_words[i];
    return NULL;
}

static kvat_status choose_format(request *r, kvat_error *err) {
    const char *asked = cli_text(r->context->args, CLI_FORMAT), *named = format_of_name(r->file);
    bool json = r->context->io->json;
    if (json && asked && strcmp(asked, "json") != 0)
        return kvat_fail(err, KVAT_ERR_USAGE, "--json and --format %s contradict each other", asked);
    r->format = json                                   ? "json"
                : asked                                ? asked
                : cli_has(r->context->args, CLI_CHART) ? "svg"
                : named                                ? named
                                                       : "terminal";
    if (cli_has(r->context->args, CLI_CHART) && strcmp(r->format, "svg") != 0)
        return kvat_fail(err, KVAT_ERR_USAGE, "--chart is for --format svg, not %s", r->format);
    r->chart = cli_has(r->context->args, CLI_CHART) ? cli_text(r->context->args, CLI_CHART) : "ranking";
    return KVAT_OK;
}

static kvat_status report(cli_context *context, kvat_error *err) {
    const cli_args *args = context->args;
    request r = {context, "terminal", "ranking", cli_text(args, CLI_OUT), NULL};
    kvat_outcome *outcome = NULL;
    kvat_buf text = KVAT_BUF_INIT;
    r.directory = args->n_words ? args->words[0] : cli_default_folder;
    kvat_status status = choose_format(&r, err);
    if (status == KVAT_OK) status = cli_outcome_open(&outcome, r.directory, cli_run_number(args), err);
    if (status == KVAT_OK) status = put_report(&text, outcome, &r, err);
    if (status == KVAT_OK) status = cli_write_output(context, &text, 0644, err);
    kvat_buf_clear(&text);
    kvat_outcome_free(outcome);
    return status;
}

const cli_command cli_cmd_report = {
    .name = "report",
    .summary = "make the report of a run again, in any format",
    .usage = "[DIR] [options]",
    .examples = examples,
    .about = about,
    .arguments = arguments,
    .options = options,
    .n_options = CLI_COUNT(options),
    .max_words = 1,
    .completes = CLI_FOLDER,
    .run = report,
};
