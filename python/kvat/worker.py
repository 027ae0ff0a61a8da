"""The worker program around an `EngineAdapter`: the protocol of docs/protocol.md on standard input and output.

Prompts are never written anywhere. Framing, requests and answers are those of kvat's own worker for Transformers.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import math
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.machinery import SourceFileLoader
from types import FrameType, ModuleType
from typing import Any

from ._program import libexec
from .engines.base import EngineAdapter, EngineError, ModelInfo, Settings, build_of

sys.path.insert(0, os.fspath(libexec()))
from kvat_transformers import messages  # noqa: E402
from kvat_transformers.wire import Fault, Params, Server, claim_stdout, fault_of, one_line, out_of_order  # noqa: E402

sys.path.pop(0)

# How long an engine may go past a run's limit before it is interrupted: it is asked between tokens first.
GRACE_S = 0.5
hosting = False  # this process is a worker, in which no search may begin


class TimedOut(BaseException):
    """The run's limit has passed. Not an Exception, lest an engine's own `except Exception` holds it back."""


def whole(value: object, what: str) -> int:
    """A count that an engine gave; anything else would make a figure that lies."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        shown = "NaN" if isinstance(value, float) and math.isnan(value) else repr(value)[:40]
        raise Fault("internal", f"{what} is {shown}, not a whole number")
    return value


class Host:
    """Methods of the protocol over one engine."""

    def __init__(self, adapter: EngineAdapter) -> None:
        self.adapter = adapter
        self.server: Server | None = None
        self.rewinds = type(adapter).rewind_cache is not EngineAdapter.rewind_cache
        self.offset_ns = 0  # of a virtual clock
        self.replayed_ns: int | None = None
        self.greeted = self.loaded = self.used = self.reading = False
        self.request: dict[str, Any] = {}  # settings of that scope, until changed
        self.request_knobs: set[str] = set()
        self.context: tuple[Settings, int, int] | None = None  # settings, tokens of each sequence, sequences

    def methods(self) -> dict[str, Callable[[Params], Params]]:
        names = ("initialize", "describe", "load", "prepare", "run", "resources", "release", "shutdown")
        return {name: self.stamped(getattr(self, name)) for name in names}

    def stamped(self, method: Callable[[Params], Params]) -> Callable[[Params], Params]:
        def answer(params: Params) -> Params:
            if not self.greeted and method.__name__ != "initialize":
                raise out_of_order("initialize comes first")
            try:
                return {**method(params), "now_ns": self.now()}
            except EngineError as error:
                raise Fault(error.kind, one_line(error), error.knob) from None

        return answer

    def now(self) -> int:
        return self.offset_ns + whole(self.adapter.now_ns(), "now_ns()")

    # ---- what there is ----

    def initialize(self, params: Params) -> Params:
        messages.greet(params, self.greeted)
        adapter = self.adapter
        if adapter.virtual_clock:
            self.offset_ns = max(1, params.get("virtual_now_ns", 0)) - adapter.now_ns()
            self.replayed_ns = params.get("virtual_loaded_ns", 0) if params.get("replay_load") else None
        self.greeted = True
        return {
            "protocol": 1,
            "engine": {"name": adapter.name, "version": adapter.version, "build": build_of(adapter), "flags": []},
            "clock": "virtual" if adapter.virtual_clock else "real",
            "capabilities": ["cancel", *(["marks", "repeats"] if self.rewinds else [])],
        }

    def describe(self, params: Params) -> Params:
        name = params["model"]
        with bad_model():
            about = self.adapter.describe(name)
            knobs = [knob.to_json() for knob in self.adapter.knobs(name)]
        self.request_knobs = {knob["name"] for knob in knobs if knob["scope"] == "request"}
        devices = [{"name": name, "kind": kind} for name, kind in self.adapter.devices.items()]
        absent = [{"name": name, "reason": reason} for name, reason in self.adapter.absent(name).items()]
        return {"model": model_json(about), "devices": devices, "knobs": knobs, "absent": absent}

    # ---- model and cache ----

    def load(self, params: Params) -> Params:
        if self.loaded:
            self.release({"what": "model"})
        before, settings = self.now(), dict(params.get("settings", {}))
        with bad_model():
            said = self.adapter.load_model(params["model"], settings)
        self.loaded = True
        took = self.now() - before
        if self.replayed_ns is not None:  # only restores what an interrupted run held
            self.offset_ns -= took
            took, self.replayed_ns = self.replayed_ns or took, None
        return {"effective": effective(settings, said), "load_ns": took}

    def prepare(self, params: Params) -> Params:
        sequences = max(1, int(params.get("sequences", 1)))
        if sequences > self.adapter.max_sequences:
            raise Fault("unsupported", f"this engine takes {self.adapter.max_sequences} sequences at once")
        before, asked = self.now(), dict(params.get("settings", {}))
        request = {name: value for name, value in asked.items() if name in self.request_knobs}
        settings = {name: value for name, value in asked.items() if name not in request}
        tokens = -(-int(params["context_tokens"]) // sequences)  # the protocol counts those of all sequences together
        self.context, self.used, self.request = None, False, request
        said = self.adapter.prepare_cache(settings, tokens, sequences)
        self.context = (settings, tokens, sequences)
        return {"effective": effective(asked, said), "context_tokens": tokens * sequences, "prepare_ns": self.now() - before}

    def release(self, params: Params) -> Params:
        self.context = None
        if params.get("what") == "model":
            self.loaded = False
            self.adapter.cleanup()
        return {}

    def resources(self, params: Params) -> Params:
        found = self.adapter.measure_resources(bool(params.get("reset")))
        host = asdict(found)
        devices = host.pop("devices")
        for memory in (host, *devices):
            for name in ("current_bytes", "peak_bytes"):
                whole(memory[name], name)
        return {"host": host, "devices": list(devices)}

    def shutdown(self, params: Params) -> Params:
        self.adapter.cleanup()
        return {}

    # ---- runs ----

    def run(self, params: Params) -> Params:
        if self.context is None:
            raise out_of_order("run before prepare")
        settings, tokens, sequences = self.context
        asked = messages.Run.of(params, tokens, sequences)
        self.request.update(asked.settings)
        try:
            with self.alarm(asked.limit_ns):
                if self.used:
                    self.adapter.prepare_cache(settings, tokens, sequences)
                self.used = True
                start = self.now()
                deadline = start + asked.limit_ns if asked.limit_ns > 0 else None
                depths = list(self.pass_over(asked.ids, asked.marks, deadline))
        except TimedOut:
            return messages.timeout(self.now())
        return asked.result(start, asked.settings, depths)

    def pass_over(self, ids: list[int], marks: Sequence[messages.Mark], deadline: int | None) -> Iterator[messages.Depth]:
        """Of each mark the time of the prefill up to it, and the clock at each token of each burst."""
        ttft = depth = 0
        for index, mark in enumerate(marks):
            before = self.now()
            self.adapter.run_prefill(ids[depth : mark.prompt_tokens], self.request)
            after = self.now()
            ttft, depth = ttft + after - before, mark.prompt_tokens
            bursts = []
            for burst in range(mark.repeats):
                bursts.append(self.burst(mark.output_tokens, after if burst == 0 else self.now(), deadline))
                if burst + 1 < mark.repeats or index + 1 < len(marks):
                    self.adapter.rewind_cache(depth)
            yield ttft, bursts

    def burst(self, count: int, first: int, deadline: int | None) -> list[int]:
        """The clock at each of `count` tokens, of which the first is the prefill's."""
        times = [first]
        tokens = iter(self.adapter.run_decode(count - 1, self.request)) if count > 1 else iter(())
        for _ in tokens:
            times.append(self.now())
            if len(times) > count:
                break
            if deadline is not None and times[-1] > deadline:
                raise TimedOut
            if self.server is not None:
                self.reading = True
                self.server.check_cancelled()
                self.reading = False
        if len(times) != count:
            given = f"more than {count - 1}" if len(times) > count else str(len(times) - 1)
            raise Fault("internal", f"run_decode yielded {given} tokens, asked for {count - 1}")
        if any(late < early for early, late in itertools.pairwise(times)):
            raise Fault("internal", "now_ns() went back")
        return times

    @contextlib.contextmanager
    def alarm(self, limit_ns: int) -> Iterator[None]:
        """Interrupts Python code that goes on past the limit. What hangs outside of Python is ended by kvat."""
        if limit_ns <= 0 or self.adapter.virtual_clock:
            yield
            return

        def ring(number: int, frame: FrameType | None) -> None:
            if not self.reading:
                raise TimedOut
            signal.setitimer(signal.ITIMER_REAL, GRACE_S)  # what has been read must not be lost

        self.reading = False
        signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, limit_ns / 1e9 + GRACE_S)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)


