"""Loads the model and generates with the settings measured, from a shell or imported:

    python optimized_config.py "Once upon a time"

    model, tokenizer = load()
    output = generate(model, tokenizer("Once upon a time", return_tensors="pt"), max_new_tokens=64)

What is in force where:
- `load()` and `apply()` set device, data type (`load` only), attention, compilation and `model.generation_config`: its cache
  and prefill chunks hold for plain `model.generate(…)` too, which makes a new cache for each call.
- Kernel of the attention, threads, oneDNN and gradient mode belong to the process and not to a model, so that
  `generation_config` cannot carry them. `generate()` of this file puts them in force for the call, threads and oneDNN each
  for prefill and decode, and gives back what was there before. Calls take turns, also those of several threads.
- `undo = apply(model)`, for a model that is loaded already, does all of that for plain `model.generate(…)` as well.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import os
import shutil
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple, TypedDict
from weakref import WeakKeyDictionary

import torch
import torch._functorch.config
import transformers
from safetensors import SafetensorError
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AutoModelForCausalLM, AutoTokenizer, CompileConfig, DynamicCache, QuantizedCache, StaticCache

Settings = dict[str, str | int]


class Rule(TypedDict, total=False):
    when: dict[str, Any]  # one condition
    use: Settings  # either these instead of SETTINGS,
    peak_bytes: int  # with which this was measured,
    because: str
    advise: str  # or only a warning


# <plan>
MODEL: str | None = None
REVISION: str | None = None
REMOTE_CODE = False
CONTEXT_TOKENS = 4096
SETTINGS: Settings = {"dtype": "float32"}
PEAK_BYTES: int | None = None
PEAK_OF: str | None = None
RULES: list[Rule] = []
# </plan>

KERNELS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "math": SDPBackend.MATH,
}
MARGIN = 1.05  # free memory over the measured peak with which that fits
STATIC = ("static", "sliding_window", "offloaded_static")
PACKAGES = {
    "flash_attention_2": "flash_attn",
    "flash_attention_3": "flash_attn_interface",
    "quanto": "optimum.quanto",
    "hqq": "hqq",
}


# ---- which settings: RULES against what is here ----


class Conditions(NamedTuple):
    """What is here; a rule about what is not known (None) does not hold. Memory in bytes, of all devices together."""

    free_memory: int | None = None
    free_device_memory: int | None = None
    context_tokens: int | None = None
    engine_version: str | None = None


def resolve(here: Conditions) -> tuple[Settings, str | None]:
    """Settings of the first rule that holds and can be followed, else the plan's own; and a warning, if there is one."""
    use: Rule | None = None
    advice: str | None = None
    too_little = lost = False  # no measured settings fit into memory; those that do are not offered
    for rule in RULES:
        if not _holds(rule["when"], here):
            continue
        memory = bool({"free_memory_below_bytes", "free_device_memory_below_bytes"} & set(rule["when"]))
        if "use" not in rule:
            if advice is None or (memory and not too_little):
                advice = rule["advise"]
            too_little |= memory
        elif use is None:
            if missing(rule["use"]):
                lost |= memory
            else:
                use = rule
    settings, peak = (SETTINGS, PEAK_BYTES) if use is None else (use["use"], use.get("peak_bytes"))
    if absent := missing(settings):
        advice = (
            "the engine here offers neither all settings of the plan nor a measured stand-in for them: measure again with kvat tune "
            f"(what is lacking: {absent})"
        )
    elif not too_little and not _may_fit(peak, here, lost):
        advice = (
            "what would fit into the free memory is not offered by the engine here, and these settings may need more: "
            "measure again with kvat tune"
        )
    return settings, advice


def _may_fit(peak: int | None, here: Conditions, lost: bool) -> bool:
    """By the measured peak. Where that or the free memory is not known, only what stands in for what fits is doubted."""
    free = here.free_memory if PEAK_OF == "host" else here.free_device_memory if PEAK_OF == "devices" else None
    return not lost if peak is None or free is None else peak * MARGIN <= free


