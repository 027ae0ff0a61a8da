/* Snippets: every knob said, hostile values inert, and the script run by a real shell with a server that only repeats
 * its arguments. */
#include "unit/plan/plan_fixture.h"

#include <sys/stat.h>
#include <unistd.h>

#include "fail_alloc.h"

static void put(kvat_buf *out, const json_t *plan, const char *format, const char *model_path) {
    kvat_error err = KVAT_ERROR_INIT;
    const kvat_snippet_target target = {.model_path = model_path};
    if (kvat_snippet_put(out, plan, format, &target, &err) != KVAT_OK) fail_msg("%s: %s", format, err.message);
}

static void lists_agree(void **state) {
    (void)state;
    size_t n = 0;
    const kvat_snippet *files = kvat_snippets_for(&n, "llamacpp");
    const char *const *formats = kvat_snippet_formats("llamacpp");
    assert_int_equal(n, 2);
    for (size_t i = 0; i < n; i++) {
        const char *format = kvat_snippet_format_of("llamacpp", files[i].file_name);
        assert_non_null(format);
        bool listed = false;
        for (size_t k = 0; formats[k]; k++) listed |= strcmp(formats[k], format) == 0;
        assert_true(listed);
    }
    assert_string_equal(files[0].file_name, "llama-server.sh");
    assert_int_equal(files[0].mode, 0755);
    json_t *plan = plan_of(SAMPLE_WINNER);
    for (size_t k = 0; formats[k]; k++) {
        kvat_buf text = KVAT_BUF_INIT;
        put(&text, plan, formats[k], "/models/m.gguf");
        assert_true(text.length > 200);
        kvat_buf_clear(&text);
    }
    json_decref(plan);
}

static void an_engine_without_writer_has_no_snippets(void **state) {
    (void)state;
    size_t n = 7;
    kvat_buf text = KVAT_BUF_INIT;
    kvat_error err = KVAT_ERROR_INIT;
    json_t *plan = plan_of(SAMPLE_WINNER);
    assert_null(kvat_snippets_for(&n, "sim"));
    assert_int_equal(n, 0);
    assert_null(kvat_snippet_formats("sim")[0]);
    assert_null(kvat_snippet_format_of("sim", "llama-server.sh"));
    json_object_set_new(json_object_get(plan, "engine"), "name", json_string("sim"));
    assert_int_equal(kvat_snippet_put(&text, plan, "llama-server", NULL, &err), KVAT_ERR_USAGE);
    assert_int_equal(text.length, 0);
    json_decref(plan);
}

static void a_mistyped_format_gets_a_suggestion(void **state) {
    (void)state;
    kvat_buf text = KVAT_BUF_INIT;
    kvat_error err = KVAT_ERROR_INIT;
    json_t *plan = plan_of(SAMPLE_WINNER);
    assert_int_equal(kvat_snippet_put(&text, plan, "prest", NULL, &err), KVAT_ERR_USAGE);
    assert_non_null(strstr(err.message, "\"preset\""));
    json_decref(plan);
}

/* The names in the first column of the worker's own table. */
static void every_knob_of_the_worker_has_a_word(void **state) {
    (void)state;
    FILE *file = fopen(KVAT_SOURCE_DIR "/engines/llamacpp/knobs.c", "r");
    assert_non_null(file);
    char line[512], name[128];
    size_t found = 0;
    json_t *plan = plan_of(SAMPLE_WINNER), *settings = json_object_get(plan, "settings");
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, " {\"%127[^\"]\", KVAT_KNOB_", name) != 1 || !strstr(line, "KVAT_KNOB_")) continue;
        json_object_set_new(settings, name, json_string("7"));
        found++;
    }
    fclose(file);
    assert_true(found >= 20);
    const char *const *formats = kvat_snippet_formats("llamacpp");
    for (size_t k = 0; formats[k]; k++) {
        kvat_buf text = KVAT_BUF_INIT;
        put(&text, plan, formats[k], "/models/m.gguf");
        if (strstr(text.bytes, "NOT IN FORCE")) fail_msg("a knob has no word:\n%s", text.bytes);
        kvat_buf_clear(&text);
    }
    json_decref(plan);
}

