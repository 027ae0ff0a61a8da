// One run: prompts in, most likely tokens out, and the clock read right after each token is there.
// Must not know: JSON, how contexts are made.
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "kvat/units.h"
#include "llama.h"

typedef struct feed {
    struct llama_batch batch;
    int64_t room;   /* tokens */
    int32_t *first; /* of each sequence the token that ended the prefill: every burst begins with it */
} feed;

static int stop_fault(const kvat_llama *engine, kvat_fault *fault) {
    if (engine->timed_out) return -1;
    return kvat_fault_set(fault, KVAT_FAULT_CANCELLED, NULL, "the run was cancelled");
}

static int decode(kvat_llama *engine, feed *f, kvat_fault *fault) {
    int32_t code = llama_decode(engine->context, f->batch);
    if (code == 0) return 0;
    if (engine->timed_out || engine->stopped) return stop_fault(engine, fault);
    if (code == 1) return kvat_fault_set(fault, KVAT_FAULT_INTERNAL, NULL, "no room was left in the KV cache");
    if (code == -2) engine->log.out_of_memory = true;
    return kvat__llama_fault(engine, KVAT_FAULT_INTERNAL, "libllama failed to compute", fault);
}

static void add(feed *f, int32_t token, int64_t position, int64_t sequence, bool output) {
    int32_t i = f->batch.n_tokens++;
    f->batch.token[i] = token;
    f->batch.pos[i] = (llama_pos)position;
    f->batch.n_seq_id[i] = 1;
    f->batch.seq_id[i][0] = (llama_seq_id)sequence;
    f->batch.logits[i] = output;
}

/* Takes in prompt tokens up to depth `to`, all sequences side by side; the last of each is asked for logits. */
static int prefill(kvat_llama *engine, feed *f, const int32_t *prompt, int64_t to, kvat_fault *fault) {
    int64_t step = f->room / engine->sequences;
    while (engine->depth < to) {
        int64_t n = to - engine->depth < step ? to - engine->depth : step;
        f->batch.n_tokens = 0;
        for (int64_t s = 0; s < engine->sequences; s++)
            for (int64_t i = engine->depth; i < engine->depth + n; i++) add(f, prompt[i], i, s, i + 1 == to);
        if (decode(engine, f, fault) != 0) return -1;
        engine->depth += n;
        if (engine->deadline_ns && kvat_now_ns() >= engine->deadline_ns) engine->timed_out = true;
        if (engine->timed_out || engine->stopped) return stop_fault(engine, fault);
    }
    return 0;
}

/* The most likely token of each sequence; output i of the last batch is that of sequence i. */
static int choose(kvat_llama *engine, kvat_stretch *stretch, int64_t index, int64_t per_sequence, feed *f,
                  kvat_fault *fault) {
    int32_t vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(engine->model));
    int32_t at = f->batch.n_tokens / (int32_t)engine->sequences;
    for (int64_t s = 0; s < engine->sequences; s++) {
        const float *logits = llama_get_logits_ith(engine->context, (int32_t)(s + 1) * at - 1);
        int32_t token = logits ? kvat_llama_argmax(logits, vocabulary) : -1;
        if (token < 0) return kvat_fault_set(fault, KVAT_FAULT_INTERNAL, NULL, "the model's logits are not numbers");
        engine->pending[s] = token;
        stretch->token_ns[s * per_sequence + index] = kvat_now_ns();
        if (stretch->token_ids) stretch->token_ids[s * per_sequence + index] = token;
    }
    return 0;
}

/* Tokens from `first` on; token 0 of a prompt's stretch has come from the prefill. */
static int decode_tokens(kvat_llama *engine, feed *f, kvat_stretch *stretch, int64_t first, kvat_fault *fault) {
    for (int64_t i = first; i < stretch->output_tokens; i++) {
        f->batch.n_tokens = 0;
        for (int64_t s = 0; s < engine->sequences; s++) add(f, engine->pending[s], engine->depth, s, true);
        if (decode(engine, f, fault) != 0) return -1;
        engine->depth++;
        if (choose(engine, stretch, i, stretch->output_tokens, f, fault) != 0) return -1;
        if (engine->deadline_ns && kvat_now_ns() >= engine->deadline_ns) engine->timed_out = true;
        if (engine->timed_out || engine->stopped) return stop_fault(engine, fault);
    }
    return 0;
}

bool kvat_llama_can_trim(const kvat_llama *engine) {
    if (llama_model_is_recurrent(engine->model) || llama_model_is_hybrid(engine->model)) return false;
    return llama_model_n_swa(engine->model) == 0 || engine->settings.swa_full;
}

int kvat_llama_trim(kvat_llama *engine, int64_t depth, kvat_fault *fault) {
    llama_memory_t memory = llama_get_memory(engine->context);
    bool cut = kvat_llama_can_trim(engine) && llama_memory_seq_rm(memory, -1, (llama_pos)depth, -1);
    for (int64_t s = 0; s < engine->sequences && cut; s++)
        cut = llama_memory_seq_pos_min(memory, (llama_seq_id)s) == 0 &&
              llama_memory_seq_pos_max(memory, (llama_seq_id)s) == depth - 1;
    if (!cut) return kvat_fault_set(fault, KVAT_FAULT_UNSUPPORTED, "marks", "this model's cache cannot be cut back");
    engine->depth = depth;
    return 0;
}

