"""kvat apply and kvat compare on plans written by hand."""

from __future__ import annotations

import copy
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from kvat_cli import SURFACE, check_golden, kvat

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


def test_a_snippet_is_all_that_stdout_gets(plan: Path) -> None:
    result = kvat("apply", "--plan", plan, "--print-snippet", *HERE)
    assert result.code == 0
    assert "llama-server" in result.out
    assert "-t 4" in result.out
    assert "Next:" not in result.out
    assert kvat("apply", plan, "--format", "llama-server", *HERE).out == result.out


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
    for arguments in (["apply", path], ["compare", path, path]):
        result = kvat(*arguments)
        assert result.code == 65
        assert result.err.startswith("kvat: ")


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


@pytest.mark.parametrize("change", [{"environment": {"machine": {"cpu": "another"}}}, {"model": {"name": "B", "identity": "sha256:2"}},
                                    {"context_tokens": 9000}])  # fmt: skip
def test_what_cannot_be_compared_is_6_with_the_reason(change: dict, plan: Path, tmp_path: Path) -> None:
    candidate = write(tmp_path / "new.json", **change)
    result = kvat("compare", plan, candidate, "--gate", "ttft=5%")
    assert result.code == 6
    assert "Not comparable" in result.out
    assert json.loads(kvat("compare", plan, candidate, "--json").out)["comparable"] is False


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
