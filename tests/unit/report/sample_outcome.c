/* Outcomes made by hand for the tests of plan and report.
 * Must not depend on how real outcomes are made. */
#include "sample_outcome.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

enum { n_configs = 24, n_cells = 3, n_search = 29, n_pairs = 6, crashing = 17 };

/* ---- configurations: threads × ubatch-size × flash-attn × cache-type-k; number 0 is the default ---- */
static const int threads_of[] = {8, 4};
static const int ubatch_of[] = {512, 256, 128};
static const char *const flash_of[] = {"on", "off"};
static const char *const type_of[] = {"f16", "q8_0"};

typedef struct levels {
    size_t threads, ubatch, flash, type;
} levels;

static levels levels_of(size_t config) {
    return (levels){config % 2, config / 2 % 3, config / 6 % 2, config / 12};
}

typedef struct effect {
    double ttft, decode, peak; /* of natural logarithms, against the default */
} effect;

static effect effect_of(size_t config) {
    levels l = levels_of(config);
    effect e = {0, 0, 0};
    if (l.threads) e.ttft -= 0.16, e.decode += 0.11;
    if (l.ubatch == 1) e.ttft -= 0.08, e.decode += 0.02, e.peak -= 0.035;
    if (l.ubatch == 2) e.ttft += 0.06, e.peak -= 0.05;
    if (l.flash) e.ttft += 0.12, e.decode -= 0.05, e.peak += 0.08;
    if (l.type) e.ttft -= 0.01, e.decode += 0.03, e.peak -= 0.08;
    return e;
}

static double gain_of(size_t config) {
    effect e = effect_of(config);
    return -0.5 * e.ttft + 0.35 * e.decode - 0.15 * e.peak;
}

/* A fixed sequence in [−1, 1] in place of noise. */
static double wobble(size_t i) {
    return (double)((i * 7919 + 104729) % 2001) / 1000.0 - 1.0;
}

static char *copy(const char *text) {
    char *made = strdup(text);
    if (!made) abort();
    return made;
}

static void *zeroed(size_t n, size_t size) {
    void *made = calloc(n ? n : 1, size);
    if (!made) abort();
    return made;
}

static json_t *settings_of(size_t config) {
    levels l = levels_of(config);
    return json_pack("{s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:s, s:i}", "cache-type-k", type_of[l.type], "cache-type-v",
                     "f16", "flash-attn", flash_of[l.flash], "threads", threads_of[l.threads], "threads-batch", 8,
                     "batch-size", 2048, "ubatch-size", ubatch_of[l.ubatch], "repack", "on", "GOMP_SPINCOUNT", 300000);
}

static json_t *changed_of(size_t config) {
    levels l = levels_of(config);
    json_t *changed = json_object();
    if (l.threads) json_object_set_new(changed, "threads", json_integer(threads_of[1]));
    if (l.ubatch) json_object_set_new(changed, "ubatch-size", json_integer(ubatch_of[l.ubatch]));
    if (l.flash) json_object_set_new(changed, "flash-attn", json_string("off"));
    if (l.type) json_object_set_new(changed, "cache-type-k", json_string("q8_0"));
    return changed;
}

static char *label_of(size_t config) {
    levels l = levels_of(config);
    char text[160] = "";
    size_t n = 0;
    if (l.type) n += (size_t)snprintf(text + n, sizeof text - n, ", cache-type-k q8_0");
    if (l.flash) n += (size_t)snprintf(text + n, sizeof text - n, ", flash-attn off");
    if (l.threads) n += (size_t)snprintf(text + n, sizeof text - n, ", threads 4");
    if (l.ubatch) n += (size_t)snprintf(text + n, sizeof text - n, ", ubatch-size %d", ubatch_of[l.ubatch]);
    return copy(n ? text + 2 : "default");
}

/* ---- figures ---- */
static const double ttft_base[n_cells] = {4.13, 9.21, 21.8};
static const double decode_base[n_cells] = {36.4, 31.2, 24.6};
static const int64_t peak_base = 1213300000;

static kvat_interval around(double value, double share) {
    return (kvat_interval){value, value * (1 - share), value * (1 + share)};
}