def _holds(when: Mapping[str, Any], here: Conditions) -> bool:
    ((condition, limit),) = when.items()
    if condition == "free_memory_below_bytes":
        return here.free_memory is not None and here.free_memory < limit
    if condition == "free_device_memory_below_bytes":
        return here.free_device_memory is not None and here.free_device_memory < limit
    if condition == "context_above_tokens":
        return here.context_tokens is not None and here.context_tokens > limit
    if condition == "unsupported":
        return missing({**SETTINGS, **limit}, only=limit) is not None
    return here.engine_version is not None and here.engine_version != limit


def missing(settings: Settings, only: Mapping[str, Any] | None = None) -> str | None:
    """The first setting (of `only`) that this machine or installation does not have, as "name value"; None: it has all."""
    device, kernel = str(settings.get("device", "cpu")), str(settings.get("sdpa_kernel", "auto"))
    attention, quantizer = str(settings.get("attn_implementation", "sdpa")), str(settings.get("cache_quantizer", "none"))
    cache, mkldnn = str(settings.get("cache_implementation", "dynamic")), torch.backends.mkldnn.is_available()
    has = {
        "device": lambda: _has_device(device),
        "attn_implementation": lambda: _installed(attention),
        "sdpa_kernel": lambda: kernel == "auto" or _has_kernel(kernel, settings),
        "cache_implementation": lambda: "offloaded" not in cache or torch.accelerator.is_available(),
        "compile_mode": lambda: settings["compile_mode"] == "none" or _has_compiler(),
        "cache_quantizer": lambda: _installed(quantizer.partition("-")[0]),
        "prefill_mkldnn": lambda: mkldnn or settings["prefill_mkldnn"] == "off",
        "decode_mkldnn": lambda: mkldnn or settings["decode_mkldnn"] == "off",
    }
    for name in settings if only is None else only:
        if name in has and not has[name]():
            return f"{name} {settings[name]}"
    return None


def _installed(name: str) -> bool:
    package = PACKAGES.get(name)
    try:
        return package is None or importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # not even the package it would be part of
        return False


def _has_device(device: str) -> bool:
    kind, _, index = device.partition(":")
    if kind == "cuda":
        return torch.cuda.device_count() > int(index or 0)
    if kind == "mps":
        return torch.backends.mps.is_available()
    return kind != "auto" or importlib.util.find_spec("accelerate") is not None


def _has_compiler() -> bool:
    """What torch.compile needs: Triton for GPUs, a C++ compiler for CPUs."""
    if torch.cuda.is_available():
        return importlib.util.find_spec("triton") is not None
    return any(shutil.which(name) for name in ("c++", "g++", "clang++"))


def _has_kernel(kernel: str, settings: Settings) -> bool:
    """Tried on a small attention: PyTorch raises where this kernel cannot be had."""
    device, dtype = str(settings.get("device", "cpu")), getattr(torch, str(settings.get("dtype", "float32")))
    try:
        query = torch.ones(1, 2, 8, 64, dtype=dtype, device="cuda" if device == "auto" else device)
        with torch.no_grad(), sdpa_kernel([KERNELS[kernel]]):
            torch.nn.functional.scaled_dot_product_attention(query, query, query, is_causal=True)
    except (RuntimeError, AssertionError):
        return False
    return True


def conditions(context_tokens: int | None = None) -> Conditions:
    """Of this process on this machine. What it holds already counts as free, because the plan's peaks are whole processes."""
    device = str(SETTINGS.get("device", "cpu"))
    device_memory = None
    if device.startswith(("cuda", "auto")) and torch.cuda.is_available():
        used = [torch.device(device).index or 0] if device != "auto" else range(torch.cuda.device_count())
        device_memory = sum(torch.cuda.mem_get_info(i)[0] + torch.cuda.memory_reserved(i) for i in used)
    return Conditions(_free_memory(), device_memory, context_tokens, transformers.__version__)


