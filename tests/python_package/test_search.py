"""TuningSearch against the simulated engine and the engine of toy_engine.py: answers, progress, interruption, failures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import kvat
import pytest
from kvat import InstalledEngine, Progress, TuneConfig, TuneResult, TuningSearch
from package_kit import SURFACE, wait_for_end
from toy_engine import RealEngine

SIM = InstalledEngine("sim")


# ---- answers ----


def test_a_decided_run(simulated: TuneResult) -> None:
    assert (simulated.decision, simulated.decided, simulated.exit_code) == ("winner", True, 0)
    assert simulated.settings == {"cache-type": "f16", "flash-attn": "on", "ubatch-size": 1024}
    assert simulated.changed == {"flash-attn": "on", "ubatch-size": 1024}
    assert simulated.gain is not None
    assert simulated.gain.score.low is not None and simulated.gain.score.low > 1
    assert simulated.confidence.p_good is not None and simulated.confidence.p_good >= 0.95
    assert str(simulated).startswith("Best: flash-attn on, ubatch-size 1024\n")


def test_every_figure_is_the_plans(simulated: TuneResult) -> None:
    plan = json.loads(simulated.plan_path.read_text())
    assert simulated.plan.data == plan
    cell = simulated.figures.cells[0]
    assert vars(cell.ttft_s) == plan["figures"]["cells"][0]["ttft_s"]
    assert simulated.figures.peak_bytes == plan["figures"]["peak_bytes"]
    assert [one.label for one in simulated.ranking] == [one["label"] for one in plan["alternatives"]]
    assert simulated.confidence.elapsed_s == plan["confidence"]["elapsed_ns"] / 1e9
    assert simulated.report_path.is_file()
    assert simulated.report["format"] == "kvat-report/1"


def test_an_undecided_run_is_an_answer_that_claims_nothing() -> None:
    result = TuningSearch(TuneConfig(SURFACE, profile="ci-micro", trials=2), SIM).run()
    assert (result.decision, result.decided, result.exit_code) == ("undecided", False, 6)
    assert result.gain is None
    for shown in (str(result), result._repr_html_(), result._repr_markdown_()):
        assert "Not decided" in shown
        assert "Best" not in shown


def test_a_budget_too_small_for_a_first_guess() -> None:
    config = TuneConfig(
        SURFACE, profile="ci-micro", trials=3, allow_lossy=True, search="race", seed=3, sweep={"cache-type": None}
    )
    config.settings = {"flash-attn": "on"}
    with pytest.raises(kvat.UndecidedError, match="not decided") as caught:
        TuningSearch(config, SIM).run()
    assert caught.value.exit_code == 6


def test_a_repeated_request_repeats_its_answer_and_fresh_measures_again() -> None:
    config = TuneConfig(SURFACE, profile="ci-micro", output_dir="a/b c")
    first, events = TuningSearch(config, SIM).run(), list[Progress]()
    again = TuningSearch(config, SIM, on_progress=events.append).run()
    assert again.plan == first.plan
    assert not [event for event in events if event.event == "trial"]
    config.fresh = True
    TuningSearch(config, SIM, on_progress=events.append).run()
    assert [event for event in events if event.event == "trial"]


def test_without_an_adapter_the_engine_follows_from_the_model() -> None:
    assert TuningSearch(TuneConfig(str(SURFACE), profile="ci-micro", trials=2)).run().plan.engine == "sim"


def test_every_part_of_a_request_reaches_the_program() -> None:
    config = TuneConfig(
        SURFACE, profile="chat-agent", context_lengths=[512, 1024], output_lengths=[32], batch_sizes=[1],
        settings={"flash-attn": "on"}, sweep={"ubatch-size": [256, 512], "cache-type": None}, safe=True, allow_lossy=True,
        max_memory_bytes=1 << 40, time_budget_s=600.5, trials=20, trial_limit_s=60, runs=1, warmup=0, whole_outputs=True,
        allow_network=True, trust_remote_code=True,
        delta=0.02, confidence=0.9, search="race", seed=3, world_seed=4,
        winners_dir="none", fresh=True, force=True, extra_arguments=["--quiet"],
    )  # fmt: skip
    plan = TuningSearch(config, SIM).run().plan.data
    words = plan["reproduce"]
    for word in ("--context=512,1024", "--set=flash-attn=on", "--sweep=ubatch-size=256,512", "--sweep=cache-type", "--safe",
                 "--time=600500ms", "--search=race", "--world-seed=4", "--allow-network", "--quiet"):  # fmt: skip
        assert word in words
    assert plan["settings"]["flash-attn"] == "on"
    assert [cell["prompt_tokens"] for cell in plan["profile"]["cells"]] == [512, 1024]


def test_a_model_is_never_taken_for_an_option() -> None:
    with pytest.raises(kvat.UsageError, match="--fresh"):
        TuningSearch(TuneConfig("--fresh"), SIM).run()


# ---- progress ----


def test_progress_tells_every_run_in_the_callers_thread() -> None:
    seen: list[tuple[Progress, bool]] = []
    here = threading.get_ident()
    search = TuningSearch(
        TuneConfig(SURFACE, profile="ci-micro"),
        SIM,
        on_progress=lambda event: seen.append((event, threading.get_ident() == here)),
    )
    result = search.run()
    runs = [event for event, _ in seen if event.event in ("trial", "confirm")]
    assert len(runs) == result.confidence.trials
    assert all(same for _, same in seen)
    assert runs[0].label == "default" and runs[0].score == 100 and runs[0].remaining_s is not None
    assert str(runs[0]).startswith("trial 1: default, score 100")
    assert seen[1][0].event == "heading" and seen[1][0].data["engine"] == "sim"


class Stop(Exception):
    pass


def test_what_a_callback_raises_ends_the_run_in_order() -> None:
    def stop(event: Progress) -> None:
        if event.event == "trial":
            raise Stop

    config = TuneConfig("sums", profile="ci-micro", winners_dir="none")
    search = TuningSearch(config, RealEngine(), on_progress=stop)
    with pytest.raises(Stop):
        search.run()
    assert search._process is not None and search._process.returncode == 128 + signal.SIGINT


# ---- interruption ----


def test_a_cancelled_run_keeps_what_was_measured_and_is_resumed() -> None:
    notes: list[str] = []
    config = TuneConfig("sums", profile="ci-micro", winners_dir="none", time_budget_s=60)
    search = TuningSearch(config, RealEngine(), on_progress=lambda event: search.cancel() if event.trial == 2 else None)
    with pytest.raises(kvat.Interrupted) as caught:
        search.run()
    assert caught.value.exit_code == 128 + signal.SIGINT
    TuningSearch(config, RealEngine(), on_progress=lambda event: notes.append(str(event))).run()
    assert any(note.startswith("resuming after ") for note in notes), notes


def test_a_cancelled_search_can_be_run_again() -> None:
    cancelled = iter([True, False])
    config = TuneConfig("sums", profile="ci-micro", winners_dir="none", time_budget_s=60)
    search = TuningSearch(config, RealEngine())
    search.on_progress = lambda event: search.cancel() if event.trial == 2 and next(cancelled, False) else None
    with pytest.raises(kvat.Interrupted):
        search.run()
    assert search.run().engine_source is not None


def test_cancelled_before_it_began() -> None:
    search = TuningSearch(TuneConfig(SURFACE, profile="ci-micro"), SIM)
    search.cancel()
    with pytest.raises(kvat.Interrupted):
        search.run()
    assert not Path("kvat_results").exists()
    assert search.run().decided


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from kvat import TuneConfig, TuningSearch
from toy_engine import RealEngine

def show(event):
    if event.event == "trial" and event.trial == 1:
        print(search._process.pid, flush=True)

config = TuneConfig("sums", profile="ci-micro", winners_dir="none", time_budget_s=600, confidence=0.9999)
search = TuningSearch(config, RealEngine(), on_progress=show)
try:
    search.run()
except KeyboardInterrupt:
    print("interrupted", search._process.returncode, flush=True)
    raise
"""


