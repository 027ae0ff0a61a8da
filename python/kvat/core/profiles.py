"""Workload profiles: those built into kvat, asked of it, and one's own."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from .._program import ask
from ..errors import UsageError
from .schema import WorkloadProfile


@functools.cache
def _built_in() -> dict[str, WorkloadProfile]:
    return {entry["name"]: WorkloadProfile.from_json(entry) for entry in ask(["profiles"])["profiles"]}


def list_profiles() -> list[str]:
    """Names of the built-in profiles."""
    return list(_built_in())


def get_profile(name: str) -> WorkloadProfile:
    """A built-in profile. Raises `UsageError` for an unknown name."""
    try:
        return _built_in()[name]
    except KeyError:
        raise UsageError(f"unknown profile {name!r} (known: {', '.join(_built_in())})") from None


def create_custom_profile(
    name: str,
    context_lengths: Sequence[int],
    output_lengths: Sequence[int],
    weight_ttft: float = 0.5,
    weight_throughput: float = 0.35,
    weight_memory: float = 0.15,
    *,
    description: str = "",
    batch_sizes: Sequence[int] = (1,),
    runs: int = 1,
    warmup: int = 0,
) -> WorkloadProfile:
    """A profile of your own.

    Every prompt length is measured with every output length, all in tokens. The weights of time to first token, decode
    speed and memory sum to 1. `batch_sizes` are numbers of equal prompts at once, `runs` the least measured runs of every
    survivor. What contradicts itself is refused when a search begins. A profile with more to say (uneven cells, prompts of
    your own, limits) is a JSON file, given to `TuneConfig` by its path.
    """
    return WorkloadProfile(
        name=name,
        context_lengths=tuple(context_lengths),
        output_lengths=tuple(output_lengths),
        weight_ttft=weight_ttft,
        weight_throughput=weight_throughput,
        weight_memory=weight_memory,
        description=description,
        batch_sizes=tuple(batch_sizes),
        runs=runs,
        warmup=warmup,
    )
