// Prints a cell as lines of a table and as an object.
// Knows nothing of machines and searches.
#include "report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "binomial.h"

static double share(size_t k, size_t n) {
    return n > 0 ? (double)k / (double)n : NAN;
}

/* ---- for people ---- */

void report_header(void) {
    printf("%-22s %-8s  %7s %7s %6s %4s  %6s %6s %6s %6s  %5s  %5s %5s  %5s %5s  %6s %5s  %5s %6s  %7s\n",
           "configurations", "noise", "cost %", "p90", "runs", "chg", "<=1 %", "<=2 %", "mean %", "p95 %", "undec",
           "said", "seen", "same", "near", "worse", ">.5%", "cover", "error%", "CPU ms");
}

static const char *world_of(const cell *c) {
    const char *path = c->options.surface, *slash = path ? strrchr(path, '/') : NULL;
    return !path ? world_kind_names[c->options.kind] : slash ? slash + 1 : path;
}

void report_line(const cell *c) {
    const summary s = summary_of(&c->cold);
    const regrets r = regrets_of(&c->cold, OF_PICK, ALL);
    const sureness sure = sureness_of(&c->cold, c->delta, 0, 1.1, true);
    const agreement a = agreement_of(&c->cold, NULL, c->delta), kept = agreement_of(&c->cold, &c->kept, c->delta);
    const claims cl = claims_of(&c->cold);
    printf(
        "%4zu %-17.17s %-8s  %7.2f %7.2f %6.1f %4.1f  %6.3f %6.3f %6.2f %6.2f  %5.3f  %5.3f %5.3f  %5.2f %5.2f  %6.4f "
        "%5.4f  %5.3f %+6.2f  %7.2f\n",
        c->configs, world_of(c), noise_names[c->options.noise], 100 * s.cost, 100 * s.cost_p90, s.trials, s.changes,
        share(r.within_1pct, r.n), share(r.within_2pct, r.n), 100 * r.mean, 100 * r.p95, share(s.n - s.decided, s.n),
        sure.said, share(sure.good, sure.n), share(a.same, a.n), share(a.near, a.n), share(s.worse, s.n),
        share(s.much_worse, s.n), share(cl.claimed_covered, cl.claimed), 100 * cl.error, s.cpu_ms);
    if (kept.n > 0)
        printf("     with the first answer stored: same %.3f, within delta %.3f\n", share(kept.same, kept.n),
               share(kept.near, kept.n));
    if (s.infeasible > 0) printf("     nothing works: said %zu times of %zu\n", s.infeasible, s.n);
    for (size_t p = 0; p < PEER_COUNT; p++) {
        for (size_t t = 0; t < c->options.n_times; t++) {
            const regrets pr = regrets_of(&c->peer[p][t], OF_PICK, ALL);
            const summary ps = summary_of(&c->peer[p][t]);
            if (pr.n == 0) continue;
            printf("     %-8s in %gx the time          %7.2f %7.2f %6.1f %4.1f  %6.3f %6.3f %6.2f %6.2f\n",
                   peer_names[p], c->options.times[t], 100 * ps.cost, 100 * ps.cost_p90, ps.trials, ps.changes,
                   share(pr.within_1pct, pr.n), share(pr.within_2pct, pr.n), 100 * pr.mean, 100 * pr.p95);
        }
    }
    fflush(stdout);
}

/* ---- for programs ---- */

// NaN, which JSON cannot say, becomes null.
static json_t *number(double x) {
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *count(size_t n) {
    return json_integer((json_int_t)n);
}

static json_t *of_regrets(regrets r) {
    return json_pack("{s:o,s:o,s:o,s:o,s:o}", "n", count(r.n), "within_1pct", number(share(r.within_1pct, r.n)),
                     "within_2pct", number(share(r.within_2pct, r.n)), "mean", number(r.mean), "p95", number(r.p95));
}

static json_t *of_sureness(sureness s) {
    double low, high;
    binomial_interval(&low, &high, s.good, s.n);
    return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o}", "n", count(s.n), "good", count(s.good), "said", number(s.said),
                     "seen", number(share(s.good, s.n)), "seen_low", number(low), "seen_high", number(high));
}

static json_t *of_p_good(const cell *c) {
    json_t *bins = json_array();
    for (size_t b = 0; b < SURE_BINS; b++) {
        json_t *bin = of_sureness(sureness_of(&c->cold, c->delta, sure_bins[b], sure_bins[b + 1], false));
        json_object_set_new(bin, "from", number(sure_bins[b]));
        json_array_append_new(bins, bin);
    }
    return json_pack("{s:o,s:o,s:o}", "all", of_sureness(sureness_of(&c->cold, c->delta, 0, 1.1, false)), "confident",
                     of_sureness(sureness_of(&c->cold, c->delta, 0, 1.1, true)), "bins", bins);
}

