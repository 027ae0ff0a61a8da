// Reads a worker's answers: token times checked and turned into samples, one a cell.
// Must not call a worker, nor decide what to do about a bad answer.
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fit.h"
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
            marks[n++] = (kvat__mark){.prompt_tokens = cell->prompt_tokens};
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
static int64_t *add_timing(kvat__measurement *m, size_t cell, int64_t sequence, int64_t start_ns, int64_t burst,
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
    m->timings[m->n_timings++] = (kvat_timing){cell, sequence, start_ns, 0, tokens, n, burst};
    return tokens;
}

/** The first cell of the group with this prompt length: where the timing of a depth is filed. */
static size_t cell_of_depth(const kvat_profile *profile, const kvat__cell_group *group, int64_t prompt_tokens) {
    size_t i = group->first;
    while (profile->cells[i].prompt_tokens != prompt_tokens) i++;
    return i;
}

/** Where in an answer the token times are that are being read. */
typedef struct reading {
    kvat__measurement *m;
    const kvat_profile *profile;
    const kvat__cell_group *group;
    const kvat__mark *mark;
    int64_t start_ns;
    int64_t ttft_ns; /**< < 0: from the first token */
    int64_t burst;
} reading;

/** What the times say when they end where the output does. */
static kvat_trial_status sample_of(kvat_sample *out, const reading *r, const kvat_timing *timing, size_t cell,
                                   size_t n) {
    kvat_error why = KVAT_ERROR_INIT;
    kvat_status status = kvat_sample_of(out, cell, timing->ttft_ns, timing->token_ns, n, &why);
    if (status == KVAT_ERR_NOMEM) return no_memory(r->m);
    return status == KVAT_OK ? KVAT_TRIAL_OK : refuse(r->m, KVAT_TRIAL_PROTOCOL_ERROR, "%.200s", why.message);
}

/** One sample for each cell at this depth whose output was decoded whole, from the longest: a shorter one is its
 * beginning. The times are checked in any case. */
static kvat_trial_status add_samples(const reading *r, const kvat_timing *timing) {
    kvat_sample sample;
    kvat_trial_status status = sample_of(&sample, r, timing, timing->cell, timing->n_tokens);
    for (size_t i = r->group->first; i < r->group->first + r->group->count && r->burst == 0; i++) {
        const kvat_cell *cell = &r->profile->cells[i];
        if (cell->prompt_tokens != r->mark->prompt_tokens || cell->output_tokens > r->mark->output_tokens) continue;
        if (status == KVAT_TRIAL_OK) status = sample_of(&sample, r, timing, i, (size_t)cell->output_tokens);
        if (status != KVAT_TRIAL_OK) return status;
        if (timing->sequence > 0)
            kvat_sample_merge(&r->m->samples[i], &sample, (size_t)timing->sequence);
        else
            r->m->samples[i] = sample;
    }
    return status;
}

static kvat_trial_status read_times(int64_t *clock, const reading *r, const json_t *tokens, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const json_t *value = json_array_get(tokens, i);
        clock[i] = json_is_integer(value) ? (int64_t)json_integer_value(value) : -1;
        if (clock[i] < 0 || clock[i] > KVAT__MOST_CLOCK_NS)
            return refuse(r->m, KVAT_TRIAL_PROTOCOL_ERROR, "token_ns[%zu] is no clock reading", i);
        if (clock[i] < r->start_ns)
            return refuse(r->m, KVAT_TRIAL_PROTOCOL_ERROR, "token_ns[%zu] is before start_ns", i);
        if (clock[i] - r->start_ns > KVAT__MOST_DURATION_NS)
            return refuse(r->m, KVAT_TRIAL_PROTOCOL_ERROR, "token_ns[%zu] is too long after start_ns", i);
    }
    return KVAT_TRIAL_OK;
}

