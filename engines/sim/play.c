/* One run on the virtual clock: prefill and decode at every depth asked for, each as long as truth and noise make it.
 */
/* Must not know: the file format. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kvat/profile.h"
#include "kvat/units.h"
#include "sim.h"

#define SHORT_OUTPUT_TOKENS 64
#define MAX_PHASE_S         1e7
#define MAX_CLOCK_NS        (INT64_MAX / 4)
#define MAX_MARKS           4096
#define MAX_REPEATS         1000
#define MAX_TIMES           (INT64_C(1) << 20) /* token times of an answer: they have to fit in one line */

typedef enum phase { PHASE_FULL, PHASE_PREFILL, PHASE_DECODE } phase;

typedef struct mark {
    int64_t prompt_tokens, output_tokens, repeats;
} mark;

typedef struct request {
    phase phase;
    mark *marks; /* at least one; a run without marks is one at its whole length */
    size_t n_marks;
    bool marked;
    int64_t sequences, limit_ns;
} request;

int64_t sim__ns(double seconds) {
    return (int64_t)llround(fmin(seconds, MAX_PHASE_S) * (double)KVAT_NS_PER_S);
}

/* ---- what is asked ---- */

static kvat_status read_phase(phase *out, kvat_json_at at, kvat_error *err) {
    const char *word = "full";
    const kvat_status status = kvat_json_get_string(&word, at, "phase", false, err);
    if (status != KVAT_OK) return status;
    if (!strcmp(word, "full")) return *out = PHASE_FULL, KVAT_OK;
    if (!strcmp(word, "prefill")) return *out = PHASE_PREFILL, KVAT_OK;
    if (!strcmp(word, "decode")) return *out = PHASE_DECODE, KVAT_OK;
    return kvat_fail(err, KVAT_ERR_DATA, "run.phase: expected full, prefill or decode");
}

static kvat_status read_prompt(int64_t *count, kvat_json_at at, kvat_error *err) {
    json_t *tokens = NULL, *ids = NULL;
    kvat_status status = kvat_json_get_object(&tokens, at, "tokens", true, err);
    const kvat_json_at inner = {tokens, "run.tokens"};
    if (status == KVAT_OK) status = kvat_json_get_array(&ids, inner, "ids", false, err);
    if (status != KVAT_OK) return status;
    if (!ids) return kvat_json_get_int(count, inner, "count", 1, KVAT_PROFILE_MAX_TOKENS, true, err);
    *count = (int64_t)json_array_size(ids);
    return *count > 0 ? KVAT_OK : kvat_fail(err, KVAT_ERR_DATA, "run.tokens.ids: expected at least one");
}

static kvat_status read_mark(mark *out, const json_t *object, int64_t above, kvat_error *err) {
    const kvat_json_at at = {object, "run.marks"};
    if (!json_is_object(object)) return kvat_fail(err, KVAT_ERR_DATA, "run.marks: expected objects");
    kvat_status status =
        kvat_json_get_int(&out->prompt_tokens, at, "prompt_tokens", above + 1, KVAT_PROFILE_MAX_TOKENS, true, err);
    if (status == KVAT_OK)
        status = kvat_json_get_int(&out->output_tokens, at, "output_tokens", 1, KVAT_PROFILE_MAX_TOKENS, true, err);
    out->repeats = 1;
    if (status == KVAT_OK) status = kvat_json_get_int(&out->repeats, at, "repeats", 1, MAX_REPEATS, false, err);
    return status;
}

static kvat_status read_marks(request *r, kvat_json_at at, int64_t count, int64_t outputs, kvat_error *err) {
    json_t *array = NULL;
    kvat_status status = kvat_json_get_array(&array, at, "marks", false, err);
    if (status != KVAT_OK) return status;
    r->marked = json_array_size(array) > 0;
    r->n_marks = r->marked ? json_array_size(array) : 1;
    if (r->n_marks > MAX_MARKS) return kvat_fail(err, KVAT_ERR_DATA, "run.marks: more than %d", MAX_MARKS);
    r->marks = calloc(r->n_marks, sizeof *r->marks);
    if (!r->marks) return kvat_fail(err, KVAT_ERR_NOMEM, "no memory for the marks");
    r->marks[0] = (mark){count, outputs, 1};
    for (size_t i = 0; r->marked && i < r->n_marks && status == KVAT_OK; i++)
        status = read_mark(&r->marks[i], json_array_get(array, i), i ? r->marks[i - 1].prompt_tokens : 0, err);
    if (status == KVAT_OK && r->marks[r->n_marks - 1].prompt_tokens != count)
        status = kvat_fail(err, KVAT_ERR_DATA, "run.marks: the last is not at tokens.count");
    return status;
}