static void an_unknown_knob_is_said_to_be_missing(void **state) {
    (void)state;
    json_t *plan = plan_of(SAMPLE_WINNER);
    const char *const *formats = kvat_snippet_formats("llamacpp");
    json_object_set_new(json_object_get(plan, "settings"), "warp-drive\nrm -rf", json_string("on\n`id`"));
    for (size_t k = 0; formats[k]; k++) {
        kvat_buf text = KVAT_BUF_INIT;
        put(&text, plan, formats[k], "/models/m.gguf");
        assert_non_null(strstr(text.bytes, "NOT IN FORCE: warp-drive\\u{000A}rm -rf = on\\u{000A}`id`"));
        kvat_buf_clear(&text);
    }
    json_decref(plan);
}

/* ---- the script, run ---- */
typedef struct sandbox {
    char folder[64], script[96], server[96], output[96];
} sandbox;

static void write_executable(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, 0755), 0);
}

static void open_sandbox(sandbox *s) {
    strcpy(s->folder, "/tmp/kvat-snippet-XXXXXX");
    assert_non_null(mkdtemp(s->folder));
    snprintf(s->script, sizeof s->script, "%s/llama-server.sh", s->folder);
    snprintf(s->server, sizeof s->server, "%s/server", s->folder);
    snprintf(s->output, sizeof s->output, "%s/output", s->folder);
    write_executable(s->server, "#!/bin/sh\nprintf '%s\\n' \"SPIN=${GOMP_SPINCOUNT-unset}\" >\"$KVAT_TEST_OUTPUT\"\n"
                                "for word in \"$@\"; do printf '<%s>\\n' \"$word\"; done >>\"$KVAT_TEST_OUTPUT\"\n");
    assert_int_equal(setenv("LLAMA_SERVER", s->server, 1), 0);
    assert_int_equal(setenv("KVAT_TEST_OUTPUT", s->output, 1), 0);
    unsetenv("GOMP_SPINCOUNT");
    unsetenv("MODEL");
}

static void close_sandbox(const sandbox *s) {
    unlink(s->script);
    unlink(s->server);
    unlink(s->output);
    assert_int_equal(rmdir(s->folder), 0);
}

/* What the server was given, or NULL when the script did not start it. The caller frees. */
static char *run_script(const sandbox *s, const json_t *plan, const char *model_path, const char *arguments) {
    kvat_buf text = KVAT_BUF_INIT, command = KVAT_BUF_INIT, output = KVAT_BUF_INIT;
    put(&text, plan, "llama-server", model_path);
    write_executable(s->script, text.bytes);
    unlink(s->output);
    kvat_buf_printf(&command, "%s %s 2>/dev/null", s->script, arguments);
    int status = system(command.bytes);
    FILE *file = fopen(s->output, "r");
    char block[4096];
    for (size_t n; file && (n = fread(block, 1, sizeof block, file)) > 0;) kvat_buf_put(&output, block, n);
    if (file) fclose(file);
    assert_int_equal(status == 0, file != NULL);
    kvat_buf_clear(&text);
    kvat_buf_clear(&command);
    return file ? kvat_buf_take(&output) : NULL;
}

static void the_script_gives_the_server_every_setting(void **state) {
    (void)state;
    sandbox s;
    open_sandbox(&s);
    json_t *plan = plan_of(SAMPLE_WINNER);
    char *given = run_script(&s, plan, "/models/m.gguf", "--port 9000");
    assert_string_equal(given,
                        "SPIN=unset\n<-m>\n</models/m.gguf>\n<-c>\n<8448>\n<-np>\n<1>\n<-ctk>\n<f16>\n<-ctv>\n<f16>\n"
                        "<-fa>\n<on>\n<-t>\n<4>\n<-tb>\n<8>\n<-b>\n<2048>\n<-ub>\n<256>\n<--repack>\n<-fit>\n<off>\n"
                        "<--port>\n<9000>\n");
    free(given);
    json_object_set_new(json_object_get(plan, "settings"), "repack", json_string("off"));
    json_object_set_new(json_object_get(plan, "settings"), "GOMP_SPINCOUNT", json_integer(0));
    json_object_set_new(plan, "sequences", json_integer(4));
    given = run_script(&s, plan, "/models/m.gguf", "");
    assert_non_null(strstr(given, "SPIN=0\n"));
    assert_non_null(strstr(given, "<--no-repack>\n"));
    assert_non_null(strstr(given, "<-c>\n<33792>\n<-np>\n<4>\n")); /* the server divides its context among slots */
    free(given);
    json_decref(plan);
    close_sandbox(&s);
}

