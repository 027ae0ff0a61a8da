"""optimized_config.py as text: Python reads back what the plan says, whatever that is. Nothing of Transformers is needed.

That its settings are in force is tested in tests/engines/transformers.
"""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path
from typing import Any

import pytest
from faults import scripted
from kvat_cli import ROOT, environment, kvat

SAMPLE = json.loads((ROOT / "fuzz" / "corpus" / "plan" / "transformers.json").read_text())
HOSTILE = [
    '"; import os; os.system("touch owned") #',
    '"""\nimport os\n',
    "\\",
    "'''{__import__('os')}",
    "\u202e\u2066evil\u0000"[:-1],
    "\x1b]0;x\x07\r\n# </plan>",
    "𝕂\ufffe\u2028end",
    "-rf $(id) `id`",
]


def emitted(folder: Path, *arguments: str | Path, **members: Any) -> str:
    """What `kvat apply` prints for the sample with these members changed."""
    plan = folder / "plan.json"
    plan.write_text(json.dumps({**SAMPLE, **members}))
    result = kvat("apply", plan, "--format", "python", "--free-memory", "64GiB", *arguments, cwd=folder)
    assert result.code == 0, result.err
    return result.out


def constants(text: str) -> dict[str, Any]:
    """The values of the data on top, evaluated without running the file."""
    compile(text, "optimized_config.py", "exec")
    found = {}
    for node in ast.parse(text).body:
        target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(target, ast.Name) and target.id in ("MODEL", "REVISION", "REMOTE_CODE", "CONTEXT_TOKENS", "SETTINGS", "RULES"):
            value = ast.unparse(node.value)
            # Names of the file itself: SETTINGS in the rules, and os in MODEL.
            found[target.id] = eval(value, {"__builtins__": {}}, {"os": os, **found})
    return found


def test_the_plan_is_read_back_as_it_is(tmp_path: Path) -> None:
    read = constants(emitted(tmp_path))
    assert read["SETTINGS"] == SAMPLE["settings"]
    assert (read["MODEL"], read["REVISION"]) == ("Qwen/Qwen2.5-0.5B", SAMPLE["model"]["revision"])
    assert read["REMOTE_CODE"] is False
    assert read["CONTEXT_TOKENS"] == SAMPLE["context_tokens"]
    rules = [{k: v for k, v in rule.items() if k != "label"} for rule in SAMPLE["fallback"]]
    rules = [rule for rule in rules if rule["when"] != {"unsupported": {"attn_implementation": "sdpa"}}]  # no machine lacks it
    assert read["RULES"] == rules


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_data(tmp_path: Path, text: str) -> None:
    model = {**SAMPLE["model"], "revision": text, "synthetic": text, "file": text}
    settings = {**SAMPLE["settings"], "sdpa_kernel": text, text + "!": text}
    rule = {"when": {"engine_version_not": text}, "advise": text}
    changed = {"model": model, "settings": settings, "label": text, "why": text, "fallback": [rule]}
    whole = emitted(tmp_path, **changed)
    read = constants(whole)
    assert read["REVISION"] == text
    assert read["SETTINGS"] == {**SAMPLE["settings"], "sdpa_kernel": text}
    assert read["RULES"] == [rule]
    assert [ast.dump(node) for node in ast.parse(whole).body if isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef))] == [
        ast.dump(node) for node in ast.parse(emitted(tmp_path)).body if isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef))
    ]


@pytest.mark.parametrize("name", [b"plain", b'it\'s "q"', b"new\nline", b"byte\xff", "\u202e".encode()], ids=range(5))
def test_a_path_is_the_bytes_it_was(tmp_path: Path, name: bytes) -> None:
    folder = os.fsencode(tmp_path) + b"/" + name
    os.mkdir(folder)
    read = constants(emitted(tmp_path, "--model", os.fsdecode(folder)))
    assert os.fsencode(read["MODEL"]) == folder
    assert read["REVISION"] is None


def test_it_is_the_same_however_much_memory_is_free_when_it_is_written(tmp_path: Path) -> None:
    """A rule that holds now need not hold where and when it runs, and it evaluates them itself."""
    texts = {emitted(tmp_path, "--free-memory", size, "--context", "99999") for size in ("1B", "1200MiB", "1TiB")}
    assert len(texts) == 1
    assert constants(texts.pop())["SETTINGS"] == SAMPLE["settings"]
    said = kvat("apply", tmp_path / "plan.json", "--format", "python", "--free-memory", "1200MiB", cwd=tmp_path).err
    assert "Rule 2 of the plan holds" in said
    assert "evaluates them where it runs" in " ".join(said.split())


