"""What the worker runs: the tokens of `generate`, exactly as many as asked for, and the same again from a depth it comes back to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from kit import FAMILIES, IDS, generated, ready, tokens_of
from kvat_transformers import caches, prompts
from kvat_transformers.engine import Engine
from kvat_transformers.runs import Mark, TimedOut
from kvat_transformers.wire import Fault

CACHES = [
    ("dynamic", "none"), ("static", "none"), ("quantized", "quanto-4"), ("quantized", "quanto-2"), ("quantized", "hqq-8"),
    ("quantized", "hqq-4"), ("quantized", "hqq-2"),
]  # fmt: skip

# Window layers have no quantized cache.
COMBINATIONS = [(name, *each) for name in FAMILIES for each in CACHES if name != "mistral-tiny" or each[0] != "quantized"]


def context_of(cache: str, quantizer: str) -> dict[str, Any]:
    return {"cache_implementation": cache, "cache_quantizer": quantizer}


def of_generate(cache: str, quantizer: str) -> dict[str, Any]:
    if cache != "quantized":
        return {"cache_implementation": cache}
    backend, bits = quantizer.split("-")
    axis = 1 if backend == "hqq" else 0
    config = {"backend": backend, "nbits": int(bits), "axis_key": axis, "axis_value": axis, "q_group_size": 64}
    return {"cache_implementation": cache, "cache_config": config}


def test_a_quantized_cache_for_windows_is_unsupported() -> None:
    with pytest.raises(Fault, match="full attention") as fault:
        ready("mistral-tiny", context_of("quantized", "hqq-4"))
    assert fault.value.kind == "unsupported" and fault.value.knob == "cache_implementation"


@pytest.mark.parametrize(("name", "cache", "quantizer"), COMBINATIONS)
def test_tokens_are_those_of_generate(name: str, cache: str, quantizer: str) -> None:
    engine = ready(name, context_of(cache, quantizer))
    assert tokens_of(engine, count=24) == generated(engine, count=24, **of_generate(cache, quantizer))


WITH_HQQ = """
import json, sys
from kvat_transformers.__main__ import Worker, set_environment
from kvat_transformers.wire import Fault

set_environment()
worker = Worker()
worker.initialize({"client": {"name": "kvat", "version": "0"}, "protocol": {"min": 1, "max": 1}, "launch_index": 0})
import torch
torch.set_num_threads(1)
worker.describe({"model": "hf:synthetic:llama-tiny"})
worker.load({"model": "hf:synthetic:llama-tiny"})
worker.prepare({"context_tokens": 160})
said = {"before": [name for name in ("hqq", "torch._inductor.compile_fx") if name in sys.modules]}
try:
    worker.prepare({"settings": {"cache_implementation": "quantized", "cache_quantizer": "hqq-4"}, "context_tokens": 160})
    from kit import tokens_of
    said["tokens"] = tokens_of(worker.engine, count=24)
    said["class"] = worker.engine.runner.new_cache().layers[0].quantizer.__module__
except Fault as fault:
    said["fault"] = [fault.kind, fault.knob, fault.detail]
