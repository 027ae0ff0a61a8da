"""A model that has learned text: what is declared of the numerics of values holds, and what is generated is text."""

from __future__ import annotations

import math
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import train_model
from kit import CUDA
from kvat_transformers.engine import Engine
from snippet_kit import apply_plan, write_plan

PROMPT_TOKENS, TOKENS = 192, 320  # hqq and quanto keep what comes after the prompt, up to 128 tokens, as it is
ROUNDING = 1e-8  # nats a token that other orders of addition make in float32; seen: below 1e-12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("trained")
    train_model.train(made)
    return made


@pytest.fixture(scope="module")
def engine(folder: Path) -> Engine:
    made = Engine(lambda: None, lambda _: None)
    made.load(str(folder), {"dtype": "float32"})
    return made


@cache
def known_text() -> list[int]:
    return train_model.tokenizer()(train_model.text())["input_ids"][:TOKENS]


def log_probabilities(engine: Engine, context: dict[str, Any]) -> torch.Tensor:
    """Of each next token (tokens × vocabulary) after the prompt, one pass a token, as a decode does it."""
    effective = engine.prepare(context, TOKENS, 1)["effective"]
    assert {name: effective[name] for name in context} == context
    runner, ids = engine.runner, torch.tensor([known_text()], device=engine.runner.device)
    cache, logits = runner.new_cache(), []
    with runner.phase("prefill"):
        engine.model(ids[:, :PROMPT_TOKENS], past_key_values=cache, use_cache=True)
    with runner.phase("decode"):
        for at in range(PROMPT_TOKENS, TOKENS - 1):
            logits.append(engine.model(ids[:, at : at + 1], past_key_values=cache, use_cache=True).logits[0, -1])
    return torch.log_softmax(torch.stack(logits).double(), dim=-1).cpu()


def loss(log_p: torch.Tensor) -> float:
    """Mean negative log likelihood in nats a token."""
    targets = torch.tensor(known_text()[PROMPT_TOKENS + 1 :])
    return -float(log_p.gather(1, targets[:, None]).mean())


def divergence(reference: torch.Tensor, other: torch.Tensor) -> float:
    """Mean Kullback-Leibler divergence in nats a token (S. Kullback, R. Leibler 1951)."""
    return float((reference.exp() * (reference - other)).sum(dim=1).mean())


@pytest.fixture(scope="module")
def reference(engine: Engine) -> torch.Tensor:
    return log_probabilities(engine, {})


def test_the_model_has_learned_what_text_is_like(reference: torch.Tensor) -> None:
    assert loss(reference) < 0.5 * math.log(reference.shape[1])  # of what a model loses that knows nothing


EQUIVALENT = [{"cache_implementation": "static"}, {"attn_implementation": "eager"}, {"sdpa_kernel": "math"}, {"sdpa_kernel": "flash"},
              {"decode_mkldnn": "off", "prefill_mkldnn": "off"}, {"grad_mode": "inference_mode"}]  # fmt: skip


def declared(engine: Engine, folder: Path, name: str, value: Any) -> str:
    knob = next(knob for knob in engine.describe(str(folder))["knobs"] if knob["name"] == name)
    numerics = knob.get("numerics", "exact")
    return numerics if isinstance(numerics, str) else numerics.get(value, "exact")


@pytest.mark.parametrize("context", EQUIVALENT, ids=str)
def test_what_is_declared_equivalent_changes_nothing_but_rounding(
    engine: Engine, folder: Path, reference: torch.Tensor, context: dict[str, Any]
) -> None:
    if CUDA and context.get("sdpa_kernel") == "flash":
        pytest.skip("needs a 16-bit type on a GPU; not run: no GPU is what it is about")
    assert all(declared(engine, folder, name, value) != "lossy" for name, value in context.items())
    assert abs(divergence(reference, log_probabilities(engine, context))) < ROUNDING


def quantized(quantizer: str, group: int = 64) -> dict[str, Any]:
    return {"cache_implementation": "quantized", "cache_quantizer": quantizer, "cache_group_size": group}


def test_what_is_declared_lossy_loses_and_more_the_fewer_bits_are_kept(engine: Engine, folder: Path, reference: torch.Tensor) -> None:
    assert declared(engine, folder, "cache_implementation", "quantized") == "lossy"
    lost = {name: divergence(reference, log_probabilities(engine, quantized(name))) for name in ("hqq-8", "hqq-4", "hqq-2")}
    assert all(declared(engine, folder, "cache_quantizer", name) == "lossy" for name in lost)
    assert 100 * ROUNDING < lost["hqq-8"] < lost["hqq-4"] / 10 < lost["hqq-2"] / 40, lost


@pytest.mark.parametrize("quantizer", ["hqq-4", "quanto-4"])
def test_smaller_groups_lose_less(engine: Engine, reference: torch.Tensor, quantizer: str) -> None:
    small, large = (divergence(reference, log_probabilities(engine, quantized(quantizer, group))) for group in (32, 128))
    assert small < large


def test_a_narrower_type_is_lossy(engine: Engine, folder: Path, reference: torch.Tensor) -> None:
    narrow = Engine(lambda: None, lambda _: None)
    narrow.load(str(folder), {"dtype": "bfloat16"})
    assert declared(engine, folder, "dtype", "bfloat16") == "lossy"
    assert divergence(reference, log_probabilities(narrow, {})) > 100 * ROUNDING


def test_the_file_of_a_plan_writes_text(folder: Path, tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "plan.json", {"cache_implementation": "static", "sdpa_kernel": "math"}, context_tokens=256)
    file = tmp_path / "optimized_config.py"
    file.write_text(apply_plan(plan, "--format", "python", "--free-memory", "1TiB", "--model", folder, KVAT_PYTHON="/bin/false"))
    prompt = train_model.text()[:120]
    done = subprocess.run([sys.executable, file, prompt, "--max-new-tokens", "60"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    known = set(train_model.text().split())
    words = done.stdout.split()[1:-1]  # the first and the last may be parts
    assert len(words) >= 10
    assert sum(word in known for word in words) >= 0.7 * len(words), done.stdout