static void fill_cells(kvat_entry *entry, size_t config) {
    effect e = effect_of(config);
    entry->cells = zeroed(n_cells, sizeof *entry->cells);
    for (size_t c = 0; c < n_cells; c++) {
        kvat_cell_figures *cell = &entry->cells[c];
        double depth = 1 + 0.02 * (double)c * wobble(config + c);
        double ttft = ttft_base[c] * exp(e.ttft) * depth, decode = decode_base[c] * exp(e.decode) / depth;
        static const double prompts[n_cells] = {2048, 4096, 8192};
        *cell = (kvat_cell_figures){.cell = c,
                                    .ttft_s = around(ttft, 0.011),
                                    .decode_tok_per_s = around(decode, 0.014),
                                    .prefill_tok_per_s = prompts[c] / ttft,
                                    .itl_p50_s = 1 / decode,
                                    .itl_p95_s = 1.06 / decode,
                                    .itl_p99_s = 1.19 / decode};
    }
}

static void fill_means(kvat_entry *entry, const kvat_profile *profile) {
    double ttft = 0, decode = 0;
    for (size_t c = 0; c < n_cells; c++) {
        ttft += profile->cells[c].weight * log(entry->cells[c].ttft_s.value);
        decode += profile->cells[c].weight * log(entry->cells[c].decode_tok_per_s.value);
    }
    entry->ttft_s = exp(ttft);
    entry->decode_tok_per_s = exp(decode);
}

static kvat_entry measured_entry(size_t config, const kvat_profile *profile) {
    kvat_entry entry = {.config = config};
    double gain = gain_of(config), half = config == 1 + 2 || config == 0 ? 0.006 : 0.013;
    entry.label = label_of(config);
    entry.settings = settings_of(config);
    entry.changed = changed_of(config);
    snprintf(entry.identity, sizeof entry.identity, "%064zx", config * 2654435761u);
    entry.lossy = levels_of(config).type != 0;
    entry.eligible = !entry.lossy;
    entry.score = 100 * exp(gain);
    entry.score_interval = (kvat_interval){100 * exp(gain), 100 * exp(gain - half), 100 * exp(gain + half)};
    entry.standing = (kvat_search_standing){KVAT_CONFIG_RACING, 0, 0, {gain, gain - half, gain + half}, 0.004};
    entry.peak_bytes = (int64_t)((double)peak_base * exp(effect_of(config).peak));
    entry.model_bytes = 531000000;
    entry.kv_bytes = entry.lossy ? 79000000 : 103000000;
    entry.compute_bytes = entry.peak_bytes - entry.model_bytes - entry.kv_bytes - 61000000;
    entry.forecast_bytes = (int64_t)((double)entry.peak_bytes * 1.02);
    entry.jitter = 1.06;
    fill_cells(&entry, config);
    fill_means(&entry, profile);
    return entry;
}

static void fail_entry(kvat_entry *entry, kvat_trial_status status, const char *detail, kvat_config_state state) {
    free(entry->cells);
    free(entry->failure);
    entry->cells = NULL;
    entry->failure = copy(detail);
    entry->rank = 0;
    entry->score = NAN;
    entry->score_interval = (kvat_interval){NAN, NAN, NAN};
    entry->ttft_s = entry->decode_tok_per_s = entry->jitter = NAN;
    entry->peak_bytes = entry->model_bytes = entry->kv_bytes = entry->compute_bytes = 0;
    entry->failures_by_status[status] = 2;
    entry->standing = (kvat_search_standing){state, 0, 2, {NAN, NAN, NAN}, 0};
    entry->worst_loss = (kvat_interval){NAN, NAN, NAN};
}

static int by_score(const void *a, const void *b) {
    const kvat_entry *x = a, *y = b;
    if (isnan(x->score) || isnan(y->score)) return (int)isnan(x->score) - (int)isnan(y->score);
    if (x->score > y->score) return -1;
    if (x->score < y->score) return 1;
    return x->config < y->config ? -1 : 1;
}

