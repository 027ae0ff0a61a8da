/* The answers beside the winner: best per cell, least loss in the worst cell, Pareto front, from runs of known truth.
 * Must not know how runs are fitted. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "fail_alloc.h"
#include "kvat/cells.h"

enum { CELLS = 2, MOST = 200 };

/* What a configuration gains in each cell, and what memory it takes, all as logarithms. */
typedef struct truth {
    double ttft, decode, memory;
    double tilt; /* of speed, up in the first cell and down in the last */
} truth;

typedef struct bench {
    kvat_outcome *outcome;
    kvat_cell_runs runs;
    truth truth[MOST];
    kvat_rng rng;
    int64_t clock_ns;
    double noise;
} bench;

static void *zeroed(size_t n, size_t size) {
    void *made = calloc(n, size);
    if (!made) abort();
    return made;
}

static kvat_profile *profile_of(size_t n_cells) {
    kvat_profile *p = zeroed(1, sizeof *p);
    p->name = strdup("test");
    p->cells = zeroed(n_cells, sizeof *p->cells);
    p->n_cells = n_cells;
    for (size_t c = 0; c < n_cells; c++) p->cells[c] = (kvat_cell){128 << c, 32, 1, 1.0 / (double)n_cells};
    p->weight_ttft = 0.5;
    p->weight_decode = 0.35;
    p->weight_memory = 0.15;
    return p;
}

/* Every configuration works, may win, and ranks by its number; 0 is the default, `winner` the workload's. */
static void begin(bench *b, size_t n_configs, size_t n_cells, size_t winner) {
    memset(b, 0, sizeof *b);
    kvat_rng_seed(&b->rng, 11);
    b->noise = 0.002;
    b->outcome = zeroed(1, sizeof *b->outcome);
    b->outcome->profile = profile_of(n_cells);
    b->outcome->entries = zeroed(n_configs, sizeof *b->outcome->entries);
    b->outcome->n_entries = n_configs;
    b->outcome->winner = winner;
    b->outcome->delta = 0.01;
    for (size_t i = 0; i < n_configs; i++) {
        kvat_entry *entry = &b->outcome->entries[i];
        *entry = (kvat_entry){.config = i, .rank = i + 1, .eligible = true};
        entry->label = strdup("some");
        entry->settings = json_object();
        entry->cells = zeroed(n_cells, sizeof *entry->cells);
    }
}

static void end(bench *b) {
    kvat_cell_runs_clear(&b->runs);
    kvat_outcome_free(b->outcome);
}

static kvat_status add_run(bench *b, size_t config, kvat_error *err) {
    const size_t n = b->outcome->profile->n_cells;
    const truth *t = &b->truth[config];
    kvat_sample samples[8];
    for (size_t c = 0; c < n; c++) {
        const double tilt = n > 1 ? t->tilt * (1 - 2 * (double)c / (double)(n - 1)) : 0;
        const double speed = tilt + b->noise * kvat_rng_normal(&b->rng);
        samples[c] = (kvat_sample){.cell = c,
                                   .ttft_ns = (int64_t)(5e8 * exp(t->ttft - speed)),
                                   .decode_tok_per_s = 40 * exp(t->decode + speed)};
    }
    b->clock_ns += 1000000000;
    const kvat_cell_run run = {.config = config,
                               .elapsed_ns = b->clock_ns,
                               .cost_ns = 1000000000,
                               .samples = samples,
                               .n_samples = n,
                               .peak_bytes = (int64_t)(1e9 * exp(t->memory))};
    return kvat_cell_runs_add(&b->runs, b->outcome->profile, &run, err);
}

static void measure(bench *b, size_t times) {
    kvat_error err = KVAT_ERROR_INIT;
    for (size_t i = 0; i < times; i++)
        for (size_t config = 0; config < b->outcome->n_entries; config++)
            if (add_run(b, (config + i) % b->outcome->n_entries, &err) != KVAT_OK) fail_msg("%s", err.message);
}

static void judge(bench *b) {
    kvat_error err = KVAT_ERROR_INIT;
    if (kvat_cells_judge(b->outcome, &b->runs, 5, &err) != KVAT_OK) fail_msg("%s", err.message);
}

static json_t *json_of(const bench *b) {
    json_t *object = json_object();
    assert_int_equal(kvat_cells_json_add(object, b->outcome, NULL), KVAT_OK);
    return object;
}

