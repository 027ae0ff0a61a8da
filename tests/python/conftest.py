"""Marks of tests that need more than the kvat program, and a state folder of its own for every test."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "engine: needs a real engine: the llama.cpp worker, and llama-server for some")
    config.addinivalue_line("markers", "browser: needs a headless Chromium")
    config.addinivalue_line("markers", "release: for the optimised build only: a sanitized library is not meant for others")
    # Winners are remembered for the user: neither the developer's are to be read, nor ours to be left behind. This one is
    # for fixtures that live longer than a test.
    config.stash[STATE] = tempfile.TemporaryDirectory(prefix="kvat-test-state-")
    os.environ["XDG_STATE_HOME"] = config.stash[STATE].name


STATE = pytest.StashKey[tempfile.TemporaryDirectory]()


@pytest.fixture(autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's winners are remembered."""
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    return folder