/** One sequence at one depth. */
static kvat_trial_status read_sequence(const reading *r, const json_t *object, int64_t sequence) {
    const json_t *tokens = json_object_get(object, "token_ns");
    size_t n = json_array_size(tokens);
    if (n == 0 || n != (size_t)r->mark->output_tokens)
        return refuse(r->m, KVAT_TRIAL_INVALID, "%zu output tokens where %lld were asked for", n,
                      (long long)r->mark->output_tokens);
    const json_t *prompt = json_object_get(object, "prompt_tokens");
    if (json_is_integer(prompt) && json_integer_value(prompt) != r->mark->prompt_tokens)
        return refuse(r->m, KVAT_TRIAL_INVALID, "%lld prompt tokens seen where %lld were sent",
                      (long long)json_integer_value(prompt), (long long)r->mark->prompt_tokens);
    size_t cell = cell_of_depth(r->profile, r->group, r->mark->prompt_tokens);
    int64_t *clock = add_timing(r->m, cell, sequence, r->start_ns, r->burst, n);
    if (!clock) return no_memory(r->m);
    kvat_trial_status status = read_times(clock, r, tokens, n);
    if (status != KVAT_TRIAL_OK) return status;
    kvat_timing *timing = &r->m->timings[r->m->n_timings - 1];
    timing->ttft_ns = r->ttft_ns >= 0 ? r->ttft_ns : clock[0] - r->start_ns;
    if (timing->ttft_ns <= 0) return refuse(r->m, KVAT_TRIAL_PROTOCOL_ERROR, "time to first token is not positive");
    return add_samples(r, timing);
}

static kvat_trial_status read_sequences(const reading *r, const json_t *array) {
    if (json_array_size(array) != (size_t)r->group->sequences)
        return refuse(r->m, KVAT_TRIAL_INVALID, "%zu sequences answered where %lld were asked for",
                      json_array_size(array), (long long)r->group->sequences);
    for (int64_t s = 0; s < r->group->sequences; s++) {
        kvat_trial_status status = read_sequence(r, json_array_get(array, (size_t)s), s);
        if (status != KVAT_TRIAL_OK) return status;
    }
    return KVAT_TRIAL_OK;
}

/** Whether the burst read last began before the one in front of it had ended. */
static bool overlaps(const kvat__measurement *m, int64_t sequences) {
    const size_t n = (size_t)sequences;
    for (size_t i = m->n_timings - n; i < m->n_timings; i++)
        if (m->timings[i].token_ns[0] < m->timings[i - n].token_ns[m->timings[i - n].n_tokens - 1]) return true;
    return false;
}

