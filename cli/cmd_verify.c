// kvat verify: is a plan still the best here? Says yes, no and by how much, or undecided, and what changed since.
// It must not measure or judge: the library does.
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "kvat/units.h"
#include "kvat/verify.h"
#include "tune_request.h"

static const cli_example examples[] = {
    {"kvat verify kvat_results/best_plan.json", "the model where the plan's own command had it"},
    {"kvat verify best_plan.json model.gguf", "a plan from elsewhere, or a model that was moved"},
    {"kvat verify best_plan.json --time 10m", "time for the plan's strongest rivals, too"},
    {"kvat verify best_plan.json --json", "for a program: exit code 0 yes, 4 no, 6 undecided"},
    {NULL, NULL},
};

static const char *const about[] = {
    "Runs the plan's configuration again in fresh pairs, first against what the engine does by itself, then against "
    "the "
    "two strongest others that the plan recorded, as far as the time allows. It stays the best unless another is "
    "surely "
    "better by more than delta; it must be surely better than the default. Of a plan that its run left undecided "
    "only a no is firm.",
    "Says what is not as it was: engine, model, machine, prompts. Writes nothing, and leaves the plan as it is. Exits "
    "with 0 when it is still the best, 4 when it is not, 6 when that could not be told.",
    NULL,
};

static const cli_topic arguments[] = {
    {"PLAN", "a best_plan.json, or a folder of results that holds one"},
    {"MODEL", "the model, as for kvat tune (default: as in the command that made the plan)"},
    {NULL, NULL},
};

static const cli_option options[] = {
    {.id = CLI_PLAN,
     .name = "plan",
     .kind = CLI_FILE,
     .value = "PLAN",
     .group = "What is verified",
     .help = "the same as the argument PLAN"},
    {.id = CLI_MODEL, .name = "model", .kind = CLI_FILE, .value = "MODEL", .help = "the same as the argument MODEL"},
    {.id = CLI_ENGINE,
     .letter = 'e',
     .name = "engine",
     .kind = CLI_ENGINES,
     .value = "NAME",
     .help = "engine to use, by name or path of a worker (default: the plan's)"},
    CLI_PERMISSIONS,
    {.id = CLI_PROMPTS,
     .name = "prompts",
     .kind = CLI_FILE,
     .value = "FILE",
     .help = "your own text (default: as in the command that made the plan)"},
    {.id = CLI_LAUNCH,
     .name = "launch",
     .kind = CLI_TEXT,
     .value = "PREFIX",
     .many = true,
     .help = "start the worker with this in front: 'srun -N1', 'ssh host'"},
    {.id = CLI_TIME,
     .name = "time",
     .kind = CLI_DURATION,
     .value = "DURATION",
     .group = "Budget and certainty",
     .help =
         "budget such as 90s or 10m (default: 2m, or a tenth of what the plan's run took if that is more, or half of "
         "it if that is less)"},
    {.id = CLI_TRIAL_LIMIT,
     .name = "trial-limit",
     .kind = CLI_DURATION,
     .value = "DURATION",
     .help = "most one run may take (default: ten times what it took for the plan)"},
    {.id = CLI_DELTA,
     .name = "delta",
     .kind = CLI_RATIO,
     .value = "RATIO",
     .low = 0.0001,
     .high = 0.5,
     .help = "differences below this count as equal (default: the plan's)"},
    {.id = CLI_SEED,
     .name = "seed",
     .kind = CLI_INT,
     .value = "N",
     .low = 0,
     .high = 9007199254740991.0,
     .help = "seed of prompts (default: 0)"},
    {.id = CLI_WORLD_SEED,
     .name = "world-seed",
     .kind = CLI_INT,
     .value = "N",
     .low = 0,
     .high = 9007199254740991.0,
     .help = "seed of a simulated machine's noise (default: 0)"},
};

typedef struct verifying {
    cli_context *context;
    const char *path; /* of the plan, as typed */
    json_t *plan;     /* owned */
    cli_args args;    /* of the command that made it */
    cli_tune_request recalled;
    bool knows_command;
    kvat_verify_request request;
} verifying;

