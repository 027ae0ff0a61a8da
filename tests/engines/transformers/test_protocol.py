"""The real worker through the protocol, every message checked against the schemas in both directions."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kit import CUDA
from kvat_transformers import synthetic
from protocol_kit import KVAT, Worker, check_message

COMMAND = [KVAT.parents[1] / "libexec" / "kvat" / "kvat-transformers"]
HELLO = {"client": {"name": "kvat", "version": "0"}, "protocol": {"min": 1, "max": 1}, "launch_index": 0}
MODEL = "hf:synthetic:llama-tiny"
PROMPT = {"seed": 7, "count": 96, "low": 2, "high": 512}
DEVICE = "cuda:0" if CUDA else "cpu"
LIMIT_NS = 60 * 10**9


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker(COMMAND) as running:
        assert "initialize comes first" in running.ask("describe", model=MODEL)["error"]["message"]
        hello = running.result("initialize", **HELLO)
        assert hello["engine"]["name"] == "transformers" and hello["clock"] == "real"
        assert {"marks", "repeats", "cancel", "tokenize"} <= set(hello["capabilities"])
        yield running


@pytest.fixture
def prepared(worker: Worker) -> Worker:
    worker.result("load", model=MODEL, settings={})
    worker.result("prepare", settings={}, context_tokens=256, sequences=1)
    return worker


def defaults(described: dict[str, Any], *scopes: str) -> dict[str, Any]:
    return {knob["name"]: knob["default"] for knob in described["knobs"] if knob["scope"] in scopes}


def check_times(times: list[int], count: int, start: int) -> None:
    assert len(times) == count and times[0] > start
    assert all(a < b for a, b in zip(times, times[1:]))


def test_a_whole_conversation(worker: Worker) -> None:
    described = worker.result("describe", model=MODEL, measuring=True)
    assert described["model"]["name"] == "synthetic:llama-tiny"
    model, context, request = (defaults(described, scope) for scope in ("model", "context", "request"))
    loaded = worker.result("load", model=MODEL, settings=model)
    assert model.items() <= loaded["effective"].items() and loaded["effective"]["device"] == DEVICE
    assert abs(loaded["memory"]["model_bytes"] - described["model"]["weight_bytes"]) < 1 << 14  # headers and buffers
    made = worker.result("prepare", settings={**context, **request}, context_tokens=256, sequences=1)
    assert made["effective"] == {**context, **request} and made["context_tokens"] == 256
    assert made["memory"]["kv_bytes"] == 2 * 2 * 2 * 16 * 256 * 4  # K and V × layers × heads × size × tokens × bytes
    worker.result("resources", reset=True)
    plain = worker.result("run", settings=request, phase="full", tokens=PROMPT, output_tokens=8, sequences=1, limit_ns=LIMIT_NS)
    assert plain["status"] == "ok" and plain["effective"] == request
    check_times(plain["sequences"][0]["token_ns"], 8, plain["start_ns"])
    memory = worker.result("resources")
    assert memory["host"]["peak_bytes"] >= memory["host"]["current_bytes"] > 0
    assert [each["name"] for each in memory["devices"]] == ([DEVICE] if CUDA else [])
    assert plain["now_ns"] >= plain["sequences"][0]["token_ns"][-1]
    assert worker.ask("no_such_method")["error"]["code"] == -32601
    assert worker.say("{") == {"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "not JSON"}}
    assert worker.ask("initialize", **HELLO)["error"]["code"] == -32600


def test_marks_and_bursts(prepared: Worker) -> None:
    marks = [{"prompt_tokens": 32, "output_tokens": 4, "repeats": 3}, {"prompt_tokens": 96, "output_tokens": 5}]
    got = prepared.result("run", settings={}, phase="full", tokens=PROMPT, output_tokens=5, marks=marks, limit_ns=LIMIT_NS)
    assert [mark["prompt_tokens"] for mark in got["marks"]] == [32, 96]
    first, second = got["marks"]
    check_times(first["sequences"][0]["token_ns"], 4, got["start_ns"])
    assert len(first["bursts"]) == 2 and "bursts" not in second
    last = first["sequences"][0]["token_ns"][-1]
    for burst in first["bursts"]:
        check_times(burst["sequences"][0]["token_ns"], 4, last - 1)
        last = burst["sequences"][0]["token_ns"][-1]
    check_times(second["sequences"][0]["token_ns"], 5, last)


def test_a_batch_answers_for_each_sequence(worker: Worker) -> None:
    worker.result("load", model=MODEL, settings={})
    worker.result("prepare", settings={}, context_tokens=512, sequences=4)
    got = worker.result("run", settings={}, phase="full", tokens=PROMPT, output_tokens=6, sequences=4)
    assert [each["prompt_tokens"] for each in got["sequences"]] == [96] * 4
    assert worker.ask("run", settings={}, tokens=PROMPT, output_tokens=6, sequences=2)["error"]["data"]["kind"] == "invalid_setting"


def test_a_prefill_by_itself_gives_one_token(prepared: Worker) -> None:
    got = prepared.result("run", settings={}, phase="prefill", tokens=PROMPT, output_tokens=6)
    assert len(got["sequences"][0]["token_ns"]) == 1
    assert prepared.ask("run", settings={}, phase="decode", output_tokens=6)["error"]["data"]["kind"] == "unsupported"


def test_a_run_past_its_limit_is_a_timeout_and_the_worker_goes_on(prepared: Worker) -> None:
    assert prepared.result("run", settings={}, tokens=PROMPT, output_tokens=64, limit_ns=1)["status"] == "timeout"
    assert prepared.result("run", settings={}, tokens=PROMPT, output_tokens=2, limit_ns=LIMIT_NS)["status"] == "ok"


def test_a_run_can_be_cancelled(prepared: Worker) -> None:
    prepared.last_id += 1
    run = {"jsonrpc": "2.0", "id": prepared.last_id, "method": "run", "params": {"settings": {}, "tokens": PROMPT, "output_tokens": 99}}
    cancel = {"jsonrpc": "2.0", "method": "$/cancel", "params": {"id": prepared.last_id}}
    answer = prepared.say(json.dumps(run) + "\n" + json.dumps(cancel))
    assert answer["id"] == prepared.last_id
    assert (answer["error"]["code"], answer["error"]["data"]["kind"]) == (-32800, "cancelled")
    assert prepared.result("run", settings={}, tokens=PROMPT, output_tokens=2)["status"] == "ok"


def test_faults_are_answers(prepared: Worker) -> None:
    for params, kind in [({"tokens": PROMPT, "output_tokens": 999}, "invalid_setting"),
                         ({"tokens": PROMPT, "output_tokens": 1, "settings": {"nonsense": 1}}, "invalid_setting")]:  # fmt: skip
        assert prepared.ask("run", **{"settings": {}, **params})["error"]["data"]["kind"] == kind
    assert prepared.ask("prepare", settings={}, context_tokens=5000)["error"]["data"]["kind"] == "unsupported"
    assert prepared.ask("run", settings={}, tokens=PROMPT, output_tokens=1)["error"]["code"] == -32600  # there is no context
    assert prepared.ask("load", model="hf:no/such", settings={})["error"]["data"]["kind"] == "bad_model"


def test_text_becomes_tokens_and_is_in_no_log(tmp_path: Path) -> None:
    canary = "canary-9F2C"
    with Worker(COMMAND) as worker:
        worker.result("initialize", **HELLO)
        worker.result("load", model=MODEL, settings={})
        ids = worker.result("tokenize", text=canary)["ids"]
        assert len(ids) == len(canary)
        worker.result("prepare", settings={}, context_tokens=64)
        worker.result("run", settings={}, tokens={"ids": ids}, output_tokens=2)
        worker.result("release", what="context")
        worker.result("release", what="model")
        worker.result("shutdown")
        assert worker.process.wait(timeout=20) == 0
        log = worker.process.stderr.read()
    assert canary not in log and ", ".join(map(str, ids[:3])) not in log


def test_what_a_library_prints_does_not_break_the_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(shutil.copytree(synthetic.folder_of("qwen2-tiny")[1], tmp_path / "chatty"))
    config = json.loads((folder / "config.json").read_text())
    classes = {"AutoConfig": "own.OwnConfig"}
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "chatty", "auto_map": classes}))
    (folder / "own.py").write_text(
        "import os\nfrom transformers import Qwen2Config, Qwen2ForCausalLM\nprint('said to nobody', flush=True)\nos.write(1, b'{\"jsonrpc\"')\n"
        "class OwnConfig(Qwen2Config):\n    model_type = 'chatty'\n"
        "class OwnModel(Qwen2ForCausalLM):\n    config_class = OwnConfig\n"
    )
    monkeypatch.setenv("KVAT_TRUST_REMOTE_CODE", "1")
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    with Worker(COMMAND) as worker:
        worker.result("initialize", **HELLO)
        refused = worker.ask("describe", model=str(folder))["error"]
        assert refused["data"]["kind"] == "bad_model" and "no causal language model" in refused["message"]
        classes["AutoModelForCausalLM"] = "own.OwnModel"
        (folder / "config.json").write_text(json.dumps(config | {"model_type": "chatty", "auto_map": classes}))
        assert worker.result("describe", model=str(folder))["model"]["name"] == "chatty"
        worker.process.stdin.close()
        assert worker.process.wait(timeout=20) == 0
        assert "said to nobody" in worker.process.stderr.read()


def test_it_ends_with_its_caller_in_the_middle_of_a_run() -> None:
    with Worker(COMMAND) as worker:
        worker.result("initialize", **HELLO)
        worker.result("load", model=MODEL, settings={})
        worker.result("prepare", settings={}, context_tokens=4096)
        request = {"jsonrpc": "2.0", "id": 99, "method": "run", "params": {"settings": {}, "tokens": PROMPT, "output_tokens": 4000}}
        check_message(json.dumps(request))
        worker.process.stdin.write(json.dumps(request) + "\n")
        worker.process.stdin.close()
        assert worker.process.wait(timeout=20) == 0
        assert worker.process.stdout.read() == ""


@pytest.mark.parametrize("name", ["contextlib", "importlib", "runpy", "json", "torch"])
def test_no_file_of_the_working_folder_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Which may be a model's own."""
    (tmp_path / f"{name}.py").write_text("open('run', 'w').close()\n")
    monkeypatch.chdir(tmp_path)
    with Worker(COMMAND) as worker:
        worker.result("initialize", **HELLO)
    assert not (tmp_path / "run").exists()
