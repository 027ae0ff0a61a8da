#!/usr/bin/env python3
"""Runs the Python kvat 0.1.4 with its own API, in its own environment: MODEL FOLDER CELLS → JSON on standard output.

Its command line ends in an error of its report after the search, so the search is called as that command line does.
"""

from __future__ import annotations

import contextlib
import json
import sys


def main() -> None:
    with contextlib.redirect_stdout(sys.stderr):
        from kvat.core.profiles import create_custom_profile
        from kvat.core.schema import DeviceType, TuneConfig
        from kvat.core.search import TuningSearch
        from kvat.engines.transformers import TransformersAdapter

        cells = json.loads(sys.argv[3])
        weights = cells["weights"]
        profile = create_custom_profile(
            "cells", cells["context"], cells["output_tokens"], warmup_runs=cells["warmup"], measurement_runs=cells["runs"],
            weight_ttft=weights["ttft"], weight_throughput=weights["decode"], weight_memory=weights["memory"],
        )  # fmt: skip
        config = TuneConfig(model_id=sys.argv[1], device=DeviceType.CPU, profile=profile, output_dir=sys.argv[2])
        result = TuningSearch(config=config, adapter=TransformersAdapter()).run()
    best = result.best_config
    rows = [
        {
            "cache": each.candidate.cache_strategy.value, "attention": each.candidate.attention_backend.value,
            "prompt_tokens": each.context_length, "output_tokens": each.output_length,
            "score": each.score, "ttft_ms": each.ttft_mean_ms, "tok_per_s": each.throughput_mean,
            "runs": len(each.runs), "failed": [run.error for run in each.runs if run.error],
        }
        for each in result.all_results
    ]  # fmt: skip
    json.dump({"cache": best.cache_strategy.value, "attention": best.attention_backend.value, "score": result.best_score,
               "confidence": result.confidence, "rows": rows}, sys.stdout)  # fmt: skip


if __name__ == "__main__":
    main()
