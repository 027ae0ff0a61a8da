/* Counters of a process group and of everyone else, from files.
 * Must not know what a difference means. */
#include "unit/probe/fixture.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#define TICK INT64_C(10000000)

/* A process with `user` ticks of its own and `waited` of its children. */
static void put_process(int pid, const char *name, int group, int session, int user, int waited) {
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    snprintf(text, sizeof text, "%d (%s) S 1 %d %d 0 -1 4194560 1 2 3 4 %d 1 %d 0 20 0 1 0 100 1 1\n", pid, name, group,
             session, user, waited);
    put(path, text);
}

static void put_switches(int pid, int thread, int n) {
    char path[64], text[128];
    snprintf(path, sizeof path, "/proc/%d/task/%d/status", pid, thread);
    snprintf(text, sizeof text, "Name:\tx\nvoluntary_ctxt_switches:\t900\nnonvoluntary_ctxt_switches:\t%d\n", n);
    put(path, text);
}

static void put_self(int pid) {
    char text[64];
    snprintf(text, sizeof text, "%d (kvat) R 1 %d %d\n", pid, pid, pid);
    put("/proc/self/stat", text);
}

static void put_machine(void) {
    put("/proc/stat", "cpu  100 10 20 500 7 3 2 40 50 0\ncpu0 60 10 15 200 7 3 2 30 50 0\n"
                      "cpu1 40 0 5 300 0 0 0 10 0 0\nintr 5\n");
    put("/proc/vmstat", "nr_free_pages 5\npswpin 7\npswpout 11\n");
    put_self(10);
    put_process(10, "kvat", 10, 10, 5, 2);
    put_process(20, "worker", 20, 20, 100, 0);
    put_process(21, ") R 1 99 99 (", 20, 20, 30, 0);
    put_process(22, "daemonised", 22, 20, 7, 0);
    put_process(30, "other", 30, 30, 1000, 0);
    put_switches(20, 20, 3);
    put_switches(20, 25, 4);
    put_switches(22, 22, 50);
    put_switches(30, 30, 999);
    put_switches(10, 10, 600);
}

static kvat_activity read_here(int group, bool (*allowed)(int cpu)) {
    kvat_activity a = {0};
    kvat__activity_files(&a, group, &here, allowed);
    return a;
}

static void a_group_is_its_members_and_its_session_and_us(void **state) {
    (void)state;
    put_machine();
    kvat_activity a = read_here(20, NULL);
    /* Each process has one tick of system time besides; ours has two of children it waited for. */
    assert_int_equal(a.own_cpu_ns, (5 + 1 + 2 + 100 + 1 + 30 + 1 + 7 + 1) * TICK);
    assert_int_equal(a.involuntary_switches, 57);
}

static void without_a_group_it_is_us_alone(void **state) {
    (void)state;
    put_machine();
    kvat_activity a = read_here(0, NULL);
    assert_int_equal(a.own_cpu_ns, 8 * TICK);
    assert_int_equal(a.involuntary_switches, 600);
}

static bool second_cpu(int cpu) {
    return cpu == 1;
}

static void only_processors_we_may_use_are_counted(void **state) {
    (void)state;
    put_machine();
    kvat_activity a = read_here(0, NULL);
    assert_int_equal(a.busy_cpu_ns, (100 + 10 + 20 + 3 + 2) * TICK);
    assert_int_equal(a.steal_cpu_ns, 40 * TICK);
    a = read_here(0, second_cpu);
    assert_int_equal(a.busy_cpu_ns, 45 * TICK);
    assert_int_equal(a.steal_cpu_ns, 10 * TICK);
}

static void swap_and_throttling_are_counted(void **state) {
    (void)state;
    put_machine();
    kvat_activity a = read_here(0, NULL);
    assert_int_equal(a.swapped_pages, 18);
    assert_int_equal(a.throttled, -1);
    assert_int_equal(a.quota_throttled, -1);
    put("/sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "3\n");
    put("/sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count", "4\n");
    put("/sys/devices/system/cpu/cpu12/thermal_throttle/core_throttle_count", "5\n");
    put("/sys/devices/system/cpu/cpufreq/thermal_throttle/core_throttle_count", "1000\n");
    put("/proc/self/mountinfo", "29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    put("/proc/self/cgroup", "0::/a\n");
    put("/sys/fs/cgroup/a/cpu.stat", "nr_throttled 6\n");
    a = read_here(0, NULL);
    assert_int_equal(a.throttled, 12);
    assert_int_equal(a.quota_throttled, 6);
}

static void what_cannot_be_read_is_minus_one(void **state) {
    (void)state;
    kvat_activity a = read_here(20, NULL);
    assert_int_equal(a.busy_cpu_ns, -1);
    assert_int_equal(a.steal_cpu_ns, -1);
    assert_int_equal(a.own_cpu_ns, -1);
    assert_int_equal(a.swapped_pages, -1);
    assert_int_equal(a.throttled, -1);
    assert_int_equal(a.involuntary_switches, -1);
}

static void broken_files_are_no_numbers(void **state) {
    (void)state;
    put("/proc/stat", "cpu  1 2 x\n");
    put("/proc/vmstat", "pswpin\npswpout 3\n");
    put_self(10);
    put("/proc/10/stat", "10 (kvat");
    kvat_activity a = read_here(10, NULL);
    assert_int_equal(a.busy_cpu_ns, -1);
    assert_int_equal(a.swapped_pages, -1);
    assert_int_equal(a.own_cpu_ns, 0);
}

/* Burns CPU in a group of its own until the parent has seen it. */
static pid_t start_burner(void) {
    pid_t child = fork();
    if (child == 0) {
        setpgid(0, 0);
        for (volatile unsigned i = 0;; i++) {
        }
    }
    assert_true(child > 0);
    (void)setpgid(child, child);
    return child;
}

static void the_living_group_is_seen_burning(void **state) {
    kvat_activity before, after, d;
    (void)state;
    pid_t child = start_burner();
    kvat_activity_read(&before, child);
    do {
        kvat_activity_read(&after, child);
        kvat_activity_since(&d, &before, &after);
    } while (d.own_cpu_ns >= 0 && d.own_cpu_ns < 50 * 1000 * 1000 && d.at_ns < INT64_C(60000000000));
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_true(d.own_cpu_ns >= 50 * 1000 * 1000);
    assert_true(d.busy_cpu_ns > 0 && d.at_ns > 0);
    assert_true(d.suspended_ns >= -1000000 && d.suspended_ns < 1000000000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(a_group_is_its_members_and_its_session_and_us),
        FOLDER_TEST(without_a_group_it_is_us_alone),
        FOLDER_TEST(only_processors_we_may_use_are_counted),
        FOLDER_TEST(swap_and_throttling_are_counted),
        FOLDER_TEST(what_cannot_be_read_is_minus_one),
        FOLDER_TEST(broken_files_are_no_numbers),
        cmocka_unit_test(the_living_group_is_seen_burning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
