/* A recorded surface says what was measured, and nothing about what was not.
 * Must not know how a surface is played. */
#include "unit/store/fixture.h"

#include <jansson.h>
#include <math.h>

#include "fail_alloc.h"
#include "kvat/space.h"

static const char describe[] =
    "{\"knobs\": ["
    "{\"name\": \"threads\", \"type\": \"int\", \"values\": [1, 2, 4], \"default\": 4, \"search\": [1, 4],"
    " \"scope\": \"request\"},"
    "{\"name\": \"kv\", \"type\": \"enum\", \"values\": [\"f16\", \"q8\", \"q4\"], \"default\": \"f16\","
    " \"search\": [\"f16\", \"q8\", \"q4\"], \"scope\": \"context\", \"numerics\": {\"q8\": \"lossy\", \"q4\": "
    "\"lossy\"}}]}";
static const char request[] =
    "{\"profile\": {\"name\": \"p\", \"context\": [256, 512], \"output_tokens\": [32], \"batch\": [1],"
    " \"weights\": {\"ttft\": 0.5, \"decode\": 0.3, \"memory\": 0.2}}}";
/* threads 2 was set for all; q4 with threads 1 was left out. */
static const char space[] = "[{\"threads\": 2, \"kv\": \"f16\"}, {\"threads\": 2, \"kv\": \"q8\"},"
                            " {\"threads\": 1, \"kv\": \"f16\"}, {\"threads\": 1, \"kv\": \"q8\"},"
                            " {\"threads\": 2, \"kv\": \"q4\"}]";

static int64_t add_surface_run(kvat_store *store) {
    int64_t id = 0;
    kvat_run_record run = some_run;
    run.describe_json = describe;
    run.request_json = request;
    run.space_json = space;
    assert_ok(kvat_store_add_run(&id, store, &run, err));
    return id;
}

/* One clean trial; the second cell takes three times as long. */
static void add_clean(kvat_store *store, kvat_trial_phase phase, size_t config, int64_t ttft_ns, double decode,
                      int64_t peak_bytes) {
    int64_t id;
    const kvat_sample samples[] = {{.cell = 0, .ttft_ns = ttft_ns, .decode_tok_per_s = decode},
                                   {.cell = 1, .ttft_ns = ttft_ns * 3, .decode_tok_per_s = decode / 2}};
    const kvat_trial_record trial = {.run = 1,
                                     .phase = phase,
                                     .config = config,
                                     .status = KVAT_TRIAL_OK,
                                     .peak_bytes = peak_bytes,
                                     .load_ns = config == 0 ? 1500000000 : 0,
                                     .prepare_ns = 200000000,
                                     .samples = samples,
                                     .n_samples = 2};
    assert_ok(kvat_store_add_trial(&id, store, &trial, err));
}

static void add_failed(kvat_store *store, size_t config, kvat_trial_status status) {
    int64_t id;
    const kvat_trial_record trial = {.run = 1, .config = config, .status = status};
    assert_ok(kvat_store_add_trial(&id, store, &trial, err));
}

static json_t *export_surface(kvat_store *store) {
    json_t *surface = NULL;
    assert_ok(kvat_store_export_surface(&surface, store, 1, err));
    return surface;
}

static double real_at(const json_t *object, const char *member) {
    const json_t *value = json_object_get(object, member);
    if (!json_is_number(value)) fail_msg("%s: no number", member);
    return json_number_value(value);
}

static const json_t *config_at(const json_t *surface, size_t i) {
    return json_array_get(json_object_get(surface, "configs"), i);
}

static const json_t *cell_at(const json_t *config, size_t i) {
    return json_array_get(json_object_get(config, "cells"), i);
}

