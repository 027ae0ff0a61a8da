"""What a run found, as data. Nothing here is computed: every figure is one of the plan's."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import BadDataError
from .schema import PathLike, Value

Decision = Literal["winner", "default", "undecided", "infeasible"]


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval. None is what is not known, such as the bounds after a single run."""

    value: float | None
    low: float | None
    high: float | None

    @classmethod
    def from_json(cls, interval: Mapping[str, float | None]) -> Interval:
        return cls(interval["value"], interval["low"], interval["high"])


@dataclass(frozen=True)
class Cell:
    """Figures of one combination of lengths."""

    prompt_tokens: int
    output_tokens: int
    sequences: int
    weight: float
    ttft_s: Interval
    decode_tok_per_s: Interval


@dataclass(frozen=True)
class Figures:
    """Of one configuration. `score` is 100 for the default; over several cells, speeds are weighted geometric means."""

    score: Interval | None
    ttft_s: float | None
    decode_tok_per_s: float | None
    peak_bytes: int | None
    runs: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Gain:
    """Ratios to the reference from fresh, interleaved pairs of runs: of `ttft` and `peak`, below 1 is better."""

    against: str  # "default" or "first that works"
    pairs: int
    score: Interval
    ttft: Interval
    decode: Interval
    peak: Interval


@dataclass(frozen=True)
class Confidence:
    """`p_good`: chance that the configuration is within `delta` of the best of `of`. None is what is not known."""

    p_good: float | None
    p_best: float | None
    delta: float | None
    of: int
    measured: int
    trials: int
    failed_trials: int
    elapsed_s: float


@dataclass(frozen=True)
class Candidate:
    """A configuration that works, in the ranking."""

    rank: int
    label: str
    settings: Mapping[str, Value]
    lossy: bool
    score: Interval | None
    ttft_s: float | None
    decode_tok_per_s: float | None
    peak_bytes: int | None


@dataclass(frozen=True)
class Plan:
    """A plan, as `best_plan.json` holds it. `data` is all of it, the rest what is most asked for."""

    data: Mapping[str, Any]

    @classmethod
    def read(cls, path: PathLike) -> Plan:
        """From a file, or a folder of results. Raises `BadDataError` when it is no plan of this version of the format."""
        file = Path(path)
        file = file / "best_plan.json" if file.is_dir() else file
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise BadDataError(f"{os.fspath(path)}: {why}") from None
        return cls.of(data, os.fspath(path))

    @classmethod
    def of(cls, data: Any, where: str = "plan") -> Plan:
        """From a JSON document. Raises `BadDataError` as `read` does."""
        found = data.get("format") if isinstance(data, Mapping) else None
        if found != "kvat-plan/1":
            raise BadDataError(f"{where}: not a kvat plan (its format is {found!r}, not 'kvat-plan/1')")
        return cls(data)

    @property
    def decision(self) -> Decision:
        decision: Decision = self.data.get("decision", "undecided")
        return decision

    @property
    def decided(self) -> bool:
        """Whether the settings are an answer and not merely what looked best when the budget ended."""
        return self.decision in ("winner", "default")

    @property
    def why(self) -> str:
        return self.data.get("why") or ""

    @property
    def engine(self) -> str:
        name: str = self.data["engine"]["name"]
        return name

    @property
    def model(self) -> str:
        name: str = self.data["model"]["name"]
        return name

    @property
    def label(self) -> str:
        return self.data.get("label") or "default"

    @property
    def settings(self) -> Mapping[str, Value]:
        """The value of every setting."""
        settings: Mapping[str, Value] = self.data["settings"]
        return settings

    @property
    def changed(self) -> Mapping[str, Value]:
        """Those that are off the engine's default."""
        return self.data.get("changed") or {}

    @property
    def figures(self) -> Figures:
        figures = self.data["figures"]
        return Figures(
            score=_interval(figures.get("score_interval")),
            ttft_s=figures.get("ttft_s"),
            decode_tok_per_s=figures.get("decode_tok_per_s"),
            peak_bytes=figures.get("peak_bytes"),
            runs=figures.get("runs", 0),
            cells=tuple(_cell(cell) for cell in figures["cells"]),
        )

    @property
    def gain(self) -> Gain | None:
        """None when no pairs were run."""
        gain = self.data.get("gain")
        if not gain:
            return None
        ratios = {name: Interval.from_json(gain[f"{name}_ratio"]) for name in ("score", "ttft", "decode", "peak")}
        return Gain(against=gain["against"], pairs=gain["pairs"], **ratios)

    @property
    def confidence(self) -> Confidence:
        said = self.data.get("confidence") or {}
        return Confidence(
            p_good=said.get("p_good"),
            p_best=said.get("p_best"),
            delta=said.get("delta"),
            of=said.get("of", 0),
            measured=said.get("measured", 0),
            trials=said.get("trials", 0),
            failed_trials=said.get("failed_trials", 0),
            elapsed_s=said.get("elapsed_ns", 0) / 1e9,
        )

    @property
    def ranking(self) -> tuple[Candidate, ...]:
        """Every configuration that works, in the order of their scores."""
        return tuple(
            Candidate(
                rank=entry["rank"],
                label=entry["label"] or "default",
                settings=entry["settings"],
                lossy=entry.get("lossy", False),
                score=_interval(entry.get("score_interval")),
                ttft_s=entry.get("ttft_s"),
                decode_tok_per_s=entry.get("decode_tok_per_s"),
                peak_bytes=entry.get("peak_bytes"),
            )
            for entry in self.data.get("alternatives") or ()
        )


