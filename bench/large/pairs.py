#!/usr/bin/env python3
"""The winners of several runs of kvat beside each other and beside the default: the same model, workload and machine.

    bench/large/pairs.py synthetic:qwen2.5-0.5b short/best_plan.json long/best_plan.json [--rounds 16]

Each round runs every configuration once, in a fresh process, in an order of its own; a ratio is of two runs of one
round. Score is kvat's, of the plans' profile: exp(w_d ln decode - w_t ln TTFT - w_m ln peak memory).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import WORKER, Worker, kvat_version, machine, median_interval, write_result  # noqa: E402

WARM_UP = {"prompt_tokens": 128, "output_tokens": 4, "weight": 0}


@dataclass(frozen=True)
class Job:
    """What every run has in common."""

    model: str
    knobs: dict[str, dict[str, Any]]
    cells: list[dict[str, Any]]
    context_tokens: int
    token_low: int
    token_high: int


def by_scope(job: Job, settings: dict[str, Any], scope: str) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if job.knobs[name]["scope"] == scope}


def environment_of(job: Job, settings: dict[str, Any]) -> tuple[list[str], dict[str, str]]:
    """Arguments and environment that settings of process scope are given by."""
    arguments, environment = [], dict(os.environ)
    for name, value in by_scope(job, settings, "process").items():
        how = job.knobs[name].get("apply", {})
        if value == job.knobs[name]["default"]:
            continue
        if "env" in how:
            environment[how["env"]] = str(value)
        else:
            arguments += [how["arg"], str(value)]
    return arguments, environment


def run_once(job: Job, settings: dict[str, Any], seed: int) -> dict[str, float]:
    """One run in a fresh process: logarithms of seconds, tokens a second and bytes, means over the cells by weight."""
    arguments, environment = environment_of(job, settings)
    result = {"ttft": 0.0, "decode": 0.0}
    with Worker(WORKER, environment, *arguments) as worker:
        worker.call("load", model=job.model, settings=by_scope(job, settings, "model"))
        worker.call("resources", reset=True)
        context, request = by_scope(job, settings, "context"), by_scope(job, settings, "request")
        worker.call("prepare", settings=context, context_tokens=job.context_tokens, sequences=1)
        for i, cell in enumerate([WARM_UP, *job.cells]):
            prompt, output = cell["prompt_tokens"], cell["output_tokens"]
            times = worker.run(prompt, output, job.token_low, job.token_high, seed + i, request)
            result["ttft"] += cell["weight"] * math.log(times[0] / 1e9)
            result["decode"] += cell["weight"] * math.log((len(times) - 1) / ((times[-1] - times[0]) / 1e9))
        result["memory"] = math.log(worker.call("resources")["host"]["peak_bytes"])
    return result


def score_of(run: dict[str, float], weights: dict[str, float]) -> float:
    return weights["decode"] * run["decode"] - weights["ttft"] * run["ttft"] - weights["memory"] * run["memory"]


def ratios(runs: dict[str, list[dict[str, float]]], a: str, b: str, weights: dict[str, float]) -> dict[str, Any]:
    """Medians over rounds of a ÷ b, with 95 % intervals."""
    out: dict[str, Any] = {}
    for name in ("score", "ttft", "decode", "memory"):
        pairs = zip(runs[a], runs[b], strict=True)
        of = (lambda run: score_of(run, weights)) if name == "score" else (lambda run, name=name: run[name])
        median, low, high = median_interval([of(x) - of(y) for x, y in pairs])
        out[name] = [round(math.exp(x), 4) for x in (median, low, high)]
    return out


def read_job(model: str, plan: dict[str, Any]) -> Job:
    with Worker(WORKER, dict(os.environ)) as worker:
        described = worker.call("describe", model=model, measuring=False)
    cells = plan["profile"]["cells"]
    total = sum(cell["weight"] for cell in cells)
    cells = [{**cell, "weight": cell["weight"] / total} for cell in cells]
    knobs = {knob["name"]: knob for knob in described["knobs"]}
    facts = described["model"]
    return Job(model, knobs, cells, plan["context_tokens"], facts["token_low"], facts["token_high"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("plans", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--name", default="large")
    args = parser.parse_args()
    if args.rounds < 2:
        parser.error("--rounds: at least 2, of which a spread can be told")
    plans = {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in args.plans}
    if len(plans) != len(args.plans) or "default" in plans:
        parser.error("plans are named by their folders, which must differ from each other and from 'default'")
    first = next(iter(plans.values()))
    for name, plan in plans.items():
        if plan["profile"] != first["profile"] or plan["context_tokens"] != first["context_tokens"]:
            raise SystemExit(f"{name}: another workload than that of {args.plans[0].parent.name}")
        if any(cell["sequences"] != 1 for cell in plan["profile"]["cells"]):
            raise SystemExit(f"{name}: only cells of one sequence can be paired")
    job = read_job(args.model, first)
    settings = {"default": {name: knob["default"] for name, knob in job.knobs.items()}}
    settings |= {name: plan["settings"] for name, plan in plans.items()}
    before = machine()
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in settings}
    for n in range(args.rounds):
        order = list(settings)
        random.Random(n).shuffle(order)
        for name in order:
            runs[name].append(run_once(job, settings[name], 1000 * n))
        print(f"round {n + 1} of {args.rounds}", file=sys.stderr)
    weights = first["profile"]["weights"]
    names = list(settings)
    result = {
        "what": "score, TTFT, decode rate and peak memory, first divided by second: median, low, high",
        "kvat": kvat_version(),
        "machine": before,
        "model": args.model,
        "rounds": args.rounds,
        "plans": {name: {k: plan[k] for k in ("label", "decision", "confidence")} for name, plan in plans.items()},
        "ratios": {f"{a} / {b}": ratios(runs, a, b, weights) for i, b in enumerate(names) for a in names[i + 1 :]},
        "sd": {name: round(statistics.stdev(score_of(r, weights) for r in each), 4) for name, each in runs.items()},
    }
    write_result(args.name, result)
    print(json.dumps(result["ratios"], indent=1))


if __name__ == "__main__":
    main()
