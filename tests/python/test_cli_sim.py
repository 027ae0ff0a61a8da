"""The whole path with the engine that needs no engine: a surface in, a plan out."""

from __future__ import annotations

import contextlib
import json
import math
import re
import sqlite3
from pathlib import Path

import pytest
from kvat_cli import SURFACE, Result, kvat

OUTPUTS = ["best_plan.json", "report.md", "report.html"]


def tune(cwd: Path, *arguments: str | Path) -> Result:
    result = kvat("tune", SURFACE, *arguments, cwd=cwd)
    assert result.code in (0, 6), result.err
    return result


def test_the_same_seeds_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        tune(tmp_path / name, "--world-seed", "7")
    for output in OUTPUTS:
        first, second = (tmp_path / name / "kvat_results" / output for name in ("a", "b"))
        assert first.read_bytes() == second.read_bytes(), output


def test_another_world_gives_other_figures(tmp_path: Path) -> None:
    figures = []
    for seed in ("1", "2"):
        tune(tmp_path, "--world-seed", seed, "-o", seed)
        figures.append(json.loads((tmp_path / seed / "best_plan.json").read_text())["figures"])
    assert figures[0] != figures[1]


def test_the_command_of_the_seeds_runs(tmp_path: Path) -> None:
    result = kvat("tune", "--engine", "sim", "--model", SURFACE, "--device", "cpu", "--profile", "chat-agent", "--context",
                  "2048,4096,8192", "--out", "report/", "-v", cwd=tmp_path)  # fmt: skip
    assert result.code in (0, 6), result.err
    assert (tmp_path / "report" / "best_plan.json").is_file()
    assert kvat("apply", "--plan", "report/best_plan.json", cwd=tmp_path).code == 0
    compared = kvat("compare", "--baseline", "report/best_plan.json", "--candidate", "report/best_plan.json", cwd=tmp_path)
    assert compared.code == 0
    assert "Both have the same settings." in compared.out


def test_a_larger_budget_goes_on_where_the_smaller_one_ended(tmp_path: Path) -> None:
    assert tune(tmp_path, "--trials", "8").code == 6
    larger = tune(tmp_path)
    assert "resuming after " in larger.err
    assert "trial 1:" not in larger.err
    assert re.search(r"^\d+ runs of the earlier confirmation count no more", larger.err, re.MULTILINE)


def test_a_confirmation_past_its_budget_says_so(tmp_path: Path) -> None:
    result = tune(tmp_path, "--time", "200s")
    late = [line for line in result.err.splitlines() if "past its budget, finishing the pairs" in line]
    assert late, result.err
    assert all(line.startswith("confirm pair ") for line in late)
    assert not any("left" in line.rpartition(";")[2] for line in late)


# ---- the confirmation ----


def tune_close(cwd: Path, gain: float, world_seed: str) -> tuple[dict, dict]:
    """Plan and report of a run where flash attention gains that little, and nothing else gains anything."""
    surface = json.loads(SURFACE.read_text())
    flash = {"on": {"ttft": -gain, "decode": gain, "peak": 0}}
    surface["effects"] = {"flash-attn": flash, "cache-type": surface["effects"]["cache-type"]}
    (cwd / "surface.json").write_text(json.dumps(surface))
    result = kvat("tune", "surface.json", "--world-seed", world_seed, "--json", cwd=cwd)
    assert result.code == 0, result.err
    document = json.loads(result.out)
    return document["plan"], document["report"]


def fitted_by_pair(cwd: Path) -> dict[int, set[int]]:
    """Pair of the confirmation → whether its decode speeds were fitted from bursts."""
    found: dict[int, set[int]] = {}
    with contextlib.closing(sqlite3.connect(cwd / "kvat_results" / "kvat.db")) as database:
        for pair, fitted in database.execute(
            "SELECT t.block, s.fitted FROM sample s JOIN trial t ON t.id = s.trial WHERE t.phase = 'confirm'"
        ):
            found.setdefault(pair, set()).add(fitted)
    return found


def test_a_small_gain_takes_more_pairs_which_are_short_and_joined_with_the_search(tmp_path: Path) -> None:
    plan, report = tune_close(tmp_path, 0.012, "3")
    gain, confirmation = plan["gain"], report["confirmation"]
    assert plan["decision"] == "winner" and plan["settings"]["flash-attn"] == "on"
    pairs = gain["pairs"]
    assert 2 < pairs <= 16 and pairs % 2 == 0 and confirmation["pairs"] == pairs
    assert plan["why"].startswith(f"Confirmed on {pairs} fresh pairs against the default, joined with the runs of the search; ")
    assert fitted_by_pair(tmp_path) == {pair: {int(pair >= 2)} for pair in range(pairs)}, "whole outputs in the first two pairs"
    assert gain["joined"] is confirmation["joined"] is True
    assert 1 < gain["score_ratio"]["low"] < math.exp(0.35 * 0.012 + 0.5 * 0.012) < gain["score_ratio"]["high"]
    for figures in (gain["score_ratio"], gain["fresh"]):
        assert figures["low"] < figures["value"] < figures["high"]
    assert gain["fresh"]["high"] - gain["fresh"]["low"] > gain["score_ratio"]["high"] - gain["score_ratio"]["low"]
    for end in ("low", "value", "high"):
        assert gain["fresh"][end] == pytest.approx(math.exp(confirmation["fresh"][end]))
        assert gain["score_ratio"][end] == pytest.approx(math.exp(confirmation["ln_score"][end]))
    said = " ".join((tmp_path / "kvat_results" / "report.md").read_text().split())
    assert f"changes are of the {pairs} fresh pairs joined with the search" in said


