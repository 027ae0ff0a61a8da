"""What the Transformers worker does on a GPU: kernels by name and time, what works, and what tuning gains over the default.

Usage: cuda.sh FOLDER. Stages run one after another, each in a process of its own with a limit; each leaves a JSON file, and those
that the time no longer allows say so in summary.json. `--tiny` takes tiny models, to try the script without a GPU.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))
from common import median_interval  # noqa: E402

MODELS = {"gpt2": "ci-micro", "qwen2.5-0.5b": "chat-agent", "phi-1.5": "ci-micro"}
TINY = {"gpt2-tiny": "ci-micro", "qwen2-tiny": "ci-micro"}
KERNELS = ("auto", "flash", "efficient", "cudnn", "math")
Json = dict[str, Any]


def write(folder: Path, name: str, value: Any) -> None:
    (folder / f"{name}.json").write_text(json.dumps(value, indent=1) + "\n")


def ratio(new: list[float], old: list[float]) -> Json:
    """Median of paired ratios, less one, with its interval."""
    value, low, high = median_interval([a / b - 1 for a, b in zip(new, old, strict=True)])
    return {"change": value, "low": low, "high": high, "pairs": len(new)}


def timed(engine: Any, ids: list[int]) -> tuple[float, float]:
    """Nanoseconds to the first token, and a token after it, over 32."""
    from kvat_transformers.runs import Mark

    measured = engine.runner.run(ids, [Mark(len(ids), 33)], 0)[1][0]
    clock = measured.bursts[0].token_ns
    return measured.ttft_ns, (clock[-1] - clock[0]) / 32


# ---- stages; each writes NAME.json ----


def facts(folder: Path, models: dict[str, str]) -> None:
    """Machine, versions, and what is declared for each model."""
    import torch
    import transformers

    def asked(*command: str) -> str:
        try:
            return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout.strip()
        except OSError:
            return ""

    declared = {}
    for name in models:
        answer = asked(os.environ["KVAT"], "engines", "--engine", "transformers", "--model", f"hf:synthetic:{name}", "--json")
        declared[name] = json.loads(answer)["engines"][0]["describe"] if answer else None
    write(folder, "facts", {
        "torch": torch.__version__, "cuda": torch.version.cuda, "transformers": transformers.__version__,
        "python": sys.version.split()[0], "cpus": os.cpu_count(), "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "driver": asked("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
        "packages": [name for name in ("accelerate", "hqq", "optimum", "flash_attn", "pynvml", "pytest") if importlib.util.find_spec(name)],
        "described": declared,
    })  # fmt: skip


def kernels(folder: Path, models: dict[str, str], rounds: int) -> None:
    """Operators by kernel under the profiler, and times against `auto`, in rounds whose order is drawn anew."""
    from kvat_transformers import attention, sources
    from kvat_transformers.engine import Engine
    from kvat_transformers.runs import Mark
    from kvat_transformers.wire import fault_of

    import torch

    result: Json = {}
    on_gpu = torch.cuda.is_available()
    for name in models:
        engine = Engine(lambda: None, lambda _: None)
        dtype = "bfloat16" if on_gpu and sources.find(f"hf:synthetic:{name}").dtype == "float32" else None  # which flash does not have
        engine.load(f"hf:synthetic:{name}", {"dtype": dtype} if dtype else {})
        limit = min(4096 if on_gpu else 1024, engine.model.config.max_position_embeddings) - 40
        ids, entry = [7 + i % 499 for i in range(limit)], {"dtype": str(engine.model.dtype)}
        times: dict[str, list[tuple[float, float]]] = {}
        for kernel in KERNELS:
            try:
                engine.prepare({"sdpa_kernel": kernel}, limit + 40, 1)
                names = attention.operators(lambda: engine.runner.run(ids, [Mark(limit, 3)], 0))
                entry[kernel] = {"operators": sorted(each for each in names if "dot_product" in each)}
                times[kernel] = []
            except Exception as error:  # noqa: BLE001 - what is not there is a result
                entry[kernel] = {"refused": fault_of(error).detail}
        for index in range(rounds + 1):
            for kernel in random.Random(index).sample(sorted(times), len(times)):
                engine.prepare({"sdpa_kernel": kernel}, limit + 40, 1)
                taken = timed(engine, ids)
                if index > 0:  # the first round warms up
                    times[kernel].append(taken)
        for kernel, pairs in times.items():
            entry[kernel] |= {"prompt_tokens": limit, "ttft_ms": statistics.median(a for a, _ in pairs) / 1e6,
                              "itl_ms": statistics.median(b for _, b in pairs) / 1e6,
                              "ttft_against_auto": ratio([a for a, _ in pairs], [a for a, _ in times["auto"]]),
                              "itl_against_auto": ratio([b for _, b in pairs], [b for _, b in times["auto"]])}  # fmt: skip
        result[name] = entry
        engine.release_model()
        write(folder, "kernels", result)


def combinations(folder: Path) -> None:
    """Every cache with every attention, of a Llama-like and a Mistral-like model in two types."""
    import matrix
    from kvat_transformers.engine import Engine

    rows: list[Json] = []
    for model in ("hf:synthetic:llama-tiny", "hf:synthetic:mistral-tiny"):
        for dtype in ("bfloat16", "float32"):
            engine = Engine(lambda: None, lambda _: None)
            rows += matrix.rows(engine, model, dtype, skip=("flex_attention",))
            write(folder, "matrix", {"format": "kvat-transformers-matrix/1", "rows": rows,
                                     "broken": [row for row in rows if row["declared"] and row["status"] != "ok"]})  # fmt: skip


def tests(folder: Path) -> None:
    """The tests of the worker itself, where pytest is installed."""
    if not importlib.util.find_spec("pytest") or not importlib.util.find_spec("jsonschema"):
        write(folder, "tests", {"not_run": "pytest or jsonschema is not installed"})
        return
    files = [f"tests/engines/transformers/test_{name}.py" for name in ("attention", "runs", "protocol", "models")]
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", *files], cwd=ROOT,
                          capture_output=True, text=True, check=False)  # fmt: skip
    write(folder, "tests", {"exit_code": done.returncode, "tail": done.stdout.splitlines()[-60:]})


def tune(folder: Path, model: str, profile: str, seconds: int) -> None:
    """A run of kvat, as a user would start it."""
    out = folder / f"tune-{model}"
    command = [os.environ["KVAT"], "tune", f"hf:synthetic:{model}", "--profile", profile, "--time", f"{seconds}s", "-o", str(out), "--fresh"]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    plan = json.loads((out / "best_plan.json").read_text()) if (out / "best_plan.json").is_file() else None
    write(folder, f"tune-{model}", {"exit_code": done.returncode, "seconds": time.monotonic() - began, "profile": profile, "plan": plan,
                                   "summary": done.stdout.splitlines()[-45:], "errors": done.stderr.splitlines()[-8:]})  # fmt: skip


def gain(folder: Path, model: str, rounds: int) -> None:
    """Winner (or the best that was found) against the default, again and from outside of kvat: pairs in turned order."""
    from kvat_transformers.engine import Engine
    from kvat_transformers.runs import Mark

    plan = json.loads((folder / f"tune-{model}.json").read_text())["plan"]
    engine = Engine(lambda: None, lambda _: None)
    described = engine.describe(f"hf:synthetic:{model}")
    default = {knob["name"]: knob["default"] for knob in described["knobs"]}
    scopes = {knob["name"]: knob["scope"] for knob in described["knobs"]}
    chosen = default | plan["settings"]
    if chosen == default:
        write(folder, f"gain-{model}", {"not_run": "the plan is the default"})
        return
    limit = min(2048, engine_limit(described)) - 40
    ids = [7 + i % 499 for i in range(limit)]
    times: dict[str, list[tuple[float, float]]] = {"default": [], "chosen": []}
    held: Any = None
    for index in range(rounds + 1):
        for which in ("default", "chosen") if index % 2 else ("chosen", "default"):
            settings = chosen if which == "chosen" else default
            on_model = {name: value for name, value in settings.items() if scopes[name] == "model"}
            if on_model != held:
                engine.load(f"hf:synthetic:{model}", on_model)
                held = on_model
            engine.prepare({name: value for name, value in settings.items() if scopes[name] != "model"}, limit + 40, 1)
            engine.runner.run(ids, [Mark(limit, 3)], 0)
            ttft, itl = timed(engine, ids)
            if index > 0:
                times[which].append((ttft, 1e9 / itl))
    write(folder, f"gain-{model}", {
        "changed": {name: value for name, value in chosen.items() if value != default[name]}, "prompt_tokens": limit,
        "ttft": ratio([a for a, _ in times["chosen"]], [a for a, _ in times["default"]]),
        "tok_per_s": ratio([b for _, b in times["chosen"]], [b for _, b in times["default"]]),
        "default_tok_per_s": statistics.median(b for _, b in times["default"]),
    })  # fmt: skip


def engine_limit(described: Json) -> int:
    return int(described["model"]["training_context_tokens"]) or 2048


# ---- running them ----


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", type=Path, required=True)
    parser.add_argument("--seconds", type=int, default=350, help="for everything")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--stage", help="run this one only, in this process")
    parser.add_argument("--model", action="append", choices=MODELS, help="only this one, or these")
    arguments = parser.parse_args()
    named = {name: MODELS[name] for name in arguments.model or MODELS}
    folder, models = arguments.o, TINY if arguments.tiny else named
    rounds = 2 if arguments.tiny else 8
    each = max(5, arguments.seconds // (3 * len(models)))  # a third of the time, at least, is for tuning
    stages: dict[str, tuple[int, Any]] = {"facts": (60, lambda: facts(folder, models))}
    stages["kernels"] = (80, lambda: kernels(folder, models, rounds))
    for name, profile in models.items():
        stages[f"tune-{name}"] = (each + 60, lambda name=name, profile=profile: tune(folder, name, profile, each))
        stages[f"gain-{name}"] = (45, lambda name=name: gain(folder, name, rounds))
    stages["matrix"] = (60, lambda: combinations(folder))
    stages["tests"] = (120, lambda: tests(folder))
    if arguments.stage:
        stages[arguments.stage][1]()
        return 0
    end, summary = time.monotonic() + arguments.seconds, {}
    for name, (most, _) in stages.items():
        began, left = time.monotonic(), end - time.monotonic()
        if left < 10:
            summary[name] = {"not_run": "no time left"}
            continue
        command = [sys.executable, __file__, *sys.argv[1:], "--stage", name]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=min(most, left), check=False)
            said = [] if done.returncode == 0 else done.stderr.splitlines()[-12:]
            summary[name] = {"exit_code": done.returncode, "seconds": time.monotonic() - began, **({"errors": said} if said else {})}
        except subprocess.TimeoutExpired:
            summary[name] = {"exit_code": None, "seconds": time.monotonic() - began, "errors": ["past its limit"]}
        print(name, summary[name], flush=True)
        write(folder, "summary", summary)
    return 0 if all(entry.get("exit_code") == 0 for entry in summary.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