@pytest.fixture
def script() -> subprocess.Popen[str]:
    code = SCRIPT.format(tests=os.path.dirname(__file__))
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def test_ctrl_c_ends_the_program_in_order_and_goes_on_as_keyboard_interrupt(script: subprocess.Popen[str]) -> None:
    assert script.stdout is not None
    program = int(script.stdout.readline())
    os.killpg(script.pid, signal.SIGINT)
    out, log = script.communicate(timeout=60)
    assert out == "interrupted 130\n"
    assert script.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in log
    wait_for_end(program)
    assert Path("kvat_results/kvat.db").exists() and not Path("kvat_results/best_plan.json").exists()


def test_a_killed_python_leaves_no_program_behind(script: subprocess.Popen[str]) -> None:
    assert script.stdout is not None
    program = int(script.stdout.readline())
    script.kill()
    script.communicate(timeout=60)
    wait_for_end(program)


# ---- failures ----


@pytest.mark.parametrize(
    ("config", "engine", "kind", "code", "word"),
    [
        (TuneConfig("missing.json"), SIM, kvat.BadDataError, 65, "missing.json"),
        (TuneConfig(SURFACE), InstalledEngine("smi"), kvat.UsageError, 2, "did you mean 'sim'"),
        (TuneConfig(SURFACE, settings={"flash-atn": "on"}), SIM, kvat.UsageError, 2, "flash-attn"),
        (TuneConfig(SURFACE, profile="rga"), SIM, kvat.KvatError, 2, "rag"),
        (TuneConfig(SURFACE, device=kvat.DeviceType.CUDA), SIM, kvat.UsageError, 2, "--device cuda"),
        (TuneConfig(SURFACE), InstalledEngine("/bin/false"), kvat.EngineUnavailableError, 69, "false"),
        (TuneConfig(SURFACE, output_dir="/dev/null/x"), SIM, kvat.StorageError, 74, "/dev/null"),
    ],
)
def test_a_failure_has_its_type_its_exit_code_and_the_programs_message(
    config: TuneConfig, engine: InstalledEngine, kind: type[kvat.KvatError], code: int, word: str
) -> None:
    with pytest.raises(kind) as caught:
        TuningSearch(config, engine).run()
    assert caught.value.exit_code == code
    assert word in caught.value.message
    assert "\n" not in caught.value.message


