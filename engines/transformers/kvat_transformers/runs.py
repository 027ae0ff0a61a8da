"""Runs: prefill, decode, and coming back to a depth; each token's time is when the caller could have it.

Must not know of JSON or of models on disk. Times are nanoseconds of the monotonic clock; the device is waited for before each is taken.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from . import attention
from .caches import Depth
from .messages import Mark
from .settings import Context, Request
from .wire import Fault, fault_of, one_line

now = time.monotonic_ns
NO_LIMIT_NS = 1 << 62
WARM_TOKENS = 5  # under CUDA graphs the first steps after a prefill are recorded


@contextmanager
def onednn(enabled: bool) -> Iterator[None]:
    """Turns only this one thing: torch.backends.mkldnn.flags would change precisions, too."""
    import torch

    before = torch.backends.mkldnn.enabled
    torch.backends.mkldnn.enabled = enabled
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = before


def compilations() -> int:
    """Frames that Dynamo has compiled in this process so far."""
    from torch._dynamo.utils import counters

    return int(counters["frames"]["ok"])


class TimedOut(Exception):
    """The run's limit has passed."""


@dataclass
class Burst:
    """The clock at each token; and the tokens, a list for each sequence."""

    token_ns: list[int]
    tokens: list[list[int]]


@dataclass
class Measured:
    """What came of a mark."""

    prompt_tokens: int
    ttft_ns: int
    bursts: list[Burst] = field(default_factory=list)


