"""A tuning run on the real engine: what it leaves, what was in force, what memory it forecast, what it must not keep."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from engine_kit import TINY, WIDE, WORKER, Tuned, model_file, padded, place, rows, synthetic, tune
from kvat_cli import KVAT, ROOT, kvat
from protocol_kit import Worker

pytestmark = pytest.mark.engine
SETTINGS = {"flash-attn": ["on", "off"], "ubatch-size": [64, 128]}
FIXED = {"threads": 1, "threads-batch": 1, "batch-size": 256}
BAD_DATA = 65
CLIENT = {"name": "test", "version": "0"}


def words(option: str, settings: dict[str, Any]) -> list[str]:
    return [word for name, value in settings.items() for word in (option, f"{name}={value}")]


def sweep(settings: dict[str, list[Any]]) -> list[str]:
    return words("--sweep", {name: ",".join(map(str, values)) for name, values in settings.items()})


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    tmp = tmp_path_factory.mktemp("tuned")
    lengths = ["--context", "200,400", "--output-tokens", "8", "--time", "4s"]
    return tune(tmp, synthetic(tmp, TINY), *lengths, *sweep(SETTINGS), *words("--set", FIXED))


# ---- what a run leaves ----


def test_a_run_writes_its_files_and_a_valid_plan(tuned: Tuned) -> None:
    names = {path.name for path in tuned.folder.iterdir()}
    assert {"best_plan.json", "llama-server.sh", "llama-server-preset.ini", "report.html", "report.md", "kvat.db"} == names
    schema = json.loads((ROOT / "schemas" / "plan.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(tuned.plan)
    assert os.access(tuned.folder / "llama-server.sh", os.X_OK)


def test_the_plan_holds_what_was_fixed_and_one_of_what_was_swept(tuned: Tuned) -> None:
    settings = tuned.plan["settings"]
    assert {name: settings[name] for name in FIXED} == FIXED
    assert all(settings[name] in [*values, 512] for name, values in SETTINGS.items())
    assert tuned.plan["context_tokens"] >= 408
    assert (tuned.result.code == 6) == (tuned.plan["decision"] == "undecided")


def resolved(settings: dict[str, Any]) -> dict[str, Any]:
    """As the engine understands them: a micro-batch is no larger than its batch, and `auto` is a name for something."""
    ubatch = min(settings["ubatch-size"], settings["batch-size"])
    return settings | {"ubatch-size": ubatch, "load-mode": settings["load-mode"].replace("auto", "mmap")}


def test_every_clean_trial_read_back_the_settings_asked_for(tuned: Tuned) -> None:
    space = json.loads(rows(tuned.folder, "SELECT space FROM run_document")[0]["space"])
    knobs = json.loads(rows(tuned.folder, "SELECT description FROM run_document")[0]["description"])["knobs"]
    each_time = {knob["name"] for knob in knobs if knob["scope"] in ("context", "request")}
    trials = rows(tuned.folder, "SELECT config, effective FROM trial WHERE status = 'ok'")
    assert len(trials) >= 2
    for trial in trials:
        effective, asked = json.loads(trial["effective"]), resolved(space[trial["config"]])
        assert each_time <= set(effective)  # the rest is read back when a model is loaded
        assert {name: value for name, value in effective.items() if name in asked} == {
            name: value for name, value in asked.items() if name in effective
        }


def test_a_deeper_prompt_takes_longer_and_tokens_come_in_order(tuned: Tuned) -> None:
    for trial in rows(tuned.folder, "SELECT id FROM trial WHERE status = 'ok'"):
        timings = rows(tuned.folder, f"SELECT ttft_ns, token_ns FROM timing WHERE trial = {trial['id']} ORDER BY cell")
        assert len(timings) == 2
        assert 0 < timings[0]["ttft_ns"] < timings[1]["ttft_ns"]
        for timing in timings:
            times = struct.unpack("<8q", timing["token_ns"])
            assert list(times) == sorted(set(times))


def test_the_same_command_again_repeats_the_answer(tuned: Tuned) -> None:
    before = rows(tuned.folder, "SELECT count(*) AS n FROM trial")[0]["n"]
    tmp, plan = tuned.folder.parent, tuned.plan
    lengths = ["--context", "200,400", "--output-tokens", "8", "--time", "4s"]
    again = tune(tmp, synthetic(tmp, TINY), *lengths, *sweep(SETTINGS), *words("--set", FIXED))
    assert (again.result.code, again.plan) == (tuned.result.code, plan)
    assert rows(tuned.folder, "SELECT count(*) AS n FROM trial")[0]["n"] == before


def test_the_plan_can_be_verified_and_what_was_fixed_stays_fixed(tuned: Tuned) -> None:
    """Whichever it is: an answer with what it rests on, of the same model, engine and machine."""
    tmp = tuned.folder.parent
    result = kvat("verify", tuned.folder, synthetic(tmp, TINY), "--time", "3s", "--json", env=tuned.env, cwd=tmp)
    assert result.code in (0, 4, 6), result.err
    document = json.loads(result.out)
    schema = json.loads((ROOT / "schemas" / "cli.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(document)
    assert document["changes"] == [] and document["refused"] is None
    assert document["settings"] == tuned.plan["settings"]
    for pairing in document["pairings"]:
        assert {name: pairing["settings"][name] for name in FIXED} == FIXED
        assert pairing["failure"] is None and (pairing["pairs"] > 0 or pairing["disturbed"] or pairing["budget_ended"])


# ---- memory ----

PROMPT, OUTPUT = 1020, 4  # fills the last micro-batch and the context, as a forecast must assume


@dataclass
class Weighed:
    """One configuration, forecast and measured."""

    settings: dict[str, Any]
    forecast_bytes: int
    expected_kv_bytes: int
    kv_bytes: int
    peak_bytes: int | None


def cache_bytes(memory_model: dict[str, Any], settings: dict[str, Any], context_tokens: int) -> int:
    """The cache by the declared formula, worked out apart from kvat."""
    cells = padded(context_tokens)
    types = [memory_model["types"][settings[name]] for name in ("cache-type-k", "cache-type-v")]
    total = 0
    for group in memory_model["kv_groups"]:
        for kind, elements in zip(types, (group["k_elements"], group["v_elements"]), strict=True):
            total += group["layers"] * cells * (elements // kind["block"]) * kind["bytes"]
    return total


def measure(worker: Worker, settings: dict[str, Any], vocabulary: int) -> tuple[int, int | None]:
    """Bytes of the cache of one configuration, and the peak where a run is worth its time."""
    worker.result("release", what="context")
    worker.result("resources", reset=True)
    context = {name: settings[name] for name in ("cache-type-k", "cache-type-v", "flash-attn", "ubatch-size", "batch-size")}
    prepared = worker.result("prepare", settings=context, context_tokens=PROMPT + OUTPUT, sequences=1)
    if settings["cache-type-k"] != "f16":
        return prepared["memory"]["kv_bytes"], None
    tokens = {"seed": 7, "count": PROMPT, "low": 0, "high": vocabulary}
    ran = worker.result("run", settings={}, phase="full", tokens=tokens, output_tokens=OUTPUT, sequences=1)
    assert ran["status"] == "ok"
    return prepared["memory"]["kv_bytes"], worker.result("resources")["host"]["peak_bytes"]


@pytest.fixture(scope="module")
def weighed(tmp_path_factory: pytest.TempPathFactory) -> list[Weighed]:
    """What kvat forecasts for a few configurations, and what they take."""
    tmp = tmp_path_factory.mktemp("weighed")
    model, env = synthetic(tmp, WIDE), place(tmp)
    swept = {"cache-type-k": ["f16", "q8_0"], "flash-attn": ["on", "off"], "ubatch-size": [64, 512]}
    lengths = ["--context", PROMPT, "--output-tokens", OUTPUT]
    fixed = words("--set", {"threads": 1, "threads-batch": 1})
    dry = kvat("tune", model, *lengths, "--allow-lossy", *sweep(swept), *fixed, "--dry-run", "--json", env=env)
    assert dry.code == 0, dry.err
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", env["XDG_CACHE_HOME"])
        with Worker([WORKER]) as worker:
            worker.result("initialize", client=CLIENT, protocol={"min": 1, "max": 1}, launch_index=0)
            described = worker.result("describe", model=model)
            worker.result("load", model=model, settings={})
            for each in json.loads(dry.out)["configurations"]:
                expected = cache_bytes(described["memory_model"], each["settings"], PROMPT + OUTPUT)
                taken = measure(worker, each["settings"], described["model"]["vocabulary"])
                found.append(Weighed(each["settings"], each["forecast_bytes"], expected, *taken))
    assert {each.settings["ubatch-size"] for each in found} == {64, 512}
    return found


def test_cache_bytes_are_those_forecast_exactly(weighed: list[Weighed]) -> None:
    assert [each.kv_bytes for each in weighed] == [each.expected_kv_bytes for each in weighed]
    assert len({each.kv_bytes for each in weighed}) == 2


def test_peak_memory_is_forecast_within_a_twentieth(weighed: list[Weighed]) -> None:
    off = {str(each): each.forecast_bytes / each.peak_bytes - 1 for each in weighed if each.peak_bytes}
    assert len(off) >= 4
    assert max(map(abs, off.values())) <= 0.05, "\n".join(f"{by:+.1%} {each}" for each, by in off.items())


def test_peak_memory_of_a_configuration_does_not_depend_on_what_ran_before(tmp_path: Path) -> None:
    arguments = ["--context", "2000", "--output-tokens", "4", "--trials", "10", "--allow-lossy"]
    swept = {"cache-type-k": ["f16", "q8_0"], "cache-type-v": ["f16", "q8_0"]}
    fixed = {"threads": 1, "threads-batch": 1, "flash-attn": "on", "ubatch-size": 64}
    tuned = tune(tmp_path, synthetic(tmp_path, TINY), *arguments, *sweep(swept), *words("--set", fixed))
    peaks: dict[int, list[int]] = {}
    for row in rows(tuned.folder, "SELECT config, peak_bytes FROM trial WHERE status = 'ok'"):
        peaks.setdefault(row["config"], []).append(row["peak_bytes"])
    repeated = [taken for taken in peaks.values() if len(taken) > 1]
    assert repeated
    assert all(max(taken) <= 1.03 * min(taken) for taken in repeated), peaks


# ---- what a run must not keep or overlook ----

CANARY = "Xylophone-Quagmire-7731"


def canary_tokens(model: str) -> list[int]:
    with Worker([WORKER]) as worker:
        worker.result("initialize", client=CLIENT, protocol={"min": 1, "max": 1}, launch_index=0)
        worker.result("load", model=model, settings={})
        return worker.result("tokenize", text=CANARY)["ids"]


def traces(ids: list[int]) -> list[bytes]:
    """Ways in which the prompt could be in a file: as text, as hexadecimal, as lists and arrays of its tokens."""
    some = ids[1:9]
    assert len(some) == 8
    lists = [separator.join(map(str, some)).encode() for separator in (",", ", ", " ")]
    arrays = [struct.pack(f"<{len(some)}{width}", *some) for width in "iq"]
    return [CANARY.encode(), CANARY.encode().hex().encode(), CANARY[::-1].encode(), *lists, *arrays]


def test_a_prompt_is_found_nowhere_after_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text(f"{CANARY} was here. " * 60)
    model, env = synthetic(tmp_path, TINY), place(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", env["XDG_CACHE_HOME"])
    arguments = ["--prompts", prompts, "--context", "200", "--output-tokens", "4", "--time", "2s", "-v"]
    tuned = tune(tmp_path, model, *map(str, arguments), *words("--set", FIXED), "--set", "ubatch-size=64")
    assert rows(tuned.folder, "SELECT count(*) AS n FROM trial WHERE status = 'ok'")[0]["n"] > 0
    verified = kvat("verify", tuned.folder, model, "--prompts", prompts, "--time", "1s", "-v", env=tuned.env, cwd=tmp_path)
    assert verified.code in (0, 4, 6), verified.err
    assert "prompts are those of the plan" in verified.out
    searched = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path != prompts}
    searched |= {Path("stdout"): tuned.result.out.encode(), Path("stderr"): tuned.result.err.encode()}
    searched |= {Path("verify/stdout"): verified.out.encode(), Path("verify/stderr"): verified.err.encode()}
    assert {"kvat.db", "report.html", "best_plan.json", "stderr"} <= {path.name for path in searched}
    for trace in traces(canary_tokens(model)):
        assert [path for path, content in searched.items() if trace in content] == []
    recorded = rows(tuned.folder, "SELECT request FROM run_document")[0]["request"]
    assert "sha256" in recorded or "hash" in recorded


def workers_of(pid: int) -> list[int]:
    """Engine processes below a process."""
    found = []
    for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        found += workers_of(child)
        if Path(f"/proc/{child}/comm").read_text().strip() == WORKER.name[:15]:
            found.append(child)
    return found


def test_a_model_that_changes_during_the_run_ends_it_and_workers_dump_no_core(tmp_path: Path) -> None:
    path, env = model_file(tmp_path, TINY), place(tmp_path)
    other = tmp_path / "other.gguf"
    shutil.copyfile(path, other)
    with other.open("r+b") as file:
        file.seek(-64, os.SEEK_END)
        file.write(bytes(64))
    command = [KVAT, "tune", path, "--context", "200", "--output-tokens", "4", "--time", "600s", "-o", tmp_path / "run"]
    command += [*words("--set", FIXED), "--delta", "0.0001", "--confidence", "0.9999"]
    with subprocess.Popen(
        [str(word) for word in command], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith("trial 2:"):
                (worker,) = workers_of(process.pid)
                limits = Path(f"/proc/{worker}/limits").read_text()
                os.replace(other, path)
        code = process.wait(60)
    assert (code, "model changed" in said[-1]) == (BAD_DATA, True), said[-3:]
    assert re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE)  # no dump holds a prompt
    assert rows(tmp_path / "run", "SELECT count(*) AS n FROM trial")[0]["n"] >= 2
    assert not (tmp_path / "run" / "best_plan.json").exists()
