#!/usr/bin/env python3
"""A complete kvat worker (protocol: docs/protocol.md) for a pretended engine whose speed depends on one knob.

Try it: kvat tune anything --engine examples/echo_worker.py --profile ci-micro --time 20s
"""
import json
import os
import resource
import sys
import time

WIRE = os.fdopen(os.dup(1), "w", buffering=1)  # standard output is the protocol's, so keep a copy ...
os.dup2(2, 1)  # ... and send whatever a library prints to the log
KNOB = {"name": "pace", "type": "enum", "values": ["calm", "brisk"], "default": "calm", "search": ["calm", "brisk"],
        "scope": "context", "affects": ["ttft", "decode"], "help": "how fast the engine pretends to be"}
SECONDS_PER_TOKEN = {"calm": 0.0008, "brisk": 0.0005}
pace = "calm"
now = time.monotonic_ns


def prefill(tokens):
    time.sleep(tokens * SECONDS_PER_TOKEN[pace] / 40)


def decode(count):
    """The clock at each output token; the first is there already, it ended the prefill."""
    times = [now()]
    while len(times) < count:
        time.sleep(SECONDS_PER_TOKEN[pace])
        times.append(now())
    return times


def initialize(params):
    return {"protocol": 1, "engine": {"name": "echo", "version": "1"}, "clock": "real", "capabilities": ["marks"]}


def describe(params):
    model = {"name": params["model"], "architecture": "none", "identity": "echo:1", "synthetic": True,
             "training_context_tokens": 1 << 20, "token_low": 0, "token_high": 256}
    return {"model": model, "devices": [{"name": "CPU", "kind": "cpu"}], "knobs": [KNOB]}


def load(params):
    return {"effective": {}, "load_ns": 0}


def prepare(params):
    global pace
    pace = params.get("settings", {}).get("pace", "calm")
    return {"effective": {"pace": pace}, "context_tokens": params["context_tokens"], "prepare_ns": 0}


def run(params):
    tokens, start, marks = params["tokens"], now(), []
    length = tokens["count"] if "count" in tokens else len(tokens["ids"])
    depths = params.get("marks") or [{"prompt_tokens": length, "output_tokens": params["output_tokens"]}]
    ttft = depth = 0
    for mark in depths:  # one pass: prefill up to the mark, decode there, go on
        before = now()
        prefill(mark["prompt_tokens"] - depth)
        ttft, depth = ttft + now() - before, mark["prompt_tokens"]
        sequence = {"prompt_tokens": depth, "token_ns": decode(mark["output_tokens"]), "finish": "length"}
        marks.append({"prompt_tokens": depth, "ttft_ns": ttft,
                      "sequences": [sequence] * params.get("sequences", 1)})
    result = {"status": "ok", "start_ns": start, "effective": {}, "sequences": marks[-1]["sequences"]}
    return {**result, "marks": marks} if "marks" in params else result


def resources(params):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"host": {"current_bytes": peak, "peak_bytes": peak, "source": "ru_maxrss"}, "devices": []}


def nothing(params):
    return {}


METHODS = {"initialize": initialize, "describe": describe, "load": load, "prepare": prepare, "run": run,
           "resources": resources, "release": nothing, "shutdown": nothing}
for line in sys.stdin:  # ends when kvat goes away
    request = json.loads(line)
    if "id" not in request:
        continue  # a notification, such as $/cancel
    answer = {"jsonrpc": "2.0", "id": request["id"]}
    if request["method"] in METHODS:
        answer["result"] = METHODS[request["method"]](request.get("params", {}))
    else:
        answer["error"] = {"code": -32601, "message": "no such method"}
    print(json.dumps(answer), file=WIRE)
    if request["method"] == "shutdown":
        break
