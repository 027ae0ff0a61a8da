/* Members of objects: found, checked, or explained.
 * Must not know any format made of JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "kvat/json.h"

static const char text[] =
    "{\"string\":\"s\",\"empty\":\"\",\"int\":7,\"negative\":-7,\"largest\":9223372036854775807,\"real\":2.5,"
    "\"whole\":2048.0,\"huge\":1e300,\"true\":true,\"false\":false,\"array\":[1],\"object\":{\"a\":1},\"null\":null}";

static int parse_sample(void **state) {
    json_t *value = NULL;
    if (kvat_json_parse(&value, text, sizeof text - 1, "sample", NULL) != KVAT_OK) return -1;
    *state = value;
    return 0;
}

static int free_sample(void **state) {
    json_decref(*state);
    return 0;
}

static kvat_json_at at(void **state) {
    return (kvat_json_at){*state, "knobs[3]"};
}

static void members_of_the_right_type_are_found(void **state) {
    const char *string = NULL;
    int64_t integer = 0;
    double real = 0;
    bool boolean = false;
    json_t *array = NULL;
    json_t *object = NULL;
    assert_int_equal(kvat_json_get_string(&string, at(state), "string", true, NULL), KVAT_OK);
    assert_string_equal(string, "s");
    assert_int_equal(kvat_json_get_int(&integer, at(state), "int", 7, 7, true, NULL), KVAT_OK);
    assert_int_equal(integer, 7);
    assert_int_equal(kvat_json_get_int(&integer, at(state), "largest", 0, INT64_MAX, true, NULL), KVAT_OK);
    assert_true(integer == INT64_MAX);
    assert_int_equal(kvat_json_get_int(&integer, at(state), "whole", 0, 4096, true, NULL), KVAT_OK);
    assert_int_equal(integer, 2048);
    assert_int_equal(kvat_json_get_real(&real, at(state), "real", 0, 2.5, true, NULL), KVAT_OK);
    assert_true(real == 2.5);
    assert_int_equal(kvat_json_get_real(&real, at(state), "negative", -7, 0, true, NULL), KVAT_OK);
    assert_true(real == -7);
    assert_int_equal(kvat_json_get_bool(&boolean, at(state), "true", true, NULL), KVAT_OK);
    assert_true(boolean);
    assert_int_equal(kvat_json_get_bool(&boolean, at(state), "false", true, NULL), KVAT_OK);
    assert_false(boolean);
    assert_int_equal(kvat_json_get_array(&array, at(state), "array", true, NULL), KVAT_OK);
    assert_int_equal(json_array_size(array), 1);
    assert_int_equal(kvat_json_get_object(&object, at(state), "object", true, NULL), KVAT_OK);
    assert_int_equal(json_object_size(object), 1);
}

static const char kept[] = "kept";

typedef struct outputs {
    const char *string;
    int64_t integer;
    double real;
    bool boolean;
    json_t *array, *object;
} outputs;
#define OUTPUTS                                                                                                        \
    { kept, 4711, 47.11, true, (json_t *)1, (json_t *)1 }

static void absent_and_null_members_leave_the_default_unless_required(void **state) {
    static const char *const members[] = {"absent", "null"};
    for (size_t i = 0; i < 2; i++) {
        outputs out = OUTPUTS;
        assert_int_equal(kvat_json_get_string(&out.string, at(state), members[i], false, NULL), KVAT_OK);
        assert_int_equal(kvat_json_get_int(&out.integer, at(state), members[i], 0, 1, false, NULL), KVAT_OK);
        assert_int_equal(kvat_json_get_real(&out.real, at(state), members[i], 0, 1, false, NULL), KVAT_OK);
        assert_int_equal(kvat_json_get_bool(&out.boolean, at(state), members[i], false, NULL), KVAT_OK);
        assert_ptr_equal(out.string, kept);
        assert_true(out.integer == 4711 && out.real == 47.11 && out.boolean);
        assert_int_equal(kvat_json_get_array(&out.array, at(state), members[i], false, NULL), KVAT_OK);
        assert_int_equal(kvat_json_get_object(&out.object, at(state), members[i], false, NULL), KVAT_OK);
        assert_null(out.array);
        assert_null(out.object);
    }
}

typedef enum getter { STRING, INT, REAL, BOOL, ARRAY, OBJECT } getter;

/* Integers from 0 to 5, reals from 0.5 to 1. */
static kvat_status get(getter which, outputs *out, kvat_json_at where, const char *member, bool required,
                       kvat_error *err) {
    switch (which) {
    case STRING:
        return kvat_json_get_string(&out->string, where, member, required, err);
    case INT:
        return kvat_json_get_int(&out->integer, where, member, 0, 5, required, err);
    case REAL:
        return kvat_json_get_real(&out->real, where, member, 0.5, 1, required, err);
    case BOOL:
        return kvat_json_get_bool(&out->boolean, where, member, required, err);
    case ARRAY:
        return kvat_json_get_array(&out->array, where, member, required, err);
    default:
        return kvat_json_get_object(&out->object, where, member, required, err);
    }
}

static void assert_untouched(const outputs *out) {
    assert_ptr_equal(out->string, kept);
    assert_true(out->integer == 4711 && out->real == 47.11 && out->boolean);
    assert_ptr_equal(out->array, (json_t *)1);
    assert_ptr_equal(out->object, (json_t *)1);
}

