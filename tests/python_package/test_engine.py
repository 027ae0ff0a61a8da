"""An engine of the user's own, driven by kvat: what it is given, and every way in which it may go wrong."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kvat
import pytest
import toy_engine
from kvat import EngineAdapter, TuneConfig, TuneResult, TuningSearch, worker
from kvat._program import PREFIX, ask, environment
from kvat.engines.base import START
from toy_engine import MarkingEngine, RealEngine, RefusesEngine, SpreadEngine, ToyEngine


def tune(engine: EngineAdapter, model: str = "toy model", **changes: Any) -> TuneResult:
    return TuningSearch(TuneConfig(model, **{"profile": "ci-micro", "winners_dir": "none", **changes}), engine).run()


def failures(result: TuneResult) -> dict[str, int]:
    """Of the brisk pace: how its trials ended."""
    entry = next(entry for entry in result.report["entries"] if entry["settings"]["pace"] == "brisk")
    counts: dict[str, int] = entry["failures"]
    return counts


# ---- what it is given ----


@pytest.mark.parametrize("kind", [ToyEngine, MarkingEngine, RealEngine])
def test_an_own_engine_is_tuned(kind: Callable[[], EngineAdapter]) -> None:
    result = tune(kind())
    assert (result.decision, result.changed) == ("winner", {"pace": "brisk"})
    engine = result.plan.data["engine"]
    assert (engine["name"], engine["version"]) == (kind().name, kind().version)
    assert engine["build"].startswith("source ")
    assert result.gain is not None and result.gain.ttft.high is not None and result.gain.ttft.high < 1


def test_the_clock_is_read_exactly(tmp_path: Path) -> None:
    figures = tune(ToyEngine()).figures.cells[0]
    assert figures.ttft_s.value == pytest.approx(512 * 500_000 / 40 * 1e-9)
    assert figures.decode_tok_per_s.value == pytest.approx(1e9 / 500_000)


def test_each_run_begins_with_an_empty_cache_and_gets_its_settings(tmp_path: Path) -> None:
    log = tmp_path / "log"
    tune(ToyEngine(log=str(log)), extra_arguments=["--set=lanes=1"])
    lines = [line.split() for line in log.read_text().splitlines()]
    assert {(cached, lanes) for _, cached, _, lanes in lines} == {("0", "1")}
    assert {pace for pace, _, _, _ in lines} == {"calm", "brisk"}
    assert max(int(count) for _, _, count, _ in lines) == 512


def test_an_engine_that_rewinds_goes_over_all_depths_in_one_pass(tmp_path: Path) -> None:
    profile = kvat.create_custom_profile("depths", [256, 512, 1024], [8, 32])
    log = tmp_path / "log"
    slow, fast = (
        tune(ToyEngine(), profile=profile, output_dir="one"),
        tune(MarkingEngine(log=str(log)), profile=profile, output_dir="two"),
    )
    for ours, theirs in zip(slow.figures.cells, fast.figures.cells, strict=True):
        assert ours.ttft_s.value == pytest.approx(theirs.ttft_s.value)
        assert ours.decode_tok_per_s.value == pytest.approx(theirs.decode_tok_per_s.value)
    assert any(line.split()[1] == "256" for line in log.read_text().splitlines()), "it went on from a depth"


def test_equal_prompts_at_once() -> None:
    assert tune(ToyEngine(), batch_sizes=[1, 2]).plan.data["sequences"] == 2
    with pytest.raises(kvat.NothingWorksError):
        tune(ToyEngine(), batch_sizes=[4], output_dir="four")


def prepared(engine: EngineAdapter, context_tokens: int, sequences: int) -> tuple[worker.Host, dict[str, Any]]:
    """A worker in this process, and its answer to `prepare`."""
    host = worker.Host(engine)
    host.initialize({})
    host.describe({"model": "m"})
    host.load({"model": "m"})
    settings = {"pace": "calm", "lanes": 2}
    return host, host.prepare({"settings": settings, "context_tokens": context_tokens, "sequences": sequences})


def test_a_cache_is_asked_for_by_the_tokens_of_each_sequence() -> None:
    """Which the protocol counts together."""
    engine = ToyEngine()
    host, made = prepared(engine, 257, 2)
    assert (engine.room, made["context_tokens"]) == (129, 258)

    def run(output_tokens: int) -> dict[str, Any]:
        tokens = {"seed": 1, "count": 100, "low": 0, "high": 100}
        return host.run({"tokens": tokens, "output_tokens": output_tokens, "sequences": 2})

    assert [len(each["token_ns"]) for each in run(29)["sequences"]] == [29, 29]
    with pytest.raises(worker.Fault, match="129"):
        run(30)


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"marks": [{"prompt_tokens": 64, "output_tokens": 4}, {"prompt_tokens": 32, "output_tokens": 4}]}, "ascend"),
        ({"marks": [{"prompt_tokens": 101, "output_tokens": 4}]}, "prompt"),
        ({"marks": [{"prompt_tokens": 64, "output_tokens": 200}, {"prompt_tokens": 100, "output_tokens": 4}]}, "264 tokens"),
        ({"sequences": 2}, "1 sequences"),
    ],
)
def test_a_run_that_makes_no_sense_is_refused(asked: dict[str, Any], word: str) -> None:
    host, _ = prepared(MarkingEngine(), 256, 1)
    tokens = {"seed": 1, "count": 100, "low": 0, "high": 100}
    with pytest.raises(worker.Fault, match=word) as caught:
        host.run({"tokens": tokens, "output_tokens": 4, **asked})
    assert caught.value.kind == "invalid_setting"


def test_knobs_and_what_is_absent_are_declared(tmp_path: Path) -> None:
    ToyEngine().save_manifest("toy.json")
    said = ask(["engines", "--engine", "./toy.json", "--model", "m"])["engines"][0]
    text = json.dumps(said)
    assert '"pace"' in text and '"turbo"' in text and "not built in" in text


def test_a_saved_manifest_serves_the_command_line(tmp_path: Path) -> None:
    MarkingEngine().save_manifest("toy.json")
    program = [PREFIX / "bin" / "kvat", "tune", "m", "--engine", "./toy.json", "--profile", "ci-micro", "--winners", "none"]
    done = subprocess.run(program, env=environment(), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "pace brisk" in done.stdout


@pytest.mark.parametrize(
    ("asked", "device"),
    [
        ({}, "one"),
        ({"device": "auto"}, "one"),
        ({"device": kvat.DeviceType.AUTO}, "one"),
        ({"device": "one"}, "one"),
        ({"settings": {"device": "auto"}}, "auto"),
    ],
)
def test_auto_is_the_default_device_and_among_settings_the_engines_own(asked: dict[str, Any], device: str) -> None:
    assert tune(SpreadEngine(), **asked).settings["device"] == device


def test_other_arguments_are_another_engine() -> None:
    builds = {
        tune(engine, output_dir=f"{i}").plan.data["engine"]["build"]
        for i, engine in enumerate([ToyEngine(), ToyEngine("x"), ToyEngine("")])
    }
    assert len(builds) == 3
    with pytest.raises(kvat.UsageError, match="JSON"):
        tune(ToyEngine(object()))  # type: ignore[arg-type]


# ---- where its class is ----


def test_a_class_that_no_other_process_could_find_is_refused() -> None:
    class Local(ToyEngine):
        pass

    for engine in (Local(), type("Made", (ToyEngine,), {})()):
        with pytest.raises(kvat.UsageError, match="worker's process"):
            tune(engine)
    assert not Path("kvat_results").exists()


def test_a_name_that_is_no_name_is_refused() -> None:
    for name in ("", "a/b", "-x", "a b"):
        engine = ToyEngine()
        engine.name = name
        with pytest.raises(kvat.UsageError, match="name"):
            tune(engine)


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from kvat import TuneConfig, TuningSearch
from toy_engine import ToyEngine

class Mine(ToyEngine):
    name = "mine"

{begin}
    print(TuningSearch(TuneConfig("m", profile="ci-micro", winners_dir="none"), Mine()).run().changed)
"""


