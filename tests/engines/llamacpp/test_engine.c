/* The engine itself on tiny models: choice of tokens, trimming bit for bit, bytes of the cache, what came into force.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine.h"
#include "foresee.h"
#include "kvat/units.h"
#include "llama.h"
#include "tiny.h"

static char folder[64], llama_name[160], gemma_name[160];
static kvat_llama engine;

static int set_up(void **state) {
    (void)state;
    char path[128];
    snprintf(folder, sizeof folder, "/tmp/kvat-engine-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/llama.json", folder);
    tiny_write(path, TINY_LLAMA);
    snprintf(llama_name, sizeof llama_name, "synthetic:%s:f16", path);
    snprintf(path, sizeof path, "%s/gemma.json", folder);
    tiny_write(path, TINY_GEMMA3);
    snprintf(gemma_name, sizeof gemma_name, "synthetic:%s:f16", path);
    setenv("KVAT_CACHE_DIR", folder, 1);
    kvat_llama_init(&engine, NULL);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    char command[128];
    kvat_llama_clear(&engine);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

#define MUST(call)                                                                                                     \
    do {                                                                                                               \
        kvat_fault *fault_ = &fault;                                                                                   \
        if ((call) != 0) fail_msg("%s", fault_->detail);                                                               \
    } while (0)

static kvat_settings standard(void) {
    kvat_settings settings;
    kvat_settings_default(&settings, &engine.cpu);
    settings.threads = settings.threads_batch =
        1; /* many threads take turns on a small machine, and nothing here is timed */
    return settings;
}

static void load(const char *name) {
    kvat_fault fault = {0};
    kvat_settings settings = standard();
    MUST(kvat_llama_open(&engine, name, true, &fault));
    MUST(kvat_llama_load(&engine, &settings, &fault));
}

static void prepare(const kvat_settings *settings, int64_t context_tokens, int64_t sequences) {
    kvat_fault fault = {0};
    MUST(kvat_llama_prepare(&engine, settings, context_tokens, sequences, &fault));
}

/* ---- choice of a token ---- */

static int32_t plain_argmax(const float *values, int32_t n) {
    int32_t best = -1;
    float most = -INFINITY;
    for (int32_t i = 0; i < n; i++)
        if (values[i] > most) {
            most = values[i];
            best = i;
        }
    return best;
}

static void the_first_largest_value_is_chosen(void **state) {
    (void)state;
    static float values[5000];
    const int32_t sizes[] = {1, 15, 1023, 1024, 1025, 2048, 3000, 5000};
    uint32_t random = 1;
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
        for (int round = 0; round < 40; round++) {
            for (int32_t i = 0; i < sizes[k]; i++) {
                random = random * 1664525 + 1013904223;
                values[i] = (float)(int32_t)(random >> 20) - 2048.0f; /* few values, so that ties are common */
                if (round % 4 == 3 && random % 7 == 0) values[i] = NAN;
            }
            assert_int_equal(kvat_llama_argmax(values, sizes[k]), plain_argmax(values, sizes[k]));
        }
    for (int32_t i = 0; i < 5000; i++) values[i] = NAN;
    assert_int_equal(kvat_llama_argmax(values, 5000), -1);
    for (int32_t i = 0; i < 5000; i++) values[i] = -INFINITY;
    assert_int_equal(kvat_llama_argmax(values, 5000), -1);
}

/* ---- runs ---- */

#define OUTPUT 8

typedef struct outcome {
    int64_t times[2 * OUTPUT];
    int32_t ids[2 * OUTPUT];
    kvat_run run;
} outcome;

static void run_plain(outcome *out, const int32_t *prompt, int64_t prompt_tokens) {
    kvat_fault fault = {0};
    *out = (outcome){0};
    kvat_stretch stretch = {prompt_tokens, OUTPUT, 0, out->times, out->ids, 1};
    out->run = (kvat_run){.prompt = prompt, .stretches = &stretch, .n_stretches = 1};
    MUST(kvat_llama_run(&engine, &out->run, &fault));
}

static void prompt_of(int32_t *prompt, int64_t n) {
    kvat_prompt_tokens(prompt, n, 7, (int32_t)engine.facts.token_low, (int32_t)engine.facts.token_high);
}