static void a_wrong_member_is_named_with_what_was_expected(void **state) {
    static const struct {
        getter getter;
        const char *member;
        bool required;
        const char *message;
    } cases[] = {
        {STRING, "int", false, "knobs[3].int: expected a string, not an integer"},
        {STRING, "absent", true, "knobs[3].absent: expected a string, not nothing (the member is missing)"},
        {STRING, "null", true, "knobs[3].null: expected a string, not null"},
        {INT, "string", false, "knobs[3].string: expected an integer, not a string"},
        {INT, "real", false, "knobs[3].real: expected an integer, not a real number"},
        {INT, "huge", false, "knobs[3].huge: expected an integer, not a real number"},
        {INT, "int", false, "knobs[3].int: expected an integer from 0 to 5, not 7"},
        {INT, "negative", true, "knobs[3].negative: expected an integer from 0 to 5, not -7"},
        {INT, "absent", true, "knobs[3].absent: expected an integer, not nothing (the member is missing)"},
        {REAL, "string", false, "knobs[3].string: expected a number, not a string"},
        {REAL, "real", false, "knobs[3].real: expected a number from 0.5 to 1, not 2.5"},
        {REAL, "negative", false, "knobs[3].negative: expected a number from 0.5 to 1, not -7"},
        {BOOL, "int", false, "knobs[3].int: expected a boolean, not an integer"},
        {BOOL, "null", true, "knobs[3].null: expected a boolean, not null"},
        {ARRAY, "object", false, "knobs[3].object: expected an array, not an object"},
        {ARRAY, "absent", true, "knobs[3].absent: expected an array, not nothing (the member is missing)"},
        {OBJECT, "array", false, "knobs[3].array: expected an object, not an array"},
        {OBJECT, "true", false, "knobs[3].true: expected an object, not a boolean"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        outputs out = OUTPUTS;
        kvat_error err = KVAT_ERROR_INIT;
        kvat_status status = get(cases[i].getter, &out, at(state), cases[i].member, cases[i].required, &err);
        assert_int_equal(status, KVAT_ERR_DATA);
        assert_string_equal(err.message, cases[i].message);
        assert_untouched(&out);
    }
}

static void without_a_path_only_the_member_is_named(void **state) {
    outputs out = OUTPUTS;
    kvat_error err = KVAT_ERROR_INIT;
    assert_int_equal(get(STRING, &out, (kvat_json_at){*state, ""}, "int", true, &err), KVAT_ERR_DATA);
    assert_string_equal(err.message, "int: expected a string, not an integer");
    assert_int_equal(get(STRING, &out, (kvat_json_at){*state, NULL}, "int", true, &err), KVAT_ERR_DATA);
    assert_string_equal(err.message, "int: expected a string, not an integer");
}

static void members_of_what_is_no_object_are_refused(void **state) {
    const json_t *const values[] = {NULL, json_object_get(*state, "array"), json_object_get(*state, "null")};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        for (getter which = STRING; which <= OBJECT; which++) {
            outputs out = OUTPUTS;
            kvat_error err = KVAT_ERROR_INIT;
            assert_int_equal(get(which, &out, (kvat_json_at){values[i], "cell"}, "a", false, &err), KVAT_ERR_DATA);
            assert_string_equal(err.message, "cell: expected an object");
            assert_untouched(&out);
        }
    }
}

static void unknown_members_are_refused_with_the_nearest_name(void **state) {
    (void)state;
    static const char *const known[] = {"name", "context", "output_tokens", NULL};
    static const struct {
        const char *text;
        kvat_status status;
        const char *message;
    } cases[] = {
        {"{}", KVAT_OK, ""},
        {"{\"name\":1,\"context\":2}", KVAT_OK, ""},
        {"{\"contxt\":1}", KVAT_ERR_DATA, "profile.contxt: unknown member; did you mean \"context\"?"},
        {"{\"zebra\":1}", KVAT_ERR_DATA, "profile.zebra: unknown member"},
        {"{\"a\\nb\":1}", KVAT_ERR_DATA, "profile.a\\u{000A}b: unknown member"},
        {"[]", KVAT_ERR_DATA, "profile: expected an object"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *value = NULL;
        kvat_error err = KVAT_ERROR_INIT;
        assert_int_equal(kvat_json_parse(&value, cases[i].text, strlen(cases[i].text), "sample", NULL), KVAT_OK);
        assert_int_equal(kvat_json_only_members((kvat_json_at){value, "profile"}, known, &err), cases[i].status);
        assert_string_equal(err.message, cases[i].message);
        json_decref(value);
    }
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_of_the_right_type_are_found),
        cmocka_unit_test(absent_and_null_members_leave_the_default_unless_required),
        cmocka_unit_test(a_wrong_member_is_named_with_what_was_expected),
        cmocka_unit_test(without_a_path_only_the_member_is_named),
        cmocka_unit_test(members_of_what_is_no_object_are_refused),
        cmocka_unit_test(unknown_members_are_refused_with_the_nearest_name),
    };
    return cmocka_run_group_tests(tests, parse_sample, free_sample);
}
