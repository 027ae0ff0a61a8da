/* The report for programs: CSV, a row a configuration and cell, and JSON.
 * Must not round: readers here have their own ideas of figures. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kvat/cells.h"
#include "kvat/json.h"
#include "report_internal.h"

/* ---- CSV (RFC 4180) ---- */
/* Text that a spreadsheet would take for a formula is quoted for it too. */
static void put_csv_text(kvat_buf *out, const char *raw) {
    kvat_buf visible = KVAT_BUF_INIT;
    kvat_escape_terminal(&visible, raw);
    kvat_buf_putc(out, '"');
    const char *at = kvat__piece(out, &visible);
    if (*at && strchr("=+-@", *at)) kvat_buf_putc(out, '\'');
    for (; *at; at++) {
        if (*at == '"') kvat_buf_putc(out, '"');
        kvat_buf_putc(out, *at);
    }
    kvat_buf_putc(out, '"');
    kvat_buf_clear(&visible);
}

/* The shortest decimal that reads back equal, by the JSON writer; nothing when unknown. */
static void put_csv_real(kvat_buf *out, double value) {
    kvat_buf_putc(out, ',');
    if (!isfinite(value)) return;
    json_t *number = json_real(value);
    if (!number || kvat_json_put(out, number) != KVAT_OK) out->status = KVAT_ERR_NOMEM;
    json_decref(number);
}

static void put_csv_int(kvat_buf *out, int64_t value, bool known) {
    kvat_buf_putc(out, ',');
    if (known) kvat_buf_printf(out, "%lld", (long long)value);
}

static void put_csv_interval(kvat_buf *out, kvat_interval value) {
    put_csv_real(out, value.value);
    put_csv_real(out, value.low);
    put_csv_real(out, value.high);
}

static void put_csv_entry(kvat_buf *out, const kvat_entry *entry) {
    if (entry->rank > 0) kvat_buf_printf(out, "%zu", entry->rank);
    kvat_buf_putc(out, ',');
    put_csv_text(out, entry->label);
    kvat_buf_printf(out, ",%s,%s,%s", entry->identity, entry->lossy ? "true" : "false",
                    kvat__state_word(entry->standing.state));
    put_csv_int(out, (int64_t)entry->standing.clean_runs, true);
    put_csv_int(out, (int64_t)kvat__failures(entry), true);
    put_csv_interval(out, entry->score_interval);
    put_csv_int(out, entry->peak_bytes, entry->peak_bytes > 0);
    put_csv_int(out, entry->model_bytes, entry->model_bytes > 0);
    put_csv_int(out, entry->kv_bytes, entry->kv_bytes > 0);
    put_csv_int(out, entry->compute_bytes, entry->compute_bytes > 0);
}

static void put_csv_cell(kvat_buf *out, const kvat_cell *cell, const kvat_cell_figures *figures) {
    put_csv_int(out, cell->prompt_tokens, true);
    put_csv_int(out, cell->output_tokens, true);
    put_csv_int(out, cell->sequences, true);
    put_csv_interval(out, figures->ttft_s);
    put_csv_interval(out, figures->decode_tok_per_s);
    put_csv_real(out, figures->prefill_tok_per_s);
    put_csv_real(out, figures->itl_p50_s);
    put_csv_real(out, figures->itl_p95_s);
    put_csv_real(out, figures->itl_p99_s);
}

/* More than one answer: of this cell, then of the configuration. */
static void put_csv_answers(kvat_buf *out, const kvat_entry *entry, const kvat_cell_figures *cell) {
    put_csv_real(out, cell ? cell->gain.value : NAN);
    put_csv_real(out, cell ? cell->loss.value : NAN);
    put_csv_real(out, cell ? cell->p_good : NAN);
    put_csv_real(out, entry->worst_loss.value);
    put_csv_real(out, entry->p_least);
    put_csv_real(out, entry->p_front);
}

static void put_csv_rows(kvat_buf *out, const kvat_outcome *outcome, const kvat_entry *entry) {
    size_t n = entry->cells && outcome->profile ? outcome->profile->n_cells : 0;
    for (size_t i = 0; i < (n ? n : 1); i++) {
        put_csv_entry(out, entry);
        if (n)
            put_csv_cell(out, &outcome->profile->cells[i], &entry->cells[i]);
        else
            kvat_buf_puts(out, ",,,,,,,,,,,,,");
        kvat_buf_putc(out, ',');
        put_csv_text(out, entry->failure ? entry->failure : "");
        put_csv_answers(out, entry, n ? &entry->cells[i] : NULL);
        kvat_buf_puts(out, "\r\n");
    }
}

