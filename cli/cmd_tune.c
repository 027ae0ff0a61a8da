// kvat tune: finds the best configuration by measuring, shows how it goes, and prints what came out.
// It must not know how trials are chosen or judged.
#include <stdlib.h>
#include <string.h>

#include "kvat/plan.h"
#include "kvat/units.h"
#include "tune_request.h"

#define DEFAULT_TIME_NS (1200 * KVAT_NS_PER_S)
#define MOST_SHOWN      100 /* lines of a list */

static const cli_example examples[] = {
    {"kvat tune model.gguf --profile rag", "llama.cpp on a GGUF file, for long prompts"},
    {"kvat tune synthetic:gpt2 --profile ci-micro", "a model of random weights: nothing to download"},
    {"kvat tune model.gguf --context 2048,8192 --output-tokens 128 --time 10m",
     "your own lengths, at most ten minutes"},
    {"kvat tune model.gguf --set threads=4 --sweep ubatch-size=128,512,1024",
     "one setting fixed, one tried more widely"},
    {"kvat tune model.gguf --dry-run", "what would be measured, with its memory forecast"},
    {NULL, NULL},
};

static const char *const about[] = {
    "Measures configurations of the engine in turn until one is best with the confidence asked for, confirms it in "
    "fresh "
    "runs against the engine's default, and writes plan, snippets and reports to a folder. Everything measured is "
    "saved "
    "at once: the same command goes on where an interrupted one stopped, and repeats the answer of a finished one.",
    "Exits with 6 when the budget ended before the answer was firm; the best so far is written then, too.",
    NULL,
};

static const cli_topic arguments[] = {
    {"MODEL",
     "a GGUF file, a folder or hub name of Transformers, synthetic:ARCH[:type], hf:synthetic:ARCH[:type], a surface "
     "file, or what another engine takes as a model; the engine follows from it"},
    {NULL, NULL},
};

static const char *const search_words[] = {"model", "race", NULL};
static const char *const progress_words[] = {"text", "json", NULL};

