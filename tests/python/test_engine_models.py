"""Paths that are no model: refused with a reason, at once, and never handed to the engine."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from engine_kit import TINY, model_file, place
from kvat_cli import KVAT

pytestmark = pytest.mark.engine
BAD_DATA = 65
HANG_S = 60
MOST_CPU_S = 2.0


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return model_file(tmp_path_factory.mktemp("good"), TINY).read_bytes()


def folder(path: Path, _: bytes) -> None:
    path.mkdir()


def fifo(path: Path, _: bytes) -> None:
    os.mkfifo(path)


def device(path: Path, _: bytes) -> None:
    path.symlink_to("/dev/zero")


def nothing(path: Path, _: bytes) -> None:
    assert not path.exists()


def empty(path: Path, _: bytes) -> None:
    path.touch()


def garbage(path: Path, _: bytes) -> None:
    path.write_bytes(bytes(range(256)) * 4096)


def cut_at(part: float) -> Callable[[Path, bytes], None]:
    def cut(path: Path, good: bytes) -> None:
        path.write_bytes(good[: int(len(good) * part)])

    return cut


def cut_short(path: Path, good: bytes) -> None:
    path.write_bytes(good[:-1])


def magic_alone(path: Path, good: bytes) -> None:
    path.write_bytes(good[:4])


def many_tensors(path: Path, good: bytes) -> None:
    path.write_bytes(good[:8] + b"\xff" * 8 + good[16:])


MAKERS = {"directory": folder, "fifo": fifo, "device": device, "missing": nothing, "empty": empty, "garbage": garbage,
          "magic alone": magic_alone, "half": cut_at(0.5), "in the header": cut_at(0.001), "a byte short": cut_short,
          "2^64 tensors": many_tensors}  # fmt: skip


@pytest.mark.parametrize("what", MAKERS)
def test_what_is_no_model_is_refused_at_once(what: str, good: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    MAKERS[what](path, good)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [KVAT, "tune", path, "--profile", "ci-micro", "-o", tmp_path / "run"]
    done = subprocess.run(
        command, env=place(tmp_path), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=HANG_S, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == BAD_DATA, done.stderr
    assert done.stdout == ""
    assert "model.gguf" in done.stderr.splitlines()[-1] or "model.gguf" in " ".join(done.stderr.splitlines()[-3:])
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < MOST_CPU_S
    assert not (tmp_path / "run" / "best_plan.json").exists()
