"""Models: found, described, and refused in words that say what to do."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from kit import CUDA, IDS, ready, tokens_of
from kvat_transformers import loading, sources, synthetic
from kvat_transformers.engine import Engine
from kvat_transformers.wire import Fault
from safetensors.torch import load_file, save_file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of one's own."""
    _, made = synthetic.folder_of("qwen2-tiny")
    return Path(shutil.copytree(made, tmp_path / "mine"))


def edited(folder: Path, **members: Any) -> Path:
    path = folder / "config.json"
    config = json.loads(path.read_text()) | members
    path.write_text(json.dumps({name: value for name, value in config.items() if value is not None}))
    return folder


def refused(call: Any, *words: str) -> None:
    """`call()` ends with bad_model and a sentence that has these words."""
    with pytest.raises(Fault) as fault:
        call()
    assert fault.value.kind == "bad_model"
    for word in words:
        assert word in fault.value.detail, fault.value.detail
    assert "\n" not in fault.value.detail and len(fault.value.detail) < 500


def loads(model: str) -> Any:
    return loading.load(sources.find(model), "float32", "cpu")


# ---- what works ----


def test_a_folder_is_found_by_absolute_and_relative_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    for name in (str(folder), "./mine", "mine", "hf:mine", f"hf:{folder}", "./mine/config.json"):
        source = sources.find(name)
        assert (source.name, source.folder, source.revision, source.synthetic) == ("mine", folder, None, False)


REVISIONS = ["0123456789abcdef0123456789abcdef01234567", "89abcdef0123456789abcdef0123456789abcdef"]


