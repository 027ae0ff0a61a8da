// What a run says while it goes on, for a program that reads standard error: a kvat-event/1 document a line.
// It must not decide anything but to end the run when nobody is left to read.
#include <errno.h>

#include "cli.h"

/** A member that does not fit makes `*event` NULL, so that no document lacks one unnoticed. */
static void put(json_t **event, const char *name, json_t *value) {
    if (*event && json_object_set_new(*event, name, value) == 0) return;
    if (!*event) json_decref(value);
    json_decref(*event);
    *event = NULL;
}

static void put_time(json_t **out, const char *name, int64_t ns) {
    put(out, name, ns < 0 ? json_null() : json_integer(ns));
}

static void put_figure(json_t **out, const char *name, double value) {
    put(out, name, value > 0 ? cli_json_real(value) : json_null());
}

static void put_heading(json_t **out, const kvat_outcome *outcome) {
    put(out, "engine", cli_json_text(outcome->engine_name));
    put(out, "model", cli_json_text(outcome->model_name));
    put(out, "configs", json_integer((json_int_t)kvat_space_count(outcome->space)));
}

static void put_trial(json_t **out, const kvat_event *event) {
    put(out, "trial", json_integer((json_int_t)event->trial));
    put(out, "label", cli_json_text(event->label));
    put(out, "status", cli_json_text(kvat_trial_status_word(event->status)));
    put(out, "detail", cli_json_text(event->detail));
    put_figure(out, "score", event->score);
    put_figure(out, "ttft_s", event->ttft_s);
    put_figure(out, "decode_tok_per_s", event->decode_tok_per_s);
    put(out, "peak_bytes", event->peak_bytes > 0 ? json_integer(event->peak_bytes) : json_null());
    put(out, "leader", cli_json_text(event->leader));
    put(out, "p_good", cli_json_real(event->p_good));
    put(out, "tried", json_integer((json_int_t)event->tried));
    put(out, "survivors", json_integer((json_int_t)event->survivors));
    put(out, "configs", json_integer((json_int_t)event->configs));
    put(out, "pair", json_integer((json_int_t)event->pair));
    put(out, "pairs", json_integer((json_int_t)event->pairs));
    put_time(out, "elapsed_ns", event->elapsed_ns);
    put_time(out, "budget_ns", event->budget_ns);
    put_time(out, "remaining_low_ns", event->remaining_low_ns);
    put_time(out, "remaining_high_ns", event->remaining_high_ns);
}

static json_t *document(const kvat_event *event) {
    static const char *const words[] = {
        [KVAT_EVENT_HEADING] = "heading",   [KVAT_EVENT_NOTE] = "note",   [KVAT_EVENT_WARNING] = "warning",
        [KVAT_EVENT_STAGE] = "stage",       [KVAT_EVENT_TRIAL] = "trial", [KVAT_EVENT_CONFIRM] = "confirm",
        [KVAT_EVENT_ESTIMATE] = "estimate", [KVAT_EVENT_FILE] = "file"};
    json_t *out = json_pack("{s:s, s:s}", "format", "kvat-event/1", "event", words[event->kind]);
    switch (event->kind) {
    case KVAT_EVENT_HEADING:
        put_heading(&out, event->outcome);
        break;
    case KVAT_EVENT_TRIAL:
    case KVAT_EVENT_CONFIRM:
        put_trial(&out, event);
        break;
    case KVAT_EVENT_ESTIMATE:
        put_time(&out, "first_guess_ns", event->first_guess_ns);
        put_time(&out, "likely_ns", event->likely_ns);
        put_time(&out, "firm_ns", event->firm_ns);
        break;
    case KVAT_EVENT_STAGE:
        put(&out, "done", json_integer(event->done));
        put(&out, "total", json_integer(event->total));
        put(&out, "text", cli_json_text(event->text));
        break;
    default:
        put(&out, "text", cli_json_text(event->text));
    }
    return out;
}

void cli_progress_json_event(void *user, const kvat_event *event) {
    cli_progress *progress = user;
    kvat_buf line = KVAT_BUF_INIT;
    json_t *json = document(event);
    if (json && kvat_json_put(&line, json) == KVAT_OK) {
        kvat_buf_putc(&line, '\n');
        if (cli_err_buf(progress->io, &line) == EPIPE && progress->cancel && progress->cancel->level == 0)
            progress->cancel->level = 1;
    }
    json_decref(json);
    kvat_buf_clear(&line);
}
