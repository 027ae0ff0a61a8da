// kvat apply: which settings of a plan hold on this machine, and the snippet that puts them to use.
// It must not know any engine's flags, nor judge the rules: the plan module does both.
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "kvat/plan.h"
#include "kvat/probe.h"
#include "kvat/units.h"

static const cli_example examples[] = {
    {"kvat apply kvat_results/best_plan.json --print-snippet", "a start script for the server, on stdout"},
    {"kvat apply best_plan.json --format preset -o preset.ini", "another format, to a file"},
    {"kvat apply best_plan.json --free-memory 8GiB --context 4096", "what would hold on another machine"},
    {NULL, NULL},
};

static const char *const about[] = {
    "Evaluates the plan's fallback rules on this machine (free memory, engine version, with --model also what the "
    "engine "
    "offers for it) and says which one fired. Without --print-snippet, --format or -o it prints the settings.",
    NULL,
};

static const cli_topic arguments[] = {
    {"PLAN", "a best_plan.json, or a folder of results that holds one"},
    {NULL, NULL},
};

static const cli_option options[] = {
    {.id = CLI_PRINT_SNIPPET,
     .name = "print-snippet",
     .group = "What is written",
     .help = "print the snippet: a start script, or the file of --format"},
    {.id = CLI_FORMAT,
     .letter = 'f',
     .name = "format",
     .kind = CLI_TEXT,
     .value = "FORMAT",
     .help = "python, or llama-server, preset, compose or k8s, as the plan's engine has it (default: its first)"},
    {.id = CLI_OUT,
     .letter = 'o',
     .name = "output",
     .alias = "out",
     .kind = CLI_FILE,
     .value = "FILE",
     .help = "write the snippet to a file; its name may choose the format"},
    {.id = CLI_FORCE, .name = "force", .help = "replace FILE although kvat did not write it"},
    {.id = CLI_MODEL,
     .name = "model",
     .kind = CLI_FILE,
     .value = "PATH",
     .group = "What it is for",
     .help = "the model's file, to stand in the snippet and to ask the engine about"},
    {.id = CLI_CONTEXT,
     .name = "context",
     .kind = CLI_INT,
     .value = "N",
     .low = 1,
     .high = 1e9,
     .help = "context in tokens that will be served"},
    {.id = CLI_FREE_MEMORY,
     .name = "free-memory",
     .kind = CLI_BYTES,
     .value = "SIZE",
     .help = "free memory to assume, such as 8GiB, of the devices where the plan is about theirs (default: this "
             "machine's, of devices unknown)"},
    {.id = CLI_PLAN, .name = "plan", .kind = CLI_FILE, .value = "PLAN", .help = "the same as the argument PLAN"},
};

typedef struct applying {
    cli_context *context;
    const char *path;   /* of the plan, as typed */
    json_t *plan;       /* owned */
    const char *engine; /* its name, of the plan */
    kvat_plan_conditions conditions;
    char version[128]; /* of the engine here; "" unknown */
    json_t *knobs;     /* that it offers for the model; NULL unknown; owned */
    const json_t *settings;
    int rule;
    const char *advice;
    char model[PATH_MAX]; /* absolute, or "" */
} applying;

/* ---- conditions ---- */

static bool has_rule(const json_t *plan, const char *condition) {
    const json_t *rules = json_object_get(plan, "fallback");
    for (size_t i = 0; i < json_array_size(rules); i++)
        if (json_object_get(json_object_get(json_array_get(rules, i), "when"), condition)) return true;
    return false;
}

static void take_answer(applying *a, const json_t *answer) {
    const char *version = json_string_value(json_object_get(json_object_get(answer, "engine"), "version"));
    json_t *knobs = json_object_get(json_object_get(answer, "describe"), "knobs");
    snprintf(a->version, sizeof a->version, "%s", version ? version : "");
    if (*a->version) a->conditions.engine_version = a->version;
    if (json_is_array(knobs)) a->conditions.knobs = a->knobs = json_incref(knobs);
}