static kvat_status refuse_excess(const request *r, int64_t context_tokens, kvat_error *err) {
    int64_t times = 0;
    for (size_t i = 0; i < r->n_marks; i++) {
        const mark *m = &r->marks[i];
        times += m->output_tokens * m->repeats * r->sequences;
        if (times > MAX_TIMES) return kvat_fail(err, KVAT_ERR_DATA, "run: too many tokens for one answer");
        if (m->prompt_tokens + m->output_tokens > context_tokens)
            return kvat_fail(err, KVAT_ERR_DATA, "run: %lld + %lld tokens do not fit in the context of %lld",
                             (long long)m->prompt_tokens, (long long)m->output_tokens, (long long)context_tokens);
    }
    return KVAT_OK;
}

static kvat_status read_request(request *r, const sim *s, const json_t *params, kvat_error *err) {
    const kvat_json_at at = {params, "run"};
    int64_t count = s->cached_tokens, outputs = 1;
    *r = (request){.sequences = 1, .limit_ns = INT64_MAX};
    kvat_status status = read_phase(&r->phase, at, err);
    if (status == KVAT_OK && r->phase != PHASE_DECODE) status = read_prompt(&count, at, err);
    if (status == KVAT_OK && count == 0) status = kvat_fail(err, KVAT_ERR_DATA, "run: decode without a prefill");
    if (status == KVAT_OK && r->phase != PHASE_PREFILL)
        status = kvat_json_get_int(&outputs, at, "output_tokens", 1, KVAT_PROFILE_MAX_TOKENS, true, err);
    if (status == KVAT_OK) status = kvat_json_get_int(&r->sequences, at, "sequences", 1, 1024, false, err);
    if (status == KVAT_OK) status = kvat_json_get_int(&r->limit_ns, at, "limit_ns", 1, INT64_MAX, false, err);
    if (status == KVAT_OK) status = read_marks(r, at, count, outputs, err);
    if (status == KVAT_OK && r->marked && r->phase != PHASE_FULL)
        status = kvat_fail(err, KVAT_ERR_DATA, "run.marks: only with phase full");
    return status == KVAT_OK ? refuse_excess(r, s->context_tokens, err) : status;
}

/* ---- how long it takes ---- */

/* The part of the bias that this configuration shows in short outputs, drawn once for it. */
static double short_bias(const sim *s, int64_t outputs) {
    if (outputs > SHORT_OUTPUT_TOKENS) return 0;
    const size_t n = kvat_knobs_count(s->surface->knobs);
    char hex[KVAT_HASH_HEX];
    kvat_hash_bytes(hex, s->levels, n * sizeof *s->levels);
    hex[16] = '\0';
    const uint64_t key = strtoull(hex, NULL, 16);
    return s->surface->bias_mean + s->surface->bias_sd * sim_draw_normal(s->world_seed, SIM_STREAM_BIAS, key);
}

/* Lets a phase pass that truly takes `seconds`, and answers what it took. At least `least` ns: clocks must ascend. */
static int64_t pass(sim *s, double seconds, double draw, int64_t least) {
    const double log_factor = s->launch_draw + draw + sim_world_slowdown(&s->world, s->clock_ns, seconds);
    int64_t took = sim__ns(seconds * exp(log_factor));
    if (took < least) took = least;
    s->clock_ns += took;
    return took;
}

static double run_draw(const sim *s, sim_stream stream) {
    return s->surface->noise.run_sd * sim_draw_normal(s->world_seed, stream, (uint64_t)s->clock_ns);
}

