"""Runs `kvat tune` for a request and an engine, and tells how it goes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from .._program import environment, failure, program
from ..engines.installed import Engine
from ..errors import BadDataError, Interrupted, NothingWorksError, UndecidedError, UsageError
from .progress import Progress
from .result import Plan, TuneResult
from .schema import TuneConfig, WorkloadProfile

LOG_LINES = 50  # of what the program says, kept to explain a failure


class TuningSearch:
    """A search for the best configuration.

    `adapter` is the engine; without one it follows from the model, as on the command line. `on_progress` is called with every
    event, in the thread that called `run()`; what it raises ends the run in order and comes out of `run()`.
    """

    def __init__(
        self,
        config: TuneConfig,
        adapter: Engine | None = None,
        *,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.config = config
        self.adapter = adapter
        self.on_progress = on_progress
        self._process: subprocess.Popen[str] | None = None
        self._cancelled = False
        self._lock = threading.Lock()

    def run(self) -> TuneResult:
        """Measures until the answer is firm or the budget ends; resumes an interrupted run of the same request, and repeats
        the answer of a finished one.

        Raises `NothingWorksError` when no configuration works, `UndecidedError` when the budget was too small to name even a
        first guess, `Interrupted` after `cancel()`, and the other exceptions of
        `kvat.errors` by what went wrong. A Ctrl-C ends the run in order, with everything measured kept, before its
        KeyboardInterrupt goes on; a second one ends it at once.
        """
        _refuse_in_worker()
        if self.adapter is not None:
            self.adapter.check()
        try:
            with tempfile.TemporaryDirectory(prefix="kvat-") as folder, tempfile.TemporaryFile("w+", encoding="utf-8") as output:
                log = self._drive(self._command(Path(folder)), output)
                output.seek(0)
                return self._result(output.read(), log)
        finally:
            with self._lock:
                self._cancelled = False

    def cancel(self) -> None:
        """Ends the run in order, from a callback or another thread. What was measured is kept. A second call ends it at once.
        With no run going on it is the next one that ends, before it begins; the run after that is free of it."""
        with self._lock:
            self._cancelled = True
            if self._process is not None and self._process.poll() is None:
                self._process.send_signal(signal.SIGINT)

    # ---- the program ----

    def _command(self, folder: Path) -> list[str]:
        words = [os.fspath(program()), "tune", "--json", "--progress=json"]
        if self.adapter is not None:
            words.append(f"--engine={self.adapter.argument(folder)}")
        profile = self.config.profile
        if isinstance(profile, WorkloadProfile):
            # Under its own name where kvat has the same, so that the plan tells a command which can be typed.
            words.append(f"--profile={profile.name if _is_built_in(profile) else _written(profile, folder)}")
        else:
            words.append(f"--profile={os.fspath(profile)}")
        return words + self.config.arguments()

    def _drive(self, command: list[str], output: IO[str]) -> list[str]:
        """Starts the program and follows it to its end. Returns what it said beside its events."""
        log: deque[str] = deque(maxlen=LOG_LINES)
        with self._lock:
            if self._cancelled:
                raise Interrupted("cancelled before anything was measured")
            # In a session of its own, so that a Ctrl-C reaches it once, from here.
            self._process = process = subprocess.Popen(
                command,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
        assert process.stderr is not None
        try:
            self._follow(process.stderr, log)
        except BaseException:
            self._end(process, log)
            raise
        finally:
            process.stderr.close()
            process.wait()
        return list(log)

    def _follow(self, stream: IO[str], log: deque[str]) -> None:
        for line in stream:
            event = _event_of(line)
            if event is None:
                log.append(line)
            elif self.on_progress is not None:
                self.on_progress(Progress.from_json(event))

    def _end(self, process: subprocess.Popen[str], log: deque[str]) -> None:
        """Asks it to end in order, and at the next Ctrl-C at once; waits for it either way."""
        while True:
            try:
                process.send_signal(signal.SIGINT)
                for line in process.stderr or ():
                    log.append(line)
                process.wait()
                return
            except KeyboardInterrupt:
                continue

    # ---- what came out ----

    def _result(self, output: str, log: list[str]) -> TuneResult:
        assert self._process is not None
        code = self._process.returncode
        try:
            document = json.loads(output)
        except ValueError:
            document = {}
        if code not in (0, 3, 6) or document.get("format") != "kvat-tune/1":
            raise failure(code or 1, output, "".join(log))
        directory = Path(document["directory"])
        if document["plan"] is None:
            why = document["report"]["why"]
            raise UndecidedError(why) if code == 6 else NothingWorksError(f"{why} ({directory / 'report.md'} lists the causes)")
        return TuneResult(
            plan=Plan.of(document["plan"]),
            model_id=os.fspath(self.config.model_id),
            directory=directory.absolute(),
            exit_code=code,
            report=document["report"],
            engine_source=None if self.adapter is None else self.adapter.source(),
        )


def _event_of(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and event.get("format") == "kvat-event/1" else None


def _is_built_in(profile: WorkloadProfile) -> bool:
    from .profiles import get_profile, list_profiles

    return profile.name in list_profiles() and get_profile(profile.name) == profile


def _written(profile: WorkloadProfile, folder: Path) -> Path:
    path = folder / f"{profile.name}.json".replace(os.sep, "_")
    try:
        path.write_text(json.dumps(profile.to_json(), allow_nan=False), encoding="utf-8")
    except (TypeError, ValueError) as error:
        raise BadDataError(f"profile {profile.name!r}: {error}") from None
    return path


def _refuse_in_worker() -> None:
    worker = sys.modules.get("kvat.worker")
    if worker is not None and worker.hosting:
        raise UsageError('a search began inside a worker: put what starts it under `if __name__ == "__main__":`')
