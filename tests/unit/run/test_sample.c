// Tests of reading a worker's `run` answers: counts, order, depths, several sequences; everything wrong is named.
#include "job_fixture.h"

static kvat_profile *profile_of(const char *text) {
    json_t *json = fixture_json(text);
    kvat_profile *profile = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    if (kvat_profile_parse(&profile, json, &err) != KVAT_OK) fail_msg("%s", err.message);
    json_decref(json);
    return profile;
}

static const char two_depths[] =
    "{\"name\": \"t\", \"cells\": [{\"context\": 4, \"output_tokens\": 2, \"weight\": 0.25}, {\"context\": 4, "
    "\"output_tokens\": 3, \"weight\": 0.25}, {\"context\": 8, \"output_tokens\": 2, \"weight\": 0.5}], "
    "\"weights\": {\"ttft\": 0.5, \"decode\": 0.3, \"memory\": 0.2}}";

static kvat_trial_status read_text(kvat__measurement *m, const kvat_profile *profile, const char *text, bool with_marks,
                                   int64_t *run_ns) {
    memset(m, 0, sizeof *m);
    m->n_samples = profile->n_cells;
    m->samples = calloc(profile->n_cells, sizeof *m->samples);
    assert_non_null(m->samples);
    kvat__cell_group groups[8];
    kvat__mark marks[8];
    assert_int_equal(kvat__cell_groups(groups, profile), 1);
    size_t n = kvat__marks_of(marks, profile, &groups[0]);
    json_t *json = fixture_json(text);
    *run_ns = 0;
    kvat_trial_status status = kvat__read_run(m, json, profile, &groups[0], marks, n, with_marks, run_ns);
    json_decref(json);
    return status;
}

static void marks_of_a_profile_are_its_depths_with_the_longest_output(void **state) {
    (void)state;
    kvat_profile *profile = profile_of(two_depths);
    kvat__cell_group groups[8];
    kvat__mark marks[8];
    assert_int_equal(kvat__cell_groups(groups, profile), 1);
    assert_int_equal(groups[0].context_tokens, 10);
    assert_int_equal(kvat__marks_of(marks, profile, &groups[0]), 2);
    assert_int_equal(marks[0].prompt_tokens, 4);
    assert_int_equal(marks[0].output_tokens, 3);
    assert_int_equal(marks[1].prompt_tokens, 8);
    assert_int_equal(marks[1].output_tokens, 2);
    kvat_profile_free(profile);
}

static void shorter_outputs_are_the_beginning_of_the_longest(void **state) {
    (void)state;
    kvat_profile *profile = profile_of(two_depths);
    kvat__measurement m;
    int64_t run_ns;
    const char *text = "{\"status\": \"ok\", \"start_ns\": 100, \"now_ns\": 2000, \"marks\": ["
                       "{\"prompt_tokens\": 4, \"ttft_ns\": 400, \"sequences\": [{\"token_ns\": [500, 600, 800]}]},"
                       "{\"prompt_tokens\": 8, \"ttft_ns\": 900, \"sequences\": [{\"token_ns\": [1500, 1550]}]}]}";
    assert_int_equal(read_text(&m, profile, text, true, &run_ns), KVAT_TRIAL_OK);
    assert_int_equal(run_ns, 1900);
    assert_int_equal(m.n_timings, 2);
    assert_int_equal(m.samples[0].ttft_ns, 400);
    assert_true(fabs(m.samples[0].decode_tok_per_s - 1e9 / 100) < 1e-3);     /* 1 token in 100 ns */
    assert_true(fabs(m.samples[1].decode_tok_per_s - 2 * 1e9 / 300) < 1e-3); /* 2 tokens in 300 ns */
    assert_int_equal(m.samples[2].ttft_ns, 900);
    assert_true(fabs(m.samples[2].decode_tok_per_s - 1e9 / 50) < 1e-3);
    kvat__measurement_clear(&m);
    kvat_profile_free(profile);
}

