/* Workload profiles: the built-in table, the fit to a model, and questions about cells.
 * Must not know how profiles are written in files. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kvat/units.h"
#include "profile_internal.h"

typedef struct builtin_profile {
    const char *name, *description;
    kvat__lengths prompts, outputs;
    double weight_ttft, weight_decode, weight_memory;
} builtin_profile;

static const builtin_profile builtins[] = {
    {"chat-agent",
     "chat and tool calls: medium prompts, short answers",
     {{2048, 4096, 8192}, 3},
     {{64, 256}, 2},
     0.50,
     0.35,
     0.15},
    {"rag",
     "questions over retrieved text: long prompts, medium answers",
     {{8192, 16384, 32768}, 3},
     {{256, 512}, 2},
     0.35,
     0.35,
     0.30},
    {"longform", "writing: medium prompts, long answers", {{4096, 8192}, 2}, {{1024, 2048}, 2}, 0.25, 0.50, 0.25},
    {"ci-micro", "a quick check for continuous integration", {{512}, 1}, {{32}, 1}, 0.35, 0.50, 0.15},
};
#define BUILTIN_COUNT (sizeof builtins / sizeof *builtins)

/* --- cells --- */

static int compare_int(int64_t a, int64_t b) {
    return (a > b) - (a < b);
}

static int compare_length(const void *left, const void *right) {
    return compare_int(*(const int64_t *)left, *(const int64_t *)right);
}

int64_t kvat__lengths_sort(kvat__lengths *lengths) {
    qsort(lengths->items, lengths->n, sizeof *lengths->items, compare_length);
    for (size_t i = 1; i < lengths->n; i++)
        if (lengths->items[i] == lengths->items[i - 1]) return lengths->items[i];
    return 0;
}

int kvat__cell_compare(const void *left, const void *right) {
    const kvat_cell *a = left, *b = right;
    int order = compare_int(a->sequences, b->sequences);
    if (order == 0) order = compare_int(a->prompt_tokens, b->prompt_tokens);
    return order == 0 ? compare_int(a->output_tokens, b->output_tokens) : order;
}

void kvat__cells_sort(kvat_cell *cells, size_t n) {
    qsort(cells, n, sizeof *cells, kvat__cell_compare);
}

void kvat__cells_normalise(kvat_cell *cells, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += cells[i].weight;
    if (fabs(sum - 1) <= 1e-12) return;
    for (size_t i = 0; i < n; i++) cells[i].weight /= sum;
}

kvat_status kvat__cells_product(kvat_cell **out, size_t *n, const kvat__lengths *prompts, const kvat__lengths *outputs,
                                const kvat__lengths *batches, kvat_status status, const char *what, kvat_error *err) {
    size_t count = prompts->n * outputs->n * batches->n, i = 0;
    if (count == 0 || count > KVAT_PROFILE_MAX_CELLS)
        return kvat_fail(err, status, "%s: the lists make %zu cells, allowed are 1 to %d", what, count,
                         KVAT_PROFILE_MAX_CELLS);
    kvat_cell *cells = calloc(count, sizeof *cells);
    if (!cells) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the cells of a profile");
    for (size_t b = 0; b < batches->n; b++)
        for (size_t p = 0; p < prompts->n; p++)
            for (size_t o = 0; o < outputs->n; o++)
                cells[i++] = (kvat_cell){prompts->items[p], outputs->items[o], batches->items[b], 1.0 / (double)count};
    kvat__cells_sort(cells, count);
    *out = cells;
    *n = count;
    return KVAT_OK;
}

kvat_status kvat__weights_check(double weights[3], kvat_status status, const char *what, kvat_error *err) {
    double sum = weights[0] + weights[1] + weights[2];
    if (!(fabs(sum - 1) <= KVAT__WEIGHT_SLACK))
        return kvat_fail(err, status, "%s: ttft, decode and memory must sum to 1, not %.9g", what, sum);
    for (int i = 0; i < 3 && fabs(sum - 1) > 1e-12; i++) weights[i] /= sum;
    return KVAT_OK;
}

/* --- profiles --- */

kvat_profile *kvat__profile_blank(void) {
    kvat_profile *profile = calloc(1, sizeof *profile);
    if (!profile) return NULL;
    profile->runs = 1;
    profile->weight_ttft = builtins[0].weight_ttft;
    profile->weight_decode = builtins[0].weight_decode;
    profile->weight_memory = builtins[0].weight_memory;
    return profile;
}

void kvat_profile_free(kvat_profile *profile) {
    if (!profile) return;
    free(profile->name);
    free(profile->description);
    free(profile->cells);
    free(profile->prompts_file);
    free(profile->prompts_prefix);
    free(profile->prompts_suffix);
    free(profile);
}

size_t kvat_profile_builtin_count(void) {
    return BUILTIN_COUNT;
}

const char *kvat_profile_builtin_name(size_t index) {
    return index < BUILTIN_COUNT ? builtins[index].name : NULL;
}

static const builtin_profile *find_builtin(const char *name) {
    for (size_t i = 0; i < BUILTIN_COUNT; i++)
        if (strcmp(builtins[i].name, name) == 0) return &builtins[i];
    return NULL;
}

