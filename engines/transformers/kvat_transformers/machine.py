"""What this machine has: devices, packages, threads.

Must not know of models. Reasons are words for the user.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from typing import Any

from .caches import QUANTIZERS


def installed(package: str) -> bool:
    """Whether a package can be imported, without importing it."""
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # of the package above it
        return False


def devices() -> tuple[list[str], dict[str, str]]:
    """Values of the setting `device`, the default first, and why the others are not here."""
    import torch

    found: list[str] = []
    missing: dict[str, str] = {}
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    found += [f"cuda:{index}" for index in range(gpus)]
    if gpus == 0:
        missing["device cuda"] = no_cuda()
    if torch.backends.mps.is_available():
        found.append("mps")
    else:
        missing["device mps"] = "no Metal device here"
    found.append("cpu")
    if gpus < 2:
        missing["device auto"] = "spreads a model over several CUDA devices, and here are not two"
    elif not installed("accelerate"):
        missing["device auto"] = "the package accelerate is not installed"
    else:
        found.append("auto")
    return found, missing


def no_cuda() -> str:
    """Why there is no CUDA device."""
    import torch

    if torch.version.cuda is None:
        return f"PyTorch {torch.__version__} is built without CUDA"
    return "PyTorch finds no CUDA device (no GPU, no driver, or it is hidden by CUDA_VISIBLE_DEVICES)"


def described(names: list[str]) -> list[dict[str, Any]]:
    """Devices as `describe` lists them."""
    import torch

    result: list[dict[str, Any]] = []
    for name in names:
        if name.startswith("cuda:"):
            about = torch.cuda.get_device_properties(int(name[5:]))
            result.append({"name": name, "kind": "gpu", "memory_bytes": about.total_memory, "model": about.name})
        elif name == "mps":
            result.append({"name": name, "kind": "gpu", "memory_bytes": torch.mps.recommended_max_memory()})
        elif name == "cpu":
            pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
            result.append({"name": name, "kind": "cpu", "memory_bytes": pages})
    return result


def quantizers(on_gpu: bool) -> tuple[list[str], dict[str, str]]:
    """BACKEND-BITS of quantized caches, and why others are not here."""
    found: list[str] = []
    missing: dict[str, str] = {}
    for backend, bits in QUANTIZERS.items():
        package = "optimum.quanto" if backend == "quanto" else backend
        lacking = quanto_lacks(on_gpu) if backend == "quanto" and installed(package) else None
        if lacking:
            missing["cache_quantizer quanto"] = f"compiles an extension when it is first used, and {lacking}"
        elif installed(package):
            found += [f"{backend}-{each}" for each in bits]
        else:
            missing[f"cache_quantizer {backend}"] = f"the package {package.replace('.', '-')} is not installed"
    return found, missing


def compiler(variable: str, *names: str) -> bool:
    """Whether there is a compiler: the one that an environment variable names, else one of `names` in PATH."""
    named = os.environ.get(variable, "").split()
    return any(shutil.which(name) for name in (named[:1] or names))


def quanto_lacks(on_gpu: bool) -> str | None:
    """What its extension cannot be compiled without, None where all is here."""
    if not compiler("CXX", "c++", "g++", "clang++"):
        return "there is no C++ compiler in PATH"
    if not shutil.which("ninja"):
        return "there is no ninja in PATH"
    return "there is no nvcc in PATH" if on_gpu and not shutil.which("nvcc") else None


def can_compile() -> str | None:
    """Why torch.compile cannot be used, None where it can."""
    import torch

    if torch.cuda.is_available():  # where Triton compiles what launches its kernels
        if not installed("triton"):
            return "the package triton is not installed"
        return None if compiler("CC", "cc", "gcc", "clang") else "no C compiler in PATH"
    return None if compiler("CXX", "c++", "g++", "clang++") else "no C++ compiler in PATH"