static void runs_repeat_and_times_ascend(void **state) {
    (void)state;
    int32_t prompt[200];
    outcome one, two;
    kvat_settings settings = standard();
    load(llama_name);
    prepare(&settings, 300, 1);
    prompt_of(prompt, 200);
    run_plain(&one, prompt, 200);
    run_plain(&two, prompt, 200);
    assert_memory_equal(one.ids, two.ids, OUTPUT * sizeof *one.ids);
    assert_true(one.times[0] > one.run.start_ns);
    for (int i = 1; i < OUTPUT; i++) assert_true(one.times[i] > one.times[i - 1]);
    assert_true(two.run.start_ns >= one.times[OUTPUT - 1]);
}

/* Marks at multiples of the physical batch go through the same computations as separate runs: the same tokens come out.
 */
static void marks_give_the_tokens_of_separate_runs(void **state) {
    (void)state;
    int32_t prompt[192], ids[3][OUTPUT];
    int64_t times[3][OUTPUT];
    kvat_fault fault = {0};
    kvat_settings settings = standard();
    settings.ubatch = settings.batch = 64;
    load(llama_name);
    prepare(&settings, 256, 1);
    prompt_of(prompt, 192);
    kvat_stretch stretches[3];
    for (int i = 0; i < 3; i++) stretches[i] = (kvat_stretch){64 * (i + 1), OUTPUT, 0, times[i], ids[i], 1};
    kvat_run run = {.prompt = prompt, .stretches = stretches, .n_stretches = 3};
    MUST(kvat_llama_run(&engine, &run, &fault));
    for (int i = 0; i < 3; i++) {
        outcome plain;
        run_plain(&plain, prompt, 64 * (i + 1));
        assert_memory_equal(plain.ids, ids[i], sizeof ids[i]);
        if (i > 0) assert_true(stretches[i].ttft_ns > stretches[i - 1].ttft_ns);
        /* Decoding at earlier marks is in the clock but not in the prefill time. */
        assert_true(stretches[i].ttft_ns <= times[i][0] - run.start_ns);
    }
    assert_int_equal(stretches[0].ttft_ns, times[0][0] - run.start_ns);
    assert_true(stretches[2].ttft_ns < times[2][0] - run.start_ns - (times[1][OUTPUT - 1] - times[1][0]));
}

static void bursts_repeat_the_same_tokens(void **state) {
    (void)state;
    enum { BURSTS = 3, SEQUENCES = 2, ROW = SEQUENCES * OUTPUT };
    int32_t prompt[128], ids[2][BURSTS * ROW];
    int64_t times[2][BURSTS * ROW];
    kvat_fault fault = {0};
    kvat_settings settings = standard();
    load(llama_name);
    prepare(&settings, 512, SEQUENCES);
    prompt_of(prompt, 128);
    kvat_stretch stretches[2] = {{64, OUTPUT, 0, times[0], ids[0], BURSTS}, {128, OUTPUT, 0, times[1], ids[1], BURSTS}};
    kvat_run run = {.prompt = prompt, .stretches = stretches, .n_stretches = 2};
    MUST(kvat_llama_run(&engine, &run, &fault));
    for (int i = 0; i < 2; i++) {
        for (int b = 1; b < BURSTS; b++) {
            const int64_t *burst = times[i] + b * ROW, *before = burst - ROW;
            assert_memory_equal(ids[i], ids[i] + b * ROW, ROW * sizeof *ids[i]);
            for (int s = 0; s < SEQUENCES; s++) {
                assert_true(burst[s * OUTPUT] >= before[s * OUTPUT + OUTPUT - 1]);
                for (int t = 1; t < OUTPUT; t++) assert_true(burst[s * OUTPUT + t] > burst[s * OUTPUT + t - 1]);
            }
        }
    }
    assert_true(stretches[1].ttft_ns <= times[1][0] - run.start_ns - (times[0][BURSTS * ROW - 1] - times[0][0]));
    kvat_stretch once[2] = {{64, OUTPUT, 0, times[0], ids[0], 1}, {128, OUTPUT, 0, times[0], ids[0] + ROW, 1}};
    run.stretches = once;
    MUST(kvat_llama_run(&engine, &run, &fault));
    assert_memory_equal(ids[0] + ROW, ids[1], ROW * sizeof *ids[0]); /* what came before leaves no trace */
}

static void logits_of(float *out, int32_t n) {
    memcpy(out, llama_get_logits_ith(engine.context, -1), (size_t)n * sizeof *out);
}

