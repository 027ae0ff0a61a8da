"""Puts a plan in force on a live Transformers model, until it is undone."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from .core.planner import PlanBuilder
from .core.result import Plan, TuneResult
from .core.schema import PathLike
from .engines.transformers import require_transformers
from .errors import BadDataError


class Undo:
    """Undoes a patch when called, or when its `with` ends; a second time does nothing.

    Of several patches of one model the last comes first: before that it raises `RuntimeError` and changes nothing.
    """

    def __init__(self, undo: Callable[[], None]) -> None:
        self._undo: Callable[[], None] | None = undo

    def __call__(self) -> None:
        if self._undo is not None:
            self._undo()
            self._undo = None

    def __enter__(self) -> Undo:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self()


def patch(model: Any, plan: TuneResult | Plan | Mapping[str, Any] | PathLike, *, context_tokens: int | None = None) -> Undo:
    """Puts every setting of a plan but device and data type in force for `model.generate` of a loaded model.

        with kvat.patch(model, "kvat_results"):
            model.generate(…)

    This is `apply()` of the plan's `optimized_config.py`, whose fallback rules are asked too: `context_tokens` is for the
    rules about it. Raises `BadDataError` for a plan of another engine, `EngineUnavailableError` without PyTorch.
    """
    builder = PlanBuilder(plan)
    if builder.plan.engine != "transformers":
        raise BadDataError(
            f"this plan is for the engine {builder.plan.engine!r}; only those for 'transformers' can be patched in"
        )
    require_transformers()
    module = _module_of(builder.generate_code_snippet("python"))
    return Undo(module.apply(model, context_tokens=context_tokens))


def _module_of(code: str) -> ModuleType:
    """The snippet as a module. It comes from the C program, in which what a plan says stands as data."""
    with tempfile.TemporaryDirectory(prefix="kvat-") as folder:
        path = Path(folder) / "kvat_optimized_config.py"
        path.write_text(code, encoding="utf-8")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        before = sys.dont_write_bytecode
        sys.dont_write_bytecode = True
        try:
            spec.loader.exec_module(module)
        finally:
            sys.dont_write_bytecode = before
    return module
