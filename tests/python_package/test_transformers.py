"""The wheel beside a real PyTorch: KVAT_TRANSFORMERS_PYTHON has it, engines/transformers/find-transformers.sh makes it."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import kvat
import pytest
from package_kit import ROOT
from test_seeds import README

WHEEL, PYTHON = os.environ["KVAT_WHEEL"], os.environ["KVAT_TRANSFORMERS_PYTHON"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which the seeds' program has run on a small model, with the wheel installed for that Python alone."""
    folder = tmp_path_factory.mktemp("transformers")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", folder / "site", WHEEL]
    subprocess.run(pip, check=True)
    done = python(folder, ROOT / "tests" / "python_package" / "with_transformers.py")
    assert done.returncode == 0, done.stderr
    (folder / "said.json").write_text(done.stdout.splitlines()[-1])
    yield folder


def python(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder / "site"),
        "XDG_STATE_HOME": str(folder / "state"),
        "HF_HUB_OFFLINE": "1",
    }
    return subprocess.run(
        [PYTHON, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_the_seeds_program_measures_in_the_python_that_asks(place: Path) -> None:
    said = json.loads((place / "said.json").read_text())
    assert said["engine"] == "transformers"
    assert said["decision"] in ("winner", "default", "undecided")
    assert said["trials"] >= 2
    assert (place / "results" / "optimized_config.py").is_file()


def test_the_seeds_program_searches_among_configurations(place: Path) -> None:
    """Word for word but for model, device, and a workload and a budget that fit into a test; nothing is fixed."""
    program = README
    for old, new in {
        "meta-llama/Llama-3.2-1B": "./tiny-llama",
        "DeviceType.CUDA": "DeviceType.CPU",
        'get_profile("chat-agent")': 'create_custom_profile("tiny", [64], [8]), time_budget_s=45',
        "import get_profile": "import create_custom_profile",
        "./results": "./searched",
    }.items():
        assert old in program
        program = program.replace(old, new)
    (place / "seeds.py").write_text(program)
    done = python(place, "seeds.py")
    assert done.returncode == 0, done.stderr
    plan = kvat.Plan.read(place / "searched")
    assert plan.decision in ("winner", "default", "undecided")
    assert plan.confidence.measured >= 3, "several configurations, and not the default alone"
    with_figures = [each for each in plan.ranking if each.ttft_s and each.decode_tok_per_s]
    assert len({tuple(sorted(each.settings.items())) for each in with_figures}) >= 3
    names = {node.name for node in ast.walk(ast.parse(done.stdout)) if isinstance(node, ast.FunctionDef)}
    assert {"load", "generate"} <= names, "what it prints is the snippet"


def test_its_snippet_runs(place: Path) -> None:
    done = python(place, "optimized_config.py", "hello", "--model", "tiny-llama", "--max-new-tokens", "4")
    assert done.returncode == 0, done.stderr


def test_a_patch_is_in_force_until_it_is_undone(place: Path) -> None:
    said = json.loads((place / "said.json").read_text())
    assert said["before"] == said["after"] == ["sdpa", None]
    assert said["inside"] == ["eager", "static"]
    assert said["same_tokens"]


def test_the_example_runs(place: Path) -> None:
    fixed = ("dtype=float32", "attn_implementation=sdpa", "cache_implementation=dynamic", "grad_mode=no_grad")
    fixed += ("prefill_threads=1", "decode_threads=1")
    words = ["tiny-llama", "hello", "--max-new-tokens", "4", *(f"--set={pair}" for pair in fixed)]
    done = python(place, ROOT / "examples" / "transformers_infer.py", *words)
    assert done.returncode == 0, done.stderr
    assert "tokens" in done.stderr
