"""kvat tune from the outside: results, exit codes, interruption, output folders, terminals."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
from faults import scripted
from kvat_cli import (
    BLOCKING_WORKER,
    KVAT,
    ROOT,
    TIMEOUT_S,
    Result,
    check_golden,
    drawings,
    environment,
    kvat,
    kvat_on_terminal,
)

LIVE = re.compile(r"(searching|confirming|\d+ trials? ·|pair \d)")
ENGINE = ["--engine", BLOCKING_WORKER, "--profile", "ci-micro"]


def tune(cwd: Path, *arguments: str | Path, env: dict[str, str] | None = None) -> Result:
    return kvat("tune", "model", *ENGINE, *arguments, cwd=cwd, env=env)


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A folder in which a run has finished."""
    result = tune(tmp_path)
    assert result.code == 0, result.err
    return tmp_path


# ---- results ----


def test_the_better_setting_is_found_and_said(tmp_path: Path) -> None:
    result = tune(tmp_path)
    assert result.code == 0, result.err
    assert "gear high" in result.out
    assert "Next: kvat apply kvat_results/best_plan.json" in result.out
    plan = json.loads((tmp_path / "kvat_results" / "best_plan.json").read_text())
    assert plan["settings"] == {"gear": "high", "squeeze": "none"}
    assert plan["decision"] == "winner"
    written = {path.name for path in (tmp_path / "kvat_results").iterdir()}
    assert {"best_plan.json", "report.html", "report.md", "kvat.db"} <= written


def test_one_plain_line_a_trial_when_stderr_is_no_terminal(tmp_path: Path) -> None:
    result = tune(tmp_path)
    trials = [line for line in result.err.splitlines() if line.startswith("trial ")]
    assert [line.split(":")[0] for line in trials] == [f"trial {i + 1}" for i in range(len(trials))]
    assert len(trials) >= 2
    assert any(line.startswith("confirm pair 1 of ") for line in result.err.splitlines())
    assert not set(result.err) & {"\r", "\x1b"}


def test_quiet_says_nothing_on_stderr(tmp_path: Path) -> None:
    result = tune(tmp_path, "-q")
    assert (result.code, result.err) == (0, "")
    assert "gear high" in result.out


def test_verbose_names_the_files(tmp_path: Path) -> None:
    assert "wrote best_plan.json" in tune(tmp_path, "-v").err


def test_json_is_one_document_with_report_and_plan(tmp_path: Path) -> None:
    result = tune(tmp_path, "--json", "-o", "here")
    document = json.loads(result.out)
    assert document["format"] == "kvat-tune/1"
    assert (document["status"], document["exit_code"], document["directory"]) == ("ok", 0, "here")
    assert document["report"]["format"] == "kvat-report/1"
    assert document["plan"] == json.loads((tmp_path / "here" / "best_plan.json").read_text())


def test_the_same_command_repeats_its_answer_and_fresh_measures_again(finished: Path) -> None:
    plan = (finished / "kvat_results" / "best_plan.json").read_bytes()
    again = tune(finished)
    assert again.code == 0
    assert "trial " not in again.err
    assert (finished / "kvat_results" / "best_plan.json").read_bytes() == plan
    assert "trial 1:" in tune(finished, "--fresh").err


@pytest.mark.parametrize("spelling", [["-o", "x"], ["--output", "x"], ["--out", "x"], ["--out=x"], ["-ox"]], ids=" ".join)
def test_the_output_folder_in_every_spelling(spelling: list[str], tmp_path: Path) -> None:
    assert tune(tmp_path, *spelling).code == 0
    assert (tmp_path / "x" / "best_plan.json").is_file()


def test_the_model_may_be_an_option(tmp_path: Path) -> None:
    assert kvat("tune", "--model", "model", *ENGINE, cwd=tmp_path).code == 0


def test_a_fixed_setting_is_not_tuned(tmp_path: Path) -> None:
    result = tune(tmp_path, "--set", "gear=low", "--dry-run")
    assert result.out.startswith("1 configuration;")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(["--set", "gaer=low"], "gear"), (["--set", "gear=hgih"], "high"), (["--sweep", "sqeeze"], "squeeze"),
     (["--profile", "chat-agnet"], "chat-agent"), (["--context", "0"], "--context"), (["--weights", "ttft=2,decode=0,memory=0"], "--weights"), (["--batch", "x"], "--batch")],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_a_mistyped_knob_value_or_list_is_a_usage_error(arguments: list[str], expected: str, tmp_path: Path) -> None:
    result = tune(tmp_path, *arguments)
    assert result.code == 2, result.err
    assert expected in result.err
    assert list(tmp_path.iterdir()) == []