static void nothing_is_said(const bench *b) {
    const kvat_outcome *o = b->outcome;
    assert_int_equal(o->winner_by_cell_n, o->profile->n_cells);
    for (size_t c = 0; c < o->winner_by_cell_n; c++) assert_true(o->winner_by_cell[c] == SIZE_MAX);
    assert_true(o->smallest_worst_loss == SIZE_MAX);
    assert_int_equal(o->n_front, 0);
    for (size_t i = 0; i < o->n_entries; i++) {
        const kvat_entry *entry = &o->entries[i];
        assert_true(isnan(entry->p_least) && isnan(entry->p_front) && isnan(entry->worst_loss.value));
        assert_true(isnan(entry->cells[0].p_good) && isnan(entry->cells[0].loss.value));
    }
    json_t *json = json_of(b);
    assert_int_equal(json_array_size(json_object_get(json, "pareto_front")), 0);
    json_decref(json);
}

/* ---- what there is to compare ---- */

static void without_runs_nothing_is_said(void **state) {
    (void)state;
    bench b;
    begin(&b, 3, CELLS, SIZE_MAX);
    judge(&b);
    nothing_is_said(&b);
    end(&b);
}

static void of_configurations_that_are_out_nothing_is_said(void **state) {
    (void)state;
    bench b;
    begin(&b, 2, CELLS, SIZE_MAX);
    measure(&b, 3); /* clean runs, but failures since */
    b.outcome->entries[0].rank = b.outcome->entries[1].rank = 0;
    judge(&b);
    nothing_is_said(&b);
    end(&b);
}

static void one_configuration_is_the_best_of_itself(void **state) {
    (void)state;
    bench b;
    begin(&b, 1, CELLS, 0);
    measure(&b, 3);
    judge(&b);
    const kvat_entry *entry = &b.outcome->entries[0];
    assert_int_equal(b.outcome->winner_by_cell[1], 0);
    assert_int_equal(b.outcome->smallest_worst_loss, 0);
    assert_int_equal(b.outcome->n_front, 1);
    assert_true(entry->cells[0].p_good == 1 && entry->p_least == 1 && entry->p_front == 1);
    assert_true(entry->cells[0].loss.value == 0 && entry->worst_loss.high == 0);
    end(&b);
}

static void one_cell_is_the_workload(void **state) {
    (void)state;
    bench b;
    begin(&b, 3, 1, 2);
    b.truth[2].ttft = -0.1;
    measure(&b, 3);
    judge(&b);
    assert_int_equal(b.outcome->winner_by_cell[0], 2);
    assert_int_equal(b.outcome->smallest_worst_loss, 2);
    json_t *json = json_of(&b);
    assert_null(json_object_get(json, "by_cell"));
    assert_null(json_object_get(json, "worst_case"));
    assert_int_equal(json_array_size(json_object_get(json, "pareto_front")), 1);
    json_decref(json);
    end(&b);
}

static void configurations_that_ran_once_are_compared_without_chances(void **state) {
    (void)state;
    bench b;
    begin(&b, 3, CELLS, 1);
    b.truth[1].ttft = -0.3;
    measure(&b, 1);
    judge(&b);
    assert_int_equal(b.outcome->winner_by_cell[0], 1);
    assert_int_equal(b.outcome->front[0], 1);
    const kvat_entry *entry = &b.outcome->entries[1];
    assert_true(isnan(entry->cells[0].p_good) && isnan(entry->p_front) && isnan(entry->p_least));
    assert_true(isfinite(entry->cells[0].gain.value) && isnan(entry->cells[0].gain.low));
    end(&b);
}

/* ---- different cells, different answers ---- */

/* 1 is best in the first cell, 2 in the last, and 3 nearly as good in both. */
static void set_apart(bench *b) {
    b->truth[1] = (truth){-0.1, 0, 0, 0.06};
    b->truth[2] = (truth){-0.1, 0, 0, -0.06};
    b->truth[3] = (truth){-0.1, 0.02, 0, 0};
}

static void each_cell_has_its_own_best(void **state) {
    (void)state;
    bench b;
    begin(&b, 4, CELLS, 3);
    set_apart(&b);
    measure(&b, 5);
    judge(&b);
    const kvat_outcome *o = b.outcome;
    assert_int_equal(o->winner_by_cell[0], 1);
    assert_int_equal(o->winner_by_cell[1], 2);
    assert_true(o->entries[1].cells[0].p_good > 0.95 && o->entries[1].cells[1].p_good < 0.05);
    assert_true(o->entries[3].cells[0].p_good < 0.05); /* the workload's winner */
    const kvat_interval gain = o->entries[1].cells[0].gain, loss = o->entries[3].cells[0].loss;
    const double true_gain = 0.5 * 0.1 + 0.85 * 0.06, true_loss = 0.85 * 0.06 - 0.35 * 0.02;
    assert_true(gain.low < true_gain && true_gain < gain.high && gain.high - gain.low < 0.04);
    assert_true(loss.low < true_loss && true_loss < loss.high);
    assert_true(isnan(o->entries[2].cells[0].loss.low)); /* named nowhere in this cell */
    end(&b);
}

