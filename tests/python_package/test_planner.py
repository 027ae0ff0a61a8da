"""PlanBuilder: the plan as a document and a file, its code, and plans that are damaged or out of date."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path
from typing import Any

import kvat
import pytest
from kvat import BadDataError, KvatWarning, Plan, PlanBuilder, TuneResult, UsageError
from package_kit import ROOT

TRANSFORMERS: dict[str, Any] = json.loads((ROOT / "fuzz" / "corpus" / "plan" / "transformers.json").read_text())


def without_rules(**members: Any) -> dict[str, Any]:
    return {**TRANSFORMERS, "fallback": [], **members}


def test_build_is_a_copy_of_the_plan(simulated: TuneResult) -> None:
    built = PlanBuilder(simulated).build()
    assert built == simulated.plan.data
    built["settings"].clear()
    assert simulated.settings


def test_a_saved_plan_can_be_read_again(simulated: TuneResult, tmp_path: Path) -> None:
    path = PlanBuilder(simulated).save("plan.json")
    assert (
        PlanBuilder(path).plan == simulated.plan == PlanBuilder(simulated.directory).plan == Plan.of(json.loads(path.read_text()))
    )
    assert [entry.name for entry in tmp_path.iterdir()] == ["plan.json"], "and nothing else is left"


def test_the_snippet_of_a_transformers_plan_is_python_that_says_what_it_is() -> None:
    code = PlanBuilder(without_rules()).generate_code_snippet()
    names = {node.name for node in ast.walk(ast.parse(code)) if isinstance(node, ast.FunctionDef)}
    assert {"load", "generate", "apply"} <= names
    assert PlanBuilder(without_rules()).save_code_snippet("optimized_config.py").read_text() == code


@pytest.mark.parametrize(("umask", "document", "code"), [(0o002, 0o644, 0o755), (0o077, 0o600, 0o700)])
def test_files_have_the_modes_of_the_programs_less_the_umask(umask: int, document: int, code: int) -> None:
    before = os.umask(umask)
    try:
        builder = PlanBuilder(without_rules())
        written = [builder.save("plan.json"), builder.save_code_snippet("optimized_config.py")]
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o777 for path in written] == [document, code]


def test_an_undecided_plan_says_so_in_its_code() -> None:
    code = PlanBuilder(without_rules(decision="undecided", why="the budget ended")).generate_code_snippet()
    assert "not decided" in code.split('"""')[0].lower()


def test_formats_of_another_engine() -> None:
    plan: dict[str, Any] = json.loads((ROOT / "fuzz" / "corpus" / "plan" / "winner.json").read_text())
    plan["fallback"] = []
    if plan["engine"]["name"] == "llamacpp":
        assert "cache" in PlanBuilder(plan).generate_code_snippet("preset")
    with pytest.raises(UsageError, match="modelfile"):
        PlanBuilder(plan).generate_code_snippet("modelfile")


def test_an_engine_without_code(simulated: TuneResult) -> None:
    with pytest.raises(UsageError, match="sim"):
        PlanBuilder(simulated).generate_code_snippet()


# ---- damaged and stale ----


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": "kvat-plan/2"}', "\0", '{"format": NaN}'])
def test_a_file_that_is_no_plan(content: str) -> None:
    Path("plan.json").write_text(content)
    with pytest.raises(BadDataError, match="plan.json"):
        PlanBuilder("plan.json")


def test_a_plan_that_is_not_there() -> None:
    for path in ("nowhere.json", "."):
        with pytest.raises(BadDataError):
            PlanBuilder(path)


def test_a_damaged_plan_is_refused_by_the_program() -> None:
    with pytest.raises(BadDataError):
        PlanBuilder(without_rules(settings={"dtype": ["x"]})).generate_code_snippet()


def test_what_a_plan_advises_is_a_warning() -> None:
    rule = {"when": {"free_memory_below_bytes": 1 << 50}, "advise": "use a smaller model\x1b"}
    with pytest.warns(KvatWarning, match="use a smaller model"):
        PlanBuilder(without_rules(fallback=[rule])).generate_code_snippet()


def test_a_plan_of_another_version_carries_the_rule_about_it_into_its_code() -> None:
    rule = {"when": {"engine_version_not": "4.0.0"}, "advise": "kvat verify tells"}
    code = PlanBuilder(without_rules(fallback=[rule])).generate_code_snippet()
    assert '"when": {"engine_version_not": "4.0.0"}' in code


def test_the_code_is_the_results_even_when_its_folder_holds_another_run_by_now(simulated: TuneResult, tmp_path: Path) -> None:
    """A result of Transformers whose best_plan.json was replaced."""
    (tmp_path / "best_plan.json").write_text(json.dumps(without_rules(settings={"dtype": "float16"})))
    result = TuneResult(Plan.of(without_rules()), "m", tmp_path, 0, {})
    assert PlanBuilder(result).generate_code_snippet() == PlanBuilder(without_rules()).generate_code_snippet()


# ---- patching ----


def test_only_plans_for_transformers_can_be_patched_in(simulated: TuneResult) -> None:
    with pytest.raises(BadDataError, match="sim"):
        kvat.patch(object(), simulated)


def test_patching_without_pytorch_names_the_extra() -> None:
    with pytest.raises(kvat.EngineUnavailableError, match=r"kvat\[transformers\]"):
        kvat.patch(object(), without_rules())


def test_undoing_twice_undoes_once() -> None:
    undone: list[int] = []
    with kvat.Undo(lambda: undone.append(1)) as undo:
        pass
    undo()
    assert undone == [1]
