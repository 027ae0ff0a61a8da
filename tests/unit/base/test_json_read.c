/* What JSON from outside is taken and what is refused, by the categories of JSONTestSuite.
 * Must not know any format made of JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "fail_alloc.h"
#include "kvat/json.h"

/* A text with its length, since some hold NUL. */
typedef struct sample {
    const char *text;
    size_t n;
} sample;
#define S(literal)                                                                                                     \
    { literal, sizeof literal - 1 }

static const sample valid[] = {
    /* any value may stand alone, with blanks around it */
    S("0"),
    S("-0"),
    S("42"),
    S("-1.5"),
    S("\"\""),
    S("\"text\""),
    S("true"),
    S("false"),
    S("null"),
    S("[]"),
    S("{}"),
    S(" \t\r\n[ \t\r\n] \t\r\n"),
    S("[1]\n"),
    /* numbers */
    S("[0e1]"),
    S("[0e+1]"),
    S("[1E22]"),
    S("[1E-2]"),
    S("[1E+2]"),
    S("[123.456e78]"),
    S("[-123]"),
    S("[-0.0]"),
    S("[0.00000000000000000000000000000000000000000000000001]"),
    S("[1e-999]"),
    S("[9223372036854775807]"),
    S("[-9223372036854775808]"),
    /* arrays and objects */
    S("[null, 1, \"1\", {}, [], true]"),
    S("[[],[[]]]"),
    S("[1,null,null,2]"),
    S("{\"\":0}"),
    S("{\"a\":1,\"A\":2}"),
    S("{\"a\":{\"a\":{\"a\":[]}}}"),
    S("{\n\"a\": [\n]\n}"),
    S("{\"min\": -1.0e+28, \"max\": 1.0e+28}"),
    /* strings */
    S("[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]"),
    S("[\"\\u0061\\u00E9\\uFFFF\\u001f\"]"),
    S("[\"\\uD834\\uDD1E\"]"),
    S("[\"\\uDBFF\\uDFFF\"]"),
    S("[\"\\\\u0000\"]"),
    S("[\"\\\\a\"]"),
    S("[\"a/*b*/c//d\"]"),
    S("[\"\x7f\"]"),
    S("[\"\u00e9\u20ac\U0001d11e\"]"),
    S("[\"\u2028\u2029\u200b\ufffe\U0010ffff\"]"),
    S("{\"\\u0041\":\"\\u0042\"}"),
};

