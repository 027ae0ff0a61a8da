"""Engines that kvat brings along as worker programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Engine:
    """What tells a search which worker to start. `name` is an engine that `kvat engines` lists, or the path of a worker."""

    name: str

    def check(self) -> None:
        """Raises `EngineUnavailableError` where it is known beforehand that the worker cannot start."""

    def argument(self, folder: Path) -> str:
        """The value of `kvat tune --engine`. Files that it needs are written into `folder`, which lasts as long as the run."""
        return self.name

    def source(self) -> Mapping[str, Any] | None:
        """Where the code of an engine written in Python is, so that a snippet can import it."""
        return None


class InstalledEngine(Engine):
    """An engine by name: `InstalledEngine("sim")`."""

    def __init__(self, name: str) -> None:
        self.name = name
