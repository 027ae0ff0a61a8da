"""Help, option parsing, completion and the manual page: what the table of commands promises."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from kvat_cli import KVAT, SURFACE, check_golden, environment, kvat, kvat_on_terminal

COMMANDS = ["tune", "apply", "compare", "verify", "report", "profiles", "engines", "info", "runs", "completion", "help"]


@pytest.fixture(scope="module")
def table() -> dict:
    """The table of commands as the program tells it."""
    return json.loads(kvat("help", "--json").out)


# ---- help ----


def test_version_is_one_plain_line() -> None:
    result = kvat("--version")
    assert result.code == 0
    assert re.fullmatch(r"kvat \d+\.\d+\.\d+\n", result.out)
    assert result.err == ""
    assert kvat("-V").out == result.out


def test_overview_is_as_reviewed() -> None:
    result = kvat("--help")
    assert result.code == 0
    check_golden("help.txt", result.out)
    assert kvat("help").out == kvat("-h").out == result.out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_is_as_reviewed(command: str) -> None:
    result = kvat(command, "--help")
    assert (result.code, result.err) == (0, "")
    check_golden(f"help-{command}.txt", result.out)
    assert kvat("help", command).out == result.out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_begins_with_examples_and_fits_80_columns(command: str) -> None:
    text = kvat(command, "--help").out
    headings = [line for line in text.splitlines() if re.fullmatch(r"[A-Z][A-Za-z ]+", line)]
    assert headings[0] == "Examples"
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_40_columns_but_for_words_that_cannot_be_broken(command: str) -> None:
    for line in kvat(command, "--help", env=environment(COLUMNS="40")).out.splitlines():
        assert len(line) <= 40 or " " not in line.strip(), line


@pytest.mark.parametrize("columns", [40, 60, 80])
@pytest.mark.parametrize(
    "command",
    [["profiles"], ["profiles", "show", "rag"], ["info", "--noise"], ["engines", "--model", SURFACE], ["runs", "list"], ["runs", "show"]],
)
def test_lists_fit_the_columns(tmp_path: Path, command: list, columns: int) -> None:
    if command[0] == "runs":
        assert kvat("tune", SURFACE, "--profile", "ci-micro", "--trials", "3", cwd=tmp_path).code in (0, 6)
    result = kvat(*command, cwd=tmp_path, env=environment(COLUMNS=str(columns)))
    assert result.code == 0
    for line in result.out.splitlines():
        assert len(line) <= columns or len(line.split()[-1]) > columns - 16, line  # a word that cannot be broken


def test_a_command_that_goes_on_below_is_no_explanation() -> None:
    lines = kvat("--help", env=environment(COLUMNS="40")).out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("  kvat compare "))
    assert lines[at].endswith(" \\")
    assert re.match(r"    \S", lines[at + 1])
    assert "      fail a build on a real regression" in lines


def test_noise_is_readable() -> None:
    shown = kvat("info", "--noise").out
    assert not re.search(r"\de\+|\d{4,} %", shown)
    assert "worst:" in shown


def test_every_command_of_the_table_is_listed(table: dict) -> None:
    assert [command["name"] for command in table["commands"]] == COMMANDS
    overview = kvat("--help").out
    for command in table["commands"]:
        assert f"  {command['name']} " in overview


def test_every_command_takes_the_common_options(table: dict) -> None:
    for command in table["commands"]:
        names = {option["name"] for option in command["options"]}
        assert {"json", "verbose", "quiet", "color", "help"} <= names


def test_no_command_shows_the_help_on_stderr_and_is_a_usage_error() -> None:
    result = kvat()
    assert (result.code, result.out) == (2, "")
    assert "Commands" in result.err


# ---- mistakes ----

MISTAKES = [
    (["tun"], "did you mean 'tune'?"),
    (["aply", "x"], "did you mean 'apply'?"),
    (["verfy", "x"], "did you mean 'verify'?"),
    (["verify"], "PLAN is missing"),
    (["verify", "a", "b", "c"], "unexpected argument 'c'"),
    (["verify", "a", "b", "--plan", "c"], "PLAN is given twice"),
    (["verify", "a", "--time", "0"], "--time"),
    (["verify", "a", "--delta", "0"], "--delta"),
    (["predict", "x"], "unknown command 'predict'"),
    (["--json", "engines"], "before the command"),
    (["tune", "m", "--profil", "rag"], "did you mean '--profile'?"),
    (["tune", "m", "--ouput=x"], "did you mean '--output'?"),
    (["tune", "m", "--zzz"], "unknown option '--zzz'"),
    (["tune", "m", "-Z"], "unknown option '-Z'"),
    (["tune", "m", "--safe=yes"], "'--safe' takes no value"),
    (["tune", "m", "--time"], "'--time' needs a value"),
    (["tune", "m", "--time="], "--time needs a value"),
    (["tune", "m", "--time", "--json"], "--time needs a value before '--json'"),
    (["tune", "m", "--time", "fast"], "--time"),
    (["tune", "m", "--time", "-5s"], "--time"),
    (["tune", "m", "--trials", "0"], "--trials"),
    (["tune", "m", "--trials", "1e3"], "--trials"),
    (["tune", "m", "--seed", "99999999999999999999"], "--seed"),
    (["tune", "m", "--delta", "7"], "--delta"),
    (["tune", "m", "--confidence", "nan"], "--confidence"),
    (["tune", "m", "--max-memory", "lots"], "--max-memory"),
    (["tune", "m", "--color", "alwys"], "did you mean 'always'?"),
    (["tune", "m", "--set", "threads"], "expected NAME=VALUE"),
    (["tune", "m", "--set", "=4"], "--set"),
    (["tune", "m", "--sweep", "threads="], "--sweep"),
    (["tune", "m", "--launch", "srun -n1", "--launch", "srun -n1"], "--launch"),
    (["tune", "m", "--launch", "'unclosed"], "--launch"),
    (["tune"], "MODEL is missing"),
    (["tune", "a", "b"], "unexpected argument 'b'"),
    (["tune", "a", "--model", "b"], "MODEL is given twice"),
    (["tune", "m", "--prompts", "sample", "--profile", "./mine.json"], "--prompts sample"),
    (["apply"], "PLAN is missing"),
    (["compare", "a"], "NEW is missing"),
    (["compare"], "BASE is missing"),
    (["compare", "a", "b", "--gate", "tft=5%"], "ttft"),
    (["compare", "a", "b", "--gate", "ttft"], "gate"),
    (["tune", "m", "--search", "nonsense"], "--search: unknown value 'nonsense'; one of: model, race"),
    (["tune", "m", "--search", "rase"], "did you mean 'race'?"),
    (["report", "--format", "pdf"], "one of: terminal, html"),
    (["report", "--format", "htm"], "did you mean 'html'?"),
    (["report", "--chart", "rac"], "did you mean 'race'?"),
    (["report", "--chart", "race", "--format", "html"], "--chart is for --format svg"),
    (["report", "--json", "--format", "html"], "contradict"),
    (["profiles", "shwo"], "did you mean 'show'?"),
    (["profiles", "show"], "NAME is missing"),
    (["profiles", "show", "rga"], "rag"),
    (["profiles", "validate"], "FILE is missing"),
    (["runs", "lst"], "did you mean 'list'?"),
    (["runs", "rm"], "--run N"),
    (["runs", "list", "--surface"], "kvat runs export"),
    (["completion"], "SHELL is missing"),
    (["completion", "bsh"], "did you mean 'bash'?"),
    (["help", "tuen"], "did you mean 'tune'?"),
]


@pytest.mark.parametrize(("arguments", "expected"), MISTAKES, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_a_mistake_is_a_usage_error_that_helps(arguments: list[str], expected: str, tmp_path: Path) -> None:
    result = kvat(*arguments, cwd=tmp_path)
    assert result.code == 2, result.err
    assert result.out == "" or "--json" in arguments
    assert result.err.startswith("kvat: ")
    assert expected in result.err
    assert list(tmp_path.iterdir()) == []


MISSING = [["apply", "no.json"], ["verify", "no.json"], ["verify", "--plan", "no.json"], ["compare", "no.json", "no.json"], ["report", "no"], ["runs", "list", "./no"],
           ["profiles", "validate", "no.json"], ["profiles", "show", "./no.json"], ["apply", "."], ["runs", "."]]  # fmt: skip


@pytest.mark.parametrize("arguments", MISSING, ids=" ".join)
def test_a_missing_input_is_65_and_named(arguments: list[str], tmp_path: Path) -> None:
    result = kvat(*arguments, cwd=tmp_path)
    assert result.code == 65, result.err
    assert arguments[-1] in result.err


def test_an_error_is_also_json_when_asked_for() -> None:
    for arguments in (["report", "no-such-folder", "--json"], ["tune", "--jso", "m", "--json"]):
        result = kvat(*arguments)
        error = json.loads(result.out)
        assert error["format"] == "kvat-error/1"
        assert error["exit_code"] == result.code
        assert error["message"] in result.err


def test_control_characters_in_an_argument_stay_inert() -> None:
    result = kvat("profiles", "show", "x\x1b]0;owned\x07\u202eevil")
    assert result.code == 2
    assert not set(result.err) & {"\x1b", "\x07", "\u202e"}


def test_bytes_that_are_no_utf8_do_not_break_the_json_error() -> None:
    done = subprocess.run([KVAT, "report", b"x\xff", "--json"], capture_output=True, env=environment(), check=False)
    assert done.returncode == 65
    assert json.loads(done.stdout)["format"] == "kvat-error/1"


# ---- forms of options ----


@pytest.mark.parametrize("form", [["--format=md"], ["--format", "md"], ["-fmd"], ["-f", "md"]], ids=" ".join)
def test_a_value_may_be_given_in_every_usual_form(form: list[str], tmp_path: Path) -> None:
    """All forms get past parsing: the error is about the folder."""
    result = kvat("report", *form, "none", cwd=tmp_path)
    assert result.code == 65
    assert "none" in result.err


def test_two_dashes_end_the_options(tmp_path: Path) -> None:
    result = kvat("report", "--", "--json", cwd=tmp_path)
    assert result.code == 65
    assert "--json" in result.err
    assert result.out == ""


def test_a_later_value_replaces_an_earlier_one() -> None:
    assert kvat("profiles", "--color", "always", "--color", "never").code == 0


def test_the_seeds_spelling_is_taken(tmp_path: Path) -> None:
    for arguments in (["apply", "--plan", "no.json", "--print-snippet"], ["compare", "--baseline", "no.json", "--candidate", "no2.json"],
                      ["compare", "--baseline", "no.json", "no2.json"]):  # fmt: skip
        result = kvat(*arguments, cwd=tmp_path)
        assert result.code == 65
        assert "no.json" in result.err


# ---- colours ----


def test_colour_follows_option_environment_and_stream() -> None:
    assert "\x1b[" not in kvat("--help").out
    assert "\x1b[" in kvat("tune", "--color", "always", "--help").out
    cases = [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False), ({"TERM": None}, False)]
    for changes, coloured in cases:
        _, written = kvat_on_terminal("tune", "--help", env=environment(COLUMNS=None, **changes))
        assert ("\x1b[" in written) == coloured, changes
    _, written = kvat_on_terminal("tune", "--help", "--color", "never")
    assert "\x1b[" not in written


# ---- streams (fault row 17) ----


def test_a_full_disk_behind_stdout_is_an_io_error() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run([KVAT, "profiles"], stdout=full, stderr=subprocess.PIPE, env=environment(), check=False)
    assert done.returncode == 74
    assert b"No space left" in done.stderr
    assert b"Next" not in done.stderr


def test_a_lost_answer_outweighs_what_it_said(tmp_path: Path) -> None:
    """Undecided would be 6, but nobody was told."""
    command = [KVAT, "tune", SURFACE, "--profile", "ci-micro", "--trials", "1", "--json", "-o", tmp_path / "out"]
    told = subprocess.run(command, capture_output=True, env=environment(), check=False)
    assert told.returncode == 6, told.stderr
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=environment(), check=False)
    assert done.returncode == 74
    assert b"cannot write to standard output" in done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_quiet(closed: str, tmp_path: Path) -> None:
    done = subprocess.run(["bash", "-c", f'"$0" profiles {closed}', KVAT], capture_output=True, env=environment(), check=False, cwd=tmp_path)
    assert done.returncode == 0
    assert b"error" not in done.stderr


def test_a_reader_that_leaves_early_is_no_failure() -> None:
    script = '"$0" help --json | head -c 10; echo " ${PIPESTATUS[0]}"'
    done = subprocess.run(["bash", "-c", script, KVAT], capture_output=True, env=environment(), check=False)
    assert done.stdout.decode().split()[-1] == "0"
    assert done.stderr == b""


def test_talk_does_not_go_to_stdout() -> None:
    result = kvat("profiles")
    assert "Next:" in result.err
    assert "Next:" not in result.out
    assert kvat("profiles", "-q").err == ""


# ---- what is made from the table ----


def test_the_manual_page_names_every_option(table: dict, tmp_path: Path) -> None:
    page = kvat("help", "--man").out
    for command in table["commands"]:
        assert f'.SS "kvat {command["name"]} ' in page
        for option in command["options"]:
            assert "\\-\\-" + option["name"].replace("-", "\\-") in page, option["name"]
    for code in table["exit_codes"]:
        assert code in page
    if shutil.which("groff"):
        done = subprocess.run(["groff", "-man", "-Tutf8", "-ww"], input=page.encode(), capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_names_every_option_and_parses(shell: str, table: dict, tmp_path: Path) -> None:
    script = kvat("completion", shell).out
    for command in table["commands"]:
        for option in command["options"]:
            written = f"-l {option['name']}" if shell == "fish" else f"--{option['name']}"
            assert written in script
    assert json.loads(kvat("completion", shell, "--json").out)["script"] == script
    if shutil.which(shell):
        path = tmp_path / f"kvat.{shell}"
        path.write_text(script)
        done = subprocess.run([shell, "-n", path], capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")


COMPLETIONS = [
    ("kvat tu", ["tune"]),
    ("kvat tune --prof", ["--profile"]),
    ("kvat tune --profile r", ["rag"]),
    ("kvat tune --profile=lo", ["longform"]),
    ("kvat report --format h", ["html"]),
    ("kvat report -f c", ["csv"]),
    ("kvat tune --search ", ["model", "race"]),
    ("kvat profiles sh", ["show"]),
    ("kvat completion z", ["zsh"]),
    ("kvat tune --color ", ["auto", "always", "never"]),
]


@pytest.mark.parametrize(("line", "expected"), COMPLETIONS)
def test_bash_completes(line: str, expected: list[str], tmp_path: Path) -> None:
    words = [word for word in re.split(r"(=)| ", line) if word is not None]
    words = [word for i, word in enumerate(words) if word or i == len(words) - 1]
    quoted = " ".join(f"'{word}'" for word in words)
    script = (
        f'source <("{KVAT}" completion bash); COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; '
        f'_kvat; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    env = environment(PATH=f"{KVAT.parent}:{os.environ['PATH']}")
    done = subprocess.run(["bash", "-c", script], capture_output=True, env=env, cwd=tmp_path, check=False)
    assert done.stdout.decode().split() == expected, done.stderr


def test_built_texts_are_those_the_program_prints() -> None:
    """The installed page and scripts were made by this very program."""
    share = KVAT.parent.parent / "share"
    made = {"man/man1/kvat.1": ["help", "--man"], "bash-completion/completions/kvat": ["completion", "bash"],
            "zsh/site-functions/_kvat": ["completion", "zsh"], "fish/vendor_completions.d/kvat.fish": ["completion", "fish"]}  # fmt: skip
    for file, arguments in made.items():
        assert (share / file).read_text() == kvat(*arguments).out


# ---- profiles ----


def test_profiles_are_listed_and_shown_as_json() -> None:
    listed = json.loads(kvat("profiles", "--json").out)
    assert listed["format"] == "kvat-profiles/1"
    names = [profile["name"] for profile in listed["profiles"]]
    assert {"chat-agent", "rag", "longform", "ci-micro"} <= set(names)
    for name in names:
        assert name in kvat("profiles").out
        assert json.loads(kvat("profiles", "show", name, "--json").out)["name"] == name


def test_profiles_are_as_reviewed() -> None:
    check_golden("profiles.txt", kvat("profiles").out)
    check_golden("profiles-show-rag.txt", kvat("profiles", "show", "rag").out)


def test_a_shown_profile_validates_and_a_broken_one_names_its_member(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(kvat("profiles", "show", "rag", "--json").out)
    good = kvat("profiles", "validate", path)
    assert (good.code, good.out) == (0, "valid: rag, 6 cells\n")
    assert json.loads(kvat("profiles", "validate", path, "--json").out)["valid"] is True
    profile = json.loads(path.read_text())
    profile["weights"]["ttft"] = 0.9
    path.write_text(json.dumps(profile))
    bad = kvat("profiles", "validate", path)
    assert bad.code == 65
    assert "weights" in bad.err
