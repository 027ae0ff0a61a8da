#!/usr/bin/env python3
"""kvat's own cost: its time outside the engine on a real run, and its processor time a trial under `sim`.

Outside the engine is 1 − Σ(load + prepare + warm-up + run, as the worker reports them) ÷ wall time. Out of the account
are the noise probe at the start, and trials that were voided or failed: how long the engine took in them is not kept.
Under `sim` a trial costs no engine time at all, so what is left is kvat's own.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import KVAT, ROOT, kvat_version, machine, write_result  # noqa: E402

NOISE_PROBE_S = 2.0
SURFACE = ROOT / "examples" / "surfaces" / "example.json"
CELL = ["--context", "512", "--output-tokens", "64"]
# Never sure enough, so that it is the number of trials that ends a run.
ENDLESS = ["--delta", "0.0001", "--confidence", "0.9999"]
FEW, MANY, WORLDS = 20, 60, 5
DECIDED = (0, 6)


def trials_of(store: Path) -> dict[str, int]:
    """Sums over the trials of the latest run."""
    with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as db:
        db.row_factory = sqlite3.Row
        row = db.execute(
            "SELECT count(*) AS trials, max(elapsed_ns) AS measuring_ns,"
            " total(status = 'ok') AS clean,"
            " total(cost_ns * (status <> 'ok')) AS spoilt_ns,"
            " total((load_ns + prepare_ns + warmup_ns + run_ns) * (status = 'ok')) AS worker_ns"
            " FROM trial WHERE run = (SELECT max(id) FROM run)"
        ).fetchone()
        return {name: int(row[name] or 0) for name in row.keys()}


# ---- a real run ----


def real_run(model: str, profile: str, time_budget: str, folder: Path) -> dict[str, Any]:
    command = [KVAT, "tune", model, "--profile", profile, "--time", time_budget, *ENDLESS, "-q", "-o", folder]
    start = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    wall_s = time.monotonic() - start
    if done.returncode not in DECIDED:
        raise RuntimeError(f"kvat tune ended with {done.returncode}: {done.stderr[-500:]}")
    sums = trials_of(folder / "kvat.db")
    if not sums["clean"]:
        raise RuntimeError("no trial was clean: the machine is too busy")
    worker_s, spoilt_s, measuring_s = (sums[name] / 1e9 for name in ("worker_ns", "spoilt_ns", "measuring_ns"))
    return {
        "model": model,
        "profile": profile,
        "wall_s": round(wall_s, 3),
        "trials": sums["trials"],
        "spoilt_trials": sums["trials"] - sums["clean"],
        "outside_engine_ratio": round(1 - worker_s / (wall_s - NOISE_PROBE_S - spoilt_s), 5),
        "outside_engine_ratio_while_measuring": round(1 - worker_s / (measuring_s - spoilt_s), 5),
        "outside_engine_ms_a_trial": round(1e3 * (measuring_s - spoilt_s - worker_s) / sums["clean"], 2),
        "start_and_end_s": round(wall_s - NOISE_PROBE_S - measuring_s, 3),
    }


# ---- under sim ----


def own_cpu_s(pid: int) -> float:
    """Processor time of a process that has ended and was not waited for yet, without its children: in nanoseconds,
    where getrusage cannot leave out the workers."""
    return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0]) / 1e9


def sim_command(trials: int, world: int, folder: Path) -> list[str]:
    return [str(KVAT), "tune", str(SURFACE), *CELL, *ENDLESS, "--time", "10h", "--trials", str(trials), "--world-seed",
            str(world), "-q", "-o", str(folder)]  # fmt: skip


def sim_run(trials: int, world: int, folder: Path) -> tuple[int, float, float]:
    """Trials measured, CPU seconds of kvat, CPU seconds of kvat and its worker (getrusage)."""
    with open(os.devnull, "w", encoding="ascii") as null:
        process = subprocess.Popen(sim_command(trials, world, folder), stdout=null, stderr=null)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        own = own_cpu_s(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in DECIDED:
        raise RuntimeError(f"kvat tune ended with {process.returncode}")
    return trials_of(folder / "kvat.db")["trials"], own, usage.ru_utime + usage.ru_stime


def instructions(trials: int, folder: Path) -> tuple[int, int]:
    """Trials measured and instructions of kvat, by callgrind; workers run outside of it."""
    valgrind = ["valgrind", "--tool=callgrind", "--trace-children=no", f"--callgrind-out-file={folder}.out"]
    done = subprocess.run([*valgrind, *sim_command(trials, 0, folder)], capture_output=True, text=True, check=False)
    collected = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode not in DECIDED or not collected:
        raise RuntimeError(f"callgrind ended with {done.returncode}: {done.stderr[-500:]}")
    return trials_of(folder / "kvat.db")["trials"], int(collected[1])


def slope(few: tuple[float, float], many: tuple[float, float]) -> float:
    """What one trial more costs: start and report are in both and fall out."""
    return (many[1] - few[1]) / (many[0] - few[0])


def sim_cost(scratch: Path) -> dict[str, Any]:
    own, both = [], []
    for world in range(WORLDS):
        few = sim_run(FEW, world, scratch / f"few-{world}")
        many = sim_run(MANY, world, scratch / f"many-{world}")
        own.append(slope((few[0], few[1]), (many[0], many[1])))
        both.append(slope((few[0], few[2]), (many[0], many[2])))
    result = {
        "surface": SURFACE.name,
        "searched": [FEW, MANY],
        "kvat_cpu_ms_a_trial": round(1e3 * statistics.mean(own), 3),
        "kvat_and_worker_cpu_ms_a_trial": round(1e3 * statistics.mean(both), 3),
    }
    if shutil.which("valgrind"):
        few, many = instructions(FEW, scratch / "callgrind-few"), instructions(MANY, scratch / "callgrind-many")
        result["kvat_instructions_a_trial"] = round(slope(few, many))
    else:
        print("overhead: no valgrind, so no count of instructions", file=sys.stderr)
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--time", default="60s", help="budget of the real run (%(default)s; the target is set for 10m)")
    parser.add_argument("--model", default="synthetic:gpt2", help="model of the real run (%(default)s)")
    parser.add_argument("--profile", default="ci-micro", help="profile of the real run (%(default)s)")
    parser.add_argument("--sim-only", action="store_true", help="leave the real run out")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kvat-bench-") as temporary:
        scratch = Path(temporary)
        result = {"format": "kvat-bench/1", "what": "kvat's own cost", "kvat": kvat_version(), "machine": machine()}
        result["sim"] = sim_cost(scratch)
        if not args.sim_only:
            result["real"] = real_run(args.model, args.profile, args.time, scratch / "real")
    write_result("overhead", result)
    for part in ("real", "sim"):
        for name, value in result.get(part, {}).items():
            print(f"{part:4} {name:38} {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
