"""One model and one context: describing, loading, preparing; what is in force is read back and not assumed.

Must not know of JSON or of what kvat decides. Times are nanoseconds of the monotonic clock.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from . import attention, caches, loading, machine, sources, warm
from .knobs import DTYPES, Facts, declare
from .memory import Memory
from .runs import Runner
from .settings import Context, Request, Settings, refuse_rest, take_context, take_word
from .sources import Source
from .wire import Fault, fault_of, one_line, out_of_order

now = time.monotonic_ns
PROBE_TOKENS = 8


def kernels_named(context: Context, ran: list[str]) -> str:
    """Value of `sdpa_kernel` in force: what was asked for where only that ran, else what ran."""
    asked = context.sdpa_kernel
    return asked if asked == "auto" or ran == [asked] else "+".join(ran) or "none"


@contextmanager
def as_bad_model(name: str) -> Iterator[None]:
    """A configuration can be wrong in more ways than are looked for: what fails for no other reason fails for that."""
    try:
        yield
    except Exception as error:
        fault = fault_of(error)
        if fault.kind != "internal" or fault.code != Fault.code:
            raise
        raise sources.bad(os.path.basename(name.rstrip("/")), f"cannot be described: {fault.detail}") from error


class Engine:
    """Holds at most one model and one context. `check` raises where the request was cancelled; `progress` says a stage."""

    def __init__(self, check: Callable[[], None], progress: Callable[[str], None]) -> None:
        import torch

        self.check, self.progress = check, progress
        self.memory = Memory()
        self.threads = torch.get_num_threads()  # PyTorch's own choice
        self.source: Source | None = None
        self.model: Any = None
        self.device = "cpu"
        self.warmed: set[tuple[str, str]] = set()  # quantizers and kinds of devices
        self.pinned: dict[str, str] = {}  # names of the hub with the revision that was found first
        self.runner: Runner | None = None

    def default_request(self) -> Request:
        return Request(prefill_threads=self.threads, decode_threads=self.threads)

    # ---- what there is ----

    def find(self, name: str) -> Source:
        """What is measured is what was described, even where the hub has a newer revision by now."""
        with as_bad_model(name):
            source = sources.find(self.pinned.get(name, name))
        if source.revision:
            self.pinned[name] = f"{name.partition('@')[0]}@{source.revision}"
        return source

    def facts(self, source: Source) -> Facts:
        import torch

        devices, missing = machine.devices()
        on_gpu = devices[0] != "cpu"
        kernels = attention.kernels_of(devices[0], source.dtype, attention.Heads(*sources.heads(source)))
        found, why = attention.implementations(sources.model_class(source), on_gpu)
        quantizers, why_not = machine.quantizers(on_gpu)
        window = sources.window_tokens(source)
        if window:
            why_not = {"cache_implementation quantized": "Transformers refuses it for models with window layers"}
        no_compiler = machine.can_compile()
        if no_compiler:
            missing["compile_mode"] = no_compiler
        fixed = getattr(source.config, "quantization_config", None) is not None
        if fixed:
            missing["dtype other than the checkpoint's"] = "the checkpoint is quantized"
        return Facts(
            dtype=source.dtype, fixed_dtype=fixed, devices=tuple(devices), attention=tuple(found), kernels=kernels.works,
            masked_kernels=kernels.masked, taken_kernel=kernels.taken, quantizers=() if window else tuple(quantizers),
            threads=self.threads, window_tokens=window, mkldnn=bool(torch.backends.mkldnn.is_available()),
            compiles=no_compiler is None, missing={**missing, **why, **dict(kernels.missing), **why_not},
        )  # fmt: skip

    def describe(self, name: str) -> dict[str, Any]:
        source = self.find(name)
        with as_bad_model(name):
            facts = self.facts(source)
            knobs, absent = declare(facts)
            return {"model": sources.described(source), "devices": machine.described(list(facts.devices)), "knobs": knobs,
                    "absent": absent, "notes": sources.notes(source)}  # fmt: skip

    # ---- model and context ----

    def load(self, name: str, settings: Settings) -> dict[str, Any]:
        source, rest = self.find(name), dict(settings)
        dtype = take_word(rest, "dtype", DTYPES, source.dtype)
        device = take_word(rest, "device", None, machine.devices()[0][0])
        refuse_rest(rest, "a model")
        device = "cuda:0" if device == "cuda" else device
        self.release_model()
        start = now()
        model = loading.load(source, dtype, device)
        self.source, self.model, self.device = source, model, loading.device_of(model, device)
        taken = now() - start
        effective = {"dtype": str(next(model.parameters()).dtype).removeprefix("torch."), "device": self.device}
        return {"effective": effective, "load_ns": taken, "memory": {"model_bytes": loading.weight_bytes(model)}}

    def prepare(self, settings: Settings, context_tokens: int, sequences: int) -> dict[str, Any]:
        """`context_tokens` is what all sequences hold together."""
        if self.model is None or self.source is None:
            raise out_of_order("prepare before load")
        self.release_context()
        rest, request = dict(settings), self.default_request()
        named = request.take(rest)
        default = "sdpa" if getattr(type(self.model), "_supports_sdpa", False) else "eager"
        context = take_context(rest, default, -(-context_tokens // max(1, sequences)), max(1, sequences))
        limit = sources.context_limit(self.source.text_config)
        if limit and context.capacity_tokens > limit:
            raise Fault("unsupported", f"a context of {context.capacity_tokens} tokens is more than the model's {limit}")
        self.check_device_of(context)
        self.set_attention(context)
        self.warm(context)
        start = now()
        runner = Runner(self.model, context, request, self.check)
        effective, kv_bytes = self.in_force(runner)
        if context.compiled:
            self.progress("compile")
            effective |= self.compiled_in_force(context, runner.compile(), effective)
        self.runner = runner
        memory = {"model_bytes": loading.weight_bytes(self.model), **({} if kv_bytes is None else {"kv_bytes": kv_bytes})}
        effective |= {name: getattr(request, name) for name in named}
        return {"effective": effective, "context_tokens": context_tokens, "prepare_ns": now() - start, "memory": memory}

    def check_device_of(self, context: Context) -> None:
        if "offloaded" in context.cache.implementation and not self.device.startswith(("cuda", "auto")):
            raise Fault("unsupported", f"an {context.cache.implementation} cache: there is no GPU to offload from",
                        knob="cache_implementation")  # fmt: skip

    def warm(self, context: Context) -> None:
        """What a quantizer needs when it is first used: once, and not in a measurement. quanto compiles an extension for each kind of
        device."""
        backend, device = context.cache.quantizer.partition("-")[0], self.device.split(":")[0]
        if backend == "none" or (backend, device) in self.warmed:
            return
        try:
            if backend == "hqq":
                warm.hqq()
            else:
                self.progress("compile")
                warm.quanto("cuda" if device in ("cuda", "auto") else device)
        except Exception as error:
            raise Fault("unsupported", f"{backend} does not work here: {one_line(error)}", knob="cache_quantizer") from error
        self.warmed.add((backend, device))

    def set_attention(self, context: Context) -> None:
        try:
            self.model.set_attn_implementation(context.attn_implementation)
        except (ImportError, ValueError) as error:
            raise Fault("unsupported", one_line(error), knob="attn_implementation") from error

    def in_force(self, runner: Runner) -> tuple[Settings, int | None]:
        """Read back by running a few tokens and watching which operators PyTorch calls; and what the full cache takes."""
        context = runner.context
        cache = runner.new_cache()
        names = attention.operators(lambda: runner.probe(cache, PROBE_TOKENS))
        effective: Settings = {"attn_implementation": self.source_attention(), "compile_mode": "none"}
        effective["sdpa_kernel"] = kernels_named(context, attention.kernels_in(names))
        effective |= caches.in_force(cache, context.cache)
        return effective, caches.full_bytes(cache, context.capacity_tokens)

    def compiled_in_force(self, context: Context, names: set[str], plain: Settings) -> Settings:
        """The same of the compiled decode, from the operators it calls. The plain kernel is none: it is compiled with the rest, whereas
        a fused one is called."""
        if not names:  # the decode is not compiled; flex_attention compiles itself
            return {}
        effective: Settings = {"compile_mode": context.compile_mode}
        if plain["sdpa_kernel"] == context.sdpa_kernel and self.source_attention() == "sdpa":
            effective["sdpa_kernel"] = kernels_named(context, attention.kernels_in(names) or ["math"])
        return effective

    def source_attention(self) -> str:
        config = self.model.config.get_text_config(decoder=True)
        return str(config._attn_implementation)

    # ---- letting go ----

    def release_context(self) -> None:
        if self.runner is not None:
            self.runner.forget()
        self.runner = None

    def release_model(self) -> None:
        self.release_context()
        self.model = self.source = None
        self.memory.give_back()
