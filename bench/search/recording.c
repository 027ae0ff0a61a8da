// A simulated machine whose truth is read from a surface: recorded of a real engine, or written by hand.
// Must not know of noise or searches; what the file means is the simulated engine's (engines/sim).
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "truth.h"
#include "world.h"

static sim_point largest_of(const sim_cells *cells, sim_point most) {
    for (size_t i = 0; i < cells->n; i++) {
        const sim_cell *c = &cells->items[i];
        const bool more = c->prompt_tokens > most.prompt_tokens ||
                          (c->prompt_tokens == most.prompt_tokens && c->output_tokens > most.output_tokens);
        if (c->sequences == 1 && more) most = (sim_point){c->prompt_tokens, c->output_tokens, 1};
    }
    return most;
}

static sim_point largest_cell(const sim_surface *s) {
    sim_point most = largest_of(&s->base, (sim_point){0, 0, 1});
    for (size_t i = 0; i < s->n_configs; i++) most = largest_of(&s->configs[i].cells, most);
    return most;
}

static bool recorded(const sim_surface *s, const uint16_t *levels, size_t n_knobs) {
    bool found = s->base.n > 0;
    for (size_t i = 0; !found && i < s->n_configs; i++)
        found = memcmp(s->configs[i].levels, levels, n_knobs * sizeof *levels) == 0;
    return found;
}

static void read_failure(world *w, size_t config, const sim_surface *s, const uint16_t *levels) {
    for (size_t i = 0; i < s->n_faults; i++) {
        const sim_fault *f = &s->faults[i];
        if (!(f->probability > w->fails[config]) || !sim_when_holds(&f->when, levels)) continue;
        const bool memory = f->kind == SIM_OOM_HOST || f->kind == SIM_OOM_DEVICE;
        w->fails[config] = f->probability;
        w->failure[config] = memory                                        ? FAIL_MEMORY
                             : f->kind == SIM_CRASH || f->kind == SIM_HANG ? FAIL_CRASH
                                                                           : FAIL_UNSUPPORTED;
    }
}

static bool read_config(world *w, size_t config, const sim_surface *s, const uint16_t *levels, kvat_error *err) {
    sim_truth usual, here;
    const sim_point point = largest_cell(s);
    if (sim_truth_at(&usual, s, w->levels, point, err) != KVAT_OK) return false;
    read_failure(w, config, s, levels);
    if (sim_truth_at(&here, s, levels, point, NULL) != KVAT_OK) { // says nothing of it: as an engine that refuses
        w->fails[config] = 1;
        w->failure[config] = FAIL_UNSUPPORTED;
        return true;
    }
    w->ttft_s = usual.ttft_s;
    w->decode_tok_per_s = usual.decode_tok_per_s;
    w->ln_ttft[config] = log(here.ttft_s / usual.ttft_s);
    w->ln_decode[config] = log(here.decode_tok_per_s / usual.decode_tok_per_s);
    w->ln_memory[config] = log(here.peak_bytes / usual.peak_bytes);
    return true;
}

static void read_knobs(world *w, const sim_surface *s) {
    for (size_t i = 0; i < w->n_knobs; i++) {
        const kvat_knob *knob = kvat_knobs_at(s->knobs, i);
        w->knobs[i] = (kvat_search_knob){knob->n_values, knob->type != KVAT_KNOB_ENUM, knob->scope};
    }
    w->start_s[KVAT_SCOPE_CONTEXT] = s->prepare_s;
    w->start_s[KVAT_SCOPE_MODEL] = w->start_s[KVAT_SCOPE_PROCESS] = s->load_s + s->prepare_s;
}

static size_t count_recorded(const sim_surface *s, const kvat_space *space, size_t n_knobs) {
    size_t n = 0;
    for (size_t k = 0; k < kvat_space_count(space); k++) n += recorded(s, kvat_space_levels(space, k), n_knobs);
    return n;
}

static bool fill(world *w, const sim_surface *s, const kvat_space *space, uint64_t seed, kvat_error *err) {
    const size_t n_knobs = kvat_knobs_count(s->knobs), n = count_recorded(s, space, n_knobs);
    if (n == 0 || !recorded(s, kvat_space_levels(space, 0), n_knobs)) {
        kvat_fail(err, KVAT_ERR_DATA, "the surface says nothing of the default");
        return false;
    }
    if (!world__allocate(w, n, n_knobs)) {
        kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate a world of %zu configurations", n);
        return false;
    }
    kvat_rng rng;
    kvat_rng_seed3(&rng, seed, n, 0);
    read_knobs(w, s);
    for (size_t k = 0, i = 0; k < kvat_space_count(space); k++) {
        const uint16_t *levels = kvat_space_levels(space, k);
        if (!recorded(s, levels, n_knobs)) continue;
        memcpy(w->levels + i * n_knobs, levels, n_knobs * sizeof *levels);
        if (!read_config(w, i, s, levels, err)) return false;
        w->ln_decode_short[i] = w->ln_decode[i] + s->bias_mean + s->bias_sd * kvat_rng_normal(&rng);
        i++;
    }
    world__fill_configs(w);
    world__fill_scores(w);
    return true;
}

bool world_read(world *w, const char *path, uint64_t seed) {
    const kvat_space_request request = {.allow_lossy = true, .max_configs = 10000};
    kvat_error err = KVAT_ERROR_INIT;
    sim_surface *surface = NULL;
    kvat_space *space = NULL;
    *w = (world){0};
    const bool ok = sim_surface_read(&surface, path, &err) == KVAT_OK &&
                    kvat_space_new(&space, surface->knobs, &request, &err) == KVAT_OK &&
                    fill(w, surface, space, seed, &err);
    if (!ok) {
        fprintf(stderr, "%s: %s\n", path, err.message);
        world_clear(w);
    }
    kvat_space_free(space);
    sim_surface_free(surface);
    return ok;
}