static size_t entry_of(const kvat_outcome *outcome, size_t config) {
    for (size_t i = 0; i < outcome->n_entries; i++)
        if (outcome->entries[i].config == config) return i;
    return SIZE_MAX;
}

/* The leader of the search first, then by score. */
static void rank_entries(kvat_outcome *outcome) {
    qsort(outcome->entries, outcome->n_entries, sizeof *outcome->entries, by_score);
    size_t leader = entry_of(outcome, 3);
    kvat_entry first = outcome->entries[leader];
    if (!isnan(first.score)) {
        memmove(&outcome->entries[1], &outcome->entries[0], leader * sizeof first);
        outcome->entries[0] = first;
    }
    for (size_t i = 0; i < outcome->n_entries; i++)
        outcome->entries[i].rank = isnan(outcome->entries[i].score) ? 0 : i + 1;
}

/* ---- the race: the default, everything in chunks with the leader as anchor, then pairs ---- */
static kvat_race_point race_point(size_t i, size_t config, bool confirming) {
    kvat_race_point point = {.elapsed_ns = (int64_t)(i + 1) * 27300000000,
                             .cost_ns = 26000000000,
                             .config = config,
                             .confirming = confirming,
                             .status = KVAT_TRIAL_OK,
                             .score = 100 * exp(gain_of(config) + 0.006 * wobble(i)),
                             .leader = i == 0  ? 0
                                       : i < 4 ? 1
                                               : 3,
                             .survivors = i < 12   ? 24
                                          : i < 24 ? 24 - (i - 11) * 3 / 2
                                                   : 4,
                             .p_good = i < 12 ? 0 : fmin(0.97, 0.3 + 0.04 * (double)(i - 12))};
    if (config != crashing) return point;
    point.status = KVAT_TRIAL_CRASH;
    point.score = NAN;
    return point;
}

static void fill_race(kvat_outcome *outcome) {
    static const size_t again[] = {3, 1, 0, 3, 15};
    outcome->n_race = n_search + 2 * n_pairs;
    outcome->race = zeroed(outcome->n_race, sizeof *outcome->race);
    for (size_t i = 0; i < outcome->n_race; i++) {
        size_t config = i < n_configs  ? i * 7 % n_configs
                        : i < n_search ? again[i - n_configs]
                                       : ((i - n_search + 1) / 2 % 2 ? 0 : 3);
        outcome->race[i] = race_point(i, config, i >= n_search);
        outcome->trials++;
        size_t entry = entry_of(outcome, config);
        if (outcome->race[i].status == KVAT_TRIAL_OK) outcome->entries[entry].standing.clean_runs++;
    }
}

/* ---- what was asked ---- */
static kvat_profile *profile_sample(void) {
    kvat_profile *profile = zeroed(1, sizeof *profile);
    profile->name = copy("chat-agent");
    profile->description = copy("a conversation with tools");
    profile->n_cells = n_cells;
    profile->cells = zeroed(n_cells, sizeof *profile->cells);
    for (size_t i = 0; i < n_cells; i++)
        profile->cells[i] = (kvat_cell){(int64_t)2048 << i, i == 0 ? 64 : 256, 1, 1.0 / n_cells};
    profile->weight_ttft = 0.5;
    profile->weight_decode = 0.35;
    profile->weight_memory = 0.15;
    profile->runs = 1;
    profile->builtin = true;
    return profile;
}

