// Tests of what is kept of a worker's words: neither folders nor this machine's name.
#include "job_fixture.h"

#include <stdlib.h>
#include <unistd.h>

static void told_as(const char *text, const char *expected) {
    kvat_buf out = KVAT_BUF_INIT;
    kvat__put_private(&out, text);
    assert_int_equal(out.status, KVAT_OK);
    assert_string_equal(out.bytes ? out.bytes : "", expected);
    kvat_buf_clear(&out);
}

static void absolute_paths_keep_their_last_part_alone(void **state) {
    (void)state;
    static const struct {
        const char *text, *told;
    } cases[] = {
        {"", ""},
        {"/home/alice/.cache/x/ggml.c:12: GGML_ASSERT(n > 0) failed", "ggml.c:12: GGML_ASSERT(n > 0) failed"},
        {"the worker exited with code 1: /opt/alice/lib.so: no such file",
         "the worker exited with code 1: lib.so: no such file"},
        {"cannot open '/mnt/Alice Smith/m.gguf': denied", "cannot open 'm.gguf': denied"},
        {"cannot open \xe2\x80\x98/mnt/Alice Smith/m.gguf\xe2\x80\x99", "cannot open \xe2\x80\x98m.gguf\xe2\x80\x99"},
        {"'/usr/bin/cc /mnt/alice/x.c'", "'cc x.c'"},
        {"it's /mnt/alice/x that isn't there", "it's x that isn't there"},
        {"PATH=/usr/bin:/mnt/alice/bin,/opt/a/b", "PATH=bin:bin,b"},
        {"(/mnt/alice/a.py, line 3)", "(a.py, line 3)"},
        {"-I/users/of/me/include/sub here", "-Isub here"},
        {"/users/of/me /users/of/me/ /users/of/men/x", "~ ~ x"},
        {"/users/of/me/two words", "two words"},
        {"/home/bob /home/bob/ /Users/bob/x", "~ ~ x"},
        {"file:///home/alice/x.gguf", "file://x.gguf"},
        {"GET http://127.0.0.1:8080/v1/models and/or 12 tok/s", "GET http://127.0.0.1:8080/v1/models and/or 12 tok/s"},
        {"src/model.c:3 and ./a/b stay; / and // too", "src/model.c:3 and ./a/b stay; / and / too"},
        {"first\n/mnt/alice/second", "first\nsecond"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) told_as(cases[i].text, cases[i].told);
}

static void the_name_of_this_machine_is_not_told(void **state) {
    (void)state;
    char host[256] = "", text[1024];
    assert_int_equal(gethostname(host, sizeof host - 1), 0);
    if (strlen(host) < 2 || strcmp(host, "localhost") == 0) skip();
    snprintf(text, sizeof text, "no route to %s: /mnt/%s/x, my%s", host, host, host);
    char expected[1024];
    snprintf(expected, sizeof expected, "no route to HOST: x, my%s", host);
    told_as(text, expected);
}

static void every_text_below_is_made_private(void **state) {
    (void)state;
    json_t *json = fixture_json("{\"a\":\"/x/y/z\",\"b\":[\"/x/q: gone\",{\"c\":\"as it is\",\"d\":3}]}");
    json_t *expected = fixture_json("{\"a\":\"z\",\"b\":[\"q: gone\",{\"c\":\"as it is\",\"d\":3}]}");
    assert_int_equal(kvat__make_json_private(json, NULL), KVAT_OK);
    assert_true(json_equal(json, expected));
    json_decref(json);
    json_decref(expected);
}

static int set_home(void **state) {
    (void)state;
    return setenv("HOME", "/users/of/me/", 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absolute_paths_keep_their_last_part_alone),
        cmocka_unit_test(the_name_of_this_machine_is_not_told),
        cmocka_unit_test(every_text_below_is_made_private),
    };
    return cmocka_run_group_tests(tests, set_home, NULL);
}
