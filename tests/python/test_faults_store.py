"""The store under a failing disk, in the hands of others, damaged, or from another version (rows 8, 9)."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import sqlite3
from pathlib import Path

import pytest
from faults import IO_FAULT, OUTPUTS, RESULTS, misbehaving, outputs, running, surface, trials, wait_until
from kvat_cli import Result, environment, kvat

ENDED = (0, 6)
STORE = Path(RESULTS) / "kvat.db"
TUNE = ("tune", "surface.json", "--profile", "ci-micro")


def prepared(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    surface(folder / "surface.json")
    return folder


def tune(folder: Path, *arguments: str, env: dict[str, str] | None = None) -> Result:
    return kvat(*TUNE, *arguments, cwd=folder, env=env)


@pytest.fixture(scope="module")
def once_finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = prepared(tmp_path_factory.mktemp("finished"))
    assert tune(folder, "--trials", "3").code in ENDED
    return folder


@pytest.fixture
def finished(once_finished: Path, tmp_path: Path) -> Path:
    """A folder in which a short run has ended."""
    return shutil.copytree(once_finished, tmp_path, dirs_exist_ok=True)


# ---- a failing disk ----


def failing_disk(n: int, *options: str) -> dict[str, str]:
    """An environment in which the n-th change kvat itself makes to a file fails."""
    return environment(
        LD_PRELOAD=str(IO_FAULT),
        KVAT_IO_FAULT=",".join((str(n), *options, "program=kvat")),
        ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0",
    )


SMALL = ("--trials", "1", "--world-seed", "2")
LARGE = ("--trials", "3", "--world-seed", "2")


class Disk:
    """Runs on a failing disk, in a folder that already holds the results of another run."""

    def __init__(self, folder: Path, arguments: tuple[str, ...]) -> None:
        self.folder, self.arguments, self.n = folder, arguments, 0
        self.old = self.whole("old", ("--trials", "1", "--world-seed", "1"))
        self.new = self.whole("new", arguments)
        assert all(self.old[name] != self.new[name] for name in ("best_plan.json", "report.html"))

    def whole(self, name: str, arguments: tuple[str, ...]) -> dict[str, bytes]:
        folder = prepared(self.folder / name)
        assert tune(folder, *arguments).code in ENDED
        files = outputs(folder / RESULTS)
        assert set(files) == set(OUTPUTS)
        return files

    def check(self, n: int, *options: str) -> Result:
        """One run with a fault and the next one without: what it left, and that it resumes. The first one's result."""
        self.n += 1
        folder = shutil.copytree(self.folder / "old", self.folder / f"{self.n}")
        result = tune(folder, *self.arguments, env=failing_disk(n, *options))
        self.check_left(folder, result)
        resumed = tune(folder, *self.arguments)
        assert resumed.code in ENDED, resumed.err
        assert outputs(folder / RESULTS) == self.new
        return result

    def check_left(self, folder: Path, result: Result) -> None:
        assert result.code in (74, *ENDED), result.err
        left = outputs(folder / RESULTS)
        for name in OUTPUTS:
            assert left[name] in (self.old[name], self.new[name]), f"{name} is neither the old nor the new one"
        assert not list((folder / RESULTS).glob(".kvat-*")), "no temporary is left"
        if result.code in ENDED:  # the change that failed was one it can do without, so nothing may be missing
            assert left == self.new
        else:
            told = result.err.splitlines()[-1]
            assert told.startswith("kvat: ")
            assert RESULTS in told, "the file is named"
            assert any(word in told for word in ("No space left", "disk is full", "I/O error", "Input/output error")), told


def test_whatever_change_fails_nothing_is_torn_and_the_run_resumes(tmp_path: Path) -> None:
    disk = Disk(tmp_path, SMALL)
    failed: list[bool] = []
    while any(failed[-6:]) or len(failed) < 12:  # six in a row without an effect: the last change is passed
        options = ("enospc",) if len(failed) % 2 else ()
        failed.append(disk.check(len(failed) + 1, *options).code == 74)
        assert len(failed) < 300, "a run of one trial does not change files so often"
    print(f"{sum(failed)} of {len(failed)} failing changes ended the run")
    assert sum(failed) > len(failed) / 2


