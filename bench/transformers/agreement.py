#!/usr/bin/env python3
"""Whether the Transformers worker's own loop takes the time that `model.generate` takes with a streamer.

Both run in this process on the same model, prompts and cache, in pairs whose order turns. Ratios are the loop's time over that of
`generate`, of the same pair; intervals are 95 % bootstrap intervals of the median. Run by a Python with torch and transformers.

    agreement.py [--model NAME] [--prompt TOKENS] [--output TOKENS] [--pairs N] [--set NAME=VALUE]…   > FILE.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "engines" / "transformers")]
from common import machine, median_interval  # noqa: E402
from kvat_transformers import sources  # noqa: E402
from kvat_transformers.__main__ import set_environment  # noqa: E402
from kvat_transformers.prompts import token_ids  # noqa: E402

WARM_PAIRS = 2
Times = tuple[float, float]  # time to the first token, median time between tokens, in milliseconds


class Clock:
    """A streamer: the time at which each token is on the host."""

    def __init__(self) -> None:
        self.times: list[int] = []

    def put(self, value: Any) -> None:
        value.tolist()
        self.times.append(time.monotonic_ns())

    def end(self) -> None:
        pass


def summary(start: int, times: list[int]) -> Times:
    return (times[0] - start) / 1e6, statistics.median(b - a for a, b in zip(times, times[1:])) / 1e6


def own(engine: Any, ids: list[int], output: int) -> Times:
    from kvat_transformers.runs import Mark

    start, measured = engine.runner.run(ids, [Mark(len(ids), output)], 0)
    return summary(start, measured[0].bursts[0].token_ns)


def generate(engine: Any, ids: list[int], output: int) -> Times:
    """As a user does it: tokens go to the device within the time. The streamer is given the prompt first."""
    import torch

    clock, start = Clock(), time.monotonic_ns()
    prompt = torch.tensor([ids], device=engine.runner.device)
    cache = engine.runner.context.cache.implementation
    with engine.runner.phase("prefill"):  # the same threads, kernel and gradient mode
        engine.model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=output, do_sample=False, eos_token_id=None,
                              pad_token_id=0, streamer=clock, disable_compile=True, cache_implementation=cache)  # fmt: skip
    return summary(start, clock.times[1:])


def compare(pairs: list[tuple[Times, Times]], seed: int) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for index, name in enumerate(("ttft", "itl")):
        mine, theirs = [a[index] for a, _ in pairs], [b[index] for _, b in pairs]
        median, low, high = median_interval([a / b for a, b in zip(mine, theirs)], seed)
        result[name] = {
            "own_ms": round(statistics.median(mine), 4), "generate_ms": round(statistics.median(theirs), 4),
            "own_over_generate": round(median, 4), "interval": [round(low, 4), round(high, 4)],
        }  # fmt: skip
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="hf:synthetic:gpt2")
    parser.add_argument("--prompt", type=int, default=256)
    parser.add_argument("--output", type=int, default=32)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="of the context; dynamic or static caches")
    asked = parser.parse_args()
    set_environment()
    import torch
    import transformers
    from kvat_transformers.engine import Engine

    transformers.logging.set_verbosity_error()
    engine = Engine(lambda: None, lambda _: None)
    effective = engine.load(asked.model, {})["effective"]
    settings = dict(word.split("=", 1) for word in asked.set)
    effective |= engine.prepare(settings, asked.prompt + asked.output, 1)["effective"]
    if effective["compile_mode"] != "none" or effective["cache_implementation"] not in ("dynamic", "static"):
        parser.error("only for dynamic or static caches that are not compiled")
    low, high = sources.tokens(engine.source)
    pairs = []
    for index in range(WARM_PAIRS + asked.pairs):
        ids = token_ids({"seed": index, "count": asked.prompt, "low": low, "high": high})
        sides = [own, generate] if index % 2 else [generate, own]
        taken = {side: side(engine, ids, asked.output) for side in sides}
        pairs.append((taken[own], taken[generate]))
    json.dump(
        {"machine": machine(), "torch": torch.__version__, "transformers": transformers.__version__, "model": asked.model,
         "effective": effective, "prompt_tokens": asked.prompt, "output_tokens": asked.output, "pairs": asked.pairs,
         **compare(pairs[WARM_PAIRS:], 1)}, sys.stdout, indent=1)  # fmt: skip
    print()


if __name__ == "__main__":
    main()