static void a_trimmed_cache_goes_on_bit_for_bit(void **state) {
    (void)state;
    int32_t prompt[128];
    float straight[512], trimmed[512];
    kvat_fault fault = {0};
    kvat_settings settings = standard();
    settings.batch = settings.ubatch = 64;
    load(llama_name);
    prepare(&settings, 512, 1);
    prompt_of(prompt, 128);
    assert_true(kvat_llama_can_trim(&engine));

    llama_memory_t memory = llama_get_memory(engine.context);
    assert_int_equal(llama_decode(engine.context, llama_batch_get_one(prompt, 64)), 0);
    assert_int_equal(llama_decode(engine.context, llama_batch_get_one(prompt + 64, 64)), 0);
    logits_of(straight, 512);

    llama_memory_clear(memory, false);
    assert_int_equal(llama_decode(engine.context, llama_batch_get_one(prompt, 64)), 0);
    for (int32_t i = 0; i < 5; i++)
        assert_int_equal(llama_decode(engine.context, llama_batch_get_one(prompt + i, 1)), 0);
    MUST(kvat_llama_trim(&engine, 64, &fault));
    assert_int_equal(llama_decode(engine.context, llama_batch_get_one(prompt + 64, 64)), 0);
    logits_of(trimmed, 512);
    assert_memory_equal(straight, trimmed, sizeof straight);
}

static void decode_goes_on_from_a_prefill(void **state) {
    (void)state;
    int32_t prompt[100], ids[OUTPUT];
    int64_t times[OUTPUT];
    outcome whole;
    kvat_fault fault = {0};
    kvat_settings settings = standard();
    load(llama_name);
    prepare(&settings, 256, 1);
    prompt_of(prompt, 100);
    run_plain(&whole, prompt, 100);

    kvat_stretch first = {100, 1, 0, times, ids, 1};
    kvat_run run = {.prompt = prompt, .stretches = &first, .n_stretches = 1};
    MUST(kvat_llama_run(&engine, &run, &fault));
    kvat_stretch rest = {0, OUTPUT - 1, 0, times + 1, ids + 1, 1};
    run = (kvat_run){.stretches = &rest, .n_stretches = 1};
    MUST(kvat_llama_run(&engine, &run, &fault));
    assert_memory_equal(ids, whole.ids, sizeof ids);
}

static void equal_prompts_give_equal_tokens_in_all_sequences(void **state) {
    (void)state;
    int32_t prompt[100];
    for (int unified = 0; unified < 2; unified++) {
        outcome both;
        kvat_settings settings = standard();
        settings.kv_unified = unified;
        load(llama_name);
        prepare(&settings, 2 * 256, 2);
        assert_int_equal(engine.settings.kv_unified, unified);
        assert_int_equal(kvat_llama_sequence_tokens(&engine), 256);
        prompt_of(prompt, 100);
        run_plain(&both, prompt, 100);
        assert_memory_equal(both.ids, both.ids + OUTPUT, OUTPUT * sizeof *both.ids);
        assert_true(both.times[OUTPUT] > both.run.start_ns);
    }
}

static void a_run_past_its_limit_stops_itself(void **state) {
    (void)state;
    static int32_t prompt[4000];
    int64_t times[OUTPUT];
    kvat_fault fault = {0};
    kvat_settings settings = standard();
    load(llama_name);
    prepare(&settings, 4096, 1);
    prompt_of(prompt, 4000);
    kvat_stretch stretch = {4000, OUTPUT, 0, times, NULL, 1};
    kvat_run run = {.prompt = prompt, .stretches = &stretch, .n_stretches = 1, .limit_ns = 1};
    MUST(kvat_llama_run(&engine, &run, &fault));
    assert_true(run.timed_out);
    assert_int_equal(engine.depth, 0);
}

static bool always(void *user) {
    (void)user;
    return true;
}

static void a_cancelled_run_says_so(void **state) {
    (void)state;
    static int32_t prompt[4000];
    int64_t times[OUTPUT];
    kvat_fault fault = {0};
    kvat_settings settings = standard();
    load(llama_name);
    prepare(&settings, 4096, 1);
    prompt_of(prompt, 4000);
    kvat_stretch stretch = {4000, OUTPUT, 0, times, NULL, 1};
    kvat_run run = {.prompt = prompt, .stretches = &stretch, .n_stretches = 1};
    engine.stop = always;
    int failed = kvat_llama_run(&engine, &run, &fault);
    engine.stop = NULL;
    assert_int_equal(failed, -1);
    assert_int_equal(fault.kind, KVAT_FAULT_CANCELLED);
}

