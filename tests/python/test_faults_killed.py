"""kvat killed and interrupted in every phase: nothing lost but the trial in flight, nobody left behind (rows 10, 18)."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from faults import (
    OUTPUTS,
    RESULTS,
    Running,
    marked,
    misbehaving,
    outputs,
    running,
    signal_handled,
    start,
    surface,
    trials,
    wait_until,
)
from kvat_cli import Result, kvat

KILLS = 200
ENDED = (0, 6)  # decided, or the budget ended first: the search is not what is tested here
TUNE = ("tune", "surface.json", "-v")
TRIAL = re.compile(r"^(trial \d+|confirm pair)")
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


def is_trial(line: str) -> bool:
    return TRIAL.match(line) is not None


def is_written(line: str) -> bool:
    return line.startswith("wrote ")


@dataclass
class Reference:
    """What a run that nobody disturbed made."""

    files: dict[str, bytes]
    trials: int
    to_first_line_s: float
    to_first_trial_s: float


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    folder = prepared(tmp_path_factory.mktemp("whole"))
    began = time.monotonic()
    run = start(*TUNE, cwd=folder)
    run.read_line()
    to_first_line = time.monotonic() - began
    run.read_until(is_trial)
    to_first_trial = time.monotonic() - began
    result = run.finish()
    assert result.code in ENDED, result.err
    files = outputs(folder / RESULTS)
    assert set(files) == set(OUTPUTS)
    return Reference(files, len(trials(folder / RESULTS)), to_first_line, to_first_trial)


def prepared(folder: Path) -> Path:
    """A folder with a surface in it that is decided after some thirty trials, loads between them included."""
    surface(folder / "surface.json", load_s=1.5)
    return folder


def stored(folder: Path) -> int:
    return len(trials(folder / RESULTS)) if (folder / RESULTS).exists() else 0


# ---- killed ----


@dataclass
class Killer:
    """Chooses moments: so many lines into a phase, and so long after that line. The same ones for the same seed."""

    random: random.Random
    reference: Reference

    def strike(self, run: Running) -> str:
        """Kills the run at a moment and says in which phase that was."""
        phase = self.random.choices(["start", "trials", "files"], weights=[3, 10, 1])[0]
        if phase == "start":
            time.sleep(self.random.uniform(0, 2 * self.reference.to_first_trial_s))
        else:
            wanted = is_trial if phase == "trials" else is_written
            for _ in range(self.random.randint(1, 5)):
                if run.read_until(wanted) is None:
                    break
            time.sleep(self.random.uniform(0, self.reference.to_first_trial_s / 10))
        run.process.kill()
        run.finish()
        return self.phase_of(run)

    @staticmethod
    def phase_of(run: Running) -> str:
        """By the last thing it said."""
        if run.process.returncode != -signal.SIGKILL:
            return "over already"
        told = [line for line in run.lines if not line.startswith("time to an answer")]
        last = told[-1] if told else ""
        return ("writing files" if is_written(last) else "confirming" if last.startswith("confirm") else
                "searching" if last.startswith("trial ") else "resuming" if last.startswith("resuming") else
                "repeating" if last.startswith("this was measured") else "starting" if not told else "setting up")  # fmt: skip


def check_after_kill(run: Running, folder: Path, before: int, reference: Reference) -> int:
    """Nobody is left, no told trial is lost, what is written is whole. The number of trials kept."""
    assert run.left_alive() == []
    told = sum(map(is_trial, run.lines))
    now = stored(folder)
    assert before + told <= now <= before + told + 1, "told is stored; stored and not told is at most one"
    resumed = [int(line.split()[2]) for line in run.lines if line.startswith("resuming after")]
    assert resumed in ([], [before])
    for name, content in outputs(folder / RESULTS).items():
        assert content == reference.files[name], f"{name} is half written"
    return now


def test_killed_at_two_hundred_moments_it_ends_like_a_run_nobody_disturbed(tmp_path: Path, reference: Reference) -> None:
    killer = Killer(random.Random(10), reference)
    phases: Counter[str] = Counter()
    sittings, kills = 0, 0
    while kills < KILLS:
        folder = tmp_path / str(sittings)
        folder.mkdir()
        prepared(folder)
        kept = 0
        ended = False
        while kills < KILLS and not ended:
            run = start(*TUNE, cwd=folder)
            phase = killer.strike(run)
            ended = phase == "over already"
            phases[phase] += not ended
            kills += not ended
            kept = check_after_kill(run, folder, kept, reference)
        whole = kvat(*TUNE, cwd=folder)
        assert whole.code in ENDED, whole.err
        assert outputs(folder / RESULTS) == reference.files
        assert stored(folder) == reference.trials
        sittings += 1
    print(f"{sittings} runs, kills:", dict(phases))
    assert min(phases["searching"], phases["confirming"]) > 0, phases
    assert phases["starting"] + phases["setting up"] + phases["resuming"] > 0, phases


@pytest.mark.parametrize("mode", ["hang", "ignore-term", "grandchildren", "stop"])
def test_no_worker_outlives_a_killed_kvat(mode: str, tmp_path: Path) -> None:
    worker = misbehaving(tmp_path, "--mode", mode, "--at", "run", "--once", tmp_path / "met")
    with running("tune", "model", "--engine", worker, "--profile", "ci-micro", cwd=tmp_path) as run:
        assert wait_until((tmp_path / "met").exists)
        if mode == "grandchildren":
            assert wait_until(lambda: len(marked(run.mark)) >= 6), "kvat, supervisor, worker and three more"
        run.process.kill()
        run.process.wait()
        assert run.left_alive() == []
    assert kvat("tune", "model", "--engine", worker, "--profile", "ci-micro", cwd=tmp_path).code in ENDED


def test_a_killed_supervisor_costs_one_trial_and_leaves_nobody(tmp_path: Path) -> None:
    worker = misbehaving(tmp_path, "--mode", "hang", "--at", "run", "--once", tmp_path / "met")
    with running("tune", "model", "--engine", worker, "--profile", "ci-micro", "--json", cwd=tmp_path) as run:
        assert wait_until((tmp_path / "met").exists)
        os.kill(supervisor_of(run), signal.SIGKILL)
        result = run.finish()
        assert result.code in ENDED, result.err
        crashed = [trial["detail"] for trial in trials(tmp_path / RESULTS) if trial["status"] == "crash"]
        assert crashed == ["the worker lost its supervisor, which was killed"]
        assert run.left_alive() == []


def supervisor_of(run: Running) -> int:
    return next(pid for pid in marked(run.mark) if Path(f"/proc/{pid}/comm").read_text() == "kvat-spawn\n")


# ---- interrupted ----


def check_interrupted(result: Result, number: int) -> None:
    if result.code not in ENDED:  # it was not over already
        assert result.code == CODES[number], result.err
        assert result.out == ""
        assert "Resume: kvat tune surface.json -v" in result.err.splitlines()
        assert "interrupted" in result.err


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
def test_interrupted_again_and_again_it_ends_like_a_run_nobody_disturbed(
    number: signal.Signals, tmp_path: Path, reference: Reference
) -> None:
    moments = random.Random(int(number))
    prepared(tmp_path)
    interrupted = 0
    for _ in range(8):
        run = start(*TUNE, cwd=tmp_path)
        for _ in range(moments.randint(0, 4)):
            run.read_until(is_trial)
        run.read_until(lambda line: True)
        run.process.send_signal(number)
        result = run.finish()
        check_interrupted(result, number)
        interrupted += result.code not in ENDED
        assert run.left_alive() == []
    assert interrupted >= 1
    result = kvat(*TUNE, cwd=tmp_path)
    assert result.code in ENDED, result.err
    assert outputs(tmp_path / RESULTS) == reference.files


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
def test_the_second_signal_waits_for_nobody(number: signal.Signals, tmp_path: Path) -> None:
    worker = misbehaving(tmp_path, "--mode", "ignore-term", "--once", tmp_path / "met")
    with running("tune", "model", "--engine", worker, "--profile", "ci-micro", cwd=tmp_path) as run:
        assert wait_until((tmp_path / "met").exists)
        run.process.send_signal(number)
        assert wait_until(lambda: signal_handled(run.process.pid))
        assert run.process.poll() is None, "a worker that heeds nothing has time to do so"
        run.process.send_signal(number)
        result = run.finish()
        assert result.code == CODES[number], result.err
        assert "Resume: " in result.err
        assert run.left_alive() == []
    assert kvat("tune", "model", "--engine", worker, "--profile", "ci-micro", cwd=tmp_path).code in ENDED


def test_an_interruption_as_json_is_one_document(tmp_path: Path) -> None:
    worker = misbehaving(tmp_path, "--mode", "hang", "--once", tmp_path / "met")
    with running("tune", "model", "--engine", worker, "--profile", "ci-micro", "--json", cwd=tmp_path) as run:
        assert wait_until((tmp_path / "met").exists)
        run.process.send_signal(signal.SIGTERM)
        result = run.finish()
    document = json.loads(result.out)
    assert (result.code, document["error"]) == (143, "interrupted")
