// The `run` method: from params to a run of the engine, and its clock readings back.
// Must not know: how tokens are computed.
#include <stdlib.h>
#include <string.h>

#include "kvat/units.h"
#include "llama.h"
#include "worker.h"

#define MOST_TOKENS ((int64_t)1 << 24)
#define MOST_MARKS  256
#define MOST_BURSTS 1000

typedef struct run_request {
    const char *phase;
    int32_t *prompt;
    int64_t prompt_tokens;
    int64_t output_tokens;
    bool marked;
    kvat_stretch *stretches;
    int64_t n_stretches;
    kvat_run run;
} run_request;

static void request_clear(run_request *r) {
    for (int64_t i = 0; r->stretches && i < r->n_stretches; i++) free(r->stretches[i].token_ns);
    free(r->stretches);
    free(r->prompt);
}

static int bad(kvat_fault *fault, const char *what) {
    return kvat_fault_set(fault, KVAT_FAULT_INVALID_SETTING, NULL, "%s", what);
}

static int read_ids(run_request *r, const json_t *ids, const kvat_llama *engine, kvat_fault *fault) {
    r->prompt_tokens = (int64_t)json_array_size(ids);
    if (r->prompt_tokens < 1) return bad(fault, "tokens.ids: expected at least one token");
    r->prompt = malloc((size_t)r->prompt_tokens * sizeof *r->prompt);
    if (!r->prompt) return kvat__llamacpp_no_memory(fault);
    size_t i;
    json_t *id;
    json_array_foreach((json_t *)ids, i, id) {
        json_int_t value = json_is_integer(id) ? json_integer_value(id) : -1;
        if (value < 0 || value >= engine->facts.vocabulary) return bad(fault, "tokens.ids: not a token of this model");
        r->prompt[i] = (int32_t)value;
    }
    return 0;
}

static int read_generator(run_request *r, const json_t *tokens, const kvat_llama *engine, kvat_fault *fault) {
    int64_t seed, low, high;
    if (kvat__llamacpp_integer(&seed, tokens, "seed", INT64_MIN, INT64_MAX, 0, fault) != 0 ||
        kvat__llamacpp_integer(&r->prompt_tokens, tokens, "count", 1, MOST_TOKENS, 0, fault) != 0 ||
        kvat__llamacpp_integer(&low, tokens, "low", 0, engine->facts.vocabulary - 1, -1, fault) != 0 ||
        kvat__llamacpp_integer(&high, tokens, "high", low + 1, engine->facts.vocabulary, -1, fault) != 0)
        return -1;
    r->prompt = malloc((size_t)r->prompt_tokens * sizeof *r->prompt);
    if (!r->prompt) return kvat__llamacpp_no_memory(fault);
    kvat_prompt_tokens(r->prompt, r->prompt_tokens, (uint64_t)seed, (int32_t)low, (int32_t)high);
    return 0;
}

static int read_prompt(run_request *r, const json_t *params, const kvat_llama *engine, kvat_fault *fault) {
    const json_t *tokens = json_object_get(params, "tokens"), *ids = json_object_get(tokens, "ids");
    if (strcmp(r->phase, "decode") == 0) return 0;
    if (!json_is_object(tokens)) return bad(fault, "tokens: expected ids or a generator");
    return ids ? read_ids(r, ids, engine, fault) : read_generator(r, tokens, engine, fault);
}

/* The stretch says how long and how often; room for its times is made here. */
static int add_stretch(run_request *r, kvat_stretch stretch, int64_t sequences, kvat_fault *fault) {
    kvat_stretch *s = &r->stretches[r->n_stretches++];
    const int64_t bursts = stretch.bursts > 1 ? stretch.bursts : 1;
    *s = stretch;
    s->token_ns = calloc((size_t)(bursts * sequences * stretch.output_tokens), sizeof *s->token_ns);
    return s->token_ns ? 0 : kvat__llamacpp_no_memory(fault);
}

static int read_marks(run_request *r, const json_t *marks, const kvat_llama *engine, kvat_fault *fault) {
    size_t i, n = json_array_size(marks);
    json_t *mark;
    int64_t before = 0;
    if (n < 1 || n > MOST_MARKS) return bad(fault, "marks: expected from 1 to 256 of them");
    if (!kvat_llama_can_trim(engine))
        return kvat_fault_set(
            fault, KVAT_FAULT_UNSUPPORTED, "marks",
            "this model's cache cannot be cut back (see \"marks\" of the model); run each depth by itself");
    r->marked = true;
    json_array_foreach((json_t *)marks, i, mark) {
        int64_t prompt, output, bursts;
        if (kvat__llamacpp_integer(&prompt, mark, "prompt_tokens", before + 1, r->prompt_tokens, -1, fault) != 0 ||
            kvat__llamacpp_integer(&output, mark, "output_tokens", 1, MOST_TOKENS, -1, fault) != 0 ||
            kvat__llamacpp_integer(&bursts, mark, "repeats", 1, MOST_BURSTS, 1, fault) != 0 ||
            add_stretch(r, (kvat_stretch){.prompt_tokens = prompt, .output_tokens = output, .bursts = bursts},
                        engine->sequences, fault) != 0)
            return -1;
        before = prompt;
    }
    return before == r->prompt_tokens ? 0 : bad(fault, "marks: the last one must stand at the end of the prompt");
}