static void hostile_paths_and_values_reach_the_server_as_they_are(void **state) {
    (void)state;
    static const char *const nasty[] = {
        "/m/$(touch owned).gguf",  "/m/`id`.gguf", "/m/it's; rm -rf .gguf", "-rf", "/m/new\nline \"x\".gguf",
        "/m/\xE2\x80\xAE\\u.gguf", "/m/ ${IFS}*?"};
    sandbox s;
    open_sandbox(&s);
    json_t *plan = plan_of(SAMPLE_HOSTILE);
    for (size_t i = 0; i < sizeof nasty / sizeof *nasty; i++) {
        char wanted[256];
        json_object_set_new(json_object_get(plan, "settings"), "override-tensor", json_string(nasty[i]));
        char *given = run_script(&s, plan, nasty[i], "");
        snprintf(wanted, sizeof wanted, "<-m>\n<%s>\n", nasty[i]);
        assert_non_null(given);
        assert_non_null(strstr(given, wanted));
        snprintf(wanted, sizeof wanted, "<-ot>\n<%s>\n", nasty[i]);
        assert_non_null(strstr(given, wanted));
        free(given);
    }
    assert_int_equal(access("owned", F_OK), -1);
    json_decref(plan);
    close_sandbox(&s);
}

static void without_a_path_the_script_asks_for_the_model(void **state) {
    (void)state;
    sandbox s;
    open_sandbox(&s);
    json_t *plan = plan_of(SAMPLE_WINNER);
    assert_null(run_script(&s, plan, NULL, ""));
    char *given = run_script(&s, plan, NULL, "other.gguf --port 1");
    assert_non_null(strstr(given, "<-m>\n<other.gguf>\n"));
    assert_non_null(strstr(given, "<off>\n<--port>\n<1>\n"));
    free(given);
    setenv("MODEL", "from the environment.gguf", 1);
    given = run_script(&s, plan, "/models/m.gguf", "");
    assert_non_null(strstr(given, "<-m>\n<from the environment.gguf>\n"));
    free(given);
    unsetenv("MODEL");
    json_decref(plan);
    close_sandbox(&s);
}

/* ---- the others ---- */
static void a_preset_refuses_what_it_cannot_say(void **state) {
    (void)state;
    static const char *const refused[] = {"/m/a#b.gguf", "/m/a;b.gguf", "/m/a\nb.gguf", "/m/a.gguf "};
    json_t *plan = plan_of(SAMPLE_WINNER);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        kvat_buf text = KVAT_BUF_INIT;
        kvat_error err = KVAT_ERROR_INIT;
        const kvat_snippet_target target = {.model_path = refused[i]};
        assert_int_equal(kvat_snippet_put(&text, plan, "preset", &target, &err), KVAT_ERR_USAGE);
        assert_int_equal(text.length, 0);
        assert_non_null(strstr(err.message, "preset"));
    }
    json_decref(plan);
}