/** The bursts after the first. A worker that makes fewer than it was asked for has measured less, nothing wrong. */
static kvat_trial_status read_bursts(reading r, const json_t *object) {
    const json_t *bursts = json_object_get(object, "bursts");
    const size_t n = json_array_size(bursts);
    if (kvat__says(object, "bursts") && !json_is_array(bursts))
        return refuse(r.m, KVAT_TRIAL_PROTOCOL_ERROR, "bursts of a mark are no list");
    if (n > 0 && n + 1 > (size_t)r.mark->repeats)
        return refuse(r.m, KVAT_TRIAL_PROTOCOL_ERROR, "%zu bursts answered where %lld were asked for", n + 1,
                      (long long)(r.mark->repeats > 1 ? r.mark->repeats : 1));
    for (size_t i = 0; i < n; i++) {
        r.burst = (int64_t)i + 1;
        kvat_trial_status status = read_sequences(&r, json_object_get(json_array_get(bursts, i), "sequences"));
        if (status != KVAT_TRIAL_OK) return status;
        if (overlaps(r.m, r.group->sequences))
            return refuse(r.m, KVAT_TRIAL_PROTOCOL_ERROR, "burst %zu of a mark begins before the one before ends",
                          i + 1);
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
        const reading r = {m, profile, group, &marks[i], start_ns, ttft_ns, 0};
        kvat_trial_status status = read_sequences(&r, json_object_get(object, "sequences"));
        if (status == KVAT_TRIAL_OK) status = read_bursts(r, object);
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
    const reading alone = {m, profile, group, marks, start_ns, -1, 0};
    kvat_trial_status status = with_marks ? read_marks(m, result, profile, group, marks, n_marks, start_ns)
                                          : read_sequences(&alone, json_object_get(result, "sequences"));
    if (status != KVAT_TRIAL_OK) return status;
    if (span_ns == 0) span_ns = m->token_ns[m->n_timings - 1][m->timings[m->n_timings - 1].n_tokens - 1] - start_ns;
    *run_ns += span_ns;
    return KVAT_TRIAL_OK;
}

/* ---- what bursts say of longer outputs ---- */

/** The bursts of one sequence. */
typedef struct fitting {
    kvat__measurement *m;
    const kvat_profile *profile;
    const kvat__cell_group *group;
    kvat__burst *bursts;
    const kvat_timing **of; /**< the timing of each */
    size_t n;
    double *gaps_ns; /**< room for those of one depth */
} fitting;

static void gather_bursts(fitting *f, size_t first, int64_t sequence) {
    f->n = 0;
    for (size_t i = first; i < f->m->n_timings; i++) {
        const kvat_timing *timing = &f->m->timings[i];
        if (timing->sequence != sequence) continue;
        f->of[f->n] = timing;
        f->bursts[f->n++] =
            (kvat__burst){f->profile->cells[timing->cell].prompt_tokens, timing->token_ns, timing->n_tokens};
    }
}

/** How far beyond the middle of its burst a rate will be asked for at most; 0 when every output was decoded whole. */
static double farthest_of(const fitting *f) {
    double farthest = 0;
    for (size_t b = 0; b < f->n; b++) {
        for (size_t i = f->group->first; i < f->group->first + f->group->count; i++) {
            const kvat_cell *cell = &f->profile->cells[i];
            const double beyond = ((double)cell->output_tokens - (double)f->bursts[b].n_tokens) / 2;
            if (cell->prompt_tokens == f->bursts[b].prompt_tokens && beyond > farthest) farthest = beyond;
        }
    }
    return farthest;
}

/** The percentiles are of the gaps that were measured. False without memory. */
static bool put_percentiles(kvat_sample *sample, const fitting *f, int64_t prompt_tokens) {
    size_t n = 0;
    for (size_t b = 0; b < f->n; b++) {
        const kvat__burst *burst = &f->bursts[b];
        for (size_t i = 1; i < burst->n_tokens && burst->prompt_tokens == prompt_tokens; i++)
            f->gaps_ns[n++] = (double)(burst->token_ns[i] - burst->token_ns[i - 1]);
    }
    sample->itl_p50_ns = kvat_quantile(f->gaps_ns, n, 0.50);
    sample->itl_p95_ns = kvat_quantile(f->gaps_ns, n, 0.95);
    sample->itl_p99_ns = kvat_quantile(f->gaps_ns, n, 0.99);
    return !isnan(sample->itl_p50_ns) && !isnan(sample->itl_p95_ns) && !isnan(sample->itl_p99_ns);
}

static bool put_fitted(const fitting *f, const kvat__decode_fit *fit, int64_t sequence) {
    for (size_t i = f->group->first; i < f->group->first + f->group->count; i++) {
        const kvat_cell *cell = &f->profile->cells[i];
        size_t at = 0;
        while (at < f->n && f->bursts[at].prompt_tokens != cell->prompt_tokens) at++;
        if (at == f->n || cell->output_tokens <= (int64_t)f->bursts[at].n_tokens) continue;
        kvat_sample sample = {.cell = i,
                              .ttft_ns = f->of[at]->ttft_ns,
                              .ttft_worst_ns = f->of[at]->ttft_ns,
                              .decode_tok_per_s = kvat__decode_fit_rate(fit, cell->prompt_tokens, cell->output_tokens),
                              .fitted = true};
        if (!put_percentiles(&sample, f, cell->prompt_tokens)) return false;
        if (sequence > 0)
            kvat_sample_merge(&f->m->samples[i], &sample, (size_t)sequence);
        else
            f->m->samples[i] = sample;
    }
    return true;
}

static kvat_trial_status fit_sequences(fitting *f, size_t first) {
    for (int64_t s = 0; s < f->group->sequences; s++) {
        kvat__decode_fit fit = {0};
        kvat_error why = KVAT_ERROR_INIT;
        gather_bursts(f, first, s);
        const double farthest = farthest_of(f);
        if (farthest <= 0) return KVAT_TRIAL_OK;
        kvat_status status = kvat__decode_fit_make(&fit, f->bursts, f->n, farthest, &why);
        if (status == KVAT_ERR_DATA) return refuse(f->m, KVAT_TRIAL_PROTOCOL_ERROR, "%.200s", why.message);
        bool whole = status == KVAT_OK && put_fitted(f, &fit, s);
        kvat__decode_fit_clear(&fit);
        if (!whole) return no_memory(f->m);
    }
    return KVAT_TRIAL_OK;
}

kvat_trial_status kvat__fit_samples(kvat__measurement *m, const kvat_profile *profile, const kvat__cell_group *group,
                                    size_t first) {
    const size_t n = m->n_timings - first;
    size_t tokens = 0;
    for (size_t i = first; i < m->n_timings; i++) tokens += m->timings[i].n_tokens;
    fitting f = {.m = m,
                 .profile = profile,
                 .group = group,
                 .bursts = calloc(n + 1, sizeof *f.bursts),
                 .of = calloc(n + 1, sizeof *f.of),
                 .gaps_ns = calloc(tokens + 1, sizeof *f.gaps_ns)};
    kvat_trial_status status = f.bursts && f.of && f.gaps_ns ? fit_sequences(&f, first) : no_memory(m);
    free(f.bursts);
    free(f.of);
    free(f.gaps_ns);
    return status;
}
