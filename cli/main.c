// Entry point: finds the command, parses its options, runs it, and turns its status into an exit code.
// It must not know what any command does.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "kvat/units.h"

const cli_command *const cli_commands[] = {&cli_cmd_tune,   &cli_cmd_apply,      &cli_cmd_compare, &cli_cmd_verify,
                                           &cli_cmd_report, &cli_cmd_profiles,   &cli_cmd_engines, &cli_cmd_info,
                                           &cli_cmd_runs,   &cli_cmd_completion, &cli_cmd_help};
const size_t cli_n_commands = CLI_COUNT(cli_commands);

const cli_command *cli_command_find(const char *name) {
    for (size_t i = 0; i < cli_n_commands; i++)
        if (strcmp(cli_commands[i]->name, name) == 0) return cli_commands[i];
    return NULL;
}

/** A descriptor that is closed would be given to the next file opened, and talk would be written into it. */
static void open_standard_streams(void) {
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", fd == 0 ? O_RDONLY : O_WRONLY) < 0) return;
}

static kvat_status unknown_command(const char *name, kvat_error *err) {
    const char *names[32];
    size_t n = 0;
    for (; n < cli_n_commands && n < CLI_COUNT(names); n++) names[n] = cli_commands[n]->name;
    if (name[0] == '-')
        return kvat_fail(err, KVAT_ERR_USAGE, "option '%s' stands before the command; write: kvat COMMAND [options]",
                         name);
    cli_unknown(err, "command", name, names, n);
    size_t used = strlen(err->message);
    snprintf(err->message + used, sizeof err->message - used, "; kvat --help lists all");
    return KVAT_ERR_USAGE;
}

static kvat_status print_version(cli_io *io, kvat_error *err) {
    kvat_buf text = KVAT_BUF_INIT;
    kvat_buf_printf(&text, "kvat %s\n", kvat_version());
    return cli_out_buf(io, &text, err);
}

static kvat_status print_help(cli_io *io, const cli_command *command, kvat_error *err) {
    kvat_buf text = KVAT_BUF_INIT;
    size_t columns = cli_columns(&io->out);
    if (columns > 80) columns = 80;
    if (command)
        cli_help_command(&text, command, &io->out, columns);
    else
        cli_help_overview(&text, &io->out, columns);
    return cli_out_buf(io, &text, err);
}

static kvat_status no_command(const cli_io *io, kvat_error *err) {
    kvat_buf text = KVAT_BUF_INIT;
    size_t columns = cli_columns(&io->err);
    cli_help_overview(&text, &io->err, columns < 80 ? columns : 80);
    cli_err_buf(io, &text);
    return kvat_fail(err, KVAT_ERR_USAGE, "a command is missing");
}

/** Parsing stops at its first error, which may stand before --json: the error is still wanted as JSON. */
static bool asks_for_json(int argc, char **argv) {
    for (int i = 2; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--json") == 0) return true;
    return false;
}

static kvat_status run_command(cli_io *io, const cli_command *command, int argc, char **argv, kvat_error *err) {
    kvat_cancel cancel = {0};
    cli_args args;
    kvat_status status = cli_args_parse(&args, command, argc - 1, argv + 1, err);
    cli_io_set(io, &args);
    if (status != KVAT_OK) io->json |= asks_for_json(argc, argv);
    if (status == KVAT_OK && cli_has(&args, CLI_HELP)) {
        status = print_help(io, command, err);
    } else if (status == KVAT_OK) {
        cli_context context = {command, &args, io, &cancel, (const char *const *)argv};
        status = command->run(&context, err);
    }
    cli_args_clear(&args);
    return status;
}

static kvat_status dispatch(cli_io *io, int argc, char **argv, kvat_error *err) {
    const char *name = argc > 1 ? argv[1] : "";
    if (argc < 2) return no_command(io, err);
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) return print_version(io, err);
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) return print_help(io, NULL, err);
    const cli_command *command = cli_command_find(name);
    if (!command) return unknown_command(name, err);
    return run_command(io, command, argc, argv, err);
}

static void tell_error(cli_io *io, kvat_status status, const kvat_error *err, int code) {
    const char *message = *err->message ? err->message : kvat_status_word(status);
    kvat_buf text = KVAT_BUF_INIT;
    cli_put_sgr(&text, &io->err, "31", "kvat: ");
    cli_put(&text, io, message);
    kvat_buf_putc(&text, '\n');
    cli_err_buf(io, &text);
    if (!io->json || io->wrote) return;
    json_t *document = json_pack("{s:s, s:s, s:i, s:o}", "format", "kvat-error/1", "error", kvat_status_word(status),
                                 "exit_code", code, "message", cli_json_text(message));
    (void)cli_out_json(io, document, NULL);
}

static int exit_code(kvat_status status) {
    if (status == KVAT_ERR_INTERRUPTED && cli_signals_caught()) return 128 + cli_signals_caught();
    return kvat_status_exit_code(status);
}

int main(int argc, char **argv) {
    cli_io io;
    kvat_error err = KVAT_ERROR_INIT;
    open_standard_streams();
    signal(SIGPIPE, SIG_IGN); /* a reader that leaves (`| head`) is no failure: write() says EPIPE */
    cli_io_init(&io);
    kvat_status status = dispatch(&io, argc, argv, &err);
    kvat_error lost = KVAT_ERROR_INIT;
    if (io.out_errno && status != KVAT_ERR_INTERRUPTED) { /* an answer nobody got outweighs what it said */
        status = cli_out_status(&io, &lost);
        err = lost;
        io.error_shown = false;
    }
    int code = exit_code(status);
    if (status != KVAT_OK && !io.error_shown) tell_error(&io, status, &err, code);
    if (status == KVAT_OK || status == KVAT_ERR_INTERRUPTED) cli_say_next(&io);
    kvat_buf_clear(&io.next);
    return code;
}
