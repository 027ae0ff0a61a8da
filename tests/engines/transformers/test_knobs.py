"""Declarations from facts: defaults, what is searched, and what is absent with its reason."""

from __future__ import annotations

from typing import Any

import pytest
from kvat_transformers import machine
from kvat_transformers.knobs import Facts, declare, thread_counts
from protocol_kit import validator

CPU = Facts(kernels=("flash", "math"), masked_kernels=("flash", "math"), taken_kernel="flash", threads=2, mkldnn=True, compiles=True)
GPU = Facts(dtype="bfloat16", devices=("cuda:0", "cuda:1", "cpu", "auto"), attention=("sdpa", "eager", "flex_attention"),
            kernels=("flash", "efficient", "cudnn", "math"), masked_kernels=("efficient", "cudnn", "math"), taken_kernel="flash",
            quantizers=("hqq-8", "hqq-4", "hqq-2"), threads=16, mkldnn=True, compiles=True)  # fmt: skip


def by_name(facts: Facts) -> dict[str, dict[str, Any]]:
    return {knob["name"]: knob for knob in declare(facts)[0]}


@pytest.mark.parametrize("facts", [CPU, GPU, Facts(), Facts(window_tokens=64)])
def test_declarations_keep_to_the_schema_and_to_themselves(facts: Facts) -> None:
    knobs = by_name(facts)
    for knob in knobs.values():
        validator("knob").validate(knob)
        assert knob["default"] in knob["values"] and knob["default"] in knob["search"]
        assert set(knob["search"]) <= set(knob["values"])
        numerics = knob.get("numerics", "exact")
        assert isinstance(numerics, str) or set(numerics) <= set(knob["values"])
        for rule in knob.get("requires", []):
            assert set(rule["if"]) <= set(knob["values"])
            for other, allowed in rule["then"].items():
                assert allowed and set(allowed) <= set(knobs[other]["values"])


def test_defaults_are_those_of_a_plain_generate() -> None:
    expected = {"device": "cpu", "dtype": "float32", "attn_implementation": "sdpa", "sdpa_kernel": "auto", "cache_implementation": "dynamic",
                "compile_mode": "none", "prefill_threads": 2, "decode_threads": 2, "prefill_mkldnn": "on", "decode_mkldnn": "on",
                "prefill_chunk_size": 0, "grad_mode": "no_grad"}  # fmt: skip
    assert {name: knob["default"] for name, knob in by_name(CPU).items()} == expected
    assert by_name(GPU)["device"]["default"] == "cuda:0" and by_name(GPU)["dtype"]["default"] == "bfloat16"


@pytest.mark.parametrize("facts", [CPU, GPU])
def test_what_is_tried_unasked_is_little(facts: Facts) -> None:
    combinations = 1
    for knob in by_name(facts).values():
        lossy = {name for name, kind in knob["numerics"].items() if kind == "lossy"} if isinstance(knob.get("numerics"), dict) else set()
        combinations *= len(set(knob["search"]) - lossy)
    assert combinations <= 64
    assert by_name(facts)["compile_mode"]["search"] == ["none"]


def test_a_compiled_decode_has_its_prefill_in_one_piece() -> None:
    """`generate` uses the compiled call for the chunks of a prefill, too."""
    rule = by_name(GPU)["compile_mode"]["requires"][0]
    assert rule["if"] == ["default", "reduce-overhead", "max-autotune"]
    assert rule["then"] == {"cache_implementation": ["static"], "grad_mode": ["no_grad"], "prefill_chunk_size": [0]}


def test_narrower_types_are_lossy_and_wider_ones_are_not() -> None:
    assert by_name(CPU)["dtype"]["numerics"] == {"bfloat16": "lossy", "float16": "lossy"}
    assert by_name(GPU)["dtype"]["numerics"] == {"float32": "equivalent", "float16": "lossy"}
    assert by_name(Facts(dtype="float16", fixed_dtype=True))["dtype"]["values"] == ["float16"]


def test_a_kernel_without_masks_needs_a_cache_without_masks() -> None:
    rules = by_name(GPU)["sdpa_kernel"]["requires"]
    assert {"if": ["flash"], "then": {"cache_implementation": ["dynamic", "offloaded", "quantized"]}} in rules
    windowed = Facts(**{**vars(GPU), "window_tokens": 64, "quantizers": ()})
    assert "flash" not in by_name(windowed)["sdpa_kernel"]["values"]


def test_what_a_gpu_or_its_lack_rules_out() -> None:
    assert not [name for name in by_name(GPU) if "threads" in name or "mkldnn" in name]
    assert not [name for name in by_name(CPU)["cache_implementation"]["values"] if "offloaded" in name]
    assert "reduce-overhead" not in by_name(CPU)["compile_mode"]["values"]
    reasons = {entry["name"]: entry["reason"] for entry in declare(CPU)[1]}
    assert reasons["cache_implementation offloaded"] == "there is no GPU to offload from"
    assert by_name(GPU)["device"]["aliases"] == {"cuda": "cuda:0"}


def test_threads_go_by_powers_of_two_to_all() -> None:
    assert thread_counts(1) == [1] and thread_counts(6) == [1, 2, 4, 6] and thread_counts(8) == [1, 2, 4, 8]


def test_what_is_compiled_needs_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    tools = {"g++", "cc", "ninja", "nvcc"}
    monkeypatch.setattr(machine, "installed", lambda _: True)
    monkeypatch.setattr("shutil.which", lambda name: name if name in tools else None)
    for variable in ("CC", "CXX"):
        monkeypatch.delenv(variable, raising=False)
    on_gpu = False

    def quanto() -> str | None:
        found, missing = machine.quantizers(on_gpu)
        assert ("quanto-4" in found) == ("cache_quantizer quanto" not in missing) and "hqq-4" in found
        return missing.get("cache_quantizer quanto")

    monkeypatch.setattr("torch.cuda.is_available", lambda: on_gpu)
    assert quanto() is None and machine.can_compile() is None
    tools -= {"g++", "nvcc"}
    assert "no C++ compiler" in str(quanto()) and "no C++ compiler" in str(machine.can_compile())
    monkeypatch.setenv("CXX", "my-compiler -O1")
    tools |= {"my-compiler"}
    assert quanto() is None and machine.can_compile() is None
    on_gpu = True
    assert "no nvcc" in str(quanto()) and machine.can_compile() is None
    tools -= {"cc", "ninja"}
    assert "no ninja" in str(quanto()) and machine.can_compile() == "no C compiler in PATH"


def test_what_a_gpu_hides_is_said_without_saying_where_the_model_is() -> None:
    """`describe` does not know the device that will be chosen."""
    reasons = {entry["name"]: entry["reason"] for entry in declare(GPU)[1]}
    assert "where there is no GPU" in reasons["threads and oneDNN"]