def _interval(interval: Mapping[str, float | None] | None) -> Interval | None:
    return None if interval is None else Interval.from_json(interval)


def _cell(cell: Mapping[str, Any]) -> Cell:
    return Cell(
        prompt_tokens=cell["prompt_tokens"],
        output_tokens=cell["output_tokens"],
        sequences=cell.get("sequences", 1),
        weight=cell["weight"],
        ttft_s=Interval.from_json(cell["ttft_s"]),
        decode_tok_per_s=Interval.from_json(cell["decode_tok_per_s"]),
    )


@dataclass(frozen=True)
class TuneResult:
    """What `TuningSearch.run()` returns.

    `decision` says what the settings are: "winner" was confirmed to beat the default, "default" is the engine's own which
    nothing was confirmed to beat, and of an "undecided" run they are what to use for now: the default, or what looked good where that cannot be had.
    """

    plan: Plan
    model_id: str  # as it was asked for
    directory: Path  # of best_plan.json, report.html, report.md, kvat.db and the snippet
    exit_code: int  # 0 decided, 6 undecided
    report: Mapping[str, Any]  # schemas/report.schema.json
    engine_source: Mapping[str, Any] | None = None  # of an engine written in Python: where its class is

    @property
    def decision(self) -> Decision:
        return self.plan.decision

    @property
    def decided(self) -> bool:
        return self.plan.decided

    @property
    def why(self) -> str:
        return self.plan.why

    @property
    def settings(self) -> Mapping[str, Value]:
        return self.plan.settings

    @property
    def changed(self) -> Mapping[str, Value]:
        return self.plan.changed

    @property
    def figures(self) -> Figures:
        return self.plan.figures

    @property
    def gain(self) -> Gain | None:
        return self.plan.gain

    @property
    def confidence(self) -> Confidence:
        return self.plan.confidence

    @property
    def ranking(self) -> tuple[Candidate, ...]:
        return self.plan.ranking

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences for the top of a report, such as that the machine was noisy."""
        return tuple(self.report.get("warnings") or ())

    @property
    def plan_path(self) -> Path:
        return self.directory / "best_plan.json"

    @property
    def report_path(self) -> Path:
        return self.directory / "report.html"

    def __str__(self) -> str:
        from .display import as_text

        return as_text(self.plan)

    def _repr_markdown_(self) -> str:
        from .display import as_markdown

        return as_markdown(self.plan, self.warnings)

    def _repr_html_(self) -> str:
        from .display import as_html

        return as_html(self.plan, self.warnings)
