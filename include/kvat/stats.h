/**
 * @file stats.h
 * Estimators, posteriors and random numbers. Pure; nothing here knows what is being measured.
 *
 * Arrays are borrowed; `n` counts elements; matrices are row-major and dense. Functions that cannot fail on valid input
 * return values; an invalid call (n = 0, p outside (0,1)) returns NaN.
 */
#ifndef KVAT_STATS_H
#define KVAT_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvat/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- random numbers: xoshiro256** (D. Blackman, S. Vigna 2018), seeded through SplitMix64 ---- */
typedef struct kvat_rng {
    uint64_t state[4];
    double spare; /**< second normal of a Box–Muller pair */
    int has_spare;
} kvat_rng;
KVAT_EXTERN void kvat_rng_seed(kvat_rng *rng, uint64_t seed);
/** A stream of its own for each (seed, a, b): for draws that must not depend on the order of calls. */
KVAT_EXTERN void kvat_rng_seed3(kvat_rng *rng, uint64_t seed, uint64_t a, uint64_t b);
KVAT_EXTERN uint64_t kvat_rng_next(kvat_rng *rng);
KVAT_EXTERN double kvat_rng_uniform(kvat_rng *rng);             /**< in (0, 1) */
KVAT_EXTERN uint64_t kvat_rng_below(kvat_rng *rng, uint64_t n); /**< unbiased, n ≥ 1 */
KVAT_EXTERN double kvat_rng_normal(kvat_rng *rng);
KVAT_EXTERN double kvat_rng_chi_square(kvat_rng *rng, double dof); /**< Marsaglia–Tsang gamma, dof > 0 */
KVAT_EXTERN void kvat_rng_shuffle(kvat_rng *rng, size_t *items, size_t n);

/* ---- order statistics (inputs are not changed; may allocate, NaN without memory) ---- */
KVAT_EXTERN double kvat_mean(const double *x, size_t n);
KVAT_EXTERN double kvat_sd(const double *x, size_t n);                 /**< n − 1 in the denominator; NaN for n < 2 */
KVAT_EXTERN double kvat_quantile(const double *x, size_t n, double p); /**< Hyndman–Fan type 7 */
KVAT_EXTERN double kvat_median(const double *x, size_t n);

/** A level that one disturbance of a sequence cannot move: the values in their order in seven blocks of equal size (or
 * one each of five or six), those with the smallest and the largest mean left out, the mean of the rest (batch means
 * after R. Conway 1963, trimmed after J. Tukey and D. McLaughlin 1963). A mean of what is left and not a median, so
 * that an uneven sequence has the level of its sum. Under five values it is their mean. `at` is the mean index of what
 * was kept, at which a trend has this level exactly. NaN for n = 0 or a value that is NaN. */
typedef struct kvat_level {
    double value, at;
} kvat_level;
KVAT_EXTERN kvat_level kvat_level_of(const double *values, size_t n);

/** Least squares through points, and the standard error of the slope: NaN for n < 3, the slope too without two
 * different x. */
typedef struct kvat_line {
    double slope, slope_error;
} kvat_line;
KVAT_EXTERN kvat_line kvat_line_of(const double *x, const double *y, size_t n);
/** Slope of H. Theil (1950) and P. K. Sen (1968): the median of the slopes between every two points of different x, so
 * that over a quarter of the points may be anything. NaN without two such points or without memory. */
KVAT_EXTERN double kvat_theil_sen_slope(const double *x, const double *y, size_t n);

/* ---- distributions ---- */
KVAT_EXTERN double kvat_student_cdf(double t, double dof);
KVAT_EXTERN double kvat_student_quantile(double p, double dof);
KVAT_EXTERN double kvat_normal_quantile(double p);

/** Mean of paired differences with its two-sided Student interval at `level` (0.95). n ≥ 2. */
typedef struct kvat_interval {
    double value, low, high;
} kvat_interval;
KVAT_EXTERN kvat_interval kvat_paired_interval(const double *differences, size_t n, double level);
/** Trimmed mean with the interval of J. Tukey and D. McLaughlin (1963): `trim` values are dropped at each end, the
 * variance is that of the values winsorised, with n − 2·trim − 1 degrees of freedom, less half a one when any are
 * trimmed: without it the interval misses the truth of normal samples of 6 to 12 up to a fifth more often than said (by
 * simulation, trim = 1). n − 2·trim ≥ 2; trim = 0 is kvat_paired_interval(). */
