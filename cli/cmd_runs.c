// kvat runs: what has been measured and is kept in folders of results.
// It must not know how it is stored, nor interpret it.
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "kvat/units.h"
#include "runs_export.h"

static const cli_example examples[] = {
    {"kvat runs", "the runs kept in kvat_results"},
    {"kvat runs list old new", "of several folders"},
    {"kvat runs show kvat_results --run 2", "what was asked in one of them, and what became of it"},
    {"kvat runs export --surface > surface.json", "a recording, to play again with: kvat tune surface.json"},
    {"kvat runs rm kvat_results --run 2", "remove one with all its measurements"},
    {NULL, NULL},
};
static const char *const about[] = {
    "Everything kvat measures is kept in the kvat.db of a folder of results; several runs can be in one.",
    NULL,
};
static const cli_topic arguments[] = {
    {"list [DIR...]", "the runs in each folder (the default)"},
    {"show [DIR]", "one run: what was asked, its state and trials"},
    {"rm DIR", "remove a run; --run says which"},
    {"export [DIR]", "one run with every trial as JSON, or with --surface as a surface"},
    {"DIR", "a folder of results (default: kvat_results)"},
    {NULL, NULL},
};
static const cli_option options[] = {
    {.id = CLI_RUN,
     .name = "run",
     .kind = CLI_INT,
     .value = "N",
     .group = "Runs",
     .low = 1,
     .high = 1e15,
     .help = "which run (default: the newest)"},
    {.id = CLI_SURFACE, .name = "surface", .help = "export: a kvat-surface/1 of medians, for the engine sim"},
};
static const char *const verbs[] = {"list", "show", "rm", "export", NULL};

/* ---- list ---- */

typedef struct listing {
    const cli_context *context;
    const char *directory;
    bool named; /* several folders: each row says which */
    kvat_buf text;
    json_t *list;
    size_t n;
} listing;

enum { model_column = 69, below_column = 6 };

/** No room for the table, the head of its last column included. */
static bool narrow(const cli_io *io) {
    return cli_columns(&io->out) < model_column + strlen("model");
}

/** Below each other, where a row has no room. */
static void put_run_paragraph(listing *l, const kvat_run_record *run) {
    kvat_buf text = KVAT_BUF_INIT;
    kvat_buf_printf(&text, "run %lld, %s, %s, %lld trial%s, %s, %s, %s", (long long)run->id,
                    run->created_utc && *run->created_utc ? run->created_utc : "(simulated)",
                    kvat_run_state_word(run->state), (long long)run->trials, run->trials == 1 ? "" : "s",
                    run->engine_name, run->profile_name, run->model_name);
    cli_put_wrapped_buf(&l->text, l->context->io, &text, 0, 4);
}

/** A name that does not fit goes on below, never cut: it is what tells runs apart. */
static void put_model(kvat_buf *out, const cli_io *io, const char *name) {
    bool fits = model_column + kvat_text_width(name) <= cli_columns(&io->out);
    if (!fits) kvat_buf_puts(out, "\n      ");
    cli_put_wrapped(out, io, name, fits ? model_column : below_column, below_column);
}

static void put_run(listing *l, const kvat_run_record *run) {
    const cli_io *io = l->context->io;
    kvat_buf *out = &l->text;
    kvat_buf_printf(out, "%4lld  ", (long long)run->id);
    cli_put_fitted(out, io, run->created_utc && *run->created_utc ? run->created_utc : "(simulated)", 21);
    cli_put_fitted(out, io, kvat_run_state_word(run->state), 10);
    kvat_buf_printf(out, "%7lld  ", (long long)run->trials);
    cli_put_fitted(out, io, run->engine_name, 10);
    kvat_buf_putc(out, ' ');
    cli_put_fitted(out, io, run->profile_name, 11);
    kvat_buf_putc(out, ' ');
    put_model(out, io, run->model_name ? run->model_name : "");
}

static json_t *run_json(const kvat_run_record *run, const char *directory) {
    return json_pack("{s:o, s:I, s:o, s:o, s:o, s:o, s:o, s:s, s:I}", "directory", cli_json_text(directory), "run",
                     (json_int_t)run->id, "identity", cli_json_text(run->identity), "created_utc",
                     cli_json_text(run->created_utc), "engine", cli_json_text(run->engine_name), "model",
                     cli_json_text(run->model_name), "profile", cli_json_text(run->profile_name), "state",
                     kvat_run_state_word(run->state), "trials", (json_int_t)run->trials);
}

