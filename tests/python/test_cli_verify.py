"""kvat verify on simulated machines: one that stayed as it was, one that did not, and one too noisy to tell."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from faults import scripted, surface
from kvat_cli import BLOCKING_WORKER, KVAT, ROOT, TIMEOUT_S, Result, environment, kvat

QUIET = {"run_sd": 0.002}
FLASH = {"ttft": -0.2, "decode": 0.08, "peak": -0.01}
PLAN = Path("kvat_results") / "best_plan.json"


@pytest.fixture(scope="module")
def tuned_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a surface on which flash attention is best, and the plan that says so."""
    folder = tmp_path_factory.mktemp("tuned")
    surface(folder / "surface.json", noise=QUIET)
    result = kvat("tune", "surface.json", "--profile", "ci-micro", cwd=folder)
    assert result.code == 0, result.err
    plan = json.loads((folder / PLAN).read_text())
    assert plan["decision"] == "winner" and plan["settings"]["flash-attn"] == "on"
    return folder


@pytest.fixture
def tuned(tuned_once: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tuned_once, tmp_path, dirs_exist_ok=True)


def verify(folder: Path, *arguments: str | Path, code: int) -> dict[str, Any]:
    """The document of a verification that ends with this exit code."""
    result = kvat("verify", PLAN, *arguments, "--json", cwd=folder)
    assert result.code == code, result.err + result.out
    document = json.loads(result.out)
    schema = json.loads((ROOT / "schemas" / "cli.schema.json").read_text())
    assert list(jsonschema.Draft202012Validator(schema).iter_errors(document)) == []
    assert document["exit_code"] == code
    return document


def edit_plan(folder: Path, **changes: Any) -> None:
    plan = json.loads((folder / PLAN).read_text())
    (folder / PLAN).write_text(json.dumps({**plan, **changes}))


def settings_of(folder: Path, **changes: Any) -> dict[str, Any]:
    return {**json.loads((folder / PLAN).read_text())["settings"], **changes}


def effects(**flash: float) -> dict[str, Any]:
    """The effects of the example surface with another one of flash attention."""
    base = json.loads((ROOT / "examples" / "surfaces" / "example.json").read_text())["effects"]
    return {**base, "flash-attn": {"on": {**FLASH, **flash}}}


def changed(document: dict[str, Any]) -> set[str]:
    return {change["what"] for change in document["changes"]}


# ---- the three answers ----


def test_on_a_machine_that_stayed_as_it_was_the_answer_is_yes(tuned: Path) -> None:
    document = verify(tuned, "--time", "2m", code=0)
    assert document["answer"] == "yes" and document["changes"] == []
    first, *rivals = document["pairings"]
    assert (first["against"], first["verdict"]) == ("default", "better")
    assert [rival["against"] for rival in rivals] == ["rival", "rival"]
    true_ratio = 1.118  # exp(0.35·0.2 + 0.5·0.08 + 0.15·0.01), by the surface; a larger ubatch gives 0.5 % more
    assert first["score_ratio"]["value"] == pytest.approx(true_ratio, rel=0.01)
    assert 1 < first["score_ratio"]["low"] < first["score_ratio"]["value"] < first["score_ratio"]["high"] < 1.14
    assert all(rival["verdict"] in ("better", "undecided", "worse") and rival["level"] == 0.975 for rival in rivals)
    assert document["decisive"] is None and document["refused"] is None


def test_it_takes_a_fraction_of_a_run(tuned: Path) -> None:
    took = json.loads((tuned / PLAN).read_text())["confidence"]["elapsed_ns"]
    assert took > 0
    document = verify(tuned, "--time", "1s", "--world-seed", "3", code=6)
    assert document["pairings"][0]["budget_ended"] is True
    document = verify(tuned, code=0)
    assert document["budget_ns"] == took // 2, "this run was a short one"
    assert took // 2 < document["elapsed_ns"] < took, "the least number of pairs is made whatever it takes"
    assert [pairing["pairs"] for pairing in document["pairings"]] == [4]
    edit_plan(tuned, confidence={"elapsed_ns": 6 * took})
    document = verify(tuned, code=0)
    assert document["budget_ns"] == 3 * took
    assert document["elapsed_ns"] <= 3 * took and len(document["pairings"]) == 3
    edit_plan(tuned, confidence={"elapsed_ns": 36 * 10**12})
    assert verify(tuned, code=0)["budget_ns"] == 36 * 10**11


