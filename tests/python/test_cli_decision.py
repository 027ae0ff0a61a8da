"""What is decided, and how it is said, when the default or most of the rest does not work."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from kvat_cli import SURFACE, kvat

F16 = {"cache-type": "f16"}
DEFAULT = {**F16, "flash-attn": "off", "ubatch-size": 512}


def unsupported(*settings: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"when": when, "kind": "unsupported", "probability": 1} for when in settings]


ONE_LEFT = unsupported({**F16, "flash-attn": "off"}, {**F16, "ubatch-size": 512}, {**F16, "ubatch-size": 256})


def write_surface(folder: Path, faults: list[dict[str, Any]]) -> None:
    surface = json.loads(SURFACE.read_text())
    surface["faults"] = faults
    surface["noise"] = {"run_sd": 0.002}
    (folder / "surface.json").write_text(json.dumps(surface))


def tune(folder: Path, faults: list[dict[str, Any]], *options: str) -> tuple[dict[str, Any], str]:
    """The plan and all that was said of a run in which these settings fail."""
    write_surface(folder, faults)
    result = kvat("tune", "surface.json", *options, cwd=folder)
    assert result.code in (0, 6), result.err
    return json.loads((folder / "kvat_results" / "best_plan.json").read_text()), result.out + result.err


def test_a_budget_that_ends_before_anything_worked_says_so_and_can_be_raised(tmp_path: Path) -> None:
    write_surface(tmp_path, unsupported(DEFAULT))
    for _ in range(2):
        result = kvat("tune", "surface.json", "--trials", "1", "--json", cwd=tmp_path)
        assert result.code == 6, result.err
        report = json.loads(result.out)["report"]
        assert report["decision"] == "undecided"
        assert re.search(r"the budget ended after 1 of \d+ configurations, and none ran clean", report["why"])
    assert "nothing has worked so far" in (tmp_path / "kvat_results" / "report.md").read_text()
    raised = kvat("tune", "surface.json", cwd=tmp_path)
    assert raised.code == 0, raised.err
    assert "resuming after 1 trial" in raised.err


def test_without_the_default_nothing_is_said_to_beat_it(tmp_path: Path) -> None:
    plan, said = tune(tmp_path, unsupported(DEFAULT))
    assert plan["gain"]["against"] == "first that works"
    assert "the default is 100" not in said
    assert "beats the default" not in plan["why"]
    assert "better than the default" not in said.lower()


def test_the_only_one_that_works_is_not_compared_with_the_default(tmp_path: Path) -> None:
    plan, said = tune(tmp_path, ONE_LEFT)
    assert plan["decision"] == "winner"
    assert plan["settings"]["flash-attn"] == "on" and plan["settings"]["ubatch-size"] == 1024
    assert plan["gain"] is None
    assert "beats" not in plan["why"] and "sure" not in plan["why"]
    assert "the default is 100" not in said


def test_a_lossy_configuration_never_stands_in_for_a_failed_default(tmp_path: Path) -> None:
    plan, _ = tune(tmp_path, ONE_LEFT, "--allow-lossy")
    assert plan["lossy"] is False
    assert plan["gain"] is None, "there is no other lossless one to confirm it against"


def test_scores_without_the_default_share_one_scale(tmp_path: Path) -> None:
    """The leader is 100 and everything else is told from it, also where the race could not compare them."""
    plan, _ = tune(tmp_path, ONE_LEFT, "--allow-lossy")
    leader = next(each for each in plan["alternatives"] if each["settings"] == plan["settings"])
    assert leader["score"] == 100
    for each in plan["alternatives"]:
        weights = {"ttft_s": -0.5, "decode_tok_per_s": 0.35, "peak_bytes": -0.15}
        expected = 100.0
        for name, weight in weights.items():
            expected *= (each[name] / leader[name]) ** weight
        assert abs(each["score"] / expected - 1) < 0.03, each["label"]


def test_a_chance_is_never_said_to_be_certainty(tmp_path: Path) -> None:
    plan, said = tune(tmp_path, [])
    assert plan["confidence"]["p_good"] > 0.95
    assert "100 % sure" not in said


def test_the_chances_of_the_lossy_plan_are_not_those_of_the_winner(tmp_path: Path) -> None:
    plan, _ = tune(tmp_path, [], "--allow-lossy")
    lossy = json.loads((tmp_path / "kvat_results" / "lossy_plan.json").read_text())
    assert lossy["confidence"]["p_good"] is None and lossy["confidence"]["p_best"] is None
    assert "onfirmed on" not in lossy["why"].replace("not confirmed on", "")
    assert lossy["why"] != plan["why"]


def test_a_plan_of_an_earlier_run_does_not_outlive_its_answer(tmp_path: Path) -> None:
    tune(tmp_path, [], "--allow-lossy")
    results = tmp_path / "kvat_results"
    assert (results / "lossy_plan.json").exists()
    tune(tmp_path, [])
    assert not (results / "lossy_plan.json").exists(), "nothing lossy was tried"
    surface = json.loads((tmp_path / "surface.json").read_text())
    surface["faults"] = unsupported({})
    (tmp_path / "surface.json").write_text(json.dumps(surface))
    assert kvat("tune", "surface.json", cwd=tmp_path).code == 3
    assert not (results / "best_plan.json").exists(), "no configuration works"
    assert (results / "report.md").exists()


def test_what_is_set_needs_no_leave_and_is_named(tmp_path: Path) -> None:
    """A lossy value that the user sets is in every configuration: the best of them is the answer, and called lossy."""
    plan, said = tune(tmp_path, [], "--set", "cache-type=q8_0")
    assert plan["decision"] == "winner" and plan["gain"]["against"] == "default"
    assert plan["settings"]["cache-type"] == "q8_0" and plan["settings"]["flash-attn"] == "on"
    assert plan["lossy"] is True and plan["verified_quality"] is False
    assert "default with cache-type q8_0" in said
    assert not (tmp_path / "kvat_results" / "lossy_plan.json").exists()
    of = plan["confidence"]["of"]
    assert of > 1 and f"of the best of {of}" in plan["why"]
    report = (tmp_path / "kvat_results" / "report.md").read_text()
    assert re.findall(r"best of the (\d+) compared", report) == [str(of)], "everywhere the same number"


def test_one_configuration_measured_of_many_is_said_to_be_one(tmp_path: Path) -> None:
    plan, _ = tune(tmp_path, [], "--trials", "1")
    assert plan["decision"] == "undecided"
    assert "only one configuration that may win has run clean" in plan["why"]
    assert "nothing else" not in plan["why"]