@contextlib.contextmanager
def bad_model() -> Iterator[None]:
    """What cannot be read is a model that is none."""
    try:
        yield
    except OSError as error:
        raise Fault("bad_model", one_line(error)) from None


def effective(asked: Mapping[str, Any], said: Settings | None) -> Params:
    return {**asked, **(said or {})}


def model_json(about: ModelInfo) -> Params:
    model = asdict(about)
    model["identity"] = about.identity or about.name
    return {name: value for name, value in model.items() if value is not None}


def module_in(file: str) -> ModuleType:
    """A script as a module, which is not `__main__`, so that what it starts as a program stays undone."""
    name = "__kvat_engine__"
    module = ModuleType(name)
    module.__file__ = file
    sys.modules[name] = module
    SourceFileLoader(name, file).exec_module(module)
    return module


def adapter_of(spec: Mapping[str, Any]) -> EngineAdapter:
    """The engine that `EngineAdapter.source()` told of."""
    found: Any = module_in(spec["file"]) if "file" in spec else importlib.import_module(spec["module"])
    for part in spec["class"].split("."):
        found = getattr(found, part)
    adapter: EngineAdapter = found(*spec["args"], **spec["kwargs"])
    return adapter


def main(spec: Mapping[str, Any]) -> None:
    """Serves until the input ends. An engine that cannot even be made answers `initialize` with the reason."""
    global hosting
    hosting = True
    wire = claim_stdout()
    try:
        host = Host(adapter_of(spec))
        methods = host.methods()
    except Exception as error:  # whatever the engine's code raises is the answer
        fault = fault_of(error)
        host, methods = None, {"initialize": refusal(fault)}
    server = Server(methods, wire)
    if host is not None:
        host.server = server
    server.serve()
    sys.stderr.flush()
    os._exit(0)  # at once: threads of an engine may not want to end


def refusal(fault: Fault) -> Callable[[Params], Params]:
    def initialize(params: Params) -> Params:
        raise fault

    return initialize