def test_a_rule_that_lacks_a_setting_is_written_whole(tmp_path: Path) -> None:
    use = {"dtype": "float32", "decode_threads": 1}
    rules = [{"when": {"free_memory_below_bytes": 5}, "use": use, "because": "small"}]
    text = emitted(tmp_path, fallback=rules)
    assert constants(text)["RULES"] == rules
    assert '"use": {"dtype": "float32", "decode_threads": 1}' in text


def test_the_snippet_is_the_format_that_comes_first(tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps(SAMPLE))
    printed = kvat("apply", plan, "--print-snippet", "--free-memory", "64GiB", cwd=tmp_path)
    named = kvat("apply", plan, "-o", "optimized_config.py", "--free-memory", "64GiB", cwd=tmp_path)
    assert (printed.code, named.code) == (0, 0), named.err
    assert (tmp_path / "optimized_config.py").read_text() == printed.out
    assert os.access(tmp_path / "optimized_config.py", os.X_OK)


def worker_of(folder: Path, engine: str, **script: Any) -> Path:
    """A worker that says it is of this engine, with one setting whose second value is faster."""
    hello = {"engine": {"name": engine, "version": "5.23.0"}}
    knob = {"name": "grad_mode", "type": "enum", "values": ["no_grad", "inference_mode"], "default": "no_grad",
            "search": ["no_grad", "inference_mode"], "scope": "request", "help": "gradients"}  # fmt: skip
    rules = [{"at": "initialize", "result": hello}]
    worker = scripted(folder, {**script, "rules": rules, "knobs": [knob], "step_ms": {"no_grad": 3, "inference_mode": 2}})
    return worker.rename(folder / engine)


def test_a_run_leaves_it_beside_the_plan_and_tells_of_the_models_code(tmp_path: Path) -> None:
    """From what the worker says of the model: its commit, and that code came with it."""
    commit = SAMPLE["model"]["revision"]
    home = tmp_path / "home"
    model = {"name": "hf:me/mine", "file": f"{home}/snapshots/{commit}", "revision": commit, "remote_code": True}
    worker = worker_of(tmp_path, "transformers", model=model)
    result = kvat("tune", "m", "--engine", worker, "--profile", "ci-micro", cwd=tmp_path, env=environment(HOME=str(home)))
    assert result.code in (0, 6), result.err
    results = tmp_path / "kvat_results"
    plan = json.loads((results / "best_plan.json").read_text())
    assert (plan["model"]["revision"], plan["model"]["remote_code"]) == (commit, True)
    text = (results / "optimized_config.py").read_text()
    read = constants(text)
    assert (read["MODEL"], read["REVISION"], read["REMOTE_CODE"]) == ("me/mine", commit, True)
    assert read["SETTINGS"] == plan["settings"]
    assert str(home) not in text
    said = "Code that comes with the model was run"
    for told in (result.out + result.err, (results / "report.md").read_text(), (results / "report.html").read_text()):
        assert said in " ".join(told.split())


@pytest.mark.parametrize("engine", ["transformers", "llamacpp"])
def test_the_context_of_a_plan_for_two_sequences_is_that_of_one(tmp_path: Path, engine: str) -> None:
    """llama-server divides its context among the slots, so that its script names that of both."""
    worker = worker_of(tmp_path, engine)
    result = kvat("tune", "m", "--engine", worker, "--profile", "ci-micro", "--batch", "2", cwd=tmp_path)
    assert result.code in (0, 6), result.err
    results = tmp_path / "kvat_results"
    plan = json.loads((results / "best_plan.json").read_text())
    cells = plan["profile"]["cells"]
    one = max(cell["prompt_tokens"] + cell["output_tokens"] for cell in cells)
    assert (plan["context_tokens"], plan["sequences"]) == (one, 2)
    assert {"context_above_tokens": one} in [rule["when"] for rule in plan["fallback"]]
    if engine == "transformers":
        assert constants((results / "optimized_config.py").read_text())["CONTEXT_TOKENS"] == one
    else:
        words = (results / "llama-server.sh").read_text().replace("\\\n", "").split()
        assert [words[words.index(flag) + 1] for flag in ("-c", "-np")] == [str(2 * one), "2"]
