"""optimized_config.py, as `kvat apply` prints it, run on small models of random weights: every setting is in force.

Quantized caches need hqq and quanto.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from snippet_kit import CONTEXT, NEW, PROMPT, SHAPES, Snippets, attentions, byte_token, generated, plainly, watched
from transformers import AutoModelForCausalLM

# ---- the file as a program ----


def test_it_runs_as_it_is(snippet: Snippets) -> None:
    path = snippet.write()
    done = subprocess.run([sys.executable, path, PROMPT, "--max-new-tokens", "4"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\n")
    assert len(done.stdout) > 1


def test_without_a_model_it_can_be_imported_and_says_how_to_give_one(snippet: Snippets, folders: dict[str, Path]) -> None:
    path = snippet.write(None)
    module = snippet(None)
    with pytest.raises(ValueError, match=r"load\(FOLDER\)"):
        module.load()
    none = subprocess.run([sys.executable, path, PROMPT], capture_output=True, text=True, timeout=120)
    assert none.returncode == 2
    assert "--model" in none.stderr
    env = {**os.environ, "MODEL": str(folders["llama"])}
    given = subprocess.run([sys.executable, path, PROMPT], capture_output=True, text=True, timeout=120, env=env)
    assert given.returncode == 0, given.stderr


REFUSED = [([""], "the prompt is empty"), ([PROMPT, "--max-new-tokens", "0"], "--max-new-tokens: must be 1 or more")]


@pytest.mark.parametrize(("arguments", "said"), REFUSED)
def test_as_a_program_it_refuses_what_cannot_be_continued(snippet: Snippets, arguments: list[str], said: str) -> None:
    done = subprocess.run([sys.executable, snippet.write(), *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


# ---- settings in force ----

KERNELS = {"flash": "_scaled_dot_product_flash_attention_for_cpu", "math": "_scaled_dot_product_attention_math"}


@pytest.mark.parametrize("kernel", ["flash", "math"])
def test_the_kernel_of_the_attention_is_the_one_asked_for(snippet: Snippets, kernel: str) -> None:
    module = snippet("llama", {"sdpa_kernel": kernel})
    model, tokenizer = module.load()
    with watched(model) as seen:
        generated(module, model, tokenizer)
    for name, operator in KERNELS.items():
        assert (f"aten::{operator}" in seen.operators) == (name == kernel), attentions(seen.operators)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_attention_is_the_one_asked_for(snippet: Snippets, attention: str) -> None:
    module = snippet("llama", {"attn_implementation": attention})
    model, tokenizer = module.load()
    assert model.config._attn_implementation == attention
    with watched(model) as seen:
        generated(module, model, tokenizer)
    assert bool(attentions(seen.operators)) == (attention == "sdpa")


@pytest.mark.parametrize("chunk", [0, 7, 29, 64])  # of 30 tokens; 29 leaves a last chunk of one token, which is prefill
def test_each_phase_has_its_threads_and_onednn_and_the_prefill_its_chunks(snippet: Snippets, chunk: int) -> None:
    module = snippet("llama", {"prefill_threads": 2, "decode_threads": 1, "prefill_mkldnn": "on", "decode_mkldnn": "off",
                               "prefill_chunk_size": chunk})  # fmt: skip
    model, tokenizer = module.load()
    with watched(model) as seen:
        generated(module, model, tokenizer)
    size = chunk or len(PROMPT)
    lengths = [min(size, len(PROMPT) - at) for at in range(0, len(PROMPT), size)]
    assert [each.tokens for each in seen.phase(decode=False)] == lengths
    assert [each.tokens for each in seen.phase(decode=True)] == [1] * (NEW - 1)
    assert {(each.threads, each.mkldnn) for each in seen.phase(decode=False)} == {(2, True)}
    assert {(each.threads, each.mkldnn) for each in seen.phase(decode=True)} == {(1, False)}


def test_the_other_way_round_too(snippet: Snippets) -> None:
    module = snippet("gpt2", {"prefill_threads": 1, "decode_threads": 2, "prefill_mkldnn": "off", "decode_mkldnn": "on"})
    model, tokenizer = module.load()
    with watched(model) as seen:
        generated(module, model, tokenizer)
        again = len(seen.passes)
        generated(module, model, tokenizer)
    for start in (0, again):
        assert (seen.passes[start].threads, seen.passes[start].mkldnn) == (1, False)
        assert {(each.threads, each.mkldnn) for each in seen.passes[start + 1 : start + NEW]} == {(2, True)}


@pytest.mark.parametrize("mode", ["no_grad", "inference_mode"])
def test_gradients_are_off_in_the_way_asked_for(snippet: Snippets, mode: str) -> None:
    module = snippet("llama", {"grad_mode": mode})
    model, tokenizer = module.load()
    with watched(model) as seen:
        output = generated(module, model, tokenizer)
    assert {(each.inference, each.grad) for each in seen.passes} == {(mode == "inference_mode", False)}
    assert output.is_inference() == (mode == "inference_mode")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_weights_and_cache_have_the_type_asked_for(snippet: Snippets, dtype: str) -> None:
    module = snippet("llama", {"dtype": dtype})
    model, tokenizer = module.load()
    with watched(model) as seen:
        generated(module, model, tokenizer)
    assert model.dtype == getattr(torch, dtype)
    assert seen.caches[0].layers[0].keys.dtype == getattr(torch, dtype)


# ---- caches ----

CACHES = {"dynamic": "DynamicCache", "static": "StaticCache", "sliding_window": "StaticCache"}


@pytest.mark.parametrize("model_name", SHAPES)
@pytest.mark.parametrize("kind", CACHES)
def test_each_call_gets_a_new_cache_of_its_kind_and_the_tokens_are_those_of_plain_generate(
    snippet: Snippets, folders: dict[str, Path], model_name: str, kind: str
) -> None:
    module = snippet(model_name, {"cache_implementation": kind})
    model, tokenizer = module.load()
    with watched(model) as seen:
        outputs = [generated(module, model, tokenizer) for _ in range(2)]
    assert [type(cache).__name__ for cache in seen.caches] == [CACHES[kind]] * 2
    if kind != "dynamic":
        window = SHAPES[model_name].get("sliding_window")
        assert seen.caches[0].layers[0].max_cache_len == (min(window, CONTEXT) if window else CONTEXT)
    expected = plainly(folders[model_name])
    for output in outputs:
        assert torch.equal(output, expected)


@pytest.mark.parametrize(("quantizer", "group"), [("hqq-4", 32), ("hqq-8", 64), ("quanto-4", 32)])
def test_a_quantized_cache_has_backend_bits_and_group_size(snippet: Snippets, quantizer: str, group: int) -> None:
    settings = {"cache_implementation": "quantized", "cache_quantizer": quantizer, "cache_group_size": group}
    module = snippet("llama", settings)
    model, tokenizer = module.load()
    with watched(model) as seen:
        generated(module, model, tokenizer)
        model.generate(**tokenizer(PROMPT, return_tensors="pt"), max_new_tokens=NEW)
        model.generate(**tokenizer(PROMPT, return_tensors="pt"), max_new_tokens=NEW)
    backend, bits = quantizer.split("-")
    assert len(seen.caches) == 3  # ours, and two of plain generate
    for cache in seen.caches:
        layer = cache.layers[0]
        assert type(layer).__name__.lower().startswith(backend)
        assert (layer.nbits, layer.q_group_size) == (int(bits), group)
        assert (layer.axis_key, layer.axis_value) == ((1, 1) if backend == "hqq" else (0, 0))


def test_a_longer_context_than_measured_is_warned_of_and_still_right(snippet: Snippets, folders: dict[str, Path]) -> None:
    module = snippet("llama", {"cache_implementation": "static"})
    model, tokenizer = module.load()
    module.CONTEXT_TOKENS = 32
    with pytest.warns(UserWarning, match="36 tokens are more than the 32"):
        output = generated(module, model, tokenizer)
    assert torch.equal(output, plainly(folders["llama"]))


def test_a_padded_batch_gets_the_tokens_of_plain_generate(snippet: Snippets, folders: dict[str, Path]) -> None:
    module = snippet("llama", {"cache_implementation": "static", "prefill_chunk_size": 8, "sdpa_kernel": "math"})
    model, tokenizer = module.load()
    tokenizer.pad_token, tokenizer.padding_side = tokenizer.convert_ids_to_tokens(0), "left"
    inputs = tokenizer([PROMPT, PROMPT[:11]], return_tensors="pt", padding=True)
    plain = AutoModelForCausalLM.from_pretrained(folders["llama"]).generate(**inputs, max_new_tokens=NEW)
    assert torch.equal(module.generate(model, inputs, NEW), plain)


def test_options_go_on_to_generate(snippet: Snippets) -> None:
    module = snippet("llama")
    model, tokenizer = module.load()
    inputs = tokenizer(PROMPT, return_tensors="pt")
    result = module.generate(model, inputs, NEW, num_beams=2, return_dict_in_generate=True)
    assert result.sequences.shape == (1, len(PROMPT) + NEW)
    kept = module.new_cache(model, 64)
    module.generate(model, inputs["input_ids"], NEW, past_key_values=kept)
    assert kept.get_seq_length() == len(PROMPT) + NEW - 1


def test_a_used_cache_leaves_its_tokens_out_of_the_prefill(snippet: Snippets) -> None:
    module = snippet("llama", {"prefill_threads": 2, "decode_threads": 1})
    model, tokenizer = module.load()
    inputs, half = tokenizer(PROMPT, return_tensors="pt"), len(PROMPT) // 2
    part = {name: tensor[:, :half] for name, tensor in inputs.items()}
    rest = {**inputs, "input_ids": inputs["input_ids"][:, half:]}  # with a mask as long as the whole
    undo = module.apply(model)
    for again in (inputs, rest):
        for run in (lambda given, **options: module.generate(model, given, NEW, **options),
                    lambda given, **options: model.generate(**given, max_new_tokens=NEW, **options)):  # fmt: skip
            cache = module.new_cache(model, 64)
            model(**part, past_key_values=cache)
            with watched(model) as seen:
                run(again, past_key_values=cache)
            assert [(each.tokens, each.threads) for each in seen.passes] == [(len(PROMPT) - half, 2), *[(1, 1)] * (NEW - 1)]
    undo()


def test_embeddings_stand_for_the_prompt(snippet: Snippets, folders: dict[str, Path]) -> None:
    module = snippet("llama", {"cache_implementation": "static", "prefill_threads": 2, "decode_threads": 1})
    model, tokenizer = module.load()
    embeddings = model.get_input_embeddings()(tokenizer(PROMPT, return_tensors="pt")["input_ids"]).detach()
    threads: list[int] = []
    hook = model.register_forward_pre_hook(lambda *_: threads.append(torch.get_num_threads()))
    output = module.generate(model, {"inputs_embeds": embeddings}, NEW)
    hook.remove()
    assert torch.equal(output, plainly(folders["llama"])[:, len(PROMPT) :])
    assert threads == [2] + [1] * (NEW - 1)


def test_a_compiled_forward_gives_the_same_tokens(snippet: Snippets, folders: dict[str, Path]) -> None:
    module = snippet("llama", {"cache_implementation": "static", "compile_mode": "default", "decode_threads": 1,
                               "prefill_chunk_size": 7})  # fmt: skip
    model, tokenizer = module.load()
    torch._dynamo.utils.counters.clear()
    assert model.generation_config.prefill_chunk_size is None  # as measured: what is compiled takes the prompt in whole
    assert torch.equal(generated(module, model, tokenizer), plainly(folders["llama"]))
    compiled = torch._dynamo.utils.counters["frames"]["ok"]
    assert compiled > 0
    generated(module, model, tokenizer)
    assert torch._dynamo.utils.counters["frames"]["ok"] == compiled  # a new cache does not compile anew


def test_compiled_code_is_that_of_the_kernel_in_force(snippet: Snippets) -> None:
    """Dynamo and its caches would take code of another: here of plain `generate`, which had PyTorch choose, and of another plan."""
    for kernel in ("math", "flash"):
        module = snippet("llama", {"cache_implementation": "static", "compile_mode": "default", "sdpa_kernel": kernel})
        model, tokenizer = module.load()
        model.generate(**tokenizer(PROMPT, return_tensors="pt"), max_new_tokens=NEW)
        generated(module, model, tokenizer)
        with watched(model) as seen:
            generated(module, model, tokenizer)
        assert any("_dot_product_flash_attention" in name for name in seen.operators) == (kernel == "flash"), attentions(seen.operators)


# ---- plain generate, apply and undo ----


def test_plain_generate_has_cache_and_chunks_from_its_configuration(snippet: Snippets, folders: dict[str, Path]) -> None:
    module = snippet("llama", {"cache_implementation": "static", "prefill_chunk_size": 7, "decode_threads": 1})
    model, tokenizer = module.load()
    with watched(model) as seen:
        output = model.generate(**tokenizer(PROMPT, return_tensors="pt"), max_new_tokens=NEW)
    assert torch.equal(output, plainly(folders["llama"]))
    assert [each.tokens for each in seen.phase(decode=False)] == [7, 7, 7, 7, 2]
    assert (type(seen.caches[0]).__name__, seen.caches[0].layers[0].max_cache_len) == ("StaticCache", CONTEXT)
    assert model.generation_config.disable_compile
    assert {each.threads for each in seen.passes} == {2}  # what it cannot carry, as the file says


SPECIAL = {"attn_implementation": "sdpa", "sdpa_kernel": "math", "cache_implementation": "static", "prefill_threads": 2,
           "decode_threads": 1, "decode_mkldnn": "off", "prefill_chunk_size": 29, "grad_mode": "inference_mode"}  # fmt: skip


def test_applied_to_a_live_model_plain_generate_has_everything_and_undo_leaves_nothing(snippet: Snippets, folders: dict[str, Path]) -> None:
    module = snippet(None, SPECIAL)
    model = AutoModelForCausalLM.from_pretrained(folders["llama"], attn_implementation="eager")
    inputs = {"input_ids": torch.tensor([list(map(byte_token, PROMPT))])}
    before = (dict(vars(model)), model.generation_config.to_dict(), model.config.to_dict())
    with watched(model) as plain:
        expected = model.generate(**inputs, max_new_tokens=NEW)
    undo = module.apply(model)
    with watched(model) as seen:
        output = model.generate(**inputs, max_new_tokens=NEW)
        model.generate(inputs["input_ids"], max_new_tokens=NEW)
    assert torch.equal(output, expected)
    assert len(seen.caches) == 2
    assert f"aten::{KERNELS['math']}" in seen.operators
    first = seen.passes[: 1 + NEW]
    assert [(each.tokens, each.threads, each.mkldnn, each.inference) for each in first] == [
        (29, 2, True, True), (1, 2, True, True), *[(1, 1, False, True)] * (NEW - 1)]  # fmt: skip
    undo()
    after = (dict(vars(model)), model.generation_config.to_dict(), model.config.to_dict())
    assert after[1:] == before[1:]
    assert {k: v for k, v in after[0].items() if not k.startswith("_")} == {k: v for k, v in before[0].items() if not k.startswith("_")}
    with watched(model) as again:
        assert torch.equal(model.generate(**inputs, max_new_tokens=NEW), expected)
    assert again.passes == plain.passes
    assert attentions(again.operators) == attentions(plain.operators)
    with pytest.raises(ValueError, match="apply"):
        module.generate(model, inputs, NEW)


def threads_of_passes(model: Any) -> set[int]:
    with watched(model) as seen:
        model.generate(torch.tensor([[5, 6, 7]]), max_new_tokens=NEW)
    return {each.threads for each in seen.passes}


def test_undo_gives_back_what_was_chosen_before(snippet: Snippets, folders: dict[str, Path]) -> None:
    module = snippet("llama", {"prefill_threads": 1, "decode_threads": 1})
    model, tokenizer = module.load()
    module.apply(model)()
    assert torch.equal(generated(module, model, tokenizer), plainly(folders["llama"]))
    first, second = module.apply(model), module.apply(model)
    second()
    assert threads_of_passes(model) == {1}
    second()
    assert threads_of_passes(model) == {1}
    first()
    assert threads_of_passes(model) == {2}
    assert torch.equal(generated(module, model, tokenizer), plainly(folders["llama"]))


def test_undo_in_another_order_is_refused_and_changes_nothing(snippet: Snippets, folders: dict[str, Path]) -> None:
    model = AutoModelForCausalLM.from_pretrained(folders["llama"])
    one, two = (snippet(None, {"prefill_threads": n, "decode_threads": n, "cache_implementation": kind})
                for n, kind in ((2, "static"), (1, "dynamic")))  # fmt: skip
    before = model.generation_config.to_dict()
    first = one.apply(model)
    between = model.generation_config.to_dict()
    second = two.apply(model)
    with pytest.raises(RuntimeError, match="kvat: undo what was applied later first"):
        first()
    assert threads_of_passes(model) == {1}
    second()
    assert model.generation_config.to_dict() == between
    assert threads_of_passes(model) == {2}
    first()
    first()
    assert model.generation_config.to_dict() == before
    assert "generate" not in vars(model)


# ---- several calls at a time ----


class Streamer:
    """Does something in the decode."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.act, self.puts = act, 0

    def put(self, value: torch.Tensor) -> None:
        self.puts += 1
        if self.puts == 3:
            self.act()

    def end(self) -> None:
        pass