def test_where_the_default_has_become_better_the_answer_is_no_and_by_how_much(tuned: Path) -> None:
    surface(tuned / "surface.json", noise=QUIET, effects=effects(ttft=0.2))
    document = verify(tuned, code=4)
    assert document["answer"] == "no" and document["decisive"] == 0
    (only,) = document["pairings"]
    assert only["verdict"] == "worse" and only["score_ratio"]["high"] < 1
    assert re.search(r"the engine's default scores higher by \d+\.\d % \(\d+\.\d % to \d+\.\d %\)", document["why"])
    assert "model identity" in changed(document), "the surface is the model"


def test_where_a_rival_of_the_plan_has_become_better_the_answer_is_no(tuned: Path) -> None:
    faster = [{"when": {"flash-attn": "on", "ubatch-size": "256"}, "ttft": -0.5}]
    surface(tuned / "surface.json", noise=QUIET, interactions=faster)
    document = verify(tuned, "--time", "2m", code=4)
    rival = document["pairings"][document["decisive"]]
    assert rival["against"] == "rival" and rival["settings"]["ubatch-size"] == 256
    assert document["pairings"][0]["verdict"] == "better", "it still beats the default"


def test_where_noise_hides_everything_nothing_is_claimed(tuned: Path) -> None:
    surface(tuned / "surface.json", noise={"run_sd": 0.5})
    document = verify(tuned, "--world-seed", "2", code=6)
    assert document["answer"] == "undecided"
    first = document["pairings"][0]
    assert first["score_ratio"]["low"] < 1 < first["score_ratio"]["high"]
    assert first["noise_ratio"] > 0.1 and "spread by about" in document["why"]


def test_the_text_says_the_same_with_an_interval_for_every_figure(tuned: Path) -> None:
    result = kvat("verify", PLAN, "--time", "2m", cwd=tuned)
    assert result.code == 0, result.err
    assert result.out.startswith("Yes: flash-attn on")
    assert "Engine, model, machine and prompts are those of the plan." in result.out
    figures = [line for line in result.out.splitlines() if re.match(r"  (score|time to first token|decode|peak memory) ", line)]
    assert len(figures) == 12, "the default and two rivals, four figures each"
    assert all(re.search(r"[+\u2212]?\d+\.\d % \(.* to .*\)$", line) for line in figures), figures
    surface(tuned / "surface.json", noise=QUIET, effects=effects(ttft=0.2))
    no = kvat("verify", PLAN, cwd=tuned)
    assert no.code == 4
    assert no.out.startswith("No: flash-attn on") and "Since the plan: model identity sha256:" in no.out
    assert "Next: kvat tune surface.json --profile ci-micro --fresh" in no.out
    assert no.err.splitlines()[-1].startswith("kvat: no longer the best here: ")


# ---- what changed ----


def test_another_engine_version_machine_or_kvat_is_said(tuned: Path) -> None:
    plan = json.loads((tuned / PLAN).read_text())
    machine = {**plan["environment"]["machine"], "cpu_model": "another"}
    edit_plan(tuned, engine={**plan["engine"], "version": "0.0.0"}, environment={"machine": machine}, kvat_version="0.0.0")
    document = verify(tuned, code=0)
    assert changed(document) == {"engine version", "machine cpu_model", "kvat version"}
    version = next(change for change in document["changes"] if change["what"] == "engine version")
    assert version["plan"] == "0.0.0" and version["here"] == document["engine_version"]
    assert "engine version 0.0.0 \u2192 " in kvat("verify", PLAN, cwd=tuned).out


