"""Every emitted snippet starts the real llama-server, which answers a completion with the settings in force.

Needs KVAT (the program), KVAT_LLAMA_SERVER and KVAT_TEST_GGUF (any small model); skips without them.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
KVAT, SERVER, MODEL = (os.environ.get(name) for name in ("KVAT", "KVAT_LLAMA_SERVER", "KVAT_TEST_GGUF"))

pytestmark = pytest.mark.skipif(
    not (KVAT and SERVER and MODEL), reason="KVAT, KVAT_LLAMA_SERVER and KVAT_TEST_GGUF are not all set"
)

# Away from every default, so that what is found in force can only come from the snippet.
SETTINGS = {"cache-type-k": "q8_0", "cache-type-v": "f16", "flash-attn": "on", "threads": 1, "threads-batch": 2,
            "batch-size": 256, "ubatch-size": 64, "kv-unified": "off", "repack": "off", "load-mode": "none",
            "prio": 0, "poll": 0, "GOMP_SPINCOUNT": 1000}
IN_FORCE = {"n_batch": "256", "n_ubatch": "64", "n_ctx": "768", "flash_attn": "enabled", "K (q8_0)": None, "V (f16)": None}


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """A plan of the sample outcome with those settings and a context that any model has."""
    text = json.loads((ROOT / "fuzz" / "corpus" / "plan" / "winner.json").read_text())
    text.update(settings=SETTINGS, context_tokens=768, fallback=[])
    path = tmp_path / "best_plan.json"
    path.write_text(json.dumps(text))
    return path


def snippet(plan: Path, form: str) -> str:
    command = [KVAT, "apply", str(plan), "--print-snippet", "--format", form, "--model", MODEL]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port: int, path: str, body: dict | None = None) -> dict:
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


@contextmanager
def started(command: list[str], port: int, log: Path, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    known = ("LLAMA_", "GGML_", "OMP_", "GOMP_", "XDG_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(known)}
    with log.open("wb") as out:
        process = subprocess.Popen(command, env={**env, **variables}, stdout=out, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 120
        while True:
            assert process.poll() is None, log.read_text(errors="replace")[-2000:]
            try:
                ask(port, "/health")
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.1)  # nothing to wait on but the port itself
        yield process
    finally:
        process.terminate()
        process.wait(60)


FORCED = {"ignore_eos": True, "seed": 1}  # random weights end a text at any token


def check_completion(port: int, **more: str) -> None:
    answer = ask(port, "/completion", {"prompt": [10, 20, 30], "n_predict": 4, **FORCED, **more})
    assert answer["tokens_predicted"] == 4


def check_in_force(text: str) -> None:
    for name, value in IN_FORCE.items():
        pattern = re.escape(name) if value is None else rf"{name}\s*=\s*{value}\b"
        assert re.search(pattern, text), f"{name} = {value} is not in the log"


def test_script(plan: Path, tmp_path: Path) -> None:
    script, port, log = tmp_path / "llama-server.sh", free_port(), tmp_path / "log"
    script.write_text(snippet(plan, "llama-server"))
    with started(["sh", str(script), "--port", str(port), "-lv", "5"], port, log, LLAMA_SERVER=SERVER) as process:
        check_completion(port)
        assert b"GOMP_SPINCOUNT=1000" in Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
    check_in_force(log.read_text(errors="replace"))


def test_preset(plan: Path, tmp_path: Path) -> None:
    preset, port, log = tmp_path / "preset.ini", free_port(), tmp_path / "log"
    preset.write_text(snippet(plan, "preset"))
    with started([SERVER, "--models-preset", str(preset), "--port", str(port), "-lv", "5"], port, log):
        name = ask(port, "/models")["data"][0]["id"]
        check_completion(port, model=name)
        given = ask(port, "/models")["data"][0]["status"]["args"]
        assert given[given.index("--ubatch-size") + 1] == "64"
    check_in_force(log.read_text(errors="replace"))


def test_variables_of_compose(plan: Path, tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    service = yaml.safe_load(snippet(plan, "compose"))["services"]["llama-server"]
    port, log = free_port(), tmp_path / "log"
    variables = {**service["environment"], "LLAMA_ARG_MODEL": MODEL, "LLAMA_ARG_HOST": "127.0.0.1"}
    with started([SERVER, *service["command"], "--port", str(port), "-lv", "5"], port, log, **variables):
        check_completion(port)
    check_in_force(log.read_text(errors="replace"))


def test_variables_of_kubernetes_are_those_of_compose_without_the_prompt_cache(plan: Path) -> None:
    yaml = pytest.importorskip("yaml")
    service = yaml.safe_load(snippet(plan, "compose"))["services"]["llama-server"]
    container = yaml.safe_load(snippet(plan, "k8s"))["spec"]["template"]["spec"]["containers"][0]
    assert {item["name"]: item["value"] for item in container["env"]} == {**service["environment"], "LLAMA_ARG_CACHE_RAM": "0"}
    assert container["args"] == service["command"]
