"""What can be tuned here, and what cannot and why: from facts of the machine and the model to declarations.

Pure: knows neither PyTorch nor Transformers. Names and defaults are theirs: a default is what a plain `model.generate` does with a
model moved to the first GPU, if there is one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

DTYPES = ("float32", "bfloat16", "float16")
CHUNKS = (0, 128, 256, 512, 1024, 2048)
GROUP_SIZES = (32, 64, 128)
COMPILE_MODES = ("none", "default", "reduce-overhead", "max-autotune")
STABLE_ATTENTION = ("sdpa", "eager", "flash_attention_2")


@dataclass(frozen=True)
class Facts:
    """Of machine and model. `missing` gives, for what is lacking, the reason in words."""

    dtype: str = "float32"  # of the checkpoint
    fixed_dtype: bool = False  # a quantized checkpoint
    devices: tuple[str, ...] = ("cpu",)
    attention: tuple[str, ...] = ("sdpa", "eager")
    kernels: tuple[str, ...] = ()  # that work
    masked_kernels: tuple[str, ...] = ()  # that work with a mask, too
    taken_kernel: str | None = None  # what PyTorch takes by itself
    quantizers: tuple[str, ...] = ()
    threads: int = 1  # PyTorch's own number
    window_tokens: int = 0
    mkldnn: bool = False
    compiles: bool = False
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def on_gpu(self) -> bool:
        return self.devices[0] != "cpu"


def thread_counts(most: int) -> list[int]:
    """1, 2, 4 … and `most`."""
    counts = {most}
    count = 1
    while count < most:
        counts.add(count)
        count *= 2
    return sorted(counts)


def knob(name: str, values: list[Any], default: Any, scope: str, help_text: str, **more: Any) -> Json:
    """`search` defaults to the default alone: a setting is tried only where it is said."""
    kind = "int" if all(isinstance(value, int) for value in values) else "enum"
    return {"name": name, "type": kind, "values": values, "default": default, "scope": scope, "help": help_text,
            "search": [default], **more}  # fmt: skip


def device_knob(facts: Facts) -> Json:
    values = list(facts.devices)
    more: Json = {}
    if "cuda:0" in values:
        values.insert(values.index("cuda:0"), "cuda")
        more["aliases"] = {"cuda": "cuda:0"}
    return knob("device", values, facts.devices[0], "model", "device that holds the model; auto spreads it over several GPUs",
                numerics="equivalent", concept="device", affects=["ttft", "decode", "memory"], **more)  # fmt: skip


def dtype_knob(facts: Facts) -> Json:
    """Wider than the checkpoint loses nothing, anything else does."""
    values = [facts.dtype] if facts.fixed_dtype else [name for name in DTYPES if name != facts.dtype]
    values = values if facts.fixed_dtype else [facts.dtype, *values]
    numerics = {name: "equivalent" if name == "float32" else "lossy" for name in values if name != facts.dtype}
    lossy = [name for name, kind in numerics.items() if kind == "lossy"]
    return knob("dtype", values, facts.dtype, "model", "data type of weights and activations", numerics=numerics,
                concept="dtype", affects=["ttft", "decode", "memory", "quality"]) | {"search": [facts.dtype, *lossy]}  # fmt: skip


def attention_knobs(facts: Facts) -> list[Json]:
    default = "sdpa" if "sdpa" in facts.attention else "eager"
    knobs = [
        knob("attn_implementation", list(facts.attention), default, "context", "attention of Transformers",
             numerics="equivalent", concept="attention", affects=["ttft", "decode", "memory"],
             stable=[name for name in facts.attention if name in STABLE_ATTENTION])
        | {"search": [default, *(name for name in facts.attention if name in STABLE_ATTENTION and name != default)]}
    ]  # fmt: skip
    # A window is a mask, and so is what a static cache has not filled yet.
    kernels = [name for name in facts.kernels if name in facts.masked_kernels or facts.window_tokens == 0]
    if not kernels or "sdpa" not in facts.attention:
        return knobs
    requires = [{"if": kernels, "then": {"attn_implementation": ["sdpa"]}}]
    maskless = [name for name in kernels if name not in facts.masked_kernels]
    if maskless:
        requires.append({"if": maskless, "then": {"cache_implementation": maskless_caches(facts)}})
    knobs.append(
        knob("sdpa_kernel", ["auto", *kernels], "auto", "context", "kernel of PyTorch's scaled dot product attention",
             numerics="equivalent", requires=requires, affects=["ttft", "decode", "memory"],
             stable=["auto", *(name for name in kernels if name != "cudnn")])
        | {"search": ["auto", *(name for name in kernels if name not in (facts.taken_kernel, "cudnn"))]}
    )  # fmt: skip
    return knobs


def maskless_caches(facts: Facts) -> list[str]:
    return [name for name in cache_values(facts) if "static" not in name and name != "sliding_window"]


def cache_values(facts: Facts) -> list[str]:
    values = ["dynamic", "static"]
    values += ["sliding_window"] if facts.window_tokens else []
    values += ["offloaded", "offloaded_static"] if facts.on_gpu else []
    values += ["quantized"] if facts.quantizers else []
    return values


def cache_knobs(facts: Facts) -> list[Json]:
    values, quantizers = cache_values(facts), list(facts.quantizers)
    numerics = {name: "lossy" if name == "quantized" else "equivalent" for name in values if name != "dynamic"}
    requires = [{"if": ["quantized"], "then": {"cache_quantizer": quantizers}}] if quantizers else []
    knobs = [
        knob("cache_implementation", values, "dynamic", "context", "KV cache of Transformers", numerics=numerics,
             requires=requires, concept="kv.strategy", affects=["ttft", "decode", "memory", "quality"],
             stable=["dynamic", "static"],
             **({"aliases": {"sliding_window": "static"}} if "sliding_window" in values else {}))
        | {"search": ["dynamic", "static", *(["quantized"] if quantizers else [])]}
    ]  # fmt: skip
    if quantizers:
        needs = {"cache_implementation": ["quantized"]}
        tried = [name for name in quantizers if name in ("quanto-4", "hqq-4", "hqq-8")]
        knobs += [
            knob("cache_quantizer", ["none", *quantizers], "none", "context", "back end and bits of the quantized cache",
                 numerics={name: "lossy" for name in quantizers}, requires=[{"if": quantizers, "then": needs}],
                 stable=["none"], affects=["ttft", "decode", "memory", "quality"]) | {"search": ["none", *tried]},
            knob("cache_group_size", list(GROUP_SIZES), 64, "context", "elements that share a scale in a quantized cache",
                 requires=[{"if": [32, 128], "then": needs}], stable=[64], affects=["decode", "memory", "quality"]),
        ]  # fmt: skip
    if facts.compiles:
        modes = [mode for mode in COMPILE_MODES if facts.on_gpu or mode != "reduce-overhead"]  # which is CUDA graphs
        knobs.append(
            knob("compile_mode", modes, "none", "context",
                 "mode of torch.compile for the decode; compiled when the context is made, and not counted",
                 numerics="equivalent", stable=["none"], concept="compile", affects=["decode", "memory"],
                 requires=[{"if": modes[1:], "then": {"cache_implementation": ["static"], "grad_mode": ["no_grad"],
                                                   "prefill_chunk_size": [0]}}])
        )  # fmt: skip
    return knobs


def phase_knobs(facts: Facts) -> list[Json]:
    """What may differ between prefill and decode. Threads and oneDNN matter to a model on the CPU only."""
    counts = thread_counts(facts.threads)
    knobs = []
    for phase in ("prefill", "decode"):
        metric = ["ttft"] if phase == "prefill" else ["decode"]
        if len(counts) > 1 and not facts.on_gpu:
            declared = knob(f"{phase}_threads", counts, facts.threads, "request", f"threads of the {phase}",
                            numerics="equivalent", concept=f"threads.{phase}", affects=metric)  # fmt: skip
            if phase == "decode":
                declared["search"] = sorted({facts.threads, max(1, facts.threads // 2)})
            knobs.append(declared)
        if facts.mkldnn and not facts.on_gpu:
            declared = knob(f"{phase}_mkldnn", ["on", "off"], "on", "request", f"oneDNN kernels in the {phase}",
                            numerics="equivalent", affects=metric)  # fmt: skip
            if phase == "decode" and facts.dtype != "float32":
                declared["search"] = ["on", "off"]
            knobs.append(declared)
    knobs.append(knob("prefill_chunk_size", list(CHUNKS), 0, "request", "tokens a forward pass of the prefill; 0: all at once",
                      numerics="equivalent", concept="prefill.chunk", affects=["ttft", "memory"]))  # fmt: skip
    knobs.append(
        knob("grad_mode", ["no_grad", "inference_mode"], "no_grad", "request", "how gradients are switched off",
             concept="grad_mode", affects=["ttft", "decode"]) | {"search": ["no_grad", "inference_mode"]}
    )  # fmt: skip
    return knobs


def declare(facts: Facts) -> tuple[list[Json], list[Json]]:
    """Knobs, and those that are absent with the reason."""
    knobs = [device_knob(facts), dtype_knob(facts), *attention_knobs(facts), *cache_knobs(facts), *phase_knobs(facts)]
    missing = dict(facts.missing)
    if not facts.on_gpu:
        for name in ("offloaded", "offloaded_static"):
            missing[f"cache_implementation {name}"] = "there is no GPU to offload from"
    if not facts.window_tokens:
        missing["cache_implementation sliding_window"] = "the model has no sliding window"
    if facts.on_gpu:
        missing["threads and oneDNN"] = "matter on the CPU only, and are tuned where there is no GPU (CUDA_VISIBLE_DEVICES= hides it)"
    elif not facts.mkldnn:
        missing["oneDNN"] = "PyTorch is built without it"
    return knobs, [{"name": name, "reason": reason} for name, reason in sorted(missing.items())]
