"""An engine in this process with tiny models, and what `generate` makes of the same prompt."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from kvat_transformers.engine import Engine
from kvat_transformers.runs import Mark

FAMILIES = ["gpt2-tiny", "qwen2-tiny", "phi-tiny", "llama-tiny", "mistral-tiny"]
IDS = [(7 * i + 3) % 500 for i in range(96)]
CUDA = torch.cuda.is_available()


@cache
def loaded(name: str, load: tuple[tuple[str, str], ...]) -> Engine:
    engine = Engine(lambda: None, lambda _: None)
    engine.load(f"hf:synthetic:{name}", dict(load))
    return engine


def ready(name: str = "llama-tiny", context: dict[str, Any] | None = None, tokens: int = 160, sequences: int = 1, **load: Any) -> Engine:
    """An engine whose context holds `tokens` of each sequence. Models are shared by tests: no test may change one."""
    engine = loaded(name, tuple(sorted(load.items())))
    engine.prepare(context or {}, tokens * sequences, sequences)
    return engine


def tokens_of(engine: Engine, ids: list[int] = IDS, count: int = 16) -> list[int]:
    """Greedy tokens of the first sequence."""
    measured = engine.runner.run(ids, [Mark(len(ids), count)], 0)[1][0]
    assert measured.prompt_tokens == len(ids) and len(measured.bursts) == 1
    return measured.bursts[0].tokens[0]


class Times:
    """A streamer that notes when tokens come."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def put(self, value: torch.Tensor) -> None:
        self.batches.append(value.flatten().tolist())

    def end(self) -> None:
        pass


def generated(engine: Engine, count: int = 16, **how: Any) -> list[int]:
    """What a plain `generate` streams after IDS."""
    streamer = Times()
    prompt = torch.tensor([IDS], device=engine.runner.device)
    engine.model.generate(prompt, max_new_tokens=count, do_sample=False, eos_token_id=None, pad_token_id=511, streamer=streamer,
                          disable_compile=True, **how)  # fmt: skip
    assert streamer.batches[0] == IDS  # a streamer is given the prompt first
    return [token for batch in streamer.batches[1:] for token in batch]
