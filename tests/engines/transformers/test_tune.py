"""kvat on the real engine: two models, two profiles, from the name of a model to a plan."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from kit import CUDA
from kvat_transformers import synthetic
from protocol_kit import KVAT, ROOT

PROFILE = {"name": "two-depths", "context": [64, 128], "output_tokens": [8],
           "weights": {"ttft": 0.4, "decode": 0.4, "memory": 0.2}}  # fmt: skip
DECIDED = (0, 6)
FEW = ["--set", "grad_mode=no_grad", *([] if CUDA else ["--set", "decode_threads=1"])]


def kvat(*words: str | Path, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([KVAT, *map(str, words)], cwd=cwd, env=os.environ | environment, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=240, check=False)  # fmt: skip


def rows(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(f"file:{folder / 'kvat.db'}?mode=ro", uri=True) as db:
        return db.execute(sql).fetchall()


@pytest.fixture
def own_profile(tmp_path: Path) -> Path:
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(PROFILE))
    return path


@pytest.mark.parametrize("model", ["llama-tiny", "mistral-tiny"])
@pytest.mark.parametrize("profile", ["ci-micro", "own"])
def test_two_models_under_two_profiles_end_with_a_plan(model: str, profile: str, tmp_path: Path, own_profile: Path) -> None:
    chosen = "ci-micro" if profile == "ci-micro" else own_profile
    out = tmp_path / "out"
    done = kvat("tune", f"hf:synthetic:{model}", "--profile", chosen, "--time", "20s", "--trials", "16", *FEW, "-o", out)
    assert done.returncode in DECIDED, done.stderr
    plan = json.loads((out / "best_plan.json").read_text())
    jsonschema.validate(plan, json.loads((ROOT / "schemas" / "plan.schema.json").read_text()))
    assert plan["engine"]["name"] == "transformers" and plan["engine"]["build"].startswith("torch ")
    assert plan["model"]["name"] == f"synthetic:{model}" and plan["model"]["synthetic"] is True
    assert plan["settings"]["attn_implementation"] in ("sdpa", "eager")
    statuses = dict(rows(out, "SELECT status, count(*) FROM trial GROUP BY status"))
    assert set(statuses) <= {"ok", "voided"} and statuses["ok"] >= 2, (statuses, rows(out, "SELECT status, detail FROM trial"))
    sources = {row[0] for row in rows(out, "SELECT peak_source FROM trial WHERE status = 'ok'")}
    assert len(sources) == 1 and ("CUDA allocator" in sources.pop() if CUDA else sources.pop() == "VmHWM")
    for name in ("report.md", "report.html"):
        assert f"synthetic:{model}" in (out / name).read_text()


def test_every_setting_that_is_tried_is_in_force(tmp_path: Path) -> None:
    settings = ["cache_implementation=static", "attn_implementation=sdpa", "sdpa_kernel=math", "prefill_chunk_size=128"]
    if not CUDA:
        settings += ["prefill_threads=1", "decode_threads=1", "decode_mkldnn=off"]
    words = [word for setting in settings for word in ("--set", setting)]
    out = tmp_path / "out"
    done = kvat("tune", "hf:synthetic:phi-tiny", "--profile", "ci-micro", "--time", "4s", "--trials", "2", *words, "-o", out)
    assert done.returncode in DECIDED, done.stderr
    asked = dict(setting.split("=") for setting in settings)
    measured = [json.loads(text) for (text,) in rows(out, "SELECT effective FROM trial WHERE status = 'ok'")]
    assert any(all(str(effective[name]) == value for name, value in asked.items()) for effective in measured)


# ---- which engine, and what is refused ----


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(synthetic.folder_of("gpt2-tiny")[1], tmp_path / "mine"))


@pytest.mark.parametrize("name", ["./mine", "mine/config.json", "config.json"])
def test_a_folder_with_a_configuration_finds_this_engine(folder: Path, name: str) -> None:
    listed = kvat("engines", "--model", name, "--json", cwd=folder if name == "config.json" else folder.parent)
    assert listed.returncode == 0, listed.stderr
    (engine,) = json.loads(listed.stdout)["engines"]
    assert engine["name"] == "transformers" and engine["describe"]["model"]["name"] == "mine"


def test_a_synthetic_model_of_the_same_file_stays_with_llama_cpp(folder: Path) -> None:
    listed = kvat("engines", "--model", f"synthetic:{folder}/config.json", "--json")
    engine = json.loads(listed.stdout)["engines"][0]["name"] if listed.returncode == 0 else listed.stderr
    assert "llamacpp" in engine


def test_names_that_are_no_files_find_this_engine_and_are_told_how_to_get_the_model(tmp_path: Path) -> None:
    for name in ("gpt2", "some-org/some-model"):
        done = kvat("tune", name, "--dry-run", cwd=tmp_path)
        assert done.returncode == 65, done.stderr
        assert f"{name}: no such folder" in done.stderr and "--allow-network" in done.stderr


def test_what_is_no_name_of_a_hub_is_left_to_others(tmp_path: Path) -> None:
    for name, code in [("./nowhere", 65), ("/nowhere", 65), ("nowhere.gguf", 65), ("what:ever", 69)]:
        done = kvat("tune", name, "--dry-run", cwd=tmp_path)
        assert done.returncode == code and "Hugging Face cache" not in done.stderr, (name, done.stderr)


def test_remote_code_is_run_by_flag_and_then_said_in_the_plan_and_the_report(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own-tiny", "auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.OwnModel"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(
        "from transformers import GPT2Config, GPT2LMHeadModel\nclass Own(GPT2Config):\n    model_type = 'own-tiny'\n"
        "class OwnModel(GPT2LMHeadModel):\n    config_class = Own\n"
    )
    refused = kvat("tune", folder, "--dry-run")
    assert refused.returncode == 65 and "--trust-remote-code" in refused.stderr
    out = tmp_path / "out"
    done = kvat("tune", folder, "--trust-remote-code", "--profile", "ci-micro", "--time", "60s", "--trials", "1", *FEW,
                "-o", out, HF_MODULES_CACHE=str(tmp_path / "modules"))  # fmt: skip
    assert done.returncode in DECIDED, done.stderr
    assert json.loads((out / "best_plan.json").read_text())["model"]["remote_code"] is True
    assert "Code that comes with this model is run" in (out / "report.md").read_text()


@pytest.mark.skipif(CUDA, reason="not run: there is a GPU, and this is about having none (not run: no GPU)")
def test_a_gpu_asked_for_where_there_is_none_is_refused() -> None:
    done = kvat("tune", "hf:synthetic:gpt2-tiny", "--device", "cuda", "--dry-run")
    assert done.returncode == 2 and "--device cuda: PyTorch finds no CUDA device" in done.stderr and "it uses: cpu" in done.stderr


def test_a_python_without_the_packages_says_what_is_missing(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nexec /usr/bin/env -u PYTHONPATH python3 -S "$@"\n')
    python.chmod(0o755)
    done = kvat("engines", "--engine", "transformers", KVAT_PYTHON=str(python))
    assert "not available" in done.stdout and "KVAT_PYTHON" in done.stdout and "kvat[transformers]" in done.stdout, done.stdout + done.stderr
