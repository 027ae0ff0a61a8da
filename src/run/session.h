// The worker kept ready, as session.c (the process) and measure.c (the trial) share it.
// Must not be seen outside those two, their tests and tune.c's opening of it.
#ifndef KVAT_RUN_SESSION_H
#define KVAT_RUN_SESSION_H

#include "run_internal.h"

/** The context that the last trial left behind, while it may serve the next one. */
typedef struct kvat__left_context {
    json_t *made_with; /**< {settings, context_tokens, sequences}; NULL: there is none */
    json_t *effective; /**< what was in force, but for settings of a request */
    int64_t model_bytes, kv_bytes, compute_bytes;
    size_t config;
} kvat__left_context;

struct kvat__session {
    kvat__session_options options;
    const kvat_knobs *knobs; /**< of the job; set before restoring */
    kvat_worker *worker;     /**< NULL: none */
    json_t *process;         /**< process-scope settings it was started with */
    kvat_buf loaded;         /**< {"process", "model"} settings it holds; empty: nothing */
    int64_t loaded_ns;       /**< what that load took */
    kvat_buf identity;       /**< of the model, at the start */
    int64_t launch;          /**< index of the current (or last) process */
    int64_t now_ns;          /**< worker clock at its last answer */
    bool virtual_clock;
    bool used; /**< a trial ran in this process */
    kvat__left_context left;
    json_int_t *prompt_ids; /**< the user's text, tokenised; never stored */
    size_t n_prompt_ids;
};

/** One call; afterwards a worker that is gone has been dropped. `params` is taken; NULL means no memory. */
kvat_status kvat__session_call(kvat_call *out, kvat__session *s, const char *method, json_t *params,
                               int64_t deadline_ns, kvat_error *err);
void kvat__session_drop_worker(kvat__session *s);
void kvat__session_forget_context(kvat__session *s);
kvat_trial_status kvat__status_of_call(const kvat_call *call);
/** Settings of a configuration in one scope; of the process scope only those off default. New reference. */
kvat_status kvat__scope_settings(json_t **out, const kvat__job *job, size_t config, kvat_scope scope, kvat_error *err);
/** The settings of both in one object. New reference. */
kvat_status kvat__settings_join(json_t **out, const json_t *a, const json_t *b, kvat_error *err);
/** A worker with these process settings, a new one when `fresh` and the present one has been used. */
kvat_status kvat__session_ensure_worker(kvat__session *s, const kvat__job *job, const json_t *process, bool fresh,
                                        kvat_error *err);
/** The model loaded with these settings; `call` tells how that went (OK without a result: it was loaded already). */
kvat_status kvat__session_ensure_model(kvat_call *call, kvat__session *s, const json_t *model, kvat_error *err);
kvat_status kvat__session_ensure_prompts(kvat__session *s, const kvat_profile *profile, kvat_error *err);

#endif