/** A plan may come from anywhere: what it names is looked up among the engines here, and never run as a program. */
static kvat_status find_engine(kvat_engine **out, const applying *a, kvat_error *err) {
    if (strchr(a->engine, '/'))
        return kvat_fail(err, KVAT_ERR_ENGINE, "the plan's engine '%s' is no name of an engine", a->engine);
    return kvat_engine_resolve(out, NULL, a->engine, NULL, err);
}

static bool ends_command(kvat_status status) {
    return status == KVAT_ERR_INTERRUPTED || status == KVAT_ERR_NOMEM;
}

static kvat_status ask(applying *a, const kvat_engine *engine, const char *model, kvat_error *err) {
    json_t *answer = NULL;
    kvat_status status = kvat_engine_query(&answer, engine, model, a->context->cancel, err);
    if (status == KVAT_OK) take_answer(a, answer);
    json_decref(answer);
    if (a->context->cancel->level > 0) /* a signal may also come when the answer is there and the worker is ending */
        return kvat_fail(err, KVAT_ERR_INTERRUPTED, "interrupted");
    return status;
}

/** Starts the engine's worker to ask for its version and, with --model, for what it offers for that model. An engine
 * that is not here has neither, which is no failure; but whoever gave the model is told what was not found out. */
static kvat_status ask_engine(applying *a, kvat_error *err) {
    kvat_engine *engine = NULL;
    kvat_error why = KVAT_ERROR_INIT;
    if (!*a->model && !has_rule(a->plan, "engine_version_not")) return KVAT_OK;
    kvat_status status = find_engine(&engine, a, &why);
    if (status == KVAT_OK) status = ask(a, engine, *a->model ? a->model : NULL, &why);
    if (status != KVAT_OK && *a->model && !ends_command(status)) {
        cli_warn(a->context->io, "what the engine offers for --model could not be asked: %s", why.message);
        if (engine) status = ask(a, engine, NULL, &why);
    }
    kvat_engine_free(engine);
    return ends_command(status) ? kvat_fail(err, status, "%s", why.message) : KVAT_OK;
}

static kvat_status look_around(applying *a, kvat_error *err) {
    const cli_args *args = a->context->args;
    kvat_machine machine;
    a->conditions = (kvat_plan_conditions)KVAT_PLAN_CONDITIONS_INIT;
    if (cli_has(args, CLI_CONTEXT)) a->conditions.context_tokens = args->values[CLI_CONTEXT].integer;
    if (cli_has(args, CLI_FREE_MEMORY)) /* whichever the plan's rules are about */
        a->conditions.free_memory_bytes = a->conditions.free_device_memory_bytes =
            args->values[CLI_FREE_MEMORY].integer;
    else if (kvat_probe_machine(&machine, NULL) == KVAT_OK && machine.memory_available_bytes > 0)
        a->conditions.free_memory_bytes = machine.memory_available_bytes;
    return ask_engine(a, err);
}

/* ---- what is asked for ---- */

static bool wants_snippet(const cli_args *args) {
    return cli_has(args, CLI_PRINT_SNIPPET) || cli_has(args, CLI_FORMAT) || cli_has(args, CLI_OUT);
}

/** --format, or what the file's name says, or the engine's first. */
static const char *format_of(const applying *a) {
    const char *asked = cli_text(a->context->args, CLI_FORMAT), *file = cli_text(a->context->args, CLI_OUT);
    if (asked) return asked;
    const char *slash = file ? strrchr(file, '/') : NULL;
    const char *named = file ? kvat_snippet_format_of(a->engine, slash ? slash + 1 : file) : NULL;
    return named ? named : kvat_snippet_formats(a->engine)[0];
}

/* ---- what is said ---- */

static const json_t *fired_rule(const applying *a) {
    return a->rule < 0 ? NULL : json_array_get(json_object_get(a->plan, "fallback"), (size_t)a->rule);
}