static const sample invalid[] = {
    /* nothing, or something beside the value */
    S(""),
    S(" "),
    S("\n"),
    S("[]]"),
    S("[1]x"),
    S("[1][2]"),
    S("{}{}"),
    S("[1],"),
    S("2@"),
    S("\"a\" x"),
    S("[]\x0c"),
    S("\x0b[]"),
    S("[]\xe2\x81\xa0"),
    S("\xef\xbb\xbf[]"),
    S("\xef\xbb"),
    S("\xef\xbb\xbf"),
    S("[1]#"),
    S("[]//"),
    S("[/**/]"),
    S("{}/*"),
    S("<null>"),
    S("*"),
    S("\xc3\xa9"),
    S("\xff"),
    /* NUL bytes, which end no text */
    S("1\0"),
    S("123\0"),
    S("[]\0"),
    S("\0[]"),
    S("[\0]"),
    S("[1\0]"),
    S("\"a\0b\""),
    S("[\"\\\0\"]"),
    S("nul\0"),
    S("[\0\"\0a\0\"\0]\0"),
    /* arrays */
    S("["),
    S("]"),
    S("[,]"),
    S("[1,]"),
    S("[,1]"),
    S("[1,,2]"),
    S("[1 true]"),
    S("[1:2]"),
    S("[1;2]"),
    S("[1"),
    S("[1,"),
    S("[[]"),
    S("[\"a\""),
    S("[{}"),
    S("[*]"),
    S("[a]"),
    S("[-]"),
    S("[x"),
    S("[\"a\",\n4\n,"),
    /* objects */
    S("{"),
    S("}"),
    S("{]"),
    S("[}"),
    S("{,}"),
    S("{\"a\"}"),
    S("{\"a\":}"),
    S("{:1}"),
    S("{\"a\" 1}"),
    S("{\"a\",1}"),
    S("{\"a\"::1}"),
    S("{\"a\":1,}"),
    S("{\"a\":1,,\"b\":2}"),
    S("{\"a\":1 \"b\":2}"),
    S("{a:1}"),
    S("{'a':1}"),
    S("{1:1}"),
    S("{null:1}"),
    S("{[]:1}"),
    S("{\"a\":'b'}"),
    S("{\"a\":x}"),
    S("{\"a\":1"),
    S("{\"a\":\"b"),
    S("{\"a\":1}}"),
    S("{\"a\":1}#"),
    S("{\"\xb9\":0,}"),
    /* words */
    S("tru"),
    S("nul"),
    S("fals"),
    S("True"),
    S("NULL"),
    S("truee"),
    S("undefined"),
    S("[nul"),
    S("[tru]"),
    S("a\xc3\xa5"),
    /* numbers */
    S("[01]"),
    S("[-01]"),
    S("[00]"),
    S("[+1]"),
    S("[++1]"),
    S("[-]"),
    S("[- 1]"),
    S("[--1]"),
    S("[1+]"),
    S("[1-]"),
    S("[.5]"),
    S("[-.5]"),
    S("[1.]"),
    S("[-1.]"),
    S("[1.e1]"),
    S("[1e]"),
    S("[1E+]"),
    S("[1e-]"),
    S("[1eE2]"),
    S("[1.0e]"),
    S("[0.1.2]"),
    S("[1 000]"),
    S("[1_000]"),
    S("[1,000.]"),
    S("[0x1]"),
    S("[1a]"),
    S("[1ea]"),
    S("[1+2]"),
    S("[NaN]"),
    S("[-NaN]"),
    S("[nan]"),
    S("[Inf]"),
    S("[Infinity]"),
    S("[-Infinity]"),
    S("[\xef\xbc\x91]"),
    S("[1\xe5]"),
    S("[1e1\xe5]"),
    S("[0\xe5]"),
    /* numbers out of range */
    S("1e999"),
    S("[-1e999]"),
    S("[123123e100000]"),
    S("[9223372036854775808]"),
    S("[-9223372036854775809]"),
    S("[100000000000000000000]"),
    /* strings */
    S("\""),
    S("\"a"),
    S("[\"]"),
    S("['a']"),
    S("[\"a\nb\"]"),
    S("[\"a\tb\"]"),
    S("[\"\x1f\"]"),
    S("[\"\\x00\"]"),
    S("[\"\\a\"]"),
    S("[\"\\'\"]"),
    S("[\"\\"),
    S("[\"\\\"]"),
    S("[\"\\\t\"]"),
    S("[\"\\\xf0\x9f\x8c\x80\"]"),
    S("[\"\\u\"]"),
    S("[\"\\u00\"]"),
    S("[\"\\u00G0\"]"),
    S("[\"\\U0041\"]"),
    S("[\\n]"),
    S("[\\u0020\"a\"]"),
    S("[\"\\u\xe5\"]"),
    /* no UTF-8 */
    S("[\"\xff\"]"),
    S("[\"\xe9\"]"),
    S("[\"\x81\"]"),
    S("[\"\xc0\xaf\"]"),
    S("[\"\xed\xa0\x80\"]"),
    S("[\"\xf4\x90\x80\x80\"]"),
    S("[\"\xfc\x83\xbf\xbf\xbf\xbf\"]"),
    S("[\"\xe2\x82\"]"),
    S("{\"\xff\":1}"),
    S("\xff\xfe[\0]\0"),
    /* halves of surrogate pairs */
    S("[\"\\uD800\"]"),
    S("[\"\\uDFAA\"]"),
    S("[\"\\uD800\\n\"]"),
    S("[\"\\uD800\\uD800\"]"),
    S("[\"\\uD888\\u1234\"]"),
    S("[\"\\uDd1e\\uD834\"]"),
    S("[\"\\uD800x\"]"),
    S("[\"\\uD800\\u\"]"),
    S("{\"\\uDFAA\":0}"),
    /* valid elsewhere, refused here: no one can tell what was meant */
    S("{\"a\":1,\"a\":2}"),
    S("{\"a\":1,\"a\":1}"),
    S("{\"a\":{\"b\":1,\"b\":2}}"),
    S("{\"a\":1,\"\\u0061\":2}"),
    S("[\"\\u0000\"]"),
    S("{\"\\u0000\":1}"),
    S("[\"a\\u0000b\"]"),
};

static void valid_texts_are_taken(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof valid / sizeof *valid; i++) {
        json_t *value = NULL;
        kvat_error err = KVAT_ERROR_INIT;
        if (kvat_json_parse(&value, valid[i].text, valid[i].n, "sample", &err) != KVAT_OK)
            fail_msg("%s: %s", valid[i].text, err.message);
        assert_non_null(value);
        json_decref(value);
    }
}

static void invalid_texts_are_refused_without_a_value(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof invalid / sizeof *invalid; i++) {
        json_t *value = NULL;
        kvat_error err = KVAT_ERROR_INIT;
        if (kvat_json_parse(&value, invalid[i].text, invalid[i].n, "sample", &err) != KVAT_ERR_DATA)
            fail_msg("taken: %s", invalid[i].text);
        assert_null(value);
        assert_memory_equal(err.message, "sample: ", 8);
    }
}

