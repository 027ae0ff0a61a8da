"""An engine of your own: subclass `EngineAdapter`, and kvat tunes what its knobs declare.

    class MyEngine(EngineAdapter):
        name = "my-engine"

        def knobs(self, model_id):
            return [Knob("threads", [1, 2, 4], default=2, scope="request")]

        def load_model(self, model_id, settings): ...
        def prepare_cache(self, settings, context_tokens, sequences): ...
        def run_prefill(self, prompt, settings): ...
        def run_decode(self, output_tokens, settings): ...

    result = TuningSearch(TuneConfig(model_id="…"), MyEngine()).run()

The search runs in the C program, which starts a worker process with this class in it (docs/protocol.md). So the class must be
importable or stand in a script, arguments of its constructor must fit into JSON, and an engine that crashes loses a trial.
"""

from __future__ import annotations

import gc
import hashlib
import inspect
import json
import os
import re
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from ..core.schema import Value
from ..errors import UsageError
from .installed import Engine

Self = TypeVar("Self", bound="EngineAdapter")
Settings = Mapping[str, Value]
Scope = Literal["model", "context", "request"]
Numerics = Literal["exact", "equivalent", "lossy"]
Kind = Literal["unsupported", "oom_host", "oom_device", "bad_model", "invalid_setting", "internal"]

# Runs in the worker's process: nothing is looked for in the working folder that this process would not look for there.
START = """import sys
sys.path[:] = filter(None, sys.path)  # before anything is imported that the working folder may have a file of that name for
import json
spec = json.loads(sys.argv[1])
sys.path[:] = spec["path"]
from kvat.worker import main
main(spec)"""


class EngineError(Exception):
    """For an engine to raise: why a trial has no figures. `kind` becomes the trial's status."""

    def __init__(self, detail: str, kind: Kind = "internal", knob: str | None = None) -> None:
        super().__init__(detail)
        self.kind = kind
        self.knob = knob


@dataclass(frozen=True)
class Knob:
    """A setting that can be tuned, by the engine's own name for it; schemas/knob.schema.json says it all.

    `values` are all strings or all integers; with `ordered` strings are an ordered list. `search` is what is tried without
    being asked for (everything, unless given). `scope` says which call takes it: `load_model`, `prepare_cache`, or a run.
    `numerics` says whether values change results, `stable` which ones `--safe` leaves in.
    """

    name: str
    values: Sequence[Value]
    default: Value
    scope: Scope = "context"
    help: str = ""
    search: Sequence[Value] | None = None
    ordered: bool = False
    numerics: Numerics | Mapping[str, Numerics] = "exact"
    stable: bool | Sequence[Value] = True
    affects: Sequence[Literal["ttft", "decode", "memory", "quality"]] = ("ttft", "decode", "memory")
    requires: Sequence[Mapping[str, Any]] = ()
    aliases: Mapping[str, Value] = field(default_factory=dict)
    at_most: Sequence[str] = ()
    concept: str | None = None

    def to_json(self) -> dict[str, Any]:
        kinds = {type(value) for value in (*self.values, self.default)}
        if kinds not in ({int}, {str}):
            raise UsageError(f"knob {self.name!r}: values and default must be all strings or all integers")
        declared: dict[str, Any] = asdict(self)
        declared["type"] = "int" if kinds == {int} else "ordinal" if declared.pop("ordered") else "enum"
        declared.pop("ordered", None)
        declared["search"] = list(self.values if self.search is None else self.search)
        for name in ("requires", "aliases", "at_most", "concept"):
            if not declared[name]:
                del declared[name]
        return declared


@dataclass(frozen=True)
class ModelInfo:
    """What an engine says of a model. `identity` changes whenever the weights do; prompts are drawn from
    `token_low` ≤ id < `token_high`, which should leave special tokens out."""

    name: str
    identity: str = ""  # empty: the name
    architecture: str = "unknown"
    token_low: int = 0
    token_high: int = 256
    training_context_tokens: int = 0  # 0: not known
    weight_bytes: int | None = None
    synthetic: bool = False


@dataclass(frozen=True)
class DeviceMemory:
    """Bytes in use on a device, and the most since the last reset."""

    name: str
    current_bytes: int
    peak_bytes: int
    source: str


@dataclass(frozen=True)
class Resources:
    """Memory now, and the most since the last reset. `source` says where the host's figures were read from."""

    current_bytes: int
    peak_bytes: int
    source: str
    devices: Sequence[DeviceMemory] = ()


