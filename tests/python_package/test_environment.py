"""engines/transformers/find-transformers.sh: which environment it takes, and that all versions in it are pinned."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from package_kit import ROOT

ENVIRONMENT = Path(os.environ["KVAT_TRANSFORMERS_PYTHON"]).parents[1].resolve()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The script with its lists, and a cache that holds the environment of the tests under another name."""
    here = Path("engines") / "transformers"
    (tmp_path / here / "cache").mkdir(parents=True)
    (tmp_path / here / "cache" / "transformers-other").symlink_to(ENVIRONMENT)
    (tmp_path / "scripts").mkdir()
    names = [here / name for name in ("find-transformers.sh", "requirements.txt", "constraints.txt")]
    for name in (*names, Path("scripts") / "base-python.sh"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path / here


def find(source: Path) -> subprocess.CompletedProcess[str]:
    """Without a network, so that nothing can be installed."""
    environment = {**os.environ, "KVAT_CACHE_DIR": str(source / "cache"), "PIP_NO_INDEX": "1"}
    script = source / "find-transformers.sh"
    return subprocess.run([script], env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_an_environment_with_the_very_packages_is_taken_over(source: Path) -> None:
    done = find(source)
    assert done.returncode == 0, done.stderr
    found = Path(done.stdout.strip()).parents[1]
    assert found.parent == source / "cache" and found.name != "transformers-other"
    assert found.resolve() == ENVIRONMENT
    assert find(source).stdout == done.stdout


@pytest.mark.parametrize("package", ["tqdm", "torch"])
def test_one_with_another_version_is_not(source: Path, package: str) -> None:
    """Whether asked for by name or brought along."""
    constraints = source / "constraints.txt"
    lines = constraints.read_text().splitlines()
    changed = [f"{package}==0.0.1" if line.startswith(f"{package}==") else line for line in lines]
    assert changed != lines
    constraints.write_text("\n".join(changed) + "\n")
    done = find(source)
    assert (done.returncode, done.stdout) == (1, "") and "pip install" in done.stderr
