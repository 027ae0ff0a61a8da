/* What is executed for a worker: kvat-spawn with its options, a launch prefix, the worker's own command. */
/* Must not know: how processes are started. */
#include "command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kvat/file.h"

#define N_SPAWN_WORDS 5 /* kvat-spawn --memory BYTES … -- and "env" */

static size_t count(const char *const *list) {
    size_t n = 0;
    while (list && list[n]) n++;
    return n;
}

static char **append(char **at, const char *const *list) {
    for (size_t i = 0; list && list[i]; i++) *at++ = (char *)list[i];
    return at;
}

static kvat_status find_spawn(char **out, kvat_error *err) {
    char *folder = NULL;
    const kvat_status status = kvat_libexec_dir(&folder, err);
    if (status != KVAT_OK) return status;
    *out = kvat_path_join(folder, "kvat-spawn");
    free(folder);
    return *out ? KVAT_OK : kvat_fail(err, KVAT_ERR_NOMEM, "no memory for a command");
}

/* A launch prefix may lead to another machine, where our environment does not go: `env` takes it there. */
static kvat_status make_argv(kvat__command *c, const kvat_worker_options *o, kvat_error *err) {
    const bool through_env = count(o->launch) > 0 && count(o->environment) > 0;
    const size_t n = count(o->launch) + count(o->environment) + count(o->command) + N_SPAWN_WORDS + 1;
    char limit[32];
    snprintf(limit, sizeof limit, "%lld", (long long)o->memory_limit_bytes);
    c->argv = calloc(n, sizeof *c->argv);
    c->owned[1] = strdup(limit);
    if (!c->argv || !c->owned[1]) return kvat_fail(err, KVAT_ERR_NOMEM, "no memory for a command");

    char **at = c->argv;
    *at++ = c->owned[0];
    if (o->memory_limit_bytes > 0) {
        *at++ = (char *)"--memory";
        *at++ = c->owned[1];
    }
    *at++ = (char *)"--";
    char **program = at;
    at = append(at, o->launch);
    if (through_env) *at++ = (char *)"env";
    if (through_env) at = append(at, o->environment);
    append(at, o->command);
    c->program = *program;
    return KVAT_OK;
}

/* Is the variable of `entry` (NAME=VALUE) also set in `list`? */
static bool overridden(const char *entry, const char *const *list) {
    const size_t n = strcspn(entry, "=") + 1;
    for (size_t i = 0; list[i]; i++)
        if (!strncmp(list[i], entry, n)) return true;
    return false;
}

static kvat_status make_env(kvat__command *c, const kvat_worker_options *o, kvat_error *err) {
    if (count(o->environment) == 0) return KVAT_OK;
    const char *const *ours = (const char *const *)environ;
    c->env = calloc(count(ours) + count(o->environment) + 1, sizeof *c->env);
    if (!c->env) return kvat_fail(err, KVAT_ERR_NOMEM, "no memory for a command");
    char **at = c->env;
    for (size_t i = 0; ours && ours[i]; i++)
        if (!overridden(ours[i], o->environment)) *at++ = (char *)ours[i];
    append(at, o->environment);
    return KVAT_OK;
}

kvat_status kvat__command_make(kvat__command *out, const kvat_worker_options *options, kvat_error *err) {
    kvat__command c = {0};
    if (count(options->command) == 0) return kvat_fail(err, KVAT_ERR_USAGE, "a worker needs a command");
    kvat_status status = find_spawn(&c.owned[0], err);
    if (status == KVAT_OK) status = make_argv(&c, options, err);
    if (status == KVAT_OK) status = make_env(&c, options, err);
    if (status == KVAT_OK) {
        *out = c;
    } else {
        kvat__command_clear(&c);
    }
    return status;
}

void kvat__command_clear(kvat__command *command) {
    free(command->argv);
    free(command->env);
    free(command->owned[0]);
    free(command->owned[1]);
    *command = (kvat__command){0};
}
