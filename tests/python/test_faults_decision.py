"""Surfaces that make no sense, worlds in which little works, and stores whose trials cannot be what was measured."""

from __future__ import annotations

import contextlib
import copy
import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from kvat_cli import SURFACE, Result, kvat

TUNE = ("tune", "surface.json", "--engine", "sim", "--profile", "ci-micro")
STORE = Path("kvat_results") / "kvat.db"
EXAMPLE = json.loads(SURFACE.read_text())


def knob(name: str, **changes: object) -> dict[str, Any]:
    values = ["x", "y"]
    return {"name": name, "type": "enum", "values": values, "default": "x", "search": values, "scope": "context", **changes}


def of_knobs(*knobs: dict[str, Any]) -> dict[str, Any]:
    return {**EXAMPLE, "knobs": list(knobs), "effects": {}, "interactions": [], "faults": []}


def first_cell(**changes: object) -> dict[str, Any]:
    surface = copy.deepcopy(EXAMPLE)
    surface["base"][0].update(changes)
    return surface


def failing(kind: str, when: dict[str, Any], surface: dict[str, Any] = EXAMPLE) -> dict[str, Any]:
    return {**surface, "faults": [{"when": when, "kind": kind, "probability": 1}], "noise": {"run_sd": 0.002}}


def tune(folder: Path, surface: dict[str, Any] | str, *options: str) -> Result:
    (folder / "surface.json").write_text(surface if isinstance(surface, str) else json.dumps(surface))
    return kvat(*TUNE, *options, cwd=folder)


def report(folder: Path) -> dict[str, Any]:
    return json.loads(kvat("report", "--format", "json", cwd=folder).out)


# ---- surfaces ----

WITHOUT_CELLS = {name: value for name, value in EXAMPLE.items() if name != "base"}
NONSENSE: dict[str, tuple[dict[str, Any] | str, str]] = {
    "a time that is no number": (json.dumps(first_cell(ttft_s="@")).replace('"@"', "NaN"), "not valid JSON"),
    "a time beyond all numbers": (json.dumps(first_cell(ttft_s="@")).replace('"@"', "1e999"), "a number is out of range"),
    "a negative time": (first_cell(ttft_s=-1), "base[0].ttft_s: expected a number from 1e-09 to 100000, not -1"),
    "no time at all": (first_cell(ttft_s=0), "base[0].ttft_s"),
    "a negative speed": (first_cell(decode_tok_per_s=-3), "base[0].decode_tok_per_s"),
    "negative memory": (first_cell(peak_bytes=-1), "base[0].peak_bytes"),
    "a cell without its time": (first_cell(ttft_s=None), "base[0].ttft_s: expected a number, not null"),
    "a base without cells": ({**EXAMPLE, "base": []}, "base: expected at least one cell"),
    "neither base nor rows": (WITHOUT_CELLS, 'expected "base" or "configs"'),
    "a cell twice": ({**EXAMPLE, "base": [*EXAMPLE["base"], EXAMPLE["base"][0]]}, "two cells of prompt_tokens 128"),
    "an effect beyond reason": (
        {**EXAMPLE, "effects": {"flash-attn": {"on": {"ttft": 21}}}},
        "effects.flash-attn.on.ttft: expected a number from -20 to 20",
    ),
    "a chance below zero": (
        {**EXAMPLE, "faults": [{"when": {}, "kind": "crash", "probability": -1}]},
        "faults[0].probability: expected a number from 0 to 1",
    ),
    "a default against its own rule": (
        of_knobs(knob("a", requires=[{"if": ["x"], "then": {"b": ["y"]}}]), knob("b")),
        "knobs[0] (a).requires: the defaults of a and b break it",
    ),
    "a rule about no knob": (of_knobs(knob("a", requires=[{"if": ["y"], "then": {"c": ["x"]}}])), '"c" is no knob'),
    "a rule that allows nothing": (
        of_knobs(knob("a", requires=[{"if": ["y"], "then": {"b": []}}]), knob("b")),
        "knobs[0] (a).requires.then: expected a list of values of b",
    ),
}


