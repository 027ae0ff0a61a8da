/* Surfaces are read whole or refused with the member named, and say the truth about every point they hold. */
/* Must not know: noise and time. */
#include "sim_kit.h"

#include <math.h>

static const struct {
    const char *text, *says;
} bad_surfaces[] = {
    {"[]", "object"},
    {"{'format': 'kvat-surface/1', 'base': []}", "knobs"},
    {"{'format': 'kvat-surface/2', " KNOBS ", " BASE "}", "surface.format"},
    {HEAD "'bse': []}", "bse"},
    {"{'format': 'kvat-surface/1', " KNOBS "}", "\"base\" or \"configs\""},
    {HEAD "'base': []}", "base: expected at least one cell"},
    {HEAD "'base': [7]}", "base[0]: expected an object"},
    {HEAD "'base': [{'prompt_tokens': 1, 'output_tokens': 2, 'decode_tok_per_s': 1, 'peak_bytes': 1}]}", "ttft_s"},
    {HEAD "'base': [{'prompt_tokens': 1, 'output_tokens': 2, 'ttft_s': -1, 'decode_tok_per_s': 1, 'peak_bytes': 1}]}",
     "base[0].ttft_s"},
    {HEAD "'base': [{'prompt_tokens': 1, 'output_tokens': 2, 'ttft_s': 0, 'decode_tok_per_s': 1, 'peak_bytes': 1}]}",
     "base[0].ttft_s"},
    {HEAD "'base': [{'prompt_tokens': 0, 'output_tokens': 2, 'ttft_s': 1, 'decode_tok_per_s': 1, 'peak_bytes': 1}]}",
     "prompt_tokens"},
    {HEAD
     "'base': [{'prompt_tokens': 1, 'output_tokens': 2, 'ttft_s': 1, 'decode_tok_per_s': 'fast', 'peak_bytes': 1}]}",
     "decode_tok_per_s"},
    {HEAD "'base': [{'prompt_tokens': 1, 'output_tokens': 2, 'ttft_s': 1, 'decode_tok_per_s': 1, 'peak_bytes': 1},"
          "{'prompt_tokens': 1, 'output_tokens': 2, 'ttft_s': 2, 'decode_tok_per_s': 1, 'peak_bytes': 1}]}",
     "base: two cells"},
    {HEAD BASE ", 'effects': {'c': {}}}", "effects.c: no such knob"},
    {HEAD BASE ", 'effects': {'a': {'w': {}}}}", "effects.a.w: \"w\" is no value of a"},
    {HEAD BASE ", 'effects': {'a': {'y': {'ttft': 100}}}}", "effects.a.y.ttft"},
    {HEAD BASE ", 'effects': {'a': {'y': {'tftt': 1}}}}", "tftt"},
    {HEAD BASE ", 'effects': {'a': 1}}", "effects.a"},
    {HEAD BASE ", 'interactions': [{'ttft': 1}]}", "interactions[0].when"},
    {HEAD BASE ", 'interactions': [{'when': {'b': 3}}]}", "interactions[0].when.b: \"3\" is no value"},
    {HEAD BASE ", 'interactions': [{'when': {'b': true}}]}", "interactions[0].when.b"},
    {HEAD BASE ", 'configs': [{'settings': {}}]}", "configs[0].cells"},
    {HEAD BASE ", 'configs': [{'settings': {}, 'cells': []}]}", "configs[0].cells: expected at least one cell"},
    {HEAD BASE ", 'configs': [{'settings': {'a': 'q'}, 'cells': []}]}", "configs[0].settings.a"},
    {HEAD "'configs': [{'settings': {'a': 'y'}, 'cells': [{'prompt_tokens': 1, 'output_tokens': 2, 'ttft_s': 1, "
          "'decode_tok_per_s': 1, 'peak_bytes': 1}]},"
          "{'settings': {'a': 'z'}, 'cells': [{'prompt_tokens': 1, 'output_tokens': 2, 'ttft_s': 1, "
          "'decode_tok_per_s': 1, 'peak_bytes': 1}]}]}",
     "configs[1].settings: the same configuration as configs[0]"},
    {HEAD BASE ", 'noise': {'run_sd': -1}}", "noise.run_sd"},
    {HEAD BASE ", 'noise': {'ar_s': 0}}", "noise.ar_s"},
    {HEAD BASE ", 'noise': {'trace': [0, 'x']}}", "noise.trace[1]"},
    {HEAD BASE ", 'noise': {'runsd': 1}}", "runsd"},
    {HEAD BASE ", 'faults': [{'when': {}, 'kind': 'oom'}]}", "faults[0].kind"},
    {HEAD BASE ", 'faults': [{'when': {}, 'kind': 'hang', 'probability': 2}]}", "faults[0].probability"},
    {HEAD BASE ", 'faults': [3]}", "faults[0]"},
    {HEAD BASE ", 'short_output_bias': {'mean': 'x'}}", "short_output_bias.mean"},
    {HEAD BASE ", 'load_s': -1}", "load_s"},
};

