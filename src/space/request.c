/* What a request (--set, --sweep, --safe, --allow-lossy) leaves of each knob's values.
 * Must not know how configurations are listed. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "kvat/units.h"
#include "space_internal.h"

static bool setting_is_empty(const kvat_setting *setting) {
    return !setting->values || *setting->values == '\0';
}

/* --- messages --- */

static kvat_status unknown_knob(const kvat_knobs *knobs, const char *flag, const char *name, kvat_error *err) {
    size_t nearest = kvat__knobs_nearest(knobs, name);
    if (nearest == SIZE_MAX)
        return kvat_fail(err, KVAT_ERR_USAGE, "%s %s: this engine has no such setting; kvat engines lists them", flag,
                         name);
    return kvat_fail(err, KVAT_ERR_USAGE, "%s %s: this engine has no such setting; did you mean %s?", flag, name,
                     knobs->knobs[nearest].name);
}

static size_t nearest_number(const kvat_knob *knob, int64_t number) {
    size_t nearest = 0;
    double least = -1;
    for (size_t i = 0; i < knob->n_values; i++) {
        double distance = (double)knob->values[i].number - (double)number;
        if (distance < 0) distance = -distance;
        if (least >= 0 && distance >= least) continue;
        least = distance;
        nearest = i;
    }
    return nearest;
}

static size_t nearest_value(const kvat_knob *knob, const char *text) {
    int64_t number;
    if (knob->type == KVAT_KNOB_INT)
        return kvat_parse_int(&number, text, INT64_MIN, INT64_MAX, knob->name, NULL) == KVAT_OK
                   ? nearest_number(knob, number)
                   : SIZE_MAX;
    const char *texts[KVAT_KNOB_MAX_VALUES];
    for (size_t i = 0; i < knob->n_values; i++) texts[i] = knob->values[i].text;
    int nearest = kvat_nearest_word(text, texts, knob->n_values);
    return nearest < 0 ? SIZE_MAX : (size_t)nearest;
}

static kvat_status unknown_value(const kvat_knob *knob, const char *flag, const char *text, kvat_error *err) {
    size_t nearest = nearest_value(knob, text);
    kvat_buf values = KVAT_BUF_INIT;
    kvat__put_values(&values, knob, NULL);
    kvat_status status = kvat_buf_status(&values, err);
    if (status == KVAT_OK && nearest == SIZE_MAX)
        status = kvat_fail(err, KVAT_ERR_USAGE, "%s %s=%s: not one of %s", flag, knob->name, text, values.bytes);
    else if (status == KVAT_OK)
        status = kvat_fail(err, KVAT_ERR_USAGE, "%s %s=%s: not one of %s; the nearest is %s", flag, knob->name, text,
                           values.bytes, knob->values[nearest].text);
    kvat_buf_clear(&values);
    return status;
}

/* --- --set --- */

static kvat_status apply_set(kvat__choice *choices, const kvat_knobs *knobs, const kvat_setting *set, kvat_error *err) {
    size_t index = kvat_knobs_find(knobs, set->name);
    if (index == SIZE_MAX) return unknown_knob(knobs, "--set", set->name, err);
    const kvat_knob *knob = &knobs->knobs[index];
    if (setting_is_empty(set))
        return kvat_fail(err, KVAT_ERR_USAGE, "--set %s: needs a value, as in --set %s=%s", set->name, knob->name,
                         knob->values[knob->default_level].text);
    size_t level = kvat_knob_level(knob, set->values);
    if (level == SIZE_MAX) return unknown_value(knob, "--set", set->values, err);
    kvat__choice *choice = &choices[index];
    if (choice->fixed && choice->base != level)
        return kvat_fail(err, KVAT_ERR_USAGE, "--set %s: given both %s and %s", knob->name,
                         knob->values[choice->base].text, knob->values[level].text);
    *choice = (kvat__choice){.base = level, .fixed = true};
    kvat__levels_add(&choice->levels, level);
    return KVAT_OK;
}

/* --- --sweep --- */

static void sweep_everything(kvat__choice *choice, const kvat_knob *knob) {
    for (size_t i = 0; i < knob->n_values; i++) kvat__levels_add(&choice->levels, i);
}

/** One item of a comma-separated list, `n` bytes. */
static kvat_status sweep_item(kvat__choice *choice, const kvat_knob *knob, const char *item, size_t n,
                              kvat_error *err) {
    char *text = strndup(item, n);
    if (!text) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate a value of %s", knob->name);
    size_t level = kvat_knob_level(knob, text);
    kvat_status status = level == SIZE_MAX ? unknown_value(knob, "--sweep", text, err) : KVAT_OK;
    if (status == KVAT_OK) kvat__levels_add(&choice->levels, level);
    free(text);
    return status;
}

/* Some engines have values that hold commas ("3,1"): the whole text is looked up first. */
static kvat_status sweep_list(kvat__choice *choice, const kvat_knob *knob, const char *list, kvat_error *err) {
    size_t whole = kvat_knob_level(knob, list);
    if (whole != SIZE_MAX) {
        kvat__levels_add(&choice->levels, whole);
        return KVAT_OK;
    }
    for (;;) {
        size_t n = strcspn(list, ",");
        kvat_status status = sweep_item(choice, knob, list, n, err);
        if (status != KVAT_OK || list[n] == '\0') return status;
        list += n + 1;
    }
}

