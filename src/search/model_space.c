// Kernels over knobs and the components of the covariance between configurations.
// Knows nothing of runs, nor of how large a component's variance is.
#include <math.h>
#include <stdlib.h>

#include "model.h"

static const double LENGTH_SCALE = 0.7;
static const double RUNS_PER_EFFECT = 2.3; // fewer mislearn the variances

// Highest level of any configuration.
static size_t top_level(const kvat_search_options *o, size_t knob) {
    size_t top = 0;
    for (size_t i = 0; i < o->n_configs; i++) {
        if (o->configs[i].levels[knob] > top) top = o->configs[i].levels[knob];
    }
    return top;
}

static size_t count_present(const kvat_search_options *o, size_t knob, bool *seen) {
    size_t count = 0;
    for (size_t i = 0; i < o->n_configs; i++) {
        const size_t level = o->configs[i].levels[knob];
        count += !seen[level];
        seen[level] = true;
    }
    return count;
}

static void fill_kernel(double *kappa, size_t n, bool ordinal) {
    for (size_t a = 0; a < n; a++) {
        for (size_t b = 0; b < n; b++) {
            const double apart = a > b ? (double)(a - b) : (double)(b - a);
            kappa[a * n + b] = ordinal && n > 2 ? exp(-apart / (LENGTH_SCALE * (double)(n - 1))) : (double)(a == b);
        }
    }
}

// H κ H with H = I − 1/n, in place; `mean` has room for n.
static void centre(double *kappa, size_t n, double *mean) {
    double all = 0;
    for (size_t a = 0; a < n; a++) {
        mean[a] = 0;
        for (size_t b = 0; b < n; b++) mean[a] += kappa[a * n + b] / (double)n;
        all += mean[a] / (double)n;
    }
    for (size_t a = 0; a < n; a++) {
        for (size_t b = 0; b < n; b++) kappa[a * n + b] += all - mean[a] - mean[b];
    }
}

static void scale_to_unit_trace(double *kappa, size_t n) {
    double trace = 0;
    for (size_t a = 0; a < n; a++) trace += kappa[a * n + a];
    for (size_t i = 0; i < n * n; i++) kappa[i] *= (double)n / trace;
}

static kvat_status make_kernel(model_knob *knob, bool ordinal, kvat_error *err) {
    const size_t n = knob->n_levels;
    knob->kappa = calloc(n * n, sizeof *knob->kappa);
    double *mean = calloc(n, sizeof *mean);
    if (!knob->kappa || !mean) {
        free(mean);
        return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the kernel of %zu levels", n);
    }
    fill_kernel(knob->kappa, n, ordinal);
    centre(knob->kappa, n, mean);
    scale_to_unit_trace(knob->kappa, n);
    free(mean);
    return KVAT_OK;
}

// Adds knob `index` unless it has one level only.
static kvat_status add_knob(model_space *space, const kvat_search_options *o, size_t index, kvat_error *err) {
    const kvat_search_knob *told = o->knobs ? &o->knobs[index] : NULL;
    const size_t found = top_level(o, index) + 1, n = told && told->n_levels > 0 ? told->n_levels : found;
    if (found > n)
        return kvat_fail(err, KVAT_ERR_USAGE, "knob %zu has a configuration at level %zu of %zu", index, found - 1, n);
    bool *seen = calloc(n, sizeof *seen);
    if (!seen) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate %zu levels", n);
    const size_t present = count_present(o, index, seen);
    free(seen);
    if (present < 2) return KVAT_OK;
    model_knob *knob = &space->knobs[space->n_knobs++];
    *knob = (model_knob){.index = index, .n_levels = n, .n_present = present, .scope = told ? told->scope : 1};
    return make_kernel(knob, told && told->ordinal, err);
}

double kvat__model_weight(const kvat_search_options *options, size_t part) {
    static const double USUAL[] = {.5, .35, .15};
    const double *weight = options->part_weight;
    return weight[0] != 0 || weight[1] != 0 || weight[2] != 0 ? weight[part] : USUAL[part];
}