/* What a run writes by itself may be passed on: it must not name the user. */
static void nothing_names_the_home_folder(void **state) {
    (void)state;
    static const struct {
        const char *path, *home, *script, *preset;
    } cases[] = {
        {"/home/ann/models/my m.gguf", "/home/ann", "MODEL=$HOME/'models/my m.gguf'", "folder is left out"},
        {"/home/anna/m.gguf", "/home/ann", "MODEL=/home/anna/m.gguf", "model = /home/anna/m.gguf"},
        {"/srv/m.gguf", "/home/ann", "MODEL=/srv/m.gguf", "model = /srv/m.gguf"},
        {"/srv/m.gguf", NULL, "MODEL=/srv/m.gguf", "model = /srv/m.gguf"},
    };
    json_t *plan = plan_of(SAMPLE_WINNER);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const kvat_snippet_target target = {.model_path = cases[i].path, .home = cases[i].home};
        kvat_buf script = KVAT_BUF_INIT, preset = KVAT_BUF_INIT;
        assert_int_equal(kvat_snippet_put(&script, plan, "llama-server", &target, NULL), KVAT_OK);
        assert_int_equal(kvat_snippet_put(&preset, plan, "preset", &target, NULL), KVAT_OK);
        assert_non_null(strstr(script.bytes, cases[i].script));
        assert_non_null(strstr(preset.bytes, cases[i].preset));
        assert_null(strstr(script.bytes, "/home/ann/"));
        assert_null(strstr(preset.bytes, "/home/ann/"));
        kvat_buf_clear(&script);
        kvat_buf_clear(&preset);
    }
    json_decref(plan);
}

