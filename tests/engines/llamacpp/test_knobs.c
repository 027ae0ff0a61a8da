/* The declared knobs as the core reads them, for several machines; settings as they are read and written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ggml-cpu.h"
#include "knobs.h"
#include "kvat/space.h"
#include "worker.h"

static kvat_model_facts facts;

static kvat_situation situation(kvat_cpu *cpu, int physical, int logical) {
    *cpu = (kvat_cpu){.server_threads = physical, .logical = logical, .physical = physical, .numa_nodes = 1};
    for (int i = 0; i < logical; i++) {
        cpu->allowed[i] = true;
        cpu->one_per_core[i] = i < physical;
    }
    facts.layers = 24;
    facts.k_head_size = facts.v_head_size = 64;
    return (kvat_situation){
        .facts = &facts, .cpu = cpu, .flash_auto = KVAT_FLASH_SETTING_ON, .openmp = true, .gomp = true};
}

static kvat_knobs *declare(const kvat_situation *at, json_t **json) {
    json_t *knobs = json_array(), *absent = json_array();
    kvat_knobs *parsed = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    assert_true(kvat_knobs_declare(knobs, absent, at));
    if (kvat_knobs_parse(&parsed, knobs, &err) != KVAT_OK) fail_msg("%s", err.message);
    if (json) *json = json_incref(absent);
    json_decref(knobs);
    json_decref(absent);
    return parsed;
}

static size_t count(const kvat_knobs *knobs, bool lossy) {
    kvat_space *space = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    kvat_space_request request = {.allow_lossy = lossy, .context_tokens = 8448};
    if (kvat_space_new(&space, knobs, &request, &err) != KVAT_OK) fail_msg("%s", err.message);
    size_t n = kvat_space_count(space);
    kvat_space_free(space);
    return n;
}

static void the_search_is_worth_it_and_bounded_on_any_machine(void **state) {
    (void)state;
    static const struct {
        int physical, logical, window, gpus;
    } machines[] = {{1, 1, 0, 0},     {2, 2, 0, 0},    {1, 2, 0, 0},   {4, 8, 0, 0},
                    {8, 16, 4096, 0}, {64, 128, 0, 0}, {16, 32, 0, 1}, {16, 32, 512, 4}};
    for (size_t i = 0; i < sizeof machines / sizeof *machines; i++) {
        kvat_cpu cpu;
        kvat_situation at = situation(&cpu, machines[i].physical, machines[i].logical);
        at.window_tokens = machines[i].window;
        at.gpus = machines[i].gpus;
        kvat_knobs *knobs = declare(&at, NULL);
        size_t exact = count(knobs, false), all = count(knobs, true);
        assert_true(all <= KVAT_SEARCH_MOST);
        assert_true(exact >= (machines[i].logical == 1 ? 6 : machines[i].physical == 1 ? 12 : 24));
        assert_true(all >= exact);
        kvat_knobs_free(knobs);
    }
}

static void a_quantised_value_cache_needs_flash_attention(void **state) {
    (void)state;
    kvat_cpu cpu;
    kvat_situation at = situation(&cpu, 2, 2);
    kvat_knobs *knobs = declare(&at, NULL);
    kvat_error err = KVAT_ERROR_INIT;
    kvat_space *space = NULL;
    const kvat_setting set[] = {{"flash-attn", "off"}, {"cache-type-v", "q8_0"}};
    kvat_space_request request = {.set = set, .n_set = 2, .allow_lossy = true, .context_tokens = 4096};
    assert_int_equal(kvat_space_new(&space, knobs, &request, &err), KVAT_ERR_USAGE);
    kvat_knobs_free(knobs);
}

static void cache_types_fit_the_heads(void **state) {
    (void)state;
    kvat_cpu cpu;
    kvat_situation at = situation(&cpu, 2, 2);
    facts.k_head_size = 80; /* blocks of 32 do not divide it */
    kvat_knobs *knobs = declare(&at, NULL);
    const kvat_knob *k = kvat_knobs_at(knobs, kvat_knobs_find(knobs, "cache-type-k"));
    const kvat_knob *v = kvat_knobs_at(knobs, kvat_knobs_find(knobs, "cache-type-v"));
    assert_int_equal(k->n_values, 3);
    assert_int_equal(kvat_knob_level(k, "q8_0"), SIZE_MAX);
    assert_int_equal(v->n_values, 9);
    assert_int_equal(v->values[kvat_knob_level(v, "bf16")].numerics, KVAT_LOSSY);
    assert_int_equal(v->values[kvat_knob_level(v, "f32")].numerics, KVAT_EQUIVALENT);
    assert_int_equal(v->values[kvat_knob_level(v, "f16")].numerics, KVAT_EXACT);
    kvat_knobs_free(knobs);
}

