// Tests of the job: what is kept of a request, and what is refused of a stored one.
#include "job_fixture.h"

static kvat__job *job_from(const json_t *describe, const char *const *launch, const char *const *argv) {
    kvat_tune_request request = KVAT_TUNE_REQUEST_INIT;
    request.model = "toy";
    request.profile = "ci-micro";
    request.launch = launch;
    request.argv = argv;
    kvat_machine machine = {.threads = 4, .memory_limit_bytes = (int64_t)1 << 34};
    json_t *hello = fixture_json(fixture_hello);
    kvat__job *job = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    if (kvat__job_from_request(&job, &request, hello, describe, &machine, "pretend", "as asked", &err) != KVAT_OK)
        fail_msg("%s", err.message);
    json_decref(hello);
    return job;
}

static kvat__job *job_of(const char *const *launch, const char *const *argv) {
    json_t *describe = fixture_json(fixture_describe);
    kvat__job *job = job_from(describe, launch, argv);
    json_decref(describe);
    return job;
}

static void identity_of(char *hex, const char *const *launch) {
    kvat__job *job = job_of(launch, NULL);
    assert_int_equal(kvat__job_identity(hex, job, NULL), KVAT_OK);
    kvat__job_free(job);
}

static void another_launch_prefix_is_another_run(void **state) {
    (void)state;
    const char *const one[] = {"ssh", "one", NULL}, *const two[] = {"ssh", "two", NULL};
    char none[KVAT_HASH_HEX], first[KVAT_HASH_HEX], again[KVAT_HASH_HEX], second[KVAT_HASH_HEX];
    identity_of(none, NULL);
    identity_of(first, one);
    identity_of(again, one);
    identity_of(second, two);
    assert_string_equal(first, again);
    assert_string_not_equal(first, second);
    assert_string_not_equal(first, none);
}

static void command_line_names_neither_folders_nor_hosts(void **state) {
    (void)state;
    static const struct {
        const char *argv[5];
        const char *kept[4];
    } cases[] = {
        {{"kvat", "tune", "/home/ada/m.gguf", NULL}, {"kvat", "tune", "m.gguf"}},
        {{"kvat", "--launch", "ssh ada@host", "m.gguf", NULL}, {"kvat", "--launch", "PREFIX", "m.gguf"}},
        {{"kvat", "--launch=ssh ada@host", "m.gguf", NULL}, {"kvat", "--launch=PREFIX", "m.gguf"}},
        {{"kvat", "--output=/home/ada/out", NULL}, {"kvat", "--output=out"}},
        {{"kvat", "--engine", "/home/ada/worker", NULL}, {"kvat", "--engine", "./worker"}},
        {{"kvat", "--engine=/home/ada/worker", NULL}, {"kvat", "--engine=./worker"}},
        {{"kvat", "-e", "/home/ada/worker", NULL}, {"kvat", "-e", "./worker"}},
        {{"kvat", "-e/home/ada/worker", "-o/home/ada/out", NULL}, {"kvat", "-e./worker", "-oout"}},
        {{"kvat", "--engine", "bin/worker", NULL}, {"kvat", "--engine", "bin/worker"}},
        {{"kvat", "--engine", "sim", "/home/ada/m", NULL}, {"kvat", "--engine", "sim", "m"}},
        {{"kvat", "--launch", "--engine", "/home/ada/m", NULL}, {"kvat", "--launch", "PREFIX", "m"}},
        {{"kvat", "-o", "/tmp/run/", NULL}, {"kvat", "-o", "run"}},
        {{"kvat", "--output=/tmp/run//", NULL}, {"kvat", "--output=run"}},
        {{"kvat", "--output=/", NULL}, {"kvat", "--output=/"}},
        {{"kvat", "-o", "sub/run/", NULL}, {"kvat", "-o", "sub/run/"}},
        {{"kvat", "-osub/run", NULL}, {"kvat", "-osub/run"}},
        {{"kvat", "-vo/home/ada/run", NULL}, {"kvat", "-vorun"}},
        {{"kvat", "../../home/ada/m.gguf", NULL}, {"kvat", "m.gguf"}},
        {{"kvat", "a/../../ada/m.gguf", NULL}, {"kvat", "m.gguf"}},
        {{"kvat", "--output=../ada/out", "-o../ada/out", NULL}, {"kvat", "--output=out", "-oout"}},
        {{"kvat", "..m/m..gguf", "..", NULL}, {"kvat", "..m/m..gguf", ".."}},
        {{"kvat", "~ada/m.gguf", "~ada", "--output=~ada/", NULL}, {"kvat", "m.gguf", "~", "--output=~"}},
        {{"kvat", "/home/ada", "-o/home/ada/", "/home/adam", NULL}, {"kvat", "~", "-o~", "adam"}},
        {{"kvat", "--set", "x=a,/home/ada/b", NULL}, {"kvat", "--set", "x=a,b"}},
        {{"kvat", "--set", "x=/home/ada/a,/home/ada/b,~ada/c", NULL}, {"kvat", "--set", "x=a,b,c"}},
        {{"kvat", "--set", "x=/home/ada/k=v,w/m", NULL}, {"kvat", "--set", "x=m"}},
        {{"kvat", "--json", "--progress=json", "m", NULL}, {"kvat", "m"}},
        {{"kvat", "--progress", "json", "m", NULL}, {"kvat", "m"}},
        {{"kvat", "--launch", "--json", "m", NULL}, {"kvat", "--launch", "PREFIX", "m"}},
        {{"kvat", "--", "--json", "m", NULL}, {"kvat", "--", "--json", "m"}},
        {{"kvat", "--engine", "../ada/worker/", NULL}, {"kvat", "--engine", "./worker"}},
    };
    assert_int_equal(setenv("HOME", "/home/ada", true), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat__job *job = job_of(NULL, cases[i].argv);
        const json_t *argv = json_object_get(job->note, "argv");
        size_t n = 0;
        for (; n < 4 && cases[i].kept[n]; n++)
            assert_string_equal(json_string_value(json_array_get(argv, n)), cases[i].kept[n]);
        assert_int_equal(json_array_size(argv), n);
        kvat__job_free(job);
    }
}