def test_a_disk_that_stays_full_or_broken_from_some_moment_on(tmp_path: Path) -> None:
    moments = random.Random(9)
    disk = Disk(tmp_path, LARGE)
    for options in (("sticky",), ("sticky", "enospc"), ("sync",), ("sync", "sticky")):
        last = 20 if "sync" in options else 90
        for n in (*moments.sample(range(3, 12), 2), *moments.sample(range(12, last), 2)):
            result = disk.check(n, *options)
            assert result.code == 74 or options == ("sync",), (n, options, result.err)


def test_a_trial_that_could_not_be_stored_is_not_counted_as_done(tmp_path: Path) -> None:
    reference = prepared(tmp_path / "whole")
    assert tune(reference, *LARGE).code in ENDED
    for n in (60, 85, 150, 200):
        folder = prepared(tmp_path / str(n))
        result = tune(folder, *LARGE, env=failing_disk(n, "enospc", "sticky"))
        told = sum(line.startswith(("trial ", "confirm pair")) for line in result.err.splitlines())
        assert result.code == 74, result.err
        assert len(trials(folder / RESULTS)) == told
        assert trials(folder / RESULTS) == trials(reference / RESULTS)[:told]


def test_the_shim_is_in_force(tmp_path: Path) -> None:
    assert tune(prepared(tmp_path), env=failing_disk(3, "enospc", "sticky")).code == 74


# ---- damaged, foreign, newer ----


def check_refused(folder: Path, *words: str) -> None:
    before = (folder / STORE).read_bytes()
    result = tune(folder)
    assert result.code == 65, result.err
    for word in ("kvat.db", *words):
        assert word in result.err
    assert (folder / STORE).read_bytes() == before, "it is not touched"


def test_a_store_of_a_newer_version_is_left_alone_but_can_be_read(finished: Path) -> None:
    with contextlib.closing(sqlite3.connect(finished / STORE)) as database:
        database.execute("PRAGMA user_version = 999")
        database.commit()
    check_refused(finished, "newer kvat", "update kvat")
    listed = kvat("runs", cwd=finished)
    assert listed.code == 0, listed.err
    assert "ci-micro" in listed.out
    for arguments in (["--fresh"], ["--force"]):
        assert tune(finished, *arguments).code == 65
    assert kvat("runs", "rm", RESULTS, "--run", "1", cwd=finished).code == 65


