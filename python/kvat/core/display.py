"""A plan as text, Markdown and HTML, for a terminal and for notebooks. Names come from anywhere and are made inert."""

from __future__ import annotations

import html
import math
import unicodedata
from collections.abc import Callable, Sequence

from .result import Interval, Plan

MOST_ROWS = 10
HEADINGS = {
    "winner": "Best: ",
    "default": "Keep the default: ",
    "undecided": "Not decided; for now: ",
    "infeasible": "No configuration works",
}


def plain(text: str) -> str:
    """Without what a terminal or a reader could be misled by: controls, line ends, changes of direction."""
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") else c for c in text)


def headline(plan: Plan) -> str:
    return HEADINGS[plan.decision] + ("" if plan.decision == "infeasible" else plain(plan.label))


def percent(ratio: Interval) -> str:
    """The change that a ratio is, with its bounds."""
    if ratio.value is None or ratio.low is None or ratio.high is None:
        return "unknown"
    changes = [f"{round(100 * (x - 1), 1) + 0.0:+.1f}" for x in (ratio.value, ratio.low, ratio.high)]
    return f"{changes[0]} % ({changes[1]} to {changes[2]})"


def gains(plan: Plan) -> list[tuple[str, str]]:
    """Names and changes against the reference; none where no pairs were run."""
    gain = plan.gain
    if gain is None:
        return []
    ratios = {"score": gain.score, "time to first token": gain.ttft, "decode speed": gain.decode, "peak memory": gain.peak}
    return [(f"{name} against the {gain.against}", percent(ratio)) for name, ratio in ratios.items()]


def columns(plan: Plan) -> list[list[str]]:
    """The ranking as rows of text, its heading first."""
    rows = [["#", "configuration", "score", "TTFT", "decode", "peak"]]
    for one in plan.ranking[:MOST_ROWS]:
        rows.append(
            [
                str(one.rank),
                plain(one.label) + (" (lossy, not verified)" if one.lossy else ""),
                _number(one.score.value if one.score else None, ""),
                _number(one.ttft_s, " s") if (one.ttft_s or 1) >= 1 else _number(1000 * (one.ttft_s or 0), " ms"),
                _number(one.decode_tok_per_s, " tok/s"),
                _number(one.peak_bytes / 2**20 if one.peak_bytes else None, " MiB"),
            ]
        )
    return rows


def _number(value: float | None, unit: str) -> str:
    """Three digits that mean something, or all before the point."""
    if value is None or not math.isfinite(value):
        return ""
    return (f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}") + unit


def sure(plan: Plan) -> str:
    """How sure it is, which a run that has not measured enough cannot say. A share of draws is never certainty."""
    said = plan.confidence
    if said.p_good is None or said.delta is None:
        return ""
    share = min(math.floor(100 * said.p_good + 1e-9), 99)
    return f"{share} % sure that it is within {100 * said.delta:g} % of the best of {said.of}"


def as_text(plan: Plan) -> str:
    lines = [headline(plan), plain(plan.why)]
    lines += [f"  {name}: {change}" for name, change in gains(plan)]
    return "\n".join(line for line in lines if line)


def _document(plan: Plan, warnings: Sequence[str]) -> tuple[str, list[str], list[list[str]]]:
    about = f"{plain(plan.model)} on {plain(plan.engine)}"
    sentences = [about, *(f"Warning: {plain(text)}" for text in warnings), plain(plan.why)]
    if not plan.decided:  # `why` of a decided run says it
        sentences.append(sure(plan))
    sentences += [f"{name}: {change}" for name, change in gains(plan)]
    return headline(plan), [text for text in sentences if text], columns(plan)


def as_html(plan: Plan, warnings: Sequence[str] = ()) -> str:
    head, sentences, (first, *rest) = _document(plan, warnings)

    def row(tag: str, cells: Sequence[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return (
        f"<p><strong>{html.escape(head)}</strong></p>"
        + "".join(f"<p>{html.escape(text)}</p>" for text in sentences)
        + f"<table><thead>{row('th', first)}</thead><tbody>{''.join(row('td', cells) for cells in rest)}</tbody></table>"
    )


def as_markdown(plan: Plan, warnings: Sequence[str] = ()) -> str:
    head, sentences, (first, *rest) = _document(plan, warnings)
    rows = [first, ["---"] * len(first), *rest]
    escape: Callable[[str], str] = _markdown
    table = ["| " + " | ".join(cell if cell == "---" else escape(cell) for cell in cells) + " |" for cells in rows]
    return "\n\n".join([f"**{escape(head)}**", *map(escape, sentences), "\n".join(table)])


def _markdown(text: str) -> str:
    """Neither markup nor HTML."""
    escaped = html.escape(text, quote=False)
    return "".join("\\" + c if c in "\\`*_{}[]()#+-.!|~>:" else c for c in escaped)