static void every_cut_text_is_refused(void **state) {
    (void)state;
    static const char text[] = "{\"a\": [1.5e3, -2, \"x\\u00e9\\n\", true, null, {\"b\": {}}], \"c\": false}";
    json_t *value = NULL;
    assert_int_equal(kvat_json_parse(&value, text, sizeof text - 1, "whole", NULL), KVAT_OK);
    json_decref(value);
    for (size_t n = 0; n < sizeof text - 1; n++) {
        value = NULL;
        char *cut = malloc(n ? n : 1); /* on the heap, so that reading on is noticed */
        memcpy(cut, text, n);
        assert_int_equal(kvat_json_parse(&value, cut, n, "cut", NULL), KVAT_ERR_DATA);
        assert_null(value);
        free(cut);
    }
}

static void a_message_names_the_place_and_the_reason(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"[1,\n  2,\n  x]", "f.json: line 3, column 3: not valid JSON"},
        {"{\"a\":1,\n\"a\":2}", "f.json: line 2, column 3: a member occurs twice in one object"},
        {"[1e999]", "f.json: line 1, column 6: a number is out of range"},
        {"[1", "f.json: line 1, column 2: the text ends too early"},
        {"[\"\\u0000\"]", "f.json: line 1, column 9: a string holds the character NUL"},
        {"[] []", "f.json: line 1, column 4: something follows the end of the JSON value"},
        {"[\"\xff\"]", "f.json: line 1, column 2: invalid UTF-8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *value = NULL;
        kvat_error err = KVAT_ERROR_INIT;
        assert_int_equal(kvat_json_parse(&value, cases[i].text, strlen(cases[i].text), "f.json", &err), KVAT_ERR_DATA);
        assert_string_equal(err.message, cases[i].message);
    }
}

static void a_message_never_quotes_the_text(void **state) {
    (void)state;
    static const char *const cases[] = {"[\"canary\" canary]", "{\"canary\":1,\"canary\":2}", "canary", "[\"canary"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *value = NULL;
        kvat_error err = KVAT_ERROR_INIT;
        assert_int_equal(kvat_json_parse(&value, cases[i], strlen(cases[i]), "f", &err), KVAT_ERR_DATA);
        assert_null(strstr(err.message, "canary"));
    }
}

/* `depth` times `opening`, then as many `closing`; the caller frees. */
static char *nested(size_t *n, const char *opening, const char *closing, size_t depth) {
    kvat_buf buf = KVAT_BUF_INIT;
    for (size_t i = 0; i < depth; i++) kvat_buf_puts(&buf, opening);
    kvat_buf_puts(&buf, "0");
    for (size_t i = 0; i < depth; i++) kvat_buf_puts(&buf, closing);
    *n = buf.length;
    return kvat_buf_take(&buf);
}

static void sixty_four_levels_are_taken_and_one_more_refused(void **state) {
    (void)state;
    static const char *const brackets[][2] = {{"[", "]"}, {"{\"a\":", "}"}, {"[1,", ",2]"}, {"[\"]}\",", "]"}};
    for (size_t i = 0; i < sizeof brackets / sizeof *brackets; i++) {
        for (size_t depth = KVAT_JSON_MAX_DEPTH; depth <= KVAT_JSON_MAX_DEPTH + 1; depth++) {
            size_t n;
            json_t *value = NULL;
            kvat_error err = KVAT_ERROR_INIT;
            char *text = nested(&n, brackets[i][0], brackets[i][1], depth);
            bool fits = depth <= KVAT_JSON_MAX_DEPTH;
            assert_int_equal(kvat_json_parse(&value, text, n, "deep", &err), fits ? KVAT_OK : KVAT_ERR_DATA);
            if (!fits) assert_non_null(strstr(err.message, "nested deeper than 64 levels"));
            json_decref(value);
            free(text);
        }
    }
}

static void a_hundred_thousand_levels_are_refused(void **state) {
    (void)state;
    static const char *const openings[] = {"[", "{\"\":", "\n[", "{\"a\":["};
    for (size_t i = 0; i < sizeof openings / sizeof *openings; i++) {
        size_t n;
        json_t *value = NULL;
        char *text = nested(&n, openings[i], "", 100000);
        assert_int_equal(kvat_json_parse(&value, text, n, "deep", NULL), KVAT_ERR_DATA);
        assert_null(value);
        free(text);
    }
}

