"""optimized_config.py loads what was measured and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from snippet_kit import NEW, PROMPT, SAMPLE, Snippets, generated
from transformers import AutoConfig, AutoModelForCausalLM


def test_weights_that_lack_a_tensor_are_refused(snippet: Snippets, folders: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    broken = copied(folders["llama"], tmp_path / "broken")
    tensors = load_file(broken / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lack model\.layers\.1\.mlp\.up_proj\.weight and 0 more"):
        snippet(str(broken)).load()


def test_weights_of_another_shape_are_refused(snippet: Snippets, folders: dict[str, Path], tmp_path: Path) -> None:
    other = copied(folders["llama"], tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "intermediate_size": 96}))
    with pytest.raises(ValueError, match=r"down_proj\.weight is \[64, 128\] in the weights, \[64, 96\] in the model, and 5 more"):
        snippet(str(other)).load()


def test_truncated_weights_cannot_be_read(snippet: Snippets, folders: dict[str, Path], tmp_path: Path) -> None:
    weights = copied(folders["llama"], tmp_path / "truncated") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(OSError, match="truncated: "):
        snippet(str(weights.parent)).load()


def test_without_a_tokenizer_the_model_is_loaded(snippet: Snippets, folders: dict[str, Path], tmp_path: Path) -> None:
    bare = copied(folders["llama"], tmp_path / "bare")
    for file in bare.glob("tokenizer*"):
        file.unlink()
    module = snippet(str(bare))
    with pytest.warns(UserWarning, match="bare: no tokenizer: .+"):
        model, tokenizer = module.load()
    assert tokenizer is None
    assert module.generate(model, torch.tensor([[5, 6, 7]]), NEW).shape == (1, 3 + NEW)
    done = subprocess.run([sys.executable, snippet.write(str(bare)), PROMPT], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "no tokenizer that can be loaded" in done.stderr.splitlines()[-1]


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