KVAT_EXTERN kvat_interval kvat_trimmed_interval(const double *x, size_t n, size_t trim, double level);
/** The same where something is known of the spread beforehand: a standard deviation of one value, worth `prior_dof`
 * degrees of freedom (0, or a standard deviation not above 0: nothing). With V the squared standard error of the
 * trimmed mean on ν degrees of freedom, the interval is Student's on ν₀ + ν with (ν₀ sd₀²/n + ν V) / (ν₀ + ν): the
 * posterior under a flat prior of the mean and a scaled inverse-χ² prior of the variance (A. Gelman et al., Bayesian
 * Data Analysis, section 2.6 and 3.2). n = 1 gives NaN. */
typedef struct kvat_spread_prior {
    double sd, dof;
} kvat_spread_prior;
/** A mean with its standard error on so many degrees of freedom. */
typedef struct kvat_estimate {
    double value, se, dof;
} kvat_estimate;
KVAT_EXTERN kvat_estimate kvat_informed_estimate(const double *x, size_t n, size_t trim, kvat_spread_prior prior);
/** Two independent estimates of one thing: weighted by their precision, on the degrees of freedom of F. Satterthwaite
 * (1946), 1/ν = Σ w²/ν with weights w that sum to 1. The weights are taken for known: where both have few degrees of
 * freedom the interval is too short (P. Meier 1953 gives the factor; of 4 and 6 it misses 8 % for 5 %), so a caller
 * with a standard error to spare makes one of them wider, as the confirmation does. */
KVAT_EXTERN kvat_estimate kvat_estimate_join(kvat_estimate a, kvat_estimate b);
/** Two-sided Student interval; NaN for an estimate without degrees of freedom. */
KVAT_EXTERN kvat_interval kvat_estimate_interval(kvat_estimate estimate, double level);

/** Of a quantity or ratio, which is above 0: is its wider side more than the value itself, a half-width over 100 %? The
 * truth may then as well be twice the estimate, which is no knowledge. False without an interval (NaN). */
KVAT_EXTERN bool kvat_interval_too_wide(kvat_interval interval);

/*
 * ---- anchored fit: y = arm + chunk + ε ----
 * Robust two-way fit by iteratively reweighted least squares with Huber weights (k = 1.8; P. Huber 1964), chunk effects
 * swept out: information matrix C = diag(r) − N diag(1/c) Nᵀ over arms, where N counts weights arm × chunk. Contrasts
 * of arms that share chunks (directly or through other arms) are estimable; C is inverted as a pseudo-inverse, so
 * estimates are relative to their mean.
 */
typedef struct kvat_anchored_fit {
    size_t n_arms;
    double *estimate;   /**< n_arms; NaN for an arm never observed */
    double *covariance; /**< n_arms × n_arms, σ² already in it; rows of unobserved arms are NaN */
    /** n_arms; arms of one group are linked by shared chunks, and only their contrasts mean anything; SIZE_MAX for an
     * arm never observed. */
    size_t *group;
    size_t n_groups;
    double sigma;        /**< residual scale, ≥ sigma_floor */
    double dof;          /**< ≥ 1 */
    size_t residual_dof; /**< observations not used up by arms and chunks; 0: sigma is the floor, not an estimate */
} kvat_anchored_fit;

/** `arm[i]` < n_arms, `chunk[i]` < n_chunks. KVAT_ERR_DATA for n = 0 or an index out of range. `sigma_floor` > 0 keeps
 * a lucky residual from claiming certainty. The result is cleared with kvat_anchored_fit_clear(). */
typedef struct kvat_anchored_input {
    const double *y;
    const size_t *arm;
    const size_t *chunk;
    size_t n, n_arms, n_chunks;
    double sigma_floor;
} kvat_anchored_input;
KVAT_EXTERN kvat_status kvat_anchored_fit_make(kvat_anchored_fit *out, const kvat_anchored_input *in, kvat_error *err);
KVAT_EXTERN void kvat_anchored_fit_clear(kvat_anchored_fit *fit);

/** Joint Student-t draws of arm effects: estimate + L z / sqrt(χ²_dof/dof), L the Cholesky factor of the covariance
 * (with the smallest jitter that makes it positive). `draws` is n_draws × n_arms; unobserved arms get NaN. */
