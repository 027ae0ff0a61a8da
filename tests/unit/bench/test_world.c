// The worlds of bench/search are what their kinds say.
// Must not know how they are searched.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "world.h"

static const size_t SPACES[] = {24, 480, 1440, 4800};
enum { N_SPACES = 4, SEEDS = 3 };

typedef void check(const world *w);

static void each_world(world_kind kind, check *one) {
    for (size_t s = 0; s < N_SPACES; s++) {
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            world w;
            assert_true(world_init(&w, SPACES[s], kind, seed));
            assert_int_equal(w.n_configs, SPACES[s]);
            assert_true(world_grid_s(&w) > 0);
            one(&w);
            world_clear(&w);
        }
    }
}

static size_t count_best(const world *w) {
    size_t n = 0;
    for (size_t k = 0; k < w->n_configs; k++) n += w->score[k] == w->score[w->best];
    return n;
}

static size_t count_failing(const world *w) {
    size_t n = 0;
    for (size_t k = 0; k < w->n_configs; k++) n += w->fails[k] > 0;
    return n;
}

static size_t count_slow(const world *w) {
    size_t n = 0;
    for (size_t k = 0; k < w->n_configs; k++) n += w->ln_ttft[k] > log(2.);
    return n;
}

static void check_default(const world *w) {
    assert_true(w->works);
    assert_true(w->fails[0] == 0);
    assert_int_equal(w->configs[0].preference, 0);
    assert_float_equal(w->ln_ttft[0], 0, 1e-12);
    assert_float_equal(w->score[0], 0, 1e-12);
    for (size_t k = 1; k < w->n_configs; k++) assert_int_equal(world_config_of(w, w->configs[k].levels) == k, 1);
}

static void check_inert(const world *w) {
    check_default(w);
    size_t inert = 0;
    for (size_t i = 0; i < w->n_knobs; i++) {
        bool matters = false;
        for (size_t k = 0; k < w->n_configs; k++) {
            uint16_t levels[8];
            for (size_t j = 0; j < w->n_knobs; j++) levels[j] = world__level(w, j == i ? 0 : k, j);
            const size_t twin = world_config_of(w, levels);
            matters = matters || w->score[k] != w->score[twin] || w->ln_decode_short[k] != w->ln_decode_short[twin];
        }
        inert += !matters;
    }
    assert_in_range(inert, 1, w->n_knobs - 1);
}

static void check_ties(const world *w) {
    check_default(w);
    assert_true(count_best(w) > 1 || w->best == 0);
}

static void check_cliffs(const world *w) {
    check_default(w);
    assert_true(count_slow(w) > 0);
}

static void check_infeasible(const world *w) {
    check_default(w);
    assert_in_range(count_failing(w), 1, w->n_configs - 1);
}

static void check_broken(const world *w) {
    assert_false(w->works);
    assert_int_equal(count_failing(w), w->n_configs);
}

static void in_plain_worlds_the_default_works(void **state) {
    (void)state;
    each_world(WORLD_PLAIN, check_default);
    each_world(WORLD_HARD, check_default);
}

static void an_inert_knob_changes_nothing(void **state) {
    (void)state;
    each_world(WORLD_INERT, check_inert);
}

static void ties_are_exact(void **state) {
    (void)state;
    each_world(WORLD_TIES, check_ties);
}

static void cliffs_are_steep(void **state) {
    (void)state;
    each_world(WORLD_CLIFFS, check_cliffs);
}

static void some_do_not_work_but_the_default_does(void **state) {
    (void)state;
    each_world(WORLD_INFEASIBLE, check_infeasible);
}

static void nothing_works_where_all_is_broken(void **state) {
    (void)state;
    each_world(WORLD_BROKEN, check_broken);
}

static void a_surface_becomes_a_world(void **state) {
    (void)state;
    world w;
    assert_true(world_read(&w, KVAT_SOURCE_DIR "/examples/surfaces/example.json", 3));
    assert_int_equal(w.n_configs, 24);
    assert_int_equal(w.n_knobs, 3);
    assert_float_equal(w.score[0], 0, 1e-12);
    assert_true(w.score[w.best] > 0);
    world_clear(&w);
    assert_false(world_read(&w, KVAT_SOURCE_DIR "/examples/profile.json", 3));
}

static void the_same_seed_and_repeat_give_the_same_run(void **state) {
    (void)state;
    world a, b;
    assert_true(world_init(&a, 24, WORLD_PLAIN, 5) && world_init(&b, 24, WORLD_PLAIN, 5));
    for (noise_kind kind = 0; kind < ENV_COUNT; kind++) {
        if (kind == ENV_TRACE) continue; // of a file
        assert_true(world_start(&a, kind, NULL, 5, 1) && world_start(&b, kind, NULL, 5, 1));
        for (size_t k = 0; k < 5; k++) {
            const world_run x = world_measure(&a, k), y = world_measure(&b, k);
            assert_true(x.score == y.score && x.cost_s == y.cost_s);
        }
        world_stop(&a);
        world_stop(&b);
    }
    world_clear(&a);
    world_clear(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_plain_worlds_the_default_works),
        cmocka_unit_test(an_inert_knob_changes_nothing),
        cmocka_unit_test(ties_are_exact),
        cmocka_unit_test(cliffs_are_steep),
        cmocka_unit_test(some_do_not_work_but_the_default_does),
        cmocka_unit_test(nothing_works_where_all_is_broken),
        cmocka_unit_test(a_surface_becomes_a_world),
        cmocka_unit_test(the_same_seed_and_repeat_give_the_same_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