static void fill_machine(kvat_outcome *outcome) {
    outcome->engine = json_pack("{s:s, s:s, s:s, s:[s,s,s]}", "name", "llamacpp", "version", "0.5.0", "build",
                                "gcc 12.2.0", "flags", "AVX512", "AVX512_BF16", "OPENMP");
    outcome->model = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:I}", "name", "Qwen2.5 0.5B", "architecture",
                               "qwen2", "format", "gguf", "weight_type", "q8_0", "identity", "sha256:5f1c", "file",
                               "/home/someone/models/qwen2.5-0.5b-q8_0.gguf", "layers", 24, "training_context_tokens",
                               32768, "weight_bytes", (json_int_t)531000000);
    outcome->environment =
        json_pack("{s:{s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:I, s:b}, s:{s:f, s:f, s:f, s:f, s:i}, s:f}", "machine",
                  "cpu_model", "Example Server CPU 9000", "cpu_features", "AVX2 AVX512 AVX512-BF16", "architecture",
                  "x86_64", "os", "Linux 6.1, Debian 12", "packages", 1, "cores", 8, "threads", 8, "memory_bytes",
                  (json_int_t)25769803776, "virtual_machine", 0, "noise", "cpu_ratio", 0.006, "memory_ratio", 0.021,
                  "worst_ratio", 0.034, "foreign_cpu_ratio", 0.01, "samples", 40, "load_average", 0.21);
    outcome->request = json_pack("{s:s, s:[s,s,s,s,s]}", "format", "kvat-request/1", "argv", "kvat", "tune",
                                 "qwen2.5-0.5b-q8_0.gguf", "--profile", "chat-agent");
    if (!outcome->engine || !outcome->model || !outcome->environment || !outcome->request) abort();
}

static void fill_left_out(kvat_outcome *outcome) {
    outcome->n_left_out = 2;
    outcome->left_out = zeroed(2, sizeof *outcome->left_out);
    for (size_t i = 0; i < 2; i++) {
        outcome->left_out[i].label = copy(i ? "flash-attn off, ubatch-size 4096" : "ubatch-size 4096");
        outcome->left_out[i].forecast_bytes = (int64_t)26950000000 + (int64_t)i * 700000000;
        outcome->left_out[i].reason = copy("forecast above the limit of 24.0 GiB");
    }
    outcome->skipped = (kvat_space_left_out){.lossy = 0, .unstable = 0, .constrained = 3, .equal = 8};
}

/* ---- more than one answer: made up, as if one other were best in the last cell ---- */
static double cell_gain(size_t config, size_t cell) {
    return gain_of(config) + (cell == 2 && config == 1 ? 0.075 : 0);
}

static kvat_interval about(double value, double half) {
    return (kvat_interval){value, value - half, value + half};
}

static void fill_answers(kvat_entry *entry, size_t n_cells_known) {
    entry->worst_loss = (kvat_interval){-INFINITY, NAN, NAN};
    for (size_t c = 0; c < n_cells_known; c++) {
        double gain = cell_gain(entry->config, c), loss = cell_gain(c == 2 ? 1 : 3, c) - gain;
        entry->cells[c].gain = about(gain, 0.012);
        entry->cells[c].loss = (kvat_interval){loss, loss > 0.009 ? loss - 0.009 : 0, loss + 0.009};
        entry->cells[c].p_good = loss < 0.005 ? 0.93 - 0.04 * (double)c : exp(-150 * loss);
        if (!(loss > entry->worst_loss.value)) continue;
        entry->worst_loss = entry->cells[c].loss;
        entry->worst_cell = c;
    }
    entry->p_least = entry->config == 3 ? 0.88 : 0.07;
    entry->p_front = entry->config == 3 ? 0.97 : entry->config == 5 ? 0.81 : 0.12;
    if (n_cells_known == 0) entry->worst_loss.value = entry->p_least = entry->p_front = NAN;
}

/** Entries are ranked, the default among them or not. */
static void fill_by_cell(kvat_outcome *outcome) {
    const bool works = outcome->entries[entry_of(outcome, 3)].rank > 0;
    free(outcome->winner_by_cell);
    free(outcome->front);
    outcome->winner_by_cell_n = n_cells;
    outcome->winner_by_cell = zeroed(n_cells, sizeof *outcome->winner_by_cell);
    outcome->front = zeroed(2, sizeof *outcome->front);
    outcome->n_front = works ? 2 : 0;
    for (size_t i = 0; i < n_cells; i++)
        outcome->winner_by_cell[i] = works ? entry_of(outcome, i == 2 ? 1 : 3) : SIZE_MAX;
    outcome->smallest_worst_loss = works ? entry_of(outcome, 3) : SIZE_MAX;
    for (size_t i = 0; i < outcome->n_front; i++) outcome->front[i] = entry_of(outcome, i ? 5 : 3);
    for (size_t i = 0; i < outcome->n_entries; i++)
        fill_answers(&outcome->entries[i], works && outcome->entries[i].cells ? n_cells : 0);
}

