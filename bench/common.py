"""What the benchmarks share: a client of the worker protocol, facts of the machine, medians with intervals, results."""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
BUILD = Path(os.environ.get("KVAT_BUILD", ROOT / "build" / "release"))
KVAT = Path(os.environ.get("KVAT", BUILD / "bin" / "kvat"))
WORKER = BUILD / "libexec" / "kvat" / "kvat-llamacpp"
RESAMPLES = 4000


class WorkerError(Exception):
    """A worker that answered with an error, or not at all."""


class Worker:
    """One worker process, spoken to as kvat does."""

    def __init__(self, program: Path, environment: dict[str, str], *arguments: str) -> None:
        self.process = subprocess.Popen(
            [program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**environment, "GGML_NO_BACKTRACE": "1"},
            text=True,
        )
        self.id = 0
        client = {"name": "kvat-bench", "version": "0"}
        self.engine = self.call("initialize", client=client, protocol={"min": 1, "max": 1}, launch_index=0)["engine"]

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Sends a request and returns its result."""
        self.id += 1
        request = {"jsonrpc": "2.0", "id": self.id, "method": method, "params": params}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            answer = json.loads(line)
            if answer.get("id") != self.id:
                continue
            if "error" in answer:
                raise WorkerError(f"{method}: {answer['error']}")
            return answer["result"]
        raise WorkerError(f"{method}: the worker ended without an answer")

    def run(self, prompt: int, output: int, low: int, high: int, seed: int, settings: dict[str, Any]) -> list[int]:
        """One prompt of random tokens and its output: nanoseconds from the start of the run to each token."""
        tokens = {"seed": seed, "count": prompt, "low": low, "high": high}
        result = self.call("run", settings=settings, phase="full", tokens=tokens, output_tokens=output, sequences=1)
        if result["status"] != "ok":
            raise WorkerError(f"run: the worker answered {result['status']}")
        return [time_ns - result["start_ns"] for time_ns in result["sequences"][0]["token_ns"]]

    def libraries(self) -> dict[str, Path]:
        """The engine's libraries that the process has loaded, by name."""
        maps = Path(f"/proc/{self.process.pid}/maps").read_text(encoding="ascii")
        paths = {Path(line.split(maxsplit=5)[5]) for line in maps.splitlines() if ".so" in line}
        return {path.name.split(".so")[0]: path for path in paths if path.name.startswith(("libllama", "libggml"))}


# ---- the machine ----


def cpu_model() -> str:
    """The CPU as the kernel names it."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def busy_cores() -> float:
    """Cores taken by other processes over half a second: what a measurement now would compete with."""

    def jiffies() -> tuple[float, float]:
        fields = [int(x) for x in Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]]
        return time.monotonic(), sum(fields) - fields[3] - fields[4]

    start, before = jiffies()
    time.sleep(0.5)
    end, after = jiffies()
    return (after - before) / os.sysconf("SC_CLK_TCK") / (end - start)


def machine() -> dict[str, Any]:
    """What a figure depends on, without naming the host."""
    return {
        "date_utc": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": os.uname().release.split("-")[0],
        "load_average": [round(x, 2) for x in os.getloadavg()],
        "busy_cores": round(busy_cores(), 2),
    }


def kvat_version() -> str:
    """Version of the kvat that is measured."""
    return subprocess.run([KVAT, "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]


# ---- figures ----


def median_interval(values: list[float], seed: int = 0) -> tuple[float, float, float]:
    """The median and its 95 % percentile-bootstrap interval, the same for the same values."""
    rng = random.Random(seed)
    medians = sorted(statistics.median(rng.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return statistics.median(values), medians[int(0.025 * RESAMPLES)], medians[int(0.975 * RESAMPLES) - 1]


def write_result(name: str, result: dict[str, Any]) -> Path:
    """Writes bench/results/NAME.json."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"{name}: {path.relative_to(ROOT)}", file=sys.stderr)
    return path