static void the_least_loss_in_the_worst_cell_is_a_compromise(void **state) {
    (void)state;
    bench b;
    begin(&b, 4, CELLS, 1);
    set_apart(&b);
    measure(&b, 5);
    judge(&b);
    const kvat_outcome *o = b.outcome;
    assert_int_equal(o->smallest_worst_loss, 3);
    assert_true(o->entries[3].p_least > 0.95 && o->entries[1].p_least < 0.05);
    assert_int_equal(o->entries[1].worst_cell, 1);
    assert_true(o->entries[1].worst_loss.low < 0.85 * 0.12 && o->entries[1].worst_loss.high > 0.85 * 0.12);
    json_t *json = json_of(&b);
    const json_t *worst = json_object_get(json, "worst_case");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(worst, "winner"), "cell")), 1);
    assert_int_equal(json_array_size(json_object_get(json, "by_cell")), CELLS);
    json_decref(json);
    end(&b);
}

static void of_equals_the_winner_is_named_and_then_the_default(void **state) {
    (void)state;
    bench b;
    begin(&b, 5, CELLS, 3);
    measure(&b, 4);
    judge(&b);
    for (size_t c = 0; c < CELLS; c++) assert_int_equal(b.outcome->winner_by_cell[c], 3);
    assert_int_equal(b.outcome->smallest_worst_loss, 3);
    b.outcome->winner = SIZE_MAX;
    judge(&b); /* again, over what was said before */
    for (size_t c = 0; c < CELLS; c++) assert_int_equal(b.outcome->winner_by_cell[c], 0);
    assert_int_equal(b.outcome->n_front, 1); /* one stands for all of them */
    for (size_t i = 0; i < 5; i++) assert_true(b.outcome->entries[i].p_front > 0.9);
    end(&b);
}

static void what_may_not_win_is_compared_and_changes_nothing(void **state) {
    (void)state;
    bench b;
    begin(&b, 3, CELLS, 1);
    b.truth[1].ttft = -0.1;
    b.truth[2] = (truth){-0.5, 0.5, -0.2, 0};
    b.outcome->entries[2].lossy = true;
    b.outcome->entries[2].eligible = false;
    measure(&b, 4);
    judge(&b);
    const kvat_outcome *o = b.outcome;
    assert_int_equal(o->winner_by_cell[0], 1);
    assert_int_equal(o->smallest_worst_loss, 1);
    assert_int_equal(o->n_front, 1);
    assert_int_equal(o->front[0], 1);
    assert_true(o->entries[1].p_front > 0.95 && o->entries[1].cells[0].p_good > 0.95);
    assert_true(o->entries[2].cells[0].loss.value < 0 && o->entries[2].cells[0].p_good > 0.95);
    end(&b);
}

static void without_a_default_there_is_no_gain(void **state) {
    (void)state;
    bench b;
    begin(&b, 3, CELLS, 1);
    b.outcome->default_entry = SIZE_MAX;
    measure(&b, 3);
    judge(&b);
    assert_true(isnan(b.outcome->entries[1].cells[0].gain.value));
    assert_true(b.outcome->entries[1].cells[0].p_good > 0.5);
    end(&b);
}

/* ---- the front ---- */

static void the_front_trades_speed_for_memory(void **state) {
    (void)state;
    bench b;
    begin(&b, 4, CELLS, 1);
    b.truth[1] = (truth){-0.1, 0.1, 0.05, 0};
    b.truth[2] = (truth){-0.05, 0, -0.1, 0};
    b.truth[3] = (truth){-0.02, 0.05, 0.06, 0}; /* 1 is better in all three */
    measure(&b, 4);
    judge(&b);
    const kvat_outcome *o = b.outcome;
    assert_int_equal(o->n_front, 2);
    assert_int_equal(o->front[0], 1);
    assert_int_equal(o->front[1], 2);
    assert_true(o->entries[1].p_front > 0.95 && o->entries[2].p_front > 0.95);
    assert_true(o->entries[0].p_front < 0.05 && o->entries[3].p_front < 0.05);
    b.outcome->mixed_sources = true; /* then memory is no part of it */
    judge(&b);
    assert_int_equal(o->n_front, 1);
    assert_int_equal(o->front[0], 1);
    end(&b);
}

