/* What to do where the plan does not fit, from measured trials only; and which of these rules hold on a given machine.
 * Must not look at the machine itself: conditions are handed in. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kvat/units.h"
#include "plan_internal.h"

/* Free memory asked for beyond the measured peak. */
static const double memory_margin = 1.05;
/* A stand-in for lack of memory saves at least this share of it, else it would not help. */
static const double memory_step = 0.99;
enum { memory_steps = 3, unsupported_rules = 8 };

kvat__memory_kind kvat__memory_of_source(const char *peak_source) {
    if (!peak_source || !*peak_source) return KVAT__MEMORY_UNKNOWN;
    bool of_devices = strncmp(peak_source, KVAT_PEAK_OF_DEVICES, sizeof KVAT_PEAK_OF_DEVICES - 1) == 0;
    return of_devices ? KVAT__MEMORY_DEVICES : KVAT__MEMORY_HOST;
}

kvat__memory_kind kvat__memory_of_plan(const json_t *plan) {
    return kvat__memory_of_source(kvat__text_of(json_object_get(plan, "memory"), "source"));
}

static int64_t needed_bytes(const kvat_entry *entry) {
    return (int64_t)ceil((double)entry->peak_bytes * memory_margin);
}

/* ---- the command ---- */
static void add_word(kvat__builder *words, const char *flag, const char *value) {
    if (!value || !*value) return;
    if (flag) kvat__build_text(words, NULL, flag);
    kvat__build_text(words, NULL, value);
}

/* "--set name=value" for each member of an object of the request. */
static void add_settings(kvat__builder *words, const char *flag, const json_t *settings) {
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)settings, name, value) {
        kvat_buf word = KVAT_BUF_INIT;
        kvat_buf_printf(&word, "%s=%s", name, json_is_string(value) ? json_string_value(value) : "");
        if (json_is_integer(value)) kvat_buf_printf(&word, "%lld", (long long)json_integer_value(value));
        if (kvat_buf_status(&word, NULL) != KVAT_OK) words->failed = true;
        add_word(words, flag, word.bytes);
        kvat_buf_clear(&word);
    }
}

json_t *kvat__reproduce(const kvat_outcome *outcome) {
    const json_t *argv = json_object_get(outcome->request, "argv");
    if (json_is_array(argv) && json_array_size(argv) > 0) return json_deep_copy(argv);
    kvat__builder words = kvat__build_array();
    kvat__build_text(&words, NULL, "kvat");
    kvat__build_text(&words, NULL, "tune");
    add_word(&words, NULL, outcome->model_file ? kvat__base_name(outcome->model_file) : outcome->model_name);
    add_word(&words, "--engine", outcome->engine_name);
    add_word(&words, "--profile", outcome->profile ? outcome->profile->name : NULL);
    add_settings(&words, "--set", json_object_get(outcome->request, "set"));
    add_settings(&words, "--sweep", json_object_get(outcome->request, "sweep"));
    if (json_is_true(json_object_get(outcome->request, "safe"))) add_word(&words, NULL, "--safe");
    if (json_is_true(json_object_get(outcome->request, "allow_lossy"))) add_word(&words, NULL, "--allow-lossy");
    return kvat__build_take(&words);
}

static void put_command(kvat_buf *out, const kvat_outcome *outcome) {
    json_t *words = kvat__reproduce(outcome);
    if (!words) out->status = KVAT_ERR_NOMEM;
    size_t i;
    json_t *word;
    json_array_foreach(words, i, word) {
        if (i > 0) kvat_buf_putc(out, ' ');
        kvat_escape_shell(out, json_string_value(word));
    }
    json_decref(words);
}

/* ---- rules ---- */
static void add_rule(kvat__builder *rules, json_t *when, const kvat_entry *use, const char *text, bool ok) {
    kvat__builder rule = kvat__build_object();
    rule.failed |= !ok;
    kvat__build_add(&rule, "when", when);
    if (use) {
        kvat__build_copy(&rule, "use", use->settings);
        kvat__build_text(&rule, "label", use->label);
        kvat__build_text(&rule, "because", text);
    } else {
        kvat__build_text(&rule, "advise", text);
    }
    kvat__build_add(rules, NULL, kvat__build_take(&rule));
}

