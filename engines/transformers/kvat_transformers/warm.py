"""Does once what would otherwise happen in the middle of a measurement, or at every start: compiles the extension of optimum-quanto,
imports hqq.

Usage: python -m kvat_transformers.warm
"""

from __future__ import annotations

import os
import sys
from types import ModuleType

HQQ = "hqq.core.quantize"


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


def put_off_hqq() -> None:
    """Imports the caches of Transformers without hqq, which brings Dynamo and Inductor with it: a third of the worker's start, and few
    contexts need it. `hqq` takes its place again. Where Transformers is otherwise than is thought here, hqq is imported at once."""
    if HQQ in sys.modules or "transformers.cache_utils" in sys.modules:
        return
    stand_in = ModuleType(HQQ)
    stand_in.Quantizer = stand_in  # type: ignore[attr-defined]
    sys.modules[HQQ] = stand_in
    try:
        import transformers.cache_utils  # noqa: F401
    finally:
        del sys.modules[HQQ]


def hqq() -> None:
    """What Transformers would have imported. Raises what the package raises."""
    from hqq.core.quantize import Quantizer
    from transformers import cache_utils

    cache_utils.HQQQuantizer = Quantizer


if __name__ == "__main__":
    tools_in_path()
    quanto()