FOREIGN = {
    "random bytes": random.Random(8).randbytes(20000),
    "text": b"not a database at all\n" * 10,
    "one byte": b"S",
    "an SQLite header alone": b"SQLite format 3\0",
    "an SQLite header and random bytes": b"SQLite format 3\0" + random.Random(8).randbytes(5000),
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_what_is_no_store_is_never_overwritten(content: bytes, tmp_path: Path) -> None:
    prepared(tmp_path)
    (tmp_path / RESULTS).mkdir()
    (tmp_path / STORE).write_bytes(content)
    check_refused(tmp_path, "no kvat store", "another folder")
    check_read_only_commands_refuse(tmp_path)


def check_read_only_commands_refuse(folder: Path) -> None:
    for arguments in (["runs"], ["runs", "show"], ["runs", "export"], ["report"]):
        result = kvat(*arguments, cwd=folder)
        assert result.code == 65, (arguments, result.err)


def test_another_programs_database_is_never_written(tmp_path: Path) -> None:
    prepared(tmp_path)
    (tmp_path / RESULTS).mkdir()
    with contextlib.closing(sqlite3.connect(tmp_path / STORE)) as database:
        database.execute("CREATE TABLE run (precious TEXT)")
        database.commit()
    check_refused(tmp_path, "no kvat store")


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_store_is_refused_or_still_right(seed: int, finished: Path) -> None:
    """Some bytes overwritten anywhere behind the header: no crash, nothing made up."""
    damage = random.Random(seed)
    content = bytearray((finished / STORE).read_bytes())
    plan = (finished / RESULTS / "best_plan.json").read_bytes()
    for _ in range(damage.choice((1, 8, 200))):
        content[damage.randrange(100, len(content))] = damage.randrange(256)
    (finished / STORE).write_bytes(content)
    for arguments in (["runs"], ["runs", "show"], ["runs", "export"], ["report"], TUNE + ("--trials", "3")):
        result = kvat(*arguments, cwd=finished)
        assert result.code in (*ENDED, 65, 74), (arguments, result.err)
        assert result.code in ENDED or result.err.splitlines()[-1].startswith("kvat: ")
        assert "Sanitizer" not in result.err
    if result.code in ENDED and "resuming" not in result.err:
        assert b'"kvat-plan/1"' in plan


def test_a_store_that_lost_a_column_is_damaged(finished: Path) -> None:
    with sqlite3.connect(finished / RESULTS / "kvat.db") as db:
        db.execute("ALTER TABLE trial RENAME COLUMN kv_bytes TO lost_bytes")
    for command in (["report", RESULTS, "--json"], ["runs", "export"]):
        result = kvat(*command, cwd=finished)
        assert result.code == 65, result.err
        assert "damaged" in result.err and "move it away" in result.err


def test_what_sqlite_quotes_of_a_damaged_schema_stays_on_one_line(finished: Path) -> None:
    with contextlib.closing(sqlite3.connect(finished / STORE)) as database:
        database.execute("PRAGMA writable_schema = ON")
        database.execute("UPDATE sqlite_master SET sql = replace(sql, 'CREATE TABLE trial', 'CREATE TABLE x\n\ntrial')")
        database.commit()
    result = kvat("report", RESULTS, cwd=finished)
    assert result.code == 65, result.err
    assert result.err.count("\n") == 1 and "u{000A}" not in result.err


@pytest.mark.parametrize("document", ["request", "engine", "description", "environment", "space", "note"])
@pytest.mark.parametrize("text", [b"{}", b"", b"\xff{", b'{"profile"', b"[" * 100000, b'{"a": "\xe4"}'], ids=range(6))
def test_a_damaged_document_is_noticed_by_whoever_reads_it(document: str, text: bytes, finished: Path) -> None:
    with contextlib.closing(sqlite3.connect(finished / STORE)) as database:
        database.execute(f"UPDATE run_document SET {document} = CAST(? AS TEXT)", (text,))
        database.commit()
    for arguments in (["runs"], ["runs", "show"], ["runs", "export"], ["runs", "export", "--surface"], ["report"],
                      [*TUNE, "--trials", "3"]):  # fmt: skip
        result = kvat(*arguments, cwd=finished)
        assert result.code in (*ENDED, 65), (arguments, result.err)
        assert "Sanitizer" not in result.err
        if result.code == 65 and text == b"\xff{" and arguments == ["report"]:
            assert "the store is damaged" in result.err
        if arguments[1:] == ["export"] and result.code == 0:
            assert json.loads(result.out)["trials"]


@pytest.mark.parametrize("keep", [0, 50, 101, 4096, 5000])
def test_a_store_cut_short_is_refused_or_begun_anew(keep: int, finished: Path) -> None:
    content = (finished / STORE).read_bytes()[:keep]
    (finished / STORE).write_bytes(content)
    result = tune(finished, "--trials", "3")
    assert result.code in (ENDED if keep == 0 else (65,)), result.err
    if keep:
        assert (finished / STORE).read_bytes() == content


def test_an_empty_file_becomes_a_store_but_is_none_to_read(tmp_path: Path) -> None:
    prepared(tmp_path)
    (tmp_path / RESULTS).mkdir()
    (tmp_path / STORE).touch()
    for arguments in (["runs"], ["report"]):
        result = kvat(*arguments, cwd=tmp_path)
        assert result.code == 65
        assert "empty" in result.err
    assert tune(tmp_path, "--trials", "1").code in ENDED


@pytest.mark.parametrize("kind", ["folder", "fifo", "link", "dangling link"])
def test_a_store_that_is_no_file_is_refused_without_waiting(kind: str, tmp_path: Path) -> None:
    prepared(tmp_path)
    (tmp_path / RESULTS).mkdir()
    store = tmp_path / STORE
    if kind == "folder":
        store.mkdir()
    elif kind == "fifo":
        os.mkfifo(store)
    else:
        store.symlink_to(tmp_path / "elsewhere")
        if kind == "link":
            (tmp_path / "elsewhere").write_text("precious")
    result = tune(tmp_path)
    assert result.code in (65, 74), result.err
    assert "kvat.db" in result.err
    assert (tmp_path / "elsewhere").exists() == (kind == "link")


def test_rubbish_beside_the_store_changes_nothing(finished: Path) -> None:
    files = outputs(finished / RESULTS)
    (finished / RESULTS / "kvat.db-wal").write_bytes(random.Random(1).randbytes(9000))
    (finished / RESULTS / "kvat.db.lock").write_text("999999999 long ago nobody\n")
    result = tune(finished, "--trials", "3")
    assert result.code in ENDED, result.err
    assert "measured before" in result.err
    assert outputs(finished / RESULTS) == files


def test_stored_trials_that_do_not_belong_to_the_request_are_noticed(finished: Path) -> None:
    with contextlib.closing(sqlite3.connect(finished / STORE)) as database:
        database.execute("UPDATE trial SET config = (config + 1) % 3")
        database.commit()
    for arguments in (TUNE + ("--trials", "9"), ("report",)):
        result = kvat(*arguments, cwd=finished)
        assert result.code == 65, result.err
        assert "--fresh" in result.err
    assert tune(finished, "--trials", "3", "--fresh").code in ENDED


# ---- others at work ----


def test_one_writer_at_a_time_and_any_number_of_readers(tmp_path: Path) -> None:
    worker = misbehaving(tmp_path, "--mode", "hang", "--once", tmp_path / "met")
    prepared(tmp_path)
    with running("tune", "model", "--engine", worker, "--profile", "ci-micro", cwd=tmp_path) as run:
        assert wait_until((tmp_path / "met").exists)
        for arguments in (TUNE, (*TUNE, "--fresh"), (*TUNE, "--force"), ("runs", "rm", RESULTS, "--run", "1")):
            refused = kvat(*arguments, cwd=tmp_path)
            assert refused.code == 75, refused.err
            assert f"process {run.process.pid}," in refused.err
        document = json.loads(tune(tmp_path, "--json").out)
        assert (document["error"], document["exit_code"]) == ("busy", 75)
        for arguments in (["runs"], ["runs", "show"], ["runs", "export"]):
            assert kvat(*arguments, cwd=tmp_path).code == 0
        assert tune(tmp_path, "-o", "elsewhere", "--trials", "1").code in ENDED
        assert run.process.poll() is None
    assert tune(tmp_path, "--trials", "1").code in ENDED, "the lock went with its holder"


def test_readers_see_whole_trials_while_they_are_made_and_change_nothing(tmp_path: Path) -> None:
    whole = prepared(tmp_path / "whole")
    assert tune(whole).code in ENDED
    read = prepared(tmp_path / "read")
    seen = []
    with running(*TUNE, cwd=read) as run:
        assert run.read_until(lambda line: line.startswith("trial 1"))
        while run.process.poll() is None:
            listed = kvat("runs", "export", cwd=read)
            assert listed.code == 0, listed.err
            seen.append(len(json.loads(listed.out)["trials"]))
            reported = kvat("report", "--format", "json", cwd=read)
            assert reported.code == 0, reported.err
        assert run.finish().code in ENDED
    assert seen == sorted(seen)
    assert outputs(read / RESULTS) == outputs(whole / RESULTS)
