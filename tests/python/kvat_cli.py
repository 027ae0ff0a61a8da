"""Running the kvat program in tests: plain, and on a pseudo-terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KVAT = Path(os.environ.get("KVAT", ROOT / "build" / "bin" / "kvat")).resolve()
GOLDEN = ROOT / "tests" / "golden" / "cli"
SURFACE = ROOT / "examples" / "surfaces" / "example.json"
BLOCKING_WORKER = Path(__file__).resolve().parent / "blocking_worker.py"
TIMEOUT_S = 120


@dataclass
class Result:
    """What a finished command left."""

    code: int
    out: str
    err: str


def environment(**changes: str | None) -> dict[str, str]:
    """A known environment: UTF-8, no colours by accident, 80 columns; None removes a variable."""
    base = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "LC_ALL": "C.UTF-8",
        "COLUMNS": "80",
        "TERM": "xterm",
        "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", ""),
    }
    for name in ("KVAT_LIBEXEC_DIR", "KVAT_DATA_DIR", "XDG_STATE_HOME", "LSAN_OPTIONS", "UBSAN_OPTIONS", "LD_LIBRARY_PATH"):
        if name in os.environ:
            base[name] = os.environ[name]
    base.update({name: value for name, value in changes.items() if value is not None})
    return {name: value for name, value in base.items() if not (name in changes and changes[name] is None)}


def kvat(*arguments: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None, **popen: object) -> Result:
    """Runs kvat to its end."""
    done = subprocess.run(
        [KVAT, *map(str, arguments)],
        cwd=cwd,
        env=env or environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
        **popen,
    )
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


def kvat_on_terminal(
    *arguments: str | Path, columns: int = 80, cwd: Path | None = None, env: dict[str, str] | None = None
) -> tuple[int, str]:
    """Runs kvat with stdout and stderr on a pseudo-terminal of that width: exit code and everything written."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [KVAT, *map(str, arguments)],
        cwd=cwd,
        env=env or environment(COLUMNS=None),
        stdin=subprocess.DEVNULL,
        stdout=child,
        stderr=child,
    )
    os.close(child)
    written = bytearray()
    while True:
        ready, _, _ = select.select([parent], [], [], TIMEOUT_S)
        assert ready, "kvat wrote nothing for too long"
        try:
            piece = os.read(parent, 65536)
        except OSError:  # Linux: EIO when the last writer is gone
            break
        if not piece:
            break
        written += piece
    os.close(parent)
    return process.wait(TIMEOUT_S), written.decode()


CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def drawings(written: str) -> list[str]:
    """Every state of a line that a terminal was shown, control sequences taken out."""
    return [CONTROL.sub("", piece) for piece in re.split(r"[\r\n]+", written)]


def check_golden(name: str, text: str) -> None:
    """Compares with tests/golden/cli/<name>; KVAT_RENEW=1 writes it anew."""
    path = GOLDEN / name
    if os.environ.get("KVAT_RENEW"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert path.read_text() == text, f"differs from {path.relative_to(ROOT)}; KVAT_RENEW=1 renews it"
