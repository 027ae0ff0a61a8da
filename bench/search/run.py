"""Runs the cells of the search bench, one program and one result file each, several at a time.

Must not know what is in a result. `--list` prints the commands instead, for whoever wants to run them elsewhere; a cell
whose file is there already is left out with `--resume`.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
NOISES = ("quiet", "desktop", "noisy", "heavy", "step", "launch", "trace")
KINDS = ("inert", "cliffs", "infeasible", "ties", "broken", "hard")
USUAL = NOISES[:3]
# Noises of a space: those that are only told from others in many searches are left to the small spaces.
OF_SPACE = {24: NOISES, 480: NOISES, 1440: ("desktop",), 4800: USUAL, 10000: USUAL}
# Worlds of a cell: plain, plain under the replayed trace (where a search takes seconds), of other kinds, of Optuna.
FULL = {
    24: (1000, 30, 100, 15), 480: (100, 6, 20, 6), 1440: (30, 0, 0, 0), 4800: (40, 0, 10, 4), 10000: (6, 0, 3, 0),
}  # fmt: skip
QUICK = {24: (20, 2, 10, 3), 480: (6, 1, 4, 2), 1440: (3, 0, 0, 0), 4800: (3, 0, 2, 1), 10000: (1, 0, 0, 0)}


@dataclass(frozen=True)
class Job:
    name: str  # of the result, without ".json"
    command: list[str]  # but for where to write


def cell(program: Path, space: int, kind: str, noise: str, worlds: int, extra: list[str]) -> Job:
    command = [str(program), "--space", str(space), "--world", kind, "--noise", noise, "--worlds", str(worlds)]
    return Job(f"{space}-{kind}-{noise}", command + extra)


def tpe(program: Path, space: int, kind: str, noise: str, worlds: int, times: int, extra: list[str]) -> Job:
    command = [sys.executable, str(HERE / "optuna_tpe.py"), str(program), "--space", str(space), "--world", kind]
    command += ["--noise", noise, "--worlds", str(worlds), "--times", str(times)]
    return Job(f"{space}-{kind}-{noise}-tpe{times}x", command + extra)


def there_is(kind: str, space: int) -> bool:
    """Twins are looked up in the grid of all combinations, which a sample is not."""
    return space != 10000 or kind not in ("inert", "ties")


def jobs(program: Path, size: str, method: str | None, surfaces: list[Path]) -> list[Job]:
    counts = FULL if size == "full" else QUICK
    extra = ["--method", method] if method else []
    peers = ["--peers", "random,grid,halving", "--times", "1,3"]
    out: list[Job] = []
    for space, (plain, trace, kinds, optuna) in counts.items():
        for noise in OF_SPACE[space]:
            worlds = trace if noise == "trace" else plain
            out.append(cell(program, space, "plain", noise, worlds, extra + peers + ["--incumbent"]))
            if noise in USUAL and optuna > 0:
                out += [tpe(program, space, "plain", noise, optuna, times, extra) for times in (1, 3)]
        if kinds > 0:
            out += [cell(program, space, kind, "desktop", kinds, extra) for kind in KINDS if there_is(kind, space)]
    for surface in surfaces:
        for noise in NOISES:
            worlds = counts[24][1] if noise == "trace" else counts[24][2]
            command = [str(program), "--surface", str(surface), "--noise", noise, "--worlds", str(worlds)]
            out.append(Job(f"surface-{surface.stem}-{noise}", command + extra + peers + ["--incumbent"]))
    return out


def run(job: Job, folder: Path) -> bool:
    result = folder / f"{job.name}.json"
    done = subprocess.run(["nice", *job.command, "--json", str(result)], capture_output=True, text=True)
    print(f"{job.name}: {'done' if done.returncode == 0 else 'FAILED'}", flush=True)
    if done.returncode != 0:
        print(done.stderr, file=sys.stderr, end="", flush=True)
    return done.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=Path, help="kvat_bench_search")
    parser.add_argument("folder", type=Path, help="of the results")
    parser.add_argument("--size", choices=("full", "quick"), default="quick")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", default="", help="cells whose name matches this regular expression")
    parser.add_argument("--method", help="of the library instead of its choice")
    parser.add_argument("--surface", type=Path, action="append", default=[], help="a recorded world, too")
    parser.add_argument("--resume", action="store_true", help="leave out cells whose result is there")
    parser.add_argument("--list", action="store_true", help="print the commands")
    options = parser.parse_args()
    chosen = [job for job in jobs(options.program, options.size, options.method, options.surface)
              if re.search(options.only, job.name)]
    if options.resume:
        chosen = [job for job in chosen if not (options.folder / f"{job.name}.json").exists()]
    if options.list:
        for job in chosen:
            print(shlex.join([*job.command, "--json", str(options.folder / f"{job.name}.json")]))
        return 0
    options.folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(options.jobs) as pool:
        return 0 if all(list(pool.map(lambda job: run(job, options.folder), chosen))) else 1


if __name__ == "__main__":
    sys.exit(main())
