/* How to use the result, how it was measured, where, and how to repeat it.
 * Must not know the page around it. */
#include <math.h>
#include <string.h>

#include "html.h"
#include "kvat/plan.h"
#include "kvat/units.h"

/* ---- use ---- */
static void put_value(kvat_buf *out, const json_t *value) {
    if (json_is_string(value))
        kvat__html_text(out, json_string_value(value));
    else if (json_is_integer(value))
        kvat_buf_printf(out, "%lld", (long long)json_integer_value(value));
    else
        kvat_buf_puts(out, "–");
}

static void put_setting_row(kvat_buf *out, const kvat__view *view, const char *name, const json_t *value) {
    bool changed = json_object_get(view->winner->changed, name) != NULL;
    kvat_buf_printf(out, "<tr%s><th scope=\"row\" class=\"wordy\"><code>", changed ? " class=\"chosen\"" : "");
    kvat__html_text(out, name);
    kvat_buf_puts(out, "</code></th><td><code>");
    put_value(out, value);
    kvat_buf_puts(out, "</code></td><td>");
    const kvat_entry *by_default = kvat__entry_at(view->outcome, view->outcome->default_entry);
    const json_t *was = by_default ? json_object_get(by_default->settings, name) : NULL;
    if (changed && was) {
        kvat_buf_puts(out, "<code>");
        put_value(out, was);
        kvat_buf_puts(out, "</code>");
    } else {
        kvat_buf_puts(out, changed ? "another" : "the same");
    }
    kvat_buf_puts(out, "</td></tr>\n");
}

static void put_settings(kvat_buf *out, const kvat__view *view) {
    const char *name;
    json_t *value;
    kvat_buf_puts(out,
                  "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Settings\">\n<table>\n<thead><tr>"
                  "<th scope=\"col\">setting</th><th scope=\"col\">value</th><th "
                  "scope=\"col\">default</th></tr></thead>\n<tbody>\n");
    json_object_foreach(view->winner->settings, name, value) {
        put_setting_row(out, view, name, value);
    }
    kvat_buf_puts(out, "</tbody>\n</table>\n</div>\n");
}

/** What `kvat tune` writes first beside the plan. */
static const char *snippet_file(const kvat_outcome *outcome) {
    size_t n = 0;
    const kvat_snippet *snippets = kvat_snippets_for(&n, outcome->engine_name);
    return n > 0 ? snippets[0].file_name : "";
}

/* The script as `kvat apply` prints it; the model is named when it is started, so that no path of this machine is
 * passed on. */
static kvat_status put_script(kvat_buf *out, const kvat__view *view, kvat_error *err) {
    const kvat_outcome *outcome = view->outcome;
    const char *const *formats = kvat_snippet_formats(outcome->engine_name);
    if (!formats[0]) return KVAT_OK;
    json_t *plan = NULL;
    kvat_buf script = KVAT_BUF_INIT;
    kvat_status status = kvat_plan_make(&plan, outcome, outcome->winner, err);
    if (status == KVAT_OK) status = kvat_snippet_put(&script, plan, formats[0], NULL, err);
    if (status == KVAT_OK) {
        kvat_buf_printf(out, "<details><summary>%s</summary>\n<pre tabindex=\"0\"><code>", snippet_file(outcome));
        kvat__put_script(out, &script);
        kvat_buf_puts(out, "</code></pre></details>\n");
    }
    kvat_buf_clear(&script);
    json_decref(plan);
    return status;
}

kvat_status kvat__html_use(kvat_buf *out, const kvat__view *view, kvat_error *err) {
    if (!view->winner) return KVAT_OK;
    bool writes = kvat_snippet_formats(view->outcome->engine_name)[0] != NULL;
    kvat_buf_puts(out, "<h2>How to run it</h2>\n");
    kvat__html_say(out, "<p>", view, kvat__say_unconfirmed, "</p>\n");
    kvat_buf_printf(out,
                    "<pre tabindex=\"0\"><code>kvat apply best_plan.json%s</code></pre>\n"
                    "<p>prints %s%s%sthese settings:</p>\n",
                    writes ? " --print-snippet" : "", writes ? "<code>" : "", snippet_file(view->outcome),
                    writes ? "</code>, as it lies beside the plan, with " : "");
    put_settings(out, view);
    return put_script(out, view, err);
}

/* ---- method ---- */
static void put_weights(kvat_buf *out, const kvat__view *view) {
    const kvat_profile *profile = view->outcome->profile;
    if (!profile) return;
    kvat_buf_puts(out, "<p>The score is a weighted geometric mean: ");
    kvat__put_fixed(out, 100 * profile->weight_ttft, 0);
    kvat_buf_puts(out, " % time to first token, ");
    kvat__put_fixed(out, 100 * profile->weight_decode, 0);
    kvat_buf_puts(out, " % decode speed, ");
    kvat__put_fixed(out, 100 * profile->weight_memory, 0);
    kvat_buf_printf(out, " %% peak memory. %s110 is one tenth better%s.</p>\n",
                    view->fallback ? "The default is 100; " : "", view->fallback ? "" : " than 100");
}

static void put_spread(kvat_buf *out, const kvat__view *view) {
    const kvat_outcome *outcome = view->outcome;
    if (!isfinite(outcome->anchor_spread)) return;
    kvat_buf_puts(out, "<p>Repeated runs of one configuration spread by ");
    kvat__put_fixed(out, 100 * outcome->anchor_spread, 2);
    kvat_buf_puts(out, " % with drift taken out.</p>\n");
}

