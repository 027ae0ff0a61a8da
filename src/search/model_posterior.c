// The posterior of the score: means of every configuration, and jointly of the few that an answer may be among.
// Knows nothing of decisions.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

enum { LIST_WHOLE = 300, LIST_BY_MEAN = 300, LIST_LENGTH = 160, PARTS = MODEL_METRICS + 1 };
static const double FAILS_SURELY = .85, SPREAD = 2, LEAST_VARIANCE = 1e-9, NUGGET = 1e-8;

static void sets_of(const double *v[PARTS], const model_belief *belief) {
    v[0] = belief->v[0];
    v[1] = belief->v[1];
    v[2] = belief->memory;
}

static const double *alpha_of(const model_fit *fit, size_t part) {
    return part < MODEL_METRICS ? fit->alpha + part * fit->n : fit->memory_alpha;
}

/* ---- means of all, through effect tables ---- */

// table[a] = Σ_runs Σ_parts v κ(a, level of the run) α, for main effect `knob`; `held` has room for its levels.
static void main_table(double *table, double *held, size_t knob, const model_space *space, const double *const *v,
                       const model_fit *fit, const model_rows *rows) {
    const model_knob *k = &space->knobs[knob];
    const size_t n = k->n_levels;
    memset(held, 0, n * sizeof *held);
    for (size_t part = 0; part < PARTS; part++) {
        const double *alpha = alpha_of(fit, part);
        for (size_t r = 0; r < rows->n; r++)
            held[kvat__model_level(space, rows->config[r], knob)] += v[part][knob] * alpha[r];
    }
    for (size_t a = 0; a < n; a++) {
        table[a] = 0;
        for (size_t b = 0; b < n; b++) table[a] += k->kappa[a * n + b] * held[b];
    }
}

// table[a, b] for the pair's interaction: κ_a H κ_b, H the α's gathered by their runs' levels.
static void pair_table(double *table, double *held, size_t pair, size_t ka, size_t kb, const model_space *space,
                       const double *const *v, const model_fit *fit, const model_rows *rows) {
    const model_knob *a = &space->knobs[ka], *b = &space->knobs[kb];
    const size_t na = a->n_levels, nb = b->n_levels;
    double *half = held + na * nb;
    memset(held, 0, 2 * na * nb * sizeof *held);
    for (size_t part = 0; part < PARTS; part++) {
        const double *alpha = alpha_of(fit, part), weight = v[part][space->n_knobs + pair];
        for (size_t r = 0; r < rows->n; r++) {
            const size_t config = rows->config[r];
            held[kvat__model_level(space, config, ka) * nb + kvat__model_level(space, config, kb)] += weight * alpha[r];
        }
    }
    for (size_t i = 0; i < na; i++) {
        for (size_t k = 0; k < na; k++) kvat__add_scaled(half + i * nb, held + k * nb, a->kappa[i * na + k], nb);
    }
    for (size_t i = 0; i < na; i++) {
        for (size_t j = 0; j < nb; j++) table[i * nb + j] = kvat__dot(half + i * nb, b->kappa + j * nb, nb);
    }
}

static size_t largest_table(const model_space *space) {
    size_t most = 1;
    for (size_t k = 0; k < space->n_knobs; k++)
        most = space->knobs[k].n_levels > most ? space->knobs[k].n_levels : most;
    return most * most;
}

static void add_mains(double *mean, double *table, double *held, const model_space *space, const double *const *v,
                      const model_fit *fit, const model_rows *rows) {
    for (size_t k = 0; k < space->n_knobs; k++) {
        main_table(table, held, k, space, v, fit, rows);
        for (size_t i = 0; i < space->n_configs; i++) mean[i] += table[kvat__model_level(space, i, k)];
    }
}

