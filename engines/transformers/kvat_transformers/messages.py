"""Requests and answers of docs/protocol.md that are the same for every worker written in Python.

Must not know of any engine. Times are nanoseconds of the worker's clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .prompts import token_ids
from .wire import Fault, Params, out_of_order


@dataclass
class Mark:
    """Decode `output_tokens` from this depth, `repeats` times."""

    prompt_tokens: int
    output_tokens: int
    repeats: int = 1


Depth = tuple[int, list[list[int]]]  # of a mark: time of the prefill up to it, and the clock at each token of each burst


def greet(params: Params, greeted: bool) -> None:
    """Raises the answer to an `initialize` that comes again, or that wants another protocol."""
    if greeted:
        raise out_of_order("a second initialize")
    protocol = params.get("protocol", {})
    if not protocol.get("min", 1) <= 1 <= protocol.get("max", 1):
        raise Fault("unsupported", "this worker speaks protocol 1", code=-32001)


@dataclass(frozen=True)
class Run:
    """What a `run` asks for. Without marks it has one, at the end of the prompt."""

    ids: list[int]
    marks: list[Mark]
    marked: bool  # whether the request named marks
    settings: dict[str, Any]
    limit_ns: int  # 0: none
    sequences: int

    @classmethod
    def of(cls, params: Params, capacity_tokens: int, sequences: int) -> Run:
        """Raises what cannot be had in a context of so many sequences, each of so many tokens."""
        phase = params.get("phase", "full")
        if phase == "decode" or "tokens" not in params:
            raise Fault("unsupported", "this worker does not decode apart from the prefill")
        if int(params.get("sequences", sequences)) != sequences:
            raise Fault("invalid_setting", f"this context has {sequences} sequences")
        ids = token_ids(params["tokens"])
        asked = [Mark(mark["prompt_tokens"], mark["output_tokens"], mark.get("repeats", 1)) for mark in params.get("marks", [])]
        marks = asked or [Mark(len(ids), 1 if phase == "prefill" else int(params["output_tokens"]))]
        depths = [mark.prompt_tokens for mark in marks]
        if depths != sorted(set(depths)) or depths[-1] > len(ids):
            raise Fault("invalid_setting", f"marks {depths} do not ascend to at most {len(ids)}, the length of the prompt")
        deepest = max(mark.prompt_tokens + mark.output_tokens for mark in marks)
        if deepest > capacity_tokens:
            raise Fault("invalid_setting", f"{deepest} tokens do not fit into {capacity_tokens}")
        return cls(ids, marks, bool(asked), dict(params.get("settings", {})), int(params.get("limit_ns", 0)), sequences)

    def result(self, start_ns: int, effective: Mapping[str, Any], depths: Sequence[Depth]) -> Params:
        """The answer, where every mark was reached. All sequences get their tokens at once."""

        def sequences(mark: Mark, token_ns: list[int]) -> Params:
            one = {"prompt_tokens": mark.prompt_tokens, "token_ns": token_ns, "finish": "length"}
            return {"sequences": [one] * self.sequences}

        marks = []
        for mark, (ttft_ns, bursts) in zip(self.marks, depths, strict=True):
            first, *more = (sequences(mark, token_ns) for token_ns in bursts)
            marks.append({"prompt_tokens": mark.prompt_tokens, "ttft_ns": ttft_ns, **first, **({"bursts": more} if more else {})})
        told = {"marks": marks} if self.marked else {"sequences": marks[0]["sequences"]}
        return {"status": "ok", "start_ns": start_ns, "effective": dict(effective), **told}


def timeout(now_ns: int) -> Params:
    """The answer of a run past its limit."""
    return {"status": "timeout", "start_ns": now_ns}
