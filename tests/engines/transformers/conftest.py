"""The worker's modules, the kits of tests/python, and a cache of its own; models are random weights made on the spot.

Run by a Python that has PyTorch and Transformers: engines/transformers/find-transformers.sh names one.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / part) for part in ("engines/transformers", "bench/transformers", "tests/python")]

from snippet_kit import folders, snippet  # noqa: E402, F401  # fixtures

STATE = pytest.StashKey[tempfile.TemporaryDirectory]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[STATE] = tempfile.TemporaryDirectory(prefix="kvat-test-transformers-")
    place = Path(config.stash[STATE].name)
    os.environ |= {"KVAT_CACHE_DIR": str(place / "cache"), "XDG_STATE_HOME": str(place / "state"), "HF_HOME": str(place / "hub"),
                   "HF_HUB_OFFLINE": "1", "KVAT_PYTHON": sys.executable}  # fmt: skip
    import torch
    import transformers

    torch.set_num_threads(1)  # of tiny models: more would wait for each other
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


@pytest.fixture(autouse=True)
def no_permissions(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KVAT_ALLOW_NETWORK", "KVAT_TRUST_REMOTE_CODE"):
        monkeypatch.delenv(name, raising=False)