/* ---- the command that made the plan ---- */

/** Its words from "tune" on, NULL-terminated (free the array); NULL when the plan tells of no such command. */
static char **command_words(const json_t *plan) {
    const json_t *words = json_object_get(plan, "reproduce");
    const char *command = json_string_value(json_array_get(words, 1));
    size_t n = json_array_size(words);
    char **list = command && strcmp(command, "tune") == 0 ? calloc(n, sizeof *list) : NULL;
    for (size_t i = 1; list && i < n; i++) {
        list[i - 1] = (char *)json_string_value(json_array_get(words, i)); /* only read */
        if (list[i - 1]) continue;
        free(list);
        list = NULL;
    }
    return list;
}

/** What cannot be recalled is not there: a plan may have been written by hand. */
static void recall(verifying *v) {
    char **words = command_words(v->plan);
    int n = 0;
    while (words && words[n]) n++;
    v->knows_command = words && cli_args_parse(&v->args, &cli_cmd_tune, n, words, NULL) == KVAT_OK;
    if (v->knows_command && cli_tune_request_recall(&v->recalled, v->context, &v->args, NULL) != KVAT_OK)
        v->recalled.request.n_set = 0;
    free(words);
}

/** On another machine the prefix may be another, and a plan does not tell it. */
static kvat_status take_launch(verifying *v, kvat_error *err) {
    const cli_args *args = v->context->args;
    if (cli_has(&v->args, CLI_LAUNCH) && !cli_has(args, CLI_LAUNCH))
        cli_warn(v->context->io, "the plan was measured with a --launch prefix, and this is verified without one");
    kvat_status status = cli_tune_request_launch(&v->recalled, args, err);
    v->request.launch = v->recalled.request.launch;
    return status;
}

/** A model of a hub has a revision, and its engine knows where it is. */
static bool is_here(const verifying *v, const char *model) {
    struct stat found;
    bool of_hub = json_is_string(json_object_get(json_object_get(v->plan, "model"), "revision"));
    return of_hub || strchr(model, ':') || stat(model, &found) == 0;
}

static kvat_status find_model(verifying *v, kvat_error *err) {
    const cli_args *args = v->context->args;
    size_t place = cli_has(args, CLI_PLAN) ? 0 : 1;
    if (place < args->n_words || cli_has(args, CLI_MODEL))
        return cli_subject(&v->request.model, args, place, CLI_MODEL, "MODEL", err);
    if (!v->knows_command || !v->recalled.request.model)
        return kvat_fail(err, KVAT_ERR_USAGE,
                         "MODEL is missing: the plan does not say which it was made for; see --help");
    v->request.model = v->recalled.request.model;
    if (cli_has(args, CLI_ENGINE) || is_here(v, v->request.model)) return KVAT_OK;
    return kvat_fail(err, KVAT_ERR_DATA,
                     "the plan was made for the model %s, which is not here: give its path after the plan",
                     v->request.model);
}

static void take_options(verifying *v) {
    const cli_args *args = v->context->args;
    kvat_verify_request *request = &v->request;
    request->plan = v->plan;
    request->engine = cli_text(args, CLI_ENGINE);
    request->prompts_file = cli_text(args, CLI_PROMPTS);
    if (!request->prompts_file) request->prompts_file = v->recalled.request.overrides.prompts_file;
    request->set = v->recalled.request.set;
    request->n_set = v->recalled.request.n_set;
    request->time_ns = args->values[CLI_TIME].integer;
    request->trial_limit_ns = args->values[CLI_TRIAL_LIMIT].integer;
    request->delta = args->values[CLI_DELTA].real;
    request->seed = (uint64_t)args->values[CLI_SEED].integer;
    request->world_seed = (uint64_t)args->values[CLI_WORLD_SEED].integer;
}

