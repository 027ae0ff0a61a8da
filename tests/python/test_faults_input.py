"""Nasty documents and hostile names through the whole program (rows 4, 5, 6)."""

from __future__ import annotations

import html.parser
import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from faults import RESULTS, scripted, surface
from kvat_cli import SURFACE, Result, kvat, kvat_on_terminal
from test_cli_plan import PLAN

ENDED = (0, 6)
PROFILE = {"name": "mine", "context": [512], "output_tokens": [32], "weights": {"ttft": 0.5, "decode": 0.35, "memory": 0.15}}
MIB = 1 << 20

# ---- documents (row 5) ----

# What no JSON reader may take, made of the text of a good document.
BROKEN = {
    "nothing": lambda good: "",
    "deep": lambda good: "[" * 100_000,
    "deep and closed": lambda good: "[" * 100_000 + "]" * 100_000,
    "deep inside": lambda good: good.replace("{", '{"x": ' + '{"a":' * 70 + "1" + "}" * 70 + ", ", 1),
    "NaN": lambda good: good.replace("{", '{"x": NaN, ', 1),
    "Infinity": lambda good: good.replace("{", '{"x": -Infinity, ', 1),
    "1e999": lambda good: good.replace("{", '{"x": 1e999, ', 1),
    "a lone surrogate": lambda good: good.replace("{", '{"x": "\\ud800", ', 1),
    "a NUL": lambda good: good.replace("{", '{"x": "\0", ', 1),
    "an escaped NUL in a name": lambda good: good.replace("{", '{"x\\u0000": 1, ', 1),
    "a duplicate key": lambda good: good.replace("{", '{"name": "once", "name": "again", ', 1),
    "no UTF-8": lambda good: good.replace("{", '{"x": "\udcff", ', 1),
    "a byte order mark in the middle": lambda good: good[:5] + "\ufeff{" + good[5:],
    "cut": lambda good: good[: len(good) // 2],
    "something behind": lambda good: good + "x",
    "two": lambda good: good + good,
    "a list": lambda good: f"[{good}]",
    "a number": lambda good: "1",
    "a comment": lambda good: good + "// no",
    "a large number": lambda good: good.replace("{", '{"x": ' + "9" * 400 + ", ", 1),
    "large": lambda good: good.replace("{", '{"x": "' + "y" * (80 * MIB) + '", ', 1),
}  # fmt: skip
READERS = {
    "plan": ("plan.json", json.dumps(PLAN), ("apply", "plan.json")),
    "compared plan": ("plan.json", json.dumps(PLAN), ("compare", "plan.json", "plan.json")),
    "profile": ("profile.json", json.dumps(PROFILE), ("profiles", "validate", "profile.json")),
    "tuned profile": ("profile.json", json.dumps(PROFILE), ("tune", str(SURFACE), "--profile", "profile.json")),
    "surface": ("surface.json", SURFACE.read_text(), ("tune", "surface.json", "--engine", "sim")),
    "manifest": ("engine.json", json.dumps({"format": "kvat-engine/1", "name": "x", "command": ["/bin/false"], "models": ["*"]}),
                 ("tune", "model", "--engine", "./engine.json")),
}  # fmt: skip


def write(path: Path, text: str) -> None:
    path.write_bytes(text.encode("utf-8", "surrogateescape"))


def check_message(result: Result) -> None:
    told = result.err.splitlines()
    assert told[-1].startswith("kvat: ")
    assert len(result.err) < 4000
    assert "Sanitizer" not in result.err


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("reader", READERS)
def test_a_broken_document_is_65_and_leaves_nothing(reader: str, broken: str, tmp_path: Path) -> None:
    name, good, command = READERS[reader]
    write(tmp_path / name, BROKEN[broken](good))
    result = kvat(*command, cwd=tmp_path)
    assert result.code == 65, result.err
    assert name.removesuffix(".json") in result.err, "the file is named, or what it should have been"
    check_message(result)
    assert not (tmp_path / RESULTS).exists()


@pytest.mark.parametrize("reader", [name for name in READERS if name != "manifest"])
def test_the_good_document_is_taken(reader: str, tmp_path: Path) -> None:
    name, good, command = READERS[reader]
    write(tmp_path / name, good)
    assert kvat(*command, cwd=tmp_path).code in ENDED


@pytest.mark.parametrize("kind", ["folder", "fifo", "device", "missing", "unreadable link"])
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_is_refused_without_waiting(reader: str, kind: str, tmp_path: Path) -> None:
    name, _, command = READERS[reader]
    if kind == "folder":
        (tmp_path / name).mkdir()
    elif kind == "fifo":
        os.mkfifo(tmp_path / name)
    elif kind != "missing":
        (tmp_path / name).symlink_to("/dev/zero" if kind == "device" else tmp_path / name)
    result = kvat(*command, cwd=tmp_path)
    assert result.code == 65, result.err
    check_message(result)


# What a worker answers to `describe`; $id is the request's.
ANSWERS = {
    name: '{"jsonrpc": "2.0", "id": $id, "result": ' + text + "}"
    for name, text in {
        "deep": "[" * 100_000 + "]" * 100_000,
        "NaN": '{"model": NaN}',
        "1e999": '{"model": {"identity": "x", "layers": 1e999}}',
        "a lone surrogate": '{"model": {"identity": "\\ud800"}}',
        "an escaped NUL": '{"model": {"identity": "a\\u0000b", "name": "x"}, "knobs": []}',
        "a duplicate key": '{"model": {"identity": "x", "identity": "y"}}',
        "nothing": "{}",
        "null": "null",
        "a list": "[]",
        "wrong types": '{"model": 1, "knobs": "no", "devices": {}}',
        "a model without identity": '{"model": {"name": "x"}, "knobs": []}',
        "knobs of wrong types": '{"model": {"identity": "x"}, "knobs": [1, "two", null]}',
        "a knob without values": '{"model": {"identity": "x"}, "knobs": [{"name": "k", "type": "enum", "values": []}]}',
        "a default that is no value":
            '{"model": {"identity": "x"}, "knobs": [{"name": "k", "type": "enum", "values": ["a"], "default": "b", "scope": "model"}]}',
        "ten thousand knobs": json.dumps({"model": {"identity": "x"}, "knobs": [
            {"name": f"k{i}", "type": "enum", "values": ["a", "b"], "default": "a", "search": ["a", "b"], "scope": "model"}
            for i in range(10_000)]}),
        "more searched values than can be tried": json.dumps({"model": {"identity": "x"}, "knobs": [
            {"name": f"k{i}", "type": "enum", "values": [f"v{j}" for j in range(100)], "default": "v0",
             "search": [f"v{j}" for j in range(100)], "scope": "model"}
            for i in range(110)]}),
        "negative sizes": '{"model": {"identity": "x", "training_context_tokens": -5}, "knobs": [], "memory_model": {"weight_bytes": -1}}',
    }.items()
}  # fmt: skip


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_worker_that_describes_itself_badly_is_no_engine(answer: str, tmp_path: Path) -> None:
    worker = scripted(tmp_path, {"raw": {"describe": ANSWERS[answer]}})
    result = kvat("tune", "model", "--engine", worker, "--profile", "ci-micro", cwd=tmp_path)
    assert result.code in (2, 65, 69), result.err
    check_message(result)
    assert not (tmp_path / RESULTS).exists()


# ---- profiles (row 6) ----

PROFILE_MISTAKES = {
    "weights that do not sum to 1": ({"weights": {"ttft": 0.9, "decode": 0.9, "memory": 0.1}}, ("profile.weights", "sum to 1, not 1.9")),
    "a negative weight": ({"weights": {"ttft": -0.1, "decode": 1.0, "memory": 0.1}}, ("profile.weights.ttft", "from 0 to 1, not -0.1")),
    "no prompts": ({"context": []}, ("profile.context", "1 to 256")),
    "no outputs": ({"output_tokens": []}, ("profile.output_tokens", "1 to 256")),
    "a prompt of nothing": ({"context": [0]}, ("profile.context[0]", "from 1 to 16777216")),
    "an output of one": ({"output_tokens": [1]}, ("profile.output_tokens[0]", "from 2 to 16777216")),
    "a fraction of a token": ({"context": [1.5]}, ("profile.context[0]", "an integer from 1 to 16777216")),
    "a prompt beyond measure": ({"context": [10**15]}, ("profile.context[0]", "from 1 to 16777216")),
    "a prompt twice": ({"context": [512, 512]}, ("profile.context", "512 is there twice")),
    "an unknown member": ({"contxet": [1]}, ("profile.contxet", 'did you mean "context"?')),
    "no runs": ({"runs": 0}, ("profile.runs", "from 1 to 1000, not 0")),
    "a name that is a number": ({"name": 5}, ("profile.name", "a string")),
}  # fmt: skip


@pytest.mark.parametrize("mistake", PROFILE_MISTAKES)
@pytest.mark.parametrize("command", ["profiles validate", "tune"])
def test_a_mistake_in_a_profile_names_the_member_and_the_range(mistake: str, command: str, tmp_path: Path) -> None:
    changes, words = PROFILE_MISTAKES[mistake]
    (tmp_path / "profile.json").write_text(json.dumps({**PROFILE, **changes}))
    arguments = ["profiles", "validate", "profile.json"] if command != "tune" else ["tune", SURFACE, "--profile", "./profile.json"]
    result = kvat(*arguments, cwd=tmp_path)
    assert result.code == 65, result.err
    for word in words:
        assert word in result.err
    check_message(result)
    assert not (tmp_path / RESULTS).exists()


def test_a_profile_over_the_training_context_names_both(tmp_path: Path) -> None:
    (tmp_path / "profile.json").write_text(json.dumps({**PROFILE, "context": [100_000]}))
    worker = scripted(tmp_path, {"model": {"training_context_tokens": 2048}})
    result = kvat("tune", "model", "--engine", worker, "--profile", "./profile.json", cwd=tmp_path)
    assert result.code == 65, result.err
    assert "100000" in result.err or "100032" in result.err
    assert "2048" in result.err


# ---- hostile names (row 4) ----

# Each would do something somewhere: a terminal, a page, a table, a shell, a config file.
EVIL = [
    "\x1b]0;owned\x07\x1b[2J",
    "</script><img src=x onerror=alert(1)>",
    "`touch owned` $(touch owned); touch owned | tee & \"'\\",
    "-rf",
    "right\u202eleft\u2066\u200b",
    "two\nlines\r\ttabs|pipes|#head",
    "](javascript:alert(1)) ![x](http://e.vil/x.png) <http://e.vil>",
    "[section]\nkey = value ; comment",
    "\x7f\u0085\u009b31m\u2028\ufeff",
]
MILD = [name for name in EVIL if not re.search(r"[\x00-\x1f\x7f-\x9f]", name)]  # what a knob may be called
ACTIVE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def evil_worker(folder: Path) -> Path:
    knobs = [
        {"name": f"knob{i}", "type": "enum", "values": [name, "plain"], "default": name, "search": [name, "plain"] if i < 3 else [name],
         "scope": "context", "help": name} for i, name in enumerate(MILD)
    ]  # fmt: skip
    return scripted(folder, {"knobs": knobs, "model": {"name": " ".join(EVIL), "architecture": EVIL[1], "file": f"/x/{EVIL[2]}"},
                             "absent": [{"name": EVIL[0], "reason": EVIL[1]}]})  # fmt: skip


class Page(html.parser.HTMLParser):
    """Tags and attributes a browser would see."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.events: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.events += [name for name, _ in attrs if name.startswith("on")]
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]


def check_text(text: str) -> None:
    """No control or direction character got through; colours and line ends are kvat's own."""
    plain = re.sub(r"\x1b\[[0-9;]*[mK]", "", text).replace("\r\n", "\n").replace("\r", "")
    assert not (found := ACTIVE.findall(plain)), [hex(ord(c)) for c in found]


def check_page(text: str) -> None:
    page = Page()
    page.feed(text)
    assert not page.events
    assert "img" not in page.seen
    assert not [link for link in page.links if not link.startswith("#")]
    check_text(text)


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    folder = tmp_path_factory.mktemp("evil")
    result = kvat("tune", EVIL[2], "--engine", evil_worker(folder), "--profile", "ci-micro", "-v", cwd=folder)
    return folder, result


def test_hostile_names_do_nothing_in_a_run(evil: tuple[Path, Result]) -> None:
    folder, result = evil
    assert result.code in ENDED, result.err
    check_text(result.out)
    check_text(result.err)
    assert not list(folder.rglob("owned"))


def test_hostile_names_do_nothing_on_a_terminal(tmp_path: Path) -> None:
    worker = evil_worker(tmp_path)
    for columns in (80, 40):
        code, written = kvat_on_terminal(
            "tune", EVIL[2], "--engine", worker, "--profile", "ci-micro", "--trials", "4", "-o", str(columns), columns=columns, cwd=tmp_path
        )  # fmt: skip
        assert code in ENDED
        check_text(written)


def test_hostile_names_do_nothing_in_the_page(evil: tuple[Path, Result]) -> None:
    folder, _ = evil
    check_page((folder / RESULTS / "report.html").read_text())


def test_hostile_names_do_nothing_in_markdown(evil: tuple[Path, Result]) -> None:
    text = (evil[0] / RESULTS / "report.md").read_text()
    check_text(text)
    assert not re.search(r"(?<!\\)\]\(", text), "no link"
    assert not re.search(r"(?<!\\)<(?!/?(sub|sup|br)\b)", text), "no tag"
    tables = [line for line in text.splitlines() if line.startswith("| ")]
    assert tables
    for line in text.splitlines():
        assert not line.startswith(("# head", "#head", "[section]"))


def test_hostile_names_survive_in_the_plan_as_they_are(evil: tuple[Path, Result]) -> None:
    folder, _ = evil
    text = (folder / RESULTS / "best_plan.json").read_text()
    plan = json.loads(text)
    for value in plan["settings"].values():
        assert value in ("plain", *MILD)
    check_text(text.replace("\n", ""))
    shown = kvat("apply", f"{RESULTS}/best_plan.json", "--free-memory", "8GiB", cwd=folder)
    assert shown.code in (0, 2), shown.err
    check_text(shown.out)
    check_text(shown.err)


@pytest.mark.parametrize(
    "command",
    [["runs"], ["runs", "show"], ["report"], ["report", "--format", "md"], ["runs", "--json"], ["report", "--format", "json"],
     ["report", "--format", "csv"], ["runs", "export", "--surface"], ["runs", "export"], ["compare", RESULTS, RESULTS]],
    ids=" ".join,
)  # fmt: skip
def test_hostile_names_do_nothing_in_other_commands(command: list[str], evil: tuple[Path, Result]) -> None:
    result = kvat(*command, cwd=evil[0])
    assert result.code == 0, result.err
    check_text(result.out)
    check_text(result.err)


def test_the_command_to_repeat_is_one_command(evil: tuple[Path, Result]) -> None:
    """The line of the report, given to a shell, is the same words again."""
    text = json.loads(kvat("report", "--format", "json", cwd=evil[0]).out)
    argv = text["request"]["argv"]
    assert EVIL[2] in argv
    line = next(line for line in (evil[0] / RESULTS / "report.md").read_text().splitlines() if line.startswith("    kvat tune "))
    shown = subprocess.run(["sh", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True).stdout.decode().split("\0")[:-1]
    assert shown == ["kvat", *argv[1:], "--fresh"], "the same again would tell the stored answer"
    assert shlex.split(line) == shown
    assert not list(evil[0].rglob("owned"))


def test_hostile_names_in_a_surface_do_nothing(tmp_path: Path) -> None:
    knob = {"name": "k", "type": "enum", "values": ["plain", *MILD], "default": "plain", "search": ["plain", *MILD], "scope": "context",
            "affects": ["ttft"], "help": EVIL[2]}  # fmt: skip
    effects = {"k": {name: {"ttft": -0.1 * i} for i, name in enumerate(MILD)}}
    surface(tmp_path / "surface.json", knobs=[knob], effects=effects, interactions=[], name=" ".join(EVIL))
    result = kvat("tune", "surface.json", "--profile", "ci-micro", cwd=tmp_path)
    assert result.code in ENDED, result.err
    check_text(result.out)
    check_text(result.err)
    check_page((tmp_path / RESULTS / "report.html").read_text())
    check_text((tmp_path / RESULTS / "report.md").read_text())


@pytest.mark.parametrize("name", [name for name in EVIL if name not in MILD], ids=range(4))
@pytest.mark.parametrize("place", ["name", "value"])
def test_control_characters_in_a_knob_are_refused(place: str, name: str, tmp_path: Path) -> None:
    knob = {"name": name if place == "name" else "k", "type": "enum", "values": ["plain", name], "default": "plain", "scope": "context"}
    worker = scripted(tmp_path, {"knobs": [knob]})
    result = kvat("tune", "model", "--engine", worker, "--profile", "ci-micro", cwd=tmp_path)
    assert result.code == 65, result.err
    check_text(result.err)


def test_hostile_error_texts_of_a_worker_do_nothing(tmp_path: Path) -> None:
    rule = {"at": "run", "error": {"kind": "unsupported", "detail": " ".join(EVIL), "knob": EVIL[0]}}
    worker = scripted(tmp_path, {"rules": [rule]})
    result = kvat("tune", "model", "--engine", worker, "--profile", "ci-micro", cwd=tmp_path)
    assert result.code == 3, result.err
    check_text(result.out)
    check_text(result.err)
    check_page((tmp_path / RESULTS / "report.html").read_text())
    check_text((tmp_path / RESULTS / "report.md").read_text())
