"""Writes the figures of the search bench as Markdown.

Must not know how they were made. `table.py bench/results/search docs/search-figures.md`
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from results import PEERS, Cell, peer_of, pooled_bins, read, wilson

HEAD = """# Figures of the search

Made by `bench/search/table.py` from the results in `{folder}`; how worlds are made and how to repeat it stands in
[bench/README.md](../bench/README.md#search), what the words mean in [decision.md](decision.md). Every world is searched
twice. Cost is virtual time, confirmation included, as a share of a grid of five repetitions on the same machine without
noise; 90 % cost no more than what stands in brackets. δ is 1 % up to 24 configurations and 2 % beyond. Intervals are
95 % intervals of a share (Wilson); an upper bound is one-sided at 95 % (Clopper and Pearson). 10,000 are a sample drawn
of 967,680 combinations, and the best is the best of the sample. Optuna's columns are of the first few worlds of a cell
only, so that differences from the others within its interval mean nothing. Not all cells of a full run are kept here:
some were made with fewer worlds, which their number of searches shows, and some not at all.
"""


def percent(x: float | None, digits: int = 1) -> str:
    return "–" if x is None else f"{100 * x:.{digits}f} %"


def share(x: float | None) -> str:
    return "–" if x is None else f"{x:.3f}"


def share_of(x: float | None, n: int) -> str:
    if x is None or n == 0:
        return "–"
    low, high = wilson(x * n, n)
    return f"{x:.3f} ({low:.2f}–{high:.2f})"


def place(cell: Cell) -> list[str]:
    return [str(cell["configs"]), cell["world"], cell["noise"]]


def cost(cell: Cell) -> str:
    digits = 2 if cell["cost_ratio"]["mean"] < 0.05 else 1
    return f"{percent(cell['cost_ratio']['mean'], digits)} ({percent(cell['cost_ratio']['p90'], digits)})"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]
    return "\n".join(lines) + "\n"


def quality(cells: list[Cell]) -> str:
    head = ["configurations", "world", "noise", "searches", "cost", "runs", "changes", "P(regret ≤ 1 %)", "P(regret ≤ 2 %)"]
    rows = []
    for c in cells:
        r = c["regret"]
        right = "says so " + share(c["infeasible"]) if c["world"] == "broken" else None
        rows.append(
            place(c)
            + [str(c["searches"]), cost(c), f"{c['trials']:.0f}", f"{c['changes']:.1f}"]
            + [right or share_of(r["within_1pct"], r["n"]), "–" if right else share_of(r["within_2pct"], r["n"])]
            + ["–" if right else f"{percent(r['mean'], 2)} / {percent(r['p95'], 2)}"]
            + ["–" if right else share(c["exact"])]
        )
    return table(head + ["regret, mean / 95th percentile", "exactly the best"], rows)


def honesty(cells: list[Cell]) -> str:
    head = ["configurations", "world", "noise", "sure of", "said", "seen", "gains printed", "covered", "mean error"]
    rows = []
    for c in cells:
        sure, gain, worse = c["p_good"]["confident"], c["gain"], c["worse_than_default"]
        rows.append(
            place(c)
            + [str(sure["n"]), share(sure["said"]), share_of(sure["seen"], sure["n"])]
            + [str(gain["claimed"]), share(gain["claimed_covered"]), percent(gain["mean_error"], 2)]
            + [f"{worse['any']} of {worse['n']}"]
            + [f"{worse['half_pct']} (below {percent(worse['half_pct_share_upper'], 2)})"]
        )
    return table(head + ["slower than the default", "… by > 0.5 %"], rows)


def undecided(cells: list[Cell]) -> str:
    head = ["configurations", "world", "noise", "undecided", "decided: P(regret ≤ 1 %)", "mean regret"]
    rows = []
    for c in cells:
        if not c["undecided"]:
            continue
        yes, no = c["regret_decided"], c["regret_undecided"]
        rows.append(
            place(c)
            + [share(c["undecided"]), share_of(yes["within_1pct"], yes["n"]), percent(yes["mean"], 2)]
            + [share_of(no["within_1pct"], no["n"]), percent(no["mean"], 2)]
        )
    return table(head + ["undecided: P(regret ≤ 1 %)", "mean regret"], rows)


def twice(cells: list[Cell]) -> str:
    head = ["configurations", "world", "noise", "same", "within δ", "first stored: same", "within δ", "CPU a run"]
    rows = []
    for c in cells:
        cold, kept, cpu = c["twice"], c["twice_with_incumbent"], c["decision_cpu_ms"]
        rows.append(
            place(c)
            + [share(cold["same"]), share(cold["within_delta"]), share(kept["same"]), share(kept["within_delta"])]
            + [f"{cpu['mean']:.2f} ms (most {cpu['worst']:.0f})"]
        )
    return table(head, rows)


def peers(cells: list[Cell], times: float) -> str:
    head = ["configurations", "world", "noise", "P(regret ≤", "kvat", *PEERS]
    rows = []
    for c in cells:
        at = "within_1pct" if c["configs"] <= 24 else "within_2pct"
        found = [peer_of(c, name, times) for name in PEERS]
        if not any(found):
            continue
        row = place(c) + [at[7] + " %)", share_of(c["regret"][at], c["regret"]["n"])]
        rows.append(row + [share_of(p["regret"][at], p["regret"]["n"]) if p else "–" for p in found])
    return table(head, rows)


def reliability(cells: list[Cell]) -> str:
    rows = [
        [f"{b['from']:.2f}", str(b["n"]), share(b["said"]), f"{b['seen']:.3f} ({b['low']:.3f}–{b['high']:.3f})"]
        for b in pooled_bins(cells)
    ]
    return table(["P_good from", "answers", "said", "seen"], rows)


def document(cells: list[Cell], folder: str, plots: list[str]) -> str:
    plain = [c for c in cells if c["world"] == "plain"]
    other = [c for c in cells if c["world"] != "plain"]
    working = [c for c in cells if c["world"] != "broken"]
    parts = [HEAD.format(folder=folder), "## What is found, and what it costs\n", quality(plain)]
    parts += ["## Other worlds\n", quality(other)] if other else []
    parts += ["## Whether what is said is true\n", honesty(working)]
    parts += ["What P_good said of the search's leader and how often it was within δ, over all cells:\n"]
    parts += [reliability(working), *[f"![{p}]({p})\n" for p in plots if "reliability" in p]]
    parts += ["## Where the answer is “undecided”\n", undecided(working)]
    parts += ["## The same answer twice\n", twice(working)]
    for times in (1, 3):
        title = "as much time as kvat took in the same world" if times == 1 else "three times that"
        parts += [f"## Others, in {title}\n", peers(cells, times)]
    parts += [f"![{p}]({p})\n" for p in plots if "peers" in p]
    return "\n".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    cells = read(options.folder)
    if not cells:
        print(f"no results in {options.folder}", file=sys.stderr)
        return 1
    plots = [name for name in ("search-reliability.svg", "search-peers.svg") if (options.out.parent / name).exists()]
    options.out.write_text(document(cells, str(options.folder), plots))
    return 0


if __name__ == "__main__":
    sys.exit(main())
