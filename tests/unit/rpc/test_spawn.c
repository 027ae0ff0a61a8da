/* What kvat-spawn sets for the program it starts, seen from inside. */
/* Must not know: the coordinator. */
#include "worker_kit.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#define SPAWN KVAT_TEST_BUILD "/libexec/kvat/kvat-spawn"

/* Standard output of a shell script under kvat-spawn (static). */
static const char *output_of(const char *options, const char *script, int *status) {
    static char text[4096];
    char command[1024];
    snprintf(command, sizeof command, "%s %s -- /bin/sh -c '%s'", SPAWN, options, script);
    FILE *pipe = popen(command, "re");
    assert_non_null(pipe);
    const size_t n = fread(text, 1, sizeof text - 1, pipe);
    text[n] = '\0';
    *status = pclose(pipe);
    return text;
}

static void a_program_runs_in_a_group_of_its_own_without_core_files(void **state) {
    (void)state;
    static const struct {
        const char *script, *output;
    } cases[] = {
        {"ulimit -c", "0\n"},
        {"ulimit -Hc", "0\n"},
        {"cat /proc/self/coredump_filter", "00000000\n"},
        {"cat /proc/$$/oom_score_adj", "900\n"},
        {"test $(cut -d\" \" -f5 /proc/$$/stat) = $$ && echo leader", "leader\n"},
        {"sleep 0.1; echo undisturbed", "undisturbed\n"}, /* whatever else is open as descriptor 3 */
    };
    const int other = open("/dev/null", O_RDONLY);
    assert_true(other >= 0 && dup2(other, 3) == 3);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int status;
        const char *output = output_of("", cases[i].script, &status);
        assert_string_equal(output, cases[i].output);
        assert_int_equal(status, 0);
    }
    if (other != 3) close(other);
    close(3);
}

static void without_cgroups_the_limit_is_on_data(void **state) {
    (void)state;
    int status;
    assert_string_equal(output_of("--memory 51200000 --no-cgroup", "ulimit -d", &status), "50000\n");
    assert_string_equal(output_of("--no-cgroup", "ulimit -d", &status), "unlimited\n");
}

static void a_cgroup_is_removed_when_its_program_is_gone(void **state) {
    (void)state;
    int status;
    char path[4096], folder[4200];
    snprintf(path, sizeof path, "%s",
             output_of("--memory 1000000000", "grep -h -o \"/.*kvat-[0-9]*$\" /proc/self/cgroup", &status));
    path[strcspn(path, "\n")] = '\0';
    if (!path[0]) { /* none may be made here */
        assert_string_equal(output_of("--memory 51200000", "ulimit -d", &status), "50000\n");
        return;
    }
    static const char *const mounts[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified"};
    for (size_t i = 0; i < sizeof mounts / sizeof *mounts; i++) {
        snprintf(folder, sizeof folder, "%s%s", mounts[i], path);
        assert_int_equal(access(folder, F_OK), -1);
    }
}

static void nonsense_is_refused(void **state) {
    (void)state;
    static const char *const commands[] = {SPAWN, SPAWN " --", SPAWN " --frobnicate -- true", SPAWN " --memory",
                                           SPAWN " true"};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        char command[512];
        snprintf(command, sizeof command, "%s 2>/dev/null", commands[i]);
        const int status = system(command);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 2);
    }
}

/* A descendant in a session of its own dies when kvat-spawn is told to end, and when its program ends. */
static void the_tree_goes_on_term_and_with_the_program(void **state) {
    (void)state;
    for (int by_term = 0; by_term < 2; by_term++) {
        int ends[2];
        char text[256] = "";
        assert_int_equal(pipe(ends), 0);
        const pid_t pid = fork();
        if (pid == 0) {
            dup2(ends[1], 1);
            execl(SPAWN, SPAWN, "--", "/bin/sh", "-c",
                  by_term ? "trap \"\" TERM; setsid sh -c \"echo pid $$; echo pid \\$\\$; exec sleep 1000\" & wait"
                          : "trap \"exit 0\" USR1; setsid sh -c \"echo pid $$; echo pid \\$\\$; kill -USR1 $$; exec "
                            "sleep 1000\" & "
                            "wait",
                  NULL);
            _exit(1);
        }
        close(ends[1]);
        size_t used = 0;
        long pids[2] = {0, 0};
        while (numbers_after(pids, 2, text, "pid ") < 2 || text[used - 1] != '\n') {
            const ssize_t n = read(ends[0], text + used, sizeof text - 1 - used);
            assert_true(n > 0);
            used += (size_t)n;
        }
        close(ends[0]);
        if (by_term) kill(pid, SIGTERM);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        assert_true(process_gone(pids[0]));
        assert_true(process_gone(pids[1]));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_program_runs_in_a_group_of_its_own_without_core_files),
        cmocka_unit_test(without_cgroups_the_limit_is_on_data),
        cmocka_unit_test(a_cgroup_is_removed_when_its_program_is_gone),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(the_tree_goes_on_term_and_with_the_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
