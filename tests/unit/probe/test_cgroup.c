/* Limits of control groups, both versions, through every enclosing group.
 * Must not know the machine it runs on. */
#include "unit/probe/fixture.h"

static const char mounts_v1[] =
    "25 1 0:22 / /sys/fs/cgroup ro,nosuid shared:1 - tmpfs tmpfs ro,mode=755\n"
    "30 25 0:30 / /sys/fs/cgroup/memory rw,nosuid shared:2 master:1 - cgroup cgroup rw,memory\n"
    "31 25 0:31 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "32 25 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
static const char groups_v1[] = "12:memory:/a/b\n7:cpu,cpuacct:/a\n1:name=systemd:/a/b\n0::/x\n";
static const char mounts_v2[] = "29 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";

static kvat__limits limits(void) {
    kvat__limits l;
    kvat__limits_read(&l, &here);
    return l;
}

static void without_groups_there_is_no_limit(void **state) {
    (void)state;
    kvat__limits l = limits();
    assert_int_equal(l.memory_bytes, INT64_MAX);
    assert_int_equal(l.headroom_bytes, INT64_MAX);
    assert_true(l.cpu_quota == 0);
    assert_int_equal(kvat__quota_throttled(&here), -1);
}

static void version_1_takes_the_least_of_all_enclosing_groups(void **state) {
    (void)state;
    put("/proc/self/mountinfo", mounts_v1);
    put("/proc/self/cgroup", groups_v1);
    put("/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "8000\n");
    put("/sys/fs/cgroup/memory/a/b/memory.usage_in_bytes", "3000\n");
    put("/sys/fs/cgroup/memory/a/b/memory.stat", "cache 1\ninactive_file 7\ntotal_inactive_file 1000\n");
    put("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "6000\n");
    put("/sys/fs/cgroup/memory/a/memory.usage_in_bytes", "5500\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "250000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/a/cpu.stat", "nr_periods 10\nnr_throttled 4\nthrottled_time 9\n");
    put("/sys/fs/cgroup/cpu,cpuacct/cpu.stat", "nr_periods 0\nnr_throttled 1\n");
    kvat__limits l = limits();
    assert_int_equal(l.memory_bytes, 6000);
    assert_int_equal(l.headroom_bytes, 500);
    assert_true(l.cpu_quota == 2.5);
    assert_int_equal(kvat__quota_throttled(&here), 5);
}

static void version_2_takes_the_least_of_all_enclosing_groups(void **state) {
    (void)state;
    put("/proc/self/mountinfo", mounts_v2);
    put("/proc/self/cgroup", "0::/user.slice/kvat\n");
    put("/sys/fs/cgroup/user.slice/kvat/memory.max", "max\n");
    put("/sys/fs/cgroup/user.slice/memory.max", "5000\n");
    put("/sys/fs/cgroup/user.slice/memory.current", "4000\n");
    put("/sys/fs/cgroup/user.slice/memory.stat", "anon 1\ninactive_file 1500\nfile 9\n");
    put("/sys/fs/cgroup/user.slice/kvat/cpu.max", "150000 100000\n");
    put("/sys/fs/cgroup/user.slice/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/user.slice/kvat/cpu.stat", "usage_usec 1\nnr_throttled 3\n");
    kvat__limits l = limits();
    assert_int_equal(l.memory_bytes, 5000);
    assert_int_equal(l.headroom_bytes, 2500);
    assert_true(l.cpu_quota == 1.5);
    assert_int_equal(kvat__quota_throttled(&here), 3);
}

static void a_group_over_its_limit_has_no_headroom(void **state) {
    (void)state;
    put("/proc/self/mountinfo", mounts_v2);
    put("/proc/self/cgroup", "0::/\n");
    put("/sys/fs/cgroup/memory.max", "5000\n");
    put("/sys/fs/cgroup/memory.current", "6000\n");
    assert_int_equal(limits().headroom_bytes, 0);
}

/* In a container the group's path is the host's, and only a part of the hierarchy is mounted. */
static void a_container_sees_its_own_limit(void **state) {
    (void)state;
    put("/proc/self/mountinfo", "40 30 0:30 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
    put("/proc/self/cgroup", "4:memory:/docker/abc/inner\n");
    put("/sys/fs/cgroup/memory/inner/memory.limit_in_bytes", "70\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "60\n");
    assert_int_equal(limits().memory_bytes, 60);
    put("/proc/self/cgroup", "4:memory:/docker/abcdef\n");
    assert_int_equal(limits().memory_bytes, 60);
    put("/proc/self/cgroup", "4:memory:/../outside\n");
    assert_int_equal(limits().memory_bytes, 60);
}

/* The same in version 2, where a container of its own namespace is at "/" or, seen from outside it, above that. */
static void a_container_of_version_2_sees_its_own_limit(void **state) {
    static const struct {
        const char *root, *group;
        int64_t limit;
    } cases[] = {
        {"/docker/abc", "0::/docker/abc/inner\n", 60},
        {"/docker/abc", "0::/docker/abc\n", 80},
        {"/docker/abc", "0::/docker/abcdef\n", 80},
        {"/", "0::/inner\n", 60},
        {"/", "0::/\n", 80},
        {"/", "0::/../outside\n", 80},
        {"/../..", "0::/\n", 80},
    };
    (void)state;
    put("/sys/fs/cgroup/memory.max", "80\n");
    put("/sys/fs/cgroup/memory.current", "10\n");
    put("/sys/fs/cgroup/inner/memory.max", "60\n");
    put("/sys/fs/cgroup/inner/memory.current", "10\n");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char mounts[128];
        snprintf(mounts, sizeof mounts, "29 23 0:26 %s /sys/fs/cgroup ro - cgroup2 cgroup rw\n", cases[i].root);
        put("/proc/self/mountinfo", mounts);
        put("/proc/self/cgroup", cases[i].group);
        assert_int_equal(limits().memory_bytes, cases[i].limit);
        assert_int_equal(limits().headroom_bytes, cases[i].limit - 10);
    }
}

/* systemd's hybrid layout: each controller is in one of the two versions. */
static void a_controller_is_looked_for_in_both_versions(void **state) {
    (void)state;
    put("/proc/self/mountinfo", "31 25 0:31 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
                                "32 25 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
    put("/proc/self/cgroup", "7:cpu,cpuacct:/a\n0::/b/c\n");
    put("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "50000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/unified/b/c/memory.max", "9000\n");
    put("/sys/fs/cgroup/unified/b/memory.max", "7000\n");
    put("/sys/fs/cgroup/unified/b/memory.current", "1000\n");
    kvat__limits l = limits();
    assert_true(l.cpu_quota == 0.5);
    assert_int_equal(l.memory_bytes, 7000);
    assert_int_equal(l.headroom_bytes, 6000);
}

static void nonsense_is_no_limit(void **state) {
    static const char *const lines[] = {"", "\n", "4:memory\n", ":::", "4:mem,memoryx:/a\n", "0::\n", "max"};
    (void)state;
    put("/proc/self/mountinfo",
        "x\n\n1 2 3\n1 2 0:3 / /nowhere rw - cgroup\n30 25 0:30 / /m rw - cgroup c rw,memory\n");
    put("/m/memory.limit_in_bytes", "-5\n");
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        put("/proc/self/cgroup", lines[i]);
        kvat__limits l = limits();
        assert_int_equal(l.memory_bytes, INT64_MAX);
        assert_true(l.cpu_quota == 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(without_groups_there_is_no_limit),
        FOLDER_TEST(version_1_takes_the_least_of_all_enclosing_groups),
        FOLDER_TEST(version_2_takes_the_least_of_all_enclosing_groups),
        FOLDER_TEST(a_group_over_its_limit_has_no_headroom),
        FOLDER_TEST(a_container_sees_its_own_limit),
        FOLDER_TEST(a_container_of_version_2_sees_its_own_limit),
        FOLDER_TEST(a_controller_is_looked_for_in_both_versions),
        FOLDER_TEST(nonsense_is_no_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
