"""Profiles: the package says what the program says."""

from __future__ import annotations

import json
from pathlib import Path

import kvat
import pytest
from kvat import InstalledEngine, TuneConfig, TuningSearch, UsageError
from kvat._program import ask
from kvat.core.profiles import create_custom_profile, get_profile, list_profiles
from package_kit import SURFACE


def test_built_in_profiles_are_the_programs() -> None:
    said = ask(["profiles"])["profiles"]
    assert list_profiles() == [entry["name"] for entry in said]
    assert [get_profile(entry["name"]).to_json() for entry in said] == said


def test_what_the_seeds_promise_of_them() -> None:
    chat = get_profile("chat-agent")
    assert (chat.weight_ttft, chat.weight_throughput, chat.weight_memory) == (0.5, 0.35, 0.15)
    assert chat.context_lengths == (2048, 4096, 8192)
    assert set(list_profiles()) == {"chat-agent", "rag", "longform", "ci-micro"}


def test_an_unknown_name_lists_those_there_are() -> None:
    with pytest.raises(UsageError, match="chat-agent") as caught:
        get_profile("chat")
    assert caught.value.exit_code == 2


def test_a_custom_profile_is_what_is_measured(tmp_path: Path) -> None:
    profile = create_custom_profile("mine", [256, 512], [16], weight_ttft=0.4, weight_throughput=0.4, weight_memory=0.2)
    config = TuneConfig(SURFACE, profile=profile, output_dir="results")
    plan = TuningSearch(config, InstalledEngine("sim")).run().plan.data
    assert plan["profile"]["name"] == "mine"
    assert plan["profile"]["weights"] == {"ttft": 0.4, "decode": 0.4, "memory": 0.2}
    assert [(cell["prompt_tokens"], cell["output_tokens"]) for cell in plan["profile"]["cells"]] == [(256, 16), (512, 16)]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"weight_ttft": 0.9}, "weights"),
        ({"context_lengths": []}, "context"),
        ({"context_lengths": [-1]}, "context"),
        ({"name": "../etc"}, "name"),
        ({"weight_ttft": float("nan")}, "mine"),
    ],
)
def test_a_profile_that_contradicts_itself_is_refused(changes: dict[str, object], word: str) -> None:
    members = {"name": "mine", "context_lengths": [256], "output_lengths": [16], **changes}
    config = TuneConfig(SURFACE, profile=create_custom_profile(**members))  # type: ignore[arg-type]
    with pytest.raises(kvat.BadDataError, match=word) as caught:
        TuningSearch(config, InstalledEngine("sim")).run()
    assert caught.value.exit_code == 65


def test_a_profile_in_a_file_and_a_name(tmp_path: Path) -> None:
    Path("mine.json").write_text(json.dumps({"name": "mine", "context": [512], "output_tokens": [32]}))
    for profile in ("./mine.json", Path("mine.json").absolute(), "ci-micro"):
        config = TuneConfig(SURFACE, profile=profile, trials=2, fresh=True)
        assert TuningSearch(config, InstalledEngine("sim")).run().plan.data["context_tokens"] == 544
