"""The protocol as documented: whole conversations, checked message by message in both directions."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
from protocol_kit import ECHO, ROOT, SCHEMAS, SIM, Worker, check_message, validator

SURFACE = ROOT / "examples" / "surfaces" / "quiet.json"
HELLO = {"client": {"name": "kvat", "version": "0"}, "protocol": {"min": 1, "max": 1}, "launch_index": 0}
PROMPT = {"seed": 7, "count": 512, "low": 0, "high": 256}
MARKS = [{"prompt_tokens": 256, "output_tokens": 8}, {"prompt_tokens": 512, "output_tokens": 9}]


def check_times(times: list[int], count: int, start: int) -> None:
    assert len(times) == count
    assert all(a < b for a, b in zip(times, times[1:]))
    assert times[0] > start


def converse(worker: Worker, model: str) -> dict:
    """The life of a worker; returns what it was described as."""
    worker.result("initialize", **HELLO, world_seed=3, virtual_now_ns=0, replay_load=False)
    described = worker.result("describe", model=model)
    default = {knob["name"]: knob["default"] for knob in described["knobs"] if knob["scope"] == "context"}
    worker.result("load", model=model, settings={})
    for sequences in (1,):
        prepared = worker.result("prepare", settings=default, context_tokens=1024, sequences=sequences)
        assert prepared["effective"] == default
        assert prepared["context_tokens"] >= 1024
    plain = worker.result("run", settings={}, phase="full", tokens=PROMPT, output_tokens=8, sequences=1, limit_ns=60 * 10**9)
    check_times(plain["sequences"][0]["token_ns"], 8, plain["start_ns"])
    marked = worker.result("run", settings={}, phase="full", tokens=PROMPT, output_tokens=9, marks=MARKS)
    assert [mark["prompt_tokens"] for mark in marked["marks"]] == [256, 512]
    assert 0 < marked["marks"][0]["ttft_ns"] < marked["marks"][1]["ttft_ns"]
    for asked, got in zip(MARKS, marked["marks"]):
        check_times(got["sequences"][0]["token_ns"], asked["output_tokens"], marked["start_ns"])
    assert worker.result("resources", reset=True)["host"]["source"]
    assert worker.result("resources")["host"]["peak_bytes"] > 0
    assert worker.ask("no_such_method")["error"]["code"] == -32601
    worker.result("release", what="model")
    worker.result("shutdown")
    assert worker.process.wait(timeout=20) == 0
    return described


@pytest.mark.parametrize(("command", "model"), [([SIM], str(SURFACE)), ([ECHO], "anything")], ids=["sim", "echo"])
def test_a_whole_conversation_keeps_to_the_schemas(command: list[Path], model: str) -> None:
    with Worker(command) as worker:
        described = converse(worker, model)
        assert {"initialize", "describe", "load", "prepare", "run", "resources", "release", "shutdown"} <= worker.seen
    assert described["knobs"]


def test_the_echo_worker_is_faster_when_brisk() -> None:
    spans = {}
    with Worker([ECHO]) as worker:
        worker.result("initialize", **HELLO)
        worker.result("load", model="x", settings={})
        for pace in ("calm", "brisk"):
            worker.result("prepare", settings={"pace": pace}, context_tokens=1024, sequences=1)
            runs = [worker.result("run", tokens=PROMPT, output_tokens=24)["sequences"][0]["token_ns"] for _ in range(5)]
            spans[pace] = min(times[-1] - times[0] for times in runs)
    assert spans["calm"] >= 23 * 800_000  # a sleep is never shorter than asked for
    assert spans["brisk"] >= 23 * 500_000


def test_the_echo_worker_is_about_sixty_lines_long() -> None:
    code = [line for line in ECHO.read_text().splitlines() if line.strip() and not line.strip().startswith("#")]
    assert len(code) <= 80


def test_the_echo_worker_ends_with_its_input() -> None:
    with Worker([ECHO]) as worker:
        worker.process.stdin.close()
        assert worker.process.wait(timeout=20) == 0


def sim() -> Worker:
    worker = Worker([SIM])
    worker.result("initialize", **HELLO)
    return worker


BAD_LINES = [
    ("", -32700),
    ("{", -32700),
    ("[" * 100_000, -32700),
    ('{"jsonrpc": "2.0", "id": 1, "id": 2, "method": "describe"}', -32700),
    ('{"jsonrpc": "2.0", "id": 1, "method": "describe", "params": {"model": 1e999}}', -32700),
    ('{"jsonrpc": "2.0", "id": 1, "method": "describe", "params": {"model": "\\ud800"}}', -32700),
    ('{"id": 1, "method": "describe"}', -32600),
    ('{"jsonrpc": "1.0", "id": 1, "method": "describe"}', -32600),
    ("[]", -32600),
    ("7", -32600),
    ('{"jsonrpc": "2.0", "id": 1, "method": 7}', -32600),
    ('{"jsonrpc": "2.0", "id": [1], "method": "describe"}', -32600),
    ('{"jsonrpc": "2.0", "id": 1, "method": "describe", "params": [1]}', -32602),
    ('{"jsonrpc": "2.0", "id": 1, "method": "describe\\u001b"}', -32601),
    ('{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}', -32600),
    ('{"jsonrpc": "2.0", "id": 1, "method": "run", "params": {}}', -32600),
    ('{"jsonrpc": "2.0", "id": 1, "method": "describe", "params": {"model": "/nowhere"}}', -32000),
    ('{"jsonrpc": "2.0", "id": "text", "method": "describe", "params": {}}', -32000),
]


@pytest.mark.parametrize(("line", "code"), BAD_LINES)
def test_a_bad_request_is_answered_and_survived(line: str, code: int) -> None:
    with sim() as worker:
        answer = worker.say(line)
        assert answer["error"]["code"] == code
        if '"id": "text"' in line:
            assert answer["id"] == "text"
        assert worker.result("describe", model=str(SURFACE))["model"]["name"] == "quiet"


def test_a_burst_is_repeated_from_where_it_began() -> None:
    with sim() as worker:
        worker.result("load", model=str(SURFACE), settings={})
        worker.result("prepare", settings={}, context_tokens=4096)
        marks = [{"prompt_tokens": 512, "output_tokens": 8, "repeats": 3}, {"prompt_tokens": 1024, "output_tokens": 4}]
        tokens = {"seed": 1, "count": 1024, "low": 0, "high": 9}
        first, second = worker.result("run", tokens=tokens, output_tokens=4, marks=marks)["marks"]
        assert "bursts" not in second
        bursts = [first, *first["bursts"]]
        assert len(bursts) == 3
        for before, burst in zip(bursts, bursts[1:]):
            (old,), (new,) = before["sequences"], burst["sequences"]
            assert len(new["token_ns"]) == 8
            assert new["token_ns"][0] >= old["token_ns"][-1]
        for bad in ({"repeats": 0}, {"repeats": -1}, {"repeats": 1 << 40}):
            refused = worker.say(json.dumps({"jsonrpc": "2.0", "id": 9, "method": "run", "params": {
                "tokens": tokens, "output_tokens": 4, "marks": [{**marks[1], **bad}]}}))  # fmt: skip
            assert refused["error"]["data"]["kind"] == "invalid_setting"


def test_an_unknown_protocol_range_is_refused() -> None:
    with Worker([SIM]) as worker:
        answer = worker.ask("initialize", client=HELLO["client"], protocol={"min": 2, "max": 3})
        assert answer["error"]["code"] == -32001
        worker.result("initialize", **HELLO)


def test_notifications_are_not_answered() -> None:
    with sim() as worker:
        notification = '{"jsonrpc": "2.0", "method": "$/cancel", "params": {"id": 99}}'
        check_message(notification)
        worker.process.stdin.write(notification + "\n")
        assert worker.result("describe", model=str(SURFACE))["knobs"]


# ---- the schemas themselves ----


def test_schemas_are_schemas() -> None:
    for schema in SCHEMAS.values():
        jsonschema.Draft202012Validator.check_schema(schema)


def documented_blocks() -> list[str]:
    return re.findall(r"```json\n(.*?)```", (ROOT / "docs" / "protocol.md").read_text(), re.DOTALL)


def example(beginning: str) -> dict:
    """The JSON example of the documentation that starts like this, with its gaps filled."""
    (text,) = [block for block in documented_blocks() if block.lstrip().startswith(beginning)]
    return json.loads(text.replace("[ … ]", "[]").replace("…,", "1,").replace("…}", "1}").replace("…\n", "1\n"))


@pytest.mark.parametrize(
    ("beginning", "schema", "part"),
    [
        ('{"client"', "protocol", "initialize.params"),
        ('{"protocol": 1', "protocol", "initialize.result"),
        ('{"model": {', "protocol", "describe.result"),
        ('{"name": "cache-type-k"', "knob", None),
        ('{"settings"', "protocol", "run.params"),
        ('{"status"', "protocol", "run.result"),
        ('{"format": "kvat-engine/1"', "manifest", None),
    ],
)
def test_what_the_documentation_shows_keeps_to_the_schemas(beginning: str, schema: str, part: str | None) -> None:
    validator(schema, part).validate(example(beginning))


@pytest.mark.parametrize("path", sorted((ROOT / "examples" / "surfaces").glob("*.json")), ids=lambda path: path.name)
def test_shipped_surfaces_keep_to_the_schema(path: Path) -> None:
    validator("surface").validate(json.loads(path.read_text()))


@pytest.mark.parametrize("path", sorted((ROOT / "engines").glob("*/*.json")), ids=lambda path: path.name)
def test_shipped_manifests_keep_to_the_schema(path: Path) -> None:
    manifest = json.loads(path.read_text())
    validator("manifest").validate(manifest)
    assert manifest["name"] == path.stem


SMALL = {
    "format": "kvat-surface/1",
    "knobs": [{"name": "a", "type": "enum", "values": ["x", "y"], "default": "x", "scope": "context"}],
    "base": [{"prompt_tokens": 8, "output_tokens": 4, "ttft_s": 1, "decode_tok_per_s": 2, "peak_bytes": 3}],
}
BAD_SURFACES = [
    {**SMALL, "format": "kvat-surface/2"},
    {**SMALL, "base": []},
    {**SMALL, "surprise": 1},
    {key: value for key, value in SMALL.items() if key != "base"},
    {key: value for key, value in SMALL.items() if key != "knobs"},
    {**SMALL, "noise": {"ar_s": 0}},
    {**SMALL, "effects": {"a": {"y": {"ttft": 99}}}},
    {**SMALL, "faults": [{"when": {}, "kind": "fire"}]},
    {**SMALL, "configs": [{"settings": {"a": "y"}, "cells": []}]},
    {**SMALL, "knobs": [{**SMALL["knobs"][0], "scope": "galaxy"}]},
]


@pytest.mark.parametrize("surface", BAD_SURFACES)
def test_schema_and_reader_refuse_the_same_surfaces(surface: dict, tmp_path: Path) -> None:
    path = tmp_path / "surface.json"
    path.write_text(json.dumps(surface))
    assert list(validator("surface").iter_errors(surface))
    with sim() as worker:
        answer = worker.ask("describe", model=str(path))
        assert answer["error"]["data"]["kind"] == "bad_model"
    path.write_text(json.dumps(SMALL))
    validator("surface").validate(SMALL)
    with sim() as worker:
        worker.result("describe", model=str(path))
