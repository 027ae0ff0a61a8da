"""In `make check` everything that tests need is installed, so a skip there is a failure with its reason."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

# What a machine may truly lack: said in the output, and counted as skipped.
MAY_LACK = ("not run: no GPU", "no cgroup")


def pytest_configure() -> None:
    """A job in the background starts with the keyboard's signals ignored, and kvat leaves ignored what it finds so."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()
    if not report.skipped or not os.environ.get("KVAT_NO_SKIP"):
        return
    reason = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not any(word in reason for word in MAY_LACK):
        report.outcome = "failed"
        report.longrepr = f"not run, and that is a failure here: {reason}"
