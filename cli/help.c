// Help texts for the terminal and as JSON, made from the tables of commands and options.
// It must not contain a word about any single command.
#include <string.h>

#include "cli.h"

const cli_topic cli_exit_codes[] = {
    {"0", "done"},
    {"1", "an error inside kvat, or no memory"},
    {"2", "usage: unknown option, command or value, contradictory request"},
    {"3", "no configuration works"},
    {"4", "a regression beyond the gate, or a plan that is no longer the best"},
    {"6", "nothing firm: the budget ended before the decision, or nothing comparable"},
    {"65", "bad input data, or the input file is missing"},
    {"69", "the engine cannot be started"},
    {"74", "reading or writing failed"},
    {"75", "another run holds the results"},
    {"129, 130, 143", "interrupted by HUP, INT or TERM; what was measured is saved"},
    {NULL, NULL},
};

const cli_topic cli_environment[] = {
    {"NO_COLOR", "when set and not empty, no colours (--color always is stronger)"},
    {"TERM", "with \"dumb\" or unset, nothing is redrawn and nothing coloured"},
    {"COLUMNS", "width to use where there is no terminal to ask (default 80)"},
    {"KVAT_LIBEXEC_DIR", "folder of the workers, instead of the one beside the program"},
    {"KVAT_DATA_DIR", "folder of engine manifests and sample prompts, likewise"},
    {"XDG_STATE_HOME", "winners are remembered below it, in kvat/winners (default: ~/.local/state)"},
    {"KVAT_CACHE_DIR", "folder of cached files, instead of $XDG_CACHE_HOME/kvat"},
    {NULL, NULL},
};

/* ---- layout ---- */

static void put_spaces(kvat_buf *out, size_t n) {
    for (size_t i = 0; i < n; i++) kvat_buf_putc(out, ' ');
}

void cli_wrap(kvat_buf *out, const char *text, size_t at, size_t indent, size_t columns) {
    bool first = true;
    for (const char *word = text; *word;) {
        size_t length = strcspn(word, " ");
        if (!first && at + 1 + length > columns) {
            kvat_buf_putc(out, '\n');
            put_spaces(out, indent);
            at = indent;
        } else if (!first) {
            kvat_buf_putc(out, ' ');
            at++;
        }
        kvat_buf_put(out, word, length);
        at += length;
        first = false;
        word += length;
        word += strspn(word, " ");
    }
}

void cli_put_wrapped(kvat_buf *out, const cli_io *io, const char *text, size_t at, size_t indent) {
    kvat_buf shown = KVAT_BUF_INIT;
    cli_put(&shown, io, text);
    if (shown.length) cli_wrap(out, shown.bytes, at, indent, cli_columns(&io->out));
    kvat_buf_putc(out, '\n');
    cli_buf_drop(out, &shown);
}

void cli_put_wrapped_buf(kvat_buf *out, const cli_io *io, kvat_buf *text, size_t at, size_t indent) {
    cli_put_wrapped(out, io, text->length ? text->bytes : "", at, indent);
    cli_buf_drop(out, text);
}

static void put_heading(kvat_buf *out, const cli_stream *stream, const char *text) {
    kvat_buf_putc(out, '\n');
    cli_put_sgr(out, stream, "1", text);
    kvat_buf_putc(out, '\n');
}

#define HELP_COLUMN ((size_t)26)

/** "  left        right, wrapped": right starts on a line of its own when left is too long or the terminal narrow. */
static void put_row(kvat_buf *out, const char *left, const char *right, size_t columns) {
    bool narrow = columns < 60;
    if (narrow) left += strspn(left, " ");
    size_t start = narrow ? 6 : HELP_COLUMN, used = 2 + strlen(left);
    kvat_buf_printf(out, "  %s", left);
    if (narrow || used + 2 > start) {
        kvat_buf_putc(out, '\n');
        used = 0;
    }
    put_spaces(out, start - used);
    cli_wrap(out, right, start, start, columns);
    kvat_buf_putc(out, '\n');
}

static void put_topics(kvat_buf *out, const cli_topic *topics, size_t columns) {
    for (; topics->name; topics++) put_row(out, topics->name, topics->help, columns);
}

/* ---- one command ---- */

static void option_left(kvat_buf *out, const cli_option *option) {
    kvat_buf_reset(out);
    if (option->letter)
        kvat_buf_printf(out, "-%c, ", option->letter);
    else
        kvat_buf_puts(out, "    ");
    kvat_buf_printf(out, "--%s", option->name);
    if (option->value) kvat_buf_printf(out, " %s", option->value);
}

typedef struct option_list {
    kvat_buf *out, left;
    const cli_stream *stream;
    size_t columns;
} option_list;

static bool list_option(void *user, const cli_option *option) {
    option_list *list = user;
    if (option->hidden) return true;
    if (option->group) put_heading(list->out, list->stream, option->group);
    option_left(&list->left, option);
    if (kvat_buf_status(&list->left, NULL) != KVAT_OK) list->out->status = list->left.status;
    if (list->left.bytes) put_row(list->out, list->left.bytes, option->help, list->columns);
    return true;
}

/** A command that goes on below ends its line as in a shell: it is no explanation, and can be pasted. */
static void put_command(kvat_buf *out, const char *command, size_t columns) {
    kvat_buf wrapped = KVAT_BUF_INIT;
    cli_wrap(&wrapped, command, 2, 4, columns - 2);
    for (const char *at = wrapped.length ? wrapped.bytes : ""; *at; at++)
        kvat_buf_puts(out, *at == '\n' ? " \\\n" : (char[]){*at, '\0'});
    cli_buf_drop(out, &wrapped);
}

