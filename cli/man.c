// The manual page kvat(1), made from the same tables as --help so that the two cannot differ.
// It must not contain a word about any single command.
#include <string.h>

#include "cli.h"

/** Text as roff prints it: no escape, no request, hyphens that can be copied. */
static void put_roff(kvat_buf *out, const char *text) {
    if (*text == '.' || *text == '\'') kvat_buf_puts(out, "\\&");
    for (; *text; text++) {
        if (*text == '\\')
            kvat_buf_puts(out, "\\e");
        else if (*text == '-')
            kvat_buf_puts(out, "\\-");
        else
            kvat_buf_putc(out, *text);
    }
}

static void put_line(kvat_buf *out, const char *request, const char *text) {
    kvat_buf_puts(out, request);
    put_roff(out, text);
    kvat_buf_putc(out, '\n');
}

static void put_topics(kvat_buf *out, const cli_topic *topics) {
    for (; topics->name; topics++) {
        put_line(out, ".TP\n.B ", topics->name);
        put_line(out, "", topics->help);
    }
}

static bool put_option(void *user, const cli_option *option) {
    kvat_buf *out = user;
    if (option->hidden) return true;
    kvat_buf_puts(out, ".TP\n");
    if (option->letter) kvat_buf_printf(out, "\\fB\\-%c\\fR, ", option->letter);
    kvat_buf_puts(out, "\\fB\\-\\-");
    put_roff(out, option->name);
    kvat_buf_puts(out, "\\fR");
    if (option->value) {
        kvat_buf_puts(out, " \\fI");
        put_roff(out, option->value);
        kvat_buf_puts(out, "\\fR");
    }
    kvat_buf_putc(out, '\n');
    put_line(out, "", option->help);
    return true;
}

static void put_command(kvat_buf *out, const cli_command *command) {
    kvat_buf_printf(out, ".SS \"kvat %s ", command->name);
    put_roff(out, command->usage);
    kvat_buf_puts(out, "\"\n");
    put_line(out, "", command->summary);
    for (const char *const *paragraph = command->about; *paragraph; paragraph++) put_line(out, ".PP\n", *paragraph);
    if (command->arguments) put_topics(out, command->arguments);
    for (size_t i = 0; i < command->n_options; i++) put_option(out, &command->options[i]);
    kvat_buf_puts(out, ".PP\nExamples:\n");
    for (const cli_example *example = command->examples; example->command; example++) {
        put_line(out, ".TP\n.B ", example->command);
        put_line(out, "", example->meaning);
    }
}

void cli_man_page(kvat_buf *out) {
    kvat_buf_printf(out, ".TH KVAT 1 \"\" \"kvat %s\" \"User Commands\"\n.SH NAME\n", kvat_version());
    kvat_buf_puts(out, "kvat \\- find the best KV\\-cache settings of a language model by measuring\n");
    kvat_buf_puts(out, ".SH SYNOPSIS\n.B kvat\n.I COMMAND\n[options]\n.br\n.B kvat \\-\\-version\n.SH DESCRIPTION\n");
    kvat_buf_puts(out,
                  "kvat measures configurations of an inference engine on one machine for one workload, decides with "
                  "stated confidence which is best, confirms it against the engine's default, and writes a plan that "
                  "can be used as it is.\n");
    kvat_buf_puts(out, "Data goes to standard output, everything else to standard error.\n.SH COMMANDS\n");
    for (size_t i = 0; i < cli_n_commands; i++) put_command(out, cli_commands[i]);
    kvat_buf_puts(out, ".SH COMMON OPTIONS\n");
    for (size_t i = 0; i < cli_n_common_options; i++) put_option(out, &cli_common_options[i]);
    kvat_buf_puts(out, ".SH EXIT STATUS\n");
    put_topics(out, cli_exit_codes);
    kvat_buf_puts(out, ".SH ENVIRONMENT\n");
    put_topics(out, cli_environment);
}