@pytest.mark.parametrize("applied", [False, True])
def test_calls_of_two_threads_take_turns(snippet: Snippets, folders: dict[str, Path], applied: bool) -> None:
    """Else the second would begin and end later, and give back what the first had in force."""
    module = snippet("llama", {**SPECIAL, "grad_mode": "no_grad"})
    model, tokenizer = module.load()
    inputs = tokenizer(PROMPT, return_tensors="pt")
    undo = module.apply(model) if applied else lambda: None
    decoding, both, over = threading.Event(), threading.Event(), threading.Event()

    def call(streamer: Streamer) -> torch.Tensor:
        if applied:
            return model.generate(**inputs, max_new_tokens=NEW, streamer=streamer)
        return module.generate(model, inputs, NEW, streamer=streamer)

    def first() -> torch.Tensor:
        output = call(Streamer(lambda: (decoding.set(), both.wait(0.3))))
        over.set()
        return output

    def second() -> torch.Tensor:
        assert decoding.wait(60)
        torch.get_num_threads()  # those of the first
        return call(Streamer(lambda: (both.set(), over.wait(60))))

    with ThreadPoolExecutor(2) as pool:
        outputs = [each.result() for each in (pool.submit(first), pool.submit(second))]
    assert all(torch.equal(output, plainly(folders["llama"])) for output in outputs)
    with ThreadPoolExecutor(1) as new:
        assert new.submit(torch.get_num_threads).result() == 2
    assert "prepare_inputs_for_generation" not in vars(model)  # the fixture checks the rest
    undo()


