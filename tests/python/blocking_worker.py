#!/usr/bin/env python3
"""A worker on a virtual clock whose second gear is faster; on command it fails, or blocks so that it can be interrupted.

KVAT_TEST_RUNS: how many runs a process answers before it blocks. Before blocking it writes its process id to the FIFO
KVAT_TEST_BLOCKED, which frees a test that reads from it. KVAT_TEST_BLOCK_AT: a method that is never answered, but blocks
at once. KVAT_TEST_FAULT: kind of the error every `load` answers.
"""

from __future__ import annotations

import json
import os
import signal
import sys

KNOB = {"name": "gear", "type": "enum", "values": ["low", "high"], "default": "low", "search": ["low", "high"],
        "scope": "request", "help": "how fast tokens come"}  # fmt: skip
LOSSY = {"name": "squeeze", "type": "enum", "values": ["none", "hard"], "default": "none", "search": ["none", "hard"],
         "scope": "request", "numerics": {"hard": "lossy"}, "help": "how much is thrown away"}  # fmt: skip
MODEL = {"name": "blocker", "architecture": "none", "format": "none", "identity": "sha256:0", "synthetic": True,
         "training_context_tokens": 0, "token_low": 0, "token_high": 100}  # fmt: skip
MS = 1_000_000


class Fault(Exception):
    """An answer that is an error."""


class Worker:
    def __init__(self) -> None:
        self.now = 1
        self.replays_load = False
        self.left = int(os.environ.get("KVAT_TEST_RUNS", "1000000"))

    def initialize(self, params: dict) -> dict:
        self.now = max(1, params.get("virtual_now_ns", 0))
        self.replays_load = params.get("replay_load", False)
        return {"protocol": 1, "engine": {"name": "blocker", "version": "1"}, "clock": "virtual", "capabilities": []}

    def describe(self, params: dict) -> dict:
        return {"model": MODEL, "devices": [{"name": "CPU", "kind": "cpu"}], "knobs": [KNOB, LOSSY],
                "absent": [{"name": "turbo", "reason": "not built in"}]}  # fmt: skip

    def load(self, params: dict) -> dict:
        fault = os.environ.get("KVAT_TEST_FAULT")
        if fault:
            raise Fault(fault)
        self.now += 0 if self.replays_load else MS
        self.replays_load = False
        return {"effective": params.get("settings", {}), "load_ns": MS}

    def prepare(self, params: dict) -> dict:
        self.now += MS
        return {"effective": params.get("settings", {}), "context_tokens": params["context_tokens"], "prepare_ns": MS}

    def run(self, params: dict) -> dict:
        if self.left <= 0:
            self.block()
        self.left -= 1
        settings = params.get("settings", {})
        step = 3 * MS if settings.get("gear") == "high" else 4 * MS
        start, first = self.now, self.now + 10 * MS
        times = [first + i * step for i in range(params["output_tokens"])]
        self.now = times[-1]
        sequence = {"prompt_tokens": params["tokens"]["count"], "token_ns": times, "finish": "length"}
        return {"status": "ok", "start_ns": start, "effective": settings, "sequences": [sequence]}

    def resources(self, params: dict) -> dict:
        return {"host": {"current_bytes": 1 << 20, "peak_bytes": 1 << 20, "source": "test"}, "devices": []}

    def block(self) -> None:
        with open(os.environ["KVAT_TEST_BLOCKED"], "w", encoding="ascii") as fifo:
            fifo.write(f"{os.getpid()}\n")
        while True:
            signal.pause()


def main() -> None:
    worker = Worker()
    for line in sys.stdin:
        request = json.loads(line)
        if request["method"] == os.environ.get("KVAT_TEST_BLOCK_AT"):
            worker.block()
        method = getattr(worker, request["method"], None)
        answer: dict = {"jsonrpc": "2.0", "id": request.get("id")}
        try:
            result = method(request.get("params") or {}) if method else {}
            answer["result"] = {**result, "now_ns": worker.now}
        except Fault as fault:
            answer["error"] = {"code": -32000, "message": "as told", "data": {"kind": str(fault), "detail": "as told"}}
        if "id" in request:
            print(json.dumps(answer), flush=True)
        if request["method"] == "shutdown":
            return


if __name__ == "__main__":
    main()
