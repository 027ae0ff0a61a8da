"""Talks kvat's protocol to a worker program, for tests: one call at a time, answers as dictionaries."""

import json
import os
import subprocess
import threading


class Fault(Exception):
    """The worker answered with an error."""

    def __init__(self, error):
        super().__init__(error.get("message", ""))
        self.code = error["code"]
        data = error.get("data") or {}
        self.kind = data.get("kind")
        self.knob = data.get("knob")
        self.detail = data.get("detail", "")

    def __str__(self):
        return f"{self.code} {self.kind} {self.knob}: {self.detail}"


class Worker:
    def __init__(self, program, *arguments, environment=None, timeout_s=240):
        env = dict(os.environ, GGML_NO_BACKTRACE="1", **(environment or {}))
        self.process = subprocess.Popen(
            [program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env
        )
        self.notifications = []
        self.errors = bytearray()
        self.next_id = 1
        self.drain = threading.Thread(target=self._drain, daemon=True)
        self.drain.start()
        # A worker that hangs must fail the test, not block it.
        self.watchdog = threading.Timer(timeout_s, self.process.kill)
        self.watchdog.daemon = True
        self.watchdog.start()

    def _drain(self):
        for line in self.process.stderr:
            self.errors += line

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.watchdog.cancel()
        if not self.process.stdin.closed:
            self.process.stdin.close()
        self.process.wait(timeout=60)
        self.drain.join(timeout=10)
        self.process.stdout.close()
        self.process.stderr.close()

    def send(self, method, params=None, id=None):
        message = {"jsonrpc": "2.0", "method": method, "params": params or {}}
        if id is not None:
            message["id"] = id
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def start(self, method, **params):
        id = self.next_id
        self.next_id += 1
        self.send(method, params, id)
        return id

    def answer(self, id):
        while True:
            line = self.process.stdout.readline()
            if not line:
                raise EOFError(f"the worker ended: {bytes(self.errors[-2000:]).decode(errors='replace')}")
            message = json.loads(line)
            if "id" not in message:
                self.notifications.append(message)
                continue
            if message["id"] != id:
                raise ValueError(f"answer to {message['id']} instead of {id}")
            if "error" in message:
                raise Fault(message["error"])
            return message["result"]

    def call(self, method, **params):
        return self.answer(self.start(method, **params))