static const char *member_text(const json_t *object, const char *member) {
    return json_string_value(json_object_get(object, member));
}

static void put_unsupported(kvat_buf *out, const json_t *settings) {
    const char *name;
    json_t *value;
    kvat_buf_puts(out, "the engine does not offer");
    json_object_foreach((json_t *)settings, name, value) {
        kvat_buf_printf(out, " %s %s", name, json_is_string(value) ? json_string_value(value) : "");
    }
}

static void put_condition(kvat_buf *out, const json_t *when) {
    const json_t *memory = json_object_get(when, "free_memory_below_bytes");
    const json_t *device_memory = json_object_get(when, "free_device_memory_below_bytes");
    const json_t *context = json_object_get(when, "context_above_tokens");
    const char *version = member_text(when, "engine_version_not");
    if (memory || device_memory) {
        kvat_buf_puts(out, memory ? "free memory is below " : "free device memory is below ");
        kvat_put_bytes(out, json_integer_value(memory ? memory : device_memory));
    } else if (context) {
        kvat_buf_printf(out, "the context is above %lld tokens", (long long)json_integer_value(context));
    } else if (version) {
        kvat_buf_printf(out, "the engine's version is not %s", version);
    } else {
        put_unsupported(out, json_object_get(when, "unsupported"));
    }
}

/** The rule whose settings are used, or that advises; without either, the plan's own are used, as the last resort where
 * advice comes with them. */
static void put_rule(kvat_buf *out, const applying *a) {
    const json_t *rule = fired_rule(a);
    const char *label = member_text(rule, "label"), *because = member_text(rule, "because");
    if (!rule) {
        kvat_buf_printf(out, "No fallback rule %s here: the plan's own settings", a->advice ? "helps" : "holds");
        return;
    }
    kvat_buf_printf(out, "Rule %d of the plan holds: ", a->rule + 1);
    put_condition(out, json_object_get(rule, "when"));
    if (json_object_get(rule, "use")) kvat_buf_printf(out, "; used instead: %s", label ? label : "its settings");
    if (because) kvat_buf_printf(out, " (%s)", because);
}

static void say_rule(const applying *a) {
    kvat_buf text = KVAT_BUF_INIT;
    put_rule(&text, a);
    if (text.bytes) cli_say(a->context->io, "%s", text.bytes);
    if (a->conditions.free_device_memory_bytes < 0 && has_rule(a->plan, "free_device_memory_below_bytes"))
        cli_say(a->context->io, "How much device memory is free is not known here; rules about it need --free-memory");
    if (a->advice) cli_warn(a->context->io, "%s", a->advice);
    if (wants_snippet(a->context->args) && kvat_snippet_has_rules(a->engine, format_of(a)))
        cli_say(a->context->io, "The file has the plan's own settings and its rules, and evaluates them where it runs");
    kvat_buf_clear(&text);
}

/** Whoever uses an unfinished search's answer should know. */
static void warn_undecided(const applying *a) {
    const char *undecided = kvat_plan_undecided(a->plan);
    if (undecided) cli_warn(a->context->io, "this plan is not decided: %s", undecided);
}

/** Rules that could not be evaluated are named with -v: they do not fire. */
static void say_conditions(const applying *a) {
    const cli_io *io = a->context->io;
    kvat_buf text = KVAT_BUF_INIT;
    if (io->verbosity < 1) return;
    kvat_buf_puts(&text, "free memory ");
    cli_put_size(&text, a->conditions.free_memory_bytes);
    if (a->conditions.context_tokens > 0)
        kvat_buf_printf(&text, ", context %lld", (long long)a->conditions.context_tokens);
    kvat_buf_printf(&text, ", engine %s %s", a->engine, *a->version ? a->version : "(version unknown)");
    if (a->knobs)
        kvat_buf_puts(&text, ", whose settings are known");
    else if (*a->model || has_rule(a->plan, "unsupported"))
        kvat_buf_printf(&text, ", whose settings are not known%s", *a->model ? "" : " (see --model)");
    if (text.bytes) cli_say(io, "%s", text.bytes);
    kvat_buf_clear(&text);
}

