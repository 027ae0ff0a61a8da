"""Finds models: local folders, names in the Hugging Face cache, and `synthetic:` random weights; and refuses what cannot be used.

Nothing is downloaded unless KVAT_ALLOW_NETWORK is 1; only safetensors are read; no code of a model is run unless
KVAT_TRUST_REMOTE_CODE is 1. Must not know how a model is run.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from . import synthetic
from .knobs import DTYPES
from .wire import Fault, one_line

FILES = ["*.json", "*.txt", "*.model", "*.jinja"]  # and the weights they name
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
MOST_OF_ANYTHING = 2 * 10**6  # of layers, heads, words: far more than any model has
LONGEST_CONTEXT = 2**31 - 1
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")


def allowed(name: str) -> bool:
    """Whether the user said yes to KVAT_ALLOW_NETWORK or KVAT_TRUST_REMOTE_CODE."""
    return os.environ.get(name) == "1"


@dataclass(frozen=True)
class Source:
    """A model found: its configuration, its folder, and what names it for good."""

    name: str
    config: Any
    folder: Path
    identity: str
    revision: str | None = None  # of the hub
    synthetic: bool = False
    remote_code: bool = False

    @property
    def text_config(self) -> Any:
        return self.config.get_text_config(decoder=True)

    @cached_property
    def dtype(self) -> str:
        """Of the checkpoint, as the configuration names it, else as Transformers finds it out: that of the first weight that has one."""
        dtype = getattr(self.config, "dtype", None) or getattr(self.text_config, "dtype", None)
        return str(dtype).removeprefix("torch.") if dtype is not None else _stored_dtype(self.folder)

    @property
    def has_tokenizer(self) -> bool:
        return any((self.folder / name).is_file() for name in TOKENIZER_FILES)

    @property
    def weight_bytes(self) -> int:
        return sum((self.folder / name).stat().st_size for name in weight_files(self.folder))


def bad(name: str, text: str) -> Fault:
    return Fault("bad_model", f"{name}: {text}")


# ---- weights ----


def _index(folder: Path) -> dict[str, Any]:
    """What model.safetensors.index.json says, {} where Transformers does not look at it. Raises ValueError where it is broken."""
    path = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file() or not path.is_file():
        return {}
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("too deep") from error
    if not isinstance(index, dict) or not isinstance(index.get("weight_map"), dict):
        raise ValueError("no weight_map")
    if any(os.path.dirname(str(name)) for name in index["weight_map"].values()):
        raise ValueError("it names files outside of the folder")
    return index


def weight_files(folder: Path) -> list[str]:
    """Names of the files that Transformers loads, in its order; a folder may hold others. Not all need be there."""
    index = _index(folder)
    return sorted({str(name) for name in index["weight_map"].values()}) if index else ["model.safetensors"]


def _stored_dtype(folder: Path) -> str:
    from safetensors import SafetensorError, safe_open

    metadata = _index(folder).get("metadata")
    named = metadata.get("dtype") if isinstance(metadata, dict) else None
    if named:
        return str(named).removeprefix("torch.")
    names = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}
    try:
        with safe_open(folder / weight_files(folder)[0], framework="pt") as file:
            kinds = [file.get_slice(name).get_dtype() for name in file.keys()]  # noqa: SIM118 - it is no dictionary
    except (SafetensorError, OSError):  # which loading says better
        kinds = []
    return next((names[kind] for kind in kinds if kind in names), "float32")


# ---- the folder ----


def _from_hub(name: str) -> Path:
    """The snapshot of ORG/NAME[@REVISION] in the cache, fetched into it where that is allowed."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    repository, _, revision = name.partition("@")
    wanted = FILES + (["*.py"] if allowed("KVAT_TRUST_REMOTE_CODE") else [])
    offline = not allowed("KVAT_ALLOW_NETWORK")
    try:
        folder = Path(snapshot_download(repository, revision=revision or None, allow_patterns=wanted, local_files_only=offline))
        if not offline:
            snapshot_download(repository, revision=folder.name, allow_patterns=weight_files(folder))
        return folder
    except HFValidationError:
        raise bad(name, "no such file or folder, and no name a model can have on the Hugging Face hub") from None
    except LocalEntryNotFoundError as error:
        if offline:
            raise bad(name, "no such folder, and no such model in the Hugging Face cache; kvat stays offline unless it is told "
                            f"--allow-network (or fetch it yourself: hf download {name.replace('@', ' --revision ')})") from None  # fmt: skip
        raise bad(name, f"could not be fetched: {one_line(error)}") from error
    except Exception as error:  # noqa: BLE001 - no such repository, no permission, no network: all of them mean no model
        raise bad(name, f"could not be fetched: {one_line(error)}") from error