def test_a_confirmation_ends_once_too_little_is_at_stake(tmp_path: Path) -> None:
    plan, report = tune_close(tmp_path, 0.006, "19")
    assert plan["decision"] == "default" and plan["gain"] is None
    pairs = report["confirmation"]["pairs"]
    assert pairs < 16
    assert plan["why"] == (
        f"In {pairs} fresh pairs the leader of the search was less than 1 % ahead of the default; keep the default"
    )
    assert report["confirmation"]["ln_score"]["high"] < 0.01


def test_a_confirmation_ends_once_more_pairs_would_hardly_show_a_gain(tmp_path: Path) -> None:
    plan, report = tune_close(tmp_path, 0.0, "4")
    assert plan["decision"] == "default" and plan["gain"] is None
    pairs = report["confirmation"]["pairs"]
    assert 6 <= pairs < 16
    assert plan["why"] == (
        f"{pairs} fresh pairs could not tell the leader of the search from the default, and more would hardly show it to be "
        "better; keep the default"
    )
    assert report["confirmation"]["ln_score"]["low"] < 0


def test_a_search_that_gives_up_says_so_and_asks_for_no_more_time(tmp_path: Path) -> None:
    surface = json.loads(SURFACE.read_text())
    surface["noise"] = {"run_sd": 0.3}
    surface["effects"]["flash-attn"] = {"on": {"ttft": -0.02, "decode": 0.02, "peak": 0}}
    (tmp_path / "surface.json").write_text(json.dumps(surface))
    result = kvat("tune", "surface.json", "--profile", "ci-micro", cwd=tmp_path)
    assert result.code == 6, result.err
    said = " ".join(result.out.split())
    assert re.search(r"of the best of 6, and \d+ trials were not enough", said)
    assert "the budget ended" not in said
    assert "Next: the same command with a larger --delta or fewer settings to try, or on a calmer machine" in said


def test_a_request_names_its_search_and_delta_where_it_was_given(tmp_path: Path) -> None:
    for options, expected in [
        ((), ("model", None, 0.01)),
        (("--search", "race", "--delta", "0.03"), ("race", 0.03, 0.03)),
    ]:
        report = json.loads(kvat("tune", SURFACE, "--time", "3m", "--json", *options, cwd=tmp_path).out)["report"]
        request = report["request"]
        assert (request["search"], request.get("delta"), report["delta"]) == expected


def test_an_exported_recording_plays_by_the_command_that_is_told(tmp_path: Path) -> None:
    tune(tmp_path, "--context", "256,512", "--output-tokens", "16")
    exported = kvat("runs", "export", "kvat_results", "--surface", cwd=tmp_path)
    (tmp_path / "surface.json").write_text(exported.out)
    told = re.search(r"^Play it: kvat (tune surface.json .*)$", exported.err, re.MULTILINE)
    assert told, exported.err
    assert told[1] == "tune surface.json --profile chat-agent --context 256,512 --output-tokens 16 --batch 1"
    again = kvat(*told[1].split(), "-o", "again", cwd=tmp_path)
    assert again.code in (0, 6), again.err


def test_a_recording_of_a_run_can_be_tuned_again(tmp_path: Path) -> None:
    tune(tmp_path)
    (tmp_path / "recorded.json").write_text(kvat("runs", "export", "--surface", cwd=tmp_path).out)
    again = kvat("tune", "recorded.json", "-o", "again", cwd=tmp_path)
    assert again.code in (0, 6), again.err
    plans = [json.loads((tmp_path / name / "best_plan.json").read_text()) for name in ("kvat_results", "again")]
    assert set(plans[0]["settings"]) == set(plans[1]["settings"])