static bool list_run(void *user, const kvat_run_record *run) {
    listing *l = user;
    if (l->context->io->json)
        cli_json_append(&l->list, run_json(run, l->directory));
    else if (narrow(l->context->io))
        put_run_paragraph(l, run);
    else
        put_run(l, run);
    l->n++;
    return true;
}

static kvat_status list_folder(listing *l, const char *directory, kvat_error *err) {
    kvat_store *store = NULL;
    l->directory = directory;
    kvat_status status = cli_store_open(&store, directory, KVAT_STORE_READ, err);
    if (status == KVAT_OK && l->named && !l->context->io->json) {
        cli_put(&l->text, l->context->io, directory);
        kvat_buf_puts(&l->text, ":\n");
    }
    if (status == KVAT_OK) status = kvat_store_each_run(store, list_run, l, err);
    if (store) kvat_store_close(store);
    return status;
}

static kvat_status list(cli_context *context, size_t first, kvat_error *err) {
    const cli_args *args = context->args;
    listing l = {.context = context, .named = args->n_words > first + 1, .list = json_array()};
    kvat_status status = KVAT_OK;
    if (!narrow(context->io))
        kvat_buf_puts(&l.text, " run  measured             state      trials  engine     profile     model\n");
    if (args->n_words <= first) status = list_folder(&l, cli_default_folder, err);
    for (size_t i = first; status == KVAT_OK && i < args->n_words; i++) status = list_folder(&l, args->words[i], err);
    if (status == KVAT_OK && (l.n > 0 || context->io->json))
        status = cli_out_list(context->io, "kvat-runs/1", "runs", l.list, &l.text, err);
    else if (status == KVAT_OK)
        cli_say(context->io, "No runs.");
    if (status == KVAT_OK && l.n > 0)
        cli_next_path(context->io, "report", l.directory, l.n > 1 || l.named ? " --run N" : "");
    kvat_buf_clear(&l.text);
    json_decref(l.list);
    return status;
}

/* ---- one run ---- */

typedef struct chosen {
    kvat_store *store;
    const char *directory;
    int64_t run;
} chosen;

static kvat_status choose(chosen *out, const cli_context *context, kvat_store_mode mode, kvat_error *err) {
    const cli_args *args = context->args;
    if (args->n_words > 2) return kvat_fail(err, KVAT_ERR_USAGE, "unexpected argument '%s'", args->words[2]);
    out->directory = args->n_words > 1 ? args->words[1] : cli_default_folder;
    out->run = cli_run_number(args);
    kvat_status status = cli_store_open(&out->store, out->directory, mode, err);
    if (status == KVAT_OK && out->run == 0) status = kvat_store_latest_run(&out->run, out->store, err);
    if (status == KVAT_OK && out->run == 0) status = kvat_fail(err, KVAT_ERR_DATA, "%s holds no runs", out->directory);
    return status;
}

static void chosen_close(chosen *c) {
    if (c->store) kvat_store_close(c->store);
}

typedef struct showing {
    const cli_context *context;
    const char *directory;
    kvat_status status;
    kvat_error *err;
} showing;

static json_t *document_of(const char *text) {
    json_t *json = NULL;
    if (!text || kvat_json_parse(&json, text, strlen(text), "stored document", NULL) != KVAT_OK) return json_null();
    return json;
}

static json_t *shown_json(const kvat_run_record *run, const char *directory) {
    json_t *json = run_json(run, directory), *space = document_of(run->space_json);
    json_t *more = json_pack("{s:s, s:o, s:o, s:o, s:I}", "format", "kvat-run/1", "request",
                             document_of(run->request_json), "environment", document_of(run->environment_json), "note",
                             document_of(run->note_json), "configurations", (json_int_t)json_array_size(space));
    json_decref(space);
    bool ok = json && more && json_object_update(json, more) == 0;
    json_decref(more);
    if (ok) return json;
    json_decref(json);
    return NULL;
}

static void put_field(kvat_buf *out, const cli_io *io, const char *name, const char *text) {
    kvat_buf_printf(out, "%-15s", name);
    cli_put_wrapped(out, io, text && *text ? text : "-", 15, 15);
}