static void what_does_not_fit_is_refused(void **state) {
    (void)state;
    int32_t prompt[300];
    int64_t times[OUTPUT];
    kvat_fault fault = {0};
    kvat_settings settings = standard();
    load(llama_name);
    prepare(&settings, 256, 1);
    prompt_of(prompt, 300);
    kvat_stretch stretch = {250, OUTPUT, 0, times, NULL, 1};
    kvat_run run = {.prompt = prompt, .stretches = &stretch, .n_stretches = 1};
    assert_int_equal(kvat_llama_run(&engine, &run, &fault), -1);
    assert_int_equal(fault.kind, KVAT_FAULT_INVALID_SETTING);
    assert_non_null(strstr(fault.detail, "needs 257 tokens a sequence; the context has 256"));
}

/* ---- windows ---- */

static void a_model_with_a_window_is_cut_back_only_with_the_full_cache(void **state) {
    (void)state;
    int32_t prompt[192];
    int64_t times[2][OUTPUT];
    kvat_settings settings = standard();
    load(gemma_name);
    assert_int_equal(llama_model_n_swa(engine.model), 64);
    prompt_of(prompt, 192);
    kvat_stretch stretches[2] = {{64, OUTPUT, 0, times[0], NULL, 1}, {192, OUTPUT, 0, times[1], NULL, 1}};
    kvat_run run = {.prompt = prompt, .stretches = stretches, .n_stretches = 2};
    for (int full = 0; full < 2; full++) {
        kvat_fault fault = {0};
        settings.swa_full = full;
        prepare(&settings, 512, 1);
        assert_int_equal(kvat_llama_can_trim(&engine), full);
        assert_int_equal(kvat_llama_run(&engine, &run, &fault), full ? 0 : -1);
        if (!full) assert_int_equal(fault.kind, KVAT_FAULT_UNSUPPORTED);
    }
}

/* ---- what came into force ---- */

static void settings_are_read_back_from_the_engine(void **state) {
    (void)state;
    kvat_settings settings = standard();
    settings.flash = KVAT_FLASH_SETTING_AUTO;
    settings.type_k = GGML_TYPE_Q8_0;
    settings.batch = 4096;
    settings.ubatch = 4096;
    load(llama_name);
    prepare(&settings, 700, 1);
    assert_int_equal(engine.settings.flash, KVAT_FLASH_SETTING_ON);
    assert_int_equal(engine.settings.type_k, GGML_TYPE_Q8_0);
    assert_int_equal(engine.settings.type_v, GGML_TYPE_F16);
    assert_int_equal(engine.settings.batch, 700);
    assert_int_equal(engine.settings.ubatch, 700);
    assert_int_equal(kvat_llama_context_tokens(&engine), 768);
    settings.flash = KVAT_FLASH_SETTING_OFF;
    settings.type_k = GGML_TYPE_F16;
    prepare(&settings, 700, 1);
    assert_int_equal(engine.settings.flash, KVAT_FLASH_SETTING_OFF);
    assert_int_equal(engine.settings.type_k, GGML_TYPE_F16);
}

static void impossible_settings_name_the_knob(void **state) {
    (void)state;
    kvat_fault fault = {0};
    kvat_settings settings = standard();
    load(llama_name);
    settings.flash = KVAT_FLASH_SETTING_OFF;
    settings.type_v = GGML_TYPE_Q8_0;
    assert_int_equal(kvat_llama_prepare(&engine, &settings, 256, 1, &fault), -1);
    assert_int_equal(fault.kind, KVAT_FAULT_UNSUPPORTED);
    assert_string_equal(fault.knob, "cache-type-v");
    settings = standard();
    settings.swa_full = 1;
    assert_int_equal(kvat_llama_prepare(&engine, &settings, 256, 1, &fault), -1);
    assert_string_equal(fault.knob, "swa-full");
    assert_null(engine.context);
}

/* The sanitizers reserve the whole address space, so there it cannot be limited. */
static void a_context_beyond_memory_is_out_of_memory(void **state) {
    (void)state;
#if defined(__SANITIZE_ADDRESS__)
    skip();
#else
    kvat_fault fault = {0};
    kvat_settings settings = standard();
    struct rlimit before, tight;
    load(llama_name);
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    tight = before;
    tight.rlim_cur = (rlim_t)4 << 30;
    assert_int_equal(setrlimit(RLIMIT_AS, &tight), 0);
    engine.log.quiet = true;
    int failed = kvat_llama_prepare(&engine, &settings, 1 << 25, 1, &fault); /* 8 GiB of cache */
    engine.log.quiet = false;
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    assert_int_equal(failed, -1);
    assert_int_equal(fault.kind, KVAT_FAULT_OOM_HOST);
#endif
}

/* ---- bytes ---- */