static void ttft_of_a_plain_run_is_the_first_token_after_the_start(void **state) {
    (void)state;
    kvat_profile *profile =
        profile_of("{\"name\": \"t\", \"context\": [4], \"output_tokens\": [3], \"batch\": [2], \"weights\": "
                   "{\"ttft\": 0.5, \"decode\": 0.3, \"memory\": 0.2}}");
    kvat__measurement m;
    int64_t run_ns;
    const char *text = "{\"status\": \"ok\", \"start_ns\": 1000, \"sequences\": ["
                       "{\"prompt_tokens\": 4, \"token_ns\": [1500, 1600, 1700]},"
                       "{\"prompt_tokens\": 4, \"token_ns\": [1700, 1800, 1900]}]}";
    assert_int_equal(read_text(&m, profile, text, false, &run_ns), KVAT_TRIAL_OK);
    assert_int_equal(m.samples[0].ttft_ns, 600); /* mean of 500 and 700 */
    assert_int_equal(m.samples[0].ttft_worst_ns, 700);
    assert_true(fabs(m.samples[0].decode_tok_per_s - 2e7) < 1e-3); /* 10⁷ each, summed */
    kvat__measurement_clear(&m);
    kvat_profile_free(profile);
}

static void wrong_answers_are_named(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool marks;
        kvat_trial_status status;
        const char *says;
    } cases[] = {
        {"{\"status\": \"timeout\"}", true, KVAT_TRIAL_TIMEOUT, "time limit"},
        {"{\"status\": \"fine\"}", true, KVAT_TRIAL_PROTOCOL_ERROR, "unknown status"},
        {"{}", true, KVAT_TRIAL_PROTOCOL_ERROR, "start_ns"},
        {"{\"start_ns\": 1, \"marks\": []}", true, KVAT_TRIAL_PROTOCOL_ERROR, "0 marks"},
        {"{\"start_ns\": 1, \"marks\": [{\"prompt_tokens\": 5, \"ttft_ns\": 1, \"sequences\": []}, {}]}", true,
         KVAT_TRIAL_PROTOCOL_ERROR, "not at 4 tokens"},
        {"{\"start_ns\": 1, \"marks\": [{\"prompt_tokens\": 4, \"sequences\": []}, {}]}", true,
         KVAT_TRIAL_PROTOCOL_ERROR, "ttft_ns"},
        {"{\"start_ns\": 1, \"marks\": [{\"prompt_tokens\": 4, \"ttft_ns\": 9, \"sequences\": []}, {}]}", true,
         KVAT_TRIAL_INVALID, "0 sequences"},
        {"{\"start_ns\": 1, \"marks\": [{\"prompt_tokens\": 4, \"ttft_ns\": 9, \"sequences\": "
         "[{\"token_ns\": [10, 20]}]}, {}]}",
         true, KVAT_TRIAL_INVALID, "2 output tokens where 3"},
        {"{\"start_ns\": 1, \"marks\": [{\"prompt_tokens\": 4, \"ttft_ns\": 9, \"sequences\": [{\"token_ns\": [10, 30, "
         "20]}]}, {}]}",
         true, KVAT_TRIAL_PROTOCOL_ERROR, ""},
        {"{\"start_ns\": 1, \"marks\": [{\"prompt_tokens\": 4, \"ttft_ns\": 9, \"sequences\": "
         "[{\"token_ns\": [10, \"x\", 20]}]}, {}]}",
         true, KVAT_TRIAL_PROTOCOL_ERROR, "no clock reading"},
        {"{\"start_ns\": -9223372036854775808}", true, KVAT_TRIAL_PROTOCOL_ERROR, "start_ns"},
        {"{\"start_ns\": 9223372036854775807}", true, KVAT_TRIAL_PROTOCOL_ERROR, "start_ns"},
        {"{\"start_ns\": 1, \"now_ns\": -9223372036854775808}", true, KVAT_TRIAL_PROTOCOL_ERROR, "now_ns"},
        {"{\"start_ns\": 1, \"now_ns\": 9223372036854775807}", true, KVAT_TRIAL_PROTOCOL_ERROR, "now_ns"},
        {"{\"start_ns\": 1, \"now_ns\": 4611686018427387904}", true, KVAT_TRIAL_PROTOCOL_ERROR, "now_ns"},
        {"{\"start_ns\": 2, \"now_ns\": 1}", true, KVAT_TRIAL_PROTOCOL_ERROR, "now_ns"},
        {"{\"start_ns\": 1, \"marks\": [{\"prompt_tokens\": 4, \"ttft_ns\": 9223372036854775807, \"sequences\": []}, "
         "{}]}",
         true, KVAT_TRIAL_PROTOCOL_ERROR, "ttft_ns"},
        {"{\"start_ns\": 1, \"marks\": [{\"prompt_tokens\": 4, \"ttft_ns\": 9, \"sequences\": "
         "[{\"token_ns\": [10, 20, 9223372036854775807]}]}, {}]}",
         true, KVAT_TRIAL_PROTOCOL_ERROR, "token_ns[2]"},
        {"{\"start_ns\": 1, \"marks\": [{\"prompt_tokens\": 4, \"ttft_ns\": 9, \"sequences\": "
         "[{\"token_ns\": [10, 20, 4611686018427387904]}]}, {}]}",
         true, KVAT_TRIAL_PROTOCOL_ERROR, "token_ns[2] is too long"},
        {"{\"start_ns\": 4611686018427387904, \"marks\": [{\"prompt_tokens\": 4, \"ttft_ns\": 9, \"sequences\": "
         "[{\"token_ns\": [1, 2, 3]}]}, {}]}",
         true, KVAT_TRIAL_PROTOCOL_ERROR, "token_ns[0] is before start_ns"},
        {"{\"start_ns\": null, \"now_ns\": 9, \"marks\": []}", true, KVAT_TRIAL_PROTOCOL_ERROR, "start_ns"},
    };
    kvat_profile *profile = profile_of(two_depths);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat__measurement m;
        int64_t run_ns;
        kvat_trial_status status = read_text(&m, profile, cases[i].text, cases[i].marks, &run_ns);
        if (status != cases[i].status || !strstr(m.detail.bytes ? m.detail.bytes : "", cases[i].says))
            fail_msg("case %zu: %s: %s", i, kvat_trial_status_word(status), m.detail.bytes);
        kvat__measurement_clear(&m);
    }
    kvat_profile_free(profile);
}

