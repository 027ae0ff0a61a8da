#!/usr/bin/env python3
"""Saves a model of random weights with a tokenizer, as `from_pretrained` reads it: KIND FOLDER.

The tokenizer is trained on the project's own sample prompts, so that a token is about four characters, as with the
tokenizers of real models: the Python predecessor measures its prompts in characters. Needs torch and transformers.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TEXTS = ROOT / "data" / "prompts"
sys.path.insert(0, str(ROOT / "engines" / "transformers"))


def tokenizer() -> Any:
    """A byte-level BPE of 4,000 tokens over the sample prompts."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=4000, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet)
    made.train_from_iterator([path.read_text(encoding="utf-8") for path in sorted(TEXTS.glob("*.txt"))], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|endoftext|>", pad_token="<|endoftext|>")


def main() -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from kvat_transformers.synthetic import SHAPES

    kind, folder = sys.argv[1], Path(sys.argv[2])
    shape = {name: value for name, value in SHAPES[kind].items() if name != "dtype"}
    config = AutoConfig.for_model(shape.pop("model_type"), **shape)
    config.eos_token_id = config.bos_token_id = config.pad_token_id = 0
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)


if __name__ == "__main__":
    main()