/* Token times of one sequence: the first now, the last when the decode phase has passed, evenly spread between. */
static json_t *decode(sim *s, const sim_truth *truth, const mark *m, int64_t sequences) {
    const int64_t gaps = m->output_tokens - 1, first = s->clock_ns;
    const double rate = truth->decode_tok_per_s / (double)sequences * exp(short_bias(s, m->output_tokens));
    const int64_t took = gaps > 0 ? pass(s, (double)gaps / rate, run_draw(s, SIM_STREAM_DECODE), gaps) : 0;
    json_t *times = json_array();
    for (int64_t i = 0; i <= gaps; i++) {
        const int64_t offset = gaps ? took / gaps * i + took % gaps * i / gaps : 0;
        if (json_array_append_new(times, json_integer(first + offset)) != 0) {
            json_decref(times);
            return NULL;
        }
    }
    return times;
}

static json_t *sequences_json(json_t *times, const mark *m, int64_t sequences) {
    json_t *array = json_array();
    for (int64_t i = 0; i < sequences; i++)
        if (json_array_append_new(array, json_pack("{s:I,s:O,s:s}", "prompt_tokens", (json_int_t)m->prompt_tokens,
                                                   "token_ns", times, "finish", "length")) != 0) {
            json_decref(array);
            array = NULL;
            break;
        }
    json_decref(times);
    return array;
}

