"""Attention: the kernel asked for is the one that runs, and different ones are really different."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from kit import CUDA, IDS, ready, tokens_of
from kvat_transformers import attention, sources
from kvat_transformers.wire import Fault, fault_of

DTYPE = "bfloat16" if CUDA else "float32"
NAMES = {
    "math": "aten::_scaled_dot_product_attention_math",
    "flash": "aten::_scaled_dot_product_flash_attention" + ("" if CUDA else "_for_cpu"),
    "efficient": "aten::_scaled_dot_product_efficient_attention",
    "cudnn": "aten::_scaled_dot_product_cudnn_attention",
}
HERE = ["math", "flash", "efficient"] if CUDA else ["math", "flash"]


def names_of(context: dict[str, Any]) -> set[str]:
    """Operators of a whole run under the profiler."""
    engine = ready("phi-tiny", context, dtype=DTYPE)
    return {name for name in attention.operators(lambda: tokens_of(engine)) if "_scaled_dot_product" in name}


@pytest.mark.parametrize("kernel", HERE)
@pytest.mark.parametrize("grad_mode", ["no_grad", "inference_mode"])
def test_the_kernel_asked_for_is_the_only_one_that_runs(kernel: str, grad_mode: str) -> None:
    assert names_of({"sdpa_kernel": kernel, "grad_mode": grad_mode}) == {NAMES[kernel]}


@pytest.mark.parametrize("kernel", HERE)
def test_the_kernel_in_force_is_read_back(kernel: str) -> None:
    engine = ready("phi-tiny", dtype=DTYPE)
    answer = engine.prepare({"sdpa_kernel": kernel}, 160, 1)["effective"]
    assert answer["sdpa_kernel"] == kernel and answer["attn_implementation"] == "sdpa"


def test_another_kernel_than_asked_for_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = ready("phi-tiny", dtype=DTYPE)
    monkeypatch.setitem(attention.BACKENDS, "math", "FLASH_ATTENTION")
    assert engine.prepare({"sdpa_kernel": "math"}, 160, 1)["effective"]["sdpa_kernel"] == "flash"


def test_the_plain_kernel_is_known_by_its_softmax_where_it_has_no_name() -> None:
    call = "aten::scaled_dot_product_attention"
    assert attention.kernels_in({call, "aten::matmul", "aten::_safe_softmax"}) == ["math"]
    assert attention.kernels_in({"aten::matmul", "aten::_softmax"}) == []  # eager
    assert attention.kernels_in({call, "aten::_softmax", "aten::_scaled_dot_product_flash_attention"}) == ["flash"]


def test_settings_of_onednn_are_left_as_they_were() -> None:
    before = (torch.backends.mkldnn.enabled, torch.backends.mkldnn.allow_tf32, torch.backends.mkldnn.deterministic)
    engine = ready("phi-tiny")
    engine.runner.request.decode_mkldnn = "off"
    with engine.runner.phase("decode"):
        assert not torch.backends.mkldnn.enabled
        assert (torch.backends.mkldnn.allow_tf32, torch.backends.mkldnn.deterministic) == before[1:]
    assert (torch.backends.mkldnn.enabled, torch.backends.mkldnn.allow_tf32, torch.backends.mkldnn.deterministic) == before


def test_shared_heads_are_part_of_what_is_found_out() -> None:
    """On a GPU the efficient kernel has no shared heads: what is declared for a model must be what it can have."""
    engine = ready("llama-tiny", dtype=DTYPE)
    source = engine.source
    found = attention.kernels_of(engine.device, DTYPE, attention.Heads(4, 2, 16))
    for kernel in found.works:
        assert engine.prepare({"sdpa_kernel": kernel}, 160, 1)["effective"]["sdpa_kernel"] == kernel
    assert sources.heads(source) == (4, 2, 16)


def test_eager_attention_calls_no_kernel() -> None:
    assert names_of({"attn_implementation": "eager"}) == set()


@pytest.mark.skipif(CUDA, reason="a GPU has them")
@pytest.mark.parametrize("kernel", ["efficient", "cudnn"])
def test_a_kernel_that_is_not_here_is_refused_and_never_replaced(kernel: str) -> None:
    with pytest.raises(RuntimeError, match="No viable backend") as error:
        ready("phi-tiny", {"sdpa_kernel": kernel})
    assert fault_of(error.value).kind == "unsupported"


def test_kernels_of_the_machine_are_found_out() -> None:
    device = "cuda:0" if CUDA else "cpu"
    found = attention.kernels_of(device, DTYPE, attention.Heads(4, 4, 64))
    assert set(HERE) <= set(found.works) and found.taken in found.works
    assert {name.split()[1] for name, _ in found.missing} == set(attention.BACKENDS) - set(found.works)
    assert "math" in found.masked


@pytest.mark.parametrize("name", ["flash_attention_2", "flash_attention_3", "nonsense"])
def test_an_implementation_that_is_not_here_is_refused(name: str) -> None:
    if name.startswith("flash") and CUDA:
        pytest.skip("it may be installed here; not run: no GPU is what it is about")
    engine = ready("phi-tiny", {"attn_implementation": "eager"})
    with pytest.raises(Fault) as fault:
        engine.prepare({"attn_implementation": name}, 160, 1)
    assert (fault.value.kind, fault.value.knob) == ("unsupported", "attn_implementation")
    assert engine.runner is None
    engine.prepare({}, 160, 1)
    assert engine.source_attention() == "sdpa"


@pytest.mark.skipif(not CUDA, reason="not run: no GPU")
def test_on_a_gpu_a_static_cache_needs_a_kernel_with_masks() -> None:
    found = attention.kernels_of("cuda:0", DTYPE, attention.Heads(4, 4, 64))
    assert "flash" in found.works and "flash" not in found.masked
    with pytest.raises(RuntimeError) as error:
        ready("phi-tiny", {"sdpa_kernel": "flash", "cache_implementation": "static"}, dtype=DTYPE)
    assert fault_of(error.value).kind == "unsupported"


def test_kernels_agree_on_what_they_compute() -> None:
    results = []
    for kernel in HERE:
        engine = ready("phi-tiny", {"sdpa_kernel": kernel}, dtype=DTYPE)
        with engine.runner.phase("prefill"):
            results.append(engine.model(engine.runner.batch(IDS)).logits.float())
    for other in results[1:]:
        torch.testing.assert_close(results[0], other, rtol=0.05, atol=0.05 if CUDA else 1e-4)


def test_a_compiled_decode_runs_the_kernel_of_its_own_context() -> None:
    """Dynamo and its caches would take the code of the context before, whose kernel was another one."""
    for kernel in ("auto", "math", "flash"):
        context = {"cache_implementation": "static", "compile_mode": "default", "sdpa_kernel": kernel}
        engine = ready("phi-tiny", dtype="float32")
        effective = engine.prepare(context, 160, 1)["effective"]
        assert (effective["sdpa_kernel"], effective["compile_mode"]) == (kernel, "default")
        runner, cache = engine.runner, engine.runner.new_cache()
        with runner.phase("prefill"):
            first = runner.next_tokens(runner.batch(IDS), cache)
        with runner.phase("decode"):
            names = attention.operators(lambda: runner.next_tokens(first, cache, decoding=True))
        assert any("_dot_product_flash_attention" in name for name in names) == (kernel != "math")
    engine.prepare({}, 160, 1)


def test_a_decode_that_silently_was_not_compiled_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = ready("phi-tiny", dtype="float32")
    monkeypatch.setattr(engine.model, "get_compiled_call", lambda _: engine.model.__call__, raising=False)
    context = {"cache_implementation": "static", "compile_mode": "default"}
    assert engine.prepare(context, 160, 1)["effective"]["compile_mode"] == "none"
    engine.prepare({}, 160, 1)