/* ---- bursts ---- */

static const char long_outputs[] =
    "{\"name\": \"t\", \"cells\": [{\"context\": 4, \"output_tokens\": 3, \"weight\": 0.25}, {\"context\": 4, "
    "\"output_tokens\": 103, \"weight\": 0.25}, {\"context\": 204, \"output_tokens\": 3, \"weight\": 0.5}], "
    "\"weights\": {\"ttft\": 0.5, \"decode\": 0.3, \"memory\": 0.2}}";

/** Reads marks of bursts of three tokens, two at each depth, and fits what was longer. */
static kvat_trial_status read_bursts_of(kvat__measurement *m, const kvat_profile *profile, const char *text) {
    memset(m, 0, sizeof *m);
    m->n_samples = profile->n_cells;
    m->samples = calloc(profile->n_cells, sizeof *m->samples);
    assert_non_null(m->samples);
    kvat__cell_group group;
    kvat__mark marks[2];
    int64_t run_ns = 0;
    assert_int_equal(kvat__cell_groups(&group, profile), 1);
    assert_int_equal(kvat__marks_of(marks, profile, &group), 2);
    marks[0].output_tokens = 3;
    marks[0].repeats = marks[1].repeats = 2;
    json_t *json = fixture_json(text);
    kvat_trial_status status = kvat__read_run(m, json, profile, &group, marks, 2, true, &run_ns);
    if (status == KVAT_TRIAL_OK) status = kvat__fit_samples(m, profile, &group, 0);
    json_decref(json);
    return status;
}

#define MARKS(first, second)                                                                                           \
    "{\"start_ns\": 1, \"now_ns\": 9000, \"marks\": [{\"prompt_tokens\": 4, \"ttft_ns\": 400, " first                  \
    "}, {\"prompt_tokens\": 204, \"ttft_ns\": 900, " second "}]}"