static kvat_status prepare(verifying *v, kvat_error *err) {
    const cli_args *args = v->context->args;
    kvat_status status = KVAT_OK;
    if (cli_has(args, CLI_PLAN)) {
        v->path = cli_text(args, CLI_PLAN);
        if (args->n_words > 1)
            return kvat_fail(err, KVAT_ERR_USAGE, "PLAN is given twice: '%s' and '%s'", args->words[0], v->path);
    } else {
        status = cli_subject(&v->path, args, 0, CLI_PLAN, "PLAN", err);
    }
    if (status == KVAT_OK) status = cli_plan_open(&v->plan, v->path, 0, err);
    if (status != KVAT_OK) return status;
    v->request = (kvat_verify_request)KVAT_VERIFY_REQUEST_INIT;
    recall(v);
    take_options(v);
    status = find_model(v, err);
    return status == KVAT_OK ? take_launch(v, err) : status;
}

/* ---- text ---- */

static kvat_interval ratio_of(kvat_interval ln) {
    return (kvat_interval){exp(ln.value), exp(ln.low), exp(ln.high)};
}

static void put_wrapped(kvat_buf *out, const cli_io *io, kvat_buf *text) {
    kvat_buf shown = KVAT_BUF_INIT;
    if (text->bytes) cli_put(&shown, io, text->bytes);
    cli_wrap(out, shown.length ? shown.bytes : "", 0, 2, cli_columns(&io->out));
    kvat_buf_putc(out, '\n');
    cli_buf_drop(out, &shown);
    cli_buf_drop(out, text);
}

static void put_headline(kvat_buf *out, const cli_io *io, const kvat_verification *v) {
    static const char *const after[] = {" is still the best here", " is no longer the best here",
                                        " may or may not be the best here"};
    static const char *const before[] = {"Yes: ", "No: ", "Undecided: "};
    kvat_buf text = KVAT_BUF_INIT;
    kvat_buf_printf(&text, "%s%s%s.", before[v->answer], v->label, after[v->answer]);
    put_wrapped(out, io, &text);
    kvat_buf why = KVAT_BUF_INIT;
    kvat_buf_printf(&why, "Because %s.", v->why);
    put_wrapped(out, io, &why);
}

static void put_metric(kvat_buf *out, const cli_io *io, const char *name, kvat_interval ln) {
    bool narrow = cli_columns(&io->out) < 60;
    kvat_buf_puts(out, "  ");
    if (narrow)
        kvat_buf_printf(out, "%s\n    ", name);
    else
        kvat_text_fit(out, name, 21, 1, io->unicode);
    kvat_interval ratio = ratio_of(ln);
    if (isfinite(ratio.low) && isfinite(ratio.high))
        cli_put_change(out, &ratio, io->unicode);
    else
        kvat_buf_puts(out, "too few pairs for an interval");
    kvat_buf_putc(out, '\n');
}

static void put_pairing(kvat_buf *out, const cli_io *io, const kvat_verify_pairing *pairing) {
    const kvat_confirm_answer *answer = &pairing->answer;
    static const char *const names[] = {"time to first token", "decode", "peak memory"};
    kvat_buf text = KVAT_BUF_INIT;
    kvat_buf_printf(&text, "Against %s, %zu fresh pair%s", pairing->label, answer->pairs,
                    answer->pairs == 1 ? "" : "s");
    if (pairing->failure) kvat_buf_printf(&text, "; failed: %s", pairing->failure);
    if (answer->pairs > 0) kvat_buf_printf(&text, " (intervals of %.3g %%):", 100 * pairing->level);
    put_wrapped(out, io, &text);
    if (answer->pairs == 0) return;
    put_metric(out, io, "score", answer->score);
    for (size_t i = 0; i < CLI_COUNT(names); i++) put_metric(out, io, names[i], answer->part[i]);
}

/** A hash is told apart by its beginning; other text is left whole. */
static void put_short(kvat_buf *out, const char *text) {
    size_t n = strlen(text), hexadecimal = strspn(text, "sha256:0123456789bcdef");
    bool is_hash = n >= 64 && hexadecimal == n;
    kvat_buf_put(out, *text ? text : "nothing", !*text ? 7 : is_hash ? 19 : n);
    if (is_hash) kvat_buf_puts(out, "...");
}

