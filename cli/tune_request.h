// A tune request made of the command line, with everything it owns.
// It must not know how tuning works.
#ifndef KVAT_CLI_TUNE_REQUEST_H
#define KVAT_CLI_TUNE_REQUEST_H

#include "cli.h"

typedef struct cli_tune_request {
    kvat_tune_request request; /* borrows from the rest */
    kvat_setting *set, *sweep;
    char **pieces; /* the names of settings, NULL-terminated */
    const char **launch;
    char *prompts;
    char *device_setting;
} cli_tune_request;

kvat_status cli_tune_request_make(cli_tune_request *out, const cli_context *context, kvat_error *err);
/** What the command that made a plan says of the model, of settings fixed for all and of prompts; `args` is that
 * command parsed, and lives as long. Prompts that are not here any more are left out. */
kvat_status cli_tune_request_recall(cli_tune_request *out, const cli_context *context, const cli_args *args,
                                    kvat_error *err);
/** Its --launch, split into words. */
kvat_status cli_tune_request_launch(cli_tune_request *made, const cli_args *args, kvat_error *err);
/** The options that cli_permit() reads, for a command's table. */
// clang-format off
#define CLI_PERMISSIONS                                                                                                \
    {.id = CLI_ALLOW_NETWORK,                                                                                          \
     .name = "allow-network",                                                                                          \
     .help = "let the engine fetch the model from its hub (default: nothing leaves or enters the machine)"},           \
    {.id = CLI_TRUST_REMOTE_CODE,                                                                                      \
     .name = "trust-remote-code",                                                                                      \
     .help = "let the engine run code that comes with the model: read it before"}
// clang-format on
/** Tells workers, by their environment, what the command line allows: --allow-network, --trust-remote-code. What a
 * stored command allowed does not count: a plan may come from anywhere. */
void cli_permit(const cli_args *args);
void cli_tune_request_clear(cli_tune_request *made);

#endif
