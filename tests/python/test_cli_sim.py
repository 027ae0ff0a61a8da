"""The whole path with the engine that needs no engine: a surface in, a plan out."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from kvat_cli import SURFACE, Result, kvat

OUTPUTS = ["best_plan.json", "report.md", "report.html"]


def tune(cwd: Path, *arguments: str | Path) -> Result:
    result = kvat("tune", SURFACE, *arguments, cwd=cwd)
    assert result.code in (0, 6), result.err
    return result


def test_the_same_seeds_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        tune(tmp_path / name, "--world-seed", "7")
    for output in OUTPUTS:
        first, second = (tmp_path / name / "kvat_results" / output for name in ("a", "b"))
        assert first.read_bytes() == second.read_bytes(), output


def test_another_world_gives_other_figures(tmp_path: Path) -> None:
    figures = []
    for seed in ("1", "2"):
        tune(tmp_path, "--world-seed", seed, "-o", seed)
        figures.append(json.loads((tmp_path / seed / "best_plan.json").read_text())["figures"])
    assert figures[0] != figures[1]


def test_the_command_of_the_seeds_runs(tmp_path: Path) -> None:
    result = kvat("tune", "--engine", "sim", "--model", SURFACE, "--device", "cpu", "--profile", "chat-agent", "--context",
                  "2048,4096,8192", "--out", "report/", "-v", cwd=tmp_path)  # fmt: skip
    assert result.code in (0, 6), result.err
    assert (tmp_path / "report" / "best_plan.json").is_file()
    assert kvat("apply", "--plan", "report/best_plan.json", cwd=tmp_path).code == 0
    compared = kvat("compare", "--baseline", "report/best_plan.json", "--candidate", "report/best_plan.json", cwd=tmp_path)
    assert compared.code == 0
    assert "Both have the same settings." in compared.out


def test_a_larger_budget_goes_on_where_the_smaller_one_ended(tmp_path: Path) -> None:
    assert tune(tmp_path, "--trials", "8").code == 6
    larger = tune(tmp_path)
    assert "resuming after " in larger.err
    assert "trial 1:" not in larger.err
    assert re.search(r"^\d+ runs of the earlier confirmation count no more", larger.err, re.MULTILINE)


def test_a_confirmation_past_its_budget_says_so(tmp_path: Path) -> None:
    result = tune(tmp_path, "--time", "200s")
    late = [line for line in result.err.splitlines() if "past its budget, finishing the pairs" in line]
    assert late, result.err
    assert all(line.startswith("confirm pair ") for line in late)
    assert not any("left" in line.rpartition(";")[2] for line in late)


def test_an_exported_recording_plays_by_the_command_that_is_told(tmp_path: Path) -> None:
    tune(tmp_path, "--context", "256,512", "--output-tokens", "16")
    exported = kvat("runs", "export", "kvat_results", "--surface", cwd=tmp_path)
    (tmp_path / "surface.json").write_text(exported.out)
    told = re.search(r"^Play it: kvat (tune surface.json .*)$", exported.err, re.MULTILINE)
    assert told, exported.err
    assert told[1] == "tune surface.json --profile chat-agent --context 256,512 --output-tokens 16 --batch 1"
    again = kvat(*told[1].split(), "-o", "again", cwd=tmp_path)
    assert again.code in (0, 6), again.err


def test_a_recording_of_a_run_can_be_tuned_again(tmp_path: Path) -> None:
    tune(tmp_path)
    (tmp_path / "recorded.json").write_text(kvat("runs", "export", "--surface", cwd=tmp_path).out)
    again = kvat("tune", "recorded.json", "-o", "again", cwd=tmp_path)
    assert again.code in (0, 6), again.err
    plans = [json.loads((tmp_path / name / "best_plan.json").read_text()) for name in ("kvat_results", "again")]
    assert set(plans[0]["settings"]) == set(plans[1]["settings"])


def test_sim_is_listed_and_shows_its_knobs() -> None:
    engines = json.loads(kvat("engines", "--json").out)["engines"]
    assert next(engine for engine in engines if engine["name"] == "sim")["available"] is True
    shown = kvat("engines", "--model", SURFACE)
    assert "flash-attn (context)" in shown.out
    assert str(SURFACE) in shown.err, "the next command names the model"


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"format": "kvat-surface/9", "knobs": []}', '{"format"'], ids=range(5))
def test_a_surface_that_is_none_is_65(text: str, tmp_path: Path) -> None:
    (tmp_path / "surface.json").write_text(text)
    result = kvat("tune", "surface.json", "--engine", "sim", cwd=tmp_path)
    assert result.code == 65, result.err
    assert not (tmp_path / "kvat_results").exists()


def test_names_in_a_surface_stay_inert_on_the_terminal(tmp_path: Path) -> None:
    surface = json.loads(SURFACE.read_text())
    surface["name"] = "x\u202e</script>`$(id)`"
    (tmp_path / "surface.json").write_text(json.dumps(surface))
    result = kvat("tune", "surface.json", "--trials", "3", cwd=tmp_path)
    assert result.code in (0, 6), result.err
    listed = kvat("runs", cwd=tmp_path)
    assert "\u202e" not in result.out + result.err + listed.out
    assert "$(id)" in listed.out
