"""JSON-RPC 2.0 over standard input and output, one message a line.

Must not know what any method does.
"""

from __future__ import annotations

import json
import os
import select
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TextIO

MAX_LINE_BYTES = 16 << 20

Params = dict[str, Any]
Method = Callable[[Params], Params]


@dataclass
class Fault(Exception):
    """An answer that is an error: `code` of JSON-RPC, and what kvat makes a trial's status of."""

    kind: str
    detail: str
    knob: str | None = None
    code: int = -32000

    def __str__(self) -> str:
        return self.detail

    def to_json(self) -> Params:
        data = {"kind": self.kind, "detail": self.detail}
        if self.knob is not None:
            data["knob"] = self.knob
        return {"code": self.code, "message": self.detail, "data": data}


def out_of_order(detail: str) -> Fault:
    """A request that may not come now."""
    return Fault("internal", detail, code=-32600)


def one_line(error: object, limit: int = 300) -> str:
    """What an exception says, as one line of at most `limit` characters."""
    return " ".join(str(error).split())[:limit]


def claim_stdout() -> TextIO:
    """Keeps standard output for the protocol and sends what libraries print to the log."""
    wire = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return wire


class Inbox:
    """Lines of a file descriptor. They can be waited for, and looked at in the middle of work without waiting."""

    def __init__(self, descriptor: int = 0) -> None:
        self.descriptor = descriptor
        self.partial = bytearray()
        self.lines: deque[bytes] = deque()
        self.closed = self.too_long = False

    def _read(self) -> None:
        """Reads once, which waits where nothing is there."""
        data = os.read(self.descriptor, 1 << 16)
        self.closed = not data
        *whole, rest = data.split(b"\n")
        for part in whole:
            self.lines.append(bytes(self.partial) + part)
            self.partial.clear()
        self.partial += rest
        self.too_long = len(self.partial) > MAX_LINE_BYTES or any(len(line) > MAX_LINE_BYTES for line in self.lines)

    def next(self) -> bytes | None:
        """The next line; None at the end of the input or after a line that is too long."""
        while not self.lines and not self.closed and not self.too_long:
            self._read()
        return self.lines.popleft() if self.lines and not self.too_long else None

    def cancels(self, request: object) -> bool:
        """Whether `$/cancel` of this request has come by now. Ends the process where the caller is gone."""
        while not self.closed and not self.too_long and select.select([self.descriptor], [], [], 0)[0]:
            self._read()
        if self.closed:
            os._exit(0)
        for line in self.lines:
            message = parsed(line)
            if isinstance(message, dict) and message.get("method") == "$/cancel":
                params = message.get("params")
                if isinstance(params, dict) and params.get("id") == request:
                    return True
        return False


def parsed(line: bytes) -> Any:
    """The JSON of a line, None where it is none."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def sendable(result: Params) -> Params:
    """The same. Raises where it is no JSON, as with NaN, or no Unicode."""
    try:
        json.dumps(result, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise Fault("internal", f"an answer that cannot be sent: {one_line(error)}") from None
    return result


@dataclass
class Server:
    """Answers requests in order until the input ends or `shutdown`."""

    methods: dict[str, Method]
    wire: TextIO
    inbox: Inbox = field(default_factory=Inbox)
    after_failure: Callable[[], None] = lambda: None
    request: Any = None  # id of the request being answered

    def send(self, message: Params) -> None:
        self.wire.write(json.dumps({"jsonrpc": "2.0", **message}, ensure_ascii=True, allow_nan=False) + "\n")

    def progress(self, stage: str) -> None:
        self.send({"method": "progress", "params": {"stage": stage}})

    def check_cancelled(self) -> None:
        """For long work to call now and then. Raises the answer of a cancelled request."""
        if self.inbox.cancels(self.request):
            raise Fault("cancelled", "cancelled", code=-32800)

    def answer(self, request: Params) -> Params:
        method = self.methods.get(request["method"])
        if method is None:
            return {"error": {"code": -32601, "message": f"no method {request['method']!r}"}}
        params = request.get("params", {})
        if not isinstance(params, dict):
            return {"error": {"code": -32602, "message": "params must be an object"}}
        self.request = request["id"]
        try:
            return {"result": sendable(method(params))}
        except Exception as raised:  # noqa: BLE001 - whatever an engine raises is a failed trial, not a dead worker
            error = fault_of(raised).to_json()
        self.after_failure()  # only now nothing holds what the failed call held
        return {"error": error}

    def serve(self) -> None:
        while (line := self.inbox.next()) is not None:
            request = parsed(line)
            if request is None:
                self.send({"id": None, "error": {"code": -32700, "message": "not JSON"}})
            elif not isinstance(request, dict) or not isinstance(request.get("method"), str):
                self.send({"id": None, "error": {"code": -32600, "message": "not a request"}})
            elif "id" in request:  # else a notification, of a request answered by now
                self.send({"id": request["id"], **self.answer(request)})
                if request["method"] == "shutdown":
                    return
        if self.inbox.too_long:
            self.send({"id": None, "error": {"code": -32700, "message": "a line is too long"}})


def fault_of(error: BaseException) -> Fault:
    """What an exception of PyTorch or Transformers means to a trial; a fault is what it is."""
    if isinstance(error, Fault):
        return error
    name, text = type(error).__name__, one_line(error, 400)
    if name == "OutOfMemoryError" or "CUDA out of memory" in text or "MPS backend out of memory" in text:
        return Fault("oom_device", text or "out of device memory")
    host = ("can't allocate memory", "not enough memory", "Cannot allocate memory", "std::bad_alloc")
    if isinstance(error, MemoryError) or any(words in text for words in host):
        return Fault("oom_host", text or "out of memory")
    unable = ("No viable backend", "No available kernel", "not supported", "not implemented", "Unsupported")
    if isinstance(error, (NotImplementedError, ImportError)) or any(words in text for words in unable):
        return Fault("unsupported", text or name)
    return Fault("internal", f"{name}: {text}")
