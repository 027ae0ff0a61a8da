"""Winners of earlier runs: remembered for the user, kept unless surely beaten, and never in the way of a run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from faults import scripted, surface
from kvat_cli import BLOCKING_WORKER, KVAT, ROOT, TIMEOUT_S, Result, environment, kvat

QUIET = {"run_sd": 0.002}
F16 = {"cache-type": "f16"}
POOR = {**F16, "flash-attn": "off", "ubatch-size": 256}
EQUALS = [{**F16, "flash-attn": "on", "ubatch-size": 512}, {**F16, "flash-attn": "on", "ubatch-size": 1024}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    surface(tmp_path / "surface.json", noise=QUIET)
    return tmp_path


def tune(folder: Path, out: str, *arguments: str) -> tuple[Result, dict[str, Any]]:
    result = kvat("tune", "surface.json", "--profile", "ci-micro", "-o", out, "--winners", "winners", *arguments, cwd=folder)
    assert result.code in (0, 6), result.err
    return result, json.loads((folder / out / "best_plan.json").read_text())


def remembered(folder: Path) -> tuple[Path, dict[str, Any]]:
    (path,) = (folder / "winners").iterdir()
    return path, json.loads(path.read_text())


def remember(folder: Path, settings: dict[str, Any], label: str = "the earlier one") -> Path:
    """Makes another configuration the remembered one, after a first run."""
    path, winner = remembered(folder)
    path.write_text(json.dumps({**winner, "settings": settings, "label": label}))
    return path


def test_a_winner_is_remembered_and_the_next_run_into_another_folder_starts_from_it(folder: Path) -> None:
    first, plan = tune(folder, "one")
    assert "earlier" not in first.err + first.out and "incumbent" not in plan
    path, winner = remembered(folder)
    assert winner["settings"] == plan["settings"] and winner["label"] == plan["label"]
    jsonschema.validate(winner, json.loads((ROOT / "schemas" / "winner.schema.json").read_text()))
    jsonschema.validate(plan, json.loads((ROOT / "schemas" / "plan.schema.json").read_text()))
    second, plan = tune(folder, "two", "--world-seed", "9", "--seed", "4")
    assert f"an earlier run found {winner['label']} best: it stays unless it is beaten by more than 1 % at 95 %" in second.err
    assert plan["incumbent"]["kept"] is True and plan["settings"] == winner["settings"]
    said = plan["incumbent"]["said"]
    for text in (second.out, (folder / "two" / "report.md").read_text(), (folder / "two" / "report.html").read_text()):
        assert "The earlier winner" in " ".join(text.split())
    report = json.loads(kvat("report", "two", "--format", "json", cwd=folder).out)
    assert report["incumbent"]["said"] == said
    jsonschema.validate(report, json.loads((ROOT / "schemas" / "report.schema.json").read_text()))
    assert [each.name for each in (folder / "winners").iterdir()] == [path.name]


def test_one_that_is_not_surely_beaten_stays_and_the_chance_is_said(folder: Path) -> None:
    """The two differ by 0.7 %: whichever was there first is the answer."""
    for number, settings in enumerate(EQUALS):
        tune(folder, "first")
        remember(folder, settings)
        _, plan = tune(folder, f"then-{number}", "--world-seed", "5")
        assert plan["settings"] == settings
        assert plan["incumbent"]["kept"] is True
        if plan["incumbent"]["p_beaten"] is not None:
            assert plan["incumbent"]["p_beaten"] <= 0.95
            assert "% sure that" in plan["incumbent"]["said"] and "95 % are needed" in plan["incumbent"]["said"]


def test_one_that_is_surely_beaten_is_replaced_and_the_chance_is_said(folder: Path) -> None:
    _, cold = tune(folder, "one")
    path = remember(folder, POOR)
    result, plan = tune(folder, "two", "--world-seed", "9")
    assert plan["settings"]["flash-attn"] == "on" == cold["settings"]["flash-attn"]
    assert plan["incumbent"]["kept"] is False and plan["incumbent"]["p_beaten"] > 0.95
    assert "the earlier one, gives way: 99 % sure that" in " ".join(result.out.split())
    assert json.loads(path.read_text())["settings"] == plan["settings"]


def test_an_undecided_run_replaces_nothing(folder: Path) -> None:
    tune(folder, "one")
    path = remember(folder, POOR)
    before = path.read_bytes()
    result, plan = tune(folder, "two", "--trials", "3")
    assert result.code == 6
    assert "stays remembered" in plan["incumbent"]["said"]
    assert path.read_bytes() == before


def test_one_that_this_run_does_not_try_stays_remembered(folder: Path) -> None:
    tune(folder, "one")
    path = remember(folder, POOR)
    before = path.read_bytes()
    _, plan = tune(folder, "two", "--sweep", "ubatch-size=512")
    assert "is not among the configurations of this run and stays remembered" in plan["incumbent"]["said"]
    assert plan["incumbent"]["label"] is None
    assert path.read_bytes() == before


def test_other_workloads_and_fixed_settings_have_winners_of_their_own(folder: Path) -> None:
    tune(folder, "one")
    for number, options in enumerate((("--context", "1024"), ("--set", "ubatch-size=256"), ("--weights", "ttft=0.2,decode=0.8,memory=0"))):
        _, plan = tune(folder, f"other-{number}", *options)
        assert "incumbent" not in plan
    assert len(list((folder / "winners").iterdir())) == 4
    _, plan = tune(folder, "same", "--time", "10m", "--runs", "2", "--confidence", "90%")
    assert "incumbent" in plan


def test_a_resumed_run_has_the_incumbent_of_its_start(tmp_path: Path) -> None:
    def gears(out: str) -> list[str | Path]:
        return ["tune", "model", "--engine", BLOCKING_WORKER, "--profile", "ci-micro", "-o", out, "--winners", "winners"]

    assert kvat(*gears("one"), cwd=tmp_path).code == 0
    low, high = ({"gear": gear, "squeeze": "none"} for gear in ("low", "high"))
    remember(tmp_path, low, "the one at the start")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    env = environment(KVAT_TEST_RUNS="6", KVAT_TEST_BLOCKED=str(fifo))
    process = subprocess.Popen([KVAT, *map(str, gears("parts"))], cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    fifo.read_text()  # until the worker blocks in its seventh run
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130
    path = remember(tmp_path, high, "another one meanwhile")
    resumed = kvat(*gears("parts"), cwd=tmp_path)
    assert resumed.code == 0 and "resuming after " in resumed.err
    assert "an earlier run found the one at the start best" in resumed.err
    assert json.loads(path.read_text())["label"] == "another one meanwhile", "what came meanwhile was not compared"
    remember(tmp_path, low, "the one at the start")
    assert kvat(*gears("whole"), cwd=tmp_path).code == 0
    plans = [(tmp_path / name / "best_plan.json").read_text().replace(name, "NAME") for name in ("whole", "parts")]
    assert plans[0] == plans[1]
    assert "the one at the start, gives way" in plans[0]


def test_a_repeated_answer_replaces_nothing(folder: Path) -> None:
    tune(folder, "one")
    path = remember(folder, POOR)
    before = path.read_bytes()
    result, plan = tune(folder, "one")
    assert "this was measured before" in result.err
    assert "incumbent" not in plan and path.read_bytes() == before


@pytest.mark.parametrize("text", ["", "nonsense", "{}", '{"format": "kvat-winner/9"}', "[" * 100000], ids=range(5))
def test_what_is_damaged_is_warned_of_and_left_alone(text: str, folder: Path) -> None:
    tune(folder, "one")
    path, _ = remembered(folder)
    path.write_text(text)
    result, plan = tune(folder, "two", "--world-seed", "3")
    assert result.code == 0
    assert "kvat: warning: the winner of an earlier run is not used: " in result.err and path.name in result.err
    assert "incumbent" not in plan and path.read_text() == text


def test_a_folder_that_cannot_be_made_costs_no_result(folder: Path) -> None:
    (folder / "winners").write_text("mine")
    result, _ = tune(folder, "one")
    assert result.code == 0
    assert "kvat: warning: " in result.err and "winner" in result.err
    assert (folder / "winners").read_text() == "mine"


def test_a_simulated_machine_is_remembered_only_where_that_is_asked_for(folder: Path, state_home: Path) -> None:
    for options in ((), ("--winners", "none")):
        result = kvat("tune", "surface.json", "--profile", "ci-micro", "--fresh", *options, cwd=folder)
        assert result.code == 0, result.err
    assert list(state_home.rglob("*")) == []
    assert not (folder / "winners").exists() and not (folder / "none").exists()


def test_a_real_machine_is_remembered_in_the_state_folder(tmp_path: Path, state_home: Path) -> None:
    """Whether it is decided depends on the machine; what is decided is remembered, and names neither user nor host."""
    worker = scripted(tmp_path, {"clock": "real", "step_ms": {"low": 2, "high": 1}})
    result = kvat("tune", "model", "--engine", worker, "--context", "64", "--output-tokens", "8", cwd=tmp_path)
    assert result.code in (0, 6), result.err
    files = list((state_home / "kvat" / "winners").glob("*.json"))
    assert len(files) == (result.code == 0)
    assert not any(str(tmp_path) in path.read_text() for path in files)
