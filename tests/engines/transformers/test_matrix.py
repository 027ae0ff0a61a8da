"""Every cache with every attention in every data type: what is declared works, and what does not is refused with its cause."""

from __future__ import annotations

import matrix
import pytest
from kit import CUDA, ready, tokens_of
from kvat_transformers.engine import Engine


@pytest.mark.parametrize("model", ["llama-tiny", "mistral-tiny"])
@pytest.mark.parametrize("dtype", matrix.DTYPES)
def test_what_is_declared_works_and_the_rest_has_a_cause(model: str, dtype: str) -> None:
    engine = Engine(lambda: None, lambda _: None)
    skip = () if CUDA else ("flex_attention",)  # which compiles for a minute, and see below
    rows = matrix.rows(engine, f"hf:synthetic:{model}", dtype, skip)
    assert len(rows) == len(matrix.CACHES) * (len(matrix.ATTENTION) - len(skip))
    for row in rows:
        if row["declared"]:
            assert row["status"] == "ok", row
        elif row["status"] != "ok":  # more may work than pays to be tried
            assert row["status"] in ("unsupported", "invalid_setting") and len(row["detail"]) > 20, row
    works = {(row["cache_implementation"], row["attn_implementation"]) for row in rows if row["declared"]}
    assert {("dynamic", "sdpa"), ("dynamic", "eager"), ("static", "sdpa"), ("static", "eager")} <= works
    assert (("sliding_window", "sdpa") in works) == (model == "mistral-tiny")
    assert (("quantized", "sdpa") in works) == (model == "llama-tiny")


def test_flex_attention_gives_the_tokens_of_the_others() -> None:
    assert tokens_of(ready("llama-tiny", {"attn_implementation": "flex_attention"})) == tokens_of(ready("llama-tiny"))