def test_a_call_inside_of_a_call_does_not_wait_for_it(snippet: Snippets, folders: dict[str, Path]) -> None:
    module = snippet("llama", SPECIAL)
    model, tokenizer = module.load()
    inner: list[torch.Tensor] = []
    streamer = Streamer(lambda: inner.append(generated(module, model, tokenizer)))
    outer = module.generate(model, tokenizer(PROMPT, return_tensors="pt"), NEW, streamer=streamer)
    assert torch.equal(outer, inner[0])
    assert torch.equal(outer, plainly(folders["llama"]))


def test_a_model_of_another_type_is_told(snippet: Snippets, folders: dict[str, Path]) -> None:
    module = snippet(None, {"dtype": "bfloat16"})
    model = AutoModelForCausalLM.from_pretrained(folders["llama"], dtype=torch.float32)
    with pytest.warns(UserWarning, match="measured in bfloat16, but this model is in torch.float32"):
        module.apply(model)()


def test_a_call_that_fails_in_the_decode_leaves_the_process_as_it_was(snippet: Snippets) -> None:
    class Failing:
        puts = 0

        def put(self, value: torch.Tensor) -> None:
            self.puts += 1
            if self.puts == 4:  # the prompt and three tokens
                raise RuntimeError(f"{torch.get_num_threads()} threads")

    module = snippet("llama", SPECIAL)
    model, tokenizer = module.load()
    with pytest.raises(RuntimeError, match="1 threads"):
        module.generate(model, tokenizer(PROMPT, return_tensors="pt"), NEW, streamer=Failing())
    assert "prepare_inputs_for_generation" not in vars(model)  # the fixture checks the rest
