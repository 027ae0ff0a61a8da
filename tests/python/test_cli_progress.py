"""`kvat tune --progress json`: what a program is told while a run goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import jsonschema

from kvat_cli import KVAT, ROOT, SURFACE, TIMEOUT_S, environment, kvat

TUNE = ("tune", str(SURFACE), "--profile", "ci-micro", "-o", "results", "--progress", "json")


def events_of(text: str) -> list[dict[str, Any]]:
    """Those of standard error; what is no document is log text."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_every_event_follows_the_schema(tmp_path: Path) -> None:
    validator = jsonschema.Draft202012Validator(json.loads((ROOT / "schemas" / "event.schema.json").read_text()))
    result = kvat(*TUNE, "--json", cwd=tmp_path)
    assert result.code == 0, result.err
    events = events_of(result.err)
    assert [[error.message for error in validator.iter_errors(event)] for event in events] == [[]] * len(events)
    assert {"note", "heading", "trial", "estimate", "confirm", "file"} <= {event["event"] for event in events}
    assert len(events) == len(result.err.splitlines()), "nothing but documents"


def test_trials_are_counted_and_their_figures_are_those_of_the_answer(tmp_path: Path) -> None:
    result = kvat(*TUNE, "--json", cwd=tmp_path)
    answer = json.loads(result.out)
    events = events_of(result.err)
    runs = [event for event in events if event["event"] in ("trial", "confirm")]
    assert [event["trial"] for event in runs] == sorted(event["trial"] for event in runs)
    assert runs[-1]["trial"] == answer["plan"]["confidence"]["trials"]
    assert runs[-1]["leader"] == answer["plan"]["label"]
    assert [event["text"] for event in events if event["event"] == "file"] == ["best_plan.json", "report.html", "report.md"]


def test_a_hostile_label_stays_one_line_of_json(tmp_path: Path) -> None:
    surface = json.loads(SURFACE.read_text())
    surface["name"] = 'a\n{"format": "kvat-event/1"}\x1b]0;x\x07'
    (tmp_path / "hostile.json").write_text(json.dumps(surface))
    result = kvat("tune", "hostile.json", *TUNE[2:], cwd=tmp_path)
    assert result.code == 0, result.err
    assert all(json.loads(line)["event"] for line in result.err.splitlines() if line.startswith("{"))
    assert "\x1b" not in result.err


def test_a_reader_that_leaves_ends_the_run_which_can_be_resumed(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    left = subprocess.run([KVAT, *TUNE], cwd=tmp_path, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=write, timeout=TIMEOUT_S, check=False)  # fmt: skip
    os.close(write)
    assert left.returncode == 128 + signal.SIGINT
    assert not (tmp_path / "results" / "best_plan.json").exists()
    assert kvat(*TUNE, cwd=tmp_path).code == 0


def test_an_unknown_form_is_a_usage_error(tmp_path: Path) -> None:
    result = kvat(*TUNE[:-1], "jsno", cwd=tmp_path)
    assert result.code == 2
    assert "json" in result.err
