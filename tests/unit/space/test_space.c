/* Configurations: which there are, in which order, what they are called.
 * Must not test how knobs are declared. */
#include <math.h>

#include "fail_alloc.h"
#include "kvat/hash.h"
#include "space_fixture.h"

static char *label_of(const kvat_space *space, size_t config) {
    kvat_buf out = KVAT_BUF_INIT;
    kvat_space_label(&out, space, config);
    return kvat_buf_take(&out);
}

/** Labels of all configurations, one a line; heap. */
static char *labels_of(const kvat_space *space) {
    kvat_buf out = KVAT_BUF_INIT;
    for (size_t i = 0; i < kvat_space_count(space); i++) {
        kvat_space_label(&out, space, i);
        kvat_buf_putc(&out, '\n');
    }
    return kvat_buf_take(&out);
}

static void assert_labels(const char *knobs_json, const kvat_space_request *request, const char *expected) {
    kvat_knobs *knobs = knobs_of(knobs_json);
    kvat_space *space = space_of(knobs, request);
    char *labels = labels_of(space);
    assert_string_equal(labels, expected);
    free(labels);
    kvat_space_free(space);
    kvat_knobs_free(knobs);
}

static void default_comes_first_then_fewer_changes_then_levels(void **state) {
    (void)state;
    assert_labels(engine_json, &(kvat_space_request){.context_tokens = 8448},
                  "default\n"
                  "ubatch-size 128\n"
                  "threads 1\n"
                  "flash-attn off\n"
                  "ubatch-size 128, threads 1\n"
                  "flash-attn off, ubatch-size 128\n"
                  "flash-attn off, threads 1\n"
                  "flash-attn off, ubatch-size 128, threads 1\n");
}

static void lossy_values_are_left_out_and_counted(void **state) {
    (void)state;
    kvat_knobs *knobs = knobs_of(engine_json);
    kvat_space *space = space_of(knobs, &(kvat_space_request){0});
    assert_int_equal(kvat_space_skipped(space).lossy, 1);
    for (size_t i = 0; i < kvat_space_count(space); i++) assert_false(kvat_space_lossy(space, i));
    kvat_space_free(space);
    kvat_knobs_free(knobs);
}

static void forbidden_combinations_are_left_out_and_counted(void **state) {
    (void)state;
    kvat_setting set[] = {{"threads", "2"}, {"ubatch-size", "512"}};
    kvat_space_request request = {.set = set, .n_set = 2, .allow_lossy = true};
    assert_labels(engine_json, &request, "default\ncache-type-v q8_0\nflash-attn off\n");
    kvat_knobs *knobs = knobs_of(engine_json);
    kvat_space *space = space_of(knobs, &request);
    assert_int_equal(kvat_space_skipped(space).constrained, 1);
    assert_int_equal(kvat_space_skipped(space).lossy, 0);
    assert_true(kvat_space_lossy(space, 1));
    assert_true(kvat_space_lossier(space, 1));
    assert_false(kvat_space_lossy(space, 2));
    assert_false(kvat_space_lossier(space, 2));
    kvat_space_free(space);
    kvat_knobs_free(knobs);
}

static void aliases_make_configurations_one(void **state) {
    (void)state;
    kvat_setting set[] = {{"threads", "2"}, {"ubatch-size", "512"}}, sweep[] = {{"flash-attn", NULL}};
    kvat_space_request request = {.set = set, .n_set = 2, .sweep = sweep, .n_sweep = 1};
    assert_labels(engine_json, &request, "default\nflash-attn off\n");
}

static void bounds_make_configurations_one_and_the_least_changed_stands(void **state) {
    (void)state;
    kvat_setting set[] = {{"threads", "2"}, {"flash-attn", "on"}};
    kvat_setting sweep[] = {{"batch-size", ""}, {"ubatch-size", "128,256,512"}};
    kvat_space_request request = {.set = set, .n_set = 2, .sweep = sweep, .n_sweep = 2};
    /* batch 256 makes ubatch 256 and 512 one */
    request.context_tokens = 8448;
    assert_labels(engine_json, &request,
                  "default\nbatch-size 256\nubatch-size 128\nubatch-size 256\nbatch-size 256, ubatch-size 128\n");
    /* within 256 tokens both batches are one too */
    request.context_tokens = 256;
    assert_labels(engine_json, &request, "default\nubatch-size 128\n");
    /* within 100 everything is */
    request.context_tokens = 100;
    assert_labels(engine_json, &request, "default\n");
}

