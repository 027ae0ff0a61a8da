// Drives one method over many machines.
// Knows the library by its public headers alone.
#include "compare.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "figures.h"
#include "machine.h"

enum { MIN_PAIRS = 2, MAX_PAIRS = 8 };
static const double BOUND = .90, PAIR_SD = .01; // a pair's standard deviation before any is seen, worth two pairs

static double cpu_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static bool tell(kvat_search *search, machine *m, const kvat_search_trial *trial) {
    const machine_run run = machine_measure(m, trial->config);
    kvat_search_result result = {.trial = *trial, .fate = run.fate, .score = run.score};
    memcpy(result.part, run.part, sizeof result.part);
    result.started_ns = (int64_t)(run.started_s * 1e9);
    result.cost_ns = (int64_t)(run.cost_s * 1e9);
    return kvat_search_tell(search, &result, NULL) == KVAT_OK;
}

static bool run_search(outcome *o, kvat_search *search, machine *m) {
    for (;;) {
        const kvat_search_trial *trials;
        size_t n;
        const double before = cpu_s();
        if (kvat_search_propose(&trials, &n, search, NULL) != KVAT_OK) return false;
        const double spent = cpu_s() - before;
        o->cpu_s += spent;
        o->worst_cpu_s = fmax(o->worst_cpu_s, spent);
        o->decisions++;
        if (n == 0) return true;
        for (size_t i = 0; i < n; i++) {
            if (!tell(search, m, &trials[i])) return false;
        }
    }
}

static size_t clean_runs(const kvat_search_answer *a, const machine *m) {
    size_t runs = 0;
    for (size_t i = 0; i < m->n_configs; i++) runs += a->standing[i].clean_runs;
    return runs;
}

static double variance_of(const double *x, size_t n) { // n in the denominator
    double mean = kvat_mean(x, n), sum = 0;
    for (size_t i = 0; i < n; i++) sum += (x[i] - mean) * (x[i] - mean) / (double)n;
    return sum;
}

// Pairs in ABBA order until the bound of the gain is above 0. Its interval is the mean's, joined with the posterior's.
static void confirm_joined(outcome *o, machine *m, const kvat_search_answer *a) {
    const kvat_interval prior = a->standing[a->leader].gain;
    const double dof = fmax(4, (double)clean_runs(a, m) - 5);
    const double sd = (prior.high - prior.value) / kvat_student_quantile(.975, dof),
                 prior_variance = 2 * sd * sd + 1e-6;
    double difference[MAX_PAIRS], part[3], low = 0;
    for (size_t pairs = 1; pairs <= MAX_PAIRS; pairs++) {
        const size_t first = pairs % 2 ? a->leader : 0, second = pairs % 2 ? 0 : a->leader;
        const double x = machine_measure_full(m, first, part), y = machine_measure_full(m, second, part);
        difference[pairs - 1] = pairs % 2 ? x - y : y - x;
        if (pairs < MIN_PAIRS || pairs % 2) continue;
        const double n = (double)pairs, spread = variance_of(difference, pairs) * n + 2 * PAIR_SD * PAIR_SD;
        const double variance = spread / (n + 1) / n, precision = 1 / variance + 1 / prior_variance;
        const double joined = (kvat_mean(difference, pairs) / variance + prior.value / prior_variance) / precision;
        low = joined - kvat_student_quantile(BOUND, n + 1) / sqrt(precision);
        const double half = kvat_student_quantile(.975, n + 1) / sqrt(precision);
        o->claim = joined;
        o->claim_low = joined - half;
        o->claim_high = joined + half;
        if (low > 0) break;
    }
    if (low <= 0) o->pick = 0;
}

static bool confirm_by_pairs(outcome *o, machine *m, const kvat_search_answer *a) {
    const kvat_confirm_options options = KVAT_CONFIRM_OPTIONS_INIT;
    kvat_confirm *c;
    kvat_confirm_trial trial;
    if (kvat_confirm_new(&c, &options, NULL) != KVAT_OK) return false;
    bool ok = true;
    while (ok && kvat_confirm_propose(&trial, c)) {
        double part[3];
        const double score = machine_measure_full(m, trial.side == 0 ? a->leader : 0, part);
        ok = kvat_confirm_tell(c, &trial, true, score, part, NULL) == KVAT_OK;
    }
    const kvat_confirm_answer answer = kvat_confirm_answer_get(c);
    o->claim = answer.score.value;
    o->claim_low = answer.score.low;
    o->claim_high = answer.score.high;
    if (answer.verdict != KVAT_VERDICT_A) o->pick = 0;
    kvat_confirm_free(c);
    return ok;
}