static void brackets_inside_strings_are_no_levels(void **state) {
    (void)state;
    size_t n;
    json_t *value = NULL;
    char *text = nested(&n, "[", "", 1000);
    kvat_buf buf = KVAT_BUF_INIT;
    kvat_buf_printf(&buf, "[\"\\\"%s\\\\\", 1]", text);
    assert_int_equal(kvat_json_parse(&value, buf.bytes, buf.length, "flat", NULL), KVAT_OK);
    json_decref(value);
    kvat_buf_clear(&buf);
    free(text);
}

static void too_many_values_are_refused_before_they_are_made(void **state) {
    (void)state;
    size_t n = 2 * (size_t)KVAT_JSON_MAX_VALUES + 3;
    char *text = malloc(n);
    for (size_t i = 0; i < n; i++) text[i] = i % 2 ? '0' : ',';
    text[0] = '[';
    text[n - 1] = ']';
    json_t *value = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    assert_int_equal(kvat_json_parse(&value, text, n, "wide", &err), KVAT_ERR_DATA);
    assert_non_null(strstr(err.message, "values"));
    free(text);
}

static void a_text_over_the_size_cap_is_refused_unread(void **state) {
    (void)state;
    json_t *value = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    assert_int_equal(kvat_json_parse(&value, "[]", KVAT_JSON_MAX_FILE_BYTES + 1, "large", &err), KVAT_ERR_DATA);
    assert_non_null(strstr(err.message, "large: "));
    assert_int_equal(kvat_json_parse(&value, NULL, 0, "none", &err), KVAT_ERR_DATA);
}

static kvat_status parse_one(void *context, kvat_error *err) {
    (void)context;
    static const char text[] =
        "{\"a\": [1, 2.5, \"long enough a text for a block of its own\", {\"b\": null}], \"c\": {}}";
    json_t *value = NULL;
    kvat_status status = kvat_json_parse(&value, text, sizeof text - 1, "sample", err);
    assert_int_equal(value == NULL, status != KVAT_OK);
    json_decref(value);
    return status;
}

static void every_failing_allocation_is_reported(void **state) {
    (void)state;
    json_set_alloc_funcs(malloc, free);
    assert_true(fail_alloc_each(parse_one, NULL) > 10);
}

/* A path in a folder of its own, for as long as the test runs. */
static int make_folder(void **state) {
    static char folder[] = "/tmp/kvat-test-json-XXXXXX";
    strcpy(folder, "/tmp/kvat-test-json-XXXXXX");
    *state = mkdtemp(folder);
    return *state ? 0 : -1;
}

static int remove_folder(void **state) {
    return rmdir(*state);
}

static void a_file_is_read_and_named_in_messages(void **state) {
    char path[128];
    json_t *value = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    snprintf(path, sizeof path, "%s/f.json", (char *)*state);
    assert_int_equal(kvat_json_read_file(&value, path, &err), KVAT_ERR_DATA);
    assert_non_null(strstr(err.message, path));

    FILE *file = fopen(path, "w");
    fputs("{\"a\": 1}\n", file);
    fclose(file);
    assert_int_equal(kvat_json_read_file(&value, path, &err), KVAT_OK);
    assert_int_equal(json_integer_value(json_object_get(value, "a")), 1);
    json_decref(value);

    value = NULL;
    assert_int_equal(truncate(path, 5), 0);
    assert_int_equal(kvat_json_read_file(&value, path, &err), KVAT_ERR_DATA);
    assert_non_null(strstr(err.message, "f.json: line 1, column "));
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(kvat_json_read_file(&value, path, &err), KVAT_ERR_DATA);

    assert_int_equal(truncate(path, (off_t)KVAT_JSON_MAX_FILE_BYTES + 1), 0); /* all holes */
    assert_int_equal(kvat_json_read_file(&value, path, &err), KVAT_ERR_DATA);
    assert_non_null(strstr(err.message, "larger than"));
    assert_null(value);
    unlink(path);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_texts_are_taken),
        cmocka_unit_test(invalid_texts_are_refused_without_a_value),
        cmocka_unit_test(every_cut_text_is_refused),
        cmocka_unit_test(a_message_names_the_place_and_the_reason),
        cmocka_unit_test(a_message_never_quotes_the_text),
        cmocka_unit_test(sixty_four_levels_are_taken_and_one_more_refused),
        cmocka_unit_test(a_hundred_thousand_levels_are_refused),
        cmocka_unit_test(brackets_inside_strings_are_no_levels),
        cmocka_unit_test(too_many_values_are_refused_before_they_are_made),
        cmocka_unit_test(a_text_over_the_size_cap_is_refused_unread),
        cmocka_unit_test(every_failing_allocation_is_reported),
        cmocka_unit_test_setup_teardown(a_file_is_read_and_named_in_messages, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