def _free_memory() -> int | None:
    """Of the host, in bytes, within the limits of the cgroups of this process."""
    page = os.sysconf("SC_PAGE_SIZE")
    try:
        free = _counts("/proc/meminfo")["MemAvailable:"] * 1024
        with open("/proc/self/statm") as file:
            held = int(file.read().split()[1]) * page
    except (OSError, KeyError):
        return os.sysconf("SC_AVPHYS_PAGES") * page if "SC_AVPHYS_PAGES" in os.sysconf_names else None
    return min([free, *_left_in_groups()]) + held


def _left_in_groups(root: str = "") -> list[int]:
    """What is left under each limit on memory, in bytes: of this process's cgroup, of version 1 or 2, and of all around it."""
    try:
        with open(f"{root}/proc/self/cgroup") as file:
            groups = dict(line.strip().split(":", 2)[1:] for line in file)
    except (OSError, ValueError):
        return []
    first = next((path for names, path in groups.items() if "memory" in names.split(",")), None)
    path, mount = (groups.get("", "/"), "/sys/fs/cgroup") if first is None else (first, "/sys/fs/cgroup/memory")
    most, now, cache = ("max", "current", "inactive_file") if first is None else ("limit_in_bytes", "usage_in_bytes", "total_inactive_file")
    left, parts = [], [part for part in path.split("/") if part]
    for depth in range(len(parts), -1, -1):  # a container may see only the last of them
        group = "/".join([root + mount, *parts[:depth], "memory."])
        try:
            with open(group + most) as limit, open(group + now) as used:
                left.append(max(0, int(limit.read()) - int(used.read()) + _counts(group + "stat").get(cache, 0)))
        except (OSError, ValueError):  # no such group, or "max": no limit
            continue
    return left


def _counts(path: str) -> dict[str, int]:
    with open(path) as file:
        return {words[0]: int(words[1]) for words in (line.split() for line in file) if len(words) > 1}


# ---- model and cache ----

_settings: WeakKeyDictionary[torch.nn.Module, Settings] = WeakKeyDictionary()


def settings_of(model: Any) -> Settings:
    """What `load()` or `apply()` chose for this model."""
    if model not in _settings:
        raise ValueError("this model comes from elsewhere: call apply(model) first")
    return _settings[model]


def load(
    model: str | os.PathLike[str] | None = None, *, context_tokens: int | None = None, trust_remote_code: bool = False
) -> tuple[Any, Any]:
    """Model and tokenizer, as measured or, where RULES say so, as measured second best; None for a tokenizer that cannot be
    loaded, which is warned of.

    `model` is a folder or a name on the hub; without it the variable MODEL of the environment, then that of the plan.
    `context_tokens` is what will be needed, for the rules about it. `trust_remote_code` runs code that comes with the
    model, which a plan alone never does. Raises ValueError where there is no model to load, its weights are not complete, not
    of its shape or it needs such code, OSError where it cannot be read.
    """
    source = os.fspath(model or os.environ.get("MODEL") or MODEL or "")
    if not source:
        raise ValueError("which model? Give its folder or name: load(FOLDER), --model FOLDER, or MODEL=FOLDER in the environment")
    if REMOTE_CODE and not trust_remote_code:
        raise ValueError(
            f"{source}: the plan was measured with code that comes with the model; it runs only where you allow it, with "
            "load(trust_remote_code=True) or --trust-remote-code"
        )
    settings = _chosen(context_tokens)
    device = str(settings.get("device", "cpu"))
    pinned: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    if REVISION and source == MODEL:
        pinned["revision"] = REVISION
    if device == "auto":
        pinned["device_map"] = "auto"
    try:
        both: Any = AutoModelForCausalLM.from_pretrained(
            source,
            dtype=settings.get("dtype", "auto"),
            attn_implementation=settings.get("attn_implementation", "sdpa"),
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # refused below, by name
            output_loading_info=True,
            **pinned,
        )
    except SafetensorError as error:
        raise OSError(f"{source}: {error}") from error
    loaded, report = both
    report = report if isinstance(report, Mapping) else vars(report)
    if lacking := report["missing_keys"]:  # they would be random numbers
        raise ValueError(f"{source}: the weights lack {sorted(lacking)[0]} and {len(lacking) - 1} more")
    if other := report["mismatched_keys"]:  # and so would these
        name, read, wanted = min(other)
        raise ValueError(f"{source}: {name} is {[*read]} in the weights, {[*wanted]} in the model, and {len(other) - 1} more")
    if device != "auto":
        loaded.to(device)
    pinned.pop("device_map", None)
    _configure(loaded, settings)
    try:
        return loaded, AutoTokenizer.from_pretrained(source, **pinned)
    except (OSError, ValueError, ImportError) as error:
        warnings.warn(f"kvat: {source}: no tokenizer: {' '.join(str(error).split())}", stacklevel=2)
        return loaded, None