def test_when_nothing_works_the_causes_are_said(surface: Callable[..., Path]) -> None:
    path = surface(faults=[{"when": {}, "kind": "oom_host"}])
    with pytest.raises(kvat.NothingWorksError, match="report.md") as caught:
        TuningSearch(TuneConfig(path, profile="ci-micro"), SIM).run()
    assert caught.value.exit_code == 3
    assert "oom" in Path("kvat_results/report.md").read_text() or "memory" in Path("kvat_results/report.md").read_text()


def test_a_folder_that_another_run_holds_is_busy() -> None:
    inner: list[Exception] = []
    config = TuneConfig("sums", profile="ci-micro", winners_dir="none")

    def second(event: Progress) -> None:
        if event.trial == 1 and not inner:
            with pytest.raises(kvat.BusyError) as caught:
                TuningSearch(config, RealEngine()).run()
            inner.append(caught.value)
            search.cancel()

    search = TuningSearch(config, RealEngine(), on_progress=second)
    with pytest.raises(kvat.Interrupted):
        search.run()
    assert [error.exit_code for error in inner if isinstance(error, kvat.KvatError)] == [75]


def test_without_pytorch_the_adapter_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    search = TuningSearch(TuneConfig("gpt2", device="cpu"), kvat.TransformersAdapter())
    with pytest.raises(kvat.EngineUnavailableError, match=r"pip install 'kvat\[transformers\]'") as caught:
        search.run()
    assert caught.value.exit_code == 69