static void equal_configurations_are_counted(void **state) {
    (void)state;
    kvat_setting sweep[] = {{"batch-size", NULL}};
    kvat_knobs *knobs = knobs_of(engine_json);
    kvat_space *space = space_of(knobs, &(kvat_space_request){.sweep = sweep, .n_sweep = 1, .context_tokens = 64});
    /* flash 2 × batch 2 × ubatch 2 × threads 2, of which flash and threads make a difference */
    assert_int_equal(kvat_space_count(space), 4);
    assert_int_equal(kvat_space_skipped(space).equal, 12);
    kvat_space_free(space);
    kvat_knobs_free(knobs);
}

static void lossy_or_unstable_default_is_still_number_0(void **state) {
    (void)state;
    const char *json =
        "[{\"name\":\"t\",\"type\":\"enum\",\"values\":[\"f16\",\"q8\"],\"default\":\"q8\",\"search\":[\"f16\",\"q8\"],"
        "\"scope\":\"model\",\"numerics\":{\"q8\":\"lossy\"},\"stable\":[\"f16\"]}]";
    assert_labels(json, &(kvat_space_request){.safe = true}, "default\nt f16\n");
    kvat_knobs *knobs = knobs_of(json);
    kvat_space *space = space_of(knobs, &(kvat_space_request){.safe = true});
    assert_true(kvat_space_lossy(space, 0));
    assert_false(kvat_space_lossy(space, 1));
    assert_int_equal(kvat_space_skipped(space).lossy, 0);
    kvat_space_free(space);
    kvat_knobs_free(knobs);
}

static void safe_leaves_unstable_values_out_and_counts_them(void **state) {
    (void)state;
    kvat_setting set[] = {{"ubatch-size", "512"}, {"flash-attn", "on"}}, sweep[] = {{"threads", ""}};
    kvat_space_request request = {.set = set, .n_set = 2, .sweep = sweep, .n_sweep = 1};
    assert_labels(engine_json, &request, "default\nthreads 1\nthreads 4\n");
    request.safe = true;
    assert_labels(engine_json, &request, "default\nthreads 1\n");
    kvat_knobs *knobs = knobs_of(engine_json);
    kvat_space *space = space_of(knobs, &request);
    assert_int_equal(kvat_space_skipped(space).unstable, 1);
    kvat_space_free(space);
    kvat_knobs_free(knobs);
}

static void fixed_settings_hold_everywhere_even_lossy_ones(void **state) {
    (void)state;
    kvat_setting set[] = {
        {"kv.type.v", "q8_0"}, {"flash-attn", "on"}, {"ubatch-size", "0512"}, {"threads", "2"}, {"threads", "02"}};
    kvat_knobs *knobs = knobs_of(engine_json);
    kvat_space *space = space_of(knobs, &(kvat_space_request){.set = set, .n_set = 5});
    assert_int_equal(kvat_space_count(space), 1);
    assert_ptr_equal(kvat_space_knobs(space), knobs);
    assert_true(kvat_space_lossy(space, 0));
    assert_false(kvat_space_lossier(space, 0)); /* asked for outright */
    assert_int_equal(kvat_space_levels(space, 0)[TYPE_V], 1);
    kvat_space_free(space);
    kvat_knobs_free(knobs);
}

static void sweep_replaces_the_searched_values_but_keeps_the_default(void **state) {
    (void)state;
    kvat_setting set[] = {{"flash-attn", "on"}, {"ubatch-size", "512"}};
    kvat_setting sweep[] = {{"threads", "4"}};
    assert_labels(engine_json, &(kvat_space_request){.set = set, .n_set = 2, .sweep = sweep, .n_sweep = 1},
                  "default\nthreads 4\n");
    kvat_setting twice[] = {{"threads", "4"}, {"threads", "1"}};
    assert_labels(engine_json, &(kvat_space_request){.set = set, .n_set = 2, .sweep = twice, .n_sweep = 2},
                  "default\nthreads 1\nthreads 4\n");
}