@pytest.mark.parametrize(("begin", "works"), [('if __name__ == "__main__":', True), ("if True:", False)])
def test_a_class_in_a_script(begin: str, works: bool) -> None:
    Path("script.py").write_text(SCRIPT.format(tests=os.path.dirname(__file__), begin=begin))
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, check=False, timeout=60)
    if works:
        assert done.stdout == "{'pace': 'brisk'}\n", done.stderr
    else:
        assert "__main__" in done.stderr.splitlines()[-1]


def test_a_class_in_a_session_is_refused() -> None:
    code = SCRIPT.format(tests=os.path.dirname(__file__), begin="if True:")
    done = subprocess.run([sys.executable, "-"], input=code, capture_output=True, text=True, check=False, timeout=60)
    assert "put it into a module" in done.stderr


def test_no_file_of_the_working_folder_is_run(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("open('run', 'w').close()\n")
    subprocess.run([sys.executable, "-c", START, "{}"], cwd=tmp_path, capture_output=True, check=False, timeout=60)
    assert not (tmp_path / "run").exists()


# ---- every way in which it may go wrong ----


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ("raises", "crash"),
        ("dies", "crash"),
        ("unsupported", "unsupported"),
        ("memory", "oom_host"),
        ("not in force", "invalid"),
        ("short", "crash"),
        ("long", "crash"),
        ("nan", "crash"),
        ("no number", "crash"),
        ("no text", "crash"),
    ],
)
def test_a_fault_costs_its_configuration_and_not_the_run(fault: str, status: str) -> None:
    result = tune(ToyEngine(fault))
    assert result.settings["pace"] == "calm"
    assert result.decision == "default"
    assert failures(result) == {status: pytest.approx(2, abs=1)}


