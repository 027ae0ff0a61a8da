#!/usr/bin/env python3
"""kvat's llama.cpp worker beside llama-bench: the same model, settings, depths and contexts, in interleaved pairs.

Prefill is that of 512 tokens into an empty cache, decode 48 tokens from depth 256. Every sample comes from a fresh
process on both sides, because memory placement differs from launch to launch and would bias a long-lived one.
A ratio is kvat's speed divided by llama-bench's.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import WORKER, Worker, kvat_version, machine, median_interval, write_result  # noqa: E402

MODEL = "synthetic:qwen2.5-0.5b:q8_0"
TOLERANCE = 0.02
LEAST_PAIRS = 15
PHASES = ("prefill", "decode")


@dataclass(frozen=True)
class Lengths:
    """Tokens of the two tests."""

    prefill: int
    depth: int
    decode: int


@dataclass(frozen=True)
class Config:
    """One configuration, in words both sides have."""

    name: str
    threads: int
    batch: int = 2048
    ubatch: int = 512
    flash: str = "on"
    cache_type: str = "f16"

    def settings(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Context and request settings of the worker."""
        context = {"flash-attn": self.flash, "batch-size": self.batch, "ubatch-size": self.ubatch}
        context |= {"cache-type-k": self.cache_type, "cache-type-v": self.cache_type}
        return context, {"threads": self.threads, "threads-batch": self.threads}

    def flags(self) -> list[str]:
        """The same for llama-bench."""
        flags = {"-t": self.threads, "-b": self.batch, "-ub": self.ubatch, "-fa": self.flash}
        flags |= {"-ctk": self.cache_type, "-ctv": self.cache_type}
        return [str(word) for pair in flags.items() for word in pair]


# ---- one sample of each side: nanoseconds a token, prefill and decode ----


def prepare(worker: Worker, settings: dict[str, Any], context_tokens: int) -> None:
    """A context of this size, with the settings in force; libllama cuts batches to the context, for both sides."""
    effective = worker.call("prepare", settings=settings, context_tokens=context_tokens, sequences=1)["effective"]
    wanted = {k: min(v, context_tokens) if k.endswith("batch-size") else v for k, v in settings.items()}
    if effective != wanted:
        raise RuntimeError(f"asked for {wanted}, in force is {effective}")


def sample_kvat(config: Config, lengths: Lengths, facts: dict[str, Any], seed: int, env: dict) -> tuple[float, float]:
    """Warm-up as llama-bench has it: the whole prompt before prefill, one token before decode."""
    context, request = config.settings()
    settings = {**context, **request}
    high = facts["token_high"]
    with Worker(WORKER, env) as worker:
        worker.call("load", model=MODEL, settings={})
        prepare(worker, settings, lengths.prefill)
        worker.run(lengths.prefill, 1, 0, high, seed + 1, {})
        prefill = worker.run(lengths.prefill, 1, 0, high, seed, {})[0]
        prepare(worker, settings, lengths.depth + lengths.decode)
        worker.run(1, 1, 0, high, seed + 2, {})
        # The first token ends the prefill; those after it are what llama-bench generates.
        times = worker.run(lengths.depth, lengths.decode + 1, 0, high, seed, {})
    return prefill / lengths.prefill, (times[-1] - times[0]) / lengths.decode