static const cli_option options[] = {
    {.id = CLI_ENGINE,
     .letter = 'e',
     .name = "engine",
     .kind = CLI_ENGINES,
     .value = "NAME",
     .group = "Model and workload",
     .help = "engine to use, by name or path of a worker (default: from the model)"},
    CLI_PERMISSIONS,
    {.id = CLI_PROFILE,
     .letter = 'p',
     .name = "profile",
     .kind = CLI_PROFILES,
     .value = "NAME",
     .help = "workload, by name or JSON file (default: chat-agent); see kvat profiles"},
    {.id = CLI_CONTEXT,
     .name = "context",
     .kind = CLI_TEXT,
     .value = "LIST",
     .help = "prompt lengths in tokens: 2048,8192"},
    {.id = CLI_OUTPUT_TOKENS,
     .name = "output-tokens",
     .kind = CLI_TEXT,
     .value = "LIST",
     .help = "output lengths in tokens: 64,256"},
    {.id = CLI_BATCH,
     .name = "batch",
     .kind = CLI_TEXT,
     .value = "LIST",
     .help = "equal prompts at once: 1,2,4 (default: 1)"},
    {.id = CLI_WEIGHTS,
     .name = "weights",
     .kind = CLI_TEXT,
     .value = "LIST",
     .help = "what better means: ttft=0.5,decode=0.35,memory=0.15"},
    {.id = CLI_PROMPTS,
     .name = "prompts",
     .kind = CLI_FILE,
     .value = "FILE",
     .help = "your own text, of which only lengths and hashes are kept; \"sample\" is the text shipped for the profile "
             "(default: random tokens)"},
    {.id = CLI_MODEL, .name = "model", .kind = CLI_FILE, .value = "MODEL", .help = "the same as the argument MODEL"},

    {.id = CLI_SET,
     .name = "set",
     .kind = CLI_TEXT,
     .value = "NAME=VALUE",
     .group = "What is tried",
     .many = true,
     .help = "fix a setting, by the engine's own name, for every configuration"},
    {.id = CLI_SWEEP,
     .name = "sweep",
     .kind = CLI_TEXT,
     .value = "NAME[=LIST]",
     .many = true,
     .help = "try these values of a setting, or all it has; \"all\" is every setting"},
    {.id = CLI_SAFE, .name = "safe", .help = "try only values that the engine calls stable"},
    {.id = CLI_ALLOW_LOSSY,
     .name = "allow-lossy",
     .help = "try lossy values, such as quantised caches, too; they are marked unverified"},
    {.id = CLI_MAX_MEMORY,
     .name = "max-memory",
     .kind = CLI_BYTES,
     .value = "SIZE",
     .help = "hard limit such as 12GiB (default: what the machine has)"},
    {.id = CLI_DEVICE,
     .name = "device",
     .kind = CLI_TEXT,
     .value = "NAME",
     .help = "device to use, where the engine has a setting for it: cpu, CUDA0"},

    {.id = CLI_TIME,
     .name = "time",
     .kind = CLI_DURATION,
     .value = "DURATION",
     .group = "Budget and certainty",
     .help = "budget such as 90s or 1h30m (default: 20m)"},
    {.id = CLI_TRIALS,
     .name = "trials",
     .kind = CLI_INT,
     .value = "N",
     .low = 1,
     .high = 1e9,
     .help = "most trials of the search; confirmation comes on top (default: none but the search's own, 180 or more)"},
    {.id = CLI_TRIAL_LIMIT,
     .name = "trial-limit",
     .kind = CLI_DURATION,
     .value = "DURATION",
     .help = "most one trial may take (default: three times the default's)"},
    {.id = CLI_RUNS,
     .name = "runs",
     .kind = CLI_INT,
     .value = "N",
     .low = 1,
     .high = 1000,
     .help = "least measured runs of every survivor (default: the profile's)"},
    {.id = CLI_WARMUP,
     .name = "warmup",
     .kind = CLI_INT,
     .value = "N",
     .low = 0,
     .high = 1000,
     .help = "warm-up runs before the first measured one (default: the profile's)"},
    {.id = CLI_WHOLE_OUTPUTS,
     .name = "whole-outputs",
     .help = "decode every output to its end in the search, too (default: 32 tokens at each depth, from which longer "
             "ones are fitted)"},
    {.id = CLI_DELTA,
     .name = "delta",
     .kind = CLI_RATIO,
     .value = "RATIO",
     .low = 0.0001,
     .high = 0.5,
     .help = "differences below this count as equal (default: 1%, of more than 64 configurations 2%)"},
    {.id = CLI_CONFIDENCE,
     .name = "confidence",
     .kind = CLI_RATIO,
     .value = "RATIO",
     .low = 0.5,
     .high = 0.9999,
     .help = "how sure to be that the winner is within delta of the best (default: 95%)"},
    {.id = CLI_SEARCH,
     .name = "search",
     .kind = CLI_WORD,
     .value = "METHOD",
     .words = search_words,
     .help =
         "how to choose what to run next: \"model\" learns what each setting does, \"race\" compares configurations "
         "one by one (default: model)"},
    {.id = CLI_SEED,
     .name = "seed",
     .kind = CLI_INT,
     .value = "N",
     .low = 0,
     .high = 9007199254740991.0,
     .help = "seed of the order of trials and of prompts (default: 0)"},
    {.id = CLI_WORLD_SEED,
     .name = "world-seed",
     .kind = CLI_INT,
     .value = "N",
     .low = 0,
     .high = 9007199254740991.0,
     .help = "seed of a simulated machine's noise (default: 0)"},

    {.id = CLI_OUT,
     .letter = 'o',
     .name = "output",
     .alias = "out",
     .kind = CLI_FOLDER,
     .value = "DIR",
     .group = "Where",
     .help = "folder for the results (default: kvat_results)"},
    {.id = CLI_WINNERS,
     .name = "winners",
     .kind = CLI_FOLDER,
     .value = "DIR",
     .help = "folder where winners are remembered for later runs into any folder (default: kvat/winners in the state "
             "folder; none for a simulated machine); \"none\" asks and remembers nothing"},
    {.id = CLI_LAUNCH,
     .name = "launch",
     .kind = CLI_TEXT,
     .value = "PREFIX",
     .many = true,
     .help = "start the worker with this in front: 'srun -N1', 'ssh host'"},
    {.id = CLI_PROGRESS,
     .name = "progress",
     .kind = CLI_WORD,
     .value = "FORM",
     .words = progress_words,
     .help = "how to say on stderr what is going on: \"text\", or \"json\", a document a line for a program, whose "
             "leaving ends the run (default: text)"},
    {.id = CLI_DRY_RUN,
     .name = "dry-run",
     .help =
         "list what would be measured; measure nothing and write no results (a synthetic model is made in the cache)"},
    {.id = CLI_FRESH, .name = "fresh", .help = "measure again, instead of resuming or repeating an earlier run"},
    {.id = CLI_FORCE, .name = "force", .help = "replace files in DIR that kvat did not write"},
};

