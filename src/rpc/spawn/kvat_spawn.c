/* kvat-spawn: starts one worker with what cannot be set between fork and exec, and takes its whole tree down with it.
 */
/* Must not know: the protocol. It passes the standard descriptors on untouched and stands in no data path. */

/*
 * usage: kvat-spawn [--memory BYTES] [--no-cgroup] -- PROGRAM [ARGUMENT…]
 *
 * Descriptor 3, when open, is a socket to the coordinator. Lines sent on it:
 *   failed ERRNO          the program could not be executed
 *   started PID SOURCE    it runs; SOURCE says how its memory limit is enforced (may be empty)
 *   exit CODE | signal N  how it ended, followed by " oom" when its cgroup was out of memory
 * Bytes read from it: 'T' asks for TERM to the tree, 'K' for KILL. Its end, or TERM, INT or HUP to this process, kills
 * the tree.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "limit.h"
#include "tree.h"

#define CONTROL_FD    3
#define OOM_SCORE_ADJ "900" /* among the first to go when memory runs out, before the coordinator and the desktop */
#define EXIT_USAGE    2
#define EXIT_NO_EXEC  127

typedef struct supervisor {
    char **command;
    limit limit;
    pid_t worker;
    int status;
    int control, signals;
    int dying, ended;
} supervisor;

/* What the child tells before it becomes the worker. */
typedef struct child_note {
    int fell_back; /* its cgroup would not take it: RLIMIT_DATA holds instead */
    int errnum;    /* exec failed */
} child_note;

static void report(const supervisor *s, const char *text) {
    if (s->control >= 0) send(s->control, text, strlen(text), MSG_NOSIGNAL);
}

static void write_proc(const char *path, const char *text) {
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return;
    if (write(fd, text, strlen(text)) < 0) errno = 0; /* a kernel without it: nothing to do about that */
    close(fd);
}

/* No core file, and nothing of the process's memory for a core handler that pays no heed to the limit. */
static void forbid_core(void) {
    const struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    write_proc("/proc/self/coredump_filter", "0");
}

/* In the child: becomes the worker or exits. */
static void become_worker(const supervisor *s, pid_t parent, int note_fd) {
    child_note note = {0, 0};
    sigset_t none;
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(EXIT_NO_EXEC);
    write_proc("/proc/self/oom_score_adj", OOM_SCORE_ADJ);
    forbid_core();
    if (!limit_enter(&s->limit)) {
        note.fell_back = 1;
        limit_enter_rlimit(&s->limit);
    }
    if (note.fell_back && write(note_fd, &note, sizeof note) < 0) _exit(EXIT_NO_EXEC);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execvp(s->command[0], s->command);
    note.errnum = errno;
    if (write(note_fd, &note, sizeof note) < 0) note.errnum = 0;
    _exit(EXIT_NO_EXEC);
}

/* The worker alone holds the standard descriptors, so that their end is its end. */
static void let_go_of_standard_descriptors(void) {
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; null >= 0 && fd < 3; fd++) dup2(null, fd);
    if (null > 2) close(null);
}

/* Waits for exec to succeed (end of the pipe) or fail. */
static child_note await_exec(int fd) {
    child_note note = {0, 0}, next;
    for (;;) {
        const ssize_t n = read(fd, &next, sizeof next);
        if (n < 0 && errno == EINTR) continue;
        if (n != (ssize_t)sizeof next) return note;
        note = next;
    }
}

static int start(supervisor *s) {
    int notes[2];
    char line[256];
    if (pipe2(notes, O_CLOEXEC) != 0) return errno;
    const pid_t self = getpid();
    s->worker = fork();
    if (s->worker == 0) become_worker(s, self, notes[1]);
    const int fork_errno = errno;
    close(notes[1]);
    let_go_of_standard_descriptors();
    const child_note note = s->worker < 0 ? (child_note){0, fork_errno} : await_exec(notes[0]);
    close(notes[0]);
    if (note.errnum) return note.errnum;
    if (note.fell_back) {
        limit_remove(&s->limit);
        s->limit.kind = LIMIT_RLIMIT;
    }
    snprintf(line, sizeof line, "started %ld %s\n", (long)s->worker, limit_source(s->limit.kind));
    report(s, line);
    return 0;
}