@pytest.fixture
def hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of some/thing in a cache of the hub."""
    place = tmp_path / "hub" / "models--some--thing"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(REVISIONS[0])
    shutil.copytree(folder, place / "snapshots" / REVISIONS[0])
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return place


def test_a_name_of_the_hub_comes_from_its_cache_with_its_revision(hub: Path) -> None:
    for name in ("some/thing", "hf:some/thing", f"some/thing@{REVISIONS[0]}"):
        source = sources.find(name)
        assert (source.name, source.revision) == ("some/thing", REVISIONS[0])
        assert sources.described(source)["revision"] == REVISIONS[0]


def test_what_was_described_is_loaded_though_the_hub_has_moved_on(hub: Path) -> None:
    engine = Engine(lambda: None, lambda _: None)
    assert engine.describe("some/thing")["model"]["revision"] == REVISIONS[0]
    shutil.copytree(hub / "snapshots" / REVISIONS[0], hub / "snapshots" / REVISIONS[1])
    (hub / "refs" / "main").write_text(REVISIONS[1])
    engine.load("some/thing", {})
    assert engine.source is not None and engine.source.revision == REVISIONS[0]
    assert sources.find("some/thing").revision == REVISIONS[1]


@pytest.mark.parametrize("lost", ["weights", "only pickles", "a shard", "config"])
def test_a_snapshot_that_is_not_all_there_says_how_to_get_the_rest(hub: Path, lost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = hub / "snapshots" / REVISIONS[0]
    weights = snapshot / "model.safetensors"
    if lost == "config":
        (snapshot / "config.json").unlink()
    elif lost == "only pickles":
        weights.rename(snapshot / "pytorch_model.bin")
    else:
        weights.unlink()
    if lost == "a shard":
        (snapshot / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-00001-of-00001.safetensors"}}')
    refused(lambda: sources.find("some/thing"), "--allow-network fetches the rest")


def test_only_the_weights_that_are_loaded_are_fetched(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    snapshot = hub / "snapshots" / REVISIONS[0]

    def fetch(repository: str, revision: str | None, allow_patterns: list[str], **_: Any) -> str:
        asked.append((revision, allow_patterns))
        return str(snapshot)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    monkeypatch.setenv("KVAT_ALLOW_NETWORK", "1")
    sources.find("some/thing")
    shards = [f"model-0000{part}-of-00002.safetensors" for part in (1, 2)]
    shutil.copy(snapshot / "model.safetensors", snapshot / shards[1])
    (snapshot / "model.safetensors").rename(snapshot / shards[0])
    (snapshot / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shards[1], "b": shards[0]}}))
    (snapshot / "consolidated.safetensors").write_bytes(b"more")
    source = sources.find("some/thing")
    assert source.weight_bytes == 2 * (snapshot / shards[0]).stat().st_size
    assert not any(".safetensors" in pattern for pattern in asked[0][1]) and asked[2][1] == asked[0][1]
    assert asked[1] == (REVISIONS[0], ["model.safetensors"]) and asked[3] == (REVISIONS[0], shards)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_a_type_that_the_configuration_does_not_name_is_that_of_the_weights(folder: Path, dtype: torch.dtype) -> None:
    from transformers import AutoModelForCausalLM

    weights = {name: tensor.to(dtype) for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file({"a": torch.ones(1, dtype=torch.int64), **weights}, folder / "model.safetensors", metadata={"format": "pt"})
    edited(folder, dtype=None, torch_dtype=None)
    expected = AutoModelForCausalLM.from_pretrained(folder, dtype="auto").dtype
    assert expected == dtype and f"torch.{sources.find(str(folder)).dtype}" == str(expected)
    engine = Engine(lambda: None, lambda _: None)
    assert engine.load(str(folder), {})["effective"]["dtype"] == str(expected).removeprefix("torch.")


def test_what_is_described_is_what_the_configuration_says() -> None:
    model = sources.described(sources.find("hf:synthetic:mistral-tiny"))
    expected = {"name": "synthetic:mistral-tiny", "architecture": "mistral", "layers": 2, "heads": 4, "kv_heads": 2, "head_size": 16,
                "window_tokens": 128, "training_context_tokens": 4096, "vocabulary": 512, "synthetic": True, "weight_type": "float32",
                "token_low": 2, "token_high": 512}  # fmt: skip
    assert expected.items() <= model.items()
    assert model["weight_bytes"] == sum(path.stat().st_size for path in Path(model["file"]).glob("*.safetensors"))


@pytest.mark.parametrize(("shape", "bytes_", "limit"), [("gpt2", 124439808 * 4, 1024), ("qwen2.5-0.5b", 494032768 * 2, 32768),
                                                       ("phi-1.5", 1418270720 * 2, 2048)])  # fmt: skip
def test_shapes_of_real_models_have_their_published_sizes(shape: str, bytes_: int, limit: int) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    members = {name: value for name, value in synthetic.SHAPES[shape].items() if name not in ("model_type", "dtype")}
    config = AutoConfig.for_model(synthetic.SHAPES[shape]["model_type"], **members)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    tied = {id(parameter): parameter.numel() for parameter in model.parameters()}
    size = 2 if synthetic.SHAPES[shape]["dtype"] != "float32" else 4
    assert sum(tied.values()) * size == bytes_
    assert sources.context_limit(config) == limit


def test_a_synthetic_model_is_made_once_and_can_be_of_any_type_and_shape(tmp_path: Path) -> None:
    name, made = synthetic.folder_of("llama-tiny:bfloat16")
    assert name == "synthetic:llama-tiny:bfloat16" and synthetic.folder_of("llama-tiny:bfloat16")[1] == made
    assert sources.find("hf:synthetic:llama-tiny:bfloat16").dtype == "bfloat16"
    path = tmp_path / "config.json"
    path.write_text(json.dumps(synthetic.SHAPES["llama-tiny"] | {"num_hidden_layers": 1}))
    source = sources.find(f"hf:synthetic:{path}")
    assert source.text_config.num_hidden_layers == 1 and source.name == f"synthetic:{tmp_path.name}"
    assert not list(made.parent.glob(".making-*"))


def test_the_identity_changes_with_the_weights(folder: Path) -> None:
    before = sources.find(str(folder)).identity
    assert sources.find(str(folder)).identity == before
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] += 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert sources.find(str(folder)).identity != before


def test_a_link_is_a_hash_of_its_content_only_into_blobs_of_the_hub(folder: Path, tmp_path: Path) -> None:
    for place, by_content in (("elsewhere", False), ("blobs", True)):
        (tmp_path / place).mkdir()
        target = tmp_path / place / "weights"
        path = folder / "model.safetensors"
        shutil.copy(path, target)
        path.unlink()
        path.symlink_to(target)
        before = sources.find(str(folder)).identity
        os.utime(target, ns=(1, 1))
        assert (sources.find(str(folder)).identity == before) == by_content


def test_a_synthetic_model_made_again_is_the_same() -> None:
    _, made = synthetic.folder_of("qwen2-tiny")
    before = sources.find("hf:synthetic:qwen2-tiny").identity
    os.utime(made / "model.safetensors", ns=(1, 1))
    assert sources.find("hf:synthetic:qwen2-tiny").identity == before
    assert sources.find("hf:synthetic:llama-tiny").identity != before


def test_a_type_is_loaded_anew_and_not_by_way_of_a_narrower_one(folder: Path) -> None:
    engine = Engine(lambda: None, lambda _: None)
    engine.load(str(folder), {"dtype": "bfloat16"})
    engine.load(str(folder), {"dtype": "float32"})
    stored = load_file(folder / "model.safetensors")["model.norm.weight"]
    assert torch.equal(engine.model.model.norm.weight.cpu(), stored)


def test_without_a_tokenizer_it_is_measured_all_the_same(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()
    engine = Engine(lambda: None, lambda _: None)
    notes = engine.describe(str(folder))["notes"]
    assert any("no tokenizer" in note for note in notes)
    engine.load(str(folder), {})
    engine.prepare({}, 128, 1)
    assert len(tokens_of(engine, IDS, 4)) == 4


# ---- what is refused ----


def test_a_name_that_is_nowhere_says_how_to_get_it() -> None:
    refused(lambda: sources.find("some/model"), "some/model: no such folder", "--allow-network", "hf download some/model")
    refused(lambda: sources.find("./nowhere"), "no such folder")
    refused(lambda: sources.find("not a name"), "no name a model can have")


def test_a_file_is_no_model(folder: Path) -> None:
    refused(lambda: sources.find(str(folder / "model.safetensors")), "a folder with config.json")


def test_a_folder_without_a_configuration(folder: Path) -> None:
    (folder / "config.json").unlink()
    refused(lambda: sources.find(str(folder)), "mine: there is no config.json")


@pytest.mark.parametrize("text", ["", "[]", "{", "{}", '"text"', '{"hidden_size": 3}'])
def test_a_broken_configuration(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    refused(lambda: sources.find(str(folder)), "mine: ")


def test_a_model_type_that_is_unknown(folder: Path) -> None:
    refused(lambda: sources.find(str(edited(folder, model_type="brand-new"))), "model_type 'brand-new' is unknown to Transformers 5")


def test_code_that_comes_with_the_model_is_not_run_unasked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    auto = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    edited(folder, model_type="own-tiny", auto_map=auto, architectures=["OwnModel"])
    (folder / "own.py").write_text(
        "from transformers import Qwen2Config, Qwen2ForCausalLM\n"
        "class OwnConfig(Qwen2Config):\n    model_type = 'own-tiny'\n"
        "class OwnModel(Qwen2ForCausalLM):\n    config_class = OwnConfig\n"
        "    def forward(self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, use_cache=None):\n"
        "        return super().forward(input_ids, attention_mask, position_ids, past_key_values, use_cache=use_cache)\n"
    )
    refused(lambda: sources.find(str(folder)), "needs code that comes with it", "--trust-remote-code")
    monkeypatch.setenv("KVAT_TRUST_REMOTE_CODE", "1")
    monkeypatch.setenv("HF_MODULES_CACHE", str(folder.parent / "modules"))
    engine = Engine(lambda: None, lambda _: None)
    described = engine.describe(str(folder))
    assert described["model"]["remote_code"] is True
    (attentions,) = [knob["values"] for knob in described["knobs"] if knob["name"] == "attn_implementation"]
    assert {"sdpa", "eager"} <= set(attentions)
    assert any("--trust-remote-code" in note for note in described["notes"])
    engine.load(str(folder), {})
    engine.prepare({}, 128, 1)
    assert len(tokens_of(engine, IDS, 4)) == 4  # by a forward that cannot leave out logits
    edited(folder, auto_map={**auto, "AutoModelForCausalLM": "own.NoSuchModel"})
    refused(lambda: sources.find(str(folder)), "its own code cannot be used")


@pytest.mark.parametrize("kind", ["t5", "vit", "bert-generation"])
def test_models_that_are_no_language_models(folder: Path, kind: str) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    if kind == "bert-generation":  # a decoder it is
        assert sources.find(str(folder)).name == "mine"
    else:
        refused(lambda: sources.find(str(folder)), "mine: ")


def test_pickles_are_not_read(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refused(lambda: sources.find(str(folder)), "pickles", "save_pretrained")


def test_no_weights_at_all(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    refused(lambda: sources.find(str(folder)), "no weights")


def test_a_shard_that_is_missing_is_named(folder: Path) -> None:
    index = {"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    refused(lambda: sources.find(str(folder)), "model-00002-of-00002.safetensors is missing (1 of 2")


def test_a_checkpoint_without_a_tensor_is_not_filled_at_random(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights.pop("model.layers.1.mlp.up_proj.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    refused(lambda: loads(str(folder)), "lacks model.layers.1.mlp.up_proj.weight")


def test_a_checkpoint_of_another_shape(folder: Path) -> None:
    refused(lambda: loads(str(edited(folder, hidden_size=96))), "mine: ")


@pytest.mark.parametrize("keep", [0, 7, 100, 5000])
def test_weights_that_are_cut_off(folder: Path, keep: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    refused(lambda: loads(str(folder)), "mine: cannot be loaded")


@pytest.mark.parametrize(("name", "words"), [("nothing", "there are: gpt2"), ("gpt2-tiny:int3", "there are: float32"), ("", "there are")])
def test_a_synthetic_model_there_is_not(name: str, words: str) -> None:
    refused(lambda: sources.find(f"hf:synthetic:{name}"), words)


# ---- settings that cannot be ----


@pytest.mark.skipif(CUDA, reason="there is a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "auto", "mps"])
def test_a_device_that_is_not_here(device: str) -> None:
    with pytest.raises(Fault) as fault:
        Engine(lambda: None, lambda _: None).load("hf:synthetic:gpt2-tiny", {"device": device})
    assert (fault.value.kind, fault.value.knob) == ("unsupported", "device") and device.split(":")[0] in fault.value.detail


@pytest.mark.parametrize(("settings", "knob"), [
    ({"cache_implementation": "quantized"}, "cache_quantizer"), ({"cache_quantizer": "hqq-4"}, "cache_quantizer"),
    ({"attn_implementation": "eager", "sdpa_kernel": "math"}, "sdpa_kernel"), ({"compile_mode": "default"}, "compile_mode"),
    ({"cache_implementation": "paged"}, "cache_implementation"), ({"cache_group_size": 0}, "cache_group_size"),
    ({"prefill_threads": 0}, "prefill_threads"), ({"grad_mode": "grad"}, "grad_mode"), ({"no_such": 1}, "no_such"),
])  # fmt: skip
def test_settings_that_do_not_go_together_are_named(settings: dict[str, Any], knob: str) -> None:
    with pytest.raises(Fault) as fault:
        ready("llama-tiny", settings)
    assert (fault.value.kind, fault.value.knob) == ("invalid_setting", knob)


def test_a_context_beyond_the_models_is_unsupported() -> None:
    with pytest.raises(Fault, match="1025 tokens is more than the model's 1024") as fault:
        ready("gpt2-tiny", tokens=1025)
    assert fault.value.kind == "unsupported"
    ready("gpt2-tiny", tokens=1024, sequences=4)  # each of them


DAMAGED = {
    "layers without end": {"num_hidden_layers": 100_000_000},
    "labels without end": {"num_labels": 1_000_000_000},
    "a head as wide as the memory": {"head_dim": 10**9},
    "heads below none": {"num_key_value_heads": -1},
    "heads that cannot be shared": {"num_key_value_heads": 3},
    "code named as a word": {"auto_map": "x"},
    "a context without end": {"max_position_embeddings": 10**18},
    "special tokens only": {"eos_token_id": list(range(512))},
    "a window of a word": {"sliding_window": "x", "model_type": "mistral"},
    "a window below none": {"sliding_window": -1, "model_type": "mistral"},
    "a type that is none": {"dtype": 5},
    "a type that is an object": {"dtype": {}},
    "whole numbers": {"dtype": "int8"},
    "eight bits": {"dtype": "float8_e4m3fn"},
    "a type that is not tuned": {"dtype": "float64"},
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_configuration_that_makes_no_sense_is_a_bad_model(what: str, folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | DAMAGED[what]))
    with pytest.raises(Fault) as fault:
        Engine(lambda: None, lambda _: None).describe(str(folder))
    assert fault.value.kind == "bad_model" and fault.value.detail.startswith(f"{folder.name}: "), fault.value


@pytest.mark.parametrize(("text", "words"), [("[" * 100_000, "cannot be read"), ('{"weight_map": {"a": "/etc/passwd"}}', "outside"),
                                             ('{"weight_map": {"a": "../other/model.safetensors"}}', "outside"),
                                             ('{"weight_map": {"a": "' + "x" * 5000 + '"}}', "names no files"),
                                             ('{"weight_map": {"a": "w.safetensors"}, "metadata": []}', "")])  # fmt: skip
def test_an_index_that_makes_no_sense_is_a_bad_model(folder: Path, text: str, words: str) -> None:
    (folder / "model.safetensors").rename(folder / "w.safetensors")
    (folder / "model.safetensors.index.json").write_text(text)
    if words:
        refused(lambda: sources.find(str(folder)), words)
    else:
        sources.find(str(folder))


def test_a_configuration_that_is_too_deep_is_refused(folder: Path) -> None:
    (folder / "config.json").write_text("[" * 100_000)
    refused(lambda: sources.find(str(folder)), "config.json cannot be read")


def test_a_checkpoint_of_other_shapes_says_so(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"intermediate_size": 96}))
    refused(lambda: Engine(lambda: None, lambda _: None).load(str(folder), {}), "other shapes than config.json says")