/* ---- the dry run ---- */

/** Nothing is ranked yet: entries are in the order of the configurations. */
static int64_t forecast_of(const kvat_outcome *outcome, size_t config) {
    return config < outcome->n_entries ? outcome->entries[config].forecast_bytes : 0;
}

static int64_t budget_of(const kvat_tune_request *request) {
    return request->time_ns > 0 ? request->time_ns : DEFAULT_TIME_NS;
}

static void put_config_row(kvat_buf *out, const cli_io *io, const kvat_outcome *outcome, size_t config,
                           size_t columns) {
    kvat_buf label = KVAT_BUF_INIT;
    kvat_space_label(&label, outcome->space, config);
    kvat_buf_printf(out, "%4zu  ", config);
    cli_put_fitted(out, io, label.bytes, columns > 40 ? columns - 18 : 22);
    kvat_buf_puts(out, "  ");
    cli_put_size(out, forecast_of(outcome, config));
    kvat_buf_putc(out, '\n');
    cli_buf_drop(out, &label);
}

static void put_more(kvat_buf *out, const cli_io *io, size_t more) {
    if (more == 0) return;
    cli_put(out, io, "… ");
    kvat_buf_printf(out, "%zu more (--json lists all)\n", more);
}

static void put_skipped(kvat_buf *out, size_t n, const char *what, const char *why) {
    if (n > 0) kvat_buf_printf(out, "left out: %zu %s%s%s\n", n, what, n == 1 ? "" : "s", why);
}

static void put_left_out(kvat_buf *out, const cli_io *io, const kvat_outcome *outcome) {
    size_t shown = outcome->n_left_out > MOST_SHOWN ? MOST_SHOWN : outcome->n_left_out;
    for (size_t i = 0; i < shown; i++) {
        kvat_buf_puts(out, "left out: ");
        cli_put(out, io, outcome->left_out[i].label);
        kvat_buf_puts(out, ": ");
        cli_put(out, io, outcome->left_out[i].reason);
        kvat_buf_putc(out, '\n');
    }
    put_more(out, io, outcome->n_left_out - shown);
    kvat_space_left_out skipped = outcome->skipped;
    put_skipped(out, skipped.lossy, "lossy value", " (see --allow-lossy)");
    put_skipped(out, skipped.unstable, "unstable value", " (--safe)");
    put_skipped(out, skipped.constrained, "configuration", " that the engine rules out");
    put_skipped(out, skipped.equal, "configuration", " equal to another one");
}

/** A synthetic model is described from its file, which stands in the cache from then on. */
static void put_nothing_measured(kvat_buf *out, const cli_io *io, const kvat_outcome *outcome) {
    int64_t bytes = 0;
    bool made = json_is_true(json_object_get(outcome->model, "synthetic")) && outcome->model_file;
    if (made) bytes = json_integer_value(json_object_get(outcome->model, "weight_bytes"));
    if (!made) {
        kvat_buf_puts(out, "Nothing was measured or written; the engine was only asked what it can do.\n");
        return;
    }
    kvat_buf_puts(out, "Nothing was measured; the synthetic model");
    if (bytes > 0) {
        kvat_buf_puts(out, " of ");
        kvat_put_bytes(out, bytes);
    }
    kvat_buf_puts(out, " stands in the cache:\n");
    cli_put(out, io, outcome->model_file);
    kvat_buf_putc(out, '\n');
}

static void put_budget(kvat_buf *out, const kvat_tune_request *request) {
    kvat_buf_puts(out, "budget: ");
    kvat_put_duration(out, budget_of(request));
    if (request->max_trials > 0) kvat_buf_printf(out, ", %lld trials", (long long)request->max_trials);
    kvat_buf_putc(out, '\n');
}