def _find_folder(name: str) -> Path:
    path = Path(name).expanduser()
    if path.is_dir():
        return path.resolve()
    if path.is_file() and path.name == "config.json":
        return path.resolve().parent
    if path.exists():
        raise bad(path.name, "a model of Transformers is a folder with config.json and safetensors, not a file")
    if name.startswith(("/", "./", "../", "~")):
        raise bad(name, "no such folder")
    return _from_hub(name)


# ---- checks ----


def _not_fetched(folder: Path) -> str:
    """What to do about a file that is not in a snapshot of the hub's cache, where that may be why."""
    if folder.parent.name != "snapshots" or allowed("KVAT_ALLOW_NETWORK"):
        return ""
    return "; the Hugging Face cache may hold a part of the model only: --allow-network fetches the rest"


def _check_weights(name: str, folder: Path) -> None:
    try:
        files = weight_files(folder)
    except ValueError as error:
        raise bad(name, f"model.safetensors.index.json cannot be read: {one_line(error)}") from error
    try:
        absent = [file for file in files if not (folder / file).is_file()]
    except OSError as error:
        raise bad(name, f"model.safetensors.index.json names no files: {error.strerror}") from error
    if not absent:
        return
    hint = _not_fetched(folder)
    if len(files) > 1 or files != ["model.safetensors"]:
        raise bad(name, f"{absent[0]} is missing ({len(absent)} of {len(files)} files with weights){hint}")
    if any(path for pattern in PICKLES for path in folder.glob(pattern)):
        todo = hint or "; convert them with model.save_pretrained(FOLDER, safe_serialization=True)"
        raise bad(name, f"its weights are pickles, which can hold code and are not read{todo}")
    raise bad(name, f"no weights: there is no model.safetensors{hint}")


def _check_sizes(name: str, members: dict[str, Any]) -> None:
    """Before Transformers makes lists as long, or attentions as wide, as a damaged configuration says."""
    nested = members.get("text_config")
    for member, value in [*members.items(), *(nested.items() if isinstance(nested, dict) else ())]:
        size = member.startswith(("num_", "n_")) or member.endswith(("_size", "_dim", "_layers"))
        if size and isinstance(value, int) and not -1 <= value <= MOST_OF_ANYTHING:
            raise bad(name, f"config.json is damaged: {member} {value}")