static void figures_are_medians_a_configuration_and_cell(void **state) {
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    (void)state;
    add_surface_run(store);
    add_clean(store, KVAT_PHASE_SEARCH, 0, 1000, 40, 2000);
    add_clean(store, KVAT_PHASE_SEARCH, 0, 5000, 10, 2600);
    add_clean(store, KVAT_PHASE_SEARCH, 0, 1100, 41, 2100);
    add_clean(store, KVAT_PHASE_SEARCH, 1, 800, 50, 1000);
    add_clean(store, KVAT_PHASE_SEARCH, 1, 900, 54, 1001);
    json_t *surface = export_surface(store);
    assert_string_equal(json_string_value(json_object_get(surface, "format")), "kvat-surface/1");
    assert_string_equal(json_string_value(json_object_get(surface, "name")), "a model");
    const json_t *first = cell_at(config_at(surface, 0), 0), *second = cell_at(config_at(surface, 0), 1);
    assert_true(fabs(real_at(first, "ttft_s") - 1100e-9) < 1e-15);
    assert_true(real_at(first, "decode_tok_per_s") == 40);
    assert_true(real_at(first, "peak_bytes") == 2100);
    assert_true(real_at(first, "prompt_tokens") == 256 && real_at(first, "output_tokens") == 32);
    assert_true(fabs(real_at(second, "ttft_s") - 3300e-9) < 1e-15);
    assert_true(real_at(second, "prompt_tokens") == 512 && real_at(second, "decode_tok_per_s") == 20);
    first = cell_at(config_at(surface, 1), 0);
    assert_true(fabs(real_at(first, "ttft_s") - 850e-9) < 1e-15 && real_at(first, "decode_tok_per_s") == 52);
    assert_true(real_at(surface, "load_s") == 1.5 && real_at(surface, "prepare_s") == 0.2);
    json_decref(surface);
    kvat_store_close(store);
}

static void the_base_is_configuration_0(void **state) {
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    (void)state;
    add_surface_run(store);
    add_clean(store, KVAT_PHASE_SEARCH, 1, 800, 50, 1000);
    json_t *surface = export_surface(store);
    assert_null(json_object_get(surface, "base"));
    json_decref(surface);
    add_clean(store, KVAT_PHASE_SEARCH, 0, 1000, 40, 2000);
    surface = export_surface(store);
    assert_true(json_equal(json_object_get(surface, "base"), json_object_get(config_at(surface, 0), "cells")));
    json_decref(surface);
    kvat_store_close(store);
}

static void search_trials_go_before_confirmation_and_voided_ones_do_not_count(void **state) {
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    (void)state;
    add_surface_run(store);
    add_clean(store, KVAT_PHASE_CONFIRM, 0, 9000, 9, 9);
    json_t *surface = export_surface(store);
    assert_true(fabs(real_at(cell_at(config_at(surface, 0), 0), "ttft_s") - 9000e-9) < 1e-15);
    json_decref(surface);
    add_clean(store, KVAT_PHASE_SEARCH, 0, 1000, 40, 2000);
    add_failed(store, 0, KVAT_TRIAL_VOIDED);
    surface = export_surface(store);
    assert_true(fabs(real_at(cell_at(config_at(surface, 0), 0), "ttft_s") - 1000e-9) < 1e-15);
    json_decref(surface);
    kvat_store_close(store);
}

/* Probability of the fault of that kind for those settings; −1 when there is none. */
static double fault_of(const json_t *surface, int threads, const char *kv, const char *kind) {
    size_t i;
    const json_t *fault;
    json_t *when = json_pack("{s:i, s:s}", "threads", threads, "kv", kv);
    double found = -1;
    json_array_foreach(json_object_get(surface, "faults"), i, fault) {
        if (json_equal(json_object_get(fault, "when"), when) &&
            strcmp(json_string_value(json_object_get(fault, "kind")), kind) == 0)
            found = real_at(fault, "probability");
    }
    json_decref(when);
    return found;
}