static void on_reaped(void *user, pid_t pid, int status) {
    supervisor *s = user;
    if (pid != s->worker) return;
    s->status = status;
    s->ended = 1;
}

static void report_end(const supervisor *s) {
    char line[64];
    const char *oom = limit_killed(&s->limit) ? " oom" : "";
    if (WIFSIGNALED(s->status)) {
        snprintf(line, sizeof line, "signal %d%s\n", WTERMSIG(s->status), oom);
    } else {
        snprintf(line, sizeof line, "exit %d%s\n", WEXITSTATUS(s->status), oom);
    }
    report(s, line);
}

static void on_signal(supervisor *s) {
    struct signalfd_siginfo info;
    while (read(s->signals, &info, sizeof info) == (ssize_t)sizeof info)
        if (info.ssi_signo != SIGCHLD) s->dying = 1;
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) on_reaped(s, pid, status);
}

static void on_control(supervisor *s) {
    char bytes[16];
    const ssize_t n = recv(s->control, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) s->dying = 1;
    for (ssize_t i = 0; i < n; i++) {
        if (bytes[i] == 'T') tree_signal(SIGTERM, s->worker);
        if (bytes[i] == 'K') s->dying = 1;
    }
}

static void watch(supervisor *s) {
    while (!s->dying && !s->ended) {
        struct pollfd wait[2] = {{.fd = s->signals, .events = POLLIN}, {.fd = s->control, .events = POLLIN}};
        if (poll(wait, 2, -1) < 0) continue;
        if (wait[0].revents) on_signal(s);
        if (wait[1].revents) on_control(s);
    }
}

/* Options into `s`; false when they make no sense. */
static int parse(supervisor *s, int argc, char **argv) {
    long long memory = 0;
    int cgroup = 1, i = 1;
    for (; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (!strcmp(argv[i], "--no-cgroup")) {
            cgroup = 0;
        } else if (!strcmp(argv[i], "--memory") && i + 1 < argc) {
            memory = atoll(argv[++i]);
        } else {
            return 0;
        }
    }
    s->command = argv + i + 1;
    if (i + 1 >= argc || memory < 0) return 0;
    limit_make(&s->limit, memory, cgroup);
    return 1;
}

static int listen_for_signals(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int main(int argc, char **argv) {
    supervisor s = {.control = CONTROL_FD};
    struct stat info; /* started by hand, any file may be open there: only a socket is a coordinator */
    if (fcntl(CONTROL_FD, F_SETFD, FD_CLOEXEC) != 0 || fstat(CONTROL_FD, &info) != 0 || !S_ISSOCK(info.st_mode))
        s.control = -1;
    const pid_t parent = getppid();
    setsid();
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    s.signals = listen_for_signals();
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) return EXIT_NO_EXEC;
    forbid_core();
    if (!parse(&s, argc, argv)) {
        fputs("usage: kvat-spawn [--memory BYTES] [--no-cgroup] -- PROGRAM [ARGUMENT...]\n", stderr);
        return EXIT_USAGE;
    }
    const int errnum = start(&s);
    if (errnum) {
        char line[32];
        snprintf(line, sizeof line, "failed %d\n", errnum);
        report(&s, line);
    } else {
        watch(&s);
        if (s.ended) report_end(&s);
    }
    const int reported = s.ended;
    tree_kill(s.worker, on_reaped, &s);
    if (s.ended && !reported && !errnum) report_end(&s);
    limit_remove(&s.limit);
    return errnum ? EXIT_NO_EXEC : 0;
}
