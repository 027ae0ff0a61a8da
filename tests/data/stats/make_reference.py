#!/usr/bin/env python3
"""Writes reference.h beside itself: values from SciPy and NumPy that the tests of src/stats are held against.

    pip install numpy scipy && python3 make_reference.py

The anchored fit is computed here the slow way, by a pseudo-inverse of the information matrix, with the same weights.
"""
import pathlib

import numpy as np
import scipy
from scipy import stats
from scipy.stats import mstats


def number(x):
    return "NAN" if np.isnan(x) else repr(float(x))


def array(values):
    return "{" + ", ".join(number(v) if isinstance(v, (float, np.floating)) else str(int(v)) for v in values) + "}"


def table(name, fields, rows):
    members = "; ".join(f"double {f}" for f in fields)
    body = ",\n    ".join("{" + ", ".join(number(v) for v in row) + "}" for row in rows)
    return f"static const struct {{\n    {members};\n}} {name}[] = {{\n    {body},\n}};\n"


def distributions():
    dofs = [0.5, 1, 2, 3, 4.5, 7, 23, 100, 1000, 1e6]
    cdf = [(t, d, stats.t.cdf(t, d)) for d in dofs for t in (-40, -6, -2.5, -1, -1e-3, 0, 0.3, 1, 3.2, 12)]
    ppf = [(p, d, stats.t.ppf(p, d)) for d in dofs for p in (1e-9, 1e-4, 0.005, 0.025, 0.3, 0.5, 0.6, 0.95, 0.995, 1 - 1e-7)]
    normal = [(p, stats.norm.ppf(p)) for p in (1e-300, 1e-12, 1e-5, 0.001, 0.025, 0.2, 0.5, 0.6, 0.84, 0.975, 1 - 1e-6)]
    return [
        table("student_cdf", ["t", "dof", "p"], cdf),
        table("student_quantile", ["p", "dof", "t"], ppf),
        table("normal_quantile", ["p", "z"], normal),
    ]


def samples(rng):
    """Order statistics and intervals of samples of several sizes, the last with ties and an outlier."""
    out = []
    sets = [rng.normal(5, 2, n) for n in (1, 2, 3, 4, 8, 11, 30)]
    sets.append(np.array([1, 1, 1, 2, 2, 3, 900.0]))
    for i, x in enumerate(sets):
        out.append(f"static const double sample_{i}[] = {array(x)};\n")
    rows = []
    for i, x in enumerate(sets):
        n = len(x)
        sd = np.std(x, ddof=1) if n > 1 else np.nan
        q = [np.quantile(x, p, method="linear") for p in (0.05, 0.5, 0.95)]
        t = stats.t.interval(0.95, n - 1, np.mean(x), stats.sem(x)) if n > 1 else (np.nan, np.nan)
        trimmed, center = (np.nan, np.nan), np.nan
        if n >= 4:  # one value off each end
            center = stats.trim_mean(x, 1 / n + 1e-9)
            winsorised = np.asarray(mstats.winsorize(x, limits=(1 / n + 1e-9, 1 / n + 1e-9)))
            kept = n - 2  # Tukey and McLaughlin: SciPy's own trimmed_stde divides by kept / sqrt(n), which is narrower
            error = np.sqrt((n - 1) * np.var(winsorised, ddof=1) / (kept * (kept - 1)))
            trimmed = stats.t.interval(0.9, kept - 1.5, center, error)  # half a degree less: see stats.h
        values = [np.mean(x), sd, *q, *t, center, *trimmed]
        rows.append(f"{{sample_{i}, {n}, " + ", ".join(number(float(v)) for v in values) + "}")
    fields = "mean, sd, q05, q50, q95, low, high, trimmed, trimmed_low, trimmed_high"
    out.append(
        f"static const struct {{\n    const double *x;\n    size_t n;\n    double {fields};\n}} samples[] = {{\n    "
        + ",\n    ".join(rows) + ",\n};\n"
    )
    return out


def groups_of(arm, chunk):
    """Arms linked by shared chunks, numbered by their lowest arm."""
    label = {a: a for a in np.unique(arm)}
    changed = True
    while changed:
        changed = False
        for c in np.unique(chunk):
            members = set(arm[chunk == c])
            low = min(label[a] for a in members)
            for a in members:
                if label[a] != low:
                    label[a], changed = low, True
    roots = sorted(set(label.values()))
    return {a: roots.index(g) for a, g in label.items()}


