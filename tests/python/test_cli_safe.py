"""--safe: nothing that the engine calls unstable is tried, measured or recommended, and what was left out is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from faults import scripted
from kvat_cli import Result, kvat


def knob(name: str, values: list[Any], stable: bool | list[Any] = True, **more: Any) -> dict[str, Any]:
    kind = "int" if isinstance(values[0], int) else "enum"
    return {"name": name, "type": kind, "values": values, "default": values[0], "search": values, "scope": "context",
            "stable": stable, "help": name, **more}  # fmt: skip


# As an engine for Transformers declares them, with an order of merit that makes unstable values the better ones.
NEEDS_QUANTIZED = [{"if": ["hqq-4"], "then": {"cache_implementation": ["quantized"]}}]
KNOBS = [
    knob("attn_implementation", ["sdpa", "eager", "flex_attention"], ["sdpa", "eager"]),
    knob("cache_implementation", ["dynamic", "static", "quantized"], ["dynamic", "static"]),
    knob("cache_quantizer", ["none", "hqq-4"], ["none"], requires=NEEDS_QUANTIZED),
    knob("compile_mode", ["none", "reduce-overhead"], ["none"]),
    knob("decode_threads", [2, 1]),
]
UNSTABLE = {"flex_attention", "quantized", "hqq-4", "reduce-overhead"}
STEP_MS = {"sdpa": 10, "eager": 12, "flex_attention": 5}


@pytest.fixture
def worker(tmp_path: Path) -> Path:
    return scripted(tmp_path, {"knobs": KNOBS, "step_ms": STEP_MS, "heard": str(tmp_path / "heard")})


def tune(folder: Path, worker: Path, *arguments: str) -> Result:
    return kvat("tune", "m", "--engine", worker, "--profile", "ci-micro", "--winners", "none", *arguments, cwd=folder)


def listed(folder: Path, worker: Path, *arguments: str) -> tuple[set[Any], dict[str, Any]]:
    """Values in the configurations that would be measured, and what was left out."""
    result = tune(folder, worker, "--dry-run", "--json", "--device", "GPU0", *arguments)
    assert result.code == 0, result.err
    document = json.loads(result.out)
    return {value for row in document["configurations"] for value in row["settings"].values()}, document["skipped"]


def asked(folder: Path) -> set[Any]:
    """Values of settings that the worker was ever asked to take."""
    requests = [json.loads(line) for line in (folder / "heard").read_text().splitlines()]
    return {value for request in requests for value in request.get("params", {}).get("settings", {}).values()}


def test_only_stable_values_are_listed_and_the_rest_is_counted(tmp_path: Path, worker: Path) -> None:
    values, skipped = listed(tmp_path, worker, "--safe")
    assert values == {"sdpa", "eager", "dynamic", "static", "none", 1, 2}
    assert skipped["unstable"] == len(UNSTABLE)
    values, skipped = listed(tmp_path, worker)
    assert values >= UNSTABLE
    assert skipped["unstable"] == 0
    assert "4 unstable values (--safe)" in tune(tmp_path, worker, "--dry-run", "--safe", "--device", "GPU0").out


def test_a_sweep_of_everything_stays_safe(tmp_path: Path, worker: Path) -> None:
    values, _ = listed(tmp_path, worker, "--safe", "--sweep", "all")
    assert not values & UNSTABLE


def test_what_is_set_by_hand_is_the_users_word(tmp_path: Path, worker: Path) -> None:
    values, skipped = listed(tmp_path, worker, "--safe", "--set", "attn_implementation=flex_attention")
    assert "flex_attention" in values
    assert skipped["unstable"] == len(UNSTABLE) - 1


def test_an_unstable_value_is_never_asked_for_and_not_the_answer(tmp_path: Path, worker: Path) -> None:
    result = tune(tmp_path, worker, "--safe")
    assert result.code in (0, 6), result.err
    assert not asked(tmp_path) & UNSTABLE
    plan = json.loads((tmp_path / "kvat_results" / "best_plan.json").read_text())
    assert not {value for row in [plan, *plan["alternatives"]] for value in row["settings"].values()} & UNSTABLE
    assert "--safe" in plan["reproduce"]
    (tmp_path / "heard").unlink()
    freely = tune(tmp_path, worker, "--fresh")
    assert freely.code in (0, 6), freely.err
    assert asked(tmp_path) & UNSTABLE
    plan = json.loads((tmp_path / "kvat_results" / "best_plan.json").read_text())
    assert plan["settings"]["attn_implementation"] == "flex_attention"
