/* Devices by a library that may be there, be old, or find no driver.
 * Must not need a device. */
#include "unit/probe/fixture.h"

#define FAKE KVAT_TEST_BUILD "/tests/shims/libkvat_fake_nvml.so"

static void without_the_library_there_is_a_note(void **state) {
    kvat_machine m = {.n_gpus = 5};
    (void)state;
    kvat__gpus_read(&m, "libno-such-nvml.so.1");
    assert_int_equal(m.n_gpus, 0);
    assert_string_equal(m.gpu_note, "NVML not found");
}

static void a_library_without_its_functions_is_too_old(void **state) {
    kvat_machine m = {0};
    (void)state;
    kvat__gpus_read(&m, "libm.so.6");
    assert_int_equal(m.n_gpus, 0);
    assert_string_equal(m.gpu_note, "NVML is too old");
}

static void devices_that_answer_are_listed(void **state) {
    kvat_machine m = {0};
    (void)state;
    kvat__gpus_read(&m, FAKE);
    assert_string_equal(m.gpu_note, "");
    assert_int_equal(m.n_gpus, 1);
    assert_string_equal(m.gpus[0].name, "Fake 0");
    assert_string_equal(m.gpus[0].driver, "550.1");
    assert_int_equal(m.gpus[0].memory_bytes, INT64_C(80) << 30);
}

static void a_library_without_a_driver_is_told_apart(void **state) {
    kvat_machine m = {0};
    (void)state;
    assert_int_equal(setenv("FAKE_NVML_NO_DRIVER", "1", 1), 0);
    kvat__gpus_read(&m, FAKE);
    assert_int_equal(unsetenv("FAKE_NVML_NO_DRIVER"), 0);
    assert_int_equal(m.n_gpus, 0);
    assert_string_equal(m.gpu_note, "NVML is there but finds no driver");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_the_library_there_is_a_note),
        cmocka_unit_test(a_library_without_its_functions_is_too_old),
        cmocka_unit_test(devices_that_answer_are_listed),
        cmocka_unit_test(a_library_without_a_driver_is_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