static kvat_status apply_sweep(kvat__choice *choices, const kvat_knobs *knobs, const kvat_setting *sweep,
                               kvat_error *err) {
    size_t index = kvat_knobs_find(knobs, sweep->name);
    if (index == SIZE_MAX) return unknown_knob(knobs, "--sweep", sweep->name, err);
    const kvat_knob *knob = &knobs->knobs[index];
    kvat__choice *choice = &choices[index];
    if (choice->fixed)
        return kvat_fail(err, KVAT_ERR_USAGE, "--sweep %s contradicts --set %s=%s", knob->name, knob->name,
                         knob->values[choice->base].text);
    if (!choice->swept) memset(&choice->levels, 0, sizeof choice->levels);
    choice->swept = true;
    kvat__levels_add(&choice->levels, choice->base);
    if (!setting_is_empty(sweep)) return sweep_list(choice, knob, sweep->values, err);
    sweep_everything(choice, knob);
    return KVAT_OK;
}

static bool sweep_is_all(const kvat_setting *sweep) {
    return strcmp(sweep->name, "all") == 0;
}

/* "all" widens what is neither fixed nor swept by name, wherever it stands among the flags. */
static kvat_status apply_sweep_all(kvat__choice *choices, const kvat_knobs *knobs, const kvat_setting *sweep,
                                   kvat_error *err) {
    if (!setting_is_empty(sweep)) return kvat_fail(err, KVAT_ERR_USAGE, "--sweep all takes no values");
    for (size_t i = 0; i < knobs->n; i++)
        if (!choices[i].fixed && !choices[i].swept) sweep_everything(&choices[i], &knobs->knobs[i]);
    return KVAT_OK;
}

static kvat_status apply_sweeps(kvat__choice *choices, const kvat_knobs *knobs, const kvat_space_request *request,
                                kvat_error *err) {
    kvat_status status = KVAT_OK;
    for (int all = 0; all <= 1; all++) {
        for (size_t i = 0; i < request->n_sweep && status == KVAT_OK; i++) {
            const kvat_setting *sweep = &request->sweep[i];
            if (sweep_is_all(sweep) != (bool)all) continue;
            status = (all ? apply_sweep_all : apply_sweep)(choices, knobs, sweep, err);
        }
    }
    return status;
}

/* --- what is left out --- */

static void choice_start(kvat__choice *choice, const kvat_knob *knob) {
    *choice = (kvat__choice){.base = knob->default_level};
    for (size_t i = 0; i < knob->n_values; i++)
        if (knob->values[i].searched) kvat__levels_add(&choice->levels, i);
}

/** The value of configuration 0 stays whatever it is: it is what happens without a choice. */
static void choice_filter(kvat__choice *choice, kvat_space_left_out *left_out, const kvat_knob *knob,
                          const kvat_space_request *request) {
    for (size_t i = 0; i < knob->n_values; i++) {
        if (i == choice->base || !kvat__levels_has(&choice->levels, i)) continue;
        bool lossy = !request->allow_lossy && knob->values[i].numerics == KVAT_LOSSY;
        bool unstable = request->safe && !knob->values[i].stable;
        if (!lossy && !unstable) continue;
        kvat__levels_drop(&choice->levels, i);
        if (lossy)
            left_out->lossy++;
        else
            left_out->unstable++;
    }
}

static kvat_status contradiction(const kvat_knobs *knobs, const kvat__rule *rule, const kvat__need *need,
                                 const kvat__choice *choices, kvat_error *err) {
    const kvat_knob *knob = &knobs->knobs[rule->knob], *needed = &knobs->knobs[need->knob];
    kvat_buf allowed = KVAT_BUF_INIT;
    kvat__put_values(&allowed, needed, &need->allowed);
    kvat_status status = kvat_buf_status(&allowed, err);
    if (status == KVAT_OK)
        status = kvat_fail(err, KVAT_ERR_USAGE, "%s=%s needs %s to be one of %s, but it is %s%s", knob->name,
                           knob->values[choices[rule->knob].base].text, needed->name, allowed.bytes,
                           needed->values[choices[need->knob].base].text,
                           choices[need->knob].fixed ? "" : " by default: add --set for it");
    kvat_buf_clear(&allowed);
    return status;
}

static kvat_status check_base(const kvat__choice *choices, const kvat_knobs *knobs, kvat_error *err) {
    uint16_t levels[KVAT_KNOBS_MAX];
    const kvat__rule *rule;
    const kvat__need *need;
    for (size_t i = 0; i < knobs->n; i++) levels[i] = (uint16_t)choices[i].base;
    if (!kvat__rules_broken(&rule, &need, knobs, levels)) return KVAT_OK;
    return contradiction(knobs, rule, need, choices, err);
}

kvat_status kvat__request_read(kvat__choice *choices, kvat_space_left_out *left_out, const kvat_knobs *knobs,
                               const kvat_space_request *request, kvat_error *err) {
    kvat_status status = KVAT_OK;
    for (size_t i = 0; i < knobs->n; i++) choice_start(&choices[i], &knobs->knobs[i]);
    for (size_t i = 0; i < request->n_set && status == KVAT_OK; i++)
        status = apply_set(choices, knobs, &request->set[i], err);
    if (status == KVAT_OK) status = apply_sweeps(choices, knobs, request, err);
    if (status == KVAT_OK) status = check_base(choices, knobs, err);
    if (status != KVAT_OK) return status;
    *left_out = (kvat_space_left_out){0};
    for (size_t i = 0; i < knobs->n; i++) choice_filter(&choices[i], left_out, &knobs->knobs[i], request);
    return KVAT_OK;
}
