// One stored run with every trial as JSON, written as it is read.
// It must not hold the run in memory: there may be 100,000 trials.
#ifndef KVAT_CLI_RUNS_EXPORT_H
#define KVAT_CLI_RUNS_EXPORT_H

#include "cli.h"

/** Writes a "kvat-export/1" to stdout. */
kvat_status cli_export_run(cli_io *io, kvat_store *store, int64_t run, kvat_error *err);
/** Writes a recording to stdout, and says how it is played. */
kvat_status cli_export_surface(cli_io *io, kvat_store *store, int64_t run, kvat_error *err);

#endif