class Runner:
    """Runs one context of a model. Every prefill starts with an empty cache and is done as `generate` does it, in one piece or in
    chunks, so that marks cost one prefill each: stopping on the way to a deeper one would measure another computation."""

    def __init__(self, model: Any, context: Context, request: Request, check: Callable[[], None]) -> None:
        self.model, self.context, self.request, self.check = model, context, request, check
        self.config = model.config.get_text_config(decoder=True)
        embedding = model.get_input_embeddings()
        self.device = embedding.weight.device if embedding is not None else next(model.parameters()).device
        self.last_only = {"logits_to_keep": 1} if model._supports_logits_to_keep() else {}
        self.compiled: Any = None
        self.compiled_mkldnn = ""
        self.compiled_for: set[tuple[Any, ...]] = set()
        self.likely: Any = None  # logits of the tokens that came last
        self.seen: dict[str, Any] = {}  # settings of request scope as they were in force
        self.deadline = NO_LIMIT_NS

    def forget(self) -> None:
        if self.compiled is not None:
            self.drop_compiled()

    def drop_compiled(self) -> None:
        """Forgets what was compiled. Neither Dynamo nor the cache of AOTAutograd on disk looks at which kernels are allowed: they would
        take the code of one context, or code for any shape, in another."""
        import torch
        import torch._functorch.config as aot

        aot.enable_autograd_cache = False
        self.compiled = None
        self.compiled_for.clear()
        self.model.__dict__.pop("_compiled_call", None)
        torch._dynamo.reset()

    # ---- what a run is made of ----

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Threads, oneDNN, kernel and gradient mode of a phase; for the decode, experts as `generate` has them there."""
        import torch

        request = self.request
        threads = request.prefill_threads if name == "prefill" else request.decode_threads
        mkldnn = request.prefill_mkldnn if name == "prefill" else request.decode_mkldnn
        grad = torch.inference_mode() if request.grad_mode == "inference_mode" else torch.no_grad()
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        experts = getattr(self.model, "_optimize_model_for_decode", nullcontext) if name == "decode" else nullcontext
        with grad, attention.kernel(self.context.sdpa_kernel), onednn(mkldnn == "on"), experts():
            self.seen[f"{name}_threads"] = torch.get_num_threads()
            self.seen[f"{name}_mkldnn"] = "on" if torch.backends.mkldnn.enabled else "off"
            self.seen["grad_mode"] = "inference_mode" if torch.is_inference_mode_enabled() else "no_grad"
            yield

    def new_cache(self) -> Any:
        """Empty. Raises `unsupported` for a model that cannot have it."""
        try:
            return self.context.cache.make(self.config, self.context.capacity_tokens)
        except (ImportError, ValueError) as error:
            raise Fault("unsupported", one_line(error), knob="cache_implementation") from error

    def next_tokens(self, ids: Any, cache: Any, decoding: bool = False) -> Any:
        """Feeds `ids` (sequences × tokens, on the device) and gives the most likely next tokens (sequences × 1), not waiting."""
        if self.compiled is None or not decoding:
            output = self.model(ids, past_key_values=cache, use_cache=True, **self.last_only)
        else:  # as `generate` calls it, with the masks made outside of what is compiled
            inputs = self.model.prepare_inputs_for_generation(ids, past_key_values=cache, use_cache=True, **self.last_only)
            output = self.compiled(**inputs, return_dict=True)
        self.likely, tokens = output.logits[:, -1].max(dim=-1, keepdim=True)
        return tokens

    def check_numbers(self) -> None:
        """Not while times are taken. A largest logit that is no number is what becomes of any other that is none, and stays so for the
        tokens after it: a type too narrow for the model, or weights that are broken."""
        if not self.likely.isfinite().all():
            kind, quantizer = str(self.model.dtype).removeprefix("torch."), self.context.cache.quantizer
            words = "" if quantizer == "none" else f" and a cache in {quantizer}"
            raise Fault("unsupported", f"the model's output is not a number (NaN or infinite) in {kind}{words}",
                        knob="cache_quantizer" if words else "dtype")  # fmt: skip

    def batch(self, ids: list[int]) -> Any:
        import torch

        return torch.tensor([ids], device=self.device).expand(self.context.sequences, -1).contiguous()

    def check_time(self) -> None:
        self.check()
        if now() > self.deadline:
            raise TimedOut

    def prefill(self, ids: list[int], cache: Any) -> Any:
        """The first tokens, on the device."""
        whole = self.batch(ids)
        tokens = whole[:, -1:]
        for chunk in whole.split(self.request.prefill_chunk_size or len(ids), dim=-1):
            self.check_time()
            tokens = self.next_tokens(chunk, cache)
        return tokens

    def decode(self, first: Any, start_ns: int, count: int, cache: Any) -> Burst:
        """`count` tokens, of which `first` were there at `start_ns`."""
        tokens, times, taken = first, [start_ns], [first.tolist()]
        while len(times) < count:
            tokens = self.next_tokens(tokens, cache, decoding=True)
            taken.append(tokens.tolist())  # waits for the device
            times.append(now())
            self.check_time()
        return Burst(times, [[each[row][0] for each in taken] for row in range(len(taken[0]))])

    # ---- before anything is timed ----

    def probe(self, cache: Any, tokens: int) -> None:
        """A few tokens of prefill and one of decode."""
        with self.phase("prefill"):
            first = self.next_tokens(self.batch([1] * min(tokens, self.context.capacity_tokens - 1)), cache)
        with self.phase("decode"):
            self.next_tokens(first, cache).tolist()
        self.check_numbers()

    def compile(self) -> set[str]:
        """Compiles the decode, or the attention that compiles itself, by a short run. Names of the operators that a compiled decode
        calls; none where nothing was compiled."""
        names: set[str] = set()
        if self.context.compile_mode != "none":
            self.compile_anew()
            names = self.compiled_operators()
        short = min(64, self.context.capacity_tokens - WARM_TOKENS)
        if short > 0:
            self.compile_for([1] * short, [Mark(short, WARM_TOKENS)])
        return names

    def compile_anew(self) -> None:
        """With oneDNN as the request has it, which Dynamo does not look at either."""
        from transformers import CompileConfig

        self.drop_compiled()
        self.compiled = self.model.get_compiled_call(CompileConfig(mode=self.context.compile_mode))
        self.compiled_mkldnn = self.request.decode_mkldnn

    def compiled_operators(self) -> set[str]:
        """Of the first step that compiled nothing: compiling calls other ones, and a replayed CUDA graph calls none. Empty where no step
        compiled anything, as when it silently ran as it was."""
        cache = self.new_cache()
        with self.phase("prefill"):
            tokens = self.next_tokens(self.batch([1]), cache)
        first = compilations()
        for _ in range(min(WARM_TOKENS, self.context.capacity_tokens - 2)):
            before = compilations()
            with self.phase("decode"):
                names = attention.operators(lambda: self.next_tokens(tokens, cache, decoding=True).tolist())
            if compilations() == before:
                return names if before > first else set()
        return set()

    def compile_for(self, ids: list[int], marks: list[Mark]) -> None:
        """One untimed pass for what has not been compiled yet: compiled code is bound to threads and the like, and that of
        flex_attention to lengths."""
        if not self.context.compiled:
            return
        if self.context.compile_mode != "none" and self.request.grad_mode != "no_grad":
            raise Fault("unsupported", "compiled for no_grad", knob="grad_mode")
        if self.context.compile_mode != "none" and self.request.prefill_chunk_size:  # `generate` would compile the chunks, too
            raise Fault("unsupported", "compiled for a prefill in one piece", knob="prefill_chunk_size")
        if self.compiled is not None and self.compiled_mkldnn != self.request.decode_mkldnn:
            self.compile_anew()
        self.deadline = NO_LIMIT_NS  # of runs; compiling is none
        for mark in marks:
            length = mark.prompt_tokens if self.context.attn_implementation == "flex_attention" else 0
            count = min(WARM_TOKENS, self.context.capacity_tokens - mark.prompt_tokens)
            key = (length, count, *vars(self.request).values())
            if key not in self.compiled_for:
                self.measure(ids[: mark.prompt_tokens], Mark(mark.prompt_tokens, count))
                self.compiled_for.add(key)

    # ---- measuring ----

    def measure(self, ids: list[int], mark: Mark) -> Measured:
        """A prefill of `ids` into an empty cache and the bursts of `mark`."""
        start = now()
        cache = self.new_cache()
        with self.phase("prefill"):
            first = self.prefill(ids, cache)
            first.tolist()
            ready = now()
        result = Measured(len(ids), ready - start)
        with self.phase("decode"):
            depth = Depth(cache, mark.output_tokens) if mark.repeats > 1 else None
            began = ready if depth is None else now()
            result.bursts.append(self.decode(first, began, mark.output_tokens, cache))
            for _ in range(mark.repeats - 1 if depth is not None and depth.possible else 0):
                depth.back()
                first.tolist()
                result.bursts.append(self.decode(first, now(), mark.output_tokens, cache))
        return result

    def run(self, ids: list[int], marks: list[Mark], limit_ns: int) -> tuple[int, list[Measured]]:
        """The start, and what came of each mark. Raises TimedOut."""
        self.seen = {"prefill_chunk_size": self.request.prefill_chunk_size}
        self.compile_for(ids, marks)
        start = now()
        self.deadline = start + limit_ns if limit_ns > 0 else NO_LIMIT_NS
        try:
            measured = [self.measure(ids[: mark.prompt_tokens], mark) for mark in marks]
            self.check_numbers()
            return start, measured
        except RuntimeError as error:
            fault = fault_of(error)
            if fault.kind == "internal" and self.context.cache.quantizer != "none":  # a length it cannot pack, say
                quantizer = self.context.cache.quantizer
                raise Fault("unsupported", f"{quantizer} fails on this shape: {one_line(error)}", knob="cache_quantizer") from error
            raise
