/* Is one plan faster than another? Plans are measured at different times, so the spread between such times is part of
 * every interval.
 *
 *   ln ratio = ln new − ln base, half-width = sqrt(h_base² + h_new² + (1.96·u_base)² + (1.96·u_new)²)
 *
 * h is the half-width of the plan's own interval; u, the standard deviation between separate runs, is at least 1 % for
 * times
 * (`between_runs`), and what the anchors spread by when that is more. Memory hardly varies: 0.25 %. Over cells the
 * half-widths of the logarithms are averaged by weight, as if their errors were fully correlated: too wide rather than
 * too narrow. Must not know how plans are measured. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kvat/units.h"
#include "plan_internal.h"

static const double between_runs = 0.01;
static const double between_peaks = 0.0025;
static const double normal_95 = 1.959963984540054;

/* ---- gate ---- */
static kvat_status parse_part(kvat_gate *gate, char *part, kvat_error *err) {
    static const char *const names[] = {"ttft", "decode", "memory"};
    double *const limits[] = {&gate->ttft_ratio, &gate->decode_ratio, &gate->memory_ratio};
    char *equals = strchr(part, '=');
    if (equals) *equals = '\0';
    for (size_t i = 0; equals && i < 3; i++)
        if (strcmp(part, names[i]) == 0) return kvat_parse_ratio(limits[i], equals + 1, 0, 10, part, err);
    int nearest = kvat_nearest_word(part, names, 3);
    if (equals && nearest >= 0)
        return kvat_fail(err, KVAT_ERR_USAGE, "gate: unknown metric \"%s\", did you mean \"%s\"?", part,
                         names[nearest]);
    return kvat_fail(err, KVAT_ERR_USAGE, "gate: \"%s\" is no ttft=, decode= or memory= with a share like 5%%", part);
}

kvat_status kvat_gate_parse(kvat_gate *out, const char *text, kvat_error *err) {
    kvat_gate gate = {NAN, NAN, NAN};
    char copy[256];
    size_t length = strlen(text);
    if (length >= sizeof copy) return kvat_fail(err, KVAT_ERR_USAGE, "gate: longer than any gate could be");
    memcpy(copy, text, length + 1);
    for (char *part = copy; part;) {
        char *comma = strchr(part, ',');
        if (comma) *comma = '\0';
        kvat_status status = parse_part(&gate, part, err);
        if (status != KVAT_OK) return status;
        part = comma ? comma + 1 : NULL;
    }
    *out = gate;
    return KVAT_OK;
}

/* ---- what can be compared ---- */
static const json_t *path_of(const json_t *plan, const char *object, const char *member) {
    return json_object_get(json_object_get(plan, object), member);
}

static bool same(const json_t *a, const json_t *b) {
    return (!a && !b) || json_equal(a, b);
}

/* The machine's class; momentary state such as noise stands beside it. */
static const json_t *machine_of(const json_t *plan) {
    const json_t *environment = json_object_get(plan, "environment");
    const json_t *machine = json_object_get(environment, "machine");
    if (!machine) machine = json_object_get(environment, "fingerprint");
    return machine;
}

static bool same_model(const json_t *base, const json_t *candidate) {
    const json_t *a = path_of(base, "model", "identity"), *b = path_of(candidate, "model", "identity");
    if (a || b) return same(a, b);
    return same(path_of(base, "model", "name"), path_of(candidate, "model", "name"));
}

static bool same_workload(const json_t *base, const json_t *candidate) {
    return same(path_of(base, "profile", "cells"), path_of(candidate, "profile", "cells")) &&
           same(path_of(base, "profile", "weights"), path_of(candidate, "profile", "weights")) &&
           same(json_object_get(base, "context_tokens"), json_object_get(candidate, "context_tokens")) &&
           same(json_object_get(base, "sequences"), json_object_get(candidate, "sequences"));
}