static void add_rule_of(kvat__builder *rules, json_t *when, const kvat_entry *use, kvat_buf *text) {
    bool ok = kvat_buf_status(text, NULL) == KVAT_OK && text->bytes;
    add_rule(rules, when, use, ok ? text->bytes : "", ok);
    kvat_buf_clear(text);
}

static json_t *condition(const char *name, json_t *value) {
    kvat__builder when = kvat__build_object();
    kvat__build_add(&when, name, value);
    return kvat__build_take(&when);
}

/* Entries are ranked, so the first that is smaller is the best that is smaller. */
static const kvat_entry *best_smaller(const kvat_outcome *outcome, const kvat_entry *best, int64_t peak_bytes) {
    for (size_t i = 0; i < outcome->n_entries; i++) {
        const kvat_entry *entry = &outcome->entries[i];
        bool smaller = entry->peak_bytes > 0 && (double)entry->peak_bytes < memory_step * (double)peak_bytes;
        if (smaller && kvat__entry_stands_in(entry, best)) return entry;
    }
    return NULL;
}

static void add_memory_rule(kvat__builder *rules, const char *name, const kvat_entry *too_large,
                            const kvat_entry *use) {
    kvat_buf text = KVAT_BUF_INIT;
    kvat_buf_puts(&text, use ? "measured peak " : "no measured configuration needs less than ");
    kvat_put_bytes(&text, use ? use->peak_bytes : too_large->peak_bytes);
    if (use)
        kvat_buf_printf(&text, ", score %.0f", use->score);
    else
        kvat_buf_puts(&text, ": use a smaller context or a smaller model");
    add_rule_of(rules, condition(name, json_integer(needed_bytes(too_large))), use, &text);
}

/* The rule for the least memory stands first, because the first that holds is taken. */
static void add_memory_rules(kvat__builder *rules, const kvat_outcome *outcome, const kvat_entry *best) {
    const kvat_entry *steps[memory_steps + 1] = {best};
    size_t n = 1;
    kvat__memory_kind kind = kvat__memory_of_source(outcome->peak_source);
    const char *name = kind == KVAT__MEMORY_DEVICES ? "free_device_memory_below_bytes" : "free_memory_below_bytes";
    if (best->peak_bytes <= 0 || kind == KVAT__MEMORY_UNKNOWN || outcome->mixed_sources) return;
    while (n <= memory_steps) {
        const kvat_entry *next = best_smaller(outcome, best, steps[n - 1]->peak_bytes);
        if (!next) break;
        steps[n++] = next;
    }
    if (n <= memory_steps) add_memory_rule(rules, name, steps[n - 1], NULL);
    for (size_t i = n; i-- > 1;) add_memory_rule(rules, name, steps[i - 1], steps[i]);
}

static bool is_feature(const json_t *value) {
    static const char *const absent[] = {"off", "none", "no", "false", ""};
    const char *text = json_string_value(value);
    if (!text) return false; /* numbers are always supported */
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
        if (strcmp(text, absent[i]) == 0) return false;
    return true;
}

static const kvat_entry *best_without(const kvat_outcome *outcome, const kvat_entry *best, const char *knob,
                                      const json_t *value) {
    for (size_t i = 0; i < outcome->n_entries; i++) {
        const kvat_entry *entry = &outcome->entries[i];
        const json_t *other = json_object_get(entry->settings, knob);
        if (other && !json_equal(other, value) && kvat__entry_stands_in(entry, best)) return entry;
    }
    return NULL;
}