static bool settle(outcome *o, machine *m, const kvat_search_answer *a, const char *how) {
    bool ok = true;
    o->pick = a->leader;
    o->claim = o->claim_low = o->claim_high = NAN;
    if (a->leader != 0 && strcmp(how, "joined") == 0) confirm_joined(o, m, a);
    if (a->leader != 0 && strcmp(how, "pairs") == 0) ok = confirm_by_pairs(o, m, a);
    o->claim_truth = m->score[a->leader] - m->score[0];
    return ok;
}

static bool search_once(outcome *o, machine *m, const compare_options *options, uint64_t seed, double delta) {
    kvat_search_options so = KVAT_SEARCH_OPTIONS_INIT;
    kvat_search *search = NULL;
    kvat_search_answer answer;
    so.method = options->method;
    so.seed = seed;
    so.configs = m->configs;
    so.n_configs = m->n_configs;
    so.n_knobs = m->n_knobs;
    so.knobs = m->knobs;
    so.delta = delta;
    bool ok = kvat_search_new(&search, &so, NULL) == KVAT_OK && run_search(o, search, m) &&
              kvat_search_answer_get(&answer, search, NULL) == KVAT_OK && answer.has_leader;
    if (ok) {
        const double grid_s = machine_grid_s(m);
        o->search_ratio = m->now_s / grid_s;
        o->trials = (double)answer.trials;
        o->p_good = answer.p_good;
        o->confident = answer.stop == KVAT_STOP_CONFIDENT || answer.stop == KVAT_STOP_ONE_LEFT;
        o->search_regret = m->score[m->best] - m->score[answer.leader];
        ok = settle(o, m, &answer, options->confirm);
        o->cost_ratio = m->now_s / grid_s;
        o->regret = m->score[m->best] - m->score[o->pick];
        o->exact = o->pick == m->best;
        o->gain = m->score[o->pick] - m->score[0];
    }
    kvat_search_free(search);
    return ok;
}

static bool search_world(figures *f, const compare_options *options, noise_kind kind, const noise_trace *trace,
                         size_t i) {
    machine m;
    bool ok = machine_init(&m, options->space, 100000 * options->seed + i);
    for (uint64_t repeat = 0; ok && repeat < 2; repeat++) {
        outcome o = {0};
        ok = machine_start(&m, kind, trace, 100000 * options->seed + i, repeat) &&
             search_once(&o, &m, options, 2 * i + repeat, f->delta) && figures_add(f, &o);
        machine_stop(&m);
    }
    machine_clear(&m);
    return ok;
}

static bool compare_under(const compare_options *options, noise_kind kind) {
    noise_trace trace = {0};
    figures f = {.delta = options->space <= 24 ? .01 : .02};
    bool ok = true;
    if (kind == ENV_TRACE && !noise_trace_read(&trace, options->trace ? options->trace : KVAT_BENCH_TRACE)) {
        fprintf(stderr, "no trace of noise in %s\n", options->trace ? options->trace : KVAT_BENCH_TRACE);
        ok = false;
    }
    for (size_t i = 0; ok && i < options->worlds; i++) {
        ok = search_world(&f, options, kind, &trace, i);
        if (!ok) fprintf(stderr, "world %zu of %s noise could not be run\n", i, noise_names[kind]);
    }
    if (ok && f.n > 0) figures_print(&f, options->method, options->space, noise_names[kind]);
    figures_clear(&f);
    noise_trace_clear(&trace);
    return ok;
}

static bool named(const char *list, const char *name) {
    const size_t length = strlen(name);
    for (const char *at = list; (at = strstr(at, name)); at += length) {
        const bool starts = at == list || at[-1] == ',', ends = at[length] == ',' || at[length] == '\0';
        if (starts && ends) return true;
    }
    return false;
}

bool compare_all(const compare_options *options) {
    bool any = false;
    for (noise_kind kind = 0; kind < ENV_COUNT; kind++) {
        if (!named(options->noises, noise_names[kind])) continue;
        any = true;
        if (!compare_under(options, kind)) return false;
    }
    if (!any) fprintf(stderr, "no such noise: %s\n", options->noises);
    return any;
}
