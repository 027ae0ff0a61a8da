"""Budgets that grow and shrink, answers repeated, recordings replayed, and memory that runs out (row 21)."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path

import pytest

from faults import BUILD, OUTPUTS, RESULTS, misbehaving, outputs, running, surface, trials
from kvat_cli import KVAT, SURFACE, Result, environment, kvat
from protocol_kit import validator

ENDED = (0, 6)
FAILING = Path(os.environ.get("KVAT_FAILING", BUILD / "tests" / "kvat-failing"))


def tune(folder: Path, *arguments: str | Path) -> Result:
    result = kvat("tune", SURFACE, "--profile", "ci-micro", *arguments, cwd=folder)
    assert result.code in ENDED, result.err
    return result


# ---- budgets ----


@pytest.mark.parametrize("budget", [("--time", "15s"), ("--trials", "5")], ids=" ".join)
def test_a_larger_budget_continues_to_the_answer_of_one_run(budget: tuple[str, str], tmp_path: Path) -> None:
    """The search goes on as if it had had the larger budget from the start; the early confirmation is not forgotten."""
    assert tune(tmp_path, *budget).code == 6
    few = trials(tmp_path / RESULTS)
    larger = tune(tmp_path, "--time", "30m", "--trials", "1000")
    assert f"resuming after {len(few)} trials" in larger.err
    more = trials(tmp_path / RESULTS)
    assert more[: len(few)] == few
    assert len(more) > len(few)
    whole = tmp_path / "whole"
    whole.mkdir()
    tune(whole, "--time", "30m", "--trials", "1000")
    searched = [row["config"] for row in trials(whole / RESULTS) if row["phase"] == "search"]
    assert [row["config"] for row in more if row["phase"] == "search"][:5] == searched[:5]


def test_every_way_to_the_same_budget_ends_alike_when_nothing_was_confirmed_early(tmp_path: Path) -> None:
    """One trial leaves nothing to confirm, so the stored trials are a beginning of the whole run's."""
    assert tune(tmp_path, "--trials", "1").code == 6
    tune(tmp_path)
    whole = tmp_path / "whole"
    whole.mkdir()
    tune(whole)
    assert outputs(tmp_path / RESULTS) == outputs(whole / RESULTS)


def test_a_smaller_or_equal_budget_repeats_the_answer(tmp_path: Path) -> None:
    code = tune(tmp_path).code
    files, made = outputs(tmp_path / RESULTS), trials(tmp_path / RESULTS)
    for budget in ([], ["--time", "1s"], ["--trials", "1"], ["--time", "20m"]):
        again = tune(tmp_path, *budget)
        assert again.code == code
        assert "this was measured before" in again.err
        assert "trial 1:" not in again.err
        assert outputs(tmp_path / RESULTS) == files
    assert trials(tmp_path / RESULTS) == made


def test_repeating_an_answer_asks_the_engine_nothing_but_what_it_is(tmp_path: Path) -> None:
    worker = misbehaving(tmp_path, "--mode", "none")
    arguments = ("tune", "model", "--profile", "ci-micro", "--engine", worker)
    assert kvat(*arguments, cwd=tmp_path).code in ENDED
    misbehaving(tmp_path, "--mode", "segv", "--at", "load")  # the same program in name; any trial would crash
    again = kvat(*arguments, cwd=tmp_path)
    assert again.code in ENDED, again.err
    assert "this was measured before" in again.err


def test_fresh_measures_again_and_keeps_the_old_run(tmp_path: Path) -> None:
    tune(tmp_path)
    files = outputs(tmp_path / RESULTS)
    fresh = tune(tmp_path, "--fresh")
    assert "trial 1:" in fresh.err
    runs = json.loads(kvat("runs", "--json", cwd=tmp_path).out)
    assert outputs(tmp_path / RESULTS).keys() == files.keys()
    states = [run["state"] for folder in runs["folders"] for run in folder["runs"]] if "folders" in runs else [run["state"] for run in runs["runs"]]
    assert states == ["abandoned", "finished"]


def test_another_request_in_the_same_folder_is_another_run(tmp_path: Path) -> None:
    tune(tmp_path, "--trials", "3")
    other = tune(tmp_path, "--trials", "3", "--seed", "5")
    assert "resuming" not in other.err
    assert "trial 1:" in other.err
    back = tune(tmp_path, "--trials", "3")
    assert "this was measured before" in back.err


# ---- determinism ----


@pytest.mark.parametrize("arguments", [(), ("--allow-lossy",), ("--seed", "3"), ("--batch", "1"), ("--context", "300,700", "--output-tokens", "16,64")], ids=" ".join)
def test_the_same_seeds_give_the_same_bytes(arguments: tuple[str, ...], tmp_path: Path) -> None:
    made = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        tune(tmp_path / name, *arguments)
        made.append((outputs(tmp_path / name / RESULTS), trials(tmp_path / name / RESULTS)))
    assert made[0] == made[1]
    assert set(made[0][0]) == set(OUTPUTS)


