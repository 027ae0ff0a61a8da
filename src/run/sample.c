// Reads a worker's answers: token times checked and turned into samples, one a cell.
// Must not call a worker, nor decide what to do about a bad answer.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run_internal.h"

/* ---- integers of a worker ---- */

bool kvat__says(const json_t *object, const char *member) {
    const json_t *value = json_object_get(object, member);
    return value && !json_is_null(value);
}

bool kvat__get_count(int64_t *out, const json_t *object, const char *member, int64_t most) {
    const json_t *value = json_object_get(object, member);
    json_int_t number = json_integer_value(value);
    if (kvat__says(object, member) && (!json_is_integer(value) || number < 0 || number > most)) return false;
    *out = (int64_t)number;
    return true;
}

bool kvat__get_span(int64_t *out, const json_t *result) {
    int64_t start_ns = 0, now_ns = 0;
    if (!kvat__get_count(&start_ns, result, "start_ns", KVAT__MOST_CLOCK_NS) ||
        !kvat__get_count(&now_ns, result, "now_ns", KVAT__MOST_CLOCK_NS))
        return false;
    bool known = kvat__says(result, "start_ns") && kvat__says(result, "now_ns");
    if (known && (now_ns < start_ns || now_ns - start_ns > KVAT__MOST_DURATION_NS)) return false;
    *out = known ? now_ns - start_ns : 0;
    return true;
}

/* ---- measurements ---- */

size_t kvat__marks_of(kvat__mark *marks, const kvat_profile *profile, const kvat__cell_group *group) {
    size_t n = 0;
    for (size_t i = group->first; i < group->first + group->count; i++) {
        const kvat_cell *cell = &profile->cells[i];
        if (n == 0 || marks[n - 1].prompt_tokens != cell->prompt_tokens)
            marks[n++] = (kvat__mark){cell->prompt_tokens, 0};
        if (cell->output_tokens > marks[n - 1].output_tokens) marks[n - 1].output_tokens = cell->output_tokens;
    }
    return n;
}

void kvat__measurement_clear(kvat__measurement *m) {
    for (size_t i = 0; i < m->n_timings; i++) free(m->token_ns[i]);
    free(m->token_ns);
    free(m->timings);
    free(m->samples);
    kvat_buf_clear(&m->detail);
    kvat_buf_clear(&m->effective);
    kvat_buf_clear(&m->loaded);
    kvat_buf_clear(&m->activity);
    memset(m, 0, sizeof *m);
}

static kvat_trial_status refuse(kvat__measurement *m, kvat_trial_status status, const char *format, ...)
    KVAT_PRINTF(3, 4);
static kvat_trial_status refuse(kvat__measurement *m, kvat_trial_status status, const char *format, ...) {
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    kvat_buf_reset(&m->detail);
    kvat_buf_puts(&m->detail, text);
    return status;
}

/** Memory of ours that ran out is no fault of the worker's: the trial's detail cannot be written, which ends the run.
 */
static kvat_trial_status no_memory(kvat__measurement *m) {
    m->detail.status = KVAT_ERR_NOMEM;
    return KVAT_TRIAL_PROTOCOL_ERROR;
}

/** Room for one more timing of `n` tokens; its array, or NULL without memory. */
static int64_t *add_timing(kvat__measurement *m, size_t cell, int64_t sequence, int64_t start_ns, int64_t ttft_ns,
                           size_t n) {
    if (m->n_timings == m->timings_capacity) {
        size_t capacity = m->timings_capacity ? 2 * m->timings_capacity : 8;
        kvat_timing *timings = realloc(m->timings, capacity * sizeof *timings);
        if (timings) m->timings = timings;
        int64_t **arrays = realloc(m->token_ns, capacity * sizeof *arrays);
        if (arrays) m->token_ns = arrays;
        if (!timings || !arrays) return NULL;
        m->timings_capacity = capacity;
    }
    int64_t *tokens = malloc((n ? n : 1) * sizeof *tokens);
    if (!tokens) return NULL;
    m->token_ns[m->n_timings] = tokens;
    m->timings[m->n_timings++] = (kvat_timing){cell, sequence, start_ns, ttft_ns, tokens, n, 0};
    return tokens;
}