def llama_bench(program: str, model_file: str, config: Config, words: list[str], env: dict) -> dict[str, Any]:
    command = [program, "-m", model_file, *config.flags(), *words, "-r", "1", "-o", "jsonl"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    if done.returncode != 0 or len(lines) != 1:
        raise RuntimeError(f"llama-bench failed: {done.stderr[-500:]}")
    return json.loads(lines[0])


def check_in_force(config: Config, row: dict[str, Any]) -> None:
    """llama-bench repeats what it used; flash_attn is a number there: -1 auto, 0 off, 1 on."""
    wanted = {"n_threads": config.threads, "n_batch": config.batch, "n_ubatch": config.ubatch,
              "type_k": config.cache_type, "type_v": config.cache_type,
              "flash_attn": 1 if config.flash == "on" else 0}  # fmt: skip
    differing = {name: row.get(name) for name, value in wanted.items() if row.get(name) != value}
    if differing:
        raise RuntimeError(f"{config.name}: llama-bench used {differing}")


def sample_peer(program: str, model_file: str, config: Config, lengths: Lengths, env: dict) -> tuple[float, float]:
    """Two processes: llama-bench runs every test at every depth, which would add tests that are not compared."""
    prefill = llama_bench(program, model_file, config, ["-p", str(lengths.prefill), "-n", "0", "-d", "0"], env)
    decode = llama_bench(
        program, model_file, config, ["-p", "0", "-n", str(lengths.decode), "-d", str(lengths.depth)], env
    )
    for row in (prefill, decode):
        check_in_force(config, row)
    return prefill["samples_ns"][0] / lengths.prefill, decode["samples_ns"][0] / lengths.decode


# ---- all pairs ----


def verdict_of(low: float, high: float, pairs: int) -> str:
    """What the interval of a ratio shows."""
    if pairs < LEAST_PAIRS:
        return f"too few pairs: {pairs} of {LEAST_PAIRS}"
    if low > 1 + TOLERANCE or high < 1 - TOLERANCE:
        return f"outside ±{TOLERANCE:.0%}"
    if low < 1 - TOLERANCE or high > 1 + TOLERANCE:
        return f"too noisy: the interval is {high - low:.1%} wide"
    return f"inside ±{TOLERANCE:.0%}"


def measure(args: argparse.Namespace, configs: list[Config], facts: dict[str, Any], env: dict) -> dict[str, list]:
    """Pairs of every configuration, round by round, so that drift meets all of them alike."""
    lengths = Lengths(args.prefill, args.depth, args.decode)
    pairs: dict[str, list] = {config.name: [] for config in configs}
    start, longest = time.monotonic(), 0.0
    for i in range(args.pairs):
        began = time.monotonic()
        if began + longest - start > args.limit:
            print(f"llama_bench: stopped after {i} pairs, at the limit of {args.limit} s", file=sys.stderr)
            break
        for config in configs:
            sides = {
                "kvat": lambda c=config, seed=i: sample_kvat(c, lengths, facts, 1000 * seed, env),
                "llama_bench": lambda c=config: sample_peer(args.llama_bench, facts["file"], c, lengths, env),
            }
            order = sorted(sides, reverse=i % 2 == 1)
            taken = {side: sides[side]() for side in order}
            pairs[config.name].append({"first": order[0], **{side: list(taken[side]) for side in sorted(taken)}})
        longest = max(longest, time.monotonic() - began)
        if i == 0:
            print(f"llama_bench: {longest:.0f} s a round, {args.pairs} rounds", file=sys.stderr)
    return pairs


def summarise(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    """Median ratio of each phase with its interval, and the middle of what was measured."""
    summary = {}
    for index, phase in enumerate(PHASES):
        ratios = [pair["llama_bench"][index] / pair["kvat"][index] for pair in pairs]
        median, low, high = median_interval(ratios)
        summary[phase] = {
            "ratio": round(median, 5),
            "low": round(low, 5),
            "high": round(high, 5),
            "pairs": len(pairs),
            "kvat_tok_per_s": round(1e9 / median_interval([p["kvat"][index] for p in pairs])[0], 2),
            "llama_bench_tok_per_s": round(1e9 / median_interval([p["llama_bench"][index] for p in pairs])[0], 2),
            "verdict": verdict_of(low, high, len(pairs)),
        }
    return summary


def library_hashes(paths: dict[str, Path]) -> dict[str, str]:
    return {name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for name, path in sorted(paths.items())}


def peer_libraries(program: str, names: list[str], env: dict) -> dict[str, Path]:
    """The libraries of these names that the loader gives to llama-bench."""
    listed = subprocess.run(["ldd", program], env=env, capture_output=True, text=True, check=True).stdout
    found = {}
    for words in map(str.split, listed.splitlines()):
        name = words[0].split(".so")[0]
        if name in names and len(words) > 2:
            found[name] = Path(words[2])
    return found


def find_llama_bench() -> str | None:
    prefix = os.environ.get("KVAT_LLAMA_PREFIX")
    if prefix and (Path(prefix) / "bin" / "llama-bench").exists():
        return str(Path(prefix) / "bin" / "llama-bench")
    return shutil.which("llama-bench")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=LEAST_PAIRS, help="pairs a configuration (%(default)s)")
    parser.add_argument("--limit", type=float, default=690, help="start no round that would end later, in s")
    parser.add_argument("--prefill", type=int, default=512, help="tokens of the prefill test")
    parser.add_argument("--depth", type=int, default=256, help="depth at which the decode test starts")
    parser.add_argument("--decode", type=int, default=48, help="tokens of the decode test")
    parser.add_argument("--only", default="", help="only configurations whose name has this in it")
    parser.add_argument("--llama-bench", default=find_llama_bench(), help="the peer (default: of KVAT_LLAMA_PREFIX)")
    args = parser.parse_args()
    if not args.llama_bench:
        parser.error("no llama-bench: set KVAT_LLAMA_PREFIX, or name it with --llama-bench")
    return args


def main() -> int:
    args = arguments()
    # The same for both; nothing of the caller's that an engine would read.
    env = {name: os.environ[name] for name in ("PATH", "HOME", "XDG_CACHE_HOME", "KVAT_CACHE_DIR") if name in os.environ}
    with Worker(WORKER, env) as worker:
        described = worker.call("describe", model=MODEL)
        facts, engine = described["model"], worker.engine
        ours = library_hashes(worker.libraries())
        theirs = library_hashes(peer_libraries(args.llama_bench, list(ours), env))
    threads = next(knob["default"] for knob in described["knobs"] if knob["name"] == "threads")
    configs = [
        Config("default", threads),
        Config("threads 1", 1),
        Config("ubatch-size 128, flash-attn off", threads, ubatch=128, flash="off"),
    ]
    configs = [config for config in configs if args.only in config.name]
    before = machine()
    pairs = measure(args, configs, facts, env)
    results = {name: summarise(taken) for name, taken in pairs.items() if taken}
    same = all(ours.get(name) == theirs.get(name) for name in ("libllama", "libggml-cpu", "libggml-base"))
    write_result(
        "llama_bench",
        {
            "format": "kvat-bench/1",
            "what": "speed of kvat's llama.cpp worker ÷ speed of llama-bench",
            "kvat": kvat_version(),
            "engine": {"version": engine["version"], "build": engine["build"], "same_libraries": same},
            "model": MODEL,
            "tokens": {"prefill": args.prefill, "depth": args.depth, "decode": args.decode},
            "machine": before,
            "load_average_after": [round(x, 2) for x in os.getloadavg()],
            "configurations": results,
            "pairs_ns_per_token": pairs,
        },
    )
    if not same:
        print("llama_bench: the two sides loaded different builds of libllama: this compares builds", file=sys.stderr)
    for name, summary in results.items():
        for phase, r in summary.items():
            print(f"{name:32} {phase:8} {r['ratio']:.3f} [{r['low']:.3f}, {r['high']:.3f}]  {r['verdict']}")
    return 1 if any(r["verdict"].startswith("outside") for s in results.values() for r in s.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
