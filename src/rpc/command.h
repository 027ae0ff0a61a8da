/* What is executed for a worker: kvat-spawn with its options, a launch prefix, the worker's own command. */
/* Must not know: how processes are started. */
#ifndef KVAT_RPC_COMMAND_H
#define KVAT_RPC_COMMAND_H

#include "kvat/worker.h"

typedef struct kvat__command {
    char **argv;         /* owned array; strings borrowed but for those in `owned` */
    char **env;          /* owned array of borrowed strings; NULL: ours */
    const char *program; /* what kvat-spawn executes, for messages; borrowed */
    char *owned[2];
} kvat__command;

/* Borrows the strings of `options` and of the environment. */
kvat_status kvat__command_make(kvat__command *out, const kvat_worker_options *options, kvat_error *err);
void kvat__command_clear(kvat__command *command);

#endif
