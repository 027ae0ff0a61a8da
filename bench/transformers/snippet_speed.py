#!/usr/bin/env python3
"""Whether optimized_config.py is as fast as its plan says: `kvat tune`, and then the file it wrote beside kvat's worker.

The file runs in a process of its own, its times taken with a streamer around its `generate`. The worker runs the plan's settings
in turns with it, on the same prompts. Ratios are of the same pair, so that a machine whose speed wanders does not decide; the
plan's own figures, of another minute, stand beside them. Intervals are 95 % bootstrap intervals of the median.

    snippet_speed.py --python PYTHON_OF_THE_WORKER [--kind gpt2 --kind qwen2.5-0.5b] [--profile NAME] [--time 8m] [--pairs 15]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "engines" / "transformers"), str(Path(__file__).resolve().parent)]
from common import BUILD, KVAT, Worker, kvat_version, machine, median_interval  # noqa: E402

WORKER = BUILD / "libexec" / "kvat" / "kvat-transformers"
MAKE_MODEL = ROOT / "bench" / "python_kvat" / "make_model.py"
DECIDED = (0, 6)  # or not within the budget: either has a plan
WARM_PAIRS = 2
Times = tuple[float, float]  # seconds to the first token, tokens a second after it


def speed(times_ns: list[int]) -> Times:
    return times_ns[0] / 1e9, (len(times_ns) - 1) / ((times_ns[-1] - times_ns[0]) / 1e9)


# ---- the file, in a process of its own ----


def serve(path: str) -> None:
    """Imports the file and runs what it is asked for, a line each: {"tokens": {…}, "output": N} → nanoseconds to each token."""
    import torch
    from agreement import Clock
    from kvat_transformers.prompts import token_ids

    spec = importlib.util.spec_from_file_location("optimized_config", path)
    assert spec and spec.loader
    snippet = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(snippet)
    model, _ = snippet.load()
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        ids = torch.tensor([token_ids(asked["tokens"])])
        clock, start = Clock(), time.monotonic_ns()
        snippet.generate(model, ids, asked["output"], do_sample=False, eos_token_id=None, pad_token_id=0, streamer=clock)
        print(json.dumps([at - start for at in clock.times[1:]]), flush=True)  # the streamer is given the prompt first


class Snippet:
    """The file in its process."""

    def __init__(self, python: str, path: Path, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen([python, __file__, "--serve", path], env=environment, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
        self.answer()

    def answer(self) -> str:
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("optimized_config.py ended")
        return line

    def run(self, tokens: dict[str, int], output: int) -> Times:
        self.process.stdin.write(json.dumps({"tokens": tokens, "output": output}) + "\n")
        self.process.stdin.flush()
        return speed(json.loads(self.answer()))

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(60)


# ---- side by side ----


def tune(model: Path, out: Path, environment: dict[str, str], asked: argparse.Namespace) -> dict[str, Any]:
    command = [KVAT, "tune", model, "--engine", "transformers", "--profile", asked.profile, "--time", asked.time, "--fresh",
               "-o", out, "--json"]  # fmt: skip
    done = subprocess.run(command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode not in DECIDED:
        raise RuntimeError(f"kvat tune ended with {done.returncode}: {done.stderr[-800:]}")
    return json.loads(done.stdout)["plan"]


def compare(kind: str, asked: argparse.Namespace, folder: Path, environment: dict[str, str]) -> dict[str, Any]:
    model, out = folder / kind, folder / f"{kind}-plan"
    subprocess.run([asked.python, MAKE_MODEL, kind, model], check=True, env=environment)
    plan = tune(model, out, environment, asked)
    print(f"{kind}: {plan['decision']}, {plan['changed']}", file=sys.stderr)
    cells = []
    with Worker(WORKER, environment) as worker:
        facts = worker.call("describe", model=str(model))
        scopes = {knob["name"]: knob["scope"] for knob in facts["knobs"]}
        settings = {scope: {k: v for k, v in plan["settings"].items() if scopes[k] == scope} for scope in set(scopes.values())}
        worker.call("load", model=str(model), settings=settings.get("model", {}))
        worker.call("prepare", settings=settings.get("context", {}), context_tokens=plan["context_tokens"], sequences=1)
        low, high = facts["model"]["token_low"], facts["model"]["token_high"]
        snippet = Snippet(asked.python, out / "optimized_config.py", environment)
        for cell in plan["figures"]["cells"]:
            prompt, output = cell["prompt_tokens"], cell["output_tokens"]
            pairs = []
            for index in range(WARM_PAIRS + asked.pairs):
                sides = {
                    "worker": lambda: speed(worker.run(prompt, output, low, high, index, settings.get("request", {}))),
                    "snippet": lambda: snippet.run({"seed": index, "count": prompt, "low": low, "high": high}, output),
                }
                order = ["worker", "snippet"] if index % 2 else ["snippet", "worker"]
                pairs.append({side: sides[side]() for side in order})
            cells.append(summary(cell, pairs[WARM_PAIRS:]))
            print(f"{kind} {prompt}+{output}: {json.dumps(cells[-1])}", file=sys.stderr)
        snippet.close()
    return {"kind": kind, "decision": plan["decision"], "settings": plan["settings"], "changed": plan["changed"],
            "noise": plan["environment"]["noise"], "cells": cells}  # fmt: skip


def summary(cell: dict[str, Any], pairs: list[dict[str, Times]]) -> dict[str, Any]:
    """Ratios are the file over the worker; `of_plan` the file over the plan's figure."""
    result: dict[str, Any] = {"prompt_tokens": cell["prompt_tokens"], "output_tokens": cell["output_tokens"], "pairs": len(pairs)}
    for index, name in enumerate(("ttft_s", "decode_tok_per_s")):
        median = statistics.median(pair["snippet"][index] for pair in pairs)
        ratio, low, high = median_interval([pair["snippet"][index] / pair["worker"][index] for pair in pairs])
        result[name] = {"plan": cell[name]["value"], "snippet": median, "worker": statistics.median(pair["worker"][index] for pair in pairs),
                        "ratio": ratio, "interval": [low, high], "of_plan": median / cell[name]["value"]}  # fmt: skip
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--serve", metavar="FILE", help=argparse.SUPPRESS)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--kind", action="append")
    parser.add_argument("--profile", default="ci-micro")
    parser.add_argument("--time", default="8m")
    parser.add_argument("--pairs", type=int, default=15)
    asked = parser.parse_args()
    if asked.serve:
        serve(asked.serve)
        return
    environment = {**os.environ, "KVAT_PYTHON": asked.python, "HF_HUB_OFFLINE": "1"}
    result: dict[str, Any] = {"kvat": kvat_version(), "machine": machine(), "profile": asked.profile, "results": []}
    with tempfile.TemporaryDirectory() as folder:
        for kind in asked.kind or ["gpt2", "qwen2.5-0.5b"]:
            result["results"].append(compare(kind, asked, Path(folder), environment))
    json.dump(result, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
