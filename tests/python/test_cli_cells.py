"""More than one answer from one run: the best per cell, the least regret in the worst cell, the Pareto front."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from kvat_cli import ROOT, SURFACE, kvat

CELLS = [(prompt, output) for prompt in (128, 2048) for output in (32, 128)]
FORMATS = ("terminal", "md", "html")


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cells")
    for name, arguments in (("many", ["--context", "128,2048", "--output-tokens", "32,128"]), ("one", ["--profile", "ci-micro"])):
        result = kvat("tune", SURFACE, *arguments, "-o", name, cwd=folder)
        assert result.code in (0, 6), result.err
    return folder


def document(folder: Path, name: str, kind: str) -> dict[str, Any]:
    if kind == "plan":
        made = json.loads((folder / name / "best_plan.json").read_text())
    else:
        made = json.loads(kvat("report", name, "--format", "json", cwd=folder).out)
    schema = json.loads((ROOT / "schemas" / f"{kind}.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(made)
    return made


@pytest.mark.parametrize("kind", ["plan", "report"])
def test_each_cell_has_its_best_and_its_chance(tuned: Path, kind: str) -> None:
    made = document(tuned, "many", kind)
    assert [(cell["prompt_tokens"], cell["output_tokens"]) for cell in made["by_cell"]] == CELLS
    for cell in made["by_cell"]:
        assert 0.3 < cell["p_good"] <= 1
        assert cell["settings"]["flash-attn"] == "on"
        gain, loss = cell["gain_ratio"], cell["winner"]["loss"]
        assert 1 < gain["low"] <= gain["value"] <= gain["high"]
        assert 0 <= loss["low"] <= loss["value"] <= loss["high"] < 0.2
        assert 0 < cell["winner"]["p_good"] <= 1


@pytest.mark.parametrize("kind", ["plan", "report"])
def test_the_worst_case_and_the_front_are_said(tuned: Path, kind: str) -> None:
    made = document(tuned, "many", kind)
    worst, front = made["worst_case"], made["pareto_front"]
    assert worst["cell"] < len(CELLS)
    assert worst["loss"]["value"] <= worst["winner"]["loss"]["value"] + 0.005
    assert 0 < worst["p_least"] <= 1
    assert front
    assert all(0.5 <= member["p_front"] <= 1 for member in front)
    assert len({member["label"] for member in front}) == len(front)


def test_one_cell_is_not_spoken_of(tuned: Path) -> None:
    for kind in ("plan", "report"):
        made = document(tuned, "one", kind)
        assert "by_cell" not in made
        assert "worst_case" not in made
        assert made["pareto_front"]
    for form in FORMATS:
        text = kvat("report", "one", *(["--format", form] if form != "terminal" else []), cwd=tuned).out
        assert "Best per cell" not in text
        assert "Least regret" not in text
        assert "Pareto front (TTFT, decode, memory)" in text


@pytest.mark.parametrize("form", FORMATS)
def test_people_read_it(tuned: Path, form: str) -> None:
    text = kvat("report", "many", *(["--format", form] if form != "terminal" else []), cwd=tuned).out
    assert "Best per cell" in text
    assert "Pareto front (TTFT, decode, memory)" in text
    assert form == "terminal" or "Least regret in the worst cell" in text


def test_a_table_has_it_in_columns(tuned: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(kvat("report", "many", "--format", "csv", cwd=tuned).out)))
    ranked = [row for row in rows if row["rank"]]
    assert ranked
    for row in ranked:
        assert 0 <= float(row["cell_p_good"]) <= 1
        assert 0 <= float(row["p_front"]) <= 1
        assert 0 <= float(row["p_least"]) <= 1
        assert float(row["ln_worst_loss"]) >= float(row["cell_ln_loss"]) - 1e-12


def test_the_same_run_says_the_same_again(tuned: Path) -> None:
    first, second = (kvat("report", "many", "--format", "json", cwd=tuned).out for _ in range(2))
    assert first == second