/* One run has no interval, so that nothing is known of what chance would make of it. */
static bool measured_once(const json_t *plan) {
    const json_t *ttft = json_object_get(json_array_get(path_of(plan, "figures", "cells"), 0), "ttft_s");
    return json_is_number(json_object_get(ttft, "value")) && !json_is_number(json_object_get(ttft, "low"));
}

static const char *why_not(const json_t *base, const json_t *candidate) {
    if (!same(path_of(base, "engine", "name"), path_of(candidate, "engine", "name")))
        return "they were measured on different engines";
    if (!same_model(base, candidate)) return "they are for different models";
    if (!same_workload(base, candidate)) return "they were measured under different workloads";
    if (!same(machine_of(base), machine_of(candidate))) return "they were measured on different machines";
    if (json_is_null(path_of(base, "memory", "source")) || json_is_null(path_of(candidate, "memory", "source")))
        return "the memory of one of them was read now from one source, now from another";
    if (!same(path_of(base, "memory", "source"), path_of(candidate, "memory", "source")))
        return "their memory was read from different sources";
    if (measured_once(base) || measured_once(candidate))
        return "one of them rests on a single run, whose spread is not known";
    return NULL;
}

/* ---- figures ---- */
typedef struct figure {
    double ln;   /**< natural logarithm; NaN unknown */
    double half; /**< half-width of its interval */
} figure;

