"""Each allocation of a command fails in turn: the program says so and leaves cleanly (fault row 21)."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from kvat_cli import KVAT, environment
from test_cli_plan import PLAN, write

FAILING = Path(os.environ.get("KVAT_FAILING", KVAT.parent.parent / "tests" / "kvat-failing"))
COMMANDS = [
    ["--version"],
    ["tune", "--help"],
    ["completion", "zsh"],
    ["profiles"],
    ["profiles", "--json"],
    ["profiles", "show", "rag", "--json"],
    ["profiles", "shwo"],
    ["report", "--fromat", "md"],
    ["apply", "plan.json", "--free-memory", "8GiB"],
    ["apply", "plan.json", "--free-memory", "8GiB", "--print-snippet", "-o", "snippet.sh"],
    ["compare", "plan.json", "plan.json", "--gate", "ttft=5%", "--junit", "junit.xml"],
    ["compare", "plan.json", "plan.json", "--json"],
    ["verify", "plan.json"],
]


def run_failing(arguments: list[str], n: int, cwd: Path) -> tuple[bool, int, str, str]:
    """Whether the n-th allocation was reached (and failed), exit code, stdout and stderr."""
    reader, writer = os.pipe()
    # The parser of jansson 2.14 itself writes through NULL without memory: only where nothing is parsed does it fail, too.
    jansson = None if "plan.json" in arguments else "1"
    env = environment(KVAT_TEST_FAIL_JANSSON=jansson, KVAT_TEST_FAIL_ALLOC=str(n), KVAT_TEST_FAIL_FD=str(writer))
    done = subprocess.run([FAILING, *arguments], cwd=cwd, env=env, capture_output=True, pass_fds=[writer], check=False)
    os.close(writer)
    with open(reader, "rb") as pipe:
        met = pipe.read() != b""
    return met, done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_every_allocation_that_fails_is_survived(arguments: list[str], tmp_path: Path) -> None:
    plan = {name: value for name, value in PLAN.items() if name != "fallback"}
    write(tmp_path / "plan.json", plan)
    _, good_code, good_out, _ = run_failing(arguments, 0, tmp_path)
    n, failures = 0, 0
    while True:
        n += 1
        met, code, out, err = run_failing(arguments, n, tmp_path)
        assert "Sanitizer" not in err, (n, err)
        if not met:
            break
        failures += 1
        if code == 1:
            assert "memory" in err or "allocate" in err, (n, err)
        else:  # it could do without
            assert (code, out) == (good_code, good_out), (n, err)
        if code == 1 and "--json" in arguments and out:
            assert json.loads(out)["error"] == "out_of_memory"
    assert failures >= (1 if arguments != ["--version"] else 0)
