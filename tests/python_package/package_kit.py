"""What the tests of the package share."""

from __future__ import annotations

import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SURFACE = ROOT / "examples" / "surfaces" / "example.json"


def wait_for_end(pid: int) -> None:
    """Until a process that is no child of ours has ended; who collects it does not matter."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return
        except (FileNotFoundError, ProcessLookupError):
            return
        time.sleep(0.01)
    raise AssertionError(f"process {pid} goes on")
