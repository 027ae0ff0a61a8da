"""From a result to what can be put into production: the plan, and code that applies it."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from pprint import pformat
from typing import Any

from .._program import ask
from ..errors import KvatWarning, UsageError
from .display import headline, plain
from .result import Plan, TuneResult
from .schema import PathLike


def plan_of(source: TuneResult | Plan | Mapping[str, Any] | PathLike) -> Plan:
    """The plan of a result, of a document, or in a file or folder of results. Raises `BadDataError` if there is none."""
    if isinstance(source, TuneResult):
        return source.plan
    if isinstance(source, Plan):
        return source
    return Plan.of(source) if isinstance(source, Mapping) else Plan.read(source)


class PlanBuilder:
    """Of a result, a plan, or the file of one."""

    def __init__(self, result: TuneResult | Plan | Mapping[str, Any] | PathLike) -> None:
        self.plan = plan_of(result)
        self._result = result if isinstance(result, TuneResult) else None

    def build(self) -> dict[str, Any]:
        """The plan as a JSON document (schemas/plan.schema.json)."""
        copy: dict[str, Any] = json.loads(json.dumps(self.plan.data))
        return copy

    def save(self, path: PathLike) -> Path:
        """Writes the plan to a file, whole or not at all."""
        return _write(Path(path), json.dumps(self.plan.data, indent=2, ensure_ascii=False) + "\n")

    def generate_code_snippet(self, format: str | None = None) -> str:
        """Code that puts the plan to use, in one of its engine's formats: for Transformers a Python file that runs as it is.

        Formats that cannot ask for themselves get the settings of the plan's fallback rules as they hold here, so that a machine
        with less memory gets what was measured to fit; the Python file holds the rules, and asks them where it runs. What the plan
        advises (such as to verify it, after an update) comes as a `KvatWarning`; that it is not decided stands in the
        code's head, too. Raises `UsageError` where there is no such format.
        """
        if self._result is not None and self._result.engine_source is not None and format in (None, "python"):
            return _adapter_snippet(self.plan, self._result.model_id, self._result.engine_source)
        with tempfile.TemporaryDirectory(prefix="kvat-") as folder:
            path = self.save(Path(folder) / "best_plan.json")
            words = ["apply", os.fspath(path), "--print-snippet"]
            answer = ask(words if format is None else [*words, f"--format={format}"])
        if answer["advice"]:
            warnings.warn(plain(answer["advice"]), KvatWarning, stacklevel=2)
        if answer["snippet"] is None:
            raise UsageError(f"kvat writes no code for the engine {self.plan.engine!r}")
        snippet: str = answer["snippet"]
        return snippet

    def save_code_snippet(self, path: PathLike, format: str | None = None) -> Path:
        """Writes it to a file, whole or not at all; a script, which begins with #!, can be executed."""
        code = self.generate_code_snippet(format)
        return _write(Path(path), code, 0o755 if code.startswith("#!") else 0o644)


def _write(path: Path, text: str, mode: int = 0o644) -> Path:
    """Whole or not at all, with what the umask leaves of `mode`."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with open(fresh, "x", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            os.replace(fresh, path)
        except BaseException:
            os.unlink(fresh)
            raise
    return path


ADAPTER_SNIPPET = '''"""{head}

Measured by kvat: {why}
"""

from kvat.worker import adapter_of

MODEL = {model}
ENGINE = {source}
CONTEXT_TOKENS = {context_tokens}
SEQUENCES = {sequences}
SETTINGS = {settings}


def load():
    """The engine with the model loaded and an empty cache, and the settings that go to `run_prefill` and `run_decode`."""
    engine = adapter_of(ENGINE)
    scopes = {{knob.name: knob.scope for knob in engine.knobs(MODEL)}}

    def of(scope):
        return {{name: value for name, value in SETTINGS.items() if scopes.get(name) == scope}}

    engine.load_model(MODEL, of("model"))
    engine.prepare_cache(of("context"), CONTEXT_TOKENS, SEQUENCES)
    return engine, of("request")
'''


def _adapter_snippet(plan: Plan, model_id: str, source: Mapping[str, Any]) -> str:
    """Of an engine written in Python. What comes from outside stands in it as literals, or as text that cannot end one."""

    def text(sentence: str) -> str:
        return plain(sentence).replace("\\", "/").replace('"', "'")

    return ADAPTER_SNIPPET.format(
        head=text(headline(plan)),
        why=text(plan.why),
        model=repr(model_id),
        source=pformat(dict(source), width=120),
        context_tokens=int(plan.data["context_tokens"]),
        sequences=int(plan.data["sequences"]),
        settings=pformat(dict(plan.settings), width=120),
    )