static void fill_confirmation(kvat_outcome *outcome) {
    effect e = effect_of(3);
    outcome->confirmation.pairs = n_pairs;
    outcome->confirmation.score = (kvat_interval){gain_of(3), gain_of(3) - 0.007, gain_of(3) + 0.007};
    outcome->confirmation.part[0] = (kvat_interval){e.ttft, e.ttft - 0.011, e.ttft + 0.011};
    outcome->confirmation.part[1] = (kvat_interval){e.decode, e.decode - 0.010, e.decode + 0.010};
    outcome->confirmation.part[2] = (kvat_interval){e.peak, e.peak - 0.0005, e.peak + 0.0005};
    outcome->confirmation.verdict = KVAT_VERDICT_A;
    outcome->confirmed_entry = entry_of(outcome, 3);
}

static kvat_outcome *measured_outcome(void) {
    kvat_outcome *outcome = zeroed(1, sizeof *outcome);
    outcome->profile = profile_sample();
    outcome->context_tokens = 8448;
    outcome->sequences = 1;
    outcome->engine_name = copy("llamacpp");
    outcome->model_name = copy("Qwen2.5 0.5B q8_0");
    outcome->model_file = copy("/home/someone/models/qwen2.5-0.5b-q8_0.gguf");
    outcome->created_utc = copy("2026-11-22T15:30:00Z");
    fill_machine(outcome);
    outcome->n_entries = n_configs;
    outcome->entries = zeroed(n_configs, sizeof *outcome->entries);
    for (size_t i = 0; i < n_configs; i++) outcome->entries[i] = measured_entry(i, outcome->profile);
    fail_entry(&outcome->entries[crashing], KVAT_TRIAL_CRASH, "worker ended by signal 11 (segmentation fault) in run",
               KVAT_CONFIG_UNSTABLE);
    rank_entries(outcome);
    fill_race(outcome);
    fill_left_out(outcome);
    return outcome;
}

/* ---- variants ---- */
static void decide_winner(kvat_outcome *outcome) {
    outcome->decision = KVAT_DECISION_WINNER;
    outcome->stop = KVAT_STOP_CONFIDENT;
    outcome->why = copy("Confirmed on 6 fresh pairs against the default; 97 % sure it is within 1 % of the best of 12");
    outcome->winner = outcome->best_so_far = entry_of(outcome, 3);
    outcome->default_entry = entry_of(outcome, 0);
    outcome->p_good = 0.971;
    outcome->p_best = 0.84;
    outcome->sigma = 0.0061;
    outcome->delta = 0.01;
    outcome->lossy_best = entry_of(outcome, 15);
    outcome->reference_is_default = true;
    outcome->elapsed_ns = 1125400000000;
    outcome->measured_ns = 1098000000000;
    outcome->grid_ratio = 0.342;
    outcome->failed_trials = 1;
    outcome->anchor_spread = 0.0074;
    outcome->peak_source = copy("VmHWM");
    outcome->entries[outcome->winner].standing.p_good = 0.971;
    fill_confirmation(outcome);
}

static void replace(char **text, const char *with) {
    free(*text);
    *text = copy(with);
}

static void keep_default(kvat_outcome *outcome) {
    outcome->decision = KVAT_DECISION_DEFAULT;
    outcome->winner = outcome->default_entry;
    outcome->confirmation.score = (kvat_interval){0.002, -0.006, 0.010};
    outcome->confirmation.part[0] = (kvat_interval){-0.004, -0.015, 0.007};
    outcome->confirmation.part[1] = (kvat_interval){0.001, -0.009, 0.011};
    outcome->confirmation.verdict = KVAT_VERDICT_UNDECIDED;
    replace(&outcome->why, "8 fresh pairs could not tell the leader of the search from the default; keep the default");
    outcome->confirmation.pairs = 8;
    outcome->confirmation.joined = true;
    outcome->incumbent = outcome->best_so_far;
    outcome->p_incumbent_beaten = NAN;
    outcome->incumbent_said =
        copy("The earlier winner, threads 4, gives way to the default, which it was not confirmed to beat");
}

