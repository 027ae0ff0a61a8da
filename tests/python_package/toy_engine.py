"""An engine on a virtual clock whose brisk pace is faster; asked for, it goes wrong in one way at the brisk pace."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from kvat.core.schema import Value
from kvat.engines.base import EngineAdapter, EngineError, Knob, ModelInfo, Resources

MIB = 1 << 20
TOKEN_NS = {"calm": 800_000, "brisk": 500_000}


class ToyEngine(EngineAdapter):
    name = "toy"
    version = "2"
    virtual_clock = True
    max_sequences = 2

    def __init__(self, fault: str = "", log: str | None = None) -> None:
        self.fault, self.log = fault, log
        self.clock_ns = 0
        self.pace = "calm"
        self.cached = self.room = 0  # tokens in a sequence
        self.loaded = False

    def knobs(self, model_id: str) -> Sequence[Knob]:
        return [
            Knob("pace", ["calm", "brisk"], "calm", help="how fast the engine pretends to be"),
            Knob("lanes", [1, 2], 2, scope="request", search=[2], numerics="equivalent"),
            Knob("width", ["wide", "narrow"], "wide", scope="model", search=["wide"], numerics={"narrow": "lossy"}),
        ]

    def absent(self, model_id: str) -> Mapping[str, str]:
        return {"turbo": "not built in"}

    def describe(self, model_id: str) -> ModelInfo:
        if model_id == "nowhere":
            raise FileNotFoundError("nowhere: no such model")
        return ModelInfo(model_id, identity="toy:1", token_high=1000, synthetic=True)

    def fails(self, where: str) -> bool:
        return self.fault == where and self.pace == "brisk"

    def load_model(self, model_id: str, settings: Mapping[str, Value]) -> None:
        self.loaded = True
        self.clock_ns += 1_000_000

    def prepare_cache(self, settings: Mapping[str, Value], context_tokens: int, sequences: int) -> Mapping[str, Value] | None:
        assert self.loaded
        self.pace = str(settings["pace"])
        self.cached, self.room = 0, context_tokens
        if self.fails("not in force"):
            return {"pace": "calm"}
        if self.fails("no number"):
            return {"pace": float("nan")}
        if self.fails("no text"):
            return {"pace": "\ud800"}
        if self.fails("unsupported"):
            raise EngineError("no brisk pace on this machine", "unsupported", knob="pace")
        if self.fails("memory"):
            raise MemoryError
        return None

    def run_prefill(self, prompt: Sequence[int], settings: Mapping[str, Value]) -> None:
        print("an engine may print")  # must not reach the protocol
        if self.log is not None:
            with Path(self.log).open("a") as log:
                log.write(f"{self.pace} {self.cached} {len(prompt)} {settings['lanes']}\n")
        if self.fails("raises"):
            raise ValueError("the brisk pace broke")
        if self.fails("dies"):
            os.kill(os.getpid(), signal.SIGSEGV)
        assert all(0 <= token < 1000 for token in prompt)
        self.cached += len(prompt)
        self.clock_ns += len(prompt) * TOKEN_NS[self.pace] // 40

    def run_decode(self, output_tokens: int, settings: Mapping[str, Value]) -> Iterator[int]:
        wrong = {"short": -1, "long": 1}.get(self.fault, 0) if self.pace == "brisk" else 0
        for token in range(output_tokens + wrong):
            self.clock_ns += TOKEN_NS[self.pace]
            self.cached += 1
            assert self.cached < self.room
            yield token

    def measure_resources(self, reset: bool) -> Resources:
        nothing: int = float("nan")  # type: ignore[assignment]
        peak = nothing if self.fails("nan") else 64 * MIB
        return Resources(32 * MIB, peak, "made up")

    def now_ns(self) -> int:
        return self.clock_ns


class MarkingEngine(ToyEngine):
    """The same, measured at every depth in one pass."""

    name = "toy-marks"

    def rewind_cache(self, prompt_tokens: int) -> None:
        assert prompt_tokens <= self.cached
        self.cached = prompt_tokens


class SpreadEngine(ToyEngine):
    """Calls one of its devices auto, which is not the default."""

    name = "toy-spread"

    def knobs(self, model_id: str) -> Sequence[Knob]:
        return [*super().knobs(model_id), Knob("device", ["one", "auto"], "one", scope="model", search=["one"])]


class RealEngine(EngineAdapter):
    """Of real time and real memory: sums numbers. With `hangs` the brisk pace never comes to an end."""

    name = "sums"

    def __init__(self, hangs: bool = False) -> None:
        self.hangs = hangs

    def knobs(self, model_id: str) -> Sequence[Knob]:
        return [Knob("pace", ["calm", "brisk"], "calm")]

    def load_model(self, model_id: str, settings: Mapping[str, Value]) -> None:
        pass

    def prepare_cache(self, settings: Mapping[str, Value], context_tokens: int, sequences: int) -> None:
        self.work = 20_000 if settings["pace"] == "calm" else 4_000

    def run_prefill(self, prompt: Sequence[int], settings: Mapping[str, Value]) -> None:
        if self.hangs and self.work == 4_000:
            time.sleep(3600)
        sum(range(10 * self.work))

    def run_decode(self, output_tokens: int, settings: Mapping[str, Value]) -> Iterable[int]:
        return (sum(range(self.work)) for _ in range(output_tokens))


class RefusesEngine(RealEngine):
    """Cannot even be made in the worker's process."""

    def __init__(self, parent: int) -> None:
        super().__init__()
        if os.getpid() != parent:
            raise RuntimeError("the licence server does not answer")
