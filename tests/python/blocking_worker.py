#!/usr/bin/env python3
"""A worker that answers a few runs at once and then blocks: what is interrupted is known without any waiting.

KVAT_TEST_RUNS says how many runs are answered; before blocking it opens the FIFO KVAT_TEST_BLOCKED for writing, which
frees a test that reads from it.
"""

from __future__ import annotations

import json
import os
import signal
import sys

KNOB = {"name": "gear", "type": "enum", "values": ["low", "high"], "default": "low", "search": ["low", "high"],
        "scope": "request"}  # fmt: skip
MODEL = {"name": "blocker", "architecture": "none", "format": "none", "identity": "sha256:0", "synthetic": True,
         "training_context_tokens": 0, "token_low": 0, "token_high": 100}  # fmt: skip
MS = 1_000_000


def tokens(start: int, gear: str, n: int) -> list[int]:
    step = 4 * MS if gear == "low" else 3 * MS
    return [start + 10 * MS + i * step for i in range(n)]


def run(params: dict, now: int) -> dict:
    gear = params.get("settings", {}).get("gear", "low")
    times = tokens(now, gear, params["output_tokens"])
    sequence = {"prompt_tokens": params["tokens"]["count"], "token_ns": times, "finish": "length"}
    return {"status": "ok", "start_ns": now, "effective": params.get("settings", {}), "sequences": [sequence],
            "now_ns": times[-1]}  # fmt: skip


def block() -> None:
    with open(os.environ["KVAT_TEST_BLOCKED"], "w", encoding="ascii") as fifo:
        fifo.write("blocked\n")
    while True:
        signal.pause()


def main() -> None:
    now, left = 1, int(os.environ.get("KVAT_TEST_RUNS", "1000000"))
    for line in sys.stdin:
        request = json.loads(line)
        params = request.get("params") or {}
        method = request.get("method")
        result: dict = {}
        if method == "initialize":
            result = {"protocol": 1, "engine": {"name": "blocker", "version": "1"}, "clock": "real", "capabilities": []}
        elif method == "describe":
            result = {"model": MODEL, "devices": [{"name": "CPU", "kind": "cpu"}], "knobs": [KNOB]}
        elif method == "load":
            result = {"effective": params.get("settings", {}), "load_ns": MS}
        elif method == "prepare":
            result = {"effective": params.get("settings", {}), "context_tokens": params["context_tokens"], "prepare_ns": MS}
        elif method == "run":
            if left <= 0:
                block()
            left -= 1
            result = run(params, now)
            now = result["now_ns"]
        elif method == "resources":
            result = {"host": {"current_bytes": 1 << 20, "peak_bytes": 1 << 20, "source": "test"}, "devices": []}
        if "id" in request:
            result["now_ns"] = now
            print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}), flush=True)
        if method == "shutdown":
            return


if __name__ == "__main__":
    main()