print(json.dumps(said))
"""


def said_with_hqq(*path: str) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*path, *sys.path])}
    done = subprocess.run([sys.executable, "-c", WITH_HQQ], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_hqq_is_imported_only_where_it_is_used_and_then_is_the_real_one() -> None:
    engine = ready("llama-tiny", context_of("quantized", "hqq-4"))
    assert said_with_hqq() == {"before": [], "tokens": tokens_of(engine, count=24), "class": "hqq.core.quantize"}


def test_an_hqq_that_cannot_be_imported_is_unsupported(tmp_path: Path) -> None:
    (tmp_path / "hqq" / "core").mkdir(parents=True)
    for folder in ("hqq", "hqq/core"):
        (tmp_path / folder / "__init__.py").touch()
    (tmp_path / "hqq" / "core" / "quantize.py").write_text("raise OSError('libhqq: no such file')")
    kind, knob, detail = said_with_hqq(str(tmp_path))["fault"]
    assert (kind, knob) == ("unsupported", "cache_quantizer") and "libhqq: no such file" in detail


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_tokens_are_those_of_generate_in_every_type(attention: str, dtype: str) -> None:
    engine = ready("llama-tiny", {"attn_implementation": attention}, dtype=dtype)
    assert next(engine.model.parameters()).dtype == getattr(torch, dtype)
    assert tokens_of(engine) == generated(engine)


@contextmanager
def broken(engine: Engine, token: int) -> Iterator[None]:
    """With a token whose embedding is no use."""
    embedding = engine.model.get_input_embeddings().weight.data
    before = embedding[token].clone()
    embedding[token] = float("nan")
    try:
        yield
    finally:
        embedding[token] = before


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("context", [{}, {"cache_implementation": "static"}, {"attn_implementation": "eager"}])
def test_output_that_is_no_number_is_no_measurement(context: dict[str, Any], dtype: str) -> None:
    engine = ready("llama-tiny", context, dtype=dtype)
    with broken(engine, IDS[40]), pytest.raises(Fault, match=f"not a number .* in {dtype}") as fault:
        tokens_of(engine)
    assert (fault.value.kind, fault.value.knob) == ("unsupported", "dtype")
    assert len(tokens_of(engine)) == 16
    with broken(engine, 1), pytest.raises(Fault, match="not a number"):  # the token of the probe: seen before anything is timed
        ready("llama-tiny", context, dtype=dtype)


@pytest.mark.parametrize(("name", "cache", "quantizer"), COMBINATIONS)
def test_bursts_and_marks_give_what_each_depth_gives_by_itself(name: str, cache: str, quantizer: str) -> None:
    engine = ready(name, context_of(cache, quantizer))
    marks = [Mark(32, 8, 2), Mark(96, 8, 3)]
    measured = engine.runner.run(IDS, marks, 0)[1]
    for mark, got in zip(marks, measured, strict=True):
        alone = tokens_of(engine, IDS[: mark.prompt_tokens], mark.output_tokens)
        assert [burst.tokens[0] for burst in got.bursts] == [alone] * mark.repeats
        assert all(len(burst.token_ns) == mark.output_tokens for burst in got.bursts)
        for burst in got.bursts:
            assert all(a < b for a, b in zip(burst.token_ns, burst.token_ns[1:]))
        assert got.ttft_ns > 0


@pytest.mark.parametrize(("cache", "quantizer"), CACHES)
def test_going_back_is_exact_to_the_bit(cache: str, quantizer: str) -> None:
    engine = ready("llama-tiny", context_of(cache, quantizer))
    runner = engine.runner
    held = runner.new_cache()
    with runner.phase("decode"):
        first = runner.next_tokens(runner.batch(IDS), held)

        def logits() -> list[torch.Tensor]:
            tokens, seen = first, []
            for _ in range(8):
                seen.append(engine.model(tokens, past_key_values=held, use_cache=True).logits[:, -1].clone())
                tokens = seen[-1].argmax(dim=-1, keepdim=True)
            return seen

        depth = caches.Depth(held, 8)
        assert depth.possible and depth.tokens == len(IDS)
        before = logits()
        for _ in range(2):
            depth.back()
            assert int(held.get_seq_length()) == len(IDS)
            assert all(torch.equal(a, b) for a, b in zip(before, logits(), strict=True))


@pytest.mark.parametrize(("name", "cache", "quantizer", "count"),
                         [("mistral-tiny", "dynamic", "none", 60), ("mistral-tiny", "static", "none", 60),
                          ("llama-tiny", "quantized", "quanto-4", 140)])  # fmt: skip
def test_where_going_back_would_cost_a_second_cache_there_is_one_burst(name: str, cache: str, quantizer: str, count: int) -> None:
    engine = ready(name, context_of(cache, quantizer), tokens=256)
    measured = engine.runner.run(IDS, [Mark(len(IDS), count, 3)], 0)[1][0]
    assert len(measured.bursts) == 1
    assert measured.bursts[0].tokens[0] == tokens_of(engine, count=count)


@pytest.mark.parametrize("chunk", [1, 32, 90, 96, 1000])
@pytest.mark.parametrize("name", ["gpt2-tiny", "mistral-tiny"])
def test_a_prefill_in_chunks_sees_the_whole_prompt(name: str, chunk: int) -> None:
    engine = ready(name)
    whole = tokens_of(engine)
    engine.runner.request.prefill_chunk_size = chunk
    lengths = []
    original = engine.runner.next_tokens

    def noting(ids: Any, *rest: Any, **named: Any) -> Any:
        lengths.append(ids.shape[1])
        return original(ids, *rest, **named)

    engine.runner.next_tokens = noting
    assert tokens_of(engine) == whole
    assert sum(lengths[: -(-96 // chunk)]) == 96 and max(lengths) == min(chunk, 96)


@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_a_batch_gives_each_sequence_the_same(cache: str) -> None:
    alone = tokens_of(ready("llama-tiny", {"cache_implementation": cache}))
    engine = ready("llama-tiny", {"cache_implementation": cache}, sequences=4)
    burst = engine.runner.run(IDS, [Mark(96, 16)], 0)[1][0].bursts[0]
    assert burst.tokens == [alone] * 4


def test_what_is_compiled_is_compiled_before_it_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._dynamo.utils import counters

    expected = tokens_of(ready("llama-tiny", {"cache_implementation": "static"}))
    engine = ready("llama-tiny", {"cache_implementation": "static", "compile_mode": "default"})
    graphs = counters["stats"]["unique_graphs"]
    assert graphs >= 1
    for _ in range(2):  # a fresh cache each
        assert tokens_of(engine) == expected
    measured = engine.runner.run(IDS, [Mark(40, 8), Mark(96, 16, 2)], 0)[1]
    assert [burst.tokens[0] for burst in measured[1].bursts] == [expected] * 2
    assert counters["stats"]["unique_graphs"] == graphs
    made = []
    new_cache = engine.runner.new_cache
    monkeypatch.setattr(engine.runner, "new_cache", lambda: made.append(new_cache()) or made[-1])
    for _ in range(2):
        tokens_of(engine)
    assert len({id(cache) for cache in made}) == 2
    for name, value, words in (("grad_mode", "inference_mode", "no_grad"), ("prefill_chunk_size", 32, "in one piece")):
        monkeypatch.setattr(engine.runner.request, name, value)
        with pytest.raises(Fault, match=words) as fault:
            tokens_of(engine)
        assert (fault.value.kind, fault.value.knob) == ("unsupported", name)
        monkeypatch.undo()
    engine.prepare({}, 160, 1)


def test_another_onednn_is_compiled_anew() -> None:
    """Dynamo does not look at it, and would take the code that it made with the other."""
    engine = ready("llama-tiny", {"cache_implementation": "static", "compile_mode": "default"})
    counts = []
    for mkldnn in ("off", "off", "on", "on"):
        engine.runner.request.decode_mkldnn = mkldnn
        before = torch._dynamo.utils.counters["frames"]["ok"]
        tokens_of(engine)
        assert engine.runner.seen["decode_mkldnn"] == mkldnn
        counts.append(torch._dynamo.utils.counters["frames"]["ok"] - before)
    engine.prepare({}, 160, 1)
    assert [count > 0 for count in counts] == [True, False, True, False], counts


def test_compiling_is_in_no_run_and_in_no_limit() -> None:
    """The first run decodes nothing after its one token, the next one does; and settings of a run may need other code."""
    from torch._dynamo.utils import counters

    engine = ready("llama-tiny", {"cache_implementation": "static", "compile_mode": "default"})
    runner, graphs = engine.runner, lambda: counters["stats"]["unique_graphs"]
    runner.request.decode_threads = 2 if engine.threads == 1 else 1  # another than it was compiled with
    before = graphs()
    runner.run(IDS, [Mark(96, 1)], 0)
    assert graphs() > before
    runner.request.decode_threads = 1
    began = []
    measure = runner.measure

    def slow_to_compile(ids: list[int], mark: Mark) -> Any:
        began.append(time.monotonic_ns())
        if len(began) == 1:
            time.sleep(1.1)
        return measure(ids, mark)

    runner.measure = slow_to_compile
    runner.compiled_for.clear()
    start, measured = runner.run(IDS, [Mark(96, 8)], 10**9)  # a limit shorter than the compiling
    assert len(began) == 2 and began[0] + 1_100_000_000 <= start <= began[1] and len(measured[0].bursts[0].token_ns) == 8
    engine.prepare({}, 160, 1)


def test_experts_are_those_of_generate_in_each_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU `generate` decodes a mixture of experts by another implementation than it prefills."""
    engine = ready("llama-tiny")
    inside, seen = [], []

    @contextmanager
    def optimized() -> Iterator[None]:
        inside.append(True)
        yield
        inside.pop()

    hook = engine.model.register_forward_pre_hook(lambda *_: seen.append(bool(inside)))
    monkeypatch.setattr(engine.model, "_optimize_model_for_decode", optimized, raising=False)
    generated(engine, count=4)
    of_generate, seen[:] = list(seen), []
    tokens_of(engine, count=4)
    hook.remove()
    assert seen == of_generate == [False, True, True, True]