static void batches_act_at_most_as_the_context(void **state) {
    (void)state;
    kvat_cpu cpu;
    kvat_situation at = situation(&cpu, 2, 2);
    kvat_knobs *knobs = declare(&at, NULL);
    kvat_error err = KVAT_ERROR_INIT;
    json_t *effective = NULL,
           *asked = json_pack("{s:i, s:i, s:s}", "batch-size", 2048, "ubatch-size", 512, "flash-attn", "auto");
    assert_int_equal(kvat_knobs_effective(&effective, knobs, asked, 300, &err), KVAT_OK);
    assert_int_equal(json_integer_value(json_object_get(effective, "batch-size")), 300);
    assert_int_equal(json_integer_value(json_object_get(effective, "ubatch-size")), 300);
    assert_string_equal(json_string_value(json_object_get(effective, "flash-attn")), "on");
    json_decref(asked);
    json_decref(effective);
    kvat_knobs_free(knobs);
}

static bool is_absent(const json_t *absent, const char *name) {
    size_t i;
    json_t *item;
    json_array_foreach((json_t *)absent, i,
                       item) if (strcmp(json_string_value(json_object_get(item, "name")), name) == 0 &&
                                 *json_string_value(json_object_get(item, "reason"))) return true;
    return false;
}

static void every_knob_is_declared_or_absent_with_a_reason(void **state) {
    (void)state;
    static const char *const names[] = {"flash-attn", "cache-type-k", "cache-type-v", "threads",       "threads-batch",
                                        "batch-size", "ubatch-size",  "load-mode",    "repack",        "swa-full",
                                        "kv-unified", "n-gpu-layers", "split-mode",   "tensor-split",  "main-gpu",
                                        "n-cpu-moe",  "kv-offload",   "op-offload",   "numa",          "prio",
                                        "poll",       "cpu-mask",     "cpu-strict",   "GOMP_SPINCOUNT"};
    for (int kind = 0; kind < 4; kind++) {
        kvat_cpu cpu;
        kvat_situation at = situation(&cpu, 4, kind & 1 ? 8 : 4);
        cpu.numa_nodes = kind & 1 ? 2 : 1;
        at.openmp = at.gomp = kind & 1;
        at.window_tokens = kind & 1 ? 128 : 0;
        at.gpus = kind;
        facts.experts = kind & 1 ? 8 : 0;
        json_t *absent = NULL;
        kvat_knobs *knobs = declare(&at, &absent);
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            bool declared = kvat_knobs_find(knobs, names[i]) != SIZE_MAX;
            if (declared == is_absent(absent, names[i])) fail_msg("%s in kind %d", names[i], kind);
        }
        json_decref(absent);
        kvat_knobs_free(knobs);
        facts.experts = 0;
    }
}

static void the_cpu_mask_takes_one_thread_a_core(void **state) {
    (void)state;
    kvat_cpu cpu;
    kvat_situation at = situation(&cpu, 4, 8);
    memset(cpu.one_per_core, 0, sizeof cpu.one_per_core);
    for (int i = 0; i < 8; i += 2) cpu.one_per_core[i] = true;
    kvat_knobs *knobs = declare(&at, NULL);
    const kvat_knob *mask = kvat_knobs_at(knobs, kvat_knobs_find(knobs, "cpu-mask"));
    assert_string_equal(mask->values[0].text, "none");
    assert_string_equal(mask->values[1].text, "0x55");
    assert_string_equal(mask->apply_arg, "--cpu-mask");
    kvat_knobs_free(knobs);
}

/* ---- settings ---- */

static json_t *parse(const char *text) {
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    return json;
}

