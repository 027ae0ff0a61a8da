// One stored run with every trial as JSON, written as it is read.
// It must not hold the run in memory, nor interpret what it reads.
#include <string.h>

#include "kvat/store.h"
#include "runs_export.h"

typedef struct exporting {
    cli_io *io;
    size_t n; /* trials written */
    kvat_status status;
    kvat_error *err;
} exporting;

/** A stored document as it stands, null when there is none. It is read to see that it is one: a damaged store must not
 * make a damaged export. */
static kvat_status put_document(kvat_buf *out, const char *name, const char *text, kvat_error *err) {
    json_t *json = NULL;
    kvat_error why = KVAT_ERROR_INIT;
    kvat_status status = text && *text ? kvat_json_parse(&json, text, strlen(text), name, &why) : KVAT_OK;
    json_decref(json);
    if (status != KVAT_OK) return kvat_fail(err, status, "the store is damaged: %s", why.message);
    kvat_buf_printf(out, "\"%s\":%s,", name, text && *text ? text : "null");
    return KVAT_OK;
}

static void put_text(kvat_buf *out, const char *name, const char *text) {
    kvat_buf_printf(out, "\"%s\":", name);
    kvat_escape_json(out, text ? text : "");
    kvat_buf_putc(out, ',');
}

static kvat_status put_documents(kvat_buf *out, const kvat_run_record *run, kvat_error *err) {
    const struct {
        const char *name, *text;
    } documents[] = {{"request", run->request_json},      {"engine", run->engine_json},
                     {"describe", run->describe_json},    {"environment", run->environment_json},
                     {"configurations", run->space_json}, {"note", run->note_json}};
    kvat_status status = KVAT_OK;
    for (size_t i = 0; i < CLI_COUNT(documents) && status == KVAT_OK; i++)
        status = put_document(out, documents[i].name, documents[i].text, err);
    return status;
}

static kvat_status put_run(kvat_buf *out, const kvat_run_record *run, kvat_error *err) {
    kvat_buf_printf(out, "{\"format\":\"kvat-export/1\",\n\"run\":%lld,", (long long)run->id);
    put_text(out, "identity", run->identity);
    put_text(out, "created_utc", run->created_utc);
    put_text(out, "model", run->model_name);
    put_text(out, "engine_name", run->engine_name);
    put_text(out, "profile", run->profile_name);
    put_text(out, "state", kvat_run_state_word(run->state));
    kvat_buf_putc(out, '\n');
    kvat_status status = put_documents(out, run, err);
    kvat_buf_puts(out, "\n\"trials\":[");
    return status;
}

static bool export_header(void *user, const kvat_run_record *run) {
    exporting *e = user;
    kvat_buf text = KVAT_BUF_INIT;
    e->status = cli_out_made(e->io, put_run(&text, run, e->err), &text, e->err);
    return false;
}

/* ---- trials ---- */

static json_t *timing_json(const kvat_timing *timing) {
    json_t *tokens = json_array();
    for (size_t i = 0; i < timing->n_tokens; i++) cli_json_append(&tokens, json_integer(timing->token_ns[i]));
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:o}", "cell", (json_int_t)timing->cell, "sequence",
                     (json_int_t)timing->sequence, "burst", (json_int_t)timing->burst, "start_ns",
                     (json_int_t)timing->start_ns, "ttft_ns", (json_int_t)timing->ttft_ns, "token_ns", tokens);
}

static json_t *sample_json(const kvat_sample *sample) {
    return json_pack("{s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:b}", "cell", (json_int_t)sample->cell, "ttft_ns",
                     (json_int_t)sample->ttft_ns, "ttft_worst_ns", (json_int_t)sample->ttft_worst_ns,
                     "decode_tok_per_s", cli_json_real(sample->decode_tok_per_s), "itl_p50_ns",
                     cli_json_real(sample->itl_p50_ns), "itl_p95_ns", cli_json_real(sample->itl_p95_ns), "itl_p99_ns",
                     cli_json_real(sample->itl_p99_ns), "fitted", (int)sample->fitted);
}

static json_t *lists_json(const kvat_trial_record *trial) {
    json_t *samples = json_array(), *timings = json_array();
    for (size_t i = 0; i < trial->n_samples; i++) cli_json_append(&samples, sample_json(&trial->samples[i]));
    for (size_t i = 0; trial->timings && i < trial->n_timings; i++)
        cli_json_append(&timings, timing_json(&trial->timings[i]));
    return json_pack("{s:o, s:o}", "samples", samples, "timings", timings);
}

