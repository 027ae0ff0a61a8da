// kvat profiles: which workloads there are, what one means, whether an own one is right.
// It must not know any profile by name.
#include <string.h>

#include "cli.h"
#include "kvat/profile.h"
#include "kvat/units.h"

static const cli_example examples[] = {
    {"kvat profiles", "all built-in workloads"},
    {"kvat profiles show rag", "one in full"},
    {"kvat profiles show rag --json > mine.json", "a beginning for one of your own"},
    {"kvat profiles validate mine.json", "check it, then: kvat tune MODEL --profile mine.json"},
    {NULL, NULL},
};
static const char *const about[] = {
    "A profile says which prompt and output lengths matter how much, and what better weighs.",
    NULL,
};
static const cli_topic arguments[] = {
    {"list", "every built-in profile (the default)"},
    {"show NAME", "one profile, by name or JSON file"},
    {"validate FILE", "check a JSON file: exit 65 names the member that is wrong"},
    {NULL, NULL},
};
static const char *const verbs[] = {"list", "show", "validate", NULL};

/* ---- text ---- */

static bool seen_before(const kvat_profile *profile, size_t index, bool output) {
    const kvat_cell *cells = profile->cells, *cell = &cells[index];
    for (size_t i = 0; i < index; i++)
        if (output ? cells[i].output_tokens == cell->output_tokens : cells[i].prompt_tokens == cell->prompt_tokens)
            return true;
    return false;
}

/** Distinct lengths in the order of the cells: "2048 4096 8192". */
static void put_lengths(kvat_buf *out, const kvat_profile *profile, bool output) {
    const char *gap = "";
    for (size_t i = 0; i < profile->n_cells; i++) {
        if (seen_before(profile, i, output)) continue;
        kvat_buf_printf(out, "%s%lld", gap,
                        (long long)(output ? profile->cells[i].output_tokens : profile->cells[i].prompt_tokens));
        gap = " ";
    }
}

static void put_weights(kvat_buf *out, const kvat_profile *profile) {
    kvat_buf_printf(out, "%.0f / %.0f / %.0f", 100 * profile->weight_ttft, 100 * profile->weight_decode,
                    100 * profile->weight_memory);
}

/** Appends and empties `cell`. */
static void put_column(kvat_buf *out, kvat_buf *cell, size_t columns) {
    kvat_text_fit(out, cell->length ? cell->bytes : "", columns, 1, false);
    cli_buf_drop(out, cell);
}

enum { table_columns = 70 };

/** Name, lengths and weights below each other, where a row has no room. */
static void put_list_paragraph(kvat_buf *out, const cli_io *io, const kvat_profile *profile) {
    kvat_buf text = KVAT_BUF_INIT;
    cli_put_wrapped(out, io, profile->name, 0, 2);
    kvat_buf_puts(&text, "prompts ");
    put_lengths(&text, profile, false);
    kvat_buf_puts(&text, ", outputs ");
    put_lengths(&text, profile, true);
    kvat_buf_puts(out, "  ");
    cli_put_wrapped_buf(out, io, &text, 2, 4);
    kvat_buf_puts(&text, "TTFT / decode / memory ");
    put_weights(&text, profile);
    kvat_buf_puts(out, "  ");
    cli_put_wrapped_buf(out, io, &text, 2, 4);
}

static void put_list_row(kvat_buf *out, const kvat_profile *profile) {
    kvat_buf cell = KVAT_BUF_INIT;
    kvat_buf_puts(&cell, profile->name);
    put_column(out, &cell, 14);
    put_lengths(&cell, profile, false);
    put_column(out, &cell, 20);
    put_lengths(&cell, profile, true);
    put_column(out, &cell, 13);
    put_weights(out, profile);
    kvat_buf_putc(out, '\n');
}

static void put_limit(kvat_buf *out, const char *name, int64_t value, void (*put)(kvat_buf *, int64_t)) {
    if (value <= 0) return;
    kvat_buf_printf(out, "%-15s", name);
    put(out, value);
    kvat_buf_putc(out, '\n');
}

static void put_cells(kvat_buf *out, const kvat_profile *profile) {
    kvat_buf_puts(out, "prompt  output  batch  weight\n");
    for (size_t i = 0; i < profile->n_cells; i++) {
        const kvat_cell *cell = &profile->cells[i];
        kvat_buf_printf(out, "%6lld  %6lld  %5lld  %5.1f %%\n", (long long)cell->prompt_tokens,
                        (long long)cell->output_tokens, (long long)cell->sequences, 100 * cell->weight);
    }
}

static void put_profile(kvat_buf *out, const cli_io *io, const kvat_profile *profile) {
    kvat_buf text = KVAT_BUF_INIT;
    kvat_buf_puts(&text, profile->name);
    if (profile->description && *profile->description) kvat_buf_printf(&text, ": %s", profile->description);
    cli_put_wrapped_buf(out, io, &text, 0, 2);
    kvat_buf_puts(&text, "TTFT / decode / memory weigh ");
    put_weights(&text, profile);
    kvat_buf_puts(&text, " per cent");
    kvat_buf_putc(out, '\n');
    cli_put_wrapped_buf(out, io, &text, 0, 2);
    kvat_buf_printf(out, "runs           %lld\nwarm-up        %lld\n", (long long)profile->runs,
                    (long long)profile->warmup);
    put_limit(out, "memory limit", profile->limit_memory_bytes, kvat_put_bytes);
    put_limit(out, "TTFT limit", profile->limit_ttft_ns, kvat_put_duration);
    put_limit(out, "token limit", profile->limit_itl_ns, kvat_put_duration);
    if (profile->prompts_file) kvat_buf_puts(out, "prompts        from a file\n");
    kvat_buf_putc(out, '\n');
    put_cells(out, profile);
}