static void add_pairs(double *mean, double *table, double *held, const model_space *space, const double *const *v,
                      const model_fit *fit, const model_rows *rows) {
    size_t pair = 0;
    for (size_t k = 0; k < space->n_knobs; k++) {
        for (size_t l = k + 1; l < space->n_knobs; l++, pair++) {
            const size_t width = space->knobs[l].n_levels;
            pair_table(table, held, pair, k, l, space, v, fit, rows);
            for (size_t i = 0; i < space->n_configs; i++)
                mean[i] += table[kvat__model_level(space, i, k) * width + kvat__model_level(space, i, l)];
        }
    }
}

kvat_status kvat__model_means(double *mean, const model_space *space, const model_belief *belief, const model_fit *fit,
                              const model_rows *rows, kvat_error *err) {
    const size_t most = largest_table(space);
    const double *v[PARTS];
    double *tables = calloc(3 * most, sizeof *tables);
    if (!tables) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate effect tables");
    sets_of(v, belief);
    double constant = 0;
    for (size_t part = 0; part < PARTS; part++) {
        for (size_t r = 0; r < rows->n; r++) constant += kvat__model_constant * alpha_of(fit, part)[r];
    }
    for (size_t i = 0; i < space->n_configs; i++) mean[i] = constant;
    add_mains(mean, tables, tables + most, space, v, fit, rows);
    add_pairs(mean, tables, tables + most, space, v, fit, rows);
    for (size_t part = 0; part < PARTS; part++) {
        for (size_t r = 0; r < rows->n; r++)
            mean[rows->config[r]] += v[part][space->n_components - 1] * alpha_of(fit, part)[r];
    }
    free(tables);
    return KVAT_OK;
}

/* ---- jointly ---- */

static kvat_status posterior_init(model_posterior *p, size_t n, size_t n_runs, kvat_error *err) {
    *p = (model_posterior){.n = n};
    p->list = calloc(n + 1, sizeof *p->list);
    p->mean = calloc(n + 1, 2 * sizeof *p->mean);
    p->solved = calloc(n * n_runs + 1, PARTS * sizeof *p->solved);
    if (!p->list || !p->mean || !p->solved) {
        kvat__model_posterior_clear(p);
        return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the posterior of %zu configurations", n);
    }
    p->prior = p->mean + n + 1;
    p->solved_memory = p->solved + MODEL_METRICS * n * n_runs;
    return KVAT_OK;
}

void kvat__model_posterior_clear(model_posterior *p) {
    free(p->list);
    free(p->mean);
    free(p->covariance);
    free(p->solved);
    *p = (model_posterior){0};
}

static double prior_covariance(const model_space *space, const double *const *v, size_t a, size_t b) {
    double c[PARTS];
    kvat__model_covariance(c, space, v, PARTS, a, b);
    return PARTS * kvat__model_constant + c[0] + c[1] + c[2];
}

static void condition(model_posterior *p, const model_space *space, const double *const *v, const model_fit *fit,
                      const model_rows *rows) {
    const size_t n = rows->n;
    for (size_t j = 0; j < p->n; j++) {
        double *metrics = p->solved + 2 * n * j, *memory = p->solved_memory + n * j, c[PARTS];
        for (size_t r = 0; r < n; r++) {
            kvat__model_covariance(c, space, v, PARTS, p->list[j], rows->config[r]);
            metrics[r] = kvat__model_constant + c[0];
            metrics[n + r] = kvat__model_constant + c[1];
            memory[r] = kvat__model_constant + c[2];
        }
        p->mean[j] = kvat__dot(metrics, fit->alpha, 2 * n) + kvat__dot(memory, fit->memory_alpha, n);
        p->prior[j] = prior_covariance(space, v, p->list[j], p->list[j]);
    }
    kvat__solve_lower(fit->factor, 2 * n, p->solved, p->n);
    kvat__solve_lower(fit->memory_factor, n, p->solved_memory, p->n);
}

// What the runs explain of the covariance of places i and j.
static double explained(const model_posterior *p, size_t n_runs, size_t i, size_t j) {
    return kvat__dot(p->solved + 2 * n_runs * i, p->solved + 2 * n_runs * j, 2 * n_runs) +
           kvat__dot(p->solved_memory + n_runs * i, p->solved_memory + n_runs * j, n_runs);
}

