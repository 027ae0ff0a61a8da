"""The package under test is the installed wheel; each test has a folder and a state folder of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kvat
import pytest
from kvat import InstalledEngine, TuneConfig, TuneResult, TuningSearch
from package_kit import ROOT, SURFACE

assert ROOT / "python" not in Path(kvat.__file__).parents, "the source tree is tested instead of the wheel"


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> TuneResult:
    """A decided run of the simulated engine."""
    folder = tmp_path_factory.mktemp("simulated")
    config = TuneConfig(SURFACE, profile="ci-micro", output_dir=folder / "results")
    return TuningSearch(config, InstalledEngine("sim")).run()


@pytest.fixture
def surface(tmp_path: Path) -> Callable[..., Path]:
    """A surface with some of its members replaced."""

    def write(**members: Any) -> Path:
        path = tmp_path / "surface.json"
        path.write_text(json.dumps({**json.loads(SURFACE.read_text()), **members}))
        return path

    return write