/* ---- commands ---- */

static kvat_status list_json(cli_io *io, kvat_error *err) {
    json_t *list = json_array();
    kvat_status status = KVAT_OK;
    for (size_t i = 0; status == KVAT_OK && i < kvat_profile_builtin_count(); i++) {
        kvat_profile *profile = NULL;
        json_t *json = NULL;
        status = kvat_profile_builtin(&profile, kvat_profile_builtin_name(i), err);
        if (status == KVAT_OK) status = kvat_profile_json(&json, profile, err);
        if (status == KVAT_OK) cli_json_append(&list, json);
        kvat_profile_free(profile);
    }
    if (status == KVAT_OK)
        return cli_out_json(io, json_pack("{s:s, s:o}", "format", "kvat-profiles/1", "profiles", list), err);
    json_decref(list);
    return status;
}

static kvat_status list_text(cli_io *io, kvat_error *err) {
    kvat_buf text = KVAT_BUF_INIT;
    kvat_status status = KVAT_OK;
    const bool narrow = cli_columns(&io->out) < table_columns;
    if (!narrow) kvat_buf_puts(&text, "profile       prompt tokens       output       TTFT / decode / memory\n");
    for (size_t i = 0; status == KVAT_OK && i < kvat_profile_builtin_count(); i++) {
        kvat_profile *profile = NULL;
        status = kvat_profile_builtin(&profile, kvat_profile_builtin_name(i), err);
        if (status == KVAT_OK && narrow)
            put_list_paragraph(&text, io, profile);
        else if (status == KVAT_OK)
            put_list_row(&text, profile);
        kvat_profile_free(profile);
    }
    if (status == KVAT_OK) cli_next(io, "Next: kvat tune MODEL --profile NAME");
    return cli_out_made(io, status, &text, err);
}

static kvat_status list(cli_context *context, kvat_error *err) {
    if (context->args->n_words > 1)
        return kvat_fail(err, KVAT_ERR_USAGE, "unexpected argument '%s'", context->args->words[1]);
    return context->io->json ? list_json(context->io, err) : list_text(context->io, err);
}

static kvat_status show(cli_context *context, kvat_error *err) {
    kvat_profile *profile = NULL;
    json_t *json = NULL;
    if (context->args->n_words < 2) return kvat_fail(err, KVAT_ERR_USAGE, "NAME is missing: kvat profiles show NAME");
    kvat_status status = kvat_profile_find(&profile, context->args->words[1], err);
    if (status == KVAT_OK && context->io->json) {
        status = kvat_profile_json(&json, profile, err);
        if (status == KVAT_OK) status = cli_out_json(context->io, json, err);
    } else if (status == KVAT_OK) {
        kvat_buf text = KVAT_BUF_INIT;
        put_profile(&text, context->io, profile);
        status = cli_out_buf(context->io, &text, err);
    }
    kvat_profile_free(profile);
    return status;
}

static kvat_status validate(cli_context *context, kvat_error *err) {
    kvat_profile *profile = NULL;
    json_t *json = NULL;
    if (context->args->n_words < 2)
        return kvat_fail(err, KVAT_ERR_USAGE, "FILE is missing: kvat profiles validate FILE");
    kvat_status status = kvat_json_read_file(&json, context->args->words[1], err);
    if (status == KVAT_OK) status = kvat_profile_parse(&profile, json, err);
    if (status == KVAT_OK && context->io->json) {
        status = cli_out_json(context->io,
                              json_pack("{s:s, s:b, s:o, s:I}", "format", "kvat-validate/1", "valid", 1, "name",
                                        cli_json_text(profile->name), "cells", (json_int_t)profile->n_cells),
                              err);
    } else if (status == KVAT_OK) {
        kvat_buf text = KVAT_BUF_INIT;
        kvat_buf_puts(&text, "valid: ");
        cli_put(&text, context->io, profile->name);
        kvat_buf_printf(&text, ", %zu cell%s\n", profile->n_cells, profile->n_cells == 1 ? "" : "s");
        status = cli_out_buf(context->io, &text, err);
    }
    kvat_profile_free(profile);
    json_decref(json);
    return status;
}

static kvat_status profiles(cli_context *context, kvat_error *err) {
    const char *verb = context->args->n_words ? context->args->words[0] : "list";
    if (strcmp(verb, "list") == 0) return list(context, err);
    if (strcmp(verb, "show") == 0) return show(context, err);
    if (strcmp(verb, "validate") == 0) return validate(context, err);
    return cli_unknown(err, "word", verb, verbs, CLI_COUNT(verbs) - 1);
}

const cli_command cli_cmd_profiles = {
    .name = "profiles",
    .summary = "list, show and check workloads",
    .usage = "[list | show NAME | validate FILE]",
    .examples = examples,
    .about = about,
    .arguments = arguments,
    .max_words = 2,
    .verbs = verbs,
    .completes = CLI_FILE,
    .run = profiles,
};