def test_what_was_wrong_is_said() -> None:
    for fault, text in {
        "raises": "ValueError: the brisk pace broke",
        "short": "run_decode yielded 2 tokens, asked for 3",
        "long": "run_decode yielded more than 3 tokens, asked for 3",
        "nan": "peak_bytes is NaN, not a whole number",
        "no number": "an answer that cannot be sent",
        "no text": "an answer that cannot be sent",
        "dies": "SIGSEGV",
    }.items():
        assert text in json.dumps(tune(ToyEngine(fault), output_dir=fault).report), fault


def test_an_engine_that_hangs_is_interrupted_and_its_model_kept() -> None:
    result = tune(RealEngine(hangs=True), trial_limit_s=1, time_budget_s=40)
    assert result.settings == {"pace": "calm"}
    assert "timeout" in json.dumps(result.report)


def test_a_model_that_is_none() -> None:
    with pytest.raises(kvat.BadDataError, match="no such model"):
        tune(ToyEngine(), model="nowhere")


def test_an_engine_that_cannot_be_made_in_its_worker() -> None:
    with pytest.raises(kvat.EngineUnavailableError, match="licence server"):
        tune(RefusesEngine(os.getpid()))


@pytest.mark.parametrize("values", [(["a", 1], "a"), ([1.5], 1.5), ([True], True), ([float("nan")], 1)])
def test_a_knob_of_mixed_values_is_refused(values: tuple[list[Any], Any]) -> None:
    with pytest.raises(kvat.UsageError, match="all strings or all integers"):
        kvat.Knob("k", *values).to_json()


# ---- its snippet ----


def test_the_snippet_opens_the_engine_with_the_settings_that_won() -> None:
    result = tune(ToyEngine(), model='it\'s a "model"\\')
    Path("snippet.py").write_text(kvat.PlanBuilder(result).generate_code_snippet())
    engine, request = runpy.run_path("snippet.py")["load"]()
    assert isinstance(engine, toy_engine.ToyEngine)
    assert (engine.pace, engine.loaded, request) == ("brisk", True, {"lanes": 2})