/* Everything outside comments is a section, a key and a value, or a blank line. */
static void a_preset_of_hostile_names_keeps_its_shape(void **state) {
    (void)state;
    json_t *plan = plan_of(SAMPLE_HOSTILE);
    kvat_buf text = KVAT_BUF_INIT;
    put(&text, plan, "preset", "/models/m.gguf");
    size_t sections = 0;
    for (char *line = strtok(text.bytes, "\n"); line; line = strtok(NULL, "\n")) {
        if (*line == ';') continue;
        size_t n = strlen(line);
        if (*line == '[') {
            assert_int_equal(line[n - 1], ']');
            assert_int_equal(strspn(line + 1, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"),
                             n - 2);
            sections++;
        } else {
            assert_non_null(strstr(line, " = "));
        }
    }
    assert_int_equal(sections, 1);
    kvat_buf_clear(&text);
    json_decref(plan);
}

static void containers_get_variables_and_arguments(void **state) {
    (void)state;
    json_t *plan = plan_of(SAMPLE_WINNER);
    kvat_buf text = KVAT_BUF_INIT;
    put(&text, plan, "compose", "/models/$HOME/m.gguf");
    assert_non_null(strstr(text.bytes, "source: \"/models/$$HOME/m.gguf\"")); /* no substitution by Compose */
    assert_non_null(strstr(text.bytes, "LLAMA_ARG_UBATCH: \"256\""));
    assert_non_null(strstr(text.bytes, "LLAMA_ARG_REPACK: \"1\""));
    assert_non_null(strstr(text.bytes, "LLAMA_ARG_FIT: \"off\""));
    assert_non_null(strstr(text.bytes, "command: [\"--threads-batch\", \"8\"]"));
    kvat_buf_reset(&text);
    put(&text, plan, "k8s", NULL);
    assert_non_null(strstr(text.bytes, "- name: LLAMA_ARG_UBATCH\n              value: \"256\""));
    assert_non_null(strstr(text.bytes, "args: [\"--threads-batch\", \"8\"]"));
    assert_non_null(strstr(text.bytes, "memory: \""));
    kvat_buf_clear(&text);
    json_decref(plan);
}

/* Its limit is on the host's memory: of a peak that may be a device's nothing is known of that. */
static void a_container_is_limited_only_by_a_peak_of_the_hosts(void **state) {
    (void)state;
    static const struct {
        const char *source; /* JSON */
        bool limited;
    } cases[] = {{"\"VmHWM\"", true}, {"\"" KVAT_PEAK_OF_DEVICES "NVML\"", false}, {"null", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *plan = plan_of(SAMPLE_WINNER);
        kvat_buf text = KVAT_BUF_INIT;
        json_object_set_new(json_object_get(plan, "memory"), "source",
                            json_loads(cases[i].source, JSON_DECODE_ANY, NULL));
        put(&text, plan, "k8s", NULL);
        assert_int_equal(strstr(text.bytes, "memory: \"") != NULL, cases[i].limited);
        kvat_buf_clear(&text);
        json_decref(plan);
    }
}

/* The peak was measured without the server's prompt cache, so a limit made of it leaves that no room. */
static void a_limited_container_keeps_no_prompt_cache(void **state) {
    (void)state;
    static const char off[] = "- name: LLAMA_ARG_CACHE_RAM\n              value: \"0\"\n";
    json_t *plan = plan_of(SAMPLE_WINNER);
    const char *const *formats = kvat_snippet_formats("llamacpp");
    for (size_t k = 0; formats[k]; k++) {
        kvat_buf text = KVAT_BUF_INIT;
        put(&text, plan, formats[k], "/models/m.gguf");
        assert_int_equal(strstr(text.bytes, off) != NULL, strstr(text.bytes, "limits:") != NULL);
        assert_int_equal(strstr(text.bytes, "CACHE_RAM") != NULL, strcmp(formats[k], "k8s") == 0);
        assert_non_null(strstr(text.bytes, "no prompt cache is in that peak"));
        kvat_buf_clear(&text);
    }
    json_object_set_new(json_object_get(plan, "memory"), "source", json_null());
    kvat_buf unlimited = KVAT_BUF_INIT;
    put(&unlimited, plan, "k8s", NULL);
    assert_null(strstr(unlimited.bytes, "CACHE_RAM"));
    kvat_buf_clear(&unlimited);
    json_decref(plan);
}

static void every_format_says_what_is_not_decided(void **state) {
    (void)state;
    static const struct {
        const char *decision, *changed, *said; /* NULL: nothing of the kind */
    } cases[] = {
        {"winner", "{\"threads\": 4}", NULL},
        {"default", "{}", NULL},
        {"undecided", "{\"threads\": 4}", "  not decided: the best so far, not confirmed as the best\n"},
        {"undecided", "{}", "  not decided: the engine's default for now, nothing was confirmed to beat it\n"},
    };
    const char *const *formats = kvat_snippet_formats("llamacpp");
    json_t *plan = plan_of(SAMPLE_WINNER);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_object_set_new(plan, "decision", json_string(cases[i].decision));
        json_object_set_new(plan, "changed", json_loads(cases[i].changed, 0, NULL));
        for (size_t k = 0; formats[k]; k++) {
            kvat_buf text = KVAT_BUF_INIT;
            put(&text, plan, formats[k], "/models/m.gguf");
            assert_non_null(strstr(text.bytes, cases[i].said ? cases[i].said : "confirmed  "));
            assert_int_equal(strstr(text.bytes, "not decided") != NULL, cases[i].said != NULL);
            assert_int_equal(strstr(text.bytes, "confirmed  ") != NULL, cases[i].said == NULL);
            kvat_buf_clear(&text);
        }
    }
    json_decref(plan);
}

static void a_score_that_nobody_can_tell_is_no_number(void **state) {
    (void)state;
    static const struct {
        double value, low, high;
        const char *against, *said;
    } cases[] = {
        {1.2, 1.1, 1.3, "default", "score 110 to 130 where the engine's default is 100, from 6 fresh pairs\n"},
        {15.3, 0.48, 48.63, "first that works",
         "cannot tell the score where the first other configuration that works is 100, from 6 fresh pairs\n"},
        {15.3, 1.53, 48.63, "default", "score beyond 153 where the engine's default is 100"},
        {0.2, 0.04, 0.9, "default", "score below 90 where the engine's default is 100"},
    };
    json_t *plan = plan_of(SAMPLE_WINNER);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_buf text = KVAT_BUF_INIT;
        json_t *gain = json_object_get(plan, "gain");
        json_object_set_new(gain, "against", json_string(cases[i].against));
        json_object_set_new(
            gain, "score_ratio",
            json_pack("{s:f, s:f, s:f}", "value", cases[i].value, "low", cases[i].low, "high", cases[i].high));
        put(&text, plan, "llama-server", NULL);
        if (!strstr(text.bytes, cases[i].said)) fail_msg("\"%s\" is not in:\n%s", cases[i].said, text.bytes);
        kvat_buf_clear(&text);
    }
    json_decref(plan);
}

