"""optimized_config.py, as `kvat apply` prints it, run on small models of random weights: every setting is in force.

Needs torch, transformers, hqq and pytest in the Python that runs it, and KVAT, the program.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch.profiler import ProfilerActivity, profile
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

ROOT = Path(__file__).resolve().parents[3]
KVAT = os.environ.get("KVAT", str(ROOT / "build" / "release" / "bin" / "kvat"))
SAMPLE = json.loads((ROOT / "fuzz" / "corpus" / "plan" / "transformers.json").read_text())
LLAMA = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "max_position_embeddings": 512}  # fmt: skip
SHAPES = {
    "llama": LLAMA,
    "mistral": {**LLAMA, "model_type": "mistral", "sliding_window": 16},
    "gpt2": {"model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 2, "n_positions": 512},
}
DEFAULTS = {"dtype": "float32", "attn_implementation": "sdpa", "sdpa_kernel": "auto", "cache_implementation": "dynamic",
            "cache_quantizer": "none", "cache_group_size": 64, "compile_mode": "none", "prefill_threads": 2, "decode_threads": 2,
            "prefill_mkldnn": "on", "decode_mkldnn": "on", "prefill_chunk_size": 0, "grad_mode": "no_grad"}  # fmt: skip
CONTEXT = 96
PROMPT = "the quick brown fox jumps over"  # 30 bytes, each a token
NEW = 6


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Model folders with weights and a byte-level tokenizer."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    root = tmp_path_factory.mktemp("models")
    for name, shape in SHAPES.items():
        torch.manual_seed(7)
        config = AutoConfig.for_model(vocab_size=256, bos_token_id=None, eos_token_id=None, pad_token_id=0, **shape)
        AutoModelForCausalLM.from_config(config).save_pretrained(root / name)
        PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(root / name)
    return {name: root / name for name in SHAPES}


def write_plan(path: Path, settings: dict[str, Any], **members: Any) -> Path:
    plan = {**SAMPLE, "context_tokens": CONTEXT, "settings": {**DEFAULTS, **settings}, "fallback": [], **members}
    path.write_text(json.dumps(plan))
    return path


def apply_plan(plan: Path, *arguments: str | Path, **environment: str) -> str:
    env = os.environ | environment
    done = subprocess.run([KVAT, "apply", plan, *arguments], capture_output=True, text=True, timeout=60, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Snippets:
    """Writes optimized_config.py for settings and a model, and imports it."""

    def __init__(self, folder: Path, folders: dict[str, Path]) -> None:
        self.folder, self.folders = folder, folders

    def write(self, source: str | None = "llama", settings: dict[str, Any] | None = None, **members: Any) -> Path:
        nowhere = {**SAMPLE["model"], "name": "nowhere", "revision": None}
        plan = write_plan(self.folder / "plan.json", settings or {}, **{"model": nowhere, **members})
        where = ["--model", self.folders.get(source, source)] if source else []
        path = self.folder / "optimized_config.py"
        # No worker: the file does not depend on what it says, and PyTorch takes seconds to be imported.
        path.write_text(apply_plan(plan, "--format", "python", "--free-memory", "1TiB", *where, KVAT_PYTHON="/bin/false"))
        return path

    def __call__(self, source: str | None = "llama", settings: dict[str, Any] | None = None, **members: Any) -> ModuleType:
        spec = importlib.util.spec_from_file_location("optimized_config", self.write(source, settings, **members))
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module


@pytest.fixture
def snippet(tmp_path: Path, folders: dict[str, Path]) -> Iterator[Snippets]:
    torch.set_num_threads(2)
    before = process_state()
    yield Snippets(tmp_path, folders)
    assert process_state() == before  # whatever was done, the process is as it was


def process_state() -> tuple[Any, ...]:
    backends = (torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.math_sdp_enabled())
    return torch.get_num_threads(), torch.backends.mkldnn.enabled, backends, torch.is_grad_enabled(), torch.is_inference_mode_enabled()


@dataclass
class Pass:
    """One forward pass, as its embedding layer saw it."""

    tokens: int
    threads: int
    mkldnn: bool
    inference: bool
    grad: bool


@dataclass
class Seen:
    passes: list[Pass] = field(default_factory=list)
    caches: list[Any] = field(default_factory=list)
    operators: set[str] = field(default_factory=set)

    def phase(self, decode: bool) -> list[Pass]:
        """The passes of the decode are the last NEW - 1."""
        return self.passes[-(NEW - 1) :] if decode else self.passes[: -(NEW - 1)]


@contextmanager
def watched(model: Any) -> Iterator[Seen]:
    """What goes on inside of the model's forward passes."""
    seen = Seen()

    def inside(module: Any, args: tuple[Any, ...]) -> None:
        state = (torch.get_num_threads(), torch.backends.mkldnn.enabled, torch.is_inference_mode_enabled(), torch.is_grad_enabled())
        seen.passes.append(Pass(args[0].shape[1], *state))

    def outside(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not any(kwargs["past_key_values"] is cache for cache in seen.caches):
            seen.caches.append(kwargs["past_key_values"])

    hooks = [model.get_input_embeddings().register_forward_pre_hook(inside), model.register_forward_pre_hook(outside, with_kwargs=True)]
    try:
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            yield seen
        seen.operators = {event.key for event in profiler.key_averages()}
    finally:
        for hook in hooks:
            hook.remove()


def attentions(operators: set[str]) -> set[str]:
    return {name for name in operators if "scaled_dot_product" in name}


def generated(module: ModuleType, model: Any, tokenizer: Any) -> torch.Tensor:
    return module.generate(model, tokenizer(PROMPT, return_tensors="pt"), NEW)


def plainly(folder: Path, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Tokens by Transformers without anything of kvat's."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    return model.generate(torch.tensor([list(map(_token, PROMPT))]), max_new_tokens=NEW, do_sample=False)


def _token(letter: str) -> int:
    return sorted(pre_tokenizers.ByteLevel.alphabet()).index("Ġ" if letter == " " else letter)


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
    inputs = {"input_ids": torch.tensor([list(map(_token, PROMPT))])}
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


# ---- loading ----


def test_weights_that_lack_a_tensor_are_refused(snippet: Snippets, folders: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    broken = copied(folders["llama"], tmp_path / "broken")
    tensors = load_file(broken / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lack model\.layers\.1\.mlp\.up_proj\.weight and 0 more"):
        snippet(str(broken)).load()


def test_pickled_weights_are_not_read(snippet: Snippets, folders: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file

    pickled = copied(folders["llama"], tmp_path / "pickled")
    torch.save(load_file(pickled / "model.safetensors"), pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    with pytest.raises(OSError, match="safetensors"):
        snippet(str(pickled)).load()


@pytest.mark.parametrize("measured", [False, True])
@pytest.mark.parametrize("allowed", [False, True])
def test_code_of_the_model_runs_only_where_the_user_says_so(
    snippet: Snippets, folders: dict[str, Path], tmp_path: Path, measured: bool, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the plan says, and the environment."""
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    foreign = copied(folders["llama"], tmp_path / "foreign")
    config = json.loads((foreign / "config.json").read_text())
    names = {"AutoConfig": "mine.MineConfig", "AutoModelForCausalLM": "mine.MineForCausalLM"}
    (foreign / "config.json").write_text(json.dumps({**config, "model_type": "mine", "auto_map": names}))
    (foreign / "mine.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w').close()\n"
        "from transformers import LlamaConfig, LlamaForCausalLM\n"
        "class MineConfig(LlamaConfig):\n    model_type = 'mine'\n"
        "class MineForCausalLM(LlamaForCausalLM):\n    config_class = MineConfig\n"
    )
    module = snippet(str(foreign), model={**SAMPLE["model"], "revision": None, "remote_code": measured})
    monkeypatch.setenv("KVAT_TRUST_REMOTE_CODE", "1")  # which is for the worker
    if allowed:
        model, tokenizer = module.load(trust_remote_code=True)
        assert type(model).__name__ == "MineForCausalLM"
        assert generated(module, model, tokenizer).shape == (1, len(PROMPT) + NEW)
    else:
        said = "measured with code that comes with the model.*--trust-remote-code" if measured else "trust_remote_code"
        with pytest.raises(ValueError, match=said):
            module.load()
    assert (tmp_path / "ran").exists() == allowed


@pytest.mark.parametrize("allowed", [False, True])
def test_as_a_program_it_needs_the_word_of_its_user_for_remote_code(snippet: Snippets, folders: dict[str, Path], allowed: bool) -> None:
    path = snippet.write("llama", model={**SAMPLE["model"], "revision": None, "remote_code": True})
    command = [sys.executable, path, PROMPT, "--max-new-tokens", "2", *(["--trust-remote-code"] if allowed else [])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == (0 if allowed else 2)
    assert allowed or "--trust-remote-code" in done.stderr.splitlines()[-1]


def copied(folder: Path, to: Path) -> Path:
    to.mkdir()
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to


# ---- fallback rules ----

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
