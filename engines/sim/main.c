/* kvat-sim: the engine that needs no engine. It plays a "kvat-surface/1" on a virtual clock. */
/* Must not know: how a surface is read or what noise is made of. */
#include <jansson.h>
#include <string.h>

#include "kvat/profile.h"
#include "kvat/units.h"
#include "sim.h"

#define SIM_MEMORY_BYTES (INT64_C(1) << 40) /* of the pretended machine: nothing is kept from being tried */
#define SIM_TOKENS       32000              /* prompt token ids are below this */

static int64_t now_ns(void *worker) {
    return ((const sim *)worker)->clock_ns;
}

static int answer(json_t **result, json_t *made, kvat_fault *fault) {
    *result = made;
    return made ? 0 : kvat_fault_set(fault, KVAT_FAULT_INTERNAL, NULL, "the simulator is out of memory");
}

static int initialize(json_t **result, void *worker, kvat_serve *serve, const json_t *params, kvat_fault *fault) {
    sim *s = worker;
    const kvat_json_at at = {params, "initialize"};
    kvat_error err = KVAT_ERROR_INIT;
    int64_t seed = 0;
    (void)serve;
    kvat_status status = kvat_json_get_int(&seed, at, "world_seed", INT64_MIN, INT64_MAX, false, &err);
    if (status == KVAT_OK)
        status = kvat_json_get_int(&s->clock_ns, at, "virtual_now_ns", 0, INT64_MAX / 4, false, &err);
    if (status == KVAT_OK) status = kvat_json_get_bool(&s->replay_load, at, "replay_load", false, &err);
    if (status == KVAT_OK)
        status = kvat_json_get_int(&s->replayed_ns, at, "virtual_loaded_ns", 0, INT64_MAX / 4, false, &err);
    if (status != KVAT_OK) return sim__fail(fault, KVAT_FAULT_INTERNAL, &err);
    s->world_seed = (uint64_t)seed;
    return answer(result,
                  json_pack("{s:{s:s,s:s,s:s,s:[]},s:s,s:[s,s]}", "engine", "name", "sim", "version",
                            KVAT_VERSION_STRING, "build", "", "flags", "clock", "virtual", "capabilities", "marks",
                            "repeats"),
                  fault);
}

static int open_model(sim *s, const json_t *params, const char *method, kvat_fault *fault) {
    kvat_error err = KVAT_ERROR_INIT;
    const char *path = NULL;
    if (kvat_json_get_string(&path, (kvat_json_at){params, method}, "model", true, &err) != KVAT_OK)
        return sim__fail(fault, KVAT_FAULT_BAD_MODEL, &err);
    return sim__open(s, path, fault);
}

static json_t *model_json(const sim_surface *surface) {
    char identity[KVAT_HASH_HEX + 8];
    snprintf(identity, sizeof identity, "sha256:%s", surface->identity);
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:b,s:I,s:i,s:i,s:i}", "name", surface->name, "architecture", "surface",
                     "format", "kvat-surface/1", "weight_type", "none", "identity", identity, "synthetic", 1,
                     "training_context_tokens", (json_int_t)sim_largest_context(surface), "vocabulary", SIM_TOKENS,
                     "token_low", 0, "token_high", SIM_TOKENS);
}

static int describe(json_t **result, void *worker, kvat_serve *serve, const json_t *params, kvat_fault *fault) {
    sim *s = worker;
    (void)serve;
    if (open_model(s, params, "describe", fault) != 0) return -1;
    return answer(result,
                  json_pack("{s:o,s:[{s:s,s:s,s:I}],s:O,s:[]}", "model", model_json(s->surface), "devices", "name",
                            "simulated", "kind", "cpu", "memory_bytes", (json_int_t)SIM_MEMORY_BYTES, "knobs",
                            s->surface->knobs_json, "absent"),
                  fault);
}

static int settings_of(json_t **settings, const json_t *params, const char *method, kvat_fault *fault) {
    kvat_error err = KVAT_ERROR_INIT;
    if (kvat_json_get_object(settings, (kvat_json_at){params, method}, "settings", false, &err) == KVAT_OK) return 0;
    return sim__fail(fault, KVAT_FAULT_INVALID_SETTING, &err);
}

/* A load that only restores what an interrupted run held takes no time and counts what it counted then. */
static int64_t pass_load(sim *s) {
    int64_t took = sim__ns(s->surface->load_s);
    if (s->replay_load) {
        if (s->replayed_ns >= 0) took = s->replayed_ns;
    } else {
        s->clock_ns += took;
    }
    s->replay_load = false;
    return took;
}