static void failures_become_faults_with_their_share(void **state) {
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    (void)state;
    add_surface_run(store);
    add_clean(store, KVAT_PHASE_SEARCH, 0, 1000, 40, 2000);
    for (int i = 0; i < 3; i++) add_clean(store, KVAT_PHASE_SEARCH, 1, 800, 50, 1000);
    add_failed(store, 1, KVAT_TRIAL_CRASH);
    add_failed(store, 1, KVAT_TRIAL_VOIDED);
    add_failed(store, 2, KVAT_TRIAL_OOM_HOST);
    add_failed(store, 2, KVAT_TRIAL_OOM_HOST);
    add_failed(store, 3, KVAT_TRIAL_TIMEOUT);
    json_t *surface = export_surface(store);
    assert_true(fault_of(surface, 2, "f16", "crash") == -1);
    assert_true(fault_of(surface, 2, "q8", "crash") == 0.25);
    assert_true(fault_of(surface, 1, "f16", "oom_host") == 1);
    assert_true(fault_of(surface, 1, "q8", "hang") == 1);
    json_decref(surface);
    kvat_store_close(store);
}

static void what_was_never_measured_cannot_be_played(void **state) {
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    (void)state;
    add_surface_run(store);
    add_clean(store, KVAT_PHASE_SEARCH, 0, 1000, 40, 2000);
    json_t *surface = export_surface(store);
    assert_int_equal(json_array_size(json_object_get(surface, "configs")), 1);
    assert_true(fault_of(surface, 2, "q4", "unsupported") == 1); /* in the space, never reached */
    assert_true(fault_of(surface, 1, "q4", "unsupported") == 1); /* spanned by the knobs, not in the space */
    assert_true(fault_of(surface, 2, "f16", "unsupported") == -1);
    assert_true(fault_of(surface, 4, "f16", "unsupported") == -1); /* no longer searched */
    json_decref(surface);
    kvat_store_close(store);
}

static void of_many_only_those_measured_can_be_played(void **state) {
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    (void)state;
    kvat_run_record run = some_run;
    int64_t id = 0;
    json_t *knobs = json_array(), *configs = json_array(), *values = json_array();
    for (int v = 0; v < 40; v++) json_array_append_new(values, json_integer(v));
    for (int k = 0; k < 2; k++)
        json_array_append_new(knobs, json_pack("{s:s, s:s, s:O, s:i, s:O, s:s}", "name", k ? "b" : "a", "type", "int",
                                               "values", values, "default", 0, "search", values, "scope", "model"));
    for (int i = 0; i < 1600; i++) json_array_append_new(configs, json_pack("{s:i, s:i}", "a", i / 40, "b", i % 40));
    json_t *described = json_pack("{s:o}", "knobs", knobs);
    char *texts[] = {json_dumps(described, 0), json_dumps(configs, 0)};
    run.describe_json = texts[0];
    run.request_json = request;
    run.space_json = texts[1];
    assert_ok(kvat_store_add_run(&id, store, &run, err));
    add_clean(store, KVAT_PHASE_SEARCH, 0, 1000, 40, 2000);
    add_clean(store, KVAT_PHASE_SEARCH, 1234, 800, 50, 1000);
    add_failed(store, 7, KVAT_TRIAL_OOM_HOST);
    json_t *surface = export_surface(store);
    assert_null(json_object_get(surface, "base"));
    assert_int_equal(json_array_size(json_object_get(surface, "configs")), 2);
    assert_int_equal(json_array_size(json_object_get(surface, "faults")), 1);
    json_decref(surface);
    json_decref(described);
    json_decref(configs);
    json_decref(values);
    free(texts[0]);
    free(texts[1]);
    kvat_store_close(store);
}