static void leave_undecided(kvat_outcome *outcome) {
    outcome->decision = KVAT_DECISION_UNDECIDED;
    outcome->stop = KVAT_STOP_BUDGET;
    outcome->winner = outcome->default_entry;
    outcome->p_good = 0.61;
    outcome->p_best = 0.38;
    outcome->anchor_spread = 0.078;
    outcome->noisy = true;
    outcome->confirmation = (kvat_confirm_answer){0};
    outcome->confirmed_entry = SIZE_MAX;
    outcome->n_warnings = 1;
    outcome->warnings = zeroed(1, sizeof *outcome->warnings);
    outcome->warnings[0] = copy("Other processes took 31 % of the CPU during the noise probe.");
    replace(&outcome->why,
            "The time budget of 20 minutes ended at 61 % confidence; a quiet machine or --time 45m would firm it up.");
}

static void fail_everything(kvat_outcome *outcome, bool but_lossy) {
    for (size_t i = 0; i < outcome->n_entries; i++) {
        kvat_entry *entry = &outcome->entries[i];
        if (but_lossy && entry->lossy && entry->rank) continue;
        if (entry->rank == 0) continue;
        if (entry->config % 3 == 2)
            fail_entry(entry, KVAT_TRIAL_TIMEOUT, "no token within 60 s", KVAT_CONFIG_SLOW);
        else
            fail_entry(entry, KVAT_TRIAL_OOM_HOST, "out of memory: the worker was killed at 2.00 GiB",
                       KVAT_CONFIG_INFEASIBLE);
    }
    rank_entries(outcome);
    outcome->default_entry = entry_of(outcome, 0);
    outcome->confirmation = (kvat_confirm_answer){0};
    outcome->confirmed_entry = outcome->lossy_best = SIZE_MAX;
    outcome->reference_is_default = false;
    outcome->failed_trials = outcome->trials;
    outcome->p_good = outcome->p_best = 0;
    outcome->sigma = outcome->anchor_spread = outcome->grid_ratio = NAN;
    for (size_t i = 0; i < outcome->n_race; i++) {
        kvat_race_point *point = &outcome->race[i];
        if (but_lossy && levels_of(point->config).type) continue;
        point->status = KVAT_TRIAL_OOM_HOST;
        point->score = NAN;
        point->leader = SIZE_MAX;
    }
}

static void nothing_works(kvat_outcome *outcome) {
    fail_everything(outcome, false);
    outcome->decision = KVAT_DECISION_INFEASIBLE;
    outcome->stop = KVAT_STOP_INFEASIBLE;
    outcome->winner = outcome->best_so_far = SIZE_MAX;
    replace(&outcome->why, "Every configuration failed: a smaller context (--context) or model is needed.");
}

static void disturb_entry(kvat_entry *entry) {
    fail_entry(entry, KVAT_TRIAL_VOIDED, "", KVAT_CONFIG_RACING);
    free(entry->failure);
    entry->failure = NULL;
    entry->standing.failures = 0;
    for (int status = 0; status < KVAT_TRIAL_STATUS_COUNT; status++)
        entry->failures_by_status[status] = status == KVAT_TRIAL_VOIDED ? 2 : 0;
}

static void nothing_undisturbed(kvat_outcome *outcome) {
    fail_everything(outcome, false);
    for (size_t i = 0; i < outcome->n_entries; i++) disturb_entry(&outcome->entries[i]);
    for (size_t i = 0; i < outcome->n_race; i++) outcome->race[i].status = KVAT_TRIAL_VOIDED;
    outcome->failed_trials = 0;
    outcome->voided_trials = outcome->trials;
    outcome->decision = KVAT_DECISION_UNDECIDED;
    outcome->stop = KVAT_STOP_BUDGET;
    outcome->winner = outcome->best_so_far = SIZE_MAX;
    replace(&outcome->why, "not decided: the machine was too disturbed");
}

