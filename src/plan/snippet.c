/* Which engine's idiom a snippet is written in: a table, one row an engine.
 * Must not know any engine's flags; those stand in the file of its row. */
#include <string.h>

#include "kvat/units.h"
#include "plan_internal.h"

enum { max_formats = 8 };

typedef struct engine_row {
    const char *engine;
    const kvat__format *formats;
    kvat_snippet files[max_formats];
    size_t n_files;
    const char *names[max_formats + 1]; /**< NULL-terminated */
} engine_row;

/* Files and names repeat what the formats say, in the shapes that the header promises; a test compares them. */
static const engine_row rows[] = {
    {"llamacpp",
     kvat__llamacpp_formats,
     {{"llama-server.sh", 0755}, {"llama-server-preset.ini", 0644}},
     2,
     {"llama-server", "preset", "compose", "k8s", NULL}},
    {"transformers", kvat__transformers_formats, {{"optimized_config.py", 0755}}, 1, {"python", NULL}},
};

static const engine_row *row_of(const char *engine_name) {
    for (size_t i = 0; engine_name && i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].engine, engine_name) == 0) return &rows[i];
    return NULL;
}

const kvat_snippet *kvat_snippets_for(size_t *n, const char *engine_name) {
    const engine_row *row = row_of(engine_name);
    *n = row ? row->n_files : 0;
    return row ? row->files : NULL;
}

const char *const *kvat_snippet_formats(const char *engine_name) {
    static const char *const none[] = {NULL};
    const engine_row *row = row_of(engine_name);
    return row ? row->names : none;
}

const char *kvat_snippet_format_of(const char *engine_name, const char *file_name) {
    const engine_row *row = row_of(engine_name);
    for (const kvat__format *format = row ? row->formats : NULL; format && format->name; format++)
        if (format->file_name && strcmp(format->file_name, file_name) == 0) return format->name;
    return NULL;
}

static kvat_status unknown_format(const engine_row *row, const char *engine, const char *format, kvat_error *err) {
    size_t n = 0;
    while (row && row->names[n]) n++;
    if (n == 0) return kvat_fail(err, KVAT_ERR_USAGE, "kvat writes no snippets for the engine \"%s\"", engine);
    int nearest = kvat_nearest_word(format, row->names, n);
    if (nearest >= 0)
        return kvat_fail(err, KVAT_ERR_USAGE, "unknown format \"%s\", did you mean \"%s\"?", format,
                         row->names[nearest]);
    kvat_buf names = KVAT_BUF_INIT;
    for (size_t i = 0; i < n; i++)
        kvat_buf_printf(&names, "%s%s", i == 0 ? "" : i + 1 < n ? ", " : " or ", row->names[i]);
    kvat_status status = kvat_buf_status(&names, err);
    if (status == KVAT_OK)
        status =
            kvat_fail(err, KVAT_ERR_USAGE, "unknown format \"%s\" for %s: expected %s", format, engine, names.bytes);
    kvat_buf_clear(&names);
    return status;
}

static const kvat__format *format_named(const engine_row *row, const char *format) {
    for (const kvat__format *each = row ? row->formats : NULL; format && each && each->name; each++)
        if (strcmp(each->name, format) == 0) return each;
    return NULL;
}

bool kvat_snippet_has_rules(const char *engine_name, const char *format) {
    const kvat__format *found = format_named(row_of(engine_name), format);
    return found && found->has_rules;
}

kvat_status kvat_snippet_put(kvat_buf *out, const json_t *plan, const char *format, const kvat_snippet_target *target,
                             kvat_error *err) {
    kvat_snippet_target to = target ? *target : (kvat_snippet_target){.model_path = NULL};
    kvat_status status = kvat_plan_check(plan, err);
    if (status != KVAT_OK) return status;
    const char *engine = kvat__text_of(json_object_get(plan, "engine"), "name");
    const engine_row *row = row_of(engine);
    const kvat__format *found = format_named(row, format);
    if (!found) return unknown_format(row, engine, format, err);
    if (found->has_rules) to.settings = NULL;
    return found->put(out, plan, &to, err);
}