@pytest.mark.parametrize(("surface", "says"), NONSENSE.values(), ids=NONSENSE)
def test_a_surface_that_makes_no_sense_is_refused_by_name(surface: dict[str, Any] | str, says: str, tmp_path: Path) -> None:
    result = tune(tmp_path, surface)
    assert result.code == 65, result.err
    assert says in result.err
    assert not (tmp_path / "kvat_results").exists()


EXCLUDING = {
    "each other": [
        knob("a", requires=[{"if": ["y"], "then": {"b": ["y"]}}]),
        knob("b", requires=[{"if": ["y"], "then": {"a": ["x"]}}]),
    ],
    "themselves": [
        knob("a", requires=[{"if": ["y"], "then": {"b": ["x"]}}, {"if": ["y"], "then": {"b": ["y"]}}]),
        knob("b"),
    ],
    "their own value": [knob("a", requires=[{"if": ["y"], "then": {"a": ["x"]}}]), knob("b")],
}


@pytest.mark.parametrize("knobs", EXCLUDING.values(), ids=EXCLUDING)
def test_rules_that_exclude_each_other_leave_what_they_allow(knobs: list[dict[str, Any]], tmp_path: Path) -> None:
    result = tune(tmp_path, of_knobs(*knobs), "--dry-run", "--json")
    assert result.code == 0, result.err
    document = json.loads(result.out)
    assert [row["label"] for row in document["configurations"]] == ["default", "b y"]
    assert document["skipped"]["constrained"] == 2
    assert tune(tmp_path, of_knobs(*knobs), "--trials", "8").code in (0, 6)
    refused = tune(tmp_path, of_knobs(*knobs), "--set", "a=y")
    assert refused.code == 2, "what no rule allows cannot be set"
    assert "a=y needs" in refused.err


@pytest.mark.parametrize("knobs", [[], [knob("a", values=["x"], search=["x"])]], ids=["no knob", "one value"])
def test_a_single_configuration_is_the_answer_unopposed(knobs: list[dict[str, Any]], tmp_path: Path) -> None:
    result = tune(tmp_path, of_knobs(*knobs))
    assert result.code == 0, result.err
    plan = json.loads((tmp_path / "kvat_results" / "best_plan.json").read_text())
    assert plan["decision"] == "default" and plan["gain"] is None
    assert "sure" not in plan["why"]


@pytest.mark.parametrize("kind", ["unsupported", "oom_host", "oom_device", "crash", "invalid"])
def test_where_everything_fails_the_causes_are_the_answer(kind: str, tmp_path: Path) -> None:
    result = tune(tmp_path, failing(kind, {}))
    assert result.code == 3, result.err
    assert report(tmp_path)["decision"] == "infeasible"
    assert not (tmp_path / "kvat_results" / "best_plan.json").exists()
    assert "What failed, and why" in (tmp_path / "kvat_results" / "report.md").read_text()


def test_a_limit_that_stops_everything_is_named(tmp_path: Path) -> None:
    result = tune(tmp_path, EXAMPLE, "--trial-limit", "1us")
    assert result.code == 3, result.err
    text = " ".join(result.out.split())
    assert "every run was stopped at its time limit (see --trial-limit)" in text
    assert "Next: the same command with a larger --trial-limit" in text


def test_a_worker_that_gets_too_little_memory_to_start_names_the_limit(tmp_path: Path) -> None:
    result = tune(tmp_path, EXAMPLE, "--max-memory", "1")
    assert result.code == 69, result.err
    assert "--max-memory allows it 1 B" in result.err


def test_medians_of_different_times_are_said_to_be(tmp_path: Path) -> None:
    """A machine that gets ever faster: what ran late looks good in the medians, and the pairs tell otherwise."""
    moving = {**EXAMPLE, "noise": {"run_sd": 0.01, "ramp": -5, "ramp_s": 200}}
    for seed in range(12):
        result = tune(tmp_path, moving, "--world-seed", str(seed), "--fresh")
        assert result.code in (0, 6), result.err
        if "believe the changes" in " ".join(result.out.split()):
            return
    raise AssertionError("no run of twelve said so")


def test_without_a_default_that_works_the_gain_is_against_the_first_that_does(tmp_path: Path) -> None:
    result = tune(tmp_path, failing("unsupported", {"flash-attn": "off", "ubatch-size": 512}))
    assert result.code in (0, 6), result.err
    plan = json.loads((tmp_path / "kvat_results" / "best_plan.json").read_text())
    assert plan["gain"]["against"] == "first that works"
    assert report(tmp_path)["reference_is_default"] is False
    assert "the first other configuration that works" in plan["why"]