static kvat_status show_dry_run(const cli_context *context, const kvat_outcome *outcome,
                                const kvat_tune_request *request, kvat_error *err) {
    kvat_buf text = KVAT_BUF_INIT;
    size_t n = kvat_space_count(outcome->space), columns = cli_columns(&context->io->out);
    kvat_buf_printf(&text, "%zu configuration%s; memory is a forecast\n", n, n == 1 ? "" : "s");
    if (outcome->skipped.drawn_from > 0) {
        kvat_buf_puts(&text, "drawn at random from ");
        kvat_put_count(&text, outcome->skipped.drawn_from);
        kvat_buf_puts(&text, " combinations; what was not drawn is not considered\n");
    }
    size_t shown = n > MOST_SHOWN ? MOST_SHOWN : n;
    for (size_t i = 0; i < shown; i++) put_config_row(&text, context->io, outcome, i, columns);
    put_more(&text, context->io, n - shown);
    put_left_out(&text, context->io, outcome);
    put_budget(&text, request);
    put_nothing_measured(&text, context->io, outcome);
    return cli_out_buf(context->io, &text, err);
}

static json_t *config_json(const kvat_outcome *outcome, size_t config) {
    kvat_buf label = KVAT_BUF_INIT;
    json_t *settings = NULL, *json = NULL;
    int64_t forecast = forecast_of(outcome, config);
    kvat_space_label(&label, outcome->space, config);
    if (kvat_buf_status(&label, NULL) == KVAT_OK &&
        kvat_space_settings(&settings, outcome->space, config, -1, NULL) == KVAT_OK)
        json = json_pack("{s:o, s:O, s:o}", "label", cli_json_text(label.bytes), "settings", settings, "forecast_bytes",
                         forecast > 0 ? json_integer(forecast) : json_null());
    json_decref(settings);
    kvat_buf_clear(&label);
    return json;
}

static json_t *configs_json(const kvat_outcome *outcome) {
    json_t *list = json_array();
    for (size_t i = 0; i < kvat_space_count(outcome->space); i++) cli_json_append(&list, config_json(outcome, i));
    return list;
}

static json_t *left_out_json(const kvat_outcome *outcome) {
    json_t *list = json_array();
    for (size_t i = 0; i < outcome->n_left_out; i++)
        cli_json_append(&list, json_pack("{s:o, s:o, s:I}", "label", cli_json_text(outcome->left_out[i].label),
                                         "reason", cli_json_text(outcome->left_out[i].reason), "forecast_bytes",
                                         (json_int_t)outcome->left_out[i].forecast_bytes));
    return list;
}

static json_t *dry_run_json(const kvat_outcome *outcome, const kvat_tune_request *request) {
    double of = outcome->skipped.drawn_from;
    return json_pack("{s:s, s:b, s:o, s:o, s:o, s:{s:i, s:i, s:i, s:i}, s:I, s:I}", "format", "kvat-tune/1", "dry_run",
                     1, "configurations", configs_json(outcome), "drawn_from", of > 0 ? cli_json_real(of) : json_null(),
                     "left_out", left_out_json(outcome), "skipped", "lossy", (int)outcome->skipped.lossy, "unstable",
                     (int)outcome->skipped.unstable, "constrained", (int)outcome->skipped.constrained, "equal",
                     (int)outcome->skipped.equal, "budget_ns", (json_int_t)budget_of(request), "max_trials",
                     (json_int_t)request->max_trials);
}

/* ---- the result ---- */

static kvat_status result_json(json_t **out, const kvat_outcome *outcome, kvat_status status, const char *directory,
                               kvat_error *err) {
    json_t *report = NULL, *plan = NULL;
    kvat_status made = kvat_report_json(&report, outcome, err);
    if (made == KVAT_OK && outcome->winner != SIZE_MAX) made = kvat_plan_make(&plan, outcome, outcome->winner, err);
    if (made == KVAT_OK)
        *out = json_pack("{s:s, s:b, s:s, s:i, s:o, s:O, s:O?}", "format", "kvat-tune/1", "dry_run", 0, "status",
                         kvat_status_word(status), "exit_code", kvat_status_exit_code(status), "directory",
                         cli_json_text(directory), "report", report, "plan", plan);
    json_decref(report);
    json_decref(plan);
    return made;
}