static void set_drift_ratio(model_space *space, const kvat_search_options *options) {
    const double ttft = kvat__model_weight(options, 0), decode = kvat__model_weight(options, 1),
                 most = fmax(ttft, decode);
    space->c[0] = most > 0 ? ttft / most : 1;
    space->c[1] = most > 0 ? decode / most : 1;
}

static bool levels_known(const kvat_search_options *o) {
    for (size_t i = 0; i < o->n_configs; i++) {
        if (!o->configs[i].levels) return false;
    }
    return true;
}

kvat_status kvat__model_space_init(model_space *out, const kvat_search_options *options, kvat_error *err) {
    model_space space = {.configs = options->configs, .n_configs = options->n_configs};
    const size_t n = levels_known(options) ? options->n_knobs : 0;
    kvat_status status = KVAT_OK;
    space.knobs = calloc(n + 1, sizeof *space.knobs);
    if (!space.knobs) status = kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate %zu knobs", n);
    for (size_t i = 0; i < n && status == KVAT_OK; i++) status = add_knob(&space, options, i, err);
    if (status != KVAT_OK) {
        kvat__model_space_clear(&space);
        return status;
    }
    space.n_pairs = space.n_knobs > 0 ? space.n_knobs * (space.n_knobs - 1) / 2 : 0;
    space.n_components = space.n_knobs + space.n_pairs + 1;
    set_drift_ratio(&space, options);
    *out = space;
    return KVAT_OK;
}

void kvat__model_space_clear(model_space *space) {
    for (size_t i = 0; i < space->n_knobs; i++) free(space->knobs[i].kappa);
    free(space->knobs);
    *space = (model_space){0};
}

void kvat__model_covariance(double *out, const model_space *space, const double *const *v, size_t n_sets, size_t a,
                            size_t b) {
    const size_t d = space->n_knobs;
    for (size_t s = 0; s < n_sets; s++) out[s] = a == b ? v[s][space->n_components - 1] : 0;
    size_t pair = d;
    for (size_t k = 0; k < d; k++) {
        const double z = kvat__model_kappa(space, k, a, b);
        for (size_t s = 0; s < n_sets; s++) out[s] += v[s][k] * z;
        for (size_t l = k + 1; l < d; l++, pair++) {
            const double zz = z * kvat__model_kappa(space, l, a, b);
            for (size_t s = 0; s < n_sets; s++) out[s] += v[s][pair] * zz;
        }
    }
}

void kvat__model_components(double *out, size_t stride, const model_space *space, size_t a, size_t b) {
    const size_t d = space->n_knobs;
    for (size_t k = 0; k < d; k++) out[k * stride] = kvat__model_kappa(space, k, a, b);
    size_t pair = d;
    for (size_t k = 0; k < d; k++) {
        for (size_t l = k + 1; l < d; l++) out[pair++ * stride] = out[k * stride] * out[l * stride];
    }
    out[pair * stride] = a == b;
}

unsigned kvat__model_distance(const model_space *space, size_t a, size_t b) {
    unsigned most = 0;
    for (size_t k = 0; k < space->n_knobs; k++) {
        if (kvat__model_level(space, a, k) != kvat__model_level(space, b, k) && space->knobs[k].scope > most)
            most = space->knobs[k].scope;
    }
    return most;
}

// (tr κ)² ÷ tr κ²: levels less one of names, fewer of ordered levels, which tell of their neighbours. The participation
// ratio of the kernel's eigenvalues.
static double effects_of(const model_knob *knob) {
    double trace = 0, squares = 0;
    for (size_t i = 0; i < knob->n_levels; i++) trace += knob->kappa[i * knob->n_levels + i];
    for (size_t i = 0; i < knob->n_levels * knob->n_levels; i++) squares += knob->kappa[i] * knob->kappa[i];
    return fmin(trace * trace / squares, (double)(knob->n_present - 1));
}

size_t kvat__model_first_runs(const model_space *space) {
    if (space->n_knobs == 0) return space->n_configs;
    double effects = 1;
    for (size_t k = 0; k < space->n_knobs; k++) effects += effects_of(&space->knobs[k]);
    const size_t runs = (size_t)(RUNS_PER_EFFECT * effects + 1e-9);
    return runs < space->n_configs ? runs : space->n_configs;
}
