// kvat completion and kvat help: texts made from the tables.
// It must not know how they are made.
#include <string.h>

#include "cli.h"
#include "kvat/profile.h"

static const cli_example completion_examples[] = {
    {"source <(kvat completion bash)", "complete in this shell"},
    {"kvat completion zsh > ~/.zfunc/_kvat", "for zsh, in a folder of $fpath"},
    {"kvat completion fish > ~/.config/fish/completions/kvat.fish", "for fish"},
    {NULL, NULL},
};
static const char *const completion_about[] = {"Prints a completion script for bash, zsh or fish.", NULL};
static const cli_topic completion_arguments[] = {{"SHELL", "bash, zsh or fish"}, {NULL, NULL}};
static const char *const word_lists[] = {"engines", "profiles", NULL};
static const cli_option completion_options[] = {
    {.id = CLI_WORDS,
     .name = "words",
     .kind = CLI_WORD,
     .value = "LIST",
     .words = word_lists,
     .hidden = true,
     .help = "print a list of names, for the scripts"},
};

static void put_profile_names(kvat_buf *out) {
    for (size_t i = 0; i < kvat_profile_builtin_count(); i++)
        kvat_buf_printf(out, "%s\n", kvat_profile_builtin_name(i));
}

static kvat_status put_engine_names(kvat_buf *out, kvat_error *err) {
    kvat_engine **engines = NULL;
    kvat_status status = kvat_engines_list(&engines, err);
    for (size_t i = 0; status == KVAT_OK && engines[i]; i++) kvat_buf_printf(out, "%s\n", engines[i]->name);
    kvat_engines_free(engines);
    return status;
}

static kvat_status list_words(cli_context *context, const char *list, kvat_error *err) {
    kvat_buf text = KVAT_BUF_INIT;
    kvat_status status = KVAT_OK;
    if (strcmp(list, "engines") == 0)
        status = put_engine_names(&text, err);
    else
        put_profile_names(&text);
    return cli_out_made(context->io, status, &text, err);
}

static kvat_status completion(cli_context *context, kvat_error *err) {
    const char *shell = context->args->n_words ? context->args->words[0] : NULL;
    kvat_buf text = KVAT_BUF_INIT;
    if (cli_has(context->args, CLI_WORDS)) return list_words(context, cli_text(context->args, CLI_WORDS), err);
    if (!shell) return kvat_fail(err, KVAT_ERR_USAGE, "SHELL is missing: bash, zsh or fish");
    kvat_status status = cli_completion_put(&text, shell, err);
    if (status != KVAT_OK || !context->io->json) return cli_out_made(context->io, status, &text, err);
    status = cli_out_json(
        context->io, json_pack("{s:s, s:s, s:s}", "format", "kvat-completion/1", "shell", shell, "script", text.bytes),
        err);
    kvat_buf_clear(&text);
    return status;
}

const cli_command cli_cmd_completion = {
    .name = "completion",
    .summary = "print a completion script for a shell",
    .usage = "SHELL",
    .examples = completion_examples,
    .about = completion_about,
    .arguments = completion_arguments,
    .options = completion_options,
    .n_options = CLI_COUNT(completion_options),
    .max_words = 1,
    .verbs = cli_shells,
    .completes = CLI_TEXT,
    .run = completion,
};

/* ---- help ---- */

static const cli_example help_examples[] = {
    {"kvat help tune", "the same as kvat tune --help"},
    {"kvat help --json", "every command and option, for programs"},
    {NULL, NULL},
};
static const char *const help_about[] = {"Shows what kvat can do, or the help of one command.", NULL};
static const cli_topic help_arguments[] = {{"COMMAND", "the command to explain"}, {NULL, NULL}};
static const cli_option help_options[] = {
    {.id = CLI_MAN, .name = "man", .hidden = true, .help = "print the manual page"},
};

static kvat_status unknown_topic(const char *name, kvat_error *err) {
    const char *names[32];
    size_t n = 0;
    for (; n < cli_n_commands && n < CLI_COUNT(names); n++) names[n] = cli_commands[n]->name;
    return cli_unknown(err, "command", name, names, n);
}

static kvat_status help(cli_context *context, kvat_error *err) {
    const char *name = context->args->n_words ? context->args->words[0] : NULL;
    const cli_command *command = name ? cli_command_find(name) : NULL;
    const cli_stream *stream = &context->io->out;
    size_t columns = cli_columns(stream) < 80 ? cli_columns(stream) : 80;
    kvat_buf text = KVAT_BUF_INIT;
    if (name && !command) return unknown_topic(name, err);
    if (context->io->json) return cli_out_json(context->io, cli_help_json(), err);
    if (cli_has(context->args, CLI_MAN))
        cli_man_page(&text);
    else if (command)
        cli_help_command(&text, command, stream, columns);
    else
        cli_help_overview(&text, stream, columns);
    return cli_out_buf(context->io, &text, err);
}

const cli_command cli_cmd_help = {
    .name = "help",
    .summary = "show help, of a command or of all",
    .usage = "[COMMAND]",
    .examples = help_examples,
    .about = help_about,
    .arguments = help_arguments,
    .options = help_options,
    .n_options = CLI_COUNT(help_options),
    .max_words = 1,
    .completes = CLI_TEXT,
    .run = help,
};