KVAT_EXTERN kvat_status kvat_anchored_draws(double *draws, size_t n_draws, const kvat_anchored_fit *fit, kvat_rng *rng,
                                            kvat_error *err);

/** From `draws` (n_draws × n): how often each arm is within `delta` of the best, and how often it is the best. Only
 * arms with `may_win` (NULL: all) count as the best; the others are compared with it and have p_best 0. Either output
 * may be NULL. An arm whose draws are NaN gets 0. Without an arm that may win all are 0. */
KVAT_EXTERN void kvat_posterior_shares(double *p_good, double *p_best, const double *draws, size_t n_draws, size_t n,
                                       const bool *may_win, double delta);

/*
 * ---- runs in the order of time, several responses each: y = arm + drift(time) + ε ----
 * For runs that lie in no shared chunks, and for arms run only once: drift is a random effect, so that neighbours in
 * time tell most about each other, and nothing is left out for want of a link (recovery of inter-block information:
 * F. Yates 1940; H. Patterson and R. Thompson 1971). Of each response alone
 *     y_j = θ_arm(j) + s·later_j + u(t_j) + ε_j,   Cov(u(t), u(t')) = γσ² exp(−|t − t'| / τ),   Var ε_j = σ² / w_j
 * with a flat prior on θ, 1/σ on σ, a normal one of 10 σ on s, and sixteen pairs (γ, τ) as likely as each other. Given
 * (γ, τ) the posterior of θ is Student's with the residual degrees of freedom; the pairs are weighed by their
 * restricted likelihood |V|^-½ |XᵀV⁻¹X|^-½ RSS^(−ν/2). V is never formed: the drift is a Markov process, and one pass
 * of its Kalman filter whitens everything. w are Huber's weights (k = 1.8) on the residual of a run from all the
 * others. A run can be a spike, and of an arm that ran once nobody can tell: the draws of an arm with r runs are
 * stretched by √(4r / χ²_4r), Student's tails with four degrees of freedom a run. Responses of one run are drawn with
 * the correlation of their residuals, shrunk towards none by two degrees of freedom.
 */
typedef struct kvat_drift_input {
    const double *y;    /**< n × n_responses */
    const size_t *arm;  /**< n, each below n_arms */
    const double *time; /**< n, ascending; the unit is about the length of a run */
    const bool *later;  /**< n, of a second phase that may differ from the first by a constant; NULL: none */
    size_t n, n_arms, n_responses;
    double sigma_floor; /**< > 0 */
    size_t n_draws;
    uint64_t seed;
} kvat_drift_input;

typedef struct kvat_drift_posterior {
    size_t n_arms, n_responses, n_draws;
    double *estimate; /**< n_responses × n_arms, means over the pairs; NaN for an arm never observed */
    double *sigma;    /**< n_responses: spread of a run, drift taken out; NaN without residual_dof */
    /** n_responses × n_draws × n_arms: rows of one response can be given to kvat_posterior_shares(). NULL without
     * residual_dof: no arm was run twice, so that nothing is known of the spread. */
    double *draws;
    size_t residual_dof;
} kvat_drift_posterior;

/** KVAT_ERR_DATA for n = 0, an index out of range, a value that is not finite or times that go back. */
KVAT_EXTERN kvat_status kvat_drift_fit(kvat_drift_posterior *out, const kvat_drift_input *in, kvat_error *err);
KVAT_EXTERN void kvat_drift_posterior_clear(kvat_drift_posterior *posterior);

/* ---- several responses weighed against each other; `values` is n_rows × n of each response, as draws above ---- */

/** loss (n_rows × n): how far an arm is behind the best that may win in the response where it is furthest behind. NaN
 * where a value is, or where nothing may win. */
KVAT_EXTERN void kvat_worst_losses(double *loss, const double *values, size_t n_responses, size_t n_rows, size_t n,
                                   const bool *may_win);
/** p_front (n): share of rows in which no other arm that may win is better by more than `delta` in one response without
 * being worse by more than `delta` in another; more is better. 0 where a value of the arm is NaN. */
KVAT_EXTERN void kvat_front_shares(double *p_front, const double *values, size_t n_responses, size_t n_rows, size_t n,
                                   const bool *may_win, double delta);

#ifdef __cplusplus
}
#endif
#endif
