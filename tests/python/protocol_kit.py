"""Talking to workers in tests, every message checked against the schemas in both directions."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import jsonschema

ROOT = Path(__file__).resolve().parents[2]
KVAT = Path(os.environ.get("KVAT", ROOT / "build" / "bin" / "kvat")).resolve()
SIM = KVAT.parents[1] / "libexec" / "kvat" / "kvat-sim"
ECHO = ROOT / "examples" / "echo_worker.py"
SCHEMAS = {name: json.loads((ROOT / "schemas" / f"{name}.schema.json").read_text()) for name in ("protocol", "knob", "manifest", "surface")}


def rewritten(node: object, name: str) -> object:
    """A schema's part with its references led to where `bundle` puts their targets."""
    if isinstance(node, list):
        return [rewritten(each, name) for each in node]
    if not isinstance(node, dict):
        return node
    node = {key: rewritten(value, name) for key, value in node.items()}
    reference = node.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/$defs/"):
        node["$ref"] = reference.replace("#/$defs/", f"#/$defs/{name}.")
    elif isinstance(reference, str):
        node["$ref"] = reference.replace("urn:kvat:schema:", "#/$defs/")
    return node


def bundle() -> dict:
    """All schemas in one, so that no release of the validator has to look anything up."""
    parts = {}
    for name, schema in SCHEMAS.items():
        parts[name] = rewritten({key: value for key, value in schema.items() if key not in ("$id", "$schema", "$defs")}, name)
        for part, body in schema.get("$defs", {}).items():
            parts[f"{name}.{part}"] = rewritten(body, name)
    return parts


BUNDLE = bundle()


def validator(name: str, part: str | None = None) -> jsonschema.Draft202012Validator:
    """A validator of a schema, or of one of its definitions."""
    return jsonschema.Draft202012Validator({"$ref": f"#/$defs/{name}.{part}" if part else f"#/$defs/{name}", "$defs": BUNDLE})


def check_message(text: str) -> dict:
    message = json.loads(text)
    validator("protocol").validate(message)
    return message


class Worker:
    """A worker process; each request and each answer is validated."""

    def __init__(self, command: list[str | Path]) -> None:
        self.process = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.last_id = 0
        self.seen: set[str] = set()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=20)
        self.process.stdout.close()
        self.process.stderr.close()

    def say(self, line: str) -> dict:
        """Sends a line as it is, and returns the checked answer."""
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        while True:
            message = check_message(self.process.stdout.readline())
            if "method" not in message:
                return message

    def ask(self, method: str, **params: object) -> dict:
        """Sends a request that keeps to the protocol, and returns the answer's message."""
        self.last_id += 1
        request = json.dumps({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params})
        check_message(request)
        answer = self.say(request)
        assert answer["id"] == self.last_id
        if "result" in answer and f"{method}.result" in SCHEMAS["protocol"]["$defs"]:
            validator("protocol", f"{method}.result").validate(answer["result"])
        self.seen.add(method)
        return answer

    def result(self, method: str, **params: object) -> dict:
        answer = self.ask(method, **params)
        assert "result" in answer, answer
        return answer["result"]