kvat_status kvat_report_csv(kvat_buf *out, const kvat_outcome *outcome, kvat_error *err) {
    kvat_buf_puts(out,
                  "rank,configuration,identity,lossy,state,clean_runs,failures,score,score_low,score_high,peak_bytes,"
                  "model_bytes,kv_bytes,compute_bytes,prompt_tokens,output_tokens,sequences,ttft_s,ttft_low_s,"
                  "ttft_high_s,decode_tok_per_s,decode_low_tok_per_s,decode_high_tok_per_s,prefill_tok_per_s,"
                  "itl_p50_s,itl_p95_s,itl_p99_s,failure,cell_ln_gain,cell_ln_loss,cell_p_good,ln_worst_loss,p_least,p_"
                  "front\r\n");
    for (size_t i = 0; i < kvat__entries_listed(outcome); i++) put_csv_rows(out, outcome, &outcome->entries[i]);
    return kvat_buf_status(out, err);
}

/* ---- JSON: the first failure sticks and is asked for once ---- */
typedef struct maker {
    bool failed;
} maker;

static void set(maker *m, json_t *object, const char *name, json_t *value) {
    if (json_object_set_new(object, name, value) != 0) m->failed = true;
}

static void append(maker *m, json_t *array, json_t *value) {
    if (json_array_append_new(array, value) != 0) m->failed = true;
}