#define BURST(a, b, c) "\"sequences\": [{\"token_ns\": [" #a ", " #b ", " #c "]}]"
#define PLAIN_SECOND   BURST(1200, 1320, 1440)

static void longer_outputs_are_fitted_from_bursts(void **state) {
    (void)state;
    kvat_profile *profile = profile_of(long_outputs);
    kvat__measurement m;
    const char *text = MARKS(BURST(500, 600, 700) ", \"bursts\": [{" BURST(800, 910, 1010) "}]",
                             PLAIN_SECOND ", \"bursts\": [{" BURST(1500, 1615, 1730) "}]");
    assert_int_equal(read_bursts_of(&m, profile, text), KVAT_TRIAL_OK);
    assert_int_equal(m.n_timings, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(m.timings[i].cell, i < 2 ? 0 : 2);
        assert_int_equal(m.timings[i].burst, i % 2);
        assert_int_equal(m.timings[i].n_tokens, 3);
    }
    assert_false(m.samples[0].fitted);
    assert_true(fabs(m.samples[0].decode_tok_per_s - 1e9 / 100) < 1e-3); /* decoded whole, by the first burst */
    assert_true(m.samples[1].fitted);
    assert_int_equal(m.samples[1].ttft_ns, 400);
    /* levels 102.5 and 117.5 ns, 200 tokens apart; the mean depth of the output is 50 beyond that of the bursts */
    assert_true(fabs(m.samples[1].decode_tok_per_s * (102.5 + 0.075 * 50) / 1e9 - 1) < 1e-9);
    assert_true(m.samples[1].itl_p50_ns == 100); /* of 100, 100, 100, 110 */
    assert_true(fabs(m.samples[1].itl_p95_ns - 108.5) < 1e-9);
    assert_false(m.samples[2].fitted);
    kvat__measurement_clear(&m);
    kvat_profile_free(profile);
}

static void fewer_bursts_than_asked_for_will_do(void **state) {
    (void)state;
    kvat_profile *profile = profile_of(long_outputs);
    static const char *const texts[] = {
        MARKS(BURST(500, 600, 700), PLAIN_SECOND),
        MARKS(BURST(500, 600, 700) ", \"bursts\": []", PLAIN_SECOND ", \"bursts\": null"),
    };
    for (size_t i = 0; i < 2; i++) {
        kvat__measurement m;
        assert_int_equal(read_bursts_of(&m, profile, texts[i]), KVAT_TRIAL_OK);
        assert_int_equal(m.n_timings, 2);
        assert_true(fabs(m.samples[1].decode_tok_per_s * (100 + 0.1 * 50) / 1e9 - 1) < 1e-9);
        kvat__measurement_clear(&m);
    }
    kvat_profile_free(profile);
}

static void wrong_bursts_are_named(void **state) {
    (void)state;
#define AGAIN(text) MARKS(BURST(500, 600, 700) ", \"bursts\": " text, PLAIN_SECOND)
    static const struct {
        const char *text;
        kvat_trial_status status;
        const char *says;
    } cases[] = {
        {AGAIN("7"), KVAT_TRIAL_PROTOCOL_ERROR, "no list"},
        {AGAIN("[{}]"), KVAT_TRIAL_INVALID, "0 sequences"},
        {AGAIN("[7]"), KVAT_TRIAL_INVALID, "0 sequences"},
        {AGAIN("[{\"sequences\": [{\"token_ns\": [800, 900]}]}]"), KVAT_TRIAL_INVALID, "2 output tokens where 3"},
        {AGAIN("[{" BURST(800, 900, 1000) "}, {" BURST(1010, 1020, 1030) "}]"), KVAT_TRIAL_PROTOCOL_ERROR,
         "3 bursts answered where 2"},
        {AGAIN("[{" BURST(699, 900, 1000) "}]"), KVAT_TRIAL_PROTOCOL_ERROR, "burst 1 of a mark begins before"},
        {AGAIN("[{" BURST(800, 900, 850) "}]"), KVAT_TRIAL_PROTOCOL_ERROR, "before that of the token before it"},
        {AGAIN("[{" BURST(800, 800, 800) "}]"), KVAT_TRIAL_PROTOCOL_ERROR, "same time"},
        {AGAIN("[{" BURST(800, -1, 800) "}]"), KVAT_TRIAL_PROTOCOL_ERROR, "no clock reading"},
        {MARKS(BURST(500, 500, 500), PLAIN_SECOND), KVAT_TRIAL_PROTOCOL_ERROR, "same time"},
    };
    kvat_profile *profile = profile_of(long_outputs);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat__measurement m;
        kvat_trial_status status = read_bursts_of(&m, profile, cases[i].text);
        if (status != cases[i].status || !strstr(m.detail.bytes ? m.detail.bytes : "", cases[i].says))
            fail_msg("case %zu: %s: %s", i, kvat_trial_status_word(status), m.detail.bytes);
        kvat__measurement_clear(&m);
    }
    kvat_profile_free(profile);
}