/** The first cell of the group with this prompt length: where the timing of a depth is filed. */
static size_t cell_of_depth(const kvat_profile *profile, const kvat__cell_group *group, int64_t prompt_tokens) {
    size_t i = group->first;
    while (profile->cells[i].prompt_tokens != prompt_tokens) i++;
    return i;
}

/** One sample for each cell at this depth, from the longest output: a shorter one is its beginning. */
static kvat_trial_status add_samples(kvat__measurement *m, const kvat_profile *profile, const kvat__cell_group *group,
                                     const kvat_timing *timing, int64_t prompt_tokens) {
    for (size_t i = group->first; i < group->first + group->count; i++) {
        const kvat_cell *cell = &profile->cells[i];
        if (cell->prompt_tokens != prompt_tokens) continue;
        kvat_sample sample;
        kvat_error why = KVAT_ERROR_INIT;
        kvat_status status =
            kvat_sample_of(&sample, i, timing->ttft_ns, timing->token_ns, (size_t)cell->output_tokens, &why);
        if (status == KVAT_ERR_NOMEM) return no_memory(m);
        if (status != KVAT_OK) return refuse(m, KVAT_TRIAL_PROTOCOL_ERROR, "%.200s", why.message);
        if (timing->sequence > 0)
            kvat_sample_merge(&m->samples[i], &sample, (size_t)timing->sequence);
        else
            m->samples[i] = sample;
    }
    return KVAT_TRIAL_OK;
}

/** One sequence at one depth. `ttft_ns` < 0: from the first token. */
static kvat_trial_status read_sequence(kvat__measurement *m, const json_t *object, const kvat_profile *profile,
                                       const kvat__cell_group *group, const kvat__mark *mark, int64_t sequence,
                                       int64_t start_ns, int64_t ttft_ns) {
    const json_t *tokens = json_object_get(object, "token_ns");
    size_t n = json_array_size(tokens);
    if (n == 0 || n != (size_t)mark->output_tokens)
        return refuse(m, KVAT_TRIAL_INVALID, "%zu output tokens where %lld were asked for", n,
                      (long long)mark->output_tokens);
    const json_t *prompt = json_object_get(object, "prompt_tokens");
    if (json_is_integer(prompt) && json_integer_value(prompt) != mark->prompt_tokens)
        return refuse(m, KVAT_TRIAL_INVALID, "%lld prompt tokens seen where %lld were sent",
                      (long long)json_integer_value(prompt), (long long)mark->prompt_tokens);
    size_t cell = cell_of_depth(profile, group, mark->prompt_tokens);
    int64_t *clock = add_timing(m, cell, sequence, start_ns, 0, n);
    if (!clock) return no_memory(m);
    for (size_t i = 0; i < n; i++) {
        const json_t *value = json_array_get(tokens, i);
        clock[i] = json_is_integer(value) ? (int64_t)json_integer_value(value) : -1;
        if (clock[i] < 0 || clock[i] > KVAT__MOST_CLOCK_NS)
            return refuse(m, KVAT_TRIAL_PROTOCOL_ERROR, "token_ns[%zu] is no clock reading", i);
        if (clock[i] < start_ns) return refuse(m, KVAT_TRIAL_PROTOCOL_ERROR, "token_ns[%zu] is before start_ns", i);
        if (clock[i] - start_ns > KVAT__MOST_DURATION_NS)
            return refuse(m, KVAT_TRIAL_PROTOCOL_ERROR, "token_ns[%zu] is too long after start_ns", i);
    }
    kvat_timing *timing = &m->timings[m->n_timings - 1];
    timing->ttft_ns = ttft_ns >= 0 ? ttft_ns : clock[0] - start_ns;
    if (timing->ttft_ns <= 0) return refuse(m, KVAT_TRIAL_PROTOCOL_ERROR, "time to first token is not positive");
    return add_samples(m, profile, group, timing, mark->prompt_tokens);
}