/* Decodes the stretch's bursts after the first, each from where the prefill ended. */
static int repeat(kvat_llama *engine, feed *f, const kvat_stretch *stretch, kvat_fault *fault) {
    const int64_t sequences = engine->sequences, size = sequences * stretch->output_tokens;
    kvat_stretch burst = *stretch;
    for (int64_t i = 1; i < stretch->bursts; i++) {
        burst.token_ns += size;
        if (burst.token_ids) burst.token_ids += size;
        if (kvat_llama_trim(engine, stretch->prompt_tokens, fault) != 0) return -1;
        memcpy(engine->pending, f->first, (size_t)sequences * sizeof *f->first);
        for (int64_t s = 0; s < sequences; s++) {
            if (burst.token_ids) burst.token_ids[s * burst.output_tokens] = f->first[s];
            burst.token_ns[s * burst.output_tokens] = kvat_now_ns();
        }
        if (decode_tokens(engine, f, &burst, 1, fault) != 0) return -1;
    }
    return 0;
}

static int run_stretches(kvat_llama *engine, feed *f, kvat_run *run, kvat_fault *fault) {
    int64_t prefill_ns = 0;
    for (int64_t i = 0; i < run->n_stretches; i++) {
        kvat_stretch *stretch = &run->stretches[i];
        if (i > 0 && kvat_llama_trim(engine, run->stretches[i - 1].prompt_tokens, fault) != 0) return -1;
        int64_t start = i == 0 ? run->start_ns : kvat_now_ns();
        if (prefill(engine, f, run->prompt, stretch->prompt_tokens, fault) != 0) return -1;
        int64_t computed = kvat_now_ns();
        if (choose(engine, stretch, 0, stretch->output_tokens, f, fault) != 0) return -1;
        stretch->ttft_ns = prefill_ns + stretch->token_ns[0] - start;
        prefill_ns += computed - start;
        memcpy(f->first, engine->pending, (size_t)engine->sequences * sizeof *f->first);
        if (decode_tokens(engine, f, stretch, 1, fault) != 0 || repeat(engine, f, stretch, fault) != 0) return -1;
    }
    return 0;
}

static int check_run(const kvat_llama *engine, const kvat_run *run, kvat_fault *fault) {
    int64_t room = kvat_llama_sequence_tokens(engine);
    bool learnt = llama_model_rope_type(engine->model) == LLAMA_ROPE_TYPE_NONE && engine->facts.heads > 0;
    for (int64_t i = 0; i < run->n_stretches; i++) {
        int64_t from = run->prompt ? run->stretches[i].prompt_tokens : engine->depth + 1;
        int64_t needed = from + run->stretches[i].output_tokens - 1;
        if (needed > room)
            return kvat_fault_set(fault, KVAT_FAULT_INVALID_SETTING, NULL,
                                  "the run needs %lld tokens a sequence; the context has %lld for each of %lld",
                                  (long long)needed, (long long)room, (long long)engine->sequences);
        if (learnt && needed > engine->facts.training_context_tokens)
            return kvat_fault_set(fault, KVAT_FAULT_INVALID_SETTING, NULL,
                                  "the run needs %lld positions; this model has learnt %lld", (long long)needed,
                                  (long long)engine->facts.training_context_tokens);
    }
    if (engine->settings.batch < engine->sequences)
        return kvat_fault_set(fault, KVAT_FAULT_INVALID_SETTING, "batch-size",
                              "batch-size %d is less than %lld sequences", engine->settings.batch,
                              (long long)engine->sequences);
    return 0;
}

int kvat_llama_run(kvat_llama *engine, kvat_run *run, kvat_fault *fault) {
    if (check_run(engine, run, fault) != 0) return -1;
    feed f = {.room = engine->settings.batch, .first = calloc((size_t)engine->sequences, sizeof *f.first)};
    f.batch = llama_batch_init((int32_t)f.room, 0, 1);
    if (!f.batch.token || !f.batch.seq_id || !f.first) {
        free(f.first);
        return kvat_fault_set(fault, KVAT_FAULT_OOM_HOST, NULL, "no memory for a batch");
    }
    if (run->prompt) {
        llama_memory_clear(llama_get_memory(engine->context), false);
        engine->depth = 0;
    }
    engine->timed_out = engine->stopped = false;
    kvat_log_watch_reset(&engine->log);
    run->start_ns = engine->checked_ns = kvat_now_ns();
    engine->deadline_ns = run->limit_ns ? run->start_ns + run->limit_ns : 0;

    int failed =
        run->prompt ? run_stretches(engine, &f, run, fault) : decode_tokens(engine, &f, &run->stretches[0], 0, fault);
    llama_batch_free(f.batch);
    free(f.first);
    engine->deadline_ns = 0;
    if (failed) engine->depth = 0; /* what is in the cache now is nothing to go on from */
    run->timed_out = failed && engine->timed_out;
    return run->timed_out ? 0 : failed;
}