static kvat_status show_result(const cli_context *context, const kvat_outcome *outcome, const char *directory,
                               kvat_error *err) {
    kvat_terminal_style style = cli_style(context->io, &context->io->out);
    kvat_buf text = KVAT_BUF_INIT;
    if (context->io->err.terminal) cli_say(context->io, "%s", ""); /* a gap below the heading */
    kvat_status status = kvat_report_terminal(&text, outcome, &style, directory, err);
    return cli_out_made(context->io, status, &text, err);
}

static const char *directory_of(const kvat_tune_request *request) {
    return request->directory ? request->directory : cli_default_folder;
}

static kvat_status show(const cli_context *context, const kvat_outcome *outcome, const kvat_tune_request *request,
                        kvat_status status, kvat_error *err) {
    const char *directory = directory_of(request);
    json_t *document = NULL;
    kvat_status shown = KVAT_OK;
    if (request->dry_run && context->io->json) return cli_out_json(context->io, dry_run_json(outcome, request), err);
    if (request->dry_run) return show_dry_run(context, outcome, request, err);
    if (!context->io->json) return show_result(context, outcome, directory, err);
    shown = result_json(&document, outcome, status, directory, err);
    return shown == KVAT_OK ? cli_out_json(context->io, document, err) : shown;
}

/* ---- how it ends ---- */

/** The summary says at length why the exit code is not 0. Who sees it needs no second sentence; who has sent it
 * elsewhere is told where to look, and a reader of JSON gets the sentence itself. */
static void tell_once(const cli_context *context, kvat_status status, const char *directory, kvat_error *err) {
    cli_io *io = context->io;
    const char *what = status == KVAT_ERR_PARTIAL ? "not decided" : "no configuration works";
    if (io->json || status == KVAT_OK) return;
    io->error_shown = io->out.terminal || cli_one_place(io);
    (void)kvat_fail(err, status, "%s; %s/report.md says why", what, directory);
}

/** The same command line, ready to paste; without --fresh, which would begin anew. */
static void tell_how_to_resume(const cli_context *context) {
    kvat_buf line = KVAT_BUF_INIT;
    kvat_buf_puts(&line, "Resume: kvat");
    for (const char *const *word = context->argv + 1; *word; word++) {
        if (strcmp(*word, "--fresh") == 0) continue;
        kvat_buf_putc(&line, ' ');
        kvat_escape_shell(&line, *word);
    }
    if (line.bytes) cli_next(context->io, line.bytes);
    kvat_buf_clear(&line);
}

static bool has_outcome(kvat_status status) {
    return status == KVAT_OK || status == KVAT_ERR_PARTIAL || status == KVAT_ERR_INFEASIBLE;
}

static kvat_status tune(cli_context *context, kvat_error *err) {
    cli_tune_request made;
    cli_progress progress;
    kvat_outcome *outcome = NULL;
    kvat_events events = {cli_progress_event, &progress};
    cli_forbid_core();
    cli_signals_catch(context->cancel);
    cli_progress_init(&progress, context->io);
    const char *form = cli_text(context->args, CLI_PROGRESS);
    if (form && strcmp(form, "json") == 0) {
        progress.cancel = context->cancel;
        events.on_event = cli_progress_json_event;
    }
    kvat_status status = cli_tune_request_make(&made, context, err);
    if (status == KVAT_OK) status = kvat_tune(&outcome, &made.request, &events, context->cancel, err);
    cli_progress_end(&progress);
    if (outcome && has_outcome(status)) {
        kvat_error show_error = KVAT_ERROR_INIT;
        kvat_status shown = show(context, outcome, &made.request, status, &show_error);
        if (shown != KVAT_OK)
            status = kvat_fail(err, shown, "%s", show_error.message);
        else
            tell_once(context, status, directory_of(&made.request), err);
    }
    if (status == KVAT_ERR_INTERRUPTED) tell_how_to_resume(context);
    kvat_outcome_free(outcome);
    cli_tune_request_clear(&made);
    return status;
}

const cli_command cli_cmd_tune = {
    .name = "tune",
    .summary = "find the best configuration by measuring",
    .usage = "MODEL [options]",
    .examples = examples,
    .about = about,
    .arguments = arguments,
    .options = options,
    .n_options = CLI_COUNT(options),
    .max_words = 1,
    .completes = CLI_FILE,
    .next = "Next: kvat apply DIR/best_plan.json --print-snippet",
    .run = tune,
};
