#!/usr/bin/env python3
"""kvat beside the Python kvat 0.1.4: the same model folder, the same four configurations, the same cells, in turns.

Each side is a whole process, from its start to its decision. The peer runs as often as its default profile, chat-agent, has it:
two runs to warm up and five that count, for each cell and configuration; `--quick` takes one cell, one run and two, as its ci-micro
does. What is right is found by a long run of the four configurations in random order through kvat's worker: rounds in which each
runs once, compared in pairs within rounds, each round in a process of its own. Results of earlier runs are kept; `--long-run-only`
repeats the long run of the last one kept and judges its answers by that.

    compare.py --python PYTHON_OF_THE_WORKER --peer PYTHON_OF_THE_PEER [--kind gpt2 --kind qwen2.5-0.5b] [--quick] [--rounds 8]
               [--long-run-only]
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
from common import BUILD, KVAT, RESULTS, Worker, kvat_version, machine, median_interval, write_result  # noqa: E402

HERE = Path(__file__).resolve().parent
WORKER = BUILD / "libexec" / "kvat" / "kvat-transformers"
ATTENTION = {"eager": "eager", "sdpa_math": "sdpa"}  # on a CPU the peer's "sdpa_math" is plain sdpa
CONFIGS = [(cache, attention) for cache in ("dynamic", "static") for attention in ("eager", "sdpa")]
KNOBS = ("cache_implementation", "attn_implementation")
WEIGHTS = {"ttft": 0.5, "decode": 0.35, "memory": 0.15}  # of chat-agent on both sides
QUICK = {"context": [512], "output_tokens": [32], "warmup": 1, "runs": 2}
AS_CHAT = {"output_tokens": [16, 32, 64], "warmup": 2, "runs": 5}
CHAT = {"gpt2": {"context": [128, 256, 512], **AS_CHAT}, "qwen2.5-0.5b": {"context": [128, 256], **AS_CHAT}}
Config = tuple[str, str]
Cells = dict[str, Any]
Answers = dict[str, list[dict[str, Any]]]  # of each side


def environment(python: str) -> dict[str, str]:
    return {**os.environ, "KVAT_PYTHON": python, "HF_HUB_OFFLINE": "1"}


def timed(command: list[str], env: dict[str, str], codes: tuple[int, ...]) -> tuple[float, str]:
    start = time.monotonic()
    done = subprocess.run(command, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode not in codes:
        raise RuntimeError(f"{command[:4]} ended with {done.returncode}: {done.stderr[-800:]}")
    return time.monotonic() - start, done.stdout


def ask_kvat(model: Path, out: Path, python: str, cells: Cells, budget: str) -> dict[str, Any]:
    """Exit code 6, not decided within the budget, is an answer, too. How often it runs is its own affair."""
    profile = out.with_suffix(".json")
    profile.write_text(json.dumps({"name": "cells", "context": cells["context"], "output_tokens": cells["output_tokens"],
                                   "weights": WEIGHTS}))  # fmt: skip
    command = [str(KVAT), "tune", str(model), "--engine", "transformers", "--profile", str(profile), "--time", budget,
               "--sweep", "cache_implementation=dynamic,static", "--sweep", "attn_implementation=eager,sdpa", *OTHERS,
               "--winners", "none", "--fresh", "-o", str(out), "--json"]  # fmt: skip
    seconds, text = timed(command, environment(python), (0, 6))
    answer = json.loads(text)
    plan = answer["plan"]
    return {"seconds": seconds, "exit_code": answer["exit_code"], "decision": plan["decision"], "why": plan["why"],
            "config": [plan["settings"][name] for name in KNOBS]}  # fmt: skip


# All else stays at its default; threads are PyTorch's own choice, as at the peer.
THREADS = str(len(os.sched_getaffinity(0)))
FIXED = {"sdpa_kernel": "auto", "prefill_threads": THREADS, "decode_threads": THREADS, "prefill_mkldnn": "on", "decode_mkldnn": "on",
         "grad_mode": "no_grad"}  # fmt: skip
OTHERS = [word for name, value in FIXED.items() for word in ("--set", f"{name}={value}")]


def ask_peer(model: Path, out: Path, python: str, cells: Cells) -> dict[str, Any]:
    asked = json.dumps({**cells, "weights": WEIGHTS})
    seconds, text = timed([python, str(HERE / "peer.py"), str(model), str(out), asked], environment(python), (0,))
    answer = json.loads(text)
    failed = sum(len(row["failed"]) for row in answer["rows"])
    return {"seconds": seconds, "config": [answer["cache"], ATTENTION[answer["attention"]]], "confidence": answer["confidence"],
            "score": answer["score"], "failed_runs": failed, "rows": answer["rows"]}  # fmt: skip


# ---- what is right ----


def one_run(worker: Worker, config: Config, cells: Cells, seed: int, high: int) -> tuple[float, float]:
    """Logarithms of the time to the first token and of the time a token after it, each the mean over the cells."""
    longest, outputs = max(cells["context"]), cells["output_tokens"]
    worker.call("prepare", settings=dict(zip(KNOBS, config, strict=True)), context_tokens=longest + max(outputs), sequences=1)
    worker.run(longest, 4, 0, high, seed + 1, {})
    runs = [worker.run(prompt, max(outputs), 0, high, seed, {}) for prompt in cells["context"]]
    first = statistics.fmean(math.log(times[0]) for times in runs)
    return first, statistics.fmean(math.log((times[n - 1] - times[0]) / (n - 1)) for times in runs for n in outputs)


def truth(model: Path, python: str, cells: Cells, rounds: int) -> dict[str, Any]:
    """Score of each configuration relative to the default, ln, from pairs within rounds, each in a process of its own. Without
    memory: the four hold the same cache within a per cent."""
    rng = random.Random(3)
    gains: dict[Config, list[float]] = {config: [] for config in CONFIGS}
    for index in range(rounds):
        with Worker(WORKER, environment(python)) as worker:
            high = worker.call("describe", model=str(model))["model"]["token_high"]
            worker.call("load", model=str(model), settings={})
            runs = {config: one_run(worker, config, cells, 10 * index, high) for config in rng.sample(CONFIGS, len(CONFIGS))}
        base = runs["dynamic", "sdpa"]
        for config, (ttft, token) in runs.items():
            gains[config].append(WEIGHTS["ttft"] * (base[0] - ttft) + WEIGHTS["decode"] * (base[1] - token))
    rows = []
    for config, values in gains.items():
        value, low, high_end = median_interval(values)
        rows.append({"config": list(config), "gain": math.expm1(value), "interval": [math.expm1(low), math.expm1(high_end)]})
    return {"rounds": rounds, "machine": machine(), "rows": sorted(rows, key=lambda row: -row["gain"])}


def regret(config: list[str], rows: list[dict[str, Any]]) -> float:
    """By how much the best of the long run scores higher."""
    own = next(row["gain"] for row in rows if row["config"] == config)
    return (1 + rows[0]["gain"]) / (1 + own) - 1


def judge(answers: Answers, right: dict[str, Any]) -> None:
    for side in answers.values():
        for answer in side:
            answer["regret"] = regret(answer["config"], right["rows"])


def make_model(kind: str, python: str, folder: Path) -> Path:
    subprocess.run([python, HERE / "make_model.py", kind, folder / kind], check=True, env=environment(python), stderr=subprocess.DEVNULL)
    return folder / kind


def compare(kind: str, model: Path, args: argparse.Namespace) -> dict[str, Any]:
    folder, cells = model.parent, QUICK if args.quick else CHAT[kind]
    asks = {"kvat": lambda n: ask_kvat(model, folder / f"k{n}", args.python, cells, args.time),
            "peer": lambda n: ask_peer(model, folder / f"p{n}", args.peer, cells)}  # fmt: skip
    answers: Answers = {"kvat": [], "peer": []}
    for n in range(args.repeats):
        for side in ("kvat", "peer") if n % 2 == 0 else ("peer", "kvat"):
            answers[side].append(asks[side](n))
            print(f"{kind}: {side}: {answers[side][-1]['seconds']:.1f} s, {answers[side][-1]['config']}", file=sys.stderr)
    ratios = [peer["seconds"] / own["seconds"] for own, peer in zip(answers["kvat"], answers["peer"], strict=True)]
    return {"kind": kind, "quick": args.quick, "cells": cells, "kvat": kvat_version(), "machine": machine(),
            "time_ratio": statistics.median(ratios), "time_ratios": ratios, "answers": answers}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", required=True)
    parser.add_argument("--peer", required=True)
    parser.add_argument("--kind", action="append", choices=CHAT)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--time", default="20m")
    parser.add_argument("--long-run-only", action="store_true", help="of the last answers kept, to judge them anew")
    args = parser.parse_args()
    path = RESULTS / "python_kvat.json"
    results = json.loads(path.read_text(encoding="utf-8"))["results"] if path.is_file() else []
    for kind in args.kind or CHAT:
        with tempfile.TemporaryDirectory() as folder:
            model = make_model(kind, args.python, Path(folder))
            if args.long_run_only:
                last = next((old for old in reversed(results) if (old["kind"], old["quick"]) == (kind, args.quick)), None)
                if last is None:
                    parser.error(f"no answers for {kind} are kept")
            else:
                last = compare(kind, model, args)
                results.append(last)  # earlier ones stay: which hour it was matters more than anything else
            last["truth"] = truth(model, args.python, last["cells"], args.rounds)
            judge(last["answers"], last["truth"])
        write_result("python_kvat", {"weights": WEIGHTS, "results": results})


if __name__ == "__main__":
    main()