static void put_setting(kvat_buf *out, const cli_io *io, const char *name, const json_t *value, bool changed) {
    kvat_buf_puts(out, "  ");
    cli_put_fitted(out, io, name, 24);
    kvat_buf_puts(out, "  ");
    if (json_is_integer(value))
        kvat_buf_printf(out, "%lld", (long long)json_integer_value(value));
    else
        cli_put(out, io, json_string_value(value));
    kvat_buf_puts(out, changed ? "  (not the default)\n" : "\n");
}

/** "changed" of the plan is about its own settings; of a rule's settings it says nothing. */
static kvat_status show_settings(const applying *a, kvat_error *err) {
    cli_io *io = a->context->io;
    kvat_buf text = KVAT_BUF_INIT;
    const json_t *changed =
        a->settings == json_object_get(a->plan, "settings") ? json_object_get(a->plan, "changed") : NULL;
    const json_t *rule = a->settings == json_object_get(a->plan, "settings") ? NULL : fired_rule(a);
    const char *label = member_text(rule ? rule : a->plan, "label"), *name;
    json_t *value;
    cli_put(&text, io, a->engine);
    kvat_buf_puts(&text, ": ");
    cli_put(&text, io, label ? label : "settings");
    kvat_buf_putc(&text, '\n');
    json_object_foreach((json_t *)a->settings, name, value) {
        put_setting(&text, io, name, value, json_object_get(changed, name) != NULL);
    }
    return cli_out_buf(io, &text, err);
}

/* ---- the snippet ---- */

static bool has_formats(const applying *a) {
    return kvat_snippet_formats(a->engine)[0] != NULL;
}

static unsigned mode_of(const applying *a, const char *format) {
    size_t n = 0;
    const kvat_snippet *snippets = kvat_snippets_for(&n, a->engine);
    for (size_t i = 0; i < n; i++) {
        const char *each = kvat_snippet_format_of(a->engine, snippets[i].file_name);
        if (each && strcmp(each, format) == 0) return snippets[i].mode;
    }
    return 0644;
}

static kvat_status make_snippet(kvat_buf *out, const applying *a, const char *format, kvat_error *err) {
    kvat_snippet_target target = {.model_path = *a->model ? a->model : NULL, .settings = a->settings};
    if (!format) return kvat_fail(err, KVAT_ERR_USAGE, "kvat writes no snippets for the engine '%s'", a->engine);
    return kvat_snippet_put(out, a->plan, format, &target, err);
}

static bool names_file(const cli_args *args) {
    const char *file = cli_text(args, CLI_OUT);
    return file && strcmp(file, "-") != 0;
}

/** To the file of -o, and to stdout where nothing else was named or both were asked for. With --json stdout holds the
 * document, which has the snippet in it. */
static kvat_status write_snippet(const applying *a, const char *format, const kvat_buf *snippet, kvat_error *err) {
    cli_io *io = a->context->io;
    const cli_args *args = a->context->args;
    bool to_file = names_file(args);
    kvat_status status = KVAT_OK;
    if (to_file) status = cli_write_output(a->context, snippet, mode_of(a, format), err);
    if (status == KVAT_OK && !io->json && (!to_file || cli_has(args, CLI_PRINT_SNIPPET)))
        status = cli_write_file(io, "-", snippet, 0, false, err);
    return status;
}

/* ---- JSON ---- */

