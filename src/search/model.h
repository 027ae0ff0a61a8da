// The search model: a Gaussian process over knobs for each metric, with the machine's drift in it. Not for other
// modules. Must not know what a knob means, nor what is measured next once it has said how worthwhile that is.
/*
 * A run i of configuration x_i at time t_i has score parts y_mi, m = 0 (TTFT) and 1 (decode), of which
 *
 *     cov(y_mi, y_nj) = [m = n] ( v0 + Σ_k v_mk κ_k(x_i, x_j) + Σ_kl v_mkl κ_k κ_l + v_mr [x_i = x_j] )
 *                     + c_m c_n ρ^[m≠n] Σ_τ g_τ exp(−|t_i − t_j| / τ)
 *                     + [i = j, m = n] s_m / w_mi
 *
 * κ_k is the knob's kernel: identity for names, exp(−|a − b| / (0.7 (L − 1))) for ordered levels, centred (H κ H, H = I
 * − 1/L, so that a knob says nothing of the mean) and scaled to a mean diagonal of 1 (functional ANOVA decomposition:
 * D. Duvenaud, H. Nickisch, C. Rasmussen 2011). Drift moves both metrics, in proportion to their weights c. The memory
 * part is a process of its own with fixed variances and next to no noise.
 *
 * The variances maximise the posterior under inverse-gamma priors, by minorisation–maximisation: with S the covariance,
 * α = S⁻¹y, q = αᵀKα and t = tr S⁻¹K of a component K = ∂S/∂v,
 *     v ← ( −(a + 1) + √((a + 1)² + t (q v² + 2b)) ) / t
 * is a closed-form step that, at fixed weights, never lowers it (H. Zhou, L. Hu, J. Zhou, K. Lange 2019, with the prior
 * added).
 *
 * Spikes are weighted down as under Student-t noise with ν = 4 (K. Lange, R. Little, J. Taylor 1989), by leave-one-out
 * residuals r = α_i / S⁻¹_ii: w = (ν + 1) / (ν + r² / V), V = 1/S⁻¹_ii − s/w + s, within [0.01, 1.25]. (V is the
 * variance that the residual would have at weight 1. With the weight in it, as in r² S⁻¹_ii, weights never settle.)
 *
 * Machines have calm and restless times. What drift and noise do to run i is √u_i times the usual, both in their
 * variances:
 *     e_i = ln ( (1 + Σ_j k_ij Σ_m min(z²_mj, 10) u_j) / (1 + 2 Σ_j k_ij) ),    k_ij = exp(−|t_i − t_j| / 20 s),
 * z² = r²/V as above; u_i = exp(φ e_i), and φ rises from 0 to 1 as the spread of e goes from 0.3 to 0.45. So steady
 * machines are spared the error of estimating u, and φ > 0 says that noise comes and goes; since u is then but a guess,
 * the posterior variance is multiplied by 1 + 4 φ.
 */
#ifndef KVAT_SEARCH_MODEL_H
#define KVAT_SEARCH_MODEL_H

#include "method.h"

enum {
    MODEL_METRICS = 2, // with drift and noise; memory apart
    MODEL_DRIFTS = 3,
    MODEL_PICKS = 3, // configurations a proposal
};

/* ---- small dense linear algebra: column-major, lower triangles (LAPACK) ---- */
// a = L Lᵀ, L in the lower triangle. False when it is not positive definite, or not finite.
bool kvat__factor(double *a, size_t n);
void kvat__inverse_of_factor(double *l, size_t n);                       // lower triangle of (L Lᵀ)⁻¹
void kvat__solve_factor(const double *l, size_t n, double *b);           // b ← (L Lᵀ)⁻¹ b
void kvat__solve_lower(const double *l, size_t n, double *b, size_t nb); // b ← L⁻¹ b, nb columns

void kvat__add_scaled(double *restrict y, const double *restrict x, double factor, size_t n);
double kvat__dot(const double *x, const double *y, size_t n);

/* ---- ranking ---- */
typedef struct model_rank {
    double key;
    size_t index;
} model_rank;
// Highest key first, then lowest index.
void kvat__model_rank_sort(model_rank *ranks, size_t n);

/* ---- knobs ---- */
typedef struct model_knob {
    size_t index; // into the configurations' levels
    size_t n_levels;
    size_t n_present; // levels that any configuration has
    unsigned scope;
    double *kappa; // n_levels × n_levels
} model_knob;

// Those knobs that vary, and the components of the covariance: a main effect each, pairs (a < b), the configuration's
// own.
typedef struct model_space {
    const kvat_search_config *configs;
    size_t n_configs, n_knobs, n_pairs, n_components;
    model_knob *knobs;
    double c[MODEL_METRICS]; // how drift moves the metrics
} model_space;

