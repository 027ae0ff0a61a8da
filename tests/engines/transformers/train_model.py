#!/usr/bin/env python3
"""Trains a small Llama on the sample prompts until it half knows them by heart, so that its text and what settings do to it mean
something: FOLDER. Takes less than a minute on one core.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "bench" / "python_kvat"))
from make_model import TEXTS, tokenizer  # noqa: E402

SHAPE = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 3, "num_attention_heads": 4,
         "num_key_value_heads": 2, "max_position_embeddings": 1024}  # fmt: skip
STEPS, BATCH, WINDOW, RATE = 250, 4, 320, 4e-3


def text() -> str:
    """All sample prompts."""
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(TEXTS.glob("*.txt")))


def train(folder: Path) -> None:
    """Saves model and tokenizer as `from_pretrained` reads them."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    words = tokenizer()
    ids = torch.tensor(words(text())["input_ids"])
    model = LlamaForCausalLM(LlamaConfig(**SHAPE, vocab_size=len(words), bos_token_id=None, eos_token_id=None, pad_token_id=0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
    for _ in range(STEPS):
        starts = torch.randint(len(ids) - WINDOW, (BATCH,))
        batch = torch.stack([ids[at : at + WINDOW] for at in starts.tolist()])
        model(batch, labels=batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    model.save_pretrained(folder)
    words.save_pretrained(folder)


if __name__ == "__main__":
    train(Path(sys.argv[1]))
