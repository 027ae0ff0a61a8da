"""Run by a Python that has PyTorch and Transformers: the seeds' program on a small model, and its plan on a live one.

Prints one JSON object; test_transformers.py judges it.
"""

import json
from pathlib import Path

import kvat
import torch
from kvat.core.planner import PlanBuilder
from kvat.core.profiles import create_custom_profile
from kvat.core.schema import DeviceType, TuneConfig
from kvat.core.search import TuningSearch
from kvat.engines.transformers import TransformersAdapter
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast


def make_model(folder: Path) -> None:
    torch.manual_seed(7)
    alphabet = {letter: index for index, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(alphabet, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    config = LlamaConfig(
        vocab_size=256, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=512, bos_token_id=None, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)


def main() -> None:
    folder = Path("tiny-llama")
    make_model(folder)

    config = TuneConfig(
        model_id=f"./{folder}",
        device=DeviceType.CPU,
        profile=create_custom_profile("tiny", [64], [8]),
        output_dir="./results",
        time_budget_s=120,
        # One configuration: this is about the way from the class to a plan, not about the search.
        settings={
            "dtype": "float32",
            "attn_implementation": "sdpa",
            "cache_implementation": "dynamic",
            "grad_mode": "no_grad",
            "prefill_threads": 1,
            "decode_threads": 1,
        },
    )
    adapter = TransformersAdapter()
    result = TuningSearch(config=config, adapter=adapter).run()
    snippet = PlanBuilder(result).generate_code_snippet()
    Path("optimized_config.py").write_text(snippet)

    # A plan that changes what can be seen on the model, whatever this machine found best.
    settings = {**result.settings, "attn_implementation": "eager", "cache_implementation": "static", "sdpa_kernel": "auto"}
    plan = {**result.plan.data, "settings": settings, "fallback": []}
    model = LlamaForCausalLM.from_pretrained(folder)
    before = (model.config._attn_implementation, model.generation_config.cache_implementation)
    prompt = torch.tensor([[1, 2, 3]])
    plain = model.generate(prompt, max_new_tokens=4, do_sample=False)
    with kvat.patch(model, plan):
        inside = (model.config._attn_implementation, model.generation_config.cache_implementation)
        patched = model.generate(prompt, max_new_tokens=4, do_sample=False)
    after = (model.config._attn_implementation, model.generation_config.cache_implementation)
    print(
        json.dumps(
            {
                "decision": result.decision,
                "engine": result.plan.engine,
                "trials": result.confidence.trials,
                "before": before,
                "inside": inside,
                "after": after,
                "same_tokens": bool((plain == patched).all()),
            }
        )
    )


main()