static void add_unsupported_rule(kvat__builder *rules, const char *knob, const json_t *value, const kvat_entry *use) {
    kvat_buf text = KVAT_BUF_INIT;
    kvat_buf_printf(&text, "best measured without %s %s, score %.0f", knob, json_string_value(value), use->score);
    kvat__builder what = kvat__build_object();
    kvat__build_copy(&what, knob, value);
    add_rule_of(rules, condition("unsupported", kvat__build_take(&what)), use, &text);
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* In the order of names, so that equal outcomes give equal plans. */
static void add_unsupported_rules(kvat__builder *rules, const kvat_outcome *outcome, const kvat_entry *best) {
    size_t n = 0, made = 0;
    const char **names = malloc((json_object_size(best->settings) + 1) * sizeof *names);
    if (!names) {
        rules->failed = true;
        return;
    }
    const char *name;
    json_t *value;
    json_object_foreach(best->settings, name, value) {
        if (is_feature(value)) names[n++] = name;
    }
    qsort(names, n, sizeof *names, by_name);
    for (size_t i = 0; i < n && made < unsupported_rules; i++) {
        const json_t *wanted = json_object_get(best->settings, names[i]);
        const kvat_entry *use = best_without(outcome, best, names[i], wanted);
        if (!use) continue;
        add_unsupported_rule(rules, names[i], wanted, use);
        made++;
    }
    free(names);
}

static void add_context_rule(kvat__builder *rules, const kvat_outcome *outcome) {
    kvat_buf text = KVAT_BUF_INIT;
    kvat_buf_printf(&text, "measured for a context of %lld tokens; measure the longer one, with --context, as in: ",
                    (long long)outcome->context_tokens);
    put_command(&text, outcome);
    add_rule_of(rules, condition("context_above_tokens", json_integer(outcome->context_tokens)), NULL, &text);
}

static void add_version_rule(kvat__builder *rules, const kvat_outcome *outcome) {
    const char *version = kvat__text_of(outcome->engine, "version");
    if (!*version) return;
    kvat_buf text = KVAT_BUF_INIT;
    kvat_buf_printf(&text,
                    "measured with %s %s; kvat verify tells whether it is still the best with the other version; to "
                    "measure again: ",
                    outcome->engine_name ? outcome->engine_name : "engine", version);
    put_command(&text, outcome);
    add_rule_of(rules, condition("engine_version_not", json_string(version)), NULL, &text);
}

json_t *kvat__fallback(const kvat_outcome *outcome, const kvat_entry *best) {
    kvat__builder rules = kvat__build_array();
    add_memory_rules(&rules, outcome, best);
    add_unsupported_rules(&rules, outcome, best);
    add_context_rule(&rules, outcome);
    add_version_rule(&rules, outcome);
    return kvat__build_take(&rules);
}

/* ---- application ---- */
static bool has_value(const json_t *values, const json_t *value) {
    size_t i;
    json_t *each;
    json_array_foreach((json_t *)values, i, each) {
        if (json_equal(each, value)) return true;
    }
    return false;
}

static bool is_offered(const json_t *knobs, const char *name, const json_t *value) {
    size_t i;
    json_t *knob;
    json_array_foreach((json_t *)knobs, i, knob) {
        if (strcmp(kvat__text_of(knob, "name"), name) == 0) return has_value(json_object_get(knob, "values"), value);
    }
    return false;
}

/* As far as known. The numbers that a knob lists are those worth trying, not all that it takes. */
static bool are_offered(const json_t *knobs, const json_t *settings) {
    const char *name;
    json_t *value;
    if (!knobs) return true;
    json_object_foreach((json_t *)settings, name, value) {
        if (is_feature(value) && !is_offered(knobs, name, value)) return false;
    }
    return true;
}

static bool is_below(int64_t known, const json_t *limit) {
    return known >= 0 && known < json_integer_value(limit);
}

static bool holds(const json_t *when, const kvat_plan_conditions *conditions) {
    const json_t *limit = json_object_get(when, "free_memory_below_bytes");
    if (limit) return is_below(conditions->free_memory_bytes, limit);
    limit = json_object_get(when, "free_device_memory_below_bytes");
    if (limit) return is_below(conditions->free_device_memory_bytes, limit);
    limit = json_object_get(when, "context_above_tokens");
    if (limit) return conditions->context_tokens >= 0 && conditions->context_tokens > json_integer_value(limit);
    const json_t *unsupported = json_object_get(when, "unsupported");
    if (unsupported) return !are_offered(conditions->knobs, unsupported);
    const char *version = json_string_value(json_object_get(when, "engine_version_not"));
    return version && conditions->engine_version && strcmp(version, conditions->engine_version) != 0;
}

/* What the rules that hold come to. */
typedef struct verdict {
    const json_t *use;
    const char *advice;
    int rule;          /* whose `use` was taken; without one, the first that advises; else −1 */
    bool too_little;   /* a rule says that nothing measured fits into memory */
    bool fitting_lost; /* the first rule about memory that holds has what fits, but it is not offered */
} verdict;

static bool is_about_memory(const json_t *when) {
    return json_object_get(when, "free_memory_below_bytes") || json_object_get(when, "free_device_memory_below_bytes");
}

static void take_advice(verdict *v, const json_t *rule, int index) {
    bool memory = is_about_memory(json_object_get(rule, "when"));
    if (!v->advice || (memory && !v->too_little)) v->advice = json_string_value(json_object_get(rule, "advise"));
    if (v->rule < 0) v->rule = index;
    v->too_little |= memory;
}

static void take_settings(verdict *v, const json_t *rule, int index, const json_t *knobs) {
    const json_t *use = json_object_get(rule, "use");
    if (v->use) return;
    if (are_offered(knobs, use)) {
        v->use = use;
        v->rule = index;
    } else { /* it would not start */
        v->fitting_lost |= is_about_memory(json_object_get(rule, "when"));
    }
}

static verdict judge(const json_t *rules, const kvat_plan_conditions *conditions) {
    verdict v = {.rule = -1};
    size_t i;
    json_t *each;
    json_array_foreach((json_t *)rules, i, each) {
        if (!holds(json_object_get(each, "when"), conditions)) continue;
        if (json_object_get(each, "use"))
            take_settings(&v, each, (int)i, conditions->knobs);
        else
            take_advice(&v, each, (int)i);
    }
    return v;
}

/* A rule's settings have figures of their own, or none: the plan's would be false for them. */
const json_t *kvat__figures_of(const json_t *plan, const json_t *settings) {
    size_t i;
    json_t *each;
    if (!settings || json_equal(settings, json_object_get(plan, "settings"))) return json_object_get(plan, "figures");
    json_array_foreach(json_object_get(plan, "alternatives"), i, each) {
        if (json_equal(json_object_get(each, "settings"), settings)) return each;
    }
    return NULL;
}

static int64_t free_bytes(const json_t *plan, const kvat_plan_conditions *conditions) {
    kvat__memory_kind kind = kvat__memory_of_plan(plan);
    if (kind == KVAT__MEMORY_UNKNOWN) return -1;
    return kind == KVAT__MEMORY_HOST ? conditions->free_memory_bytes : conditions->free_device_memory_bytes;
}

/* By their measured peak. Where that or the free memory is not known, only those are doubted that stand in for what
 * fits. */
static bool may_fit(const verdict *v, const json_t *plan, const json_t *settings,
                    const kvat_plan_conditions *conditions) {
    double peak = json_number_value(json_object_get(kvat__figures_of(plan, settings), "peak_bytes"));
    int64_t available = free_bytes(plan, conditions);
    return peak > 0 && available >= 0 ? peak * memory_margin <= (double)available : !v->fitting_lost;
}

kvat_status kvat_plan_resolve(const json_t **settings, int *rule, const char **advice, const json_t *plan,
                              const kvat_plan_conditions *conditions, kvat_error *err) {
    static const char none_left[] =
        "the engine here offers neither all settings of the plan nor a measured stand-in for them: measure again with "
        "kvat tune";
    static const char none_fits[] =
        "what would fit into the free memory is not offered by the engine here, and these settings may need more: "
        "measure again with kvat tune";
    kvat_status status = kvat_plan_check(plan, err);
    if (status != KVAT_OK) return status;
    verdict v = judge(json_object_get(plan, "fallback"), conditions);
    *settings = v.use ? v.use : json_object_get(plan, "settings");
    if (!are_offered(conditions->knobs, *settings))
        v.advice = none_left;
    else if (conditions->knobs && !v.too_little && !may_fit(&v, plan, *settings, conditions))
        v.advice = none_fits;
    if (rule) *rule = v.rule;
    if (advice) *advice = v.advice;
    return KVAT_OK;
}
