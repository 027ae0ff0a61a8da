"""KV caches: making one as `generate` does, how much it holds, and going back to an earlier depth.

Must not know of prompts or times. Lengths are tokens of one sequence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

QUANTIZERS = {"quanto": (4, 2), "hqq": (8, 4, 2)}  # back ends and their bits
RESIDUAL_TOKENS = 128  # of a quantized cache, the default of Transformers
CLASSES = {"dynamic": "DynamicCache", "offloaded": "DynamicCache", "static": "StaticCache",
           "offloaded_static": "StaticCache", "quantized": "QuantizedCache"}  # fmt: skip


@dataclass(frozen=True)
class CacheKind:
    """Settings that make a cache; `quantizer` is BACKEND-BITS or "none"."""

    implementation: str = "dynamic"
    quantizer: str = "none"
    group_size: int = 64

    def make(self, config: Any, capacity_tokens: int) -> Any:
        """An empty cache; static ones hold `capacity_tokens`. `config` is that of the text model."""
        from transformers import DynamicCache, QuantizedCache, StaticCache

        if self.implementation in ("dynamic", "offloaded"):
            return DynamicCache(config=config, offloading=self.implementation == "offloaded")
        if self.implementation in ("static", "offloaded_static"):
            offloading = self.implementation == "offloaded_static"
            return StaticCache(config=config, max_cache_len=capacity_tokens, offloading=offloading)
        backend, _, bits = self.quantizer.partition("-")
        axis = 1 if backend == "hqq" else 0
        return QuantizedCache(backend, config, nbits=int(bits), axis_key=axis, axis_value=axis,
                              q_group_size=self.group_size, residual_length=RESIDUAL_TOKENS)  # fmt: skip


def in_force(cache: Any, asked: CacheKind) -> dict[str, str | int]:
    """What the cache is, read from its layers."""
    layer = cache.layers[0]
    offloaded = bool(getattr(cache, "offloading", False))
    names = [name for name, kind in CLASSES.items() if kind == type(cache).__name__ and ("offloaded" in name) == offloaded]
    effective: dict[str, str | int] = {"cache_implementation": names[0] if names else type(cache).__name__}
    backend = {"QuantoQuantizedLayer": "quanto", "HQQQuantizedLayer": "hqq"}.get(type(layer).__name__)
    effective["cache_quantizer"] = f"{backend}-{layer.nbits}" if backend else "none"
    effective["cache_group_size"] = layer.q_group_size if backend else asked.group_size
    return effective


def full_bytes(cache: Any, capacity_tokens: int) -> int | None:
    """What a cache that has seen a few tokens will take when it holds `capacity_tokens`; None where that is not known."""
    total = 0
    for layer in cache.layers:
        kind, keys, values = type(layer).__name__, getattr(layer, "keys", None), getattr(layer, "values", None)
        if kind not in ("DynamicLayer", "DynamicSlidingWindowLayer", "StaticLayer", "StaticSlidingWindowLayer") or keys is None:
            return None
        a_token = sum(tensor.element_size() * tensor.numel() // tensor.shape[-2] for tensor in (keys, values))
        tokens = capacity_tokens if kind != "DynamicSlidingWindowLayer" else min(capacity_tokens, layer.sliding_window - 1)
        total += a_token * (keys.shape[-2] if kind.startswith("Static") else tokens)
    return total


class Depth:
    """A depth to come back to. Only where that is exact and holds no second cache, which would count into the peak."""

    def __init__(self, cache: Any, output_tokens: int) -> None:
        """`output_tokens` is the most that will be decoded before coming back. See `possible`."""
        self.cache = cache
        self.output_tokens = output_tokens
        self.tokens = int(cache.get_seq_length())
        self.possible = all(self._can(layer) for layer in cache.layers)
        self.kept = [self._keep(layer) for layer in cache.layers] if self.possible else []

    def _can(self, layer: Any) -> bool:
        kind = type(layer).__name__
        if kind in ("DynamicLayer", "StaticLayer"):
            return True
        if kind == "DynamicSlidingWindowLayer":  # until the window is full nothing is dropped
            return self.tokens + self.output_tokens < int(layer.sliding_window)
        if kind == "StaticSlidingWindowLayer":
            return self.tokens + self.output_tokens <= int(layer.max_cache_len)
        if kind in ("QuantoQuantizedLayer", "HQQQuantizedLayer"):  # until the residual is full nothing is quantized anew
            residual = layer.keys.shape[-2] if layer.keys.dim() == 4 else 0
            return bool(residual + self.output_tokens < layer.residual_length)
        return False

    @staticmethod
    def _keep(layer: Any) -> dict[str, Any]:
        """Layers that replace their tensors keep the old ones; those written in place only know their length."""
        kind = type(layer).__name__
        if kind.startswith("Static"):
            kept = {"cumulative_length": int(layer.cumulative_length)}
            if hasattr(layer, "cumulative_length_int"):
                kept["cumulative_length_int"] = layer.cumulative_length_int
            return kept
        if kind.startswith("Dynamic"):
            return {name: getattr(layer, name) for name in ("cumulative_length",) if hasattr(layer, name)}
        return {name: getattr(layer, name) for name in
                ("keys", "values", "_quantized_keys", "_quantized_values", "cumulative_length")}  # fmt: skip

    def back(self) -> None:
        """Only where `possible`."""
        for layer, kept in zip(self.cache.layers, self.kept, strict=True):
            for name, value in kept.items():
                if name == "cumulative_length" and type(layer).__name__.startswith("Static"):
                    layer.cumulative_length.fill_(value)
                else:
                    setattr(layer, name, value)
            if type(layer).__name__.startswith("Dynamic"):
                layer.keys = layer.keys[..., : self.tokens, :]
                layer.values = layer.values[..., : self.tokens, :]