def fit(y, arm, chunk, floor):
    n, used, chunks = len(y), np.unique(arm), np.unique(chunk)
    p, q = len(used), len(chunks)
    ai, ci = np.searchsorted(used, arm), np.searchsorted(chunks, chunk)
    group = groups_of(arm, chunk)
    spare = n - p - q + len(set(group.values()))
    dof = max(1, spare)
    w = np.ones(n)
    for _ in range(8):
        counts = np.zeros((p, q))
        np.add.at(counts, (ai, ci), w)
        information = np.diag(counts.sum(1)) - counts @ np.diag(1 / counts.sum(0)) @ counts.T
        inverse = np.linalg.pinv(information, rcond=1e-10, hermitian=True)
        sums = np.bincount(ai, w * y, p), np.bincount(ci, w * y, q)
        estimate = inverse @ (sums[0] - counts @ (sums[1] / counts.sum(0)))
        effect = (sums[1] - counts.T @ estimate) / counts.sum(0)
        residual = y - estimate[ai] - effect[ci]
        scale = max(1.4826 * np.median(np.abs(residual)) * np.sqrt(n / dof), floor)
        z = np.abs(residual) / scale
        w = np.where(z <= 1.8, 1, 1.8 / np.maximum(z, 1e-300))
    sigma = max(np.sqrt((w * residual**2).sum() / dof), scale)
    return used, estimate, inverse * sigma**2, sigma, spare, [group[a] for a in used]


def layout(name, n_arms, chunks, rng, noise=0.01, spikes=(), floor=1e-4):
    arm = np.concatenate([np.array(c) for c in chunks])
    chunk = np.concatenate([np.full(len(c), i) for i, c in enumerate(chunks)])
    y = rng.normal(0, 0.1, n_arms)[arm] + rng.normal(0, 0.2, len(chunks))[chunk] + rng.normal(0, noise, len(arm))
    for i in spikes:
        y[i] -= 0.4
    used, estimate, covariance, sigma, spare, group = fit(y, arm, chunk, floor)
    full = np.full(n_arms, np.nan)
    full[used] = estimate
    cov = np.full((n_arms, n_arms), np.nan)
    cov[np.ix_(used, used)] = covariance
    groups = np.full(n_arms, -1)
    groups[used] = group
    text = [
        f"static const double {name}_y[] = {array(y)};\n",
        f"static const size_t {name}_arm[] = {array(arm)};\n",
        f"static const size_t {name}_chunk[] = {array(chunk)};\n",
        f"static const double {name}_estimate[] = {array(full)};\n",
        f"static const double {name}_covariance[] = {array(cov.ravel())};\n",
        f"static const int {name}_group[] = {array(groups)};\n",
    ]
    row = (
        f'{{"{name}", {name}_y, {name}_arm, {name}_chunk, {name}_estimate, {name}_covariance, {name}_group, {len(y)}, '
        f"{n_arms}, {len(chunks)}, {spare}, {number(sigma)}, {number(floor)}}}"
    )
    return text, row


def anchored(rng):
    def passes(n_arms, n_passes, size):
        out = []
        for _ in range(n_passes):
            order = 1 + rng.permutation(n_arms - 1)
            for i in range(0, len(order), size):
                chunk = list(order[i : i + size])
                chunk.insert(int(rng.integers(0, len(chunk) + 1)), 0)
                out.append(chunk)
        return out

    duels = passes(5, 2, 4) + [[0, 1], [1, 0], [2, 0], [0, 1], [0, 2], [1, 0], [0, 1]]
    cases = [
        layout("two_passes", 12, passes(12, 2, 4), rng, spikes=(7,)),
        layout("three_passes_spiky", 9, passes(9, 3, 3), rng, spikes=(2, 17, 25)),
        layout("duels", 5, duels, rng, spikes=(12,)),
        layout("one_pass", 7, passes(7, 1, 3), rng),
        layout("two_groups", 8, [[0, 1, 2], [2, 1, 0], [4, 5], [5, 4, 6], [6, 4]], rng),
        layout("arm_twice_in_a_chunk", 3, [[0, 1, 1, 0], [2, 1, 0, 0], [0, 2, 2, 0]], rng),
        layout("no_noise", 4, passes(4, 3, 3), rng, noise=0),
    ]
    members = (
        "    const char *name;\n    const double *y;\n    const size_t *arm, *chunk;\n    const double *estimate, *covariance;\n"
        "    const int *group;\n    size_t n, n_arms, n_chunks, residual_dof;\n    double sigma, floor;\n"
    )
    out = [line for text, _ in cases for line in text]
    out.append(f"static const struct layout {{\n{members}}} layouts[] = {{\n    " + ",\n    ".join(r for _, r in cases) + ",\n};\n")
    return out


def main():
    rng = np.random.default_rng(20240607)
    head = (
        "/* Made by make_reference.py with SciPy "
        f"{scipy.__version__} and NumPy {np.__version__}; not edited by hand. */\n"
        "#include <math.h>\n#include <stddef.h>\n\n"
    )
    text = head + "".join(distributions() + samples(rng) + anchored(rng))
    (pathlib.Path(__file__).parent / "reference.h").write_text("/* clang-format off */\n" + text)


if __name__ == "__main__":
    main()
