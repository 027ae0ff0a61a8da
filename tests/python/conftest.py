"""Marks of tests that need more than the kvat program."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "engine: needs a real engine: the llama.cpp worker, and llama-server for some")
    config.addinivalue_line("markers", "browser: needs a headless Chromium")
    config.addinivalue_line("markers", "release: for the optimised build only: a sanitized library is not meant for others")
