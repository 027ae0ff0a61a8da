/* A coordinator killed with -9 at any moment of its worker's life: two seconds later nobody is left. */
/* Must not know: what the moments are. */
#include "worker_kit.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MARK_NAME "KVAT_TEST_MARK"
#define ROUNDS    60
#define STEP_NS   1100000 /* from one round's moment to the next: over starting, talking and ending */

static bool holds(const char *bytes, size_t n, const char *word) {
    return memmem(bytes, n, word, strlen(word) + 1) != NULL; /* with its NUL: 1-1 is not 1-10 */
}

/* Living processes whose environment holds the mark. */
static size_t count_marked(const char *mark) {
    DIR *folder = opendir("/proc");
    size_t found = 0;
    assert_non_null(folder);
    for (const struct dirent *item; (item = readdir(folder));) {
        static char environment[262144];
        char path[300];
        const long pid = atol(item->d_name);
        if (pid <= 0 || pid == getpid()) continue;
        snprintf(path, sizeof path, "/proc/%ld/environ", pid);
        const int fd = open(path, O_RDONLY | O_CLOEXEC);
        const ssize_t n = fd >= 0 ? read(fd, environment, sizeof environment) : -1;
        if (fd >= 0) close(fd);
        if (n > 0 && holds(environment, (size_t)n, mark) && !process_gone(pid)) found++;
    }
    closedir(folder);
    return found;
}

/* Starts, uses and ends workers that have grandchildren, for ever. */
static void coordinate(int round) {
    const char *command[] = {MISBEHAVE, "--mode", "grandchildren", "--at", "prepare", NULL};
    const kvat_worker_options options = {.command = command, .memory_limit_bytes = round % 2 ? INT64_C(1) << 34 : 0};
    for (;;) {
        kvat_worker *worker = NULL;
        if (kvat_worker_spawn(&worker, &options, NULL) != KVAT_OK) _exit(1);
        static const char *const methods[] = {"initialize", "describe", "load", "prepare", "run", "run"};
        for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
            kvat_call call = {0};
            if (kvat_worker_call(&call, worker, methods[i], NULL, 20 * KVAT_NS_PER_S, NULL) != KVAT_OK) _exit(1);
            kvat_call_clear(&call);
        }
        if (round % 3)
            kvat_worker_kill(worker);
        else
            kvat_worker_free(worker);
    }
}

/* How many are left when none is seen several times running, or at the deadline. Within exec() a process shows no
 * environment for a moment, so that one look that finds nobody says little. */
static size_t left_after(const char *mark, int64_t wait_ns) {
    const int64_t deadline = kvat_now_ns() + wait_ns;
    size_t left = 1;
    for (int empty = 0; empty < 4 && kvat_now_ns() < deadline; poll(NULL, 0, 5)) {
        left = count_marked(mark);
        empty = left > 0 ? 0 : empty + 1;
    }
    return left;
}

static void nobody_outlives_a_coordinator_killed_at_any_moment(void **state) {
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        char value[64], mark[96];
        snprintf(value, sizeof value, "%ld-%d", (long)getpid(), round);
        snprintf(mark, sizeof mark, MARK_NAME "=%s", value);
        const pid_t coordinator = fork();
        if (coordinator == 0) {
            setenv(MARK_NAME, value, 1);
            coordinate(round);
        }
        const struct timespec wait = {0, (long)round * STEP_NS};
        nanosleep(&wait, NULL);
        kill(coordinator, SIGKILL);
        int status = 0;
        assert_int_equal(waitpid(coordinator, &status, 0), coordinator);
        assert_true(WIFSIGNALED(status));
        const size_t left = left_after(mark, 2 * KVAT_NS_PER_S);
        if (left > 0) fail_msg("round %d: %zu processes left", round, left);
    }
}

/* The supervisor itself killed: the worker goes with it, and the call says so. */
static void a_killed_supervisor_takes_its_worker_with_it(void **state) {
    (void)state;
    const char *command[] = {MISBEHAVE, "--mode", "none", NULL};
    kvat_worker *worker = NULL;
    assert_int_equal(kvat_worker_spawn(&worker, &(kvat_worker_options){.command = command}, NULL), KVAT_OK);
    const long pid = kvat_worker_pid(worker);
    char path[64], line[256] = "";
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof line, file));
    fclose(file);
    const long supervisor = atol(strrchr(line, ')') + 4);
    assert_true(supervisor > 1 && supervisor != getpid());
    kill((pid_t)supervisor, SIGKILL);
    assert_true(process_goes(pid, 2 * KVAT_NS_PER_S));
    kvat_call call = {0};
    assert_int_equal(kvat_worker_call(&call, worker, "run", NULL, 20 * KVAT_NS_PER_S, NULL), KVAT_OK);
    assert_int_equal(call.outcome, KVAT_CALL_DIED);
    assert_non_null(strstr(call.detail, "supervisor"));
    kvat_call_clear(&call);
    kvat_worker_free(worker);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_outlives_a_coordinator_killed_at_any_moment),
        cmocka_unit_test(a_killed_supervisor_takes_its_worker_with_it),
    };
    return cmocka_run_group_tests(tests, use_built_programs, NULL);
}