def test_a_device_that_cannot_be_chosen_is_refused_and_the_only_one_is_fine(tmp_path: Path) -> None:
    refused = tune(tmp_path, "--device", "cuda")
    assert refused.code == 2
    assert "--device cuda" in refused.err
    assert "CPU" in refused.err
    assert list(tmp_path.iterdir()) == []
    assert tune(tmp_path, "--device", "cpu", "--dry-run").code == 0


def test_the_launch_prefix_stands_before_the_worker(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    prefix = tmp_path / "my prefix"
    prefix.write_text(f'#!/bin/sh\necho "$1" >> "{seen}"\nshift\nexec "$@"\n')
    prefix.chmod(0o755)
    result = tune(tmp_path, "--launch", f"'{prefix}' 'two words'", "--dry-run")
    assert result.code == 0, result.err
    assert "two words" in seen.read_text()


# ---- dry run ----


def test_a_dry_run_lists_and_writes_nothing(tmp_path: Path) -> None:
    result = tune(tmp_path, "--dry-run", "--time", "90s", "--allow-lossy")
    assert result.code == 0
    assert result.out.startswith("4 configurations;")
    assert "budget: 1 min 30 s" in result.out
    assert "Nothing was measured" in result.out
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_says_which_synthetic_model_it_left_in_the_cache(tmp_path: Path) -> None:
    source = (ROOT / "examples" / "echo_worker.py").read_text()
    worker = tmp_path / "making"
    worker.write_text(source.replace('"synthetic": True,', '"synthetic": True, "file": "/c/m.gguf", "weight_bytes": 1 << 20,'))
    worker.chmod(0o755)
    result = kvat("tune", "anything", "--engine", worker, "--dry-run", cwd=tmp_path)
    assert result.code == 0, result.err
    assert result.out.endswith("Nothing was measured; the synthetic model of 1.00 MiB stands in the cache:\n/c/m.gguf\n")
    assert "or written" not in result.out


def test_a_dry_run_as_json(tmp_path: Path) -> None:
    document = json.loads(tune(tmp_path, "--dry-run", "--json").out)
    assert document["dry_run"] is True
    assert [row["settings"] for row in document["configurations"]] == [
        {"gear": "low", "squeeze": "none"},
        {"gear": "high", "squeeze": "none"},
    ]
    assert document["skipped"]["lossy"] == 1
    assert list(tmp_path.iterdir()) == []


# ---- exit codes ----


def test_a_budget_that_ends_too_early_is_6_with_the_best_so_far(tmp_path: Path) -> None:
    result = tune(tmp_path, "--trials", "2")
    assert result.code == 6, result.err
    assert result.err.rstrip().splitlines()[-1].startswith("kvat: ")
    assert (tmp_path / "kvat_results" / "best_plan.json").is_file()
    document = json.loads(tune(tmp_path, "--trials", "2", "--json").out)
    assert (document["status"], document["exit_code"]) == ("partial", 6)


def test_why_nothing_is_decided_is_said_once(tmp_path: Path) -> None:
    """By the summary. Where only stderr is seen, its last line says where the summary's reason stands, too."""
    apart = tune(tmp_path, "--trials", "2")
    why = json.loads((tmp_path / "kvat_results" / "best_plan.json").read_text())["why"]
    reason = why.split(":")[-1].split(",")[0].strip()
    assert reason in " ".join(apart.out.split()) and reason not in apart.err
    assert apart.err.splitlines()[-1] == "kvat: not decided; kvat_results/report.md says why"
    command = [KVAT, "tune", "model", *map(str, ENGINE), "--trials", "2"]
    both = subprocess.run(command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)  # fmt: skip
    said = " ".join(both.stdout.decode().split())
    assert both.returncode == 6
    assert said.count(reason) == 1 and "kvat: not decided" not in said


def test_nothing_that_works_is_3_with_the_causes(tmp_path: Path) -> None:
    result = tune(tmp_path, env=environment(KVAT_TEST_FAULT="unsupported"))
    assert result.code == 3, result.err
    assert "unsupported" in result.out
    assert not (tmp_path / "kvat_results" / "best_plan.json").exists()


def test_an_engine_that_cannot_start_is_69(tmp_path: Path) -> None:
    worker = tmp_path / "worker"
    worker.write_text("#!/bin/sh\nexit 3\n")
    worker.chmod(0o755)
    result = kvat("tune", "model", "--engine", worker, cwd=tmp_path)
    assert result.code == 69, result.err


@pytest.fixture
def ghost(tmp_path: Path) -> dict[str, str]:
    """An environment in which the only engine kvat knows has no program."""
    folder = tmp_path / "data" / "engines"
    folder.mkdir(parents=True)
    manifest = {"format": "kvat-engine/1", "name": "ghost", "title": "Ghost", "command": ["/no/such/program"],
                "models": ["*.gguf", "spirit:*"], "needs": "a medium"}  # fmt: skip
    (folder / "ghost.json").write_text(json.dumps(manifest))
    return environment(KVAT_DATA_DIR=str(tmp_path / "data"))


def test_a_model_that_is_not_there_is_65(tmp_path: Path, ghost: dict[str, str]) -> None:
    result = kvat("tune", "no-such-model", cwd=tmp_path, env=ghost)
    assert result.code == 65, result.err
    assert "no-such-model" in result.err


def test_an_engine_that_is_not_here_is_69_and_a_mistyped_one_2(tmp_path: Path, ghost: dict[str, str]) -> None:
    assert kvat("tune", "spirit:x", cwd=tmp_path, env=ghost).code == 69
    for arguments in (["tune", "m", "--engine", "gohst"], ["engines", "--engine", "gohst"]):
        mistyped = kvat(*arguments, cwd=tmp_path, env=ghost)
        assert mistyped.code == 2
        assert "ghost" in mistyped.err


# ---- interruption (fault row 18) ----


@pytest.fixture
def blocked(tmp_path: Path) -> Iterator[tuple[subprocess.Popen, int]]:
    """A kvat whose worker blocks in its seventh run, and that worker's process id."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    env = environment(KVAT_TEST_RUNS="6", KVAT_TEST_BLOCKED=str(fifo))
    process = subprocess.Popen(
        [KVAT, "tune", "model", *ENGINE], cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with open(fifo, encoding="ascii") as reader:
        worker = int(reader.readline())
    yield process, worker
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    process.communicate()


def resumed_after(result: Result) -> int:
    """Trials that were not made again; the next one has the next number."""
    found = re.search(r"^resuming after (\d+) trials?$", result.err, re.MULTILINE)
    assert found, result.err
    kept = int(found.group(1))
    numbers = [int(number) for number in re.findall(r"^trial (\d+):", result.err, re.MULTILINE)]
    assert numbers == [] or numbers[0] == kept + 1
    return kept


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=lambda value: str(value)
)
def test_a_signal_saves_the_run_and_says_how_to_resume(
    blocked: tuple[subprocess.Popen, int], number: int, code: int, tmp_path: Path
) -> None:
    process, worker = blocked
    process.send_signal(number)
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == code
    assert out == b""
    assert b"Resume: kvat tune model --engine " in err
    assert not is_alive(worker)
    resumed = tune(tmp_path)
    assert resumed.code == 0
    assert resumed_after(resumed) >= 2


def test_a_second_signal_ends_at_once(blocked: tuple[subprocess.Popen, int], tmp_path: Path) -> None:
    process, worker = blocked
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=TIMEOUT_S)
    assert process.returncode in (130, 143)  # pending together, the kernel chooses which comes first
    assert not is_alive(worker)
    assert tune(tmp_path).code == 0


def test_a_run_that_is_being_made_keeps_others_out(blocked: tuple[subprocess.Popen, int], tmp_path: Path) -> None:
    process, _ = blocked
    second = tune(tmp_path)
    assert second.code == 75
    assert str(process.pid) in second.err
    assert kvat("runs", cwd=tmp_path).code == 0


def test_a_killed_run_loses_at_most_the_trial_in_flight(blocked: tuple[subprocess.Popen, int], tmp_path: Path) -> None:
    process, _ = blocked
    process.kill()
    process.communicate(timeout=TIMEOUT_S)
    resumed = tune(tmp_path, "-o", "kvat_results")
    assert resumed.code == 0
    assert resumed_after(resumed) >= 2


def test_the_resumed_plan_is_that_of_a_run_that_was_not_interrupted(
    blocked: tuple[subprocess.Popen, int], tmp_path: Path
) -> None:
    process, _ = blocked
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=TIMEOUT_S)
    assert tune(tmp_path).code == 0
    whole = tmp_path / "whole"
    whole.mkdir()
    assert tune(whole).code == 0
    name = Path("kvat_results") / "best_plan.json"
    assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()


def test_a_terminal_that_is_closed_ends_the_run_in_order(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    env = environment(KVAT_TEST_RUNS="6", KVAT_TEST_BLOCKED=str(fifo))
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(tmp_path)
        os.execve(KVAT, ["kvat", "tune", "model", *map(str, ENGINE)], env)
    with open(fifo, encoding="ascii") as reader:
        worker = int(reader.readline())
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 129
    assert not is_alive(worker)
    assert resumed_after(tune(tmp_path)) >= 2


# ---- where results go (fault row 16) ----


def test_an_output_path_that_is_a_file_is_74(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    for path in ("taken", "taken/below"):
        result = tune(tmp_path, "-o", path)
        assert result.code == 74, result.err
        assert "taken" in result.err
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_74(tmp_path: Path) -> None:
    result = tune(tmp_path, "-o", "/proc/kvat")
    assert result.code == 74, result.err


def test_files_of_others_are_kept_unless_forced(tmp_path: Path) -> None:
    report = tmp_path / "kvat_results" / "report.html"
    report.parent.mkdir()
    report.write_text("mine")
    refused = tune(tmp_path)
    assert refused.code == 74
    assert "--force" in refused.err
    assert report.read_text() == "mine"
    assert tune(tmp_path, "--force").code == 0
    assert report.read_text() != "mine"


def test_a_symbolic_link_is_not_followed(finished: Path) -> None:
    target = finished / "precious"
    target.write_text("mine")
    plan = finished / "kvat_results" / "best_plan.json"
    plan.unlink()
    plan.symlink_to(target)
    result = tune(finished)
    assert result.code == 74, result.err
    assert target.read_text() == "mine"


# ---- terminals and streams (fault row 17) ----


@pytest.mark.parametrize("columns", [80, 40, 24])
def test_the_live_line_is_redrawn_and_never_wraps(columns: int, tmp_path: Path) -> None:
    code, written = kvat_on_terminal("tune", "model", *ENGINE, columns=columns, cwd=tmp_path)
    assert code == 0
    live = [line for line in drawings(written) if LIVE.match(line)]
    assert len(live) >= 4
    assert max(map(len, live)) < columns
    assert "trial 1:" not in written
    last_live = written.rindex("pair ")
    assert "\r\x1b[K" in written[last_live:], "the live line is taken away at the end"


def test_nothing_on_the_terminal_is_wider_than_it(tmp_path: Path) -> None:
    _, written = kvat_on_terminal("tune", "model", *ENGINE, "-q", columns=40, cwd=tmp_path)
    assert max(map(len, drawings(written))) <= 40


@pytest.mark.parametrize("term", ["dumb", None])
def test_a_dumb_terminal_gets_plain_lines(term: str | None, tmp_path: Path) -> None:
    env = environment(TERM=term, COLUMNS=None)
    code, written = kvat_on_terminal("tune", "model", *ENGINE, cwd=tmp_path, env=env)
    assert code == 0
    assert "trial 1:" in written
    assert "\x1b" not in written
    assert "\r" not in written.replace("\r\n", "\n")


def test_without_utf8_everything_is_ascii(tmp_path: Path) -> None:
    env = environment(LC_ALL="C", COLUMNS=None)
    _, written = kvat_on_terminal("tune", "model", *ENGINE, cwd=tmp_path, env=env)
    assert written.isascii()
    result = tune(tmp_path, env=environment(LC_ALL="C"))
    assert (result.out + result.err).isascii()


@pytest.mark.parametrize("redirection", [">&-", ">&- 2>&-", "<&- >&- 2>&-", "2>&-"])
def test_closed_streams_lose_no_result(redirection: str, tmp_path: Path) -> None:
    command = f'"$0" tune model --engine "$1" --profile ci-micro {redirection}'
    done = subprocess.run(["bash", "-c", command, KVAT, BLOCKING_WORKER], cwd=tmp_path, env=environment(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "kvat_results" / "best_plan.json").is_file()


def test_a_reader_that_leaves_early_loses_no_result(tmp_path: Path) -> None:
    command = '"$0" tune model --engine "$1" --profile ci-micro 2>&1 | head -n 1 >/dev/null; exit ${PIPESTATUS[0]}'
    done = subprocess.run(["bash", "-c", command, KVAT, BLOCKING_WORKER], cwd=tmp_path, env=environment(), capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "kvat_results" / "best_plan.json").is_file()


def test_a_terminal_in_nonblocking_mode_gets_everything(tmp_path: Path) -> None:
    """A pipe that another program left non-blocking: no output is lost and nothing spins into an error."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETFL, os.O_NONBLOCK)
    fcntl.fcntl(writer, 1031, 4096)  # F_SETPIPE_SZ: smaller than the output
    process = subprocess.Popen([KVAT, "help", "--json"], stdout=writer, env=environment())
    os.close(writer)
    with open(reader, "rb") as pipe:
        text = pipe.read()
    assert process.wait(TIMEOUT_S) == 0
    assert json.loads(text)["format"] == "kvat-help/1"


# ---- the other commands on what a run left ----


@pytest.mark.parametrize("method", ["model", "race"])
def test_what_is_said_on_the_way_is_as_reviewed(method: str, tmp_path: Path) -> None:
    """Under a virtual clock every line of the search is the same everywhere."""
    said = tune(tmp_path, "--search", method).err.splitlines()
    lines = [line for line in said if line.startswith(("trial ", "confirm ", "time to an "))]
    check_golden(f"tune-{method}.txt", "\n".join(lines) + "\n")


def test_runs_are_listed_shown_exported_and_removed(finished: Path) -> None:
    listed = json.loads(kvat("runs", "--json", cwd=finished).out)
    (run,) = listed["runs"]
    assert (run["run"], run["state"], run["model"], run["profile"]) == (1, "finished", "blocker", "ci-micro")
    assert " finished " in kvat("runs", "list", "kvat_results", cwd=finished).out
    shown = json.loads(kvat("runs", "show", "--json", cwd=finished).out)
    assert shown["configurations"] == 2
    exported = json.loads(kvat("runs", "export", cwd=finished).out)
    assert exported["format"] == "kvat-export/1"
    assert len(exported["trials"]) == run["trials"] == shown["trials"]
    assert exported["trials"][0]["timings"][0]["token_ns"]
    surface = json.loads(kvat("runs", "export", "--surface", cwd=finished).out)
    assert surface["format"] == "kvat-surface/1"
    assert kvat("runs", "rm", "kvat_results", "--run", "7", cwd=finished).code == 2
    assert kvat("runs", "rm", "kvat_results", "--run", "1", cwd=finished).code == 0
    assert json.loads(kvat("runs", "--json", cwd=finished).out)["runs"] == []


def test_a_report_is_made_again_in_every_format(finished: Path) -> None:
    begins = {"html": "<!doctype html", "md": "#", "csv": "", "json": "{", "svg": "<svg", "terminal": "Best"}
    for name, beginning in begins.items():
        result = kvat("report", "--format", name, cwd=finished)
        assert result.code == 0, result.err
        assert beginning.lower() in result.out[:200].lower()
    assert kvat("report", "--format", "md", cwd=finished).out == (finished / "kvat_results" / "report.md").read_text()
    assert kvat("report", "kvat_results", "-o", "page.html", cwd=finished).code == 0
    assert (finished / "page.html").read_bytes() == (finished / "kvat_results" / "report.html").read_bytes()
    assert kvat("report", "--run", "9", cwd=finished).code != 0


def test_engines_tell_what_can_be_tuned(tmp_path: Path) -> None:
    result = kvat("engines", "--engine", BLOCKING_WORKER, "--model", "model")
    assert "low* high+" in result.out
    assert "hard+~" in result.out
    assert "turbo" in result.out
    document = json.loads(kvat("engines", "--engine", BLOCKING_WORKER, "--model", "model", "--json").out)
    (engine,) = document["engines"]
    assert engine["available"] is True
    assert [knob["name"] for knob in engine["describe"]["knobs"]] == ["gear", "squeeze"]


def test_engines_print_what_the_worker_wants_known(tmp_path: Path) -> None:
    notes = ["its defaults were changed by a file", "x\x1b]0;a\x07y"]
    worker = scripted(tmp_path, {"rules": [{"at": "describe", "result": {"notes": notes}}]})
    result = kvat("engines", "--engine", worker, "--model", "model")
    assert result.code == 0, result.err
    assert "  note: its defaults were changed by a file\n" in result.out
    assert "  note: x" in result.out
    assert not set(result.out) & {"\x1b", "\x07"}
    assert "note:" not in kvat("engines", "--engine", BLOCKING_WORKER, "--model", "model").out


def test_only_a_run_that_measures_says_so_to_the_worker_and_only_once(tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    rule = {"at": "run", "times": 1, "error": {"kind": "internal", "detail": "crashed"}}  # so that a second process is started
    worker = scripted(tmp_path, {"heard": str(heard), "rules": [rule]})

    def described() -> list[bool]:
        requests = [json.loads(line) for line in heard.read_text().splitlines()]
        heard.unlink()
        return [request["params"].get("measuring", False) for request in requests if request["method"] == "describe"]

    assert kvat("engines", "--engine", worker, "--model", "model").code == 0
    assert described() == [False]
    assert kvat("tune", "model", "--engine", worker, "--dry-run", "--device", "GPU0", cwd=tmp_path).code == 0
    assert described() == [False, False]
    assert kvat("tune", "model", "--engine", worker, "--profile", "ci-micro", cwd=tmp_path).code in (0, 6)
    first, *others = described()
    assert first is True
    assert others
    assert not any(others)


def test_an_engine_that_is_not_available_is_listed_with_the_reason(ghost: dict[str, str]) -> None:
    result = kvat("engines", env=ghost)
    assert result.code == 0
    assert "not available" in result.out
    assert "a medium" in result.out
    (engine,) = json.loads(kvat("engines", "--json", env=ghost).out)["engines"]
    assert (engine["available"], engine["name"]) == (False, "ghost")
    assert engine["reason"]


def test_info_names_neither_host_nor_user() -> None:
    result = kvat("info")
    assert result.code == 0
    document = json.loads(kvat("info", "--json").out)
    assert document["format"] == "kvat-info/1"
    host = os.uname().nodename
    text = result.out + json.dumps(document)
    assert len(host) < 4 or host not in text
    assert os.path.expanduser("~") not in text or os.path.expanduser("~") == "/"


# ---- JSON ----

DOCUMENTS = [["help"], ["completion", "bash"], ["profiles"], ["profiles", "validate", "profile.json"], ["info"], ["runs"],
             ["runs", "show"], ["runs", "export"], ["report", "nowhere"], ["engines", "--engine", BLOCKING_WORKER],
             ["engines", "--engine", BLOCKING_WORKER, "--model", "model"], ["tune", "model", *ENGINE],
             ["tune", "model", *ENGINE, "--dry-run"], ["tune", "model", *ENGINE, "--trials", "2", "-o", "partial"],
             ["apply", "kvat_results"], ["compare", "kvat_results", "kvat_results/best_plan.json"],
             ["verify", "kvat_results", "model", "--engine", BLOCKING_WORKER],
             ["compare", "kvat_results", "kvat_results", "--gate", "ttft=5%"], ["runs", "rm", "kvat_results", "--run", "1"]]  # fmt: skip


def test_every_json_document_follows_the_schema(finished: Path) -> None:
    validator = jsonschema.Draft202012Validator(json.loads((ROOT / "schemas" / "cli.schema.json").read_text()))
    (finished / "profile.json").write_text(kvat("profiles", "show", "rag", "--json").out)
    formats = set()
    for arguments in DOCUMENTS:
        result = kvat(*arguments, "--json", cwd=finished)
        document = json.loads(result.out)
        problems = [error.message for error in validator.iter_errors(document)]
        assert problems == [], (arguments, result.err)
        formats.add(document["format"])
    known = {entry["properties"]["format"]["const"] for entry in validator.schema["$defs"].values() if "format" in entry.get("properties", {})}
    assert formats == known


def test_a_failure_as_json_follows_the_schema(tmp_path: Path) -> None:
    schema = json.loads((ROOT / "schemas" / "cli.schema.json").read_text())
    result = tune(tmp_path, "--json", env=environment(KVAT_TEST_FAULT="unsupported"))
    assert result.code == 3
    document = json.loads(result.out)
    assert (document["status"], document["plan"]) == ("no_feasible", None)
    assert list(jsonschema.Draft202012Validator(schema).iter_errors(document)) == []
