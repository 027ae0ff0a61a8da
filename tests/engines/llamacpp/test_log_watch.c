/* What is made of the lines that libllama logs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "llama.h"
#include "log_watch.h"

static void lines_tell_what_is_in_force(void **state) {
    (void)state;
    static const struct {
        const char *line;
        kvat_flash flash;
    } cases[] = {
        {"resolve_fused_ops: Flash Attention enabled\n", KVAT_FLASH_ON},
        {"resolve_fused_ops: Flash Attention not supported, set to disabled\n", KVAT_FLASH_OFF},
        {"llama_init_from_model: flash_attn is not compatible with Grok - forcing off\n", KVAT_FLASH_OFF},
        {"llama_init_from_model: enabling flash_attn since it is required for quantized V cache\n", KVAT_FLASH_ON},
        {"llama_context: flash_attn            = auto\n", KVAT_FLASH_UNSAID}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_log_watch watch = {0};
        kvat__log_watch_hear(&watch, GGML_LOG_LEVEL_INFO, cases[i].line);
        assert_int_equal(watch.flash, cases[i].flash);
    }
    kvat_log_watch watch = {0};
    kvat__log_watch_hear(&watch, GGML_LOG_LEVEL_INFO,
                         "llama_kv_cache: size =   12.00 MiB (  768 cells,  12 layers,  1/1 seqs), K (q8_0):    4.00 "
                         "MiB, V (f16):    8.00 MiB\n");
    assert_string_equal(watch.key_type, "q8_0");
    assert_string_equal(watch.value_type, "f16");
}

static void failures_are_told_apart(void **state) {
    (void)state;
    static const struct {
        const char *line;
        bool memory, device;
    } cases[] = {{"ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 1\n", true, false},
                 {"llama_init_from_model: failed to initialize the context: std::bad_alloc\n", true, false},
                 {"alloc_tensor_range: failed to allocate CUDA0 buffer of size 8\n", true, true},
                 {"llama_init_from_model: quantized V cache requires flash_attn to be enabled\n", false, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_log_watch watch = {0};
        kvat__log_watch_hear(&watch, GGML_LOG_LEVEL_ERROR, cases[i].line);
        assert_int_equal(watch.out_of_memory, cases[i].memory);
        assert_int_equal(watch.on_device, cases[i].device);
        assert_int_equal(strlen(watch.error), strlen(cases[i].line) - 1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(lines_tell_what_is_in_force),
                                       cmocka_unit_test(failures_are_told_apart)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
