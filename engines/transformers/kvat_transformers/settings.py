"""Settings as a request gives them, checked and with Transformers' own defaults. Must not know what they do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .attention import BACKENDS
from .caches import QUANTIZERS, CacheKind
from .knobs import COMPILE_MODES
from .wire import Fault

Settings = dict[str, Any]
QUANTIZER_NAMES = [f"{backend}-{bits}" for backend, each in QUANTIZERS.items() for bits in each]


def invalid(name: str, text: str) -> Fault:
    return Fault("invalid_setting", f"{name}: {text}", knob=name)


def take_word(settings: Settings, name: str, words: tuple[str, ...] | None, default: str) -> str:
    """Takes a setting that is one of `words`, or any text."""
    value = settings.pop(name, default)
    if not isinstance(value, str) or (words is not None and value not in words):
        raise invalid(name, f"{value!r} is not one of {', '.join(words or ('…',))}")
    return value


def take_number(settings: Settings, name: str, low: int, default: int) -> int:
    value = settings.pop(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise invalid(name, f"{value!r} is no number of at least {low}")
    return value


def refuse_rest(settings: Settings, scope: str) -> None:
    for name in settings:
        raise invalid(name, f"no setting of {scope}")


@dataclass
class Request:
    """Settings of request scope. They hold until changed."""

    prefill_threads: int = 1
    decode_threads: int = 1
    prefill_mkldnn: str = "on"
    decode_mkldnn: str = "on"
    prefill_chunk_size: int = 0
    grad_mode: str = "no_grad"

    def take(self, settings: Settings) -> list[str]:
        """Takes what is there out of `settings`, and says what it was. Nothing is taken when something is wrong."""
        names = [name for name in self.__dataclass_fields__ if name in settings]
        values: Settings = {}
        for name in names:
            if name.endswith("_threads"):
                values[name] = take_number(settings, name, 1, 1)
            elif name == "prefill_chunk_size":
                values[name] = take_number(settings, name, 0, 0)
            else:
                words = ("no_grad", "inference_mode") if name == "grad_mode" else ("on", "off")
                values[name] = take_word(settings, name, words, words[0])
        for name, value in values.items():
            setattr(self, name, value)
        return names


@dataclass(frozen=True)
class Context:
    """Settings of context scope, and its size. `capacity_tokens` is what one sequence may hold."""

    attn_implementation: str = "sdpa"
    sdpa_kernel: str = "auto"
    cache: CacheKind = field(default_factory=CacheKind)
    compile_mode: str = "none"
    capacity_tokens: int = 0
    sequences: int = 1

    @property
    def compiled(self) -> bool:
        """Whether something is compiled that is not to be counted."""
        return self.compile_mode != "none" or self.attn_implementation == "flex_attention"


def take_context(settings: Settings, default_attention: str, capacity_tokens: int, sequences: int) -> Context:
    """Takes all of `settings`. Raises `invalid_setting`."""
    attention = take_word(settings, "attn_implementation", None, default_attention)
    kernel = take_word(settings, "sdpa_kernel", ("auto", *BACKENDS), "auto")
    words = ("dynamic", "static", "sliding_window", "offloaded", "offloaded_static", "quantized")
    implementation = take_word(settings, "cache_implementation", words, "dynamic")
    quantizer = take_word(settings, "cache_quantizer", ("none", *QUANTIZER_NAMES), "none")
    group_size = take_number(settings, "cache_group_size", 1, 64)
    mode = take_word(settings, "compile_mode", COMPILE_MODES, "none")
    refuse_rest(settings, "a context")
    if (implementation == "quantized") != (quantizer != "none"):
        raise invalid("cache_quantizer", "a quantized cache needs one, and no other cache has one")
    if kernel != "auto" and attention != "sdpa":
        raise invalid("sdpa_kernel", f"attn_implementation {attention} has no kernels to choose from")
    if mode != "none" and implementation != "static":
        raise invalid("compile_mode", f"a {implementation} cache changes its size, and would be compiled at each token")
    # The name of old for what is now the static cache, whose window layers hold no more than the window.
    implementation = "static" if implementation == "sliding_window" else implementation
    return Context(attention, kernel, CacheKind(implementation, quantizer, group_size), mode, capacity_tokens, sequences)