def test_the_seeds_of_the_world_are_the_users(tuned: Path) -> None:
    one, again, other = (verify(tuned, "--world-seed", seed, code=0)["pairings"] for seed in ("4", "4", "5"))
    assert one == again != other


# ---- nothing is left, nothing is overwritten ----


def test_plan_and_folder_stay_as_they_are(tuned: Path, state_home: Path) -> None:
    def seen() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in tuned.rglob("*") if path.is_file()}

    before = seen()
    verify(tuned, code=0)
    surface(tuned / "surface.json", noise=QUIET, effects=effects(ttft=0.2))
    verify(tuned, code=4)
    after = seen()
    assert {name: text for name, text in after.items() if not name.endswith("surface.json")} == {
        name: text for name, text in before.items() if not name.endswith("surface.json")
    }
    assert list(state_home.rglob("*")) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=str)
def test_interrupted_it_ends_with_nothing_decided(number: int, code: int, tmp_path: Path) -> None:
    engine = ["--engine", BLOCKING_WORKER]
    assert kvat("tune", "model", *engine, "--profile", "ci-micro", cwd=tmp_path).code == 0
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    env = environment(KVAT_TEST_RUNS="3", KVAT_TEST_BLOCKED=str(fifo))
    process = subprocess.Popen([KVAT, "verify", PLAN, "model", *map(str, engine)], cwd=tmp_path, env=env,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    with open(fifo, encoding="ascii") as reader:
        worker = int(reader.readline())
    process.send_signal(number)
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, out) == (code, b"")
    assert b"interrupted" in err
    assert not Path(f"/proc/{worker}").exists() or ") Z " in Path(f"/proc/{worker}/stat").read_text()


# ---- where it cannot be asked ----


def test_what_the_engine_does_not_offer_any_more_is_no_and_named(tuned: Path) -> None:
    for changes, words in (({"flash-attn": "fast"}, "does not offer flash-attn fast, but off, on"), ({"gear": "high"}, "has no setting gear")):
        edit_plan(tuned, settings=settings_of(tuned, **changes))
        document = verify(tuned, code=4)
        assert words in document["refused"] and document["why"] == document["refused"]
        assert document["pairings"] == [] and document["runs"] == 0
        edit_plan(tuned, settings={name: value for name, value in settings_of(tuned, **{"flash-attn": "on"}).items() if name != "gear"})


def test_a_plan_that_does_not_run_here_is_no_with_the_cause(tuned: Path) -> None:
    surface(tuned / "surface.json", noise=QUIET, faults=[{"when": {"flash-attn": "on"}, "kind": "crash", "probability": 1}])
    document = verify(tuned, code=4)
    assert document["pairings"][0]["verdict"] == "failed"
    assert "it does not run here: crash" in document["why"]


def test_where_nothing_runs_it_is_3_and_no_answer(tuned: Path) -> None:
    surface(tuned / "surface.json", noise=QUIET, faults=[{"when": {}, "kind": "unsupported", "probability": 1}])
    result = kvat("verify", PLAN, "--json", cwd=tuned)
    assert result.code == 3, result.err
    assert json.loads(result.out)["format"] == "kvat-error/1"
    assert "neither the plan's configuration nor the engine's default works here" in result.err


def test_where_only_the_default_fails_the_plan_is_best(tuned: Path) -> None:
    surface(tuned / "surface.json", noise=QUIET, faults=[{"when": {"flash-attn": "off"}, "kind": "unsupported", "probability": 1}])
    document = verify(tuned, code=0)
    assert document["pairings"][0]["verdict"] == "other_failed"
    assert "the engine's default does not run here: unsupported" in document["why"]


SIZE = {"name": "cache", "concept": "kv.type.k", "type": "enum", "values": ["small", "large"], "default": "large",
        "search": ["small", "large"], "scope": "context", "help": "type of the cache"}  # fmt: skip