def _configuration(name: str, folder: Path) -> tuple[Any, bool]:
    """The configuration, and whether code that comes with the model will be run."""
    import transformers

    path = folder / "config.json"
    try:
        text = path.read_text(encoding="utf-8")
        members = json.loads(text)
    except FileNotFoundError:
        what = "there is no config.json; a model of Transformers is a folder that has one"
        raise bad(name, what + _not_fetched(folder)) from None
    except (OSError, ValueError, RecursionError) as error:
        raise bad(name, f"config.json cannot be read: {one_line(error)}") from error
    if not isinstance(members, dict) or not members:
        raise bad(name, "config.json holds no configuration")
    _check_sizes(name, members)
    kind = members.get("model_type")
    known = isinstance(kind, str) and kind in transformers.CONFIG_MAPPING
    own_code = bool(members.get("auto_map"))
    trusted = allowed("KVAT_TRUST_REMOTE_CODE")
    if not known and own_code and not trusted:
        raise bad(name, "needs code that comes with it, which is not run unasked; read it, then allow it with --trust-remote-code")
    if not known and not own_code:
        what = f"model_type {kind!r}" if kind else "a model without model_type"
        raise bad(name, f"{what} is unknown to Transformers {transformers.__version__}; a newer one may know it")
    use_code = own_code and trusted
    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=use_code, local_files_only=True)
    except Exception as error:  # noqa: BLE001 - a configuration may be wrong in as many ways as there are models
        raise bad(name, f"its configuration is refused: {one_line(error) or type(error).__name__}") from error
    return config, use_code


def model_class(source: Source) -> Any:
    """The class that `from_pretrained` would take, None where there is none. Imports code that comes with the model where that is run."""
    from transformers import AutoModelForCausalLM
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    reference = (getattr(source.config, "auto_map", None) or {}).get("AutoModelForCausalLM")
    if not source.remote_code or not reference:
        return AutoModelForCausalLM._model_mapping.get(type(source.config), None)
    offline = not allowed("KVAT_ALLOW_NETWORK")
    try:
        return get_class_from_dynamic_module(reference, str(source.folder), local_files_only=offline)
    except Exception as error:  # noqa: BLE001 - code of others may fail in any way
        raise bad(source.name, f"its own code cannot be used: {one_line(error)}") from error


def _check_kind(source: Source) -> None:
    config = source.text_config
    if getattr(source.config, "is_encoder_decoder", False):
        raise bad(source.name, "an encoder-decoder model; kvat tunes decoder-only language models")
    if model_class(source) is None:
        raise bad(source.name, f"a {source.config.model_type} model is no causal language model")
    for member in ("num_hidden_layers", "num_attention_heads", "hidden_size", "vocab_size"):
        value = getattr(config, member, None)
        if not isinstance(value, int) or value < 1:
            raise bad(source.name, f"its configuration has no {member}: a model without a KV cache, or a damaged one")
    if source.dtype not in DTYPES:
        raise bad(source.name, f"its weights are {source.dtype}; kvat measures {', '.join(DTYPES)}")
    if (context_limit(config) or 0) > LONGEST_CONTEXT:
        raise bad(source.name, f"its configuration has no length that a context can have: {context_limit(config)}")
    window = getattr(config, "sliding_window", None)
    if window is not None and (not isinstance(window, int) or window < 0):
        raise bad(source.name, f"its configuration has no window that attention can have: sliding_window {one_line(window, 40)}")
    low, high = tokens(source)
    if low >= high:
        raise bad(source.name, "its configuration has special tokens only")


def _identity(folder: Path) -> str:
    """A hash of the configuration and of the weights' headers, sizes and times: reading gigabytes takes too long."""
    digest = hashlib.sha256()
    weights = [folder / name for name in weight_files(folder)]
    for path in sorted([*folder.glob("config.json"), *weights, *folder.glob("*.py")]):
        stat, target = path.stat(), path.resolve()
        digest.update(f"{path.name}\0{stat.st_size}\0".encode())
        with path.open("rb") as file:
            digest.update(file.read(1 << 20))
        # A blob of the hub's cache is named by the hash of its content; elsewhere the time of its last change must do.
        named_by_content = path.is_symlink() and target.parent.name == "blobs"
        digest.update((target.name if named_by_content else str(stat.st_mtime_ns)).encode())
    return "sha256:" + digest.hexdigest()


