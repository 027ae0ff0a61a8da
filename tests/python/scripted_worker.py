#!/usr/bin/env python3
"""A worker whose answers are told by a script (the JSON file that is its argument), to test what kvat makes of them.

Members of the script, all optional: `clock` ("virtual", "real"), `knobs`, `model` (members over the usual ones),
`memory_model`, `absent`, `capabilities`, `step_ms` (value of the first knob → time of a token), `raw` (method → text answered
instead of JSON), `heard` (a file that gets every request, a line each), and `rules`. A rule {"at": method, "when": {settings}, "error": {data}, "result": {members over the usual ones},
"effective": {settings over those asked for}, "tokens": n, "bursts": n, "burst_tokens": n, "marked": only runs with marks, "times": n} applies to the first `times` calls that it fits, each in
whatever process: they are counted beside the script. `pause_ms`: how long a run takes on a real clock.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

MS = 1_000_000
KNOB = {"name": "gear", "type": "enum", "values": ["low", "high"], "default": "low", "search": ["low", "high"],
        "scope": "context", "help": "how fast tokens come"}  # fmt: skip
MODEL = {"name": "scripted", "architecture": "none", "format": "none", "identity": "sha256:0", "synthetic": True,
         "training_context_tokens": 0, "token_low": 0, "token_high": 100}  # fmt: skip


class Fault(Exception):
    """An answer that is an error; its argument is the error's data."""


class Worker:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.script = json.loads(path.read_text())
        self.virtual = self.script.get("clock", "virtual") == "virtual"
        self.time = 1
        self.replays_load = False
        self.settings: dict = {}
        self.context_tokens = 0

    # ---- clock ----

    @property
    def now(self) -> int:
        return self.time if self.virtual else time.monotonic_ns()

    def let_pass(self, ns: int) -> None:
        if self.virtual:
            self.time += ns
        else:
            time.sleep(ns / 1e9)

    # ---- rules ----

    def rule_for(self, method: str) -> dict:
        for index, rule in enumerate(self.script.get("rules", [])):
            fits = rule["at"] == method and all(self.settings.get(k) == v for k, v in rule.get("when", {}).items())
            if fits and self.count(index) <= rule.get("times", 1 << 30):
                return rule
        return {}

    def count(self, index: int) -> int:
        """How often this rule has been met, by all processes together."""
        file = self.path.with_name(f"met-{index}")
        with file.open("a") as counter:
            counter.write("x")
        return file.stat().st_size

    # ---- methods ----

    def initialize(self, params: dict, rule: dict) -> dict:
        self.time = max(1, params.get("virtual_now_ns", 0))
        self.replays_load = params.get("replay_load", False)
        return {"protocol": 1, "engine": {"name": "scripted", "version": "1"}, "clock": "virtual" if self.virtual else "real",
                "capabilities": self.script.get("capabilities", [])}  # fmt: skip

    def describe(self, params: dict, rule: dict) -> dict:
        result = {"model": {**MODEL, **self.script.get("model", {})},
                  "devices": [{"name": "GPU0", "kind": "gpu", "memory_bytes": 1 << 34}],
                  "knobs": self.script.get("knobs", [KNOB]), "absent": self.script.get("absent", [])}  # fmt: skip
        if "memory_model" in self.script:
            result["memory_model"] = self.script["memory_model"]
        return result

    def load(self, params: dict, rule: dict) -> dict:
        self.let_pass(0 if self.replays_load else MS)
        self.replays_load = False
        return {"effective": params.get("settings", {}), "load_ns": MS}

    def prepare(self, params: dict, rule: dict) -> dict:
        self.context_tokens = params["context_tokens"]
        self.let_pass(MS)
        return {"effective": {**self.settings, **rule.get("effective", {})}, "context_tokens": self.context_tokens, "prepare_ns": MS}

    def burst(self, n: int, params: dict) -> list[dict]:
        """One token now, the others each a step later; the same for every sequence."""
        first_knob = next(iter(self.settings.values()), None)
        step = int(self.script.get("step_ms", {"low": 4, "high": 3}).get(str(first_knob), 4) * MS)
        first = self.now
        self.let_pass((n - 1) * step)
        return [{"token_ns": [first + i * step for i in range(n)]}] * params.get("sequences", 1)

    def run_marks(self, params: dict, rule: dict) -> dict:
        start, prefill, marks = self.now, 0, []
        for mark in params["marks"]:
            self.let_pass(10 * MS)
            prefill += 10 * MS
            n = mark["output_tokens"]
            answered = {"prompt_tokens": mark["prompt_tokens"], "ttft_ns": prefill, "sequences": self.burst(n, params)}
            bursts = rule.get("bursts", mark.get("repeats", 1)) - 1
            if bursts >= 0 and "repeats" in mark:
                again = rule.get("burst_tokens", n)
                answered["bursts"] = [{"sequences": self.burst(again, params)} for _ in range(bursts)]
            marks.append(answered)
        return {"status": "ok", "start_ns": start, "effective": params.get("settings", {}), "marks": marks}

    def run(self, params: dict, rule: dict) -> dict:
        if "marks" in params:
            return self.run_marks(params, rule)
        start, n = self.now, rule.get("tokens", params["output_tokens"])
        first_knob = next(iter(self.settings.values()), None)
        step = int(self.script.get("step_ms", {"low": 4, "high": 3}).get(str(first_knob), 4) * MS)
        self.let_pass(10 * MS)
        first = self.now
        self.let_pass((n - 1) * step + self.script.get("pause_ms", 0) * MS)
        sequence = {"prompt_tokens": params["tokens"]["count"], "token_ns": [first + i * step for i in range(n)], "finish": "length"}
        return {"status": "ok", "start_ns": start, "effective": params.get("settings", {}),
                "sequences": [sequence] * params.get("sequences", 1)}  # fmt: skip

    def resources(self, params: dict, rule: dict) -> dict:
        peak = (1 << 30) + (1 << 16) * self.context_tokens
        return {"host": {"current_bytes": 1 << 20, "peak_bytes": 1 << 20, "source": "VmHWM"},
                "devices": [{"name": "GPU0", "current_bytes": peak, "peak_bytes": peak, "source": "NVML"}]}  # fmt: skip

    def answer(self, method: str, params: dict) -> dict:
        if method == "prepare":
            self.settings = params.get("settings", {})
        rule = self.rule_for(method)
        if rule.get("marked") and "marks" not in params:
            rule = {}
        if "error" in rule:
            raise Fault(rule["error"])
        made = getattr(self, method)(params, rule) if method in METHODS else {}
        return {**made, **rule.get("result", {}), "now_ns": self.now}


METHODS = ("initialize", "describe", "load", "prepare", "run", "resources")


def main() -> None:
    worker = Worker(Path(sys.argv[1]))
    for line in sys.stdin:
        request = json.loads(line)
        if "heard" in worker.script:
            with open(worker.script["heard"], "a", encoding="utf-8") as heard:
                heard.write(line)
        answer: dict = {"jsonrpc": "2.0", "id": request.get("id")}
        raw = worker.script.get("raw", {}).get(request["method"])
        try:
            answer["result"] = worker.answer(request["method"], request.get("params") or {})
        except Fault as fault:
            answer["error"] = {"code": -32000, "message": "as told", "data": fault.args[0]}
        if "id" in request:
            print(raw.replace("$id", str(request["id"])) if raw else json.dumps(answer), flush=True)
        if request["method"] == "shutdown":
            return


if __name__ == "__main__":
    main()
