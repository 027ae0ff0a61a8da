#!/usr/bin/env python3
"""kvat beside the Python kvat 0.1.4: the same model folder, the same four configurations, the same cell, in turns.

Each side is a whole process, from its start to its decision. What is right is found by a long run of the four
configurations in random order through kvat's worker: rounds in which each runs once, compared in pairs within rounds.

    compare.py --python PYTHON_OF_THE_WORKER --peer PYTHON_OF_THE_PEER [--kind gpt2 --kind qwen2.5-0.5b] [--rounds 12]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import BUILD, KVAT, Worker, kvat_version, machine, median_interval, write_result  # noqa: E402

HERE = Path(__file__).resolve().parent
WORKER = BUILD / "libexec" / "kvat" / "kvat-transformers"
ATTENTION = {"eager": "eager", "sdpa_math": "sdpa"}  # on a CPU the peer's "sdpa_math" is plain sdpa
CONFIGS = [(cache, attention) for cache in ("dynamic", "static") for attention in ("eager", "sdpa")]
KNOBS = ("cache_implementation", "attn_implementation")
PROMPT, OUTPUT = 512, 32
Config = tuple[str, str]


def environment(python: str) -> dict[str, str]:
    return {**os.environ, "KVAT_PYTHON": python, "HF_HUB_OFFLINE": "1"}


def timed(command: list[str], env: dict[str, str], codes: tuple[int, ...]) -> tuple[float, str]:
    start = time.monotonic()
    done = subprocess.run(command, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode not in codes:
        raise RuntimeError(f"{command[:4]} ended with {done.returncode}: {done.stderr[-800:]}")
    return time.monotonic() - start, done.stdout


def ask_kvat(model: Path, out: Path, python: str, budget: str) -> dict[str, Any]:
    """Exit code 6, not decided within the budget, is an answer, too."""
    command = [str(KVAT), "tune", str(model), "--engine", "transformers", "--profile", "ci-micro", "--time", budget,
               "--sweep", "cache_implementation=dynamic,static", "--sweep", "attn_implementation=eager,sdpa", *OTHERS,
               "--winners", "none", "--fresh", "-o", str(out), "--json"]  # fmt: skip
    seconds, text = timed(command, environment(python), (0, 6))
    answer = json.loads(text)
    plan = answer["plan"]
    return {"seconds": seconds, "exit_code": answer["exit_code"], "decision": plan["decision"], "why": plan["why"],
            "config": [plan["settings"][name] for name in KNOBS]}  # fmt: skip


# All else stays at its default.
OTHERS = [word for name, value in (("sdpa_kernel", "auto"), ("prefill_mkldnn", "on"), ("decode_mkldnn", "on"), ("grad_mode", "no_grad"))
          for word in ("--set", f"{name}={value}")]  # fmt: skip


def ask_peer(model: Path, out: Path, python: str) -> dict[str, Any]:
    seconds, text = timed([python, str(HERE / "peer.py"), str(model), str(out)], environment(python), (0,))
    answer = json.loads(text)
    failed = sum(len(row["failed"]) for row in answer["rows"])
    return {"seconds": seconds, "config": [answer["cache"], ATTENTION[answer["attention"]]], "confidence": answer["confidence"],
            "score": answer["score"], "failed_runs": failed, "rows": answer["rows"]}  # fmt: skip


# ---- what is right ----


def weights() -> dict[str, float]:
    """Of the profile, without memory: the four hold the same cache within a per cent."""
    done = subprocess.run([KVAT, "profiles", "--json"], capture_output=True, text=True, check=True)
    return next(profile["weights"] for profile in json.loads(done.stdout)["profiles"] if profile["name"] == "ci-micro")


def one_run(worker: Worker, config: Config, seed: int, high: int) -> tuple[float, float]:
    """Logarithms of the time to the first token and of the time a token after it."""
    worker.call("prepare", settings=dict(zip(KNOBS, config, strict=True)), context_tokens=PROMPT + OUTPUT, sequences=1)
    worker.run(PROMPT, 4, 0, high, seed + 1, {})
    times = worker.run(PROMPT, OUTPUT, 0, high, seed, {})
    return math.log(times[0]), math.log((times[-1] - times[0]) / (OUTPUT - 1))


def truth(model: Path, python: str, rounds: int) -> dict[str, Any]:
    """Score of each configuration relative to the default, ln, from pairs within rounds."""
    w, rng = weights(), random.Random(3)
    gains: dict[Config, list[float]] = {config: [] for config in CONFIGS}
    with Worker(WORKER, environment(python)) as worker:
        high = worker.call("describe", model=str(model))["model"]["token_high"]
        worker.call("load", model=str(model), settings={})
        for index in range(rounds):
            runs = {config: one_run(worker, config, 10 * index, high) for config in rng.sample(CONFIGS, len(CONFIGS))}
            base = runs["dynamic", "sdpa"]
            for config, (ttft, token) in runs.items():
                gains[config].append(w["ttft"] * (base[0] - ttft) + w["decode"] * (base[1] - token))
    rows = []
    for config, values in gains.items():
        value, low, high_end = median_interval(values)
        rows.append({"config": list(config), "gain": math.expm1(value), "interval": [math.expm1(low), math.expm1(high_end)]})
    return {"rounds": rounds, "rows": sorted(rows, key=lambda row: -row["gain"])}


def regret(config: list[str], rows: list[dict[str, Any]]) -> float:
    """By how much the best of the long run scores higher."""
    own = next(row["gain"] for row in rows if row["config"] == config)
    return (1 + rows[0]["gain"]) / (1 + own) - 1


def compare(kind: str, args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    model = folder / kind
    subprocess.run([args.python, HERE / "make_model.py", kind, model], check=True, env=environment(args.python))
    asks = {"kvat": lambda n: ask_kvat(model, folder / f"k{n}", args.python, args.time),
            "peer": lambda n: ask_peer(model, folder / f"p{n}", args.peer)}  # fmt: skip
    answers: dict[str, list[dict[str, Any]]] = {"kvat": [], "peer": []}
    for n in range(args.repeats):
        for side in ("kvat", "peer") if n % 2 == 0 else ("peer", "kvat"):
            answers[side].append(asks[side](n))
            print(f"{kind}: {side}: {answers[side][-1]['seconds']:.1f} s, {answers[side][-1]['config']}", file=sys.stderr)
    right = truth(model, args.python, args.rounds)
    for side in answers.values():
        for answer in side:
            answer["regret"] = regret(answer["config"], right["rows"])
    ratios = [peer["seconds"] / own["seconds"] for own, peer in zip(answers["kvat"], answers["peer"], strict=True)]
    return {"kind": kind, "time_ratio": statistics.median(ratios), "time_ratios": ratios, **answers, "truth": right}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", required=True)
    parser.add_argument("--peer", required=True)
    parser.add_argument("--kind", action="append")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--time", default="20m")
    args = parser.parse_args()
    result = {"kvat": kvat_version(), "machine": machine(), "profile": "ci-micro", "results": []}
    with tempfile.TemporaryDirectory() as folder:
        for kind in args.kind or ["gpt2", "qwen2.5-0.5b"]:
            result["results"].append(compare(kind, args, Path(folder)))
    result["machine_after"] = machine()
    write_result("python_kvat", result)


if __name__ == "__main__":
    main()
