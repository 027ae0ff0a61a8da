// The kernels over knobs: hand values, and what is left of knobs that do not vary.
// Must not know what the model does with them.
#include "drive.h"
#include "model.h"

static const uint16_t GRID[][3] = {{0, 0, 7}, {0, 1, 7}, {1, 0, 7}, {1, 1, 7}, {2, 0, 7}, {2, 1, 7}};
static const kvat_search_knob ORDERED[] = {{3, true, 1}, {2, true, 3}, {0, false, 0}};
static const kvat_search_knob NAMES[] = {{3, false, 1}, {2, false, 3}, {0, false, 0}};

static void space_of(model_space *space, machine *m, const kvat_search_knob *knobs) {
    machine_init(m, LENGTH(GRID), 0);
    for (size_t i = 0; i < LENGTH(GRID); i++) m->configs[i].levels = GRID[i];
    m->options.n_knobs = 3;
    m->options.knobs = knobs;
    assert_int_equal(kvat__model_space_init(space, &m->options, NULL), KVAT_OK);
}

static void assert_kernel(const model_knob *knob, const double *expected) {
    for (size_t i = 0; i < knob->n_levels * knob->n_levels; i++) {
        if (fabs(knob->kappa[i] - expected[i]) > 1e-12) fail_msg("entry %zu: %.15g", i, knob->kappa[i]);
    }
}

static void names_are_equally_unlike(void **state) {
    (void)state;
    machine m;
    model_space space;
    space_of(&space, &m, NAMES);
    assert_kernel(&space.knobs[0], (const double[]){1, -.5, -.5, -.5, 1, -.5, -.5, -.5, 1});
    assert_kernel(&space.knobs[1], (const double[]){1, -1, -1, 1});
    kvat__model_space_clear(&space);
}

static void neighbours_in_order_are_more_alike(void **state) {
    (void)state;
    machine m;
    model_space space;
    space_of(&space, &m, ORDERED);
    // exp(−|a − b| / 1.4), centred, scaled: worked out apart
    const double far = -0.7805764809921242, near = -0.3597117595039382, end = -far - near, middle = -2 * near;
    const double expected[] = {end, near, far, near, middle, near, far, near, end};
    assert_kernel(&space.knobs[0], expected);
    assert_kernel(&space.knobs[1], (const double[]){1, -1, -1, 1}); // two levels have no order to speak of
    kvat__model_space_clear(&space);
}

static void a_knob_that_never_varies_is_left_out(void **state) {
    (void)state;
    machine m;
    model_space space;
    space_of(&space, &m, NAMES);
    assert_int_equal(space.n_knobs, 2);
    assert_int_equal(space.n_components, 4);
    kvat__model_space_clear(&space);
}

static void a_pair_is_the_product_of_its_knobs(void **state) {
    (void)state;
    machine m;
    model_space space;
    space_of(&space, &m, NAMES);
    double of_others[4], of_itself[4], sum;
    kvat__model_components(of_others, 1, &space, 0, 3); // both knobs differ
    kvat__model_components(of_itself, 1, &space, 3, 3);
    const double expected[] = {-.5, -1, .5, 0}, itself[] = {1, 1, 1, 1}, v[] = {2, 3, 5, 7};
    for (size_t i = 0; i < 4; i++) {
        assert_true(fabs(of_others[i] - expected[i]) < 1e-12);
        assert_true(fabs(of_itself[i] - itself[i]) < 1e-12);
    }
    const double *const set = v;
    kvat__model_covariance(&sum, &space, &set, 1, 0, 3);
    assert_true(fabs(sum - (-1 - 3 + 2.5)) < 1e-12);
    kvat__model_covariance(&sum, &space, &set, 1, 3, 3);
    assert_true(fabs(sum - 17) < 1e-12);
    kvat__model_space_clear(&space);
}

static void distance_is_the_costliest_knob_changed(void **state) {
    (void)state;
    machine m;
    model_space space;
    space_of(&space, &m, NAMES);
    assert_int_equal(kvat__model_distance(&space, 0, 0), 0);
    assert_int_equal(kvat__model_distance(&space, 0, 2), 1);
    assert_int_equal(kvat__model_distance(&space, 0, 3), 3);
    kvat__model_space_clear(&space);
}

static void a_level_beyond_what_was_told_is_refused(void **state) {
    (void)state;
    machine m;
    static const kvat_search_knob too_few[] = {{2, false, 1}, {2, false, 1}, {0, false, 0}};
    machine_init(&m, LENGTH(GRID), 0);
    for (size_t i = 0; i < LENGTH(GRID); i++) m.configs[i].levels = GRID[i];
    m.options.n_knobs = 3;
    m.options.knobs = too_few;
    m.options.method = "model";
    kvat_search *search = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    assert_int_equal(kvat_search_new(&search, &m.options, &err), KVAT_ERR_USAGE);
    assert_null(search);
    assert_non_null(strstr(err.message, "level 2 of 2"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_equally_unlike),
        cmocka_unit_test(neighbours_in_order_are_more_alike),
        cmocka_unit_test(a_knob_that_never_varies_is_left_out),
        cmocka_unit_test(a_pair_is_the_product_of_its_knobs),
        cmocka_unit_test(distance_is_the_costliest_knob_changed),
        cmocka_unit_test(a_level_beyond_what_was_told_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