static void bad_surfaces_are_refused_with_the_member_named(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bad_surfaces / sizeof *bad_surfaces; i++) {
        sim_surface *surface = NULL;
        kvat_error err = KVAT_ERROR_INIT;
        const kvat_status status = surface_of(&surface, bad_surfaces[i].text, &err);
        if (status != KVAT_ERR_DATA) fail_msg("%s: status %d", bad_surfaces[i].text, status);
        if (!strstr(err.message, bad_surfaces[i].says))
            fail_msg("\"%s\" lacks \"%s\"", err.message, bad_surfaces[i].says);
        assert_null(surface);
    }
}

/* ---- truth ---- */

static sim_truth truth(const sim_surface *surface, uint16_t a, uint16_t b, int64_t prompt, int64_t outputs) {
    const uint16_t levels[] = {a, b};
    sim_truth out = {0};
    kvat_error err = KVAT_ERROR_INIT;
    if (sim_truth_at(&out, surface, levels, (sim_point){prompt, outputs, 1}, &err) != KVAT_OK)
        fail_msg("%s", err.message);
    return out;
}

static void close_to(double a, double b) {
    if (fabs(a - b) > 1e-9 * fabs(b)) fail_msg("%.17g is not %.17g", a, b);
}

static void listed_points_are_what_they_say(void **state) {
    (void)state;
    sim_surface *s = good_surface(HEAD BASE "}");
    close_to(truth(s, 0, 0, 100, 10).ttft_s, 1);
    close_to(truth(s, 0, 0, 100, 10).decode_tok_per_s, 50);
    close_to(truth(s, 0, 0, 100, 90).decode_tok_per_s, 40);
    close_to(truth(s, 0, 0, 400, 10).peak_bytes, 4000);
    sim_surface_free(s);
}

static void unlisted_outputs_have_the_rate_of_their_prompt(void **state) {
    (void)state;
    sim_surface *s = good_surface(HEAD BASE "}");
    close_to(truth(s, 0, 0, 100, 500).decode_tok_per_s, 40);
    close_to(truth(s, 0, 0, 100, 2).decode_tok_per_s, 50);
    close_to(truth(s, 0, 0, 400, 999).decode_tok_per_s, 25);
    sim_surface_free(s);
}

static void unlisted_prompts_are_interpolated_in_logarithms(void **state) {
    (void)state;
    sim_surface *s = good_surface(HEAD BASE "}");
    const sim_truth half = truth(s, 0, 0, 200, 10); /* half-way from 100 to 400 in logarithms */
    close_to(half.ttft_s, 2);
    close_to(half.decode_tok_per_s, sqrt(50.0 * 25.0));
    close_to(half.peak_bytes, 2000);
    sim_surface_free(s);
}

static void prompts_outside_the_range_are_refused_but_warm_ups_are_not(void **state) {
    (void)state;
    sim_surface *s = good_surface(HEAD BASE "}");
    const uint16_t levels[] = {0, 0};
    const sim_point outside[] = {{401, 10, 1}, {99, 10, 1}, {401, 4, 1}, {100, 10, 2}};
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        sim_truth out;
        kvat_error err = KVAT_ERROR_INIT;
        assert_int_equal(sim_truth_at(&out, s, levels, outside[i], &err), KVAT_ERR_DATA);
    }
    close_to(truth(s, 0, 0, 50, 4).ttft_s, 0.5);
    assert_int_equal(sim_largest_context(s), 410);
    sim_surface_free(s);
}