// Of TTFT, decode or memory in the score.
double kvat__model_weight(const kvat_search_options *options, size_t part);
kvat_status kvat__model_space_init(model_space *out, const kvat_search_options *options, kvat_error *err);
void kvat__model_space_clear(model_space *space);

static inline size_t kvat__model_level(const model_space *space, size_t config, size_t knob) {
    return space->configs[config].levels[space->knobs[knob].index];
}
static inline double kvat__model_kappa(const model_space *space, size_t knob, size_t a, size_t b) {
    const model_knob *k = &space->knobs[knob];
    return k->kappa[kvat__model_level(space, a, knob) * k->n_levels + kvat__model_level(space, b, knob)];
}
// Σ_k v_k κ_k + Σ_kl v_kl κ_k κ_l + v_r [a = b] for `n_sets` sets of variances at once.
void kvat__model_covariance(double *out, const model_space *space, const double *const *v, size_t n_sets, size_t a,
                            size_t b);
// Each component's κ, n_components of them, `stride` apart.
void kvat__model_components(double *out, size_t stride, const model_space *space, size_t a, size_t b);
// Costliest scope a change from `a` to `b` takes; 0 for none.
unsigned kvat__model_distance(const model_space *space, size_t a, size_t b);
size_t kvat__model_first_runs(const model_space *space); // of the first design

/* ---- what was measured ---- */
typedef struct model_rows {
    size_t n;
    size_t *config;
    double *time_s;                  // middle of the run
    double *part[MODEL_METRICS + 1]; // less the first run's; they add up to the score
} model_rows;
kvat_status kvat__model_rows_init(model_rows *out, const kvat__ledger *ledger, kvat_error *err);
void kvat__model_rows_clear(model_rows *rows);

/* ---- the variances, kept from one decision to the next ---- */
typedef struct model_belief {
    size_t n_components;
    double *v[MODEL_METRICS]; // of the components
    double *memory;           // of the components; fixed
    double drift[MODEL_DRIFTS], noise[MODEL_METRICS];
    double *weight[MODEL_METRICS]; // of the first n_weights runs
    double *unrest;                // of the same
    size_t n_weights;
    double restless; // φ
    size_t n_fitted; // runs at the last fit; 0: none yet
} model_belief;
kvat_status kvat__model_belief_init(model_belief *out, const model_space *space, kvat_error *err);
// Adds room for the weights of `n` runs, new ones at 1.
kvat_status kvat__model_belief_copy(model_belief *out, const model_belief *from, size_t n, kvat_error *err);
void kvat__model_belief_clear(model_belief *belief);
extern const double kvat__model_constant; // v0

// Improves `unrest` and returns φ. `surprise`: z² of both metrics, 2n; `closeness`: k packed by columns, lower
// triangle; `room` for 3n.
double kvat__model_unrest(double *unrest, const double *surprise, const double *closeness, size_t n, double *room);

/* ---- fit ---- */
typedef struct model_fit {
    size_t n;
    double *factor; // of the covariance of the runs' metrics, 2n × 2n
    double *alpha;  // S⁻¹ y, 2n
    double *memory_factor, *memory_alpha;
    double memory_noise; // variance
} model_fit;
// Improves `belief` and conditions on `rows`. KVAT_ERR_DATA when figures are too wild for a covariance.
kvat_status kvat__model_fit_make(model_fit *out, model_belief *belief, const model_space *space, const model_rows *rows,
                                 kvat_error *err);
void kvat__model_fit_clear(model_fit *fit);
// Expected standard deviation of the difference of two runs of one configuration that are `apart_s` apart: of the score
// part of each metric, of memory's, and of the score.
void kvat__model_pair_sd(double sd[MODEL_METRICS + 2], const model_space *space, const model_belief *belief,
                         const model_fit *fit, double apart_s);

/* ---- failures: a noisy-or over knob values and pairs of values, cleared by any success (J. Pearl 1988) ---- */
// P(configuration fails), 1 for those that are out or have failed without ever running clean.
kvat_status kvat__model_failures(double *p_fail, const model_space *space, const kvat__ledger *ledger, kvat_error *err);

/* ---- first design ---- */
// Up to `most` untried configurations, each the most uncertain under the prior given all before (greedy D-optimal: K.
// Chaloner, I. Verdinelli 1995), less what is likely to fail.
kvat_status kvat__model_design(size_t *picks, size_t *n, size_t most, const model_space *space,
                               const model_belief *belief, const kvat__ledger *ledger, const double *p_fail,
                               kvat_error *err);
// The untried configuration closest to the default with a level that no clean run has had yet; levels are gone through
// once, `cursor` tells how far. SIZE_MAX when there is none left.
size_t kvat__model_unseen_level(size_t *cursor, const model_space *space, const kvat__ledger *ledger);

