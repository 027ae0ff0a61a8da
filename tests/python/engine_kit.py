"""Real engines in tests: tiny models made on the spot, runs of kvat on them, and llama-server under watch."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvat_cli import KVAT, Result, environment
from kvat_cli import kvat as run_kvat

WORKER = KVAT.parents[1] / "libexec" / "kvat" / "kvat-llamacpp"
START_S = 120  # a ceiling against hanging, not an expectation
DECIDED = (0, 6)

# Two layers of a real architecture: a trial takes a fraction of a second.
TINY = {"model_type": "llama", "num_hidden_layers": 2, "hidden_size": 256, "num_attention_heads": 4,
        "num_key_value_heads": 4, "intermediate_size": 512, "vocab_size": 2048, "max_position_embeddings": 4096}  # fmt: skip
# Wider and with a real vocabulary: its memory is mostly weights and cache, as in a model one would use.
WIDE = {"model_type": "llama", "num_hidden_layers": 2, "hidden_size": 1024, "num_attention_heads": 16,
        "num_key_value_heads": 16, "intermediate_size": 2048, "vocab_size": 32000, "max_position_embeddings": 4096}  # fmt: skip


def place(tmp: Path) -> dict[str, str]:
    """An environment whose caches, states and settings are the test's own."""
    folders = {"XDG_CACHE_HOME": "cache", "XDG_STATE_HOME": "state", "XDG_CONFIG_HOME": "config"}
    return environment(**{name: str(tmp / folder) for name, folder in folders.items()}, KVAT_CACHE_DIR=None)


def synthetic(tmp: Path, shape: dict[str, Any]) -> str:
    """Name of a model of random weights with this shape."""
    path = tmp / "config.json"
    path.write_text(json.dumps(shape))
    return f"synthetic:{path}"


def model_file(tmp: Path, shape: dict[str, Any]) -> Path:
    """The same as a GGUF file."""
    described = run_kvat("engines", "--json", "--model", synthetic(tmp, shape), env=place(tmp))
    assert described.code == 0, described.err
    (cached,) = (tmp / "cache").rglob("*.gguf")
    path = tmp / "model.gguf"
    shutil.copyfile(cached, path)
    return path


def rows(folder: Path, sql: str) -> list[sqlite3.Row]:
    """What a query on the store of a run gives."""
    with sqlite3.connect(f"file:{folder / 'kvat.db'}?mode=ro", uri=True) as db:
        db.row_factory = sqlite3.Row
        return db.execute(sql).fetchall()


@dataclass
class Tuned:
    """A finished run."""

    folder: Path
    result: Result
    env: dict[str, str]

    @property
    def plan(self) -> dict[str, Any]:
        return json.loads((self.folder / "best_plan.json").read_text())


def tune(tmp: Path, model: str, *arguments: str) -> Tuned:
    """A run that must end with an answer, firm or not."""
    env = place(tmp)
    result = run_kvat("tune", model, *arguments, "-o", tmp / "run", env=env)
    assert result.code in DECIDED, result.err
    return Tuned(tmp / "run", result, env)


# ---- llama-server ----


def llama_server() -> str | None:
    """The real server: the one named, that of the engine's prefix, or that of PATH."""
    prefix = os.environ.get("KVAT_LLAMA_PREFIX")
    beside = Path(prefix, "bin", "llama-server") if prefix else None
    for name in ("KVAT_LLAMA_SERVER", "LLAMA_SERVER"):
        if os.environ.get(name):
            return os.environ[name]
    return str(beside) if beside and beside.exists() else shutil.which("llama-server")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A running llama-server, or a router that starts others."""

    def __init__(self, process: subprocess.Popen, port: int, log: Path) -> None:
        self.process, self.port, self.log_file = process, port, log

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=START_S) as answer:
            return json.load(answer)

    def wait_healthy(self) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log()[-4000:]
            try:
                if self.ask("/health") == {"status": "ok"}:
                    return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.02)  # there is nothing to wait on but the port
        raise AssertionError("the server did not get healthy: " + self.log()[-4000:])

    def complete(self, **more: Any) -> dict[str, Any]:
        forced = {"n_predict": 4, "ignore_eos": True, "seed": 1}  # random weights end a text at any token
        return self.ask("/completion", {"prompt": [5, 6, 7, 8], "return_tokens": True, **forced, **more})


@contextmanager
def serving(command: list[str | Path], env: dict[str, str], tmp: Path, port: int) -> Iterator[Server]:
    """Runs a server in a process group of its own, healthy inside and gone after."""
    log = tmp / "server.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=env, start_new_session=True
        )
    server = Server(process, port, log)
    try:
        server.wait_healthy()
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


IN_FORCE = {
    "threads": r"system_info: n_threads = (\d+) ",
    "threads-batch": r"system_info: n_threads = \d+ \(n_threads_batch = (\d+)\)",
    "batch-size": r"llama_context: n_batch += (\d+)",
    "ubatch-size": r"llama_context: n_ubatch += (\d+)",
    "flash-attn": r"llama_context: flash_attn += (\w+)",
    "kv-unified": r"llama_context: kv_unified += (\w+)",
    "cache-type-k": r"llama_kv_cache: size .* K \((\w+)\)",
    "cache-type-v": r"llama_kv_cache: size .* V \((\w+)\)",
    "sequences": r"llama_context: n_seq_max += (\d+)",
    "context": r"llama_context: n_ctx += (\d+)",
}
WORDS = {"enabled": "on", "disabled": "off", "true": "on", "false": "off"}


def in_force(log: str) -> dict[str, str]:
    """Settings as the server's log tells them; the last word counts, because a router logs for itself first."""
    found = {}
    for name, pattern in IN_FORCE.items():
        values = re.findall(pattern, log)
        assert values, f"the log does not tell {name}: {log[-4000:]}"
        found[name] = WORDS.get(values[-1], values[-1])
    return found


def padded(cells: int) -> int:
    """The engine keeps cells in multiples of this."""
    return -(-cells // 256) * 256


def promised(plan: dict[str, Any]) -> dict[str, str]:
    """The same settings as a plan has them."""
    settings = plan["settings"]
    expected = {name: str(settings[name]) for name in IN_FORCE if name in settings}
    expected["sequences"] = str(plan["sequences"])
    expected["context"] = str(padded(plan["context_tokens"]))
    return expected
