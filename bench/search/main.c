// kvat_bench_search: searches over thousands of simulated machines; text on stderr, JSON on stdout. Without options the
// race and the confirmation, whose figures are to be compared between versions; with options any method, space and
// noise (compare.h). Knows the library by its public headers alone.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "compare.h"
#include "world.h"

#ifndef WORLDS
#define WORLDS 1000
#endif
enum { SHORT_TOKENS = 32, FULL_TOKENS = 256, GRID_REPETITIONS = 5 };

typedef struct tally {
    double worlds, grid_s, grid_good, race_s, confirm_s, trials, good, regret, exact, said, confident, budget;
    double confident_good, confident_said, sigma;
    double claims, covered, claim_error, width, slower, confirmed, decisions, decision_s;
    double regrets[WORLDS], costs[WORLDS];
} tally;

static double cpu_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static bool measure(kvat_search *search, world *w, const kvat_search_trial *trial) {
    const double start = w->now_s;
    kvat_search_result result = {.trial = *trial, .fate = KVAT_FATE_OK};
    result.score = world_run(w, trial->config, SHORT_TOKENS, NULL);
    result.started_ns = (int64_t)(start * 1e9);
    result.cost_ns = (int64_t)((w->now_s - start) * 1e9);
    return kvat_search_tell(search, &result, NULL) == KVAT_OK;
}

static bool race(kvat_search_answer *answer, kvat_search *search, world *w, tally *t) {
    for (;;) {
        const kvat_search_trial *trials;
        size_t n;
        const double before = cpu_s();
        if (kvat_search_propose(&trials, &n, search, NULL) != KVAT_OK) return false;
        t->decision_s += cpu_s() - before;
        t->decisions++;
        if (n == 0) return kvat_search_answer_get(answer, search, NULL) == KVAT_OK;
        for (size_t i = 0; i < n; i++) {
            if (!measure(search, w, &trials[i])) return false;
        }
    }
}

static bool confirm(kvat_confirm_answer *answer, world *w, size_t config) {
    const kvat_confirm_options options = KVAT_CONFIRM_OPTIONS_INIT;
    kvat_confirm *c;
    kvat_confirm_trial trial;
    if (kvat_confirm_new(&c, &options, NULL) != KVAT_OK) return false;
    bool ok = true;
    while (ok && kvat_confirm_propose(&trial, c)) {
        double part[3];
        const double score = world_run(w, trial.side == 0 ? config : 0, FULL_TOKENS, part);
        ok = kvat_confirm_tell(c, &trial, true, score, part, NULL) == KVAT_OK;
    }
    *answer = kvat_confirm_answer_get(c);
    kvat_confirm_free(c);
    return ok;
}

static void count_race(tally *t, const world *w, const kvat_search_answer *answer, size_t i) {
    const double regret = w->score[w->best] - w->score[answer->leader];
    const bool good = regret <= .01;
    t->regrets[i] = regret;
    t->regret += regret;
    t->good += good;
    t->exact += answer->leader == w->best;
    t->said += answer->p_good;
    t->trials += (double)answer->trials;
    t->sigma += answer->sigma;
    t->budget += answer->stop == KVAT_STOP_BUDGET;
    if (answer->stop != KVAT_STOP_CONFIDENT) return;
    t->confident++;
    t->confident_good += good;
    t->confident_said += answer->p_good;
}

static void count_confirmation(tally *t, const world *w, const kvat_confirm_answer *c, size_t config) {
    const double truth = w->score[config] - w->score[0];
    t->confirmed++;
    t->covered += c->score.low <= truth && truth <= c->score.high;
    t->claim_error += c->score.value - truth;
    t->width += c->score.high - c->score.value;
    t->claims += c->verdict == KVAT_VERDICT_A;
    t->slower += c->verdict == KVAT_VERDICT_A && truth < -.005;
}

static bool try_world(tally *t, size_t i, world_noise noise) {
    world w;
    kvat_search *search = NULL;
    if (!world_init(&w, 1000 + i, noise, 0)) return false;
    t->grid_good += w.score[w.best] - w.score[world_grid(&w, GRID_REPETITIONS, FULL_TOKENS)] <= .01;
    t->grid_s += w.now_s;
    world_restart(&w, 1);

    kvat_search_options options = KVAT_SEARCH_OPTIONS_INIT;
    options.seed = i;
    options.configs = w.configs;
    options.n_configs = WORLD_CONFIGS;
    kvat_search_answer answer;
    bool ok = kvat_search_new(&search, &options, NULL) == KVAT_OK && race(&answer, search, &w, t) && answer.has_leader;
    if (ok) {
        count_race(t, &w, &answer, i);
        const double raced = w.now_s;
        kvat_confirm_answer c;
        t->race_s += raced;
        if (answer.leader != 0) {
            ok = confirm(&c, &w, answer.leader);
            if (ok) count_confirmation(t, &w, &c, answer.leader);
        }
        t->confirm_s += w.now_s - raced;
        t->costs[i] = w.now_s;
        t->worlds++;
    }
    kvat_search_free(search);
    world_clear(&w);
    return ok;
}