static void put_changes(kvat_buf *out, const cli_io *io, const kvat_verification *v) {
    kvat_buf text = KVAT_BUF_INIT;
    kvat_buf_puts(&text,
                  v->n_changes ? "Since the plan: " : "Engine, model, machine and prompts are those of the plan.");
    for (size_t i = 0; i < v->n_changes; i++) {
        kvat_buf_printf(&text, "%s%s ", i ? "; " : "", v->changes[i].what);
        put_short(&text, v->changes[i].then_is);
        kvat_buf_puts(&text, " \u2192 ");
        put_short(&text, v->changes[i].here);
    }
    if (v->n_changes) kvat_buf_putc(&text, '.');
    put_wrapped(out, io, &text);
}

static void put_cost(kvat_buf *out, const cli_io *io, const kvat_verification *v) {
    kvat_buf text = KVAT_BUF_INIT;
    if (v->runs == 0) return;
    kvat_buf_printf(&text, "%zu runs in ", v->runs);
    kvat_put_duration(&text, v->elapsed_ns);
    if (v->virtual_clock) kvat_buf_puts(&text, " of simulated time");
    if (v->failed_runs) kvat_buf_printf(&text, "; %zu failed", v->failed_runs);
    if (v->voided_runs) kvat_buf_printf(&text, "; %zu disturbed and not used", v->voided_runs);
    if (v->lossy) kvat_buf_puts(&text, ". The plan is lossy: its answers have not been compared with the reference");
    kvat_buf_putc(&text, '.');
    put_wrapped(out, io, &text);
}

/** The plan's own command measures everything again. */
static void put_next(kvat_buf *out, const cli_io *io, const verifying *asked, const kvat_verification *v) {
    const json_t *words = json_object_get(asked->plan, "reproduce");
    kvat_buf line = KVAT_BUF_INIT;
    if (v->answer != KVAT_VERIFY_NO || !asked->knows_command) return;
    kvat_buf_puts(out, "Next:");
    for (size_t i = 0; i < json_array_size(words); i++) {
        const char *word = json_string_value(json_array_get(words, i));
        kvat_buf_putc(&line, ' ');
        kvat_escape_shell(&line, word ? word : "kvat");
    }
    if (line.bytes) cli_put(out, io, line.bytes);
    kvat_buf_puts(out, " --fresh\n");
    cli_buf_drop(out, &line);
}

static kvat_status show_text(const verifying *asked, const kvat_verification *v, kvat_error *err) {
    cli_io *io = asked->context->io;
    kvat_buf text = KVAT_BUF_INIT;
    put_headline(&text, io, v);
    for (size_t i = 0; i < v->n_pairings; i++) put_pairing(&text, io, &v->pairings[i]);
    put_changes(&text, io, v);
    put_cost(&text, io, v);
    put_next(&text, io, asked, v);
    return cli_out_buf(io, &text, err);
}

/* ---- JSON ---- */

static const char *verdict_word(const kvat_confirm_answer *answer) {
    switch (answer->verdict) {
    case KVAT_VERDICT_A:
        return "better";
    case KVAT_VERDICT_B:
        return "worse";
    case KVAT_VERDICT_FAILED:
        return answer->failed_side == 0 ? "failed" : "other_failed";
    default:
        return "undecided";
    }
}

static json_t *ratio_json(kvat_interval ln) {
    kvat_interval ratio = ratio_of(ln);
    return cli_json_interval(&ratio);
}

static json_t *pairing_json(const kvat_verify_pairing *pairing) {
    const kvat_confirm_answer *answer = &pairing->answer;
    return json_pack("{s:s, s:o, s:O, s:I, s:s, s:f, s:o, s:o, s:o, s:o, s:o, s:b, s:b, s:o}", "against",
                     pairing->rival ? "rival" : "default", "label", cli_json_text(pairing->label), "settings",
                     pairing->settings, "pairs", (json_int_t)answer->pairs, "verdict", verdict_word(answer), "level",
                     pairing->level, "score_ratio", ratio_json(answer->score), "ttft_ratio",
                     ratio_json(answer->part[0]), "decode_ratio", ratio_json(answer->part[1]), "peak_ratio",
                     ratio_json(answer->part[2]), "noise_ratio", cli_json_real(expm1(pairing->noise)), "disturbed",
                     (int)pairing->disturbed, "budget_ended", (int)pairing->cut, "failure",
                     cli_json_text(pairing->failure));
}