static kvat_status show_json(const applying *a, const char *format, const kvat_buf *snippet, kvat_error *err) {
    const json_t *rule = fired_rule(a);
    const kvat_plan_conditions *seen = &a->conditions;
    json_t *conditions = json_pack(
        "{s:o, s:o, s:o, s:o, s:b}", "free_memory_bytes",
        seen->free_memory_bytes >= 0 ? json_integer(seen->free_memory_bytes) : json_null(), "free_device_memory_bytes",
        seen->free_device_memory_bytes >= 0 ? json_integer(seen->free_device_memory_bytes) : json_null(),
        "context_tokens", seen->context_tokens >= 0 ? json_integer(seen->context_tokens) : json_null(),
        "engine_version", cli_json_text(seen->engine_version), "settings_known", seen->knobs != NULL);
    json_t *document =
        json_pack("{s:s, s:s, s:o, s:O, s:o, s:O?, s:o, s:o, s:o, s:o}", "format", "kvat-apply/1", "engine", a->engine,
                  "decision", cli_json_text(member_text(a->plan, "decision")), "settings", a->settings, "rule_index",
                  rule ? json_integer(a->rule) : json_null(), "rule", rule, "advice", cli_json_text(a->advice),
                  "conditions", conditions, "snippet_format", cli_json_text(snippet->bytes ? format : NULL), "snippet",
                  cli_json_text(snippet->bytes));
    return cli_out_json(a->context->io, document, err);
}

/* ---- the command ---- */

static kvat_status find_model(applying *a, kvat_error *err) {
    const char *path = cli_text(a->context->args, CLI_MODEL);
    if (!path || realpath(path, a->model)) return KVAT_OK;
    return kvat_fail(err, KVAT_ERR_DATA, "--model %s: there is no such file", path);
}

static kvat_status read_plan(applying *a, kvat_error *err) {
    kvat_status status = cli_subject(&a->path, a->context->args, 0, CLI_PLAN, "PLAN", err);
    if (status == KVAT_OK) status = cli_plan_open(&a->plan, a->path, 0, err);
    if (status != KVAT_OK) return status;
    a->engine = member_text(json_object_get(a->plan, "engine"), "name");
    return KVAT_OK;
}

static kvat_status deliver(applying *a, kvat_error *err) {
    bool snippet_wanted = wants_snippet(a->context->args), json = a->context->io->json;
    const char *format = format_of(a);
    kvat_buf snippet = KVAT_BUF_INIT;
    kvat_status status = KVAT_OK;
    if (snippet_wanted || (json && has_formats(a))) status = make_snippet(&snippet, a, format, err);
    if (status == KVAT_OK && snippet_wanted) status = write_snippet(a, format, &snippet, err);
    if (status == KVAT_OK && json)
        status = show_json(a, format, &snippet, err);
    else if (status == KVAT_OK && !snippet_wanted)
        status = show_settings(a, err);
    kvat_buf_clear(&snippet);
    return status;
}

static kvat_status apply(cli_context *context, kvat_error *err) {
    applying a = {.context = context, .rule = -1};
    cli_signals_catch(context->cancel);
    kvat_status status = read_plan(&a, err);
    if (status == KVAT_OK) status = find_model(&a, err);
    if (status == KVAT_OK) status = look_around(&a, err);
    if (status == KVAT_OK) status = kvat_plan_resolve(&a.settings, &a.rule, &a.advice, a.plan, &a.conditions, err);
    if (status == KVAT_OK) {
        say_conditions(&a);
        warn_undecided(&a);
        say_rule(&a);
        status = deliver(&a, err);
    }
    if (status == KVAT_OK && !wants_snippet(context->args) && has_formats(&a))
        cli_next_path(context->io, "apply", a.path, " --print-snippet");
    json_decref(a.plan);
    json_decref(a.knobs);
    return status;
}

const cli_command cli_cmd_apply = {
    .name = "apply",
    .summary = "put a plan to use: its settings here, or a snippet",
    .usage = "PLAN [options]",
    .examples = examples,
    .about = about,
    .arguments = arguments,
    .options = options,
    .n_options = CLI_COUNT(options),
    .max_words = 1,
    .completes = CLI_FILE,
    .run = apply,
};