static void put_examples(kvat_buf *out, const cli_example *examples, size_t columns) {
    for (; examples->command; examples++) {
        kvat_buf_puts(out, "  ");
        put_command(out, examples->command, columns);
        kvat_buf_puts(out, "\n      ");
        cli_wrap(out, examples->meaning, 6, 6, columns);
        kvat_buf_putc(out, '\n');
    }
}

void cli_help_command(kvat_buf *out, const cli_command *command, const cli_stream *stream, size_t columns) {
    kvat_buf_printf(out, "kvat %s: ", command->name);
    cli_wrap(out, command->summary, strlen(command->name) + 7, 0, columns);
    kvat_buf_putc(out, '\n');
    put_heading(out, stream, "Examples");
    put_examples(out, command->examples, columns);
    put_heading(out, stream, "Usage");
    kvat_buf_printf(out, "  kvat %s ", command->name);
    cli_wrap(out, command->usage, strlen(command->name) + 8, 6, columns);
    kvat_buf_putc(out, '\n');
    for (const char *const *paragraph = command->about; *paragraph; paragraph++) {
        kvat_buf_putc(out, '\n');
        cli_wrap(out, *paragraph, 0, 0, columns);
        kvat_buf_putc(out, '\n');
    }
    if (command->arguments) {
        put_heading(out, stream, "Arguments");
        put_topics(out, command->arguments, columns);
    }
    option_list list = {out, KVAT_BUF_INIT, stream, columns};
    cli_each_option(command, list_option, &list);
    kvat_buf_clear(&list.left);
    if (command->next) {
        kvat_buf_putc(out, '\n');
        cli_wrap(out, command->next, 0, 0, columns);
        kvat_buf_putc(out, '\n');
    }
}

/* ---- all commands ---- */

static const cli_example overview_examples[] = {
    {"kvat tune model.gguf --profile rag", "find the fastest settings for long prompts, and confirm them"},
    {"kvat tune synthetic:gpt2 --profile ci-micro", "the same without any weights, in under three minutes"},
    {"kvat apply kvat_results/best_plan.json --print-snippet", "a start script for the server"},
    {"kvat compare old/best_plan.json new/best_plan.json --gate ttft=5%", "fail a build on a real regression"},
    {"kvat verify kvat_results/best_plan.json", "is it still the best here, after an update say?"},
    {NULL, NULL},
};

void cli_help_overview(kvat_buf *out, const cli_stream *stream, size_t columns) {
    cli_wrap(out, "kvat finds the best KV-cache and attention settings of a language model by measuring.", 0, 0,
             columns);
    kvat_buf_putc(out, '\n');
    put_heading(out, stream, "Examples");
    put_examples(out, overview_examples, columns);
    put_heading(out, stream, "Usage");
    kvat_buf_puts(out, "  kvat COMMAND [options]\n");
    put_heading(out, stream, "Commands");
    for (size_t i = 0; i < cli_n_commands; i++) put_row(out, cli_commands[i]->name, cli_commands[i]->summary, columns);
    put_heading(out, stream, "Options");
    put_row(out, "-h, --help", "show this help; with a command: its own", columns);
    put_row(out, "-V, --version", "print the version", columns);
    put_heading(out, stream, "Exit codes");
    put_topics(out, cli_exit_codes, columns);
    kvat_buf_puts(out, "\nNext: kvat COMMAND --help\n");
}

/* ---- JSON ---- */

static bool add_option(void *user, const cli_option *option) {
    if (option->hidden) return true;
    char letter[2] = {option->letter, 0};
    json_t *json =
        json_pack("{s:s, s:s*, s:s*, s:s*, s:s, s:b}", "name", option->name, "letter", option->letter ? letter : NULL,
                  "alias", option->alias, "value", option->value, "help", option->help, "repeatable", option->many);
    json_t *words = option->words ? json_array() : NULL;
    for (size_t i = 0; option->words && option->words[i]; i++) cli_json_append(&words, json_string(option->words[i]));
    if (option->words && json_object_set_new(json, "words", words) != 0) {
        json_decref(json);
        json = NULL;
    }
    json_t **list = user;
    cli_json_append(list, json);
    return true;
}

static json_t *command_json(const cli_command *command) {
    json_t *options = json_array(), *examples = json_array();
    cli_each_option(command, add_option, &options);
    for (const cli_example *example = command->examples; example->command; example++)
        json_array_append_new(examples,
                              json_pack("{s:s, s:s}", "command", example->command, "meaning", example->meaning));
    return json_pack("{s:s, s:s, s:s, s:o, s:o}", "name", command->name, "summary", command->summary, "usage",
                     command->usage, "options", options, "examples", examples);
}

static json_t *exit_codes_json(void) {
    json_t *codes = json_object();
    for (const cli_topic *code = cli_exit_codes; code->name; code++) {
        if (json_object_set_new(codes, code->name, json_string(code->help)) == 0) continue;
        json_decref(codes);
        return NULL;
    }
    return codes;
}

json_t *cli_help_json(void) {
    json_t *commands = json_array();
    for (size_t i = 0; i < cli_n_commands; i++) cli_json_append(&commands, command_json(cli_commands[i]));
    return json_pack("{s:s, s:s, s:o, s:o}", "format", "kvat-help/1", "version", kvat_version(), "commands", commands,
                     "exit_codes", exit_codes_json());
}