static kvat_trial_status read_sequences(kvat__measurement *m, const json_t *array, const kvat_profile *profile,
                                        const kvat__cell_group *group, const kvat__mark *mark, int64_t start_ns,
                                        int64_t ttft_ns) {
    if (json_array_size(array) != (size_t)group->sequences)
        return refuse(m, KVAT_TRIAL_INVALID, "%zu sequences answered where %lld were asked for", json_array_size(array),
                      (long long)group->sequences);
    for (int64_t s = 0; s < group->sequences; s++) {
        kvat_trial_status status =
            read_sequence(m, json_array_get(array, (size_t)s), profile, group, mark, s, start_ns, ttft_ns);
        if (status != KVAT_TRIAL_OK) return status;
    }
    return KVAT_TRIAL_OK;
}

/** kvat__get_count() of a member that must be there. */
static bool get_needed(int64_t *out, const json_t *object, const char *member, int64_t most) {
    return json_is_integer(json_object_get(object, member)) && kvat__get_count(out, object, member, most);
}

static kvat_trial_status read_marks(kvat__measurement *m, const json_t *result, const kvat_profile *profile,
                                    const kvat__cell_group *group, const kvat__mark *marks, size_t n_marks,
                                    int64_t start_ns) {
    const json_t *array = json_object_get(result, "marks");
    if (json_array_size(array) != n_marks)
        return refuse(m, KVAT_TRIAL_PROTOCOL_ERROR, "%zu marks answered where %zu were asked for",
                      json_array_size(array), n_marks);
    for (size_t i = 0; i < n_marks; i++) {
        const json_t *object = json_array_get(array, i);
        int64_t prompt = 0, ttft_ns = 0;
        if (!get_needed(&prompt, object, "prompt_tokens", KVAT__MOST_TOKENS) || prompt != marks[i].prompt_tokens)
            return refuse(m, KVAT_TRIAL_PROTOCOL_ERROR, "mark %zu is not at %lld tokens", i,
                          (long long)marks[i].prompt_tokens);
        if (!get_needed(&ttft_ns, object, "ttft_ns", KVAT__MOST_DURATION_NS))
            return refuse(m, KVAT_TRIAL_PROTOCOL_ERROR, "mark %zu has no ttft_ns that is a duration", i);
        kvat_trial_status status =
            read_sequences(m, json_object_get(object, "sequences"), profile, group, &marks[i], start_ns, ttft_ns);
        if (status != KVAT_TRIAL_OK) return status;
    }
    return KVAT_TRIAL_OK;
}

kvat_trial_status kvat__read_run(kvat__measurement *m, const json_t *result, const kvat_profile *profile,
                                 const kvat__cell_group *group, const kvat__mark *marks, size_t n_marks,
                                 bool with_marks, int64_t *run_ns) {
    const char *word = json_string_value(json_object_get(result, "status"));
    if (word && strcmp(word, "timeout") == 0) return refuse(m, KVAT_TRIAL_TIMEOUT, "past its time limit");
    if (word && strcmp(word, "ok") != 0) return refuse(m, KVAT_TRIAL_PROTOCOL_ERROR, "run answered an unknown status");
    int64_t start_ns = 0, span_ns = 0;
    if (!get_needed(&start_ns, result, "start_ns", KVAT__MOST_CLOCK_NS))
        return refuse(m, KVAT_TRIAL_PROTOCOL_ERROR,
                      "run answered without start_ns, or with one that is no clock reading");
    if (!kvat__get_span(&span_ns, result))
        return refuse(m, KVAT_TRIAL_PROTOCOL_ERROR, "now_ns is no clock reading that can follow start_ns");
    kvat_trial_status status =
        with_marks ? read_marks(m, result, profile, group, marks, n_marks, start_ns)
                   : read_sequences(m, json_object_get(result, "sequences"), profile, group, marks, start_ns, -1);
    if (status != KVAT_TRIAL_OK) return status;
    if (span_ns == 0) span_ns = m->token_ns[m->n_timings - 1][m->timings[m->n_timings - 1].n_tokens - 1] - start_ns;
    *run_ns += span_ns;
    return KVAT_TRIAL_OK;
}