def _chosen(context_tokens: int | None) -> Settings:
    settings, advice = resolve(conditions(context_tokens))
    if advice:
        warnings.warn(f"kvat: {advice}", stacklevel=3)
    return settings


def _cache_config(settings: Settings) -> dict[str, Any]:
    backend, _, bits = str(settings["cache_quantizer"]).partition("-")
    axis = 1 if backend == "hqq" else 0
    group = settings.get("cache_group_size", 64)
    return {"backend": backend, "nbits": int(bits), "axis_key": axis, "axis_value": axis, "q_group_size": group}


def new_cache(model: Any, tokens: int) -> Any:
    """An empty cache as measured, for prompt and output of together `tokens`; never to be used for two conversations."""
    settings, config = settings_of(model), model.config.get_text_config(decoder=True)
    kind = str(settings.get("cache_implementation", "dynamic"))
    if kind == "quantized":
        return QuantizedCache(config=config, **_cache_config(settings))
    if kind in STATIC:  # as long as measured, so that speed and memory are those of the plan
        return StaticCache(config=config, max_cache_len=max(tokens, CONTEXT_TOKENS), offloading="offloaded" in kind)
    return DynamicCache(config=config, offloading=kind == "offloaded")


def _configure(model: Any, settings: Settings) -> Callable[[], None]:
    """What belongs to the model. Returns what undoes it."""
    kind = str(settings.get("cache_implementation", "dynamic"))
    compilation = _compile_config(settings)
    wanted = {
        "cache_implementation": "static" if kind == "sliding_window" else None if kind == "dynamic" else kind,
        "cache_config": _cache_config(settings) if kind == "quantized" else None,
        "max_cache_len": CONTEXT_TOKENS if kind in STATIC else None,
        "prefill_chunk_size": None if compilation else settings.get("prefill_chunk_size") or None,
        "compile_config": compilation,  # for the decode, with static caches
        "disable_compile": compilation is None,  # on GPUs Transformers would do it by itself
    }
    before = {name: getattr(model.generation_config, name, None) for name in wanted}
    attention, longest = model.config._attn_implementation, vars(model).get("_previous_max_cache_length")
    chosen = _settings.get(model)
    for name, value in wanted.items():
        setattr(model.generation_config, name, value)
    model.set_attn_implementation(settings.get("attn_implementation", "sdpa"))
    _settings[model] = settings

    def undo() -> None:
        for name, value in before.items():
            setattr(model.generation_config, name, value)
        model.set_attn_implementation(attention)
        _restore(model, "_previous_max_cache_length", longest)
        if chosen is None:
            del _settings[model]
        else:
            _settings[model] = chosen

    return undo


def _compile_config(settings: Settings) -> CompileConfig | None:
    if settings.get("compile_mode", "none") == "none":
        return None
    config = CompileConfig(mode=str(settings["compile_mode"]))
    config._compile_all_devices = True  # type: ignore[assignment]  # on CPUs too
    return config


