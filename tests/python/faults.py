"""Helpers of the fault tests: processes followed through /proc, stores read, workers and surfaces made to fail."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from kvat_cli import KVAT, SURFACE, TIMEOUT_S, Result, environment

BUILD = Path(os.environ.get("KVAT_BUILD", KVAT.parent.parent)).resolve()
MISBEHAVE = BUILD / "tests" / "workers" / "kvat-misbehave"
IO_FAULT = BUILD / "tests" / "shims" / "libkvat_io_fault.so"
SCRIPTED_WORKER = Path(__file__).resolve().parent / "scripted_worker.py"
RESULTS = "kvat_results"
OUTPUTS = ("best_plan.json", "report.html", "report.md")
MARK = "KVAT_TEST_MARK"
GONE_S = 5.0  # promised are 2 s; a stalled machine gets some more, but less than the 10 s from TERM to KILL


def wait_until(condition: Callable[[], bool], seconds: float = TIMEOUT_S) -> bool:
    """Polls; the last word is the condition's."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return condition()
        time.sleep(0.002)
    return True


# ---- processes ----


def marked(mark: str) -> list[int]:
    """Living processes that were started, at whatever remove, with this mark in their environment."""
    needle = f"{MARK}={mark}".encode()
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError), open(f"/proc/{entry.name}/environ", "rb") as file:
            if needle in file.read().split(b"\0"):  # empty for a zombie
                found.append(int(entry.name))
    return found


def none_marked(mark: str) -> bool:
    """Looks several times: a process that is being executed has no environment for a moment, and one look misses it."""
    for _ in range(3):
        if marked(mark):
            return False
        time.sleep(0.005)
    return True


def look_at(pid: int) -> str:
    """What a process is and does, for a message; "" when it is gone."""
    try:
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        where = Path(f"/proc/{pid}/wchan").read_text()
    except OSError:
        return ""
    return f"{pid} of {status['PPid']}, {status['State']} in {where}: {command}"


@dataclass
class Running:
    """A kvat that was started and not waited for; its lines of stderr are read one by one."""

    process: subprocess.Popen
    mark: str
    lines: list[str] = field(default_factory=list)

    def read_line(self) -> str | None:
        """The next line of stderr, None at its end."""
        line = self.process.stderr.readline()
        if not line:
            return None
        self.lines.append(line.decode().rstrip("\n"))
        return self.lines[-1]

    def read_until(self, wanted: Callable[[str], bool]) -> str | None:
        """Reads up to the first line that is wanted."""
        while (line := self.read_line()) is not None:
            if wanted(line):
                return line
        return None

    def finish(self) -> Result:
        out, err = self.process.communicate(timeout=TIMEOUT_S)
        self.lines += err.decode().splitlines()
        return Result(self.process.returncode, out.decode(), "\n".join(self.lines) + "\n")

    def left_alive(self) -> list[str]:
        """What of it is still there after the time it may take."""
        if wait_until(lambda: none_marked(self.mark), GONE_S):
            return []
        return [seen for seen in map(look_at, marked(self.mark)) if seen]


def start(*arguments: str | Path, cwd: Path, env: dict[str, str] | None = None) -> Running:
    mark = uuid.uuid4().hex
    process = subprocess.Popen(
        [KVAT, *map(str, arguments)],
        cwd=cwd,
        env={**(env or environment()), MARK: mark},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,  # what readline() read ahead would be lost to communicate()
    )
    return Running(process, mark)


@contextlib.contextmanager
def running(*arguments: str | Path, cwd: Path, env: dict[str, str] | None = None) -> Iterator[Running]:
    """The same, taken down at the end with all it left."""
    run = start(*arguments, cwd=cwd, env=env)
    try:
        yield run
    finally:
        with contextlib.suppress(ProcessLookupError):
            run.process.kill()
        run.process.communicate()
        for pid in marked(run.mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def signal_handled(pid: int) -> bool:
    """No signal is waiting to be delivered to the process."""
    text = Path(f"/proc/{pid}/status").read_text()
    pending = [line.split()[1] for line in text.splitlines() if line.startswith(("SigPnd", "ShdPnd"))]
    return all(int(word, 16) == 0 for word in pending)


# ---- what a run left ----


def trials(folder: Path) -> list[dict]:
    """Every stored trial in order. Read from a copy, which may need recovering: that of the store itself is kvat's."""
    with tempfile.TemporaryDirectory() as copy:
        for path in folder.glob("kvat.db*"):
            shutil.copy(path, copy)
        with contextlib.closing(sqlite3.connect(Path(copy) / "kvat.db")) as database:
            database.row_factory = sqlite3.Row
            if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'trial'").fetchone():
                return []
            return [dict(row) for row in database.execute("SELECT * FROM trial ORDER BY id")]


def outputs(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in OUTPUTS if (folder / name).exists()}


# ---- workers and surfaces ----


def misbehaving(tmp_path: Path, *arguments: str | Path) -> Path:
    """A program that is kvat-misbehave with these arguments."""
    program = tmp_path / "misbehaving"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, (MISBEHAVE, *arguments)))} "$@"\n')
    program.chmod(0o755)
    return program


def scripted(tmp_path: Path, script: dict) -> Path:
    """A program that is scripted_worker.py with this script."""
    (tmp_path / "script.json").write_text(json.dumps(script))
    program = tmp_path / "scripted"
    program.write_text(f'#!/bin/sh\nexec {shlex.join((sys.executable, str(SCRIPTED_WORKER), str(tmp_path / "script.json")))}\n')
    program.chmod(0o755)
    return program


def surface(path: Path, **changes: object) -> Path:
    """The example surface with other members."""
    path.write_text(json.dumps({**json.loads(SURFACE.read_text()), **changes}))
    return path