static char *text_of(const json_t *json) {
    char *text = json_dumps(json, JSON_COMPACT);
    assert_non_null(text);
    return text;
}

/** Reads the job back from a record of that identity (NULL: any) whose configurations are `space`. */
static kvat_status read_back_as(const char *identity, const kvat__job *job, const json_t *space, kvat_error *err) {
    char *texts[] = {text_of(job->request),     text_of(job->hello), text_of(job->describe),
                     text_of(job->environment), text_of(job->note),  text_of(space)};
    kvat_run_record record = {.identity = identity,
                              .request_json = texts[0],
                              .engine_json = texts[1],
                              .describe_json = texts[2],
                              .environment_json = texts[3],
                              .note_json = texts[4],
                              .space_json = texts[5]};
    kvat__job *back = NULL;
    kvat_status status = kvat__job_from_record(&back, &record, err);
    kvat__job_free(back);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) free(texts[i]);
    return status;
}

static kvat_status read_back(const kvat__job *job, const json_t *space, kvat_error *err) {
    return read_back_as(NULL, job, space, err);
}

static void stored_configurations_in_another_order_are_refused(void **state) {
    (void)state;
    kvat__job *job = job_of(NULL, NULL);
    json_t *space = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    assert_int_equal(kvat__job_space_json(&space, job, &err), KVAT_OK);
    assert_int_equal(read_back(job, space, &err), KVAT_OK);
    json_t *first = json_incref(json_array_get(space, 0));
    json_array_remove(space, 0);
    json_array_append_new(space, first);
    assert_int_equal(read_back(job, space, &err), KVAT_ERR_DATA);
    assert_non_null(strstr(err.message, "--fresh"));
    json_decref(space);
    kvat__job_free(job);
}

static void a_stored_request_that_is_not_the_one_of_its_run_is_refused(void **state) {
    (void)state;
    kvat__job *job = job_of(NULL, NULL);
    json_t *space = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    char identity[KVAT_HASH_HEX];
    assert_int_equal(kvat__job_space_json(&space, job, &err), KVAT_OK);
    assert_int_equal(kvat__job_identity(identity, job, &err), KVAT_OK);
    assert_int_equal(read_back_as(identity, job, space, &err), KVAT_OK);
    json_object_set_new(job->request, "delta", json_real(0.3));
    assert_int_equal(read_back_as(identity, job, space, &err), KVAT_ERR_DATA);
    assert_non_null(strstr(err.message, "is not the one that was measured"));
    json_decref(space);
    kvat__job_free(job);
}

