// Tests of measuring a step, as far as that needs no worker.
#include "fail_alloc.h"
#include "job_fixture.h"
#include "session.h"

typedef struct settings {
    json_t *context, *request;
} settings;

static kvat_status join(void *context, kvat_error *err) {
    const settings *s = context;
    json_t *both = NULL;
    kvat_status status = kvat__settings_join(&both, s->context, s->request, err);
    if (status == KVAT_OK) {
        assert_int_equal(json_object_size(both), 3);
        assert_string_equal(json_string_value(json_object_get(both, "flash-attn")), "on");
        assert_int_equal(json_integer_value(json_object_get(both, "threads")), 4);
    }
    json_decref(both);
    return status;
}

static void settings_are_joined_or_nothing_is_kept(void **state) {
    (void)state;
    settings s = {fixture_json("{\"flash-attn\": \"on\", \"ubatch-size\": 256}"), fixture_json("{\"threads\": 4}")};
    assert_true(fail_alloc_each(join, &s) > 2);
    assert_int_equal(json_object_size(s.context), 2);
    json_decref(s.context);
    json_decref(s.request);
}

int main(void) {
    json_set_alloc_funcs(malloc, free);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_are_joined_or_nothing_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