static void lose_default(kvat_outcome *outcome) {
    json_object_set_new(json_object_get(outcome->environment, "noise"), "worst_ratio", json_real(31.399));
    replace(&outcome->engine_name, "sim");
    disturb_entry(&outcome->entries[outcome->default_entry]);
    rank_entries(outcome);
    outcome->voided_trials = 2;
    outcome->default_entry = entry_of(outcome, 0);
    outcome->winner = outcome->best_so_far = outcome->confirmed_entry = entry_of(outcome, 3);
    outcome->lossy_best = entry_of(outcome, 15);
    outcome->reference_is_default = false;
    replace(&outcome->why, "Confirmed on 6 fresh pairs against the first other configuration that works");
}

static void lead_without_decision(kvat_outcome *outcome) {
    lose_default(outcome);
    outcome->decision = KVAT_DECISION_UNDECIDED;
    outcome->stop = KVAT_STOP_BUDGET;
    outcome->confirmation = (kvat_confirm_answer){0};
    outcome->confirmed_entry = SIZE_MAX;
    replace(&outcome->why, "not decided: the budget ended");
}

static void only_lossy_works(kvat_outcome *outcome) {
    fail_everything(outcome, true);
    outcome->decision = KVAT_DECISION_INFEASIBLE;
    outcome->winner = SIZE_MAX;
    outcome->best_so_far = SIZE_MAX;
    outcome->lossy_best = 0;
    replace(&outcome->why, "Only lossy configurations fit, and their quality has not been judged.");
}

static void poison_entry(kvat_entry *entry, size_t i) {
    if (i % 3 == 0) replace(&entry->label, SAMPLE_HOSTILE_TEXT);
    if (entry->failure) replace(&entry->failure, SAMPLE_HOSTILE_TEXT);
    json_object_set_new(entry->settings, "</script><img src=x onerror=alert(1)>", json_string("`id`$(id)\n-rf"));
    json_object_set_new(entry->changed, "$(id)`id`", json_string("-rf\xE2\x80\xAE</style>"));
}

static void poison(kvat_outcome *outcome) {
    replace(&outcome->model_name, SAMPLE_HOSTILE_TEXT);
    replace(&outcome->model_file, "/home/someone/-rf $(id) `id` '\n</script><img src=x onerror=alert(1)>.gguf");
    replace(&outcome->why, SAMPLE_HOSTILE_TEXT);
    outcome->incumbent_said = copy("The earlier winner, " SAMPLE_HOSTILE_TEXT ", is the answer again");
    outcome->incumbent_kept = true;
    replace(&outcome->profile->name, SAMPLE_HOSTILE_TEXT);
    replace(&outcome->peak_source, SAMPLE_HOSTILE_TEXT);
    for (size_t i = 0; i < outcome->n_entries; i++) poison_entry(&outcome->entries[i], i);
    for (size_t i = 0; i < outcome->n_left_out; i++) {
        replace(&outcome->left_out[i].label, SAMPLE_HOSTILE_TEXT);
        replace(&outcome->left_out[i].reason, SAMPLE_HOSTILE_TEXT);
    }
    json_object_set_new(json_object_get(outcome->environment, "machine"), "cpu_model",
                        json_string(SAMPLE_HOSTILE_TEXT));
    json_array_append_new(json_object_get(outcome->request, "argv"), json_string("$(id)`id`' -rf</pre><img src=x>"));
    outcome->n_warnings = 1;
    outcome->warnings = zeroed(1, sizeof *outcome->warnings);
    outcome->warnings[0] = copy(SAMPLE_HOSTILE_TEXT);
}

static void blur_entry(kvat_entry *entry) {
    kvat_interval gain = entry->standing.gain;
    entry->score_interval.low = 100 * exp(gain.value - 8.3);
    entry->score_interval.high = 100 * exp(gain.value + 8.3);
    for (size_t c = 0; entry->cells && c < n_cells; c++) {
        kvat_cell_figures *cell = &entry->cells[c];
        cell->ttft_s = (kvat_interval){cell->ttft_s.value, cell->ttft_s.value / 4000, cell->ttft_s.value * 4000};
        cell->decode_tok_per_s.high = INFINITY;
    }
}

