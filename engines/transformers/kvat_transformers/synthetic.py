"""Models of random weights with the shapes of real ones, made once in kvat's cache: nothing has to be downloaded.

A made model is an ordinary folder with configuration, safetensors and a byte-level tokenizer. Must not know how a model is run.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from .knobs import DTYPES
from .wire import Fault, one_line

SEED = 20240517
_TINY = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "vocab_size": 512, "max_position_embeddings": 4096, "bos_token_id": 0,
         "eos_token_id": 1, "pad_token_id": None, "dtype": "float32"}  # fmt: skip
# As published; `tiny` ones are for tests.
SHAPES: dict[str, dict[str, Any]] = {
    "gpt2": {"model_type": "gpt2", "dtype": "float32"},
    "gpt2-tiny": {"model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 2, "vocab_size": 512, "n_positions": 1024,
                  "bos_token_id": 0, "eos_token_id": 1, "dtype": "float32"},
    "qwen2.5-0.5b": {
        "model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14,
        "num_key_value_heads": 2, "vocab_size": 151936, "max_position_embeddings": 32768, "tie_word_embeddings": True,
        "rope_theta": 1000000.0, "rms_norm_eps": 1e-6, "bos_token_id": 151643, "eos_token_id": 151645, "dtype": "bfloat16",
    },
    "qwen2-tiny": {"model_type": "qwen2", **_TINY},
    "phi-1.5": {
        "model_type": "phi", "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 24, "num_attention_heads": 32,
        "vocab_size": 51200, "max_position_embeddings": 2048, "partial_rotary_factor": 0.5, "bos_token_id": None,
        "eos_token_id": None, "dtype": "float16",
    },
    "phi-tiny": {"model_type": "phi", **_TINY, "num_key_value_heads": 4, "partial_rotary_factor": 0.5},
    "llama-3.2-1b": {
        "model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
        "num_key_value_heads": 8, "head_dim": 64, "vocab_size": 128256, "max_position_embeddings": 131072,
        "tie_word_embeddings": True, "rope_theta": 500000.0, "rms_norm_eps": 1e-5, "bos_token_id": 128000,
        "eos_token_id": 128001, "dtype": "bfloat16",
    },
    "llama-tiny": {"model_type": "llama", **_TINY},
    "mistral-7b-window": {
        "model_type": "mistral", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 32000, "max_position_embeddings": 32768,
        "sliding_window": 4096, "rope_theta": 10000.0, "bos_token_id": 1, "eos_token_id": 2, "dtype": "bfloat16",
    },
    "mistral-tiny": {"model_type": "mistral", **_TINY, "sliding_window": 128},
}  # fmt: skip


def cache_folder() -> Path:
    """Where kvat keeps what it made."""
    own, xdg = os.environ.get("KVAT_CACHE_DIR"), os.environ.get("XDG_CACHE_HOME")
    return (Path(own) if own else Path(xdg or Path.home() / ".cache") / "kvat") / "synthetic"


def _shape(kind: str) -> tuple[str, dict[str, Any]]:
    """Name and configuration of a kind, or of the configuration file it names."""
    if kind in SHAPES:
        return kind, dict(SHAPES[kind])
    path = Path(kind)
    if not kind.endswith(".json"):
        raise Fault("bad_model", f"no synthetic model '{kind}'; there are: {', '.join(SHAPES)}, or the path of a config.json")
    try:
        shape = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Fault("bad_model", f"{path.name} is no configuration of a model: {one_line(error)}") from error
    if not isinstance(shape, dict) or not isinstance(shape.get("model_type"), str):
        raise Fault("bad_model", f'{path.name} is no configuration of a model: it has no "model_type"')
    if shape.get("auto_map"):
        raise Fault("bad_model", f"{path.name} needs code that comes with its model, and here is none")
    name = path.stem if path.stem != "config" else path.resolve().parent.name
    return name, shape


def _tokenizer(folder: Path) -> None:
    """One token a byte: enough for text to go in and come out."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}\n', encoding="utf-8")


def _write(folder: Path, name: str, shape: dict[str, Any]) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    members = {key: value for key, value in shape.items() if key not in ("model_type", "dtype", "torch_dtype", "architectures")}
    try:
        config = AutoConfig.for_model(shape["model_type"], **members)
        torch.manual_seed(SEED)
        with torch.device("cuda:0" if torch.cuda.is_available() else "cpu"):
            model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, shape["dtype"]))
    except (ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise Fault("bad_model", f"synthetic {name}: {one_line(error)}") from error
    model.save_pretrained(folder)
    _tokenizer(folder)


def folder_of(text: str) -> tuple[str, Path]:
    """Name and folder of `KIND[:dtype]`, made if it is not there yet. KIND may be the path of a config.json."""
    kind, _, dtype = text.rpartition(":")
    if not kind or (dtype not in DTYPES and kind not in SHAPES):
        kind, dtype = text, ""
    name, shape = _shape(kind)
    shape["dtype"] = dtype or shape.get("dtype") or shape.get("torch_dtype") or "float32"
    if shape["dtype"] not in DTYPES:
        raise Fault("bad_model", f"no type '{shape['dtype']}' of a synthetic model; there are: {', '.join(DTYPES)}")
    key = hashlib.sha256(json.dumps([shape, SEED], sort_keys=True).encode()).hexdigest()[:12]
    folder = cache_folder() / f"transformers-{name}-{key}"
    if not (folder / "config.json").is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
        try:
            _write(made, name, shape)
            made.chmod(0o755)
            made.rename(folder)
        except OSError:
            if not (folder / "config.json").is_file():  # else another worker was first
                raise
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return f"synthetic:{name}" + (f":{dtype}" if dtype else ""), folder


def identity(folder: Path) -> str:
    """Of a made model: a hash of its configuration and of the seed of its weights, the same wherever and whenever it is made."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config.pop("transformers_version", None)
    return "sha256:" + hashlib.sha256(json.dumps([config, SEED], sort_keys=True).encode()).hexdigest()