def memory_model(**element_bytes: int) -> dict[str, Any]:
    types = {name: {"block": 1, "bytes": size} for name, size in {"f16": 2, **element_bytes}.items()}
    return {"cell_padding": 1, "weight_bytes": 1 << 20, "types": types,
            "kv_groups": [{"layers": 1, "k_elements": 128, "v_elements": 0, "window_tokens": 0}]}  # fmt: skip


def test_what_cannot_fit_is_never_started(tmp_path: Path) -> None:
    """Neither the default nor the plan: a forecast over what the machine has is as good as a failure."""
    script = {"knobs": [SIZE], "step_ms": {"small": 3, "large": 4}, "memory_model": memory_model(small=1, large=2)}
    worker = scripted(tmp_path, script)
    assert kvat("tune", "model", "--engine", worker, "--profile", "ci-micro", cwd=tmp_path).code == 0
    huge = 1 << 40
    engine = ["model", "--engine", worker]
    rule = {"at": "prepare", "when": {"cache": "large"}, "error": {"kind": "internal", "detail": "it was started"}}
    scripted(tmp_path, {**script, "memory_model": memory_model(small=1, large=huge), "rules": [rule]})
    document = verify(tmp_path, *engine, code=0)
    assert "the engine's default does not run here: forecast " in document["why"]
    assert document["pairings"][0]["verdict"] == "other_failed" and document["runs"] == 0
    scripted(tmp_path, {**script, "memory_model": memory_model(small=huge, large=2)})
    document = verify(tmp_path, *engine, code=4)
    assert document["refused"].startswith("forecast ") and document["runs"] == 0


def test_a_plan_that_keeps_the_default_is_held_against_its_rivals(tuned: Path) -> None:
    plan = json.loads((tuned / PLAN).read_text())
    edit_plan(tuned, settings={**plan["settings"], "flash-attn": "off", "ubatch-size": 512}, label="default")
    document = verify(tuned, code=4)
    assert document["is_default"] is True
    assert document["pairings"][document["decisive"]]["settings"]["flash-attn"] == "on"
    edit_plan(tuned, settings=document["settings"], alternatives=[])
    assert "records nothing to compare it with" in verify(tuned, code=6)["why"]


def test_a_plan_that_was_never_decided_is_not_called_the_best(tuned: Path) -> None:
    edit_plan(tuned, decision="undecided")
    document = verify(tuned, code=6)
    assert document["undecided"] is True and document["decisive"] is None
    assert "did not decide that it is the best" in document["why"]
    assert "better than the engine's default" in document["why"]
    surface(tuned / "surface.json", noise=QUIET, effects=effects(ttft=0.2, decode=-0.2))
    assert verify(tuned, code=4)["undecided"] is True


def test_rivals_that_fail_do_not_make_the_default_the_best(tuned: Path) -> None:
    plan = json.loads((tuned / PLAN).read_text())
    edit_plan(tuned, settings={**plan["settings"], "flash-attn": "off", "ubatch-size": 512}, label="default")
    surface(tuned / "surface.json", noise=QUIET, faults=[{"when": {"flash-attn": "on"}, "kind": "oom_device", "probability": 1}])
    alternatives = [each for each in plan["alternatives"] if each["settings"]["flash-attn"] == "on"]
    assert alternatives
    edit_plan(tuned, alternatives=alternatives)
    document = verify(tuned, code=6)
    assert document["is_default"] is True
    assert {pairing["verdict"] for pairing in document["pairings"]} == {"other_failed"}
    assert "fails here: oom_device" in document["why"]


def test_the_text_fits_a_narrow_terminal(tuned: Path) -> None:
    for columns in (80, 40):
        result = kvat("verify", PLAN, cwd=tuned, env=environment(COLUMNS=str(columns)))
        assert max(map(len, result.out.splitlines())) <= columns, result.out
    assert kvat("verify", PLAN, cwd=tuned, env=environment(LC_ALL="C")).out.isascii()


