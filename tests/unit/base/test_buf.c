/* The buffer with a ceiling.
 * Must not know what the bytes mean. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "fail_alloc.h"
#include "kvat/buf.h"

static void appended_pieces_follow_each_other(void **state) {
    (void)state;
    kvat_buf buf = KVAT_BUF_INIT;
    kvat_buf_puts(&buf, "one");
    kvat_buf_putc(&buf, ' ');
    kvat_buf_put(&buf, "two\0x", 5);
    kvat_buf_printf(&buf, "%d%s", 3, "!");
    assert_int_equal(buf.length, 11);
    assert_memory_equal(buf.bytes, "one two\0x3!", 12);
    assert_int_equal(kvat_buf_status(&buf, NULL), KVAT_OK);
    kvat_buf_clear(&buf);
    assert_null(buf.bytes);
    assert_int_equal(buf.length, 0);
}

static void an_empty_append_gives_an_empty_string(void **state) {
    (void)state;
    kvat_buf buf = KVAT_BUF_INIT;
    kvat_buf_puts(&buf, NULL);
    assert_null(buf.bytes);
    kvat_buf_puts(&buf, "");
    assert_string_equal(buf.bytes, "");
    kvat_buf_clear(&buf);
    kvat_buf_printf(&buf, "%s", "");
    assert_string_equal(buf.bytes, "");
    kvat_buf_clear(&buf);
}

static void a_large_text_keeps_every_byte(void **state) {
    (void)state;
    kvat_buf buf = KVAT_BUF_INIT;
    for (int i = 0; i < 20000; i++) kvat_buf_printf(&buf, "%05d", i);
    assert_int_equal(buf.length, 100000);
    assert_int_equal(strlen(buf.bytes), 100000);
    for (int i = 0; i < 20000; i++) {
        char digits[6] = {0};
        memcpy(digits, buf.bytes + 5 * i, 5);
        assert_int_equal(atoi(digits), i);
    }
    kvat_buf_clear(&buf);
}

static void the_ceiling_can_be_reached_but_not_passed(void **state) {
    (void)state;
    kvat_error err = KVAT_ERROR_INIT;
    kvat_buf buf;
    kvat_buf_init(&buf, 10);
    kvat_buf_puts(&buf, "0123456789");
    assert_int_equal(kvat_buf_status(&buf, NULL), KVAT_OK);
    kvat_buf_putc(&buf, 'x');
    assert_int_equal(kvat_buf_status(&buf, &err), KVAT_ERR_DATA);
    assert_non_null(strstr(err.message, "10 bytes"));
    assert_string_equal(buf.bytes, "0123456789");
    kvat_buf_clear(&buf);
}

static void after_a_failure_nothing_is_appended_until_a_reset(void **state) {
    (void)state;
    kvat_buf buf;
    kvat_buf_init(&buf, 4);
    kvat_buf_puts(&buf, "ab");
    kvat_buf_puts(&buf, "too long");
    kvat_buf_puts(&buf, "c");
    kvat_buf_printf(&buf, "%d", 1);
    assert_string_equal(buf.bytes, "ab");
    assert_int_equal(buf.status, KVAT_ERR_DATA);
    kvat_buf_reset(&buf);
    assert_string_equal(buf.bytes, "");
    kvat_buf_puts(&buf, "abcd");
    assert_string_equal(buf.bytes, "abcd");
    assert_int_equal(buf.status, KVAT_OK);
    kvat_buf_clear(&buf);
}

static void without_a_ceiling_the_default_holds(void **state) {
    (void)state;
    kvat_buf buf = KVAT_BUF_INIT;
    kvat_buf_put(&buf, "x", KVAT_BUF_CEILING + 1); /* refused before a byte is read */
    assert_int_equal(buf.status, KVAT_ERR_DATA);
    kvat_buf_reset(&buf);
    kvat_buf_put(&buf, "x", SIZE_MAX);
    assert_int_equal(buf.status, KVAT_ERR_DATA);
    kvat_buf_clear(&buf);
}

static void taking_hands_over_the_bytes_and_empties(void **state) {
    (void)state;
    kvat_buf buf = KVAT_BUF_INIT;
    kvat_buf_puts(&buf, "text");
    char *text = kvat_buf_take(&buf);
    assert_string_equal(text, "text");
    free(text);
    assert_null(buf.bytes);
    text = kvat_buf_take(&buf);
    assert_string_equal(text, "");
    free(text);
}

static void taking_after_a_failure_gives_null_and_frees(void **state) {
    (void)state;
    kvat_buf buf;
    kvat_buf_init(&buf, 4);
    kvat_buf_puts(&buf, "abcd");
    kvat_buf_puts(&buf, "e");
    assert_null(kvat_buf_take(&buf));
    assert_null(buf.bytes);
    assert_int_equal(kvat_buf_status(&buf, NULL), KVAT_ERR_DATA);
}

static void consuming_drops_from_the_front(void **state) {
    (void)state;
    kvat_buf buf = KVAT_BUF_INIT;
    kvat_buf_consume(&buf, 3);
    kvat_buf_puts(&buf, "line\nrest");
    kvat_buf_consume(&buf, 5);
    assert_string_equal(buf.bytes, "rest");
    assert_int_equal(buf.length, 4);
    kvat_buf_consume(&buf, 99);
    assert_string_equal(buf.bytes, "");
    kvat_buf_clear(&buf);
}

static kvat_status fill(void *context, kvat_error *err) {
    (void)context;
    kvat_buf buf = KVAT_BUF_INIT;
    for (int i = 0; i < 100; i++) kvat_buf_printf(&buf, "%d ", i);
    kvat_status status = kvat_buf_status(&buf, err);
    char *text = kvat_buf_take(&buf);
    assert_int_equal(text == NULL, status != KVAT_OK);
    free(text);
    return status;
}

static kvat_status take_nothing(void *context, kvat_error *err) {
    (void)context;
    kvat_buf buf = KVAT_BUF_INIT;
    free(kvat_buf_take(&buf));
    return kvat_buf_status(&buf, err);
}

static void every_failing_allocation_is_reported(void **state) {
    (void)state;
    assert_true(fail_alloc_each(fill, NULL) > 2);
    assert_int_equal(fail_alloc_each(take_nothing, NULL), 1);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(appended_pieces_follow_each_other),
        cmocka_unit_test(an_empty_append_gives_an_empty_string),
        cmocka_unit_test(a_large_text_keeps_every_byte),
        cmocka_unit_test(the_ceiling_can_be_reached_but_not_passed),
        cmocka_unit_test(after_a_failure_nothing_is_appended_until_a_reset),
        cmocka_unit_test(without_a_ceiling_the_default_holds),
        cmocka_unit_test(taking_hands_over_the_bytes_and_empties),
        cmocka_unit_test(taking_after_a_failure_gives_null_and_frees),
        cmocka_unit_test(consuming_drops_from_the_front),
        cmocka_unit_test(every_failing_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