static json_t *of_agreement(agreement a) {
    return json_pack("{s:o,s:o,s:o}", "n", count(a.n), "same", number(share(a.same, a.n)), "within_delta",
                     number(share(a.near, a.n)));
}

static json_t *of_gain(const claims *cl) {
    return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "confirmed", count(cl->n), "covered",
                     number(share(cl->covered, cl->n)), "claimed", count(cl->claimed), "claimed_covered",
                     number(share(cl->claimed_covered, cl->claimed)), "mean_error", number(cl->error),
                     "mean_absolute_error", number(cl->abs_error), "mean_half_width", number(cl->half_width));
}

static json_t *of_worse(const summary *s) {
    return json_pack("{s:o,s:o,s:o,s:o,s:o}", "n", count(s->n), "any", count(s->worse), "any_share_upper",
                     number(binomial_upper(s->worse, s->n, .95)), "half_pct", count(s->much_worse),
                     "half_pct_share_upper", number(binomial_upper(s->much_worse, s->n, .95)));
}

static json_t *of_peers(const cell *c) {
    json_t *peers = json_array();
    for (size_t p = 0; p < PEER_COUNT; p++) {
        for (size_t t = 0; t < c->options.n_times; t++) {
            const outcomes *o = &c->peer[p][t];
            if (o->n == 0) continue;
            const summary s = summary_of(o);
            json_array_append_new(peers, json_pack("{s:s,s:o,s:o,s:o,s:o,s:o}", "name", peer_names[p], "times",
                                                   number(c->options.times[t]), "cost_ratio", number(s.cost), "trials",
                                                   number(s.trials), "regret", of_regrets(regrets_of(o, OF_PICK, ALL)),
                                                   "worse", of_worse(&s)));
        }
    }
    return peers;
}

static void set_what(json_t *root, const cell *c, const summary *s) {
    json_object_set_new(root, "method", json_string(c->options.method ? c->options.method : "default"));
    json_object_set_new(root, "confirm", json_string(c->options.confirm));
    json_object_set_new(root, "configs", count(c->configs));
    json_object_set_new(root, "world", json_string(world_of(c)));
    json_object_set_new(root, "noise", json_string(noise_names[c->options.noise]));
    json_object_set_new(root, "worlds", count(c->options.worlds));
    json_object_set_new(root, "searches", count(s->n));
    json_object_set_new(root, "seed", json_integer((json_int_t)c->options.seed));
    json_object_set_new(root, "delta", number(c->delta));
}

json_t *report_json(const cell *c) {
    const summary s = summary_of(&c->cold);
    const claims cl = claims_of(&c->cold);
    json_t *root = json_object();
    set_what(root, c, &s);
    json_object_set_new(root, "cost_ratio",
                        json_pack("{s:o,s:o,s:o,s:o}", "mean", number(s.cost), "sd", number(s.cost_sd), "p90",
                                  number(s.cost_p90), "search_mean", number(s.search_cost)));
    json_object_set_new(root, "trials", number(s.trials));
    json_object_set_new(root, "changes", number(s.changes));
    json_object_set_new(root, "regret", of_regrets(regrets_of(&c->cold, OF_PICK, ALL)));
    json_object_set_new(root, "regret_of_leader", of_regrets(regrets_of(&c->cold, OF_LEADER, ALL)));
    json_object_set_new(root, "regret_decided", of_regrets(regrets_of(&c->cold, OF_PICK, DECIDED)));
    json_object_set_new(root, "regret_undecided", of_regrets(regrets_of(&c->cold, OF_PICK, UNDECIDED)));
    json_object_set_new(root, "exact", number(share(s.exact, s.n)));
    json_object_set_new(root, "undecided", number(share(s.n - s.decided, s.n)));
    json_object_set_new(root, "infeasible", number(share(s.infeasible, s.n)));
    json_object_set_new(root, "p_good", of_p_good(c));
    json_object_set_new(root, "twice", of_agreement(agreement_of(&c->cold, NULL, c->delta)));
    json_object_set_new(root, "twice_with_incumbent", of_agreement(agreement_of(&c->cold, &c->kept, c->delta)));
    json_object_set_new(root, "gain", of_gain(&cl));
    json_object_set_new(root, "worse_than_default", of_worse(&s));
    json_object_set_new(root, "decision_cpu_ms",
                        json_pack("{s:o,s:o}", "mean", number(s.cpu_ms), "worst", number(s.worst_cpu_ms)));
    json_object_set_new(root, "peers", of_peers(c));
    return root;
}
