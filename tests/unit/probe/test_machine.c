/* The fingerprint: read from files, equal for equal machines, without anything personal.
 * Must not know the machine it runs on. */
#include "unit/probe/fixture.h"

#include <jansson.h>

#include "fail_alloc.h"

static void features_are_named_as_people_know_them(void **state) {
    static const struct {
        const char *flags, *shown;
    } cases[] = {
        {"", ""},
        {"fpu sse sse2", ""},
        {"fpu avx avx2 fma f16c", "AVX F16C FMA AVX2"},
        {"avx512f avx512_bf16 amx_tile", "AVX512 AVX512-BF16 AMX"},
        {"avx512fx xavx avx2", "AVX2"},
        {"fp asimd asimddp i8mm bf16 sve sve2", "NEON DOTPROD I8MM BF16 SVE SVE2"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char shown[256];
        kvat__cpu_features(shown, sizeof shown, cases[i].flags);
        assert_string_equal(shown, cases[i].shown);
    }
}

static void too_many_features_are_cut_between_words(void **state) {
    char shown[10];
    (void)state;
    kvat__cpu_features(shown, sizeof shown, "avx fma avx2");
    assert_string_equal(shown, "AVX FMA");
}

static const char cpuinfo_x86[] = "processor\t: 0\nvendor_id\t: V\nmodel\t\t: 2\nmodel name\t: Some CPU  @ 2.6GHz\n"
                                  "flags\t\t: fpu avx2 hypervisor\n\nprocessor\t: 1\nmodel name\t: Other\n";

static kvat_machine read_here(void) {
    kvat_machine m = {0};
    kvat__machine_read(&m, &here);
    return m;
}

static void a_machine_is_read_from_its_files(void **state) {
    (void)state;
    put("/proc/cpuinfo", cpuinfo_x86);
    put("/proc/meminfo", "MemTotal:       1000 kB\nMemFree: 5 kB\nMemAvailable:    700 kB\nSwapTotal:  300 kB\n");
    put("/etc/os-release", "ID=x\nPRETTY_NAME=\"Some Linux 12\"\n");
    put("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n");
    kvat_machine m = read_here();
    assert_string_equal(m.cpu_model, "Some CPU  @ 2.6GHz");
    assert_string_equal(m.cpu_features, "AVX2");
    assert_string_equal(m.governor, "performance");
    assert_true(m.virtual_machine);
    assert_int_equal(m.memory_bytes, 1024000);
    assert_int_equal(m.memory_limit_bytes, 1024000);
    assert_int_equal(m.memory_available_bytes, 716800);
    assert_int_equal(m.swap_bytes, 307200);
    assert_non_null(strstr(m.os, ", Some Linux 12"));
}

static void memory_is_what_the_control_group_leaves(void **state) {
    (void)state;
    put("/proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 700 kB\n");
    put("/proc/self/mountinfo", "29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    put("/proc/self/cgroup", "0::/\n");
    put("/sys/fs/cgroup/memory.max", "512000\n");
    put("/sys/fs/cgroup/memory.current", "112000\n");
    kvat_machine m = read_here();
    assert_int_equal(m.memory_bytes, 1024000);
    assert_int_equal(m.memory_limit_bytes, 512000);
    assert_int_equal(m.memory_available_bytes, 400000);
}

static void an_arm_machine_is_read_too(void **state) {
    (void)state;
    put("/proc/cpuinfo", "processor\t: 0\nFeatures\t: fp asimd sve\n\nModel\t\t: Some Board\n");
    kvat_machine m = read_here();
    assert_string_equal(m.cpu_model, "Some Board");
    assert_string_equal(m.cpu_features, "NEON SVE");
    assert_false(m.virtual_machine);
}

static void what_cannot_be_read_is_absent(void **state) {
    (void)state;
    kvat_machine m = read_here();
    assert_string_equal(m.cpu_model, "");
    assert_string_equal(m.governor, "");
    assert_int_equal(m.memory_bytes, 0);
    assert_int_equal(m.memory_available_bytes, 0);
}

static void equal_machines_give_equal_json_whatever_their_state(void **state) {
    json_t *a = NULL, *b = NULL;
    (void)state;
    kvat_machine m = {.cpu_model = "c", .cores = 2, .memory_bytes = INT64_C(24) << 30, .n_gpus = 1};
    snprintf(m.gpus[0].name, sizeof m.gpus[0].name, "g");
    assert_int_equal(kvat_machine_json(&a, &m, NULL), KVAT_OK);
    m.memory_available_bytes = 5;
    m.memory_bytes -= 4096;
    assert_int_equal(kvat_machine_json(&b, &m, NULL), KVAT_OK);
    assert_true(json_equal(a, b));
    assert_string_equal(json_string_value(json_object_get(json_array_get(json_object_get(a, "gpus"), 0), "name")), "g");
    json_decref(b);
    m.cores = 4;
    assert_int_equal(kvat_machine_json(&b, &m, NULL), KVAT_OK);
    assert_false(json_equal(a, b));
    json_decref(a);
    json_decref(b);
}

static kvat_status try_json(void *context, kvat_error *err) {
    json_t *json = NULL;
    kvat_status status = kvat_machine_json(&json, context, err);
    json_decref(json);
    return status;
}

static void describing_survives_every_failing_allocation(void **state) {
    kvat_machine m = {.cpu_model = "c", .n_gpus = 2};
    (void)state;
    json_set_alloc_funcs(malloc, free);
    assert_true(fail_alloc_each(try_json, &m) > 10);
}

static kvat_status try_probe(void *context, kvat_error *err) {
    const kvat_machine *known = context;
    kvat_machine m;
    kvat_status status = kvat_probe_machine(&m, err);
    if (status != KVAT_OK) return status;
    assert_int_equal(m.memory_bytes, known->memory_bytes);
    assert_int_equal(m.memory_limit_bytes, known->memory_limit_bytes);
    assert_string_equal(m.cpu_model, known->cpu_model);
    return status;
}

static void memory_that_runs_out_is_no_file_that_is_missing(void **state) {
    kvat_machine m;
    (void)state;
    assert_int_equal(kvat_probe_machine(&m, NULL), KVAT_OK);
    assert_true(fail_alloc_each(try_probe, &m) > 5);
}

static void this_machine_can_be_probed(void **state) {
    char host[256] = "";
    json_t *json = NULL;
    kvat_machine m;
    kvat_error err = KVAT_ERROR_INIT;
    (void)state;
    if (kvat_probe_machine(&m, &err) != KVAT_OK) fail_msg("%s", err.message);
    assert_true(m.packages >= 1 && m.cores >= m.packages && m.threads >= m.cores && m.numa_nodes >= 1);
    assert_true(m.threads <= sysconf(_SC_NPROCESSORS_ONLN));
    assert_true(m.memory_bytes > 0 && m.memory_limit_bytes <= m.memory_bytes);
    assert_true(m.memory_available_bytes > 0 && m.memory_available_bytes <= m.memory_limit_bytes);
    assert_true(m.n_gpus > 0 || m.gpu_note[0] != '\0');
    assert_int_equal(kvat_machine_json(&json, &m, &err), KVAT_OK);
    char *text = json_dumps(json, 0);
    assert_int_equal(gethostname(host, sizeof host - 1), 0);
    if (strlen(host) > 3) assert_null(strstr(text, host));
    free(text);
    json_decref(json);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(features_are_named_as_people_know_them),
        cmocka_unit_test(too_many_features_are_cut_between_words),
        FOLDER_TEST(a_machine_is_read_from_its_files),
        FOLDER_TEST(memory_is_what_the_control_group_leaves),
        FOLDER_TEST(an_arm_machine_is_read_too),
        FOLDER_TEST(what_cannot_be_read_is_absent),
        cmocka_unit_test(equal_machines_give_equal_json_whatever_their_state),
        cmocka_unit_test(describing_survives_every_failing_allocation),
        cmocka_unit_test(memory_that_runs_out_is_no_file_that_is_missing),
        cmocka_unit_test(this_machine_can_be_probed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
