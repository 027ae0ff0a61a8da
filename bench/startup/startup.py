#!/usr/bin/env python3
"""What starting kvat costs: `kvat --version` and `kvat --help` beside a C program that does nothing, in pairs."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import KVAT, kvat_version, machine, median_interval, write_result  # noqa: E402

NOTHING = "int main(void) { return 0; }\n"
COMMANDS = {"--version": [str(KVAT), "--version"], "--help": [str(KVAT), "--help"]}
WARMUP = 5


def build_nothing(folder: Path) -> str:
    source, program = folder / "nothing.c", folder / "nothing"
    source.write_text(NOTHING, encoding="ascii")
    subprocess.run([os.environ.get("CC", "cc"), "-O2", "-o", program, source], check=True)
    return str(program)


def spawn_ms(command: list[str], actions: list) -> float:
    """From the call that starts the process until it has ended."""
    start = time.perf_counter_ns()
    pid = os.posix_spawn(command[0], command, os.environ, file_actions=actions)
    _, status = os.waitpid(pid, 0)
    spent = time.perf_counter_ns() - start
    if status != 0:
        raise RuntimeError(f"{command}: status {status}")
    return spent / 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=200, help="pairs of each command (%(default)s)")
    args = parser.parse_args()
    before = machine()
    differences: dict[str, list[float]] = {name: [] for name in COMMANDS}
    bare: list[float] = []
    with tempfile.TemporaryDirectory(prefix="kvat-bench-") as folder, open(os.devnull, "w", encoding="ascii") as null:
        nothing = [build_nothing(Path(folder))]
        actions = [(os.POSIX_SPAWN_DUP2, null.fileno(), fd) for fd in (1, 2)]
        for i in range(-WARMUP, args.pairs):
            for name, command in COMMANDS.items():
                order = [command, nothing] if i % 2 else [nothing, command]
                taken = {words[0]: spawn_ms(words, actions) for words in order}
                if i >= 0:
                    differences[name].append(taken[command[0]] - taken[nothing[0]])
                    bare.append(taken[nothing[0]])
    result = {"format": "kvat-bench/1", "what": "median extra milliseconds over a process that does nothing",
              "kvat": kvat_version(), "machine": before, "pairs": args.pairs,
              "bare_process_ms": round(median_interval(bare)[0], 3)}  # fmt: skip
    for name, values in differences.items():
        median, low, high = median_interval(values)
        result[name] = {"ms": round(median, 3), "low": round(low, 3), "high": round(high, 3)}
        print(f"kvat {name:10} {median:6.2f} ms more than a bare process [{low:.2f}, {high:.2f}]")
    write_result("startup", result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