def test_sim_is_listed_and_shows_its_knobs() -> None:
    engines = json.loads(kvat("engines", "--json").out)["engines"]
    assert next(engine for engine in engines if engine["name"] == "sim")["available"] is True
    shown = kvat("engines", "--model", SURFACE)
    assert "flash-attn (context)" in shown.out
    assert str(SURFACE) in shown.err, "the next command names the model"


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"format": "kvat-surface/9", "knobs": []}', '{"format"'], ids=range(5))
def test_a_surface_that_is_none_is_65(text: str, tmp_path: Path) -> None:
    (tmp_path / "surface.json").write_text(text)
    result = kvat("tune", "surface.json", "--engine", "sim", cwd=tmp_path)
    assert result.code == 65, result.err
    assert not (tmp_path / "kvat_results").exists()


def test_names_in_a_surface_stay_inert_on_the_terminal(tmp_path: Path) -> None:
    surface = json.loads(SURFACE.read_text())
    surface["name"] = "x\u202e</script>`$(id)`"
    (tmp_path / "surface.json").write_text(json.dumps(surface))
    result = kvat("tune", "surface.json", "--trials", "3", cwd=tmp_path)
    assert result.code in (0, 6), result.err
    listed = kvat("runs", cwd=tmp_path)
    assert "\u202e" not in result.out + result.err + listed.out
    assert "$(id)" in listed.out


# ---- bursts ----

A_S, B_S = 0.02, 2e-6  # time of a token: this, and that for every token of depth
DEPTHS, OUTPUTS_OF = (1000, 2000), (64, 256)


def mean_rate(prompt: int, output: int) -> float:
    return 1 / (A_S + B_S * (prompt + output / 2))


def linear_surface(path: Path) -> Path:
    """No noise, and a token takes a time that grows with depth: every fit of it is exact but for where in a burst its level lies."""
    base = [{"prompt_tokens": p, "output_tokens": n, "ttft_s": p / 500, "decode_tok_per_s": mean_rate(p, n), "peak_bytes": 1e9}
            for p in DEPTHS for n in (32, *OUTPUTS_OF)]  # fmt: skip
    knob = {"name": "gear", "type": "enum", "values": ["low", "high"], "default": "low", "search": ["low", "high"], "scope": "context"}
    effects = {"gear": {"high": {"decode": 0.2}}}
    path.write_text(json.dumps({"format": "kvat-surface/1", "name": "linear", "knobs": [knob], "base": base, "effects": effects}))
    return path


def samples(store: Path, phase: str) -> dict[tuple[int, int], set[tuple[float, int]]]:
    """(configuration, cell) → rates, and whether they were fitted."""
    found: dict[tuple[int, int], set[tuple[float, int]]] = {}
    with contextlib.closing(sqlite3.connect(store)) as database:
        sql = "SELECT config, cell, decode_tok_per_s, fitted FROM sample s JOIN trial t ON t.id = s.trial WHERE phase = ?"
        for config, cell, rate, fitted in database.execute(sql, (phase,)):
            found.setdefault((config, cell), set()).add((round(rate, 5), fitted))
    return found


def test_fitted_rates_are_those_of_whole_outputs_where_time_grows_with_depth(tmp_path: Path) -> None:
    lists = ("--context", "1000,2000", "--output-tokens", "64,256")
    result = kvat("tune", linear_surface(tmp_path / "linear.json"), *lists, cwd=tmp_path)
    assert result.code == 0, result.err
    store = tmp_path / "kvat_results" / "kvat.db"
    cells = [(p, n) for p in DEPTHS for n in OUTPUTS_OF]
    speeds = {0: 1.0, 1: math.exp(0.2)}
    for phase, fitted, within in (("search", 1, 1e-4), ("confirm", 0, 1e-2)):
        found = samples(store, phase)
        assert len(found) == 8
        for (config, cell), rates in found.items():
            ((rate, was_fitted),) = rates
            assert was_fitted == fitted
            assert rate == pytest.approx(mean_rate(*cells[cell]) * speeds[config], rel=within)
    with contextlib.closing(sqlite3.connect(store)) as database:
        runs = dict(database.execute("SELECT phase, min(run_ns) / 1e9 FROM trial WHERE config = 0 GROUP BY phase"))
    burst_s, whole_s = (sum((n - 1) / mean_rate(p, n) for p in DEPTHS) for n in (32, 256))
    assert runs["search"] == pytest.approx(4 + burst_s, rel=1e-6)  # one pass over both depths
    assert runs["confirm"] == pytest.approx(2 + 4 + whole_s, rel=1e-6)  # each by itself


def test_reports_mark_what_was_fitted(tmp_path: Path) -> None:
    tune(tmp_path)
    entries = json.loads(kvat("report", "--json", cwd=tmp_path).out)["entries"]
    fitted = [entry["label"] for entry in entries if entry.get("decode_fitted")]
    whole = [entry["label"] for entry in entries if "decode_fitted" not in entry]
    assert len(fitted) >= 1
    assert len(whole) == 2  # the winner and the default: they were confirmed
    assert "default" in whole
    report = (tmp_path / "kvat_results" / "report.md").read_text()
    assert report.count("| \\~") == len(fitted)
    assert "fitted from short bursts" in report
    exported = json.loads(kvat("runs", "export", cwd=tmp_path).out)
    assert {sample["fitted"] for trial in exported["trials"] for sample in trial["samples"]} == {True, False}
    assert {timing["burst"] for trial in exported["trials"] for timing in trial["timings"]} == {0}


@pytest.mark.parametrize("arguments", [("--profile", "ci-micro"), ("--whole-outputs",)])
def test_outputs_are_decoded_whole_in_every_run(arguments: tuple[str, ...], tmp_path: Path) -> None:
    tune(tmp_path, *arguments)
    assert "fitted" not in (tmp_path / "kvat_results" / "report.md").read_text()
    for phase in ("search", "confirm"):
        assert {fitted for rates in samples(tmp_path / "kvat_results" / "kvat.db", phase).values() for _, fitted in rates} == {0}
