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
void cli_tune_request_clear(cli_tune_request *made);

#endif