static void print_text(const tally *t, world_noise noise) {
    const double n = t->worlds;
    fprintf(
        stderr,
        "%-8s race %5.1f %% + confirmation %4.1f %% of the grid (p90 %5.1f %%), %5.1f trials  P(regret <= 1 %%) %.3f "
        "(grid %.3f)  mean regret %.2f %% p95 %.2f %%  exact %.2f\n",
        world_noise_names[noise], 100 * t->race_s / t->grid_s, 100 * t->confirm_s / t->grid_s,
        100 * kvat_quantile(t->costs, WORLDS, .9) * n / t->grid_s, t->trials / n, t->good / n, t->grid_good / n,
        100 * t->regret / n, 100 * kvat_quantile(t->regrets, WORLDS, .95), t->exact / n);
    fprintf(
        stderr,
        "         P_good said %.3f seen %.3f  when confident (%.2f) said %.3f seen %.3f  budget %.2f  sigma %.2f %%\n",
        t->said / n, t->good / n, t->confident / n, t->confident_said / t->confident, t->confident_good / t->confident,
        t->budget / n, 100 * t->sigma / n);
    fprintf(stderr,
            "         confirmed %.0f: claimed %.3f, covered %.3f, half width %.2f %%, mean error %+.2f %%, claims "
            "slower by "
            "> 0.5 %%: %.0f; %.2f ms CPU a decision\n",
            t->confirmed, t->claims / t->confirmed, t->covered / t->confirmed, 100 * t->width / t->confirmed,
            100 * t->claim_error / t->confirmed, t->slower, 1e3 * t->decision_s / t->decisions);
}

static void print_json(const tally *t, world_noise noise) {
    const double n = t->worlds;
    printf(
        "%s{\"noise\":\"%s\",\"worlds\":%.0f,\"race_cost_ratio\":%.4f,\"cost_ratio\":%.4f,\"trials\":%.2f,"
        "\"regret_within_1pct\":%.4f,\"grid_regret_within_1pct\":%.4f,\"mean_regret\":%.6f,\"exact\":%.4f,"
        "\"p_good_said\":%.4f,\"p_good_seen\":%.4f,\"confident\":%.4f,\"confident_said\":%.4f,\"confident_seen\":%.4f,"
        "\"claimed\":%.4f,\"covered\":%.4f,\"mean_error\":%.6f,\"slower_claims\":%.0f,\"decision_cpu_ms\":%.4f}",
        noise ? ",\n " : "[", world_noise_names[noise], n, t->race_s / t->grid_s,
        (t->race_s + t->confirm_s) / t->grid_s, t->trials / n, t->good / n, t->grid_good / n, t->regret / n,
        t->exact / n, t->said / n, t->good / n, t->confident / n, t->confident_said / t->confident,
        t->confident_good / t->confident, t->claims / t->confirmed, t->covered / t->confirmed,
        t->claim_error / t->confirmed, t->slower, 1e3 * t->decision_s / t->decisions);
}

static int race_everywhere(void) {
    for (world_noise noise = 0; noise < NOISE_COUNT; noise++) {
        tally *t = calloc(1, sizeof *t);
        if (!t) return 1;
        for (size_t i = 0; i < WORLDS; i++) {
            if (!try_world(t, i, noise)) {
                fprintf(stderr, "world %zu of %s noise could not be run\n", i, world_noise_names[noise]);
                free(t);
                return 1;
            }
        }
        print_text(t, noise);
        print_json(t, noise);
        free(t);
    }
    printf("]\n");
    return 0;
}

static int usage(void) {
    fprintf(stderr, "usage: kvat_bench_search [--method race|model] [--space 24|480|1440|4800] [--noise KIND[,KIND…]]\n"
                    "                         [--worlds N] [--seed N] [--confirm joined|pairs|none] [--trace FILE]\n"
                    "noise: quiet, desktop, noisy, heavy, step, trace\n");
    return 2;
}

static bool read_option(compare_options *o, const char *name, const char *value) {
    if (strcmp(name, "--method") == 0)
        o->method = value;
    else if (strcmp(name, "--space") == 0)
        o->space = strtoul(value, NULL, 10);
    else if (strcmp(name, "--noise") == 0)
        o->noises = value;
    else if (strcmp(name, "--worlds") == 0)
        o->worlds = strtoul(value, NULL, 10);
    else if (strcmp(name, "--seed") == 0)
        o->seed = strtoul(value, NULL, 10);
    else if (strcmp(name, "--confirm") == 0)
        o->confirm = value;
    else if (strcmp(name, "--trace") == 0)
        o->trace = value;
    else
        return false;
    return true;
}

int main(int argc, char **argv) {
    if (argc == 1) return race_everywhere();
    compare_options options = COMPARE_OPTIONS_INIT;
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc || !read_option(&options, argv[i], argv[i + 1])) return usage();
    }
    return compare_all(&options) ? 0 : 1;
}
