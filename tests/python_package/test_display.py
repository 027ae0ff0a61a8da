"""Results in notebooks and terminals: names from anywhere are inert, and nothing is claimed that was not found."""

from __future__ import annotations

import copy
import html.parser
from pathlib import Path
from typing import Any

import kvat
import pytest
from kvat import Plan, TuneResult
from kvat.core.display import as_html, as_markdown, as_text

HOSTILE = [
    "</td></table><script>alert(1)</script>",
    '<img src=x onerror="alert(1)">',
    "[click](javascript:alert(1)) ![x](http://x) `code` | a | b",
    "\x1b]0;title\x07\u202etxet\n\n# heading\r",
    "&lt;b&gt; \\",
]


class Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert attributes == []
        self.seen.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def hostile(simulated: TuneResult, name: str) -> Plan:
    data: dict[str, Any] = copy.deepcopy(dict(simulated.plan.data))
    data["label"] = data["why"] = data["model"]["name"] = data["engine"]["name"] = name
    for one in data["alternatives"]:
        one["label"] = name
    return Plan(data)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text(simulated: TuneResult, name: str) -> None:
    plan = hostile(simulated, name)
    tags = Tags()
    tags.feed(as_html(plan, [name]))
    assert tags.seen <= {"p", "strong", "table", "thead", "tbody", "tr", "th", "td"}
    visible = name.replace("\x1b", "�").replace("\x07", "�").replace("\u202e", "�").replace("\n", "�").replace("\r", "�")
    assert visible in tags.text
    markdown = as_markdown(plan, [name])
    assert "<" not in markdown and "](" not in markdown and "`code`" not in markdown
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in rows}) == 1
    for shown in (as_text(plan), markdown):
        assert not set("\x1b\x07\u202e\r") & set(shown)
    assert str(TuneResult(plan, "m", Path(), 0, {})) == as_text(plan)


def test_html_has_every_row_and_gain(simulated: TuneResult) -> None:
    page = simulated._repr_html_()
    assert page.count("<tr>") == 1 + len(simulated.ranking)
    assert "<strong>Best: flash-attn on, ubatch-size 1024</strong>" in page
    assert "decode speed against the default: +7.3 % (+3.7 to +11.1)" in page
    assert "170 ms" in page


@pytest.mark.parametrize(
    ("decision", "head"),
    [("default", "Keep the default: "), ("undecided", "Not decided"), ("infeasible", "No configuration works")],
)
def test_only_a_winner_is_called_best(simulated: TuneResult, decision: str, head: str) -> None:
    plan = Plan({**simulated.plan.data, "decision": decision, "why": ""})
    assert as_text(plan).startswith(head)
    for shown in (as_text(plan), as_html(plan).split("<table>")[0]):
        assert "Best" not in shown


def test_what_is_not_known_is_not_made_up(simulated: TuneResult) -> None:
    data: dict[str, Any] = copy.deepcopy(dict(simulated.plan.data))
    data["gain"]["decode_ratio"] = {"value": 1.1, "low": None, "high": None}
    data["confidence"] = {}
    data["alternatives"] = [{"rank": 1, "label": None, "settings": {}}]
    page = as_html(Plan(data))
    assert "decode speed against the default: unknown" in page
    assert "<td>default</td><td></td><td></td><td></td><td></td>" in page
    assert kvat.Plan(data).confidence.p_good is None
