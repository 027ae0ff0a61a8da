/* The spread of repeated work: robust, and measured for the time asked.
 * Must not depend on how quiet the machine is. */
#include "unit/probe/fixture.h"

#include <math.h>

#include "fail_alloc.h"
#include "kvat/units.h"

static void equal_durations_have_no_spread(void **state) {
    double d[] = {5, 5, 5, 5}, sd = -1, worst = -1;
    (void)state;
    kvat__spread(&sd, &worst, d, 4);
    assert_true(sd == 0 && worst == 0);
    kvat__spread(&sd, &worst, (double[]){7}, 1);
    assert_true(sd == 0 && worst == 0);
}

/* ln x is −0.1, 0, 0.1 around the median, each as often: the median deviation is 0.1. */
static void the_spread_is_of_logarithms_and_ignores_outliers(void **state) {
    double d[31], sd, worst;
    (void)state;
    for (int i = 0; i < 30; i++) d[i] = 100 * exp(0.1 * (i % 3 - 1));
    d[30] = 1e9;
    kvat__spread(&sd, &worst, d, 31);
    assert_true(fabs(sd - 0.1482602218505602) < 1e-9);
    assert_true(fabs(worst - (exp(0.1) - 1)) < 1e-9);
}

static void the_worst_is_the_95th_percentile(void **state) {
    double d[101], sd, worst;
    (void)state;
    for (int i = 0; i <= 100; i++) d[100 - i] = 100 + i;
    kvat__spread(&sd, &worst, d, 101);
    assert_true(fabs(worst - (195.0 / 150.0 - 1)) < 1e-12);
}

static void a_probe_takes_about_the_time_asked(void **state) {
    const int64_t asked = 200 * KVAT_NS_PER_MS;
    kvat_noise noise = {.samples = -1};
    kvat_error err = KVAT_ERROR_INIT;
    (void)state;
    int64_t start = kvat_now_ns();
    if (kvat_probe_noise(&noise, asked, &err) != KVAT_OK) fail_msg("%s", err.message);
    int64_t took = kvat_now_ns() - start;
    /* Never less; how much more depends on the load, so the bound is only against hanging on. */
    assert_true(took >= asked && took < 100 * asked);
    assert_true(noise.samples >= 2);
    assert_true(noise.cpu_ratio >= 0 && noise.memory_ratio >= 0 && noise.worst_ratio >= 0);
    assert_true(noise.load_average >= 0);
    assert_true(noise.foreign_cpu_ratio >= 0 && noise.foreign_cpu_ratio <= 1);
}

static void no_time_is_a_usage_error(void **state) {
    kvat_noise noise = {.samples = -1};
    kvat_error err = KVAT_ERROR_INIT;
    (void)state;
    assert_int_equal(kvat_probe_noise(&noise, 0, &err), KVAT_ERR_USAGE);
    assert_int_equal(noise.samples, -1);
}

static kvat_status try_probe(void *context, kvat_error *err) {
    (void)context;
    kvat_noise noise;
    return kvat_probe_noise(&noise, KVAT_NS_PER_MS, err);
}

static void probing_survives_every_failing_allocation(void **state) {
    (void)state;
    assert_true(fail_alloc_each(try_probe, NULL) > 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_durations_have_no_spread),
        cmocka_unit_test(the_spread_is_of_logarithms_and_ignores_outliers),
        cmocka_unit_test(the_worst_is_the_95th_percentile),
        cmocka_unit_test(a_probe_takes_about_the_time_asked),
        cmocka_unit_test(no_time_is_a_usage_error),
        cmocka_unit_test(probing_survives_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