static void put_shown(kvat_buf *out, const cli_io *io, const kvat_run_record *run) {
    json_t *space = document_of(run->space_json);
    kvat_buf_printf(out, "%-15s%lld\n", "run", (long long)run->id);
    put_field(out, io, "measured", run->created_utc && *run->created_utc ? run->created_utc : "(simulated)");
    put_field(out, io, "state", kvat_run_state_word(run->state));
    put_field(out, io, "engine", run->engine_name);
    put_field(out, io, "model", run->model_name);
    put_field(out, io, "profile", run->profile_name);
    kvat_buf_printf(out, "%-15s%zu\n%-15s%lld\n", "configurations", json_array_size(space), "trials",
                    (long long)run->trials);
    put_field(out, io, "identity", run->identity);
    put_field(out, io, "request", run->request_json);
    json_decref(space);
}

static bool show_record(void *user, const kvat_run_record *run) {
    showing *s = user;
    if (s->context->io->json) {
        s->status = cli_out_json(s->context->io, shown_json(run, s->directory), s->err);
        return false;
    }
    kvat_buf text = KVAT_BUF_INIT;
    put_shown(&text, s->context->io, run);
    s->status = cli_out_buf(s->context->io, &text, s->err);
    return false;
}

static kvat_status show(cli_context *context, kvat_error *err) {
    chosen c = {0};
    kvat_status status = choose(&c, context, KVAT_STORE_READ, err);
    showing s = {context, c.directory, KVAT_OK, err};
    if (status == KVAT_OK) status = kvat_store_get_run(c.store, c.run, show_record, &s, err);
    if (status == KVAT_OK) status = s.status;
    char number[40];
    snprintf(number, sizeof number, " --run %lld", (long long)c.run);
    if (status == KVAT_OK) cli_next_path(context->io, "report", c.directory, number);
    chosen_close(&c);
    return status;
}

static kvat_status export_run(cli_context *context, kvat_error *err) {
    chosen c = {0};
    kvat_status status = choose(&c, context, KVAT_STORE_READ, err);
    if (status == KVAT_OK && cli_has(context->args, CLI_SURFACE))
        status = cli_export_surface(context->io, c.store, c.run, err);
    else if (status == KVAT_OK)
        status = cli_export_run(context->io, c.store, c.run, err);
    chosen_close(&c);
    return status;
}

/** Measurements take long to make: which run to remove is never guessed. */
static kvat_status remove_run(cli_context *context, kvat_error *err) {
    chosen c = {0};
    if (!cli_has(context->args, CLI_RUN))
        return kvat_fail(err, KVAT_ERR_USAGE, "which run? kvat runs rm DIR --run N; kvat runs list shows the numbers");
    kvat_status status = choose(&c, context, KVAT_STORE_WRITE, err);
    if (status == KVAT_OK) status = kvat_store_remove_run(c.store, c.run, err);
    if (status == KVAT_OK && context->io->json)
        status = cli_out_json(context->io,
                              json_pack("{s:s, s:I, s:o}", "format", "kvat-removed/1", "run", (json_int_t)c.run,
                                        "directory", cli_json_text(c.directory)),
                              err);
    else if (status == KVAT_OK)
        cli_say(context->io, "Removed run %lld of %s", (long long)c.run, c.directory);
    chosen_close(&c);
    return status;
}

static kvat_status runs(cli_context *context, kvat_error *err) {
    const char *verb = context->args->n_words ? context->args->words[0] : "list";
    if (cli_has(context->args, CLI_SURFACE) && strcmp(verb, "export") != 0)
        return kvat_fail(err, KVAT_ERR_USAGE, "--surface is for kvat runs export");
    if (strcmp(verb, "list") == 0) return list(context, 1, err);
    if (strcmp(verb, "show") == 0) return show(context, err);
    if (strcmp(verb, "export") == 0) return export_run(context, err);
    if (strcmp(verb, "rm") == 0) return remove_run(context, err);
    if (strchr(verb, '/') || cli_is_folder(verb)) return list(context, 0, err);
    kvat_status status = cli_unknown(err, "word", verb, verbs, CLI_COUNT(verbs) - 1);
    return status;
}

const cli_command cli_cmd_runs = {
    .name = "runs",
    .summary = "list, show, export and remove what was measured",
    .usage = "[list | show | rm | export] [DIR...] [options]",
    .examples = examples,
    .about = about,
    .arguments = arguments,
    .options = options,
    .n_options = CLI_COUNT(options),
    .max_words = SIZE_MAX,
    .verbs = verbs,
    .completes = CLI_FOLDER,
    .run = runs,
};