static void blur_answers(kvat_outcome *outcome) {
    for (size_t i = 0; i < outcome->n_entries; i++) {
        kvat_entry *entry = &outcome->entries[i];
        entry->worst_loss.high = 8;
        entry->p_front = entry->p_least = NAN;
        for (size_t c = 0; entry->cells && c < n_cells; c++) {
            entry->cells[c].gain = about(entry->cells[c].gain.value, 8);
            entry->cells[c].loss.high = 8;
            entry->cells[c].p_good = NAN;
        }
    }
}

/* The peak is the same every time, whatever else the machine does. */
static void blur(kvat_outcome *outcome) {
    leave_undecided(outcome);
    outcome->p_good = outcome->p_best = 0;
    for (size_t i = 0; i < outcome->n_entries; i++)
        if (outcome->entries[i].config != 0 && outcome->entries[i].rank > 0) blur_entry(&outcome->entries[i]);
    for (size_t c = 0; c < n_cells; c++) outcome->entries[outcome->default_entry].cells[c].ttft_s.high *= 3;
    fill_confirmation(outcome);
    outcome->confirmation.pairs = 2;
    outcome->confirmation.verdict = KVAT_VERDICT_UNDECIDED;
    outcome->confirmation.score = (kvat_interval){0.05, -8.25, 8.35};
    outcome->confirmation.part[0] = (kvat_interval){-0.2, -8.5, 8.1};
    outcome->confirmation.part[1] = (kvat_interval){2.5, 0.3, 4.7};
    replace(&outcome->why,
            "2 fresh pairs could not tell the leader of the search from the default; not decided: too few "
            "runs of the 12 configurations compared to say how sure, and the budget ended");
}

static kvat_outcome *dry_outcome(kvat_outcome *outcome) {
    for (size_t i = 0; i < outcome->n_entries; i++) {
        kvat_entry *entry = &outcome->entries[i];
        fail_entry(entry, KVAT_TRIAL_OK, "", KVAT_CONFIG_UNTRIED);
        free(entry->failure);
        entry->failure = NULL;
        memset(entry->failures_by_status, 0, sizeof entry->failures_by_status);
        entry->standing.failures = 0;
    }
    free(outcome->race);
    outcome->race = NULL;
    outcome->n_race = outcome->trials = outcome->failed_trials = 0;
    outcome->winner = outcome->best_so_far = outcome->lossy_best = outcome->confirmed_entry = SIZE_MAX;
    outcome->confirmation = (kvat_confirm_answer){0};
    outcome->decision = KVAT_DECISION_UNDECIDED;
    outcome->elapsed_ns = outcome->measured_ns = 0;
    outcome->p_good = outcome->p_best = 0;
    outcome->anchor_spread = outcome->grid_ratio = outcome->sigma = NAN;
    replace(&outcome->why, "");
    return outcome;
}

const char *sample_word(sample_kind kind) {
    static const char *const words[] = {"winner", "default", "undecided", "infeasible", "only-lossy", "hostile",
                                        "dry",    "unclear", "disturbed", "no-default", "best-so-far"};
    return words[kind];
}

kvat_outcome *sample_outcome(sample_kind kind) {
    kvat_outcome *outcome = measured_outcome();
    decide_winner(outcome);
    if (kind == SAMPLE_DEFAULT) keep_default(outcome);
    if (kind == SAMPLE_UNDECIDED) leave_undecided(outcome);
    if (kind == SAMPLE_INFEASIBLE) nothing_works(outcome);
    if (kind == SAMPLE_ONLY_LOSSY) only_lossy_works(outcome);
    if (kind == SAMPLE_HOSTILE) poison(outcome);
    if (kind == SAMPLE_UNCLEAR) blur(outcome);
    if (kind == SAMPLE_DISTURBED) nothing_undisturbed(outcome);
    if (kind == SAMPLE_NO_DEFAULT) lose_default(outcome);
    if (kind == SAMPLE_BEST_SO_FAR) lead_without_decision(outcome);
    if (kind == SAMPLE_DRY) outcome = dry_outcome(outcome);
    fill_by_cell(outcome);
    if (kind == SAMPLE_UNCLEAR) blur_answers(outcome);
    return outcome;
}
