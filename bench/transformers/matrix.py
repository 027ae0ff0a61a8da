"""Every cache with every attention in every data type: what it gives, as one table.

Usage: python bench/transformers/matrix.py [--model synthetic:llama-tiny …] [-o matrix.json]
With the Python that has PyTorch and Transformers, and engines/transformers in PYTHONPATH.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

from kvat_transformers.engine import Engine
from kvat_transformers.runs import Mark
from kvat_transformers.wire import fault_of

DTYPES = ("float32", "bfloat16", "float16")
CACHES = [("dynamic", "none"), ("static", "none"), ("sliding_window", "none"), ("offloaded", "none"), ("offloaded_static", "none"),
          *(("quantized", name) for name in ("quanto-4", "quanto-2", "hqq-8", "hqq-4", "hqq-2"))]  # fmt: skip
ATTENTION = [*(("sdpa", kernel) for kernel in ("auto", "flash", "efficient", "cudnn", "math")), ("eager", "auto"),
             ("flash_attention_2", "auto"), ("flash_attention_3", "auto"), ("flex_attention", "auto")]  # fmt: skip
PROMPT_TOKENS, OUTPUT_TOKENS = 64, 6


def combinations() -> Iterator[dict[str, str]]:
    """Settings of a context."""
    for cache, quantizer in CACHES:
        for implementation, kernel in ATTENTION:
            yield {"cache_implementation": cache, "cache_quantizer": quantizer, "attn_implementation": implementation,
                   "sdpa_kernel": kernel}  # fmt: skip


def declared(knobs: list[dict[str, Any]], settings: dict[str, str]) -> bool:
    """Whether a description offers these settings."""
    known = {knob["name"]: knob for knob in knobs}
    for name, value in settings.items():
        if name not in known:
            if value not in ("auto", "none"):  # what is not there to be chosen
                return False
            continue
        if value not in known[name]["values"]:
            return False
        for rule in known[name].get("requires", []):
            if value in rule["if"] and any(settings.get(other, allowed[0]) not in allowed for other, allowed in rule["then"].items()):
                return False
    return True


def outcome(engine: Engine, settings: dict[str, str]) -> dict[str, str]:
    """`{"status": "ok"}`, or the kind and the words of the refusal; settings that are not in force are `invalid`."""
    try:
        effective = engine.prepare(settings, PROMPT_TOKENS + OUTPUT_TOKENS, 1)["effective"]
        wanted = settings | ({"cache_implementation": "static"} if settings["cache_implementation"] == "sliding_window" else {})
        for name, value in wanted.items():
            if effective[name] != value:
                return {"status": "invalid", "detail": f"{name} is {effective[name]} in force"}
        measured = engine.runner.run(list(range(2, 2 + PROMPT_TOKENS)), [Mark(PROMPT_TOKENS, OUTPUT_TOKENS)], 0)[1]
        return {"status": "ok" if len(measured[0].bursts[0].token_ns) == OUTPUT_TOKENS else "invalid"}
    except Exception as error:  # noqa: BLE001 - as the worker answers
        fault = fault_of(error)
        return {"status": fault.kind, "detail": fault.detail}


def rows(engine: Engine, model: str, dtype: str, skip: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """`skip` names attentions that are left out."""
    knobs = engine.describe(model)["knobs"]
    engine.load(model, {"dtype": dtype})
    return [{"model": model, "dtype": dtype, **settings, "declared": declared(knobs, settings), **outcome(engine, settings)}
            for settings in combinations() if settings["attn_implementation"] not in skip]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", nargs="+", default=["hf:synthetic:llama-tiny", "hf:synthetic:mistral-tiny"])
    parser.add_argument("-o", default="matrix.json")
    arguments = parser.parse_args()
    engine = Engine(lambda: None, lambda _: None)
    table = [row for model in arguments.model for dtype in DTYPES for row in rows(engine, model, dtype)]
    with open(arguments.o, "w", encoding="utf-8") as file:
        lines = ",\n".join(json.dumps(row) for row in table)  # one a row
        file.write(f'{{"format": "kvat-transformers-matrix/1", "rows": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