static double variance_at(const model_posterior *p, size_t n_runs, size_t j) {
    return fmax(p->prior[j] - explained(p, n_runs, j, j), LEAST_VARIANCE);
}

kvat_status kvat__model_posterior_of(model_posterior *out, const size_t *list, size_t n, const model_space *space,
                                     const model_belief *belief, const model_fit *fit, const model_rows *rows,
                                     kvat_error *err) {
    const double *v[PARTS];
    const kvat_status status = posterior_init(out, n, rows->n, err);
    if (status != KVAT_OK) return status;
    memcpy(out->list, list, n * sizeof *list);
    sets_of(v, belief);
    condition(out, space, v, fit, rows);
    return KVAT_OK;
}

double kvat__model_contrast(const model_posterior *p, const model_space *space, const model_belief *belief,
                            size_t n_runs, size_t a, size_t b) {
    const double *v[PARTS];
    sets_of(v, belief);
    const double shared = prior_covariance(space, v, p->list[a], p->list[b]) - explained(p, n_runs, a, b);
    return fmax(variance_at(p, n_runs, a) + variance_at(p, n_runs, b) - 2 * shared, LEAST_VARIANCE);
}

// Keeps the places in `place`, ascending.
static void keep(model_posterior *p, const size_t *place, size_t m, size_t n_runs) {
    for (size_t j = 0; j < m; j++) {
        const size_t from = place[j];
        p->list[j] = p->list[from];
        p->mean[j] = p->mean[from];
        p->prior[j] = p->prior[from];
        memmove(p->solved + 2 * n_runs * j, p->solved + 2 * n_runs * from, 2 * n_runs * sizeof *p->solved);
        memmove(p->solved_memory + n_runs * j, p->solved_memory + n_runs * from, n_runs * sizeof *p->solved_memory);
    }
    p->n = m;
}

static kvat_status fill_covariance(model_posterior *p, const model_space *space, const double *const *v, size_t n_runs,
                                   kvat_error *err) {
    const size_t n = p->n;
    p->covariance = calloc(n * n + 1, sizeof *p->covariance);
    if (!p->covariance) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the covariance of %zu", n);
    for (size_t j = 0; j < n; j++) {
        for (size_t i = j; i < n; i++) {
            const double c = prior_covariance(space, v, p->list[i], p->list[j]) - explained(p, n_runs, i, j);
            p->covariance[j * n + i] = p->covariance[i * n + j] = c;
        }
        p->covariance[j * n + j] += NUGGET;
    }
    return KVAT_OK;
}

/* ---- the short list ---- */

