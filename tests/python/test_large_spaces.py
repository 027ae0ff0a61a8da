"""More configurations than anybody lists: all of them up to ten thousand, beyond that a sample that says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from kvat_cli import kvat

MOST = 10_000
BASE = [{"prompt_tokens": 512, "output_tokens": 32, "ttft_s": 1.0, "decode_tok_per_s": 40.0, "peak_bytes": 2_000_000_000}]
TUNE = ("tune", "surface.json", "--profile", "ci-micro")


def write_surface(folder: Path, knobs: int, values: int, **changes: object) -> None:
    """A surface of `knobs` knobs with `values` values each."""
    names = [f"v{i}" for i in range(values)]
    declared = [
        {"name": f"k{i}", "type": "enum", "values": names, "default": "v0", "search": names, "scope": "context"} for i in range(knobs)
    ]
    surface = {"format": "kvat-surface/1", "name": "large", "knobs": declared, "base": BASE, "noise": {"run_sd": 0.01}, **changes}
    (folder / "surface.json").write_text(json.dumps(surface))


def dry_run(folder: Path, *options: str) -> dict:
    result = kvat(*TUNE, "--dry-run", "--json", *options, cwd=folder)
    assert result.code == 0, result.err
    return json.loads(result.out)


def test_ten_thousand_are_all_there(tmp_path: Path) -> None:
    write_surface(tmp_path, 4, 10)
    document = dry_run(tmp_path)
    assert len(document["configurations"]) == MOST
    assert document["drawn_from"] is None


@pytest.mark.parametrize(("knobs", "values", "of"), [(6, 10, "1000000"), (63, 2, "over 10^18")])
def test_of_more_a_sample_is_drawn_and_said_to_be_one(knobs: int, values: int, of: str, tmp_path: Path) -> None:
    write_surface(tmp_path, knobs, values)
    result = kvat(*TUNE, "--dry-run", cwd=tmp_path)
    assert result.code == 0, result.err
    assert f"drawn at random from {of} combinations; what was not drawn is not considered" in result.out
    assert f"drawn at random from {of}" in " ".join(result.err.split()), "the heading says it, too"
    assert len(result.out.splitlines()) < 120, "a list nobody reads to its end is cut"
    assert f"{MOST - 100} more" in result.out


def test_a_sample_has_every_single_change_and_goes_by_its_seed(tmp_path: Path) -> None:
    write_surface(tmp_path, 6, 10)
    settings = [tuple(each["settings"].values()) for each in dry_run(tmp_path)["configurations"]]
    assert len(set(settings)) == len(settings) == MOST
    changes = [sum(value != "v0" for value in each) for each in settings]
    assert changes[0] == 0 and changes.count(1) == 6 * 9 and changes.count(2) == 15 * 81
    assert settings == [tuple(each["settings"].values()) for each in dry_run(tmp_path)["configurations"]]
    other = [tuple(each["settings"].values()) for each in dry_run(tmp_path, "--seed", "5")["configurations"]]
    assert set(other) != set(settings)


def test_every_output_says_that_a_sample_was_drawn_and_lists_only_what_was_tried(tmp_path: Path) -> None:
    write_surface(tmp_path, 6, 10)
    assert kvat(*TUNE, "--trials", "1", cwd=tmp_path).code == 6
    said = "10000 of 1000000 combinations were drawn at random: what was not drawn was not considered"
    results = tmp_path / "kvat_results"
    assert said in (results / "report.md").read_text()
    assert said in (results / "report.html").read_text()
    assert json.loads((results / "best_plan.json").read_text())["confidence"]["drawn_from"] == 1_000_000
    report = json.loads(kvat("report", "--format", "json", cwd=tmp_path).out)
    assert report["drawn_from"] == 1_000_000 and report["untried"] == MOST - 1
    assert len(report["entries"]) == 101
    assert len(kvat("report", "--format", "csv", cwd=tmp_path).out.splitlines()) == 102
    assert len((results / "report.md").read_bytes()) < 10_000
    exported = json.loads(kvat("runs", "export", "--surface", cwd=tmp_path).out)
    assert len(exported["configs"]) == 1 and not exported["faults"] and "base" not in exported
    again = kvat(*TUNE, "--trials", "1", cwd=tmp_path)
    assert again.code == 6 and "measured before" in again.err


@pytest.mark.release
def test_ten_thousand_end_with_an_answer(tmp_path: Path) -> None:
    """In the default budget, and near the best of them all though few were measured."""
    gains = {f"k{i}": {f"v{j}": {"decode": 0.01 * ((i + 3 * j) % 10)} for j in range(1, 10)} for i in range(4)}
    write_surface(tmp_path, 4, 10, effects=gains)
    result = kvat(*TUNE, "--json", cwd=tmp_path)
    assert result.code == 0, result.err
    plan = json.loads(result.out)["plan"]
    assert plan["decision"] == "winner" and plan["gain"]["score_ratio"]["low"] > 1
    confidence = plan["confidence"]
    assert (confidence["of"], confidence["delta"]) == (MOST, 0.02)
    assert 1 < confidence["measured"] < 500
    assert f"of the best of {MOST}, {confidence['measured']} of them measured" in plan["why"]
    best = sum(max(each["decode"] for each in values.values()) for values in gains.values())
    reached = sum(gains[knob].get(value, {"decode": 0})["decode"] for knob, value in plan["settings"].items())
    assert best - reached < 0.04, "the score weighs decode by half or less"
    report = (tmp_path / "kvat_results" / "report.md").read_text()
    assert f"of the best of the {MOST} considered, of which {confidence['measured']} were measured" in " ".join(report.split())


def test_more_values_than_a_sample_has_room_for_are_refused(tmp_path: Path) -> None:
    write_surface(tmp_path, 128, 200)
    result = kvat(*TUNE, "--dry-run", cwd=tmp_path)
    assert result.code == 2, result.err
    assert "25472 values to try one by one are more than the 10000 configurations that can be tried" in result.err
    assert "k0 (200 values)" in result.err
    narrowed = kvat(*TUNE, "--dry-run", *(f"--set=k{i}=v0" for i in range(100)), cwd=tmp_path)
    assert narrowed.code == 0, narrowed.err


def test_a_race_of_so_many_is_refused(tmp_path: Path) -> None:
    write_surface(tmp_path, 4, 10)
    result = kvat(*TUNE, "--search", "race", cwd=tmp_path)
    assert result.code == 2
    assert "--search race compares at most 5000 configurations, and here are 10000: the model takes more" in " ".join(result.err.split())
    assert not (tmp_path / "kvat_results" / "kvat.db").exists(), "nothing is stored of it"