static void settings_of_a_rule_take_the_place_of_the_plans(void **state) {
    (void)state;
    json_t *plan = plan_of(SAMPLE_WINNER), *settings = json_pack("{s:i}", "threads", 3);
    kvat_buf text = KVAT_BUF_INIT;
    const kvat_snippet_target target = {.model_path = "/models/m.gguf", .settings = settings};
    assert_int_equal(kvat_snippet_put(&text, plan, "llama-server", &target, NULL), KVAT_OK);
    assert_non_null(strstr(text.bytes, "-t 3 "));
    assert_null(strstr(text.bytes, "-ub"));
    assert_non_null(strstr(text.bytes, "fallback rules"));
    assert_null(strstr(text.bytes, "measured  "));  /* these settings never were */
    assert_null(strstr(text.bytes, "confirmed  ")); /* and the plan's figures are not theirs */
    kvat_buf_clear(&text);
    json_decref(settings);
    json_decref(plan);
}

static void a_value_too_long_to_be_one_is_refused(void **state) {
    (void)state;
    json_t *plan = plan_of(SAMPLE_WINNER);
    char value[1000];
    kvat_buf text = KVAT_BUF_INIT;
    memset(value, 'x', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    json_object_set_new(json_object_get(plan, "settings"), "override-tensor", json_string(value));
    assert_int_equal(kvat_snippet_put(&text, plan, "llama-server", NULL, NULL), KVAT_ERR_DATA);
    kvat_buf_clear(&text);
    json_decref(plan);
}

typedef struct attempt {
    const json_t *plan;
    const char *format;
    size_t length;
} attempt;

static kvat_status write_and_free(void *context, kvat_error *err) {
    const attempt *a = context;
    kvat_buf text = KVAT_BUF_INIT;
    const kvat_snippet_target target = {.model_path = "/models/m.gguf"};
    kvat_status status = kvat_snippet_put(&text, a->plan, a->format, &target, err);
    size_t length = text.length;
    kvat_buf_clear(&text);
    if (status == KVAT_OK && a->length) assert_int_equal(length, a->length);
    return status;
}

static void out_of_memory_is_said_and_nothing_goes_missing(void **state) {
    (void)state;
    json_t *plan = plan_of(SAMPLE_WINNER);
    const char *const *formats = kvat_snippet_formats("llamacpp");
    for (size_t k = 0; formats[k]; k++) {
        kvat_buf whole = KVAT_BUF_INIT;
        put(&whole, plan, formats[k], "/models/m.gguf");
        attempt a = {plan, formats[k], whole.length};
        assert_true(fail_alloc_each(write_and_free, &a) > 0);
        kvat_buf_clear(&whole);
    }
    json_decref(plan);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_agree),
        cmocka_unit_test(an_engine_without_writer_has_no_snippets),
        cmocka_unit_test(a_mistyped_format_gets_a_suggestion),
        cmocka_unit_test(every_knob_of_the_worker_has_a_word),
        cmocka_unit_test(an_unknown_knob_is_said_to_be_missing),
        cmocka_unit_test(the_script_gives_the_server_every_setting),
        cmocka_unit_test(hostile_paths_and_values_reach_the_server_as_they_are),
        cmocka_unit_test(without_a_path_the_script_asks_for_the_model),
        cmocka_unit_test(a_preset_refuses_what_it_cannot_say),
        cmocka_unit_test(nothing_names_the_home_folder),
        cmocka_unit_test(a_preset_of_hostile_names_keeps_its_shape),
        cmocka_unit_test(containers_get_variables_and_arguments),
        cmocka_unit_test(a_container_is_limited_only_by_a_peak_of_the_hosts),
        cmocka_unit_test(a_limited_container_keeps_no_prompt_cache),
        cmocka_unit_test(every_format_says_what_is_not_decided),
        cmocka_unit_test(a_score_that_nobody_can_tell_is_no_number),
        cmocka_unit_test(settings_of_a_rule_take_the_place_of_the_plans),
        cmocka_unit_test(a_value_too_long_to_be_one_is_refused),
        cmocka_unit_test(out_of_memory_is_said_and_nothing_goes_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
