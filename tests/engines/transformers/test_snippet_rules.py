"""Fallback rules of optimized_config.py, what it finds missing, the free memory it sees, and its words."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from snippet_kit import CONTEXT, DEFAULTS, KVAT, SAMPLE, Snippets, apply_plan

SMALL = {**DEFAULTS, "cache_implementation": "dynamic", "decode_threads": 1}
FLASH_2 = {**DEFAULTS, "attn_implementation": "flash_attention_2"}
RULES = [
    {"when": {"free_memory_below_bytes": 1 << 30}, "advise": "nothing fits"},
    {"when": {"free_memory_below_bytes": 2 << 30}, "use": SMALL, "label": "small", "because": "small"},
    {"when": {"free_device_memory_below_bytes": 1 << 30}, "use": {**DEFAULTS, "grad_mode": "inference_mode"}, "because": "device"},
    {"when": {"context_above_tokens": CONTEXT}, "advise": "longer than measured"},
    {"when": {"engine_version_not": "5.0.0"}, "advise": "another version"},
]


@pytest.mark.parametrize("memory", [None, 1 << 20, (1 << 30) - 1, 1 << 30, (2 << 30) - 1, 2 << 30, 1 << 40])
@pytest.mark.parametrize("context", [None, 1, CONTEXT, CONTEXT + 1])
def test_rules_are_resolved_as_kvat_resolves_them(snippet: Snippets, memory: int | None, context: int | None) -> None:
    """With --free-memory kvat takes host and devices to have that much; the engine's version it does not know here."""
    module = snippet("llama", {"cache_implementation": "static"}, fallback=RULES)
    arguments = ["--json", "--free-memory", str(memory)] if memory is not None else ["--json", "--free-memory", "1TiB"]
    arguments += ["--context", str(context)] if context is not None else []
    said = json.loads(apply_plan(snippet.folder / "plan.json", *arguments))
    version = said["conditions"]["engine_version"]
    settings, advice = module.resolve(module.Conditions(memory, memory, context, version))
    assert settings == said["settings"]
    assert advice == said["advice"]


def test_what_cannot_be_had_here_is_not_used(snippet: Snippets) -> None:
    rules = [{"when": {"unsupported": {"attn_implementation": "flash_attention_2"}}, "use": SMALL, "because": "measured"}]
    module = snippet("llama", FLASH_2, fallback=rules)
    assert module.missing(FLASH_2) == "attn_implementation flash_attention_2"
    assert module.resolve(module.Conditions()) == (SMALL, None)
    model, _ = module.load()
    assert module.settings_of(model) == SMALL
    alone = snippet("llama", FLASH_2)
    settings, advice = alone.resolve(alone.Conditions())
    assert settings == FLASH_2
    assert "attn_implementation flash_attention_2" in advice


def test_a_stand_in_that_cannot_be_had_either_is_passed_over(snippet: Snippets) -> None:
    small = {"when": {"free_memory_below_bytes": 1 << 30}, "use": {**SMALL, "sdpa_kernel": "cudnn"}, "because": "measured"}
    module = snippet("llama", fallback=[small])
    settings, advice = module.resolve(module.Conditions(free_memory=5))
    assert settings == DEFAULTS
    assert "is not offered by the engine here" in advice


@pytest.mark.parametrize(("source", "of"), [("VmHWM", "free_memory"), ("devices: nvml", "free_device_memory")])
@pytest.mark.parametrize("known", [False, True])
def test_what_may_not_fit_is_told_by_its_measured_peak(snippet: Snippets, source: str, of: str, known: bool) -> None:
    """As kvat does it where it knows what the engine offers."""
    rule = {"when": {"engine_version_not": "0"}, "use": SMALL, "because": "measured"}
    figures = {**SAMPLE["figures"], "settings": SMALL, "peak_bytes": 1000, "label": "small"}
    memory = {**SAMPLE["memory"], "source": source}
    module = snippet("llama", fallback=[rule], alternatives=[figures] if known else [], memory=memory)
    own = SAMPLE["figures"]["peak_bytes"]
    for free, version, settings, fits in ((1049, "1", SMALL, not known), (1050, "1", SMALL, True), (None, "1", SMALL, True),
                                          (own, "0", DEFAULTS, False), (2 * own, "0", DEFAULTS, True)):  # fmt: skip
        here = module.Conditions(**{of: free}, engine_version=version)
        chosen, advice = module.resolve(here)
        assert chosen == settings
        assert advice == (None if fits else "what would fit into the free memory is not offered by the engine here, and these settings "
                          "may need more: measure again with kvat tune"), here  # fmt: skip