static json_t *changes_json(const kvat_verification *v) {
    json_t *list = json_array();
    for (size_t i = 0; i < v->n_changes; i++)
        cli_json_append(&list,
                        json_pack("{s:o, s:o, s:o}", "what", cli_json_text(v->changes[i].what), "plan",
                                  cli_json_text(v->changes[i].then_is), "here", cli_json_text(v->changes[i].here)));
    return list;
}

static json_t *warnings_json(const kvat_verification *v) {
    json_t *list = json_array();
    for (size_t i = 0; i < v->n_warnings; i++) cli_json_append(&list, cli_json_text(v->warnings[i]));
    return list;
}

static json_t *document(const kvat_verification *v, int exit_code) {
    json_t *pairings = json_array();
    for (size_t i = 0; i < v->n_pairings; i++) cli_json_append(&pairings, pairing_json(&v->pairings[i]));
    return json_pack(
        "{s:s, s:s, s:i, s:o, s:o, s:O, s:b, s:b, s:b, s:f, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, "
        "s:I, s:I, s:I, s:I}",
        "format", "kvat-verify/1", "answer", kvat_verify_word(v->answer), "exit_code", exit_code, "why",
        cli_json_text(v->why), "label", cli_json_text(v->label), "settings", v->settings, "is_default",
        (int)v->is_default, "lossy", (int)v->lossy, "undecided", (int)v->undecided, "delta", v->delta, "pairings",
        pairings, "decisive", v->decisive == SIZE_MAX ? json_null() : json_integer((json_int_t)v->decisive), "refused",
        cli_json_text(v->refused), "changes", changes_json(v), "warnings", warnings_json(v), "engine",
        cli_json_text(v->engine_name), "engine_version", cli_json_text(v->engine_version), "model",
        cli_json_text(v->model_name), "profile", cli_json_text(v->profile_name), "runs", (json_int_t)v->runs,
        "failed_runs", (json_int_t)v->failed_runs, "voided_runs", (json_int_t)v->voided_runs, "elapsed_ns",
        (json_int_t)v->elapsed_ns, "budget_ns", (json_int_t)v->budget_ns);
}

/* ---- the command ---- */

static kvat_status show(const verifying *asked, const kvat_verification *v, kvat_status status, kvat_error *err) {
    cli_io *io = asked->context->io;
    if (io->json) return cli_out_json(io, document(v, kvat_status_exit_code(status)), err);
    io->error_shown = status != KVAT_OK && (io->out.terminal || cli_one_place(io));
    return show_text(asked, v, err);
}

static kvat_status verify(cli_context *context, kvat_error *err) {
    verifying v = {.context = context};
    cli_progress progress;
    kvat_verification *verification = NULL;
    kvat_events events = {cli_progress_event, &progress};
    cli_forbid_core();
    cli_signals_catch(context->cancel);
    cli_permit(context->args);
    cli_progress_init(&progress, context->io);
    kvat_status status = prepare(&v, err);
    if (status == KVAT_OK) status = kvat_verify(&verification, &v.request, &events, context->cancel, err);
    cli_progress_end(&progress);
    if (verification) {
        kvat_error show_error = KVAT_ERROR_INIT;
        kvat_status shown = show(&v, verification, status, &show_error);
        if (shown != KVAT_OK) status = kvat_fail(err, shown, "%s", show_error.message);
    }
    kvat_verification_free(verification);
    cli_tune_request_clear(&v.recalled);
    cli_args_clear(&v.args);
    json_decref(v.plan);
    return status;
}

const cli_command cli_cmd_verify = {
    .name = "verify",
    .summary = "ask in fresh pairs whether a plan is still the best here",
    .usage = "PLAN [MODEL] [options]",
    .examples = examples,
    .about = about,
    .arguments = arguments,
    .options = options,
    .n_options = CLI_COUNT(options),
    .max_words = 2,
    .completes = CLI_FILE,
    .run = verify,
};