static void sweep_all_widens_what_is_not_named(void **state) {
    (void)state;
    kvat_setting set[] = {{"flash-attn", "on"}, {"batch-size", "2048"}, {"ubatch-size", "512"}};
    kvat_setting sweep[] = {{"all", NULL}, {"threads", "1"}};
    assert_labels(engine_json, &(kvat_space_request){.set = set, .n_set = 3, .sweep = sweep, .n_sweep = 2},
                  "default\nthreads 1\nrepack off\nthreads 1, repack off\n");
}

static void value_with_a_comma_can_be_swept(void **state) {
    (void)state;
    const char *json = "[{\"name\":\"split\",\"type\":\"enum\",\"values\":[\"1,0\",\"3,1\",\"x\"],\"default\":\"1,0\","
                       "\"scope\":\"model\"}]";
    kvat_setting sweep[] = {{"split", "3,1"}};
    assert_labels(json, &(kvat_space_request){.sweep = sweep, .n_sweep = 1}, "default\nsplit 3,1\n");
}

static void engine_without_knobs_has_its_default(void **state) {
    (void)state;
    assert_labels("[]", &(kvat_space_request){0}, "default\n");
}

static void wrong_requests_say_what_is_wrong(void **state) {
    (void)state;
    static const struct {
        bool sweep;
        kvat_setting first, second;
        const char *says;
    } cases[] = {
        {false, {"treads", "2"}, {0}, "--set treads: this engine has no such setting; did you mean threads?"},
        {false, {"qqqqqqqqqq", "2"}, {0}, "kvat engines lists them"},
        {false, {"threads", "3"}, {0}, "--set threads=3: not one of 1, 2, 4; the nearest is 2"},
        {false, {"threads", "100"}, {0}, "the nearest is 4"},
        {false, {"threads", "fast"}, {0}, "--set threads=fast: not one of 1, 2, 4"},
        {false, {"cache-type-v", "q80"}, {0}, "not one of f16, q8_0, q4_0; the nearest is q8_0"},
        {false, {"cache-type-v", "f16,q8_0"}, {0}, "not one of f16, q8_0, q4_0"},
        {false, {"threads", ""}, {0}, "--set threads: needs a value, as in --set threads=2"},
        {false, {"threads", NULL}, {0}, "--set threads: needs a value"},
        {false, {"threads", "1"}, {"threads", "2"}, "--set threads: given both 1 and 2"},
        {false,
         {"cache-type-v", "q4_0"},
         {"flash-attn", "off"},
         "cache-type-v=q4_0 needs flash-attn to be one of on, but it is off"},
        {true, {"treads", "2"}, {0}, "--sweep treads: this engine has no such setting; did you mean threads?"},
        {true, {"threads", "1,,2"}, {0}, "--sweep threads=: not one of"},
        {true, {"threads", "1,3"}, {0}, "--sweep threads=3: not one of 1, 2, 4"},
        {true, {"all", "1"}, {0}, "--sweep all takes no values"},
    };
    kvat_knobs *knobs = knobs_of(engine_json);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_setting settings[] = {cases[i].first, cases[i].second};
        size_t n = cases[i].second.name ? 2 : 1;
        kvat_space_request request = {0};
        if (cases[i].sweep)
            request.sweep = settings, request.n_sweep = n;
        else
            request.set = settings, request.n_set = n;
        kvat_error err = KVAT_ERROR_INIT;
        kvat_space *space = NULL;
        assert_int_equal(kvat_space_new(&space, knobs, &request, &err), KVAT_ERR_USAGE);
        assert_null(space);
        if (!strstr(err.message, cases[i].says)) fail_msg("\"%s\" does not say \"%s\"", err.message, cases[i].says);
    }
    kvat_knobs_free(knobs);
}

static void fixed_and_swept_contradict(void **state) {
    (void)state;
    kvat_setting setting[] = {{"threads", "1"}};
    kvat_error err = KVAT_ERROR_INIT;
    kvat_space *space = NULL;
    kvat_knobs *knobs = knobs_of(engine_json);
    kvat_space_request request = {.set = setting, .n_set = 1, .sweep = setting, .n_sweep = 1};
    assert_int_equal(kvat_space_new(&space, knobs, &request, &err), KVAT_ERR_USAGE);
    assert_string_equal(err.message, "--sweep threads contradicts --set threads=1");
    kvat_knobs_free(knobs);
}