static void put_order(kvat_buf *out, const kvat_outcome *outcome) {
    kvat_buf_puts(out, kvat_outcome_raced(outcome)
                           ? "Trials were made in random order in small groups, each with the leader in it, so that a "
                             "machine growing warmer or busier does not favour anyone."
                           : "From every trial a statistical model learns what each setting does, which settings go "
                             "together and how the machine drifts. From that follow the next trial, the ranking and "
                             "how sure the answer is; a configuration that was never run is judged by those that share "
                             "its settings.");
}

/* Where the gain over the default comes from. */
static void put_gain_rule(kvat_buf *out, const kvat_outcome *outcome) {
    kvat_buf_puts(out,
                  "<p>Intervals are 95 %. Those of the ranking come from the search. A gain over the default is only "
                  "claimed from fresh runs of both, taken in turns");
    if (outcome->confirmation.joined) kvat_buf_puts(out, " and joined with what the search knows of it");
    kvat_buf_puts(out, ", and only when its whole interval is above zero.</p>\n");
}

void kvat__html_method(kvat_buf *out, const kvat__view *view) {
    const kvat_outcome *outcome = view->outcome;
    kvat_buf_puts(out, "<h2>How it was measured</h2>\n");
    kvat__html_say(out, "<p>", view, kvat__say_cost, "</p>\n");
    put_weights(out, view);
    kvat_buf_puts(
        out, "<p>A trial measures one configuration over every cell of the workload, by the engine's own monotonic "
             "clock: time to first token with an empty cache and exactly the prompt's length, then the speed of "
             "decoding from that depth. ");
    put_order(out, outcome);
    kvat_buf_puts(out, "</p>\n");
    put_gain_rule(out, outcome);
    put_spread(out, view);
    kvat__html_say(out, "<p>", view, kvat__say_probe, "</p>\n");
    if (outcome->peak_source && *outcome->peak_source) {
        kvat_buf_puts(out, "<p>Peak memory was read from ");
        kvat__html_text(out, outcome->peak_source);
        kvat_buf_puts(out, ".</p>\n");
    }
    if (outcome->virtual_clock)
        kvat_buf_puts(out,
                      "<p>The clock was a virtual one: these figures were simulated, not measured on a machine.</p>\n");
}

/* ---- environment ---- */
static void put_fact(kvat_buf *out, const char *name, const char *text) {
    if (!text || !*text) return;
    kvat_buf_printf(out, "<dt>%s</dt><dd>", name);
    kvat__html_text(out, text);
    kvat_buf_puts(out, "</dd>\n");
}

static void put_machine_fact(kvat_buf *out, const kvat__view *view, const char *name, const char *member) {
    put_fact(out, name, json_string_value(kvat__machine_fact(view->outcome, member)));
}

static void put_ratio_fact(kvat_buf *out, const kvat__view *view, const char *name, const char *member) {
    const json_t *value = kvat__machine_fact(view->outcome, member);
    if (!json_is_number(value)) return;
    kvat_buf_printf(out, "<dt>%s</dt><dd>", name);
    kvat__put_noise(out, json_number_value(value));
    kvat_buf_puts(out, "</dd>\n");
}

static void say_engine(kvat_buf *out, const kvat__view *view) {
    const json_t *engine = view->outcome->engine, *flag;
    size_t i;
    kvat_buf_printf(out, "%s %s", view->outcome->engine_name ? view->outcome->engine_name : "?",
                    kvat__text_member(engine, "version"));
    if (*kvat__text_member(engine, "build")) kvat_buf_printf(out, ", %s", kvat__text_member(engine, "build"));
    json_array_foreach(json_object_get(engine, "flags"), i, flag) {
        if (json_is_string(flag)) kvat_buf_printf(out, "%s%s", i ? " " : ", ", json_string_value(flag));
    }
}

static void say_model(kvat_buf *out, const kvat__view *view) {
    const json_t *model = view->outcome->model;
    kvat_buf_puts(out, view->outcome->model_name ? view->outcome->model_name : "?");
    static const char *const members[] = {"architecture", "weight_type", "identity"};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        if (*kvat__text_member(model, members[i])) kvat_buf_printf(out, ", %s", kvat__text_member(model, members[i]));
}

void kvat__html_environment(kvat_buf *out, const kvat__view *view) {
    kvat_buf_puts(out, "<h2>Where it was measured</h2>\n<dl>\n");
    kvat__html_say(out, "<dt>engine</dt><dd>", view, say_engine, "</dd>\n");
    kvat__html_say(out, "<dt>model</dt><dd>", view, say_model, "</dd>\n");
    kvat__html_say(out, "<dt>machine</dt><dd>", view, kvat__say_machine, "</dd>\n");
    put_machine_fact(out, view, "instructions", "cpu_features");
    put_machine_fact(out, view, "system", "os");
    put_machine_fact(out, view, "governor", "governor");
    put_ratio_fact(out, view, "noise of arithmetic", "cpu_ratio");
    put_ratio_fact(out, view, "noise of memory", "memory_ratio");
    put_ratio_fact(out, view, "CPU taken by others", "foreign_cpu_ratio");
    kvat_buf_puts(out, "</dl>\n");
    kvat__html_say(out, "<p>To measure it again:</p>\n<pre tabindex=\"0\"><code>", view, kvat__say_again,
                   "</code></pre>\n");
}