static json_t *trial_json(const kvat_trial_record *trial) {
    json_t *json =
        json_pack("{s:I, s:s, s:I, s:I, s:I, s:I, s:b, s:s, s:o}", "trial", (json_int_t)trial->id, "phase",
                  trial->phase == KVAT_PHASE_SEARCH ? "search" : "confirm", "configuration", (json_int_t)trial->config,
                  "block", (json_int_t)trial->block, "chunk", (json_int_t)trial->chunk, "launch",
                  (json_int_t)trial->launch, "fresh_process", trial->fresh_process, "status",
                  kvat_trial_status_word(trial->status), "detail", cli_json_text(trial->detail));
    json_t *figures = json_pack("{s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "peak_bytes",
                                (json_int_t)trial->peak_bytes, "peak_source", cli_json_text(trial->peak_source),
                                "model_bytes", (json_int_t)trial->model_bytes, "kv_bytes", (json_int_t)trial->kv_bytes,
                                "compute_bytes", (json_int_t)trial->compute_bytes, "load_ns",
                                (json_int_t)trial->load_ns, "prepare_ns", (json_int_t)trial->prepare_ns, "warmup_ns",
                                (json_int_t)trial->warmup_ns, "run_ns", (json_int_t)trial->run_ns, "elapsed_ns",
                                (json_int_t)trial->elapsed_ns, "cost_ns", (json_int_t)trial->cost_ns);
    json_t *lists = lists_json(trial);
    bool ok =
        json && figures && lists && json_object_update(json, figures) == 0 && json_object_update(json, lists) == 0;
    json_decref(figures);
    json_decref(lists);
    if (ok) return json;
    json_decref(json);
    return NULL;
}

static bool export_trial(void *user, const kvat_trial_record *trial) {
    exporting *e = user;
    kvat_buf text = KVAT_BUF_INIT;
    json_t *json = trial_json(trial);
    kvat_buf_puts(&text, e->n++ ? ",\n" : "\n");
    e->status = json ? kvat_json_put(&text, json) : kvat_fail(e->err, KVAT_ERR_NOMEM, "out of memory");
    json_decref(json);
    e->status = cli_out_made(e->io, e->status, &text, e->err);
    return e->status == KVAT_OK && !e->io->out_gone && !e->io->out_errno;
}

kvat_status cli_export_run(cli_io *io, kvat_store *store, int64_t run, kvat_error *err) {
    exporting e = {io, 0, KVAT_OK, err};
    kvat_status status = kvat_store_get_run(store, run, export_header, &e, err);
    if (status == KVAT_OK) status = e.status;
    if (status == KVAT_OK) status = kvat_store_each_trial(store, run, true, export_trial, &e, err);
    if (status == KVAT_OK) status = e.status;
    if (status == KVAT_OK) cli_out(io, "\n]}\n", 4);
    return status;
}

/* ---- how a recording is played ---- */

/** " --context 512,1024", when the stored profile has such a list. */
static void put_lengths(kvat_buf *out, const json_t *profile, const char *member, const char *option) {
    const json_t *list = json_object_get(profile, member);
    for (size_t i = 0; i < json_array_size(list); i++)
        kvat_buf_printf(out, "%s%lld", i ? "," : option, (long long)json_integer_value(json_array_get(list, i)));
}

static bool tell_playing(void *user, const kvat_run_record *run) {
    exporting *e = user;
    kvat_buf line = KVAT_BUF_INIT;
    json_t *request = NULL;
    e->status = kvat_json_parse(&request, run->request_json, strlen(run->request_json), "the stored request", e->err);
    if (e->status != KVAT_OK) return false;
    const json_t *profile = json_object_get(request, "profile");
    kvat_buf_puts(&line, "Play it: kvat tune surface.json --profile ");
    if (json_is_true(json_object_get(request, "profile_builtin")))
        kvat_escape_shell(&line, run->profile_name);
    else
        kvat_buf_puts(&line, "PROFILE"); /* a file of the user's, which only the user can name */
    put_lengths(&line, profile, "context", " --context ");
    put_lengths(&line, profile, "output_tokens", " --output-tokens ");
    put_lengths(&line, profile, "batch", " --batch ");
    if (line.bytes) cli_next(e->io, line.bytes);
    kvat_buf_clear(&line);
    json_decref(request);
    return false;
}

kvat_status cli_export_surface(cli_io *io, kvat_store *store, int64_t run, kvat_error *err) {
    exporting e = {io, 0, KVAT_OK, err};
    json_t *surface = NULL;
    kvat_status status = kvat_store_export_surface(&surface, store, run, err);
    if (status == KVAT_OK) status = cli_out_json(io, surface, err);
    if (status == KVAT_OK) status = kvat_store_get_run(store, run, tell_playing, &e, err);
    return status == KVAT_OK ? e.status : status;
}
