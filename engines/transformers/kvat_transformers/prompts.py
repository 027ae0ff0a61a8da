"""Prompts from a seed, the same in every worker (docs/protocol.md, `run`)."""

from __future__ import annotations

from typing import Any

MASK = (1 << 64) - 1


def split_mix(state: int) -> tuple[int, int]:
    """The next state and output of SplitMix64 (G. Steele, D. Lea, C. Flood 2014)."""
    state = (state + 0x9E3779B97F4A7C15) & MASK
    z = state
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return state, z ^ (z >> 31)


def token_ids(tokens: dict[str, Any]) -> list[int]:
    """Ids as given, or `count` of low + (next mod (high - low))."""
    if "ids" in tokens:
        return [int(token) for token in tokens["ids"]]
    state, ids = int(tokens["seed"]) & MASK, []
    low, width = int(tokens["low"]), int(tokens["high"]) - int(tokens["low"])
    for _ in range(int(tokens["count"])):
        state, value = split_mix(state)
        ids.append(low + value % width)
    return ids
