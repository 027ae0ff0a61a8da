#!/usr/bin/env python3
"""What settings of the Transformers worker gain over the default on a GPU.

Each configuration has a worker of its own, so that nothing is compiled or allocated anew between runs, and configurations
take turns in random order. Ratios are of runs of the same round; intervals are 95 % bootstrap intervals of the median.
Needs a CUDA device, and in KVAT_PYTHON a Python with torch and transformers. Says "not run: no GPU" without one.

    gains.py FOLDER
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import BUILD, Worker, WorkerError, machine, median_interval  # noqa: E402

PROGRAM = BUILD / "libexec" / "kvat" / "kvat-transformers"
PYTHON = os.environ.get("KVAT_PYTHON", sys.executable)
Settings = dict[str, Any]
REQUEST = ("grad_mode", "prefill_chunk_size")  # settings of request scope

GAINS: dict[str, Settings] = {
    "default": {},
    "flash, inference_mode": {"sdpa_kernel": "flash", "grad_mode": "inference_mode"},
    "static, compiled": {"cache_implementation": "static", "compile_mode": "default"},
    "static, CUDA graphs": {"cache_implementation": "static", "compile_mode": "reduce-overhead"},
}
MODELS = ("synthetic:gpt2:bfloat16", "synthetic:qwen2.5-0.5b", "synthetic:phi-1.5")  # the seeds' headline models


@dataclass
class Side:
    """A configuration in a worker of its own."""

    name: str
    worker: Worker
    settings: Settings
    facts: dict[str, Any]
    effective: Settings = field(default_factory=dict)
    prepare_s: float = 0.0
    ttft_s: list[float] = field(default_factory=list)
    tok_per_s: list[float] = field(default_factory=list)
    peak_bytes: int = 0

    def run(self, prompt: int, output: int, seed: int) -> tuple[float, float]:
        request = {name: value for name, value in self.settings.items() if name in REQUEST}
        times = self.worker.run(prompt, output, self.facts["token_low"], self.facts["token_high"], seed, request)
        return times[0] / 1e9, (output - 1) / ((times[-1] - times[0]) / 1e9)


def open_side(name: str, model: str, settings: Settings, prompt: int, output: int) -> Side | str:
    """Loaded, prepared, warm; or why it cannot be had."""
    worker = Worker(PROGRAM, {**os.environ, "KVAT_PYTHON": PYTHON})
    try:
        side = Side(name, worker, settings, worker.call("describe", model=model)["model"])
        worker.call("load", model=model, settings={})
        start = time.monotonic()
        context = {key: value for key, value in settings.items() if key not in REQUEST}
        side.effective = worker.call("prepare", settings=context, context_tokens=prompt + output, sequences=1)["effective"]
        wrong = {key: side.effective.get(key) for key, value in context.items() if side.effective.get(key) != value}
        if wrong:
            raise WorkerError(f"not in force: {wrong}")
        for seed in (101, 102):
            side.run(prompt, output, seed)
        side.prepare_s = time.monotonic() - start
        worker.call("resources", reset=True)
    except WorkerError as error:
        worker.__exit__()
        return str(error)[:300]
    return side


def open_all(stack: ExitStack, model: str, configs: dict[str, Settings], prompt: int, output: int) -> dict[str, Side | str]:
    """At once: each compiles for itself. A synthetic model is made before, by the one that is asked first."""
    with Worker(PROGRAM, {**os.environ, "KVAT_PYTHON": PYTHON}) as first:
        first.call("describe", model=model)
    with ThreadPoolExecutor(len(configs)) as pool:
        opening = {name: pool.submit(open_side, name, model, each, prompt, output) for name, each in configs.items()}
        found = {name: each.result() for name, each in opening.items()}
    for side in found.values():
        if isinstance(side, Side):
            stack.push(side.worker)
    return found


def compare(model: str, configs: dict[str, Settings], base: str, prompt: int, output: int, rounds: int) -> dict[str, Any]:
    rng, absent, sides = random.Random(5), {}, []
    with ExitStack() as stack:
        for name, side in open_all(stack, model, configs, prompt, output).items():
            print(f"{model}, {name}: {side if isinstance(side, str) else f'ready in {side.prepare_s:.1f} s'}", flush=True)
            if isinstance(side, str):
                absent[name] = side
            else:
                sides.append(side)
        for index in range(rounds):
            for side in rng.sample(sides, len(sides)):
                ttft, rate = side.run(prompt, output, index)
                side.ttft_s.append(ttft)
                side.tok_per_s.append(rate)
        for side in sides:
            devices = side.worker.call("resources")["devices"]
            side.peak_bytes = max((device["peak_bytes"] for device in devices), default=0)
    reference = next(side for side in sides if side.name == base)
    rows = []
    for side in sides:
        row = {"name": side.name, "settings": side.settings, "effective": side.effective, "prepare_s": side.prepare_s,
               "ttft_s": median_interval(side.ttft_s)[0], "peak_bytes": side.peak_bytes,
               "ttft_ratio": median_interval([a / b for a, b in zip(side.ttft_s, reference.ttft_s, strict=True)]),
               "tok_per_s": median_interval(side.tok_per_s)[0],
               "decode_ratio": median_interval([a / b for a, b in zip(side.tok_per_s, reference.tok_per_s, strict=True)])}  # fmt: skip
        rows.append(row)
        print(f"{model} {prompt}+{output}: {json.dumps(row)}", flush=True)
    return {"model": model, "prompt_tokens": prompt, "output_tokens": output, "rounds": rounds, "against": base, "rows": rows,
            "absent": absent}  # fmt: skip


def gpu() -> str | None:
    command = [PYTHON, "-c", "import torch; print(torch.cuda.get_device_name(0) if torch.cuda.is_available() else '', torch.__version__)"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return text if len(text.split()) > 1 else None


def main() -> None:
    device = gpu()
    if device is None:
        print("not run: no GPU")
        return
    result: dict[str, Any] = {"gpu": device, "machine": machine(), "gains": []}
    for model in MODELS:
        result["gains"].append(compare(model, GAINS, "default", 512, 64, 8))
        (Path(sys.argv[1]) / "transformers_gains.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