static int read_phase(run_request *r, const json_t *params, const kvat_llama *engine, kvat_fault *fault) {
    const json_t *phase = json_object_get(params, "phase");
    r->phase = phase ? json_string_value(phase) : "full";
    if (!r->phase ||
        (strcmp(r->phase, "full") != 0 && strcmp(r->phase, "prefill") != 0 && strcmp(r->phase, "decode") != 0))
        return bad(fault, "phase: expected full, prefill or decode");
    if (strcmp(r->phase, "decode") == 0 && engine->depth == 0)
        return bad(fault, "phase: nothing was prefilled that decode could go on from");
    if (strcmp(r->phase, "prefill") == 0) {
        r->output_tokens = 1;
        return 0;
    }
    return kvat__llamacpp_integer(&r->output_tokens, params, "output_tokens", 1, MOST_TOKENS, -1, fault);
}

static int request_read(run_request *r, const json_t *params, const kvat_llama *engine, kvat_fault *fault) {
    const json_t *marks = json_object_get(params, "marks");
    int64_t sequences;
    if (kvat__llamacpp_integer(&sequences, params, "sequences", 1, INT32_MAX, 1, fault) != 0 ||
        kvat__llamacpp_integer(&r->run.limit_ns, params, "limit_ns", 0, INT64_MAX, 0, fault) != 0 ||
        read_phase(r, params, engine, fault) != 0 || read_prompt(r, params, engine, fault) != 0)
        return -1;
    if (sequences != engine->sequences) return bad(fault, "sequences: not what the context was prepared for");
    if (marks && strcmp(r->phase, "full") != 0) return bad(fault, "marks: only for phase full");
    r->stretches = calloc(marks ? MOST_MARKS : 1, sizeof *r->stretches);
    if (!r->stretches) return kvat__llamacpp_no_memory(fault);
    const kvat_stretch alone = {.prompt_tokens = r->prompt_tokens, .output_tokens = r->output_tokens};
    int failed = marks ? read_marks(r, marks, engine, fault) : add_stretch(r, alone, sequences, fault);
    r->run.prompt = r->prompt;
    r->run.stretches = r->stretches;
    r->run.n_stretches = r->n_stretches;
    return failed;
}

/* ---- the answer ---- */

static json_t *times_json(const int64_t *times, int64_t n) {
    json_t *list = json_array();
    for (int64_t i = 0; list && i < n; i++)
        if (json_array_append_new(list, json_integer(times[i])) != 0) {
            json_decref(list);
            list = NULL;
        }
    return list;
}

static json_t *sequences_json(const run_request *r, const kvat_stretch *stretch, int64_t burst, int64_t sequences) {
    json_t *list = json_array();
    for (int64_t s = burst * sequences; s < (burst + 1) * sequences; s++) {
        json_t *times = times_json(stretch->token_ns + s * stretch->output_tokens, stretch->output_tokens);
        json_t *one = r->marked ? json_pack("{s:o}", "token_ns", times)
                                : json_pack("{s:I, s:o, s:s}", "prompt_tokens", (json_int_t)stretch->prompt_tokens,
                                            "token_ns", times, "finish", "length");
        if (json_array_append_new(list, one) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

/* The bursts after the first. */
static json_t *bursts_json(const run_request *r, const kvat_stretch *stretch, int64_t sequences) {
    json_t *list = json_array();
    for (int64_t i = 1; i < stretch->bursts; i++) {
        json_t *burst = json_pack("{s:o}", "sequences", sequences_json(r, stretch, i, sequences));
        if (json_array_append_new(list, burst) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *marks_json(const run_request *r, int64_t sequences) {
    json_t *list = json_array();
    for (int64_t i = 0; i < r->n_stretches; i++) {
        const kvat_stretch *s = &r->stretches[i];
        json_t *mark = json_pack("{s:I, s:I, s:o}", "prompt_tokens", (json_int_t)s->prompt_tokens, "ttft_ns",
                                 (json_int_t)s->ttft_ns, "sequences", sequences_json(r, s, 0, sequences));
        if (s->bursts > 1 && json_object_set_new(mark, "bursts", bursts_json(r, s, sequences)) != 0) {
            json_decref(mark);
            mark = NULL;
        }
        if (json_array_append_new(list, mark) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *answer(const run_request *r, const kvat_llama *engine, const json_t *settings) {
    json_t *effective = kvat_settings_effective(settings, &engine->settings);
    const json_int_t start = (json_int_t)r->run.start_ns;
    if (r->run.timed_out)
        return json_pack("{s:s, s:I, s:o}", "status", "timeout", "start_ns", start, "effective", effective);
    const char *member = r->marked ? "marks" : "sequences";
    json_t *list =
        r->marked ? marks_json(r, engine->sequences) : sequences_json(r, &r->stretches[0], 0, engine->sequences);
    return json_pack("{s:s, s:I, s:o, s:o}", "status", "ok", "start_ns", start, "effective", effective, member, list);
}

int kvat__llamacpp_run(json_t **result, void *data, kvat_serve *serve, const json_t *params, kvat_fault *fault) {
    kvat_llamacpp_worker *worker = data;
    kvat_llama *engine = &worker->engine;
    const json_t *settings = json_object_get(params, "settings");
    run_request r = {0};
    kvat_settings asked = engine->settings;
    worker->serve = serve;
    if (!engine->context) return bad(fault, "no context is there any more: the model was changed by describe");
    int failed = kvat_settings_read(&asked, settings, KVAT_KNOB_REQUEST, fault);
    if (!failed) failed = kvat_llama_unchanged(engine, fault);
    if (!failed) failed = kvat_llama_set_threads(engine, &asked, fault);
    if (!failed) failed = request_read(&r, params, engine, fault);
    if (!failed) failed = kvat_llama_run(engine, &r.run, fault);
    if (!failed) {
        *result = answer(&r, engine, settings);
        if (!*result) failed = kvat__llamacpp_no_memory(fault);
    }
    request_clear(&r);
    return failed;
}