class EngineAdapter(Engine, ABC):
    """The calls come in this order: `describe`, `knobs`; `load_model`; for each configuration `prepare_cache`, then for each
    run `run_prefill` and `run_decode`. Every run after the first begins with another `prepare_cache`, so that its cache is
    empty. Settings hold the knobs of that call's scope. Only `run_prefill` and `run_decode` are timed, by the worker.

    What they raise becomes the status of the trial: `EngineError` by its kind, `MemoryError` and PyTorch's out-of-memory
    errors as such, `NotImplementedError` as unsupported. A run past its limit is interrupted where Python can be.
    """

    name = ""  # in plans; letters, digits and . _ -
    version: ClassVar[str] = "0"
    max_sequences: ClassVar[int] = 1  # equal prompts at once
    devices: ClassVar[Mapping[str, str]] = {"CPU": "cpu"}  # name → kind, of what it runs on
    virtual_clock: ClassVar[bool] = False  # now_ns() is a made-up time that begins at 0

    _arguments: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls: type[Self], *args: Any, **kwargs: Any) -> Self:
        made = super().__new__(cls)
        made._arguments = (args, kwargs)  # for the worker, which makes another
        return made

    # ---- to be written ----

    def describe(self, model_id: str) -> ModelInfo:
        """Facts of the model, without loading it. Raise `EngineError(…, "bad_model")` or `OSError` if it is none."""
        return ModelInfo(model_id)

    def knobs(self, model_id: str) -> Sequence[Knob]:
        """What can be tuned for this model here."""
        return ()

    def absent(self, model_id: str) -> Mapping[str, str]:
        """What cannot, with the reason."""
        return {}

    @abstractmethod
    def load_model(self, model_id: str, settings: Settings) -> Settings | None:
        """Loads it, in place of an earlier one. May return the settings that are really in force; None: as asked."""

    @abstractmethod
    def prepare_cache(self, settings: Settings, context_tokens: int, sequences: int) -> Settings | None:
        """Makes an empty cache for so many tokens in each of so many sequences. Returns as `load_model` does."""

    @abstractmethod
    def run_prefill(self, prompt: Sequence[int], settings: Settings) -> None:
        """Takes in these token ids behind what the cache holds, in every sequence, and chooses the next token. Returns when
        that is there, so that a device must have been waited for."""

    @abstractmethod
    def run_decode(self, output_tokens: int, settings: Settings) -> Iterable[object]:
        """So many more tokens, in every sequence, each yielded when it is there. End-of-text is ignored. What is yielded is
        not looked at."""

    def rewind_cache(self, prompt_tokens: int) -> None:
        """Makes the cache what it was when the prefill of so many tokens ended. An engine that has this method is measured at
        every depth in one pass, which takes a fraction of the time."""
        raise NotImplementedError

    def measure_resources(self, reset: bool) -> Resources:
        """Memory of this process, unless overridden. `reset`: begin a new high-water mark."""
        source = "VmHWM"
        if reset:
            gc.collect()
            try:
                Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            except OSError:
                source = "VmHWM of the whole process"
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        kib = {name: rest.split()[0] for name, _, rest in (line.partition(":") for line in lines) if name in ("VmRSS", "VmHWM")}
        return Resources(int(kib["VmRSS"]) * 1024, int(kib["VmHWM"]) * 1024, source)

    def cleanup(self) -> None:
        """Releases model and cache, at the end or before another model."""

    def now_ns(self) -> int:
        """The clock of every figure, in nanoseconds."""
        return time.monotonic_ns()

    # ---- for kvat ----

    def argument(self, folder: Path) -> str:
        path = folder / f"{self.name}.json"
        self.save_manifest(path)
        return os.fspath(path)

    def save_manifest(self, path: str | os.PathLike[str]) -> None:
        """Writes the manifest by which the program knows this engine: `kvat tune MODEL --engine ./my-engine.json`."""
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", self.name):
            raise UsageError(f"{type(self).__name__}.name is {self.name!r}: letters, digits, '.', '_' and '-' are needed")
        spec = {**self.source(), "path": [entry or os.getcwd() for entry in sys.path]}
        manifest = {"format": "kvat-engine/1", "name": self.name, "title": self.name, "models": ["*"],
                    "command": [sys.executable, "-c", START, json.dumps(spec)]}  # fmt: skip
        Path(path).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")

    def source(self) -> Mapping[str, Any]:
        """Module or script, class and arguments. Raises `UsageError` where another process could not find the class."""
        args, kwargs = self._arguments
        try:
            arguments = json.loads(json.dumps({"args": args, "kwargs": kwargs}, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"{type(self).__name__}(…): arguments must fit into JSON, for a worker of its own ({error})"
            ) from None
        return {**place_of(type(self)), "class": type(self).__qualname__, **arguments}


def place_of(cls: type) -> dict[str, str]:
    """Where a class can be found again: {"module": …} or, of a script that is running, {"file": …}."""
    if "<" in cls.__qualname__:
        raise UsageError(f"{cls.__qualname__}: a class made inside a function cannot be found by the worker's process; "
                         "put it at the top of a module")  # fmt: skip
    module = sys.modules.get(cls.__module__)
    found: Any = module
    for part in cls.__qualname__.split("."):
        found = getattr(found, part, None)
    if found is not cls:
        raise UsageError(f"{cls.__module__}.{cls.__qualname__} is not this class: the worker's process could not find it")
    if cls.__module__ != "__main__":
        return {"module": cls.__module__}
    if getattr(module, "__spec__", None) is not None:  # python -m name
        return {"module": module.__spec__.name}  # type: ignore[union-attr]
    file = getattr(module, "__file__", None)
    if file is None or not os.path.isfile(file):
        raise UsageError(
            f"{cls.__qualname__} was typed into a session: put it into a module, where the worker's process finds it"
        )
    return {"file": os.path.abspath(file)}


def build_of(adapter: EngineAdapter) -> str:
    """Changes with the code and the arguments, so that figures of another engine are never taken for this one's."""
    file = inspect.getsourcefile(type(adapter))
    code = Path(file).read_bytes() if file and os.path.isfile(file) else b""
    arguments = json.dumps(adapter._arguments, sort_keys=True, default=str).encode()
    return "source " + hashlib.sha256(code + b"\0" + arguments).hexdigest()[:12]