def test_another_world_has_other_times_and_another_seed_another_order(tmp_path: Path) -> None:
    rows = {}
    for name, arguments in (("first", ()), ("world", ("--world-seed", "9")), ("order", ("--seed", "9"))):
        (tmp_path / name).mkdir()
        tune(tmp_path / name, *arguments)
        rows[name] = trials(tmp_path / name / RESULTS)
    assert rows["first"][0]["run_ns"] != rows["world"][0]["run_ns"]
    assert [row["config"] for row in rows["first"][:6]] == [row["config"] for row in rows["world"][:6]]
    assert [row["config"] for row in rows["first"][:6]] != [row["config"] for row in rows["order"][:6]]


# ---- recordings ----


def test_a_recording_follows_the_schema_and_tells_the_same_story(tmp_path: Path) -> None:
    tune(tmp_path)
    recorded = json.loads(kvat("runs", "export", "--surface", cwd=tmp_path).out)
    assert list(validator("surface").iter_errors(recorded)) == []
    (tmp_path / "recorded.json").write_text(json.dumps(recorded))
    first = json.loads((tmp_path / RESULTS / "best_plan.json").read_text())
    again = kvat("tune", "recorded.json", "--profile", "ci-micro", "-o", "again", cwd=tmp_path)
    assert again.code in ENDED, again.err
    plan = json.loads((tmp_path / "again" / "best_plan.json").read_text())
    worse = [entry["score"] for entry in first["alternatives"] if entry["settings"] == plan["settings"]]
    best = max(entry["score"] for entry in first["alternatives"])
    assert worse and worse[0] > best * 0.95, "what wins on the recording was among the best of the run"


def test_a_recording_of_a_run_with_failures_fails_again(tmp_path: Path) -> None:
    surface(tmp_path / "surface.json", faults=[{"when": {"flash-attn": "on"}, "kind": "oom_device"}])
    assert kvat("tune", "surface.json", "--profile", "ci-micro", cwd=tmp_path).code in ENDED
    (tmp_path / "recorded.json").write_text(kvat("runs", "export", "--surface", cwd=tmp_path).out)
    again = kvat("tune", "recorded.json", "--profile", "ci-micro", "--json", "-o", "again", cwd=tmp_path)
    assert again.code in ENDED, again.err
    entries = json.loads(again.out)["report"]["entries"]
    for entry in entries:
        assert ("oom_device" in entry["failures"]) == (entry["settings"]["flash-attn"] == "on"), entry["label"]


def test_a_killed_replay_of_a_recording_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    tune(tmp_path)
    text = kvat("runs", "export", "--surface", cwd=tmp_path).out
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "recorded.json").write_text(text)
    arguments = ("tune", "recorded.json", "--profile", "ci-micro")
    code = kvat(*arguments, cwd=tmp_path / "whole").code
    with running(*arguments, cwd=tmp_path / "killed") as run:
        assert run.read_until(lambda line: line.startswith("trial 4:"))
        run.process.kill()
    assert kvat(*arguments, cwd=tmp_path / "killed").code == code
    assert outputs(tmp_path / "killed" / RESULTS) == outputs(tmp_path / "whole" / RESULTS)


# ---- memory runs out in kvat itself (row 21) ----


def run_failing(n: int, folder: Path) -> tuple[bool, Result]:
    """Whether the n-th allocation was reached (and failed), and what came of the run."""
    reader, writer = os.pipe()
    env = environment(
        KVAT_TEST_FAIL_ALLOC=str(n), KVAT_TEST_FAIL_FD=str(writer), KVAT_DATA_DIR=data_folder(), KVAT_LIBEXEC_DIR=str(libexec_folder())
    )  # fmt: skip
    done = subprocess.run(
        [FAILING, "tune", "surface.json", "--profile", "ci-micro", "--trials", "4"],
        cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, pass_fds=[writer], check=False,
    )  # fmt: skip
    os.close(writer)
    with open(reader, "rb") as pipe:
        met = pipe.read() != b""
    return met, Result(done.returncode, done.stdout.decode(), done.stderr.decode())


def libexec_folder() -> Path:
    return KVAT.parent.parent / "libexec" / "kvat"


def data_folder() -> str:
    return os.environ.get("KVAT_DATA_DIR", str(KVAT.parent.parent / "share" / "kvat"))


def count_allocations(folder: Path) -> int:
    """Some number that is reached, and whose double is not."""
    n = 1024
    while True:
        (folder / str(n)).mkdir()
        surface(folder / str(n) / "surface.json")
        if not run_failing(n, folder / str(n))[0]:
            return n
        n *= 2


def test_whatever_allocation_fails_in_a_run_it_ends_cleanly_and_resumes(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    surface(whole / "surface.json")
    met, good = run_failing(0, whole)
    assert not met
    assert good.code in ENDED, good.err
    files = outputs(whole / RESULTS)
    most = count_allocations(tmp_path)
    moments = random.Random(21)
    failed = 0
    for n in sorted({*range(1, 12), *(int(most ** moments.uniform(0.3, 1)) for _ in range(40))}):
        folder = tmp_path / f"n{n}"
        folder.mkdir()
        surface(folder / "surface.json")
        met, result = run_failing(n, folder)
        assert "Sanitizer" not in result.err, (n, result.err)
        failed += met
        if result.code == 1:
            assert any(word in result.err for word in ("memory", "allocate")), (n, result.err)
            _, result = run_failing(0, folder)
        assert result.code == good.code, (n, result.err)
        assert outputs(folder / RESULTS) == files, n
    assert failed > 20
