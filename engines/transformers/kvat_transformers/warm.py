"""Does once what would otherwise happen in the middle of a measurement: compiles the extension of optimum-quanto.

Usage: python -m kvat_transformers.warm
"""

from __future__ import annotations

import os
import sys


def tools_in_path() -> None:
    """ninja of this Python's environment, which need not be active, is where PyTorch's extensions look for it."""
    folder = os.path.dirname(sys.executable)
    paths = os.environ.get("PATH", "").split(os.pathsep)
    if folder not in paths:
        os.environ["PATH"] = os.pathsep.join([folder, *paths])


def quanto(device: str = "cpu") -> None:
    """One tensor packed to four bits and unpacked. Raises what the compiler or the loader raises."""
    import torch
    from optimum.quanto import MaxOptimizer, qint4, quantize_weight

    ones = torch.ones(64, 64, device=device)
    scale, shift = MaxOptimizer()(ones, qint4, 0, 64)
    quantize_weight(ones, qint4, 0, scale, shift, 64).dequantize()


if __name__ == "__main__":
    tools_in_path()
    quanto()
