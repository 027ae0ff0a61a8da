"""The Transformers worker: its tokens are generate's, settings are in force, and faults are named.

Usage: pytest with KVAT_PYTHON's packages; models are random weights made on the spot.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch") if False else __import__("torch")
transformers = __import__("transformers")

from kvat_transformers import attention, caches, knobs, models, prompts  # noqa: E402
from kvat_transformers.engine import Engine, Mark, TimedOut  # noqa: E402
from kvat_transformers.wire import Fault  # noqa: E402

TINY = ["gpt2-tiny", "qwen2-tiny", "llama-tiny", "mistral-tiny"]
IDS = [(7 * i + 3) % 500 for i in range(96)]


def ready(name: str, context: dict[str, Any] | None = None, tokens: int = 160, **load: Any) -> Engine:
    engine = Engine()
    engine.load(f"synthetic:{name}", load)
    engine.prepare(context or {}, tokens, 1)
    return engine


def tokens_of(engine: Engine, ids: list[int] = IDS, count: int = 16) -> list[int]:
    return engine.run(ids, [Mark(len(ids), count)], 0)[1][0].bursts[0].tokens


def generated(engine: Engine, count: int = 16, **how: Any) -> list[int]:
    out = engine.model.generate(
        torch.tensor([IDS]), max_new_tokens=count, do_sample=False, eos_token_id=None, pad_token_id=0, **how
    )
    return out[0, len(IDS) :].tolist()


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_tokens_are_those_of_generate(name: str, cache: str) -> None:
    engine = ready(name, {"cache_implementation": cache})
    how = {} if cache == "dynamic" else {"cache_implementation": cache}
    assert tokens_of(engine) == generated(engine, **how)


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_a_pass_over_depth_gives_what_each_depth_gives_by_itself(name: str, cache: str) -> None:
    engine = ready(name, {"cache_implementation": cache})
    marks = [Mark(32, 8, 2), Mark(96, 8, 3)]
    depths = engine.run(IDS, marks, 0)[1]
    for mark, depth in zip(marks, depths, strict=True):
        alone = tokens_of(engine, IDS[: mark.prompt_tokens], mark.output_tokens)
        assert [burst.tokens for burst in depth.bursts] == [alone] * mark.repeats
    assert depths[0].ttft_ns < depths[1].ttft_ns


def test_repeats_are_bit_equal() -> None:
    engine = ready("qwen2-tiny")
    cache = caches.make("dynamic", "none", engine.model, 160)
    with engine.phase("prefill"):
        engine.forward(IDS, cache)
        saved = caches.save(cache)
        first = engine.model(torch.tensor([[5]]), past_key_values=cache, use_cache=True).logits
        caches.restore(cache, saved)
        again = engine.model(torch.tensor([[5]]), past_key_values=cache, use_cache=True).logits
    assert torch.equal(first, again)


@pytest.mark.parametrize("kernel", ["math", "flash"])
def test_the_kernel_asked_for_is_the_one_that_runs(kernel: str) -> None:
    engine = ready("qwen2-tiny", {"sdpa_kernel": kernel})
    assert engine.in_force()["sdpa_kernel"] == kernel


def test_prompts_are_those_of_every_worker() -> None:
    ids = prompts.token_ids({"seed": 7, "count": 4, "low": 256, "high": 151643})
    state, out = 7, []
    for _ in range(4):
        state, value = prompts.split_mix(state)
        out.append(256 + value % (151643 - 256))
    assert ids == out and prompts.split_mix(0)[1] == 0xE220A8397B1DCDAF


def test_a_limit_ends_a_run() -> None:
    with pytest.raises(TimedOut):
        ready("gpt2-tiny").run(IDS, [Mark(96, 32)], 1)


def test_what_is_not_there_is_declared_absent_with_the_reason() -> None:
    facts = knobs.Facts(dtype="float32", missing={"cache_implementation offloaded": "needs a GPU to offload from"})
    declared, absent = knobs.declare(facts)
    assert absent == [{"name": "cache_implementation offloaded", "reason": "needs a GPU to offload from"}]
    assert all(knob["default"] in knob["values"] for knob in declared)


def test_a_checkpoint_without_a_tensor_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    engine = ready("qwen2-tiny")
    engine.model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights.pop("model.layers.1.mlp.up_proj.weight")
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(Fault, match="lacks model.layers.1.mlp.up_proj.weight") as fault:
        models.load(models.find(str(tmp_path)), "float32", "cpu")
    assert fault.value.kind == "bad_model"


def test_other_formats_than_safetensors_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    (tmp_path / "pytorch_model.bin").write_bytes(b"code")
    with pytest.raises(Fault, match="no safetensors"):
        models.find(str(tmp_path))
