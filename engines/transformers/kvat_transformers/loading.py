"""Loads a model found, in a data type and on a device. Must not know of caches or runs."""

from __future__ import annotations

from typing import Any

from . import machine
from .sources import Source, bad
from .wire import Fault, fault_of, one_line


def check_device(device: str) -> None:
    """Refuses a device that is not here, in words."""
    import torch

    reason = None
    if device.startswith("cuda") or device == "auto":
        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        index = int(device[5:]) if device[5:].isdigit() else 0
        if gpus == 0:
            reason = machine.no_cuda()
        elif index >= gpus:
            reason = f"there are {gpus} CUDA devices"
        elif device == "auto" and not machine.installed("accelerate"):
            reason = "needs the package accelerate"
    elif device == "mps":
        reason = None if torch.backends.mps.is_available() else "no Metal device here"
    elif device != "cpu":
        reason = "no such device"
    if reason:
        raise Fault("unsupported", f"device {device}: {reason}", knob="device")


def load(source: Source, dtype: str, device: str) -> Any:
    """The model for inference. A checkpoint that lacks a tensor is refused: Transformers would make it up at random."""
    import torch
    from transformers import AutoModelForCausalLM

    check_device(device)
    direct = device != "cpu" and machine.installed("accelerate")  # without a copy on the host
    placed = {"device_map": "auto" if device == "auto" else {"": device}} if direct else {}
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            source.folder, dtype=getattr(torch, dtype), use_safetensors=True, trust_remote_code=source.remote_code,
            local_files_only=True, output_loading_info=True, **placed,
        )  # fmt: skip
    except Exception as error:
        fault = fault_of(error)
        if fault.kind in ("oom_host", "oom_device"):
            raise fault from error
        if "ignore_mismatched_sizes" in str(error):  # and then of a report that is not shown
            raise bad(source.name, "the checkpoint has tensors of other shapes than config.json says") from error
        what = type(error).__name__ if isinstance(error, (KeyError, AttributeError, TypeError)) else ""
        raise bad(source.name, f"cannot be loaded: {f'{what}: ' if what else ''}{one_line(error)}") from error
    for what in ("missing_keys", "mismatched_keys"):
        names = sorted(str(name) for name in _report(info, what))
        if names:
            others = f" and {len(names) - 1} more" if len(names) > 1 else ""
            word = "lacks" if what == "missing_keys" else "has another shape of"
            raise bad(source.name, f"the checkpoint {word} {names[0]}{others}")
    if not direct:
        model = model.to(device)
    return model.eval().requires_grad_(False)


def _report(info: Any, what: str) -> Any:
    return (info.get(what) if isinstance(info, dict) else getattr(info, what, None)) or ()


def weight_bytes(model: Any) -> int:
    """Of parameters and buffers, shared ones once."""
    storages = {}
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.device.type != "meta":
            storages[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
    return sum(storages.values())


def device_of(model: Any, asked: str) -> str:
    """Where the parameters are; "auto" where they were spread, even if one place was enough."""
    places = {"mps" if parameter.device.type == "mps" else str(parameter.device) for parameter in model.parameters()}
    spread = len(places) > 1 or (asked == "auto" and hasattr(model, "hf_device_map"))
    return "auto" if spread else places.pop()