def test_without_a_compiler_a_compiled_model_has_its_stand_in(snippet: Snippets, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("not run: a GPU is here, for which PyTorch brings its compiler")
    compiled = {"cache_implementation": "static", "compile_mode": "default"}
    rules = [{"when": {"unsupported": {"compile_mode": "default"}}, "use": SMALL, "because": "measured"}]
    module = snippet("llama", compiled, fallback=rules)
    assert module.resolve(module.Conditions()) == ({**DEFAULTS, **compiled}, None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert module.missing({**DEFAULTS, **compiled}) == "compile_mode default"
    assert module.resolve(module.Conditions()) == (SMALL, None)


MISSING = [("device", "cuda:99"), ("device", "mps"), ("cache_implementation", "offloaded"), ("cache_implementation", "offloaded_static"),
           ("attn_implementation", "flash_attention_3"), ("sdpa_kernel", "cudnn")]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), MISSING)
def test_missing_names_what_a_cpu_lacks(snippet: Snippets, name: str, value: str) -> None:
    if torch.accelerator.is_available():
        pytest.skip("not run: an accelerator is here")
    module = snippet()
    assert module.missing({**DEFAULTS, name: value}) == f"{name} {value}"
    assert module.missing(DEFAULTS) is None


def test_load_looks_at_memory_and_context_that_are_here(snippet: Snippets, monkeypatch: pytest.MonkeyPatch) -> None:
    module = snippet("llama", {"cache_implementation": "static"}, fallback=RULES[:4])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model, _ = module.load()
    assert module.settings_of(model)["cache_implementation"] == "static"
    with pytest.warns(UserWarning, match="longer than measured"):
        module.load(context_tokens=CONTEXT + 1)
    monkeypatch.setattr(module, "_free_memory", lambda: 1536 << 20)
    model, _ = module.load()
    assert module.settings_of(model) == SMALL


def test_free_memory_is_that_of_the_machine_and_of_this_process(snippet: Snippets) -> None:
    module = snippet()

    def of_machine(name: str) -> int:
        line = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith(name))
        return int(line.split()[1]) * 1024

    def beyond_machine() -> int:  # what others take or give meanwhile is in both
        return module.conditions().free_memory - of_machine("MemAvailable")

    assert 0 < module.conditions().free_memory <= of_machine("MemTotal")
    block: Callable[[], torch.Tensor] = lambda: torch.ones(1 << 26)  # noqa: E731  256 MiB
    before = beyond_machine()
    held = block()
    assert abs(beyond_machine() - before - (256 << 20)) < 128 << 20  # what it holds itself counts as free
    assert held.numel() == 1 << 26


GROUPS: list[tuple[str, dict[str, str], list[int]]] = [
    ("0::/a/b\n", {"a/b/memory.max": "max", "a/memory.max": "1000", "a/memory.current": "700", "a/memory.stat": "inactive_file 50"}, [350]),
    ("0::/a\n", {"a/memory.max": "500", "a/memory.current": "700", "a/memory.stat": "", "memory.max": "900", "memory.current": "800",
                 "memory.stat": ""}, [0, 100]),
    ("0::/not/seen/here\n", {"memory.max": "900", "memory.current": "800", "memory.stat": ""}, [100]),
    ("4:memory:/a\n0::/a\n", {"memory/a/memory.limit_in_bytes": "1000", "memory/a/memory.usage_in_bytes": "600",
                              "memory/a/memory.stat": "inactive_file 1\ntotal_inactive_file 100"}, [500]),
    ("0::/\n", {}, []),
    ("", {}, []),
]  # fmt: skip


@pytest.mark.parametrize(("group", "files", "left"), GROUPS)
def test_limits_are_those_of_the_groups_of_this_process(
    snippet: Snippets, tmp_path: Path, group: str, files: dict[str, str], left: list[int]
) -> None:
    for name, text in {"proc/self/cgroup": group, **{f"sys/fs/cgroup/{name}": text for name, text in files.items()}}.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert snippet()._left_in_groups(str(tmp_path / "root")) == left


def test_the_text_says_what_is_not_in_force(snippet: Snippets) -> None:
    path = snippet.write("llama", {"warp": "on"})
    assert re.search(r"^# NOT IN FORCE: warp = on", path.read_text(), re.MULTILINE)
    assert "warp" not in snippet("llama", {"warp": "on"}).SETTINGS


def test_every_knob_of_the_worker_has_a_word(snippet: Snippets) -> None:
    command = [KVAT, "engines", "--engine", "transformers", "--model", "hf:synthetic:llama-tiny", "--json"]
    env = {**os.environ, "KVAT_PYTHON": sys.executable}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=env)
    assert done.returncode == 0, done.stderr
    knobs = next(each for each in json.loads(done.stdout)["engines"] if each["name"] == "transformers")["describe"]["knobs"]
    settings = {knob["name"]: knob["values"][-1] for knob in knobs}
    assert len(settings) >= 10
    for together in ({"compile_mode": "none"}, {"prefill_chunk_size": 0}):  # the two exclude each other
        assert "NOT IN FORCE" not in snippet.write("llama", settings | together).read_text()
