"""What can go wrong, as exceptions that carry the exit code of the C program and its message."""

from __future__ import annotations


class KvatError(RuntimeError):
    """Something failed. `exit_code` is what `kvat` ends with in that case, `message` one line about it."""

    exit_code = 1

    def __init__(self, message: str, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        if exit_code is not None:
            self.exit_code = exit_code


class UsageError(KvatError, ValueError):
    """A request that contradicts itself, or names what there is not."""

    exit_code = 2


class NothingWorksError(KvatError):
    """No configuration works; the message says where the report with the causes is."""

    exit_code = 3


class UndecidedError(KvatError):
    """The budget ended before any configuration could be named; a larger one goes on from there."""

    exit_code = 6


class BadDataError(KvatError):
    """A model, plan, profile or surface that is missing or damaged."""

    exit_code = 65


class EngineUnavailableError(KvatError):
    """The engine cannot be started."""

    exit_code = 69


class StorageError(KvatError):
    """Reading or writing failed."""

    exit_code = 74


class BusyError(KvatError):
    """Another run holds the folder of results."""

    exit_code = 75


class Interrupted(KvatError):
    """The run was cancelled. What was measured is kept: the same request resumes it."""

    exit_code = 130


_KINDS = {
    kind.exit_code: kind
    for kind in (UsageError, NothingWorksError, UndecidedError, BadDataError, EngineUnavailableError, StorageError, BusyError)
}


def error_of(exit_code: int, message: str) -> KvatError:
    """The exception for an exit code; a program ended by a signal has a negative one, as in `subprocess`."""
    if exit_code > 128:
        return Interrupted(message, exit_code)
    if exit_code < 0:
        return KvatError(f"kvat was ended by signal {-exit_code}: {message}", 128 - exit_code)
    return _KINDS.get(exit_code, KvatError)(message, exit_code)


class KvatWarning(UserWarning):
    """Something a caller should know that stops nothing, such as a plan measured with another version."""