static void fixed_value_that_needs_another_default_says_so(void **state) {
    (void)state;
    const char *json =
        "[{\"name\":\"fa\",\"type\":\"enum\",\"values\":[\"off\",\"on\"],\"default\":\"off\",\"scope\":\"model\"},"
        "{\"name\":\"ctv\",\"type\":\"enum\",\"values\":[\"f16\",\"q8\"],\"default\":\"f16\",\"scope\":\"model\","
        "\"requires\":[{\"if\":[\"q8\"],\"then\":{\"fa\":[\"on\"]}}]}]";
    kvat_setting set[] = {{"ctv", "q8"}};
    kvat_error err = KVAT_ERROR_INIT;
    kvat_space *space = NULL;
    kvat_knobs *knobs = knobs_of(json);
    assert_int_equal(kvat_space_new(&space, knobs, &(kvat_space_request){.set = set, .n_set = 1}, &err),
                     KVAT_ERR_USAGE);
    assert_string_equal(err.message, "ctv=q8 needs fa to be one of on, but it is off by default: add --set for it");
    kvat_knobs_free(knobs);
}

static int by_number(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

/** `n` integer knobs of `values` searched values each. */
static kvat_knobs *wide_knobs(int n, int values) {
    json_t *array = json_array();
    for (int i = 0; i < n; i++) {
        char name[16];
        snprintf(name, sizeof name, "k%d", i);
        json_t *list = json_array();
        for (int v = 0; v < values; v++) json_array_append_new(list, json_integer(v));
        json_array_append_new(array, json_pack("{s:s,s:s,s:o,s:i,s:O,s:s}", "name", name, "type", "int", "values", list,
                                               "default", 0, "search", list, "scope", "model"));
    }
    kvat_knobs *knobs = NULL;
    assert_int_equal(kvat_knobs_parse(&knobs, array, NULL), KVAT_OK);
    json_decref(array);
    return knobs;
}

static void more_values_than_a_sample_has_room_for_are_refused_with_the_count(void **state) {
    (void)state;
    static const struct {
        int knobs, values;
        size_t max;
        const char *says;
    } cases[] = {
        {4, 3, 8, "8 values to try one by one are more than the 8"},
        {128, 256, 0, "32640 values to try one by one are more than the 10000"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_knobs *knobs = wide_knobs(cases[i].knobs, cases[i].values);
        kvat_space *space = NULL;
        kvat_error err = KVAT_ERROR_INIT;
        kvat_space_request request = {.max_configs = cases[i].max};
        assert_int_equal(kvat_space_new(&space, knobs, &request, &err), KVAT_ERR_USAGE);
        if (!strstr(err.message, cases[i].says)) fail_msg("\"%s\" does not say \"%s\"", err.message, cases[i].says);
        assert_non_null(strstr(err.message, "k0 ("));
        kvat_knobs_free(knobs);
    }
}

static void of_too_many_a_sample_is_drawn_and_says_of_how_many(void **state) {
    (void)state;
    static const struct {
        int knobs, values;
        size_t max, count;
        double of;
    } cases[] = {
        {2, 3, 9, 9, 0},           {2, 3, 8, 8, 9},
        {4, 10, 0, 10000, 0},      {5, 10, 0, 10000, 100000},
        {6, 10, 0, 10000, 1e6},    {9, 10, 0, 10000, 1e9},
        {63, 2, 0, 10000, 0x1p63}, {128, 70, 0, 10000, 1.4878156471976116e236},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_knobs *knobs = wide_knobs(cases[i].knobs, cases[i].values);
        kvat_space *space = space_of(knobs, &(kvat_space_request){.max_configs = cases[i].max});
        kvat_space_left_out skipped = kvat_space_skipped(space);
        assert_int_equal(kvat_space_count(space), cases[i].count);
        assert_true(fabs(skipped.drawn_from - cases[i].of) <= 1e-12 * cases[i].of);
        assert_int_equal(skipped.equal + skipped.constrained, 0);
        kvat_space_free(space);
        kvat_knobs_free(knobs);
    }
}

/** How many configurations change so many knobs. */
static size_t with_changes(const kvat_space *space, size_t changes) {
    size_t n = 0;
    for (size_t i = 0; i < kvat_space_count(space); i++) n += kvat_space_changes(space, i) == changes;
    return n;
}

static void a_sample_has_the_default_and_every_change_of_one_and_two(void **state) {
    (void)state;
    kvat_knobs *knobs = wide_knobs(12, 6);
    kvat_space *space = space_of(knobs, &(kvat_space_request){0});
    assert_int_equal(kvat_space_changes(space, 0), 0);
    assert_int_equal(with_changes(space, 0), 1);
    assert_int_equal(with_changes(space, 1), 12 * 5);
    assert_int_equal(with_changes(space, 2), 66 * 25);
    kvat_space_free(space);
    /* pairs that would take more than half of it are drawn like all else */
    space = space_of(knobs, &(kvat_space_request){.max_configs = 3000});
    assert_int_equal(with_changes(space, 1), 12 * 5);
    assert_true(with_changes(space, 2) < 66 * 25 / 2);
    assert_true(with_changes(space, 12) > 0);
    kvat_space_free(space);
    kvat_knobs_free(knobs);
}

static bool same_configurations(const kvat_space *a, const kvat_space *b, size_t n_knobs) {
    size_t bytes = kvat_space_count(a) * n_knobs * sizeof(uint16_t);
    return kvat_space_count(a) == kvat_space_count(b) &&
           memcmp(kvat_space_levels(a, 0), kvat_space_levels(b, 0), bytes) == 0;
}

static void a_sample_is_the_same_for_a_seed_and_another_for_another(void **state) {
    (void)state;
    kvat_knobs *knobs = wide_knobs(20, 3);
    kvat_space *first = space_of(knobs, &(kvat_space_request){.seed = 7});
    kvat_space *again = space_of(knobs, &(kvat_space_request){.seed = 7});
    kvat_space *other = space_of(knobs, &(kvat_space_request){.seed = 8});
    assert_true(same_configurations(first, again, 20));
    assert_false(same_configurations(first, other, 20));
    kvat_space_free(first);
    kvat_space_free(again);
    kvat_space_free(other);
    kvat_knobs_free(knobs);
}

static void a_sample_has_few_changes_and_many(void **state) {
    (void)state;
    kvat_knobs *knobs = wide_knobs(20, 3);
    kvat_space *space = space_of(knobs, &(kvat_space_request){0});
    for (size_t changes = 3; changes <= 20; changes++) assert_true(with_changes(space, changes) > 250);
    kvat_space_free(space);
    kvat_knobs_free(knobs);
}

/** Twelve knobs of four values: the odd ones need the one before to be at most 2, and are bounded by it. */
static kvat_knobs *bound_knobs(void) {
    json_t *array = json_array();
    for (int i = 0; i < 12; i++) {
        char name[16], before[16];
        snprintf(name, sizeof name, "k%d", i);
        snprintf(before, sizeof before, "k%d", i - 1);
        json_t *knob = json_pack("{s:s, s:s, s:[i,i,i,i], s:i, s:[i,i,i,i], s:s}", "name", name, "type", "int",
                                 "values", 1, 2, 3, 4, "default", 1, "search", 1, 2, 3, 4, "scope", "model");
        if (i % 2) {
            json_object_set_new(knob, "at_most", json_pack("[s]", before));
            json_object_set_new(knob, "requires",
                                json_pack("[{s:[i], s:{s:[i,i,i]}}]", "if", 4, "then", before, 1, 2, 3));
        }
        json_array_append_new(array, knob);
    }
    kvat_knobs *knobs = NULL;
    assert_int_equal(kvat_knobs_parse(&knobs, array, NULL), KVAT_OK);
    json_decref(array);
    return knobs;
}

static void a_sample_holds_nothing_forbidden_and_nothing_twice(void **state) {
    (void)state;
    kvat_knobs *knobs = bound_knobs();
    kvat_space *space = space_of(knobs, &(kvat_space_request){0});
    size_t n = kvat_space_count(space);
    assert_int_equal(n, 10000);
    assert_true(kvat_space_skipped(space).drawn_from == 16777216);
    uint64_t *seen = calloc(n, sizeof *seen);
    assert_non_null(seen);
    for (size_t i = 0; i < n; i++) {
        const uint16_t *levels = kvat_space_levels(space, i);
        for (size_t k = 0; k < 12; k++) {
            uint16_t value = levels[k], before = k ? levels[k - 1] : 0;
            if (k % 2) assert_false(value == 3 && before == 3);
            if (k % 2 && value > before) value = before; /* what is in force */
            seen[i] = seen[i] * 4 + value;
        }
    }
    qsort(seen, n, sizeof *seen, by_number);
    for (size_t i = 1; i < n; i++) assert_true(seen[i] != seen[i - 1]);
    free(seen);
    kvat_space_free(space);
    kvat_knobs_free(knobs);
}

static void a_space_that_rules_leave_small_is_drawn_in_bounded_time(void **state) {
    (void)state;
    json_t *array = json_array();
    for (int i = 0; i < 60; i++) { /* every knob may change only while all after it do not */
        char name[16], later[16];
        snprintf(name, sizeof name, "k%d", i);
        json_t *then = json_object();
        for (int j = i + 1; j < 60; j++) {
            snprintf(later, sizeof later, "k%d", j);
            json_object_set_new(then, later, json_pack("[i]", 0));
        }
        json_array_append_new(array, json_pack("{s:s, s:s, s:[i,i], s:i, s:[i,i], s:s, s:[{s:[i], s:o}]}", "name", name,
                                               "type", "int", "values", 0, 1, "default", 0, "search", 0, 1, "scope",
                                               "model", "requires", "if", 1, "then", then));
    }
    kvat_knobs *knobs = NULL;
    assert_int_equal(kvat_knobs_parse(&knobs, array, NULL), KVAT_OK);
    json_decref(array);
    kvat_space *space = space_of(knobs, &(kvat_space_request){.max_configs = 300});
    assert_int_equal(kvat_space_count(space), 61);
    assert_true(kvat_space_skipped(space).drawn_from == 0x1p60);
    kvat_space_free(space);
    kvat_knobs_free(knobs);
}

static void values_equal_in_force_do_not_make_a_sample(void **state) {
    (void)state;
    json_t *array = json_array();
    for (int i = 0; i < 8; i++) { /* 16^8 combinations, of which a context of 2 tokens leaves 3^8 */
        char name[16];
        snprintf(name, sizeof name, "k%d", i);
        json_t *list = json_array();
        for (int v = 0; v < 16; v++) json_array_append_new(list, json_integer(v));
        json_array_append_new(array, json_pack("{s:s, s:s, s:o, s:i, s:O, s:s, s:[s]}", "name", name, "type", "int",
                                               "values", list, "default", 9, "search", list, "scope", "model",
                                               "at_most", "context_tokens"));
    }
    kvat_knobs *knobs = NULL;
    assert_int_equal(kvat_knobs_parse(&knobs, array, NULL), KVAT_OK);
    json_decref(array);
    kvat_space *space = space_of(knobs, &(kvat_space_request){.context_tokens = 2});
    assert_int_equal(kvat_space_count(space), 6561);
    assert_true(kvat_space_skipped(space).drawn_from == 0);
    assert_int_equal(kvat_space_levels(space, 0)[0], 9); /* the default as it is written */
    kvat_space_free(space);
    kvat_knobs_free(knobs);
}

static void long_lists_of_values_are_cut_in_messages(void **state) {
    (void)state;
    kvat_setting set[] = {{"k0", "99"}};
    kvat_space *space = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    kvat_knobs *knobs = wide_knobs(1, 14);
    assert_int_equal(kvat_space_new(&space, knobs, &(kvat_space_request){.set = set, .n_set = 1}, &err),
                     KVAT_ERR_USAGE);
    assert_string_equal(err.message,
                        "--set k0=99: not one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, …; the nearest is 13");
    kvat_knobs_free(knobs);
}

static void as_many_as_allowed_are_listed(void **state) {
    (void)state;
    kvat_knobs *knobs = wide_knobs(10, 2);
    kvat_space *space = space_of(knobs, &(kvat_space_request){0});
    assert_int_equal(kvat_space_count(space), 1024);
    for (size_t i = 1; i < 1024; i++) assert_true(kvat_space_changes(space, i) >= kvat_space_changes(space, i - 1));
    assert_int_equal(kvat_space_changes(space, 1023), 10);
    kvat_space_free(space);
    kvat_knobs_free(knobs);
}

static void equal_combinations_do_not_count_against_the_limit(void **state) {
    (void)state;
    kvat_setting sweep[] = {{"batch-size", NULL}};
    kvat_knobs *knobs = knobs_of(engine_json);
    kvat_space *space =
        space_of(knobs, &(kvat_space_request){.sweep = sweep, .n_sweep = 1, .context_tokens = 64, .max_configs = 4});
    assert_int_equal(kvat_space_count(space), 4);
    kvat_space_free(space);
    kvat_knobs_free(knobs);
}

static void removal_closes_up_and_labels_stay_relative_to_the_default(void **state) {
    (void)state;
    kvat_knobs *knobs = knobs_of(engine_json);
    kvat_space *space = space_of(knobs, &(kvat_space_request){.context_tokens = 8448});
    bool drop[8] = {true, true, false, true, false, true, true, true};
    kvat_space_remove(space, drop);
    char *labels = labels_of(space);
    assert_string_equal(labels, "threads 1\nubatch-size 128, threads 1\n");
    free(labels);
    assert_int_equal(kvat_space_changes(space, 0), 0);
    assert_int_equal(kvat_space_changes(space, 1), 1);
    const uint16_t *first = kvat_space_levels(space, 0), *second = kvat_space_levels(space, 1);
    assert_int_not_equal(first[UBATCH], second[UBATCH]);
    assert_int_equal(first[THREADS], second[THREADS]);
    bool all[2] = {true, true};
    kvat_space_remove(space, all);
    assert_int_equal(kvat_space_count(space), 2);
    kvat_space_free(space);
    kvat_knobs_free(knobs);
}

static void settings_are_given_by_scope_or_all(void **state) {
    (void)state;
    static const struct {
        int scope;
        const char *json;
    } cases[] = {
        {-1, "{\"batch-size\":2048,\"cache-type-v\":\"f16\",\"flash-attn\":\"auto\",\"repack\":\"on\",\"threads\":1,"
             "\"ubatch-size\":512}"},
        {KVAT_SCOPE_REQUEST, "{\"threads\":1}"},
        {KVAT_SCOPE_MODEL, "{\"repack\":\"on\"}"},
        {KVAT_SCOPE_PROCESS, "{}"},
    };
    kvat_knobs *knobs = knobs_of(engine_json);
    kvat_space *space = space_of(knobs, &(kvat_space_request){0});
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *settings = NULL;
        assert_int_equal(kvat_space_settings(&settings, space, 2, cases[i].scope, NULL), KVAT_OK);
        char *text = text_of(settings);
        assert_string_equal(text, cases[i].json);
        free(text);
        json_decref(settings);
    }
    kvat_space_free(space);
    kvat_knobs_free(knobs);
}

static void identity_is_the_hash_of_the_settings(void **state) {
    (void)state;
    static const char bytes[] =
        "{\"batch-size\":2048,\"cache-type-v\":\"f16\",\"flash-attn\":\"auto\",\"repack\":\"on\","
        "\"threads\":2,\"ubatch-size\":512}";
    char expected[KVAT_HASH_HEX], hex[KVAT_HASH_HEX], other[KVAT_HASH_HEX];
    kvat_hash_bytes(expected, bytes, sizeof bytes - 1);
    kvat_knobs *knobs = knobs_of(engine_json);
    kvat_space *space = space_of(knobs, &(kvat_space_request){0});
    assert_int_equal(kvat_space_identity(hex, space, 0, NULL), KVAT_OK);
    assert_int_equal(kvat_space_identity(other, space, 1, NULL), KVAT_OK);
    assert_string_equal(hex, expected);
    assert_string_not_equal(hex, other);
    kvat_space_free(space);
    kvat_knobs_free(knobs);
}

static void label_lists_changes_in_the_order_of_the_knobs(void **state) {
    (void)state;
    kvat_knobs *knobs = knobs_of(engine_json);
    kvat_space *space = space_of(knobs, &(kvat_space_request){0});
    char *label = label_of(space, kvat_space_count(space) - 1);
    assert_string_equal(label, "flash-attn off, ubatch-size 128, threads 1");
    free(label);
    kvat_space_free(space);
    kvat_knobs_free(knobs);
}

static kvat_status new_step(void *context, kvat_error *err) {
    kvat_setting sweep[] = {{"all", NULL}, {"threads", "1,4"}};
    kvat_space *space = NULL;
    char hex[KVAT_HASH_HEX];
    kvat_status status =
        kvat_space_new(&space, context, &(kvat_space_request){.sweep = sweep, .n_sweep = 2, .allow_lossy = true}, err);
    if (status == KVAT_OK) status = kvat_space_identity(hex, space, 0, err);
    kvat_space_free(space);
    return status;
}

static kvat_status refused_step(void *context, kvat_error *err) {
    kvat_setting sweep[] = {{"threads", "3"}};
    kvat_space *space = NULL;
    kvat_status status = kvat_space_new(&space, context, &(kvat_space_request){.sweep = sweep, .n_sweep = 1}, err);
    assert_null(space);
    return status == KVAT_ERR_USAGE ? KVAT_OK : status;
}

static void listing_survives_every_failing_allocation(void **state) {
    (void)state;
    kvat_knobs *knobs = knobs_of(engine_json);
    assert_true(fail_alloc_each(new_step, knobs) > 5);
    assert_true(fail_alloc_each(refused_step, knobs) > 3);
    kvat_knobs_free(knobs);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(default_comes_first_then_fewer_changes_then_levels),
        cmocka_unit_test(lossy_values_are_left_out_and_counted),
        cmocka_unit_test(forbidden_combinations_are_left_out_and_counted),
        cmocka_unit_test(aliases_make_configurations_one),
        cmocka_unit_test(bounds_make_configurations_one_and_the_least_changed_stands),
        cmocka_unit_test(equal_configurations_are_counted),
        cmocka_unit_test(lossy_or_unstable_default_is_still_number_0),
        cmocka_unit_test(safe_leaves_unstable_values_out_and_counts_them),
        cmocka_unit_test(fixed_settings_hold_everywhere_even_lossy_ones),
        cmocka_unit_test(sweep_replaces_the_searched_values_but_keeps_the_default),
        cmocka_unit_test(sweep_all_widens_what_is_not_named),
        cmocka_unit_test(value_with_a_comma_can_be_swept),
        cmocka_unit_test(engine_without_knobs_has_its_default),
        cmocka_unit_test(wrong_requests_say_what_is_wrong),
        cmocka_unit_test(fixed_and_swept_contradict),
        cmocka_unit_test(fixed_value_that_needs_another_default_says_so),
        cmocka_unit_test(more_values_than_a_sample_has_room_for_are_refused_with_the_count),
        cmocka_unit_test(of_too_many_a_sample_is_drawn_and_says_of_how_many),
        cmocka_unit_test(a_sample_has_the_default_and_every_change_of_one_and_two),
        cmocka_unit_test(a_sample_is_the_same_for_a_seed_and_another_for_another),
        cmocka_unit_test(a_sample_has_few_changes_and_many),
        cmocka_unit_test(a_sample_holds_nothing_forbidden_and_nothing_twice),
        cmocka_unit_test(a_space_that_rules_leave_small_is_drawn_in_bounded_time),
        cmocka_unit_test(values_equal_in_force_do_not_make_a_sample),
        cmocka_unit_test(long_lists_of_values_are_cut_in_messages),
        cmocka_unit_test(as_many_as_allowed_are_listed),
        cmocka_unit_test(equal_combinations_do_not_count_against_the_limit),
        cmocka_unit_test(removal_closes_up_and_labels_stay_relative_to_the_default),
        cmocka_unit_test(settings_are_given_by_scope_or_all),
        cmocka_unit_test(identity_is_the_hash_of_the_settings),
        cmocka_unit_test(label_lists_changes_in_the_order_of_the_knobs),
        cmocka_unit_test(listing_survives_every_failing_allocation),
    };
    json_set_alloc_funcs(malloc, free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
