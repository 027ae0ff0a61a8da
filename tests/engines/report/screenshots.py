#!/usr/bin/env python3
"""Photographs reports in Chromium, to be looked at: light, dark, phone width, and print.

    screenshots.py OUT_DIR REPORT.html…
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "python"))
import browser  # noqa: E402

LOOKS = {"light": (1280, "light"), "dark": (1280, "dark"), "phone": (390, "light"), "phone-dark": (390, "dark")}


def main(out: Path, reports: list[Path]) -> int:
    out.mkdir(parents=True, exist_ok=True)
    with browser.Browser() as page:
        for report in reports:
            for look, (width, scheme) in LOOKS.items():
                page.open(report, width=width, scheme=scheme)
                path = out / f"{report.stem}.{look}.png"
                page.screenshot(path)
                print(path)
    return 0


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]))
