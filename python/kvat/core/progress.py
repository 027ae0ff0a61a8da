"""What a run says while it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .display import plain


@dataclass(frozen=True)
class Progress:
    """An event of `kvat tune --progress json`; `data` is all of it (schemas/event.schema.json).

    `event` is heading, note, warning, stage, trial, confirm, estimate or file. What an event does not have is None.
    """

    event: str
    text: str | None = None  # of a note, warning, stage, file
    trial: int | None = None  # runs by now
    label: str | None = None  # configuration that ran
    status: str | None = None  # "ok", or why there are no figures
    score: float | None = None  # 100 is the default's
    ttft_s: float | None = None
    decode_tok_per_s: float | None = None
    leader: str | None = None  # what looks best by now
    p_good: float | None = None  # chance that it is within delta of the best
    configs: int | None = None
    survivors: int | None = None  # not ruled out
    pair: int | None = None  # of `pairs` that confirm
    pairs: int | None = None
    elapsed_s: float | None = None
    remaining_s: tuple[float, float] | None = None  # least and most
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def from_json(cls, event: Mapping[str, Any]) -> Progress:
        same: dict[str, Any] = {name: event[name] for name in cls.__dataclass_fields__ if name in event}
        low, high = event.get("remaining_low_ns"), event.get("remaining_high_ns")
        elapsed = event.get("elapsed_ns")
        return cls(
            **same,
            elapsed_s=None if elapsed is None else elapsed / 1e9,
            remaining_s=None if low is None or high is None else (low / 1e9, high / 1e9),
            data=event,
        )

    def __str__(self) -> str:
        """One line."""
        if self.event == "file":
            return f"written: {plain(self.text or '')}"
        if self.event == "estimate" and self.remaining_s is not None:
            return f"{self.remaining_s[0]:.0f} to {self.remaining_s[1]:.0f} s left"
        if self.event not in ("trial", "confirm"):
            return plain(self.text or self.event)
        head = f"trial {self.trial}" if self.event == "trial" else f"confirm pair {self.pair} of up to {self.pairs}"
        parts = [f"{head}: {plain(self.label or '')}"]
        if self.status != "ok":
            detail = self.data.get("detail")
            parts.append((self.status or "failed") + (f" ({plain(detail)})" if detail else ""))
        elif self.score is not None:
            parts.append(f"score {self.score:.0f}")
        if self.leader is not None:
            parts.append(f"ahead: {plain(self.leader)}")
        return ", ".join(parts)
