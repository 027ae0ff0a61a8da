"""Hugging Face Transformers, measured by kvat's own worker."""

from __future__ import annotations

import importlib.util
import os

from ..errors import EngineUnavailableError
from .installed import InstalledEngine


class TransformersAdapter(InstalledEngine):
    """Loads the model once for each data type, in a process of its own that runs in this Python (or in $KVAT_PYTHON)."""

    def __init__(self) -> None:
        super().__init__("transformers")

    def check(self) -> None:
        if not os.environ.get("KVAT_PYTHON"):  # another Python, of which the worker will tell
            require_transformers()


def require_transformers() -> None:
    """Raises `EngineUnavailableError` where PyTorch or Transformers are not installed in this Python."""
    missing = [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]
    if missing:
        raise EngineUnavailableError(f"{' and '.join(missing)} not installed: pip install 'kvat[transformers]'")