def test_output_length_is_forced_past_an_end_of_text() -> None:
    engine = ready("llama-tiny")
    ends = sorted(set(tokens_of(engine, count=60)))[:4]
    for end in ends:  # whatever token ends a text, it is one of these
        engine.model.generation_config.eos_token_id = end
        assert len(tokens_of(engine, count=60)) == 60
    engine.model.generation_config.eos_token_id = 1


def test_prompts_are_those_of_every_worker() -> None:
    assert prompts.split_mix(0)[1] == 0xE220A8397B1DCDAF  # of the published generator
    state, expected = 7, []
    for _ in range(4):
        state, value = prompts.split_mix(state)
        expected.append(256 + value % (151643 - 256))
    assert prompts.token_ids({"seed": 7, "count": 4, "low": 256, "high": 151643}) == expected
    assert prompts.token_ids({"ids": [3, 1]}) == [3, 1]


def test_a_limit_ends_a_run() -> None:
    with pytest.raises(TimedOut):
        ready("gpt2-tiny").runner.run(IDS, [Mark(96, 32)], 1)


@pytest.mark.parametrize("grad_mode", ["no_grad", "inference_mode"])
def test_settings_of_a_request_are_read_back_from_pytorch(grad_mode: str) -> None:
    expected = tokens_of(ready("gpt2-tiny"))
    engine = ready("gpt2-tiny")
    asked = {"prefill_threads": 2, "decode_threads": 1, "prefill_mkldnn": "on", "decode_mkldnn": "off", "grad_mode": grad_mode,
             "prefill_chunk_size": 50}  # fmt: skip
    assert set(engine.runner.request.take(dict(asked))) == set(asked)
    assert tokens_of(engine) == expected
    assert engine.runner.seen == asked


def test_memory_of_a_cache_is_foreseen_exactly() -> None:
    for name in ("gpt2-tiny", "llama-tiny", "mistral-tiny"):
        for kind in ("dynamic", "static"):
            engine = ready(name, {"cache_implementation": kind}, tokens=200)
            foreseen = engine.prepare({"cache_implementation": kind}, 200, 1)["memory"]["kv_bytes"]
            runner = engine.runner
            cache = runner.new_cache()
            with runner.phase("prefill"):
                runner.prefill((IDS * 3)[:200], cache)
            keys_and_values = sum(t.numel() * t.element_size() for layer in cache.layers for t in (layer.keys, layer.values))
            assert foreseen == keys_and_values, (name, kind)
