"""Reports opened in Chromium, and the data beside them held against their schemas.

The pages come from the sample outcomes: the program of tests/unit/report/test_golden.c writes them. KVAT_BUILD names the build folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import browser
import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("KVAT_BUILD", ROOT / "build"))
KINDS = ["winner", "default", "undecided", "infeasible", "only-lossy", "hostile", "dry", "unclear"]
CHARTS = {
    "winner": ["ranking", "tradeoff", "memory", "depth", "race"],
    "default": ["ranking", "tradeoff", "memory", "depth", "race"],
    "undecided": ["ranking", "tradeoff", "memory", "depth", "race"],
    "only-lossy": ["ranking", "tradeoff", "memory", "depth", "race"],
    "hostile": ["ranking", "tradeoff", "memory", "depth", "race"],
    "unclear": ["ranking", "tradeoff", "memory", "depth", "race"],
    "infeasible": ["race"],
    "dry": [],
}

needs_chromium = pytest.mark.skipif(browser.find() is None, reason="no chromium on PATH")


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every report of every sample outcome."""
    program = BUILD / "tests" / "report_test_golden"
    if not program.exists():
        pytest.skip(f"{program} is not built")
    folder = tmp_path_factory.mktemp("reports")
    subprocess.run([program], env={**os.environ, "KVAT_REPORT_DUMP": str(folder)}, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def page() -> Iterator[browser.Browser]:
    with browser.Browser() as opened:
        yield opened


def boxes_outside(page: browser.Browser) -> list[str]:
    """Texts of drawings that stick out of their drawing."""
    return page.evaluate(
        """[...document.querySelectorAll('svg text')].filter(t => {
             const a = t.getBoundingClientRect(), b = t.ownerSVGElement.getBoundingClientRect();
             return a.left < b.left - 1 || a.right > b.right + 1 || a.top < b.top - 1 || a.bottom > b.bottom + 1;
           }).map(t => t.textContent)"""
    )


def texts_overlapping(page: browser.Browser) -> list[str]:
    """Pairs of texts of one drawing that cover each other."""
    return page.evaluate(
        """[...document.querySelectorAll('svg')].flatMap(svg => {
             const all = [...svg.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect()]);
             return all.flatMap(([name, a], i) => all.slice(i + 1).filter(([, b]) =>
               a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 4 && b.top < a.bottom - 4)
               .map(([other]) => name + ' / ' + other));
           })"""
    )


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 768, 1280])
@pytest.mark.parametrize("kind", KINDS)
def test_page_fits_and_is_quiet(page: browser.Browser, reports: Path, kind: str, width: int, scheme: str) -> None:
    page.open(reports / f"{kind}.html", width=width, scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    requests = [e["params"]["request"]["url"] for e in page.events if e["method"] == "Network.requestWillBeSent"]
    assert [url for url in requests if not url.endswith(f"/{kind}.html")] == []
    noise = [e for e in page.events if e["method"] in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")]
    assert noise == []


@needs_chromium
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("kind", KINDS)
def test_charts_are_there_and_readable(page: browser.Browser, reports: Path, kind: str, width: int) -> None:
    page.open(reports / f"{kind}.html", width=width)
    sizes = page.evaluate(
        """Object.fromEntries([...document.querySelectorAll('figure')].map(f => {
             const box = f.querySelector('svg[role=img]').getBoundingClientRect();
             return [f.id, [box.width, box.height]];
           }))"""
    )
    assert sorted(sizes) == sorted(CHARTS[kind])
    assert all(w > 300 and h > 150 for w, h in sizes.values())
    assert page.evaluate("[...document.querySelectorAll('svg')].every(s => s.querySelector('title') && s.querySelector('desc'))")
    assert boxes_outside(page) == []
    assert texts_overlapping(page) == []
    smallest = page.evaluate(
        """Math.min(99, ...[...document.querySelectorAll('svg text')].map(t =>
             parseFloat(getComputedStyle(t).fontSize) * t.ownerSVGElement.getBoundingClientRect().width / 440))"""
    )
    assert smallest >= 8.5


@needs_chromium
def test_hostile_names_are_inert(page: browser.Browser, reports: Path) -> None:
    page.open(reports / "hostile.html")
    assert page.evaluate("document.title").startswith("kvat report: \\u{001B}]0;x")
    assert page.evaluate("document.querySelectorAll('img, script, iframe, object, a, form, input').length") == 0
    assert page.evaluate("document.querySelectorAll('main').length") == 1
    assert page.evaluate("document.querySelectorAll('main > header > h1').length") == 1
    assert page.evaluate("[...document.querySelectorAll('*')].every(e => ![...e.attributes].some(a => a.name.startsWith('on')))")
    assert "\u202e" not in page.evaluate("document.documentElement.outerHTML")


@needs_chromium
def test_dark_and_light_differ_and_both_have_contrast(page: browser.Browser, reports: Path) -> None:
    papers = {}
    for scheme in ("light", "dark"):
        page.open(reports / "winner.html", scheme=scheme)
        ink, paper = page.evaluate("(s => [s.color, s.backgroundColor])(getComputedStyle(document.body))")
        papers[scheme] = paper
        levels = [sum(int(part) for part in color[4:-1].split(",")[:3]) / 3 for color in (ink, paper)]
        assert abs(levels[0] - levels[1]) > 150
    assert papers["light"] != papers["dark"]


@needs_chromium
def test_tables_have_scoped_heads(page: browser.Browser, reports: Path) -> None:
    page.open(reports / "winner.html")
    assert page.evaluate("document.querySelectorAll('table').length") >= 4
    assert page.evaluate("[...document.querySelectorAll('th')].every(h => h.scope === 'col' || h.scope === 'row')")


@needs_chromium
def test_it_prints(page: browser.Browser, reports: Path) -> None:
    page.open(reports / "winner.html")
    printed = page.call("Page.printToPDF", printBackground=True)
    assert len(printed["data"]) > 20_000


@pytest.mark.parametrize("kind", KINDS)
def test_drawings_are_whole_documents(reports: Path, kind: str) -> None:
    drawings = sorted(reports.glob(f"{kind}.*.svg"))
    assert [path.name.split(".")[1] for path in drawings] == sorted(CHARTS[kind])
    for path in drawings:
        root = ElementTree.parse(path).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.find("{http://www.w3.org/2000/svg}style") is not None


@pytest.mark.parametrize("kind", KINDS)
def test_data_follow_their_schemas(reports: Path, kind: str) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    for what in ("plan", "report"):
        path = reports / f"{kind}.{what}.json"
        if what == "plan" and kind in ("infeasible", "only-lossy", "dry"):
            assert not path.exists()
            continue
        schema = json.loads((ROOT / "schemas" / f"{what}.schema.json").read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.Draft202012Validator(schema).validate(json.loads(path.read_text()))
