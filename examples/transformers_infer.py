#!/usr/bin/env python3
"""Tunes a model of Transformers for this machine, then generates with the settings that were found.

    pip install 'kvat[transformers]'
    python examples/transformers_infer.py Qwen/Qwen2.5-0.5B "Once upon a time" --allow-network

A second call with the same arguments measures nothing: the answer of the first is in the folder of results.
"""

import argparse
import sys
import time
import warnings
from pathlib import Path

import kvat


def tuned(arguments: argparse.Namespace) -> kvat.TuneResult:
    config = kvat.TuneConfig(
        model_id=arguments.model,
        device=arguments.device,
        profile=kvat.create_custom_profile("example", context_lengths=[128, 256], output_lengths=[32]),
        output_dir=arguments.output,
        time_budget_s=arguments.time,
        settings=dict(pair.split("=", 1) for pair in arguments.set),
        allow_network=arguments.allow_network,
    )
    return kvat.TuningSearch(config, kvat.TransformersAdapter(), on_progress=show).run()


def show(event: kvat.Progress) -> None:
    print(event, file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="name on the hub, or a folder")
    parser.add_argument("prompt")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--output", type=Path, default=Path("kvat_results"))
    parser.add_argument("--time", type=float, default=300, metavar="SECONDS", help="budget (default: %(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="fix a setting, such as dtype=float32")
    parser.add_argument("--max-new-tokens", type=int, default=64)
    parser.add_argument("--allow-network", action="store_true", help="download the model if it is not here")
    arguments = parser.parse_args()

    try:
        result = tuned(arguments)
    except kvat.KvatError as error:
        sys.exit(f"{error.message} (exit code {error.exit_code})")
    print(result, file=sys.stderr)

    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=result.settings.get("dtype", "auto"))
    inputs = tokenizer(arguments.prompt, return_tensors="pt")
    # An undecided plan only looked good: the model stays as it is then.
    with kvat.patch(model, result) if result.decided else warnings.catch_warnings():
        begin = time.perf_counter()
        output = model.generate(**inputs, max_new_tokens=arguments.max_new_tokens)
        seconds = time.perf_counter() - begin
    count = output.shape[1] - inputs["input_ids"].shape[1]
    print(tokenizer.decode(output[0], skip_special_tokens=True))
    print(f"{count} tokens in {seconds:.2f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
