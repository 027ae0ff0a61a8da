"""Memory of this process and of its devices: current, and the high-water mark since the last reset.

Host: VmRSS and VmHWM. CUDA: what PyTorch's allocator has given out; NVML adds what the whole device holds. MPS has no mark of its
own, so that it is sampled. Must not know of models.
"""

from __future__ import annotations

import ctypes
import gc
from typing import Any

from . import machine

try:
    _LIBC: ctypes.CDLL | None = ctypes.CDLL("libc.so.6")
except OSError:
    _LIBC = None


def _status_bytes(field: str) -> int:
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            for line in status:
                if line.startswith(field + ":"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def nvml_used_bytes(index: int) -> int | None:
    """Bytes in use on CUDA device `index` by every process, or None where NVML cannot tell."""
    import torch

    if not machine.installed("pynvml"):
        return None
    try:
        return int(torch.cuda.device_memory_used(index))
    except Exception:  # noqa: BLE001 - no driver library, no permission, an older PyTorch: all of them mean no figure
        return None


class Memory:
    """Where `clear_refs` may not be written the mark is that of the process's whole life, and its source says so."""

    def __init__(self) -> None:
        self.source = "VmHWM"
        self.mps_peak_bytes = 0

    def give_back(self) -> None:
        """Frees what is unreachable and returns free pages to the system and to the device."""
        import torch

        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if torch.backends.mps.is_available():
            torch.mps.empty_cache()
        if _LIBC is not None and hasattr(_LIBC, "malloc_trim"):
            _LIBC.malloc_trim(0)

    def sample(self) -> None:
        """To be called when much is held, for devices that keep no mark."""
        import torch

        if torch.backends.mps.is_available():
            self.mps_peak_bytes = max(self.mps_peak_bytes, torch.mps.driver_allocated_memory())

    def reset(self) -> None:
        import torch

        self.give_back()
        self.mps_peak_bytes = 0
        try:
            with open("/proc/self/clear_refs", "w", encoding="ascii") as clear:
                clear.write("5")
        except OSError:
            self.source = "VmHWM of the whole process"
        for index in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(index)

    def read(self) -> dict[str, Any]:
        """The result of `resources`. A device that was not used is left out: its peak would only be zero."""
        import torch

        devices: list[dict[str, Any]] = []
        for index in range(torch.cuda.device_count()):
            peak = torch.cuda.max_memory_allocated(index)
            if peak > 0:
                used = nvml_used_bytes(index)
                devices.append(
                    {"name": f"cuda:{index}", "current_bytes": torch.cuda.memory_allocated(index), "peak_bytes": peak,
                     "source": "CUDA allocator", **({} if used is None else {"nvml_used_bytes": used})}
                )  # fmt: skip
        self.sample()
        if self.mps_peak_bytes > 0 and torch.mps.current_allocated_memory() > 0:
            devices.append(
                {"name": "mps", "current_bytes": torch.mps.driver_allocated_memory(), "peak_bytes": self.mps_peak_bytes,
                 "source": "MPS driver, sampled"}
            )  # fmt: skip
        host = {"current_bytes": _status_bytes("VmRSS"), "peak_bytes": _status_bytes("VmHWM"), "source": self.source}
        return {"host": host, "devices": devices}