static void a_sample_is_said_to_be_one_once(void **state) {
    (void)state;
    json_t *describe = fixture_json(fixture_describe), *knobs = json_object_get(describe, "knobs");
    for (int i = 0; i < 30; i++) {
        char name[16];
        snprintf(name, sizeof name, "k%d", i);
        json_array_append_new(knobs, json_pack("{s:s, s:s, s:[i,i], s:i, s:[i,i], s:s}", "name", name, "type", "int",
                                               "values", 0, 1, "default", 0, "search", 0, 1, "scope", "request"));
    }
    kvat__job *job = job_from(describe, NULL, NULL), *again = NULL;
    assert_int_equal(kvat_space_count(job->space), KVAT_SPACE_MAX);
    assert_int_equal(kvat__job_copy(&again, job, NULL), KVAT_OK);
    const json_t *notes = json_object_get(again->describe, "notes");
    assert_int_equal(json_array_size(notes), 1);
    assert_string_equal(json_string_value(json_array_get(notes, 0)),
                        "10000 of 6442450944 combinations were drawn at random: what was not drawn was not considered");
    kvat__job_free(again);
    kvat__job_free(job);
    json_decref(describe);
}

static void a_forecast_that_cannot_be_made_is_unknown_and_said_once(void **state) {
    (void)state;
    static const char model[] = "{\"types\": {\"q8_0\": {\"block\": 32, \"bytes\": 34}}, \"kv_groups\": "
                                "[{\"layers\": 2, \"k_elements\": 64, \"v_elements\": 64}]}";
    json_t *describe = fixture_json(fixture_describe);
    assert_int_equal(json_object_set_new(describe, "memory_model", fixture_json(model)), 0);
    kvat__job *job = job_from(describe, NULL, NULL);
    for (size_t i = 0; i < kvat_space_count(job->space); i++) assert_int_equal(job->forecast_bytes[i], 0);
    kvat__job *again = NULL;
    assert_int_equal(kvat__job_copy(&again, job, NULL), KVAT_OK);
    const json_t *notes = json_object_get(again->describe, "notes");
    assert_int_equal(json_array_size(notes), 1);
    assert_non_null(strstr(json_string_value(json_array_get(notes, 0)), "6 of 6 configurations"));
    assert_non_null(strstr(json_string_value(json_array_get(notes, 0)), "f16"));
    kvat__job_free(again);
    kvat__job_free(job);
    json_decref(describe);
}

static void impossible_integers_of_a_model_are_named(void **state) {
    (void)state;
    static const struct {
        const char *member;
        json_int_t value;
    } cases[] = {
        {"token_low", -1},
        {"token_low", INT64_MAX},
        {"token_high", INT64_MIN},
        {"token_high", INT64_MAX},
        {"training_context_tokens", INT64_MIN},
        {"training_context_tokens", INT64_MAX},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_tune_request request = KVAT_TUNE_REQUEST_INIT;
        request.profile = "ci-micro";
        kvat_machine machine = {.threads = 4};
        json_t *hello = fixture_json(fixture_hello), *describe = fixture_json(fixture_describe);
        json_object_set_new(json_object_get(describe, "model"), cases[i].member, json_integer(cases[i].value));
        kvat__job *job = NULL;
        kvat_error err = KVAT_ERROR_INIT;
        assert_int_equal(kvat__job_from_request(&job, &request, hello, describe, &machine, "pretend", "", &err),
                         KVAT_ERR_ENGINE);
        assert_non_null(strstr(err.message, cases[i].member));
        json_decref(hello);
        json_decref(describe);
    }
}

static void what_the_worker_says_is_kept_without_folders(void **state) {
    (void)state;
    json_t *describe = fixture_json(fixture_describe);
    json_object_set_new(describe, "notes", json_pack("[s]", "ignoring /mnt/alice/engine.conf:3"));
    kvat__job *job = job_from(describe, NULL, NULL);
    assert_string_equal(json_string_value(json_array_get(json_object_get(job->describe, "notes"), 0)),
                        "ignoring engine.conf:3");
    assert_string_equal(json_string_value(json_array_get(json_object_get(describe, "notes"), 0)),
                        "ignoring /mnt/alice/engine.conf:3"); /* the caller's is not touched */
    kvat__job_free(job);
    json_decref(describe);
}

/* ---- how the search is asked ---- */

/** `n` knobs of two values each, beside the fixture's two, of six configurations. */
static kvat__job *job_with_knobs(int n, double delta) {
    json_t *describe = fixture_json(fixture_describe), *knobs = json_object_get(describe, "knobs");
    for (int i = 0; i < n; i++) {
        char name[16];
        snprintf(name, sizeof name, "k%d", i);
        json_array_append_new(knobs, json_pack("{s:s, s:s, s:[i,i], s:i, s:[i,i], s:s}", "name", name, "type", "int",
                                               "values", 0, 1, "default", 0, "search", 0, 1, "scope", "request"));
    }
    char *text = json_dumps(describe, JSON_COMPACT);
    assert_non_null(text);
    kvat_tune_request request = KVAT_TUNE_REQUEST_INIT;
    request.delta = delta;
    kvat__job *job = fixture_job_of(request, text);
    free(text);
    json_decref(describe);
    return job;
}