static void the_cache_takes_the_bytes_that_are_known(void **state) {
    (void)state;
    static const struct {
        int type;
        int64_t bytes;
    } known[] = {{GGML_TYPE_F16, 50331648}, {GGML_TYPE_Q8_0, 26738688}, {GGML_TYPE_Q4_0, 14155776}};
    char path[128], name[160];
    snprintf(path, sizeof path, "%s/qwen.json", folder);
    /* The attention of Qwen2.5 0.5B; its feed-forward and vocabulary do not matter to the cache. */
    tiny_write(
        path,
        "{\"model_type\": \"qwen2\", \"num_hidden_layers\": 24, \"hidden_size\": 896, \"num_attention_heads\": 14,"
        " \"num_key_value_heads\": 2, \"intermediate_size\": 64, \"vocab_size\": 512,"
        " \"max_position_embeddings\": 32768, \"rms_norm_eps\": 1e-6, \"rope_theta\": 1000000.0}");
    snprintf(name, sizeof name, "synthetic:%s", path);
    load(name);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        kvat_breakdown seen;
        kvat_settings settings = standard();
        settings.type_k = settings.type_v = known[i].type;
        prepare(&settings, 4096, 1);
        if (!kvat_breakdown_get(&seen, engine.context)) skip();
        assert_int_equal(seen.kv_bytes, known[i].bytes);
        assert_int_equal(kvat_llama_context_tokens(&engine), 4096);
    }
}

static void foresight_gives_the_cache_of_a_window_model_to_the_byte(void **state) {
    (void)state;
    kvat_fault fault = {0};
    kvat_foresight *f = calloc(1, sizeof *f);
    MUST(kvat_llama_open(&engine, gemma_name, true, &fault));
    MUST(kvat_llama_foresee(f, &engine, &fault));
    assert_int_equal(f->window_tokens, 64);
    assert_false(f->can_trim);
    assert_int_equal(f->flash_auto, KVAT_FLASH_SETTING_ON);
    assert_true(f->memory_known);
    assert_int_equal(f->n_groups, 2);
    assert_int_equal(f->groups[0].layers, 1);
    assert_int_equal(f->groups[0].window_tokens, 0);
    assert_int_equal(f->groups[1].layers, 5);
    assert_int_equal(f->groups[1].window_tokens, 64);
    assert_int_equal(f->groups[1].k_elements, 32);

    kvat_breakdown seen;
    kvat_settings settings = standard();
    load(gemma_name);
    prepare(&settings, 3000, 1);
    assert_true(kvat_breakdown_get(&seen, engine.context));
    int64_t cells = 3072, window_cells = 768; /* 64 + 512 padded to 256 */
    assert_int_equal(seen.kv_bytes, (cells + 5 * window_cells) * 2 * 32 * 2);
    free(f);
}

static void a_model_whose_file_changed_is_not_loaded(void **state) {
    (void)state;
    kvat_fault fault = {0};
    load(llama_name);
    FILE *file = fopen(engine.path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, -1, SEEK_END), 0);
    fputc(9, file);
    assert_int_equal(fputc(9, file), 9);
    fclose(file);
    assert_int_equal(kvat_llama_open(&engine, llama_name, false, &fault), -1);
    assert_int_equal(fault.kind, KVAT_FAULT_BAD_MODEL);
    assert_non_null(strstr(fault.detail, "model changed"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_largest_value_is_chosen),
        cmocka_unit_test(runs_repeat_and_times_ascend),
        cmocka_unit_test(marks_give_the_tokens_of_separate_runs),
        cmocka_unit_test(bursts_repeat_the_same_tokens),
        cmocka_unit_test(a_trimmed_cache_goes_on_bit_for_bit),
        cmocka_unit_test(decode_goes_on_from_a_prefill),
        cmocka_unit_test(equal_prompts_give_equal_tokens_in_all_sequences),
        cmocka_unit_test(a_run_past_its_limit_stops_itself),
        cmocka_unit_test(a_cancelled_run_says_so),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(a_model_with_a_window_is_cut_back_only_with_the_full_cache),
        cmocka_unit_test(settings_are_read_back_from_the_engine),
        cmocka_unit_test(impossible_settings_name_the_knob),
        cmocka_unit_test(a_context_beyond_memory_is_out_of_memory),
        cmocka_unit_test(the_cache_takes_the_bytes_that_are_known),
        cmocka_unit_test(foresight_gives_the_cache_of_a_window_model_to_the_byte),
        cmocka_unit_test(a_model_whose_file_changed_is_not_loaded),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