static void a_replay_searches_what_the_run_searched(void **state) {
    kvat_knobs *knobs = NULL;
    kvat_space *replay = NULL;
    json_t *settings = NULL, *wanted = json_pack("{s:i, s:s}", "threads", 2, "kv", "f16");
    const kvat_space_request all = {.allow_lossy = true};
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    (void)state;
    add_surface_run(store);
    add_clean(store, KVAT_PHASE_SEARCH, 0, 1000, 40, 2000);
    json_t *surface = export_surface(store);
    assert_ok(kvat_knobs_parse(&knobs, json_object_get(surface, "knobs"), err));
    assert_ok(kvat_space_new(&replay, knobs, &all, err));
    assert_int_equal(kvat_space_count(replay), 6);
    assert_ok(kvat_space_settings(&settings, replay, 0, -1, err));
    assert_true(json_equal(settings, wanted));
    json_decref(settings);
    json_decref(wanted);
    json_decref(surface);
    kvat_space_free(replay);
    kvat_knobs_free(knobs);
    kvat_store_close(store);
}

/* Two runs a configuration at ± d around the mean: the deviation of one run from the truth is √2·d. */
static void noise_is_the_spread_within_configurations(void **state) {
    const double d = 0.03;
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    (void)state;
    add_surface_run(store);
    for (size_t config = 0; config < 4; config++) {
        double ttft = 1e9 * (double)(config + 1);
        add_clean(store, KVAT_PHASE_SEARCH, config, (int64_t)(ttft * exp(d)), 40 * exp(-d), 2000);
        add_clean(store, KVAT_PHASE_SEARCH, config, (int64_t)(ttft * exp(-d)), 40 * exp(d), 2000);
    }
    json_t *surface = export_surface(store);
    const json_t *noise = json_object_get(surface, "noise");
    assert_true(fabs(real_at(noise, "run_sd") - 1.4826 * sqrt(2) * d) < 1e-5);
    assert_true(real_at(noise, "launch_sd") == 0);
    assert_true(real_at(json_object_get(surface, "short_output_bias"), "sd") == 0);
    json_decref(surface);
    kvat_store_close(store);
}

static void a_run_without_figures_is_not_exported(void **state) {
    json_t *surface = NULL;
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    (void)state;
    add_surface_run(store);
    add_failed(store, 0, KVAT_TRIAL_CRASH);
    assert_refused(KVAT_ERR_DATA, "no clean trial", kvat_store_export_surface(&surface, store, 1, err));
    assert_refused(KVAT_ERR_USAGE, "no run 2", kvat_store_export_surface(&surface, store, 2, err));
    add_run(store);
    assert_refused(KVAT_ERR_DATA, "profile", kvat_store_export_surface(&surface, store, 2, err));
    assert_null(surface);
    kvat_store_close(store);
}

static kvat_status try_export(void *context, kvat_error *err) {
    json_t *surface = NULL;
    kvat_status status = kvat_store_export_surface(&surface, context, 1, err);
    json_decref(surface);
    return status;
}

static void exporting_survives_every_failing_allocation(void **state) {
    kvat_store *store = open_store(KVAT_STORE_WRITE);
    (void)state;
    add_surface_run(store);
    add_clean(store, KVAT_PHASE_SEARCH, 0, 1000, 40, 2000);
    add_clean(store, KVAT_PHASE_SEARCH, 0, 1100, 40, 2000);
    add_failed(store, 1, KVAT_TRIAL_CRASH);
    json_set_alloc_funcs(malloc, free);
    assert_true(fail_alloc_each(try_export, store) > 100);
    kvat_store_close(store);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(figures_are_medians_a_configuration_and_cell),
        FOLDER_TEST(the_base_is_configuration_0),
        FOLDER_TEST(search_trials_go_before_confirmation_and_voided_ones_do_not_count),
        FOLDER_TEST(failures_become_faults_with_their_share),
        FOLDER_TEST(what_was_never_measured_cannot_be_played),
        FOLDER_TEST(of_many_only_those_measured_can_be_played),
        FOLDER_TEST(a_replay_searches_what_the_run_searched),
        FOLDER_TEST(noise_is_the_spread_within_configurations),
        FOLDER_TEST(a_run_without_figures_is_not_exported),
        FOLDER_TEST(exporting_survives_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
