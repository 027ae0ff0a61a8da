#!/usr/bin/env python3
"""Do rates fitted from the search's bursts agree with those of whole outputs, and what do short runs save?

kvat_bench_fidelity runs every configuration both ways in pairs whose order alternates, with kvat's own code for either.
A ratio is fitted ÷ whole within a pair. What must agree for the search to be right is not the speed of a configuration
but how two of them compare, so with two configurations the ratio of their ratios is taken, too.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import BUILD, kvat_version, machine, median_interval, write_result  # noqa: E402

PROGRAM = BUILD / "bench" / "fidelity" / "kvat_bench_fidelity"
MODEL = Path(__file__).resolve().parent / "model.json"  # 8 layers of 768: a token takes some milliseconds
FIXED = ["threads-batch=1", "ubatch-size=512"]


def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The clean runs, as the program prints them."""
    environment = {**os.environ, "KVAT_DATA_DIR": str(BUILD / "share" / "kvat"), "KVAT_LIBEXEC_DIR": str(BUILD / "libexec" / "kvat")}
    command = [PROGRAM, arguments.model, "llamacpp", arguments.context, arguments.output_tokens, str(arguments.pairs)]
    runs = []
    with subprocess.Popen([*command, *arguments.settings], env=environment, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            runs.append(json.loads(line))
            print("pair {pair}, configuration {config}: {status}".format(**runs[-1]), file=sys.stderr)
    return [run for run in runs if run["status"] == "ok"]


def rate(run: dict[str, Any]) -> float:
    """Geometric mean of the decode rates over the cells, which weigh alike."""
    return math.exp(sum(math.log(cell["decode_tok_per_s"]) for cell in run["cells"]) / len(run["cells"]))


def ratio(values: list[float]) -> dict[str, float]:
    middle, low, high = median_interval(values)
    return {"median": round(middle, 4), "low": round(low, 4), "high": round(high, 4)}


def compare(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Both sides of each pair and configuration."""
    sides = {(run["config"], run["pair"], run["whole"]): run for run in runs}
    keys = sorted({(config, pair) for config, pair, _ in sides if (config, pair, True) in sides and (config, pair, False) in sides})
    result: dict[str, Any] = {"configurations": []}
    for config in sorted({config for config, _ in keys}):
        pairs = [(sides[config, pair, False], sides[config, pair, True]) for c, pair in keys if c == config]
        cells = [
            {
                "prompt_tokens": cell["prompt"],
                "output_tokens": cell["output"],
                "fitted": cell["fitted"],
                "decode_ratio": ratio([short["cells"][i]["decode_tok_per_s"] / whole["cells"][i]["decode_tok_per_s"] for short, whole in pairs]),
                "ttft_ratio": ratio([short["cells"][i]["ttft_ns"] / whole["cells"][i]["ttft_ns"] for short, whole in pairs]),
            }
            for i, cell in enumerate(pairs[0][0]["cells"])
        ]
        result["configurations"].append(
            {
                "pairs": len(pairs),
                "decode_ratio": ratio([rate(short) / rate(whole) for short, whole in pairs]),
                "run_time_ratio": ratio([short["run_ns"] / whole["run_ns"] for short, whole in pairs]),
                "cells": cells,
            }
        )
    both = [pair for config, pair in keys if config == 0 and (1, pair) in keys]
    if both:
        gains = [
            (rate(sides[1, pair, False]) / rate(sides[0, pair, False])) / (rate(sides[1, pair, True]) / rate(sides[0, pair, True]))
            for pair in both
        ]
        result["ratio_of_gains"] = ratio(gains)
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=f"synthetic:{MODEL}")
    parser.add_argument("--context", default="128,512")
    parser.add_argument("--output-tokens", default="64,128")
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("settings", nargs="*", default=[], metavar="NAME=VALUE", help="two values are two configurations")
    arguments = parser.parse_args()
    arguments.settings = arguments.settings or [*FIXED, "threads=1", "flash-attn=on,off"]
    before = machine()
    result = {
        "kvat": kvat_version(),
        "machine": before,
        "model": Path(arguments.model).name,
        "context": arguments.context,
        "output_tokens": arguments.output_tokens,
        "settings": arguments.settings,
        **compare(measure(arguments)),
        "load_average_after": machine()["load_average"],
    }
    write_result("fidelity", result)
    for i, configuration in enumerate(result["configurations"]):
        text = "fitted ÷ whole {median:.3f} ({low:.3f} to {high:.3f})".format(**configuration["decode_ratio"])
        print(f"configuration {i}: {text}, time of a run × {configuration['run_time_ratio']['median']:.3f}, {configuration['pairs']} pairs")
    if "ratio_of_gains" in result:
        print("gain of 1 over 0, fitted ÷ whole: {median:.3f} ({low:.3f} to {high:.3f})".format(**result["ratio_of_gains"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
