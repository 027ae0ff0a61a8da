// What commands need of a folder of results: its store, and the outcome of a run in it.
// It must not print.
#include <stdlib.h>
#include <sys/stat.h>

#include "cli.h"
#include "kvat/file.h"
#include "kvat/plan.h"

const char cli_default_folder[] = "kvat_results";

bool cli_is_folder(const char *path) {
    struct stat found;
    return stat(path, &found) == 0 && S_ISDIR(found.st_mode);
}

int64_t cli_run_number(const cli_args *args) {
    return args->values[CLI_RUN].integer;
}

kvat_status cli_store_open(kvat_store **out, const char *directory, kvat_store_mode mode, kvat_error *err) {
    struct stat found;
    if (stat(directory, &found) != 0)
        return kvat_fail(err, KVAT_ERR_DATA, "%s: there is no such folder of results", directory);
    if (!S_ISDIR(found.st_mode)) return kvat_store_open(out, directory, mode, err);
    char *path = kvat_path_join(directory, "kvat.db");
    if (!path) return kvat_fail(err, KVAT_ERR_NOMEM, "out of memory");
    kvat_status status = KVAT_OK;
    if (stat(path, &found) != 0)
        status = kvat_fail(err, KVAT_ERR_DATA, "%s: no results of kvat here (there is no kvat.db)", directory);
    if (status == KVAT_OK) status = kvat_store_open(out, path, mode, err);
    free(path);
    return status;
}

kvat_status cli_outcome_open(kvat_outcome **out, const char *directory, int64_t run, kvat_error *err) {
    kvat_store *store = NULL;
    kvat_status status = cli_store_open(&store, directory, KVAT_STORE_READ, err);
    if (status == KVAT_OK) status = kvat_outcome_load(out, store, run, err);
    if (store) kvat_store_close(store);
    return status;
}

/** Not to have found out is not to have found that nothing works. */
static kvat_status no_plan(const kvat_outcome *outcome, const char *directory, kvat_error *err) {
    if (outcome->decision == KVAT_DECISION_UNDECIDED)
        return kvat_fail(err, KVAT_ERR_PARTIAL, "%s: this run has no plan: %s", directory, outcome->why);
    return kvat_fail(err, KVAT_ERR_INFEASIBLE, "%s: this run found no configuration that works", directory);
}

static kvat_status plan_of_store(json_t **out, const char *directory, int64_t run, kvat_error *err) {
    kvat_outcome *outcome = NULL;
    kvat_status status = cli_outcome_open(&outcome, directory, run, err);
    if (status == KVAT_OK && outcome->winner == SIZE_MAX) status = no_plan(outcome, directory, err);
    if (status == KVAT_OK) status = kvat_plan_make(out, outcome, outcome->winner, err);
    kvat_outcome_free(outcome);
    return status;
}

kvat_status cli_plan_open(json_t **out, const char *path, int64_t run, kvat_error *err) {
    struct stat found;
    if (!cli_is_folder(path)) return kvat_plan_read(out, path, err);
    char *file = kvat_path_join(path, "best_plan.json");
    if (!file) return kvat_fail(err, KVAT_ERR_NOMEM, "out of memory");
    bool there = run == 0 && stat(file, &found) == 0;
    kvat_status status = there ? kvat_plan_read(out, file, err) : plan_of_store(out, path, run, err);
    free(file);
    return status;
}
