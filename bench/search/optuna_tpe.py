"""Optuna's TPE in the worlds of kvat_bench_search, in as much virtual time as kvat's search took in the same world.

Must not know how a world is made: it asks `kvat_bench_search --serve`. Optuna itself comes from PyPI, at the version
below, into a virtual environment in the user's cache. One cell a call; prints its figures as a JSON object.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import subprocess
import sys
import venv
import warnings
from pathlib import Path
from typing import Any

OPTUNA = "5.0.0"
FAILED_SCORE = -9.0  # of a configuration that never worked


def environment() -> Path:
    """The Python of the virtual environment, made when it is not there yet."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kvat" / "bench"
    home = cache / f"optuna-{OPTUNA}"
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / f"optuna-{OPTUNA}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "ready").exists():
            venv.create(home, clear=True, with_pip=True)
            pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", f"optuna=={OPTUNA}"]
            subprocess.run(pip, check=True, stdout=sys.stderr)
            (home / "ready").touch()
    return home / "bin" / "python"


class Bench:
    """The bench program as a lender of worlds."""

    def __init__(self, program: str) -> None:
        self.process = subprocess.Popen([program, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline() or '{"error": "the bench program has ended"}')
        if "error" in answer:
            raise RuntimeError(f"{answer['error']} (asked {request})")
        return answer

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def search(bench: Bench, world: dict[str, Any], seed: int) -> tuple[list[int], int]:
    """Lends until the budget is spent; the levels of the best mean score, and the number of runs."""
    import optuna

    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    knobs = world["knobs"]
    sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial({f"k{i}": knob["default"] for i, knob in enumerate(knobs)})
    seen: dict[tuple[int, ...], list[float]] = {}
    now, runs = 0.0, 0
    while now < world["budget_s"] and runs < 20000:
        trial = study.ask()
        levels = []
        for i, knob in enumerate(knobs):
            if knob["ordinal"]:
                levels.append(trial.suggest_int(f"k{i}", 0, knob["levels"] - 1))
            else:
                levels.append(trial.suggest_categorical(f"k{i}", list(range(knob["levels"]))))
        run = bench.ask(do="measure", levels=levels, length="short")
        now, runs = run["now_s"], runs + 1
        if run["fate"] == "ok":
            study.tell(trial, run["score"])
            seen.setdefault(tuple(levels), []).append(run["score"])
        else:  # pruned without a value: TPE takes it for the worst there is
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            seen.setdefault(tuple(levels), [])
    best = max(seen, key=lambda levels: sum(seen[levels]) / len(seen[levels]) if seen[levels] else FAILED_SCORE)
    return list(best), runs


def quantile(values: list[float], p: float) -> float:
    ordered = sorted(values)
    at = p * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])


def figures(closed: list[dict[str, Any]], runs: list[int]) -> dict[str, Any]:
    n = len(closed)
    regret = [c["regret"] for c in closed]
    return {
        "cost_ratio": sum(c["cost_ratio"] for c in closed) / n,
        "trials": sum(runs) / n,
        "regret": {
            "n": n,
            "within_1pct": sum(r <= 0.01 for r in regret) / n,
            "within_2pct": sum(r <= 0.02 for r in regret) / n,
            "mean": sum(regret) / n,
            "p95": quantile(regret, 0.95),
        },
        "worse": {
            "n": n,
            "any": sum(c["gain"] < -1e-9 for c in closed),
            "half_pct": sum(c["gain"] < -0.005 for c in closed),
        },
    }


def play(options: argparse.Namespace) -> dict[str, Any]:
    bench = Bench(options.program)
    cell = {"space": options.space, "world": options.world, "noise": options.noise, "seed": options.seed}
    if options.surface:
        cell["surface"] = options.surface
    if options.method:
        cell["method"] = options.method
    closed, runs, configs = [], [], 0
    for index in range(options.worlds):
        for repeat in (0, 1):
            world = bench.ask(do="open", index=index, repeat=repeat, times=options.times, **cell)
            levels, n = search(bench, world, 2 * index + repeat)
            closed.append(bench.ask(do="close", levels=levels))
            runs.append(n)
            configs = world["configs"]
    bench.close()
    name = Path(options.surface).name if options.surface else options.world
    return {
        "name": "optuna-tpe",
        "optuna": OPTUNA,
        "method": options.method or "default",
        "configs": configs,
        "world": name,
        "noise": options.noise,
        "worlds": options.worlds,
        "seed": options.seed,
        "times": options.times,
        **figures(closed, runs),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", help="kvat_bench_search")
    parser.add_argument("--space", type=int, default=24)
    parser.add_argument("--world", default="plain")
    parser.add_argument("--surface", help="the world of a kvat-surface/1 file instead")
    parser.add_argument("--noise", default="desktop")
    parser.add_argument("--method", help="of the library, for the time to spend")
    parser.add_argument("--worlds", type=int, default=10, help="each is searched twice")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--times", type=float, default=1.0, help="of kvat's time")
    parser.add_argument("--json", help="write there instead of to standard output")
    options = parser.parse_args()
    try:
        import optuna

        here = optuna.__version__ == OPTUNA
    except ImportError:
        here = False
    if not here:
        python = str(environment())
        os.execv(python, [python, *sys.argv])
    text = json.dumps(play(options), indent=1) + "\n"
    if options.json:
        part = Path(options.json + ".part")
        part.write_text(text)
        part.rename(options.json)
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
