"""Draws the figures of the search bench: what P_good said and what was seen; cost and regret beside the peers.

Must not know how they were made. Plain SVG with a background of its own, readable on light and dark pages.
`plot.py bench/results/search docs`
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from results import NOISES, PEERS, Cell, peer_of, pooled_bins, read

# Okabe and Ito's colours, told apart by the colour-blind, and a shape each.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#444444")
STYLE = "font-family: system-ui, sans-serif; font-size: 13px"


class Canvas:
    """Boxes in one picture, each with axes of its own."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" style="{STYLE}">',
            f"<title>{title}</title>",
            f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff" stroke="#d0d0d0"/>',
        ]

    def text(self, x: float, y: float, words: str, anchor: str = "middle", turned: bool = False) -> None:
        turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#222222"{turn}>{words}</text>')

    def line(self, a: tuple[float, float], b: tuple[float, float], colour: str, extra: str = "") -> None:
        self.parts.append(
            f'<line x1="{a[0]:.1f}" y1="{a[1]:.1f}" x2="{b[0]:.1f}" y2="{b[1]:.1f}" stroke="{colour}" {extra}/>'
        )

    def mark(self, at: tuple[float, float], which: int, words: str = "") -> None:
        x, y = at
        shapes = (
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5"',
            f'<rect x="{x - 4.5:.1f}" y="{y - 4.5:.1f}" width="9" height="9"',
            f'<path d="M{x:.1f} {y - 6:.1f} l5.5 10 h-11 z"',
            f'<path d="M{x:.1f} {y - 6:.1f} l6 6 l-6 6 l-6 -6 z"',
            f'<path d="M{x:.1f} {y + 6:.1f} l5.5 -10 h-11 z"',
        )
        colour = COLOURS[which % len(COLOURS)]
        tip = f"<title>{words}</title>" if words else ""
        shape = shapes[which % len(shapes)]
        self.parts.append(f'{shape} fill="{colour}" fill-opacity="0.85">{tip}</{shape[1:].split(" ", 1)[0]}>')

    def legend(self, x: float, y: float, names: list[tuple[int, str]]) -> None:
        for row, (which, name) in enumerate(names):
            self.mark((x, y + 20 * row), which)
            self.text(x + 14, y + 20 * row + 4, name, "start")

    def write(self, path: Path) -> None:
        path.write_text("\n".join([*self.parts, "</svg>"]) + "\n")