static double real_of(const json_t *object, const char *member) {
    const json_t *value = json_object_get(object, member);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static figure cell_figure(const json_t *interval) {
    double value = real_of(interval, "value"), low = real_of(interval, "low"), high = real_of(interval, "high");
    figure result = {value > 0 ? log(value) : NAN, 0};
    if (low > 0 && high >= low) result.half = log(high / low) / 2;
    return result;
}

static figure figure_over_cells(const json_t *plan, const char *metric) {
    const json_t *cells = path_of(plan, "figures", "cells");
    figure sum = {0, 0};
    double weights = 0;
    size_t i;
    const json_t *cell;
    json_array_foreach((json_t *)cells, i, cell) {
        double weight = real_of(cell, "weight");
        figure each = cell_figure(json_object_get(cell, metric));
        sum.ln += weight * each.ln;
        sum.half += weight * each.half;
        weights += weight;
    }
    return weights > 0 ? (figure){sum.ln / weights, sum.half / weights} : (figure){NAN, 0};
}

static figure figure_of_peak(const json_t *plan) {
    double peak = real_of(json_object_get(plan, "figures"), "peak_bytes");
    return (figure){peak > 0 ? log(peak) : NAN, 0};
}

static double spread_of(const json_t *plan) {
    double anchors = real_of(json_object_get(plan, "noise"), "anchor_spread");
    return anchors > between_runs ? anchors : between_runs;
}

static kvat_interval change_of(figure base, figure candidate, double spread_base, double spread_candidate) {
    double half = sqrt(base.half * base.half + candidate.half * candidate.half +
                       normal_95 * normal_95 * (spread_base * spread_base + spread_candidate * spread_candidate));
    double change = candidate.ln - base.ln;
    return (kvat_interval){exp(change), exp(change - half), exp(change + half)};
}

/* `sign` +1: less is better, −1: more is better. */
static void judge(kvat_difference *item, int sign) {
    bool up = item->change.low > 1, down = item->change.high < 1;
    item->worse = sign > 0 ? up : down;
    item->better = sign > 0 ? down : up;
    if (isnan(item->allowed)) return;
    item->worse_beyond_gate = sign > 0 ? item->change.low > 1 + item->allowed : item->change.high < 1 - item->allowed;
}

static void add_item(kvat_comparison *out, const char *metric, figure base, figure candidate, kvat_interval change,
                     double allowed, int sign) {
    if (isnan(base.ln) || isnan(candidate.ln)) return;
    kvat_difference *item = &out->items[out->n_items++];
    *item = (kvat_difference){.metric = metric, .change = change, .allowed = allowed};
    item->base = exp(base.ln);
    item->candidate = exp(candidate.ln);
    judge(item, sign);
    out->gate_failed |= item->worse_beyond_gate;
}

/* The score of both by the weights of the workload: s = −w_t ln TTFT + w_d ln decode − w_m ln peak. */
static figure score_of(const json_t *plan, const figure parts[3]) {
    const json_t *weights = path_of(plan, "profile", "weights");
    static const char *const names[] = {"ttft", "decode", "memory"};
    static const int signs[] = {-1, 1, -1};
    figure score = {0, 0};
    for (size_t i = 0; i < 3; i++) {
        double weight = real_of(weights, names[i]);
        if (weight == 0) continue;
        score.ln += signs[i] * weight * parts[i].ln;
        score.half += weight * parts[i].half;
    }
    return score;
}

static void compare_figures(kvat_comparison *out, const json_t *base, const json_t *candidate, const kvat_gate *gate) {
    const figure a[3] = {figure_over_cells(base, "ttft_s"), figure_over_cells(base, "decode_tok_per_s"),
                         figure_of_peak(base)};
    const figure b[3] = {figure_over_cells(candidate, "ttft_s"), figure_over_cells(candidate, "decode_tok_per_s"),
                         figure_of_peak(candidate)};
    double u = spread_of(base), v = spread_of(candidate);
    add_item(out, "ttft", a[0], b[0], change_of(a[0], b[0], u, v), gate ? gate->ttft_ratio : NAN, 1);
    add_item(out, "decode", a[1], b[1], change_of(a[1], b[1], u, v), gate ? gate->decode_ratio : NAN, -1);
    add_item(out, "memory", a[2], b[2], change_of(a[2], b[2], between_peaks, between_peaks),
             gate ? gate->memory_ratio : NAN, 1);
    figure old_score = score_of(base, a), new_score = score_of(candidate, b);
    add_item(out, "score", old_score, new_score, change_of(old_score, new_score, u, v), NAN, -1);
}

static void put_limits(kvat_comparison *out, const json_t *base, const json_t *candidate) {
    const char *old_version = kvat__text_of(json_object_get(base, "engine"), "version");
    const char *new_version = kvat__text_of(json_object_get(candidate, "engine"), "version");
    bool undecided = false;
    for (size_t i = 0; i < out->n_items; i++) undecided |= !out->items[i].better && !out->items[i].worse;
    if (strcmp(old_version, new_version) != 0)
        snprintf(out->reason, sizeof out->reason, "measured at different times, with engine versions %.60s and %.60s",
                 old_version, new_version);
    else if (undecided)
        snprintf(out->reason, sizeof out->reason,
                 "measured at different times: differences this small can only be told by interleaved runs");
    else
        snprintf(out->reason, sizeof out->reason, "measured at different times, which the intervals allow for");
}

kvat_status kvat_plan_compare(kvat_comparison *out, const json_t *base, const json_t *candidate, const kvat_gate *gate,
                              kvat_error *err) {
    kvat_comparison result = {0};
    kvat_status status = kvat_plan_check(base, err);
    if (status == KVAT_OK) status = kvat_plan_check(candidate, err);
    if (status != KVAT_OK) return status;
    const char *reason = why_not(base, candidate);
    result.base_undecided = kvat_plan_undecided(base) != NULL;
    result.candidate_undecided = kvat_plan_undecided(candidate) != NULL;
    result.same_settings = same(json_object_get(base, "settings"), json_object_get(candidate, "settings"));
    if (reason) {
        snprintf(result.reason, sizeof result.reason, "%s", reason);
    } else {
        compare_figures(&result, base, candidate, gate);
        result.comparable = result.n_items > 0;
        put_limits(&result, base, candidate);
        if (!result.comparable) snprintf(result.reason, sizeof result.reason, "a plan has no figures");
    }
    *out = result;
    return KVAT_OK;
}
