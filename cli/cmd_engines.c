// kvat engines: which engines there are, whether they can be used here, and what can be tuned in them.
// It must not know any engine by name.
#include <stdlib.h>
#include <string.h>

#include "kvat/space.h"
#include "tune_request.h"

static const cli_example examples[] = {
    {"kvat engines", "which engines can be used here, and why others cannot"},
    {"kvat engines --model model.gguf", "every setting that can be tuned for a model"},
    {"kvat engines --json", "the same for programs"},
    {NULL, NULL},
};
static const char *const about[] = {
    "Starts the worker of each engine for a moment and asks it what it is. With --model it also says what can be "
    "tuned: "
    "the names are those of --set and --sweep.",
    NULL,
};
static const cli_option options[] = {
    {.id = CLI_MODEL,
     .letter = 'm',
     .name = "model",
     .kind = CLI_FILE,
     .value = "MODEL",
     .group = "Engines",
     .help = "ask the engine of this model for its settings (a synthetic model is made in the cache for it)"},
    {.id = CLI_ENGINE,
     .letter = 'e',
     .name = "engine",
     .kind = CLI_ENGINES,
     .value = "NAME",
     .help = "only this engine, by name or path of a worker"},
    CLI_PERMISSIONS,
};

/* ---- asking ---- */

/** What an engine answered, or why it did not. */
typedef struct answer {
    json_t *said; /* owned; NULL when it is not available */
    kvat_status status;
    kvat_error why;
} answer;

static answer ask(const cli_context *context, const kvat_engine *engine, const char *model) {
    answer result = {NULL, KVAT_OK, KVAT_ERROR_INIT};
    result.status = kvat_engine_query(&result.said, engine, model, context->cancel, &result.why);
    return result;
}

static const char *said_text(const answer *a, const char *member) {
    const char *text = json_string_value(json_object_get(json_object_get(a->said, "engine"), member));
    return text ? text : "";
}

/* ---- text ---- */

/** "name: text", wrapped. */
static void put_named(kvat_buf *out, const cli_io *io, const char *name, const char *text) {
    kvat_buf_puts(out, name);
    cli_put_wrapped(out, io, text, strlen(name), 4);
}

static void put_patterns(kvat_buf *out, const cli_io *io, const kvat_engine *engine) {
    kvat_buf text = KVAT_BUF_INIT;
    for (size_t i = 0; engine->models[i]; i++) kvat_buf_printf(&text, "%s%s", i ? " " : "", engine->models[i]);
    put_named(out, io, "  models: ", text.length ? text.bytes : "");
    cli_buf_drop(out, &text);
}

static void put_state(kvat_buf *out, const cli_io *io, const kvat_engine *engine, const answer *a) {
    if (a->said) {
        put_named(out, io, "  available, version ", said_text(a, "version"));
        return;
    }
    put_named(out, io, "  not available: ", a->why.message);
    if (engine->needs && *engine->needs) put_named(out, io, "  needs: ", engine->needs);
}

static void put_engine(kvat_buf *out, const cli_io *io, const kvat_engine *engine, const answer *a) {
    kvat_buf text = KVAT_BUF_INIT;
    kvat_buf_puts(&text, engine->name);
    if (engine->title && strcmp(engine->title, engine->name) != 0) kvat_buf_printf(&text, ": %s", engine->title);
    cli_put_wrapped_buf(out, io, &text, 0, 4);
    put_state(out, io, engine, a);
    if (engine->models && engine->models[0]) put_patterns(out, io, engine);
}

static void put_values(kvat_buf *out, const cli_io *io, const kvat_knob *knob) {
    for (size_t i = 0; i < knob->n_values; i++) {
        const kvat_knob_value *value = &knob->values[i];
        kvat_buf_putc(out, ' ');
        cli_put(out, io, value->text);
        if (i == knob->default_level)
            kvat_buf_puts(out, "*");
        else if (value->searched)
            kvat_buf_puts(out, "+");
        if (value->numerics == KVAT_LOSSY) kvat_buf_puts(out, "~");
    }
}

static void put_knob(kvat_buf *out, const cli_io *io, const kvat_knob *knob) {
    size_t columns = cli_columns(&io->out);
    kvat_buf values = KVAT_BUF_INIT, head = KVAT_BUF_INIT;
    kvat_buf_printf(&head, "%s (%s)", knob->name, kvat_scope_word(knob->scope));
    if (knob->help && *knob->help) kvat_buf_printf(&head, ": %s", knob->help);
    cli_put_wrapped_buf(out, io, &head, 0, 2);
    kvat_buf_puts(out, "   ");
    put_values(&values, io, knob);
    if (values.length) cli_wrap(out, values.bytes, 3, 4, columns < 80 ? columns : 80);
    kvat_buf_putc(out, '\n');
    cli_buf_drop(out, &values);
}

/** What the worker wants known first: of something that changes its defaults, say. */
static void put_notes(kvat_buf *out, const cli_io *io, const json_t *describe) {
    const json_t *notes = json_object_get(describe, "notes");
    size_t columns = cli_columns(&io->out);
    for (size_t i = 0; i < json_array_size(notes); i++) {
        const char *said = json_string_value(json_array_get(notes, i));
        kvat_buf text = KVAT_BUF_INIT;
        cli_put(&text, io, said ? said : "");
        if (text.length) {
            kvat_buf_puts(out, "  note: ");
            cli_wrap(out, text.bytes, 8, 4, columns < 80 ? columns : 80);
            kvat_buf_putc(out, '\n');
        }
        cli_buf_drop(out, &text);
    }
}