def test_a_model_that_is_not_here_is_65_and_its_path_may_be_given(tuned: Path) -> None:
    (tuned / "surface.json").rename(tuned / "moved.json")
    result = kvat("verify", PLAN, cwd=tuned)
    assert result.code == 65
    assert "surface.json, which is not here" in result.err
    plan = json.loads((tuned / PLAN).read_text())
    edit_plan(tuned, model={**plan["model"], "revision": None})  # which only a model of a hub has
    assert "surface.json, which is not here" in kvat("verify", PLAN, cwd=tuned).err
    assert kvat("verify", PLAN, "no.json", cwd=tuned).code == 65
    assert verify(tuned, "moved.json", code=0)["changes"] == []
    assert verify(tuned, "--model", "moved.json", code=0)["answer"] == "yes"
    edit_plan(tuned, reproduce=[])
    missing = kvat("verify", PLAN, cwd=tuned)
    assert missing.code == 2 and "MODEL is missing" in missing.err


DAMAGE = [("profile", {"name": "x"}, "plan.profile.cells"), ("settings", [], "settings"), ("settings", {"a": None}, "settings"),
          ("engine", {}, "engine"), ("sequences", 0, "sequences"), ("figures", 1, "figures")]  # fmt: skip


@pytest.mark.parametrize(("member", "value", "words"), DAMAGE, ids=range(len(DAMAGE)))
def test_a_damaged_plan_is_65_naming_the_member(member: str, value: Any, words: str, tuned: Path) -> None:
    edit_plan(tuned, **{member: value})
    result = kvat("verify", PLAN, "surface.json", cwd=tuned)
    assert result.code == 65, result.err
    assert words in result.err
    (tuned / PLAN).write_text((tuned / PLAN).read_text()[:-40])
    assert kvat("verify", PLAN, "surface.json", cwd=tuned).code == 65


def test_an_engine_that_is_not_here_is_69_and_a_plan_names_no_program(tuned: Path) -> None:
    plan = json.loads((tuned / PLAN).read_text())
    ran = tuned / "ran"
    program = tuned / "program"
    program.write_text(f"#!/bin/sh\ntouch '{ran}'\n")
    program.chmod(0o755)
    for name in ("ghost", "./program", str(program)):
        edit_plan(tuned, engine={**plan["engine"], "name": name})
        result = kvat("verify", PLAN, "surface.json", cwd=tuned)
        assert result.code == 69, result.err
        assert "does not know here" in result.err and "--engine" in result.err
        kvat("apply", PLAN, cwd=tuned)
    assert not ran.exists()
    assert kvat("verify", PLAN, "surface.json", "--engine", program, cwd=tuned).code == 69
    assert ran.exists(), "asked for outright it is started"


def test_names_from_a_plan_stay_inert_on_the_terminal(tuned: Path) -> None:
    plan = json.loads((tuned / PLAN).read_text())
    evil = "x\x1b]0;a\x07\u202e"
    for each in plan["alternatives"]:
        each["label"] = evil
    edit_plan(tuned, label=evil, alternatives=plan["alternatives"], reproduce=[*plan["reproduce"], evil])
    result = kvat("verify", PLAN, "surface.json", cwd=tuned)
    assert result.code == 0, result.err
    assert not set(result.out + result.err) & {"\x1b", "\x07", "\u202e"}


def test_a_fixed_setting_stays_part_of_the_default(tmp_path: Path) -> None:
    """What the user fixed for the plan is fixed for what it is held against, too."""
    surface(tmp_path / "surface.json", noise=QUIET)
    tuned: Result = kvat("tune", "surface.json", "--profile", "ci-micro", "--set", "ubatch-size=256", cwd=tmp_path)
    assert tuned.code == 0, tuned.err
    first = verify(tmp_path, code=0)["pairings"][0]
    assert first["settings"]["ubatch-size"] == 256 and first["settings"]["flash-attn"] == "off"