static int load(json_t **result, void *worker, kvat_serve *serve, const json_t *params, kvat_fault *fault) {
    sim *s = worker;
    json_t *settings = NULL, *effective = NULL;
    (void)serve;
    if (open_model(s, params, "load", fault) != 0 || settings_of(&settings, params, "load", fault) != 0) return -1;
    if (sim__apply(&effective, s, settings, fault) != 0) return -1;
    const int64_t load_ns = pass_load(s);
    return answer(result, json_pack("{s:o,s:I,s:{}}", "effective", effective, "load_ns", (json_int_t)load_ns, "memory"),
                  fault);
}

static void pass_prepare(sim *s) {
    s->clock_ns += sim__ns(s->surface->prepare_s);
    s->launch_draw =
        s->surface->noise.launch_sd * sim_draw_normal(s->world_seed, SIM_STREAM_LAUNCH, (uint64_t)s->clock_ns);
    s->cached_tokens = 0;
    s->largest = (sim_point){0};
}

/* Refusals and silent changes that a rule of the surface calls for. */
static int strike_prepare(sim *s, json_t *effective, kvat_fault *fault) {
    const sim_fault *rule = sim__strike(s, true);
    if (!rule) return 0;
    if (rule->kind == SIM_INVALID) return sim__falsify(effective, s, rule, fault);
    s->clock_ns += KVAT_NS_PER_MS; /* so that another attempt is another draw */
    const char *knob = rule->when.n ? kvat_knobs_at(s->surface->knobs, rule->when.knobs[0])->name : NULL;
    return kvat_fault_set(fault, KVAT_FAULT_UNSUPPORTED, knob, "unsupported by the surface's rule");
}

static int prepare(json_t **result, void *worker, kvat_serve *serve, const json_t *params, kvat_fault *fault) {
    sim *s = worker;
    const kvat_json_at at = {params, "prepare"};
    kvat_error err = KVAT_ERROR_INIT;
    json_t *settings = NULL, *effective = NULL;
    (void)serve;
    s->context_tokens = 0;
    kvat_status status =
        kvat_json_get_int(&s->context_tokens, at, "context_tokens", 1, 1026 * KVAT_PROFILE_MAX_TOKENS, true, &err);
    if (status == KVAT_OK) status = kvat_json_get_int(&s->sequences, at, "sequences", 1, 1024, false, &err);
    if (status != KVAT_OK) return sim__fail(fault, KVAT_FAULT_INVALID_SETTING, &err);
    if (settings_of(&settings, params, "prepare", fault) != 0) return -1;
    if (sim__reset(s, KVAT_SCOPE_CONTEXT, fault) != 0) return -1; /* a new context holds nothing of the last */
    if (sim__apply(&effective, s, settings, fault) != 0) return -1;
    const int64_t start_ns = s->clock_ns;
    pass_prepare(s);
    if (strike_prepare(s, effective, fault) != 0) {
        json_decref(effective);
        return -1;
    }
    return answer(result,
                  json_pack("{s:o,s:I,s:I,s:{}}", "effective", effective, "context_tokens",
                            (json_int_t)s->context_tokens, "prepare_ns", (json_int_t)(s->clock_ns - start_ns),
                            "memory"),
                  fault);
}

static int run(json_t **result, void *worker, kvat_serve *serve, const json_t *params, kvat_fault *fault) {
    (void)serve;
    return sim__run(result, worker, params, fault);
}

/* Memory is that of the largest cell run in this context. */
static int64_t peak_bytes(const sim *s) {
    sim_truth truth;
    if (!s->surface || s->largest.prompt_tokens == 0) return 0;
    if (sim_truth_at(&truth, s->surface, s->levels, s->largest, NULL) != KVAT_OK) return 0;
    return (int64_t)truth.peak_bytes;
}

static int resources(json_t **result, void *worker, kvat_serve *serve, const json_t *params, kvat_fault *fault) {
    const int64_t bytes = peak_bytes(worker);
    (void)serve, (void)params;
    return answer(result,
                  json_pack("{s:{s:I,s:I,s:s},s:[]}", "host", "current_bytes", (json_int_t)bytes, "peak_bytes",
                            (json_int_t)bytes, "source", "surface", "devices"),
                  fault);
}

static int release(json_t **result, void *worker, kvat_serve *serve, const json_t *params, kvat_fault *fault) {
    sim *s = worker;
    (void)serve, (void)params;
    s->cached_tokens = 0;
    s->largest = (sim_point){0};
    return answer(result, json_object(), fault);
}

static const kvat_serve_ops ops = {
    .initialize = initialize,
    .describe = describe,
    .load = load,
    .prepare = prepare,
    .run = run,
    .resources = resources,
    .release = release,
    .now_ns = now_ns,
};

int main(int argc, char **argv) {
    sim s;
    sim_init(&s, argc > 0 ? argv + 1 : NULL);
    const int code = kvat_serve_run(&ops, &s);
    sim_clear(&s);
    return code;
}