static kvat_status put_knobs(kvat_buf *out, const cli_io *io, const json_t *describe, kvat_error *err) {
    kvat_knobs *knobs = NULL;
    const json_t *absent = json_object_get(describe, "absent");
    kvat_status status = kvat_knobs_parse(&knobs, json_object_get(describe, "knobs"), err);
    if (status != KVAT_OK) return status;
    kvat_buf_putc(out, '\n');
    cli_put_wrapped(out, io, "Settings (* default, + tried without --sweep, ~ lossy)", 0, 2);
    for (size_t i = 0; i < kvat_knobs_count(knobs); i++) put_knob(out, io, kvat_knobs_at(knobs, i));
    for (size_t i = 0; i < json_array_size(absent); i++) {
        const json_t *item = json_array_get(absent, i);
        const char *name = json_string_value(json_object_get(item, "name"));
        const char *reason = json_string_value(json_object_get(item, "reason"));
        kvat_buf text = KVAT_BUF_INIT;
        kvat_buf_printf(&text, "not here: %s: %s", name ? name : "?", reason ? reason : "?");
        cli_put_wrapped_buf(out, io, &text, 0, 2);
    }
    kvat_knobs_free(knobs);
    return KVAT_OK;
}

/* ---- JSON ---- */

static json_t *texts_json(char **texts) {
    json_t *list = json_array();
    for (size_t i = 0; texts && texts[i]; i++) cli_json_append(&list, cli_json_text(texts[i]));
    return list;
}

static json_t *engine_json(const kvat_engine *engine, const answer *a) {
    json_t *json = json_pack("{s:o, s:o, s:o, s:o, s:b, s:o, s:o}", "name", cli_json_text(engine->name), "title",
                             cli_json_text(engine->title), "needs", cli_json_text(engine->needs), "models",
                             texts_json(engine->models), "available", a->said != NULL, "error",
                             cli_json_text(a->said ? NULL : kvat_status_word(a->status)), "reason",
                             cli_json_text(a->said ? NULL : a->why.message));
    if (!a->said || json_object_update_missing(json, a->said) == 0) return json;
    json_decref(json);
    return NULL;
}

/* ---- the command ---- */

typedef struct listing {
    const cli_context *context;
    const char *model;
    kvat_buf text;
    json_t *list;
} listing;

static kvat_status list_one(listing *l, const kvat_engine *engine, kvat_error *err) {
    answer a = ask(l->context, engine, l->model);
    kvat_status status = KVAT_OK;
    if (a.status == KVAT_ERR_INTERRUPTED || a.status == KVAT_ERR_NOMEM || (l->model && !a.said))
        status = kvat_fail(err, a.status, "%s", a.why.message);
    if (status == KVAT_OK && l->context->io->json) {
        cli_json_append(&l->list, engine_json(engine, &a));
    } else if (status == KVAT_OK) {
        put_engine(&l->text, l->context->io, engine, &a);
        const json_t *describe = json_object_get(a.said, "describe");
        put_notes(&l->text, l->context->io, describe);
        if (json_is_object(describe)) status = put_knobs(&l->text, l->context->io, describe, err);
    }
    json_decref(a.said);
    return status;
}

static kvat_status list_all(listing *l, kvat_error *err) {
    kvat_engine **all = NULL;
    kvat_status status = kvat_engines_list(&all, err);
    for (size_t i = 0; status == KVAT_OK && all[i]; i++) status = list_one(l, all[i], err);
    kvat_engines_free(all);
    return status;
}

static kvat_status list_resolved(listing *l, const char *name, kvat_error *err) {
    kvat_engine *engine = NULL;
    char *why = NULL;
    kvat_status status = kvat_engine_resolve(&engine, &why, name, l->model, err);
    if (status == KVAT_OK) status = list_one(l, engine, err);
    kvat_engine_free(engine);
    free(why);
    return status;
}

static kvat_status engines(cli_context *context, kvat_error *err) {
    const char *name = cli_text(context->args, CLI_ENGINE);
    listing l = {context, cli_text(context->args, CLI_MODEL), KVAT_BUF_INIT, json_array()};
    cli_signals_catch(context->cancel);
    cli_permit(context->args);
    kvat_status status = name || l.model ? list_resolved(&l, name, err) : list_all(&l, err);
    if (status == KVAT_OK) status = cli_out_list(context->io, "kvat-engines/1", "engines", l.list, &l.text, err);
    if (status == KVAT_OK && l.model) cli_next_path(context->io, "tune", l.model, " --dry-run");
    if (status == KVAT_OK && !l.model) cli_next(context->io, "Next: kvat engines --model MODEL");
    kvat_buf_clear(&l.text);
    json_decref(l.list);
    return status;
}

const cli_command cli_cmd_engines = {
    .name = "engines",
    .summary = "list engines, and what can be tuned in them",
    .usage = "[options]",
    .examples = examples,
    .about = about,
    .options = options,
    .n_options = CLI_COUNT(options),
    .max_words = 0,
    .completes = CLI_TEXT,
    .run = engines,
};