def _restore(model: Any, name: str, before: Any) -> None:
    """Gives an attribute of this one object back what it was; None: the class has it."""
    vars(model).pop(name, None)
    if before is not None:
        vars(model)[name] = before


# ---- generation ----


def generate(model: Any, inputs: torch.Tensor | Mapping[str, torch.Tensor], max_new_tokens: int, **options: Any) -> Any:
    """`model.generate` with every setting in force and a new cache.

    `inputs` are token ids of shape (sequences, tokens), what a tokenizer returns, or `{"inputs_embeds": …}`; `options` go on
    to `model.generate`. PyTorch raises where the kernel cannot do what they ask for, as flash on GPUs with padded prompts, and
    takes no other.
    """
    tensors = dict(inputs) if isinstance(inputs, Mapping) else {"input_ids": inputs}
    tensors = {name: tensor.to(model.device) for name, tensor in tensors.items()}
    given = {**tensors, **options}
    tokens = _prompt_tokens(given) + max_new_tokens
    cache = {"past_key_values": new_cache(model, tokens), "cache_implementation": None, "max_cache_len": None}
    if tokens > CONTEXT_TOKENS:
        warnings.warn(f"kvat: {tokens} tokens are more than the {CONTEXT_TOKENS} that were measured", stacklevel=2)
    with _in_force(model, given):
        return type(model).generate(model, **tensors, max_new_tokens=max_new_tokens, **{**cache, **options})


def apply(model: Any, *, context_tokens: int | None = None) -> Callable[[], None]:
    """Puts every setting but device and data type in force for `model.generate` of a loaded model. Call the result to undo:
    the last applied first, anything else raises RuntimeError and changes nothing.
    """
    settings = _chosen(context_tokens)
    dtype = settings.get("dtype", "auto")
    if dtype not in ("auto", str(model.dtype).removeprefix("torch.")):
        warnings.warn(f"kvat: measured in {dtype}, but this model is in {model.dtype}", stacklevel=2)
    original = vars(model).get("generate")
    plain = getattr(original, "kvat_plain", {}).get(original, model.generate)  # around another plan, that one's threads would win
    undo_model = _configure(model, settings)

    @functools.wraps(model.generate)
    def tuned(*args: Any, **kwargs: Any) -> Any:
        with _in_force(model, {**dict(zip(("inputs",), args, strict=False)), **kwargs}):
            return plain(*args, **kwargs)

    undone = False

    def undo() -> None:
        nonlocal undone
        if undone:
            return
        if vars(model).get("generate") is not tuned:
            raise RuntimeError("kvat: undo what was applied later first")
        _restore(model, "generate", original)
        undo_model()
        undone = True

    vars(tuned)["kvat_plain"] = {tuned: plain}  # by function: functools.wraps hands attributes on to wrappers of others
    vars(model)["generate"] = tuned
    return undo


def _prompt_tokens(given: Mapping[str, Any]) -> int:
    """With those that a cache holds already: the ids may leave them out, the mask never does."""
    prompts = (given.get(name) for name in ("attention_mask", "inputs_embeds", "inputs", "input_ids"))
    return next((int(prompt.shape[1]) for prompt in prompts if isinstance(prompt, torch.Tensor)), 1)


_turn = threading.RLock()


