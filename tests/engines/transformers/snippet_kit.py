"""Kit of the tests of optimized_config.py: plans, the file that `kvat apply` makes of them, and what goes on inside of it.

Needs torch, transformers and pytest in the Python that runs it, and KVAT, the program.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
from collections.abc import Iterator
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
    return model.generate(torch.tensor([list(map(byte_token, PROMPT))]), max_new_tokens=NEW, do_sample=False)


def byte_token(letter: str) -> int:
    return sorted(pre_tokenizers.ByteLevel.alphabet()).index("Ġ" if letter == " " else letter)
