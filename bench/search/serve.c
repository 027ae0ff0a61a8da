// The requests: open, measure, close.
// Knows the time a search takes in a world, not how it uses it.
#include "serve.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "cell.h"

typedef struct session {
    bool open;
    world world;
    noise_trace trace;
    uint16_t *levels; // of the request
    outcome searched; // what kvat did here, in budget_s / times
    double budget_s;
} session;

static json_t *problem(const char *what) {
    return json_pack("{s:s}", "error", what);
}

static void end(session *s) {
    if (s->open) world_stop(&s->world);
    world_clear(&s->world);
    noise_trace_clear(&s->trace);
    free(s->levels);
    *s = (session){0};
}

/* ---- open ---- */

static json_t *knobs_of(const world *w) {
    json_t *knobs = json_array();
    for (size_t i = 0; i < w->n_knobs; i++) {
        const kvat_search_knob *knob = &w->knobs[i];
        json_array_append_new(knobs, json_pack("{s:I,s:b,s:I}", "levels", (json_int_t)knob->n_levels, "ordinal",
                                               knob->ordinal, "default", (json_int_t)world__level(w, 0, i)));
    }
    return knobs;
}

static bool read_options(cell_options *options, const json_t *request, size_t *index, uint64_t *repeat) {
    const char *kind = "plain", *disturbance = "desktop";
    json_int_t space = 24, seed = 1, at = 0, again = 0;
    const int unpacked = json_unpack((json_t *)(uintptr_t)request, "{s?I,s?s,s?s,s?I,s?I,s?I,s?F,s?s,s?s,s?s}", "space",
                                     &space, "world", &kind, "noise", &disturbance, "seed", &seed, "index", &at,
                                     "repeat", &again, "times", &options->times[0], "method", &options->method,
                                     "surface", &options->surface, "confirm", &options->confirm);
    options->space = (size_t)space;
    options->kind = world_kind_find(kind);
    options->noise = noise_find(disturbance);
    options->seed = (uint64_t)seed;
    *index = (size_t)at;
    *repeat = (uint64_t)again;
    return unpacked == 0 && options->kind < WORLD_KINDS && options->noise < ENV_COUNT;
}

// The search goes first, for the time it takes; then the world starts over.
static bool search_first(session *s, const cell_options *options, size_t index, uint64_t repeat) {
    bool ok = cell_start(&s->world, options, &s->trace, index, repeat) &&
              cell_play(&s->searched, &s->world, options, index, repeat);
    world_stop(&s->world);
    s->open = ok && cell_start(&s->world, options, &s->trace, index, repeat);
    s->budget_s = s->searched.cost_s * options->times[0];
    return s->open;
}

static json_t *do_open(session *s, const json_t *request) {
    cell_options options = CELL_OPTIONS_INIT;
    size_t index;
    uint64_t repeat;
    end(s);
    if (!read_options(&options, request, &index, &repeat)) return problem("open: no such world");
    if (!cell_trace(&s->trace, &options) || !cell_world(&s->world, &options, index))
        return problem("open: the world could not be made");
    s->levels = calloc(s->world.n_knobs, sizeof *s->levels);
    if (!s->levels || !search_first(s, &options, index, repeat)) return problem("open: kvat could not search it");
    return json_pack("{s:I,s:o,s:f,s:f}", "configs", (json_int_t)s->world.n_configs, "knobs", knobs_of(&s->world),
                     "budget_s", s->budget_s, "grid_s", world_grid_s(&s->world));
}

/* ---- measure, close ---- */

// n_configs when there is none of these levels.
static size_t config_of(session *s, const json_t *request) {
    const json_t *levels = json_object_get(request, "levels");
    if (!s->open || json_array_size(levels) != s->world.n_knobs) return s->world.n_configs;
    for (size_t i = 0; i < s->world.n_knobs; i++) {
        const json_int_t level = json_integer_value(json_array_get(levels, i));
        if (level < 0 || level >= (json_int_t)s->world.knobs[i].n_levels) return s->world.n_configs;
        s->levels[i] = (uint16_t)level;
    }
    return world_config_of(&s->world, s->levels);
}

static const char *fate_word(kvat_search_fate fate) {
    return fate == KVAT_FATE_OK ? "ok" : fate == KVAT_FATE_SLOW ? "slow" : "failed";
}

static json_t *do_measure(session *s, const json_t *request) {
    if (!s->open) return problem("measure: nothing is open");
    const size_t config = config_of(s, request);
    const char *length = json_string_value(json_object_get(request, "length"));
    if (config == s->world.n_configs)
        return json_pack("{s:s,s:f,s:f}", "fate", "none", "cost_s", 0., "now_s", s->world.now_s);
    const world_run run = length && strcmp(length, "full") == 0 ? world_measure_full(&s->world, config)
                                                                : world_measure(&s->world, config);
    json_t *answer =
        json_pack("{s:s,s:f,s:f}", "fate", fate_word(run.fate), "cost_s", run.cost_s, "now_s", s->world.now_s);
    if (run.fate == KVAT_FATE_OK) {
        json_object_set_new(answer, "score", json_real(run.score));
        json_object_set_new(answer, "part", json_pack("[f,f,f]", run.part[0], run.part[1], run.part[2]));
    }
    return answer;
}

static json_t *do_close(session *s, const json_t *request) {
    if (!s->open) return problem("close: nothing is open");
    const size_t config = config_of(s, request);
    if (config == s->world.n_configs) return problem("close: no such configuration");
    outcome o = {0};
    outcome_judge(&o, &s->world, config);
    json_t *answer = json_pack("{s:f,s:f,s:f,s:b,s:f}", "regret", o.regret, "gain", o.gain, "score", o.pick_score,
                               "exact", o.exact, "cost_ratio", o.cost_ratio);
    json_object_set_new(answer, "kvat",
                        json_pack("{s:f,s:f,s:f}", "regret", s->searched.regret, "gain", s->searched.gain, "cost_ratio",
                                  s->searched.cost_ratio));
    end(s);
    return answer;
}

/* ---- lines ---- */

static json_t *answer_to(session *s, const char *line, size_t length) {
    json_t *request = json_loadb(line, length, 0, NULL), *answer;
    const char *what = json_string_value(json_object_get(request, "do"));
    if (what && strcmp(what, "open") == 0)
        answer = do_open(s, request);
    else if (what && strcmp(what, "measure") == 0)
        answer = do_measure(s, request);
    else if (what && strcmp(what, "close") == 0)
        answer = do_close(s, request);
    else
        answer = problem("expected an object whose \"do\" is open, measure or close");
    json_decref(request);
    return answer;
}

bool serve(FILE *in, FILE *out) {
    session s = {0};
    char *line = NULL;
    size_t capacity = 0;
    bool ok = true;
    for (ssize_t length; ok && (length = getline(&line, &capacity, in)) > 0;) {
        json_t *answer = answer_to(&s, line, (size_t)length);
        ok = answer && json_dumpf(answer, out, JSON_COMPACT) == 0 && fputc('\n', out) != EOF && fflush(out) == 0;
        json_decref(answer);
    }
    free(line);
    end(&s);
    return ok && !ferror(in);
}