static void sequences_are_fitted_each_and_summed(void **state) {
    (void)state;
    kvat_profile *profile =
        profile_of("{\"name\": \"t\", \"context\": [4], \"output_tokens\": [50], \"batch\": [2], \"weights\": "
                   "{\"ttft\": 0.5, \"decode\": 0.3, \"memory\": 0.2}}");
    kvat__measurement m = {.n_samples = 1, .samples = calloc(1, sizeof *m.samples)};
    kvat__cell_group group;
    kvat__mark mark;
    int64_t run_ns = 0;
    assert_int_equal(kvat__cell_groups(&group, profile), 1);
    assert_int_equal(kvat__marks_of(&mark, profile, &group), 1);
    mark.output_tokens = 3;
    json_t *json = fixture_json("{\"status\": \"ok\", \"start_ns\": 1000, \"sequences\": ["
                                "{\"prompt_tokens\": 4, \"token_ns\": [1500, 1600, 1700]},"
                                "{\"prompt_tokens\": 4, \"token_ns\": [1700, 1750, 1800]}]}");
    assert_int_equal(kvat__read_run(&m, json, profile, &group, &mark, 1, false, &run_ns), KVAT_TRIAL_OK);
    assert_int_equal(kvat__fit_samples(&m, profile, &group, 0), KVAT_TRIAL_OK);
    assert_true(m.samples[0].fitted);
    assert_int_equal(m.samples[0].ttft_ns, 600);
    assert_int_equal(m.samples[0].ttft_worst_ns, 700);
    assert_true(fabs(m.samples[0].decode_tok_per_s - 3e7) < 1e-3); /* 10⁷ and 2 · 10⁷ */
    json_decref(json);
    kvat__measurement_clear(&m);
    kvat_profile_free(profile);
}

static void null_is_as_good_as_nothing(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t span_ns;
    } cases[] = {
        {"{\"start_ns\": 5, \"now_ns\": 9}", 4},
        {"{\"start_ns\": 5}", 0},
        {"{\"now_ns\": 9}", 0},
        {"{\"start_ns\": 5, \"now_ns\": null}", 0},
        {"{\"start_ns\": null, \"now_ns\": 9}", 0},
        {"{\"start_ns\": null, \"now_ns\": null}", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *json = fixture_json(cases[i].text);
        int64_t span_ns = -1;
        assert_true(kvat__get_span(&span_ns, json));
        assert_int_equal(span_ns, cases[i].span_ns);
        json_decref(json);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(marks_of_a_profile_are_its_depths_with_the_longest_output),
        cmocka_unit_test(shorter_outputs_are_the_beginning_of_the_longest),
        cmocka_unit_test(ttft_of_a_plain_run_is_the_first_token_after_the_start),
        cmocka_unit_test(wrong_answers_are_named),
        cmocka_unit_test(longer_outputs_are_fitted_from_bursts),
        cmocka_unit_test(fewer_bursts_than_asked_for_will_do),
        cmocka_unit_test(wrong_bursts_are_named),
        cmocka_unit_test(sequences_are_fitted_each_and_summed),
        cmocka_unit_test(null_is_as_good_as_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
