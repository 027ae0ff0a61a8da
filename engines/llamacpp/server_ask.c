// Runs the llama-server on PATH with one argument at a time and hears what it says.
// Must not know: what the answers mean.
#include "server_ask.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kvat/units.h"

/* ---- finding ---- */

static bool may_run(const char *path) {
    struct stat file;
    return stat(path, &file) == 0 && S_ISREG(file.st_mode) && access(path, X_OK) == 0;
}

/* Relative folders are passed over: nobody asked for a program of the folder they happen to be in to be run. */
bool kvat_server_find(char *out, size_t room, const char *search) {
    for (const char *at = search; at; at = strchr(at, ':'), at = at ? at + 1 : NULL) {
        int n = snprintf(out, room, "%.*s/llama-server", (int)strcspn(at, ":"), at);
        if (*at == '/' && n > 0 && (size_t)n < room && may_run(out)) return true;
    }
    return false;
}

/* ---- starting ---- */

static bool is_left_out(const char *entry) {
    static const char *const beginnings[] = {"LLAMA_", "XDG_CONFIG_HOME=", "LD_TRACE_LOADED_OBJECTS="};
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++)
        if (strncmp(entry, beginnings[i], strlen(beginnings[i])) == 0) return true;
    return false;
}

/* The environment without what sets options of the server, and without the user's configuration file; what decides
 * which libraries and devices it finds stays. NULL without memory; the entries are borrowed. */
static char **environment_for(kvat_server_question question) {
    static char no_configuration[] = "XDG_CONFIG_HOME=/dev/null", only_list[] = "LD_TRACE_LOADED_OBJECTS=1";
    size_t n = 0, kept = 0;
    while (environ && environ[n]) n++;
    char **list = calloc(n + 3, sizeof *list);
    if (!list) return NULL;
    for (size_t i = 0; i < n; i++)
        if (!is_left_out(environ[i])) list[kept++] = environ[i];
    list[kept++] = no_configuration;
    if (question == KVAT_SERVER_LIBRARIES) list[kept] = only_list;
    return list;
}

/* Nothing is inherited but the end of the pipe: not the protocol, not ignored signals, not the process group. */
static int set_up(posix_spawn_file_actions_t *files, posix_spawnattr_t *how, int out_fd) {
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    int failed = posix_spawn_file_actions_addopen(files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (!failed) failed = posix_spawn_file_actions_adddup2(files, out_fd, STDOUT_FILENO);
    if (!failed) failed = posix_spawn_file_actions_adddup2(files, out_fd, STDERR_FILENO);
    if (!failed) failed = posix_spawn_file_actions_addclosefrom_np(files, STDERR_FILENO + 1);
    if (!failed)
        failed = posix_spawnattr_setflags(how, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    if (!failed) failed = posix_spawnattr_setsigdefault(how, &all);
    if (!failed) failed = posix_spawnattr_setsigmask(how, &none);
    return failed;
}

static int spawn_with(pid_t *pid, const char *path, char *const *argv, char *const *environment,
                      posix_spawn_file_actions_t *files, int out_fd) {
    posix_spawnattr_t how;
    int failed = posix_spawnattr_init(&how);
    if (failed) return failed;
    failed = set_up(files, &how, out_fd);
    if (!failed) failed = posix_spawn(pid, path, files, &how, argv, environment);
    posix_spawnattr_destroy(&how);
    return failed;
}

static int start(pid_t *pid, const char *path, kvat_server_question question, int out_fd) {
    static char version[] = "--version", devices[] = "--list-devices", name[] = "llama-server";
    char *const argv[] = {name, question == KVAT_SERVER_DEVICES ? devices : version, NULL};
    posix_spawn_file_actions_t files;
    char **environment = environment_for(question);
    if (!environment) return ENOMEM;
    int failed = posix_spawn_file_actions_init(&files);
    if (!failed) {
        failed = spawn_with(pid, path, argv, environment, &files, out_fd);
        posix_spawn_file_actions_destroy(&files);
    }
    free(environment);
    return failed;
}

/* ---- hearing ---- */

static int milliseconds_to(int64_t deadline_ns) {
    int64_t left = deadline_ns - kvat_now_ns();
    return left <= 0 ? 0 : left / KVAT_NS_PER_MS >= 60000 ? 60000 : (int)(left / KVAT_NS_PER_MS) + 1;
}

/* Reads to the end; false when that did not come in time, or too much came. */
static bool hear(kvat_buf *out, char why[KVAT_SERVER_WHY], int fd, int64_t deadline_ns) {
    size_t heard = 0;
    for (;;) {
        char part[4096];
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        int ready = poll(&wait, 1, milliseconds_to(deadline_ns));
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) {
            snprintf(why, KVAT_SERVER_WHY, "it did not answer in time");
            return false;
        }
        ssize_t n = read(fd, part, sizeof part);
        if (n == 0) return true;
        if (n < 0 && errno == EINTR) continue;
        heard += n > 0 ? (size_t)n : 0;
        if (n < 0 || heard > KVAT_SERVER_BYTES) {
            snprintf(why, KVAT_SERVER_WHY, n < 0 ? "it could not be heard" : "it said far too much");
            return false;
        }
        kvat_buf_put(out, part, (size_t)n);
    }
}

/* Closing its output is not yet ending. The process stays a zombie, so that its group can still be named. */
static bool await(char why[KVAT_SERVER_WHY], pid_t pid, int64_t deadline_ns) {
    for (;;) {
        siginfo_t info = {0};
        if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid) return true;
        if (milliseconds_to(deadline_ns) == 0) break;
        poll(NULL, 0, 1);
    }
    snprintf(why, KVAT_SERVER_WHY, "it did not end in time");
    return false;
}

/* Ends it and what it left in its group, and says how it ended. */
static bool reap(char why[KVAT_SERVER_WHY], pid_t pid) {
    int status = 0;
    kill(-pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
    if (WIFEXITED(status))
        snprintf(why, KVAT_SERVER_WHY, "it ended with exit status %d", WEXITSTATUS(status));
    else
        snprintf(why, KVAT_SERVER_WHY, "it was ended by signal %d", WTERMSIG(status));
    return false;
}

bool kvat_server_ask(kvat_buf *out, char why[KVAT_SERVER_WHY], const char *path, kvat_server_question question,
                     int64_t deadline_ns) {
    int ends[2];
    pid_t pid;
    if (pipe2(ends, O_CLOEXEC) != 0) {
        snprintf(why, KVAT_SERVER_WHY, "there is no pipe to hear it");
        return false;
    }
    int failed = start(&pid, path, question, ends[1]);
    close(ends[1]);
    bool well = !failed && hear(out, why, ends[0], deadline_ns) && await(why, pid, deadline_ns);
    close(ends[0]);
    if (failed) {
        snprintf(why, KVAT_SERVER_WHY, "it could not be started: %s", strerror(failed));
        return false;
    }
    char ignored[KVAT_SERVER_WHY];
    bool ended_well = reap(well ? why : ignored, pid);
    if (!well || !ended_well) return false;
    if (kvat_buf_status(out, NULL) == KVAT_OK) return true;
    snprintf(why, KVAT_SERVER_WHY, "there is no memory for its answer");
    return false;
}
