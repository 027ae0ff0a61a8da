// Student and normal distributions against SciPy.
// Must not know how they are computed.
#include "check.h"

#include "data/stats/reference.h"
#include "kvat/stats.h"

static void student_cdf_agrees_with_scipy(void **state) {
    (void)state;
    for (size_t i = 0; i < LENGTH(student_cdf); i++)
        assert_same(kvat_student_cdf(student_cdf[i].t, student_cdf[i].dof), student_cdf[i].p, 1e-10, 1e-300);
}

static void student_quantile_agrees_with_scipy(void **state) {
    (void)state;
    for (size_t i = 0; i < LENGTH(student_quantile); i++)
        assert_same(kvat_student_quantile(student_quantile[i].p, student_quantile[i].dof), student_quantile[i].t, 1e-8,
                    1e-12);
}

static void normal_quantile_agrees_with_scipy(void **state) {
    (void)state;
    for (size_t i = 0; i < LENGTH(normal_quantile); i++)
        assert_same(kvat_normal_quantile(normal_quantile[i].p), normal_quantile[i].z, 1e-11, 1e-14);
}

static void student_quantile_undoes_the_cdf(void **state) {
    (void)state;
    for (double dof = 1; dof < 2000; dof *= 1.7) {
        for (double p = 1e-6; p < 0.5; p *= 3)
            assert_same(kvat_student_cdf(kvat_student_quantile(p, dof), dof), p, 1e-12, 0);
    }
}

static void student_with_endless_dof_is_normal(void **state) {
    (void)state;
    assert_same(kvat_student_quantile(0.975, INFINITY), kvat_normal_quantile(0.975), 0, 0);
    assert_same(kvat_student_cdf(1.959963984540054, INFINITY), 0.975, 1e-14, 0);
    assert_same(kvat_student_cdf(-1e200, 3), 0, 0, 1e-300);
    assert_same(kvat_student_cdf(INFINITY, 3), 1, 0, 0);
}

static void invalid_arguments_give_nan(void **state) {
    (void)state;
    const double bad[] = {kvat_student_cdf(NAN, 3),      kvat_student_cdf(1, 0),      kvat_student_cdf(1, -2),
                          kvat_student_quantile(0, 3),   kvat_student_quantile(1, 3), kvat_student_quantile(0.5, 0),
                          kvat_student_quantile(NAN, 3), kvat_normal_quantile(0),     kvat_normal_quantile(1),
                          kvat_normal_quantile(-0.1),    kvat_normal_quantile(NAN)};
    for (size_t i = 0; i < LENGTH(bad); i++) assert_true(isnan(bad[i]));
}

int main(void) {
    (void)samples, (void)layouts;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(student_cdf_agrees_with_scipy),      cmocka_unit_test(student_quantile_agrees_with_scipy),
        cmocka_unit_test(normal_quantile_agrees_with_scipy),  cmocka_unit_test(student_quantile_undoes_the_cdf),
        cmocka_unit_test(student_with_endless_dof_is_normal), cmocka_unit_test(invalid_arguments_give_nan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