@contextmanager
def _in_force(model: Any, given: Mapping[str, Any]) -> Iterator[None]:
    """Kernel, gradient mode, threads and oneDNN, all of them of the process: as they were when it ends. Calls take turns."""
    with _turn, ExitStack() as stack:
        settings, cache = settings_of(model), given.get("past_key_values")
        kernel = str(settings.get("sdpa_kernel", "auto"))
        prompt_tokens = _prompt_tokens(given) - (int(cache.get_seq_length()) if cache is not None else 0)
        stack.enter_context(torch.inference_mode() if settings.get("grad_mode") == "inference_mode" else torch.no_grad())
        if kernel != "auto" and settings.get("attn_implementation", "sdpa") == "sdpa":
            stack.enter_context(sdpa_kernel([KERNELS[kernel]]))
        if _compile_config(settings):
            _forget_other_code(model, (kernel, str(settings.get("decode_mkldnn", "on"))))
            stack.enter_context(torch._functorch.config.patch(enable_autograd_cache=False))
        stack.callback(torch.set_num_threads, _threads_of_process())
        stack.callback(_set_mkldnn, bool(torch.backends.mkldnn.enabled))
        stack.callback(_restore, model, "prepare_inputs_for_generation", vars(model).get("prepare_inputs_for_generation"))
        vars(model)["prepare_inputs_for_generation"] = _switching(model.prepare_inputs_for_generation, settings, prompt_tokens)
        yield


_compiled: WeakKeyDictionary[torch.nn.Module, tuple[str, str]] = WeakKeyDictionary()  # with which kernel and oneDNN


def _forget_other_code(model: Any, code: tuple[str, str]) -> None:
    """Neither Dynamo nor the cache of AOTAutograd on disk looks at kernel and oneDNN: they would take the code of others."""
    if _compiled.get(model) != code:
        if set(_compiled.values()) != {code}:
            _compiled.clear()  # so that those of another code get theirs back when it is their turn
        torch._dynamo.reset()
        _compiled[model] = code


def _threads_of_process() -> int:
    """As a new thread finds them. This one has kept those of another call if that was in force when it first used PyTorch."""
    with ThreadPoolExecutor(1) as new:
        return new.submit(torch.get_num_threads).result()


def _set_mkldnn(on: bool) -> None:
    torch.backends.mkldnn.enabled = on  # type: ignore[assignment]


def _switching(prepare: Callable[..., Any], settings: Settings, prompt_tokens: int) -> Callable[..., Any]:
    """`prepare`, which `generate` calls before each forward pass, and then threads and oneDNN of the phase that begins.

    Passes that take in the prompt are the prefill, all later ones the decode.
    """
    left, phase = prompt_tokens, ""

    @functools.wraps(prepare)
    def switching(*args: Any, **kwargs: Any) -> Any:
        nonlocal left, phase
        prepared = prepare(*args, **kwargs)
        before, phase = phase, "prefill" if left > 0 else "decode"
        ids = prepared.get("input_ids")
        left -= (prepared["inputs_embeds"] if ids is None else ids).shape[1]
        if phase != before and f"{phase}_threads" in settings:
            torch.set_num_threads(int(settings[f"{phase}_threads"]))
        if phase != before and f"{phase}_mkldnn" in settings:
            _set_mkldnn(settings[f"{phase}_mkldnn"] == "on")
        return prepared

    return switching


def main() -> None:
    parser = argparse.ArgumentParser(description="Continues a prompt with the settings that kvat measured.")
    parser.add_argument("prompt")
    parser.add_argument("--model", help="folder or name on the hub (default: $MODEL, then the model that was measured)")
    parser.add_argument("--max-new-tokens", type=int, default=128, metavar="N", help="default: %(default)s")
    parser.add_argument("--trust-remote-code", action="store_true", help="run code that comes with the model")
    arguments = parser.parse_args()
    if not arguments.prompt:
        parser.error("the prompt is empty")
    if arguments.max_new_tokens < 1:
        parser.error("argument --max-new-tokens: must be 1 or more")
    try:
        model, tokenizer = load(arguments.model, trust_remote_code=arguments.trust_remote_code)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    if tokenizer is None:
        parser.error("the model has no tokenizer that can be loaded: import this file and call generate() with token ids")
    inputs = tokenizer(arguments.prompt, return_tensors="pt")
    output = generate(model, inputs, arguments.max_new_tokens)
    print(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))


if __name__ == "__main__":
    main()