static int by_index(const void *a, const void *b) {
    const size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

static size_t possible(model_rank *out, const model_space *space, const double *mean, const double *p_fail) {
    size_t n = 0;
    for (size_t i = 0; i < space->n_configs; i++) {
        if (p_fail[i] <= FAILS_SURELY) out[n++] = (model_rank){mean[i], i};
    }
    return n;
}

static bool contains(const size_t *list, size_t n, size_t x) {
    for (size_t i = 0; i < n; i++) {
        if (list[i] == x) return true;
    }
    return false;
}

static size_t add_kept(size_t *list, size_t n, const size_t *kept, size_t n_kept, const double *p_fail) {
    for (size_t i = 0; i < n_kept; i++) {
        if (p_fail[kept[i]] <= FAILS_SURELY && !contains(list, n, kept[i])) list[n++] = kept[i];
    }
    return n;
}

// The LIST_LENGTH with the highest mean + 2 sd, and what is to be kept.
static void shorten(model_posterior *p, model_rank *rank, size_t *place, size_t n_runs, const size_t *kept,
                    size_t n_kept) {
    for (size_t j = 0; j < p->n; j++) rank[j] = (model_rank){p->mean[j] + SPREAD * sqrt(variance_at(p, n_runs, j)), j};
    kvat__model_rank_sort(rank, p->n);
    size_t m = 0;
    for (size_t r = 0; r < p->n; r++) {
        if (r < LIST_LENGTH || contains(kept, n_kept, p->list[rank[r].index])) place[m++] = rank[r].index;
    }
    qsort(place, m, sizeof *place, by_index);
    keep(p, place, m, n_runs);
}

kvat_status kvat__model_shortlist(model_posterior *out, const double *mean, const model_space *space,
                                  const model_belief *belief, const model_fit *fit, const model_rows *rows,
                                  const double *p_fail, const size_t *kept, size_t n_kept, kvat_error *err) {
    const size_t k = space->n_configs;
    const double *v[PARTS];
    model_posterior p = {0};
    kvat_status status = KVAT_OK;
    model_rank *rank = calloc(k + n_kept, sizeof *rank);
    size_t *list = calloc(k + n_kept, sizeof *list);
    if (!rank || !list) {
        status = kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the ranking of %zu configurations", k);
        goto done;
    }
    size_t n = possible(rank, space, mean, p_fail);
    const bool whole = n <= LIST_WHOLE;
    if (!whole) kvat__model_rank_sort(rank, n);
    if (!whole) n = LIST_BY_MEAN;
    for (size_t i = 0; i < n; i++) list[i] = rank[i].index;
    n = add_kept(list, n, kept, n_kept, p_fail);
    qsort(list, n, sizeof *list, by_index);
    status = kvat__model_posterior_of(&p, list, n, space, belief, fit, rows, err);
    if (status != KVAT_OK) goto done;
    if (!whole) shorten(&p, rank, list, rows->n, kept, n_kept);
    sets_of(v, belief);
    status = fill_covariance(&p, space, v, rows->n, err);
done:
    free(rank);
    free(list);
    if (status == KVAT_OK)
        *out = p;
    else
        kvat__model_posterior_clear(&p);
    return status;
}

/* ---- the gain of one over another, part by part ---- */

void kvat__model_gain(model_gain *out, double *room, size_t a, size_t b, const model_space *space,
                      const model_belief *belief, const model_fit *fit, const model_rows *rows) {
    const size_t n = rows->n;
    const double *v[PARTS];
    double ca[PARTS], cb[PARTS], prior[PARTS], shared[PARTS];
    double *solved[PARTS + 1] = {room, room + 2 * n, room + 4 * n, room + 5 * n};
    sets_of(v, belief);
    memset(room, 0, 7 * n * sizeof *room);
    for (size_t r = 0; r < n; r++) {
        kvat__model_covariance(ca, space, v, PARTS, a, rows->config[r]);
        kvat__model_covariance(cb, space, v, PARTS, b, rows->config[r]);
        solved[0][r] = solved[3][r] = ca[0] - cb[0];
        solved[1][n + r] = solved[3][n + r] = ca[1] - cb[1];
        solved[2][r] = ca[2] - cb[2];
    }
    kvat__model_covariance(prior, space, v, PARTS, a, a);
    kvat__model_covariance(cb, space, v, PARTS, b, b);
    kvat__model_covariance(shared, space, v, PARTS, a, b);
    out->mean[3] = out->variance[3] = 0;
    for (size_t p = 0; p < PARTS; p++) {
        const size_t length = p < MODEL_METRICS ? 2 * n : n;
        const double *factor = p < MODEL_METRICS ? fit->factor : fit->memory_factor;
        out->mean[p] = kvat__dot(solved[p], p < MODEL_METRICS ? fit->alpha : fit->memory_alpha, length);
        kvat__solve_lower(factor, length, solved[p], 1);
        prior[p] += cb[p] - 2 * shared[p];
        out->variance[p] = fmax(prior[p] - kvat__dot(solved[p], solved[p], length), LEAST_VARIANCE);
        out->mean[3] += out->mean[p];
    }
    kvat__solve_lower(fit->factor, 2 * n, solved[3], 1);
    const double metrics = prior[0] + prior[1] - kvat__dot(solved[3], solved[3], 2 * n);
    out->variance[3] = fmax(metrics, LEAST_VARIANCE) + out->variance[2];
}