class Box:
    """A rectangle of the canvas with scales; x logarithmic if asked."""

    def __init__(self, canvas: Canvas, frame: tuple[float, float, float, float], x: tuple[float, float],
                 y: tuple[float, float], log: bool = False) -> None:
        self.canvas, self.frame, self.x, self.y, self.log = canvas, frame, x, y, log
        left, top, width, height = frame
        canvas.parts.append(f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#888888"/>')

    def at(self, x: float, y: float) -> tuple[float, float]:
        left, top, width, height = self.frame
        scale = math.log if self.log else float
        across = (scale(x) - scale(self.x[0])) / (scale(self.x[1]) - scale(self.x[0]))
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return left + width * across, top + height * (1 - up)

    def ticks(self, xs: list[float], ys: list[float], form: str) -> None:
        left, top, width, height = self.frame
        for x in xs:
            spot = self.at(x, self.y[0])[0]
            self.canvas.line((spot, top), (spot, top + height), "#e4e4e4")
            self.canvas.text(spot, top + height + 18, format(x, form))
        for y in ys:
            spot = self.at(self.x[0], y)[1]
            self.canvas.line((left, spot), (left + width, spot), "#e4e4e4")
            self.canvas.text(left - 8, spot + 4, format(y, ".2g"), "end")


def reliability_panel(canvas: Canvas, frame: tuple[float, float, float, float], cells: list[Cell],
                      scale: tuple[list[float], list[float]]) -> set[int]:
    """The noises that have answers in it."""
    xs, ys = scale
    box = Box(canvas, frame, (xs[0], xs[-1]), (ys[0], ys[-1]))
    box.ticks(xs, ys, ".2f")
    canvas.line(box.at(max(xs[0], ys[0]), max(xs[0], ys[0])), box.at(1, 1), "#888888", 'stroke-dasharray="5 4"')
    shown = set()
    for which, noise in enumerate(NOISES):
        for b in pooled_bins([c for c in cells if c["noise"] == noise]):
            if b["n"] < 10 or b["said"] < xs[0]:
                continue
            low, high = box.at(b["said"], max(b["low"], ys[0])), box.at(b["said"], min(b["high"], 1.0))
            canvas.line(low, high, COLOURS[which], 'stroke-width="1.5"')
            words = f"{noise}: said {b['said']:.3f}, seen {b['seen']:.3f} of {b['n']}"
            canvas.mark(box.at(b["said"], max(b["seen"], ys[0])), which, words)
            shown.add(which)
    return shown


def reliability(cells: list[Cell], path: Path) -> None:
    canvas = Canvas(940, 440, "What P_good said of answers, and how often they were good")
    whole = [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    near = ([0.94, 0.95, 0.96, 0.97, 0.98, 0.99, 1.0], [0.8, 0.85, 0.9, 0.95, 1.0])
    shown = reliability_panel(canvas, (70, 30, 350, 340), cells, (whole, whole))
    shown |= reliability_panel(canvas, (480, 30, 330, 340), cells, near)
    canvas.text(440, 420, "P_good as said, mean of the bin (right: the upper end)")
    canvas.text(24, 200, "share within δ of the best, 95 % interval", turned=True)
    canvas.legend(840, 50, [(which, NOISES[which]) for which in sorted(shown)])
    canvas.write(path)


def decades(low: float, high: float) -> list[float]:
    steps = [m * 10.0**e for e in range(-3, 4) for m in (1, 2, 5)]
    return [s for s in steps if low <= s <= high]


def panel(canvas: Canvas, frame: tuple[float, float, float, float], cells: list[Cell]) -> None:
    spots = []
    for c in cells:
        spots.append((100 * c["cost_ratio"]["mean"], c["regret"]["within_1pct"], 0, f"kvat, {c['noise']}"))
        for which, name in enumerate(PEERS, 1):
            for times in (1, 3):
                p = peer_of(c, name, times)
                if p:
                    words = f"{name}, {times}x, {c['noise']}"
                    spots.append((100 * p["cost_ratio"], p["regret"]["within_1pct"], which, words))
    low, high = min(s[0] for s in spots) / 1.3, max(s[0] for s in spots) * 1.3
    box = Box(canvas, frame, (low, high), (0, 1), log=True)
    box.ticks(decades(low, high), [0, 0.2, 0.4, 0.6, 0.8, 1], "g")
    for x, y, which, words in reversed(spots):
        spot = box.at(x, y)
        canvas.mark(spot, which, f"{words}: {x:.2g} % of the grid, {y:.3f}")
        canvas.text(spot[0] + 12, spot[1] + 4, words.rsplit(" ", 1)[1][0])
    canvas.text(frame[0] + frame[2] / 2, frame[1] - 10, f"{cells[0]['configs']} configurations")


def peers(cells: list[Cell], path: Path) -> None:
    plain = [c for c in cells if c["world"] == "plain" and c["noise"] in ("quiet", "desktop", "noisy")]
    spaces = [s for s in (24, 480, 4800) if any(c["configs"] == s for c in plain)]
    width = 100 + 270 * len(spaces) + 130
    canvas = Canvas(width, 400, "Cost and regret of kvat and of others in the same worlds")
    for i, space in enumerate(spaces):
        panel(canvas, (70 + 270 * i, 40, 225, 290), [c for c in plain if c["configs"] == space])
    canvas.text(70 + 135 * len(spaces), 380, "cost, % of a grid of five repetitions (logarithmic); q quiet, d desktop, n noisy")
    canvas.text(24, 185, "P(regret ≤ 1 %)", turned=True)
    canvas.legend(width - 140, 60, list(enumerate(("kvat", *PEERS))))
    canvas.write(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path, help="folder of the pictures")
    options = parser.parse_args()
    cells = [c for c in read(options.folder) if c["world"] != "broken"]
    if not cells:
        print(f"no results in {options.folder}", file=sys.stderr)
        return 1
    reliability(cells, options.out / "search-reliability.svg")
    peers(cells, options.out / "search-peers.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