/* ---- posterior ---- */
typedef struct model_posterior {
    size_t n;                       // of the short list
    size_t *list;                   // configurations
    double *mean;                   // of the score, less that of the first run
    double *covariance;             // n × n
    double *solved, *solved_memory; // L⁻¹ × covariance with the runs: 2 runs × n, runs × n
    double *prior;                  // variance before any run, n
} model_posterior;
// Mean score of every configuration through effect tables, O(n_configs d²).
kvat_status kvat__model_means(double *mean, const model_space *space, const model_belief *belief, const model_fit *fit,
                              const model_rows *rows, kvat_error *err);
// The configurations an answer may be among: all, or of many the 300 with the highest mean, of which 160 by mean + 2
// sd; `kept` (n_kept) always. Those with p_fail above the limit are left out.
kvat_status kvat__model_shortlist(model_posterior *out, const double *mean, const model_space *space,
                                  const model_belief *belief, const model_fit *fit, const model_rows *rows,
                                  const double *p_fail, const size_t *kept, size_t n_kept, kvat_error *err);
// The same for a given list, without its covariance.
kvat_status kvat__model_posterior_of(model_posterior *out, const size_t *list, size_t n, const model_space *space,
                                     const model_belief *belief, const model_fit *fit, const model_rows *rows,
                                     kvat_error *err);
// Variance of the difference of two members of the list.
double kvat__model_contrast(const model_posterior *posterior, const model_space *space, const model_belief *belief,
                            size_t n_runs, size_t a, size_t b);
void kvat__model_posterior_clear(model_posterior *posterior);
// Gain of configuration `a` over `b` in the score part of TTFT, decode and memory, and in the score. `room`: 7 runs.
typedef struct model_gain {
    double mean[MODEL_METRICS + 2], variance[MODEL_METRICS + 2];
} model_gain;
void kvat__model_gain(model_gain *out, double *room, size_t a, size_t b, const model_space *space,
                      const model_belief *belief, const model_fit *fit, const model_rows *rows);

/* ---- how sure ---- */
typedef struct model_draws_input {
    const model_posterior *posterior;
    const double *p_fail; // by configuration
    const bool *may_win;  // by place in the list
    size_t n_draws;
    double delta, dof;
    uint64_t seed;
} model_draws_input;
// Joint Student-t draws; in each, a configuration is absent with the probability that it fails.
kvat_status kvat__model_shares(double *p_good, double *p_best, const model_draws_input *in, kvat_error *err);

/* ---- what a visit costs ---- */
enum { MODEL_SCOPES = 4 };
typedef struct model_costs {
    double
        mean[MODEL_SCOPES + 1]; // of a run right after another: of the same configuration, then by scope of the change
} model_costs;
void kvat__model_costs_learn(model_costs *out, const model_space *space, const kvat__ledger *ledger);
double kvat__model_cost(const model_costs *costs, const model_space *space, size_t from, size_t to);

/* ---- knowledge gradient (P. Frazier, W. Powell, S. Dayanik 2009), for what it costs ---- */
typedef struct model_gradient_input {
    const model_posterior *posterior;
    const double *p_fail; // by configuration
    const bool *may_win;  // by place in the list
    double noise;         // variance of a visit's score
    const model_space *space;
    const model_costs *costs; // NULL: all the same
    size_t last;              // configuration the machine stands at
} model_gradient_input;
// The next `most` configurations, as places in the list, each chosen after the covariance has learned from those
// before. One may be chosen twice.
kvat_status kvat__model_gradient(size_t *picks, size_t *n, size_t most, const model_gradient_input *in,
                                 kvat_error *err);

/* ---- all of it together: what the results so far say ---- */
typedef struct model_view {
    size_t n_told;
    model_belief belief;
    model_fit fit;
    model_rows rows;
    model_posterior posterior;
    double *p_fail;          // by configuration
    double *p_good, *p_best; // by place in the list
    bool *may_win;           // by place in the list
    double dof;
    bool has_favourite;
    size_t favourite; // place of the highest p_good, measured or not
    bool has_leader;
    size_t leader; // the same, measured
    size_t pick;   // place; after the tie rule and the incumbent's
    bool incumbent_kept;
    double p_challenger; // that the leader beats the incumbent by more than delta; NaN where that is not known
} model_view;
// Needs a clean run or more.
kvat_status kvat__model_view_make(model_view *out, const model_space *space, const model_belief *belief,
                                  const kvat__ledger *ledger, kvat_error *err);
void kvat__model_view_clear(model_view *view);
// May be the answer: measured, feasible, and owes no run.
bool kvat__model_ready(const kvat__ledger *ledger, size_t config);
kvat_status kvat__model_view_gains(kvat_search_standing *standing, const model_view *view, const model_space *space,
                                   const kvat__ledger *ledger, kvat_error *err);

#endif
