"""Finds and starts the C program that lies inside this package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from .errors import KvatError, error_of

PREFIX = Path(__file__).resolve().parent / "_prefix"
Json = dict[str, Any]


def program() -> Path:
    """The program. It finds its workers, schemas and prompts from where it lies."""
    path = PREFIX / "bin" / "kvat"
    if not path.is_file():
        raise KvatError(f"{path} is missing: this copy of kvat was not installed by pip")
    return path


def libexec() -> Path:
    """Folder of the workers."""
    return Path(os.environ.get("KVAT_LIBEXEC_DIR") or PREFIX / "libexec" / "kvat")


def environment() -> dict[str, str]:
    """Ours, and workers written in Python run in the Python that asks, unless KVAT_PYTHON says otherwise."""
    return {"KVAT_PYTHON": sys.executable, **os.environ}


def last_line(log: str) -> str:
    """What the program said last on standard error, without its name."""
    lines = [line for line in log.splitlines() if line.strip()]
    return lines[-1].removeprefix("kvat: ") if lines else "no reason given"


def failure(exit_code: int, output: str, log: str) -> KvatError:
    """The exception for a program that failed, with the message of its kvat-error/1 if it wrote one."""
    try:
        message = str(json.loads(output)["message"])
    except (ValueError, KeyError, TypeError):
        message = last_line(log)
    return error_of(exit_code, message)


def ask(arguments: Iterable[str]) -> Json:
    """Runs a command that answers at once and returns its JSON document."""
    done = subprocess.run(
        [program(), *arguments, "--json"],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise failure(done.returncode, done.stdout, done.stderr)
    document: Json = json.loads(done.stdout)
    return document


def main() -> NoReturn:
    """`kvat` and `python -m kvat`: becomes the C program."""
    try:
        path = program()
    except KvatError as error:
        sys.exit(f"kvat: {error}")
    os.execve(path, ["kvat", *sys.argv[1:]], environment())
