/* What a snippet says of itself, in comments: model, engine, workload, figures.
 * Must not know any engine's words. */
#include <string.h>

#include "kvat/stats.h"
#include "kvat/units.h"
#include "plan_internal.h"

static void put_line(kvat_buf *out, const char *mark, const char *name, const char *text) {
    if (!text || !*text) return;
    kvat_buf_printf(out, "%s   %-10s ", mark, name);
    kvat_escape_terminal(out, text);
    kvat_buf_putc(out, '\n');
}

/* The same from a buffer, whose failure is not to look like nothing to say. */
static void put_made_line(kvat_buf *out, const char *mark, const char *name, kvat_buf *text) {
    if (text->status != KVAT_OK && out->status == KVAT_OK) out->status = text->status;
    put_line(out, mark, name, text->bytes);
    kvat_buf_clear(text);
}

static void put_model_line(kvat_buf *out, const json_t *plan, const char *mark) {
    const json_t *model = json_object_get(plan, "model");
    put_line(out, mark, "model", kvat__text_of(model, "name"));
    put_line(out, mark, "file", kvat__text_of(model, "file"));
}

static void put_engine_line(kvat_buf *out, const json_t *plan, const char *mark) {
    const json_t *engine = json_object_get(plan, "engine");
    kvat_buf text = KVAT_BUF_INIT;
    kvat_buf_printf(&text, "%s %s", kvat__text_of(engine, "name"), kvat__text_of(engine, "version"));
    put_made_line(out, mark, "engine", &text);
}

static void put_workload_line(kvat_buf *out, const json_t *plan, const char *mark) {
    kvat_buf text = KVAT_BUF_INIT;
    kvat_buf_puts(&text, kvat__text_of(json_object_get(plan, "profile"), "name"));
    long long sequences = json_integer_value(json_object_get(plan, "sequences"));
    kvat_buf_printf(&text, ", a context of %lld tokens, %lld %s",
                    (long long)json_integer_value(json_object_get(plan, "context_tokens")), sequences,
                    sequences == 1 ? "sequence" : "sequences at once");
    put_made_line(out, mark, "workload", &text);
}

static bool by_rule(const json_t *plan, const kvat_snippet_target *target) {
    return target->settings && !json_equal(target->settings, json_object_get(plan, "settings"));
}

static void put_settings_line(kvat_buf *out, const json_t *plan, const kvat_snippet_target *target, const char *mark) {
    if (!by_rule(plan, target)) {
        put_line(out, mark, "settings", kvat__text_of(plan, "label"));
        return;
    }
    put_line(out, mark, "settings", "not the plan's own, but those of one of its fallback rules");
    put_line(out, mark, "", kvat__text_of(kvat__figures_of(plan, target->settings), "label"));
}

static void put_measured_line(kvat_buf *out, const json_t *figures, const char *mark, const char *about_peak) {
    double ttft = json_number_value(json_object_get(figures, "ttft_s"));
    double decode = json_number_value(json_object_get(figures, "decode_tok_per_s"));
    int64_t peak = json_integer_value(json_object_get(figures, "peak_bytes"));
    kvat_buf text = KVAT_BUF_INIT;
    if (ttft > 0 && ttft < 1e6) {
        kvat_buf_puts(&text, "time to first token ");
        kvat_put_duration(&text, (int64_t)(ttft * 1e9));
    }
    if (decode > 0) {
        kvat_buf_puts(&text, ", decode ");
        kvat_put_number(&text, decode);
        kvat_buf_puts(&text, " tok/s");
    }
    if (peak > 0) {
        kvat_buf_puts(&text, ", peak memory ");
        kvat_put_bytes(&text, peak);
    }
    put_made_line(out, mark, "measured", &text);
    if (peak > 0) put_line(out, mark, "", about_peak);
}

/* Of an interval too wide for its ends to mean anything: on which side of the baseline it is, when that is known. */
static void put_score(kvat_buf *out, kvat_interval ratio) {
    if (!kvat_interval_too_wide(ratio))
        kvat_buf_printf(out, "score %.0f to %.0f", 100 * ratio.low, 100 * ratio.high);
    else if (ratio.low > 1)
        kvat_buf_printf(out, "score beyond %.0f", 100 * ratio.low);
    else if (ratio.high < 1)
        kvat_buf_printf(out, "score below %.0f", 100 * ratio.high);
    else
        kvat_buf_puts(out, "cannot tell the score");
}

static const char *baseline_of(const json_t *gain) {
    bool is_default = strcmp(kvat__text_of(gain, "against"), "default") == 0;
    return is_default ? "engine's default" : "first other configuration that works";
}

/* A run that was not decided confirmed nothing, however good its pairs look. */
static void put_against_line(kvat_buf *out, const json_t *plan, const char *mark) {
    const json_t *gain = json_object_get(plan, "gain"), *score = json_object_get(gain, "score_ratio");
    kvat_interval ratio = {json_number_value(json_object_get(score, "value")),
                           json_number_value(json_object_get(score, "low")),
                           json_number_value(json_object_get(score, "high"))};
    long long pairs = json_integer_value(json_object_get(gain, "pairs"));
    kvat_buf text = KVAT_BUF_INIT;
    if (ratio.low > 0 && ratio.high > 0) {
        put_score(&text, ratio);
        kvat_buf_printf(&text, " where the %s is 100, from %lld fresh pair%s%s", baseline_of(gain), pairs,
                        pairs == 1 ? "" : "s",
                        json_is_true(json_object_get(gain, "joined")) ? " joined with the runs of the search" : "");
    }
    put_made_line(out, mark, ratio.low > 1 && !kvat_plan_undecided(plan) ? "confirmed" : "compared", &text);
}

static void put_undecided_lines(kvat_buf *out, const json_t *plan, bool of_rule, const char *mark) {
    const char *undecided = kvat_plan_undecided(plan);
    if (!undecided) return;
    kvat_buf_printf(out, "%s   not decided: %s%s\n", mark, of_rule ? "the plan's own settings are " : "", undecided);
    put_line(out, mark, "why", kvat__text_of(plan, "why"));
}

void kvat__snippet_header(kvat_buf *out, const json_t *plan, const kvat_snippet_target *target, const char *mark,
                          const char *what, const char *about_peak) {
    kvat_buf_printf(out, "%s %s, written by kvat %s.\n%s\n", mark, what, kvat_version(), mark);
    put_model_line(out, plan, mark);
    put_engine_line(out, plan, mark);
    put_workload_line(out, plan, mark);
    put_settings_line(out, plan, target, mark);
    put_undecided_lines(out, plan, by_rule(plan, target), mark);
    put_measured_line(out, kvat__figures_of(plan, target->settings), mark, about_peak);
    if (!by_rule(plan, target)) put_against_line(out, plan, mark);
    if (json_is_true(json_object_get(plan, "lossy")))
        put_line(out, mark, "quality", "lossy settings that have not been judged: compare the answers before use");
    kvat_buf_printf(out, "%s\n", mark);
}

const char *kvat__below_home(const kvat_snippet_target *target) {
    size_t n = target->home ? strlen(target->home) : 0;
    bool below = n > 1 && target->model_path && strncmp(target->model_path, target->home, n) == 0;
    return below && target->model_path[n] == '/' ? target->model_path + n + 1 : NULL;
}
