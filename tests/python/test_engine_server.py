"""Every emitted file started for real: llama-server comes up, answers, and has the plan's settings in force."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from engine_kit import TINY, Server, Tuned, free_port, in_force, llama_server, padded, promised, serving, synthetic, tune
from kvat_cli import kvat

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(llama_server() is None, reason="no llama-server (KVAT_LLAMA_PREFIX, LLAMA_SERVER, PATH)"),
]
VERBOSE = ["-lv", "4"]  # from this level on the server's log tells what is in force


@pytest.fixture(scope="module")
def lossless(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    """A run with settings off the server's default, so that one which does not arrive is noticed."""
    tmp = tmp_path_factory.mktemp("lossless")
    fixed = {"batch-size": 256, "ubatch-size": 64, "threads": 1, "kv-unified": "on"}
    settings = [word for name, value in fixed.items() for word in ("--set", f"{name}={value}")]
    lengths = ["--context", "500", "--output-tokens", "8", "--time", "20s"]
    tuned = tune(tmp, synthetic(tmp, TINY), *lengths, *settings, "--sweep", "flash-attn=on,off")
    assert {name: tuned.plan["settings"][name] for name in fixed} == fixed
    return tuned


@pytest.fixture(scope="module")
def lossy(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    """A run judged by memory alone, which a cache with less in it must lead: one of the three with a q8_0 half."""
    tmp = tmp_path_factory.mktemp("lossy")
    lengths = ["--context", "3000", "--output-tokens", "8", "--time", "30s", "--weights", "ttft=0,decode=0,memory=1"]
    caches = ["--allow-lossy", "--sweep", "cache-type-k=f16,q8_0", "--sweep", "cache-type-v=f16,q8_0"]
    fixed = ["--set", "ubatch-size=64", "--set", "flash-attn=on", "--set", "threads=1", "--set", "threads-batch=1"]
    return tune(tmp, synthetic(tmp, TINY), *lengths, *caches, *fixed)


def check_server(server: Server, plan: dict[str, Any], model: str | None = None) -> None:
    """It answers with exactly what was asked for, and its log and endpoints agree with the plan."""
    named = {"model": model} if model else {}
    answer = server.complete(**named)
    assert (answer["tokens_evaluated"], answer["tokens_predicted"], len(answer["tokens"])) == (4, 4, 4)
    expected = promised(plan)
    assert {name: value for name, value in in_force(server.log()).items() if name in expected} == expected
    query = f"?model={model}" if model else ""
    context = padded(plan["context_tokens"])
    assert server.ask("/props" + query)["default_generation_settings"]["n_ctx"] == context
    assert [slot["n_ctx"] for slot in server.ask("/slots" + query)] == [context] * plan["sequences"]


def check_script(tmp: Path, tuned: Tuned, script: Path, plan: dict[str, Any]) -> None:
    port = free_port()
    env = {**tuned.env, "LLAMA_SERVER": llama_server()}
    with serving([script, "--host", "127.0.0.1", "--port", port, *VERBOSE], env, tmp, port) as server:
        check_server(server, plan)


def test_the_script_starts_the_server_with_the_plan_in_force(lossless: Tuned, tmp_path: Path) -> None:
    check_script(tmp_path, lossless, lossless.folder / "llama-server.sh", lossless.plan)


def test_the_script_applied_from_the_plan_takes_another_model_path(lossless: Tuned, tmp_path: Path) -> None:
    written = tmp_path / "server of 'mine'.sh"
    (model,) = (lossless.folder.parent / "cache").rglob("*.gguf")
    spaced = tmp_path / "a model; $(touch never) 'quoted'.gguf"
    spaced.symlink_to(model)
    applied = kvat("apply", lossless.folder, "--format", "llama-server", "--model", spaced, "-o", written, env=lossless.env)
    assert applied.code == 0, applied.err
    check_script(tmp_path, lossless, written, lossless.plan)
    assert not (tmp_path / "never").exists()


def test_the_preset_loads_in_the_router_with_the_plan_in_force(lossless: Tuned, tmp_path: Path) -> None:
    preset = lossless.folder / "llama-server-preset.ini"
    (section,) = re.findall(r"^\[(.+)\]$", preset.read_text(), re.MULTILINE)
    port = free_port()
    command = [llama_server(), "--models-preset", preset, "--host", "127.0.0.1", "--port", port, *VERBOSE]
    with serving(command, lossless.env, tmp_path, port) as server:
        check_server(server, lossless.plan, model=section)


def container(text: str) -> tuple[dict[str, str], list[str]]:
    """Environment and arguments of a Compose or Kubernetes file, whose scalars are quoted as JSON has them."""
    compose = re.findall(r'^ +(LLAMA_ARG_\w+|GOMP_\w+|OMP_\w+): (".*")$', text, re.MULTILINE)
    k8s = re.findall(r'^ +- name: (LLAMA_ARG_\w+|GOMP_\w+|OMP_\w+)\n +value: (".*")$', text, re.MULTILINE)
    arguments = re.search(r"^ +(?:command|args): (\[.*\])$", text, re.MULTILINE)
    return {name: json.loads(value) for name, value in compose or k8s}, json.loads(arguments[1]) if arguments else []


@pytest.mark.parametrize("form", ["compose", "k8s"])
def test_the_variables_of_a_container_put_the_plan_in_force(form: str, lossless: Tuned, tmp_path: Path) -> None:
    applied = kvat("apply", lossless.folder, "--format", form, env=lossless.env)
    assert applied.code == 0, applied.err
    variables, arguments = container(applied.out)
    assert (variables["LLAMA_ARG_MODEL"], variables["LLAMA_ARG_HOST"]) == ("/models/model.gguf", "0.0.0.0")
    (model,) = (lossless.folder.parent / "cache").rglob("*.gguf")
    port = free_port()
    here = {"LLAMA_ARG_MODEL": str(model), "LLAMA_ARG_HOST": "127.0.0.1", "LLAMA_ARG_PORT": str(port)}
    env = {**lossless.env, **variables, **here}
    with serving([llama_server(), *arguments, *VERBOSE], env, tmp_path, port) as server:
        check_server(server, lossless.plan)


def test_a_lossy_setting_comes_as_a_plan_of_its_own_that_runs(lossy: Tuned, tmp_path: Path) -> None:
    assert lossy.plan["lossy"] is False
    plan = json.loads((lossy.folder / "lossy_plan.json").read_text())
    assert (plan["lossy"], plan["verified_quality"]) == (True, False)
    assert "q8_0" in (plan["settings"]["cache-type-k"], plan["settings"]["cache-type-v"])
    (model,) = (lossy.folder.parent / "cache").rglob("*.gguf")
    script = tmp_path / "lossy.sh"
    arguments = ["--format", "llama-server", "--model", model, "-o", script]
    applied = kvat("apply", lossy.folder / "lossy_plan.json", *arguments, env=lossy.env)
    assert applied.code == 0, applied.err
    assert "not been judged" in script.read_text()
    check_script(tmp_path, lossy, script, plan)