def test_effects_that_add_up_to_nonsense_fail_their_configurations_and_no_other(tmp_path: Path) -> None:
    surface = {**EXAMPLE, "effects": {"flash-attn": {"on": {"ttft": 20}}, "ubatch-size": {"256": {"ttft": 20}}}, "interactions": []}
    result = tune(tmp_path, surface, "--trials", "30")
    assert result.code in (0, 6), result.err
    entries = {row["label"]: row for row in report(tmp_path)["entries"]}
    assert entries["default"]["clean_runs"] > 0
    assert entries["flash-attn on, ubatch-size 256"]["clean_runs"] == 0


def test_cells_that_a_row_lacks_fail_that_configuration(tmp_path: Path) -> None:
    cells = [cell for cell in EXAMPLE["base"] if cell["prompt_tokens"] == 128]
    surface = {**EXAMPLE, "configs": [{"settings": {"flash-attn": "on"}, "cells": cells}]}
    result = tune(tmp_path, surface, "--trials", "20")
    assert result.code in (0, 6), result.err
    row = next(row for row in report(tmp_path)["entries"] if row["label"] == "flash-attn on")
    assert row["clean_runs"] == 0 and "the surface holds prompts of 128 to 128 tokens" in row["failure"]


def test_batches_that_no_cell_knows_fail_with_the_reason(tmp_path: Path) -> None:
    result = tune(tmp_path, EXAMPLE, "--batch", "4")
    assert result.code == 3, result.err
    assert "no cell of 4 sequences" in (tmp_path / "kvat_results" / "report.md").read_text()


# ---- stores ----


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ended")
    assert tune(folder, EXAMPLE, "--trials", "8").code in (0, 6)
    return folder


COLUMNS = (
    "run, phase, config, block, chunk, launch, fresh_process, status, detail, peak_bytes, peak_source, model_bytes, kv_bytes, "
    "compute_bytes, load_ns, prepare_ns, warmup_ns, run_ns, worker_start_ns, worker_end_ns, elapsed_ns, cost_ns, effective, loaded, "
    "loaded_ns, activity"
)
LAST = "(SELECT max(id) FROM trial)"
OK = "(SELECT max(id) FROM trial WHERE status = 'ok' AND phase = 'search')"
DAMAGE = {
    "another configuration": f"UPDATE trial SET config = config + 1 WHERE id = {OK}",
    "a configuration that is none": f"UPDATE trial SET config = 4000000000 WHERE id = {OK}",
    "another place in the search": f"UPDATE trial SET chunk = chunk + 1 WHERE id = {OK}",
    "another phase": f"UPDATE trial SET phase = 'confirm' WHERE id = {OK}",
    "an unknown status": f"UPDATE trial SET status = 'splendid' WHERE id = {OK}",
    "a negative cost": f"UPDATE trial SET cost_ns = -1 WHERE id = {OK}",
    "a cost of centuries": f"UPDATE trial SET cost_ns = 4611686018427387904 WHERE id = {OK}",
    "a negative cost of the confirmation": f"UPDATE trial SET cost_ns = -1 WHERE id = {LAST}",
    "a moment before the last": f"UPDATE trial SET elapsed_ns = 1 WHERE id = {LAST}",
    "a moment beyond all clocks": f"UPDATE trial SET elapsed_ns = 9223372036854775807 WHERE id = {LAST}",
    "a negative duration": f"UPDATE trial SET run_ns = -5 WHERE id = {OK}",
    "no memory": f"UPDATE trial SET peak_bytes = 0 WHERE id = {OK}",
    "negative memory": f"UPDATE trial SET kv_bytes = -1 WHERE id = {OK}",
    "a negative launch": f"UPDATE trial SET launch = -1 WHERE id = {LAST}",
    "an infinite speed": f"UPDATE sample SET decode_tok_per_s = 9e999 WHERE trial = {OK}",
    "a negative speed": f"UPDATE sample SET decode_tok_per_s = -1 WHERE trial = {OK}",
    "an infinite gap": f"UPDATE sample SET itl_p99_ns = 9e999 WHERE trial = {OK}",
    "no time to the first token": f"UPDATE sample SET ttft_ns = 0 WHERE trial = {OK}",
    "a worst time better than the mean": f"UPDATE sample SET ttft_worst_ns = 1 WHERE trial = {OK}",
    "a cell that is none": f"UPDATE sample SET cell = 77 WHERE trial = {OK}",
    "samples lost": f"DELETE FROM sample WHERE trial = {OK}",
    "the last trial lost": f"DELETE FROM trial WHERE id = {LAST}",
    "a trial in between lost": "DELETE FROM trial WHERE id = 4",
    "all trials lost": "DELETE FROM trial",
    "a trial twice": f"INSERT INTO trial SELECT id + 1000, {COLUMNS} FROM trial WHERE id = {LAST}",
    "another seed": "UPDATE run_document SET request = json_set(request, '$.seed', 5)",
    "another delta": "UPDATE run_document SET request = json_set(request, '$.delta', 0.4)",
    "another engine": "UPDATE run_document SET engine = json_set(engine, '$.engine.version', '9')",
    "another default": "UPDATE run_document SET description = json_set(description, '$.knobs[1].default', 'on')",
    "one configuration less": "UPDATE run_document SET space = json_remove(space, '$[1]')",
    "another configuration's settings": "UPDATE run_document SET space = json_set(space, '$[1].flash-attn', 'on', '$[1].ubatch-size', 1024)",
}


