"""Reads the results of the search bench.

Must not know how they are shown.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

NOISES = ("quiet", "desktop", "noisy", "heavy", "step", "launch", "trace")
KINDS = ("plain", "inert", "cliffs", "infeasible", "ties", "broken", "hard")
PEERS = ("optuna-tpe", "random", "halving", "grid")
Cell = dict[str, Any]


def order(cell: Cell) -> tuple[int, int, str, int]:
    kind = cell["world"] in KINDS
    return (
        KINDS.index(cell["world"]) if kind else len(KINDS),
        cell["configs"],
        cell["world"],
        NOISES.index(cell["noise"]),
    )


def read(folder: Path) -> list[Cell]:
    """Every cell, Optuna's figures among its peers."""
    cells: list[Cell] = []
    optuna: list[Cell] = []
    for path in sorted(folder.glob("*.json")):
        held = json.loads(path.read_text())
        if isinstance(held, list):
            cells += held
        else:
            optuna.append(held)
    for peer in optuna:
        for cell in cells:
            if all(cell[key] == peer[key] for key in ("configs", "world", "noise", "method")):
                cell["peers"].append(peer)
    return sorted(cells, key=order)


def peer_of(cell: Cell, name: str, times: float) -> Cell | None:
    return next((p for p in cell["peers"] if p["name"] == name and p["times"] == times), None)


def wilson(good: float, n: int) -> tuple[float, float]:
    """95 % interval of a share (E. Wilson 1927)."""
    z = 1.959963984540054
    p = good / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return middle - half, middle + half


def pooled_bins(cells: list[Cell]) -> list[dict[str, float]]:
    """What was said and seen, over cells, by how much was said."""
    out = []
    for index in range(max((len(cell["p_good"]["bins"]) for cell in cells), default=0)):
        bins = [cell["p_good"]["bins"][index] for cell in cells]
        n = sum(b["n"] for b in bins)
        if n == 0:
            continue
        good = sum(b["good"] for b in bins)
        low, high = wilson(good, n)
        said = sum(b["n"] * b["said"] for b in bins if b["n"] > 0) / n
        out.append({"from": bins[0]["from"], "n": n, "said": said, "seen": good / n, "low": low, "high": high})
    return out
