"""kvat apply and kvat compare: on plans written by hand, and on folders of results."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import select
import signal
import sqlite3
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from faults import scripted
from kvat_cli import BLOCKING_WORKER, KVAT, SURFACE, TIMEOUT_S, check_golden, environment, kvat

GIB = 1 << 30
INTERVAL = {"value": 1.0, "low": 0.99, "high": 1.01}
DECODE = {"value": 40.0, "low": 39.6, "high": 40.4}
CELLS = [{"prompt_tokens": 512, "output_tokens": 32, "sequences": 1, "weight": 1.0}]
PLAN = {
    "format": "kvat-plan/1",
    "kvat_version": "0.1.0",
    "decision": "winner",
    "why": "measured",
    "engine": {"name": "llamacpp", "version": "0.5.0", "build": "", "flags": []},
    "model": {"name": "Tiny", "identity": "sha256:1", "file": "tiny.gguf"},
    "profile": {"name": "ci-micro", "cells": CELLS, "weights": {"ttft": 0.5, "decode": 0.35, "memory": 0.15}},
    "context_tokens": 544,
    "sequences": 1,
    "label": "threads 4",
    "settings": {"threads": 4, "cache-type-k": "f16"},
    "changed": {"threads": 4},
    "lossy": False,
    "figures": {"score": 110.0, "peak_bytes": GIB, "cells": [{**CELLS[0], "ttft_s": INTERVAL, "decode_tok_per_s": DECODE}]},
    "noise": {"anchor_spread": 0.01},
    "memory": {"source": "VmHWM", "peak_bytes": GIB},
    "environment": {"machine": {"cpu": "test"}},
    "fallback": [
        {"when": {"free_memory_below_bytes": 2 * GIB}, "use": {"threads": 4, "cache-type-k": "q8_0"}, "label": "cache-type-k q8_0",
         "because": "it needs 0.9 GiB"},
        {"when": {"context_above_tokens": 544}, "use": {"threads": 2, "cache-type-k": "f16"}, "label": "threads 2", "because": "measured"},
    ],
}  # fmt: skip
HERE = ["--free-memory", "8GiB"]


def write(path: Path, plan: dict = PLAN, **changes: object) -> Path:
    path.write_text(json.dumps({**plan, **changes}))
    return path


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    return write(tmp_path / "best_plan.json")


# ---- apply ----


def test_the_settings_are_shown_as_reviewed(plan: Path) -> None:
    result = kvat("apply", plan.name, *HERE, cwd=plan.parent)
    assert result.code == 0
    check_golden("apply-out.txt", result.out)
    check_golden("apply-err.txt", result.err)


@pytest.mark.parametrize(
    ("conditions", "rule", "settings"),
    [
        (["--free-memory", "8GiB"], None, {"threads": 4, "cache-type-k": "f16"}),
        (["--free-memory", "1GiB"], 0, {"threads": 4, "cache-type-k": "q8_0"}),
        (["--free-memory", "8GiB", "--context", "544"], None, {"threads": 4, "cache-type-k": "f16"}),
        (["--free-memory", "8GiB", "--context", "545"], 1, {"threads": 2, "cache-type-k": "f16"}),
        (["--free-memory", "1GiB", "--context", "545"], 0, {"threads": 4, "cache-type-k": "q8_0"}),
    ],
)
def test_the_first_rule_that_holds_decides(
    conditions: list[str], rule: int | None, settings: dict, plan: Path
) -> None:
    document = json.loads(kvat("apply", plan, *conditions, "--json").out)
    assert document["rule_index"] == rule
    assert document["settings"] == settings
    assert document["rule"] == (PLAN["fallback"][rule] if rule is not None else None)
    said = kvat("apply", plan, *conditions).err
    assert ("Rule" in said) == (rule is not None)
    if rule is not None:
        assert f"Rule {rule + 1} " in said
        assert PLAN["fallback"][rule]["label"] in said


def test_rules_about_device_memory_do_not_look_at_the_hosts(tmp_path: Path) -> None:
    rule = {"when": {"free_device_memory_below_bytes": 1 << 60}, "use": {"threads": 1}, "label": "threads 1", "because": "measured"}
    plan = write(tmp_path / "plan.json", fallback=[rule], memory={"source": "devices: NVML", "peak_bytes": GIB})
    unknown = kvat("apply", plan)
    assert "No fallback rule holds here" in unknown.err
    assert "How much device memory is free is not known here" in unknown.err
    assert json.loads(kvat("apply", plan, "--json").out)["conditions"]["free_device_memory_bytes"] is None
    assert "free device memory is below" in kvat("apply", plan, *HERE).err
    assert "memory:" not in kvat("apply", plan, "--format", "k8s").out


def test_what_the_engine_does_not_offer_for_the_model_is_replaced(tmp_path: Path) -> None:
    stand_in = {"flash-attn": "off", "cache-type": "f16"}
    rule = {"when": {"unsupported": {"flash-attn": "fast"}}, "use": stand_in, "label": "flash-attn off", "because": "measured"}
    plan = write(tmp_path / "plan.json", engine={"name": "sim", "version": "1"}, fallback=[rule],
                 settings={"flash-attn": "fast", "cache-type": "f16"}, changed={})  # fmt: skip
    there = json.loads(kvat("apply", plan, "--model", SURFACE, "--json", *HERE).out)
    assert (there["settings"], there["rule_index"], there["conditions"]["settings_known"]) == (stand_in, 0, True)
    assert "Rule 1 of the plan holds: the engine does not offer flash-attn fast" in kvat("apply", plan, "--model", SURFACE, *HERE).err
    unasked = json.loads(kvat("apply", plan, "--json", *HERE).out)
    assert (unasked["rule_index"], unasked["conditions"]["settings_known"]) == (None, False)


SIM = {"engine": {"name": "sim", "version": "1"}, "fallback": []}


def test_settings_that_are_not_offered_are_said_without_any_rule_about_them(tmp_path: Path) -> None:
    plan = write(tmp_path / "plan.json", **SIM, settings={"flash-attn": "fast"}, changed={})
    document = json.loads(kvat("apply", plan, "--model", SURFACE, "--json", *HERE).out)
    assert document["conditions"]["settings_known"] is True
    assert "offers neither all settings of the plan" in document["advice"]
    said = kvat("apply", plan, "--model", SURFACE, *HERE).err
    assert "No fallback rule helps here" in said
    assert "measure again with kvat tune" in " ".join(said.split())


def engine_here(tmp_path: Path, name: str, *command: str | Path, **changes: str) -> dict[str, str]:
    """An environment in which kvat knows this engine and no other."""
    folder = tmp_path / "data" / "engines"
    folder.mkdir(parents=True)
    manifest = {"format": "kvat-engine/1", "name": name, "title": name, "command": [str(word) for word in command],
                "models": ["*.gguf"], "needs": "nothing"}  # fmt: skip
    (folder / f"{name}.json").write_text(json.dumps(manifest))
    return environment(KVAT_DATA_DIR=str(tmp_path / "data"), **changes)


def test_a_signal_ends_it_before_anything_is_written(tmp_path: Path) -> None:
    fifo, model, script = tmp_path / "fifo", tmp_path / "model.gguf", tmp_path / "start.sh"
    os.mkfifo(fifo)
    model.write_bytes(b"")
    rule = {"when": {"unsupported": {"cache-type-k": "f16"}}, "use": {"cache-type-k": "q8_0"}, "because": ""}
    plan = write(tmp_path / "plan.json", fallback=[rule])
    env = engine_here(tmp_path, "llamacpp", sys.executable, BLOCKING_WORKER, KVAT_TEST_BLOCK_AT="describe", KVAT_TEST_BLOCKED=str(fifo))
    command = [KVAT, "apply", plan, "--model", model, "--print-snippet", "-o", script, *HERE]
    blocked = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        ready, _, _ = select.select([blocked], [], [], TIMEOUT_S)
        assert ready, "the engine was not asked"
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=TIMEOUT_S)
    finally:
        os.close(blocked)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    assert (process.returncode, out) == (130, b"")
    assert not script.exists()


def test_a_model_that_the_engine_refuses_is_said_with_the_reason(tmp_path: Path) -> None:
    rule = {"at": "describe", "error": {"kind": "bad_model", "detail": "this is no GGUF"}}
    env = engine_here(tmp_path, "mine", scripted(tmp_path, {"rules": [rule]}))
    (tmp_path / "broken.gguf").write_bytes(b"")
    unless = {"when": {"engine_version_not": "2"}, "advise": "measure again"}
    only_here = {"when": {"unsupported": {"gear": "high"}}, "use": {"gear": "low"}, "because": ""}
    plan = write(tmp_path / "plan.json", engine={"name": "mine", "version": "2"}, settings={"gear": "high"}, changed={},
                 fallback=[unless, only_here])  # fmt: skip
    result = kvat("apply", plan, "--model", "broken.gguf", "-v", *HERE, cwd=tmp_path, env=env)
    said = " ".join(result.err.split())
    assert result.code == 0
    assert "kvat: warning: what the engine offers for --model could not be asked: this is no GGUF" in said
    assert "see --model" not in said
    assert "the engine's version is not 2" in said, "that can be asked without the model"
    assert "(see --model)" in " ".join(kvat("apply", plan, "-v", *HERE, env=env).err.split())


def test_a_plan_names_an_engine_and_not_a_program_to_run(tmp_path: Path) -> None:
    program, ran = tmp_path / "program", tmp_path / "ran"
    program.write_text(f"#!/bin/sh\necho > '{ran}'\n")
    program.chmod(0o755)
    rule = {"when": {"engine_version_not": "2"}, "advise": "measure again"}
    plan = write(tmp_path / "plan.json", engine={"name": str(program), "version": "2"}, fallback=[rule])
    assert kvat("apply", plan, *HERE).code == 0
    (tmp_path / "model.gguf").write_bytes(b"")
    assert "is no name of an engine" in kvat("apply", plan, "--model", "model.gguf", *HERE, cwd=tmp_path).err
    assert not ran.exists()


def test_advice_comes_beside_the_rule_whose_settings_are_used(tmp_path: Path) -> None:
    advising = {"when": {"free_memory_below_bytes": 2 * GIB}, "advise": "no measured configuration needs less"}
    plan = write(tmp_path / "plan.json", fallback=[advising, *PLAN["fallback"]])
    document = json.loads(kvat("apply", plan, "--free-memory", "1GiB", "--json").out)
    assert (document["rule_index"], document["settings"]) == (1, PLAN["fallback"][0]["use"])
    assert document["rule"] == PLAN["fallback"][0]
    result = kvat("apply", plan, "--free-memory", "1GiB")
    assert "Rule 2 of the plan holds" in result.err
    assert "used instead: cache-type-k q8_0" in " ".join(result.err.split())
    assert "no measured configuration needs less" in result.err
    del advising["when"]["free_memory_below_bytes"]
    advising["when"]["context_above_tokens"] = 544
    only = kvat("apply", write(tmp_path / "plan.json", fallback=[advising]), "--context", "545", *HERE).err
    assert "Rule 1 of the plan holds" in only
    assert "used instead" not in only


@pytest.mark.parametrize(
    ("decision", "said"),
    [("winner", ""), ("default", ""), ("undecided", "this plan is not decided: the best so far, not confirmed as the best")],
)
def test_a_plan_that_is_not_decided_is_applied_with_a_warning(decision: str, said: str, tmp_path: Path) -> None:
    plan = write(tmp_path / "plan.json", decision=decision, why="not decided: 61 % sure")
    for options in ([], ["--print-snippet"], ["--json"], ["--quiet"]):
        result = kvat("apply", plan, *options, *HERE)
        assert result.code == 0
        assert ("warning" in result.err) == bool(said)
        assert said in " ".join(result.err.split())
    assert json.loads(kvat("apply", plan, "--json", *HERE).out)["decision"] == decision
    for name in ("llama-server", "preset", "compose", "k8s"):
        snippet = kvat("apply", plan, "--format", name, *HERE).out
        assert ("not decided: the best so far, not confirmed as the best" in snippet) == bool(said)


def test_the_help_does_not_tell_to_paste_a_script_that_ends_the_shell() -> None:
    for arguments in (["--help"], ["apply", "--help"]):
        said = kvat(*arguments).out
        assert "paste" not in said
        assert "a start script for the server" in said


def test_a_snippet_is_all_that_stdout_gets(plan: Path) -> None:
    result = kvat("apply", "--plan", plan, "--print-snippet", *HERE)
    assert result.code == 0
    assert "llama-server" in result.out
    assert "-t 4" in result.out
    assert "Next:" not in result.out
    assert kvat("apply", plan, "--format", "llama-server", *HERE).out == result.out


@pytest.mark.parametrize(
    ("options", "file"),
    [(["--print-snippet", "-o", "x.sh"], True), (["-o", "x.sh"], True), (["-o", "-"], False),
     (["--print-snippet"], False), (["-o", "-", "--print-snippet"], False), (["--format", "llama-server"], False)],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_the_snippet_is_printed_once_and_with_json_only_in_the_document(
    options: list[str], file: bool, plan: Path, tmp_path: Path
) -> None:
    snippet = kvat("apply", plan, "--print-snippet", *HERE).out
    plain = kvat("apply", plan, *options, *HERE, cwd=tmp_path)
    assert plain.code == 0
    assert plain.out == ("" if options == ["-o", "x.sh"] else snippet)
    assert (tmp_path / "x.sh").exists() == file
    (tmp_path / "x.sh").unlink(missing_ok=True)
    document = json.loads(kvat("apply", plan, "--json", *options, *HERE, cwd=tmp_path).out)
    assert (document["snippet_format"], document["snippet"]) == ("llama-server", snippet)
    assert not file or (tmp_path / "x.sh").read_text() == snippet
    assert (tmp_path / "x.sh").exists() == file


@pytest.mark.parametrize("name", ["llama-server", "preset", "compose", "k8s"])
def test_every_format_that_the_help_names_is_written(name: str, plan: Path) -> None:
    assert name in kvat("apply", "--help").out
    result = kvat("apply", plan, "--format", name, *HERE)
    assert (result.code, result.out != "") == (0, True), result.err


def test_a_mistyped_format_is_a_usage_error(plan: Path) -> None:
    result = kvat("apply", plan, "--format", "prest", *HERE)
    assert result.code == 2
    assert "preset" in result.err


def test_the_file_name_chooses_the_format_and_scripts_are_executable(plan: Path, tmp_path: Path) -> None:
    script, preset = tmp_path / "llama-server.sh", tmp_path / "llama-server-preset.ini"
    assert kvat("apply", plan, "-o", script, *HERE).code == 0
    assert script.read_text() == kvat("apply", plan, "--print-snippet", *HERE).out
    assert script.stat().st_mode & 0o777 == 0o755
    assert kvat("apply", plan, "--out", preset, *HERE).code == 0
    assert preset.read_text() == kvat("apply", plan, "--format", "preset", *HERE).out
    assert preset.stat().st_mode & 0o777 == 0o644


def test_a_file_of_somebody_else_is_kept_unless_forced(plan: Path, tmp_path: Path) -> None:
    target = tmp_path / "start.sh"
    target.write_text("rm -rf /\n")
    refused = kvat("apply", plan, "-o", target, *HERE)
    assert refused.code == 74
    assert "--force" in refused.err
    assert target.read_text() == "rm -rf /\n"
    assert kvat("apply", plan, "-o", target, "--force", *HERE).code == 0
    assert "llama-server" in target.read_text()
    assert kvat("apply", plan, "-o", target, *HERE).code == 0, "its own file is replaced"


def test_links_folders_and_devices_are_no_place_to_write(plan: Path, tmp_path: Path) -> None:
    target, link, folder = tmp_path / "precious", tmp_path / "link", tmp_path / "folder"
    target.write_text("mine")
    link.symlink_to(target)
    folder.mkdir()
    for path in (link, folder, "/dev/null", tmp_path / "no" / "such" / "folder"):
        assert kvat("apply", plan, "-o", path, *HERE).code == 74
    assert target.read_text() == "mine"
    assert kvat("apply", plan, "-o", "-", *HERE).out == kvat("apply", plan, "--print-snippet", *HERE).out


def test_the_model_stands_in_the_snippet_as_an_absolute_path(plan: Path, tmp_path: Path) -> None:
    model = tmp_path / "a model.gguf"
    model.write_bytes(b"")
    result = kvat("apply", plan, "--print-snippet", "--model", model.name, *HERE, cwd=tmp_path)
    assert str(model) in result.out
    assert kvat("apply", plan, "--print-snippet", "--model", "no.gguf", *HERE, cwd=tmp_path).code == 65


def test_an_engine_without_snippets_says_so(tmp_path: Path) -> None:
    plan = write(tmp_path / "plan.json", engine={"name": "other", "version": "1"})
    assert kvat("apply", plan, *HERE).code == 0
    assert kvat("apply", plan, "--print-snippet", *HERE).code == 2
    assert json.loads(kvat("apply", plan, "--json", *HERE).out)["snippet"] is None


def test_names_from_a_plan_stay_inert_on_the_terminal(tmp_path: Path) -> None:
    plan = write(tmp_path / "plan.json", label="x\x1b]0;a\x07\u202e", settings={"k\x1b[2J": "v\x9b\n"}, changed={})
    result = kvat("apply", plan, *HERE)
    assert result.code == 0
    assert not set(result.out + result.err) & {"\x1b", "\x07", "\x9b", "\u202e"}


@pytest.mark.parametrize("text", ["", "{}", "[]", "nonsense", '{"format": "kvat-plan/9"}', "[" * 100000], ids=range(6))
def test_what_is_no_plan_is_65(text: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text)
    for arguments in (["apply", path], ["compare", path, path], ["verify", path, "model"]):
        result = kvat(*arguments)
        assert result.code == 65
        assert result.err.startswith("kvat: ")


# ---- folders of results ----


def test_a_run_without_a_plan_that_is_not_decided_is_6_and_not_3(tmp_path: Path) -> None:
    tuned = kvat("tune", "model", "--engine", BLOCKING_WORKER, "--profile", "ci-micro", "--trials", "1", cwd=tmp_path)
    assert tuned.code == 6, tuned.err
    folder = tmp_path / "kvat_results"
    (folder / "best_plan.json").unlink()
    with contextlib.closing(sqlite3.connect(folder / "kvat.db")) as database, database:
        database.execute("UPDATE trial SET status = 'voided'")
    for arguments in (["apply", folder], ["compare", folder, folder]):
        result = kvat(*arguments)
        assert result.code == 6, result.err
        assert "too disturbed" in " ".join(result.err.split())


def test_a_run_in_which_nothing_works_is_3(tmp_path: Path) -> None:
    env = environment(KVAT_TEST_FAULT="unsupported")
    assert kvat("tune", "model", "--engine", BLOCKING_WORKER, "--profile", "ci-micro", cwd=tmp_path, env=env).code == 3
    assert kvat("apply", tmp_path / "kvat_results").code == 3


def test_a_plan_of_peaks_from_different_memories_has_no_rule_about_memory(tmp_path: Path) -> None:
    host = {"host": {"current_bytes": 1 << 29, "peak_bytes": 1 << 29, "source": "VmHWM"}, "devices": []}
    worker = scripted(tmp_path, {"rules": [{"at": "resources", "when": {"gear": "high"}, "result": host}]})
    tuned = kvat("tune", "model", "--engine", worker, "--profile", "ci-micro", "--json", cwd=tmp_path)
    document = json.loads(tuned.out)
    conditions = {name for rule in document["plan"]["fallback"] for name in rule["when"]}
    assert not {name for name in conditions if "memory" in name}
    assert document["plan"]["memory"]["source"] is None
    assert document["report"]["peak_source"] == ""
    assert any("not read from the same source" in warning for warning in document["report"]["warnings"])


# ---- compare ----


@pytest.mark.parametrize("text", ["nonsense", '{"format": "kvat-plan/9"}', json.dumps({**PLAN, "sequences": 0})], ids=range(3))
def test_the_one_that_is_no_plan_is_named(text: str, plan: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text(text)
    for arguments in ((plan, bad), (bad, plan)):
        result = kvat("compare", *arguments)
        assert result.code == 65
        assert str(bad) in result.err
        assert str(plan) not in result.err


def slower(factor: float) -> dict:
    plan = copy.deepcopy(PLAN)
    ttft = plan["figures"]["cells"][0]["ttft_s"]
    plan["figures"]["cells"][0]["ttft_s"] = {name: value * factor for name, value in ttft.items()}
    return plan


GATES = [
    (1.0, None, 0, False),
    (1.5, None, 0, False),
    (1.5, "ttft=5%", 4, True),
    (1.5, "ttft=60%", 0, False),
    (1.5, "decode=5%,memory=5%", 0, False),
    (1.05, "ttft=5%", 0, False),
    (0.5, "ttft=0%", 0, False),
]


@pytest.mark.parametrize(("factor", "gate", "code", "failed"), GATES)
def test_only_a_sure_regression_fails_the_gate(
    factor: float, gate: str | None, code: int, failed: bool, plan: Path, tmp_path: Path
) -> None:
    candidate = write(tmp_path / "new.json", slower(factor))
    options = ["--gate", gate] if gate else []
    result = kvat("compare", plan, candidate, *options)
    assert result.code == code, result.err
    assert ("REGRESSION" in result.out) == failed
    document = json.loads(kvat("compare", plan, candidate, *options, "--json").out)
    assert (document["format"], document["comparable"], document["gate_failed"]) == ("kvat-compare/1", True, failed)
    ttft = next(item for item in document["items"] if item["metric"] == "ttft")
    assert ttft["change_ratio"]["value"] == pytest.approx(factor)
    assert ttft["worse_beyond_gate"] == failed


def test_the_table_is_as_reviewed(plan: Path, tmp_path: Path) -> None:
    candidate = write(tmp_path / "new.json", slower(1.5))
    check_golden("compare.txt", kvat("compare", plan, candidate, "--gate", "ttft=5%").out)


def blurred(factor: float) -> dict:
    """A plan of so few runs that nobody can tell what its time to first token is."""
    plan = slower(factor)
    plan["figures"]["cells"][0]["ttft_s"].update(low=factor / 3, high=factor * 3)
    return plan


def test_a_change_that_nobody_can_tell_is_no_number(tmp_path: Path) -> None:
    base = write(tmp_path / "base.json", blurred(1))
    for factor, said in ((1.1, "cannot tell"), (30, "beyond +53"), (1 / 30, "beyond \u221284")):
        candidate, junit = write(tmp_path / "new.json", blurred(factor)), tmp_path / f"{factor}.xml"
        result = kvat("compare", base, candidate, "--junit", junit)
        (row,) = [line for line in result.out.splitlines() if line.startswith("time to first token")]
        assert said in row, row
        assert " to " not in row.removeprefix("time to"), "no interval either"
        decode = next(line for line in result.out.splitlines() if line.startswith("decode"))
        assert " to " in decode, "what is known is a number as ever"
        assert said in junit.read_text().replace("-", "\u2212")
        ttft = json.loads(kvat("compare", base, candidate, "--json").out)["items"][0]["change_ratio"]
        assert ttft["value"] == pytest.approx(factor), "programs get the numbers"


@pytest.mark.parametrize("change", [{"environment": {"machine": {"cpu": "another"}}}, {"model": {"name": "B", "identity": "sha256:2"}},
                                    {"context_tokens": 9000}])  # fmt: skip
def test_what_cannot_be_compared_is_6_with_the_reason(change: dict, plan: Path, tmp_path: Path) -> None:
    candidate = write(tmp_path / "new.json", **change)
    result = kvat("compare", plan, candidate, "--gate", "ttft=5%")
    assert result.code == 6
    assert "Not comparable" in result.out
    assert json.loads(kvat("compare", plan, candidate, "--json").out)["comparable"] is False


@pytest.mark.parametrize(("base", "new", "who"), [(True, False, "BASE is"), (False, True, "NEW is"), (True, True, "BASE and NEW are")])
@pytest.mark.parametrize(
    ("factor", "options", "code"), [(1.0, [], 0), (1.0, ["--gate", "ttft=5%"], 6), (1.5, ["--gate", "ttft=5%"], 4)], ids=str
)
def test_no_gate_is_passed_with_a_plan_that_is_not_decided(
    base: bool, new: bool, who: str, factor: float, options: list[str], code: int, tmp_path: Path
) -> None:
    words = {False: "winner", True: "undecided"}
    one = write(tmp_path / "base.json", decision=words[base])
    other, junit = write(tmp_path / "new.json", slower(factor), decision=words[new]), tmp_path / "junit.xml"
    result = kvat("compare", one, other, *options, "--junit", junit)
    assert result.code == code, result.err
    assert f"{who} not decided: " in " ".join(result.out.split())
    assert (f"the gate is not passed: {who} not decided" in result.err) == (code == 6)
    document = json.loads(kvat("compare", one, other, *options, "--json").out)
    assert (document["base_undecided"], document["candidate_undecided"]) == (base, new)
    suite = ElementTree.parse(junit).getroot().find("testsuite")
    assert suite is not None
    assert suite.get("skipped") == str(len(suite.findall("testcase[@name='decided']/skipped"))) == "1"
    assert suite.get("tests") == str(len(suite.findall("testcase")))


@pytest.mark.parametrize(("factor", "failures"), [(1.5, 1), (1.0, 0)])
def test_junit_has_a_case_a_metric(factor: float, failures: int, plan: Path, tmp_path: Path) -> None:
    candidate, junit = write(tmp_path / "new.json", slower(factor)), tmp_path / "junit.xml"
    kvat("compare", plan, candidate, "--gate", "ttft=5%", "--junit", junit)
    suite = ElementTree.parse(junit).getroot().find("testsuite")
    assert suite is not None
    assert suite.get("failures") == str(failures)
    assert int(suite.get("tests", "0")) == len(suite.findall("testcase")) >= 3
    assert len(suite.findall("testcase/failure")) == failures


def test_junit_of_what_cannot_be_compared_is_skipped(plan: Path, tmp_path: Path) -> None:
    candidate, junit = write(tmp_path / "new.json", context_tokens=9000), tmp_path / "junit.xml"
    assert kvat("compare", plan, candidate, "--junit", junit).code == 6
    assert ElementTree.parse(junit).getroot().find("testsuite/testcase/skipped") is not None