static void what_counts_as_equal_goes_by_how_many_there_are(void **state) {
    (void)state;
    static const struct {
        int knobs;
        double asked;
        size_t configs;
        double delta;
    } cases[] = {{0, 0, 6, 0.01},     {3, 0, 48, 0.01},   {4, 0, 96, 0.02},
                 {4, 0.01, 96, 0.01}, {0, 0.02, 6, 0.02}, {8, 0, 1536, 0.02}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat__job *job = job_with_knobs(cases[i].knobs, cases[i].asked), *again = NULL;
        assert_int_equal(kvat_space_count(job->space), cases[i].configs);
        assert_true(job->delta == cases[i].delta);
        assert_int_equal(json_object_get(job->request, "delta") != NULL, cases[i].asked > 0);
        assert_int_equal(kvat__job_copy(&again, job, NULL), KVAT_OK);
        assert_true(again->delta == cases[i].delta); /* the same when it is read back */
        kvat__job_free(again);
        kvat__job_free(job);
    }
}

static void exactly_64_are_few(void **state) {
    (void)state;
    kvat_tune_request request = KVAT_TUNE_REQUEST_INIT;
    char text[2048];
    static const char knob[] = "{\"name\": \"%s\", \"type\": \"int\", \"values\": [0, 1, 2, 3, 4, 5, 6, 7%s], "
                               "\"default\": 0, \"search\": [0, 1, 2, 3, 4, 5, 6, 7%s], \"scope\": \"request\"}";
    for (int more = 0; more < 2; more++) {
        char one[256], two[256];
        snprintf(one, sizeof one, knob, "one", "", "");
        snprintf(two, sizeof two, knob, "two", more ? ", 8" : "", more ? ", 8" : "");
        snprintf(text, sizeof text,
                 "{\"model\": {\"name\": \"toy\", \"identity\": \"sha256:0\", \"training_context_tokens\": 4096, "
                 "\"token_low\": 1, \"token_high\": 99}, \"knobs\": [%s, %s]}",
                 one, two);
        kvat__job *job = fixture_job_of(request, text);
        assert_int_equal(kvat_space_count(job->space), more ? 72 : 64);
        assert_true(job->delta == (more ? 0.02 : 0.01));
        kvat__job_free(job);
    }
}

static void the_method_asked_for_is_the_one_used(void **state) {
    (void)state;
    static const char *const asked[] = {NULL, "model", "race", "guess"};
    char identity[4][KVAT_HASH_HEX];
    for (size_t i = 0; i < 4; i++) {
        kvat_tune_request request = KVAT_TUNE_REQUEST_INIT;
        request.search = asked[i];
        kvat__job *job = fixture_job_of(request, fixture_describe);
        kvat__drive *drive = NULL;
        kvat_error err = KVAT_ERROR_INIT;
        assert_string_equal(json_string_value(json_object_get(job->request, "search")), asked[i] ? asked[i] : "model");
        assert_int_equal(kvat__job_identity(identity[i], job, NULL), KVAT_OK);
        assert_int_equal(kvat__drive_new(&drive, job, &err), i == 3 ? KVAT_ERR_USAGE : KVAT_OK);
        if (i == 3) assert_non_null(strstr(err.message, "'guess'"));
        kvat__drive_free(i == 3 ? NULL : drive);
        kvat__job_free(job);
    }
    assert_string_equal(identity[0], identity[1]);
    assert_string_not_equal(identity[1], identity[2]); /* a run is gone on with by the method it began with */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_launch_prefix_is_another_run),
        cmocka_unit_test(command_line_names_neither_folders_nor_hosts),
        cmocka_unit_test(a_forecast_that_cannot_be_made_is_unknown_and_said_once),
        cmocka_unit_test(impossible_integers_of_a_model_are_named),
        cmocka_unit_test(what_the_worker_says_is_kept_without_folders),
        cmocka_unit_test(a_stored_request_that_is_not_the_one_of_its_run_is_refused),
        cmocka_unit_test(a_sample_is_said_to_be_one_once),
        cmocka_unit_test(what_counts_as_equal_goes_by_how_many_there_are),
        cmocka_unit_test(exactly_64_are_few),
        cmocka_unit_test(the_method_asked_for_is_the_one_used),
        cmocka_unit_test(stored_configurations_in_another_order_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