static void effects_and_interactions_add_up_in_logarithms(void **state) {
    (void)state;
    sim_surface *s = good_surface(
        HEAD BASE ", 'effects': {'a': {'y': {'ttft': 0.1, 'decode': -0.2, 'peak': 0.3}}, 'b': {'2': {'ttft': 0.01}}},"
                  "'interactions': [{'when': {'a': 'z', 'b': '2'}, 'ttft': 0.001},"
                  " {'when': {'a': 'x'}, 'decode': 0.5}]}");
    close_to(truth(s, 1, 1, 100, 10).ttft_s, exp(0.111));
    close_to(truth(s, 1, 0, 100, 10).decode_tok_per_s, 50 * exp(-0.2));
    close_to(truth(s, 1, 0, 100, 10).peak_bytes, 1000 * exp(0.3));
    close_to(truth(s, 0, 1, 100, 10).decode_tok_per_s, 50 * exp(0.5));
    sim_surface_free(s);
}

static void a_row_of_its_own_is_the_truth_of_a_configuration(void **state) {
    (void)state;
    sim_surface *s = good_surface(
        HEAD BASE
        ", 'effects': {'a': {'y': {'ttft': 0.1}}}, 'configs': [{'settings': {'a': 'z'}, 'cells':"
        "[{'prompt_tokens': 100, 'output_tokens': 10, 'ttft_s': 9, 'decode_tok_per_s': 8, 'peak_bytes': 7}]}]}");
    close_to(truth(s, 1, 0, 100, 10).ttft_s, 9);
    close_to(truth(s, 1, 1, 100, 10).ttft_s, exp(0.1));
    sim_surface_free(s);
}

static void effects_that_add_up_to_nonsense_are_refused(void **state) {
    (void)state;
    sim_surface *s = good_surface(HEAD BASE ", 'effects': {'a': {'y': {'ttft': 20}}, 'b': {'2': {'ttft': 20}}}}");
    sim_truth out;
    kvat_error err = KVAT_ERROR_INIT;
    assert_int_equal(sim_truth_at(&out, s, (const uint16_t[]){1, 1}, (sim_point){100, 10, 1}, &err), KVAT_ERR_DATA);
    assert_non_null(strstr(err.message, "nonsense"));
    sim_surface_free(s);
}

static void shipped_surfaces_are_good(void **state) {
    (void)state;
    static const char *const names[] = {"example", "quiet"};
    for (size_t i = 0; i < 2; i++) {
        char path[512];
        kvat_error err = KVAT_ERROR_INIT;
        sim_surface *s = NULL;
        snprintf(path, sizeof path, KVAT_SOURCE_DIR "/examples/surfaces/%s.json", names[i]);
        if (sim_surface_read(&s, path, &err) != KVAT_OK) fail_msg("%s", err.message);
        size_t product = 1;
        for (size_t k = 0; k < kvat_knobs_count(s->knobs); k++) product *= kvat_knobs_at(s->knobs, k)->n_values;
        assert_int_equal(product, 24);
        assert_string_equal(s->name, names[i]);
        sim_surface_free(s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_surfaces_are_refused_with_the_member_named),
        cmocka_unit_test(listed_points_are_what_they_say),
        cmocka_unit_test(unlisted_outputs_have_the_rate_of_their_prompt),
        cmocka_unit_test(unlisted_prompts_are_interpolated_in_logarithms),
        cmocka_unit_test(prompts_outside_the_range_are_refused_but_warm_ups_are_not),
        cmocka_unit_test(effects_and_interactions_add_up_in_logarithms),
        cmocka_unit_test(a_row_of_its_own_is_the_truth_of_a_configuration),
        cmocka_unit_test(effects_that_add_up_to_nonsense_are_refused),
        cmocka_unit_test(shipped_surfaces_are_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
