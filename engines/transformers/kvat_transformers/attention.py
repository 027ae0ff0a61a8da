"""Attention: which implementations and kernels there are, taking one, and seeing which one ran.

Must not know of caches or times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from . import machine
from .wire import one_line

BACKENDS = {"flash": "FLASH_ATTENTION", "efficient": "EFFICIENT_ATTENTION", "cudnn": "CUDNN_ATTENTION", "math": "MATH"}
# What the dispatcher calls them, by part of the operator's name.
OPERATORS = {"flash": "_dot_product_flash_attention", "efficient": "_dot_product_efficient_attention",
             "cudnn": "_dot_product_cudnn_attention", "math": "_dot_product_attention_math"}  # fmt: skip


@contextmanager
def kernel(name: str) -> Iterator[None]:
    """Only this kernel; PyTorch raises where it cannot be had, and never takes another one instead."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    if name == "auto":
        yield
    else:
        with sdpa_kernel([getattr(SDPBackend, BACKENDS[name])]):
            yield


def operators(run: Callable[[], Any]) -> set[str]:
    """Names of the operators that `run()` called, by PyTorch's profiler: one that is made of others shows, too."""
    from torch.autograd.profiler import profile

    with profile(use_kineto=False) as seen:
        run()
    return {event.name for event in seen.function_events}


def kernels_in(names: set[str]) -> list[str]:
    """The kernels of scaled dot product attention among names of operators. Where a fused one is called it has a name of its own;
    the plain one may be called past the dispatcher, and is then seen by its softmax."""
    found = [kind for kind, part in OPERATORS.items() if any(part in name for name in names)]
    called = any(name.endswith("::scaled_dot_product_attention") for name in names)
    if not found and called and any(name.endswith(("_safe_softmax", "_softmax")) for name in names):
        found = ["math"]
    return found


@dataclass(frozen=True)
class Heads:
    """Of a model's attention."""

    query: int
    key_value: int
    size: int


@dataclass(frozen=True)
class Kernels:
    """Those that work for a model's heads: with and without a mask, and the one PyTorch takes by itself."""

    works: tuple[str, ...] = ()
    masked: tuple[str, ...] = ()  # also with a mask, as static caches and windows need
    taken: str | None = None
    missing: tuple[tuple[str, str], ...] = ()  # and the reason


def kernels_of(device: str, dtype: str, heads: Heads) -> Kernels:
    """Found out by running a small attention on `device` as Transformers does for these heads: a prefill, a token of decode, and
    both with a mask."""
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    module: Any = SimpleNamespace(num_key_value_groups=heads.query // heads.key_value, is_causal=True, training=False)
    kind, length = getattr(torch, dtype), 16
    query = torch.ones(1, heads.query, length, heads.size, dtype=kind, device=device)
    keys = torch.ones(1, heads.key_value, length, heads.size, dtype=kind, device=device)
    mask = torch.ones(1, 1, length, length, dtype=torch.bool, device=device)

    def attend(mask: Any = None) -> None:
        with torch.no_grad():
            for rows in (length, 1):
                sdpa_attention_forward(module, query[:, :, -rows:], keys, keys, None if mask is None else mask[:, :, -rows:])

    works, masked, missing = [], [], []
    for name in BACKENDS:
        try:
            with kernel(name):
                attend()
                works.append(name)
                attend(mask)
                masked.append(name)
        except (RuntimeError, AttributeError) as error:
            if name not in works:
                reason = "" if "o viable backend" in str(error) else f": {one_line(error, 80)}"
                shape = f"{dtype}, {heads.query} heads on {heads.key_value}" if heads.query != heads.key_value else dtype
                missing.append((f"sdpa_kernel {name}", f"PyTorch has no such kernel on {device} for {shape}{reason}"))
    taken = kernels_in(operators(attend))
    return Kernels(tuple(works), tuple(masked), taken[0] if taken else None, tuple(missing))


def implementations(model_class: Any, on_gpu: bool) -> tuple[list[str], dict[str, str]]:
    """Those of Transformers that this model class has and that can be imported here, and why the others are not."""
    found, missing = [], {}
    for name, member in (("sdpa", "_supports_sdpa"), ("eager", ""), ("flex_attention", "_supports_flex_attn")):
        if member and not getattr(model_class, member, False):
            missing[f"attn_implementation {name}"] = "this architecture does not have it in Transformers"
        else:
            found.append(name)
    if "flex_attention" in found and not on_gpu:
        found.remove("flex_attention")
        missing["attn_implementation flex_attention"] = "compiles for each length, and pays on a GPU only"
    for name, package in (("flash_attention_2", "flash_attn"), ("flash_attention_3", "flash_attn_interface")):
        if not getattr(model_class, "_supports_flash_attn", False):
            missing[f"attn_implementation {name}"] = "this architecture does not have it in Transformers"
        elif not on_gpu:
            missing[f"attn_implementation {name}"] = "needs a CUDA device"
        elif not machine.installed(package):
            missing[f"attn_implementation {name}"] = f"the package {package} is not installed"
        else:
            found.append(name)
    missing["attn_implementation xformers"] = "no attention of Transformers 5; its kernel is sdpa_kernel efficient"
    return found, missing