def find(model: str) -> Source:
    """Raises `bad_model` in words for whatever cannot be loaded."""
    name = model.removeprefix("hf:")
    made = name.startswith("synthetic:")
    if made:
        name, folder = synthetic.folder_of(name.removeprefix("synthetic:"))
    else:
        folder = _find_folder(name)
    hub = folder.parent.name == "snapshots"
    shown = name if made or hub else folder.name
    config, use_code = _configuration(shown, folder)
    _check_weights(shown, folder)
    identity = synthetic.identity(folder) if made else _identity(folder)
    source = Source(name=shown.partition("@")[0] if hub else shown, config=config, folder=folder, identity=identity,
                    revision=folder.name if hub else None, synthetic=made, remote_code=use_code)  # fmt: skip
    _check_kind(source)
    return source


# ---- facts ----


def tokens(source: Source) -> tuple[int, int]:
    """The range of ids without the special tokens at its ends: low ≤ id < high."""
    config, vocabulary = source.text_config, source.text_config.vocab_size
    special: set[int] = set()
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        value = getattr(config, key, None)
        special |= {x for x in (value if isinstance(value, list) else [value]) if isinstance(x, int) and 0 <= x < vocabulary}
    low = max((x + 1 for x in special if x < vocabulary // 2), default=0)
    high = min((x for x in special if x >= vocabulary // 2), default=vocabulary)
    return low, high


def chat_template_sha256(source: Source) -> str | None:
    path = source.folder / "chat_template.jinja"
    try:
        if path.is_file():
            return hashlib.sha256(path.read_bytes()).hexdigest()
        text = json.loads((source.folder / "tokenizer_config.json").read_text(encoding="utf-8")).get("chat_template")
    except (OSError, ValueError, AttributeError):
        return None
    return hashlib.sha256(text.encode()).hexdigest() if isinstance(text, str) else None


def heads(source: Source) -> tuple[int, int, int]:
    """Query heads, heads of keys and values, and their size."""
    config = source.text_config
    query = config.num_attention_heads
    return (query, getattr(config, "num_key_value_heads", None) or query,
            getattr(config, "head_dim", None) or config.hidden_size // query)  # fmt: skip


def described(source: Source) -> dict[str, Any]:
    """`model` of the answer to `describe`."""
    config = source.text_config
    query, key_value, size = heads(source)
    low, high = tokens(source)
    model: dict[str, Any] = {
        "name": source.name, "architecture": source.config.model_type, "format": "safetensors", "identity": source.identity,
        "weight_type": source.dtype, "file": str(source.folder), "synthetic": source.synthetic, "layers": config.num_hidden_layers,
        "heads": query, "kv_heads": key_value, "head_size": size, "window_tokens": window_tokens(source),
        "training_context_tokens": context_limit(config) or 0, "weight_bytes": source.weight_bytes,
        "vocabulary": config.vocab_size, "token_low": low, "token_high": high,
        "chat_template_sha256": chat_template_sha256(source),
    }  # fmt: skip
    if source.revision:
        model["revision"] = source.revision
    if source.remote_code:
        model["remote_code"] = True
    return model


def context_limit(config: Any) -> int | None:
    """Positions the model has, None where it does not say."""
    limit = getattr(config, "max_position_embeddings", None)
    return limit if isinstance(limit, int) and limit > 0 else None


def window_tokens(source: Source) -> int:
    """The sliding window where some layer has one, else 0."""
    config = source.text_config
    kinds = getattr(config, "layer_types", None)
    if kinds and not any("sliding" in kind or "chunked" in kind for kind in kinds):
        return 0
    window = getattr(config, "sliding_window", None) or getattr(config, "attention_chunk_size", None)
    return int(window) if window and getattr(config, "use_sliding_window", True) else 0


def notes(source: Source) -> list[str]:
    """Sentences for the user."""
    said = []
    if source.remote_code:
        said.append("Code that comes with this model is run, as --trust-remote-code allows")
    if allowed("KVAT_ALLOW_NETWORK"):
        said.append("Models may be fetched from the Hugging Face hub, as --allow-network allows")
    if not source.has_tokenizer:
        said.append("The model has no tokenizer: it is measured with token ids, and text cannot be given to it")
    return said