static void of_very_many_the_nearest_are_compared(void **state) {
    (void)state;
    bench b;
    begin(&b, MOST, CELLS, 150);
    for (size_t i = 0; i < MOST; i++) b.truth[i].ttft = 0.003 * (i < 100 ? (double)i + 50 : 149 - (double)i);
    measure(&b, 2);
    judge(&b);
    size_t compared = 0;
    for (size_t i = 0; i < MOST; i++) compared += isfinite(b.outcome->entries[i].p_front);
    assert_int_equal(compared, KVAT_CELLS_MOST);
    assert_true(isfinite(b.outcome->entries[0].p_front) && isfinite(b.outcome->entries[150].p_front));
    assert_int_equal(b.outcome->winner_by_cell[0], MOST - 1);
    assert_true(isnan(b.outcome->entries[99].p_front) && isnan(b.outcome->entries[99].cells[0].p_good));
    end(&b);
}

/* ---- what is no run, and no memory ---- */

static void a_run_without_all_figures_is_refused(void **state) {
    (void)state;
    bench b;
    begin(&b, 1, CELLS, 0);
    kvat_sample samples[CELLS] = {{.cell = 0, .ttft_ns = 5, .decode_tok_per_s = 1},
                                  {.cell = 1, .ttft_ns = 5, .decode_tok_per_s = NAN}};
    kvat_cell_run run = {.samples = samples, .n_samples = CELLS, .peak_bytes = 1, .elapsed_ns = 1, .cost_ns = 1};
    assert_int_equal(kvat_cell_runs_add(&b.runs, b.outcome->profile, &run, NULL), KVAT_ERR_DATA);
    samples[1].decode_tok_per_s = 2;
    run.n_samples = 1;
    assert_int_equal(kvat_cell_runs_add(&b.runs, b.outcome->profile, &run, NULL), KVAT_ERR_DATA);
    run.n_samples = CELLS;
    run.peak_bytes = 0;
    assert_int_equal(kvat_cell_runs_add(&b.runs, b.outcome->profile, &run, NULL), KVAT_ERR_DATA);
    assert_int_equal(b.runs.n, 0);
    end(&b);
}

static kvat_status gather_and_judge(void *context, kvat_error *err) {
    bench *b = context;
    kvat_cell_runs_clear(&b->runs);
    kvat_status status = KVAT_OK;
    for (size_t i = 0; i < 8 && status == KVAT_OK; i++) status = add_run(b, i % 3, err);
    if (status == KVAT_OK) status = kvat_cells_judge(b->outcome, &b->runs, 1, err);
    json_t *json = status == KVAT_OK ? json_object() : NULL;
    if (status == KVAT_OK && !json) status = kvat_fail(err, KVAT_ERR_NOMEM, "no object");
    if (status == KVAT_OK) status = kvat_cells_json_add(json, b->outcome, err);
    json_decref(json);
    return status;
}

static void without_memory_nothing_is_left(void **state) {
    (void)state;
    bench b;
    begin(&b, 3, CELLS, 1);
    assert_true(fail_alloc_each(gather_and_judge, &b) > 100);
    end(&b);
}

int main(void) {
    json_set_alloc_funcs(malloc, free);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_runs_nothing_is_said),
        cmocka_unit_test(of_configurations_that_are_out_nothing_is_said),
        cmocka_unit_test(one_configuration_is_the_best_of_itself),
        cmocka_unit_test(one_cell_is_the_workload),
        cmocka_unit_test(configurations_that_ran_once_are_compared_without_chances),
        cmocka_unit_test(each_cell_has_its_own_best),
        cmocka_unit_test(the_least_loss_in_the_worst_cell_is_a_compromise),
        cmocka_unit_test(of_equals_the_winner_is_named_and_then_the_default),
        cmocka_unit_test(what_may_not_win_is_compared_and_changes_nothing),
        cmocka_unit_test(without_a_default_there_is_no_gain),
        cmocka_unit_test(the_front_trades_speed_for_memory),
        cmocka_unit_test(of_very_many_the_nearest_are_compared),
        cmocka_unit_test(a_run_without_all_figures_is_refused),
        cmocka_unit_test(without_memory_nothing_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