static kvat_status unknown_profile(const char *name, kvat_error *err) {
    const char *names[BUILTIN_COUNT];
    for (size_t i = 0; i < BUILTIN_COUNT; i++) names[i] = builtins[i].name;
    int nearest = kvat_nearest_word(name, names, BUILTIN_COUNT);
    if (nearest >= 0)
        return kvat_fail(err, KVAT_ERR_USAGE, "no profile \"%s\"; did you mean %s?", name, names[nearest]);
    return kvat_fail(err, KVAT_ERR_USAGE,
                     "no profile \"%s\"; built in are chat-agent, rag, longform and ci-micro, and a file is named by a "
                     "path with a / or ending in .json",
                     name);
}

static kvat_status fill_builtin(kvat_profile *profile, const builtin_profile *from, kvat_error *err) {
    static const kvat__lengths one = {{1}, 1};
    profile->builtin = true;
    profile->weight_ttft = from->weight_ttft;
    profile->weight_decode = from->weight_decode;
    profile->weight_memory = from->weight_memory;
    profile->name = strdup(from->name);
    profile->description = strdup(from->description);
    if (!profile->name || !profile->description)
        return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the profile %s", from->name);
    return kvat__cells_product(&profile->cells, &profile->n_cells, &from->prompts, &from->outputs, &one,
                               KVAT_ERR_INTERNAL, from->name, err);
}

kvat_status kvat_profile_builtin(kvat_profile **out, const char *name, kvat_error *err) {
    const builtin_profile *from = find_builtin(name);
    if (!from) return unknown_profile(name, err);
    kvat_profile *profile = kvat__profile_blank();
    if (!profile) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the profile %s", name);
    kvat_status status = fill_builtin(profile, from, err);
    if (status == KVAT_OK)
        *out = profile;
    else
        kvat_profile_free(profile);
    return status;
}

static bool name_is_path(const char *name) {
    size_t n = strlen(name);
    return strchr(name, '/') || (n >= 5 && strcmp(name + n - 5, ".json") == 0);
}

kvat_status kvat_profile_find(kvat_profile **out, const char *name_or_path, kvat_error *err) {
    if (name_is_path(name_or_path)) return kvat__profile_read(out, name_or_path, err);
    return kvat_profile_builtin(out, name_or_path, err);
}

int64_t kvat_profile_context_tokens(const kvat_profile *profile) {
    int64_t most = 0;
    for (size_t i = 0; i < profile->n_cells; i++) {
        int64_t tokens = profile->cells[i].prompt_tokens + profile->cells[i].output_tokens;
        if (tokens > most) most = tokens;
    }
    return most;
}

int64_t kvat_profile_sequences(const kvat_profile *profile) {
    int64_t most = 1;
    for (size_t i = 0; i < profile->n_cells; i++)
        if (profile->cells[i].sequences > most) most = profile->cells[i].sequences;
    return most;
}

/* --- fit --- */

static bool cell_fits(const kvat_cell *cell, int64_t training_context_tokens) {
    return cell->prompt_tokens + cell->output_tokens <= training_context_tokens;
}

static int64_t longest_output(const kvat_profile *profile) {
    int64_t most = 0;
    for (size_t i = 0; i < profile->n_cells; i++)
        if (profile->cells[i].output_tokens > most) most = profile->cells[i].output_tokens;
    return most;
}

/* What is suggested must be right for every output length, or typing it would be refused again. */
static kvat_status too_long(const kvat_profile *profile, int64_t training_context_tokens, kvat_error *err) {
    int64_t output = longest_output(profile), largest = training_context_tokens - output;
    if (largest < 1)
        return kvat_fail(err, KVAT_ERR_DATA,
                         "output_tokens: %" PRId64 " do not fit, the model was trained for %" PRId64 " tokens in all",
                         output, training_context_tokens);
    return kvat_fail(err, KVAT_ERR_DATA,
                     "context: the longest prompt and output take %" PRId64
                     " tokens, the model was trained for %" PRId64 "; the largest context that fits with %" PRId64
                     " output tokens is %" PRId64,
                     kvat_profile_context_tokens(profile), training_context_tokens, output, largest);
}

kvat_status kvat_profile_fit(kvat_profile *profile, int64_t training_context_tokens, bool typed, kvat_error *err) {
    if (training_context_tokens <= 0) return KVAT_OK;
    size_t fitting = 0;
    for (size_t i = 0; i < profile->n_cells; i++) fitting += cell_fits(&profile->cells[i], training_context_tokens);
    if (fitting == profile->n_cells) return KVAT_OK;
    if (typed || !profile->builtin || fitting == 0) return too_long(profile, training_context_tokens, err);
    size_t kept = 0;
    for (size_t i = 0; i < profile->n_cells; i++)
        if (cell_fits(&profile->cells[i], training_context_tokens)) profile->cells[kept++] = profile->cells[i];
    profile->left_out += profile->n_cells - kept;
    profile->n_cells = kept;
    kvat__cells_normalise(profile->cells, kept);
    return KVAT_OK;
}