def damaged(source: Path, folder: Path, sql: str, *more: str) -> bytes:
    shutil.copytree(source, folder, dirs_exist_ok=True)
    with contextlib.closing(sqlite3.connect(folder / STORE)) as database:
        for statement in (sql, *more):
            database.execute(statement)
        database.commit()
    return (folder / STORE).read_bytes()


def check_refused(folder: Path, before: bytes, *arguments: str) -> None:
    result = kvat(*arguments, cwd=folder)
    assert result.code == 65, (arguments, result.out, result.err)
    assert result.err.splitlines()[-1].startswith("kvat: ")
    assert "Sanitizer" not in result.err and "runtime error" not in result.err
    assert (folder / STORE).read_bytes() == before, "it is left as it is"


@pytest.mark.parametrize("sql", DAMAGE.values(), ids=DAMAGE)
def test_a_store_that_cannot_be_right_gives_no_answer(sql: str, ended: Path, tmp_path: Path) -> None:
    before = damaged(ended, tmp_path, sql)
    for arguments in ((*TUNE, "--trials", "8"), (*TUNE, "--trials", "9"), ("report",), ("report", "--format", "json")):
        check_refused(tmp_path, before, *arguments)


@pytest.mark.parametrize("sql", [DAMAGE["a negative cost"], DAMAGE["another configuration"], DAMAGE["the last trial lost"]])
def test_an_unfinished_run_that_cannot_be_right_does_not_go_on(sql: str, ended: Path, tmp_path: Path) -> None:
    before = damaged(ended, tmp_path, sql, "UPDATE run SET state = 'open'")
    check_refused(tmp_path, before, *TUNE, "--trials", "8")


def test_what_is_damaged_is_measured_again_when_asked(ended: Path, tmp_path: Path) -> None:
    damaged(ended, tmp_path, DAMAGE["a negative cost"])
    assert kvat(*TUNE, "--trials", "8", "--fresh", cwd=tmp_path).code in (0, 6)


@pytest.mark.parametrize("world_seed", range(12))
def test_where_a_third_of_all_runs_fails_only_what_was_confirmed_is_called_best(world_seed: int, tmp_path: Path) -> None:
    surface = {**EXAMPLE, "faults": [{"when": {}, "kind": "oom_device", "probability": 0.3}], "noise": {"run_sd": 0.01}}
    result = tune(tmp_path, surface, "--world-seed", str(world_seed), "--json")
    assert result.code in (0, 3, 6), result.err
    plan = json.loads(result.out)["plan"]
    assert (plan is None) == (result.code == 3)
    if plan and plan["decision"] == "winner":
        assert plan["gain"] is not None or "Nothing else that may win works" in plan["why"]
        assert plan["figures"]["runs"] >= 2
    if plan and plan["decision"] != "default" and "failed when it was confirmed" in plan["why"]:
        assert result.code == 6