static json_t *real(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *bytes(int64_t value) {
    return value > 0 ? json_integer(value) : json_null();
}

/* jansson refuses invalid UTF-8, our own escaper replaces it. */
static json_t *text(const char *raw) {
    if (!raw) return json_null();
    json_t *value = json_string(raw);
    if (value) return value;
    kvat_buf quoted = KVAT_BUF_INIT;
    kvat_escape_json(&quoted, raw);
    if (kvat_buf_status(&quoted, NULL) == KVAT_OK) value = json_loads(quoted.bytes, JSON_DECODE_ANY, NULL);
    kvat_buf_clear(&quoted);
    return value;
}

static json_t *copy(const json_t *value) {
    return value ? json_deep_copy(value) : json_null();
}

static json_t *interval(maker *m, kvat_interval value) {
    json_t *object = json_object();
    set(m, object, "value", real(value.value));
    set(m, object, "low", real(value.low));
    set(m, object, "high", real(value.high));
    return object;
}

static json_t *cell_json(maker *m, const kvat_cell *cell, const kvat_cell_figures *figures) {
    json_t *object = json_object();
    set(m, object, "prompt_tokens", json_integer(cell->prompt_tokens));
    set(m, object, "output_tokens", json_integer(cell->output_tokens));
    set(m, object, "sequences", json_integer(cell->sequences));
    set(m, object, "ttft_s", interval(m, figures->ttft_s));
    set(m, object, "decode_tok_per_s", interval(m, figures->decode_tok_per_s));
    if (figures->decode_fitted) set(m, object, "decode_fitted", json_true());
    set(m, object, "prefill_tok_per_s", real(figures->prefill_tok_per_s));
    set(m, object, "itl_p50_s", real(figures->itl_p50_s));
    set(m, object, "itl_p95_s", real(figures->itl_p95_s));
    set(m, object, "itl_p99_s", real(figures->itl_p99_s));
    set(m, object, "ln_gain", interval(m, figures->gain));
    set(m, object, "ln_loss", interval(m, figures->loss));
    set(m, object, "p_good", real(figures->p_good));
    return object;
}

static json_t *cells_json(maker *m, const kvat_outcome *outcome, const kvat_entry *entry) {
    json_t *array = json_array();
    for (size_t i = 0; entry->cells && outcome->profile && i < outcome->profile->n_cells; i++)
        append(m, array, cell_json(m, &outcome->profile->cells[i], &entry->cells[i]));
    return array;
}

static json_t *failures_json(maker *m, const kvat_entry *entry) {
    json_t *object = json_object();
    for (int status = 0; status < KVAT_TRIAL_STATUS_COUNT; status++)
        if (status != KVAT_TRIAL_OK && entry->failures_by_status[status] > 0)
            set(m, object, kvat_trial_status_word((kvat_trial_status)status),
                json_integer((json_int_t)entry->failures_by_status[status]));
    return object;
}

static json_t *entry_json(maker *m, const kvat_outcome *outcome, const kvat_entry *entry) {
    json_t *object = json_object();
    set(m, object, "rank", entry->rank ? json_integer((json_int_t)entry->rank) : json_null());
    set(m, object, "label", text(entry->label));
    set(m, object, "identity", text(entry->identity));
    set(m, object, "settings", copy(entry->settings));
    set(m, object, "changed", copy(entry->changed));
    set(m, object, "lossy", json_boolean(entry->lossy));
    set(m, object, "state", text(kvat__state_word(entry->standing.state)));
    set(m, object, "clean_runs", json_integer((json_int_t)entry->standing.clean_runs));
    set(m, object, "score",
        interval(m, (kvat_interval){entry->score, entry->score_interval.low, entry->score_interval.high}));
    set(m, object, "p_good", real(entry->standing.p_good));
    set(m, object, "ln_worst_loss", interval(m, entry->worst_loss));
    set(m, object, "p_least", real(entry->p_least));
    set(m, object, "p_front", real(entry->p_front));
    set(m, object, "ttft_s", real(entry->ttft_s));
    set(m, object, "decode_tok_per_s", real(entry->decode_tok_per_s));
    if (entry->decode_fitted) set(m, object, "decode_fitted", json_true());
    set(m, object, "jitter", real(entry->jitter));
    set(m, object, "peak_bytes", bytes(entry->peak_bytes));
    set(m, object, "model_bytes", bytes(entry->model_bytes));
    set(m, object, "kv_bytes", bytes(entry->kv_bytes));
    set(m, object, "compute_bytes", bytes(entry->compute_bytes));
    set(m, object, "forecast_bytes", bytes(entry->forecast_bytes));
    set(m, object, "cells", cells_json(m, outcome, entry));
    set(m, object, "failures", failures_json(m, entry));
    set(m, object, "failure", text(entry->failure));
    return object;
}

static json_t *entries_json(maker *m, const kvat_outcome *outcome) {
    json_t *array = json_array();
    for (size_t i = 0; i < kvat__entries_listed(outcome); i++)
        append(m, array, entry_json(m, outcome, &outcome->entries[i]));
    return array;
}

static json_t *label_json(const kvat_entry *entry) {
    return entry ? text(entry->label) : json_null();
}

static json_t *point_json(maker *m, const kvat_outcome *outcome, const kvat_race_point *point) {
    json_t *object = json_object();
    set(m, object, "elapsed_ns", json_integer(point->elapsed_ns));
    set(m, object, "cost_ns", json_integer(point->cost_ns));
    set(m, object, "label", label_json(kvat__entry_of_config(outcome, point->config)));
    set(m, object, "phase", text(point->confirming ? "confirm" : "search"));
    set(m, object, "status", text(kvat_trial_status_word(point->status)));
    set(m, object, "score", real(point->score));
    set(m, object, "leader", label_json(kvat__entry_of_config(outcome, point->leader)));
    set(m, object, "survivors", json_integer((json_int_t)point->survivors));
    set(m, object, "p_good", real(point->p_good));
    return object;
}

static json_t *race_json(maker *m, const kvat_outcome *outcome) {
    json_t *array = json_array();
    for (size_t i = 0; i < outcome->n_race; i++) append(m, array, point_json(m, outcome, &outcome->race[i]));
    return array;
}

static json_t *left_out_json(maker *m, const kvat_outcome *outcome) {
    json_t *array = json_array();
    for (size_t i = 0; i < outcome->n_left_out; i++) {
        json_t *object = json_object();
        set(m, object, "label", text(outcome->left_out[i].label));
        set(m, object, "forecast_bytes", bytes(outcome->left_out[i].forecast_bytes));
        set(m, object, "reason", text(outcome->left_out[i].reason));
        append(m, array, object);
    }
    return array;
}

static json_t *confirmation_json(maker *m, const kvat__view *view) {
    const kvat_confirm_answer *answer = &view->outcome->confirmation;
    if (!view->gain_known) return json_null();
    json_t *object = json_object();
    set(m, object, "label", label_json(view->challenger));
    set(m, object, "pairs", json_integer((json_int_t)answer->pairs));
    set(m, object, "ln_score", interval(m, answer->score));
    set(m, object, "ln_ttft", interval(m, answer->part[0]));
    set(m, object, "ln_decode", interval(m, answer->part[1]));
    set(m, object, "ln_peak", interval(m, answer->part[2]));
    set(m, object, "joined", json_boolean(answer->joined));
    set(m, object, "fresh", interval(m, answer->fresh));
    return object;
}

static json_t *warnings_json(maker *m, const kvat_outcome *outcome) {
    json_t *array = json_array();
    for (size_t i = 0; i < outcome->n_warnings; i++) append(m, array, text(outcome->warnings[i]));
    return array;
}

/* Facts of the model without where it lies. */
static json_t *model_json(maker *m, const kvat_outcome *outcome) {
    json_t *object = outcome->model ? json_deep_copy(outcome->model) : json_object();
    const char *slash = outcome->model_file ? strrchr(outcome->model_file, '/') : NULL;
    set(m, object, "name", text(outcome->model_name));
    set(m, object, "file", text(slash ? slash + 1 : outcome->model_file));
    return object;
}

static json_t *incumbent_json(maker *m, const kvat__view *view) {
    const kvat_outcome *outcome = view->outcome;
    json_t *object = json_object();
    set(m, object, "label", label_json(kvat__entry_at(outcome, outcome->incumbent)));
    set(m, object, "kept", json_boolean(outcome->incumbent_kept));
    set(m, object, "p_beaten", real(outcome->p_incumbent_beaten));
    set(m, object, "said", text(outcome->incumbent_said));
    return object;
}

static void add_answer(maker *m, json_t *report, const kvat__view *view) {
    const kvat_outcome *outcome = view->outcome;
    set(m, report, "decision", text(kvat_decision_word(outcome->decision)));
    set(m, report, "why", text(outcome->why));
    set(m, report, "winner", label_json(view->winner));
    set(m, report, "best_so_far", label_json(view->best));
    set(m, report, "lossy_best", label_json(view->lossy));
    set(m, report, "p_good", real(outcome->p_good));
    set(m, report, "p_best", real(outcome->p_best));
    set(m, report, "delta", real(outcome->delta));
    set(m, report, "reference_is_default", json_boolean(outcome->reference_is_default));
    if (!report || kvat_cells_json_add(report, outcome, NULL) != KVAT_OK) m->failed = true;
    set(m, report, "confirmation", confirmation_json(m, view));
    if (outcome->incumbent_said) set(m, report, "incumbent", incumbent_json(m, view));
    set(m, report, "warnings", warnings_json(m, outcome));
    set(m, report, "noisy", json_boolean(outcome->noisy));
    set(m, report, "anchor_spread", real(outcome->anchor_spread));
}

static void add_course(maker *m, json_t *report, const kvat_outcome *outcome) {
    set(m, report, "entries", entries_json(m, outcome));
    set(m, report, "untried", json_integer((json_int_t)kvat__untried(outcome)));
    if (outcome->skipped.drawn_from > 0) set(m, report, "drawn_from", json_real(outcome->skipped.drawn_from));
    set(m, report, "left_out", left_out_json(m, outcome));
    set(m, report, "race", race_json(m, outcome));
    set(m, report, "trials", json_integer((json_int_t)outcome->trials));
    set(m, report, "failed_trials", json_integer((json_int_t)outcome->failed_trials));
    set(m, report, "voided_trials", json_integer((json_int_t)outcome->voided_trials));
    set(m, report, "elapsed_ns", json_integer(outcome->elapsed_ns));
    set(m, report, "measured_ns", json_integer(outcome->measured_ns));
    set(m, report, "grid_ratio", real(outcome->grid_ratio));
    set(m, report, "peak_source", text(outcome->peak_source));
}

static void add_subject(maker *m, json_t *report, const kvat_outcome *outcome) {
    set(m, report, "format", text(KVAT__REPORT_FORMAT));
    set(m, report, "kvat_version", text(kvat_version()));
    set(m, report, "created_utc", text(outcome->created_utc));
    set(m, report, "virtual_clock", json_boolean(outcome->virtual_clock));
    set(m, report, "engine", copy(outcome->engine));
    set(m, report, "model", model_json(m, outcome));
    set(m, report, "environment", copy(outcome->environment));
    set(m, report, "request", copy(outcome->request));
    set(m, report, "profile", text(outcome->profile ? outcome->profile->name : NULL));
    set(m, report, "context_tokens", json_integer(outcome->context_tokens));
    set(m, report, "sequences", json_integer(outcome->sequences));
}

kvat_status kvat_report_json(json_t **out, const kvat_outcome *outcome, kvat_error *err) {
    kvat__view view = kvat__view_of(outcome);
    maker m = {false};
    json_t *report = json_object();
    add_subject(&m, report, outcome);
    add_answer(&m, report, &view);
    add_course(&m, report, outcome);
    if (!report || m.failed) {
        json_decref(report);
        return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the report");
    }
    *out = report;
    return KVAT_OK;
}