/* The bursts after the first: cutting the cache back takes no time here, so each begins where the one before ends. */
static json_t *bursts_json(sim *s, const sim_truth *truth, const mark *m, int64_t sequences) {
    json_t *array = json_array();
    for (int64_t i = 1; i < m->repeats; i++) {
        json_t *times = sequences_json(decode(s, truth, m, sequences), m, sequences);
        if (json_array_append_new(array, json_pack("{s:o}", "sequences", times)) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

typedef struct progress {
    int64_t start_ns, prefill_ns;
    double prefilled_s; /* true time of the prefill so far */
    double draw;        /* of the prefill, one a run */
    json_t *marks, *sequences;
} progress;

static int add_mark(sim *s, progress *p, const request *r, const mark *m, const sim_truth *truth) {
    json_t *answer = json_pack("{s:I,s:I,s:O?}", "prompt_tokens", (json_int_t)m->prompt_tokens, "ttft_ns",
                               (json_int_t)p->prefill_ns, "sequences", p->sequences);
    if (m->repeats > 1 && json_object_set_new(answer, "bursts", bursts_json(s, truth, m, r->sequences)) != 0) {
        json_decref(answer);
        return -1;
    }
    return json_array_append_new(p->marks, answer);
}

/* KVAT_ERR_DATA: the surface does not hold this depth. */
static kvat_status play_mark(sim *s, progress *p, const request *r, const mark *m, kvat_error *err) {
    const sim_point point = {m->prompt_tokens, m->output_tokens, r->sequences};
    sim_truth truth;
    const kvat_status status = sim_truth_at(&truth, s->surface, s->levels, point, err);
    if (status != KVAT_OK) return status;
    if (point.prompt_tokens >= s->largest.prompt_tokens) s->largest = point;
    if (r->phase == PHASE_DECODE) {
        pass(s, (double)r->sequences / truth.decode_tok_per_s, run_draw(s, SIM_STREAM_PREFILL), 1);
    } else {
        p->prefill_ns += pass(s, fmax(truth.ttft_s - p->prefilled_s, 0), p->draw, 1);
        p->prefilled_s = fmax(truth.ttft_s, p->prefilled_s);
    }
    json_decref(p->sequences);
    p->sequences = sequences_json(decode(s, &truth, m, r->sequences), m, r->sequences);
    if (r->marked && add_mark(s, p, r, m, &truth) != 0)
        return kvat_fail(err, KVAT_ERR_NOMEM, "no memory for the answer");
    if (!p->sequences) return kvat_fail(err, KVAT_ERR_NOMEM, "no memory for the answer");
    return s->clock_ns < MAX_CLOCK_NS ? KVAT_OK : kvat_fail(err, KVAT_ERR_INTERNAL, "the virtual clock has run over");
}

static bool past_limit(const sim *s, const progress *p, const request *r) {
    return s->clock_ns - p->start_ns > r->limit_ns;
}

static int play(json_t **result, sim *s, const request *r, kvat_fault *fault) {
    kvat_error err = KVAT_ERROR_INIT;
    progress p = {.start_ns = s->clock_ns, .draw = run_draw(s, SIM_STREAM_PREFILL), .marks = json_array()};
    kvat_status status = KVAT_OK;
    for (size_t i = 0; i < r->n_marks && status == KVAT_OK && !past_limit(s, &p, r); i++)
        status = play_mark(s, &p, r, &r->marks[i], &err);
    if (status == KVAT_OK && past_limit(s, &p, r)) {
        s->clock_ns = p.start_ns + r->limit_ns;
        *result = json_pack("{s:s,s:I}", "status", "timeout", "start_ns", (json_int_t)p.start_ns);
    } else if (status == KVAT_OK) {
        *result = json_pack("{s:s,s:I,s:O}", "status", "ok", "start_ns", (json_int_t)p.start_ns,
                            r->marked ? "marks" : "sequences", r->marked ? p.marks : p.sequences);
    }
    s->cached_tokens = r->marks[r->n_marks - 1].prompt_tokens;
    json_decref(p.marks);
    json_decref(p.sequences);
    return status == KVAT_OK ? 0 : sim__fail(fault, KVAT_FAULT_UNSUPPORTED, &err);
}

/* ---- what goes wrong ---- */

/* The time it took to notice: half of the first prefill. */
static void pass_half_a_prefill(sim *s, const request *r) {
    const sim_point point = {r->marks[0].prompt_tokens, r->marks[0].output_tokens, r->sequences};
    sim_truth truth;
    const bool known = sim_truth_at(&truth, s->surface, s->levels, point, NULL) == KVAT_OK;
    s->clock_ns += known ? sim__ns(truth.ttft_s / 2) : KVAT_NS_PER_MS;
}

/* Does what the rule says; -1 with the fault, or 0 when the run goes on. */
static int suffer(sim *s, const sim_fault *rule, const request *r, kvat_fault *fault) {
    const char *knob = rule->when.n ? kvat_knobs_at(s->surface->knobs, rule->when.knobs[0])->name : NULL;
    switch (rule->kind) {
    case SIM_CRASH:
        abort();
    case SIM_HANG:
        for (;;) pause();
    case SIM_INVALID:
        return 0;
    case SIM_UNSUPPORTED:
        return kvat_fault_set(fault, KVAT_FAULT_UNSUPPORTED, knob, "unsupported by the surface's rule");
    case SIM_OOM_HOST:
    case SIM_OOM_DEVICE:
        break;
    }
    pass_half_a_prefill(s, r);
    const bool host = rule->kind == SIM_OOM_HOST;
    return kvat_fault_set(fault, host ? KVAT_FAULT_OOM_HOST : KVAT_FAULT_OOM_DEVICE, knob, "out of %s memory",
                          host ? "host" : "device");
}

int sim__run(json_t **result, sim *s, const json_t *params, kvat_fault *fault) {
    kvat_error err = KVAT_ERROR_INIT;
    json_t *effective = NULL, *settings = NULL;
    request r = {0};
    kvat_status status = kvat_json_get_object(&settings, (kvat_json_at){params, "run"}, "settings", false, &err);
    int failed = status == KVAT_OK ? sim__apply(&effective, s, settings, fault)
                                   : sim__fail(fault, KVAT_FAULT_INVALID_SETTING, &err);
    if (failed) goto done;
    failed = -1;
    status = read_request(&r, s, params, &err);
    if (status != KVAT_OK) {
        sim__fail(fault, KVAT_FAULT_INVALID_SETTING, &err);
        goto done;
    }
    const sim_fault *rule = sim__strike(s, false);
    if (rule && suffer(s, rule, &r, fault) != 0) goto done;
    if (rule && sim__falsify(effective, s, rule, fault) != 0) goto done;
    if (play(result, s, &r, fault) != 0) goto done;
    failed = json_object_set(*result, "effective", effective) == 0
                 ? 0
                 : kvat_fault_set(fault, KVAT_FAULT_INTERNAL, NULL, "the simulator is out of memory");
done:
    free(r.marks);
    json_decref(effective);
    return failed;
}
