/* The answers of cells.h as JSON, the same in plan and report.
 * Must not know which of the two it goes into. */
#include <math.h>

#include "kvat/cells.h"
#include "plan_internal.h"

static const kvat_entry *entry_at(const kvat_outcome *outcome, size_t index) {
    return index < outcome->n_entries ? &outcome->entries[index] : NULL;
}

static kvat_interval ratio_of(kvat_interval difference) {
    return (kvat_interval){exp(difference.value), exp(difference.low), exp(difference.high)};
}

/** Share of the best score that is lost. */
static kvat_interval lost(kvat_interval loss) {
    return (kvat_interval){-expm1(-loss.value), -expm1(-loss.low), -expm1(-loss.high)};
}

static void add_name(kvat__builder *object, const kvat_entry *entry) {
    kvat__build_text(object, "label", entry ? entry->label : NULL);
    kvat__build_copy(object, "settings", entry ? entry->settings : NULL);
}

static json_t *winner_in_cell(const kvat_entry *winner, size_t cell) {
    if (!winner || !winner->cells) return json_null();
    kvat__builder object = kvat__build_object();
    kvat__build_interval(&object, "loss", lost(winner->cells[cell].loss));
    kvat__build_real(&object, "p_good", winner->cells[cell].p_good);
    return kvat__build_take(&object);
}

static json_t *cell_member(const kvat_outcome *outcome, size_t c) {
    static const kvat_interval unknown = {NAN, NAN, NAN};
    const kvat_cell *cell = &outcome->profile->cells[c];
    const kvat_entry *best = entry_at(outcome, outcome->winner_by_cell[c]);
    const kvat_cell_figures *figures = best && best->cells ? &best->cells[c] : NULL;
    kvat__builder object = kvat__build_object();
    kvat__build_int(&object, "prompt_tokens", cell->prompt_tokens);
    kvat__build_int(&object, "output_tokens", cell->output_tokens);
    kvat__build_int(&object, "sequences", cell->sequences);
    kvat__build_real(&object, "weight", cell->weight);
    add_name(&object, best);
    kvat__build_real(&object, "p_good", figures ? figures->p_good : NAN);
    kvat__build_interval(&object, "gain_ratio", ratio_of(figures ? figures->gain : unknown));
    kvat__build_add(&object, "winner", winner_in_cell(entry_at(outcome, outcome->winner), c));
    return kvat__build_take(&object);
}

static json_t *by_cell_member(const kvat_outcome *outcome) {
    kvat__builder array = kvat__build_array();
    for (size_t c = 0; c < outcome->winner_by_cell_n; c++) kvat__build_add(&array, NULL, cell_member(outcome, c));
    return kvat__build_take(&array);
}

static void add_worst(kvat__builder *object, const kvat_entry *entry) {
    kvat__build_int(object, "cell", (int64_t)entry->worst_cell);
    kvat__build_interval(object, "loss", lost(entry->worst_loss));
    kvat__build_real(object, "p_least", entry->p_least);
}

static json_t *worst_of_winner(const kvat_entry *winner) {
    if (!winner) return json_null();
    kvat__builder object = kvat__build_object();
    add_worst(&object, winner);
    return kvat__build_take(&object);
}

static json_t *worst_member(const kvat_outcome *outcome) {
    const kvat_entry *least = entry_at(outcome, outcome->smallest_worst_loss);
    if (!least) return json_null();
    kvat__builder object = kvat__build_object();
    add_name(&object, least);
    add_worst(&object, least);
    kvat__build_add(&object, "winner", worst_of_winner(entry_at(outcome, outcome->winner)));
    return kvat__build_take(&object);
}

static json_t *front_member(const kvat_outcome *outcome) {
    kvat__builder array = kvat__build_array();
    for (size_t i = 0; i < outcome->n_front; i++) {
        const kvat_entry *entry = entry_at(outcome, outcome->front[i]);
        kvat__builder object = kvat__build_object();
        add_name(&object, entry);
        kvat__build_real(&object, "p_front", entry ? entry->p_front : NAN);
        kvat__build_real(&object, "ttft_s", entry ? entry->ttft_s : NAN);
        kvat__build_real(&object, "decode_tok_per_s", entry ? entry->decode_tok_per_s : NAN);
        kvat__build_bytes(&object, "peak_bytes", entry ? entry->peak_bytes : 0);
        kvat__build_add(&array, NULL, kvat__build_take(&object));
    }
    return kvat__build_take(&array);
}

kvat_status kvat_cells_json_add(json_t *object, const kvat_outcome *outcome, kvat_error *err) {
    kvat__builder builder = {json_incref(object), false};
    const bool several =
        outcome->profile && outcome->winner_by_cell_n == outcome->profile->n_cells && outcome->profile->n_cells > 1;
    if (several) {
        kvat__build_add(&builder, "by_cell", by_cell_member(outcome));
        kvat__build_add(&builder, "worst_case", worst_member(outcome));
    }
    kvat__build_add(&builder, "pareto_front", front_member(outcome));
    const bool failed = builder.failed;
    json_decref(builder.object);
    return failed ? kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the answers of cells") : KVAT_OK;
}