static void settings_that_cannot_be_are_refused_by_name(void **state) {
    (void)state;
    static const struct {
        const char *json;
        unsigned scopes;
        const char *knob, *detail;
    } bad[] = {
        {"{\"cache-type-k\": \"q9\"}", KVAT_KNOB_CONTEXT, "cache-type-k", "cannot be q9"},
        {"{\"cache-type-k\": 8}", KVAT_KNOB_CONTEXT, "cache-type-k", "anything but a word"},
        {"{\"threads\": 0}", KVAT_KNOB_REQUEST, "threads", "from 1 to 512"},
        {"{\"threads\": \"2\"}", KVAT_KNOB_REQUEST, "threads", "whole number"},
        {"{\"threads\": 2.5}", KVAT_KNOB_REQUEST, "threads", "whole number"},
        {"{\"thread\": 2}", KVAT_KNOB_REQUEST, "thread", "did you mean threads?"},
        {"{\"bananas\": 2}", KVAT_KNOB_REQUEST, "bananas", "no knob"},
        {"{\"batch-size\": 64}", KVAT_KNOB_REQUEST, "batch-size", "takes effect at prepare"},
        {"{\"repack\": \"off\"}", KVAT_KNOB_CONTEXT, "repack", "takes effect at load"},
        {"{\"cpu-mask\": \"0xg\"}", KVAT_KNOB_PROCESS, "cpu-mask", "hexadecimal"},
        {"{\"cpu-mask\": \"0x\"}", KVAT_KNOB_PROCESS, "cpu-mask", "hexadecimal"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        kvat_cpu cpu = {.server_threads = 3};
        kvat_settings settings, before;
        kvat_fault fault = {0};
        json_t *json = parse(bad[i].json);
        kvat_settings_default(&settings, &cpu);
        before = settings;
        assert_int_equal(kvat_settings_read(&settings, json, bad[i].scopes, &fault), -1);
        assert_int_equal(fault.kind, KVAT_FAULT_INVALID_SETTING);
        assert_string_equal(fault.knob, bad[i].knob);
        if (!strstr(fault.detail, bad[i].detail)) fail_msg("%s: %s", bad[i].json, fault.detail);
        assert_memory_equal(&settings, &before, sizeof settings);
        json_decref(json);
    }
}

static void effective_settings_repeat_what_was_asked_with_what_is(void **state) {
    (void)state;
    kvat_cpu cpu = {.server_threads = 3};
    kvat_settings settings;
    kvat_fault fault = {0};
    json_t *asked =
        parse("{\"flash-attn\": \"off\", \"cache-type-v\": \"q4_0\", \"batch-size\": 77, \"kv-unified\": \"on\"}");
    kvat_settings_default(&settings, &cpu);
    assert_int_equal(settings.threads, 3);
    assert_int_equal(kvat_settings_read(&settings, asked, KVAT_KNOB_CONTEXT, &fault), 0);
    assert_int_equal(settings.type_v, GGML_TYPE_Q4_0);
    json_t *effective = kvat_settings_effective(asked, &settings);
    assert_true(json_equal(asked, effective));
    json_decref(effective);
    settings.batch = 64;
    effective = kvat_settings_effective(asked, &settings);
    assert_int_equal(json_integer_value(json_object_get(effective, "batch-size")), 64);
    json_decref(effective);
    json_decref(asked);
}

static void arguments_set_what_belongs_to_the_process(void **state) {
    (void)state;
    char *good[] = {"--prio", "-1", "--cpu-mask=0xf", "--cpu-strict", "1", "--numa", "distribute", NULL};
    kvat_settings settings;
    kvat_fault fault = {0};
    unsetenv("GOMP_SPINCOUNT");
    assert_int_equal(kvat_llamacpp_arguments(&settings, good, &fault), 0);
    assert_int_equal(settings.priority, -1);
    assert_int_equal(settings.cpu_strict, 1);
    assert_string_equal(settings.cpu_mask, "0xf");
    assert_int_equal(settings.numa, GGML_NUMA_STRATEGY_DISTRIBUTE);
    assert_int_equal(settings.spin_count, 300000);
    setenv("GOMP_SPINCOUNT", "1000", 1);
    char *none[] = {NULL};
    assert_int_equal(kvat_llamacpp_arguments(&settings, none, &fault), 0);
    assert_int_equal(settings.spin_count, 1000);
    unsetenv("GOMP_SPINCOUNT");
    char *bad[][3] = {
        {"--prio", NULL}, {"--prio", "x", NULL}, {"--prio", "9", NULL}, {"--threads", "2", NULL}, {"model.gguf", NULL}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(kvat_llamacpp_arguments(&settings, bad[i], &fault), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_search_is_worth_it_and_bounded_on_any_machine),
        cmocka_unit_test(a_quantised_value_cache_needs_flash_attention),
        cmocka_unit_test(cache_types_fit_the_heads),
        cmocka_unit_test(batches_act_at_most_as_the_context),
        cmocka_unit_test(every_knob_is_declared_or_absent_with_a_reason),
        cmocka_unit_test(the_cpu_mask_takes_one_thread_a_core),
        cmocka_unit_test(settings_that_cannot_be_are_refused_by_name),
        cmocka_unit_test(effective_settings_repeat_what_was_asked_with_what_is),
        cmocka_unit_test(arguments_set_what_belongs_to_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
