"""Workers that die, hang, flood, lie or run out of memory in the middle of a run (rows 11, 12, 14, 15, 19)."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import re
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import MISBEHAVE, RESULTS, Running, misbehaving, running, scripted, surface, trials
from kvat_cli import KVAT, ROOT, TIMEOUT_S, Result, environment, kvat

ENDED = (0, 6)
MIB = 1 << 20
MODEL = ("tune", "model", "--profile", "ci-micro")
FAST = '"speed":"fast"'  # in the line of the `prepare` of one of three configurations


def tune(worker: Path, *arguments: str | Path, env: dict[str, str] | None = None) -> Result:
    return kvat(*MODEL, "--engine", worker, *arguments, cwd=worker.parent, env=env)


def tune_json(worker: Path, *arguments: str | Path) -> tuple[int, dict]:
    result = tune(worker, "--json", *arguments)
    return result.code, json.loads(result.out)


def statuses(folder: Path) -> list[str]:
    return [trial["status"] for trial in trials(folder / RESULTS)]


# ---- one misbehaviour, once ----

# mode, options, status of its trial, what the trial's cause says
AT_ONCE = [
    ("segv", [], "crash", "the worker was killed by signal 11 (SIGSEGV)"),
    ("abort", [], "crash", "assertion failed: x > 0"),
    ("exit0", [], "crash", "the worker exited with code 0"),
    ("exit3", [], "crash", "exited with code 3"),
    ("answer-exit", [], "crash", "exited with code 0"),
    ("bad-alloc", [], "oom_host", "could not allocate memory"),
    ("grandchildren-exit", [], "crash", "exited with code 5"),
    ("half-line-exit", [], "crash", "in the middle of an answer the worker exited with code"),
    ("long-line", [], "protocol_error", "a line that is too long"),
    ("wrong-id", [], "protocol_error", "an unknown request"),
    ("answer-twice", [], "protocol_error", "an unknown request"),
    ("garbage", [], "protocol_error", "not valid JSON"),
    ("deep-json", [], "protocol_error", "nested deeper than 64 levels"),
    ("request", [], "protocol_error", "sent a request"),
    ("close-stdout", [], "protocol_error", "closed its standard output"),
]  # fmt: skip
# What is noticed by a deadline alone: ten seconds for a virtual clock, ten more where TERM is ignored.
IN_TIME = [
    ("hang", [], "hang", "no answer to run within"),
    ("ignore-term", [], "hang", "no answer to run within"),
    ("late-answer", ["--delay-ms", "15000"], "hang", "no answer to run within"),
    ("half-line", [], "hang", "no answer to run within"),
    ("stop", [], "hang", "no answer to run within"),
    ("stop-both", [], "hang", "no answer to run within"),
]
HARMLESS = ["grandchildren", "flood-progress"]


def check_one_bad_trial(result: Result, folder: Path, status: str, cause: str) -> None:
    assert result.code in ENDED, result.err
    made = trials(folder / RESULTS)
    assert made[0]["status"] == status
    assert cause in made[0]["detail"]
    assert {trial["status"] for trial in made[1:]} == {"ok"}, "everything after it runs"
    assert made[1]["launch"] == made[0]["launch"] + 1, "in a fresh worker"
    race = json.loads(result.out)["report"]["race"]
    assert race[0]["status"] == status
    assert race[0]["score"] is None, "a trial that failed has no figures, not zero"
    assert re.search(rf"^trial 1: default: {status} ", result.err, re.MULTILINE)


@pytest.mark.parametrize(("mode", "options", "status", "cause"), AT_ONCE, ids=[row[0] for row in AT_ONCE])
def test_one_bad_answer_costs_one_trial(mode: str, options: list[str], status: str, cause: str, tmp_path: Path) -> None:
    worker = misbehaving(tmp_path, "--mode", mode, "--once", tmp_path / "met", *options)
    with running(*MODEL, "--json", "--engine", worker, cwd=tmp_path) as run:
        check_one_bad_trial(run.finish(), tmp_path, status, cause)
        assert run.left_alive() == []


@pytest.fixture(scope="module", autouse=True)
def hanging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Running, Path]]]:
    """One run for each way to hang, all waiting while the other tests run."""
    with contextlib.ExitStack() as stack:
        runs = {}
        for mode, options, _, _ in IN_TIME:
            folder = tmp_path_factory.mktemp(mode)
            worker = misbehaving(folder, "--mode", mode, "--once", folder / "met", *options)
            run = stack.enter_context(running(*MODEL, "--json", "--engine", worker, cwd=folder))
            runs[mode] = (run, folder)
        yield runs


@pytest.mark.parametrize("mode", HARMLESS)
def test_what_does_no_harm_costs_nothing(mode: str, tmp_path: Path) -> None:
    worker = misbehaving(tmp_path, "--mode", mode)
    with running(*MODEL, "--engine", worker, cwd=tmp_path) as run:
        assert run.finish().code in ENDED
        assert run.left_alive() == []
    assert set(statuses(tmp_path)) == {"ok"}


BEFORE_ANY_TRIAL = [(mode, method) for mode in ("segv", "exit0", "wrong-id", "garbage", "long-line", "deep-json")
                    for method in ("initialize", "describe")]  # fmt: skip


@pytest.mark.parametrize(("mode", "method"), [*BEFORE_ANY_TRIAL, ("wrong-version", "initialize")])
def test_a_worker_that_fails_before_the_first_trial_is_no_engine(mode: str, method: str, tmp_path: Path) -> None:
    worker = misbehaving(tmp_path, "--mode", mode, "--at", method)
    result = tune(worker)
    assert result.code == 69, result.err
    assert method in result.err
    assert not (tmp_path / RESULTS).exists()


def test_a_memory_limit_ends_the_greedy_worker_alone(tmp_path: Path) -> None:
    worker = misbehaving(tmp_path, "--mode", "oom", "--bytes", 600 * MIB, "--once", tmp_path / "met")
    with running(*MODEL, "--json", "--max-memory", "256MiB", "--engine", worker, cwd=tmp_path) as run:
        result = run.finish()
        if result.code == 69 and b"__asan_init" in MISBEHAVE.read_bytes():
            pytest.skip("no cgroup may be made here, and sanitizers map more than RLIMIT_DATA allows from the start")
        check_one_bad_trial(result, tmp_path, "oom_host", "memory limit")
        assert run.left_alive() == []


# ---- bounds ----


def peak_rss(worker: Path, *arguments: str | Path) -> int:
    """Bytes that kvat itself held at most; its result must be one."""
    env = environment(ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1")
    process = subprocess.Popen(
        [KVAT, *MODEL, "-q", "--engine", worker, *arguments],
        cwd=worker.parent, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    err = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode in ENDED, err
    return usage.ru_maxrss * 1024


FLOODS = [("flood-stderr", 1024 * MIB), ("flood-progress", 32 * MIB), ("long-line", 512 * MIB)]


@pytest.mark.parametrize(("mode", "n"), FLOODS, ids=[row[0] for row in FLOODS])
def test_a_flood_is_not_kept(mode: str, n: int, tmp_path: Path) -> None:
    good = peak_rss(misbehaving(tmp_path, "--mode", "none"))
    worker = misbehaving(tmp_path, "--mode", mode, "--bytes", n, "--once", tmp_path / "met")
    assert peak_rss(worker, "--fresh") < good + 80 * MIB, "a line of 16 MiB, twice while it grows, and slack"


def test_a_flood_on_stderr_is_neither_stored_nor_reported(tmp_path: Path) -> None:
    worker = misbehaving(tmp_path, "--mode", "flood-stderr", "--bytes", 64 * MIB)
    assert tune(worker, "--trials", "2").code in ENDED
    assert sum(path.stat().st_size for path in (tmp_path / RESULTS).iterdir()) < 4 * MIB


# ---- everything fails, some fail (row 19) ----


@pytest.mark.parametrize(("mode", "method", "words"), [("segv", "run", "crash"), ("exit0", "load", "crash"),
                                                       ("garbage", "prepare", "protocol error"), ("bad-alloc", "run", "out of memory")])  # fmt: skip
def test_nothing_that_works_is_3_with_a_table_of_causes(mode: str, method: str, words: str, tmp_path: Path) -> None:
    worker = misbehaving(tmp_path, "--mode", mode, "--at", method)
    result = tune(worker)
    assert result.code == 3, result.err
    assert "What failed, and why" in result.out
    for label in ("default", "speed fast", "speed faster"):
        assert re.search(rf"^  {label}: 2 × {words}", result.out, re.MULTILINE), result.out
    left = {path.name for path in (tmp_path / RESULTS).iterdir()}
    assert {"report.html", "report.md"} <= left
    assert not {"best_plan.json", "lossy_plan.json"} & left
    assert words in (tmp_path / RESULTS / "report.md").read_text()
    again = tune(worker, "--json")
    assert again.code == 3
    assert json.loads(again.out)["plan"] is None


def test_a_default_that_fails_leaves_the_first_that_works_to_compare_with(tmp_path: Path) -> None:
    worker = misbehaving(tmp_path, "--mode", "segv", "--at", "prepare", "--when", '"speed":"slow"')
    code, document = tune_json(worker)
    assert code in ENDED
    report, plan = document["report"], document["plan"]
    assert report["reference_is_default"] is False
    assert plan["settings"] == {"speed": "faster"}
    assert "the first other configuration that works" in plan["why"]
    failed = next(entry for entry in report["entries"] if entry["label"] == "default")
    assert (failed["rank"], failed["score"]["value"], failed["failures"]) == (None, None, {"crash": 2})
    shown = tune(worker).out
    assert "the first other configuration that works" in " ".join(shown.split())
    assert "(the default is 100)" not in shown


def test_a_default_that_fails_is_said_in_the_reports(tmp_path: Path) -> None:
    worker = misbehaving(tmp_path, "--mode", "exit3", "--at", "prepare", "--when", '"speed":"slow"')
    assert tune(worker).code in ENDED
    for name in ("report.md", "report.html"):
        text = (tmp_path / RESULTS / name).read_text()
        assert "exited with code 3" in text
        assert "first other configuration that works" in text


def test_one_that_fails_is_out_and_the_rest_is_judged(tmp_path: Path) -> None:
    worker = misbehaving(tmp_path, "--mode", "abort", "--at", "prepare", "--when", FAST)
    code, document = tune_json(worker)
    assert code in ENDED
    assert document["plan"]["settings"] == {"speed": "faster"}
    assert statuses(tmp_path).count("crash") == 2, "one retry in a fresh process"


LOSSLESS_CRASH = [{"when": {"cache-type": "f16"}, "kind": "crash"}]


def test_only_lossy_ones_work_and_none_was_allowed(tmp_path: Path) -> None:
    surface(tmp_path / "surface.json", faults=LOSSLESS_CRASH)
    result = kvat("tune", "surface.json", "--profile", "ci-micro", cwd=tmp_path)
    assert result.code == 3, result.err
    assert "--allow-lossy" in result.err + result.out
    assert not (tmp_path / RESULTS / "lossy_plan.json").exists()


def test_only_lossy_ones_work_and_get_a_plan_of_their_own(tmp_path: Path) -> None:
    surface(tmp_path / "surface.json", faults=LOSSLESS_CRASH)
    result = kvat("tune", "surface.json", "--profile", "ci-micro", "--allow-lossy", cwd=tmp_path)
    assert result.code == 3, result.err
    left = {path.name for path in (tmp_path / RESULTS).iterdir()}
    assert "best_plan.json" not in left
    plan = json.loads((tmp_path / RESULTS / "lossy_plan.json").read_text())
    assert plan["lossy"] is True
    assert plan["settings"]["cache-type"] != "f16"
    assert "lossy_plan.json" in result.out
    assert kvat("apply", f"{RESULTS}/lossy_plan.json", "--free-memory", "8GiB", cwd=tmp_path).code == 0


# ---- memory of the device (row 12) ----

SIZES = [f"b{i}" for i in range(1, 15)]  # bytes of an element
CACHE = {"name": "cache", "concept": "kv.type.k", "type": "enum", "values": SIZES, "default": "b1", "search": SIZES,
         "scope": "context", "help": "type of the cache"}  # fmt: skip
ON_A_DEVICE = {
    "knobs": [CACHE],
    "step_ms": {"b2": 3},
    "memory_model": {"cell_padding": 1, "weight_bytes": 128 * MIB,
                     "types": {name: {"block": 1, "bytes": i + 1} for i, name in enumerate([*SIZES, "f16"])},
                     "kv_groups": [{"layers": 1, "k_elements": 128 * 4096, "v_elements": 0, "window_tokens": 0}]},
}  # fmt: skip
OUT_OF_DEVICE = {"kind": "oom_device", "detail": "cudaMalloc failed: out of memory"}


def test_out_of_device_memory_in_a_run_rules_out_what_is_larger(tmp_path: Path) -> None:
    rules = [{"at": "run", "when": {"cache": size}, "error": OUT_OF_DEVICE} for size in SIZES[3:]]
    worker = scripted(tmp_path, {**ON_A_DEVICE, "rules": rules})
    code, document = tune_json(worker)
    assert code in ENDED
    assert document["plan"]["settings"] == {"cache": "b2"}
    entries = {entry["settings"]["cache"]: entry for entry in document["report"]["entries"]}
    assert {size: entries[size]["state"] for size in SIZES[3:]} == dict.fromkeys(SIZES[3:], "infeasible")
    tried = {size for size in SIZES[3:] if entries[size]["failures"]}
    assert all("cudaMalloc failed" in entries[size]["failure"] for size in tried)
    skipped = {row["label"]: row["reason"] for row in document["report"]["left_out"]}
    assert set(skipped) == {f"cache {size}" for size in SIZES[3:] if size not in tried}
    assert skipped, "with a dozen sizes some are larger than the first that failed twice"
    assert set(skipped.values()) == {f"forecast to need more than cache {min(tried, key=SIZES.index)}, which ran out of memory"}
    assert "which ran out of memory" in (tmp_path / RESULTS / "report.md").read_text()


def test_after_running_out_of_device_memory_the_next_try_is_in_a_fresh_process(tmp_path: Path) -> None:
    rule = {"at": "run", "when": {"cache": "b3"}, "times": 1, "error": OUT_OF_DEVICE}
    worker = scripted(tmp_path, {**ON_A_DEVICE, "rules": [rule]})
    assert tune(worker, "--sweep", "cache=b1,b2,b3").code in ENDED
    made = trials(tmp_path / RESULTS)
    first = next(i for i, trial in enumerate(made) if trial["status"] == "oom_device")
    again = next(trial for trial in made[first + 1 :] if trial["config"] == made[first]["config"])
    assert (again["fresh_process"], again["status"]) == (1, "ok")
    assert again["launch"] > made[first]["launch"]


def test_a_forecast_over_the_limit_is_never_started(tmp_path: Path) -> None:
    worker = scripted(tmp_path, ON_A_DEVICE)
    dry = json.loads(tune(worker, "--dry-run", "--json", "--max-memory", "2400MiB").out)
    left_out = {entry["label"]: entry["reason"] for entry in dry["left_out"]}
    assert set(left_out) == {f"cache {size}" for size in SIZES[8:]}, "128 MiB and 272 MiB for each byte of an element"
    assert re.fullmatch(r"forecast 2\.52 GiB > 2\.34 GiB", left_out["cache b9"])
    assert not {row["label"] for row in dry["configurations"]} & set(left_out)


@pytest.mark.parametrize("of", ["device", "host"])
def test_a_peak_over_the_limit_is_of_the_memory_it_was_read_from(of: str, tmp_path: Path) -> None:
    host = {"host": {"current_bytes": 1, "peak_bytes": 1 << 40, "source": "VmHWM"}, "devices": []}
    worker = scripted(tmp_path, {"rules": [{"at": "resources", "result": host}] if of == "host" else []})
    assert tune(worker, "--max-memory", "512MiB").code == 3
    made = trials(tmp_path / RESULTS)
    assert {trial["status"] for trial in made} == {f"oom_{of}"}
    assert {trial["peak_source"] for trial in made} == {"VmHWM" if of == "host" else "devices: NVML"}
    assert "is over the limit of 512 MiB" in made[0]["detail"]


def test_a_lost_driver_is_a_crash_and_the_next_process_is_fresh(tmp_path: Path) -> None:
    rule = {"at": "run", "times": 1, "error": {"kind": "internal", "detail": "CUDA error 999: driver lost"}}
    worker = scripted(tmp_path, {**ON_A_DEVICE, "rules": [rule]})
    assert tune(worker).code in ENDED
    made = trials(tmp_path / RESULTS)
    assert (made[0]["status"], "driver lost" in made[0]["detail"]) == ("crash", True)
    assert made[1]["launch"] > made[0]["launch"]


# ---- an engine that does something else than asked (row 14) ----

LIES = {
    "a smaller context": ({"at": "prepare", "result": {"context_tokens": 100}}, "smaller context"),
    "another cache type": ({"at": "prepare", "effective": {"gear": "medium"}}, "gear is medium in force where high was asked for"),
    "fewer tokens": ({"at": "run", "tokens": 5}, "5 output tokens where 32 were asked for"),
    "a prefix cache": ({"at": "run", "result": {"sequences": [{"prompt_tokens": 12, "token_ns": list(range(1, 33)), "finish": "length"}]}},
                       "12 prompt tokens seen where 512 were sent"),
    "no peak": ({"at": "resources", "result": {"host": {}, "devices": []}}, "no peak memory"),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_what_was_not_asked_for_is_invalid_with_the_cause(lie: str, tmp_path: Path) -> None:
    rule, cause = LIES[lie]
    worker = scripted(tmp_path, {"rules": [{**rule, "when": {"gear": "high"}}]})
    code, document = tune_json(worker)
    assert code in ENDED
    assert document["plan"]["settings"] == {"gear": "low"}
    liar = next(entry for entry in document["report"]["entries"] if entry["settings"] == {"gear": "high"})
    assert liar["failures"] == {"invalid": 2}
    assert cause in liar["failure"]
    assert (liar["rank"], liar["cells"]) == (None, [])
    assert cause in (tmp_path / RESULTS / "report.md").read_text()


def test_a_surface_that_falsifies_settings_is_invalid(tmp_path: Path) -> None:
    surface(tmp_path / "surface.json", faults=[{"when": {"flash-attn": "on"}, "kind": "invalid"}])
    result = kvat("tune", "surface.json", "--profile", "ci-micro", "--json", cwd=tmp_path)
    assert result.code in ENDED, result.err
    for entry in json.loads(result.out)["report"]["entries"]:
        assert (entry["failures"] != {}) == (entry["settings"]["flash-attn"] == "on")
        if entry["failures"]:
            assert set(entry["failures"]) == {"invalid"}
            assert "in force where" in entry["failure"]


# Times that no clock could have given.
IMPOSSIBLE = {
    "backwards": [50, 40, 30],
    "before the start": [-5, 1, 2],
    "no numbers": ["a", "b", "c"],
    "floating point": [1.5, 2.5, 3.5],
    "huge": [1, 2, 1 << 62],
}


@pytest.mark.parametrize("times", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_impossible_times_never_become_figures(times: list, tmp_path: Path) -> None:
    sequence = {"prompt_tokens": 512, "token_ns": times, "finish": "length"}
    rule = {"at": "run", "when": {"gear": "high"}, "result": {"sequences": [sequence], "start_ns": 0}}
    worker = scripted(tmp_path, {"rules": [rule]})
    code, document = tune_json(worker, "--output-tokens", "3")
    assert code in ENDED
    entries = {entry["settings"]["gear"]: entry for entry in document["report"]["entries"]}
    assert (entries["high"]["rank"], entries["high"]["cells"]) == (None, [])
    assert set(entries["high"]["failures"]) <= {"invalid", "protocol_error"}


# Integers that no worker can mean, where sums and differences are made of them.
LEAST, MOST = -(1 << 63), (1 << 63) - 1
EXTREMES = {
    "load_ns": ("load", lambda n: {"load_ns": n}),
    "prepare_ns": ("prepare", lambda n: {"prepare_ns": n}),
    "model_bytes": ("prepare", lambda n: {"memory": {"model_bytes": n}}),
    "kv_bytes": ("prepare", lambda n: {"memory": {"kv_bytes": n}}),
    "compute_bytes": ("prepare", lambda n: {"memory": {"compute_bytes": n}}),
    "start_ns": ("run", lambda n: {"start_ns": n}),
    "peak_bytes": ("resources", lambda n: {"devices": [{"name": "GPU0", "peak_bytes": 1, "source": "NVML"},
                                                       {"name": "GPU1", "peak_bytes": n, "source": "NVML"}]}),
}  # fmt: skip


@pytest.mark.parametrize("n", [LEAST, MOST], ids=["least", "most"])
@pytest.mark.parametrize("member", EXTREMES)
def test_an_extreme_integer_breaks_the_protocol_and_is_named(member: str, n: int, tmp_path: Path) -> None:
    method, result = EXTREMES[member]
    # The first `resources` of a trial asks for nothing back.
    rules = [{"at": method, "times": 2 if method == "resources" else 1, "result": result(n)}]
    check_one_bad_trial(tune(scripted(tmp_path, {"rules": rules}), "--json"), tmp_path, "protocol_error", member)


@pytest.mark.parametrize("n", [LEAST, -1, 0, MOST], ids=["least", "negative", "backwards", "most"])
def test_a_virtual_clock_that_does_not_go_forward_breaks_the_protocol(n: int, tmp_path: Path) -> None:
    answer = json.dumps({"jsonrpc": "2.0", "id": 0, "result": {"now_ns": n}}).replace('"id": 0', '"id": $id')
    result = tune(scripted(tmp_path, {"raw": {"prepare": answer}}))
    assert result.code == 3, result.err
    assert set(statuses(tmp_path)) == {"protocol_error"}
    assert "now_ns is no reading of a clock that goes forward" in result.err


def test_a_null_reading_is_as_good_as_none(tmp_path: Path) -> None:
    answer = '{"jsonrpc": "2.0", "id": $id, "result": {"context_tokens": 1048576, "prepare_ns": null, "now_ns": null}}'
    result = tune(scripted(tmp_path, {"raw": {"prepare": answer}}))
    assert result.code in ENDED, result.err
    assert set(statuses(tmp_path)) == {"ok"}


# ---- disturbed by others (row 15) ----


def burn(stop: multiprocessing.synchronize.Event) -> None:
    while not stop.is_set():
        pass


@pytest.fixture
def busy() -> Iterator[None]:
    """Every core is busy with something else."""
    stop = multiprocessing.Event()
    burners = [multiprocessing.Process(target=burn, args=(stop,)) for _ in range(os.cpu_count() or 1)]
    for burner in burners:
        burner.start()
    yield
    stop.set()
    for burner in burners:
        burner.join()


@pytest.mark.parametrize(("method", "next_one"), [("model", 0), ("race", 1)])
def test_a_trial_under_foreign_load_is_voided_repeated_and_shown(
    method: str, next_one: int, tmp_path: Path, busy: None
) -> None:
    worker = scripted(tmp_path, {"clock": "real", "step_ms": {"low": 1, "high": 1}, "pause_ms": 300})
    code, document = tune_json(worker, "--trials", "2", "--search", method)
    assert code in ENDED
    made = trials(tmp_path / RESULTS)
    assert [trial["status"] for trial in made[:3]] == ["voided", "voided", "ok"]
    assert all("CPU" in trial["detail"] for trial in made[:2])
    assert made[0]["config"] == made[1]["config"] == 0, "repeated once, and judged in the same way"
    assert made[2]["config"] == next_one, "load that lasts is how this machine is; the model begins with the default"
    report = document["report"]
    assert report["voided_trials"] == sum(trial["status"] == "voided" for trial in made)
    assert any("Other processes took" in warning for warning in report["warnings"])
    assert "disturbed and not used" in " ".join((tmp_path / RESULTS / "report.md").read_text().split())


def test_a_run_in_which_everything_was_disturbed_is_undecided_and_blames_the_machine(
    tmp_path: Path, busy: None
) -> None:
    worker = scripted(tmp_path, {"clock": "real", "step_ms": {"low": 1, "high": 1}, "pause_ms": 300})
    code, document = tune_json(worker, "--trials", "1")
    assert {trial["status"] for trial in trials(tmp_path / RESULTS)} == {"voided"}
    assert (code, document["status"], document["plan"]) == (6, "partial", None)
    assert document["report"]["decision"] == "undecided"
    assert document["report"]["voided_trials"] == document["report"]["trials"] == 2
    assert document["report"]["environment"]["noise"]["load_average"] >= 0
    said = " ".join((tmp_path / RESULTS / "report.md").read_text().split())
    assert "nothing could be measured" in said
    assert "too disturbed, 2 of 2 measurements" in said
    assert not (tmp_path / RESULTS / "best_plan.json").exists()


def test_times_longer_than_the_call_itself_are_no_measurement(tmp_path: Path) -> None:
    second = 1_000_000_000
    start = time.monotonic_ns() - 40 * second  # of the worker's clock, which tells how long the machine is up
    token_ns = [start + 30 * second + i for i in range(32)]
    told = {"start_ns": start, "sequences": [{"prompt_tokens": 512, "token_ns": token_ns, "finish": "length"}]}
    worker = scripted(tmp_path, {"clock": "real", "rules": [{"at": "run", "result": told}]})
    code, document = tune_json(worker, "--trials", "3", "--warmup", "0")
    assert code != 0 and document["plan"] is None
    made = trials(tmp_path / RESULTS)
    assert made and all(trial["status"] == "protocol_error" for trial in made)
    assert all("longer than the call" in trial["detail"] for trial in made)


# ---- what has been waiting since the first test ----


@pytest.mark.parametrize(("mode", "options", "status", "cause"), IN_TIME, ids=[row[0] for row in IN_TIME])
def test_a_worker_that_says_nothing_is_ended(
    mode: str, options: list[str], status: str, cause: str, hanging: dict[str, tuple[Running, Path]]
) -> None:
    run, folder = hanging[mode]
    check_one_bad_trial(run.finish(), folder, status, cause)
    assert run.left_alive() == []


# ---- what is kept of a worker's last words ----

LAST_WORDS = "/home/alice/.cache/engine/ggml.c:12: GGML_ASSERT(n > 0) failed on " + os.uname().nodename


def test_nothing_that_is_written_names_the_folder_or_the_host_of_a_crash(tmp_path: Path) -> None:
    source = (ROOT / "examples" / "echo_worker.py").read_text()
    worker = tmp_path / "dying"
    last = f"    os.write(2, {LAST_WORDS!r}.encode() + b'\\n')\n    os.abort()\n"
    worker.write_text(source.replace("def run(params):\n", "def run(params):\n" + last))
    worker.chmod(0o755)
    assert tune(worker, "--time", "20s").code == 3
    files = [path for path in (tmp_path / RESULTS).iterdir() if path.is_file()]
    assert {"kvat.db", "report.md", "report.html"} <= {path.name for path in files}
    for path in files:
        text = path.read_bytes()
        assert b"alice" not in text, path.name
        assert b"failed on " + os.uname().nodename.encode() not in text, path.name
    assert b"ggml.c:12: GGML_ASSERT(n > 0) failed on HOST" in (tmp_path / RESULTS / "kvat.db").read_bytes()


# ---- bursts ----

BURSTS = ("--output-tokens", "64", "--weights", "ttft=0.05,decode=0.9,memory=0.05")  # so that decode is worth repeating
ABLE = {"capabilities": ["marks", "repeats"]}


def timings(folder: Path) -> dict[tuple[str, int], list[tuple[int, int]]]:
    """(phase, trial) → burst and tokens of each timing."""
    found: dict[tuple[str, int], list[tuple[int, int]]] = {}
    with contextlib.closing(sqlite3.connect(folder / RESULTS / "kvat.db")) as database:
        for phase, trial, *timing in database.execute(
            "SELECT phase, trial, burst, length(token_ns) / 8 FROM timing JOIN trial t ON t.id = trial ORDER BY trial, burst"
        ):
            found.setdefault((phase, trial), []).append((timing[0], timing[1]))
    return found


def test_the_search_decodes_in_bursts_and_the_confirmation_whole(tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    result = tune(scripted(tmp_path, {**ABLE, "heard": str(heard)}), *BURSTS)
    assert result.code == 0, result.err
    found = timings(tmp_path)
    searched = [lists for (phase, _), lists in found.items() if phase == "search"]
    assert searched[0] == [(0, 32)]  # what decode costs is not known before
    assert len(searched) >= 4
    assert all(lists == [(0, 32), (1, 32), (2, 32)] for lists in searched[1:])
    assert all(lists == [(0, 64)] for (phase, _), lists in found.items() if phase == "confirm")
    asked = [json.loads(line)["params"] for line in heard.read_text().splitlines() if json.loads(line)["method"] == "run"]
    assert {mark.get("repeats") for params in asked for mark in params.get("marks", [])} == {3}
    with contextlib.closing(sqlite3.connect(tmp_path / RESULTS / "kvat.db")) as database:
        rows = database.execute("SELECT DISTINCT phase, fitted, config, round(decode_tok_per_s, 6) FROM sample s JOIN trial t ON t.id = s.trial").fetchall()
    rates = {0: 250.0, 1: 333.333333}
    assert sorted(rows) == sorted((phase, phase == "search", config, rates[config]) for phase in ("search", "confirm") for config in rates)


@pytest.mark.parametrize(
    "script",
    [{"capabilities": ["marks"]}, {**ABLE, "rules": [{"at": "run", "bursts": 1}]}, {**ABLE, "rules": [{"at": "run", "bursts": 0}]}, {}],
    ids=["cannot", "one", "ignored", "plain"],
)
def test_a_worker_that_decodes_once_will_do(script: dict, tmp_path: Path) -> None:
    result = tune(scripted(tmp_path, script), *BURSTS)
    assert result.code == 0, result.err
    assert {burst for lists in timings(tmp_path).values() for burst, _ in lists} == {0}


@pytest.mark.parametrize(
    ("rule", "status", "says"),
    [
        ({"bursts": 5}, "protocol_error", "5 bursts answered where 3 were asked for"),
        ({"burst_tokens": 31}, "invalid", "31 output tokens where 32 were asked for"),
        ({"burst_tokens": 33}, "invalid", "33 output tokens where 32 were asked for"),
        ({"result": {"status": "timeout"}}, "timeout", "past its time limit"),
    ],
)
def test_bursts_that_are_wrong_are_the_failure_of_their_configuration(rule: dict, status: str, says: str, tmp_path: Path) -> None:
    wrong = {"at": "run", "when": {"gear": "high"}, "marked": True, **rule}  # the warm-up is without marks
    result = tune(scripted(tmp_path, {**ABLE, "rules": [wrong]}), *BURSTS)
    assert result.code in (*ENDED, 0), result.err
    failed = [trial for trial in trials(tmp_path / RESULTS) if trial["status"] != "ok"]
    assert failed
    assert {(trial["status"], trial["config"]) for trial in failed} == {(status, 1)}
    assert all(trial["detail"] == says for trial in failed)
